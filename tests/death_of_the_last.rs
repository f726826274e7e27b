//! C2, C4, C7 to C9 when it is `kill -9` that ends an end: the other side drains what there is,
//! learns that nobody is there, whether it sleeps, spins or only tries, and goes on with whoever
//! comes next. One that is merely stopped is alive.

#[path = "support/death.rs"]
mod death;
mod support;

use std::time::Duration;

use death::{
    DATA, MANY_CHECKS, SHORT_INTERVAL, SOON, SPACE, checking_receiver, flagged, hoarder, trying,
};
use ringpipe::{
    BulkError, Mpmc, PeerError, RecvTimeoutError, SendTimeoutError, Spsc, TryRecvError,
    TrySendError,
};
use rustix::process::Signal;
use support::{Child, Flavour, POLICIES, SLEEPING_POLICIES, both_kinds, new_ring, roles, tests};

roles!(hoarder);

both_kinds!(
    c02_a_waiting_receiver_sees_end_of_file_when_the_last_sender_is_killed,
    c02_values_of_a_killed_sender_are_drained_before_end_of_file,
    c02_a_receiver_that_only_tries_sees_end_of_file_when_the_last_sender_is_killed,
    c02_a_receiver_that_waits_for_no_time_sees_end_of_file_when_the_last_sender_is_killed,
    c02_a_receiver_that_tries_seldom_sees_end_of_file_within_a_few_tries,
    c02_waits_for_many_items_end_when_the_last_sender_is_killed,
    c04_a_waiting_sender_sees_a_broken_pipe_when_the_last_receiver_is_killed,
    c04_a_sender_that_only_tries_sees_a_broken_pipe_when_the_last_receiver_is_killed,
    c04_a_sender_that_waits_for_no_time_sees_a_broken_pipe_when_the_last_receiver_is_killed,
    c04_waits_for_much_space_end_when_the_last_receiver_is_killed,
    c07_a_sender_that_is_stopped_counts_as_alive,
    c07_a_receiver_that_is_stopped_counts_as_alive,
    c07_a_receiver_killed_asleep_costs_one_wake_and_no_more,
    c07_a_sender_killed_asleep_costs_one_wake_and_no_more,
    c08_the_dead_are_no_peers_of_those_who_come_after_them,
    c08_a_wait_for_a_peer_is_not_content_with_a_dead_one_for_ever,
    c09_a_successor_goes_on_where_a_killed_sender_had_published,
    c09_a_successor_goes_on_where_a_killed_receiver_had_released,
    c12_a_ring_whose_every_process_was_killed_opens_with_what_was_published,
);

tests!(
    c02_it_is_no_end_of_file_while_one_of_the_senders_lives,
    c04_it_is_no_broken_pipe_while_one_of_the_receivers_lives,
    c08_the_dead_are_no_peers_though_others_of_the_living_come_and_go,
    c09_ends_of_both_kinds_in_one_killed_process_come_back_on_an_spsc_ring,
    c09_all_records_of_a_killed_process_come_back,
);

fn c02_a_waiting_receiver_sees_end_of_file_when_the_last_sender_is_killed<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(4);
        let mut rx = Child::checking::<K>(&name, "receiver", policy);
        // Again and again: a new sender may come after each end-of-file (C9).
        for value in 0..3 {
            let mut tx = Child::sender::<K>(&name, policy);
            tx.must(&format!("send {value}"), "Ok(())");
            rx.must("recv", &format!("Ok({value})"));
            rx.say("recv");
            rx.until_waiting(policy);
            tx.kill();
            rx.must_hear("Err(Closed)");
            rx.must("try_recv", "Err(Closed)");
        }
    }
}

fn c02_values_of_a_killed_sender_are_drained_before_end_of_file<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(8);
        let mut rx = Child::checking::<K>(&name, "receiver", policy);
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("try_send_slice 0 5", "Ok(5)");
        tx.kill();
        rx.must("drain", "[0, 1, 2, 3, 4] then Err(Closed)");
    }
}

