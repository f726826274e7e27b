//! Has each history explained, and counts what histories there were, so that their number means
//! something.

use std::fmt;
use std::time::Duration;

use histories::history::{Answer, History, Kind};
use histories::search::{Explained, Rejected, explain};
use histories::spec::fifo::Fifo;
use histories::spec::mpmc::Mpmc;
use histories::spec::spsc::Spsc;

use crate::overseer::Observed;

/// Counts of histories of one kind of ring.
#[derive(Debug, Default)]
struct Tally {
    histories: u64,
    overlapping: u64,
    overlaps: u64,
    calls: u64,
    stalled: u64,
    with_deaths: u64,
    killed: u64,
    /// Histories that the textbook's FIFO could be expected to explain, and those that it did.
    plain: u64,
    strict: u64,
    /// The same, of histories of single values.
    plain_singles: u64,
    strict_singles: u64,
    moved: u64,
    short: u64,
    not_ready: u64,
    closed: u64,
    again: u64,
    /// Sums and maximum of configurations that the search looked at.
    looked_at: u64,
    most_looked_at: usize,
}

/// All counts.
#[derive(Debug, Default)]
pub struct Report {
    /// Histories on rings of messages.
    pub of_messages: u64,
    spsc: Tally,
    mpmc: Tally,
    /// How long it took.
    pub lasted: Duration,
    /// Worker processes started.
    pub workers: u64,
}

fn rejected(history: &History, specification: &str, why: &Rejected) -> String {
    let call = &history.calls[why.call];
    let mut text = format!(
        "{specification} does not explain this history. No explanation is left when this returns:\n  \
         {call}: {:?}\n{history}states before that, some:\n",
        call.returned
    );
    for state in &why.before {
        text.push_str(&format!("  {state}\n"));
    }
    text
}

impl Report {
    /// Histories in which calls of different processes overlapped. Others do not count.
    pub fn overlapping(&self) -> u64 {
        self.spsc.overlapping + self.mpmc.overlapping
    }

    /// Has a history explained.
    pub fn add(&mut self, observed: &Observed) -> Result<(), String> {
        let history = &observed.history;
        let (explained, name) = match history.kind {
            Kind::Spsc => (explain(&Spsc::new(history), history), "the SPSC specification"),
            Kind::Mpmc => (explain(&Mpmc::new(history), history), "the MPMC specification"),
        };
        let Explained { looked_at } = explained.map_err(|why| rejected(history, name, &why))?;
        let tally = match history.kind {
            Kind::Spsc => &mut self.spsc,
            Kind::Mpmc => &mut self.mpmc,
        };
        tally.count(observed, looked_at);
        if history.has_deaths() || history.gives_back() {
            return Ok(());
        }
        let loosely = explain(&Fifo::loose(history), history);
        loosely.map_err(|why| rejected(history, "the FIFO that believes negatives", &why))?;
        let strictly = explain(&Fifo::strict(history), history);
        let singles = history.one_by_one();
        tally.plain += 1;
        tally.plain_singles += u64::from(singles);
        match strictly {
            Ok(_) => {
                tally.strict += 1;
                tally.strict_singles += u64::from(singles);
            }
            // What the README promises.
            Err(why) if singles && history.kind == Kind::Spsc => {
                return Err(rejected(history, "the textbook's FIFO", &why));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, observed: &Observed, looked_at: usize) {
        let history = &observed.history;
        let overlaps = history.overlaps() as u64;
        self.histories += 1;
        self.overlapping += u64::from(overlaps > 0);
        self.overlaps += overlaps;
        self.calls += history.calls.len() as u64;
        self.stalled += u64::from(observed.stalls > 0);
        self.with_deaths += u64::from(history.has_deaths());
        self.killed += u64::from(observed.killed);
        self.looked_at += looked_at as u64;
        self.most_looked_at = self.most_looked_at.max(looked_at);
        for call in &history.calls {
            match call.returned.as_ref().map(|(_, answer)| answer) {
                Some(Answer::Sent(_)) => self.moved += 1,
                Some(Answer::Received(_, again)) => {
                    self.moved += 1;
                    self.again += u64::from(*again > 0);
                }
                Some(Answer::NotReady) => self.not_ready += 1,
                Some(Answer::Closed) => self.closed += 1,
                Some(Answer::Held(_) | Answer::Fragmented(_)) => self.short += 1,
                Some(Answer::Gone) | None => {}
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, tally) in [("SPSC", &self.spsc), ("MPMC", &self.mpmc)] {
            tally.print(name, f)?;
        }
        writeln!(f, "on rings of messages: {} of these histories", self.of_messages)?;
        let all = self.spsc.histories + self.mpmc.histories;
        let killed = self.spsc.killed + self.mpmc.killed;
        writeln!(
            f,
            "{all} histories explained, {} of them with overlapping calls, {killed} processes killed \
             in a call, {} started, {:.0} s",
            self.overlapping(),
            self.workers,
            self.lasted.as_secs_f64()
        )
    }
}

impl Tally {
    fn print(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        let each = |sum: u64| sum as f64 / self.histories.max(1) as f64;
        let Self { histories, overlapping, stalled, with_deaths, killed, .. } = *self;
        writeln!(f, "{name}: {histories} histories of {:.1} calls", each(self.calls))?;
        writeln!(
            f,
            "  with overlapping calls: {overlapping} ({:.1} %), {:.1} pairs of calls each",
            share(overlapping, histories),
            each(self.overlaps)
        )?;
        writeln!(
            f,
            "  somebody stalled in a call: {stalled} ({:.1} %); killed: {with_deaths} ({:.1} %), in \
             a call {killed}",
            share(stalled, histories),
            share(with_deaths, histories)
        )?;
        writeln!(
            f,
            "  answers: {} moved items, {} of them redelivered; {} full, empty or timed out; \
             {} closed; {} held or fragmented",
            self.moved, self.again, self.not_ready, self.closed, self.short
        )?;
        writeln!(
            f,
            "  without deaths and gifts back: {}, of which the textbook's FIFO explains {:.2} %; of \
             single values: {}, {:.2} %",
            self.plain,
            share(self.strict, self.plain),
            self.plain_singles,
            share(self.strict_singles, self.plain_singles)
        )?;
        writeln!(
            f,
            "  configurations per history: {:.0}, at the most {}",
            each(self.looked_at),
            self.most_looked_at
        )
    }
}
