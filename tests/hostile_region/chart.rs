//! The map of a region's words that these tests damage is complete: every word that honest ends
//! change is on it, and each class of words is one that they do change.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ringpipe::{Bytes, Mpmc, MpmcMessages, Ring, Spsc, SpscMessages};

use super::calls::{Calls, INTERVAL};
use super::support::kinds::End;
use super::support::region::{Chart, Class, Raw};
use super::support::{Child, LONG, Name, at, tests, until, until_thread_sleeps};

tests!(
    every_word_that_ends_of_an_spsc_ring_change_is_on_the_chart,
    every_word_that_ends_of_an_mpmc_ring_change_is_on_the_chart,
    every_word_that_ends_of_a_byte_pipe_change_is_on_the_chart,
    every_word_that_ends_of_spsc_messages_change_is_on_the_chart,
    every_word_that_ends_of_mpmc_messages_change_is_on_the_chart,
);

fn every_word_that_ends_of_an_spsc_ring_change_is_on_the_chart() {
    every_word_is_on_the_chart::<Spsc>();
}

fn every_word_that_ends_of_an_mpmc_ring_change_is_on_the_chart() {
    every_word_is_on_the_chart::<Mpmc>();
}

fn every_word_that_ends_of_a_byte_pipe_change_is_on_the_chart() {
    every_word_is_on_the_chart::<Bytes>();
}

fn every_word_that_ends_of_spsc_messages_change_is_on_the_chart() {
    every_word_is_on_the_chart::<SpscMessages>();
}

fn every_word_that_ends_of_mpmc_messages_change_is_on_the_chart() {
    every_word_is_on_the_chart::<MpmcMessages>();
}

/// As long as waits are that shall be slept through.
const WHILE: Duration = Duration::from_millis(20);

fn every_word_is_on_the_chart<K: Calls>() {
    let name = Name::new();
    let ring = Ring::<K::Element, K>::options().capacity(8).create(&name).unwrap();
    let raw = Raw::of(&name.path());
    let first = raw.copy();
    let (mut classes, mut stray) = (BTreeSet::new(), BTreeSet::new());
    let mut look = || {
        let now = raw.copy();
        let chart = Chart::of(&now); // where messages are, changes
        for word in (0..now.len()).filter(|&word| now[word] != first[word]) {
            match chart.classes()[word] {
                Class::Unused => _ = stray.insert(word),
                class => _ = classes.insert(class),
            }
        }
    };
    // More than a lap; holes; items held; an end that dies with a claim, and its pass.
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    for number in 1..200 {
        assert!(K::send_one(&mut tx, number));
        look();
        assert!(K::recv_one(&mut rx, number));
        look();
    }
    assert!((0..5).all(|_| K::send_one(&mut tx, 7)));
    K::hold(&mut rx);
    look();
    while K::recv_one(&mut rx, 7) {}
    K::claim_room(&mut tx, false);
    look();
    drop((tx, rx));
    let mut dying = Child::start::<K>("dies_with_claims", &name);
    assert!(dying.wait().success());
    look();
    // The last record is to be had only by reaping the dead first.
    let all: Vec<_> = std::iter::from_fn(|| K::sender(&ring).ok()).collect();
    look();
    drop(all);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    rx.set_liveness_interval(INTERVAL);
    tx.set_liveness_interval(INTERVAL);
    while K::send_one(&mut tx, 1) {}
    K::wait_to_receive(&mut rx, None, WHILE); // asleep, if there is nothing
    while K::recv_one(&mut rx, 1) {}
    K::wait_to_receive(&mut rx, None, WHILE);
    while K::send_one(&mut tx, 1) {}
    K::wait_to_send(&mut tx, 1, 1, WHILE);
    look();
    if K::MANY {
        more_than_eight_sleep::<K>(&ring, &mut look);
    }
    if Class::Turn.is_on::<K>() {
        drop((tx, rx));
        one_starves::<K>(&ring, &raw, &mut look);
    }

    assert!(stray.is_empty(), "words that ends write and these tests do not know: {stray:?}");
    let mut all: BTreeSet<Class> = Class::ALL.into();
    all.retain(|class| class.is_on::<K>());
    all.remove(&Class::Header);
    all.remove(&Class::Unused);
    if !K::MANY {
        all.remove(&Class::Recovery); // there is nothing to settle
    }
    assert_eq!(classes, all, "{}: the chart names words that nobody uses", K::NAME);
}

/// So many receivers that not all of them have a slot of the watch; looks while they sleep.
fn more_than_eight_sleep<K: Calls>(ring: &Ring<K::Element, K>, look: &mut impl FnMut()) {
    let receivers: Vec<_> = (0..10).map(|_| K::receiver(ring).unwrap()).collect();
    let cancel: Vec<_> = receivers.iter().map(|rx| rx.canceller()).collect();
    thread::scope(|scope| {
        let (tell, told) = channel();
        for mut rx in receivers {
            let tell = tell.clone();
            scope.spawn(move || {
                while K::recv_one(&mut rx, 1) {}
                tell.send(rustix::thread::gettid()).unwrap();
                assert!(!K::wait_to_receive(&mut rx, None, LONG), "it is cancelled");
            });
        }
        for tid in told.iter().take(10) {
            until_thread_sleeps(tid.as_raw_nonzero().get() as u32);
        }
        look();
        cancel.iter().for_each(|canceller| canceller.cancel());
    });
}

/// A sender waits for much room while another takes each bit of it, until it is the first one's
/// turn; looks then.
fn one_starves<K: Calls>(ring: &Ring<K::Element, K>, raw: &Raw, look: &mut impl FnMut()) {
    let (mut greedy, mut rx) = (K::sender(ring).unwrap(), K::receiver(ring).unwrap());
    while K::send_one(&mut greedy, 1) {}
    let mut starving = K::sender(ring).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || K::wait_to_send(&mut starving, 1, 80, LONG));
        until("the turn of one that waits for much room", || {
            K::recv_one(&mut rx, 1);
            K::send_one(&mut greedy, 1);
            (raw.words()[at::TURN / 8].load(Relaxed) != 0).then_some(())
        });
        look(); // nothing else is received meanwhile, so it has no room yet
        while !waiting.is_finished() {
            K::wait_to_receive(&mut rx, None, Duration::ZERO);
        }
        assert!(waiting.join().unwrap());
    });
}
