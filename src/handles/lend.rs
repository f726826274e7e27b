//! The `unsafe` door: borrowing values in shared memory instead of copying them.

use std::ops::{Deref, DerefMut, Index, IndexMut};
use std::slice;

use super::Item;
use super::recv::RecvHandle;
use super::run::{ReadRun, WriteRun};
use super::send::SendHandle;
use crate::error::BulkError;
use crate::ring::{Kind, Spsc};
use crate::wait::pace::Deadline;

/// A handle whose user vouches for every process that can map the region; it lends references into
/// shared memory. All other calls are those of the handle inside.
///
/// ```
/// let (tx, rx) = ringpipe::spsc::channel::<[u64; 16]>(8)?;
/// // SAFETY: the ring is anonymous, and this process keeps to the protocol.
/// let (mut tx, mut rx) = unsafe { (tx.trust_peers(), rx.trust_peers()) };
///
/// let mut run = tx.try_claim(1).unwrap();
/// run[0].fill(7); // built where it will be read
/// run.commit_all();
///
/// let run = rx.try_claim(1).unwrap();
/// assert_eq!(run[0][15], 7);
/// run.release_all();
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
#[derive(Debug)]
pub struct Trusted<H>(H);

impl<T: Item, K: Kind> SendHandle<T, K> {
    /// Opens the door to zero-copy writing.
    ///
    /// # Safety
    ///
    /// While the result lives, every process that can map the ring's region accesses it through
    /// this crate alone, and does not truncate or punch holes into its file.
    pub unsafe fn trust_peers(mut self) -> Trusted<Self> {
        self.trusted = true;
        Trusted(self)
    }
}

impl<T: Item, K: Kind> RecvHandle<T, K> {
    /// Opens the door to zero-copy reading.
    ///
    /// # Safety
    ///
    /// While the result lives, every process that can map the ring's region accesses it through
    /// this crate alone, and does not truncate or punch holes into its file.
    pub unsafe fn trust_peers(mut self) -> Trusted<Self> {
        self.trusted = true;
        Trusted(self)
    }
}

impl<T: Item, K: Kind> Trusted<SendHandle<T, K>> {
    /// Closes the door.
    pub fn into_inner(mut self) -> SendHandle<T, K> {
        self.0.trusted = false;
        self.0
    }
}

impl<T: Item, K: Kind> Trusted<RecvHandle<T, K>> {
    /// Closes the door.
    pub fn into_inner(mut self) -> RecvHandle<T, K> {
        self.0.trusted = false;
        self.0
    }
}

impl<H> Deref for Trusted<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

impl<H> DerefMut for Trusted<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.0
    }
}

/// A run whose slots can be borrowed, by index. All other calls are those of the run inside.
///
/// What may be borrowed is known to the handle behind the run, not to this wrapper: should safe
/// code swap another run in, of a handle that nobody vouched for, borrowing from it panics; so does
/// borrowing from a run that was inherited through `fork`.
#[derive(Debug)]
#[must_use = "see the run inside"]
pub struct Lent<R>(R);

impl<T: Item, K: Kind> Trusted<SendHandle<T, K>> {
    /// [`SendHandle::try_claim`], with slots that can be borrowed.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_claim(&mut self, max: usize) -> Result<Lent<WriteRun<'_, T, K>>, BulkError> {
        self.0.try_claim(max).map(Lent)
    }

    /// [`SendHandle::claim`], with slots that can be borrowed.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn claim(
        &mut self,
        max: usize,
        deadline: impl Into<Deadline>,
    ) -> Result<Lent<WriteRun<'_, T, K>>, BulkError> {
        self.0.claim(max, deadline).map(Lent)
    }
}

impl<T: Item, K: Kind> Trusted<RecvHandle<T, K>> {
    /// [`RecvHandle::try_claim`], with items that can be borrowed.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_claim(&mut self, max: usize) -> Result<Lent<ReadRun<'_, T, K>>, BulkError> {
        self.0.try_claim(max).map(Lent)
    }

    /// [`RecvHandle::claim`], with items that can be borrowed.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn claim(
        &mut self,
        max: usize,
        deadline: impl Into<Deadline>,
    ) -> Result<Lent<ReadRun<'_, T, K>>, BulkError> {
        self.0.claim(max, deadline).map(Lent)
    }
}

