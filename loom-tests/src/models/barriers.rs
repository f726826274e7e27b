//! The table of `wait::barrier`: publishers that membarriers reach or not, sleepers that can call
//! membarrier or not.
//!
//! One way only, so that each end is either. All else about waking is `wake`'s. Also what the table
//! does not promise: `one_of_two_sleepers_may_be_overlooked`.

use loom::thread;

use super::support::{Ring, SLEEPY, check_bounded};
use crate::ring::{Kind, Mpmc, Spsc};
use crate::sync::membarrier::{everybody_has_registered, nobody_has_registered};
use crate::wait::word::{Ticket, WakeWord};
use crate::wait::{Pace, Stop, Turn};

/// What a process does about membarriers.
#[derive(Clone, Copy)]
enum Process {
    /// Has registered, and can call.
    Registered,
    /// Has not, or can not.
    Fencing,
}
use Process::{Fencing, Registered};

impl Process {
    /// The calling thread belongs to such a process.
    fn begin(self) {
        loom::reached(matches!(self, Registered));
        tell_the_thread_that_goes_on();
    }
}

/// All threads of a model share the operating system's thread, and with it what `sync` asks.
fn tell_the_thread_that_goes_on() {
    if loom::is_reached_here() {
        everybody_has_registered();
    } else {
        nobody_has_registered();
    }
}

/// Sleeps as one that not every publisher is sure to see: for a moment only.
struct Briefly;

impl Pace for Briefly {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        None
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        assert!(!ticket.sure);
        loom::next_wait_expires();
        word.sleep(ticket, u64::MAX);
        // Others go on meanwhile: the publisher's end is the end of this, too.
        thread::yield_now();
        false
    }
}

/// One value for one who sleeps until there is one.
fn one_value<K: Kind>(publisher: Process, sleeper: Process, pace: impl Pace) {
    loom::after_switches(tell_the_thread_that_goes_on);
    let ring = Ring::<K>::new(1, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let sender = thread::spawn(move || {
        publisher.begin();
        tx.try_send(1).unwrap();
    });
    sleeper.begin();
    assert_eq!(rx.recv(pace), Ok(1));
    sender.join().unwrap();
}

#[test]
fn registered_publisher_wakes_a_sleeper_that_calls() {
    check_bounded("barriers, both by membarrier, spsc", 4, || {
        one_value::<Spsc>(Registered, Registered, SLEEPY);
    });
    check_bounded("barriers, both by membarrier, mpmc", 4, || {
        one_value::<Mpmc>(Registered, Registered, SLEEPY);
    });
}

#[test]
fn publisher_that_fences_wakes_a_sleeper_that_calls() {
    check_bounded("barriers, only the sleeper's membarrier, spsc", 4, || {
        one_value::<Spsc>(Fencing, Registered, SLEEPY);
    });
    check_bounded("barriers, only the sleeper's membarrier, mpmc", 4, || {
        one_value::<Mpmc>(Fencing, Registered, SLEEPY);
    });
}

#[test]
fn publisher_that_fences_wakes_a_sleeper_that_fences() {
    check_bounded("barriers, both fence, spsc", 4, || {
        one_value::<Spsc>(Fencing, Fencing, SLEEPY);
    });
    check_bounded("barriers, both fence, mpmc", 4, || {
        one_value::<Mpmc>(Fencing, Fencing, SLEEPY);
    });
}

/// The one mix in which a wake may be lost: it is, and therefore the sleeper sleeps briefly.
#[test]
#[should_panic(expected = "deadlock")]
fn registered_publisher_may_not_wake_a_sleeper_that_cannot_call() {
    check_bounded("barriers, lost", 2, || one_value::<Spsc>(Registered, Fencing, SLEEPY));
}

#[test]
fn sleeper_that_cannot_call_sleeps_briefly_and_finds_what_a_registered_publisher_sent() {
    check_bounded("barriers, brief sleeps, spsc", 2, || {
        one_value::<Spsc>(Registered, Fencing, Briefly);
    });
    check_bounded("barriers, brief sleeps, mpmc", 2, || {
        one_value::<Mpmc>(Registered, Fencing, Briefly);
    });
}

/// Two sleepers at one word, of whom one cannot call: it may take the first value beside the
/// second, which it overlooks, and go; nobody wakes the other. For real that one sleeps until its
/// interval ends (`wait::barrier`), which it does not here.
#[test]
#[should_panic(expected = "deadlock")]
fn one_of_two_sleepers_may_be_overlooked_if_the_other_cannot_call() {
    check_bounded("barriers, two sleepers, lost", 2, || {
        loom::after_switches(tell_the_thread_that_goes_on);
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let (mut brief, mut long) = (ring.receiver(1), ring.receiver(2));
        let brief = thread::spawn(move || {
            Fencing.begin();
            brief.recv(Briefly).unwrap()
        });
        let long = thread::spawn(move || {
            Registered.begin();
            long.recv(SLEEPY).unwrap()
        });
        Registered.begin();
        for value in 1..=2 {
            tx.try_send(value).unwrap();
        }
        assert_eq!(brief.join().unwrap() + long.join().unwrap(), 3);
    });
}
