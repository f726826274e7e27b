//! SPSC ends driven by turns: damaged positions, and what a successor is told.

use super::*;
use crate::ring::Spsc;
use crate::ring::control::Tail;
use crate::sync::Ordering::Relaxed;

#[test]
fn positions_that_contradict_each_other_are_noticed() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let mem = heap.mem();
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send_some(0, 4).unwrap();
    let (head, tail) = (&mem.words.control.head, &mem.words.control.tail.at);

    head.store(5, Relaxed); // beyond the tail
    assert_eq!(tx.claim(1, 1), Err(Refused::Corrupt));
    tail.store(9, Relaxed); // more than the ring can hold ahead of the consumer's own head
    assert_eq!(rx.claim(1, 1), Err(Refused::Corrupt));
    tail.store(4, Relaxed);
    assert_eq!(attach_errors(&mem), (Refused::Corrupt, Refused::Corrupt));

    // Each end's own position is private: once the other's makes sense again, they go on.
    head.store(0, Relaxed);
    assert_eq!(tx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(rx.recv_some(4), Ok(vec![0, 1, 2, 3]));
    tx.send(4).unwrap();
    assert_eq!(rx.recv(), Ok(4));
}

/// Sends sample 1 and receives it, the slot having been written over with sample 2 meanwhile.
fn sent_beside_the_tail<T: Sample>() -> T {
    let heap = Heap::<T, Spsc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send(1).unwrap();
    tx.view().write(0, &T::nth(2));
    rx.recv().unwrap()
}

#[test]
fn a_lone_item_of_up_to_48_bytes_is_taken_from_beside_the_tail() {
    fn check<T: Sample>(copied: bool) {
        let expected = T::nth(if copied { 1 } else { 2 });
        assert_eq!(sent_beside_the_tail::<T>(), expected, "{} bytes", size_of::<T>());
    }
    check::<u8>(COPIES);
    check::<[u8; 3]>(COPIES);
    check::<[u32; 3]>(COPIES);
    check::<u64>(COPIES);
    check::<Aligned32>(COPIES);
    check::<[u16; 24]>(COPIES);
    check::<[u64; 6]>(COPIES);
    check::<[u8; 64]>(false);
    check::<Aligned64>(false);
    check::<[u16; 32]>(false);
}

/// Whatever a peer says of it.
#[test]
fn of_a_larger_item_there_is_no_copy() {
    let heap = Heap::<[u16; 32], Spsc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send(3).unwrap();
    heap.mem().words.control.tail.inline_at.store(1, Relaxed);
    assert_eq!(rx.recv(), Ok(Sample::nth(3)));
}

/// Whether this machine's rings have copies.
const COPIES: bool = cfg!(any(target_arch = "x86_64", target_arch = "x86", miri));

/// The tag of a copy, if there is one.
fn copied(tag: u64) -> u64 {
    if COPIES { tag } else { 0 }
}

#[test]
fn the_copy_is_that_of_the_newest_item_or_is_not_taken() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let tag = || heap.mem().words.control.tail.inline_at.load(Relaxed);
    // Of one sent alone; not of those that are received with others.
    tx.send(0).unwrap();
    tx.send(1).unwrap();
    assert_eq!(tag(), copied(2));
    tx.view().write(0, &100);
    tx.view().write(1, &101);
    assert_eq!((rx.recv(), rx.recv()), (Ok(100), Ok(101)));
    // Batches leave it as it is, and it is not taken for the last of them.
    assert_eq!(tx.send_some(2, 4), Ok(2));
    assert_eq!((tag(), rx.recv(), rx.recv()), (copied(2), Ok(2), Ok(3)));
    // The ring was empty at the producer's next look, which is after a lap: copies. Then it was
    // not: none.
    tx.send(4).unwrap();
    assert_eq!((tag(), rx.recv()), (copied(5), Ok(4)));
    tx.send(5).unwrap();
    tx.send(6).unwrap();
    tx.send(7).unwrap();
    assert_eq!((tag(), rx.recv()), (copied(8), Ok(5)));
    tx.send(8).unwrap();
    assert_eq!(tag(), copied(8), "the ring was not empty");
    assert_eq!(rx.recv_some(4), Ok(vec![6, 7, 8]));
    tx.send(9).unwrap();
    assert_eq!((tag(), rx.recv()), (copied(8), Ok(9)));
    // What somebody wrote there is taken, if its tag is right; it is a wrong value, not worse.
    tx.send(10).unwrap();
    let Tail { inline_at, inline, .. } = &*heap.mem().words.control.tail;
    inline_at.store(11, Relaxed);
    inline[0].store(77, Relaxed);
    assert_eq!(rx.recv(), Ok(if COPIES { 77 } else { 10 }));
}

/// However long the ring: a stream that began with copies goes on without them.
#[test]
fn a_producer_finds_out_within_a_thousand_items_whether_copies_are_worth_it() {
    let heap = Heap::<u64, Spsc>::new(4096, 2);
    let mut tx = heap.tx(0);
    let tag = || heap.mem().words.control.tail.inline_at.load(Relaxed);
    for sent in 1..=1024 {
        tx.send(sent).unwrap();
        assert_eq!(tag(), copied(sent));
    }
    for sent in 1025..=4096 {
        tx.send(sent).unwrap();
        assert_eq!(tag(), copied(1024), "the ring was not empty");
    }
    assert_eq!(tx.send(0), Err(Refused::NotReady));
}

