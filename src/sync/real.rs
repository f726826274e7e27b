//! The real half of [`sync`](super): hardware atomics, mapped memory, the kernel's futex.
//!
//! The memory of slots is in [`slots`](super::slots).

use std::ptr::NonNull;

pub(crate) use std::hint::spin_loop;
/// A word that no protocol hangs on, which is why the models leave it out.
pub(crate) use std::sync::atomic::AtomicU64 as UnmodelledU64;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, Ordering, compiler_fence, fence,
};

#[cfg(feature = "async")]
pub(crate) use std::sync::{Mutex, MutexGuard};

pub use super::slots::Slots;

/// Something in the region that every attached process shares: atomics, and only atomics.
///
/// A plain pointer with `Deref`, because the mapping it points into is kept alive by the handle
/// that holds it and not by this.
pub struct Shared<T: ?Sized>(NonNull<T>);

impl<T: ?Sized> Shared<T> {
    /// # Safety
    ///
    /// `at` is aligned and valid for reads and writes of all of `T` for as long as the result or a
    /// copy of it is used, and every byte of `T` that is ever accessed lies inside an atomic.
    pub(crate) unsafe fn new(at: NonNull<T>) -> Self {
        Self(at)
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T: ?Sized> std::ops::Deref for Shared<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `new`'s caller promised validity for as long as this is used; concurrent writers
        // are harmless because `T` consists of atomics.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: a `Shared<T>` gives out `&T` alone, so it may go where a `&T` may go.
unsafe impl<T: ?Sized + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for Shared<T> {}

/// Memory barriers that one thread makes others execute: membarrier(2).
pub(crate) mod membarrier {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[cfg(not(miri))]
    use rustix::thread::{MembarrierCommand, membarrier};

    use super::AtomicU32;
    use crate::sync::fact::Fact;

    /// Whether this process has registered, once that is decided. For good: there is no way back.
    static DECISION: Fact = Fact::new();
    /// The same, for the path of every message. Relaxed: it is only ever set when it is true.
    static REGISTERED: AtomicBool = AtomicBool::new(false);

    /// Lets the barriers of others reach this process from now on, if the kernel lets us and nobody
    /// has [declined](decline).
    pub(crate) fn register() {
        let registered = DECISION.get_or(ask);
        REGISTERED.store(registered, Relaxed);
    }

    /// Decides that this process does not register; `false`: too late.
    pub(crate) fn decline() -> bool {
        !DECISION.get_or(|| false)
    }

    /// The barriers of others reach this process.
    #[inline(always)]
    pub(crate) fn reaches_us() -> bool {
        REGISTERED.load(Relaxed)
    }

    #[cfg(not(miri))]
    fn ask() -> bool {
        membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
    }

    /// Makes every thread of every process that has registered, and this one, execute a full
    /// barrier. `false`: the kernel does not let us, and nothing was executed.
    #[cfg(not(miri))]
    pub(crate) fn everywhere(_announced_in: &AtomicU32) -> bool {
        membarrier(MembarrierCommand::GlobalExpedited).is_ok()
    }

    /// Miri does not know the call, so everybody fences.
    #[cfg(miri)]
    fn ask() -> bool {
        false
    }

    #[cfg(miri)]
    pub(crate) fn everywhere(_announced_in: &AtomicU32) -> bool {
        super::fence(super::Ordering::SeqCst); // B1 ↔ B2, under Miri alone
        true
    }
}

/// The kernel's futex on words that several processes map.
pub(crate) mod futex {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use rustix::io::Errno;
    #[cfg(not(all(miri, target_pointer_width = "32")))]
    use rustix::thread::futex::wait_bitset;
    #[cfg(not(miri))]
    use rustix::thread::futex::wake_bitset;
    use rustix::thread::futex::{Flags, Timespec};

    use super::AtomicU32;
    use crate::wait::pace::sleep;

    /// Sleeps while `word` holds `expected`, until woken by a wake that shares a bit with `whom` or
    /// until the clock shows `until` (nanoseconds of `CLOCK_MONOTONIC`). Returns for any reason or
    /// none (a wake, a changed word, the time, a signal): the caller looks at the ring again in
    /// every case.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, whom: u32, until: u64) {
        let until = timespec(until);
        // Flags::empty() makes the futex shared between processes; BITSET takes an absolute time,
        // so that a signal cannot stretch the wait.
        match wait_bitset(word, Flags::empty(), expected, Some(&until), bits(whom)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            // No futex for us (a sandbox forbids it, a truncation took the word away): look again
            // soon, without burning a processor.
            Err(_) => sleep(Duration::from_millis(1)),
        }
    }

    pub(super) fn timespec(nanoseconds: u64) -> Timespec {
        Timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as i64,
            tv_nsec: (nanoseconds % 1_000_000_000) as _,
        }
    }

