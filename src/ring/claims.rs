//! What other ends must know of an end's claims: to settle them after its death, and to be woken
//! for what it leaves to them.
//!
//! The defaults fit a kind of ring whose claims are private: nothing shared tells of them, the
//! positions in the region are always whole, and a death leaves nothing behind. A kind whose ends
//! record their claims ([`KindInfo::recovers`](super::KindInfo)) implements all of it. (The compiler
//! insists on most: not on `forgotten`, `has_claim` and `take_skipped`.)

use super::mem::Mem;
use super::recovery::{Alive, Remains};
use super::{Kind, Run};
use crate::sync::Ordering::Relaxed;

/// A sender's claims, as other ends see them.
pub trait SendClaims {
    /// A claim was neither published nor given up: its guard was forgotten.
    fn forgotten(&self) -> bool {
        false
    }

    /// Gives up what was claimed and not published.
    fn close<K: Kind>(&mut self, _mem: &Mem<K>) {
        const { assert!(!K::RECOVERS) };
    }

    /// A slot is free for a sender that comes, or whoever looks properly finds out why none is. Says
    /// yes rather than no; of no use but to decide whether to wake somebody.
    fn ready<K: Kind>(mem: &Mem<K>) -> bool {
        const { assert!(!K::MANY) };
        // Relaxed, both: as above.
        let tail = mem.words.control.tail.at.load(Relaxed);
        let head = mem.words.control.head.load(Relaxed);
        tail.wrapping_sub(head) != mem.slots.capacity()
    }

    /// Settles what a dead sender with this intent had claimed. In the recoverer's turn.
    fn settle<K: Kind>(_mem: &Mem<K>, _intent: u64, _alive: &impl Alive) -> Remains {
        const { assert!(!K::RECOVERS) };
        Remains::Nothing
    }
}

/// A receiver's claims, as other ends see them.
pub trait RecvClaims {
    /// Something is claimed and not released, be it but holes.
    fn has_claim(&self) -> bool {
        false
    }

    /// Some position has been claimed by a sender and is neither published nor given up. For when
    /// all senders are gone, and what they had stored is visible.
    fn unpublished<K: Kind>(&self, _mem: &Mem<K>) -> bool {
        const { assert!(!K::RECOVERS) };
        false
    }

    /// An item is there for a receiver that comes, or whoever looks properly finds out why none is.
    /// Says yes rather than no; of no use but to decide whether to wake somebody.
    fn ready<K: Kind>(mem: &Mem<K>) -> bool {
        const { assert!(!K::MANY) };
        // Relaxed, both: as above.
        let tail = mem.words.control.tail.at.load(Relaxed);
        tail != mem.words.control.head.load(Relaxed)
    }

    /// Positions that a claim freed without delivering anything since the last time of asking:
    /// senders may use them, and must be told even if the claim came to nothing.
    fn take_skipped(&mut self) -> u64 {
        0
    }

    /// Settles what a dead receiver with this intent had claimed. In the recoverer's turn.
    fn settle<K: Kind>(_mem: &Mem<K>, _intent: u64, _alive: &impl Alive) -> Remains {
        const { assert!(!K::RECOVERS) };
        Remains::Nothing
    }

    /// Takes over what [`settle`](Self::settle) found. In the recoverer's turn; this cursor holds
    /// nothing.
    fn adopt<K: Kind>(&mut self, _mem: &Mem<K>, _run: Run) {
        const { assert!(!K::RECOVERS) };
    }

    /// Frees what [`settle`](Self::settle) found, undelivered. In the recoverer's turn.
    fn discard<K: Kind>(_mem: &Mem<K>, _run: Run) {
        const { assert!(!K::RECOVERS) };
    }
}
