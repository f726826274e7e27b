//! The words that every ring shares, as the algorithms see them.
//!
//! [`layout`](crate::layout) places these structures in the region and pins their offsets; the
//! algorithms only know the fields. All fields are atomics: a peer may write any of them at any
//! time, and whoever reads one treats it as an opinion, not a fact.
//!
//! What several processors write stands on lines of its own ([`CachePadded`]: 128 bytes on x86-64
//! and 64-bit Arm, which fetch lines in pairs or have lines that long). The header records the
//! size.

use crossbeam_utils::CachePadded;

use crate::peers::table::Role;
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU32, AtomicU64, Shared, UnmodelledU64};

/// The most endpoint records a ring may have.
pub(crate) const MAX_ENDPOINTS: u32 = 4096;
/// Ends of one role that keep watch for all of them while they sleep ([`wait::watch`]).
///
/// [`wait::watch`]: crate::wait
pub(crate) const WATCH_SLOTS: usize = if cfg!(loom) { 1 } else { 8 };
/// Words of a bitmap with one bit for each endpoint record.
pub(crate) const BITMAP_WORDS: usize = if cfg!(loom) { 1 } else { MAX_ENDPOINTS as usize / 64 };
/// Words of the copy beside the tail, with which these make a line of 64 bytes.
pub(crate) const INLINE_WORDS: usize = if cfg!(loom) { 1 } else { 6 };

/// What belongs to the senders, and what to the receivers: indexed by [`Role`].
#[repr(C)]
#[derive(Debug, Default)]
pub struct PerRole<T> {
    pub(crate) senders: T,
    pub(crate) receivers: T,
}

impl<T> PerRole<T> {
    /// What belongs to `role`.
    #[inline(always)]
    pub(crate) fn of(&self, role: Role) -> &T {
        match role {
            Role::Sender => &self.senders,
            Role::Receiver => &self.receivers,
        }
    }
}

/// The hot words of a ring and the few cold ones beside them.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))] // for real, fresh memory is zero
pub struct Control {
    /// Whether a file-backed ring was closed by all. The only part of it that is read before the
    /// ring is open.
    pub(crate) file_state: CachePadded<FileState>,
    pub(crate) tail: CachePadded<Tail>,
    /// The next position to read. SPSC: everything before it is free again. MPMC: everything
    /// before it is claimed by a receiver.
    pub(crate) head: CachePadded<AtomicU64>,
    /// Receivers sleep here ([`wait::word`](crate::wait::word)).
    pub(crate) data: CachePadded<AtomicU32>,
    /// Senders sleep here.
    pub(crate) space: CachePadded<AtomicU32>,
    /// Who came and went ([`peers::table`](crate::peers::table)).
    pub(crate) arrivals: CachePadded<Arrivals>,
    /// How they went, and who was told.
    pub(crate) endings: CachePadded<Endings>,
    /// Who recovers what the dead have left.
    pub(crate) recovery: CachePadded<Recovery>,
    /// What was lost or given twice, and why.
    pub(crate) tally: CachePadded<Tally>,
    /// Those who keep watch for the sleepers of their role.
    pub(crate) watch: PerRole<CachePadded<[AtomicU64; WATCH_SLOTS]>>,
    /// Sleepers that leave it to the watch to look after the peers' lives: a bit each.
    pub(crate) long_sleepers: PerRole<CachePadded<[AtomicU64; BITMAP_WORDS]>>,
    /// Whose turn it is to claim many slots ([`wait::precedence`](crate::wait)).
    pub(crate) turns: PerRole<CachePadded<Turn>>,
    /// Reserved: how far a bridge has come.
    pub(crate) notes: CachePadded<[Note; 2]>,
    /// Reserved: counters of all ends that are gone.
    pub(crate) counters: CachePadded<Counters>,
}

/// The next position to write, and on its line, for a receiver that waits for one item, a copy of
/// the newest ([`inline`](crate::ring::inline)).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Tail {
    /// The next position to write. SPSC: everything before it is published. MPMC: everything
    /// before it is claimed.
    pub(crate) at: AtomicU64,
    /// SPSC: the position behind the item whose copy follows; 0: there is no copy.
    pub(crate) inline_at: AtomicU64,
    /// SPSC: the copy, padded with zeros to whole words.
    pub(crate) inline: [AtomicU64; INLINE_WORDS],
}

/// Counters beside the endpoint table; they only grow.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Ends that have ever attached.
    pub(crate) of: PerRole<AtomicU64>,
    /// Bumped after every change of the endpoint table, so that a handle rescans it only then.
    pub(crate) changes: AtomicU64,
}

