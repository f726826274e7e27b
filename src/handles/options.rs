//! Making and opening rings.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Stat};

use super::Item;
use super::census::read_at;
use super::ring::Ring;
use crate::error::{CreateError, OpenError, OpenOrCreateError};
use crate::layout::{
    Birth, DELIVERY_LIMITS, DROP_UNRELEASED, ElementType, Geometry, IDENTITY_LEN, Identity,
    MAX_ALIGN, MAX_ENDPOINTS, TAG_LEN, Unfit,
};
use crate::ring::Kind;
use crate::shm::map::{MapOptions, Mapping};
use crate::shm::place::Place;
use crate::shm::state::Unclean;
use crate::shm::{NewRegion, Region, random_u64};

/// Which pages a ring's memory consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePages {
    /// Pages of the usual size. The default.
    #[default]
    Never,
    /// Ask for transparent huge pages (`MADV_HUGEPAGE`). Works without if the kernel says no.
    Advise,
    /// Pages from the reserved pool, of 2 MiB on x86-64, or an error ([`CreateError::Options`]
    /// where there can be none, [`CreateError::NoSpace`] where there are not enough). For anonymous
    /// rings (`MFD_HUGETLB`) and for files on a hugetlbfs mount; a named ring cannot have them.
    Require,
}

/// How a ring is created or opened: a builder, from
/// [`Ring::options`](crate::Ring::options).
///
/// Creation settings are without effect when a ring is opened; a ring's capacity, endpoints and
/// mode are its creator's.
///
/// ```
/// use ringpipe::mpmc::Ring;
///
/// # let name = format!("doc-options-{}", std::process::id());
/// let ring = Ring::<u64>::options()
///     .capacity(1000)
///     .endpoints(16)
///     .tag("tick", 1)
///     .create(&name)?;
/// assert_eq!(ring.capacity(), 1024); // rounded up to a power of two
/// ring.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "options create and open rings; alone they do nothing"]
pub struct Options<T, K> {
    capacity: usize,
    endpoints: u32,
    mode: u32,
    tag: String,
    tag_version: u32,
    huge_pages: HugePages,
    map: MapOptions,
    drop_unreleased: bool,
    delivery_limit: u32,
    trusted_owners: Vec<u32>,
    trust_any_owner: bool,
    unclean: Unclean,
    kind: PhantomData<(fn() -> T, K)>,
}

impl<T: Item, K: Kind> Options<T, K> {
    pub(crate) fn new() -> Self {
        const {
            assert!(size_of::<T>() > 0, "a ring cannot carry values of size zero");
            assert!(
                align_of::<T>() <= MAX_ALIGN,
                "an element may be aligned to a page at the most"
            );
        }
        Self {
            capacity: 1024,
            endpoints: 64,
            mode: 0o600,
            tag: String::new(),
            tag_version: 0,
            huge_pages: HugePages::default(),
            map: MapOptions::default(),
            drop_unreleased: false,
            delivery_limit: 0,
            trusted_owners: Vec::new(),
            trust_any_owner: false,
            unclean: Unclean::Refuse,
            kind: PhantomData,
        }
    }

    /// Slots of the ring, rounded up to a power of two; at least 1. Default: 1024.
    pub fn capacity(mut self, slots: usize) -> Self {
        self.capacity = slots;
        self
    }

    /// How many sending and receiving ends together may be attached to an MPMC ring at any time,
    /// 2 to 4096. Each costs 136 bytes of the region. Default: 64. An SPSC ring has 2 always.
    pub fn endpoints(mut self, endpoints: u32) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Mode bits of a named or file-backed ring, subject to the umask: who may open it. Every user
    /// of a ring needs both read and write permission. Default: `0o600`.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Name and version of the element type, for rings to be told apart whose elements have the
    /// same size and alignment. At most 48 bytes without NUL. A program that gives another tag or
    /// version than the ring's creator, or none where it gave one, cannot open the ring.
    pub fn tag(mut self, name: &str, version: u32) -> Self {
        self.tag = name.to_owned();
        self.tag_version = version;
        self
    }

