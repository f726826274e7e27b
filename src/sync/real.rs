//! The real half of [`sync`](super): hardware atomics, mapped memory, the kernel's futex.
//!
//! # How payload is copied
//!
//! Another process may scribble on a slot at any time, so a plain read or write of the region
//! would be a data race, which is undefined behaviour even if the program then discards the bytes.
//! [`Slots`] therefore moves payload with relaxed atomic words, the widest that divide the element, or
//! with vector instructions that the compiler does not see into: a race yields wrong bytes and nothing
//! worse. Values only ever exist as `T` in private memory, and `T: AnyBitPattern` makes wrong bytes a
//! valid `T`. Under Miri the same copies are plain, so that an ordering too weak to publish the payload
//! shows up as a race instead of hiding behind the atomics.
//!
//! The vector instructions stand in blocks of assembly that say nothing of what memory they touch, so
//! the compiler moves none of the accesses that publish a slot across them; nor does an x86-64, on which
//! loads and stores are acquired and released as they are. Only the side in the region is in assembly:
//! of the private side the compiler sees all, and leaves out copies of copies.

use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::ptr::NonNull;

pub(crate) use std::hint::spin_loop;
use std::sync::atomic::{AtomicU8, AtomicU16};
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};

use crate::ring::Kind;

/// Something in the region that every attached process shares: atomics, and only atomics.
///
/// A plain pointer with `Deref`, because the mapping it points into is kept alive by the handle
/// that holds it and not by this.
pub struct Shared<T: ?Sized>(NonNull<T>);

