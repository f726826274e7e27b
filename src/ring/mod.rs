//! The ring algorithms, free of system calls, over memory they are given.
//!
//! An algorithm is a pair of cursors, one for each end. A cursor lives in a handle's private
//! memory and knows where its end stands; everything shared comes in as [`Mem`]. Both algorithms
//! offer the same three steps, which is all that the layers above use:
//!
//! * **claim** a [`Run`] of slots that this end alone may touch until it gives them up,
//! * **copy** values into or out of the claimed slots,
//! * **publish** (sending end) or **release** (receiving end) the run, or part of it.
//!
//! Positions are `u64`, count slots from the ring's creation and never wrap: at 10^9 messages a
//! second the stamps of the MPMC ring last for more than a century. A slot is `position & mask`,
//! with the mask from private memory, so a corrupted position reaches a wrong slot, never beyond.

pub mod claims;
pub mod control;
pub(crate) mod deliveries;
pub(crate) mod frames;
mod granules;
mod inline;
mod intent;
mod looks;
pub mod mem;
pub mod mpmc;
pub mod recovery;
pub mod spsc;
mod stamp;
#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

use crate::wait::Stop;
use bytemuck::{AnyBitPattern, NoUninit};
use claims::{RecvClaims, SendClaims};
use mem::{Fixed, Mem, Shape, View};

/// How many positions from `at` on lie before `end`.
pub(crate) fn before(at: u64, end: u64) -> u64 {
    (end.wrapping_sub(at) as i64).max(0) as u64
}

/// Slots that one end has claimed: `slots` of them from position `at` on, `items` of which hold
/// (or will hold) a value. `items < slots` only on the receiving end of an MPMC ring, where a
/// position that its sender gave up is a hole. There, on a ring of messages, an item is a message,
/// of one granule or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub(crate) at: u64,
    pub(crate) slots: u64,
    pub(crate) items: u64,
    /// How many of the items, the first ones, have been handed to a receiver before.
    pub(crate) again: u64,
}

impl Run {
    /// No slots.
    pub(crate) const NONE: Self = Self { at: 0, slots: 0, items: 0, again: 0 };
}

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Full; or empty, or what comes next is not published yet.
    NotReady,
    /// Others moved the position away more often than [`PATIENCE`] allows.
    Contended,
    /// The opposite ends are gone, and on the receiving side everything is drained.
    Closed,
    /// Receiving end: it holds items, fewer than needed; those come first and alone.
    Held,
    /// Receiving end: holes split what is there. No more than so many items are adjacent, and there
    /// is no room for more before them.
    Fragmented(u64),
    /// The region holds values that no history of this algorithm produces.
    Corrupt,
    /// The handle is a copy in a forked child.
    Forked,
    /// Waiting for it has ended, or would not.
    Stopped(Stop),
}

impl Refused {
    /// It may work at any moment.
    pub(crate) fn is_for_now(self) -> bool {
        matches!(self, Self::NotReady | Self::Contended)
    }
}

/// How often a claim starts over because another end was faster. Lock-freedom says that each retry
/// is somebody's success, so honest peers never come near this; a hostile one must not keep us.
pub(crate) const PATIENCE: u32 = 10_000;

/// The sending end of an algorithm. [`SendClaims`] has what others must know of its claims.
pub trait SendCursor: SendClaims {
    /// The longest run that one claim may cover.
    const MAX_RUN: u64;

    /// Begins where the region says that previous ends of this role left off. The caller sits in
    /// `record`.
    fn attach<K: Kind>(mem: &Mem<K>, record: usize) -> Result<Self, Refused>
    where
        Self: Sized;

    /// Claims as many free slots as there are, at most `max`; none if fewer than `need`.
    /// `1 <= need <= max <= MAX_RUN` and `need <= capacity`. No claim is outstanding.
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused>;

    /// The fast path for one slot. `None`: call [`claim`](Self::claim), which may still find one.
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run>;

    /// Writes `value` into the only slot of a run that is about to be published, and where else a
    /// receiver may look for it. `true`: there is nothing to do but to publish it.
    #[inline(always)]
    fn write_one<T: NoUninit, K: Kind>(
        &self,
        mem: View<'_, Fixed<T, K>>,
        run: Run,
        value: &T,
    ) -> bool {
        mem.write(run.at, value);
        false
    }

