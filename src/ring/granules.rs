//! Messages of any length on an MPMC ring: what [`mpmc`](super::mpmc) does otherwise where an item
//! takes several slots in a row.
//!
//! # A message
//!
//! A slot is a *granule* of some bytes, a power of two. A message is a word that says how long it
//! is, and what it carries, in as many granules as that takes. They are adjacent, as a sender
//! claims them at once. The first is PUBLISHED, and each further one CONTINUED:
//!
//! ```text
//! P  C C  |  P  |  S S S  |  P  S  |  S C C  |  F …
//! three    one    given     one     killed     free
//!                 up        of two  in between
//! ```
//!
//! What a message is, the stamps alone say. The word in the message is a peer's opinion, which its
//! receiver compares with them. A granule that is CONTINUED belongs to what is before it: to a
//! message, or, where no PUBLISHED comes first, to a hole. The first granule of a claim is never
//! CONTINUED, so a message never grows into the claim behind it.
//!
//! # Sending
//!
//! [`publish`] stores what was not used as SKIPPED, then CONTINUED from the last granule down, then
//! PUBLISHED. So whoever sees the first granule published sees all of the message, and where it
//! ends. A sender that is killed in between has published nothing: the first granule is FREE. Its
//! intent covers all of the claim until the last store, so what is FREE is marked SKIPPED one by
//! one, as that of any dead sender ([`recovery`](super::recovery)), and the granules that are
//! CONTINUED already stand behind a hole. Nobody need know how long the dead one's message was to
//! be.
//!
//! Each of these stores is a release, also where no receiver waits for it: an end that comes late,
//! with an old index in hand, finds any of them, and takes it for damage unless it sees that the
//! index has moved (S3 → S1, R1; "ahead" in [`mpmc`](super::mpmc)).
//!
//! # Receiving
//!
//! **A run ends where a stamp says so.** A [`look`] goes on until it has seen what is not a
//! part of the run: the start of one item more than was asked for, or what is not handed over. So
//! it never takes a part of a message. That holds even for a look that comes to nothing, because
//! others have moved the head meanwhile. Such a look reads stamps of which some are old and some
//! new; a message that it saw the first granule of, it sees to the end, or it sees a granule that
//! was released since; and as a message is released from the first granule on, nothing of it is
//! left then. Were it otherwise, an end that is killed before its compare-and-swap fails would
//! leave an intent that ends within a message that another has claimed.
//!
//! A run that is as long as the ring, and goes on behind that, has never been there: the head has
//! moved. A look may also reach a limit, that of an intent's length or that of a `clear`. Then it
//! goes back to the last place at which a message ends; within holes any place will do. So a run
//! may begin with a granule that is CONTINUED: a hole.
//!
//! **Release** goes from the first granule to the last. A receiver that is killed in between has
//! released the message with the first of these stores. What is left is CONTINUED, and behind
//! nothing that is PUBLISHED: a hole, which whoever recovers frees.
//!
//! # Recovery
//!
//! A dead sender's claim is settled granule by granule. A dead receiver's is settled by whole
//! messages, whatever its intent covers. An intent need not begin or end where a message does: it
//! has the low bits of a position, so one that is old can seem to be of positions 2^40 further on,
//! and there cut a message in two. If two receivers took a part each, both would have a message
//! that is not one. So the recoverer
//!
//! * begins at the first granule of a message of which the intent covers a later one
//!   ([`begin_of`]);
//! * takes a message to its end, even beyond the intent ([`extent`]);
//! * leaves all of it alone if somebody alive may own any of its granules.
//!
//! That all of a message has the same owner, as the head has been moved over all of it at once,
//! makes it right to take all of it. The argument that the owner is dead is the one in
//! [`recovery`](super::recovery), and holds for each position below the head, whoever's intent led
//! the recoverer there.
//!
//! The run that is adopted begins and ends where messages do, too, and the adopter's intent covers
//! it before anything else changes. Messages are counted, delivered again and dropped one by one
//! ([`deliveries`](super::deliveries)).
//!
//! **End-of-file** asks whether anything between head and tail is still FREE. A dead sender's
//! message has a first granule that is FREE, until that is SKIPPED.
//!
//! # A peer that scribbles on stamps
//!
//! Every loop over granules here is bounded by the capacity, and every position is masked. What
//! comes of stamps that no history produces is a message of a wrong extent, a hole, or damage.
//!
//! Source: the protocol was explored state by state, with two deaths anywhere and up to three
//! receivers, before it was written here; `loom-tests` explores what is here, with its orderings.

