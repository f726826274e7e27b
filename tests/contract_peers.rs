//! C8 and C9: what "nobody there" means, to whom, and for how long.

mod support;

use std::time::Duration;

use ringpipe::{AttachError, Mpmc, PeerError, Role, Spsc, TryRecvError, TrySendError};
use support::{Child, Flavour, POLICIES, both_kinds, new_ring, options, roles, tests};

roles!();

both_kinds!(
    c08_receiver_gets_what_an_old_ring_has_left_over_and_the_end_that_nobody_was_told_of,
    c08_sender_fills_the_ring_and_waits_for_its_first_receiver,
    c08_a_sender_that_came_and_left_unseen_is_noticed,
    c08_a_receiver_that_came_and_left_unseen_is_noticed,
    c08_who_requires_a_peer_is_told_at_once_that_there_is_none,
    c08_wait_for_peer_sees_who_is_there_and_times_out_if_none_comes,
    c09_a_new_sender_may_come_after_end_of_file_and_the_receiver_goes_on,
    c09_a_new_receiver_may_come_after_a_broken_pipe_and_the_sender_goes_on,
    c09_both_ends_may_be_replaced_while_values_are_in_the_ring,
);

tests!(
    c08_others_of_its_own_kind_are_not_whom_it_waits_for,
    c09_what_a_receiver_leaves_behind_wakes_one_that_sleeps,
    c09_what_a_receiver_left_behind_is_received_at_once_by_its_successor,
    c09_a_second_producer_or_consumer_is_refused_while_the_first_lives,
    c09_ends_may_come_and_go_as_often_as_they_like_up_to_the_table,
);

fn c08_receiver_gets_what_an_old_ring_has_left_over_and_the_end_that_nobody_was_told_of<
    K: Flavour,
>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(8);
        // Two laps and a half of history, three values left over, nobody attached.
        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        for value in 0..20 {
            tx.try_send(value).unwrap();
            rx.try_recv().unwrap();
        }
        tx.try_send_slice(&[20, 21, 22]).unwrap();
        drop((tx, rx));

        let mut rx = Child::receiver::<K>(&name, policy);
        for value in 20..23 {
            rx.must("recv", &format!("Ok({value})"));
        }
        rx.must("try_recv", "Err(Closed)");
        rx.must("recv", "Err(Closed)");
        rx.finish();

        // Now somebody was told: the next one waits for a sender to come.
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.must("try_recv", "Err(Empty)");
        rx.must("recv_timeout 20", "Err(Timeout)");
        rx.say("recv");
        rx.until_waiting(policy);
        let mut tx = K::sender(&ring).unwrap();
        rx.until_waiting(policy); // a sender alone is no value
        tx.try_send(23).unwrap();
        rx.wakes_with("Ok(23)");
        drop(tx);
        rx.must("recv", "Err(Closed)");
    }
}

fn c08_sender_fills_the_ring_and_waits_for_its_first_receiver<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(2);
        drop(K::receiver(&ring).unwrap()); // history: one that left before the sender came
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("send 0", "Ok(())");
        tx.must("try_send 1", "Ok(())");
        tx.must("try_send 2", "Err(Full(2))");
        tx.must("send_timeout 2 20", "Err(Timeout(2))");
        tx.say("send 2");
        tx.until_waiting(policy);
        let mut rx = K::receiver(&ring).unwrap();
        assert_eq!(rx.try_recv(), Ok(0));
        tx.wakes_with("Ok(())");
        drop(rx);
        tx.must("send 3", "Err(Closed(3))");
    }
}

fn c08_a_sender_that_came_and_left_unseen_is_noticed<K: Flavour>() {
    for send in [false, true] {
        let (name, ring) = new_ring::<K>(4);
        let mut rx = K::receiver(&ring).unwrap();
        // The receiver does not look between these.
        let mut tx = Child::sender::<K>(&name, Default::default());
        if send {
            tx.must("send 1", "Ok(())");
        }
        tx.must("leave", "Ok");
        if send {
            assert_eq!(rx.recv(), Ok(1));
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    }
}

fn c08_a_receiver_that_came_and_left_unseen_is_noticed<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let mut tx = K::sender(&ring).unwrap();
    let mut rx = Child::receiver::<K>(&name, Default::default());
    rx.must("leave", "Ok");
    assert_eq!(tx.try_send(1), Err(TrySendError::Closed(1)));
}

