//! Messages on an SPSC ring: whoever sees the first word of a frame sees all of it, and a frame's
//! words are written again only when all of it was read.
//!
//! A message of n words is a header that says so and n words, each the message's number. Breaking P1,
//! C1, P2 or C2 makes these fail.

use loom::thread;

use super::support::check;
use crate::ring::frames::{Frames, slots_of};
use crate::ring::mem::{Fixed, Mem};
use crate::ring::spsc::Producer;
use crate::ring::{RecvCursor, Refused, SendCursor, SpscMessages};
use crate::sync;

type Ring = Mem<SpscMessages>;

fn ends(capacity: usize) -> ((Ring, Producer), (Ring, Frames)) {
    let one: Ring = sync::ring(capacity, 2);
    let two = Mem { words: one.words.clone(), slots: one.slots.clone(), ..sync::ring(1, 1) };
    let producer = Producer::attach(&one, 0).expect("fresh");
    let frames = Frames::attach(&two, 1).expect("fresh");
    ((one, producer), (two, frames))
}

fn words() -> Fixed<u64, SpscMessages> {
    // SAFETY: the models' rings carry numbers.
    unsafe { Fixed::trusted() }
}

/// Claims room for `most` words and publishes a message of `len`, if there is room.
fn try_send(mem: &Ring, producer: &mut Producer, number: u64, len: u64, most: u64) -> bool {
    let slots = |len| slots_of(8 * len, 8).expect("a short one");
    match producer.claim(mem.kept(), slots(most), slots(most)) {
        Ok(run) => {
            mem.slots.set_header(run.at, 8 * len);
            for word in 0..len {
                mem.view(words()).write(run.at + 1 + word, &number);
            }
            producer.publish(mem.kept(), run, slots(len));
            true
        }
        Err(refused) => {
            assert_eq!(refused, Refused::NotReady);
            false
        }
    }
}

/// Receives what there is, at most `max` messages, and releases `release` of them: their numbers and
/// lengths.
fn try_recv(mem: &Ring, frames: &mut Frames, max: u64, release: u64, into: &mut Vec<(u64, u64)>) {
    let claimed = if max == 1 { frames.claim_one(mem.kept()) } else { None };
    let run = match claimed.map_or_else(|| frames.claim(mem.kept(), 1, max), Ok) {
        Ok(run) => run,
        Err(refused) => return assert_eq!(refused, Refused::NotReady),
    };
    let release = release.min(run.items);
    for at in frames.items(mem.kept(), run).take(release as usize) {
        let len = frames.extent(mem.kept(), run, at) - 1;
        let numbers: Vec<u64> =
            (0..len).map(|word| mem.view(words()).read(at + 1 + word)).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "torn: {numbers:?}");
        into.push((numbers.first().copied().unwrap_or(0), len));
    }
    frames.release(mem.kept(), run, release);
}

/// Sends messages of these lengths, in room for so many words, and receives meanwhile.
fn pass(capacity: usize, lens: &'static [(u64, u64)], looks: usize, max: u64, release: u64) {
    let ((mem, mut producer), (theirs, mut frames)) = ends(capacity);
    let sending = thread::spawn(move || {
        let mut sent = Vec::new();
        for (&(len, most), number) in lens.iter().zip(1..) {
            if try_send(&mem, &mut producer, number, len, most) {
                sent.push((if len > 0 { number } else { 0 }, len));
            }
        }
        sent
    });
    let mut received = Vec::new();
    for _ in 0..looks {
        try_recv(&theirs, &mut frames, max, release, &mut received);
    }
    let sent = sending.join().unwrap();
    assert!(!sent.is_empty());
    for _ in 0..lens.len() {
        try_recv(&theirs, &mut frames, max, release, &mut received);
    }
    assert_eq!(received, sent);
}

#[test]
fn frames_of_several_words_arrive_whole_over_several_laps() {
    check("frames, 2 slots, 3 sends, 3 receives", None, || {
        pass(2, &[(1, 1), (1, 1), (0, 0)], 3, 1, 1);
    });
}

#[test]
fn frames_wrap_around_and_are_committed_shorter() {
    check("frames, 4 slots, shorter commits", None, || {
        pass(4, &[(2, 2), (1, 3), (2, 2)], 2, 1, 1);
    });
}

#[test]
fn frames_are_claimed_together_and_released_in_part() {
    check("frames, 4 slots, batches", None, || {
        pass(4, &[(0, 0), (1, 1), (1, 1)], 2, 2, 1);
    });
}

/// A receiver that dies with a message claimed: the successor finds whole frames at the head.
#[test]
fn frames_of_a_dead_receiver_are_received_by_its_successor() {
    check("frames, next receiver", None, || {
        let ((mem, mut producer), (theirs, mut dying)) = ends(4);
        assert!(try_send(&mem, &mut producer, 1, 1, 1));
        let sending = thread::spawn(move || {
            let second = try_send(&mem, &mut producer, 2, 1, 1);
            (second, try_send(&mem, &mut producer, 3, 0, 0))
        });
        let run = dying.claim(theirs.kept(), 1, 9).expect("there is one");
        dying.hand_out(&theirs, run);
        dying.release(theirs.kept(), run, run.items - 1);
        // On this thread: taking the role's lock orders it after its predecessor.
        let mut successor = Frames::attach(&theirs, 1).expect("the ring is sound");
        let mut received = Vec::new();
        try_recv(&theirs, &mut successor, 1, 1, &mut received);
        let (second, third) = sending.join().unwrap();
        for _ in 0..3 {
            try_recv(&theirs, &mut successor, 1, 1, &mut received);
        }
        assert!(second);
        let mut expected = vec![(1, 1), (2, 1)];
        expected.extend(third.then_some((0, 0)));
        let released = run.items as usize - 1;
        assert_eq!(received, expected[released..]);
    });
}
