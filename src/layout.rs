//! The region, byte by byte: the identity at its start, the shared words, the slots.
//!
//! ```text
//! 0                     Identity: 512 bytes, written once before the ring gets its name
//! 512                   Control: the file's state, tail, head, wake words, … a line each
//! 3456                  endpoint table: 8 bytes for each endpoint record
//! ↑ multiple of a line  endpoint records: 128 bytes each
//! ↑ multiple of a line  stamps, where they lie apart from the slots: 8 bytes each
//! ↑ multiple of a line  slots (or of the element's alignment, if that is larger; or of a page, if
//!                       they are mapped twice)
//! ↑ multiple of a page  end
//! ```
//!
//! **Versions.** `major.minor`. A program opens regions of its own major version only. A higher
//! minor version may give meaning to bytes that were reserved and zero, such that a program that
//! ignores them still keeps every promise; so any minor version opens any other of its major.
//! Version 2.0 reserves what the next steps need: what [`control`](crate::ring::control) calls
//! reserved, lanes, an origin.
//!
//! A *line* is what [`CachePadded`] is aligned to: 128 bytes on x86-64, where the offsets above
//! hold.
//!
//! **What is trusted.** Nothing, and that once. [`Identity::check`] compares every field that rings
//! have in common with what this program would have written for the same element type, kind and
//! capacity; the offsets used afterwards are the program's own ([`Geometry`]), computed and never
//! read. A checksum covers the identity, so a flipped bit anywhere in it is noticed even where no
//! field is.

use std::mem::{offset_of, size_of};

use crossbeam_utils::CachePadded;
use static_assertions::{const_assert, const_assert_eq};

pub use self::format::ElementType;
pub(crate) use self::format::{Format, GRANULES, MAX_ALIGN};
pub(crate) use self::identity::{
    Birth, DELIVERY_LIMITS, DROP_UNRELEASED, Identity, TAG_LEN, Unfit,
};
use crate::ring::KindInfo;
pub(crate) use crate::ring::control::MAX_ENDPOINTS;
use crate::ring::control::{
    Arrivals, Control, Counters, Endings, FileState, Note, OwnerWord, Record, Recovery, Tail,
    Tally, Told, Turn,
};
use crate::ring::mem::SlotShape;
use crate::shm::map::Extent;

mod format;
mod identity;
#[cfg(test)]
mod tests;

/// How far apart two words lie that two processors shall not fight over.
const LINE: usize = align_of::<CachePadded<u64>>();

const CONTROL_AT: usize = size_of::<Identity>();
const OWNERS_AT: usize = CONTROL_AT + size_of::<Control>();
/// What even the smallest region is longer than.
pub(crate) const IDENTITY_LEN: usize = size_of::<Identity>();

// Within a line, everywhere.
const_assert_eq!(offset_of!(FileState, state), 0);
const_assert_eq!(offset_of!(FileState, boot), 8);
const_assert_eq!(offset_of!(FileState, device), 24);
const_assert_eq!(offset_of!(FileState, inode), 32);
const_assert_eq!(offset_of!(FileState, born), 40);
const_assert_eq!(offset_of!(FileState, begun), 48);
const_assert_eq!(offset_of!(FileState, ended), 56);
const_assert_eq!(size_of::<FileState>(), 64);
const_assert_eq!(offset_of!(Tail, at), 0);
const_assert_eq!(offset_of!(Tail, inline_at), 8);
const_assert_eq!(offset_of!(Tail, inline), 16);
const_assert_eq!(size_of::<Tail>(), 64);
const_assert_eq!(offset_of!(Arrivals, of), 0);
const_assert_eq!(offset_of!(Arrivals, changes), 16);
const_assert_eq!(offset_of!(Endings, closed), 0);
const_assert_eq!(offset_of!(Endings, told), 16);
const_assert_eq!(size_of::<Told>(), 16);
const_assert_eq!(offset_of!(Recovery, word), 0);
const_assert_eq!(offset_of!(Recovery, visits), 8);
const_assert_eq!(offset_of!(Tally, skipped), 0);
const_assert_eq!(offset_of!(Tally, redelivered), 8);
const_assert_eq!(offset_of!(Tally, dropped), 16);
const_assert_eq!(offset_of!(Tally, exhausted), 24);
const_assert_eq!(offset_of!(Turn, turn), 0);
const_assert_eq!(offset_of!(Turn, looking), 8);
const_assert_eq!(size_of::<Note>(), 16);
const_assert_eq!(size_of::<Counters>(), 48);
const_assert_eq!(offset_of!(Record, intent), 0);
const_assert_eq!(offset_of!(Record, handed_out), 8);
const_assert_eq!(offset_of!(Record, deliveries), 16);
const_assert_eq!(offset_of!(Record, counters), 64);
const_assert_eq!(size_of::<OwnerWord>(), 8);

