//! ringpipe beside its peers.
//!
//! ```text
//! cargo run --release -p peers -- [SCENARIO…] [--against NAME…] [--rounds N] [--quick] [--out docs/performance.md]
//! cargo +nightly run --release -p peers --features shaq -- …
//! ```
//!
//! All contenders do the same work in turn, round after round, in processes of their own (threads,
//! where a contender knows nothing else), each pinned to a processor, behind a start barrier. So
//! whatever else the machine does hits all of them, and what is compared are ratios within a round.
//! Every run checks that all that was sent has arrived: a contender that loses an item has no
//! figure, but the reason in its place.
//!
//! Exit codes: 0, 1 with the reason on stderr, 2 for a wrong command line.

mod contenders;
mod control;
mod harness;
mod worker;
mod stats;

/// Why something could not be done.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What may not have worked.
pub type Outcome<T = ()> = Result<T, Failure>;

fn main() {
    if let Some(served) = harness::as_worker() {
        if let Err(e) = served { eprintln!("peers: {e}"); std::process::exit(1); }
        return;
    }
    let _ = stats::median(&[]);
    let mut wait = contenders::Wait::Usual;
    let args: Vec<String> = std::env::args().collect();
    let work = match args[1].as_str() { "stream" => contenders::Work::Stream, "idle" => contenders::Work::Idle, "low" => contenders::Work::LowRate, _ => contenders::Work::Trips };
    if let Some(w) = args.get(5) { wait = match w.as_str() { "spin" => contenders::Wait::Spin, "sleep" => contenders::Wait::Sleep, "adaptive" => contenders::Wait::Adaptive, _ => wait } }
    let sr: Vec<u32> = args[4].split('x').map(|x| x.parse().unwrap()).collect();
    let plan = harness::Plan { link: contenders::Link { work, scratch: "/tmp/peers-scratch".into(), name: String::new(), fds: vec![], size: args[2].parse().unwrap(), batch: args[3].parse().unwrap(), capacity: 1024, senders: sr[0], receivers: sr[1], wait, crowded: false }, warm: std::time::Duration::from_millis(30), measured: std::time::Duration::from_millis(150)};
    for e in harness::entries() {
        match (e.fits)(&plan.link) { Err(why) => println!("{:<20} {why}", e.name), Ok(()) => match harness::once(&e, &plan) { Err(why) => println!("{:<20} FAILED {why}", e.name), Ok(r) => println!("{:<20} {:.2} ns {:?} fair {:?} cpu {:.2} sw {:.0}", e.name, 1e9 / r.rate, r.latency, r.fairness, r.cpu, r.switches) } }
    }
}
