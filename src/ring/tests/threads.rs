//! Ends in threads of their own: what Miri is for.
//!
//! Threads meet through the ring alone. The counters that tell a receiver when to stop are Relaxed
//! and order nothing, so that a missing Release or Acquire of the ring's cannot hide behind them.
//! Few items: Miri interprets every step, and `-Zmiri-many-seeds` runs all of it again and again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::ring::{Mpmc, MpmcMessages, Spsc};

/// What no honest wait comes near. Miri's clock is virtual and slower.
const TOO_LONG: Duration = Duration::from_secs(60);

/// For loops that wait for others: yields, but not for ever.
pub(super) struct Patience(Instant);

impl Patience {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn wait(&self, complaint: impl Debug) {
        assert!(self.0.elapsed() < TOO_LONG, "stuck: {complaint:?}");
        thread::yield_now();
    }
}

/// Tries until it works; anything but "not now" is a bug.
pub(super) fn until_ready<R>(mut attempt: impl FnMut() -> Result<R, Refused>) -> R {
    let patience = Patience::new();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(Refused::Corrupt) => panic!("an honest ring says it is corrupt"),
            Err(blocked) => patience.wait(blocked),
        }
    }
}

fn one_by_one<T: Sample, K: Kind>(capacity: u64, items: u64) {
    let heap = Heap::<T, K>::new(capacity, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..items {
                until_ready(|| tx.send(n));
            }
        });
        scope.spawn(move || {
            for n in 0..items {
                assert_eq!(until_ready(|| rx.recv()), T::nth(n));
            }
        });
    });
}

fn one_by_one_over_all_capacities<K: Kind>() {
    one_by_one::<u64, K>(1, 12);
    one_by_one::<u64, K>(2, 12);
    one_by_one::<u64, K>(4, 16);
}

fn one_by_one_with_all_types<K: Kind>() {
    one_by_one::<u8, K>(2, 6);
    one_by_one::<[u8; 3], K>(2, 6);
    one_by_one::<u32, K>(2, 6);
    one_by_one::<[u64; 3], K>(2, 6);
    one_by_one::<[u32; 25], K>(2, 6);
    one_by_one::<Aligned16, K>(2, 6);
    one_by_one::<Aligned64, K>(2, 6);
}

#[test]
fn spsc_hands_over_each_item_whole_and_in_order() {
    one_by_one_over_all_capacities::<Spsc>();
    one_by_one_with_all_types::<Spsc>();
}

#[test]
fn mpmc_hands_over_each_item_whole_and_in_order() {
    one_by_one_over_all_capacities::<Mpmc>();
    one_by_one_with_all_types::<Mpmc>();
}

/// Batches of varying length on both sides, some of them published or released in part only.
fn in_batches<T: Sample, K: Kind>(capacity: u64, items: u64) {
    let heap = Heap::<T, K>::new(capacity, 2);
    let (mut tx, mut rx) = (heap.tx(0), heap.rx(1));
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut sent, mut turn) = (0, 0);
            while sent < items {
                turn += 1;
                let most = (turn % capacity + 1).min(items - sent);
                let run = until_ready(|| tx.claim(1, most));
                // Every third run is published but for its last slot; perhaps that is all of it.
                let publish = run.items - u64::from(turn % 3 == 0);
                tx.fill(run, sent, publish);
                sent += publish;
            }
        });
        scope.spawn(move || {
            let (mut received, mut turn) = (0, 0);
            while received < items {
                turn += 1;
                let run = until_ready(|| rx.claim(1, turn % capacity + 1));
                for (value, n) in rx.values(run).into_iter().zip(received..) {
                    assert_eq!(value, T::nth(n));
                }
                // Every other run goes back but for its first item.
                let released = if turn % 2 == 0 { 1 } else { run.items };
                rx.release(run, released);
                received += released;
            }
        });
    });
}

#[test]
fn spsc_batches_keep_order_whatever_is_abandoned_or_given_back() {
    in_batches::<u64, Spsc>(2, 10);
    in_batches::<[u8; 3], Spsc>(4, 16);
}

#[test]
fn mpmc_batches_keep_order_whatever_is_abandoned_or_given_back() {
    in_batches::<u64, Mpmc>(2, 10);
    in_batches::<[u8; 3], Mpmc>(4, 16);
}

/// The sample that sender `sender` sends as its `n`th.
pub(super) fn signed(sender: u64, n: u64) -> u64 {
    sender << 32 | n
}

