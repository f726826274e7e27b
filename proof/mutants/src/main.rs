//! Weakens each memory ordering of ringpipe in turn, and asks the loom models to notice.
//!
//! ```text
//! cargo run -p ordering-mutants                # everything; writes the table in SAFETY.md
//! cargo run -p ordering-mutants -- --check     # labels, explanations and the table fit the sources
//! cargo run -p ordering-mutants -- --quick     # and each mutant is noticed by the model it says
//! cargo run -p ordering-mutants -- --list      # the sites
//! cargo run -p ordering-mutants -- --site S3   # one label's mutants, by all models, no table
//! ```
//!
//! A *site* is an ordering above Relaxed in `src/` ([`sites`]); its *mutants* are the sources with
//! that one ordering weaker, or the fence left out. A mutant is *noticed* if a model of
//! `loom-tests` that passes on the shipped sources fails on it. One that no model notices must have
//! a written explanation ([`explanations`]), and one that has an explanation must not be noticed.
//! If the explanation is that another site does the same, some model must notice the mutant once
//! that other site is weakened. The working tree is not touched ([`tree`]).
//!
//! Mutants point, the written argument decides: that no model complains is no reason to weaken
//! anything. It shows that a model is missing, or that something else orders the same, which is
//! then what the explanation says.

mod explanations;
mod models;
mod sites;
mod table;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use explanations::{EXPLANATIONS, Explanation};
use models::{Model, Models, Outcome, parallel};
use sites::Site;
use table::{Noticed, Row};

#[derive(Parser)]
#[command(about = "Weakens each memory ordering in turn, and asks the loom models to notice")]
struct Options {
    /// Run nothing: do labels, explanations and the table fit the sources?
    #[arg(long, conflicts_with_all = ["quick", "site", "list"])]
    check: bool,
    /// As --check, and run for each mutant the model that the table says notices it.
    #[arg(long, conflicts_with_all = ["site", "list"])]
    quick: bool,
    /// Print the sites.
    #[arg(long)]
    list: bool,
    /// Only sites with this label (`S3`), or whose name begins with these words; no table.
    #[arg(long)]
    site: Option<String>,
    /// Seconds of processor time after which a model is stopped. That is not noticing.
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Models to run at a time.
    #[arg(long)]
    jobs: Option<usize>,
}

/// One site with one weaker ordering.
#[derive(Clone, Copy)]
struct Mutant<'a> {
    number: usize,
    site: &'a Site,
    to: &'static str,
}

impl Mutant<'_> {
    fn row(&self, noticed: Noticed) -> Row {
        Row {
            label: self.site.label.clone(),
            place: table::place(&self.site.key()),
            change: format!("{} → {}", self.site.ordering, self.to),
            noticed,
        }
    }
}

fn mutants(sites: &[Site]) -> Vec<Mutant<'_>> {
    let numbered = sites.iter().enumerate();
    numbered
        .flat_map(|(number, site)| site.weaker().iter().map(move |to| Mutant { number, site, to }))
        .collect()
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("a workspace")?;
    let sites = sites::find(root)?;
    if options.list {
        for site in &sites {
            println!(
                "{}  {} to {}  (line {})",
                site.key(),
                site.ordering,
                site.weaker().join(", "),
                site.line
            );
        }
        return Ok(());
    }
    let document_at = root.join("SAFETY.md");
    let document = fs::read_to_string(&document_at).context("SAFETY.md")?;
    check_labels(&sites, &document)?;
    check_explanations(&sites)?;
    let rows = table::read(&document)?;
    if options.check || options.quick {
        check_table(&sites, &rows, &document)?;
        println!(
            "{} sites, {} rows: labels, notes and table fit the sources",
            sites.len(),
            rows.len()
        );
    }
    if options.check {
        return Ok(());
    }
    let target = target_directory(root)?;
    let scratch = target.join("ordering-mutants");
    let program = tree::build(root, &target, &scratch, &sites)?;
    let jury = Jury {
        models: Models::new(&program.path, &scratch)?,
        modelled: program.modelled,
        limit: Duration::from_secs(options.limit),
        jobs: options
            .jobs
            .map_or_else(|| std::thread::available_parallelism().map(usize::from), Ok)?,
        known: rows,
    };
    let started = Instant::now();
    if options.quick {
        jury.repeat(&sites)?;
    } else {
        let chosen = |site: &Site| {
            options.site.as_ref().is_none_or(|wanted| site.key().starts_with(&format!("{wanted} ")))
        };
        let rows = jury.try_all(&sites, chosen)?;
        let noticed = rows.iter().filter(|row| matches!(row.noticed, Noticed::By(_))).count();
        let explained = rows.len() - noticed;
        println!(
            "{noticed} of {} rows noticed by a model, {explained} explained, 0 unexplained",
            rows.len()
        );
        if options.site.is_none() {
            fs::write(document_at, table::write(&document, &rows, EXPLANATIONS)?)?;
        }
    }
    eprintln!("done in {:.0?}", started.elapsed());
    Ok(())
}

