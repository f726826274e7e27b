//! The operations in which a victim is killed: what it does, and what may be demanded afterwards.
//!
//! An act is prepared (the ring opened, the end attached), then comes the marker, the operation in
//! one or more stages, and the second marker. The harness kills between the two. What the contract
//! says of a kill in each stage is stated beside the act ([`Act::sends`], [`Act::takes`]).

use harness::Value;
use ringpipe::Role;

use crate::item::Item;

/// What a victim does between its markers.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// `try_send`, for which there is room.
    TrySend,
    /// `try_send` into a full ring.
    TrySendFull,
    /// `try_send_slice` of so many, for which there is room.
    SendSlice(usize),
    /// `try_send_exact` of so many, for which there is room.
    SendExact(usize),
    /// Claims slots, writes them in place and commits the first few.
    Commit { claim: usize, commit: usize },
    /// Commits a value that it has claimed room for and written before the marker.
    CommitWritten,
    /// Claims slots, forgets the guard, and sends one more value.
    ForgetAndSend { claim: usize },
    /// `send` that never spins; `interval_ms` is the longest sleep.
    Send { interval_ms: u64 },
    /// Closes a sending end.
    CloseSender,
    /// Closes a sending end that has forgotten a claim.
    CloseSenderOwing { claim: usize },
    /// `try_recv` for which there is an item.
    TryRecv,
    /// `try_recv` of an empty ring.
    TryRecvEmpty,
    /// `try_recv_slice` of so many, which are there.
    RecvSlice(usize),
    /// `try_recv_exact` of so many, which are there.
    RecvExact(usize),
    /// Claims items, looks at them and releases the first few.
    Release { claim: usize, release: usize },
    /// Gives claimed items back and receives the first of them.
    GiveBackAndRecv { claim: usize },
    /// `recv` that never spins; `interval_ms` is the longest sleep.
    Recv { interval_ms: u64 },
    /// `recv` of an empty ring, with the usual interval and no time: it takes its place among those
    /// who sleep, and leaves it.
    RecvInVain,
    /// `recv` that waits until the last sender has left.
    RecvEndOfFile,
    /// `send` to a full ring that waits until the last receiver has left.
    SendBrokenPipe,
    /// Waits until an opposite end comes.
    WaitForPeer(Role),
    /// Closes a receiving end.
    CloseReceiver,
    /// Closes a receiving end that has claimed items and not released them.
    CloseReceiverHolding { claim: usize },
    /// Attaches to a ring that is open.
    Attach(Role),
    /// Opens the ring by name and attaches.
    OpenAttach(Role),
    /// Attaches in vain: the records that are not the living's are those of the dead who have left
    /// something that must be adopted first.
    Sweep(Role),
    /// Creates the ring.
    Create,
    /// Creates the ring, if it is not there to be opened.
    OpenOrCreate,
    /// Opens the ring, which nobody has open, and closes it.
    Visit,
    /// Removes the ring's name.
    Unlink,
    /// Removes every ring that nobody has open.
    RemoveOrphans,
    /// `try_send` at the moment when, having tried in vain for a while, it looks after its peers.
    CheckAndSend { succeeds: bool },
    /// Likewise `try_recv`.
    CheckAndRecv { succeeds: bool },
    /// `send_exact` of so many, for which there is no room.
    SendExactSleeps(usize),
    /// `recv_exact` of so many, which are not there.
    RecvExactSleeps(usize),
    /// Does nothing; before the marker it has attached.
    Idle(Role),
    /// Does nothing; before the marker it has claimed slots and written all but the last.
    HoldWrite(usize),
    /// Does nothing; before the marker it has claimed items.
    HoldRead(usize),
    /// Claims what a dead receiver had claimed, which comes one item at a time, looks at that, and
    /// releases it or not.
    ReadAdopted { release: usize },
    /// Does nothing; before the marker it has claimed the first of what a dead receiver had
    /// claimed.
    HoldAdopted,
    /// Bytes: writes a record by two calls, the first of so many bytes.
    WriteInPieces(usize),
    /// Bytes: reads so many by one call: not whole records.
    ReadPart(usize),
    /// Bytes: claims so many values, looks at them, and releases so many bytes.
    ReleasePart { claim: usize, bytes: usize },
    /// Bytes: has the kernel read so many values from a file into the ring.
    ReadFrom(usize),
    /// Bytes: has the kernel write so many values from the ring to a file.
    WriteTo(usize),
    /// Messages: `send_all` of so many, for which there is room, or it waits.
    SendAll(usize),
    /// Messages: `try_recv_into` of less room than the message needs, and then of enough.
    RecvTooSmall,
}

/// For each stage of an act, how many items at least and at most.
pub type Bounds = Vec<(usize, usize)>;

impl Act {
    /// How many of the values that the act sends are to arrive if it is killed in each stage.
    pub fn sends(self) -> Bounds {
        match self {
            Act::TrySend
            | Act::Send { .. }
            | Act::CheckAndSend { succeeds: true }
            | Act::CommitWritten => vec![(0, 1), (1, 1)],
            Act::ForgetAndSend { .. } => vec![(0, 0), (0, 1), (1, 1)],
            Act::SendSlice(n) | Act::SendExact(n) | Act::SendAll(n) => vec![(0, n), (n, n)],
            Act::ReadFrom(n) => vec![(0, n), (n, n)],
            Act::WriteInPieces(_) => vec![(0, 0), (0, 1), (1, 1)],
            // Nobody sees what was claimed before it is committed.
            Act::Commit { commit, .. } => vec![(0, 0), (0, commit), (commit, commit)],
            _ => vec![(0, 0)],
        }
    }

