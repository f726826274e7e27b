//! Cleaning up after dead ends of an MPMC ring: what they had claimed and not handed over.
//!
//! The algorithm in [`mpmc`](super::mpmc) keeps this invariant for both directions (`index` is the
//! tail for senders, the head for receivers):
//!
//! > While `q` is claimed and not handed over, its owner's intent covers `q`; and whoever sees the
//! > index beyond `q` sees that intent, or a later one.
//!
//! **Whose is `q`?** The recoverer loads the index (X1) and finds `q` below it: claimed. It then
//! reads the intents of all ends of that role (X2).
//!
//! * Nobody *alive* intends `q`, and the slot is still not handed over on a second look: then its
//!   owner is dead. For the owner's intent, as X2 reads it, either covers `q`, and then the owner
//!   is not alive; or it is a later one, stored after the hand-over, which X2 acquires with it, so
//!   the second look would have shown it.
//! * Somebody alive intends `q`: the owner perhaps, or one who lost the race for `q` and has not
//!   taken its next step. Nothing is done, and asked again later. So a live owner is never robbed,
//!   however slow, and a live loser delays the answer by a few steps of its own.
//!
//! An intent holds only the low bits of a position, so it can seem to cover a position exactly
//! 2^40 away: that, too, is a mere delay.
//!
//! **What becomes of `q`?** A dead sender's slot is marked SKIPPED by compare-and-swap from FREE,
//! and receivers pass over it. A dead receiver's slot is handed to the recovering receiver, which
//! stores an intent of its own for it: from then on it is as claimed as any, and if the adopter
//! dies, it is adopted again. Until its release the item is thus covered by somebody's intent, and
//! the slot's stamp tells whether it was released. A message is handed over, or left alone, as a
//! whole ([`granules`]).
//!
//! **One recoverer at a time.** All of this runs while the region's recovery word names the
//! recoverer ([`recovery_word`](crate::peers::recovery_word)); whoever comes after one that died
//! there replaces its name. Recoverers that race could otherwise take one item for two dead ends
//! that both intend it, or clear the intent of a newcomer in a record that was just freed. Every
//! step leaves a state from which the next recoverer goes on, wherever its predecessor was killed:
//! marking is idempotent; an adopter's intent is stored before anything else changes; a dead end's
//! intent is cleared after everything it covers has been settled, and its record freed after that.

use std::cell::RefMut;
use std::ops::Range;

use crossbeam_utils::CachePadded;

use super::control::{Record, Words};
use super::deliveries::is_exhausted;
use super::granules;
use super::intent::{
    INTENT_HORIZON, INTENT_MAX_COUNT, NO_INTENT, intent, intent_run, intent_slots, intent_stretch,
    positions,
};
use super::mem::Mem;
use super::stamp::Stamp;
use super::{Kind, Run, before};
use crate::peers::table::{Role, owner};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Who is alive, as far as recovery must know.
pub trait Alive {
    /// The end of `role` in `record` is alive. Asked after its intent was read.
    fn alive(&self, role: Role, record: usize) -> bool;

    /// Scratch memory: two stretches of positions a record. One borrower at a time.
    fn room(&self) -> RefMut<'_, Vec<Range<u64>>>;
}

/// The index by which ends of `role` claim.
fn index(words: &Words, role: Role) -> &AtomicU64 {
    match role {
        Role::Sender => &words.control.tail.at,
        Role::Receiver => &words.control.head,
    }
}

/// What the living of a role intend, read after the index: stretches of positions as distances from
/// one of them, in order and apart.
pub(super) struct Intended<'a> {
    /// The position from which the distances are counted.
    from: u64,
    stretches: RefMut<'a, Vec<Range<u64>>>,
}

