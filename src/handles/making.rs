//! Making and opening rings, whatever their elements are: [`Options`](crate::Options) says how.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};
use rustix::time::ClockId;

use super::raw_ring::RawRing;
use crate::error::{CreateError, Location, OpenError, SpaceLimit, Step};
use crate::layout::{
    Birth, DELIVERY_LIMITS, DROP_UNRELEASED, Format, GRANULES, Geometry, IDENTITY_LEN, Identity,
    MAX_ENDPOINTS, TAG_LEN, Unfit,
};
use crate::ring::Content;
use crate::ring::mem::SlotShape;
use crate::shm::file_system::FileSystem;
use crate::shm::map::{Extent, MapOptions, Mapping};
use crate::shm::place::{self, Place};
use crate::shm::state::Unclean;
use crate::shm::{NewRegion, Region, random_u64, read_at, reserve};
use crate::wait::pace::read_clock;

/// Which pages a ring's memory consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePages {
    /// Pages of the usual size. The default.
    #[default]
    Never,
    /// Ask for transparent huge pages (`MADV_HUGEPAGE`). Works without if the kernel says no.
    Advise,
    /// Pages from the reserved pool, or an error ([`CreateError::Options`] where there can be none,
    /// [`CreateError::TooLarge`] where too few are free, [`CreateError::NoSpace`] where a mount or
    /// a cgroup allows less). For anonymous rings (`MFD_HUGETLB`), which get pages of the machine's
    /// default size (2 MiB on x86-64, unless it was started otherwise), and for files on a
    /// hugetlbfs mount, which have that mount's; a named ring cannot have them. The region's length
    /// is rounded up to whole pages, which may be up to 16 GiB each.
    Require,
}

/// What [`Options`](crate::Options) say, but for the element type.
#[derive(Clone)]
pub(super) struct Making {
    pub(super) capacity: usize,
    pub(super) endpoints: u32,
    pub(super) mode: u32,
    pub(super) huge_pages: HugePages,
    pub(super) map: MapOptions,
    pub(super) drop_unreleased: bool,
    pub(super) delivery_limit: u32,
    pub(super) trusted_owners: Vec<u32>,
    pub(super) trust_any_owner: bool,
    pub(super) unclean: Unclean,
    /// Of a region that is opened, in bytes.
    pub(super) max_region: Option<u64>,
    pub(super) trust_unknown_file_systems: bool,
}

impl Default for Making {
    fn default() -> Self {
        Self {
            capacity: 1024,
            endpoints: 64,
            mode: 0o600,
            huge_pages: HugePages::default(),
            map: MapOptions::default(),
            drop_unreleased: false,
            delivery_limit: 0,
            trusted_owners: Vec::new(),
            trust_any_owner: false,
            unclean: Unclean::Refuse,
            max_region: None,
            trust_unknown_file_systems: false,
        }
    }
}

impl Making {
    /// Creates a ring: at `place`, or anonymous.
    pub(super) fn create_at(
        &self,
        format: &Format,
        place: Option<Place>,
    ) -> Result<RawRing, CreateError> {
        let kind = format.kind();
        let ring = place::location(place.as_ref());
        let wrong = |what| CreateError::Options { ring: ring.clone(), what };
        let (endpoints, slot) = self.check(format).map_err(wrong)?;
        // Of messages, bytes were asked for.
        let bytes = if kind.has_messages() { slot.stride } else { 1 };
        let slots = self.capacity.div_ceil(bytes) as u64;
        let birth = Birth {
            id: [random_u64(), random_u64()],
            realtime: read_clock(ClockId::Realtime),
            boottime: read_clock(ClockId::Boottime),
        };
        let flags = if self.drop_unreleased { DROP_UNRELEASED } else { 0 };
        let plan = |page| {
            let too_large = |needed, available, limit| CreateError::TooLarge {
                ring: ring.clone(),
                needed,
                available,
                limit,
            };
            let geometry = Geometry::new(kind, slot, slots, endpoints, page)
                .ok_or_else(|| too_large(None, 0, SpaceLimit::AddressSpace))?;
            let needed = geometry.region_len as u64;
            match self.max_region.filter(|&most| needed > most) {
                Some(most) => Err(too_large(Some(needed), most, SpaceLimit::MaxRegion)),
                None => Ok(geometry),
            }
        };
        let new = NewRegion {
            mode: self.mode,
            huge_memfd: self.huge_pages == HugePages::Require && place.is_none(),
            map: self.map,
            trusting: place.as_ref().is_some_and(|place| self.trusts_file_system_of(place)),
        };
        let page_seen = std::cell::Cell::new(0);
        let region = Region::create(
            place,
            new,
            |page| {
                if self.huge_pages == HugePages::Require && page == rustix::param::page_size() {
                    let why = "no reserved huge pages on this file system; it takes hugetlbfs";
                    return Err(wrong(why.into()));
                }
                page_seen.set(page);
                Ok(plan(page)?.extent())
            },
            |map| {
                let geometry = plan(page_seen.get()).expect("planned before");
                let identity = Identity::new(format, &geometry, birth, flags, self.delivery_limit);
                write_identity(map, &identity);
            },
        )?;
        let geometry = plan(region.page)?;
        let limit = self.delivery_limit;
        Ok(RawRing::new(region, format.clone(), geometry, birth, flags, limit))
    }