fn c02_a_receiver_that_only_tries_sees_end_of_file_when_the_last_sender_is_killed<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = K::receiver(&ring).unwrap();
    let mut tx = Child::sender::<K>(&name, Default::default());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    tx.must("send 7", "Ok(())");
    tx.kill();
    assert_eq!(rx.try_recv(), Ok(7));
    let told = trying(|| rx.try_recv().err().filter(|e| *e != TryRecvError::Empty));
    assert_eq!(told, TryRecvError::Closed);

    // The same of the calls for several items.
    let tx = Child::sender::<K>(&name, Default::default());
    assert_eq!(rx.try_recv_slice(&mut [0; 2]), Err(BulkError::Empty));
    tx.kill();
    let told = trying(|| rx.try_claim(2).err().filter(|e| *e != BulkError::Empty));
    assert_eq!(told, BulkError::Closed);
}

fn c02_a_receiver_that_waits_for_no_time_sees_end_of_file_when_the_last_sender_is_killed<
    K: Flavour,
>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(8);
        let mut rx = checking_receiver(&ring);
        rx.set_wait_policy(policy);
        let tx = Child::sender::<K>(&name, Default::default());
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        tx.kill();
        let timeout = RecvTimeoutError::Timeout;
        let told = trying(|| rx.recv_timeout(Duration::ZERO).err().filter(|e| *e != timeout));
        assert_eq!(told, RecvTimeoutError::Closed, "{policy:?}");
    }
}

fn c02_a_receiver_that_tries_seldom_sees_end_of_file_within_a_few_tries<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    let tx = Child::sender::<K>(&name, Default::default());
    // Each try more than an interval after the one before, as one does who polls now and then.
    let mut tried = || {
        std::thread::sleep(2 * SHORT_INTERVAL);
        rx.try_recv()
    };
    for _ in 0..70 {
        assert_eq!(tried(), Err(TryRecvError::Empty));
    }
    tx.kill();
    let needed = (1..=100).find(|_| tried() == Err(TryRecvError::Closed));
    assert!(needed.is_some_and(|tries| tries <= 3), "learned after {needed:?} tries");
}

fn c02_waits_for_many_items_end_when_the_last_sender_is_killed<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(8);
        let mut rx = Child::checking::<K>(&name, "receiver", policy);
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("try_send_slice 0 3", "Ok(3)");
        rx.say("recv_exact 4 60000");
        rx.until_waiting(policy);
        tx.kill();
        rx.must_hear("Err(Closed)");
        rx.must("drain", "[0, 1, 2] then Err(Closed)");

        let tx = Child::sender::<K>(&name, policy);
        rx.say("read 4");
        rx.until_waiting(policy);
        tx.kill();
        rx.must_hear("Err(Closed)");
    }
}

fn c04_a_waiting_sender_sees_a_broken_pipe_when_the_last_receiver_is_killed<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(1);
        let mut tx = Child::checking::<K>(&name, "sender", policy);
        tx.must("sigpipe_kills", "Ok");
        for value in [0, 2, 4] {
            let mut rx = Child::receiver::<K>(&name, policy);
            tx.must(&format!("send {value}"), "Ok(())");
            tx.say(&format!("send {}", value + 1));
            tx.until_waiting(policy);
            if value == 2 {
                rx.must("recv", "Ok(2)"); // it was alive, after all
                tx.must_hear("Ok(())");
                tx.say("send 9");
                tx.until_waiting(policy);
                rx.kill();
                tx.must_hear("Err(Closed(9))");
            } else {
                rx.kill();
                tx.must_hear(&format!("Err(Closed({}))", value + 1));
            }
            tx.must("try_send 5", "Err(Closed(5))");
            // Room for the next round.
            let mut rx = Child::receiver::<K>(&name, policy);
            rx.ask("recv");
            rx.finish();
        }
    }
}

fn c04_a_sender_that_only_tries_sees_a_broken_pipe_when_the_last_receiver_is_killed<K: Flavour>() {
    let (name, ring) = new_ring::<K>(1);
    let mut tx = K::sender(&ring).unwrap();
    let rx = Child::receiver::<K>(&name, Default::default());
    tx.try_send(0).unwrap();
    rx.kill();
    let told = trying(|| tx.try_send(1).err().filter(|e| !matches!(e, TrySendError::Full(1))));
    assert_eq!(told, TrySendError::Closed(1));

    let rx = Child::receiver::<K>(&name, Default::default());
    assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    rx.kill();
    let told = trying(|| tx.try_claim(1).err().filter(|e| *e != BulkError::Full));
    assert_eq!(told, BulkError::Closed);
}

