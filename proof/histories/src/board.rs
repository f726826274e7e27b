//! What the overseer and the workers share: orders, and logs that outlive a killed worker.
//!
//! It lies in memory that is mapped before the workers are forked, so it is at the same address in
//! all. Everything is an atomic. A worker that is killed leaves its log as it was at that
//! instruction; an entry counts as returned only when everything else of it is there.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use harness::memory::{self, Atomics};
use histories::history::{Answer, SLOTS};

use crate::plan::{CALLS, WORKERS};

/// All of it.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Board {
    /// Moments: each is drawn once. Draws order the memory accesses around them, as whatever tells
    /// one process that another's call is over does.
    pub stamp: AtomicU64,
    /// The history's number.
    pub history: AtomicU64,
    /// 0: SPSC, 1: MPMC.
    pub kind: AtomicU32,
    /// The ring's slots.
    pub capacity: AtomicU32,
    /// The overseer's descriptor of the ring, and which ring that is.
    pub descriptor: AtomicU32,
    /// Another number for every ring.
    pub ring: AtomicU32,
    /// See `Places`.
    pub places: AtomicU32,
    /// Workers in this history.
    pub workers: AtomicU32,
    /// Workers that have attached.
    pub ready: AtomicU32,
    /// Workers that are through; the overseer sleeps here.
    pub done: AtomicU32,
    /// A worker's each.
    pub lanes: [Lane; WORKERS],
}

/// A worker's orders and log.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Lane {
    /// Moves for every history that it is in; the worker sleeps here.
    pub call: AtomicU32,
    /// 0: sends, 1: receives.
    pub receives: AtomicU32,
    /// See `Part::policy`.
    pub policy: AtomicU32,
    /// Calls to make.
    pub calls: AtomicU32,
    /// `Ambush`.
    pub ambush: AtomicU64,
    /// How often the ambush has stalled it.
    pub stalled: AtomicU32,
    /// Something went wrong in the worker that is no answer: see [`Record::wrong`].
    pub wrong: AtomicU32,
    /// `Step`s.
    pub steps: [AtomicU64; CALLS],
    /// What came of them.
    pub log: [Record; CALLS],
}

/// One call.
#[repr(C)]
#[derive(Debug)]
pub struct Record {
    invoked: AtomicU64,
    returned: AtomicU64,
    code: AtomicU64,
    count: AtomicU64,
    again: AtomicU64,
    items: [AtomicU64; SLOTS],
}

const SENT: u64 = 1;
const RECEIVED: u64 = 2;
const NOT_READY: u64 = 3;
const CLOSED: u64 = 4;
const HELD: u64 = 5;
const FRAGMENTED: u64 = 6;
const GONE: u64 = 7;
// SAFETY: atomics, and structures and arrays of such.
unsafe impl Atomics for Board {}

impl Board {
    /// A new one, all zero. It is never unmapped.
    pub fn map() -> Result<&'static Self, String> {
        let mapped = memory::create("histories-board", size_of::<Self>())
            .and_then(|fd| memory::shared(fd, size_of::<Self>()));
        mapped.map_err(|e| format!("the board: {e}"))
    }

    /// A new moment.
    #[inline(always)]
    pub fn draw(&self) -> u64 {
        self.stamp.fetch_add(1, AcqRel) + 1
    }
}

impl Record {
    /// Forgets the last history's.
    pub fn clear(&self) {
        self.invoked.store(0, Relaxed);
        self.returned.store(0, Relaxed);
    }

    /// The call begins.
    #[inline(always)]
    pub fn invoke(&self, at: u64) {
        self.invoked.store(at, Release);
    }

    /// The call has ended.
    pub fn conclude(&self, at: u64, answer: &Answer) {
        let (code, count) = match answer {
            Answer::Sent(count) => (SENT, *count),
            Answer::Received(items, again) => {
                for (word, &item) in self.items.iter().zip(items) {
                    word.store(item, Relaxed);
                }
                self.again.store((*again).into(), Relaxed);
                (RECEIVED, items.len() as u8)
            }
            Answer::NotReady => (NOT_READY, 0),
            Answer::Closed => (CLOSED, 0),
            Answer::Held(count) => (HELD, *count),
            Answer::Fragmented(count) => (FRAGMENTED, *count),
            Answer::Gone => (GONE, 0),
        };
        self.code.store(code, Relaxed);
        self.count.store(count.into(), Relaxed);
        self.returned.store(at, Release);
    }

    /// When it began; 0 if it did not.
    pub fn invoked(&self) -> u64 {
        self.invoked.load(Acquire)
    }

    /// When it ended, and with what.
    pub fn returned(&self) -> Option<(u64, Answer)> {
        let at = self.returned.load(Acquire);
        let count = self.count.load(Relaxed) as u8;
        let answer = match self.code.load(Relaxed) {
            SENT => Answer::Sent(count),
            RECEIVED => {
                let items = self.items.iter().take(count.into());
                let again = self.again.load(Relaxed) as u8;
                Answer::Received(items.map(|item| item.load(Relaxed)).collect(), again)
            }
            NOT_READY => Answer::NotReady,
            CLOSED => Answer::Closed,
            HELD => Answer::Held(count),
            FRAGMENTED => Answer::Fragmented(count),
            _ => Answer::Gone,
        };
        (at != 0).then_some((at, answer))
    }
}

/// Sleeps while `word` is `value`, for as long as `limit` at the most.
pub fn sleep(word: &AtomicU32, value: u32, limit: Duration) {
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: the word and the time outlive the call. Any outcome means: look again.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const limit)
    };
}

/// Wakes who sleeps on `word`.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
