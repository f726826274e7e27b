//! A ring that this process has open: where its ends come from, and where to ask about it.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, TryLockError};

use rustix::fs::FileType;

use super::Item;
use super::options::Options;
use super::recv::RecvHandle;
use super::send::SendHandle;
use crate::attach::{self, Endpoint, Locks, NoRecord};
use crate::error::{AttachError, CheckpointError, ElementType, OpenError, UnlinkError};
use crate::layout::{Birth, DROP_UNRELEASED, Geometry};
use crate::peers::ends::Ends;
use crate::peers::hold::{self, Asking, Hold, RegionFile, Share};
use crate::peers::reap::{Life, Liveness};
use crate::peers::recovery_word::Scratch;
use crate::peers::table::{self, Role};
use crate::pipe;
use crate::ring::control::{Control, Words};
use crate::ring::{Kind, Mem, Mpmc, Spsc};
use crate::shm::Region;
use crate::shm::last::Closed;
use crate::shm::place::Place;
use crate::sync::Ordering::Relaxed;
use crate::sync::{Shared, Slots};
use crate::wait::barrier;

/// A ring that this process has open and mapped, without being one of its ends.
///
/// Cheap to clone. The ends taken from it keep the mapping alive by themselves. All questions
/// ([`len`](Self::len), [`peers`](Self::peers), [`stats`](Self::stats), …) can be asked at any
/// time, also by an onlooker, and disturb nobody.
pub struct Ring<T, K> {
    open: Arc<Open>,
    kind: PhantomData<(fn() -> T, K)>,
}

/// What all handles of one opening share.
struct Open {
    region: Arc<Region>,
    geometry: Geometry,
    element: ElementType,
    birth: Birth,
    drop_unreleased: bool,
    delivery_limit: u32,
    words: Words,
    /// For the one end of this process that recovers. Only ever tried to be locked.
    scratch: Mutex<Scratch>,
}

/// Who is attached to a ring at a moment, by the ring's endpoint table: a process that was killed
/// counts until an end that waits, or wants a record, notices. [`list`](crate::list) and
/// [`SendHandle::is_closed`] ask the locks instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peers {
    /// Sending ends.
    pub senders: usize,
    /// Receiving ends.
    pub receivers: usize,
}

/// Counters of a ring at a moment; they are read one by one while others change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Positions ever claimed by senders: items sent, given up or in the making. On an SPSC ring,
    /// items ever published.
    pub sent: u64,
    /// Positions ever claimed by receivers. On an SPSC ring, items ever released.
    pub received: u64,
    /// Sending ends that have ever attached.
    pub sender_arrivals: u64,
    /// Receiving ends that have ever attached.
    pub receiver_arrivals: u64,
    /// Positions that senders claimed and gave up (MPMC).
    pub skipped: u64,
    /// Items that were released, having been handed out more than once, also to one receiver that
    /// had given them back. However often: [`ReadRun::redeliveries`](crate::ReadRun::redeliveries)
    /// tells.
    pub redelivered: u64,
    /// Items that were published and then discarded: unread, or after as many deliveries as
    /// [`Options::delivery_limit`](crate::Options::delivery_limit) allows, or because their bits made
    /// no value of the ring's type.
    pub dropped: u64,
    /// Those alone that were delivered so often.
    pub exhausted: u64,
}

impl Stats {
    pub(super) fn of(control: &Control) -> Self {
        let read = |counter: &crate::sync::AtomicU64| counter.load(Relaxed); // telling, no more
        Self {
            sent: read(&control.tail.at),
            received: read(&control.head),
            sender_arrivals: read(&control.arrivals.of.senders),
            receiver_arrivals: read(&control.arrivals.of.receivers),
            skipped: read(&control.tally.skipped),
            redelivered: read(&control.tally.redelivered),
            dropped: read(&control.tally.dropped),
            exhausted: read(&control.tally.exhausted),
        }
    }
}

