//! What rings there are on this machine, and which of them nobody needs any more.
//!
//! All of this looks at regions from outside, through file reads and lock queries: no region is
//! mapped for reading or writing, and no one is disturbed.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, slice};

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat};
use rustix::io::Errno;

use super::stats::Stats;
use crate::error::{ElementType, ListError, OpenError, Step, UnlinkError};
use crate::layout::{Geometry, Identity};
use crate::peers::hold::{self, BIRTH, Hold, RegionFile, Share};
use crate::peers::table::{self, Role};
use crate::ring::control::Control;
use crate::shm::place::{Place, SHM};
use crate::shm::read_at;
use crate::sync::AtomicU64;

/// A named ring, as seen from outside at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// `"SPSC"`, `"MPMC"`, `"SPSC byte"`, `"SPSC message"`, `"MPMC message"`, or `"unknown"` to this
    /// version.
    pub kind: &'static str,
    /// Major and minor version of its layout.
    pub layout: (u16, u16),
    /// What it holds.
    pub element: ElementType,
    /// Slots; of a ring of messages, bytes.
    pub capacity: u64,
    /// Items in it; of a ring of messages, bytes that they take.
    pub len: u64,
    /// Bytes of the region.
    pub region_len: u64,
    /// Tells it from any other ring, also of the same name.
    pub id: u128,
    /// User id of its owner.
    pub owner: u32,
    /// When it was created, by its creator's clock.
    pub created: SystemTime,
    /// Endpoint records.
    pub endpoints: u32,
    /// Living sending ends.
    pub senders: usize,
    /// Living receiving ends.
    pub receivers: usize,
    /// Endpoint records of ends that have died and were not cleared away yet.
    pub dead: usize,
    /// Some living process has it open.
    pub in_use: bool,
    /// Its counters.
    pub stats: Stats,
}

/// All named rings whose files this process may read, in no particular order. Files that are no
/// rings are passed over, and so are rings that vanish meanwhile.
///
/// ```
/// # let name = format!("doc-list-{}", std::process::id());
/// let ring = ringpipe::spsc::Ring::<u64>::options().create(&name)?;
/// let tx = ring.producer()?;
/// let seen = ringpipe::list()?.into_iter().find(|seen| seen.name == name).unwrap();
/// assert_eq!((seen.senders, seen.receivers, seen.in_use), (1, 0, true));
/// # ring.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ListError`]: `/dev/shm` cannot be read, or the process has too many files open.
pub fn list() -> Result<Vec<Listing>, ListError> {
    each_ring(OFlags::RDONLY, |place, fd, identity| {
        let asked = look(place, fd.as_fd(), &identity);
        asked.map_err(|e| ListError::io(&place.location())(Step::AskLocks.failed(e)))
    })
}

/// Unlinks every named ring that no living process has open, and returns their names.
///
/// A ring that someone is opening at this moment stays: whoever opens a ring first locks it and
/// then makes sure that it still has its name, and this function locks it exclusively before it
/// makes sure that nobody has it. A ring with unread items counts as an orphan, too, if nobody has
/// it open: this is for clearing up after crashes, not for routine use beside programs that take
/// turns. Rings that this process may not open for writing stay.
///
/// # Errors
///
/// [`ListError`]: `/dev/shm` cannot be read, the process has too many files open or no `/proc`, or
/// may take no locks. What was removed before is gone all the same.
pub fn remove_orphans() -> Result<Vec<String>, ListError> {
    each_ring(OFlags::RDWR, |place, fd, _| match remove_unused(place, fd.as_fd()) {
        Ok(removed) => Ok(removed.then(|| place.to_string())),
        Err(UnlinkError::Io { ring, doing, source }) => Err(ListError::Io { ring, doing, source }),
        Err(_) => Ok(None), // it is gone, or not this process's to remove
    })
}

/// The names that [`remove_orphans`] would try to remove at this moment. Nothing is touched, nor
/// locked. (Of these, a user other than root may remove only its own where the directory is sticky,
/// as `/dev/shm` mostly is.)
///
/// # Errors
///
/// [`ListError`], as of [`remove_orphans`].
pub fn orphans() -> Result<Vec<String>, ListError> {
    each_ring(OFlags::RDWR, |place, fd, _| {
        let used = hold::is_locked(fd.as_fd(), BIRTH);
        let used = used.map_err(|e| ListError::io(&place.location())(Step::AskLocks.failed(e)))?;
        Ok((!used).then(|| place.to_string()))
    })
}

/// [`remove_orphans`] for one ring: unlinks it if no living process has it open. `false`: one has.
///
/// ```
/// # let name = format!("doc-orphan-{}", std::process::id());
/// let ring = ringpipe::spsc::Ring::<u64>::options().create(&name)?;
/// assert_eq!(ringpipe::remove_orphan(&name)?, false);
/// drop(ring);
/// assert_eq!(ringpipe::remove_orphan(&name)?, true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`UnlinkError::NotFound`], [`UnlinkError::NotARing`] if something else has that name, and others
/// of [`UnlinkError`].
pub fn remove_orphan(name: &str) -> Result<bool, UnlinkError> {
    let place = Place::named(name).map_err(|why| UnlinkError::Name { name: name.into(), why })?;
    let found = open_regular(&place, OFlags::RDWR);
    match found.map_err(|(_, why)| place.not_unlinked(why))? {
        Some(fd) if read_identity(fd.as_fd()).is_ok() => remove_unused(&place, fd.as_fd()),
        _ => Err(UnlinkError::NotARing { ring: place.location() }),
    }
}

