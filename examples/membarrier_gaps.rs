//! Whether this kernel's `membarrier` reaches every processor that runs a registered process. On
//! Linux (6.18 and before, at least) it need not: `SAFETY.md` §5 says why, and what we do about it.
//!
//! ```text
//! cargo run --release --example membarrier_gaps [--runs N] [--millis N]
//! ```
//!
//! In each run a fresh process has a thread on each of two processors. One stores an index and
//! looks at a word; the other sets the word, calls `membarrier` and looks at the index. The process
//! has registered
//!
//! * `before`: when it had one thread, and had run on the other processor never;
//! * `asleep`: while its second thread slept;
//! * `ended`: before, but another thread of it has ended on the second's processor.
//!
//! `lost` counts rounds in which neither saw what the other had stored, which the call is there to
//! forbid. `fast` counts runs in which the call took less than half of its median time in those of
//! `before`: mostly, it did not interrupt anybody.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line.

mod support;

use std::hint::spin_loop;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rustix::thread::{CpuSet, MembarrierCommand, membarrier, sched_getaffinity, sched_setaffinity};
use support::Outcome;
use support::figures;
use support::output::{Progress, stdout};

/// Rounds that membarrier should have decided, and did not.
#[derive(Parser)]
#[command(max_term_width = 80)]
struct Args {
    /// Processes for each history
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// How long each of them plays
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,
    /// Be one of those processes
    #[arg(long, hide = true, requires = "there")]
    play: Option<History>,
    /// The processor of its second thread
    #[arg(long, hide = true)]
    there: Option<usize>,
}

/// What a process has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum History {
    /// Registered with one thread.
    Before,
    /// Registered while its second thread slept.
    Asleep,
    /// Registered with one thread; another has ended since.
    Ended,
}

/// What one process has counted.
struct Counts {
    rounds: u64,
    lost: u64,
    /// The mean time of the call, in nanoseconds.
    call: u64,
}

#[repr(align(128))]
struct Apart<T>(T);

static INDEX: Apart<AtomicU64> = Apart(AtomicU64::new(0));
static WORD: Apart<AtomicU32> = Apart(AtomicU32::new(0));
static BEGUN: Apart<AtomicU64> = Apart(AtomicU64::new(0));
static ENDED: Apart<AtomicU64> = Apart(AtomicU64::new(0));
/// The last round in which the publisher saw nothing.
static BLIND: AtomicU64 = AtomicU64::new(0);
/// No round comes after this one.
const NO_MORE: u64 = u64::MAX;

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match (args.play, args.there) {
        (Some(history), Some(there)) => play(history, there, Duration::from_millis(args.millis)),
        _ => compare(args.runs, args.millis),
    })
}

fn compare(runs: u32, millis: u64) -> Outcome {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> =
        (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(2).collect();
    let [here, there] = cpus[..] else {
        return Err("this takes two processors".into());
    };
    pin(here)?; // which those processes inherit
    let histories = [History::Before, History::Asleep, History::Ended];
    let mut counted = histories.map(|_| Vec::new());
    let mut progress = Progress::new("runs", runs.into());
    for run in 0..runs {
        progress.at(run.into(), figures::rate);
        for (history, counted) in histories.iter().zip(&mut counted) {
            counted.push(one_process(*history, there, millis)?);
        }
    }
    drop(progress);
    let mut usual: Vec<u64> = counted[0].iter().map(|run| run.call).collect();
    usual.sort_unstable();
    let fast = usual[usual.len() / 2] / 2;
    let mut output = stdout();
    writeln!(output, "registered  runs  fast     rounds  lost")?;
    for (history, runs) in histories.iter().zip(counted) {
        let name = format!("{history:?}").to_lowercase();
        let skipped = runs.iter().filter(|run| run.call < fast).count();
        let rounds: u64 = runs.iter().map(|run| run.rounds).sum();
        let lost: u64 = runs.iter().map(|run| run.lost).sum();
        writeln!(output, "{name:<10} {:>5} {skipped:>5} {rounds:>10} {lost:>5}", runs.len())?;
    }
    Ok(())
}

fn one_process(history: History, there: usize, millis: u64) -> Outcome<Counts> {
    let history = format!("{history:?}").to_lowercase();
    let child = Command::new(std::env::current_exe()?)
        .args(["--play", &history, "--there", &there.to_string(), "--millis", &millis.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8(child.stdout)?;
    let numbers: Vec<u64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [rounds, lost, call] = numbers[..] else {
        return Err("a process did not say what it counted".into());
    };
    Ok(Counts { rounds, lost, call })
}

/// Prints the rounds played, the rounds lost, and the call's mean time in nanoseconds.
fn play(history: History, there: usize, time: Duration) -> Outcome {
    if history != History::Asleep {
        membarrier(MembarrierCommand::RegisterGlobalExpedited)?;
    }
    if history == History::Ended {
        thread::spawn(move || pin(there)).join().map_err(|_| "a thread panicked")??;
    }
    let (ready, is_ready) = mpsc::channel();
    let (begin, may_begin) = mpsc::channel();
    let publisher = thread::spawn(move || {
        let _ = ready.send(pin(there));
        if may_begin.recv().is_ok() {
            publish();
        }
    });
    is_ready.recv()??;
    if history == History::Asleep {
        thread::sleep(Duration::from_millis(5)); // it sleeps by then
        membarrier(MembarrierCommand::RegisterGlobalExpedited)?;
    }
    begin.send(())?;

    let began = Instant::now();
    let (mut rounds, mut lost, mut calling) = (0, 0, Duration::ZERO);
    while rounds == 0 || began.elapsed() < time {
        rounds += 1;
        WORD.0.store(0, Relaxed);
        BEGUN.0.store(rounds, Release);
        for _ in 0..rounds % 53 {
            INDEX.0.load(Relaxed);
            spin_loop();
        }
        let called = Instant::now();
        WORD.0.fetch_or(1, Acquire);
        membarrier(MembarrierCommand::GlobalExpedited)?;
        let blind = INDEX.0.load(Acquire) < rounds;
        calling += called.elapsed();
        wait_for(&ENDED.0, rounds);
        lost += u64::from(blind && BLIND.load(Relaxed) == rounds);
    }
    BEGUN.0.store(NO_MORE, Release);
    publisher.join().map_err(|_| "the publisher panicked")?;
    writeln!(stdout(), "{rounds} {lost} {}", calling.as_nanos() as u64 / rounds)?;
    Ok(())
}

fn publish() {
    for round in 1.. {
        wait_for(&BEGUN.0, round);
        if BEGUN.0.load(Relaxed) == NO_MORE {
            break;
        }
        for _ in 0..round % 61 {
            WORD.0.load(Relaxed); // as in flow: its cache has the word
            spin_loop();
        }
        INDEX.0.store(round, Release);
        compiler_fence(SeqCst);
        if WORD.0.load(Relaxed) == 0 {
            BLIND.store(round, Relaxed);
        }
        ENDED.0.store(round, Release);
    }
}

fn pin(cpu: usize) -> rustix::io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus)
}

fn wait_for(at: &AtomicU64, round: u64) {
    let mut turns = 0;
    while at.load(Acquire) < round {
        turns += 1;
        if turns > 2000 {
            thread::yield_now(); // the other does not run
        } else {
            spin_loop();
        }
    }
}
