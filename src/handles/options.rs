//! Making and opening rings.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::item::Item;
use super::making::{HugePages, Making};
use super::messages::Message;
use super::ring::Ring;
use crate::error::{CreateError, OpenError, OpenOrCreateError, SpaceLimit};
use crate::layout::{ElementType, Format, MAX_ALIGN};
use crate::ring::frames::HEADER;
use crate::ring::{Content, Kind, MpmcMessages};
use crate::shm::place::Place;
use crate::shm::random_u64;
use crate::shm::state::Unclean;
use crate::wait::pace::sleep;

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
pub struct Options<T: Item, K: Kind> {
    tag: String,
    tag_version: u32,
    granule: u64,
    making: Making,
    kind: PhantomData<(fn() -> T, K)>,
}

/// Bytes in a pipe of Linux's.
const PIPE: usize = 64 << 10;
/// Bytes of a ring of messages, unless others are asked for.
const MESSAGES: usize = 256 << 10;
/// Bytes of a granule, unless others are asked for: a line.
const GRANULE: u64 = 64;

impl<T: Item, K: Kind> Ring<T, K> {
    /// How to create or open one.
    pub fn options() -> Options<T, K> {
        Options::new()
    }
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
        const { assert!(K::INFO.has_items() || size_of::<T>() == 1, "these carry bytes") };
        let mut making = Making::default();
        making.capacity = match K::INFO.content {
            Content::Item => making.capacity,
            Content::Byte => PIPE,
            Content::Message => MESSAGES,
        };
        let granule = if K::MANY { GRANULE } else { HEADER as u64 };
        Self { tag: String::new(), tag_version: 0, granule, making, kind: PhantomData }
    }

    /// Slots of the ring, rounded up to a power of two; at least 1. Default: 1024. Of a byte pipe
    /// and of a ring of messages: bytes, rounded up to a power of two and to a page of what backs it;
    /// default: 64 KiB, and 256 KiB.
    pub fn capacity(mut self, slots: usize) -> Self {
        self.making.capacity = slots;
        self
    }

    /// How many sending and receiving ends together may be attached to an MPMC ring at any time,
    /// 2 to 4096. Each costs 136 bytes of the region. Default: 64. An SPSC ring has 2 always.
    pub fn endpoints(mut self, endpoints: u32) -> Self {
        self.making.endpoints = endpoints;
        self
    }

    /// Mode bits of a named or file-backed ring, subject to the umask: who may open it. Every user
    /// of a ring needs both read and write permission. Default: `0o600`.
    pub fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
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
        self.making.map.advise_huge = pages == HugePages::Advise;
        self.making.huge_pages = pages;
        self
    }

    /// Makes all pages present in this process when the ring is created or opened, so that the
    /// first lap meets no page faults. The memory itself is reserved at creation in any case.
    /// Default: no.
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.making.map.prefault = prefault;
        self
    }

    /// Locks the region into memory (`mlock`), so that it is never swapped out. Subject to
    /// `RLIMIT_MEMLOCK`, beyond which it is an error ([`SpaceLimit::LockedMemory`]). Default: no.
    pub fn lock_memory(mut self, lock: bool) -> Self {
        self.making.map.lock = lock;
        self
    }

    /// Lets core dumps of this process have the region (without this: `MADV_DONTDUMP`). A dump is
    /// then larger by as much, and what other processes have put into the ring is in it, too.
    /// Default: no.
    pub fn core_dump(mut self, dump: bool) -> Self {
        self.making.map.core_dump = dump;
        self
    }

    /// The largest region that is opened, in bytes: a larger one is refused, before any of it is
    /// mapped, as [`OpenError::TooLarge`]. Applies to descriptors, too; and none larger is created
    /// ([`CreateError::TooLarge`]). It bounds what an opener may
    /// have to pay for: address space and page tables; pages of a file on a disk, with
    /// [`prefault`](Self::prefault) or [`lock_memory`](Self::lock_memory) all of them; and memory
    /// for the holes of a sparse file, which an opener [fills](Self::open).
    ///
    /// Default: no bound, as a ring must belong to this process's user, to root or to another who
    /// is [trusted](Self::trust_owner). But holes of a ring whose owner is accepted by
    /// [`trust_any_owner`](Self::trust_any_owner) alone are filled only under a bound.
    ///
    /// ```
    /// use ringpipe::{OpenError, SpaceLimit, spsc::Ring};
    ///
    /// # let name = format!("doc-max-region-{}", std::process::id());
    /// let ring = Ring::<u64>::options().capacity(1 << 20).create(&name)?;
    /// let careful = Ring::<u64>::options().max_region(1 << 20);
    /// match careful.open(&name) {
    ///     Err(OpenError::TooLarge { needed, available, limit: SpaceLimit::MaxRegion, .. }) => {
    ///         assert!(needed > 8 << 20 && available == 1 << 20);
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// ring.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_region(mut self, bytes: u64) -> Self {
        self.making.max_region = Some(bytes);
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
        self.making.drop_unreleased = drop;
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
        self.making.delivery_limit = deliveries;
        self
    }

    /// Opens rings of this user too. By default a ring must belong to this process's effective
    /// user, or to root, lest someone who squats on the name pass for the peer. In a user namespace
    /// that has no such user, no ring is this user's: the number that stands there for all others
    /// (65534) is never trusted.
    pub fn trust_owner(mut self, uid: u32) -> Self {
        self.making.trusted_owners.push(uid);
        self
    }

    /// Opens rings of any user. The region stays untrusted memory all the same.
    pub fn trust_any_owner(mut self) -> Self {
        self.making.trust_any_owner = true;
        self
    }

    /// Creates and opens file-backed rings also on file systems of which this crate knows nothing
    /// ([`CreateError::FileSystem`], [`OpenError::FileSystem`]). Those of which it knows that they
    /// are unfit, it refuses all the same. Default: no.
    ///
    /// **At your own risk**: that all mappings of a file are one memory at every instant, and that
    /// the kernel of this host keeps the locks on it. Where the first does not hold, items are
    /// lost, torn or doubled; where the second does not, peers are taken for dead that live.
    pub fn trust_unknown_file_systems(mut self) -> Self {
        self.making.trust_unknown_file_systems = true;
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
        self.making.unclean = unclean;
        self
    }

    /// Creates a named ring, visible as `/dev/shm/NAME`.
    ///
    /// # Errors
    ///
    /// [`CreateError::Exists`] if there is something of that name; see [`CreateError`] for others.
    pub fn create(&self, name: &str) -> Result<Ring<T, K>, CreateError> {
        let place =
            Place::named(name).map_err(|why| CreateError::Name { name: name.into(), why })?;
        if self.making.huge_pages == HugePages::Require {
            let why =
                "a named ring cannot have reserved huge pages; make it file-backed on hugetlbfs";
            return Err(CreateError::Options { ring: place.location(), what: why.into() });
        }
        self.create_at(Some(place))
    }

    /// Opens the named ring that another process created.
    ///
    /// A ring whose file is sparse (it was copied so, or a peer punched holes) has its holes filled
    /// here, as a page that could not be had later would be a `SIGBUS`. This process, or its
    /// cgroup, then pays for that memory. If it is not to be had, nothing is opened.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`] if there is none, [`OpenError::NoSpace`] and
    /// [`OpenError::TooLarge`] if there is no room for its holes; see [`OpenError`] for others.
    pub fn open(&self, name: &str) -> Result<Ring<T, K>, OpenError> {
        let place = Place::named(name);
        self.open_at(place.map_err(|why| OpenError::Name { name: name.into(), why })?)
    }

    /// Opens the named ring, or creates it if there is none: for programs that may start in any
    /// order. The creator's capacity is the one that counts. If there is no room for the ring, it
    /// is tried again for a second, or longer if a try takes long: there may be room for one, and
    /// another program be making it.
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
    /// As [`create`](Self::create), and [`CreateError::FileSystem`] on file systems that are not
    /// known to be fit: network and FUSE file systems, overlayfs, and
    /// [unknown ones](Self::trust_unknown_file_systems).
    pub fn create_file(&self, path: impl AsRef<Path>) -> Result<Ring<T, K>, CreateError> {
        let path = path.as_ref();
        let place = Place::file(path);
        let place = place.map_err(|why| CreateError::Name { name: path.to_owned(), why })?;
        self.create_at(Some(place))
    }

    /// Opens the ring in a file. On a disk that takes a write to it, if nobody had it open
    /// before; and up to ten seconds, while the last one to close it is still writing. Holes are
    /// filled as by [`open`](Self::open), where the file system counts blocks and can reserve them
    /// (ext4, XFS; not on btrfs, ZFS and their like, where a reservation would promise nothing).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), [`OpenError::FileSystem`] on file systems that are not known to be
    /// fit, and [`OpenError::Unclean`] if the machine has gone down while it was open
    /// ([`unclean`](Self::unclean)).
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<Ring<T, K>, OpenError> {
        let path = path.as_ref();
        let place = Place::file(path);
        self.open_at(place.map_err(|why| OpenError::Name { name: path.to_owned(), why })?)
    }

    /// Opens the ring in a file, or creates it if there is none, as
    /// [`open_or_create`](Self::open_or_create) does it.
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
    /// that inherit a duplicate of its descriptor (the ring's own is closed by `exec`), and for
    /// whoever is handed it ([`Ring`](crate::Ring) is [`AsFd`](std::os::fd::AsFd)).
    ///
    /// # Errors
    ///
    /// See [`CreateError`].
    pub fn create_anonymous(&self) -> Result<Ring<T, K>, CreateError> {
        self.create_at(None)
    }

    /// Opens the ring in a memfd that came from elsewhere. Its holes are filled as by
    /// [`open`](Self::open): who takes descriptors from peers that may ask too much sets
    /// [`max_region`](Self::max_region).
    ///
    /// # Errors
    ///
    /// [`OpenError::Unsealed`] unless its size is sealed, [`OpenError::ReadOnly`] unless it can be
    /// written, [`OpenError::NotARing`] if it is no memfd; see [`OpenError`] for others.
    pub fn from_fd(&self, fd: OwnedFd) -> Result<Ring<T, K>, OpenError> {
        Ok(Ring::new(self.making.open_fd(&self.format(), fd)?))
    }

    /// What such a ring holds.
    fn format(&self) -> Format {
        if K::MESSAGES {
            let (tag, version) = (&self.tag, self.tag_version);
            return Format::of_messages(K::INFO, tag, version, self.granule);
        }
        let element = ElementType::of::<T>(&self.tag, self.tag_version);
        Format::new(K::INFO, element).expect("checked when it is compiled")
    }

    fn create_at(&self, place: Option<Place>) -> Result<Ring<T, K>, CreateError> {
        Ok(Ring::new(self.making.create_at(&self.format(), place)?))
    }

    fn open_at(&self, place: Place) -> Result<Ring<T, K>, OpenError> {
        Ok(Ring::new(self.making.open_at(&self.format(), place)?))
    }
}

