//! The memory of a ring: what the algorithms work on, whatever its elements are.
//!
//! A [`Mem`] knows its elements by their size and alignment alone. So attaching, recovery,
//! end-of-file and the slow paths of claims are written and compiled for a kind of ring, not for a
//! type of elements.
//!
//! The path of every message is different: with a size that is only known when the program runs, a
//! slot's address would take a multiplication where a shift does, and a copy a loop where two
//! registers do. That path goes through a [`View`], which is the same memory together with a
//! [`Shape`]: what slots look like, said by a type that the compiler knows ([`Fixed`]), or as the
//! memory itself keeps it ([`Kept`]).
//!
//! **Why a view stays within the memory.** A slot is found by the stride of the view's shape. The
//! one that is kept is private memory of this process, computed from this program's own element
//! type; the header of the region was compared with it when the ring was opened. A [`Fixed`]
//! belongs to one handle: the handle compares it once with the shape that its ring keeps, and uses
//! it on that ring only.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytemuck::{AnyBitPattern, NoUninit};

use super::Kind;
use super::control::Words;
use crate::sync::{AtomicU64, Slots};

/// Where things lie in a slot, and how far apart slots are. In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotShape {
    /// From one slot to the next.
    pub(crate) stride: usize,
    /// What a slot's address is a multiple of.
    pub(crate) align: usize,
    /// From the start of a slot to its value.
    pub(crate) value_at: usize,
    /// The value.
    pub(crate) size: usize,
}

impl SlotShape {
    /// For values of `size` bytes, aligned to `align`, a power of two, behind a 64-bit stamp or
    /// alone. `None` if that is more than there can be.
    pub(crate) const fn new(stamped: bool, size: usize, align: usize) -> Option<Self> {
        // An atomic's alignment: a plain `u64`'s is 4 on some 32-bit machines.
        let stamp = align_of::<AtomicU64>();
        let slot_align = if stamped && align < stamp { stamp } else { align };
        let value_at = if stamped { size_of::<u64>().next_multiple_of(align) } else { 0 };
        let Some(end) = value_at.checked_add(size) else { return None };
        match end.checked_next_multiple_of(slot_align) {
            Some(stride) => Some(Self { stride, align: slot_align, value_at, size }),
            None => None,
        }
    }

    /// For values of type `T` in a ring of kind `K`.
    pub(crate) const fn of<T, K: Kind>() -> Self {
        Self::new(K::STAMPED, size_of::<T>(), align_of::<T>()).expect("a type's size is no more")
    }
}

/// The memory that a ring's algorithm works on.
pub struct Mem<K> {
    pub(crate) words: Words,
    pub(crate) slots: Slots<K>,
    /// What a dead receiver had not released is discarded rather than delivered again.
    pub(crate) drop_unreleased: bool,
    /// Items that were delivered so often are discarded, too. 0: no limit.
    pub(crate) delivery_limit: u32,
}

impl<K: Kind> Mem<K> {
    /// This memory, with slots of this shape.
    #[inline(always)]
    pub(crate) fn view<S: Shape<Kind = K>>(&self, shape: S) -> View<'_, S> {
        debug_assert_eq!(shape.slot(self), self.slots.shape());
        View { mem: self, shape }
    }

    /// This memory, with slots of the shape that it keeps.
    #[inline(always)]
    pub(crate) fn kept(&self) -> View<'_, Kept<K>> {
        self.view(Kept::shape())
    }
}

impl<K> fmt::Debug for Mem<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mem").field("control", &*self.words.control).finish_non_exhaustive()
    }
}

/// What the slots of a ring look like.
///
/// # Safety
///
/// [`slot(mem)`](Self::slot) equals `mem.slots.shape()` for every `mem` that the shape is used
/// with.
pub unsafe trait Shape: Copy {
    /// What the ring is.
    type Kind: Kind;

    /// Where things lie in the slots of this memory.
    fn slot(self, mem: &Mem<Self::Kind>) -> SlotShape;
}

/// Slots for values of type `T`.
pub struct Fixed<T, K>(PhantomData<fn() -> (T, K)>);

impl<T, K: Kind> Fixed<T, K> {
    const SLOT: SlotShape = SlotShape::of::<T, K>();

    /// # Safety
    ///
    /// Use it only on memory whose slots have this shape.
    pub(crate) unsafe fn trusted() -> Self {
        Self(PhantomData)
    }
}

impl<T, K> Clone for Fixed<T, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, K> Copy for Fixed<T, K> {}

impl<T, K> fmt::Debug for Fixed<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixed").finish_non_exhaustive()
    }
}

