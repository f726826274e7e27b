//! Manners that need no second thread: what an end says and whom it asks, with a liveness that says
//! what he is told to. Those of sleepers are tested in `wait::tests`.

use std::cell::RefCell;

use super::*;
use crate::peers::reap::Life;
use crate::peers::reap::tests::{Told, dead_receiver, filled, sit, told};
use crate::peers::recovery_word::Scratch;
use crate::peers::table;
use crate::ring::mem::Kept;
use crate::ring::tests::{Heap, Sample, numbers};
use crate::ring::{Mpmc, MpmcMessages, RecvCursor, SendCursor};
use crate::sync::Ordering::Relaxed;
use crate::wait::Turn;
use crate::wait::word::Ticket;

impl<K: Kind> RecvEnd<K> {
    /// For tests of those who claim through it.
    pub(crate) fn cursor(&self) -> &K::Recv {
        &self.cursor
    }
}

/// Sits down and attaches; everybody whom `liveness` says to live is alive.
fn sender<T: Sample, K: Kind>(heap: &Heap<T, K>, record: usize, liveness: &Told) -> SendEnd<K> {
    let before = Ends::before(&heap.mem().words, Role::Sender, || false);
    let me = sit(&heap.mem(), record, Role::Sender).name(record);
    let cursor = K::Send::attach(&heap.mem(), record).expect("it always can");
    SendEnd::new(heap.mem(), me, cursor, before, liveness)
}

fn receiver<T: Sample, K: Kind>(heap: &Heap<T, K>, record: usize, liveness: &Told) -> RecvEnd<K> {
    let before = Ends::before(&heap.mem().words, Role::Receiver, || false);
    let me = sit(&heap.mem(), record, Role::Receiver).name(record);
    let cursor = K::Recv::attach(&heap.mem(), record).expect("it always can");
    RecvEnd::new(heap.mem(), me, cursor, before, liveness)
}

const BOTH: [(Role, usize); 2] = [(Role::Sender, 0), (Role::Receiver, 1)];

#[test]
fn more_than_a_long_run_is_looked_through_a_few_times_between_two_looks_at_the_clock() {
    assert_eq!(polls(1), u32::MAX);
    assert_eq!(polls(LONG_RUN), u32::MAX);
    assert!((1..=8).contains(&polls(LONG_RUN + 1)));
}

#[test]
fn a_doubt_closes_an_end_if_nobody_opposite_lives_and_not_otherwise() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let all = told(&BOTH);
    let mut tx = sender(&heap, 0, &told(&[]));
    let mut rx = receiver(&heap, 1, &all);
    let run = tx.claim_slow(1, 1, &all).expect("room");
    tx.publish(numbers(), run, 1);
    assert!(tx.check_liveness(&all).opposite_alive && rx.check_liveness(&all).opposite_alive);
    assert_eq!(tx.claim_slow(2, 2, &all), Err(Refused::NotReady));
    assert_eq!(rx.claim_slow(2, 2, &all), Err(Refused::NotReady));
    // Without an intent, and by that not worth a question, as long as somebody opposite lives.
    let alone = told(&BOTH[..1]);
    assert!(!tx.check_liveness(&alone).opposite_alive);
    assert_eq!(tx.claim_slow(1, 1, &alone), Err(Refused::Closed));
}

#[test]
fn a_poll_finds_a_message_of_any_length_also_behind_a_hole() {
    let heap = Heap::<[u64; 2], MpmcMessages>::new(8, 2);
    let all = told(&BOTH);
    let (mut tx, mut rx) = (sender(&heap, 0, &all), receiver(&heap, 1, &all));
    for (slots, used) in [(1, 1), (3, 3), (8, 8), (4, 0), (2, 2), (5, 2)] {
        let run = tx.claim_slow(slots, slots, &all).expect("room");
        tx.publish(heap.shape(), run, used);
        let found = rx.claim_fast(heap.shape(), 1, 1);
        assert_eq!(found.map(|run| (run.slots, run.items)), (used > 0).then_some((used, 1)));
        if let Some(run) = found {
            // One that is held is for a thorough look: it says what is due of it.
            assert_eq!(rx.claim_fast(heap.shape(), 1, 1), None);
            rx.release(heap.shape(), run, 1);
        }
        assert_eq!(rx.claim_fast(heap.shape(), 1, 1), None);
    }
}

