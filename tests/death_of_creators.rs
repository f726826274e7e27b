//! C9, C13 and C14 when processes are killed at any moment of creating, opening, attaching,
//! closing and unlinking: a name is absent or leads to a whole ring, and no end is stuck.

#[path = "support/death.rs"]
mod death;
mod support;

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use death::SOON;
use ringpipe::{OpenError, RecvTimeoutError, Ring};
use support::{Child, Flavour, Me, Name, both_kinds, options, roles};

roles!(restless);

both_kinds!(
    c14_a_killed_creator_leaves_a_whole_ring_or_none,
    c09_a_process_killed_while_ends_come_and_go_leaves_no_end_stuck,
);

/// A role: over and over creates or opens the ring, attaches, sends, receives, leaves; "unlink":
/// and removes the name.
fn restless<K: Flavour>(mut me: Me) {
    let unlink = me.hear().unwrap() == "unlink";
    me.say("Ok");
    for round in 0.. {
        let ring = options::<K>().capacity(4).open_or_create(&me.ring).unwrap();
        let mut rx = (round % 3 != 0).then(|| K::receiver(&ring).unwrap());
        let mut tx = (round % 4 != 0).then(|| K::sender(&ring).unwrap());
        if let Some(tx) = &mut tx {
            // Full or closed, it is all the same.
            let _ = tx.try_send(round);
            let _ = tx.try_claim(2).map(|run| run.commit(1));
        }
        if let Some(rx) = &mut rx {
            let _ = rx.try_recv();
            let _ = rx.try_claim(2).map(|run| run.release(1));
        }
        if unlink {
            ring.unlink().unwrap();
        }
    }
}

/// Lets a restless child go on for some moments, a different number each time, and kills it.
fn kill_after_a_while<K: Flavour>(name: &Name, order: &str, round: u32) {
    let mut child = Child::start::<K>("restless", name);
    child.must(order, "Ok");
    // Spread over many of the child's rounds and all of their steps; nothing hangs on the length.
    let moments = Duration::from_micros(u64::from(round) * 37 % 1500);
    let started = Instant::now();
    while started.elapsed() < moments {
        std::hint::spin_loop();
    }
    child.kill();
}

/// Everything works: both ends can be had, and values pass.
fn check<K: Flavour>(ring: &Ring<u64, K>) {
    let (mut tx, mut rx) = (K::sender(ring).unwrap(), K::receiver(ring).unwrap());
    rx.set_liveness_interval(death::SHORT_INTERVAL);
    // Whatever the dead have left in it, and what had been claimed.
    let mut left = 0;
    loop {
        let _ = tx.try_send(u64::MAX);
        match rx.recv_timeout(SOON) {
            Ok(u64::MAX) => break,
            Ok(_) => left += 1,
            other => panic!("{other:?} after {left} values"),
        }
        assert!(left <= 4, "more than the ring holds");
    }
    drop(tx);
    while rx.recv_timeout(SOON).is_ok() {}
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    let mut tx = K::sender(ring).unwrap();
    for lap in 0..3 {
        assert_eq!(tx.try_send_slice(&[lap; 5]), Ok(4));
        assert!(rx.try_iter().eq([lap; 4]));
    }
}

fn c14_a_killed_creator_leaves_a_whole_ring_or_none<K: Flavour>() {
    let (mut absent, mut whole) = (0, 0);
    for round in 0..100 {
        let name = Name::new();
        kill_after_a_while::<K>(&name, "unlink", round);
        match options::<K>().capacity(4).open(&name) {
            Ok(ring) => {
                whole += 1;
                check(&ring);
            }
            Err(OpenError::NotFound { .. }) => {
                absent += 1;
                assert!(!name.path().exists());
                check(&options::<K>().capacity(4).create(&name).unwrap());
            }
            Err(e) => panic!("neither absent nor whole: {e:?}"),
        }
    }
    assert!(absent > 0 && whole > 0, "no variety: {absent} absent, {whole} whole");
}

fn c09_a_process_killed_while_ends_come_and_go_leaves_no_end_stuck<K: Flavour>() {
    let name = Name::new();
    let ring = options::<K>().capacity(4).create(&name).unwrap();
    let inode = std::fs::metadata(name.path()).unwrap().ino();
    for round in 0..100 {
        kill_after_a_while::<K>(&name, "stay", round);
        check(&ring);
    }
    assert_eq!(std::fs::metadata(name.path()).unwrap().ino(), inode, "always the same ring");
}
