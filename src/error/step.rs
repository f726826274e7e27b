//! What was being done when the kernel refused, and what can be done about it.
//!
//! The parts of the crate that make system calls know what they are doing, and not for which ring
//! and which call of the user's. They say [`Failed`]; who called them adds the ring and makes it an
//! error of the operation. The advice follows from the step and from the kernel's answer alone, so
//! it is the same whatever the operation was, and a new call needs no words of its own.

use std::fmt;
use std::io;

/// What was being done when the kernel refused something.
///
/// Prints as part of a sentence: `mapping it`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Making a file for it (`openat`, `memfd_create`).
    MakeFile,
    /// The same, of reserved huge pages (`memfd_create`).
    MakeHugeFile,
    /// Opening its file (`openat`).
    OpenFile,
    /// Asking for its file's status (`fstat`).
    Status,
    /// Asking for its file system, or what is free there (`fstatfs`).
    FileSystem,
    /// Reserving its memory, or its room on the disk (`fallocate`, `pwrite`).
    Reserve,
    /// Sealing its size (`fcntl`).
    Seal,
    /// Asking for a descriptor's seals and mode (`fcntl`).
    AskDescriptor,
    /// Reading its header (`pread`).
    ReadHeader,
    /// Mapping it (`mmap`).
    Map,
    /// Keeping it out of core dumps, unless [`Options::core_dump`](crate::Options::core_dump) wants it
    /// there (`madvise`).
    KeepFromDumps,
    /// Making its pages present: [`Options::prefault`](crate::Options::prefault) (`madvise`).
    Prefault,
    /// Locking it into memory: [`Options::lock_memory`](crate::Options::lock_memory) (`mlock`).
    LockMemory,
    /// Preparing to notice forks (`mmap`, `madvise`, `pthread_atfork`).
    NoticeForks,
    /// Opening its file once more, for a lock of its own (`openat` through `/proc`).
    Reopen,
    /// Locking a byte of its file (`fcntl`).
    LockByte,
    /// Asking who holds such a lock (`fcntl`).
    AskLocks,
    /// Keeping that lock by a mapping (`mmap`, `madvise`).
    KeepLock,
    /// Reading the boot's number, for a ring on a disk.
    ReadBoot,
    /// Writing to the disk that it is open (`msync`).
    WriteState,
    /// Giving its file the name (`linkat`).
    Link,
    /// Removing its name (`unlinkat`).
    Unlink,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakeFile => "making a file for it",
            Self::MakeHugeFile => "making a file of huge pages for it",
            Self::OpenFile => "opening its file",
            Self::Status => "asking for its file's status",
            Self::FileSystem => "asking for its file system",
            Self::Reserve => "reserving its memory",
            Self::Seal => "sealing its size",
            Self::AskDescriptor => "asking for the descriptor's seals and mode",
            Self::ReadHeader => "reading its header",
            Self::Map => "mapping it",
            Self::KeepFromDumps => "keeping it out of core dumps",
            Self::Prefault => "making its pages present",
            Self::LockMemory => "locking it into memory",
            Self::NoticeForks => "preparing to notice forks",
            Self::Reopen => "opening its file once more",
            Self::LockByte => "locking a byte of its file",
            Self::AskLocks => "asking for locks on its file",
            Self::KeepLock => "keeping a lock on its file",
            Self::ReadBoot => "reading the boot's number",
            Self::WriteState => "writing to the disk that it is open",
            Self::Link => "giving it its name",
            Self::Unlink => "removing its name",
        })
    }
}

impl Step {
    /// The kernel's answer to this step.
    pub(crate) fn failed(self, source: impl Into<io::Error>) -> Failed {
        Failed { doing: self, source: source.into() }
    }

