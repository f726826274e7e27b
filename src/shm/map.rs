//! One mapping of a region into this process.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MsyncFlags, ProtFlags, madvise, mlock, mmap, msync, munmap};

use super::limits::{self, NoRoom};
use crate::error::Step;

/// What to do with a mapping when it is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapOptions {
    /// Ask for transparent huge pages.
    pub(crate) advise_huge: bool,
    /// Make every page present in this process's page table.
    pub(crate) prefault: bool,
    /// Keep every page in memory.
    pub(crate) lock: bool,
    /// Let core dumps have it.
    pub(crate) core_dump: bool,
}

/// A shared, readable and writable mapping of a whole region. Dropping it unmaps.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is memory that any thread may access; what is accessed how is up to `Shared`
// and `Slots`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, options: MapOptions) -> Result<Self, NoRoom> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, 0) };
        let mapped =
            base.and_then(|base| Ok((base, NonNull::new(base.cast()).ok_or(Errno::NOMEM)?)));
        let (base, first) = mapped.map_err(|e| not_mapped(len, e))?;
        let mapping = Self { base: first, len };
        if !options.core_dump {
            // SAFETY: the range is this mapping.
            let kept_out = unsafe { madvise(base, len, Advice::LinuxDontDump) };
            kept_out.map_err(|e| Step::KeepFromDumps.failed(e))?;
        }
        if options.advise_huge {
            // A wish: kernels without transparent huge pages for shared memory say no, and the
            // ring works all the same.
            // SAFETY: the range is this mapping.
            let _ = unsafe { madvise(base, len, Advice::LinuxHugepage) };
        }
        if options.prefault {
            // SAFETY: the range is this mapping.
            match unsafe { madvise(base, len, Advice::LinuxPopulateWrite) } {
                // Linux before 5.14: the pages come with their first use.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(e) => return Err(Step::Prefault.failed(e).into()),
            }
        }
        if options.lock {
            // SAFETY: the range is this mapping.
            unsafe { mlock(base, len) }.map_err(|e| not_locked(len, e))?;
        }
        Ok(mapping)
    }

    /// The byte at `offset`, which lies inside.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len, "offset {offset} beyond a mapping of {}", self.len);
        // SAFETY: just checked; a mapping never wraps.
        unsafe { self.base.add(offset) }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes the mapping back to its file and waits until it is there.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        // SAFETY: the range is this mapping.
        unsafe { msync(self.base.as_ptr().cast(), self.len, MsyncFlags::SYNC) }
    }

    /// The same for the pages on which the first `len` bytes lie.
    pub(crate) fn sync_start(&self, len: usize) -> Result<(), Errno> {
        // SAFETY: the range lies in this mapping.
        unsafe { msync(self.base.as_ptr().cast(), len.min(self.len), MsyncFlags::SYNC) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and those who point into it hold it alive.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        // What the kernel has no memory for, or a sandbox forbids, stays mapped: there is nobody to tell.
        debug_assert!(unmapped != Err(Errno::INVAL), "no mapping of ours");
    }
}

/// The limits do not say what they are when they refuse.
fn not_mapped(len: usize, why: Errno) -> NoRoom {
    let limit = match why {
        Errno::NOMEM => Some(limits::address_space()),
        Errno::AGAIN => Some(limits::locked_memory()), // after `mlockall`
        _ => None,
    };
    beyond(limit, len).unwrap_or_else(|| Step::Map.failed(why).into())
}

fn not_locked(len: usize, why: Errno) -> NoRoom {
    let refused = matches!(why, Errno::NOMEM | Errno::PERM | Errno::AGAIN);
    let limit = refused.then(limits::locked_memory);
    beyond(limit, len).unwrap_or_else(|| Step::LockMemory.failed(why).into())
}

fn beyond(limit: Option<limits::Room>, len: usize) -> Option<NoRoom> {
    limit?.check(len as u64).err()
}
