//! A memfd, mapped as 64-bit atomic words: what the bare rings and the control page live in.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::harness::{Outcome, text};

/// Shared words.
#[derive(Debug)]
pub struct Memory {
    base: NonNull<AtomicU64>,
    words: usize,
    _fd: OwnedFd,
}

// SAFETY: a mapping belongs to the process, and consists of atomics.
unsafe impl Send for Memory {}

impl Memory {
    /// New ones, all zero, and where others find them.
    pub fn create(bytes: usize) -> Outcome<(Self, String)> {
        let fd = memfd_create("price", MemfdFlags::CLOEXEC).map_err(text)?;
        ftruncate(&fd, bytes as u64).map_err(text)?;
        fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, bytes as u64).map_err(text)?;
        let address = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        Ok((Self::map(fd, bytes)?, address))
    }

    /// Those that another process has created.
    pub fn open(address: &str, bytes: usize) -> Outcome<Self> {
        Self::map(open(address)?, bytes)
    }

    fn map(fd: OwnedFd, bytes: usize) -> Outcome<Self> {
        let base = map(fd.as_fd(), bytes)?;
        Ok(Self { base, words: bytes / 8, _fd: fd })
    }

    /// One of the words.
    #[inline(always)]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words);
        // SAFETY: just checked.
        let word = unsafe { self.base.add(index) };
        // SAFETY: aligned, mapped for as long as `self`, and accessed by atomics alone.
        unsafe { word.as_ref() }
    }

    /// Where word `index`, and all after it, are.
    pub fn from(&self, index: usize) -> NonNull<AtomicU64> {
        assert!(index < self.words);
        // SAFETY: just checked.
        unsafe { self.base.add(index) }
    }
}

fn map(fd: BorrowedFd<'_>, bytes: usize) -> Outcome<NonNull<AtomicU64>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let anywhere = std::ptr::null_mut();
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
    let base = unsafe { mmap(anywhere, bytes, protection, MapFlags::SHARED, fd, 0) };
    NonNull::new(base.map_err(text)?.cast()).ok_or_else(|| "mapped at zero".into())
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and what points into it holds it.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.words * 8) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A file of another process, by its address.
pub fn open(address: &str) -> Outcome<OwnedFd> {
    let file = File::options().read(true).write(true).open(address);
    Ok(file.map_err(|e| format!("{address}: {e}"))?.into())
}
