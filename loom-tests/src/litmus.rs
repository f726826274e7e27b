//! Whether the model checker can be believed: small programs whose possible outcomes are known.
//!
//! A model that passes proves little if the checker does not try what could fail. So for each
//! pattern that the protocols are made of, the outcomes that loom reaches are compared with those
//! that the memory model allows: all of them, and no others. The first one fails on loom 0.7.2 as
//! it is in the registry, which is why there is a patched one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

/// Everything that `program` can return, on the patched loom.
fn outcomes<T: Ord + Debug + Send + 'static>(
    program: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T> {
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let collected = reached.clone();
    let executions = crate::models::support::explore(None, move || {
        let outcome = program();
        collected.lock().unwrap().insert(outcome);
    });
    let reached = std::mem::take(&mut *reached.lock().unwrap());
    println!("{executions} executions, outcomes {reached:?}");
    reached
}

/// The program of each pattern, on either loom.
macro_rules! programs {
    ($loom:ident) => {
        use std::sync::Arc;
        use $loom::cell::UnsafeCell;
        use $loom::sync::atomic::Ordering::{self, *};
        use $loom::sync::atomic::{AtomicU64, fence};
        use $loom::thread::spawn;

        /// One thread loads and then tries compare-and-swap from 0 to 1, the other loads.
        pub fn load_then_cas() -> u64 {
            let x = Arc::new(AtomicU64::new(0));
            let other = x.clone();
            let other = spawn(move || {
                other.load(Relaxed);
                let _ = other.compare_exchange(0, 1, Relaxed, Relaxed);
            });
            let seen = x.load(Relaxed);
            other.join().unwrap();
            seen
        }

        /// One thread loads and then stores, the other loads.
        pub fn load_then_store() -> u64 {
            let x = Arc::new(AtomicU64::new(0));
            let other = x.clone();
            let other = spawn(move || {
                other.load(Relaxed);
                other.store(1, Relaxed);
            });
            let seen = x.load(Relaxed);
            other.join().unwrap();
            seen
        }

        /// Each thread loads what it is about to change, and reports it.
        pub fn both_load_then_cas() -> (bool, bool) {
            let x = Arc::new(AtomicU64::new(0));
            let attempt = |x: &AtomicU64| {
                let seen = x.load(Relaxed);
                x.compare_exchange(seen, seen + 1, Relaxed, Relaxed).is_ok()
            };
            let other = x.clone();
            let other = spawn(move || attempt(&other));
            let here = attempt(&x);
            (here, other.join().unwrap())
        }

        /// Each stores to its own place and then loads the other's.
        pub fn store_buffering(fenced: bool) -> (u64, u64) {
            let places = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let others = places.clone();
            let barrier = move || {
                if fenced {
                    fence(SeqCst)
                }
            };
            let other = spawn(move || {
                others.0.store(1, Relaxed);
                barrier();
                others.1.load(Relaxed)
            });
            places.1.store(1, Relaxed);
            barrier();
            let here = places.0.load(Relaxed);
            (other.join().unwrap(), here)
        }

        /// The wake protocol's shape: one stores and then loads, the other changes by
        /// read-modify-write and then loads.
        pub fn announce_and_look(fenced: bool) -> (u64, u64) {
            let places = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let others = places.clone();
            let barrier = move || {
                if fenced {
                    fence(SeqCst)
                }
            };
            let publisher = spawn(move || {
                others.0.load(Relaxed);
                others.0.store(1, Release);
                barrier();
                others.1.load(Relaxed)
            });
            places.1.fetch_or(1, Acquire);
            barrier();
            let looked = places.0.load(Acquire);
            (publisher.join().unwrap(), looked)
        }

        /// A payload, then a flag; the flag, then the payload.
        pub fn message_passing(publish: Ordering, look: Ordering) -> (u64, u64) {
            let places = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let others = places.clone();
            let other = spawn(move || {
                others.0.store(1, Relaxed);
                others.1.store(1, publish);
            });
            let flag = places.1.load(look);
            let payload = places.0.load(Relaxed);
            other.join().unwrap();
            (flag, payload)
        }

        /// A value in a slot, handed over as rings do it: a look whether the slot is free, the
        /// copy, and a compare-and-swap that says so, with the ordering `publish`, which ought to
        /// be `Release`.
        pub fn hand_over(publish: Ordering) {
            let slot = Arc::new((AtomicU64::new(0), UnsafeCell::new(0)));
            let theirs = slot.clone();
            let sender = spawn(move || {
                if theirs.0.load(Acquire) == 0 {
                    // SAFETY: loom has just checked that no other access races.
                    theirs.1.with_mut(|value| unsafe { *value = 7 });
                    theirs.0.compare_exchange(0, 1, publish, Relaxed).unwrap();
                }
            });
            if slot.0.load(Acquire) == 1 {
                // SAFETY: as above.
                assert_eq!(slot.1.with(|value| unsafe { *value }), 7);
            }
            sender.join().unwrap();
        }

        /// A payload, then a flag, which another moves on before it is looked at: by
        /// read-modify-write, or by a store of its own.
        pub fn message_passed_on(by_rmw: bool) -> (u64, u64) {
            let places = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let at = places.clone();
            let sender = spawn(move || {
                at.0.store(1, Relaxed);
                at.1.store(1, Release);
            });
            let at = places.clone();
            let between = spawn(move || {
                if by_rmw {
                    let _ = at.1.compare_exchange(1, 2, Relaxed, Relaxed);
                } else if at.1.load(Relaxed) == 1 {
                    at.1.store(2, Relaxed);
                }
            });
            let flag = places.1.load(Acquire);
            let payload = places.0.load(Relaxed);
            sender.join().unwrap();
            between.join().unwrap();
            (flag, payload)
        }

        /// Three increments, each reporting what it found.
        pub fn three_increments() -> (u64, u64, u64) {
            let x = Arc::new(AtomicU64::new(0));
            let increment = |x: &Arc<AtomicU64>| {
                let x = x.clone();
                spawn(move || x.fetch_add(1, Relaxed))
            };
            let (a, b) = (increment(&x), increment(&x));
            let c = x.fetch_add(1, Relaxed);
            (a.join().unwrap(), b.join().unwrap(), c)
        }

        /// Two writers, two readers that read in opposite orders.
        pub fn independent_reads(fenced: bool) -> (u64, u64, u64, u64) {
            let places = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let barrier = move || {
                if fenced {
                    fence(SeqCst)
                }
            };
            let at = places.clone();
            let first = spawn(move || at.0.store(1, Relaxed));
            let at = places.clone();
            let second = spawn(move || at.1.store(1, Relaxed));
            let at = places.clone();
            let reader = spawn(move || {
                let one = at.0.load(Relaxed);
                barrier();
                (one, at.1.load(Relaxed))
            });
            let two = places.1.load(Relaxed);
            barrier();
            let one = places.0.load(Relaxed);
            first.join().unwrap();
            second.join().unwrap();
            let (a, b) = reader.join().unwrap();
            (a, b, two, one)
        }
    };
}

