//! What recovery's argument rests on: who sees a claimed position, and its owner's intent replaced
//! or cleared, sees that it was handed over (S2a, S4, R2a, R4, X4 → X2).
//!
//! An observer looks as recovery does: index, intent, stamp. It needs no lock and takes no second
//! look by read-modify-write, so it would notice a store that others can see too early, where the
//! real recoverer is protected by more than one thing. Bare cursors: a fence in a wake must not
//! help.

use std::cell::{RefCell, RefMut};
use std::ops::Range;

use loom::thread;

use super::mpmc::{How, Sender, receiver, sender};
use super::support::{Ring, check, numbers, slots_of_one};
use crate::peers::table::Role;
use crate::ring::recovery::{self, Alive};
use crate::ring::{Kind, Mpmc, MpmcMessages, Run};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed};

/// The intent of position 0 alone.
const THE_FIRST: u64 = 1 << 40;
/// The numbers that make the first item, and the second.
const FIRST: [u64; 2] = [10, 11];
const SECOND: [u64; 2] = [12, 13];
/// Its stamps.
const FREE: u64 = 0;
const PUBLISHED: u64 = 1;

/// If the first item's positions are claimed by `index` and nothing in `record` covers them, they
/// are not in `state` any more. Whether it was so.
fn observe<K: Kind>(ring: &Ring<K>, index: &AtomicU64, record: usize, state: u64) -> bool {
    let claimed = index.load(Acquire) > 0; // as X1
    let slots = slots_of_one::<K>();
    let covered = ring.words.records[record].intent.load(Acquire) == slots * THE_FIRST; // as X2
    let gone = claimed && !covered;
    if gone {
        for position in 0..slots {
            let stamp = ring.mem().slots.stamp(position).load(Relaxed);
            assert_ne!(stamp & 3, state, "the intent is gone, and the slot not handed over");
        }
    }
    gone
}

/// The first and the second item are sent, one after the other.
fn send_two<K: Kind>(tx: &mut Sender<K>) {
    let slots = slots_of_one::<K>() as usize;
    for numbers in [&FIRST, &SECOND] {
        assert_eq!(tx.try_send(&numbers[..slots], slots), numbers[..1]);
    }
}

fn senders_intent<K: Kind>(how: How) {
    let ring = Ring::<K>::new(2 * slots_of_one::<K>() as usize, 2);
    let mut tx = sender(&ring, 0).claiming(how);
    let sending = thread::spawn(move || send_two(&mut tx));
    observe(&ring, &ring.words.control.tail.at, 0, FREE);
    sending.join().unwrap();
    assert!(observe(&ring, &ring.words.control.tail.at, 0, FREE));
}

#[test]
fn who_sees_a_senders_intent_gone_sees_what_it_published() {
    check("hand-over, sender", None, || senders_intent::<Mpmc>(How::Properly));
}

#[test]
fn who_sees_a_fast_senders_intent_gone_sees_what_it_published() {
    check("hand-over, sender at once", None, || senders_intent::<Mpmc>(How::AtOnce));
}

#[test]
fn who_sees_the_intent_of_a_sender_of_messages_gone_sees_all_that_it_published() {
    check("hand-over, messages, sender", None, || senders_intent::<MpmcMessages>(How::Properly));
}

fn receivers_intent<K: Kind>(how: How) {
    let ring = Ring::<K>::new(2 * slots_of_one::<K>() as usize, 2);
    send_two(&mut sender(&ring, 0));
    let mut rx = receiver(&ring, 1).claiming(how);
    let receiving = thread::spawn(move || [rx.try_recv(1), rx.try_recv(1)].concat());
    observe(&ring, &ring.words.control.head, 1, PUBLISHED);
    assert_eq!(receiving.join().unwrap(), [FIRST[0], SECOND[0]]);
    assert!(observe(&ring, &ring.words.control.head, 1, PUBLISHED));
}

#[test]
fn who_sees_a_receivers_intent_gone_sees_what_it_released() {
    check("hand-over, receiver", None, || receivers_intent::<Mpmc>(How::Properly));
}

#[test]
fn who_sees_a_fast_receivers_intent_gone_sees_what_it_released() {
    check("hand-over, receiver at once", None, || receivers_intent::<Mpmc>(How::AtOnce));
}

#[test]
fn who_sees_the_intent_of_a_receiver_of_messages_gone_sees_all_that_it_released() {
    check("hand-over, messages, receiver", None, || {
        receivers_intent::<MpmcMessages>(How::Properly);
    });
}

/// One that takes over a dead receiver's item has released what it had itself.
fn adopter_intent(how: How) {
    let ring = Ring::<Mpmc>::new(2, 2);
    assert_eq!(sender(&ring, 0).try_send(&[10, 11], 2), [10, 11]);
    let mut adopter = receiver(&ring, 1).claiming(how);
    let words = ring.words.clone();
    let receiving = thread::spawn(move || {
        assert_eq!(adopter.try_recv(1), [10]);
        recovery::adopt(&words, 1, Run { at: 1, slots: 1, items: 1, again: 1 });
    });
    observe(&ring, &ring.words.control.head, 1, PUBLISHED);
    receiving.join().unwrap();
    assert!(observe(&ring, &ring.words.control.head, 1, PUBLISHED));
}

#[test]
fn who_sees_an_adopter_intent_sees_what_it_released_before() {
    check("hand-over, adopter", None, || adopter_intent(How::Properly));
}

#[test]
fn who_sees_a_fast_adopter_intent_sees_what_it_released_before() {
    check("hand-over, adopter at once", None, || adopter_intent(How::AtOnce));
}

#[derive(Default)]
pub(super) struct NobodyIsAlive(RefCell<Vec<Range<u64>>>);

impl Alive for NobodyIsAlive {
    fn alive(&self, _: Role, _: usize) -> bool {
        false
    }

    fn room(&self) -> RefMut<'_, Vec<Range<u64>>> {
        self.0.borrow_mut()
    }
}

#[test]
fn who_sees_a_dead_ends_intent_forgotten_sees_what_was_settled() {
    check("hand-over, forgotten", None, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        sender(&ring, 0).claim_and_die();
        let mem = ring.mem();
        let recovering = thread::spawn(move || {
            recovery::settle_sender(&mem, THE_FIRST, &NobodyIsAlive::default());
            recovery::forget(&mem.words, 0, THE_FIRST);
        });
        observe(&ring, &ring.words.control.tail.at, 0, FREE);
        recovering.join().unwrap();
        assert!(observe(&ring, &ring.words.control.tail.at, 0, FREE));
    });
}

/// The adopter reads what a sender wrote whom it never met: the dead receiver saw it published, and
/// then moved the head.
#[test]
fn who_adopts_an_item_sees_its_value() {
    check("hand-over, adopted value", None, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let (mut tx, mut victim) = (sender(&ring, 0), receiver(&ring, 1));
        let sending = thread::spawn(move || tx.try_send(&[10], 1));
        let dying = thread::spawn(move || victim.claim_and_die());
        let remains = recovery::settle_receiver(&ring.mem(), THE_FIRST, &NobodyIsAlive::default());
        if let recovery::Remains::Abandoned { run, more: false } = remains {
            assert_eq!((run.at, run.items), (0, 1));
            assert_eq!(ring.mem().view(numbers()).read(run.at), 10);
        }
        sending.join().unwrap();
        dying.join().unwrap();
    });
}
