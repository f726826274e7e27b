//! The endpoint table: one word per endpoint record that says who sits there.
//!
//! ```text
//! record:   bits 0..2   0 free, 1 a sending end, 2 a receiving end, 3 the abandoned claim of a receiving end
//!         bits 2..32  how often the record was taken, so that a late leaver cannot free a successor's
//!         bits 32..   process id of the owner, for people to read; never a proof of anything
//! ```
//!
//! What proves an owner's life is the lock that goes with the record ([`hold`](super::hold)). Its
//! holder alone moves the record from free to taken; from taken to free anyone may move it who has
//! reason to, by compare-and-swap against the exact word. The order of things:
//!
//! * attach: lock, take the record, count the arrival, move `changes` on, wake those whom it
//!   concerns;
//! * leave: unlock, free the record, move `changes` on, wake those whom it concerns.
//!
//! An *abandoned claim* is what a receiving end leaves that is gone but had claimed items and not released
//! them: nobody sits there any more, but the record is needed until an adopter has taken them over
//! ([`ring::recovery`](crate::ring::recovery)).
//!
//! So whoever sits and lives holds the lock, and a lock that is free beside a taken record belongs to
//! one who is on the way out or dead. [`Ends`] turns the endpoint table into the answers that the pipe
//! needs. It rescans only when `changes` has moved: in flow, one load of a line nobody writes.
//!
//! The arrival counters exist for those who came and went between two looks: a receiver must say
//! end-of-file also if it never saw the sender whose values it has just drained.

use crate::ring::control::{Control, OwnerWord, Words};
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
        control.arrivals.of.of(self)
    }
}

const ROLE: u64 = 3;
const ABANDONED: u64 = 3;
const TAKEN_ONCE: u64 = 4;
const TIMES_TAKEN: u64 = 0xffff_fffc;

/// Proof of having taken a record: the exact word that was stored there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

/// One end of a ring in one word, which no other end of that ring ever has: its role (bits 0..2), how
/// often its record had been taken (2..32) and the record (32..). Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) u64);

impl Name {
    /// What the record's owner word says of that end, but for its process.
    pub(crate) fn names(self, owner: Owner) -> bool {
        (self.0 ^ owner.0) & (TIMES_TAKEN | ROLE) == 0
    }

    /// Its record. Whoever uses it as an index compares it with their number first.
    pub(crate) fn record(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// Its role; `None`: there is none such.
    pub(crate) fn role(self) -> Option<Role> {
        role_of(self.0)
    }
}

fn role_of(word: u64) -> Option<Role> {
    match word & ROLE {
        1 => Some(Role::Sender),
        2 | ABANDONED => Some(Role::Receiver),
        _ => None,
    }
}

impl Owner {
    /// The end that owns `record`, in one word.
    pub(crate) fn name(self, record: usize) -> Name {
        Name((record as u64) << 32 | self.0 & (TIMES_TAKEN | ROLE))
    }

    /// The role that it took the record for.
    pub(crate) fn role(self) -> Role {
        if self.0 & ROLE == Role::Sender as u64 { Role::Sender } else { Role::Receiver }
    }

    /// The owner is gone, whatever the lock says.
    pub(crate) fn is_abandoned(self) -> bool {
        self.0 & ROLE == ABANDONED
    }
}

/// Takes a record that is free, or whose owner the caller has found dead and resolved
/// (`evict`). The caller holds the record's lock for `role`.
pub(crate) fn take(record: &OwnerWord, role: Role, pid: u32, evict: bool) -> Option<Owner> {
    let found = record.load(Acquire); // A1 ← A2: everything the previous owner did
    if found & ROLE != 0 && !evict {
        return None;
    }
    let times = found.wrapping_add(TAKEN_ONCE) & TIMES_TAKEN;
    let taken = u64::from(pid) << 32 | times | role as u64;
    // A1 ← A2: again. A1 → A3: our predecessor's last stores stay visible to whoever sees us.
    record.compare_exchange(found, taken, AcqRel, Relaxed).ok()?;
    Some(Owner(taken))
}

/// Announces an arrival, after [`take`].
pub(crate) fn arrived(words: &Words, role: Role) {
    role.arrivals(&words.control).fetch_add(1, Release); // A4 → A5: the record is taken
    words.control.arrivals.changes.fetch_add(1, Release); // A6 → A7: the record, the arrival
}

/// Frees a record; true if it was still as `owner` left it.
pub(crate) fn leave(words: &Words, record: usize, owner: Owner) -> bool {
    let free = owner.0 & TIMES_TAKEN;
    // A2 → A1, A3: everything this end ever stored in the ring.
    let left = words.owners[record].compare_exchange(owner.0, free, Release, Relaxed).is_ok();
    words.control.arrivals.changes.fetch_add(1, Release); // A6 → A7: the record is free
    left
}

/// How many ends of `role` is in the endpoint table now.
pub(crate) fn count(words: &Words, role: Role) -> usize {
    words
        .owners
        .iter()
        .filter(|record| record.load(Acquire) & ROLE == role as u64) // A3 ← A2: what those who left had stored
        .count()
}

/// Turns the record of a receiving end that is gone, or about to be, into its abandoned claim; true if it was
/// still as `owner` left it.
pub(crate) fn abandon(words: &Words, record: usize, owner: Owner) -> bool {
    let abandoned = owner.0 | ABANDONED;
    // A2 → A1, A3: everything this end ever stored in the ring.
    let left = words.owners[record].compare_exchange(owner.0, abandoned, Release, Relaxed).is_ok();
    words.control.arrivals.changes.fetch_add(1, Release); // A6 → A7: the record is nobody's
    left
}

/// Somebody has left an abandoned claim that is not settled.
fn any_abandoned(words: &Words) -> bool {
    words.owners.iter().any(|record| owner(record).is_some_and(|(found, _)| found.is_abandoned()))
}

/// A taken record's word, and the role it was taken for.
pub(crate) fn owner(record: &OwnerWord) -> Option<(Owner, Role)> {
    let word = record.load(Acquire); // A3 ← A1: what made the record's owner
    Some((Owner(word), role_of(word)?))
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
    /// An abandoned claim was seen since the last time of asking.
    abandoned: bool,
}

impl Ends {
    /// More changes than there will ever be. (A peer that stores this number is taken for present.)
    const NEVER: u64 = u64::MAX;

