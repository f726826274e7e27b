//! Kills a process at every point of every operation, and checks what is left.
//!
//! ```text
//! cargo run --release -p killpoints                  # everything
//! cargo run --release -p killpoints -- --quick       # one kill for each state, at random in it
//! cargo run --release -p killpoints -- --quick --seed 7
//! cargo run --release -p killpoints -- --operation mpmc/try_send --step 57
//! cargo run --release -p killpoints -- --on-disk target/tmp --operation visit
//! ```
//!
//! A victim process is brought to the beginning of an operation, executed instruction by
//! instruction (`ptrace`), and killed (`SIGKILL`). Then survivors must find everything as the
//! contract says ([`oracle`]). The operations are listed in [`operations`].
//!
//! # Why this is every instruction, though not every instruction is killed at
//!
//! What a dead process leaves is what others can still see of it: the words of the region, the
//! locks that the kernel keeps on the region's file (it drops the dead process's own), and whether
//! the region's name exists. The victim's private memory and registers are gone. So two kills
//! between which none of these has changed leave the same world, and one of them stands for both.
//! The harness steps through the operation once, looks at these after each instruction
//! ([`observe`]), and kills for real in every state it has seen, in a victim run anew: as soon as
//! the state is there, and once more at the last instruction before it changes, which costs little
//! and would show if the argument left something out. Since the kernel might remember something
//! else of a process, the number of system calls made counts as part of the state: there is a kill
//! behind each. `--quick` kills once in each state, at an instruction that its seed chooses, so
//! that many runs come to them all.
//!
//! Names of rings are made in a `/dev/shm` of the harness's own ([`harness::private`]), so that an operation
//! that acts on all rings there are acts on nobody else's.
//!
//! Not covered: a kill inside a system call that then takes effect in part. The operations make
//! few, and of these only the reservation of memory (for a file without a name yet) can be
//! interrupted half-way. And on x86-64 stores become visible in the order of the program; where
//! they do not, a dead process may leave later stores without earlier ones. For that the models
//! are there (`loom-tests`), which know no such order.
//!
//! # How a kill is repeated
//!
//! Victims take the same steps in every run ([`harness::trace`]) as far as the kernel tells them the
//! same. So "behind the m-th system call, about to execute the instruction at this address for the
//! n-th time" is a moment that can be reached again, at full speed, with a breakpoint. Some read
//! what is not the same each time (how much memory is in use); one that therefore does not come to
//! that moment is killed before its next system call, and counted. Either way the state must be the
//! one that was recorded there; if not, the harness says so rather than killing at some other.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("killpoints steps through x86-64 instructions on Linux");

mod act;
mod diary;
mod item;
mod observe;
mod operations;
mod oracle;
mod orphans;
mod perform;
mod rings;
mod run;
mod scenario;
mod special;
mod watchdog;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use harness::rng::seed;
use ringpipe::{Bytes, Mpmc, MpmcMessages, Spsc, SpscMessages};

use act::Act;
use diary::Diary;
use operations::scenarios;
use run::{Mode, Report};
use scenario::{Ring, Scenario, Step};

/// Kills a process at every point of every ringpipe operation and checks what is left.
#[derive(Debug, Parser)]
struct Cli {
    /// One kill for each state, at any of its instructions, rather than two.
    #[arg(long)]
    quick: bool,
    /// Repeats the choices of `--quick`; by default others each time, which is printed.
    #[arg(long, requires = "quick", default_value_t = seed(), hide_default_value = true)]
    seed: u64,
    /// Only operations whose name contains this; a whole name means that one alone.
    #[arg(long)]
    operation: Option<String>,
    /// Kills after this many steps, and at no other point.
    #[arg(long, requires = "operation")]
    step: Option<usize>,
    /// Tells at which step which word, lock or name changes.
    #[arg(long, requires = "operation")]
    explain: bool,
    /// Rings are files in this directory, on a disk. Takes `CAP_SYS_ADMIN`; exit code 3: not run.
    /// The removal of orphans, which goes by the order of names in a directory, is left out: a
    /// disk has another one each time.
    #[arg(long)]
    on_disk: Option<PathBuf>,
    /// Lists the operations.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    // The victim's command line is this program's own business.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, step, ring] = args.as_slice()
        && role == "victim"
    {
        victim(name, step, ring);
        return ExitCode::SUCCESS;
    }
    supervise(&Cli::parse())
}

