//! Ends that come late: others go round the ring while one has loaded an index and not yet looked
//! at the stamps. What it then sees must be one lap old at the most (S0, R0): a stamp that is older
//! is taken for damage.

use loom::thread;

use super::mpmc::{Receiver, Sender, assert_same, receiver, sender};
use super::support::{Ring, check_bounded};

/// Sends and receives twice by itself, over a ring of one slot, while `late` does something once.
fn while_others_go_round(late: impl FnOnce(&mut Sender, &mut Receiver) -> (Vec<u64>, Vec<u64>)) {
    let ring = Ring::new(1, 4);
    let (mut tx, mut rx) = (sender(&ring, 0), receiver(&ring, 1));
    let (mut late_tx, mut late_rx) = (sender(&ring, 2), receiver(&ring, 3));
    let others = thread::spawn(move || {
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for value in [10, 11] {
            sent.extend(tx.try_send(&[value], 1));
            received.extend(rx.try_recv(1));
        }
        (sent, received)
    });
    let (mut sent, mut received) = late(&mut late_tx, &mut late_rx);
    let theirs = others.join().unwrap();
    sent.extend(theirs.0);
    received.extend(theirs.1);
    received.extend(late_rx.drain());
    assert_same(sent, received);
}

#[test]
fn a_sender_that_comes_laps_late_sees_no_stamp_older_than_the_lap_before() {
    check_bounded("laps, late sender", 2, || {
        while_others_go_round(|tx, _| (tx.try_send(&[20], 1), Vec::new()));
    });
}

#[test]
fn a_receiver_that_comes_laps_late_sees_no_stamp_older_than_the_lap_before() {
    check_bounded("laps, late receiver", 2, || {
        while_others_go_round(|_, rx| (Vec::new(), rx.try_recv(1)));
    });
}
