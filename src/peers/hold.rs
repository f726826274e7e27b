//! Proof of life: a lock that lives exactly as long as the address space that could still store.
//!
//! An open-file-description lock (`F_OFD_SETLK`) belongs to an open file description and is dropped
//! by the kernel when the last reference to that description goes. A [`Hold`] opens a description
//! of its own, locks a byte of it, maps one page of it inaccessibly and closes the descriptor: the
//! mapping is then the only reference. So the lock
//!
//! * outlives `close_range` over every descriptor, `SIGSTOP`, and any debugger's pause;
//! * goes with `kill -9`, `exit` and `exec`, when the kernel tears the address space down;
//! * is not inherited by `fork` (`MADV_DONTFORK`, and forks are held off for the few system calls
//!   before that, [`fork::hold_off`]): a child neither holds nor prolongs it;
//! * costs no descriptor, knows no process ids, needs no daemon, and works across namespaces.
//!
//! One thing prolongs a hold, for a moment: a program that another thread is just starting by
//! `posix_spawn` or `vfork` shares every descriptor until it runs, so also one that is not a
//! mapping yet. Nothing tells us of such starts. A hold that was let go may thus seem held until
//! the program runs; who wants it asks again ([`NoRecord::Passing`](crate::attach::NoRecord)).
//!
//! The kernel unmaps (and then drops the lock) only after the last thread of the process has
//! stopped executing user code: nothing can be stored in the ring by its holder once the lock is
//! seen free.
//!
//! The bytes lie far beyond the end of any region, so they lock nothing that has content:
//!
//! | byte | who locks it |
//! | --- | --- |
//! | `BIRTH` | everyone who has the region open: shared; a remover of orphans, and the last one to close a file-backed ring: exclusively |
//! | `RECOVERY` | who attaches, has no record yet, and settles what the dead have left, meanwhile |
//! | `NAME` | who removes the region's name, meanwhile |
//! | `STATE` | who opens a file-backed ring, meanwhile ([`state`](crate::shm::state)) |
//! | `SENDERS + i` | the sending end in record `i` |
//! | `RECEIVERS + i` | the receiving end in record `i` |
//!
//! Whether anyone of a role lives is then a single `F_OFD_GETLK` over that role's bytes, asked
//! through a description that holds no lock, as a *read* lock so that it disturbs nobody.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use static_assertions::const_assert_eq;

use super::fork::{self, Image};
use super::table::Role;
use crate::error::{Failed, Step};
use crate::shm::file_system::FileSystem;
use crate::wait::pace::sleep;

#[cfg(all(test, not(miri)))]
mod tests;

/// The byte that says "someone has this region open".
pub(crate) const BIRTH: i64 = 1 << 62;
/// The byte that a recoverer without an endpoint record holds while it works.
pub(crate) const RECOVERY: i64 = BIRTH + 1;
/// The byte that is held from checking what a name leads to until it is unlinked.
pub(crate) const NAME: i64 = BIRTH + 2;
/// The byte that is held from looking at the state of a ring's file until it says that it is open.
pub(crate) const STATE: i64 = BIRTH + 3;
const SENDERS: i64 = BIRTH + 0x1_0000;
const RECEIVERS: i64 = BIRTH + 0x2_0000;

// Processes of all versions agree on these.
const_assert_eq!(RECOVERY, 0x4000_0000_0000_0001);
const_assert_eq!(NAME, 0x4000_0000_0000_0002);
const_assert_eq!(STATE, 0x4000_0000_0000_0003);
const_assert_eq!(SENDERS, 0x4000_0000_0001_0000);
const_assert_eq!(RECEIVERS, 0x4000_0000_0002_0000);

/// The byte that the owner of `record` locks.
pub(crate) fn record_byte(role: Role, record: usize) -> i64 {
    let base = match role {
        Role::Sender => SENDERS,
        Role::Receiver => RECEIVERS,
    };
    base + record as i64
}

/// A region's file, by a descriptor that is expected to lead to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionFile<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    /// What lengths of mappings must be a multiple of.
    pub(crate) page: usize,
    /// Device and inode: descriptors can be closed behind our back, and their numbers reused.
    pub(crate) id: (u64, u64),
}

