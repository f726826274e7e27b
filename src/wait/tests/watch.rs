//! The watch: who has a slot, who sleeps long, who hands over to whom, and whom they ask after.

use std::cell::RefCell;

use super::*;
use crate::peers::table::Name;
use crate::ring::control::{WATCH_SLOTS, Words};
use crate::wait::timer::LIVENESS_INTERVALS;
use crate::wait::watch::{self, Shift, Watch};

/// More receivers than there are slots.
const MANY: usize = WATCH_SLOTS + 4;

/// Receivers that are to wait, and whom they asked after.
struct Crowd {
    heap: Heap<u64, Mpmc>,
    names: Vec<Name>,
    dead: RefCell<Vec<usize>>,
    asked: RefCell<Vec<usize>>,
}

impl Crowd {
    fn new() -> Self {
        let heap = Heap::new(4, MANY as u32);
        let names = (0..MANY).map(|record| sit(&heap, record, Role::Receiver).name(record));
        let names = names.collect();
        Self { heap, names, dead: RefCell::default(), asked: RefCell::default() }
    }

    fn words(&self) -> Words {
        self.heap.mem().words
    }

    /// What is alive, as a wait asks for it.
    fn alive(&self) -> impl Fn(usize) -> bool {
        |record| {
            self.asked.borrow_mut().push(record);
            !self.dead.borrow().contains(&record)
        }
    }

    fn shift<'a>(
        &self,
        words: &'a Words,
        record: usize,
        alive: &'a dyn Fn(usize) -> bool,
    ) -> Shift<'a> {
        let word = WakeWord::new(&words.control.data);
        Shift::begin(Watch::new(words, Role::Receiver, self.names[record], alive), word)
    }

    /// Whom the slots name.
    fn slots(&self) -> Vec<u64> {
        let slots = &self.words().control.watch.receivers[..];
        slots.iter().map(|slot| slot.load(Relaxed)).collect()
    }

    fn set_slot(&self, slot: usize, name: u64) {
        self.words().control.watch.receivers[slot].store(name, Relaxed);
    }

    /// Whose long bits are set.
    fn long(&self) -> u64 {
        self.words().control.long_sleepers.receivers[0].load(Relaxed)
    }

    /// How often sleepers were turned back.
    fn epoch(&self) -> u32 {
        self.words().control.data.load(Relaxed)
    }

    fn asked(&self) -> Vec<usize> {
        self.asked.take()
    }
}

#[test]
fn eight_sleep_short_and_the_ninth_long_until_a_slot_is_free() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    let mut shifts: Vec<_> = (0..MANY).map(|record| crowd.shift(&words, record, &alive)).collect();
    let long: Vec<_> = shifts.iter_mut().map(Shift::sleeps_long).collect();
    assert_eq!(long, [[false; WATCH_SLOTS].as_slice(), &[true; 4]].concat());
    assert_eq!(crowd.long(), 0b1111 << WATCH_SLOTS);
    let names: Vec<_> = crowd.names.iter().map(|name| name.0).collect();
    assert_eq!(crowd.slots(), names[..WATCH_SLOTS]);

    // Again, after a wake: nothing changes.
    assert!(!shifts[0].sleeps_long() && shifts[WATCH_SLOTS].sleeps_long());
    let before = crowd.epoch();
    shifts.remove(3).end();
    assert_ne!(crowd.epoch(), before, "who is about to sleep long looks again");
    // The ninth, now the eighth of those that wait.
    assert!(!shifts[WATCH_SLOTS - 1].sleeps_long());
    assert_eq!(crowd.slots()[3], names[WATCH_SLOTS]);
    assert_eq!(crowd.long(), 0b1110 << WATCH_SLOTS);
    shifts.into_iter().for_each(Shift::end);
    assert_eq!((crowd.slots(), crowd.long()), (vec![0; WATCH_SLOTS], 0));
}

