//! The page that the coordinator and the workers of one contender share: which workers are ready,
//! which turn it is.
//!
//! The workers of all contenders of a scenario live at the same time, and work in turns; between
//! them they sleep. The coordinator alone moves a turn on: it is warmed up, measured, and ended.

use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::Duration;

use harness::memory::{self, Atomics};
use rustix::io::Errno;
use rustix::thread::futex;

use crate::Outcome;

/// Where a contender's workers are: the turn's number and what is done in it, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phase(u32);

impl Phase {
    /// Senders stop, receivers go on to the mark; then all sleep.
    const REST: u32 = 0;
    const WARM: u32 = 1;
    const MEASURED: u32 = 2;
    /// There are no more turns.
    const OVER: Self = Self(u32::MAX);

    fn turn(self) -> u32 {
        self.0 >> 2
    }

    /// What is done now counts.
    pub fn is_measured(self) -> bool {
        self.0 & 3 == Self::MEASURED
    }

    pub fn is_rest(self) -> bool {
        self.0 & 3 == Self::REST
    }
}

/// A counter on cache lines of its own.
#[repr(C, align(256))]
struct Line(AtomicU32);

#[repr(C)]
struct Page {
    phase: Line,
    senders_attached: Line,
    rested: Line,
    senders_done: Line,
    marks_taken: Line,
}

// SAFETY: atomics, and structures of such.
unsafe impl Atomics for Page {}

/// The page, mapped for as long as the process lives.
#[derive(Clone, Copy)]
pub struct Control(&'static Page);

impl Control {
    /// A new page and its descriptor, which workers inherit.
    pub fn create() -> Outcome<(Self, OwnedFd)> {
        let fd = memory::create("peers-control", size_of::<Page>())?;
        Ok((Self::map(&fd)?, fd))
    }

    /// The page that the coordinator made.
    pub fn inherit(fd: RawFd) -> Outcome<Self> {
        // SAFETY: the coordinator left this descriptor to this process, and nobody else uses it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Self::map(&fd)
    }

    fn map(fd: impl AsFd) -> Outcome<Self> {
        Ok(Self(memory::shared(fd, size_of::<Page>())?))
    }

    /// Which phase it is.
    #[inline(always)]
    pub fn phase(self) -> Phase {
        Phase(self.0.phase.0.load(Relaxed))
    }

    /// All `workers` have ended the turn that was last (or are ready for the first).
    pub fn all_rest(self, workers: u32) -> bool {
        self.0.rested.0.load(Acquire) == workers * (self.phase().turn() + 1)
    }

    /// Begins the next turn.
    pub fn begin(self) {
        self.set(Phase((self.phase().turn() + 1) << 2 | Phase::WARM));
    }

    /// From now on it counts.
    pub fn measure(self) {
        self.set(Phase(self.phase().turn() << 2 | Phase::MEASURED));
    }

    /// Ends the turn.
    pub fn rest(self) {
        self.set(Phase(self.phase().turn() << 2 | Phase::REST));
    }

    /// There are no more turns.
    pub fn end(self) {
        self.set(Phase::OVER);
    }

    fn set(self, phase: Phase) {
        self.0.phase.0.store(phase.0, Release);
        // Fails for no reason that could be mended.
        let _ = futex::wake(&self.0.phase.0, futex::Flags::empty(), i32::MAX as u32);
    }

    /// This sender is attached.
    pub fn sender_attached(self) {
        self.0.senders_attached.0.fetch_add(1, AcqRel);
    }

    /// Waits until all senders are attached.
    pub fn until_senders_attached(self, senders: u32) {
        while self.0.senders_attached.0.load(Acquire) < senders {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Sleeps until the turn after `last` begins; `None`: there is none.
    pub fn next_turn(self, last: Phase) -> Outcome<Option<Phase>> {
        self.0.rested.0.fetch_add(1, AcqRel);
        loop {
            let phase = Phase(self.0.phase.0.load(Acquire));
            if phase == Phase::OVER {
                return Ok(None);
            }
            if phase.turn() > last.turn() {
                return Ok(Some(phase));
            }
            match futex::wait(&self.0.phase.0, futex::Flags::empty(), phase.0, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// This sender has sent all its items of the turn; `true` for the last one.
    pub fn sender_done(self, senders: u32) -> bool {
        (self.0.senders_done.0.fetch_add(1, AcqRel) + 1).is_multiple_of(senders)
    }

    /// How many marks receivers have taken, in all turns.
    pub fn marks_taken(self) -> u32 {
        self.0.marks_taken.0.load(Acquire)
    }

    /// This receiver has its mark, and takes nothing more in this turn.
    pub fn mark_taken(self) {
        self.0.marks_taken.0.fetch_add(1, AcqRel);
    }
}