    /// [`publish`](Self::publish), of one that has been [written](Self::write_one), which said
    /// whether that is `all`.
    #[inline(always)]
    fn publish_one(&mut self, mem: View<'_, impl Shape>, run: Run, _all: bool) {
        self.publish(mem, run, 1);
    }

    /// Publishes the first `items` slots of the run and gives up the others. MPMC messages: those
    /// slots are one message; 0 is none.
    fn publish(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64);
}

/// The receiving end of an algorithm. [`RecvClaims`] has what others must know of its claims.
pub trait RecvCursor: RecvClaims {
    /// The longest run that one claim may cover.
    const MAX_RUN: u64;
    /// Bytes of the largest items of which [`at_hand`](Self::at_hand) may have a copy.
    const AT_HAND: usize = 0;

    /// Begins where the region says that previous ends of this role left off. The caller sits in
    /// `record`.
    fn attach<K: Kind>(mem: &Mem<K>, record: usize) -> Result<Self, Refused>
    where
        Self: Sized;

    /// Claims as many published items as there are, at most `max`; none if fewer than `need`.
    /// `1 <= need <= max <= MAX_RUN` and `need <= capacity`. Items that this cursor claimed before
    /// and has not released come first and alone; those that it has adopted, one at a time.
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused>;

    /// Claims at least one published item, and none at a position from `end` on, unless it has
    /// adopted it. A cursor whose claims move nothing that others see need do no more than this.
    fn claim_before(
        &mut self,
        mem: View<'_, impl Shape>,
        max: u64,
        end: u64,
    ) -> Result<Run, Refused> {
        let run = self.claim(mem, 1, max)?;
        match before(run.at, end) {
            0 => Err(Refused::NotReady),
            most => Ok(Run {
                at: run.at,
                slots: run.slots.min(most),
                items: run.items.min(most),
                again: run.again.min(most),
            }),
        }
    }

    /// The fast path for one item. `None`: call [`claim`](Self::claim), which may still find one,
    /// say behind a hole.
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run>;

    /// As [`claim_one`](Self::claim_one), of those that an earlier look has found, without a look. For
    /// kinds with copies that may be [at hand](Self::AT_HAND).
    #[inline(always)]
    fn claim_seen(&mut self) -> Option<Run> {
        None
    }

    /// A copy of the item at position `at`, the first of the run claimed last, that is at hand
    /// without a look at its slot.
    #[inline(always)]
    fn at_hand<T: AnyBitPattern, K: Kind>(
        &mut self,
        _mem: View<'_, Fixed<T, K>>,
        _at: u64,
    ) -> Option<T> {
        None
    }

    /// The items of a claimed run are about to be shown to somebody before they are released:
    /// should this end die now, whoever receives them next receives them again.
    fn hand_out<K: Kind>(&mut self, mem: &Mem<K>, run: Run);

    /// How often the first item of the run claimed last had been delivered to receivers that are
    /// gone and did not release it ([`deliveries`]).
    fn redeliveries(&self) -> u32;