impl<T: ?Sized> Shared<T> {
    /// # Safety
    ///
    /// `at` is aligned and valid for reads and writes of all of `T` for as long as the result or a
    /// copy of it is used, and every byte of `T` that is ever accessed lies inside an atomic.
    pub(crate) unsafe fn new(at: NonNull<T>) -> Self {
        Self(at)
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T: ?Sized> std::ops::Deref for Shared<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `new`'s caller promised validity for as long as this is used; concurrent writers
        // are harmless because `T` consists of atomics.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: a `Shared<T>` gives out `&T` alone, so it may go where a `&T` may go.
unsafe impl<T: ?Sized + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for Shared<T> {}

/// The slots of a ring in mapped memory. Positions are reduced with the private mask, so no value
/// read from the region can make an access leave it.
pub struct Slots<T, K> {
    base: NonNull<u8>,
    mask: u64,
    kind: PhantomData<(fn() -> T, K)>,
}

// SAFETY: the pointer is to memory that any thread may access through the racing copies below; the
// values that cross it are `T`s, which must themselves be able to change threads.
unsafe impl<T: Send, K> Send for Slots<T, K> {}

impl<T: Copy, K: Kind> Slots<T, K> {
    /// # Safety
    ///
    /// `base` is aligned to [`K::slot_align::<T>()`](Kind::slot_align) and valid for reads and
    /// writes of `capacity` slots of [`K::stride::<T>()`](Kind::stride) bytes for as long as the
    /// result is used, and `capacity` is a power of two.
    pub(crate) unsafe fn new(base: NonNull<u8>, capacity: u64) -> Self {
        debug_assert!(capacity.is_power_of_two());
        Self { base, mask: capacity - 1, kind: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    #[inline(always)]
    fn slot(&self, position: u64) -> *mut u8 {
        let index = (position & self.mask) as usize;
        // SAFETY: `index < capacity`, and `new`'s caller vouched for that many strides.
        unsafe { self.base.as_ptr().add(index * K::stride::<T>()) }
    }

    /// The slot's stamp. Only kinds with stamps have one.
    #[inline(always)]
    pub(crate) fn stamp(&self, position: u64) -> &AtomicU64 {
        const { assert!(K::STAMPED, "this kind of ring has no stamps") };
        // SAFETY: a stamped slot begins with an 8-byte aligned stamp (`Kind::stride`, `slot_align`)
        // that is never accessed but as an atomic.
        unsafe { AtomicU64::from_ptr(self.slot(position).cast()) }
    }

    /// Where the slot's value lies, for callers that have opened the `unsafe` door.
    #[inline(always)]
    pub(crate) fn value_ptr(&self, position: u64) -> *mut T {
        // SAFETY: the value lies inside the slot, `value_offset` bytes from its start.
        unsafe { self.slot(position).add(K::value_offset::<T>()).cast() }
    }

    /// Copies `value` into the slot at `position`.
    #[inline(always)]
    pub(crate) fn write(&self, position: u64, value: &T) {
        // SAFETY: source is a valid `T`; destination is one slot's value, aligned as `T` is.
        unsafe { copy_in(self.value_ptr(position), value, 1) }
    }

    /// Copies the value at `position` out. A peer that writes meanwhile makes it a mixture.
    #[inline(always)]
    pub(crate) fn read(&self, position: u64) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: source is one slot's value; destination is private room for one `T`.
        unsafe { copy_out(self.value_ptr(position), value.as_mut_ptr(), 1) };
        // SAFETY: all bytes were just written, and every caller's `T` is `AnyBitPattern`.
        unsafe { value.assume_init() }
    }

    /// Asks for the first line of a slot, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: u64) {
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: accesses nothing, as far as a program can tell.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.slot(position).cast()) };
        }
        #[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
        let _ = position;
    }

    /// How many of `len` slots from `position` on lie in memory before the wrap.
    #[inline(always)]
    pub(crate) fn before_wrap(&self, position: u64, len: u64) -> u64 {
        len.min(self.capacity() - (position & self.mask))
    }

    /// Copies `values` into successive slots from `position` on.
    #[inline]
    pub(crate) fn write_run(&self, position: u64, values: &[T]) {
        debug_assert!(values.len() as u64 <= self.capacity());
        if K::STAMPED {
            for (value, i) in values.iter().zip(0..) {
                self.write(position.wrapping_add(i), value);
            }
            return;
        }
        let first = self.before_wrap(position, values.len() as u64) as usize;
        let (head, rest) = values.split_at(first);
        // SAFETY: unstamped slots are contiguous values, and `first` of them precede the wrap.
        unsafe { copy_in(self.value_ptr(position), head.as_ptr(), head.len()) };
        // SAFETY: the rest starts at slot 0 and is no longer than the ring.
        unsafe {
            copy_in(self.value_ptr(position.wrapping_add(first as u64)), rest.as_ptr(), rest.len())
        };
    }

    /// Copies successive slots from `position` on into `into`.
    #[inline]
    pub(crate) fn read_run(&self, position: u64, into: &mut [T]) {
        debug_assert!(into.len() as u64 <= self.capacity());
        if K::STAMPED {
            for (value, i) in into.iter_mut().zip(0..) {
                *value = self.read(position.wrapping_add(i));
            }
            return;
        }
        let first = self.before_wrap(position, into.len() as u64) as usize;
        let (head, rest) = into.split_at_mut(first);
        // SAFETY: unstamped slots are contiguous values, and `first` of them precede the wrap.
        unsafe { copy_out(self.value_ptr(position), head.as_mut_ptr(), head.len()) };
        // SAFETY: the rest starts at slot 0 and is no longer than the ring.
        unsafe {
            copy_out(
                self.value_ptr(position.wrapping_add(first as u64)),
                rest.as_mut_ptr(),
                rest.len(),
            )
        };
    }
}

/// Moves `$bytes` bytes between private and shared memory in relaxed `$atomic` words; the private
/// side may be aligned to anything.
macro_rules! by_words {
    ($plain:ty, $atomic:ty, $bytes:expr, in $to:expr, $from:expr) => {
        for i in 0..$bytes / size_of::<$plain>() {
            // SAFETY: word `i` lies inside the caller's private source.
            let from = unsafe { $from.cast::<$plain>().add(i) };
            // SAFETY: word `i` lies inside the caller's shared destination.
            let to = unsafe { $to.cast::<$plain>().add(i) };
            // SAFETY: readable by the caller's promise.
            let value = unsafe { from.read_unaligned() };
            // SAFETY: aligned and writable by the caller's promise, and only accessed as an atomic.
            let word = unsafe { <$atomic>::from_ptr(to) };
            // Relaxed: the index or stamp that publishes the slot orders the copy.
            word.store(value, Ordering::Relaxed);
        }
    };
    ($plain:ty, $atomic:ty, $bytes:expr, out $to:expr, $from:expr) => {
        for i in 0..$bytes / size_of::<$plain>() {
            // SAFETY: word `i` lies inside the caller's shared source.
            let from = unsafe { $from.cast::<$plain>().add(i) };
            // SAFETY: word `i` lies inside the caller's private destination.
            let to = unsafe { $to.cast::<$plain>().add(i) };
            // SAFETY: aligned and readable by the caller's promise, and only accessed as an atomic.
            let word = unsafe { <$atomic>::from_ptr(from) };
            // Relaxed: the index or stamp that published the slot ordered the copy.
            let value = word.load(Ordering::Relaxed);
            // SAFETY: writable by the caller's promise.
            unsafe { to.write_unaligned(value) };
        }
    };
}

