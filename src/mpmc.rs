//! Rings with many senders and many receivers.
//!
//! One FIFO for all: each sender's order is kept, and each item goes to one receiver. Ends can be
//! in any processes and threads, up to the ring's endpoint limit
//! ([`Options::endpoints`](crate::Options::endpoints)); each is used through `&mut`, and
//! [`try_clone`](crate::SendHandle::try_clone) makes more. A [`Pool`](crate::Pool) serves callers
//! that have only a shared reference.
//!
//! ```
//! use ringpipe::mpmc;
//!
//! let (tx, mut rx) = mpmc::channel::<u64>(64)?;
//! let mut workers = Vec::new();
//! for n in 0..4 {
//!     let mut tx = tx.try_clone()?;
//!     workers.push(std::thread::spawn(move || tx.send(n).unwrap()));
//! }
//! drop(tx); // the last sender to go ends the stream
//! assert_eq!(rx.iter().sum::<u64>(), 0 + 1 + 2 + 3);
//! # workers.into_iter().for_each(|w| w.join().unwrap());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Claiming a position takes no lock, and a claim that fails is another's success; handing it over
//! is wait-free. **FIFO order has a price**, by which the queue as a whole is not lock-free: the
//! next item to receive is the one at the next position, so a sender that is stopped (`SIGSTOP`, a
//! debugger) in the midst of a call holds up the receivers until it goes on, and a receiver stopped
//! there holds up the senders a lap later; so does one that keeps a run in hand. Ends that are slow
//! or asleep between calls hold up nobody.

use crate::error::ChannelError;
use crate::handles::item::Item;
pub use crate::ring::Mpmc;

/// A ring with many senders and many receivers.
pub type Ring<T> = crate::Ring<T, Mpmc>;

/// A sending end: see [`SendHandle`](crate::SendHandle).
pub type Sender<T> = crate::SendHandle<T, Mpmc>;

/// A receiving end: see [`RecvHandle`](crate::RecvHandle).
pub type Receiver<T> = crate::RecvHandle<T, Mpmc>;

/// A sending and a receiving end of a new anonymous ring with at least `capacity` slots (a power
/// of two), for threads of one process; [`Ring::options`] has more to choose from.
///
/// # Errors
///
/// [`ChannelError`]: no memory, too many open files.
pub fn channel<T: Item>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), ChannelError> {
    let ring = Ring::options().capacity(capacity).create_anonymous()?;
    Ok((ring.sender()?, ring.receiver()?))
}
