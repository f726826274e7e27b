//! What the contract says of deaths, kept in books.
//!
//! Every end writes down by position what it published and what it received. The books of the dead
//! are exact, too: a hand-over is one store (of a slot's stamp; in SPSC rings, of the index), and
//! `death` tells how many of its stores the dead had made. In the end the books must agree:
//!
//! * every position that was published was received once, with its value, and no other was: what a
//!   dead sender had not published does not exist, what a dead receiver had released is its own;
//! * what was received is marked as redelivered if one who died had claimed it and not released it,
//!   and not otherwise; on a ring that drops this, it was not received at all;
//! * it is said how often it was delivered before: once, and once more for each adopter that was
//!   shown it and died; perhaps for one that was about to be. As often as a ring's limit, it was
//!   not received;
//! * all records but those of the living are free, no claim is in progress, and the whole capacity
//!   can be used.

use super::death::traces;
use super::support::{Rx, Tx, claim_now, needed, numbers, read, write_run};
use crate::peers::reap::{Life, Liveness, reap_for_record};
use crate::peers::table::{self, Owner};
use crate::pipe::End;
use crate::ring::{Kind, Refused, Run};
use crate::sync::Ordering::Relaxed;

/// One value at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    at: u64,
    value: u64,
    /// Received: marked as redelivered.
    marked: bool,
    /// And said to have been delivered so often to receivers that are gone.
    told: u32,
}

/// What one end has done; or several.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    published: Vec<Item>,
    received: Vec<Item>,
    /// Claimed for receiving and not released.
    held: Vec<u64>,
    /// What was claimed last is among these.
    noted: bool,
    /// Adopted, about to be shown, and not released.
    counting: Vec<u64>,
    /// And shown.
    counted: Vec<u64>,
    /// The hand-over in progress.
    underway: Option<HandOver>,
}

#[derive(Debug)]
struct HandOver {
    published: bool,
    /// What its end had left in all before it.
    traces_before: u32,
    /// The items, each with how many traces of the hand-over it takes.
    items: Vec<(u32, Item)>,
}

impl Ledger {
    fn begins(&mut self, published: bool, items: impl Iterator<Item = (u32, Item)>) {
        let items = items.collect();
        self.underway = Some(HandOver { published, traces_before: traces(), items });
    }

    /// The hand-over in progress, if there is one, went as far as this many traces in all took it.
    fn ended_after(&mut self, traces: u32) {
        let Some(HandOver { published, traces_before, items }) = self.underway.take() else {
            return;
        };
        let done = items.into_iter().filter(|(takes, _)| traces_before + takes <= traces);
        let book = if published { &mut self.published } else { &mut self.received };
        book.extend(done.map(|(_, item)| item));
        for book in [&mut self.held, &mut self.counting, &mut self.counted] {
            book.retain(|at| self.received.iter().all(|item| item.at != *at));
        }
    }

    /// Closes the book of an end that died, in mid-deed after so many traces if that is known.
    pub(super) fn of_the_dead(mut self, in_mid_deed: Option<u32>) -> Self {
        self.ended_after(in_mid_deed.unwrap_or(u32::MAX));
        self
    }

    /// Of a receiver that died: what it had claimed, also if it did not live to write that down.
    pub(super) fn with_claim_of<K: Kind>(mut self, rx: &mut Rx<K>) -> Self {
        if rx.end.leave() && !self.noted {
            // What its private memory says; stores nothing.
            let run = rx.end.claim_slow(1, u64::MAX, &*rx.ring.locks).expect("it has a claim");
            let released = |at: &u64| self.received.iter().any(|item| item.at == *at);
            self.held.extend((run.at..run.at + run.slots).filter(|at| !released(at)));
        }
        self
    }

    fn add(&mut self, other: Self) {
        assert!(other.underway.is_none(), "{other:?}");
        let firsts = other.received.iter().filter(|item| !item.marked);
        assert!(firsts.is_sorted_by_key(|item| item.at), "one FIFO: {other:?}");
        self.published.extend(other.published);
        self.received.extend(other.received);
        self.held.extend(other.held);
        self.counting.extend(other.counting);
        self.counted.extend(other.counted);
    }

