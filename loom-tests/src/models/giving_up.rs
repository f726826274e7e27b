//! Waits that end without what they waited for, by a deadline or a cancellation: nobody else loses
//! a wake by it, nor does the same end the next time.
//!
//! As in `wake`, a lost wake is loom's deadlock. One that gives up does so after any look in vain,
//! also after a sleep that has consumed a wake. That is no loss: it has announced itself again
//! before that look, so what the look did not show wakes somebody again (`wait::word`).

use std::sync::Arc;

use loom::thread;

use super::support::{HASTY, Ring, SLEEPY, UntilCancelled, check_bounded};
use crate::ring::{Kind, Mpmc, Refused, Spsc};
use crate::sync::Ordering::Acquire;
use crate::sync::{AtomicBool, membarrier};
use crate::wait::Stop;
use crate::wait::word::WakeWord;

/// What there was, or nothing for those who gave up.
fn unless_stopped<T>(outcome: Result<T, Refused>) -> Option<T> {
    outcome.map_err(|why| assert_eq!(why, Refused::Stopped(Stop::Timeout))).ok()
}

/// C10: an end that sleeps, or is about to, is cancelled.
fn cancelled<K: Kind>() {
    let ring = Ring::<K>::new(1, 2);
    let (_tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let flag = Arc::new(AtomicBool::new(false));
    let pace = UntilCancelled(flag.clone());
    let waiting = thread::spawn(move || rx.recv(pace));
    WakeWord::new(&ring.words.control.data).cancel(&flag);
    assert_eq!(waiting.join().unwrap(), Err(Refused::Stopped(Stop::Cancelled)));
}

#[test]
fn an_end_that_is_alone_at_its_word_wakes_to_find_itself_cancelled() {
    check_bounded("giving up, spsc, cancelled", 3, cancelled::<Spsc>);
}

#[test]
fn an_end_that_shares_its_word_wakes_to_find_itself_cancelled() {
    check_bounded("giving up, mpmc, cancelled", 3, cancelled::<Mpmc>);
}

/// The same, for one that was woken in vain and is about to rest: here for ever.
#[test]
fn an_end_that_rests_wakes_to_find_itself_cancelled() {
    check_bounded("giving up, resting", 3, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let word = WakeWord::new(&ring.words.control.data);
        let woken = word.announce(false, None);
        word.notify();
        let flag = Arc::new(AtomicBool::new(false));
        let (cancels, words) = (flag.clone(), ring.words.clone());
        let other = thread::spawn(move || WakeWord::new(&words.control.data).cancel(&cancels));
        let since = word.moved_since(woken).expect("it was woken");
        if !flag.load(Acquire) {
            word.rest(since, u64::MAX);
            let _ = word.announce(false, None);
            assert!(flag.load(Acquire), "nothing else ends the rest");
        }
        other.join().unwrap();
    });
}

/// Two receivers sleep, and there is one value: if one of them gives up, the other gets it.
#[test]
fn mpmc_receiver_that_gives_up_costs_the_other_no_wake() {
    check_bounded("giving up, mpmc 1:2", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let (mut hasty, mut other) = (ring.receiver(1), ring.receiver(2));
        let hasty = thread::spawn(move || unless_stopped(hasty.recv(HASTY)));
        let other = thread::spawn(move || other.recv(SLEEPY).unwrap());
        tx.try_send(1).unwrap();
        match hasty.join().unwrap() {
            None => assert_eq!(other.join().unwrap(), 1),
            Some(value) => {
                tx.try_send(2).unwrap();
                assert_eq!(value + other.join().unwrap(), 3);
            }
        }
    });
}

