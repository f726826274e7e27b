//! Making sure that a region's memory exists before anyone relies on it.
//!
//! A sparse file's page that cannot be had is a `SIGBUS` at its first touch. So every page is
//! allocated at creation, after asking whether there is that much room at all ([`limits`]), and
//! whether the file system has it: nobody else is to run out of space for a ring that cannot be.
//! Huge pages too: a mapping of them reserves in the pool, but a cgroup's limit on them (`hugetlb`)
//! is looked at when a page is allocated. `fallocate` is told of it, a touch is not.
//!
//! **An opener fills holes.** A file that was copied may be sparse, and a peer may punch holes into
//! any file, a sealed memfd too: no seal forbids it as long as the memory can be written. Who opens
//! a ring that takes fewer blocks than it is long allocates what is missing, which keeps what is
//! there, and is refused if there is no room. Blocks are what tells: those of a tmpfs include what
//! is swapped out, and all include what was reserved and never written, which `SEEK_HOLE` may call
//! a hole. Where blocks tell nothing ([`Storage::Copies`]) this is left alone, and where the file
//! system cannot reserve (ext3, ramfs) too: zeros must not be written into a ring that may be in
//! use. The opener pays: its cgroup is charged. What is punched after that is nobody's to mend; and a
//! peer can make blocks lie, by allocating some behind the file's end: then it has handed over holes,
//! as one that punches them later does.
//!
//! **In steps**, and short ones. The kernel does not swap out what a `fallocate` is just allocating:
//! a step that is longer than what a cgroup has left without swap gets somebody killed, though there
//! is swap for all of it. And before Linux 6.11 a `fallocate` on a tmpfs gives back what it has
//! allocated when a signal comes, and is to be made anew. Signals that come often enough would
//! starve a long one, so each of them halves the steps.

use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, Stat, fallocate, fstatvfs};
use rustix::io::{Errno, retry_on_intr};

use super::file_system::{FileSystem, Storage};
use super::limits::{self, NoRoom};
use super::map::Extent;
use crate::error::Step;

/// The first step of reservation, in bytes, unless a page is longer.
const LONGEST_STEP: usize = 1 << 20;
/// Steps are not made shorter than this, or than a page: it takes a few microseconds.
const SHORTEST_STEP: usize = 64 << 10;

/// Gives a new file the memory or disk that it is to have; its length is a multiple of its pages.
/// `locked`: they are going to be locked into memory.
pub(crate) fn reserve(
    fd: BorrowedFd<'_>,
    on: FileSystem,
    extent: Extent,
    locked: bool,
) -> Result<(), NoRoom> {
    let len = extent.len as u64;
    limits::address_space().check(extent.mapped() as u64)?;
    limits::file_size().check(len)?;
    check_room(fd, on, len, locked)?;
    // Others may take it meanwhile: then this fails on the way, and the file goes with its
    // descriptor.
    match allocate(fd, on, len, FallocateFlags::empty()) {
        Err(Stopped::Unable { at }) => write_zeros(fd, at, len),
        done => Ok(done?),
    }
}

/// Fills the holes of a file of `len` bytes, of which `missing` are [holes](missing).
///
/// On a tmpfs, a `fallocate` that fails takes back pages that others have reserved and nobody has
/// touched. So it is tried only if there seems to be room.
pub(crate) fn fill_holes(
    fd: BorrowedFd<'_>,
    on: FileSystem,
    len: u64,
    missing: u64,
    locked: bool,
) -> Result<(), NoRoom> {
    limits::file_size().check(len)?;
    check_room(fd, on, missing, locked)?;
    // A file that was cut off meanwhile stays so: that it is too short is found when it is mapped.
    match allocate(fd, on, len, FallocateFlags::KEEP_SIZE) {
        Err(Stopped::Unable { .. }) => Ok(()),
        Err(Stopped::NoRoom(NoRoom::Full { free, .. })) => {
            Err(NoRoom::Full { needed: missing, free })
        }
        done => Ok(done?),
    }
}

