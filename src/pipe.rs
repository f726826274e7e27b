//! A ring with a pipe's manners: when to wait, when to say closed, whom to wake.
//!
//! The algorithms know slots, the endpoint table knows who is there, the wake word knows who
//! sleeps. This puts them together, the same way for every kind of ring, still without a system
//! call of its own: the clock, the spinning and the proof of death come in as [`Pace`] and `alive`.
//!
//! **End-of-file** (receiving) is decided in this order: data; if none, is every sender gone; if
//! so, data again. A sender publishes before it frees its record (A2), so the second look at the
//! data shows all it ever sent. What is claimed but not published keeps the answer open.
//!
//! **Broken pipe** (sending) is decided before data: a value is not put where nobody reads, even if
//! there is room. Until a receiver has come for the first time there is room, as in a FIFO that
//! waits for its reader.
//!
//! Nor is it end-of-file while a receiver that is gone has left claimed items behind: those are
//! taken over first.
//!
//! **Waking.** Who publishes wakes a receiver, who frees wakes a sender. On rings with several ends
//! of a kind, who took something while others of its kind sleep passes the wake on
//! ([`wait::word`](crate::wait::word) argues why).
//!
//! **Liveness check.** An end that has waited for as long as an interval asks who is alive
//! ([`reap`](crate::peers::reap)): the dead lose their records, what they had claimed is settled
//! ([`ring::recovery`](crate::ring::recovery)), and a receiver that asks takes over what a dead one
//! had not released.

use crate::peers::ends::Ends;
use crate::peers::reap::{Findings, Life, Liveness, peer_alive, peer_life};
use crate::peers::table::{Name, Role};
use crate::ring::control::Words;
use crate::ring::mem::Shape;
use crate::ring::{Kind, Refused, Run};
use crate::sync::Ordering::Relaxed;
use crate::wait::watch::Watch;
use crate::wait::word::WakeWord;
use crate::wait::{Look, Pace, Stop, Waiter, block};

// The paths are for those who include this file from elsewhere (loom-tests).
#[path = "pipe/recv.rs"]
mod recv;
#[path = "pipe/send.rs"]
mod send;
#[cfg(all(test, not(loom)))]
#[path = "pipe/tests.rs"]
mod tests;

pub(crate) use recv::RecvEnd;
pub(crate) use send::SendEnd;

/// More messages than one can look through as fast as at the clock.
const LONG_RUN: u64 = 256;

/// How often to poll at up to `max` messages before looking at the clock: a look through many takes
/// long by itself, beside a scribbler at any rate.
pub(crate) fn polls(max: u64) -> u32 {
    if max > LONG_RUN { 4 } else { u32::MAX }
}

/// A look at which it is time for a liveness check.
const CHECK: Look = Look::Full { check_due: true };

/// So often [`End::is_closed`] starts over because another peer came meanwhile.
const SUCCESSIONS: u32 = 8;

/// What both ends of a ring do in the same way, from what each does in its own.
pub(crate) trait End {
    /// What the ring is.
    type Kind: Kind;
    /// Whom this end waits for.
    const OPPOSITE: Role;
    /// Others of this role may sleep at the same word.
    const SHARED: bool = Self::Kind::MANY;

    /// This end, to the others.
    fn me(&self) -> Name;

    /// What this end knows of the others, and where it learns more.
    fn ends(&mut self) -> (&mut Ends, &Words);

    /// What this end knows of the others, to read.
    fn known(&self) -> &Ends;

    /// The longest run that one claim may cover.
    fn longest_run(&self) -> u64;

    /// How many pauses to make before looking again for something to claim.
    fn coalesce(&self) -> u32;

    /// The fast path. `None`: call [`claim_slow`](Self::claim_slow); nothing is left claimed, or
    /// intended.
    fn claim_fast(
        &mut self,
        shape: impl Shape<Kind = Self::Kind>,
        need: u64,
        max: u64,
    ) -> Option<Run>;

    /// Before a claim: lets more to claim coalesce, if that is worth it. `clock`: of nanoseconds.
    fn let_coalesce(&mut self, _clock: impl FnOnce() -> u64) {}

