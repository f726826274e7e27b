//! Messages on an SPSC ring: frames are claimed and released whole, whatever is in them.

use super::super::frames::{HEADER, LENGTH, slots_of};
use super::super::mem::Kept;
use super::super::{RecvCursor, Refused, Run, SendCursor, SpscMessages};
use super::{Heap, Rx, Tx};

type Ring = Heap<u64, SpscMessages>;

const SLOT: usize = 8;

/// The bytes of message `n`, of a length of its own.
fn message(n: u64) -> Vec<u8> {
    (0..n * 7 % 23).map(|i| (n * 31 + i) as u8).collect()
}

fn put(tx: &mut Tx<u64, SpscMessages>, bytes: &[u8]) -> Result<(), Refused> {
    let slots = slots_of(bytes.len() as u64, SLOT).expect("a short one");
    let run = tx.cursor.claim(tx.mem.kept(), slots, slots)?;
    tx.mem.slots.set_header(run.at, bytes.len() as u64);
    tx.mem.slots.write_bytes(run.at, HEADER, bytes);
    tx.cursor.publish(tx.mem.kept(), run, slots);
    Ok(())
}

fn read(rx: &Rx<u64, SpscMessages>, run: Run) -> Vec<Vec<u8>> {
    let view = rx.mem.kept();
    let read = |at| {
        let len = (rx.mem.slots.header(at) & LENGTH) as usize;
        assert_eq!(slots_of(len as u64, SLOT), Some(rx.cursor.extent(view, run, at)));
        let mut bytes = vec![0; len];
        rx.mem.slots.read_bytes(at, HEADER, &mut bytes);
        bytes
    };
    rx.cursor.items(view, run).map(read).collect()
}

fn take(rx: &mut Rx<u64, SpscMessages>) -> Result<Vec<u8>, Refused> {
    let run = match rx.cursor.claim_one(rx.mem.kept()) {
        Some(run) => run,
        None => rx.cursor.claim(rx.mem.kept(), 1, 1)?,
    };
    let bytes = read(rx, run).pop().expect("a message");
    rx.cursor.release(rx.mem.kept(), run, 1);
    Ok(bytes)
}

