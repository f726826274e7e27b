//! Long rings, and claims of the whole of them, while the indices go back and forth at full speed.
//!
//! A claim looks at every slot that it takes before it takes any. When the index moves meanwhile,
//! it looks anew; an honest end moves it once for a claim of its own, a liar as often as it likes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ringpipe::{Mpmc, Ring, Spsc, WaitPolicy};

use super::calls::{
    Ends, INTERVAL, MOMENT, Outcomes, Sample, receive_runs_every_way, send_runs_every_way,
};
use super::limits::{NOW, guarded, tell, timed};
use super::scribbler::seconds;
use super::strafe::{HEAD, Manner, Strafing, TAIL, put};
use super::support::region::Raw;
use super::support::{LONG, Name, POLICIES};

/// Slots. Without optimisation, everything takes ten times as long: the allowance of a call is for
/// busy machines, not for that.
const SLOTS: usize = if cfg!(debug_assertions) { 1 << 14 } else { 1 << 20 };

const MANNERS: [&[Manner]; 5] = [
    &[Manner::ToAndFro],
    &[Manner::LapToLap],
    &[Manner::Sweep],
    &[Manner::Sweep, Manner::Holes],
    &[Manner::Words, Manner::Swap],
];

/// A long ring, and its slots behind its back.
struct LongRing<T: Sample, K: Ends> {
    raw: Raw,
    stamps: Vec<usize>,
    ring: Ring<T, K>,
    name: Name,
}

impl<T: Sample, K: Ends> LongRing<T, K> {
    fn new(slots: usize) -> Self {
        let name = Name::new();
        let ring: Ring<T, K> = Ring::options().capacity(slots).create(&name).unwrap();
        let raw = Raw::of(&name.path());
        // From the header: a chart of so many words takes its time.
        let [stride, slots_at] = [6, 7].map(|word: usize| raw.words()[word].load(Relaxed) as usize);
        let stamped = if K::STAMPED { slots } else { 0 };
        let stamps = (0..stamped).map(|slot| (slots_at + slot * stride) / 8).collect();
        Self { raw, stamps, ring, name }
    }

    /// Every slot is free, or every slot is full, in the first lap.
    fn fill(&self, full: bool) {
        self.stamps.iter().for_each(|&stamp| put(&self.raw, stamp, full.into()));
        put(&self.raw, TAIL, if full { self.ring.capacity() as u64 } else { 0 });
        put(&self.raw, HEAD, 0);
    }
}

/// One claim of the whole ring after another, each of which finds the ring as good as it can be,
/// but for the indices.
fn claims_of_a_whole_ring<K: Ends>() {
    guarded(LONG + 2 * seconds(), || {
        let long = LongRing::<u64, K>::new(SLOTS);
        let time = seconds() / 40;
        let (mut all, mut stores, mut bytes) = (Outcomes::default(), 0, 0);
        for manners in MANNERS {
            let strafing = Strafing::start(long.name.path().to_str().unwrap(), manners);
            let mut seen = Outcomes::default();
            for sends in [true, false] {
                let began = Instant::now();
                loop {
                    claim(&long, sends, &mut seen);
                    if began.elapsed() > time {
                        break;
                    }
                }
            }
            let written = strafing.stop();
            println!(
                "{}, {manners:?}, {SLOTS} slots: {} calls survived: {seen:?}",
                K::NAME,
                seen.total()
            );
            (stores, bytes) = (stores + written.0, bytes + written.1);
            all.add(seen);
        }
        tell(&format!("{}, claims of all of a long ring", K::NAME), stores, bytes, &all.clock);
    });
}

/// One of each kind of claim. Whoever spins polls at the ring many times between two looks at the
/// clock: [`a_deadline_is_kept_though_every_claim_is_too_late`].
fn claim<K: Ends>(long: &LongRing<u64, K>, sends: bool, seen: &mut Outcomes) {
    let mut buffer = vec![0; SLOTS];
    if sends {
        long.fill(false);
        let Some(mut tx) = seen.attach(|| K::sender(&long.ring)) else { return };
        tx.set_liveness_interval(INTERVAL);
        tx.set_wait_policy(WaitPolicy::Park);
        let outcome =
            timed!(seen, "try_send_slice of a long ring", NOW, tx.try_send_slice(&buffer));
        seen.bulk(outcome);
        long.fill(false);
        let outcome = timed!(
            seen,
            "send_exact of a long ring",
            MOMENT,
            tx.send_exact_deadline(&buffer, MOMENT)
        );
        seen.bulk(outcome);
        long.fill(false);
        let claimed =
            timed!(seen, "claim of a long ring to send", MOMENT, tx.claim_deadline(SLOTS, MOMENT));
        drop(seen.bulk(claimed)); // so many holes
        timed!(seen, "drop", NOW, drop(tx));
    } else {
        long.fill(true);
        let Some(mut rx) = seen.attach(|| K::receiver(&long.ring)) else { return };
        rx.set_liveness_interval(INTERVAL);
        rx.set_wait_policy(WaitPolicy::Park);
        let outcome =
            timed!(seen, "try_recv_slice of a long ring", NOW, rx.try_recv_slice(&mut buffer));
        seen.bulk(outcome);
        long.fill(true);
        let outcome = timed!(
            seen,
            "recv_exact of a long ring",
            MOMENT,
            rx.recv_exact_deadline(&mut buffer, MOMENT)
        );
        seen.bulk(outcome);
        long.fill(true);
        let claimed = timed!(
            seen,
            "claim of a long ring to receive",
            MOMENT,
            rx.claim_deadline(SLOTS, MOMENT)
        );
        let _ = seen.bulk(claimed); // held; and an abandoned claim, as it leaves
        timed!(seen, "drop", NOW, drop(rx));
    }
}