#[test]
fn it_is_not_the_end_of_the_file_while_something_claimed_is_not_handed_over() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let all = told(&BOTH);
    let mut rx = receiver(&heap, 1, &told(&[]));
    let owner = sit(&heap.mem(), 0, Role::Sender);
    let mut tx = <Mpmc as Kind>::Send::attach(&heap.mem(), 0).expect("it always can");
    let run = tx.claim(heap.mem().kept(), 1, 1).expect("room");
    table::leave(&heap.mem().words, 0, owner);
    assert_eq!(rx.claim_slow(1, 1, &all), Err(Refused::NotReady));
    tx.publish(heap.mem().kept(), run, 0);
    assert_eq!(rx.claim_slow(1, 1, &all), Err(Refused::Closed));
}

#[test]
fn an_abandoned_claim_that_is_left_over_is_asked_for_without_doubt_and_none_is_not() {
    let heap = Heap::<u64, Mpmc>::new(8, 4);
    filled(&heap, 4, 4);
    let mut rx = receiver(&heap, 1, &told(&[]));
    assert_eq!(rx.claim_slow(5, 5, &told(&[])), Err(Refused::NotReady)); // looks at the endpoint table
    assert!(!rx.take_more_to_adopt());
    // Two have died, each with an item.
    dead_receiver(&heap, 2, 1);
    dead_receiver(&heap, 3, 1);
    let liveness = told(&[(Role::Receiver, 1)]);
    assert!(rx.check_liveness(&liveness).pending && rx.held() == 1);
    assert!(rx.take_more_to_adopt());
    assert!(!rx.take_more_to_adopt(), "it has been told");
    let run = rx.claim_slow(1, 4, &liveness).expect("the first abandoned claim");
    assert_eq!((run.at, run.items), (0, 1));
    rx.release(numbers(), run, 1);
    assert!(!rx.check_liveness(&liveness).pending && rx.held() == 1);
    assert!(!rx.more_to_adopt, "there is none");
}

/// Of whom a question takes its time: somebody sends meanwhile.
struct Sends<'a> {
    told: &'a Told,
    tx: RefCell<SendEnd<Mpmc>>,
}

impl Liveness for Sends<'_> {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.told.alive(role, record)
    }
    fn any_alive(&self, role: Role) -> Life {
        let mut tx = self.tx.borrow_mut();
        if let Ok(run) = tx.claim_slow(1, 1, self.told) {
            tx.publish(numbers(), run, 1);
        }
        self.told.any_alive(role)
    }
    fn visitor_alive(&self) -> Life {
        self.told.visitor_alive()
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        self.told.with_scratch(work)
    }
}

#[test]
fn clear_discards_nothing_that_is_sent_after_it_has_begun() {
    let heap = Heap::<u64, Mpmc>::new(8, 2);
    let all = told(&BOTH);
    let (mut tx, mut rx) = (sender(&heap, 0, &told(&[])), receiver(&heap, 1, &all));
    let run = tx.claim_slow(3, 3, &all).expect("room");
    tx.publish(numbers(), run, 3);
    let sends = Sends { told: &all, tx: RefCell::new(tx) };
    assert_eq!(rx.clear(&sends), Ok(3));
    assert!(!rx.has_claim(), "what came meanwhile is anybody's");
    let next = rx.claim_slow(1, 8, &all).expect("what came meanwhile");
    assert_eq!((next.at, next.items > 0), (3, true));
}