/// Bytes of the file's first `len` that are surely holes: at least so many, as far as one knows.
pub(crate) fn missing(on: FileSystem, stat: &Stat, len: u64) -> u64 {
    match on.storage() {
        Storage::Copies => 0,
        // Of 512 bytes, whatever the file system's own have.
        _ => len.saturating_sub((stat.st_blocks as u64).saturating_mul(512)),
    }
}

/// There are that many bytes to be had.
fn check_room(fd: BorrowedFd<'_>, on: FileSystem, len: u64, locked: bool) -> Result<(), NoRoom> {
    match on.storage() {
        Storage::Memory => limits::memory(!locked).check(len)?,
        Storage::Ram => limits::memory(false).check(len)?,
        Storage::HugePages => {
            if let Some(pool) = limits::huge_pages(on.page()) {
                pool.check(len)?;
            }
        }
        Storage::Blocks | Storage::Copies => {}
    }
    if len > free_space(fd)? { Err(full(fd, Errno::NOSPC, len, 0)) } else { Ok(()) }
}

/// Why not all was allocated.
enum Stopped {
    NoRoom(NoRoom),
    /// The file system does not do that, from here on.
    Unable {
        at: u64,
    },
}

impl From<Stopped> for NoRoom {
    fn from(why: Stopped) -> Self {
        match why {
            Stopped::NoRoom(why) => why,
            Stopped::Unable { .. } => Step::Reserve.failed(Errno::OPNOTSUPP).into(),
        }
    }
}

/// Allocates the first `len` bytes of the file, as far as they are not.
fn allocate(
    fd: BorrowedFd<'_>,
    on: FileSystem,
    len: u64,
    flags: FallocateFlags,
) -> Result<(), Stopped> {
    // Lengths of pages are powers of two, as are these: the longer one is a multiple of the other.
    let [shortest, mut step] = [SHORTEST_STEP, LONGEST_STEP].map(|step| step.max(on.page()) as u64);
    let mut at = 0;
    while at < len {
        match fallocate(fd, flags, at, step.min(len - at)) {
            Ok(()) => at += step,
            Err(Errno::INTR) => step = (step / 2).max(shortest),
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG)) => {
                return Err(Stopped::NoRoom(full(fd, e, len, at)));
            }
            Err(Errno::OPNOTSUPP) => return Err(Stopped::Unable { at }),
            Err(e) => return Err(Stopped::NoRoom(Step::Reserve.failed(e).into())),
        }
    }
    Ok(())
}

/// For file systems that cannot reserve: what has been written is there.
fn write_zeros(fd: BorrowedFd<'_>, from: u64, to: u64) -> Result<(), NoRoom> {
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let step = (to - at).min(zeros.len() as u64) as usize;
        match retry_on_intr(|| rustix::io::pwrite(fd, &zeros[..step], at)) {
            Ok(0) => return Err(full(fd, Errno::NOSPC, to, at)),
            Ok(written) => at += written as u64,
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                return Err(full(fd, e, to, at));
            }
            Err(e) => return Err(Step::Reserve.failed(e).into()),
        }
    }
    Ok(())
}

/// No room for `needed` bytes. What the file has `taken` already is free again when it goes.
fn full(fd: BorrowedFd<'_>, why: Errno, needed: u64, taken: u64) -> NoRoom {
    let free = || Some(fstatvfs(fd).ok()?).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    let free = if why == Errno::DQUOT { None } else { free().map(|free| free + taken) };
    NoRoom::Full { needed, free }
}

/// Bytes that are free on the file system, including what is reserved for root: nobody can have
/// more.
fn free_space(fd: BorrowedFd<'_>) -> Result<u64, NoRoom> {
    let stat = fstatvfs(fd).map_err(|e| Step::FileSystem.failed(e))?;
    // Memfds, and tmpfs or hugetlbfs without a limit, tell of no blocks at all.
    let limited = stat.f_blocks > 0;
    Ok(if limited { stat.f_bfree.saturating_mul(stat.f_frsize) } else { u64::MAX })
}
