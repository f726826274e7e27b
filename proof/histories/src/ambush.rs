//! Stalls or kills this process in the midst of a call, at a given instruction.
//!
//! Two processors never run so much at once that chance alone would interrupt calls everywhere. So
//! at the start ([`Marks::survey`]) calls of every form are traced, by the processor's trap flag,
//! for the instructions that they consist of. An ambush puts a breakpoint on one or two of them.
//! Its handler either waits until the others have gone on, or sends this process a `SIGKILL`.
//! Tracing itself would do the same, but costs some 16 µs per instruction in a virtual machine; a
//! breakpoint costs one trap.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The others may have nothing left to do, or wait for this one: then it goes on after this.
const LONGEST: Duration = Duration::from_micros(400);
/// Likewise, of stalls for [`LONG`] moments or more: long enough for others to check whether this
/// one's peers are alive, and to recover what a dead one had claimed beside this one.
const VERY_LONGEST: Duration = Duration::from_millis(5);
/// From so many moments on a stall is a long one.
pub const LONG: u8 = 64;

const TRAP_FLAG: i64 = 0x100;
const BREAKPOINT: u8 = 0xcc;
/// Instructions that one trace can hold.
const TRACE: usize = 1 << 14;

static STAMP: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());
/// How many moments a stall lasts; 0: death.
static STAMPS: AtomicU32 = AtomicU32::new(0);
static STALLED: AtomicU32 = AtomicU32::new(0);
/// Where breakpoints are; 0: nowhere.
static LAID: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// What they replaced.
static REPLACED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
static TRACED: [AtomicUsize; TRACE] = [const { AtomicUsize::new(0) }; TRACE];
static LENGTH: AtomicUsize = AtomicUsize::new(TRACE);

/// Once in every process: what to watch while stalled.
pub fn prepare(stamp: &'static AtomicU64) -> Result<(), String> {
    STAMP.store((&raw const *stamp).cast_mut(), Relaxed);
    let handler = trapped as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    // SAFETY: all-zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler does nothing that a signal handler may not.
    let outcome = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, null_mut()) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}

/// This program's instructions: where they lie.
fn text() -> Result<std::ops::Range<usize>, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|e| e.to_string())?;
    let here = text as *const () as usize;
    let ranges = maps.lines().filter_map(|line| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let hex = |digits| usize::from_str_radix(digits, 16).ok();
        Some(hex(from)?..hex(to)?)
    });
    ranges.into_iter().find(|range| range.contains(&here)).ok_or("no text".into())
}

/// Makes this process's instructions its own, so that breakpoints can be put there.
pub fn own_instructions() -> Result<(), String> {
    let text = text()?;
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    // SAFETY: the mapping is private to this process, and stays readable and executable.
    match unsafe { libc::mprotect(text.start as *mut libc::c_void, text.len(), protection) } {
        0 => Ok(()),
        _ => Err(format!("writable instructions: {}", std::io::Error::last_os_error())),
    }
}

/// The instructions of this program, in order, that `call` consists of.
pub fn trace(call: impl FnOnce()) -> Result<Vec<usize>, String> {
    LENGTH.store(0, Relaxed);
    // SAFETY: sets the trap flag and nothing else; the handler is installed.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    call();
    // SAFETY: clears the trap flag and nothing else.
    unsafe { std::arch::asm!("pushfq", "and qword ptr [rsp], -257", "popfq") };
    let length = LENGTH.swap(TRACE, Relaxed);
    let text = text()?;
    let all = TRACED[..length].iter().map(|at| at.load(Relaxed));
    // Without the last few, which clear the flag.
    Ok(all.take(length.saturating_sub(3)).filter(|at| text.contains(at)).collect())
}

/// Breakpoints from here on. `stamps` 0: death.
pub fn lay(at: [usize; 2], stamps: u8) {
    STAMPS.store(stamps.into(), Relaxed);
    STALLED.store(0, Relaxed);
    LAID[0].store(at[0], Relaxed);
    LAID[1].store(if at[1] == at[0] { 0 } else { at[1] }, Relaxed);
    for (laid, replaced) in LAID.iter().zip(&REPLACED) {
        let at = laid.load(Relaxed);
        if at != 0 {
            replaced.store(exchange(at, BREAKPOINT).into(), Relaxed);
        }
    }
}

/// No more. How often this process was stalled since [`lay`].
pub fn lift() -> u32 {
    take_up();
    STALLED.load(Relaxed)
}

/// Removes the breakpoints that are there.
fn take_up() {
    for (laid, replaced) in LAID.iter().zip(&REPLACED) {
        let at = laid.swap(0, Relaxed);
        if at != 0 {
            exchange(at, replaced.load(Relaxed) as u8);
        }
    }
}

#[inline(always)]
fn exchange(at: usize, byte: u8) -> u8 {
    let at = at as *mut u8;
    // SAFETY: an instruction of this program, which `own_instructions` has made writable.
    let old = unsafe { at.read_volatile() };
    // SAFETY: likewise. It becomes a breakpoint, or what it was.
    unsafe { at.write_volatile(byte) };
    old
}

extern "C" fn trapped(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a `ucontext_t` to a handler with `SA_SIGINFO`.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let at = registers[libc::REG_RIP as usize] as usize;
    if registers[libc::REG_EFL as usize] & TRAP_FLAG != 0 {
        let length = LENGTH.fetch_add(1, Relaxed);
        if length < TRACE {
            TRACED[length].store(at, Relaxed);
        } else {
            LENGTH.store(TRACE, Relaxed);
            registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
        }
        return;
    }
    let Some(which) = LAID.iter().position(|laid| laid.load(Relaxed) == at - 1 && at > 1) else {
        return; // the end of a trace
    };
    registers[libc::REG_RIP as usize] = at as i64 - 1;
    // Both, for what follows may well be made of the same instructions.
    let other = LAID[1 - which].load(Relaxed);
    take_up();
    match STAMPS.load(Relaxed) {
        0 => die(),
        stamps => stall(stamps.into()),
    }
    if other != 0 {
        LAID[0].store(other, Relaxed);
        REPLACED[0].store(exchange(other, BREAKPOINT).into(), Relaxed);
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
    let longest = if stamps < LONG.into() { LONGEST } else { VERY_LONGEST };
    let (began, until) = (Instant::now(), stamp.load(Relaxed) + stamps);
    while stamp.load(Relaxed) < until && began.elapsed() < longest {
        std::thread::yield_now();
    }
}
