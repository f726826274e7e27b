//! The receiving handle of every kind of ring.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cancel::Canceller;
use super::item::Item;
use super::pool::Cloneable;
use super::pool::sealed::Sealed;
use super::raw_end::{RawEnd, Terms};
use super::raw_ring::RawRing;
use super::stats::Peers;
use crate::error::{AttachError, PeerError, RecvError, RecvTimeoutError, TryRecvError};
use crate::peers::endings::Ending;
use crate::pipe::{End, RecvEnd};
use crate::ring::mem::{Fixed, SlotShape};
use crate::ring::{Kind, Mpmc, RecvCursor, Refused, Run};
use crate::wait::Stop;
use crate::wait::pace::{Deadline, WaitPolicy};

mod bulk;
mod take;

/// A receiving end of a ring: [`Consumer`](crate::spsc::Consumer) of an SPSC ring,
/// [`Receiver`](crate::mpmc::Receiver) of an MPMC ring.
///
/// It can move between threads; every call takes `&mut self`. Dropping it is a graceful close: once
/// the last receiving end is gone, senders see a broken pipe. What is still in the ring stays there
/// for whoever attaches next.
///
/// On an MPMC ring, a receiver that holds items it has *adopted* from a dead one puts off
/// end-of-file for the other receivers until it has released them: should it die, they are
/// delivered to one of those. Items that a living receiver claimed itself put nothing off (unless
/// another was killed just as it tried to claim the same), and those whose record it took over with
/// them, because no other was free, need not.
///
/// No call that receives makes a system call or allocates unless it waits, someone sleeps who must
/// be woken, nothing has come of the calls for an interval (50 ms unless
/// [set](Self::set_liveness_interval)) and it asks whether the peers are alive, or it would say
/// end-of-file but other receivers hold items, and it asks whether those live. (The clock, which a
/// call on an SPSC ring asks now and then, is one only where the kernel has none to be read
/// without.) But for such a call, `try_` calls are wait-free on an SPSC ring. On an MPMC ring
/// they do not block: a claim that fails is another's success. Closing an end, and asking for the
/// peers ([`is_closed`](Self::is_closed), [`wait_for_peer`](Self::wait_for_peer)), takes system
/// calls.
///
/// Between the messages of a stream that a receiver of an SPSC ring reads faster than it comes, any
/// call, `try_` or not, may make up to 16 pauses (some tenths of a microsecond; a whole one where the
/// processor's pause takes long), so that its look finds several: only where a trial has shown that
/// the stream is faster so, and not while the caller waits for a message, in a call or by calling
/// again and again.
///
/// # What an attached end needs of the system
///
/// Opening, attaching and cloning need `/proc`, descriptors, mappings and memory. Nothing after
/// that does: an end may be put into a sandbox (`chroot`, another user, limits of descriptors or
/// memory, a filter of system calls), and works on in it, reaping the dead included. It makes these
/// system calls and no others:
///
/// | call | what for |
/// | --- | --- |
/// | `futex` | to sleep, and to wake |
/// | `membarrier` | before a sleep; refused with an error: the end looks again every millisecond |
/// | `fcntl` with `F_OFD_GETLK`, `fstat` | to ask whether the peers live |
/// | `sched_yield` | to make way for others before a sleep |
/// | `clock_gettime` | where the clock cannot be read without |
/// | `clock_nanosleep` (old C libraries: `nanosleep`) | instead of a `futex` that is refused |
/// | `restart_syscall` | the kernel's own: when a sleep goes on after `SIGSTOP` |
/// | `munmap`, `close` | to drop ends and rings |
/// | `msync`, `fcntl` with `F_OFD_SETLK` | file-backed rings: to drop the last handle or end |
/// | `read`, `write` | bytes: [`read_from`](crate::SendHandle::read_from), [`write_to`](Self::write_to) |
///
/// Beyond that, memory that is given back may make the allocator call the kernel; and in programs
/// with debug assertions the standard library asks, by `fcntl` with `F_GETFD`, whether a descriptor
/// is open before it closes it.
///
/// An [`io::Error`](std::io::Error) other than `WouldBlock` takes memory. A process that may run out
/// of it had better use the calls whose errors are the crate's own.
///
/// If the ring's descriptor is closed behind the crate's back, or its number reused, or `fcntl` or
/// `fstat` is refused, nobody is taken for dead; a call that has waited for an interval then fails,
/// with `DescriptorLost`.
pub struct RecvHandle<T: Item, K: Kind> {
    pub(super) raw: RawEnd<RecvEnd<K>>,
    /// What is received is bits, until they are checked.
    pub(super) shape: Fixed<T::Bits, K>,
    again: Again,
}

