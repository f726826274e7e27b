//! Several processes write lines of any length into one ring of messages; another writes them to a
//! file. Any of them may be killed at any moment, and no line is lost.
//!
//! ```text
//! cargo run --release --example log_shipper -- /tmp/log --senders 3 --lines 20000 --kill
//! ```
//!
//! The receiver claims lines where they lie, writes them to the file, and then releases them. One
//! that is killed in between leaves its lines to its successor, which is told so
//! ([`redelivered`](ringpipe::messages::ReadMessages::redelivered)), and writes a `+` before each:
//! that line may stand in the file already. What a write has left of a line it removes first.
//!
//! A sender notes how many of its lines are in the ring. Its successor goes on from there, and sends
//! a line once more that was sent and not yet noted. So after a kill a line may be there twice,
//! and none is missing.
//!
//! **Who is there when.** This process holds an end of each kind itself, so that nobody is told that
//! all of the other side have gone while one of them is being replaced. The ring has no name: the
//! children inherit its descriptor, and nothing can be left behind.
//!
//! Exit codes: 0 if the balance holds; 1 if not, or on other errors; 2 for a wrong command line.

mod support;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use ringpipe::MessageError;
use ringpipe::messages::mpmc::{Receiver, Ring};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Signal, set_parent_process_death_signal};
use support::Outcome;
use support::children::{Peer, given, report_ready};
use support::figures;
use support::output::{Progress, shortened, stdout};

/// Ships lines from several processes through a ring of messages into a file, and draws the balance.
#[derive(Parser)]
#[command(max_term_width = 80, after_help = "Exit code 0 if the balance holds.")]
struct Args {
    /// The file to write, which is not there yet
    file: PathBuf,
    /// Processes that send lines
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=32))]
    senders: u32,
    /// Lines that each sends, of many lengths
    #[arg(long, default_value_t = 20_000)]
    lines: u64,
    /// Send the lines of this file instead, each sender its share
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    from: Option<PathBuf>,
    /// Kill a sender or the receiver now and then
    #[arg(long)]
    kill: bool,
    /// Milliseconds from one kill to the next
    #[arg(long, default_value_t = 20)]
    kill_every: u64,
    /// Bytes of the ring; a line may have half of that
    #[arg(long, default_value_t = 1 << 18)]
    capacity: usize,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// Be a child
    #[arg(long, hide = true)]
    role: Option<Role>,
    /// Which sender
    #[arg(long, hide = true, default_value_t = 0)]
    sender: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Sender,
    Receiver,
}

/// How soon a dead colleague's lines are found.
const SOON: Duration = Duration::from_millis(5);
/// Lines that a receiver takes at a time.
const BATCH: usize = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match args.role {
        None => coordinate(&args),
        Some(Role::Sender) => send(&args),
        Some(Role::Receiver) => receive(),
    })
}

/// What a sender sends: its number, the line's, and the text.
fn line(sender: u32, number: u64, text: &[u8]) -> Vec<u8> {
    [format!("{sender} {number} ").as_bytes(), text].concat()
}

/// A text that looks random: mostly short, now and then some kilobytes.
fn generated(sender: u32, number: u64) -> Vec<u8> {
    let mut state = (u64::from(sender) << 40 | number) + 1;
    let mut next = move || {
        state = (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(23) + 1;
        state
    };
    let longest = if next() % 50 == 0 { 8000 } else { 150 };
    let len = next() % longest;
    (0..len).map(|_| b'a' + (next() % 26) as u8).collect()
}

/// Calls `take` with the texts of one sender, from number `first` on.
fn each_text(
    args: &Args,
    sender: u32,
    first: u64,
    mut take: impl FnMut(u64, &[u8]) -> Outcome,
) -> Outcome {
    let Some(path) = &args.from else {
        return (first..args.lines).try_for_each(|n| take(n, &generated(sender, n)));
    };
    let mut file = opened(path)?;
    let mut text = Vec::new();
    for index in 0.. {
        text.clear();
        if file.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let (of, number) = (index % u64::from(args.senders), index / u64::from(args.senders));
        if of == u64::from(sender) && number >= first {
            take(number, text.strip_suffix(b"\n").unwrap_or(&text))?;
        }
    }
    Ok(())
}

fn opened(path: &Path) -> Outcome<BufReader<File>> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// How many lines of a sender are in the ring, or were, as it has noted.
fn noted(notes: &File, sender: u32) -> Outcome<u64> {
    let mut number = [0; 8];
    notes.read_exact_at(&mut number, 8 * u64::from(sender))?;
    Ok(u64::from_ne_bytes(number))
}

fn send(args: &Args) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut tx = Ring::options().from_fd(given(0)?)?.sender()?;
    let notes = File::from(given(1)?);
    tx.require_peer();
    let first = noted(&notes, args.sender)?;
    each_text(args, args.sender, first, |number, text| {
        match tx.send(&line(args.sender, number, text)) {
            Ok(()) => {}
            Err(MessageError::Closed) => return Err("nobody wants the lines".into()),
            Err(why) => return Err(why.into()),
        }
        Ok(notes.write_all_at(&(number + 1).to_ne_bytes(), 8 * u64::from(args.sender))?)
    })
}

