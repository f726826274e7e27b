//! Messages that a receiver has claimed.

use std::fmt;
use std::slice;

use super::super::raw_end::RawEnd;
use super::Messages;
use crate::pipe::RecvEnd;
use crate::ring::Run;
use crate::ring::frames::{self, HEADER, slots_of};
use crate::ring::mem::Kept;

/// Messages that this receiver alone has, until it releases them:
/// [`Receiver::claim`](super::Receiver::claim).
///
/// What is not released, because this was dropped or forgotten, stays the receiver's: its next call
/// delivers it again, first and in order. What a receiver that dies or is closed still holds is
/// delivered to another, or to its successor, one message at a time, marked with the number of its
/// [`redeliveries`](Self::redeliveries). So `claim`, work, `release` loses no message to a crash in
/// between.
///
/// ```
/// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
/// for word in ["one", "two", "three"] {
///     tx.send(word.as_bytes())?;
/// }
/// let claimed = rx.claim(2)?; // at the most
/// let lengths: Vec<_> = claimed.iter().map(|message| message.len()).collect();
/// assert_eq!(lengths, [3, 3]);
/// claimed.release(1);
/// let mut message = Vec::new();
/// rx.recv(&mut message)?; // not released, hence received again
/// assert_eq!(message, b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "messages that are not released are received again"]
pub struct ReadMessages<'a, K: Messages> {
    raw: &'a mut RawEnd<RecvEnd<K>>,
    run: Run,
    len: usize,
}

impl<'a, K: Messages> ReadMessages<'a, K> {
    pub(in crate::handles) fn new(raw: &'a mut RawEnd<RecvEnd<K>>, run: Run, max: usize) -> Self {
        Self { raw, run, len: (run.items as usize).min(max.max(1)) }
    }

    /// Messages; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many of the messages, the first ones, had been handed to a receiver before, which died, was
    /// closed or gave them back before it released them.
    pub fn redelivered(&self) -> usize {
        self.len.min(self.run.again as usize)
    }

    /// How often the first message had been handed to receivers that died, or were closed, before they
    /// released it: see [`ReadRun::redeliveries`](crate::ReadRun::redeliveries). Where this is not 0,
    /// that message is alone.
    pub fn redeliveries(&self) -> u32 {
        self.raw.end.redeliveries(self.run)
    }

    /// The messages, in order; those that a peer has damaged are left out. None in a child that was
    /// forked meanwhile.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_, K>> {
        let raw = &*self.raw;
        let len = if raw.is_current() { self.len } else { 0 };
        let positions = raw.end.items(Kept::shape(), self.run).take(len);
        positions.filter_map(move |at| Received::new(raw, self.run, at))
    }

    /// The first message; `None` if a peer has damaged it, or in a forked child.
    pub fn first(&self) -> Option<Received<'_, K>> {
        let raw = &*self.raw;
        let at = raw.end.items(Kept::shape(), self.run).next().filter(|_| raw.is_current())?;
        Received::new(raw, self.run, at)
    }

    /// Releases the first `count` messages; the rest stay this receiver's and are received again.
    ///
    /// # Panics
    ///
    /// If `count` is above [`len`](Self::len).
    pub fn release(self, count: usize) {
        assert!(count <= self.len, "{count} messages of {}", self.len);
        if count > 0 {
            self.raw.release(Kept::shape(), self.run, count as u64);
        }
    }

    /// Releases all of them.
    pub fn release_all(self) {
        let len = self.len;
        self.release(len);
    }

    /// Releases nothing, as dropping it does.
    pub fn abandon(self) {}
}

impl<K: Messages> fmt::Debug for ReadMessages<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadMessages").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A message that is in the ring still.
pub struct Received<'a, K: Messages> {
    raw: &'a RawEnd<RecvEnd<K>>,
    at: u64,
    len: usize,
}

impl<'a, K: Messages> Received<'a, K> {
    /// The message that begins at one of a claimed run's positions; `None` if it says that it has
    /// another length than its slots.
    #[inline(always)]
    pub(super) fn new(raw: &'a RawEnd<RecvEnd<K>>, run: Run, at: u64) -> Option<Self> {
        let end = &raw.end;
        let len = frames::length(&end.mem, at);
        let fits = slots_of(len, end.mem.slots.shape().stride) == Some(end.extent(run, at));
        fits.then_some(Self { raw, at, len: len as usize })
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// It has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes of the message, from its byte `at` on, so many as `into` has. Leaves it alone in a
    /// child that was forked meanwhile.
    ///
    /// # Panics
    ///
    /// If the message has fewer.
    pub fn read_slice(&self, at: usize, into: &mut [u8]) {
        let fits = at <= self.len && into.len() <= self.len - at;
        assert!(fits, "{} bytes from byte {at} on of a message of {}", into.len(), self.len);
        if self.raw.is_current() {
            self.raw.end.mem.slots.read_bytes(self.at, HEADER + at, into);
        }
    }

    /// A copy of it; zeros in a child that was forked meanwhile.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = vec![0; self.len];
        self.read_slice(0, &mut copy);
        copy
    }

    /// Borrows it where it lies: in one piece, beginning at a multiple of 8 bytes.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
    /// tx.send(b"hello")?;
    /// let claimed = rx.claim(1)?;
    /// let message = claimed.first().unwrap();
    /// // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
    /// assert_eq!(unsafe { message.as_slice() }, b"hello");
    /// drop(message);
    /// claimed.release_all();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If it was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// From the ring's creation until the reference is gone, its memory and its file are accessed
    /// by every process through this crate alone, and its `unsafe` methods by callers who keep to
    /// this; its file is not truncated, no holes are punched into it, and it is not opened [as
    /// found](crate::Unclean) after others have written to it. No device writes to the message. The
    /// reference is not used in a child that is forked meanwhile.
    pub unsafe fn as_slice(&self) -> &[u8] {
        self.raw.assert_current();
        let slots = &self.raw.end.mem.slots;
        let first = slots.value_ptr(slots.shape(), self.at).wrapping_add(HEADER);
        // SAFETY: the slots are the claim's until it ends, which outlives the borrow, and adjacent, as
        // they are mapped twice in a row; the caller vouches that nobody writes to them; any byte is
        // one.
        unsafe { slice::from_raw_parts(first.cast_const(), self.len) }
    }
}

impl<K: Messages> fmt::Debug for Received<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("len", &self.len).finish_non_exhaustive()
    }
}
