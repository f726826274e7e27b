//! What the dead leave of messages: holes of what was claimed, whole messages that come again.

use super::*;
use crate::peers::reap::tests::{dead_receiver, reap_pass, sit, told};
use crate::peers::table::Role;
use crate::ring::intent::{INTENT_MAX_COUNT, intent};
use crate::ring::mpmc::{Receiver, Sender};
use crate::ring::recovery::{Remains, effort, joins};
use crate::ring::tests::deliveries::{adopter, dropped, shown};
use crate::ring::tests::mpmc::dead;

/// What every dead sender leaves: it had claimed three granules for a message of so many, and
/// stored so many of its stamps, in order.
#[test]
fn what_a_dead_sender_had_not_published_is_passed_over_wherever_it_died() {
    for used in 0..=3 {
        let orders = [[0, 1, 2], [1, 2, 0], [2, 1, 0], [2, 1, 0]];
        let states = ["SSS", "PSS", "PCS", "PCC"];
        for stored in 0..=3 {
            let heap = Ring::new(4, 3);
            sit(&heap.mem(), 0, Role::Sender);
            let (mut victim, mut tx, mut rx) = (heap.tx(0), heap.tx(1), heap.rx(2));
            let run = victim.claim(3, 3).unwrap();
            victim.write_message(run, 7, used.max(1));
            for &at in &orders[used as usize][..stored] {
                scribble(&heap, at, &states[used as usize][at as usize..][..1]);
            }
            tx.send(8).unwrap();
            let what = format!("{stored} stamps of {used}");
            let word = heap.intent(0);
            let settle = |records| {
                <Sender as SendClaims>::settle::<MpmcMessages>(&heap.mem(), word, &dead(records))
            };
            let unclear = matches!(settle(&[]), Remains::Unclear { progress: false });
            assert_eq!(unclear, stored < 3, "{what}");
            assert!(matches!(settle(&[0]), Remains::Nothing), "{what}");
            let skipped = heap.mem().words.control.tally.skipped.load(Relaxed);
            assert_eq!(skipped, 3 - stored as u64, "{what}");
            if stored == 3 && used > 0 {
                assert_eq!(rx.recv(), Ok(Granule::nth(7)), "{what}");
            }
            assert_eq!(rx.recv(), Ok(Granule::nth(8)), "{what}");
            assert_eq!(rx.recv(), Err(Refused::NotReady), "{what}");
            all_free(&heap);
        }
    }
}

/// What recovery finds of a receiver in record 1, who is dead, by its intent.
pub(super) fn settled(heap: &Ring, word: u64, limit: u32) -> Remains {
    let mem = Mem { delivery_limit: limit, ..heap.mem() };
    <Receiver as RecvClaims>::settle(&mem, word, &dead(&[1]))
}

/// A run that was abandoned, and whether there is more; `None`: nothing, or all of it is unclear.
fn abandoned(heap: &Ring, word: u64) -> Option<(u64, u64, u64, bool)> {
    match settled(heap, word, 0) {
        Remains::Abandoned { run, more } => {
            assert_eq!(run.items, run.again);
            Some((run.at, run.slots, run.items, more))
        }
        Remains::Nothing | Remains::Unclear { .. } => None,
        exhausted => panic!("{exhausted:?}"),
    }
}

/// All that the letters say was claimed by receivers.
fn claimed(capacity: u64, letters: &str) -> Ring {
    let heap = handed_over(capacity, letters);
    heap.mem().words.control.head.store(letters.len() as u64, Relaxed);
    for record in [1, 2] {
        sit(&heap.mem(), record, Role::Receiver);
    }
    heap
}

#[test]
fn what_a_dead_receiver_held_is_abandoned_by_whole_messages() {
    for (letters, expected) in [
        ("PCCPSC", Some((0, 6, 2, false))),
        ("---PSC", Some((3, 3, 1, false))),
        // It was killed in the midst of a release.
        ("-CCPSC", Some((1, 5, 1, false))),
        ("-CC---", Some((1, 2, 0, false))),
        ("--CPCC", Some((2, 4, 1, false))),
        ("-C-PCC", Some((1, 1, 0, true))),
        ("------", None),
        ("SSCPC-", Some((0, 5, 1, false))),
    ] {
        let heap = claimed(8, letters);
        assert_eq!(abandoned(&heap, intent(0, 6)), expected, "{letters}");
    }
}

/// As that of one that is older than 2^40 positions may.
#[test]
fn an_intent_that_cuts_a_message_in_two_yields_all_of_it_or_nothing() {
    for (at, slots, expected) in [
        (0, 1, (0, 3, 1, false)),
        (1, 1, (0, 3, 1, false)),
        (2, 1, (0, 3, 1, false)),
        (2, 2, (0, 6, 2, false)),
        (3, 1, (3, 3, 1, false)),
        (4, 4, (3, 5, 1, false)),
        (6, 1, (6, 1, 0, false)),
        (7, 1, (7, 1, 0, false)),
    ] {
        let heap = claimed(8, "PCCPCCSC");
        assert_eq!(abandoned(&heap, intent(at, slots)), Some(expected), "{at}, {slots}");
        // The lap does not matter.
        let heap = claimed(8, "PCCPCCSC");
        let lap = 5 * 8;
        scribble(&heap, lap, "PCCPCCSC");
        heap.mem().words.control.head.store(lap + 8, Relaxed);
        let (begin, run, items, more) = expected;
        let expected = Some((lap + begin, run, items, more));
        assert_eq!(abandoned(&heap, intent(lap + at, slots)), expected, "{at}, {slots}");
    }
    // Nothing of it lies beyond the head.
    let heap = claimed(8, "PCC");
    scribble(&heap, 3, "C");
    assert_eq!(abandoned(&heap, intent(0, 3)), Some((0, 3, 1, false)));
}

