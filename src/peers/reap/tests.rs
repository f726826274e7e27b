//! Reap passes on heap memory, with a liveness that says what it is told to.

use std::cell::{Cell, RefCell};

use super::*;
use crate::ring::tests::{Heap, numbers};
use crate::ring::{Mpmc, RecvCursor, SendCursor};

/// Says that these are alive, and counts how often he is asked about one.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) alive: RefCell<Vec<(Role, usize)>>,
    asked: Cell<u32>,
    /// Somebody else is recovering.
    busy: bool,
}

impl Liveness for Told {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.asked.set(self.asked.get() + 1);
        self.alive.borrow().contains(&(role, record)).into()
    }
    fn any_alive(&self, role: Role) -> Life {
        self.alive.borrow().iter().any(|(of, _)| *of == role).into()
    }
    fn visitor_alive(&self) -> Life {
        Life::Dead
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        (!self.busy).then(|| work(&mut Scratch::for_records(32)))
    }
}

/// Somebody without a record.
pub(crate) const ME: Name = Name(1 << 2 | 3);

pub(crate) fn reap_pass<K: Kind>(
    mem: &Mem<K>,
    role: Role,
    liveness: &impl Liveness,
    adopter: Option<&mut K::Recv>,
) -> Findings {
    super::reap_pass(mem, role, ME, liveness, adopter)
}

pub(crate) fn told(alive: &[(Role, usize)]) -> Told {
    Told { alive: RefCell::new(alive.to_vec()), asked: Cell::new(0), busy: false }
}

pub(crate) fn sit<K: Kind>(mem: &Mem<K>, record: usize, role: Role) -> Owner {
    let owner = table::take(&mem.words.owners[record], role, 1, true).expect("nobody else comes");
    table::arrived(&mem.words, role);
    owner
}

/// A sender on record 0 has published so many values, or given so many slots up.
pub(crate) fn filled(heap: &Heap<u64, Mpmc>, slots: u64, values: u64) {
    let mem = heap.mem();
    let mut cursor = <Mpmc as Kind>::Send::attach(&mem, 0).unwrap();
    let run = cursor.claim(mem.kept(), slots, slots).unwrap();
    for index in 0..values {
        mem.view(numbers()).write(run.at + index, &index);
    }
    cursor.publish(mem.kept(), run, values);
}

/// A receiver sits down on `record`, claims `items` items, and says no more.
pub(crate) fn dead_receiver<T: Copy, K: Kind>(
    heap: &Heap<T, K>,
    record: usize,
    items: u64,
) -> Owner {
    let mem = heap.mem();
    let owner = sit(&mem, record, Role::Receiver);
    let mut cursor = K::Recv::attach(&mem, record).unwrap();
    assert_eq!(cursor.claim(mem.kept(), items, items).unwrap().items, items);
    owner
}

/// How often all sleepers for data have been woken, or the like.
fn wakes(mem: &Mem<Mpmc>) -> u32 {
    mem.words.control.data.load(Relaxed)
}

#[test]
fn an_answer_is_of_the_end_that_was_asked_for_not_of_its_successor_in_the_other_role() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let mem = heap.mem();
    let liveness = told(&[(Role::Sender, 1)]);
    let mut scratch = Scratch::for_records(2);
    let answers = Answers::new(&mem.words, &liveness, &mut scratch);
    sit(&mem, 1, Role::Sender);
    assert!(!answers.alive(Role::Receiver, 1), "it has left");
    assert!(answers.alive(Role::Sender, 1));
}

#[test]
fn a_peer_sits_on_the_table_and_is_alive_and_has_left_no_abandoned_claim() {
    let heap = Heap::<u64, Mpmc>::new(2, 3);
    let mem = heap.mem();
    let alive = |liveness: &Told| peer_alive(&mem.words, Role::Receiver, liveness);
    // It has its lock, and takes its record next.
    assert!(!alive(&told(&[(Role::Receiver, 1)])));
    let owner = sit(&mem, 1, Role::Receiver);
    assert!(alive(&told(&[(Role::Receiver, 1)])));
    assert!(!alive(&told(&[])));
    assert!(!alive(&told(&[(Role::Receiver, 2)])), "the one is dead, the other not there yet");
    assert!(!alive(&told(&[(Role::Sender, 1)])));
    assert!(!peer_alive(&mem.words, Role::Sender, &told(&[(Role::Sender, 1)])));
    table::abandon(&mem.words, 1, owner);
    assert!(!alive(&told(&[(Role::Receiver, 1)])), "nobody sits there");
}

