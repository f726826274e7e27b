//! Ends that come late: others go round the ring while one has loaded an index and not yet looked
//! at the stamps. What it then sees must be one lap old at the most (S0, R0): a stamp that is older
//! is taken for damage.

use loom::thread;

use super::mpmc::{Receiver, Sender, assert_same, receiver, sender};
use super::support::{Ring, check_bounded};
use crate::ring::{Kind, Mpmc, MpmcMessages};

/// Sends and receives twice by itself, over a ring of so many slots, while `late` does something
/// once.
fn while_others_go_round<K: Kind>(
    slots: usize,
    sent: [&'static [u64]; 2],
    late: impl FnOnce(&mut Sender<K>, &mut Receiver<K>) -> (Vec<u64>, Vec<u64>),
) {
    let ring = Ring::<K>::new(slots, 4);
    let (mut tx, mut rx) = (sender(&ring, 0), receiver(&ring, 1));
    let (mut late_tx, mut late_rx) = (sender(&ring, 2), receiver(&ring, 3));
    let others = thread::spawn(move || {
        let (mut all, mut received) = (Vec::new(), Vec::new());
        for values in sent {
            all.extend(tx.try_send(values, values.len()));
            received.extend(rx.try_recv(1));
        }
        (all, received)
    });
    let (mut sent, mut received) = late(&mut late_tx, &mut late_rx);
    let theirs = others.join().unwrap();
    sent.extend(theirs.0);
    received.extend(theirs.1);
    received.extend(late_rx.drain());
    assert_same(sent, received);
}

const ITEMS: [&[u64]; 2] = [&[10], &[11]];
/// The second goes on in the slot in which the first was.
const MESSAGES: [&[u64]; 2] = [&[10], &[11, 12]];

#[test]
fn a_sender_that_comes_laps_late_sees_no_stamp_older_than_the_lap_before() {
    check_bounded("laps, late sender", 2, || {
        while_others_go_round::<Mpmc>(1, ITEMS, |tx, _| (tx.try_send(&[20], 1), Vec::new()));
    });
}

#[test]
fn a_receiver_that_comes_laps_late_sees_no_stamp_older_than_the_lap_before() {
    check_bounded("laps, late receiver", 2, || {
        while_others_go_round::<Mpmc>(1, ITEMS, |_, rx| (Vec::new(), rx.try_recv(1)));
    });
}

/// Nor does one take what goes on there for damage: whoever sees that sees the index moved.
#[test]
fn a_sender_that_comes_late_to_the_midst_of_a_message_sees_that_the_tail_has_moved() {
    check_bounded("laps, messages, late sender", 2, || {
        while_others_go_round::<MpmcMessages>(2, MESSAGES, |tx, _| {
            (tx.try_send(&[20], 1), Vec::new())
        });
    });
}

#[test]
fn a_receiver_that_comes_late_to_the_midst_of_a_message_sees_that_the_head_has_moved() {
    check_bounded("laps, messages, late receiver", 2, || {
        while_others_go_round::<MpmcMessages>(2, MESSAGES, |_, rx| (Vec::new(), rx.try_recv(1)));
    });
}
