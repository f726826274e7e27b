//! The loss table when `kill -9` ends somebody in the middle of it: what a dead sender had claimed
//! is passed over, what a dead receiver had not released is delivered again, exactly once and
//! marked, or dropped where the ring is told so.

#[path = "support/death.rs"]
mod death;
mod support;

use std::collections::BTreeMap;

use death::{
    MANY_CHECKS, SHORT_INTERVAL, SOON, checking_receiver, collected, collector, hold_recovery,
    name_recoverer, name_visitor, next, recoverer, trying,
};
use ringpipe::{AttachError, BulkError, Mpmc, RecvTimeoutError, Ring, TryRecvError};
use support::{
    Child, Flavour, Name, POLICIES, Rx, Tx, both_kinds, new_ring, options, roles, tests,
};

roles!(collector);

both_kinds!(
    what_a_killed_receiver_held_is_delivered_again_and_marked,
    what_a_killed_receiver_had_released_of_a_run_is_not_delivered_again,
    what_a_receiver_holds_when_it_leaves_is_delivered_again_and_marked,
    what_a_killed_receiver_held_is_dropped_and_counted_if_the_ring_says_so,
    what_a_receiver_holds_when_it_leaves_is_dropped_and_counted_if_the_ring_says_so,
    a_run_that_a_killed_sender_had_not_committed_never_was,
);

tests!(
    c02_what_lies_behind_the_claim_of_a_killed_sender_is_received,
    c02_what_lies_behind_the_claim_of_a_killed_sender_comes_before_end_of_file,
    c05_a_sender_gets_the_space_that_a_killed_receiver_held,
    a_waiting_receiver_takes_over_what_a_killed_one_held,
    a_receiver_that_only_tries_takes_over_what_a_killed_one_held,
    what_a_killed_receiver_held_comes_before_end_of_file,
    what_a_receiver_that_left_held_comes_before_end_of_file,
    it_is_no_end_of_file_while_somebody_else_is_recovering,
    ends_recover_while_somebody_holds_the_byte_of_those_who_attach,
    what_is_adopted_is_adopted_again_from_a_killed_adopter,
    a_wait_for_many_items_is_not_stuck_behind_a_few_adopted_ones,
    many_that_die_at_once_leave_nothing_stuck_and_nothing_twice,
    survivors_in_several_processes_recover_each_value_exactly_once,
    a_claim_of_one_that_is_stopped_is_left_alone,
);

/// What `rx` receives next, `count` values with their marks: in order on an SPSC ring; sorted on an
/// MPMC ring, where a receiver sees what nobody had claimed before it checks and adopts.
#[track_caller]
fn take<K: Flavour>(rx: &mut Rx<K>, count: usize) -> Vec<(u64, bool)> {
    let mut taken: Vec<_> = (0..count).map(|_| next(rx)).collect();
    if K::MANY {
        taken.sort_unstable();
    }
    taken
}

/// A receiver in another process that has received 0 of 0 to 4 and claimed 1, 2 and 3.
fn one_who_holds_three<K: Flavour>(name: &Name, ring: &Ring<u64, K>) -> (Tx<K>, Child) {
    let mut tx = K::sender(ring).unwrap();
    tx.try_send_slice(&[0, 1, 2, 3, 4]).unwrap();
    let mut rx = Child::receiver::<K>(name, Default::default());
    rx.must("recv", "Ok(0)");
    rx.must("read 3", "[1, 2, 3]");
    (tx, rx)
}

fn what_a_killed_receiver_held_is_delivered_again_and_marked<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let (_tx, dead) = one_who_holds_three(&name, &ring);
    dead.kill();
    let mut rx = checking_receiver(&ring);
    assert_eq!(take(&mut rx, 4), [(1, true), (2, true), (3, true), (4, false)]);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(ring.stats().redelivered, 3);
}

fn what_a_killed_receiver_had_released_of_a_run_is_not_delivered_again<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let (_tx, mut dead) = one_who_holds_three(&name, &ring);
    dead.must("release 1", "Ok");
    dead.kill();
    let mut rx = checking_receiver(&ring);
    assert_eq!(take(&mut rx, 3), [(2, true), (3, true), (4, false)]);
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    assert_eq!(ring.stats().redelivered, 2);
}