    /// The positions of the run's items, of each the first, in order; fewer if a peer has corrupted
    /// the stamps.
    fn items(&self, mem: View<'_, impl Shape>, run: Run) -> impl Iterator<Item = u64>;

    /// How many slots the item takes that begins at `at`, of those of the run: at least that one, and
    /// none beyond the run. What shared memory says within the item does not count.
    #[inline(always)]
    fn extent(&self, _mem: View<'_, impl Shape>, _run: Run, _at: u64) -> u64 {
        1
    }

    /// Releases the first `items` items of the run; the others remain this cursor's.
    fn release(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64);

    /// Releases what [`claim_one`](Self::claim_one), or [`claim_seen`](Self::claim_seen), has claimed
    /// just now.
    #[inline(always)]
    fn release_one(&mut self, mem: View<'_, impl Shape>, run: Run) {
        self.release(mem, run, 1);
    }

    /// The next item was handed out before and is ready: a claim of one item will find it.
    fn repeats(&self) -> bool;

    /// Items that are received again first: a guard gave them back, or was forgotten, or they were
    /// adopted.
    fn held(&self) -> u64;

    /// Everything that the last look found has been taken, so that the next claim must look again
    /// (not again if that look was in vain); and there may be reason to pause before it.
    fn may_pause(&mut self) -> bool {
        false
    }

    /// If [so](Self::may_pause): how many pauses to make before that look, so that it finds more
    /// ([`coalesce`](crate::wait::coalesce)).
    fn pauses<K: Kind>(&mut self, _mem: &Mem<K>, _clock: impl FnOnce() -> u64) -> u32 {
        0
    }

    /// There was nothing to claim: it is waited for, or the caller may try again and again.
    fn waits(&mut self) {}

    /// Asks for the line of the next item, unless it is the line that a claim looks at anyway.
    fn prefetch(&self, _mem: View<'_, impl Shape>) {}
}

/// How slots lie in memory, and where their stamps are. The header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SlotLayout {
    /// Values alone.
    Bare = 0,
    /// Each slot begins with a 64-bit stamp.
    Stamped = 1,
    /// Values alone, in whole pages that are mapped twice in a row: so any run of slots is adjacent.
    /// Stamps, of kinds that have them, lie before the slots.
    Twice = 2,
}

/// What a slot's contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An item of a type.
    Item,
    /// A byte: of a stream that has no items.
    Byte,
    /// A part of a message. Each message begins with a word that says how long it is.
    Message,
}

/// What a kind of ring is, for code that is the same for all.
#[derive(Debug)]
pub struct KindInfo {
    /// What the header calls it.
    pub(crate) code: u32,
    /// What messages call it.
    pub(crate) name: &'static str,
    /// How slots lie in memory.
    pub(crate) slots: SlotLayout,
    /// What is in them.
    pub(crate) content: Content,
    /// Many ends of each role, in any endpoint records; otherwise one of each, the sender in record
    /// 0 and the receiver in record 1.
    pub(crate) many: bool,
    /// What an end has claimed outlives it, and is settled by others ([`recovery`]).
    pub(crate) recovers: bool,
    /// Slots per message. Pauses and prefetching count in messages.
    pub(crate) unit: u64,
}

impl KindInfo {
    /// Each slot begins with a 64-bit stamp.
    pub(crate) const fn stamped(&self) -> bool {
        matches!(self.slots, SlotLayout::Stamped)
    }

    /// The slots are mapped twice in a row.
    pub(crate) const fn twice(&self) -> bool {
        matches!(self.slots, SlotLayout::Twice)
    }

    /// The slots have stamps that lie apart from them.
    pub(crate) const fn stamps_apart(&self) -> bool {
        self.twice() && self.recovers
    }

    /// A slot is an item.
    pub(crate) const fn has_items(&self) -> bool {
        matches!(self.content, Content::Item)
    }

    /// A slot is a part of a message.
    pub(crate) const fn has_messages(&self) -> bool {
        matches!(self.content, Content::Message)
    }
}

/// All there are.
const KINDS: [&KindInfo; 5] =
    [Spsc::INFO, Mpmc::INFO, Bytes::INFO, SpscMessages::INFO, MpmcMessages::INFO];
const _: () = {
    let mut i = 0;
    while i < KINDS.len() {
        assert!(KINDS[i].code == i as u32 + 1, "the header must tell them apart");
        i += 1;
    }
};

/// What messages call the kind with this code.
pub(crate) fn kind_name(code: u32) -> &'static str {
    KINDS.into_iter().find(|known| known.code == code).map_or("unknown", |known| known.name)
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Spsc {}
    impl Sealed for super::Mpmc {}
    impl Sealed for super::Bytes {}
    impl Sealed for super::SpscMessages {}
    impl Sealed for super::MpmcMessages {}
}

/// Marks a ring with one producer and one consumer ([`spsc`](crate::spsc)).
#[derive(Clone, Copy, Debug)]
pub enum Spsc {}

/// Marks a ring with many senders and many receivers ([`mpmc`](crate::mpmc)).
#[derive(Clone, Copy, Debug)]
pub enum Mpmc {}