#[test]
fn claims_of_a_whole_long_spsc_ring_end_though_the_indices_move() {
    claims_of_a_whole_ring::<Spsc>();
}

#[test]
fn claims_of_a_whole_long_mpmc_ring_end_though_the_indices_move() {
    claims_of_a_whole_ring::<Mpmc>();
}

/// Every call, with slices of all lengths, from both sides at once.
fn long_slices<K: Ends>() {
    guarded(LONG + 2 * seconds(), || {
        let long = LongRing::<u64, K>::new(SLOTS);
        let time = seconds() / 40;
        let (mut all, mut stores, mut bytes) = (Outcomes::default(), 0, 0);
        for manners in MANNERS {
            long.fill(false);
            let strafing = Strafing::start(long.name.path().to_str().unwrap(), manners);
            let users = std::thread::scope(|scope| {
                let began = Instant::now();
                let ring = &long.ring;
                let lengths = [1, 1000, SLOTS / 8, SLOTS].into_iter().cycle();
                let (few, many) = (lengths.clone(), lengths);
                let sending = scope.spawn(move || {
                    let mut seen = Outcomes::default();
                    for most in few {
                        if let Some(mut tx) = seen.attach(|| K::sender(ring)) {
                            tx.set_liveness_interval(INTERVAL);
                            send_runs_every_way(&mut tx, 7, most, most < SLOTS, &mut seen);
                        }
                        if began.elapsed() > time {
                            break;
                        }
                    }
                    seen
                });
                let receiving = scope.spawn(move || {
                    let mut seen = Outcomes::default();
                    for most in many {
                        if let Some(mut rx) = seen.attach(|| K::receiver(ring)) {
                            rx.set_liveness_interval(INTERVAL);
                            receive_runs_every_way(&mut rx, most, most < SLOTS, &mut seen, &|_| ());
                        }
                        if began.elapsed() > time {
                            break;
                        }
                    }
                    seen
                });
                [sending, receiving].map(|user| {
                    user.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
            });
            let written = strafing.stop();
            (stores, bytes) = (stores + written.0, bytes + written.1);
            for seen in users {
                println!(
                    "{}, {manners:?}, long slices: {} calls survived: {seen:?}",
                    K::NAME,
                    seen.total()
                );
                all.add(seen);
            }
        }
        tell(&format!("{}, long slices", K::NAME), stores, bytes, &all.clock);
    });
}

#[test]
fn a_long_spsc_ring_bears_indices_that_move() {
    long_slices::<Spsc>();
}

#[test]
fn a_long_mpmc_ring_bears_indices_that_move() {
    long_slices::<Mpmc>();
}

/// Items of a ring so long that one look at all of it takes longer than a busy machine keeps the
/// process waiting that moves the indices: each look ends with an index that is another by then.
const HUGE: usize = if cfg!(debug_assertions) { 1 << 20 } else { 1 << 23 };

/// Does `work` on such a ring, with as many items.
fn where_every_claim_is_too_late(
    work: impl FnOnce(&LongRing<u8, Mpmc>, &mut [u8], &mut Outcomes) + Send + 'static,
) {
    guarded(LONG, || {
        let long = LongRing::<u8, Mpmc>::new(HUGE);
        let mut buffer = vec![0; HUGE];
        let mut seen = Outcomes::default();
        let path = long.name.path();
        let strafing = Strafing::start(path.to_str().unwrap(), &[Manner::Sweep]);
        work(&long, &mut buffer, &mut seen);
        let (stores, bytes) = strafing.stop();
        println!("{HUGE} items: {seen:?}");
        tell("MPMC, claims of all of a huge ring", stores, bytes, &seen.clock);
    });
}

#[test]
fn a_claim_that_is_always_too_late_ends() {
    where_every_claim_is_too_late(|long, buffer, seen| {
        let mut tx = long.ring.sender().unwrap();
        long.fill(false);
        let began = Instant::now();
        let outcome = timed!(seen, "try_send_slice of a huge ring", NOW, tx.try_send_slice(buffer));
        println!("sending {HUGE} items: {outcome:?} after {:?}", began.elapsed());
        seen.bulk(outcome);
        let mut rx = long.ring.receiver().unwrap();
        long.fill(true);
        let began = Instant::now();
        let outcome = timed!(seen, "try_recv_slice of a huge ring", NOW, rx.try_recv_slice(buffer));
        println!("receiving {HUGE} items: {outcome:?} after {:?}", began.elapsed());
        seen.bulk(outcome);
    });
}

/// The same for calls with a deadline, which claim again and again until then.
#[test]
fn a_deadline_is_kept_though_every_claim_is_too_late() {
    where_every_claim_is_too_late(|long, buffer, seen| {
        for policy in POLICIES {
            let mut tx = long.ring.sender().unwrap();
            tx.set_wait_policy(policy);
            long.fill(false);
            let outcome = timed!(
                seen,
                "send_exact of a huge ring",
                MOMENT,
                tx.send_exact_deadline(buffer, MOMENT)
            );
            seen.bulk(outcome);
            let mut rx = long.ring.receiver().unwrap();
            rx.set_wait_policy(policy);
            long.fill(true);
            let outcome = timed!(
                seen,
                "recv_exact of a huge ring",
                MOMENT,
                rx.recv_exact_deadline(buffer, MOMENT)
            );
            seen.bulk(outcome);
        }
    });
}