fn what_a_receiver_holds_when_it_leaves_is_delivered_again_and_marked<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let (_tx, mut gone) = one_who_holds_three(&name, &ring);
    gone.must("abandon", "Ok");
    gone.must("leave", "Ok");
    assert_eq!(ring.peers().receivers, 0);
    let mut rx = checking_receiver(&ring);
    assert_eq!(take(&mut rx, 4), [(1, true), (2, true), (3, true), (4, false)]);
    assert_eq!(ring.stats().redelivered, 3);
}

fn what_a_killed_receiver_held_is_dropped_and_counted_if_the_ring_says_so<K: Flavour>() {
    let name = Name::new();
    let ring = options::<K>().capacity(8).drop_unreleased(true).create(&name).unwrap();
    let (mut tx, dead) = one_who_holds_three(&name, &ring);
    dead.kill();
    check_dropped(&ring, &mut tx);
}

fn what_a_receiver_holds_when_it_leaves_is_dropped_and_counted_if_the_ring_says_so<K: Flavour>() {
    let name = Name::new();
    let ring = options::<K>().capacity(8).drop_unreleased(true).create(&name).unwrap();
    let (mut tx, mut gone) = one_who_holds_three(&name, &ring);
    gone.must("abandon", "Ok");
    gone.must("leave", "Ok");
    check_dropped(&ring, &mut tx);
}

fn check_dropped<K: Flavour>(ring: &Ring<u64, K>, tx: &mut Tx<K>) {
    let mut rx = checking_receiver(ring);
    assert_eq!(next(&mut rx), (4, false));
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    let stats = ring.stats();
    assert_eq!((stats.dropped, stats.redelivered), (3, 0));
    // All space is there again.
    assert_eq!(tx.try_send_slice(&[5; 9]), Ok(8));
    assert_eq!(rx.try_iter().count(), 8);
}

fn a_run_that_a_killed_sender_had_not_committed_never_was<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut dead = Child::sender::<K>(&name, Default::default());
    dead.must("send 0", "Ok(())");
    dead.must("claim 3", "Ok(3)");
    dead.must("write 0 777", "Ok");
    dead.kill();
    let mut rx = checking_receiver(&ring);
    let mut tx = K::sender(&ring).unwrap();
    tx.try_send(1).unwrap();
    drop(tx);
    assert!(rx.iter().eq([0, 1]));
    // And all space is there again.
    let mut tx = K::sender(&ring).unwrap();
    assert_eq!(tx.try_send_slice(&[2; 9]), Ok(8));
}

fn c02_what_lies_behind_the_claim_of_a_killed_sender_is_received() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut rx = Child::checking::<Mpmc>(&name, "receiver", policy);
        let mut tx = ring.sender().unwrap();
        let mut dead = Child::sender::<Mpmc>(&name, policy);
        dead.must("claim 2", "Ok(2)");
        tx.try_send_slice(&[2, 3]).unwrap();
        rx.must("try_recv", "Err(Empty)");
        rx.say("recv");
        rx.until_waiting(policy);
        dead.kill();
        rx.must_hear("Ok(2)");
        rx.must("recv", "Ok(3)");
        assert_eq!(ring.stats().skipped, 2);
    }

    // One that only tries.
    let (name, ring) = new_ring::<Mpmc>(8);
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let mut dead = Child::sender::<Mpmc>(&name, Default::default());
    dead.must("claim 2", "Ok(2)");
    tx.try_send(2).unwrap();
    dead.kill();
    assert_eq!(trying(|| rx.try_recv().ok()), 2);
}

