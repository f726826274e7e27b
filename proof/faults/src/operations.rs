//! What is tried: an act of each kind, on each backing, among those who make a difference.

use ringpipe::Role;

use crate::act::Act;

/// Where a ring lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// In `/dev/shm`.
    Named,
    /// In a file on a disk.
    Disk,
    /// In a memfd.
    Anonymous,
}

/// The kinds of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Spsc,
    Mpmc,
    Bytes,
    SpscMessages,
    MpmcMessages,
}

/// All of them.
const KINDS: [Kind; 5] =
    [Kind::Spsc, Kind::Mpmc, Kind::Bytes, Kind::SpscMessages, Kind::MpmcMessages];

impl Kind {
    /// It has many ends of each role.
    fn is_many(self) -> bool {
        matches!(self, Self::Mpmc | Self::MpmcMessages)
    }

    /// An act makes other calls on a ring of this kind than on one of items, or calls of its own
    /// do. (All else that concerns the ring as a whole, or its name, is the same code.)
    fn differs(self, act: Act, beside: Beside) -> bool {
        use Act::*;
        match (self, act) {
            (Self::Spsc | Self::Mpmc, ReadFrom | WriteTo) => false,
            (Self::Spsc | Self::Mpmc, _) => true,
            (Self::SpscMessages | Self::MpmcMessages, ReadFrom | WriteTo | SendSlice) => false,
            (_, Create | Open | Attach(_) | Checkpoint | TrySend | SendSlice | TryRecv) => true,
            (_, ReadFrom | WriteTo | Recv | RecvTimeout | Send | SendTimeout) => true,
            (_, Clear | Leave(_) | LeaveHolding) => true,
            (_, Close) => beside == Beside::Orphan,
            _ => false,
        }
    }
}

/// Who is there beside the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// There is no ring yet.
    NoRing,
    /// A ring that somebody has open, without ends.
    Nobody,
    /// A ring that nobody has open.
    Orphan,
    /// A living sender, and so many items from it.
    Sender(usize),
    /// A living receiver, and so many items, whose sender has left.
    Receiver(usize),
    /// A living receiver that sleeps.
    SleepingReceiver,
    /// One who was killed.
    Dead(Role),
    /// A receiver that was killed with an item in hand; a living sender, and another item.
    DeadHolder,
    /// One who will be killed.
    Doomed(Role),
    /// A receiver with an item in hand that will be killed; a living sender.
    DyingHolder,
}

/// What happens when the victim waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// It does not wait, or its time comes.
    Nothing,
    Item,
    Room,
    /// Those who are doomed are killed.
    Death,
    /// A peer comes.
    Peer,
}

/// An act, and the world in which it takes place.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub kind: Kind,
    pub backing: Backing,
    pub act: Act,
    pub beside: Beside,
    pub wakes: Wakes,
}

impl Operation {
    pub fn name(&self) -> String {
        let words = format!("{:?}/{:?}/{:?}/{:?}", self.kind, self.backing, self.act, self.beside);
        words
            .to_lowercase()
            .replace(['(', ')'], "-")
            .replace("-/", "/")
            .trim_end_matches('-')
            .into()
    }

    /// How a process is told that it is only to be there.
    pub fn stays(&self, act: Act) -> &'static str {
        match act {
            Act::Stay(Role::Sender) => "stay-sender",
            Act::Stay(_) => "stay-receiver",
            _ => "stay-holding",
        }
    }

    /// What a process is told to do.
    pub fn act_of(&self, told: &str) -> Act {
        match told {
            "stay-sender" => Act::Stay(Role::Sender),
            "stay-receiver" => Act::Stay(Role::Receiver),
            "stay-holding" => Act::StayHolding,
            _ => self.act,
        }
    }
}

