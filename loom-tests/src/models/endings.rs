//! How the opposite ends went, and whose end-of-file it is.

use loom::thread;

use super::support::{Ring, Rx, SLEEPY, check, check_bounded, claim_now};
use crate::peers::endings::{self, Ending, Record};
use crate::pipe::End;
use crate::ring::control::Told;
use crate::ring::{Kind, Mpmc, Refused, Spsc};
use std::sync::Arc;

/// C2: one sender has died, another comes and closes while the receiver finds out. Whatever it
/// counts, the first has died.
fn died_beside_one_that_closes<K: Kind>() {
    let ring = Ring::<K>::new(1, 3);
    let mut rx = ring.receiver(1);
    ring.sender(0).die();
    let theirs = ring.clone();
    let visitor = thread::spawn(move || {
        if let Some(tx) = theirs.sender_if_free(if K::MANY { 2 } else { 0 }) {
            tx.leave();
        }
    });
    rx.end.check_liveness(&*ring.locks);
    if rx.try_recv() == Err(Refused::Closed) {
        assert_eq!(rx.end.ends.ending_told(), Some(Ending::Died(1)));
    }
    visitor.join().unwrap();
    rx.end.check_liveness(&*ring.locks);
    assert_eq!(rx.try_recv(), Err(Refused::Closed));
}

#[test]
fn spsc_a_crash_is_told_though_a_successor_closes() {
    check_bounded(
        "endings, spsc, died beside one that closes",
        2,
        died_beside_one_that_closes::<Spsc>,
    );
}

#[test]
fn mpmc_a_crash_is_told_though_another_closes() {
    check_bounded(
        "endings, mpmc, died beside one that closes",
        2,
        died_beside_one_that_closes::<Mpmc>,
    );
}

/// C2: a sender closes while the receiver looks: that is never a crash.
fn closes<K: Kind>() {
    let ring = Ring::<K>::new(1, 2);
    let (tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let leaving = thread::spawn(move || tx.leave());
    assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed));
    assert_eq!(rx.end.ends.ending_told(), Some(Ending::Closed));
    leaving.join().unwrap();
}

#[test]
fn spsc_a_close_is_no_crash() {
    check_bounded("endings, spsc, closes", 4, closes::<Spsc>);
}

#[test]
fn mpmc_a_close_is_no_crash() {
    check_bounded("endings, mpmc, closes", 4, closes::<Mpmc>);
}

/// The same for a receiver that asks the locks while the sender is between its close and its
/// leaving.
fn closes_beside_a_check<K: Kind>() {
    let ring = Ring::<K>::new(1, 2);
    let (tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let leaving = thread::spawn(move || tx.leave());
    rx.end.check_liveness(&*ring.locks);
    if rx.try_recv() == Err(Refused::Closed) {
        assert_eq!(rx.end.ends.ending_told(), Some(Ending::Closed));
    }
    leaving.join().unwrap();
}

#[test]
fn spsc_an_end_that_is_about_to_leave_has_closed() {
    check_bounded("endings, spsc, closes beside a check", 4, closes_beside_a_check::<Spsc>);
}

#[test]
fn mpmc_an_end_that_is_about_to_leave_has_closed() {
    check_bounded("endings, mpmc, closes beside a check", 3, closes_beside_a_check::<Mpmc>);
}

/// C8: a sender comes, sends and goes while a receiver attaches: that one gets the item and the
/// end, whichever of the two was faster.
fn comes_and_goes_while_one_attaches<K: Kind>() {
    let ring = Ring::<K>::new(1, 2);
    let theirs = ring.clone();
    let visitor = thread::spawn(move || {
        let mut tx = theirs.sender(0);
        tx.try_send(1).unwrap();
        tx.leave();
    });
    let mut rx = ring.receiver(1);
    assert_eq!(rx.recv(SLEEPY), Ok(1));
    assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed));
    visitor.join().unwrap();
}

#[test]
fn spsc_both_orders_end() {
    check_bounded("endings, spsc, both orders", 2, comes_and_goes_while_one_attaches::<Spsc>);
}

#[test]
fn mpmc_both_orders_end() {
    check_bounded("endings, mpmc, both orders", 2, comes_and_goes_while_one_attaches::<Mpmc>);
}

