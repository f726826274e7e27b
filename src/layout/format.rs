//! What rings carry: element types, as the header records them, and what follows of them for slots.

use std::fmt;
use std::mem::size_of;

use crate::ring::KindInfo;
use crate::ring::mem::SlotShape;
use crate::sync::AtomicU64;

/// The largest element alignment: a page, which every mapping is aligned to.
pub(crate) const MAX_ALIGN: usize = 4096;
/// What the granules of an MPMC message ring may be, in bytes: powers of two.
pub(crate) const GRANULES: std::ops::RangeInclusive<u64> = 64..=4096;

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

/// The slots of a ring of messages: granules of so many bytes. `None` if the kind has none such.
pub(super) fn granule_shape(kind: &KindInfo, granule: u64) -> Option<SlotShape> {
    let possible = if kind.many { GRANULES } else { 8..=8 };
    let fits = kind.has_messages() && possible.contains(&granule) && granule.is_power_of_two();
    fits.then(|| SlotShape::new(false, granule as usize, align_of::<AtomicU64>())).flatten()
}
