//! A copy of the newest item beside the tail of an SPSC ring: a lone message takes one line's trip.
//!
//! A consumer that waits for a message polls the line of `tail`. When that moves, the message is in
//! its slot, on another line, which then has to come from the producer's cache as well: two trips,
//! one after the other. So the producer stores a small item twice, in its slot and on the line of
//! `tail`, behind a tag that says which item the copy is of: the position behind it. A consumer that
//! finds exactly one item there takes it from that line, if its call is one for a single item.
//!
//! **The copy is a hint.** The slot is written first and holds the truth. A copy may be left out at
//! any time (by batches, items filled in place, large items, a ring whose consumer is behind, on
//! machines where it would not pay), and then nothing of it is touched. Recovery never reads it, and
//! a successor of the consumer may take either.
//!
//! **Why a copy that is taken is the item.** The producer stores the tag, then the words of the
//! copy, then `tail = end`, where `end` is the position behind the item, and the tag. The consumer,
//! at `head`, has seen `tail = end`, with `end = head + 1` (C1). It reads the words, then the tag,
//! and takes the copy if that is `end`.
//!
//! * *It is not older.* Tag and words are stored before `tail = end`, which releases them (P2 → C1):
//!   the consumer reads these or later ones. No other item has that tag, but for one: a producer that
//!   died before P2 may have left it, with the copy of an item that was never published, and its
//!   successor publishes another at that position. A producer therefore stores the tag 0 when it
//!   attaches, before its first P2: whoever has seen that position published sees the 0 or what came
//!   after it.
//! * *It is not newer.* Between the tag and the words of the next copy the producer makes a release
//!   fence (I1). Had the consumer read one of those words, then its acquire fence (I2) behind its
//!   copying would have made that tag visible to it, or a later one, before it looks there. Later
//!   tags are beyond `end`, or the 0 of a successor, whose tags are beyond `end`, too: it starts from
//!   a tail that was published.
//! * *It is not torn*, by the same two: no word is older, none newer.
//!
//! So this is half a sequence lock: the tail says what the first half of one says.
//!
//! In between, the words are read and written at the same time. They are atomics, as all that
//! several processes touch, so a copy that is discarded is nothing worse than that. A peer that
//! scribbles there, or lies in the tag, makes the consumer deliver a wrong value, as it could by
//! writing to the slot; the bits of it are checked on the private copy
//! ([`Item`](crate::Item)).
//!
//! **What a death costs.** Before P2, there may be a copy, or half of one, of what is not published:
//! see above. The consumer stores nothing here.
//!
//! **When it is worth it.** The copy costs the producer some stores to a line that it stores to
//! anyway. A stream's consumer finds several items at a look, takes the slots, and gains nothing.
//! So the producer decides whenever it looks at `head`: where the ring is empty then, its consumer
//! waits for each message. It looks when what it saw free is filled, and after a thousand items, or
//! as many as it claims at once. The consumer asks for the next slot's line while it waits, unless the item
//! before came by its copy.
//!
//! Source: the sequence locks of Linux 2.5.60, with the fences of Boehm 2012 ("Can seqlocks get
//! along with programming language memory models?").

use bytemuck::{AnyBitPattern, NoUninit, bytes_of, bytes_of_mut};

use super::control::{INLINE_WORDS, Tail};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::fence;

/// Bytes of the largest items that are copied: none, but where the two fences cost no instruction.
/// Elsewhere a stream would pay for them.
pub(super) const LARGEST: usize =
    if cfg!(any(target_arch = "x86_64", target_arch = "x86", miri, loom)) {
        size_of::<[u64; INLINE_WORDS]>()
    } else {
        0
    };

/// Whether items of type `T` are copied.
pub(super) const fn fits<T>() -> bool {
    size_of::<T>() <= LARGEST
}

/// How many words the copy of a `T` takes.
const fn words<T>() -> usize {
    size_of::<T>().div_ceil(size_of::<u64>())
}

/// There is no copy.
#[inline]
pub(super) fn invalidate(tail: &Tail) {
    // Relaxed: ordered before what this producer publishes first, which releases it (P2).
    tail.inline_at.store(0, Relaxed);
}

/// Stores the copy of the item that is about to be published by `tail = end`.
#[inline(always)]
pub(super) fn put<T: NoUninit>(tail: &Tail, end: u64, item: &T) {
    let mut copy = [0_u64; INLINE_WORDS];
    bytes_of_mut(&mut copy)[..size_of::<T>()].copy_from_slice(bytes_of(item));
    // Relaxed, all: the fence orders the first before the others, P2 all of them before `end`.
    tail.inline_at.store(end, Relaxed);
    fence(Release); // I1 → I2: who has read a word of this copy sees its tag
    for (to, word) in tail.inline.iter().zip(copy).take(words::<T>()) {
        to.store(word, Relaxed);
    }
}

/// The copy of the item before `end`, if there is one. `tail` has been seen to be `end` or more.
#[inline(always)]
pub(super) fn get<T: AnyBitPattern>(tail: &Tail, end: u64) -> Option<T> {
    let mut copy = [0_u64; INLINE_WORDS];
    // Relaxed, all: C1 orders them behind what was stored before `end`, the fence the last behind
    // the others.
    for (word, from) in copy.iter_mut().zip(&tail.inline).take(words::<T>()) {
        *word = from.load(Relaxed);
    }
    fence(Acquire); // I2 ← I1: with a word of a later copy comes its tag
    let is_of_it = tail.inline_at.load(Relaxed) == end;
    is_of_it.then(|| bytemuck::pod_read_unaligned(&bytes_of(&copy)[..size_of::<T>()]))
}
