//! The sending handle of every kind of ring.

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
use crate::error::{AttachError, PeerError, SendError, SendTimeoutError, TrySendError};
use crate::peers::endings::Ending;
use crate::pipe::{End, SendEnd};
use crate::ring::mem::{Fixed, SlotShape};
use crate::ring::{Kind, Mpmc, Refused, Run};
use crate::wait::Stop;
use crate::wait::pace::{Deadline, WaitPolicy};

mod bulk;

#[cfg(feature = "async")]
pub(super) use bulk::bulk;

/// A sending end of a ring: [`Producer`](crate::spsc::Producer) of an SPSC ring,
/// [`Sender`](crate::mpmc::Sender) of an MPMC ring.
///
/// It can move between threads; every call takes `&mut self`. Dropping it is a graceful close: once
/// the last sending end is gone, receivers drain the ring and then see end-of-file.
///
/// No call that sends makes a system call or allocates unless it waits, someone sleeps who must be
/// woken, or nothing has come of the calls for an interval (50 ms unless
/// [set](Self::set_liveness_interval)) and it asks whether the peers are alive. But for such a
/// call, `try_` calls are wait-free on an SPSC ring. On an MPMC ring they do not block: a
/// claim that fails is another's success. Closing an end,
/// and asking for the peers ([`is_closed`](Self::is_closed),
/// [`wait_for_peer`](Self::wait_for_peer)), takes system calls.
///
/// Once attached, it opens, maps and allocates nothing any more, and works on in a sandbox:
/// [`RecvHandle`](crate::RecvHandle#what-an-attached-end-needs-of-the-system) lists the system
/// calls that both kinds of ends make.
pub struct SendHandle<T: Item, K: Kind> {
    pub(super) raw: RawEnd<SendEnd<K>>,
    pub(super) shape: Fixed<T, K>,
}

impl<T: Item, K: Kind> SendHandle<T, K> {
    /// The end of a ring whose elements are `T`s.
    pub(super) fn new(raw: RawEnd<SendEnd<K>>) -> Self {
        assert_eq!(raw.end.mem.slots.shape(), SlotShape::of::<T, K>(), "a ring of others");
        // SAFETY: its slots have just been seen to have that shape, and it is used on them alone.
        Self { raw, shape: unsafe { Fixed::trusted() } }
    }

    /// Sends if there is a free slot, and never waits.
    ///
    /// ```
    /// use ringpipe::{TrySendError, spsc};
    ///
    /// let (mut tx, rx) = spsc::channel::<u32>(1)?;
    /// assert_eq!(tx.try_send(1), Ok(()));
    /// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2))); // the value comes back
    /// drop(rx);
    /// assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3))); // nobody will read it
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// A try after one that found the ring full may pause first, as a call that waits does: up to 64
    /// times, once for each 16 slots of the ring, some microseconds at the most. So a loop of tries
    /// leaves the receivers the lines that they need to make room.
    ///
    /// # Errors
    ///
    /// [`Full`](TrySendError::Full), or [`Closed`](TrySendError::Closed) once there was a receiver
    /// and all are gone; see [`TrySendError`].
    #[inline(always)]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        if let Some(run) = self.raw.claimer().fast(self.shape, 1, 1) {
            self.put(run, &value);
            return Ok(());
        }
        self.try_send_checked(value)
    }

    #[cold]
    fn try_send_checked(&mut self, value: T) -> Result<(), TrySendError<T>> {
        match self.raw.claimer().slow(1, 1) {
            Ok(run) => {
                self.put(run, &value);
                Ok(())
            }
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
            Err(Refused::Corrupt | Refused::Held | Refused::Fragmented(_)) => {
                Err(TrySendError::Corrupt(value)) // a sender knows no other damage
            }
            Err(Refused::Forked) => Err(TrySendError::Forked(value)),
            Err(Refused::Stopped(Stop::DescriptorLost)) => Err(TrySendError::DescriptorLost(value)),
            Err(Refused::NotReady | Refused::Contended | Refused::Stopped(_)) => {
                Err(TrySendError::Full(value))
            }
        }
    }

    /// Sends, waiting for a free slot while the ring is full and there is a receiver or none has
    /// come yet.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<u32>(2)?;
    /// let sum = std::thread::spawn(move || rx.iter().sum::<u32>());
    /// for n in 1..=100 {
    ///     tx.send(n).unwrap(); // blocks while the ring is full
    /// }
    /// drop(tx); // end-of-file for the receiver
    /// assert_eq!(sum.join().unwrap(), 5050);
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] once there was a receiver and all are gone, also if that happens while
    /// waiting; see [`SendError`]. The value comes back.
    #[inline(always)]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        if let Some(run) = self.raw.claimer().fast(self.shape, 1, 1) {
            self.put(run, &value);
            return Ok(());
        }
        self.send_waiting(value, Deadline::NEVER).map_err(without_deadline)
    }

    /// Like [`send`](Self::send), for at most as long as `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError::Timeout`] if the ring was full all the time; others of
    /// [`SendTimeoutError`].
    #[inline]
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_deadline(value, timeout)
    }

    /// Like [`send`](Self::send), until `deadline` (an [`Instant`](std::time::Instant), a
    /// [`Duration`] from now, or [`Deadline::NEVER`]). Signals do not shorten or stretch it.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    #[inline]
    pub fn send_deadline(
        &mut self,
        value: T,
        deadline: impl Into<Deadline>,
    ) -> Result<(), SendTimeoutError<T>> {
        if let Some(run) = self.raw.claimer().fast(self.shape, 1, 1) {
            self.put(run, &value);
            return Ok(());
        }
        self.send_waiting(value, deadline.into())
    }

    #[cold]
    fn send_waiting(&mut self, value: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        match self.raw.claimer().waiting(self.shape, 1, 1, deadline) {
            Ok(run) => {
                self.put(run, &value);
                Ok(())
            }
            Err(why) => Err(not_sent_in_time(why, value)),
        }
    }

    #[inline(always)]
    pub(super) fn put(&mut self, run: Run, value: &T) {
        let all = self.raw.end.write_one(self.shape, run, value);
        self.raw.end.publish_one(self.shape, run, all);
    }

    pub(super) fn raw_ring(&self) -> &Arc<RawRing> {
        &self.raw.ring
    }

    /// Waits until a receiver is attached. Sending before that is possible, and fills the ring.
    ///
    /// # Errors
    ///
    /// [`PeerError::Timeout`], [`PeerError::Cancelled`].
    pub fn wait_for_peer(&mut self, deadline: impl Into<Deadline>) -> Result<(), PeerError> {
        self.raw.wait_for_peer(deadline.into())
    }

    /// Whether the pipe is broken: there was a receiver, and now none is alive.
    ///
    /// Sending calls learn of a receiver that was killed when they have found the ring full for an
    /// interval: as long as there is room, values are sent to nobody (and stay for whoever attaches
    /// next). This asks the receivers' locks, by two system calls or so, without waiting.
    /// When it has said `true`, calls say `Closed`, too, unless others come or go. `false` on a
    /// handle that was inherited through `fork`.
    ///
    /// ```
    /// let (mut tx, rx) = ringpipe::spsc::channel::<u32>(8)?;
    /// assert!(!tx.is_closed());
    /// drop(rx); // or its process is killed
    /// assert!(tx.is_closed());
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn is_closed(&mut self) -> bool {
        self.raw.is_closed()
    }

    /// How the receivers went, once a call has said `Closed`; `None` before that, and once another
    /// receiver has come. A receiver that was killed, or whose process exited without dropping its
    /// handle, did not mean to stop reading.
    ///
    /// ```
    /// use ringpipe::{Ending, TrySendError, spsc};
    ///
    /// let (mut tx, rx) = spsc::channel::<u32>(8)?;
    /// std::mem::forget(rx); // as if its process had exited in mid-work…
    /// assert_eq!(tx.ending(), None); // … but this one lives, and so does the end
    ///
    /// let (mut tx, rx) = spsc::channel::<u32>(8)?;
    /// drop(rx);
    /// assert_eq!(tx.try_send(7), Err(TrySendError::Closed(7)));
    /// assert_eq!(tx.ending(), Some(Ending::Closed));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn ending(&self) -> Option<Ending> {
        self.raw.ending()
    }

    /// From now on, says `Closed` also if no receiver has come yet, instead of waiting for the
    /// first as a FIFO does.
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