    /// How many items the act receives at the most.
    pub fn touches(self) -> usize {
        match self {
            Act::TryRecv | Act::Recv { .. } | Act::CheckAndRecv { succeeds: true } => 1,
            Act::RecvTooSmall => 1,
            Act::RecvSlice(n) | Act::RecvExact(n) | Act::WriteTo(n) => n,
            Act::ReadPart(bytes) => bytes.div_ceil(Item::RECORD),
            Act::Release { claim, .. }
            | Act::ReleasePart { claim, .. }
            | Act::GiveBackAndRecv { claim }
            | Act::CloseReceiverHolding { claim } => claim,
            Act::ReadAdopted { .. } => 1,
            _ => 0,
        }
    }

    /// How many of these the act has received for good if it is killed in each stage: they do not
    /// arrive again.
    pub fn takes(self) -> Bounds {
        match self {
            Act::TryRecv | Act::Recv { .. } | Act::CheckAndRecv { succeeds: true } => {
                vec![(0, 1), (1, 1)]
            }
            Act::RecvSlice(n) | Act::RecvExact(n) | Act::WriteTo(n) => vec![(0, n), (n, n)],
            // Of a record that was read in part, the rest arrives.
            Act::ReadPart(bytes) => {
                let whole = bytes / Item::RECORD;
                vec![(0, whole), (whole, whole)]
            }
            Act::ReleasePart { bytes, .. } => {
                let whole = bytes / Item::RECORD;
                vec![(0, 0), (0, whole), (whole, whole)]
            }
            Act::Release { release, .. } | Act::ReadAdopted { release } => {
                vec![(0, 0), (0, release), (release, release)]
            }
            Act::GiveBackAndRecv { .. } | Act::RecvTooSmall => vec![(0, 0), (0, 1), (1, 1)],
            _ => vec![(0, 0)],
        }
    }

    /// From this stage on, the act has seen all the items that it touches: those that arrive again
    /// must be marked.
    pub fn has_seen_at(self) -> usize {
        match self {
            Act::CloseReceiverHolding { .. } => 0,
            // It was told how long the message is, and nothing of it.
            Act::RecvTooSmall => usize::MAX,
            // What it had read, it has released.
            Act::ReadPart(_) => usize::MAX,
            _ => 1,
        }
    }

    /// If the act moves part of a record: how many bytes behind the beginning of one the stream may
    /// end, and begin, if it is killed in this stage.
    pub fn parts(self, stage: usize) -> Option<(Vec<usize>, Vec<usize>)> {
        let before_or_at = |stage: usize, part: usize| match stage {
            0 => vec![0, part],
            _ => vec![part],
        };
        match self {
            Act::WriteInPieces(first) if stage < 2 => {
                Some((if stage == 0 { vec![0, first] } else { vec![first, 0] }, vec![0]))
            }
            Act::ReadPart(bytes) => Some((vec![0], before_or_at(stage, bytes % Item::RECORD))),
            Act::ReleasePart { bytes, .. } if stage > 0 => {
                Some((vec![0], before_or_at(stage - 1, bytes % Item::RECORD)))
            }
            Act::WriteInPieces(_) | Act::ReleasePart { .. } => Some((vec![0], vec![0])),
            _ => None,
        }
    }

    /// The act attaches before its first marker, in this role.
    pub fn attaches_before(self) -> Option<Role> {
        match self {
            Act::Idle(role) | Act::WaitForPeer(role) => Some(role),
            Act::TrySend
            | Act::TrySendFull
            | Act::SendSlice(_)
            | Act::SendExact(_)
            | Act::Commit { .. }
            | Act::CommitWritten
            | Act::ForgetAndSend { .. }
            | Act::Send { .. }
            | Act::CheckAndSend { .. }
            | Act::SendExactSleeps(_)
            | Act::SendBrokenPipe
            | Act::CloseSender
            | Act::CloseSenderOwing { .. }
            | Act::WriteInPieces(_)
            | Act::ReadFrom(_)
            | Act::SendAll(_)
            | Act::HoldWrite(_) => Some(Role::Sender),
            Act::TryRecv
            | Act::TryRecvEmpty
            | Act::RecvSlice(_)
            | Act::RecvExact(_)
            | Act::Release { .. }
            | Act::GiveBackAndRecv { .. }
            | Act::Recv { .. }
            | Act::CheckAndRecv { .. }
            | Act::RecvExactSleeps(_)
            | Act::RecvInVain
            | Act::RecvEndOfFile
            | Act::CloseReceiver
            | Act::CloseReceiverHolding { .. }
            | Act::HoldRead(_)
            | Act::ReadAdopted { .. }
            | Act::ReadPart(_)
            | Act::ReleasePart { .. }
            | Act::WriteTo(_)
            | Act::RecvTooSmall
            | Act::HoldAdopted => Some(Role::Receiver),
            Act::Attach(_)
            | Act::OpenAttach(_)
            | Act::Sweep(_)
            | Act::Create
            | Act::OpenOrCreate
            | Act::Visit
            | Act::Unlink
            | Act::RemoveOrphans => None,
        }
    }

    /// The act attaches between its markers, in this role.
    pub fn attaches_within(self) -> Option<Role> {
        match self {
            Act::Attach(role) | Act::OpenAttach(role) | Act::Sweep(role) => Some(role),
            _ => None,
        }
    }

    /// The act works on the ring as a whole, or its name.
    pub fn creates(self) -> bool {
        matches!(self, Act::Create | Act::OpenOrCreate)
    }
}
