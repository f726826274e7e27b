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

use std::fmt;
use std::mem::{offset_of, size_of};

use bytemuck::{Pod, Zeroable};
use crossbeam_utils::CachePadded;
use static_assertions::{const_assert, const_assert_eq};

use crate::error::Mismatch;
pub(crate) use crate::ring::control::MAX_ENDPOINTS;
use crate::ring::control::{
    Arrivals, Control, Counters, Endings, FileState, Note, OwnerWord, Record, Recovery, Tail,
    Tally, Told, Turn,
};
use crate::ring::mem::SlotShape;
use crate::ring::{Content, KindInfo};
use crate::shm::map::Extent;
use crate::sync::AtomicU64;

#[cfg(test)]
mod tests;

/// The first eight bytes of every region.
pub(crate) const MAGIC: [u8; 8] = *b"ringpipe";
/// Incompatible changes count here.
pub(crate) const MAJOR: u16 = 2;
/// Compatible additions count here.
pub(crate) const MINOR: u16 = 0;
/// Reads as something else on a machine of the other byte order.
const BYTE_ORDER: u32 = 0x0102_0304;

/// Flag: what a dead receiver had not released is discarded.
pub(crate) const DROP_UNRELEASED: u64 = 1;

/// The longest type tag, in bytes.
pub(crate) const TAG_LEN: usize = 48;
/// The largest element alignment: a page, which every mapping is aligned to.
pub(crate) const MAX_ALIGN: usize = 4096;
/// How far apart two words lie that two processors shall not fight over.
const LINE: usize = align_of::<CachePadded<u64>>();
/// The only number of lanes so far.
const LANES: u32 = 1;
/// What a limit of deliveries may be: fewer is [`DROP_UNRELEASED`], and no stamp counts further.
pub(crate) const DELIVERY_LIMITS: std::ops::RangeInclusive<u32> = 2..=15;

const CONTROL_AT: usize = size_of::<Identity>();
const OWNERS_AT: usize = CONTROL_AT + size_of::<Control>();
/// What even the smallest region is longer than.
pub(crate) const IDENTITY_LEN: usize = size_of::<Identity>();

/// What a region says of itself. All integers in the creator's byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// [`MAGIC`].
    magic: [u8; 8],
    /// [`BYTE_ORDER`] as the creator wrote it.
    byte_order: u32,
    major: u16,
    minor: u16,
    /// Bits in a pointer of the creator's.
    pointer_bits: u32,
    /// [`KindInfo::code`].
    kind: u32,
    element_size: u64,
    element_align: u64,
    /// Slots; a power of two.
    capacity: u64,
    /// Bytes from slot to slot.
    stride: u64,
    /// Where the slots begin.
    slots_at: u64,
    /// Length of the whole region in bytes.
    region_len: u64,
    /// Endpoint records.
    endpoints: u32,
    /// Version of the element type, as the user counts.
    tag_version: u32,
    /// Name of the element type, as the user calls it; padded with zeros.
    tag: [u8; TAG_LEN],
    /// Random, to tell apart two rings that had the same name.
    region_id: [u64; 2],
    /// `CLOCK_REALTIME` at creation, in nanoseconds.
    created_realtime: u64,
    /// `CLOCK_BOOTTIME` at creation, in nanoseconds.
    created_boottime: u64,
    /// [`DROP_UNRELEASED`] and no other bits.
    flags: u64,
    /// How slots lie in memory: [`SlotLayout`](crate::ring::SlotLayout).
    slot_layout: u32,
    /// Bytes of a line: see above.
    line: u32,
    /// Reserved: queues side by side, of different priority.
    lanes: u32,
    /// After so many deliveries, an item that was not released is dropped; 0: never.
    delivery_limit: u32,
    /// What lengths of messages are rounded up to, in bytes: those of a slot. 0: there are no
    /// messages.
    granule: u64,
    /// Reserved: the ring that this one continues, on another host: its number, and when it was
    /// created.
    origin_id: [u64; 2],
    origin_created: u64,
    /// Bytes of the pages that the slots begin and end on, if they are mapped twice; else 0.
    page: u64,
    reserved: [u8; 280],
    /// Over everything before it.
    checksum: u64,
}

// SAFETY: all fields are integers and arrays of integers, for which zero is valid.
unsafe impl Zeroable for Identity {}
// SAFETY: `repr(C)`, all fields `Pod`, and the assertions below leave no room for padding.
unsafe impl Pod for Identity {}

