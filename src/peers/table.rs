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
//! * leave: count the close, unlock, free the record, move `changes` on, wake those whom it
//!   concerns.
//!
//! An *abandoned claim* is what a receiving end leaves that is gone but had claimed items and not
//! released them: nobody sits there any more, but the record is needed until an adopter has taken
//! them over ([`ring::recovery`](crate::ring::recovery)).
//!
//! So whoever sits and lives holds the lock, and a lock that is free beside a taken record belongs
//! to one who is on the way out or dead. [`Ends`](super::ends::Ends) turns the endpoint table into
//! the answers that the pipe needs.
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

    pub(super) fn arrivals(self, control: &Control) -> &AtomicU64 {
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

/// One end of a ring in one word, which no other end of that ring ever has: its role (bits 0..2),
/// how often its record had been taken (2..32) and the record (32..). Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) u64);

impl Name {
    /// Its record has been taken as often as it had been for that end: no other has had it since.
    pub(crate) fn had_it_last(self, record: &OwnerWord) -> bool {
        // A3 ← A1: if another took it, everything that end ever stored.
        (self.0 ^ record.load(Acquire)) & TIMES_TAKEN == 0
    }

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

    /// The owner's process, by its own account.
    pub(crate) fn process(self) -> u32 {
        (self.0 >> 32) as u32
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

/// Counts an end of `role` that closes, after its last store and before it unlocks.
pub(crate) fn closed(words: &Words, role: Role) {
    words.control.endings.closed.of(role).fetch_add(1, Release); // E1 → E2: its arrival
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

/// Turns the record of a receiving end that is gone, or about to be, into its abandoned claim; true
/// if it was still as `owner` left it.
pub(crate) fn abandon(words: &Words, record: usize, owner: Owner) -> bool {
    let abandoned = owner.0 | ABANDONED;
    // A2 → A1, A3: everything this end ever stored in the ring.
    let left = words.owners[record].compare_exchange(owner.0, abandoned, Release, Relaxed).is_ok();
    words.control.arrivals.changes.fetch_add(1, Release); // A6 → A7: the record is nobody's
    left
}

/// Somebody has left an abandoned claim that is not settled.
pub(super) fn any_abandoned(words: &Words) -> bool {
    words.owners.iter().any(|record| owner(record).is_some_and(|(found, _)| found.is_abandoned()))
}

/// A taken record's word, and the role it was taken for.
pub(crate) fn owner(record: &OwnerWord) -> Option<(Owner, Role)> {
    let word = record.load(Acquire); // A3 ← A1: what made the record's owner
    Some((Owner(word), role_of(word)?))
}
