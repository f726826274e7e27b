//! How long a value takes there and back between two processes.
//!
//! ```text
//! cargo run --release --example ping_pong [--trips N] [--rounds N]
//! ```
//!
//! Five ways, measured in turn, round after round, so that whatever else the machine does hits all
//! of them:
//!
//! * `two lines`: a bare cache line each way in shared memory, both sides spinning. Nothing that
//!   moves a value between two processors can be faster: the limit.
//! * a ring each way, waiting by [`WaitPolicy::Spin`], `Adaptive` (the default), and `Park`.
//! * a pipe each way.
//!
//! Each process is pinned to a processor of its own, if there are two. A trip is 8 bytes there and
//! 8 bytes back, and includes one reading of the clock, whose cost is printed. The table shows
//! percentiles over all rounds; the ratios are medians over rounds, each round's median compared
//! with that of the two lines, or of the pipe, in the same round.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStdin, ChildStdout, ExitCode};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use hdrhistogram::Histogram;
use ringpipe::WaitPolicy;
use ringpipe::spsc::{Consumer, Producer, Ring, Spsc};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use support::Outcome;
use support::children::{Peer, given, raw_stdin, raw_stdout};
use support::figures::{self, median, now, ratio};
use support::output::{Progress, stdout};

/// Times round trips between two processes: bare cache lines, rings, pipes.
#[derive(Parser)]
#[command(
    max_term_width = 80,
    after_help = "Ratios are medians over rounds; see the source for what is measured."
)]
struct Args {
    /// Round trips per round, for those who spin; a tenth of it for those who sleep
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(10..=100_000_000))]
    trips: u64,
    /// Rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Be the one who answers, on this processor
    #[arg(long, hide = true)]
    echo_on: Option<usize>,
}

/// The ways, in the order of the table. The one who asks announces them by their index.
const WAYS: [(&str, Way); 5] = [
    ("two lines", Way::Lines),
    ("ring, spin", Way::Ring(WaitPolicy::Spin)),
    ("ring, adaptive", Way::Ring(WaitPolicy::Adaptive)),
    ("ring, park", Way::Ring(WaitPolicy::Park)),
    ("pipe", Way::Pipe),
];
const LINES: usize = 0;
const PIPE: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Lines,
    Ring(WaitPolicy),
    Pipe,
}

impl Way {
    /// Sleeping takes a hundred times as long as spinning.
    fn trips(self, trips: u64) -> u64 {
        match self {
            Way::Ring(WaitPolicy::Park) | Way::Pipe => trips / 10,
            _ => trips,
        }
    }
}

/// One process's side of all ways.
struct Side<W, R> {
    pipe_out: W,
    pipe_in: R,
    tx: Producer<u64>,
    rx: Consumer<u64>,
    mine: Line,
    theirs: Line,
}

impl<W: Write, R: Read> Side<W, R> {
    fn set_policy(&mut self, way: Way) {
        if let Way::Ring(policy) = way {
            self.tx.set_wait_policy(policy);
            self.rx.set_wait_policy(policy);
        }
    }

    fn send(&mut self, way: Way, value: u64) -> Outcome {
        match way {
            Way::Lines => self.mine.0.store(value, Ordering::Release),
            Way::Ring(_) => self.tx.send(value)?,
            Way::Pipe => self.pipe_out.write_all(&value.to_ne_bytes())?,
        }
        Ok(())
    }

