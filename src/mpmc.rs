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
//!
//! **A slow job** is a run that is kept in hand: its slot is not free before it is released. Senders
//! come round to that slot after as many items as the ring has slots, and wait there, all of them,
//! however many slots behind it are free. Jobs that take two seconds, in a ring of 64 slots that
//! gets 1,000 jobs a second, stop the senders for most of that time. The remedy is a capacity of
//! more than what comes while the longest job takes; or to copy a long job out, release it, and be
//! prepared to lose it if this process dies.
//!
//! **Fairness.** Each item goes to the receiver that claims it first. Who is awake is faster than
//! who must be woken, so receivers are not served in turn. Of six that worked for a microsecond on
//! each of 300,000 items, the best served got 1.5 to 5.5 times as many as the worst on a ring of 64
//! slots, and 1.2 to 2.2 times as many on one of 8,192 slots; of a pipe, which holds as many, 1.1 to
//! 1.7 times (`cargo run --release -p peers -- fairness`, two processors). A longer ring shares
//! better, as its receivers sleep less.

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
