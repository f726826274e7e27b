//! A process that does to a ring what it is told, one line at a time.
//!
//! Here is what any ring and any end can be told, and what the process itself; what can be done
//! with what a ring carries is told by [`numbers`] and by [`messenger`](super::messenger).
//!
//! Answers are results as `Debug` shows them; what a sending call gives back stands where `Debug`
//! has dots: `Err(Closed(7))`.

mod numbers;

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringpipe::{Canceller, Kind, Options, Ring, WaitPolicy};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, setrlimit,
};

use super::LONG_INTERVAL;
use super::child::{Child, Me};
use super::kinds::{AnyKind, End};

impl Child {
    /// A puppet without a ring.
    pub fn puppet<K: Kind>(name: &str) -> Self {
        Self::start::<K>("puppet", name)
    }

    /// A puppet that is a sender and sleeps in the longest intervals there are.
    pub fn sender<K: Kind>(name: &str, policy: WaitPolicy) -> Self {
        Self::holding::<K>(name, "sender", policy, LONG_INTERVAL)
    }

    /// A puppet that is a receiver and sleeps in the longest intervals there are.
    pub fn receiver<K: Kind>(name: &str, policy: WaitPolicy) -> Self {
        Self::holding::<K>(name, "receiver", policy, LONG_INTERVAL)
    }

    /// A puppet that is this end.
    pub fn holding<K: Kind>(name: &str, end: &str, policy: WaitPolicy, interval: Duration) -> Self {
        let mut child = Self::puppet::<K>(name);
        child.must("open", "Ok");
        child.must(end, "Ok");
        child.must(&format!("wait {policy:?} {}", interval.as_millis()), "Ok");
        child.sleeps_briefly = interval < LONG_INTERVAL;
        child
    }
}

/// A kind of ring that puppets can play with.
pub trait Plays: AnyKind {
    /// Does to its ends what only such ends can do; `None` if the play is over.
    fn obey(me: &mut Me, hands: &mut Hands<Self>, words: &[&str]) -> Option<String>;
}

/// What a puppet has in its hands.
pub struct Hands<K: AnyKind> {
    ring: Option<Ring<K::Element, K>>,
    tx: Option<K::Tx>,
    rx: Option<K::Rx>,
}

impl<K: AnyKind> Hands<K> {
    const EMPTY: Self = Self { ring: None, tx: None, rx: None };

    fn ring(&self) -> &Ring<K::Element, K> {
        self.ring.as_ref().expect("open or create first")
    }
    pub fn tx(&mut self) -> &mut K::Tx {
        self.tx.as_mut().expect("sender first")
    }
    pub fn rx(&mut self) -> &mut K::Rx {
        self.rx.as_mut().expect("receiver first")
    }
    /// All of its ends, the sender first.
    fn ends(&mut self) -> impl Iterator<Item = &mut dyn End> {
        let tx = self.tx.as_mut().map(|tx| tx as &mut dyn End);
        tx.into_iter().chain(self.rx.as_mut().map(|rx| rx as &mut dyn End))
    }
    fn end(&mut self) -> &mut dyn End {
        self.ends().next().expect("sender or receiver first")
    }
}

/// The role.
pub fn puppet<K: Plays>(mut me: Me) {
    let mut hands = Hands::<K>::EMPTY;
    while let Some(command) = me.hear() {
        let words: Vec<&str> = command.split(' ').collect();
        if let Some(answer) = obey(&mut me, &mut hands, &words) {
            me.say(answer);
        }
    }
}

