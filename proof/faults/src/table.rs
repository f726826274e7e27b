//! The oracle: what must come of it if a system call fails.
//!
//! An operation that *makes* something (creates, opens, attaches, removes, looks round) may fail
//! with a typed error, and then has left nothing behind. An end that is *attached* needs nothing of
//! the system to send and receive; so its calls must go on as if nothing had happened, with one
//! exception: where it cannot be asked whether the peers live, nobody is taken for dead, and a call
//! that waits, or was tried in vain, says `DescriptorLost`.
//!
//! What stands here in [`ATTACHED`] is the list at [`ringpipe::RecvHandle`] of what an attached end
//! needs of the system: a call that is not in it has no business there, and fails the test.

use libc::*;

/// What must come of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// The same as without the fault: there is another way, or it does not matter.
    Same,
    /// An error.
    Error,
    /// The one or the other, as the operation needs the answer or not. One that looks round, at
    /// whatever it may read, may also see less: no ring, or no orphan.
    Either,
    /// The same, or `DescriptorLost`.
    Lost,
    /// The same, as it is asked again. (`clear` asks once, and may leave what a dead one holds.)
    Later,
}
use Gives::{Either, Error, Later, Lost, Same};

/// If a call of this name fails with one of these, once, or from then on always.
#[derive(Debug)]
pub struct Row {
    pub call: &'static str,
    pub errnos: &'static [c_int],
    pub once: Gives,
    /// `None`: it cannot fail so for ever, as an interruption.
    pub always: Option<Gives>,
}

const fn row(call: &'static str, errnos: &'static [c_int], once: Gives, always: Gives) -> Row {
    Row { call, errnos, once, always: Some(always) }
}

const fn passing(call: &'static str, errnos: &'static [c_int], once: Gives) -> Row {
    Row { call, errnos, once, always: None }
}

/// Of operations that make something.
pub const MAKING: &[Row] = &[
    // Files and names.
    row("openat", &[EACCES, EMFILE, ENFILE, ENOMEM, ENOENT, EIO], Either, Either),
    passing("openat", &[EINTR], Either),
    // Another way is tried, or it is no matter of what the file system can do.
    row("openat: O_TMPFILE", &[EOPNOTSUPP, EISDIR, EINVAL, EACCES, EPERM], Same, Same),
    row("openat: O_TMPFILE", &[EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS, EIO], Error, Error),
    row("openat: O_PATH", &[EACCES, EMFILE, ENOMEM, ENOENT], Either, Either),
    row("openat: directory", &[EACCES, EMFILE, ENOMEM], Either, Either),
    row("newfstatat", &[EACCES, ENOMEM, EIO], Either, Either),
    row("fstat", &[ENOMEM, EIO, EPERM], Either, Either),
    row("statx", &[ENOSYS, ENOMEM, EPERM], Either, Either),
    row("fstatfs", &[ENOMEM, EIO, EPERM], Either, Either),
    row("statfs", &[ENOMEM, EIO, EPERM], Error, Error),
    row("linkat", &[EACCES, ENOENT, ENOSPC, EIO, EPERM, EMLINK], Error, Error),
    row("unlinkat", &[EACCES, EPERM, EBUSY, EIO, EROFS], Either, Either),
    row("getdents64", &[EIO], Error, Error),
    row("readlink", &[EACCES, ENOENT], Either, Either),
    row("getcwd", &[ENOENT], Either, Either),
    // What is said of a file, and what is in it.
    row("pread64", &[EIO], Either, Either),
    passing("pread64", &[EINTR], Same),
    row("read", &[EIO], Either, Either),
    passing("read", &[EINTR], Same),
    row("lseek", &[EINVAL, EIO], Either, Either),
    row("pwrite64", &[ENOSPC, EIO], Error, Error),
    row("fallocate", &[EIO], Error, Error),
    // Whoever opens or creates tries again, in case somebody else is just making the ring.
    row("fallocate", &[ENOSPC, ENOMEM, EDQUOT, EFBIG], Either, Error),
    // Where it is not to be had, zeros are written.
    row("fallocate", &[EOPNOTSUPP], Same, Same),
    passing("fallocate", &[EINTR], Same),
    row("ftruncate", &[EINVAL, EIO], Error, Error),
    row("msync", &[EIO, ENOMEM], Either, Either),
    // A new name may not be on the disk yet: file systems in use put it there with the file.
    row("fsync", &[EIO, ENOSPC], Same, Same),
    // Memory.
    row("memfd_create", &[EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM], Either, Error),
    row("mmap: region", &[ENOMEM, EAGAIN, EPERM, ENODEV], Error, Error),
    // Rings of bytes and of messages: room for both views, and the second of them.
    row("mmap: room", &[ENOMEM, EAGAIN, EPERM], Error, Error),
    row("mmap: again", &[ENOMEM, EAGAIN, EPERM, ENODEV], Error, Error),
    row("mmap: hold", &[ENOMEM, EAGAIN, EPERM, ENODEV], Error, Error),
    row("mmap: page of forks", &[ENOMEM, EPERM], Error, Error),
    row("madvise: DONTFORK", &[ENOMEM, EINVAL, EPERM], Error, Error),
    row("madvise: WIPEONFORK", &[ENOMEM, EINVAL, EPERM], Error, Error),
    row("madvise: DONTDUMP", &[ENOMEM, EINVAL, EPERM], Error, Error),
    // It stays, and what it holds with it: a ring that is to be closed for good is still in use.
    row("munmap", &[ENOMEM], Either, Either),
    // Closed all the same.
    row("close", &[EIO, EINTR], Same, Same),
    // Locks.
    row("fcntl: F_OFD_SETLK", &[EACCES, ENOLCK, EINVAL, EPERM], Error, Error),
    // It goes with its description, if not before.
    row("fcntl: unlock", &[ENOLCK, EPERM], Either, Either),
    passing("fcntl: F_OFD_SETLK", &[EINTR], Same),
    passing("fcntl: unlock", &[EINTR], Same),
    // Somebody else has the lock.
    passing("fcntl: F_OFD_SETLK", &[EAGAIN], Either),
    row("fcntl: F_OFD_GETLK", &[EACCES, EINVAL, EPERM], Either, Either),
    passing("fcntl: F_OFD_GETLK", &[EINTR, ENOMEM], Either),
    row("fcntl: F_ADD_SEALS", &[EPERM, EBUSY, EINVAL], Error, Error),
    row("fcntl: F_GET_SEALS", &[EINVAL, EPERM], Error, Error),
    row("fcntl: F_GETFL", &[EPERM], Error, Error),
    // What the machine is like: an answer is guessed, on the safe side.
    row("membarrier: query", &[ENOSYS, EPERM], Same, Same),
    row("membarrier: register", &[ENOSYS, EPERM, EINVAL], Same, Same),
    row("membarrier", &[ENOSYS, EPERM, EINVAL], Same, Same),
    row("sched_getaffinity", &[EPERM, ENOSYS], Same, Same),
    row("getrandom", &[ENOSYS, EPERM], Same, Same),
    row("sysinfo", &[ENOSYS, EPERM], Same, Same),
    row("prlimit64", &[EPERM], Either, Either),
    // The mask as it was is put back without asking.
    row("rt_sigprocmask", &[EPERM, ENOSYS], Either, Either),
    // Waking, and waiting for what is held for a moment.
    row("futex: wake", &[ENOSYS, EPERM], Same, Same),
    row("futex: wait", &[ENOSYS, EPERM], Same, Same),
    row("clock_nanosleep", &[EINTR, EPERM], Same, Same),
    row("sched_yield", &[ENOSYS, EPERM], Same, Same),
];

