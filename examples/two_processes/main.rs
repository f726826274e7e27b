//! A file goes from one process to another through a ring, and then through a pipe.
//!
//! ```text
//! cargo run --release --example two_processes [FILE] [--capacity N]
//! ```
//!
//! This program starts itself a second time, as the sender. The sender reads FILE (this very
//! executable unless told otherwise) and streams it in chunks through a named single-producer
//! single-consumer ring; both sides hash what they see, and the digests must agree. The same
//! transfer then goes through a Linux pipe, one chunk per `write`, with the same checks. Since
//! hashing takes most of that time, the transport is timed alone as well, and latency without load.
//!
//! **Two processors.** Each process is pinned to one of its own. Left to the scheduler, the two may
//! come to share one, as two that wake each other often do: then a pipe has the shorter way, which
//! is no way between processors at all, and a receiver that spins keeps the sender from running. If
//! there is only one processor that is said loudly, and that is what the figures are of. The ways
//! take turns, round by round; printed are medians over the rounds.
//!
//! The last line of output is `verified sha256 HEX`, as `sha256sum FILE` has it, with exit code 0.
//! Anything else is exit code 1 and a reason on stderr (2 for a wrong command line).
//!
//! **The name.** It exists only while the two find each other: it is removed as soon as both have
//! the ring open. If one of them is killed even then, the other removes it: the sender is started
//! first and knows the name, and the receiver holds Ctrl-C back for that moment.
//!
//! **The end.** A ring, like a pipe, reports end-of-file when the sender is gone, whether it has
//! finished or was killed. So the sender says by a last chunk that it is done, with its digest.

mod measure;
mod sender;
#[path = "../support/mod.rs"]
mod support;

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytemuck::{AnyBitPattern, NoUninit};
use clap::Parser;
use measure::{Received, measure};
use ringpipe::spsc::{Ring, Spsc};
use ringpipe::{Options, PeerError, WaitPolicy};
use support::children::Peer;
use support::figures::{self, now};
use support::hash::hex;
use support::output::{COLUMNS, shortened, stdout};
use support::{Outcome, interrupt};

/// Streams FILE through a ring to a second process, verifies it, and compares with a pipe.
#[derive(Parser)]
#[command(
    max_term_width = 80,
    after_help = "The last line is `verified sha256 HEX`; anything else is exit code 1."
)]
struct Args {
    /// What to send [default: this program's own executable]
    file: Option<PathBuf>,
    /// Slots of the ring, a chunk each; the pipe is given as many bytes, if it can be
    #[arg(long, default_value_t = 256)]
    capacity: usize,
    /// Be the sender, on the ring of this name
    #[arg(long, hide = true, requires = "processor")]
    sender: Option<String>,
    /// On this processor
    #[arg(long, hide = true)]
    processor: Option<usize>,
}

/// File bytes in a chunk.
const ROOM: usize = 1024;
/// Chunks that go at once where batches are measured.
const BATCH: usize = 32;
/// Chunks of a transport measurement: 64 MiB in all.
const FLOOD: u64 = 1 << 16;
/// Chunks of a round without load, and the pause between two.
const DRIPS: u64 = 1000;
const PAUSE: Duration = Duration::from_micros(50);

/// What travels. `repr(C)` and no padding, so that it is the same bytes to everyone.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Chunk {
    /// When it was sent, by `CLOCK_MONOTONIC`; 0 where latency is not measured.
    sent_at: u64,
    /// Bytes that count.
    len: u32,
    /// Not 0: the sender is done, and the bytes are its digest.
    last: u32,
    bytes: [u8; ROOM],
}

/// What to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// The file, read, hashed, one chunk at a time.
    File,
    /// [`FLOOD`] chunks from memory, so many at a time.
    Memory(usize),
    /// [`DRIPS`] chunks from memory, with pauses.
    Drip,
}

/// How to send it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Waiting as rings do by default: spinning a little, then sleeping.
    Ring,
    /// With a receiver that only spins.
    Spun,
    Pipe,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "ring",
            Self::Spun => "ring, spinning",
            Self::Pipe => "pipe",
        })
    }
}