    /// Which pages to use. Default: [`HugePages::Never`].
    pub fn huge_pages(mut self, pages: HugePages) -> Self {
        self.map.advise_huge = pages == HugePages::Advise;
        self.huge_pages = pages;
        self
    }

    /// Makes all pages present in this process when the ring is created or opened, so that the
    /// first lap meets no page faults. The memory itself is reserved at creation in any case.
    /// Default: no.
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.map.prefault = prefault;
        self
    }

    /// Locks the region into memory (`mlock`), so that it is never swapped out. Subject to
    /// `RLIMIT_MEMLOCK`. Default: no.
    pub fn lock_memory(mut self, lock: bool) -> Self {
        self.map.lock = lock;
        self
    }

    /// What becomes of items that a receiver had claimed and not released when it died: `false`,
    /// they are delivered again, to another receiver or to its successor; `true`, they are
    /// discarded and counted ([`Stats::dropped`](crate::Stats::dropped)), so that no item is ever
    /// delivered twice. Default: `false`.
    ///
    /// Calls that copy items out claim and release them on the way, and have delivered them when
    /// they return. On an SPSC ring, what a consumer was killed over in such a call is delivered
    /// for the first time, by its successor, under either setting; on an MPMC ring it counts as
    /// claimed.
    pub fn drop_unreleased(mut self, drop: bool) -> Self {
        self.drop_unreleased = drop;
        self
    }

    /// How often an item is handed to receivers that die, or close, without releasing it: after so
    /// many deliveries, 2 to 15, it is dropped and counted
    /// ([`Stats::exhausted`](crate::Stats::exhausted)) instead of being delivered again. Without
    /// effect beside [`drop_unreleased`](Self::drop_unreleased), which is a limit of one. Default:
    /// none; a receiver can set such items aside itself
    /// ([`RecvHandle::redeliveries`](crate::RecvHandle::redeliveries)).
    ///
    /// The count may be one too high for each receiver that was killed in the instant before it was
    /// shown the item; it is never too low. On an MPMC ring, what a receiver had claimed that was
    /// killed inside a call counts as delivered to it.
    ///
    /// ```
    /// use ringpipe::mpmc::Ring;
    ///
    /// let ring = Ring::<u64>::options().capacity(8).delivery_limit(2).create_anonymous()?;
    /// let mut tx = ring.sender()?;
    /// tx.try_send(13).unwrap();
    /// for redeliveries in 0..2 {
    ///     let mut worker = ring.receiver()?;
    ///     let run = worker.try_claim(1).unwrap();
    ///     assert_eq!((run.get(0), run.redeliveries()), (Some(13), redeliveries));
    ///     drop(run); // and the worker leaves, or is killed
    /// }
    /// let mut worker = ring.receiver()?;
    /// assert!(worker.try_recv().is_err()); // 13 has been delivered twice, which is enough
    /// assert_eq!(ring.stats().exhausted, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delivery_limit(mut self, deliveries: u32) -> Self {
        self.delivery_limit = deliveries;
        self
    }

    /// Opens rings of this user too. By default a ring must belong to this process's effective
    /// user, or to root, lest someone who squats on the name pass for the peer.
    pub fn trust_owner(mut self, uid: u32) -> Self {
        self.trusted_owners.push(uid);
        self
    }

    /// Opens rings of any user. The region stays untrusted memory all the same.
    pub fn trust_any_owner(mut self) -> Self {
        self.trust_any_owner = true;
        self
    }

    /// What to do with a file-backed ring that was not closed by all who had it open before the
    /// machine went down, or is a copy of one in use ([`OpenError::Unclean`]): refuse it, empty it,
    /// or take it as it is. Without effect on all others. Default: [`Unclean::Refuse`].
    ///
    /// ```
    /// use ringpipe::{OpenError, Unclean, spsc};
    ///
    /// # let directory = std::env::temp_dir().join(format!("ringpipe-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # struct Remove<'a>(&'a std::path::Path);
    /// # impl Drop for Remove<'_> {
    /// #     fn drop(&mut self) { let _ = std::fs::remove_dir_all(self.0); }
    /// # }
    /// # let _remove = Remove(&directory);
    /// # let path = directory.join("ring");
    /// # match spsc::Ring::<u64>::options().create_file(&path) {
    /// #     Ok(ring) => ring.producer()?.send(1)?,
    /// #     Err(e) => { eprintln!("NOT RUN: {e}"); return Ok(()) }
    /// # }
    /// let open = |unclean| spsc::Ring::<u64>::options().unclean(unclean).open_file(&path);
    /// let ring = match open(Unclean::Refuse) {
    ///     Err(e @ OpenError::Unclean { .. }) => {
    ///         eprintln!("{e}; starting anew");
    ///         open(Unclean::Empty)?
    ///     }
    ///     opened => opened?,
    /// };
    /// # assert_eq!(ring.len(), 1); // it was closed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unclean(mut self, unclean: Unclean) -> Self {
        self.unclean = unclean;
        self
    }

    /// Creates a named ring, visible as `/dev/shm/NAME`.
    ///
    /// # Errors
    ///
    /// [`CreateError::Exists`] if there is something of that name; see [`CreateError`] for others.
    pub fn create(&self, name: &str) -> Result<Ring<T, K>, CreateError> {
        let place = Place::named(name).map_err(CreateError::Name)?;
        if self.huge_pages == HugePages::Require {
            let why =
                "a named ring cannot have reserved huge pages; make it file-backed on hugetlbfs";
            return Err(CreateError::Options(why.into()));
        }
        self.create_at(Some(place))
    }

    /// Opens the named ring that another process created.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`] if there is none; see [`OpenError`] for others.
    pub fn open(&self, name: &str) -> Result<Ring<T, K>, OpenError> {
        self.open_at(Place::named(name).map_err(OpenError::Name)?)
    }

    /// Opens the named ring, or creates it if there is none: for programs that may start in any
    /// order. The creator's capacity is the one that counts.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), but for `NotFound`, and of [`create`](Self::create), but for
    /// `Exists`.
    pub fn open_or_create(&self, name: &str) -> Result<Ring<T, K>, OpenOrCreateError> {
        open_or_create(|| self.open(name), || self.create(name))
    }

    /// Creates a ring in a file: it survives a reboot if all who have it open close it before
    /// ([`Ring::checkpoint`](crate::Ring::checkpoint)).
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), and [`CreateError::FileSystem`] on network and FUSE file
    /// systems.
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<Ring<T, K>, CreateError> {
        self.create_at(Some(Place::file(path.as_ref()).map_err(CreateError::Name)?))
    }

    /// Opens the ring in a file. On a disk that takes a write to it, if nobody had it open
    /// before; and up to ten seconds, while the last one to close it is still writing.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), [`OpenError::FileSystem`] on network and FUSE file systems, and
    /// [`OpenError::Unclean`] if the machine has gone down while it was open
    /// ([`unclean`](Self::unclean)).
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<Ring<T, K>, OpenError> {
        self.open_at(Place::file(path.as_ref()).map_err(OpenError::Name)?)
    }

    /// Opens the ring in a file, or creates it if there is none.
    ///
    /// # Errors
    ///
    /// As [`open_or_create`](Self::open_or_create).
    pub fn open_or_create_file(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Ring<T, K>, OpenOrCreateError> {
        let path = path.as_ref();
        open_or_create(|| self.open_file(path), || self.create_file(path))
    }

    /// Creates a ring without a name, in a sealed memfd: for threads of this process, for children
    /// that inherit its descriptor, and for whoever is handed it ([`Ring`](crate::Ring) is
    /// [`AsFd`](std::os::fd::AsFd)).
    ///
    /// # Errors
    ///
    /// See [`CreateError`].
    pub fn create_anonymous(&self) -> Result<Ring<T, K>, CreateError> {
        self.create_at(None)
    }

    /// Opens the ring in a memfd that came from elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError::Unsealed`] unless its size is sealed, [`OpenError::ReadOnly`] unless it can be
    /// written, [`OpenError::NotARing`] if it is no memfd; see [`OpenError`] for others.
    pub fn from_fd(&self, fd: OwnedFd) -> Result<Ring<T, K>, OpenError> {
        let region = Region::from_fd(fd, self.map, |fd, stat, page| {
            let geometry = self.look("descriptor", fd, stat, page)?;
            Ok(geometry.1.region_len)
        })?;
        self.finish(region, "descriptor")
    }

    fn create_at(&self, place: Option<Place>) -> Result<Ring<T, K>, CreateError> {
        let wrong = |what: String| Err(CreateError::Options(what));
        if self.capacity == 0 {
            return wrong("a ring has at least one slot".into());
        }
        let endpoints = if K::MANY { self.endpoints } else { 2 };
        if !(2..=MAX_ENDPOINTS).contains(&endpoints) {
            return wrong(format!("{endpoints} endpoints; 2 to {MAX_ENDPOINTS} are possible"));
        }
        if self.tag.len() > TAG_LEN || self.tag.contains('\0') {
            return wrong(format!("a type tag is at most {TAG_LEN} bytes, none of them NUL"));
        }
        if self.mode & !0o777 != 0 {
            return wrong(format!("mode {:o} has more than permission bits", self.mode));
        }
        let limit = self.delivery_limit;
        if limit != 0 && !DELIVERY_LIMITS.contains(&limit) {
            let (least, most) = (DELIVERY_LIMITS.start(), DELIVERY_LIMITS.end());
            return wrong(format!("{limit} deliveries; {least} to {most} are possible"));
        }
        let element = self.element();
        let birth = Birth {
            id: [random_u64(), random_u64()],
            realtime: clock(rustix::time::ClockId::Realtime),
            boottime: clock(rustix::time::ClockId::Boottime),
        };
        let flags = if self.drop_unreleased { DROP_UNRELEASED } else { 0 };
        let plan = |page| {
            Geometry::new::<T, K>(self.capacity as u64, endpoints, page)
                .ok_or(CreateError::TooLarge { needed: None, available: 0 })
        };
        let new = NewRegion {
            mode: self.mode,
            huge_memfd: self.huge_pages == HugePages::Require && place.is_none(),
            map: self.map,
        };
        let page_seen = std::cell::Cell::new(0);
        let region = Region::create(
            place,
            new,
            |page| {
                if self.huge_pages == HugePages::Require && page == rustix::param::page_size() {
                    let why = "no reserved huge pages on this file system; it takes hugetlbfs";
                    return Err(CreateError::Options(why.into()));
                }
                page_seen.set(page);
                Ok(plan(page)?.region_len)
            },
            |map| {
                let geometry = plan(page_seen.get()).expect("planned before");
                let identity =
                    Identity::new::<T, K>(&geometry, &element, birth, flags, self.delivery_limit);
                write_identity(map, &identity);
            },
        )?;
        let geometry = plan(region.page)?;
        Ok(Ring::new(region, geometry, element, birth, flags, self.delivery_limit))
    }

    fn open_at(&self, place: Place) -> Result<Ring<T, K>, OpenError> {
        let name = place.to_string();
        let region = Region::open(place, self.map, self.unclean, |fd, stat, page| {
            let (_, geometry) = self.look(&name, fd, stat, page)?;
            Ok(geometry.region_len)
        })?;
        self.finish(region, &name)
    }

    fn element(&self) -> ElementType {
        ElementType::of::<T>(&self.tag, self.tag_version)
    }

    /// Reads and checks the identity without touching anything.
    fn look(
        &self,
        name: &str,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        page: usize,
    ) -> Result<(Identity, Geometry), OpenError> {
        let ring = || name.to_owned();
        let not_a_ring = |because| OpenError::NotARing { ring: ring(), because };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_a_ring("it is no regular file"));
        }
        let me = rustix::process::geteuid().as_raw();
        let owner = stat.st_uid;
        let trusted = owner == me || owner == 0 || self.trusted_owners.contains(&owner);
        if !trusted && !self.trust_any_owner {
            return Err(OpenError::Owner { ring: ring(), owner });
        }
        let mut identity = Identity::unread();
        read_at(fd, 0, bytemuck::bytes_of_mut(&mut identity)).map_err(|source| {
            match source.kind() {
                io::ErrorKind::UnexpectedEof => not_a_ring("it is shorter than a ring's header"),
                _ => OpenError::Io { doing: "reading the header", source },
            }
        })?;
        let geometry =
            identity.check::<T, K>(&self.element(), page).map_err(|unfit| match unfit {
                Unfit::NotARing => not_a_ring("it does not begin as a ring does"),
                Unfit::Mismatch(mismatch) => OpenError::Mismatch { ring: ring(), mismatch },
                Unfit::Damaged(what) => OpenError::Damaged { ring: ring(), what },
            })?;
        match u64::try_from(stat.st_size) {
            Ok(len) if len < geometry.region_len as u64 => {
                Err(OpenError::Damaged { ring: ring(), what: "it has been truncated" })
            }
            Ok(len) if len == geometry.region_len as u64 => Ok((identity, geometry)),
            _ => Err(OpenError::Damaged { ring: ring(), what: "it has been extended" }),
        }
    }

    fn finish(&self, mut region: Region, name: &str) -> Result<Ring<T, K>, OpenError> {
        use std::os::fd::AsFd;
        // Once more, from the very file that is now mapped and held: the first look told how much
        // to map, and the file can have been written since.
        let stat = rustix::fs::fstat(region.as_fd())
            .map_err(crate::shm::open_io("asking for the file's status"))?;
        let (identity, geometry) = self.look(name, region.as_fd(), &stat, region.page)?;
        if geometry.region_len != region.map.len() {
            return Err(OpenError::Damaged { ring: name.to_owned(), what: "its length changes" });
        }
        let empty_to = if K::STAMPED { geometry.region_len } else { geometry.slots_at };
        region.enter(name, self.unclean, empty_to)?;
        let (flags, limit) = (identity.flags(), identity.delivery_limit());
        Ok(Ring::new(region, geometry, self.element(), identity.birth(), flags, limit))
    }
}

