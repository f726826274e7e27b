//! The turn of a sender that needs many slots: who stands back for it, and sleeps, is woken when the
//! turn is given back. loom reports a lost wake as a deadlock.

use loom::thread;

use super::support::{CHECKING, Ring, Rx, SLEEPY, Tx, check_bounded};
use crate::pipe::End;
use crate::ring::MpmcMessages;

/// A ring with room for two messages, and a sender whose turn it is, as others have sent a lap's worth while it
/// waited.
fn starved() -> (Ring<MpmcMessages>, Tx<MpmcMessages>, Rx<MpmcMessages>) {
    let ring = Ring::<MpmcMessages>::new(4, 4);
    let (mut long, mut rx) = (ring.sender(0), ring.receiver(1));
    long.end.waits_in_vain(2);
    for value in 1..=2 {
        long.try_send(value).unwrap();
        rx.recv(SLEEPY).unwrap();
    }
    long.end.waits_in_vain(2);
    (ring, long, rx)
}

#[test]
fn who_stands_back_goes_on_when_the_turn_is_given_back() {
    check_bounded("precedence, one stands back", 3, || {
        let (ring, mut long, _rx) = starved();
        let mut short = ring.sender(2);
        let sending = thread::spawn(move || {
            short.send(7, SLEEPY).unwrap();
            short
        });
        long.end.waited();
        sending.join().unwrap();
    });
}

#[test]
fn all_who_stand_back_go_on_when_the_turn_is_given_back() {
    check_bounded("precedence, two stand back", 2, || {
        let (ring, mut long, _rx) = starved();
        let senders = [2, 3].map(|record| {
            let mut short = ring.sender(record);
            thread::spawn(move || {
                short.send(record as u64, SLEEPY).unwrap();
                short
            })
        });
        long.end.waited();
        for sending in senders {
            sending.join().unwrap();
        }
    });
}

/// One that stands back is woken for a slot, perhaps, that another sleeps for, which ignores the turn:
/// its owner is stopped. That one is prompted at the next check.
#[test]
fn who_stands_back_keeps_no_wake_from_another() {
    check_bounded("precedence, one ignores it", 1, || {
        let (ring, mut long, mut rx) = starved();
        let (mut ignores, mut stands_back) = (ring.sender(2), ring.sender(3));
        for value in 3..=4 {
            long.try_send(value).unwrap();
        }
        for _ in 0..2 {
            ignores.end.check_liveness(&*ring.locks);
        }
        let one = thread::spawn(move || {
            ignores.send(7, SLEEPY).unwrap();
            ignores
        });
        let other = thread::spawn(move || {
            stands_back.send(8, CHECKING).unwrap();
            stands_back
        });
        rx.recv(SLEEPY).unwrap();
        let ignores = one.join().unwrap();
        long.end.waited();
        rx.recv(SLEEPY).unwrap();
        other.join().unwrap();
        drop(ignores);
    });
}
