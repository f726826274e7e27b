//! MPMC ends driven by turns: holes, runs, intents, and what the dead leave.

use std::cell::{RefCell, RefMut};
use std::ops::Range;

use super::*;
use crate::peers::table::{self, Role};
use crate::ring::Mpmc;
use crate::ring::intent::{INTENT_MAX_COUNT, intent, intent_slots, intent_stretch};
use crate::ring::looks::{LOOKS, SHORT_RUN, after_losing, enough};
use crate::ring::mpmc::{Receiver, Sender};
use crate::ring::recovery::{Alive, Intended, Remains, effort};
use crate::ring::stamp::Stamp;
use crate::sync::Ordering::Relaxed;

#[test]
fn holes_are_passed_over_freed_and_counted() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let run = tx.claim(3, 3).unwrap();
    tx.fill(run, 0, 0); // three holes
    assert_eq!(tx.send_some(1, 9), Ok(1), "holes take room until passed");
    assert_eq!(tx.send(2), Err(Refused::NotReady));
    assert_eq!(rx.recv(), Ok(1));
    let tally = &heap.mem().words.control.tally;
    assert_eq!(tally.skipped.load(Relaxed), 3);
    assert_eq!(tally.dropped.load(Relaxed), 0);
    assert_eq!(tx.send_some(0, 9), Ok(4));
}

#[test]
fn what_a_run_gives_up_is_counted_beside_what_it_publishes() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let mut tx = heap.tx(0);
    let run = tx.claim(4, 4).unwrap();
    tx.fill(run, 0, 1);
    assert_eq!(heap.mem().words.control.tally.skipped.load(Relaxed), 3);
}

#[test]
fn after_a_lost_race_for_many_slots_fewer_are_asked_for_and_enough() {
    assert_eq!(after_losing(7, 8, SHORT_RUN, 1, 1000), 1000);
    assert_eq!(after_losing(7, 8, SHORT_RUN + 2, 1, 1000), SHORT_RUN / 2 + 1);
    assert_eq!(after_losing(7, 8, 1000, 900, 1000), 900);
    assert_eq!(after_losing(7, 7, 1000, 1, 1000), 1000, "there was no race");
}

#[test]
fn a_claim_looks_so_often_or_four_times_at_each_slot() {
    assert!(!enough(LOOKS, 1, 2) && enough(LOOKS + 1, 1, 2));
    assert!(!enough(4 * LOOKS, LOOKS, LOOKS) && enough(4 * LOOKS + 1, LOOKS, LOOKS));
    assert!(!enough(3 * LOOKS, 1, 3 * LOOKS) && enough(3 * LOOKS + 1, 1, 3 * LOOKS));
}

#[test]
fn to_settle_an_intent_is_as_much_work_as_its_slots_and_the_other_intents() {
    let heap = Heap::<u64, Mpmc>::new(8, 5);
    for role in [Role::Sender, Role::Receiver] {
        let effort = |word| effort(&heap.mem(), role, word);
        assert_eq!([effort(intent(0, 3)), effort(intent(0, 1000)), effort(0)], [3 + 5, 8 + 5, 5]);
    }
}

#[test]
fn something_is_unpublished_from_its_claim_until_it_is_handed_over() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let (mut first, mut second, rx) = (heap.tx(0), heap.tx(1), heap.rx(2));
    let unpublished = || rx.cursor.unpublished(&rx.mem);
    assert!(!unpublished());
    let run = first.claim(1, 1).unwrap();
    assert!(unpublished());
    second.send(1).unwrap();
    assert!(unpublished(), "the one before is still to come");
    first.fill(run, 0, 1);
    assert!(!unpublished());
    let run = first.claim(1, 1).unwrap();
    first.fill(run, 0, 0);
    assert!(!unpublished(), "a hole is handed over, too");
    // What no history produces is taken for something to come rather than for the end.
    let stamp = rx.mem.slots.stamp(1);
    for odd in [3, 1 << 2, 1 << 2 | 1, 63] {
        stamp.store(Stamp::free(1, 4).0 + odd, Relaxed);
        assert!(unpublished(), "{odd}");
    }
    stamp.store(Stamp::free(1, 4).0 + (1 << 6), Relaxed);
    assert!(!unpublished());
}