#[test]
fn a_answer_is_asked_for_once_and_of_nobody_else() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let mem = heap.mem();
    let liveness = told(&[]);
    let mut scratch = Scratch::for_records(2);
    let answers = Answers::new(&mem.words, &liveness, &mut scratch);
    assert!(!answers.alive(Role::Receiver, 1) && liveness.asked.get() == 0, "nobody is there");
    sit(&mem, 1, Role::Receiver);
    assert!(!answers.alive(Role::Receiver, 1) && !answers.alive(Role::Receiver, 1));
    assert_eq!(liveness.asked.get(), 1);
    // Somebody else comes to that record.
    liveness.alive.borrow_mut().push((Role::Receiver, 1));
    sit(&mem, 1, Role::Receiver);
    assert!(answers.alive(Role::Receiver, 1) && answers.alive(Role::Receiver, 1));
    assert_eq!(liveness.asked.get(), 2);
}

#[test]
fn a_reap_pass_does_the_first_whatever_it_costs_and_then_what_is_reasonable() {
    let most = Efforts::REASONABLE;
    let mut efforts = Efforts(0);
    assert!(efforts.allow(2 * most) && !efforts.exhausted());
    assert!(!efforts.allow(0) && efforts.exhausted());

    let mut efforts = Efforts(0);
    assert!(efforts.allow(1) && efforts.allow(most / 2) && efforts.allow(most / 2 - 1));
    assert!(!efforts.exhausted());
    assert!(!efforts.allow(1) && efforts.exhausted());
    assert!(most > 1000);
}

#[test]
fn what_a_dead_receiver_held_is_an_abandoned_claim_until_there_is_an_adopter_and_all_are_told_once()
{
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let mem = heap.mem();
    filled(&heap, 3, 3);
    dead_receiver(&heap, 1, 2);
    let record = || table::owner(&mem.words.owners[1]);
    let liveness = told(&[]);

    let before = wakes(&mem);
    let findings = reap_pass(&mem, Role::Sender, &liveness, None);
    assert!(findings.pending && !findings.opposite_alive);
    assert!(record().is_some_and(|(found, _)| found.is_abandoned()));
    assert_ne!(wakes(&mem), before, "who waits for receivers need not wait for this one");

    let before = wakes(&mem);
    assert!(reap_pass(&mem, Role::Sender, &liveness, None).pending);
    assert_eq!(wakes(&mem), before, "nothing is new");

    sit(&mem, 2, Role::Receiver);
    let mut adopter = <Mpmc as Kind>::Recv::attach(&mem, 2).unwrap();
    let liveness = told(&[(Role::Receiver, 2)]);
    let findings = reap_pass(&mem, Role::Receiver, &liveness, Some(&mut adopter));
    assert!(!findings.pending);
    assert_ne!(wakes(&mem), before);
    for at in 0..2 {
        let run = adopter.claim(mem.kept(), 1, 4).unwrap();
        assert_eq!((run.at, run.items, run.again), (at, 1, 1), "one at a time");
        adopter.release(mem.kept(), run, 1);
    }
    // Its record is free once what it had claimed is.
    assert!(!reap_pass(&mem, Role::Receiver, &liveness, None).pending);
    assert_eq!(record(), None);
}

#[test]
fn what_an_adopter_cannot_take_at_once_is_pending_for_the_next_pass() {
    let heap = Heap::<u64, Mpmc>::new(4, 4);
    let mem = heap.mem();
    filled(&heap, 3, 3);
    dead_receiver(&heap, 1, 3);
    // One that is about to lose the race for the second item.
    sit(&mem, 2, Role::Receiver);
    recovery::adopt(&mem.words, 2, Run { at: 1, slots: 1, items: 0, again: 0 });
    sit(&mem, 3, Role::Receiver);
    let mut adopter = <Mpmc as Kind>::Recv::attach(&mem, 3).unwrap();
    let liveness = told(&[(Role::Receiver, 2), (Role::Receiver, 3)]);
    assert!(reap_pass(&mem, Role::Receiver, &liveness, Some(&mut adopter)).pending);
    let run = adopter.claim(mem.kept(), 1, 4).unwrap();
    assert_eq!((run.at, run.items), (0, 1));
    adopter.release(mem.kept(), run, 1);
    mem.words.records[2].intent.store(0, Relaxed);
    assert!(!reap_pass(&mem, Role::Receiver, &liveness, Some(&mut adopter)).pending);
    for at in 1..3 {
        let run = adopter.claim(mem.kept(), 1, 4).unwrap();
        assert_eq!((run.at, run.items), (at, 1));
        adopter.release(mem.kept(), run, 1);
    }
}

