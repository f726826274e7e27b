//! Cancelling a blocked call from another thread or from a signal handler.

use std::fmt;
use std::sync::Arc;

use crate::peers::table::Role;
use crate::ring::control::Control;
use crate::shm::map::Mapping;
use crate::sync::{AtomicBool, Ordering, Shared};
use crate::wait::word::WakeWord;

/// Cancels the blocking calls of one handle, from any thread or from a signal handler.
///
/// From [`cancel`](Self::cancel) on, every call of that handle that would wait returns `Cancelled`
/// instead, the one that is waiting now included, until [`reset`](Self::reset). Calls that need
/// not wait go on working, so a loop over a peer that is never slow must ask
/// [`is_cancelled`](Self::is_cancelled) by itself. The handle's other clones are not affected.
///
/// One that outlives its handle keeps the ring's memory mapped in this process, and nothing else:
/// the ring counts as closed, and can be removed as an orphan. `cancel` still writes a word of that
/// memory then, which wakes nobody who would not look anyway.
///
/// ```
/// use ringpipe::{RecvError, spsc};
///
/// let (_tx, mut rx) = spsc::channel::<u64>(8)?;
/// let canceller = rx.canceller();
/// let blocked = std::thread::spawn(move || rx.recv());
/// canceller.cancel();
/// assert_eq!(blocked.join().unwrap(), Err(RecvError::Cancelled));
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
#[derive(Clone)]
pub struct Canceller {
    flag: Arc<AtomicBool>,
    control: Shared<Control>,
    role: Role,
    /// Keeps `control` mapped. The ring does not count as open for it: all that is ever stored
    /// through it is the count of changes in a wake word, which means nothing to the next one who
    /// opens the ring.
    _map: Arc<Mapping>,
}

impl Canceller {
    pub(crate) fn new(
        flag: &Arc<AtomicBool>,
        control: &Shared<Control>,
        role: Role,
        map: &Arc<Mapping>,
    ) -> Self {
        Self { flag: Arc::clone(flag), control: control.clone(), role, _map: Arc::clone(map) }
    }

    /// Cancels. Async-signal-safe: stores, and one system call; no locks, no allocation.
    ///
    /// Everyone who sleeps in the same direction of the ring is woken for a look, and sleeps on.
    pub fn cancel(&self) {
        WakeWord::of(&self.control, self.role).cancel(&self.flag);
    }

    /// Lets the handle wait again.
    pub fn reset(&self) {
        self.flag.store(false, Ordering::Release); // K1 → K2: likewise
    }

    /// Whether the handle is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Acquire) // K2 ← K1: what the canceller did before
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("role", &self.role)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