/// The width in bytes of the words that `T` is copied by: the largest power of two up to 8 that
/// divides its size, hence every address at which a slot's value can lie.
const fn word<T>() -> usize {
    let lowest = size_of::<T>() & size_of::<T>().wrapping_neg();
    if lowest < 8 { lowest } else { 8 }
}

/// Sixteen bytes at once, where the machine can. To the language, each access of the region stands for
/// relaxed ones of the words that the element is copied by elsewhere.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
mod vector {
    use std::arch::asm;
    use std::arch::x86_64::__m128i as Vector;

    /// Vectors moved in a row: a cache line.
    const ROW: usize = 4;

    /// Moves as many of `bytes` bytes into the region as whole vectors make, and says how many.
    ///
    /// # Safety
    ///
    /// `from` is readable and `to` writable for `bytes` bytes, whoever else accesses `to`.
    #[inline(always)]
    pub(super) unsafe fn copy_in(to: *mut u8, from: *const u8, bytes: usize) -> usize {
        let vectors = bytes / size_of::<Vector>();
        let (to, from) = (to.cast::<Vector>(), from.cast::<Vector>());
        // SAFETY: vector `i` lies inside the source.
        let load = |i: usize| unsafe { from.wrapping_add(i).read_unaligned() };
        let mut done = 0;
        while vectors - done >= ROW {
            let (a, b, c, d) = (load(done), load(done + 1), load(done + 2), load(done + 3));
            // SAFETY: the row lies inside the destination; the instructions need no alignment.
            unsafe {
                asm!(
                    "movups [{to}], {a}",
                    "movups [{to} + 16], {b}",
                    "movups [{to} + 32], {c}",
                    "movups [{to} + 48], {d}",
                    to = in(reg) to.wrapping_add(done),
                    a = in(xmm_reg) a,
                    b = in(xmm_reg) b,
                    c = in(xmm_reg) c,
                    d = in(xmm_reg) d,
                    options(nostack, preserves_flags),
                );
            }
            done += ROW;
        }
        while done < vectors {
            let vector = load(done);
            // SAFETY: as above, one vector.
            unsafe {
                asm!(
                    "movups [{to}], {vector}",
                    to = in(reg) to.wrapping_add(done),
                    vector = in(xmm_reg) vector,
                    options(nostack, preserves_flags),
                );
            }
            done += 1;
        }
        done * size_of::<Vector>()
    }

    /// Moves as many of `bytes` bytes out of the region as whole vectors make, and says how many.
    ///
    /// # Safety
    ///
    /// `from` is readable and `to` writable for `bytes` bytes, whoever else accesses `from`.
    #[inline(always)]
    pub(super) unsafe fn copy_out(from: *const u8, to: *mut u8, bytes: usize) -> usize {
        let vectors = bytes / size_of::<Vector>();
        let (from, to) = (from.cast::<Vector>(), to.cast::<Vector>());
        // SAFETY: vector `i` lies inside the destination.
        let store = |i: usize, vector| unsafe { to.wrapping_add(i).write_unaligned(vector) };
        let mut done = 0;
        while vectors - done >= ROW {
            let (a, b, c, d): (Vector, Vector, Vector, Vector);
            // SAFETY: the row lies inside the source; the instructions need no alignment.
            unsafe {
                asm!(
                    "movups {a}, [{from}]",
                    "movups {b}, [{from} + 16]",
                    "movups {c}, [{from} + 32]",
                    "movups {d}, [{from} + 48]",
                    from = in(reg) from.wrapping_add(done),
                    a = out(xmm_reg) a,
                    b = out(xmm_reg) b,
                    c = out(xmm_reg) c,
                    d = out(xmm_reg) d,
                    options(nostack, preserves_flags),
                );
            }
            for (i, vector) in [a, b, c, d].into_iter().enumerate() {
                store(done + i, vector);
            }
            done += ROW;
        }
        while done < vectors {
            let vector: Vector;
            // SAFETY: as above, one vector.
            unsafe {
                asm!(
                    "movups {vector}, [{from}]",
                    from = in(reg) from.wrapping_add(done),
                    vector = out(xmm_reg) vector,
                    options(nostack, preserves_flags),
                );
            }
            store(done, vector);
            done += 1;
        }
        done * size_of::<Vector>()
    }
}

