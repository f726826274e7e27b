//! Whether this kernel's `membarrier` reaches every processor that runs a registered process. On
//! Linux (6.18 and before, at least) it need not: `SAFETY.md` §5 says why, and what we do about it.
//!
//! ```text
//! cargo run --release --example late_registration [--runs N] [--millis N]
//! ```
//!
//! In each run a fresh process pins two threads to two processors. The second sleeps while the
//! first registers (`late`), or starts after that (`early`). Then one stores an index and looks at a
//! word; the other sets the word, calls `membarrier` and looks at the index. `lost` counts rounds in
//! which neither saw what the other had stored, which the call is there to forbid. `skipped` counts
//! runs in which the call was so fast that it cannot have interrupted anybody: twice as fast as the
//! median of the early runs.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line.

mod support;

use std::hint::spin_loop;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, compiler_fence};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rustix::thread::{CpuSet, MembarrierCommand, membarrier, sched_getaffinity, sched_setaffinity};
use support::Outcome;

/// Rounds that membarrier should have decided, and did not.
#[derive(Parser)]
struct Args {
    /// Processes for each way of registering
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// How long each of them plays
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,
    /// Be one of those processes
    #[arg(long, hide = true)]
    play: Option<When>,
}

/// When a process registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// Before its second thread starts.
    Early,
    /// While its second thread sleeps.
    Late,
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
static REGISTERED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match args.play {
        Some(when) => play(when, Duration::from_millis(args.millis)),
        None => compare(args.runs, args.millis),
    })
}

fn compare(runs: u32, millis: u64) -> Outcome {
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        early.push(one_process(When::Early, millis)?);
        late.push(one_process(When::Late, millis)?);
    }
    early.sort_by_key(|run| run.call);
    let fast = early[early.len() / 2].call / 2;
    println!("registered     runs  skipped     rounds  lost");
    for (when, runs) in [("early", early), ("late", late)] {
        let skipped = runs.iter().filter(|run| run.call < fast).count();
        let rounds: u64 = runs.iter().map(|run| run.rounds).sum();
        let lost: u64 = runs.iter().map(|run| run.lost).sum();
        println!("{when:<12} {:>6} {skipped:>8} {rounds:>10} {lost:>5}", runs.len());
    }
    Ok(())
}

fn one_process(when: When, millis: u64) -> Outcome<Counts> {
    let when = format!("{when:?}").to_lowercase();
    let child = Command::new(std::env::current_exe()?)
        .args(["--play", &when, "--millis", &millis.to_string()])
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
fn play(when: When, time: Duration) -> Outcome {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> =
        (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(2).collect();
    let [here, there] = cpus[..] else {
        return Err("this takes two processors".into());
    };
    pin(here)?;
    if when == When::Early {
        membarrier(MembarrierCommand::RegisterGlobalExpedited)?;
    }
    let publisher = thread::spawn(move || publish(there));
    thread::sleep(Duration::from_millis(5)); // the other runs there, and mostly sleeps
    if when == When::Late {
        membarrier(MembarrierCommand::RegisterGlobalExpedited)?;
    }
    REGISTERED.store(true, Release);

    let began = Instant::now();
    let (mut lost, mut calling) = (0, Duration::ZERO);
    let mut rounds = 0;
    while began.elapsed() < time {
        rounds += 1;
        WORD.0.store(0, Relaxed);
        BEGUN.0.store(rounds, Release);
        for _ in 0..rounds % 53 {
            INDEX.0.load(Relaxed);
            spin_loop();
        }
        let calls = Instant::now();
        WORD.0.fetch_or(1, Acquire);
        membarrier(MembarrierCommand::GlobalExpedited)?;
        let blind = INDEX.0.load(Acquire) < rounds;
        calling += calls.elapsed();
        wait_for(&ENDED.0, rounds);
        lost += u64::from(blind && BLIND.load(Relaxed) == rounds);
    }
    BEGUN.0.store(u64::MAX, Release);
    publisher.join().map_err(|_| "the publisher panicked")?.map_err(|error| error.to_string())?;
    println!("{rounds} {lost} {}", calling.as_nanos() as u64 / rounds);
    Ok(())
}

fn publish(on: usize) -> rustix::io::Result<()> {
    pin(on)?;
    while !REGISTERED.load(Acquire) {
        thread::sleep(Duration::from_micros(50));
    }
    for round in 1.. {
        wait_for(&BEGUN.0, round);
        if BEGUN.0.load(Relaxed) == u64::MAX {
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
    Ok(())
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