/// How often others may create and unlink a ring while it is opened or created.
const ROUNDS: u32 = 100;
/// For how long at least it is tried again where there is no room.
const PATIENCE: Duration = Duration::from_secs(1);
/// A pause between two tries that take no time.
const SHORT_PAUSE: Duration = Duration::from_millis(8);

fn open_or_create<R>(
    open: impl Fn() -> Result<R, OpenError>,
    create: impl Fn() -> Result<R, CreateError>,
) -> Result<R, OpenOrCreateError> {
    // Someone may create between our open and create, or unlink between create and open; each such
    // round is their doing, so honest programs end this soon.
    let mut rounds = 0;
    let began = Instant::now();
    loop {
        match open() {
            // Without its directory there is none either; why none can be made, `create` says.
            Err(OpenError::NotFound { .. } | OpenError::NoDirectory { .. }) => {}
            other => return other.map_err(OpenOrCreateError::Open),
        }
        let tried = Instant::now();
        let error = match create() {
            Ok(ring) => return Ok(ring),
            Err(error) => error,
        };
        let again = match error {
            CreateError::Exists { .. } => {
                rounds += 1;
                rounds < ROUNDS
            }
            // Somebody else may be making the same ring at this moment, and there is room for one.
            // Should both have tried at once, and failed, one is to be through before the other
            // tries again: the pauses differ by more than a try takes.
            CreateError::NoSpace { .. }
            | CreateError::TooLarge {
                needed: Some(_),
                limit:
                    SpaceLimit::Machine | SpaceLimit::Cgroup { .. } | SpaceLimit::HugePages { .. },
                ..
            } => {
                let took = tried.elapsed();
                let most = (took * 8).max(SHORT_PAUSE).as_micros() as u64;
                sleep(Duration::from_micros(random_u64() % most));
                began.elapsed() < PATIENCE + took * 32
            }
            _ => false,
        };
        if !again {
            return Err(OpenOrCreateError::Create(error));
        }
    }
}