/// What was received last, and somebody had before: how many items, the first ones; in the low
/// byte, how often receivers that are gone had the first. (One word, as each call that receives
/// stores it.)
#[derive(Clone, Copy, Default)]
struct Again(u64);

impl Again {
    fn new(items: u64, times: u32) -> Self {
        Self(items << 8 | u64::from(times))
    }

    fn items(self) -> usize {
        (self.0 >> 8) as usize
    }

    fn times(self) -> u32 {
        self.0 as u32 & 0xff
    }
}

impl<T: Item, K: Kind> RecvHandle<T, K> {
    /// The end of a ring whose elements are `T`s.
    pub(super) fn new(raw: RawEnd<RecvEnd<K>>) -> Self {
        const {
            let same_align = align_of::<T::Bits>() == align_of::<T>();
            assert!(size_of::<T::Bits>() == size_of::<T>() && same_align);
        }
        assert_eq!(raw.end.mem.slots.shape(), SlotShape::of::<T::Bits, K>(), "a ring of others");
        // SAFETY: its slots have just been seen to have that shape, and it is used on them alone.
        Self { raw, shape: unsafe { Fixed::trusted() }, again: Again::default() }
    }

    /// Receives if there is an item, and never waits.
    ///
    /// On an MPMC ring this may say `Empty` although a `send` of another thread has returned: if a
    /// sender claimed the position before that one and has not yet published, as it is in the midst
    /// of its call, or fills a [`WriteRun`](crate::WriteRun). Items come in the order of their
    /// positions; that one comes when the other has published, or given up, or died.
    ///
    /// ```
    /// use ringpipe::{TryRecvError, spsc};
    ///
    /// let (mut tx, mut rx) = spsc::channel::<u32>(8)?;
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.try_send(7).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(7)); // what was sent arrives before end-of-file does
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty), or [`Closed`](TryRecvError::Closed) once there was a sender,
    /// all are gone and everything is drained; see [`TryRecvError`].
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.at_once() {
            Some(run) => self.take_at_once(run).ok_or(TryRecvError::Invalid),
            None if Self::AT_HAND => self.try_recv_looking(),
            None => self.try_recv_checked(),
        }
    }

    /// A copy of an item may be at hand: of small ones, of some kinds. Their calls claim without a
    /// look, or else go a longer way, which has room for copies on the stack.
    const AT_HAND: bool = size_of::<T::Bits>() <= K::Recv::AT_HAND;

    /// An item that can be had at once.
    #[inline(always)]
    fn at_once(&mut self) -> Option<Run> {
        if !Self::AT_HAND {
            return self.raw.claimer().fast_coalesced(self.shape, 1, 1);
        }
        if !self.raw.is_current() {
            return None;
        }
        let run = self.raw.end.claim_seen()?;
        self.raw.waiting.timer.looked_well();
        Some(run)
    }

    #[inline(never)] // so that the shortest of paths is short
    fn try_recv_looking(&mut self) -> Result<T, TryRecvError> {
        match self.raw.claimer().fast_coalesced(self.shape, 1, 1) {
            Some(run) => self.take_looked(run).ok_or(TryRecvError::Invalid),
            None => self.try_recv_checked(),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_recv_checked(&mut self) -> Result<T, TryRecvError> {
        let run = self.raw.claimer().slow(1, 1).map_err(not_received)?;
        let received = self.take(run).map_err(not_received)?;
        received.ok_or(TryRecvError::Invalid)
    }

    /// Like [`try_recv`](Self::try_recv), into memory that is there already. An item of a type of
    /// which all bit patterns are valid is copied once, from the ring to its place, and never
    /// stands on the stack, however large; one that is checked is checked on a copy first. On an
    /// error `into` is as it was.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<[u64; 1024]>(8)?;
    /// tx.try_send([7; 1024]).unwrap();
    /// let mut frame = vec![[0; 1024]; 1];
    /// rx.try_recv_into(&mut frame[0]).unwrap();
    /// assert_eq!(frame[0][1023], 7);
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    #[inline]
    pub fn try_recv_into(&mut self, into: &mut T) -> Result<(), TryRecvError> {
        let run = self.raw.claimer().try_claim(self.shape, 1, 1).map_err(not_received)?;
        let received = self.take_into(run, into).map_err(not_received)?;
        received.then_some(()).ok_or(TryRecvError::Invalid)
    }

    /// Like [`recv`](Self::recv), into memory that is there already: see
    /// [`try_recv_into`](Self::try_recv_into).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_into(&mut self, into: &mut T) -> Result<(), RecvError> {
        self.recv_into_deadline(into, Deadline::NEVER).map_err(without_deadline)
    }

    /// Like [`recv_into`](Self::recv_into), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    #[inline]
    pub fn recv_into_deadline(
        &mut self,
        into: &mut T,
        deadline: impl Into<Deadline>,
    ) -> Result<(), RecvTimeoutError> {
        let run =
            self.raw.claimer().claim(self.shape, 1, 1, deadline).map_err(not_received_in_time)?;
        let received = self.take_into(run, into).map_err(not_received_in_time)?;
        received.then_some(()).ok_or(RecvTimeoutError::Invalid)
    }

    /// Receives, waiting for an item while the ring is empty and there is a sender or none has come
    /// yet.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] once there was a sender, all are gone and everything is drained, also
    /// if that happens while waiting; see [`RecvError`].
    #[inline(always)]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        match self.at_once() {
            Some(run) => self.take_at_once(run).ok_or(RecvError::Invalid),
            None if Self::AT_HAND => self.recv_looking(Deadline::NEVER).map_err(without_deadline),
            None => self.recv_waiting(Deadline::NEVER).map_err(without_deadline),
        }
    }

    /// Like [`recv`](Self::recv), for at most as long as `timeout`.
    ///
    /// ```
    /// use ringpipe::{RecvTimeoutError, spsc};
    /// use std::time::Duration;
    ///
    /// let (_tx, mut rx) = spsc::channel::<u32>(8)?;
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(2)), Err(RecvTimeoutError::Timeout));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if the ring was empty all the time; others of
    /// [`RecvTimeoutError`].
    #[inline]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(timeout)
    }

    /// Like [`recv`](Self::recv), until `deadline` (an [`Instant`](std::time::Instant), a
    /// [`Duration`] from now, or [`Deadline::NEVER`]). Signals do not shorten or stretch it.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    #[inline]
    pub fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<T, RecvTimeoutError> {
        match self.at_once() {
            Some(run) => self.take_at_once(run).ok_or(RecvTimeoutError::Invalid),
            None if Self::AT_HAND => self.recv_looking(deadline.into()),
            None => self.recv_waiting(deadline.into()),
        }
    }

    #[inline(never)] // as above
    fn recv_looking(&mut self, deadline: Deadline) -> Result<T, RecvTimeoutError> {
        match self.raw.claimer().fast_coalesced(self.shape, 1, 1) {
            Some(run) => self.take_looked(run).ok_or(RecvTimeoutError::Invalid),
            None => self.recv_waiting(deadline),
        }
    }

    #[cold]
    #[inline(never)]
    fn recv_waiting(&mut self, deadline: Deadline) -> Result<T, RecvTimeoutError> {
        let run =
            self.raw.claimer().waiting(self.shape, 1, 1, deadline).map_err(not_received_in_time)?;
        let received = self.take(run).map_err(not_received_in_time)?;
        received.ok_or(RecvTimeoutError::Invalid)
    }

    pub(super) fn raw_ring(&self) -> &Arc<RawRing> {
        &self.raw.ring
    }

    /// How many of the items that the last call received, the first ones, had been handed to a
    /// receiver before: one that died, or was closed, before it released them; or this one, through
    /// a [`ReadRun`](crate::ReadRun) that gave them back. 0 or 1 after a call for one item. To be asked
    /// after a call that has received something; after one that has failed, it says nothing of use.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::mpmc::channel::<u64>(8)?;
    /// tx.try_send_slice(&[1, 2]).unwrap();
    /// drop(rx.try_claim(8)); // not released
    /// let mut items = [0; 8];
    /// assert_eq!((rx.try_recv_slice(&mut items), rx.redelivered()), (Ok(2), 2));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn redelivered(&self) -> usize {
        self.again.items()
    }

    /// How often the last item received, or the first of several, had been handed to receivers that
    /// died, or were closed, before they released it; 0 for what no other receiver has had. At most
    /// 15: that is 15 or more. What this receiver has given back itself does not count.
    ///
    /// Items that other receivers have had are received one at a time, by every call. Receiving one
    /// again by a call that copies it out adds nothing to its count: only a receiver that holds an
    /// item in place ([`claim`](Self::claim)) can die while it has it.
    /// [`ReadRun::redeliveries`](crate::ReadRun::redeliveries) shows what to do with a job that
    /// kills its workers.
    pub fn redeliveries(&self) -> u32 {
        self.again.times()
    }

    /// Waits until a sender is attached. Receiving what is in the ring is possible before that.
    ///
    /// # Errors
    ///
    /// [`PeerError::Timeout`], [`PeerError::Cancelled`].
    pub fn wait_for_peer(&mut self, deadline: impl Into<Deadline>) -> Result<(), PeerError> {
        self.raw.wait_for_peer(deadline.into())
    }

    /// Whether there was a sender and now none is alive. There may be items left all the same:
    /// receiving them comes before `Closed` does.
    ///
    /// Receiving calls learn of a sender that was killed when they have waited, or tried in vain,
    /// for an interval. This asks the senders' locks, by two system calls or so, without waiting.
    /// `false` on a handle that was inherited through `fork`.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<u32>(8)?;
    /// tx.try_send(7).unwrap();
    /// drop(tx); // or its process is killed
    /// assert!(rx.is_closed());
    /// assert_eq!(rx.recv(), Ok(7));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn is_closed(&mut self) -> bool {
        self.raw.is_closed()
    }

    /// How the senders went, once a call has said `Closed`; `None` before that, and once another
    /// sender has come; also while some of several senders live. Where all of them closed, nothing
    /// that they sent is missing. A sender that was killed, or whose process exited without
    /// dropping its handle, may have had more to send; so may one that dropped it early, in a panic
    /// say: a stream that must be whole ends with an item that says so.
    ///
    /// ```
    /// use ringpipe::{Ending, RecvError, spsc};
    ///
    /// let (mut tx, mut rx) = spsc::channel::<u32>(8)?;
    /// tx.try_send(7).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.ending(), None); // there is an item left
    /// for item in &mut rx {
    ///     assert_eq!(item, 7);
    /// }
    /// assert_eq!(rx.ending(), Some(Ending::Closed)); // not: cancelled, or cut off by a crash
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn ending(&self) -> Option<Ending> {
        self.raw.ending()
    }

    /// From now on, says `Closed` also if no sender is there and none has come, instead of waiting
    /// for one as a FIFO's reader does: for a receiver that may come after the end.
    ///
    /// A receiver that attaches after the senders have gone is told of their end-of-file anyway,
    /// unless another receiver was told of it before.
    pub fn require_peer(&mut self) {
        self.raw.end.ends.require();
    }

    /// How blocking calls of this handle wait. Default: [`WaitPolicy::Adaptive`].
    pub fn set_wait_policy(&mut self, policy: WaitPolicy) {
        self.raw.waiting.policy = policy;
    }

    /// The longest this handle sleeps, or spins, before it looks at the ring and at its peers'
    /// lives again: what bounds the time until it learns of a death. 1 ms to 10 s, others are
    /// brought into that range. Default: 50 ms.
    ///
    /// Where more than eight ends of a role sleep on an MPMC ring, all with the default, eight of
    /// them look for all: the others sleep for ten intervals, unless they are woken. Only if
    /// those eight are killed, or are stopped, does it take the others that long to learn of a
    /// death. A handle that was given another interval always looks for itself.
    pub fn set_liveness_interval(&mut self, interval: Duration) {
        self.raw.waiting.timer.set_interval(interval);
    }

    /// A handle with which others can cancel this one's blocking calls.
    pub fn canceller(&self) -> Canceller {
        self.raw.canceller()
    }

    /// Slots, a power of two.
    pub fn capacity(&self) -> usize {
        self.raw.ring.capacity()
    }

    /// Items in the ring at this moment: see [`Ring::len`](crate::Ring::len).
    pub fn len(&self) -> usize {
        self.raw.ring.len()
    }

    /// No items in the ring at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As many items as there are slots: see [`Ring::is_full`](crate::Ring::is_full).
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Who is attached to the ring, this handle included.
    pub fn peers(&self) -> Peers {
        Peers::of(&self.raw.ring.words)
    }

    /// Closes this end, as dropping it does.
    pub fn close(self) {}
}

