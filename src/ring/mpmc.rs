//! Many senders, many receivers: Vyukov's bounded queue, with claims that survive their owner.
//!
//! # The queue
//!
//! `tail` is the next position to write, `head` the next to read; each is claimed by moving it
//! forward with a compare-and-swap. Whether the slot of a claimed position may be touched is told
//! by its stamp, a lap number and a state in one word ([`Stamp`]):
//!
//! ```text
//!        sender: S2 claim, copy in, S3                 receiver: R2 claim, copy out, R3
//! FREE(lap) ──────────────────────────► PUBLISHED(lap) ─────────────────────────► FREE(lap+1)
//!     └─────── given up instead ──────► SKIPPED(lap) ────── passed over ──────────────┘
//! ```
//!
//! A stamp only moves forward, by one writer at a time: the owner of the claim. A sender claims `p`
//! only after it has seen `FREE(lap of p)` (S1); since stamps only move when `p` is claimed, and
//! its compare-and-swap proves that nobody claimed `p` in between, the slot is still free when it
//! has won. Likewise a receiver with `PUBLISHED` (R1, R2). So a slot has one owner between claim
//! and hand-over, and S3→R1 and R3→S1 order the copies. Laps come from 64-bit positions, so a stamp
//! never returns to an old value: a sender that slept for a year fails its compare-and-swap rather
//! than claiming someone else's slot. All-zero memory is `FREE(0)`: an empty ring.
//!
//! A stamp seen *ahead* of the position's lap means the position was claimed before; the stamp's
//! writer had moved the index before it stored the stamp, so reading the index again must show it
//! moved (S1/R1 acquire what S3/R3 released). If it does not, the region is corrupt.
//!
//! A stamp seen *behind* is at most one lap behind: whoever claimed its slot a lap ago had seen the
//! stamp of that lap (S1/R1) and then moved the index (S2/R2 release), and every later move of the
//! index is a compare-and-swap, which carries that on to whoever loads the index (S0/R0 acquire).
//! So one lap behind means occupied, and more means corrupt.
//!
//! # The intents
//!
//! A claim must not die with its owner: positions are handed over in order, so an unpublished `p`
//! would stop the ring for ever. Before the compare-and-swap an endpoint stores what it is about to
//! claim in its own record (`Intent`: low bits of the position, and a count), and it clears the
//! record only after its last store to a claimed slot. Hence the invariant that recovery rests on:
//!
//! > While `p` is claimed and not handed over, its owner's intent covers `p`, and whoever sees the
//! > index beyond `p` (S2, R2 release; recovery acquires) sees that intent or a later one.
//!
//! An intent that covers `p` may also belong to a *loser* of the race, until its next step. That is
//! harmless: it delays, for as long as the loser lives, the answer that `p`'s owner is dead. An
//! endpoint clears its intent before it returns or sleeps, so only one stopped in mid-call does so.
//!
//! # Runs, holes, and what is given back
//!
//! A batch claims a run of positions with one compare-and-swap and hands each over by its own
//! stamp. Senders claim only as many slots as are free in a row; receivers as many as are published
//! in a row, holes (SKIPPED) included, which are passed over and freed. An index never moves back,
//! so a receiver that gives items back keeps them claimed for itself and delivers them first on its
//! next call ([`RecvCursor::held`]). Items that it has adopted it delivers one at a time, and
//! counts that ([`deliveries`](super::deliveries)).
//!
//! What is different where an item takes several slots in a row, [`granules`] says.
//!
//! Progress: a claim is lock-free (a failed compare-and-swap is another's success), hand-over is
//! wait-free. FIFO order means that a receiver waits for the *next* position: a sender that is
//! stopped (`SIGSTOP`, a debugger) between claim and publish holds up the receivers, as a stopped
//! receiver in mid-call holds up senders one lap later.
//!
//! # Why a slot that is held is not passed over
//!
//! A receiver that keeps a claim for long stops all senders a lap later, though the slots behind it
//! are free. A sender that comes to such a slot could skip its position, and go on. That would take
//!
//! * a stamp with two writers. The holder frees the slot by a plain store (R3). If a sender may mark
//!   the slot meanwhile, that store would undo the mark, and receivers would wait at the skipped
//!   position for ever. So every release would be a read-modify-write;
//! * a mark that counts, since the slot may be held for many laps, and each sender that comes there
//!   skips one more position. Receivers that come to those positions must find in a stamp of an old
//!   lap that they were skipped, how many, and by whom;
//! * another recovery. Now a stamp alone says whether a dead receiver had released a slot, and one
//!   intent says whose it was. Then a position that is passed over would have no stamp, and the slot
//!   of a dead holder would have to be freed for the lap after all that were skipped, by an adopter
//!   that may die, too. End-of-file (`unpublished`) and the rules for damage have to know all that.
//!
//! What it would win is bounded: each long job takes a slot out of the ring for as long as it takes,
//! and as many of them as there are slots stop it all the same. More slots win as much and cost
//! memory alone. So users are told to have as many as items come while one is held.
//!
//! Source: Dmitry Vyukov, "Bounded MPMC queue" (2010), with 64-bit laps. The intents are ours.

