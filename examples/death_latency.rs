//! How long after a `kill -9` the other side learns of it: end-of-file and broken pipe.
//!
//! ```text
//! cargo run --release --example death_latency [--rounds N] [--sizes 0 1 4] [--interval MS]
//! ```
//!
//! A process with one end of a ring, and as much resident memory as is asked for, is killed while
//! the other end waits, asleep ([`WaitPolicy::Park`]) or spinning ([`WaitPolicy::Spin`]). All times
//! count from just before the signal is sent:
//!
//! * `learned`: the waiting call has returned `Closed`;
//! * `lock free`: the dead end's lock is gone, which is when the kernel has torn its mappings down
//!   far enough; nothing in this crate can know sooner. Looked at every 50 us or so;
//! * `reaped`: `waitid` has returned.
//!
//! What the crate adds is between the first two: a waiting end asks once in an interval whether its
//! peers live. Kills come at random moments of the interval. Large processes die slowly, which is
//! the kernel's time, not the ring's.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line.

mod support;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use ringpipe::spsc::{Ring, Spsc};
use ringpipe::{RecvError, SendError, WaitPolicy};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use support::Outcome;
use support::children::{Peer, given, raw_stdin, report_ready};
use support::figures::{self, now};
use support::output::{Progress, stdout};

/// Times from `kill -9` to end-of-file and to broken pipe.
#[derive(Parser)]
#[command(max_term_width = 80)]
struct Args {
    /// Kills for each row
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Resident memory of the killed process in GiB, one after the other (`0 1 4` or `0,1,4`); 0: a
    /// small process
    #[arg(long, num_args = 1.., value_delimiter = ',', default_values_t = [0], value_parser = clap::value_parser!(u64).range(0..=1024))]
    sizes: Vec<u64>,
    /// The waiting end's interval in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    interval: u64,
    /// Be the one who is killed, with this end
    #[arg(long, hide = true)]
    victim: Option<End>,
}

