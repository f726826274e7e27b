//! Makes histories of real processes on real rings, and has each explained: see README.md beside
//! this.
//!
//! The last line is `histories: OK`, or the exit status is 1 and the history that could not be
//! explained is printed, with the call at which explanations ran out.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("histories interrupts calls by the trap flag of x86-64");

mod ambush;
mod board;
mod crew;
mod overseer;
mod plan;
mod report;
mod survey;
mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use harness::Rng;
use harness::processors;
use harness::rng::seed;

use overseer::Overseer;
use plan::Plan;
use report::Report;

/// Checks histories of processes that use rings, killed ones included, against the specification.
#[derive(Debug, Parser)]
#[command(after_help = "\
In CI:     cargo run --release -p histories -- --seconds 15
The long:  cargo run --release -p histories -- --histories 110000 --seed 1
A seed repeats the plans, not what the processes make of them.")]
struct Cli {
    /// Ends when so many histories with overlapping calls were explained.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    histories: u64,
    /// Ends after this time, if that is earlier.
    #[arg(long)]
    seconds: Option<u64>,
    /// Repeats a run's plans; by default others each time, which is printed.
    #[arg(long, default_value_t = seed(), hide_default_value = true)]
    seed: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Without a limit, as long as CI does.
    let seconds = cli.seconds.or((cli.histories == u64::MAX).then_some(15));
    worker::ALL.get_or_init(|| processors::allowed().unwrap_or(vec![0]));
    println!("histories: seed {}", cli.seed);
    match run(&cli, seconds.map(Duration::from_secs)) {
        Ok(report) => {
            print!("{report}");
            println!("histories: OK");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{why}");
            println!("histories: FAILED");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, limit: Option<Duration>) -> Result<Report, String> {
    let mut rng = Rng::new(cli.seed);
    let mut overseer = Overseer::new()?;
    println!("ambushes at {} instructions", overseer.instructions);
    let mut report = Report::default();
    let (mut made, began) = (0_u64, Instant::now());
    while report.overlapping() < cli.histories && limit.is_none_or(|limit| began.elapsed() < limit)
    {
        let plan = Plan::draw(&mut rng);
        let observed = overseer.perform(&plan)?;
        made += 1;
        report.of_messages += u64::from(plan.messages);
        report.add(&observed)?;
        if made.is_multiple_of(10_000) {
            println!("{made} histories after {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    report.lasted = began.elapsed();
    report.workers = overseer.crew.started;
    Ok(report)
}
