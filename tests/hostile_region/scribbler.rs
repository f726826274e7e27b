//! Someone who writes all over the region at full speed while others use the ring.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::{Mpmc, OpenError, Options, Ring, Spsc};

use super::flips::TARGETED;
use super::support::{LONG, Name, Random, within};
use super::{Ends, Outcomes, Raw, SLICE, attached, receive_every_way, send_every_way};

/// Tells a child the ring to scribble on.
const VICTIM: &str = "RINGPIPE_SCRIBBLE_ON";
/// Rounds of calls each end makes at least; it goes on until the scribbler has written much too.
const ROUNDS: u64 = 2000;
const WRITES: u64 = 100_000;
/// The shared words of a ring with eight endpoint records.
const HOT_WORDS: u64 = (super::slots_at(8) as u64 - 512) / 8;

/// Writes random and telling values into all words, those of the header too, one at a time. Most
/// are taken back at once, so that the ring is damaged in ever new places rather than once for all,
/// and now and then everything is put as it was in the beginning.
fn scribble(raw: &Raw, seed: u64, written: &AtomicU64, stop: impl Fn() -> bool) {
    let mut random = Random(seed);
    let words = raw.words();
    let good = raw.copy();
    while !stop() {
        for _ in 0..64 {
            // Half of the writes hit the control words, seats and intents; of all words, the slots
            // would take most.
            let word = match random.below(2) {
                0 => 64 + random.below(HOT_WORDS),
                _ => random.below(words.len() as u64),
            };
            let word = &words[word as usize];
            let bad = match random.below(4) {
                0 => random.next(),
                1 => random.below(300),
                2 => word.load(Relaxed).wrapping_add(random.below(5)), // a near miss
                _ => TARGETED[random.below(TARGETED.len() as u64) as usize],
            };
            let was = word.swap(bad, Relaxed);
            if random.below(16) > 0 {
                for _ in 0..random.below(200) {
                    std::hint::spin_loop();
                }
                // Unless it has been overwritten by an end.
                let _ = word.compare_exchange(bad, was, Relaxed, Relaxed);
            }
        }
        written.fetch_add(64, Relaxed);
        if random.below(8) == 0 {
            raw.restore(&good);
        }
    }
}

