//! Receivers die, one after the other, with the same item: how often the next is told it was
//! delivered.

use super::*;
use crate::peers::reap::tests::{dead_receiver, filled, reap_pass, sit, told};
use crate::peers::table::{self, Role};
use crate::ring::control::Tally;
use crate::ring::deliveries::{MOST, word};
use crate::ring::stamp::Stamp;
use crate::ring::{Mpmc, Spsc};
use crate::sync::Ordering::Relaxed;

/// A ring whose sender, on record 0, has published 0, 1, 2 …
fn jobs(count: u64) -> Heap<u64, Mpmc> {
    let heap = Heap::new(8, 24);
    filled(&heap, count, count);
    heap
}

/// A receiver attaches on the first free record. Everybody else is dead; it adopts what it can.
pub(super) fn adopter<T: Sample, K: Kind>(heap: &Heap<T, K>, limit: u32) -> Rx<T, K> {
    let mem = Mem { delivery_limit: limit, ..heap.mem() };
    let free = |&record: &usize| table::owner(&mem.words.owners[record]).is_none();
    let record = (1..mem.words.owners.len()).find(free).expect("a free record");
    sit(&mem, record, Role::Receiver);
    let mut rx = Rx { mem, ..heap.rx(record) };
    let alive = told(&[(Role::Receiver, record)]);
    reap_pass(&rx.mem, Role::Receiver, &alive, Some(&mut rx.cursor));
    rx
}

/// What a receiver is shown next: the position, and how often it is said to have been delivered.
pub(super) fn shown<T: Sample, K: Kind>(rx: &mut Rx<T, K>) -> (u64, u32, Run) {
    let run = rx.claim(1, 8).unwrap();
    let at = rx.cursor.items(rx.view(), run).next().expect("an item");
    let redeliveries = if run.again > 0 { rx.cursor.redeliveries() } else { 0 };
    rx.cursor.hand_out(&rx.mem, run);
    (at, redeliveries, run)
}

pub(super) fn dropped(tally: &Tally) -> (u64, u64) {
    (tally.dropped.load(Relaxed), tally.exhausted.load(Relaxed))
}

#[test]
fn a_count_changes_neither_what_a_stamp_holds_nor_its_lap() {
    for (position, capacity) in [(5, 8), (8, 8), (1 << 61, 1), (u64::MAX, 2)] {
        for times in 0..=MOST {
            let stamp = Stamp::delivered(position, capacity, times);
            assert_eq!(stamp.times(), times);
            assert!(stamp.holds_item(position, capacity) && !stamp.is_hole(position, capacity));
            assert_eq!(stamp.laps_ahead(position, capacity), 0);
            assert!(!stamp.holds_item(position.wrapping_add(capacity), capacity));
            // Who claims compares whole stamps.
            assert_eq!(stamp == Stamp::published(position, capacity), times == 0);
        }
        assert_eq!(Stamp::delivered(position, capacity, 99).times(), MOST);
    }
}

#[test]
fn the_item_that_receivers_die_with_climbs_and_those_behind_it_do_not() {
    let heap = jobs(5);
    dead_receiver(&heap, 1, 4);
    // The first adopter gets through the first item, and dies with the second; so do the next two.
    let mut rx = adopter(&heap, 0);
    let (at, redeliveries, run) = shown(&mut rx);
    assert_eq!((at, redeliveries, run.items, run.again), (0, 1, 1, 1));
    rx.release(run, 1);
    for turn in 1..4 {
        if turn > 1 {
            rx = adopter(&heap, 0);
        }
        let (at, redeliveries, _) = shown(&mut rx);
        assert_eq!((at, redeliveries), (1, turn));
        assert_eq!(rx.claim(2, 2), Err(Refused::Held), "it comes alone");
    }
    let mut rx = adopter(&heap, 0);
    for (item, times) in [(1, 4), (2, 1), (3, 1), (4, 0)] {
        let (at, redeliveries, run) = shown(&mut rx);
        assert_eq!((at, redeliveries), (item, times));
        rx.release(run, 1);
    }
    assert!(!rx.cursor.has_claim());
    filled(&heap, 8, 8); // all slots are free
}

#[test]
fn an_adopter_that_is_not_shown_an_item_adds_nothing_to_its_count() {
    let heap = jobs(2);
    dead_receiver(&heap, 1, 2);
    // One dies with what it adopted, another between its claim and its being shown the item.
    adopter(&heap, 0);
    adopter(&heap, 0).claim(1, 8).unwrap();
    let (at, redeliveries, _) = shown(&mut adopter(&heap, 0));
    assert_eq!((at, redeliveries), (0, 1));
    // This one was shown it.
    let (at, redeliveries, _) = shown(&mut adopter(&heap, 0));
    assert_eq!((at, redeliveries), (0, 2));
}

