//! The SPSC algorithm: what is received is what was sent, in order, and no copy races.
//!
//! Breaking P1, C1, P2 or C2 makes these fail.

use loom::thread;

use super::support::{check, numbers};
use crate::ring::mem::Mem;
use crate::ring::spsc::{Consumer, Producer};
use crate::ring::{RecvCursor, Refused, SendCursor, Spsc};
use crate::sync;

type Ring = Mem<Spsc>;

/// Both ends of a fresh ring.
fn ring(capacity: usize) -> ((Ring, Producer), (Ring, Consumer)) {
    let one: Ring = sync::ring(capacity, 2);
    let two = Mem { words: one.words.clone(), slots: one.slots.clone(), ..sync::ring(1, 1) };
    let producer = Producer::attach(&one, 0).expect("fresh");
    let consumer = Consumer::attach(&two, 1).expect("fresh");
    ((one, producer), (two, consumer))
}

/// Sends as many of `values` as there is room for.
fn try_send(mem: &Ring, producer: &mut Producer, values: &[u64]) -> usize {
    match producer.claim(mem.kept(), 1, values.len() as u64) {
        Ok(run) => {
            let sent = run.items as usize;
            match &values[..sent] {
                [value] => {
                    let all = producer.write_one(mem.view(numbers()), run, value);
                    producer.publish_one(mem.kept(), run, all);
                }
                several => {
                    mem.view(numbers()).write_run(run.at, several);
                    producer.publish(mem.kept(), run, run.items);
                }
            }
            sent
        }
        Err(blocked) => {
            assert_eq!(blocked, Refused::NotReady);
            0
        }
    }
}

/// Receives what there is, at most `max`; if that is 1, as calls for one item do.
fn try_recv(mem: &Ring, consumer: &mut Consumer, max: u64, into: &mut Vec<u64>) {
    if max == 1
        && let Some(run) = consumer.claim_seen()
    {
        into.push(mem.view(numbers()).read(run.at));
        consumer.release_one(mem.kept(), run);
        return;
    }
    match consumer.claim(mem.kept(), 1, max) {
        Ok(run) => {
            let view = mem.view(numbers());
            let mut values = vec![0; run.items as usize];
            match &mut values[..] {
                [value] => {
                    let copy = consumer.at_hand(view, run.at);
                    *value = copy.unwrap_or_else(|| view.read(run.at));
                }
                several => view.read_run(run.at, several),
            }
            consumer.release(mem.kept(), run, run.items);
            into.extend(values);
        }
        Err(blocked) => assert_eq!(blocked, Refused::NotReady),
    }
}

/// Sends the batches and receives meanwhile, each as often as said, then drains.
fn pass(capacity: usize, batches: &'static [&'static [u64]], looks: usize, max: u64) {
    let ((mem, mut producer), (theirs, mut consumer)) = ring(capacity);
    let sending = thread::spawn(move || {
        let mut sent = Vec::new();
        for batch in batches {
            let n = try_send(&mem, &mut producer, batch);
            sent.extend_from_slice(&batch[..n]);
        }
        sent
    });
    let mut received = Vec::new();
    for _ in 0..looks {
        try_recv(&theirs, &mut consumer, max, &mut received);
    }
    let sent = sending.join().unwrap();
    assert!(!sent.is_empty());
    for _ in 0..capacity {
        try_recv(&theirs, &mut consumer, max, &mut received);
    }
    assert_eq!(received, sent);
}

#[test]
fn spsc_one_slot_passes_values_in_order_over_several_laps() {
    check("spsc, 1 slot, 4 sends, 3 receives", None, || {
        pass(1, &[&[1], &[2], &[3], &[4]], 3, 1);
    });
}

#[test]
fn spsc_two_slots_pass_values_in_order_over_several_laps() {
    check("spsc, 2 slots, 3 sends, 3 receives", None, || {
        pass(2, &[&[1], &[2], &[3]], 3, 1);
    });
}

#[test]
fn spsc_batches_wrap_around() {
    check("spsc, 2 slots, batches", None, || {
        pass(2, &[&[1], &[2, 3], &[4, 5]], 3, 2);
    });
}