/// Everything the receiver may ask for; it asks by the index.
const TRANSFERS: [(Load, Way); 9] = [
    (Load::File, Way::Ring),
    (Load::File, Way::Pipe),
    (Load::Memory(1), Way::Ring),
    (Load::Memory(1), Way::Pipe),
    (Load::Memory(BATCH), Way::Ring),
    (Load::Memory(BATCH), Way::Pipe),
    (Load::Drip, Way::Spun),
    (Load::Drip, Way::Ring),
    (Load::Drip, Way::Pipe),
];

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match (&args.sender, args.processor, args.file) {
        (Some(name), Some(processor), Some(file)) => sender::run(name, processor, &file),
        (_, _, file) => file
            .map_or_else(std::env::current_exe, Ok)
            .map_err(Into::into)
            .and_then(|file| receive(&file, args.capacity)),
    })
}

fn options() -> Options<Chunk, Spsc> {
    Ring::options().tag("file chunk", 1)
}

/// Removes the ring's name, should it still be there.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        let _ = ringpipe::unlink(&self.0);
    }
}

/// The whole of the receiving process, which is the one that was called.
fn receive(file: &Path, capacity: usize) -> Outcome {
    let size = check(file)?;
    let mut output = stdout();
    let (here, there) = figures::two_processors()?;

    let name = format!("ringpipe-two-processes-{}-{}", std::process::id(), now());
    let held = interrupt::Held::new()?;
    let mut peer = Peer::spawn("the sender", &[], |command| {
        command.args(["--sender", &name, "--processor", &there.to_string(), "--"]).arg(file)
    })?;
    figures::pin(here)?;
    let ring = options().capacity(capacity).create(&name)?;
    let name = Name(name);
    let mut ask = peer.stdin();
    ask.write_all(&[0])?; // any byte: the ring is there
    let mut rx = ring.consumer()?;
    while let Err(e) = rx.wait_for_peer(Duration::from_millis(50)) {
        match e {
            PeerError::Timeout => peer.still_runs()?,
            e => return Err(e.into()),
        }
    }
    drop(name);
    drop(held);

    let mut pipe = File::from(OwnedFd::from(peer.stdout()));
    let pipe_bytes = resize(&pipe, ring.capacity() * size_of::<Chunk>());
    writeln!(
        output,
        "{}\n\
         {size} bytes in chunks of {ROOM}, {} bytes with their heads\n\
         ring: {} slots, {} bytes; pipe: {pipe_bytes} bytes",
        shortened(file, COLUMNS),
        size_of::<Chunk>(),
        ring.capacity(),
        ring.capacity() * size_of::<Chunk>(),
    )?;
    match here == there {
        true => writeln!(
            output,
            "!!! ONE PROCESSOR ({here}) FOR BOTH: each waits until the other is taken off it;\n\
             !!! the figures are the scheduler's, and say nothing of a ring between two"
        )?,
        false => writeln!(output, "sender on processor {there}, receiver on {here}")?,
    }

    let mut transfer = |load, way| {
        let bytes = match load {
            Load::File => size,
            Load::Memory(_) => FLOOD * ROOM as u64,
            Load::Drip => DRIPS * ROOM as u64,
        };
        rx.set_wait_policy(match way {
            Way::Spun => WaitPolicy::Spin,
            Way::Ring | Way::Pipe => WaitPolicy::default(),
        });
        match way {
            Way::Ring | Way::Spun => Received::new(load, way, bytes, &mut ask, &mut rx),
            Way::Pipe => Received::new(load, way, bytes, &mut ask, &mut pipe),
        }
    };
    let measured = measure(size, &mut output, &mut transfer);
    drop((ask, rx, pipe)); // no more wishes: the sender ends
    // If the sender was killed, that is the reason for whatever went wrong here.
    let ended = peer.finish();
    let digest = match (measured, ended) {
        (Err(e), Ok(())) => return Err(e),
        (_, Err(e)) => return Err(e),
        (Ok(digest), Ok(())) => digest,
    };
    writeln!(output, "verified sha256 {}", hex(&digest))?;
    Ok(())
}

/// The length of `file`, if it can be read and is one that can be read more than once.
fn check(file: &Path) -> Outcome<u64> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let metadata = std::fs::metadata(file).map_err(|e| wrong(&e))?;
    if !metadata.is_file() {
        return Err(wrong(&"not a regular file").into());
    }
    File::open(file).map_err(|e| wrong(&e))?;
    Ok(metadata.len())
}

/// Gives the pipe as many bytes as the ring has, or as near as the kernel allows.
fn resize(pipe: &File, bytes: usize) -> usize {
    let wish = libc::c_int::try_from(bytes.next_power_of_two() / 2).unwrap_or(libc::c_int::MAX);
    // SAFETY: takes and returns numbers; a refusal leaves the pipe as it is.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, wish) };
    // SAFETY: as above.
    let got = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) };
    usize::try_from(got).unwrap_or(0)
}