#[test]
fn more_runs_than_one_pass_discards_are_left_to_the_next_and_what_it_did_is_told() {
    const ITEMS: u64 = 4 * DISCARDS as u64;
    let heap = Heap::<u64, Mpmc>::new(ITEMS, 2);
    let mem = Mem { drop_unreleased: true, ..heap.mem() };
    filled(&heap, ITEMS, ITEMS);
    dead_receiver(&heap, 1, ITEMS);
    // Every other item was released: no honest end does that.
    for at in (0..ITEMS).step_by(2) {
        <Mpmc as Kind>::Recv::discard(&mem, Run { at, slots: 1, items: 1, again: 0 });
    }
    let liveness = told(&[]);
    let mut told_of = wakes(&mem);
    for pass in 1..=2 {
        assert!(reap_pass(&mem, Role::Sender, &liveness, None).pending);
        let dropped = mem.words.control.tally.dropped.load(Relaxed);
        assert_eq!(dropped, pass * u64::from(DISCARDS));
        assert_ne!(wakes(&mem), told_of, "there is room");
        told_of = wakes(&mem);
    }
    assert!(!reap_pass(&mem, Role::Sender, &liveness, None).pending);
    assert!(table::owner(&mem.words.owners[1]).is_none());
}

#[test]
fn a_record_that_another_end_has_by_now_is_left_to_it() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let mem = heap.mem();
    let liveness = told(&[]);
    let mut scratch = Scratch::for_records(2);
    let answers = Answers::new(&mem.words, &liveness, &mut scratch);
    let first = sit(&mem, 1, Role::Receiver);
    assert!(table::leave(&mem.words, 1, first));
    let second = sit(&mem, 1, Role::Receiver);
    for (owner, replaced) in [(first, true), (second, false)] {
        let efforts = &mut Efforts(0);
        let reaped = reap(&mem, 1, owner, Role::Receiver, &answers, &mut None, efforts);
        assert_eq!((reaped.changed, reaped.pending, reaped.replaced), (true, false, replaced));
        let there = table::owner(&mem.words.owners[1]).map(|(owner, _)| owner);
        assert_eq!(there, replaced.then_some(second));
    }
}

#[test]
fn the_dead_sleep_no_more() {
    let heap = Heap::<u64, Mpmc>::new(2, 3);
    let mem = heap.mem();
    let sleepers = &mem.words.control.long_sleepers;
    for role in [Role::Sender, Role::Receiver] {
        sit(&mem, 1, role);
        for of in [Role::Sender, Role::Receiver] {
            sleepers.of(of)[0].store(0b111, Relaxed);
        }
        reap_pass(&mem, role.opposite(), &told(&[]), None);
        assert_eq!(sleepers.of(role)[0].load(Relaxed), 0b101);
        assert_eq!(sleepers.of(role.opposite())[0].load(Relaxed), 0b111);
    }
}

#[test]
fn holes_that_a_dead_receiver_was_freeing_are_nobodys_abandoned_claim() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let mem = heap.mem();
    filled(&heap, 2, 0);
    sit(&mem, 1, Role::Receiver);
    // As if it had been killed between claiming the holes and freeing them.
    let run = Run { at: 0, slots: 2, items: 0, again: 0 };
    recovery::adopt(&mem.words, 1, run);
    mem.words.control.head.store(2, Relaxed);
    let before = wakes(&mem);
    assert!(!reap_pass(&mem, Role::Sender, &told(&[]), None).pending);
    assert_eq!(table::owner(&mem.words.owners[1]), None);
    assert_ne!(wakes(&mem), before);
    filled(&heap, 4, 4);
}

#[test]
fn a_newcomer_without_a_record_succeeds_to_an_abandoned_claim_that_is_to_be_kept() {
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    filled(&heap, 2, 2);
    let owner = dead_receiver(&heap, 1, 2);
    let liveness = told(&[]);
    let succeed =
        |mem: &Mem<Mpmc>| succeed(mem, ME, &liveness, Some).expect("nobody else is at it");
    assert!(succeed(&heap.mem()).is_none(), "no abandoned claim yet");
    table::abandon(&heap.mem().words, 1, owner);
    let dropping = Mem { drop_unreleased: true, ..heap.mem() };
    assert!(succeed(&dropping).is_none(), "nothing to adopt");
    let (record, run) = succeed(&heap.mem()).expect("an abandoned claim");
    assert_eq!((record, run.at, run.items), (1, 0, 2));

    // One of nothing but holes is for a reap pass: who took it would wait for its items.
    let heap = Heap::<u64, Mpmc>::new(4, 2);
    let mem = heap.mem();
    filled(&heap, 2, 0);
    let owner = sit(&mem, 1, Role::Receiver);
    recovery::adopt(&mem.words, 1, Run { at: 0, slots: 2, items: 0, again: 0 });
    mem.words.control.head.store(2, Relaxed);
    table::abandon(&mem.words, 1, owner);
    assert!(succeed(&mem).is_none());
}

