//! A ring that this process has open, whatever its elements are.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, TryLockError};

use crate::attach::{self, Endpoint, Locks, NoRecord};
use crate::error::{AttachError, CheckpointError, Failed};
use crate::layout::{Birth, DROP_UNRELEASED, Format, Geometry};
use crate::peers::hold::{self, Asking, Hold, Share};
use crate::peers::reap::{Life, Liveness};
use crate::peers::recovery_word::Scratch;
use crate::peers::table::{self, Role};
use crate::pipe;
use crate::ring::Kind;
#[cfg(feature = "async")]
use crate::ring::control::PerRole;
use crate::ring::control::Words;
use crate::ring::mem::Mem;
use crate::shm::Region;
use crate::shm::last::Closed;
use crate::shm::place::Place;
use crate::sync::{Shared, Slots};
use crate::wait::barrier;
#[cfg(feature = "async")]
use crate::wait::tasks::Queue;

/// What all handles of one opening share: the mapping, and what its header said when it was opened.
pub(crate) struct RawRing {
    pub(super) region: Arc<Region>,
    pub(super) format: Format,
    pub(super) geometry: Geometry,
    pub(super) birth: Birth,
    drop_unreleased: bool,
    delivery_limit: u32,
    pub(super) words: Words,
    /// For the one end of this process that recovers. Taken by `try_lock` only, so nobody blocks.
    scratch: Mutex<Scratch>,
    /// Tasks that wait.
    #[cfg(feature = "async")]
    pub(super) queues: PerRole<Arc<Queue>>,
}

impl RawRing {
    /// The ring in a region whose header says all this: it was written, or checked, just before.
    /// `geometry` was computed from `format`, and the region is mapped as it says.
    pub(super) fn new(
        region: Region,
        format: Format,
        geometry: Geometry,
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
        Self {
            region: Arc::new(region),
            format,
            geometry,
            birth,
            drop_unreleased: flags & DROP_UNRELEASED != 0,
            delivery_limit,
            words,
            scratch: Mutex::new(Scratch::for_records(records)),
            #[cfg(feature = "async")]
            queues: PerRole::default(),
        }
    }

    /// What the algorithms of kind `K`, which is the ring's, work on.
    pub(super) fn mem<K: Kind>(&self) -> Mem<K> {
        assert_eq!(K::INFO.code, self.format.kind().code, "the kind that the ring was opened as");
        let Geometry { capacity, slot, stamps_at, slots_at, .. } = self.geometry;
        let base = self.region.map.at(slots_at);
        let stamps = stamps_at.map(|at| self.region.map.at(at).cast());
        // SAFETY: `Geometry` was computed from this very format, and made the region long enough for
        // `capacity` slots (a power of two) of its shape from `slots_at` on, which is a multiple of a
        // line's length and of their alignment; the shape is one of the kind's (`Format`), which is
        // `K`; likewise for their stamps, if they lie apart; the region outlives every handle.
        let mut slots = unsafe { Slots::new(base, capacity, slot, stamps) };
        if self.region.is_marked() {
            // Pages that a disk has, and that nobody changes, need not be written to it again.
            slots.never_write_back();
        }
        Mem {
            words: self.words.clone(),
            slots,
            drop_unreleased: self.drop_unreleased,
            delivery_limit: self.delivery_limit,
        }
    }

    /// What users count in a slot: of messages, its bytes.
    fn in_slot(&self) -> usize {
        if self.format.kind().has_messages() { self.geometry.slot.stride } else { 1 }
    }

    /// Slots; of a ring of messages, bytes.
    pub(super) fn capacity(&self) -> usize {
        self.geometry.capacity as usize * self.in_slot()
    }

    /// Items in it at this moment; of a ring of messages, bytes that they take.
    pub(super) fn len(&self) -> usize {
        pipe::len(&self.words, self.geometry.capacity) as usize * self.in_slot()
    }

    /// The ring's name, or its path; `None` if it is anonymous.
    pub(super) fn name(&self) -> Option<String> {
        self.region.place.as_ref().map(Place::to_string)
    }

