//! Who is woken by a change of the endpoint table.
//!
//! A change moves the epoch of a wake word, which turns back whoever is about to sleep there
//! ([`word`](super::word)), and it may wake those who sleep there already. Each that is woken costs
//! a look; and one that is turned back costs another announcement, with its barrier and its brief
//! sleep. A thousand receivers that attach and go to sleep would wake each other half a million
//! times. So a change tells only those whose wait it can end:
//!
//! | change | who waits opposite | who waits in the same role |
//! | --- | --- | --- |
//! | an end attaches | is woken: may wait for a peer | – |
//! | an end leaves, or is reaped | is woken: may wait for items, for room, for the end of the file | is turned back; is woken if no opposite end is there |
//! | a claim is abandoned, or an attaching end adopts one | is woken | is woken: an adopter may be among them |
//!
//! **Why that loses nothing.** A look asks for three things: items or room, ends of the *opposite*
//! role, and abandoned claims. What an end of the sleeper's own role does to the first is told by
//! `notify`, not here; the second it does not touch; the third it touches by abandoning or adopting
//! a claim, and then wakes its own role. There is one more reason to sleep on: a receiver puts
//! end-of-file off for what the dead of its own role have left. That is so only while no sender is
//! there, and then whoever goes wakes receivers, too.
//!
//! **Two that go at once**, a sender and a receiver, must not each take the other for present. Each
//! frees its record and then adds to `changes`, so one of the two adds second. It acquires the
//! first one's addition (A6 → A7), finds that one's record free, and wakes its own role. (If an end
//! of the opposite role moves from one record to another meanwhile, a scan may find neither. That
//! is a wake too many.)
//!
//! **If the one who changes the table is killed before it wakes**, sleepers learn of the change at
//! a liveness check: an interval later.

use super::word::WakeWord;
use crate::peers::table::{self, Role};
use crate::ring::control::Words;
use crate::sync::Ordering::Acquire;

#[cfg(all(test, not(loom)))]
mod tests;

/// What has changed in the endpoint table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An end of this role has attached.
    Attached(Role),
    /// An end of this role has left, or was reaped; or some of what a dead one had claimed is
    /// settled.
    Left(Role),
    /// A claim was abandoned, or an abandoned one was adopted.
    Abandoned,
}

/// What becomes of those who wait for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// Who is about to sleep looks again.
    TurnedBack,
    /// Who sleeps does, too.
    Woken,
}

/// Whose sleepers are to look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Concerned {
    senders: Told,
    receivers: Told,
}

impl Concerned {
    const EVERYBODY: Self = Self { senders: Told::Woken, receivers: Told::Woken };

    /// Whom a change concerns that has just been made.
    fn by(words: &Words, change: Change) -> Self {
        match change {
            Change::Attached(role) => Self::of(role, Told::Nothing),
            Change::Abandoned => Self::EVERYBODY,
            Change::Left(role) => {
                // A7 ← A6: who went before us is seen to be gone.
                words.control.arrivals.changes.load(Acquire);
                let alone = table::count(words, role.opposite()) == 0;
                Self::of(role, if alone { Told::Woken } else { Told::TurnedBack })
            }
        }
    }

    /// Those opposite to `role` are woken, and its own are told this.
    fn of(role: Role, own: Told) -> Self {
        match role {
            Role::Sender => Self { senders: own, receivers: Told::Woken },
            Role::Receiver => Self { senders: Told::Woken, receivers: own },
        }
    }

    /// Together with those whom another change concerns that has just been made.
    pub(crate) fn and_by(self, words: &Words, change: Change) -> Self {
        if self.is_everybody() {
            return self;
        }
        let by = Self::by(words, change);
        let Self { senders, receivers } = self;
        Self { senders: senders.max(by.senders), receivers: receivers.max(by.receivers) }
    }

    /// All who sleep are woken.
    pub(crate) fn is_everybody(self) -> bool {
        self == Self::EVERYBODY
    }
}

/// After a change of the endpoint table.
pub(crate) fn wake_after(words: &Words, change: Change) {
    wake(words, Concerned::by(words, change));
}

/// After changes of the endpoint table.
pub(crate) fn wake(words: &Words, Concerned { senders, receivers }: Concerned) {
    for (role, told) in [(Role::Receiver, receivers), (Role::Sender, senders)] {
        let word = WakeWord::of(&words.control, role);
        match told {
            Told::Nothing => {}
            Told::TurnedBack => word.turn_back(),
            Told::Woken => word.wake_all(),
        }
    }
}
