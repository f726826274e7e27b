//! Two small services inside one program, asked over rings: the shortest way to start. The handles
//! are the same between processes; only `channel` becomes a ring with a name.
//!
//! `prime` has one client and one thread: an SPSC ring each way. `square` has four threads, and
//! could have as many clients: an MPMC ring each way. When the last sender of questions goes, the
//! service sees end-of-file and ends, and so does the stream of answers.

mod support;

use std::io::Write;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use ringpipe::{mpmc, spsc};
use support::Outcome;
use support::output::stdout;

/// Asks two services in this program N questions each, and checks their answers.
#[derive(Parser)]
#[command(max_term_width = 80)]
struct Args {
    /// How many questions to ask
    #[arg(default_value_t = 10_000)]
    n: u64,
}

fn prime(n: u64) -> u64 {
    (n > 1 && (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor))).into()
}

fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn main() -> ExitCode {
    support::exit(ask(Args::parse().n))
}

fn ask(n: u64) -> Outcome {
    let (mut ask, mut questions) = spsc::channel::<u64>(64)?;
    let (mut answer, mut answers) = spsc::channel::<[u64; 2]>(64)?;
    thread::spawn(move || questions.iter().try_for_each(|q| answer.send([q, prime(q)])));
    thread::spawn(move || (0..n).try_for_each(|q| ask.send(q)));
    let primes: Vec<_> = answers.iter().collect();
    let right = primes.iter().zip(0..).all(|(answer, q)| *answer == [q, prime(q)]); // in order
    writeln!(stdout(), "prime:  {} answers, {right}", primes.len())?;

    let (mut ask, questions) = mpmc::channel::<u64>(64)?;
    let (answer, mut answers) = mpmc::channel::<[u64; 2]>(64)?;
    for _ in 0..4 {
        let (mut questions, mut answer) = (questions.try_clone()?, answer.try_clone()?);
        thread::spawn(move || questions.iter().try_for_each(|q| answer.send([q, square(q)])));
    }
    drop((questions, answer)); // from here on the threads' clones are all there is
    thread::spawn(move || (0..n).try_for_each(|q| ask.send(q)));
    let squares: Vec<_> = answers.iter().collect();
    let right = right && squares.iter().all(|[q, answer]| *answer == square(*q)); // in any order
    writeln!(stdout(), "square: {} answers, {right}", squares.len())?;

    let all = [primes.len(), squares.len()] == [n as usize; 2];
    if right && all { Ok(()) } else { Err("answers are missing or wrong".into()) }
}
