//! What a ring tells of itself: who is there, and its counters.

use crate::peers::table::{self, Role};
use crate::ring::control::{Control, Words};
use crate::sync::Ordering::Relaxed;

/// Who is attached to a ring at a moment, by the ring's endpoint table: a process that was killed
/// counts until an end that waits, or wants a record, notices. [`list`](crate::list) and
/// [`SendHandle::is_closed`](crate::SendHandle::is_closed) ask the locks instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peers {
    /// Sending ends.
    pub senders: usize,
    /// Receiving ends.
    pub receivers: usize,
}

impl Peers {
    pub(super) fn of(words: &Words) -> Self {
        Self {
            senders: table::count(words, Role::Sender),
            receivers: table::count(words, Role::Receiver),
        }
    }
}

/// Counters of a ring at a moment; they are read one by one while others change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Positions ever claimed by senders: items sent, given up or in the making. On an SPSC ring,
    /// items ever published. On a ring of messages these are not messages but what they take: 8 bytes
    /// each, or on an MPMC ring a granule.
    pub sent: u64,
    /// Positions ever claimed by receivers. On an SPSC ring, items ever released. Of messages as
    /// [`sent`](Self::sent) has it.
    pub received: u64,
    /// Sending ends that have ever attached.
    pub sender_arrivals: u64,
    /// Receiving ends that have ever attached.
    pub receiver_arrivals: u64,
    /// Positions that senders claimed and gave up (MPMC). Of messages, granules.
    pub skipped: u64,
    /// Items that were released, having been handed out more than once, also to one receiver that
    /// had given them back. However often: [`ReadRun::redeliveries`](crate::ReadRun::redeliveries)
    /// tells.
    pub redelivered: u64,
    /// Items that were published and then discarded: unread, or after as many deliveries as
    /// [`Options::delivery_limit`](crate::Options::delivery_limit) allows, or because their bits
    /// made no value of the ring's type.
    pub dropped: u64,
    /// Those alone that were delivered so often.
    pub exhausted: u64,
}

impl Stats {
    pub(super) fn of(control: &Control) -> Self {
        let read = |counter: &crate::sync::AtomicU64| counter.load(Relaxed); // telling, no more
        Self {
            sent: read(&control.tail.at),
            received: read(&control.head),
            sender_arrivals: read(&control.arrivals.of.senders),
            receiver_arrivals: read(&control.arrivals.of.receivers),
            skipped: read(&control.tally.skipped),
            redelivered: read(&control.tally.redelivered),
            dropped: read(&control.tally.dropped),
            exhausted: read(&control.tally.exhausted),
        }
    }
}
