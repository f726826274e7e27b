//! The wake protocol: nobody sleeps beside what they wait for. loom reports a lost wake as a
//! deadlock, as the modelled futex has no timeout.

use loom::thread;

use super::support::{JUMPY, Patience, Ring, SLEEPY, TRYING, check_bounded};
use crate::ring::{Kind, Mpmc, Spsc};

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
fn mpmc_receiver_sleeps_until_there_is_a_value() {
    check_bounded("wake, mpmc 1:1, room for all", 3, || one_to_one::<Mpmc>(2, SLEEPY, SLEEPY));
}

#[test]
fn mpmc_ends_that_sleep_on_full_and_on_empty_wake_each_other() {
    check_bounded("wake, mpmc 1:1, 1 slot", 3, || one_to_one::<Mpmc>(1, SLEEPY, SLEEPY));
}

/// One sender of two values, two receivers of one each.
fn one_to_two(receiving: Patience) {
    let ring = Ring::<Mpmc>::new(2, 3);
    let mut tx = ring.sender(0);
    let receive = |seat| {
        let mut rx = ring.receiver(seat);
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
fn mpmc_two_receivers_that_try_first_both_wake_for_two_values() {
    check_bounded("wake, mpmc 1:2, trying", 2, || one_to_two(TRYING));
}

#[test]
fn mpmc_two_senders_wake_a_receiver_for_each_value() {
    check_bounded("wake, mpmc 2:1", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut rx = ring.receiver(2);
        let send = |seat, value| {
            let mut tx = ring.sender(seat);
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
