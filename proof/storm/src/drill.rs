//! What must hold after a storm, and what a storm cannot show.
//!
//! A ring that has been through a storm is as good as new: drained, all of its slots and all of
//! its endpoint records usable.
//!
//! In a storm a missing wake shows as mere slowness, because sleepers look again after an interval.
//! In a drill the sleeper's interval is longer than the drill, and someone with a short interval
//! finds out about a death: if that one forgets to wake the sleeper, the drill fails.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use ringpipe::mpmc::{Receiver, Sender};
use ringpipe::{AttachError, Mpmc, RecvError, Ring, Role, SendError, TryRecvError, WaitPolicy};

use crate::board::Parcel;
use crate::worker::{Outcome, Storm};

/// A wake comes within this, also on a busy machine; an interval of the patient is longer.
const SOON: Duration = Duration::from_secs(8);
const PATIENT: Duration = Duration::from_secs(10);
const PROMPT: Duration = Duration::from_millis(5);

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// The ring is empty, takes as many items as it has slots, and as many ends as it has records.
pub fn is_as_new<K: Storm>(ring: &Ring<Parcel, K>) -> Outcome {
    let mut rx = K::receiver(ring).map_err(text)?;
    rx.require_peer();
    match rx.try_recv() {
        Err(TryRecvError::Closed) => {}
        other => return Err(format!("receivers saw the end, and there was more: {other:?}")),
    }
    let mut tx = K::sender(ring).map_err(text)?;
    let parcels: Vec<_> =
        (0..ring.capacity() as u64).map(|i| Parcel::new(u64::MAX, i, 0)).collect();
    tx.try_send_exact(&parcels).map_err(|e| format!("not all slots are usable: {e}"))?;
    let back: Vec<_> = rx.try_iter().collect();
    if back != parcels {
        return Err("what was sent after the storm came back different".to_owned());
    }
    drop((tx, rx));
    if K::MANY {
        let ends: Result<Vec<_>, _> = (0..ring.endpoints()).map(|_| K::sender(ring)).collect();
        let _ends = ends.map_err(|e| format!("not all endpoint records are usable: {e}"))?;
        match K::receiver(ring) {
            Err(AttachError::TableFull { .. }) => {}
            other => return Err(format!("more ends than records: {other:?}")),
        }
    }
    Ok(())
}

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

/// Lets a victim claim, meanwhile does something with the living, and kills it.
fn with_victim(
    ring: &Ring<u64, Mpmc>,
    role: Role,
    claim: usize,
) -> Outcome<impl FnOnce() -> Outcome> {
    let role = if role == Role::Sender { "sender" } else { "receiver" };
    let name = ring.name().unwrap_or_default();
    let mut child = Command::new("/proc/self/exe")
        .args(["victim", "--name", &name, "--role", role, "--claim", &claim.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let mut line = String::new();
    let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    let mut kill = move || {
        child.kill().map_err(text)?;
        child.wait().map_err(text)?;
        Ok(())
    };
    if line != "ready\n" {
        kill()?;
        return Err(format!("the victim is not ready: {said:?}"));
    }
    Ok(kill)
}

struct Named(Ring<u64, Mpmc>);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.0.unlink(); // best effort; it is in nobody's way
    }
}

fn fresh(drill: &str) -> Outcome<Named> {
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
    let (mut tx, mut rx) = (sender(&ring.0, PATIENT)?, receiver(&ring.0, PATIENT)?);
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
    let mut rx = receiver(&ring.0, PATIENT)?;
    let kill = with_victim(&ring.0, Role::Sender, 1)?;
    kill()?;
    let mut tx = sender(&ring.0, PROMPT)?;
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
    let (mut prompt, mut patient) = (receiver(&ring.0, PROMPT)?, receiver(&ring.0, PATIENT)?);
    let kill = with_victim(&ring.0, Role::Sender, 0)?;
    let waiting = std::thread::spawn(move || patient.recv());
    kill()?;
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
    let (mut prompt, mut patient) = (sender(&ring.0, PROMPT)?, sender(&ring.0, PATIENT)?);
    (0..8).try_for_each(|n| prompt.try_send(n)).map_err(text)?;
    let kill = with_victim(&ring.0, Role::Receiver, 0)?;
    let waiting = std::thread::spawn(move || patient.send(8));
    kill()?;
    let closed = soon("noticing a death", move || prompt.send(9))?;
    let told = soon("hearing of a death", || waiting.join())?.map_err(|_| "a sender panicked")?;
    if (closed, told) != (Err(SendError::Closed(9)), Err(SendError::Closed(8))) {
        return Err(format!("after the last receiver's death: {closed:?}, {told:?}"));
    }
    Ok(())
}
