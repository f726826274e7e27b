//! Where the bytes live: creating, naming, opening, mapping and removing a region.
//!
//! A region is a file's worth of shared memory. [`Region`] is one process's hold on it, whatever
//! backs it; nothing here knows what the bytes mean, beyond handing them out.
//!
//! * [`place`] is where a region can have a name: `/dev/shm`, or a directory of the user's.
//! * [`file_system`] knows where a ring can live.
//! * [`reserve`] makes sure that the memory is there before anyone relies on it; [`limits`] and
//!   [`cgroup`] know how much there can be.
//! * [`map`] is the mapping itself.
//! * [`state`] is whether a ring's file was closed by all who had it open, [`last`] who closes it.
//!
//! **A name appears complete or not at all.** The region is made without a name (`O_TMPFILE`),
//! reserved, mapped and filled in, and only then linked to its name, which fails if the name is
//! taken. Where that is not to be had, it is made under a temporary name and linked from there.
//!
//! **No ring is removed from under someone who has just opened it.** Whoever has a region open
//! holds its birth byte ([`hold`](crate::peers::hold)), taken before checking that the name still
//! leads to this region; a remover of orphans must have the byte for itself while it unlinks.

mod cgroup;
pub(crate) mod file_system;
pub(crate) mod last;
mod limits;
pub(crate) mod map;
pub(crate) mod place;
pub(crate) mod reserve;
pub(crate) mod state;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, Stat, fcntl_add_seals, fcntl_get_seals, fcntl_getfl, fstat,
};
use rustix::io::Errno;

use crate::error::{CreateError, Failed, Location, OpenError, Step};
use crate::peers::hold::{Asking, BIRTH, Hold, RegionFile, Share};
use file_system::FileSystem;
use last::Closed;
use limits::NoRoom;
use map::{Extent, MapOptions, Mapping};
use place::Place;
use state::{Unclean, Unclosed};

/// A region that this process has open and mapped.
#[derive(Debug)]
pub(crate) struct Region {
    fd: OwnedFd,
    /// What a [`Canceller`](crate::Canceller) keeps beyond the region's end.
    pub(crate) map: Arc<Mapping>,
    pub(crate) place: Option<Place>,
    pub(crate) page: usize,
    /// Device and inode.
    id: (u64, u64),
    /// The file says that the ring is open, and is to say that it was closed ([`state`]).
    marked: bool,
    /// Dropped after the mapping: the birth byte outlives it, unless it is let go of for
    /// [closing](state).
    birth: Option<Hold>,
    /// While it is being opened. Dropped last: the birth byte is taken and given up within a turn.
    turn: Option<state::Turn>,
}

/// The seals that keep a region's size.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// What a new region is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRegion {
    pub(crate) mode: u32,
    pub(crate) huge_memfd: bool,
    pub(crate) map: MapOptions,
    /// Also on a file system of which nothing is known.
    pub(crate) trusting: bool,
}

impl Region {
    /// Creates a region and gives it its name last. `extent` says how long it is to be, and what of
    /// it is mapped twice, given the backing's page size; `fill` writes its initial content.
    pub(crate) fn create(
        place: Option<Place>,
        new: NewRegion,
        extent: impl FnOnce(usize) -> Result<Extent, CreateError>,
        fill: impl FnOnce(&Mapping),
    ) -> Result<Self, CreateError> {
        let ring = place::location(place.as_ref());
        let io = CreateError::io(&ring);
        // Before there is a file to make room for.
        let not_taken = || match &place {
            Some(place) if place.is_taken() => Err(CreateError::Exists { ring: ring.clone() }),
            _ => Ok(()),
        };
        not_taken()?;
        let unnamed = match &place {
            Some(place) => place.create_unnamed(Mode::from_raw_mode(new.mode), new.trusting)?,
            None => place::Unnamed::from_fd(create_memfd(new.huge_memfd)?),
        };
        let fd = unnamed.fd();
        let on = FileSystem::of(fd).map_err(&io)?;
        let extent = extent(on.page())?;
        let no_room = |why: NoRoom| why.creating(place.as_ref());
        // If there is no room for two, whoever has the name by now has taken it.
        reserve::reserve(fd, on, extent, new.map.lock)
            .map_err(|full| not_taken().err().unwrap_or_else(|| no_room(full)))?;
        if place.is_none() {
            fcntl_add_seals(fd, SEALS).map_err(|e| io(Step::Seal.failed(e)))?;
        }
        let map = Mapping::new(fd, extent, on.page(), new.map).map_err(no_room)?;
        fill(&map);
        let file = RegionFile::of(fd).map_err(&io)?;
        let id = file.id;
        let birth = Hold::take(file, BIRTH, Share::Shared)
            .and_then(|hold| hold.ok_or_else(|| Step::LockByte.failed(Errno::BUSY)))
            .map_err(|refused| match keeps_its_creator_out(fd, new.mode, &refused) {
                Some(what) => CreateError::Options { ring: ring.clone(), what },
                None => io(refused),
            })?;
        let marked = on.is_on_disk();
        if marked {
            state::mark_new(&map, file).map_err(&io)?;
        }
        // From here on nothing fails: the ring would keep its name, though its creator was told that
        // there is none.
        let fd = match &place {
            Some(place) => unnamed.link(place)?,
            None => unnamed.into_fd(),
        };
        if marked && let Some(place) = &place {
            place.sync_directory();
        }
        let (map, birth) = (Arc::new(map), Some(birth));
        Ok(Self { fd, map, place, page: on.page(), id, marked, birth, turn: None })
    }

