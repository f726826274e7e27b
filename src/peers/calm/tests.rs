//! Which passes are spared, and which are not.

use std::cell::Cell;

use super::*;
use crate::peers::reap::tests::{dead_receiver, filled, reap_pass, sit, told};
use crate::peers::table;
use crate::ring::tests::Heap;
use crate::ring::{Mpmc, SendCursor, Spsc};

/// A ring with a sender that lives in record 0, asked about by a receiver in record 1.
struct Asked {
    heap: Heap<u64, Mpmc>,
    calm: Calm,
}

impl Asked {
    fn new() -> Self {
        let heap = Heap::new(4, 4);
        sit(&heap.mem(), 0, Role::Sender);
        sit(&heap.mem(), 1, Role::Receiver);
        Self { heap, calm: Calm::default() }
    }

    /// What it finds, and whether by a pass, if these live.
    fn looks(&mut self, alive: &[(Role, usize)]) -> (Findings, bool) {
        let (mem, liveness) = (self.heap.mem(), told(alive));
        let made = Cell::new(false);
        let findings = self.calm.unless_calm(&mem, Role::Receiver, &liveness, || {
            made.set(true);
            reap_pass(&mem, Role::Receiver, &liveness, None)
        });
        (findings, made.get())
    }

    /// Whether a pass is made while both live.
    fn passes(&mut self) -> bool {
        let (findings, made) = self.looks(&[(Role::Sender, 0), (Role::Receiver, 1)]);
        assert!(findings.opposite_alive && !findings.pending);
        made
    }
}

#[test]
fn a_pass_is_spared_as_long_as_nothing_is_claimed_after_one_that_found_no_claim() {
    let mut ring = Asked::new();
    assert!(ring.passes(), "the first");
    assert!(!ring.passes() && !ring.passes());
    // Somebody has come, claimed and published.
    filled(&ring.heap, 1, 1);
    assert!(ring.passes());
    assert!(!ring.passes());
    // Somebody has claimed, of the live: that may be a dead one's next time.
    let mem = ring.heap.mem();
    let mut cursor = <Mpmc as Kind>::Send::attach(&mem, 0).expect("positions make sense");
    let run = cursor.claim(mem.kept(), 1, 1).expect("room");
    assert!(ring.passes() && ring.passes());
    cursor.publish(mem.kept(), run, 0);
    assert!(ring.passes());
    assert!(!ring.passes());
}

#[test]
fn a_pass_is_made_if_nobody_opposite_lives() {
    let mut ring = Asked::new();
    assert!(ring.passes() && !ring.passes());
    let (findings, made) = ring.looks(&[(Role::Receiver, 1)]);
    assert!(made && !findings.opposite_alive);
    assert!(table::owner(&ring.heap.mem().words.owners[0]).is_none(), "the dead sender is reaped");
}

#[test]
fn a_dead_ends_claim_is_found_and_an_abandoned_one_too() {
    let mut ring = Asked::new();
    filled(&ring.heap, 2, 2);
    assert!(ring.passes() && !ring.passes());
    let owner = dead_receiver(&ring.heap, 2, 1);
    let both = [(Role::Sender, 0), (Role::Receiver, 1)];
    let (findings, made) = ring.looks(&both);
    assert!(made && findings.pending, "nobody can adopt it here");
    let (now, _) = table::owner(&ring.heap.mem().words.owners[2]).expect("not free");
    assert!(now != owner && now.is_abandoned());
    for _ in 0..2 {
        let (findings, made) = ring.looks(&both);
        assert!(made && findings.pending);
    }
}

#[test]
fn rings_without_claims_make_every_pass() {
    let heap = Heap::<u64, Spsc>::new(4, 2);
    let (mem, liveness) = (heap.mem(), told(&[(Role::Sender, 0), (Role::Receiver, 1)]));
    let mut calm = Calm::default();
    let passes = Cell::new(0);
    for _ in 0..3 {
        calm.unless_calm(&mem, Role::Receiver, &liveness, || {
            passes.set(passes.get() + 1);
            Findings { opposite_alive: true, pending: false, claims: false, lost: false }
        });
    }
    assert_eq!(passes.get(), 3);
}
