//! Receiving several items by one call, claiming them, and discarding all there are.

use super::super::claim::{exactly, gave_up, up_to};
use super::super::item::Item;
use super::super::run::ReadRun;
use super::{Again, RecvHandle};
use crate::error::BulkError;
use crate::ring::{Kind, Refused, Run};
use crate::wait::pace::Deadline;

impl<T: Item, K: Kind> RecvHandle<T, K> {
    /// Receives as many items as there are and `into` has room for, and never waits. Returns how
    /// many: at least one, unless `into` is empty; perhaps fewer if another receiver was faster, or
    /// some were [`Invalid`](BulkError::Invalid);
    /// one, if it had been handed to a receiver that is gone
    /// ([`redeliveries`](Self::redeliveries)).
    ///
    /// # Errors
    ///
    /// [`BulkError::Empty`], [`BulkError::Closed`], [`BulkError::Invalid`], [`BulkError::Corrupt`],
    /// [`BulkError::DescriptorLost`], and on a handle that was inherited through `fork`
    /// [`BulkError::Forked`], also where `into` is empty.
    #[inline]
    pub fn try_recv_slice(&mut self, into: &mut [T]) -> Result<usize, BulkError> {
        let max = up_to(into.len(), &self.raw.end);
        if max == 0 {
            return self.raw.nothing_to_do().map(|()| 0);
        }
        let run = self.raw.claimer().try_claim(self.shape, 1, max).map_err(|e| self.bulk(e))?;
        self.take_slice(run, into, false)
    }

    /// Like [`try_recv_slice`](Self::try_recv_slice), but waits for the first item.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](BulkError::Cancelled), and those of [`try_recv_slice`](Self::try_recv_slice)
    /// but for `Empty`.
    #[inline]
    pub fn recv_slice(&mut self, into: &mut [T]) -> Result<usize, BulkError> {
        self.recv_slice_deadline(into, Deadline::NEVER)
    }

    /// Like [`recv_slice`](Self::recv_slice), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`BulkError::Timeout`], and those of [`recv_slice`](Self::recv_slice).
    #[inline]
    pub fn recv_slice_deadline(
        &mut self,
        into: &mut [T],
        deadline: impl Into<Deadline>,
    ) -> Result<usize, BulkError> {
        let max = up_to(into.len(), &self.raw.end);
        if max == 0 {
            return self.raw.nothing_to_do().map(|()| 0);
        }
        let run =
            self.raw.claimer().claim(self.shape, 1, max, deadline).map_err(|e| self.bulk(e))?;
        self.take_slice(run, into, false)
    }

    /// Fills all of `into` with adjacent items or receives none, and never waits. (If one of them
    /// is [`Invalid`](BulkError::Invalid), all are dropped, and what `into` holds means nothing.)
    ///
    /// # Errors
    ///
    /// [`BulkError::Empty`] if there are not enough, or other receivers were faster again and
    /// again, [`BulkError::Closed`] if there never will be (what is left can be received by
    /// [`try_recv_slice`](Self::try_recv_slice)), [`BulkError::TooLong`] if the ring never holds
    /// that many, [`BulkError::Held`], [`BulkError::Fragmented`] if positions that senders gave up
    /// split a full ring, [`BulkError::Corrupt`].
    #[inline]
    pub fn try_recv_exact(&mut self, into: &mut [T]) -> Result<(), BulkError> {
        let len = exactly(into.len(), &self.raw.end)?;
        if len == 0 {
            return self.raw.nothing_to_do();
        }
        let run = self.raw.claimer().try_claim(self.shape, len, len).map_err(|e| self.bulk(e))?;
        self.take_slice(run, into, true)?;
        Ok(())
    }

    /// Like [`try_recv_exact`](Self::try_recv_exact), but waits until there are enough.
    ///
    /// On an MPMC ring that other receivers keep nearly empty, enough items may never come
    /// together: use a deadline. And another receiver's death may end the wait with
    /// [`BulkError::Held`], since what that one had not released comes first, item by item: a
    /// program that reads records of several items receives those by
    /// [`try_recv_slice`](Self::try_recv_slice) and then goes on.
    ///
    /// # Errors
    ///
    /// Those of [`recv_slice`](Self::recv_slice), [`BulkError::TooLong`], [`BulkError::Held`] and
    /// [`BulkError::Fragmented`].
    #[inline]
    pub fn recv_exact(&mut self, into: &mut [T]) -> Result<(), BulkError> {
        self.recv_exact_deadline(into, Deadline::NEVER)
    }

