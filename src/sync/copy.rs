//! How payload is copied between private memory and the region.
//!
//! Another process may scribble on a slot at any time, so a plain read or write of the region would
//! be a data race, which is undefined behaviour even if the program then discards the bytes.
//! Payload is therefore moved by relaxed atomic words, the widest that divide the element, or by
//! vector instructions that the compiler does not see into: a race yields wrong bytes and nothing
//! worse. Values only ever exist as `T` in private memory, and `T: AnyBitPattern`, the bits of what
//! travels, makes wrong bytes a valid `T`. Under Miri the same copies are plain, so that an
//! ordering too weak to publish the payload shows up as a race instead of hiding behind the
//! atomics.
//!
//! The vector instructions stand in blocks of assembly that say nothing of what memory they touch,
//! so the compiler moves none of the accesses that publish a slot across them; nor does an x86-64,
//! on which loads and stores are acquired and released as they are. Only the side in the region is
//! in assembly: of the private side the compiler sees all, and leaves out copies of copies.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

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

/// The width in bytes of the words that elements of `size` bytes are copied by: the largest power
/// of two up to 8 that divides the size, hence every address at which a slot's value can lie.
#[inline(always)]
pub(super) const fn word(size: usize) -> usize {
    let lowest = size & size.wrapping_neg();
    if lowest < 8 { lowest } else { 8 }
}

/// Sixteen bytes at once, where the machine can. To the language, each access of the region stands
/// for relaxed ones of the words that the element is copied by elsewhere.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
mod vector {
    use std::arch::asm;
    use std::arch::x86_64::__m128i as Vector;

    /// Vectors moved in a row: a cache line. (One at a time, a value of 1,024 bytes takes a third
    /// longer.)
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

/// The same for bytes that belong to no element: what no vector, and no row of them, ends with goes
/// in one that begins earlier. A byte that is moved twice is the same both times, or somebody
/// scribbles.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
mod overlapping {
    use std::arch::asm;
    use std::arch::x86_64::__m128i as Vector;

    use super::vector;

    const VECTOR: usize = size_of::<Vector>();
    const WORD: usize = size_of::<u64>();

    /// Moves all of `bytes` bytes into the region if they fill a word, and says how many it has.
    ///
    /// # Safety
    ///
    /// `from` is readable and `to` writable for `bytes` bytes, whoever else accesses `to`.
    #[inline(always)]
    pub(super) unsafe fn copy_in(to: *mut u8, from: *const u8, bytes: usize) -> usize {
        if bytes >= VECTOR {
            // SAFETY: the caller's promise.
            let done = unsafe { vector::copy_in(to, from, bytes) };
            if done < bytes {
                let last = bytes - VECTOR;
                // SAFETY: the last of them, as there are as many.
                unsafe { vector::copy_in(to.wrapping_add(last), from.wrapping_add(last), VECTOR) };
            }
            return bytes;
        }
        if bytes < WORD {
            return 0;
        }
        for at in [0, bytes - WORD] {
            // SAFETY: the first ones, and the last ones.
            let word = unsafe { from.wrapping_add(at).cast::<u64>().read_unaligned() };
            // SAFETY: likewise; the instruction needs no alignment.
            unsafe {
                asm!(
                    "mov [{to}], {word}",
                    to = in(reg) to.wrapping_add(at),
                    word = in(reg) word,
                    options(nostack, preserves_flags),
                );
            }
        }
        bytes
    }

