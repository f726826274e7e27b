//! How a handle claims, whichever end of the ring it is: by a fast path, by a slow one that says
//! why nothing was claimed, and by one that waits.

use crate::error::{BulkError, PeerError};
use crate::peers::fork::Image;
use crate::peers::reap::Liveness;
use crate::pipe::{End, polls};
use crate::ring::mem::{Kept, Shape};
use crate::ring::{Kind, Refused, Run};
use crate::sync::spin_loop;
use crate::wait::Stop;
use crate::wait::pace::{Deadline, Waiting, now};

#[cfg(all(test, not(miri)))]
mod tests;

/// Polls before a wait begins: a microsecond or two.
const SOON: u32 = 64;

/// The parts of a handle that a claim takes.
pub(super) struct Claimer<'a, E, D> {
    pub(super) end: &'a mut E,
    pub(super) waiting: &'a mut Waiting,
    pub(super) image: &'a Image,
    pub(super) liveness: &'a D,
}

impl<E: End, D: Liveness> Claimer<'_, E, D> {
    /// The fast path: no system call, no waiting, no clock, and nothing that would force the claim
    /// out of registers.
    #[inline(always)]
    pub(super) fn fast(
        &mut self,
        shape: impl Shape<Kind = E::Kind>,
        need: u64,
        max: u64,
    ) -> Option<Run> {
        if !self.image.is_current() {
            return None;
        }
        let run = self.end.claim_fast(shape, need, max)?;
        self.waiting.timer.looked_well();
        Some(run)
    }

    /// As [`fast`](Self::fast), after a short pause that lets messages coalesce.
    #[inline(always)]
    pub(super) fn fast_coalesced(
        &mut self,
        shape: impl Shape<Kind = E::Kind>,
        need: u64,
        max: u64,
    ) -> Option<Run> {
        self.end.let_coalesce(now);
        self.fast(shape, need, max)
    }

    /// Claims without waiting for others. As with a call that waits, messages of a stream may
    /// coalesce first: whoever polls is to be no slower than whoever blocks.
    #[inline(always)]
    pub(super) fn try_claim(
        mut self,
        shape: impl Shape<Kind = E::Kind>,
        need: u64,
        max: u64,
    ) -> Result<Run, Refused> {
        match self.fast_coalesced(shape, need, max) {
            Some(run) => Ok(run),
            None => self.slow(need, max),
        }
    }

    /// Claims without waiting, or says why not.
    #[cold]
    pub(super) fn slow(mut self, need: u64, max: u64) -> Result<Run, Refused> {
        if !self.image.is_current() {
            return Err(Refused::Forked);
        }
        for _ in 0..self.end.pauses_before_try() {
            spin_loop();
        }
        let tried = self.end.claim_slow(need, max, self.liveness);
        if tried.is_err_and(Refused::is_for_now) {
            // The caller may poll, and is helped as a call that does.
            self.end.waits();
            self.end.prefetch(Kept::shape());
        }
        match tried {
            Ok(_) => self.waiting.timer.looked_well(),
            Err(refused)
                if refused.is_for_now()
                    && (self.end.take_more_to_adopt() || self.waiting.tried_in_vain()) =>
            {
                return self.check(need, max, refused);
            }
            Err(_) => {}
        }
        tried
    }

    /// Makes a liveness check and claims once more; says `otherwise` if that comes to nothing again.
    fn check(&mut self, need: u64, max: u64, otherwise: Refused) -> Result<Run, Refused> {
        let lost = self.end.check_liveness(self.liveness).lost;
        match self.end.claim_slow(need, max, self.liveness) {
            Err(refused) if refused.is_for_now() => {
                Err(if lost { Refused::Stopped(Stop::DescriptorLost) } else { otherwise })
            }
            settled => settled,
        }
    }

    /// Polls for what may come at once, before all that a longer wait takes: an answer from near by
    /// is there earlier than one would be ready to wait for it. Not for room: its lines are left to
    /// the receivers for a while.
    #[inline(always)]
    fn soon(&mut self, shape: impl Shape<Kind = E::Kind>, need: u64, max: u64) -> Option<Run> {
        if !self.end.may_poll() || !self.waiting.spins() {
            return None;
        }
        self.end.waits();
        for _ in 0..SOON.min(polls(max / E::Kind::UNIT)) {
            spin_loop();
            self.end.prefetch(shape);
            if let Some(run) = self.end.claim_fast(shape, need, max) {
                self.waiting.timer.looked_well();
                self.waiting.spun_well();
                return Some(run);
            }
        }
        None
    }

    /// Claims, waiting until `deadline`.
    #[inline(always)]
    pub(super) fn claim(
        mut self,
        shape: impl Shape<Kind = E::Kind>,
        need: u64,
        max: u64,
        deadline: impl Into<Deadline>,
    ) -> Result<Run, Refused> {
        match self.fast_coalesced(shape, need, max) {
            Some(run) => Ok(run),
            None => self.waiting_outlined(shape, need, max, deadline.into()),
        }
    }

    #[cold]
    fn waiting_outlined(
        self,
        shape: impl Shape<Kind = E::Kind>,
        need: u64,
        max: u64,
        deadline: Deadline,
    ) -> Result<Run, Refused> {
        self.waiting(shape, need, max, deadline)
    }

    /// Claims, waiting until `deadline`, or says why not. For cold paths, into which it is inlined:
    /// see [`End::claim_waiting`].
    #[inline]
    pub(super) fn waiting(
        mut self,
        shape: impl Shape<Kind = E::Kind>,
        need: u64,
        max: u64,
        deadline: Deadline,
    ) -> Result<Run, Refused> {
        if !self.image.is_current() {
            return Err(Refused::Forked);
        }
        if let Some(run) = self.soon(shape, need, max) {
            return Ok(run);
        }
        // The full claim first: the fast path may have missed something.
        let tried = self.end.claim_slow(need, max, self.liveness);
        if !tried.is_err_and(Refused::is_for_now) {
            if tried.is_ok() {
                self.waiting.timer.looked_well();
            }
            return tried;
        }
        let mut pace = self.waiting.until(deadline);
        self.end.waits();
        match self.end.claim_waiting(shape, need, max, &mut pace, self.liveness) {
            Ok(run) => {
                self.waiting.timer.looked_well();
                Ok(run)
            }
            // Short waits may never reach a liveness check: if one is due, it is made here.
            Err(stopped @ Refused::Stopped(_)) if self.waiting.tried_in_vain() => {
                self.check(need, max, stopped)
            }
            Err(refused) => Err(refused),
        }
    }
}

