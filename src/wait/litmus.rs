//! The asymmetric barrier on real processors: over and over, one thread publishes and looks at the
//! wake word while another announces itself and looks at what is published. Never may both see
//! nothing. Without the sleeper's half they do, in percents of the rounds.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::barrier;
use super::word::WakeWord;

#[repr(align(128))]
struct Apart<T>(T);

/// Stops a busy machine from making this a long test. Two threads that do not run at the same time
/// show nothing anyway.
const LIMIT: Duration = Duration::from_millis(250);

/// Of up to `rounds`: how many took place, and in how many both saw nothing, if the sleeper
/// announces itself by `announce`.
fn lost(rounds: u64, announce: impl Fn(&AtomicU32) + Sync) -> (u64, usize) {
    let word = Apart(AtomicU32::new(0));
    let index = Apart(AtomicU64::new(0));
    let last = Apart(AtomicU64::new(rounds));
    let (begun, ended) = (Apart(AtomicU64::new(0)), Apart(AtomicU64::new(0)));
    let started = Instant::now();
    let together = Barrier::new(2);
    let wait_for = |at: &AtomicU64, round| {
        let mut turns = 0;
        while at.load(Ordering::Acquire) < round {
            turns += 1;
            if cfg!(miri) || turns > 2000 {
                std::thread::yield_now(); // the other does not run
            } else {
                std::hint::spin_loop();
            }
        }
    };
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut blind = Vec::new();
            together.wait();
            for round in 1.. {
                wait_for(&begun.0, round);
                if round > last.0.load(Ordering::Relaxed) {
                    break;
                }
                for _ in 0..round % 61 {
                    // Sooner or later than the other. And as in flow: its cache has the word.
                    word.0.load(Ordering::Relaxed);
                    std::hint::spin_loop();
                }
                index.0.store(round, Ordering::Release);
                barrier::light();
                if !WakeWord::new(&word.0).is_flagged() {
                    blind.push(round);
                }
                ended.0.store(round, Ordering::Release);
            }
            blind
        });
        let mut blind = Vec::new();
        together.wait();
        for round in 1..=rounds {
            if started.elapsed() > LIMIT {
                last.0.store(round - 1, Ordering::Relaxed);
                break;
            }
            word.0.store(0, Ordering::Relaxed);
            begun.0.store(round, Ordering::Release);
            for _ in 0..round % 53 {
                index.0.load(Ordering::Relaxed);
                std::hint::spin_loop();
            }
            announce(&word.0);
            if index.0.load(Ordering::Acquire) < round {
                blind.push(round);
            }
            wait_for(&ended.0, round);
        }
        begun.0.store(u64::MAX, Ordering::Release);
        let other = publisher.join().unwrap();
        let both = blind.iter().filter(|round| other.binary_search(round).is_ok()).count();
        (last.0.load(Ordering::Relaxed), both)
    })
}

#[test]
fn a_publisher_and_a_sleeper_never_overlook_each_other() {
    barrier::register();
    let with = |word: &AtomicU32| {
        let _ = WakeWord::new(word).announce(false);
    };
    if cfg!(miri) {
        return assert_eq!(lost(30, with).1, 0); // where everybody fences
    }
    let without = |word: &AtomicU32| {
        word.fetch_or(1, Ordering::Acquire);
    };
    let (mut rounds, mut shown) = (0, 0);
    for _ in 0..8 {
        let (played, both) = lost(10_000, with);
        assert_eq!(both, 0, "of {played}");
        rounds += played;
        // What makes the assertion worth something, and in turns with it, since it depends on where
        // the threads run and on who else does.
        shown += lost(10_000, without).1;
    }
    if shown == 0 {
        use std::io::Write;
        let said = "\n!!! DID NOT RUN: lost wakes without the barrier: none seen on this machine\n";
        let _ = std::io::stderr().lock().write_all(said.as_bytes());
    } else {
        println!("without the barrier {shown} are lost, with it none of {rounds}");
    }
}
