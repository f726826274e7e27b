//! The ends of a byte pipe as `io::Write` and `io::Read`, and their runs as slices.
//!
//! A byte pipe is a ring of `u8`, so its handles are those of every ring. Here stands what bytes alone
//! have: the traits of the standard library, runs that are adjacent whatever their place (the data is
//! mapped twice, [`shm::map`](crate::shm::map)), and transfers to and from descriptors ([`transfer`]).

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::slice;
use std::time::Duration;

use super::recv::RecvHandle;
use super::run::{ReadRun, WriteRun};
use super::send::SendHandle;
use crate::error::{BulkError, SendAllError};
use crate::ring::Bytes;
use crate::wait::pace::Patience;

mod buffered;
pub(super) mod duplex;
mod transfer;

pub use buffered::Buffered;
pub use duplex::{Duplex, duplex};

/// What part of a write says that has moved so much: how much, or if that is nothing, why.
fn so_far(done: Result<(), SendAllError<BulkError>>, len: usize) -> io::Result<usize> {
    match done {
        Ok(()) => Ok(len),
        Err(SendAllError { sent: 0, why }) => Err(why.into()),
        Err(SendAllError { sent, .. }) => Ok(sent), // the next call says why
    }
}

/// The most bytes of a ring that one claim moves, so that the other side has room, or bytes, to go on
/// with meanwhile.
#[inline(always)]
fn portion(capacity: usize) -> usize {
    capacity / 4
}

/// A timeout as sockets take it.
fn positive(timeout: Option<Duration>) -> io::Result<Option<Duration>> {
    match timeout {
        Some(Duration::ZERO) => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "a timeout of zero; a call that does not wait is had by set_nonblocking",
        )),
        timeout => Ok(timeout),
    }
}

impl SendHandle<u8, Bytes> {
    fn patience(&mut self) -> &mut Patience {
        &mut self.raw.waiting.patience
    }

    /// A write of more than a portion.
    fn write_in_portions(&mut self, bytes: &[u8], portion: usize) -> io::Result<usize> {
        let deadline = self.raw.waiting.patience.deadline();
        let mut done = 0;
        for bytes in bytes.chunks(portion) {
            let moved = match deadline {
                Some(deadline) => self.send_all_deadline(bytes, deadline),
                None => match self.try_send_slice(bytes) {
                    Ok(sent) if sent < bytes.len() => return Ok(done + sent),
                    tried => tried.map(drop).map_err(|why| SendAllError { sent: 0, why }),
                },
            };
            if let Err(SendAllError { sent, why }) = moved {
                return so_far(Err(SendAllError { sent: done + sent, why }), bytes.len());
            }
            done += bytes.len();
        }
        Ok(done)
    }

    /// Whether the calls of [`io::Write`] say [`WouldBlock`](ErrorKind::WouldBlock) instead of waiting.
    /// A write then takes what fits. Default: they wait. Other calls say in their names whether
    /// they wait.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.patience().nonblocking = nonblocking;
    }

    /// How long the calls of [`io::Write`] wait, from the call on: a write that is not through by
    /// then says how much it has written, or [`TimedOut`](ErrorKind::TimedOut) if that is nothing.
    /// Default: `None`, for ever.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.patience().timeout = positive(timeout)?;
        Ok(())
    }
}