/// Removes the name of a ring. Attached processes go on; a new ring can be created under the name
/// at once. This does not ask whether there is a ring of that name that anybody uses.
///
/// # Errors
///
/// [`UnlinkError::NotFound`] if there is none, and others of [`UnlinkError`].
pub fn unlink(name: &str) -> Result<(), UnlinkError> {
    let place = Place::named(name).map_err(UnlinkError::Name)?;
    match place.open() {
        // A ring, or something that passes for one: not while a remover of orphans is at it.
        Ok(fd) if is_regular(&fd) => {
            let file = RegionFile::of(fd.as_fd()).map_err(UnlinkError::Io)?;
            place.unlink_file(file)
        }
        Err(OpenError::NotFound { ring }) => Err(UnlinkError::NotFound { ring }),
        _ => place.unlink(),
    }
}

fn is_regular(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

impl<T: Item, K: Kind> Ring<T, K> {
    /// How to create or open one.
    pub fn options() -> Options<T, K> {
        Options::new()
    }

    pub(crate) fn new(
        region: Region,
        geometry: Geometry,
        element: ElementType,
        birth: Birth,
        flags: u64,
        delivery_limit: u32,
    ) -> Self {
        let map = &region.map;
        let records = geometry.endpoints as usize;
        let owners = map.at(Geometry::owners_at());
        let lines = map.at(Geometry::records_at(geometry.endpoints));
        // SAFETY: `Geometry` places the control words within the mapping, aligned; they consist of
        // atomics; and the region outlives every handle.
        let control = unsafe { Shared::new(map.at(Geometry::control_at()).cast()) };
        // SAFETY: likewise for this many owner words.
        let owners = unsafe { Shared::new(NonNull::slice_from_raw_parts(owners.cast(), records)) };
        // SAFETY: likewise for this many lines.
        let lines = unsafe { Shared::new(NonNull::slice_from_raw_parts(lines.cast(), records)) };
        let words = Words { control, owners, records: lines };
        let region = Arc::new(region);
        let open = Open {
            region,
            geometry,
            element,
            birth,
            drop_unreleased: flags & DROP_UNRELEASED != 0,
            delivery_limit,
            words,
            scratch: Mutex::new(Scratch::for_records(records)),
        };
        Self { open: Arc::new(open), kind: PhantomData }
    }

    /// `U`: `T`, or the bits that a `T` may turn out to be.
    fn mem<U: Copy>(&self) -> Mem<U, K> {
        const {
            assert!(size_of::<U>() == size_of::<T>() && align_of::<U>() == align_of::<T>());
        }
        let Geometry { capacity, slots_at, .. } = self.open.geometry;
        let base = self.open.region.map.at(slots_at);
        // SAFETY: `Geometry` made the region long enough for `capacity` slots (a power of two) from
        // `slots_at` on, which is aligned as they need; the region outlives every handle.
        let slots = unsafe { Slots::new(base, capacity) };
        let Open { words, drop_unreleased, delivery_limit, .. } = &*self.open;
        Mem {
            words: words.clone(),
            slots,
            drop_unreleased: *drop_unreleased,
            delivery_limit: *delivery_limit,
        }
    }

    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.open.region
    }

    /// Slots, a power of two.
    pub fn capacity(&self) -> usize {
        self.open.geometry.capacity as usize
    }

    /// Items in the ring at this moment. On an SPSC ring: published and not yet released. On an
    /// MPMC ring: sent, or being sent, and not yet taken by a receiver; positions that a sender has
    /// given up count until a receiver passes over them.
    pub fn len(&self) -> usize {
        pipe::len(&self.mem::<T>()) as usize
    }

    /// No items in the ring at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As many items as there are slots, at this moment. On an MPMC ring there may be no free slot
    /// before that: what a receiver has taken occupies its slot until it is released.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Who is attached.
    pub fn peers(&self) -> Peers {
        Peers {
            senders: table::count(&self.open.words, Role::Sender),
            receivers: table::count(&self.open.words, Role::Receiver),
        }
    }

    /// Counters since the ring was created.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.open.words.control)
    }

    /// The element type as the ring records it.
    pub fn element(&self) -> &ElementType {
        &self.open.element
    }

    /// Endpoint records: how many ends can be attached at once.
    pub fn endpoints(&self) -> u32 {
        self.open.geometry.endpoints
    }

    /// Length of the region in bytes.
    pub fn region_len(&self) -> usize {
        self.open.geometry.region_len
    }

    /// A random number that tells this ring from any other, also of the same name.
    pub fn id(&self) -> u128 {
        self.open.birth.id()
    }

    /// When the ring was created, by its creator's clock.
    pub fn created(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + std::time::Duration::from_nanos(self.open.birth.realtime)
    }

    /// The ring's name, or its path; `None` if it is anonymous.
    pub fn name(&self) -> Option<String> {
        self.open.region.place.as_ref().map(Place::to_string)
    }

    /// Removes the ring's name, if it is still this ring's. Attached processes go on, the last of
    /// them to leave frees the memory, and a new ring can have the name at once.
    ///
    /// # Errors
    ///
    /// [`UnlinkError::Replaced`] or [`NotFound`](UnlinkError::NotFound) if it was unlinked before,
    /// [`Anonymous`](UnlinkError::Anonymous) if it never had a name, and others of [`UnlinkError`].
    pub fn unlink(&self) -> Result<(), UnlinkError> {
        let place = self.open.region.place.as_ref().ok_or(UnlinkError::Anonymous)?;
        place.unlink_file(self.open.region.file())
    }

    /// Writes a file-backed ring back to its disk and waits for it. No effect on other rings.
    ///
    /// This makes no point in time to which a ring in use could return. After a power cut, each
    /// page of the file is as it was at some moment since: if anybody sent or received after the
    /// call, the file is a mixture, and nothing in it can be relied on. So a ring that was open
    /// when the machine went down is refused ([`OpenError::Unclean`]). If *nobody* has sent,
    /// received, attached or left since this call returned, it holds what it held then, and who
    /// knows that may open it with [`Unclean::AsFound`](crate::Unclean::AsFound). To have a ring
    /// survive without such knowledge, [close it](Self::checkpoint).
    ///
    /// The deaths of processes need no `sync`: what was published stays, as long as the machine
    /// is up.
    ///
    /// # Errors
    ///
    /// The disk's. After a write that failed, those who have the ring open can go on, but it does
    /// not count as closed when they have left, and is refused.
    /// [`Unsupported`](std::io::ErrorKind::Unsupported) in a forked child.
    pub fn sync(&self) -> std::io::Result<()> {
        self.open.region.sync()
    }

    /// Closes a file-backed ring for good: on `Ok`, all of it is on the disk, the file says so,
    /// and it survives whatever becomes of the machine. Blocks for as long as the disk takes.
    ///
    /// Dropping the last handle, end and [`Canceller`](crate::Canceller) that any process has does
    /// the same, but cannot tell how it went. A process that is killed, or exits without dropping
    /// them, does not close the ring; as long as the machine is up that is no matter, and the next
    /// one to open and close the ring makes up for it (unless the process was killed while it
    /// waited for the disk, in `sync` or at the close: then nobody can). But a ring that is open
    /// when the machine goes down, be it by an orderly reboot, is refused afterwards
    /// ([`OpenError::Unclean`]). So a program that keeps a ring in a file ends when it is told to:
    /// it handles `SIGTERM`, as the example `until_sigterm` shows.
    ///
    /// On other rings this closes the handle and no more.
    ///
    /// ```
    /// use ringpipe::{CheckpointError, spsc};
    ///
    /// # let directory = std::env::temp_dir().join(format!("ringpipe-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # struct Remove<'a>(&'a std::path::Path);
    /// # impl Drop for Remove<'_> {
    /// #     fn drop(&mut self) { let _ = std::fs::remove_dir_all(self.0); }
    /// # }
    /// # let _remove = Remove(&directory);
    /// # let path = directory.join("ring");
    /// # let made = spsc::Ring::<u64>::options().create_file(&path);
    /// # if let Err(e) = &made { eprintln!("NOT RUN: {e}"); return Ok(()) }
    /// # if !made?.checkpoint().is_ok() { panic!() }
    /// let ring = spsc::Ring::<u64>::options().open_file(&path)?;
    /// let mut tx = ring.producer()?;
    /// tx.send(1)?;
    /// // An end keeps the ring open: this closes the handle alone.
    /// let refused = ring.checkpoint();
    /// # let in_memory = refused.is_ok(); // the directory is on a tmpfs
    /// # if !in_memory {
    /// assert!(matches!(refused, Err(CheckpointError::InUse { .. })));
    /// # }
    ///
    /// let ring = spsc::Ring::<u64>::options().open_file(&path)?;
    /// drop(tx); // and now nobody has it open but this handle
    /// ring.checkpoint()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CheckpointError::InUse`] while anybody else has the ring open,
    /// [`Io`](CheckpointError::Io) if the disk refuses it, [`Forked`](CheckpointError::Forked) in a
    /// forked child.
    pub fn checkpoint(self) -> Result<(), CheckpointError> {
        let region = &self.open.region;
        if !region.is_ours() {
            return Err(CheckpointError::Forked);
        }
        if !region.is_marked() {
            return Ok(());
        }
        let ring = self.name().unwrap_or_default();
        let alone = Arc::into_inner(self.open).and_then(|open| Arc::into_inner(open.region));
        match alone.map(Region::close) {
            Some(Ok(Closed::Clean)) => Ok(()),
            Some(Ok(Closed::InUse)) | None => Err(CheckpointError::InUse { ring }),
            Some(Err(e)) => Err(CheckpointError::Io(e)),
        }
    }

    /// Attaches by `attach`, for as long as the reason why it cannot passes.
    fn attach<E>(
        &self,
        role: Role,
        attach: impl FnOnce(&mut Asking) -> Result<E, NoRecord<io::Error>>,
    ) -> Result<E, AttachError> {
        if !self.open.region.is_ours() {
            return Err(AttachError::Forked);
        }
        barrier::register();
        attach(&mut Asking::new()).map_err(|none| match none {
            NoRecord::Io(e) => AttachError::Io(e),
            NoRecord::Corrupt => AttachError::Corrupt,
            _ if K::MANY => AttachError::TableFull { endpoints: self.endpoints() },
            _ => AttachError::RoleTaken(role),
        })
    }

    /// `original`: what the end knows that it is a clone of.
    pub(super) fn send_end(
        &self,
        original: Option<&Ends>,
    ) -> Result<SendHandle<T, K>, AttachError> {
        let attach = |asking: &mut Asking| {
            attach::sender(self.mem::<T>(), self, original, || asking.again())
        };
        let (end, endpoint) = self.attach(Role::Sender, attach)?;
        Ok(SendHandle::new(self.clone(), endpoint, end))
    }

    /// `original`: what the end knows that it is a clone of.
    pub(super) fn recv_end(
        &self,
        original: Option<&Ends>,
    ) -> Result<RecvHandle<T, K>, AttachError> {
        let attach = |asking: &mut Asking| {
            attach::receiver(self.mem::<T::Bits>(), self, original, || asking.again())
        };
        let (end, endpoint) = self.attach(Role::Receiver, attach)?;
        Ok(RecvHandle::new(self.clone(), endpoint, end))
    }

    /// Undoes an attachment. `abandon`: a receiving end leaves claimed items behind.
    pub(crate) fn detach(&self, endpoint: Endpoint<Hold>, abandon: bool) {
        attach::detach(&self.open.words, endpoint, self, abandon);
    }
}

