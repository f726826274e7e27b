//! One mapping of a region into this process.
//!
//! **Twice in a row.** Where a ring's data may begin anywhere and end anywhere, as bytes and messages
//! do, a stretch of it that crosses the ring's end is in two pieces. So the part of the file that
//! holds the data, its last part, is mapped a second time, right behind the first. There a stretch
//! goes on: each byte of the data has two addresses, and any stretch up to the whole is adjacent at
//! one of them. Both are the same memory to the processor, which looks at physical addresses.
//!
//! Room for both is reserved first, by a mapping without access, and then replaced piece by piece: at
//! no moment is there anything of others where they go.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MsyncFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, msync, munmap,
};

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

/// What of a file is mapped, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// All of it.
    pub(crate) len: usize,
    /// From here to the end once more, behind it; the same as `len` if nothing is.
    pub(crate) again_from: usize,
}

impl Extent {
    /// Bytes that are mapped a second time.
    pub(crate) fn again(self) -> usize {
        self.len - self.again_from
    }

    /// Bytes of address space.
    pub(crate) fn mapped(self) -> usize {
        self.len + self.again()
    }
}

/// A shared, readable and writable mapping of a whole region. Dropping it unmaps.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    extent: Extent,
}

// SAFETY: the mapping is memory that any thread may access; what is accessed how is up to `Shared`
// and `Slots`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Mapping {
    /// `page`: the backing's page size, of which all in `extent` are multiples.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        extent: Extent,
        page: usize,
        options: MapOptions,
    ) -> Result<Self, NoRoom> {
        let len = extent.mapped();
        let mapped = if extent.again() == 0 { once(fd, len) } else { twice(fd, extent, page) };
        let mapping = Self { base: mapped.map_err(|e| not_mapped(len, e))?, extent };
        let base = mapping.base.as_ptr().cast();
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
        assert!(offset < self.len(), "offset {offset} beyond a mapping of {}", self.len());
        // SAFETY: just checked; a mapping never wraps.
        unsafe { self.base.add(offset) }
    }

    /// Length of the file in bytes.
    pub(crate) fn len(&self) -> usize {
        self.extent.len
    }

    /// What is mapped.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Writes the mapping back to its file and waits until it is there.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        // SAFETY: the range is this mapping.
        unsafe { msync(self.base.as_ptr().cast(), self.len(), MsyncFlags::SYNC) }
    }

    /// The same for the pages on which the first `len` bytes lie.
    pub(crate) fn sync_start(&self, len: usize) -> Result<(), Errno> {
        // SAFETY: the range lies in this mapping.
        unsafe { msync(self.base.as_ptr().cast(), len.min(self.len()), MsyncFlags::SYNC) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and those who point into it hold it alive.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.extent.mapped()) };
        // What the kernel has no memory for, or a sandbox forbids, stays mapped: there is nobody to tell.
        debug_assert!(unmapped != Err(Errno::INVAL), "no mapping of ours");
    }
}

fn once(fd: BorrowedFd<'_>, len: usize) -> Result<NonNull<u8>, Errno> {
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
    let base = unsafe { mmap(ptr::null_mut(), len, READ_WRITE, MapFlags::SHARED, fd, 0) }?;
    NonNull::new(base.cast()).ok_or(Errno::NOMEM)
}

fn twice(fd: BorrowedFd<'_>, extent: Extent, page: usize) -> Result<NonNull<u8>, Errno> {
    let len = extent.mapped();
    // Ordinary pages are where the kernel puts them; larger ones must begin at a multiple of theirs.
    let slack = if page > rustix::param::page_size() { page } else { 0 };
    let room = Room::reserve(len.checked_add(slack).ok_or(Errno::NOMEM)?)?;
    let base = room.at.map_addr(|at| at.next_multiple_of(page));
    let pieces = [
        (base, 0, extent.len),
        (base.wrapping_byte_add(extent.len), extent.again_from, extent.again()),
    ];
    for (at, from, len) in pieces {
        // SAFETY: it replaces a part of the room that was just reserved, and nothing else.
        unsafe { mmap(at, len, READ_WRITE, MapFlags::SHARED | MapFlags::FIXED, fd, from as u64) }?;
    }
    room.keep(base, len);
    NonNull::new(base.cast()).ok_or(Errno::NOMEM)
}

/// Addresses that are this process's, without memory. Dropped, they are free again, with whatever
/// has been mapped there.
struct Room {
    at: *mut c_void,
    len: usize,
}

impl Room {
    fn reserve(len: usize) -> Result<Self, Errno> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as in `once`.
        let at = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) }?;
        Ok(Self { at, len })
    }

    /// Frees all but that part.
    fn keep(self, part: *mut c_void, len: usize) {
        let before = part.addr() - self.at.addr();
        let behind = part.wrapping_byte_add(len);
        for (at, len) in [(self.at, before), (behind, self.len - before - len)] {
            if len > 0 {
                // SAFETY: it was reserved, and nobody has it.
                let _ = unsafe { munmap(at, len) };
            }
        }
        std::mem::forget(self);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: it was reserved, and nobody has it.
        let _ = unsafe { munmap(self.at, self.len) };
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