fn open_or_create<R>(
    open: impl Fn() -> Result<R, OpenError>,
    create: impl Fn() -> Result<R, CreateError>,
) -> Result<R, OpenOrCreateError> {
    // Someone may create between our open and create, or unlink between create and open; each such
    // round is their doing, so honest programs end this soon.
    let mut last = None;
    for _ in 0..100 {
        match open() {
            Err(OpenError::NotFound { .. }) => {}
            other => return other.map_err(OpenOrCreateError::Open),
        }
        match create() {
            Err(e @ CreateError::Exists { .. }) => last = Some(e),
            other => return other.map_err(OpenOrCreateError::Create),
        }
    }
    Err(OpenOrCreateError::Create(last.expect("at least one round")))
}

fn clock(id: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(id);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
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

impl<T, K> fmt::Debug for Options<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("capacity", &self.capacity)
            .field("endpoints", &self.endpoints)
            .field("mode", &format_args!("{:o}", self.mode))
            .field("tag", &self.tag)
            .field("tag_version", &self.tag_version)
            .field("huge_pages", &self.huge_pages)
            .field("map", &self.map)
            .field("drop_unreleased", &self.drop_unreleased)
            .field("delivery_limit", &self.delivery_limit)
            .field("trusted_owners", &self.trusted_owners)
            .field("trust_any_owner", &self.trust_any_owner)
            .field("unclean", &self.unclean)
            .finish_non_exhaustive()
    }
}
