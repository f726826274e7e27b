//! The asymmetric barrier on real processors: over and over, one thread publishes and looks at the
//! wake word while another announces itself and looks at what is published. Never may both see
//! nothing. Without the sleeper's half they do, in percents of the rounds.

use std::io::{Read, Write};
use std::sync::Barrier;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
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
fn lost(rounds: u64, announce: impl Fn(&AtomicU32) + Sync) -> (u64, u64) {
    let word = Apart(AtomicU32::new(0));
    let index = Apart(AtomicU64::new(0));
    let last = Apart(AtomicU64::new(rounds));
    let (begun, ended) = (Apart(AtomicU64::new(0)), Apart(AtomicU64::new(0)));
    let started = Instant::now();
    let together = Barrier::new(2);
    let wait_for = |at: &AtomicU64, round| {
        let mut turns = 0;
        while at.load(Acquire) < round {
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
                if round > last.0.load(Relaxed) {
                    break;
                }
                for _ in 0..round % 61 {
                    // Sooner or later than the other. And as in flow: its cache has the word.
                    word.0.load(Relaxed);
                    std::hint::spin_loop();
                }
                index.0.store(round, Release);
                barrier::light();
                if !WakeWord::new(&word.0).is_flagged() {
                    blind.push(round);
                }
                ended.0.store(round, Release);
            }
            blind
        });
        let mut blind = Vec::new();
        together.wait();
        for round in 1..=rounds {
            if started.elapsed() > LIMIT {
                last.0.store(round - 1, Relaxed);
                break;
            }
            word.0.store(0, Relaxed);
            begun.0.store(round, Release);
            for _ in 0..round % 53 {
                index.0.load(Relaxed);
                std::hint::spin_loop();
            }
            announce(&word.0);
            if index.0.load(Acquire) < round {
                blind.push(round);
            }
            wait_for(&ended.0, round);
        }
        begun.0.store(u64::MAX, Release);
        let other = publisher.join().unwrap();
        let both = blind.iter().filter(|round| other.binary_search(round).is_ok()).count();
        (last.0.load(Relaxed), both as u64)
    })
}

#[test]
fn a_publisher_and_a_sleeper_never_overlook_each_other() {
    let with = |word: &AtomicU32| {
        let _ = WakeWord::new(word).announce(false, None);
    };
    if cfg!(miri) {
        return assert_eq!(lost(30, with).1, 0); // where everybody fences
    }
    let without = |word: &AtomicU32| {
        word.fetch_or(1, Acquire);
    };
    barrier::register();
    let [rounds, both, shown] = in_a_child_process(|| {
        let (mut rounds, mut both, mut shown) = (0, 0, 0);
        for _ in 0..8 {
            let (played, overlooked) = lost(10_000, with);
            rounds += played;
            both += overlooked;
            // What makes the assertion worth something, and in turns with it, since it depends on
            // where the threads run and on who else does.
            shown += lost(10_000, without).1;
        }
        [rounds, both, shown]
    });
    assert_eq!(both, 0, "of {rounds}");
    if shown == 0 {
        let said = "\n!!! DID NOT RUN: lost wakes without the barrier: none seen on this machine\n";
        let _ = std::io::stderr().lock().write_all(said.as_bytes());
    } else {
        println!("without the barrier {shown} are lost, with it none of {rounds}");
    }
}

/// A child inherits the registration with its first breath, so that no processor can have run it
/// without. Of a process that registers later the kernel may skip processors
/// ([`barrier`](super::barrier)); `examples/late_registration.rs` is about that.
fn in_a_child_process<const N: usize>(count: impl FnOnce() -> [u64; N]) -> [u64; N] {
    let (mut from, mut to) = std::io::pipe().expect("descriptors");
    // SAFETY: the child has this thread alone, and ends without returning from here; what it uses,
    // memory and threads, glibc keeps usable.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        for number in count() {
            let _ = to.write_all(&number.to_ne_bytes());
        }
        // SAFETY: ends the process, and runs nothing else.
        unsafe { libc::_exit(0) };
    }
    drop(to);
    let counted = [(); N].map(|()| {
        let mut number = [0; 8];
        from.read_exact(&mut number).expect("the child counts to its end");
        u64::from_ne_bytes(number)
    });
    // SAFETY: the child is ours, and nobody else waits for it.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    counted
}
