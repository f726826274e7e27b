//! Clock, deadlines, waiting policies and cancellation: how the protocol is paced for real.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::thread::{NanosleepRelativeResult, clock_nanosleep_relative};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::timer::LivenessTimer;
use super::word::{Ticket, WakeWord};
use super::{Pace, Stop, Turn};
use crate::sync::fact::Fact;
use crate::sync::{AtomicBool, Ordering};

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the futex.
pub(crate) fn now() -> u64 {
    read_clock(ClockId::Monotonic)
}

/// Nanoseconds of a clock.
pub(crate) fn read_clock(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sleeps for about so long: less after a signal. Where a sandbox forbids that, it makes way for
/// others; the standard library's `sleep` panics there.
pub(crate) fn sleep(time: Duration) {
    let time = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos() as _,
    };
    if let NanosleepRelativeResult::Err(_) = clock_nanosleep_relative(ClockId::Monotonic, &time) {
        std::thread::yield_now();
    }
}

/// Until when a blocking call may wait: an absolute moment, a duration from now, or for ever.
///
/// Calls take `impl Into<Deadline>`, so an [`Instant`] or a [`Duration`] can be given directly. A
/// duration counts from the call, or from when the call finds that it has to wait. A deadline is
/// looked at only then: a call that can succeed at once does, even if the deadline has passed.
///
/// ```
/// use ringpipe::Deadline;
/// use std::time::{Duration, Instant};
///
/// let soon: Deadline = Duration::from_millis(5).into();
/// let then: Deadline = (Instant::now() + Duration::from_secs(1)).into();
/// assert!(soon < then && then < Deadline::NEVER);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// Wait for ever: in intervals, after each of which it is asked who lives
    /// ([`set_liveness_interval`](crate::RecvHandle::set_liveness_interval)).
    pub const NEVER: Self = Self(u64::MAX);

    /// It is that late.
    pub(crate) fn has_passed(self) -> bool {
        self != Self::NEVER && now() >= self.0
    }
}

impl From<Duration> for Deadline {
    fn from(wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(now().saturating_add(wait))
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        at.saturating_duration_since(Instant::now()).into()
    }
}

/// How a blocking call waits: it spins, it sleeps, or it spins a little and then sleeps.
///
/// A sleeper costs hardly any processor time (a look in each interval), but waking it costs the
/// waker a system call and the sleeper some tens of microseconds. Spinning reacts within a cache
/// line's trip and occupies a processor.
///
/// A sleeper of an MPMC ring that is woken again and again with nothing to claim, as awake ends were
/// faster, or as an earlier message is still being written, is not woken again for up to 0.2 ms. A
/// message that nobody else takes meanwhile waits for that long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// Spin for some microseconds, then sleep: the longer (100 µs or so at the most) the more often
    /// that has lately been enough. Where others want the processor and give it back soon, spin
    /// only shortly, and make way for them (`sched_yield`) some times before sleeping: they may be
    /// whom this end waits for. What keeps the processor for long is found out now and then, by a
    /// wait that has spun in vain and does not get it back for some milliseconds, deadline or not.
    /// On a machine with one processor: sleep at once. The default.
    #[default]
    Adaptive,
    /// Never sleep. Deadlines and cancellation work; on a machine with one processor, each turn
    /// yields it. At a real-time priority, as many who spin as there are processors keep everybody
    /// of that priority and below from running, whom they wait for included.
    Spin,
    /// Never spin. (Between the messages of a stream, the receiver of an SPSC ring may all the same
    /// pause for a fraction of a microsecond, so that one look finds several.)
    Park,
}

/// The longest sleep, in nanoseconds, of one whom a publisher might have overlooked: one that no
/// barrier reached, whatever the kernel said ([`barrier`](super::barrier)). By the end of this
/// time, what such a publisher stored has long been there for everybody to see.
pub(super) const BRIEF_SLEEP: u64 = 1_000_000;

/// The rests of one that was woken in vain for the second, third, … time in a row, in nanoseconds.
const RESTS: [u64; 3] = [50_000, 100_000, 200_000];

/// Until when to rest, after so many wakes in vain.
pub(super) fn rest(now: u64, in_vain: u32) -> u64 {
    let longest = RESTS.len() - 1;
    now.saturating_add(RESTS[longest.min(in_vain.saturating_sub(2) as usize)])
}