#[test]
fn what_a_receiver_gives_back_and_receives_again_itself_is_not_counted_again() {
    let heap = jobs(3);
    sit(&heap.mem(), 1, Role::Receiver);
    let mut rx = heap.rx(1);
    for again in [0, 3, 3] {
        let (at, redeliveries, run) = shown(&mut rx);
        assert_eq!((at, redeliveries, run.items, run.again), (0, 0, 3, again), "in one piece");
    }
    let run = rx.claim(1, 8).unwrap();
    rx.release(run, 1);
    let mut rx = adopter(&heap, 0);
    for _ in 0..3 {
        let (at, redeliveries, run) = shown(&mut rx);
        assert_eq!((at, redeliveries, run.items), (1, 1, 1));
    }
    let (at, redeliveries, _) = shown(&mut adopter(&heap, 0));
    assert_eq!((at, redeliveries), (1, 2));
}

#[test]
fn holes_beside_an_adopted_item_go_with_it() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    filled(&heap, 3, 1); // an item and two holes
    filled(&heap, 3, 1);
    dead_receiver(&heap, 1, 2);
    let mut rx = adopter(&heap, 0);
    let run = rx.claim(1, 8).unwrap();
    assert_eq!((run.at, run.slots, run.items), (0, 1, 1));
    rx.release(run, 1);
    // Those behind the last one were not claimed with it.
    let run = rx.claim(1, 8).unwrap();
    assert_eq!((run.at, run.slots, run.items), (1, 3, 1));
    assert!(rx.values(run) == [0] && rx.cursor.has_claim());
    rx.release(run, 1);
    assert!(!rx.cursor.has_claim() && heap.intent(2) == 0);
}

#[test]
fn holes_behind_the_last_adopted_item_go_with_it() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    filled(&heap, 2, 2);
    filled(&heap, 2, 0);
    sit(&heap.mem(), 1, Role::Receiver);
    // It asked for more than there is, and so has what it passed over.
    let claimed = heap.rx(1).claim(2, 8).unwrap();
    assert_eq!((claimed.slots, claimed.items), (4, 2));
    let mut rx = adopter(&heap, 0);
    for (at, slots) in [(0, 1), (1, 3)] {
        let run = rx.claim(1, 8).unwrap();
        assert_eq!((run.at, run.slots, run.items), (at, slots, 1));
        rx.release(run, 1);
    }
    assert!(!rx.cursor.has_claim() && heap.intent(2) == 0);
    filled(&heap, 8, 8); // all slots are free
}

#[test]
fn a_count_stops_at_the_highest() {
    let heap = jobs(1);
    dead_receiver(&heap, 1, 1);
    for turn in 1..20 {
        let (_, redeliveries, _) = shown(&mut adopter(&heap, 0));
        assert_eq!(redeliveries, turn.min(MOST));
    }
}

#[test]
fn an_item_delivered_as_often_as_the_ring_allows_is_dropped_and_counted() {
    for limit in [2, 3, 15] {
        let heap = jobs(3);
        dead_receiver(&heap, 1, 3);
        let next = || adopter(&heap, limit);
        // Once in the batch, then alone.
        for turn in 1..limit {
            let (at, redeliveries, _) = shown(&mut next());
            assert_eq!((at, redeliveries), (0, turn), "limit {limit}");
        }
        let mut rx = next();
        assert_eq!(dropped(&heap.mem().words.control.tally), (1, 1));
        for item in 1..3 {
            let (at, redeliveries, run) = shown(&mut rx);
            assert_eq!((at, redeliveries), (item, 1), "limit {limit}");
            rx.release(run, 1);
        }
        assert_eq!(dropped(&heap.mem().words.control.tally), (1, 1));
        filled(&heap, 8, 8); // all slots are free
    }
}

/// The first item has been delivered once too often, and there is nothing else.
#[test]
fn a_claim_of_nothing_but_an_item_to_be_dropped_is_no_abandoned_claim() {
    let heap = jobs(1);
    dead_receiver(&heap, 1, 1);
    shown(&mut adopter(&heap, 0));
    let mem = Mem { delivery_limit: 2, ..heap.mem() };
    let findings = reap_pass(&mem, Role::Sender, &told(&[]), None);
    assert!(!findings.pending);
    assert_eq!(dropped(&mem.words.control.tally), (1, 1));
    assert!(mem.words.owners.iter().all(|word| table::owner(word).is_none()));
}