use super::Kind;
use super::intent::INTENT_MAX_COUNT;
use super::looks::Looked;
use super::mem::{Mem, Shape, View};
use super::stamp::Stamp;
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// The stamps of so many granules from `at` on, or up to the wrap, and what each is while its granule
/// is free.
#[inline(always)]
fn stamps<K: Kind>(mem: &Mem<K>, at: u64, granules: u64) -> (&[AtomicU64], Stamp) {
    (mem.slots.stamps(at, granules), Stamp::free(at, mem.slots.capacity()))
}

/// How many of the first `most` granules from `at` on have a stamp of which `is` says so, in a row.
#[inline(always)]
fn in_a_row<K: Kind>(
    mem: &Mem<K>,
    at: u64,
    most: u64,
    mut is: impl FnMut(&AtomicU64, Stamp) -> bool,
) -> u64 {
    let mut passed = 0;
    while passed < most {
        let (stamps, free) = stamps(mem, at.wrapping_add(passed), most - passed);
        if let Some(other) = stamps.iter().position(|stamp| !is(stamp, free)) {
            return passed + other as u64;
        }
        passed += stamps.len() as u64;
    }
    passed
}

/// How many granules from `at` on a sender could claim, `most` at most, and the stamp that was looked
/// at last.
#[inline(always)]
pub(super) fn room<K: Kind>(mem: &Mem<K>, at: u64, most: u64) -> (u64, Stamp) {
    let mut next = Stamp::free(at, mem.slots.capacity());
    let slots = in_a_row(mem, at, most, |stamp, free| {
        next = Stamp(stamp.load(Acquire)); // S1 ← R3: the last value was read
        next == free
    });
    (slots, next)
}

/// Gives so many granules from `at` on to the senders of the next lap: the first of them first.
#[inline(always)]
pub(super) fn free<K: Kind>(mem: &Mem<K>, at: u64, granules: u64) {
    let next = at.wrapping_add(mem.slots.capacity());
    let mut passed = 0;
    while passed < granules {
        let (stamps, free) = stamps(mem, next.wrapping_add(passed), granules - passed);
        for stamp in stamps {
            stamp.store(free.0, Release); // R3 → S1: the value was read
        }
        passed += stamps.len() as u64;
    }
}

/// These go on with what is before them: the last of them first.
#[inline(always)]
fn go_on((stamps, free): (&[AtomicU64], Stamp)) {
    for stamp in stamps.iter().rev() {
        stamp.store(free.and_continued().0, Release); // S3 → S1, R1: both indices have moved
    }
}

/// Hands over the first `used` granules from `at` on, of a claim whose others were given up, as one
/// message.
#[inline(always)]
pub(super) fn publish(mem: View<'_, impl Shape>, at: u64, used: u64) {
    if used == 0 {
        return;
    }
    let first = stamps(&mem, at.wrapping_add(1), used - 1);
    let behind = first.0.len() as u64 + 1;
    if behind < used {
        go_on(stamps(&mem, at.wrapping_add(behind), used - behind));
    }
    go_on(first);
    let published = Stamp::published(at, mem.slots.capacity());
    mem.stamp(at).store(published.0, Release); // S3 → R1: all of the message is written
}

