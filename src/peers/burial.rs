//! Burying the dead: who lost their lives lose their seats, and what they had claimed is settled.
//!
//! What is left of a claim, and whose it is, [`ring::recovery`](crate::ring::recovery) knows. Here is
//! who does it and when: an end in doubt, one that wants a seat, one about to say end-of-file. All of
//! it is atomics and questions to a [`Doctor`], so that `loom-tests` can explore it.
//!
//! Seats of the dead are freed under the recovery lock, by compare-and-swap from the exact word their
//! occupants had stored, after everything that their intents cover has been settled. What a dead
//! receiver had not released goes to the receiver that asks (the *heir*); if one asks that cannot take
//! it, the seat becomes an estate, which is nobody's, and any receiver may inherit it later.

use std::cell::RefCell;

use super::roster::{self, Occupancy, Role};
use crate::pipe::wake_everybody;
use crate::ring::control::Words;
use crate::ring::recovery::{self, Alive, Remains, effort};
use crate::ring::{Kind, Mem, RecvCursor, Run, SendCursor};
use crate::sync::Ordering::{Acquire, Relaxed};

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

/// Who can tell the living from the dead.
pub(crate) trait Doctor {
    /// The end of `role` in `seat` is alive.
    fn alive(&self, role: Role, seat: usize) -> bool;

    /// Some end of `role` is alive.
    fn any_alive(&self, role: Role) -> bool;

    /// Runs `recover` unless someone else is recovering this ring; whether it did.
    fn exclusively(&self, recover: impl FnOnce()) -> bool;
}

/// Some end of `role` sits on the roster and is alive. Its lock alone would not do: who attaches
/// takes the lock first.
pub(crate) fn peer_alive(words: &Words, role: Role, doctor: &impl Doctor) -> bool {
    doctor.any_alive(role)
        && words.seats.iter().enumerate().any(|(seat, state)| {
            roster::occupancy(state)
                .is_some_and(|(found, sits_as)| sits_as == role && !found.is_estate())
                && doctor.alive(role, seat)
        })
}

/// What a look for the dead came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Findings {
    /// Some end opposite to the one that asked is alive.
    pub(crate) opposite_alive: bool,
    /// Something that the dead had claimed is not settled yet.
    pub(crate) unsettled: bool,
}

/// Looks for ends that have died and clears away what can be, for an end of `role`. `heir`: a
/// receiver that can take over orphaned items; it holds none now.
pub(crate) fn round<T: Copy, K: Kind>(
    mem: &Mem<T, K>,
    role: Role,
    doctor: &impl Doctor,
    mut heir: Option<&mut K::Recv>,
) -> Findings {
    let opposite_alive = doctor.any_alive(role.opposite());
    let funeral = bury_all(mem, doctor, &mut heir, |seat, sits_as| {
        let missed = !opposite_alive && sits_as == role.opposite();
        (missed || claims(mem, seat)) && !doctor.alive(sits_as, seat)
    });
    Findings { opposite_alive, unsettled: funeral.unsettled || !funeral.done }
}

/// The end in `seat` has a claim in progress. Those who have are asked after, and everyone opposite if
/// they all seem dead: an idle waiter thus asks one question per slice.
fn claims<T, K: Kind>(mem: &Mem<T, K>, seat: usize) -> bool {
    K::STAMPED && mem.words.intents[seat].0.load(Relaxed) != 0 // settling looks again
}

/// What came of burying the dead.
struct Funeral {
    /// It took place, for all of them: nobody else was recovering, and there was not too much to do.
    done: bool,
    /// Something changed in the ring.
    changed: bool,
    /// Some of what the dead had claimed could not be settled.
    unsettled: bool,
}

/// Buries all whom `is_dead` says to be, and all who have left estates.
fn bury_all<T: Copy, K: Kind>(
    mem: &Mem<T, K>,
    doctor: &impl Doctor,
    heir: &mut Option<&mut K::Recv>,
    is_dead: impl Fn(usize, Role) -> bool,
) -> Funeral {
    let words = &mem.words;
    let dead: Vec<_> = (0..words.seats.len())
        .filter_map(|seat| {
            let (occupancy, role) = roster::occupancy(&words.seats[seat])?;
            (occupancy.is_estate() || is_dead(seat, role)).then_some((seat, occupancy, role))
        })
        .collect();
    let mut funeral = Funeral { done: true, changed: false, unsettled: false };
    if dead.is_empty() {
        return funeral;
    }
    let had_heir = heir.is_some();
    let verdicts = Verdicts::new(words, doctor);
    let mut efforts = Efforts(0);
    let took_place = doctor.exclusively(|| {
        for (seat, occupancy, role) in dead {
            // Somebody may have cleared this seat, and a newcomer taken it, before we had the lock.
            if roster::occupancy(&words.seats[seat]).map(|found| found.0) != Some(occupancy) {
                continue;
            }
            if occupancy.is_estate() && had_heir && heir.is_none() {
                funeral.unsettled = true; // the heir has its hands full; later
                continue;
            }
            let buried = bury(mem, seat, occupancy, role, &verdicts, heir, &mut efforts);
            funeral.changed |= buried.changed;
            funeral.unsettled |= buried.unsettled;
        }
    });
    funeral.done = took_place && !efforts.exhausted();
    if funeral.changed {
        wake_everybody(words);
    }
    funeral
}

