//! A process that does to a ring what it is told, one line at a time.
//!
//! Answers are results as `Debug` shows them; what a sending call gives back stands where `Debug`
//! has dots: `Err(Closed(7))`.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringpipe::{Canceller, Deadline, Ring, TryRecvError, WaitPolicy};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, setrlimit,
};

use super::child::{Child, Me};
use super::{Flavour, LONG_INTERVAL, Rx, Tx, options};

impl Child {
    /// A puppet without a ring.
    pub fn puppet<K: Flavour>(name: &str) -> Self {
        Self::start::<K>("puppet", name)
    }

    /// A puppet that is a sender and sleeps in the longest intervals there are.
    pub fn sender<K: Flavour>(name: &str, policy: WaitPolicy) -> Self {
        Self::end::<K>(name, "sender", policy)
    }

    /// A puppet that is a receiver and sleeps in the longest intervals there are.
    pub fn receiver<K: Flavour>(name: &str, policy: WaitPolicy) -> Self {
        Self::end::<K>(name, "receiver", policy)
    }

    fn end<K: Flavour>(name: &str, role: &str, policy: WaitPolicy) -> Self {
        let mut child = Self::puppet::<K>(name);
        child.must("open", "Ok");
        child.must(role, "Ok");
        child.must(&format!("wait {policy:?} {}", LONG_INTERVAL.as_millis()), "Ok");
        child
    }
}

/// What a puppet has in its hands.
struct Hands<K: Flavour> {
    ring: Option<Ring<u64, K>>,
    tx: Option<Tx<K>>,
    rx: Option<Rx<K>>,
}

impl<K: Flavour> Hands<K> {
    fn ring(&self) -> &Ring<u64, K> {
        self.ring.as_ref().expect("open or create first")
    }
    fn tx(&mut self) -> &mut Tx<K> {
        self.tx.as_mut().expect("sender first")
    }
    fn rx(&mut self) -> &mut Rx<K> {
        self.rx.as_mut().expect("receiver first")
    }
}

/// The role.
pub fn puppet<K: Flavour>(mut me: Me) {
    let mut hands = Hands::<K> { ring: None, tx: None, rx: None };
    while let Some(command) = me.hear() {
        let words: Vec<&str> = command.split(' ').collect();
        if let Some(answer) = obey(&mut me, &mut hands, &words) {
            me.say(answer);
        }
    }
}

