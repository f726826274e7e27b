//! Recovery while others are at work: one end dies again and again in the midst of a claim, and
//! those who wait for it reap it and go on, several at once.
//!
//! A death is a cursor that its thread drops: what it had stored stays as it was. The [`Morgue`]
//! knows the dead by their records. It is all that tells of a death, as the kernel's lock is
//! between processes: who sees one dead sees all that it ever stored, and nothing else orders the
//! ends.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;

use super::threads::{Patience, signed, until_ready};
use super::*;
use crate::peers::reap::{Life, Liveness, reap_pass};
use crate::peers::recovery_word::Scratch;
use crate::peers::table::{self, Name, Role};
use crate::ring::intent::intent;
use crate::ring::stamp::Stamp;
use crate::ring::{Mpmc, MpmcMessages};

/// What is sent: all of it one number.
type Value = [u64; 2];

/// Who is dead, by records.
#[derive(Default)]
struct Morgue {
    dead: AtomicU64,
}

impl Morgue {
    fn admit(&self, record: usize) {
        self.dead.fetch_or(1 << record, Release);
    }

    /// Sits down in `record` as soon as its last owner is reaped; `None` if `enough` comes first.
    fn sit<K: Kind>(
        &self,
        heap: &Heap<Value, K>,
        record: usize,
        role: Role,
        enough: impl Fn() -> bool,
    ) -> Option<()> {
        let patience = Patience::new();
        let words = heap.mem().words;
        while table::owner(&words.owners[record]).is_some() {
            if enough() {
                return None;
            }
            patience.wait("the record is not freed");
        }
        self.dead.fetch_and(!(1 << record), Relaxed); // the lock is taken before the record
        table::take(&words.owners[record], role, 1, false).expect("only we sit here");
        table::arrived(&words, role);
        Some(())
    }
}

impl Liveness for Morgue {
    fn alive(&self, _: Role, record: usize) -> Life {
        (self.dead.load(Acquire) >> record & 1 == 0).into()
    }

    fn any_alive(&self, _: Role) -> Life {
        Life::Alive
    }

    fn visitor_alive(&self) -> Life {
        Life::Dead
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        Some(work(&mut Scratch::for_records(4)))
    }
}

/// Dies having lost the race for what comes next at `index`: its intent says what others claim.
fn lose<K: Kind>(heap: &Heap<Value, K>, index: &AtomicU64) {
    let at = index.load(Acquire);
    heap.mem().words.records[VICTIM].intent.store(intent(at, 2), Release);
}

/// Where the ends of these tests sit.
const SENDER: usize = 0;
const RECEIVERS: [usize; 2] = [1, 2];
const VICTIM: usize = 3;

/// A ring whose lasting ends have sat down.
fn ring<K: Kind>(capacity: u64) -> Heap<Value, K> {
    let heap = Heap::new(capacity, 4);
    let words = heap.mem().words;
    table::take(&words.owners[SENDER], Role::Sender, 1, false).expect("free");
    for record in RECEIVERS {
        table::take(&words.owners[record], Role::Receiver, 1, false).expect("free");
    }
    heap
}

/// Whoever sits in this record.
fn name<K: Kind>(heap: &Heap<Value, K>, record: usize) -> Name {
    let (owner, _) = table::owner(&heap.mem().words.owners[record]).expect("taken");
    owner.name(record)
}

/// Those in a run.
fn numbers_of<K: Kind>(rx: &Rx<Value, K>, run: Run) -> Vec<u64> {
    rx.values(run).into_iter().map(|[number, _]| number).collect()
}

/// Receives until all have been received by someone; whoever finds nothing looks for the dead.
fn receive_and_reap<K: Kind>(
    heap: &Heap<Value, K>,
    record: usize,
    morgue: &Morgue,
    received: &AtomicU64,
    enough: &dyn Fn() -> bool,
) -> Vec<u64> {
    let mut rx = heap.rx(record);
    let (mut got, mut turn) = (Vec::new(), 0);
    let patience = Patience::new();
    while !enough() {
        let Ok(run) = rx.claim(1, 2) else {
            let adopter = (!rx.cursor.has_claim()).then_some(&mut rx.cursor);
            reap_pass(&rx.mem, Role::Receiver, name(heap, record), morgue, adopter);
            patience.wait("not all has come");
            continue;
        };
        turn += 1;
        let values = numbers_of(&rx, run);
        // Every other time one item stays behind, and this end is no adopter meanwhile.
        let released = run.items - u64::from(turn % 2 == 0 && run.items > 1);
        rx.release(run, released);
        got.extend_from_slice(&values[..released as usize]);
        received.fetch_add(released, Relaxed);
    }
    got
}

/// Each of `expected` came once, each sender's in order as far as one receiver saw them.
fn check(got: Vec<Vec<u64>>, expected: impl Iterator<Item = u64>, in_order: bool) {
    let mut times = BTreeMap::new();
    for values in got {
        let mut last = BTreeMap::new();
        for value in values {
            *times.entry(value).or_insert(0) += 1;
            let before = last.insert(value >> 32, value);
            assert!(!in_order || before < Some(value), "{value:x} after {before:x?}");
        }
    }
    assert_eq!(times, expected.map(|value| (value, 1)).collect());
}