    /// Moves all of `bytes` bytes out of the region if they fill a word, and says how many it has.
    ///
    /// # Safety
    ///
    /// `from` is readable and `to` writable for `bytes` bytes, whoever else accesses `from`.
    #[inline(always)]
    pub(super) unsafe fn copy_out(from: *const u8, to: *mut u8, bytes: usize) -> usize {
        if bytes >= VECTOR {
            // SAFETY: the caller's promise.
            let done = unsafe { vector::copy_out(from, to, bytes) };
            if done < bytes {
                let last = bytes - VECTOR;
                // SAFETY: the last of them, as there are as many.
                unsafe { vector::copy_out(from.wrapping_add(last), to.wrapping_add(last), VECTOR) };
            }
            return bytes;
        }
        if bytes < WORD {
            return 0;
        }
        for at in [0, bytes - WORD] {
            let word: u64;
            // SAFETY: the first ones, and the last ones; the instruction needs no alignment.
            unsafe {
                asm!(
                    "mov {word}, [{from}]",
                    from = in(reg) from.wrapping_add(at),
                    word = out(reg) word,
                    options(nostack, preserves_flags),
                );
            }
            // SAFETY: likewise.
            unsafe { to.wrapping_add(at).cast::<u64>().write_unaligned(word) };
        }
        bytes
    }
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
use vector as overlapping;

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

/// Copies whole elements, `bytes` in all, from private memory into the region, racing with whoever
/// scribbles there. `word` is [that of the elements](word): a constant where their type is known,
/// and then the compiler leaves of this what it takes; otherwise chosen when the ring is opened.
///
/// # Safety
///
/// `from` is readable and `to` writable for that many bytes, of which `word` is a divisor. `to` is
/// aligned to `word`, and nobody accesses it other than by atomics, or by copies as this one.
#[inline(always)]
pub(super) unsafe fn copy_in(to: *mut u8, from: *const u8, bytes: usize, word: usize) {
    if cfg!(miri) {
        // SAFETY: the caller's promise. Plain on purpose: Miri shall see a race as a race.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
    // SAFETY: the caller's promise.
    let done = if bytes >= WIDE { unsafe { vector::copy_in(to, from, bytes) } } else { 0 };
    let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
    // SAFETY: the caller's promise, for the rest; whole vectors keep the alignment.
    unsafe { words_in(to, from, bytes - done, word) }
}

/// How [`copy_in`] copies what vectors leave. Its promises.
#[inline(always)]
unsafe fn words_in(to: *mut u8, from: *const u8, bytes: usize, word: usize) {
    match word {
        8 => by_words!(u64, AtomicU64, bytes, in to, from),
        4 => by_words!(u32, AtomicU32, bytes, in to, from),
        2 => by_words!(u16, AtomicU16, bytes, in to, from),
        _ => by_words!(u8, AtomicU8, bytes, in to, from),
    }
}

/// Copies whole elements, `bytes` in all, out of the region into private memory; the twin of
/// [`copy_in`].
///
/// # Safety
///
/// `from` is readable and `to` writable for that many bytes, of which `word` is a divisor. `from`
/// is aligned to `word`, and nobody accesses it other than by atomics, or by copies as this one.
#[inline(always)]
pub(super) unsafe fn copy_out(from: *const u8, to: *mut u8, bytes: usize, word: usize) {
    if cfg!(miri) {
        // SAFETY: as in `copy_in`.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
    // SAFETY: the caller's promise.
    let done = unsafe { vector::copy_out(from, to, bytes) };
    let (to, from) = (to.wrapping_add(done), from.wrapping_add(done));
    // SAFETY: the caller's promise, for the rest; whole vectors keep the alignment.
    unsafe { words_out(from, to, bytes - done, word) }
}

/// How [`copy_out`] copies what vectors leave. Its promises.
#[inline(always)]
unsafe fn words_out(from: *const u8, to: *mut u8, bytes: usize, word: usize) {
    match word {
        8 => by_words!(u64, AtomicU64, bytes, out to, from.cast_mut()),
        4 => by_words!(u32, AtomicU32, bytes, out to, from.cast_mut()),
        2 => by_words!(u16, AtomicU16, bytes, out to, from.cast_mut()),
        _ => by_words!(u8, AtomicU8, bytes, out to, from.cast_mut()),
    }
}

/// Copies bytes into the region that belong to no element: to any address, any number. Whole words,
/// or vectors, wherever they fit, as the region is aligned.
///
/// # Safety
///
/// `from` is readable and `to` writable for that many bytes. Nobody accesses `to` other than by
/// atomics, or by copies as this one.
#[inline]
pub(super) unsafe fn copy_bytes_in(to: *mut u8, from: *const u8, bytes: usize) {
    if cfg!(miri) {
        // SAFETY: the caller's promise. Plain on purpose, as in `copy_in`.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
    // SAFETY: the caller's promise.
    let done = unsafe { overlapping::copy_in(to, from, bytes) };
    if done == bytes {
        return;
    }
    let (to, from, bytes) = (to.wrapping_add(done), from.wrapping_add(done), bytes - done);
    let [first, words] = pieces(to, bytes);
    // SAFETY: the caller's promise, for a part; single bytes are aligned.
    unsafe { words_in(to, from, first, 1) };
    let (to, from) = (to.wrapping_add(first), from.wrapping_add(first));
    // SAFETY: the caller's promise, for a part that begins at a word.
    unsafe { words_in(to, from, words, 8) };
    let (to, from) = (to.wrapping_add(words), from.wrapping_add(words));
    // SAFETY: as for the first.
    unsafe { words_in(to, from, bytes - first - words, 1) };
}

/// Copies bytes out of the region: the twin of [`copy_bytes_in`].
///
/// # Safety
///
/// `from` is readable and `to` writable for that many bytes. Nobody accesses `from` other than by
/// atomics, or by copies as this one.
#[inline]
pub(super) unsafe fn copy_bytes_out(from: *const u8, to: *mut u8, bytes: usize) {
    if cfg!(miri) {
        // SAFETY: as in `copy_bytes_in`.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
    // SAFETY: the caller's promise.
    let done = unsafe { overlapping::copy_out(from, to, bytes) };
    if done == bytes {
        return;
    }
    let (to, from, bytes) = (to.wrapping_add(done), from.wrapping_add(done), bytes - done);
    let [first, words] = pieces(from, bytes);
    // SAFETY: the caller's promise, for a part; single bytes are aligned.
    unsafe { words_out(from, to, first, 1) };
    let (to, from) = (to.wrapping_add(first), from.wrapping_add(first));
    // SAFETY: the caller's promise, for a part that begins at a word.
    unsafe { words_out(from, to, words, 8) };
    let (to, from) = (to.wrapping_add(words), from.wrapping_add(words));
    // SAFETY: as for the first.
    unsafe { words_out(from, to, bytes - first - words, 1) };
}

/// How many of the bytes come before the first aligned word in the region, and how many make whole
/// words then.
#[inline(always)]
fn pieces(region: *const u8, bytes: usize) -> [usize; 2] {
    let first = (region.addr().wrapping_neg() & 7).min(bytes);
    [first, (bytes - first) & !7]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There and back, `len` of them, as Miri sees the words: other tests copy plainly under Miri,
    /// so that it sees races. Neither side is aligned to more than it must be, and neither side's
    /// neighbours are touched.
    fn there_and_back(size: usize, len: usize) {
        const UNTOUCHED: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let (bytes, word) = (len * size, word(size));
        // As a mapping's: never through a `&T` or `&mut T`. Two words before, two or three behind.
        let shared: Vec<_> = (0..bytes / 8 + 5).map(|_| AtomicU64::new(UNTOUCHED)).collect();
        let odd = 2 - (shared.as_ptr().addr() / 8 + 1) % 2; // to 8 bytes, and not to 16
        let region = shared[odd..].as_ptr().cast::<u8>().cast_mut();
        let private: Vec<u8> = (1..=bytes + 1).map(|i| i as u8).collect();
        let mut back = vec![0xAA_u8; bytes + 17];
        let (from, to) = (private[1..].as_ptr(), back[1..].as_mut_ptr());
        if cfg!(miri) {
            // SAFETY: `bytes` bytes on both sides, the shared ones aligned to 8.
            unsafe { words_in(region, from, bytes, word) };
            // SAFETY: as above.
            unsafe { words_out(region, to, bytes, word) };
        } else {
            // SAFETY: as above.
            unsafe { copy_in(region, from, bytes, word) };
            // SAFETY: as above.
            unsafe { copy_out(region, to, bytes, word) };
        }
        assert_eq!(back[1..=bytes], private[1..], "{len} of {size} bytes");
        assert_eq!((back[0], &back[bytes + 1..]), (0xAA, &[0xAA; 16][..]));
        let words = shared.iter().map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        let mut all: Vec<u8> = words.flatten().collect();
        let neighbours: Vec<u8> = all
            .drain(..odd * 8)
            .collect::<Vec<_>>()
            .into_iter()
            .chain(all.split_off(bytes))
            .collect();
        assert!(neighbours.iter().all(|byte| *byte == 0xAA), "{len} of {size} bytes");
    }

    /// Bytes, from any address to any other, by whatever mixture of widths.
    #[test]
    fn copies_of_bytes_are_whole_wherever_they_lie() {
        let private: Vec<u8> = (1..=100).collect();
        for (at, from, len) in
            (0..9).flat_map(|at| [0, 1, 8].map(|from| (at, from))).flat_map(|(at, from)| {
                [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 79].map(|len| (at, from, len))
            })
        {
            let shared: Vec<_> = (0..13).map(|_| AtomicU64::new(u64::MAX)).collect();
            let region = shared.as_ptr().cast::<u8>().cast_mut().wrapping_add(at);
            let mut back = [0xFF_u8; 100];
            // SAFETY: so many bytes on both sides.
            unsafe { copy_bytes_in(region, private[from..].as_ptr(), len) };
            // SAFETY: as above.
            unsafe { copy_bytes_out(region, back[from + 1..].as_mut_ptr(), len) };
            let what = format!("{len} bytes from {from} to {at}");
            assert_eq!(back[from + 1..][..len], private[from..][..len], "{what}");
            assert!(back[..=from].iter().chain(&back[from + 1 + len..]).all(|b| *b == 0xFF));
            let words = shared.iter().map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
            let all: Vec<u8> = words.flatten().collect();
            assert_eq!(all[at..][..len], private[from..][..len], "{what}");
            assert!(all[..at].iter().chain(&all[at + len..]).all(|b| *b == 0xFF), "{what}");
        }
    }

    #[test]
    fn copies_of_every_width_and_length_are_whole() {
        let lens = [0, 1, 2, 3, 5, 8, 13, 15, 16, 17, 64, 100, 255, 256, 257];
        // Words are words: Miri, which is slow, need not see many.
        for len in lens.into_iter().filter(|len| !cfg!(miri) || *len < 10) {
            for size in [1, 2, 3, 4, 6, 8, 12, 40, 154] {
                there_and_back(size, len);
            }
        }
    }
}