#[test]
fn who_sleeps_among_eight_sets_no_bit_asks_after_nobody_and_turns_nobody_back() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    let before = crowd.epoch();
    for record in 0..WATCH_SLOTS {
        assert!(!crowd.shift(&words, record, &alive).sleeps_long(), "and is killed there");
    }
    assert_eq!((crowd.long(), crowd.asked()), (0, vec![]));
    let mut again = crowd.shift(&words, 0, &alive);
    assert!(!again.sleeps_long(), "its name is there already");
    again.end();
    assert_eq!((crowd.epoch(), crowd.slots()[0]), (before, 0));
}

#[test]
fn one_that_stops_and_held_no_slot_owes_nothing() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    let mut shifts: Vec<_> = (0..MANY).map(|record| crowd.shift(&words, record, &alive)).collect();
    shifts.iter_mut().for_each(|shift| _ = shift.sleeps_long());
    let before = crowd.epoch();
    shifts.pop().expect("the last").end();
    assert_eq!(crowd.epoch(), before);
    assert_eq!(crowd.long(), 0b0111 << WATCH_SLOTS);
}

#[test]
fn the_first_watcher_asks_after_all_others_and_each_other_after_the_first() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    let mut shifts: Vec<_> =
        (0..=WATCH_SLOTS).map(|record| crowd.shift(&words, record, &alive)).collect();
    shifts.iter_mut().for_each(|shift| _ = shift.sleeps_long());
    assert_eq!(crowd.asked(), [0], "by the ninth, before its first long sleep");
    assert!(shifts[WATCH_SLOTS].sleeps_long());
    assert_eq!(crowd.asked(), [], "and not before the second");
    assert!(!shifts[0].check());
    assert_eq!(crowd.asked(), Vec::from_iter(1..WATCH_SLOTS));
    assert!(!shifts[5].check());
    assert_eq!(crowd.asked(), [0]);
    assert!(!shifts[WATCH_SLOTS].check(), "a long sleep is over");
    assert_eq!(crowd.asked(), Vec::from_iter(0..WATCH_SLOTS));

    // Two are dead, and are cleared by whoever asks after them; one of those who sleep long is
    // called.
    crowd.dead.borrow_mut().extend([0, 2]);
    let before = crowd.epoch();
    assert!(!shifts[5].check());
    assert_eq!((crowd.slots()[0], crowd.epoch()), (0, before + 4));
    assert!(!shifts[1].check(), "the first by now");
    assert_eq!((crowd.slots()[2], crowd.epoch()), (0, before + 8));
    assert!(!shifts[WATCH_SLOTS].sleeps_long());
    // There is a place left, and nobody to take it.
    assert!(!shifts[1].check());
    assert_eq!(crowd.epoch(), before + 8);
}

#[test]
fn one_that_finds_the_first_watcher_dead_takes_its_place() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    for record in 0..WATCH_SLOTS {
        crowd.shift(&words, record, &alive).sleeps_long();
    }
    crowd.dead.borrow_mut().extend(0..WATCH_SLOTS);
    let mut newcomer = crowd.shift(&words, WATCH_SLOTS, &alive);
    assert!(!newcomer.sleeps_long(), "though all places are taken");
    assert_eq!(crowd.long(), 0);
    // At its first check it asks after the others, and there is place for all.
    assert!(!newcomer.check());
    let mut expected = vec![0; WATCH_SLOTS];
    expected[0] = crowd.names[WATCH_SLOTS].0;
    assert_eq!(crowd.slots(), expected);

    // The same at the end of a long sleep.
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    for record in 0..WATCH_SLOTS {
        crowd.shift(&words, record, &alive).sleeps_long();
    }
    let mut long = crowd.shift(&words, WATCH_SLOTS, &alive);
    assert!(long.sleeps_long());
    crowd.dead.borrow_mut().push(0);
    assert!(long.check(), "it sleeps on only after having tried");
    assert!(!long.sleeps_long());
}

