//! The MPMC algorithm: nothing lost, doubled, torn or out of its sender's order, and no copy races.
//!
//! Ends try a few times and never wait; then what is left is drained.

use loom::thread;

use super::support::{Ring, Rx, check, check_bounded, needed, numbers, read_message, write_run};
use crate::pipe::End;
use crate::ring::{Kind, Mpmc, RecvCursor, Refused, Run, SendCursor, mpmc};
use crate::sync::Ordering::Relaxed;

/// A bare cursor at work: no wake words, no endpoint table.
pub(super) struct Sender<K>(Ring<K>, mpmc::Sender, How);
pub(super) struct Receiver<K>(Ring<K>, mpmc::Receiver, How);

/// How ends claim what may be a single slot.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum How {
    /// As they do when the fast path has failed.
    Properly,
    /// On the fast path alone.
    AtOnce,
}

pub(super) fn sender<K: Kind>(ring: &Ring<K>, record: usize) -> Sender<K> {
    Sender(ring.clone(), mpmc::Sender::attach(&ring.mem(), record).unwrap(), How::Properly)
}

pub(super) fn receiver<K: Kind>(ring: &Ring<K>, record: usize) -> Receiver<K> {
    Receiver(ring.clone(), mpmc::Receiver::attach(&ring.mem(), record).unwrap(), How::Properly)
}

/// A refusal is never for damage.
fn claimed(outcome: Result<Run, Refused>) -> Option<Run> {
    assert_ne!(outcome, Err(Refused::Corrupt));
    outcome.ok()
}

impl<K: Kind> Sender<K> {
    pub(super) fn claiming(self, how: How) -> Self {
        Self(self.0, self.1, how)
    }

    fn claim(&mut self, max: u64) -> Option<Run> {
        let mem = self.0.mem();
        match self.2 {
            How::AtOnce if max == 1 => self.1.claim_one(mem.kept()),
            _ => claimed(self.1.claim(mem.kept(), needed::<K>(1, max), max)),
        }
    }

    /// Claims for all of `values`, sends as many as were claimed but at most `publish`, and gives
    /// up the others. Messages: one, of `publish` granules; its number is what is sent.
    pub(super) fn try_send(&mut self, values: &[u64], publish: usize) -> Vec<u64> {
        let mem = self.0.mem();
        let Some(run) = self.claim(values.len() as u64) else { return Vec::new() };
        let sent = &values[..publish.min(run.items as usize)];
        write_run(&mem, run.at, sent);
        self.1.publish(mem.kept(), run, sent.len() as u64);
        if K::MESSAGES { sent.first().copied().into_iter().collect() } else { sent.to_vec() }
    }

    /// Claims one slot, writes into it, and never publishes.
    pub(super) fn claim_and_die(mut self) {
        let mem = self.0.mem();
        if let Some(run) = claimed(self.1.claim(mem.kept(), 1, 1)) {
            mem.view(numbers()).write(run.at, &0);
        }
    }
}

impl<K: Kind> Receiver<K> {
    pub(super) fn claiming(self, how: How) -> Self {
        Self(self.0, self.1, how)
    }

    fn claim(&mut self, max: u64) -> Option<Run> {
        let mem = self.0.mem();
        match self.2 {
            How::AtOnce if max == 1 => self.1.claim_one(mem.kept()),
            _ => claimed(self.1.claim(mem.kept(), 1, max)),
        }
    }

    pub(super) fn try_recv(&mut self, max: u64) -> Vec<u64> {
        let mem = self.0.mem();
        let Some(run) = self.claim(max) else { return Vec::new() };
        let read = |at| match K::MESSAGES {
            true => read_message(&mem, at, self.1.extent(mem.kept(), run, at)),
            false => mem.view(numbers()).read(at),
        };
        let values: Vec<_> = self.1.items(mem.kept(), run).map(read).collect();
        assert_eq!(values.len() as u64, run.items);
        self.1.release(mem.kept(), run, run.items);
        values
    }