/// Writes down what comes, and only then lets it go.
fn receive() -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut rx = Ring::options().from_fd(given(0)?)?.receiver()?;
    let mut file = File::from(given(1)?);
    rx.set_liveness_interval(SOON);
    rx.require_peer();
    remove_the_unfinished(&file)?;
    report_ready()?;
    let mut lines = Vec::new();
    loop {
        let claimed = match rx.claim(BATCH) {
            Ok(claimed) => claimed,
            Err(MessageError::Closed) => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        lines.clear();
        for (i, message) in claimed.iter().enumerate() {
            if i < claimed.redelivered() {
                lines.push(b'+');
            }
            let begin = lines.len();
            lines.resize(begin + message.len(), 0);
            message.read_slice(0, &mut lines[begin..]);
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        claimed.release_all();
    }
}

/// A receiver that was killed while it wrote may have left a part of a line, which comes again.
fn remove_the_unfinished(file: &File) -> Outcome {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let begin = (end - 1) / 4096 * 4096;
        let block = &mut block[..(end - begin) as usize];
        file.read_exact_at(block, begin)?;
        if let Some(newline) = block.iter().rposition(|&byte| byte == b'\n') {
            end = begin + newline as u64 + 1;
            break;
        }
        end = begin;
    }
    Ok(file.set_len(end)?)
}

/// The process that was called, and those that it has started.
struct Shipping<'a> {
    args: &'a Args,
    ring: Ring,
    notes: File,
    log: File,
    /// `None`: it has sent all.
    senders: Vec<Option<Peer>>,
    receiver: Option<Peer>,
    senders_killed: u32,
    receivers_killed: u32,
}

impl Shipping<'_> {
    fn sender(&self, number: u32) -> Outcome<Peer> {
        let Args { senders, lines, from, .. } = self.args;
        let gifts = [self.ring.as_fd(), self.notes.as_fd()];
        let numbers = [number, *senders].map(|number| number.to_string());
        Peer::spawn(format!("sender {number}"), &gifts, |command| {
            command.args(["--role", "sender", "--sender", &numbers[0], "--senders", &numbers[1]]);
            match from {
                Some(path) => command.arg("--from").arg(path),
                None => command.args(["--lines", &lines.to_string()]),
            };
            command.arg(&self.args.file)
        })
    }

    fn receiver(&self) -> Outcome<Peer> {
        let gifts = [self.ring.as_fd(), self.log.as_fd()];
        let mut receiver = Peer::spawn("the receiver", &gifts, |command| {
            command.args(["--role", "receiver"]).arg(&self.args.file)
        })?;
        receiver.await_ready()?;
        Ok(receiver)
    }

    /// Notices who has sent all.
    fn look(&mut self) -> Outcome {
        for sender in &mut self.senders {
            if let Some(peer) = sender
                && peer.has_ended_well()?
            {
                *sender = None;
            }
        }
        self.receiver.as_mut().expect("until the end").still_runs()
    }

    /// Kills one of those that work, and starts another in its place.
    fn kill_one(&mut self) -> Outcome {
        let random = RandomState::new().hash_one(self.senders_killed + self.receivers_killed);
        let victim = (random % (self.senders.len() as u64 + 1)) as usize;
        if victim == self.senders.len() {
            self.receiver = None; // dropping it kills it
            self.receiver = Some(self.receiver()?);
            self.receivers_killed += 1;
        } else if self.senders[victim].take().is_some() {
            self.senders[victim] = Some(self.sender(victim as u32)?);
            self.senders_killed += 1;
        }
        Ok(())
    }
}

