//! At-least-once work: receive in place, work, release. A worker that is killed in the midst of it
//! has lost nothing: what it had not released goes to another worker, marked as redelivered; or is
//! discarded and counted, on a ring that was told to.
//!
//! Workers are processes: this test binary, started again, that does what a line on its standard
//! input says and answers with a line. So a worker is killed exactly when it has said that it is in
//! the midst of a job; nothing here depends on when things happen.

#[path = "support/by_fork.rs"]
mod by_fork;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use by_fork::by_fork;
use ringpipe::{AttachError, Kind, Mpmc, Options, RecvHandle, Ring, SendHandle, Spsc};

/// How long a worker may take to answer: far more than it needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a worker looks for jobs, at most: shorter, so that its report comes first.
const LOOK: Duration = Duration::from_secs(40);

const RING: &str = "RINGPIPE_AT_LEAST_ONCE_RING";
const KIND: &str = "RINGPIPE_AT_LEAST_ONCE_KIND";

/// What SPSC and MPMC rings have in common but call by different names.
trait Flavour: Kind {
    const CALLED: &'static str;
    fn sender(ring: &Ring<u64, Self>) -> SendHandle<u64, Self>;
    fn receiver(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError>;
}

impl Flavour for Mpmc {
    const CALLED: &'static str = "mpmc";
    fn sender(ring: &Ring<u64, Self>) -> SendHandle<u64, Self> {
        ring.sender().unwrap()
    }
    fn receiver(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError> {
        ring.receiver()
    }
}

impl Flavour for Spsc {
    const CALLED: &'static str = "spsc";
    fn sender(ring: &Ring<u64, Self>) -> SendHandle<u64, Self> {
        ring.producer().unwrap()
    }
    fn receiver(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError> {
        ring.consumer()
    }
}

/// A ring whose name goes with it.
struct Queue<K: Flavour>(Ring<u64, K>);

impl<K: Flavour> Queue<K> {
    /// With 16 slots, and those jobs in it. The sender stays until it is dropped.
    fn with_jobs(
        set: impl FnOnce(Options<u64, K>) -> Options<u64, K>,
        jobs: std::ops::Range<u64>,
    ) -> (Self, SendHandle<u64, K>) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-at-least-once-{}-{count}", std::process::id());
        let ring = set(Ring::options().capacity(16)).create(&name).unwrap();
        let mut tx = K::sender(&ring);
        tx.try_send_exact(&jobs.collect::<Vec<_>>()).unwrap();
        (Self(ring), tx)
    }

