//! The recovery word: one recovers at a time, each after the one before, wherever that one died.
//!
//! To recover is here to write into one slot. loom reports two that do so at once, and also one
//! that comes after another without an order of memory between them, which is what a real recoverer
//! relies on.

use loom::thread;

use super::death::{check_deaths, until_death};
use super::support::{Ring, Rx, check, numbers};
use crate::peers::recovery_word::{begin_visit, recover};
use crate::peers::table::{self, Name, Role};
use crate::ring::Mpmc;
use crate::sync::Ordering::Relaxed;

/// Recovers, unless it is another's turn.
fn recovers(ring: &Ring<Mpmc>, me: Name) -> bool {
    let mem = ring.mem();
    recover(&ring.words, me, &*ring.locks, |_| mem.view(numbers()).write(0, &1)).is_some()
}

/// The same, of one that attaches and has no record yet.
fn visits(ring: &Ring<Mpmc>) -> bool {
    if !ring.locks.lock_recovery() {
        return false;
    }
    let recovered = recovers(ring, begin_visit(&ring.words));
    ring.locks.unlock_recovery();
    recovered
}

/// When everybody else has finished: whoever lives can recover, and leaves the word as it was.
fn at_last(ring: &Ring<Mpmc>, me: Name) {
    assert!(recovers(ring, me), "the word names nobody who lives");
    assert_eq!(ring.words.control.recovery.word.load(Relaxed), 0);
}

/// Somebody who is to die: a receiver that recovers in this record.
fn victim(ring: &Ring<Mpmc>, record: usize) -> impl FnOnce() + use<> {
    let (ring, rx) = (ring.clone(), ring.receiver(record));
    move || {
        let me = rx.end.me;
        _ = until_death("end", &ring.locks, (Role::Receiver, record), || _ = recovers(&ring, me));
    }
}

/// Somebody who is to die while it visits. Of `record`, which it does not have yet, nothing is
/// used.
fn dying_visitor(ring: &Ring<Mpmc>, record: usize) -> impl FnOnce() + use<> {
    let ring = ring.clone();
    move || {
        let dying = (Role::Receiver, record);
        _ = until_death("visitor", &ring.locks, dying, || _ = visits(&ring));
    }
}

fn in_a_thread(ring: &Ring<Mpmc>, rx: Rx<Mpmc>) -> thread::JoinHandle<(bool, Rx<Mpmc>)> {
    let ring = ring.clone();
    thread::spawn(move || (recovers(&ring, rx.end.me), rx))
}

#[test]
fn of_two_that_want_to_recover_each_has_its_turn_alone() {
    check("word, two ends", None, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let (one, other) = (ring.receiver(0), ring.receiver(1));
        let first = in_a_thread(&ring, one);
        let second = recovers(&ring, other.end.me);
        assert!(first.join().unwrap().0 || second, "nobody's turn");
        at_last(&ring, other.end.me);
    });
}

#[test]
fn an_end_and_one_that_attaches_have_their_turns_alone() {
    check("word, end and visitor", None, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let rx = ring.receiver(0);
        let me = rx.end.me;
        let end = in_a_thread(&ring, rx);
        let visited = visits(&ring);
        assert!(end.join().unwrap().0 || visited, "nobody's turn");
        at_last(&ring, me);
    });
}

/// The second may judge by the times that the record was taken, with no word of the kernel's: it
/// must see the record as the first had taken it. A predecessor has had that record before.
#[test]
fn a_newcomer_that_recovers_is_not_taken_for_its_predecessor_and_so_for_dead() {
    check("word, newcomer", None, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let rx = ring.receiver(0);
        ring.receiver(1).leave();
        let newcomer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let rx = ring.receiver(1);
                recovers(&ring, rx.end.me);
                rx
            })
        };
        recovers(&ring, rx.end.me);
        newcomer.join().unwrap();
        at_last(&ring, rx.end.me);
    });
}

#[test]
fn who_dies_in_its_turn_is_found_dead_by_an_end() {
    check_deaths("word, end dies", 5, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let rx = ring.receiver(0);
        let victim = thread::spawn(victim(&ring, 1));
        recovers(&ring, rx.end.me);
        victim.join().unwrap();
        at_last(&ring, rx.end.me);
    });
}

#[test]
fn who_dies_in_its_turn_is_found_dead_by_one_that_attaches() {
    check_deaths("word, end dies, visitor", 5, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let rx = ring.receiver(0);
        let victim = thread::spawn(victim(&ring, 1));
        visits(&ring);
        victim.join().unwrap();
        assert!(visits(&ring), "the word names nobody who lives");
        at_last(&ring, rx.end.me);
    });
}

#[test]
fn of_two_that_find_the_same_holder_dead_each_has_its_turn_alone() {
    check_deaths("word, two find it dead", 4, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let (one, other) = (ring.receiver(0), ring.receiver(2));
        victim(&ring, 1)();
        let first = in_a_thread(&ring, one);
        let second = recovers(&ring, other.end.me);
        assert!(first.join().unwrap().0 || second, "nobody's turn");
        at_last(&ring, other.end.me);
    });
}

#[test]
fn an_end_and_one_that_attaches_find_the_same_holder_dead() {
    check_deaths("word, end and visitor find it dead", 4, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let rx = ring.receiver(0);
        let me = rx.end.me;
        victim(&ring, 1)();
        let end = in_a_thread(&ring, rx);
        let visited = visits(&ring);
        assert!(end.join().unwrap().0 || visited, "nobody's turn");
        at_last(&ring, me);
    });
}

/// The dead one's record has gone to another, whose byte is locked: the times that it was taken
/// tell, and the kernel is asked nothing.
#[test]
fn who_died_in_its_turn_is_found_dead_when_another_has_its_record() {
    check_deaths("word, record of the dead taken", 4, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let rx = ring.receiver(0);
        let victim = victim(&ring, 1);
        let successor = {
            let ring = ring.clone();
            thread::spawn(move || {
                victim();
                assert!(ring.locks.take(Role::Receiver, 1), "it is dead");
                table::take(&ring.words.owners[1], Role::Receiver, 1, true).expect("nobody reaps")
            })
        };
        recovers(&ring, rx.end.me);
        let me = successor.join().unwrap().name(1);
        at_last(&ring, rx.end.me);
        at_last(&ring, me);
    });
}

/// As it was in the midst of its turn when it died, its name stands; the next visitor counts
/// itself, and the end is told by that, or by the byte.
#[test]
fn a_visitor_that_died_is_found_dead_by_the_next_and_by_an_end() {
    check_deaths("word, visitor dies", 4, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let rx = ring.receiver(0);
        let visitors = {
            let ring = ring.clone();
            thread::spawn(move || {
                dying_visitor(&ring, 1)();
                visits(&ring)
            })
        };
        let recovered = recovers(&ring, rx.end.me);
        assert!(visitors.join().unwrap() || recovered, "nobody's turn");
        at_last(&ring, rx.end.me);
    });
}

#[test]
fn a_visitor_that_dies_beside_an_end_and_a_visitor() {
    check_deaths("word, visitor dies meanwhile", 4, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let rx = ring.receiver(0);
        let me = rx.end.me;
        let dying = thread::spawn(dying_visitor(&ring, 1));
        let end = in_a_thread(&ring, rx);
        visits(&ring);
        end.join().unwrap();
        dying.join().unwrap();
        at_last(&ring, me);
    });
}