#[test]
fn names_that_make_no_sense_are_those_of_the_dead() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    let honest = crowd.names[1].0;
    let nonsense = [
        u64::MAX,
        1,                                // a sender
        honest & !3,                      // of no role
        honest & !3 | 3,                  // of no role
        honest + 4,                       // who came later
        honest ^ 4,                       // or before
        (MANY as u64) << 32 | honest & 7, // beyond the records
        1 << 63 | honest,                 // far beyond
    ];
    assert_eq!(nonsense.len(), WATCH_SLOTS);
    for (slot, name) in nonsense.into_iter().enumerate() {
        crowd.set_slot(slot, name);
    }
    let mut shift = crowd.shift(&words, 0, &alive);
    assert!(!shift.sleeps_long(), "it asks after the first");
    assert!(!shift.check());
    assert_eq!(crowd.asked(), [], "nobody can be asked about");
    assert_eq!(crowd.slots()[1..], [0; WATCH_SLOTS - 1]);

    // Whoever has its slot taken away takes another, or sleeps long.
    crowd.set_slot(0, 0);
    assert!(!shift.sleeps_long());
    for slot in 0..WATCH_SLOTS {
        crowd.set_slot(slot, honest);
    }
    assert!(shift.sleeps_long());
    crowd.set_slot(0, 0);
    assert!(!shift.sleeps_long());
    crowd.set_slot(0, honest);
    shift.end();
    assert_eq!(crowd.slots(), [honest; WATCH_SLOTS], "another's is left alone");
}

#[test]
fn the_bit_of_a_record_is_forgotten_and_no_other() {
    let crowd = Crowd::new();
    let words = crowd.words();
    let bits = &words.control.long_sleepers;
    bits.receivers[0].store(u64::MAX, Relaxed);
    bits.senders[0].store(u64::MAX, Relaxed);
    watch::forget(&words, Role::Receiver, 5);
    watch::forget(&words, Role::Receiver, 65); // has another word
    watch::forget(&words, Role::Receiver, usize::MAX);
    assert_eq!(crowd.long(), !(1 << 5));
    assert_eq!(bits.senders[0].load(Relaxed), u64::MAX);
}

/// A thread that sleeps at this word in this way, until something ends that; whether it was woken.
#[cfg(not(miri))] // it has no /proc to see them sleep
fn sleeper<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    raw: &'scope AtomicU32,
    long: bool,
    picky: bool,
) -> thread::ScopedJoinHandle<'scope, bool> {
    let (tell, told) = std::sync::mpsc::channel();
    let word = WakeWord::new(raw);
    let thread = scope.spawn(move || {
        tell.send(rustix::thread::gettid()).expect("it is asked for");
        let mut ticket = word.announce(picky, None);
        ticket.long = long;
        let too_long = now() + Duration::from_secs(60).as_nanos() as u64;
        word.sleep(ticket, too_long);
        now() < too_long
    });
    let tid = told.recv().expect("it tells").as_raw_nonzero();
    let asleep = || {
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"));
        let there = format!("{} {:#x} ", libc::SYS_futex, std::ptr::from_ref(raw).addr());
        call.is_ok_and(|call| call.starts_with(&there))
    };
    while !asleep() {
        assert!(!thread.is_finished(), "it does not sleep");
        thread::yield_now();
    }
    thread
}

#[test]
#[cfg(not(miri))]
fn a_hand_over_wakes_one_that_sleeps_long_and_passes_by_those_who_sleep_short() {
    for picky in [false, true] {
        let raw = &AtomicU32::new(0);
        let word = WakeWord::new(raw);
        thread::scope(|scope| {
            // The kernel wakes those first who have slept longest.
            let short = [false, picky].map(|picky| sleeper(scope, raw, false, picky));
            let long = [picky, picky].map(|picky| sleeper(scope, raw, true, picky));
            let [first, second] = long;
            word.hand_over();
            assert!(first.join().expect("no panic"), "the other bits keep it from being woken");
            assert!(!second.is_finished() && short.iter().all(|short| !short.is_finished()));
            // An item's wake is for all.
            word.wake_all();
            assert!(second.join().expect("no panic"));
            for short in short {
                assert!(short.join().expect("no panic"));
            }
        });
    }
}

