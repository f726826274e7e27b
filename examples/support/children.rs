//! The second process: this same program, started again in another role.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::Outcome;

/// Where a child finds the first descriptor it was given.
const FIRST_GIVEN: RawFd = 3;

/// A child process that does not outlive its parent's interest: dropped, it is killed and reaped.
/// Its stdin and stdout are pipes to and from the parent, its stderr is the parent's.
pub struct Peer {
    child: Child,
    what: String,
}

impl Peer {
    /// Starts this program again with `arguments`. `what` names it in messages ("the sender").
    /// The child finds `gifts` by [`given`], in their order.
    pub fn spawn(
        what: impl Into<String>,
        gifts: &[BorrowedFd<'_>],
        arguments: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Outcome<Self> {
        let what = what.into();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(super::program());
        arguments(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped());
        if !gifts.is_empty() {
            give(&mut command, gifts)?;
        }
        let child = command.spawn().map_err(|e| format!("{what} could not be started: {e}"))?;
        Ok(Self { child, what })
    }

    /// The pipe to the child's stdin. Once.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    /// The pipe from the child's stdout. Once.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("taken once")
    }

    /// Waits for the child's [`report_ready`].
    pub fn await_ready(&mut self) -> Outcome {
        let stdout = self.child.stdout.as_mut().expect("not taken yet");
        match stdout.read_exact(&mut [0]) {
            Ok(()) => Ok(()),
            // It has ended: the why is more interesting than the broken pipe.
            Err(_) => {
                let status = self.child.wait()?;
                Err(self.told(status).into())
            }
        }
    }

    /// The child's process id, which is nobody else's for as long as this value is there.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if the child has ended already, well or not.
    pub fn still_runs(&mut self) -> Outcome {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.told(status).into()),
        }
    }

    /// Whether the child has ended, which must be a success.
    pub fn has_ended_well(&mut self) -> Outcome<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(self.told(status).into()),
        }
    }

    /// Waits for the child's end, which must be a success.
    pub fn finish(mut self) -> Outcome {
        // Closes its stdin first, if we still have that: it may be waiting for more.
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(self.told(status).into()),
        }
    }

    fn told(&self, status: ExitStatus) -> String {
        match (status.code(), status.signal()) {
            (Some(0), _) => format!("{} ended too early", self.what),
            (Some(code), _) => format!("{} failed with exit code {code}", self.what),
            (None, Some(signal)) => format!("{} was killed by signal {signal}", self.what),
            (None, None) => format!("{} ended: {status}", self.what),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail harmlessly if `finish` has reaped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets the child inherit `gifts` as descriptors 3, 4, and so on.
fn give(command: &mut Command, gifts: &[BorrowedFd<'_>]) -> io::Result<()> {
    // Copies far above the target numbers, so that none is overwritten before it is moved, and
    // `dup2` never meets its own number (it would leave close-on-exec set).
    let mut copies = Vec::new();
    for gift in gifts {
        // SAFETY: duplicates a descriptor that is open for as long as it is borrowed.
        let copy = unsafe { libc::fcntl(gift.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) };
        if copy == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        copies.push(unsafe { OwnedFd::from_raw_fd(copy) });
    }
    let move_them = move || {
        for (copy, target) in copies.iter().zip(FIRST_GIVEN..) {
            // SAFETY: both are plain numbers in a child that has nothing at the target number but,
            // perhaps, something close-on-exec.
            if unsafe { libc::dup2(copy.as_raw_fd(), target) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec it calls `dup2` alone, which is async-signal-safe.
    unsafe { command.pre_exec(move_them) };
    Ok(())
}

/// In the child: the descriptor that it was given as number `index`. Once for each.
pub fn given(index: usize) -> io::Result<OwnedFd> {
    let number = FIRST_GIVEN + index as RawFd;
    // SAFETY: the parent put it there for us to take, and this is where we take it.
    let gift = unsafe { OwnedFd::from_raw_fd(number) };
    // A copy, so that our own children do not get it too.
    gift.try_clone()
}

/// In the child: tells the parent, which waits in [`Peer::await_ready`].
pub fn report_ready() -> io::Result<()> {
    raw_stdout()?.write_all(&[0])
}

/// This process's stdin as a plain file: no buffer, no lock.
pub fn raw_stdin() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// This process's stdout as a plain file: no buffer, no lock.
pub fn raw_stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}
