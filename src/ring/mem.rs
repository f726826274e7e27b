//! The memory of a ring: what the algorithms work on, whatever its elements are.
//!
//! A [`Mem`] knows its elements by size and alignment alone, as a header tells them when a ring is
//! opened. So attaching, recovery, end-of-file and waiting are compiled once for each kind of ring,
//! and a ring whose elements no type of this program describes is as good as any other.
//!
//! The path of every message cannot afford to ask: a slot's address would take a multiplication
//! where a shift does, and a copy a loop where two registers do. It goes through a [`View`], which
//! is the same memory together with a [`Shape`]: of a type that the compiler knows ([`Fixed`]), or
//! as measured ([`Measured`]).
//!
//! **Why a view stays within the memory.** Slots are found by the stride of the view's shape. The
//! shape that was measured is taken from the memory itself. One of a type is made in one place, for
//! a handle, and is used on that handle's memory alone; [`Fixed::trusted`] says what has to be true
//! there.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytemuck::AnyBitPattern;

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
    /// For values of `size` bytes, aligned to `align`, behind a 64-bit stamp or alone. `None` if
    /// that is more than there can be.
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
    /// So is what was delivered so often; 0: nothing is.
    pub(crate) delivery_limit: u32,
}

impl<K: Kind> Mem<K> {
    /// It, with slots of this shape.
    #[inline(always)]
    pub(crate) fn view<S: Shape<Kind = K>>(&self, shape: S) -> View<'_, S> {
        debug_assert_eq!(shape.slot(), self.slots.shape());
        View { mem: self, shape }
    }

    /// The shape of its slots, as measured.
    #[inline(always)]
    pub(crate) fn measured_shape(&self) -> Measured<K> {
        Measured(self.slots.shape(), PhantomData)
    }

    /// It, with slots as they were measured.
    #[inline(always)]
    pub(crate) fn measured(&self) -> View<'_, Measured<K>> {
        self.view(self.measured_shape())
    }
}

impl<K> fmt::Debug for Mem<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mem").field("control", &*self.words.control).finish_non_exhaustive()
    }
}

/// What slots look like to whoever accesses them. The one that has it uses it on the memory that it
/// is of.
pub trait Shape: Copy {
    /// What the ring is.
    type Kind: Kind;

    /// Where things lie.
    fn slot(self) -> SlotShape;
}

/// Slots for values of type `T`.
pub struct Fixed<T, K>(PhantomData<fn() -> (T, K)>);

impl<T, K: Kind> Fixed<T, K> {
    const SLOT: SlotShape = SlotShape::of::<T, K>();

    /// # Safety
    ///
    /// It is used on memory alone whose slots have this shape.
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

impl<T, K: Kind> Shape for Fixed<T, K> {
    type Kind = K;

    #[inline(always)]
    fn slot(self) -> SlotShape {
        Self::SLOT
    }
}

/// Slots of the shape that their memory says.
#[derive(Debug)]
pub struct Measured<K>(SlotShape, PhantomData<fn() -> K>);

impl<K> Clone for Measured<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Measured<K> {}

impl<K: Kind> Shape for Measured<K> {
    type Kind = K;

    #[inline(always)]
    fn slot(self) -> SlotShape {
        self.0
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
    /// The slot's stamp. Only kinds with stamps have one.
    #[inline(always)]
    pub(crate) fn stamp(&self, position: u64) -> &'a AtomicU64 {
        // SAFETY: the shape is that of these slots.
        unsafe { self.mem.slots.stamp_in(self.shape.slot(), position) }
    }

    /// Asks for the first line of a slot, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: u64) {
        self.mem.slots.prefetch(self.shape.slot(), position);
    }

    /// Asks for the (first) lines of a slot that will be written soon, for this processor alone,
    /// without waiting for them. Only if they are to come within the capacity: see
    /// [`Slots::ahead`].
    #[inline(always)]
    pub(crate) fn prefetch_to_write(&self, position: u64) {
        self.mem.slots.prefetch_to_write(self.shape.slot(), position);
    }
}

impl<T: Copy, K: Kind> View<'_, Fixed<T, K>> {
    /// Where the slot's value lies, for those who borrow it.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn value_ptr(&self, position: u64) -> *mut T {
        self.mem.slots.value_ptr(Fixed::<T, K>::SLOT, position).cast()
    }

    /// Copies `value` into the slot at `position`.
    #[inline(always)]
    pub(crate) fn write(&self, position: u64, value: &T) {
        // SAFETY: the slots are of the shape that `T`s have.
        unsafe { self.mem.slots.write(position, value) }
    }

    /// Copies `values` into successive slots from `position` on.
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

    /// Copies successive slots from `position` on into `into`.
    #[inline]
    pub(crate) fn read_run(&self, position: u64, into: &mut [T]) {
        // SAFETY: as above.
        unsafe { self.mem.slots.read_run(position, into) }
    }
}