/// Marks a byte pipe: a ring of bytes with one writer and one reader ([`bytes`](crate::bytes)).
#[derive(Clone, Copy, Debug)]
pub enum Bytes {}

/// Marks a ring of messages of any length with one sender and one receiver
/// ([`messages::spsc`](crate::messages::spsc)).
#[derive(Clone, Copy, Debug)]
pub enum SpscMessages {}

/// Marks a ring of messages of any length with many senders and many receivers
/// ([`messages::mpmc`](crate::messages::mpmc)).
#[derive(Clone, Copy, Debug)]
pub enum MpmcMessages {}

impl Kind for Spsc {
    type Send = spsc::Producer;
    type Recv = spsc::Consumer;
    const INFO: &'static KindInfo = &KindInfo {
        code: 1,
        name: "SPSC",
        slots: SlotLayout::Bare,
        content: Content::Item,
        many: false,
        recovers: false,
        unit: 1,
    };
}

impl Kind for Mpmc {
    type Send = mpmc::Sender;
    type Recv = mpmc::Receiver;
    const INFO: &'static KindInfo = &KindInfo {
        code: 2,
        name: "MPMC",
        slots: SlotLayout::Stamped,
        content: Content::Item,
        many: true,
        recovers: true,
        unit: 1,
    };
}

impl Kind for Bytes {
    type Send = spsc::Producer;
    type Recv = spsc::Consumer;
    const INFO: &'static KindInfo = &KindInfo {
        code: 3,
        name: "SPSC byte",
        slots: SlotLayout::Twice,
        content: Content::Byte,
        many: false,
        recovers: false,
        unit: 64, // a line
    };
}

impl Kind for SpscMessages {
    type Send = spsc::Producer;
    type Recv = frames::Frames;
    const INFO: &'static KindInfo = &KindInfo {
        code: 4,
        name: "SPSC message",
        slots: SlotLayout::Twice,
        content: Content::Message,
        many: false,
        recovers: false,
        unit: 8, // a line
    };
}

impl Kind for MpmcMessages {
    type Send = mpmc::Sender;
    type Recv = mpmc::Receiver;
    const INFO: &'static KindInfo = &KindInfo {
        code: 5,
        name: "MPMC message",
        slots: SlotLayout::Twice,
        content: Content::Message,
        many: true,
        recovers: true,
        unit: 1,
    };
}

/// The algorithm of a ring and how its slots lie in memory. Sealed: [`Spsc`](crate::Spsc),
/// [`Mpmc`](crate::Mpmc), [`Bytes`](crate::Bytes) and the two of [`messages`](crate::messages) are
/// all there are.
pub trait Kind: sealed::Sealed + Sized + Send + Sync + 'static {
    /// The sending end.
    #[doc(hidden)]
    type Send: SendCursor + Send + Sync + std::fmt::Debug;
    #[doc(hidden)]
    /// The receiving end.
    type Recv: RecvCursor + Send + Sync + std::fmt::Debug;
    #[doc(hidden)]
    /// What it is.
    const INFO: &'static KindInfo;
    #[doc(hidden)]
    /// What messages call it.
    const NAME: &'static str = Self::INFO.name;
    #[doc(hidden)]
    /// Each slot begins with a 64-bit stamp.
    const STAMPED: bool = Self::INFO.stamped();
    #[doc(hidden)]
    /// [`KindInfo::twice`].
    const TWICE: bool = Self::INFO.twice();
    #[doc(hidden)]
    /// [`KindInfo::stamps_apart`].
    const STAMPS_APART: bool = Self::INFO.stamps_apart();
    #[doc(hidden)]
    /// [`KindInfo::has_messages`].
    const MESSAGES: bool = Self::INFO.has_messages();
    #[doc(hidden)]
    /// [`KindInfo::many`].
    const MANY: bool = Self::INFO.many;
    #[doc(hidden)]
    /// [`KindInfo::recovers`].
    const RECOVERS: bool = Self::INFO.recovers;
    #[doc(hidden)]
    /// [`KindInfo::unit`].
    const UNIT: u64 = Self::INFO.unit;
}
