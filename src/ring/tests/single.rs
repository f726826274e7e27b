//! Ends driven by turns in one thread: every outcome is known beforehand.

use super::*;
use crate::peers::roster::{self, Role};
use crate::ring::mpmc::{
    INTENT_MAX_COUNT, LOOKS, Receiver, SHORT_RUN, Sender, Stamp, after_losing, enough, intent,
    intent_slots, intent_stretch,
};
use crate::ring::recovery::{Alive, Intended, Remains, effort};
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
    cross::<[u8; 100], K>();
    cross::<[u32; 25], K>();
    cross::<Aligned16, K>();
    cross::<Aligned32, K>();
    cross::<Aligned64, K>();
}

fn a_full_ring_takes_nothing_and_an_empty_one_gives_nothing<K: Kind>() {
    let heap = Heap::<u64, K>::new(2, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(rx.recv(), Err(Blocked::NotReady));
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(tx.send(3), Err(Blocked::NotReady));
    assert_eq!(rx.recv(), Ok(1));
    tx.send(3).unwrap();
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!(rx.recv(), Ok(3));
    assert_eq!(rx.recv(), Err(Blocked::NotReady));
}

fn a_claim_of_several_is_all_or_nothing<K: Kind>() {
    let heap = Heap::<u64, K>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send_some(0, 2).unwrap();
    assert_eq!(tx.claim(3, 3), Err(Blocked::NotReady));
    assert_eq!(rx.claim(3, 3), Err(Blocked::NotReady));
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
        assert_eq!(rx.recv(), Err(Blocked::NotReady));
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
    assert_eq!(rx.recv(), Err(Blocked::NotReady));
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
    mem.words.control.tail.0.store(start, Relaxed);
    mem.words.control.head.0.store(start, Relaxed);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    for n in 0..8 {
        // Stamps disagree on an MPMC ring, as they should; an SPSC ring just goes on.
        match (tx.send(n), K::STAMPED) {
            (Ok(()), false) => assert_eq!(rx.recv(), Ok(n)),
            (Err(Blocked::Corrupt), true) => break,
            (sent, _) => panic!("item {n}: {sent:?}"),
        }
    }
    if !K::STAMPED {
        assert_eq!(mem.words.control.tail.0.load(Relaxed), 5);
    }
}

#[test]
fn spsc_positions_that_contradict_each_other_are_noticed() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let mem = heap.mem();
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    tx.send_some(0, 4).unwrap();
    let (head, tail) = (&mem.words.control.head.0, &mem.words.control.tail.0);

    head.store(5, Relaxed); // beyond the tail
    assert_eq!(tx.claim(1, 1), Err(Blocked::Corrupt));
    tail.store(9, Relaxed); // more than the ring can hold ahead of the consumer's own head
    assert_eq!(rx.claim(1, 1), Err(Blocked::Corrupt));
    tail.store(4, Relaxed);
    assert_eq!(spsc_attach_errors(&mem), (Blocked::Corrupt, Blocked::Corrupt));

    // Each end's own position is private: once the other's makes sense again, they go on.
    head.store(0, Relaxed);
    assert_eq!(tx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(rx.recv_some(4), Ok(vec![0, 1, 2, 3]));
    tx.send(4).unwrap();
    assert_eq!(rx.recv(), Ok(4));
}

fn spsc_attach_errors(mem: &Mem<u64, Spsc>) -> (Blocked, Blocked) {
    (
        <Spsc as Kind>::Send::attach(mem, 0).unwrap_err(),
        <Spsc as Kind>::Recv::attach(mem, 1).unwrap_err(),
    )
}

#[test]
fn spsc_what_was_handed_out_is_marked_for_whoever_receives_it_again() {
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

    let mut heir = heap.rx(1);
    let run = heir.claim(1, 8).unwrap();
    assert_eq!((run.items, run.again), (6, 3));
    assert_eq!(heir.claim(2, 2).unwrap().again, 2);
    heir.release(Run { items: 2, slots: 2, ..run }, 2);
    assert_eq!(heir.claim(1, 8).unwrap().again, 1);
    let run = heir.claim(2, 2).unwrap();
    heir.release(run, 2);
    assert_eq!(heir.claim(1, 8).unwrap().again, 0);
    // What its predecessor had handed out is released: nothing to say to a successor.
    assert_eq!(heap.rx(1).claim(1, 8).unwrap().again, 0);
    hand_out(&mut heir, 2);
    assert_eq!(heap.rx(1).claim(1, 8).unwrap().again, 2, "all that is there");
    // A number that cannot be.
    heap.mem().words.intents[1].0.store(7, Relaxed);
    assert_eq!(heap.rx(1).claim(1, 8).unwrap().again, 0);
}

#[test]
fn spsc_what_was_handed_out_is_dropped_if_the_ring_is_to_do_so() {
    let heap = Heap::<u64, Spsc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(tx.send_some(0, 5), Ok(5));
    let attach = || {
        let mem = Mem { drop_unreleased: true, ..heap.mem() };
        let cursor = <Spsc as Kind>::Recv::attach(&mem, 1).unwrap();
        let dropped = mem.words.control.tally.0.dropped.load(Relaxed);
        (Rx { mem, cursor }, dropped)
    };
    let (mut heir, dropped) = attach();
    assert_eq!((heir.claim(1, 8).unwrap().items, dropped), (5, 0), "nothing was handed out");
    let run = rx.claim(2, 2).unwrap();
    rx.cursor.hand_out(&rx.mem, run);
    let (mut heir, dropped) = attach();
    let run = heir.claim(1, 8).unwrap();
    assert_eq!((run.at, run.items, run.again, dropped), (2, 3, 0, 2));
    assert_eq!(heap.mem().words.control.head.0.load(Relaxed), 2, "senders may have its slots");
}

#[test]
fn spsc_the_last_slots_and_items_are_to_be_had() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    assert_eq!(tx.send_some(0, 2), Ok(2));
    assert_eq!(tx.claim(2, 4).unwrap().slots, 2);
    assert_eq!(rx.claim(2, 4).unwrap().items, 2);
    assert_eq!(rx.claim(3, 4), Err(Blocked::NotReady));
    assert!(!tx.cursor.forgotten() && !rx.cursor.unpublished(&rx.mem) && !rx.cursor.has_claim());
}

