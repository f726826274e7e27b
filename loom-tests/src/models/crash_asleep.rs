//! Deaths of and beside sleepers: nobody sleeps for ever, and nobody for longer than to the end of
//! an interval that the dead have cost them.
//!
//! Time passes in these models only when a death has cost a wake: a sleeper's interval ends then,
//! and it checks liveness ([`Interval`]). In all other executions the futex has no timeout, and a
//! lost wake is a deadlock.

use std::cell::Cell;
use std::rc::Rc;

use loom::thread;

use super::death::{check_deaths, until_death};
use super::ledger::{Ledger, put, send, settle_accounts, take};
use super::support::{Ring, claim_in_time, numbers};
use crate::peers::table::Role;
use crate::pipe::End;
use crate::ring::{Kind, Mpmc, Refused, Spsc};
use crate::wait::word::{Ticket, WakeWord};
use crate::wait::{Pace, Stop, Turn};

/// Waits as a handle does, straight to sleep.
#[derive(Clone, Default)]
struct Interval {
    /// An interval has passed for everyone.
    over: Rc<Cell<bool>>,
    /// This end has returned from a sleep, perhaps by a wake that another could have had.
    woken: Rc<Cell<bool>>,
    checked: bool,
}

impl Interval {
    /// Another's wait.
    fn of_another(&self) -> Self {
        Self { over: self.over.clone(), ..Self::default() }
    }

    /// Whoever sleeps looks up; whoever does not will, instead of the next sleep.
    fn ends<K: Kind>(&self, ring: &Ring<K>) {
        self.over.set(true);
        // Turns sleepers back as time would, and those on their way to sleep.
        WakeWord::new(&ring.words.control.data).wake_all();
        WakeWord::new(&ring.words.control.space).wake_all();
    }
}

impl Pace for Interval {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        None
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        if !self.over.get() || self.checked {
            word.sleep(ticket, u64::MAX);
            self.woken.set(true);
        }
        let checks = self.over.get() && !self.checked;
        self.checked |= checks;
        checks
    }
}

/// The last sender dies anywhere in a call, also between publishing and waking; the receiver gets
/// what was published, and then end-of-file.
fn last_sender_dies<K: Kind>(values: &'static [u64]) {
    let ring = Ring::<K>::new(2, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    tx.look_around();
    let interval = Interval::default();
    let passing = interval.clone();
    let victim = thread::spawn(move || {
        let mut book = Ledger::default();
        let ring = tx.ring.clone();
        let died = until_death("sender", &ring.locks, (Role::Sender, 0), || {
            send(&mut tx, values, values.len(), &mut book);
        });
        passing.ends(&ring);
        book.of_the_dead(died)
    });
    let mut book = Ledger::default();
    loop {
        let mut pace = interval.clone();
        match rx.end.claim_waiting(numbers(), 1, 2, &mut pace, &*rx.ring.locks) {
            Ok(run) => take(&mut rx, run, 2, &mut book),
            Err(why) => break assert_eq!(why, Refused::Closed),
        };
    }
    let victim = victim.join().unwrap();
    // The dead sender's record is free for both kinds by now.
    let tx = ring.sender(0);
    settle_accounts(tx, rx, [book, victim]);
}

#[test]
fn spsc_receiver_asleep_gets_what_a_killed_sender_published_and_end_of_file() {
    check_deaths("crash, asleep, spsc sender", 2, || last_sender_dies::<Spsc>(&[10]));
}

#[test]
fn mpmc_receiver_asleep_gets_what_a_killed_sender_published_and_end_of_file() {
    check_deaths("crash, asleep, mpmc sender", 2, || last_sender_dies::<Mpmc>(&[10]));
}

#[test]
fn mpmc_receiver_asleep_gets_what_a_killed_sender_of_a_batch_published() {
    check_deaths("crash, asleep, mpmc sender, batch", 1, || last_sender_dies::<Mpmc>(&[10, 11]));
}

/// Two receivers sleep and one of them is killed, on its way to sleep, asleep or woken: the bit it
/// has set costs the other no wake. Only if the dead one had been woken, or had got an item that it
/// could not say was not the last, does the other wait for the end of its interval.
#[test]
fn mpmc_receiver_killed_in_its_sleep_costs_the_other_no_wake() {
    check_deaths("crash, asleep, mpmc receiver", 1, || {
        let ring = Ring::<Mpmc>::new(2, 4);
        let (mut tx, rx) = (ring.sender(3), ring.receiver(2));
        let (mut victim, mut other) = (ring.receiver(0), ring.receiver(1));
        let interval = Interval::default();
        let others = interval.of_another();
        let sleeping = thread::spawn(move || {
            let mut book = Ledger::default();
            let ring = victim.ring.clone();
            let mut claimed = false;
            let died = until_death("receiver", &ring.locks, (Role::Receiver, 0), || {
                let mut pace = interval.clone();
                let run = claim_in_time(&mut victim.end, 1, 1, &mut pace, &ring.locks).unwrap();
                claimed = true;
                take(&mut victim, run, 1, &mut book);
            });
            if died.is_some() && (claimed || interval.woken.get()) {
                interval.ends(&ring);
            }
            book.of_the_dead(died)
        });
        let waiting = thread::spawn(move || {
            let mut book = Ledger::default();
            let mut pace = others;
            let run = claim_in_time(&mut other.end, 1, 1, &mut pace, &other.ring.locks).unwrap();
            take(&mut other, run, 1, &mut book);
            book
        });
        let mut book = Ledger::default();
        for value in [10, 11] {
            assert_eq!(send(&mut tx, &[value], 1, &mut book), 1);
        }
        let (victim, other) = (sleeping.join().unwrap(), waiting.join().unwrap());
        settle_accounts(tx, rx, [book, victim, other]);
    });
}

/// The same for two senders at a full ring.
#[test]
fn mpmc_sender_killed_in_its_sleep_costs_the_other_no_wake() {
    check_deaths("crash, asleep, mpmc sender at a full ring", 1, || {
        let ring = Ring::<Mpmc>::new(2, 4);
        let (mut tx, mut rx) = (ring.sender(3), ring.receiver(2));
        let (mut other, mut victim) = (ring.sender(1), ring.sender(0));
        victim.look_around();
        let mut book = Ledger::default();
        send(&mut tx, &[1], 1, &mut book);
        send(&mut tx, &[2], 1, &mut book);
        let interval = Interval::default();
        let others = interval.of_another();
        let sleeping = thread::spawn(move || {
            let mut book = Ledger::default();
            let ring = victim.ring.clone();
            let mut claimed = false;
            let died = until_death("sender", &ring.locks, (Role::Sender, 0), || {
                let mut pace = interval.clone();
                let run = claim_in_time(&mut victim.end, 1, 1, &mut pace, &ring.locks).unwrap();
                claimed = true;
                put(&mut victim, run, &[10], &mut book);
            });
            if died.is_some() && (claimed || interval.woken.get()) {
                interval.ends(&ring);
            }
            book.of_the_dead(died)
        });
        let waiting = thread::spawn(move || {
            let mut book = Ledger::default();
            let mut pace = others;
            let run = claim_in_time(&mut other.end, 1, 1, &mut pace, &other.ring.locks).unwrap();
            put(&mut other, run, &[20], &mut book);
            book
        });
        for _ in 0..2 {
            let run = rx.end.claim_slow(1, 1, &*rx.ring.locks).unwrap();
            take(&mut rx, run, 1, &mut book);
        }
        let (victim, other) = (sleeping.join().unwrap(), waiting.join().unwrap());
        settle_accounts(tx, rx, [book, victim, other]);
    });
}
