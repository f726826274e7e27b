//! C7 when the one who was woken is killed before it acts, or who should have woken others is:
//! nobody sleeps on beside an item for longer than an interval. And who finds a death tells those
//! who sleep long.

#[path = "support/death.rs"]
mod death;
mod support;

use std::time::Duration;

use death::{DATA, SPACE, sleep_and_never_act};
use ringpipe::{Mpmc, WaitPolicy};
use support::{Child, LONG_INTERVAL, SLEEPING_POLICIES, new_ring, roles, tests};

roles!();

tests!(
    c07_the_wake_of_one_killed_before_it_acts_costs_another_receiver_an_interval,
    c07_the_wake_of_one_killed_before_it_acts_costs_another_sender_an_interval,
    c07_a_receiver_killed_while_it_is_stopped_beside_an_item_leaves_it_to_another,
    c07_items_published_behind_a_claim_wake_all_who_can_take_them_when_its_owner_is_killed,
    c07_items_published_behind_a_claim_are_taken_though_the_one_who_is_woken_is_killed,
    c07_a_sender_that_finds_a_dead_ones_claim_wakes_a_receiver_that_sleeps_long,
    c07_a_receiver_that_finds_the_last_sender_dead_wakes_one_that_sleeps_long,
    c07_a_sender_that_finds_the_last_receiver_dead_wakes_one_that_sleeps_long,
);

/// An interval by which to tell who was woken from whose interval was over.
const INTERVAL: Duration = Duration::from_millis(300);

fn sleeper(name: &str, end: &str, interval: Duration) -> Child {
    let mut child = Child::puppet::<Mpmc>(name);
    child.must("open", "Ok");
    child.must(end, "Ok");
    child.must(&format!("wait Park {}", interval.as_millis()), "Ok");
    child
}

fn c07_the_wake_of_one_killed_before_it_acts_costs_another_receiver_an_interval() {
    let (name, ring) = new_ring::<Mpmc>(4);
    let mut tx = ring.sender().unwrap();
    // The kernel wakes those first who have slept longest.
    let woken = sleep_and_never_act(&name, DATA);
    let mut rx = sleeper(&name, "receiver", INTERVAL);
    rx.say("recv");
    rx.until_asleep();
    tx.try_send(7).unwrap();
    woken.recv_timeout(LONG_INTERVAL).expect("the first in the queue is woken");
    rx.must_hear("Ok(7)");
}

fn c07_the_wake_of_one_killed_before_it_acts_costs_another_sender_an_interval() {
    let (name, ring) = new_ring::<Mpmc>(1);
    let mut rx = ring.receiver().unwrap();
    let mut tx = sleeper(&name, "sender", INTERVAL);
    tx.must("send 0", "Ok(())");
    let woken = sleep_and_never_act(&name, SPACE);
    tx.say("send 1");
    tx.until_asleep();
    assert_eq!(rx.try_recv(), Ok(0));
    woken.recv_timeout(LONG_INTERVAL).expect("the first in the queue is woken");
    tx.must_hear("Ok(())");
    assert_eq!(rx.try_recv(), Ok(1));
}

fn c07_a_receiver_killed_while_it_is_stopped_beside_an_item_leaves_it_to_another() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(4);
        let mut tx = ring.sender().unwrap();
        let mut stopped = Child::receiver::<Mpmc>(&name, policy);
        stopped.say("recv");
        stopped.until_asleep();
        stopped.stop();
        let mut rx = sleeper(&name, "receiver", INTERVAL);
        rx.say("recv");
        rx.until_asleep();
        tx.try_send(7).unwrap();
        stopped.kill();
        rx.must_hear("Ok(7)");
        assert_eq!(ring.stats().redelivered, 0, "it was never taken");
    }
}

/// S0 has claimed position 0, S1 published 1 and 2.
fn out_of_order(name: &str) -> [Child; 2] {
    let mut s0 = Child::sender::<Mpmc>(name, WaitPolicy::Park);
    let mut s1 = Child::sender::<Mpmc>(name, WaitPolicy::Park);
    s0.must("claim 1", "Ok(1)");
    s1.must("try_send_slice 1 3", "Ok(2)");
    [s0, s1]
}