#[test]
fn another_is_what_the_next_claim_would_get() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert!(Sender::ready(&tx.mem) && !Receiver::ready(&rx.mem));
    let run = tx.claim(2, 2).unwrap();
    assert!(!Sender::ready(&tx.mem) && !Receiver::ready(&rx.mem));
    tx.fill(run, 0, 1); // and a hole
    assert!(!Sender::ready(&tx.mem) && Receiver::ready(&rx.mem));
    let run = rx.claim(1, 1).unwrap();
    assert!(!Sender::ready(&tx.mem) && Receiver::ready(&rx.mem), "behind a hole there may be");
    rx.release(run, 1);
    assert!(Sender::ready(&tx.mem) && Receiver::ready(&rx.mem));
}

#[test]
fn the_longest_run_fills_the_count_of_an_intent() {
    let word = intent(7, INTENT_MAX_COUNT);
    assert_eq!(intent_slots(word), INTENT_MAX_COUNT);
    assert_eq!(intent_slots(word) + 1, 1 << 24);
    assert_eq!(intent_stretch(word, 0).start, 7);
}

#[test]
fn a_ring_of_nothing_but_holes_becomes_free_and_says_so() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let run = tx.claim(4, 4).unwrap();
    tx.fill(run, 0, 0);
    assert_eq!(tx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(rx.cursor.take_skipped(), 4, "senders must be told");
    assert_eq!(rx.cursor.take_skipped(), 0);
    assert_eq!(tx.send_some(0, 4), Ok(4));
}

#[test]
fn a_run_finds_its_items_between_holes() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    // 0 _ 1 _ _ 2 3 _
    for (items, slots, first) in [(1, 2, 0), (1, 3, 1), (2, 3, 2)] {
        let run = tx.claim(slots, slots).unwrap();
        tx.fill(run, first, items);
    }
    let run = rx.claim(4, 4).unwrap();
    assert_eq!((run.slots, run.items), (7, 4));
    assert_eq!(rx.values(run), [0, 1, 2, 3]);
    assert_eq!(rx.cursor.items(rx.view(), run).nth(4), None);

    // Release two: the hole between them goes too, and so do the two before the first item kept.
    rx.release(run, 2);
    assert_eq!(rx.cursor.held(), 2);
    assert_eq!(rx.claim(3, 3), Err(Refused::Held), "only two are held");
    let run = rx.claim(1, 8).unwrap();
    assert_eq!((run.at, run.slots, run.items), (5, 2, 2));
    assert_eq!(rx.values(run), [2, 3]);
    rx.release(run, 2);
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(tx.send_some(0, 8), Ok(8));
}

/// Everybody is alive but those in these records.
pub(super) struct Dead(&'static [usize], RefCell<Vec<Range<u64>>>);

pub(super) fn dead(records: &'static [usize]) -> Dead {
    Dead(records, RefCell::default())
}

impl Alive for Dead {
    fn alive(&self, _: Role, record: usize) -> bool {
        !self.0.contains(&record)
    }

    fn room(&self) -> RefMut<'_, Vec<Range<u64>>> {
        self.1.borrow_mut()
    }
}

fn sit(heap: &Heap<u64, Mpmc>, record: usize, role: Role) {
    table::take(&heap.mem().words.owners[record], role, 1, false).expect("a free record");
}

#[test]
fn what_a_dead_receiver_held_is_adopted_and_what_it_released_is_not() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let (mut tx, mut rx, mut adopter) = (heap.tx(0), heap.rx(1), heap.rx(2));
    for (record, role) in [(0, Role::Sender), (1, Role::Receiver), (2, Role::Receiver)] {
        sit(&heap, record, role);
    }
    tx.send_some(0, 4).unwrap();
    let run = rx.claim(3, 3).unwrap();
    rx.release(run, 1);
    // While it lives, nobody touches what it holds.
    let alive = <Receiver as RecvClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(1), &dead(&[]));
    assert!(matches!(alive, Remains::Unclear { .. }), "{alive:?}");
    let Remains::Abandoned { run, more: false } =
        <Receiver as RecvClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(1), &dead(&[1]))
    else {
        panic!("not one abandoned run")
    };
    assert_eq!((run.at, run.slots, run.items, run.again), (1, 2, 2, 2));
    adopter.cursor.adopt(&adopter.mem, run);
    // From here on they are the adopter's, to whoever asks.
    let left = <Receiver as RecvClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(1), &dead(&[1]));
    assert!(matches!(left, Remains::Unclear { .. }), "{left:?}");
    assert_eq!(adopter.recv(), Ok(1));
    assert_eq!(adopter.recv(), Ok(2));
    let left = <Receiver as RecvClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(1), &dead(&[1]));
    assert!(matches!(left, Remains::Nothing), "{left:?}");
    assert_eq!(adopter.recv(), Ok(3));
    assert_eq!(tx.send_some(0, 4), Ok(4));
}

