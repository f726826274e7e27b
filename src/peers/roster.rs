//! The roster: one word per endpoint record that says who sits there.
//!
//! ```text
//! seat:   bits 0..2   0 free, 1 a sending end, 2 a receiving end, 3 the estate of a receiving end
//!         bits 2..32  how often the seat was taken, so that a late leaver cannot free a successor's
//!         bits 32..   process id of the occupant, for people to read; never a proof of anything
//! ```
//!
//! What proves an occupant's life is the lock that goes with the seat ([`hold`](super::hold)). Its
//! holder alone moves the seat from free to taken; from taken to free anyone may move it who has
//! reason to, by compare-and-swap against the exact word. The order of things:
//!
//! * attach: lock, take the seat, count the arrival, move `changes` on, wake everybody;
//! * leave: unlock, free the seat, move `changes` on, wake everybody.
//!
//! An *estate* is what a receiving end leaves that is gone but had claimed items and not released
//! them: nobody sits there any more, but the seat is needed until an heir has taken them over
//! ([`ring::recovery`](crate::ring::recovery)).
//!
//! So whoever sits and lives holds the lock, and a lock that is free beside a taken seat belongs to
//! one who is on the way out or dead. [`Ends`] turns the roster into the answers that the pipe
//! needs. It rescans only when `changes` has moved: in flow, one load of a line nobody writes.
//!
//! The arrival counters exist for those who came and went between two looks: a receiver must say
//! end-of-file also if it never saw the sender whose values it has just drained.

use crate::ring::control::{Control, Seat, Words};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

#[cfg(all(test, not(loom)))]
mod tests;

/// One end of a ring: which way its values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A sending end (SPSC: the producer).
    Sender = 1,
    /// A receiving end (SPSC: the consumer).
    Receiver = 2,
}

impl Role {
    /// The other end.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        }
    }

    fn arrivals(self, control: &Control) -> &AtomicU64 {
        match self {
            Role::Sender => &control.arrivals.0.senders,
            Role::Receiver => &control.arrivals.0.receivers,
        }
    }
}

const ROLE: u64 = 3;
const ESTATE: u64 = 3;
const TAKEN_ONCE: u64 = 4;
const TIMES_TAKEN: u64 = 0xffff_fffc;

/// Proof of having taken a seat: the exact word that was stored there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupancy(u64);

impl Occupancy {
    /// The occupant is gone, whatever the lock says.
    pub(crate) fn is_estate(self) -> bool {
        self.0 & ROLE == ESTATE
    }
}

/// Takes a seat that is free, or whose occupant the caller has found dead and resolved
/// (`evict`). The caller holds the seat's lock for `role`.
pub(crate) fn take(seat: &Seat, role: Role, pid: u32, evict: bool) -> Option<Occupancy> {
    let found = seat.load(Acquire); // A1 ← A2: everything the previous occupant did
    if found & ROLE != 0 && !evict {
        return None;
    }
    let times = found.wrapping_add(TAKEN_ONCE) & TIMES_TAKEN;
    let taken = u64::from(pid) << 32 | times | role as u64;
    // A1 ← A2: again. A1 → A3: our predecessor's last stores stay visible to whoever sees us.
    seat.compare_exchange(found, taken, AcqRel, Relaxed).ok()?;
    Some(Occupancy(taken))
}

/// Announces an arrival, after [`take`].
pub(crate) fn arrived(words: &Words, role: Role) {
    role.arrivals(&words.control).fetch_add(1, Release); // A4 → A5: the seat is taken
    words.control.arrivals.0.changes.fetch_add(1, Release); // A6 → A7: the seat, the arrival
}

/// Frees a seat; true if it was still as `occupancy` left it.
pub(crate) fn leave(words: &Words, seat: usize, occupancy: Occupancy) -> bool {
    let free = occupancy.0 & TIMES_TAKEN;
    // A2 → A1, A3: everything this end ever stored in the ring.
    let left = words.seats[seat].compare_exchange(occupancy.0, free, Release, Relaxed).is_ok();
    words.control.arrivals.0.changes.fetch_add(1, Release); // A6 → A7: the seat is free
    left
}

/// How many ends of `role` sit on the roster now.
pub(crate) fn count(words: &Words, role: Role) -> usize {
    words
        .seats
        .iter()
        .filter(|seat| seat.load(Acquire) & ROLE == role as u64) // A3 ← A2: what those who left had stored
        .count()
}

/// Turns the seat of a receiving end that is gone, or about to be, into its estate; true if it was
/// still as `occupancy` left it.
pub(crate) fn bequeath(words: &Words, seat: usize, occupancy: Occupancy) -> bool {
    let estate = occupancy.0 | ESTATE;
    // A2 → A1, A3: everything this end ever stored in the ring.
    let left = words.seats[seat].compare_exchange(occupancy.0, estate, Release, Relaxed).is_ok();
    words.control.arrivals.0.changes.fetch_add(1, Release); // A6 → A7: the seat is nobody's
    left
}

/// Somebody has left an estate that is not settled.
fn any_estate(words: &Words) -> bool {
    words.seats.iter().any(|seat| occupancy(seat).is_some_and(|(found, _)| found.is_estate()))
}

/// A taken seat's word, and the role it was taken for.
pub(crate) fn occupancy(seat: &Seat) -> Option<(Occupancy, Role)> {
    let word = seat.load(Acquire); // A3 ← A1: what made the seat's occupant
    let role = match word & ROLE {
        1 => Role::Sender,
        2 | ESTATE => Role::Receiver,
        _ => return None,
    };
    Some((Occupancy(word), role))
}