#[test]
#[cfg(not(miri))]
fn a_prompt_wakes_one_or_all_of_those_who_wait_for_one_item_however_they_sleep() {
    let raw = &AtomicU32::new(0);
    let word = WakeWord::new(raw);
    thread::scope(|scope| {
        let picky = [false, true].map(|long| sleeper(scope, raw, long, true));
        let [first, second] = [true, false].map(|long| sleeper(scope, raw, long, false));
        let third = sleeper(scope, raw, true, false);
        word.prompt(false);
        assert!(first.join().expect("no panic"));
        assert!(!second.is_finished() && !third.is_finished());
        word.prompt(true);
        assert!(second.join().expect("no panic") && third.join().expect("no panic"));
        assert!(picky.iter().all(|picky| !picky.is_finished()));
        word.wake_all();
        for picky in picky {
            assert!(picky.join().expect("no panic"));
        }
    });
}

/// A receiver that waits for two items, or for a peer, finds one item at its check; beside it one
/// sleeps for which that would do, whose wake was lost with somebody's death.
#[test]
#[cfg(not(miri))]
fn a_check_that_finds_what_is_of_no_use_to_it_wakes_those_to_whom_it_is() {
    type Wait = fn(&mut Receiver<Mpmc>, &mut CheckOnce);
    let two_items: Wait = |rx, pace| {
        let waited = rx.end.claim_waiting(numbers(), 2, 2, pace, &Healthy);
        assert_eq!(waited, Err(Refused::Stopped(Stop::Timeout)));
    };
    let a_peer: Wait = |rx, pace| {
        let waited = rx.end.wait_for_peer(pace, &Deserted);
        assert_eq!(waited, Err(Stop::Timeout));
    };
    for (wait, items, leaves, wakes) in [
        (two_items, 1, false, true),
        (two_items, 0, false, false),
        (a_peer, 1, false, true),
        (a_peer, 0, false, false),
        (a_peer, 0, true, true), // the end of the file is nothing to one that waits for a peer
    ] {
        let heap = Heap::<u64, Mpmc>::new(4, 3);
        let words = &heap.mem().words;
        let mut tx = Sender::attach(&heap, 0);
        let mut rx = Receiver::attach(&heap, 1);
        (0..items).for_each(|value| tx.send(value).unwrap());
        if leaves {
            assert!(rx.end.ends.present(words));
            table::leave(words, tx.record, tx.owner);
        }
        thread::scope(|scope| {
            let other = sleeper(scope, &words.control.data, true, false);
            wait(&mut rx, &mut CheckOnce);
            if wakes {
                assert!(other.join().expect("no panic"));
            } else {
                assert!(!other.is_finished());
                WakeWord::new(&words.control.data).wake_all();
            }
        });
    }
}

/// Looks once, at a liveness check, and gives up.
#[cfg(not(miri))]
struct CheckOnce;

#[cfg(not(miri))]
impl Pace for CheckOnce {
    fn turn(&mut self) -> Turn {
        Turn::Look { check_due: true }
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        Some(Stop::Timeout)
    }
    fn sleep(&mut self, _: WakeWord<'_>, _: Ticket) -> bool {
        unreachable!("it does not sleep")
    }
}

/// All receivers live, and no sender.
#[cfg(not(miri))]
struct Deserted;

#[cfg(not(miri))]
impl Liveness for Deserted {
    fn alive(&self, role: Role, _: usize) -> Life {
        (role == Role::Receiver).into()
    }
    fn any_alive(&self, role: Role) -> Life {
        (role == Role::Receiver).into()
    }
    fn visitor_alive(&self) -> Life {
        Life::Dead
    }
    fn with_scratch<R>(&self, _: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        None // somebody else is recovering
    }
}

#[test]
fn only_ends_with_the_usual_interval_join_the_watch() {
    let mut waiting = Waiting::new();
    assert!(waiting.until(Deadline::NEVER).joins_watch());
    for millis in [1, 49, 51, 10_000] {
        waiting.timer.interval = Duration::from_millis(millis);
        assert!(!waiting.until(Deadline::NEVER).joins_watch(), "{millis} ms");
    }
}