/// The end that is killed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum End {
    Producer,
    Consumer,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Producer => "producer",
            End::Consumer => "consumer",
        }
    }

    /// What the other one learns.
    fn consequence(self) -> &'static str {
        match self {
            End::Producer => "end-of-file",
            End::Consumer => "broken pipe",
        }
    }

    /// The byte that this end of an SPSC ring locks: part of the layout, see `peers::hold`.
    fn lock_byte(self) -> i64 {
        match self {
            End::Producer => (1 << 62) + 0x1_0000,
            End::Consumer => (1 << 62) + 0x2_0000 + 1,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    support::exit(match args.victim {
        None => measure(&args),
        Some(end) => wait_for_death(&args, end),
    })
}

fn options() -> ringpipe::Options<u64, Spsc> {
    Ring::options().capacity(1).tag("death", 1)
}

/// The times of one row, from the signal on.
struct Row {
    learned: Histogram<u64>,
    lock_free: Histogram<u64>,
    reaped: Histogram<u64>,
}

fn measure(args: &Args) -> Outcome {
    let mut output = stdout();
    writeln!(
        output,
        "{} kills a row, intervals of {} ms, transparent huge pages: {}\n\
         milliseconds: p50/p99/max\n",
        args.rounds,
        args.interval,
        huge_pages()
    )?;
    writeln!(
        output,
        "{:<12} {:<8} {:>8} {:>15} {:>15} {:>15}",
        "it sees", "and was", "resident", "learned", "lock free", "reaped"
    )?;
    for &gib in &args.sizes {
        for end in [End::Producer, End::Consumer] {
            for (policy, was) in [(WaitPolicy::Park, "asleep"), (WaitPolicy::Spin, "spinning")] {
                let size = if gib == 0 { "small".into() } else { format!("{gib} GiB") };
                write!(output, "{:<12} {was:<8} {size:>8}", end.consequence())?;
                output.flush()?;
                if let Some(available) = too_little_for(gib)? {
                    writeln!(output, " NOT RUN: {available} GiB are available")?;
                    continue;
                }
                let row = kill_repeatedly(args, end, policy, gib)?;
                for times in [&row.learned, &row.lock_free, &row.reaped] {
                    let all = [0.5, 0.99, 1.0].map(|q| millis(times.value_at_quantile(q)));
                    write!(output, " {:>15}", all.join("/"))?;
                }
                writeln!(output)?;
            }
        }
    }
    Ok(())
}

/// Nanoseconds as milliseconds, to three digits.
fn millis(ns: u64) -> String {
    let millis = ns as f64 / 1e6;
    let digits = match millis {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{millis:.digits$}")
}

fn kill_repeatedly(args: &Args, end: End, policy: WaitPolicy, gib: u64) -> Outcome<Row> {
    let [learned, lock_free, reaped] = std::array::from_fn(|_| figures::latencies());
    let mut row = Row { learned, lock_free, reaped };
    let mut progress = Progress::new("kills", args.rounds.into());
    for kill in 0..args.rounds {
        progress.at(kill.into(), figures::rate);
        let ring = options().create_anonymous()?;
        let victim = Peer::spawn("the victim", &[ring.as_fd()], |command| {
            command.args(["--victim", end.name(), "--sizes", &gib.to_string()])
        });
        let [learned, lock_free, reaped] = kill_once(args, end, policy, &ring, victim?)?;
        row.learned.saturating_record(learned);
        row.lock_free.saturating_record(lock_free);
        row.reaped.saturating_record(reaped);
    }
    Ok(row)
}

/// One death. Nanoseconds until it was learned of, until the lock was free, until it was reaped.
fn kill_once(
    args: &Args,
    end: End,
    policy: WaitPolicy,
    ring: &Ring<u64>,
    mut victim: Peer,
) -> Outcome<[u64; 3]> {
    victim.await_ready()?;
    let pid = Pid::from_raw(i32::try_from(victim.pid())?).ok_or("no process id")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let interval = Duration::from_millis(args.interval);
    let (about_to_wait, is_about_to_wait) = mpsc::channel();
    std::thread::scope(|scope| -> Outcome<[u64; 3]> {
        let survivor =
            scope.spawn(move || wait_for_news(ring, end, policy, interval, &about_to_wait));
        // If the survivor fails, it tells so when joined, and the victim is killed by its drop.
        if is_about_to_wait.recv().is_err() {
            drop(victim);
            survivor.join().map_err(|_| "the survivor panicked")??;
            return Err("the survivor did not wait".into());
        }
        // Long enough to be asleep, then any moment of an interval.
        let moment = now() % u64::try_from(interval.as_nanos())?;
        std::thread::sleep(Duration::from_millis(20) + Duration::from_nanos(moment));
        victim.still_runs()?;

        let observer = scope.spawn(|| until_lock_is_free(ring.as_fd(), end));
        let killed_at = now();
        pidfd_send_signal(&pidfd, Signal::KILL)?;
        // Not reaped for good: the handle of the victim does that.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(pidfd.as_fd()), options)?;
        let reaped_at = now();
        let free_at = observer.join().map_err(|_| "the observer panicked")??;
        let learned_at = survivor.join().map_err(|_| "the survivor panicked")??;
        Ok([learned_at, free_at, reaped_at].map(|at| at.saturating_sub(killed_at)))
    })
}

/// When a waiting call has said that the other end is gone.
fn wait_for_news(
    ring: &Ring<u64>,
    dies: End,
    policy: WaitPolicy,
    interval: Duration,
    about_to_wait: &mpsc::Sender<()>,
) -> Result<u64, String> {
    let told = |what: &dyn std::fmt::Display| what.to_string();
    match dies {
        End::Producer => {
            let mut rx = ring.consumer().map_err(|e| told(&e))?;
            rx.set_wait_policy(policy);
            rx.set_liveness_interval(interval);
            about_to_wait.send(()).map_err(|e| told(&e))?;
            match rx.recv() {
                Err(RecvError::Closed) => Ok(now()),
                other => Err(format!("{other:?} instead of end-of-file")),
            }
        }
        End::Consumer => {
            let mut tx = ring.producer().map_err(|e| told(&e))?;
            tx.set_wait_policy(policy);
            tx.set_liveness_interval(interval);
            tx.send(0).map_err(|e| told(&e))?; // the ring is full
            about_to_wait.send(()).map_err(|e| told(&e))?;
            match tx.send(1) {
                Err(SendError::Closed(1)) => Ok(now()),
                other => Err(format!("{other:?} instead of a broken pipe")),
            }
        }
    }
}

/// When nobody locks the end's byte any more.
fn until_lock_is_free(region: BorrowedFd<'_>, end: End) -> io::Result<u64> {
    loop {
        // SAFETY: `flock` is a plain C structure for which all-zero is valid.
        let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_RDLCK as _;
        lock.l_whence = libc::SEEK_SET as _;
        lock.l_start = end.lock_byte();
        lock.l_len = 1;
        // SAFETY: the command reads and writes one `flock64`, which outlives the call.
        if unsafe { libc::fcntl(region.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if i32::from(lock.l_type) == libc::F_UNLCK {
            return Ok(now());
        }
        // Not too often: it would take the processor from those who are measured.
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// The victim: takes its end and its memory, and waits.
fn wait_for_death(args: &Args, end: End) -> Outcome {
    let ring = options().from_fd(given(0)?)?;
    let _tx = (end == End::Producer).then(|| ring.producer()).transpose()?;
    let _rx = (end == End::Consumer).then(|| ring.consumer()).transpose()?;
    let bytes = usize::try_from(args.sizes.iter().sum::<u64>() << 30)?;
    let mut memory = vec![0_u8; bytes];
    memory.chunks_mut(4096).for_each(|page| page[0] = 1); // resident from the first touch
    std::hint::black_box(&memory);
    report_ready()?;
    // The parent keeps the other side open, and writes nothing; if it dies, so do we.
    raw_stdin()?.read_exact(&mut [0]).map_err(Into::into)
}

/// What is available, if a process of this size might take the machine down.
fn too_little_for(gib: u64) -> Outcome<Option<u64>> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"))
        .ok_or("/proc/meminfo does not tell the available memory")?;
    let available = available.parse::<u64>()? >> 20;
    Ok((gib > 0 && available < gib + gib / 2 + 1).then_some(available))
}

/// Which pages the victim's memory consists of decides how long it takes to die.
fn huge_pages() -> String {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = |text: &str| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned());
    text.ok().and_then(|text| chosen(&text)).unwrap_or_else(|| "unknown".into())
}
