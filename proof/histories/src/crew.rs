//! The workers as processes: forked, reaped, and forked again.

use std::sync::atomic::Ordering::Relaxed;

use crate::board::Board;
use crate::plan::WORKERS;
use crate::survey::Survey;
use crate::worker;

/// The workers' process ids. All are killed, by these ids, when it is dropped.
#[derive(Debug)]
pub struct Crew {
    board: &'static Board,
    survey: Survey,
    pids: [libc::pid_t; WORKERS],
    /// Workers started altogether.
    pub started: u64,
}

impl Crew {
    /// Starts all.
    pub fn start(board: &'static Board, survey: Survey) -> Result<Self, String> {
        let mut crew = Self { board, survey, pids: [0; WORKERS], started: 0 };
        for index in 0..WORKERS {
            crew.hire(index)?;
        }
        Ok(crew)
    }

    /// Starts the worker for a lane that has none.
    pub fn hire(&mut self, index: usize) -> Result<(), String> {
        let overseer = std::process::id();
        // Read before the fork: the next call is this worker's, however late it is.
        let last = self.board.lanes[index].call.load(Relaxed);
        // SAFETY: this process has one thread, so the child finds nothing half-done.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => {
                // No worker outlives the overseer.
                let dies = harness::die_with_parent().is_ok();
                if dies
                    && std::os::unix::process::parent_id() == overseer
                    && let Err(why) = worker::work(self.board, index, overseer, last, &self.survey)
                {
                    self.board.lanes[index].wrong.store(1, Relaxed);
                    eprintln!("worker {index}: {why}");
                }
                // SAFETY: the parent's buffers and handles are the parent's to flush and drop.
                unsafe { libc::_exit(3) }
            }
            pid => {
                self.pids[index] = pid;
                self.started += 1;
                Ok(())
            }
        }
    }

    /// Whether the worker has died. Then it is reaped, and its lane has none.
    pub fn has_died(&mut self, index: usize) -> bool {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        let reaped = unsafe { libc::waitpid(self.pids[index], &raw mut status, libc::WNOHANG) };
        let died = reaped == self.pids[index];
        if died {
            self.pids[index] = 0;
        }
        died
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for pid in self.pids.into_iter().filter(|&pid| pid > 0) {
            // SAFETY: our own child, not reaped yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: reaps it.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
}
