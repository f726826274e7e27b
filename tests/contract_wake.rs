//! C6 and C7: one order for all, and nobody sleeps beside what they are waiting for.
//!
//! The sleepers here sleep in intervals of ten seconds, and each test first sees them asleep in the
//! kernel. So whoever is awake before its interval is over has been woken by what the test did, and
//! `wakes_with` insists on that by the sleeper's own clock.

mod support;

use std::collections::BTreeMap;

use ringpipe::{Mpmc, RecvError, WaitPolicy};
use support::{
    Child, Flavour, LONG_INTERVAL, Me, Name, POLICIES, SLEEPING_POLICIES, WOKEN, both_kinds,
    new_ring, options, roles, tests, within,
};

roles!(send_numbers, receive_numbers);

both_kinds!(
    c06_values_arrive_once_and_in_the_order_they_were_sent,
    c07_sleeping_receiver_wakes_for_data,
    c07_sleeping_sender_wakes_for_space,
    c07_sleeping_receiver_wakes_when_the_last_sender_leaves,
    c07_sleeping_sender_wakes_when_the_last_receiver_leaves,
    c07_a_wait_for_a_peer_ends_when_one_attaches,
    c07_a_wait_for_several_items_ends_when_the_last_of_them_comes,
    c07_a_wait_for_several_slots_ends_when_the_last_of_them_is_free,
    c07_a_sleeper_wakes_again_and_again,
    c07_two_that_sleep_long_pass_thousands_of_values,
);

tests!(
    c06_each_of_several_senders_keeps_its_order_and_each_value_goes_to_one_receiver,
    c07_two_receivers_asleep_are_both_woken_by_a_publication_out_of_order,
    c07_one_publication_of_many_wakes_as_many_receivers,
    c07_one_release_of_many_wakes_as_many_senders,
    c07_all_receivers_wake_when_the_last_sender_leaves,
    c07_all_senders_wake_when_the_last_receiver_leaves,
    c07_a_wake_that_one_sleeper_cannot_use_reaches_the_other,
    c07_a_wait_for_a_peer_does_not_swallow_a_wake_for_data,
    c07_slots_that_were_given_up_wake_a_sender_once_a_receiver_has_passed_them,
    c07_a_claim_given_up_wakes_the_receiver_that_waits_behind_it,
    c07_a_cancelled_or_late_sleeper_takes_no_wake_from_another,
    c07_a_receiver_that_holds_an_item_in_place_lets_others_wake_for_the_next,
    c07_a_sender_that_holds_a_slot_in_place_lets_others_wake_for_the_next,
);

const STEP: u64 = 1_000_000_000;

/// Sends `FROM * STEP ..` in order: "FROM COUNT".
fn send_numbers<K: Flavour>(mut me: Me) {
    let mut tx = K::sender(&options::<K>().open(&me.ring).unwrap()).unwrap();
    me.say("attached");
    let order = me.hear().unwrap();
    let (from, count) = order.split_once(' ').unwrap();
    let (from, count): (u64, u64) = (from.parse().unwrap(), count.parse().unwrap());
    for n in 0..count {
        tx.send(from * STEP + n).unwrap();
    }
    me.say("sent");
    me.hear();
}

/// Receives until end-of-file and tells everything.
fn receive_numbers<K: Flavour>(mut me: Me) {
    let mut rx = K::receiver(&options::<K>().open(&me.ring).unwrap()).unwrap();
    me.say("attached");
    me.hear();
    let values: Vec<String> = rx.iter().map(|value| value.to_string()).collect();
    assert_eq!(rx.recv(), Err(RecvError::Closed));
    me.say(values.join(" "));
    me.hear();
}

fn c06_values_arrive_once_and_in_the_order_they_were_sent<K: Flavour>() {
    for capacity in [1, 2, 64] {
        check_order::<K>(capacity, 1, 1, 20_000);
    }
}

fn c06_each_of_several_senders_keeps_its_order_and_each_value_goes_to_one_receiver() {
    for capacity in [1, 2, 64] {
        check_order::<Mpmc>(capacity, 3, 3, 8_000);
    }
    check_order::<Mpmc>(16, 1, 4, 8_000);
    check_order::<Mpmc>(16, 4, 1, 8_000);
}

