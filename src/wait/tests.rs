//! The wake protocol and the pipe's manners with real sleeps, on heap memory, under Miri too.
//!
//! The crate never sleeps longer than an interval, which would hide a lost wake here. So these ends
//! sleep at a [`Slumber`]: without intervals, and a sleep that nobody ended fails the test. Under
//! Miri the clock is virtual and jumps there as soon as everybody sleeps.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::changes::{Change, wake_after};
use super::pace::{Deadline, WaitPolicy, Waiting, now};
use super::word::{Ticket, WakeWord};
use super::{Look, Pace, Stop, Turn, Waiter, block};
use crate::peers::ends::Ends;
use crate::peers::reap::{Life, Liveness};
use crate::peers::recovery_word::Scratch;
use crate::peers::table::{self, Owner, Role};
use crate::pipe::{End, RecvEnd, SendEnd};
use crate::ring::tests::{Heap, numbers};
use crate::ring::{Kind, Mpmc, RecvCursor, Refused, SendCursor, Spsc};

#[cfg(not(miri))]
mod litmus;
mod pace;
mod rest;
mod steps;
mod watch;

/// Sleeps at once and until woken.
#[derive(Default)]
struct Slumber {
    sleeps: u32,
}

impl Pace for Slumber {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        None
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        self.sleeps += 1;
        let too_long = now() + Duration::from_secs(60).as_nanos() as u64;
        word.sleep(ticket, too_long);
        assert!(now() < too_long, "a wake was lost");
        false
    }
}

/// Nobody dies here.
struct Healthy;

impl Liveness for Healthy {
    fn alive(&self, _: Role, _: usize) -> Life {
        Life::Alive
    }
    fn any_alive(&self, _: Role) -> Life {
        Life::Alive
    }
    fn visitor_alive(&self) -> Life {
        Life::Alive
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        Some(work(&mut Scratch::for_records(8)))
    }
}

/// A sending end with its record.
struct Sender<K: Kind> {
    end: SendEnd<K>,
    record: usize,
    owner: Owner,
}

/// A receiving end with its record.
struct Receiver<K: Kind> {
    end: RecvEnd<K>,
    record: usize,
    owner: Owner,
}

fn sit<K: Kind>(heap: &Heap<u64, K>, record: usize, role: Role) -> Owner {
    let words = heap.mem().words;
    let owner = table::take(&words.owners[record], role, 1, false).expect("a free record");
    table::arrived(&words, role);
    owner
}

impl<K: Kind> Sender<K> {
    fn attach(heap: &Heap<u64, K>, record: usize) -> Self {
        let before = Ends::before(&heap.mem().words, Role::Sender, || false);
        let owner = sit(heap, record, Role::Sender);
        let mem = heap.mem();
        let cursor = K::Send::attach(&mem, record).expect("positions make sense");
        let end = SendEnd::new(mem, owner.name(record), cursor, before, &Healthy);
        wake_after(&heap.mem().words, Change::Attached(Role::Sender));
        Self { end, record, owner }
    }

    fn send(&mut self, value: u64) -> Result<(), Refused> {
        let run = match self.end.claim_slow(1, 1, &Healthy) {
            Ok(run) => run,
            Err(Refused::NotReady) => {
                self.end.claim_waiting(numbers(), 1, 1, &mut Slumber::default(), &Healthy)?
            }
            Err(refused) => return Err(refused),
        };
        self.end.mem.view(numbers()).write(run.at, &value);
        self.end.publish(numbers(), run, 1);
        Ok(())
    }

    fn leave(mut self) {
        self.end.leave();
        table::leave(&self.end.mem.words, self.record, self.owner);
        wake_after(&self.end.mem.words, Change::Left(self.owner.role()));
    }
}

impl<K: Kind> Receiver<K> {
    fn attach(heap: &Heap<u64, K>, record: usize) -> Self {
        let before = Ends::before(&heap.mem().words, Role::Receiver, || false);
        let owner = sit(heap, record, Role::Receiver);
        let mem = heap.mem();
        let cursor = K::Recv::attach(&mem, record).expect("positions make sense");
        let end = RecvEnd::new(mem, owner.name(record), cursor, before, &Healthy);
        wake_after(&heap.mem().words, Change::Attached(Role::Receiver));
        Self { end, record, owner }
    }

    fn recv_some(&mut self, need: u64) -> Result<Vec<u64>, Refused> {
        let run = match self.end.claim_slow(need, need, &Healthy) {
            Ok(run) => run,
            Err(Refused::NotReady) => {
                self.end.claim_waiting(numbers(), need, need, &mut Slumber::default(), &Healthy)?
            }
            Err(refused) => return Err(refused),
        };
        let mut values = vec![0; run.items as usize];
        self.end.copy_out(numbers(), run, &mut values).expect("an honest ring");
        self.end.release(numbers(), run, run.items);
        Ok(values)
    }