fn c08_who_requires_a_peer_is_told_at_once_that_there_is_none<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("send 1", "Ok(())");
    tx.must("require_peer", "Ok");
    tx.must("try_send 2", "Err(Closed(2))");
    tx.must("send 2", "Err(Closed(2))");
    tx.finish();

    let mut rx = Child::receiver::<K>(&name, Default::default());
    rx.must("require_peer", "Ok");
    rx.must("recv", "Ok(1)"); // leftovers first
    rx.must("try_recv", "Err(Closed)");
    rx.must("recv", "Err(Closed)");
    let mut tx = K::sender(&ring).unwrap();
    rx.must("try_recv", "Err(Empty)");
    tx.try_send(3).unwrap();
    rx.must("recv", "Ok(3)");
}

fn c08_wait_for_peer_sees_who_is_there_and_times_out_if_none_comes<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let mut rx = K::receiver(&ring).unwrap();
    let short = Duration::from_millis(20);
    assert_eq!(rx.wait_for_peer(short), Err(PeerError::Timeout));
    let mut tx = Child::sender::<K>(&name, Default::default());
    assert_eq!(rx.wait_for_peer(Duration::ZERO), Ok(()));
    tx.must("wait_for_peer 0", "Ok(())");
    tx.must("leave", "Ok");
    assert_eq!(rx.wait_for_peer(short), Err(PeerError::Timeout));
    drop(rx);
    tx.must("sender", "Ok");
    tx.must("wait_for_peer 20", "Err(Timeout)");
}

/// The history is there, the endpoint table changes, and still no opposite end has come.
fn c08_others_of_its_own_kind_are_not_whom_it_waits_for() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(1);
        let (tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
        drop(tx);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed)); // that sender is history
        drop(rx);
        let mut rx = Child::receiver::<Mpmc>(&name, policy);
        rx.say("recv");
        rx.until_waiting(policy);
        drop(ring.receiver().unwrap());
        rx.until_waiting(policy);
        ring.sender().unwrap().try_send(1).unwrap();
        rx.wakes_with("Ok(1)");
        rx.must("leave", "Ok");

        let mut tx = Child::sender::<Mpmc>(&name, policy);
        tx.must("send 2", "Ok(())");
        drop(ring.sender().unwrap());
        tx.must("try_send 3", "Err(Full(3))");
        tx.say("send 3");
        tx.until_waiting(policy);
        drop(ring.sender().unwrap());
        tx.until_waiting(policy);
        assert_eq!(ring.receiver().unwrap().try_recv(), Ok(2));
        let answer = tx.hear();
        // The receiver has left again: before or after the sender saw the slot that it freed.
        assert!(["Ok(())", "Err(Closed(3))"].contains(&&*answer), "{answer}");
    }
}

fn c09_a_new_sender_may_come_after_end_of_file_and_the_receiver_goes_on<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(2);
        let mut rx = Child::receiver::<K>(&name, policy);
        for round in 0..5 {
            let mut tx = K::sender(&ring).unwrap();
            rx.must("try_recv", "Err(Empty)");
            rx.say("recv");
            rx.until_waiting(policy);
            tx.try_send(round).unwrap();
            rx.wakes_with(&format!("Ok({round})"));
            drop(tx);
            rx.must("try_recv", "Err(Closed)");
            rx.must("recv", "Err(Closed)");
            rx.must("recv", "Err(Closed)");
        }
    }
}

fn c09_a_new_receiver_may_come_after_a_broken_pipe_and_the_sender_goes_on<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = Child::sender::<K>(&name, policy);
        for round in 0..5 {
            let mut rx = K::receiver(&ring).unwrap();
            tx.must(&format!("send {round}"), "Ok(())");
            tx.say("send 77");
            tx.until_waiting(policy);
            assert_eq!(rx.try_recv(), Ok(round));
            tx.wakes_with("Ok(())");
            assert_eq!(rx.try_recv(), Ok(77));
            drop(rx);
            tx.must("try_send 9", "Err(Closed(9))");
            tx.must("send 9", "Err(Closed(9))");
        }
    }
}