#[test]
fn senders_that_die_in_mid_call_cost_the_living_nothing() {
    senders_that_die::<Mpmc>();
}

#[test]
fn senders_that_die_over_messages_cost_the_living_nothing() {
    senders_that_die::<MpmcMessages>();
}

fn senders_that_die<K: Kind>() {
    const EACH: u64 = 6;
    const DEATHS: u64 = 6;
    let heap = &ring::<K>(4);
    let (morgue, received) = (&Morgue::default(), &AtomicU64::new(0));
    let (skipped, published) = (&AtomicU64::new(0), DEATHS / 3);
    let enough = &move || received.load(Relaxed) == EACH + published;
    let got = thread::scope(|scope| {
        scope.spawn(move || {
            let mut tx = heap.tx(SENDER);
            for n in 0..EACH {
                until_ready(|| tx.send(signed(0, n)));
            }
        });
        scope.spawn(move || {
            for death in 0..DEATHS {
                if morgue.sit(heap, VICTIM, Role::Sender, enough).is_none() {
                    break; // the last of those who publish is dead and received; nobody reaps
                }
                let mut tx = heap.tx(VICTIM);
                if death % 3 == 0 {
                    lose(heap, &tx.mem.words.control.tail.at);
                    morgue.admit(VICTIM);
                    continue;
                }
                let run = until_ready(|| tx.claim(if K::MESSAGES { 2 } else { 1 }, 2));
                let mut stored = 0;
                let mut store = |stamp: fn(u64, u64) -> Stamp, at| {
                    stored += 1;
                    tx.mem.slots.stamp(at).store(stamp(at, 4).0, Release);
                };
                if K::MESSAGES {
                    // Of a message, the last granule is handed over, or all of it.
                    tx.write_message(run, signed(1, death), 2);
                    store(Stamp::continued, run.at + 1);
                }
                if death % 3 == 2 {
                    // The first is published, and no more is done.
                    if !K::MESSAGES {
                        tx.view().write(run.at, &Value::nth(signed(1, death)));
                    }
                    store(Stamp::published, run.at);
                }
                skipped.fetch_add(run.slots - stored, Relaxed);
                morgue.admit(VICTIM);
            }
        });
        RECEIVERS
            .map(|record| {
                scope.spawn(move || receive_and_reap(heap, record, morgue, received, enough))
            })
            .map(|receiver| receiver.join().unwrap())
    });
    let dying = (2..DEATHS).step_by(3).map(|death| signed(1, death));
    check(got.into(), (0..EACH).map(|n| signed(0, n)).chain(dying), true);
    // Whoever died last is reaped now, and then no claim is left of any of them.
    assert!(
        !reap_pass(&heap.mem(), Role::Receiver, name(heap, RECEIVERS[0]), morgue, None).pending
    );
    let tally = &heap.mem().words.control.tally;
    assert_eq!(tally.skipped.load(Relaxed), skipped.load(Relaxed));
    assert_eq!(heap.intent(VICTIM), 0);
}

#[test]
fn what_dying_receivers_hold_is_received_once_by_the_living() {
    receivers_that_die::<Mpmc>();
}

#[test]
fn messages_that_dying_receivers_hold_are_received_once_and_whole_by_the_living() {
    receivers_that_die::<MpmcMessages>();
}

fn receivers_that_die<K: Kind>() {
    const ITEMS: u64 = 12;
    let heap = &ring::<K>(4);
    let (morgue, received) = (&Morgue::default(), &AtomicU64::new(0));
    let enough = &move || received.load(Relaxed) == ITEMS;
    let got = thread::scope(|scope| {
        scope.spawn(move || {
            let mut tx = heap.tx(SENDER);
            for n in 0..ITEMS {
                let granules = if K::MESSAGES { n % 3 + 1 } else { 1 };
                until_ready(|| tx.send_long(n, granules));
            }
        });
        let dying = scope.spawn(move || {
            let (mut got, mut death) = (Vec::new(), 0);
            while morgue.sit(heap, VICTIM, Role::Receiver, enough).is_some() {
                death += 1;
                if death % 2 == 0 {
                    lose(heap, &heap.mem().words.control.head);
                    morgue.admit(VICTIM);
                    continue;
                }
                let mut rx = heap.rx(VICTIM);
                let patience = Patience::new();
                while !enough() {
                    let Ok(run) = rx.claim(1, 3) else {
                        patience.wait("nothing to die with");
                        continue;
                    };
                    // The last one is always left behind.
                    let values = numbers_of(&rx, run);
                    let released = run.items - 1;
                    if released > 0 {
                        rx.release(run, released);
                    }
                    got.extend_from_slice(&values[..released as usize]);
                    received.fetch_add(released, Relaxed);
                    break;
                }
                morgue.admit(VICTIM);
            }
            got
        });
        let living = RECEIVERS.map(|record| {
            scope.spawn(move || receive_and_reap(heap, record, morgue, received, enough))
        });
        let living = living.into_iter().chain([dying]);
        living.map(|receiver| receiver.join().unwrap()).collect()
    });
    check(got, 0..ITEMS, false); // what is adopted comes late
    assert_eq!(heap.mem().words.control.tally.dropped.load(Relaxed), 0);
}