    /// How often the item at this position, which one who died had claimed, was delivered: at
    /// least, and at most.
    fn deliveries(&self, at: u64) -> (u32, u32) {
        let times = |book: &[u64]| 1 + book.iter().filter(|counted| **counted == at).count() as u32;
        (times(&self.counted), times(&self.counting))
    }

    /// As if what was delivered perhaps as often as the ring allows, and was not received, had
    /// never been published.
    fn drop_exhausted(&mut self, limit: u32) -> u64 {
        let mut published = std::mem::take(&mut self.published);
        let before = published.len();
        published.retain(|item| {
            let received = self.received.iter().any(|received| received.at == item.at);
            received || self.deliveries(item.at).1 < limit
        });
        self.published = published;
        (before - self.published.len()) as u64
    }

    /// As if what the dead had claimed and not released had never been published.
    fn drop_held(&mut self) -> u64 {
        let before = self.published.len();
        self.published.retain(|item| !self.held.contains(&item.at));
        (before - self.published.len()) as u64
    }

    fn must_agree(mut self) {
        self.published.sort();
        self.received.sort();
        let positions =
            |items: &[Item]| -> Vec<_> { items.iter().map(|item| (item.at, item.value)).collect() };
        assert_eq!(
            positions(&self.received),
            positions(&self.published),
            "what was received, and what was published: {self:?}"
        );
        for item in &self.received {
            assert_eq!(item.marked, self.held.contains(&item.at), "{item:?} in {self:?}");
            let (least, most) = if item.marked { self.deliveries(item.at) } else { (0, 0) };
            assert!((least..=most).contains(&item.told), "{item:?} in {self:?}");
        }
    }
}

/// Tries to send `values`, and publishes the first `publish` of those that there is room for. Gives
/// their number. Messages: tries to send one, of as many granules.
pub(super) fn send<K: Kind>(
    tx: &mut Tx<K>,
    values: &[u64],
    publish: usize,
    book: &mut Ledger,
) -> usize {
    let most = values.len() as u64;
    let run = match claim_now(&mut tx.end, needed::<K>(1, most), most, &tx.ring.locks) {
        Ok(run) => run,
        Err(refused) => {
            assert_eq!(refused, Refused::NotReady);
            return 0;
        }
    };
    let values = &values[..publish.min(run.items as usize)];
    put(tx, run, values, book);
    values.len()
}

/// Fills a claimed run and publishes it.
pub(super) fn put<K: Kind>(tx: &mut Tx<K>, run: Run, values: &[u64], book: &mut Ledger) {
    let one = match values {
        [value] if run.slots == 1 && !K::MESSAGES => Some(tx.end.write_one(numbers(), run, value)),
        _ => {
            write_run(&tx.end.mem, run.at, values);
            None
        }
    };
    // A message is handed over by the last store: behind those for what is given up, the count of
    // that, and one for each further granule.
    let given_up = run.slots as u32 - values.len() as u32;
    let whole = given_up + u32::from(given_up > 0) + values.len() as u32;
    let items = if K::MESSAGES { &values[..values.len().min(1)] } else { values };
    book.begins(
        true,
        items.iter().zip(0..).map(|(&value, i)| {
            let takes = match (K::MESSAGES, K::RECOVERS) {
                (true, _) => whole,
                (false, true) => i + 1,
                (false, false) => 1,
            };
            (takes, Item { at: run.at + u64::from(i), value, marked: false, told: 0 })
        }),
    );
    match one {
        Some(all) => tx.end.publish_one(numbers(), run, all),
        None => tx.end.publish(numbers(), run, values.len() as u64),
    }
    book.ended_after(u32::MAX);
}