use crossbeam_utils::Backoff;

use super::claims::{RecvClaims, SendClaims};
use super::deliveries::Adopted;
use super::granules;
use super::intent::{INTENT_MAX_COUNT, NO_INTENT, intent, positions};
use super::looks::{Looked, SHORT_RUN, after_losing, enough, holds_at, look, room, stopped_by};
use super::mem::{Mem, Shape, View};
use super::recovery::{self, Alive, Remains};
use super::stamp::Stamp;
use super::{Kind, PATIENCE, RecvCursor, Refused, Run, SendCursor, before};
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// A sender's private view.
#[derive(Debug)]
pub struct Sender {
    /// Its endpoint record.
    record: usize,
    /// The claim that has not been handed over yet; no slots if there is none.
    claimed: Run,
    /// Where the last run ended, unless a claim has failed since.
    goes_on_at: Option<u64>,
}

impl Sender {
    fn done<K>(&self, mem: &Mem<K>) {
        mem.words.records[self.record].intent.store(NO_INTENT, Release); // S4 → X2: the slots' last stores
    }
}

impl SendCursor for Sender {
    const MAX_RUN: u64 = INTENT_MAX_COUNT;

    fn attach<K: Kind>(_: &Mem<K>, record: usize) -> Result<Self, Refused> {
        Ok(Self { record, claimed: Run::NONE, goes_on_at: None })
    }

    #[inline(always)]
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused> {
        debug_assert!(!self.forgotten());
        let capacity = mem.slots.capacity();
        let tail = &mem.words.control.tail.at;
        let mut outcome = Refused::Contended;
        let (mut looks, mut most) = (0, max);
        let backoff = Backoff::new();
        for _ in 0..PATIENCE {
            if enough(looks, max, capacity) {
                break;
            }
            // A guess, checked by the compare-and-swap.
            let at = tail.load(Acquire); // S0 ← S2: no stamp older than the lap before
            let (slots, next) = if mem.has_messages() {
                granules::room(&mem, at, most)
            } else {
                room(mem, at, most)
            };
            looks += slots;
            if slots >= need {
                // S2a → X2: what this end handed over before.
                mem.words.records[self.record].intent.store(intent(at, slots), Release);
                // S2 → X1: the intent; S2 → S0: the stamps seen. Relaxed on failure: a new guess.
                match tail.compare_exchange_weak(at, at.wrapping_add(slots), Release, Relaxed) {
                    Ok(_) => {
                        let run = Run { at, slots, items: slots, again: 0 };
                        self.claimed = run;
                        return Ok(run);
                    }
                    Err(now) => {
                        most = after_losing(at, now, slots, need, most);
                        backoff.spin();
                        continue;
                    }
                }
            }
            // Too few in a row. If the tail has moved, that says nothing. Relaxed: coherence with
            // what S1 acquired shows it (see "ahead" in the module's opening).
            if tail.load(Relaxed) != at {
                continue;
            }
            let ahead = next.laps_ahead(at.wrapping_add(slots), capacity);
            outcome = stopped_by(slots, ahead == -1); // still occupied since the last lap
            break;
        }
        self.goes_on_at = None;
        self.done(&mem);
        Err(outcome)
    }