/// A pair of ends calls everything while `written` grows; a third party opens and attaches.
fn use_the_ring<K: Ends>(name: &Name, ring: Ring<u64, K>, written: &AtomicU64) -> [Outcomes; 3] {
    let enough = |rounds: u64| rounds >= ROUNDS && written.load(Relaxed) >= WRITES;
    thread::scope(|scope| {
        let (mut tx, mut rx) = (K::tx(&ring).ok(), K::rx(&ring).ok());
        let ring = &ring;
        let sending = scope.spawn(move || {
            let mut seen = Outcomes::default();
            let mut rounds = 0;
            while !enough(rounds) {
                rounds += 1;
                if rounds % 32 == 0 || tx.is_none() {
                    drop(tx.take());
                    tx = attached(K::tx(ring), &mut seen);
                }
                if let Some(tx) = &mut tx {
                    tx.set_wait_slice(SLICE);
                    send_every_way(tx, rounds, rounds % 32 == 0, &mut seen);
                }
            }
            seen
        });
        let receiving = scope.spawn(move || {
            let mut seen = Outcomes::default();
            let mut rounds = 0;
            while !enough(rounds) {
                rounds += 1;
                if rounds % 37 == 0 || rx.is_none() {
                    drop(rx.take());
                    rx = attached(K::rx(ring), &mut seen);
                }
                if let Some(rx) = &mut rx {
                    rx.set_wait_slice(SLICE);
                    // Any bits are a value.
                    receive_every_way(rx, rounds % 32 == 0, &mut seen, &|_| ());
                }
            }
            seen
        });
        let opening = scope.spawn(move || {
            let options: Options<u64, K> = Ring::options();
            let mut seen = Outcomes::default();
            let mut rounds = 0;
            while !enough(rounds) {
                rounds += 1;
                seen.count(match options.open(name) {
                    Ok(_) => "opened",
                    Err(OpenError::NotARing { .. }) => "not a ring",
                    Err(OpenError::Mismatch { .. }) => "mismatch",
                    Err(OpenError::Damaged { .. }) => "damaged",
                    Err(other) => panic!("undocumented: {other:?}"),
                });
            }
            seen
        });
        [sending, receiving, opening].map(|user| match user.join() {
            Ok(seen) => seen,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn report(kind: &str, written: u64, [sent, received, opened]: [Outcomes; 3]) {
    println!("{kind}: {written} words scribbled");
    println!("  sending:   {sent:?}");
    println!("  receiving: {received:?}");
    println!("  opening:   {opened:?}");
    let mut all = sent;
    all.add(received);
    assert!(all.total() >= ROUNDS && opened.total() >= ROUNDS);
    assert!(all.of("ok") > 0, "the ring was of no use at all: {all:?}");
    assert!(all.of("corrupt") > 0, "the scribbler hit nothing: {all:?}");
}

fn beside_a_thread<K: Ends>(seed: u64) {
    let (written, outcomes) = within(LONG, move || {
        let name = Name::new();
        let options: Options<u64, K> = Ring::options().capacity(64).endpoints(8);
        let ring = options.create(&name).unwrap();
        let raw = Arc::new(Raw::of(&name.path()));
        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let outcomes = thread::scope(|scope| {
            scope.spawn(|| scribble(&raw, seed, &written, || stop.load(Relaxed)));
            // Also if a user of the ring panics, or the scope would wait for the scribbler.
            let _stopping = Stopping(&stop);
            use_the_ring(&name, ring, &written)
        });
        (written.into_inner(), outcomes)
    });
    report(K::NAME, written, outcomes);
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn an_spsc_ring_bears_a_scribbling_thread() {
    beside_a_thread::<Spsc>(0x5eed_0007);
}

#[test]
fn an_mpmc_ring_bears_a_scribbling_thread() {
    beside_a_thread::<Mpmc>(0x5eed_0008);
}

/// A child that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn beside_a_process<K: Ends>() {
    let (written, outcomes) = within(LONG, || {
        let (name, counter) = (Name::new(), Name::new());
        let options: Options<u64, K> = Ring::options().capacity(64).endpoints(8);
        let ring = options.create(&name).unwrap();
        // The child counts its writes where this process can see it.
        std::fs::write(counter.path(), [0; 8]).unwrap();
        let count = Raw::of(&counter.path());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["scribbler::scribbles_as_a_child", "--exact", "--nocapture"])
            .env(VICTIM, format!("{} {}", &*name, &*counter))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let _child = Ended(child);
        let outcomes = use_the_ring(&name, ring, &count.words()[0]);
        (count.words()[0].load(Relaxed), outcomes)
    });
    report(K::NAME, written, outcomes);
}

#[test]
fn an_spsc_ring_bears_a_scribbling_process() {
    beside_a_process::<Spsc>();
}

#[test]
fn an_mpmc_ring_bears_a_scribbling_process() {
    beside_a_process::<Mpmc>();
}

/// Not a test of its own: the child of the tests above. Without a victim there is nothing to do.
#[test]
fn scribbles_as_a_child() {
    let Ok(names) = std::env::var(VICTIM) else {
        return;
    };
    let (victim, counter) = names.split_once(' ').expect("two names");
    let shm = std::path::Path::new("/dev/shm");
    let (victim, counter) = (Raw::of(&shm.join(victim)), Raw::of(&shm.join(counter)));
    // The parent ends this process; should it be gone itself, the deadline does.
    let deadline = Instant::now() + LONG + Duration::from_secs(10);
    let is_late = || Instant::now() > deadline;
    scribble(&victim, 0x5eed_0009, &counter.words()[0], is_late);
    let _ = writeln!(std::io::stderr(), "the scribbler outlived its parent's wait");
}