#[test]
fn clear_releases_no_more_than_was_claimed_whatever_a_peer_makes_of_holes() {
    let heap = Heap::<u64, Mpmc>::new(8, 2);
    let all = told(&BOTH);
    let (mut tx, mut rx) = (sender(&heap, 0, &told(&[])), receiver(&heap, 1, &all));
    let run = tx.claim_slow(4, 4, &all).expect("room");
    tx.publish(numbers(), run, 2);
    let held = rx.claim_slow(1, 8, &all).expect("two items, and two holes");
    assert_eq!((held.items, held.slots), (2, 4));
    let mem = heap.mem();
    let published = mem.slots.stamp(0).load(Relaxed);
    mem.slots.stamp(2).store(published, Relaxed);
    assert_eq!(rx.clear(&all), Ok(2));
    assert!(!rx.has_claim());
}

/// Looks once, with a liveness check due or not, and gives up.
struct Once {
    check_due: bool,
}

impl Pace for Once {
    fn turn(&mut self) -> Turn {
        Turn::Look { check_due: self.check_due }
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        Some(Stop::Timeout)
    }
    fn sleep(&mut self, _: WakeWord<'_>, _: Ticket) -> bool {
        unreachable!("it does not sleep")
    }
}

#[test]
fn an_end_that_waits_for_a_peer_reaps_the_dead_at_a_check_and_takes_none_of_them_for_one() {
    let heap = Heap::<u64, Mpmc>::new(2, 3);
    let mut tx = sender(&heap, 0, &told(&[]));
    sit(&heap.mem(), 1, Role::Receiver);
    let dead = || table::owner(&heap.mem().words.owners[1]).is_some();
    let nobody = told(&BOTH[..1]);
    let waited = Err(Stop::Timeout);
    assert_eq!(tx.wait_for_peer(&mut Once { check_due: false }, &nobody), waited);
    assert!(dead(), "no check was due");
    assert_eq!(tx.wait_for_peer(&mut Once { check_due: true }, &nobody), waited);
    assert!(!dead());
    sit(&heap.mem(), 1, Role::Receiver);
    assert_eq!(tx.wait_for_peer(&mut Once { check_due: false }, &told(&BOTH)), Ok(()));
}

/// Sleeps once, in no time.
#[derive(Default)]
struct Nap {
    over: bool,
}

impl Pace for Nap {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        self.over.then_some(Stop::Timeout)
    }
    fn sleep(&mut self, _: WakeWord<'_>, _: Ticket) -> bool {
        self.over = true;
        false
    }
}

#[test]
fn who_waits_for_more_than_one_item_says_that_not_every_wake_serves_it() {
    for (need, announced) in [(1, 0b01), (2, 0b11)] {
        let heap = Heap::<u64, Mpmc>::new(2, 2);
        let all = told(&BOTH);
        let mut rx = receiver(&heap, 1, &told(&[]));
        let waited = Err(Refused::Stopped(Stop::Timeout));
        let word = || heap.mem().words.control.data.load(Relaxed);
        let before = word();
        assert_eq!(rx.claim_waiting(numbers(), need, 2, &mut Nap::default(), &all), waited);
        assert_eq!(word(), before | announced);
    }
}

/// Each time that it is asked whether the receiver on record 2 lives, a sender comes and goes; the
/// fourth time that receiver is dead.
struct Busy<'a> {
    heap: &'a Heap<u64, Mpmc>,
    asked: std::cell::Cell<u32>,
}

impl Liveness for Busy<'_> {
    fn alive(&self, role: Role, record: usize) -> Life {
        if (role, record) != (Role::Receiver, 2) {
            return ((role, record) == (Role::Receiver, 1)).into();
        }
        self.asked.set(self.asked.get() + 1);
        if self.asked.get() > 3 {
            return Life::Dead;
        }
        visit(self.heap, 3);
        Life::Alive
    }
    fn any_alive(&self, _: Role) -> Life {
        Life::Dead
    }
    fn visitor_alive(&self) -> Life {
        Life::Dead
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        Some(work(&mut Scratch::for_records(4)))
    }
}

/// A sender comes, and closes.
fn visit(heap: &Heap<u64, Mpmc>, record: usize) {
    let owner = sit(&heap.mem(), record, Role::Sender);
    table::closed(&heap.mem().words, Role::Sender);
    table::leave(&heap.mem().words, record, owner);
}