    /// Wakes up to `count` of those sleepers on `word` who share a bit with `whom`.
    pub(crate) fn wake(word: &AtomicU32, count: u32, whom: u32) {
        // The kernel reads the count as a signed int. A failure (a hostile truncation can unmap
        // the word) leaves the sleepers to their slices.
        let _ = wake_bitset(word, Flags::empty(), count.min(i32::MAX as u32), bits(whom));
    }

    /// The kernel refuses the empty set.
    fn bits(whom: u32) -> NonZeroU32 {
        NonZeroU32::new(whom).unwrap_or(NonZeroU32::MAX)
    }

    /// rustix turns the number 0 into the pointer that a wake does not need, which Miri refuses
    /// under `-Zmiri-strict-provenance`.
    #[cfg(miri)]
    fn wake_bitset(
        word: &AtomicU32,
        _: Flags,
        count: u32,
        whom: NonZeroU32,
    ) -> rustix::io::Result<usize> {
        let (word, none) = (word.as_ptr(), std::ptr::null::<()>());
        let command = libc::FUTEX_WAKE_BITSET;
        // SAFETY: the word is valid for the call, which does not use the other pointers.
        let woken =
            unsafe { libc::syscall(libc::SYS_futex, word, command, count, none, none, whom.get()) };
        usize::try_from(woken).map_err(|_| Errno::INVAL)
    }

    /// Where a `long` has 32 bits rustix calls the futex that takes a 64-bit time, which Miri does
    /// not know.
    #[cfg(all(miri, target_pointer_width = "32"))]
    fn wait_bitset(
        word: &AtomicU32,
        _: Flags,
        expected: u32,
        until: Option<&Timespec>,
        bits: NonZeroU32,
    ) -> rustix::io::Result<()> {
        let until = until.map(|until| libc::timespec {
            tv_sec: until.tv_sec.try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: until.tv_nsec as _,
        });
        let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (word, second) = (word.as_ptr(), std::ptr::null::<u32>());
        let wait = libc::FUTEX_WAIT_BITSET;
        // SAFETY: the word and the time are valid for the call.
        let outcome = unsafe {
            libc::syscall(libc::SYS_futex, word, wait, expected, until, second, bits.get())
        };
        match outcome {
            0 => Ok(()),
            _ => {
                Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
            }
        }
    }
}

/// The kernel's futex for whoever sleeps at several words.
#[cfg(feature = "async")]
pub(crate) mod futexes {
    use rustix::io::Errno;
    use rustix::thread::futex::{Wait, WaitFlags, WaitPtr, WaitvFlags, waitv};
    use rustix::time::ClockId;

    use super::AtomicU32;
    use super::futex::timespec;

    /// The most words that one thread can sleep at ([`wait_any`]).
    pub(crate) const MOST_WORDS: usize = 128;

    /// What has ended a sleep at several words.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum End {
        /// A wake of the word with this index; perhaps others were woken, too.
        Woken(usize),
        /// A word was another already, the time, or a signal.
        Else,
        /// The kernel does not know the call, or forbids it: there was no sleep.
        Refused,
    }

    /// Sleeps while each word holds what is expected, until one of them is woken, by any wake, or
    /// until the clock shows `until`.
    pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], until: u64) -> End {
        let words = words.iter().map(|&(word, expected)| {
            let mut wait = Wait::new();
            wait.val = expected.into();
            wait.uaddr = WaitPtr::new(word.as_ptr().cast());
            wait.flags = WaitFlags::SIZE_U32; // shared between processes
            wait
        });
        let until = timespec(until);
        match waitv(
            &words.collect::<Vec<_>>(),
            WaitvFlags::empty(),
            Some(&until),
            ClockId::Monotonic,
        ) {
            Ok(woken) => End::Woken(woken),
            Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => End::Else,
            Err(_) => End::Refused,
        }
    }
}