    /// [`claim`](Self::claim) for one slot, without a word on why there is none.
    #[inline(always)]
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run> {
        let tail = &mem.words.control.tail.at;
        let backoff = Backoff::new();
        for tries in 0..PATIENCE {
            // Relaxed, here and on failure: a guess, checked by the compare-and-swap. A stamp that
            // is laps old is but another one that is not the one wanted.
            let at = tail.load(Relaxed);
            let stamp = Stamp(mem.stamp(at).load(Acquire)); // S1 ← R3: the last value was read
            if stamp != Stamp::free(at, mem.slots.capacity()) {
                if tries == 0 {
                    return None; // nothing was intended
                }
                break;
            }
            // S2a → X2: what this end handed over before.
            mem.words.records[self.record].intent.store(intent(at, 1), Release);
            // S2 → X1: the intent; S2 → S0: the stamps seen.
            match tail.compare_exchange_weak(at, at.wrapping_add(1), Release, Relaxed) {
                Ok(_) => {
                    let run = Run { at, slots: 1, items: 1, again: 0 };
                    self.claimed = run;
                    return Some(run);
                }
                Err(_) => backoff.spin(),
            }
        }
        self.done(&mem);
        None
    }

    #[inline(always)]
    fn publish(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64) {
        debug_assert!(run == self.claimed && items <= run.slots);
        if mem.has_messages() {
            // The first stamp is the last to be stored: with it all of the run is handed over.
            if items < run.slots {
                self.give_up(&mem, run, items);
            }
            granules::publish(mem, run.at, items);
        } else {
            let capacity = mem.slots.capacity();
            for position in positions(run.at, 0..items) {
                let published = Stamp::published(position, capacity);
                mem.stamp(position).store(published.0, Release); // S3 → R1: the value is written
            }
            if items < run.slots {
                self.give_up(&mem, run, items);
            }
        }
        self.claimed.slots = 0;
        self.done(&mem);
        self.ask_ahead(mem, run);
    }
}

impl SendClaims for Sender {
    fn settle<K: Kind>(mem: &Mem<K>, intent: u64, alive: &impl Alive) -> Remains {
        recovery::settle_sender(mem, intent, alive)
    }

    fn forgotten(&self) -> bool {
        self.claimed.slots > 0
    }

    fn close<K: Kind>(&mut self, mem: &Mem<K>) {
        if self.claimed.slots > 0 {
            self.publish(mem.kept(), self.claimed, 0);
        }
    }

    fn ready<K: Kind>(mem: &Mem<K>) -> bool {
        let capacity = mem.slots.capacity();
        // S6 ← S3: whoever has used the slot had moved the tail.
        let free = |at| mem.slots.stamp(at).load(Acquire) == Stamp::free(at, capacity).0;
        holds_at(&mem.words.control.tail.at, free)
    }
}

impl Sender {
    /// Asks for the lines of a slot that comes soon after a run.
    #[inline(always)]
    fn ask_ahead(&mut self, mem: View<'_, impl Shape>, run: Run) {
        let (end, ahead) = (run.at.wrapping_add(run.slots), mem.slots.ahead());
        // Not out of another sender's hands, and hardly out of a receiver's: if it goes on where it
        // left off, and did not find the ring full meanwhile.
        let goes_on = self.goes_on_at.replace(end) == Some(run.at);
        if 2 * run.slots + 4 * ahead <= mem.slots.capacity() && goes_on {
            let from = if run.slots > ahead { 0 } else { ahead };
            mem.prefetch_to_write(end.wrapping_add(from), run.slots);
        }
    }