/// What could be claimed from `at` on, of at most `most` messages in at most `longest` granules.
pub(super) fn look(mem: View<'_, impl Shape>, at: u64, most: u64, longest: u64) -> Looked {
    let capacity = mem.slots.capacity();
    let (mut slots, mut items) = (0, 0);
    // Where the message begins that the granule before belongs to; none in a hole.
    let mut begun = None;
    loop {
        let position = at.wrapping_add(slots);
        let next = Stamp(mem.stamp(position).load(Acquire)); // R1 ← S3: the message is written
        let looks = slots + 1;
        let goes_on = next == Stamp::continued(position, capacity);
        let item = next == Stamp::published(position, capacity);
        let begins = item || next == Stamp::skipped(position, capacity);
        if !(goes_on || begins && items < most) {
            return Looked { slots, items, next, looks };
        }
        if slots == capacity {
            // Of the next lap, though the first was of this one: the head has moved.
            return Looked { slots: 0, items: 0, next, looks };
        }
        if slots == longest {
            return match begun {
                // Longer than any message. No stamp that is awaited is of a lap to come.
                Some(0) if goes_on => {
                    let next = Stamp::free(at.wrapping_add(capacity), capacity);
                    Looked { slots: 0, items: 0, next, looks }
                }
                Some(whole) if goes_on => Looked { slots: whole, items: items - 1, next, looks },
                _ => Looked { slots, items, next, looks },
            };
        }
        if begins {
            begun = item.then_some(slots);
            items += u64::from(item);
        }
        slots += 1;
        // The better part of a long message, without all those questions. Relaxed: they were stored
        // before the one that was just acquired.
        let more = longest.min(capacity).saturating_sub(slots);
        slots += in_a_row(&mem, position.wrapping_add(1), more, |stamp, free| {
            stamp.load(Relaxed) == free.and_continued().0
        });
    }
}

/// How many slots the item takes that is published at `at`, unless its end is not to be seen.
#[inline(always)]
pub(super) fn whole<K: Kind>(mem: &Mem<K>, at: u64) -> Option<u64> {
    if !K::MESSAGES {
        return Some(1);
    }
    let most = longest(mem.slots.capacity());
    // Relaxed: they were stored before the first one's stamp, which the caller has acquired.
    let others = in_a_row(mem, at.wrapping_add(1), most, |stamp, free| {
        stamp.load(Relaxed) == free.and_continued().0
    });
    (others < most).then_some(others + 1)
}

/// How many slots the item takes that begins at `at`, where it ends within `most` of them.
#[inline]
pub(super) fn extent<K: Kind>(mem: &Mem<K>, at: u64, most: u64) -> u64 {
    if !K::MESSAGES {
        return 1;
    }
    let most = most.min(longest(mem.slots.capacity())).max(1);
    // Relaxed: whoever has acquired the first one's stamp sees these, and nobody frees them
    // meanwhile: they are the caller's, or a dead end's, or the caller leaves them alone.
    let others = in_a_row(mem, at.wrapping_add(1), most - 1, |stamp, free| {
        Stamp(stamp.load(Relaxed)).continues(free)
    });
    others + 1
}

/// Where the message begins that the granule at `at` is a part of, or else `at`.
pub(super) fn begin_of<K: Kind>(mem: &Mem<K>, at: u64) -> u64 {
    if !K::MESSAGES {
        return at;
    }
    let capacity = mem.slots.capacity();
    let begin =
        (0..longest(capacity)).map(|distance| at.wrapping_sub(distance)).find_map(|position| {
            // Relaxed: where to begin; the recoverer looks at each of them again.
            let stamp = Stamp(mem.slots.stamp(position).load(Relaxed));
            let is_first = stamp.holds_item(position, capacity);
            (!stamp.is_continued(position, capacity)).then_some(if is_first {
                position
            } else {
                at
            })
        });
    begin.unwrap_or(at)
}

/// More granules no message has.
fn longest(capacity: u64) -> u64 {
    capacity.min(INTENT_MAX_COUNT)
}