const_assert_eq!(offset_of!(Identity, magic), 0);
const_assert_eq!(offset_of!(Identity, byte_order), 8);
const_assert_eq!(offset_of!(Identity, major), 12);
const_assert_eq!(offset_of!(Identity, minor), 14);
const_assert_eq!(offset_of!(Identity, pointer_bits), 16);
const_assert_eq!(offset_of!(Identity, kind), 20);
const_assert_eq!(offset_of!(Identity, element_size), 24);
const_assert_eq!(offset_of!(Identity, element_align), 32);
const_assert_eq!(offset_of!(Identity, capacity), 40);
const_assert_eq!(offset_of!(Identity, stride), 48);
const_assert_eq!(offset_of!(Identity, slots_at), 56);
const_assert_eq!(offset_of!(Identity, region_len), 64);
const_assert_eq!(offset_of!(Identity, endpoints), 72);
const_assert_eq!(offset_of!(Identity, tag_version), 76);
const_assert_eq!(offset_of!(Identity, tag), 80);
const_assert_eq!(offset_of!(Identity, region_id), 128);
const_assert_eq!(offset_of!(Identity, created_realtime), 144);
const_assert_eq!(offset_of!(Identity, created_boottime), 152);
const_assert_eq!(offset_of!(Identity, flags), 160);
const_assert_eq!(offset_of!(Identity, slot_layout), 168);
const_assert_eq!(offset_of!(Identity, line), 172);
const_assert_eq!(offset_of!(Identity, lanes), 176);
const_assert_eq!(offset_of!(Identity, delivery_limit), 180);
const_assert_eq!(offset_of!(Identity, granule), 184);
const_assert_eq!(offset_of!(Identity, origin_id), 192);
const_assert_eq!(offset_of!(Identity, origin_created), 208);
const_assert_eq!(offset_of!(Identity, page), 216);
const_assert_eq!(offset_of!(Identity, reserved), 224);
const_assert_eq!(offset_of!(Identity, checksum), 504);
const_assert_eq!(size_of::<Identity>(), 512);

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

/// What the header records of an element type, for two programs to agree on.
///
/// Size and alignment are taken from the type; the name and its version are what the user chose to
/// call it ([`Options::tag`](crate::Options::tag)), because the compiler's own type names differ
/// between honest programs and agree between different layouts.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ElementType {
    /// Bytes.
    pub size: u64,
    /// Bytes.
    pub align: u64,
    /// The user's name for the type, as it is in the ring; empty if none was given. Shown
    /// (`Display`, `Debug`) with control characters escaped.
    pub tag: String,
    /// The user's version of the type; 0 if none was given.
    pub tag_version: u32,
}

impl ElementType {
    pub(crate) fn of<T>(tag: &str, tag_version: u32) -> Self {
        Self {
            size: size_of::<T>() as u64,
            align: align_of::<T>() as u64,
            tag: tag.to_owned(),
            tag_version,
        }
    }
}

/// What a region holds, whatever its capacity: all that a program must know to open it, and what it
/// chooses where it creates one.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    kind: &'static KindInfo,
    element: ElementType,
    /// What follows from these and, of messages, from the granule that a new ring is to have; that
    /// granule, if there is none such.
    slot: Result<SlotShape, u64>,
}

impl Format {
    /// `None` if no ring can carry such elements: they have no size, an alignment that is none, or
    /// one beyond a page.
    pub(crate) fn new(kind: &'static KindInfo, element: ElementType) -> Option<Self> {
        let size = usize::try_from(element.size).ok().filter(|&size| size > 0)?;
        let align = usize::try_from(element.align).ok()?;
        let fits = align.is_power_of_two() && align <= MAX_ALIGN && size.is_multiple_of(align);
        let slot = fits.then(|| SlotShape::new(kind.stamped(), size, align)).flatten()?;
        Some(Self { kind, element, slot: Ok(slot) })
    }

    /// Of messages, in granules of so many bytes, if there can be such: else a new ring is
    /// [refused](Self::slot).
    pub(crate) fn of_messages(
        kind: &'static KindInfo,
        tag: &str,
        tag_version: u32,
        granule: u64,
    ) -> Self {
        let element = ElementType { size: 1, align: 1, tag: tag.to_owned(), tag_version };
        Self { kind, element, slot: granule_shape(kind, granule).ok_or(granule) }
    }

