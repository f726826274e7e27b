//! The map of a region's words that these tests damage is complete: every word that honest ends
//! change is on it, and each class of words is one that they do change.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use super::support::region::{Chart, Class, Raw};
use super::support::{Child, Flavour, both_kinds, new_ring, until_thread_sleeps};
use ringpipe::Ring;

both_kinds!(every_word_that_honest_ends_change_is_on_the_chart);

fn every_word_that_honest_ends_change_is_on_the_chart<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let raw = Raw::of(&name.path());
    let first = raw.copy();
    let chart = Chart::of(&first);
    let mut changed = BTreeSet::new();
    let mut look = || {
        let words = raw.words().iter().zip(&first).enumerate();
        changed.extend(words.filter(|(_, (now, was))| now.load(Relaxed) != **was).map(|w| w.0));
    };
    // More than a lap; holes; items held; an end that dies with a claim, and its pass.
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    for value in 1..20 {
        tx.try_send(value).unwrap();
        look();
        assert_eq!(rx.try_recv(), Ok(value));
        look();
    }
    tx.try_send_exact(&[7; 5]).unwrap();
    drop(rx.try_claim(2).unwrap());
    look();
    assert_eq!(rx.try_recv_slice(&mut [0; 8]), Ok(if K::STAMPED { 2 } else { 5 }));
    drop(tx.try_claim(2).unwrap());
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
    rx.set_liveness_interval(super::calls::INTERVAL);
    tx.set_liveness_interval(super::calls::INTERVAL);
    while tx.try_send(1).is_ok() {}
    let _ = rx.recv_timeout(std::time::Duration::from_millis(20)); // asleep, if there is nothing
    while rx.try_recv().is_ok() {}
    let _ = rx.recv_timeout(std::time::Duration::from_millis(20));
    while tx.try_send(1).is_ok() {}
    let _ = tx.send_timeout(1, std::time::Duration::from_millis(20));
    look();
    if K::STAMPED {
        more_than_eight_sleep(&ring, &mut look);
    }

    let classes: BTreeSet<Class> = changed.iter().map(|&word| chart.classes()[word]).collect();
    let stray: Vec<usize> =
        changed.into_iter().filter(|&word| chart.classes()[word] == Class::Unused).collect();
    assert!(stray.is_empty(), "words that ends write and these tests do not know: {stray:?}");
    let stamped = K::STAMPED;
    let mut all: BTreeSet<Class> = Class::ALL.into();
    all.retain(|class| class.is_on::<K>());
    all.remove(&Class::Header);
    all.remove(&Class::Unused);
    if !stamped {
        all.remove(&Class::Recovery); // there is nothing to settle
    }
    assert_eq!(classes, all, "{}: the chart names words that nobody uses", K::NAME);
}

/// So many receivers that not all of them have a slot of the watch; looks while they sleep.
fn more_than_eight_sleep<K: Flavour>(ring: &Ring<u64, K>, look: &mut impl FnMut()) {
    let receivers: Vec<_> = (0..10).map(|_| K::receiver(ring).unwrap()).collect();
    let cancel: Vec<_> = receivers.iter().map(|rx| rx.canceller()).collect();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        for mut rx in receivers {
            let tell = tell.clone();
            scope.spawn(move || {
                while rx.try_recv().is_ok() {}
                tell.send(rustix::thread::gettid()).unwrap();
                assert!(rx.recv().is_err(), "it is cancelled");
            });
        }
        for tid in told.iter().take(10) {
            until_thread_sleeps(tid.as_raw_nonzero().get() as u32);
        }
        look();
        cancel.iter().for_each(|canceller| canceller.cancel());
    });
}
