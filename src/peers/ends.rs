//! What an end knows of the opposite ends: whether one is there, whether one ever was, and how they
//! went.
//!
//! [`Ends`] turns the endpoint table ([`table`](super::table)) into the answers that the pipe
//! needs. It scans the table again only when `changes` has moved: in flow, that is one load of a
//! line that nobody writes.
//!
//! # Whom an end has met
//!
//! "Gone" is said of ends that were there. An end has *seen* an opposite end if one has lived at
//! some moment since it began to attach. Nobody is missed who saw this end in the table:
//!
//! ```text
//! this end                                     the opposite end
//!   1  reads the arrivals (the base)             takes its lock, then its record, counts its arrival
//!   2  asks whether one lives                    sees this end in the table
//!   3  takes its record                          leaves, or dies
//!   4  reads `changes`, then the arrivals
//!   5  asks whether one lives
//! ```
//!
//! It saw this end, so it was alive after 3. If it is among the base, it had its lock and its
//! record before 1 (A4 → A5), so it lived at 2, and the question finds it. If not, it arrived after
//! 1: by 4 the arrivals differ from the base, or it arrived after 4, which moves `changes` on, so
//! the next look scans, and there the arrivals differ.
//!
//! A receiver has *met* the senders, too, if they have come and gone and nobody was told of their
//! end-of-file yet ([`endings`](super::endings)); and any end that [requires](Ends::require) them.
//!
//! # Who is there
//!
//! A scan reads the arrivals first, then the table: whoever is counted was in the table before, so
//! who is not found there has left, and everything it had stored is visible (A3). The dead are
//! found in the table until they are reaped. If none has lived since this end began to attach, all
//! that it finds are dead; later it takes a liveness check to know
//! ([`opposite_gone`](Ends::opposite_gone)).

use super::endings::{self, Ending, Record};
use super::table::{Role, any_abandoned, count};
use crate::ring::control::Words;
use crate::sync::Ordering::{Acquire, Relaxed};

#[cfg(all(test, not(loom)))]
mod tests;

/// How often an end looks who is there before it is told that nobody is: a look is long beside a
/// scribbler.
const TRIES: u32 = 2;

/// What an end that is about to attach has found out before it takes its record: steps 1 and 2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    told: endings::Records,
    arrivals: u64,
    alive: bool,
    /// Of a sender that found all receivers gone: how many of them had died. Nobody sends a stream
    /// to those: what became of them is history.
    history: Option<u32>,
}

/// See the module's opening.
#[derive(Debug)]
pub(crate) struct Ends {
    opposite: Role,
    /// `changes` at the last scan; `None` forces the next.
    scanned_at: Option<u64>,
    /// The same if a scan would find no change in whether the opposite ends are there: what the
    /// path of every message compares with. [`NEVER`](Self::NEVER) otherwise.
    uneventful_at: u64,
    /// One of those that have been seen is there.
    present: bool,
    /// How many had arrived before this end took its record.
    base: u64,
    /// And by the last scan.
    arrived: u64,
    /// One has lived since this end began to attach.
    seen: bool,
    /// Or they count as met all the same.
    met: bool,
    /// An abandoned claim was seen since the last time of asking.
    abandoned: bool,
    /// How many of them had died, by the record that this end compares with.
    died: u32,
    /// What others had been told last when this end attached.
    last: Record,
    /// How many had died by what they had been told before that.
    died_before: u32,
    /// They count as met even if none came.
    required: bool,
    /// What this end was told last, and by which record.
    told: Option<(Record, Ending)>,
}

impl Ends {
    /// More changes than there will ever be. (A peer that stores this number is taken for present.)
    const NEVER: u64 = u64::MAX;

    /// For an end of `role` that is about to take its record. `peer_alive`: some opposite end is in
    /// the endpoint table and is alive.
    pub(crate) fn before(words: &Words, role: Role, peer_alive: impl Fn() -> bool) -> Before {
        let opposite = role.opposite();
        let mut tries = 0..TRIES;
        loop {
            let told = endings::read(words.control.endings.told.of(opposite));
            let arrivals = opposite.arrivals(&words.control).load(Acquire); // A5 ← A4
            let alive = peer_alive();
            let finds_none = role == Role::Sender && !alive;
            let gone = if finds_none { record(words, opposite, arrivals) } else { None };
            // Otherwise one has come and gone meanwhile: who of those had died before?
            if !finds_none || gone.is_some() || tries.next().is_none() {
                return Before { told, arrivals, alive, history: gone.map(|record| record.died) };
            }
        }
    }

