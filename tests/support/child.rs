//! Children: this test binary, started again to play a role, each with a deadline.
//!
//! The child's standard input is one end of a socket, over which both sides speak in lines; its
//! output goes to a nameless file, to be shown if it fails. A child that does not answer or end
//! before its deadline is killed by its process id, and its test fails with the role, the time, the
//! last command and the output. Should the parent die, the kernel kills the child.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use ringpipe::{Kind, Mpmc, Spsc, WaitPolicy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal,
};

use super::by_fork::by_fork;
use super::{CHILD_LIMIT, WOKEN, asleep};

/// What a child can be asked to play, with which kind of ring.
pub type Roles<'a> = &'a [(&'a str, &'a str, fn(Me))];

/// A role, with each of these kinds of ring.
macro_rules! playing {
    ($role:expr, $($play:ident)::+, $($kind:ty),+) => {{
        use $($play)::+ as play;
        &[$(($role, <$kind as ringpipe::Kind>::NAME, play::<$kind> as fn(_))),+][..]
    }};
}
pub(crate) use playing;

const ROLE: &str = "RINGPIPE_TEST_ROLE";
const KIND: &str = "RINGPIPE_TEST_KIND";
const RING: &str = "RINGPIPE_TEST_RING";
const PARENT: &str = "RINGPIPE_TEST_PARENT";
const DETACHED: &str = "RINGPIPE_TEST_DETACHED";
/// The test that plays the roles, in every binary.
const STAGE: &str = "child_process::that_fails_is_reported_with_its_role_and_output";

/// Held to start a program, or to have nobody start one.
static FORKS: RwLock<()> = RwLock::new(());

/// Starts a program, [by fork](by_fork), when nobody minds.
pub fn spawn(command: &mut Command) -> std::process::Child {
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    by_fork(command).spawn().unwrap() // which has become the program then
}

/// As long as this is held, nobody starts a program. Until it runs, a program has all descriptors of
/// this process: a pipe is not closed when its end is, but when that one has let go, too.
pub fn without_forks() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// A child as its parent sees it. Dropping it kills it.
pub struct Child {
    role: String,
    process: std::process::Child,
    pidfd: OwnedFd,
    /// The child's thread that plays.
    tid: u32,
    socket: BufReader<UnixStream>,
    output: File,
    started: Instant,
    said: String,
    took: Duration,
    /// Processor time at the last command, for telling whether it spins since.
    busy_before: u64,
    /// It was told to, and all its sleeps are brief.
    pub sleeps_briefly: bool,
    reaped: bool,
}

impl Child {
    /// Starts a child that plays `role` with a ring of kind `K` called `ring`.
    pub fn start<K: Kind>(role: &str, ring: &str) -> Self {
        Self::start_under::<K>(&[], role, ring)
    }

    /// As [`start`](Self::start), as an argument of the command `before`.
    pub fn start_under<K: Kind>(before: &[&str], role: &str, ring: &str) -> Self {
        Self::start_prepared::<K>(before, role, ring, |_| {})
    }

