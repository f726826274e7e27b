//! Tables: for the terminal and for the pages of `docs/performance.md`.

use std::fmt::Write as _;

use crate::contenders::Load;
use crate::measure::{Row, Table};
use crate::scale::Scale;
use crate::scenario::{Against, Bound, IDLE, MPMC_MEAN, Unit, targets};
use crate::stats::{Ratio, geometric_mean, median};
use crate::worker::{MAX, P50, P99, P999};

/// What the figures were taken on.
pub struct Machine {
    /// Its model, as precisely as it is known.
    pub processor: String,
    pub processors: usize,
    pub kernel: String,
    pub compiler: String,
    pub commit: String,
    pub date: String,
    /// The share of the processors' time that others used, in a while before.
    pub busy: f64,
}

fn first_line(command: &mut std::process::Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or("unknown".into())
}

impl Machine {
    /// As it is now: ask before measuring, for the load is then nobody's but the others'.
    pub fn now(processors: usize) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut date = std::process::Command::new("date");
        let mut git = std::process::Command::new("git");
        let mut dirty = std::process::Command::new("git");
        let dirty = first_line(dirty.args(["status", "--porcelain", "-uno"]));
        let mark = if dirty == "unknown" { "" } else { ", with changes" };
        Self {
            processor: processor(&read("/proc/cpuinfo")),
            processors,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            compiler: env!("PEERS_COMPILER").into(),
            commit: first_line(git.args(["rev-parse", "--short=12", "HEAD"])) + mark,
            date: first_line(date.args(["-u", "+%F"])),
            busy: busy(),
        }
    }
}

/// The first processor's name. Virtual ones often leave out of it what tells generations apart, so
/// family and model, where they are given, stand behind it.
fn processor(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim())
    };
    let name = field("model name").unwrap_or("unknown");
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name.into(),
    }
}