/// How many slots a call on `len` items may claim.
#[inline(always)]
pub(super) fn up_to(len: usize, end: &impl End) -> u64 {
    (len as u64).min(end.longest_run())
}

/// The slots of a call that wants `len` items or none.
pub(super) fn exactly(len: usize, end: &impl End) -> Result<u64, BulkError> {
    let most = up_to(usize::MAX, end) as usize;
    if len > most {
        return Err(BulkError::TooLong { len, most });
    }
    Ok(len as u64)
}

/// The error of a call on several items; `not_ready` where nothing was waited for.
pub(super) fn gave_up(why: Refused, not_ready: BulkError) -> BulkError {
    match why {
        Refused::NotReady | Refused::Contended => not_ready,
        Refused::Closed => BulkError::Closed,
        // A sender holds nothing; a receiver says how much.
        Refused::Corrupt | Refused::Held => BulkError::Corrupt,
        Refused::Fragmented(adjacent) => BulkError::Fragmented { adjacent: adjacent as usize },
        Refused::Forked => BulkError::Forked,
        Refused::Stopped(Stop::Timeout) => BulkError::Timeout,
        Refused::Stopped(Stop::Cancelled) => BulkError::Cancelled,
        Refused::Stopped(Stop::DescriptorLost) => BulkError::DescriptorLost,
    }
}

impl From<Stop> for PeerError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Timeout => PeerError::Timeout,
            Stop::Cancelled => PeerError::Cancelled,
            Stop::DescriptorLost => PeerError::DescriptorLost,
        }
    }
}
