//! A ring in a file, closed in good order when the program is told to end (`SIGTERM`, or Ctrl-C).
//!
//! ```console
//! $ cargo run --release --example until_sigterm -- /var/tmp/jobs --send 5
//! $ cargo run --release --example until_sigterm -- /var/tmp/jobs
//! ```
//!
//! With `--send N` it puts N numbers into the ring and closes it. Otherwise it takes numbers out,
//! until it is told to end; what it has not taken is there for the next one, also after a reboot.
//! That takes a program that closes the ring: one that is in use when the machine goes down is
//! refused afterwards, as it may be a mixture of old and new pages. `--unclean empty` starts anew
//! then.

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use ringpipe::{Deadline, OpenError, OpenOrCreateError, RecvError, Unclean, spsc};
use support::Outcome;
use support::output::stdout;

#[derive(Debug, Parser)]
#[command(
    max_term_width = 80,
    about = "A ring in a file, closed in good order when the program is told to end"
)]
struct Cli {
    /// The ring's file, on a disk.
    file: PathBuf,
    /// Put so many numbers into the ring, rather than take them out.
    #[arg(long)]
    send: Option<u64>,
    /// What to do with a ring that was in use when the machine went down.
    #[arg(long, default_value = "refuse")]
    unclean: Choice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    Refuse,
    Empty,
    AsFound,
}

fn main() -> ExitCode {
    support::exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Outcome {
    let unclean = match cli.unclean {
        Choice::Refuse => Unclean::Refuse,
        Choice::Empty => Unclean::Empty,
        Choice::AsFound => Unclean::AsFound,
    };
    // Before there are threads: they inherit it.
    let signals = block(&[libc::SIGTERM, libc::SIGINT]);
    let options = spsc::Ring::<u64>::options().capacity(1024).tag("job", 1).unclean(unclean);
    let ring = match options.open_or_create_file(&cli.file) {
        Err(OpenOrCreateError::Open(e @ OpenError::Unclean { .. })) => {
            return Err(format!("{e} (--unclean empty, or as-found)").into());
        }
        opened => opened?,
    };
    if let Some(count) = cli.send {
        let mut tx = ring.producer()?;
        for n in 0..count {
            tx.try_send(n)?;
        }
        drop(tx);
        ring.checkpoint()?;
        return Ok(writeln!(stdout(), "sent {count}")?);
    }

    let mut rx = ring.consumer()?;
    let canceller = rx.canceller();
    // A thread waits for the signal, rather than a handler: it can let go of the canceller
    // afterwards, which keeps the ring open as any handle does.
    let told = std::thread::spawn(move || {
        wait_for(&signals);
        canceller.cancel();
    });
    let stop = rx.canceller();
    let mut taken = 0;
    let mut said = Ok(());
    let why = loop {
        match rx.recv() {
            Ok(number) => {
                taken += 1;
                said = writeln!(stdout(), "{number}");
                if said.is_err() {
                    break "nobody reads what is taken".to_owned();
                }
            }
            // A sender that has left is no reason to end: another may come.
            Err(RecvError::Closed) => {
                if let Err(why) = rx.wait_for_peer(Deadline::NEVER) {
                    break why.to_string();
                }
            }
            Err(why) => break why.to_string(),
        }
        if stop.is_cancelled() {
            break "told to end".to_owned(); // with numbers left, calls go on working
        }
    };
    // Not `eprintln!`, which panics if stderr is closed.
    let _ = writeln!(std::io::stderr(), "{why}");
    if said.is_err() {
        end(); // as if it had been told to: the thread lets go of its canceller
    }
    told.join().expect("the thread only waits");
    drop((rx, stop));
    let left = ring.len();
    // From here on, the machine may go down.
    ring.checkpoint()?;
    let _ = writeln!(std::io::stderr(), "took {taken}, left {left}; the ring is closed");
    Ok(said?)
}

/// Keeps the signals from this thread, and from those that it starts.
fn block(numbers: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: a set of signals is plain data, for which all-zero is valid.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    for &number in numbers {
        // SAFETY: a valid set, and the number of a signal.
        unsafe { libc::sigaddset(&raw mut signals, number) };
    }
    // SAFETY: a valid set; nobody asks for the old one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) };
    signals
}

/// Sends this process one of the signals.
fn end() {
    let me = std::process::id() as libc::pid_t;
    // SAFETY: takes two numbers.
    unsafe { libc::kill(me, libc::SIGTERM) };
}

/// Waits for one of the signals, which are blocked.
fn wait_for(signals: &libc::sigset_t) {
    let mut number = 0;
    // SAFETY: a valid set, and room for a number.
    unsafe { libc::sigwait(signals, &raw mut number) };
}