impl<'a> Intended<'a> {
    fn read(words: &Words, role: Role, from: u64, alive: &'a impl Alive) -> Self {
        let intent_of_the_living = |(record, line): (usize, &CachePadded<Record>)| {
            let word = line.intent.load(Acquire); // X2 ← S2a, S4, R2a, R4: what was handed over before
            let (owner, attached_as) = owner(&words.owners[record])?;
            let lives = word != NO_INTENT
                && attached_as == role
                && !owner.is_abandoned()
                && alive.alive(role, record);
            lives.then_some(word)
        };
        let intents = words.records.iter().enumerate().filter_map(intent_of_the_living);
        Self::new(intents, from, alive.room())
    }

    pub(super) fn new(
        intents: impl Iterator<Item = u64>,
        from: u64,
        mut all: RefMut<'a, Vec<Range<u64>>>,
    ) -> Self {
        all.clear();
        for word in intents {
            let stretch = intent_stretch(word, from);
            if stretch.end > INTENT_HORIZON {
                all.push(0..stretch.end - INTENT_HORIZON);
            }
            all.push(stretch);
        }
        all.sort_unstable_by_key(|stretch| stretch.start);
        // Each that touches the one before it becomes a part of that.
        all.dedup_by(|stretch, last| {
            let touches = stretch.start <= last.end;
            if touches {
                last.end = last.end.max(stretch.end);
            }
            touches
        });
        Self { from, stretches: all }
    }

    /// Somebody intends one of the `slots` positions from `at` on, none of which lies before the one
    /// that distances are counted from.
    pub(super) fn covers(&self, at: u64, slots: u64) -> bool {
        let begin = at.wrapping_sub(self.from);
        let first = self.stretches.partition_point(|stretch| stretch.end <= begin);
        self.stretches.get(first).is_some_and(|stretch| stretch.start < begin + slots)
    }
}

/// How much work it is at the most to settle the intent `word` once: each of its positions, every
/// other intent, and of a receiver that was killed over messages what they take beyond its intent.
pub(crate) fn effort<K: Kind>(mem: &Mem<K>, role: Role, word: u64) -> u64 {
    let capacity = mem.slots.capacity();
    let beyond = if K::MESSAGES && role == Role::Receiver { capacity } else { 0 };
    intent_slots(word).min(capacity) + beyond + mem.words.records.len() as u64
}

/// What is left of a dead end's claim.
#[derive(Debug)]
pub enum Remains {
    /// Nothing: its intent may be cleared and its record freed.
    Nothing,
    /// Something that cannot be settled now: a live end may own it.
    Unclear {
        /// Something else was settled.
        progress: bool,
    },
    /// Receivers only: these slots were claimed by the dead and not released.
    Abandoned {
        /// The first of them, in a row.
        run: Run,
        /// There are others behind, or what a live end may own.
        more: bool,
    },
    /// Receivers only: such an item, which was delivered as often as the ring allows.
    Exhausted {
        /// That item alone.
        run: Run,
    },
}

/// Settles what a dead sender with the intent `word` had claimed. In the recoverer's turn.
pub(crate) fn settle_sender<K: Kind>(mem: &Mem<K>, word: u64, alive: &impl Alive) -> Remains {
    let words = &mem.words;
    let capacity = mem.slots.capacity();
    let tail = index(words, Role::Sender).load(Acquire); // X1 ← S2: the owners' intents
    let (first, count) = intent_run(word, tail, capacity);
    let intended = Intended::read(words, Role::Sender, first, alive);
    let (mut unclear, mut progress) = (false, false);
    for position in positions(first, 0..count) {
        let free = Stamp::free(position, capacity).0;
        let stamp = mem.slots.stamp(position);
        // Relaxed: only to spare the rest; the compare-and-swap is the look that counts.
        if stamp.load(Relaxed) != free {
            continue;
        }
        if intended.covers(position, 1) {
            unclear = true;
            continue;
        }
        let skipped = Stamp::skipped(position, capacity).0;
        // The second look. X3 → R1: nothing to read here. X3 ← R3: nor is anything written.
        if stamp.compare_exchange(free, skipped, AcqRel, Relaxed).is_ok() {
            words.control.tally.skipped.fetch_add(1, Relaxed); // a statistic
            progress = true;
        }
    }
    if unclear { Remains::Unclear { progress } } else { Remains::Nothing }
}