    fn recv(&mut self) -> Result<u64, Refused> {
        Ok(self.recv_some(1)?[0])
    }

    fn leave(self) {
        table::leave(&self.end.mem.words, self.record, self.owner);
        wake_after(&self.end.mem.words, Change::Left(self.owner.role()));
    }
}

/// One sender and one receiver who both must sleep often, and end-of-file at the end.
fn stream<K: Kind>(capacity: u64, items: u64) {
    let heap = Heap::<u64, K>::new(capacity, 2);
    let mut tx = Sender::attach(&heap, 0);
    let mut rx = Receiver::attach(&heap, 1);
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..items {
                tx.send(n).unwrap();
            }
            tx.leave();
        });
        for n in 0..items {
            assert_eq!(rx.recv(), Ok(n));
        }
        assert_eq!(rx.recv(), Err(Refused::Closed));
    });
}

#[test]
fn spsc_sleepers_wake_for_every_item_every_slot_and_the_end() {
    stream::<Spsc>(1, 8);
    stream::<Spsc>(2, 8);
}

#[test]
fn mpmc_sleepers_wake_for_every_item_every_slot_and_the_end() {
    stream::<Mpmc>(1, 8);
    stream::<Mpmc>(2, 8);
}

#[test]
fn a_crowd_of_sleepers_loses_no_wake() {
    const EACH: u64 = 4;
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let senders = [0, 1].map(|record| Sender::attach(&heap, record));
    let receivers = [2, 3].map(|record| Receiver::attach(&heap, record));
    let sum: u64 = thread::scope(|scope| {
        for mut tx in senders {
            scope.spawn(move || {
                for n in 1..=EACH {
                    tx.send(n).unwrap();
                }
                tx.leave();
            });
        }
        let receiving = receivers.map(|mut rx| {
            scope.spawn(move || {
                let mut sum = 0;
                loop {
                    match rx.recv() {
                        Ok(n) => sum += n,
                        Err(end) => {
                            assert_eq!(end, Refused::Closed);
                            return sum;
                        }
                    }
                }
            })
        });
        receiving.map(|r| r.join().unwrap()).iter().sum()
    });
    assert_eq!(sum, 2 * EACH * (EACH + 1) / 2);
}

#[test]
fn one_that_waits_for_several_items_swallows_no_wake_that_serves_another() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let mut tx = Sender::attach(&heap, 0);
    let mut picky = Receiver::attach(&heap, 1);
    let mut plain = Receiver::attach(&heap, 2);
    thread::scope(|scope| {
        let picky = scope.spawn(move || picky.recv_some(2));
        let plain = scope.spawn(move || {
            let got = plain.recv();
            plain.leave();
            got
        });
        // One item: only the plain one can use it, whoever the kernel wakes first.
        tx.send(1).unwrap();
        assert_eq!(plain.join().unwrap(), Ok(1));
        tx.send(2).unwrap();
        tx.send(3).unwrap();
        assert_eq!(picky.join().unwrap(), Ok(vec![2, 3]));
    });
}

#[test]
fn a_sleeping_sender_wakes_when_the_last_receiver_leaves() {
    let heap = Heap::<u64, Spsc>::new(1, 2);
    let mut tx = Sender::attach(&heap, 0);
    let rx = Receiver::attach(&heap, 1);
    tx.send(1).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || rx.leave());
        assert_eq!(tx.send(2), Err(Refused::Closed));
    });
}

#[test]
fn one_who_waits_for_a_peer_wakes_when_it_attaches() {
    let heap = Heap::<u64, Mpmc>::new(1, 2);
    let heap = &heap;
    let mut rx = Receiver::attach(heap, 1);
    thread::scope(|scope| {
        scope.spawn(move || Sender::attach(heap, 0).leave());
        // Woken while it is there, or by its going; then it has been, and what follows is the end.
        assert_eq!(rx.recv(), Err(Refused::Closed));
    });
    thread::scope(|scope| {
        let tx = scope.spawn(move || Sender::attach(heap, 0));
        let met = rx.end.wait_for_peer(&mut Slumber::default(), &Healthy);
        assert_eq!(met, Ok(()));
        tx.join().unwrap().leave();
    });
}

