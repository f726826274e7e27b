//! What only the tests about deaths need: the region's words as a stranger sees them, a sleeper
//! that is woken and never acts, and a child that collects.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringpipe::{Kind, Ring};

use crate::support::region::Raw;
use crate::support::{Child, Flavour, Me, Name, Rx, options};

/// Where the word is that receivers sleep on.
pub const DATA: u64 = crate::support::at::DATA as u64;
/// Where the word is that senders sleep on.
pub const SPACE: u64 = crate::support::at::SPACE as u64;
/// The byte that a recoverer without a record locks.
pub const RECOVERY: i64 = (1 << 62) + 1;

/// An interval that is over soon, for ends that are to check often.
pub const SHORT_INTERVAL: Duration = Duration::from_millis(1);
/// Time for so many checks of an end with a [`SHORT_INTERVAL`] that a false answer would have come.
pub const MANY_CHECKS: Duration = Duration::from_millis(200);
/// Long enough for anything that happens at all.
pub const SOON: Duration = Duration::from_secs(30);

/// The 32-bit word at `offset` of a ring's region.
pub fn word(name: &Name, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    std::fs::File::open(name.path()).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    u32::from_ne_bytes(bytes)
}

/// Stores in the 32-bit word at `offset` of a ring's region, as a stranger might.
pub fn set_word(name: &Name, offset: u64, value: u32) {
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.write_all_at(&value.to_ne_bytes(), offset).unwrap();
}

/// Somebody has announced that he sleeps on the word at `offset`.
pub fn flagged(name: &Name, offset: u64) -> bool {
    word(name, offset) & 1 != 0
}

impl Child {
    /// A puppet with this end, in intervals so short that it checks often.
    pub fn checking<K: Flavour>(name: &str, end: &str, policy: ringpipe::WaitPolicy) -> Self {
        let mut child = match end {
            "sender" => Self::sender::<K>(name, policy),
            _ => Self::receiver::<K>(name, policy),
        };
        child.must(&format!("wait {policy:?} {}", SHORT_INTERVAL.as_millis()), "Ok");
        child.sleeps_briefly = true;
        child
    }

    /// Kills with `SIGKILL` and waits for the end, but keeps what the child was connected to.
    pub fn kill_and_keep(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.wait();
    }
}

/// A receiver of this process that checks often.
pub fn checking_receiver<K: Flavour>(ring: &Ring<u64, K>) -> Rx<K> {
    let mut rx = K::receiver(ring).unwrap();
    rx.set_liveness_interval(SHORT_INTERVAL);
    rx
}

/// The next value, and whether it is said to have been delivered before.
#[track_caller]
pub fn next<K: Kind>(rx: &mut Rx<K>) -> (u64, bool) {
    let value = rx.recv_timeout(SOON).unwrap();
    (value, rx.redelivered() > 0)
}

/// Tries again and again, without a pause, until `try_once` finds something.
#[track_caller]
pub fn trying<R>(mut try_once: impl FnMut() -> Option<R>) -> R {
    let started = Instant::now();
    loop {
        if let Some(found) = try_once() {
            return found;
        }
        assert!(started.elapsed() < SOON, "tried in vain for {SOON:?}");
    }
}

/// One who sleeps in the ring's futex like an end of it, and when woken does nothing: as if it had
/// been killed right then. Tells when it has been woken.
pub fn sleep_and_never_act(name: &Name, offset: u64) -> mpsc::Receiver<()> {
    let (told, tell) = (mpsc::channel(), mpsc::channel());
    let ((woken, when_woken), (ready, until_ready)) = (told, tell);
    let region = Raw::of(&name.path());
    std::thread::spawn(move || {
        let words = region.words().as_ptr().cast_mut();
        let at = words.cast::<u8>().wrapping_add(offset as usize).cast::<u32>();
        // SAFETY: within the region, which is mapped until this thread ends, and aligned.
        let word = unsafe { AtomicU32::from_ptr(at) };
        let announced = word.fetch_or(1, Ordering::SeqCst) | 1;
        ready.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
        use rustix::thread::futex::{Flags, wait};
        while word.load(Ordering::SeqCst) == announced {
            let _ = wait(word, Flags::empty(), announced, None); // woken, or not yet asleep
        }
        let _ = woken.send(()); // nobody may care any more
    });
    let tid = until_ready.recv().unwrap();
    crate::support::until("the one who never acts asleep", || {
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
        call.starts_with(&format!("{} ", libc::SYS_futex)).then_some(())
    });
    when_woken
}

