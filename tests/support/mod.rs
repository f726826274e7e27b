//! What the integration tests stand on: real processes, real sleepers, and no hang without a name.
//!
//! * [`child`]: the test binary starts itself again as a child that plays a role. Parent and child
//!   speak in lines over a socket; a child that is late is killed and reported.
//! * [`puppet`]: the role that most tests need, a process that does to a ring what it is told.
//! * [`asleep`]: waiting until somebody else really sleeps (or spins), so that a test of waking up
//!   has someone to wake.
//! * [`flavour`], [`kinds`]: what rings of values, and rings of all kinds, have in common, under
//!   the same names.
//! * [`forked`], [`seccomp`], [`cgroup`]: children by `fork` alone; forbidding system calls;
//!   limiting memory.
//! * [`huge_pages`]: reserved huge pages, by turns.
//! * [`lock`]: the locks that prove who lives.
//! * [`messenger`]: rings of messages, and puppets for them.
//! * [`noise`]: long streams of bytes, and digests of them.
//! * [`region`]: a ring's memory behind the crate's back, for those who read or damage it.
//! * [`sandbox`]: places where a test may do what would disturb everybody else.
//! * [`rng`]: numbers that look random and are the same in every run.
//! * Here: names that clean up, the watchdog.
//!
//! Nothing here sleeps to let something happen; whatever waits, waits for a fact, under a limit.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of this")]

pub mod asleep;
pub mod at;
pub mod by_fork;
pub mod cgroup;
pub mod child;
pub mod disk;
pub mod flavour;
pub mod forked;
pub mod huge_pages;
pub mod kinds;
pub mod lock;
pub mod messenger;
pub mod noise;
pub mod puppet;
pub mod region;
pub mod rng;
pub mod sandbox;
pub mod seccomp;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub use child::{Child, Me};
pub use flavour::Flavour;
use ringpipe::{Options, RecvHandle, Ring, SendHandle, WaitPolicy};
pub use rng::Rng;

/// How long a test may take, watched from outside; far more than any needs on a busy machine.
pub const TEST_LIMIT: Duration = Duration::from_secs(90);
/// How long a child may live: shorter, so that its report comes first.
pub const CHILD_LIMIT: Duration = Duration::from_secs(75);
/// The longest interval there is.
pub const LONG_INTERVAL: Duration = Duration::from_secs(10);
/// Who sleeps in such intervals and is awake again within this time was woken. Less than an
/// interval by more than the clocks differ; more than anything takes on a busy machine.
pub const WOKEN: Duration = Duration::from_millis(7_500);

/// All there are.
pub const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Adaptive, WaitPolicy::Park, WaitPolicy::Spin];
/// Those that end up asleep.
pub const SLEEPING_POLICIES: [WaitPolicy; 2] = [WaitPolicy::Adaptive, WaitPolicy::Park];

/// A sending end of a ring of numbers.
pub type Tx<K> = SendHandle<u64, K>;
/// A receiving end of a ring of numbers.
pub type Rx<K> = RecvHandle<u64, K>;

/// A ring of numbers under a name of its own.
pub fn new_ring<K: Flavour>(capacity: usize) -> (Name, Ring<u64, K>) {
    let name = Name::new();
    let ring = options::<K>().capacity(capacity).create(&name).unwrap();
    (name, ring)
}

pub fn options<K: Flavour>() -> Options<u64, K> {
    Ring::options()
}

/// What all names of this process's tests begin with.
pub fn prefix() -> String {
    format!("ringpipe-test-{}-", std::process::id())
}

fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}{count}", prefix())
}

/// A ring name that nobody else has; whatever has it at the end is removed.
pub struct Name(String);

impl Name {
    #[allow(clippy::new_without_default, reason = "a new name is not a default")]
    pub fn new() -> Self {
        Self(unique())
    }

    /// One that another process has made.
    pub fn of(name: &str) -> Self {
        Self(name.into())
    }

    /// A unique name of this many bytes.
    pub fn of_length(len: usize) -> Self {
        let mut name = unique();
        name.extend(std::iter::repeat_n('x', len - name.len()));
        Self(name)
    }

    /// Where the kernel shows it.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let path = self.path();
        // Not there: the test has unlinked it, or never made it.
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
}

/// A new directory on disk, removed at the end with what is in it.
pub struct Directory(PathBuf);

impl Directory {
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique());
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Deref for Directory {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // an orphan under target/ hurts nobody
    }
}