    /// Claims one item and never releases it.
    pub(super) fn claim_and_die(&mut self) {
        let _ = claimed(self.1.claim(self.0.mem().kept(), 1, 1));
    }

    pub(super) fn drain(&mut self) -> Vec<u64> {
        let mut values = Vec::new();
        loop {
            match self.try_recv(2) {
                more if more.is_empty() => return values,
                more => values.extend(more),
            }
        }
    }
}

/// Everything sent was received once, and nothing else.
pub(super) fn assert_same(mut sent: Vec<u64>, mut received: Vec<u64>) {
    sent.sort();
    received.sort();
    assert_eq!(sent, received);
}

/// Values of one sender (the same tens digit) are in the order in which it sent them.
pub(super) fn assert_in_order(received: &[u64]) {
    for sender in [1, 2] {
        assert!(received.iter().filter(|value| **value / 10 == sender).is_sorted(), "{received:?}");
    }
}

fn two_senders(capacity: usize, how: How, firsts: &'static [u64], seconds: &'static [u64]) {
    let ring = Ring::<Mpmc>::new(capacity, 3);
    let send = |record, values: &'static [u64]| {
        let mut tx = sender(&ring, record).claiming(how);
        thread::spawn(move || {
            values.iter().flat_map(|value| tx.try_send(&[*value], 1)).collect::<Vec<_>>()
        })
    };
    let senders = [send(0, firsts), send(1, seconds)];
    let mut rx = receiver(&ring, 2).claiming(how);
    let mut received = rx.try_recv(1);
    let sent: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert!(!sent.is_empty());
    received.extend(rx.drain());
    assert_in_order(&received);
    assert_same(sent, received);
}

#[test]
fn mpmc_two_senders_share_one_slot() {
    check_bounded("mpmc 2:1, 1 slot", 3, || two_senders(1, How::Properly, &[10], &[20]));
}

#[test]
fn mpmc_two_senders_share_one_slot_on_the_fast_path() {
    check_bounded("mpmc 2:1, 1 slot, at once", 3, || two_senders(1, How::AtOnce, &[10], &[20]));
}

#[test]
fn mpmc_two_senders_share_two_slots() {
    check_bounded("mpmc 2:1, 2 slots", 2, || two_senders(2, How::Properly, &[10, 11], &[20]));
}

fn two_receivers(capacity: usize, how: How, values: &'static [u64]) {
    let ring = Ring::<Mpmc>::new(capacity, 3);
    let mut tx = sender(&ring, 0).claiming(how);
    let receive = |record| {
        let mut rx = receiver(&ring, record).claiming(how);
        thread::spawn(move || (rx.try_recv(1), rx))
    };
    let receivers = [receive(1), receive(2)];
    let sent: Vec<_> = values.iter().flat_map(|value| tx.try_send(&[*value], 1)).collect();
    let [(first, mut rx), (second, _)] = receivers.map(|receiver| receiver.join().unwrap());
    let received = [first, second, rx.drain()].concat();
    assert_same(sent, received);
}

#[test]
fn mpmc_two_receivers_share_one_slot() {
    check_bounded("mpmc 1:2, 1 slot", 3, || two_receivers(1, How::Properly, &[10, 11]));
}

#[test]
fn mpmc_two_receivers_share_one_slot_on_the_fast_path() {
    check_bounded("mpmc 1:2, 1 slot, at once", 3, || two_receivers(1, How::AtOnce, &[10, 11]));
}

