//! Who lets messages coalesce, and when. Without a handle: what attaches one in this process, where
//! tests run side by side, would register it for barriers, and `wait::tests::litmus` forks it.

use super::*;
use crate::peers::ends::Ends;
use crate::peers::reap::tests::{Told, sit, told};
use crate::peers::table::Role;
use crate::pipe::{RecvEnd, SendEnd};
use crate::ring::tests::{Heap, numbers};
use crate::ring::{Kind, Mpmc, RecvCursor, SendCursor, Spsc};
use crate::wait::pace::now;

#[test]
fn calls_let_messages_coalesce_but_not_twice_before_the_same() {
    let heap = Heap::<u64, Spsc>::new(64, 2);
    let both = told(&[(Role::Sender, 0), (Role::Receiver, 1)]);
    let before = Ends::before(&heap.mem().words, Role::Sender, || false);
    let producer = sit(&heap.mem(), 0, Role::Sender).name(0);
    let consumer = sit(&heap.mem(), 1, Role::Receiver).name(1);
    let cursor = <Spsc as Kind>::Send::attach(&heap.mem(), 0).expect("whole");
    let mut tx = SendEnd::<Spsc>::new(heap.mem(), producer, cursor, before, &both);
    let cursor = <Spsc as Kind>::Recv::attach(&heap.mem(), 1).expect("whole");
    let mut rx = RecvEnd::<Spsc>::new(heap.mem(), consumer, cursor, before, &both);
    let image = Image::current().expect("a page");
    let mut waiting = Waiting::new();
    fn claimer<'a>(
        end: &'a mut RecvEnd<Spsc>,
        waiting: &'a mut Waiting,
        image: &'a Image,
        liveness: &'a Told,
    ) -> Claimer<'a, RecvEnd<Spsc>, Told> {
        Claimer { end, waiting, image, liveness }
    }
    let mut send = |items| {
        let run = tx.claim_slow(items, items, &both).expect("room");
        tx.publish(numbers(), run, items);
    };
    let soon = || std::time::Duration::from_micros(10);
    let coalesce =
        |rx: &RecvEnd<Spsc>| (rx.cursor().coalesce().told(), rx.cursor().coalesce().began());

    send(3);
    let then = now();
    let run = claimer(&mut rx, &mut waiting, &image, &both)
        .fast_coalesced(numbers(), 1, 1)
        .expect("an item");
    rx.release(numbers(), run, 1);
    let before = coalesce(&rx);
    assert!((then..=now()).contains(&before.1), "by the clock of waits");
    for _ in 0..2 {
        let run = claimer(&mut rx, &mut waiting, &image, &both)
            .fast_coalesced(numbers(), 1, 1)
            .expect("an item");
        rx.release(numbers(), run, 1);
    }
    assert_eq!(coalesce(&rx), before, "it had seen all three");

    let ((left, _), began) = before;
    for (more, items) in [(1, 1), (2, 4)] {
        send(1);
        let run = claimer(&mut rx, &mut waiting, &image, &both).claim(numbers(), 1, items, soon());
        rx.release(numbers(), run.expect("an item"), 1);
        assert_eq!(coalesce(&rx), ((left - more, true), began));
    }
    send(1);
    let run =
        claimer(&mut rx, &mut waiting, &image, &both).try_claim(numbers(), 1, 1).expect("an item");
    rx.release(numbers(), run, 1);
    assert_eq!(coalesce(&rx), ((left - 3, true), began), "a try that finds one");
    // What is not there at once begins anew, and is not told of twice.
    for _ in 0..2 {
        assert!(claimer(&mut rx, &mut waiting, &image, &both).try_claim(numbers(), 1, 1).is_err());
        assert_eq!(coalesce(&rx), ((left - 4, false), began), "a try in vain");
    }
    assert!(claimer(&mut rx, &mut waiting, &image, &both).claim(numbers(), 1, 1, soon()).is_err());
    for more in [4, 5] {
        send(1);
        let run = claimer(&mut rx, &mut waiting, &image, &both).try_claim(numbers(), 1, 1);
        rx.release(numbers(), run.expect("an item"), 1);
        assert_eq!(coalesce(&rx), ((left - more, more == 5), began));
    }
}