/// Finds what a dead receiver with the intent `word` had claimed and not released. In the
/// recoverer's turn.
pub(crate) fn settle_receiver<K: Kind>(mem: &Mem<K>, word: u64, alive: &impl Alive) -> Remains {
    let words = &mem.words;
    let capacity = mem.slots.capacity();
    let head = index(words, Role::Receiver).load(Acquire); // X1 ← R2: the owners' intents
    let (first, count) = intent_run(word, head, capacity);
    let end = first.wrapping_add(count);
    // A message may begin before what the dead one intended, and end behind it.
    let lowest = first.wrapping_sub(capacity);
    let intended = Intended::read(words, Role::Receiver, lowest, alive);
    let (mut unclear, mut more) = (false, false);
    let mut found: Option<Run> = None;
    let mut next = granules::begin_of(mem, first);
    while before(next, end) > 0 {
        let at = next;
        let left = unreleased(mem, at); // the second look
        let (slots, item) = match left {
            Some(Left::Item { .. }) => (granules::extent(mem, at, before(at, head)), 1),
            _ => (1, 0),
        };
        next = at.wrapping_add(slots);
        let Some(left) = left else { continue };
        if intended.covers(at, slots) {
            unclear = true;
            continue;
        }
        if matches!(left, Left::Item { times } if is_exhausted(times, mem.delivery_limit)) {
            return Remains::Exhausted { run: Run { at, slots, items: 1, again: 1 } };
        }
        match &mut found {
            None => found = Some(Run { at, slots, items: item, again: item }),
            Some(run) if joins(*run, at, slots) => {
                run.slots += slots;
                run.items += item;
                run.again += item;
            }
            Some(_) => more = true,
        }
    }
    match found {
        Some(run) => Remains::Abandoned { run, more: more || unclear },
        None if unclear => Remains::Unclear { progress: false },
        None => Remains::Nothing,
    }
}

/// So many slots from `at` on can be adopted together with `run`: in one intent.
pub(super) fn joins(run: Run, at: u64, slots: u64) -> bool {
    at == run.at.wrapping_add(run.slots) && run.slots + slots <= INTENT_MAX_COUNT
}

/// What begins at a claimed position that was not released.
#[derive(Clone, Copy)]
enum Left {
    Hole,
    /// With its [count](super::deliveries).
    Item {
        times: u32,
    },
}

/// What begins at a claimed position, if that was not released.
fn unreleased<K: Kind>(mem: &Mem<K>, position: u64) -> Option<Left> {
    let capacity = mem.slots.capacity();
    let stamp = Stamp(mem.slots.stamp(position).load(Acquire)); // R1 ← S3: the value is written
    if stamp.holds_item(position, capacity) {
        return Some(Left::Item { times: stamp.times() });
    }
    let hole =
        stamp.is_hole(position, capacity) || K::MESSAGES && stamp.is_continued(position, capacity);
    hole.then_some(Left::Hole)
}

/// Makes an abandoned run the claim of the receiver in `adopter`, which has none. In the
/// recoverer's turn.
pub(crate) fn adopt(words: &Words, adopter: usize, run: Run) {
    words.records[adopter].intent.store(intent(run.at, run.slots), Release); // R2a → X2: what the adopter handed over before
}

/// Forgets a dead end's intent, as it was read: everything it covers is settled. In the recoverer's
/// turn.
///
/// An end that had none needs nothing forgotten, and must not be touched: it may be a live one on
/// its way out, whose record a newcomer takes at this moment. One that had an intent is not on its
/// way out by itself: its record waits for us.
pub(crate) fn forget(words: &Words, record: usize, word: u64) {
    if word != NO_INTENT {
        let intent = &words.records[record].intent;
        // X4 → X2: who sees it gone sees what was settled. If it fails, somebody scribbles.
        let _ = intent.compare_exchange(word, NO_INTENT, Release, Relaxed);
    }
}
