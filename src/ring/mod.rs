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

pub mod control;
pub(crate) mod deliveries;
pub mod mpmc;
pub mod recovery;
pub mod spsc;
mod stamp;
#[cfg(all(test, not(loom)))]
pub(crate) mod tests;

use crate::sync::{AtomicU64, Slots};
use crate::wait::Stop;
use control::Words;
use recovery::{Alive, Remains};

/// The memory that a ring's algorithm works on.
pub struct Mem<T, K> {
    pub(crate) words: Words,
    pub(crate) slots: Slots<T, K>,
    /// What a dead receiver had not released is discarded rather than delivered again.
    pub(crate) drop_unreleased: bool,
    /// So is what was delivered so often; 0: nothing is.
    pub(crate) delivery_limit: u32,
}

impl<T, K> std::fmt::Debug for Mem<T, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mem").field("control", &*self.words.control).finish_non_exhaustive()
    }
}

/// Slots that one end has claimed: `slots` of them from position `at` on, `items` of which hold
/// (or will hold) a value. `items < slots` only on the receiving end of an MPMC ring, where a
/// position that its sender gave up is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub(crate) at: u64,
    pub(crate) slots: u64,
    pub(crate) items: u64,
    /// How many of the items, the first ones, have been handed to a receiver before.
    pub(crate) again: u64,
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

/// The sending end of an algorithm.
pub trait SendCursor {
    /// Several of these may work on the ring at once.
    const SHARED: bool;
    /// The longest run that one claim may cover.
    const MAX_RUN: u64;

    /// Begins where the region says that previous ends of this role left off. The caller sits in
    /// `record`.
    fn attach<T: Copy, K: Kind>(mem: &Mem<T, K>, record: usize) -> Result<Self, Refused>
    where
        Self: Sized;

    /// Claims as many free slots as there are, at most `max`; none if fewer than `need`.
    /// `1 <= need <= max <= MAX_RUN` and `need <= capacity`. No claim is outstanding.
    fn claim<T: Copy, K: Kind>(
        &mut self,
        mem: &Mem<T, K>,
        need: u64,
        max: u64,
    ) -> Result<Run, Refused>;

    /// Claims one slot if that is as simple as it mostly is. `None`: [`claim`](Self::claim) knows
    /// better.
    fn claim_one<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>) -> Option<Run>;

    /// Publishes the first `items` slots of the run and gives up the others.
    fn publish<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>, run: Run, items: u64);

    /// Settles what a dead end with this intent had claimed. In the recoverer's turn.
    fn settle<T: Copy, K: Kind>(mem: &Mem<T, K>, intent: u64, alive: &impl Alive) -> Remains;

    /// A claim was neither published nor given up: its guard was forgotten.
    fn forgotten(&self) -> bool;

    /// Gives up what was claimed and not published.
    fn close<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>);

    /// A slot is free for whoever comes next.
    fn another<T: Copy, K: Kind>(&self, mem: &Mem<T, K>) -> bool;
}

/// The receiving end of an algorithm.
pub trait RecvCursor {
    /// Several of these may work on the ring at once.
    const SHARED: bool;
    /// The longest run that one claim may cover.
    const MAX_RUN: u64;

    /// Begins where the region says that previous ends of this role left off. The caller sits in
    /// `record`.
    fn attach<T: Copy, K: Kind>(mem: &Mem<T, K>, record: usize) -> Result<Self, Refused>
    where
        Self: Sized;

    /// Claims as many published items as there are, at most `max`; none if fewer than `need`.
    /// `1 <= need <= max <= MAX_RUN` and `need <= capacity`. Items that this cursor claimed before
    /// and has not released come first and alone; those that it has adopted, one at a time.
    fn claim<T: Copy, K: Kind>(
        &mut self,
        mem: &Mem<T, K>,
        need: u64,
        max: u64,
    ) -> Result<Run, Refused>;

    /// Claims one item if that is as simple as it mostly is. `None`: [`claim`](Self::claim) knows
    /// better; there may be an item behind a hole.
    fn claim_one<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>) -> Option<Run>;

    /// The items of a claimed run are about to be shown to somebody before they are released:
    /// should this end die now, whoever receives them next receives them again.
    fn hand_out<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>, run: Run);

    /// How often the first item of the run claimed last had been delivered to receivers that are
    /// gone and did not release it ([`deliveries`]).
    fn redeliveries(&self) -> u32;

    /// The positions of the run's items, in order; fewer if a peer has corrupted the stamps.
    fn items<T: Copy, K: Kind>(&self, mem: &Mem<T, K>, run: Run) -> impl Iterator<Item = u64>;

    /// Releases the first `items` items of the run; the others remain this cursor's.
    fn release<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>, run: Run, items: u64);

    /// Something is claimed and not released, be it but holes.
    fn has_claim(&self) -> bool;

    /// What comes next was handed out before, and is there: a claim of one item will find it.
    fn repeats(&self) -> bool;

    /// Items that are received again first: a guard gave them back, or was forgotten, or they were
    /// adopted.
    fn held(&self) -> u64;

    /// Settles what a dead end with this intent had claimed. In the recoverer's turn.
    fn settle<T: Copy, K: Kind>(mem: &Mem<T, K>, intent: u64, alive: &impl Alive) -> Remains;

    /// Takes over what [`settle`](Self::settle) found. In the recoverer's turn; this cursor holds
    /// nothing.
    fn adopt<T: Copy, K: Kind>(&mut self, mem: &Mem<T, K>, run: Run);

    /// Frees what [`settle`](Self::settle) found, undelivered. In the recoverer's turn.
    fn discard<T: Copy, K: Kind>(mem: &Mem<T, K>, run: Run);

    /// Some position has been claimed by a sender and is neither published nor given up. For when
    /// all senders are gone, and what they had stored is visible.
    fn unpublished<T: Copy, K: Kind>(&self, mem: &Mem<T, K>) -> bool;

    /// An item is ready for whoever comes next.
    fn another<T: Copy, K: Kind>(&self, mem: &Mem<T, K>) -> bool;

    /// Everything that the last look found has been taken: the next claim must look again.
    fn seems_drained(&self) -> bool {
        false
    }

    /// If it [seems so](Self::seems_drained) and the call has time: how many pauses to make before
    /// that look, so that it finds more ([`coalesce`](crate::wait::coalesce)).
    fn pauses(&mut self, _capacity: u64, _clock: impl FnOnce() -> u64) -> u32 {
        0
    }

    /// The call has to wait for what it claims.
    fn waits(&mut self) {}

    /// Asks for the line of the next item, unless it is the line that a claim looks at anyway.
    fn prefetch<T: Copy, K: Kind>(&self, mem: &Mem<T, K>);

    /// Positions that a claim freed without delivering anything since the last time of asking:
    /// senders may use them, and must be told even if the claim came to nothing.
    fn take_skipped(&mut self) -> u64;
}