#[test]
fn mpmc_holes_are_passed_over_freed_and_counted() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let run = tx.claim(3, 3).unwrap();
    tx.fill(run, 0, 0); // three holes
    assert_eq!(tx.send_some(1, 9), Ok(1), "holes take room until passed");
    assert_eq!(tx.send(2), Err(Blocked::NotReady));
    assert_eq!(rx.recv(), Ok(1));
    let tally = &heap.mem().words.control.tally.0;
    assert_eq!(tally.skipped.load(Relaxed), 3);
    assert_eq!(tally.dropped.load(Relaxed), 0);
    assert_eq!(tx.send_some(0, 9), Ok(4));
}

#[test]
fn mpmc_what_a_run_gives_up_is_counted_beside_what_it_publishes() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let mut tx = heap.tx(0);
    let run = tx.claim(4, 4).unwrap();
    tx.fill(run, 0, 1);
    assert_eq!(heap.mem().words.control.tally.0.skipped.load(Relaxed), 3);
}

#[test]
fn mpmc_after_a_lost_race_for_many_slots_fewer_are_asked_for_and_enough() {
    assert_eq!(after_losing(7, 8, SHORT_RUN, 1, 1000), 1000);
    assert_eq!(after_losing(7, 8, SHORT_RUN + 2, 1, 1000), SHORT_RUN / 2 + 1);
    assert_eq!(after_losing(7, 8, 1000, 900, 1000), 900);
    assert_eq!(after_losing(7, 7, 1000, 1, 1000), 1000, "there was no race");
}

#[test]
fn mpmc_a_claim_looks_so_often_or_four_times_at_each_slot() {
    assert!(!enough(LOOKS, 1, 2) && enough(LOOKS + 1, 1, 2));
    assert!(!enough(4 * LOOKS, LOOKS, LOOKS) && enough(4 * LOOKS + 1, LOOKS, LOOKS));
    assert!(!enough(3 * LOOKS, 1, 3 * LOOKS) && enough(3 * LOOKS + 1, 1, 3 * LOOKS));
}

#[test]
fn mpmc_to_settle_an_intent_is_as_much_work_as_its_slots_and_the_other_intents() {
    let heap = Heap::<u64, Mpmc>::new(8, 5);
    let words = &heap.mem().words;
    assert_eq!(effort(words, intent(0, 3), 8), 3 + 5);
    assert_eq!(effort(words, intent(0, 1000), 8), 8 + 5);
    assert_eq!(effort(words, 0, 8), 5);
}

#[test]
fn mpmc_the_longest_run_fills_the_count_of_an_intent() {
    let word = intent(7, INTENT_MAX_COUNT);
    assert_eq!(intent_slots(word), INTENT_MAX_COUNT);
    assert_eq!(intent_slots(word) + 1, 1 << 24);
    assert_eq!(intent_stretch(word, 0).start, 7);
}

