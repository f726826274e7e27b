//! Fails every system call of every operation, and checks what comes of it.
//!
//! ```text
//! cargo run --release -p faults                  # everything
//! cargo run --release -p faults -- --quick       # a share, by a seed that is printed
//! cargo run --release -p faults -- --quick --seed 7
//! cargo run --release -p faults -- --operation mpmc/named/recv/doomed-sender --call fstat --nth 1 \
//!     --errno 5 --lasts
//! ```
//!
//! A victim process performs an operation under `ptrace` ([`harness::trace`]) and is stopped at each
//! system call that the library makes meanwhile. One of them is not made: the victim is told that it
//! has failed. Once, or from then on whenever that call is made. That is done for each call of the
//! operation, each time that it is made, and each errno that its row in the [`table`] has. The table
//! says what must come of it. Beyond that, always: the victim does not panic, nor die, nor hang (it
//! would be ended after 40 s); it gives back all descriptors and mappings; no name is left behind,
//! but of a ring that was there or is there by right; no endpoint record stays taken; everything
//! that was sent and not received can be received, once; the ring can be used to its last slot.
//!
//! `ptrace` rather than a filter that notifies: it needs no second thread in the victim, whose
//! signals are blocked in part of what is tried, and what it does not stop is as it was.
//!
//! **Who goes first.** What a process finds out once, when it first opens or attaches, is tried
//! with the operation that comes first in it: each victim is a process of its own that has just been
//! started.
//!
//! **A victim that waits** is given what it waits for at the moment at which it is about to sleep,
//! in the call that does not fail. That it would be woken from its sleep, the tests show.
//!
//! Not covered: calls of the allocator, which gives up the program when it is refused; interruptions
//! (`EINTR`) that never cease; a call that takes effect in part and then fails; what the kernel says
//! to operations on huge pages, which this machine may not have.
//!
//! Exit codes: 0; 1 if a case has failed; 3 if all have passed, but those operations were left out
//! that act on all rings there are, for want of a `/dev/shm` of one's own (`CAP_SYS_ADMIN`).

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("faults are put into the registers of x86-64 on Linux");

mod act;
mod calls;
mod operations;
mod run;
mod table;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use harness::rng::{Rng, seed};
use ringpipe::{Bytes, Mpmc, MpmcMessages, Spsc, SpscMessages};

use act::Ends;
use operations::{Backing, Kind, Operation};
use run::{Case, Fault, rehearse};

/// Fails every system call of every ringpipe operation and checks what comes of it.
#[derive(Debug, Parser)]
struct Cli {
    /// A share of the cases, chosen by the seed: about a tenth.
    #[arg(long)]
    quick: bool,
    /// Repeats the choices of `--quick`; by default others each time, which is printed.
    #[arg(long, requires = "quick", default_value_t = seed(), hide_default_value = true)]
    seed: u64,
    /// Only operations whose name contains this.
    #[arg(long)]
    operation: Option<String>,
    /// Only calls of this name.
    #[arg(long)]
    call: Option<String>,
    /// Only the n-th of them.
    #[arg(long)]
    nth: Option<usize>,
    /// Only this errno.
    #[arg(long)]
    errno: Option<i32>,
    /// Only faults that last; `--lasts false`: only those that do not.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    lasts: Option<bool>,
    /// Only faults in which no sleep works; `--sleepless false`: only those in which one does.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    sleepless: Option<bool>,
    /// Lists the operations, and how often each makes which call.
    #[arg(long)]
    list: bool,
}

impl Cli {
    fn wants(&self, fault: &Fault) -> bool {
        self.call.as_ref().is_none_or(|call| fault.call.starts_with(call.as_str()))
            && self.nth.is_none_or(|nth| fault.nth == nth)
            && self.errno.is_none_or(|errno| fault.errno == errno)
            && self.lasts.is_none_or(|lasts| fault.lasts == lasts)
            && self.sleepless.is_none_or(|sleepless| fault.sleepless == sleepless)
    }
}

/// So many cases.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    cases: usize,
    passed: usize,
    not_met: usize,
    left_out: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.cases += other.cases;
        self.passed += other.passed;
        self.not_met += other.not_met;
        self.left_out += other.left_out;
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, told, place] = args.as_slice()
        && role == "victim"
    {
        let operations = operations::all();
        let operation = operations.iter().find(|o| o.name() == *name).expect("an operation");
        let (act, anonymous) = (operation.act_of(told), operation.backing == Backing::Anonymous);
        match operation.kind {
            Kind::Spsc => act::perform::<Spsc>(act, place, anonymous),
            Kind::Mpmc => act::perform::<Mpmc>(act, place, anonymous),
            Kind::Bytes => act::perform::<Bytes>(act, place, anonymous),
            Kind::SpscMessages => act::perform::<SpscMessages>(act, place, anonymous),
            Kind::MpmcMessages => act::perform::<MpmcMessages>(act, place, anonymous),
        }
        return ExitCode::SUCCESS;
    }
    supervise(&Cli::parse())
}