    fn worker(&self) -> Worker {
        Worker::start(K::CALLED, &self.0.name().unwrap())
    }
}

impl<K: Flavour> Drop for Queue<K> {
    fn drop(&mut self) {
        let _ = self.0.unlink(); // best effort: the test has said what there was to say
    }
}

/// A worker as its employer sees it. Dropping it kills it.
struct Worker {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

/// What a claim brought: the jobs in order, the first so many of them marked as redelivered.
#[derive(Debug, PartialEq, Eq)]
struct Claimed {
    again: usize,
    jobs: Vec<u64>,
}

impl Worker {
    fn start(kind: &str, ring: &str) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut command = Command::new(this);
        let mut process = by_fork(&mut command)
            .args([STAGE, "--exact", "--nocapture", "--test-threads=1"])
            .envs([(RING, ring), (KIND, kind)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (said, answers) = channel();
        std::thread::spawn(move || {
            // The test harness speaks, too.
            let answers = output.lines().map_while(Result::ok);
            let mut answers = answers.filter_map(|l| Some(l.split_once("worker: ")?.1.to_owned()));
            answers.try_for_each(|answer| said.send(answer))
        });
        let orders = process.stdin.take();
        let worker = Self { process, orders, answers };
        assert_eq!(worker.answer(), "attached");
        worker
    }

    fn answer(&self) -> String {
        self.answers.recv_timeout(LIMIT).unwrap_or_else(|e| panic!("a worker does not answer: {e}"))
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answer()
    }

    /// Lets it claim up to `max` jobs. It is in the midst of them now, until it `release`s.
    fn claim(&mut self, max: usize) -> Claimed {
        let answer = self.order(&format!("claim {max}"));
        let mut numbers =
            answer.split(' ').map(|n| n.parse::<u64>().unwrap_or_else(|_| panic!("{answer}")));
        Claimed { again: numbers.next().unwrap() as usize, jobs: numbers.collect() }
    }

    fn release(&mut self, count: usize) {
        assert_eq!(self.order(&format!("release {count}")), "released");
    }

    /// `kill -9`; returns when it is dead.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets it go as it should.
    fn dismiss(mut self) {
        self.orders = None;
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // No more than an attempt: it may be gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The worker's side. Between a claim and its release there is nothing but waiting for orders.
fn play<K: Flavour>(ring: &str) {
    let say = |what: &str| {
        println!("worker: {what}");
        std::io::stdout().flush().unwrap();
    };
    let mut orders = std::io::stdin().lines().map(Result::unwrap);
    let ring = Ring::<u64, K>::options().open(ring).unwrap();
    let mut rx = K::receiver(&ring).unwrap();
    rx.set_liveness_interval(Duration::from_millis(2));
    say("attached");
    while let Some(order) = orders.next() {
        let max = order.strip_prefix("claim ").unwrap().parse().unwrap();
        let run = match rx.claim(max, LOOK) {
            Ok(run) => run,
            Err(why) => {
                say(&format!("{why:?}"));
                continue;
            }
        };
        let jobs: Vec<_> = run.iter().map(|job| job.to_string()).collect();
        say(&format!("{} {}", run.redelivered(), jobs.join(" ")));
        let Some(order) = orders.next() else {
            drop(run); // dismissed with the jobs undone
            return;
        };
        run.release(order.strip_prefix("release ").unwrap().parse().unwrap());
        say("released");
    }
}

/// The test that plays the workers of all the others.
const STAGE: &str = "a_worker_that_nobody_kills_gets_every_job_once_and_unmarked";

#[test]
fn a_worker_that_nobody_kills_gets_every_job_once_and_unmarked() {
    if let Ok(ring) = std::env::var(RING) {
        return match std::env::var(KIND).unwrap().as_str() {
            "spsc" => play::<Spsc>(&ring),
            _ => play::<Mpmc>(&ring),
        };
    }
    fn check<K: Flavour>() {
        let (queue, tx) = Queue::<K>::with_jobs(|options| options, 0..6);
        let mut worker = queue.worker();
        assert_eq!(worker.claim(4), Claimed { again: 0, jobs: vec![0, 1, 2, 3] });
        worker.release(4);
        assert_eq!(worker.claim(4), Claimed { again: 0, jobs: vec![4, 5] });
        worker.release(2);
        drop(tx);
        assert_eq!(worker.order("claim 4"), "Closed");
        worker.dismiss();
        assert_eq!((queue.0.len(), queue.0.stats().redelivered), (0, 0));
    }
    check::<Mpmc>();
    check::<Spsc>();
}

#[test]
fn jobs_in_the_midst_of_which_a_worker_is_killed_reach_its_successor_marked() {
    fn check<K: Flavour>() {
        let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..4);
        let mut first = queue.worker();
        assert_eq!(first.claim(4).jobs, [0, 1, 2, 3]);
        first.kill();
        let mut second = queue.worker();
        assert_eq!(second.claim(4), Claimed { again: 4, jobs: vec![0, 1, 2, 3] });
        second.release(4);
        second.dismiss();
        let stats = queue.0.stats();
        assert_eq!((queue.0.len(), stats.redelivered, stats.dropped), (0, 4, 0));
    }
    check::<Mpmc>();
    check::<Spsc>();
}

#[test]
fn jobs_of_a_killed_worker_reach_a_colleague_who_has_work_of_its_own() {
    let (queue, tx) = Queue::<Mpmc>::with_jobs(|options| options, 0..8);
    let (mut victim, mut colleague) = (queue.worker(), queue.worker());
    assert_eq!(victim.claim(4).jobs, [0, 1, 2, 3]);
    assert_eq!(colleague.claim(2), Claimed { again: 0, jobs: vec![4, 5] });
    victim.kill();
    colleague.release(2);
    assert_eq!(colleague.claim(2), Claimed { again: 0, jobs: vec![6, 7] });
    colleague.release(2);
    // There is nothing else: it finds them, in however many claims.
    let mut jobs = Vec::new();
    while jobs.len() < 4 {
        let claimed = colleague.claim(3);
        assert_eq!(claimed.again, claimed.jobs.len(), "{claimed:?}");
        colleague.release(claimed.jobs.len());
        jobs.extend(claimed.jobs);
    }
    assert_eq!(jobs, [0, 1, 2, 3]);
    drop(tx);
    assert_eq!(colleague.order("claim 1"), "Closed");
    colleague.dismiss();
}

#[test]
fn what_a_killed_worker_had_released_is_not_delivered_again() {
    fn check<K: Flavour>() {
        let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..6);
        let mut first = queue.worker();
        assert_eq!(first.claim(4).jobs, [0, 1, 2, 3]);
        first.release(3);
        assert_eq!(first.claim(1), Claimed { again: 1, jobs: vec![3] }, "given back by itself");
        first.kill();
        let mut second = queue.worker();
        let mut jobs = BTreeMap::new();
        while jobs.len() < 3 {
            let claimed = second.claim(4);
            for (i, &job) in claimed.jobs.iter().enumerate() {
                assert_eq!(jobs.insert(job, i < claimed.again), None, "{job} twice");
            }
            second.release(claimed.jobs.len());
        }
        assert_eq!(jobs, BTreeMap::from([(3, true), (4, false), (5, false)]));
        second.dismiss();
    }
    check::<Mpmc>();
    check::<Spsc>();
}

#[test]
fn jobs_outlive_any_number_of_workers_that_are_killed_in_their_midst() {
    fn check<K: Flavour>() {
        let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..3);
        for turn in 0..5 {
            let mut worker = queue.worker();
            let again = if turn == 0 { 0 } else { 3 };
            assert_eq!(worker.claim(4), Claimed { again, jobs: vec![0, 1, 2] }, "turn {turn}");
            worker.kill();
        }
        let mut worker = queue.worker();
        assert_eq!(worker.claim(4), Claimed { again: 3, jobs: vec![0, 1, 2] });
        worker.release(3);
        worker.dismiss();
        assert!(queue.0.is_empty());
    }
    check::<Mpmc>();
    check::<Spsc>();
}

#[test]
fn jobs_of_a_worker_that_leaves_with_them_undone_are_delivered_again() {
    fn check<K: Flavour>() {
        let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..3);
        let mut first = queue.worker();
        assert_eq!(first.claim(4).jobs, [0, 1, 2]);
        first.dismiss();
        let mut second = queue.worker();
        assert_eq!(second.claim(4), Claimed { again: 3, jobs: vec![0, 1, 2] });
        second.release(3);
        second.dismiss();
    }
    check::<Mpmc>();
    check::<Spsc>();
}

#[test]
fn a_ring_told_to_drop_discards_the_jobs_of_a_killed_worker_and_counts_them() {
    fn check<K: Flavour>() {
        let (queue, tx) = Queue::<K>::with_jobs(|options| options.drop_unreleased(true), 0..6);
        let mut first = queue.worker();
        assert_eq!(first.claim(4).jobs, [0, 1, 2, 3]);
        first.release(1);
        assert_eq!(first.claim(3).jobs, [1, 2, 3]);
        first.kill();
        let mut second = queue.worker();
        assert_eq!(second.claim(4), Claimed { again: 0, jobs: vec![4, 5] });
        second.release(2);
        drop(tx);
        assert_eq!(second.order("claim 1"), "Closed");
        second.dismiss();
        let stats = queue.0.stats();
        assert_eq!((stats.dropped, stats.redelivered), (3, 0));
        // The discarded slots are free again.
        let mut tx = K::sender(&queue.0);
        tx.try_send_exact(&[7; 16]).unwrap();
    }
    check::<Mpmc>();
    check::<Spsc>();
}

#[test]
fn every_job_is_done_though_workers_are_killed_again_and_again_in_the_midst_of_jobs() {
    let jobs = 300_u64;
    let (queue, mut tx) = Queue::<Mpmc>::with_jobs(|options| options, 0..0);
    let mut next = 0;
    let mut workers: Vec<_> = (0..3).map(|_| queue.worker()).collect();
    let (mut seen, mut done) = (BTreeSet::new(), BTreeSet::<u64>::new());
    let (mut kills, mut duplicates) = (0, 0);
    for turn in 0.. {
        while next < jobs && tx.try_send(next).is_ok() {
            next += 1;
        }
        if done.len() as u64 == jobs {
            break;
        }
        let worker = turn % workers.len();
        // Always as many, so that whoever adopts somebody's jobs claims all of them at once: what
        // it did not would wait for its next turn.
        let claimed = workers[worker].claim(5);
        for (i, &job) in claimed.jobs.iter().enumerate() {
            let marked = i < claimed.again;
            assert_eq!(!seen.insert(job), marked, "job {job}: marked means seen before");
            assert!(!done.contains(&job), "job {job} was released and came again");
            duplicates += u32::from(marked);
        }
        if turn % 5 == 3 {
            // In the midst of these jobs.
            let successor = queue.worker();
            std::mem::replace(&mut workers[worker], successor).kill();
            kills += 1;
        } else {
            // Sometimes not all of them: the last comes again, to the same worker.
            let kept = usize::from(turn % 11 == 10);
            workers[worker].release(claimed.jobs.len() - kept);
            if kept > 0 {
                let jobs = claimed.jobs.last().copied().into_iter().collect();
                assert_eq!(workers[worker].claim(1), Claimed { again: 1, jobs });
                workers[worker].release(1);
            }
            done.extend(&claimed.jobs);
        }
    }
    assert!(done.iter().copied().eq(0..jobs));
    assert!(kills > 10 && duplicates >= kills, "{kills} kills, {duplicates} duplicates");
    drop(tx);
    for mut worker in workers {
        assert_eq!(worker.order("claim 1"), "Closed");
        worker.dismiss();
    }
}
