//! A storm over a ring: worker processes send and receive in every way there is while they are
//! killed, stopped, continued and started again at random. Afterwards every single item is
//! accounted for ([`ledger`]), and the ring is drained and as good as new.
//!
//! A missing wake shows here as mere slowness, because sleepers look again after an interval: that
//! every death wakes whom it concerns, tests/death_and_wakes.rs and tests/contract_wake.rs see.
//!
//! The last line is `storm: OK`, or the exit status is 1 and the reason is said. Where rings of the
//! backing that is asked for cannot live, the last line says `NOT RUN` and the exit status is 3.

mod backing;
mod board;
mod bytes;
mod ledger;
mod matching;
mod messages;
mod receiver;
mod sender;
mod storm;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use harness::rng::seed;
use ringpipe::{Bytes, Mpmc, MpmcMessages, Spsc, SpscMessages};

use backing::Backing;
use worker::Outcome;

/// Kills, stops and restarts the users of a ringpipe at random, and accounts for every item.
#[derive(Debug, Parser)]
#[command(after_help = "\
In CI:     cargo run --release -p storm            (about 20 s)
           cargo run --release -p storm -- --kind spsc      (or bytes, messages, spsc-messages)
           cargo run --release -p storm -- --backing file
The long:  cargo run --release -p storm -- --seconds 600 --verbose
Choices follow the seed, timing does not: a seed repeats a storm's plan, not its course.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Inner>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Which ring.
    #[arg(long, value_enum, default_value_t = RingKind::Mpmc)]
    kind: RingKind,
    /// What the ring lives in.
    #[arg(long, value_enum, default_value_t = Backing::Named)]
    backing: Backing,
    /// Where a ring in a file lies; by default beside this program, under the build directory.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// How long it lasts.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Ends after this many kills, if that is earlier.
    #[arg(long)]
    kills: Option<u64>,
    /// Strikes per second, one kill each at least if the victim lives.
    #[arg(long, default_value_t = 30.0)]
    kills_per_second: f64,
    /// Repeats a storm's choices; by default another each time, which is printed.
    #[arg(long, default_value_t = seed())]
    seed: u64,
    /// Worker processes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=64))]
    workers: u8,
    /// Slots of the ring; of bytes and messages, 32 bytes each.
    #[arg(long, default_value_t = 64)]
    capacity: usize,
    /// Endpoint records of the ring; 8 workers use up to 11 at once.
    #[arg(long, default_value_t = 14)]
    endpoints: u32,
    /// Says every ten seconds how it goes.
    #[arg(long)]
    verbose: bool,
}

/// A kind of ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RingKind {
    /// Many senders, many receivers.
    Mpmc,
    /// One producer and one consumer; others stand by to succeed them.
    Spsc,
    /// A byte pipe, likewise.
    Bytes,
    /// Messages of any length, one sender and one receiver.
    SpscMessages,
    /// Messages of any length, many of both.
    Messages,
}

impl RingKind {
    fn as_str(self) -> &'static str {
        match self {
            RingKind::Mpmc => "mpmc",
            RingKind::Spsc => "spsc",
            RingKind::Bytes => "bytes",
            RingKind::SpscMessages => "spsc-messages",
            RingKind::Messages => "messages",
        }
    }
}

/// What the storm runs itself as.
#[derive(Debug, Subcommand)]
enum Inner {
    /// A worker of a storm (internal).
    #[command(hide = true)]
    Worker {
        #[arg(long, value_enum)]
        kind: RingKind,
        #[command(flatten)]
        orders: worker::Orders,
    },
}

/// Exit status: nothing went wrong, and nothing was shown.
const NOT_RUN: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Some(inner) => harness::die_with_parent()
            .map_err(|e| e.to_string())
            .and_then(|()| match inner {
                Inner::Worker { kind: RingKind::Mpmc, orders } => worker::work::<Mpmc>(orders),
                Inner::Worker { kind: RingKind::Spsc, orders } => worker::work::<Spsc>(orders),
                Inner::Worker { kind: RingKind::Bytes, orders } => worker::work::<Bytes>(orders),
                Inner::Worker { kind: RingKind::SpscMessages, orders } => {
                    worker::work::<SpscMessages>(orders)
                }
                Inner::Worker { kind: RingKind::Messages, orders } => {
                    worker::work::<MpmcMessages>(orders)
                }
            })
            .map(|()| ExitCode::SUCCESS),
        None => supervise(&cli.options),
    };
    match outcome {
        Ok(code) => code,
        Err(why) => {
            eprintln!("storm: FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(options: &Options) -> Outcome<ExitCode> {
    println!("storm: {} ring, seed {}", options.kind.as_str(), options.seed);
    let report = match options.kind {
        RingKind::Mpmc => storm::rage::<Mpmc>(options)?,
        RingKind::Spsc => storm::rage::<Spsc>(options)?,
        RingKind::Bytes => storm::rage::<Bytes>(options)?,
        RingKind::SpscMessages => storm::rage::<SpscMessages>(options)?,
        RingKind::Messages => storm::rage::<MpmcMessages>(options)?,
    };
    let report = match report {
        Ok(report) => report,
        Err(why) => {
            println!("!!! NOT RUN: {why}");
            return Ok(ExitCode::from(NOT_RUN));
        }
    };
    let storm::Report { lasted, counts, sums, stats } = report;
    println!("  {:.1} s, {} workers started", lasted.as_secs_f64(), counts.starts);
    println!(
        "  {} kills ({} of them while stopped), {} stops, {} left of their own accord",
        counts.kills, counts.killed_while_stopped, counts.stops, counts.retired
    );
    println!("  {} items sent, {} received", sums.sent, sums.received);
    println!("  {} of them redelivered, as they were marked", sums.redelivered);
    println!("  {} positions skipped", stats.skipped);
    println!("  {} items absent, with their senders' unfinished calls", sums.absent);
    println!("  {} items taken along by unfinished receiving calls", sums.taken);
    println!("  {} unaccounted", sums.unaccounted);
    println!("storm: OK");
    Ok(ExitCode::SUCCESS)
}