/// A producer that attaches while the consumer reads: it may write where its predecessor's value
/// was only when that has been read.
#[test]
fn spsc_successor_of_a_producer_does_not_overwrite_what_is_being_read() {
    check("spsc, next producer", None, || {
        let ((mem, mut producer), (theirs, mut consumer)) = ring(1);
        assert_eq!(try_send(&mem, &mut producer, &[1]), 1);
        let receiving = thread::spawn(move || {
            let mut received = Vec::new();
            try_recv(&theirs, &mut consumer, 1, &mut received);
            (received, theirs, consumer)
        });
        // On this thread: taking the role's lock orders it after its predecessor.
        let mut successor = Producer::attach(&mem, 0).expect("the ring is sound");
        let sent = try_send(&mem, &mut successor, &[2]);
        let (mut received, theirs, mut consumer) = receiving.join().unwrap();
        try_recv(&theirs, &mut consumer, 1, &mut received);
        assert_eq!(received, [1, 2][..1 + sent]);
    });
}

/// A producer dies between its copy of an item and publishing that. Its successor publishes another
/// at that position, without a copy.
#[test]
fn spsc_copy_of_what_was_not_published_is_not_taken() {
    check("spsc, copy of a dead producer", None, || {
        let ((mem, mut producer), (theirs, mut consumer)) = ring(2);
        let run = producer.claim(mem.kept(), 1, 1).expect("there is room");
        producer.write_one(mem.view(numbers()), run, &1);
        let receiving = thread::spawn(move || {
            let mut received = Vec::new();
            try_recv(&theirs, &mut consumer, 1, &mut received);
            (received, theirs, consumer)
        });
        // On this thread: taking the role's lock orders it after its predecessor.
        let mut successor = Producer::attach(&mem, 0).expect("the ring is sound");
        let run = successor.claim(mem.kept(), 1, 1).expect("there is room");
        mem.view(numbers()).write_run(run.at, &[2]);
        successor.publish(mem.kept(), run, 1);
        let (mut received, theirs, mut consumer) = receiving.join().unwrap();
        try_recv(&theirs, &mut consumer, 1, &mut received);
        assert_eq!(received, [2]);
    });
}

#[test]
fn spsc_successor_of_a_consumer_reads_what_was_written() {
    check("spsc, next consumer", None, || {
        let ((mem, mut producer), (theirs, _)) = ring(1);
        let sending = thread::spawn(move || try_send(&mem, &mut producer, &[1]));
        let mut successor = Consumer::attach(&theirs, 1).expect("the ring is sound");
        let mut received = Vec::new();
        try_recv(&theirs, &mut successor, 1, &mut received);
        assert_eq!(sending.join().unwrap(), 1);
        try_recv(&theirs, &mut successor, 1, &mut received);
        assert_eq!(received, [1]);
    });
}

/// A ring that drops what a dead consumer had not released: its slot is written again after the
/// dead one's reading.
#[test]
fn spsc_successor_that_drops_items_frees_them_after_the_dead_ones_reading() {
    check("spsc, next consumer drops", None, || {
        let ((mem, mut producer), (mut theirs, mut consumer)) = ring(1);
        theirs.drop_unreleased = true;
        assert_eq!(try_send(&mem, &mut producer, &[1]), 1);
        let dying = thread::spawn(move || {
            let run = consumer.claim(theirs.kept(), 1, 1).expect("there is one");
            consumer.hand_out(&theirs, run);
            assert_eq!(theirs.view(numbers()).read(run.at), 1);
            let mut successor = Consumer::attach(&theirs, 1).expect("the ring is sound");
            let mut received = Vec::new();
            try_recv(&theirs, &mut successor, 1, &mut received);
            (received, theirs, successor)
        });
        let sent = try_send(&mem, &mut producer, &[2]);
        let (mut received, theirs, mut successor) = dying.join().unwrap();
        try_recv(&theirs, &mut successor, 1, &mut received);
        assert_eq!(received, [2][..sent]);
    });
}
