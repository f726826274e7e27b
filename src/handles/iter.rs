//! Items of a receiving end as an iterator.

use std::fmt;
use std::iter::FusedIterator;

use super::item::Item;
use super::recv::RecvHandle;
use crate::error::{RecvError, TryRecvError};
use crate::ring::Kind;

impl<T: Item, K: Kind> RecvHandle<T, K> {
    /// Receives again and again, waiting for each item, until end-of-file. Ends also if the handle
    /// is cancelled or the ring corrupt: [`Iter::error`] tells which. After a loop over `&mut rx`,
    /// [`ending`](Self::ending) tells whether it came to the end, and whether a sender has died.
    pub fn iter(&mut self) -> Iter<'_, T, K> {
        Iter { handle: self, error: None }
    }

    /// Receives what is there now, without waiting; ends when nothing is.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::spsc::channel::<u32>(8)?;
    /// tx.try_send_slice(&[1, 2, 3]).unwrap();
    /// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), ringpipe::ChannelError>(())
    /// ```
    pub fn try_iter(&mut self) -> TryIter<'_, T, K> {
        TryIter { handle: self }
    }
}

/// Items as they come, until end-of-file: [`RecvHandle::iter`]. One whose bits make no value is
/// passed over, and counted as [dropped](crate::Stats::dropped).
pub struct Iter<'a, T: Item, K: Kind> {
    handle: &'a mut RecvHandle<T, K>,
    error: Option<RecvError>,
}

impl<T: Item, K: Kind> Iter<'_, T, K> {
    /// Why there are no more items; `None` if there may be. [`RecvHandle::ending`] says whether
    /// `Closed` was the end of the stream, or a crash.
    pub fn error(&self) -> Option<RecvError> {
        self.error
    }
}

impl<T: Item, K: Kind> Iterator for Iter<'_, T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        loop {
            match self.handle.recv() {
                Ok(item) => return Some(item),
                Err(RecvError::Invalid) => {}
                Err(error) => {
                    self.error = Some(error);
                    return None;
                }
            }
        }
    }
}

impl<T: Item, K: Kind> FusedIterator for Iter<'_, T, K> {}

/// Items that are there now: [`RecvHandle::try_iter`]. One whose bits make no value is passed over,
/// and counted as [dropped](crate::Stats::dropped).
pub struct TryIter<'a, T: Item, K: Kind> {
    handle: &'a mut RecvHandle<T, K>,
}

impl<T: Item, K: Kind> Iterator for TryIter<'_, T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        // As many as there can be: a peer may go on sending such.
        for _ in 0..=self.handle.capacity() {
            match self.handle.try_recv() {
                Err(TryRecvError::Invalid) => {}
                received => return received.ok(),
            }
        }
        None
    }
}

impl<'a, T: Item, K: Kind> IntoIterator for &'a mut RecvHandle<T, K> {
    type Item = T;
    type IntoIter = Iter<'a, T, K>;

    fn into_iter(self) -> Iter<'a, T, K> {
        self.iter()
    }
}

impl<T: Item, K: Kind> fmt::Debug for Iter<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T: Item, K: Kind> fmt::Debug for TryIter<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryIter").finish_non_exhaustive()
    }
}
