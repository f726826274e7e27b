//! Recovery: what a dead end had claimed is settled, what a live one claims is left alone.
//!
//! Here an end dies between two calls of its cursor, with its claim open, while the others ask
//! whether it lives; deaths between any two steps are `crash`'s.

use loom::thread;

use super::mpmc;
use super::support::{CHECKING, Patience, Ring, Rx, SLEEPY, check_bounded, numbers, slots_of_one};
use crate::pipe::End;
use crate::ring::{Kind, Mpmc, MpmcMessages, Refused};
use crate::sync::Ordering::Relaxed;

/// A ring of so many items.
fn ring_of<K: Kind>(items: u64, records: usize) -> Ring<K> {
    Ring::new((items * slots_of_one::<K>()) as usize, records)
}

/// Tries, and takes what there is. Not ready is an answer here.
fn taken<K: Kind>(rx: &mut Rx<K>) -> Vec<u64> {
    match rx.try_recv() {
        Ok(value) => vec![value],
        Err(refused) => {
            assert!(matches!(refused, Refused::NotReady | Refused::Closed), "{refused:?}");
            Vec::new()
        }
    }
}

/// A sender dies with a claim, another sends behind or before it, the receiver asks who lives.
#[test]
fn a_dead_senders_claim_is_passed_over_and_the_living_lose_nothing() {
    check_bounded("recovery, dead sender", 2, a_sender_dies::<Mpmc>);
}

#[test]
fn a_dead_senders_message_is_passed_over_and_the_living_lose_nothing() {
    check_bounded("recovery, messages, dead sender", 2, a_sender_dies::<MpmcMessages>);
}

fn a_sender_dies<K: Kind>() {
    let ring = ring_of::<K>(2, 3);
    let (mut victim, mut tx) = (ring.sender(0), ring.sender(1));
    let mut rx = ring.receiver(2);
    let victim = thread::spawn(move || {
        victim
            .end
            .claim_slow(slots_of_one::<K>(), slots_of_one::<K>(), &*victim.ring.locks)
            .unwrap();
        victim.die();
    });
    let sender = thread::spawn(move || tx.try_send(1).unwrap());
    rx.end.check_liveness(&*ring.locks);
    let mut received = taken(&mut rx);
    victim.join().unwrap();
    sender.join().unwrap();
    // Once for the hole, if it was not settled yet.
    rx.end.check_liveness(&*ring.locks);
    received.extend(taken(&mut rx));
    assert_eq!(received, [1]);
    assert_eq!(ring.words.control.tally.skipped.load(Relaxed), slots_of_one::<K>());
}

/// A sender that is merely slow: however often the receiver asks, its value arrives.
#[test]
fn a_slow_senders_claim_is_left_alone() {
    check_bounded("recovery, slow sender", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let (mut slow, mut dead) = (ring.sender(0), ring.sender(1));
        let mut rx = ring.receiver(2);
        // Intends whatever is next, and is dead: reason to examine the claims.
        let victim = thread::spawn(move || {
            dead.end.claim_slow(1, 1, &*dead.ring.locks).unwrap();
            dead.die();
        });
        let sender = thread::spawn(move || slow.try_send(1).unwrap());
        rx.end.check_liveness(&*ring.locks);
        rx.end.check_liveness(&*ring.locks);
        sender.join().unwrap();
        victim.join().unwrap();
        rx.end.check_liveness(&*ring.locks);
        assert_eq!(taken(&mut rx), [1]);
        assert_eq!(taken(&mut rx), []);
    });
}

/// Leaves the record as one dead between storing the intent for position 0 and the compare-and-swap
/// that it would have lost.
fn die_intending_the_first<K: Kind>(ring: &Ring<K>, record: usize, die: impl FnOnce()) {
    const ONE_SLOT: u64 = 1 << 40;
    ring.words.records[record].intent.store(ONE_SLOT, Relaxed);
    die();
}

/// S2 → X1, X1 → X2: whoever sees a position claimed sees its owner's intent.
#[test]
fn a_live_sender_is_not_robbed_for_the_intent_of_a_dead_loser() {
    check_bounded("recovery, dead losing sender", 3, a_losing_sender_is_dead::<Mpmc>);
}

