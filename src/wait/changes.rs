//! Who is woken by a change of the endpoint table.
//!
//! Every change moves the epoch of both wake words, which costs two additions and turns back whoever is
//! about to sleep ([`word`](super::word)). A futex wake of those who sleep costs each of them a look, and a
//! thousand sleepers that are woken by a thousand attachments cost a million. So a change wakes only
//! those whose wait it can end:
//!
//! | change | sleepers of the opposite role | sleepers of the same role |
//! | --- | --- | --- |
//! | an end attaches | they may wait for a peer | – |
//! | an end leaves, or is reaped | they may wait for items, for room, for the end of the file | only if no opposite end is there |
//! | a claim is abandoned, or an attaching end adopts one | as above | an adopter may be among them |
//!
//! **Why that loses nothing.** A look asks for three things: items or room, ends of the *opposite* role, and
//! abandoned claims. What an end of the sleeper's own role does to the first is told by `notify`, not
//! here; the second it does not touch. It touches the third, by abandoning a claim, and then wakes its
//! own role. There is one more reason to sleep on: a receiver puts end-of-file off for what the dead of
//! its own role have left. That is so only while no sender is there, and then the last row but one wakes
//! receivers, too.
//!
//! **Two that go at once**, a sender and a receiver, must not each take the other for present. Each frees
//! its record and then adds to `changes`, so one of the two adds second. It acquires the first one's
//! addition (A6 → A7), finds that one's record free, and wakes its own role. (If an end of the opposite
//! role moves from one record to another meanwhile, a scan may find neither. That is a wake too many.)
//!
//! **If the one who changes the table is killed before it wakes**, sleepers learn of the change at a
//! liveness check: an interval later.

use super::word::WakeWord;
use crate::peers::table::{self, Role};
use crate::ring::control::Words;
use crate::sync::Ordering::Acquire;

/// What has changed in the endpoint table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An end of this role has attached.
    Attached(Role),
    /// An end of this role has left, or was reaped; or some of what a dead one had claimed is settled.
    Left(Role),
    /// A claim was abandoned, or an abandoned one was adopted.
    Abandoned,
}

/// Whose sleepers are to look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Concerned {
    senders: bool,
    receivers: bool,
}

impl Concerned {
    /// Whom a change concerns that has just been made.
    fn by(words: &Words, change: Change) -> Self {
        match change {
            Change::Attached(role) => Self::only(role.opposite()),
            Change::Abandoned => Self { senders: true, receivers: true },
            Change::Left(role) => {
                // A7 ← A6: who went before us is seen to be gone.
                words.control.arrivals.changes.load(Acquire);
                match table::count(words, role.opposite()) {
                    0 => Self { senders: true, receivers: true },
                    _ => Self::only(role.opposite()),
                }
            }
        }
    }

    fn only(role: Role) -> Self {
        Self { senders: role == Role::Sender, receivers: role == Role::Receiver }
    }

    /// Together with those whom another change concerns that has just been made.
    pub(crate) fn and_by(self, words: &Words, change: Change) -> Self {
        if self.senders && self.receivers {
            return self;
        }
        let by = Self::by(words, change);
        Self { senders: self.senders || by.senders, receivers: self.receivers || by.receivers }
    }
}

/// After a change of the endpoint table.
pub(crate) fn wake_after(words: &Words, change: Change) {
    wake(words, Concerned::by(words, change));
}

/// After changes of the endpoint table: those whom they concern look again, and so does everybody who
/// is about to sleep.
pub(crate) fn wake(words: &Words, Concerned { senders, receivers }: Concerned) {
    let both = [(&words.control.data, receivers), (&words.control.space, senders)];
    for (word, concerned) in both {
        match concerned {
            true => WakeWord::new(word).wake_all(),
            false => WakeWord::new(word).turn_back(),
        }
    }
}
