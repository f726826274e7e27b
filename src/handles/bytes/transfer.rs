//! Between a byte pipe and a descriptor, without a copy in user space.
//!
//! The kernel reads and writes where the bytes lie: it is given addresses in the mapping, never a
//! reference, as a peer may write there at any time. What it makes of bytes that change meanwhile is
//! what any file that is written by two makes of them.
//!
//! A quarter of the ring goes by one system call at the most, so the other side has room, or bytes,
//! to go on with meanwhile.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::super::recv::RecvHandle;
use super::super::send::SendHandle;
use super::portion;
use crate::error::{BulkError, Descriptor, TransferError};
use crate::ring::Bytes;

/// Also of a transfer of nothing.
fn not_begun(why: BulkError) -> TransferError {
    TransferError { moved: 0, why: Descriptor::Ring(why) }
}

/// The most bytes that go by one system call.
fn at_once(capacity: usize, left: u64) -> usize {
    portion(capacity).min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Calls the kernel until no signal comes in between.
fn moved(call: impl Fn() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(moved) => return Ok(moved),
            Err(_) => match io::Error::last_os_error() {
                interrupted if interrupted.kind() == io::ErrorKind::Interrupted => {}
                failed => return Err(failed),
            },
        }
    }
}

impl SendHandle<u8, Bytes> {
    /// Reads up to `most` bytes from `fd` straight into the ring, until end-of-file, and says how
    /// many. `u64::MAX` is all of it. Blocks while the ring is full and while `fd` has nothing; the
    /// former as the calls of [`io::Write`] do ([`set_nonblocking`](Self::set_nonblocking),
    /// [`set_write_timeout`](Self::set_write_timeout), for each time that it waits). That is so at
    /// the end-of-file, too, which is found by a read that takes room: where `fd` has as much as
    /// fits, a call for `u64::MAX` waits for the reader to take some; one for as much does not.
    ///
    /// What was read is in the ring at once, also if `fd` brings a byte a minute. On an error, no
    /// byte that was taken from `fd` is missing from the ring: the call can be made again, and goes
    /// on. (If this process is *killed* between the two, the bytes of that instant are lost, as with
    /// `cat`.)
    ///
    /// ```
    /// use std::io::Read;
    /// # let path = std::env::temp_dir().join(format!("ringpipe-doc-from-{}", std::process::id()));
    /// # std::fs::write(&path, "hello")?;
    ///
    /// let (mut tx, mut rx) = ringpipe::bytes::channel(4096)?;
    /// assert_eq!(tx.read_from(std::fs::File::open(&path)?, u64::MAX)?, 5);
    /// drop(tx);
    /// let mut text = String::new();
    /// rx.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransferError`], which says how many bytes went before.
    pub fn read_from(&mut self, fd: impl AsFd, most: u64) -> Result<u64, TransferError> {
        let (fd, mut done) = (fd.as_fd(), 0);
        self.raw.nothing_to_do().map_err(not_begun)?;
        while done < most {
            match self.read_portion(fd, most - done) {
                Ok(0) => break,
                Ok(read) => done += read as u64,
                Err(why) => return Err(TransferError { moved: done, why }),
            }
        }
        Ok(done)
    }

    fn read_portion(&mut self, fd: BorrowedFd<'_>, left: u64) -> Result<usize, Descriptor> {
        let portion = at_once(self.capacity(), left);
        let run = match self.patience().deadline() {
            Some(deadline) => self.claim_deadline(portion, deadline),
            None => self.try_claim(portion),
        };
        let mut run = run.map_err(Descriptor::Ring)?;
        let (at, len) = run.adjacent();
        // SAFETY: the run's slots, which are adjacent, and the kernel may write to.
        let read = moved(|| unsafe { libc::read(fd.as_raw_fd(), at.cast(), len) });
        let read = read.map_err(Descriptor::Failed)?;
        run.commit(read);
        Ok(read)
    }
}

impl RecvHandle<u8, Bytes> {
    /// Writes up to `most` bytes from the ring straight to `fd`, until end-of-file, and says how
    /// many. `u64::MAX` is all of it. Blocks while the ring is empty and while `fd` takes nothing;
    /// the former as the calls of [`io::Read`] do ([`set_nonblocking`](Self::set_nonblocking),
    /// [`set_read_timeout`](Self::set_read_timeout), for each time that it waits).
    ///
    /// A byte leaves the ring when `fd` has taken it. On an error, none is lost and none is doubled:
    /// the call can be made again, and goes on. If this process is *killed* between the two, those
    /// of the last system call, a quarter of the ring at the most, are written again by its
    /// successor.
    ///
    /// Of a pipe or socket that nobody reads, the kernel tells by `SIGPIPE`, which Rust programs
    /// ignore unless they were told otherwise, and by [`BrokenPipe`](io::ErrorKind::BrokenPipe).
    ///
    /// # Errors
    ///
    /// [`TransferError`], which says how many bytes went before.
    pub fn write_to(&mut self, fd: impl AsFd, most: u64) -> Result<u64, TransferError> {
        let (fd, mut done) = (fd.as_fd(), 0);
        self.raw.nothing_to_do().map_err(not_begun)?;
        while done < most {
            match self.write_portion(fd, most - done) {
                Ok(written) => done += written as u64,
                Err(Descriptor::Ring(BulkError::Closed)) => break,
                Err(why) => return Err(TransferError { moved: done, why }),
            }
        }
        Ok(done)
    }

    fn write_portion(&mut self, fd: BorrowedFd<'_>, left: u64) -> Result<usize, Descriptor> {
        let portion = at_once(self.capacity(), left);
        let run = match self.patience().deadline() {
            Some(deadline) => self.claim_deadline(portion, deadline),
            None => self.try_claim(portion),
        };
        let run = run.map_err(Descriptor::Ring)?;
        let (at, len) = run.adjacent();
        // SAFETY: the run's slots, which are adjacent.
        let written = moved(|| unsafe { libc::write(fd.as_raw_fd(), at.cast_const().cast(), len) });
        let written = written.map_err(Descriptor::Failed)?;
        if written == 0 {
            return Err(Descriptor::Failed(io::ErrorKind::WriteZero.into()));
        }
        run.release(written);
        Ok(written)
    }
}