/// The life of a victim. It panics where anything is other than the harness has arranged.
fn victim(name: &str, step: &str, ring: &str) {
    let scenario = scenarios().find(|s| s.name == name).expect("a scenario");
    let act = match step.parse::<usize>() {
        Err(_) => scenario.act,
        Ok(index) => match scenario.script[index] {
            Step::Dead(act) | Step::DeadAsleep(act) | Step::DeadWithin { act, .. } => act,
            other => panic!("{other:?} is nobody's life"),
        },
    };
    let diary = Diary::from_stdin();
    match scenario.ring {
        Ring::Spsc => perform::perform::<Spsc>(act, ring, &diary),
        Ring::Mpmc => perform::perform::<Mpmc>(act, ring, &diary),
        Ring::Bytes => perform::perform::<Bytes>(act, ring, &diary),
        Ring::SpscMessages => perform::perform::<SpscMessages>(act, ring, &diary),
        Ring::MpmcMessages => perform::perform::<MpmcMessages>(act, ring, &diary),
    }
}

fn supervise(cli: &Cli) -> ExitCode {
    let wanted = |scenario: &&Scenario| match &cli.operation {
        None => true,
        Some(part) if scenarios().any(|s| s.name == part) => scenario.name == part,
        Some(part) => scenario.name.contains(part.as_str()),
    };
    let in_order =
        |scenario: &&Scenario| cli.on_disk.is_none() || !matches!(scenario.act, Act::RemoveOrphans);
    let scenarios: Vec<_> = scenarios().filter(wanted).filter(in_order).collect();
    if cli.list {
        scenarios.iter().for_each(|scenario| println!("{}", scenario.name));
        return ExitCode::SUCCESS;
    }
    if scenarios.is_empty() {
        eprintln!("no such operation; --list tells which there are");
        return ExitCode::FAILURE;
    }
    let not_private = harness::private::enter(cli.on_disk.as_deref()).err();
    if let Some(directory) = &cli.on_disk {
        let why = not_private.as_ref().map(ToString::to_string);
        if let Some(why) = why.or_else(|| run::is_on_disk().err()) {
            println!("!!! NOT RUN: rings in {}: {why}", directory.display());
            return ExitCode::from(3);
        }
    }
    watchdog::start();
    let seed = cli.quick.then_some(cli.seed);
    if let Some(seed) = seed {
        println!("killpoints: seed {seed}");
    }
    let mode = Mode { seed, step: cli.step, explain: cli.explain };
    let started = Instant::now();
    println!(
        "{:46} {:>6} {:>6} {:>5} {:>6} {:>7}",
        "operation", "steps", "states", "kills", "passed", "ms"
    );
    let mut total = Report::default();
    let mut not_run = 0;
    for scenario in scenarios {
        if let (Act::RemoveOrphans, Some(e)) = (scenario.act, &not_private) {
            println!("!!! NOT RUN: {}: no /dev/shm of our own: {e}", scenario.name);
            not_run += 1;
            continue;
        }
        let began = Instant::now();
        let report = match scenario.ring {
            Ring::Spsc => run::all::<Spsc>(scenario, mode),
            Ring::Mpmc => run::all::<Mpmc>(scenario, mode),
            Ring::Bytes => run::all::<Bytes>(scenario, mode),
            Ring::SpscMessages => run::all::<SpscMessages>(scenario, mode),
            Ring::MpmcMessages => run::all::<MpmcMessages>(scenario, mode),
        };
        let Report { steps, states, kills, passed, .. } = report;
        let took = began.elapsed().as_millis();
        println!("{:46} {steps:6} {states:6} {kills:5} {passed:6} {took:7}", scenario.name);
        total += report;
    }
    let Report { steps, states, kills, passed, elsewhere } = total;
    let took = started.elapsed().as_secs_f64();
    println!("{steps} steps, {states} states, {took:.1} s");
    println!("kill points: {kills}, passed: {passed}");
    if elsewhere > 0 {
        println!("{elsewhere} of them in the same state, but before the system call that ends it");
    }
    if not_run > 0 {
        println!("!!! NOT RUN: {not_run} operations, for want of CAP_SYS_ADMIN");
    }
    // No kills at all is no proof.
    if kills > 0 && passed == kills { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
