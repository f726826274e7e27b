//! Making sure that a region's memory exists before anyone relies on it.
//!
//! A sparse file's page that cannot be had is a `SIGBUS` at its first touch. So every page is
//! allocated at creation, in steps (a large `fallocate` on tmpfs starts over after a signal, and
//! could starve), after asking whether there is that much memory at all: on tmpfs and memfds the
//! kernel would kill processes to satisfy us before it said no. Nor is a file system filled up, to
//! the others' detriment, only to find that it was too small: it is asked first, too.

use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, StatFs, fallocate, fstatfs, fstatvfs};
use rustix::io::{Errno, retry_on_intr};

use super::place::{self, Place};
use crate::error::{CreateError, Failed, Step};

const TMPFS: u64 = 0x0102_1994;
const HUGETLBFS: u64 = 0x9584_58f6;
const RAMFS: u64 = 0x8584_58f6;
/// One step of reservation, in bytes; a multiple of every page size up to 16 MiB.
const STEP: u64 = 16 << 20;

/// File systems whose mappings are not one memory for all who map them, or (overlayfs) do not keep
/// locks alive.
const UNFIT: [(u64, &str); 13] = [
    (0x794c_7630, "overlayfs"),
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x786f_4256, "VirtualBox shared folders"),
];

fn file_system(fd: BorrowedFd<'_>) -> Result<u64, Failed> {
    // The type's width differs between architectures; the numbers are 32 bits everywhere.
    Ok(u64::from(status(fd)?.f_type as u32))
}

fn status(fd: BorrowedFd<'_>) -> Result<StatFs, Failed> {
    fstatfs(fd).map_err(|e| Step::FileSystem.failed(e))
}

/// The name of the file system behind `fd` if a ring cannot live there.
pub(crate) fn refused_file_system(fd: BorrowedFd<'_>) -> Result<Option<&'static str>, Failed> {
    let found = file_system(fd)?;
    Ok(UNFIT.iter().find_map(|&(number, name)| (number == found).then_some(name)))
}

/// What is in the file outlives the machine's going down. File systems in memory are known by their
/// kind; memfds lie on one.
pub(crate) fn is_on_disk(fd: BorrowedFd<'_>) -> Result<bool, Failed> {
    Ok(!matches!(file_system(fd)?, TMPFS | RAMFS | HUGETLBFS))
}

/// What lengths of mappings of `fd` must be a multiple of.
pub(crate) fn page_size(fd: BorrowedFd<'_>) -> Result<usize, Failed> {
    let stat = status(fd)?;
    if u64::from(stat.f_type as u32) == HUGETLBFS {
        return Ok(stat.f_bsize as usize);
    }
    Ok(rustix::param::page_size())
}

/// Gives the file of the ring at `place` `len` bytes of memory or disk.
pub(crate) fn reserve(
    fd: BorrowedFd<'_>,
    len: u64,
    place: Option<&Place>,
) -> Result<(), CreateError> {
    let ring = place::location(place);
    let io = CreateError::io(&ring);
    let kind = file_system(fd).map_err(&io)?;
    if kind == TMPFS {
        let available = available_memory();
        if len > available {
            return Err(CreateError::TooLarge { ring: ring.clone(), needed: Some(len), available });
        }
    }
    // What this file has taken already is free again when it goes.
    let no_space = |why: Errno, taken: u64| {
        if kind == HUGETLBFS {
            let page = page_size(fd).map_or(0, |page| page as u64);
            return CreateError::NoHugePages { ring: ring.clone(), needed: len, page };
        }
        let free = || fstatvfs(fd).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        CreateError::NoSpace {
            ring: ring.clone(),
            mount: place.map(Place::mount),
            needed: len,
            free: if why == Errno::DQUOT { None } else { free().map(|free| free + taken) },
        }
    };
    if len > free_space(fd).map_err(&io)? {
        return Err(no_space(Errno::NOSPC, 0));
    }
    // Others may take it meanwhile: then this fails on the way, and the file goes with its
    // descriptor.
    let mut at = 0;
    while at < len {
        let step = STEP.min(len - at);
        match retry_on_intr(|| fallocate(fd, FallocateFlags::empty(), at, step)) {
            Ok(()) => {}
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG)) => {
                return Err(no_space(e, at));
            }
            Err(Errno::OPNOTSUPP) => {
                return write_zeros(fd, at, len).map_err(|(e, at)| match e {
                    Errno::NOSPC | Errno::DQUOT | Errno::FBIG => no_space(e, at),
                    e => io(Step::Reserve.failed(e)),
                });
            }
            Err(e) => return Err(io(Step::Reserve.failed(e))),
        }
        at += step;
    }
    Ok(())
}

/// For file systems that cannot reserve: what has been written is there. If not all of it is: why,
/// and how far it is.
fn write_zeros(fd: BorrowedFd<'_>, from: u64, to: u64) -> Result<(), (Errno, u64)> {
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let step = (to - at).min(zeros.len() as u64) as usize;
        match retry_on_intr(|| rustix::io::pwrite(fd, &zeros[..step], at)) {
            Ok(0) => return Err((Errno::NOSPC, at)),
            Ok(written) => at += written as u64,
            Err(e) => return Err((e, at)),
        }
    }
    Ok(())
}

/// Bytes that are free on the file system, including what is reserved for root: nobody can have
/// more.
fn free_space(fd: BorrowedFd<'_>) -> Result<u64, Failed> {
    let stat = fstatvfs(fd).map_err(|e| Step::FileSystem.failed(e))?;
    // Memfds, and tmpfs or hugetlbfs without a limit, tell of no blocks at all.
    let limited = stat.f_blocks > 0;
    Ok(if limited { stat.f_bfree.saturating_mul(stat.f_frsize) } else { u64::MAX })
}

/// Bytes of memory and swap that could be had without taking them from anyone.
fn available_memory() -> u64 {
    let from_meminfo = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        };
        Some((field("MemAvailable:")? + field("SwapFree:").unwrap_or(0)) << 10)
    };
    from_meminfo().unwrap_or_else(|| {
        let info = rustix::system::sysinfo();
        // Longs, of 32 or 64 bits.
        let units = [info.freeram, info.bufferram, info.freeswap].map(u128::from);
        (units.iter().sum::<u128>() * u128::from(info.mem_unit)) as u64
    })
}
