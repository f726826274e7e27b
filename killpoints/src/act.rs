//! The operations in which a victim is killed: what it does, and what may be demanded afterwards.
//!
//! An act is prepared (the ring opened, the end attached), then comes the marker, the operation in
//! one or more stages, and the second marker. The harness kills between the two. What the contract
//! says of a kill in each stage is stated beside the act ([`Act::sends`], [`Act::takes`]).

use std::time::Duration;

use ringpipe::error::AttachError;
use ringpipe::{
    Kind, Mpmc, RecvHandle, Ring, Role, SendHandle, Spsc, TryRecvError, TrySendError, WaitPolicy,
};

use crate::item::{By, Item};
use crate::shared::Diary;
use crate::trace::marker;

/// The kinds of rings, which call their ends differently.
pub trait Flavour: Kind {
    /// Several ends of a role may be attached.
    const MANY: bool;
    /// Endpoint records of a ring.
    const SEATS: usize;
    /// Attaches a sending end.
    fn send_end(ring: &Ring<Item, Self>) -> Result<SendHandle<Item, Self>, AttachError>;
    /// Attaches a receiving end.
    fn recv_end(ring: &Ring<Item, Self>) -> Result<RecvHandle<Item, Self>, AttachError>;
}

impl Flavour for Spsc {
    const MANY: bool = false;
    const SEATS: usize = 2;
    fn send_end(ring: &Ring<Item, Self>) -> Result<SendHandle<Item, Self>, AttachError> {
        ring.producer()
    }
    fn recv_end(ring: &Ring<Item, Self>) -> Result<RecvHandle<Item, Self>, AttachError> {
        ring.consumer()
    }
}

impl Flavour for Mpmc {
    const MANY: bool = true;
    const SEATS: usize = 6;
    fn send_end(ring: &Ring<Item, Self>) -> Result<SendHandle<Item, Self>, AttachError> {
        ring.sender()
    }
    fn recv_end(ring: &Ring<Item, Self>) -> Result<RecvHandle<Item, Self>, AttachError> {
        ring.receiver()
    }
}

/// Slots of every ring here: few, so that runs wrap around and rings fill.
pub const CAPACITY: usize = 8;

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
    /// Claims slots, forgets the guard, and sends one more value.
    ForgetAndSend { claim: usize },
    /// `send` that never spins; `slice_ms` is the longest sleep.
    Send { slice_ms: u64 },
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
    /// Claims items, looks at them and releases the first few.
    Release { claim: usize, release: usize },
    /// Gives claimed items back and receives the first of them.
    GiveBackAndRecv { claim: usize },
    /// `recv` that never spins; `slice_ms` is the longest sleep.
    Recv { slice_ms: u64 },
    /// Closes a receiving end.
    CloseReceiver,
    /// Closes a receiving end that has claimed items and not released them.
    CloseReceiverHolding { claim: usize },
    /// Attaches to a ring that is open.
    Attach(Role),
    /// Opens the ring by name and attaches.
    OpenAttach(Role),
    /// Attaches in vain: the seats that are not the living's are those of the dead who have left
    /// something that must be inherited first.
    Sweep(Role),
    /// Creates the ring.
    Create,
    /// Creates the ring, if it is not there to be opened.
    OpenOrCreate,
    /// Removes the ring's name.
    Unlink,
    /// `try_send` at the moment when, having tried in vain for a while, it looks after its peers.
    DoubtAndSend { succeeds: bool },
    /// Likewise `try_recv`.
    DoubtAndRecv { succeeds: bool },
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
}

/// For each stage of an act, how many items at least and at most.
pub type Bounds = Vec<(usize, usize)>;

impl Act {
    /// How many of the values that the act sends are to arrive if it is killed in each stage.
    pub fn sends(self) -> Bounds {
        match self {
            Act::TrySend | Act::Send { .. } | Act::DoubtAndSend { succeeds: true } => {
                vec![(0, 1), (1, 1)]
            }
            Act::ForgetAndSend { .. } => vec![(0, 0), (0, 1), (1, 1)],
            Act::SendSlice(n) | Act::SendExact(n) => vec![(0, n), (n, n)],
            // Nobody sees what was claimed before it is committed.
            Act::Commit { commit, .. } => vec![(0, 0), (0, commit), (commit, commit)],
            _ => vec![(0, 0)],
        }
    }

    /// How many items the act receives at the most.
    pub fn touches(self) -> usize {
        match self {
            Act::TryRecv | Act::Recv { .. } | Act::DoubtAndRecv { succeeds: true } => 1,
            Act::RecvSlice(n) => n,
            Act::Release { claim, .. }
            | Act::GiveBackAndRecv { claim }
            | Act::CloseReceiverHolding { claim } => claim,
            _ => 0,
        }
    }

