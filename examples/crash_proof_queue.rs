//! A work queue that loses no job, though its workers are killed in the midst of jobs.
//!
//! ```text
//! cargo run --release --example crash_proof_queue -- --jobs 5000 --workers 4 --kill-every 20
//! ```
//!
//! Each worker claims jobs in place, does them, sends the results through a second ring, and only
//! then releases the jobs. This process kills a worker with `SIGKILL` every few milliseconds and
//! starts another in its place. What a dead worker had claimed and not released, the ring gives to
//! another worker and says so: [`ReadRun::redelivered`](ringpipe::ReadRun::redelivered).
//!
//! So every job is done **at least once**. It is done twice if its worker died after it had done it
//! and before it released it, and then the second time is marked: whoever must not act twice looks
//! at the mark, and only then has to ask whether the job was done before. A worker that dies while
//! it sends a result loses that result, but not the job, which it had not released.
//!
//! Neither ring has a name: the workers inherit their descriptors. Nothing can be left behind.
//!
//! Exit codes: 0 if every job was done, and done again only with a mark; 1 if not, or on other
//! errors; 2 for a wrong command line.

mod support;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, NoUninit};
use clap::Parser;
use ringpipe::mpmc::Ring;
use ringpipe::{BulkError, RecvTimeoutError, SendError, TrySendError};
use rustix::process::{Signal, set_parent_process_death_signal};
use support::Outcome;
use support::children::{Peer, given};
use support::figures;
use support::output::{Progress, stdout};

/// Lets workers do jobs, kills them in their midst, and shows that every job gets done.
#[derive(Parser)]
#[command(
    max_term_width = 80,
    after_help = "Exit code 0 if every job was done, and done again only with a mark."
)]
struct Args {
    /// Jobs to do
    #[arg(long, default_value_t = 5000)]
    jobs: u64,
    /// Worker processes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    workers: u32,
    /// Milliseconds from one kill to the next
    #[arg(long, default_value_t = 20)]
    kill_every: u64,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Be a worker
    #[arg(long, hide = true)]
    worker: bool,
}

/// What a worker says of a job. `repr(C)`, because another process reads it.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Done {
    job: u64,
    answer: u64,
    /// Not 0: the job had been given to a worker before.
    again: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(if args.worker { work() } else { employ(&args) })
}

/// A job, for a fraction of a millisecond: how long the Collatz sequences from there on are.
fn answer(job: u64) -> u64 {
    (0..1000).fold(0, |sum: u64, i| {
        let (mut n, mut steps) = (job * 1000 + i + 1, 0);
        while n != 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        sum.wrapping_mul(31).wrapping_add(steps)
    })
}

