//! The watch: while one that sleeps short lives, nobody depends on the end of a long sleep.
//!
//! The watch has one slot here, so of two sleepers one sleeps short and the other long. Short
//! sleeps end by themselves, each with a liveness check; long ones only by a wake. So what nobody
//! tells, a sender's death, reaches a long sleeper by the watch, or the model is a deadlock.

use std::cell::Cell;
use std::rc::Rc;

use loom::thread;

use super::death::{check_deaths, until_death};
use super::support::{Patience, Ring, Rx, SLEEPY, Tx, check, check_bounded, numbers};
use crate::peers::reap;
use crate::peers::recovery_word::begin_visit;
use crate::peers::table::{self, Name, Role};
use crate::pipe::End;
use crate::ring::Mpmc;
use crate::ring::Refused;
use crate::ring::control::Words;
use crate::sync;
use crate::sync::Ordering::Relaxed;
use crate::wait::watch::{Shift, Watch};
use crate::wait::word::{Ticket, WakeWord};
use crate::wait::{Pace, Stop, Turn};

/// Why a receiver stops waiting that did not get what it waited for.
#[derive(Clone)]
enum Quits {
    Never,
    /// Its time is up before its first sleep, or after it.
    InTime,
    /// Somebody says so.
    Told(Rc<Cell<bool>>),
}

/// Sleeps at once: for an interval if short, and if long until it is woken.
struct Watching {
    quits: Quits,
    slept: bool,
}

fn watching(quits: Quits) -> Watching {
    Watching { quits, slept: false }
}

impl Pace for Watching {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        match &self.quits {
            Quits::Never => None,
            Quits::InTime => (self.slept || loom::choose()).then_some(Stop::Timeout),
            Quits::Told(told) => told.get().then_some(Stop::Cancelled),
        }
    }

    fn joins_watch(&self) -> bool {
        true
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        self.slept = true;
        if ticket.long && !matches!(self.quits, Quits::InTime) {
            word.sleep(ticket, u64::MAX);
            return false;
        }
        loom::next_wait_expires();
        word.sleep(ticket, u64::MAX);
        // Others go on meanwhile: what this one waits for is done by the time that they are
        // through.
        thread::yield_now();
        true
    }
}

/// Two receivers and a sender; what the first receiver was given, and the second, after `plot`.
fn two_receivers(first: Quits, plot: impl FnOnce(Tx<Mpmc>)) -> [Result<u64, Refused>; 2] {
    let ring = Ring::<Mpmc>::new(2, 3);
    let tx = ring.sender(0);
    let receive = |record, quits| {
        let mut rx: Rx<Mpmc> = ring.receiver(record);
        thread::spawn(move || {
            let got = rx.recv(watching(quits));
            (got, rx) // it stays, and waits no more
        })
    };
    let receivers = [receive(1, first), receive(2, Quits::Never)];
    plot(tx);
    let receivers = receivers.map(|receiver| receiver.join().unwrap());
    nobody_keeps_watch(&ring);
    receivers.map(|(got, _)| got)
}

fn nobody_keeps_watch(ring: &Ring<Mpmc>) {
    let control = &ring.words.control;
    assert_eq!(control.watch.receivers[0].load(Relaxed), 0);
    assert_eq!(control.long_sleepers.receivers[0].load(Relaxed), 0);
}

/// The sender's death is told by nobody: who watches finds it, and reaping wakes the other.
#[test]
fn both_learn_of_a_death_that_one_of_them_finds() {
    check_bounded("watch, a sender is killed", 2, || {
        let got = two_receivers(Quits::Never, |tx| tx.die());
        assert_eq!(got, [Err(Refused::Closed); 2]);
    });
}

/// Whoever gets the item may have been the watch, and then the other is.
#[test]
fn one_that_stops_with_an_item_hands_the_watch_over() {
    check_bounded("watch, an item, then a death", 2, || {
        let mut got = two_receivers(Quits::Never, |mut tx| {
            tx.try_send(1).unwrap();
            tx.die();
        });
        got.sort_by_key(Result::is_err);
        assert_eq!(got, [Ok(1), Err(Refused::Closed)]);
    });
}

/// One gives up, and then the sender dies: the other must be the watch by then.
#[test]
fn one_that_stops_because_its_time_is_up_hands_the_watch_over() {
    check_bounded("watch, a timeout, then a death", 3, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let tx = ring.sender(0);
        let (mut first, mut second) = (ring.receiver(1), ring.receiver(2));
        let quitting = thread::spawn(move || {
            let got = first.recv(watching(Quits::InTime));
            assert_eq!(got, Err(Refused::Stopped(Stop::Timeout)));
            tx.die();
            first
        });
        assert_eq!(second.recv(watching(Quits::Never)), Err(Refused::Closed));
        quitting.join().unwrap();
        nobody_keeps_watch(&ring);
    });
}

