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
//! that one ordering weaker, or the fence left out. A mutant is *noticed* if a model of `loom-tests`
//! that passes on the shipped sources fails on it. One that no model notices must have a written
//! explanation ([`explanations`]), and one that has an explanation must not be noticed. The working
//! tree is not touched ([`tree`]).
//!
//! Mutants point, the written argument decides: that no model complains is no reason to weaken
//! anything. It shows that a model is missing, or that something else orders the same, which is then
//! what the explanation says.

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

use anyhow::{Context, Result, bail, ensure};
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
    /// Only sites with this label (`S3`) or whose name begins so; the table is not written.
    #[arg(long)]
    site: Option<String>,
    /// Seconds after which a model is stopped. That is not noticing.
    #[arg(long, default_value_t = 300)]
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

    fn name(&self) -> String {
        format!("{} → {}", self.site.key(), self.to)
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
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
    let program = tree::build(root, &target, &sites)?;
    let jury = Jury {
        models: Models::new(&program.path, &target.join("ordering-mutants")),
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
        let chosen = |mutant: &Mutant<'_>| {
            options.site.as_ref().is_none_or(|wanted| {
                mutant.site.label == *wanted || mutant.site.key().starts_with(&format!("{wanted} "))
            })
        };
        let rows = jury.try_all(&sites, chosen)?;
        if options.site.is_none() {
            fs::write(document_at, table::write(&document, &rows, EXPLANATIONS)?)?;
        }
    }
    println!("done in {:.0?}", started.elapsed());
    Ok(())
}

fn target_directory(root: &Path) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
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
fn explanation(mutant: &Mutant<'_>) -> Option<usize> {
    let key = mutant.site.key();
    let of = |explanation: &Explanation| {
        explanation.mutants.iter().any(|(site, to)| *site == key && *to == mutant.to)
    };
    EXPLANATIONS.iter().position(of).map(|index| index + 1)
}

/// The row that stands for all mutants of a note.
fn row_of_all(note: usize, noticed: Noticed) -> Row {
    Row {
        label: format!("({note})"),
        place: table::ALL.to_owned(),
        change: "at once".to_owned(),
        noticed,
    }
}

/// The table has a row for each mutant, and says of the explained ones what the explanations say.
fn check_table(sites: &[Site], rows: &[Row], document: &str) -> Result<()> {
    let again = "; run `cargo run -p ordering-mutants`";
    let there: BTreeSet<_> = rows.iter().map(Row::key).collect();
    let mut wanted = BTreeSet::new();
    for mutant in mutants(sites) {
        let note = explanation(&mutant);
        let row = mutant.row(Noticed::Note(note.unwrap_or(0)));
        let found = rows.iter().find(|found| found.key() == row.key());
        let found = found.with_context(|| format!("no row for {}{again}", mutant.name()))?;
        match (&found.noticed, note) {
            (Noticed::By(_), None) => {}
            (Noticed::Note(number), Some(note)) if *number == note => {}
            (found, _) => {
                bail!("{}: the table says {found:?}, the notes do not{again}", mutant.name())
            }
        }
        wanted.insert(row.key());
    }
    for (note, _) in backing() {
        let key = row_of_all(note, Noticed::Note(note)).key();
        ensure!(there.contains(&key), "no row for note {note}, all at once{again}");
        wanted.insert(key);
    }
    for key in there.difference(&wanted) {
        bail!("the table has a row for {key}, which there is not{again}");
    }
    ensure!(
        table::write(document, rows, EXPLANATIONS)? == document,
        "the notes are not up to date{again}"
    );
    Ok(())
}