    /// These options make sense for such a ring. Gives its number of endpoint records, and what its
    /// slots are like.
    fn check(&self, format: &Format) -> Result<(u32, SlotShape), String> {
        let wrong = |what: String| Err(what);
        let (kind, element) = (format.kind(), format.element());
        if self.capacity == 0 {
            return wrong("it is to have 0 slots, and has at least one slot".into());
        }
        let endpoints = if kind.many { self.endpoints } else { 2 };
        if !(2..=MAX_ENDPOINTS).contains(&endpoints) {
            return wrong(format!("{endpoints} endpoints; 2 to {MAX_ENDPOINTS} are possible"));
        }
        if element.tag.len() > TAG_LEN || element.tag.contains('\0') {
            let (tag, len) = (&element.tag, element.tag.len());
            return wrong(format!(
                "its type tag {tag:.20?} has {len} bytes; {TAG_LEN} are allowed, none of them NUL"
            ));
        }
        if self.mode & !0o777 != 0 {
            let mode = self.mode;
            return wrong(format!("mode {mode:o} has more than permission bits; 777 is the most"));
        }
        let limit = self.delivery_limit;
        if limit != 0 && kind.content == Content::Byte {
            return wrong("a limit of deliveries; bytes are no items that could be counted".into());
        }
        if limit != 0 && !DELIVERY_LIMITS.contains(&limit) {
            let (least, most) = (DELIVERY_LIMITS.start(), DELIVERY_LIMITS.end());
            return wrong(format!("{limit} deliveries; {least} to {most} are possible"));
        }
        match format.slot() {
            Ok(slot) => Ok((endpoints, slot)),
            Err(granule) => {
                let (least, most) = (GRANULES.start(), GRANULES.end());
                wrong(format!(
                    "granules of {granule} bytes; powers of two from {least} to {most} are possible"
                ))
            }
        }
    }

    /// Opens the one at a place.
    pub(super) fn open_at(&self, format: &Format, place: Place) -> Result<RawRing, OpenError> {
        let ring = place.location();
        let trusting = self.trusts_file_system_of(&place);
        let region = Region::open(place, self.map, self.unclean, trusting, |fd, stat, on| {
            self.look_and_fill(format, &ring, fd, stat, on)
        })?;
        self.finish(format, region, &ring)
    }

    /// Opens the one in a memfd that came from elsewhere.
    pub(super) fn open_fd(&self, format: &Format, fd: OwnedFd) -> Result<RawRing, OpenError> {
        let ring = Location::Descriptor(fd.as_raw_fd());
        let region = Region::from_fd(fd, &ring, self.map, |fd, stat, on| {
            self.look_and_fill(format, &ring, fd, stat, on)
        })?;
        self.finish(format, region, &ring)
    }

    /// Rings that have a name are where the system's shared memory is.
    fn trusts_file_system_of(&self, place: &Place) -> bool {
        self.trust_unknown_file_systems && !place.is_named()
    }

    /// The first look at a ring, which says what to map of it, before that is done. Its holes are filled.
    fn look_and_fill(
        &self,
        format: &Format,
        ring: &Location,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        on: FileSystem,
    ) -> Result<Extent, OpenError> {
        let (_, geometry) = self.look(format, ring, fd, stat, on.page())?;
        let len = geometry.region_len as u64;
        let missing = reserve::missing(on, stat, len);
        if missing > 0 {
            // Memory that a stranger has only promised is not to become ours to pay, unless we
            // have said how much.
            if self.max_region.is_none() && !self.trusts_owner(stat.st_uid) {
                return Err(OpenError::TooLarge {
                    ring: ring.clone(),
                    needed: missing,
                    available: 0,
                    limit: SpaceLimit::MaxRegion,
                });
            }
            reserve::fill_holes(fd, on, len, missing, self.map.lock)
                .map_err(|why| why.opening(ring))?;
        }
        Ok(geometry.extent())
    }