    pub(crate) fn kind(&self) -> &'static KindInfo {
        self.kind
    }

    pub(crate) fn element(&self) -> &ElementType {
        &self.element
    }

    /// Of a ring that this program creates; or the granule that no ring can have.
    pub(crate) fn slot(&self) -> Result<SlotShape, u64> {
        self.slot
    }
}

/// What the granules of an MPMC message ring may be, in bytes: powers of two.
pub(crate) const GRANULES: std::ops::RangeInclusive<u64> = 64..=4096;

/// The slots of a ring of messages: granules of so many bytes. `None` if the kind has none such.
fn granule_shape(kind: &KindInfo, granule: u64) -> Option<SlotShape> {
    let possible = if kind.many { GRANULES } else { 8..=8 };
    let fits = kind.has_messages() && possible.contains(&granule) && granule.is_power_of_two();
    fits.then(|| SlotShape::new(false, granule as usize, align_of::<AtomicU64>())).flatten()
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, align, tag, tag_version } = self;
        match tag.as_str() {
            "" => write!(f, "{size}-byte elements aligned to {align}, untagged"),
            // Whoever wrote the header has chosen it: terminals must not obey it.
            tag => {
                let tag = tag.escape_debug();
                write!(f, "{size}-byte `{tag}` version {tag_version} aligned to {align}")
            }
        }
    }
}

impl fmt::Debug for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not the identity of a ring that this program can use.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// No ring of ours at all.
    NotARing,
    /// A ring, but it differs from what is expected.
    Mismatch(Mismatch),
    /// A ring of our layout that contradicts itself.
    Damaged(&'static str),
}

impl Identity {
    /// The identity of a new region.
    pub(crate) fn new(
        format: &Format,
        geometry: &Geometry,
        birth: Birth,
        flags: u64,
        delivery_limit: u32,
    ) -> Self {
        let Format { kind, element, .. } = format;
        let slot = geometry.slot;
        let granule = if kind.has_messages() { slot.stride as u64 } else { 0 };
        let mut tag = [0; TAG_LEN];
        tag[..element.tag.len()].copy_from_slice(element.tag.as_bytes());
        let mut identity = Self {
            magic: MAGIC,
            byte_order: BYTE_ORDER,
            major: MAJOR,
            minor: MINOR,
            pointer_bits: usize::BITS,
            kind: kind.code,
            element_size: element.size,
            element_align: element.align,
            capacity: geometry.capacity,
            stride: slot.stride as u64,
            slots_at: geometry.slots_at as u64,
            region_len: geometry.region_len as u64,
            endpoints: geometry.endpoints,
            tag_version: element.tag_version,
            tag,
            region_id: birth.id,
            created_realtime: birth.realtime,
            created_boottime: birth.boottime,
            flags,
            slot_layout: kind.slots as u32,
            line: LINE as u32,
            lanes: LANES,
            delivery_limit,
            granule,
            origin_id: [0; _],
            origin_created: 0,
            page: geometry.page.unwrap_or(0) as u64,
            reserved: [0; _],
            checksum: 0,
        };
        identity.checksum = identity.sum();
        identity
    }

    /// To be read into.
    pub(crate) fn unread() -> Self {
        Self::zeroed()
    }

