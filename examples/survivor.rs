//! Senders and receivers are killed all the time, and the stream goes on: watch it.
//!
//! ```text
//! cargo run --release --example survivor -- --seconds 10 --senders 2 --receivers 2
//! ```
//!
//! This process starts senders and receivers on one ring, kills one of them with `SIGKILL` every
//! 100 ms wherever it happens to be, and starts another in its place. A line tells how it goes. In
//! the end it settles accounts: every single item, of every sender that ever lived.
//!
//! **How the dead are still asked.** Each process has a file without a name (a memfd), which the
//! kernel keeps for us when it dies. A sender notes there what it is about to send, and, when the
//! call has returned, that it has. A receiver claims items in place, notes them, and then releases
//! them. So whatever happens:
//!
//! * what a returned call has sent must have been received;
//! * of the call in which a sender died, items may be absent, but only from some item on;
//! * an item is received twice only if its receiver died between noting and releasing it, and then
//!   the second time is marked.
//!
//! Exit codes: 0 if all that is so; 1 if not, or on other errors; 2 for a wrong command line.

mod support;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use clap::{Parser, ValueEnum};
use ringpipe::mpmc::Ring;
use ringpipe::{BulkError, Stats};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Signal, set_parent_process_death_signal};
use support::Outcome;
use support::children::{Peer, given};
use support::output::{Stdout, stdout};

/// Kills senders and receivers of a ring all the time, and accounts for every item.
#[derive(Parser)]
#[command(
    max_term_width = 80,
    after_help = "Exit code 0 if nothing was lost, and doubled only with a mark."
)]
struct Args {
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Processes that send
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    senders: u32,
    /// Processes that receive
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    receivers: u32,
    /// Milliseconds from one kill to the next
    #[arg(long, default_value_t = 100)]
    kill_every: u64,
    /// Be a child
    #[arg(long, hide = true)]
    role: Option<Role>,
    /// Which sender this is
    #[arg(long, hide = true, default_value_t = 0)]
    number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Sender,
    Receiver,
}

/// What travels. `repr(C)`, because another process reads it.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Parcel {
    /// No two senders share a number.
    sender: u64,
    /// Counts the sender's parcels from 0.
    seq: u64,
    /// Follows from the two: a torn parcel would show.
    body: [u64; 6],
}

impl Parcel {
    fn new(sender: u64, seq: u64) -> Self {
        let mut word = (sender << 40 ^ seq).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let body = std::array::from_fn(|_| {
            word ^= word >> 29;
            word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word
        });
        Self { sender, seq, body }
    }
}

/// A sender's note: this much is sent, up to that much may be.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Sent {
    sent: u64,
    about_to: u64,
}

/// A receiver's note: parcels of one sender, in a row.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Received {
    sender: u64,
    from: u64,
    count: u64,
    /// Not 0: they had been given to a receiver before.
    again: u64,
}

const BATCH: usize = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match args.role {
        None => supervise(&args),
        Some(role) => serve(role, args.number),
    })
}

fn serve(role: Role, number: u64) -> Outcome {
    // Whoever kills the supervisor ends the show.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match role {
        Role::Sender => send(number),
        Role::Receiver => receive(),
    }
}

/// It is time to end: the supervisor has made its file longer than nothing.
fn ending(signal: &File) -> Outcome<bool> {
    Ok(signal.metadata()?.len() > 0)
}

/// A parcel takes a moment to make, and to look at: so that a good part of the kills hit somebody
/// in the midst of it, with slots claimed.
fn dawdle() {
    (0..30).for_each(|_| std::hint::spin_loop());
}

fn send(number: u64) -> Outcome {
    let ring = Ring::<Parcel>::options().from_fd(given(0)?)?;
    let (notes, signal) = (File::from(given(1)?), File::from(given(2)?));
    let mut tx = ring.sender()?;
    tx.set_liveness_interval(Duration::from_millis(5)); // how soon a death in its way is found
    let mut next = 0;
    while !ending(&signal)? {
        let about_to = next + BATCH as u64;
        notes.write_all_at(bytemuck::bytes_of(&Sent { sent: next, about_to }), 0)?;
        let sent = tx.claim_deadline(BATCH, Duration::from_millis(100)).map(|mut run| {
            for i in 0..run.len() {
                dawdle();
                run.write(i, Parcel::new(number, next + i as u64));
            }
            let len = run.len() as u64;
            run.commit_all();
            len
        });
        match sent {
            Ok(sent) => next += sent,
            Err(BulkError::Timeout) => {}
            // All receivers are dead at this moment. The next are on their way.
            Err(BulkError::Closed) => _ = tx.wait_for_peer(Duration::from_millis(100)),
            Err(why) => return Err(why.into()),
        }
        notes.write_all_at(bytemuck::bytes_of(&Sent { sent: next, about_to: next }), 0)?;
    }
    Ok(())
}