    /// As [`start_under`](Self::start_under), by a command to which something was done.
    pub fn start_prepared<K: Kind>(
        before: &[&str],
        role: &str,
        ring: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        let output = nameless_file();
        let this = std::env::current_exe().unwrap();
        let mut command = match before {
            [] => Command::new(this),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(this).env(DETACHED, "1");
                command
            }
        };
        command
            .args([STAGE, "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(KIND, K::NAME)
            .env(RING, ring)
            .env(PARENT, std::process::id().to_string())
            .stdin(OwnedFd::from(there))
            .stdout(Stdio::from(output.try_clone().unwrap()))
            .stderr(Stdio::from(output.try_clone().unwrap()));
        prepare(&mut command);
        let process = spawn(&mut command);
        drop(command); // and with it our copy of the child's socket
        let pid = Pid::from_raw(process.id() as i32).unwrap();
        let mut child = Self {
            role: role.into(),
            pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            process,
            tid: 0,
            socket: BufReader::new(here),
            output,
            started: Instant::now(),
            said: "(start)".into(),
            took: Duration::ZERO,
            busy_before: 0,
            sleeps_briefly: false,
            reaped: false,
        };
        child.tid = child.hear().parse().unwrap();
        child
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The thread that plays.
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// Gives a command, without waiting for the answer.
    pub fn say(&mut self, command: &str) {
        self.said = command.into();
        self.busy_before = asleep::processor_time(self.pid(), self.tid);
        let sent = writeln!(self.socket.get_mut(), "{command}");
        if let Err(e) = sent {
            self.fail(&format!("does not listen: {e}"));
        }
    }

    /// The answer to the last command.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            let left = CHILD_LIMIT.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                self.fail("did not answer in time");
            }
            self.socket.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.socket.read_line(&mut line) {
                Ok(_) if line.ends_with('\n') => break,
                Ok(_) => self.fail("ended instead of answering"),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                    self.fail("ended without listening");
                }
                Err(e) => self.fail(&format!("cannot be heard: {e}")),
            }
        }
        let (nanos, answer) = line.trim_end_matches('\n').split_once(' ').unwrap();
        self.took = Duration::from_nanos(nanos.parse().unwrap());
        answer.into()
    }

    /// Gives a command and hears the answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.hear()
    }

    /// Gives a command whose answer must be this.
    #[track_caller]
    pub fn must(&mut self, command: &str, answer: &str) {
        self.say(command);
        self.must_hear(answer);
    }

    /// Hears the answer to the last command, which must be this.
    #[track_caller]
    pub fn must_hear(&mut self, answer: &str) {
        let heard = self.hear();
        assert_eq!(heard, answer, "{}: {}", self.role, self.said);
    }

    /// Hears the answer to a command that has been waiting: this one, and because it was woken, not
    /// because its interval was over.
    #[track_caller]
    pub fn wakes_with(&mut self, answer: &str) {
        self.must_hear(answer);
        assert!(
            self.took < WOKEN,
            "{}: {} was not woken, its interval ended",
            self.role,
            self.said
        );
    }

    /// How long the child took for its last answer, by its own clock.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Waits until the last command waits in the ring: asleep, or spinning if that is the policy.
    pub fn until_waiting(&mut self, policy: WaitPolicy) {
        match policy {
            WaitPolicy::Spin => self.until_spinning(),
            _ => self.until_asleep(),
        }
    }

    /// Waits until the child sleeps in the futex of a ring, and for long, unless it does so briefly
    /// only: nothing but a wake, a signal or the end of its interval ends that.
    pub fn until_asleep(&mut self) {
        self.until("does not fall asleep", |child| {
            asleep::for_long(child.pid(), child.tid)
                || (child.sleeps_briefly
                    && asleep::in_shared_futex(child.pid(), child.tid).is_some())
        });
    }

    /// Waits until the child has slept several times, with nobody waking it.
    pub fn until_restless(&mut self) {
        let sleeps = RefCell::new(BTreeSet::new());
        self.until("does not sleep time and again", |child| {
            sleeps.borrow_mut().extend(asleep::in_shared_futex(child.pid(), child.tid));
            sleeps.borrow().len() > 5
        });
    }

    /// Waits until the child has been spinning for a good while since the last command.
    pub fn until_spinning(&mut self) {
        self.until("does not spin", |child| {
            let busy = asleep::processor_time(child.pid(), child.tid) - child.busy_before;
            busy > 3_000_000 // far more than the way into the call takes
        });
    }

    fn until(&mut self, complaint: &str, look: impl Fn(&Self) -> bool) {
        while !look(self) {
            if self.started.elapsed() > CHILD_LIMIT {
                self.fail(complaint);
            }
            if self.has_exited(Duration::from_micros(100)) {
                self.fail("ended instead of waiting");
            }
        }
    }

    /// Sends a signal to the process: `KILL`, `STOP`, `CONT`, …
    pub fn signal(&self, signal: Signal) {
        // Through the pidfd: it means this child or nobody, however late it comes.
        let sent = pidfd_send_signal(&self.pidfd, signal);
        assert!(matches!(sent, Ok(()) | Err(rustix::io::Errno::SRCH)), "{sent:?}");
    }

    /// Interrupts the thread that plays, and no other, with `SIGUSR1`.
    pub fn interrupt(&self) {
        self.interrupter()();
    }

    /// [`interrupt`](Self::interrupt) for another thread to use, as long as this child is there.
    pub fn interrupter(&self) -> impl Fn() + Send + 'static {
        let (pid, tid) = (self.pid() as i32, self.tid as i32);
        move || {
            // A child that has ended is not to be interrupted any more, which is no news here.
            // SAFETY: plain values. Until it is reaped, nobody else gets the child's process id.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGUSR1) };
        }
    }

    /// Stops the child, and waits until it stands still.
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
        self.until("does not stop", |child| asleep::state(child.pid(), child.tid) == Some('T'));
    }

    /// Kills the child with `SIGKILL`, and waits until nothing is left of it.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        let status = self.wait();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{}", self.role);
    }

    /// Waits for the child's end. However long it was wanted for, it has some seconds for that.
    pub fn wait(&mut self) -> ExitStatus {
        let left = CHILD_LIMIT.saturating_sub(self.started.elapsed());
        if !self.has_exited(left.max(CHILD_LIMIT / 5)) {
            self.fail("does not end");
        }
        self.reaped = true;
        self.process.wait().unwrap()
    }

    /// Tells the child that the play is over, and expects a good end.
    pub fn finish(mut self) {
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Write);
        let status = self.wait();
        if !status.success() {
            self.fail(&format!("ended badly: {status}"));
        }
    }

    fn has_exited(&self, within: Duration) -> bool {
        let timeout =
            Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&timeout)), Ok(1..))
    }

    /// Ends the child and the test, and tells why.
    pub fn fail(&mut self, complaint: &str) -> ! {
        let elapsed = self.started.elapsed();
        let place = asleep::whereabouts(self.pid(), self.tid);
        let status = self.end_now();
        let mut output = String::new();
        self.output.rewind().unwrap();
        let _ = self.output.read_to_string(&mut output);
        panic!(
            "child `{}` {complaint}\n  after {elapsed:?}, last command: {}, whereabouts: {place}, \
             status: {status:?}\n  its output:\n{output}",
            self.role, self.said
        );
    }

    fn end_now(&mut self) -> Option<ExitStatus> {
        if self.reaped {
            return None;
        }
        // One that is just ending may do so: its own status says more than our kill.
        if !self.has_exited(Duration::from_secs(1)) {
            self.signal(Signal::KILL);
        }
        self.reaped = true;
        self.process.wait().ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.process.wait(); // it was killed; there is nothing to learn
        }
    }
}

