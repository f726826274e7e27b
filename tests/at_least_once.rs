//! At-least-once work: receive in place, work, release. A worker that is killed in the midst of it
//! has lost nothing: what it had not released goes to another worker, marked as redelivered; or is
//! discarded and counted, on a ring that was told to. A job that kills its workers is told by the
//! number of its redeliveries.
//!
//! Workers are processes that do what a line says and answer with a line. So a worker is killed
//! exactly when it has said that it is in the midst of a job; nothing here depends on when things
//! happen.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use ringpipe::{CreateError, Mpmc, Options, Ring, SendHandle};
use rustix::process::{Signal, getpid, kill_process};
use support::{Child, Flavour, Me, Name, both_kinds, options, roles, tests};

roles!(worker);

both_kinds!(
    a_worker_that_nobody_kills_gets_every_job_once_and_unmarked,
    jobs_in_the_midst_of_which_a_worker_is_killed_reach_its_successor_marked,
    what_a_killed_worker_had_released_is_not_delivered_again,
    jobs_outlive_any_number_of_workers_that_are_killed_in_their_midst,
    jobs_of_a_worker_that_leaves_with_them_undone_are_delivered_again,
    a_ring_told_to_drop_discards_the_jobs_of_a_killed_worker_and_counts_them,
    a_job_that_kills_every_worker_is_told_by_its_redeliveries_and_the_others_are_done,
    a_job_that_has_killed_as_many_workers_as_the_ring_allows_is_dropped_and_counted,
);

tests!(
    jobs_of_a_killed_worker_reach_a_colleague_who_has_work_of_its_own,
    every_job_is_done_though_workers_are_killed_again_and_again_in_the_midst_of_jobs,
    a_limit_of_deliveries_is_the_creators_and_within_bounds,
);

/// How long a worker looks for jobs, at most: shorter than it may live, so that its report comes
/// first.
const LOOK: Duration = Duration::from_secs(40);

/// The job that kills whoever looks at it.
const POISON: u64 = 1013;

/// A ring whose name goes with it.
struct Queue<K: Flavour> {
    ring: Ring<u64, K>,
    name: Name,
}

impl<K: Flavour> Queue<K> {
    /// With 16 slots, and those jobs in it. The sender stays until it is dropped.
    fn with_jobs(
        set: impl FnOnce(Options<u64, K>) -> Options<u64, K>,
        jobs: std::ops::Range<u64>,
    ) -> (Self, SendHandle<u64, K>) {
        let name = Name::new();
        let ring = set(options()).capacity(16).create(&name).unwrap();
        let mut tx = K::sender(&ring).unwrap();
        tx.try_send_exact(&jobs.collect::<Vec<_>>()).unwrap();
        (Self { ring, name }, tx)
    }

    fn worker(&self) -> Worker {
        let mut worker = Child::start::<K>("worker", &self.name);
        worker.must_hear("attached");
        Worker(worker)
    }
}

/// A worker as its employer sees it.
struct Worker(Child);

/// What a claim brought: the jobs in order, the first so many of them marked as redelivered.
#[derive(Debug, PartialEq, Eq)]
struct Claimed {
    again: usize,
    /// How often the first of them had been handed to workers that are gone.
    redeliveries: u64,
    jobs: Vec<u64>,
}

/// Jobs that nobody had before.
fn fresh(jobs: impl Into<Vec<u64>>) -> Claimed {
    Claimed { again: 0, redeliveries: 0, jobs: jobs.into() }
}

/// A job that the worker itself has given back.
fn given_back(job: u64) -> Claimed {
    Claimed { again: 1, redeliveries: 0, jobs: vec![job] }
}

/// A job that so many workers had who are gone.
fn adopted(job: u64, redeliveries: u64) -> Claimed {
    Claimed { again: 1, redeliveries, jobs: vec![job] }
}

impl Worker {
    /// Lets it claim up to `max` jobs. It is in the midst of them now, until it `release`s.
    fn claim(&mut self, max: usize) -> Claimed {
        let answer = self.0.ask(&format!("claim {max}"));
        let mut numbers =
            answer.split(' ').map(|n| n.parse::<u64>().unwrap_or_else(|_| panic!("{answer}")));
        let mut number = || numbers.next().unwrap();
        Claimed { again: number() as usize, redeliveries: number(), jobs: numbers.collect() }
    }

