//! What an end makes of the endpoint table, by turns.

use super::*;
use crate::peers::reap::tests::sit;
use crate::peers::table;
use crate::ring::Mpmc;
use crate::ring::tests::Heap;

const NOBODY: fn() -> bool = || false;

/// An end of `role` attaches, and each time that it asks whether a peer lives, hears what it is
/// told.
fn attach(heap: &Heap<u64, Mpmc>, record: usize, role: Role, lives: [bool; 2]) -> Ends {
    let words = &heap.mem().words;
    let before = Ends::before(words, role, || lives[0]);
    sit(&heap.mem(), record, role);
    Ends::attach(words, role, before, || lives[1])
}

/// An end closes that has taken `record`.
fn leave(heap: &Heap<u64, Mpmc>, record: usize, owner: table::Owner, role: Role) {
    let words = &heap.mem().words;
    table::closed(words, role);
    table::leave(words, record, owner);
}

#[test]
fn a_peer_that_lived_before_or_after_the_record_was_taken_has_been_met() {
    for (lives, met) in [([false, false], false), ([true, false], true), ([false, true], true)] {
        let heap = Heap::<u64, Mpmc>::new(2, 3);
        sit(&heap.mem(), 0, Role::Receiver);
        let ends = attach(&heap, 1, Role::Sender, lives);
        assert_eq!(ends.met(), met, "{lives:?}");
    }
}

#[test]
fn a_peer_that_came_and_went_while_the_record_was_taken_has_been_met() {
    let heap = Heap::<u64, Mpmc>::new(2, 3);
    let words = &heap.mem().words;
    let before = Ends::before(words, Role::Sender, NOBODY);
    sit(&heap.mem(), 1, Role::Sender);
    let owner = sit(&heap.mem(), 0, Role::Receiver);
    leave(&heap, 0, owner, Role::Receiver);
    let mut ends = Ends::attach(words, Role::Sender, before, NOBODY);
    assert!(ends.met() && ends.gone(words));
}

#[test]
fn those_who_were_dead_when_this_end_came_are_not_there_for_it_however_the_table_changes() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let words = &heap.mem().words;
    sit(&heap.mem(), 0, Role::Receiver); // dead, and not reaped
    let mut ends = attach(&heap, 1, Role::Sender, [false; 2]);
    ends.require();
    assert!(ends.gone(words));
    sit(&heap.mem(), 2, Role::Sender); // the table changes
    assert!(!ends.present(words) && ends.gone(words));
    // One that lives comes: from then on a look at the table cannot tell.
    sit(&heap.mem(), 3, Role::Receiver);
    assert!(ends.present(words) && !ends.gone(words));
}

#[test]
fn a_receiver_has_met_senders_of_whose_end_nobody_was_told_and_a_sender_no_such_receivers() {
    let heap = Heap::<u64, Mpmc>::new(2, 3);
    let words = &heap.mem().words;
    for role in [Role::Sender, Role::Receiver] {
        let owner = sit(&heap.mem(), 0, role);
        leave(&heap, 0, owner, role);
    }
    assert!(!attach(&heap, 1, Role::Sender, [false; 2]).met());
    let mut first = attach(&heap, 2, Role::Receiver, [false; 2]);
    // (The sender that attached just now is dead, as far as the receiver was told.)
    assert!(first.met() && first.gone(words));
    assert!(first.told_closed(words, || true));
    assert_eq!(first.ending(words), Some(Ending::Died(1)), "it has not closed");
}

#[test]
fn an_end_that_attaches_compares_with_what_was_told_last_and_if_it_requires_a_peer_before_that() {
    let heap = Heap::<u64, Mpmc>::new(2, 6);
    let words = &heap.mem().words;
    // The first sender dies, and somebody is told of it.
    sit(&heap.mem(), 0, Role::Sender);
    let mut told = attach(&heap, 1, Role::Receiver, [false; 2]);
    assert!(told.gone(words) && told.told_closed(words, || true));
    assert_eq!(told.ending(words), Some(Ending::Died(1)));
    assert!(told.told_closed(words, || true));
    assert_eq!(told.ending(words), Some(Ending::Died(1)), "told again, of the same");
    let mut waits = attach(&heap, 2, Role::Receiver, [false; 2]);
    assert!(!waits.met() && !waits.gone(words));
    let mut requires = attach(&heap, 3, Role::Receiver, [false; 2]);
    requires.require();
    assert!(requires.gone(words) && requires.told_closed(words, || true));
    assert_eq!(requires.ending(words), Some(Ending::Died(1)));
    // The next sender closes.
    let owner = sit(&heap.mem(), 4, Role::Sender);
    assert_eq!(told.ending(words), None);
    leave(&heap, 4, owner, Role::Sender);
    for ends in [&mut waits, &mut told, &mut requires] {
        assert!(ends.present(words), "the dead one is still in the table");
        ends.opposite_gone();
        assert!(ends.gone(words) && ends.told_closed(words, || true));
        assert_eq!(ends.ending(words), Some(Ending::Closed));
    }
}