/// A live receiver that lost the race for some of the positions intends them still.
#[test]
fn what_a_dead_receiver_held_is_found_in_stretches_around_what_may_be_anothers() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    for (record, role) in [(0, Role::Sender), (1, Role::Receiver), (2, Role::Receiver)] {
        sit(&heap, record, role);
    }
    tx.send_some(0, 5).unwrap();
    rx.claim(5, 5).unwrap();
    let settle = |another_intends: u64| {
        heap.mem().words.records[2].intent.store(another_intends, Relaxed);
        let found =
            <Receiver as RecvClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(1), &dead(&[1]));
        match found {
            Remains::Abandoned { run, more } => (run.at, run.slots, more),
            _ => panic!("{found:?}"),
        }
    };
    assert_eq!(settle(0), (0, 5, false));
    assert_eq!(settle(intent(2, 1)), (0, 2, true), "others behind");
    assert_eq!(settle(intent(0, 2)), (2, 3, true), "what may be another's before");
    assert_eq!(settle(intent(3, 2)), (0, 3, true), "what may be another's behind");
    // What was released meanwhile is nobody's, and splits what is left.
    let mem = heap.mem();
    mem.slots.stamp(1).store(Stamp::free(9, 8).0, Relaxed);
    assert_eq!(settle(0), (0, 1, true));
}

#[test]
fn what_a_dead_sender_had_claimed_is_passed_over_and_what_it_published_is_not() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    let (mut victim, mut tx, mut rx) = (heap.tx(0), heap.tx(1), heap.rx(2));
    for (record, role) in [(0, Role::Sender), (1, Role::Sender), (2, Role::Receiver)] {
        sit(&heap, record, role);
    }
    let run = victim.claim(3, 3).unwrap();
    // It published one of three and died.
    victim.mem.view(numbers()).write(run.at, &0);
    let published = Stamp::published(run.at, 8).0;
    victim.mem.slots.stamp(run.at).store(published, Relaxed);
    tx.send(1).unwrap();
    assert_eq!(rx.recv(), Ok(0));
    assert_eq!(rx.recv(), Err(Refused::NotReady));
    let alive = <Sender as SendClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(0), &dead(&[]));
    assert!(matches!(alive, Remains::Unclear { progress: false }), "{alive:?}");
    assert_eq!(rx.recv(), Err(Refused::NotReady));
    let dead = <Sender as SendClaims>::settle::<Mpmc>(&heap.mem(), heap.intent(0), &dead(&[0]));
    assert!(matches!(dead, Remains::Nothing), "{dead:?}");
    assert_eq!(heap.mem().words.control.tally.skipped.load(Relaxed), 2);
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(tx.send_some(0, 8), Ok(8));
}

#[test]
fn a_sender_in_the_midst_of_a_call_holds_up_receivers_in_order_and_nobody_else() {
    let heap = Heap::<u64, Mpmc>::new(4, 4);
    let (mut slow, mut fast) = (heap.tx(0), heap.tx(1));
    let mut rx = heap.rx(2);
    let run = slow.claim(1, 1).unwrap();
    fast.send(1).unwrap();
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(fast.send_some(2, 9), Ok(2), "other senders have room to go on");
    assert_eq!(fast.send(4), Err(Refused::NotReady));
    slow.fill(run, 0, 1);
    assert_eq!(rx.recv_some(9), Ok(vec![0, 1, 2, 3]));
}

#[test]
fn a_receiver_in_the_midst_of_a_call_holds_up_senders_a_lap_later() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let mut tx = heap.tx(0);
    let (mut slow, mut fast) = (heap.rx(1), heap.rx(2));
    tx.send_some(0, 2).unwrap();
    let run = slow.claim(1, 1).unwrap();
    assert_eq!(fast.recv(), Ok(1));
    // Slot 1 is free, but slot 0 comes first.
    assert_eq!(tx.send(2), Err(Refused::NotReady));
    assert_eq!(fast.recv(), Err(Refused::NotReady));
    slow.release(run, 1);
    assert_eq!(tx.send_some(2, 4), Ok(2));
    assert_eq!(fast.recv_some(2), Ok(vec![2, 3]));
}