    /// Receives the next value, which is to be `expected`.
    fn recv(&mut self, way: Way, expected: u64) -> Outcome {
        let value = match way {
            Way::Lines => self.theirs.wait_for(expected)?,
            Way::Ring(_) => self.rx.recv()?,
            Way::Pipe => {
                let mut bytes = [0; 8];
                self.pipe_in.read_exact(&mut bytes)?;
                u64::from_ne_bytes(bytes)
            }
        };
        match value == expected {
            true => Ok(()),
            false => Err(format!("{value} came back instead of {expected}").into()),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match args.echo_on {
        None => ask(&args),
        Some(processor) => echo(&args, processor),
    })
}

fn options() -> ringpipe::Options<u64, Spsc> {
    Ring::options().capacity(16).tag("ping", 1)
}

/// The process that was called, which asks.
fn ask(args: &Args) -> Outcome {
    let (here, there) = figures::two_processors()?;
    let forth = options().create_anonymous()?;
    let back = options().create_anonymous()?;
    let lines = memfd_create("lines", MemfdFlags::CLOEXEC)?;
    ftruncate(&lines, 4096)?;
    let gifts = [forth.as_fd(), back.as_fd(), lines.as_fd()];
    let mut peer = Peer::spawn("the answering process", &gifts, |command| {
        command.arg("--echo-on").arg(there.to_string()).arg("--trips").arg(args.trips.to_string())
    })?;
    figures::pin(here)?;
    let [mine, theirs] = Line::both(&lines)?;
    let mut side = Side {
        pipe_out: peer.stdin(),
        pipe_in: peer.stdout(),
        tx: forth.producer()?,
        rx: back.consumer()?,
        mine,
        theirs,
    };
    let measured = measure(args, &mut side);
    drop(side); // the other side sees the end of the pipe, and ends
    let ended = peer.finish();
    // If it was killed, that is the reason for whatever went wrong here.
    let rounds = match (measured, ended) {
        (_, Err(e)) | (Err(e), Ok(())) => return Err(e),
        (Ok(rounds), Ok(())) => rounds,
    };
    print(args, (here, there), &rounds)
}

/// All rounds: a histogram for each way.
fn measure(
    args: &Args,
    side: &mut Side<ChildStdin, ChildStdout>,
) -> Outcome<Vec<[Histogram<u64>; 5]>> {
    let mut rounds = Vec::new();
    // Numbers grow all the time, so that none can be taken for an earlier one.
    let mut number = 0;
    let mut progress = Progress::new("rounds", args.rounds.into());
    for done in 0..args.rounds {
        progress.at(done.into(), figures::rate);
        let mut round = std::array::from_fn(|_| figures::latencies());
        for ((index, (_, way)), times) in WAYS.iter().enumerate().zip(&mut round) {
            side.pipe_out.write_all(&[index as u8])?;
            side.set_policy(*way);
            let trips = way.trips(args.trips);
            let mut last = 0;
            for trip in 0..trips {
                number += 1;
                side.send(*way, number)?;
                side.recv(*way, number)?;
                let arrived = now();
                // The first tenth warms up.
                if trip > trips / 10 {
                    times.saturating_record(arrived - last);
                }
                last = arrived;
            }
        }
        rounds.push(round);
    }
    Ok(rounds)
}

fn print(args: &Args, (here, there): (usize, usize), rounds: &[[Histogram<u64>; 5]]) -> Outcome {
    let mut output = stdout();
    writeln!(
        output,
        "round trips of 8 bytes between processors {here} and {there}\n\
         {} rounds of {} trips (sleepers: {}); a clock reading costs {:.0} ns\n",
        args.rounds,
        args.trips,
        Way::Pipe.trips(args.trips),
        figures::clock_cost()
    )?;
    if here == there {
        writeln!(output, "there is only one processor: those who spin wait for the scheduler\n")?;
    }
    let medians = |way: usize| -> Vec<f64> {
        rounds.iter().map(|round| round[way].value_at_quantile(0.5) as f64).collect()
    };
    writeln!(
        output,
        "{:<15}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}{:>8}",
        "", "p50", "p90", "p99", "p99.9", "max", "/ two lines", "/ pipe"
    )?;
    for (way, (name, _)) in WAYS.iter().enumerate() {
        let mut all = figures::latencies();
        for round in rounds {
            all.add(&round[way])?;
        }
        write!(output, "{name:<15}{:>9}", figures::time(median(medians(way)) as u64))?;
        for quantile in [0.9, 0.99, 0.999, 1.0] {
            write!(output, "{:>9}", figures::time(all.value_at_quantile(quantile)))?;
        }
        let to_lines = ratio(&medians(way), &medians(LINES));
        let to_pipe = ratio(&medians(way), &medians(PIPE));
        writeln!(output, "{to_lines:>12.2}{to_pipe:>8.3}")?;
    }
    Ok(())
}

/// The other process, which answers.
fn echo(args: &Args, processor: usize) -> Outcome {
    figures::pin(processor)?;
    let forth = options().from_fd(given(0)?)?;
    let back = options().from_fd(given(1)?)?;
    let [theirs, mine] = Line::both(&given(2)?)?;
    let mut side: Side<File, File> = Side {
        pipe_out: raw_stdout()?,
        pipe_in: raw_stdin()?,
        tx: back.producer()?,
        rx: forth.consumer()?,
        mine,
        theirs,
    };
    let mut number = 0;
    loop {
        let mut index = [0];
        if side.pipe_in.read(&mut index)? == 0 {
            return Ok(());
        }
        let (_, way) = WAYS[usize::from(index[0])];
        side.set_policy(way);
        for _ in 0..way.trips(args.trips) {
            number += 1;
            side.recv(way, number)?;
            side.send(way, number)?;
        }
    }
}

/// A word on a cache line of its own, in memory that both processes have mapped.
struct Line(&'static AtomicU64);

impl Line {
    /// The line of the one who asks, and that of the one who answers. The page stays mapped until
    /// the process ends.
    fn both(memory: &OwnedFd) -> Outcome<[Line; 2]> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let anywhere = std::ptr::null_mut();
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
        let page = unsafe { mmap(anywhere, 4096, protection, MapFlags::SHARED, memory, 0) }?;
        let page = NonNull::new(page.cast::<u64>()).ok_or("mapped at zero")?;
        let line = |index: usize| {
            // SAFETY: 1024 bytes apart, which is no neighbour to any prefetcher, within the page.
            let word = unsafe { page.add(128 * index) };
            // SAFETY: aligned, mapped for ever, and accessed as an atomic alone.
            Line(unsafe { AtomicU64::from_ptr(word.as_ptr()) })
        };
        Ok([line(0), line(1)])
    }

    /// Spins until the line holds `expected`. A pipe would tell of the other side's death; bare
    /// memory does not, so this gives up after a while.
    fn wait_for(&self, expected: u64) -> Outcome<u64> {
        let mut give_up = 0;
        for spins in 1_u64.. {
            let value = self.0.load(Ordering::Acquire);
            if value == expected {
                return Ok(value);
            }
            std::hint::spin_loop();
            if spins.is_multiple_of(1 << 16) {
                // With one processor, the other side needs it to answer.
                std::thread::yield_now();
                match give_up {
                    0 => give_up = now() + 10_000_000_000,
                    _ if now() > give_up => break,
                    _ => {}
                }
            }
        }
        Err("no answer for ten seconds".into())
    }
}
