//! How the ends of a role went: whether all of them closed, or some have died.
//!
//! **Counting.** An end that closes adds one to its role's `closed`, after its last store to the
//! ring and before it lets go of its lock. So of the ends that have arrived, are gone and are not
//! among those, each has died: killed, or ended by a process that exited without dropping its
//! handle. Nobody who reaps has a part in this. Exact is the number
//!
//! ```text
//! died = arrived - closed                     while none is there
//! ```
//!
//! read while the arrivals stand still ([`Ends::told_closed`](super::ends::Ends::told_closed)):
//! whoever sees an end gone sees it counted, since it counts itself before it leaves the endpoint
//! table (A2) and before it unlocks. An end that was killed between the two counts as closed: all
//! that it had to do for the ring was done.
//!
//! **Telling.** To say end-of-file, or a broken pipe, is to say how these ends went. Each handle
//! compares with what it knew before: with the number of the last time that it was told, and at
//! first with the number that the region had recorded when the handle attached. The region records
//! it each time that somebody is told ([`Told`]), together with how many had arrived: one word
//! each, so that the two belong together. A sender that finds no receiver when it attaches begins
//! with the deaths counted by then, as nobody sends a stream to receivers that are gone: what
//! became of those is history.
//!
//! **Whose end-of-file it is.** The same record says which senders are history. A receiver that
//! attaches finds that so many senders have arrived, and for how many of them an end-of-file was
//! told. If there are more than that, their stream has not ended yet for anybody, so this receiver
//! has met them, though they may all be gone: it gets what they sent, if anything, and then
//! end-of-file. If there are not, the stream of the senders before was read to its end, and the
//! receiver waits for the next one, as a FIFO's reader does. The number is recorded before `Closed`
//! is returned: a receiver that is killed before that leaves the end-of-file to its successor. (One
//! that is killed between the two has used it up.) A stream of which something is left in the ring,
//! or is held by others, is not read to its end: then nothing is recorded, and the end is told
//! again.
//!
//! The region keeps the last two records. An end that attaches after the end and asks for the peers
//! to be there ([`require_peer`](crate::RecvHandle::require_peer)) is told `Closed` once more for a
//! stream that others were told of: it compares with the record before that.
//!
//! **Races.** Several ends are told at once: the record is the one with the most arrivals, by
//! compare-and-swap; so is the one before it, which is raised first. Who is killed between the two
//! leaves both the same, which is right for whoever attaches then, as nobody was told yet. An end
//! that attaches reads the record, then the arrivals, so it never takes arrivals for new that the
//! record counts (T1 → T2).
//!
//! Arrivals and deaths are kept by their low 32 bits, and compared as the nearer of the two ways
//! round: right while fewer than 2^31 ends arrive between one end-of-file and the next.

use crate::ring::control::Told;
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// How the opposite ends of a ring went, when all of them are gone: what `Closed` means.
///
/// An end dies that is killed, or whose process exits without dropping the handle
/// ([`std::process::exit`], [`std::mem::forget`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Each of them has closed: dropped its handle, be it in a panic, or called `close`.
    Closed,
    /// So many have died since this handle was last told, or since the end-of-file (the broken
    /// pipe) before this handle attached; but a sender is not told of receivers that had died
    /// before it came and found none. What they had not sent, or not taken, is missing.
    Died(u32),
}

/// So many had arrived, and so many of them had died; the low bits of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) arrived: u32,
    pub(crate) died: u32,
}

impl Record {
    /// While none is there. Saturating: a peer may have written anything.
    pub(crate) fn of(arrived: u64, closed: u64) -> Self {
        Self { arrived: arrived as u32, died: arrived.saturating_sub(closed) as u32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.arrived) << 32 | u64::from(self.died)
    }

    fn unpack(word: u64) -> Self {
        Self { arrived: (word >> 32) as u32, died: word as u32 }
    }

    /// More ends have arrived than for `other`.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.arrived.wrapping_sub(other.arrived) as i32 > 0
    }

    /// How the ends went that are counted here and not in `base`.
    pub(crate) fn since(self, base: u32) -> Ending {
        match self.died.wrapping_sub(base) as i32 {
            died @ 1.. => Ending::Died(died as u32),
            _ => Ending::Closed,
        }
    }
}

/// The last two times that somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) last: Record,
    pub(crate) before: Record,
}

/// What was told. To be read before the arrivals.
pub(crate) fn read(told: &Told) -> Records {
    let last = Record::unpack(told.last.load(Acquire)); // T2 ← T1: the arrivals that it counts
    // Relaxed: what was raised before the other, T2 has acquired; a later one is as right.
    Records { last, before: Record::unpack(told.before.load(Relaxed)) }
}

/// More often than honest ends come between each other here.
const TRIES: u32 = 100;

/// Nobody was told of as many arrivals yet.
pub(crate) fn is_news(told: &Told, now: Record) -> bool {
    now.is_after(Record::unpack(told.last.load(Relaxed))) // Relaxed: whether to look properly
}

/// Somebody is about to be told.
pub(crate) fn tell(told: &Told, now: Record) {
    let mut last = told.last.load(Relaxed); // Relaxed: checked by the compare-and-swap
    for _ in 0..TRIES {
        if !now.is_after(Record::unpack(last)) {
            return; // somebody else was told of the same, or of more
        }
        raise(&told.before, Record::unpack(last));
        // T1 → T2: the arrivals that it counts, and the record before.
        match told.last.compare_exchange(last, now.pack(), Release, Relaxed) {
            Ok(_) => return,
            Err(other) => last = other,
        }
    }
}

/// Makes `now` the record before the last, unless that is further already.
fn raise(before: &AtomicU64, now: Record) {
    let mut found = before.load(Relaxed); // Relaxed, all: T1 follows
    for _ in 0..TRIES {
        if !now.is_after(Record::unpack(found)) {
            return;
        }
        match before.compare_exchange(found, now.pack(), Relaxed, Relaxed) {
            Ok(_) => return,
            Err(other) => found = other,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn record(arrived: u32, died: u32) -> Record {
        Record { arrived, died }
    }

    #[test]
    fn the_last_two_times_are_kept_whoever_tells_first() {
        let told = Told::default();
        tell(&told, record(3, 1));
        assert_eq!(read(&told), Records { last: record(3, 1), before: record(0, 0) });
        tell(&told, record(3, 2)); // of the same senders: the first to tell is right
        tell(&told, record(2, 0)); // late
        assert_eq!(read(&told), Records { last: record(3, 1), before: record(0, 0) });
        tell(&told, record(5, 1));
        assert_eq!(read(&told), Records { last: record(5, 1), before: record(3, 1) });
    }

    #[test]
    fn a_record_that_was_raised_meanwhile_stays() {
        let told = Told::default();
        tell(&told, record(3, 1));
        tell(&told, record(5, 1));
        raise(&told.before, record(2, 0));
        tell(&told, record(4, 0));
        assert_eq!(read(&told), Records { last: record(5, 1), before: record(3, 1) });
    }

    #[test]
    fn numbers_go_round() {
        assert!(record(1, 0).is_after(record(u32::MAX, 0)));
        assert!(!record(u32::MAX, 0).is_after(record(1, 0)));
        assert_eq!(record(0, 1).since(u32::MAX), Ending::Died(2));
        assert_eq!(record(0, 5).since(5), Ending::Closed);
        assert_eq!(record(0, 5).since(6), Ending::Closed, "somebody was both");
        assert_eq!(Record::of(3, 7), record(3, 0));
        assert_eq!(Record::of(1 << 32 | 7, 1 << 32 | 4), record(7, 3));
    }
}
