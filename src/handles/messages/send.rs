//! The sending end.

use std::fmt;
use std::io::IoSlice;
use std::time::Duration;

use super::super::cancel::Canceller;
use super::super::pool::Cloneable;
use super::super::pool::sealed::Sealed;
use super::super::raw_end::{RawEnd, Terms};
use super::super::ring::Ring;
use super::super::stats::Peers;
use super::write::{MessageWriter, Reserved};
use super::{Message, Messages, claim_of, end_methods, gave_up, max_len};
use crate::error::{AttachError, MessageError, PeerError};
use crate::peers::endings::Ending;
use crate::pipe::{End, SendEnd};
use crate::ring::frames::HEADER;
use crate::ring::mem::Kept;
use crate::ring::{MpmcMessages, Run};
use crate::wait::pace::{Deadline, WaitPolicy};

/// The sending end of a ring of messages. It can move between threads; every call takes `&mut self`.
/// Dropping it is a graceful close.
///
/// As [`SendHandle`](crate::SendHandle)'s, its calls make no system call and allocate nothing unless
/// they wait, someone sleeps who must be woken, or nothing has come of them for an interval.
pub struct Sender<K: Messages> {
    pub(super) raw: RawEnd<SendEnd<K>>,
}

end_methods!(Sender, "receiver", "SendHandle");

impl<K: Messages> Sender<K> {
    pub(super) fn new(raw: RawEnd<SendEnd<K>>) -> Self {
        Self { raw }
    }

    /// Sends a message, waiting while there is no room for it and there is a receiver or none has
    /// come yet.
    ///
    /// Room for a long message is had when so much is free in a row. On an MPMC ring that others keep
    /// nearly full with short ones that may take long, or for ever: use a deadline, or a larger ring.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLarge`], before anything is touched; [`MessageError::Closed`] once there was
    /// a receiver and all are gone; [`MessageError::Cancelled`], and others of [`MessageError`].
    #[inline]
    pub fn send(&mut self, message: &[u8]) -> Result<(), MessageError> {
        self.send_deadline(message, Deadline::NEVER)
    }

    /// Sends a message if there is room for it, and never waits.
    ///
    /// ```
    /// use ringpipe::MessageError;
    ///
    /// let (mut tx, rx) = ringpipe::messages::spsc::channel(4096)?;
    /// assert_eq!(tx.try_send(&[7; 2040]), Ok(()));
    /// assert_eq!(tx.try_send(&[7; 2041]), Err(MessageError::TooLarge { len: 2041, most: 2040 }));
    /// assert_eq!(tx.try_send(&[7; 2040]), Ok(()));
    /// assert_eq!(tx.try_send(&[]), Err(MessageError::Full));
    /// drop(rx);
    /// assert_eq!(tx.try_send(&[]), Err(MessageError::Closed));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MessageError::Full`], and those of [`send`](Self::send) but for `Cancelled`.
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), MessageError> {
        let run = self.try_room(message.len())?;
        self.put(run, message);
        Ok(())
    }

    /// Like [`send`](Self::send), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`MessageError::Timeout`], and those of [`send`](Self::send).
    #[inline]
    pub fn send_deadline(
        &mut self,
        message: &[u8],
        deadline: impl Into<Deadline>,
    ) -> Result<(), MessageError> {
        let run = self.room(message.len(), deadline)?;
        self.put(run, message);
        Ok(())
    }

    /// Sends one message that is in several pieces, in order, as [`send`](Self::send) does.
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
    /// tx.send_vectored(&[IoSlice::new(b"head, "), IoSlice::new(b"body")])?;
    /// let mut message = Vec::new();
    /// rx.recv(&mut message)?;
    /// assert_eq!(message, b"head, body");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), MessageError> {
        self.send_vectored_deadline(pieces, Deadline::NEVER)
    }

    /// Like [`send_vectored`](Self::send_vectored), until `deadline`; one that has passed does not
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    pub fn send_vectored_deadline(
        &mut self,
        pieces: &[IoSlice<'_>],
        deadline: impl Into<Deadline>,
    ) -> Result<(), MessageError> {
        // Several pieces may be the same memory: together they may be more than there is.
        let len = pieces.iter().fold(0, |len: usize, piece| len.saturating_add(piece.len()));
        let mut reserved = self.reserve_deadline(len, deadline)?;
        for piece in pieces {
            reserved.writer().push(piece);
        }
        reserved.commit();
        Ok(())
    }

    /// Reserves room for a message of up to `most` bytes, waiting as [`send`](Self::send) does, has
    /// `write` write it there, and sends what was written, however little: for serialisers, which then
    /// need no buffer of their own. The bytes are copied straight into the ring.
    ///
    /// If `write` fails, or panics, nothing is sent. It should not take long: on an SPSC ring others
    /// do not notice, but on an MPMC ring what others send meanwhile waits behind this message.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut tx, mut rx) = ringpipe::messages::mpmc::channel(1 << 16)?;
    /// tx.send_with(1000, |message| write!(message, "{:?}", [1, 2, 3]))?;
    /// let mut message = Vec::new();
    /// rx.recv(&mut message)?;
    /// assert_eq!(message, b"[1, 2, 3]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever `write` says; and those of [`send`](Self::send), made one of its kind.
    pub fn send_with<R, E: From<MessageError>>(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut MessageWriter<'_, K>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut reserved = self.reserve(most)?;
        let written = write(&mut reserved.writer())?;
        reserved.commit();
        Ok(written)
    }

    /// Reserves room for a message of up to `most` bytes, waiting as [`send`](Self::send) does.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn reserve(&mut self, most: usize) -> Result<Reserved<'_, K>, MessageError> {
        self.reserve_deadline(most, Deadline::NEVER)
    }

    /// Like [`reserve`](Self::reserve), without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    pub fn try_reserve(&mut self, most: usize) -> Result<Reserved<'_, K>, MessageError> {
        let run = self.try_room(most)?;
        self.raw.end.pass_on();
        Ok(Reserved::new(&mut self.raw, run, most))
    }

    /// Like [`reserve`](Self::reserve), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`send_deadline`](Self::send_deadline).
    pub fn reserve_deadline(
        &mut self,
        most: usize,
        deadline: impl Into<Deadline>,
    ) -> Result<Reserved<'_, K>, MessageError> {
        let run = self.room(most, deadline)?;
        self.raw.end.pass_on();
        Ok(Reserved::new(&mut self.raw, run, most))
    }

    #[inline(always)]
    fn try_room(&mut self, len: usize) -> Result<Run, MessageError> {
        let slots = claim_of(len, &self.raw.end, &self.raw.end.mem)?;
        let claimed = self.raw.claimer().try_claim(Kept::shape(), slots, slots);
        claimed.map_err(|why| gave_up(why, MessageError::Full))
    }

    #[inline(always)]
    fn room(&mut self, len: usize, deadline: impl Into<Deadline>) -> Result<Run, MessageError> {
        let slots = claim_of(len, &self.raw.end, &self.raw.end.mem)?;
        let claimed = self.raw.claimer().claim(Kept::shape(), slots, slots, deadline);
        claimed.map_err(|why| gave_up(why, MessageError::Full))
    }

    #[inline(always)]
    fn put(&mut self, run: Run, message: &[u8]) {
        let slots = &self.raw.end.mem.slots;
        slots.set_header(run.at, message.len() as u64);
        slots.write_bytes(run.at, HEADER, message);
        self.raw.end.publish(Kept::shape(), run, run.slots);
    }
}
