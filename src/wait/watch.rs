//! The watch of eight: among many sleepers of one role, eight look after the peers' lives for all.
//!
//! A sleeper looks at the ring and at its peers' lives once an interval, for what nobody tells it:
//! that a peer was killed, or that whoever had been woken was killed before it acted. A thousand
//! sleepers need no thousand such looks. So each role has a *watch* of eight slots, each the
//! [`Name`] of an end or 0. Whoever holds one sleeps *short*, for one interval at a time; whoever
//! finds none sleeps *long*, for ten, and sets its bit in a bitmap of long sleepers. With eight
//! sleepers or fewer all sleep short.
//!
//! # The protocol
//!
//! ```text
//! to sleep                                        to stop waiting, for whatever reason
//!   W1  announce                                    clear my long bit and my slot
//!       unless I hold a slot, take a free one       if I held a slot:
//!       or else: set my long bit                      V2  fence
//!     V1  fence                                           some long bit is set?
//!         take a slot if one is free now,                 hand over: move the epoch,
//!         and clear my long bit                           then wake one of those who sleep long
//!       look
//!       futex wait, short or long
//! ```
//!
//! A slot, once taken, is kept to the end of the call, awake or asleep. After every wake all of
//! this is done again, the slots before the look. Long sleepers wait with a futex bit of their own
//! beside the usual one, so that a hand-over wakes none who holds a slot. Whoever of them is woken
//! takes the free slot; it needs no rank. Who stops and held no slot owes nothing.
//!
//! *At each liveness check* a watcher looks at the ring and at its peers' lives, as everyone does.
//! Then it asks the locks after the other watchers: the holder of the first taken slot asks after
//! all of them, each other one after that holder. It clears the slots of the dead, and if then a
//! slot is free and a long bit is set, it hands over as above, but keeps its own slot.
//!
//! # Why nobody is left to the long sleep while a watcher lives
//!
//! **What ends a wait, ends all that it should.** What is told by a wake reaches long and short
//! sleepers alike. What nobody tells, a watcher finds at its next check. If that ends its own wait
//! (an item, the end of the file), it hands over; the next one looks and finds what is left, and so
//! on, without an interval between: its own check is overdue. A dead peer's record is freed, which
//! wakes ([`changes`](super::changes)).
//!
//! **No hand-over is lost.** The fences make this Dekker's pattern: of "set the bit, read the
//! slots" and "clear the slot, read the bits" at least one sees the other. A sleeper that sees the
//! free slot takes it, or finds that another has. Otherwise the one that stops sees the bit and
//! hands over. The sleeper announced itself before its fence, and the epoch moves after the
//! other's, so it moves after that announcement: the kernel refuses the sleep, or the sleeper is
//! queued and the wake finds it or another long sleeper. The order is what makes it right:
//! announced before the slots are read, the long bit set before the slots are read, the slot
//! cleared before the bits are read, the epoch moved before the wake.
//!
//! **Deaths.** A watcher that is killed leaves its name in its slot. The first watcher finds it at
//! its next check, or, if it was the first, any other does; then one hands over: the watch is full
//! again an interval later. A hand-over whose giver or taker was killed is repeated at the next
//! check, as a slot is still free. A name is cleared by compare-and-swap from the exact word, and
//! none returns after its owner's death. A dead end's long bit costs at most one vain futex wake a
//! hand-over; whoever reaps its record clears it.
//!
//! **A watch of the dead.** If all eight die before one of them made a check, their names stay. So
//! whoever is about to sleep long for the first time in its call asks after the holder of the first
//! slot, too, and takes its place if it is dead; and so it does after each long sleep. That is the
//! case in which it takes ten intervals to notice a peer's death: more than eight ends of a role
//! slept, and the whole watch was killed or stopped together with the peer.
//!
//! **Watchers that cannot use what they find**, because they wait for several items or for a peer,
//! tell those who can: see [`WakeWord::prompt`].
//!
//! **A peer that scribbles** can fill the slots with names of ends that live and do not wait, or
//! clear bits: then a role's sleepers notice a death after ten intervals. Names are compared with
//! private numbers before they are used; one that makes no sense counts as dead.
//!
//! (All of this was explored state by state, with one slot and with two, three and four receivers,
//! deaths, timeouts and cancellations; `loom-tests` explores this very source.)

