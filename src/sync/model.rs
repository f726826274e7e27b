//! The modelled half of [`sync`](super): loom's atomics, slots on the heap whose every access is
//! checked for races, and a futex on loom's scheduler.
//!
//! Used by `loom-tests` alone, which includes the algorithms' sources and depends on a patched
//! loom; this crate does not. What is stricter here than for real:
//!
//! * A value in a slot is a plain, tracked access. If no happens-before leads from the copy in to
//!   the copy out, or from the copy out to the next copy in, loom reports a race, where for real
//!   the relaxed words of a racing copy would hide it.
//! * A slot that was never written has no value to read.
//! * The futex orders nothing: what the sleeper must see after waking has to come from the
//!   protocol's own orderings. It has no timeout either, so a lost wake is a deadlock.

use std::marker::PhantomData;
use std::sync::Arc;

use loom::cell::UnsafeCell;
pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use loom::sync::{Mutex, MutexGuard};
/// A word that no protocol hangs on: loom need not see it.
pub(crate) use std::sync::atomic::AtomicU64 as UnmodelledU64;

use bytemuck::{AnyBitPattern, NoUninit};
use crossbeam_utils::CachePadded;

use crate::ring::Kind;
use crate::ring::control::{Control, Record, Words};
use crate::ring::mem::{Mem, SlotShape};

/// Something that every end of a ring shares: for real in the region, here on the heap.
/// The standard library's `Arc`, not loom's: counting references is no part of the protocols, and
/// would only add orderings.
pub struct Shared<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A value that may be accessed only by whom the protocol says owns the slot. Models send numbers.
struct Slot(UnsafeCell<Option<u64>>);

/// The slots of a ring on the heap, and their stamps, used by kinds that have them.
pub struct Slots<K> {
    slots: Arc<[Slot]>,
    stamps: Arc<[AtomicU64]>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Slots<K> {
    fn clone(&self) -> Self {
        Self { slots: self.slots.clone(), stamps: self.stamps.clone(), kind: PhantomData }
    }
}

impl<K: Kind> Slots<K> {
    fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two());
        let slots = (0..capacity).map(|_| Slot(UnsafeCell::new(None))).collect();
        let stamps = (0..capacity).map(|_| AtomicU64::new(0)).collect();
        Self { slots, stamps, kind: PhantomData }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(crate) fn shape(&self) -> SlotShape {
        SlotShape::of::<u64, K>()
    }

    fn index(&self, position: u64) -> usize {
        (position & (self.capacity() - 1)) as usize
    }

    fn slot(&self, position: u64) -> &UnsafeCell<Option<u64>> {
        &self.slots[self.index(position)].0
    }

    pub(crate) fn stamp(&self, position: u64) -> &AtomicU64 {
        const { assert!(K::RECOVERS, "this kind of ring has no stamps") };
        &self.stamps[self.index(position)]
    }

    pub(crate) fn stamps(&self, position: u64, slots: u64) -> &[AtomicU64] {
        let from = &self.stamps[self.index(position)..];
        &from[..from.len().min(slots as usize)]
    }

    pub(crate) unsafe fn stamp_in(&self, _: SlotShape, position: u64) -> &AtomicU64 {
        self.stamp(position)
    }

    pub(crate) unsafe fn write<T: NoUninit>(&self, position: u64, value: &T) {
        const { assert!(size_of::<T>() == size_of::<u64>(), "models send numbers") };
        let number = bytemuck::pod_read_unaligned(bytemuck::bytes_of(value));
        self.slot(position).with_mut(|slot| {
            // SAFETY: loom has just checked that every other access is ordered with this one.
            unsafe { *slot = Some(number) }
        });
    }

    pub(crate) unsafe fn read<T: AnyBitPattern>(&self, position: u64) -> T {
        let number = self.slot(position).with(|slot| {
            // SAFETY: loom has just checked that every write is ordered with this read.
            unsafe { *slot }.expect("a slot is read after it was written")
        });
        bytemuck::pod_read_unaligned(bytemuck::bytes_of(&number))
    }

    pub(crate) unsafe fn read_into<T: AnyBitPattern>(&self, position: u64, into: &mut T) {
        // SAFETY: the caller's promise.
        *into = unsafe { self.read(position) };
    }

    /// The word that a message begins with: in models, all that its first slot has.
    pub(crate) fn header(&self, position: u64) -> u64 {
        // SAFETY: models send numbers.
        unsafe { self.read(position) }
    }