    /// Opens what `place` leads to. `check` looks at the file before anything is mapped or locked,
    /// and says what is to be mapped. `trusting`: also on a file system of which nothing is
    /// known.
    pub(crate) fn open(
        place: Place,
        map: MapOptions,
        unclean: Unclean,
        trusting: bool,
        check: impl Fn(BorrowedFd<'_>, &Stat, FileSystem) -> Result<Extent, OpenError>,
    ) -> Result<Self, OpenError> {
        let ring = place.location();
        // A remover of orphans holds the birth byte for the moment it takes to unlink. Then the
        // name is gone, or, if it died before, the byte is free. The last one to close a
        // file-backed ring holds it while it writes the rest of it to the disk.
        let mut asking = Asking::new();
        loop {
            let (fd, on) = place.open(trusting)?;
            if on.is_on_disk() {
                asking.be_patient();
            }
            if let Some(mut region) = Self::adopt(fd, map, &ring, unclean, &check)?
                && place
                    .leads_to(&region.stat().map_err(OpenError::io(&ring))?)
                    .map_err(|e| OpenError::io(&ring)(Step::Status.failed(e)))?
            {
                region.place = Some(place);
                return Ok(region);
            }
            // Locked by a remover, or unlinked between opening and locking: look at the name anew.
            if !asking.again() {
                return Err(OpenError::Busy { ring });
            }
        }
    }

    /// Opens a memfd that came from elsewhere, which errors call `ring`.
    pub(crate) fn from_fd(
        fd: OwnedFd,
        ring: &Location,
        map: MapOptions,
        check: impl Fn(BorrowedFd<'_>, &Stat, FileSystem) -> Result<Extent, OpenError>,
    ) -> Result<Self, OpenError> {
        let not_told = |e| OpenError::io(ring)(Step::AskDescriptor.failed(e));
        match fcntl_get_seals(&fd) {
            Ok(seals) if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) => {
                return Err(OpenError::ReadOnly { ring: ring.clone() });
            }
            Ok(seals) if seals.contains(SEALS) => {}
            Ok(_) => return Err(OpenError::Unsealed { ring: ring.clone() }),
            Err(Errno::INVAL) => {
                return Err(OpenError::NotARing { ring: ring.clone(), because: "it is no memfd" });
            }
            Err(e) => return Err(not_told(e)),
        }
        if fcntl_getfl(&fd).map_err(not_told)? & OFlags::RWMODE != OFlags::RDWR {
            return Err(OpenError::ReadOnly { ring: ring.clone() });
        }
        Self::adopt(fd, map, ring, Unclean::Refuse, check)?
            .ok_or_else(|| OpenError::Busy { ring: ring.clone() })
    }

    /// `None`: a remover of orphans is at it; or somebody who opens a file-backed ring, or closes
    /// it.
    fn adopt(
        fd: OwnedFd,
        map: MapOptions,
        ring: &Location,
        unclean: Unclean,
        check: impl Fn(BorrowedFd<'_>, &Stat, FileSystem) -> Result<Extent, OpenError>,
    ) -> Result<Option<Self>, OpenError> {
        let io = OpenError::io(ring);
        let stat = fstat(&fd).map_err(|e| io(Step::Status.failed(e)))?;
        let on = FileSystem::of(fd.as_fd()).map_err(&io)?;
        let extent = check(fd.as_fd(), &stat, on)?;
        // First, as it may take long, if all of it is to be present.
        let map =
            Mapping::new(fd.as_fd(), extent, on.page(), map).map_err(|why| why.opening(ring))?;
        let file = RegionFile::of(fd.as_fd()).map_err(&io)?;
        let mut turn = None;
        if on.is_on_disk() {
            turn = state::Turn::take(&map, file, ring, unclean)?;
            if turn.is_none() {
                return Ok(None);
            }
        }
        let Some(birth) = Hold::take(file, BIRTH, Share::Shared).map_err(&io)? else {
            return Ok(None);
        };
        let (id, birth) = ((stat.st_dev, stat.st_ino), Some(birth));
        let map = Arc::new(map);
        Ok(Some(Self { fd, map, place: None, page: on.page(), id, marked: false, birth, turn }))
    }

    /// The last step of opening, before anything is stored: makes sure that a file-backed ring is
    /// not a mixture, or does as the caller chose. `empty_to`: what must be zero in an empty ring
    /// ends there.
    pub(crate) fn enter(
        &mut self,
        ring: &Location,
        unclean: Unclean,
        empty_to: usize,
    ) -> Result<(), OpenError> {
        if let Some(turn) = &self.turn {
            // On an error the turn ends with the region, after the birth byte is given up.
            turn.enter(&self.map, ring, unclean, empty_to)?;
            self.turn = None;
            self.marked = true;
        }
        Ok(())
    }

    /// The file keeps a [state].
    pub(crate) fn is_marked(&self) -> bool {
        self.marked
    }

    /// Writes the region back to its file and waits until it is there. Not in a forked child: it
    /// shares its parent's description, and would be told of a failed write in the parent's stead.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if !self.is_ours() {
            let forked = "the ring was opened before a fork, by the parent";
            return Err(io::Error::new(io::ErrorKind::Unsupported, forked));
        }
        Ok(if self.marked { state::sync(&self.map) } else { self.map.sync() }?)
    }