/// A write returns when all is in; when the reader has gone, or another error comes in between, it
/// says how much was in by then, and the next call says why. Nothing is buffered on this side:
/// what was written can be read.
///
/// The errors are [`BrokenPipe`](ErrorKind::BrokenPipe) (once there was a reader, and it has gone),
/// [`WouldBlock`](ErrorKind::WouldBlock), [`TimedOut`](ErrorKind::TimedOut), and others; but for
/// `WouldBlock`, their [source](io::Error::get_ref) is a [`BulkError`].
///
/// ```
/// use std::io::{ErrorKind, Write};
///
/// let (mut tx, rx) = ringpipe::bytes::channel(4096)?;
/// tx.set_nonblocking(true);
/// assert_eq!(tx.write(&[7; 5000])?, 4096); // as much as fits
/// assert_eq!(tx.write(&[7]).unwrap_err().kind(), ErrorKind::WouldBlock);
/// drop(rx);
/// assert_eq!(tx.write(&[7]).unwrap_err().kind(), ErrorKind::BrokenPipe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl io::Write for SendHandle<u8, Bytes> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let portion = portion(self.capacity());
        if bytes.len() > portion {
            return self.write_in_portions(bytes, portion);
        }
        // Most have no need to ask how patient it is.
        if !bytes.is_empty() && self.sends_at_once(bytes) {
            return Ok(bytes.len());
        }
        match self.raw.waiting.patience.deadline() {
            Some(deadline) => so_far(self.send_all_deadline(bytes, deadline), bytes.len()),
            None => Ok(self.try_send_slice(bytes)?),
        }
    }

    /// All of the buffers, in order: as one write of what is in them.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let deadline = self.raw.waiting.patience.deadline();
        // Several buffers may be the same memory: together they may be more than there is.
        let all = buffers.iter().fold(0, |all: usize, buffer| all.saturating_add(buffer.len()));
        let mut sent = 0;
        while sent < all || all == 0 {
            let claimed = match deadline {
                Some(deadline) => self.claim_deadline(all - sent, deadline),
                None => self.try_claim(all - sent),
            };
            let mut run = match claimed {
                Ok(run) => run,
                Err(why) => return so_far(Err(SendAllError { sent, why }), all),
            };
            let (len, mut skip, mut at) = (run.len(), sent, 0);
            for buffer in buffers {
                let rest = &buffer[skip.min(buffer.len())..];
                skip -= buffer.len().min(skip);
                let fits = &rest[..rest.len().min(len - at)];
                run.write_slice(at, fits);
                at += fits.len();
            }
            run.commit_all();
            sent += len;
            if deadline.is_none() || all == 0 {
                break;
            }
        }
        Ok(sent)
    }

    /// Nothing to do.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecvHandle<u8, Bytes> {
    fn patience(&mut self) -> &mut Patience {
        &mut self.raw.waiting.patience
    }

    /// What else there is, by portions. What comes in its way, the next call says.
    fn read_more(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        for portion in into.chunks_mut(portion(self.capacity())) {
            if self.is_empty() {
                break;
            }
            let read = self.try_recv_slice(portion).unwrap_or(0);
            done += read;
            if read < portion.len() {
                break;
            }
        }
        done
    }

    /// Whether the calls of [`io::Read`] say [`WouldBlock`](ErrorKind::WouldBlock) instead of waiting.
    /// Default: they wait. Other calls say in their names whether they wait.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.patience().nonblocking = nonblocking;
    }

    /// How long the calls of [`io::Read`] wait, from the call on; then they say
    /// [`TimedOut`](ErrorKind::TimedOut). Default: `None`, for ever.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the timeout is zero.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.patience().timeout = positive(timeout)?;
        Ok(())
    }
}