    #[cold]
    fn give_up<K: Kind>(&self, mem: &Mem<K>, run: Run, items: u64) {
        let capacity = mem.slots.capacity();
        for position in positions(run.at, items..run.slots) {
            let skipped = Stamp::skipped(position, capacity);
            mem.slots.stamp(position).store(skipped.0, Release); // S3 → R1: nothing to read here
        }
        let tally = &mem.words.control.tally;
        tally.skipped.fetch_add(run.slots - items, Relaxed); // a statistic
    }
}

/// A receiver's private view.
#[derive(Debug)]
pub struct Receiver {
    /// Its endpoint record.
    record: usize,
    /// What it has claimed and not released; no slots if nothing. `again` is 0 for what it claimed
    /// itself; if it has adopted the claim, all its items.
    held: Run,
    /// In the latter case, the first of them.
    adopted: Adopted,
    /// Holes freed since the last time of asking.
    skipped: u64,
}

impl Receiver {
    fn done<K>(&self, mem: &Mem<K>) {
        mem.words.records[self.record].intent.store(NO_INTENT, Release); // R4 → X2: the slots' last stores
    }

    /// What it holds comes first: all of it, if it gave that back itself, or of an adopted claim
    /// the first item.
    #[cold]
    fn claim_held<K: Kind>(&mut self, mem: &Mem<K>, need: u64) -> Result<Run, Refused> {
        let held = self.held;
        if held.again == 0 {
            return if held.items >= need {
                Ok(Run { again: held.items, ..held })
            } else {
                Err(Refused::Held)
            };
        }
        if need > 1 {
            return Err(Refused::Held);
        }
        self.adopted.first(mem, held).ok_or_else(|| {
            // Its items cannot be told from holes any more.
            free(mem.kept(), held.at, held.slots);
            self.skipped += held.slots;
            self.held = Run::NONE;
            self.done(mem);
            Refused::Corrupt
        })
    }

    /// Claims at least `need` items and at most `max`, in no more slots than `longest_at` says for the
    /// position at which it begins, of as many as there can be.
    #[inline(always)]
    fn claim_up_to(
        &mut self,
        mem: View<'_, impl Shape>,
        need: u64,
        max: u64,
        longest_at: impl Fn(u64, u64) -> u64,
    ) -> Result<Run, Refused> {
        if self.held.slots > 0 {
            return self.claim_held(&mem, need);
        }
        let capacity = mem.slots.capacity();
        let head = &mem.words.control.head;
        let mut outcome = Refused::Contended;
        let longest = capacity.min(Self::MAX_RUN);
        let (mut looks, mut most) = (0, max);
        let backoff = Backoff::new();
        for _ in 0..PATIENCE {
            if enough(looks, max, capacity) {
                break;
            }
            // A guess, checked by the compare-and-swap.
            let at = head.load(Acquire); // R0 ← R2: no stamp older than the lap before
            let longest = longest_at(at, longest);
            let found = if mem.has_messages() {
                granules::look(mem, at, most, longest)
            } else {
                look(mem, at, most, longest)
            };
            let Looked { slots, items, next, .. } = found;
            looks += found.looks;
            let only_holes = slots > 0 && items == 0;
            if items >= need || only_holes {
                // R2a → X2: what this end handed over before.
                mem.words.records[self.record].intent.store(intent(at, slots), Release);
                // R2 → X1: the intent; R2 → R0: the stamps seen. Relaxed on failure: a new guess.
                match head.compare_exchange_weak(at, at.wrapping_add(slots), Release, Relaxed) {
                    Ok(_) if only_holes => {
                        free(mem, at, slots);
                        self.skipped += slots;
                        continue;
                    }
                    Ok(_) => {
                        let run = Run { at, slots, items, again: 0 };
                        self.held = run;
                        return Ok(run);
                    }
                    Err(now) => {
                        most = after_losing(at, now, items, need, most);
                        backoff.spin();
                        continue;
                    }
                }
            }
            // Too few in a row. If the head has moved, that says nothing. Relaxed: coherence with
            // what R1 acquired shows it (see "ahead" in the module's opening).
            if head.load(Relaxed) != at {
                continue;
            }
            if slots == longest {
                outcome = Refused::Fragmented(items);
                break;
            }
            let ahead = next.laps_ahead(at.wrapping_add(slots), capacity);
            // Not published yet in this lap, or not yet released in the one before.
            outcome = stopped_by(slots, ahead == 0 || ahead == -1);
            break;
        }
        self.done(&mem);
        Err(outcome)
    }
}

