//! Reaping the dead: ends that have died lose their records, and what they had claimed is settled.
//!
//! What is left of a claim, and whose it is, [`ring::recovery`](crate::ring::recovery) knows. Here
//! is who does it and when: an end whose liveness check is due, one that wants a record, one about
//! to say end-of-file. All of it is atomics and questions to a [`Liveness`], so that `loom-tests`
//! can explore it.
//!
//! Records of the dead are freed while the [recovery word](super::recovery_word) names the
//! recoverer, by compare-and-swap from the exact word their owners had stored, after everything
//! that their intents cover has been settled. What a dead receiver had not released goes to the
//! receiver that asks (the *adopter*); if one asks that cannot take it, the record becomes an
//! abandoned claim, which is nobody's, and any receiver may adopt it later.
//!
//! On an SPSC ring there is nothing to settle, and the recovery word is not used: the record of a
//! dead end is freed, and that is all. Several may do so at once, while the end itself is on its
//! way out, or its successor takes the record over: each is a compare-and-swap from the word by
//! which the end was found dead, and that word never comes back. The first succeeds; the successor,
//! if it was not the first, finds the record free and tries again ([`attach`](crate::attach)). What
//! the dead end had stored in its record beside the owner word stays, as that is what the successor
//! goes on from.
//!
//! Nothing here allocates or opens anything: a recoverer may be in a process that can do neither.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::Range;

use super::recovery_word::{Scratch, recover};
use super::table::{self, Name, Owner, Role};
use crate::ring::claims::{RecvClaims, SendClaims};
use crate::ring::control::Words;
use crate::ring::mem::Mem;
use crate::ring::recovery::{self, Alive, Remains, effort};
use crate::ring::{Kind, Run};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::wait::changes::{Change, Concerned, wake};
use crate::wait::watch;

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

/// What the locks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    Dead,
    /// They cannot be asked: the ring's descriptor was closed behind our back, its number was
    /// reused, or we may not ask. Nobody is dead for that.
    Unknown,
}

impl From<bool> for Life {
    fn from(alive: bool) -> Self {
        if alive { Self::Alive } else { Self::Dead }
    }
}

/// Who can tell the living from the dead; and lends what recovery works with.
pub(crate) trait Liveness {
    /// The end of `role` in `record` is alive.
    fn alive(&self, role: Role, record: usize) -> Life;

    /// Some end of `role` is alive. `Alive` only if the locks could be asked.
    fn any_alive(&self, role: Role) -> Life;

    /// Somebody without an endpoint record is recovering, or about to.
    fn visitor_alive(&self) -> Life;

    /// Lends this process's memory for recovery; `None`: another thread of it has it.
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R>;
}

/// Some end of `role` is in the endpoint table and is alive, or may be.
pub(crate) fn peer_alive(words: &Words, role: Role, liveness: &impl Liveness) -> bool {
    peer_life(words, role, liveness) != Life::Dead
}

/// The same, and whether that is known. The lock alone would not do: who attaches takes it first.
pub(crate) fn peer_life(words: &Words, role: Role, liveness: &impl Liveness) -> Life {
    let any = liveness.any_alive(role);
    if any == Life::Dead {
        return any;
    }
    let here = words.owners.iter().enumerate().any(|(record, state)| {
        table::owner(state)
            .is_some_and(|(found, attached_as)| attached_as == role && !found.is_abandoned())
            && liveness.alive(role, record) != Life::Dead
    });
    if here { any } else { Life::Dead }
}

/// What a look for the dead came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Findings {
    /// Some end opposite to the one that asked is alive.
    pub(crate) opposite_alive: bool,
    /// Something that the dead had claimed is not settled yet.
    pub(crate) pending: bool,
    /// Some claim was in progress, or was one of a dead end.
    pub(crate) claims: bool,
    /// The locks cannot be asked: who is alive is not known, and will not be.
    pub(crate) lost: bool,
}