/// The share of the processors' time that is used, by anybody, within two seconds in which we do
/// not.
fn busy() -> f64 {
    let times = || {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let times: Vec<f64> =
            line.split_whitespace().filter_map(|time| time.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; the guests' are the user's.
        let all: f64 = times.iter().take(8).sum();
        let idle: f64 = times.iter().skip(3).take(2).sum();
        (all, idle)
    };
    let before = times();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let after = times();
    1.0 - (after.1 - before.1) / (after.0 - before.0)
}

/// A time in nanoseconds, in the unit that suits it.
pub fn time(ns: f64) -> String {
    match ns {
        ns if ns.is_nan() => "–".into(),
        ns if ns < 10.0 => format!("{ns:.2} ns"),
        ns if ns < 1000.0 => format!("{ns:.0} ns"),
        ns if ns < 100_000.0 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

fn ratio(ratio: &Ratio) -> String {
    let digits = if ratio.median < 10.0 { 2 } else { 0 };
    let number = |value: f64| match value {
        value if value < 1e4 => format!("{value:.digits$}"),
        _ => "∞".into(), // two rounds that have nothing in common
    };
    let (from, to) = ratio.interval;
    format!("{} ({}–{})", number(ratio.median), number(from), number(to))
}

/// How many times as fast ours is.
fn lead(table: &Table, row: &Row) -> Option<Ratio> {
    let ours = table.figures(table.ours()?, P50);
    let theirs = table.figures(row, P50);
    Some(match table.is_timed() {
        true => Ratio::of(&theirs, &ours),
        false => Ratio::of(&ours, &theirs),
    })
}

fn of(row: &Row, figure: impl Fn(&crate::running::Round) -> f64) -> f64 {
    median(&row.rounds.iter().map(figure).collect::<Vec<_>>())
}

/// The cells of a row.
fn cells(table: &Table, row: &Row) -> Vec<String> {
    let at = |quantile: usize| time(of(row, |round| round.latency[quantile] as f64));
    let lead = match (row.name == table.scenario.ours, lead(table, row)) {
        (true, _) => "1".into(),
        (false, None) => "–".into(),
        (false, Some(lead)) => ratio(&lead),
    };
    let rate = of(row, |round| round.rate);
    let link = &table.scenario.link;
    match table.scenario.unit {
        Unit::Stream => {
            let mut cells = vec![time(1e9 / rate), format!("{:.2}", rate / 1e6)];
            cells.push(format!("{:.2}", rate * link.lengths().mean() / 1e9));
            cells.push(lead);
            if !link.one_to_one() {
                let worst = |side: usize| format!("{:.2}", of(row, |round| round.fairness[side]));
                cells.extend([worst(0), worst(1)]);
            }
            cells
        }
        Unit::Copies => {
            let ns = of(row, |round| round.latency[P50] as f64);
            vec![at(P50), format!("{:.2}", link.size as f64 / ns), lead]
        }
        Unit::Trips => vec![at(P50), at(P99), at(P999), at(MAX), lead],
        Unit::LowRate => {
            let cpu = format!("{:.2} %", of(row, |round| round.cpu) * 100.0);
            let switches = format!("{:.2}", of(row, |round| round.switches_per_item));
            vec![at(P50), at(P99), at(P999), at(MAX), lead, cpu, switches]
        }
        Unit::Idle => {
            let cpu = format!("{:.3} %", of(row, |round| round.cpu) * 100.0);
            vec![cpu, format!("{:.0}", of(row, |round| round.switches))]
        }
    }
}

fn heads(table: &Table) -> Vec<&'static str> {
    let mut heads = match table.scenario.unit {
        Unit::Stream => {
            let (one, many) = match table.scenario.link.load {
                Load::Bytes => ("a write", "M writes/s"),
                Load::Messages { .. } => ("a message", "M messages/s"),
                _ => ("an item", "M items/s"),
            };
            vec![one, many, "GB/s", "ringpipe is … times as fast"]
        }
        Unit::Copies => vec!["a file", "GB/s", "ringpipe is … times as fast"],
        Unit::Trips => vec!["p50", "p99", "p99.9", "max", "ringpipe is … times as fast"],
        Unit::LowRate => vec![
            "p50",
            "p99",
            "p99.9",
            "max",
            "ringpipe is … times as fast",
            "receiver's processor",
            "its sleeps an item",
        ],
        Unit::Idle => vec!["receiver's processor", "its wake-ups a second"],
    };
    if table.scenario.unit == Unit::Stream && !table.scenario.link.one_to_one() {
        heads.extend(["least / most served sender", "… receiver"]);
    }
    heads
}

/// One scenario, as Markdown, which also reads well in a terminal.
pub fn table(table: &Table) -> String {
    let mut text = format!("### {} (`{}`)\n\n", table.scenario.title, table.name);
    let heads = heads(table);
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(heads.iter().map(|head| head.to_string()));
    for row in &table.rows {
        let name = match row.name == table.scenario.ours {
            true => format!("**{}**", row.label()),
            false => row.label(),
        };
        let mut line = vec![name];
        match &row.failed {
            None => line.extend(cells(table, row)),
            Some(why) => {
                line.push(format!("**not run**: {}", why.replace(['|', '\n'], " ")));
                line.resize(heads.len() + 1, String::new());
            }
        }
        lines.push(line);
    }
    let widths: Vec<usize> = (0..=heads.len())
        .map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0))
        .collect();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "| {:-<width$} ", "");
            }
            text.push_str("|\n");
        }
    }
    if !table.absent.is_empty() {
        let absent: Vec<_> =
            table.absent.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        let _ = write!(text, "\nNot run: {}.\n", absent.join("; "));
    }
    text
}

/// A bound's number, without the digits that nobody asks for.
fn short(bound: f64) -> f64 {
    (bound * 1000.0).round() / 1000.0
}

