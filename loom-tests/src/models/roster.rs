//! The roster by itself: what a seat's word tells about those who sat there. No locks, so that
//! what the kernel's locks order as well is seen to be ordered by the word alone.

use loom::thread;

use super::support::check;
use crate::peers::roster::{self, Role};
use crate::ring::Spsc;
use crate::ring::control::Words;
use crate::sync;
use crate::sync::Ordering::{Acquire, Relaxed};

/// Sits down, stores something in the ring, without order, and goes as `goes` says. Beside it runs
/// `look`, which is told what it may see of the store.
fn come_and_go<R>(goes: impl FnOnce(&Words) + 'static, look: impl FnOnce(&Words) -> R) -> R {
    let words = sync::ring::<u64, Spsc>(1, 1).words;
    let theirs = words.clone();
    let there = thread::spawn(move || goes(&theirs));
    let looked = look(&words);
    there.join().unwrap();
    looked
}

const STORED: u64 = 7;

/// Whatever an occupant stores in the ring.
fn store(words: &Words) {
    words.control.tail.0.store(STORED, Relaxed);
}

fn assert_stored(words: &Words) {
    assert_eq!(words.control.tail.0.load(Relaxed), STORED);
}

/// Sits, stores and leaves, unless somebody sits there already.
fn visit(words: &Words) {
    if let Some(sits) = roster::take(&words.seats[0], Role::Sender, 1, false) {
        store(words);
        assert!(roster::leave(words, 0, sits));
    }
}

/// A1 ← A2.
#[test]
fn who_takes_a_seat_that_was_left_sees_what_its_occupant_stored() {
    check("roster, next", None, || {
        come_and_go(visit, |words| {
            // Which time the seat is taken tells whether the other had been there.
            if roster::take(&words.seats[0], Role::Sender, 2, false).is_some()
                && words.seats[0].load(Relaxed) & 0xffff_fffc == 8
            {
                assert_stored(words);
            }
        });
    });
}

/// A3 ← A2.
#[test]
fn who_counts_nobody_where_somebody_sat_sees_what_was_stored() {
    check("roster, count", None, || {
        let words = sync::ring::<u64, Spsc>(1, 1).words;
        let sits = roster::take(&words.seats[0], Role::Sender, 1, false).expect("it is free");
        let theirs = words.clone();
        let leaving = thread::spawn(move || {
            store(&theirs);
            roster::leave(&theirs, 0, sits)
        });
        if roster::count(&words, Role::Sender) == 0 {
            assert_stored(&words);
        }
        assert!(leaving.join().unwrap());
    });
}

/// A3 ← A2.
#[test]
fn who_sees_an_estate_sees_what_was_stored_before_it_was_one() {
    check("roster, estate", None, || {
        let goes = |words: &Words| {
            let sits = roster::take(&words.seats[0], Role::Receiver, 1, false).expect("free");
            store(words);
            assert!(roster::bequeath(words, 0, sits));
        };
        come_and_go(goes, |words| {
            if roster::occupancy(&words.seats[0]).is_some_and(|(found, _)| found.is_estate()) {
                assert_stored(words);
            }
        });
    });
}

/// A3 ← A1: also of one that died and left nothing behind it but its word on the seat.
#[test]
fn who_sees_a_successor_sees_what_its_predecessor_stored() {
    check("roster, successor", None, || {
        let goes = |words: &Words| {
            roster::take(&words.seats[0], Role::Sender, 1, false).expect("it is free");
            store(words);
            roster::take(&words.seats[0], Role::Receiver, 2, true).expect("its occupant is dead");
        };
        come_and_go(goes, |words| {
            if roster::occupancy(&words.seats[0]).is_some_and(|(_, role)| role == Role::Receiver) {
                assert_stored(words);
            }
        });
    });
}

/// A6 → A7: an end looks for estates only when something has changed.
#[test]
fn who_sees_that_the_roster_changed_sees_the_estate() {
    check("roster, change", None, || {
        let words = sync::ring::<u64, Spsc>(1, 1).words;
        let sits = roster::take(&words.seats[0], Role::Receiver, 1, false).expect("it is free");
        let theirs = words.clone();
        let leaving = thread::spawn(move || roster::bequeath(&theirs, 0, sits));
        let changed = words.control.arrivals.0.changes.load(Acquire) > 0; // as A7
        let estate = roster::occupancy(&words.seats[0]).is_some_and(|(found, _)| found.is_estate());
        assert!(estate || !changed, "it would not be looked for again");
        assert!(leaving.join().unwrap());
    });
}