#[test]
fn a_message_of_which_a_live_receiver_may_own_a_granule_is_left_alone_and_splits_the_rest() {
    let heap = claimed(8, "PCCPCPSC");
    let beside = |at, slots| {
        heap.mem().words.records[2].intent.store(intent(at, slots), Relaxed);
        abandoned(&heap, intent(0, 8))
    };
    for at in [0, 1, 2] {
        assert_eq!(beside(at, 1), Some((3, 5, 2, true)), "{at}");
    }
    for at in [3, 4] {
        assert_eq!(beside(at, 1), Some((0, 3, 1, true)), "{at}");
    }
    assert_eq!(beside(2, 2), Some((5, 3, 1, true)));
    assert_eq!(beside(6, 1), Some((0, 6, 3, true)), "a hole is of one granule");
    assert_eq!(beside(0, 6), Some((6, 2, 0, true)));
    assert_eq!(beside(0, 8), None);
    // An intent of one that begins before, or is one of the lap before.
    assert_eq!(beside((1 << 40) - 1, 2), Some((3, 5, 2, true)));
    assert!(matches!(settled(&heap, intent(1, 2), 0), Remains::Unclear { progress: false }));
}

#[test]
fn a_run_grows_as_long_as_an_intent_and_no_longer() {
    let run = |slots| Run { at: 8, slots, items: 1, again: 1 };
    assert!(joins(run(2), 10, 3));
    assert!(!joins(run(2), 11, 3) && !joins(run(2), 9, 3));
    assert!(joins(run(2), 10, INTENT_MAX_COUNT - 2));
    assert!(!joins(run(2), 10, INTENT_MAX_COUNT - 1));
}

#[test]
fn to_settle_a_receivers_intent_may_take_a_look_at_every_granule_beyond() {
    let heap = Ring::new(8, 5);
    let effort = |role, word| effort(&heap.mem(), role, word);
    assert_eq!(effort(Role::Sender, intent(0, 3)), 3 + 5);
    assert_eq!(effort(Role::Receiver, intent(0, 3)), 3 + 8 + 5);
    assert_eq!(effort(Role::Receiver, intent(0, 1000)), 8 + 8 + 5);
}

#[test]
fn abandoned_messages_are_delivered_again_whole_and_one_at_a_time() {
    let heap = Ring::new(16, 24);
    let mut tx = heap.tx(0);
    for (n, (claimed, used)) in (0..).zip([(3, 3), (2, 1), (2, 0), (4, 4)]) {
        let run = tx.claim(claimed, claimed).unwrap();
        tx.fill(run, n, used);
    }
    assert_eq!(stamps(&heap, 0, 12), "PCCPSSSPCCCF");
    dead_receiver(&heap, 1, 3);
    let mut rx = adopter(&heap, 0);
    let (at, times, run) = shown(&mut rx);
    assert_eq!((at, times, run.slots, run.items, run.again), (0, 1, 3, 1, 1));
    assert_eq!(rx.values(run), [Granule::nth(0)]);
    rx.release(run, 1);
    // It dies with the second, and so does the next; that climbs, and the third does not.
    for turn in 1..3 {
        if turn > 1 {
            rx = adopter(&heap, 0);
        }
        let (at, times, run) = shown(&mut rx);
        assert_eq!((at, times, run.slots), (3, turn, 1));
        assert_eq!(rx.claim(2, 2), Err(Refused::Held), "it comes alone");
    }
    let mut rx = adopter(&heap, 0);
    let (at, times, run) = shown(&mut rx);
    assert_eq!((at, times, rx.values(run)), (3, 3, vec![Granule::nth(1)]));
    rx.release(run, 1);
    let (at, times, run) = shown(&mut rx);
    assert_eq!((at, times, run.at, run.slots, run.items), (7, 1, 4, 7, 1), "with the holes before");
    assert_eq!(rx.values(run), [Granule::nth(3)]);
    // A count is none of the message's extent.
    assert_eq!(extents(&rx, run), [4]);
    rx.release(run, 1);
    assert!(!rx.cursor.has_claim());
    all_free(&heap);
}

#[test]
fn a_message_delivered_as_often_as_the_ring_allows_is_dropped_whole_and_counted() {
    let heap = Ring::new(8, 24);
    let mut tx = heap.tx(0);
    tx.send_long(0, 3).unwrap();
    tx.send_long(1, 2).unwrap();
    dead_receiver(&heap, 1, 2);
    let (at, times, _) = shown(&mut adopter(&heap, 2));
    assert_eq!((at, times), (0, 1));
    let mut rx = adopter(&heap, 2);
    assert_eq!(stamps(&heap, 0, 6), "---PCF");
    assert_eq!(dropped(&heap.mem().words.control.tally), (1, 1));
    let (at, times, run) = shown(&mut rx);
    assert_eq!((at, times, rx.values(run)), (3, 1, vec![Granule::nth(1)]));
    rx.release(run, 1);
    all_free(&heap);
}

#[test]
fn a_dead_receivers_messages_are_dropped_whole_where_the_ring_says_so() {
    let heap = Ring::new(8, 24);
    let mut tx = heap.tx(0);
    tx.send_long(0, 3).unwrap();
    tx.send_long(1, 2).unwrap();
    dead_receiver(&heap, 1, 2);
    scribble(&heap, 0, "-"); // it had released the first, and was killed meanwhile
    let mem = Mem { drop_unreleased: true, ..heap.mem() };
    let findings = reap_pass(&mem, Role::Sender, &told(&[]), None);
    assert!(!findings.pending);
    assert_eq!(dropped(&mem.words.control.tally), (1, 0));
    all_free(&heap);
}