fn c04_a_sender_that_waits_for_no_time_sees_a_broken_pipe_when_the_last_receiver_is_killed<
    K: Flavour,
>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = K::sender(&ring).unwrap();
        tx.set_wait_policy(policy);
        tx.set_liveness_interval(SHORT_INTERVAL);
        let rx = Child::receiver::<K>(&name, Default::default());
        tx.try_send(0).unwrap();
        rx.kill();
        let timeout = SendTimeoutError::Timeout(1);
        let told = trying(|| tx.send_timeout(1, Duration::ZERO).err().filter(|e| *e != timeout));
        assert_eq!(told, SendTimeoutError::Closed(1), "{policy:?}");
    }
}

fn c04_waits_for_much_space_end_when_the_last_receiver_is_killed<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(4);
        let mut tx = Child::checking::<K>(&name, "sender", policy);
        let rx = Child::receiver::<K>(&name, policy);
        tx.must("try_send_slice 0 2", "Ok(2)");
        tx.say("send_exact 0 3 60000");
        tx.until_waiting(policy);
        rx.kill();
        tx.must_hear("Err(Closed)");
    }
}

fn c02_it_is_no_end_of_file_while_one_of_the_senders_lives() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = checking_receiver(&ring);
    let mut senders: Vec<_> =
        (0..3).map(|_| Child::sender::<Mpmc>(&name, Default::default())).collect();
    for value in 0.. {
        let Some(mut tx) = senders.pop() else { break };
        tx.must(&format!("send {value}"), "Ok(())");
        tx.kill();
        assert_eq!(rx.recv_timeout(SOON), Ok(value));
        let then = match senders.is_empty() {
            false => RecvTimeoutError::Timeout,
            true => RecvTimeoutError::Closed,
        };
        assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(then), "{value}");
    }
}

fn c04_it_is_no_broken_pipe_while_one_of_the_receivers_lives() {
    let (name, ring) = new_ring::<Mpmc>(1);
    let mut tx = ring.sender().unwrap();
    tx.set_liveness_interval(SHORT_INTERVAL);
    let mut receivers: Vec<_> =
        (0..3).map(|_| Child::receiver::<Mpmc>(&name, Default::default())).collect();
    tx.try_send(0).unwrap();
    while let Some(rx) = receivers.pop() {
        rx.kill();
        let told = tx.send_timeout(1, MANY_CHECKS);
        let expected = match receivers.is_empty() {
            false => SendTimeoutError::Timeout(1),
            true => SendTimeoutError::Closed(1),
        };
        assert_eq!(told, Err(expected));
    }
}

fn c07_a_sender_that_is_stopped_counts_as_alive<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut rx = checking_receiver(&ring);
        rx.set_wait_policy(policy);
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("send 0", "Ok(())");
        tx.stop();
        assert_eq!(rx.recv(), Ok(0));
        assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
        let tries_end = std::time::Instant::now() + MANY_CHECKS;
        while std::time::Instant::now() < tries_end {
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        }
        tx.signal(Signal::CONT);
        tx.must("send 1", "Ok(())");
        assert_eq!(rx.recv(), Ok(1));

        // Killed while it is stopped, it is dead.
        tx.stop();
        tx.kill();
        assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    }
}

fn c07_a_receiver_that_is_stopped_counts_as_alive<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = K::sender(&ring).unwrap();
        tx.set_liveness_interval(SHORT_INTERVAL);
        tx.set_wait_policy(policy);
        let mut rx = Child::receiver::<K>(&name, policy);
        tx.send(0).unwrap();
        rx.stop();
        assert_eq!(tx.send_timeout(1, MANY_CHECKS), Err(SendTimeoutError::Timeout(1)));
        let tries_end = std::time::Instant::now() + MANY_CHECKS;
        while std::time::Instant::now() < tries_end {
            assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
        }
        rx.signal(Signal::CONT);
        rx.must("recv", "Ok(0)");
        tx.send(1).unwrap();
        rx.must("recv", "Ok(1)");

        tx.send(2).unwrap();
        rx.stop();
        rx.kill();
        assert_eq!(tx.send_timeout(3, SOON), Err(SendTimeoutError::Closed(3)));
    }
}