#[test]
fn what_a_receiver_adopts_at_the_last_moment_before_the_end_it_receives() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let mut rx = receiver(&heap, 1, &told(&[]));
    visit(&heap, 0);
    filled(&heap, 1, 1);
    dead_receiver(&heap, 2, 1);
    let busy = Busy { heap: &heap, asked: Default::default() };
    let run = rx.claim_slow(1, 1, &busy);
    assert!(run.is_ok_and(|run| run.again == 1), "{run:?}");
    assert!(busy.asked.get() > 3, "it died in the last round");
}

/// Is woken in vain each time that it sleeps; rests until something happens, and then gives up.
struct Rests<F> {
    happens: Option<F>,
    rests: u32,
    over: bool,
}

impl<F: FnOnce()> Pace for Rests<F> {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        self.over.then_some(Stop::Timeout)
    }
    fn sleep(&mut self, word: WakeWord<'_>, _: Ticket) -> bool {
        word.notify();
        match self.rests {
            0..3 => {}
            3 => self.happens.take().expect("once")(),
            _ => self.over = true,
        }
        self.rests += 1; // unless it does not
        false
    }
    fn rest(&mut self, _: WakeWord<'_>, _: u32, _: u32) {
        assert_ne!(self.rests, 4, "it rests though something has happened");
    }
}

#[test]
fn a_row_of_wakes_in_vain_ends_when_there_is_something_or_the_endpoint_table_has_changed() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let all = told(&BOTH);
    let mut rx = receiver(&heap, 1, &all);
    let mut tx = sender(&heap, 0, &told(&[]));
    let waited = Err(Refused::Stopped(Stop::Timeout));
    // The endpoint table.
    let mut pace = Rests { happens: Some(|| visit(&heap, 3)), rests: 0, over: false };
    assert_eq!(rx.claim_waiting(numbers(), 1, 1, &mut pace, &all), waited);
    let mut pace = Rests { happens: Some(|| visit(&heap, 3)), rests: 0, over: false };
    // A sender that waits for a receiver, too.
    let nobody = told(&BOTH[..1]);
    assert_eq!(tx.wait_for_peer(&mut pace, &nobody), Err(Stop::Timeout));
    // An item.
    let mut pace = Rests {
        happens: Some(|| {
            let run = tx.claim_slow(1, 1, &all).expect("room");
            tx.publish(numbers(), run, 1);
        }),
        rests: 0,
        over: false,
    };
    assert!(rx.claim_waiting(numbers(), 1, 1, &mut pace, &all).is_ok_and(|run| run.items == 1));
}

/// Somebody sleeps, or as good, while there is something for two: who takes one of it wakes that
/// one for the other, and only then; whichever of the ways a call takes.
#[test]
fn who_takes_one_of_several_passes_the_wake_on() {
    for left in [1, 0] {
        for one in [true, false] {
            let heap = Heap::<u64, Mpmc>::new(2, 3);
            let all = told(&BOTH);
            let (mut tx, mut rx) = (sender(&heap, 0, &told(&[])), receiver(&heap, 1, &all));
            let (senders, receivers) = (tx.word().is_flagged(), rx.word().is_flagged());
            assert!(!senders && !receivers);
            // A sender, of two slots or of one.
            if left == 0 {
                filled(&heap, 1, 1);
            }
            tx.word().announce(false, None);
            let run = tx.claim_slow(1, 1, &all).expect("room");
            match one {
                true => tx.publish_one(numbers(), run, false),
                false => tx.publish(numbers(), run, 1),
            }
            assert_eq!(tx.word().is_flagged(), left == 0, "senders, one call: {one}");
            // A receiver, of two items or of one.
            if left == 1 {
                let run = tx.claim_slow(1, 1, &all).expect("room");
                tx.publish(numbers(), run, 1);
            } else {
                let run = rx.claim_slow(1, 1, &all).expect("an item");
                rx.release(numbers(), run, 1);
            }
            rx.word().announce(false, None);
            let run = rx.claim_slow(1, 1, &all).expect("an item");
            match one {
                true => rx.release_one(numbers(), run),
                false => rx.release(numbers(), run, 1),
            }
            assert_eq!(rx.word().is_flagged(), left == 0, "receivers, one call: {one}");
        }
    }
}