impl Options<Message, MpmcMessages> {
    /// What the room that a message takes is rounded up to, in bytes: a power of two, 64 to 4096.
    /// Larger granules make long messages cheaper, by a stamp for each granule, and short ones take
    /// more room. Default: 64.
    pub fn granule(mut self, bytes: usize) -> Self {
        self.granule = bytes as u64;
        self
    }
}

impl<T: Item, K: Kind> fmt::Debug for Options<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("capacity", &self.making.capacity)
            .field("granule", &self.granule)
            .field("endpoints", &self.making.endpoints)
            .field("mode", &format_args!("{:o}", self.making.mode))
            .field("tag", &self.tag)
            .field("tag_version", &self.tag_version)
            .field("huge_pages", &self.making.huge_pages)
            .field("map", &self.making.map)
            .field("drop_unreleased", &self.making.drop_unreleased)
            .field("delivery_limit", &self.making.delivery_limit)
            .field("trusted_owners", &self.making.trusted_owners)
            .field("trust_any_owner", &self.making.trust_any_owner)
            .field("unclean", &self.making.unclean)
            .field("max_region", &self.making.max_region)
            .field("trust_unknown_file_systems", &self.making.trust_unknown_file_systems)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(miri)))] // it would wait for seconds
mod tests {
    use super::*;
    use crate::error::Location;