#[test]
fn a_live_sender_of_messages_is_not_robbed_for_the_intent_of_a_dead_loser() {
    check_bounded(
        "recovery, messages, dead losing sender",
        2,
        a_losing_sender_is_dead::<MpmcMessages>,
    );
}

fn a_losing_sender_is_dead<K: Kind>() {
    let ring = ring_of::<K>(2, 3);
    let (mut tx, loser) = (ring.sender(0), ring.sender(1));
    let mut rx = ring.receiver(2);
    die_intending_the_first(&ring, 1, || loser.die());
    let sender = thread::spawn(move || {
        for value in 1..=2 {
            tx.try_send(value).unwrap();
        }
    });
    rx.end.check_liveness(&*ring.locks);
    let mut received = taken(&mut rx);
    sender.join().unwrap();
    received.extend(taken(&mut rx));
    received.extend(taken(&mut rx));
    assert_eq!(received, [1, 2]);
    assert_eq!(ring.words.control.tally.skipped.load(Relaxed), 0);
}

/// R2 → X1, R2a and R4 → X2: nor is a live receiver, and what it has released is not delivered
/// again.
#[test]
fn a_live_receiver_is_not_robbed_for_the_intent_of_a_dead_loser() {
    check_bounded("recovery, dead losing receiver", 3, a_losing_receiver_is_dead::<Mpmc>);
}

#[test]
fn a_live_receiver_of_messages_is_not_robbed_for_an_intent_of_a_part_of_one() {
    check_bounded(
        "recovery, messages, dead losing receiver",
        2,
        a_losing_receiver_is_dead::<MpmcMessages>,
    );
}

fn a_losing_receiver_is_dead<K: Kind>() {
    let ring = ring_of::<K>(2, 4);
    let mut tx = ring.sender(0);
    let (mut other, loser) = (ring.receiver(1), ring.receiver(2));
    let mut adopter = ring.receiver(3);
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    die_intending_the_first(&ring, 2, || loser.die());
    let other = thread::spawn(move || [taken(&mut other), taken(&mut other)].concat());
    adopter.end.check_liveness(&*ring.locks);
    let mut received = taken(&mut adopter);
    received.extend(other.join().unwrap());
    received.extend(taken(&mut adopter));
    received.sort();
    assert_eq!(received, [1, 2]);
}

/// A receiver dies with an item claimed; two others, of whom one recovers, get everything once.
#[test]
fn a_dead_receivers_item_is_delivered_to_one_other() {
    check_bounded("recovery, dead receiver", 2, a_receiver_dies::<Mpmc>);
}

#[test]
fn a_dead_receivers_message_is_delivered_to_one_other() {
    check_bounded("recovery, messages, dead receiver", 1, a_receiver_dies::<MpmcMessages>);
}

fn a_receiver_dies<K: Kind>() {
    let ring = ring_of::<K>(2, 4);
    let mut tx = ring.sender(0);
    let (mut victim, mut other) = (ring.receiver(1), ring.receiver(2));
    let mut adopter = ring.receiver(3);
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    let victim = {
        let locks = ring.locks.clone();
        thread::spawn(move || {
            // It may come too late for an item.
            let _ = victim.end.claim_slow(1, 1, &*locks);
            victim.die();
        })
    };
    let other = thread::spawn(move || taken(&mut other));
    adopter.end.check_liveness(&*ring.locks);
    let mut received = taken(&mut adopter);
    victim.join().unwrap();
    received.extend(other.join().unwrap());
    for _ in 0..2 {
        adopter.end.check_liveness(&*ring.locks);
        received.extend(taken(&mut adopter));
    }
    received.sort();
    assert_eq!(received, [1, 2]);
}

