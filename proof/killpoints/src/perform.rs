//! The victim's part: acts, performed.

use std::time::Duration;

use harness::Flavour;
use ringpipe::error::AttachError;
use ringpipe::{
    RecvError, RecvHandle, RecvTimeoutError, Ring, Role, SendError, TryRecvError, TrySendError,
    WaitPolicy,
};

use crate::act::Act;
use crate::diary::Diary;
use crate::item::{By, Item};
use crate::rings::{CAPACITY, options};
use harness::trace::marker;

const FOR_EVER: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);
/// Beyond a short interval, as told by a clock that ticks a hundred times a second.
const IN_VAIN: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(10);

fn mine(numbers: std::ops::Range<usize>) -> Vec<Item> {
    numbers.map(|number| Item::new(By::Victim, number)).collect()
}

/// The victim's whole life, up to the second marker.
pub fn perform<K: Flavour>(act: Act, name: &str, diary: &Diary) {
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
        Act::Send { interval_ms } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(Duration::from_millis(interval_ms));
            marker();
            let sent = tx.send_timeout(value, FOR_EVER);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::CheckAndSend { succeeds } => {
            let (mut tx, value) = (sender(), Item::new(By::Victim, 0));
            tx.set_liveness_interval(SHORT);
            assert_eq!(tx.try_send(value), Err(TrySendError::Full(value)));
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
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            std::thread::sleep(IN_VAIN);
            marker();
            let received = rx.try_recv();
            diary.reach(1);
            marker();
            assert_eq!(received.is_ok_and(|item| item.origin().is_some()), succeeds);
        }
        Act::SendExactSleeps(n) => {
            let (mut tx, values) = (sender(), mine(0..n));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(LONG);
            marker();
            tx.send_exact_deadline(&values, FOR_EVER).expect("room");
        }
        Act::RecvExactSleeps(n) => {
            let (mut rx, mut into) = (receiver(), vec![Item::new(By::Ghost, 0); n]);
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(LONG);
            marker();
            rx.recv_exact_deadline(&mut into, FOR_EVER).expect("items");
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
        Act::RecvExact(n) => {
            let (mut rx, mut into) = (receiver(), vec![Item::new(By::Ghost, 0); n]);
            marker();
            let received = rx.try_recv_exact(&mut into);
            diary.reach(1);
            marker();
            assert_eq!(received, Ok(()));
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
            assert!(received.is_ok() && rx.redelivered() == 1);
        }
        Act::Recv { interval_ms } => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(Duration::from_millis(interval_ms));
            marker();
            let received = rx.recv_timeout(FOR_EVER);
            diary.reach(1);
            marker();
            assert!(received.is_ok_and(|item| item.origin().is_some()));
        }
        Act::RecvInVain => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            marker();
            let received = rx.recv_timeout(Duration::ZERO);
            marker();
            assert_eq!(received, Err(RecvTimeoutError::Timeout));
        }
        Act::RecvEndOfFile => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(LONG);
            marker();
            let received = rx.recv();
            marker();
            assert_eq!(received, Err(RecvError::Closed));
        }
        Act::SendBrokenPipe => {
            let (mut tx, value) = (sender(), Item::new(By::Ghost, 0));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(LONG);
            marker();
            let sent = tx.send(value);
            marker();
            assert_eq!(sent, Err(SendError::Closed(value)));
        }
        Act::WaitForPeer(Role::Sender) => {
            let mut tx = sender();
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(LONG);
            marker();
            let met = tx.wait_for_peer(FOR_EVER);
            marker();
            assert_eq!(met, Ok(()));
        }
        Act::WaitForPeer(Role::Receiver) => {
            let mut rx = receiver();
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(LONG);
            marker();
            let met = rx.wait_for_peer(FOR_EVER);
            marker();
            assert_eq!(met, Ok(()));
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
        Act::ReadAdopted { release } => {
            let mut rx = about_to_adopt(receiver());
            marker();
            let run = rx.try_claim(CAPACITY).expect("an item");
            let genuine = run.get(0).is_some_and(|item| item.origin().is_some());
            let told = (run.len(), run.redelivered(), run.redeliveries() > 0);
            diary.reach(1);
            run.release(release);
            diary.reach(2);
            marker();
            assert_eq!((genuine, told), (true, (1, 1, true)));
        }
        Act::HoldAdopted => {
            let mut rx = about_to_adopt(receiver());
            let run = rx.try_claim(CAPACITY).expect("an item");
            assert_eq!((run.len(), run.redelivered()), (1, 1));
            marker();
            marker();
        }
    }
}

/// A receiver whose next call adopts what the dead have left.
fn about_to_adopt<K: Flavour>(mut rx: RecvHandle<Item, K>) -> RecvHandle<Item, K> {
    if K::MANY {
        rx.set_liveness_interval(SHORT);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        std::thread::sleep(IN_VAIN);
    } // else it has, when it attached
    rx
}

/// Attaches, and is at the end of the operation with the end in hand.
fn attach<K: Flavour>(ring: &Ring<Item, K>, role: Role) -> Result<(), AttachError> {
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