/// Tries to receive `max` values, and releases the first `release` of them. Gives how many there
/// were.
pub(super) fn receive<K: Kind>(rx: &mut Rx<K>, max: u64, release: u64, book: &mut Ledger) -> usize {
    book.noted = false;
    match claim_now(&mut rx.end, 1, max, &rx.ring.locks) {
        Ok(run) => take(rx, run, release, book),
        Err(refused) => {
            assert!(matches!(refused, Refused::NotReady | Refused::Closed), "{refused:?}");
            0
        }
    }
}

/// Copies a claimed run out and releases its first items.
pub(super) fn take<K: Kind>(rx: &mut Rx<K>, run: Run, release: u64, book: &mut Ledger) -> usize {
    let told = rx.end.redeliveries(run);
    let lone = (told > 0).then(|| rx.end.items(numbers(), run).next().expect("an item"));
    book.counting.extend(lone);
    if !K::RECOVERS || told > 0 {
        rx.end.hand_out(run);
    }
    book.counted.extend(lone);
    // Holes, too: nobody looks for them.
    book.held.extend(run.at..run.at + run.slots);
    book.noted = true;
    let values = read(&mut rx.end, run);
    let places: Vec<_> = rx.end.items(numbers(), run).collect();
    let release = release.min(run.items);
    // What was handed out before is counted first, and each slot written back.
    let slots = places.get(release as usize).map_or(run.slots, |at| at - run.at);
    let before = u32::from(run.again > 0) + slots as u32;
    let items = values.iter().zip(&places).zip(0..run.items).take(release as usize);
    book.begins(
        false,
        items.map(|((&value, &at), i)| {
            let takes = if K::RECOVERS { (at - run.at) as u32 + 1 } else { 1 };
            let (marked, told) = (i < run.again, if i == 0 { told } else { 0 });
            (before + takes, Item { at, value, marked, told })
        }),
    );
    if release > 0 {
        rx.end.release(numbers(), run, release);
    }
    book.ended_after(u32::MAX);
    values.len()
}

/// After all else, when everybody but these two has finished: what is left is settled and received,
/// everything can be used again, and the books agree.
pub(super) fn settle_accounts<K: Kind>(
    mut tx: Tx<K>,
    mut rx: Rx<K>,
    books: impl IntoIterator<Item = Ledger>,
) {
    let ring = rx.ring.clone();
    let mut book = Ledger::default();
    // Each death leaves at most one run in a row to adopt, of two items that come one by one; two
    // may die.
    let settled = (0..6).any(|_| {
        let findings = rx.end.check_liveness(&*ring.locks);
        receive(&mut rx, 2, 2, &mut book) == 0 && !findings.pending
    });
    assert!(settled, "what the dead have left is settled");
    assert!(reap_for_record(&ring.mem(), rx.end.me, &*ring.locks), "nobody else is recovering");
    for (record, state) in ring.words.owners.iter().enumerate() {
        if let Some((owner, role)) = table::owner(state) {
            assert!(!Owner::is_abandoned(owner), "record {record} is an abandoned claim");
            let life = ring.locks.alive(role, record);
            assert_eq!(life, Life::Alive, "the dead in record {record} have it still");
        }
        let intent = ring.words.records[record].intent.load(Relaxed);
        assert!(!K::RECOVERS || intent == 0, "the intent in record {record} is {intent:#x}");
    }
    let capacity = ring.mem().slots.capacity();
    for value in 1..=capacity {
        assert_eq!(send(&mut tx, &[900 + value], 1, &mut book), 1, "slot {value} is free");
    }
    assert_eq!(send(&mut tx, &[999], 1, &mut book), 0, "the ring is full");
    while receive(&mut rx, capacity, capacity, &mut book) > 0 {}
    let mut all = Ledger::default();
    for book in books.into_iter().chain([book]) {
        all.add(book);
    }
    let dropped = match ring.limit {
        _ if ring.drops => all.drop_held(),
        0 => 0,
        limit => {
            assert!(all.received.iter().all(|item| item.told < limit), "{all:?}");
            all.drop_exhausted(limit)
        }
    };
    // Counted after it was done, so not by whoever died in between.
    assert!(ring.words.control.tally.dropped.load(Relaxed) <= dropped, "{all:?}");
    all.must_agree();
}
