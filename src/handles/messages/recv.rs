//! The receiving end.

use std::fmt;
use std::time::Duration;

use super::super::cancel::Canceller;
use super::super::pool::Cloneable;
use super::super::pool::sealed::Sealed;
use super::super::raw_end::{RawEnd, Terms};
use super::super::ring::Ring;
use super::super::stats::Peers;
use super::read::{ReadMessages, Received};
use super::{Message, Messages, end_methods, gave_up, max_len};
use crate::error::{AttachError, MessageError, PeerError};
use crate::peers::endings::Ending;
use crate::pipe::{End, RecvEnd};
use crate::ring::mem::Kept;
use crate::ring::{MpmcMessages, Refused, Run};
use crate::wait::pace::{Deadline, WaitPolicy};

/// The receiving end of a ring of messages. It can move between threads; every call takes `&mut
/// self`. Dropping it is a graceful close; what is still in the ring stays there for whoever attaches
/// next.
///
/// As [`RecvHandle`](crate::RecvHandle)'s, its calls make no system call unless they wait, someone
/// sleeps who must be woken, or nothing has come of them for an interval.
pub struct Receiver<K: Messages> {
    pub(in crate::handles) raw: RawEnd<RecvEnd<K>>,
    /// How often the last message received had been delivered to receivers that are gone.
    redeliveries: u32,
}

end_methods!(Receiver, "sender", "RecvHandle");

impl<K: Messages> Receiver<K> {
    pub(super) fn new(raw: RawEnd<RecvEnd<K>>) -> Self {
        Self { raw, redeliveries: 0 }
    }

    /// Receives a message into `into`, in place of what was there, waiting for one while the ring is
    /// empty and there is a sender or none has come yet. Allocates if the vector is too small, and
    /// only then.
    ///
    /// # Errors
    ///
    /// [`MessageError::Closed`] once there was a sender, all are gone and everything is drained;
    /// [`MessageError::Cancelled`], and others of [`MessageError`]. `into` is then as it was.
    pub fn recv(&mut self, into: &mut Vec<u8>) -> Result<(), MessageError> {
        self.recv_deadline(into, Deadline::NEVER)
    }

    /// Receives a message if there is one, and never waits.
    ///
    /// ```
    /// use ringpipe::MessageError;
    ///
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
    /// let mut message = Vec::new();
    /// assert_eq!(rx.try_recv(&mut message), Err(MessageError::Empty));
    /// tx.send(b"")?; // a message, of no bytes
    /// drop(tx);
    /// assert_eq!(rx.try_recv(&mut message), Ok(()));
    /// assert_eq!(rx.try_recv(&mut message), Err(MessageError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MessageError::Empty`], and those of [`recv`](Self::recv) but for `Cancelled`.
    pub fn try_recv(&mut self, into: &mut Vec<u8>) -> Result<(), MessageError> {
        let run = self.try_run(1)?;
        self.take_to(run, into)
    }

    /// Like [`recv`](Self::recv), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`MessageError::Timeout`], and those of [`recv`](Self::recv).
    pub fn recv_deadline(
        &mut self,
        into: &mut Vec<u8>,
        deadline: impl Into<Deadline>,
    ) -> Result<(), MessageError> {
        let run = self.run(1, deadline)?;
        self.take_to(run, into)
    }

    /// Like [`recv`](Self::recv), into memory that is there already, and says how long the message is.
    ///
    /// A message that does not fit is not received, and not cut off: the error says how long it is.
    /// It comes first on this receiver's next call; should the receiver close or die before, it goes
    /// to another (or is dropped, on an MPMC ring that
    /// [drops](crate::Options::drop_unreleased) what was claimed).
    ///
    /// ```
    /// use ringpipe::MessageError;
    ///
    /// let (mut tx, mut rx) = ringpipe::messages::mpmc::channel(1 << 16)?;
    /// tx.send(b"quite long")?;
    /// let mut small = [0; 4];
    /// assert_eq!(rx.recv_into(&mut small), Err(MessageError::TooSmall { len: 10 }));
    /// let mut large = [0; 100];
    /// assert_eq!(rx.recv_into(&mut large), Ok(10));
    /// assert_eq!(&large[..10], b"quite long");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MessageError::TooSmall`], and those of [`recv`](Self::recv).
    #[inline]
    pub fn recv_into(&mut self, into: &mut [u8]) -> Result<usize, MessageError> {
        self.recv_into_deadline(into, Deadline::NEVER)
    }