impl<T: Item> RecvHandle<T, Mpmc> {
    /// Attaches another receiving end to the same ring, with waiting policy and interval as this
    /// one's and a canceller of its own. Each item goes to one of them.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] while all endpoint records are taken; others of [`AttachError`].
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        Ok(Self::new(self.raw.try_clone()?))
    }
}

impl<T: Item> Sealed for RecvHandle<T, Mpmc> {}

impl<T: Item> Cloneable for RecvHandle<T, Mpmc> {
    fn another(&self) -> Result<Self, AttachError> {
        self.try_clone()
    }

    fn terms(&self) -> Terms {
        self.raw.terms()
    }

    fn renewed(&mut self, terms: &Terms) -> bool {
        self.again = Again::default();
        self.raw.renew(terms)
    }

    fn keeps_some(&self) -> bool {
        self.raw.end.has_claim()
    }
}

impl<T: Item, K: Kind> fmt::Debug for RecvHandle<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHandle")
            .field("ring", &self.ring())
            .field("waiting", &self.raw.waiting)
            .finish_non_exhaustive()
    }
}

/// The error of a call on one item that does not wait.
fn not_received(why: Refused) -> TryRecvError {
    match why {
        Refused::Closed => TryRecvError::Closed,
        Refused::Forked => TryRecvError::Forked,
        Refused::Stopped(Stop::DescriptorLost) => TryRecvError::DescriptorLost,
        Refused::NotReady | Refused::Contended | Refused::Stopped(_) => TryRecvError::Empty,
        // One item needs no neighbours: the others cannot be.
        Refused::Corrupt | Refused::Held | Refused::Fragmented(_) => TryRecvError::Corrupt,
    }
}