/// A read waits for something and returns what there is, `Ok(0)` at end-of-file: once there was a
/// writer, it has gone, and everything is read. That is told again to whoever reads again, until
/// another writer has come. A reader that attaches after it was told waits for the next writer.
///
/// Errors: [`WouldBlock`](ErrorKind::WouldBlock), [`TimedOut`](ErrorKind::TimedOut), and others, whose
/// [source](io::Error::get_ref) is a [`BulkError`]. A read that was
/// [cancelled](crate::Canceller) is an error, not an end-of-file.
impl io::Read for RecvHandle<u8, Bytes> {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let portion = portion(self.capacity());
        let (first, more) = into.split_at_mut(portion.min(into.len()));
        let read = match self.raw.waiting.patience.deadline() {
            Some(deadline) => self.recv_slice_deadline(first, deadline),
            None => self.try_recv_slice(first),
        };
        match read {
            // What was delivered before is told of the first bytes alone.
            Ok(read) if read == portion && !more.is_empty() && self.redelivered() == 0 => {
                Ok(read + self.read_more(more))
            }
            read => or_end_of_file(read),
        }
    }

    /// Into the buffers, in order. Where there is less than fits, no more is waited for.
    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        // By calls that copy: what this reader is killed over counts as shown to nobody.
        let mut all = 0;
        for buffer in into {
            let read = match all {
                0 => self.read(buffer)?,
                _ => self.try_recv_slice(buffer).unwrap_or(0), // the next call says why
            };
            all += read;
            if read < buffer.len() {
                break;
            }
        }
        Ok(all)
    }
}

#[inline(always)]
fn or_end_of_file(read: Result<usize, BulkError>) -> io::Result<usize> {
    match read {
        Ok(read) => Ok(read),
        Err(BulkError::Closed) => Ok(0),
        Err(why) => Err(why.into()),
    }
}

impl WriteRun<'_, u8, Bytes> {
    /// Copies `bytes` into the run, from its byte `at` on.
    ///
    /// # Panics
    ///
    /// If they do not fit.
    pub fn write_slice(&mut self, at: usize, bytes: &[u8]) {
        let from = self.stretch(at, bytes.len());
        if self.is_current() {
            self.view().slots.write_bytes(from, 0, bytes);
        }
    }

    /// Borrows all of the run, which is in one piece. At first it has the bytes of a lap ago, or
    /// zeros.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (mut tx, mut rx) = ringpipe::bytes::channel(4096)?;
    /// let mut run = tx.claim(100)?;
    /// // SAFETY: the pipe is anonymous, and this process, which does not fork, alone has it.
    /// let room = unsafe { run.as_mut_slice() };
    /// room[..3].copy_from_slice(b"yes");
    /// run.commit(3); // the rest is given back
    /// drop(tx);
    /// let mut text = String::new();
    /// rx.read_to_string(&mut text)?;
    /// assert_eq!(text, "yes");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the run was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// As for [`slot_mut`](Self::slot_mut), for all of the run's bytes.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let (at, len) = self.adjacent();
        // SAFETY: the slots are this run's until it ends, which outlives the borrow, and adjacent; the
        // caller vouches that nobody else touches them; and any byte is one.
        unsafe { slice::from_raw_parts_mut(at, len) }
    }
}

impl ReadRun<'_, u8, Bytes> {
    /// Copies bytes of the run, from its byte `at` on, so many as `into` has. Leaves it alone in a
    /// child that was forked meanwhile.
    ///
    /// # Panics
    ///
    /// If the run has fewer.
    pub fn read_slice(&self, at: usize, into: &mut [u8]) {
        let from = self.stretch(at, into.len());
        if self.is_current() {
            self.view().slots.read_bytes(from, 0, into);
        }
    }

    /// Borrows all of the run, which is in one piece.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut tx, mut rx) = ringpipe::bytes::channel(4096)?;
    /// tx.write_all(b"key=value\nrest")?;
    /// let run = rx.claim(4096)?;
    /// // SAFETY: the pipe is anonymous, and this process, which does not fork, alone has it.
    /// let line = unsafe { run.as_slice() }.split(|byte| *byte == b'\n').next().unwrap();
    /// assert_eq!(line, b"key=value");
    /// let len = line.len() + 1;
    /// run.release(len); // the rest is there for the next call
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the run was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// As for [`slot`](Self::slot), for all of the run's bytes.
    pub unsafe fn as_slice(&self) -> &[u8] {
        let (at, len) = self.adjacent();
        // SAFETY: as in `as_mut_slice`; the caller vouches that nobody writes to them.
        unsafe { slice::from_raw_parts(at, len) }
    }
}