/// What messages call the kind with this code.
pub(crate) fn kind_name(code: u32) -> &'static str {
    [(Spsc::CODE, Spsc::NAME), (Mpmc::CODE, Mpmc::NAME)]
        .into_iter()
        .find_map(|(known, name)| (known == code).then_some(name))
        .unwrap_or("unknown")
}

/// How slots lie in memory, and where their stamps are. The header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SlotLayout {
    /// Values alone.
    Bare = 0,
    /// Each slot begins with a 64-bit stamp.
    Stamped = 1,
    /// Reserved: the stamps lie by themselves, and the data is mapped twice in a row.
    StampsApart = 2,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Spsc {}
    impl Sealed for super::Mpmc {}
}

/// Marks a ring with one producer and one consumer ([`spsc`](crate::spsc)).
#[derive(Clone, Copy, Debug)]
pub enum Spsc {}

/// Marks a ring with many senders and many receivers ([`mpmc`](crate::mpmc)).
#[derive(Clone, Copy, Debug)]
pub enum Mpmc {}

impl Kind for Spsc {
    type Send = spsc::Producer;
    type Recv = spsc::Consumer;
    const CODE: u32 = 1;
    const NAME: &'static str = "SPSC";
    const SLOTS: SlotLayout = SlotLayout::Bare;
    const MANY: bool = false;
    const RECOVERS: bool = false;
}

impl Kind for Mpmc {
    type Send = mpmc::Sender;
    type Recv = mpmc::Receiver;
    const CODE: u32 = 2;
    const NAME: &'static str = "MPMC";
    const SLOTS: SlotLayout = SlotLayout::Stamped;
    const MANY: bool = true;
    const RECOVERS: bool = true;
}

/// The algorithm of a ring and how its slots lie in memory. Sealed: [`Spsc`](crate::Spsc) and
/// [`Mpmc`](crate::Mpmc) are all there is.
pub trait Kind: sealed::Sealed + Sized + Send + Sync + 'static {
    /// The sending end.
    #[doc(hidden)]
    type Send: SendCursor + Send + Sync + std::fmt::Debug;
    #[doc(hidden)]
    /// The receiving end.
    type Recv: RecvCursor + Send + Sync + std::fmt::Debug;
    #[doc(hidden)]
    /// What the header calls it.
    const CODE: u32;
    #[doc(hidden)]
    /// What messages call it.
    const NAME: &'static str;
    #[doc(hidden)]
    /// How slots lie in memory.
    const SLOTS: SlotLayout;
    #[doc(hidden)]
    /// Each slot begins with a 64-bit stamp.
    const STAMPED: bool = matches!(Self::SLOTS, SlotLayout::Stamped);
    #[doc(hidden)]
    /// Many ends of each role, in any endpoint records; otherwise one of each, the sender in record
    /// 0 and the receiver in record 1.
    const MANY: bool;
    #[doc(hidden)]
    /// What an end has claimed outlives it, and is settled by others ([`recovery`]).
    const RECOVERS: bool;

    #[doc(hidden)]
    /// Bytes from the start of a slot to its value.
    #[inline(always)]
    fn value_offset<T>() -> usize {
        if Self::STAMPED { size_of::<u64>().next_multiple_of(align_of::<T>()) } else { 0 }
    }

    #[doc(hidden)]
    /// What a slot's address is a multiple of.
    #[inline(always)]
    fn slot_align<T>() -> usize {
        // An atomic's alignment: a plain `u64`'s is 4 on some 32-bit machines.
        if Self::STAMPED { align_of::<T>().max(align_of::<AtomicU64>()) } else { align_of::<T>() }
    }

    #[doc(hidden)]
    /// Bytes from one slot to the next.
    #[inline(always)]
    fn stride<T>() -> usize {
        (Self::value_offset::<T>() + size_of::<T>()).next_multiple_of(Self::slot_align::<T>())
    }
}
