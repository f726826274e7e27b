//! Sending several items by one call, and claiming slots for them.

use super::super::claim::{exactly, gave_up, up_to};
use super::super::item::Item;
use super::super::run::WriteRun;
use super::SendHandle;
use crate::error::{BulkError, SendAllError};
use crate::ring::{Kind, Refused, Run};
use crate::wait::pace::Deadline;

impl<T: Item, K: Kind> SendHandle<T, K> {
    /// Sends as many of `values` as there are free slots, from the first on, and never waits. They
    /// are claimed in one step and adjacent; on an SPSC ring they are published in one step, too,
    /// on an MPMC ring one after the other. Returns how many: at least one, unless `values` is
    /// empty; perhaps fewer than there was room for if another sender was faster.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<u8>(4)?;
    /// assert_eq!(tx.try_send_slice(b"abcdef"), Ok(4));
    /// let mut buffer = [0; 16];
    /// assert_eq!(rx.try_recv_slice(&mut buffer), Ok(4));
    /// assert_eq!(&buffer[..4], b"abcd");
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BulkError::Full`], [`BulkError::Closed`], [`BulkError::Corrupt`],
    /// [`BulkError::DescriptorLost`], and on a handle that was inherited through `fork`
    /// [`BulkError::Forked`], also where `values` is empty.
    #[inline]
    pub fn try_send_slice(&mut self, values: &[T]) -> Result<usize, BulkError> {
        let max = up_to(values.len(), &self.raw.end);
        if max == 0 {
            return self.raw.nothing_to_do().map(|()| 0);
        }
        let run = self.raw.claimer().try_claim(self.shape, 1, max).map_err(bulk)?;
        Ok(self.put_slice(run, values))
    }

    /// Like [`try_send_slice`](Self::try_send_slice), but waits for the first free slot. To send
    /// all, however often that has to wait: [`send_all`](Self::send_all).
    ///
    /// # Errors
    ///
    /// [`Cancelled`](BulkError::Cancelled), and those of [`try_send_slice`](Self::try_send_slice)
    /// but for `Full`.
    #[inline]
    pub fn send_slice(&mut self, values: &[T]) -> Result<usize, BulkError> {
        self.send_slice_deadline(values, Deadline::NEVER)
    }

    /// Like [`send_slice`](Self::send_slice), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`BulkError::Timeout`], and those of [`send_slice`](Self::send_slice).
    #[inline]
    pub fn send_slice_deadline(
        &mut self,
        values: &[T],
        deadline: impl Into<Deadline>,
    ) -> Result<usize, BulkError> {
        let max = up_to(values.len(), &self.raw.end);
        if max == 0 {
            return self.raw.nothing_to_do().map(|()| 0);
        }
        let run = self.raw.claimer().claim(self.shape, 1, max, deadline).map_err(bulk)?;
        Ok(self.put_slice(run, values))
    }

    /// Sends all of `values`, in order, and waits for free slots as often as that takes. On an MPMC
    /// ring, other senders' items may come in between, as between those of several calls.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<u32>(4)?;
    /// let values: Vec<u32> = (1..=100).collect();
    /// let sum = std::thread::spawn(move || rx.iter().sum::<u32>());
    /// tx.send_all(&values)?; // more than the ring ever holds
    /// drop(tx);
    /// assert_eq!(sum.join().unwrap(), 5050);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendAllError`], which says how many have been sent, and why the others were not: one of
    /// the errors of [`send_slice`](Self::send_slice).
    #[inline]
    pub fn send_all(&mut self, values: &[T]) -> Result<(), SendAllError<BulkError>> {
        self.send_all_deadline(values, Deadline::NEVER)
    }

    /// Like [`send_all`](Self::send_all), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`send_all`](Self::send_all), also for [`BulkError::Timeout`].
    pub fn send_all_deadline(
        &mut self,
        values: &[T],
        deadline: impl Into<Deadline>,
    ) -> Result<(), SendAllError<BulkError>> {
        let (deadline, mut sent) = (deadline.into(), 0);
        loop {
            match self.send_slice_deadline(&values[sent..], deadline) {
                Ok(more) => sent += more,
                Err(why) => return Err(SendAllError { sent, why }),
            }
            if sent == values.len() {
                return Ok(());
            }
        }
    }

    /// Sends all of `values` in adjacent positions, or none of them, and never waits.
    ///
    /// # Errors
    ///
    /// [`BulkError::Full`] if not all fit, or other senders were faster again and again,
    /// [`BulkError::TooLong`] if they never can, and those of
    /// [`try_send_slice`](Self::try_send_slice).
    #[inline]
    pub fn try_send_exact(&mut self, values: &[T]) -> Result<(), BulkError> {
        let len = exactly(values.len(), &self.raw.end)?;
        if len == 0 {
            return self.raw.nothing_to_do();
        }
        let run = self.raw.claimer().try_claim(self.shape, len, len).map_err(bulk)?;
        self.put_slice(run, values);
        Ok(())
    }

    /// Like [`try_send_exact`](Self::try_send_exact), but waits until all fit.
    ///
    /// On an MPMC ring that others keep nearly full, or very busy, the free slots for a long slice
    /// may never be had together: use a deadline.
    ///
    /// # Errors
    ///
    /// [`BulkError::TooLong`] if they never can fit, and those of [`send_slice`](Self::send_slice).
    #[inline]
    pub fn send_exact(&mut self, values: &[T]) -> Result<(), BulkError> {
        self.send_exact_deadline(values, Deadline::NEVER)
    }

    /// Like [`send_exact`](Self::send_exact), until `deadline`.
    ///
    /// # Errors
    ///
    /// [`BulkError::Timeout`], and those of [`send_exact`](Self::send_exact).
    #[inline]
    pub fn send_exact_deadline(
        &mut self,
        values: &[T],
        deadline: impl Into<Deadline>,
    ) -> Result<(), BulkError> {
        let len = exactly(values.len(), &self.raw.end)?;
        if len == 0 {
            return self.raw.nothing_to_do();
        }
        let run = self.raw.claimer().claim(self.shape, len, len, deadline).map_err(bulk)?;
        self.put_slice(run, values);
        Ok(())
    }

    /// Claims up to `max` free slots for writing in place, and never waits: see [`WriteRun`]. At
    /// least one, unless `max` is 0.
    ///
    /// # Errors
    ///
    /// [`BulkError::Full`] if there is not one, and those of
    /// [`try_send_slice`](Self::try_send_slice). A claim of 0 slots succeeds, whatever the ring is
    /// like.
    pub fn try_claim(&mut self, max: usize) -> Result<WriteRun<'_, T, K>, BulkError> {
        let max = up_to(max, &self.raw.end);
        if max == 0 {
            self.raw.nothing_to_do()?;
            return Ok(WriteRun::new(&mut self.raw, self.shape, Run::NONE));
        }
        let run = self.raw.claimer().try_claim(self.shape, 1, max).map_err(bulk)?;
        self.raw.end.pass_on();
        Ok(WriteRun::new(&mut self.raw, self.shape, run))
    }

    /// Like [`try_claim`](Self::try_claim), but waits for the first free slot.
    ///
    /// # Errors
    ///
    /// Those of [`send_slice`](Self::send_slice).
    pub fn claim(&mut self, max: usize) -> Result<WriteRun<'_, T, K>, BulkError> {
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
    ) -> Result<WriteRun<'_, T, K>, BulkError> {
        let max = up_to(max, &self.raw.end);
        if max == 0 {
            self.raw.nothing_to_do()?;
            return Ok(WriteRun::new(&mut self.raw, self.shape, Run::NONE));
        }
        let run = self.raw.claimer().claim(self.shape, 1, max, deadline).map_err(bulk)?;
        self.raw.end.pass_on();
        Ok(WriteRun::new(&mut self.raw, self.shape, run))
    }

    /// Sends all of `values`, some, if there is room for them at once.
    #[inline(always)]
    pub(in super::super) fn sends_at_once(&mut self, values: &[T]) -> bool {
        let len = values.len() as u64;
        let run = self.raw.claimer().fast_coalesced(self.shape, len, len);
        run.map(|run| self.put_slice(run, values)).is_some()
    }

    #[inline(always)]
    pub(in crate::handles) fn put_slice(&mut self, run: Run, values: &[T]) -> usize {
        let sent = run.items as usize;
        self.raw.end.mem.view(self.shape).write_run(run.at, &values[..sent]);
        self.raw.end.publish(self.shape, run, run.items);
        sent
    }
}

/// The error of a call on several items.
pub(in crate::handles) fn bulk(why: Refused) -> BulkError {
    gave_up(why, BulkError::Full)
}