/// What an end knows of the opposite ends: whether one is there, and whether one ever was.
#[derive(Debug)]
pub(crate) struct Ends {
    opposite: Role,
    /// `changes` at the last scan; `None` forces the next.
    scanned_at: Option<u64>,
    /// The same if a scan would find no change in whether the opposite ends are there: what the
    /// path of every message compares with. [`NEVER`](Self::NEVER) otherwise.
    uneventful_at: u64,
    present: bool,
    arrivals_at_attach: u64,
    met: bool,
    /// An estate was seen since the last time of asking.
    estates: bool,
}

impl Ends {
    /// More changes than there will ever be. (A peer that stores this number is taken for present.)
    const NEVER: u64 = u64::MAX;

    /// How many opposite ends have ever arrived. To be read before this end takes its seat, so that
    /// whoever has seen it there counts as met.
    pub(crate) fn arrivals(words: &Words, role: Role) -> u64 {
        role.opposite().arrivals(&words.control).load(Acquire) // A5 ← A4
    }

    /// For an end of `role` that has just taken its seat. `arrivals` from before that;
    /// `peer_alive`: some opposite end sits on the roster and is alive.
    pub(crate) fn attach(
        words: &Words,
        role: Role,
        arrivals: u64,
        peer_alive: impl FnOnce() -> bool,
    ) -> Self {
        // Before the question: whoever attaches after it moves `changes` on, and is scanned for.
        let changes = words.control.arrivals.0.changes.load(Acquire); // A7 ← A6
        let alive = peer_alive();
        let mut ends = Self {
            opposite: role.opposite(),
            // If nobody opposite lives, whoever is on the roster is dead and no peer of ours. (Who
            // is about to take a seat will be counted among the arrivals.)
            scanned_at: (!alive).then_some(changes),
            uneventful_at: Self::NEVER,
            present: false,
            arrivals_at_attach: arrivals,
            met: alive,
            estates: any_estate(words), // there may be no scan for long
        };
        ends.sum_up();
        ends
    }

    /// After any change of what it is made of.
    fn sum_up(&mut self) {
        self.uneventful_at = match self.scanned_at {
            Some(changes) if self.present || !self.met => changes,
            _ => Self::NEVER,
        };
    }

    /// Looks at the roster if it has changed.
    #[inline]
    fn look(&mut self, words: &Words) {
        let changes = words.control.arrivals.0.changes.load(Acquire); // A7 ← A6
        if self.scanned_at != Some(changes) {
            self.scan(words, changes);
            self.sum_up();
        }
    }

    /// The roster is as the last look found it.
    pub(crate) fn up_to_date(&self, words: &Words) -> bool {
        // Relaxed: who acquired the word of a seat that was left (A3) sees by it, as in `scan`, that a
        // successor had come; and nothing is read on the strength of it.
        self.scanned_at == Some(words.control.arrivals.0.changes.load(Relaxed))
    }

    #[cold]
    fn scan(&mut self, words: &Words, mut changes: u64) {
        // Bounded: honest ends come and go more slowly than we look.
        for _ in 0..crate::ring::PATIENCE {
            // First the arrivals, then the seats: whoever is counted was on its seat before, so if
            // we do not find it there it has left, and everything it stored is visible.
            let arrivals = self.opposite.arrivals(&words.control).load(Acquire); // A5 ← A4
            self.met |= arrivals != self.arrivals_at_attach;
            // Whoever sits there though none lived when we came and none has come since is dead.
            self.present = self.met && count(words, self.opposite) > 0;
            self.estates |= any_estate(words);
            self.scanned_at = Some(changes);
            if self.present {
                return;
            }
            // Seats are read one by one: an end may have taken one that was read already, and its
            // predecessor then left one that was not. Who saw the seat left (A3 ← A2) sees by
            // `changes` that its successor had come. So nobody is there only if nothing has changed.
            let now = words.control.arrivals.0.changes.load(Acquire); // A7 ← A6
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

    /// There was an opposite end at some time since this one attached, and now there is none.
    #[inline]
    pub(crate) fn gone(&mut self, words: &Words) -> bool {
        self.look(words);
        self.met && !self.present
    }

    /// None has come or gone since the last look, and by that the opposite ends are not gone.
    #[inline(always)]
    pub(crate) fn still_there(&self, words: &Words) -> bool {
        // Relaxed: nothing is read on the strength of it. It is the number that the last scan acquired.
        words.control.arrivals.0.changes.load(Relaxed) == self.uneventful_at
    }

    /// There was an opposite end at some time since this one attached, as of the last look.
    pub(crate) fn met(&self) -> bool {
        self.met
    }

    /// The locks say that nobody opposite is alive: counts them as gone until the roster changes.
    pub(crate) fn bury(&mut self) {
        self.present = false;
        self.sum_up();
    }

    /// Somebody has left an estate since the last time of asking.
    pub(crate) fn take_estates(&mut self) -> bool {
        std::mem::take(&mut self.estates)
    }

    /// The state of the roster that the last look was at.
    pub(crate) fn seen(&self) -> Option<u64> {
        self.scanned_at
    }

    /// Counts a missing peer as gone from the start, rather than waiting for the first.
    pub(crate) fn expect_present(&mut self) {
        self.met = true;
        self.sum_up();
    }
}