/// Two survivors that ask at the same time: one takes the item over.
#[test]
fn of_two_that_recover_one_adopts() {
    check_bounded("recovery, two adopters", 2, || {
        let ring = Ring::<Mpmc>::new(2, 4);
        let mut tx = ring.sender(0);
        let (mut victim, mut other) = (ring.receiver(1), ring.receiver(2));
        let mut adopter = ring.receiver(3);
        tx.try_send(1).unwrap();
        victim.end.claim_slow(1, 1, &*ring.locks).unwrap();
        victim.die();
        let other = {
            let locks = ring.locks.clone();
            thread::spawn(move || {
                other.end.check_liveness(&*locks);
                taken(&mut other)
            })
        };
        adopter.end.check_liveness(&*ring.locks);
        let mut received = taken(&mut adopter);
        received.extend(other.join().unwrap());
        adopter.end.check_liveness(&*ring.locks);
        received.extend(taken(&mut adopter));
        assert_eq!(received, [1]);
    });
}

/// X3 → R1: a dead sender may have written into its slot. Whoever writes there next comes after
/// that, though it met neither the dead one nor the one that passed over the slot for it.
#[test]
fn a_dead_senders_slot_is_written_again_after_what_it_wrote_itself() {
    check_bounded("recovery, dead sender wrote", 2, || {
        let ring = Ring::<Mpmc>::new(1, 4);
        let (mut victim, mut liveness) = (ring.sender(0), ring.sender(1));
        let locks = ring.locks.clone();
        let run = victim.end.claim_slow(1, 1, &*ring.locks).unwrap();
        let dying = thread::spawn(move || {
            victim.end.mem.view(numbers()).write(run.at, &0);
            victim.die();
            liveness.end.check_liveness(&*locks);
        });
        let (mut rx, mut tx) = (mpmc::receiver(&ring, 2), mpmc::sender(&ring, 3));
        let early = rx.try_recv(1);
        assert_eq!(early, []);
        let sent = tx.try_send(&[1], 1);
        dying.join().unwrap();
        assert_eq!(rx.drain(), sent);
    });
}

/// Nobody lives who could send, and what they had claimed is being settled by another receiver: it
/// is not end-of-file before that is done, as an item may lie behind.
#[test]
fn it_is_not_end_of_file_while_another_settles_what_dead_senders_had_claimed() {
    check_bounded("recovery, end-of-file meanwhile", 2, senders_die_at_the_end::<Mpmc>);
}

#[test]
fn it_is_not_end_of_file_while_another_settles_a_dead_senders_message() {
    check_bounded(
        "recovery, messages, end-of-file meanwhile",
        2,
        senders_die_at_the_end::<MpmcMessages>,
    );
}

fn senders_die_at_the_end<K: Kind>() {
    let ring = ring_of::<K>(2, 4);
    let (mut victim, mut tx) = (ring.sender(0), ring.sender(1));
    let (mut rx, mut other) = (ring.receiver(2), ring.receiver(3));
    victim.end.claim_slow(slots_of_one::<K>(), slots_of_one::<K>(), &*ring.locks).unwrap();
    tx.try_send(1).unwrap();
    assert_eq!(rx.try_recv(), Err(Refused::NotReady)); // and has seen them on the endpoint table
    victim.die();
    tx.die();
    let other = {
        let locks = ring.locks.clone();
        thread::spawn(move || _ = other.end.check_liveness(&*locks))
    };
    rx.end.check_liveness(&*ring.locks);
    let mut received = rx.try_recv();
    while received == Err(Refused::NotReady) {
        thread::yield_now();
        rx.end.check_liveness(&*ring.locks);
        received = rx.try_recv();
    }
    assert_eq!(received, Ok(1));
    other.join().unwrap();
    assert_eq!(rx.try_recv(), Err(Refused::Closed));
}

/// An item lies behind a dead sender's claim, and the receiver sleeps: whoever settles the claim
/// wakes it.
fn settled_beside_a_sleeper(receiving: Patience) {
    let ring = Ring::<Mpmc>::new(2, 3);
    let (mut victim, mut tx) = (ring.sender(0), ring.sender(1));
    let mut rx = ring.receiver(2);
    victim.end.claim_slow(1, 1, &*ring.locks).unwrap();
    victim.die();
    let receiver = thread::spawn(move || assert_eq!(rx.recv(receiving), Ok(1)));
    tx.try_send(1).unwrap();
    tx.end.check_liveness(&*ring.locks);
    receiver.join().unwrap();
    assert_eq!(ring.words.control.tally.skipped.load(Relaxed), 1);
}

