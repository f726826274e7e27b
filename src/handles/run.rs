//! Runs of slots claimed for writing or reading in place.
//!
//! # Borrowing
//!
//! Values are copied into and out of the slots, so nobody's memory safety depends on what a peer
//! does to the region. A run also gives out references to its slots, by `unsafe` methods, as a
//! reference promises what no process can enforce on another. Whoever calls one vouches that
//!
//! * since the ring was created, and until the reference is gone, its memory and its file have been
//!   accessed by every process through this crate alone (what was scribbled once may have given one
//!   slot to two), and by callers of its `unsafe` methods who kept to this; its file is not
//!   truncated, no holes are punched into it, and it was not opened as it was found
//!   ([`Unclean`](crate::Unclean)) after others had written to it;
//! * no device writes to the slots behind the processor's back (and reads them only if the
//!   reference is shared);
//! * the reference is not used in a child that was forked meanwhile, which shares the memory with
//!   its parent.
//!
//! The compiler sees to the rest: a reference lives no longer than the run, the run no longer than
//! its handle, and the slots are the run's until it ends, or, of a handle that was forgotten, until
//! the process does.

use std::cell::Cell;
use std::{fmt, slice};

use bytemuck::AnyBitPattern;

use super::item::{Item, checked};
use super::raw_end::RawEnd;
use crate::pipe::{RecvEnd, SendEnd};
use crate::ring::mem::{Fixed, View};
use crate::ring::{Bytes, Kind, Run, Spsc};

/// Free slots that this sender alone may fill, until it commits or abandons them:
/// [`SendHandle::claim`](crate::SendHandle::claim).
///
/// Values are copied into the slots one by one; nobody sees them before the
/// [`commit`](Self::commit). Dropping the run abandons it: on an SPSC ring nothing has happened; on
/// an MPMC ring the positions are spent, and receivers pass over them. To build values directly in
/// shared memory, see [`slot_mut`](Self::slot_mut).
///
/// ```
/// let (mut tx, mut rx) = ringpipe::mpmc::channel::<u64>(8)?;
/// let mut run = tx.try_claim(3).unwrap();
/// for i in 0..run.len() {
///     run.write(i, i as u64 * 10);
/// }
/// run.commit(2); // the third is abandoned
/// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 10]);
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
#[must_use = "dropping the run abandons it"]
pub struct WriteRun<'a, T: Item, K: Kind> {
    raw: &'a mut RawEnd<SendEnd<K>>,
    shape: Fixed<T, K>,
    /// `None` once committed.
    run: Option<Run>,
    len: usize,
}

impl<'a, T: Item, K: Kind> WriteRun<'a, T, K> {
    pub(super) fn new(raw: &'a mut RawEnd<SendEnd<K>>, shape: Fixed<T, K>, run: Run) -> Self {
        Self { raw, shape, run: Some(run).filter(|run| run.slots > 0), len: run.slots as usize }
    }

    pub(super) fn view(&self) -> View<'_, Fixed<T, K>> {
        self.raw.end.mem.view(self.shape)
    }

    pub(super) fn is_current(&self) -> bool {
        self.raw.is_current()
    }

    /// Slots in the run.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No slots were asked for.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `value` into slot `index` of the run.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len).
    pub fn write(&mut self, index: usize, value: T) {
        let at = self.position(index);
        if self.raw.is_current() {
            self.view().write(at, &value);
        }
    }

    fn position(&self, index: usize) -> u64 {
        assert!(index < self.len, "slot {index} of a run of {}", self.len);
        self.run.map_or(0, |run| run.at.wrapping_add(index as u64))
    }

    /// Publishes the first `count` slots and abandons the rest. A slot that was not written has the
    /// value that it had a lap ago, or all bytes zero (which its receiver is told are `Invalid` if
    /// they make no `T`).
    ///
    /// # Panics
    ///
    /// If `count` is above [`len`](Self::len).
    pub fn commit(mut self, count: usize) {
        assert!(count <= self.len, "{count} slots of a run of {}", self.len);
        if let Some(run) = self.run.take() {
            self.raw.publish(self.shape, run, count as u64);
        }
    }

    /// Publishes the whole run.
    pub fn commit_all(self) {
        let len = self.len;
        self.commit(len);
    }

    /// Publishes nothing, as dropping the run does.
    pub fn abandon(self) {}
}

