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
use crate::error::{AttachError, MessageError, PeerError, SendAllError};
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
    pub(in crate::handles) raw: RawEnd<SendEnd<K>>,
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
    /// nearly full with short ones it is not, so who waits while a whole ring's worth of theirs passes
    /// by gets the turn: until it has its room the others wait, and their tries are
    /// [`Full`](MessageError::Full), for two [intervals](Self::set_liveness_interval) at a time at the
    /// most. Receivers that are slower than that make it wait longer: use a deadline.
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

    /// As [`send_with`](Self::send_with), into a slice: `write` is lent all of the room, where the
    /// message will be read, and says how much of it is the message.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
    /// // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
    /// unsafe {
    ///     tx.send_in_place(100, |room| {
    ///         room[..5].copy_from_slice(b"hello");
    ///         5
    ///     })?;
    /// }
    /// let mut message = Vec::new();
    /// rx.recv(&mut message)?;
    /// assert_eq!(message, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// If `write` says that it has written more than there is room for. Nothing is sent then.
    ///
    /// # Safety
    ///
    /// As for [`Reserved::as_mut_slice`].
    pub unsafe fn send_in_place(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<(), MessageError> {
        let mut reserved = self.reserve(most)?;
        // SAFETY: the caller's promise.
        let written = write(unsafe { reserved.as_mut_slice() });
        reserved.set_len(written);
        reserved.commit();
        Ok(())
    }

    /// Sends several messages, in order, and waits for room as often as that takes. On an SPSC ring
    /// as many as there is room for are handed over at once, which spares the receiver and this end
    /// the better part of what a message costs; on an MPMC ring each is sent by itself, and others'
    /// may come in between.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
    /// tx.send_all(&["one", "two", "three"])?;
    /// assert_eq!(rx.claim(10)?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendAllError`], which says how many have been sent, and why the others were not: one of
    /// the errors of [`send`](Self::send). [`MessageError::TooLarge`] before anything is touched.
    pub fn send_all(
        &mut self,
        messages: &[impl AsRef<[u8]>],
    ) -> Result<(), SendAllError<MessageError>> {
        self.send_all_deadline(messages, Deadline::NEVER)
    }

    /// Like [`send_all`](Self::send_all), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`send_all`](Self::send_all), also for [`MessageError::Timeout`].
    pub fn send_all_deadline(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        deadline: impl Into<Deadline>,
    ) -> Result<(), SendAllError<MessageError>> {
        let (deadline, mut sent) = (deadline.into(), 0);
        let mut all = 0;
        for message in messages {
            let slots = claim_of(message.as_ref().len(), &self.raw.end, &self.raw.end.mem);
            all += slots.map_err(|why| SendAllError { sent, why })?;
        }
        while sent < messages.len() {
            let rest = &messages[sent..];
            let moved = if K::MANY {
                self.send_deadline(rest[0].as_ref(), deadline).map(|()| (1, 0))
            } else {
                self.send_some(rest, all, deadline)
            };
            let (some, slots) = moved.map_err(|why| SendAllError { sent, why })?;
            sent += some;
            all = all.saturating_sub(slots);
        }
        Ok(())
    }

    /// Sends as many of the messages, which take `all` slots, as there is room for: at least the
    /// first. How many, and how many slots they took. On an SPSC ring.
    fn send_some(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        all: u64,
        deadline: Deadline,
    ) -> Result<(usize, u64), MessageError> {
        let slots_of = |message: &[u8], end: &SendEnd<K>| claim_of(message.len(), end, &end.mem);
        let first = slots_of(messages[0].as_ref(), &self.raw.end)?;
        let most = all.min(self.raw.end.longest_run()).max(first);
        let claimed = self.raw.claimer().claim(Kept::shape(), first, most, deadline);
        let run = claimed.map_err(|why| gave_up(why, MessageError::Full))?;
        let (mut sent, mut used) = (0, 0);
        for message in messages.iter().map(AsRef::as_ref) {
            let slots = slots_of(message, &self.raw.end)?;
            if slots > run.slots - used {
                break;
            }
            self.write(run.at.wrapping_add(used), message);
            used += slots;
            sent += 1;
        }
        self.raw.end.publish(Kept::shape(), run, used);
        Ok((sent, used))
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

    /// How many slots to claim for a message of so many bytes.
    #[inline(always)]
    pub(in crate::handles) fn slots(&self, len: usize) -> Result<u64, MessageError> {
        claim_of(len, &self.raw.end, &self.raw.end.mem)
    }

    #[inline(always)]
    fn try_room(&mut self, len: usize) -> Result<Run, MessageError> {
        let slots = self.slots(len)?;
        let claimed = self.raw.claimer().try_claim(Kept::shape(), slots, slots);
        claimed.map_err(|why| gave_up(why, MessageError::Full))
    }

    #[inline(always)]
    fn room(&mut self, len: usize, deadline: impl Into<Deadline>) -> Result<Run, MessageError> {
        let slots = self.slots(len)?;
        let claimed = self.raw.claimer().claim(Kept::shape(), slots, slots, deadline);
        claimed.map_err(|why| gave_up(why, MessageError::Full))
    }

    #[inline(always)]
    pub(in crate::handles) fn put(&mut self, run: Run, message: &[u8]) {
        self.write(run.at, message);
        self.raw.end.publish(Kept::shape(), run, run.slots);
    }

    #[inline(always)]
    fn write(&self, at: u64, message: &[u8]) {
        let slots = &self.raw.end.mem.slots;
        slots.set_header(at, message.len() as u64);
        slots.write_bytes(at, HEADER, message);
    }
}