/// A ring of four granules, one sender of long messages, one of short ones, and a receiver.
struct Traffic {
    heap: Heap<u64, MpmcMessages>,
    all: Told,
    long: SendEnd<MpmcMessages>,
    short: SendEnd<MpmcMessages>,
    rx: RecvEnd<MpmcMessages>,
}

impl Traffic {
    fn new() -> Self {
        let heap = Heap::<u64, MpmcMessages>::new(4, 4);
        let all = told(&[(Role::Sender, 0), (Role::Receiver, 1), (Role::Sender, 2)]);
        let rx = receiver(&heap, 1, &told(&[]));
        let (long, short) = (sender(&heap, 0, &all), sender(&heap, 2, &all));
        let mut traffic = Self { heap, all, long, short, rx };
        (0..4).for_each(|_| assert!(traffic.short_goes()));
        traffic
    }

    /// The short one sends, if it may and can.
    fn short_goes(&mut self) -> bool {
        let kept = Kept::shape();
        let at_once = self.short.claim_fast(kept, 1, 1);
        let claimed = at_once.or_else(|| self.short.claim_slow(1, 1, &self.all).ok());
        let Some(run) = claimed else { return false };
        self.short.publish(kept, run, 1);
        true
    }

    fn receive(&mut self) {
        let run = self.rx.claim_slow(1, 1, &self.all).expect("a message");
        self.rx.release(Kept::shape(), run, 1);
    }

    /// The long one looks for two granules, in the midst of a wait.
    fn long_looks(&mut self) -> Result<Run, Refused> {
        self.long.look(2, 2, false, &self.all)
    }

    /// So much passes by the long one.
    fn passes_by(&mut self, messages: u32) {
        for _ in 0..messages {
            self.receive();
            assert!(self.short_goes());
            assert_eq!(self.long_looks(), Err(Refused::NotReady));
        }
    }

    fn turn(&self) -> u64 {
        self.heap.mem().words.control.turns.senders.turn.load(Relaxed)
    }

    fn epoch(&self) -> u32 {
        self.heap.mem().words.control.space.load(Relaxed)
    }
}

#[test]
fn a_long_message_that_a_lap_has_passed_by_has_precedence_until_it_is_had() {
    let mut traffic = Traffic::new();
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(3);
    assert_eq!(traffic.turn(), 0);
    traffic.passes_by(1);
    assert_ne!(traffic.turn(), 0, "it has starved");
    traffic.receive();
    assert!(!traffic.short_goes());
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.receive();
    assert!(!traffic.short_goes());
    let before = traffic.epoch();
    let run = traffic.long_looks().expect("what nobody else has taken");
    traffic.long.waited();
    assert_eq!(traffic.turn(), 0);
    assert_ne!(traffic.epoch(), before, "those who stood back look again");
    traffic.long.publish(Kept::shape(), run, 2);
    traffic.receive();
    assert!(traffic.short_goes());
}

#[test]
fn a_wait_that_ends_in_vain_gives_the_turn_back_and_one_for_a_single_slot_takes_none() {
    let mut traffic = Traffic::new();
    let waited = Err(Refused::Stopped(Stop::Timeout));
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(4);
    assert_ne!(traffic.turn(), 0);
    let pace = &mut Once { check_due: false };
    let (long, all) = (&mut traffic.long, &traffic.all);
    assert_eq!(long.claim_waiting(Kept::shape(), 2, 2, pace, all), waited);
    assert_eq!(traffic.turn(), 0);
    // It begins to wait anew, and what passed by before does not count.
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(3);
    assert_eq!(traffic.turn(), 0);
    for _ in 0..8 {
        assert_eq!(traffic.long.look(1, 1, false, &traffic.all), Err(Refused::NotReady));
        traffic.receive();
        assert!(traffic.short_goes());
    }
    assert_eq!(traffic.turn(), 0);
}