impl<T: Item + AnyBitPattern, K: Kind> WriteRun<'_, T, K> {
    /// Borrows slot `index` of the run, to build a value where it will be read. At first it has the
    /// value of a lap ago, or all bytes zero.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::mpmc::channel::<[u64; 16]>(8)?;
    /// let mut run = tx.try_claim(1).unwrap();
    /// // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
    /// unsafe { run.slot_mut(0) }.fill(7);
    /// run.commit_all();
    ///
    /// let run = rx.try_claim(1).unwrap();
    /// // SAFETY: likewise.
    /// assert_eq!(unsafe { run.slot(0) }[15], 7);
    /// run.release_all();
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len), or the run was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// From the ring's creation until the reference is gone, its memory and its file are accessed
    /// by every process through this crate alone, and its `unsafe` methods by callers who keep to
    /// this; its file is not truncated, no holes are punched into it, and it is not opened [as
    /// found](crate::Unclean) after others have written to it. No device accesses the slot. The
    /// reference is not used in a child that is forked meanwhile.
    pub unsafe fn slot_mut(&mut self, index: usize) -> &mut T {
        self.raw.assert_current();
        let slot = self.view().value_ptr(self.position(index));
        // SAFETY: the slot is this run's until it ends, which outlives the borrow, and the caller
        // vouches that nobody else touches it; its bytes, whatever they are, are a `T`, which is
        // `AnyBitPattern`.
        unsafe { &mut *slot }
    }
}

impl<T: Item + AnyBitPattern, K: Kind> ReadRun<'_, T, K> {
    /// Borrows item `index` of the run where it lies. There is an example at
    /// [`WriteRun::slot_mut`].
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len), a peer has corrupted the ring meanwhile, or the
    /// run was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// From the ring's creation until the reference is gone, its memory and its file are accessed
    /// by every process through this crate alone, and its `unsafe` methods by callers who keep to
    /// this; its file is not truncated, no holes are punched into it, and it is not opened [as
    /// found](crate::Unclean) after others have written to it. No device writes to the slot. The
    /// reference is not used in a child that is forked meanwhile.
    pub unsafe fn slot(&self, index: usize) -> &T {
        self.raw.assert_current();
        let at = self.position(index).expect("an item of the run");
        let slot = self.view().value_ptr(at).cast::<T>();
        // SAFETY: the slot is this run's until it ends, which outlives the borrow, and the caller
        // vouches that nobody else writes to it; its bytes, whatever they are, are a `T`, which is
        // `AnyBitPattern`.
        unsafe { &*slot }
    }
}

impl<T: Item + AnyBitPattern> WriteRun<'_, T, Spsc> {
    /// Borrows all slots of the run: those before the ring's end, and those from its start on
    /// (often none).
    ///
    /// # Panics
    ///
    /// If the run was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// As for [`slot_mut`](Self::slot_mut), for all of them.
    pub unsafe fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        self.raw.assert_current();
        let view = self.view();
        let [(first, len), (rest, others)] =
            pieces(view, self.run.map_or(0, |run| run.at), self.len);
        // SAFETY: as in `slot_mut`, for adjacent slots of an unstamped ring.
        let first = unsafe { slice::from_raw_parts_mut(first, len) };
        // SAFETY: likewise, and these slots are not among the first.
        let rest = unsafe { slice::from_raw_parts_mut(rest, others) };
        (first, rest)
    }
}

impl<T: Item + AnyBitPattern> ReadRun<'_, T, Spsc> {
    /// Borrows all items of the run: those before the ring's end, and those from its start on
    /// (often none).
    ///
    /// # Panics
    ///
    /// If the run was inherited through `fork`.
    ///
    /// # Safety
    ///
    /// As for [`slot`](Self::slot), for all of them.
    pub unsafe fn as_slices(&self) -> (&[T], &[T]) {
        self.raw.assert_current();
        let view = self.view();
        let [(first, len), (rest, others)] = pieces(view, self.run.at, self.len);
        // SAFETY: as in `slot`, for adjacent slots of an unstamped ring.
        let first = unsafe { slice::from_raw_parts(first.cast(), len) };
        // SAFETY: likewise.
        let rest = unsafe { slice::from_raw_parts(rest.cast(), others) };
        (first, rest)
    }
}