/// Two senders sleep on a full ring, and one slot is freed: if one of them gives up, the other gets
/// it.
#[test]
fn mpmc_sender_that_gives_up_costs_the_other_no_wake() {
    check_bounded("giving up, mpmc 2:1", 2, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let (mut hasty, mut other) = (ring.sender(0), ring.sender(1));
        let mut rx = ring.receiver(2);
        hasty.try_send(0).unwrap();
        let hasty = thread::spawn(move || unless_stopped(hasty.send(1, HASTY)));
        let other = thread::spawn(move || {
            other.send(2, SLEEPY).unwrap();
            other
        });
        let mut received = vec![rx.try_recv().unwrap()];
        let sent = match hasty.join().unwrap() {
            None => vec![0, 2],
            Some(()) => {
                received.push(rx.recv(SLEEPY).unwrap());
                vec![0, 1, 2]
            }
        };
        other.join().unwrap();
        received.extend(rx.try_recv());
        received.sort();
        assert_eq!(received, sent);
    });
}

/// One that wants several values may give up with a wake that was another's.
#[test]
fn mpmc_receiver_of_several_that_gives_up_costs_the_other_no_wake() {
    check_bounded("giving up, mpmc 1:2, picky", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let (mut picky, mut plain) = (ring.receiver(1), ring.receiver(2));
        let picky = thread::spawn(move || unless_stopped(picky.recv_many(2, 2, HASTY)));
        let plain = thread::spawn(move || plain.recv(SLEEPY).unwrap());
        tx.try_send(1).unwrap();
        assert_eq!(plain.join().unwrap(), 1);
        tx.try_send(2).unwrap();
        tx.try_send(3).unwrap();
        let values = picky.join().unwrap();
        assert!(values.is_none_or(|values| values == [2, 3]));
    });
}

/// A receiver that gives up and then waits again, for a value and for end-of-file.
fn receives_after_all<K: Kind>() {
    let ring = Ring::<K>::new(1, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let sender = thread::spawn(move || {
        tx.try_send(1).unwrap();
        tx.leave();
    });
    let early = unless_stopped(rx.recv(HASTY));
    assert_eq!(early.map_or_else(|| rx.recv(SLEEPY), Ok), Ok(1));
    match rx.recv(HASTY) {
        Err(Refused::Stopped(_)) => assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed)),
        outcome => assert_eq!(outcome, Err(Refused::Closed)),
    }
    sender.join().unwrap();
}

/// A sender that gives up and then waits again, for room and for nobody to be there.
fn sends_after_all<K: Kind>() {
    let ring = Ring::<K>::new(1, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    tx.try_send(1).unwrap();
    let receiver = thread::spawn(move || {
        rx.try_recv().unwrap();
        rx.leave();
    });
    // There may be room, or nobody left who would make use of it.
    let first = tx.send(2, HASTY);
    if first.is_err_and(|why| why != Refused::Closed) {
        let _ = tx.send(2, SLEEPY);
    }
    match tx.send(3, HASTY) {
        Err(Refused::Stopped(_)) => assert_eq!(tx.send(3, SLEEPY), Err(Refused::Closed)),
        outcome => assert_eq!(outcome, Err(Refused::Closed)),
    }
    receiver.join().unwrap();
}

#[test]
fn spsc_receiver_that_gave_up_is_woken_the_next_time() {
    check_bounded("giving up, spsc receiver", 2, receives_after_all::<Spsc>);
}

#[test]
fn spsc_sender_that_gave_up_is_woken_the_next_time() {
    check_bounded("giving up, spsc sender", 2, sends_after_all::<Spsc>);
}

/// Where there is no membarrier, only W4 → W1 shows the next wait that the other has left: what is
/// taken back must not come between.
#[test]
fn spsc_ends_that_fence_for_themselves_and_gave_up_are_woken_the_next_time() {
    check_bounded("giving up, spsc receiver, fences", 2, || {
        membarrier::nobody_has_registered();
        receives_after_all::<Spsc>();
    });
    check_bounded("giving up, spsc sender, fences", 2, || {
        membarrier::nobody_has_registered();
        sends_after_all::<Spsc>();
    });
}

#[test]
fn mpmc_ends_that_gave_up_are_woken_the_next_time() {
    check_bounded("giving up, mpmc receiver", 2, receives_after_all::<Mpmc>);
    check_bounded("giving up, mpmc sender", 2, sends_after_all::<Mpmc>);
}