#[test]
fn mpmc_a_ring_of_nothing_but_holes_becomes_free_and_says_so() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let run = tx.claim(4, 4).unwrap();
    tx.fill(run, 0, 0);
    assert_eq!(tx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(rx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(rx.cursor.take_skipped(), 4, "senders must be told");
    assert_eq!(rx.cursor.take_skipped(), 0);
    assert_eq!(tx.send_some(0, 4), Ok(4));
}

#[test]
fn mpmc_a_run_finds_its_items_between_holes() {
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
    assert_eq!(rx.cursor.items(&rx.mem, run).nth(4), None);

    // Release two: the hole between them goes too, and so do the two before the first item kept.
    rx.release(run, 2);
    assert_eq!(rx.cursor.held(), 2);
    assert_eq!(rx.claim(3, 3), Err(Blocked::Held), "only two are held");
    let run = rx.claim(1, 8).unwrap();
    assert_eq!((run.at, run.slots, run.items), (5, 2, 2));
    assert_eq!(rx.values(run), [2, 3]);
    rx.release(run, 2);
    assert_eq!(rx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(tx.send_some(0, 8), Ok(8));
}

/// Everybody is alive but those in these seats.
struct Dead(&'static [usize]);

impl Alive for Dead {
    fn alive(&self, _: Role, seat: usize) -> bool {
        !self.0.contains(&seat)
    }
}

fn sit(heap: &Heap<u64, Mpmc>, seat: usize, role: Role) {
    roster::take(&heap.mem().words.seats[seat], role, 1, false).expect("a free seat");
}

#[test]
fn mpmc_what_a_dead_receiver_held_is_inherited_and_what_it_released_is_not() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let (mut tx, mut rx, mut heir) = (heap.tx(0), heap.rx(1), heap.rx(2));
    for (seat, role) in [(0, Role::Sender), (1, Role::Receiver), (2, Role::Receiver)] {
        sit(&heap, seat, role);
    }
    tx.send_some(0, 4).unwrap();
    let run = rx.claim(3, 3).unwrap();
    rx.release(run, 1);
    // While it lives, nobody touches what it holds.
    let alive =
        <Receiver as RecvCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(1), &Dead(&[]));
    assert!(matches!(alive, Remains::Unclear { .. }), "{alive:?}");
    let Remains::Orphans { run, more: false } =
        <Receiver as RecvCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(1), &Dead(&[1]))
    else {
        panic!("two orphans")
    };
    assert_eq!((run.at, run.slots, run.items, run.again), (1, 2, 2, 2));
    heir.cursor.inherit(&heir.mem, run);
    // From here on they are the heir's, to whoever asks.
    let left =
        <Receiver as RecvCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(1), &Dead(&[1]));
    assert!(matches!(left, Remains::Unclear { .. }), "{left:?}");
    assert_eq!(heir.recv(), Ok(1));
    assert_eq!(heir.recv(), Ok(2));
    let left =
        <Receiver as RecvCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(1), &Dead(&[1]));
    assert!(matches!(left, Remains::Nothing), "{left:?}");
    assert_eq!(heir.recv(), Ok(3));
    assert_eq!(tx.send_some(0, 4), Ok(4));
}

/// A live receiver that lost the race for some of the positions intends them still.
#[test]
fn mpmc_what_a_dead_receiver_held_is_found_in_stretches_around_what_may_be_anothers() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    for (seat, role) in [(0, Role::Sender), (1, Role::Receiver), (2, Role::Receiver)] {
        sit(&heap, seat, role);
    }
    tx.send_some(0, 5).unwrap();
    rx.claim(5, 5).unwrap();
    let settle = |another_intends: u64| {
        heap.mem().words.intents[2].0.store(another_intends, Relaxed);
        let found =
            <Receiver as RecvCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(1), &Dead(&[1]));
        match found {
            Remains::Orphans { run, more } => (run.at, run.slots, more),
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
fn mpmc_what_a_dead_sender_had_claimed_is_passed_over_and_what_it_published_is_not() {
    let heap = Heap::<u64, Mpmc>::new(8, 3);
    let (mut victim, mut tx, mut rx) = (heap.tx(0), heap.tx(1), heap.rx(2));
    for (seat, role) in [(0, Role::Sender), (1, Role::Sender), (2, Role::Receiver)] {
        sit(&heap, seat, role);
    }
    let run = victim.claim(3, 3).unwrap();
    // It published one of three and died.
    victim.mem.slots.write(run.at, &0);
    let published = Stamp::published(run.at, 8).0;
    victim.mem.slots.stamp(run.at).store(published, Relaxed);
    tx.send(1).unwrap();
    assert_eq!(rx.recv(), Ok(0));
    assert_eq!(rx.recv(), Err(Blocked::NotReady));
    let alive =
        <Sender as SendCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(0), &Dead(&[]));
    assert!(matches!(alive, Remains::Unclear { progress: false }), "{alive:?}");
    assert_eq!(rx.recv(), Err(Blocked::NotReady));
    let dead =
        <Sender as SendCursor>::settle::<u64, Mpmc>(&heap.mem(), heap.intent(0), &Dead(&[0]));
    assert!(matches!(dead, Remains::Nothing), "{dead:?}");
    assert_eq!(heap.mem().words.control.tally.0.skipped.load(Relaxed), 2);
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(tx.send_some(0, 8), Ok(8));
}