fn check_order<K: Flavour>(capacity: usize, senders: u64, receivers: usize, count: u64) {
    let (name, _ring) = new_ring::<K>(capacity);
    let start = |role: &str| {
        let mut child = Child::start::<K>(role, &name);
        assert_eq!(child.hear(), "attached");
        child
    };
    let mut rxs: Vec<Child> = (0..receivers).map(|_| start("receive_numbers")).collect();
    let mut txs: Vec<Child> = (0..senders).map(|_| start("send_numbers")).collect();
    rxs.iter_mut().for_each(|rx| rx.say("go"));
    for (tx, from) in txs.iter_mut().zip(0..) {
        tx.say(&format!("{from} {count}"));
    }
    for mut tx in txs {
        assert_eq!(tx.hear(), "sent");
        tx.finish();
    }
    let mut all = Vec::new();
    for mut rx in rxs {
        let heard = rx.hear();
        let values: Vec<u64> = heard.split_whitespace().map(|v| v.parse().unwrap()).collect();
        let mut last = BTreeMap::new();
        for &value in &values {
            let before = last.insert(value / STEP, value);
            assert!(before < Some(value), "{value} after {before:?}");
        }
        all.extend(values);
        rx.finish();
    }
    all.sort_unstable();
    let sent = (0..senders).flat_map(|from| (0..count).map(move |n| from * STEP + n));
    assert!(all.into_iter().eq(sent), "lost or doubled");
}

fn c07_sleeping_receiver_wakes_for_data<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        for command in ["recv", "recv_timeout 90000", "recv_exact 1 90000"] {
            rx.say(command);
            rx.until_waiting(policy);
            tx.try_send(5).unwrap();
            let answer = rx.hear();
            assert!(["Ok(5)", "Ok([5])"].contains(&&*answer), "{answer}");
            assert!(rx.took() < WOKEN, "{command} was not woken");
        }
        rx.say("read 2");
        rx.until_waiting(policy);
        tx.try_send_slice(&[6, 7]).unwrap();
        rx.wakes_with("[6, 7]");
        rx.must("release 2", "Ok");
    }
}

fn c07_sleeping_sender_wakes_for_space<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut rx = K::receiver(&ring).unwrap();
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("send 0", "Ok(())");
        for (command, answer) in [
            ("send 1", "Ok(())"),
            ("send_timeout 1 90000", "Ok(())"),
            ("send_slice 1 2", "Ok(1)"),
            ("send_exact 1 2 90000", "Ok(())"),
        ] {
            tx.say(command);
            tx.until_waiting(policy);
            rx.try_recv().unwrap();
            tx.wakes_with(answer);
        }
        tx.say("claim 1");
        tx.until_waiting(policy);
        rx.try_claim(1).unwrap().release_all();
        tx.wakes_with("Ok(1)");
    }
}

fn c07_sleeping_receiver_wakes_when_the_last_sender_leaves<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(4);
        let mut tx = Child::sender::<K>(&name, policy);
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.say("recv");
        rx.until_waiting(policy);
        tx.must("leave", "Ok");
        rx.wakes_with("Err(Closed)");
    }
}

fn c07_sleeping_sender_wakes_when_the_last_receiver_leaves<K: Flavour>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(1);
        let mut rx = Child::receiver::<K>(&name, policy);
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("send 0", "Ok(())");
        tx.say("send 1");
        tx.until_waiting(policy);
        rx.must("leave", "Ok");
        tx.wakes_with("Err(Closed(1))");
    }
}

fn c07_a_wait_for_a_peer_ends_when_one_attaches<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.say("wait_for_peer 90000");
        rx.until_waiting(policy);
        let tx = K::sender(&ring).unwrap();
        rx.wakes_with("Ok(())");
        drop((tx, rx));

        let (name, ring) = new_ring::<K>(4);
        let mut tx = Child::sender::<K>(&name, policy);
        tx.say("wait_for_peer 90000");
        tx.until_waiting(policy);
        let _rx = K::receiver(&ring).unwrap();
        tx.wakes_with("Ok(())");
    }
}

fn c07_a_wait_for_several_items_ends_when_the_last_of_them_comes<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.say("recv_exact 3 90000");
        for value in 0..3 {
            rx.until_waiting(policy);
            tx.try_send(value).unwrap();
        }
        rx.wakes_with("Ok([0, 1, 2])");
    }
}

fn c07_a_wait_for_several_slots_ends_when_the_last_of_them_is_free<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut rx = K::receiver(&ring).unwrap();
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("send_slice 0 4", "Ok(4)");
        tx.say("send_exact 4 7 90000");
        for value in 0..3 {
            tx.until_waiting(policy);
            assert_eq!(rx.try_recv(), Ok(value));
        }
        tx.wakes_with("Ok(())");
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
    }
}

/// A wake word that is right once may be wrong the second time: stale bits, epochs, retractions.
fn c07_a_sleeper_wakes_again_and_again<K: Flavour>() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        for value in 0..200 {
            rx.say("recv");
            if value % 3 > 0 {
                rx.until_asleep();
            }
            tx.try_send(value).unwrap();
            rx.wakes_with(&format!("Ok({value})"));
        }
    }
}