impl<T: Item> SendHandle<T, Mpmc> {
    /// Attaches another sending end to the same ring, with waiting policy and interval as this
    /// one's and a canceller of its own.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] while all endpoint records are taken; others of [`AttachError`].
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        Ok(Self::new(self.raw.try_clone()?))
    }
}

impl<T: Item> Sealed for SendHandle<T, Mpmc> {}

impl<T: Item> Cloneable for SendHandle<T, Mpmc> {
    fn another(&self) -> Result<Self, AttachError> {
        self.try_clone()
    }

    fn terms(&self) -> Terms {
        self.raw.terms()
    }

    fn renewed(&mut self, terms: &Terms) -> bool {
        self.raw.renew(terms)
    }

    fn keeps_some(&self) -> bool {
        self.raw.end.has_claim()
    }
}

impl<T: Item, K: Kind> fmt::Debug for SendHandle<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHandle")
            .field("ring", &self.ring())
            .field("waiting", &self.raw.waiting)
            .finish_non_exhaustive()
    }
}

/// The error of a call that waits.
pub(super) fn not_sent_in_time<T>(why: Refused, value: T) -> SendTimeoutError<T> {
    match why {
        Refused::Closed => SendTimeoutError::Closed(value),
        // A sender knows no other damage.
        Refused::Corrupt | Refused::Held | Refused::Fragmented(_) => {
            SendTimeoutError::Corrupt(value)
        }
        Refused::NotReady | Refused::Contended => SendTimeoutError::Timeout(value),
        Refused::Forked => SendTimeoutError::Forked(value),
        Refused::Stopped(Stop::Timeout) => SendTimeoutError::Timeout(value),
        Refused::Stopped(Stop::Cancelled) => SendTimeoutError::Cancelled(value),
        Refused::Stopped(Stop::DescriptorLost) => SendTimeoutError::DescriptorLost(value),
    }
}

/// The error of one that waits without a deadline.
pub(super) fn without_deadline<T>(why: SendTimeoutError<T>) -> SendError<T> {
    match why {
        SendTimeoutError::Closed(value) => SendError::Closed(value),
        SendTimeoutError::Cancelled(value) => SendError::Cancelled(value),
        SendTimeoutError::Corrupt(value) => SendError::Corrupt(value),
        SendTimeoutError::Forked(value) => SendError::Forked(value),
        SendTimeoutError::DescriptorLost(value) => SendError::DescriptorLost(value),
        SendTimeoutError::Timeout(_) => unreachable!("never is never"),
    }
}