use super::word::WakeWord;
use crate::peers::table::{self, Name, Role};
use crate::ring::control::Words;
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU64, fence};

/// The watch of a role, as one of its ends sees it.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    words: &'a Words,
    role: Role,
    /// The end itself.
    me: Name,
    /// Whether the end of this role in a record is alive.
    alive: &'a dyn Fn(usize) -> bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        words: &'a Words,
        role: Role,
        me: Name,
        alive: &'a dyn Fn(usize) -> bool,
    ) -> Self {
        Self { words, role, me, alive }
    }

    fn slots(self) -> &'a [AtomicU64] {
        &self.words.control.watch.of(self.role)[..]
    }

    /// The words of the bitmap of long sleepers that have bits for this ring's records.
    fn bits(self) -> impl Iterator<Item = &'a AtomicU64> {
        let used = self.words.owners.len().div_ceil(64);
        self.words.control.long_sleepers.of(self.role).iter().take(used)
    }

    /// Some end of this role sleeps long, or is about to. (Or it has died, or a peer lies.)
    fn some_sleep_long(self) -> bool {
        self.bits().any(|bits| bits.load(Relaxed) != 0) // Relaxed: V2 orders it
    }

    /// Clears the bits of ends that are gone: they would be handed to again and again.
    #[cold]
    fn forget_the_dead(self) {
        for (record, owner) in self.words.owners.iter().enumerate() {
            let (word, bit) = place(record);
            // Relaxed: whether to ask.
            let set = self.bits().nth(word).is_some_and(|bits| bits.load(Relaxed) & bit != 0);
            let sits = || matches!(table::owner(owner), Some((_, role)) if role == self.role);
            if set && !(sits() && (self.alive)(record)) {
                forget(self.words, self.role, record);
            }
        }
    }

    /// This is the name of an end that is gone; or of none that could be here.
    fn is_dead(self, name: Name) -> bool {
        let Some(owner) = self.words.owners.get(name.record()) else { return true };
        let sits = table::owner(owner).is_some_and(|(owner, _)| name.names(owner));
        !sits || name.role() != Some(self.role) || !(self.alive)(name.record())
    }
}

/// Where a record's bit is: which word, and which bit in it.
fn place(record: usize) -> (usize, u64) {
    (record / 64, 1 << (record % 64))
}

/// An end that has died sleeps no more. To be called before its record is freed.
pub(crate) fn forget(words: &Words, role: Role, record: usize) {
    let (word, bit) = place(record);
    // Relaxed, both: the bit means nothing but itself, and the dead do not set it again.
    if let Some(bits) = words.control.long_sleepers.of(role).get(word)
        && bits.load(Relaxed) & bit != 0
    {
        bits.fetch_and(!bit, Relaxed);
    }
}

/// The part that one wait takes in the watch. Whoever has begun one [ends](Self::end) it.
pub(crate) struct Shift<'a> {
    watch: Watch<'a>,
    word: WakeWord<'a>,
    slot: Option<usize>,
    long: bool,
    /// Whether it has asked, in this wait, if there is a watch at all.
    asked: bool,
}

impl<'a> Shift<'a> {
    /// For a wait of an end that sleeps at `word`.
    pub(crate) fn begin(watch: Watch<'a>, word: WakeWord<'a>) -> Self {
        Self { watch, word, slot: None, long: false, asked: false }
    }

