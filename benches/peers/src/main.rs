//! ringpipe beside its peers.
//!
//! ```text
//! cargo run --release -p peers -- [SCENARIO…] [--against NAME,…] [--rounds N] [--quick]
//!     [--out FILE]
//! cargo +nightly run --release -p peers --features shaq -- …
//! ```
//!
//! All contenders do the same work in turns of milliseconds, round after round, in processes of
//! their own (threads, where a contender knows nothing else), each pinned to a processor, and sleep
//! between turns. So whatever else the machine does hits all of them, and what is compared are
//! ratios within a round. Every run checks that all that was sent has arrived: a contender that
//! loses an item has no figure, but the reason in its place.
//!
//! `peers -- price` shows what ringpipe's crash protocol and its waiting cost: bare rings without
//! them, the same with intents, ringpipe polled as bare rings must be, ringpipe as it is.
//!
//! With `--out FILE.md`, tables and pictures go into a folder of this model of processor beside
//! that file, which becomes an index of all models' pages. The raw rounds go into
//! `target/peers/rounds.json`.
//!
//! Exit codes: 0, 1 with the reason on stderr (also if ringpipe itself failed in some round, other
//! than by having nothing to count on a busy machine), 2 for a wrong command line.

mod charts;
mod check;
mod contenders;
mod control;
mod fairness;
mod measure;
mod pages;
mod report;
mod running;
mod scale;
mod scenario;
mod stats;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Why something could not be done.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What may not have worked.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Compares ringpipe with its peers: the same work, interleaved in one run, between processes.
#[derive(Parser)]
struct Args {
    /// Scenarios, or beginnings of their names, as `spsc` or `mpmc-2x2`; none means all
    scenarios: Vec<String>,
    /// The same, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compare with these contenders alone (and our own yardsticks)
    #[arg(long, value_delimiter = ',')]
    against: Vec<String>,
    /// Rounds, for all scenarios the same
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: Option<u32>,
    /// Two short rounds of everything: to see that it works
    #[arg(long)]
    quick: bool,
    /// Write the tables and pictures to this processor's folder beside this file, an index of all
    #[arg(long)]
    out: Option<PathBuf>,
    /// Say what there is to measure, and with whom
    #[arg(long)]
    list: bool,
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        let mut asked = self.scenarios.iter().chain(&self.only).peekable();
        asked.peek().is_none() || asked.any(|asked| name.starts_with(asked.as_str()))
    }
}

fn main() -> ExitCode {
    let outcome = match running::as_worker() {
        Some(served) => served,
        None => compare(&Args::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("peers: {e}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> Outcome {
    let entries = running::entries();
    let scenarios = scenario::all();
    let scales = scale::ALL;
    if args.list {
        scenarios.iter().for_each(|s| println!("{:<24}{}", s.name, s.title));
        scales.iter().for_each(|(name, _)| println!("{name}"));
        let mut names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        names.sort();
        names.dedup();
        println!("\ncontenders: {}", names.join(", "));
        return Ok(());
    }
    if let Some(unknown) =
        args.against.iter().find(|name| !entries.iter().any(|entry| entry.name == **name))
    {
        return Err(format!("no contender {unknown}; --list names them").into());
    }
    let rounds = args.rounds.map(|rounds| rounds as usize);
    let processors = harness::processors::allowed()?.len();
    let machine = report::Machine::now(processors);
    let busy = machine.busy * 100.0;
    println!("{processors} processors, {busy:.1} % in use by others, commit {}\n", machine.commit);
    let scratch = Scratch::new(scenarios[0].link.scratch.as_str())?;
    let mut tables = Vec::new();
    let mut disqualified = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| args.wants(&scenario.name)) {
        let table =
            measure::run(scenario, &entries, &args.against, rounds, args.quick, &mut disqualified);
        println!("{}", report::table(&table));
        tables.push(table);
    }
    let mut scaled = Vec::new();
    for (_, measure) in scales.iter().filter(|(name, _)| args.wants(name)) {
        let scale = measure(args.quick)?;
        println!("{}", scale.markdown());
        scaled.push(scale);
    }
    drop(scratch);
    if tables.is_empty() && scaled.is_empty() {
        return Err("no such scenario; --list names them".into());
    }
    println!("{}", report::targets_table(&tables));
    let raw = serde_json::json!({
        "scenarios": tables,
        "targets": report::reached(&tables),
        "scales": scaled,
    });
    std::fs::create_dir_all("target/peers")?;
    std::fs::write("target/peers/rounds.json", format!("{raw:#}"))?;
    if let Some(out) = &args.out {
        let pages = pages::Pages::new(out, &machine.processor)?;
        let charts = charts::draw(&tables, pages.folder())?;
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let index = out.file_name().unwrap_or_default().to_string_lossy();
        let page = report::page(&machine, &index, &arguments.join(" "), &tables, &scaled, &charts);
        pages.write(&page, &report::index(&index))?;
    }
    let failed = tables.iter().find_map(|table| {
        let failed =
            |row: &&measure::Row| row.failed.as_ref().is_some_and(|e| e != running::NOTHING);
        let mut ours = table.rows.iter().filter(|row| row.name.starts_with("ringpipe"));
        ours.find(failed).map(|row| format!("{} failed in {}", row.name, table.name))
    });
    failed.map_or(Ok(()), |failed| Err(failed.into()))
}

/// A directory for what contenders keep in files, removed at the end with what iceoryx2 leaves in
/// /dev/shm.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: &str) -> Outcome<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self(path.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is no reason to withhold the figures.
        let _ = std::fs::remove_dir_all(&self.0);
        let Ok(entries) = std::fs::read_dir(Path::new("/dev/shm")) else { return };
        for entry in entries.flatten() {
            let ours = contenders::iceoryx::prefix(&self.0.to_string_lossy());
            if entry.file_name().to_string_lossy().starts_with(&ours) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}