fn answer(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// The targets' ratios, round by round.
pub fn reached(tables: &[Table]) -> Vec<(String, Ratio)> {
    let mut reached = Vec::new();
    for target in targets() {
        let table = tables.iter().find(|table| table.name == target.scenario);
        if let Some(ratio) = table.and_then(|table| table.ratio(&target)) {
            let by = target.by.unwrap_or("ours");
            let what = format!("{}: {by} / {:?}", target.scenario, target.against);
            reached.push((what, ratio));
        }
    }
    reached
}

/// What was to be reached, and what was.
pub fn targets_table(tables: &[Table]) -> String {
    let mut text = String::from("| scenario | ringpipe / | bound | measured (95 % interval) | |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for target in targets() {
        let Some(table) = tables.iter().find(|table| table.name == target.scenario) else {
            continue;
        };
        let mut against = match target.against {
            Against::Best => "the best peer".into(),
            Against::One(name) => table.row(name).map_or(name.into(), Row::label),
        };
        if let Some(by) = target.by {
            against += &format!(", by {by}");
        }
        if table.is_timed() {
            against += if target.quantile == P99 { ", p99" } else { ", p50" };
        }
        let (sign, limit) = match target.bound {
            Bound::AtLeast(least) => ('≥', least),
            Bound::AtMost(most) => ('≤', most),
        };
        let (measured, answer) = match table.ratio(&target) {
            None => ("–".into(), "not measured"),
            Some(r) if sign == '≥' => (ratio(&r), answer(r.median >= limit)),
            Some(r) => (ratio(&r), answer(r.median <= limit)),
        };
        let bound = format!("{sign} {}", short(limit));
        let _ = writeln!(text, "| {} | {against} | {bound} | {measured} | {answer} |", table.name);
    }
    let means: Vec<f64> = tables
        .iter()
        .filter(|table| table.name.starts_with("mpmc-"))
        .filter_map(|table| lead(table, table.row(MPMC_MEAN.0)?).map(|lead| lead.median))
        .collect();
    if !means.is_empty() {
        let mean = geometric_mean(&means);
        let (name, least) = MPMC_MEAN;
        let shapes = means.len();
        let answer = answer(mean >= least);
        let _ = writeln!(
            text,
            "| mpmc, mean of {shapes} shapes | {name} | ≥ {least} | {mean:.2} | {answer} |"
        );
    }
    for table in tables.iter().filter(|table| table.scenario.unit == Unit::Idle) {
        for row in table.rows.iter().filter(|row| row.name.starts_with("ringpipe")) {
            let (cpu, wakes) = (of(row, |round| round.cpu), of(row, |round| round.switches));
            let met = answer(cpu <= IDLE.0 && wakes <= IDLE.1);
            let _ = writeln!(
                text,
                "| {} | {}: processor, wake-ups/s | ≤ 0.1 %, ≤ 20 | {:.3} %, {wakes:.0} | {met} |",
                table.name,
                row.name,
                cpu * 100.0
            );
        }
    }
    text
}

/// The page of one model of processor; `index` is the file above it that lists all of them.
pub fn page(
    machine: &Machine,
    index: &str,
    arguments: &str,
    tables: &[Table],
    scales: &[Scale],
    charts: &[(String, String)],
) -> String {
    let mut text = format!(
        "# {}, {}\n\n\
         Written by `cargo run --release -p peers -- {arguments}` \
         (with shaq: `cargo +nightly run --release -p peers --features shaq -- …`). \
         Do not edit: run it again. [{index}](../../{index}) says how it is measured.\n\n\
         | | |\n| --- | --- |\n\
         | Processor | {}, {} in use |\n| Kernel | {} |\n| Compiler | {} |\n| Commit | {} |\n\
         | Processors in use by others before the run | {:.1} % |\n\n",
        machine.processor,
        machine.date,
        machine.processor,
        machine.processors,
        machine.kernel,
        machine.compiler,
        machine.commit,
        machine.busy * 100.0
    );
    if machine.busy > QUIET {
        text.push_str(
            "> **Taken on a busy machine** (see above): the figures show that the \
             comparison works, and no more than that; nothing is judged by them.\n\n",
        );
    }
    for (title, file) in charts {
        let _ = write!(text, "![{title}]({file})\n\n");
    }
    text.push_str("## Figures\n\n");
    for scenario in tables {
        text.push_str(&table(scenario));
        text.push('\n');
    }
    for scale in scales {
        text.push_str(&scale.markdown());
        text.push('\n');
    }
    text.push_str("## Appendix: what was to be reached\n\n");
    let reached = targets_table(tables);
    text.push_str(&match machine.busy > QUIET {
        true => {
            reached.replace("| met |", "| not judged |").replace("| **missed** |", "| not judged |")
        }
        false => reached,
    });
    wrapped(&text)
}

/// What stands above the list of all models' pages, in the file of this name.
pub fn index(name: &str) -> String {
    wrapped(&format!(
        "# How fast it is, beside its peers\n\n\
         Written by `cargo run --release -p peers -- --out docs/{name}` \
         (with shaq: `cargo +nightly run --release -p peers --features shaq -- …`), which keeps a \
         page for each model of processor, and renews that of the one it runs on. \
         Do not edit: run it again.\n\n\
         {METHOD}{NOT_MEASURED}## Processors\n\n\
         Each page names the commit that it was measured by; of an older one, the method may have \
         differed from this in details.\n\n"
    ))
}

/// In lines of 100 columns, but for tables.
fn wrapped(text: &str) -> String {
    let options = textwrap::Options::new(100).word_splitter(textwrap::WordSplitter::NoHyphenation);
    let mut wrapped = String::new();
    for line in text.lines() {
        let indent = match line.get(..2) {
            Some("> ") => "> ",
            Some("* ") => "  ",
            _ => "",
        };
        match line.starts_with('|') {
            true => wrapped.push_str(line),
            false => {
                wrapped.push_str(&textwrap::fill(line, options.clone().subsequent_indent(indent)))
            }
        }
        wrapped.push('\n');
    }
    wrapped
}

/// The use by others below which figures mean something.
const QUIET: f64 = 0.05;

const METHOD: &str = "\
The workers of all contenders live side by side and work in turns of a few milliseconds (longer \
where they sleep, or share processors); the others sleep. In each round every contender has one \
turn, in an order that rotates. A turn warms up, and is then counted for a fixed time. Figures \
are medians over rounds. A ratio is taken within a round, so that what else the machine does hits \
both sides; the one printed is the median of those, and the interval the 95 % one of that median, \
by their order alone (with fewer than six rounds: all of them). The best peer is the one with the \
best median.\n\n\
Each sender and receiver is a process of its own, pinned to a processor (the first processors in \
turn: senders, then receivers; with more of them than processors, they share). Contenders marked \
*(threads)* work within one process only, and run as pinned threads of one: they pay no switch of \
address space where two of them share a processor, and the peer is never another program.\n\n\
Items carry their sender's serial number in every word. For each send the sender fills in the \
whole item, in memory if it is more than a word, and hides it from the compiler (`black_box`), so \
that nothing of it is known beforehand. A receiver reads every word of each item: most contenders copy it out of the ring first, all of \
it; iceoryx2 lends it in place, and so do shaq's batches and `ringpipe-in-place`. (Senders copy \
from their own memory into the ring in all of them: shaq's batches and `ringpipe-in-place` save \
the copy on the receiver's side alone.) What arrives must be whole and in order, and counts and \
checksums must agree at the end: whoever loses, doubles or tears an item has no figure. Rings \
have 1,024 slots, 64 in the bulk copy (a POSIX queue or a socket, what the system grants). Sizes \
include no headers.\n\n\
In `drained-…` a sender makes 16 multiplications before each item, so that receivers find the \
ring empty after each item or two. `plain-spsc` and `plain-vyukov` are our algorithms without \
waiting, crash protocol and distrust of the peer; `ringpipe-spin` is ringpipe told never to \
sleep; `ringpipe-polled` and `ringpipe-mpmc-polled` make `try_` calls again and again, as the \
bare rings do. `two-lines` and `raw-futex` are what a round trip is measured by: two bare cache \
lines, two bare futexes. In `price-…`, `plain-intents` is `plain-vyukov` whose ends store what \
they are about to claim, which is what makes claims survive their owner.\n\n\
In `bytes-…` one call writes so many bytes, and the reader reads what is there, up to as many, or \
64 KiB, by way of 64 KiB. `copy-loop` is what it is measured by: a bare ring of bytes, whose sides \
spin, and which knows no end; in `copy-loop-dirtied` the receiver also writes to each cache line \
that it frees. In `files-…` one process moves a file into a pipe (a ring), and another one moves \
what comes out to a file in memory, where it is checked, or to /dev/null, where its length is. In \
`messages-…` a receiver learns with each message how long it is, and whether that is so is \
checked; 64 KiB of them fit, or 16, or what the system grants. iceoryx2 and ipmpsc show \
them in place.\n\n";

const NOT_MEASURED: &str = "\
Not measured, since they do not do this work or cannot be built where this is run:\n\n\
* `bcast` (1.0.0-rc.7): its writer overwrites what a reader has not read yet, by design, items \
and messages alike.\n\
* `crossbar`'s publisher and subscriber of bytes, for the same reason; its bounded `PodBus` takes \
part.\n\
* `tachyon-ipc` (0.5): its C++ part wants GCC 14 or Clang 17, and there was GCC 12.\n\n";
