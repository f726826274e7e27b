//! The locks on a region's file, as the table of `peers/hold.rs` has them.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Of those who have it open.
pub const BIRTH: i64 = 1 << 62;
/// Of who removes its name.
pub const NAME: i64 = BIRTH + 2;
/// Of who looks whether it was closed.
pub const STATE: i64 = BIRTH + 3;

/// Locks a byte through this description: `F_RDLCK` or `F_WRLCK`. `false`: somebody else has it.
pub fn lock(file: &File, kind: libc::c_int, byte: i64) -> bool {
    // SAFETY: a plain C structure for which all-zero is valid.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    (lock.l_start, lock.l_len) = (byte, 1);
    // SAFETY: the command reads one `flock64`, which outlives the call.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) == 0 }
}