#[test]
fn a_word_that_changed_after_the_announcement_puts_nobody_to_sleep() {
    let word = AtomicU32::new(0);
    let wake_word = WakeWord::new(&word);
    let ticket = wake_word.announce(false, None);
    assert!(wake_word.is_flagged());
    wake_word.notify(); // clears the bit and moves the epoch, though nobody sleeps yet
    assert!(!wake_word.is_flagged());
    let far = now() + Duration::from_secs(60).as_nanos() as u64;
    wake_word.sleep(ticket, far);
    assert!(now() < far, "slept beside a wake");

    // Nor does it if someone else has announced itself since and the bit is there again: that wake
    // was for the first.
    let ticket = wake_word.announce(false, None);
    wake_word.notify();
    wake_word.announce(false, None);
    wake_word.sleep(ticket, far);
    assert!(now() < far, "slept beside a wake");

    // Leaving and attaching wake without regard to the bit.
    let ticket = wake_word.announce(false, None);
    wake_word.wake_all();
    wake_word.sleep(ticket, far);
    assert!(now() < far, "slept beside a change of the endpoint table");
    wake_word.notify();

    // What is taken back leaves no trace; what has been seen is left alone.
    let before = word.load(Relaxed);
    let ticket = wake_word.announce(true, None);
    wake_word.retract(ticket);
    assert_eq!(word.load(Relaxed), before);
    let ticket = wake_word.announce(true, None);
    wake_word.notify();
    let after = word.load(Relaxed);
    wake_word.retract(ticket);
    assert_eq!(word.load(Relaxed), after);
}

