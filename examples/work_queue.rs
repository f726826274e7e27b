//! Several processes put the lines of a file into one ring, several others take them out and hash
//! them; the combined hash must be what a single process computes.
//!
//! ```text
//! cargo run --release --example work_queue Cargo.lock --senders 3 --receivers 2
//! ```
//!
//! Each sender reads its share of the file (the lines that begin in its part of the bytes). Which
//! receiver gets which line is a matter of chance, so results are combined by addition, which does
//! not care. A line's hash covers its place in the file: a line that were lost, doubled, torn or
//! swapped with another would change the sum.
//!
//! The ring has no name: the children inherit its descriptor. Nothing can be left behind.
//!
//! **Who is there when.** A receiver that finds the ring empty and all senders gone takes that for
//! the end, also if it is just that the last sender has not started yet. So this process holds a
//! sending end itself until every sender has finished, and starts them when the receivers are
//! there. A sender that finds no receiver left gets `Closed`, as with a broken pipe.
//!
//! Exit codes: 0 if the two results agree; 1 if not, if any process failed, or on other errors; 2
//! for a wrong command line.

mod support;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use clap::{Parser, ValueEnum};
use ringpipe::RecvError;
use ringpipe::mpmc::{Mpmc, Ring};
use support::Outcome;
use support::children::{Peer, given, raw_stdout, report_ready};
use support::hash::{Hash, Hasher, hex};
use support::output::stdout;

/// Hashes the lines of FILE with several processes at both ends of a ring, and compares the result
/// with that of a single process.
#[derive(Parser)]
#[command(max_term_width = 80, after_help = "Exit code 0 if both results are the same.")]
struct Args {
    /// What to hash
    file: PathBuf,
    /// Processes that read the file and send its lines
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    senders: u32,
    /// Processes that receive lines and hash them
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    receivers: u32,
    /// Be a child
    #[arg(long, hide = true)]
    role: Option<Role>,
    /// Where a sender's share of the file begins
    #[arg(long, hide = true, default_value_t = 0)]
    from: u64,
    /// Where it ends
    #[arg(long, hide = true, default_value_t = 0)]
    to: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Sender,
    Receiver,
}

/// Bytes of a line in one element.
const ROOM: usize = 512;

/// A line, or a part of a long one. Parts are hashed one by one, so that they too can go to
/// different receivers.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Piece {
    /// Where in the file it begins.
    offset: u64,
    /// Bytes that count, with the newline.
    len: u32,
    /// Not 0: this is the end of a line.
    ends: u32,
    bytes: [u8; ROOM],
}

/// The result: of one receiver, of all, or of a single process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Tally {
    pieces: u64,
    lines: u64,
    bytes: u64,
    /// The sum of all pieces' hashes, taken as four numbers, modulo 2^64 each.
    sum: [u64; 4],
}

impl Tally {
    fn add(&mut self, piece: &Piece) -> Outcome {
        let bytes = piece.bytes.get(..piece.len as usize);
        let bytes = bytes.ok_or("a sender claims more bytes than there are")?;
        let mut hasher = Hasher::default();
        hasher.update(&piece.offset.to_le_bytes());
        hasher.update(bytes);
        self.merge(&Tally {
            pieces: 1,
            lines: u64::from(piece.ends != 0),
            bytes: bytes.len() as u64,
            sum: numbers(&hasher.finish()),
        });
        Ok(())
    }

    fn merge(&mut self, other: &Tally) {
        self.pieces += other.pieces;
        self.lines += other.lines;
        self.bytes += other.bytes;
        for (mine, other) in self.sum.iter_mut().zip(other.sum) {
            *mine = mine.wrapping_add(other);
        }
    }
}

fn numbers(hash: &Hash) -> [u64; 4] {
    std::array::from_fn(|i| u64::from_le_bytes(std::array::from_fn(|j| hash[8 * i + j])))
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pieces, lines, bytes, sum } = self;
        let sum = hex(&sum.map(u64::to_le_bytes).concat());
        write!(f, "{sum}\n          {lines} lines, {bytes} bytes, {pieces} pieces")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match args.role {
        None => coordinate(&args),
        Some(Role::Sender) => send(&args.file, args.from..args.to),
        Some(Role::Receiver) => receive(),
    })
}

fn options() -> ringpipe::Options<Piece, Mpmc> {
    Ring::options().capacity(256).tag("piece of a file", 1)
}

