//! The page that the coordinator and the workers of one run share: who is ready, which phase it is.
//!
//! A run has phases, and the coordinator alone moves them on: everybody attaches (senders first,
//! since some contenders are created by their sender), waits, warms up, is measured, stops.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::Outcome;

/// Attaching; workers that are ready wait for the next phase.
pub const READY: u32 = 0;
/// The work is done, and not yet measured.
pub const WARM: u32 = 1;
/// What is done now counts.
pub const MEASURED: u32 = 2;
/// Senders stop; receivers go on to the end marks.
pub const STOP: u32 = 3;

/// A counter on cache lines of its own.
#[repr(C, align(256))]
struct Line(AtomicU32);

#[repr(C)]
struct Page {
    phase: Line,
    senders_attached: Line,
    ready: Line,
    senders_done: Line,
    receivers_done: Line,
}

/// The page, mapped for as long as the process lives.
#[derive(Clone, Copy)]
pub struct Control(&'static Page);

impl Control {
    /// A new page and its descriptor, which workers inherit.
    pub fn create() -> Outcome<(Self, OwnedFd)> {
        let fd = memfd_create("peers-control", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, size_of::<Page>() as u64)?;
        Ok((Self::map(&fd)?, fd))
    }

    /// The page that the coordinator made.
    pub fn inherit(fd: RawFd) -> Outcome<Self> {
        // SAFETY: the coordinator left this descriptor to this process, and nobody else uses it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Self::map(&fd)
    }

    fn map(fd: &OwnedFd) -> Outcome<Self> {
        Ok(Self(shared::<Page>(fd.as_raw_fd(), size_of::<Page>())?))
    }

    /// Which phase it is.
    #[inline(always)]
    pub fn phase(self) -> u32 {
        self.0.phase.0.load(Relaxed)
    }

    pub fn set_phase(self, phase: u32) {
        self.0.phase.0.store(phase, Release);
    }

    pub fn ready(self) -> u32 {
        self.0.ready.0.load(Acquire)
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

    /// The start barrier.
    pub fn ready_and_wait(self) {
        self.0.ready.0.fetch_add(1, AcqRel);
        while self.0.phase.0.load(Acquire) == READY {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// This sender has sent all its items; `true` for the last one.
    pub fn sender_done(self, senders: u32) -> bool {
        self.0.senders_done.0.fetch_add(1, AcqRel) + 1 == senders
    }

    /// This receiver has met its end mark.
    pub fn receiver_done(self) {
        self.0.receivers_done.0.fetch_add(1, AcqRel);
    }

    /// Waits until every receiver has met its end mark: until then, the sending ends stay open.
    pub fn until_receivers_done(self, receivers: u32) {
        while self.0.receivers_done.0.load(Acquire) < receivers {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Maps shared memory as a `T` that is made of atomics, for ever.
pub fn shared<T>(fd: RawFd, len: usize) -> Outcome<&'static T> {
    assert!(len >= size_of::<T>());
    // SAFETY: the descriptor is open for the duration of the call.
    let fd = unsafe { rustix::fd::BorrowedFd::borrow_raw(fd) };
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // Present from the start, so that no contender's first lap is slower for page faults.
    let flags = MapFlags::SHARED | MapFlags::POPULATE;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
    let at = unsafe { mmap(std::ptr::null_mut(), len, access, flags, fd, 0) }?;
    // SAFETY: page-aligned, never unmapped, at least as long as `T`, which is all atomics: callers
    // pass no other type, and any bytes are a valid one.
    Ok(unsafe { &*at.cast::<T>() })
}