    /// Like [`recv_exact`](Self::recv_exact), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`BulkError::Timeout`], and those of [`recv_exact`](Self::recv_exact).
    #[inline]
    pub fn recv_exact_deadline(
        &mut self,
        into: &mut [T],
        deadline: impl Into<Deadline>,
    ) -> Result<(), BulkError> {
        let len = exactly(into.len(), &self.raw.end)?;
        if len == 0 {
            return self.raw.nothing_to_do();
        }
        let run =
            self.raw.claimer().claim(self.shape, len, len, deadline).map_err(|e| self.bulk(e))?;
        self.take_slice(run, into, true)?;
        Ok(())
    }

    /// Claims up to `max` items for reading in place, and never waits: see [`ReadRun`]. At least
    /// one, unless `max` is 0.
    ///
    /// # Errors
    ///
    /// Those of [`try_recv_slice`](Self::try_recv_slice) but for `Invalid`. A claim of 0 items
    /// succeeds, whatever the ring is like: a loop over claims is one of at least 1.
    pub fn try_claim(&mut self, max: usize) -> Result<ReadRun<'_, T, K>, BulkError> {
        let max = up_to(max, &self.raw.end);
        if max == 0 {
            self.raw.nothing_to_do()?;
            return Ok(ReadRun::new(&mut self.raw, self.shape, Run::NONE, 0));
        }
        let run = self.raw.claimer().try_claim(self.shape, 1, max).map_err(|e| self.bulk(e))?;
        self.raw.end.hand_out(run);
        Ok(ReadRun::new(&mut self.raw, self.shape, run, max))
    }

    /// Like [`try_claim`](Self::try_claim), but waits for the first item.
    ///
    /// # Errors
    ///
    /// Those of [`recv_slice`](Self::recv_slice).
    pub fn claim(&mut self, max: usize) -> Result<ReadRun<'_, T, K>, BulkError> {
        self.claim_deadline(max, Deadline::NEVER)
    }

    /// Like [`claim`](Self::claim), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`BulkError::Timeout`], and those of [`claim`](Self::claim).
    pub fn claim_deadline(
        &mut self,
        max: usize,
        deadline: impl Into<Deadline>,
    ) -> Result<ReadRun<'_, T, K>, BulkError> {
        let max = up_to(max, &self.raw.end);
        if max == 0 {
            self.raw.nothing_to_do()?;
            return Ok(ReadRun::new(&mut self.raw, self.shape, Run::NONE, 0));
        }
        let run =
            self.raw.claimer().claim(self.shape, 1, max, deadline).map_err(|e| self.bulk(e))?;
        self.raw.end.hand_out(run);
        Ok(ReadRun::new(&mut self.raw, self.shape, run, max))
    }

    /// Discards, unread, all that was sent before this call, and returns how many items that was:
    /// for a receiver that has no use for what was left from yesterday. Items that this receiver
    /// has given back and those of receivers that are dead are among them (unless another end is
    /// just seeing to those). What living receivers
    /// have claimed is theirs, and what others take meanwhile is not counted. Never waits; makes
    /// the system calls of a liveness check. What is discarded counts as
    /// [`dropped`](crate::Stats::dropped).
    ///
    /// What comes first after that was sent after this call began; none of it has been claimed. But
    /// on an MPMC ring items of a claim that a living sender had not published yet come later, however
    /// old the claim, and so may some where other receivers are faster again and again.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<u64>(8)?;
    /// tx.try_send_slice(&[1, 2, 3]).unwrap();
    /// assert_eq!(rx.clear(), Ok(3));
    /// tx.try_send(4).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(4));
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BulkError::Forked`]; [`BulkError::DescriptorLost`] and [`BulkError::Corrupt`], before
    /// anything is discarded, or after some of it.
    pub fn clear(&mut self) -> Result<u64, BulkError> {
        self.raw.nothing_to_do()?;
        self.again = Again::default();
        self.raw.end.clear(&*self.raw.ring).map_err(|e| self.bulk(e))
    }

    /// The error of a call on several items.
    pub(in crate::handles) fn bulk(&self, why: Refused) -> BulkError {
        match why {
            Refused::Held => BulkError::Held { held: self.raw.end.held() as usize },
            why => gave_up(why, BulkError::Empty),
        }
    }
}
