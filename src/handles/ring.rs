//! A ring that this process has open: where its ends come from, and where to ask about it.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::item::Item;
use super::raw_end::RawEnd;
use super::raw_ring::RawRing;
use super::recv::RecvHandle;
use super::send::SendHandle;
use super::stats::{Peers, Stats};
use crate::error::{AttachError, CheckpointError, ElementType, OpenError, Step, UnlinkError};
use crate::peers::hold::RegionFile;
use crate::ring::mem::SlotShape;
use crate::ring::{Bytes, Kind, Mpmc, Spsc};
use crate::shm::place::Place;
use crate::wait::pace::{Deadline, sleep};

/// A ring that this process has open and mapped, without being one of its ends.
///
/// Cheap to clone. The ends taken from it keep the mapping alive by themselves. All questions
/// ([`len`](Self::len), [`peers`](Self::peers), [`stats`](Self::stats), …) can be asked at any
/// time, also by an onlooker, and disturb nobody.
pub struct Ring<T: Item, K: Kind> {
    /// Its elements are `T`s.
    raw: Arc<RawRing>,
    kind: PhantomData<(fn() -> T, K)>,
}

/// Removes the name of a ring. Attached processes go on; a new ring can be created under the name
/// at once. This does not ask whether there is a ring of that name that anybody uses.
///
/// # Errors
///
/// [`UnlinkError::NotFound`] if there is none, and others of [`UnlinkError`].
pub fn unlink(name: &str) -> Result<(), UnlinkError> {
    let place = Place::named(name).map_err(|why| UnlinkError::Name { name: name.into(), why })?;
    let ring = place.location();
    let io = UnlinkError::io(&ring);
    match place.open(false) {
        // A ring, or something that passes for one: not while a remover of orphans is at it.
        Ok((fd, _)) if is_regular(&fd).map_err(|e| io(Step::Status.failed(e)))? => {
            let file = RegionFile::of(fd.as_fd()).map_err(&io)?;
            place.unlink_file(file)
        }
        Err(OpenError::NotFound { ring }) => Err(UnlinkError::NotFound { ring }),
        // It may well be a ring, which is not to be unlinked without that lock.
        Err(OpenError::Io { ring, doing, source }) => Err(UnlinkError::Io { ring, doing, source }),
        _ => place.unlink(),
    }
}

fn is_regular(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::RegularFile)
}

impl<T: Item, K: Kind> Ring<T, K> {
    /// A ring that was made for `T`s, or opened as such.
    pub(super) fn new(raw: RawRing) -> Self {
        assert_eq!(raw.format.kind().code, K::INFO.code, "a ring of another kind");
        let slot = if K::MESSAGES { raw.geometry.slot } else { SlotShape::of::<T, K>() };
        assert_eq!(raw.geometry.slot, slot, "a ring of others");
        Self { raw: Arc::new(raw), kind: PhantomData }
    }

    /// One that is open as such already.
    pub(super) fn of(raw: &Arc<RawRing>) -> Self {
        Self { raw: Arc::clone(raw), kind: PhantomData }
    }

    pub(super) fn raw_ring(&self) -> &Arc<RawRing> {
        &self.raw
    }

    /// That of whatever elements.
    #[cfg(test)]
    pub(crate) fn raw(&self) -> &RawRing {
        &self.raw
    }