/// Runs a test, and fails it by name if it does not end.
pub fn watched(name: &str, test: impl FnOnce() + Send + 'static) {
    run_within(TEST_LIMIT, name, || (), test);
}

/// What no work comes near that does not hang, however busy the machine.
pub const LONG: Duration = Duration::from_secs(120);

/// Runs `work` in a thread of its own and fails if it is not through in time.
pub fn within<R: Send + 'static>(limit: Duration, work: impl FnOnce() -> R + Send + 'static) -> R {
    run_within(limit, "work with a limit", || (), work)
}

/// Likewise, and calls it `name`, and looks after something meanwhile.
pub fn run_within<R: Send + 'static>(
    limit: Duration,
    name: &str,
    mut look: impl FnMut(),
    work: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (done, ended) = channel::<()>();
    let run = move || {
        let _tell = done; // dropped, whichever way the work ends
        work()
    };
    let thread = std::thread::Builder::new().name(name.into()).spawn(run).unwrap();
    let began = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_millis(100)) {
        assert!(began.elapsed() < limit, "{name} hangs: no end after {limit:?}");
        look();
    }
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Looks again and again until `look` finds something; panics after a limit, saying for `what`.
pub fn until<R>(what: &str, mut look: impl FnMut() -> Option<R>) -> R {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < CHILD_LIMIT / 2, "in vain: {what}");
        std::thread::sleep(Duration::from_micros(100)); // between two looks, no more
    }
}

/// Waits until a thread of this process sleeps in a ring, for long.
pub fn until_thread_sleeps(tid: u32) {
    until("a thread asleep in a ring", || asleep::for_long(std::process::id(), tid).then_some(()));
}

/// Whether there is `strace`, which this takes; if not, that is said loudly.
pub fn strace_is_there(what: &str) -> bool {
    let why = match std::process::Command::new("strace").args(["-c", "true"]).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(e) => format!("strace: {e}"),
    };
    did_not_run(what, &why);
    false
}

/// Says loudly that something could not be tested here, and why.
pub fn did_not_run(what: &str, why: &str) {
    announce(&format!("!!! DID NOT RUN: {what}: {why}"));
}

/// Says something that is to be seen though the harness hides the output of tests that pass.
pub fn announce(line: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

/// Makes tests of functions that are generic over the kind of ring, one for each kind of values.
macro_rules! both_kinds {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            crate::support::for_kinds!($name: spsc Spsc, mpmc Mpmc);
        }
    )+};
}
pub(crate) use both_kinds;

/// The same, one for each kind that there is.
macro_rules! all_kinds {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            crate::support::for_kinds!(
                $name: spsc Spsc, mpmc Mpmc, bytes Bytes,
                spsc_messages SpscMessages, mpmc_messages MpmcMessages
            );
        }
    )+};
}
pub(crate) use all_kinds;

/// A test of a function with each of these kinds.
macro_rules! for_kinds {
    ($name:ident: $($test:ident $kind:ident),+) => {$(
        #[test]
        fn $test() {
            let name = concat!(stringify!($name), "::", stringify!($test));
            crate::support::watched(name, super::$name::<ringpipe::$kind>);
        }
    )+};
}
pub(crate) use for_kinds;

/// Makes tests of functions that need no kind, or a certain one.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn holds() {
                crate::support::watched(stringify!($name), super::$name);
            }
        }
    )+};
}
pub(crate) use tests;

/// Names the functions that children of this test binary can play, besides the puppet. Each is
/// `fn role<K: Flavour>(me: Me)`; those named behind `of any kind` do with less of a kind.
macro_rules! roles {
    ($($role:ident),* $(,)? $(; of any kind: $($any:ident),* $(,)?)?) => {
        mod child_process {
            /// In a child, plays the role. In the parent, sees what becomes of a child that fails.
            #[test]
            fn that_fails_is_reported_with_its_role_and_output() {
                use ringpipe::{Mpmc, MpmcMessages, Spsc, SpscMessages};
                use crate::support::child::{playing, stage};
                use crate::support::puppet::puppet;
                let roles = [
                    playing!("puppet", puppet, Spsc, Mpmc, SpscMessages, MpmcMessages),
                    $(playing!(stringify!($role), super::$role, Spsc, Mpmc),)*
                    $($(playing!(
                        stringify!($any), super::$any,
                        Spsc, Mpmc, ringpipe::Bytes, SpscMessages, MpmcMessages
                    ),)*)?
                ];
                stage(&roles.concat());
            }
        }
    };
}
pub(crate) use roles;