mod programs {
    programs!(loom);
}

mod stock {
    programs!(stock_loom);
}

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread::spawn;
use programs::*;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// All combinations of 0 and 1.
fn bits<const N: usize>() -> impl Iterator<Item = [u64; N]> {
    (0..1 << N).map(|n: u64| std::array::from_fn(|i| n >> i & 1))
}

#[test]
fn a_load_sees_the_cas_that_follows_another_threads_load() {
    assert_eq!(outcomes(load_then_cas), [0, 1].into());
}

/// If this fails, loom has been mended upstream, and the patch may go.
#[test]
fn the_registrys_loom_misses_the_cas_that_follows_a_load() {
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let collected = reached.clone();
    stock_loom::model(move || {
        let outcome = stock::load_then_cas();
        collected.lock().unwrap().insert(outcome);
    });
    assert_eq!(*reached.lock().unwrap(), [0].into(), "1 is possible, and is not tried");
}

/// What the mend is for, in one: an algorithm with a wrong ordering passes on the registry's loom,
/// as it does on ours with the feature `stock`, and fails on the mended one. The right ordering
/// passes on all.
#[test]
fn a_wrong_ordering_passes_on_the_registrys_loom_and_fails_on_the_mended_one() {
    for publish in [Release, Relaxed] {
        stock_loom::model(move || stock::hand_over(publish));
    }
    crate::models::support::explore(None, || hand_over(Release));
    let wrong = std::panic::catch_unwind(|| {
        crate::models::support::explore(None, || hand_over(Relaxed));
    });
    let found = wrong.err().map(|panic| *panic.downcast::<String>().expect("loom says why"));
    println!("without the mend: {}; found: {found:?}", cfg!(feature = "stock"));
    assert_eq!(found.is_none(), cfg!(feature = "stock"), "the mend finds it");
    if let Some(why) = found {
        assert!(why.contains("Causality violation"), "{why}");
    }
}

#[test]
fn a_load_sees_the_store_that_follows_another_threads_load() {
    assert_eq!(outcomes(load_then_store), [0, 1].into());
}