    /// How many of these the act has received for good if it is killed in each stage: they do not
    /// arrive again.
    pub fn takes(self) -> Bounds {
        match self {
            Act::TryRecv | Act::Recv { .. } | Act::DoubtAndRecv { succeeds: true } => {
                vec![(0, 1), (1, 1)]
            }
            Act::RecvSlice(n) => vec![(0, n), (n, n)],
            Act::Release { release, .. } => vec![(0, 0), (0, release), (release, release)],
            Act::GiveBackAndRecv { .. } => vec![(0, 0), (0, 1), (1, 1)],
            _ => vec![(0, 0)],
        }
    }

    /// From this stage on, the act has seen all the items that it touches: those that arrive again
    /// must be marked.
    pub fn has_seen_at(self) -> usize {
        match self {
            Act::CloseReceiverHolding { .. } => 0,
            _ => 1,
        }
    }

    /// The act attaches before its first marker, in this role.
    pub fn attaches_before(self) -> Option<Role> {
        match self {
            Act::Idle(role) => Some(role),
            Act::TrySend
            | Act::TrySendFull
            | Act::SendSlice(_)
            | Act::SendExact(_)
            | Act::Commit { .. }
            | Act::ForgetAndSend { .. }
            | Act::Send { .. }
            | Act::DoubtAndSend { .. }
            | Act::SendExactSleeps(_)
            | Act::CloseSender
            | Act::CloseSenderOwing { .. }
            | Act::HoldWrite(_) => Some(Role::Sender),
            Act::TryRecv
            | Act::TryRecvEmpty
            | Act::RecvSlice(_)
            | Act::Release { .. }
            | Act::GiveBackAndRecv { .. }
            | Act::Recv { .. }
            | Act::DoubtAndRecv { .. }
            | Act::RecvExactSleeps(_)
            | Act::CloseReceiver
            | Act::CloseReceiverHolding { .. }
            | Act::HoldRead(_) => Some(Role::Receiver),
            Act::Attach(_)
            | Act::OpenAttach(_)
            | Act::Sweep(_)
            | Act::Create
            | Act::OpenOrCreate
            | Act::Unlink => None,
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

const FOR_EVER: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(10);

fn mine(numbers: std::ops::Range<usize>) -> Vec<Item> {
    numbers.map(|number| Item::new(By::Victim, number)).collect()
}

/// The victim's whole life, up to the second marker.
pub fn perform<K: Flavour>(act: Act, name: &str, diary: &Diary) {
    let options = Ring::<Item, K>::options().capacity(CAPACITY).endpoints(K::SEATS as u32);
    let open = || options.open(name).expect("opening the ring");
    let sender = || K::send_end(&open()).expect("attaching a sender");
    let receiver = || K::recv_end(&open()).expect("attaching a receiver");
    match act {
        Act::TrySend => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            marker();
            let sent = tx.try_send(value);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::TrySendFull => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            marker();
            let sent = tx.try_send(value);
            marker();
            assert_eq!(sent, Err(TrySendError::Full(value)));
        }
        Act::SendSlice(n) => {
            let (mut tx, values) = (sender(), mine(0..n));
            marker();
            let sent = tx.try_send_slice(&values);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(n));
        }
        Act::SendExact(n) => {
            let (mut tx, values) = (sender(), mine(0..n));
            marker();
            let sent = tx.try_send_exact(&values);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::Commit { claim, commit } => {
            let (mut tx, mut values) = (sender(), mine(0..commit));
            values.resize_with(claim, || Item::new(By::Ghost, 0));
            marker();
            let mut run = tx.try_claim(claim).expect("room");
            for (index, &value) in values.iter().enumerate() {
                run.write(index, value);
            }
            diary.reach(1);
            run.commit(commit);
            diary.reach(2);
            marker();
        }
        Act::ForgetAndSend { claim } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            marker();
            let mut run = tx.try_claim(claim).expect("room");
            run.write(0, Item::new(By::Ghost, 0));
            std::mem::forget(run);
            diary.reach(1);
            let sent = tx.try_send(value);
            diary.reach(2);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::Send { slice_ms } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_wait_slice(Duration::from_millis(slice_ms));
            marker();
            let sent = tx.send_timeout(value, FOR_EVER);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::DoubtAndSend { succeeds } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            tx.set_wait_slice(SHORT);
            assert_eq!(tx.try_send(value), Err(TrySendError::Full(value)));
            std::thread::sleep(2 * SHORT);
            marker();
            let sent = tx.try_send(value);
            diary.reach(1);
            marker();
            assert_eq!(sent.is_ok(), succeeds);
        }
        Act::DoubtAndRecv { succeeds } => {
            let mut rx = receiver();
            rx.set_wait_slice(SHORT);
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            std::thread::sleep(2 * SHORT);
            marker();
            let received = rx.try_recv();
            diary.reach(1);
            marker();
            assert_eq!(received.is_ok_and(|item| item.origin().is_some()), succeeds);
        }
        Act::SendExactSleeps(n) => {
            let (mut tx, values) = (sender(), mine(0..n));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_wait_slice(LONG);
            marker();
            tx.send_exact(&values, FOR_EVER).expect("room");
        }
        Act::RecvExactSleeps(n) => {
            let (mut rx, mut into) = (receiver(), vec![Item::new(By::Ghost, 0); n]);
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_wait_slice(LONG);
            marker();
            rx.recv_exact(&mut into, FOR_EVER).expect("items");
        }
        Act::CloseSender => {
            let tx = sender();
            marker();
            tx.close();
            marker();
        }
        Act::CloseSenderOwing { claim } => {
            let mut tx = sender();
            let mut run = tx.try_claim(claim).expect("room");
            run.write(0, Item::new(By::Ghost, 0));
            std::mem::forget(run);
            marker();
            tx.close();
            marker();
        }
        Act::TryRecv => {
            let mut rx = receiver();
            marker();
            let received = rx.try_recv();
            diary.reach(1);
            marker();
            assert!(received.is_ok_and(|item| item.origin().is_some()));
        }
        Act::TryRecvEmpty => {
            let mut rx = receiver();
            marker();
            let received = rx.try_recv();
            marker();
            assert_eq!(received, Err(TryRecvError::Empty));
        }
        Act::RecvSlice(n) => {
            let (mut rx, mut into) = (receiver(), vec![Item::new(By::Ghost, 0); n]);
            marker();
            let received = rx.try_recv_slice(&mut into);
            diary.reach(1);
            marker();
            assert_eq!(received, Ok(n));
        }
        Act::Release { claim, release } => {
            let mut rx = receiver();
            marker();
            let run = rx.try_claim(claim).expect("items");
            let genuine = run.iter().filter(|item| item.origin().is_some()).count();
            let len = run.len();
            diary.reach(1);
            run.release(release);
            diary.reach(2);
            marker();
            assert_eq!((genuine, len), (claim, claim));
        }
        Act::GiveBackAndRecv { claim } => {
            let mut rx = receiver();
            marker();
            let run = rx.try_claim(claim).expect("items");
            let len = run.len();
            run.abandon();
            diary.reach(1);
            let received = rx.try_recv();
            diary.reach(2);
            marker();
            assert_eq!(len, claim);
            assert!(received.is_ok() && rx.redelivered());
        }
        Act::Recv { slice_ms } => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_wait_slice(Duration::from_millis(slice_ms));
            marker();
            let received = rx.recv_timeout(FOR_EVER);
            diary.reach(1);
            marker();
            assert!(received.is_ok_and(|item| item.origin().is_some()));
        }
        Act::CloseReceiver => {
            let rx = receiver();
            marker();
            rx.close();
            marker();
        }
        Act::CloseReceiverHolding { claim } => {
            let mut rx = receiver();
            assert_eq!(rx.try_claim(claim).expect("items").len(), claim);
            marker();
            rx.close();
            marker();
        }
        Act::Attach(role) => {
            let ring = open();
            marker();
            attach(&ring, role).expect("attaching");
        }
        Act::Sweep(role) => {
            let ring = open();
            marker();
            let attached = attach(&ring, role);
            assert!(matches!(attached, Err(AttachError::TableFull { .. })), "{attached:?}");
            marker();
        }
        Act::OpenAttach(role) => {
            marker();
            let ring = open();
            diary.reach(1);
            attach(&ring, role).expect("attaching");
        }
        Act::Create => {
            marker();
            let ring = options.create(name);
            diary.reach(1);
            marker();
            ring.expect("creating the ring");
        }
        Act::OpenOrCreate => {
            marker();
            let ring = options.open_or_create(name);
            diary.reach(1);
            marker();
            ring.expect("creating the ring");
        }
        Act::Unlink => {
            let ring = open();
            marker();
            let unlinked = ring.unlink();
            diary.reach(1);
            marker();
            unlinked.expect("unlinking the ring");
        }
        Act::Idle(role) => {
            let ring = open();
            let _ends = match role {
                Role::Sender => (Some(sender()), None),
                Role::Receiver => (None, Some(receiver())),
            };
            drop(ring);
            marker();
            marker();
        }
        Act::HoldWrite(n) => {
            let mut tx = sender();
            let mut run = tx.try_claim(n).expect("room");
            assert_eq!(run.len(), n);
            for index in 0..n - 1 {
                run.write(index, Item::new(By::Ghost, index));
            }
            marker();
            marker();
        }
        Act::HoldRead(n) => {
            let mut rx = receiver();
            let run = rx.try_claim(n).expect("items");
            assert_eq!(run.len(), n);
            marker();
            marker();
        }
    }
}

/// Attaches, and is at the end of the operation with the end in hand.
fn attach<K: Flavour>(ring: &Ring<Item, K>, role: Role) -> Result<(), AttachError> {
    match role {
        Role::Sender => {
            let _tx = K::send_end(ring)?;
            marker();
        }
        Role::Receiver => {
            let _rx = K::recv_end(ring)?;
            marker();
        }
    }
    Ok(())
}
