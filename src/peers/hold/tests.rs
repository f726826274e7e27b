//! Locks on a file of nobody else's, and patience.

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{Asking, Hold, RegionFile, Share, is_held, is_locked, lock_command};

#[test]
fn a_lock_is_seen_through_every_other_description_of_its_file() {
    let file = memfd_create("ringpipe-hold", MemfdFlags::CLOEXEC).expect("a file");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let other = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("again");
    let lock = |kind, byte| {
        lock_command(other.as_fd(), libc::F_OFD_SETLK, kind, byte, 1).expect("nobody else locks");
    };
    let (fd, byte) = (file.as_fd(), 5);
    assert!(!is_held(fd, byte, 1).unwrap() && !is_locked(fd, byte).unwrap());
    // An end's.
    lock(libc::F_WRLCK, byte);
    assert!(is_held(fd, byte, 1).unwrap() && is_locked(fd, byte).unwrap());
    assert!(is_held(fd, byte - 2, 3).unwrap() && !is_held(fd, byte - 2, 2).unwrap());
    assert!(!is_locked(fd, byte + 1).unwrap());
    // One of several, who keep nobody out but him who would have it alone.
    lock(libc::F_RDLCK, byte);
    assert!(!is_held(fd, byte, 1).unwrap() && is_locked(fd, byte).unwrap());
    lock(libc::F_UNLCK, byte);
    assert!(!is_locked(fd, byte).unwrap());
}

#[test]
fn a_lock_that_cannot_be_had_is_no_lock_of_somebody_elses() {
    let file = memfd_create("ringpipe-hold", MemfdFlags::CLOEXEC).expect("a file");
    let region = RegionFile::of(file.as_fd()).expect("it is there");
    let first = Hold::take(region, 5, Share::Exclusive).expect("a memfd keeps locks");
    assert!(first.is_some());
    assert!(Hold::take(region, 5, Share::Shared).expect("to be told").is_none());
    // No file has a byte before its first.
    let refused = Hold::take(region, -1, Share::Exclusive).expect_err("no such byte");
    assert_eq!(refused.source.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn who_asks_again_does_so_for_a_second_and_twenty_times() {
    let Some(long_ago) = Instant::now().checked_sub(Asking::LONG_ENOUGH + Duration::from_secs(1))
    else {
        return; // the machine has just been started
    };
    let mut asking = Asking { began: long_ago, ..Asking::new() };
    assert!((1..Asking::OFTEN_ENOUGH).all(|_| asking.again()));
    assert!(!asking.again());

    let mut asking = Asking::new();
    for _ in 0..2 * Asking::OFTEN_ENOUGH {
        let again = asking.again();
        assert!(again || asking.began.elapsed() >= Asking::LONG_ENOUGH);
    }
}
