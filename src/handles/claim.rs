//! How a handle claims, whichever end of the ring it is: at once, properly, or after a wait.

use crate::error::BulkError;
use crate::peers::fork::Image;
use crate::peers::reap::Liveness;
use crate::pipe::{End, GaveUp, Refused};
use crate::ring::{MAX_RUN, Run};
use crate::wait::pace::{Deadline, Waiting, now};

#[cfg(all(test, not(miri)))]
mod tests;

/// The parts of a handle that a claim takes.
pub(super) struct Claimer<'a, E, D> {
    pub(super) end: &'a mut E,
    pub(super) waiting: &'a mut Waiting,
    pub(super) image: &'a Image,
    pub(super) liveness: &'a D,
}

impl<E: End, D: Liveness> Claimer<'_, E, D> {
    /// The path of a call that finds all as it mostly is: no calls, no waiting, no clock, and
    /// nothing that would force the claim out of registers.
    #[inline(always)]
    pub(super) fn at_once(&mut self, need: u64, max: u64) -> Option<Run> {
        if !self.image.is_current() {
            return None;
        }
        let run = self.end.claim_at_once(need, max)?;
        self.waiting.looked_well();
        Some(run)
    }

    /// The same for a call that has time to wait.
    #[inline(always)]
    pub(super) fn soon(&mut self, need: u64, max: u64) -> Option<Run> {
        self.end.let_coalesce(now);
        self.at_once(need, max)
    }

    /// Claims without waiting.
    #[inline(always)]
    pub(super) fn now(mut self, need: u64, max: u64) -> Result<Run, Refused> {
        match self.at_once(need, max) {
            Some(run) => Ok(run),
            None => self.check(need, max),
        }
    }

    /// Claims without waiting, or says why not.
    #[cold]
    pub(super) fn check(self, need: u64, max: u64) -> Result<Run, Refused> {
        if !self.image.is_current() {
            return Err(Refused::Forked);
        }
        let mut tried = self.end.try_claim(need, max, self.liveness);
        if tried == Err(Refused::NotReady)
            && (self.end.take_more_to_adopt() || self.waiting.tried_in_vain())
        {
            let lost = self.end.check_liveness(self.liveness).lost;
            tried = self.end.try_claim(need, max, self.liveness);
            if lost && tried == Err(Refused::NotReady) {
                tried = Err(Refused::DescriptorLost);
            }
        } else if tried.is_ok() {
            self.waiting.looked_well();
        }
        tried
    }

    /// Claims, waiting until `deadline`.
    #[inline(always)]
    pub(super) fn until(
        mut self,
        need: u64,
        max: u64,
        deadline: impl Into<Deadline>,
    ) -> Result<Run, GaveUp> {
        match self.soon(need, max) {
            Some(run) => Ok(run),
            None => self.outlined(need, max, deadline.into()),
        }
    }

    #[cold]
    fn outlined(self, need: u64, max: u64, deadline: Deadline) -> Result<Run, GaveUp> {
        self.waiting(need, max, deadline)
    }

    /// Claims, waiting until `deadline`, or says why not. For cold paths, into which it is inlined:
    /// see [`End::claim_waiting`].
    #[inline]
    pub(super) fn waiting(self, need: u64, max: u64, deadline: Deadline) -> Result<Run, GaveUp> {
        if !self.image.is_current() {
            return Err(GaveUp::Forked);
        }
        // Properly first: there may be nothing to wait for but what a fast look does not see.
        let mut claimed = self.end.try_claim(need, max, self.liveness).map_err(GaveUp::from);
        if claimed == Err(GaveUp::NotReady) {
            let mut pace = self.waiting.until(deadline);
            self.end.waits();
            claimed = self.end.claim_waiting(need, max, &mut pace, self.liveness);
        }
        match claimed {
            Ok(_) => self.waiting.looked_well(),
            // The wait may have been too short for a liveness check, and the next one be as short.
            Err(GaveUp::Stopped(stop)) if self.waiting.tried_in_vain() => {
                let lost = self.end.check_liveness(self.liveness).lost;
                claimed = match self.end.try_claim(need, max, self.liveness) {
                    Err(Refused::NotReady) if lost => Err(Refused::DescriptorLost.into()),
                    Err(Refused::NotReady) => Err(GaveUp::Stopped(stop)),
                    settled => settled.map_err(GaveUp::from),
                };
            }
            Err(_) => {}
        }
        claimed
    }
}

/// How many slots a call on `len` items may claim.
#[inline(always)]
pub(super) fn up_to(len: usize, end: &impl End) -> u64 {
    (len as u64).min(end.capacity()).min(MAX_RUN)
}

/// The slots of a call that wants `len` items or none.
pub(super) fn exactly(len: usize, end: &impl End) -> Result<u64, BulkError> {
    let most = up_to(usize::MAX, end) as usize;
    if len > most {
        return Err(BulkError::TooLong { len, most });
    }
    Ok(len as u64)
}
