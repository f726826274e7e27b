//! MPMC messages driven by turns: extents, wraps, holes, limits, and what the dead leave of them.

use super::deliveries::{adopter, dropped, shown};
use super::mpmc::dead;
use super::*;
use crate::peers::reap::tests::{dead_receiver, reap_pass, sit, told};
use crate::peers::table::Role;
use crate::ring::MpmcMessages;
use crate::ring::granules::{self, look};
use crate::ring::intent::{INTENT_MAX_COUNT, intent};
use crate::ring::mpmc::{Receiver, Sender};
use crate::ring::recovery::{Remains, effort, joins};
use crate::ring::stamp::Stamp;
use crate::sync::Ordering::Relaxed;

type Granule = [u64; 2];
type Ring = Heap<Granule, MpmcMessages>;

/// The stamps from `at` on in letters: free, published, skipped, continued; `-` is of another lap.
fn stamps(heap: &Ring, at: u64, slots: u64) -> String {
    let mem = heap.mem();
    let letter = |at: u64| {
        let stamp = Stamp(mem.slots.stamp(at).load(Relaxed));
        let all = [
            (Stamp::free(at, heap.capacity), 'F'),
            (Stamp::published(at, heap.capacity), 'P'),
            (Stamp::skipped(at, heap.capacity), 'S'),
            (Stamp::continued(at, heap.capacity), 'C'),
        ];
        all.into_iter().find(|(of, _)| *of == stamp).map_or('-', |(_, letter)| letter)
    };
    (at..at + slots).map(letter).collect()
}

/// Stores what the letters say.
fn scribble(heap: &Ring, at: u64, letters: &str) {
    for (letter, at) in letters.chars().zip(at..) {
        let stamp = match letter {
            'F' => Stamp::free(at, heap.capacity),
            'P' => Stamp::published(at, heap.capacity),
            'S' => Stamp::skipped(at, heap.capacity),
            'C' => Stamp::continued(at, heap.capacity),
            _ => Stamp::free(at + heap.capacity, heap.capacity), // released
        };
        heap.mem().slots.stamp(at).store(stamp.0, Relaxed);
    }
}

/// A ring in which this was handed over, as the letters say, from position 0 on.
fn handed_over(capacity: u64, letters: &str) -> Ring {
    let heap = Ring::new(capacity, 6);
    scribble(&heap, 0, letters);
    heap.mem().words.control.tail.at.store(letters.len() as u64, Relaxed);
    heap
}

/// The whole capacity can be had again.
fn all_free(heap: &Ring) {
    let mut tx = heap.tx(0);
    let run = tx.claim(heap.capacity, heap.capacity).expect("all is free");
    tx.fill(run, 0, 0);
    let mut rx = heap.rx(1);
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!(rx.cursor.take_skipped(), heap.capacity);
}

/// How many granules each message of a run takes.
fn extents(rx: &Rx<Granule, MpmcMessages>, run: Run) -> Vec<u64> {
    rx.cursor.items(rx.view(), run).map(|at| rx.extent(run, at)).collect()
}

#[test]
fn messages_of_every_length_cross_whole_from_every_place() {
    for capacity in [1, 2, 4] {
        for granules in 1..=capacity {
            let heap = Ring::new(capacity, 2);
            let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
            for n in 0..2 * capacity + 1 {
                tx.send_long(n, granules).unwrap();
                if capacity < 2 * granules {
                    assert_eq!(tx.send_long(9, granules), Err(Refused::NotReady));
                }
                let run = rx.claim(1, 9).unwrap();
                assert_eq!((run.slots, run.items), (granules, 1));
                assert_eq!(extents(&rx, run), [granules]);
                assert_eq!(rx.values(run), [Granule::nth(n)]);
                rx.release(run, 1);
                assert_eq!(rx.recv(), Err(Refused::NotReady));
            }
        }
    }
}

#[test]
fn what_a_message_does_not_use_of_its_claim_is_a_hole_behind_it() {
    let heap = Ring::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    for (used, letters) in [(5, "PCCCC"), (3, "PCCSS"), (1, "PSSSS"), (0, "SSSSS")] {
        let at = heap.mem().words.control.tail.at.load(Relaxed);
        let run = tx.claim(5, 5).unwrap();
        tx.fill(run, used, used);
        assert_eq!(stamps(&heap, at, 5), letters);
        tx.send_long(7, 2).unwrap();
        if used > 0 {
            // No further than it was asked for, and that is not into the hole.
            let run = rx.claim(1, 1).unwrap();
            assert_eq!((run.slots, extents(&rx, run)), (used, vec![used]));
            assert_eq!(rx.values(run), [Granule::nth(used)]);
            rx.release(run, 1);
        }
        let run = rx.claim(1, 1).unwrap();
        assert_eq!((run.slots, extents(&rx, run)), (5 - used + 2, vec![2]));
        assert_eq!(rx.values(run), [Granule::nth(7)]);
        rx.release(run, 1);
    }
    assert_eq!(heap.mem().words.control.tally.skipped.load(Relaxed), 2 + 4 + 5);
    all_free(&heap);
}

