//! Byte pipes: a stream of bytes from one writer to one reader, through shared memory.
//!
//! What a pipe of the kernel's is, this is too: [`Writer`] is an [`io::Write`](std::io::Write),
//! [`Reader`] an [`io::Read`](std::io::Read), and whatever takes those takes these. A write blocks
//! until all is in, a read until there is something; the writer's end is an end-of-file, the
//! reader's a broken pipe. Bytes go from one process to the other by one copy in and one out, without
//! a system call as long as neither has to sleep.
//!
//! ```
//! use ringpipe::bytes::Ring;
//! use std::io::{Read, Write};
//!
//! # let name = format!("doc-bytes-{}", std::process::id());
//! # let writer = { let name = name.clone(); std::thread::spawn(move || {
//! // One process:
//! let mut tx = Ring::options().open_or_create(&name).unwrap().writer().unwrap();
//! tx.write_all(b"whatever there is to say").unwrap();
//! # })};
//!
//! // Another, which knows the name:
//! let ring = Ring::options().open_or_create(&name)?;
//! let mut text = String::new();
//! ring.reader()?.read_to_string(&mut text)?; // until the writer has gone
//! assert_eq!(text, "whatever there is to say");
//! # writer.join().unwrap();
//! ring.unlink()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What differs from a pipe
//!
//! * A byte pipe can have a name, or a file, and outlives both its ends. What was written stays for
//!   the next reader.
//! * There is one writer and one reader at a time: a second one is refused, in whatever process it
//!   is ([`AttachError::RoleTaken`](crate::AttachError::RoleTaken)). Short messages from many writers,
//!   for which a pipe's atomic writes are often used, are what [`messages`](crate::messages) are for.
//! * Nobody gets a `SIGPIPE`. A write without a reader is an error.
//! * A writer that comes first may write before there is a reader, as much as fits. A reader that
//!   comes first waits for the first writer.
//! * An end-of-file is told to the reader that is there, as often as it reads; once it was told, the
//!   next reader waits for the next writer.
//! * A write that does not wait takes what fits, also of less than `PIPE_BUF` (4 KiB), of which the
//!   kernel takes all or nothing. All or nothing is had by
//!   [`try_send_exact`](crate::SendHandle::try_send_exact).
//! * A signal does not interrupt a call that waits; a [`Canceller`](crate::Canceller) does.
//! * An end that dies is found out within an interval (50 ms unless
//!   [set](crate::RecvHandle::set_liveness_interval)), where the kernel's pipe would be closed at
//!   once.
//!
//! # Capacity
//!
//! 64 KiB unless [set](crate::Options::capacity), as Linux's pipe has. It is rounded up to a power of
//! two, and to a page of what backs the ring: 4 KiB usually, 2 MiB or more with
//! [huge pages](crate::Options::huge_pages); [`capacity`](crate::Ring::capacity) says what it is. The
//! data is mapped twice in a row, so a ring takes that much address space twice, and memory once.
//!
//! # Without waiting, or not for long
//!
//! [`set_nonblocking`](crate::RecvHandle::set_nonblocking) and the timeouts
//! ([`set_read_timeout`](crate::RecvHandle::set_read_timeout),
//! [`set_write_timeout`](crate::SendHandle::set_write_timeout)) rule the calls of `Read` and `Write`, as
//! they do for sockets. The calls that all kinds of rings have say it in their names:
//! [`try_send_slice`](crate::SendHandle::try_send_slice) writes what fits,
//! [`recv_slice_deadline`](crate::RecvHandle::recv_slice_deadline) reads until a deadline,
//! [`recv_exact`](crate::RecvHandle::recv_exact) waits for all of a buffer.
//!
//! # Without copying
//!
//! * [`Writer::read_from`](crate::SendHandle::read_from) and
//!   [`Reader::write_to`](crate::RecvHandle::write_to) move bytes between the ring and a file, a
//!   socket or a pipe; the kernel copies them from or to where they lie.
//! * [`claim`](crate::SendHandle::claim) reserves room, to be filled by
//!   [`write_slice`](crate::WriteRun::write_slice) or borrowed
//!   ([`as_mut_slice`](crate::WriteRun::as_mut_slice)), and committed in whole or in part;
//!   [`claim`](crate::RecvHandle::claim) of the reader shows what there is, in one piece, and
//!   [`release`](crate::ReadRun::release) consumes as much of it as the caller says.
//!
//! **After a crash**: the bytes of a writer's unfinished call that no claim had published are absent;
//! what a reader's unfinished call had not released is read again by its successor. All other bytes
//! arrive exactly once, in order. So a stream may end in mid-record, as a pipe's does:
//! [`ending`](crate::RecvHandle::ending) tells a writer that closed from one that died.

use crate::error::ChannelError;
pub use crate::error::{Descriptor, TransferError};
pub use crate::handles::bytes::{Buffered, Duplex};
pub use crate::ring::Bytes;

/// A byte pipe that this process has open.
pub type Ring = crate::Ring<u8, Bytes>;

/// The writing end: an [`io::Write`](std::io::Write), and all that [`SendHandle`](crate::SendHandle)
/// is.
pub type Writer = crate::SendHandle<u8, Bytes>;

/// The reading end: an [`io::Read`](std::io::Read), and all that [`RecvHandle`](crate::RecvHandle)
/// is.
pub type Reader = crate::RecvHandle<u8, Bytes>;

/// Both ends of a new anonymous byte pipe of at least `capacity` bytes; [`Ring::options`] has more to
/// choose from.
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut tx, mut rx) = ringpipe::bytes::channel(1 << 20)?;
/// tx.write_all(b"good morning")?;
/// drop(tx);
/// let mut all = Vec::new();
/// rx.read_to_end(&mut all)?;
/// assert_eq!(all, b"good morning");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ChannelError`]: no memory, too many open files.
pub fn channel(capacity: usize) -> Result<(Writer, Reader), ChannelError> {
    let ring = Ring::options().capacity(capacity).create_anonymous()?;
    Ok((ring.writer()?, ring.reader()?))
}

/// Both ends of a new anonymous byte pipe of 64 KiB: [`ringpipe::pipe`](crate::pipe).
///
/// # Errors
///
/// [`ChannelError`]: no memory, too many open files.
pub fn pipe() -> Result<(Writer, Reader), ChannelError> {
    channel(64 << 10)
}
