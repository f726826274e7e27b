//! Rounds: every contender of a scenario in turn, in an order that rotates. All are there from the
//! first round to the last, and sleep while it is another's turn, so that a round is short.

use serde::Serialize;

use crate::contenders::Load;
use crate::running::{Entry, NOTHING, Round, Running};
use crate::scenario::{Against, Scenario, Takers, Target, Unit, is_yardstick};
use crate::stats::{Ratio, median};

/// Those that this build leaves out.
#[cfg(feature = "shaq")]
const NOT_BUILT: &[(&str, &str)] = &[];
#[cfg(not(feature = "shaq"))]
const NOT_BUILT: &[(&str, &str)] =
    &[("shaq", "it needs a nightly compiler; this build is without the feature `shaq`")];

/// A contender in a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: &'static str,
    /// Measured between threads.
    pub threads: bool,
    pub rounds: Vec<Round>,
    /// Why it has no figures.
    pub failed: Option<String>,
}

impl Row {
    /// Its name, for people.
    pub fn label(&self) -> String {
        match self.threads {
            true => format!("{} (threads)", self.name),
            false => self.name.into(),
        }
    }
}

/// A scenario's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    pub name: String,
    #[serde(skip)]
    pub scenario: Scenario,
    pub rows: Vec<Row>,
    pub absent: Vec<(&'static str, &'static str)>,
}

/// Contenders that have delivered something wrong, or nothing more: they are not tried again, since
/// that takes long and says no more. Never ourselves.
pub type Disqualified = Vec<(&'static str, String)>;

/// Runs a scenario. `only`: with these (and the yardsticks), or with all if there are none.
pub fn run(
    scenario: &Scenario,
    entries: &[Entry],
    only: &[String],
    rounds: Option<usize>,
    quick: bool,
    disqualified: &mut Disqualified,
) -> Table {
    let plan = scenario.plan(quick);
    let rounds = rounds.unwrap_or(plan.rounds);
    let mut absent = match scenario.takers {
        Takers::AllBut(_) if plan.link.load == Load::Items => NOT_BUILT.to_vec(),
        _ => Vec::new(),
    };
    let mut takers: Vec<(Option<Running>, Row)> = Vec::new();
    for entry in entries.iter().filter(|entry| (entry.carries)(plan.link.load)) {
        let asked = only.is_empty()
            || is_yardstick(entry.name)
            || only.iter().any(|name| entry.name == name);
        match (entry.fits)(&plan.link) {
            _ if !asked || !scenario.takes(entry.name) => {}
            Err(why) => absent.push((entry.name, why)),
            Ok(()) => {
                let (name, threads) = (entry.name, entry.threads);
                let failed = disqualified.iter().find(|(known, _)| *known == name);
                let row = Row { name, threads, rounds: Vec::new(), failed: None };
                takers.push(match failed {
                    Some((_, why)) => (None, Row { failed: Some(why.clone()), ..row }),
                    None => match Running::start(entry, &plan) {
                        Ok(running) => (Some(running), row),
                        Err(e) => (None, Row { failed: Some(e.to_string()), ..row }),
                    },
                });
            }
        }
    }
    for round in 0..rounds {
        let count = takers.len();
        for turn in 0..count {
            // Another one begins each round, so that nobody always follows the same neighbour.
            let (running, row) = &mut takers[(turn + round) % count];
            if let Some(Err(e)) = running.as_mut().map(Running::turn) {
                row.failed = Some(e.to_string());
                *running = None;
            }
        }
    }
    let mut rows = Vec::new();
    for (running, mut row) in takers {
        let known = disqualified.iter().any(|(known, _)| *known == row.name);
        match running.map(Running::finish) {
            Some(Ok(figures)) => row.rounds = figures,
            Some(Err(e)) => row.failed = Some(e.to_string()),
            None => {}
        }
        if let Some(why) = row.failed.as_ref().filter(|_| !known) {
            eprintln!("!!! {}: {}: NOT RUN: {why}", scenario.name, row.name);
            if !is_yardstick(row.name) && why != NOTHING {
                disqualified.push((row.name, format!("in `{}`: {why}", scenario.name)));
            }
        }
        rows.push(row);
    }
    Table { name: scenario.name.clone(), scenario: scenario.clone(), rows, absent }
}

impl Table {
    /// A contender's row, if it has figures in every round.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name && row.failed.is_none())
    }

    pub fn ours(&self) -> Option<&Row> {
        self.row(self.scenario.ours)
    }

    pub fn is_timed(&self) -> bool {
        matches!(self.scenario.unit, Unit::Trips | Unit::LowRate | Unit::Copies)
    }

    /// Round by round: rates, or times at a quantile.
    pub fn figures(&self, row: &Row, quantile: usize) -> Vec<f64> {
        let figure = |round: &Round| match self.is_timed() {
            true => round.latency[quantile] as f64,
            false => round.rate,
        };
        row.rounds.iter().map(figure).collect()
    }

    /// The best of the peers, round by round: the one with the highest median rate, or the lowest
    /// median time.
    fn best(&self) -> Option<Vec<f64>> {
        let peers = self.rows.iter().filter(|row| !is_yardstick(row.name) && row.failed.is_none());
        let figures = peers.map(|row| self.figures(row, crate::worker::P50));
        let figures = figures.filter(|figures| median(figures) > 0.0);
        let by_median = |a: &Vec<f64>, b: &Vec<f64>| median(a).total_cmp(&median(b));
        if self.is_timed() { figures.min_by(by_median) } else { figures.max_by(by_median) }
    }

    /// Ours over theirs.
    pub fn ratio(&self, target: &Target) -> Option<Ratio> {
        let ours = self.row(target.by.unwrap_or(self.scenario.ours))?;
        let ours = self.figures(ours, target.quantile);
        let theirs = match target.against {
            Against::Best => self.best()?,
            Against::One(name) => self.figures(self.row(name)?, target.quantile),
        };
        Some(Ratio::of(&ours, &theirs))
    }
}
