//! A pool of ends, for callers that need to send or receive through a shared reference.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use super::item::Item;
use super::recv::RecvHandle;
use super::send::SendHandle;
use crate::error::AttachError;
use crate::ring::Mpmc;

mod sealed {
    pub trait Sealed {}
}

/// An end of which there can be several: [`Sender`](crate::mpmc::Sender) and
/// [`Receiver`](crate::mpmc::Receiver).
pub trait Cloneable: sealed::Sealed + Send + Sized {
    #[doc(hidden)]
    fn another(&self) -> Result<Self, AttachError>;

    #[doc(hidden)]
    /// Becomes as good as another of `original`. `false`: it cannot.
    fn renewed(&mut self, original: &Self) -> bool;

    #[doc(hidden)]
    /// It keeps slots or items for itself.
    fn keeps_some(&self) -> bool;
}

impl<T: Item> sealed::Sealed for SendHandle<T, Mpmc> {}
impl<T: Item> sealed::Sealed for RecvHandle<T, Mpmc> {}

impl<T: Item> Cloneable for SendHandle<T, Mpmc> {
    fn another(&self) -> Result<Self, AttachError> {
        self.try_clone()
    }

    fn renewed(&mut self, original: &Self) -> bool {
        self.renew(original)
    }

    fn keeps_some(&self) -> bool {
        self.has_claim()
    }
}

impl<T: Item> Cloneable for RecvHandle<T, Mpmc> {
    fn another(&self) -> Result<Self, AttachError> {
        self.try_clone()
    }

    fn renewed(&mut self, original: &Self) -> bool {
        self.renew(original)
    }

    fn keeps_some(&self) -> bool {
        self.has_claim()
    }
}

/// Senders or receivers of one MPMC ring, to be borrowed by any thread: [`Sync`], where a single
/// end is not.
///
/// [`get`](Self::get) takes an idle end or attaches a new one; it goes back to the pool when the
/// borrow ends and stays attached. So the pool grows to as many ends as were ever borrowed at once,
/// beside the one that it was made from, which is kept and not lent, up to the ring's endpoint
/// limit, and closes them all when it is dropped. The lock is held for taking and putting back
/// alone, never while sending or receiving.
///
/// **Borrowers leave nothing to each other.** Each borrowed end waits as the one that the pool was
/// made from does (policy, interval, [`require_peer`](RecvHandle::require_peer)), whatever the
/// borrower before has set, and a [`Canceller`](crate::Canceller) serves for one borrow. An end
/// that keeps items or slots when the borrow ends, because a run was dropped in a panic or
/// forgotten, is closed instead of put back: its items go to other receivers, marked as redelivered
/// ([`ReadRun`](crate::ReadRun)).
///
/// ```
/// use ringpipe::{Pool, mpmc};
///
/// let (tx, mut rx) = mpmc::channel::<u64>(64)?;
/// let pool = Pool::new(tx);
/// std::thread::scope(|scope| {
///     for n in 0..4 {
///         let pool = &pool;
///         scope.spawn(move || pool.get().unwrap().send(n).unwrap());
///     }
/// });
/// drop(pool);
/// assert_eq!(rx.iter().sum::<u64>(), 6);
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
pub struct Pool<H> {
    /// Never borrowed: what new ends are made from, and what keeps this side of the ring open.
    first: Mutex<H>,
    idle: Mutex<Vec<H>>,
}

impl<H: Cloneable> Pool<H> {
    /// A pool that starts from `end`. If that keeps items or slots, it is the first to be lent, and
    /// another takes its place.
    pub fn new(end: H) -> Self {
        Self { first: Mutex::new(end), idle: Mutex::new(Vec::new()) }
    }

    /// Borrows an end.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] if none is idle and the ring has no record left; others of
    /// [`AttachError`].
    pub fn get(&self) -> Result<Pooled<'_, H>, AttachError> {
        // A panic while a lock is held leaves nothing half done: poison says nothing here.
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.keeps_some() {
            let fresh = first.another()?;
            let end = std::mem::replace(&mut *first, fresh);
            return Ok(Pooled { end: Some(end), idle: &self.idle });
        }
        let mut unfit = Vec::new(); // closed without the locks
        let end = loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut end) = idle else { break first.another()? };
            if end.renewed(&first) {
                break end;
            }
            unfit.push(end);
        };
        drop(first);
        Ok(Pooled { end: Some(end), idle: &self.idle })
    }
}

impl<H> fmt::Debug for Pool<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Pool").field("idle", &idle).finish_non_exhaustive()
    }
}

/// An end borrowed from a [`Pool`]; dropping it puts it back.
#[derive(Debug)]
pub struct Pooled<'a, H: Cloneable> {
    /// `None` only while dropping.
    end: Option<H>,
    idle: &'a Mutex<Vec<H>>,
}

impl<H: Cloneable> Deref for Pooled<'_, H> {
    type Target = H;

    fn deref(&self) -> &H {
        self.end.as_ref().expect("there until dropped")
    }
}

impl<H: Cloneable> DerefMut for Pooled<'_, H> {
    fn deref_mut(&mut self) -> &mut H {
        self.end.as_mut().expect("there until dropped")
    }
}

impl<H: Cloneable> Drop for Pooled<'_, H> {
    fn drop(&mut self) {
        // What keeps some is closed.
        if let Some(end) = self.end.take().filter(|end| !end.keeps_some()) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        }
    }
}