    /// For an end of `role` that has just taken its record. `peer_alive`: as for
    /// [`before`](Self::before).
    pub(crate) fn attach(
        words: &Words,
        role: Role,
        before: Before,
        peer_alive: impl FnOnce() -> bool,
    ) -> Self {
        let opposite = role.opposite();
        // Before the question: whoever attaches after it moves `changes` on, and is scanned for.
        let changes = words.control.arrivals.changes.load(Acquire); // A7 ← A6
        let arrived = opposite.arrivals(&words.control).load(Acquire); // A5 ← A4
        let alive = before.alive || peer_alive();
        let seen = alive || arrived != before.arrivals;
        let last = before.told.last;
        let untold = Record::of(arrived, 0).is_after(last);
        let mut ends = Self {
            opposite,
            // If nobody opposite lives, whoever is in the endpoint table is dead and no peer of
            // ours.
            scanned_at: (!alive).then_some(changes),
            uneventful_at: Self::NEVER,
            present: false,
            base: before.arrivals,
            arrived,
            seen,
            met: seen || role == Role::Receiver && untold,
            abandoned: any_abandoned(words), // there may be no scan for long
            died: before.history.unwrap_or(last.died),
            last,
            died_before: before.history.unwrap_or(before.told.before.died),
            required: false,
            told: None,
        };
        ends.sum_up();
        ends
    }

    /// Takes over what another end of this role knows, of which this one is a clone.
    pub(crate) fn learn(&mut self, original: &Self) {
        self.base = original.base;
        self.seen |= original.seen;
        self.met |= original.met;
        // An original that was never asked may know less than the region tells.
        if original.told.is_some() || !self.last.is_after(original.last) {
            self.died = original.died;
        }
        self.required |= original.required;
        self.told = original.told;
        self.scanned_at = None; // the base is another
        self.sum_up();
    }

    /// After any change of what it is made of.
    fn sum_up(&mut self) {
        self.uneventful_at = match self.scanned_at {
            Some(changes) if self.present || !self.met => changes,
            _ => Self::NEVER,
        };
    }

    /// Looks at the endpoint table if it has changed.
    #[inline]
    fn look(&mut self, words: &Words) {
        let changes = words.control.arrivals.changes.load(Acquire); // A7 ← A6
        if self.scanned_at != Some(changes) {
            self.scan(words, changes);
            self.sum_up();
        }
    }

    /// The endpoint table is as the last look found it.
    pub(crate) fn up_to_date(&self, words: &Words) -> bool {
        // Relaxed: an end that acquired the word of a record that was left (A3) sees by it, as in
        // `scan`, that a successor had come; and nothing is read on the strength of it.
        self.scanned_at == Some(words.control.arrivals.changes.load(Relaxed))
    }

    #[cold]
    fn scan(&mut self, words: &Words, mut changes: u64) {
        // Bounded: honest ends come and go more slowly than we look.
        for _ in 0..crate::ring::PATIENCE {
            // First the arrivals, then the records: see the module's opening.
            self.arrived = self.opposite.arrivals(&words.control).load(Acquire); // A5 ← A4
            self.seen |= self.arrived != self.base;
            self.met |= self.seen;
            // Those that are there though none has lived since this end began to attach are dead.
            self.present = self.seen && count(words, self.opposite) > 0;
            self.abandoned |= any_abandoned(words);
            self.scanned_at = Some(changes);
            if self.present {
                return;
            }
            // Records are read one by one: an end may have taken one that was read already, and its
            // predecessor then left one that was not. A reader that saw the record left (A3 ← A2)
            // sees by `changes` that the successor had come. So nobody is there only if nothing has
            // changed.
            let now = words.control.arrivals.changes.load(Acquire); // A7 ← A6
            if now == changes {
                return;
            }
            changes = now;
        }
    }

