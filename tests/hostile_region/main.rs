//! A peer that scribbles on the region can feed wrong values or stop the flow, and nothing worse.
//!
//! These tests map a ring's region as any process with permission can, and write what no honest end
//! writes: into a ring at rest ([`flips`]), and at full speed into one in use ([`scribbler`]). Then
//! every call must return, in bounded time, with a value or one of its documented errors: no panic,
//! no hang, no access beyond the region. Where only the control words were touched, no value may
//! come out that was never in a slot.

mod flips;
mod scribbler;
#[path = "../common_bad_input/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ringpipe::{
    AttachError, BulkError, Kind, Mpmc, PeerError, RecvHandle, RecvTimeoutError, Ring, SendHandle,
    SendTimeoutError, Spsc, TryRecvError, TrySendError,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A whole region, mapped behind the crate's back.
struct Raw {
    base: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: what it gives out is atomics.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Raw {
    fn of(path: &Path) -> Self {
        let file = std::fs::File::options().read(true).write(true).open(path).expect("a region");
        let len = file.metadata().expect("a status").len() as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe { mmap(nowhere, len, access, MapFlags::SHARED, &file, 0) };
        let base = NonNull::new(base.expect("a mapping").cast()).expect("an address");
        Self { base, len }
    }

    /// The region as 64-bit words.
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is this long, page-aligned, and lives as long as `self`.
        unsafe { NonNull::slice_from_raw_parts(self.base, self.len / 8).as_ref() }
    }

    fn copy(&self) -> Vec<u64> {
        self.words().iter().map(|word| word.load(Relaxed)).collect()
    }

    fn restore(&self, copy: &[u64]) {
        for (word, &value) in self.words().iter().zip(copy) {
            word.store(value, Relaxed);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and nothing points into it any more.
        unsafe { munmap(self.base.as_ptr().cast(), self.len) }.expect("unmapped");
    }
}

/// Where the shared words begin: after the identity.
const CONTROL_AT: usize = 512;

/// Where the slots begin in a ring with so many endpoint records.
const fn slots_at(endpoints: u32) -> usize {
    let records = endpoints as usize;
    (1280 + 8 * records).next_multiple_of(128) + 128 * records
}

/// Both kinds behind the same names.
trait Ends: Kind {
    fn tx(ring: &Ring<u64, Self>) -> Result<SendHandle<u64, Self>, AttachError>;
    fn rx(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError>;
}

impl Ends for Spsc {
    fn tx(ring: &Ring<u64, Self>) -> Result<SendHandle<u64, Self>, AttachError> {
        ring.producer()
    }
    fn rx(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError> {
        ring.consumer()
    }
}

impl Ends for Mpmc {
    fn tx(ring: &Ring<u64, Self>) -> Result<SendHandle<u64, Self>, AttachError> {
        ring.sender()
    }
    fn rx(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError> {
        ring.receiver()
    }
}

/// How often each outcome was seen.
#[derive(Default, Debug)]
struct Outcomes(BTreeMap<&'static str, u64>);

impl Outcomes {
    fn count(&mut self, outcome: &'static str) {
        *self.0.entry(outcome).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (outcome, times) in other.0 {
            *self.0.entry(outcome).or_default() += times;
        }
    }

    fn of(&self, outcome: &str) -> u64 {
        self.0.get(outcome).copied().unwrap_or(0)
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn bulk<T>(&mut self, outcome: Result<T, BulkError>) -> Option<T> {
        self.count(match &outcome {
            Ok(_) => "ok",
            Err(BulkError::Full) => "full",
            Err(BulkError::Empty) => "empty",
            Err(BulkError::Timeout) => "timeout",
            Err(BulkError::Closed) => "closed",
            Err(BulkError::Corrupt) => "corrupt",
            Err(BulkError::Held { .. }) => "held",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        outcome.ok()
    }
}

/// Short enough for many waits, and a slice of the shortest kind.
const MOMENT: Duration = Duration::from_micros(300);
const SLICE: Duration = Duration::from_millis(1);

/// Every sending call, once or twice. `value` is what it sends.
fn send_every_way<K: Kind>(
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
        seen.bulk(tx.send_exact(&[value; 2], MOMENT));
        seen.count(match tx.wait_for_peer(MOMENT) {
            Ok(()) => "peer",
            Err(PeerError::Timeout) => "timeout",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }
    look(tx.ring(), seen);
}

/// Every receiving call. Values go to `check`.
fn receive_every_way<K: Kind>(
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
        seen.bulk(rx.recv_exact(&mut buffer[..2], MOMENT));
        seen.count(match rx.wait_for_peer(MOMENT) {
            Ok(()) => "peer",
            Err(PeerError::Timeout) => "timeout",
            Err(other) => panic!("undocumented: {other:?}"),
        });
    }
    look(rx.ring(), seen);
}

/// Every question.
fn look<K: Kind>(ring: &Ring<u64, K>, seen: &mut Outcomes) {
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
fn attached<H>(outcome: Result<H, AttachError>, seen: &mut Outcomes) -> Option<H> {
    seen.count(match &outcome {
        Ok(_) => "attached",
        Err(AttachError::Corrupt) => "corrupt",
        Err(AttachError::RoleTaken(_)) => "role taken",
        Err(AttachError::TableFull { .. }) => "table full",
        Err(other) => panic!("undocumented: {other:?}"),
    });
    outcome.ok()
}
