//! Noticing a `fork`, at the cost of one load.
//!
//! A forked child inherits its parent's handles but none of its seats: those belong to the parent,
//! whose locks the child does not share ([`hold`](super::hold)). So the child's copies must touch
//! nothing. One page of the process is marked `MADV_WIPEONFORK`: the kernel hands the child a zeroed
//! copy. A random number is kept there, and every handle remembers the number it was made under; a
//! child that makes handles of its own stores another number first. This catches every fork there
//! is, raw `clone` included, but for `vfork`, whose child shares the parent's memory and may do
//! nothing but `exec`.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use crate::shm::random_u64;

/// The process image that something belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    page: &'static AtomicU64,
    number: u64,
}

impl Image {
    /// The one that calls.
    pub(crate) fn current() -> io::Result<Self> {
        static PAGE: OnceLock<&'static AtomicU64> = OnceLock::new();
        let page = match PAGE.get() {
            Some(page) => *page,
            // Should two threads come here at once, one page is mapped in vain.
            None => {
                let page = map_page()?;
                PAGE.get_or_init(|| page)
            }
        };
        // Relaxed, all: the number means nothing but itself, and a fork orders everything.
        let fresh = random_u64() | 1;
        let number = match page.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => fresh,
            Err(present) => present,
        };
        Ok(Self { page, number })
    }

    /// Whether the caller is that image, rather than a child forked from it.
    #[inline(always)]
    pub(crate) fn is_current(self) -> bool {
        self.page.load(Ordering::Relaxed) == self.number
    }
}

/// While it lives, no thread of this process forks through libc. (A raw `clone` system call asks
/// nobody.)
#[derive(Debug)]
pub(crate) struct HeldOff(());

/// Taken by those who hold forks off, and by forks.
static GATE: AtomicU64 = AtomicU64::new(0);

/// Holds forks off.
pub(crate) fn hold_off() -> io::Result<HeldOff> {
    static REGISTERED: OnceLock<libc::c_int> = OnceLock::new();
    let outcome = *REGISTERED.get_or_init(|| {
        // SAFETY: the handlers take and give back a spin lock, which is all a handler may do.
        unsafe { libc::pthread_atfork(Some(close_gate), Some(open_gate), Some(open_gate)) }
    });
    if outcome != 0 {
        return Err(io::Error::from_raw_os_error(outcome));
    }
    // SAFETY: safe in truth; `unsafe` is in the type that libc wants.
    unsafe { close_gate() };
    Ok(HeldOff(()))
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        // SAFETY: safe in truth; `unsafe` is in the type that libc wants.
        unsafe { open_gate() };
    }
}

/// A spin lock: attachments and forks are rare, and the child can open what its parent closed.
unsafe extern "C" fn close_gate() {
    // Acquire, release: an ordinary lock.
    while GATE.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
}

unsafe extern "C" fn open_gate() {
    GATE.store(0, Ordering::Release);
}

fn map_page() -> io::Result<&'static AtomicU64> {
    let len = rustix::param::page_size();
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::PRIVATE) }?;
    // SAFETY: the range is the mapping just made.
    unsafe { madvise(page, len, Advice::LinuxWipeOnFork) }?;
    // SAFETY: the page is zeroed, aligned, never unmapped, and only accessed through this.
    Ok(unsafe { AtomicU64::from_ptr(page.cast()) })
}
