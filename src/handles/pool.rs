//! A pool of ends, for callers that need to send or receive through a shared reference.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::raw_end::Terms;
use crate::error::AttachError;

pub(super) mod sealed {
    pub trait Sealed {}
}

/// An end of which there can be several: [`Sender`](crate::mpmc::Sender) and
/// [`Receiver`](crate::mpmc::Receiver), of values and of
/// [messages](crate::messages::mpmc).
pub trait Cloneable: sealed::Sealed + Send + Sized {
    #[doc(hidden)]
    fn another(&self) -> Result<Self, AttachError>;

    #[doc(hidden)]
    /// What all ends of the pool have in common.
    fn terms(&self) -> Terms;

    #[doc(hidden)]
    /// Becomes as good as another of the end with these terms. `false`: it cannot.
    fn renewed(&mut self, terms: &Terms) -> bool;

    #[doc(hidden)]
    /// It keeps slots or items for itself.
    fn keeps_some(&self) -> bool;
}

/// Senders or receivers of one MPMC ring, to be borrowed by any thread: [`Sync`], where a single
/// end is not.
///
/// [`get`](Self::get) takes an idle end or attaches a new one; it goes back to the pool when the
/// borrow ends and stays attached. So the pool grows to as many ends as were ever borrowed at once,
/// beside the one that it was made from, which is kept and not lent, up to the ring's endpoint
/// limit, and closes them all when it is dropped. Its locks are held for taking and putting back,
/// and, by one borrower at a time, for attaching; never while sending or receiving.
///
/// **Borrowers leave nothing to each other.** Each borrowed end waits as the one that the pool was
/// made from does (policy, interval, [`require_peer`](crate::RecvHandle::require_peer)), whatever the
/// borrower before has set, and a [`Canceller`](crate::Canceller) serves for one borrow. An end that
/// keeps items or slots when the borrow ends is closed instead of put back, so that its items go to
/// other receivers, marked as redelivered: that of a run that was not released whole
/// ([`ReadRun`](crate::ReadRun)) or not committed, and that of one who has received some of the items
/// that a dead receiver had left, and not all. What an end knows of its peers stays with it:
/// [`ending`](crate::RecvHandle::ending) may tell of an end-of-file that a borrower before was told of.
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
    terms: Terms,
}

impl<H: Cloneable> Pool<H> {
    /// A pool that starts from `end`. If that keeps items or slots, it is the first to be lent, and
    /// another takes its place.
    pub fn new(end: H) -> Self {
        let terms = end.terms();
        Self { first: Mutex::new(end), idle: Mutex::new(Vec::new()), terms }
    }

    /// Borrows an end. Blocks while another borrower attaches one, if none is idle.
    ///
    /// # Errors
    ///
    /// [`AttachError::TableFull`] if none is idle and the ring has no record left,
    /// [`AttachError::Forked`] in a forked child; others of [`AttachError`].
    pub fn get(&self) -> Result<Pooled<'_, H>, AttachError> {
        let pooled = |end| Pooled { end: Some(end), pool: self };
        if !self.terms.are_current() {
            return Err(self.terms.forked()); // whoever had the locks is not here
        }
        if let Some(end) = self.idle() {
            return Ok(pooled(end));
        }
        let mut first = locked(&self.first);
        let attached = first.another();
        match attached {
            // It has items for somebody: another takes its place.
            Ok(fresh) if first.keeps_some() => Ok(pooled(std::mem::replace(&mut *first, fresh))),
            Ok(end) => Ok(pooled(end)),
            Err(error) => {
                drop(first);
                // One may have come back meanwhile.
                self.idle().map(pooled).ok_or(error)
            }
        }
    }

    /// One that is idle, as good as new.
    fn idle(&self) -> Option<H> {
        loop {
            let mut end = locked(&self.idle).pop()?;
            if end.renewed(&self.terms) {
                return Some(end);
            }
            // Closed, without the lock.
        }
    }
}

/// A panic while a lock is held leaves nothing half done: poison says nothing here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H> fmt::Debug for Pool<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle.try_lock().map(|idle| idle.len());
        f.debug_struct("Pool").field("idle", &idle.ok()).finish_non_exhaustive()
    }
}

/// An end borrowed from a [`Pool`]; dropping it puts it back.
#[derive(Debug)]
pub struct Pooled<'a, H: Cloneable> {
    /// `None` only while dropping.
    end: Option<H>,
    pool: &'a Pool<H>,
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
        // What keeps some is closed; what a child has inherited touches nothing.
        if let Some(end) = self.end.take()
            && self.pool.terms.are_current()
            && !end.keeps_some()
        {
            locked(&self.pool.idle).push(end);
        }
    }
}