    /// Leaves; if nobody else has it open, a file-backed ring is clean then. Nothing is stored
    /// any more.
    pub(crate) fn close(mut self) -> io::Result<Closed> {
        Ok(self.leave()?)
    }

    fn leave(&mut self) -> Result<Closed, Unclosed> {
        if !self.marked || !self.is_ours() {
            return Ok(Closed::Clean);
        }
        match self.birth.take() {
            Some(birth) => state::close(&self.map, self.file(), birth),
            None => Ok(Closed::Clean),
        }
    }

    /// This process opened the region, rather than the one that forked it.
    pub(crate) fn is_ours(&self) -> bool {
        self.birth.as_ref().is_some_and(|birth| birth.image().is_current())
    }

    /// The file, by our descriptor of it.
    pub(crate) fn file(&self) -> RegionFile<'_> {
        RegionFile { fd: self.fd.as_fd(), page: self.page, id: self.id }
    }

    /// What errors call it.
    pub(crate) fn location(&self) -> Location {
        place::location(self.place.as_ref())
    }

    pub(crate) fn stat(&self) -> Result<Stat, Failed> {
        fstat(&self.fd).map_err(|e| Step::Status.failed(e))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // There is nobody to tell: what cannot be closed stays open until the next one closes it.
        let _ = self.leave();
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn create_memfd(huge: bool) -> Result<OwnedFd, CreateError> {
    let io = CreateError::io(&Location::Anonymous);
    let base = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if huge {
        // Without a size, they are of the machine's default: each has one, and not each has 2 MiB.
        let made = rustix::fs::memfd_create("ringpipe", base | MemfdFlags::HUGETLB);
        return made.map_err(|e| match e {
            Errno::INVAL | Errno::NODEV | Errno::NOENT => CreateError::Options {
                ring: Location::Anonymous,
                what: "this kernel has no huge pages to make a ring of".into(),
            },
            e => io(Step::MakeHugeFile.failed(e)),
        });
    }
    // NOEXEC_SEAL: the region is data. Unknown before Linux 6.3, hence the second try.
    rustix::fs::memfd_create("ringpipe", base | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create("ringpipe", base))
        .map_err(|e| io(Step::MakeFile.failed(e)))
}

/// A number that no other process will come up with.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Seeded by the system's random source, and hashed with what tells this call from all others.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u64(crate::wait::pace::now());
    hasher.finish()
}

/// Reads exactly, from wherever. What is read while others write is a mixture, and good enough.
pub(crate) fn read_at(fd: BorrowedFd<'_>, offset: usize, into: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    while read < into.len() {
        let at = (offset + read) as u64;
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut into[read..], at))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => read += n,
        }
    }
    Ok(())
}

/// If a new file's mode is why its creator cannot open it once more: says so.
fn keeps_its_creator_out(fd: BorrowedFd<'_>, asked: u32, refused: &Failed) -> Option<String> {
    let denied = refused.source.kind() == io::ErrorKind::PermissionDenied;
    if refused.doing != Step::Reopen || !denied {
        return None;
    }
    let mode = Mode::from_raw_mode(fstat(fd).ok()?.st_mode);
    (!mode.contains(Mode::RUSR | Mode::WUSR)).then(|| match mode.bits() & asked == asked {
        true => format!("mode {asked:o} keeps its own creator out; it takes 600 at least"),
        false => format!("mode {asked:o} under the umask keeps its own creator out; change either"),
    })
}
