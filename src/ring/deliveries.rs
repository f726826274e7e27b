//! How often an item was handed to receivers that did not release it: what keeps a job that kills
//! its worker from killing one worker after another.
//!
//! # What is counted
//!
//! An item is *handed out* when its receiver shows it to its caller and has not released it
//! ([`hand_out`](super::RecvCursor::hand_out)). If that receiver dies, or closes, the item is
//! delivered again, and its receiver is told how often it had been delivered before: 0 the first
//! time.
//!
//! What is stored is the number that its last receiver was told, *c*. So an item that is abandoned
//! with *c* has been delivered c + 1 times; a first delivery, which is nearly every one, stores
//! nothing. An MPMC ring keeps *c* in the item's [`Stamp`]; an SPSC ring keeps it in the consumer's
//! record, together with the position that it is said of ([`word`]), so it is never taken for
//! another item's.
//!
//! A receiver that gives an item back and receives it again itself is told that it is received
//! again, and does not count it again: nobody has died, and it may yet release the item. Looking
//! twice must not bring an item nearer to a limit. When that receiver dies or closes, that is one
//! delivery.
//!
//! # One at a time
//!
//! What was adopted is handed out one item at a time, and only that item is counted. So those
//! behind it in the same abandoned claim do not climb with it. When their turn comes they have been
//! delivered once, in the batch that was abandoned, and are told that.
//!
//! A message is one item: its count stands in the stamp of its first granule.
//!
//! # Who counts, and what if it dies there
//!
//! The adopter, which alone owns the claim (its intent covers it, [`recovery`](super::recovery)),
//! stores c + 1 before it shows the item. The next adopter finds, if this one dies
//!
//! * before the store: *c*, which is right, as the item was not shown since;
//! * after the item was shown: c + 1, which is right;
//! * in between: c + 1, which is one too many.
//!
//! So the number that a receiver is told is never too low (but for the highest, [`MOST`], where it
//! stops). It is too high by one for each receiver that died in those few instructions; and, on an
//! MPMC ring, by one if the *first* receiver died within its call, as what it had claimed counts as
//! delivered. That is the right side to err on. A number that is too low could let a deadly item go
//! round for ever.
//!
//! # Why the store is a release
//!
//! Whoever recovers after this receiver sees its last store anyway: the proof of its death orders
//! that, or the abandoned record (A2 → A3). But a stamp is also read by ends that come late, with
//! an old index in hand. They take a stamp that is not the one awaited for damage, or for an item
//! that is still to come, unless the index has moved when they look again ([`mpmc`](super::mpmc)).
//! So whoever sees the count must see both indices moved (R5 → S1, R1). The adopter has acquired
//! both: the head in recovery (X1), and with it what the dead receiver had acquired with the item,
//! the tail.
//!
//! # The limit
//!
//! On a ring with a limit of *n*, who reaps a dead receiver frees an abandoned item that was
//! delivered *n* times, and counts it, instead of passing it on; an SPSC consumer does that when it
//! attaches. It is done in the recoverer's turn (or by the only consumer), once, and by one store:
//! the slot is free.

use super::granules;
use super::mem::Mem;
use super::stamp::Stamp;
use super::{Kind, Run};
use crate::sync::Ordering::{Relaxed, Release};

/// The highest count: four bits of a stamp.
pub(crate) const MOST: u32 = 15;
const BITS: u32 = 4;

/// How often an item has been delivered that is abandoned with this count.
pub(super) fn once_more(times: u32) -> u32 {
    (times + 1).min(MOST)
}

/// An item that is abandoned with this count is not to be delivered again. `limit`: 0 is none.
pub(super) fn is_exhausted(times: u32, limit: u32) -> bool {
    limit > 0 && once_more(times) >= limit
}

/// SPSC: the count of the item at `position`, in one word with it.
pub(super) fn word(position: u64, times: u32) -> u64 {
    position << BITS | u64::from(times.min(MOST))
}

/// SPSC: the count of the item at `position`, if that is what the word is about.
pub(super) fn times_of(word: u64, position: u64) -> u32 {
    let times = (word & u64::from(MOST)) as u32;
    if word == self::word(position, times) { times } else { 0 }
}

/// What an MPMC receiver remembers of the first item of a claim that it has adopted.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    at: u64,
    /// How often the item was delivered before.
    times: u32,
    /// The stamp says so already.
    counted: bool,
}

impl Adopted {
    /// How often the item that was claimed last was delivered before.
    pub(super) fn times(&self) -> u32 {
        self.times
    }

    /// The first item of an adopted `claim`, alone but for the holes beside it: those before it,
    /// and if it is the last item all that is left. `None`: a peer has corrupted the stamps.
    #[cold]
    pub(super) fn first<K: Kind>(&mut self, mem: &Mem<K>, claim: Run) -> Option<Run> {
        let capacity = mem.slots.capacity();
        let first = (0..claim.slots).find_map(|distance| {
            let at = claim.at.wrapping_add(distance);
            // Relaxed: recovery acquired this stamp, and it is ours until we free it.
            let stamp = Stamp(mem.slots.stamp(at).load(Relaxed));
            stamp.holds_item(at, capacity).then_some((distance, at, stamp))
        });
        let (distance, at, stamp) = first?;
        if !(self.counted && self.at == at) {
            *self = Self { at, times: once_more(stamp.times()), counted: false };
        }
        let extent = granules::extent(mem, at, claim.slots - distance);
        let slots = if claim.items > 1 { distance + extent } else { claim.slots };
        Some(Run { at: claim.at, slots, items: 1, again: 1 })
    }

    /// That item is about to be shown.
    #[cold]
    pub(super) fn hand_out<K: Kind>(&mut self, mem: &Mem<K>) {
        if !std::mem::replace(&mut self.counted, true) {
            let stamp = Stamp::delivered(self.at, mem.slots.capacity(), self.times);
            mem.slots.stamp(self.at).store(stamp.0, Release); // R5 → S1, R1: both indices have moved
        }
    }
}
