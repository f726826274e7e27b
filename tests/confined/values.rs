//! Values: every call of their ends.

use std::marker::PhantomData;
use std::time::Instant;

use ringpipe::{
    BulkError, Canceller, Ending, Options, PeerError, RecvError, RecvTimeoutError, Ring, SendError,
    SendTimeoutError, TryRecvError, TrySendError,
};

use super::support::{self, Child, Flavour, Name, POLICIES, Rx, Tx};
use super::{MOMENT, SHORT, SOON, Traffic, failed, later, must};

/// A ring of numbers.
pub struct Values<K>(PhantomData<K>);

impl<K: Flavour> Traffic for Values<K> {
    type Item = u64;
    type Kind = K;
    type Sender = Tx<K>;
    type Receiver = Rx<K>;

    const ROLE: &'static str = "values_confined";
    const REDELIVERED: u64 = if K::MANY { 2 } else { 0 };

    fn options() -> Options<u64, K> {
        support::options::<K>().capacity(8)
    }

    fn sender(ring: &Ring<u64, K>) -> Tx<K> {
        let mut tx = K::sender(ring).unwrap();
        tx.set_liveness_interval(SHORT);
        tx
    }

    fn receiver(ring: &Ring<u64, K>) -> Rx<K> {
        let mut rx = K::receiver(ring).unwrap();
        rx.set_liveness_interval(SHORT);
        rx
    }

    fn cancellers(tx: &Tx<K>, rx: &Rx<K>) -> [Canceller; 2] {
        [tx.canceller(), rx.canceller()]
    }

    fn make_every_call(tx: &mut Tx<K>, rx: &mut Rx<K>, cancellers: &[Canceller; 2]) {
        make_every_call(tx, rx, cancellers);
    }

    fn move_in_place(tx: &mut Tx<K>, rx: &mut Rx<K>) {
        move_in_place(tx, rx);
    }

    fn recover(rx: &mut Rx<K>) {
        recover(rx);
    }

    fn find_the_pipe_broken(tx: &mut Tx<K>) {
        find_the_pipe_broken(tx);
    }

    fn victims(name: &Name, ring: &Ring<u64, K>) -> (Vec<Child>, Option<Tx<K>>) {
        if !K::MANY {
            let mut sender = Child::sender::<K>(name, Default::default());
            sender.must("try_send_slice 1 6", "Ok(5)");
            return (vec![sender], None);
        }
        let mut tx = K::sender(ring).unwrap();
        tx.try_send_slice(&[1, 2, 3, 4]).unwrap();
        let mut receiver = Child::receiver::<K>(name, Default::default());
        receiver.must("read 2", "[1, 2]");
        let mut sender = Child::sender::<K>(name, Default::default());
        sender.must("claim 2", "Ok(2)");
        tx.try_send(5).unwrap(); // behind that claim
        (vec![receiver, sender], Some(tx))
    }

    fn last_receiver(name: &Name) -> Child {
        Child::receiver::<K>(name, Default::default())
    }
}

fn make_every_call<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>, cancellers: &[Canceller; 2]) {
    must!(tx.wait_for_peer(MOMENT) == Ok(()));
    must!(rx.wait_for_peer(MOMENT) == Ok(()));
    for policy in POLICIES {
        tx.set_wait_policy(policy);
        rx.set_wait_policy(policy);
        move_values(tx, rx);
        find_nothing(rx);
        find_no_room(tx, rx);
        be_cancelled(tx, rx, cancellers);
    }
    must!(!tx.is_closed() && !rx.is_closed());
    let (peers, stats) = (tx.peers(), rx.ring().stats());
    must!(peers.senders == 1 && peers.receivers == 1 && stats.sent == stats.received);
    must!(tx.capacity() == 8 && rx.is_empty() && !tx.is_full() && rx.capacity() == 8);
    must!(rx.redelivered() == 0 && rx.redeliveries() == 0);
    must!(tx.ending().is_none() && rx.ending().is_none());
    tx.set_liveness_interval(SHORT);
    rx.set_liveness_interval(SHORT);
    drop((rx.ring(), tx.canceller()));
    tx.require_peer();
    rx.require_peer();
}