#[test]
fn an_intent_covers_the_claim_from_before_it_is_made_until_it_is_handed_over() {
    let heap = Heap::<u64, Mpmc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let words = heap.mem().words;
    let intent = |record: usize| words.records[record].intent.load(Relaxed);
    let run = tx.claim(3, 3).unwrap();
    assert_eq!(intent(0), 3 << 40);
    tx.fill(run, 0, 3);
    assert_eq!(intent(0), 0);
    let run = rx.claim(2, 2).unwrap();
    assert_eq!(intent(1), 2 << 40);
    rx.release(run, 1);
    assert_eq!(intent(1), 2 << 40, "one is held");
    let run = rx.claim(1, 1).unwrap();
    rx.release(run, 1);
    assert_eq!(intent(1), 0);
    let run = rx.claim(1, 1).unwrap();
    assert_eq!(intent(1), 1 << 40 | 2);
    rx.release(run, 1);
    // A claim that comes to nothing leaves none behind either.
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(tx.claim(8, 8).map(|run| run.at), Ok(3));
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(intent(1), 0);
}

/// Against a look at each intent for each position, with intents that overlap, touch, contain each
/// other, are the same, or begin before the first position.
#[test]
fn what_the_living_intend_is_found_in_one_pass() {
    const HORIZON: u64 = 1 << 40;
    let firsts = [0, 5, HORIZON - 3, HORIZON, u64::MAX - 20];
    let mut any = 1_u64;
    let mut below = |most: u64| {
        any = any.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (any >> 33) % most
    };
    for round in 0..200 {
        let first = firsts[round % firsts.len()];
        let intents: Vec<(u64, u64)> = (0..below(6))
            .map(|_| (first.wrapping_add(below(40)).wrapping_sub(8), 1 + below(12)))
            .collect();
        let words = intents.iter().map(|&(at, slots)| intent(at, slots));
        let room = RefCell::default();
        let intended = Intended::new(words, first, room.borrow_mut());
        for (distance, slots) in (0..48).rev().zip([1, 1, 5].into_iter().cycle()) {
            let position = first.wrapping_add(distance);
            let covered = intents.iter().any(|&(at, intended)| {
                (0..slots).any(|i| position.wrapping_add(i).wrapping_sub(at) % HORIZON < intended)
            });
            let what = format!("{slots} at {distance} from {first}: {intents:?}");
            assert_eq!(intended.covers(position, slots), covered, "{what}");
        }
    }
}

#[test]
fn stamps_that_no_history_produces_are_noticed() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let mem = heap.mem();
    let scribble = |stamp: u64| mem.slots.stamp(0).store(stamp, Relaxed);
    for far in [1 << 6, 7 << 6, u64::MAX, 1 << 63, 5 << 6 | 1] {
        scribble(far);
        assert_eq!(tx.send(1), Err(Refused::Corrupt), "{far:x}");
        assert_eq!(rx.recv(), Err(Refused::Corrupt), "{far:x}");
    }
    scribble(0);
    tx.send(1).unwrap();
    // Behind the first it is left to whoever comes there.
    mem.slots.stamp(2).store(7 << 6, Relaxed);
    assert_eq!(tx.claim(2, 2), Err(Refused::NotReady));
    mem.slots.stamp(1).store(7 << 6, Relaxed);
    assert_eq!(rx.claim(2, 2), Err(Refused::NotReady));
    assert_eq!(rx.recv(), Ok(1));
}

#[test]
fn items_whose_stamps_were_scribbled_on_are_missing_and_nothing_worse() {
    let heap = Heap::<u64, Mpmc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let run = tx.claim(2, 2).unwrap();
    tx.fill(run, 0, 1); // an item and a hole
    tx.send_some(1, 7).unwrap();
    let run = rx.claim(7, 8).unwrap();
    assert_eq!((run.slots, run.items), (8, 7));
    for position in 0..7 {
        rx.mem.slots.stamp(position).store(u64::MAX, Relaxed);
    }
    assert!(rx.cursor.items(rx.view(), run).next().is_some(), "the last one");
    assert_eq!(rx.cursor.items(rx.view(), run).nth(1), None);
    rx.release(run, 1);
    assert_eq!(rx.cursor.held(), 0, "of the other six nothing is to be found");
    assert_eq!(tx.send_some(0, 8), Ok(8), "the release put all in order");
}