/// Gives `slots` slots from `at` on to the senders of the next lap: the first of them first.
#[inline(always)]
fn free(mem: View<'_, impl Shape>, at: u64, slots: u64) {
    if mem.has_messages() {
        return granules::free(&mem, at, slots);
    }
    let capacity = mem.slots.capacity();
    for position in positions(at, 0..slots) {
        let free = Stamp::free(position.wrapping_add(capacity), capacity);
        mem.stamp(position).store(free.0, Release); // R3 → S1: the value was read
    }
}

impl RecvCursor for Receiver {
    const MAX_RUN: u64 = INTENT_MAX_COUNT;

    fn attach<K: Kind>(_: &Mem<K>, record: usize) -> Result<Self, Refused> {
        Ok(Self { record, held: Run::NONE, adopted: Adopted::default(), skipped: 0 })
    }

    #[inline(always)]
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused> {
        self.claim_up_to(mem, need, max, |_, longest| longest)
    }

    fn claim_before(
        &mut self,
        mem: View<'_, impl Shape>,
        max: u64,
        end: u64,
    ) -> Result<Run, Refused> {
        let claimed = self.claim_up_to(mem, 1, max, |at, longest| before(at, end).min(longest));
        // All before the end was looked at, and there was none.
        claimed.map_err(|why| match why {
            Refused::Fragmented(_) => Refused::NotReady,
            why => why,
        })
    }

    /// [`claim`](Self::claim) for one item, without a word on why there is none.
    #[inline(always)]
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run> {
        if self.held.slots > 0 {
            return None;
        }
        let head = &mem.words.control.head;
        let backoff = Backoff::new();
        for tries in 0..PATIENCE {
            // Relaxed, here and on failure: a guess, checked by the compare-and-swap. A stamp that
            // is laps old is but another one that is not the one wanted.
            let at = head.load(Relaxed);
            let stamp = Stamp(mem.stamp(at).load(Acquire)); // R1 ← S3: the value is written
            let there = stamp == Stamp::published(at, mem.slots.capacity());
            let whole = if there { granules::whole(&mem, at) } else { None };
            let Some(slots) = whole else {
                if tries == 0 {
                    return None; // nothing was intended
                }
                break;
            };
            // R2a → X2: what this end handed over before.
            mem.words.records[self.record].intent.store(intent(at, slots), Release);
            // R2 → X1: the intent; R2 → R0: the stamps seen.
            match head.compare_exchange_weak(at, at.wrapping_add(slots), Release, Relaxed) {
                Ok(_) => {
                    let run = Run { at, slots, items: 1, again: 0 };
                    self.held = run;
                    return Some(run);
                }
                // The full claim counts how much it looks at.
                Err(_) if slots > SHORT_RUN => break,
                Err(_) => backoff.spin(),
            }
        }
        self.done(&mem);
        None
    }

    fn hand_out<K: Kind>(&mut self, mem: &Mem<K>, _: Run) {
        // That it is claimed the intent says already.
        if self.held.again > 0 {
            self.adopted.hand_out(mem);
        }
    }

