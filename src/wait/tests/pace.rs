//! The pace of a wait: clock, budget, checks, and how long it sleeps.

use super::*;
#[cfg_attr(miri, allow(unused_imports))]
use crate::wait::pace::{
    BRIEF_SLEEP, CROWDED_TURNS, FEWEST_TURNS, FEWEST_WARY, MOST_TURNS, MOST_WARY, MOST_YIELDS,
    NOBODY_RAN, SHORT_SLEEP, make_way_for_others, many_processors,
};

#[test]
fn one_who_only_spins_never_sleeps_however_long_it_has_spun() {
    let mut waiting = Waiting::new();
    waiting.policy = WaitPolicy::Spin;
    let mut watch = waiting.until(Deadline::NEVER);
    watch.turns = u32::MAX - 200;
    for _ in 0..20 {
        assert_ne!(watch.turn(), Turn::Sleep);
    }
}

#[test]
fn the_clock_is_that_of_the_futex() {
    let monotonic = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let before = monotonic();
    let between = Duration::from_nanos(now());
    assert!(before <= between && between <= monotonic());
}

#[test]
fn the_machines_processors_are_counted_not_this_threads() {
    if cfg!(miri) {
        return; // it has a machine of its own
    }
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("on Linux");
    assert_eq!(many_processors(), online.trim() != "0");
}

#[test]
fn a_check_is_due_an_interval_after_the_first_look_in_vain_and_at_each_interval_from_then_on() {
    let mut waiting = Waiting::new();
    waiting.timer.interval = Duration::from_millis(1);
    for began in [5_000_000, 50_000_000] {
        let looks = [0, 999_999, 1_000_000, 1_000_001, 1_999_999, 2_000_000];
        let checks = looks.map(|later| waiting.timer.looked_in_vain(began + later, false));
        assert_eq!(checks, [false, false, true, false, false, true], "from {began} on");
        waiting.timer.looked_well();
    }
    // The same of tries, by the clock.
    waiting.timer.interval = Duration::ZERO;
    assert!(!waiting.tried_in_vain());
    assert!(waiting.tried_in_vain());
}

/// What a wait does from its beginning on, until it would sleep. Nobody else wants the processor.
fn turns(waiting: &mut Waiting, many: bool, most: usize) -> Vec<Turn> {
    let mut watch = waiting.until(Deadline::NEVER);
    watch.many = many;
    watch.make_way_for_others = || NOBODY_RAN;
    (0..most).map(|_| watch.turn()).take_while(|turn| *turn != Turn::Sleep).collect()
}

#[test]
fn who_waits_spins_as_its_policy_and_the_machine_allow() {
    let (spin, look) = (Turn::Spin(64), Turn::Look { check_due: false });
    let mut waiting = Waiting::new();
    waiting.timer.interval = Duration::from_secs(10_000); // no check is due
    waiting.budget = FEWEST_TURNS;
    assert_eq!(turns(&mut waiting, true, 100), [spin, look].repeat(4));
    assert_eq!(turns(&mut waiting, false, 100), [], "the other cannot run meanwhile");
    waiting.policy = WaitPolicy::Park;
    assert_eq!(turns(&mut waiting, true, 100), []);
    waiting.policy = WaitPolicy::Spin;
    assert_eq!(turns(&mut waiting, true, 100), [spin, look].repeat(50));
    assert_eq!(turns(&mut waiting, false, 100), [look].repeat(100));
    let mut watch = waiting.until(Deadline::NEVER);
    watch.many = true;
    watch.poll_at_most(4);
    assert_eq!(watch.turn(), Turn::Spin(4));
    assert_eq!(watch.turns, 4, "no more is charged than was spun");
}

#[test]
fn who_would_spin_for_only_a_moment_does_not_begin_by_spinning() {
    let mut waiting = Waiting::new();
    let many = many_processors();
    for (policy, budget, spins) in [
        (WaitPolicy::Spin, CROWDED_TURNS, many),
        (WaitPolicy::Park, MOST_TURNS, false),
        (WaitPolicy::Adaptive, CROWDED_TURNS, false),
        (WaitPolicy::Adaptive, FEWEST_TURNS, many),
        (WaitPolicy::Adaptive, MOST_TURNS, many),
    ] {
        (waiting.policy, waiting.budget) = (policy, budget);
        assert_eq!(waiting.spins(), spins, "{policy:?}, {budget} turns");
    }
}

