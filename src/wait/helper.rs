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
use std::time::Duration;

use super::pace::{BRIEF_SLEEP, now, sleep};
use super::tasks::{self, Bell, NoHelper, Place, Woken};
use super::timer::LIVENESS_INTERVAL;
use super::word::Ticket;
use crate::peers::fork::{Image, NoSignals};
use crate::sync::futex;
use crate::sync::futexes::{End, MOST_WORDS, wait_any};

/// Words for tasks that one thread sleeps at; one more is its bell.
const WORDS: usize = MOST_WORDS - 1;
/// Bytes of the thread's stack. Wakers run on it.
const STACK: usize = 256 << 10;
/// How often it looks where it cannot sleep at several words.
const WITHOUT_WAITV: u64 = 1_000_000;
/// How often a task is polled where there is no helper.
const WITHOUT_THREAD: Duration = Duration::from_millis(1);
/// Checks that all helpers of a process together ask tasks for, in an interval of one.
const CHECKS: usize = 200;

/// The helpers of one process image.
struct Helpers {
    image: Image,
    all: Mutex<Vec<Arc<Helper>>>,
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
/// Threads that there are.
static THREADS: AtomicUsize = AtomicUsize::new(0);

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
        let made = Box::into_raw(Box::new(Helpers { image, all: Mutex::default() }));
        // L2 → L1: what it points to
        match HELPERS.compare_exchange(found, made, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => THREADS.store(0, Ordering::Relaxed), // a parent's are not here
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
    let mut all = lock(&helpers(image).all);
    let free = |helper: &&Arc<Helper>| helper.places.load(Ordering::Relaxed) < WORDS;
    let helper = match all.iter().find(free) {
        Some(helper) => Arc::clone(helper),
        None => {
            let Some(helper) = start() else {
                drop(all);
                sleep(WITHOUT_THREAD);
                return Err(NoHelper);
            };
            all.push(Arc::clone(&helper));
            helper
        }
    };
    // Relaxed, here and above: places are added under the lock only.
    helper.places.fetch_add(1, Ordering::Relaxed);
    lock(&helper.inbox).push(place);
    Ok(Arc::clone(&helper.bell))
}

fn start() -> Option<Arc<Helper>> {
    let helper = Arc::new(Helper {
        bell: Arc::new(Bell::new()),
        inbox: Mutex::default(),
        places: AtomicUsize::new(0),
    });
    let its_own = Arc::clone(&helper);
    let builder = thread::Builder::new().name("ringpipe-helper".to_owned()).stack_size(STACK);
    // It inherits the mask.
    let _signals = NoSignals::begin().ok()?;
    builder.spawn(move || its_own.run()).ok()?;
    THREADS.fetch_add(1, Ordering::Relaxed); // a statistic
    Some(helper)
}

/// A place at which the thread sleeps.
struct Line {
    place: Arc<dyn Place + Send + Sync>,
    /// On which it slept last, or will sleep.
    ticket: Option<Ticket>,
    /// Until then it sleeps no longer than that, as a publisher may have overlooked the ticket.
    brief_until: Option<u64>,
    check_at: u64,
}

impl Line {
    fn new(place: Arc<dyn Place + Send + Sync>, now: u64) -> Self {
        let interval = place.queue().attended().1;
        let check_at = now.saturating_add(interval.as_nanos() as u64);
        Self { place, ticket: None, brief_until: None, check_at }
    }

    /// Before a sleep: takes the ticket that there is by now.
    fn prepare(&mut self, now: u64) {
        let (ticket, interval) = self.place.queue().attended();
        let before = self.ticket.map(Ticket::word);
        if ticket.map(Ticket::word) != before && ticket.is_some_and(|ticket| ticket.fresh) {
            self.brief_until = Some(now + BRIEF_SLEEP);
        }
        self.ticket = ticket;
        self.check_at = self.check_at.min(now.saturating_add(interval.as_nanos() as u64));
    }

    /// Until when to sleep at the most, as checks are made from then on.
    fn until(&self, checks_from: u64) -> u64 {
        self.check_at.max(checks_from).min(self.brief_until.unwrap_or(u64::MAX))
    }

    /// After a sleep: tasks to wake. `None`: the place is given up. `checks`: it is one of those that
    /// may be checked now.
    fn after(&mut self, woken: bool, now: u64, checks: bool) -> Option<Vec<Waker>> {
        let woken = |slept| woken || tasks::may_be_woken(&*self.place, slept);
        if self.ticket.is_some_and(woken) {
            return match tasks::woken(&*self.place) {
                Woken::Nobody => None,
                Woken::Tasks(ticket, tasks) => {
                    (self.ticket, self.brief_until) = (Some(ticket), Some(now + BRIEF_SLEEP));
                    Some(tasks)
                }
            };
        }
        if checks && now >= self.check_at {
            if tasks::given_up(&*self.place) {
                return None;
            }
            self.check_at = now + self.place.queue().attended().1.as_nanos() as u64;
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
    /// It has made as many checks as it may, and makes more from then on.
    checks_from: u64,
}

impl Helper {
    fn run(&self) {
        let mut lines = Lines::default();
        loop {
            self.turn(&mut lines);
        }
    }

    /// One sleep, and what comes of it.
    fn turn(&self, Lines { lines, checks_from }: &mut Lines) {
        let rung = self.bell.rung(); // before what it rings for
        let began = now();
        let new = std::mem::take(&mut *lock(&self.inbox));
        lines.extend(new.into_iter().map(|place| Line::new(place, began)));
        lines.iter_mut().for_each(|line| line.prepare(began));
        let until = lines.iter().map(|line| line.until(*checks_from)).min().unwrap_or(u64::MAX);
        let ended = self.sleep(rung, lines, until);

        let now = now();
        let checked_before = checked_before(lines, now, checks_from);
        let mut index = 0;
        lines.retain_mut(|line| {
            let asleep = line.ticket.is_some();
            index += usize::from(asleep);
            let woken = asleep && ended == End::Woken(index);
            let Some(tasks) = line.after(woken, now, line.check_at < checked_before) else {
                self.places.fetch_sub(1, Ordering::Relaxed);
                return false;
            };
            tasks.into_iter().for_each(wake);
            true
        });
    }

    /// Sleeps at the bell and at all places that have a ticket.
    fn sleep(&self, rung: u32, lines: &[Line], until: u64) -> End {
        let tickets = lines.iter().filter_map(|line| {
            line.ticket.map(|ticket| (line.place.word().futex(), ticket.word()))
        });
        let words: Vec<_> = [(self.bell.word(), rung)].into_iter().chain(tickets).collect();
        let ended = wait_any(&words, until);
        if ended == End::Refused {
            let soon = if words.len() > 1 { now() + WITHOUT_WAITV } else { until };
            futex::wait(self.bell.word(), rung, u32::MAX, until.min(soon));
        }
        ended
    }
}

/// Which checks are made now: those that have been due since before that. No more than this thread
/// may ask for in an interval, the longest due first.
fn checked_before(lines: &[Line], now: u64, checks_from: &mut u64) -> u64 {
    if now < *checks_from {
        return 0;
    }
    let most = (CHECKS / THREADS.load(Ordering::Relaxed).max(1)).max(1);
    let mut due: Vec<_> = lines.iter().map(|line| line.check_at).filter(|at| *at <= now).collect();
    if due.len() <= most {
        return now + 1;
    }
    due.sort_unstable();
    *checks_from = now + LIVENESS_INTERVAL.as_nanos() as u64;
    due[most]
}

/// Runs a task's waker. Should it panic, the other tasks are not to pay for that.
fn wake(task: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| task.wake()));
}