/// A child as it sees itself.
pub struct Me {
    /// The ring's name.
    pub ring: String,
    socket: BufReader<UnixStream>,
    heard: Instant,
}

impl Me {
    /// The next command; `None` when the play is over.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.socket.read_line(&mut line).unwrap();
        self.heard = Instant::now();
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Answers the last command.
    pub fn say(&mut self, answer: impl std::fmt::Display) {
        let took = self.heard.elapsed().as_nanos();
        writeln!(self.socket.get_mut(), "{took} {answer}").unwrap();
    }
}

/// In a child: plays the role it was started for. Otherwise: checks that children are watched.
pub fn stage(roles: Roles<'_>) {
    let Ok(role) = std::env::var(ROLE) else {
        return super::watched(STAGE, children_that_fail_are_reported);
    };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let variable = |name| std::env::var(name).unwrap();
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    // The parent of one started by another command is that command.
    let detached = std::env::var(DETACHED).is_ok();
    assert!(detached || parent == Some(variable(PARENT)), "the parent has died already");
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut me =
        Me { ring: variable(RING), socket: BufReader::new(socket.into()), heard: Instant::now() };
    me.say(rustix::thread::gettid().as_raw_nonzero());
    let kind = variable(KIND);
    let (.., play) = roles
        .iter()
        .find(|(name, of, _)| (*name, *of) == (&*role, &*kind))
        .unwrap_or_else(|| panic!("no role {role} in this binary, with a ring of kind {kind}"));
    play(me);
}

/// On disk, not in memory: a child gone wild may write a lot.
fn nameless_file() -> File {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let directory = env!("CARGO_TARGET_TMPDIR");
    let fd = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).unwrap();
    File::from(fd)
}

fn children_that_fail_are_reported() {
    let report = |act: fn()| {
        let panic = std::panic::catch_unwind(act).expect_err("a failing child went unnoticed");
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let unknown = report(|| {
        let mut child = Child::start::<Spsc>("stranger", "");
        child.ask("anything");
    });
    assert!(unknown.contains("child `stranger`"), "{unknown}");
    assert!(unknown.contains("no role stranger in this binary"), "{unknown}");

    let late = report(|| {
        let mut child = Child::start::<Mpmc>("puppet", "");
        child.started -= CHILD_LIMIT - Duration::from_millis(20);
        child.ask("hang");
    });
    assert!(late.contains("child `puppet` did not answer in time"), "{late}");
    assert!(late.contains("last command: hang"), "{late}");
}