fn target_directory(root: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    fs::create_dir_all(target.join("ordering-mutants"))?;
    fs::canonicalize(target).context("the target directory")
}

/// The written argument knows every label.
fn check_labels(sites: &[Site], document: &str) -> Result<()> {
    let known = table::labels(document)?;
    for site in sites {
        ensure!(
            known.contains(&site.label),
            "src/{}:{}: SAFETY.md has no row for the label {}",
            site.file,
            site.line,
            site.label
        );
    }
    Ok(())
}

/// Each explanation is of mutants that there are, and each mutant has one at most.
fn check_explanations(sites: &[Site]) -> Result<()> {
    let all: BTreeSet<_> =
        mutants(sites).iter().map(|mutant| (mutant.site.key(), mutant.to)).collect();
    let mut explained = BTreeSet::new();
    for (key, to) in EXPLANATIONS.iter().flat_map(|explanation| explanation.mutants) {
        ensure!(
            all.contains(&(key.to_string(), *to)),
            "an explanation is of {key} → {to}, which there is not"
        );
        ensure!(explained.insert((key, to)), "{key} → {to} is explained twice");
    }
    Ok(())
}

/// The explanation of a mutant, and its number.
fn explanation(mutant: &Mutant<'_>) -> Option<(usize, &'static Explanation)> {
    let key = mutant.site.key();
    (1..).zip(EXPLANATIONS).find(|(_, explanation)| {
        explanation.mutants.iter().any(|(site, to)| *site == key && *to == mutant.to)
    })
}

/// A mutant, perhaps beside others.
struct Trial {
    /// In the table.
    row: Row,
    mutant: (usize, &'static str),
    /// Weakened besides. Models that notice this alone are not asked.
    beside: Vec<(usize, &'static str)>,
    /// The note that says why no model notices, from the explanations.
    note: Option<usize>,
}

impl Trial {
    fn whole(&self) -> Vec<(usize, &'static str)> {
        [&self.beside[..], &[self.mutant]].concat()
    }
}

/// All that must be tried: every mutant alone, and the explained ones beside what they rely on.
fn trials(sites: &[Site]) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for mutant in mutants(sites) {
        let explained = explanation(&mutant);
        let row = mutant.row(Noticed::Note(0));
        let alone = (mutant.number, mutant.to);
        let note = explained.map(|(note, _)| note);
        trials.push(Trial { row: row.clone(), mutant: alone, beside: Vec::new(), note });
        let Some((_, explanation)) = explained else { continue };
        if explanation.relies_on.is_empty() {
            continue;
        }
        let (mut beside, mut change) = (Vec::new(), row.change.clone());
        for (key, to) in explanation.relies_on {
            let number = sites.iter().position(|site| site.key() == *key);
            let number = number
                .with_context(|| format!("note {note:?} relies on {key}, which there is not"))?;
            ensure!(sites[number].weaker().contains(to), "{key} cannot be weakened to {to}");
            beside.push((number, *to));
            let site = &sites[number];
            change.push_str(&format!("; {} {} → {to}", site.label, site.ordering));
        }
        trials.push(Trial { row: Row { change, ..row }, mutant: alone, beside, note: None });
    }
    Ok(trials)
}

/// The table has a row for each trial, and says of the explained ones what the explanations say.
fn check_table(sites: &[Site], rows: &[Row], document: &str) -> Result<()> {
    let again = "; run `cargo run -p ordering-mutants`";
    let mut wanted = BTreeSet::new();
    for trial in trials(sites)? {
        let key = trial.row.key();
        let found = rows.iter().find(|found| found.key() == key);
        let found = found.with_context(|| format!("the table has no row for {key}{again}"))?;
        let agree = match (&found.noticed, trial.note) {
            (Noticed::By(_), None) => true,
            (Noticed::Note(number), Some(note)) => *number == note,
            _ => false,
        };
        ensure!(agree, "{key}: table and notes disagree{again}");
        wanted.insert(key);
    }
    for row in rows {
        ensure!(
            wanted.contains(&row.key()),
            "the table has a row for {}, which there is not{again}",
            row.key()
        );
    }
    ensure!(
        table::write(document, rows, EXPLANATIONS)? == document,
        "the table's text is not up to date{again}"
    );
    Ok(())
}

fn short(model: &str) -> &str {
    model.trim_start_matches("models::")
}

/// The models as judges of mutants.
struct Jury {
    models: Models,
    modelled: Vec<bool>,
    limit: Duration,
    jobs: usize,
    /// What the last run came to.
    known: Vec<Row>,
}

/// What came of a mutant.
enum Verdict {
    NoticedBy(String),
    /// By none; and what is to be said about it.
    Unnoticed(String),
}

impl Jury {
    /// Tries what is `chosen`, and gives the table's rows. An error if a mutant survives without an
    /// explanation, or is explained and does not survive.
    fn try_all(&self, sites: &[Site], chosen: impl Fn(&Site) -> bool) -> Result<Vec<Row>> {
        let models = self.models.baseline(self.jobs)?;
        let mut trials = trials(sites)?;
        trials.retain(|trial| chosen(&sites[trial.mutant.0]));
        ensure!(!trials.is_empty(), "there is no such site");
        eprintln!("{} mutants, alone or beside others", trials.len());
        let results = parallel(self.jobs, trials, |trial| {
            let answer = self.judge(&trial, &models)?;
            let key = trial.row.key();
            let (noticed, problem) = match (answer, trial.note) {
                (Verdict::NoticedBy(model), None) => (Noticed::By(model), None),
                (Verdict::NoticedBy(model), Some(note)) => (
                    Noticed::By(model),
                    Some(format!("noticed, though note {note} says why it is not")),
                ),
                (Verdict::Unnoticed(how), Some(note)) => {
                    println!("{key}: note {note} ({how})");
                    (Noticed::Note(note), None)
                }
                (Verdict::Unnoticed(how), None) => {
                    println!("{key}: NOT NOTICED ({how})");
                    (
                        Noticed::Note(0),
                        Some(format!("not noticed ({how}), and nothing explains it")),
                    )
                }
            };
            Ok((Row { noticed, ..trial.row }, problem.map(|problem| format!("{key}: {problem}"))))
        })?;
        let (rows, problems): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let problems: Vec<_> = problems.into_iter().flatten().collect();
        ensure!(
            problems.is_empty(),
            "{} of {} mutants:\n{}",
            problems.len(),
            rows.len(),
            problems.join("\n")
        );
        Ok(rows)
    }

