//! Counting a delivery changes a stamp that ends with an old index may yet look at: they must then
//! find that the index has moved (R5 → S1, R1), and take the count neither for damage nor for an
//! item that is still to come. How the numbers come about when adopters die is `crash`'s and
//! `crash_spsc`'s.

use loom::thread;

use super::handover::NobodyIsAlive;
use super::mpmc::{receiver, sender};
use super::support::{Ring, check};
use crate::ring::claims::RecvClaims;
use crate::ring::recovery::{Remains, settle_receiver};
use crate::ring::{Mpmc, RecvCursor, mpmc};
use crate::sync::Ordering::Relaxed;

const VICTIM: usize = 1;
const ADOPTER: usize = 2;

/// A receiver dies with one item, and another adopts that and is shown it.
fn die_and_adopt(ring: &Ring<Mpmc>) {
    let mem = ring.mem();
    let mut victim = receiver(ring, VICTIM);
    victim.claim_and_die();
    // Relaxed: its own thread's.
    let intent = ring.words.records[VICTIM].intent.load(Relaxed);
    let Remains::Abandoned { run, .. } = settle_receiver(&mem, intent, &NobodyIsAlive::default())
    else {
        panic!("one item")
    };
    let mut adopter = mpmc::Receiver::attach(&mem, ADOPTER).unwrap();
    adopter.adopt(&mem, run);
    let run = adopter.claim(mem.kept(), 1, 1).unwrap();
    adopter.hand_out(&mem, run);
    assert_eq!(adopter.redeliveries(), 1);
}

#[test]
fn a_sender_that_comes_late_takes_a_count_for_no_damage() {
    check("deliveries, late sender", None, || {
        let ring = Ring::new(1, 4);
        let dying = {
            let ring = ring.clone();
            thread::spawn(move || {
                if sender(&ring, 0).try_send(&[10], 1) == [10] {
                    die_and_adopt(&ring);
                }
            })
        };
        sender(&ring, 3).try_send(&[20], 0); // which asserts that
        dying.join().unwrap();
    });
}

#[test]
fn a_receiver_that_comes_late_passes_over_a_counted_item_to_those_behind() {
    check("deliveries, late receiver", None, || {
        let ring = Ring::new(2, 4);
        assert_eq!(sender(&ring, 0).try_send(&[10, 11], 2), [10, 11]);
        let dying = {
            let ring = ring.clone();
            thread::spawn(move || die_and_adopt(&ring))
        };
        let received = receiver(&ring, 3).try_recv(1);
        dying.join().unwrap();
        assert_eq!(received.len(), 1, "the dead one had the other");
    });
}
