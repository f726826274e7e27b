//! The asymmetric barrier on real processors: over and over, one process publishes and looks at the
//! wake word while another announces itself and looks at what is published. Never may both see
//! nothing. Without the sleeper's half they do, in percents of the rounds.
//!
//! The publisher is forked from a process that has registered, and neither has a second thread: of
//! others the kernel may skip processors ([`barrier`]), which is not what this is about.
//! `examples/membarrier_gaps.rs` is.

use std::hint::spin_loop;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use crate::wait::barrier;
use crate::wait::word::WakeWord;

#[repr(align(128))]
struct Apart<T>(T);

/// What the processes share.
struct Board {
    word: Apart<AtomicU32>,
    index: Apart<AtomicU64>,
    begun: Apart<AtomicU64>,
    ended: Apart<AtomicU64>,
    /// The last round in which the publisher saw nothing.
    blind: Apart<AtomicU64>,
    counts: [AtomicU64; 3],
}

/// Stops a busy machine from making this a long test. Two processes that do not run at the same
/// time show nothing anyway.
const LIMIT: Duration = Duration::from_millis(250);
/// Ends a process that waits for one that has died.
const SECONDS: u32 = 60;
/// No round comes after this one.
const NO_MORE: u64 = u64::MAX;

impl Board {
    fn new() -> &'static Self {
        let len = size_of::<Self>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        // SAFETY: a page's alignment, enough bytes, all zero, which are atomics; never unmapped.
        unsafe { &*at.cast() }
    }

    // What is under test is relaxed or the barrier's; `index` as a ring's, released and acquired.
    // The others (`begun`, `ended`) hand a round from one process to the other and back.

    /// Of up to `rounds`: how many took place, and in how many both saw nothing, if the sleeper
    /// announces itself by `announce`.
    fn lost(&self, rounds: u64, announce: impl Fn(&AtomicU32)) -> (u64, u64) {
        for counter in [&self.index, &self.begun, &self.ended, &self.blind] {
            counter.0.store(0, Relaxed);
        }
        let publisher = fork(|| self.publish());
        let started = Instant::now();
        let (mut played, mut both) = (0, 0);
        while played < rounds && started.elapsed() < LIMIT {
            played += 1;
            self.word.0.store(0, Relaxed);
            self.begun.0.store(played, Release);
            for _ in 0..played % 53 {
                self.index.0.load(Relaxed);
                spin_loop();
            }
            announce(&self.word.0);
            let blind = self.index.0.load(Acquire) < played;
            wait_for(&self.ended.0, played);
            both += u64::from(blind && self.blind.0.load(Relaxed) == played);
        }
        self.begun.0.store(NO_MORE, Release);
        must_have_ended_well(publisher);
        (played, both)
    }

    fn publish(&self) {
        for round in 1.. {
            wait_for(&self.begun.0, round);
            if self.begun.0.load(Relaxed) == NO_MORE {
                break;
            }
            for _ in 0..round % 61 {
                // Sooner or later than the other. And as in flow: its cache has the word.
                self.word.0.load(Relaxed);
                spin_loop();
            }
            self.index.0.store(round, Release);
            barrier::light();
            if !WakeWord::new(&self.word.0).is_flagged() {
                self.blind.0.store(round, Relaxed);
            }
            self.ended.0.store(round, Release);
        }
    }
}

fn wait_for(at: &AtomicU64, round: u64) {
    let mut turns = 0;
    while at.load(Acquire) < round {
        turns += 1;
        if turns > 2000 {
            std::thread::yield_now(); // the other does not run
        } else {
            spin_loop();
        }
    }
}

/// A child that does `what` and no more. It has one thread, and uses nothing that another thread of
/// this process might have locked (none attaches an end, and registers so), but to say that it
/// failed.
fn fork(what: impl FnOnce()) -> libc::pid_t {
    // SAFETY: see above.
    let pid = unsafe { libc::fork() };
    assert_ne!(pid, -1, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: takes a number.
        unsafe { libc::alarm(SECONDS) };
        let outcome = catch_unwind(AssertUnwindSafe(what));
        // SAFETY: ends the process, and runs nothing else.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    pid
}

fn must_have_ended_well(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: the child is ours, and nobody else waits for it.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((ended, status), (child, 0));
}

#[test]
fn a_publisher_and_a_sleeper_never_overlook_each_other() {
    let with = |word: &AtomicU32| {
        let _ = WakeWord::new(word).announce(false, None);
    };
    let without = |word: &AtomicU32| {
        word.fetch_or(1, Acquire);
    };
    let board = Board::new();
    must_have_ended_well(fork(|| {
        barrier::register();
        let [rounds, both, shown] = &board.counts;
        for _ in 0..8 {
            let (played, lost) = board.lost(10_000, with);
            rounds.fetch_add(played, Relaxed);
            both.fetch_add(lost, Relaxed);
            // What makes the assertion worth something, and in turns with it, since it depends on
            // where the processes run and on who else does.
            shown.fetch_add(board.lost(10_000, without).1, Relaxed);
        }
    }));
    let [rounds, both, shown] = board.counts.each_ref().map(|count| count.load(Relaxed));
    assert_eq!(both, 0, "of {rounds}");
    if shown == 0 {
        let said = "\n!!! DID NOT RUN: lost wakes without the barrier: none seen on this machine\n";
        let _ = std::io::stderr().lock().write_all(said.as_bytes());
    } else {
        println!("without the barrier {shown} are lost, with it none of {rounds}");
    }
}