/// C2, C8: all senders are gone, another comes, sends and goes while the receiver is about to be
/// told so. If it is told, then not over that item's head: whoever attaches next gets it, and an
/// end.
fn another_comes_and_goes<K: Kind>() {
    let ring = Ring::<K>::new(1, 3);
    let mut rx = ring.receiver(1);
    ring.sender(0).leave();
    let theirs = ring.clone();
    let visitor = thread::spawn(move || {
        let mut tx = theirs.sender(0);
        tx.try_send(1).unwrap();
        tx.leave();
    });
    let first = rx.try_recv();
    visitor.join().unwrap();
    if first == Err(Refused::Closed) {
        rx.leave();
        rx = ring.receiver(1);
    }
    if first != Ok(1) {
        assert_eq!(rx.try_recv(), Ok(1));
    }
    assert_eq!(rx.try_recv(), Err(Refused::Closed));
}

#[test]
fn spsc_no_item_lies_behind_the_end_of_file() {
    check_bounded("endings, spsc, another comes and goes", 2, another_comes_and_goes::<Spsc>);
}

#[test]
fn mpmc_no_item_lies_behind_the_end_of_file() {
    check_bounded("endings, mpmc, another comes and goes", 2, another_comes_and_goes::<Mpmc>);
}

/// The other receiver has claimed the only item, and dies with it, while `rx` comes to the end of
/// the file. Whoever attaches next gets the item, and then the end, if `rx` did not get them.
fn the_next_gets_both(ring: &Ring<Mpmc>, mut rx: Rx<Mpmc>, other: thread::JoinHandle<()>) {
    // For two items: it takes none, but for one that it adopts.
    let first = claim_now(&mut rx.end, 2, 2, &ring.locks);
    other.join().unwrap();
    rx.leave();
    let mut next = ring.receiver(0);
    next.end.check_liveness(&*ring.locks);
    assert_eq!(next.try_recv(), Ok(1), "after {first:?}");
    assert_eq!(next.try_recv(), Err(Refused::Closed), "after {first:?}");
}

/// C2, C8: a receiver finds one item, and then none, as another has claimed it.
#[test]
fn mpmc_no_item_that_another_claims_lies_behind_the_end_of_file() {
    check_bounded("endings, mpmc, another claims the last", 3, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let (rx, mut other) = (ring.receiver(1), ring.receiver(2));
        tx.try_send(1).unwrap();
        tx.leave();
        let claiming = thread::spawn(move || {
            claim_now(&mut other.end, 1, 1, &other.ring.locks).unwrap();
            other.die();
        });
        the_next_gets_both(&ring, rx, claiming);
    });
}

/// The same, as another adopts it: it is covered by one intent after the other.
#[test]
fn mpmc_no_item_that_another_adopts_lies_behind_the_end_of_file() {
    check_bounded("endings, mpmc, another adopts the last", 3, || {
        let ring = Ring::<Mpmc>::new(2, 4);
        let mut tx = ring.sender(0);
        let [rx, mut other, mut dead] = [1, 2, 3].map(|record| ring.receiver(record));
        tx.try_send(1).unwrap();
        tx.leave();
        claim_now(&mut dead.end, 1, 1, &dead.ring.locks).unwrap();
        dead.die();
        let adopting = thread::spawn(move || {
            other.end.check_liveness(&*other.ring.locks);
            other.die();
        });
        the_next_gets_both(&ring, rx, adopting);
    });
}

/// C8: a clone is made while a sender comes and goes. Both it and its original come to the end.
#[test]
fn a_clone_comes_to_the_end_as_its_original_does() {
    check_bounded("endings, clone", 2, || {
        let ring = Ring::<Mpmc>::new(1, 4);
        let mut rx = ring.receiver(0);
        ring.sender(1).leave();
        assert_eq!(rx.try_recv(), Err(Refused::Closed)); // that one is history
        let theirs = ring.clone();
        let visitor = thread::spawn(move || theirs.sender(1).leave());
        let mut clone = ring.receiver_like(&rx, 2);
        visitor.join().unwrap();
        assert_eq!(clone.try_recv(), Err(Refused::Closed));
        assert_eq!(rx.try_recv(), Err(Refused::Closed));
    });
}

/// An end that sees what was told last sees what was told before, too.
#[test]
fn what_was_told_before_is_seen_with_what_was_told_last() {
    check("endings, told", None, || {
        let told = Arc::new(Told::default());
        let theirs = told.clone();
        let (first, second) = (Record::of(1, 0), Record::of(2, 1));
        let telling = thread::spawn(move || {
            endings::tell(&theirs, first);
            endings::tell(&theirs, second);
        });
        let seen = endings::read(&told);
        assert!(seen.last != second || seen.before == first, "{seen:?}");
        telling.join().unwrap();
    });
}
