//! Every call there is, and which of its documented outcomes it came to. Any other is a failure; so
//! is a call that is late ([`limits`](super::limits)).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::{
    AttachError, BulkError, Cloneable, Item, Kind, Mpmc, OpenError, PeerError, Pool, RecvError,
    RecvHandle, RecvTimeoutError, Ring, SendError, SendHandle, SendTimeoutError, Spsc,
    TryRecvError, TrySendError,
};

use super::limits::{Clock, MOMENTARY, NOW, timed};
use super::support::kinds::AnyKind;
use super::support::{Flavour, POLICIES};

/// What travels in these rings.
pub trait Sample: Item + PartialEq + Debug {
    fn of(number: u64) -> Self;
}

impl Sample for u64 {
    fn of(number: u64) -> Self {
        number
    }
}

impl Sample for u8 {
    fn of(number: u64) -> Self {
        number as u8
    }
}

impl Sample for [u8; 5] {
    fn of(number: u64) -> Self {
        [number as u8; 5]
    }
}

impl Sample for [u64; 16] {
    fn of(number: u64) -> Self {
        [number; 16]
    }
}

/// Both kinds of ring, and what only one of them can do.
pub trait Ends: Flavour {
    /// Clones, and ends lent by pools, if the kind has such.
    fn share<T: Sample>(ring: &Ring<T, Self>, seen: &mut Outcomes);
}

impl Ends for Spsc {
    fn share<T: Sample>(_: &Ring<T, Self>, _: &mut Outcomes) {}
}

impl Ends for Mpmc {
    fn share<T: Sample>(ring: &Ring<T, Self>, seen: &mut Outcomes) {
        let tx = seen.attach(|| ring.sender());
        share_end(tx, SendHandle::try_clone, seen, |tx, seen| {
            seen.sent(T::of(1), |tx: &mut SendHandle<T, Mpmc>| tx.try_send(T::of(1)), tx);
        });
        let rx = seen.attach(|| ring.receiver());
        share_end(rx, RecvHandle::try_clone, seen, |rx, seen| {
            let outcome = timed!(seen, "try_recv", NOW, rx.try_recv());
            seen.received(outcome, &|_| ());
        });
    }
}

/// Clones it, and lends two such from a pool, for a call on each of them.
pub fn share_end<H: Cloneable + Debug>(
    end: Option<H>,
    clone: impl FnOnce(&H) -> Result<H, AttachError>,
    seen: &mut Outcomes,
    call: impl Fn(&mut H, &mut Outcomes),
) {
    let Some(end) = end else { return };
    let clone = seen.attach(|| clone(&end));
    let pool = Pool::new(end);
    for _ in 0..2 {
        let lent = timed!(seen, "Pool::get", MOMENTARY, pool.get());
        if let Some(mut end) = attached(lent, seen) {
            call(&mut end, seen);
        }
    }
    assert!(!format!("{pool:?}").is_empty());
    timed!(seen, "drop", NOW, drop((pool, clone)));
}

/// Any kind of ring, and every call on its ends. What goes over it is made of a number.
pub trait Calls: AnyKind {
    /// Sends what the number makes, if there is room.
    fn send_one(tx: &mut Self::Tx, number: u64) -> bool;
    /// Receives what the number makes; `false` if there is nothing.
    fn recv_one(rx: &mut Self::Rx, number: u64) -> bool;
    /// Makes every sending call.
    fn send(tx: &mut Self::Tx, number: u64, wait: bool, seen: &mut Outcomes);
    /// Makes every receiving call. Nothing comes out that was in no slot, if only this was ever
    /// sent.
    fn receive(rx: &mut Self::Rx, sent: Option<u64>, wait: bool, seen: &mut Outcomes);
    /// Makes the sending calls with up to so many items or bytes at once.
    fn send_up_to(tx: &mut Self::Tx, most: usize, wait: bool, seen: &mut Outcomes);
    /// Makes the receiving calls with up to so many items, bytes or messages at once.
    fn receive_up_to(rx: &mut Self::Rx, most: usize, wait: bool, seen: &mut Outcomes);
    /// Sends what the number makes, so many times over in one piece, waiting for room.
    fn wait_to_send(tx: &mut Self::Tx, number: u64, times: usize, deadline: Duration) -> bool;
    /// Receives something, waiting for it: what the number makes, if one is given.
    fn wait_to_receive(rx: &mut Self::Rx, number: Option<u64>, deadline: Duration) -> bool;
    /// Claims room for a few, and gives it up, or forgets it.
    fn claim_room(tx: &mut Self::Tx, forget: bool);
    /// Claims two, or as much as makes two numbers, and gives them back: they are held.
    fn hold(rx: &mut Self::Rx);
    /// Clones, and ends lent by pools, if the kind has such.
    fn share(_: &Ring<Self::Element, Self>, _: &mut Outcomes) {}
}