    /// Slots, a power of two; of a byte pipe and of a ring of messages, bytes.
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }

    /// Items in the ring at this moment; of a ring of messages, bytes that these take. On an SPSC
    /// ring: published and not yet released. On an MPMC ring: sent, or being sent, and not yet taken
    /// by a receiver; positions that a sender has given up count until a receiver passes over them.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// No items in the ring at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As many items as there are slots, at this moment. On an MPMC ring there may be no free slot
    /// before that: what a receiver has taken occupies its slot until it is released. Nor need there
    /// be room for a message, which takes some in a row.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Who is attached: also those that were killed, until somebody has noticed it ([`Peers`]).
    pub fn peers(&self) -> Peers {
        Peers::of(&self.raw.words)
    }

    /// Counters since the ring was created.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.raw.words.control)
    }

    /// The element type as the ring records it.
    pub fn element(&self) -> &ElementType {
        self.raw.format.element()
    }

    /// Endpoint records: how many ends can be attached at once.
    pub fn endpoints(&self) -> u32 {
        self.raw.geometry.endpoints
    }

    /// Length of the region in bytes.
    pub fn region_len(&self) -> usize {
        self.raw.geometry.region_len
    }

    /// A random number that tells this ring from any other, also of the same name.
    pub fn id(&self) -> u128 {
        self.raw.birth.id()
    }

    /// When the ring was created, by its creator's clock.
    pub fn created(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + std::time::Duration::from_nanos(self.raw.birth.realtime)
    }

    /// The ring's name, or its path; `None` if it is anonymous.
    pub fn name(&self) -> Option<String> {
        self.raw.name()
    }

    /// The ring's name leads to it: whoever opens the name comes here. `false` if it was unlinked (then
    /// nobody comes by that name, and a peer that starts anew is waited for in vain), if another ring
    /// has the name by now, while the file has another name, for anonymous rings, and if the kernel
    /// cannot be asked. Two system calls.
    ///
    /// ```
    /// # let name = format!("doc-linked-{}", std::process::id());
    /// let ring = ringpipe::spsc::Ring::<u64>::options().create(&name)?;
    /// assert!(ring.is_linked());
    /// std::fs::remove_file(format!("/dev/shm/{name}"))?; // somebody tidies up
    /// assert!(!ring.is_linked());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_linked(&self) -> bool {
        let region = &self.raw.region;
        let leads_here = |place: &Place| place.leads_to(&fstat(region.as_fd())?);
        region.place.as_ref().is_some_and(|place| leads_here(place).unwrap_or(false))
    }

    /// Removes the ring's name, if it is still this ring's. Attached processes go on, the last of
    /// them to leave frees the memory, and a new ring can have the name at once.
    ///
    /// # Errors
    ///
    /// [`UnlinkError::Replaced`] or [`NotFound`](UnlinkError::NotFound) if it was unlinked before,
    /// [`Anonymous`](UnlinkError::Anonymous) if it never had a name, and others of [`UnlinkError`].
    pub fn unlink(&self) -> Result<(), UnlinkError> {
        let place = self.raw.region.place.as_ref().ok_or(UnlinkError::Anonymous)?;
        place.unlink_file(self.raw.region.file())
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
        self.raw.region.sync()
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
        self.raw.checkpoint()
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
        Ok(SendHandle::new(RawEnd::sender(&self.raw, None)?))
    }

    /// Like [`producer`](Self::producer), but waits, asking every few milliseconds, while there is
    /// another one: for a successor that is started when the one before it dies. The kernel may take
    /// some time to tear a large process down, and until it has, its role is taken.
    ///
    /// # Errors
    ///
    /// As [`producer`](Self::producer); `RoleTaken` if there still is one at `deadline`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = ringpipe::spsc::channel::<u64>(8)?;
    /// let ring = rx.ring();
    /// let soon = Duration::from_millis(20);
    /// assert!(ring.producer_deadline(soon).is_err());
    /// let successor = std::thread::spawn(move || ring.producer_deadline(Duration::from_secs(20)));
    /// drop(tx);
    /// assert!(successor.join().unwrap().is_ok());
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn producer_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<SendHandle<T, Spsc>, AttachError> {
        in_time(deadline.into(), || self.producer())
    }

    /// Becomes the ring's consumer.
    ///
    /// # Errors
    ///
    /// [`AttachError::RoleTaken`] while there is one, in whatever process; others of
    /// [`AttachError`].
    pub fn consumer(&self) -> Result<RecvHandle<T, Spsc>, AttachError> {
        Ok(RecvHandle::new(RawEnd::receiver(&self.raw, None)?))
    }

    /// Like [`consumer`](Self::consumer), but waits while there is another one: see
    /// [`producer_deadline`](Self::producer_deadline).
    ///
    /// # Errors
    ///
    /// As [`consumer`](Self::consumer); `RoleTaken` if there still is one at `deadline`.
    pub fn consumer_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<RecvHandle<T, Spsc>, AttachError> {
        in_time(deadline.into(), || self.consumer())
    }
}