impl<T: Item, K: Kind> Locks for Ring<T, K> {
    type Hold = Hold;
    type Error = io::Error;

    fn lock(&self, role: Role, record: usize) -> io::Result<Option<Hold>> {
        Hold::take(self.open.region.file(), hold::record_byte(role, record), Share::Exclusive)
    }

    fn lock_recovery(&self) -> io::Result<Option<Hold>> {
        Hold::take(self.open.region.file(), hold::RECOVERY, Share::Exclusive)
    }

    fn unlock(&self, hold: Hold) {
        drop(hold);
    }

    fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Asks the locks ([`hold`]): two system calls at the most, through the region's own descriptor.
impl<T: Item, K: Kind> Liveness for Ring<T, K> {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.open.life(hold::is_held(self.as_fd(), hold::record_byte(role, record), 1))
    }

    fn any_alive(&self, role: Role) -> Life {
        let Open { region, words, .. } = &*self.open;
        let life = self.open.life(hold::any_alive(region.as_fd(), role, words.owners.len()));
        // Another ring's file, under a number that was reused, has living ends, too.
        if life == Life::Alive && !region.file().is_still_open() { Life::Unknown } else { life }
    }

    fn visitor_alive(&self) -> Life {
        self.open.life(hold::is_held(self.as_fd(), hold::RECOVERY, 1))
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        match self.open.scratch.try_lock() {
            Ok(mut scratch) => Some(work(&mut scratch)),
            // Whoever panicked has left nothing there that matters.
            Err(TryLockError::Poisoned(poisoned)) => Some(work(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Open {
    /// What an answer about a byte means: nothing if it is not about the ring's file.
    fn life(&self, held: io::Result<bool>) -> Life {
        match held {
            Ok(true) => Life::Alive,
            Ok(false) if self.region.file().is_still_open() => Life::Dead,
            // The kernel wants memory to answer. Nobody is dead for that; it will be asked again.
            Err(e) if e.kind() == io::ErrorKind::OutOfMemory => Life::Alive,
            _ => Life::Unknown,
        }
    }
}

impl<T: Item> Ring<T, Spsc> {
    /// Becomes the ring's producer.
    ///
    /// # Errors
    ///
    /// [`AttachError::RoleTaken`] while there is one, in whatever process; others of
    /// [`AttachError`].
    pub fn producer(&self) -> Result<SendHandle<T, Spsc>, AttachError> {
        self.send_end(None)
    }

    /// Becomes the ring's consumer.
    ///
    /// # Errors
    ///
    /// [`AttachError::RoleTaken`] while there is one, in whatever process; others of
    /// [`AttachError`].
    pub fn consumer(&self) -> Result<RecvHandle<T, Spsc>, AttachError> {
        self.recv_end(None)
    }
}

impl<T: Item> Ring<T, Mpmc> {
    /// Attaches a new sending end.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] while all endpoint records are taken; others of [`AttachError`].
    pub fn sender(&self) -> Result<SendHandle<T, Mpmc>, AttachError> {
        self.send_end(None)
    }

    /// Attaches a new receiving end.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] while all endpoint records are taken; others of [`AttachError`].
    pub fn receiver(&self) -> Result<RecvHandle<T, Mpmc>, AttachError> {
        self.recv_end(None)
    }
}

impl<T, K> Clone for Ring<T, K> {
    fn clone(&self) -> Self {
        Self { open: Arc::clone(&self.open), kind: PhantomData }
    }
}

/// The region's descriptor, to be handed to another process; there, see
/// [`Options::from_fd`](crate::Options::from_fd).
impl<T, K> AsFd for Ring<T, K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.region.as_fd()
    }
}

impl<T: Item, K: Kind> fmt::Debug for Ring<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("kind", &K::NAME)
            .field("name", &self.name())
            .field("element", self.element())
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .field("peers", &self.peers())
            .finish_non_exhaustive()
    }
}
