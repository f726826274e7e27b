//! The helper: one thread of this process that sleeps at wake words for its tasks.
//!
//! [`tasks`](super::tasks) has the protocol. Here is the thread: it is started when a task first
//! waits, sleeps at up to 127 words at once (`futex_waitv`), and there is another one for each 127
//! more. Without tasks it sleeps at its own word, the bell, and costs nothing. It has all signals
//! blocked, and runs nothing of others but the wakers of tasks.
//!
//! **After its last task** a word stays with the helper until the next check, in case the task waits
//! again at once, as it does between request and response: then it finds a valid ticket, and waits
//! without a system call.
//!
//! **A fork** does not take threads along. A child has no helper, and what its parent's had is not
//! its own: it makes a list of its own, under the number of its process image
//! ([`fork`](crate::peers::fork)), and never touches the parent's locks.
//!
//! **Where no thread can be started**, a task that waits holds up the one that polls it for a
//! millisecond, and is then polled again.
//!
//! **Where `futex_waitv` is missing** (before Linux 5.16, or in a sandbox that forbids it) the helper
//! looks at its words every millisecond.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

use super::pace::{BRIEF_SLEEP, now, rest};
use super::tasks::{self, Attended, Bell, NoHelper, Place, Woken};
use super::timer::LIVENESS_INTERVAL;
use super::word::Ticket;
use crate::peers::fork::{Image, NoSignals};
use crate::sync::AtomicU32;
use crate::sync::futex;
use crate::sync::futexes::{End, MOST_WORDS, wait_any};

/// Words for tasks that one thread sleeps at; one more is its bell.
const WORDS: usize = MOST_WORDS - 1;
/// Bytes of the thread's stack. Wakers run on it.
const STACK: usize = 256 << 10;
/// How often it looks where it cannot sleep at several words.
const WITHOUT_WAITV: u64 = 1_000_000;
/// Checks that all helpers of a process together ask tasks for, in an interval of one.
const CHECKS: usize = 200;

/// The helpers of one process image.
struct Helpers {
    image: Image,
    all: Mutex<Vec<Arc<Helper>>>,
    /// Of all of them together.
    places: AtomicUsize,
}

/// What others see of one thread.
struct Helper {
    bell: Arc<Bell>,
    /// Places that it has not seen yet.
    inbox: Mutex<Vec<Arc<dyn Place + Send + Sync>>>,
    /// Places that it has, or will have seen.
    places: AtomicUsize,
}

/// Null before the first one. Not a `OnceLock`, which a child may have inherited half done; what it
/// points to is never freed.
static HELPERS: AtomicPtr<Helpers> = AtomicPtr::new(ptr::null_mut());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // nothing is left half done
}

/// Those of this process image, which is the caller's.
fn helpers(image: Image) -> &'static Helpers {
    loop {
        let found = HELPERS.load(Ordering::Acquire); // L1 ← L2: what it points to
        // SAFETY: null, or leaked below.
        if let Some(helpers) = unsafe { found.as_ref() }
            && helpers.image.is_current()
        {
            return helpers;
        }
        let made = Box::into_raw(Box::new(Helpers {
            image,
            all: Mutex::default(),
            places: AtomicUsize::new(0),
        }));
        // L2 → L1: what it points to
        match HELPERS.compare_exchange(found, made, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => {}
            // SAFETY: made just now, and nobody else has it.
            Err(_) => drop(unsafe { Box::from_raw(made) }),
        }
    }
}

/// Has a helper sleep at a place: its bell. `image`: of this process.
pub(crate) fn attend(
    place: Arc<dyn Place + Send + Sync>,
    image: Image,
) -> Result<Arc<Bell>, NoHelper> {
    let helpers = helpers(image);
    let mut all = lock(&helpers.all);
    let free = |helper: &&Arc<Helper>| helper.places.load(Ordering::Relaxed) < WORDS;
    let helper = match all.iter().find(free) {
        Some(helper) => Arc::clone(helper),
        None => {
            let helper = start(&helpers.places).ok_or(NoHelper)?;
            all.push(Arc::clone(&helper));
            helper
        }
    };
    // Relaxed, here and above: places are added under the lock only.
    helper.places.fetch_add(1, Ordering::Relaxed);
    helpers.places.fetch_add(1, Ordering::Relaxed);
    lock(&helper.inbox).push(place);
    Ok(Arc::clone(&helper.bell))
}

