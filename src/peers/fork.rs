//! Noticing a `fork`, at the cost of one load.
//!
//! A forked child inherits its parent's handles but none of its records: those belong to the
//! parent, whose locks the child does not share ([`hold`](super::hold)). So the child's copies must
//! touch nothing. One page of the process is marked `MADV_WIPEONFORK`: the kernel hands the child a
//! zeroed copy. A random number is kept there, and every handle remembers the number it was made
//! under; a child that makes handles of its own stores another number first. This catches every
//! fork there is, raw `clone` included, but for `vfork`, whose child shares the parent's memory and
//! may do nothing but `exec`.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::shm::random_u64;
use crate::wait::pace::sleep;

#[cfg(all(test, not(loom), not(miri)))]
mod tests;

/// The process image that something belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    page: &'static AtomicU64,
    number: u64,
}

impl Image {
    /// The one that calls.
    pub(crate) fn current() -> io::Result<Self> {
        let page = page()?;
        // Relaxed, all: the number means nothing but itself, and a fork orders everything.
        let fresh = random_u64() | 1;
        let number =
            match page.image.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => fresh,
                Err(present) => present,
            };
        Ok(Self { page: &page.image, number })
    }

    /// Whether the caller is that image, rather than a child forked from it.
    #[inline(always)]
    pub(crate) fn is_current(self) -> bool {
        self.page.load(Ordering::Relaxed) == self.number
    }
}

/// What the page holds. All zero in a process that has just been forked.
#[repr(C)]
struct Page {
    /// The number of this process image; 0 before anyone asked.
    image: AtomicU64,
    /// The thread that holds forks off, or forks; 0 if none.
    gate: AtomicU64,
    /// How often it has closed the gate.
    depth: AtomicU64,
    /// The handlers are registered.
    registered: AtomicU64,
}

/// How often who finds the gate closed makes way for threads of its own priority before it sleeps.
const YIELDS: u32 = 8;
/// And then sleeps at a time: about as long as the gate is closed.
const MOMENT: Duration = Duration::from_micros(50);

/// While it lives, nobody in this process forks through libc: other threads wait at the gate, and no
/// signal handler interrupts the one that has closed it. (A raw `clone` system call asks nobody, nor
/// does glibc's `_Fork`.) Its owner allocates nothing meanwhile: an allocator may have handlers, too.
#[derive(Debug)]
pub(crate) struct HeldOff {
    /// Opens the gate before signals come through again.
    _gate: Gate,
    _signals: NoSignals,
}

/// Holds forks off.
pub(crate) fn hold_off() -> io::Result<HeldOff> {
    let page = page()?;
    // F2 ← F1: the handlers are registered.
    if page.registered.load(Ordering::Acquire) == 0 {
        // Two threads may come here at once, or a child that has inherited its parent's handlers:
        // the gate counts, so that handlers may run more than once.
        // SAFETY: the handlers do no more than a handler may.
        let outcome =
            unsafe { libc::pthread_atfork(Some(close_gate), Some(open_gate), Some(open_gate)) };
        if outcome != 0 {
            return Err(io::Error::from_raw_os_error(outcome));
        }
        page.registered.store(1, Ordering::Release); // F1 → F2: the handlers are registered
    }
    match page.close() {
        Ok(signals) => Ok(HeldOff { _gate: Gate, _signals: signals }),
        Err(e) => {
            page.open();
            Err(e)
        }
    }
}

/// Opens the gate.
#[derive(Debug)]
struct Gate;

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(page) = mapped() {
            page.open();
        }
    }
}

/// While it lives, no signal interrupts this thread, but for those of its own faults: their handlers
/// must run, or the kernel ends the process. (One of `SIGSYS` may be a sandbox that makes this very
/// thread's system calls for it.)
#[derive(Debug)]
pub(crate) struct NoSignals {
    before: libc::sigset_t,
    /// A mask is a thread's own.
    not_send: PhantomData<*const ()>,
}