fn c07_a_receiver_killed_asleep_costs_one_wake_and_no_more<K: Flavour>() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.say("recv");
        rx.until_asleep();
        rx.kill();
        assert!(flagged(&name, DATA), "what is to be cleaned up");
        tx.try_send(0).unwrap();
        assert!(!flagged(&name, DATA), "the first publication clears the flag of the dead");
        tx.try_send(1).unwrap();
        let mut rx = K::receiver(&ring).unwrap();
        assert!(rx.try_iter().eq(0..2));
    }
}

fn c07_a_sender_killed_asleep_costs_one_wake_and_no_more<K: Flavour>() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<K>(2);
        let mut rx = K::receiver(&ring).unwrap();
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("try_send_slice 0 2", "Ok(2)");
        tx.say("send 2");
        tx.until_asleep();
        tx.kill();
        assert!(flagged(&name, SPACE), "what is to be cleaned up");
        assert_eq!(rx.try_recv(), Ok(0));
        assert!(!flagged(&name, SPACE), "the first release clears the flag of the dead");
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    }
}

fn c08_the_dead_are_no_peers_of_those_who_come_after_them<K: Flavour>() {
    let (name, ring) = new_ring::<K>(2);
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("send 0", "Ok(())");
    tx.kill();
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(SOON), Ok(0));
    assert_eq!(rx.wait_for_peer(MANY_CHECKS), Err(PeerError::Timeout));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed), "at once: none lived when it came");
    drop(rx);
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.wait_for_peer(MANY_CHECKS), Err(PeerError::Timeout));
    let tx = Child::sender::<K>(&name, Default::default());
    assert_eq!(rx.wait_for_peer(Duration::ZERO), Ok(()));
    tx.kill();
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    drop(rx);

    let rx = Child::receiver::<K>(&name, Default::default());
    rx.kill();
    let mut tx = K::sender(&ring).unwrap();
    tx.set_liveness_interval(SHORT_INTERVAL);
    assert_eq!(tx.try_send_slice(&[1, 2, 3]), Ok(2));
    assert_eq!(tx.send_timeout(3, MANY_CHECKS), Err(SendTimeoutError::Timeout(3)));
    assert_eq!(tx.wait_for_peer(MANY_CHECKS), Err(PeerError::Timeout));
    let rx = Child::receiver::<K>(&name, Default::default());
    assert_eq!(tx.wait_for_peer(Duration::ZERO), Ok(()));
    rx.kill();
    assert_eq!(tx.send_timeout(3, SOON), Err(SendTimeoutError::Closed(3)));
}

fn c08_the_dead_are_no_peers_though_others_of_the_living_come_and_go() {
    let (name, ring) = new_ring::<Mpmc>(2);
    Child::sender::<Mpmc>(&name, Default::default()).kill();
    let mut rx = checking_receiver(&ring);
    let another = ring.receiver().unwrap(); // the endpoint table changes, which says nothing of senders
    assert_eq!(rx.wait_for_peer(Duration::ZERO), Err(PeerError::Timeout));
    drop(another);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed), "at once: none lived when it came");
    drop(rx);
    let mut rx = checking_receiver(&ring);
    let another = ring.receiver().unwrap();
    assert_eq!(rx.wait_for_peer(Duration::ZERO), Err(PeerError::Timeout));
    drop(another);
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    drop(rx);

    Child::receiver::<Mpmc>(&name, Default::default()).kill();
    let mut tx = ring.sender().unwrap();
    tx.set_liveness_interval(SHORT_INTERVAL);
    let another = tx.try_clone().unwrap();
    assert_eq!(tx.wait_for_peer(Duration::ZERO), Err(PeerError::Timeout));
    assert_eq!(tx.try_send_slice(&[0, 1]), Ok(2));
    drop(another);
    assert_eq!(tx.send_timeout(2, MANY_CHECKS), Err(SendTimeoutError::Timeout(2)));
}