impl<'a> RegionFile<'a> {
    /// The file that `fd` leads to now.
    pub(crate) fn of(fd: BorrowedFd<'a>) -> Result<Self, Failed> {
        let stat = fstat(fd).map_err(|e| Step::Status.failed(e))?;
        Ok(Self { fd, page: FileSystem::of(fd)?.page(), id: (stat.st_dev, stat.st_ino) })
    }

    /// The descriptor still leads to the file.
    pub(crate) fn is_still_open(self) -> bool {
        fstat(self.fd).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.id)
    }

    /// A description of its own: locks belong to descriptions, and the one behind `fd` may be
    /// shared with whoever passed it here or inherited it.
    fn reopen(self, path: &str) -> Result<OwnedFd, Errno> {
        let own = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            // What is not there: the descriptor, or all of /proc?
            .map_err(|e| fstat(self.fd).err().unwrap_or(e))?;
        let found = fstat(&own)?;
        if (found.st_dev, found.st_ino) != self.id {
            return Err(Errno::STALE); // the descriptor was closed and its number reused
        }
        Ok(own)
    }
}

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Any number of holds at once.
    Shared,
    /// One hold alone.
    Exclusive,
}

impl Share {
    fn kind(self) -> libc::c_int {
        match self {
            Self::Shared => libc::F_RDLCK,
            Self::Exclusive => libc::F_WRLCK,
        }
    }
}

/// A locked byte, kept by a mapping. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct Hold {
    page: NonNull<u8>,
    len: usize,
    image: Image,
}

// SAFETY: the page is inaccessible and only ever unmapped, which any thread may do.
unsafe impl Send for Hold {}
// SAFETY: a shared `Hold` offers nothing.
unsafe impl Sync for Hold {}

impl Hold {
    /// Locks `byte` of the file; `None` if someone else holds it.
    pub(crate) fn take(
        file: RegionFile<'_>,
        byte: i64,
        share: Share,
    ) -> Result<Option<Self>, Failed> {
        let image = Image::current().map_err(|e| Step::NoticeForks.failed(e))?;
        let path = format!("/proc/thread-self/fd/{}", file.fd.as_raw_fd());
        // A child forked between here and the end would inherit the description.
        let no_fork = fork::hold_off().map_err(|e| Step::NoticeForks.failed(e))?;
        let own = file.reopen(&path).map_err(|e| Step::Reopen.failed(e))?;
        let locked = lock_own(own.as_fd(), byte, Some(share));
        if !locked.map_err(|e| Step::LockByte.failed(e))? {
            return Ok(None);
        }
        let (len, protection) = (file.page, ProtFlags::empty());
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
        let mapped =
            unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, &own, 0) }
                .map_err(|e| Step::KeepLock.failed(e))?;
        let page =
            NonNull::new(mapped.cast()).ok_or_else(|| Step::KeepLock.failed(Errno::NOMEM))?;
        let hold = Self { page, len, image };
        // SAFETY: the range is the mapping just made, of which nobody else knows.
        unsafe { madvise(mapped, len, Advice::LinuxDontFork) }
            .map_err(|e| Step::KeepLock.failed(e))?;
        // Core dumps read what this process may not.
        // SAFETY: as above.
        unsafe { madvise(mapped, len, Advice::LinuxDontDump) }
            .map_err(|e| Step::KeepLock.failed(e))?;
        drop(own);
        drop(no_fork);
        // Only now is the mapping alone in keeping the lock. A file system that maps some other
        // file than the one it opened (overlayfs) has lost it; one with locks of its own making may
        // never have had it. The file's other description must see it.
        if !is_locked(file.fd, byte).map_err(|e| Step::AskLocks.failed(e))? {
            let why = io::Error::other("the file system's locks are not kept by mappings");
            return Err(Step::KeepLock.failed(why));
        }
        Ok(Some(hold))
    }

    /// The process that holds it.
    pub(crate) fn image(&self) -> Image {
        self.image
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.image.is_current() {
            return; // a forked child never had this mapping; something else may be there by now
        }
        // SAFETY: the range is this hold's own mapping, and nothing points into it.
        let unmapped = unsafe { munmap(self.page.as_ptr().cast(), self.len) };
        // What the kernel has no memory for, or a sandbox forbids, stays mapped: there is nobody to tell.
        debug_assert!(unmapped != Err(Errno::INVAL), "no mapping of ours");
    }
}

