//! What a storm cannot show.
//!
//! In a storm a missing wake shows as mere slowness, because sleepers look again after an interval.
//! In a drill the sleeper's interval is longer than the drill, and someone with a short interval
//! finds out about a death: if that one forgets to wake the sleeper, the drill fails.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use harness::{Child, Named, text};
use ringpipe::mpmc::{Receiver, Sender};
use ringpipe::{Mpmc, RecvError, Ring, Role, SendError, WaitPolicy};

use crate::worker::Outcome;

/// A wake comes within this, also on a busy machine; an interval of the patient is longer.
const SOON: Duration = Duration::from_secs(8);
const PATIENT: Duration = Duration::from_secs(10);
const PROMPT: Duration = Duration::from_millis(5);

/// Someone who claims and then does nothing until killed.
#[derive(Clone, Debug, clap::Args)]
pub struct Victim {
    /// The ring's name.
    #[arg(long)]
    name: String,
    /// What it is.
    #[arg(long, value_parser = |s: &str| match s {
        "sender" => Ok(Role::Sender),
        "receiver" => Ok(Role::Receiver),
        _ => Err("sender or receiver"),
    })]
    role: Role,
    /// How much it claims.
    #[arg(long)]
    claim: usize,
}

/// Claims, says so, and waits to be killed.
pub fn suffer(victim: &Victim) -> Outcome {
    let ring = Ring::<u64, Mpmc>::options().open(&victim.name).map_err(text)?;
    let ready = || {
        println!("ready");
        std::io::stdout().flush().map_err(text)?;
        loop {
            std::thread::park();
        }
    };
    match victim.role {
        Role::Sender => {
            let mut tx = ring.sender().map_err(text)?;
            let run = (victim.claim > 0).then(|| tx.try_claim(victim.claim)).transpose();
            let _run = run.map_err(text)?;
            ready()
        }
        Role::Receiver => {
            let mut rx = ring.receiver().map_err(text)?;
            let run = (victim.claim > 0).then(|| rx.try_claim(victim.claim)).transpose();
            let _run = run.map_err(text)?;
            ready()
        }
    }
}

/// A victim that has claimed. Dropped, it is killed.
fn victim(ring: &Ring<u64, Mpmc>, role: Role, claim: usize) -> Outcome<Child> {
    let role = if role == Role::Sender { "sender" } else { "receiver" };
    let name = ring.name().unwrap_or_default();
    let child = Command::new("/proc/self/exe")
        .args(["victim", "--name", &name, "--role", role, "--claim", &claim.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Child(child.map_err(text)?);
    let mut line = String::new();
    let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    match line.as_str() {
        "ready\n" => Ok(child),
        _ => Err(format!("the victim is not ready: {said:?}")),
    }
}

fn fresh(drill: &str) -> Outcome<Named<u64, Mpmc>> {
    let name = format!("ringpipe-drill-{drill}-{}", std::process::id());
    Ring::options().capacity(8).create(&name).map(Named).map_err(text)
}

fn receiver(ring: &Ring<u64, Mpmc>, interval: Duration) -> Outcome<Receiver<u64>> {
    let mut rx = ring.receiver().map_err(text)?;
    rx.set_wait_policy(WaitPolicy::Park);
    rx.set_liveness_interval(interval);
    Ok(rx)
}

fn sender(ring: &Ring<u64, Mpmc>, interval: Duration) -> Outcome<Sender<u64>> {
    let mut tx = ring.sender().map_err(text)?;
    tx.set_wait_policy(WaitPolicy::Park);
    tx.set_liveness_interval(interval);
    Ok(tx)
}

/// Acts in a thread of its own, which is left behind if it takes too long.
fn soon<R: Send + 'static>(what: &str, act: impl FnOnce() -> R + Send + 'static) -> Outcome<R> {
    let (done, outcome) = channel();
    // If nobody waits any more, it has been reported.
    std::thread::spawn(move || drop(done.send(act())));
    let late = |e| format!("{what}: nothing for {SOON:?}, so a wake is missing ({e})");
    outcome.recv_timeout(SOON).map_err(late)
}

/// All of them.
pub fn wakes() -> Outcome {
    in_flow()?;
    past_a_dead_senders_claim()?;
    end_of_file()?;
    broken_pipe()
}

/// Nobody dies; both ends would sleep for long.
fn in_flow() -> Outcome {
    let ring = fresh("flow")?;
    let (mut tx, mut rx) = (sender(&ring, PATIENT)?, receiver(&ring, PATIENT)?);
    let count = 2_000;
    let sending = std::thread::spawn(move || (0..count).try_for_each(|n| tx.send(n)));
    let sum = soon("2,000 items", move || rx.iter().sum::<u64>())?;
    let sent = sending.join().map_err(|_| "the sender panicked")?;
    if sent != Ok(()) || sum != count * (count - 1) / 2 {
        return Err(format!("sent {sent:?}, and received items that sum up to {sum}"));
    }
    Ok(())
}

/// A sender on the full ring finds that the one at its head is dead; the receiver sleeps.
fn past_a_dead_senders_claim() -> Outcome {
    let ring = fresh("claim")?;
    let mut rx = receiver(&ring, PATIENT)?;
    drop(victim(&ring, Role::Sender, 1)?);
    let mut tx = sender(&ring, PROMPT)?;
    let receiving = std::thread::spawn(move || (rx.recv(), rx));
    let fill = move || (0..9).try_for_each(|n| tx.send(n));
    soon("filling a ring behind a dead sender", fill)?.map_err(text)?;
    match soon("receiving behind a dead sender", || receiving.join())? {
        Ok((Ok(0), _)) => Ok(()),
        other => Err(format!("received behind a dead sender: {other:?}")),
    }
}

/// One receiver finds that the last sender is dead; the other sleeps.
fn end_of_file() -> Outcome {
    let ring = fresh("eof")?;
    let (mut prompt, mut patient) = (receiver(&ring, PROMPT)?, receiver(&ring, PATIENT)?);
    let victim = victim(&ring, Role::Sender, 0)?;
    let waiting = std::thread::spawn(move || patient.recv());
    drop(victim);
    let closed = soon("noticing a death", move || prompt.recv())?;
    let told = soon("hearing of a death", || waiting.join())?.map_err(|_| "a receiver panicked")?;
    if (closed, told) != (Err(RecvError::Closed), Err(RecvError::Closed)) {
        return Err(format!("after the last sender's death: {closed:?}, {told:?}"));
    }
    Ok(())
}

/// One sender finds that the last receiver is dead; the other sleeps.
fn broken_pipe() -> Outcome {
    let ring = fresh("epipe")?;
    let (mut prompt, mut patient) = (sender(&ring, PROMPT)?, sender(&ring, PATIENT)?);
    (0..8).try_for_each(|n| prompt.try_send(n)).map_err(text)?;
    let victim = victim(&ring, Role::Receiver, 0)?;
    let waiting = std::thread::spawn(move || patient.send(8));
    drop(victim);
    let closed = soon("noticing a death", move || prompt.send(9))?;
    let told = soon("hearing of a death", || waiting.join())?.map_err(|_| "a sender panicked")?;
    if (closed, told) != (Err(SendError::Closed(9)), Err(SendError::Closed(8))) {
        return Err(format!("after the last receiver's death: {closed:?}, {told:?}"));
    }
    Ok(())
}