    /// An opposite end is attached.
    pub(crate) fn present(&mut self, words: &Words) -> bool {
        self.look(words);
        self.present
    }

    /// The opposite ends have been met, and none is there now.
    #[inline]
    pub(crate) fn gone(&mut self, words: &Words) -> bool {
        self.look(words);
        self.met && !self.present
    }

    /// None has come or gone since the last look, and by that the opposite ends are not gone.
    #[inline(always)]
    pub(crate) fn still_there(&self, words: &Words) -> bool {
        // Relaxed: nothing is read on the strength of it. It is the number that the last scan
        // acquired.
        words.control.arrivals.changes.load(Relaxed) == self.uneventful_at
    }

    /// The opposite ends have been met, as of the last look.
    pub(crate) fn met(&self) -> bool {
        self.met
    }

    /// The locks say that nobody opposite is alive: counts them as gone until the endpoint table
    /// changes.
    pub(crate) fn opposite_gone(&mut self) {
        self.present = false;
        self.sum_up();
    }

    /// Somebody has left an abandoned claim since the last time of asking.
    pub(crate) fn take_abandoned(&mut self) -> bool {
        std::mem::take(&mut self.abandoned)
    }

    /// The state of the endpoint table that the last look was at.
    pub(crate) fn scanned_at(&self) -> Option<u64> {
        self.scanned_at
    }

    /// Counts a missing peer as gone from the start, rather than waiting for the first.
    pub(crate) fn require(&mut self) {
        self.met = true;
        self.required = true;
        self.sum_up();
    }

    /// Somebody has called [`require`](Self::require), which cannot be undone.
    pub(crate) fn requires(&self) -> bool {
        self.required
    }

    /// The opposite ends are gone, and this end is about to be told so: finds out how they went.
    /// `for_all`: the next end of this role need not be told again; asked unless others were told
    /// already. `false`: one has come meanwhile, be it that it has gone again. Then a receiver must
    /// look at the ring once more.
    #[cold]
    pub(crate) fn told_closed(&mut self, words: &Words, for_all: impl Fn() -> bool) -> bool {
        let told = words.control.endings.told.of(self.opposite);
        for _ in 0..TRIES {
            if let Some(now) = record(words, self.opposite, self.arrived) {
                if self.told.is_none_or(|(before, _)| now.is_after(before)) {
                    // Of an end that others were told of before this end attached.
                    let again = self.required && self.told.is_none() && !now.is_after(self.last);
                    let base = if again { self.died_before } else { self.died };
                    self.told = Some((now, now.since(base)));
                    self.died = now.died;
                }
                if endings::is_news(told, now) && for_all() {
                    endings::tell(told, now);
                }
                return true;
            }
            self.scanned_at = None; // it may be in the table, and not in `changes` yet
            if !self.gone(words) || self.opposite == Role::Sender {
                return false;
            }
        }
        false // others come and go all the time, or somebody scribbles
    }

    /// For the models: what this end was told last.
    #[cfg(loom)]
    pub(crate) fn ending_told(&self) -> Option<Ending> {
        self.told.map(|(_, ending)| ending)
    }

    /// How the opposite ends went, if this end was told that they are gone and none has come since.
    pub(crate) fn ending(&self, words: &Words) -> Option<Ending> {
        let (record, ending) = self.told?;
        // Relaxed: a number, compared with one that this end has seen.
        let arrived = self.opposite.arrivals(&words.control).load(Relaxed);
        (record.arrived == arrived as u32).then_some(ending)
    }
}

/// How many opposite ends had `arrived`, of whom none is there any more, and how many of them died.
/// `None`: another has come since, and may be among those that have closed.
#[cold]
fn record(words: &Words, opposite: Role, arrived: u64) -> Option<Record> {
    // E2 ← E1: an end that has closed is seen to have arrived (A4).
    let closed = words.control.endings.closed.of(opposite).load(Acquire);
    // Relaxed: ordered by E2.
    let now = opposite.arrivals(&words.control).load(Relaxed);
    (now == arrived).then(|| Record::of(arrived, closed))
}