    /// What can be done about such an answer; begins after a semicolon.
    fn advice(self, source: &io::Error) -> Option<&'static str> {
        let number = source.raw_os_error();
        Some(match (self, number.unwrap_or(0)) {
            (_, libc::EMFILE) => {
                "too many open files (`ulimit -n`): a ring takes 1, and 1 more while it is \
                 opened, unlinked or attached to"
            }
            (_, libc::ENFILE) => "the whole system has too many open files (`sysctl fs.file-max`)",
            (_, libc::ENAMETOOLONG) => {
                "a path has at most 4095 bytes, and each name in it 255, or fewer on some disks"
            }
            (_, libc::ELOOP) => "its path leads through too many symbolic links",
            (Self::Reopen | Self::Link | Self::ReadBoot, libc::ENOENT | libc::ENOTDIR) => {
                "this process's /proc is not mounted, and ringpipe needs it here"
            }
            (_, libc::EBADF | libc::ESTALE) => {
                "its descriptor was closed or reused behind its back: open the ring anew"
            }
            (Self::Reopen, libc::EACCES | libc::EPERM) => {
                "the file's mode, or a sandbox, does not let this process's user in (any more)"
            }
            (Self::LockByte | Self::AskLocks, libc::EACCES | libc::EPERM | libc::ENOSYS) => {
                "a sandbox forbids fcntl's F_OFD_SETLK and F_OFD_GETLK, which prove who lives"
            }
            (Self::LockByte | Self::AskLocks, libc::EINVAL | libc::EOPNOTSUPP) => {
                "this kernel or file system has no such locks (F_OFD_SETLK)"
            }
            (Self::LockMemory, libc::ENOMEM | libc::EAGAIN | libc::EPERM)
            | (Self::Map | Self::KeepLock | Self::NoticeForks, libc::EAGAIN) => {
                "this process may not lock so much memory (`ulimit -l`, RLIMIT_MEMLOCK)"
            }
            (Self::Map | Self::KeepLock | Self::NoticeForks, libc::ENOMEM) => {
                "no address space left (`ulimit -v`), or too many mappings \
                 (`sysctl vm.max_map_count`)"
            }
            (Self::Prefault, libc::ENOMEM | libc::EFAULT) => {
                "no memory left for its pages: look at the memory cgroup's limit"
            }
            (Self::Prefault, libc::EHWPOISON) => "a memory page is broken",
            (Self::KeepLock, 0) => "keep it on another file system",
            (Self::MakeHugeFile, _) => "this kernel has no huge pages of 2 MiB, perhaps",
            (Self::WriteState, libc::EIO | libc::ENOSPC | libc::EDQUOT) => {
                "its disk is full, or fails"
            }
            (_, libc::EACCES | libc::EPERM | libc::ENOSYS) => "a sandbox forbids it, perhaps",
            (_, libc::ENOMEM | libc::ENOBUFS | libc::ENOLCK) => "the kernel is out of memory",
            (_, libc::EIO) => "its disk fails",
            _ => return None,
        })
    }
}

/// A step that the kernel refused, before it is known for whom it was made.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) doing: Step,
    pub(crate) source: io::Error,
}

/// The part of a sentence that says what failed, and what can be done: "mapping it failed; …".
pub(super) struct Told<'a>(pub(super) Step, pub(super) &'a io::Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(step, source) = self;
        write!(f, "{step} failed")?;
        match step.advice(source) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// For an error of an operation whose variant `Io` is a [`Failed`] of some ring.
macro_rules! of_a_ring {
    ($error:ty) => {
        impl $error {
            /// The kernel refused a step of the operation on `ring`.
            pub(crate) fn io(ring: &Location) -> impl Fn(Failed) -> Self {
                move |Failed { doing, source }| Self::Io { ring: ring.clone(), doing, source }
            }
        }
    };
}
pub(super) use of_a_ring;

/// What the kernel answered is the source of an error's variant `Io`; others have none.
macro_rules! source_of_io {
    ($error:ty) => {
        impl Error for $error {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Io { source, .. } => Some(source),
                    _ => None,
                }
            }
        }
    };
}
pub(super) use source_of_io;