#[test]
fn a_new_interval_counts_from_the_next_look_in_vain() {
    let mut waiting = Waiting::new();
    waiting.timer.set_interval(Duration::from_secs(10));
    assert!(!waiting.timer.looked_in_vain(1_000, false));
    waiting.timer.set_interval(Duration::from_millis(1));
    assert!(!waiting.timer.looked_in_vain(2_000, false));
    assert!(!waiting.timer.looked_in_vain(2_000 + 999_999, false));
    assert!(waiting.timer.looked_in_vain(2_000 + 1_000_000, false));
    let (shortest, longest) = LIVENESS_INTERVALS.into_inner();
    for (asked, given) in [(Duration::ZERO, shortest), (Duration::MAX, longest)] {
        waiting.timer.set_interval(asked);
        assert_eq!(waiting.timer.interval, given);
    }
}

#[test]
fn a_long_sleeper_checks_after_ten_intervals_and_at_once_if_it_is_to_watch() {
    const INTERVAL: u64 = 50_000_000;
    let mut waiting = Waiting::new();
    for began in [7_000_000, 5_000_000_000] {
        assert!(!waiting.timer.looked_in_vain(began, true));
        // At a multiple of 5 ms.
        let due = (began + 10 * INTERVAL) / 5_000_000 * 5_000_000;
        assert_eq!(waiting.timer.next_check(true), due);
        assert_eq!(waiting.timer.next_check(false), began + INTERVAL);
        for at in [began + INTERVAL, due - 1] {
            assert!(!waiting.timer.looked_in_vain(at, true), "{at}");
        }
        assert!(waiting.timer.looked_in_vain(due, true));
        assert_eq!(waiting.timer.next_check(false), due + INTERVAL);
        // Woken to take a slot after more than an interval.
        assert!(waiting.timer.looked_in_vain(due + INTERVAL, false));
        waiting.timer.looked_well();
    }
}

/// Counts, and gives up after some sleeps.
struct Sleeps {
    left: u32,
    long: Vec<bool>,
    check_due: bool,
}

impl Pace for Sleeps {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        (self.left == 0).then_some(Stop::Timeout)
    }
    fn joins_watch(&self) -> bool {
        true
    }
    fn sleep(&mut self, _: WakeWord<'_>, ticket: Ticket) -> bool {
        self.left -= 1;
        self.long.push(ticket.long);
        self.check_due
    }
}

#[test]
fn a_wait_takes_part_in_the_watch_and_leaves_it_however_it_ends() {
    let crowd = Crowd::new();
    let (words, alive) = (crowd.words(), crowd.alive());
    let wait = |record: usize, found: Option<u32>| {
        let mut pace = Sleeps { left: 3, long: vec![], check_due: true };
        let watch = Watch::new(&words, Role::Receiver, crowd.names[record], &alive);
        let word = WakeWord::new(&words.control.data);
        let waiter = Waiter { watch: Some(watch), ..waiter(word, true) };
        let mut looks = 0;
        let outcome = block(waiter, &mut pace, |_| {
            looks += 1;
            assert!(crowd.slots().contains(&crowd.names[record].0) || crowd.long() != 0);
            (Some(looks) == found).then_some(())
        });
        assert_eq!(outcome.is_ok(), found.is_some());
        assert_eq!((crowd.slots()[0], crowd.long()), (0, 0));
        pace.long
    };
    assert_eq!(wait(0, None), [false; 3]);
    assert_eq!(wait(0, Some(1)), []);
    assert_eq!(wait(0, Some(3)), [false; 2]);
    assert_eq!(crowd.asked(), []);
    // Where others watch.
    for slot in 1..WATCH_SLOTS {
        crowd.set_slot(slot, crowd.names[slot].0);
    }
    crowd.set_slot(0, crowd.names[MANY - 1].0);
    let mut pace = Sleeps { left: 3, long: vec![], check_due: true };
    let watch = Watch::new(&words, Role::Receiver, crowd.names[0], &alive);
    let waiter = Waiter { watch: Some(watch), ..waiter(WakeWord::new(&words.control.data), true) };
    let outcome = block(waiter, &mut pace, |_| {
        // It is about to sleep long, having found one that watches.
        if crowd.long() & 1 != 0 {
            crowd.dead.borrow_mut().push(MANY - 1);
        }
        None::<()>
    });
    assert_eq!(outcome, Err(Stop::Timeout));
    // Long, and then it finds at its check that there is a place for it.
    assert_eq!(pace.long, [true, false, false]);
}