#[test]
fn a_sender_that_forgets_its_claim_gives_all_of_it_up() {
    let heap = Ring::new(4, 2);
    let mut tx = heap.tx(0);
    tx.claim(3, 3).unwrap();
    tx.cursor.close(&tx.mem);
    assert_eq!(stamps(&heap, 0, 4), "SSSF");
    assert_eq!(heap.intent(0), 0);
}

#[test]
fn claims_count_messages_and_runs_granules() {
    let heap = Ring::new(16, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    // PCC P SS PCS P
    for (claimed, used) in [(3, 3), (1, 1), (2, 0), (3, 2), (1, 1)] {
        let run = tx.claim(claimed, claimed).unwrap();
        tx.fill(run, run.at, used);
    }
    assert_eq!(stamps(&heap, 0, 11), "PCCPSSPCSPF");
    assert_eq!(rx.claim(5, 5), Err(Refused::NotReady), "there are four");
    let run = rx.claim(2, 4).unwrap();
    assert_eq!((run.slots, run.items, run.again), (10, 4, 0));
    assert_eq!(extents(&rx, run), [3, 1, 2, 1]);
    assert_eq!(rx.values(run), [0, 3, 6, 9].map(Granule::nth));
    // With what is released goes the hole behind it.
    rx.release(run, 2);
    assert_eq!(stamps(&heap, 0, 11), "------PCSPF");
    assert_eq!(rx.cursor.held(), 2);
    assert_eq!(rx.claim(3, 3), Err(Refused::Held));
    let run = rx.claim(1, 1).unwrap();
    assert_eq!((run.at, run.slots, run.items, run.again), (6, 4, 2, 2));
    assert_eq!(extents(&rx, run), [2, 1]);
    rx.release(run, 1);
    let run = rx.claim(1, 1).unwrap();
    assert_eq!((run.at, rx.values(run)), (9, vec![Granule::nth(9)]));
    rx.release(run, 1);
    assert!(!rx.cursor.has_claim() && heap.intent(1) == 0);
}

#[test]
fn several_that_need_more_messages_than_the_ring_can_hold_are_told() {
    let heap = Ring::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send_long(0, 2).unwrap();
    assert_eq!(rx.claim(3, 3), Err(Refused::NotReady), "there is room for more");
    tx.send_long(1, 2).unwrap();
    assert_eq!(rx.claim(3, 3), Err(Refused::Fragmented(2)));
    assert_eq!(rx.claim(2, 3).map(|run| run.items), Ok(2));
}

#[test]
fn a_claim_at_once_takes_a_message_that_begins_and_ends_there() {
    for (letters, granules) in [
        ("P", 1),
        ("PP", 1),
        ("PS", 1),
        ("PC", 2),
        ("PCC", 3),
        ("PCPC", 2),
        ("PCCC", 0), // longer than any
        ("SP", 0),
        ("C", 0),
        ("F", 0),
    ] {
        let heap = handed_over(4, letters);
        let mut rx = heap.rx(1);
        let run = rx.cursor.claim_one(rx.mem.kept());
        let taken = granules > 0;
        let claimed = run.map(|run| (run.slots, run.items));
        assert_eq!(claimed, taken.then_some((granules, 1)), "{letters}");
        assert_eq!(rx.cursor.has_claim(), taken);
        assert_eq!(heap.intent(1), granules << 40);
    }
    // In a ring of one granule what follows is the granule itself.
    let heap = handed_over(1, "P");
    assert!(heap.rx(1).cursor.claim_one(heap.mem().kept()).is_some());
}

#[test]
fn a_granule_that_continues_nothing_is_a_hole_also_at_the_start_of_a_claim() {
    for (letters, slots, begins_at) in
        [("SCCPC", 5, 3), ("CCPC", 4, 2), ("CP", 2, 1), ("SCSCP", 5, 4)]
    {
        let heap = handed_over(8, letters);
        let mut rx = heap.rx(1);
        assert!(rx.cursor.another(&rx.mem), "{letters}");
        let run = rx.cursor.claim(rx.mem.kept(), 1, 1).unwrap();
        assert_eq!((run.slots, run.items), (slots, 1), "{letters}");
        let at = rx.cursor.items(rx.view(), run).next();
        assert_eq!(at, Some(begins_at), "{letters}");
        rx.release(run, 1);
        assert_eq!(stamps(&heap, 0, slots), "-".repeat(slots as usize));
    }
    // And where nothing comes behind.
    let heap = handed_over(4, "CCSC");
    let mut rx = heap.rx(1);
    assert_eq!(rx.claim(1, 1), Err(Refused::NotReady));
    assert_eq!((rx.cursor.take_skipped(), stamps(&heap, 0, 4)), (4, "----".into()));
}

/// What a look finds: granules, messages, and how many stamps it looked at.
fn found(heap: &Ring, most: u64, longest: u64) -> (u64, u64, u64) {
    let looked = look(heap.mem().kept(), 0, most, longest);
    (looked.slots, looked.items, looked.looks)
}

#[test]
fn a_look_ends_where_a_stamp_says_so() {
    let heap = handed_over(8, "PCCPSCP");
    for (most, expected) in [(1, (3, 1, 4)), (2, (4, 2, 5)), (3, (7, 3, 8)), (9, (7, 3, 8))] {
        assert_eq!(found(&heap, most, 8), expected);
    }
    // A ring that is full of one message, and what comes behind is the same stamp.
    assert_eq!(found(&handed_over(4, "PCCC"), 9, 4), (4, 1, 5));
}

#[test]
fn a_look_that_reaches_its_limit_goes_back_to_where_a_message_ends() {
    let heap = handed_over(8, "PCCPSCP");
    // What the limit is, and how far it gets.
    let limits = [(0, 0, 0), (3, 3, 1), (4, 4, 2), (5, 5, 2), (6, 6, 2), (7, 7, 3)];
    for (longest, slots, items) in limits {
        assert_eq!(found(&heap, 9, longest), (slots, items, longest + 1), "{longest}");
    }
    // Within the first message it gets nowhere.
    for longest in [1, 2] {
        assert_eq!(found(&heap, 9, longest), (0, 0, longest + 1), "{longest}");
    }
    let heap = handed_over(8, "SPCCP");
    assert_eq!(found(&heap, 9, 3), (1, 0, 4), "but into the hole before it");
    assert_eq!(found(&handed_over(8, "PPCC"), 9, 3), (1, 1, 4));
}

#[test]
fn a_run_that_is_longer_than_the_ring_was_never_there() {
    // The head is not moved as far as the stamps say: damage. Else the claim would begin anew.
    let heap = handed_over(4, "PCCC");
    scribble(&heap, 4, "P");
    let mut rx = heap.rx(1);
    assert_eq!(rx.claim(1, 9), Err(Refused::Corrupt));
    // The first is of this lap when it is looked at, and of the next at the end.
    let looked = look(heap.mem().kept(), 1, 9, 4);
    assert_eq!((looked.slots, looked.items), (4, 1), "CCCP: three of a hole, and the next lap's");
    scribble(&heap, 4, "CCCC");
    assert_eq!(found(&heap, 9, 4), (0, 0, 1));
    assert_eq!(heap.rx(1).claim(1, 1), Err(Refused::Corrupt));
}

#[test]
fn a_clear_takes_no_message_of_which_a_part_lies_behind_its_end() {
    for (end, slots, items) in [(2, 2, 1), (3, 3, 1), (4, 3, 1), (5, 3, 1), (6, 6, 2), (9, 7, 2)] {
        let heap = handed_over(8, "PCSPCCS");
        let mut rx = heap.rx(1);
        let run = rx.cursor.claim_before(rx.mem.kept(), 9, end).unwrap();
        assert_eq!((run.slots, run.items), (slots, items), "{end}");
    }
    let heap = handed_over(8, "PCSPCCS");
    let mut rx = heap.rx(1);
    assert_eq!(rx.cursor.claim_before(rx.mem.kept(), 9, 0), Err(Refused::NotReady));
    // No sender claims from there on.
    assert_eq!(rx.cursor.claim_before(rx.mem.kept(), 9, 1), Err(Refused::Corrupt));
    assert_eq!(heap.intent(1), 0);
}

#[test]
fn something_is_to_come_until_all_that_was_claimed_is_handed_over() {
    for (letters, to_come) in [
        ("", false),
        ("P", false),
        ("PC", false),
        ("SCC", false),
        ("CCS", false),
        ("FCC", true),
        ("PCF", true),
        ("PCCF", true),
        ("SFC", true),
        ("F", true),
    ] {
        let heap = handed_over(4, letters);
        assert_eq!(heap.rx(1).cursor.unpublished(&heap.mem()), to_come, "{letters}");
    }
    let heap = handed_over(4, "PC");
    // What no history produces is taken for something to come rather than for the end.
    heap.mem().slots.stamp(1).store(Stamp::continued(1, 4).0 | 1 << 2, Relaxed);
    assert!(heap.rx(1).cursor.unpublished(&heap.mem()));
}

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
fn settled(heap: &Ring, word: u64, limit: u32) -> Remains {
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

/// Whatever a peer stores in the shared words: no call panics, runs on for ever, or gives what is
/// not within the ring.
#[test]
fn stamps_positions_and_intents_that_somebody_made_up_harm_nobody() {
    const ROUNDS: u64 = if cfg!(miri) { 100 } else { 20_000 };
    const CAPACITY: u64 = 8;
    let mut any = 1_u64;
    let mut below = |most: u64| {
        any = any.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (any >> 33) % most
    };
    for _ in 0..ROUNDS {
        let heap = Ring::new(CAPACITY, 3);
        let mem = heap.mem();
        for (record, role) in [(0, Role::Sender), (1, Role::Receiver), (2, Role::Receiver)] {
            sit(&mem, record, role);
        }
        let base = [0, 3, 1 << 40, u64::MAX - 5][below(4) as usize];
        let (head, tail) = (base.wrapping_add(below(20)), base.wrapping_add(below(20)));
        mem.words.control.head.store(head, Relaxed);
        mem.words.control.tail.at.store(tail, Relaxed);
        for slot in 0..CAPACITY {
            let at = head.wrapping_add(below(3) * CAPACITY).wrapping_sub(CAPACITY);
            let at = (at & !(CAPACITY - 1)) + slot;
            let stamp = Stamp::free(at, CAPACITY).0 | [0, 1, 2, 3, 3, 3, 7, 13][below(8) as usize];
            mem.slots.stamp(at).store(stamp, Relaxed);
        }
        for record in 0..3 {
            let word = intent(head.wrapping_sub(below(12)), below(12) + 1);
            mem.words.records[record].intent.store(word, Relaxed);
        }
        let mut rx = heap.rx(2);
        let word = heap.intent(1);
        match settled(&heap, word, below(3) as u32) {
            Remains::Abandoned { run, .. } if below(2) > 0 => rx.cursor.adopt(&mem, run),
            Remains::Abandoned { run, .. } | Remains::Exhausted { run } => {
                assert!(run.slots <= 3 * CAPACITY && run.items <= run.slots);
                <Receiver as RecvClaims>::discard(&mem, run);
            }
            _ => {}
        }
        for _ in 0..4 {
            let claimed = match below(3) {
                0 => rx.cursor.claim_one(mem.kept()).ok_or(Refused::NotReady),
                1 => rx.cursor.claim_before(mem.kept(), 9, head.wrapping_add(below(9))),
                _ => rx.cursor.claim(mem.kept(), 1, below(9) + 1),
            };
            let Ok(run) = claimed else { continue };
            rx.cursor.hand_out(&mem, run);
            for at in rx.cursor.items(mem.kept(), run) {
                let extent = rx.cursor.extent(mem.kept(), run, at);
                let end = at.wrapping_sub(run.at) + extent;
                assert!(extent > 0 && extent <= CAPACITY && end <= run.slots);
            }
            rx.cursor.release(mem.kept(), run, below(run.items + 1));
        }
        rx.cursor.unpublished(&mem);
        let _ = heap.tx(0).claim(below(CAPACITY) + 1, CAPACITY);
        <Sender as SendClaims>::settle::<MpmcMessages>(&mem, heap.intent(0), &dead(&[0]));
        assert!(head.wrapping_sub(granules::begin_of(&mem, head)) < CAPACITY);
    }
}

/// A peer has made its stamps say that there is one long message, where two were adopted.
#[test]
fn an_adopted_message_is_no_longer_than_its_claim_whatever_stamps_say() {
    let heap = Heap::<u64, MpmcMessages>::new(8, 2);
    let stamps = [Stamp::skipped, Stamp::published, Stamp::continued, Stamp::continued];
    for (at, stamp) in (0..).zip(stamps) {
        heap.mem().slots.stamp(at).store(stamp(at, heap.capacity).0, Relaxed);
    }
    let claim = Run { at: 0, slots: 3, items: 2, again: 2 };
    let first = crate::ring::deliveries::Adopted::default().first(&heap.mem(), claim);
    assert_eq!(first, Some(Run { at: 0, slots: 3, items: 1, again: 1 }));
}