/// All of them.
pub fn all() -> Vec<Operation> {
    let mut all = Vec::new();
    for kind in KINDS {
        for backing in [Backing::Named, Backing::Disk, Backing::Anonymous] {
            for (act, beside, wakes) in plays() {
                let fits = match backing {
                    Backing::Named => true,
                    // Where the file matters.
                    Backing::Disk => matches!(
                        act,
                        Act::Create
                            | Act::Open
                            | Act::OpenOrCreate
                            | Act::Attach(_)
                            | Act::Close
                            | Act::Sync
                            | Act::Checkpoint
                            | Act::Unlink
                            | Act::Leave(_)
                    ),
                    Backing::Anonymous => {
                        matches!(act, Act::Create | Act::Open | Act::Attach(_) | Act::Close)
                            && beside != Beside::Orphan
                    }
                };
                // One end of each role.
                let many = match act {
                    Act::Clone(_) | Act::Lend => true,
                    Act::LeaveHolding => false,
                    _ => matches!(beside, Beside::DyingHolder),
                };
                if fits && (kind.is_many() || !many) && kind.differs(act, beside) {
                    all.push(Operation { kind, backing, act, beside, wakes });
                }
            }
        }
    }
    all
}

fn plays() -> Vec<(Act, Beside, Wakes)> {
    use Act::*;
    use Beside::{Dead, DeadHolder, Doomed, DyingHolder, NoRing, Nobody, Orphan, SleepingReceiver};
    use Role::{Receiver, Sender};
    vec![
        (Create, NoRing, Wakes::Nothing),
        (Open, Nobody, Wakes::Nothing),
        (Open, Orphan, Wakes::Nothing),
        (OpenOrCreate, NoRing, Wakes::Nothing),
        (OpenOrCreate, Nobody, Wakes::Nothing),
        (Attach(Sender), Nobody, Wakes::Nothing),
        (Attach(Receiver), Nobody, Wakes::Nothing),
        (Attach(Sender), Dead(Sender), Wakes::Nothing),
        (Attach(Receiver), DeadHolder, Wakes::Nothing),
        (Clone(Sender), Nobody, Wakes::Nothing),
        (Clone(Receiver), Nobody, Wakes::Nothing),
        (Lend, Nobody, Wakes::Nothing),
        (Unlink, Nobody, Wakes::Nothing),
        (UnlinkName, Nobody, Wakes::Nothing),
        (IsLinked, Nobody, Wakes::Nothing),
        (List, Nobody, Wakes::Nothing),
        (Orphans, Orphan, Wakes::Nothing),
        (RemoveOrphans, Orphan, Wakes::Nothing),
        (RemoveOrphan, Orphan, Wakes::Nothing),
        (RemoveOrphan, Nobody, Wakes::Nothing),
        (Sync, Nobody, Wakes::Nothing),
        (Checkpoint, Orphan, Wakes::Nothing),
        (Close, Orphan, Wakes::Nothing),
        (Close, Nobody, Wakes::Nothing),
        (TrySend, SleepingReceiver, Wakes::Nothing),
        (SendSlice, SleepingReceiver, Wakes::Nothing),
        (ReadFrom, SleepingReceiver, Wakes::Nothing),
        (TryRecv, Beside::Sender(1), Wakes::Nothing),
        (WriteTo, Beside::Sender(1), Wakes::Nothing),
        (Recv, Beside::Sender(0), Wakes::Item),
        (RecvAdaptive, Beside::Sender(0), Wakes::Item),
        (RecvTimeout, Beside::Sender(0), Wakes::Nothing),
        (Recv, Doomed(Sender), Wakes::Death),
        (Recv, DyingHolder, Wakes::Death),
        (Send, Beside::Receiver(0), Wakes::Room),
        (SendTimeout, Beside::Receiver(0), Wakes::Nothing),
        (Send, Doomed(Receiver), Wakes::Death),
        (IsClosed(Receiver), Dead(Sender), Wakes::Nothing),
        (IsClosed(Receiver), Beside::Sender(0), Wakes::Nothing),
        (IsClosed(Sender), Dead(Receiver), Wakes::Nothing),
        (WaitForPeer, Nobody, Wakes::Peer),
        (Clear, DeadHolder, Wakes::Nothing),
        (Leave(Sender), SleepingReceiver, Wakes::Nothing),
        (Leave(Receiver), Nobody, Wakes::Nothing),
        (LeaveHolding, Beside::Sender(1), Wakes::Nothing),
        (Cancel, Beside::Sender(0), Wakes::Nothing),
    ]
}
