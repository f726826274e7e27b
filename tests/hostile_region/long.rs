//! Long rings, and claims of the whole of them, while the indices go back and forth at full speed.
//!
//! A claim looks at every slot that it takes before it takes any. When the index moves meanwhile,
//! it looks anew; an honest end moves it once for a claim of its own, a liar as often as it likes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ringpipe::messages::{Message, Messages, Receiver, Sender};
use ringpipe::{
    Bytes, Item, Kind, Mpmc, MpmcMessages, RecvHandle, Ring, SendHandle, Spsc, SpscMessages,
    WaitPolicy,
};

use super::calls::{Calls, INTERVAL, MOMENT, Outcomes, Sample};
use super::limits::{NOW, guarded, tell, timed};
use super::scribbler::seconds;
use super::strafe::{HEAD, Manner, Strafing, TAIL, put};
use super::support::kinds::{AnyKind, End};
use super::support::region::{HEADER, Raw, stamps};
use super::support::{LONG, Name, POLICIES};

/// Items, or sixteenths of the bytes that a ring of messages holds. Without optimisation, everything
/// takes ten times as long: the allowance of a call is for busy machines, not for that.
const SLOTS: usize = if cfg!(debug_assertions) { 1 << 14 } else { 1 << 20 };

const MANNERS: [&[Manner]; 5] = [
    &[Manner::ToAndFro],
    &[Manner::LapToLap],
    &[Manner::Sweep],
    &[Manner::Sweep, Manner::Holes],
    &[Manner::Words, Manner::Swap],
];

/// A long ring, and its slots behind its back.
struct LongRing<T: Item, K: Kind> {
    raw: Raw,
    stamps: Vec<usize>,
    /// Where messages may begin.
    lengths: Vec<usize>,
    slots: u64,
    ring: Ring<T, K>,
    name: Name,
}

impl<T: Item, K: Kind> LongRing<T, K> {
    fn new(items: usize) -> Self {
        let name = Name::new();
        let capacity = if K::MESSAGES { 16 * items } else { items };
        let ring: Ring<T, K> = Ring::options().capacity(capacity).create(&name).unwrap();
        let raw = Raw::of(&name.path());
        // From the header: a chart of so many words takes its time.
        let header: Vec<u64> = raw.words()[..HEADER / 8].iter().map(|w| w.load(Relaxed)).collect();
        let stamps = stamps(&header).collect();
        let messages = if K::MESSAGES { header[5] } else { 0 };
        let lengths =
            (0..messages).map(|slot| (header[7] + header[6] * slot) as usize / 8).collect();
        Self { raw, stamps, lengths, slots: header[5], ring, name }
    }

    /// Every slot is free, or every slot is full, in the first lap: of an item, or of a message of
    /// no bytes.
    fn fill(&self, full: bool) {
        self.stamps.iter().for_each(|&stamp| put(&self.raw, stamp, full.into()));
        self.lengths.iter().for_each(|&length| put(&self.raw, length, 0));
        put(&self.raw, TAIL, if full { self.slots } else { 0 });
        put(&self.raw, HEAD, 0);
    }

    /// Full of two messages, as long as there can be.
    fn fill_with_two(&self) {
        self.fill(true);
        let half = self.lengths.len() / 2;
        let continued = self.stamps.iter().zip(0..).filter(|(_, slot)| slot % half > 0);
        continued.for_each(|(&stamp, _)| put(&self.raw, stamp, 3));
        let bytes = 8 * (self.lengths[half] - self.lengths[0]) as u64 - 8;
        put(&self.raw, self.lengths[0], bytes);
        put(&self.raw, self.lengths[half], bytes);
    }
}