/// Asking again and again for what somebody holds only for a moment: to attach, to recover, to
/// remove a name, or because it is starting a program (above).
#[derive(Debug)]
pub(crate) struct Asking {
    began: Instant,
    times: u32,
    long_enough: Duration,
}

impl Asking {
    /// Far longer than any of these takes.
    const LONG_ENOUGH: Duration = Duration::from_secs(1);
    /// The same for what waits for a disk.
    const PATIENTLY: Duration = Duration::from_secs(10);
    /// And how often at least, on a machine so busy that a second is a few moments.
    const OFTEN_ENOUGH: u32 = 20;

    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), times: 0, long_enough: Self::LONG_ENOUGH }
    }

    /// From now on: what is asked for is held while somebody writes to a disk.
    pub(crate) fn be_patient(&mut self) {
        self.long_enough = Self::PATIENTLY;
    }

    /// Lets a moment pass; `false` if it has been long enough.
    pub(crate) fn again(&mut self) -> bool {
        self.times += 1;
        if self.times >= Self::OFTEN_ENOUGH && self.began.elapsed() >= self.long_enough {
            return false;
        }
        sleep(Duration::from_millis(1));
        true
    }
}

/// Someone holds one of `len` bytes from `byte` on, through a description other than `fd`'s.
pub(crate) fn is_held(fd: BorrowedFd<'_>, byte: i64, len: i64) -> io::Result<bool> {
    let found = lock_command(fd, libc::F_OFD_GETLK, libc::F_RDLCK, byte, len)?;
    Ok(found != libc::F_UNLCK)
}

/// Someone holds `byte` in whatever way.
pub(crate) fn is_locked(fd: BorrowedFd<'_>, byte: i64) -> io::Result<bool> {
    Ok(lock_command(fd, libc::F_OFD_GETLK, libc::F_WRLCK, byte, 1)? != libc::F_UNLCK)
}

/// Someone of `role` is alive among the first `records` records.
pub(crate) fn any_alive(fd: BorrowedFd<'_>, role: Role, records: usize) -> io::Result<bool> {
    is_held(fd, record_byte(role, 0), records as i64)
}

/// Locks `byte` through the description behind `fd`, or unlocks it; `false`: someone else's lock
/// is in the way, and the description keeps what it has. Whoever shares the description shares
/// the lock.
pub(crate) fn lock_own(fd: BorrowedFd<'_>, byte: i64, share: Option<Share>) -> io::Result<bool> {
    let kind = share.map_or(libc::F_UNLCK, Share::kind);
    match lock_command(fd, libc::F_OFD_SETLK, kind, byte, 1) {
        Ok(_) => Ok(true),
        // Elsewhere it may be EACCES; on Linux that is a security module, which forbids it for good.
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(not(all(target_pointer_width = "32", not(target_arch = "x86_64"))))]
use libc::fcntl as fcntl64;

/// Where `off_t` has 32 bits, glibc's `fcntl` takes these commands with the short `flock`, which
/// cannot name our bytes, and translates it; the system call itself takes the long one.
#[cfg(all(target_pointer_width = "32", not(target_arch = "x86_64")))]
unsafe fn fcntl64(fd: libc::c_int, command: libc::c_int, lock: *mut libc::flock64) -> libc::c_long {
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_fcntl64, fd, command, lock) }
}

fn lock_command(
    fd: BorrowedFd<'_>,
    command: libc::c_int,
    kind: libc::c_int,
    start: i64,
    len: i64,
) -> io::Result<libc::c_int> {
    // SAFETY: `flock` is a plain C structure for which all-zero is valid.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = start;
    lock.l_len = len;
    loop {
        // SAFETY: the commands used here read and write one `flock64`, which outlives the call.
        let outcome = unsafe { fcntl64(fd.as_raw_fd(), command, &raw mut lock) };
        if outcome == 0 {
            return Ok(lock.l_type.into());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
