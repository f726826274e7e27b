//! The wake protocol: nobody sleeps beside what they wait for. loom reports a lost wake as a
//! deadlock, as the modelled futex has no timeout.

use loom::thread;

use super::support::{JUMPY, Patience, Ring, SLEEPY, TRYING, check_bounded};
use crate::pipe::End;
use crate::ring::{Kind, Mpmc, Spsc};
use crate::sync::membarrier;

/// One sender of two values, one receiver of both.
fn one_to_one<K: Kind>(capacity: usize, sending: Patience, receiving: Patience) {
    let ring = Ring::<K>::new(capacity, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let sender = thread::spawn(move || {
        for value in 1..=2 {
            tx.send(value, sending).unwrap();
        }
        tx
    });
    for value in 1..=2 {
        assert_eq!(rx.recv(receiving), Ok(value));
    }
    sender.join().unwrap();
}

#[test]
fn spsc_receiver_sleeps_until_there_is_a_value() {
    check_bounded("wake, spsc, room for all", 3, || one_to_one::<Spsc>(2, SLEEPY, SLEEPY));
}

#[test]
fn spsc_ends_that_sleep_on_full_and_on_empty_wake_each_other() {
    check_bounded("wake, spsc, 1 slot", 3, || one_to_one::<Spsc>(1, SLEEPY, SLEEPY));
}

#[test]
fn spsc_sleepers_that_return_for_no_reason_lose_nothing() {
    check_bounded("wake, spsc, spurious returns", 3, || one_to_one::<Spsc>(1, JUMPY, JUMPY));
}

#[test]
fn mpmc_sleepers_that_return_for_no_reason_lose_nothing() {
    check_bounded("wake, mpmc 1:1, spurious returns", 2, || one_to_one::<Mpmc>(1, JUMPY, JUMPY));
}

#[test]
fn mpmc_receiver_sleeps_until_there_is_a_value() {
    check_bounded("wake, mpmc 1:1, room for all", 3, || one_to_one::<Mpmc>(2, SLEEPY, SLEEPY));
}

#[test]
fn mpmc_ends_that_sleep_on_full_and_on_empty_wake_each_other() {
    check_bounded("wake, mpmc 1:1, 1 slot", 3, || one_to_one::<Mpmc>(1, SLEEPY, SLEEPY));
}

/// Where the kernel offers no membarrier, or a process has declined it, both sides fence.
#[test]
fn ends_that_fence_for_themselves_wake_each_other() {
    check_bounded("wake, spsc, fences", 3, || {
        membarrier::nobody_has_registered();
        one_to_one::<Spsc>(1, SLEEPY, SLEEPY)
    });
    check_bounded("wake, mpmc 1:1, fences", 2, || {
        membarrier::nobody_has_registered();
        one_to_one::<Mpmc>(1, SLEEPY, SLEEPY)
    });
}

/// One sender of two values, two receivers of one each.
fn one_to_two(receiving: Patience) {
    let ring = Ring::<Mpmc>::new(2, 3);
    let mut tx = ring.sender(0);
    let receive = |record| {
        let mut rx = ring.receiver(record);
        thread::spawn(move || rx.recv(receiving).unwrap())
    };
    let receivers = [receive(1), receive(2)];
    for value in 1..=2 {
        tx.try_send(value).unwrap();
    }
    let mut received = receivers.map(|receiver| receiver.join().unwrap());
    received.sort();
    assert_eq!(received, [1, 2]);
}

#[test]
fn mpmc_two_sleeping_receivers_both_wake_for_two_values() {
    check_bounded("wake, mpmc 1:2, asleep", 2, || one_to_two(SLEEPY));
}

#[test]
fn mpmc_two_sleeping_receivers_that_return_for_no_reason_both_wake_for_two_values() {
    check_bounded("wake, mpmc 1:2, spurious returns", 2, || one_to_two(JUMPY));
}

#[test]
fn mpmc_two_receivers_that_try_first_both_wake_for_two_values() {
    check_bounded("wake, mpmc 1:2, trying", 2, || one_to_two(TRYING));
}

#[test]
fn mpmc_two_senders_wake_a_receiver_for_each_value() {
    check_bounded("wake, mpmc 2:1", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut rx = ring.receiver(2);
        let send = |record, value| {
            let mut tx = ring.sender(record);
            thread::spawn(move || tx.try_send(value).unwrap())
        };
        let senders = [send(0, 1), send(1, 2)];
        let mut received = [(); 2].map(|()| rx.recv(SLEEPY).unwrap());
        received.sort();
        assert_eq!(received, [1, 2]);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// C3: two senders sleep on a full ring, and both go once two slots were freed one by one.
fn two_to_one(sending: Patience, receiving: Patience) {
    let ring = Ring::<Mpmc>::new(1, 3);
    let mut rx = ring.receiver(2);
    let mut senders = [0, 1].map(|record| ring.sender(record));
    senders[0].try_send(0).unwrap();
    let sending = senders.map(|mut tx| {
        thread::spawn(move || {
            tx.send(1, sending).unwrap();
            tx
        })
    });
    let received = [(); 3].map(|()| rx.recv(receiving).unwrap());
    assert_eq!(received, [0, 1, 1]);
    for sender in sending {
        sender.join().unwrap();
    }
}

#[test]
fn mpmc_two_sleeping_senders_both_wake_for_two_slots() {
    check_bounded("wake, mpmc 2:1, senders asleep", 1, || two_to_one(SLEEPY, SLEEPY));
}

#[test]
fn mpmc_two_sleeping_senders_that_return_for_no_reason_both_wake_for_two_slots() {
    check_bounded("wake, mpmc 2:1, spurious returns", 1, || two_to_one(JUMPY, JUMPY));
}

/// One wake for two slots that were freed at once: the woken sender passes it on.
#[test]
fn mpmc_two_sleeping_senders_both_wake_for_a_batch_of_slots() {
    check_bounded("wake, mpmc 2:1, senders asleep, batch", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut rx = ring.receiver(2);
        let mut senders = [0, 1].map(|record| ring.sender(record));
        for sender in &mut senders {
            sender.try_send(0).unwrap();
        }
        let sending = senders.map(|mut tx| thread::spawn(move || tx.send(1, SLEEPY).unwrap()));
        assert_eq!(rx.recv_many(2, 2, SLEEPY), Ok(vec![0, 0]));
        for sender in sending {
            sender.join().unwrap();
        }
        assert_eq!(rx.recv_many(2, 2, SLEEPY), Ok(vec![1, 1]));
    });
}

/// Publishing out of order: the one wake for the second position reaches a receiver that cannot use
/// it yet, and then one wake for the first must lead to both going.
#[test]
fn mpmc_two_senders_that_publish_out_of_order_wake_two_receivers() {
    check_bounded("wake, mpmc 2:2", 1, || {
        let ring = Ring::<Mpmc>::new(2, 4);
        let receive = |record| {
            let mut rx = ring.receiver(record);
            thread::spawn(move || rx.recv(SLEEPY).unwrap())
        };
        let receivers = [receive(2), receive(3)];
        let (mut other, mut tx) = (ring.sender(0), ring.sender(1));
        let sender = thread::spawn(move || other.try_send(1).unwrap());
        tx.try_send(2).unwrap();
        let mut received = receivers.map(|receiver| receiver.join().unwrap());
        received.sort();
        assert_eq!(received, [1, 2]);
        sender.join().unwrap();
    });
}

/// One that waits for two at once may swallow the wake that would have served another, so it asks
/// for all to be woken; and if it comes too late to ask, the wake of one passes it by.
#[test]
fn a_receiver_that_waits_for_several_items_does_not_swallow_anothers_wake() {
    let one_is_picky = |patience: Patience| {
        let ring = Ring::<Mpmc>::new(4, 3);
        let mut tx = ring.sender(0);
        let (mut picky, mut plain) = (ring.receiver(1), ring.receiver(2));
        let picky = thread::spawn(move || picky.recv_many(2, 2, patience).unwrap());
        let plain = thread::spawn(move || plain.recv(patience).unwrap());
        tx.try_send(1).unwrap();
        // Of no use to the picky one, wherever it is in its sleep.
        assert_eq!(plain.join().unwrap(), 1);
        tx.try_send(2).unwrap();
        tx.try_send(3).unwrap();
        assert_eq!(picky.join().unwrap(), [2, 3]);
    };
    check_bounded("wake, mpmc 1:2, one of them picky", 2, move || one_is_picky(SLEEPY));
    // They announce themselves more than once, and find the word as it was, or with the other in
    // it.
    check_bounded("wake, mpmc 1:2, one picky, spurious", 2, move || one_is_picky(JUMPY));
}

/// A hole is no item, so the receiver that passes over it gets nothing; its slot is room all the
/// same.
#[test]
fn mpmc_sender_asleep_behind_a_hole_wakes_when_a_receiver_passes_over_it() {
    check_bounded("wake, mpmc 2:1, hole", 3, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let (mut quitter, mut tx) = (ring.sender(0), ring.sender(1));
        let mut rx = ring.receiver(2);
        quitter.end.claim_slow(1, 1, &*quitter.ring.locks).unwrap();
        quitter.leave(); // gives the claim up
        let sender = thread::spawn(move || {
            tx.send(1, SLEEPY).unwrap();
            tx
        });
        let early = rx.try_recv();
        let tx = sender.join().unwrap();
        match early {
            Ok(value) => assert_eq!(value, 1),
            Err(_) => assert_eq!(rx.try_recv(), Ok(1)),
        }
        drop(tx);
    });
}