    /// How many opposite ends have ever arrived. To be read before this end takes its record, so that
    /// whoever has seen it there counts as met.
    pub(crate) fn arrivals(words: &Words, role: Role) -> u64 {
        role.opposite().arrivals(&words.control).load(Acquire) // A5 ← A4
    }

    /// For an end of `role` that has just taken its record. `arrivals` from before that;
    /// `peer_alive`: some opposite end is in the endpoint table and is alive.
    pub(crate) fn attach(
        words: &Words,
        role: Role,
        arrivals: u64,
        peer_alive: impl FnOnce() -> bool,
    ) -> Self {
        // Before the question: whoever attaches after it moves `changes` on, and is scanned for.
        let changes = words.control.arrivals.changes.load(Acquire); // A7 ← A6
        let alive = peer_alive();
        let mut ends = Self {
            opposite: role.opposite(),
            // If nobody opposite lives, whoever is on the endpoint table is dead and no peer of ours. (Who
            // is about to take a record will be counted among the arrivals.)
            scanned_at: (!alive).then_some(changes),
            uneventful_at: Self::NEVER,
            present: false,
            arrivals_at_attach: arrivals,
            met: alive,
            abandoned: any_abandoned(words), // there may be no scan for long
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
        // Relaxed: who acquired the word of a record that was left (A3) sees by it, as in `scan`, that a
        // successor had come; and nothing is read on the strength of it.
        self.scanned_at == Some(words.control.arrivals.changes.load(Relaxed))
    }

    #[cold]
    fn scan(&mut self, words: &Words, mut changes: u64) {
        // Bounded: honest ends come and go more slowly than we look.
        for _ in 0..crate::ring::PATIENCE {
            // First the arrivals, then the records: whoever is counted was on its record before, so if
            // we do not find it there it has left, and everything it stored is visible.
            let arrivals = self.opposite.arrivals(&words.control).load(Acquire); // A5 ← A4
            self.met |= arrivals != self.arrivals_at_attach;
            // Whoever sits there though none lived when we came and none has come since is dead.
            self.present = self.met && count(words, self.opposite) > 0;
            self.abandoned |= any_abandoned(words);
            self.scanned_at = Some(changes);
            if self.present {
                return;
            }
            // Records are read one by one: an end may have taken one that was read already, and its
            // predecessor then left one that was not. Who saw the record left (A3 ← A2) sees by
            // `changes` that its successor had come. So nobody is there only if nothing has changed.
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
        words.control.arrivals.changes.load(Relaxed) == self.uneventful_at
    }

    /// There was an opposite end at some time since this one attached, as of the last look.
    pub(crate) fn met(&self) -> bool {
        self.met
    }

    /// The locks say that nobody opposite is alive: counts them as gone until the endpoint table changes.
    pub(crate) fn opposite_gone(&mut self) {
        self.present = false;
        self.sum_up();
    }

    /// Somebody has left an abandoned claim since the last time of asking.
    pub(crate) fn take_abandoned(&mut self) -> bool {
        std::mem::take(&mut self.abandoned)
    }

    /// The state of the endpoint table that the last look was at.
    pub(crate) fn seen(&self) -> Option<u64> {
        self.scanned_at
    }

    /// Counts a missing peer as gone from the start, rather than waiting for the first.
    pub(crate) fn expect_present(&mut self) {
        self.met = true;
        self.sum_up();
    }
}