    /// FNV-1a over everything before the checksum: it guards against accidents, not malice.
    fn sum(&self) -> u64 {
        let covered = &bytemuck::bytes_of(self)[..offset_of!(Self, checksum)];
        covered.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The element type as recorded.
    pub(crate) fn element(&self) -> ElementType {
        let end = self.tag.iter().position(|&b| b == 0).unwrap_or(TAG_LEN);
        ElementType {
            size: self.element_size,
            align: self.element_align,
            tag: String::from_utf8_lossy(&self.tag[..end]).into_owned(),
            tag_version: self.tag_version,
        }
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        crate::ring::kind_name(self.kind)
    }

    pub(crate) fn version(&self) -> (u16, u16) {
        (self.major, self.minor)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What users count in so many slots: of messages, bytes.
    pub(crate) fn in_slots(&self, slots: u64) -> u64 {
        slots.saturating_mul(self.granule.max(1))
    }

    pub(crate) fn region_len(&self) -> u64 {
        self.region_len
    }

    /// At most [`MAX_ENDPOINTS`], whatever it says.
    pub(crate) fn endpoints(&self) -> u32 {
        self.endpoints.min(MAX_ENDPOINTS)
    }

    pub(crate) fn flags(&self) -> u64 {
        self.flags
    }

    pub(crate) fn delivery_limit(&self) -> u32 {
        self.delivery_limit
    }

    pub(crate) fn birth(&self) -> Birth {
        Birth {
            id: self.region_id,
            realtime: self.created_realtime,
            boottime: self.created_boottime,
        }
    }

    /// Is this a region that our version understands, whatever its kind and elements?
    pub(crate) fn check_layout(&self) -> Result<(), Unfit> {
        if self.magic != MAGIC {
            return Err(Unfit::NotARing);
        }
        if self.byte_order == BYTE_ORDER.swap_bytes() {
            return Err(Unfit::Mismatch(Mismatch::ByteOrder));
        }
        if self.byte_order != BYTE_ORDER {
            return Err(Unfit::Damaged("byte order mark"));
        }
        if self.major != MAJOR {
            return Err(Unfit::Mismatch(Mismatch::Layout {
                ring: (self.major, self.minor),
                expected: (MAJOR, MINOR),
            }));
        }
        if self.checksum != self.sum() {
            return Err(Unfit::Damaged("checksum of the header"));
        }
        if self.pointer_bits != usize::BITS {
            return Err(Unfit::Mismatch(Mismatch::PointerWidth {
                ring: self.pointer_bits,
                expected: usize::BITS,
            }));
        }
        Ok(())
    }

    /// Is this a region of that format, and does everything in it follow from that? Gives the
    /// geometry as this program computes it.
    pub(crate) fn check(&self, format: &Format, page: usize) -> Result<Geometry, Unfit> {
        let &Format { kind, ref element, slot } = format;
        self.check_layout()?;
        if self.kind != kind.code {
            return Err(Unfit::Mismatch(Mismatch::Kind {
                ring: crate::ring::kind_name(self.kind),
                expected: kind.name,
            }));
        }
        let found = self.element();
        if found != *element {
            return Err(Unfit::Mismatch(Mismatch::Element {
                ring: found,
                expected: element.clone(),
            }));
        }
        if self.flags & !DROP_UNRELEASED != 0 {
            return Err(Unfit::Damaged("flags"));
        }
        if self.line != LINE as u32 {
            return Err(Unfit::Damaged("length of a cache line"));
        }
        // Which granule a ring has, its creator chose.
        let slot = match kind.has_messages() {
            true => granule_shape(kind, self.granule),
            false => slot.ok().filter(|_| self.granule == 0),
        };
        let slot = slot.filter(|_| self.slot_layout == kind.slots as u32 && self.lanes == LANES);
        let slot = slot.ok_or(Unfit::Damaged("layout of the slots"))?;
        let whole_pages = if kind.twice() { page as u64 } else { 0 };
        if self.page != whole_pages {
            // One that makes no sense is a lie, and another page size an honest one.
            return Err(match kind.twice() && self.page.is_power_of_two() {
                true => Unfit::Mismatch(Mismatch::PageSize { ring: self.page, here: page as u64 }),
                false => Unfit::Damaged("page size"),
            });
        }
        // Bytes are no items that could be counted.
        let limits =
            kind.content != Content::Byte && DELIVERY_LIMITS.contains(&self.delivery_limit);
        if self.delivery_limit != 0 && !limits {
            return Err(Unfit::Damaged("limit of deliveries"));
        }
        if !self.capacity.is_power_of_two() {
            return Err(Unfit::Damaged("capacity"));
        }
        // An SPSC ring has one record for each role, at known places.
        let possible = 2..=if kind.many { MAX_ENDPOINTS } else { 2 };
        if !possible.contains(&self.endpoints) {
            return Err(Unfit::Damaged("number of endpoints"));
        }
        let geometry = Geometry::new(kind, slot, self.capacity, self.endpoints, page)
            .filter(|geometry| geometry.capacity == self.capacity)
            .ok_or(Unfit::Damaged("capacity"))?;
        if self.stride != slot.stride as u64 || self.slots_at != geometry.slots_at as u64 {
            return Err(Unfit::Damaged("position of the slots"));
        }
        if self.region_len != geometry.region_len as u64 {
            return Err(Unfit::Damaged("length of the region"));
        }
        Ok(geometry)
    }
}

/// When a region was created, and a number that tells it from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) id: [u64; 2],
    pub(crate) realtime: u64,
    pub(crate) boottime: u64,
}

impl Birth {
    /// The region's number in one piece.
    pub(crate) fn id(&self) -> u128 {
        let [high, low] = self.id;
        (u128::from(high) << 64) + u128::from(low)
    }
}
