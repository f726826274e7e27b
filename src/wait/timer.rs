//! When it is time for a liveness check: to ask whether the peers are alive, as nobody tells of a
//! death.
//!
//! One timer an end. It starts at the first look that came to nothing and keeps running across
//! calls; a look that came to something stops it. So neither many short waits nor wakes that bring
//! nothing postpone the check, and an end in flow never asks. It reads no clock by itself and
//! sleeps nowhere: whoever waits, in whatever way, tells it the time after each look in vain, and
//! sleeps no longer than until the [next check](LivenessTimer::next_check).

use std::time::Duration;

/// The longest sleep before a sleeper looks at the ring and at its peers' lives again, unless its
/// handle was given another.
pub(crate) const LIVENESS_INTERVAL: Duration = Duration::from_millis(50);
/// What an interval may be set to.
pub(crate) const LIVENESS_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);

/// An end that leaves it to the watch to look after the peers sleeps for so many intervals
/// ([`watch`](super::watch)).
const LONG_SLEEP: u32 = 10;
/// Long sleeps end at multiples of so many nanoseconds, so that a crowd of sleepers wakes in
/// groups: one interrupt wakes a group, and what one of it has read is in the caches for the next.
const GRID: u64 = 5_000_000;

/// An end's timer. Times are in nanoseconds, of one clock.
#[derive(Debug)]
pub(crate) struct LivenessTimer {
    pub(super) interval: Duration,
    /// When it will be time for a check: an interval after this end first looked in vain, or last
    /// checked. 0: the last look was not in vain.
    due_at: u64,
}

impl LivenessTimer {
    pub(crate) fn new() -> Self {
        Self { interval: LIVENESS_INTERVAL, due_at: 0 }
    }

    /// Between two checks.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Nobody has set the interval. (An end with one of its own leaves its checks to nobody.)
    pub(crate) fn is_default(&self) -> bool {
        self.interval == LIVENESS_INTERVAL
    }

    pub(crate) fn set_interval(&mut self, interval: Duration) {
        let (shortest, longest) = LIVENESS_INTERVALS.into_inner();
        self.interval = interval.clamp(shortest, longest);
        self.due_at = 0; // the old interval may have put it off for long
    }

    /// A look came to something.
    #[inline(always)]
    pub(crate) fn looked_well(&mut self) {
        self.due_at = 0;
    }

    /// A look came to nothing, at `now`: `true` if it is time for a check, which the caller makes.
    /// `long`: before or after a sleep that leaves the checks to the watch.
    pub(crate) fn looked_in_vain(&mut self, now: u64, long: bool) -> bool {
        let due = self.due_at != 0 && now >= self.next_check(long);
        if due || self.due_at == 0 {
            self.due_at = now.saturating_add(self.interval.as_nanos() as u64);
        }
        due
    }

    /// When it will be time for the next check. Means nothing before a look in vain.
    pub(crate) fn next_check(&self, long: bool) -> u64 {
        if !long {
            return self.due_at;
        }
        let later = self.interval * (LONG_SLEEP - 1);
        let at = self.due_at.saturating_add(later.as_nanos() as u64);
        at - at % GRID
    }
}