/// Where `len` values from position `at` on lie, and how many in each piece.
fn pieces<T: Copy>(view: View<'_, Fixed<T, Spsc>>, at: u64, len: usize) -> [(*mut T, usize); 2] {
    let first = view.slots.before_wrap(at, len as u64) as usize;
    let rest = view.value_ptr(at.wrapping_add(first as u64));
    [(view.value_ptr(at), first), (rest, len - first)]
}

/// A byte pipe's data is mapped twice in a row: from wherever a run begins, all of it is adjacent.
impl WriteRun<'_, u8, Bytes> {
    /// The position of byte `at`, from which on the run has `len` bytes.
    pub(super) fn stretch(&self, at: usize, len: usize) -> u64 {
        within(at, len, self.len);
        self.run.map_or(0, |run| run.at.wrapping_add(at as u64))
    }

    /// Where it begins, and its length. Panics in a forked child.
    pub(super) fn adjacent(&mut self) -> (*mut u8, usize) {
        self.raw.assert_current();
        (self.view().value_ptr(self.stretch(0, 0)), self.len)
    }
}

impl ReadRun<'_, u8, Bytes> {
    /// The position of byte `at`, from which on the run has `len` bytes.
    pub(super) fn stretch(&self, at: usize, len: usize) -> u64 {
        within(at, len, self.len);
        self.run.at.wrapping_add(at as u64)
    }

    /// Where it begins, and its length. Panics in a forked child.
    pub(super) fn adjacent(&self) -> (*mut u8, usize) {
        self.raw.assert_current();
        (self.view().value_ptr(self.run.at), self.len)
    }
}

fn within(at: usize, len: usize, all: usize) {
    let fits = at <= all && len <= all - at;
    assert!(fits, "{len} bytes from byte {at} on of a run of {all}");
}

impl<T: Item, K: Kind> Drop for WriteRun<'_, T, K> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.raw.publish(self.shape, run, 0);
        }
    }
}

impl<T: Item, K: Kind> fmt::Debug for WriteRun<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteRun").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Items that this receiver alone has, until it releases them:
/// [`RecvHandle::claim`](crate::RecvHandle::claim).
///
/// Values are copied out one by one. [`release`](Self::release) gives the slots back to the
/// senders. What is not released, because the run was dropped or forgotten, stays this receiver's:
/// its next call delivers it again, first and in order. So `claim`, work, `release` loses no item
/// to a panic, an early return or a crash in between: what a receiver that dies or is closed still
/// holds is delivered to another receiver, or to its successor, one item at a time, marked as
/// [`redelivered`](Self::redelivered), with the number of its [`redeliveries`](Self::redeliveries).
/// They come when that receiver finds the dead one, which may be after many other items: at the
/// latest when it has found the ring empty for an interval. To work on values in shared memory, see
/// [`slot`](Self::slot), for types of which all bit patterns are valid.
///
/// ```
/// let (mut tx, mut rx) = ringpipe::mpmc::channel::<u64>(8)?;
/// tx.try_send_slice(&[1, 2, 3]).unwrap();
/// let run = rx.try_claim(8).unwrap();
/// assert_eq!(run.iter().collect::<Vec<_>>(), [1, 2, 3]);
/// run.release(1);
/// assert_eq!(rx.try_recv(), Ok(2)); // not released, hence received again
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
#[must_use = "items that are not released are received again"]
pub struct ReadRun<'a, T: Item, K: Kind> {
    raw: &'a mut RawEnd<RecvEnd<K>>,
    shape: Fixed<T::Bits, K>,
    run: Run,
    len: usize,
    /// The item asked for last, and its position: the next one is looked for from there.
    found: Cell<(usize, u64)>,
}

impl<'a, T: Item, K: Kind> ReadRun<'a, T, K> {
    pub(super) fn new(
        raw: &'a mut RawEnd<RecvEnd<K>>,
        shape: Fixed<T::Bits, K>,
        run: Run,
        max: u64,
    ) -> Self {
        let len = run.items.min(max) as usize;
        Self { raw, shape, run, len, found: Cell::new((0, run.at)) }
    }