fn obey<K: Flavour>(me: &mut Me, hands: &mut Hands<K>, words: &[&str]) -> Option<String> {
    let number = |i: usize| -> u64 { words[i].parse().unwrap() };
    let millis = |i: usize| Duration::from_millis(number(i));
    let answer = match words[0] {
        // The ring.
        "create" => {
            let mode = words.get(2).map_or(0o600, |mode| octal(mode));
            let options = options::<K>().capacity(number(1) as usize).mode(mode);
            let made = match me.ring.starts_with('/') {
                true => options.create_file(&me.ring),
                false => options.create(&me.ring),
            };
            done(made.map(|ring| hands.ring = Some(ring)))
        }
        "create_anonymous" => {
            let options = options::<K>().capacity(number(1) as usize);
            done(options.create_anonymous().map(|ring| hands.ring = Some(ring)))
        }
        "open" => {
            let opened = match me.ring.starts_with('/') {
                true => options::<K>().open_file(&me.ring),
                false => options::<K>().open(&me.ring),
            };
            done(opened.map(|ring| hands.ring = Some(ring)))
        }
        "id" => hands.ring().id().to_string(),
        "sync" => done(hands.ring().sync()),
        "checkpoint" => done(hands.ring.take().expect("open or create first").checkpoint()),
        "close" => {
            *hands = Hands { ring: None, tx: None, rx: None };
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
            if let Some(tx) = &mut hands.tx {
                tx.set_wait_policy(policy);
                tx.set_liveness_interval(millis(2));
            }
            if let Some(rx) = &mut hands.rx {
                rx.set_wait_policy(policy);
                rx.set_liveness_interval(millis(2));
            }
            "Ok".into()
        }
        "wait_for_peer" => match &mut hands.tx {
            Some(tx) => show(tx.wait_for_peer(millis(1))),
            None => show(hands.rx().wait_for_peer(millis(1))),
        },
        "ending" => match &hands.tx {
            Some(tx) => format!("{:?}", tx.ending()),
            None => format!("{:?}", hands.rx().ending()),
        },
        // Without dropping anything.
        "exit" => std::process::exit(0),
        "require_peer" => {
            match &mut hands.tx {
                Some(tx) => tx.require_peer(),
                None => hands.rx().require_peer(),
            }
            "Ok".into()
        }
        // Sending.
        "try_send" => returned(hands.tx().try_send(number(1)), |e| e.into_inner()),
        "send" => returned(hands.tx().send(number(1)), |e| e.into_inner()),
        "send_timeout" => {
            returned(hands.tx().send_timeout(number(1), millis(2)), |e| e.into_inner())
        }
        "try_send_slice" => show(hands.tx().try_send_slice(&span(number(1), number(2)))),
        "send_slice" => show(hands.tx().send_slice(&span(number(1), number(2)))),
        "send_exact" => {
            show(hands.tx().send_exact_deadline(&span(number(1), number(2)), millis(3)))
        }
        "send_each" => {
            let mut tx = hands.tx.take().expect("sender first");
            let sent = (number(1)..number(2)).try_for_each(|value| tx.send(value));
            hands.tx = Some(tx);
            show(sent)
        }
        "claim" => {
            let max = number(1) as usize;
            return write_in_place(me, hands.tx(), max);
        }
        // Receiving.
        "try_recv" => show(hands.rx().try_recv()),
        "recv" => show(hands.rx().recv()),
        "try_until_closed" => {
            let mut values = Vec::new();
            loop {
                match hands.rx().try_recv() {
                    Ok(value) => values.push(value),
                    Err(TryRecvError::Empty) => {}
                    Err(e) => break format!("{values:?} then {e:?}"),
                }
            }
        }
        "recv_timeout" => show(hands.rx().recv_timeout(millis(1))),
        "recv_exact" => {
            let mut values = vec![0; number(1) as usize];
            let received = hands.rx().recv_exact_deadline(&mut values, millis(2));
            show(received.map(|()| values))
        }
        "try_recv_slice" => {
            let mut values = vec![0; number(1) as usize];
            let received = hands.rx().try_recv_slice(&mut values);
            show(received.map(|len| values[..len].to_vec()))
        }
        "drain" => {
            let rx = hands.rx();
            let values: Vec<u64> = rx.iter().collect();
            format!("{values:?} then {}", show(rx.recv()))
        }
        "read" => {
            let max = number(1) as usize;
            return read_in_place(me, hands.rx(), max);
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
            let canceller = match &hands.tx {
                Some(tx) => tx.canceller(),
                None => hands.rx().canceller(),
            };
            CANCELLER.set(canceller).expect("once");
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
        unknown => panic!("no such command: {unknown}"),
    };
    Some(answer)
}

/// `claim` was said; the run is held until `commit` or `abandon`.
fn write_in_place<K: Flavour>(me: &mut Me, tx: &mut Tx<K>, max: usize) -> Option<String> {
    let mut run = match tx.claim(max) {
        Ok(run) => run,
        Err(e) => return Some(show(Err::<(), _>(e))),
    };
    me.say(format_args!("Ok({})", run.len()));
    while let Some(command) = me.hear() {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |i: usize| -> u64 { words[i].parse().unwrap() };
        match words[0] {
            "write" => run.write(number(1) as usize, number(2)),
            "commit" => {
                run.commit(number(1) as usize);
                return Some("Ok".into());
            }
            "abandon" => {
                run.abandon();
                return Some("Ok".into());
            }
            unknown => panic!("not while a run is held: {unknown}"),
        }
        me.say("Ok");
    }
    None
}

/// `read` was said; the run is held until `release` or `abandon`.
fn read_in_place<K: Flavour>(me: &mut Me, rx: &mut Rx<K>, max: usize) -> Option<String> {
    let run = match rx.claim(max) {
        Ok(run) => run,
        Err(e) => return Some(show(Err::<(), _>(e))),
    };
    me.say(format_args!("{:?}", run.iter().collect::<Vec<_>>()));
    let command = me.hear()?;
    match command.split_once(' ') {
        Some(("release", count)) => run.release(count.parse().unwrap()),
        None if command == "abandon" => run.abandon(),
        _ => panic!("not while a run is held: {command}"),
    }
    Some("Ok".into())
}

fn span(from: u64, to: u64) -> Vec<u64> {
    (from..to).collect()
}

fn octal(digits: &str) -> u32 {
    u32::from_str_radix(digits, 8).unwrap()
}

fn policy(name: &str) -> WaitPolicy {
    super::POLICIES.into_iter().find(|policy| format!("{policy:?}") == name).unwrap()
}

fn show<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    format!("{result:?}")
}

fn done<E: Debug>(result: Result<(), E>) -> String {
    match result {
        Ok(()) => "Ok".into(),
        Err(e) => format!("Err({e:?})"),
    }
}

fn returned<E: Debug>(result: Result<(), E>, value: impl Fn(E) -> u64) -> String {
    match result {
        Ok(()) => "Ok(())".into(),
        Err(e) => {
            let shown = format!("Err({e:?})");
            shown.replace("..", &value(e).to_string())
        }
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
