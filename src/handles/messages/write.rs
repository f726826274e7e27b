//! A message in the making.

use std::fmt;
use std::io;
use std::slice;

use super::super::raw_end::RawEnd;
use super::Messages;
use crate::pipe::SendEnd;
use crate::ring::Run;
use crate::ring::frames::{HEADER, slots_of};
use crate::ring::mem::Kept;

/// Room for one message, until it is committed or abandoned: [`Sender::reserve`](super::Sender::reserve).
///
/// Nobody sees the message before the [`commit`](Self::commit). Dropping it abandons it: on an SPSC
/// ring nothing has happened; on an MPMC ring receivers pass over its room.
///
/// ```
/// use std::io::Write;
///
/// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
/// let mut message = tx.reserve(1000)?; // at the most
/// message.writer().write_all(b"what there is to say")?;
/// assert_eq!(message.len(), 20);
/// message.commit();
/// let mut received = Vec::new();
/// rx.recv(&mut received)?;
/// assert_eq!(received, b"what there is to say");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it abandons the message"]
pub struct Reserved<'a, K: Messages> {
    raw: &'a mut RawEnd<SendEnd<K>>,
    /// `None` once committed.
    run: Option<Run>,
    most: usize,
    /// What has been written.
    len: usize,
}

impl<'a, K: Messages> Reserved<'a, K> {
    pub(in crate::handles) fn new(raw: &'a mut RawEnd<SendEnd<K>>, run: Run, most: usize) -> Self {
        Self { raw, run: Some(run), most, len: 0 }
    }

    /// The most bytes that the message can have.
    pub fn capacity(&self) -> usize {
        self.most
    }

    /// Bytes of the message so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing has been written. To send an empty message is possible.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Goes on where the message ends.
    pub fn writer(&mut self) -> MessageWriter<'_, K> {
        let at = self.run.map_or(0, |run| run.at);
        MessageWriter { raw: self.raw, at, most: self.most, len: &mut self.len }
    }

    /// Borrows all of the room, to build the message where it will be read. It is in one piece, begins
    /// at a multiple of 8 bytes, and has the bytes of a lap ago at first, or zeros. The message is then
    /// as long as [`set_len`](Self::set_len) says.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(4096)?;
    /// let mut message = tx.reserve(100)?;
    /// // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
    /// let room = unsafe { message.as_mut_slice() };
    /// room[..2].copy_from_slice(b"ok");
    /// message.set_len(2);
    /// message.commit();
    /// let mut received = Vec::new();
    /// rx.recv(&mut received)?;
    /// assert_eq!(received, b"ok");
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
    /// found](crate::Unclean) after others have written to it. No device accesses the room. The
    /// reference is not used in a child that is forked meanwhile.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        self.raw.assert_current();
        let at = self.run.map_or(0, |run| run.at);
        let slots = &self.raw.end.mem.slots;
        let first = slots.value_ptr(slots.shape(), at).wrapping_add(HEADER);
        // SAFETY: the slots are this claim's until it ends, which outlives the borrow, and adjacent, as
        // they are mapped twice in a row; the caller vouches that nobody else touches them; any byte is
        // one.
        unsafe { slice::from_raw_parts_mut(first, self.most) }
    }

    /// Says how long the message is. What was not written has the bytes of a lap ago, or zeros.
    ///
    /// # Panics
    ///
    /// If it is longer than the [room](Self::capacity).
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.most, "a message of {len} bytes in room for {}", self.most);
        self.len = len;
    }

    /// Sends the message as it is.
    pub fn commit(mut self) {
        let Some(run) = self.run.take() else { return };
        let slots = &self.raw.end.mem.slots;
        let used = slots_of(self.len as u64, slots.shape().stride).unwrap_or(0);
        if self.raw.is_current() {
            slots.set_header(run.at, self.len as u64);
        }
        self.raw.publish(Kept::shape(), run, used);
    }

    /// Sends nothing, as dropping it does.
    pub fn abandon(self) {}
}

impl<K: Messages> Drop for Reserved<'_, K> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.raw.publish(Kept::shape(), run, 0);
        }
    }
}

impl<K: Messages> fmt::Debug for Reserved<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved")
            .field("capacity", &self.most)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Writes a message into its place, one piece after the other.
///
/// As an [`io::Write`] it takes as much as there is room for, and then nothing: `write_all` says
/// [`WriteZero`](io::ErrorKind::WriteZero).
pub struct MessageWriter<'a, K: Messages> {
    raw: &'a RawEnd<SendEnd<K>>,
    at: u64,
    most: usize,
    len: &'a mut usize,
}

impl<K: Messages> MessageWriter<'_, K> {
    /// Bytes for which there is room.
    pub fn remaining(&self) -> usize {
        self.most - *self.len
    }

    /// Writes as much as there is room for, and says how much.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let fits = &bytes[..bytes.len().min(self.remaining())];
        if self.raw.is_current() {
            self.raw.end.mem.slots.write_bytes(self.at, HEADER + *self.len, fits);
        }
        *self.len += fits.len();
        fits.len()
    }
}

impl<K: Messages> io::Write for MessageWriter<'_, K> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.push(bytes))
    }

    /// Nothing to do: the message is sent as a whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<K: Messages> fmt::Debug for MessageWriter<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
