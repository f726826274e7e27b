//! What the crash protocol costs: `ringpipe` beside the same rings without it, in one run.
//!
//! ```text
//! cargo run --release -p price [-- --rounds 7 --millis 300]
//! cargo run --release -p price -- instructions    # how many a value takes; with valgrind
//! ```
//!
//! The contenders are in [`bare`] and [`whole`], how they are run in [`harness`]. Polled contenders
//! differ in the protocol alone: layout, copies, batching and idling are the same. `blocking` is
//! what programs use, where idle ends spin and then sleep.
//!
//! Prints a Markdown table. A cell: nanoseconds per value, in the median round and in the best one;
//! then the ratio to the bare ring, round by round (median, least and greatest), and of the best
//! rounds. Where others use the machine, the best rounds of many short ones are those in which
//! they did not (`--rounds 25 --millis 50`); on a quiet one, median and best are about the same. If
//! they are not, the medians tell of the machine.

mod bare;
mod harness;
mod instructions;
mod memory;
mod whole;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ringpipe::{Mpmc, Spsc};

use bare::{BareMpmc, BareSpsc};
use harness::{Outcome, Part, Shape, best, bounce, median, processors, ratios};
use whole::Whole;

/// Measures what ringpipe's crash protocol and waiting cost.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Inner>,
    /// How often each contender runs.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each runs, in milliseconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,
}

/// What the program runs itself as.
#[derive(Debug, Subcommand)]
enum Inner {
    /// Counts instructions instead, with valgrind.
    Instructions,
    /// The program that valgrind runs (internal).
    #[command(hide = true)]
    Pass(instructions::Program),
    /// A process of a run (internal).
    #[command(hide = true)]
    Play(Part),
    /// The other side of the round trips (internal).
    #[command(hide = true)]
    Echo { address: String, trips: u64 },
}

/// Calls `$what::<V, C>` for contender number `$number` of values of `$bytes`.
macro_rules! with_contender {
    ($number:expr, $bytes:expr, $what:ident, $($argument:expr),*) => {
        match ($number, $bytes) {
            (0, 8) => harness::$what::<[u64; 1], BareSpsc>($($argument),*),
            (0, 64) => harness::$what::<[u64; 8], BareSpsc>($($argument),*),
            (1, 8) => harness::$what::<[u64; 1], Whole<Spsc, false>>($($argument),*),
            (1, 64) => harness::$what::<[u64; 8], Whole<Spsc, false>>($($argument),*),
            (2, 8) => harness::$what::<[u64; 1], Whole<Spsc, true>>($($argument),*),
            (2, 64) => harness::$what::<[u64; 8], Whole<Spsc, true>>($($argument),*),
            (3, 8) => harness::$what::<[u64; 1], BareMpmc<false>>($($argument),*),
            (3, 64) => harness::$what::<[u64; 8], BareMpmc<false>>($($argument),*),
            (4, 8) => harness::$what::<[u64; 1], BareMpmc<true>>($($argument),*),
            (4, 64) => harness::$what::<[u64; 8], BareMpmc<true>>($($argument),*),
            (5, 8) => harness::$what::<[u64; 1], Whole<Mpmc, false>>($($argument),*),
            (5, 64) => harness::$what::<[u64; 8], Whole<Mpmc, false>>($($argument),*),
            (6, 8) => harness::$what::<[u64; 1], Whole<Mpmc, true>>($($argument),*),
            (6, 64) => harness::$what::<[u64; 8], Whole<Mpmc, true>>($($argument),*),
            (number, bytes) => Err(format!("no contender {number} for {bytes} bytes")),
        }
    };
}

/// A table: contenders (the first of them is the measure of the others), and shapes.
struct Table {
    kind: &'static str,
    contenders: &'static [(usize, &'static str)],
    ends: &'static [(usize, usize)],
}

const TABLES: [Table; 2] = [
    Table {
        kind: "SPSC",
        contenders: &[(0, "bare, polled"), (1, "ringpipe, polled"), (2, "ringpipe, blocking")],
        ends: &[(1, 1)],
    },
    Table {
        kind: "MPMC",
        contenders: &[
            (3, "bare, polled"),
            (4, "bare with intents, polled"),
            (5, "ringpipe, polled"),
            (6, "ringpipe, blocking"),
        ],
        ends: &[(1, 1), (2, 2)],
    },
];

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Some(Inner::Play(part)) => with_contender!(part.contender, part.bytes, play, part),
        Some(Inner::Instructions) => instructions::count(),
        Some(Inner::Pass(program)) => instructions::work(program),
        Some(Inner::Echo { address, trips }) => harness::echo(address, *trips),
        None => compare(&cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("price: {why}");
            ExitCode::FAILURE
        }
    }
}

fn compare(cli: &Cli) -> Outcome {
    let count = processors()?.len();
    println!(
        "{} rounds of {} ms, {count} processors, 1024 slots; a round trip of two bare cache lines: \
         {:.0} ns before,",
        cli.rounds,
        cli.millis,
        bounce()?
    );
    let lasts = Duration::from_millis(cli.millis);
    for Table { kind, contenders, ends } in &TABLES {
        let mut shapes = Vec::new();
        for &ends in *ends {
            for bytes in [8, 64] {
                shapes.extend([1, 32].map(|batch| Shape { ends, bytes, batch }));
            }
        }
        // By shape, by contender, by round.
        let mut figures = vec![vec![Vec::new(); contenders.len()]; shapes.len()];
        for _ in 0..cli.rounds {
            for (shape, figures) in shapes.iter().zip(&mut figures) {
                for ((number, name), figures) in contenders.iter().zip(figures) {
                    let ran = with_contender!(*number, shape.bytes, run, *number, *shape, lasts);
                    figures.push(ran.map_err(|e| format!("{kind}, {name}, {shape:?}: {e}"))?);
                }
            }
        }
        print!("\n| {kind} | bytes | values a call |");
        contenders.iter().for_each(|(_, name)| print!(" {name} |"));
        print!("\n|---|--:|--:|");
        contenders.iter().for_each(|_| print!("--:|"));
        for (shape, figures) in shapes.iter().zip(&figures) {
            let Shape { ends: (senders, receivers), bytes, batch } = shape;
            print!("\n| {senders} to {receivers} | {bytes} | {batch} |");
            for (column, rounds) in figures.iter().enumerate() {
                print!(" {:.1}, {:.1} ns", median(rounds), best(rounds));
                if column > 0 {
                    let (middle, least, greatest) = ratios(rounds, &figures[0]);
                    let at_best = best(rounds) / best(&figures[0]);
                    print!("; ×{middle:.2} ({least:.2}–{greatest:.2}), ×{at_best:.2}");
                }
                print!(" |");
            }
        }
        println!();
    }
    println!("\n...{:.0} ns after.", bounce()?);
    Ok(())
}