/// Elsewhere, words are all there is.
#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
mod vector {
    pub(super) unsafe fn copy_in(_to: *mut u8, _from: *const u8, _bytes: usize) -> usize {
        0
    }

    pub(super) unsafe fn copy_out(_from: *const u8, _to: *mut u8, _bytes: usize) -> usize {
        0
    }
}

/// From so many bytes on, a copy into the region is made by vectors. What is smaller has often been
/// put together from words just before, in registers, or in a store buffer that does not forward
/// several of them to one wide load.
const WIDE: usize = 256;

/// Copies `len` elements from private memory into the region, racing with whoever scribbles there.
///
/// # Safety
///
/// `from` is readable and `to` writable for `len` elements, `to` is aligned to [`word::<T>()`](word)
/// and nobody accesses `to` other than by atomics, or by copies as this one.
#[inline(always)]
unsafe fn copy_in<T: Copy>(to: *mut T, from: *const T, len: usize) {
    if cfg!(miri) {
        // SAFETY: the caller's promise. Plain on purpose: Miri shall see a race as a race.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, len) };
    }
    let (to, from, bytes) = (to.cast::<u8>(), from.cast::<u8>(), size_of::<T>() * len);
    // SAFETY: the caller's promise.
    let done = if bytes >= WIDE { unsafe { vector::copy_in(to, from, bytes) } } else { 0 };
    let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
    // SAFETY: the caller's promise, for the rest; whole vectors keep the alignment.
    unsafe { words_in::<T>(to, from, bytes - done) }
}

/// How [`copy_in`] copies what is left of `T`s. Its promises, for bytes.
#[inline(always)]
unsafe fn words_in<T>(to: *mut u8, from: *const u8, bytes: usize) {
    match word::<T>() {
        8 => by_words!(u64, AtomicU64, bytes, in to, from),
        4 => by_words!(u32, AtomicU32, bytes, in to, from),
        2 => by_words!(u16, AtomicU16, bytes, in to, from),
        _ => by_words!(u8, AtomicU8, bytes, in to, from),
    }
}

/// Copies `len` elements out of the region into private memory; the twin of [`copy_in`].
///
/// # Safety
///
/// `from` is readable and `to` writable for `len` elements, `from` is aligned to
/// [`word::<T>()`](word) and nobody accesses `from` other than by atomics, or by copies as this one.
#[inline(always)]
unsafe fn copy_out<T: Copy>(from: *const T, to: *mut T, len: usize) {
    if cfg!(miri) {
        // SAFETY: as in `copy_in`.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, len) };
    }
    let (to, from, bytes) = (to.cast::<u8>(), from.cast::<u8>(), size_of::<T>() * len);
    // SAFETY: the caller's promise.
    let done = unsafe { vector::copy_out(from, to, bytes) };
    let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
    // SAFETY: the caller's promise, for the rest; whole vectors keep the alignment.
    unsafe { words_out::<T>(from, to, bytes - done) }
}

/// How [`copy_out`] copies what is left of `T`s. Its promises, for bytes.
#[inline(always)]
unsafe fn words_out<T>(from: *const u8, to: *mut u8, bytes: usize) {
    match word::<T>() {
        8 => by_words!(u64, AtomicU64, bytes, out to, from.cast_mut()),
        4 => by_words!(u32, AtomicU32, bytes, out to, from.cast_mut()),
        2 => by_words!(u16, AtomicU16, bytes, out to, from.cast_mut()),
        _ => by_words!(u8, AtomicU8, bytes, out to, from.cast_mut()),
    }
}

