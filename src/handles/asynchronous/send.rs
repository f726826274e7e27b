//! Sending ends.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use super::super::claim::up_to;
use super::super::messages::{self, Messages, Reserved};
use super::super::run::WriteRun;
use super::super::send::{SendHandle, bulk, not_sent_in_time, without_deadline};
use super::{Async, Claim};
use crate::Item;
use crate::error::{BulkError, MessageError, SendError};
use crate::pipe::SendEnd;
use crate::ring::mem::{Fixed, Kept};
use crate::ring::{Kind, Run};

impl<T: Item, K: Kind> Async<SendHandle<T, K>> {
    fn room(&mut self, max: u64) -> Claim<'_, SendEnd<K>, Fixed<T, K>> {
        let Self { handle, waits, .. } = self;
        Claim { shape: handle.shape, raw: &mut handle.raw, waits, slots: (1, max) }
    }

    /// Sends, waiting for a free slot while the ring is full and there is a receiver or none has come
    /// yet. The value is gone if the future is dropped: see [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// As [`SendHandle::send`]. The value comes back.
    pub async fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        match self.room(1).await {
            Ok(run) => {
                self.handle.put(run, &value);
                Ok(())
            }
            Err(why) => Err(without_deadline(not_sent_in_time(why, value))),
        }
    }

    /// Waits for a free slot and claims it, for a value that is then sent without waiting.
    ///
    /// On an MPMC ring what others send meanwhile waits behind it: send soon.
    ///
    /// # Errors
    ///
    /// As [`SendHandle::claim`].
    pub async fn reserve(&mut self) -> Result<Permit<'_, T, K>, BulkError> {
        Ok(Permit(self.claim(1).await?))
    }

    /// Sends as many of `values` as there are free slots, waiting for the first: see
    /// [`SendHandle::send_slice`].
    ///
    /// # Errors
    ///
    /// As [`SendHandle::send_slice`].
    pub async fn send_slice(&mut self, values: &[T]) -> Result<usize, BulkError> {
        let max = up_to(values.len(), &self.handle.raw.end);
        if max == 0 {
            return self.handle.raw.nothing_to_do().map(|()| 0);
        }
        let run = self.room(max).await.map_err(bulk)?;
        Ok(self.handle.put_slice(run, values))
    }

    /// Claims up to `max` free slots for writing in place, waiting for the first: see
    /// [`SendHandle::claim`].
    ///
    /// # Errors
    ///
    /// As [`SendHandle::claim`].
    pub async fn claim(&mut self, max: usize) -> Result<WriteRun<'_, T, K>, BulkError> {
        let run = match up_to(max, &self.handle.raw.end) {
            0 => self.handle.raw.nothing_to_do().map(|()| Run::NONE)?,
            slots => {
                let run = self.room(slots).await.map_err(bulk)?;
                self.handle.raw.end.pass_on();
                run
            }
        };
        Ok(WriteRun::new(&mut self.handle.raw, self.handle.shape, run))
    }

    /// Sends what the sink has taken, if there is room for it.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let Self { handle, waits, taken, .. } = self;
        let Some(value) = *taken else { return Poll::Ready(Ok(())) };
        let claimed = ready!(waits.poll(&mut handle.raw, handle.shape, (1, 1), cx));
        *taken = None;
        Poll::Ready(match claimed {
            Ok(run) => {
                handle.put(run, &value);
                Ok(())
            }
            Err(why) => Err(without_deadline(not_sent_in_time(why, value))),
        })
    }
}

/// The sink has room for one value, which is sent when the next one comes, or by a flush; it is lost if
/// the end is dropped before. What [`send`](Async::send) sends meanwhile overtakes it.
impl<T: Item + Unpin, K: Kind> Sink<T> for Async<SendHandle<T, K>> {
    type Error = SendError<T>;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_taken(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), SendError<T>> {
        assert!(self.taken.is_none(), "`start_send` without `poll_ready`");
        self.taken = Some(value);
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_taken(cx)
    }

    /// Flushes. The end is closed when it is dropped.
    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_taken(cx)
    }
}

/// A slot that is claimed for one value: [`Async::reserve`]. Dropping it gives the slot up.
#[must_use = "dropping it gives the slot up"]
pub struct Permit<'a, T: Item, K: Kind>(WriteRun<'a, T, K>);

impl<T: Item, K: Kind> Permit<'_, T, K> {
    /// Sends the value. Does not wait, and cannot fail. (In a child that was forked meanwhile it does
    /// nothing.)
    pub fn send(mut self, value: T) {
        self.0.write(0, value);
        self.0.commit(1);
    }
}

impl<T: Item, K: Kind> fmt::Debug for Permit<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl<K: Messages> Async<messages::Sender<K>> {
    async fn room(&mut self, len: usize) -> Result<Run, MessageError> {
        let slots = self.handle.slots(len)?;
        let Self { handle, waits, .. } = self;
        let shape = Kept::shape();
        let claim = Claim { shape, raw: &mut handle.raw, waits, slots: (slots, slots) };
        claim.await.map_err(|why| messages::gave_up(why, MessageError::Full))
    }

    /// Sends a message, waiting for room: see [`Sender::send`](messages::Sender::send).
    ///
    /// # Errors
    ///
    /// As [`Sender::send`](messages::Sender::send).
    pub async fn send(&mut self, message: &[u8]) -> Result<(), MessageError> {
        let run = self.room(message.len()).await?;
        self.handle.put(run, message);
        Ok(())
    }

    /// Reserves room for a message of up to `most` bytes, waiting for it: see
    /// [`Sender::reserve`](messages::Sender::reserve).
    ///
    /// # Errors
    ///
    /// As [`Sender::reserve`](messages::Sender::reserve).
    pub async fn reserve(&mut self, most: usize) -> Result<Reserved<'_, K>, MessageError> {
        let run = self.room(most).await?;
        self.handle.raw.end.pass_on();
        Ok(Reserved::new(&mut self.handle.raw, run, most))
    }
}