fn coordinate(args: &Args) -> Outcome {
    let lines = match &args.from {
        Some(path) => opened(path)?.split(b'\n').try_fold(0, |n, line| line.map(|_| n + 1))?,
        None => args.lines * u64::from(args.senders),
    };
    let log = File::options().read(true).append(true).create_new(true).open(&args.file);
    let log = log.map_err(|e| format!("{}: {e}", args.file.display()))?;
    let ring = Ring::options().capacity(args.capacity).create_anonymous()?;
    let notes = File::from(memfd_create("notes", MemfdFlags::CLOEXEC)?);
    notes.set_len(8 * u64::from(args.senders))?;
    let (until_all_have_sent, until_all_is_written) = (ring.sender()?, ring.receiver()?);
    let mut shipping = Shipping {
        args,
        ring,
        notes,
        log,
        senders: Vec::new(),
        receiver: None,
        senders_killed: 0,
        receivers_killed: 0,
    };
    let began = Instant::now();
    shipping.receiver = Some(shipping.receiver()?);
    for number in 0..args.senders {
        let sender = shipping.sender(number)?;
        shipping.senders.push(Some(sender));
    }
    let mut progress = Progress::new("lines", lines);
    let mut kill_at = Instant::now() + Duration::from_millis(args.kill_every);
    while shipping.senders.iter().any(Option::is_some) {
        std::thread::sleep(Duration::from_millis(1));
        shipping.look()?;
        let sent = (0..args.senders).map(|number| noted(&shipping.notes, number));
        progress.at(sent.sum::<Outcome<u64>>()?, figures::rate);
        if args.kill && Instant::now() >= kill_at {
            shipping.kill_one()?;
            kill_at = Instant::now() + Duration::from_millis(args.kill_every);
        }
        if began.elapsed() > Duration::from_secs(args.limit) {
            return Err(format!("not done within {} s", args.limit).into());
        }
    }
    drop(progress);
    // End-of-file, when everything is written, also what dead receivers had.
    drop(until_all_have_sent);
    shipping.receiver.take().expect("until the end").finish()?;
    nothing_is_left(until_all_is_written)?;
    balance(&shipping, lines, began.elapsed())
}

fn nothing_is_left(mut rx: Receiver) -> Outcome {
    match rx.try_recv(&mut Vec::new()) {
        Err(MessageError::Closed) => Ok(()),
        other => Err(format!("something is left in the ring: {other:?}").into()),
    }
}

/// How often a line stands in the file, without and with a mark.
#[derive(Clone, Copy, Default)]
struct Account {
    unmarked: u32,
    marked: u32,
}

fn balance(shipping: &Shipping<'_>, lines: u64, took: Duration) -> Outcome {
    let Shipping { args, senders_killed, receivers_killed, .. } = *shipping;
    let (accounts, bytes) = accounts_of(args)?;
    let count = |what: fn(&Account) -> bool| accounts.iter().flatten().filter(|a| what(a)).count();
    let lost = count(|a| a.marked + a.unmarked == 0);
    let again = count(|a| a.marked > 0 && a.marked + a.unmarked > 1);
    let resent = count(|a| a.unmarked > 1);
    let sent = accounts.iter().map(Vec::len).sum::<usize>() as u64;
    let said = writeln!(
        stdout(),
        "{sent} lines sent, {}\n\
         {senders_killed} of the senders killed, {receivers_killed} of the receivers\n\
         {} lines written, {lost} lost\n\
         {again} lines twice, with a mark: a killed receiver had written them\n\
         {resent} lines twice: a killed sender had sent them, and its successor again\n\
         {}: {bytes} bytes",
        figures::rate(sent, took),
        sent - lost as u64,
        shortened(&args.file, 50),
    );
    // Also if nobody reads that.
    if lost > 0 || sent != lines || resent > senders_killed as usize {
        return Err(format!("{lost} of {lines} lines lost, {resent} sent twice").into());
    }
    if again > 0 && receivers_killed == 0 {
        return Err(format!("{again} lines written twice, and no receiver was killed").into());
    }
    Ok(said.and_then(|()| writeln!(stdout(), "the balance holds"))?)
}

/// How often each line of each sender stands in the file; and the bytes of the file.
fn accounts_of(args: &Args) -> Outcome<(Vec<Vec<Account>>, u64)> {
    let mut texts = vec![Vec::new(); args.senders as usize];
    for sender in 0..args.senders {
        each_text(args, sender, 0, |_, text| {
            texts[sender as usize].push(text.to_vec());
            Ok(())
        })?;
    }
    let mut accounts: Vec<_> =
        texts.iter().map(|texts| vec![Account::default(); texts.len()]).collect();
    let mut bytes = 0;
    for found in opened(&args.file)?.split(b'\n') {
        let found = found?;
        bytes += found.len() as u64 + 1;
        let marked = found.starts_with(b"+");
        let place = place_of(&found[usize::from(marked)..]);
        let written = place.and_then(|(sender, number, text)| {
            let sent = texts.get(sender)?.get(number)?;
            (sent == text).then(|| &mut accounts[sender][number])
        });
        let account = written.ok_or("a line in the file that nobody has sent")?;
        *if marked { &mut account.marked } else { &mut account.unmarked } += 1;
    }
    Ok((accounts, bytes))
}

/// Takes a line apart: the sender, the number, the text.
fn place_of(line: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    Some((number()?, number()?, parts.next()?))
}
