//! Sends the lines of its standard input through a ring; `consumer` prints them.
//!
//! ```text
//! one terminal:  cargo run --release --example producer greetings
//! another:       cargo run --release --example consumer greetings
//! ```
//!
//! Start them in either order. Like two programs at the ends of a FIFO, each waits for the other;
//! unlike a FIFO's, the ring's content outlives both: what yesterday's consumer left unread is
//! what today's reads first. The name stays (`/dev/shm/greetings`) until someone removes it, for
//! instance `consumer --unlink`.
//!
//! Ends at the end of its input (Ctrl-D), on Ctrl-C, or when the consumer has gone; whichever it
//! is, the consumer first gets every line that was sent. Input may be any bytes; a line longer
//! than an element travels in several.
//!
//! A consumer that is killed outright (`kill -9`) is noticed when the ring is full: until then its
//! successor may still come and read what is sent.
//!
//! Exit codes: 0 when all input was sent, or the consumer left while there was nothing to send;
//! 1 when there was something, or on other errors; 2 for a wrong command line. Ctrl-C ends it as
//! it ends any program (a shell says 130), but the ring is closed first.

mod support;

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use clap::Parser;
use ringpipe::spsc::Producer;
use ringpipe::{Deadline, PeerError, SendError};
use support::line::{self, Line, ROOM};
use support::{Outcome, interrupt};

/// Sends the lines of stdin through the ring NAME, which `consumer NAME` prints.
#[derive(Parser)]
#[command(
    max_term_width = 80,
    after_help = "Start producer and consumer in any order; Ctrl-D ends both."
)]
struct Args {
    /// Name of the ring: a file name in /dev/shm
    name: String,
}

fn main() -> ExitCode {
    let outcome = run(&Args::parse());
    // The handle is closed by now, so the consumer knows.
    interrupt::die_if_caught();
    support::exit(outcome)
}

fn run(args: &Args) -> Outcome {
    let mut tx = line::open(&args.name)?.producer()?;
    interrupt::cancel_on_signals(tx.canceller())?;
    // As opening a FIFO does. Without this, a short input would be sent, and this program gone,
    // before the consumer comes; it would then get the lines, and wait for a producer to end them.
    match tx.wait_for_peer(Deadline::NEVER) {
        Ok(()) => {}
        Err(PeerError::Cancelled) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    let mut input = support::children::raw_stdin()?;
    let mut buffer = [0; 1 << 16];
    let mut line = Vec::with_capacity(ROOM);
    loop {
        match wait_for(&input, &mut tx)? {
            Event::Input => {}
            Event::ConsumerGone if line.is_empty() && tx.is_empty() => return Ok(()),
            Event::ConsumerGone => return Err("the consumer went before it had everything".into()),
            Event::Signal => return Ok(()),
        }
        let read = match input.read(&mut buffer) {
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(format!("standard input: {e}").into()),
        };
        for &byte in &buffer[..read] {
            // An element is sent as full only when there is more to come, so that a line of
            // exactly its size does not end in an empty element.
            if line.len() == ROOM {
                send(&mut tx, Line::new(&line, true))?;
                line.clear();
            }
            line.push(byte);
            if byte == b'\n' {
                send(&mut tx, Line::new(&line, false))?;
                line.clear();
            }
            if interrupt::caught() {
                return Ok(());
            }
        }
        if read == 0 {
            // The last line, if it has no newline: it stays without.
            if !line.is_empty() {
                send(&mut tx, Line::new(&line, false))?;
            }
            return Ok(());
        }
    }
}

/// Sends one element. A cancelled send is no error: the caller sees the signal.
fn send(tx: &mut Producer<Line>, line: Line) -> Outcome {
    match tx.send(line) {
        Ok(()) | Err(SendError::Cancelled(_)) => Ok(()),
        Err(SendError::Closed(_)) => Err("the consumer went before it had everything".into()),
        Err(e) => Err(e.into()),
    }
}

/// What a producer with nothing to send waits for.
enum Event {
    Input,
    ConsumerGone,
    Signal,
}

/// Waits for input without losing sight of the ring. Polling in slices also covers a signal that
/// comes just before the `poll` and so does not interrupt it.
fn wait_for(input: &impl AsRawFd, tx: &mut Producer<Line>) -> io::Result<Event> {
    let mut poll = libc::pollfd { fd: input.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        if interrupt::caught() {
            return Ok(Event::Signal);
        }
        // SAFETY: one valid `pollfd`.
        match unsafe { libc::poll(&raw mut poll, 1, 100) } {
            0 if tx.peers().receivers == 0 => return Ok(Event::ConsumerGone),
            0 => {}
            1.. => return Ok(Event::Input),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
