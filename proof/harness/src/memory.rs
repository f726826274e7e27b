//! Memory that processes share beside rings: a memfd, mapped for as long as each of them lives. It
//! keeps what a process wrote there that was killed.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// New memory, all zero.
pub fn create(name: &str, len: usize) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, len as u64)?;
    Ok(fd)
}

/// Where other processes find the file behind a descriptor of this one.
pub fn address(fd: impl AsFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), fd.as_fd().as_raw_fd())
}

/// Opens what is at such an address.
pub fn open(address: &str) -> Result<OwnedFd, String> {
    let file = OpenOptions::new().read(true).write(true).open(address);
    Ok(file.map_err(|e| format!("{address}: {e}"))?.into())
}

/// Consists of atomics alone.
///
/// # Safety
///
/// Any bytes are a valid value, also while others change them.
pub unsafe trait Atomics {}

/// Maps the first `len` bytes, which begin with a `T`.
pub fn shared<T: Atomics>(fd: impl AsFd, len: usize) -> io::Result<&'static T> {
    assert!(len >= size_of::<T>() && align_of::<T>() <= 4096);
    let base = map(fd, len)?.cast::<T>();
    // SAFETY: aligned to a page, long enough, never unmapped, and valid whatever it contains.
    Ok(unsafe { &*base })
}

/// Maps so many 64-bit words.
pub fn words(fd: impl AsFd, count: usize) -> io::Result<&'static [AtomicU64]> {
    let base = map(fd, count * 8)?.cast::<AtomicU64>();
    // SAFETY: aligned to a page, so long, never unmapped, and accessed by atomics alone.
    Ok(unsafe { std::slice::from_raw_parts(base, count) })
}

fn map(fd: impl AsFd, len: usize) -> io::Result<*const u8> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // Present from the start, so that nobody's first lap is slower for page faults.
    let flags = MapFlags::SHARED | MapFlags::POPULATE;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
    let base = unsafe { mmap(std::ptr::null_mut(), len, access, flags, fd, 0) }?;
    Ok(base.cast_const().cast())
}
