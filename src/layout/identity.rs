//! What a region says of itself, and whether that is what this program would have written.

use std::mem::{offset_of, size_of};

use bytemuck::{Pod, Zeroable};
use static_assertions::const_assert_eq;

use super::format::granule_shape;
use super::{ElementType, Format, Geometry, LINE, MAX_ENDPOINTS};
use crate::error::Mismatch;
use crate::ring::Content;

/// The first eight bytes of every region.
const MAGIC: [u8; 8] = *b"ringpipe";
/// Incompatible changes count here.
const MAJOR: u16 = 2;
/// Compatible additions count here.
const MINOR: u16 = 0;
/// Reads as something else on a machine of the other byte order.
const BYTE_ORDER: u32 = 0x0102_0304;

/// Flag: what a dead receiver had not released is discarded.
pub(crate) const DROP_UNRELEASED: u64 = 1;

/// The longest type tag, in bytes.
pub(crate) const TAG_LEN: usize = 48;
/// The only number of lanes so far.
const LANES: u32 = 1;
/// What a limit of deliveries may be: fewer is [`DROP_UNRELEASED`], and no stamp counts further.
pub(crate) const DELIVERY_LIMITS: std::ops::RangeInclusive<u32> = 2..=15;

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
        let (kind, element) = (format.kind(), format.element());
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
        let (kind, element) = (format.kind(), format.element());
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
            false => format.slot().ok().filter(|_| self.granule == 0),
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