#[test]
fn of_two_that_load_and_cas_either_or_both_succeed() {
    let expected = [(true, true), (true, false), (false, true)];
    assert_eq!(outcomes(both_load_then_cas), expected.into());
}

#[test]
fn store_buffering_without_fences_may_see_nothing_on_both_sides() {
    let all = bits().map(|[a, b]| (a, b)).collect();
    assert_eq!(outcomes(|| store_buffering(false)), all);
}

#[test]
fn store_buffering_with_fences_sees_something_on_one_side() {
    assert_eq!(outcomes(|| store_buffering(true)), [(0, 1), (1, 0), (1, 1)].into());
}

#[test]
fn announce_and_look_without_fences_may_see_nothing_on_both_sides() {
    let all = bits().map(|[a, b]| (a, b)).collect();
    assert_eq!(outcomes(|| announce_and_look(false)), all);
}

#[test]
fn announce_and_look_with_fences_sees_something_on_one_side() {
    assert_eq!(outcomes(|| announce_and_look(true)), [(0, 1), (1, 0), (1, 1)].into());
}

/// The wake protocol's shape with a membarrier in place of the fences. `early`: before the
/// announcement, where it is of no use.
fn announce_and_look_by_membarrier(early: bool) -> (u32, u32) {
    let places = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let others = places.clone();
    let publisher = spawn(move || {
        others.0.load(Relaxed);
        others.0.store(1, Release);
        others.1.load(Relaxed)
    });
    if early {
        places.1.membarrier();
    }
    places.1.fetch_or(1, Acquire);
    if !early {
        places.1.membarrier();
    }
    let looked = places.0.load(Acquire);
    (publisher.join().unwrap(), looked)
}

#[test]
fn announce_and_look_with_a_membarrier_between_sees_something_on_one_side() {
    let outcomes = outcomes(|| announce_and_look_by_membarrier(false));
    assert_eq!(outcomes, [(0, 1), (1, 0), (1, 1)].into());
}

#[test]
fn announce_and_look_with_a_membarrier_too_early_may_see_nothing_on_both_sides() {
    let all = bits().map(|[a, b]| (a as u32, b as u32)).collect();
    assert_eq!(outcomes(|| announce_and_look_by_membarrier(true)), all);
}

/// As [`independent_reads`](programs::independent_reads); meanwhile a third party calls membarrier.
#[test]
fn a_membarrier_elsewhere_does_not_make_readers_agree_on_the_order_of_writes() {
    let reached = outcomes(|| {
        let places = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let at = places.clone();
        let first = spawn(move || at.0.store(1, Relaxed));
        let at = places.clone();
        let second = spawn(move || at.1.store(1, Relaxed));
        let at = places.clone();
        let reader = spawn(move || (at.0.load(Relaxed), at.1.load(Relaxed)));
        AtomicU32::new(0).membarrier();
        let two = places.1.load(Relaxed);
        let one = places.0.load(Relaxed);
        first.join().unwrap();
        second.join().unwrap();
        let (a, b) = reader.join().unwrap();
        (a, b, two, one)
    });
    assert!(reached.contains(&(1, 0, 1, 0)), "{reached:?}");
}

#[test]
fn message_passing_without_orderings_may_see_the_flag_alone() {
    let all: BTreeSet<_> = bits().map(|[a, b]| (a, b)).collect();
    assert_eq!(outcomes(|| message_passing(Relaxed, Relaxed)), all);
    assert_eq!(outcomes(|| message_passing(Release, Relaxed)), all);
    assert_eq!(outcomes(|| message_passing(Relaxed, Acquire)), all);
}

#[test]
fn message_passing_with_release_and_acquire_sees_the_payload_with_the_flag() {
    let expected = [(0, 0), (0, 1), (1, 1)];
    assert_eq!(outcomes(|| message_passing(Release, Acquire)), expected.into());
}

#[test]
fn three_increments_happen_in_every_order() {
    let expected = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)];
    assert_eq!(outcomes(three_increments), expected.into());
}

#[test]
fn independent_reads_without_fences_may_disagree_on_the_order_of_writes() {
    let all = bits().map(|[a, b, c, d]| (a, b, c, d)).collect();
    assert_eq!(outcomes(|| independent_reads(false)), all);
}

#[test]
fn independent_reads_with_fences_agree_on_the_order_of_writes() {
    let mut expected: BTreeSet<_> = bits().map(|[a, b, c, d]| (a, b, c, d)).collect();
    assert!(expected.remove(&(1, 0, 1, 0)));
    assert_eq!(outcomes(|| independent_reads(true)), expected);
}