fn c02_what_lies_behind_the_claim_of_a_killed_sender_comes_before_end_of_file() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut rx = Child::checking::<Mpmc>(&name, "receiver", policy);
        let mut dead = Child::sender::<Mpmc>(&name, policy);
        dead.must("claim 2", "Ok(2)");
        let mut second = Child::sender::<Mpmc>(&name, policy);
        second.must("send 2", "Ok(())");
        second.must("claim 1", "Ok(1)");
        let mut tx = ring.sender().unwrap();
        tx.try_send(4).unwrap();
        drop(tx);
        dead.kill();
        second.kill();
        rx.must("drain", "[2, 4] then Err(Closed)");
        assert_eq!(ring.stats().skipped, 3);
    }
}

fn c05_a_sender_gets_the_space_that_a_killed_receiver_held() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(4);
        let mut tx = Child::checking::<Mpmc>(&name, "sender", policy);
        tx.must("try_send_slice 0 4", "Ok(4)");
        let mut dead = Child::receiver::<Mpmc>(&name, policy);
        dead.must("read 2", "[0, 1]");
        let mut rx = checking_receiver(&ring);
        assert_eq!(take(&mut rx, 2), [(2, false), (3, false)]);
        tx.say("send_each 4 8");
        tx.until_waiting(policy);
        dead.kill();
        assert_eq!(take(&mut rx, 2), [(0, true), (1, true)]);
        tx.must_hear("Ok(())");
        assert_eq!(take(&mut rx, 4), [(4, false), (5, false), (6, false), (7, false)]);
    }
}

fn a_waiting_receiver_takes_over_what_a_killed_one_held() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(4);
        let mut tx = ring.sender().unwrap();
        tx.try_send_slice(&[0, 1, 2]).unwrap();
        let mut dead = Child::receiver::<Mpmc>(&name, policy);
        dead.must("read 3", "[0, 1, 2]");
        let mut rx = Child::checking::<Mpmc>(&name, "receiver", policy);
        rx.say("recv");
        rx.until_waiting(policy);
        dead.kill();
        rx.must_hear("Ok(0)");
        rx.must("recv_exact 2 0", "Err(Held { held: 2 })"); // they come one at a time
        rx.must("recv", "Ok(1)");
        rx.must("recv", "Ok(2)");
        assert_eq!(ring.stats().redelivered, 3);
        rx.must("recv_timeout 200", "Err(Timeout)");
        assert_eq!(ring.peers().receivers, 1, "the dead one has lost its record");
    }
}

fn a_receiver_that_only_tries_takes_over_what_a_killed_one_held() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = ring.receiver().unwrap();
    let (_tx, dead) = one_who_holds_three(&name, &ring);
    assert_eq!(rx.try_recv(), Ok(4));
    dead.kill();
    let run = trying(|| rx.try_recv().ok());
    assert_eq!((run, rx.redelivered()), (1, 1));
    for value in 2..4 {
        let run = rx.try_claim(8).unwrap();
        let told = (run.redelivered(), run.redeliveries());
        assert_eq!((run.iter().collect::<Vec<_>>(), told), (vec![value], (1, 1)));
        run.release_all();
    }
    assert_eq!(ring.stats().redelivered, 3);
}

fn what_a_killed_receiver_held_comes_before_end_of_file() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = ring.receiver().unwrap();
    let (tx, dead) = one_who_holds_three(&name, &ring);
    drop(tx);
    dead.kill();
    // The first look for the end finds it: no interval needs to pass.
    rx.set_liveness_interval(support::LONG_INTERVAL);
    assert_eq!(rx.try_recv(), Ok(4));
    for value in 1..4 {
        assert_eq!((rx.try_recv(), rx.redelivered()), (Ok(value), 1));
    }
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
}

fn what_a_receiver_that_left_held_comes_before_end_of_file() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = ring.receiver().unwrap();
    let (tx, mut gone) = one_who_holds_three(&name, &ring);
    drop(tx);
    gone.must("abandon", "Ok");
    gone.must("leave", "Ok");
    let rest: Vec<_> = rx.iter().collect();
    assert_eq!(rest, [4, 1, 2, 3]);
}

