//! The models of `loom-tests`, run one to a process, on the shipped orderings or on a mutant's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How one model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// It noticed: the first line of what it said.
    Failed(String),
    TimedOut,
}

/// One model, and what is known of it from a run on the shipped orderings.
#[derive(Clone, Debug)]
pub struct Model {
    /// As `cargo test` names it.
    pub name: String,
    pub took: Duration,
    /// The sites that it executes. A site that it does not execute cannot make it fail.
    pub reaches: Vec<usize>,
}

/// A change of orderings: numbers of sites, and what they are weakened to.
pub type Mutant<'a> = [(usize, &'a str)];

/// The test program.
pub struct Models {
    program: PathBuf,
    scratch: PathBuf,
    /// What this very program has been found to do with mutants, in this run or before.
    known: Mutex<BTreeMap<String, Outcome>>,
    known_at: PathBuf,
}

/// What ends a process that has used its time. (At the limit Linux sends this one first.)
const SIGXCPU: i32 = 24;

static RUNS: AtomicUsize = AtomicUsize::new(0);

impl Models {
    /// Remembers what `program` does below `scratch`: the same program does the same again.
    pub fn new(program: &Path, scratch: &Path) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        fs::read(program).with_context(|| program.display().to_string())?.hash(&mut hasher);
        let known_at = scratch.join(format!("known-{:016x}", hasher.finish()));
        let text = fs::read_to_string(&known_at).unwrap_or_default();
        let known = Mutex::new(text.lines().filter_map(parse_outcome).collect());
        Ok(Self { program: program.to_owned(), scratch: scratch.to_owned(), known, known_at })
    }

    fn names(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.program)
            .args(["models::", "--list", "--format=terse"])
            .output()
            .with_context(|| self.program.display().to_string())?;
        let list = String::from_utf8(output.stdout)?;
        let names: Vec<_> = list
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect();
        ensure!(!names.is_empty(), "the program has no models");
        Ok(names)
    }

    /// Runs one model.
    pub fn run(&self, name: &str, mutant: &Mutant<'_>, limit: Duration) -> Result<Outcome> {
        let mutant: Vec<_> = mutant.iter().map(|(site, to)| format!("{site}={to}")).collect();
        let mutant = mutant.join(",");
        let key = format!("{name} {mutant}");
        if let Some(outcome) = self.known().get(&key) {
            return Ok(outcome.clone());
        }
        let outcome = self.outcome([("ORDERING_MUTANT", mutant.as_ref())], name, limit)?;
        let line = match &outcome {
            Outcome::Passed => format!("{key}: passed\n"),
            Outcome::Failed(saying) => format!("{key}: failed {saying}\n"),
            Outcome::TimedOut => return Ok(outcome), // may do better next time
        };
        let mut known = self.known();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.known_at)?
            .write_all(line.as_bytes())?;
        known.insert(key, outcome.clone());
        Ok(outcome)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Outcome>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcome(
        &self,
        environment: [(&str, &OsStr); 1],
        name: &str,
        limit: Duration,
    ) -> Result<Outcome> {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let said = self.scratch.join(format!("said-{}-{run}", std::process::id()));
        let file = File::create(&said)?;
        // The shell sets the limit, of processor time, and then is the program: a machine that is
        // busy with other things makes no model too slow.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -t \"$0\" && exec \"$@\"", &limit.as_secs().to_string()])
            .arg(&self.program)
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .envs(environment)
            .env_remove("LOOM_TESTS_BOUND")
            .env_remove("LOOM_LOG")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("starting a model")?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            // Should it sleep, which no model does.
            if started.elapsed() > limit * 20 {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let text = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
        fs::remove_file(&said)?;
        match status {
            None => Ok(Outcome::TimedOut),
            Some(status) if status.signal() == Some(SIGXCPU) => Ok(Outcome::TimedOut),
            Some(status) if status.success() => {
                ensure!(text.contains("1 passed"), "{name} was not run:\n{text}");
                Ok(Outcome::Passed)
            }
            // Not one that was merely out of memory, for instance, or of branches.
            Some(status) => match complaint(&text) {
                Some(line) => Ok(Outcome::Failed(line)),
                None => bail!("{name} ended with {status} and no complaint:\n{text}"),
            },
        }
    }

    /// Runs every model on the shipped orderings, where all must pass. Known already if the same
    /// program was asked before.
    pub fn baseline(&self, jobs: usize) -> Result<Vec<Model>> {
        let known = self.known_at.with_extension("baseline");
        if let Ok(text) = fs::read_to_string(&known) {
            return text.lines().map(parse).collect();
        }
        let names = self.names()?;
        eprintln!("running {} models on the orderings that ship", names.len());
        let models = parallel(jobs, names, |name| {
            let reached = self.scratch.join(format!("reached-{}", name.replace(':', "-")));
            let started = Instant::now();
            let environment = [("ORDERING_REACHED", reached.as_ref())];
            let outcome = self.outcome(environment, &name, Duration::from_secs(600))?;
            ensure!(outcome == Outcome::Passed, "{name} on the shipped orderings: {outcome:?}");
            // A model of steps that use no ordering (`last`) leaves no word of any.
            let sites = match fs::read_to_string(&reached) {
                Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
                sites => {
                    fs::remove_file(&reached)?;
                    sites?
                }
            };
            let reaches = sites.lines().map(str::parse).collect::<Result<_, _>>()?;
            Ok(Model { name, took: started.elapsed(), reaches })
        })?;
        let lines: Vec<_> = models.iter().map(line).collect();
        fs::write(known, lines.concat())?;
        Ok(models)
    }
}

/// The first thing that a failed model said, if it is about the model: that loom's own limits were
/// exceeded says nothing of an ordering.
fn complaint(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at"));
    lines.next()?;
    let saying = lines.next()?.trim();
    (!saying.contains("exceeded maximum number of branches")).then(|| saying.to_owned())
}

fn parse_outcome(line: &str) -> Option<(String, Outcome)> {
    let (key, outcome) = line.split_once(": ")?;
    let outcome = match outcome.strip_prefix("failed ") {
        Some(saying) => Outcome::Failed(saying.to_owned()),
        None => (outcome == "passed").then_some(Outcome::Passed)?,
    };
    Some((key.to_owned(), outcome))
}

fn line(model: &Model) -> String {
    let reaches: Vec<_> = model.reaches.iter().map(usize::to_string).collect();
    format!("{} {} {}\n", model.name, model.took.as_millis(), reaches.join(" "))
}

fn parse(line: &str) -> Result<Model> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let mut next = || words.next().context("a baseline's line is short");
    let (name, took) = (next()?.to_owned(), Duration::from_millis(next()?.parse()?));
    Ok(Model { name, took, reaches: words.map(str::parse).collect::<Result<_, _>>()? })
}

/// Does `work` for each of `items`, `jobs` at a time. The results are in the order of the items.
pub fn parallel<I: Send, R: Send>(
    jobs: usize,
    items: Vec<I>,
    work: impl Fn(I) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().map_or(None, |mut queue| queue.next());
                    let Some((index, item)) = next else { return };
                    let result = work(item);
                    let Ok(mut results) = results.lock() else { return };
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    ensure!(results.len() == count, "a worker was lost");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