fn waiter(word: WakeWord<'_>, shared: bool) -> Waiter<'_> {
    Waiter { word, shared, picky: false, coalesce: 3, polls: u32::MAX, watch: None }
}

#[test]
fn a_sleep_publishes_what_came_before_its_wake() {
    let word = AtomicU32::new(0);
    let item = AtomicU64::new(0);
    let (word, item) = (WakeWord::new(&word), &item);
    thread::scope(|scope| {
        scope.spawn(move || {
            item.store(7, Relaxed);
            word.notify();
        });
        let mut pace = Slumber::default();
        let found = block(waiter(word, true), &mut pace, |_| match item.load(Relaxed) {
            0 => None,
            n => Some(n),
        });
        assert_eq!(found, Ok(7));
        assert!(pace.sleeps <= 2, "{} sleeps for one wake", pace.sleeps);
    });
}

#[test]
fn deadlines_and_cancellation_end_a_wait_under_every_policy() {
    for policy in [WaitPolicy::Adaptive, WaitPolicy::Spin, WaitPolicy::Park] {
        let word = AtomicU32::new(0);
        let word = WakeWord::new(&word);
        let mut waiting = Waiting::new();
        waiting.policy = policy;
        waiting.timer.interval = Duration::from_millis(1);

        let start = now();
        let wait = Duration::from_millis(3);
        let mut looks = 0;
        let outcome = block(waiter(word, false), &mut waiting.until(wait.into()), |_| {
            looks += 1;
            None::<()>
        });
        assert_eq!(outcome, Err(Stop::Timeout), "{policy:?}");
        assert!(now() - start >= wait.as_nanos() as u64, "{policy:?}");
        assert!(looks >= 1, "{policy:?} never looked");

        waiting.cancel_flag().store(true, Relaxed);
        let mut never = waiting.until(Deadline::NEVER);
        let outcome = block(waiter(word, false), &mut never, |_| None::<()>);
        assert_eq!(outcome, Err(Stop::Cancelled), "{policy:?}");
    }
}

#[test]
fn a_waiter_doubts_its_peers_once_an_interval_whether_it_spins_or_sleeps() {
    for policy in [WaitPolicy::Spin, WaitPolicy::Park] {
        let word = AtomicU32::new(0);
        let mut waiting = Waiting::new();
        waiting.policy = policy;
        waiting.timer.interval = Duration::from_millis(1);
        let mut looks = 0;
        let mut never = waiting.until(Deadline::NEVER);
        let outcome = block(waiter(WakeWord::new(&word), true), &mut never, |look| {
            looks += 1;
            (look == Look::Full { check_due: true }).then_some(())
        });
        assert_eq!(outcome, Ok(()), "{policy:?}");
        assert!(looks > 1, "{policy:?} checks from the start");
    }
}

#[test]
fn who_waits_for_long_looks_but_once_an_interval() {
    let word = AtomicU32::new(0);
    if !WakeWord::new(&word).announce(false, None).sure {
        return; // where the kernel has no such barrier, nobody can sleep for long
    }
    let mut waiting = Waiting::new();
    waiting.policy = WaitPolicy::Park;
    waiting.timer.interval = Duration::from_millis(if cfg!(miri) { 3 } else { 100 });
    let (mut looks, mut checks) = (0, 0);
    let mut never = waiting.until(Deadline::NEVER);
    let outcome = block(waiter(WakeWord::new(&word), true), &mut never, |look| {
        looks += 1;
        checks += u32::from(look == Look::Full { check_due: true });
        (checks == 4).then_some(())
    });
    assert_eq!(outcome, Ok(()));
    // The first, one a millisecond later, and a few for sleeps that end just before their time.
    assert!(looks < 4 + 2 + 8, "{looks} looks");
}

#[test]
fn a_wake_clears_what_was_announced_and_moves_the_epoch_on() {
    for (picky, announced) in [(false, 0b01), (true, 0b11)] {
        let raw = AtomicU32::new(20);
        let word = WakeWord::new(&raw);
        word.announce(picky, None);
        assert_eq!(raw.load(Relaxed), 20 | announced);
        word.notify();
        assert_eq!(raw.load(Relaxed), 24);
        word.notify();
        assert_eq!(raw.load(Relaxed), 24, "nobody is there");
    }
}

#[test]
fn an_announcement_beside_anothers_is_taken_back_all_the_same() {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    word.announce(true, None);
    let ticket = word.announce(false, None);
    assert!(word.is_flagged());
    word.retract(ticket);
    assert!(!word.is_flagged(), "the ticket says what the word says");
}

#[test]
fn an_announcement_is_fresh_until_it_is_found_as_it_was() {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let first = word.announce(false, None);
    assert!(first.fresh);
    if !first.sure {
        // Where the kernel has no such barrier, every announcement is one.
        return assert!(word.announce(false, Some(first)).fresh);
    }
    let again = word.announce(false, Some(first));
    assert!(!again.fresh && again.sure);
    assert!(!word.announce(false, Some(again)).fresh);
    let mut unsure = again;
    unsure.sure = false;
    assert!(word.announce(false, Some(unsure)).fresh);
    // Somebody's who has not been here before.
    assert!(word.announce(false, None).fresh);
    // A wake, a change of the endpoint table, a picky one beside it: the word has changed.
    word.notify();
    let ticket = word.announce(false, Some(again));
    assert!(ticket.fresh);
    word.wake_all();
    let ticket = word.announce(false, Some(ticket));
    assert!(ticket.fresh);
    word.announce(true, None);
    assert!(word.announce(false, Some(ticket)).fresh);
}

/// Nobody may be asked.
struct Away;

impl Liveness for Away {
    fn alive(&self, role: Role, record: usize) -> Life {
        panic!("asked about {role:?} {record}")
    }
    fn any_alive(&self, role: Role) -> Life {
        panic!("asked about every {role:?}")
    }
    fn visitor_alive(&self) -> Life {
        panic!("asked about visitors")
    }
    fn with_scratch<R>(&self, _: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        panic!("sent for")
    }
}

/// Looks a few times, with no liveness check, and gives up.
struct FewLooks(u32);

impl Pace for FewLooks {
    fn turn(&mut self) -> Turn {
        self.0 += 1;
        Turn::Look { check_due: false }
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        (self.0 == 5).then_some(Stop::Timeout)
    }
    fn sleep(&mut self, _: WakeWord<'_>, _: Ticket) -> bool {
        unreachable!("it does not sleep")
    }
}

#[test]
fn who_waits_asks_nobody_who_is_alive_before_it_doubts() {
    fn check<K: Kind>() {
        let heap = Heap::<u64, K>::new(2, 2);
        let mut tx = Sender::attach(&heap, 0);
        let mut rx = Receiver::attach(&heap, 1);
        let waited = Err(Refused::Stopped(Stop::Timeout));
        assert_eq!(rx.end.claim_waiting(numbers(), 1, 1, &mut FewLooks(0), &Away), waited);
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!(tx.end.claim_waiting(numbers(), 1, 1, &mut FewLooks(0), &Away), waited);
    }
    check::<Spsc>();
    check::<Mpmc>();
}

#[test]
fn a_ring_says_no_length_that_it_cannot_have() {
    fn check<K: Kind>() {
        let heap = Heap::<u64, K>::new(4, 2);
        let control = &heap.mem().words.control;
        for (head, tail, len) in [
            (0, 0, 0),
            (2, 5, 3),
            (1, 5, 4),
            (u64::MAX, 1, 2),
            (5, 3, 0),
            (0, 100, 4),
            (1, u64::MAX, 0),
        ] {
            control.head.store(head, Relaxed);
            control.tail.at.store(tail, Relaxed);
            assert_eq!(crate::pipe::len(&heap.mem().words, 4), len, "from {head} to {tail}");
        }
    }
    check::<Spsc>();
    check::<Mpmc>();
}