/// A role: with `N` receivers in as many threads, in short intervals, takes values until
/// end-of-file; then tells the values, sorted, those that are marked as redelivered with an `r`.
pub fn collector<K: Flavour>(mut me: Me) {
    let ring = options::<K>().open(&me.ring).unwrap();
    let count: usize = me.hear().unwrap().parse().unwrap();
    let ends: Vec<_> = (0..count).map(|_| checking_receiver(&ring)).collect();
    me.say("Ok");
    let Some(_go) = me.hear() else { return };
    let threads: Vec<_> = ends
        .into_iter()
        .map(|mut rx| {
            std::thread::spawn(move || {
                let mut got = Vec::new();
                while let Ok(value) = rx.recv() {
                    got.push((value, rx.redelivered() > 0));
                }
                got
            })
        })
        .collect();
    let mut got: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    got.sort_unstable();
    let shown = got.iter().map(|(v, again)| format!("{v}{}", if *again { "r" } else { "" }));
    me.say(shown.collect::<Vec<_>>().join(" "));
    me.hear();
}

/// A role: takes as many ends of both kinds as there are, `N` of them senders, and holds them.
pub fn hoarder<K: Flavour>(mut me: Me) {
    let ring = options::<K>().open(&me.ring).unwrap();
    let senders: usize = me.hear().unwrap().parse().unwrap();
    let tx: Vec<_> = (0..senders).map(|_| K::sender(&ring).unwrap()).collect();
    let rx: Vec<_> = std::iter::from_fn(|| K::receiver(&ring).ok()).collect();
    me.say(format_args!("{} {}", tx.len(), rx.len()));
    me.hear();
}

/// Reads what a [`collector`] has told.
pub fn collected(told: &str) -> Vec<(u64, bool)> {
    told.split_ascii_whitespace()
        .map(|item| match item.strip_suffix('r') {
            Some(value) => (value.parse().unwrap(), true),
            None => (item.parse().unwrap(), false),
        })
        .collect()
}

/// Names the end of this process in the recovery word, as if it were recovering.
pub fn name_recoverer(name: &Name, process: u32) {
    use crate::support::at;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    let mut owner = [0; 8];
    let (record, owner) = (0..8)
        .map(|record| {
            file.read_exact_at(&mut owner, (at::OWNERS + 8 * record) as u64).unwrap();
            (record as u64, u64::from_ne_bytes(owner))
        })
        .find(|(_, owner)| owner >> 32 == process.into())
        .expect("it has an end");
    let named = record << 32 | owner & 0xffff_ffff;
    file.write_all_at(&named.to_ne_bytes(), at::RECOVERY as u64).unwrap();
}

/// Names in the recovery word the one who, as `visits` has it, was the last to recover before it
/// had a record.
pub fn name_visitor(name: &Name) {
    let at = crate::support::at::RECOVERY as u64;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    let mut visits = [0; 8];
    file.read_exact_at(&mut visits, at + 8).unwrap();
    let named = u64::from_ne_bytes(visits) << 2 | 3;
    file.write_all_at(&named.to_ne_bytes(), at).unwrap();
}

/// Whoever is named in the recovery word; 0: nobody.
pub fn recoverer(name: &Name) -> u64 {
    let mut word = [0; 8];
    let file = std::fs::File::open(name.path()).unwrap();
    file.read_exact_at(&mut word, crate::support::at::RECOVERY as u64).unwrap();
    u64::from_ne_bytes(word)
}

/// Holds the byte that those lock who recover before they have a record; dropped, it lets go.
pub fn hold_recovery(name: &Name) -> std::fs::File {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::options().read(true).write(true).open(name.path()).unwrap();
    // SAFETY: `flock` is a plain C structure for which all-zero is valid.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = RECOVERY;
    lock.l_len = 1;
    // SAFETY: the command reads one `flock64`, which outlives the call.
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    assert_eq!(locked, 0);
    file
}
