//! What a crowd of receivers costs that wait for nothing: the processor time that attaching them
//! takes, until all sleep, and what they take while they sleep.
//!
//! ```text
//! cargo run --release --example idle_crowd [--ends N N] [--seconds N] [--rounds N]
//! ```
//!
//! One process has a sender that sends nothing, and so many receivers on one MPMC ring: a thread
//! each. They attach one after the other, and each goes to sleep in `recv` before or while the next
//! attaches. Printed for each number, as the median of the rounds:
//!
//! * `attach`: processor seconds from the first attachment until all have attached and slept for
//!   300 ms, less what the same time costs when they idle;
//! * `idle`: percents of one processor, while nothing happens;
//! * `close`: processor seconds from the sender's leaving until every receiver has said
//!   end-of-file.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line.

mod support;

use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use ringpipe::mpmc;
use rustix::time::{ClockId, clock_gettime};
use support::Outcome;
use support::figures::{median, rate};
use support::output::{Progress, stdout};

/// What a crowd of receivers costs that wait for nothing.
#[derive(Debug, Parser)]
#[command(max_term_width = 80)]
struct Options {
    /// How many receivers.
    #[arg(long, num_args = 1.., default_value = "10,1000", value_delimiter = ',')]
    ends: Vec<u32>,
    /// How long they idle, in seconds.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// How often; printed are the medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// How long nothing happens before it counts as idling.
const SETTLING: Duration = Duration::from_millis(300);
/// What a receiver's thread needs.
const STACK: usize = 128 << 10;

/// Processor time of this process, all of its threads together.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What one round has cost: seconds, a fraction of a processor, seconds.
fn round(ends: u32, idle_for: Duration) -> Outcome<[f64; 3]> {
    let ring =
        mpmc::Ring::<u64>::options().capacity(1024).endpoints(ends + 100).create_anonymous()?;
    let tx = ring.sender()?;
    let mut threads = Vec::new();
    for _ in 0..ends {
        let (hand, take) = mpsc::channel();
        let receive = move || {
            let mut rx: mpmc::Receiver<u64> = take.recv().ok()?;
            Some(rx.recv().is_err())
        };
        threads.push((hand, thread::Builder::new().stack_size(STACK).spawn(receive)?));
    }
    thread::sleep(SETTLING);

    let began = processor_time();
    for (hand, _) in &threads {
        hand.send(ring.receiver()?)?;
    }
    thread::sleep(SETTLING);
    let settled = processor_time();

    let asleep_at = Instant::now();
    thread::sleep(idle_for);
    let idled = processor_time();
    let idle = (idled - settled).as_secs_f64() / asleep_at.elapsed().as_secs_f64();

    drop(tx);
    for (_, thread) in threads {
        if thread.join().ok().flatten() != Some(true) {
            return Err("a receiver got something, or panicked".into());
        }
    }
    let closed = processor_time();
    let attach = (settled - began).as_secs_f64() - idle * SETTLING.as_secs_f64();
    Ok([attach, idle, (closed - idled).as_secs_f64()])
}

fn run(options: &Options) -> Outcome {
    let mut output = stdout();
    writeln!(output, "{:>6} {:>10} {:>8} {:>10}", "ends", "attach s", "idle %", "close s")?;
    for &ends in &options.ends {
        let mut rounds = Vec::new();
        let mut progress = Progress::new("rounds", options.rounds as u64);
        for done in 0..options.rounds.max(1) {
            progress.at(done as u64, rate);
            rounds.push(round(ends, Duration::from_secs(options.seconds.max(1)))?);
        }
        drop(progress);
        let [attach, idle, close] =
            [0, 1, 2].map(|which| median(rounds.iter().map(|round| round[which]).collect()));
        writeln!(output, "{ends:>6} {attach:>10.3} {:>8.2} {close:>10.3}", idle * 100.0)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    support::exit(run(&Options::parse()))
}
