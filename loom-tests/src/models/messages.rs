//! Messages of several granules on an MPMC ring: none is torn, lost, doubled, or out of its
//! sender's order. What numbers a model sends in one call is one message, which says how long it
//! is; its first number is what is received (`support`).
//!
//! How ends die over them is `crash`'s, how they close `close`'s, and ends that come late `laps`'s.

use loom::thread;

use super::death::{check_deaths, until_death};
use super::mpmc::{How, Sender, assert_in_order, assert_same, receiver, sender};
use super::support::{Ring, check_bounded};
use crate::peers::table::Role;
use crate::ring::MpmcMessages;
use crate::sync::Ordering::Relaxed;

/// Messages, each by its numbers.
type Numbers = &'static [&'static [u64]];

fn send_all(tx: &mut Sender<MpmcMessages>, messages: Numbers) -> Vec<u64> {
    messages.iter().flat_map(|numbers| tx.try_send(numbers, numbers.len())).collect()
}

fn one_to_one(slots: usize, how: How, messages: Numbers, max: u64) {
    let ring = Ring::<MpmcMessages>::new(slots, 2);
    let mut tx = sender(&ring, 0);
    let mut rx = receiver(&ring, 1).claiming(how);
    let sending = thread::spawn(move || send_all(&mut tx, messages));
    let mut received = [rx.try_recv(max), rx.try_recv(max)].concat();
    let sent = sending.join().unwrap();
    received.extend(receiver(&ring, 1).drain());
    assert!(received.is_sorted());
    assert_same(sent, received);
}

#[test]
fn messages_of_two_granules_fill_the_ring() {
    check_bounded("messages, 2 slots", 4, || {
        one_to_one(2, How::Properly, &[&[10, 11], &[12, 13]], 1);
    });
}

#[test]
fn messages_of_different_lengths_go_round_the_ring() {
    check_bounded("messages, 2 slots, lengths", 3, || {
        one_to_one(2, How::Properly, &[&[10], &[11, 12], &[13]], 2);
    });
}

#[test]
fn a_claim_at_once_takes_no_part_of_a_message() {
    check_bounded("messages, at once", 4, || {
        one_to_one(2, How::AtOnce, &[&[10], &[11, 12]], 1);
    });
}

fn two_senders(slots: usize, firsts: Numbers, seconds: Numbers, max: u64) {
    let ring = Ring::new(slots, 3);
    let send = |record, messages| {
        let mut tx = sender(&ring, record);
        thread::spawn(move || send_all(&mut tx, messages))
    };
    let senders = [send(0, firsts), send(1, seconds)];
    let mut rx = receiver(&ring, 2);
    let mut received = rx.try_recv(max);
    let sent: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert!(!sent.is_empty());
    received.extend(rx.drain());
    assert_in_order(&received);
    assert_same(sent, received);
}

#[test]
fn two_senders_race_with_messages_of_different_lengths() {
    check_bounded("messages 2:1", 2, || two_senders(4, &[&[10, 11]], &[&[20]], 1));
}

#[test]
fn two_senders_race_with_messages_of_which_one_has_room() {
    check_bounded("messages 2:1, 2 slots", 2, || two_senders(2, &[&[10, 11]], &[&[20]], 2));
}

/// Both take at once, and one message lies across the end of the ring.
#[test]
fn two_receivers_share_messages_of_different_lengths() {
    check_bounded("messages 1:2", 2, || {
        let ring = Ring::new(4, 3);
        let mut tx = sender(&ring, 0);
        let mut sent = send_all(&mut tx, &[&[10], &[11, 12]]);
        let receive = |record, how| {
            let mut rx = receiver(&ring, record).claiming(how);
            thread::spawn(move || (rx.try_recv(1), rx))
        };
        let receivers = [receive(1, How::Properly), receive(2, How::AtOnce)];
        sent.extend(tx.try_send(&[13, 14], 2));
        let [(first, mut rx), (second, _)] = receivers.map(|receiver| receiver.join().unwrap());
        assert_same(sent, [first, second, rx.drain()].concat());
    });
}

/// A sender claims more than it uses, and another's message comes behind that.
#[test]
fn what_a_message_leaves_of_its_claim_is_passed_over() {
    check_bounded("messages 2:1, shorter", 2, || {
        let ring = Ring::new(4, 3);
        let mut shorter = sender::<MpmcMessages>(&ring, 0);
        let mut tx = sender(&ring, 1);
        let shorter =
            thread::spawn(move || [shorter.try_send(&[10, 11, 12], 2), shorter.try_send(&[13], 0)]);
        let mut rx = receiver(&ring, 2);
        let sent = tx.try_send(&[20], 1);
        let mut received = rx.try_recv(1);
        let sent = [shorter.join().unwrap().concat(), sent].concat();
        received.extend(rx.drain());
        assert_in_order(&received);
        assert_same(sent, received);
    });
}

/// The run that a look finds ends where messages do, also if it was a look at old stamps and at new
/// ones: an end that is killed before its compare-and-swap fails leaves no intent that ends within
/// a message.
#[test]
fn a_receiver_that_comes_late_intends_no_part_of_a_message() {
    const LATE: usize = 2;
    check_deaths("messages, stale look", 3, || {
        let ring = Ring::<MpmcMessages>::new(2, 3);
        let (mut tx, mut rx) = (sender(&ring, 0), receiver(&ring, 1));
        assert_eq!(tx.try_send(&[10], 1), [10]);
        let late = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut rx = receiver(&ring, LATE);
                let record = (Role::Receiver, LATE);
                until_death("late one", &ring.locks, record, || _ = rx.try_recv(9));
            })
        };
        let received = rx.try_recv(1);
        let sent = tx.try_send(&[11, 12], 2); // which goes on where the first was
        late.join().unwrap();
        if received == [10] && sent == [11] {
            let word = ring.words.records[LATE].intent.load(Relaxed);
            let end = (word & ((1 << 40) - 1)) + (word >> 40);
            assert!(matches!(end, 0 | 1 | 3), "the intent ends at {end}, in the midst of [1, 3)");
        }
    });
}