    pub(crate) fn set_header(&self, position: u64, header: u64) {
        // SAFETY: as above.
        unsafe { self.write(position, &header) };
    }

    pub(crate) fn prefetch(&self, _: SlotShape, _position: u64) {}

    pub(crate) fn ahead(&self) -> u64 {
        1
    }

    /// Two slots to a line.
    pub(crate) fn in_line(&self) -> u64 {
        1
    }

    pub(crate) fn begun_line(&self, position: u64, items: u64) -> bool {
        position & self.in_line() < items
    }

    pub(crate) fn prefetch_to_write(&self, _: SlotShape, _position: u64, _slots: u64) {}

    /// Changes nothing, but nobody else may access them meanwhile.
    pub(crate) fn write_back(&self, _: SlotShape, position: u64, slots: u64) {
        for i in 0..slots {
            self.slot(position.wrapping_add(i)).with_mut(|_| ());
        }
    }

    pub(crate) unsafe fn write_run<T: NoUninit>(&self, position: u64, values: &[T]) {
        assert!(values.len() as u64 <= self.capacity());
        for (value, i) in values.iter().zip(0..) {
            // SAFETY: the caller's promise.
            unsafe { self.write(position.wrapping_add(i), value) };
        }
    }

    pub(crate) unsafe fn read_run<T: AnyBitPattern>(&self, position: u64, into: &mut [T]) {
        assert!(into.len() as u64 <= self.capacity());
        for (value, i) in into.iter_mut().zip(0..) {
            // SAFETY: the caller's promise.
            unsafe { self.read_into(position.wrapping_add(i), value) };
        }
    }
}

/// A fresh ring: what all-zero memory is for real.
pub(crate) fn ring<K: Kind>(capacity: usize, endpoints: usize) -> Mem<K> {
    let words = Words {
        control: Shared(Arc::new(Control::default())),
        owners: Shared((0..endpoints).map(|_| AtomicU64::new(0)).collect()),
        records: Shared((0..endpoints).map(|_| CachePadded::new(Record::default())).collect()),
    };
    Mem { words, slots: Slots::new(capacity), drop_unreleased: false, delivery_limit: 0 }
}

/// Only a hint to the compiler, which does not reorder here.
pub(crate) fn compiler_fence(_: Ordering) {}

/// Barriers that one thread makes all others execute. Unless the model is one of those in which
/// [nobody has registered](membarrier::nobody_has_registered), publishers do nothing, not even
/// fence.
pub(crate) mod membarrier {
    use std::cell::Cell;

    use super::AtomicU32;

    std::thread_local! {
        static REGISTERED: Cell<bool> = const { Cell::new(true) };
    }

    /// For the execution that begins: everybody registers.
    pub(crate) fn everybody_has_registered() {
        REGISTERED.set(true);
    }

    /// For this execution: the kernel knows no such call, so publishers and sleepers fence.
    pub(crate) fn nobody_has_registered() {
        REGISTERED.set(false);
    }

    pub(crate) fn register() {}

    pub(crate) fn decline() -> bool {
        !REGISTERED.get()
    }

    pub(crate) fn reaches_us() -> bool {
        REGISTERED.get()
    }

    /// `announced_in`: with whose accesses this does not commute, for the exploration.
    pub(crate) fn everywhere(announced_in: &AtomicU32) -> bool {
        if REGISTERED.get() {
            announced_in.membarrier();
        }
        REGISTERED.get()
    }
}

/// The kernel's futex: checking the word and going to sleep are one step, a wake reaches whoever
/// sleeps then. Returns without a reason are the models' to choose, in their `Pace`.
pub(crate) mod futex {
    use super::AtomicU32;

    /// Sleeps while `word` holds `expected`, until woken by a wake that shares a bit with `whom`,
    /// for ever if need be.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, whom: u32, _until: u64) {
        word.futex_wait(expected, whom);
    }

    /// Wakes up to `count` of those sleepers on `word` who share a bit with `whom`.
    pub(crate) fn wake(word: &AtomicU32, count: u32, whom: u32) {
        word.futex_wake(count as usize, whom);
    }
}

/// The same for whoever sleeps at several words.
pub(crate) mod futexes {
    use super::AtomicU32;

    /// What has ended a sleep at several words: see the real one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum End {
        Woken(usize),
        Else,
    }

    /// Sleeps while each word holds what is expected, until woken at one of them by any wake.
    pub(crate) fn wait_any(words: &[(&AtomicU32, u32)]) -> End {
        AtomicU32::futex_wait_any(words).map_or(End::Else, End::Woken)
    }
}
