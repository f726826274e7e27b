//! What a round trip is measured by: one over two bare cache lines, which nothing can be faster
//! than, and one over two bare futexes, which always sleep (a ring looks again before it does).
//! They pass one value at a time and would overwrite a second one, so they take part in round trips
//! only.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use harness::memory::{self, Atomics};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait, Work};
use crate::Outcome;

#[repr(C, align(1024))]
struct Line {
    /// Increases with every value.
    value: AtomicU64,
    futex: AtomicU32,
}

// SAFETY: atomics.
unsafe impl Atomics for Line {}

fn lay() -> Outcome<Laid> {
    Ok(Laid::of([memory::create("peers-line", size_of::<Line>())?]))
}

fn trips(link: &Link, wait: Wait) -> Result<(), &'static str> {
    match link.work == Work::Trips && link.wait == wait && link.size == 8 {
        true => Ok(()),
        false => Err("a limit for 8-byte round trips"),
    }
}

/// One cache line each way, both sides spinning.
pub struct TwoLines;

impl Contender for TwoLines {
    const NAME: &'static str = "two-lines";
    type Door<P: Payload> = LineDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        trips(link, Wait::Spin)
    }

    fn lay<P: Payload>(_: &Link) -> Outcome<Laid> {
        lay()
    }

    fn door<P: Payload>(link: &Link) -> Outcome<LineDoor> {
        Ok(LineDoor(memory::shared(link.fd(), size_of::<Line>())?, link.pause()))
    }
}

pub struct LineDoor(&'static Line, Pause);
pub struct LineEnd(&'static Line, Pause, u64);

impl<P: Payload> Door<P> for LineDoor {
    type Tx = LineEnd;
    type Rx = LineEnd;

    fn tx(&self) -> Outcome<LineEnd> {
        Ok(LineEnd(self.0, self.1, 0))
    }

    fn rx(&self) -> Outcome<LineEnd> {
        Ok(LineEnd(self.0, self.1, 0))
    }
}

impl<P: Payload> Tx<P> for LineEnd {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.0.value.store(item.label(), Release);
        Ok(())
    }
}

impl<P: Payload> Rx<P> for LineEnd {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let (value, last) = (&self.0.value, self.2);
        self.2 = self.1.until(|| Some(value.load(Acquire)).filter(|now| *now != last));
        let mut item = P::zeroed();
        item.set_label(self.2);
        look(&item);
        Ok(())
    }
}

/// One futex each way, both sides sleeping at once.
pub struct Futex;

impl Contender for Futex {
    const NAME: &'static str = "raw-futex";
    type Door<P: Payload> = FutexDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        trips(link, Wait::Sleep)
    }

    fn lay<P: Payload>(_: &Link) -> Outcome<Laid> {
        lay()
    }

    fn door<P: Payload>(link: &Link) -> Outcome<FutexDoor> {
        Ok(FutexDoor(memory::shared(link.fd(), size_of::<Line>())?))
    }
}

pub struct FutexDoor(&'static Line);
pub struct FutexEnd(&'static Line, u32);

impl<P: Payload> Door<P> for FutexDoor {
    type Tx = FutexEnd;
    type Rx = FutexEnd;

    fn tx(&self) -> Outcome<FutexEnd> {
        Ok(FutexEnd(self.0, 0))
    }

    fn rx(&self) -> Outcome<FutexEnd> {
        Ok(FutexEnd(self.0, 0))
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let none = std::ptr::null::<libc::timespec>();
    // SAFETY: the word stays mapped; no timeout. Failures (it has changed, a signal) are answered
    // by looking again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, none) };
}

impl<P: Payload> Tx<P> for FutexEnd {
    fn send(&mut self, item: &P) -> Outcome {
        self.0.value.store(item.label(), Relaxed);
        self.0.futex.fetch_add(1, Release);
        futex(&self.0.futex, libc::FUTEX_WAKE, 1);
        Ok(())
    }
}

impl<P: Payload> Rx<P> for FutexEnd {
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        while self.0.futex.load(Acquire) == self.1 {
            futex(&self.0.futex, libc::FUTEX_WAIT, self.1);
        }
        self.1 += 1;
        let mut item = P::zeroed();
        item.set_label(self.0.value.load(Relaxed));
        look(&item);
        Ok(())
    }
}