/// Looks for ends that have died and clears away what can be, for the end of `role` called `me`.
/// `adopter`: a receiver that can adopt abandoned items; it holds none now.
pub(crate) fn reap_pass<K: Kind>(
    mem: &Mem<K>,
    role: Role,
    me: Name,
    liveness: &impl Liveness,
    mut adopter: Option<&mut K::Recv>,
) -> Findings {
    let opposite = liveness.any_alive(role.opposite());
    if opposite == Life::Unknown {
        return Findings { opposite_alive: true, pending: true, claims: true, lost: true };
    }
    let liveness = &Asked { liveness, unanswered: Cell::new(false) };
    let opposite_alive = opposite == Life::Alive;
    let some_claim = Cell::new(false);
    let pass = reap_all(mem, me, liveness, &mut adopter, |record, attached_as| {
        let missed = !opposite_alive && attached_as == role.opposite();
        let claims = claims(mem, record);
        some_claim.set(some_claim.get() || claims);
        (missed || claims) && liveness.alive(attached_as, record) == Life::Dead
    });
    let claims = some_claim.get() || pass.any_dead;
    let lost = liveness.unanswered.get();
    Findings { opposite_alive, pending: pass.pending || !pass.done, claims, lost }
}

/// Remembers whether an answer could not be had. Whoever it is about is not dead for that; but what
/// it holds will not be settled either.
struct Asked<'a, D> {
    liveness: &'a D,
    unanswered: Cell<bool>,
}

impl<D> Asked<'_, D> {
    fn noted(&self, answer: Life) -> Life {
        self.unanswered.set(self.unanswered.get() || answer == Life::Unknown);
        answer
    }
}

impl<D: Liveness> Liveness for Asked<'_, D> {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.noted(self.liveness.alive(role, record))
    }
    fn any_alive(&self, role: Role) -> Life {
        self.noted(self.liveness.any_alive(role))
    }
    fn visitor_alive(&self) -> Life {
        self.noted(self.liveness.visitor_alive())
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        self.liveness.with_scratch(work)
    }
}

/// The end in `record` has a claim in progress. Those who have are asked after, and everyone
/// opposite if they all seem dead: an idle waiter thus asks one question per interval.
fn claims<K: Kind>(mem: &Mem<K>, record: usize) -> bool {
    K::RECOVERS && mem.words.records[record].intent.load(Relaxed) != 0 // settling looks again
}

/// What came of reaping the dead.
struct Pass {
    /// It took place, for all of them: nobody else was recovering, and there was not too much to
    /// do.
    done: bool,
    /// There were some, or abandoned claims.
    any_dead: bool,
    /// Something changed in the ring.
    changed: bool,
    /// Some of what the dead had claimed could not be settled.
    pending: bool,
}

/// Reaps all whom `is_dead` says to be, and all who have left abandoned claims.
fn reap_all<K: Kind>(
    mem: &Mem<K>,
    me: Name,
    liveness: &impl Liveness,
    adopter: &mut Option<&mut K::Recv>,
    is_dead: impl Fn(usize, Role) -> bool,
) -> Pass {
    let words = &mem.words;
    let gone = |record: usize| {
        let (owner, role) = table::owner(&words.owners[record])?;
        (owner.is_abandoned() || is_dead(record, role)).then_some((record, owner, role))
    };
    let mut records = 0..words.owners.len();
    let mut pass = Pass { done: true, any_dead: false, changed: false, pending: false };
    // As long as nobody is found, it is nobody's turn.
    let Some(first) = records.find_map(gone) else { return pass };
    pass.any_dead = true;
    let mut concerned = Concerned::default();
    let all = std::iter::once(first).chain(records.filter_map(gone));
    if !K::RECOVERS {
        for (record, owner, role) in all {
            if table::leave(words, record, owner) {
                pass.changed = true;
                concerned = concerned.and_by(words, Change::Left(role));
            }
        }
    } else {
        let had_adopter = adopter.is_some();
        let mut efforts = Efforts(0);
        let took_place = recover(words, me, liveness, |scratch| {
            let answers = Answers::new(words, liveness, scratch);
            for (record, owner, role) in all {
                // Somebody may have cleared the first, and a newcomer taken it, before it was our
                // turn.
                if table::owner(&words.owners[record]).map(|found| found.0) != Some(owner) {
                    continue;
                }
                if owner.is_abandoned() && had_adopter && adopter.is_none() {
                    pass.pending = true; // the adopter has its hands full; later
                    continue;
                }
                let reaped = reap(mem, record, owner, role, &answers, adopter, &mut efforts);
                if reaped.changed {
                    pass.changed = true;
                    concerned = concerned.and_by(words, change(words, record, role));
                }
                if reaped.replaced {
                    // What was cleared for the one may have been the other's: it announces anew.
                    concerned = concerned.and_by(words, Change::Abandoned);
                }
                pass.pending |= reaped.pending;
            }
        });
        pass.done = took_place.is_some() && !efforts.exhausted();
    }
    if pass.changed {
        wake(words, concerned);
    }
    pass
}