#[test]
fn records_of_the_dead_are_cleared_for_who_wants_one_unless_somebody_else_is_at_it() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let mem = heap.mem();
    sit(&mem, 0, Role::Sender);
    sit(&mem, 1, Role::Receiver);
    let mut liveness = told(&[(Role::Sender, 0)]);
    liveness.busy = true;
    assert!(!reap_for_record(&mem, ME, &liveness));
    liveness.busy = false;
    assert!(reap_for_record(&mem, ME, &liveness));
    assert!(table::owner(&mem.words.owners[0]).is_some(), "who lives stays");
    assert!(table::owner(&mem.words.owners[1]).is_none());
}

#[test]
fn what_can_be_settled_of_a_dead_senders_claim_is_and_all_are_told() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let mem = heap.mem();
    let intends = |record, at, slots| {
        recovery::adopt(&mem.words, record, Run { at, slots, items: 0, again: 0 });
    };
    // Two slots are claimed; the second of them by the one or the other.
    sit(&mem, 0, Role::Sender);
    sit(&mem, 1, Role::Sender);
    mem.words.control.tail.at.store(2, Relaxed);
    intends(0, 0, 2);
    intends(1, 1, 1);
    let liveness = told(&[(Role::Sender, 1)]);
    let before = wakes(&mem);
    let pending = || reap_pass(&mem, Role::Receiver, &liveness, None).pending;
    assert!(pending());
    let after = wakes(&mem);
    assert_ne!(after, before, "there is a hole that a receiver can pass over");
    assert!(pending());
    assert_eq!(wakes(&mem), after, "nothing is new");
    assert!(table::owner(&mem.words.owners[1]).is_some(), "who lives is not reaped");
    assert_ne!(heap.intent(1), 0);
    liveness.alive.borrow_mut().clear();
    assert!(!pending());
    assert_ne!(wakes(&mem), after);
    assert!((0..2).all(|record| table::owner(&mem.words.owners[record]).is_none()));
}

#[test]
fn one_question_is_asked_while_somebody_opposite_lives_and_nothing_is_claimed() {
    let heap = Heap::<u64, Mpmc>::new(4, 3);
    let mem = heap.mem();
    sit(&mem, 0, Role::Sender);
    sit(&mem, 1, Role::Sender);
    sit(&mem, 2, Role::Receiver);
    let liveness = told(&[(Role::Sender, 0)]);
    assert!(reap_pass(&mem, Role::Receiver, &liveness, None).opposite_alive);
    assert_eq!(liveness.asked.get(), 0, "beside that for any");
    assert!(!reap_pass(&mem, Role::Sender, &liveness, None).opposite_alive);
    assert_eq!(liveness.asked.get(), 1, "about the one who sits there");
}

/// Of whose claim it cannot be asked whether it lives.
struct Silent(Told);

impl Liveness for Silent {
    fn alive(&self, _: Role, _: usize) -> Life {
        Life::Unknown
    }
    fn any_alive(&self, role: Role) -> Life {
        self.0.any_alive(role)
    }
    fn visitor_alive(&self) -> Life {
        self.0.visitor_alive()
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        self.0.with_scratch(work)
    }
}

#[test]
fn who_cannot_be_asked_after_is_not_dead_and_that_is_told() {
    let heap = Heap::<u64, Mpmc>::new(8, 4);
    filled(&heap, 4, 4);
    dead_receiver(&heap, 2, 1);
    sit(&heap.mem(), 1, Role::Sender);
    let silent = Silent(told(&[(Role::Sender, 1)]));
    let findings = reap_pass(&heap.mem(), Role::Receiver, &silent, None);
    assert!(findings.lost && findings.claims && findings.opposite_alive);
    assert!(table::owner(&heap.mem().words.owners[2]).is_some(), "it sits where it sat");
    // An answer that is had is none that is missing.
    let asked = reap_pass(&heap.mem(), Role::Receiver, &silent.0, None);
    assert!(!asked.lost && asked.claims);
}