/// The spinning budget, in turns: a turn is a pause and a poll, 10 to 60 ns.
pub(super) const FEWEST_TURNS: u32 = 256;
pub(super) const MOST_TURNS: u32 = 2048;
/// The same where others want the processor.
pub(super) const CROWDED_TURNS: u32 = 64;
/// How often to make way for others before sleeping.
pub(super) const MOST_YIELDS: u32 = 32;
/// Whoever gives up the processor for no longer, in nanoseconds, has most likely given it to
/// nobody.
pub(super) const NOBODY_RAN: u64 = 2_000;
/// A sleep so short, in nanoseconds, that spinning through it would have been cheaper.
pub(super) const SHORT_SLEEP: u64 = 50_000;
/// The most waits in a row that make way for nobody, after others have kept the processor for
/// longer than such a sleep: who sleeps instead can be woken.
pub(super) const MOST_WARY: u32 = 4096;
/// And the fewest.
pub(super) const FEWEST_WARY: u32 = 16;
/// Turns between two full checks, at the ring and at the clock.
const TURNS_PER_LOOK: u32 = 64;

/// How one handle waits; lives in the handle and learns.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) policy: WaitPolicy,
    pub(crate) timer: LivenessTimer,
    pub(super) budget: u32,
    /// So many waits more make way for nobody.
    wary: u32,
    /// As many as the next time.
    wary_next: u32,
    cancel: Arc<AtomicBool>,
    /// How long the calls of `io::Read` and `io::Write` wait.
    pub(crate) patience: Patience,
}

/// How long a call waits whose signature does not say so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// Not at all.
    pub(crate) nonblocking: bool,
    /// Else: no longer.
    pub(crate) timeout: Option<Duration>,
}

impl Patience {
    /// Until when a call waits that begins now; `None`: it does not wait.
    #[inline(always)]
    pub(crate) fn deadline(self) -> Option<Deadline> {
        (!self.nonblocking).then(|| self.timeout.map_or(Deadline::NEVER, Deadline::from))
    }
}

impl Waiting {
    pub(crate) fn new() -> Self {
        // Asked now, while the files that tell may be opened.
        many_processors();
        Self {
            policy: WaitPolicy::default(),
            timer: LivenessTimer::new(),
            budget: MOST_TURNS / 4,
            wary: 0,
            wary_next: FEWEST_WARY,
            cancel: Arc::new(AtomicBool::new(false)),
            patience: Patience::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn budget(&self) -> u32 {
        self.budget
    }

    pub(crate) fn cancel_flag(&self) -> &Arc<AtomicBool> {
        &self.cancel
    }

    /// Somebody has cancelled this handle's waits.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Acquire) // K2 ← K1: what the canceller did before is visible
    }

    /// Waits as another handle does, and whoever could cancel this one no longer can.
    pub(crate) fn wait_as(&mut self, policy: WaitPolicy, interval: Duration) {
        self.policy = policy;
        // Else it goes on running: others may look in vain by turns.
        if self.timer.interval() != interval {
            self.timer.set_interval(interval);
        }
        match Arc::get_mut(&mut self.cancel) {
            Some(flag) => *flag = AtomicBool::new(false),
            None => self.cancel = Arc::new(AtomicBool::new(false)),
        }
    }

    /// A try came to nothing, and nobody will wait: `true` if it is time for a liveness check. Asks
    /// the coarse clock, which is a few milliseconds behind and costs as many nanoseconds.
    #[cold]
    pub(crate) fn tried_in_vain(&mut self) -> bool {
        self.timer.looked_in_vain(read_clock(ClockId::MonotonicCoarse), false)
    }

    /// A wait begins by spinning, for long enough that a moment more does not count.
    pub(crate) fn spins(&self) -> bool {
        let would = match self.policy {
            WaitPolicy::Spin => true,
            WaitPolicy::Park => false,
            WaitPolicy::Adaptive => self.budget >= FEWEST_TURNS,
        };
        would && many_processors()
    }

    /// A wait ended while spinning.
    pub(crate) fn spun_well(&mut self) {
        // One wait too long in a row of short ones shall not count for long.
        self.budget = (self.budget + self.budget / 16).min(MOST_TURNS);
    }

    /// Begins a wait.
    pub(crate) fn until(&mut self, deadline: Deadline) -> RealPace<'_> {
        let many = many_processors();
        RealPace {
            waiting: self,
            deadline,
            turns: 0,
            in_a_row: TURNS_PER_LOOK,
            to_look: false,
            yields: 0,
            crowded: false,
            make_way_for_others,
            many,
            brief_until: None,
        }
    }
}

/// The machine has more than one processor. Asked once, and not of this thread's affinity: a thread
/// that is pinned to one processor may well wait for a peer that is pinned to another.
pub(super) fn many_processors() -> bool {
    static MANY: Fact = Fact::new();
    MANY.get_or(|| {
        // SAFETY: asks for a number.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        online != 1
    })
}

/// Lets others run if there is but one processor: whom we wait for is among them.
fn make_way(many: bool) {
    if !many {
        std::thread::yield_now();
    }
}

