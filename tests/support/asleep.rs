//! Seeing from outside whether a thread sleeps in a ring, spins, or stands still.
//!
//! `/proc/PID/task/TID/syscall` shows the system call that a thread is blocked in. A ring's futex
//! is shared between processes, so its operation lacks `FUTEX_PRIVATE_FLAG`, which tells it from
//! every lock and thread parker of the standard library.

/// The futex that takes a 64-bit time where a `long` has 32 bits; libc has no name for it.
const FUTEX_TIME64: libc::c_long = 422;

/// Blocked in a futex wait on a word that processes share.
pub fn in_shared_futex(pid: u32, tid: u32) -> bool {
    // Gone, if it cannot be read: then it does not sleep either.
    let line = read(pid, tid, "syscall").unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    let number = words.next().and_then(|n| n.parse::<libc::c_long>().ok());
    // Arguments in hexadecimal: the word's address, then the operation.
    let operation =
        words.nth(1).and_then(|op| i32::from_str_radix(op.trim_start_matches("0x"), 16).ok());
    // A call that was interrupted without a handler having run (by a stop, say) goes on under
    // another number, with the same arguments.
    matches!(number, Some(libc::SYS_futex | FUTEX_TIME64 | libc::SYS_restart_syscall))
        && operation.is_some_and(|op| {
            op & libc::FUTEX_CMD_MASK == libc::FUTEX_WAIT_BITSET
                && op & libc::FUTEX_PRIVATE_FLAG == 0
        })
}

/// Waits until a thread of this process sleeps in a ring.
pub fn until_thread_sleeps(tid: u32) {
    super::until("a thread asleep in a ring", || {
        in_shared_futex(std::process::id(), tid).then_some(())
    });
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
