//! Seeing from outside whether a thread sleeps in a ring, spins, or stands still.
//!
//! `/proc/PID/task/TID/syscall` shows the system call that a thread is blocked in. A ring's futex
//! is shared between processes, so its operation lacks `FUTEX_PRIVATE_FLAG`, which tells it from
//! every lock and thread parker of the standard library. `killpoints` includes this file, too.

use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

/// The futex that takes a 64-bit time where a `long` has 32 bits; libc has no name for it.
const FUTEX_TIME64: libc::c_long = 422;

/// Sleeps in a ring for long, and not only briefly to look again, as an end does that has just
/// announced that it sleeps: what ends this sleep soon is a wake.
pub fn for_long(pid: u32, tid: u32) -> bool {
    let Some(until) = in_shared_futex(pid, tid) else { return false };
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    until.saturating_sub(now) > BRIEFLY || !longer_sleeps_are_possible()
}

/// Where the kernel has no barrier for it, all sleeps are brief.
fn longer_sleeps_are_possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    // SAFETY: takes three numbers.
    let query = || unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    *POSSIBLE.get_or_init(|| query() >= 0)
}

/// Longer than any brief sleep.
const BRIEFLY: Duration = Duration::from_millis(2);

/// Blocked in a futex wait on a word that processes share: until the clock shows this.
pub fn in_shared_futex(pid: u32, tid: u32) -> Option<Duration> {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    // If it has woken between two looks, it may have written something else there.
    let look = || {
        let (at, len) = wait_ends_at(pid, tid)?;
        let mut time = vec![0; len];
        memory.read_exact_at(&mut time, at).ok()?;
        Some((at, time))
    };
    let (_, time) = look().filter(|first| look().as_ref() == Some(first))?;
    let (seconds, nanoseconds) = time.split_at(time.len() / 2);
    let number = |bytes: &[u8]| match *bytes {
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("numbers of {} bytes", bytes.len()),
    };
    Some(Duration::from_secs(number(seconds)) + Duration::from_nanos(number(nanoseconds)))
}

/// Where a thread that is blocked so keeps the time: two numbers, in so many bytes.
fn wait_ends_at(pid: u32, tid: u32) -> Option<(u64, usize)> {
    // Gone, if it cannot be read: then it does not sleep either.
    let line = read(pid, tid, "syscall")?;
    let mut words = line.split_ascii_whitespace();
    let number = words.next()?.parse::<libc::c_long>().ok()?;
    // Arguments in hexadecimal: the word's address, the operation, what the word is, until when.
    let mut argument = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
    let (_word, operation, _is, until) =
        (argument()?, argument()? as i32, argument()?, argument()?);
    // A call that was interrupted without a handler having run (by a stop, say) goes on under
    // another number, with the same arguments.
    let waits = matches!(number, libc::SYS_futex | FUTEX_TIME64 | libc::SYS_restart_syscall)
        && operation & libc::FUTEX_CMD_MASK == libc::FUTEX_WAIT_BITSET
        && operation & libc::FUTEX_PRIVATE_FLAG == 0;
    let len = if number == FUTEX_TIME64 { 16 } else { size_of::<libc::timespec>() };
    waits.then_some((until, len))
}

/// Nanoseconds for which a thread has run.
pub fn processor_time(pid: u32, tid: u32) -> u64 {
    read(pid, tid, "schedstat").and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// `R`, `S`, `T`, … as `ps` shows it.
pub fn state(pid: u32, tid: u32) -> Option<char> {
    // After the name, which is in parentheses and may contain anything.
    read(pid, tid, "stat")?.rsplit_once(") ")?.1.chars().next()
}

/// For reports.
pub fn whereabouts(pid: u32, tid: u32) -> String {
    let syscall = read(pid, tid, "syscall").unwrap_or_else(|| "gone".into());
    format!("{:?}, {}", state(pid, tid), syscall.trim_end())
}

fn read(pid: u32, tid: u32, what: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/{what}")).ok()
}