fn it_is_no_end_of_file_while_somebody_else_is_recovering() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = checking_receiver(&ring);
    let (tx, dead) = one_who_holds_three(&name, &ring);
    drop(tx);
    let recovering = Child::receiver::<Mpmc>(&name, Default::default());
    name_recoverer(&name, recovering.pid());
    dead.kill();
    assert_eq!(rx.recv(), Ok(4));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    assert_ne!(recoverer(&name), 0);
    recovering.kill(); // in the midst of it: its name stays
    assert_eq!(take(&mut rx, 3), [(1, true), (2, true), (3, true)]);
    assert_eq!(rx.recv(), Err(ringpipe::RecvError::Closed));
    assert_eq!(recoverer(&name), 0);
}

/// Whoever attaches and finds every record taken recovers before it has one of its own: the byte is
/// its proof of life, and nobody else needs it.
fn ends_recover_while_somebody_holds_the_byte_of_those_who_attach() {
    let name = Name::new();
    let ring = options::<Mpmc>().capacity(8).endpoints(3).create(&name).unwrap();
    let mut rx = checking_receiver(&ring);
    let (_tx, dead) = one_who_holds_three(&name, &ring);
    let attaching = hold_recovery(&name);
    dead.kill();
    assert!(
        matches!(ring.receiver(), Err(AttachError::TableFull { .. })),
        "nobody visits beside it"
    );
    assert_eq!(take(&mut rx, 4), [(1, true), (2, true), (3, true), (4, false)]);
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    assert_eq!(ring.peers().receivers, 1, "the dead one has lost its record");
    assert_eq!(recoverer(&name), 0);

    // Nor does one that was killed while it attached keep anybody from recovering.
    let dead = Child::receiver::<Mpmc>(&name, Default::default());
    name_visitor(&name);
    dead.kill();
    assert!(matches!(ring.receiver(), Err(AttachError::TableFull { .. })), "it may live");
    drop(attaching);
    let _rx = ring.receiver().expect("the record of the dead one");
    assert_eq!(recoverer(&name), 0);
}

fn what_is_adopted_is_adopted_again_from_a_killed_adopter() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let (_tx, dead) = one_who_holds_three(&name, &ring);
    dead.kill();
    for generation in 0..4 {
        let mut adopter = Child::checking::<Mpmc>(&name, "receiver", Default::default());
        if generation == 0 {
            adopter.must("recv", "Ok(4)");
        }
        adopter.must("read 8", "[1]");
        if generation == 2 {
            adopter.must("abandon", "Ok");
            adopter.must("leave", "Ok");
        } else {
            adopter.kill();
        }
    }
    let mut rx = checking_receiver(&ring);
    // One claimed all three, and four more were shown the first.
    for (value, redeliveries) in [(1, 5), (2, 1), (3, 1)] {
        assert_eq!((next(&mut rx), rx.redeliveries()), ((value, true), redeliveries));
    }
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
}

fn a_wait_for_many_items_is_not_stuck_behind_a_few_adopted_ones() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = checking_receiver(&ring);
    let (mut tx, dead) = one_who_holds_three(&name, &ring);
    assert_eq!(rx.try_recv(), Ok(4));
    dead.kill();
    // The three come first and alone: the receiver has to be told to take them.
    let mut four = [0; 4];
    assert_eq!(rx.recv_exact_deadline(&mut four, SOON), Err(BulkError::Held { held: 3 }));
    tx.try_send_slice(&[5, 6, 7, 8]).unwrap();
    assert_eq!(rx.try_recv_exact(&mut four), Err(BulkError::Held { held: 3 }));
    assert_eq!(take(&mut rx, 3), [(1, true), (2, true), (3, true)]);
    assert_eq!(rx.recv_exact_deadline(&mut four, SOON), Ok(()));
    assert_eq!(four, [5, 6, 7, 8]);

    // The same of one that only tries.
    let mut dead = Child::receiver::<Mpmc>(&name, Default::default());
    tx.try_send(9).unwrap();
    dead.must("read 1", "[9]");
    dead.kill();
    let told = trying(|| rx.try_recv_exact(&mut four).err().filter(|e| *e != BulkError::Empty));
    assert_eq!(told, BulkError::Held { held: 1 });
}