/// Of ends that are attached, until they are gone.
pub const ATTACHED: &[Row] = &[
    row("futex: wait", &[ENOSYS, EPERM], Same, Same),
    passing("futex: wait", &[EINTR, EAGAIN, ETIMEDOUT], Same),
    row("futex: wake", &[ENOSYS, EPERM, EINVAL], Same, Same),
    row("membarrier", &[ENOSYS, EPERM, EINVAL], Same, Same),
    row("fcntl: F_OFD_GETLK", &[EACCES, EINVAL, EPERM, EBADF], Lost, Lost),
    // A matter of a moment: it is asked again.
    passing("fcntl: F_OFD_GETLK", &[EINTR, ENOMEM], Later),
    row("fstat", &[EBADF, EPERM, ENOMEM, EIO], Lost, Lost),
    row("sched_yield", &[ENOSYS, EPERM], Same, Same),
    row("clock_gettime", &[EPERM], Same, Same),
    row("clock_nanosleep", &[EINTR, EPERM], Same, Same),
    // Transfers: the descriptor's error is told, and nothing has been moved.
    row("read", &[EIO, EAGAIN, EBADF, EFAULT], Error, Error),
    row("write", &[EIO, EAGAIN, EBADF, EFAULT, ENOSPC, EPIPE], Error, Error),
    passing("read", &[EINTR], Same),
    passing("write", &[EINTR], Same),
    row("munmap", &[ENOMEM, EPERM], Same, Same),
    row("close", &[EIO, EINTR], Same, Same),
    // Of a file-backed ring, when the last one leaves it.
    row("msync", &[EIO, ENOMEM, EPERM], Same, Same),
    row("fcntl: F_OFD_SETLK", &[EACCES, ENOLCK, EPERM], Same, Same),
    passing("fcntl: F_OFD_SETLK", &[EINTR, EAGAIN], Same),
];