#[test]
fn mpmc_a_sender_in_the_midst_of_a_call_holds_up_receivers_in_order_and_nobody_else() {
    let heap = Heap::<u64, Mpmc>::new(4, 4);
    let (mut slow, mut fast) = (heap.tx(0), heap.tx(1));
    let mut rx = heap.rx(2);
    let run = slow.claim(1, 1).unwrap();
    fast.send(1).unwrap();
    assert_eq!(rx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(fast.send_some(2, 9), Ok(2), "other senders have room to go on");
    assert_eq!(fast.send(4), Err(Blocked::NotReady));
    slow.fill(run, 0, 1);
    assert_eq!(rx.recv_some(9), Ok(vec![0, 1, 2, 3]));
}

#[test]
fn mpmc_a_receiver_in_the_midst_of_a_call_holds_up_senders_a_lap_later() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let mut tx = heap.tx(0);
    let (mut slow, mut fast) = (heap.rx(1), heap.rx(2));
    tx.send_some(0, 2).unwrap();
    let run = slow.claim(1, 1).unwrap();
    assert_eq!(fast.recv(), Ok(1));
    // Slot 1 is free, but slot 0 comes first.
    assert_eq!(tx.send(2), Err(Blocked::NotReady));
    assert_eq!(fast.recv(), Err(Blocked::NotReady));
    slow.release(run, 1);
    assert_eq!(tx.send_some(2, 4), Ok(2));
    assert_eq!(fast.recv_some(2), Ok(vec![2, 3]));
}

#[test]
fn mpmc_an_intent_covers_the_claim_from_before_it_is_made_until_it_is_handed_over() {
    let heap = Heap::<u64, Mpmc>::new(8, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let words = heap.mem().words;
    let intent = |seat: usize| words.intents[seat].0.load(Relaxed);
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
    assert_eq!(rx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(tx.claim(8, 8).map(|run| run.at), Ok(3));
    assert_eq!(rx.claim(1, 1), Err(Blocked::NotReady));
    assert_eq!(intent(1), 0);
}

/// Against a look at each intent for each position, with intents that overlap, touch, contain each
/// other, are the same, or begin before the first position.
#[test]
fn mpmc_what_the_living_intend_is_found_in_one_pass() {
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
        let mut intended = Intended::new(words, first);
        for distance in 0..48 {
            let position = first.wrapping_add(distance);
            let covered =
                intents.iter().any(|&(at, slots)| position.wrapping_sub(at) % HORIZON < slots);
            assert_eq!(intended.covers(distance), covered, "{distance} from {first}: {intents:?}");
        }
    }
}

#[test]
fn mpmc_stamps_that_no_history_produces_are_noticed() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    let mem = heap.mem();
    let scribble = |stamp: u64| mem.slots.stamp(0).store(stamp, Relaxed);
    for far in [1 << 2, 7 << 2, u64::MAX, 1 << 63, 5 << 2 | 1] {
        scribble(far);
        assert_eq!(tx.send(1), Err(Blocked::Corrupt), "{far:x}");
        assert_eq!(rx.recv(), Err(Blocked::Corrupt), "{far:x}");
    }
    scribble(0);
    tx.send(1).unwrap();
    // Behind the first it is left to whoever comes there.
    mem.slots.stamp(2).store(7 << 2, Relaxed);
    assert_eq!(tx.claim(2, 2), Err(Blocked::NotReady));
    mem.slots.stamp(1).store(7 << 2, Relaxed);
    assert_eq!(rx.claim(2, 2), Err(Blocked::NotReady));
    assert_eq!(rx.recv(), Ok(1));
}

#[test]
fn mpmc_items_whose_stamps_were_scribbled_on_are_missing_and_nothing_worse() {
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
    assert!(rx.cursor.items(&rx.mem, run).next().is_some(), "the last one");
    assert_eq!(rx.cursor.items(&rx.mem, run).nth(1), None);
    rx.release(run, 1);
    assert_eq!(rx.cursor.held(), 0, "of the other six nothing is to be found");
    assert_eq!(tx.send_some(0, 8), Ok(8), "the release put all in order");
}