impl<'a, T: Item, K: Kind> Lent<WriteRun<'a, T, K>> {
    /// [`WriteRun::commit`].
    pub fn commit(self, count: usize) {
        self.0.commit(count);
    }

    /// [`WriteRun::commit_all`].
    pub fn commit_all(self) {
        self.0.commit_all();
    }
}

impl<'a, T: Item, K: Kind> Lent<ReadRun<'a, T, K>> {
    /// [`ReadRun::release`].
    pub fn release(self, count: usize) {
        self.0.release(count);
    }

    /// [`ReadRun::release_all`].
    pub fn release_all(self) {
        self.0.release_all();
    }
}

impl<R> Deref for Lent<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0
    }
}

impl<R> DerefMut for Lent<R> {
    fn deref_mut(&mut self) -> &mut R {
        &mut self.0
    }
}

impl<T: Item, K: Kind> Index<usize> for Lent<WriteRun<'_, T, K>> {
    type Output = T;

    /// The slot's present value.
    fn index(&self, index: usize) -> &T {
        self.0.handle.assert_trusted();
        let slot = self.0.handle.end.mem.slots.value_ptr(self.0.position(index));
        // SAFETY: the slot is claimed by this run until it ends, which outlives the borrow; whoever
        // opened the door vouches that nobody else touches it; its bytes, whatever they are, are a
        // `T`, which is `AnyBitPattern`.
        unsafe { &*slot }
    }
}

impl<T: Item, K: Kind> IndexMut<usize> for Lent<WriteRun<'_, T, K>> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        self.0.handle.assert_trusted();
        let slot = self.0.handle.end.mem.slots.value_ptr(self.0.position(index));
        // SAFETY: as in `index`, and the run is borrowed mutably.
        unsafe { &mut *slot }
    }
}

impl<T: Item, K: Kind> Index<usize> for Lent<ReadRun<'_, T, K>> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.0.handle.assert_trusted();
        let at = self.0.position(index).expect("an item of the run");
        let slot = self.0.handle.end.mem.slots.value_ptr(at);
        // SAFETY: the slot is claimed by this run until it ends, which outlives the borrow; whoever
        // opened the door vouches that nobody else writes it; its bytes, whatever they are, are a
        // `T`, which is `AnyBitPattern`.
        unsafe { &*slot }
    }
}

impl<T: Item> Lent<WriteRun<'_, T, Spsc>> {
    /// The slots of the run: those before the ring's end and those from its start on (often none).
    pub fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        self.0.handle.assert_trusted();
        let slots = &self.0.handle.end.mem.slots;
        let (at, len) = (self.0.position(0), self.0.len());
        let first = slots.before_wrap(at, len as u64) as usize;
        let (head, rest) = (slots.value_ptr(at), slots.value_ptr(at.wrapping_add(first as u64)));
        // SAFETY: as in `index_mut`, for `first` adjacent slots of an unstamped ring.
        let head = unsafe { slice::from_raw_parts_mut(head, first) };
        // SAFETY: likewise for the remaining slots, which do not overlap the first.
        let rest = unsafe { slice::from_raw_parts_mut(rest, len - first) };
        (head, rest)
    }
}

impl<T: Item> Lent<ReadRun<'_, T, Spsc>> {
    /// The items of the run: those before the ring's end and those from its start on (often none).
    pub fn as_slices(&self) -> (&[T], &[T]) {
        self.0.handle.assert_trusted();
        let slots = &self.0.handle.end.mem.slots;
        let at = self.0.position(0).expect("a run has an item");
        let len = self.0.len();
        let first = slots.before_wrap(at, len as u64) as usize;
        let (head, rest) = (slots.value_ptr(at), slots.value_ptr(at.wrapping_add(first as u64)));
        // SAFETY: as in `index`, for `first` adjacent slots of an unstamped ring.
        let head = unsafe { slice::from_raw_parts(head, first) };
        // SAFETY: likewise for the remaining slots.
        let rest = unsafe { slice::from_raw_parts(rest, len - first) };
        (head, rest)
    }
}