/// Senders that have sent and are in the middle of sending more, receivers that hold some of it.
/// Kills them all at once; gives what is to be received, and whether it was before.
fn massacre(name: &Name, senders: u64, receivers: usize) -> BTreeMap<u64, bool> {
    let (mut victims, mut expected) = (Vec::new(), BTreeMap::new());
    for from in (0..senders).map(|n| n * 100) {
        let mut tx = Child::sender::<Mpmc>(name, Default::default());
        tx.must(&format!("try_send_slice {from} {}", from + 8), "Ok(8)");
        tx.must("claim 3", "Ok(3)");
        expected.extend((from..from + 8).map(|value| (value, false)));
        victims.push(tx);
    }
    for _ in 0..receivers {
        let mut rx = Child::receiver::<Mpmc>(name, Default::default());
        let held = rx.ask("read 5");
        for value in held.trim_matches(['[', ']']).split(", ") {
            *expected.get_mut(&value.parse().unwrap()).unwrap() = true;
        }
        victims.push(rx);
    }
    for victim in &victims {
        victim.signal(rustix::process::Signal::KILL);
    }
    for victim in victims {
        victim.kill();
    }
    expected
}

fn many_that_die_at_once_leave_nothing_stuck_and_nothing_twice() {
    for round in 0..3 {
        let (name, ring) = new_ring::<Mpmc>(64);
        let mut rx = checking_receiver(&ring);
        // The receivers hold the first sender's items, and the stuck positions bar the rest.
        let expected = massacre(&name, 4, if round == 0 { 0 } else { 2 });
        let tx = ring.sender().unwrap();
        let got: Vec<_> = (0..expected.len()).map(|_| next(&mut rx)).collect();
        assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
        assert_eq!(got.len(), expected.len());
        assert_eq!(got.into_iter().collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(ring.stats().skipped, 12);
        drop(tx);
        assert_eq!(rx.recv(), Err(ringpipe::RecvError::Closed));
        assert_eq!(ring.peers().senders, 0);
    }
}

fn survivors_in_several_processes_recover_each_value_exactly_once() {
    for _ in 0..3 {
        let (name, ring) = new_ring::<Mpmc>(128);
        let mut tx = ring.sender().unwrap();
        let mut collectors: Vec<_> =
            (0..3).map(|_| Child::start::<Mpmc>("collector", &name)).collect();
        for collector in &mut collectors {
            collector.must("3", "Ok");
        }
        let mut expected = massacre(&name, 5, 2);
        for collector in &mut collectors {
            collector.say("go");
        }
        for value in 1000..1040 {
            tx.send(value).unwrap();
            expected.insert(value, false);
        }
        drop(tx);
        let mut got: Vec<_> = collectors.iter_mut().flat_map(|c| collected(&c.hear())).collect();
        got.sort_unstable();
        assert_eq!(got, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(ring.stats().skipped, 15);
    }
}

fn a_claim_of_one_that_is_stopped_is_left_alone() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = checking_receiver(&ring);
    let mut stopped = Child::sender::<Mpmc>(&name, Default::default());
    stopped.must("claim 1", "Ok(1)");
    let mut tx = ring.sender().unwrap();
    tx.set_liveness_interval(SHORT_INTERVAL);
    tx.try_send(1).unwrap();
    stopped.stop();
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    stopped.signal(rustix::process::Signal::CONT);
    stopped.must("write 0 0", "Ok");
    stopped.must("commit 1", "Ok");
    assert_eq!((rx.recv(), rx.recv()), (Ok(0), Ok(1)));

    let mut stopped = Child::receiver::<Mpmc>(&name, Default::default());
    tx.try_send_slice(&[2, 3, 4]).unwrap();
    stopped.must("read 2", "[2, 3]");
    stopped.stop();
    assert_eq!(rx.recv(), Ok(4));
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    stopped.signal(rustix::process::Signal::CONT);
    stopped.must("release 2", "Ok");
    stopped.must("leave", "Ok");
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
    assert_eq!(ring.stats().redelivered, 0);
}