impl NoSignals {
    pub(crate) fn begin() -> io::Result<Self> {
        let mut all = MaybeUninit::uninit();
        // SAFETY: fills the set that it is given.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        for own in
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS]
        {
            // SAFETY: takes a signal out of the set, which has just been filled.
            unsafe { libc::sigdelset(all.as_mut_ptr(), own) };
        }
        let mut before = MaybeUninit::uninit();
        // SAFETY: reads the set just filled, and writes the other, which is long enough.
        let outcome =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        if outcome != 0 {
            return Err(io::Error::from_raw_os_error(outcome));
        }
        // SAFETY: the call has succeeded, so it is written.
        Ok(Self { before: unsafe { before.assume_init() }, not_send: PhantomData })
    }
}

impl Drop for NoSignals {
    fn drop(&mut self) {
        // SAFETY: reads a set that the system has filled in; the previous one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

/// A lock: attachments and forks are rare, and it is held for some system calls. Whoever finds it
/// taken makes way a few times and then sleeps, so that an owner of lower priority, on the same
/// processor, gets to run.
impl Page {
    /// Closes it. Signals wait from then on, as long as what is returned lives: a handler that found
    /// the gate just closed by its own thread, and not counted yet, would open it. While this thread
    /// waits for the gate, they come through. `Err`: they cannot be kept; the gate is closed.
    fn close(&self) -> io::Result<NoSignals> {
        let me = rustix::thread::gettid().as_raw_nonzero().get() as u64;
        let mut tries = 0;
        loop {
            let signals = NoSignals::begin();
            // F4 ← F3: an ordinary lock.
            let take = || self.gate.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed);
            // Relaxed: only this thread ever stores its own number.
            if self.gate.load(Ordering::Relaxed) == me || take().is_ok() {
                self.depth.fetch_add(1, Ordering::Relaxed); // under the lock
                return signals;
            }
            drop(signals);
            tries += 1;
            if tries <= YIELDS {
                std::thread::yield_now();
            } else {
                sleep(MOMENT);
            }
        }
    }

    fn open(&self) {
        let me = rustix::thread::gettid().as_raw_nonzero().get() as u64;
        // In a forked child the gate is open already, whoever closed it in the parent.
        if self.gate.load(Ordering::Relaxed) == me
            && self.depth.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.gate.store(0, Ordering::Release); // F3 → F4: an ordinary lock
        }
    }
}

unsafe extern "C" fn close_gate() {
    if let Some(page) = mapped() {
        let _ = page.close(); // the gate is closed, whatever becomes of signals
    }
}

unsafe extern "C" fn open_gate() {
    if let Some(page) = mapped() {
        page.open();
    }
}

/// Null before it was asked for. Not a `OnceLock`, which a child may have inherited half done.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());

/// The page, if there is one yet.
fn mapped() -> Option<&'static Page> {
    // Relaxed: the page was zeroed by the kernel, and all that it holds are atomics.
    let page = PAGE.load(Ordering::Relaxed);
    // SAFETY: null, or what `map_page` made, which is never unmapped.
    unsafe { page.as_ref() }
}

fn page() -> io::Result<&'static Page> {
    if let Some(page) = mapped() {
        return Ok(page);
    }
    let page = map_page()?;
    // Should two threads come here at once, one page is mapped in vain. Relaxed: as above.
    let ours = std::ptr::from_ref(page).cast_mut();
    let before =
        PAGE.compare_exchange(std::ptr::null_mut(), ours, Ordering::Relaxed, Ordering::Relaxed);
    Ok(if before.is_ok() { page } else { mapped().unwrap_or(page) })
}

fn map_page() -> io::Result<&'static Page> {
    let len = rustix::param::page_size();
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::PRIVATE) }?;
    // SAFETY: the range is the mapping just made.
    if let Err(e) = unsafe { madvise(page, len, Advice::LinuxWipeOnFork) } {
        // Whoever asks next makes another.
        // SAFETY: the range is the mapping just made, of which nobody else knows.
        let _ = unsafe { munmap(page, len) };
        return Err(e.into());
    }
    // SAFETY: the page is zeroed, which is a valid `Page`, aligned, long enough and never unmapped.
    Ok(unsafe { &*page.cast::<Page>() })
}