#[test]
fn a_turn_that_was_there_at_two_checks_is_ignored_and_taken_over_and_a_later_one_is_not() {
    let mut traffic = Traffic::new();
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(4);
    let first = traffic.turn();
    traffic.receive();
    traffic.short.check_liveness(&traffic.all);
    assert!(!traffic.short_goes());
    traffic.short.check_liveness(&traffic.all);
    assert!(traffic.short_goes(), "its owner is stopped, perhaps");
    // Another that starves takes over what it ignores.
    for _ in 0..2 {
        assert_eq!(traffic.short.look(3, 3, true, &traffic.all), Err(Refused::NotReady));
    }
    for _ in 0..4 {
        traffic.receive();
        let kept = Kept::shape();
        let run = traffic.long.claim_fast(kept, 1, 1).expect("its own turn");
        traffic.long.publish(kept, run, 1);
        assert_eq!(traffic.short.look(3, 3, false, &traffic.all), Err(Refused::NotReady));
    }
    let second = traffic.turn();
    assert!(second != first && second != 0);
    traffic.long.waited();
    assert_eq!(traffic.turn(), second, "it was no longer its own");
    traffic.short.waited();
    // The first one's next turn is another.
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(4);
    assert!(traffic.turn() != first && traffic.turn() != 0);
    traffic.receive();
    assert!(!traffic.short_goes());
}

#[test]
fn a_dead_senders_turn_is_nobodys_at_the_next_check() {
    let mut traffic = Traffic::new();
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(4);
    traffic.receive();
    assert!(!traffic.short_goes());
    traffic.all = told(&[(Role::Receiver, 1), (Role::Sender, 2)]);
    traffic.short.check_liveness(&traffic.all);
    assert_eq!(traffic.turn(), 0);
    assert!(traffic.short_goes());
    // Nor does one stand back for an end that there cannot be.
    traffic.heap.mem().words.control.turns.senders.turn.store(u64::MAX, Relaxed);
    traffic.receive();
    assert!(!traffic.short_goes());
    traffic.short.check_liveness(&traffic.all);
    assert!(traffic.short_goes());
}

/// The long one has starved, and has the turn, which the short one ignores as nothing moved for two
/// checks.
fn ignored() -> (Traffic, u64) {
    let mut traffic = Traffic::new();
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(4);
    let turn = traffic.turn();
    traffic.receive();
    assert!(!traffic.short_goes());
    traffic.short.check_liveness(&traffic.all);
    traffic.short.check_liveness(&traffic.all);
    assert!(traffic.short_goes(), "its owner is stopped, perhaps");
    (traffic, turn)
}

#[test]
fn who_has_the_turn_and_is_passed_by_for_another_lap_takes_a_new_one() {
    let (mut traffic, first) = ignored();
    traffic.passes_by(3);
    assert!(traffic.turn() != first && traffic.turn() != 0);
    traffic.receive();
    assert!(!traffic.short_goes(), "the receivers were slow for a while, and that is over");
    traffic.receive();
    traffic.long_looks().expect("what nobody else has taken");
    traffic.long.waited();
    assert_eq!(traffic.turn(), 0);
}

#[test]
fn who_has_lost_the_turn_to_another_takes_it_again() {
    let (mut traffic, _) = ignored();
    traffic.heap.mem().words.control.turns.senders.turn.store(7 << 16 | 3, Relaxed);
    traffic.short.check_liveness(&traffic.all);
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    // That one has had its room.
    traffic.heap.mem().words.control.turns.senders.turn.store(0, Relaxed);
    traffic.passes_by(3);
    assert_ne!(traffic.turn(), 0);
    traffic.receive();
    assert!(!traffic.short_goes());
}

#[test]
fn a_turn_of_the_next_end_in_the_same_record_is_another() {
    let (mut traffic, first) = ignored();
    traffic.long.waited();
    assert_eq!(traffic.turn(), 0);
    traffic.long = sender(&traffic.heap, 0, &traffic.all);
    assert_eq!(traffic.long_looks(), Err(Refused::NotReady));
    traffic.passes_by(4);
    assert!(traffic.turn() != first && traffic.turn() != 0);
    traffic.receive();
    assert!(!traffic.short_goes(), "it has ignored another's");
}