/// Unlinks the ring in that file if nobody has it open.
fn remove_unused(place: &Place, fd: BorrowedFd<'_>) -> Result<bool, UnlinkError> {
    let ring = place.location();
    let io = UnlinkError::io(&ring);
    let file = RegionFile::of(fd).map_err(&io)?;
    match Hold::take(file, BIRTH, Share::Exclusive).map_err(&io)? {
        Some(_alone) => place.unlink_file(file).map(|()| true),
        None => Ok(false),
    }
}

/// Files that are no rings, or none for this process, are passed over; what would be refused
/// whatever the file, is an error.
fn each_ring<R>(
    access: OFlags,
    mut each: impl FnMut(&Place, OwnedFd, Identity) -> Result<Option<R>, ListError>,
) -> Result<Vec<R>, ListError> {
    // All names first: such an error comes before anything is done to a ring.
    let places = places()
        .map_err(|why| ListError::Directory { directory: SHM.into(), source: why.into() })?;
    let mut found = Vec::new();
    for place in places {
        let fd = match open_file(&place, access) {
            Ok(Some(fd)) => fd,
            // Out of descriptors, or memory, for any file. All other reasons are the one file's: a lease
            // that somebody has on it, say.
            Err(OpenError::Io { ring, doing, source })
                if [libc::EMFILE, libc::ENFILE, libc::ENOMEM]
                    .contains(&source.raw_os_error().unwrap_or(0)) =>
            {
                return Err(ListError::Io { ring, doing, source });
            }
            Ok(None) | Err(_) => continue,
        };
        let Ok(identity) = read_identity(fd.as_fd()) else {
            continue;
        };
        found.extend(each(&place, fd, identity)?);
    }
    Ok(found)
}

/// What may have a ring's name. (Not by the standard library, which panics if a directory cannot be
/// closed.)
fn places() -> Result<Vec<Place>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut places = Vec::new();
    for entry in Dir::new(rustix::fs::open(SHM, flags, Mode::empty())?)? {
        let entry = entry?;
        // `.` and `..` are no names of rings.
        let named = entry.file_name().to_str().ok().and_then(|name| Place::named(name).ok());
        places.extend(named);
    }
    Ok(places)
}

fn open_file(place: &Place, access: OFlags) -> Result<Option<OwnedFd>, OpenError> {
    open_regular(place, access).map_err(|(step, why)| match step {
        Step::OpenFile => place.not_opened(why),
        step => OpenError::io(&place.location())(step.failed(why)),
    })
}

/// Opens what has the place's name if it is a regular file. To open something else might disturb
/// somebody: a FIFO's writer takes it for the reader that it waits for.
fn open_regular(place: &Place, access: OFlags) -> Result<Option<OwnedFd>, (Step, Errno)> {
    let open = |flags| {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::open(place.path(), flags, Mode::empty());
        let fd = opened.map_err(|e| (Step::OpenFile, e))?;
        let kind = FileType::from_raw_mode(fstat(&fd).map_err(|e| (Step::Status, e))?.st_mode);
        Ok((kind == FileType::RegularFile).then_some(fd))
    };
    match open(OFlags::PATH)? {
        Some(_) => open(access | OFlags::NONBLOCK), // again regular, or put there just now
        None => Ok(None),
    }
}

fn read_identity(fd: BorrowedFd<'_>) -> io::Result<Identity> {
    let mut identity = Identity::unread();
    read_at(fd, 0, bytemuck::bytes_of_mut(&mut identity))?;
    identity.check_layout().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(identity)
}

/// A copy of the shared words. What is read while others write is a mixture, and good enough.
fn read_control(fd: BorrowedFd<'_>) -> io::Result<Control> {
    let mut copy = MaybeUninit::<Control>::zeroed();
    let bytes = copy.as_mut_ptr().cast::<u8>();
    // SAFETY: all of these bytes are initialised, and nobody else has them.
    let bytes = unsafe { slice::from_raw_parts_mut(bytes, size_of::<Control>()) };
    read_at(fd, Geometry::control_at(), bytes)?;
    // SAFETY: a `Control` consists of integers, of which any bytes are some.
    Ok(unsafe { copy.assume_init() })
}

/// `None`: it cannot be read, so it is no ring, or none any more. Fails if the locks cannot be
/// asked.
fn look(place: &Place, fd: BorrowedFd<'_>, identity: &Identity) -> io::Result<Option<Listing>> {
    let (Ok(control), Ok(stat)) = (read_control(fd), fstat(fd)) else { return Ok(None) };
    let stats = Stats::of(&control);
    let (mut senders, mut receivers, mut dead) = (0, 0, 0);
    let mut records = vec![0_u64; identity.endpoints() as usize];
    if read_at(fd, Geometry::owners_at(), bytemuck::cast_slice_mut(&mut records)).is_err() {
        return Ok(None);
    }
    for (record, &word) in records.iter().enumerate() {
        let Some((owner, role)) = table::owner(&AtomicU64::new(word)) else {
            continue;
        };
        let alive = !owner.is_abandoned() && hold::is_held(fd, hold::record_byte(role, record), 1)?;
        match role {
            _ if !alive => dead += 1,
            Role::Sender => senders += 1,
            Role::Receiver => receivers += 1,
        }
    }
    let birth = identity.birth();
    let filled = stats.sent.saturating_sub(stats.received).min(identity.capacity());
    Ok(Some(Listing {
        name: place.to_string(),
        kind: identity.kind_name(),
        layout: identity.version(),
        element: identity.element(),
        capacity: identity.in_slots(identity.capacity()),
        len: identity.in_slots(filled),
        region_len: identity.region_len(),
        id: birth.id(),
        owner: stat.st_uid,
        created: UNIX_EPOCH + Duration::from_nanos(birth.realtime),
        endpoints: identity.endpoints(),
        senders,
        receivers,
        dead,
        in_use: hold::is_locked(fd, BIRTH)?,
        stats,
    }))
}
