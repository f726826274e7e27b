//! Whose turn it is to have much: a sender that waits for many slots in a row, while others, that
//! need few, take each as it becomes free.
//!
//! Messages of one ring differ in length. A long one needs as many free granules in a row as it has,
//! and what is free in a row seldom grows where others send short ones: it would wait for as long as
//! they do that. So a sender that has *starved* takes the turn: others stand back until it has had
//! its room.
//!
//! ```text
//! a sender that waits for more than one slot          other senders, before each claim
//!   full look, in vain: a lap has been sent             the turn is nobody's, or mine: claim
//!   since it began to wait, or took a turn?             it was ignored before: claim
//!   the word: 0, ignored or mine -> my turn             it is another's: as if the ring were full
//!   … waits on …
//! whatever ends its wait:
//!   the word: my turn -> 0, wake all senders          at each liveness check:
//!                                                       the same turn as at the last one: ignore it
//! ```
//!
//! **A courtesy, no lock.** Nobody's claim relies on it: who stands back is no more than a sender that
//! is slow, and one that claims all the same is no more than one that was faster. So the word is read
//! and stored Relaxed.
//!
//! **No wake is lost.** Who stands back may go to sleep, and then depends on whoever gives the turn
//! back as on one that publishes. That one changes the word, and then moves the epoch of the senders'
//! wake word and wakes all, as after a change of the endpoint table (W4 → W1,
//! [`word`](super::word)): a sleeper announced itself before that, and is refused its sleep or woken;
//! or after, and sees in its look that the turn is nobody's. An end takes the turn but once in a lap
//! of the ring, so that waking all does not count.
//!
//! But one that stands back may be woken for a slot that another could have, which ignores the turn, or
//! came for a single slot before and is asleep. It leaves the slot where it is, and passes no wake on:
//! that would go round among those who stand back. At its next check it prompts another.
//!
//! **Who dies with the turn** is found at the next check of one that stands back, whose look comes
//! after that. Others who sleep look again after an interval, as the watch sees to. **Who is stopped**
//! with it, or lives on in another way, holds up others for two intervals at the most: each ignores a
//! turn that it finds at two checks in a row, and one that starves itself takes over what it ignores.
//! That happens also to one that waits on, where receivers have stood still for so long: once others
//! have passed it by for another lap, it takes the next turn, also if it has lost the last to another.
//! A turn is never the same twice (beside the record's number it has the tail, which is a lap further
//! at an end's next turn, and at that of whoever has the record after it), so none is ignored for an
//! earlier one.
//!
//! **What is promised.** A sender of a message that fits waits for a lap of the ring, and then for as
//! long as receivers take to free as much as it needs, while those senders stand back that look. A
//! sender in the midst of a claim when the turn is taken does not, nor do those that ignore it. Who
//! only tries (`try_send`) never takes the turn.
//!
//! A hostile peer can store any word here: senders stand back for two intervals for each that it
//! stores.

use super::word::WakeWord;
use crate::peers::reap::{Life, Liveness};
use crate::peers::table::Role;
use crate::ring::control::{Control, MAX_ENDPOINTS};
use crate::sync::Ordering::Relaxed;

/// Bits of the word that name the record, from 1 on; the others are the tail's when it was taken.
const RECORD_BITS: u32 = 16;

/// What one sender knows of the turn.
#[derive(Debug, Default)]
pub(crate) struct Precedence {
    /// The tail when this end's wait for many slots began, or when it last took a turn in it.
    waits_since: Option<u64>,
    /// This end's turn, which stands in the word unless another has taken over; 0: it has none.
    mine: u64,
    /// The turn at the last liveness check.
    at_check: u64,
    /// One that it found at two checks in a row.
    ignored: u64,
}

impl Precedence {
    /// It is another's turn.
    #[inline(always)]
    pub(crate) fn stands_back(&self, control: &Control) -> bool {
        // Relaxed, here and below: see the module's opening.
        let turn = control.turns.senders.turn.load(Relaxed);
        turn != 0 && turn != self.mine && turn != self.ignored
    }

    /// The end in `record` waits for several slots, and has looked for them in vain: takes the turn
    /// if others have had as many as there are meanwhile.
    #[cold]
    pub(crate) fn waits_in_vain(&mut self, control: &Control, record: usize, capacity: u64) {
        let tail = control.tail.at.load(Relaxed);
        let since = *self.waits_since.get_or_insert(tail);
        if tail.wrapping_sub(since) < capacity {
            return;
        }
        let mine = tail << RECORD_BITS | (record as u64 + 1);
        let turn = &control.turns.senders.turn;
        // Its own: others ignore it, as they have passed this end by for another lap.
        let free = [0, self.ignored, self.mine];
        let found = turn.load(Relaxed);
        if free.contains(&found) && turn.compare_exchange(found, mine, Relaxed, Relaxed).is_ok() {
            self.mine = mine;
            self.waits_since = Some(tail);
        }
    }

    /// This end makes a liveness check.
    #[cold]
    pub(crate) fn check(&mut self, control: &Control, liveness: &impl Liveness) {
        let word = &control.turns.senders.turn;
        let turn = word.load(Relaxed);
        if !self.stands_back(control) {
            return;
        }
        if turn == self.at_check {
            self.ignored = turn;
        }
        self.at_check = turn;
        let record = (turn as usize & ((1 << RECORD_BITS) - 1)).wrapping_sub(1);
        if record >= MAX_ENDPOINTS as usize || liveness.alive(Role::Sender, record) == Life::Dead {
            // Others find it, too, or see it cleared at their next look.
            let _ = word.compare_exchange(turn, 0, Relaxed, Relaxed);
        }
    }

    /// This end's wait is over: it gives back its turn.
    #[inline(always)]
    pub(crate) fn waited(&mut self, control: &Control) {
        self.waits_since = None;
        if self.mine != 0 {
            self.give_back(control);
        }
    }

    #[cold]
    fn give_back(&mut self, control: &Control) {
        let mine = std::mem::take(&mut self.mine);
        let turn = &control.turns.senders.turn;
        // If that fails, another has taken over.
        if turn.compare_exchange(mine, 0, Relaxed, Relaxed).is_ok() {
            WakeWord::of(control, Role::Sender).wake_all(); // W4 → W1: the turn is nobody's
        }
    }
}