/// Gives up the processor to whoever wants it; for how long, in nanoseconds.
pub(super) fn make_way_for_others() -> u64 {
    let before = now();
    std::thread::yield_now();
    now().saturating_sub(before)
}

/// One wait.
pub(crate) struct RealPace<'a> {
    waiting: &'a mut Waiting,
    deadline: Deadline,
    pub(super) turns: u32,
    /// Turns between two full checks.
    in_a_row: u32,
    /// The next turn is a full check.
    to_look: bool,
    /// How often it has made way for others.
    yields: u32,
    /// Others wanted the processor, and gave it back soon.
    crowded: bool,
    /// [`make_way_for_others`], but for tests.
    pub(super) make_way_for_others: fn() -> u64,
    /// The machine has more than one processor.
    pub(super) many: bool,
    /// No sleep may last longer before one has lasted until then: who overlooked the announcement
    /// has been seen by the look after that.
    brief_until: Option<u64>,
}

impl RealPace<'_> {
    /// Having spun in vain: makes way for others on this processor, who may be those it waits for.
    /// `true`: somebody ran, so it is worth a look. Those who do not give the processor back soon
    /// are others, and not made way for again for a while.
    fn let_others_run(&mut self) -> bool {
        let Waiting { budget, wary, wary_next, .. } = &mut *self.waiting;
        if self.yields == 0 && *wary > 0 {
            *wary -= 1;
            self.yields = MOST_YIELDS;
        }
        if self.yields >= MOST_YIELDS {
            return false;
        }
        self.yields += 1;
        let took = (self.make_way_for_others)();
        if took > SHORT_SLEEP {
            *wary = *wary_next;
            *wary_next = (*wary_next * 2).min(MOST_WARY);
            self.yields = MOST_YIELDS;
        } else if took > NOBODY_RAN {
            self.crowded = true;
            *budget = CROWDED_TURNS;
            *wary_next = FEWEST_WARY;
        }
        took > NOBODY_RAN
    }

    /// Until when to rest, after so many wakes in vain.
    pub(super) fn rests_until(&self, now: u64, in_vain: u32) -> u64 {
        rest(now, in_vain).min(self.deadline.0)
    }
}

impl Pace for RealPace<'_> {
    fn turn(&mut self) -> Turn {
        let budget = match self.waiting.policy {
            WaitPolicy::Spin => u32::MAX,
            WaitPolicy::Park => 0,
            WaitPolicy::Adaptive if self.many => self.waiting.budget,
            WaitPolicy::Adaptive => 0,
        };
        if !self.to_look && self.turns >= budget {
            if self.turns > 0 && self.let_others_run() {
                return Turn::Look { check_due: self.waiting.timer.looked_in_vain(now(), false) };
            }
            if self.turns > 0 && !self.crowded {
                self.waiting.budget = (self.waiting.budget / 2).max(FEWEST_TURNS);
            }
            return Turn::Sleep;
        }
        if !self.to_look && self.many {
            self.to_look = true;
            // Never as many as the budget of one who never sleeps.
            self.turns = self.turns.saturating_add(self.in_a_row).min(u32::MAX - 1);
            return Turn::Spin(self.in_a_row);
        }
        self.to_look = false;
        make_way(self.many);
        Turn::Look { check_due: self.waiting.timer.looked_in_vain(now(), false) }
    }

    fn poll_at_most(&mut self, polls: u32) {
        self.in_a_row = TURNS_PER_LOOK.min(polls);
    }

    fn spun_well(&mut self) {
        self.waiting.spun_well();
    }

    fn stop(&self) -> Option<Stop> {
        if self.waiting.is_cancelled() {
            return Some(Stop::Cancelled);
        }
        self.deadline.has_passed().then_some(Stop::Timeout)
    }

    fn joins_watch(&self) -> bool {
        self.waiting.timer.is_default()
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        let began = now();
        if ticket.fresh {
            self.brief_until = Some(began + BRIEF_SLEEP);
        }
        if self.waiting.timer.looked_in_vain(began, ticket.long) {
            return true;
        }
        let brief_until = self.brief_until.unwrap_or(u64::MAX);
        let until =
            self.waiting.timer.next_check(ticket.long).min(self.deadline.0).min(brief_until);
        word.sleep(ticket, until);
        let now = now();
        if now >= brief_until {
            self.brief_until = None;
        }
        if now < until && now.saturating_sub(began) < SHORT_SLEEP {
            // Woken so soon: a little more spinning would have done.
            self.waiting.budget = (self.waiting.budget * 2).min(MOST_TURNS);
        }
        self.waiting.timer.looked_in_vain(now, ticket.long)
    }

    fn rest(&mut self, word: WakeWord<'_>, since: u32, in_vain: u32) {
        word.rest(since, self.rests_until(now(), in_vain));
    }
}