/// The doctor's answers of one funeral, each asked for once: who is found dead stays dead, and who
/// is taken for alive though it has died meanwhile is found next time.
struct Verdicts<'a, D> {
    words: &'a Words,
    doctor: &'a D,
    known: RefCell<Vec<Option<(Occupancy, bool)>>>,
}

impl<'a, D: Doctor> Verdicts<'a, D> {
    fn new(words: &'a Words, doctor: &'a D) -> Self {
        Self { words, doctor, known: RefCell::new(vec![None; words.seats.len()]) }
    }
}

impl<D: Doctor> Alive for Verdicts<'_, D> {
    fn alive(&self, role: Role, seat: usize) -> bool {
        let Some((occupancy, _)) = roster::occupancy(&self.words.seats[seat]) else {
            return false; // it has left meanwhile
        };
        let known = &mut self.known.borrow_mut()[seat];
        match *known {
            Some((of, alive)) if of == occupancy => alive,
            _ => {
                let alive = self.doctor.alive(role, seat);
                *known = Some((occupancy, alive));
                alive
            }
        }
    }
}

/// Clears away whoever has died, for an end that wants a seat. `false`: someone else is at it.
pub(crate) fn clear_seats<T: Copy, K: Kind>(mem: &Mem<T, K>, doctor: &impl Doctor) -> bool {
    bury_all(mem, doctor, &mut None, |seat, role| !doctor.alive(role, seat)).done
}

/// Finds an estate that a new receiver can succeed to, seat and all, for when there is no other
/// seat: `take` takes it. Gives what `take` gave, and what the new receiver inherits with it; `None`
/// if someone else is recovering.
pub(crate) fn succeed<T: Copy, K: Kind, E>(
    mem: &Mem<T, K>,
    doctor: &impl Doctor,
    take: impl Fn(usize) -> Option<E>,
) -> Option<Option<(E, Run)>> {
    let mut taken = None;
    let mut efforts = Efforts(0);
    let verdicts = Verdicts::new(&mem.words, doctor);
    let done = doctor.exclusively(|| {
        taken = (0..mem.words.seats.len()).find_map(|seat| {
            let (occupancy, _) = roster::occupancy(&mem.words.seats[seat])?;
            if !occupancy.is_estate() {
                return None;
            }
            let intent = mem.words.intents[seat].0.load(Acquire); // X2 ← S2a, S4, R2a, R4: what was handed over before
            if !efforts.allow(effort(&mem.words, intent, mem.slots.capacity())) {
                return None;
            }
            match K::Recv::settle(mem, intent, &verdicts) {
                // All that the seat's intent still stands for is this run: let it say so before
                // the seat is ours, and it stays inheritable wherever we die.
                Remains::Orphans { run, more: false } if run.items > 0 && !mem.drop_unreleased => {
                    recovery::inherit(&mem.words, seat, run);
                    Some((take(seat)?, run))
                }
                _ => None,
            }
        });
    });
    done.then_some(taken)
}

/// What one funeral has cost so far, in positions and intents looked at.
///
/// Honest ends claim disjoint slots, few at a time. Liars can fill the roster with dead that claim the
/// whole ring: whoever comes to bury them does what is reasonable, and leaves the rest to the next
/// funeral. The first claim is settled whatever it costs, which is no more than a look at each slot
/// that one claim can cover, so that each funeral gets somewhere.
struct Efforts(u64);

impl Efforts {
    /// Some milliseconds, or tens of them where memory is cold: a waiting call may hold one funeral after the other before it
    /// looks at the clock again.
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

struct Buried {
    changed: bool,
    unsettled: bool,
}

/// How many runs of one dead end are discarded before it is left to the next recoverer. An honest
/// end has one claim, which live ends' claims can split into a few runs.
const DISCARDS: u32 = 64;

/// Settles what the dead occupant of a seat has left, and frees the seat if that is possible now.
/// Under the recovery lock.
fn bury<T: Copy, K: Kind>(
    mem: &Mem<T, K>,
    seat: usize,
    occupancy: Occupancy,
    role: Role,
    alive: &impl Alive,
    heir: &mut Option<&mut K::Recv>,
    efforts: &mut Efforts,
) -> Buried {
    let words = &mem.words;
    let intent = words.intents[seat].0.load(Acquire); // X2 ← S2a, S4, R2a, R4: what was handed over before
    let effort = if K::STAMPED { effort(words, intent, mem.slots.capacity()) } else { 0 };
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
                if K::STAMPED {
                    recovery::forget(words, seat, intent);
                }
                roster::leave(words, seat, occupancy);
                return Buried { changed: true, unsettled: false };
            }
            Remains::Unclear { progress } => {
                return Buried { changed: changed || progress, unsettled: true };
            }
            Remains::Orphans { run, .. } if run.items == 0 || mem.drop_unreleased => {
                K::Recv::discard(mem, run);
                words.control.tally.0.dropped.fetch_add(run.items, Relaxed); // a statistic
                changed = true;
            }
            Remains::Orphans { run, .. } => {
                if let Some(heir) = heir.take() {
                    heir.inherit(mem, run);
                    return Buried { changed: true, unsettled: false };
                }
                // Those who wait for receivers need not wait for this one.
                changed |= !occupancy.is_estate() && roster::bequeath(words, seat, occupancy);
                return Buried { changed, unsettled: true };
            }
        }
    }
    Buried { changed, unsettled: true }
}
