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
use crate::error::{ElementType, UnlinkError};
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
    /// `"SPSC"`, `"MPMC"`, or `"unknown"` to this version.
    pub kind: &'static str,
    /// Major and minor version of its layout.
    pub layout: (u16, u16),
    /// What it holds.
    pub element: ElementType,
    /// Slots.
    pub capacity: u64,
    /// Items in it.
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
/// `/dev/shm` cannot be read.
pub fn list() -> io::Result<Vec<Listing>> {
    each_ring(OFlags::RDONLY, |place, fd, identity| look(&place, fd.as_fd(), &identity).ok())
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
/// `/dev/shm` cannot be read.
pub fn remove_orphans() -> io::Result<Vec<String>> {
    each_ring(OFlags::RDWR, |place, fd, _| {
        remove_unused(&place, fd.as_fd()).ok()?.then(|| place.to_string())
    })
}

/// The names that [`remove_orphans`] would remove at this moment. Nothing is touched, nor locked.
///
/// # Errors
///
/// `/dev/shm` cannot be read.
pub fn orphans() -> io::Result<Vec<String>> {
    each_ring(OFlags::RDWR, |place, fd, _| {
        (!hold::is_locked(fd.as_fd(), BIRTH).ok()?).then(|| place.to_string())
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
    let place = Place::named(name).map_err(UnlinkError::Name)?;
    let fd = open_file(&place, OFlags::RDWR).map_err(|why| place.not_unlinked(why))?;
    match fd {
        Some(fd) if read_identity(fd.as_fd()).is_ok() => remove_unused(&place, fd.as_fd()),
        _ => Err(UnlinkError::NotARing { ring: name.to_owned() }),
    }
}

/// Unlinks the ring in that file if nobody has it open.
fn remove_unused(place: &Place, fd: BorrowedFd<'_>) -> Result<bool, UnlinkError> {
    let file = RegionFile::of(fd).map_err(UnlinkError::Io)?;
    match Hold::take(file, BIRTH, Share::Exclusive).map_err(UnlinkError::Io)? {
        Some(_alone) => place.unlink_file(file).map(|()| true),
        None => Ok(false),
    }
}

fn each_ring<R>(
    access: OFlags,
    mut each: impl FnMut(Place, OwnedFd, Identity) -> Option<R>,
) -> io::Result<Vec<R>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // All names first: an error comes before anything is done to a ring. Not by the standard library,
    // which panics if the directory cannot be closed.
    let mut places = Vec::new();
    for entry in Dir::new(rustix::fs::open(SHM, flags, Mode::empty())?)? {
        let entry = entry?;
        // `.` and `..` are no names of rings.
        let named = entry.file_name().to_str().ok().and_then(|name| Place::named(name).ok());
        places.extend(named);
    }
    let mut found = Vec::new();
    for place in places {
        let Ok(Some(fd)) = open_file(&place, access) else {
            continue;
        };
        let Ok(identity) = read_identity(fd.as_fd()) else {
            continue;
        };
        found.extend(each(place, fd, identity));
    }
    Ok(found)
}

/// Opens what has the place's name if it is a regular file. To open something else might disturb
/// somebody: a FIFO's writer takes it for the reader that it waits for.
fn open_file(place: &Place, access: OFlags) -> Result<Option<OwnedFd>, Errno> {
    let open = |flags| {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(place.path(), flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(fstat(&fd)?.st_mode);
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

fn look(place: &Place, fd: BorrowedFd<'_>, identity: &Identity) -> io::Result<Listing> {
    let stats = Stats::of(&read_control(fd)?);
    let (mut senders, mut receivers, mut dead) = (0, 0, 0);
    let mut records = vec![0_u64; identity.endpoints() as usize];
    read_at(fd, Geometry::owners_at(), bytemuck::cast_slice_mut(&mut records))?;
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
    Ok(Listing {
        name: place.to_string(),
        kind: identity.kind_name(),
        layout: identity.version(),
        element: identity.element(),
        capacity: identity.capacity(),
        len: stats.sent.saturating_sub(stats.received).min(identity.capacity()),
        region_len: identity.region_len(),
        id: birth.id(),
        owner: fstat(fd)?.st_uid,
        created: UNIX_EPOCH + Duration::from_nanos(birth.realtime),
        endpoints: identity.endpoints(),
        senders,
        receivers,
        dead,
        in_use: hold::is_locked(fd, BIRTH)?,
        stats,
    })
}