/// The reason why wakes are passed on: one wake, two who must go.
fn c07_two_that_sleep_long_pass_thousands_of_values<K: Flavour>() {
    const COUNT: u64 = 2_000;
    let (_name, ring) = new_ring::<K>(8);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    tx.set_wait_policy(WaitPolicy::Park);
    tx.set_liveness_interval(LONG_INTERVAL);
    rx.set_wait_policy(WaitPolicy::Park);
    rx.set_liveness_interval(LONG_INTERVAL);
    let sending = std::thread::spawn(move || (0..COUNT).try_for_each(|n| tx.send(n)));
    // One missing wake, and it takes longer.
    let received = within(WOKEN, move || rx.iter().collect::<Vec<_>>());
    assert_eq!(sending.join().unwrap(), Ok(()));
    assert!(received.into_iter().eq(0..COUNT));
}

fn c07_two_receivers_asleep_are_both_woken_by_a_publication_out_of_order() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut late = ring.sender().unwrap();
        let mut early = ring.sender().unwrap();
        let mut receivers = asleep::<2>(&name, policy, "receiver", "recv");
        let mut run = late.try_claim(1).unwrap();
        run.write(0, 10);
        early.try_send(11).unwrap(); // wakes one, who cannot use it
        receivers.iter_mut().for_each(Child::until_asleep);
        run.commit_all(); // wakes one, and two values are ready
        let mut heard = receivers.map(|mut rx| {
            let heard = rx.hear();
            assert!(rx.took() < WOKEN, "slept beside a value");
            heard
        });
        heard.sort();
        assert_eq!(heard, ["Ok(10)", "Ok(11)"]);
    }
}

fn c07_one_publication_of_many_wakes_as_many_receivers() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut tx = ring.sender().unwrap();
        let receivers = asleep::<4>(&name, policy, "receiver", "recv");
        assert_eq!(tx.try_send_slice(&[0, 1, 2, 3]), Ok(4));
        let mut heard = receivers.map(|mut rx| {
            let heard = rx.hear();
            assert!(rx.took() < WOKEN, "slept beside a value");
            heard
        });
        heard.sort();
        assert_eq!(heard, ["Ok(0)", "Ok(1)", "Ok(2)", "Ok(3)"]);
    }
}

fn c07_one_release_of_many_wakes_as_many_senders() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(4);
        let mut rx = ring.receiver().unwrap();
        let mut tx = ring.sender().unwrap();
        assert_eq!(tx.try_send_slice(&[0, 1, 2, 3]), Ok(4));
        let senders = asleep::<4>(&name, policy, "sender", "send 9");
        rx.try_claim(4).unwrap().release_all();
        for mut tx in senders {
            tx.wakes_with("Ok(())");
        }
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [9, 9, 9, 9]);
    }
}

fn c07_all_receivers_wake_when_the_last_sender_leaves() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(4);
        let one = ring.sender().unwrap();
        let other = one.try_clone().unwrap();
        let mut receivers = asleep::<3>(&name, policy, "receiver", "recv");
        drop(one);
        receivers.iter_mut().for_each(Child::until_asleep); // not the last: they sleep on
        drop(other);
        for mut rx in receivers {
            rx.wakes_with("Err(Closed)");
        }
    }
}

fn c07_all_senders_wake_when_the_last_receiver_leaves() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(1);
        let one = ring.receiver().unwrap();
        let other = one.try_clone().unwrap();
        ring.sender().unwrap().try_send(0).unwrap();
        let mut senders = asleep::<3>(&name, policy, "sender", "send 7");
        drop(one);
        senders.iter_mut().for_each(Child::until_asleep);
        drop(other);
        for mut tx in senders {
            tx.wakes_with("Err(Closed(7))");
        }
    }
}

/// Two wait for a pair of values, one for a single: whoever is first in the kernel's queue.
fn c07_a_wake_that_one_sleeper_cannot_use_reaches_the_other() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut tx = ring.sender().unwrap();
        let [mut pair] = asleep(&name, policy, "receiver", "recv_exact 2 90000");
        let [mut single] = asleep(&name, policy, "receiver", "recv");
        tx.try_send(0).unwrap();
        single.wakes_with("Ok(0)");
        tx.try_send(1).unwrap();
        pair.until_asleep();
        tx.try_send(2).unwrap();
        pair.wakes_with("Ok([1, 2])");

        // The same for senders.
        let (name, ring) = new_ring::<Mpmc>(2);
        let mut rx = ring.receiver().unwrap();
        ring.sender().unwrap().try_send_slice(&[0, 1]).unwrap();
        let [mut pair] = asleep(&name, policy, "sender", "send_exact 7 9 90000");
        let [mut single] = asleep(&name, policy, "sender", "send 2");
        rx.try_recv().unwrap();
        single.wakes_with("Ok(())");
        rx.try_claim(2).unwrap().release_all();
        pair.wakes_with("Ok(())");
    }
}