#[test]
fn messages_of_all_lengths_arrive_whole_through_many_laps() {
    let ring = Ring::new(16, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    let (mut sent, mut received) = (0, 0);
    while received < 200 {
        while put(&mut tx, &message(sent)).is_ok() {
            sent += 1;
        }
        assert!(sent > received, "the ring takes the longest of them");
        while received < sent {
            assert_eq!(take(&mut rx), Ok(message(received)));
            received += 1;
        }
        assert_eq!(take(&mut rx), Err(Refused::NotReady));
    }
}

#[test]
fn a_claim_of_several_takes_as_many_as_were_seen_and_releases_any_of_them() {
    let ring = Ring::new(64, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    (0..5).for_each(|n| put(&mut tx, &message(n)).unwrap());
    let run = rx.cursor.claim(rx.mem.kept(), 1, 3).unwrap();
    assert_eq!((run.items, run.again), (3, 0));
    assert_eq!(read(&rx, run), [message(0), message(1), message(2)]);
    rx.cursor.hand_out(&rx.mem, run);
    rx.cursor.release(rx.mem.kept(), run, 1);
    // The others were shown to somebody: they come again, and are marked.
    let run = rx.cursor.claim(rx.mem.kept(), 1, 9).unwrap();
    assert_eq!((run.items, run.again), (4, 2));
    assert_eq!(read(&rx, run), [message(1), message(2), message(3), message(4)]);
    rx.cursor.release(rx.mem.kept(), run, 4);
    assert!(!rx.cursor.repeats());
    assert_eq!(take(&mut rx), Err(Refused::NotReady));
}

#[test]
fn a_shorter_commit_gives_the_rest_back() {
    let ring = Ring::new(16, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    for n in 0..10 {
        let run = tx.cursor.claim(tx.mem.kept(), 9, 9).unwrap();
        tx.mem.slots.set_header(run.at, 3);
        tx.mem.slots.write_bytes(run.at, HEADER, &[n; 3]);
        tx.cursor.publish(tx.mem.kept(), run, 2);
        assert_eq!(take(&mut rx), Ok(vec![n; 3]));
    }
    let run = tx.cursor.claim(tx.mem.kept(), 9, 9).unwrap();
    tx.cursor.publish(tx.mem.kept(), run, 0); // abandoned
    assert_eq!(take(&mut rx), Err(Refused::NotReady));
    put(&mut tx, b"after").unwrap();
    assert_eq!(take(&mut rx), Ok(b"after".to_vec()));
}

/// What a predecessor was shown comes one message at a time, with how often it was shown.
#[test]
fn a_successor_gets_what_was_not_released_message_by_message() {
    let ring = Ring::new(64, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    (1..5).for_each(|n| put(&mut tx, &message(n)).unwrap());
    let run = rx.cursor.claim(rx.mem.kept(), 1, 2).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    // And that was its last.
    for times in [1, 2] {
        let mut rx = ring.rx(1);
        let run = rx.cursor.claim(rx.mem.kept(), 1, 9).unwrap();
        assert_eq!((run.items, run.again, rx.cursor.redeliveries()), (1, 1, times));
        assert_eq!(read(&rx, run), [message(1)]);
        rx.cursor.hand_out(&rx.mem, run);
    }
    let mut rx = ring.rx(1);
    let run = rx.cursor.claim(rx.mem.kept(), 1, 9).unwrap();
    rx.cursor.release(rx.mem.kept(), run, 1);
    let run = rx.cursor.claim(rx.mem.kept(), 1, 9).unwrap();
    assert_eq!((run.items, run.again, rx.cursor.redeliveries()), (1, 1, 1));
    assert_eq!(read(&rx, run), [message(2)]);
    rx.cursor.release(rx.mem.kept(), run, 1);
    let run = rx.cursor.claim(rx.mem.kept(), 1, 9).unwrap();
    assert_eq!((run.items, run.again, rx.cursor.redeliveries()), (2, 0, 0));
    assert_eq!(read(&rx, run), [message(3), message(4)]);
}

/// A limit drops one message, a ring that drops the unreleased all of them; both are counted in
/// messages.
#[test]
fn what_was_shown_too_often_is_dropped_whole() {
    for (limit, drop_all) in [(2, false), (0, true)] {
        let ring = Ring::new(64, 2);
        let attach = || {
            let mut mem = ring.mem();
            (mem.delivery_limit, mem.drop_unreleased) = (limit, drop_all);
            let cursor = RecvCursor::attach(&mem, 1).unwrap();
            Rx { mem, shape: ring.shape(), cursor }
        };
        let mut tx = ring.tx(0);
        (1..5).for_each(|n| put(&mut tx, &message(n)).unwrap());
        for _ in 0..2 {
            let mut rx = attach();
            let run = rx.cursor.claim(rx.mem.kept(), 1, 2).unwrap();
            rx.cursor.hand_out(&rx.mem, run);
        }
        let mut rx = attach();
        // Both were shown to the first receiver, one of them to the second; or two to each.
        let (next, dropped) = if drop_all { (None, 4) } else { (Some(message(2)), 1) };
        assert_eq!(take(&mut rx).ok(), next);
        let tally = &rx.mem.words.control.tally;
        let relaxed = crate::sync::Ordering::Relaxed;
        assert_eq!(tally.dropped.load(relaxed), dropped);
        assert_eq!(tally.exhausted.load(relaxed), if drop_all { 0 } else { 1 });
    }
}

/// What an earlier look has seen is not all that there is.
#[test]
fn a_claim_of_several_messages_takes_those_too_that_came_since_the_last_look() {
    let ring = Ring::new(16, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    (0..2).for_each(|_| put(&mut tx, &[1; 8]).unwrap());
    let run = rx.cursor.claim(rx.mem.kept(), 1, 1).unwrap();
    rx.cursor.release(rx.mem.kept(), run, 1);
    (0..2).for_each(|_| put(&mut tx, &[1; 8]).unwrap());
    assert_eq!(rx.cursor.claim(rx.mem.kept(), 1, 2).unwrap().items, 2);
    assert_eq!(rx.cursor.claim(rx.mem.kept(), 1, 9).unwrap().items, 3);
}

/// Whatever a peer writes where a length belongs, nothing but bytes of the claim is reached.
#[test]
fn a_length_that_is_a_lie_claims_nothing_beyond_what_is_published() {
    let ring = Ring::new(16, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    let lies = [17, 64, 128, 1 << 20, LENGTH - 8, LENGTH, u64::MAX];
    for lie in lies {
        put(&mut tx, &[1; 8]).unwrap();
        let at = rx.cursor.claim(rx.mem.kept(), 1, 1).unwrap().at;
        rx.mem.slots.set_header(at, lie);
        assert_eq!(rx.cursor.claim_one(rx.mem.kept()), None, "{lie}");
        assert_eq!(rx.cursor.claim(rx.mem.kept(), 1, 9), Err(Refused::Corrupt), "{lie}");
        rx.mem.slots.set_header(at, 8);
        // And while it is claimed.
        let run = rx.cursor.claim(rx.mem.kept(), 1, 1).unwrap();
        rx.mem.slots.set_header(at, lie);
        assert_eq!(rx.cursor.extent(rx.mem.kept(), run, at), 2, "{lie}");
        assert!(rx.cursor.items(rx.mem.kept(), run).eq([at]), "{lie}");
        rx.cursor.release(rx.mem.kept(), run, 1);
        // Among several.
        (0..3).for_each(|_| put(&mut tx, &[1; 8]).unwrap());
        let run = rx.cursor.claim(rx.mem.kept(), 1, 3).unwrap();
        rx.mem.slots.set_header(run.at, lie);
        let says = slots_of(lie & LENGTH, SLOT).expect("fewer than there are numbers");
        assert_eq!(rx.cursor.extent(rx.mem.kept(), run, run.at), says.min(6), "{lie}");
        assert!(rx.cursor.items(rx.mem.kept(), run).count() <= 3);
        rx.cursor.release(rx.mem.kept(), run, 2);
        // It has released no more than it had claimed, and goes on at what is left, if anything.
        while let Ok(run) = rx.cursor.claim(rx.mem.kept(), 1, 1) {
            rx.cursor.release(rx.mem.kept(), run, 1);
        }
        let control = &rx.mem.words.control;
        let relaxed = crate::sync::Ordering::Relaxed;
        assert_eq!(control.head.load(relaxed), control.tail.at.load(relaxed), "{lie}");
    }
}

#[test]
fn the_slots_of_messages_are_words_and_bits_above_the_length_say_nothing_of_it() {
    let ring = Ring::new(4, 2);
    let (mut tx, mut rx) = (ring.tx(0), ring.rx(1));
    put(&mut tx, b"hello").unwrap();
    let at = rx.cursor.claim(rx.mem.kept(), 1, 1).unwrap().at;
    rx.mem.slots.set_header(at, 5 | 1 << 48 | 1 << 63);
    assert_eq!(take(&mut rx), Ok(b"hello".to_vec()));
    assert_eq!(ring.mem().view(Kept::shape()).slots.shape().stride, SLOT);
    assert_eq!([0, 1, 8, 9].map(|len| slots_of(len, SLOT)), [1, 2, 2, 3].map(Some));
    assert_eq!(slots_of(u64::MAX, SLOT), None);
}
