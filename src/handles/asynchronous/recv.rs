//! Receiving ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};

use super::super::claim::up_to;
use super::super::messages::{self, Messages, ReadMessages, gave_up};
use super::super::recv::{RecvHandle, not_received_in_time, without_deadline};
use super::super::run::ReadRun;
use super::{Async, Claim};
use crate::Item;
use crate::error::{BulkError, MessageError, RecvError};
use crate::pipe::RecvEnd;
use crate::ring::mem::{Fixed, Kept};
use crate::ring::{Kind, Refused, Run};

impl<T: Item, K: Kind> Async<RecvHandle<T, K>> {
    fn claimed(&mut self, max: u64) -> Claim<'_, RecvEnd<K>, Fixed<T::Bits, K>> {
        let Self { handle, waits, .. } = self;
        Claim { shape: handle.shape, raw: &mut handle.raw, waits, slots: (1, max) }
    }

    /// Receives, waiting for an item while the ring is empty and there is a sender or none has come
    /// yet.
    ///
    /// # Errors
    ///
    /// As [`RecvHandle::recv`].
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let claimed = self.claimed(1).await;
        self.received(claimed)
    }

    fn received(&mut self, claimed: Result<Run, Refused>) -> Result<T, RecvError> {
        let received = claimed.and_then(|run| self.handle.take(run));
        let received = received.map_err(not_received_in_time).map_err(without_deadline)?;
        received.ok_or(RecvError::Invalid)
    }

    /// Receives into memory that is there: see [`RecvHandle::recv_into`].
    ///
    /// # Errors
    ///
    /// As [`RecvHandle::recv_into`].
    pub async fn recv_into(&mut self, into: &mut T) -> Result<(), RecvError> {
        let claimed = self.claimed(1).await;
        let received = claimed.and_then(|run| self.handle.take_into(run, into));
        let received = received.map_err(not_received_in_time).map_err(without_deadline)?;
        received.then_some(()).ok_or(RecvError::Invalid)
    }

    /// Receives as many items as there are and `into` has room for, waiting for the first: see
    /// [`RecvHandle::recv_slice`].
    ///
    /// # Errors
    ///
    /// As [`RecvHandle::recv_slice`].
    pub async fn recv_slice(&mut self, into: &mut [T]) -> Result<usize, BulkError> {
        let max = up_to(into.len(), &self.handle.raw.end);
        if max == 0 {
            return self.handle.raw.nothing_to_do().map(|()| 0);
        }
        let claimed = self.claimed(max).await;
        let run = claimed.map_err(|why| self.handle.bulk(why))?;
        self.handle.take_slice(run, into, false)
    }

    /// Claims up to `max` items for reading in place, waiting for the first: see
    /// [`RecvHandle::claim`].
    ///
    /// # Errors
    ///
    /// As [`RecvHandle::claim`].
    pub async fn claim(&mut self, max: usize) -> Result<ReadRun<'_, T, K>, BulkError> {
        let slots = up_to(max, &self.handle.raw.end);
        let run = match slots {
            0 => self.handle.raw.nothing_to_do().map(|()| Run::NONE)?,
            slots => {
                let claimed = self.claimed(slots).await;
                let run = claimed.map_err(|why| self.handle.bulk(why))?;
                self.handle.raw.end.hand_out(run);
                run
            }
        };
        Ok(ReadRun::new(&mut self.handle.raw, self.handle.shape, run, slots))
    }

    /// Polls for an item; the task is woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let Self { handle, waits, .. } = self;
        let claimed = ready!(waits.poll(&mut handle.raw, handle.shape, (1, 1), cx));
        Poll::Ready(self.received(claimed))
    }
}

/// Items as they come, until end-of-file. An error is an item of the stream, and its last one, but for
/// [`RecvError::Invalid`]: an item whose bits make no value is followed by others. A stream that has
/// ended stays so, though [`recv`](Async::recv) may receive more, from another sender say.
///
/// While it is not polled it keeps its place among the tasks that wait. A wake that it had is not
/// lost, but another receiver may get it an interval later: drop it, or poll it, or use
/// [`recv`](Async::recv), whose future passes the wake on when it is dropped.
impl<T: Item, K: Kind> Stream for Async<RecvHandle<T, K>> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let received = ready!(self.poll_recv(cx));
        self.ended = !matches!(received, Ok(_) | Err(RecvError::Invalid));
        Poll::Ready(Some(received).filter(|received| !matches!(received, Err(RecvError::Closed))))
    }
}

impl<T: Item, K: Kind> FusedStream for Async<RecvHandle<T, K>> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<K: Messages> Async<messages::Receiver<K>> {
    fn claimed(&mut self, max: u64) -> Claim<'_, RecvEnd<K>, Kept<K>> {
        let Self { handle, waits, .. } = self;
        Claim { shape: Kept::shape(), raw: &mut handle.raw, waits, slots: (1, max) }
    }

    /// Receives a message into `into`, in place of what was there, waiting for one: see
    /// [`Receiver::recv`](messages::Receiver::recv).
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`](messages::Receiver::recv).
    pub async fn recv(&mut self, into: &mut Vec<u8>) -> Result<(), MessageError> {
        let run = self.claimed(1).await.map_err(not_received)?;
        self.handle.take_to(run, into)
    }

    /// Receives into memory that is there, and says how long the message is: see
    /// [`Receiver::recv_into`](messages::Receiver::recv_into).
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_into`](messages::Receiver::recv_into).
    pub async fn recv_into(&mut self, into: &mut [u8]) -> Result<usize, MessageError> {
        let run = self.claimed(1).await.map_err(not_received)?;
        self.handle.take_into(run, into)
    }

    /// Claims up to `max` messages, waiting for the first: see
    /// [`Receiver::claim`](messages::Receiver::claim).
    ///
    /// # Errors
    ///
    /// As [`Receiver::claim`](messages::Receiver::claim).
    pub async fn claim(&mut self, max: usize) -> Result<ReadMessages<'_, K>, MessageError> {
        let most = self.handle.most(max);
        let run = self.claimed(most).await.map_err(not_received)?;
        self.handle.raw.end.hand_out(run);
        Ok(ReadMessages::new(&mut self.handle.raw, run, max))
    }
}

/// The error of a call for messages.
fn not_received(why: Refused) -> MessageError {
    gave_up(why, MessageError::Empty)
}
