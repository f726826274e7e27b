//! How long a call may take, call by call, and what the whole run came to.
//!
//! A call with a deadline must be back by then, one without at once, and those that look at what
//! others hold for a moment (attaching, opening, unlinking) after a second of looking; each with an
//! allowance for a busy machine on top ([`ALLOWANCE`]). A call that is back later fails its test,
//! and so does one that is not back at all: [`guarded`] looks at what every thread is doing
//! meanwhile.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::support::{prefix, run_within};

/// How far beyond its limit a call may come back. Whoever is that late has worked for ever or slept
/// on: an honest call overruns by what its thread waits for a processor, and by one look at a long
/// ring, which is some hundredths of a second.
pub const ALLOWANCE: Duration = Duration::from_secs(5);

/// Back at once.
pub const NOW: Duration = Duration::ZERO;

/// How long calls look at what somebody holds but for a moment, and a moment more.
pub const MOMENTARY: Duration = Duration::from_millis(1100);

/// A call that somebody is in.
#[derive(Clone, Copy, Debug)]
struct Call {
    what: &'static str,
    limit: Duration,
    began: Instant,
}

type Slot = Mutex<Option<Call>>;

static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

/// Nothing that is half done is left by a panic while one of these is locked.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the time of one user's calls.
#[derive(Debug)]
pub struct Clock {
    slot: Arc<Slot>,
    calls: u64,
    /// By call, the longest overrun.
    overruns: BTreeMap<&'static str, Duration>,
}

impl Default for Clock {
    fn default() -> Self {
        let slot = Arc::new(Slot::default());
        let mut slots = locked(&SLOTS);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        Self { slot, calls: 0, overruns: BTreeMap::new() }
    }
}

impl Clock {
    pub fn begin(&mut self, what: &'static str, limit: Duration) {
        *locked(&self.slot) = Some(Call { what, limit, began: Instant::now() });
    }

    pub fn end(&mut self) {
        let Some(Call { what, limit, began }) = locked(&self.slot).take() else { return };
        let overrun = began.elapsed().saturating_sub(limit);
        self.calls += 1;
        let longest = self.overruns.entry(what).or_default();
        *longest = overrun.max(*longest);
        assert!(overrun < ALLOWANCE, "{what}, limited to {limit:?}, came back {overrun:?} later");
    }

    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        for (&what, &overrun) in &other.overruns {
            let longest = self.overruns.entry(what).or_default();
            *longest = overrun.max(*longest);
        }
    }

    /// Calls whose time was kept.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The longest overrun, and which call's it was.
    pub fn longest(&self) -> (Duration, &'static str) {
        let longest = self.overruns.iter().max_by_key(|of| of.1);
        longest.map_or((NOW, "none"), |(what, overrun)| (*overrun, what))
    }
}

/// Keeps the time of one call: `timed!(seen, "name", LIMIT, the call)`.
macro_rules! timed {
    ($seen:expr, $what:expr, $limit:expr, $call:expr) => {{
        $seen.clock.begin($what, $limit);
        let outcome = $call;
        $seen.clock.end();
        outcome
    }};
}
pub(crate) use timed;

/// A call that should have been back long ago, if there is one; each is told of once.
fn overdue() -> Option<Call> {
    let slots = locked(&SLOTS);
    slots.iter().filter_map(Weak::upgrade).find_map(|slot| {
        // A little later than the call itself would complain, who knows better.
        let late = |call: &mut Call| call.began.elapsed() > call.limit + ALLOWANCE * 3 / 2;
        locked(&slot).take_if(late)
    })
}

/// Runs `work` in a thread of its own, and fails if it is not through in time, or if some call does
/// not come back: one of these tests fails for it, though not always the one that made it.
pub fn guarded<R: Send + 'static>(limit: Duration, work: impl FnOnce() -> R + Send + 'static) -> R {
    static ONCE: Once = Once::new();
    // SAFETY: the function is safe to call at any time.
    ONCE.call_once(|| _ = unsafe { libc::atexit(at_exit) });
    let look = || {
        if let Some(Call { what, limit, began }) = overdue() {
            panic!("{what}, limited to {limit:?}, is still not back after {:?}", began.elapsed());
        }
    };
    run_within(limit, "a hostile peer's victim", look, work)
}

/// What a kind of damage came to, over the whole run.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    stores: u64,
    bytes: u64,
    calls: u64,
    overrun: Duration,
    overran: &'static str,
}

static TOTALS: Mutex<BTreeMap<String, Total>> = Mutex::new(BTreeMap::new());

/// Adds to what is printed when the process ends.
pub fn tell(kind: &str, stores: u64, bytes: u64, clock: &Clock) {
    let mut totals = locked(&TOTALS);
    let total = totals.entry(kind.to_owned()).or_default();
    total.stores += stores;
    total.bytes += bytes;
    total.calls += clock.calls();
    let (overrun, what) = clock.longest();
    if overrun >= total.overrun {
        (total.overrun, total.overran) = (overrun, what);
    }
}

extern "C" fn at_exit() {
    // Tests that hang keep the names that they made.
    for name in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if name.file_name().to_string_lossy().starts_with(&prefix()) {
            let _ = std::fs::remove_file(name.path()); // or somebody else did
        }
    }
    let Ok(totals) = TOTALS.lock() else { return };
    let mut text = String::from("\nhostile peers, in all:\n");
    for (kind, total) in &*totals {
        let Total { stores, bytes, calls, overrun, overran } = total;
        text += &format!(
            "  {kind}: {stores} stores ({bytes} bytes) by hostile hands, {calls} calls survived, \
             longest overrun of a limit {overrun:?} ({overran})\n"
        );
    }
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
