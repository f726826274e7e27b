//! What a claim of an MPMC end finds when it looks at stamps, and how long it goes on looking.

use super::Refused;
use super::mem::{Shape, View};
use super::stamp::Stamp;
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed};

/// What a receiver's look at the stamps from the head on came to.
pub(super) struct Looked {
    /// So many slots could be claimed,
    pub(super) slots: u64,
    /// with so many items in them.
    pub(super) items: u64,
    /// The stamp that was looked at last. It ended the look, unless a limit did.
    pub(super) next: Stamp,
    /// So many stamps were looked at.
    pub(super) looks: u64,
}

/// How many slots from `at` on a sender could claim, `most` at most, and the stamp that was looked
/// at last.
#[inline(always)]
pub(super) fn room(mem: View<'_, impl Shape>, at: u64, most: u64) -> (u64, Stamp) {
    let capacity = mem.slots.capacity();
    let mut slots = 0;
    let mut next = Stamp::free(at, capacity);
    while slots < most {
        let position = at.wrapping_add(slots);
        next = Stamp(mem.stamp(position).load(Acquire)); // S1 ← R3: the last value was read
        if next != Stamp::free(position, capacity) {
            break;
        }
        slots += 1;
    }
    (slots, next)
}

/// What could be claimed from `at` on, of at most `most` items in at most `longest` slots.
#[inline(always)]
pub(super) fn look(mem: View<'_, impl Shape>, at: u64, most: u64, longest: u64) -> Looked {
    let capacity = mem.slots.capacity();
    let (mut slots, mut items) = (0, 0);
    let mut next = Stamp::free(at, capacity);
    while items < most && slots != longest {
        let position = at.wrapping_add(slots);
        next = Stamp(mem.stamp(position).load(Acquire)); // R1 ← S3: the value is written
        if next == Stamp::published(position, capacity) {
            items += 1;
        } else if next != Stamp::skipped(position, capacity) {
            break;
        }
        slots += 1;
    }
    Looked { slots, items, next, looks: slots }
}

/// So often [`holds_at`] looks again because the index has moved on.
const FEW: u32 = 8;

/// Whether something is so of the slot at the position that an index has come to.
pub(super) fn holds_at(index: &AtomicU64, of: impl Fn(u64) -> bool) -> bool {
    // Relaxed, both: who has changed the slot since has moved the index on before, and then the second
    // load sees it. Why a stale answer to one who takes something loses no wake: `wait::word`.
    let mut at = index.load(Relaxed);
    for _ in 0..FEW {
        if of(at) {
            return true;
        }
        let now = index.load(Relaxed);
        if now == at {
            return false;
        }
        at = now;
    }
    true // or somebody is at it
}

/// How many stamps one claim looks at before it gives up, or four times what it asked for, or once
/// at all there are (the whole ring may be holes, with an item behind): neither others who are
/// faster nor a scribbler who moves the index back and forth make it look for ever.
pub(super) const LOOKS: u64 = 65_536;

pub(super) fn enough(looks: u64, wanted: u64, capacity: u64) -> bool {
    looks > LOOKS.max(4 * wanted).max(capacity)
}

/// What a claim says that found `slots` slots and then a stamp that is not what it waits for, or
/// is: behind the first, that is left to whoever comes there.
pub(super) fn stopped_by(slots: u64, awaited: bool) -> Refused {
    if awaited || slots > 0 { Refused::NotReady } else { Refused::Corrupt }
}

/// A run that took no longer to look through than a line takes to travel.
pub(super) const SHORT_RUN: u64 = 64;

/// How many slots to ask for after `asked`, when a claim of `lost` of them at `at` has failed as
/// the index was `now`: a long look loses against short ones again and again, so the next is
/// shorter.
pub(super) fn after_losing(at: u64, now: u64, lost: u64, need: u64, asked: u64) -> u64 {
    if now != at && lost > SHORT_RUN { (lost / 2).max(need) } else { asked }
}