#[test]
fn a_message_passed_on_by_rmw_takes_the_payload_along() {
    let reached = outcomes(|| message_passed_on(true));
    assert_eq!(reached, [(0, 0), (0, 1), (1, 1), (2, 1)].into());
}

#[test]
fn a_message_passed_on_by_a_store_leaves_the_payload_behind() {
    let reached = outcomes(|| message_passed_on(false));
    assert_eq!(reached, [(0, 0), (0, 1), (1, 1), (2, 0), (2, 1)].into());
}

#[test]
fn choices_are_explored_in_all_combinations() {
    let all = bits().map(|bits: [u64; 3]| bits.map(|bit| bit == 1)).collect();
    assert_eq!(outcomes(|| [(); 3].map(|()| loom::choose())), all);
}

/// One sleeps while a futex word is 0, the other stores a payload, perhaps changes the word, and
/// wakes. Whether the one slept, and the payload that it sees when it goes on.
fn sleep_beside_a_waker(change: bool, expires: bool) -> (bool, u64) {
    let places = Arc::new((AtomicU64::new(0), AtomicU32::new(0)));
    let theirs = places.clone();
    let waker = spawn(move || {
        theirs.0.store(1, Release);
        if change {
            theirs.1.store(1, Release);
        }
        theirs.1.futex_wake(1, 1);
    });
    if expires {
        loom::next_wait_expires();
    }
    let slept = places.1.futex_wait(0, 1);
    let payload = places.0.load(Acquire);
    waker.join().unwrap();
    (slept, payload)
}

/// No lost wake between the check and the sleep, and no happens-before by a wake: not even the
/// waker's releases.
#[test]
fn a_sleeper_is_woken_and_may_not_see_why() {
    let expected = [(false, 0), (false, 1), (true, 0), (true, 1)];
    assert_eq!(outcomes(|| sleep_beside_a_waker(true, false)), expected.into());
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wake_without_a_change_may_come_before_the_sleep() {
    outcomes(|| sleep_beside_a_waker(false, false));
}

#[test]
fn a_sleep_that_expires_needs_no_wake() {
    let reached = outcomes(|| sleep_beside_a_waker(false, true));
    assert_eq!(reached, [(true, 0), (true, 1)].into());
}

/// One wake for two sleepers, of whom one goes on by itself.
#[test]
#[should_panic(expected = "deadlock")]
fn a_sleep_that_expires_may_have_consumed_the_wake_of_another() {
    outcomes(|| {
        let word = Arc::new(AtomicU32::new(0));
        let theirs = word.clone();
        let hasty = spawn(move || {
            loom::next_wait_expires();
            theirs.futex_wait(0, 1);
        });
        let theirs = word.clone();
        let sleeper = spawn(move || _ = theirs.futex_wait(0, 1));
        word.store(1, Relaxed);
        word.futex_wake(1, 1);
        hasty.join().unwrap();
        sleeper.join().unwrap();
    });
}

/// A wake is for those who share a bit with it.
#[test]
#[should_panic(expected = "deadlock")]
fn a_wake_that_is_for_others_wakes_nobody() {
    outcomes(|| {
        let word = Arc::new(AtomicU32::new(0));
        let theirs = word.clone();
        let sleeper = spawn(move || _ = theirs.futex_wait(0, 1));
        word.store(1, Relaxed);
        word.futex_wake(1, 2);
        sleeper.join().unwrap();
    });
}

/// As [`announce_and_look_by_membarrier`], with a publisher that is not reached: it has to fence
/// itself.
#[test]
fn a_membarrier_does_not_reach_a_thread_that_is_left_out() {
    let reached = outcomes(|| {
        loom::all_reached();
        let places = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let others = places.clone();
        let publisher = spawn(move || {
            loom::reached(false);
            others.0.store(1, Relaxed);
            others.1.load(Relaxed)
        });
        places.1.fetch_or(1, Acquire);
        places.1.membarrier();
        let looked = places.0.load(Acquire);
        (publisher.join().unwrap(), looked)
    });
    assert!(reached.contains(&(0, 0)), "{reached:?}");
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_race_on_a_cell_is_found() {
    outcomes(|| {
        struct Shared(loom::cell::UnsafeCell<u32>);
        // SAFETY: not so, which is what is to be found.
        unsafe impl Sync for Shared {}
        let slot = Arc::new(Shared(loom::cell::UnsafeCell::new(0)));
        let theirs = slot.clone();
        let writer = spawn(move || theirs.0.with_mut(|_| ()));
        slot.0.with(|_| ());
        writer.join().unwrap();
    });
}