    /// Asks all models that reach the mutant's site, the most promising first, until one notices.
    fn judge(&self, trial: &Trial, models: &[Model]) -> Result<Verdict> {
        let site = trial.mutant.0;
        if !self.modelled[site] {
            return Ok(Verdict::Unnoticed("not in loom-tests".to_owned()));
        }
        let key = trial.row.key();
        let last = self.known.iter().find(|known| known.key() == key);
        let mut asked: Vec<_> =
            models.iter().filter(|model| model.reaches.contains(&site)).collect();
        asked.sort_by_key(|model| {
            let by = Noticed::By(short(&model.name).to_owned());
            (last.is_none_or(|row| row.noticed != by), model.took)
        });
        let mut timed_out = Vec::new();
        for model in &asked {
            if !trial.beside.is_empty() {
                let alone = self.models.run(&model.name, &trial.beside, self.limit)?;
                if alone != Outcome::Passed {
                    continue;
                }
            }
            match self.models.run(&model.name, &trial.whole(), self.limit)? {
                Outcome::Passed => {}
                Outcome::TimedOut => timed_out.push(short(&model.name)),
                Outcome::Failed(saying) => {
                    println!("{key}: {}: {saying}", short(&model.name));
                    return Ok(Verdict::NoticedBy(short(&model.name).to_owned()));
                }
            }
        }
        let mut how = format!("{} models reach it", asked.len());
        if !timed_out.is_empty() {
            how.push_str(&format!(", too slow: {}", timed_out.join(", ")));
        }
        Ok(Verdict::Unnoticed(how))
    }

    /// Runs each row's model again: it must notice.
    fn repeat(&self, sites: &[Site]) -> Result<()> {
        let results = parallel(self.jobs, trials(sites)?, |trial| {
            let key = trial.row.key();
            let row = self.known.iter().find(|row| row.key() == key).context("checked before")?;
            let Noticed::By(model) = &row.noticed else { return Ok(None) };
            let name = format!("models::{model}");
            if !trial.beside.is_empty() {
                let alone = self.models.run(&name, &trial.beside, self.limit)?;
                ensure!(
                    alone == Outcome::Passed,
                    "{key}: {model} does not need the mutant: {alone:?}"
                );
            }
            let outcome = self.models.run(&name, &trial.whole(), self.limit)?;
            let noticed = matches!(outcome, Outcome::Failed(_));
            Ok(Some((!noticed).then(|| format!("{key}: {model} should notice, but {outcome:?}"))))
        })?;
        let asked = results.iter().flatten().count();
        let problems: Vec<_> = results.into_iter().flatten().flatten().collect();
        ensure!(problems.is_empty(), "{}", problems.join("\n"));
        println!("{asked} mutants noticed, as the table says");
        Ok(())
    }
}