    /// Like [`recv_into`](Self::recv_into), without waiting.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooSmall`], and those of [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_recv_into(&mut self, into: &mut [u8]) -> Result<usize, MessageError> {
        let run = self.try_run(1)?;
        self.take_into(run, into)
    }

    /// Like [`recv_into`](Self::recv_into), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooSmall`], and those of [`recv_deadline`](Self::recv_deadline).
    #[inline]
    pub fn recv_into_deadline(
        &mut self,
        into: &mut [u8],
        deadline: impl Into<Deadline>,
    ) -> Result<usize, MessageError> {
        let run = self.run(1, deadline)?;
        self.take_into(run, into)
    }

    /// Claims up to `max` messages, waiting for the first, to look at them where they lie and release
    /// them afterwards: see [`ReadMessages`]. At least one; `max` counts as 1 at least.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn claim(&mut self, max: usize) -> Result<ReadMessages<'_, K>, MessageError> {
        self.claim_deadline(max, Deadline::NEVER)
    }

    /// Like [`claim`](Self::claim), without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_claim(&mut self, max: usize) -> Result<ReadMessages<'_, K>, MessageError> {
        let run = self.try_run(max)?;
        self.raw.end.hand_out(run);
        Ok(ReadMessages::new(&mut self.raw, run, max))
    }

    /// Like [`claim`](Self::claim), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`recv_deadline`](Self::recv_deadline).
    pub fn claim_deadline(
        &mut self,
        max: usize,
        deadline: impl Into<Deadline>,
    ) -> Result<ReadMessages<'_, K>, MessageError> {
        let run = self.run(max, deadline)?;
        self.raw.end.hand_out(run);
        Ok(ReadMessages::new(&mut self.raw, run, max))
    }

    /// How often the last message received had been handed to receivers that died, or were closed,
    /// before they released it: see [`RecvHandle::redeliveries`](crate::RecvHandle::redeliveries).
    ///
    /// A receiver that had too little room for a message was not handed it. But on an MPMC ring it has
    /// claimed it, and what was claimed counts as handed out once, whether or not it was shown.
    pub fn redeliveries(&self) -> u32 {
        self.redeliveries
    }

    /// Discards all that was sent before this call, and returns how many messages that was: see
    /// [`RecvHandle::clear`](crate::RecvHandle::clear).
    ///
    /// # Errors
    ///
    /// [`MessageError::Forked`], [`MessageError::DescriptorLost`], [`MessageError::Corrupt`].
    pub fn clear(&mut self) -> Result<u64, MessageError> {
        if !self.raw.is_current() {
            return Err(MessageError::Forked);
        }
        self.redeliveries = 0;
        self.raw.end.clear(&*self.raw.ring).map_err(|why| gave_up(why, MessageError::Empty))
    }

    /// How many messages one claim of up to `max` may cover.
    #[inline(always)]
    pub(in crate::handles) fn most(&self, max: usize) -> u64 {
        (max as u64).clamp(1, self.raw.end.longest_run())
    }

    #[inline(always)]
    fn try_run(&mut self, max: usize) -> Result<Run, MessageError> {
        let max = self.most(max);
        let claimed = self.raw.claimer().try_claim(Kept::shape(), 1, max);
        claimed.map_err(|why| gave_up(why, MessageError::Empty))
    }

    #[inline(always)]
    fn run(&mut self, max: usize, deadline: impl Into<Deadline>) -> Result<Run, MessageError> {
        let max = self.most(max);
        let claimed = self.raw.claimer().claim(Kept::shape(), 1, max, deadline);
        claimed.map_err(|why| gave_up(why, MessageError::Empty))
    }

    #[inline(always)]
    pub(in crate::handles) fn take_into(
        &mut self,
        run: Run,
        into: &mut [u8],
    ) -> Result<usize, MessageError> {
        let (at, len) = self.first(run)?;
        let Some(into) = into.get_mut(..len) else { return Err(self.kept(len)) };
        self.raw.end.mem.slots.read_bytes(at, crate::ring::frames::HEADER, into);
        self.release(run);
        Ok(len)
    }

    pub(in crate::handles) fn take_to(
        &mut self,
        run: Run,
        into: &mut Vec<u8>,
    ) -> Result<(), MessageError> {
        let (at, len) = self.first(run)?;
        // Before anything changes: it may panic.
        into.reserve(len.saturating_sub(into.len()));
        into.resize(len, 0);
        self.raw.end.mem.slots.read_bytes(at, crate::ring::frames::HEADER, into);
        self.release(run);
        Ok(())
    }

    /// Where the first message of a claimed run begins, and its length, which fits it. One whose
    /// length does not is dropped.
    #[inline(always)]
    fn first(&mut self, run: Run) -> Result<(u64, usize), MessageError> {
        let first = self.raw.end.items(Kept::shape(), run).next();
        let message = first.and_then(|at| Received::new(&self.raw, run, at));
        match message {
            Some(message) => Ok((message.at(), message.len())),
            None => Err(self.damaged(run)),
        }
    }

    #[cold]
    fn damaged(&mut self, run: Run) -> MessageError {
        self.raw.end.release(Kept::shape(), run, 1);
        gave_up(Refused::Corrupt, MessageError::Empty)
    }

    /// It stays claimed.
    #[cold]
    fn kept(&mut self, len: usize) -> MessageError {
        self.raw.end.pass_on();
        MessageError::TooSmall { len }
    }

    #[inline(always)]
    fn release(&mut self, run: Run) {
        self.redeliveries = self.raw.end.redeliveries(run);
        self.raw.end.release(Kept::shape(), run, 1);
    }
}