fn c08_a_wait_for_a_peer_is_not_content_with_a_dead_one_for_ever<K: Flavour>() {
    let (name, ring) = new_ring::<K>(2);
    let mut rx = checking_receiver(&ring);
    Child::sender::<K>(&name, Default::default()).kill();
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.wait_for_peer(MANY_CHECKS), Err(PeerError::Timeout));
    assert_eq!(ring.peers().senders, 0);
    let _tx = Child::sender::<K>(&name, Default::default());
    assert_eq!(rx.wait_for_peer(SOON), Ok(()));
}

fn c09_a_successor_goes_on_where_a_killed_sender_had_published<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    for generation in 0..20 {
        let mut tx = Child::sender::<K>(&name, Default::default());
        tx.must(&format!("send_each {generation} {}", generation + 3), "Ok(())");
        // Not committed: it never was.
        tx.must("claim 1", "Ok(1)");
        tx.must("write 0 777", "Ok");
        tx.kill();
        for value in generation..generation + 3 {
            assert_eq!(rx.recv_timeout(SOON), Ok(value));
        }
        if generation % 4 == 3 {
            assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
        }
    }
}

fn c09_a_successor_goes_on_where_a_killed_receiver_had_released<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut tx = K::sender(&ring).unwrap();
    let (mut next_in, mut next_out) = (0, 0);
    for _ in 0..20 {
        let mut rx = Child::receiver::<K>(&name, Default::default());
        while tx.try_send(next_in).is_ok() {
            next_in += 1;
        }
        for _ in 0..3 {
            rx.must("recv", &format!("Ok({next_out})"));
            next_out += 1;
        }
        rx.kill();
    }
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.try_iter().eq(next_out..next_in));
    assert_eq!(next_out, 60);
}

fn c12_a_ring_whose_every_process_was_killed_opens_with_what_was_published<K: Flavour>() {
    let name = support::Name::new();
    let mut creator = Child::puppet::<K>(&name);
    creator.must("create 8", "Ok");
    creator.must("sender", "Ok");
    let mut rx = Child::receiver::<K>(&name, Default::default());
    creator.must("try_send_slice 0 6", "Ok(6)");
    rx.must("recv", "Ok(0)");
    rx.must("recv", "Ok(1)");
    creator.kill();
    rx.kill();

    let mut adopter = Child::puppet::<K>(&name);
    adopter.must("open", "Ok");
    adopter.must("sender", "Ok");
    adopter.must("send 6", "Ok(())");
    adopter.must("receiver", "Ok");
    adopter.must("recv_exact 5 1000", "Ok([2, 3, 4, 5, 6])");
}

fn c09_ends_of_both_kinds_in_one_killed_process_come_back_on_an_spsc_ring() {
    let (name, ring) = new_ring::<Spsc>(4);
    for round in 0..5 {
        let mut both = Child::sender::<Spsc>(&name, Default::default());
        both.must("receiver", "Ok");
        both.must(&format!("send {round}"), "Ok(())");
        assert!(ring.producer().is_err() && ring.consumer().is_err());
        both.kill();
        let (_tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        assert_eq!(rx.try_recv(), Ok(round));
    }
}

fn c09_all_records_of_a_killed_process_come_back() {
    const RECORDS: usize = 16;
    let name = support::Name::new();
    let ring = support::options::<Mpmc>().endpoints(RECORDS as u32).create(&name).unwrap();
    for senders in [1, 7, 15] {
        let mut hoarder = Child::start::<Mpmc>("hoarder", &name);
        hoarder.must(&senders.to_string(), &format!("{senders} {}", RECORDS - senders));
        assert!(ring.sender().is_err() && ring.receiver().is_err(), "the table is full");
        hoarder.kill();
        let ends: Vec<_> = std::iter::from_fn(|| ring.sender().ok()).collect();
        assert_eq!(ends.len(), RECORDS);
        drop(ends);
        let ends: Vec<_> = std::iter::from_fn(|| ring.receiver().ok()).collect();
        assert_eq!(ends.len(), RECORDS);
    }
}