#[test]
fn a_count_that_somebody_made_up_is_a_wrong_number_and_nothing_worse() {
    let heap = jobs(3);
    let scribble = |at, stamp: Stamp| heap.mem().slots.stamp(at).store(stamp.0, Relaxed);
    dead_receiver(&heap, 1, 3);
    scribble(0, Stamp::delivered(0, 8, 11));
    scribble(1, Stamp(Stamp::skipped(1, 8).0 | 7 << 2)); // a hole that was delivered
    let mut rx = adopter(&heap, 0);
    let (at, redeliveries, run) = shown(&mut rx);
    assert_eq!((at, redeliveries), (0, 12));
    rx.release(run, 1);
    // What cannot be told from a hole any more is passed over, or is damage if it was the last.
    scribble(2, Stamp(u64::MAX));
    assert_eq!(rx.claim(1, 8), Err(Refused::Corrupt));
    assert!(!rx.cursor.has_claim() && rx.cursor.take_skipped() == 2 && heap.intent(2) == 0);
    filled(&heap, 8, 8);
}

/// One consumer after the other, on the same record.
fn successor(heap: &Heap<u64, Spsc>, limit: u32) -> Rx<u64, Spsc> {
    let mem = Mem { delivery_limit: limit, ..heap.mem() };
    let cursor = <Spsc as Kind>::Recv::attach(&mem, 1).unwrap();
    Rx { mem, shape: heap.shape(), cursor }
}

#[test]
fn spsc_the_item_that_consumers_die_with_climbs_and_those_behind_it_do_not() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    assert_eq!(heap.tx(0).send_some(0, 5), Ok(5));
    let mut rx = successor(&heap, 0);
    let run = rx.claim(4, 4).unwrap();
    rx.cursor.hand_out(&rx.mem, run);

    let mut rx = successor(&heap, 0);
    let (at, redeliveries, run) = shown(&mut rx);
    assert_eq!((at, redeliveries, run.items), (0, 1, 1));
    rx.release(run, 1);
    for turn in 1..4 {
        if turn > 1 {
            rx = successor(&heap, 0);
        }
        for _ in 0..2 {
            // Given back and received again: no more than once for this consumer.
            let (at, redeliveries, _) = shown(&mut rx);
            assert_eq!((at, redeliveries), (1, turn));
        }
        successor(&heap, 0).claim(1, 1).unwrap(); // nor for one that is not shown it
    }
    let mut rx = successor(&heap, 0);
    for (item, times) in [(1, 4), (2, 1), (3, 1), (4, 0)] {
        let (at, redeliveries, run) = shown(&mut rx);
        assert_eq!((at, redeliveries), (item, times));
        rx.release(run, 1);
    }
    assert_eq!(rx.recv(), Err(Refused::NotReady));
}

/// What a consumer gave back itself comes alone to nobody.
#[test]
fn spsc_what_a_consumer_gives_back_it_may_receive_several_of_again() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    assert_eq!(heap.tx(0).send_some(0, 5), Ok(5));
    let mut rx = successor(&heap, 0);
    let run = rx.claim(3, 3).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    let again = rx.claim(2, 4).unwrap();
    assert_eq!((again.items, again.again, rx.cursor.redeliveries()), (4, 3, 0));
}

#[test]
fn spsc_an_item_delivered_as_often_as_the_ring_allows_is_dropped_and_counted() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    assert_eq!(heap.tx(0).send_some(0, 3), Ok(3));
    let mut rx = successor(&heap, 3);
    let run = rx.claim(2, 2).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    for turn in 1..3 {
        let (at, redeliveries, _) = shown(&mut successor(&heap, 3));
        assert_eq!((at, redeliveries), (0, turn));
    }
    let mut rx = successor(&heap, 3);
    assert_eq!(heap.mem().words.control.head.load(Relaxed), 1, "the producer may have its slot");
    assert_eq!(dropped(&heap.mem().words.control.tally), (1, 1));
    assert_eq!(rx.cursor.held(), 1, "of the two that were shown");
    for (item, times) in [(1, 1), (2, 0)] {
        let (at, redeliveries, run) = shown(&mut rx);
        assert_eq!((at, redeliveries), (item, times));
        rx.release(run, 1);
    }
    assert_eq!(rx.cursor.held(), 0);
    assert_eq!(dropped(&heap.mem().words.control.tally), (1, 1));
}

#[test]
fn spsc_a_count_is_believed_of_the_item_that_it_names_alone() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    assert_eq!(heap.tx(0).send_some(0, 3), Ok(3));
    let mut rx = successor(&heap, 0);
    let run = rx.claim(3, 3).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    for (named, times) in [(word(0, 9), 10), (word(1, 9), 1), (word(1 << 60, 9), 10), (u64::MAX, 1)]
    {
        heap.mem().words.records[1].deliveries.store(named, Relaxed);
        let (at, redeliveries, _) = shown(&mut successor(&heap, 0));
        assert_eq!((at, redeliveries), (0, times), "{named:x}");
    }
    // Of what was never handed out, none.
    heap.mem().words.records[1].handed_out.store(0, Relaxed);
    heap.mem().words.records[1].deliveries.store(word(0, 9), Relaxed);
    let (_, redeliveries, run) = shown(&mut successor(&heap, 2));
    assert_eq!((redeliveries, run.items, run.again), (0, 3, 0));
}
