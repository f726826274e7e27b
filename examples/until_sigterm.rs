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

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ringpipe::{Deadline, OpenError, OpenOrCreateError, RecvError, Unclean, spsc};

#[derive(Debug, Parser)]
#[command(about = "A ring in a file, closed in good order when the program is told to end")]
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

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
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
        println!("sent {count}");
        return Ok(());
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
    let why = loop {
        match rx.recv() {
            Ok(number) => {
                taken += 1;
                println!("{number}");
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
    eprintln!("{why}");
    told.join().expect("the thread only waits");
    drop((rx, stop));
    let left = ring.len();
    // From here on, the machine may go down.
    ring.checkpoint()?;
    eprintln!("took {taken}, left {left}; the ring is closed");
    Ok(())
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

/// Waits for one of the signals, which are blocked.
fn wait_for(signals: &libc::sigset_t) {
    let mut number = 0;
    // SAFETY: a valid set, and room for a number.
    unsafe { libc::sigwait(signals, &raw mut number) };
}
