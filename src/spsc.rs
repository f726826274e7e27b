//! Rings with one producer and one consumer.
//!
//! The fastest kind: each side writes a position of its own and looks at the other's only when the
//! ring seems full or empty. Every call is wait-free but for waiting itself and for looking for the
//! dead, which a call does after an interval (50 ms) in vain. The roles are exclusive among all
//! processes: a second producer gets [`AttachError::RoleTaken`](crate::AttachError::RoleTaken)
//! until the first is gone, and then goes on where it left off.
//!
//! ```
//! use ringpipe::spsc::Ring;
//!
//! # let name = format!("doc-spsc-{}", std::process::id());
//! // One process...
//! let ring = Ring::<u64>::options().capacity(256).open_or_create(&name)?;
//! let mut tx = ring.producer()?;
//! tx.send(42)?;
//!
//! // ...and another, which knows the name.
//! let mut rx = Ring::<u64>::options().open_or_create(&name)?.consumer()?;
//! assert_eq!(rx.recv()?, 42);
//! # ring.unlink()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **After a crash**: the items of a producer's unfinished call are absent; what a consumer's
//! unfinished call had not released is received again by its successor. Everything else arrives
//! exactly once, in order.

use crate::error::ChannelError;
use crate::handles::item::Item;
pub use crate::ring::Spsc;

/// A ring with one producer and one consumer.
pub type Ring<T> = crate::Ring<T, Spsc>;

/// The sending end: see [`SendHandle`](crate::SendHandle).
pub type Producer<T> = crate::SendHandle<T, Spsc>;

/// The receiving end: see [`RecvHandle`](crate::RecvHandle).
pub type Consumer<T> = crate::RecvHandle<T, Spsc>;

/// Both ends of a new anonymous ring with at least `capacity` slots (a power of two), for threads
/// of one process; [`Ring::options`] has more to choose from.
///
/// ```
/// let (mut tx, mut rx) = ringpipe::spsc::channel::<[f32; 2]>(100)?;
/// std::thread::scope(|scope| {
///     scope.spawn(move || tx.send([0.5, 1.5]).unwrap());
///     assert_eq!(rx.recv(), Ok([0.5, 1.5]));
/// });
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
///
/// # Errors
///
/// [`ChannelError`]: no memory, too many open files.
pub fn channel<T: Item>(capacity: usize) -> Result<(Producer<T>, Consumer<T>), ChannelError> {
    let ring = Ring::options().capacity(capacity).create_anonymous()?;
    Ok((ring.producer()?, ring.consumer()?))
}
