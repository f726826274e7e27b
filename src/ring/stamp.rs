//! A slot's stamp: one word that says which lap the slot is in, what it holds, and how often that
//! had been handed out before.
//!
//! ```text
//! bits   63 … 6    5 … 2                  1 … 0
//!        lap       earlier deliveries     0 FREE, 1 PUBLISHED, 2 SKIPPED, 3 CONTINUED
//! ```
//!
//! CONTINUED is for messages: a granule that is not the first of its message, or was to be one of a
//! message that never was ([`granules`](super::granules)).
//!
//! **The count** is 0 in every stamp that senders store, and in every stamp at the head or beyond
//! it. Only a receiver that has adopted an item raises it ([`deliveries`](super::deliveries)), and
//! adopted items lie below the head. So whoever claims compares whole stamps: with a count of 0.
//! Whoever looks at what is claimed already ignores the count ([`Stamp::holds_item`],
//! [`Stamp::is_hole`], [`Stamp::is_continued`]).
//!
//! A hostile peer can store any count. That is a wrong number and nothing worse: no count is an
//! index or a length.

use super::Kind;
use super::deliveries::MOST;

/// `lap << 6 | count << 2 | state`. Stamps of later laps are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) u64);

/// Where the lap begins: above two bits of state and four that count deliveries.
const LAP_SHIFT: u32 = 6;
/// Where the count begins.
const COUNT_SHIFT: u32 = 2;
const COUNT: u64 = (MOST as u64) << COUNT_SHIFT;

impl Stamp {
    const PUBLISHED: u64 = 1;
    const SKIPPED: u64 = 2;
    const CONTINUED: u64 = 3;

    /// Wraps where stamps do: beyond 2^58 laps, for which a ring of one slot takes nine years at
    /// 10^9 messages a second.
    fn lap(position: u64, capacity: u64) -> u64 {
        position >> capacity.trailing_zeros()
    }

    fn lap_bits(position: u64, capacity: u64) -> u64 {
        Self::free(position, capacity).0 >> LAP_SHIFT
    }

    pub(super) fn free(position: u64, capacity: u64) -> Self {
        Self(Self::lap(position, capacity) << LAP_SHIFT)
    }

    /// Never handed out before.
    pub(super) fn published(position: u64, capacity: u64) -> Self {
        Self(Self::free(position, capacity).0 | Self::PUBLISHED)
    }

    pub(super) fn skipped(position: u64, capacity: u64) -> Self {
        Self(Self::free(position, capacity).0 | Self::SKIPPED)
    }

    pub(super) fn continued(position: u64, capacity: u64) -> Self {
        Self::free(position, capacity).and_continued()
    }

    /// Of a free slot's stamp: what it is when the slot goes on with the one before it.
    pub(super) fn and_continued(self) -> Self {
        Self(self.0 | Self::CONTINUED)
    }

    /// This stamp, of a slot whose stamp is `free` while it is free, says that the slot goes on with
    /// the one before it.
    pub(super) fn continues(self, free: Self) -> bool {
        self.0 & !COUNT == free.and_continued().0
    }

    /// A sender has handed its claim of `position` over, and no receiver has claimed it yet.
    pub(super) fn is_handed_over<K: Kind>(self, position: u64, capacity: u64) -> bool {
        self == Self::published(position, capacity)
            || self == Self::skipped(position, capacity)
            || K::MESSAGES && self == Self::continued(position, capacity)
    }

    /// [`published`](Self::published), and handed out so often before.
    pub(super) fn delivered(position: u64, capacity: u64, times: u32) -> Self {
        Self(Self::published(position, capacity).0 | u64::from(times.min(MOST)) << COUNT_SHIFT)
    }

    /// How often the item had been handed out before.
    pub(super) fn times(self) -> u32 {
        ((self.0 & COUNT) >> COUNT_SHIFT) as u32
    }

    /// The item of `position` lies there, however often it was handed out.
    pub(super) fn holds_item(self, position: u64, capacity: u64) -> bool {
        self.0 & !COUNT == Self::published(position, capacity).0
    }

    /// The sender of `position` gave it up. No honest peer counts a hole's deliveries.
    pub(super) fn is_hole(self, position: u64, capacity: u64) -> bool {
        self.0 & !COUNT == Self::skipped(position, capacity).0
    }

    /// The granule of `position` goes on with what the one before it holds, be that a message or a
    /// hole.
    pub(super) fn is_continued(self, position: u64, capacity: u64) -> bool {
        self.continues(Self::free(position, capacity))
    }

    /// Laps by which this stamp is ahead of the lap of `position`.
    pub(super) fn laps_ahead(self, position: u64, capacity: u64) -> i64 {
        // Both are 58-bit numbers: the difference is exact.
        (self.0 >> LAP_SHIFT) as i64 - Self::lap_bits(position, capacity) as i64
    }
}