/// What reaping a record of `role` has changed.
fn change(words: &Words, record: usize, role: Role) -> Change {
    match table::owner(&words.owners[record]) {
        Some((owner, _)) if owner.is_abandoned() => Change::Abandoned,
        _ => Change::Left(role),
    }
}

/// The answers about liveness of one reap pass, each asked for once: who is found dead stays dead,
/// and who is taken for alive though it has died meanwhile is found next time.
struct Answers<'a, D> {
    words: &'a Words,
    liveness: &'a D,
    known: RefCell<&'a mut [Option<(Owner, bool)>]>,
    stretches: RefCell<&'a mut Vec<Range<u64>>>,
}

impl<'a, D: Liveness> Answers<'a, D> {
    fn new(words: &'a Words, liveness: &'a D, scratch: &'a mut Scratch) -> Self {
        let Scratch { known, stretches } = scratch;
        known.fill(None);
        Self { words, liveness, known: RefCell::new(known), stretches: RefCell::new(stretches) }
    }
}

impl<D: Liveness> Alive for Answers<'_, D> {
    fn alive(&self, role: Role, record: usize) -> bool {
        // An end of the other role has another byte: that one's answer is none of this one's.
        let owner = match table::owner(&self.words.owners[record]) {
            Some((owner, attached_as)) if attached_as == role => owner,
            _ => return false, // it has left meanwhile
        };
        let known = &mut self.known.borrow_mut()[record];
        match *known {
            Some((of, alive)) if of == owner => alive,
            _ => {
                let alive = self.liveness.alive(role, record) != Life::Dead;
                *known = Some((owner, alive));
                alive
            }
        }
    }

    fn room(&self) -> RefMut<'_, Vec<Range<u64>>> {
        RefMut::map(self.stretches.borrow_mut(), |room| &mut **room)
    }
}

/// Clears away whoever has died, for the visitor `me`, who wants a record. `false`: someone else is
/// at it.
pub(crate) fn reap_for_record<K: Kind>(mem: &Mem<K>, me: Name, liveness: &impl Liveness) -> bool {
    let is_dead = |record, role| liveness.alive(role, record) == Life::Dead;
    reap_all(mem, me, liveness, &mut None, is_dead).done
}

/// Finds an abandoned claim that a new receiver can succeed to, record and all, for when there is
/// no other record: `take` takes it. Gives what `take` gave, and what the new receiver adopts with
/// it; `None` if someone else is recovering. `me`: the new receiver, still a visitor.
pub(crate) fn succeed<K: Kind, E>(
    mem: &Mem<K>,
    me: Name,
    liveness: &impl Liveness,
    mut take: impl FnMut(usize) -> Option<E>,
) -> Option<Option<(E, Run)>> {
    let mut efforts = Efforts(0);
    recover(&mem.words, me, liveness, |scratch| {
        let answers = Answers::new(&mem.words, liveness, scratch);
        (0..mem.words.owners.len()).find_map(|record| {
            let (owner, _) = table::owner(&mem.words.owners[record])?;
            if !owner.is_abandoned() {
                return None;
            }
            let intent = mem.words.records[record].intent.load(Acquire); // X2 ← S2a, S4, R2a, R4: what was handed over before
            if !efforts.allow(effort(mem, Role::Receiver, intent)) {
                return None;
            }
            match K::Recv::settle(mem, intent, &answers) {
                // All that the record's intent still stands for is this run: let it say so before
                // the record is ours, and it stays adoptable wherever we die.
                Remains::Abandoned { run, more: false }
                    if run.items > 0 && !mem.drop_unreleased =>
                {
                    recovery::adopt(&mem.words, record, run);
                    Some((take(record)?, run))
                }
                _ => None,
            }
        })
    })
}