fn receive() -> Outcome {
    let ring = Ring::<Parcel>::options().from_fd(given(0)?)?;
    let (mut notes, signal) = (File::from(given(1)?), File::from(given(2)?));
    let mut rx = ring.receiver()?;
    rx.set_liveness_interval(Duration::from_millis(5)); // how soon a death in its way is found
    loop {
        let ending = ending(&signal)?;
        if ending {
            rx.require_peer(); // all senders may have left before we came
        }
        let run = match rx.claim_deadline(BATCH, Duration::from_millis(100)) {
            Ok(run) => run,
            Err(BulkError::Closed) if ending => return Ok(()),
            // All senders are dead at this moment. The next are on their way.
            Err(BulkError::Closed) => {
                let _ = rx.wait_for_peer(Duration::from_millis(100));
                continue;
            }
            Err(BulkError::Timeout) => continue,
            Err(why) => return Err(why.into()),
        };
        let mut received: Vec<Received> = Vec::new();
        for (i, parcel) in run.iter().enumerate() {
            dawdle();
            let Parcel { sender, seq, body } = parcel;
            if body != Parcel::new(sender, seq).body {
                return Err(format!("a torn parcel: {sender}, {seq}, {body:x?}").into());
            }
            let again = u64::from(i < run.redelivered());
            match received.last_mut() {
                Some(last)
                    if (last.sender, last.from + last.count, last.again)
                        == (sender, seq, again) =>
                {
                    last.count += 1;
                }
                _ => received.push(Received { sender, from: seq, count: 1, again }),
            }
        }
        notes.write_all(bytemuck::cast_slice(&received))?; // one call, so all or nothing
        run.release_all();
    }
}

/// A process and its notes.
struct Post {
    role: Role,
    number: u64,
    peer: Peer,
    notes: File,
}

/// What the dead and the living have noted.
#[derive(Default)]
struct Notes {
    sent: Vec<(u64, Sent)>,
    received: Vec<Received>,
}

impl Notes {
    /// Reads the notes of a process that is no more.
    fn take(&mut self, role: Role, number: u64, notes: &File) -> Outcome {
        let mut bytes = vec![0; usize::try_from(notes.metadata()?.len())?];
        notes.read_exact_at(&mut bytes, 0)?;
        match role {
            Role::Receiver => {
                let whole = bytes.chunks_exact(size_of::<Received>());
                self.received.extend(whole.map(bytemuck::pod_read_unaligned::<Received>));
            }
            Role::Sender => {
                let note = if bytes.is_empty() {
                    Sent::zeroed() // killed before its first call
                } else {
                    bytemuck::pod_read_unaligned(&bytes)
                };
                self.sent.push((number, note));
            }
        }
        Ok(())
    }
}