/// The process that was called.
fn coordinate(args: &Args) -> Outcome {
    let wrong = |e: io::Error| format!("{}: {e}", args.file.display());
    let metadata = std::fs::metadata(&args.file).map_err(wrong)?;
    if !metadata.is_file() {
        return Err(format!("{}: not a regular file", args.file.display()).into());
    }
    let size = metadata.len();
    let alone = hash_alone(&args.file, size)?;

    let ring = options().endpoints(args.senders + args.receivers + 1).create_anonymous()?;
    let until_all_have_sent = ring.sender()?;
    let mut receivers = Vec::new();
    for i in 0..args.receivers {
        receivers.push(Peer::spawn(format!("receiver {i}"), &[ring.as_fd()], |command| {
            command.args(["--role", "receiver"]).arg(&args.file)
        })?);
    }
    for receiver in &mut receivers {
        receiver.await_ready()?;
    }
    let mut senders = Vec::new();
    for i in 0..args.senders {
        let [from, to] = [i, i + 1].map(|i| share(size, i, args.senders).to_string());
        senders.push(Peer::spawn(format!("sender {i}"), &[ring.as_fd()], |command| {
            command.args(["--role", "sender", "--from", &from, "--to", &to]).arg(&args.file)
        })?);
    }
    // Nobody waits for ever here: if a sender dies, the others finish; if all receivers die, the
    // senders get `Closed`.
    for sender in senders {
        sender.finish()?;
    }
    drop(until_all_have_sent); // now an empty ring means the end
    let mut together = Tally::zeroed();
    for mut receiver in receivers {
        let mut tally = Tally::zeroed();
        let read = receiver.stdout().read_exact(bytemuck::bytes_of_mut(&mut tally));
        receiver.finish()?;
        read?;
        together.merge(&tally);
    }

    let mut output = stdout();
    let said = writeln!(output, "alone:    {alone}\ntogether: {together}");
    match together == alone {
        true => Ok(said.and_then(|()| writeln!(output, "the same"))?),
        false => Err("the results differ".into()), // also if nobody reads how
    }
}

/// Where the share of sender `i` begins.
fn share(size: u64, i: u32, of: u32) -> u64 {
    (u128::from(size) * u128::from(i) / u128::from(of)) as u64
}

fn hash_alone(file: &Path, size: u64) -> Outcome<Tally> {
    let mut tally = Tally::zeroed();
    for_each_piece(file, 0..size, |piece| tally.add(&piece))?;
    Ok(tally)
}

fn send(file: &Path, share: Range<u64>) -> Outcome {
    let mut tx = options().from_fd(given(0)?)?.sender()?;
    tx.require_peer(); // the receivers are there already, or dead
    for_each_piece(file, share, |piece| Ok(tx.send(piece)?))
}

fn receive() -> Outcome {
    let mut rx = options().from_fd(given(0)?)?.receiver()?;
    report_ready()?;
    let mut tally = Tally::zeroed();
    loop {
        match rx.recv() {
            Ok(piece) => tally.add(&piece)?,
            Err(RecvError::Closed) => break,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(raw_stdout()?.write_all(bytemuck::bytes_of(&tally))?)
}

/// Calls `take` for the pieces of all lines that begin in `share`, in order.
fn for_each_piece(
    path: &Path,
    share: Range<u64>,
    mut take: impl FnMut(Piece) -> Outcome,
) -> Outcome {
    let wrong = |e: io::Error| format!("{}: {e}", path.display());
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(wrong)?);
    let mut offset = share.start;
    if offset > 0 {
        // The line that the byte before us belongs to began there: it is not ours.
        offset -= 1;
        file.seek(SeekFrom::Start(offset)).map_err(wrong)?;
        offset += file.skip_until(b'\n').map_err(wrong)? as u64;
    }
    while offset < share.end {
        loop {
            let piece = next_piece(&mut file, offset).map_err(wrong)?;
            let Some(piece) = piece else { return Ok(()) };
            offset += u64::from(piece.len);
            take(piece)?;
            if piece.ends != 0 {
                break;
            }
        }
    }
    Ok(())
}

/// The next piece, up to and with the next newline if there is one near; `None` at the file's end.
fn next_piece(file: &mut impl BufRead, offset: u64) -> io::Result<Option<Piece>> {
    let mut piece = Piece { offset, ..Piece::zeroed() };
    let mut len = 0;
    while len < ROOM && piece.ends == 0 {
        let found = file.fill_buf()?;
        if found.is_empty() {
            piece.ends = u32::from(len > 0);
            break;
        }
        let found = &found[..found.len().min(ROOM - len)];
        let newline = found.iter().position(|&byte| byte == b'\n');
        let taken = newline.map_or(found.len(), |at| at + 1);
        piece.bytes[len..len + taken].copy_from_slice(&found[..taken]);
        piece.ends = newline.is_some().into();
        len += taken;
        file.consume(taken);
    }
    piece.len = len as u32;
    Ok((len > 0).then_some(piece))
}
