//! The state line: whether all who had a ring's file open have closed it.
//!
//! **What a power cut leaves.** The kernel writes the pages of a file back when it likes. After a
//! power cut each page is as it was at some moment since it was last written back, and no two pages
//! need be of the same moment. In such a mixture a tail promises values that never reached the
//! disk; an SPSC ring would deliver what lay in those slots a lap before, and an MPMC ring would
//! wait for stamps that nobody is going to write. Nothing in the mixture shows that it is one. So
//! the file itself says whether it may be one: a word on its first page, and beside it the boot,
//! the device and the inode under which it was last opened, and the time at which that inode was
//! created ("the same four" below). They lie within one sector, with two counters of what has been
//! written to the disk.
//!
//! | state | what it says |
//! | --- | --- |
//! | 0 | nothing; counts as unclean |
//! | `MARKING` | somebody was about to open it; the mark is perhaps not on the disk yet |
//! | `OPEN` | it is open, or was when its last users died; the mark is on the disk |
//! | `CLEAN` | all who had it open have closed it, and all of it is on the disk |
//! | `FAILED` | as `OPEN`; and a write to the disk has failed since |
//!
//! **Which rings.** Those on a disk, as told by the kind of the file system. A named ring, a
//! memfd, and a file on tmpfs, ramfs or hugetlbfs are memory, whatever their name: they go when
//! the machine goes down, all of their pages at once. They have no use for a mark and do not pay
//! for one.
//!
//! # Opening
//!
//! ```text
//! lock STATE                                  (one opener at a time)
//!   does anybody hold BIRTH?
//!   the state is unclean, nobody does, and it is to be refused: refuse
//!   the state is one beside which nobody can be in it, but somebody holds BIRTH: later
//!   hold BIRTH, shared                        (a closer or a remover has it for itself: later)
//!     look at the state again; nothing has been stored yet:
//!     OPEN          and the same four         go on
//!     CLEAN                                   mark
//!     MARKING       and the same four         mark: its opener was killed at it, or failed
//!     OPEN, FAILED; somebody held BIRTH       go on
//!     anything else                           as the caller chose: make good; mark
//!
//! make good:  store 0 and both counters 0; empty it, unless it is to be taken as found; msync all
//! mark:       store the four; store MARKING; msync this page; store OPEN
//! ```
//!
//! The mark is on the disk before the opener's first store in the ring: `CLEAN` is on the disk only
//! together with what was there when it was stored. The creator marks before the name appears.
//!
//! *Who holds BIRTH while another has its turn* has the ring open, or is closing it, for BIRTH is
//! taken within a turn. If it is held, the machine has been up since its holder opened a ring that
//! was good, so the ring is good, whatever the state line says of boots. (A container may have a
//! boot id of its own.) That is why one that is refused must not have held BIRTH even for a moment:
//! a program that another thread is just starting could keep it held
//! ([`hold`](crate::peers::hold)), and the next opener would take the ring for one in use. It is
//! why a turn ends after BIRTH is given up, also if opening fails. And whoever is in it has made it
//! OPEN. Beside 0, or MARKING of another four, BIRTH is the remainder of an opener that failed or
//! was killed; it says nothing, and the next one waits until it is gone.
//!
//! *Killed processes* leave OPEN. In the same boot that is no matter: the page cache has everything
//! that they stored, in order, and the rest is recovery's business. *Containers* share the page
//! cache, and mostly the boot id. *Another boot*: the power was cut, or the machine was shut down
//! over programs that had not closed the ring; nothing tells one from the other. *A copy* of a ring
//! in use is a mixture, too. It has another inode; or, if the ring has been removed before, perhaps
//! the ring's number, but another time of creation. A copy of a clean ring is clean.
//!
//! # Closing
//!
//! Everyone who leaves lets go of BIRTH and then tries to have it alone. Whoever succeeds is the
//! last, writes everything to the disk, and then stores CLEAN and has that written, too, all the
//! while having BIRTH alone ([`last`](super::last) has the steps, and why of several one is the
//! last).
//!
//! *The lock is on the region's own descriptor*, because at this time there may be no other to be
//! had (limits, `chroot`, changed credentials). Nor does closing need memory. A forked child has a
//! copy of that descriptor, and so shares the lock: should the closer be killed in that moment,
//! openers wait until the child ends. Beside that a forked child has no part in this; its copies of
//! the handles are not its own, and `sync` is refused there: the kernel tells a description once of
//! a failed write, and the child, which may make no note of it, would have been told in its
//! parent's stead.
//!
//! # Killed on the way
//!
//! An opener killed while it marks leaves what it found, or MARKING with the same four: the next
//! one marks. From CLEAN the four are stored first, because CLEAN is CLEAN beside any four; from an
//! unclean state 0 is stored before them, so that OPEN never stands beside four of another time.
//! One killed while it empties leaves it unclean, and so does one to whom the disk reports a
//! failure then: it ends at 0, and MARKING is stored only when zero is what lies on the disk. (The
//! kernel reports a failed write once; who asked after MARKING would be told, and the next opener,
//! who finds MARKING and empties nothing, would not.) A closer killed before CLEAN leaves OPEN,
//! whose cure is the next clean close in the same boot, unless it was killed while it wrote (see
//! below). One killed after CLEAN leaves CLEAN: all of it was on the disk before.
//!
//! # Emptying
//!
//! Everything behind the state line becomes zero, which is how a ring is created: on an MPMC ring
//! all stamps are free in the first lap, on either kind both positions are 0, nobody sits
//! anywhere, nothing is counted. So a ring that was emptied is sound for the reason for which a
//! new one is. What is reset where depends on no other part of the crate. (The values of an SPSC
//! ring stay where they are, beyond reach.)
//!
//! *Nobody else is in it*: nobody held BIRTH when this turn began, and nobody can have taken it
//! since.
//!
//! # Disks that fail
//!
//! Linux reports a failed write once, to one of those who ask, and then takes the page for written.
//! It may then drop that page from memory at any time, be it mapped, and read it back as it was
//! before. So whoever is told makes a note of it, FAILED, and the ring does not become clean any
//! more. Those who have it open go on, and others may join them: they would not be better off
//! without. Once nobody has it open, it is unclean, in the same boot, too.
//!
//! *Killed between being told and the note*: who opens it later is not told. So everyone counts, on
//! the state line, before such an `msync` that it begins (`begun`), and after it, if nothing
//! failed, that it has ended (`ended`). A closer that has BIRTH alone finds the two equal, or else
//! somebody has been killed in between: then it does not store CLEAN, nor does any closer after it,
//! until the ring is made good. That nothing may have failed at that time does not help, for nobody
//! knows. In the same boot the ring is opened as before. (Only what `sync` and closers do is
//! counted: an opener at the mark, or at making good, has let nobody in.)
//!
//! # What is not noticed
//!
//! A disk that loses what it reported as written. A failed write about which nobody asked while the
//! inode was in memory: the users were all killed, the kernel wrote their pages back later, that
//! failed, and the kernel dropped the inode, and with it the error, before the next one opened the
//! ring. A failed write whose only witness was killed before the note, as long as the machine is
//! up: that such a ring does not become clean is all. A file that is written over in place, by
//! `cp`, with the bytes of a ring that was in use in the same boot. A file system that goes away
//! with its device, or is rolled back to a snapshot, and comes back under the same numbers in the
//! same boot. On a file system that does not tell when a file was created (the time counts as 0
//! then; ext4 with inodes of 128 bytes is one): a copy that is given the inode of the ring of which
//! it was made.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, StatxFlags, fstat, statx};
use rustix::io::Errno;