    /// Lets it do these jobs, which others had: they come one by one, though it would take more.
    #[track_caller]
    fn does_adopted(&mut self, jobs: std::ops::Range<u64>) {
        for job in jobs {
            assert_eq!(self.claim(4), adopted(job, 1));
            self.release(1);
        }
    }

    #[track_caller]
    fn release(&mut self, count: usize) {
        self.0.must(&format!("release {count}"), "released");
    }

    /// `kill -9`; returns when it is dead.
    fn kill(self) {
        self.0.kill();
    }

    /// Lets it go as it should.
    fn dismiss(self) {
        self.0.finish();
    }
}

/// A role: a worker. Between a claim and its release there is nothing but waiting for orders.
fn worker<K: Flavour>(mut me: Me) {
    let ring = options::<K>().open(&me.ring).unwrap();
    let mut rx = K::receiver(&ring).unwrap();
    rx.set_liveness_interval(Duration::from_millis(2));
    me.say("attached");
    while let Some(order) = me.hear() {
        let max = order.strip_prefix("claim ").unwrap().parse().unwrap();
        let run = match rx.claim_deadline(max, LOOK) {
            Ok(run) => run,
            Err(why) => {
                me.say(format_args!("{why:?}"));
                continue;
            }
        };
        let jobs: Vec<_> = run.iter().map(|job| job.to_string()).collect();
        me.say(format_args!("{} {} {}", run.redelivered(), run.redeliveries(), jobs.join(" ")));
        if jobs.contains(&POISON.to_string()) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        let Some(order) = me.hear() else {
            drop(run); // dismissed with the jobs undone
            return;
        };
        run.release(order.strip_prefix("release ").unwrap().parse().unwrap());
        me.say("released");
    }
}

fn a_worker_that_nobody_kills_gets_every_job_once_and_unmarked<K: Flavour>() {
    let (queue, tx) = Queue::<K>::with_jobs(|options| options, 0..6);
    let mut worker = queue.worker();
    assert_eq!(worker.claim(4), fresh([0, 1, 2, 3]));
    worker.release(4);
    assert_eq!(worker.claim(4), fresh([4, 5]));
    worker.release(2);
    drop(tx);
    assert_eq!(worker.0.ask("claim 4"), "Closed");
    worker.dismiss();
    assert_eq!((queue.ring.len(), queue.ring.stats().redelivered), (0, 0));
}

fn jobs_in_the_midst_of_which_a_worker_is_killed_reach_its_successor_marked<K: Flavour>() {
    let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..4);
    let mut first = queue.worker();
    assert_eq!(first.claim(4).jobs, [0, 1, 2, 3]);
    first.kill();
    let mut second = queue.worker();
    second.does_adopted(0..4);
    second.dismiss();
    let stats = queue.ring.stats();
    assert_eq!((queue.ring.len(), stats.redelivered, stats.dropped), (0, 4, 0));
}

fn jobs_of_a_killed_worker_reach_a_colleague_who_has_work_of_its_own() {
    let (queue, tx) = Queue::<Mpmc>::with_jobs(|options| options, 0..8);
    let (mut victim, mut colleague) = (queue.worker(), queue.worker());
    assert_eq!(victim.claim(4).jobs, [0, 1, 2, 3]);
    assert_eq!(colleague.claim(2), fresh([4, 5]));
    victim.kill();
    colleague.release(2);
    assert_eq!(colleague.claim(2), fresh([6, 7]));
    colleague.release(2);
    colleague.does_adopted(0..4); // there is nothing else
    drop(tx);
    assert_eq!(colleague.0.ask("claim 1"), "Closed");
    colleague.dismiss();
}

fn what_a_killed_worker_had_released_is_not_delivered_again<K: Flavour>() {
    let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..6);
    let mut first = queue.worker();
    assert_eq!(first.claim(4).jobs, [0, 1, 2, 3]);
    first.release(3);
    assert_eq!(first.claim(1), given_back(3));
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

