//! MPMC messages driven by turns: extents, wraps, holes and limits; what the [dead](deaths) leave
//! of them, and what [liars](lies) make of them.

mod deaths;
mod lies;

use super::*;
use crate::ring::MpmcMessages;
use crate::ring::granules::look;
use crate::ring::mpmc::Receiver;
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
        ("PCCC", 4),
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
        assert!(Receiver::ready(&rx.mem), "{letters}");
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