    /// The ring's owner, not only any.
    fn trusts_owner(&self, owner: u32) -> bool {
        let me = rustix::process::geteuid().as_raw();
        let known = owner == me || owner == 0 || self.trusted_owners.contains(&owner);
        known && !stands_for_anybody(owner)
    }

    /// Reads and checks the identity without touching anything.
    fn look(
        &self,
        format: &Format,
        name: &Location,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        page: usize,
    ) -> Result<(Identity, Geometry), OpenError> {
        let ring = || name.clone();
        let not_a_ring = |because| OpenError::NotARing { ring: ring(), because };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_a_ring("it is no regular file"));
        }
        let owner = stat.st_uid;
        if !self.trusts_owner(owner) && !self.trust_any_owner {
            return Err(OpenError::Owner { ring: ring(), owner });
        }
        let mut identity = Identity::unread();
        read_at(fd, 0, bytemuck::bytes_of_mut(&mut identity)).map_err(|source| {
            match source.kind() {
                io::ErrorKind::UnexpectedEof => not_a_ring("it is shorter than a ring's header"),
                _ => OpenError::io(name)(Step::ReadHeader.failed(source)),
            }
        })?;
        let geometry = identity.check(format, page).map_err(|unfit| match unfit {
            Unfit::NotARing => not_a_ring("it does not begin as a ring does"),
            Unfit::Mismatch(mismatch) => OpenError::Mismatch { ring: ring(), mismatch },
            Unfit::Damaged(what) => OpenError::Damaged { ring: ring(), what },
        })?;
        let needed = geometry.region_len as u64;
        if let Some(available) = self.max_region.filter(|&most| needed > most) {
            let limit = SpaceLimit::MaxRegion;
            return Err(OpenError::TooLarge { ring: ring(), needed, available, limit });
        }
        match u64::try_from(stat.st_size) {
            Ok(len) if len < needed => {
                Err(OpenError::Damaged { ring: ring(), what: "it has been truncated" })
            }
            Ok(len) if len == needed => Ok((identity, geometry)),
            _ => Err(OpenError::Damaged { ring: ring(), what: "it has been extended" }),
        }
    }

    fn finish(
        &self,
        format: &Format,
        mut region: Region,
        ring: &Location,
    ) -> Result<RawRing, OpenError> {
        // Check again, now that the file is mapped and held: it may have changed since the first
        // look, which told how much to map.
        let stat = region.stat().map_err(OpenError::io(ring))?;
        let (identity, geometry) = self.look(format, ring, region.as_fd(), &stat, region.page)?;
        if geometry.extent() != region.map.extent() {
            return Err(OpenError::Damaged { ring: ring.clone(), what: "its length changes" });
        }
        // So much is zeroed when an unclean ring is emptied.
        let empty_to =
            if format.kind().stamped() { geometry.region_len } else { geometry.slots_at };
        region.enter(ring, self.unclean, empty_to)?;
        let (flags, limit) = (identity.flags(), identity.delivery_limit());
        Ok(RawRing::new(region, format.clone(), geometry, identity.birth(), flags, limit))
    }
}

/// In a user namespace, every user that it knows nothing of has one number, and so has a process
/// whose own user is none of it: this is that number, and nobody's own.
fn stands_for_anybody(uid: u32) -> bool {
    const USUAL: u32 = 65534;
    let read = |path| std::fs::read_to_string(path).ok();
    let number = || read("/proc/sys/kernel/overflowuid")?.trim().parse().ok();
    uid == number().unwrap_or(USUAL)
        && !read("/proc/self/uid_map").is_some_and(|map| maps(&map, uid))
}

/// A namespace with this map (lines of: first inside, first outside, how many) has such a user.
fn maps(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => {
                (first..first.saturating_add(count)).contains(&u64::from(uid))
            }
            _ => false,
        }
    })
}

/// Nobody else knows of the region yet, but it is shared memory all the same: atomic words.
fn write_identity(map: &Mapping, identity: &Identity) {
    use crate::sync::{AtomicU64, Ordering::Relaxed};
    let words: &[u64; IDENTITY_LEN / 8] = bytemuck::cast_ref(identity);
    for (i, &word) in words.iter().enumerate() {
        // SAFETY: the identity lies at the start of the mapping, which is page-aligned and longer.
        let at = unsafe { AtomicU64::from_ptr(map.at(8 * i).as_ptr().cast()) };
        at.store(word, Relaxed); // giving the region its name publishes it
    }
}