    fn redeliveries(&self) -> u32 {
        if self.held.again > 0 { self.adopted.times() } else { 0 }
    }

    #[inline]
    fn items(&self, mem: View<'_, impl Shape>, run: Run) -> impl Iterator<Item = u64> {
        let capacity = mem.slots.capacity();
        positions(run.at, 0..run.slots).filter(move |&at| {
            // Relaxed: the claim acquired this stamp, and it is ours until we free it.
            Stamp(mem.stamp(at).load(Relaxed)).holds_item(at, capacity)
        })
    }

    #[inline]
    fn extent(&self, mem: View<'_, impl Shape>, run: Run, at: u64) -> u64 {
        granules::extent(&mem, at, before(at, run.at.wrapping_add(run.slots)))
    }

    #[inline(always)]
    fn release(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64) {
        debug_assert!(run.at == self.held.at && items <= run.items);
        let slots = if items == run.items {
            run.slots
        } else {
            // Everything before the first item that is kept.
            self.items(mem, run).nth(items as usize).map_or(run.slots, |at| at.wrapping_sub(run.at))
        };
        mem.write_back(run.at, slots);
        free(mem, run.at, slots);
        // What was claimed alone out of an adopted claim is not all of it. (A run that nobody had
        // before is all, and the compiler knows which that is.)
        let held = if run.again > 0 { self.held.slots } else { run.slots };
        if slots == held {
            self.held.slots = 0;
            self.held.items = 0;
            self.done(&mem);
        } else {
            let left = self.held.items - items;
            self.held = Run {
                at: run.at.wrapping_add(slots),
                slots: self.held.slots - slots,
                items: left,
                again: self.held.again.min(left),
            };
        }
    }

    #[inline(always)]
    fn repeats(&self) -> bool {
        self.held.slots > 0
    }

    fn held(&self) -> u64 {
        self.held.items
    }
}

impl RecvClaims for Receiver {
    fn has_claim(&self) -> bool {
        self.held.slots > 0
    }

    fn settle<K: Kind>(mem: &Mem<K>, intent: u64, alive: &impl Alive) -> Remains {
        recovery::settle_receiver(mem, intent, alive)
    }

    fn adopt<K: Kind>(&mut self, mem: &Mem<K>, run: Run) {
        debug_assert!(!self.has_claim());
        recovery::adopt(&mem.words, self.record, run);
        self.held = run;
    }

    fn discard<K: Kind>(mem: &Mem<K>, run: Run) {
        free(mem.kept(), run.at, run.slots);
    }

    fn unpublished<K: Kind>(&self, mem: &Mem<K>) -> bool {
        let capacity = mem.slots.capacity();
        // Relaxed, all: stamps only grow, so one seen to have been handed over was, and one seen
        // too late puts off an answer that is asked for again.
        let at = mem.words.control.head.load(Relaxed);
        let claimed = mem.words.control.tail.at.load(Relaxed).wrapping_sub(at);
        positions(at, 0..claimed.min(capacity)).any(|position| {
            let stamp = Stamp(mem.slots.stamp(position).load(Relaxed));
            // Other states of this lap, and counts, there are not before a claim: a peer that
            // stores one shall not make us leave.
            stamp.laps_ahead(position, capacity) <= 0
                && !stamp.is_handed_over::<K>(position, capacity)
        })
    }

    fn ready<K: Kind>(mem: &Mem<K>) -> bool {
        let capacity = mem.slots.capacity();
        // R6 ← R3: whoever has freed the slot had moved the head. A hole is no item, but whoever
        // passes over it may find one behind.
        let stamp = |at| Stamp(mem.slots.stamp(at).load(Acquire));
        holds_at(&mem.words.control.head, |at| stamp(at).is_handed_over::<K>(at, capacity))
    }

    fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}