    /// How many pauses to make before a try, where the one before came to nothing: whoever polls is
    /// to leave the others the lines that they need as one that waits does.
    fn pauses_before_try(&mut self) -> u32 {
        0
    }

    /// Before a wait: something may come so soon, and polls for it do no harm.
    fn may_poll(&self) -> bool {
        false
    }

    /// There was nothing to claim: it is waited for, or the caller may try again and again.
    fn waits(&mut self) {}

    /// Before a poll: asks for the lines that a poll that finds something will read.
    fn prefetch(&self, _shape: impl Shape<Kind = Self::Kind>) {}

    /// Claims at least `need` slots, at most `max`, if that works without waiting. `liveness` is
    /// asked only before a receiver says closed.
    fn claim_slow(&mut self, need: u64, max: u64, liveness: &impl Liveness)
    -> Result<Run, Refused>;

    /// Looks for the dead: see [`reap`](crate::peers::reap).
    fn check_liveness(&mut self, liveness: &impl Liveness) -> Findings;

    /// As [`check_liveness`](Self::check_liveness), but this end adopts nothing: others shall.
    fn check_for_others(&mut self, liveness: &impl Liveness) -> Findings;

    /// There is something that another end of this role could claim.
    fn another(&self) -> bool;

    /// It has claimed something that it has neither handed over nor released.
    fn has_claim(&self) -> bool;

    /// The last thing an end does: hands over what it can of a claim that was forgotten. Whether it
    /// leaves one behind, for others to adopt.
    fn leave(&mut self) -> bool;

    /// It leaves what there is to another, whose turn it is.
    fn stands_back(&self) -> bool {
        false
    }

    /// It waits for so many, and a full look was in vain.
    fn waits_in_vain(&mut self, _need: u64) {}

    /// Its wait is over, whatever came of it.
    fn waited(&mut self) {}

    /// There is an abandoned claim that this end might take over: no need to wait for a check.
    fn take_more_to_adopt(&mut self) -> bool {
        false
    }

    /// Claims as [`claim_slow`](Self::claim_slow) does, but waits until that works or can not.
    /// Inlined into the cold path of each call: from the poll that finds something to the return,
    /// every hop of the result through memory would delay a message by as much as a cache line's
    /// trip.
    #[inline]
    fn claim_waiting(
        &mut self,
        shape: impl Shape<Kind = Self::Kind>,
        need: u64,
        max: u64,
        pace: &mut impl Pace,
        liveness: &impl Liveness,
    ) -> Result<Run, Refused> {
        let words = self.ends().1.clone();
        let role = Self::OPPOSITE.opposite();
        let alive = |record| liveness.alive(role, record) != Life::Dead;
        let waiter = Waiter {
            word: WakeWord::of(&words.control, role),
            shared: Self::SHARED,
            picky: need > 1,
            coalesce: self.coalesce(),
            polls: polls(max / Self::Kind::UNIT),
            watch: Self::SHARED.then(|| Watch::new(&words, role, self.me(), &alive)),
        };
        // Beside what the looks return, which fits into registers.
        let mut run = Run::NONE;
        let outcome = block(waiter, pace, |look| {
            let tried = match look {
                Look::Poll => {
                    self.prefetch(shape);
                    self.claim_fast(shape, need, max).ok_or(Refused::NotReady)
                }
                Look::Peek => {
                    let (ends, words) = self.ends();
                    let changed = !ends.up_to_date(words);
                    return (changed || self.another()).then_some(Ok(()));
                }
                Look::Full { check_due } => self.look(need, max, check_due, liveness),
            };
            match tried {
                Ok(claimed) => {
                    run = claimed;
                    Some(Ok(()))
                }
                Err(refused) if refused.is_for_now() => None, // wait on
                Err(refused) => Some(Err(refused)),
            }
        });
        self.waited();
        match outcome {
            // A claim of one that moves nothing is made once more, from private memory. The one that
            // was found would be copied, by other widths than it was stored by, and the copies wait
            // for the stores: together a twentieth of a round trip. (A claim of several would look
            // again, and might see less: a peer may lie.)
            Ok(Ok(())) if !Self::SHARED && max == 1 => {
                Ok(self.claim_fast(shape, 1, 1).unwrap_or(run))
            }
            Ok(settled) => settled.map(|()| run),
            Err(stop) => Err(Refused::Stopped(stop)),
        }
    }

