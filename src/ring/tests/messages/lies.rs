//! What a peer may store in the shared words of a ring of messages.

use super::deaths::settled;
use super::*;
use crate::peers::reap::tests::sit;
use crate::peers::table::Role;
use crate::ring::granules;
use crate::ring::intent::intent;
use crate::ring::mpmc::{Receiver, Sender};
use crate::ring::recovery::Remains;
use crate::ring::tests::mpmc::dead;

/// Whatever a peer stores in the shared words: no call panics, runs on for ever, or gives what is
/// not within the ring.
#[test]
fn stamps_positions_and_intents_that_somebody_made_up_harm_nobody() {
    const ROUNDS: u64 = if cfg!(miri) { 100 } else { 20_000 };
    const CAPACITY: u64 = 8;
    let mut any = 1_u64;
    let mut below = |most: u64| {
        any = any.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (any >> 33) % most
    };
    for _ in 0..ROUNDS {
        let heap = Ring::new(CAPACITY, 3);
        let mem = heap.mem();
        for (record, role) in [(0, Role::Sender), (1, Role::Receiver), (2, Role::Receiver)] {
            sit(&mem, record, role);
        }
        let base = [0, 3, 1 << 40, u64::MAX - 5][below(4) as usize];
        let (head, tail) = (base.wrapping_add(below(20)), base.wrapping_add(below(20)));
        mem.words.control.head.store(head, Relaxed);
        mem.words.control.tail.at.store(tail, Relaxed);
        for slot in 0..CAPACITY {
            let at = head.wrapping_add(below(3) * CAPACITY).wrapping_sub(CAPACITY);
            let at = (at & !(CAPACITY - 1)) + slot;
            let stamp = Stamp::free(at, CAPACITY).0 | [0, 1, 2, 3, 3, 3, 7, 13][below(8) as usize];
            mem.slots.stamp(at).store(stamp, Relaxed);
        }
        for record in 0..3 {
            let word = intent(head.wrapping_sub(below(12)), below(12) + 1);
            mem.words.records[record].intent.store(word, Relaxed);
        }
        let mut rx = heap.rx(2);
        let word = heap.intent(1);
        match settled(&heap, word, below(3) as u32) {
            Remains::Abandoned { run, .. } if below(2) > 0 => rx.cursor.adopt(&mem, run),
            Remains::Abandoned { run, .. } | Remains::Exhausted { run } => {
                assert!(run.slots <= 3 * CAPACITY && run.items <= run.slots);
                <Receiver as RecvClaims>::discard(&mem, run);
            }
            _ => {}
        }
        for _ in 0..4 {
            let claimed = match below(3) {
                0 => rx.cursor.claim_one(mem.kept()).ok_or(Refused::NotReady),
                1 => rx.cursor.claim_before(mem.kept(), 9, head.wrapping_add(below(9))),
                _ => rx.cursor.claim(mem.kept(), 1, below(9) + 1),
            };
            let Ok(run) = claimed else { continue };
            rx.cursor.hand_out(&mem, run);
            for at in rx.cursor.items(mem.kept(), run) {
                let extent = rx.cursor.extent(mem.kept(), run, at);
                let end = at.wrapping_sub(run.at) + extent;
                assert!(extent > 0 && extent <= CAPACITY && end <= run.slots);
            }
            rx.cursor.release(mem.kept(), run, below(run.items + 1));
        }
        rx.cursor.unpublished(&mem);
        let _ = heap.tx(0).claim(below(CAPACITY) + 1, CAPACITY);
        <Sender as SendClaims>::settle::<MpmcMessages>(&mem, heap.intent(0), &dead(&[0]));
        assert!(head.wrapping_sub(granules::begin_of(&mem, head)) < CAPACITY);
    }
}

/// A peer has made its stamps say that there is one long message, where two were adopted.
#[test]
fn an_adopted_message_is_no_longer_than_its_claim_whatever_stamps_say() {
    let heap = Heap::<u64, MpmcMessages>::new(8, 2);
    let stamps = [Stamp::skipped, Stamp::published, Stamp::continued, Stamp::continued];
    for (at, stamp) in (0..).zip(stamps) {
        heap.mem().slots.stamp(at).store(stamp(at, heap.capacity).0, Relaxed);
    }
    let claim = Run { at: 0, slots: 3, items: 2, again: 2 };
    let first = crate::ring::deliveries::Adopted::default().first(&heap.mem(), claim);
    assert_eq!(first, Some(Run { at: 0, slots: 3, items: 1, again: 1 }));
}