use super::last::{self, Closed, Leave};
use super::map::Mapping;
use crate::error::{Failed, Location, OpenError, Step};
use crate::layout::Geometry;
use crate::peers::hold::{self, BIRTH, Hold, RegionFile, STATE, Share};
use crate::ring::control::FileState;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU64, Shared};

const UNKNOWN: u64 = 0;
const MARKING: u64 = 1;
const OPEN: u64 = 2;
const CLEAN: u64 = 3;
const FAILED: u64 = 4;

/// What to do with a file-backed ring that is not known to be of one moment
/// ([`Options::unclean`](crate::Options::unclean)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unclean {
    /// Do not open it: [`OpenError::Unclean`]. The default.
    #[default]
    Refuse,
    /// Discard everything that is in it. It is as if it had just been created: empty, nobody
    /// attached, all counters 0. Number ([`Ring::id`](crate::Ring::id)), capacity and time of
    /// creation stay.
    Empty,
    /// Take it as it is, on the caller's word that nobody has sent, received, attached or left
    /// since [`Ring::sync`](crate::Ring::sync) returned `Ok`. Without that it may deliver old
    /// values as new ones, or nothing any more.
    AsFound,
}

/// This file, in this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Four {
    boot: [u64; 2],
    device: u64,
    inode: u64,
    born: u64,
}