#[test]
fn spinning_that_was_of_use_is_done_for_longer_and_in_vain_for_half_as_long() {
    let mut waiting = Waiting::new();
    waiting.budget = 1024;
    waiting.until(Deadline::NEVER).spun_well();
    assert_eq!(waiting.budget, 1024 + 64);
    waiting.budget = MOST_TURNS - 1;
    waiting.until(Deadline::NEVER).spun_well();
    assert_eq!(waiting.budget, MOST_TURNS);
    for halved in [MOST_TURNS / 2, MOST_TURNS / 4, MOST_TURNS / 8, FEWEST_TURNS] {
        turns(&mut waiting, true, usize::MAX);
        assert_eq!(waiting.budget, halved);
    }
    waiting.budget = 1024;
    waiting.policy = WaitPolicy::Park;
    turns(&mut waiting, true, usize::MAX);
    assert_eq!(waiting.budget, 1024, "who did not spin has learned nothing");
}

/// What a wait does that has spun, until it would sleep, and how often it has made way for others
/// who keep the processor for so long.
fn making_way(waiting: &mut Waiting, keep: fn() -> u64) -> Vec<Turn> {
    let mut watch = waiting.until(Deadline::NEVER);
    (watch.many, watch.make_way_for_others) = (true, keep);
    std::iter::from_fn(|| Some(watch.turn()).filter(|turn| *turn != Turn::Sleep)).collect()
}

#[test]
fn who_spins_where_others_want_the_processor_makes_way_for_them_and_spins_less() {
    let (spin, look) = (Turn::Spin(64), Turn::Look { check_due: false });
    let mut waiting = Waiting::new();
    waiting.timer.interval = Duration::from_secs(10_000); // no check is due
    for keep in [|| NOBODY_RAN + 1, || SHORT_SLEEP] {
        waiting.budget = FEWEST_TURNS;
        let mut expected = [spin, look].repeat(4);
        expected.resize(8 + MOST_YIELDS as usize, look);
        assert_eq!(making_way(&mut waiting, keep), expected);
        assert_eq!(waiting.budget, CROWDED_TURNS);
        expected.drain(..6);
        assert_eq!(making_way(&mut waiting, keep), expected);
        assert_eq!(waiting.budget, CROWDED_TURNS);
    }
    // Until it has the processor for itself.
    assert_eq!(making_way(&mut waiting, || NOBODY_RAN), [spin, look]);
    assert_eq!(waiting.budget, FEWEST_TURNS);
    // One that has not spun gives up nothing but itself.
    waiting.policy = WaitPolicy::Park;
    assert_eq!(making_way(&mut waiting, || panic!("asked")), []);
}

#[test]
#[cfg(not(miri))] // too many turns for it
fn who_is_not_given_the_processor_back_soon_is_wary_of_making_way() {
    let (spin, look) = (Turn::Spin(64), Turn::Look { check_due: false });
    let mut waiting = Waiting::new();
    waiting.timer.interval = Duration::from_secs(10_000); // no check is due
    let mut spans = Vec::new();
    while spans.len() < 12 {
        waiting.budget = FEWEST_TURNS;
        let mut expected = [spin, look].repeat(4);
        let mut span = 0;
        while making_way(&mut waiting, || SHORT_SLEEP + 1) == expected {
            (waiting.budget, span) = (FEWEST_TURNS, span + 1);
        }
        // This one has made way, and looked once more.
        expected.push(look);
        spans.push(span);
        assert_eq!(waiting.budget, FEWEST_TURNS, "no less than others who spun in vain");
    }
    assert_eq!(spans[..4], [0, FEWEST_WARY, 2 * FEWEST_WARY, 4 * FEWEST_WARY]);
    assert_eq!(spans[9..], [MOST_WARY; 3]);
    // One who gives it back soon is trusted again.
    let not_asked = |waits, waiting: &mut Waiting| {
        (0..waits).for_each(|_| drop(making_way(waiting, || panic!("asked"))));
    };
    not_asked(MOST_WARY, &mut waiting);
    making_way(&mut waiting, || SHORT_SLEEP);
    making_way(&mut waiting, || SHORT_SLEEP + 1);
    not_asked(FEWEST_WARY, &mut waiting);
    waiting.budget = FEWEST_TURNS;
    assert_eq!(making_way(&mut waiting, || SHORT_SLEEP).len(), 8 + MOST_YIELDS as usize);
}