/// Whoever loses a race on the fast path has taken its intent back: it may go away without ever
/// claiming properly.
#[test]
fn mpmc_losers_on_the_fast_path_intend_nothing() {
    check("mpmc, losers", None, || {
        let ring = Ring::<Mpmc>::new(1, 4);
        let race = |receiving: bool, record| {
            let ring = ring.clone();
            let (mut tx, mut rx) = (sender(&ring, record), receiver(&ring, record));
            thread::spawn(move || {
                let mem = ring.mem();
                let won =
                    if receiving { rx.1.claim_one(mem.kept()) } else { tx.1.claim_one(mem.kept()) };
                // Relaxed: its own.
                let intent = ring.words.records[record].intent.load(Relaxed);
                assert_eq!(won.is_some(), intent != 0);
                won
            })
        };
        for receiving in [false, true] {
            let first = 2 * usize::from(receiving);
            let outcomes = [race(receiving, first), race(receiving, first + 1)];
            let winners: Vec<_> =
                outcomes.map(|end| end.join().unwrap()).into_iter().flatten().collect();
            assert_eq!(winners.len(), 1);
            // As if the winner had handed it over.
            if !receiving {
                let stamp = ring.mem().slots.stamp(0).load(Relaxed);
                ring.mem().slots.stamp(0).store(stamp + 1, Relaxed);
            }
        }
    });
}

#[test]
fn mpmc_two_receivers_share_two_slots() {
    check_bounded("mpmc 1:2, 2 slots", 2, || two_receivers(2, How::Properly, &[10, 11, 12]));
}

/// One sender claims two slots and publishes one of them, another sends beside it over the same
/// slots; holes are passed over and used again.
#[test]
fn mpmc_batches_and_abandoned_slots_leave_holes_that_are_passed_over() {
    check_bounded("mpmc 2:1, batch and hole", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut batches = sender(&ring, 0);
        let mut singles = sender(&ring, 1);
        let mut rx = receiver(&ring, 2);
        let batching = thread::spawn(move || batches.try_send(&[10, 11], 1));
        let single = thread::spawn(move || {
            [singles.try_send(&[20], 1), singles.try_send(&[21], 1)].concat()
        });
        let mut received = rx.try_recv(2);
        let sent = [batching.join().unwrap(), single.join().unwrap()].concat();
        received.extend(rx.drain());
        assert_in_order(&received);
        assert_same(sent, received);
    });
}

/// A claim that is given up entirely: whoever waits behind it must not wait for ever.
#[test]
fn mpmc_receiver_passes_over_an_abandoned_claim_to_what_lies_behind() {
    check_bounded("mpmc 2:1, abandoned", 3, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let (mut quitter, mut tx) = (ring.sender(0), ring.sender(1));
        let mut rx: Rx<Mpmc> = ring.receiver(2);
        let quitting = thread::spawn(move || {
            quitter.end.claim_slow(1, 1, &*quitter.ring.locks).unwrap();
            quitter.leave(); // gives the claim up
        });
        tx.try_send(1).unwrap();
        let early = rx.try_recv();
        quitting.join().unwrap();
        let late = rx.try_recv();
        match early {
            Ok(1) => assert_eq!(late, Err(Refused::NotReady)),
            early => assert_eq!((early, late), (Err(Refused::NotReady), Ok(1))),
        }
    });
}

/// A hole hands on what was handed to it: the value of the lap before was read, though neither the
/// one that gave the slot up nor those behind it have met its reader.
#[test]
fn mpmc_slot_of_a_hole_is_written_after_the_value_of_the_lap_before_was_read() {
    check_bounded("mpmc 2:2, hole over a value", 2, || {
        let ring = Ring::<Mpmc>::new(1, 5);
        assert_eq!(sender(&ring, 0).try_send(&[10], 1), [10]);
        let mut first = receiver(&ring, 1);
        let reading = thread::spawn(move || first.try_recv(1));
        let mut quitter = sender(&ring, 2);
        let quitting = thread::spawn(move || quitter.try_send(&[11], 0));
        let (mut rx, mut tx) = (receiver(&ring, 3), sender(&ring, 4));
        let mut received = rx.try_recv(1);
        let sent = [vec![10], tx.try_send(&[20], 1)].concat();
        received.extend(reading.join().unwrap());
        assert_eq!(quitting.join().unwrap(), []);
        received.extend(rx.drain());
        assert_same(sent, received);
    });
}