fn supervise(cli: &Cli) -> ExitCode {
    let private = harness::private::enter(None);
    if let Err(e) = &private {
        println!("!!! NOT RUN: operations on all rings, for want of a /dev/shm of their own: {e}");
    }
    let alone = |operation: &Operation| {
        use act::Act::{List, Orphans, RemoveOrphans};
        private.is_ok() || !matches!(operation.act, List | Orphans | RemoveOrphans)
    };
    let wanted = |operation: &Operation| match &cli.operation {
        None => true,
        Some(part) => operation.name().contains(part.as_str()),
    };
    let operations: Vec<_> =
        operations::all().into_iter().filter(|o| wanted(o) && alone(o)).collect();
    let directory = world::directory();
    if let Err(e) = std::fs::create_dir_all(&directory) {
        println!("FAILED: {}: {e}", directory.display());
        return ExitCode::FAILURE;
    }
    let mut rng = cli.quick.then(|| {
        println!("faults: seed {}", cli.seed);
        Rng::new(cli.seed)
    });
    let began = Instant::now();
    println!(
        "{:44} {:>5} {:>5} {:>6} {:>6} {:>6}",
        "operation", "calls", "kinds", "cases", "passed", "ms"
    );
    let (mut total, mut by_call) = (Count::default(), BTreeMap::<&str, Count>::new());
    for operation in &operations {
        let count = match operation.kind {
            Kind::Spsc => all::<Spsc>(operation, cli, &mut rng, &mut by_call),
            Kind::Mpmc => all::<Mpmc>(operation, cli, &mut rng, &mut by_call),
            Kind::Bytes => all::<Bytes>(operation, cli, &mut rng, &mut by_call),
            Kind::SpscMessages => all::<SpscMessages>(operation, cli, &mut rng, &mut by_call),
            Kind::MpmcMessages => all::<MpmcMessages>(operation, cli, &mut rng, &mut by_call),
        };
        total += count;
    }
    // Empty, unless something has failed.
    let _ = std::fs::remove_dir_all(&directory);
    if cli.list {
        return ExitCode::SUCCESS;
    }
    println!("\n{:28} {:>6} {:>6}", "call that failed", "cases", "passed");
    for (call, count) in &by_call {
        println!("{call:28} {:6} {:6}", count.cases, count.passed);
    }
    let Count { cases, passed, not_met, left_out } = total;
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} operations, {not_met} faults that did not come about, {left_out} left out, {took:.1} s",
        operations.len()
    );
    println!("faults: {cases}, passed: {passed}");
    // None at all is no proof, nor is a share that does not come about.
    let enough = cases > 0 && not_met * 20 <= cases;
    match enough && passed == cases {
        true if private.is_err() => ExitCode::from(3),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Failures of one operation that tell enough.
const ENOUGH: usize = 6;

fn all<K: Ends>(
    operation: &Operation,
    cli: &Cli,
    rng: &mut Option<Rng>,
    by_call: &mut BTreeMap<&'static str, Count>,
) -> Count {
    let (name, began) = (operation.name(), Instant::now());
    let failed = |why: &str| {
        println!("FAILED without a fault: {name}: {why}");
        Count { cases: 1, ..Count::default() }
    };
    let rehearsal = match rehearse::<K>(operation) {
        Ok(rehearsal) => rehearsal,
        Err(why) => return failed(&why),
    };
    let calls: usize = rehearsal.calls.values().sum();
    if cli.list {
        println!("{name}: {:?}", rehearsal.calls);
        return Count::default();
    }
    let faults = match rehearsal.faults(operation) {
        Ok(faults) => faults,
        Err(why) => return failed(&why),
    };
    let mut count = Count::default();
    for fault in faults.iter().filter(|fault| cli.wants(fault)) {
        if rng.as_mut().is_some_and(|rng| !rng.percent(10)) {
            count.left_out += 1;
            continue;
        }
        if count.cases - count.passed == ENOUGH {
            println!("    and no further in {name}");
            break;
        }
        // A call that is made now more and now less often is given another chance.
        let mut outcome = rehearsal.with::<K>(operation, fault);
        for _ in 0..2 {
            if outcome == Ok(Case::NotMet) {
                outcome = rehearsal.with::<K>(operation, fault);
            }
        }
        let case = match outcome {
            Ok(Case::NotMet) => {
                count.not_met += 1;
                continue;
            }
            Ok(Case::Passed) => Count { cases: 1, passed: 1, ..Count::default() },
            Err(why) => {
                let Fault { call, nth, errno, lasts, sleepless, .. } = fault;
                println!("FAILED: {name}: {why}");
                println!(
                    "    faults --operation {name} --call '{call}' --nth {nth} --errno {errno} \
                     --lasts {lasts} --sleepless {sleepless}"
                );
                Count { cases: 1, ..Count::default() }
            }
        };
        count += case;
        *by_call.entry(fault.call).or_default() += case;
    }
    let (kinds, took) = (rehearsal.calls.len(), began.elapsed().as_millis());
    println!("{name:44} {calls:5} {kinds:5} {:6} {:6} {took:6}", count.cases, count.passed);
    count
}
