//! Every call there is, and which of its documented outcomes it came to. Any other is a failure.

use std::collections::BTreeMap;
use std::time::Duration;

use ringpipe::{
    AttachError, BulkError, Kind, PeerError, RecvError, RecvHandle, RecvTimeoutError, Ring,
    SendError, SendHandle, SendTimeoutError, TryRecvError, TrySendError,
};

/// How often each outcome was seen.
#[derive(Default, Debug)]
pub struct Outcomes(BTreeMap<&'static str, u64>);

impl Outcomes {
    pub fn count(&mut self, outcome: &'static str) {
        *self.0.entry(outcome).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        for (outcome, times) in other.0 {
            *self.0.entry(outcome).or_default() += times;
        }
    }

    pub fn of(&self, outcome: &str) -> u64 {
        self.0.get(outcome).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
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
}

/// Short enough for many waits, and a slice of the shortest kind.
pub const MOMENT: Duration = Duration::from_micros(300);
pub const SLICE: Duration = Duration::from_millis(1);

/// Every sending call, once or twice. `value` is what it sends.
pub fn send_every_way<K: Kind>(
    tx: &mut SendHandle<u64, K>,
    value: u64,
    wait: bool,
    seen: &mut Outcomes,
) {
    seen.count(match tx.try_send(value) {
        Ok(()) => "ok",
        Err(TrySendError::Full(back)) if back == value => "full",
        Err(TrySendError::Closed(back)) if back == value => "closed",
        Err(TrySendError::Corrupt(back)) if back == value => "corrupt",
        Err(other) => panic!("undocumented: {other:?}"),
    });
    seen.bulk(tx.try_send_slice(&[value; 3]));
    seen.bulk(tx.try_send_exact(&[value; 2]));
    if let Some(mut run) = seen.bulk(tx.try_claim(3)) {
        assert!((1..=3).contains(&run.len()));
        for index in 0..run.len() {
            run.write(index, value);
        }
        let most = run.len();
        run.commit(value as usize % (most + 1));
    }
    if let Ok(run) = tx.try_claim(2) {
        std::mem::forget(run);
    }
    if wait {
        seen.count(match tx.send_timeout(value, MOMENT) {
            Ok(()) => "ok",
            Err(SendTimeoutError::Timeout(_)) => "timeout",
            Err(SendTimeoutError::Closed(_)) => "closed",
            Err(SendTimeoutError::Corrupt(_)) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        seen.bulk(tx.send_slice(&[value; 3], MOMENT));
        seen.bulk(tx.send_exact(&[value; 2], MOMENT));
        if let Some(run) = seen.bulk(tx.claim(2, MOMENT)) {
            run.commit_all();
        }
        let canceller = tx.canceller();
        canceller.cancel();
        seen.count(match tx.send(value) {
            Ok(()) => "ok",
            Err(SendError::Cancelled(_)) => "cancelled",
            Err(SendError::Closed(_)) => "closed",
            Err(SendError::Corrupt(_)) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        canceller.reset();
        seen.count(match tx.wait_for_peer(MOMENT) {
            Ok(()) => "peer",
            Err(PeerError::Timeout) => "timeout",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }
    look(tx.ring(), seen);
}

/// Every receiving call. Values go to `check`.
pub fn receive_every_way<K: Kind>(
    rx: &mut RecvHandle<u64, K>,
    wait: bool,
    seen: &mut Outcomes,
    check: &impl Fn(u64),
) {
    seen.count(match rx.try_recv() {
        Ok(value) => {
            check(value);
            "ok"
        }
        Err(TryRecvError::Empty) => "empty",
        Err(TryRecvError::Closed) => "closed",
        Err(TryRecvError::Corrupt) => "corrupt",
        Err(other) => panic!("undocumented: {other:?}"),
    });
    let mut buffer = [0; 3];
    if let Some(received) = seen.bulk(rx.try_recv_slice(&mut buffer)) {
        buffer[..received].iter().copied().for_each(check);
    }
    if seen.bulk(rx.try_recv_exact(&mut buffer[..2])).is_some() {
        buffer[..2].iter().copied().for_each(check);
    }
    if let Some(run) = seen.bulk(rx.try_claim(3)) {
        assert!((1..=3).contains(&run.len()));
        run.iter().for_each(check);
        let some = run.len() / 2;
        run.release(some);
    }
    drop(rx.try_claim(2)); // nothing released: received again
    if wait {
        seen.count(match rx.recv_timeout(MOMENT) {
            Ok(value) => {
                check(value);
                "ok"
            }
            Err(RecvTimeoutError::Timeout) => "timeout",
            Err(RecvTimeoutError::Closed) => "closed",
            Err(RecvTimeoutError::Corrupt) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        if let Some(received) = seen.bulk(rx.recv_slice(&mut buffer, MOMENT)) {
            buffer[..received].iter().copied().for_each(check);
        }
        if seen.bulk(rx.recv_exact(&mut buffer[..2], MOMENT)).is_some() {
            buffer[..2].iter().copied().for_each(check);
        }
        if let Some(run) = seen.bulk(rx.claim(2, MOMENT)) {
            run.iter().for_each(check);
            run.release_all();
        }
        let canceller = rx.canceller();
        canceller.cancel();
        seen.count(match rx.recv() {
            Ok(value) => {
                check(value);
                "ok"
            }
            Err(RecvError::Cancelled) => "cancelled",
            Err(RecvError::Closed) => "closed",
            Err(RecvError::Corrupt) => "corrupt",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        canceller.reset();
        seen.count(match rx.wait_for_peer(MOMENT) {
            Ok(()) => "peer",
            Err(PeerError::Timeout) => "timeout",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }
    look(rx.ring(), seen);
}

/// Every question.
pub fn look<K: Kind>(ring: &Ring<u64, K>, seen: &mut Outcomes) {
    assert!(ring.len() <= ring.capacity());
    let peers = ring.peers();
    let records = ring.endpoints() as usize;
    // Counted one after the other, while seats may change hands.
    assert!(peers.senders <= records && peers.receivers <= records);
    let _ = (ring.stats(), ring.is_full(), ring.is_empty());
    assert!(!format!("{ring:?}").is_empty());
    seen.count("looked");
}

/// Attaches, or says why not.
pub fn attached<H>(outcome: Result<H, AttachError>, seen: &mut Outcomes) -> Option<H> {
    seen.count(match &outcome {
        Ok(_) => "attached",
        Err(AttachError::Corrupt) => "corrupt",
        Err(AttachError::RoleTaken(_)) => "role taken",
        Err(AttachError::TableFull { .. }) => "table full",
        Err(other) => panic!("undocumented: {other:?}"),
    });
    outcome.ok()
}