    /// See [`Ring::checkpoint`](crate::Ring::checkpoint).
    pub(super) fn checkpoint(self: Arc<Self>) -> Result<(), CheckpointError> {
        if !self.region.is_ours() {
            return Err(CheckpointError::Forked { ring: self.region.location() });
        }
        if !self.region.is_marked() {
            return Ok(());
        }
        let ring = self.region.location();
        let alone = Arc::into_inner(self).and_then(|open| Arc::into_inner(open.region));
        match alone.map(Region::close) {
            Some(Ok(Closed::Clean)) => Ok(()),
            Some(Ok(Closed::InUse)) | None => Err(CheckpointError::InUse { ring }),
            Some(Err(source)) => Err(CheckpointError::Io { ring, source }),
        }
    }

    /// Runs `attach`, which may ask again for what is taken only for a moment; maps its failure.
    pub(super) fn attach<E>(
        &self,
        role: Role,
        attach: impl FnOnce(&mut Asking) -> Result<E, NoRecord<Failed>>,
    ) -> Result<E, AttachError> {
        if !self.region.is_ours() {
            return Err(self.forked());
        }
        barrier::register();
        attach(&mut Asking::new()).map_err(|none| {
            let ring = self.region.location();
            match none {
                NoRecord::Io(failed) => AttachError::io(ring, failed),
                NoRecord::Corrupt => AttachError::Corrupt { ring },
                NoRecord::Taken | NoRecord::Passing if self.format.kind().many => {
                    AttachError::TableFull { ring, endpoints: self.geometry.endpoints }
                }
                NoRecord::Taken | NoRecord::Passing => {
                    AttachError::RoleTaken { ring, role, process: self.who_is(role) }
                }
            }
        })
    }

    /// What a forked child is told that attaches by its parent's handle.
    pub(super) fn forked(&self) -> AttachError {
        AttachError::Forked { ring: self.region.location() }
    }

    /// Who has this role, of which there is one, by its own account.
    fn who_is(&self, role: Role) -> Option<u32> {
        let mut owners = self.words.owners.iter().filter_map(table::owner);
        let (owner, _) = owners.find(|&(_, has)| has == role)?;
        Some(owner.process())
    }

    /// Undoes an attachment. `abandon`: a receiving end leaves claimed items behind.
    pub(super) fn detach(&self, endpoint: Endpoint<Hold>, abandon: bool) {
        attach::detach(&self.words, endpoint, self, abandon);
    }

    /// What a lock query tells. `Unknown` if the descriptor leads elsewhere.
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

impl Locks for RawRing {
    type Hold = Hold;
    type Error = Failed;

    fn lock(&self, role: Role, record: usize) -> Result<Option<Hold>, Failed> {
        Hold::take(self.region.file(), hold::record_byte(role, record), Share::Exclusive)
    }

    fn lock_recovery(&self) -> Result<Option<Hold>, Failed> {
        Hold::take(self.region.file(), hold::RECOVERY, Share::Exclusive)
    }

    fn unlock(&self, hold: Hold) {
        drop(hold);
    }

    fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Asks the locks ([`hold`]): two system calls at the most, through the region's own descriptor.
impl Liveness for RawRing {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.life(hold::is_held(self.region.as_fd(), hold::record_byte(role, record), 1))
    }

    fn any_alive(&self, role: Role) -> Life {
        let records = self.words.owners.len();
        let life = self.life(hold::any_alive(self.region.as_fd(), role, records));
        // Another ring's file, under a number that was reused, has living ends, too.
        if life == Life::Alive && !self.region.file().is_still_open() {
            Life::Unknown
        } else {
            life
        }
    }

    fn visitor_alive(&self) -> Life {
        self.life(hold::is_held(self.region.as_fd(), hold::RECOVERY, 1))
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        match self.scratch.try_lock() {
            Ok(mut scratch) => Some(work(&mut scratch)),
            // Whoever panicked has left nothing there that matters.
            Err(TryLockError::Poisoned(poisoned)) => Some(work(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
