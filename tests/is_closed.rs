//! C4, C7 and C8 by question: is the other side gone, asked of the locks now? And what those find
//! who do not ask: a ring with room takes values for the dead, the endpoint table counts them, and
//! an adopter puts off end-of-file.

mod support;

use std::time::Duration;

use ringpipe::{Mpmc, RecvTimeoutError, TryRecvError, TrySendError, list};
use support::{Child, Flavour, LONG_INTERVAL, both_kinds, new_ring, roles, tests, until};

roles!();

both_kinds!(
    c4_a_killed_receiver_is_known_by_its_lock_while_the_ring_has_room,
    c7_a_killed_sender_is_known_by_its_lock_while_there_are_items,
    c8_nobody_is_gone_before_somebody_came,
    c9_a_newcomer_opens_what_was_closed,
    c17_the_table_counts_the_dead_and_the_list_does_not,
);

tests!(
    c4_a_sender_on_the_way_out_with_others_left_closes_nothing,
    c2_an_adopter_puts_off_end_of_file_and_another_holder_does_not,
);

fn c4_a_killed_receiver_is_known_by_its_lock_while_the_ring_has_room<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut tx = K::sender(&ring).unwrap();
    tx.set_liveness_interval(LONG_INTERVAL);
    let mut rx = Child::receiver::<K>(&name, Default::default());
    assert_eq!(tx.try_send(1), Ok(()));
    assert!(!tx.is_closed());
    rx.stop();
    assert!(!tx.is_closed(), "who is stopped is alive");
    rx.kill();
    // There is room, and nobody has looked.
    assert_eq!(tx.try_send(2), Ok(()));
    assert!(tx.is_closed());
    assert!(tx.is_closed());
    assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
    // What was sent to nobody is there for the next.
    let mut next = K::receiver(&ring).unwrap();
    assert!(next.try_iter().eq(1..3));
}

fn c7_a_killed_sender_is_known_by_its_lock_while_there_are_items<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = K::receiver(&ring).unwrap();
    rx.set_liveness_interval(LONG_INTERVAL);
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("try_send_slice 0 3", "Ok(3)");
    assert_eq!(rx.try_recv(), Ok(0));
    assert!(!rx.is_closed());
    tx.kill();
    assert!(rx.is_closed());
    assert_eq!(rx.try_recv(), Ok(1));
    assert!(rx.is_closed());
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
}

fn c8_nobody_is_gone_before_somebody_came<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    // The dead of an earlier time are nobody's peers.
    Child::sender::<K>(&name, Default::default()).kill();
    Child::receiver::<K>(&name, Default::default()).kill();
    let mut tx = K::sender(&ring).unwrap();
    assert!(!tx.is_closed());
    tx.require_peer();
    assert!(tx.is_closed());
    drop(tx);
    // A receiver's peers are also senders of whose end-of-file nobody was told.
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.is_closed());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    drop(rx);
    let mut rx = K::receiver(&ring).unwrap();
    assert!(!rx.is_closed());
    rx.require_peer();
    assert!(rx.is_closed());
    // One that came and went unseen.
    drop(rx);
    let mut rx = K::receiver(&ring).unwrap();
    Child::sender::<K>(&name, Default::default()).kill();
    assert!(rx.is_closed());
}

fn c9_a_newcomer_opens_what_was_closed<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut tx = K::sender(&ring).unwrap();
    for round in 0..3 {
        let rx = Child::receiver::<K>(&name, Default::default());
        assert!(!tx.is_closed(), "round {round}");
        rx.kill();
        assert!(tx.is_closed());
        let mut rx = Child::receiver::<K>(&name, Default::default());
        assert!(!tx.is_closed());
        tx.try_send(round).unwrap();
        rx.must("recv", &format!("Ok({round})"));
        rx.finish();
        assert!(tx.is_closed());
    }
}

fn c17_the_table_counts_the_dead_and_the_list_does_not<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = K::receiver(&ring).unwrap();
    rx.set_liveness_interval(Duration::from_millis(1));
    Child::sender::<K>(&name, Default::default()).kill();
    let listed = || list().unwrap().into_iter().find(|seen| seen.name == *name).unwrap();
    let (peers, seen) = (ring.peers(), listed());
    assert_eq!((peers.senders, peers.receivers), (1, 1), "nobody has noticed");
    assert_eq!((seen.senders, seen.receivers, seen.dead), (0, 1, 1));
    // Someone who waits notices.
    assert_eq!(rx.recv_timeout(LONG_INTERVAL), Err(RecvTimeoutError::Closed));
    let (peers, seen) = (ring.peers(), listed());
    assert_eq!((peers.senders, peers.receivers), (0, 1));
    assert_eq!((seen.senders, seen.receivers, seen.dead), (0, 1, 0));
}

fn c4_a_sender_on_the_way_out_with_others_left_closes_nothing() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = ring.receiver().unwrap();
    let [one, other, last] = [(); 3].map(|()| Child::sender::<Mpmc>(&name, Default::default()));
    one.kill();
    assert!(!rx.is_closed());
    other.finish();
    assert!(!rx.is_closed());
    last.kill();
    assert!(rx.is_closed());
}

fn c2_an_adopter_puts_off_end_of_file_and_another_holder_does_not() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let short = Duration::from_millis(1);
    let [mut adopter, mut other] = [(); 2].map(|()| ring.receiver().unwrap());
    adopter.set_liveness_interval(short);
    other.set_liveness_interval(short);
    let mut tx = ring.sender().unwrap();
    let mut dies = Child::receiver::<Mpmc>(&name, Default::default());
    tx.try_send_slice(&[1, 2, 3, 4]).unwrap();
    dies.must("read 2", "[1, 2]");
    let own = adopter.try_claim(2).unwrap();
    assert_eq!(own.iter().collect::<Vec<_>>(), [3, 4]);
    drop(tx);
    // The dead one may have something to leave: not before that is settled.
    dies.kill();
    // This one adopts, as the other has its hands full.
    assert_eq!(other.recv_timeout(LONG_INTERVAL), Ok(1));
    assert_eq!(other.redelivered(), 1);
    assert_eq!(other.recv_timeout(LONG_INTERVAL), Ok(2));
    // What `adopter` has claimed itself puts nothing off.
    assert_eq!(other.recv_timeout(LONG_INTERVAL), Err(RecvTimeoutError::Closed));
    own.release(2);

    // Now the one adopts and keeps it, and the other waits.
    let mut tx = ring.sender().unwrap();
    let mut dies = Child::receiver::<Mpmc>(&name, Default::default());
    tx.try_send_slice(&[5, 6]).unwrap();
    dies.must("read 2", "[5, 6]");
    drop(tx);
    dies.kill();
    until("an adoption", || adopter.try_claim(2).ok().map(|run| run.abandon()));
    for _ in 0..3 {
        let waits = other.recv_timeout(5 * short);
        assert_eq!(waits, Err(RecvTimeoutError::Timeout));
        assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
    }
    // And for good reason.
    drop(adopter);
    assert_eq!(other.recv_timeout(LONG_INTERVAL), Ok(5));
    assert_eq!(other.redelivered(), 1);
    assert_eq!(other.recv_timeout(LONG_INTERVAL), Ok(6));
    assert_eq!(other.recv_timeout(LONG_INTERVAL), Err(RecvTimeoutError::Closed));
}