/// What one reap pass has cost so far, in positions and intents looked at.
///
/// Honest ends claim disjoint slots, few at a time. Liars can fill the endpoint table with dead
/// that claim the whole ring: whoever comes to reap them does what is reasonable, and leaves the
/// rest to the next pass. The first claim is settled whatever it costs, which is no more than a
/// look at each slot that one claim can cover, so that each reap pass gets somewhere.
struct Efforts(u64);

impl Efforts {
    /// Some milliseconds, or tens of them where memory is cold: a waiting call may hold one reap
    /// pass after the other before it looks at the clock again.
    const REASONABLE: u64 = 1 << 20;

    /// There may be this much more, unless there was enough already.
    fn allow(&mut self, effort: u64) -> bool {
        if self.0 > 0 && self.0.saturating_add(effort) > Self::REASONABLE {
            self.0 = u64::MAX;
            return false;
        }
        self.0 = self.0.saturating_add(effort);
        true
    }

    fn exhausted(&self) -> bool {
        self.0 == u64::MAX
    }
}

struct Reaped {
    changed: bool,
    pending: bool,
    /// It was on its way out, and another end has its record by now.
    replaced: bool,
}

/// How many runs of one dead end are discarded before it is left to the next recoverer. An honest
/// end has one claim, which live ends' claims can split into a few runs.
const DISCARDS: u32 = 64;

/// Settles what the dead owner of a record has left, and frees the record if that is possible now.
/// In the recoverer's turn.
fn reap<K: Kind>(
    mem: &Mem<K>,
    record: usize,
    owner: Owner,
    role: Role,
    alive: &impl Alive,
    adopter: &mut Option<&mut K::Recv>,
    efforts: &mut Efforts,
) -> Reaped {
    let words = &mem.words;
    watch::forget(words, role, record);
    let intent = words.records[record].intent.load(Acquire); // X2 ← S2a, S4, R2a, R4: what was handed over before
    let effort = effort(mem, role, intent);
    let mut changed = false;
    for _ in 0..DISCARDS {
        if !efforts.allow(effort) {
            break;
        }
        let remains = match role {
            Role::Sender => K::Send::settle(mem, intent, alive),
            Role::Receiver => K::Recv::settle(mem, intent, alive),
        };
        match remains {
            Remains::Nothing => {
                recovery::forget(words, record, intent);
                let left = table::leave(words, record, owner);
                return Reaped { changed: true, pending: false, replaced: !left };
            }
            Remains::Unclear { progress } => {
                return Reaped { changed: changed || progress, pending: true, replaced: false };
            }
            Remains::Abandoned { run, .. } if run.items == 0 || mem.drop_unreleased => {
                K::Recv::discard(mem, run);
                words.control.tally.dropped.fetch_add(run.items, Relaxed); // a statistic
                changed = true;
            }
            Remains::Exhausted { run } => {
                K::Recv::discard(mem, run);
                words.control.tally.exhaust(1);
                changed = true;
            }
            Remains::Abandoned { run, more } => {
                if let Some(adopter) = adopter.take() {
                    adopter.adopt(mem, run);
                    return Reaped { changed: true, pending: more, replaced: false };
                }
                // Those who wait for receivers need not wait for this one.
                changed |= !owner.is_abandoned() && table::abandon(words, record, owner);
                return Reaped { changed, pending: true, replaced: false };
            }
        }
    }
    Reaped { changed, pending: true, replaced: false }
}
