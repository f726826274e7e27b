//! The words that every ring shares, as the algorithms see them.
//!
//! [`layout`](crate::layout) places these structures in the region and pins their offsets; the
//! algorithms only know the fields. All fields are atomics: a peer may write any of them at any
//! time, and whoever reads one treats it as an opinion, not a fact.

use crate::sync::{AtomicU32, AtomicU64, Shared};

/// One field alone on a 128-byte line, so that two processors never fight over neighbours.
/// 128 rather than 64: x86 prefetches lines in pairs, and other processors have lines that long.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Line<T>(pub(crate) T);

/// The hot words of a ring and the few cold ones beside them.
#[repr(C)]
#[derive(Debug)]
pub struct Control {
    /// The next position to write. SPSC: everything before it is published. MPMC: everything
    /// before it is claimed.
    pub(crate) tail: Line<AtomicU64>,
    /// The next position to read. SPSC: everything before it is free again. MPMC: everything
    /// before it is claimed by a receiver.
    pub(crate) head: Line<AtomicU64>,
    /// Receivers sleep here ([`wait::word`](crate::wait::word)).
    pub(crate) data: Line<AtomicU32>,
    /// Senders sleep here.
    pub(crate) space: Line<AtomicU32>,
    /// Who came and went ([`peers::table`](crate::peers::table)).
    pub(crate) arrivals: Line<Arrivals>,
    /// What was lost or given twice, and why.
    pub(crate) tally: Line<Tally>,
}

/// Counters beside the table; they only grow.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Sending ends that have ever attached.
    pub(crate) senders: AtomicU64,
    /// Receiving ends that have ever attached.
    pub(crate) receivers: AtomicU64,
    /// Bumped after every change of the endpoint table, so that a handle rescans it only then.
    pub(crate) changes: AtomicU64,
}

/// Counters of what did not simply arrive once; they only grow.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Tally {
    /// Positions that were claimed and then given up by their sender.
    pub(crate) skipped: AtomicU64,
    /// Items that were handed out a second time.
    pub(crate) redelivered: AtomicU64,
    /// Items that were published and then discarded unread.
    pub(crate) dropped: AtomicU64,
}

/// An endpoint's claim in progress, alone on its line: see [`mpmc`](crate::ring::mpmc).
pub type Intent = Line<AtomicU64>;

/// Who occupies an endpoint record: see [`peers::table`](crate::peers::table).
pub type OwnerWord = AtomicU64;

/// The parts of a region that an algorithm is given, besides the slots.
pub struct Words {
    pub(crate) control: Shared<Control>,
    pub(crate) owners: Shared<[OwnerWord]>,
    pub(crate) intents: Shared<[Intent]>,
}

impl Clone for Words {
    fn clone(&self) -> Self {
        Self {
            control: self.control.clone(),
            owners: self.owners.clone(),
            intents: self.intents.clone(),
        }
    }
}