// The same on every machine with lines of this length.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod offsets {
    use super::*;

    const_assert_eq!(LINE, 128);
    const_assert_eq!(CONTROL_AT, 512);
    const_assert_eq!(offset_of!(Control, file_state), 0);
    const_assert_eq!(offset_of!(Control, tail), 128);
    const_assert_eq!(offset_of!(Control, head), 256);
    const_assert_eq!(offset_of!(Control, data), 384);
    const_assert_eq!(offset_of!(Control, space), 512);
    const_assert_eq!(offset_of!(Control, arrivals), 640);
    const_assert_eq!(offset_of!(Control, endings), 768);
    const_assert_eq!(offset_of!(Control, recovery), 896);
    const_assert_eq!(offset_of!(Control, tally), 1024);
    const_assert_eq!(offset_of!(Control, watch), 1152);
    const_assert_eq!(offset_of!(Control, long_sleepers), 1408);
    const_assert_eq!(offset_of!(Control, turns), 2432);
    const_assert_eq!(offset_of!(Control, notes), 2688);
    const_assert_eq!(offset_of!(Control, counters), 2816);
    const_assert_eq!(size_of::<Control>(), 2944);
    const_assert_eq!(OWNERS_AT, 3456);
    const_assert_eq!(size_of::<CachePadded<Record>>(), 128);
}

// The file's state is written back with the first page of the file, whatever a page is.
const_assert!(CONTROL_AT + size_of::<FileState>() <= 4096);

/// Where things lie in a region, as this program computes it from element type, kind and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) slot: SlotShape,
    pub(crate) capacity: u64,
    pub(crate) endpoints: u32,
    /// Where the stamps lie, if they lie apart.
    pub(crate) stamps_at: Option<usize>,
    pub(crate) slots_at: usize,
    pub(crate) region_len: usize,
    /// Bytes of the pages that the slots begin and end on, if they are mapped twice.
    page: Option<usize>,
}

impl Geometry {
    /// For at least `capacity` slots of this shape, which is one of the kind's; `None` if that
    /// overflows what a region can be. `page` is the backing's page size.
    pub(crate) fn new(
        kind: &KindInfo,
        slot: SlotShape,
        capacity: u64,
        endpoints: u32,
        page: usize,
    ) -> Option<Self> {
        let whole_pages = Some(page).filter(|_| kind.twice());
        let fewest = whole_pages.map_or(1, |page| page.div_ceil(slot.stride) as u64);
        let capacity = capacity.max(fewest).checked_next_power_of_two()?;
        let slots = usize::try_from(capacity).ok()?;
        let records_end = Self::records_at(endpoints)
            .checked_add(size_of::<CachePadded<Record>>().checked_mul(endpoints as usize)?)?;
        let stamps_at = kind.stamps_apart().then_some(records_end.next_multiple_of(LINE));
        let before_slots = match stamps_at {
            Some(at) => at.checked_add(slots.checked_mul(size_of::<u64>())?)?,
            None => records_end,
        };
        let align = slot.align.max(LINE).max(whole_pages.unwrap_or(1));
        let slots_at = before_slots.checked_next_multiple_of(align)?;
        let region_len = slots
            .checked_mul(slot.stride)?
            .checked_add(slots_at)?
            .checked_next_multiple_of(page)?;
        let page = whole_pages;
        let geometry = Self { slot, capacity, endpoints, stamps_at, slots_at, region_len, page };
        // No pointer can go further than a signed number tells, and the lock bytes must lie beyond
        // the end.
        let mapped = region_len.checked_add(geometry.extent().again())?;
        let fits = (isize::try_from(mapped).ok()? as i64) < crate::peers::hold::BIRTH;
        fits.then_some(geometry)
    }

    /// What is to be mapped.
    pub(crate) fn extent(&self) -> Extent {
        let again_from = if self.page.is_some() { self.slots_at } else { self.region_len };
        Extent { len: self.region_len, again_from }
    }

    pub(crate) const fn control_at() -> usize {
        CONTROL_AT
    }

    pub(crate) const fn owners_at() -> usize {
        OWNERS_AT
    }

    pub(crate) const fn records_at(endpoints: u32) -> usize {
        (OWNERS_AT + size_of::<OwnerWord>() * endpoints as usize).next_multiple_of(LINE)
    }
}
