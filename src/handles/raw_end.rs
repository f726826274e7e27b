//! An end of a ring in this process, whatever its elements are.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::cancel::Canceller;
use super::claim::Claimer;
use super::raw_ring::RawRing;
use crate::attach::{self, Endpoint};
use crate::error::{AttachError, BulkError, PeerError};
use crate::peers::endings::Ending;
use crate::peers::ends::Ends;
use crate::peers::fork::Image;
use crate::peers::hold::{Asking, Hold};
use crate::peers::table::Role;
use crate::pipe::{End, RecvEnd, SendEnd};
use crate::ring::mem::Shape;
use crate::ring::{Kind, Run};
use crate::wait::pace::{Deadline, WaitPolicy, Waiting};

/// An end that is attached until it is dropped.
pub(super) struct RawEnd<E: End> {
    pub(super) end: E,
    pub(super) waiting: Waiting,
    /// `None` only while dropping.
    endpoint: Option<Endpoint<Hold>>,
    pub(super) ring: Arc<RawRing>,
    image: Image,
    /// `Send`, not `Sync`: one record holds one claim at a time.
    not_sync: PhantomData<Cell<()>>,
}

/// What the ends of a pool have in common.
pub struct Terms {
    ring: Arc<RawRing>,
    policy: WaitPolicy,
    interval: Duration,
    requires_peer: bool,
    image: Image,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").finish_non_exhaustive()
    }
}

impl Terms {
    /// They are this process's own, rather than inherited through `fork`.
    pub(super) fn are_current(&self) -> bool {
        self.image.is_current()
    }

    /// What is said where they are not.
    pub(super) fn forked(&self) -> AttachError {
        self.ring.forked()
    }
}

impl<K: Kind> RawEnd<SendEnd<K>> {
    /// Attaches one. `original`: what the end to be cloned knows of its peers.
    pub(super) fn sender(
        ring: &Arc<RawRing>,
        original: Option<&Ends>,
    ) -> Result<Self, AttachError> {
        let attach = |asking: &mut Asking| {
            attach::sender(ring.mem::<K>(), &**ring, original, || asking.again())
        };
        let (end, endpoint) = ring.attach(Role::Sender, attach)?;
        Ok(Self::new(ring, endpoint, end))
    }

    /// Another such end, that waits as this one does and has a canceller of its own.
    pub(super) fn try_clone(&self) -> Result<Self, AttachError> {
        Ok(Self::sender(&self.ring, Some(&self.end.ends))?.waiting_as(&self.waiting))
    }

    /// Publishes the first `items` slots of a run that a [`WriteRun`](super::run::WriteRun) has.
    pub(super) fn publish(&mut self, shape: impl Shape<Kind = K>, run: Run, items: u64) {
        if self.is_current() {
            self.end.publish(shape, run, items);
        }
    }
}

impl<K: Kind> RawEnd<RecvEnd<K>> {
    /// Attaches one. `original`: what the end to be cloned knows of its peers.
    pub(super) fn receiver(
        ring: &Arc<RawRing>,
        original: Option<&Ends>,
    ) -> Result<Self, AttachError> {
        let attach = |asking: &mut Asking| {
            attach::receiver(ring.mem::<K>(), &**ring, original, || asking.again())
        };
        let (end, endpoint) = ring.attach(Role::Receiver, attach)?;
        Ok(Self::new(ring, endpoint, end))
    }

    /// Another such end, that waits as this one does and has a canceller of its own.
    pub(super) fn try_clone(&self) -> Result<Self, AttachError> {
        Ok(Self::receiver(&self.ring, Some(&self.end.ends))?.waiting_as(&self.waiting))
    }

    /// Releases the first `items` items of a run that a [`ReadRun`](super::run::ReadRun) has.
    pub(super) fn release(&mut self, shape: impl Shape<Kind = K>, run: Run, items: u64) {
        if self.is_current() {
            self.end.release(shape, run, items);
        }
    }
}

impl<E: End> RawEnd<E> {
    fn new(ring: &Arc<RawRing>, endpoint: Endpoint<Hold>, end: E) -> Self {
        Self {
            end,
            waiting: Waiting::new(),
            image: endpoint.hold.image(),
            endpoint: Some(endpoint),
            ring: Arc::clone(ring),
            not_sync: PhantomData,
        }
    }

    fn waiting_as(mut self, other: &Waiting) -> Self {
        self.waiting.wait_as(other.policy, other.timer.interval());
        self
    }

    /// What its clones take over.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            ring: Arc::clone(&self.ring),
            policy: self.waiting.policy,
            interval: self.waiting.timer.interval(),
            requires_peer: self.end.known().requires(),
            image: self.image,
        }
    }

    /// From now on waits as a clone of the end with these terms would, and keeps what it has learnt of
    /// its peers. `false`: it cannot, and is unchanged.
    pub(super) fn renew(&mut self, terms: &Terms) -> bool {
        let fit = Arc::ptr_eq(&self.ring, &terms.ring)
            && self.end.known().requires() == terms.requires_peer
            && self.is_current()
            && !self.end.has_claim();
        if fit {
            self.waiting.wait_as(terms.policy, terms.interval);
        }
        fit
    }

    /// How the ends of the other role went.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.end.known().ending(&self.ring.words)
    }

    /// Lends the parts that a claim needs.
    #[inline(always)]
    pub(super) fn claimer(&mut self) -> Claimer<'_, E, RawRing> {
        let Self { end, waiting, image, ring, .. } = self;
        Claimer { end, waiting, image, liveness: ring }
    }

    /// The process that it belongs to.
    #[cfg(feature = "async")]
    pub(super) fn image(&self) -> Image {
        self.image
    }

    /// The handle is this process's own.
    #[inline(always)]
    pub(super) fn is_current(&self) -> bool {
        self.image.is_current()
    }

    /// What a call says that was asked for nothing.
    pub(super) fn nothing_to_do(&self) -> Result<(), BulkError> {
        if self.is_current() { Ok(()) } else { Err(BulkError::Forked) }
    }

    /// For those who borrow its slots: panics unless the handle is this process's own.
    pub(super) fn assert_current(&self) {
        assert!(self.is_current(), "the handle of a run belongs to the process that forked");
    }

    /// Waits until an end of the other role is attached.
    pub(super) fn wait_for_peer(&mut self, deadline: Deadline) -> Result<(), PeerError> {
        if !self.is_current() {
            return Err(PeerError::Forked);
        }
        let mut pace = self.waiting.until(deadline);
        self.end.wait_for_peer(&mut pace, &*self.ring).map_err(PeerError::from)
    }

    /// Ends of the other role were there, and none is alive.
    pub(super) fn is_closed(&mut self) -> bool {
        self.is_current() && self.end.is_closed(&*self.ring)
    }

    /// For others, to cancel its waiting.
    pub(super) fn canceller(&self) -> Canceller {
        let RawRing { words, region, .. } = &*self.ring;
        let role = E::OPPOSITE.opposite();
        Canceller::new(self.waiting.cancel_flag(), &words.control, role, &region.map)
    }
}

impl<E: End> Drop for RawEnd<E> {
    fn drop(&mut self) {
        if !self.is_current() {
            return; // the record is the parent's
        }
        let abandon = self.end.leave();
        if let Some(endpoint) = self.endpoint.take() {
            self.ring.detach(endpoint, abandon);
        }
    }
}