fn move_values<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>) {
    must!(tx.try_send(1) == Ok(()) && tx.send(2) == Ok(()));
    must!(tx.send_timeout(3, SOON) == Ok(()) && tx.send_deadline(4, later()) == Ok(()));
    must!(rx.try_recv() == Ok(1) && rx.recv() == Ok(2));
    must!(rx.recv_timeout(SOON) == Ok(3) && rx.recv_deadline(later()) == Ok(4));
    let mut into = [0; 2];
    must!(tx.try_send_slice(&[1, 2]) == Ok(2) && tx.send_slice_deadline(&[3, 4], SOON) == Ok(2));
    must!(rx.try_recv_slice(&mut into) == Ok(2) && into == [1, 2]);
    must!(rx.recv_slice_deadline(&mut into, SOON) == Ok(2) && into == [3, 4]);
    must!(tx.try_send_exact(&[5, 6]) == Ok(()) && tx.send_exact_deadline(&[7, 8], SOON) == Ok(()));
    must!(rx.try_recv_exact(&mut into) == Ok(()) && into == [5, 6]);
    must!(rx.recv_exact_deadline(&mut into, SOON) == Ok(()) && into == [7, 8]);
    for wait in [false, true] {
        let claimed = if wait { tx.claim_deadline(2, SOON) } else { tx.try_claim(2) };
        let mut run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        run.write(0, 9);
        run.commit(1);
        let claimed = if wait { rx.claim_deadline(2, SOON) } else { rx.try_claim(2) };
        let run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        must!(run.get(0) == Some(9) && run.redelivered() == 0 && run.redeliveries() == 0);
        run.release_all();
    }
    let mut run = tx.try_claim(2).unwrap_or_else(|_| failed("failed in line", line!()));
    run.write(0, 10);
    run.write(1, 11);
    run.commit_all();
    let run = rx.try_claim(2).unwrap_or_else(|_| failed("failed in line", line!()));
    must!(run.iter().eq([10, 11]));
    run.release(1);
    must!(rx.recv() == Ok(11));
    tx.try_claim(1).unwrap_or_else(|_| failed("failed in line", line!())).abandon();
    std::mem::forget(tx.try_claim(1));
    must!(tx.try_send_slice(&[1, 2, 3]) == Ok(3));
    rx.try_claim(1).unwrap_or_else(|_| failed("failed in line", line!())).abandon(); // given back
    must!(rx.recv() == Ok(1) && rx.iter().next() == Some(2) && rx.try_iter().last() == Some(3));
}

fn find_nothing<K: Flavour>(rx: &mut Rx<K>) {
    let mut into = [0; 2];
    let until = Instant::now() + MOMENT; // several liveness checks
    while Instant::now() < until {
        must!(rx.try_recv() == Err(TryRecvError::Empty));
    }
    must!(rx.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout));
    must!(rx.recv_slice_deadline(&mut into, MOMENT) == Err(BulkError::Timeout));
    must!(rx.recv_exact_deadline(&mut into, MOMENT) == Err(BulkError::Timeout));
    must!(rx.try_claim(2).err() == Some(BulkError::Empty));
    must!(rx.claim_deadline(2, MOMENT).err() == Some(BulkError::Timeout));
}

fn find_no_room<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>) {
    must!(tx.try_send_exact(&[7; 8]) == Ok(()));
    let until = Instant::now() + MOMENT;
    while Instant::now() < until {
        must!(tx.try_send(8) == Err(TrySendError::Full(8)));
    }
    must!(tx.send_timeout(8, MOMENT) == Err(SendTimeoutError::Timeout(8)));
    must!(tx.send_slice_deadline(&[8], MOMENT) == Err(BulkError::Timeout));
    must!(tx.send_exact_deadline(&[8], MOMENT) == Err(BulkError::Timeout));
    must!(tx.claim_deadline(2, MOMENT).err() == Some(BulkError::Timeout));
    must!(rx.try_recv_slice(&mut [0; 9]) == Ok(8));
}

fn be_cancelled<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>, cancellers: &[Canceller; 2]) {
    cancellers.iter().for_each(Canceller::cancel);
    must!(rx.recv() == Err(RecvError::Cancelled));
    let mut iter = rx.iter();
    must!(iter.next().is_none() && iter.error() == Some(RecvError::Cancelled));
    must!(tx.try_send_exact(&[7; 8]) == Ok(()));
    must!(tx.send(8) == Err(SendError::Cancelled(8)));
    must!(rx.try_recv_slice(&mut [0; 9]) == Ok(8));
    must!(cancellers[0].is_cancelled());
    cancellers.iter().for_each(Canceller::reset);
}

fn move_in_place<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>) {
    for wait in [false, true] {
        let claimed = if wait { tx.claim_deadline(1, SOON) } else { tx.try_claim(1) };
        let mut run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: who has this ring open are this test's processes, which keep to the protocol.
        *unsafe { run.slot_mut(0) } = 12;
        run.commit_all();
        let claimed = if wait { rx.claim_deadline(1, SOON) } else { rx.try_claim(1) };
        let run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: likewise.
        must!(*unsafe { run.slot(0) } == 12);
        run.release_all();
    }
}

fn recover<K: Flavour>(rx: &mut Rx<K>) {
    let mut count = [0; 6];
    let mut redelivered = 0;
    let end = loop {
        match rx.recv_timeout(SOON) {
            Ok(value @ 1..=5) => count[value as usize] += 1,
            Ok(_) => failed("failed in line", line!()),
            Err(end) => break end,
        }
        redelivered += rx.redelivered() as u32;
    };
    must!(end == RecvTimeoutError::Closed);
    must!(count == [0, 1, 1, 1, 1, 1]);
    must!(redelivered == if K::MANY { 2 } else { 0 });
    // On an SPSC ring the only sender was killed; on an MPMC ring one of them was, too.
    must!(rx.is_closed() && rx.ending() == Some(Ending::Died(1)));
    must!(rx.iter().error().is_none());
    must!(rx.wait_for_peer(MOMENT) == Err(PeerError::Timeout));
}

fn find_the_pipe_broken<K: Flavour>(tx: &mut Tx<K>) {
    must!(tx.wait_for_peer(SOON) == Ok(()));
    for _ in 0..8 {
        must!(tx.send_timeout(1, SOON) == Ok(()));
    }
    must!(tx.send_timeout(1, SOON) == Err(SendTimeoutError::Closed(1)));
    must!(tx.ending() == Some(Ending::Died(1)));
    must!(tx.is_closed() && tx.try_send(1) == Err(TrySendError::Closed(1)));
}