#[test]
fn one_that_stops_because_it_is_cancelled_hands_the_watch_over() {
    check_bounded("watch, a cancellation, then a death", 2, || {
        let told = Rc::new(Cell::new(false));
        let quits = Quits::Told(told.clone());
        let [first, second] = two_receivers(quits, |tx| {
            told.set(true);
            WakeWord::new(&tx.ring.words.control.data).wake_all();
            tx.die();
        });
        assert!(matches!(first, Err(Refused::Closed | Refused::Stopped(Stop::Cancelled))));
        assert_eq!(second, Err(Refused::Closed));
    });
}

/// The last sender is killed when it has left and not told anybody: the watch finds the end of the
/// file, stops, and hands over, and so does the next.
#[test]
fn one_that_stops_at_the_end_of_the_file_hands_the_watch_over() {
    check_bounded("watch, a sender killed on leaving", 2, || {
        let got = two_receivers(Quits::Never, |tx| {
            let (words, record) = (tx.ring.words.clone(), 0);
            let (owner, _) = table::owner(&words.owners[record]).expect("the sender's");
            tx.die();
            table::leave(&words, record, owner);
        });
        assert_eq!(got, [Err(Refused::Closed); 2]);
    });
}

/// Long sleepers are woken for items as short ones are.
#[test]
fn a_long_and_a_short_sleeper_both_wake_for_two_values() {
    const WATCHING: Patience = Patience { watches: true, ..SLEEPY };
    check_bounded("watch, 1:2, two values", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let receive = |record| {
            let mut rx = ring.receiver(record);
            thread::spawn(move || rx.recv(WATCHING).unwrap())
        };
        let receivers = [receive(1), receive(2)];
        for value in 1..=2 {
            tx.try_send(value).unwrap();
        }
        let mut received = receivers.map(|receiver| receiver.join().unwrap());
        received.sort();
        assert_eq!(received, [1, 2]);
        nobody_keeps_watch(&ring);
    });
}

/// Sleeps until its interval is over, the long one or the short one, and then once more, as a
/// watcher.
struct UntilOver {
    over: Rc<Cell<bool>>,
    sleeps: u32,
}

impl Pace for UntilOver {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        (self.sleeps == 2).then_some(Stop::Timeout)
    }

    fn joins_watch(&self) -> bool {
        true
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        if !self.over.get() {
            word.sleep(ticket, u64::MAX);
        }
        if self.over.get() {
            self.sleeps += 1;
        }
        assert!(self.sleeps < 2 || !ticket.long, "nobody is the watch");
        self.over.get()
    }
}

/// A receiver is killed on its way into the watch, in it, or on its way out; its name and its bit
/// may stay. The other looks after it when its long sleep is over, and takes its place.
#[test]
fn the_place_of_a_killed_watcher_is_taken() {
    check_deaths("watch, a watcher is killed", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let tx = ring.sender(0);
        let (mut victim, mut other) = (ring.receiver(1), ring.receiver(2));
        let over = Rc::new(Cell::new(false));
        let until = UntilOver { over: over.clone(), sleeps: 0 };
        let victim = thread::spawn(move || {
            let ring = victim.ring.clone();
            until_death("watcher", &ring.locks, (Role::Receiver, 1), || {
                // Gives up where it would sleep.
                let mut pace = Patience { watches: true, stops: true, ..SLEEPY };
                let _ = victim.end.claim_waiting(numbers(), 1, 1, &mut pace, &*ring.locks);
            });
            // Ten intervals pass.
            over.set(true);
            WakeWord::new(&ring.words.control.data).wake_all();
        });
        assert_eq!(other.recv(until), Err(Refused::Stopped(Stop::Timeout)));
        victim.join().unwrap();
        let control = &ring.words.control;
        assert_eq!(control.watch.receivers[0].load(Relaxed), 0);
        // Of the dead one's bit, its record's next owner has nothing to fear: it is cleared before.
        other.die();
        let visitor = begin_visit(&ring.words);
        assert!(reap::reap_for_record(&ring.mem(), visitor, &*ring.locks));
        assert_eq!(control.long_sleepers.receivers[0].load(Relaxed), 0);
        tx.leave();
    });
}

/// V3 → V4: one that has just come and keeps watch is not taken for one whose record is another's
/// by now.
#[test]
fn a_newcomer_in_the_watch_is_not_taken_for_dead() {
    check("watch, a newcomer", None, || {
        let words = sync::ring::<Mpmc>(1, 2).words;
        let sits = |words: &Words, record| {
            table::take(&words.owners[record], Role::Receiver, 1, false).unwrap().name(record)
        };
        fn shift(words: &Words, me: Name) -> Shift<'_> {
            let watch = Watch::new(words, Role::Receiver, me, &|_| true);
            Shift::begin(watch, WakeWord::new(&words.control.data))
        }
        let me = sits(&words, 0);
        let theirs = words.clone();
        let there = thread::spawn(move || {
            let newcomer = sits(&theirs, 1);
            assert!(!shift(&theirs, newcomer).sleeps_long());
            newcomer
        });
        shift(&words, me).check();
        let newcomer = there.join().unwrap();
        assert_eq!(words.control.watch.receivers[0].load(Relaxed), newcomer.0);
    });
}