/// The error of one that waits without a deadline.
pub(super) fn without_deadline(why: RecvTimeoutError) -> RecvError {
    match why {
        RecvTimeoutError::Closed => RecvError::Closed,
        RecvTimeoutError::Cancelled => RecvError::Cancelled,
        RecvTimeoutError::Corrupt => RecvError::Corrupt,
        RecvTimeoutError::Invalid => RecvError::Invalid,
        RecvTimeoutError::Forked => RecvError::Forked,
        RecvTimeoutError::DescriptorLost => RecvError::DescriptorLost,
        RecvTimeoutError::Timeout => unreachable!("never is never"),
    }
}

/// The error of one that waits.
pub(super) fn not_received_in_time(why: Refused) -> RecvTimeoutError {
    match why {
        Refused::Closed => RecvTimeoutError::Closed,
        Refused::NotReady | Refused::Contended => RecvTimeoutError::Timeout,
        // One item needs no neighbours: the others cannot be.
        Refused::Corrupt | Refused::Held | Refused::Fragmented(_) => RecvTimeoutError::Corrupt,
        Refused::Forked => RecvTimeoutError::Forked,
        Refused::Stopped(Stop::Timeout) => RecvTimeoutError::Timeout,
        Refused::Stopped(Stop::Cancelled) => RecvTimeoutError::Cancelled,
        Refused::Stopped(Stop::DescriptorLost) => RecvTimeoutError::DescriptorLost,
    }
}