    /// A full look inside a wait.
    #[cold]
    #[inline(never)]
    fn look(
        &mut self,
        need: u64,
        max: u64,
        check_due: bool,
        liveness: &impl Liveness,
    ) -> Result<Run, Refused> {
        let lost = check_due && self.check_liveness(liveness).lost;
        let tried = self.claim_slow(need, max, liveness);
        if !tried.is_err_and(Refused::is_for_now) {
            return tried;
        }
        if lost {
            return Err(Refused::Stopped(Stop::DescriptorLost));
        }
        self.waits_in_vain(need);
        if self.take_more_to_adopt() {
            self.check_liveness(liveness);
            return self.claim_slow(need, max, liveness);
        }
        // What it cannot use, or leaves to another, may be for one that it was woken in the stead of.
        if Self::SHARED && (need > 1 || self.stands_back()) && check_due && self.another() {
            let role = Self::OPPOSITE.opposite();
            WakeWord::of(&self.ends().1.control, role).prompt(false);
        }
        tried
    }

    /// Ends of the other role were there, and the locks say that none lives now, whatever the
    /// endpoint table says.
    fn is_closed(&mut self, liveness: &impl Liveness) -> bool {
        let (ends, words) = self.ends();
        for _ in 0..SUCCESSIONS {
            // The endpoint table first: who comes after this look moves `changes` on, and is looked
            // for again.
            if ends.gone(words) {
                return true;
            }
            if !ends.met() || peer_alive(words, Self::OPPOSITE, liveness) {
                return false;
            }
            // Records are read one by one, as in a scan: nobody was there only if nothing has
            // changed.
            if ends.up_to_date(words) {
                ends.opposite_gone();
                return true;
            }
        }
        false
    }

    /// Waits until an end of the other role is attached.
    fn wait_for_peer(
        &mut self,
        pace: &mut impl Pace,
        liveness: &impl Liveness,
    ) -> Result<(), Stop> {
        let words = self.ends().1.clone();
        let role = Self::OPPOSITE.opposite();
        let alive = |record| liveness.alive(role, record) != Life::Dead;
        let waiter = Waiter {
            word: WakeWord::of(&words.control, role),
            shared: Self::SHARED,
            picky: true,
            coalesce: 0,
            polls: u32::MAX,
            watch: Self::SHARED.then(|| Watch::new(&words, role, self.me(), &alive)),
        };
        let mut told_gone = false;
        block(waiter, pace, |look| {
            if look == Look::Peek {
                let (ends, words) = self.ends();
                return (!ends.up_to_date(words)).then_some(Ok(()));
            }
            if look == CHECK {
                if self.check_for_others(liveness).lost {
                    return Some(Err(Stop::DescriptorLost));
                }
                // It takes no items, nor does it end its wait for their end: others do.
                let (ends, words) = self.ends();
                let gone = ends.gone(words);
                // Once: those who can be told of it by then are.
                let newly_gone = gone && !std::mem::replace(&mut told_gone, gone);
                if Self::SHARED && (newly_gone || self.another()) {
                    waiter.word.prompt(newly_gone);
                }
            }
            let (ends, words) = self.ends();
            if !ends.present(words) {
                return None;
            }
            // The dead on the endpoint table are no peers.
            match peer_life(words, Self::OPPOSITE, liveness) {
                Life::Alive => Some(Ok(())),
                Life::Dead => None,
                Life::Unknown => Some(Err(Stop::DescriptorLost)),
            }
        })?
    }
}

/// Values in the ring: published or claimed, not yet claimed by a receiver. A snapshot.
pub(crate) fn len(words: &Words, capacity: u64) -> u64 {
    // Relaxed: a snapshot of moving things, used for nothing but telling. Head first: it can only
    // have grown since, so the difference is never short of what was there.
    let head = words.control.head.load(Relaxed);
    let tail = words.control.tail.at.load(Relaxed);
    match tail.wrapping_sub(head) {
        len if len <= capacity => len,
        len if (len as i64) < 0 => 0, // the head has passed the tail we read
        _ => capacity,
    }
}