/// Several senders and receivers; `abandon` and `hold` make some calls give up or give back.
fn crowd<K: Kind>(capacity: u64, each: u64, abandon: bool, hold: bool) {
    const SENDERS: u64 = 2;
    const RECEIVERS: u64 = 2;
    let heap = Heap::<[u64; 4], K>::new(capacity, (SENDERS + RECEIVERS) as u32);
    let (heap, received) = (&heap, &AtomicU64::new(0));
    let sending = |sender: u64| {
        let mut tx = heap.tx(sender as usize);
        for n in 0..each {
            if abandon && n % 2 == sender {
                let run = until_ready(|| tx.claim(1, 2));
                tx.fill(run, 0, 0);
            }
            let granules = if K::MESSAGES { (n + sender) % capacity + 1 } else { 1 };
            until_ready(|| tx.send_long(signed(sender, n), granules));
        }
    };
    let receiving = |record: usize| {
        let mut rx = heap.rx(record);
        let (mut got, mut turn) = (Vec::new(), 0);
        let since = Instant::now();
        // Relaxed: see the opening. Whoever holds items has not counted them, so nobody stops
        // early.
        while received.load(Relaxed) < SENDERS * each {
            assert!(since.elapsed() < TOO_LONG, "{got:?} and no more");
            turn += 1;
            let Ok(run) = rx.claim(1, 2) else {
                thread::yield_now();
                continue;
            };
            let values = rx.values(run);
            let keep = if hold { turn % 2 } else { 0 };
            let released = run.items - keep;
            if released > 0 {
                rx.release(run, released);
            }
            got.extend_from_slice(&values[..released as usize]);
            received.fetch_add(released, Relaxed);
        }
        assert_eq!(rx.cursor.held(), 0);
        got
    };
    let received: Vec<Vec<[u64; 4]>> = thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || sending(sender));
        }
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|r| scope.spawn(move || receiving((SENDERS + r) as usize)))
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    let mut times = BTreeMap::new();
    for one in &received {
        let mut last = BTreeMap::new();
        for value in one {
            assert_eq!(*value, [value[0]; 4], "torn");
            let (sender, n) = (value[0] >> 32, value[0] as u32);
            let before = last.insert(sender, n);
            assert!(before < Some(n), "sender {sender}: {n} after {before:?}");
            *times.entry(value[0]).or_insert(0) += 1;
        }
    }
    let once = (0..SENDERS).flat_map(|s| (0..each).map(move |n| (signed(s, n), 1)));
    assert_eq!(times, once.collect());
}

#[test]
fn each_item_of_several_senders_goes_to_one_receiver() {
    crowd::<Mpmc>(1, 5, false, false);
    crowd::<Mpmc>(2, 6, false, false);
    crowd::<Mpmc>(4, 6, false, false);
}

#[test]
fn holes_in_a_crowd_cost_no_item() {
    crowd::<Mpmc>(2, 5, true, false);
    crowd::<Mpmc>(4, 5, true, false);
}

#[test]
fn items_given_back_in_a_crowd_are_delivered_to_their_holder_again() {
    crowd::<Mpmc>(2, 5, true, true);
    crowd::<Mpmc>(4, 6, false, true);
}

#[test]
fn each_message_of_several_senders_goes_to_one_receiver_whole() {
    crowd::<MpmcMessages>(2, 5, false, false);
    crowd::<MpmcMessages>(4, 6, false, false);
}

#[test]
fn messages_in_a_crowd_that_gives_up_and_gives_back_lose_nothing() {
    crowd::<MpmcMessages>(4, 5, true, true);
    crowd::<MpmcMessages>(8, 6, true, true);
}

#[test]
fn a_successor_sees_all_that_its_predecessor_stored() {
    // The role passes from thread to thread through the record alone, as between processes.
    use crate::peers::table::{self, Role};
    let heap = Heap::<[u64; 3], Spsc>::new(4, 2);
    let heap = &heap;
    thread::scope(|scope| {
        for turn in 0..3 {
            scope.spawn(move || {
                let words = heap.mem().words;
                // One after the other, in order of their turns.
                let arrivals = &words.control.arrivals.of.senders;
                let owner = until_ready(|| match arrivals.load(Relaxed) {
                    arrived if arrived == turn => {
                        table::take(&words.owners[0], Role::Sender, 1, false)
                            .ok_or(Refused::NotReady)
                    }
                    _ => Err(Refused::NotReady),
                });
                table::arrived(&words, Role::Sender);
                let mut tx = heap.tx(0);
                for n in 0..4 {
                    until_ready(|| tx.send(4 * turn + n));
                }
                assert!(table::leave(&words, 0, owner));
            });
        }
        let mut rx = heap.rx(1);
        for n in 0..12 {
            assert_eq!(until_ready(|| rx.recv()), [n; 3]);
        }
    });
}
