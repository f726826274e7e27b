//! Whose turn it is, with a liveness that says what it is told to.

use std::cell::Cell;

use super::*;
use crate::peers::reap::tests::sit;
use crate::ring::Mpmc;
use crate::ring::tests::Heap;

/// What there is to ask, and how often it was.
struct Told {
    ends: Life,
    visitor: Life,
    asked: Cell<u32>,
    /// Another thread of this process recovers.
    busy: bool,
}

fn told(ends: Life, visitor: Life) -> Told {
    Told { ends, visitor, asked: Cell::new(0), busy: false }
}

impl Liveness for Told {
    fn alive(&self, _: Role, _: usize) -> Life {
        self.asked.set(self.asked.get() + 1);
        self.ends
    }
    fn any_alive(&self, _: Role) -> Life {
        unreachable!("nobody wants to know")
    }
    fn visitor_alive(&self) -> Life {
        self.asked.set(self.asked.get() + 1);
        self.visitor
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        (!self.busy).then(|| work(&mut Scratch::for_records(2)))
    }
}

/// A ring with a receiver in each record, and their names.
fn ring() -> (Heap<u64, Mpmc>, [Name; 2]) {
    let heap = Heap::new(2, 2);
    let names = [0, 1].map(|record| sit(&heap.mem(), record, Role::Receiver).name(record));
    (heap, names)
}

/// With `named` in the word: whether `me` has a turn, in which its own name stands there.
fn has_a_turn(heap: &Heap<u64, Mpmc>, named: u64, me: Name, liveness: &Told) -> bool {
    let words = heap.mem().words;
    let word = &words.control.recovery.word;
    word.store(named, Relaxed);
    let turn = recover(&words, me, liveness, |_| assert_eq!(word.load(Relaxed), me.0));
    assert_eq!(word.load(Relaxed), if turn.is_some() { 0 } else { named });
    turn.is_some()
}

#[test]
fn an_end_that_lives_or_may_live_has_its_turn_alone_and_a_dead_one_has_none() {
    let (heap, [me, other]) = ring();
    assert!(has_a_turn(&heap, 0, me, &told(Life::Alive, Life::Alive)));
    for (life, turn) in [(Life::Alive, false), (Life::Unknown, false), (Life::Dead, true)] {
        let liveness = told(life, Life::Alive);
        assert_eq!(has_a_turn(&heap, other.0, me, &liveness), turn, "{life:?}");
        assert_eq!(liveness.asked.get(), 1);
    }
    // Its record was taken again: nobody is asked.
    sit(&heap.mem(), 1, Role::Sender);
    let liveness = told(Life::Alive, Life::Alive);
    assert!(has_a_turn(&heap, other.0, me, &liveness));
    assert_eq!(liveness.asked.get(), 0);
}

#[test]
fn a_name_that_nobody_has_keeps_nobody_from_recovering() {
    let (heap, [me, other]) = ring();
    let liveness = told(Life::Alive, Life::Alive);
    let no_record = Name(other.0 & 0xffff_ffff | 2 << 32);
    let no_role = Name(other.0 & !ROLE);
    for name in [me, no_record, no_role, Name(u64::MAX - 1)] {
        assert!(has_a_turn(&heap, name.0, me, &liveness), "{name:x?}");
    }
    assert_eq!(liveness.asked.get(), 0);
}

#[test]
fn a_visitor_is_dead_when_another_has_come_or_its_byte_is_free() {
    let (heap, [me, _]) = ring();
    let words = heap.mem().words;
    let visits = &words.control.recovery.visits;
    // Also where the count, or what a name tells of it, begins anew.
    for before in [0, 7, (1 << 61) - 1, (1 << 62) - 2, (1 << 62) - 1, u64::MAX - 1, u64::MAX] {
        visits.store(before, Relaxed);
        let visitor = begin_visit(&words);
        assert_ne!(visitor.0, 0);
        assert_eq!(visits.load(Relaxed), before.wrapping_add(1));
        for (life, turn) in [(Life::Alive, false), (Life::Unknown, false), (Life::Dead, true)] {
            assert_eq!(has_a_turn(&heap, visitor.0, me, &told(Life::Alive, life)), turn);
        }
        let older = Name((before << VISIT) | VISITOR);
        let alive = told(Life::Alive, Life::Alive);
        assert!(has_a_turn(&heap, older.0, me, &alive), "another has come since");
        assert_eq!(alive.asked.get(), 0);
        // Whoever reads an older count than the name's takes nobody for dead by it.
        visits.store(before, Relaxed);
        assert!(!has_a_turn(&heap, visitor.0, me, &alive));
    }
}

#[test]
fn whoever_holds_the_byte_takes_every_other_visitor_for_dead_and_no_end() {
    let (heap, [end, _]) = ring();
    let words = heap.mem().words;
    let [before, me] = [(); 2].map(|()| begin_visit(&words));
    let liveness = told(Life::Alive, Life::Alive);
    let scribbled = Name(u64::MAX);
    for other in [before, me, scribbled] {
        assert!(has_a_turn(&heap, other.0, me, &liveness));
    }
    assert_eq!(liveness.asked.get(), 0);
    assert!(!has_a_turn(&heap, end.0, me, &liveness));
}

#[test]
fn while_another_thread_recovers_the_word_is_left_alone_whatever_it_says() {
    let (heap, [me, _]) = ring();
    let busy = Told { busy: true, ..told(Life::Dead, Life::Dead) };
    assert!(!has_a_turn(&heap, 0, me, &busy));
}

#[test]
fn a_turn_that_ends_in_a_panic_is_over() {
    let (heap, [me, other]) = ring();
    let words = heap.mem().words;
    let turn = std::panic::AssertUnwindSafe(|| {
        recover(&words, me, &told(Life::Alive, Life::Alive), |_| panic!("in its turn"))
    });
    assert!(std::panic::catch_unwind(turn).is_err());
    assert_eq!(words.control.recovery.word.load(Relaxed), 0);

    // What another has made of the word meanwhile is left to that one.
    let word = &words.control.recovery.word;
    recover(&words, me, &told(Life::Alive, Life::Alive), |_| word.store(other.0, Relaxed));
    assert_eq!(word.load(Relaxed), other.0);
}

/// Two ends of one process: a flag of its own sees to it that they do not share what they work
/// with.
#[cfg(not(miri))]
#[test]
fn of_two_ends_of_one_process_one_recovers_whatever_the_region_says() {
    let ring = crate::Ring::<u64, Mpmc>::options().endpoints(2).create_anonymous().unwrap();
    ring.raw()
        .with_scratch(|scratch| {
            assert_eq!(scratch.known.len(), 2);
            assert!(scratch.stretches.capacity() >= 4);
            assert_eq!(ring.raw().with_scratch(|_| ()), None);
            assert_eq!(ring.clone().raw().with_scratch(|_| ()), None);
        })
        .expect("nobody else");
    let panics =
        std::panic::AssertUnwindSafe(|| ring.raw().with_scratch(|_| panic!("in its turn")));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(ring.raw().with_scratch(|_| ()).is_some());
}