/// Memory barriers that one thread makes others execute: membarrier(2).
pub(crate) mod membarrier {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[cfg(not(miri))]
    use rustix::thread::{MembarrierCommand, membarrier};

    use super::AtomicU32;

    /// Whether this process has registered, once that is decided. For good: there is no way back.
    static DECISION: OnceLock<bool> = OnceLock::new();
    /// The same, for the path of every message. Relaxed: it is only ever set when it is true.
    static REGISTERED: AtomicBool = AtomicBool::new(false);

    /// Lets the barriers of others reach this process from now on, if the kernel lets us and nobody
    /// has [declined](decline).
    pub(crate) fn register() {
        let registered = *DECISION.get_or_init(ask);
        REGISTERED.store(registered, Relaxed);
    }

    /// Decides that this process does not register; `false`: too late.
    pub(crate) fn decline() -> bool {
        !*DECISION.get_or_init(|| false)
    }

    /// The barriers of others reach this process.
    #[inline(always)]
    pub(crate) fn reaches_us() -> bool {
        REGISTERED.load(Relaxed)
    }

    #[cfg(not(miri))]
    fn ask() -> bool {
        membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
    }

    /// Makes every thread of every process that has registered, and this one, execute a full
    /// barrier. `false`: the kernel does not let us, and nothing was executed.
    #[cfg(not(miri))]
    pub(crate) fn everywhere(_announced_in: &AtomicU32) -> bool {
        membarrier(MembarrierCommand::GlobalExpedited).is_ok()
    }

    /// Miri does not know the call, so everybody fences.
    #[cfg(miri)]
    fn ask() -> bool {
        false
    }

    #[cfg(miri)]
    pub(crate) fn everywhere(_announced_in: &AtomicU32) -> bool {
        super::fence(super::Ordering::SeqCst); // B1 ↔ B2, under Miri alone
        true
    }
}

/// The kernel's futex on words that several processes map.
pub(crate) mod futex {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use rustix::io::Errno;
    #[cfg(not(all(miri, target_pointer_width = "32")))]
    use rustix::thread::futex::wait_bitset;
    #[cfg(not(miri))]
    use rustix::thread::futex::wake_bitset;
    use rustix::thread::futex::{Flags, Timespec};

    use super::AtomicU32;