#[test]
#[cfg(not(miri))] // which has no processors to share
fn who_makes_way_lets_others_run() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    let all = sched_getaffinity(None).expect("one's own");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("one at least"));
    let (turns, over) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sched_setaffinity(None, &one).expect("one of its own");
            scope.spawn(|| {
                while over.load(Relaxed) == 0 {
                    turns.fetch_add(1, Relaxed); // on the same processor: that is adopted
                }
            });
            // Each lets it go on, but for those that the kernel thinks unfair.
            let went_on = |_: &i32| {
                let before = turns.load(Relaxed);
                let took = make_way_for_others();
                turns.load(Relaxed) > before && took > NOBODY_RAN
            };
            let made_way = (0..200).filter(went_on).count();
            over.store(1, Relaxed);
            assert!(made_way > 20, "{made_way} of 200");
        });
    });
}

#[test]
#[cfg(not(miri))] // whose clock runs faster than that
fn a_sleep_that_ended_at_once_was_better_spun_through() {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let mut waiting = Waiting::new();
    waiting.budget = 512;
    // One that lasts.
    let ticket = word.announce(false, None);
    let until = Duration::from_millis(2);
    waiting.until(until.into()).sleep(word, ticket);
    assert_eq!(waiting.budget, 512);
    // Ones that do not even begin; some of them without being interrupted by others.
    let ticket = word.announce(false, None);
    word.notify();
    let tries = (0..10_000).take_while(|_| {
        waiting.until(Deadline::NEVER).sleep(word, ticket);
        waiting.budget == 512
    });
    assert!(tries.count() < 10_000, "however short the sleep, it is spun no longer");
    assert_eq!(waiting.budget, 1024);
}

#[test]
#[cfg(not(miri))] // whose clock runs faster than that
fn who_has_just_announced_itself_sleeps_briefly_and_then_for_an_interval() {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let mut waiting = Waiting::new();
    waiting.timer.interval = Duration::from_millis(100);
    // Others may keep this thread from running for as long as that, but not each time.
    let mut slept_on = |fresh_twice: bool, turned_back: bool| {
        waiting.timer.looked_well();
        let mut watch = waiting.until(Deadline::NEVER);
        let first = word.announce(false, None);
        if turned_back {
            word.notify();
        }
        let began = now();
        let for_long = watch.sleep(word, first);
        assert!(turned_back || now() - began >= BRIEF_SLEEP);
        let mut again = word.announce(false, None);
        again.fresh = fresh_twice;
        let for_long_then = watch.sleep(word, again);
        (for_long, for_long_then)
    };
    let brief_and_then_long = (0..50).any(|_| slept_on(false, false) == (false, true));
    assert!(brief_and_then_long);
    let brief_if_fresh_again = (0..50).any(|_| slept_on(true, false) == (false, false));
    assert!(brief_if_fresh_again);
    // A sleep that ended at once was too short to tell whether somebody overlooked it.
    let brief_if_it_was_not_long = (0..50).any(|_| slept_on(false, true) == (false, false));
    assert!(brief_if_it_was_not_long);
}

#[test]
fn who_looks_through_many_slots_looks_at_the_clock_more_often() {
    assert_eq!((1..=256).map(crate::pipe::polls).min(), Some(u32::MAX));
    assert_eq!((257..600).map(crate::pipe::polls).max(), Some(4));
}