// SAFETY: whoever made it vouches for the memory that it is used on.
unsafe impl<T, K: Kind> Shape for Fixed<T, K> {
    type Kind = K;

    #[inline(always)]
    fn slot(self, _: &Mem<K>) -> SlotShape {
        Self::SLOT
    }
}

/// Slots of the shape that their memory keeps.
pub struct Kept<K>(PhantomData<fn() -> K>);

impl<K> Kept<K> {
    /// It serves all memory.
    pub(crate) fn shape() -> Self {
        Self(PhantomData)
    }
}

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Kept<K> {}

impl<K> fmt::Debug for Kept<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

// SAFETY: it says just what the memory keeps.
unsafe impl<K: Kind> Shape for Kept<K> {
    type Kind = K;

    #[inline(always)]
    fn slot(self, mem: &Mem<K>) -> SlotShape {
        mem.slots.shape()
    }
}

/// A ring's memory, with slots of a known shape.
#[derive(Debug)]
pub struct View<'a, S: Shape> {
    mem: &'a Mem<S::Kind>,
    shape: S,
}

impl<S: Shape> Clone for View<'_, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Shape> Copy for View<'_, S> {}

impl<S: Shape> Deref for View<'_, S> {
    type Target = Mem<S::Kind>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        self.mem
    }
}

impl<'a, S: Shape> View<'a, S> {
    /// [`Kind::MESSAGES`], for those who know no more than the shape.
    #[inline(always)]
    pub(crate) fn has_messages(&self) -> bool {
        S::Kind::MESSAGES
    }

    /// The slot's stamp. Only kinds with stamps have one.
    #[inline(always)]
    pub(crate) fn stamp(&self, position: u64) -> &'a AtomicU64 {
        // SAFETY: by the promise of `Shape`, it is that of these slots.
        unsafe { self.mem.slots.stamp_in(self.shape.slot(self.mem), position) }
    }

    /// Asks for the first line of a slot, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: u64) {
        self.mem.slots.prefetch(self.shape.slot(self.mem), position);
    }

    /// Asks for the lines of slots that will be written soon, or the first of them, for this
    /// processor alone, without waiting for them. Only if they are to come within the capacity: see
    /// [`Slots::ahead`].
    #[inline(always)]
    pub(crate) fn prefetch_to_write(&self, position: u64, slots: u64) {
        self.mem.slots.prefetch_to_write(self.shape.slot(self.mem), position, slots);
    }

    /// Takes the lines of slots that are claimed and read: see [`Slots::write_back`].
    #[inline(always)]
    pub(crate) fn write_back(&self, position: u64, slots: u64) {
        self.mem.slots.write_back(self.shape.slot(self.mem), position, slots);
    }
}

impl<T, K: Kind> View<'_, Fixed<T, K>> {
    /// Where the slot's value lies, for those who borrow it.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn value_ptr(&self, position: u64) -> *mut T {
        self.mem.slots.value_ptr(Fixed::<T, K>::SLOT, position).cast()
    }
}

impl<T: NoUninit, K: Kind> View<'_, Fixed<T, K>> {
    /// Copies `value` into the slot at `position`.
    #[inline(always)]
    pub(crate) fn write(&self, position: u64, value: &T) {
        // SAFETY: the slots are of the shape that `T`s have.
        unsafe { self.mem.slots.write(position, value) }
    }

    /// Copies `values`, no more than the ring has slots, into successive slots from `position` on.
    #[inline]
    pub(crate) fn write_run(&self, position: u64, values: &[T]) {
        // SAFETY: as above.
        unsafe { self.mem.slots.write_run(position, values) }
    }
}

impl<T: AnyBitPattern, K: Kind> View<'_, Fixed<T, K>> {
    /// Copies the value at `position` out. A peer that writes meanwhile makes it a mixture.
    #[inline(always)]
    pub(crate) fn read(&self, position: u64) -> T {
        // SAFETY: the slots are of the shape that `T`s have, and any bytes are one.
        unsafe { self.mem.slots.read(position) }
    }

    /// The same, into memory that is there: a large value stands nowhere else meanwhile.
    #[inline]
    pub(crate) fn read_into(&self, position: u64, into: &mut T) {
        // SAFETY: as above.
        unsafe { self.mem.slots.read_into(position, into) }
    }

    /// Copies successive slots from `position` on into `into`, no more than the ring has.
    #[inline]
    pub(crate) fn read_run(&self, position: u64, into: &mut [T]) {
        // SAFETY: as above.
        unsafe { self.mem.slots.read_run(position, into) }
    }
}