fn obey<K: Plays>(me: &mut Me, hands: &mut Hands<K>, words: &[&str]) -> Option<String> {
    let number = |i: usize| -> u64 { words[i].parse().unwrap() };
    let millis = |i: usize| Duration::from_millis(number(i));
    let options = || -> Options<K::Element, K> { Ring::options() };
    let answer = match words[0] {
        // The ring.
        "create" => {
            let mode = words.get(2).map_or(0o600, |mode| octal(mode));
            let options = options().capacity(number(1) as usize).mode(mode);
            let made = match me.ring.starts_with('/') {
                true => options.create_file(&me.ring),
                false => options.create(&me.ring),
            };
            done(made.map(|ring| hands.ring = Some(ring)))
        }
        "create_anonymous" => {
            let options = options().capacity(number(1) as usize);
            done(options.create_anonymous().map(|ring| hands.ring = Some(ring)))
        }
        "open" => {
            let opened = match me.ring.starts_with('/') {
                true => options().open_file(&me.ring),
                false => options().open(&me.ring),
            };
            done(opened.map(|ring| hands.ring = Some(ring)))
        }
        "id" => hands.ring().id().to_string(),
        "sync" => done(hands.ring().sync()),
        "checkpoint" => done(hands.ring.take().expect("open or create first").checkpoint()),
        "close" => {
            *hands = Hands::EMPTY;
            "Ok".into()
        }
        "unlink" => done(hands.ring().unlink()),
        "unlink_name" => done(ringpipe::unlink(&me.ring)),
        // The ends.
        "sender" => done(K::sender(hands.ring()).map(|tx| hands.tx = Some(tx))),
        "receiver" => done(K::receiver(hands.ring()).map(|rx| hands.rx = Some(rx))),
        "leave" => {
            hands.tx = None;
            hands.rx = None;
            "Ok".into()
        }
        "wait" => {
            let policy = policy(words[1]);
            for end in hands.ends() {
                end.set_wait_policy(policy);
                end.set_liveness_interval(millis(2));
            }
            "Ok".into()
        }
        "wait_for_peer" => show(hands.end().wait_for_peer(millis(1).into())),
        "ending" => format!("{:?}", hands.end().ending()),
        // Without dropping anything.
        "exit" => std::process::exit(0),
        "require_peer" => {
            hands.end().require_peer();
            "Ok".into()
        }
        // The process.
        "umask" => {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(octal(words[1])));
            "Ok".into()
        }
        "limit_files" => {
            // A file beyond it is an error and a signal; the signal would end the child.
            // SAFETY: sets a disposition, no handler.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            let limit = Rlimit { current: Some(number(1)), maximum: Some(number(1)) };
            done(setrlimit(Resource::Fsize, limit))
        }
        "become" => become_user(number(1) as u32),
        "cancel_on_signal" => {
            CANCELLER.set(hands.end().canceller()).expect("once");
            on_usr1(cancel);
            "Ok".into()
        }
        "reset" => {
            CANCELLER.get().expect("cancel_on_signal first").reset();
            "Ok".into()
        }
        "count_signals" => {
            count_signals();
            "Ok".into()
        }
        "signals" => signals().to_string(),
        "sigpipe_kills" => {
            // SAFETY: installs the default disposition, no handler.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            "Ok".into()
        }
        "hang" => loop {
            std::thread::park();
        },
        _ => return K::obey(me, hands, words),
    };
    Some(answer)
}

/// What is received in place is held until `release` or `abandon`: of how many, or of none.
pub fn told_to_release(me: &mut Me) -> Option<Option<usize>> {
    let command = me.hear()?;
    match command.split_once(' ') {
        Some(("release", count)) => Some(Some(count.parse().unwrap())),
        None if command == "abandon" => Some(None),
        _ => panic!("not while a run is held: {command}"),
    }
}

fn octal(digits: &str) -> u32 {
    u32::from_str_radix(digits, 8).unwrap()
}

fn policy(name: &str) -> WaitPolicy {
    super::POLICIES.into_iter().find(|policy| format!("{policy:?}") == name).unwrap()
}

pub fn show<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    format!("{result:?}")
}

fn done<E: Debug>(result: Result<(), E>) -> String {
    match result {
        Ok(()) => "Ok".into(),
        Err(e) => format!("Err({e:?})"),
    }
}

static CANCELLER: OnceLock<Canceller> = OnceLock::new();
static SIGNALS: AtomicU64 = AtomicU64::new(0);

/// Async-signal-safe: an initialised `OnceLock` is read with one load.
extern "C" fn cancel(_: libc::c_int) {
    if let Some(canceller) = CANCELLER.get() {
        canceller.cancel();
    }
}

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// From now on `SIGUSR1` is counted, and does nothing else.
pub fn count_signals() {
    on_usr1(count);
}

/// Signals counted.
pub fn signals() -> u64 {
    SIGNALS.load(Ordering::Relaxed)
}

/// Handles `SIGUSR1`, without `SA_RESTART`: it interrupts every system call that it can.
fn on_usr1(handler: extern "C" fn(libc::c_int)) {
    // SAFETY: `sigaction` is a plain C structure for which all-zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: `action` is complete, and both handlers do only what a handler may.
    let outcome = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(outcome, 0);
}

/// Gives up root's rights for good.
fn become_user(id: u32) -> String {
    // SAFETY: reads nothing: the list is empty.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: plain values.
    let group = unsafe { libc::setgid(id) };
    // SAFETY: plain values.
    let user = unsafe { libc::setuid(id) };
    assert_eq!((groups, group, user), (0, 0, 0));
    // A change of user resets both: the kernel hides /proc/self, and forgets to kill us.
    set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    "Ok".into()
}
