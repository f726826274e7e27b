//! Ctrl-C, the way a program with blocking calls wants it.
//!
//! The handler does one thing: it cancels the ring handle, which a signal handler may do. The
//! blocked call then returns `Cancelled`, the program closes its end properly (so the other side
//! sees end-of-file or a broken pipe at once) and ends as if the signal had ended it.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ringpipe::Canceller;

const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

static CANCELLER: OnceLock<Canceller> = OnceLock::new();
static CAUGHT: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: libc::c_int) {
    CAUGHT.store(signal, Relaxed);
    // Once set, reading a `OnceLock` is a load; `cancel` is made for handlers.
    if let Some(canceller) = CANCELLER.get() {
        canceller.cancel();
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP cancel `canceller`'s handle, each once: the second one
/// of a kind ends the program on the spot, should it be stuck elsewhere.
///
/// A signal that the program was told to ignore (`nohup`, a shell's background job) stays ignored.
pub fn cancel_on_signals(canceller: Canceller) -> io::Result<()> {
    // Once per program; a second canceller would never be used, so it is a mistake.
    CANCELLER.set(canceller).map_err(|_| io::Error::other("signals are being handled already"))?;
    for signal in SIGNALS {
        // SAFETY: `sigaction` is a plain C structure for which all-zero is valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: only reads the present disposition into `action`.
        check(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) })?;
        if action.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
        // Without SA_RESTART: a blocked `poll` must return.
        action.sa_flags = libc::SA_RESETHAND;
        // SAFETY: the handler stores to atomics and wakes a futex: async-signal-safe.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// A signal has arrived. Calls that need not wait go on working after a cancel, so loops ask.
pub fn caught() -> bool {
    CAUGHT.load(Relaxed) != 0
}

/// If a signal was caught: ends the program by it, so that a shell sees what happened. To be
/// called when everything is closed.
pub fn die_if_caught() {
    let signal = CAUGHT.load(Relaxed);
    if signal != 0 {
        // SAFETY: restores a default disposition.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        // SAFETY: sends this process a signal whose default is to end it.
        unsafe { libc::raise(signal) };
    }
}

/// Holds signals back until it is dropped, over a stretch that must not be left half done.
pub struct Held(libc::sigset_t);

impl Held {
    pub fn new() -> io::Result<Self> {
        // SAFETY: `sigset_t` is a plain C type for which all-zero is valid.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        for signal in SIGNALS {
            // SAFETY: `set` is a valid set, the signals exist.
            check(unsafe { libc::sigaddset(&raw mut set, signal) })?;
        }
        let mut before = set;
        // SAFETY: both sets are valid.
        let outcome =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        if outcome != 0 {
            return Err(io::Error::from_raw_os_error(outcome));
        }
        Ok(Self(before))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let nowhere = std::ptr::null_mut();
        // SAFETY: the set was filled in by the kernel. Signals held back arrive here.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, nowhere) };
    }
}

fn check(outcome: libc::c_int) -> io::Result<()> {
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