/// A worker: claim, work, report, release.
fn work() -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL))?; // no employer, no work
    let jobs = Ring::<u64>::options().from_fd(given(0)?)?;
    let results = Ring::<Done>::options().from_fd(given(1)?)?;
    let (mut jobs, mut results) = (jobs.receiver()?, results.sender()?);
    jobs.set_liveness_interval(Duration::from_millis(5)); // how soon a dead colleague's jobs are found
    jobs.require_peer(); // an employer who has left before we came will not come again
    loop {
        let claimed = match jobs.claim_deadline(8, Duration::from_secs(60)) {
            Ok(claimed) => claimed,
            Err(BulkError::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        let again = claimed.redelivered();
        for (i, job) in claimed.iter().enumerate() {
            let done = Done { job, answer: answer(job), again: u64::from(i < again) };
            match results.send(done) {
                Ok(()) => {}
                Err(SendError::Closed(_)) => return Err("nobody wants the results".into()),
                Err(why) => return Err(why.to_string().into()),
            }
        }
        claimed.release_all();
    }
}

/// How often a job was done.
#[derive(Clone, Copy, Default)]
struct Account {
    unmarked: u32,
    marked: u32,
    answer: u64,
    /// Two answers differed.
    wrong: bool,
}

fn employ(args: &Args) -> Outcome {
    let jobs = Ring::<u64>::options().capacity(64).create_anonymous()?;
    let results = Ring::<Done>::options().capacity(1024).create_anonymous()?;
    let (mut tx, mut rx) = (jobs.sender()?, results.receiver()?);
    let hire = |number: usize| {
        let gifts = [jobs.as_fd(), results.as_fd()];
        Peer::spawn(format!("worker {number}"), &gifts, |command| command.arg("--worker"))
    };
    let mut workers = (0..args.workers as usize).map(hire).collect::<Outcome<Vec<_>>>()?;

    let mut accounts = vec![Account::default(); usize::try_from(args.jobs)?];
    let book = |done: Done, accounts: &mut Vec<Account>| -> Outcome<bool> {
        let account = usize::try_from(done.job).ok().and_then(|job| accounts.get_mut(job));
        let account = account.ok_or("a result of a job that there is not")?;
        let first = account.marked + account.unmarked == 0;
        *if done.again == 0 { &mut account.unmarked } else { &mut account.marked } += 1;
        account.wrong |= !first && done.answer != account.answer;
        account.answer = done.answer;
        Ok(first)
    };
    let began = Instant::now();
    let (mut next, mut done, mut kills) = (0, 0, 0_u32);
    let mut kill_at = began + Duration::from_millis(args.kill_every);
    let mut progress = Progress::new("jobs", args.jobs);
    while done < args.jobs {
        while next < args.jobs {
            match tx.try_send(next) {
                Ok(()) => next += 1,
                // Closed: all workers are dead at this moment. The next are on their way.
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => break,
                Err(why) => return Err(why.to_string().into()),
            }
        }
        match rx.recv_timeout(Duration::from_millis(1)) {
            Ok(result) => done += u64::from(book(result, &mut accounts)?),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Closed) => {}
            Err(why) => return Err(why.into()),
        }
        progress.at(done, figures::rate);
        if Instant::now() >= kill_at {
            let victim = (RandomState::new().hash_one(kills) % workers.len() as u64) as usize;
            workers[victim].still_runs()?; // nobody ends for any other reason
            workers[victim] = hire(victim)?; // dropping the other kills it
            kills += 1;
            kill_at = Instant::now() + Duration::from_millis(args.kill_every);
        }
        if began.elapsed() > Duration::from_secs(args.limit) {
            return Err(format!("{done} of {} jobs done in {} s", args.jobs, args.limit).into());
        }
    }
    drop(progress);
    // End-of-file: each worker finishes what it is at, and what the dead have left.
    drop(tx);
    loop {
        match rx.recv_timeout(Duration::from_secs(args.limit)) {
            Ok(result) => _ = book(result, &mut accounts)?,
            Err(RecvTimeoutError::Closed) => break,
            Err(why) => return Err(why.into()),
        }
    }
    workers.into_iter().try_for_each(Peer::finish)?;

    let count = |what: fn(&Account) -> bool| accounts.iter().filter(|a| what(a)).count();
    let twice = count(|a| a.unmarked + a.marked > 1);
    let unmarked_twice = count(|a| a.unmarked > 1);
    let (never, wrong) = (count(|a| a.unmarked + a.marked == 0), count(|a| a.wrong));
    // A sample: to do them all again takes as long as it took.
    let sample = (0..args.jobs).step_by(50).zip(accounts.iter().step_by(50));
    let wrong = wrong + sample.filter(|(job, a)| a.answer != answer(*job)).count();
    let seconds = began.elapsed().as_secs_f64();
    let given = jobs.stats().redelivered;
    let said = writeln!(
        stdout(),
        "{} jobs, {} workers, {seconds:.1} s\n\
         {kills} workers killed in the midst of their work\n\
         {given} jobs given to another worker after that\n\
         {twice} jobs done more than once, each time but the first marked\n\
         {never} jobs not done",
        args.jobs,
        args.workers,
    );
    // Also if nobody reads that.
    if unmarked_twice > 0 || wrong > 0 || never > 0 || !jobs.is_empty() {
        let why =
            format!("{unmarked_twice} done twice without a mark, {wrong} wrong, {never} never");
        return Err(why.into());
    }
    Ok(said.and_then(|()| writeln!(stdout(), "every job was done at least once"))?)
}