/// How ends went, and what those opposite were told of it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Endings {
    /// Ends that have closed: those that arrived, are gone and are not among these have died.
    pub(crate) closed: PerRole<AtomicU64>,
    /// What receivers were told last when all senders were gone (`senders`), and senders when all
    /// receivers were (`receivers`).
    pub(crate) told: PerRole<Told>,
}

/// What ends were told of the opposite role's ends: how many had arrived, and how many of them had
/// died; each in one word ([`peers::endings`](crate::peers::table)).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Told {
    pub(crate) last: AtomicU64,
    /// The time before.
    pub(crate) before: AtomicU64,
}

/// Who recovers ([`peers::recovery_word`](crate::peers::recovery_word)).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Recovery {
    /// The name of the one that does; 0: nobody.
    pub(crate) word: AtomicU64,
    /// How often one without an endpoint record has begun to.
    pub(crate) visits: AtomicU64,
}

/// Counters of what did not simply arrive once; they only grow.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Tally {
    /// Positions that were claimed and then given up by their sender.
    pub(crate) skipped: AtomicU64,
    /// Items that were handed out again.
    pub(crate) redelivered: AtomicU64,
    /// Items that were published and then discarded unread, or after too many deliveries.
    pub(crate) dropped: AtomicU64,
    /// The latter alone.
    pub(crate) exhausted: AtomicU64,
}

impl Tally {
    /// Counts items that were discarded after too many deliveries.
    pub(crate) fn exhaust(&self, items: u64) {
        // Relaxed, both: statistics.
        self.dropped.fetch_add(items, Relaxed);
        self.exhausted.fetch_add(items, Relaxed);
    }
}

/// For ends that wait for many slots: of senders of messages. Reserved: for receivers, and for ends
/// that are awake and looking.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Turn {
    /// Whose turn it is; 0: nobody's.
    pub(crate) turn: AtomicU64,
    pub(crate) looking: UnmodelledU64,
}

/// Reserved: a position, and how far the ring that it came from had been read there.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Note {
    pub(crate) tail_after: UnmodelledU64,
    pub(crate) near: UnmodelledU64,
}

/// Reserved: what tools count.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) full_waits: UnmodelledU64,
    pub(crate) empty_waits: UnmodelledU64,
    pub(crate) sleeps: UnmodelledU64,
    pub(crate) wakes: UnmodelledU64,
    pub(crate) deaths: UnmodelledU64,
    pub(crate) high_water: UnmodelledU64,
}

/// What a file-backed ring's file says of the last ones that had it open.
#[repr(C)]
#[derive(Debug, Default)]
pub struct FileState {
    pub(crate) state: UnmodelledU64,
    /// The boot in which it was opened.
    pub(crate) boot: [UnmodelledU64; 2],
    /// The file that it was: a copy is another.
    pub(crate) device: UnmodelledU64,
    pub(crate) inode: UnmodelledU64,
    /// When that was created, in nanoseconds since 1970: numbers of inodes come again.
    pub(crate) born: UnmodelledU64,
    /// Writes of the whole of it to the disk that were begun, and those that have ended well.
    pub(crate) begun: UnmodelledU64,
    pub(crate) ended: UnmodelledU64,
}

/// An endpoint record, alone on its line: its owner writes it, and recoverers read it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Record {
    /// MPMC: the claim in progress ([`mpmc`](crate::ring::mpmc)).
    pub(crate) intent: AtomicU64,
    /// SPSC: the position before which items have been handed out ([`spsc`](crate::ring::spsc)).
    pub(crate) handed_out: AtomicU64,
    /// SPSC: how often the item at the head has been handed out
    /// ([`deliveries`](crate::ring::deliveries)).
    pub(crate) deliveries: AtomicU64,
    reserved: [UnmodelledU64; 5],
    /// Reserved.
    pub(crate) counters: Counters,
}

/// The word of an endpoint record that says whose it is: see [`peers::table`](crate::peers::table).
pub type OwnerWord = AtomicU64;

/// The parts of a region that an algorithm is given, besides the slots.
pub struct Words {
    pub(crate) control: Shared<Control>,
    pub(crate) owners: Shared<[OwnerWord]>,
    pub(crate) records: Shared<[CachePadded<Record>]>,
}

impl Clone for Words {
    fn clone(&self) -> Self {
        Self {
            control: self.control.clone(),
            owners: self.owners.clone(),
            records: self.records.clone(),
        }
    }
}
