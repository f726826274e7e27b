//! The slots of a ring in mapped memory: where they are, what goes in and out, whose the lines are.
//!
//! How payload is copied, [`copy`](super::copy) says.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytemuck::{AnyBitPattern, NoUninit};

use super::copy::{copy_bytes_in, copy_bytes_out, copy_in, copy_out, word};
use crate::ring::Kind;
use crate::ring::mem::SlotShape;

/// Bytes in a line, as the processor moves them.
const LINE_BYTES: usize = 64;
/// So many bytes ahead of what is written, lines are asked for.
const AHEAD: usize = 256;

/// The processor says that it knows `prefetchw`: AMD's with 64 bits, Intel's since Broadwell. To
/// others it may be an illegal instruction.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
fn can_ask() -> bool {
    static CAN: super::fact::Fact = super::fact::Fact::new();
    // The leaf that says so is the one that says that there are 64 bits.
    CAN.get_or(|| {
        #[allow(unused_unsafe)] // newer compilers know that it is safe
        // SAFETY: every processor with 64 bits has the instruction.
        let features = unsafe { std::arch::x86_64::__cpuid(0x8000_0001) };
        features.ecx & 1 << 8 != 0
    })
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
fn can_ask() -> bool {
    false
}

/// Whether who has read items writes a byte of each line back as it was, before they are released,
/// so that the line is this processor's alone when a sender asks for it again. To a line that two
/// have read, AMD's EPYC stores several times more slowly than to one that another has changed, and
/// streams of 64 bytes and more are two to four times as fast so (docs/tuning.md). Nobody has
/// measured it elsewhere. Miri looks whether it races.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
fn writes_back() -> bool {
    static WRITES: super::fact::Fact = super::fact::Fact::new();
    WRITES.get_or(|| {
        #[allow(unused_unsafe)] // newer compilers know that it is safe
        // SAFETY: every processor with 64 bits has the instruction.
        let maker = unsafe { std::arch::x86_64::__cpuid(0) };
        [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
    })
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
fn writes_back() -> bool {
    cfg!(miri)
}

/// The slots of a ring in mapped memory. Positions are reduced with the private mask, so no value
/// read from the region can make an access leave it.
pub struct Slots<K> {
    base: NonNull<u8>,
    /// Where the stamps lie that lie apart.
    stamps: *mut u64,
    mask: u64,
    shape: SlotShape,
    /// How many slots ahead a sender asks for lines.
    ahead: u64,
    /// Slots in a line, less 1, if that is a whole number; else 0.
    in_line: u64,
    /// [`writes_back`].
    back: bool,
    /// By how many bytes at once values are copied whose type is not known.
    word: usize,
    kind: PhantomData<fn() -> K>,
}

// SAFETY: the pointer is to memory that any thread may access through the racing copies below; what
// crosses it are values that can change threads, as `Item` demands of a type and of its bits.
unsafe impl<K> Send for Slots<K> {}
// SAFETY: as above. What is done through a shared one is what every process may do at any time:
// accesses by atomics, and copies that race as they do.
unsafe impl<K> Sync for Slots<K> {}

impl<K: Kind> Slots<K> {
    /// The shape of all slots of this kind, if it has one alone: then the compiler knows it.
    const WORDS: Option<SlotShape> = match K::MESSAGES && !K::MANY {
        true => SlotShape::new(false, size_of::<u64>(), size_of::<u64>()),
        false => None,
    };

    /// # Safety
    ///
    /// `base` is aligned as the shape says, and to the [`word`] of its values, and is valid for
    /// reads and writes of `capacity` slots of that shape for as long as the result is used. The
    /// shape is one of `K`'s, and its slots are not empty; `capacity` is a power of two. If the
    /// stamps of such slots lie apart, `stamps` is likewise valid for as many words, and aligned.
    pub(crate) unsafe fn new(
        base: NonNull<u8>,
        capacity: u64,
        shape: SlotShape,
        stamps: Option<NonNull<u64>>,
    ) -> Self {
        debug_assert!(capacity.is_power_of_two());
        assert_eq!(stamps.is_some(), K::STAMPS_APART, "stamps that lie apart");
        let words = Self::WORDS.map(|words| SlotShape { align: shape.align, ..words });
        assert!(words.is_none_or(|words| words == shape), "this kind's slots are words");
        let stamps = stamps.map_or(ptr::null_mut(), NonNull::as_ptr);
        // More than there are: never.
        let ahead = (AHEAD / shape.stride).max(K::UNIT as usize) as u64;
        let ahead = if can_ask() { ahead } else { 1 << 60 };
        let whole = LINE_BYTES.is_multiple_of(shape.stride);
        let in_line = if whole { LINE_BYTES / shape.stride - 1 } else { 0 } as u64;
        let (mask, word, back) = (capacity - 1, word(shape.size), writes_back());
        Self { base, stamps, mask, shape, ahead, in_line, back, word, kind: PhantomData }
    }

    /// What [`write_back`](Self::write_back) would do is worth less than it costs.
    pub(crate) fn never_write_back(&mut self) {
        self.back = false;
    }

    #[inline(always)]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// What its slots look like.
    #[inline(always)]
    pub(crate) fn shape(&self) -> SlotShape {
        match Self::WORDS {
            Some(words) => SlotShape { align: self.shape.align, ..words },
            None => self.shape,
        }
    }

    /// Where a slot begins, if they are of this shape.
    #[inline(always)]
    fn slot(&self, shape: SlotShape, position: u64) -> *mut u8 {
        let index = (position & self.mask) as usize;
        self.base.as_ptr().wrapping_add(index * shape.stride)
    }

    /// Where a slot's value lies, if they are of this shape.
    #[inline(always)]
    pub(crate) fn value_ptr(&self, shape: SlotShape, position: u64) -> *mut u8 {
        self.slot(shape, position).wrapping_add(shape.value_at)
    }

    /// The slot's stamp. Only kinds with stamps have one.
    #[inline(always)]
    pub(crate) fn stamp(&self, position: u64) -> &AtomicU64 {
        // SAFETY: it is their shape.
        unsafe { self.stamp_in(self.shape(), position) }
    }

    /// The same, for those who know the shape.
    ///
    /// # Safety
    ///
    /// The shape is that of these slots.
    #[inline(always)]
    pub(crate) unsafe fn stamp_in(&self, shape: SlotShape, position: u64) -> &AtomicU64 {
        const { assert!(K::STAMPED || K::STAMPS_APART, "this kind of ring has no stamps") };
        if K::STAMPS_APART {
            let index = (position & self.mask) as usize;
            // SAFETY: one of the aligned words (`new`) that are never accessed but as atomics.
            return unsafe { AtomicU64::from_ptr(self.stamps.wrapping_add(index)) };
        }
        // SAFETY: a stamped slot begins with an 8-byte aligned stamp (`SlotShape`) that is never
        // accessed but as an atomic.
        unsafe { AtomicU64::from_ptr(self.slot(shape, position).cast()) }
    }

    /// The stamps of so many slots from `position` on, or up to the wrap. For stamps that lie apart.
    #[inline(always)]
    pub(crate) fn stamps(&self, position: u64, slots: u64) -> &[AtomicU64] {
        assert!(K::STAMPS_APART, "stamps of this kind are not adjacent");
        let len = self.before_wrap(position, slots) as usize;
        let index = (position & self.mask) as usize;
        let stamps = self.stamps.cast::<AtomicU64>().wrapping_add(index);
        // SAFETY: aligned words (`new`) that are never accessed but as atomics.
        unsafe { slice::from_raw_parts(stamps, len) }
    }

    /// Copies `value` into the slot at `position`.
    ///
    /// # Safety
    ///
    /// The slots are of the shape that `T`s have.
    #[inline(always)]
    pub(crate) unsafe fn write<T: NoUninit>(&self, position: u64, value: &T) {
        let to = self.value_ptr(const { SlotShape::of::<T, K>() }, position);
        let (from, size) = (ptr::from_ref(value).cast(), size_of::<T>());
        // SAFETY: source is a `T`, all bytes of which are initialised; destination is one slot's value,
        // aligned to their word (`new`).
        unsafe { copy_in(to, from, size, word(size)) }
    }

    /// Copies the value at `position` out. A peer that writes meanwhile makes it a mixture.
    ///
    /// # Safety
    ///
    /// The slots are of the shape that `T`s have.
    #[inline(always)]
    pub(crate) unsafe fn read<T: AnyBitPattern>(&self, position: u64) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the caller's promise; the room is for one `T`.
        unsafe { self.read_to(position, value.as_mut_ptr()) };
        // SAFETY: all bytes were just written, and any bytes are a `T`.
        unsafe { value.assume_init() }
    }

    /// The same, into memory that is there.
    ///
    /// # Safety
    ///
    /// The slots are of the shape that `T`s have.
    #[inline(always)]
    pub(crate) unsafe fn read_into<T: AnyBitPattern>(&self, position: u64, into: &mut T) {
        // SAFETY: the caller's promise; any bytes are a `T`.
        unsafe { self.read_to(position, into) }
    }

    /// # Safety
    ///
    /// The slots are of the shape that `T`s have, and `to` is private room for one.
    #[inline(always)]
    unsafe fn read_to<T>(&self, position: u64, to: *mut T) {
        let from = self.value_ptr(const { SlotShape::of::<T, K>() }, position);
        let size = size_of::<T>();
        // SAFETY: source is one slot's value, aligned to its word (`new`); the room is the caller's
        // promise.
        unsafe { copy_out(from, to.cast(), size, word(size)) };
    }

    /// Copies a value of whatever type into the slot at `position`. `value` has as many bytes as
    /// the ring's elements.
    #[cfg_attr(not(test), expect(dead_code, reason = "for ends that no type describes, to come"))]
    pub(crate) fn write_element(&self, position: u64, value: &[u8]) {
        assert_eq!(value.len(), self.shape().size, "an element's bytes");
        let to = self.value_ptr(self.shape(), position);
        // SAFETY: source and destination have that size; the latter is a slot's value, aligned to its
        // word (`new`).
        unsafe { copy_in(to, value.as_ptr(), value.len(), self.word) }
    }

    /// Copies the value at `position` out, of whatever type it is. `into` has as many bytes as the
    /// ring's elements.
    #[cfg_attr(not(test), expect(dead_code, reason = "for ends that no type describes, to come"))]
    pub(crate) fn read_element(&self, position: u64, into: &mut [u8]) {
        assert_eq!(into.len(), self.shape().size, "an element's bytes");
        let from = self.value_ptr(self.shape(), position);
        // SAFETY: as in `write_element`.
        unsafe { copy_out(from, into.as_mut_ptr(), into.len(), self.word) }
    }

    /// The word that the message at a position begins with. For slots that are parts of messages.
    #[inline(always)]
    pub(crate) fn header(&self, position: u64) -> u64 {
        debug_assert!(K::MESSAGES, "each slot has a word at least, aligned");
        let mut header = 0;
        // SAFETY: such slots begin with a word, aligned (`layout`).
        unsafe { copy_out(self.slot(self.shape(), position), (&raw mut header).cast(), 8, 8) };
        header
    }

    /// Stores it.
    #[inline(always)]
    pub(crate) fn set_header(&self, position: u64, header: u64) {
        debug_assert!(K::MESSAGES, "each slot has a word at least, aligned");
        // SAFETY: as above.
        unsafe { copy_in(self.slot(self.shape(), position), (&raw const header).cast(), 8, 8) };
    }

    /// Bytes of all slots together.
    #[inline(always)]
    fn bytes(&self) -> usize {
        self.capacity() as usize * self.shape().stride
    }

    /// Where so many bytes begin that lie `offset` bytes behind the start of the slot at `position`,
    /// and how many of them come before the wrap. Of slots that are values alone.
    #[inline(always)]
    fn stretch(&self, position: u64, offset: usize, len: usize) -> (*mut u8, usize) {
        debug_assert!(!K::STAMPED, "the bytes of stamped slots are not adjacent");
        assert!(len <= self.bytes(), "no more than there are");
        let first = (position & self.mask) as usize * self.shape().stride;
        // The number of bytes is a power of two if that of a slot's is; else there is no offset.
        let at = if offset == 0 { first } else { first.wrapping_add(offset) & (self.bytes() - 1) };
        (self.base.as_ptr().wrapping_add(at), len.min(self.bytes() - at))
    }

    /// Copies bytes into the ring, from `offset` bytes behind the start of the slot at `position` on:
    /// no more than it has. For slots that are values alone; an offset is for those whose size is a
    /// power of two.
    #[inline]
    pub(crate) fn write_bytes(&self, position: u64, offset: usize, bytes: &[u8]) {
        let (to, first) = self.stretch(position, offset, bytes.len());
        if first < bytes.len() {
            return self.write_around(to, bytes.split_at(first));
        }
        // SAFETY: so many bytes lie there before the wrap.
        unsafe { copy_bytes_in(to, bytes.as_ptr(), bytes.len()) };
    }

    #[cold]
    fn write_around(&self, to: *mut u8, (head, rest): (&[u8], &[u8])) {
        // SAFETY: so many bytes lie there before the wrap.
        unsafe { copy_bytes_in(to, head.as_ptr(), head.len()) };
        // SAFETY: as there are no more than the ring has, the rest fits behind its start.
        unsafe { copy_bytes_in(self.base.as_ptr(), rest.as_ptr(), rest.len()) };
    }

    /// Copies bytes out of the ring: the twin of [`write_bytes`](Self::write_bytes).
    #[inline]
    pub(crate) fn read_bytes(&self, position: u64, offset: usize, into: &mut [u8]) {
        let (from, first) = self.stretch(position, offset, into.len());
        if first < into.len() {
            return self.read_around(from, into.split_at_mut(first));
        }
        // SAFETY: as in `write_bytes`.
        unsafe { copy_bytes_out(from, into.as_mut_ptr(), into.len()) };
    }

    #[cold]
    fn read_around(&self, from: *const u8, (head, rest): (&mut [u8], &mut [u8])) {
        // SAFETY: as in `write_around`.
        unsafe { copy_bytes_out(from, head.as_mut_ptr(), head.len()) };
        // SAFETY: likewise.
        unsafe { copy_bytes_out(self.base.as_ptr(), rest.as_mut_ptr(), rest.len()) };
    }

    /// Asks for the first line of a slot of this shape, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, shape: SlotShape, position: u64) {
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: accesses nothing, as far as a program can tell.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.slot(shape, position).cast()) };
        }
        #[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
        let _ = (shape, position);
    }

    /// How many slots ahead a sender asks for lines: about as many as it fills while a line
    /// travels. Beyond all capacities if the processor cannot.
    #[inline(always)]
    pub(crate) fn ahead(&self) -> u64 {
        self.ahead
    }

    /// The bits of a position that say where in a line its slot lies; none if slots do not divide
    /// lines.
    #[inline(always)]
    pub(crate) fn in_line(&self) -> u64 {
        self.in_line
    }

    /// One of the last `items` positions up to `position` begins a line, or slots do not divide
    /// lines.
    #[inline(always)]
    pub(crate) fn begun_line(&self, position: u64, items: u64) -> bool {
        position & self.in_line < items
    }

    /// Asks for the lines of slots of this shape, or the first of them, for this processor alone.
    #[inline(always)]
    pub(crate) fn prefetch_to_write(&self, shape: SlotShape, position: u64, slots: u64) {
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
        {
            // At most so many bytes of lines at once: more come too early, and are gone again.
            const MOST_ASKED: usize = 2048;
            // Who writes so many bytes at once is not helped by what the first of them take.
            const LONG: usize = 4 * MOST_ASKED;
            let slot = self.slot(shape, position);
            let bytes = (slots as usize).saturating_mul(shape.stride);
            let asked = if bytes > LONG { AHEAD } else { bytes.min(MOST_ASKED) };
            for line in 0..asked.div_ceil(LINE_BYTES) {
                // SAFETY: accesses nothing, as far as a program can tell.
                unsafe {
                    std::arch::asm!(
                        "prefetchw [{line}]",
                        line = in(reg) slot.wrapping_add(line * LINE_BYTES),
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
        #[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
        let _ = (shape, position, slots);
    }

    /// Takes the lines of slots of this shape from those who have written them, by writing them as
    /// they are, where that [makes the next lap faster](writes_back). They are claimed by whoever
    /// calls it, and borrowed by nobody: only a peer that scribbles accesses them meanwhile, and it
    /// does not matter where in here its process is killed. What fills no line is let alone.
    #[inline(always)]
    pub(crate) fn write_back(&self, shape: SlotShape, position: u64, slots: u64) {
        // Constants, where one value's type is known.
        let fills = match K::STAMPED {
            true => shape.size >= LINE_BYTES,
            false => slots >= (LINE_BYTES / shape.stride) as u64,
        };
        if !fills || !self.back {
            return;
        }
        self.each_line(shape, position, slots, |line| {
            // SAFETY: in a slot's value; only accessed by atomics, and by copies that race as they do.
            let byte = unsafe { AtomicU8::from_ptr(line) };
            // Relaxed, both: no other access goes on, and the release that follows orders them. (Where
            // a peer lets two claim the same, bytes beside words, as in copies of bytes.)
            byte.store(byte.load(Ordering::Relaxed), Ordering::Relaxed);
        });
    }

    /// A byte for each whole line's length of the values, which are adjacent, or each of its own.
    #[inline(always)]
    fn each_line(&self, shape: SlotShape, position: u64, slots: u64, mut see: impl FnMut(*mut u8)) {
        let slots = slots.min(self.capacity());
        let mut stretch = |from: *mut u8, bytes: usize| {
            for line in 0..bytes / LINE_BYTES {
                see(from.wrapping_add(line * LINE_BYTES));
            }
        };
        if K::STAMPED {
            for i in 0..slots {
                stretch(self.value_ptr(shape, position.wrapping_add(i)), shape.size);
            }
        } else {
            let first = self.before_wrap(position, slots);
            stretch(self.slot(shape, position), first as usize * shape.stride);
            stretch(self.base.as_ptr(), (slots - first) as usize * shape.stride);
        }
    }

    /// How many of `len` slots from `position` on lie in memory before the wrap.
    #[inline(always)]
    pub(crate) fn before_wrap(&self, position: u64, len: u64) -> u64 {
        len.min(self.capacity() - (position & self.mask))
    }

    /// Copies `values`, no more than there are slots, into successive slots from `position` on.
    ///
    /// # Safety
    ///
    /// The slots are of the shape that `T`s have.
    #[inline]
    pub(crate) unsafe fn write_run<T: NoUninit>(&self, position: u64, values: &[T]) {
        assert!(values.len() as u64 <= self.capacity(), "no more than there are slots");
        if K::STAMPED {
            for (value, i) in values.iter().zip(0..) {
                // SAFETY: the caller's promise.
                unsafe { self.write(position.wrapping_add(i), value) };
            }
            return;
        }
        if size_of::<T>() == 1 {
            let (bytes, len) = (values.as_ptr().cast(), values.len());
            // SAFETY: the values are bytes, all of them initialised.
            return self.write_bytes(position, 0, unsafe { slice::from_raw_parts(bytes, len) });
        }
        let shape = const { SlotShape::of::<T, K>() };
        let first = self.before_wrap(position, values.len() as u64) as usize;
        let (head, rest) = values.split_at(first);
        let copy = |position, values: &[T]| {
            let to = self.value_ptr(shape, position);
            // SAFETY: unstamped slots are contiguous values, and these end at the wrap or, as there
            // are no more than slots, begin there and fit.
            unsafe { copy_in(to, values.as_ptr().cast(), size_of_val(values), word(shape.size)) };
        };
        copy(position, head);
        copy(position.wrapping_add(first as u64), rest);
    }

    /// Copies successive slots from `position` on into `into`.
    ///
    /// # Safety
    ///
    /// The slots are of the shape that `T`s have.
    #[inline]
    pub(crate) unsafe fn read_run<T: AnyBitPattern>(&self, position: u64, into: &mut [T]) {
        assert!(into.len() as u64 <= self.capacity(), "no more than there are slots");
        if K::STAMPED {
            for (value, i) in into.iter_mut().zip(0..) {
                // SAFETY: the caller's promise.
                unsafe { self.read_into(position.wrapping_add(i), value) };
            }
            return;
        }
        if size_of::<T>() == 1 {
            let (bytes, len) = (into.as_mut_ptr().cast(), into.len());
            // SAFETY: the values are bytes, and any byte is one.
            return self.read_bytes(position, 0, unsafe { slice::from_raw_parts_mut(bytes, len) });
        }
        let shape = const { SlotShape::of::<T, K>() };
        let first = self.before_wrap(position, into.len() as u64) as usize;
        let (head, rest) = into.split_at_mut(first);
        let copy = |position, into: &mut [T]| {
            let from = self.value_ptr(shape, position);
            let (to, bytes) = (into.as_mut_ptr().cast(), size_of_val(into));
            // SAFETY: as in `write_run`; and any bytes are a `T`.
            unsafe { copy_out(from, to, bytes, word(shape.size)) };
        };
        copy(position, head);
        copy(position.wrapping_add(first as u64), rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Bytes, Mpmc, MpmcMessages, Spsc, SpscMessages};

    /// Where each line is written back, in bytes from where the slots begin: 16 of `T`, or of words or
    /// granules.
    fn lines<K: Kind>(shape: SlotShape, position: u64, slots: u64) -> Vec<usize> {
        let mut memory = vec![0_u64; 16 * shape.stride / 8 + 8];
        let mut stamps = [0; 16];
        let stamps = K::STAMPS_APART.then(|| NonNull::from(&mut stamps).cast());
        let base = NonNull::new(memory.as_mut_ptr().cast::<u8>()).expect("memory");
        // SAFETY: so much memory is there, aligned to a word, as no shape here needs more.
        let ring = unsafe { Slots::<K>::new(base, 16, shape, stamps) };
        let mut lines = Vec::new();
        ring.each_line(shape, position, slots, |line| lines.push(line.addr() - base.addr().get()));
        lines
    }

    #[test]
    fn lines_are_written_back_in_values_alone_and_up_to_the_wrap_and_behind_it() {
        let bare = |size| SlotShape::new(false, size, 8).expect("a small one");
        let stamped = |size| SlotShape::new(true, size, 8).expect("a small one");
        assert_eq!(lines::<Spsc>(bare(64), 2, 3), [128, 192, 256]);
        assert_eq!(lines::<Spsc>(bare(64), 15, 2), [15 * 64, 0]);
        assert_eq!(lines::<Spsc>(bare(200), 1, 1), [200, 264, 328]);
        assert_eq!(lines::<Spsc>(bare(8), 0, 7), []);
        assert_eq!(lines::<Spsc>(bare(8), 4, 9), [32]);
        assert_eq!(lines::<SpscMessages>(bare(8), 9, 16), [0]); // less than a line before the wrap
        assert_eq!(lines::<MpmcMessages>(bare(64), 14, 3), [14 * 64, 15 * 64, 0]);
        assert_eq!(lines::<Mpmc>(stamped(64), 0, 2), [8, 80]);
        assert_eq!(lines::<Mpmc>(stamped(128), 15, 2), [15 * 136 + 8, 15 * 136 + 72, 8, 72]);
        assert_eq!(lines::<Mpmc>(stamped(56), 0, 16), []);
        let byte = SlotShape::new(false, 1, 1).expect("a small one");
        assert_eq!(lines::<Bytes>(byte, 0, 16), []);
        // No more than there are, whoever says so.
        assert_eq!(lines::<Spsc>(bare(64), 3, u64::MAX).len(), 16);
    }
}
