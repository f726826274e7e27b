//! The victim's part: acts, performed.
//!
//! What every kind of ring can do is here; what depends on the kind, in
//! [`special`](crate::special).

use std::time::Duration;

use harness::trace::marker;
use harness::{End, Receives, Sends, Why};
use ringpipe::error::AttachError;
use ringpipe::{Ring, Role, WaitPolicy};

use crate::act::Act;
use crate::diary::Diary;
use crate::item::{By, Item};
use crate::rings::{CAPACITY, options};
use crate::special::Special;

pub const FOR_EVER: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
/// Beyond a short interval, as told by a clock that ticks a hundred times a second.
const IN_VAIN: Duration = Duration::from_millis(20);
pub const LONG: Duration = Duration::from_secs(10);

pub fn mine(numbers: std::ops::Range<usize>) -> Vec<Item> {
    numbers.map(|number| Item::new(By::Victim, number)).collect()
}

fn ghosts(n: usize) -> Vec<Item> {
    (0..n).map(|number| Item::new(By::Ghost, number)).collect()
}

/// The victim's whole life, up to the second marker.
pub fn perform<K: Special>(act: Act, name: &str, diary: &Diary) {
    let options = options::<K>();
    let open = || options.open(name).expect("opening the ring");
    let sender = || K::sender(&open()).expect("attaching a sender");
    let receiver = || K::receiver(&open()).expect("attaching a receiver");
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
            assert_eq!(sent, Err(Why::NotNow));
        }
        Act::Commit { claim, commit } => {
            let (mut tx, mut values) = (sender(), mine(0..commit));
            values.extend(ghosts(claim - commit));
            marker();
            let sent = tx.send_in_place(&values, commit, || diary.reach(1));
            diary.reach(2);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::CommitWritten => {
            let (mut tx, values) = (sender(), mine(0..1));
            let sent = tx.send_in_place(&values, 1, marker);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::ForgetAndSend { claim } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            marker();
            tx.hold(&ghosts(claim)).expect("room");
            diary.reach(1);
            let sent = tx.try_send(value);
            diary.reach(2);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::Send { interval_ms } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(Duration::from_millis(interval_ms));
            marker();
            let sent = tx.send_deadline(value, FOR_EVER);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::CheckAndSend { succeeds } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            tx.set_liveness_interval(SHORT);
            assert_eq!(tx.try_send(value), Err(Why::NotNow));
            std::thread::sleep(IN_VAIN);
            marker();
            let sent = tx.try_send(value);
            diary.reach(1);
            marker();
            assert_eq!(sent.is_ok(), succeeds);
        }
        Act::CheckAndRecv { succeeds } => {
            let mut rx = receiver();
            rx.set_liveness_interval(SHORT);
            assert_eq!(rx.try_recv(), Err(Why::NotNow));
            std::thread::sleep(IN_VAIN);
            marker();
            let received = rx.try_recv();
            diary.reach(1);
            marker();
            assert_eq!(received.is_ok_and(|item| item.origin().is_some()), succeeds);
        }
        Act::CloseSender => {
            let tx = sender();
            marker();
            drop(tx);
            marker();
        }
        Act::CloseSenderOwing { claim } => {
            let mut tx = sender();
            tx.hold(&ghosts(claim)).expect("room");
            marker();
            drop(tx);
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
            assert_eq!(received, Err(Why::NotNow));
        }
        Act::Release { claim, release } => {
            let mut rx = receiver();
            let mut seen = (0, 0);
            marker();
            let received = rx.recv_in_place(claim, |shown| {
                let genuine = shown.values.iter().filter(|item| item.origin().is_some());
                seen = (genuine.count(), shown.values.len());
                diary.reach(1);
                release
            });
            diary.reach(2);
            marker();
            assert_eq!((received, seen), (Ok(()), (claim, claim)));
        }
        Act::GiveBackAndRecv { claim } => {
            let mut rx = receiver();
            let mut len = 0;
            marker();
            let given_back = rx.recv_in_place(claim, |shown| {
                len = shown.values.len();
                0
            });
            diary.reach(1);
            let received = rx.try_recv();
            diary.reach(2);
            marker();
            assert_eq!((given_back, len), (Ok(()), claim));
            assert!(received.is_ok() && rx.is_again() == K::MARKS_ITS_OWN);
        }
        Act::Recv { interval_ms } => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(Duration::from_millis(interval_ms));
            marker();
            let received = rx.recv_deadline(FOR_EVER);
            diary.reach(1);
            marker();
            assert!(received.is_ok_and(|item| item.origin().is_some()));
        }
        Act::RecvInVain => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            marker();
            let received = rx.recv_deadline(Duration::ZERO);
            marker();
            assert_eq!(received, Err(Why::Timeout));
        }
        Act::RecvEndOfFile => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(LONG);
            marker();
            let received = rx.recv_deadline(FOR_EVER);
            marker();
            assert_eq!(received, Err(Why::Closed));
        }
        Act::SendBrokenPipe => {
            let (mut tx, value) = (sender(), Item::new(By::Ghost, 0));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(LONG);
            marker();
            let sent = tx.send_deadline(value, FOR_EVER);
            marker();
            assert_eq!(sent, Err(Why::Closed));
        }
        Act::WaitForPeer(Role::Sender) => {
            let mut tx = sender();
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(LONG);
            marker();
            let met = tx.wait_for_peer(FOR_EVER.into());
            marker();
            assert_eq!(met, Ok(()));
        }
        Act::WaitForPeer(Role::Receiver) => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(LONG);
            marker();
            let met = rx.wait_for_peer(FOR_EVER.into());
            marker();
            assert_eq!(met, Ok(()));
        }
        Act::CloseReceiver => {
            let rx = receiver();
            marker();
            drop(rx);
            marker();
        }
        Act::CloseReceiverHolding { claim } => {
            let mut rx = receiver();
            holds(&mut rx, claim);
            marker();
            drop(rx);
            marker();
        }
        Act::Attach(role) => {
            let ring = open();
            marker();
            attach::<K>(&ring, role).expect("attaching");
        }
        Act::Sweep(role) => {
            let ring = open();
            marker();
            let attached = attach::<K>(&ring, role);
            assert!(matches!(attached, Err(AttachError::TableFull { .. })), "{attached:?}");
            marker();
        }
        Act::OpenAttach(role) => {
            marker();
            let ring = open();
            diary.reach(1);
            attach::<K>(&ring, role).expect("attaching");
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
        Act::Visit => {
            marker();
            let ring = open();
            diary.reach(1);
            drop(ring);
            diary.reach(2);
            marker();
        }
        Act::Unlink => {
            let ring = open();
            marker();
            let unlinked = ring.unlink();
            diary.reach(1);
            marker();
            unlinked.expect("unlinking the ring");
        }
        Act::RemoveOrphans => {
            marker();
            let removed = ringpipe::remove_orphans();
            diary.reach(1);
            marker();
            removed.expect("reading /dev/shm");
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
            tx.hold(&ghosts(n)).expect("room");
            marker();
            marker();
        }
        Act::HoldRead(n) => {
            let mut rx = receiver();
            holds(&mut rx, n);
            marker();
            marker();
        }
        Act::ReadAdopted { release } => {
            let mut rx = about_to_adopt::<K>(receiver());
            let mut told = None;
            marker();
            let received = rx.recv_in_place(CAPACITY, |shown| {
                let genuine = shown.values.iter().all(|item| item.origin().is_some());
                let (len, again) = (shown.values.len(), shown.redelivered);
                told = Some((genuine, len, again, shown.redeliveries > 0));
                diary.reach(1);
                release
            });
            diary.reach(2);
            marker();
            assert_eq!((received, told), (Ok(()), Some((true, 1, 1, true))));
        }
        Act::HoldAdopted => {
            let mut rx = about_to_adopt::<K>(receiver());
            let shown = rx.recv_in_place(CAPACITY, |shown| {
                assert_eq!((shown.values.len(), shown.redelivered), (1, 1));
                0
            });
            shown.expect("an item");
            marker();
            marker();
        }
        act => K::perform(act, sender, receiver, diary),
    }
}

/// It has claimed so many values, and keeps them.
fn holds(rx: &mut impl Receives<Item>, n: usize) {
    let shown = rx.recv_in_place(n, |shown| {
        assert_eq!(shown.values.len(), n);
        0
    });
    shown.expect("items");
}

/// A receiver whose next call adopts what the dead have left.
fn about_to_adopt<K: Special>(mut rx: K::Receiver) -> K::Receiver {
    if K::MANY {
        rx.set_liveness_interval(SHORT);
        assert_eq!(rx.try_recv(), Err(Why::NotNow));
        std::thread::sleep(IN_VAIN);
    } // else it has, when it attached
    rx
}

/// Attaches, and is at the end of the operation with the end in hand.
fn attach<K: Special>(ring: &Ring<K::Element, K>, role: Role) -> Result<(), AttachError> {
    match role {
        Role::Sender => {
            let _tx = K::sender(ring)?;
            marker();
        }
        Role::Receiver => {
            let _rx = K::receiver(ring)?;
            marker();
        }
    }
    Ok(())
}
