//! The endpoint table by itself: what a record's word tells about those who sat there. No locks, so
//! that what the kernel's locks order as well is seen to be ordered by the word alone.

use loom::thread;

use super::support::check;
use crate::peers::table::{self, Role};
use crate::ring::Spsc;
use crate::ring::control::Words;
use crate::sync;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::wait::changes::{Change, Concerned};

/// Sits down, stores something in the ring, without order, and goes as `goes` says. Beside it runs
/// `look`, which is told what it may see of the store.
fn come_and_go<R>(goes: impl FnOnce(&Words) + 'static, look: impl FnOnce(&Words) -> R) -> R {
    let words = sync::ring::<Spsc>(1, 1).words;
    let theirs = words.clone();
    let there = thread::spawn(move || goes(&theirs));
    let looked = look(&words);
    there.join().unwrap();
    looked
}

const STORED: u64 = 7;

/// Whatever an owner stores in the ring.
fn store(words: &Words) {
    words.control.tail.at.store(STORED, Relaxed);
}

fn assert_stored(words: &Words) {
    assert_eq!(words.control.tail.at.load(Relaxed), STORED);
}

/// Sits, stores and leaves, unless somebody sits there already.
fn visit(words: &Words) {
    if let Some(sits) = table::take(&words.owners[0], Role::Sender, 1, false) {
        store(words);
        assert!(table::leave(words, 0, sits));
    }
}

/// A1 ← A2.
#[test]
fn who_takes_a_record_that_was_left_sees_what_its_owner_stored() {
    check("endpoint table, next", None, || {
        come_and_go(visit, |words| {
            // Which time the record is taken tells whether the other had been there.
            if table::take(&words.owners[0], Role::Sender, 2, false).is_some()
                && words.owners[0].load(Relaxed) & 0xffff_fffc == 8
            {
                assert_stored(words);
            }
        });
    });
}

/// A3 ← A2.
#[test]
fn who_counts_nobody_where_somebody_sat_sees_what_was_stored() {
    check("endpoint table, count", None, || {
        let words = sync::ring::<Spsc>(1, 1).words;
        let sits = table::take(&words.owners[0], Role::Sender, 1, false).expect("it is free");
        let theirs = words.clone();
        let leaving = thread::spawn(move || {
            store(&theirs);
            table::leave(&theirs, 0, sits)
        });
        if table::count(&words, Role::Sender) == 0 {
            assert_stored(&words);
        }
        assert!(leaving.join().unwrap());
    });
}

/// A3 ← A2.
#[test]
fn who_sees_an_abandoned_claim_sees_what_was_stored_before_it_was_one() {
    check("endpoint table, abandoned claim", None, || {
        let goes = |words: &Words| {
            let sits = table::take(&words.owners[0], Role::Receiver, 1, false).expect("free");
            store(words);
            assert!(table::abandon(words, 0, sits));
        };
        come_and_go(goes, |words| {
            if table::owner(&words.owners[0]).is_some_and(|(found, _)| found.is_abandoned()) {
                assert_stored(words);
            }
        });
    });
}

/// A3 ← A1: also of one that died and left nothing behind it but its word on the record.
#[test]
fn who_sees_a_successor_sees_what_its_predecessor_stored() {
    check("endpoint table, successor", None, || {
        let goes = |words: &Words| {
            table::take(&words.owners[0], Role::Sender, 1, false).expect("it is free");
            store(words);
            table::take(&words.owners[0], Role::Receiver, 2, true).expect("its owner is dead");
        };
        come_and_go(goes, |words| {
            if table::owner(&words.owners[0]).is_some_and(|(_, role)| role == Role::Receiver) {
                assert_stored(words);
            }
        });
    });
}

/// A6 → A7: an end looks for abandoned claims only when something has changed.
#[test]
fn who_sees_that_the_table_changed_sees_the_abandoned_claim() {
    check("endpoint table, change", None, || {
        let words = sync::ring::<Spsc>(1, 1).words;
        let sits = table::take(&words.owners[0], Role::Receiver, 1, false).expect("it is free");
        let theirs = words.clone();
        let leaving = thread::spawn(move || table::abandon(&theirs, 0, sits));
        let changed = words.control.arrivals.changes.load(Acquire) > 0; // as A7
        let abandoned =
            table::owner(&words.owners[0]).is_some_and(|(found, _)| found.is_abandoned());
        assert!(abandoned || !changed, "it would not be looked for again");
        assert!(leaving.join().unwrap());
    });
}

/// A6 → A7: a sender and a receiver go at once, and the one that goes second wakes its own role as
/// well.
#[test]
fn two_that_leave_at_once_do_not_both_take_the_other_for_present() {
    check("endpoint table, two leave at once", None, || {
        let words = sync::ring::<Spsc>(1, 2).words;
        let sits = |record, role| table::take(&words.owners[record], role, 1, false).unwrap();
        let (tx, rx) = (sits(0, Role::Sender), sits(1, Role::Receiver));
        let wakes_everybody = |words: &Words, role| {
            Concerned::default().and_by(words, Change::Left(role)).is_everybody()
        };
        let theirs = words.clone();
        let there = thread::spawn(move || {
            table::leave(&theirs, 0, tx);
            wakes_everybody(&theirs, Role::Sender)
        });
        table::leave(&words, 1, rx);
        let here = wakes_everybody(&words, Role::Receiver);
        assert!(there.join().unwrap() || here);
    });
}