#[test]
fn a_claim_of_more_than_a_thousand_slots_is_one_of_that_many() {
    let heap = Heap::<u64, Spsc>::new(4096, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(tx.send_some(0, 3000), Ok(3000));
    for sent in 3000..4096 {
        tx.send(sent).unwrap();
    }
    assert_eq!(tx.send(0), Err(Refused::NotReady));
    assert_eq!(rx.recv_some(4096).map(|received| received.len()), Ok(4096));
}

/// Whatever an earlier producer, or a later version of this one, has left there.
#[test]
fn a_producer_that_attaches_vouches_for_no_copy_of_the_newest_item() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let inline_at = &heap.mem().words.control.tail.inline_at;
    inline_at.store(1, Relaxed);
    heap.tx(0);
    assert_eq!(inline_at.load(Relaxed), 0);
}

fn attach_errors(mem: &Mem<Spsc>) -> (Refused, Refused) {
    (
        <Spsc as Kind>::Send::attach(mem, 0).unwrap_err(),
        <Spsc as Kind>::Recv::attach(mem, 1).unwrap_err(),
    )
}

#[test]
fn what_was_handed_out_is_marked_for_whoever_receives_it_again() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(tx.send_some(0, 6), Ok(6));
    let hand_out = |rx: &mut Rx<u64, Spsc>, items| {
        let run = rx.claim(items, items).unwrap();
        rx.cursor.hand_out(&rx.mem, run);
    };
    hand_out(&mut rx, 3);
    hand_out(&mut rx, 1); // of what has been handed out before
    assert_eq!(rx.claim(1, 8).unwrap().again, 3);

    let mut successor = heap.rx(1);
    for left in (1..=3).rev() {
        assert_eq!(successor.claim(2, 2), Err(Refused::Held));
        assert_eq!(successor.cursor.held(), left);
        let run = successor.claim(1, 8).unwrap();
        assert_eq!((run.at, run.items, run.again), (3 - left, 1, 1), "one at a time");
        successor.release(run, 1);
    }
    let run = successor.claim(1, 8).unwrap();
    assert_eq!((run.items, run.again), (3, 0));
    successor.release(run, 1);
    // What its predecessor had handed out is released: nothing to say to a successor.
    let run = heap.rx(1).claim(1, 8).unwrap();
    assert_eq!((run.items, run.again), (2, 0));
    hand_out(&mut successor, 2);
    let mut third = heap.rx(1);
    assert_eq!(third.recv_some(8), Ok(vec![4]));
    assert_eq!(third.claim(1, 1).unwrap().again, 1, "all that is there");
    // A number that cannot be.
    heap.mem().words.records[1].handed_out.store(7, Relaxed);
    assert_eq!(heap.rx(1).claim(1, 8).unwrap().again, 0);
}

#[test]
fn what_an_earlier_look_has_found_is_claimed_without_one_unless_it_comes_again() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(rx.cursor.claim_seen(), None, "nothing is there");
    assert_eq!(tx.send_some(0, 3), Ok(3));
    assert_eq!(rx.cursor.claim_seen(), None, "nothing was seen");
    assert_eq!(rx.claim(1, 1).unwrap().at, 0);
    assert_eq!(rx.recv(), Ok(0));
    assert_eq!(rx.cursor.claim_seen(), Some(Run { at: 1, slots: 1, items: 1, again: 0 }));
    let run = rx.claim(1, 1).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    assert_eq!(rx.cursor.claim_seen(), None, "it was handed out");
    assert_eq!(rx.recv(), Ok(1));
    // Somebody may have been told of the one before it, and is to be told that this one is new.
    assert_eq!(rx.cursor.claim_seen(), None, "the one before came again");
    assert_eq!(tx.send_some(3, 5), Ok(2));
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(rx.recv_some(1), Ok(vec![3]));
    assert_eq!(rx.cursor.claim_seen(), Some(Run { at: 4, slots: 1, items: 1, again: 0 }));
    assert_eq!(rx.recv(), Ok(4));
    assert_eq!(rx.cursor.claim_seen(), None, "all that was seen is received");
}

#[test]
fn what_was_handed_out_is_dropped_if_the_ring_is_to_do_so() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(tx.send_some(0, 5), Ok(5));
    let attach = || {
        let mem = Mem { drop_unreleased: true, ..heap.mem() };
        let cursor = <Spsc as Kind>::Recv::attach(&mem, 1).unwrap();
        let dropped = mem.words.control.tally.dropped.load(Relaxed);
        (Rx { mem, shape: heap.shape(), cursor }, dropped)
    };
    let (mut adopter, dropped) = attach();
    assert_eq!((adopter.claim(1, 8).unwrap().items, dropped), (5, 0), "nothing was handed out");
    let run = rx.claim(2, 2).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    let (mut adopter, dropped) = attach();
    let run = adopter.claim(1, 8).unwrap();
    assert_eq!((run.at, run.items, run.again, dropped), (2, 3, 0, 2));
    assert_eq!(heap.mem().words.control.head.load(Relaxed), 2, "senders may have its slots");
}

#[test]
fn the_last_slots_and_items_are_to_be_had() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(tx.send_some(0, 2), Ok(2));
    assert_eq!(tx.claim(2, 4).unwrap().slots, 2);
    assert_eq!(rx.claim(2, 4).unwrap().items, 2);
    assert_eq!(rx.claim(3, 4), Err(Refused::NotReady));
    assert!(!tx.cursor.forgotten() && !rx.cursor.unpublished(&rx.mem) && !rx.cursor.has_claim());
}
