//! Reserved huge pages for tests.
//!
//! The pool is the whole machine's, so the tests that need some take turns, and put it back as it
//! was.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sandbox::is_root;
use super::{LONG, did_not_run, within};

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/// Bytes in a page of it.
pub const HUGE: usize = 2 << 20;

/// The pool of reserved pages at a size of this test's choice; as before when dropped.
pub struct Reserved {
    before: u64,
    _turn: MutexGuard<'static, ()>,
}

/// What it says of itself.
pub fn pool(what: &str) -> u64 {
    let text = std::fs::read_to_string(Path::new(POOL).join(what)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

impl Reserved {
    /// `None`, said loudly, if the kernel does not give that many.
    pub fn exactly(pages: u64) -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        if !is_root("reserved huge pages") {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved = Self { before: pool("nr_hugepages"), _turn: turn };
        set_pool(pages);
        if pool("free_hugepages") != pages || pool("nr_overcommit_hugepages") != 0 {
            did_not_run("reserved huge pages", &format!("the kernel gave no {pages}"));
            return None;
        }
        Some(reserved)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        set_pool(self.before);
    }
}

/// Asks for so many.
pub fn set_pool(pages: u64) {
    // Refused without the right, or where there are none: what the pool shows then, tells.
    let _ = std::fs::write(Path::new(POOL).join("nr_hugepages"), pages.to_string());
}

/// Waits for it: a child that another test is starting has our descriptors, too, until it runs.
pub fn must_become_free(pages: u64) {
    within(LONG, move || {
        while pool("free_hugepages") != pages {
            std::thread::yield_now();
        }
    });
}