fn start(all: &'static AtomicUsize) -> Option<Arc<Helper>> {
    let helper = Arc::new(Helper {
        bell: Arc::new(Bell::new()),
        inbox: Mutex::default(),
        places: AtomicUsize::new(0),
    });
    let its_own = Arc::clone(&helper);
    let builder = thread::Builder::new().name("ringpipe-helper".to_owned()).stack_size(STACK);
    // It inherits the mask.
    let _signals = NoSignals::begin().ok()?;
    builder.spawn(move || its_own.run(all)).ok()?;
    Some(helper)
}

/// A place at which the thread sleeps.
struct Line {
    place: Arc<dyn Place + Send + Sync>,
    /// On which it slept last, or will sleep.
    ticket: Option<Ticket>,
    /// The number of the ticket that was handed over last.
    handed_over: u32,
    /// Until then it sleeps no longer than that, as a publisher may have overlooked the ticket.
    brief_until: Option<u64>,
    /// It was woken again and again for nothing: until then it does not announce itself.
    rests_until: Option<u64>,
    check_at: u64,
    /// The check is made in this turn.
    checks: bool,
}

impl Line {
    fn new(place: Arc<dyn Place + Send + Sync>, now: u64) -> Self {
        let interval = place.queue().attended().interval;
        Self {
            place,
            ticket: None,
            handed_over: 0,
            brief_until: None,
            rests_until: None,
            check_at: now.saturating_add(interval.as_nanos() as u64),
            checks: false,
        }
    }

    /// Before a sleep: takes the ticket that there is by now.
    fn prepare(&mut self, now: u64) {
        let Attended { ticket, interval, handed_over, .. } = self.place.queue().attended();
        let handed_over = std::mem::replace(&mut self.handed_over, handed_over) != handed_over;
        if handed_over && ticket.is_some_and(|ticket| ticket.fresh) {
            self.brief_until = Some(now + BRIEF_SLEEP);
        }
        self.ticket = ticket;
        self.check_at = self.check_at.min(now.saturating_add(interval.as_nanos() as u64));
    }

    /// The word to sleep at, and on what.
    fn sleeps_on(&self) -> Option<(&AtomicU32, u32)> {
        let ticket = self.ticket.filter(|_| self.rests_until.is_none())?;
        Some((tasks::word(&*self.place).futex(), ticket.word()))
    }

    /// Until when to sleep at the most, as checks are made from then on.
    fn until(&self, checks_from: u64) -> u64 {
        let soon = [self.brief_until, self.rests_until].into_iter().flatten();
        soon.fold(self.check_at.max(checks_from), u64::min)
    }

    /// After a sleep: tasks to wake. `None`: the place is given up.
    fn after(&mut self, woken: bool, now: u64) -> Option<Vec<Waker>> {
        let rested = self.rests_until.take_if(|until| now >= *until).is_some();
        let woken = |slept| rested || woken || tasks::may_be_woken(&*self.place, slept);
        if self.rests_until.is_none() && self.ticket.is_some_and(woken) {
            let in_vain = self.place.queue().attended().in_vain;
            if !rested && in_vain > 1 {
                self.rests_until = Some(rest(now, in_vain));
                return Some(Vec::new());
            }
            return match tasks::woken(&*self.place) {
                Woken::Nobody => None,
                Woken::Tasks(ticket, tasks) => {
                    (self.ticket, self.brief_until) = (Some(ticket), Some(now + BRIEF_SLEEP));
                    Some(tasks)
                }
            };
        }
        if std::mem::take(&mut self.checks) {
            if tasks::given_up(&*self.place) {
                return None;
            }
            self.check_at = now + self.place.queue().attended().interval.as_nanos() as u64;
            return Some(tasks::due(&*self.place, true));
        }
        if self.brief_until.is_some_and(|until| now >= until) {
            // Where no barrier reaches publishers, every sleep is a brief one.
            let sure = self.ticket.is_none_or(|ticket| ticket.sure);
            self.brief_until = (!sure).then_some(now + BRIEF_SLEEP);
            return Some(tasks::due(&*self.place, false));
        }
        Some(Vec::new())
    }
}

/// What the thread has to itself.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    quota: Quota,
}

/// Which checks a thread makes when more are due than it may make.
#[derive(Default)]
struct Quota {
    /// When the interval began in which it has made so many.
    began: u64,
    made: usize,
    /// It may make no more before.
    from: u64,
}