#[test]
fn a_try_at_a_ring_that_was_full_at_the_one_before_makes_pauses_as_long_rings_allow() {
    fn check<K: Kind>(capacity: u64, pauses: u32) {
        let heap = Heap::<u64, K>::new(capacity, 2);
        let both = told(&[(Role::Sender, 0), (Role::Receiver, 1)]);
        let before = Ends::before(&heap.mem().words, Role::Sender, || false);
        let me = sit(&heap.mem(), 0, Role::Sender).name(0);
        let cursor = K::Send::attach(&heap.mem(), 0).expect("whole");
        let mut tx = SendEnd::<K>::new(heap.mem(), me, cursor, before, &both);
        let image = Image::current().expect("a page");
        let mut waiting = Waiting::new();
        let mut slow = |tx: &mut SendEnd<K>| {
            let (waiting, image) = (&mut waiting, &image);
            Claimer { end: tx, waiting, image, liveness: &both }.slow(1, 1)
        };
        while let Ok(run) = slow(&mut tx) {
            assert_eq!(tx.pauses_before_try(), 0, "there was room");
            tx.publish(numbers(), run, 1);
        }
        assert_eq!(tx.pauses_before_try(), pauses);
        assert_eq!(tx.pauses_before_try(), 0, "once");
        assert_eq!(slow(&mut tx), Err(Refused::NotReady));
        assert_eq!(slow(&mut tx), Err(Refused::NotReady), "it has made them");
        assert_eq!(tx.pauses_before_try(), pauses, "and this one was in vain, too");
    }
    for (capacity, pauses) in [(8, 0), (16, 1), (256, 16), (4096, 64)] {
        check::<Spsc>(capacity, pauses);
        check::<Mpmc>(capacity, pauses);
    }
}

#[test]
fn who_waits_polls_before_a_wait_begins_if_it_may_spin_and_not_at_a_full_ring() {
    use crate::wait::pace::WaitPolicy;
    fn check<K: Kind>() {
        let heap = Heap::<u64, K>::new(16, 2);
        let both = told(&[(Role::Sender, 0), (Role::Receiver, 1)]);
        let before = Ends::before(&heap.mem().words, Role::Sender, || false);
        let producer = sit(&heap.mem(), 0, Role::Sender).name(0);
        let consumer = sit(&heap.mem(), 1, Role::Receiver).name(1);
        let cursor = K::Send::attach(&heap.mem(), 0).expect("whole");
        let mut tx = SendEnd::<K>::new(heap.mem(), producer, cursor, before, &both);
        let cursor = K::Recv::attach(&heap.mem(), 1).expect("whole");
        let mut rx = RecvEnd::<K>::new(heap.mem(), consumer, cursor, before, &both);
        let image = Image::current().expect("a page");
        for (policy, spins) in [(WaitPolicy::Spin, true), (WaitPolicy::Park, false)] {
            let mut waiting = Waiting::new();
            waiting.policy = policy;
            let (image, liveness) = (&image, &both);
            let mut receiving = Claimer { end: &mut rx, waiting: &mut waiting, image, liveness };
            assert_eq!(receiving.soon(numbers(), 1, 1), None, "there is nothing");
            let run = tx.claim_slow(1, 1, &both).expect("room");
            tx.publish(numbers(), run, 1);
            let mut receiving = Claimer { end: &mut rx, waiting: &mut waiting, image, liveness };
            let found = receiving.soon(numbers(), 1, 1);
            assert_eq!(found.is_some(), spins, "{policy:?}");
            let run = found.unwrap_or_else(|| rx.claim_slow(1, 1, &both).expect("an item"));
            rx.release(numbers(), run, 1);
            let mut sending = Claimer { end: &mut tx, waiting: &mut waiting, image, liveness };
            assert_eq!(sending.soon(numbers(), 1, 1), None, "room is not polled for");
        }
        // What a poll would not find.
        let run = tx.claim_slow(2, 2, &both).expect("room");
        tx.publish(numbers(), run, 2);
        let run = rx.claim_slow(2, 2, &both).expect("two items");
        rx.hand_out(run);
        assert!(!rx.may_poll(), "it comes again");
        rx.release(numbers(), run, 2);
        assert!(rx.may_poll());
        let mut waiting = Waiting::new();
        let (budget, liveness) = (waiting.budget(), &both);
        let run = tx.claim_slow(1, 1, &both).expect("room");
        tx.publish(numbers(), run, 1);
        let mut receiving =
            Claimer { end: &mut rx, waiting: &mut waiting, image: &image, liveness };
        if receiving.soon(numbers(), 1, 1).is_some() {
            assert!(waiting.budget() > budget, "it was worth it");
        }
    }
    check::<Spsc>();
    check::<Mpmc>();
}