    /// Before each sleep: after the announcement, and before the look. `true`: the sleep is a long
    /// one.
    #[cold]
    #[inline(never)]
    pub(crate) fn sleeps_long(&mut self) -> bool {
        if self.holds_slot() || self.takes_slot() {
            self.clear_bit();
            return false;
        }
        self.set_bit();
        fence(SeqCst); // V1 ↔ V2: the bit and the announcement before the slots
        let takes = self.takes_slot() || {
            // Once in a call: the names may all be those of dead ends.
            !std::mem::replace(&mut self.asked, true)
                && self.look_after_watchers(false)
                && self.takes_slot()
        };
        if takes {
            self.clear_bit();
        }
        !takes
    }

    /// At a liveness check that ended no wait: looks after the others of the watch. `true`: there
    /// is a slot for this end, which has none.
    #[cold]
    #[inline(never)]
    pub(crate) fn check(&mut self) -> bool {
        // An end without a slot comes here after a long sleep, so it asks after all.
        let some_free = self.look_after_watchers(self.slot.is_none());
        if some_free && self.slot.is_some() && self.watch.some_sleep_long() {
            self.watch.forget_the_dead();
            self.hand_over();
        }
        some_free && self.slot.is_none()
    }

    /// The wait ends.
    #[cold]
    #[inline(never)]
    pub(crate) fn end(mut self) {
        self.clear_bit();
        if let Some(slot) = self.slot {
            // Relaxed: V2 follows. If it fails, a peer lies, or takes this end for dead.
            let slot = &self.watch.slots()[slot];
            let _ = slot.compare_exchange(self.watch.me.0, 0, Relaxed, Relaxed);
            self.hand_over();
        }
    }

    /// Wakes one that sleeps long, if there is one, for a slot that is free. This end's own bit is
    /// clear.
    fn hand_over(&self) {
        fence(SeqCst); // V2 ↔ V1: the slot before the bits
        if self.watch.some_sleep_long() {
            self.word.hand_over();
        }
    }

    /// Has a slot, and nobody has cleared it.
    fn holds_slot(&mut self) -> bool {
        let Watch { me, .. } = self.watch;
        // Relaxed: only this end stores its name.
        self.slot = self.slot.filter(|slot| self.watch.slots()[*slot].load(Relaxed) == me.0);
        self.slot.is_some()
    }

    fn takes_slot(&mut self) -> bool {
        let Watch { me, .. } = self.watch;
        self.slot = self.watch.slots().iter().position(|slot| {
            // Relaxed: whether it is worth a try. One's own name is a slot of one's own.
            let found = slot.load(Relaxed);
            // V3 → V4: the record of whom it names has been taken.
            let take = || slot.compare_exchange(0, me.0, Release, Relaxed).is_ok();
            found == me.0 || found == 0 && take()
        });
        self.slot.is_some()
    }

    /// Asks after those whom it is this end's turn to ask after, and clears the slots of the dead.
    /// `true`: some slot is free then.
    fn look_after_watchers(&self, all: bool) -> bool {
        let Watch { me, .. } = self.watch;
        let mut some_free = false;
        let mut first = None;
        for slot in self.watch.slots() {
            let name = slot.load(Acquire); // V4 ← V3
            if name == 0 {
                some_free = true;
                continue;
            }
            let is_first = first.is_none();
            let first = *first.get_or_insert(name);
            let asks = name != me.0 && (all || is_first || first == me.0);
            if asks && self.watch.is_dead(Name(name)) {
                // Relaxed: whoever takes the slot asks nothing of the dead. If it fails, another
                // was faster.
                let _ = slot.compare_exchange(name, 0, Relaxed, Relaxed);
                some_free = true;
            }
        }
        some_free
    }

    fn set_bit(&mut self) {
        let (word, bit) = place(self.watch.me.record());
        if let Some(bits) = self.watch.bits().nth(word) {
            bits.fetch_or(bit, Relaxed); // Relaxed: V1 follows
        }
        self.long = true;
    }

    fn clear_bit(&mut self) {
        if std::mem::take(&mut self.long) {
            forget(self.watch.words, self.watch.role, self.watch.me.record());
        }
    }
}