    fn tries(refused: impl Fn() -> CreateError) -> u32 {
        let tried = std::cell::Cell::new(0);
        let open = || Err::<(), _>(OpenError::NotFound { ring: Location::Anonymous });
        let create = || {
            tried.set(tried.get() + 1);
            Err(refused())
        };
        assert!(matches!(open_or_create(open, create), Err(OpenOrCreateError::Create(_))));
        tried.get()
    }

    /// Somebody else may be making the ring, and give way; no limit of this process's own does.
    #[test]
    fn creating_is_tried_again_only_where_another_may_have_taken_the_room() {
        let limited = |limit: SpaceLimit| {
            tries(|| CreateError::TooLarge {
                ring: Location::Anonymous,
                needed: Some(2),
                available: 1,
                limit: limit.clone(),
            })
        };
        assert!(
            tries(|| CreateError::NoSpace {
                ring: Location::Anonymous,
                mount: None,
                needed: 1,
                free: Some(0)
            }) > 1
        );
        let group = SpaceLimit::Cgroup { path: "/group".into() };
        for shared in [SpaceLimit::Machine, group] {
            assert!(limited(shared) > 1);
        }
        for own in [SpaceLimit::AddressSpace, SpaceLimit::FileSize, SpaceLimit::LockedMemory] {
            assert_eq!(limited(own), 1);
        }
    }
}