fn jobs_outlive_any_number_of_workers_that_are_killed_in_their_midst<K: Flavour>() {
    let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..3);
    for turn in 0..5 {
        let mut worker = queue.worker();
        let claimed = if turn == 0 { fresh([0, 1, 2]) } else { adopted(0, turn) };
        assert_eq!(worker.claim(4), claimed);
        worker.kill();
    }
    let mut worker = queue.worker();
    assert_eq!(worker.claim(4), adopted(0, 5));
    worker.release(1);
    worker.does_adopted(1..3);
    worker.dismiss();
    assert!(queue.ring.is_empty());
}

fn jobs_of_a_worker_that_leaves_with_them_undone_are_delivered_again<K: Flavour>() {
    let (queue, _tx) = Queue::<K>::with_jobs(|options| options, 0..3);
    let mut first = queue.worker();
    assert_eq!(first.claim(4).jobs, [0, 1, 2]);
    first.dismiss();
    let mut second = queue.worker();
    second.does_adopted(0..3);
    second.dismiss();
}

fn a_ring_told_to_drop_discards_the_jobs_of_a_killed_worker_and_counts_them<K: Flavour>() {
    let (queue, tx) = Queue::<K>::with_jobs(|options| options.drop_unreleased(true), 0..6);
    let mut first = queue.worker();
    assert_eq!(first.claim(4).jobs, [0, 1, 2, 3]);
    first.release(1);
    assert_eq!(first.claim(3).jobs, [1, 2, 3]);
    first.kill();
    let mut second = queue.worker();
    assert_eq!(second.claim(4), fresh([4, 5]));
    second.release(2);
    drop(tx);
    assert_eq!(second.0.ask("claim 1"), "Closed");
    second.dismiss();
    let stats = queue.ring.stats();
    assert_eq!((stats.dropped, stats.redelivered), (3, 0));
    // The discarded slots are free again.
    let mut tx = K::sender(&queue.ring).unwrap();
    tx.try_send_exact(&[7; 16]).unwrap();
}

fn every_job_is_done_though_workers_are_killed_again_and_again_in_the_midst_of_jobs() {
    let jobs = 300_u64;
    let (queue, mut tx) = Queue::<Mpmc>::with_jobs(|options| options, 0..0);
    let mut next = 0;
    let mut workers: Vec<_> = (0..3).map(|_| queue.worker()).collect();
    let (mut seen, mut done) = (BTreeSet::new(), BTreeSet::<u64>::new());
    let (mut kills, mut duplicates) = (0, 0);
    // How many workers were killed that had been shown a job; and what each left undone.
    let (mut deaths, mut undone) = (BTreeMap::<u64, u64>::new(), Vec::<BTreeSet<u64>>::new());
    // What a worker has taken over from one of those, and which. It comes first, one by one.
    let (mut adopted, mut adopter) = (BTreeSet::new(), 0);
    for turn in 0.. {
        while next < jobs && tx.try_send(next).is_ok() {
            next += 1;
        }
        if done.len() as u64 == jobs {
            break;
        }
        let worker = if adopted.is_empty() { turn % workers.len() } else { adopter };
        let claimed = workers[worker].claim(5);
        if claimed.again > 0 && adopted.is_empty() {
            let of_the_dead = undone.iter().position(|jobs| jobs.contains(&claimed.jobs[0]));
            (adopted, adopter) = (undone.swap_remove(of_the_dead.unwrap()), worker);
        }
        let times = deaths.get(&claimed.jobs[0]).copied().unwrap_or(0);
        assert_eq!(claimed.redeliveries, times, "{claimed:?}");
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
            claimed.jobs.iter().for_each(|&job| *deaths.entry(job).or_default() += 1);
            undone.push(claimed.jobs.into_iter().chain(std::mem::take(&mut adopted)).collect());
        } else {
            // Sometimes not all of them: the last comes again, to the same worker.
            let kept = usize::from(turn % 11 == 10);
            workers[worker].release(claimed.jobs.len() - kept);
            if kept > 0 {
                let last = *claimed.jobs.last().unwrap();
                let redeliveries = if claimed.jobs.len() == 1 { claimed.redeliveries } else { 0 };
                let again = Claimed { redeliveries, ..given_back(last) };
                assert_eq!(workers[worker].claim(1), again);
                workers[worker].release(1);
            }
            claimed.jobs.iter().for_each(|job| _ = adopted.remove(job));
            done.extend(&claimed.jobs);
        }
    }
    assert!(done.iter().copied().eq(0..jobs));
    assert!(kills > 10 && duplicates >= kills, "{kills} kills, {duplicates} duplicates");
    drop(tx);
    for mut worker in workers {
        assert_eq!(worker.0.ask("claim 1"), "Closed");
        worker.dismiss();
    }
}