    /// Sleeps while `word` holds `expected`, until woken by a wake that shares a bit with `whom` or
    /// until the clock shows `until` (nanoseconds of `CLOCK_MONOTONIC`). Returns for any reason or
    /// none (a wake, a changed word, the time, a signal): the caller looks at the ring again in
    /// every case.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, whom: u32, until: u64) {
        let until = Timespec {
            tv_sec: (until / 1_000_000_000) as i64,
            tv_nsec: (until % 1_000_000_000) as _,
        };
        // Flags::empty() makes the futex shared between processes; BITSET takes an absolute time,
        // so that a signal cannot stretch the wait.
        match wait_bitset(word, Flags::empty(), expected, Some(&until), bits(whom)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
            // No futex for us (a sandbox forbids it, a truncation took the word away): look again
            // soon, without burning a processor.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    /// Wakes up to `count` of those sleepers on `word` who share a bit with `whom`.
    pub(crate) fn wake(word: &AtomicU32, count: u32, whom: u32) {
        // The kernel reads the count as a signed int. A failure (a hostile truncation can unmap
        // the word) leaves the sleepers to their slices.
        let _ = wake_bitset(word, Flags::empty(), count.min(i32::MAX as u32), bits(whom));
    }

    /// The kernel refuses the empty set.
    fn bits(whom: u32) -> NonZeroU32 {
        NonZeroU32::new(whom).unwrap_or(NonZeroU32::MAX)
    }

    /// rustix turns the number 0 into the pointer that a wake does not need, which Miri refuses
    /// under `-Zmiri-strict-provenance`.
    #[cfg(miri)]
    fn wake_bitset(
        word: &AtomicU32,
        _: Flags,
        count: u32,
        whom: NonZeroU32,
    ) -> rustix::io::Result<usize> {
        let (word, none) = (word.as_ptr(), std::ptr::null::<()>());
        let command = libc::FUTEX_WAKE_BITSET;
        // SAFETY: the word is valid for the call, which does not use the other pointers.
        let woken =
            unsafe { libc::syscall(libc::SYS_futex, word, command, count, none, none, whom.get()) };
        usize::try_from(woken).map_err(|_| Errno::INVAL)
    }

    /// Where a `long` has 32 bits rustix calls the futex that takes a 64-bit time, which Miri does
    /// not know.
    #[cfg(all(miri, target_pointer_width = "32"))]
    fn wait_bitset(
        word: &AtomicU32,
        _: Flags,
        expected: u32,
        until: Option<&Timespec>,
        bits: NonZeroU32,
    ) -> rustix::io::Result<()> {
        let until = until.map(|until| libc::timespec {
            tv_sec: until.tv_sec.try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: until.tv_nsec as _,
        });
        let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (word, second) = (word.as_ptr(), std::ptr::null::<u32>());
        let wait = libc::FUTEX_WAIT_BITSET;
        // SAFETY: the word and the time are valid for the call.
        let outcome = unsafe {
            libc::syscall(libc::SYS_futex, word, wait, expected, until, second, bits.get())
        };
        match outcome {
            0 => Ok(()),
            _ => {
                Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There and back, `len` of them, as Miri sees the words: other tests copy plainly under Miri, so
    /// that it sees races. Neither side is aligned to more than it must be, and neither side's
    /// neighbours are touched.
    fn there_and_back<T: Copy>(len: usize) {
        const UNTOUCHED: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let bytes = len * size_of::<T>();
        // As a mapping's: never through a `&T` or `&mut T`. Two words before, two or three behind.
        let shared: Vec<_> = (0..bytes / 8 + 5).map(|_| AtomicU64::new(UNTOUCHED)).collect();
        let odd = 2 - (shared.as_ptr().addr() / 8 + 1) % 2; // to 8 bytes, and not to 16
        let region = shared[odd..].as_ptr().cast::<T>().cast_mut();
        let private: Vec<u8> = (1..=bytes + 1).map(|i| i as u8).collect();
        let mut back = vec![0xAA_u8; bytes + 17];
        let (from, to) = (private[1..].as_ptr(), back[1..].as_mut_ptr());
        if cfg!(miri) {
            // SAFETY: `bytes` bytes on both sides, the shared ones aligned to 8.
            unsafe { words_in::<T>(region.cast(), from, bytes) };
            // SAFETY: as above.
            unsafe { words_out::<T>(region.cast(), to, bytes) };
        } else {
            // SAFETY: as above.
            unsafe { copy_in(region, from.cast(), len) };
            // SAFETY: as above.
            unsafe { copy_out(region, to.cast(), len) };
        }
        assert_eq!(back[1..=bytes], private[1..], "{len} of {} bytes", size_of::<T>());
        assert_eq!((back[0], &back[bytes + 1..]), (0xAA, &[0xAA; 16][..]));
        let words = shared.iter().map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        let mut all: Vec<u8> = words.flatten().collect();
        let neighbours: Vec<u8> = all
            .drain(..odd * 8)
            .collect::<Vec<_>>()
            .into_iter()
            .chain(all.split_off(bytes))
            .collect();
        assert!(neighbours.iter().all(|byte| *byte == 0xAA), "{len} of {} bytes", size_of::<T>());
    }

    #[test]
    fn copies_of_every_width_and_length_are_whole() {
        let lens = [0, 1, 2, 3, 5, 8, 13, 15, 16, 17, 64, 100, 255, 256, 257];
        // Words are words: Miri, which is slow, need not see many.
        for len in lens.into_iter().filter(|len| !cfg!(miri) || *len < 10) {
            there_and_back::<[u8; 1]>(len);
            there_and_back::<[u8; 2]>(len);
            there_and_back::<[u8; 3]>(len);
            there_and_back::<[u8; 4]>(len);
            there_and_back::<[u8; 6]>(len);
            there_and_back::<[u8; 8]>(len);
            there_and_back::<[u8; 12]>(len);
            there_and_back::<[u64; 5]>(len);
            there_and_back::<u64>(len);
            there_and_back::<[u16; 77]>(len);
        }
    }
}
