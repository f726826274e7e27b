//! Ends driven by turns in one thread: every outcome is known beforehand.

use super::*;
use crate::ring::{Mpmc, Spsc};
use crate::sync::Ordering::Relaxed;

/// Runs a generic check for both kinds.
macro_rules! both_kinds {
    ($($check:ident)+) => {
        mod spsc {
            $(#[test] fn $check() { super::$check::<super::Spsc>() })+
        }
        mod mpmc {
            $(#[test] fn $check() { super::$check::<super::Mpmc>() })+
        }
    };
}

both_kinds! {
    values_of_every_size_and_alignment_cross_whole
    ends_that_know_no_type_understand_those_that_do
    a_full_ring_takes_nothing_and_an_empty_one_gives_nothing
    a_claim_of_several_is_all_or_nothing
    runs_across_the_end_of_the_ring_keep_their_order
    what_a_run_does_not_publish_is_never_received
    a_forgotten_claim_is_given_up_by_the_next
    what_is_not_released_is_received_again_first
    a_successor_goes_on_where_its_predecessor_left
    positions_go_on_beyond_the_largest_number
}

fn values_of_every_size_and_alignment_cross_whole<K: Kind>() {
    fn cross<T: Sample, K: Kind>() {
        for capacity in [1, 2, 4] {
            let heap = Heap::<T, K>::new(capacity, 2);
            let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
            for n in 0..=capacity {
                tx.send(n).unwrap();
                assert_eq!(rx.recv(), Ok(T::nth(n)));
            }
            // And in one piece, from every place in the ring.
            for start in 0..capacity {
                assert_eq!(tx.send_some(0, capacity), Ok(capacity));
                let expected: Vec<T> = (0..capacity).map(T::nth).collect();
                assert_eq!(rx.recv_some(capacity), Ok(expected), "from {start}");
                tx.send(9).unwrap();
                rx.recv().unwrap();
            }
        }
    }
    cross::<u8, K>();
    cross::<[u8; 3], K>();
    cross::<u16, K>();
    cross::<u32, K>();
    cross::<u64, K>();
    cross::<[u64; 3], K>();
    cross::<[u8; 28], K>();
    cross::<[u32; 25], K>();
    cross::<Aligned16, K>();
    cross::<Aligned32, K>();
    cross::<Aligned64, K>();
}

/// Both directions, for every width of words and every place of the value in its slot.
fn ends_that_know_no_type_understand_those_that_do<K: Kind>() {
    fn cross<T: Sample, K: Kind>() {
        let heap = Heap::<T, K>::new(2, 2);
        let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
        for n in 0..5 {
            let run = tx.cursor.claim(tx.mem.kept(), 1, 1).expect("room");
            let value = T::nth(n);
            let bytes = bytemuck::bytes_of(&value);
            tx.mem.slots.write_element(run.at, bytes);
            tx.cursor.publish(tx.mem.kept(), run, 1);
            assert_eq!(rx.recv(), Ok(value));

            tx.send(n).unwrap();
            let run = rx.cursor.claim(rx.mem.kept(), 1, 1).expect("an item");
            let mut received = vec![0; size_of::<T>()];
            rx.mem.slots.read_element(run.at, &mut received);
            rx.cursor.release(rx.mem.kept(), run, 1);
            assert_eq!(received, bytes);
        }
    }
    cross::<u8, K>();
    cross::<u16, K>();
    cross::<[u8; 3], K>();
    cross::<u32, K>();
    cross::<u64, K>();
    cross::<[u8; 28], K>();
    cross::<[u32; 25], K>();
    cross::<[u64; 32], K>();
    cross::<Aligned16, K>();
    cross::<Aligned64, K>();
}

fn a_full_ring_takes_nothing_and_an_empty_one_gives_nothing<K: Kind>() {
    let heap = Heap::<u64, K>::new(2, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(rx.recv(), Err(Refused::NotReady));
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(tx.send(3), Err(Refused::NotReady));
    assert_eq!(rx.recv(), Ok(1));
    tx.send(3).unwrap();
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(rx.recv(), Ok(3));
    assert_eq!(rx.recv(), Err(Refused::NotReady));
}

fn a_claim_of_several_is_all_or_nothing<K: Kind>() {
    let heap = Heap::<u64, K>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send_some(0, 2).unwrap();
    assert_eq!(tx.claim(3, 3), Err(Refused::NotReady));
    assert_eq!(rx.claim(3, 3), Err(Refused::NotReady));
    // The refusals took nothing: two still fit, and then four are there.
    let run = tx.claim(2, 2).unwrap();
    tx.fill(run, 2, 2);
    let run = rx.claim(4, 4).unwrap();
    assert_eq!(rx.values(run), [0, 1, 2, 3]);
    rx.release(run, 4);
    assert_eq!(tx.send_some(0, 4), Ok(4));
}

fn runs_across_the_end_of_the_ring_keep_their_order<K: Kind>() {
    let heap = Heap::<[u8; 3], K>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let mut expected = 0..;
    let mut sent = 0;
    for _ in 0..8 {
        sent += tx.send_some(sent, sent + 3).unwrap();
        let got = rx.recv_some(3).unwrap();
        assert_eq!(got.len(), 3);
        for value in got {
            let n = expected.next().unwrap();
            assert_eq!(value, <[u8; 3]>::nth(n));
        }
    }
}

fn what_a_run_does_not_publish_is_never_received<K: Kind>() {
    let heap = Heap::<u64, K>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    for n in 0..10 {
        let run = tx.claim(1, 3).unwrap();
        tx.fill(run, 10 * n, 2); // the third is abandoned
        let run = tx.claim(1, 1).unwrap();
        tx.fill(run, 10 * n + 2, 1);
        assert_eq!(rx.recv(), Ok(10 * n));
        assert_eq!(rx.recv(), Ok(10 * n + 1));
        assert_eq!(rx.recv(), Ok(10 * n + 2));
        let run = tx.claim(1, 4).unwrap();
        tx.fill(run, 0, 0); // all abandoned
        assert_eq!(rx.recv(), Err(Refused::NotReady));
    }
}

fn a_forgotten_claim_is_given_up_by_the_next<K: Kind>() {
    let heap = Heap::<u64, K>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.claim(1, 2).unwrap();
    tx.send(7).unwrap();
    assert_eq!(rx.recv(), Ok(7));
    tx.claim(1, 4).unwrap();
    tx.cursor.close(&tx.mem);
    assert_eq!(rx.recv(), Err(Refused::NotReady));
    let mut successor = heap.tx(0);
    assert_eq!(successor.send_some(0, 4), Ok(4), "nothing stays claimed");
}

fn what_is_not_released_is_received_again_first<K: Kind>() {
    let heap = Heap::<u64, K>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send_some(0, 4).unwrap();
    let run = rx.claim(1, 3).unwrap();
    assert_eq!(rx.values(run), [0, 1, 2]);
    // Not released at all, then in part.
    let run = rx.claim(1, 3).unwrap();
    assert_eq!(rx.values(run), [0, 1, 2]);
    rx.release(run, 1);
    let run = rx.claim(1, 2).unwrap();
    assert_eq!(rx.values(run), [1, 2]);
    rx.release(run, 2);
    assert_eq!(rx.cursor.held(), 0);
    assert_eq!(rx.recv(), Ok(3));
    assert_eq!(tx.send_some(4, 9), Ok(4), "all four slots are free again");
}

fn a_successor_goes_on_where_its_predecessor_left<K: Kind>() {
    let heap = Heap::<u64, K>::new(4, 2);
    for n in 0..6 {
        let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
        tx.send(n).unwrap();
        if n > 0 {
            assert_eq!(rx.recv(), Ok(n - 1));
        }
        tx.cursor.close(&tx.mem);
    }
}

fn positions_go_on_beyond_the_largest_number<K: Kind>() {
    // No ring gets there honestly, but a scribbler can put it there.
    let heap = Heap::<u64, K>::new(4, 2);
    let mem = heap.mem();
    let start = u64::MAX - 2;
    mem.words.control.tail.at.store(start, Relaxed);
    mem.words.control.head.store(start, Relaxed);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    for n in 0..8 {
        // Stamps disagree on an MPMC ring, as they should; an SPSC ring just goes on.
        match (tx.send(n), K::STAMPED) {
            (Ok(()), false) => assert_eq!(rx.recv(), Ok(n)),
            (Err(Refused::Corrupt), true) => break,
            (sent, _) => panic!("item {n}: {sent:?}"),
        }
    }
    if !K::STAMPED {
        assert_eq!(mem.words.control.tail.at.load(Relaxed), 5);
    }
}
