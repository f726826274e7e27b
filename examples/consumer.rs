//! Prints the lines that `producer` sends through a ring; see there for how to run the two.
//!
//! Output is flushed whenever the ring is empty, so lines appear as they are typed, and a flood of
//! them is written in large pieces.
//!
//! Ends when the ring is drained and the producer gone (Ctrl-D, Ctrl-C or `kill -9` over there),
//! on Ctrl-C here, or quietly when nobody reads its output any more (`consumer NAME | head -1`).
//! If the producer was killed rather than closed its end, there may have been more to come: the
//! consumer says so, and its exit code is 1.
//!
//! The name stays when both have ended, as a FIFO's does, so that either can be started again at
//! any time. With `--unlink` this end takes the name with it, however it ends (other than by
//! `kill -9`); a producer that opened the ring just before would then wait for a consumer that
//! cannot find it, which is why that is not the default.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line; Ctrl-C ends it as it
//! ends any program (a shell says 130), but the ring is closed first.

mod support;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use ringpipe::spsc::Consumer;
use ringpipe::{Ending, RecvError, TryRecvError, UnlinkError};
use support::line::{self, Line};
use support::{Outcome, interrupt};

/// Prints the lines that `producer NAME` sends through the ring NAME.
#[derive(Parser)]
#[command(
    max_term_width = 80,
    after_help = "Start producer and consumer in any order; Ctrl-D over there ends both."
)]
struct Args {
    /// Name of the ring: a file name in /dev/shm
    name: String,
    /// Remove the name when done; otherwise it stays for the next time
    #[arg(long)]
    unlink: bool,
}

fn main() -> ExitCode {
    let outcome = run(&Args::parse());
    // The handle is closed by now, so the producer knows.
    interrupt::die_if_caught();
    support::exit(outcome)
}

fn run(args: &Args) -> Outcome {
    let ring = line::open(&args.name)?;
    let mut rx = ring.consumer()?;
    interrupt::cancel_on_signals(rx.canceller())?;
    let mut output = BufWriter::with_capacity(1 << 16, support::children::raw_stdout()?);
    let printed = print(&mut rx, &mut output);
    drop(rx); // before the output is flushed: the producer need not wait for that
    // Also before an error: what was received is the user's.
    let flushed = output.flush().map_err(Into::into);
    let printed = printed.and(flushed);
    // What could not be written has been reported; the buffer must not try again when dropped.
    let _ = output.into_parts();
    if args.unlink {
        match ring.unlink() {
            // Someone else did, and perhaps has made a new one: that one is not ours to remove.
            Ok(()) | Err(UnlinkError::NotFound { .. } | UnlinkError::Replaced { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    match printed {
        Err(e) if is_broken_pipe(&*e) => Ok(()),
        other => other,
    }
}

fn print(rx: &mut Consumer<Line>, output: &mut impl Write) -> Outcome {
    let mut within_a_line = false;
    while let Some(line) = next(rx, output)? {
        let (bytes, continues) = line.read().ok_or("the producer sends nonsense")?;
        output.write_all(bytes)?;
        within_a_line = continues;
    }
    match rx.ending() {
        Some(Ending::Died(_)) => Err("the producer was killed: there may have been more".into()),
        _ if within_a_line && !interrupt::caught() => {
            Err("the producer ended within a line".into())
        }
        _ => Ok(()),
    }
}

/// The next element; `None` at end-of-file or after a signal.
fn next(rx: &mut Consumer<Line>, output: &mut impl Write) -> Outcome<Option<Line>> {
    // A cancelled handle goes on receiving what is there: with a busy producer, for ever.
    if interrupt::caught() {
        return Ok(None);
    }
    match rx.try_recv() {
        Ok(line) => return Ok(Some(line)),
        Err(TryRecvError::Empty) => output.flush()?,
        Err(TryRecvError::Closed) => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    match rx.recv() {
        Ok(line) => Ok(Some(line)),
        Err(RecvError::Closed | RecvError::Cancelled) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