fn c07_a_wait_for_a_peer_does_not_swallow_a_wake_for_data() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(4);
        // Both sleep on the same word, for different things.
        let [mut waiter] = asleep(&name, policy, "receiver", "wait_for_peer 90000");
        let [mut fresh] = asleep(&name, policy, "receiver", "recv");
        let mut tx = ring.sender().unwrap();
        tx.try_send(2).unwrap();
        waiter.wakes_with("Ok(())");
        fresh.wakes_with("Ok(2)");
    }
}

fn c07_slots_that_were_given_up_wake_a_sender_once_a_receiver_has_passed_them() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(2);
        let mut rx = ring.receiver().unwrap();
        ring.sender().unwrap().try_claim(2).unwrap().abandon();
        let [mut tx] = asleep(&name, policy, "sender", "send 7");
        assert_eq!(rx.try_recv(), Err(ringpipe::TryRecvError::Empty));
        tx.wakes_with("Ok(())");
        assert_eq!(rx.try_recv(), Ok(7));
    }
}

fn c07_a_claim_given_up_wakes_the_receiver_that_waits_behind_it() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut first = ring.sender().unwrap();
        let mut second = ring.sender().unwrap();
        let run = first.try_claim(2).unwrap();
        second.try_send(7).unwrap();
        let [mut rx] = asleep(&name, policy, "receiver", "recv");
        run.abandon();
        rx.wakes_with("Ok(7)");

        // A claim that was forgotten is given up when its end is closed.
        std::mem::forget(first.try_claim(2).unwrap());
        second.try_send(8).unwrap();
        rx.say("recv");
        rx.until_asleep();
        drop(first);
        rx.wakes_with("Ok(8)");
    }
}

fn c07_a_cancelled_or_late_sleeper_takes_no_wake_from_another() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut tx = ring.sender().unwrap();
        let [mut quitter] = asleep(&name, policy, "receiver", "recv_timeout 50");
        let [mut sleeper] = asleep(&name, policy, "receiver", "recv");
        quitter.wakes_with("Err(Timeout)");
        sleeper.until_asleep();
        tx.try_send(1).unwrap();
        sleeper.wakes_with("Ok(1)");

        quitter.must("cancel_on_signal", "Ok");
        quitter.say("recv");
        quitter.until_asleep();
        sleeper.say("recv");
        sleeper.until_asleep();
        quitter.interrupt();
        quitter.wakes_with("Err(Cancelled)");
        sleeper.until_asleep(); // it was woken for a look, and sleeps on
        tx.try_send(2).unwrap();
        sleeper.wakes_with("Ok(2)");
    }
}

/// Who works on an item in place has taken it, and must not keep the next one from others
/// meanwhile.
fn c07_a_receiver_that_holds_an_item_in_place_lets_others_wake_for_the_next() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut tx = ring.sender().unwrap();
        let mut receivers = asleep::<2>(&name, policy, "receiver", "read 1");
        assert_eq!(tx.try_send_slice(&[0, 1]), Ok(2));
        let mut heard = receivers.each_mut().map(|rx| {
            let heard = rx.hear();
            assert!(rx.took() < WOKEN, "slept beside a value");
            heard
        });
        heard.sort();
        assert_eq!(heard, ["[0]", "[1]"]);
    }
}

/// The same for one that fills a slot in place.
fn c07_a_sender_that_holds_a_slot_in_place_lets_others_wake_for_the_next() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(2);
        let mut rx = ring.receiver().unwrap();
        ring.sender().unwrap().try_send_slice(&[0, 1]).unwrap();
        let mut senders = asleep::<2>(&name, policy, "sender", "claim 1");
        rx.try_claim(2).unwrap().release_all();
        for tx in &mut senders {
            tx.wakes_with("Ok(1)");
        }
    }
}

/// So many children, asleep in `command`.
fn asleep<const N: usize>(
    name: &Name,
    policy: ringpipe::WaitPolicy,
    role: &str,
    command: &str,
) -> [Child; N] {
    let mut children = std::array::from_fn(|_| match role {
        "sender" => Child::sender::<Mpmc>(name, policy),
        _ => Child::receiver::<Mpmc>(name, policy),
    });
    for child in &mut children {
        child.say(command);
        child.until_asleep();
    }
    children
}
