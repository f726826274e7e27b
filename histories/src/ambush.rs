//! Stalls or kills this process in the midst of a call, after a given number of instructions.
//!
//! The processor's trap flag makes every instruction raise `SIGTRAP`; the handler counts, and at the
//! chosen one it either waits until the others have gone on, or sends this process a `SIGKILL`. So a
//! call can be interrupted at any instruction, for as long as others need to get past it, on however
//! few processors: two never run so much at once that chance alone would do it.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::plan::Ambush;

/// The others may have nothing left to do, or wait for this one: then it goes on after this.
const LONGEST: Duration = Duration::from_micros(400);

const TRAP_FLAG: i64 = 0x100;

static LEFT: AtomicU32 = AtomicU32::new(0);
static STAMPS: AtomicU32 = AtomicU32::new(0);
static AGAIN: AtomicU32 = AtomicU32::new(0);
static STALLED: AtomicU32 = AtomicU32::new(0);
static STAMP: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

/// Once in every process: what to watch while stalled.
pub fn prepare(stamp: &'static AtomicU64) -> Result<(), String> {
    STAMP.store((&raw const *stamp).cast_mut(), Relaxed);
    let handler = trapped as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    // SAFETY: all-zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler does nothing that a signal handler may not.
    let outcome = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, null_mut()) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}

/// From here on instructions count.
#[inline(always)]
pub fn lay(ambush: Ambush) {
    LEFT.store(ambush.after.into(), Relaxed);
    STAMPS.store(ambush.stamps.into(), Relaxed);
    AGAIN.store(ambush.again.into(), Relaxed);
    STALLED.store(0, Relaxed);
    // SAFETY: sets the trap flag and nothing else; the handler is installed.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
}

/// No more. How often this process was stalled since [`lay`].
#[inline(always)]
pub fn lift() -> u32 {
    // SAFETY: clears the trap flag and nothing else.
    unsafe { std::arch::asm!("pushfq", "and qword ptr [rsp], -257", "popfq") };
    STALLED.load(Relaxed)
}

extern "C" fn trapped(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let left = LEFT.load(Relaxed).saturating_sub(1);
    LEFT.store(left, Relaxed);
    if left > 0 {
        return;
    }
    let again = AGAIN.swap(0, Relaxed);
    LEFT.store(again, Relaxed);
    match STAMPS.load(Relaxed) {
        0 => die(),
        stamps => stall(stamps.into()),
    }
    if again == 0 {
        // SAFETY: the kernel hands a `ucontext_t` to a handler with `SA_SIGINFO`.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP_FLAG;
    }
}

fn die() {
    // SAFETY: asks for a number.
    let me = unsafe { libc::getpid() };
    // SAFETY: ends this process, which is what it is for.
    unsafe { libc::kill(me, libc::SIGKILL) };
}

fn stall(stamps: u64) {
    STALLED.fetch_add(1, Relaxed);
    // SAFETY: set by `prepare` to a word that is never unmapped.
    let stamp = unsafe { &*STAMP.load(Relaxed) };
    let (began, until) = (Instant::now(), stamp.load(Relaxed) + stamps);
    while stamp.load(Relaxed) < until && began.elapsed() < LONGEST {
        std::thread::yield_now();
    }
}