/// One claim of the whole ring after another, each of which finds the ring as good as it can be,
/// but for the indices.
fn claims_of_a_whole_ring<K: Whole>() {
    guarded(LONG + 2 * seconds(), || {
        let long = LongRing::<K::Element, K>::new(SLOTS);
        let time = seconds() / 40;
        let (mut all, mut stores, mut bytes) = (Outcomes::default(), 0, 0);
        for manners in MANNERS {
            let strafing = Strafing::start(long.name.path().to_str().unwrap(), manners);
            let mut seen = Outcomes::default();
            for sends in [true, false] {
                let began = Instant::now();
                loop {
                    claim::<K>(&long, WaitPolicy::Park, sends, &mut seen);
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
fn claim<K: Whole>(
    long: &LongRing<K::Element, K>,
    policy: WaitPolicy,
    sends: bool,
    seen: &mut Outcomes,
) {
    if sends {
        let Some(mut tx) = seen.attach(|| K::sender(&long.ring)) else { return };
        tx.set_liveness_interval(INTERVAL);
        tx.set_wait_policy(policy);
        K::claim_to_send(long, &mut tx, seen);
        timed!(seen, "drop", NOW, drop(tx));
    } else {
        let Some(mut rx) = seen.attach(|| K::receiver(&long.ring)) else { return };
        rx.set_liveness_interval(INTERVAL);
        rx.set_wait_policy(policy);
        K::claim_to_receive(long, &mut rx, seen); // held; and an abandoned claim, as it leaves
        timed!(seen, "drop", NOW, drop(rx));
    }
}

/// The claims of as much as a ring has, each of a ring that is as it should be.
trait Whole: AnyKind {
    fn claim_to_send(long: &LongRing<Self::Element, Self>, tx: &mut Self::Tx, seen: &mut Outcomes);
    fn claim_to_receive(
        long: &LongRing<Self::Element, Self>,
        rx: &mut Self::Rx,
        seen: &mut Outcomes,
    );
}

macro_rules! whole {
    ($($kind:ty),* => $send:ident, $receive:ident) => {$(
        impl Whole for $kind {
            fn claim_to_send(
                long: &LongRing<Self::Element, Self>,
                tx: &mut Self::Tx,
                seen: &mut Outcomes,
            ) {
                $send(long, tx, seen);
            }
            fn claim_to_receive(
                long: &LongRing<Self::Element, Self>,
                rx: &mut Self::Rx,
                seen: &mut Outcomes,
            ) {
                $receive(long, rx, seen);
            }
        }
    )*};
}
whole!(Spsc, Mpmc, Bytes => send_items, receive_items);
whole!(SpscMessages, MpmcMessages => send_messages, receive_messages);

fn send_items<T: Sample, K: Kind>(
    long: &LongRing<T, K>,
    tx: &mut SendHandle<T, K>,
    seen: &mut Outcomes,
) {
    let buffer = vec![T::of(0); SLOTS];
    long.fill(false);
    let sent = timed!(seen, "try_send_slice of a long ring", NOW, tx.try_send_slice(&buffer));
    seen.bulk(sent);
    long.fill(false);
    let sent =
        timed!(seen, "send_exact of a long ring", MOMENT, tx.send_exact_deadline(&buffer, MOMENT));
    seen.bulk(sent);
    long.fill(false);
    let claimed =
        timed!(seen, "claim of a long ring to send", MOMENT, tx.claim_deadline(SLOTS, MOMENT));
    drop(seen.bulk(claimed)); // so many holes
}

fn receive_items<T: Sample, K: Kind>(
    long: &LongRing<T, K>,
    rx: &mut RecvHandle<T, K>,
    seen: &mut Outcomes,
) {
    let mut into = vec![T::of(0); SLOTS];
    long.fill(true);
    let received = timed!(seen, "try_recv_slice of a long ring", NOW, rx.try_recv_slice(&mut into));
    seen.bulk(received);
    long.fill(true);
    let received = timed!(
        seen,
        "recv_exact of a long ring",
        MOMENT,
        rx.recv_exact_deadline(&mut into, MOMENT)
    );
    seen.bulk(received);
    long.fill(true);
    let claimed =
        timed!(seen, "claim of a long ring to receive", MOMENT, rx.claim_deadline(SLOTS, MOMENT));
    let _ = seen.bulk(claimed);
}

/// Half of the ring is as much as a message can have.
fn send_messages<K: Messages>(
    long: &LongRing<Message, K>,
    tx: &mut Sender<K>,
    seen: &mut Outcomes,
) {
    let most = vec![7; tx.max_len()];
    long.fill(false);
    let sent = timed!(seen, "try_send of a long message", NOW, tx.try_send(&most));
    seen.message(sent);
    long.fill(false);
    let sent = timed!(seen, "send of a long message", MOMENT, tx.send_deadline(&most, MOMENT));
    seen.message(sent);
    long.fill(false);
    let reserved =
        timed!(seen, "reserve of a long message", MOMENT, tx.reserve_deadline(most.len(), MOMENT));
    drop(seen.message(reserved)); // so many holes
}

fn receive_messages<K: Messages>(
    long: &LongRing<Message, K>,
    rx: &mut Receiver<K>,
    seen: &mut Outcomes,
) {
    let most = long.slots as usize;
    long.fill(true);
    let claimed = timed!(seen, "try_claim of a long ring", NOW, rx.try_claim(most));
    if let Some(run) = seen.message(claimed) {
        timed!(seen, "release_all of a long ring", NOW, run.release_all());
    }
    long.fill(true);
    let cleared = timed!(seen, "clear of a long ring", NOW, rx.clear());
    seen.message(cleared);
    let mut message = Vec::with_capacity(rx.max_len());
    long.fill_with_two();
    let received = timed!(seen, "try_recv of a long message", NOW, rx.try_recv(&mut message));
    seen.message(received);
    long.fill_with_two();
    let received =
        timed!(seen, "recv of a long message", MOMENT, rx.recv_deadline(&mut message, MOMENT));
    seen.message(received);
    long.fill(true);
    let claimed =
        timed!(seen, "claim of a long ring to receive", MOMENT, rx.claim_deadline(most, MOMENT));
    let _ = seen.message(claimed);
}

#[test]
fn claims_of_a_whole_long_spsc_ring_end_though_the_indices_move() {
    claims_of_a_whole_ring::<Spsc>();
}

#[test]
fn claims_of_a_whole_long_mpmc_ring_end_though_the_indices_move() {
    claims_of_a_whole_ring::<Mpmc>();
}

#[test]
fn claims_of_a_whole_long_byte_pipe_end_though_the_indices_move() {
    claims_of_a_whole_ring::<Bytes>();
}

#[test]
fn claims_of_all_of_a_long_ring_of_spsc_messages_end_though_the_indices_move() {
    claims_of_a_whole_ring::<SpscMessages>();
}

#[test]
fn claims_of_all_of_a_long_ring_of_mpmc_messages_end_though_the_indices_move() {
    claims_of_a_whole_ring::<MpmcMessages>();
}

/// Every call, with slices of all lengths, from both sides at once.
fn long_slices<K: Calls>() {
    guarded(LONG + 2 * seconds(), || {
        let long = LongRing::<K::Element, K>::new(SLOTS);
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
                            K::send_up_to(&mut tx, most, most < SLOTS, &mut seen);
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
                            K::receive_up_to(&mut rx, most, most < SLOTS, &mut seen);
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

#[test]
fn a_long_byte_pipe_bears_indices_that_move() {
    long_slices::<Bytes>();
}

#[test]
fn a_long_ring_of_spsc_messages_bears_indices_that_move() {
    long_slices::<SpscMessages>();
}

#[test]
fn a_long_ring_of_mpmc_messages_bears_indices_that_move() {
    long_slices::<MpmcMessages>();
}

/// Items of a ring so long that one look at all of it takes longer than a busy machine keeps the
/// process waiting that moves the indices: each look ends with an index that is another by then.
const HUGE: usize = if cfg!(debug_assertions) { 1 << 19 } else { 1 << 23 };
/// Likewise of a ring of messages, in whose granules of 64 bytes four such items have room.
const HUGE_OF_MESSAGES: usize = if cfg!(debug_assertions) { 4 * HUGE } else { HUGE };

/// Does `work` on such a ring, with as many items.
fn where_every_claim_is_too_late<T: Item, K: Kind>(
    items: usize,
    work: impl FnOnce(&LongRing<T, K>, &mut Outcomes) + Send + 'static,
) {
    guarded(LONG, move || {
        let long = LongRing::<T, K>::new(items);
        let mut seen = Outcomes::default();
        let path = long.name.path();
        let strafing = Strafing::start(path.to_str().unwrap(), &[Manner::Sweep]);
        work(&long, &mut seen);
        let (stores, bytes) = strafing.stop();
        println!("{}, {} slots: {seen:?}", K::NAME, long.slots);
        tell(&format!("{}, claims of all of a huge ring", K::NAME), stores, bytes, &seen.clock);
    });
}

#[test]
fn a_claim_that_is_always_too_late_ends() {
    where_every_claim_is_too_late::<u8, Mpmc>(HUGE, |long, seen| {
        let buffer = &mut vec![0; HUGE];
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
    where_every_claim_is_too_late::<u8, Mpmc>(HUGE, |long, seen| {
        let buffer = &mut vec![0; HUGE];
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

/// Both, of messages.
#[test]
fn claims_of_messages_that_are_always_too_late_end_and_keep_deadlines() {
    where_every_claim_is_too_late::<Message, MpmcMessages>(HUGE_OF_MESSAGES, |long, seen| {
        for policy in POLICIES {
            claim::<MpmcMessages>(long, policy, true, seen);
            claim::<MpmcMessages>(long, policy, false, seen);
        }
    });
}