/// A worker that gets the deadly job, among others or alone, dies of it.
fn dies_of(mut worker: Worker, claimed: Claimed) {
    assert_eq!(worker.claim(4), claimed);
    assert_eq!(worker.0.wait().signal(), Some(9));
}

fn a_job_that_kills_every_worker_is_told_by_its_redeliveries_and_the_others_are_done<K: Flavour>() {
    let (queue, mut tx) = Queue::<K>::with_jobs(|options| options, 1011..1015);
    dies_of(queue.worker(), fresh([1011, 1012, 1013, 1014]));
    // The next two do what comes before it, and die of it.
    let mut worker = queue.worker();
    worker.does_adopted(1011..1013);
    dies_of(worker, adopted(1013, 1));
    dies_of(queue.worker(), adopted(1013, 2));
    tx.try_send_exact(&[1015, 1016]).unwrap();
    // This one is told, does not look at it closely, and sets it aside.
    let mut rx = K::receiver(&queue.ring).unwrap();
    rx.set_liveness_interval(Duration::from_millis(2));
    drop(tx);
    let (mut done, mut aside) = (Vec::new(), Vec::new());
    while let Ok(run) = rx.claim_deadline(1, LOOK) {
        let job = run.get(0).unwrap();
        match run.redeliveries() {
            3 => aside.push(job),
            redeliveries => done.push((job, redeliveries)),
        }
        run.release_all();
    }
    done.sort_unstable(); // an MPMC receiver sees what nobody had claimed first
    assert_eq!((done, aside), (vec![(1014, 1), (1015, 0), (1016, 0)], vec![1013]));
    assert_eq!((queue.ring.len(), queue.ring.stats().dropped), (0, 0));
}

fn a_job_that_has_killed_as_many_workers_as_the_ring_allows_is_dropped_and_counted<K: Flavour>() {
    let (queue, tx) = Queue::<K>::with_jobs(|options| options.delivery_limit(3), 1013..1016);
    dies_of(queue.worker(), fresh([1013, 1014, 1015]));
    dies_of(queue.worker(), adopted(1013, 1));
    dies_of(queue.worker(), adopted(1013, 2));
    let mut worker = queue.worker();
    worker.does_adopted(1014..1016);
    drop(tx);
    assert_eq!(worker.0.ask("claim 1"), "Closed");
    worker.dismiss();
    let stats = queue.ring.stats();
    assert_eq!((stats.exhausted, stats.dropped, stats.redelivered), (1, 1, 2));
    // Its slot is free again.
    let mut tx = K::sender(&queue.ring).unwrap();
    tx.try_send_exact(&[7; 16]).unwrap();
}

fn a_limit_of_deliveries_is_the_creators_and_within_bounds() {
    for possible in [2, 15] {
        let (queue, _tx) = Queue::<Mpmc>::with_jobs(|o| o.delivery_limit(possible), 0..1);
        let open = Ring::<u64, Mpmc>::options().delivery_limit(7);
        assert!(open.open(&queue.name).is_ok(), "the opener's is without effect");
    }
    for impossible in [1, 16, u32::MAX] {
        let options = Ring::<u64, Mpmc>::options().delivery_limit(impossible);
        assert!(
            matches!(options.create_anonymous(), Err(CreateError::Options { .. })),
            "{impossible}"
        );
    }
}