fn supervise(args: &Args) -> Outcome {
    let ring = Ring::<Parcel>::options().capacity(1024).create_anonymous()?;
    let signal = File::from(memfd_create("survivor-signal", MemfdFlags::CLOEXEC)?);
    let mut hired = 0;
    let mut hire = |role: Role| -> Outcome<Post> {
        hired += 1;
        let notes = File::from(memfd_create("survivor-notes", MemfdFlags::CLOEXEC)?);
        let gifts = [ring.as_fd(), notes.as_fd(), signal.as_fd()];
        let (what, number) = (if role == Role::Sender { "sender" } else { "receiver" }, hired);
        let peer = Peer::spawn(format!("{what} {number}"), &gifts, |command| {
            command.args(["--role", what, "--number", &number.to_string()])
        })?;
        Ok(Post { role, number, peer, notes })
    };
    let senders = std::iter::repeat_n(Role::Sender, args.senders as usize);
    let receivers = std::iter::repeat_n(Role::Receiver, args.receivers as usize);
    let mut posts = senders.chain(receivers).map(&mut hire).collect::<Outcome<Vec<_>>>()?;

    let mut notes = Notes::default();
    let (mut deaths, mut shown) = (0_u64, ring.stats().received);
    let began = Instant::now();
    let live = std::io::stdout().is_terminal();
    let mut output = stdout();
    let kill_every = Duration::from_millis(args.kill_every.max(1));
    let mut show_at = began + Duration::from_secs(1);
    while began.elapsed() < Duration::from_secs(args.seconds) {
        std::thread::sleep(kill_every);
        let victim = (RandomState::new().hash_one(deaths) % posts.len() as u64) as usize;
        posts[victim].peer.still_runs()?; // nobody ends for any other reason
        let successor = hire(posts[victim].role)?;
        let Post { role, number, peer, notes: left } =
            std::mem::replace(&mut posts[victim], successor);
        drop(peer); // kills it
        notes.take(role, number, &left)?;
        deaths += 1;
        if Instant::now() >= show_at {
            show_at += Duration::from_secs(1);
            let stats = ring.stats();
            let line = format!(
                "{:>3} s  {:>9} items/s  {deaths:>4} deaths  {:>6} skipped  {:>6} redelivered",
                began.elapsed().as_secs(),
                stats.received - shown,
                stats.skipped,
                stats.redelivered
            );
            shown = stats.received;
            let (before, after) = if live { ("\r", "") } else { ("", "\n") };
            write!(output, "{before}{line}{after}")?;
            output.flush()?;
        }
    }
    if live {
        writeln!(output)?;
    }
    signal.set_len(1)?; // senders leave, receivers drain the ring and see end-of-file
    for Post { role, number, peer, notes: left } in posts {
        peer.finish()?;
        notes.take(role, number, &left)?;
    }
    let Stats { skipped, redelivered, .. } = ring.stats();
    writeln!(output, "{deaths:>12} processes killed")?;
    writeln!(output, "{skipped:>12} slots taken from dead senders, which had not filled them all")?;
    writeln!(
        output,
        "{redelivered:>12} items taken from dead receivers and given to others, marked"
    )?;
    balance(notes, ring.is_empty(), &mut output)
}

/// Settles accounts.
fn balance(mut notes: Notes, drained: bool, output: &mut Stdout) -> Outcome {
    let (mut sent, mut received, mut absent, mut doubled) = (0, 0, 0, 0);
    let mut faults = Vec::new();
    notes.received.sort_unstable_by_key(|r| (r.sender, r.from));
    for (number, note) in &notes.sent {
        let from = notes.received.partition_point(|r| r.sender < *number);
        let (mut seen, mut unmarked) = (0, 0); // up to here
        for run in notes.received[from..].iter().take_while(|r| r.sender == *number) {
            let end = run.from + run.count;
            if run.from > seen {
                faults.push(format!("sender {number}: lost {seen}..{}", run.from));
            }
            if run.again == 0 && run.from < unmarked {
                faults.push(format!("sender {number}: {}.. twice without a mark", run.from));
            }
            doubled += seen.min(end).saturating_sub(run.from);
            seen = seen.max(end);
            unmarked = if run.again == 0 { end } else { unmarked };
        }
        if seen < note.sent {
            faults.push(format!("sender {number}: lost {seen}..{}", note.sent));
        }
        if seen > note.about_to {
            faults.push(format!("sender {number}: {seen} came of {}", note.about_to));
        }
        sent += note.sent.max(seen);
        received += seen;
        absent += note.about_to.saturating_sub(note.sent.max(seen));
    }
    if !drained {
        faults.push("items are left in the ring".to_owned());
    }
    let unaccounted = sent - received;
    let said = writeln!(
        output,
        "{sent:>12} items sent\n\
         {received:>12} items received\n\
         {doubled:>12} of them noted by two receivers, the second time with a mark\n\
         {absent:>12} items absent, with the calls in which their senders died\n\
         {unaccounted:>12} items unaccounted for"
    );
    // Also if nobody reads that.
    if let Some(fault) = faults.first() {
        return Err(format!("{} faults, the first: {fault}", faults.len()).into());
    }
    Ok(said.and_then(|()| writeln!(output, "nothing was lost, nothing doubled unmarked"))?)
}