/// Claims room for so many items, and gives it up, or forgets it.
pub fn claim_slots<T: Item, K: Kind>(tx: &mut SendHandle<T, K>, most: usize, forget: bool) {
    if let Ok(run) = tx.try_claim(most)
        && forget
    {
        std::mem::forget(run);
    }
}

macro_rules! of_values {
    ($($kind:ty),*) => {$(
        impl Calls for $kind {
            fn send_one(tx: &mut Self::Tx, number: u64) -> bool {
                tx.try_send(number).is_ok()
            }
            fn recv_one(rx: &mut Self::Rx, number: u64) -> bool {
                let received = rx.try_recv();
                assert!(received.is_err() || received == Ok(number), "{received:?}");
                received.is_ok()
            }
            fn send(tx: &mut Self::Tx, number: u64, wait: bool, seen: &mut Outcomes) {
                tx.set_liveness_interval(INTERVAL);
                send_every_way(tx, number, wait, seen);
            }
            fn receive(rx: &mut Self::Rx, sent: Option<u64>, wait: bool, seen: &mut Outcomes) {
                rx.set_liveness_interval(INTERVAL);
                receive_every_way(rx, wait, seen, &|value| {
                    // Or from a slot in which nothing was written yet.
                    let right = sent.is_none_or(|sent| value == sent || value == 0);
                    assert!(right, "{value:x} was never sent");
                });
            }
            fn send_up_to(tx: &mut Self::Tx, most: usize, wait: bool, seen: &mut Outcomes) {
                send_runs_every_way(tx, 7, most, wait, seen);
            }
            fn receive_up_to(rx: &mut Self::Rx, most: usize, wait: bool, seen: &mut Outcomes) {
                receive_runs_every_way(rx, most, wait, seen, &|_| ());
            }
            fn wait_to_send(
                tx: &mut Self::Tx,
                number: u64,
                times: usize,
                deadline: Duration,
            ) -> bool {
                tx.send_exact_deadline(&vec![number; times], deadline).is_ok()
            }
            fn wait_to_receive(
                rx: &mut Self::Rx,
                number: Option<u64>,
                deadline: Duration,
            ) -> bool {
                let received = rx.recv_deadline(deadline);
                assert!(received.is_err() || number.is_none_or(|n| received == Ok(n)));
                received.is_ok()
            }
            fn claim_room(tx: &mut Self::Tx, forget: bool) {
                claim_slots(tx, 3, forget);
            }
            fn hold(rx: &mut Self::Rx) {
                drop(rx.try_claim(2));
            }
            fn share(ring: &Ring<u64, Self>, seen: &mut Outcomes) {
                <Self as Ends>::share(ring, seen);
            }
        }
    )*};
}
of_values!(Spsc, Mpmc);

/// How often each outcome was seen, and how long calls took.
#[derive(Default)]
pub struct Outcomes {
    counts: BTreeMap<&'static str, u64>,
    pub clock: Clock,
}

impl Debug for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (overrun, what) = self.clock.longest();
        write!(f, "{:?}, longest overrun {overrun:?} ({what})", self.counts)
    }
}

impl Outcomes {
    pub fn count(&mut self, outcome: &'static str) {
        *self.counts.entry(outcome).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        self.clock.add(&other.clock);
        for (outcome, times) in other.counts {
            *self.counts.entry(outcome).or_default() += times;
        }
    }