    pub(super) fn view(&self) -> View<'_, Fixed<T::Bits, K>> {
        self.raw.end.mem.view(self.shape)
    }

    pub(super) fn is_current(&self) -> bool {
        self.raw.is_current()
    }

    /// Items in the run.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No items were asked for.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of the items, the first ones, had been handed to a receiver before, which died, was
    /// closed or gave them back before it released them.
    pub fn redelivered(&self) -> usize {
        self.len.min(self.run.again as usize)
    }

    /// How often the run's item had been handed to receivers that died, or were closed, before they
    /// released it; 0 for what no other receiver has had. At most 15: that is 15 or more.
    ///
    /// Where this is not 0, the run is that item alone: a receiver that takes over another's items
    /// gets them one at a time, so that only the item it is working on is counted if it dies. What
    /// this receiver has given back itself does not count.
    ///
    /// A job that kills every worker it is given to can thus be set aside before it is tried again:
    ///
    /// ```
    /// let jobs = ringpipe::mpmc::Ring::<u64>::options().capacity(8).create_anonymous()?;
    /// let (mut set_aside, mut inspector) = ringpipe::mpmc::channel::<u64>(8)?;
    /// let mut tx = jobs.sender()?;
    /// tx.try_send(13)?;
    /// for _ in 0..3 {
    ///     let mut worker = jobs.receiver()?;
    ///     let run = worker.try_claim(1)?;
    ///     assert_eq!(run.get(0), Some(13)); // which kills it
    /// }
    /// let mut worker = jobs.receiver()?;
    /// tx.try_send(14)?;
    /// drop(tx);
    /// let mut done = Vec::new();
    /// while let Ok(run) = worker.claim(1) {
    ///     let job = run.get(0).expect("an item");
    ///     if run.redeliveries() >= 3 {
    ///         set_aside.try_send(job)?; // for somebody to look at
    ///     } else {
    ///         done.push(job);
    ///     }
    ///     run.release_all();
    /// }
    /// assert_eq!((done, inspector.recv()), (vec![14], Ok(13)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redeliveries(&self) -> u32 {
        self.raw.end.redeliveries(self.run)
    }

    /// Copies item `index` of the run, at once if it is asked for in order; else, past positions that
    /// senders gave up, in a time that grows with `index`. `None` if there is no such item; if its bits make no `T`
    /// (release it: it will never make one); if a peer has corrupted the ring meanwhile; in a child
    /// that was forked meanwhile.
    pub fn get(&self, index: usize) -> Option<T> {
        let at = self.position(index).filter(|_| self.raw.is_current())?;
        checked(self.view().read(at))
    }

    fn position(&self, index: usize) -> Option<u64> {
        if index >= self.len {
            return None;
        }
        let (from, at) = match self.found.get() {
            (found, at) if found <= index => (found, at),
            _ => (0, self.run.at),
        };
        let passed = at.wrapping_sub(self.run.at);
        let rest = Run {
            at,
            slots: self.run.slots - passed,
            items: self.run.items - from as u64,
            again: self.run.again,
        };
        let position = self.raw.end.find(self.shape, rest, (index - from) as u64)?;
        self.found.set((index, position));
        Some(position)
    }

    /// Copies of the items, in order, but for those whose bits make no `T`: [`get`](Self::get)
    /// tells which. (A run that is released counts none of its items as dropped.)
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (end, view) = (&self.raw.end, self.view());
        let len = if self.raw.is_current() { self.len } else { 0 };
        end.items(self.shape, self.run).take(len).filter_map(move |at| checked(view.read(at)))
    }

    /// Releases the first `count` items; the rest stay this receiver's and are received again.
    ///
    /// # Panics
    ///
    /// If `count` is above [`len`](Self::len).
    #[inline]
    pub fn release(self, count: usize) {
        assert!(count <= self.len, "{count} items of a run of {}", self.len);
        if count > 0 {
            self.raw.release(self.shape, self.run, count as u64);
        }
    }

    /// Releases the whole run.
    pub fn release_all(self) {
        let len = self.len;
        self.release(len);
    }

    /// Releases nothing, as dropping the run does.
    pub fn abandon(self) {}
}

impl<T: Item, K: Kind> fmt::Debug for ReadRun<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadRun").field("len", &self.len).finish_non_exhaustive()
    }
}
