//! The turn of a sender that needs many slots: who stands back for it, and sleeps, is woken when the
//! turn is given back. loom reports a lost wake as a deadlock.

use loom::thread;

use super::support::{Ring, SLEEPY, Tx, check_bounded};
use crate::pipe::End;
use crate::ring::MpmcMessages;

/// A ring with room for two, and a sender whose turn it is, as others have sent a lap's worth while it
/// waited.
fn starved() -> (Ring<MpmcMessages>, Tx<MpmcMessages>) {
    let ring = Ring::<MpmcMessages>::new(2, 4);
    let (mut long, mut rx) = (ring.sender(0), ring.receiver(1));
    long.end.waits_in_vain(2);
    for value in 1..=2 {
        long.try_send(value).unwrap();
        rx.recv(SLEEPY).unwrap();
    }
    long.end.waits_in_vain(2);
    std::mem::forget(rx); // it stays attached
    (ring, long)
}

#[test]
fn who_stands_back_goes_on_when_the_turn_is_given_back() {
    check_bounded("precedence, one stands back", 3, || {
        let (ring, mut long) = starved();
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
        let (ring, mut long) = starved();
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