    pub fn of(&self, outcome: &str) -> u64 {
        self.counts.get(outcome).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Attaches, by this call, or counts why not.
    pub fn attach<H>(&mut self, call: impl FnOnce() -> Result<H, AttachError>) -> Option<H> {
        let outcome = timed!(self, "attach", MOMENTARY, call());
        attached(outcome, self)
    }

    pub fn bulk<T>(&mut self, outcome: Result<T, BulkError>) -> Option<T> {
        self.count(match &outcome {
            Ok(_) => "ok",
            Err(BulkError::Full) => "full",
            Err(BulkError::Empty) => "empty",
            Err(BulkError::Timeout) => "timeout",
            Err(BulkError::Closed) => "closed",
            Err(BulkError::Corrupt) => "corrupt",
            Err(BulkError::Held { .. }) => "held",
            Err(BulkError::Fragmented { .. }) => "fragmented",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        outcome.ok()
    }

    fn sent<T: Sample, H>(
        &mut self,
        value: T,
        call: impl FnOnce(&mut H) -> Result<(), TrySendError<T>>,
        on: &mut H,
    ) {
        let outcome = timed!(self, "try_send", NOW, call(on));
        self.count(match outcome {
            Ok(()) => "ok",
            Err(TrySendError::Full(back)) if back == value => "full",
            Err(TrySendError::Closed(back)) if back == value => "closed",
            Err(TrySendError::Corrupt(back)) if back == value => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }

    fn sent_in_time<T>(&mut self, outcome: Result<(), SendTimeoutError<T>>) {
        self.count(match outcome {
            Ok(()) => "ok",
            Err(SendTimeoutError::Timeout(_)) => "timeout",
            Err(SendTimeoutError::Closed(_)) => "closed",
            Err(SendTimeoutError::Corrupt(_)) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }

    fn sent_unless_cancelled<T>(&mut self, outcome: Result<(), SendError<T>>) {
        self.count(match outcome {
            Ok(()) => "ok",
            Err(SendError::Cancelled(_)) => "cancelled",
            Err(SendError::Closed(_)) => "closed",
            Err(SendError::Corrupt(_)) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }

    fn received<T>(&mut self, outcome: Result<T, TryRecvError>, check: &impl Fn(T)) {
        self.count(match outcome {
            Ok(value) => {
                check(value);
                "ok"
            }
            Err(TryRecvError::Empty) => "empty",
            Err(TryRecvError::Closed) => "closed",
            Err(TryRecvError::Corrupt) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }

    fn received_in_time<T>(&mut self, outcome: Result<T, RecvTimeoutError>, check: &impl Fn(T)) {
        self.count(match outcome {
            Ok(value) => {
                check(value);
                "ok"
            }
            Err(RecvTimeoutError::Timeout) => "timeout",
            Err(RecvTimeoutError::Closed) => "closed",
            Err(RecvTimeoutError::Corrupt) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }

    fn received_unless_cancelled<T>(&mut self, outcome: Result<T, RecvError>, check: &impl Fn(T)) {
        self.count(match outcome {
            Ok(value) => {
                check(value);
                "ok"
            }
            Err(RecvError::Cancelled) => "cancelled",
            Err(RecvError::Closed) => "closed",
            Err(RecvError::Corrupt) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }

    pub fn met(&mut self, outcome: Result<(), PeerError>) {
        self.count(match outcome {
            Ok(()) => "peer",
            Err(PeerError::Timeout) => "timeout",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }
}

/// Short enough for many waits, and a slice of the shortest kind.
pub const MOMENT: Duration = Duration::from_micros(300);
pub const INTERVAL: Duration = Duration::from_millis(1);

/// How many items the calls move that move several.
const FEW: usize = 3;

/// Every sending call, once or twice. `value` is what it sends.
pub fn send_every_way<T: Sample, K: Kind>(
    tx: &mut SendHandle<T, K>,
    value: T,
    wait: bool,
    seen: &mut Outcomes,
) {
    send_runs_every_way(tx, value, FEW, wait, seen);
}

/// As [`send_every_way`], with slices of up to `most` items.
pub fn send_runs_every_way<T: Sample, K: Kind>(
    tx: &mut SendHandle<T, K>,
    value: T,
    most: usize,
    wait: bool,
    seen: &mut Outcomes,
) {
    let turn = seen.total();
    let values = vec![value; most];
    // With the smaller ones, there is room more often.
    let some = &values[..(most * 2 / 3).min(tx.capacity())];
    seen.sent(value, |tx| tx.try_send(value), tx);
    let closed = timed!(seen, "is_closed", NOW, tx.is_closed());
    seen.count(if closed { "broken pipe" } else { "whole pipe" });
    let outcome = timed!(seen, "try_send_slice", NOW, tx.try_send_slice(&values));
    seen.bulk(outcome);
    let outcome = timed!(seen, "try_send_exact", NOW, tx.try_send_exact(some));
    seen.bulk(outcome);
    let claimed = timed!(seen, "try_claim to send", NOW, tx.try_claim(most));
    if let Some(mut run) = seen.bulk(claimed) {
        assert!((1..=most).contains(&run.len()));
        for index in 0..run.len().min(100) {
            run.write(index, value);
        }
        let count = turn as usize % (run.len() + 1);
        timed!(seen, "commit", NOW, run.commit(count));
    }
    if let Ok(run) = timed!(seen, "try_claim to send", NOW, tx.try_claim(some.len())) {
        std::mem::forget(run);
    }
    if wait {
        tx.set_wait_policy(POLICIES[turn as usize % 3]);
        if turn % 32 == 1 {
            tx.require_peer();
        }
        let outcome = timed!(seen, "send_timeout", MOMENT, tx.send_timeout(value, MOMENT));
        seen.sent_in_time(outcome);
        let soon = Instant::now() + MOMENT;
        let outcome = timed!(seen, "send_deadline", MOMENT, tx.send_deadline(value, soon));
        seen.sent_in_time(outcome);
        let outcome = timed!(seen, "send_slice", MOMENT, tx.send_slice_deadline(&values, MOMENT));
        seen.bulk(outcome);
        let outcome = timed!(seen, "send_exact", MOMENT, tx.send_exact_deadline(some, MOMENT));
        seen.bulk(outcome);
        let claimed = timed!(seen, "claim to send", MOMENT, tx.claim_deadline(most, MOMENT));
        if let Some(run) = seen.bulk(claimed) {
            timed!(seen, "commit_all", NOW, run.commit_all());
        }
        let canceller = tx.canceller();
        canceller.cancel();
        let outcome = timed!(seen, "send, cancelled before", NOW, tx.send(value));
        seen.sent_unless_cancelled(outcome);
        canceller.reset();
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(MOMENT);
                canceller.cancel();
            });
            timed!(seen, "send, cancelled meanwhile", MOMENT, tx.send(value))
        });
        seen.sent_unless_cancelled(outcome);
        canceller.reset();
        let outcome = timed!(seen, "wait_for_peer", MOMENT, tx.wait_for_peer(MOMENT));
        seen.met(outcome);
    }
    look(&tx.ring(), seen);
}

/// Every receiving call. Values go to `check`.
pub fn receive_every_way<T: Sample, K: Kind>(
    rx: &mut RecvHandle<T, K>,
    wait: bool,
    seen: &mut Outcomes,
    check: &impl Fn(T),
) {
    receive_runs_every_way(rx, FEW, wait, seen, check);
}

/// As [`receive_every_way`], with slices of up to `most` items.
pub fn receive_runs_every_way<T: Sample, K: Kind>(
    rx: &mut RecvHandle<T, K>,
    most: usize,
    wait: bool,
    seen: &mut Outcomes,
    check: &impl Fn(T),
) {
    let turn = seen.total();
    let outcome = timed!(seen, "try_recv", NOW, rx.try_recv());
    seen.received(outcome, check);
    seen.count(if rx.redelivered() > 0 { "given again" } else { "given once" });
    let closed = timed!(seen, "is_closed", NOW, rx.is_closed());
    seen.count(if closed { "end of file" } else { "whole pipe" });
    let mut buffer = vec![T::of(0); most];
    let some = (most * 2 / 3).min(rx.capacity());
    let outcome = timed!(seen, "try_recv_slice", NOW, rx.try_recv_slice(&mut buffer));
    if let Some(received) = seen.bulk(outcome) {
        buffer[..received].iter().copied().for_each(check);
    }
    let outcome = timed!(seen, "try_recv_exact", NOW, rx.try_recv_exact(&mut buffer[..some]));
    if seen.bulk(outcome).is_some() {
        buffer[..some].iter().copied().for_each(check);
    }
    let claimed = timed!(seen, "try_claim to receive", NOW, rx.try_claim(most));
    if let Some(run) = seen.bulk(claimed) {
        assert!((1..=most).contains(&run.len()));
        assert!(run.redelivered() <= run.len());
        timed!(seen, "ReadRun::iter", NOW, run.iter().for_each(check));
        run.get(run.len() - 1).into_iter().for_each(check);
        assert_eq!(run.get(run.len()), None);
        let part = run.len() / 2;
        timed!(seen, "release", NOW, run.release(part));
    }
    // Nothing released: received again.
    drop(timed!(seen, "try_claim to receive", NOW, rx.try_claim(some)));
    timed!(seen, "try_iter", NOW, rx.try_iter().take(FEW).for_each(check));
    if wait {
        rx.set_wait_policy(POLICIES[turn as usize % 3]);
        if turn % 32 == 1 {
            rx.require_peer();
        }
        let outcome = timed!(seen, "recv_timeout", MOMENT, rx.recv_timeout(MOMENT));
        seen.received_in_time(outcome, check);
        let soon = Instant::now() + MOMENT;
        let outcome = timed!(seen, "recv_deadline", MOMENT, rx.recv_deadline(soon));
        seen.received_in_time(outcome, check);
        let outcome =
            timed!(seen, "recv_slice", MOMENT, rx.recv_slice_deadline(&mut buffer, MOMENT));
        if let Some(received) = seen.bulk(outcome) {
            buffer[..received].iter().copied().for_each(check);
        }
        let into = &mut buffer[..some];
        let outcome = timed!(seen, "recv_exact", MOMENT, rx.recv_exact_deadline(into, MOMENT));
        if seen.bulk(outcome).is_some() {
            buffer[..some].iter().copied().for_each(check);
        }
        let claimed = timed!(seen, "claim to receive", MOMENT, rx.claim_deadline(most, MOMENT));
        if let Some(run) = seen.bulk(claimed) {
            run.iter().for_each(check);
            timed!(seen, "release_all", NOW, run.release_all());
        }
        let canceller = rx.canceller();
        canceller.cancel();
        let outcome = timed!(seen, "recv, cancelled before", NOW, rx.recv());
        seen.received_unless_cancelled(outcome, check);
        timed!(seen, "iter, cancelled before", NOW, rx.iter().take(FEW).for_each(check));
        canceller.reset();
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(MOMENT);
                canceller.cancel();
            });
            timed!(seen, "recv, cancelled meanwhile", MOMENT, rx.recv())
        });
        seen.received_unless_cancelled(outcome, check);
        canceller.reset();
        let outcome = timed!(seen, "wait_for_peer", MOMENT, rx.wait_for_peer(MOMENT));
        seen.met(outcome);
        if turn % 8 == 3 {
            let outcome = timed!(seen, "clear", NOW, rx.clear());
            if let Some(cleared) = seen.bulk(outcome) {
                assert!(cleared <= 2 * rx.capacity() as u64);
            }
        }
    }
    look(&rx.ring(), seen);
}

/// Every question.
pub fn look<T: Item, K: Kind>(ring: &Ring<T, K>, seen: &mut Outcomes) {
    timed!(seen, "questions", NOW, {
        assert!(ring.len() <= ring.capacity());
        let peers = ring.peers();
        let records = ring.endpoints() as usize;
        // Counted one after the other, while records may change hands.
        assert!(peers.senders <= records && peers.receivers <= records);
        let _ = (ring.stats(), ring.is_full(), ring.is_empty());
        let _ = (ring.id(), ring.created(), ring.name(), ring.region_len());
        assert_eq!(ring.element().size, size_of::<T>() as u64);
        assert!(!format!("{ring:?}").is_empty());
    });
    if seen.total().is_multiple_of(16) {
        // A file that is cut off, or on a disk that fails, may refuse.
        let _ = timed!(seen, "sync", NOW, ring.sync());
    }
    seen.count("looked");
}

/// Attaches, or says why not.
pub fn attached<H>(outcome: Result<H, AttachError>, seen: &mut Outcomes) -> Option<H> {
    seen.count(match &outcome {
        Ok(_) => "attached",
        Err(AttachError::Corrupt { .. }) => "corrupt",
        Err(AttachError::RoleTaken { .. }) => "role taken",
        Err(AttachError::TableFull { .. }) => "table full",
        Err(other) => panic!("undocumented: {other:?}"),
    });
    outcome.ok()
}

/// What opening a ring may say that is there and damaged.
pub fn refused(error: &OpenError) -> &'static str {
    match error {
        OpenError::NotARing { .. } => "not a ring",
        OpenError::Mismatch { .. } => "mismatch",
        OpenError::Damaged { .. } => "damaged",
        OpenError::Busy { .. } => "busy",
        other => panic!("undocumented: {other:?}"),
    }
}