impl Quota {
    /// Which lines are to be checked now, of those with checks at these times: `most` at the most in an
    /// interval, and those first that have been due for longest.
    fn choose(&mut self, check_at: &[u64], now: u64, most: usize) -> Vec<usize> {
        let interval = LIVENESS_INTERVAL.as_nanos() as u64;
        if now.saturating_sub(self.began) >= interval {
            (self.began, self.made) = (now, 0);
        }
        let mut due: Vec<_> = (0..check_at.len()).filter(|line| check_at[*line] <= now).collect();
        due.sort_by_key(|line| check_at[*line]);
        let may = most.saturating_sub(self.made);
        self.from = if due.len() > may { self.began + interval } else { 0 };
        due.truncate(may);
        self.made += due.len();
        due
    }
}

impl Helper {
    fn run(&self, all: &AtomicUsize) {
        let mut lines = Lines::default();
        loop {
            self.turn(&mut lines, all);
        }
    }

    /// One sleep, and what comes of it. `all`: places of all helpers.
    fn turn(&self, Lines { lines, quota }: &mut Lines, all: &AtomicUsize) {
        let rung = self.bell.rung(); // before what it rings for
        let began = now();
        let new = std::mem::take(&mut *lock(&self.inbox));
        lines.extend(new.into_iter().map(|place| Line::new(place, began)));
        lines.iter_mut().for_each(|line| line.prepare(began));
        let until = lines.iter().map(|line| line.until(quota.from)).min().unwrap_or(u64::MAX);
        let ended = self.sleep(rung, lines, until);

        let now = now();
        let share = CHECKS * lines.len() / all.load(Ordering::Relaxed).max(1);
        let check_at: Vec<_> = lines.iter().map(|line| line.check_at).collect();
        for line in quota.choose(&check_at, now, share.max(1)) {
            lines[line].checks = true;
        }
        let mut index = 0;
        lines.retain_mut(|line| {
            let asleep = line.sleeps_on().is_some();
            index += usize::from(asleep);
            let woken = asleep && ended == End::Woken(index);
            let Some(tasks) = line.after(woken, now) else {
                self.places.fetch_sub(1, Ordering::Relaxed);
                all.fetch_sub(1, Ordering::Relaxed);
                return false;
            };
            tasks.into_iter().for_each(wake);
            true
        });
    }

    /// Sleeps at the bell and at all places that have a ticket.
    fn sleep(&self, rung: u32, lines: &[Line], until: u64) -> End {
        let places = lines.iter().filter_map(Line::sleeps_on);
        let words: Vec<_> = [(self.bell.word(), rung)].into_iter().chain(places).collect();
        let ended = wait_any(&words, until);
        if ended == End::Refused {
            let soon = if words.len() > 1 { now() + WITHOUT_WAITV } else { until };
            futex::wait(self.bell.word(), rung, u32::MAX, until.min(soon));
        }
        ended
    }
}

/// Runs a task's waker. Should it panic, the other tasks are not to pay for that.
fn wake(task: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| task.wake()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = LIVENESS_INTERVAL.as_nanos() as u64;

    /// The checks of 1,000 intervals, as chosen turn by turn, each a little late: how many, and the
    /// longest time, in intervals, for which a line had to wait for one.
    fn checked(lines: usize, most: usize) -> (usize, u64) {
        let (mut quota, mut at) = (Quota::default(), vec![INTERVAL; lines]);
        let (mut all, mut longest, mut now) = (0, 0, 0);
        while now < 1000 * INTERVAL {
            let next = at.iter().min().unwrap().max(&quota.from);
            assert!(*next > now || quota.made < most, "it would not sleep");
            now = now.max(*next) + 1;
            for line in quota.choose(&at, now, most) {
                all += 1;
                longest = longest.max((now - at[line]).div_ceil(INTERVAL));
                at[line] = now + INTERVAL;
            }
        }
        (all, longest)
    }

    #[test]
    fn each_line_is_checked_once_in_an_interval_if_there_is_a_check_for_each() {
        let (all, longest) = checked(100, 100);
        assert!(all > 99_000 && longest <= 1, "{all} checks, up to {longest} intervals late");
    }

    /// Many may have become due at the same moment.
    #[test]
    fn lines_take_turns_if_there_are_more_of_them_than_checks() {
        for (lines, most) in [(127, 100), (127, 25), (127, 1), (2, 1)] {
            let (all, longest) = checked(lines, most);
            let turns = lines.div_ceil(most) as u64;
            assert!(longest <= turns, "{lines} lines, {most} checks: {longest} intervals late");
            assert!((990 * most..=1001 * most).contains(&all), "{lines} lines: {all} checks");
        }
    }
}
