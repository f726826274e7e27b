//! C17: anyone may ask, at any time, and nobody notices.

mod support;

use std::fs;

use ringpipe::{Mpmc, Peers, Stats};
use support::{Child, Flavour, both_kinds, new_ring, options, roles, tests};

roles!();

both_kinds!(
    c17_an_onlooker_leaves_no_trace_in_the_ring,
    c17_questions_are_answered_while_traffic_runs_and_disturb_nobody,
    c17_length_and_fullness_are_exact_when_nothing_moves,
    c17_arrivals_and_peers_tell_who_came_and_who_is_there,
);

tests!(c17_what_was_given_up_or_given_out_again_is_counted);

fn c17_an_onlooker_leaves_no_trace_in_the_ring<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(4);
    let mut tx = Child::sender::<K>(&name, Default::default());
    let mut rx = Child::receiver::<K>(&name, Default::default());
    tx.must("send_slice 0 3", "Ok(3)");
    rx.must("recv", "Ok(0)");
    let before = fs::read(name.path()).unwrap();
    for _ in 0..3 {
        let onlooker = options::<K>().open(&name).unwrap();
        assert_eq!(onlooker.capacity(), 4);
        assert_eq!(onlooker.len(), 2);
        assert!(!onlooker.is_empty() && !onlooker.is_full());
        assert_eq!(counts(onlooker.peers()), (1, 1));
        assert_eq!(onlooker.stats().sent, 3);
        assert_eq!(onlooker.element().size, 8);
        let said = format!("{onlooker:?} {:?} {}", onlooker.created(), onlooker.id());
        assert!(said.contains(&*name), "{said}");
    }
    assert!(fs::read(name.path()).unwrap() == before, "a trace");
    rx.must("recv", "Ok(1)");
    tx.finish();
    rx.must("drain", "[2] then Err(Closed)"); // an onlooker is nobody's peer
}

fn counts(peers: Peers) -> (usize, usize) {
    (peers.senders, peers.receivers)
}

fn c17_questions_are_answered_while_traffic_runs_and_disturb_nobody<K: Flavour>() {
    const COUNT: u64 = 20_000;
    let (name, ring) = new_ring::<K>(16);
    let mut rx = Child::receiver::<K>(&name, Default::default());
    let mut tx = Child::sender::<K>(&name, Default::default());
    rx.say("drain");
    tx.say(&format!("send_each 0 {COUNT}"));
    let mut last = ring.stats();
    let mut asked = 0u64;
    while last.received < COUNT {
        let len = ring.len();
        assert!(len <= ring.capacity(), "{len} items");
        assert_eq!(counts(ring.peers()), (1, 1));
        let now = ring.stats();
        assert!(now.sent >= last.sent && now.received >= last.received);
        assert!(now.sent <= COUNT && now.received <= COUNT);
        assert_eq!(history(now), (1, 1, 0, 0, 0));
        last = now;
        asked += 1;
    }
    assert!(asked > 10, "it was over before it was asked about");
    tx.must_hear("Ok(())");
    tx.must("leave", "Ok");
    let all: Vec<u64> = (0..COUNT).collect();
    rx.must_hear(&format!("{all:?} then Err(Closed)"));
    assert_eq!((ring.stats().sent, ring.stats().received), (COUNT, COUNT));
}

fn history(stats: Stats) -> (u64, u64, u64, u64, u64) {
    let Stats { sender_arrivals, receiver_arrivals, skipped, redelivered, dropped, .. } = stats;
    (sender_arrivals, receiver_arrivals, skipped, redelivered, dropped)
}

fn c17_length_and_fullness_are_exact_when_nothing_moves<K: Flavour>() {
    let (name, onlooker) = new_ring::<K>(3); // rounded up
    assert_eq!(onlooker.capacity(), 4);
    let mut tx = Child::sender::<K>(&name, Default::default());
    let mut rx = Child::receiver::<K>(&name, Default::default());
    for lap in 0..5 {
        for len in 0..4 {
            let answers = (onlooker.len(), onlooker.is_empty(), onlooker.is_full());
            assert_eq!(answers, (len, len == 0, false), "lap {lap}");
            tx.must("try_send 7", "Ok(())");
        }
        assert!(onlooker.is_full() && onlooker.len() == 4);
        for left in (0..4).rev() {
            rx.must("try_recv", "Ok(7)");
            assert_eq!(onlooker.len(), left);
        }
        assert!(onlooker.is_empty());
    }
}

fn c17_arrivals_and_peers_tell_who_came_and_who_is_there<K: Flavour>() {
    let (name, onlooker) = new_ring::<K>(4);
    assert_eq!(counts(onlooker.peers()), (0, 0));
    for round in 1..4 {
        let tx = Child::sender::<K>(&name, Default::default());
        assert_eq!(counts(onlooker.peers()), (1, 0));
        let mut rx = Child::receiver::<K>(&name, Default::default());
        assert_eq!(counts(onlooker.peers()), (1, 1));
        tx.finish();
        assert_eq!(counts(onlooker.peers()), (0, 1));
        rx.must("leave", "Ok");
        assert_eq!(counts(onlooker.peers()), (0, 0));
        assert_eq!(history(onlooker.stats()), (round, round, 0, 0, 0));
    }
}

fn c17_what_was_given_up_or_given_out_again_is_counted() {
    let (name, onlooker) = new_ring::<Mpmc>(8);
    let mut tx = Child::sender::<Mpmc>(&name, Default::default());
    let mut rx = Child::receiver::<Mpmc>(&name, Default::default());
    tx.must("claim 3", "Ok(3)");
    tx.must("write 0 7", "Ok");
    tx.must("commit 1", "Ok");
    assert_eq!(history(onlooker.stats()), (1, 1, 2, 0, 0));
    rx.must("recv", "Ok(7)");
    tx.must("send_slice 0 3", "Ok(3)");
    rx.must("read 3", "[0, 1, 2]");
    rx.must("release 1", "Ok");
    rx.must("leave", "Ok"); // two are still its own, and are left to whoever comes next
    let mut adopter = Child::receiver::<Mpmc>(&name, Default::default());
    adopter.must("wait Park 5", "Ok");
    adopter.must("recv", "Ok(1)");
    adopter.must("recv", "Ok(2)");
    adopter.must("try_recv", "Err(Empty)");
    assert_eq!(history(onlooker.stats()), (1, 2, 2, 2, 0));
}