impl Four {
    fn now(file: RegionFile<'_>) -> io::Result<Self> {
        let (device, inode) = file.id;
        Ok(Self { boot: boot()?, device, inode, born: born(file.fd) })
    }

    fn stored(line: &FileState) -> Self {
        // Relaxed, all: ordered by the state, which is loaded before (M2).
        Self {
            boot: [line.boot[0].load(Relaxed), line.boot[1].load(Relaxed)],
            device: line.device.load(Relaxed),
            inode: line.inode.load(Relaxed),
            born: line.born.load(Relaxed),
        }
    }

    fn store(self, line: &FileState) {
        // Relaxed, all: ordered by the state, which is stored after (M1).
        line.boot[0].store(self.boot[0], Relaxed);
        line.boot[1].store(self.boot[1], Relaxed);
        line.device.store(self.device, Relaxed);
        line.inode.store(self.inode, Relaxed);
        line.born.store(self.born, Relaxed);
    }
}

/// When the file was created; 0 where that is not told.
fn born(file: BorrowedFd<'_>) -> u64 {
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME) {
        Ok(told) if told.stx_mask & StatxFlags::BTIME.bits() != 0 => {
            let seconds = told.stx_btime.tv_sec as u64;
            seconds.wrapping_mul(1_000_000_000).wrapping_add(told.stx_btime.tv_nsec.into())
        }
        _ => 0,
    }
}

/// The number that the kernel gave itself when it started.
fn boot() -> io::Result<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|&c| c != '-').collect();
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "the boot id is no UUID");
    let number = u128::from_str_radix(&digits, 16).map_err(wrong)?;
    Ok([(number >> 64) as u64, number as u64])
}

fn line(map: &Mapping) -> Shared<FileState> {
    let at = map.at(Geometry::control_at()).cast();
    // SAFETY: the words lie within the first page of every region, aligned; they are atomics; and
    // whoever calls this uses them no longer than the mapping that it borrows.
    unsafe { Shared::new(at) }
}

/// What the state line says to an opener.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Open,
    Closed,
    /// Fit for nobody, but those who are in it.
    Unclean(&'static str),
    /// The same, and nobody can be in it.
    Unmarked(&'static str),
}

fn found(line: &FileState, now: Four) -> Found {
    let state = line.state.load(Acquire); // M2 ← M1: the four
    let then = Four::stored(line);
    match state {
        OPEN if then == now => Found::Open,
        CLEAN => Found::Closed,
        MARKING if then == now => Found::Closed,
        MARKING => Found::Unmarked(unlike(then, now)),
        FAILED if then == now => Found::Unclean("a write to its disk has failed"),
        OPEN | FAILED => Found::Unclean(unlike(then, now)),
        _ => Found::Unmarked("it does not say that it was ever closed"),
    }
}

/// What has become of a ring that was in use as another file, or in another boot.
fn unlike(then: Four, now: Four) -> &'static str {
    if then.boot == now.boot {
        "it is a copy of a ring that was in use"
    } else {
        "it was in use when the machine last went down"
    }
}

/// Says on the disk that the ring is open. Under the STATE byte, or before the file has a name.
/// `empty_to`: unless what lies before that is to be taken as found.
fn mark(map: &Mapping, now: Four, was: &Found, empty_to: Option<usize>) -> Result<(), Errno> {
    let line = line(map);
    if matches!(was, Found::Unclean(_) | Found::Unmarked(_)) {
        line.state.store(UNKNOWN, Release); // M1 → M2: what came before; killed here, it is unclean
        // Relaxed: M1 publishes them, and nobody else counts now.
        line.begun.store(0, Relaxed);
        line.ended.store(0, Relaxed);
        if let Some(end) = empty_to {
            empty(map, end);
        }
        map.sync()?;
    }
    now.store(&line);
    line.state.store(MARKING, Release); // M1 → M2: the four, and that it is empty if it is to be
    // All of it was stored anew, so the page is dirty even if the last attempt to write it failed.
    map.sync_start(Geometry::control_at() + size_of::<FileState>())?;
    line.state.store(OPEN, Release); // M1 → M2: the four; and the system call lies before it
    Ok(())
}