/// The notes whose orderings back each other up.
fn backing() -> impl Iterator<Item = (usize, &'static Explanation)> {
    (1..).zip(EXPLANATIONS).filter(|(_, explanation)| explanation.back_each_other_up)
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

/// What came of a mutant, when no model noticed it.
enum Verdict {
    NoticedBy(String),
    /// By none. What is to be said about it.
    Unnoticed(String),
}

impl Jury {
    /// Tries the mutants that are `chosen`, and gives the table's rows. An error if one survives
    /// without an explanation, or is explained and does not survive.
    fn try_all(&self, sites: &[Site], chosen: impl Fn(&Mutant<'_>) -> bool) -> Result<Vec<Row>> {
        let models = self.models.baseline(self.jobs)?;
        let tried: Vec<_> = mutants(sites).into_iter().filter(&chosen).collect();
        ensure!(!tried.is_empty(), "there is no such site");
        eprintln!("trying {} mutants", tried.len());
        let results = parallel(self.jobs, tried, |mutant| {
            let verdict =
                self.judge(&mutant.row(Noticed::Note(0)), &[(mutant.number, mutant.to)], &models)?;
            let (row, problem) = match (verdict, explanation(&mutant)) {
                (Verdict::NoticedBy(model), None) => (Noticed::By(model), None),
                (Verdict::NoticedBy(model), Some(note)) => {
                    let problem =
                        format!("note {note} explains why no model notices it, but one does");
                    (Noticed::By(model), Some(problem))
                }
                (Verdict::Unnoticed(how), Some(note)) => {
                    println!("{}: note {note} ({how})", mutant.name());
                    (Noticed::Note(note), None)
                }
                (Verdict::Unnoticed(how), None) => {
                    (Noticed::Note(0), Some(format!("survives ({how}) and nothing explains it")))
                }
            };
            Ok((mutant.row(row), problem.map(|problem| format!("{}: {problem}", mutant.name()))))
        })?;
        let (mut rows, problems): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let mut problems: Vec<_> = problems.into_iter().flatten().collect();
        for (note, explanation) in backing() {
            let group = self.group(sites, explanation)?;
            if !group.iter().any(|(number, _)| {
                chosen(&Mutant { number: *number, site: &sites[*number], to: "" })
            }) {
                continue;
            }
            let row = row_of_all(note, Noticed::Note(note));
            match self.judge(&row, &group, &models)? {
                Verdict::NoticedBy(model) => rows.push(Row { noticed: Noticed::By(model), ..row }),
                Verdict::Unnoticed(how) => {
                    problems.push(format!("note {note}: all of them at once survive, too ({how})"))
                }
            }
        }
        ensure!(
            problems.is_empty(),
            "{} of {} mutants:\n{}",
            problems.len(),
            rows.len(),
            problems.join("\n")
        );
        Ok(rows)
    }

    /// The mutants of a note that are in the program.
    fn group(
        &self,
        sites: &[Site],
        explanation: &Explanation,
    ) -> Result<Vec<(usize, &'static str)>> {
        let find = |(key, to): &(&str, &'static str)| {
            let number = sites.iter().position(|site| site.key() == *key);
            Ok((number.context("checked before")?, *to))
        };
        explanation.mutants.iter().map(find).collect()
    }

    /// Asks all models that reach the mutant's sites, the most promising first, until one notices.
    fn judge(&self, row: &Row, mutant: &models::Mutant<'_>, models: &[Model]) -> Result<Verdict> {
        if !mutant.iter().any(|(site, _)| self.modelled[*site]) {
            return Ok(Verdict::Unnoticed("not in loom-tests".to_owned()));
        }
        let last = self.known.iter().find(|known| known.key() == row.key());
        let mut asked: Vec<_> = models
            .iter()
            .filter(|model| mutant.iter().any(|(site, _)| model.reaches.contains(site)))
            .collect();
        asked.sort_by_key(|model| {
            let last =
                last.is_some_and(|row| row.noticed == Noticed::By(short(&model.name).to_owned()));
            (!last, model.took)
        });
        let mut timed_out = Vec::new();
        for model in &asked {
            match self.models.run(&model.name, mutant, self.limit)? {
                Outcome::Passed => {}
                Outcome::TimedOut => timed_out.push(short(&model.name)),
                Outcome::Failed(saying) => {
                    println!("{}: {}: {saying}", row.key(), short(&model.name));
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
        let mut work: Vec<_> = mutants(sites)
            .into_iter()
            .map(|mutant| (mutant.row(Noticed::Note(0)).key(), vec![(mutant.number, mutant.to)]))
            .collect();
        for (note, explanation) in backing() {
            let key = row_of_all(note, Noticed::Note(note)).key();
            work.push((key, self.group(sites, explanation)?));
        }
        let results = parallel(self.jobs, work, |(key, mutant)| {
            let row = self.known.iter().find(|row| row.key() == key).context("checked before")?;
            let Noticed::By(model) = &row.noticed else { return Ok(None) };
            let name = format!("models::{model}");
            match self.models.run(&name, &mutant, self.limit)? {
                Outcome::Failed(_) => Ok(Some(None)),
                outcome => Ok(Some(Some(format!("{key}: {model} should notice, but {outcome:?}")))),
            }
        })?;
        let noticed = results.iter().flatten().filter(|problem| problem.is_none()).count();
        let problems: Vec<_> = results.into_iter().flatten().flatten().collect();
        ensure!(problems.is_empty(), "{}", problems.join("\n"));
        println!("{noticed} mutants noticed, as the table says");
        Ok(())
    }
}