fn c07_items_published_behind_a_claim_wake_all_who_can_take_them_when_its_owner_is_killed() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let [mut r0, mut r1] = [(); 2].map(|()| sleeper(&name, "receiver", INTERVAL));
    for rx in [&mut r0, &mut r1] {
        rx.say("recv");
        rx.until_asleep();
    }
    let [s0, _s1] = out_of_order(&name);
    // Whoever was woken by S1 could take nothing.
    r0.until_asleep();
    r1.until_asleep();
    s0.kill();
    let mut heard = [r0.hear(), r1.hear()];
    heard.sort();
    assert_eq!(heard, ["Ok(1)", "Ok(2)"]);
    assert_eq!(ring.stats().skipped, 1);
}

fn c07_items_published_behind_a_claim_are_taken_though_the_one_who_is_woken_is_killed() {
    let (name, _ring) = new_ring::<Mpmc>(8);
    let [mut s0, _s1] = out_of_order(&name);
    let woken = sleep_and_never_act(&name, DATA);
    let [mut r0, mut r1] = [(); 2].map(|()| sleeper(&name, "receiver", INTERVAL));
    for rx in [&mut r0, &mut r1] {
        rx.say("recv");
        rx.until_asleep();
    }
    s0.must("write 0 0", "Ok");
    s0.must("commit 1", "Ok");
    woken.recv_timeout(LONG_INTERVAL).expect("the first in the queue is woken");
    let mut heard = [r0.hear(), r1.hear()];
    heard.sort();
    assert_eq!(heard, ["Ok(0)", "Ok(1)"]);
    r0.must("try_recv", "Ok(2)");
}

fn c07_a_sender_that_finds_a_dead_ones_claim_wakes_a_receiver_that_sleeps_long() {
    let (name, _ring) = new_ring::<Mpmc>(8);
    let mut rx = Child::receiver::<Mpmc>(&name, WaitPolicy::Park);
    let mut dead = Child::sender::<Mpmc>(&name, WaitPolicy::Park);
    dead.must("claim 1", "Ok(1)");
    dead.kill();
    let mut tx = Child::checking::<Mpmc>(&name, "sender", WaitPolicy::Park);
    rx.say("recv");
    rx.until_asleep();
    // The last two wait until the claim was passed over, and the receiver has taken an item.
    for n in 0..9 {
        tx.must(&format!("send {n}"), "Ok(())");
    }
    rx.wakes_with("Ok(0)");
}

fn c07_a_receiver_that_finds_the_last_sender_dead_wakes_one_that_sleeps_long() {
    let (name, _ring) = new_ring::<Mpmc>(8);
    let mut prompt = Child::checking::<Mpmc>(&name, "receiver", WaitPolicy::Park);
    let mut patient = Child::receiver::<Mpmc>(&name, WaitPolicy::Park);
    let tx = Child::sender::<Mpmc>(&name, WaitPolicy::Park);
    patient.say("recv");
    patient.until_asleep();
    tx.kill();
    prompt.must("recv", "Err(Closed)");
    patient.wakes_with("Err(Closed)");
}

fn c07_a_sender_that_finds_the_last_receiver_dead_wakes_one_that_sleeps_long() {
    let (name, _ring) = new_ring::<Mpmc>(8);
    let mut prompt = Child::checking::<Mpmc>(&name, "sender", WaitPolicy::Park);
    let mut patient = Child::sender::<Mpmc>(&name, WaitPolicy::Park);
    let rx = Child::receiver::<Mpmc>(&name, WaitPolicy::Park);
    for n in 0..8 {
        prompt.must(&format!("send {n}"), "Ok(())");
    }
    patient.say("send 8");
    patient.until_asleep();
    rx.kill();
    prompt.must("send 9", "Err(Closed(9))");
    patient.wakes_with("Err(Closed(8))");
}