/// Whoever else comes while the sender asks.
#[test]
fn a_sender_is_not_told_of_receivers_that_had_died_before_it_came() {
    for role in [Role::Sender, Role::Receiver] {
        let heap = Heap::<u64, Mpmc>::new(2, 5);
        let words = &heap.mem().words;
        sit(&heap.mem(), 0, Role::Receiver); // dead
        let before = Ends::before(words, Role::Sender, NOBODY);
        sit(&heap.mem(), 1, Role::Sender);
        let mut came = None;
        let mut ends = Ends::attach(words, Role::Sender, before, || {
            came = Some(sit(&heap.mem(), 2, role));
            false
        });
        let receiver = if role == Role::Receiver { 2 } else { 3 };
        let owner = match role {
            Role::Sender => sit(&heap.mem(), receiver, Role::Receiver),
            Role::Receiver => came.expect("it has come"),
        };
        assert!(ends.present(words));
        leave(&heap, receiver, owner, Role::Receiver);
        ends.present(words);
        ends.opposite_gone(); // the dead one is still in the table
        assert!(ends.gone(words) && ends.told_closed(words, || true));
        assert_eq!(ends.ending(words), Some(Ending::Closed), "{role:?}");
    }
}

#[test]
fn what_is_told_for_one_alone_is_told_to_the_next_as_well() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let words = &heap.mem().words;
    let owner = sit(&heap.mem(), 0, Role::Sender);
    leave(&heap, 0, owner, Role::Sender);
    for (record, for_all, met) in [(1, false, true), (2, true, true), (3, true, false)] {
        let mut ends = attach(&heap, record, Role::Receiver, [false; 2]);
        assert_eq!(ends.gone(words), met);
        assert!(ends.told_closed(words, || for_all));
    }
}

#[test]
fn a_sender_that_requires_a_peer_is_not_told_of_receivers_that_had_died_before_it_came() {
    for others_were_told in [false, true] {
        let heap = Heap::<u64, Mpmc>::new(2, 3);
        let words = &heap.mem().words;
        let mut first = attach(&heap, 0, Role::Sender, [true; 2]);
        let dead = sit(&heap.mem(), 1, Role::Receiver);
        table::leave(words, 1, dead); // reaped
        if others_were_told {
            assert!(first.gone(words) && first.told_closed(words, || true));
            assert_eq!(first.ending(words), Some(Ending::Died(1)));
        }
        let mut second = attach(&heap, 2, Role::Sender, [false; 2]);
        second.require();
        assert!(second.gone(words) && second.told_closed(words, || true));
        assert_eq!(second.ending(words), Some(Ending::Closed), "{others_were_told}");
    }
}

#[test]
fn a_sender_that_finds_none_as_one_comes_and_goes_is_not_told_of_those_before() {
    let heap = Heap::<u64, Mpmc>::new(2, 3);
    let words = &heap.mem().words;
    let dead = sit(&heap.mem(), 0, Role::Receiver);
    table::leave(words, 0, dead); // reaped
    let visits = std::cell::Cell::new(0);
    let before = Ends::before(words, Role::Sender, || {
        visits.set(visits.get() + 1);
        if visits.get() == 1 {
            let owner = sit(&heap.mem(), 1, Role::Receiver);
            leave(&heap, 1, owner, Role::Receiver);
        }
        false
    });
    sit(&heap.mem(), 2, Role::Sender);
    let mut ends = Ends::attach(words, Role::Sender, before, NOBODY);
    ends.require();
    assert!(ends.gone(words) && ends.told_closed(words, || true));
    assert_eq!((visits.get(), ends.ending(words)), (2, Some(Ending::Closed)));
}

#[test]
fn an_end_is_not_told_while_another_peer_comes() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let words = &heap.mem().words;
    let mut ends = attach(&heap, 1, Role::Receiver, [false; 2]);
    let owner = sit(&heap.mem(), 0, Role::Sender);
    leave(&heap, 0, owner, Role::Sender);
    assert!(ends.gone(words));
    sit(&heap.mem(), 2, Role::Sender);
    assert!(!ends.told_closed(words, || true));
    assert_eq!(ends.ending(words), None);
}

#[test]
fn a_clone_knows_what_its_original_knows() {
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let words = &heap.mem().words;
    let owner = sit(&heap.mem(), 0, Role::Receiver);
    let original = attach(&heap, 1, Role::Sender, [true; 2]);
    leave(&heap, 0, owner, Role::Receiver);
    let mut stranger = attach(&heap, 2, Role::Sender, [false; 2]);
    assert!(!stranger.gone(words));
    stranger.learn(&original);
    assert!(stranger.gone(words));
}
