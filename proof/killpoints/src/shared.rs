//! Memory that the harness and the victim both map: the region, looked at from outside, and the
//! victim's diary.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared mapping, accessed word by word.
#[derive(Debug)]
pub struct Words {
    base: NonNull<u64>,
    words: usize,
    writable: bool,
}

// SAFETY: a mapping belongs to the process, and all accesses are atomic.
unsafe impl Send for Words {}

impl Words {
    /// Maps the first `len` bytes of a file.
    pub fn map(fd: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let (fd, shared) = (fd.as_raw_fd(), libc::MAP_SHARED);
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, shared, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, words: len / 8, writable })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words);
        // SAFETY: just checked.
        let word = unsafe { self.base.add(index) };
        // SAFETY: aligned, mapped for as long as `self`, and accessed by atomics alone; a read-only
        // word is only loaded.
        unsafe { AtomicU64::from_ptr(word.as_ptr()) }
    }

    /// The words from `first` on.
    pub fn load(&self, first: usize) -> impl Iterator<Item = u64> + '_ {
        // Relaxed: their writer is stopped, or dead.
        (first..self.words).map(|index| self.word(index).load(Ordering::Relaxed))
    }

    fn store(&self, index: usize, value: u64) {
        assert!(self.writable);
        self.word(index).store(value, Ordering::Release);
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own.
        let unmapped = unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * 8) };
        debug_assert_eq!(unmapped, 0);
    }
}

const PAGE: usize = 4096;

/// Where the victim notes how far its operation has come, for the harness to know what it may
/// demand. The victim finds it as its standard input.
#[derive(Debug)]
pub struct Diary(Words);

impl Diary {
    /// A new one, and the file to hand to the victim.
    pub fn new() -> io::Result<(Self, File)> {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"diary".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(PAGE as u64)?;
        let fd = std::os::fd::AsFd::as_fd(&file);
        Ok((Self(Words::map(fd, PAGE, true)?), file))
    }

    /// The victim's.
    pub fn from_stdin() -> io::Result<Self> {
        Ok(Self(Words::map(std::os::fd::AsFd::as_fd(&io::stdin()), PAGE, true)?))
    }

    /// What the operation has reached.
    pub fn stage(&self) -> usize {
        self.0.load(0).next().unwrap_or(0) as usize
    }

    /// The operation has reached this.
    pub fn reach(&self, stage: usize) {
        self.0.store(0, stage as u64);
    }
}