/// Marks a new region, which has no name yet.
pub(super) fn mark_new(map: &Mapping, file: RegionFile<'_>) -> Result<(), Failed> {
    let now = Four::now(file).map_err(|e| Step::ReadBoot.failed(e))?;
    // It is all zero, also the state; and if it cannot be marked there is nobody to find it.
    mark(map, now, &Found::Closed, None).map_err(|e| Step::WriteState.failed(e))
}

/// An opener's turn at the state line, from before it takes BIRTH until the ring is open.
#[derive(Debug)]
pub(super) struct Turn {
    now: Four,
    /// Somebody else held BIRTH when this turn began: the ring is in use, or being closed.
    in_use: bool,
    _state: Hold,
}

impl Turn {
    /// Takes it; `None`: it is another's, or has not quite ended. An unclean ring that is to be
    /// refused is refused here, before BIRTH is taken (see the module's opening).
    pub(super) fn take(
        map: &Mapping,
        file: RegionFile<'_>,
        ring: &Location,
        unclean: Unclean,
    ) -> Result<Option<Self>, OpenError> {
        let io = OpenError::io(ring);
        let now = Four::now(file).map_err(|e| io(Step::ReadBoot.failed(e)))?;
        let lock = Hold::take(file, STATE, Share::Exclusive).map_err(&io)?;
        let Some(lock) = lock else { return Ok(None) };
        let in_use = hold::is_locked(file.fd, BIRTH);
        let in_use = in_use.map_err(|e| io(Step::AskLocks.failed(e)))?;
        let turn = Self { now, in_use, _state: lock };
        match turn.look(map, ring, unclean) {
            Ok(_) => Ok(Some(turn)),
            Err(OpenError::Busy { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What the state line says, in view of who is there.
    fn look(&self, map: &Mapping, ring: &Location, unclean: Unclean) -> Result<Found, OpenError> {
        match found(&line(map), self.now) {
            Found::Unclean(_) if self.in_use => Ok(Found::Open),
            Found::Unmarked(_) if self.in_use => Err(OpenError::Busy { ring: ring.clone() }),
            Found::Unclean(because) | Found::Unmarked(because) if unclean == Unclean::Refuse => {
                Err(OpenError::Unclean { ring: ring.clone(), because })
            }
            found => Ok(found),
        }
    }

    /// Opens. `empty_to`: where that ends which must be zero in an empty ring. The caller holds
    /// BIRTH, and has stored nothing.
    pub(super) fn enter(
        &self,
        map: &Mapping,
        ring: &Location,
        unclean: Unclean,
        empty_to: usize,
    ) -> Result<(), OpenError> {
        let was = self.look(map, ring, unclean)?;
        if was == Found::Open {
            return Ok(());
        }
        let empty_to = (unclean == Unclean::Empty).then_some(empty_to);
        mark(map, self.now, &was, empty_to)
            .map_err(|e| OpenError::io(ring)(Step::WriteState.failed(e)))
    }
}

/// Zeroes everything behind the state line, up to `end`.
fn empty(map: &Mapping, end: usize) {
    for at in (Geometry::control_at() + size_of::<FileState>()..end).step_by(8) {
        // SAFETY: the word lies in the mapping (`at` checks) and is aligned, as the mapping is and
        // the state line's end; it is only ever accessed by atomics.
        let word = unsafe { AtomicU64::from_ptr(map.at(at).as_ptr().cast()) };
        word.store(0, Relaxed); // M1 publishes it, and nobody else is in it
    }
}

/// Why a ring is not closed. Made without memory: there may be none to be had (`RLIMIT_AS`).
#[derive(Debug)]
pub(super) enum Unclosed {
    /// The system's answer.
    Os(Errno),
    /// What else.
    Because(&'static str),
}

impl From<Errno> for Unclosed {
    fn from(error: Errno) -> Self {
        Self::Os(error)
    }
}

impl From<io::Error> for Unclosed {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or(Self::Because("it cannot be locked"), Self::Os)
    }
}

impl From<Unclosed> for io::Error {
    fn from(why: Unclosed) -> Self {
        match why {
            Unclosed::Os(error) => error.into(),
            Unclosed::Because(why) => Self::other(why),
        }
    }
}

/// Leaves: see the module's opening. `birth` is let go of, and the caller stores nothing any more.
pub(super) fn close(map: &Mapping, file: RegionFile<'_>, birth: Hold) -> Result<Closed, Unclosed> {
    // The descriptor can have been closed behind our back: strangers' files are not to be locked.
    let stat = fstat(file.fd)?;
    if !file.is_still_open() {
        return Err(Errno::STALE.into());
    }
    if stat.st_nlink == 0 {
        return Ok(Closed::Clean); // it goes with us: there is nobody to find it clean
    }
    if u64::try_from(stat.st_size).is_ok_and(|len| len < map.len() as u64) {
        // What was cut off is a `SIGBUS` for who touches it, be it only to leave.
        return Err(Unclosed::Because("the ring's file has been truncated"));
    }
    last::leave(&mut Leaver { map, file, birth: Some(birth) })
}

/// One that leaves, with what it holds of BIRTH: as it has had it, or a lock through the region's
/// own descriptor.
struct Leaver<'a> {
    map: &'a Mapping,
    file: RegionFile<'a>,
    birth: Option<Hold>,
}

impl Leave for Leaver<'_> {
    type Error = Unclosed;

    fn let_go(&mut self) -> Result<(), Unclosed> {
        match self.birth.take() {
            Some(birth) => drop(birth),
            None => _ = hold::lock_own(self.file.fd, BIRTH, None)?,
        }
        Ok(())
    }

    fn lock_alone(&mut self) -> Result<bool, Unclosed> {
        Ok(hold::lock_own(self.file.fd, BIRTH, Some(Share::Exclusive))?)
    }

    fn lock_beside_others(&mut self) -> Result<(), Unclosed> {
        hold::lock_own(self.file.fd, BIRTH, Some(Share::Shared))?;
        Ok(())
    }

    fn write_back(&mut self) -> Result<(), Unclosed> {
        Ok(sync(self.map)?)
    }

    fn mark_clean(&mut self) -> Result<(), Unclosed> {
        let line = line(self.map);
        // Relaxed: only those who hold BIRTH store there, and nobody else does.
        match line.state.load(Relaxed) {
            OPEN => {}
            FAILED => return Err(Unclosed::Because("an earlier write to its disk failed")),
            _ => return Err(Unclosed::Because("the ring's state was written over")),
        }
        // Relaxed: as above.
        if line.begun.load(Relaxed) != line.ended.load(Relaxed) {
            return Err(Unclosed::Because("somebody was killed while writing it to its disk"));
        }
        line.state.store(CLEAN, Release); // M1 → M2: whoever opens next finds all as it is
        Ok(self.map.sync_start(Geometry::control_at() + size_of::<FileState>())?)
    }
}

impl Drop for Leaver<'_> {
    fn drop(&mut self) {
        let _ = self.let_go(); // or the kernel does, when the descriptor goes
    }
}

/// Writes all of an open ring back, and makes a note if that fails. The caller holds BIRTH.
pub(super) fn sync(map: &Mapping) -> Result<(), Errno> {
    let line = line(map);
    // Relaxed, all: who compares them holds BIRTH alone, so all who count have given it up before.
    line.begun.fetch_add(1, Relaxed);
    let written = map.sync();
    match written {
        // The latter is a filter's answer: nothing was written, and nothing was tried.
        Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => {
            line.ended.fetch_add(1, Relaxed);
        }
        // Not ended: so it matters not which of the two a kill allows to be stored.
        Err(_) => {
            // Only OPEN becomes FAILED.
            let _ = line.state.compare_exchange(OPEN, FAILED, Relaxed, Relaxed);
        }
    }
    written
}