fn c09_both_ends_may_be_replaced_while_values_are_in_the_ring<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let (mut next_in, mut next_out) = (0, 0);
    for _ in 0..6 {
        let mut tx = Child::sender::<K>(&name, Default::default());
        let mut rx = Child::receiver::<K>(&name, Default::default());
        for _ in 0..3 {
            tx.must(&format!("send {next_in}"), "Ok(())");
            next_in += 1;
        }
        for _ in 0..2 {
            rx.must("recv", &format!("Ok({next_out})"));
            next_out += 1;
        }
        tx.finish();
        rx.finish();
    }
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.try_iter().eq(next_out..next_in));
}

fn c09_a_second_producer_or_consumer_is_refused_while_the_first_lives() {
    let (name, ring) = new_ring::<Spsc>(4);
    let mut tx = Child::sender::<Spsc>(&name, Default::default());
    let mut rx = Child::receiver::<Spsc>(&name, Default::default());
    let refused = |role| move |e| matches!(e, AttachError::RoleTaken { role: r, .. } if r == role);
    assert!(ring.producer().is_err_and(refused(Role::Sender)));
    assert!(ring.consumer().is_err_and(refused(Role::Receiver)));
    tx.must("send 1", "Ok(())");
    rx.must("recv", "Ok(1)"); // the refused have disturbed nothing

    // A stopped process is not a dead one.
    tx.stop();
    assert!(ring.producer().is_err_and(refused(Role::Sender)));
    tx.signal(rustix::process::Signal::CONT);

    tx.must("leave", "Ok");
    let mut successor = ring.producer().unwrap();
    let refused = tx.ask("sender");
    assert!(refused.starts_with("Err(RoleTaken"), "{refused}");
    let us = format!("role: Sender, process: Some({})", std::process::id());
    assert!(refused.contains(&us), "{refused}");
    successor.try_send(2).unwrap();
    rx.must("recv", "Ok(2)");
}

fn c09_ends_may_come_and_go_as_often_as_they_like_up_to_the_table() {
    let name = support::Name::new();
    let ring = options::<Mpmc>().endpoints(3).create(&name).unwrap();
    let mut puppet = Child::sender::<Mpmc>(&name, Default::default());
    for round in 0..50 {
        let mut rx = ring.receiver().unwrap();
        let tx = ring.sender().unwrap();
        assert!(matches!(ring.sender(), Err(AttachError::TableFull { endpoints: 3, .. })));
        assert!(matches!(tx.try_clone(), Err(AttachError::TableFull { endpoints: 3, .. })));
        puppet.must(&format!("send {round}"), "Ok(())");
        assert_eq!(rx.recv(), Ok(round));
        drop((rx, tx));
    }
    let stats = ring.stats();
    assert_eq!((stats.sender_arrivals, stats.receiver_arrivals), (51, 50));
}

/// A receiver that closes while it holds items in place is not dead: no check is needed,
/// and nobody needs to wait for an interval to end.
fn c09_what_a_receiver_leaves_behind_wakes_one_that_sleeps() {
    let (name, ring) = new_ring::<Mpmc>(4);
    let mut tx = ring.sender().unwrap();
    let mut holder = ring.receiver().unwrap();
    tx.try_send(1).unwrap();
    holder.try_claim(1).unwrap().abandon();
    let mut rx = Child::receiver::<Mpmc>(&name, Default::default());
    rx.say("recv");
    rx.until_asleep();
    drop(holder);
    rx.wakes_with("Ok(1)");
}

fn c09_what_a_receiver_left_behind_is_received_at_once_by_its_successor() {
    let (name, ring) = new_ring::<Mpmc>(4);
    let mut tx = ring.sender().unwrap();
    let mut holder = ring.receiver().unwrap();
    tx.try_send(1).unwrap();
    holder.try_claim(1).unwrap().abandon();
    drop(holder);
    let mut rx = Child::receiver::<Mpmc>(&name, Default::default());
    rx.say("recv");
    rx.wakes_with("Ok(1)");
}
