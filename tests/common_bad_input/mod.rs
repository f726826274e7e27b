//! What the tests of bad input and of hostile regions share: names that vanish, a watchdog,
//! reproducible random numbers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// What all names of this process's tests begin with.
pub fn prefix() -> String {
    format!("rp-bad-{}-", std::process::id())
}

/// A name in `/dev/shm` that nobody else uses. What is there at the end is removed.
pub struct Name(pub String);

impl Name {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}{n}", prefix()))
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let path = self.path();
        // Not there: the test removed it, or never made it.
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
}

/// Runs `work` in a thread of its own and fails if it is not through in time.
pub fn within<R: Send + 'static>(limit: Duration, work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::channel();
    let worker = thread::spawn(move || {
        let outcome = work();
        let _ = done.send(());
        outcome
    });
    if let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(limit) {
        panic!("still not through after {limit:?}");
    }
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What no test here comes near unless something hangs, however busy the machine.
pub const LONG: Duration = Duration::from_secs(120);

/// Marsaglia's xorshift: the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