#[test]
fn who_settles_a_dead_senders_claim_wakes_the_receiver_that_sleeps_before_it() {
    check_bounded("recovery, settled beside a sleeper", 2, || settled_beside_a_sleeper(SLEEPY));
}

/// And if that one's interval ends meanwhile, either of the two settles it.
#[test]
fn a_sleeper_that_doubts_and_another_settle_a_dead_senders_claim() {
    check_bounded("recovery, settled beside a checker", 2, || settled_beside_a_sleeper(CHECKING));
}

/// A receiver dies with an item while another sleeps, checks, and adopts it; or checks too early,
/// and is woken for what is sent meanwhile.
#[test]
fn a_sleeper_that_doubts_adopts_or_is_woken() {
    check_bounded("recovery, checking adopter", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let (mut victim, mut adopter) = (ring.receiver(1), ring.receiver(2));
        tx.try_send(1).unwrap();
        victim.end.claim_slow(1, 1, &*ring.locks).unwrap();
        let waiting = thread::spawn(move || (adopter.recv(CHECKING).unwrap(), adopter));
        victim.die();
        tx.try_send(2).unwrap();
        let (first, mut adopter) = waiting.join().unwrap();
        adopter.end.check_liveness(&*ring.locks);
        let mut received = [vec![first], taken(&mut adopter), taken(&mut adopter)].concat();
        received.sort();
        assert_eq!(received, [1, 2]);
    });
}

/// Where what dead receivers had not released is dropped, its slots are room for a sender that
/// sleeps on the full ring, whoever drops it.
fn dropped_beside_a_sleeper(sending: Patience) {
    let ring = Ring::<Mpmc>::dropping(2, 3);
    let mut tx = ring.sender(0);
    let (mut victim, mut rx) = (ring.receiver(1), ring.receiver(2));
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    victim.end.claim_slow(2, 2, &*ring.locks).unwrap();
    victim.die();
    let sender = thread::spawn(move || {
        tx.send(3, sending).unwrap();
        tx
    });
    rx.end.check_liveness(&*ring.locks);
    sender.join().unwrap();
    assert_eq!(ring.words.control.tally.dropped.load(Relaxed), 2);
    assert_eq!(taken(&mut rx), [3]);
    assert_eq!(taken(&mut rx), []);
}

#[test]
fn who_drops_a_dead_receivers_items_wakes_the_sender_that_sleeps_behind_them() {
    check_bounded("recovery, dropped beside a sleeper", 2, || dropped_beside_a_sleeper(SLEEPY));
}

#[test]
fn a_sleeping_sender_that_doubts_and_a_receiver_drop_a_dead_receivers_items_once() {
    check_bounded("recovery, dropped beside a checker", 2, || dropped_beside_a_sleeper(CHECKING));
}

/// The last sender has left, and a receiver died with an item: for the others it is not
/// end-of-file, as one of them adopts it.
#[test]
fn what_a_dead_receiver_held_comes_before_end_of_file() {
    check_bounded(
        "recovery, abandoned claim before end-of-file",
        2,
        a_receiver_dies_at_the_end::<Mpmc>,
    );
}

#[test]
fn a_message_that_a_dead_receiver_held_comes_before_end_of_file() {
    check_bounded(
        "recovery, messages, abandoned claim before end-of-file",
        2,
        a_receiver_dies_at_the_end::<MpmcMessages>,
    );
}

fn a_receiver_dies_at_the_end<K: Kind>() {
    let ring = ring_of::<K>(2, 3);
    let mut tx = ring.sender(0);
    let (mut victim, mut rx) = (ring.receiver(1), ring.receiver(2));
    tx.try_send(1).unwrap();
    let leaving = thread::spawn(move || tx.leave());
    victim.end.claim_slow(1, 1, &*ring.locks).unwrap();
    victim.die();
    let mut received = rx.try_recv();
    while received == Err(Refused::NotReady) {
        thread::yield_now();
        rx.end.check_liveness(&*ring.locks);
        received = rx.try_recv();
    }
    assert_eq!(received, Ok(1));
    leaving.join().unwrap();
    assert_eq!(rx.try_recv(), Err(Refused::Closed));
}