impl Ring<u8, Bytes> {
    /// Becomes the pipe's writer.
    ///
    /// # Errors
    ///
    /// [`AttachError::RoleTaken`] while there is one, in whatever process; others of
    /// [`AttachError`].
    pub fn writer(&self) -> Result<SendHandle<u8, Bytes>, AttachError> {
        Ok(SendHandle::new(RawEnd::sender(&self.raw, None)?))
    }

    /// Like [`writer`](Self::writer), but waits, asking every few milliseconds, while there is another
    /// one: see [`producer_deadline`](Ring::producer_deadline).
    ///
    /// # Errors
    ///
    /// As [`writer`](Self::writer); `RoleTaken` if there still is one at `deadline`.
    pub fn writer_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<SendHandle<u8, Bytes>, AttachError> {
        in_time(deadline.into(), || self.writer())
    }

    /// Becomes the pipe's reader.
    ///
    /// # Errors
    ///
    /// [`AttachError::RoleTaken`] while there is one, in whatever process; others of
    /// [`AttachError`].
    pub fn reader(&self) -> Result<RecvHandle<u8, Bytes>, AttachError> {
        Ok(RecvHandle::new(RawEnd::receiver(&self.raw, None)?))
    }

    /// Like [`reader`](Self::reader), but waits while there is another one: see
    /// [`writer_deadline`](Self::writer_deadline).
    ///
    /// # Errors
    ///
    /// As [`reader`](Self::reader); `RoleTaken` if there still is one at `deadline`.
    pub fn reader_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<RecvHandle<u8, Bytes>, AttachError> {
        in_time(deadline.into(), || self.reader())
    }
}

/// How long those who wait for a place sleep before they ask for it again.
const AGAIN: Duration = Duration::from_millis(2);

/// Attaches as soon as there is a place, until `deadline`.
pub(super) fn in_time<E>(
    deadline: Deadline,
    attach: impl Fn() -> Result<E, AttachError>,
) -> Result<E, AttachError> {
    loop {
        match attach() {
            Err(AttachError::RoleTaken { .. } | AttachError::TableFull { .. })
                if !deadline.has_passed() =>
            {
                sleep(AGAIN);
            }
            outcome => return outcome,
        }
    }
}

impl<T: Item> Ring<T, Mpmc> {
    /// Attaches a new sending end.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] while all endpoint records are taken; others of [`AttachError`].
    pub fn sender(&self) -> Result<SendHandle<T, Mpmc>, AttachError> {
        Ok(SendHandle::new(RawEnd::sender(&self.raw, None)?))
    }

    /// Like [`sender`](Self::sender), but waits, asking every few milliseconds, while all endpoint
    /// records are taken.
    ///
    /// # Errors
    ///
    /// As [`sender`](Self::sender); `TableFull` if they still are at `deadline`.
    pub fn sender_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<SendHandle<T, Mpmc>, AttachError> {
        in_time(deadline.into(), || self.sender())
    }

    /// Attaches a new receiving end.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] while all endpoint records are taken; others of [`AttachError`].
    pub fn receiver(&self) -> Result<RecvHandle<T, Mpmc>, AttachError> {
        Ok(RecvHandle::new(RawEnd::receiver(&self.raw, None)?))
    }

    /// Like [`receiver`](Self::receiver), but waits, asking every few milliseconds, while all endpoint
    /// records are taken.
    ///
    /// # Errors
    ///
    /// As [`receiver`](Self::receiver); `TableFull` if they still are at `deadline`.
    pub fn receiver_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<RecvHandle<T, Mpmc>, AttachError> {
        in_time(deadline.into(), || self.receiver())
    }
}

impl<T: Item, K: Kind> SendHandle<T, K> {
    /// The ring behind this end.
    pub fn ring(&self) -> Ring<T, K> {
        Ring::of(self.raw_ring())
    }
}

impl<T: Item, K: Kind> RecvHandle<T, K> {
    /// The ring behind this end.
    pub fn ring(&self) -> Ring<T, K> {
        Ring::of(self.raw_ring())
    }
}

impl<T: Item, K: Kind> Clone for Ring<T, K> {
    fn clone(&self) -> Self {
        Self { raw: Arc::clone(&self.raw), kind: PhantomData }
    }
}

/// The region's descriptor, to be handed to another process; there, see
/// [`Options::from_fd`](crate::Options::from_fd).
impl<T: Item, K: Kind> AsFd for Ring<T, K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.region.as_fd()
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
