//! One operation: rehearsed, stepped through once, and then killed at each of its points.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU32, Ordering};

use harness::rng::Rng;
use harness::{Carrier, at};
use ringpipe::Spsc;

use crate::act::Act;
use crate::diary::Diary;
use crate::item::Item;
use crate::observe::{Observer, State};
use crate::oracle::{self, Cost, Survivors};
use crate::orphans;
use crate::rings::{options, records};
use crate::scenario::Scenario;
use crate::watchdog;
use crate::world::{Life, World, expect};
use harness::trace::{Moment, Steps, Stop, Victim, Wake};

/// What came of one operation, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub steps: usize,
    pub states: usize,
    pub kills: usize,
    pub passed: usize,
    /// Kills before the next system call, as the victim did not come to the chosen instruction.
    pub elsewhere: usize,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.states += other.states;
        self.kills += other.kills;
        self.passed += other.passed;
        self.elsewhere += other.elsewhere;
    }
}

/// Where the victim is after one step.
#[derive(Clone, Copy, Debug)]
enum Place {
    At(Moment),
    /// In the system call that it sleeps in.
    Asleep,
}

/// What stepping through the operation has shown.
#[derive(Debug, Default)]
struct Record {
    /// One for each step, and one for the beginning.
    places: Vec<Place>,
    /// The states in their order: from the step at which each began.
    states: Vec<(usize, State)>,
}

impl Record {
    fn note(&mut self, place: Place, state: State) {
        if self.states.last().is_none_or(|(_, last)| *last != state) {
            self.states.push((self.places.len(), state));
        }
        self.places.push(place);
    }

    /// The state at a step.
    fn state(&self, step: usize) -> &State {
        let after = self.states.partition_point(|(first, _)| *first <= step);
        &self.states[after - 1].1
    }

    fn steps(&self) -> usize {
        self.places.len() - 1
    }

    /// The first and the last step of each state.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.states.iter().skip(1).map(|(first, _)| first - 1);
        let firsts = self.states.iter().map(|(first, _)| *first);
        firsts.zip(ends.chain([self.steps()]))
    }
}

/// Longer than any operation here takes, unless it runs in a circle.
const MOST_STEPS: usize = 500_000;

/// Failures of one operation that tell enough; each may take seconds.
const ENOUGH: usize = 4;

/// How to go through an operation.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// One kill for each state, chosen by this, rather than two.
    pub seed: Option<u64>,
    /// Kills after this many steps alone.
    pub step: Option<usize>,
    /// Tells what distinguishes the states.
    pub explain: bool,
}

/// Goes through the scenario.
pub fn all<K: Carrier<Item>>(scenario: &Scenario, mode: Mode) -> Report {
    let mut report = Report::default();
    watch(scenario, "rehearsal");
    if let Err(why) = rehearse::<K>(scenario) {
        println!("FAILED without a kill: {why}\n    killpoints --operation {}", scenario.name);
        report.kills += 1;
        return report;
    }
    watch(scenario, "stepping");
    let record = match record::<K>(scenario) {
        Ok(record) => record,
        Err(why) => {
            println!("FAILED: stepping: {why}\n    killpoints --operation {}", scenario.name);
            report.kills += 1;
            return report;
        }
    };
    report.steps = record.steps();
    report.states = record.states.len();
    if mode.explain {
        for pair in record.states.windows(2) {
            println!("{:7}: {}", pair[1].0, pair[1].1.difference(&pair[0].1));
        }
    }
    let mut points = Vec::new();
    match mode.step {
        Some(step) => {
            points.push((step.min(record.steps()), Survivors::Present));
            points.push((step.min(record.steps()), Survivors::Newcomers));
        }
        None => {
            let mut rng = mode.seed.map(Rng::new);
            for (first, last) in record.spans() {
                let Some(rng) = &mut rng else {
                    points.push((first, Survivors::Present));
                    points.push((last, Survivors::Newcomers));
                    continue;
                };
                let step = rng.within(first as u64..last as u64 + 1) as usize;
                let survivors = rng.pick(&[Survivors::Present, Survivors::Newcomers]);
                points.push((step, survivors));
            }
        }
    }
    let mut so_far = Cost { arrived: 0, consumed: 0 };
    points.sort_by_key(|(step, _)| *step);
    for (step, survivors) in points {
        if report.kills - report.passed == ENOUGH {
            println!("    and no further in {}", scenario.name);
            break;
        }
        report.kills += 1;
        watch(scenario, &format!("step {step}, {survivors:?}"));
        let outcome = strike::<K>(scenario, &record, step, survivors).and_then(|(cost, there)| {
            report.elsewhere += usize::from(!there);
            // The further it came, the more has happened.
            let back = cost.arrived < so_far.arrived || cost.consumed < so_far.consumed;
            if back && !scenario.drop_unreleased {
                return Err(format!("{cost:?} after a kill, and {so_far:?} after an earlier one"));
            }
            so_far = cost;
            Ok::<(), String>(())
        });
        match outcome {
            Ok(()) => report.passed += 1,
            Err(why) => {
                let name = scenario.name;
                println!("FAILED at step {step} of {}, {survivors:?}: {why}", record.steps());
                println!("    killpoints --operation {name} --step {step}");
            }
        }
    }
    report
}

fn watch(scenario: &Scenario, doing: &str) {
    watchdog::watch(format!("{}: {doing}", scenario.name));
}

/// What the names of this process's rings begin with.
fn prefix() -> String {
    format!("ringpipe-kill-{:07}-", std::process::id())
}

/// A name for a ring, always of the same length.
fn new_name() -> String {
    static RINGS: AtomicU32 = AtomicU32::new(0);
    let number = RINGS.fetch_add(1, Ordering::Relaxed); // only to be another each time
    format!("{}{number:07}", prefix())
}

/// Rings here have a state line that says that they are open.
pub fn is_on_disk() -> Result<(), String> {
    let name = new_name();
    let ring = options::<Spsc>().create(&name).map_err(|e| e.to_string())?;
    let bytes = std::fs::read(format!("/dev/shm/{name}")).map_err(|e| e.to_string());
    ring.unlink().map_err(|e| e.to_string())?;
    let open = 2_u64.to_ne_bytes();
    if bytes?[at::FILE_STATE..].starts_with(&open) { Ok(()) } else { Err("no disk".into()) }
}

/// Removes the names of this process's rings.
pub fn remove_rings() {
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix()) {
            // One that is gone meanwhile need not be removed.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A victim at the beginning of its operation, in its world.
struct Stage<K: Carrier<Item>> {
    world: World<K>,
    victim: Victim,
    diary: Diary,
    observer: Observer,
}

impl<K: Carrier<Item>> Stage<K> {
    fn set(scenario: &Scenario) -> Result<Self, String> {
        let name = new_name();
        let mut observer = Observer::new(&name, records::<K>());
        let mut world = World::new(scenario, name)?;
        let (diary, file) = Diary::new().map_err(|e| e.to_string())?;
        world.others.iter().for_each(|other| observer.watch(&other.name, records::<K>()));
        // Now, in case the operation takes its name away.
        observer.open().map_err(|e| format!("opening the region: {e}"))?;
        let mut victim = Life::Victim.begin(scenario, &world.name, file)?;
        expect(victim.run(false)?, Stop::Breakpoint)?;
        if let Some(role) = scenario.act.attaches_before() {
            world.count(role);
        }
        Ok(Self { world, victim, diary, observer })
    }

    fn look(&mut self, system_calls: usize) -> Result<State, String> {
        self.observer.look(&self.diary, system_calls).map_err(|e| format!("looking: {e}"))
    }

    /// The victim is gone: what is left?
    fn check(mut self, scenario: &Scenario, survivors: Survivors) -> Result<Cost, String> {
        let stage = self.diary.stage();
        if scenario.act.creates() {
            self.world.open_or_create()?;
        }
        if matches!(scenario.act, Act::Visit) {
            self.world.open()?;
        }
        match scenario.act {
            Act::RemoveOrphans => orphans::check(&mut self.world, scenario, stage, survivors),
            _ => oracle::check(&mut self.world, scenario, stage, survivors),
        }
    }
}

/// The operation without a kill: the victim finds what it expects, and so do the checks.
fn rehearse<K: Carrier<Item>>(scenario: &Scenario) -> Result<(), String> {
    let Stage { mut world, mut victim, diary, observer } = Stage::<K>::set(scenario)?;
    let sleeps = scenario.on_sleep.is_some();
    let mut stop = victim.run(sleeps)?;
    if stop == Stop::Asleep {
        world.wake(scenario)?;
        stop = victim.wake_up()?;
    }
    expect(stop, Stop::Breakpoint)?;
    victim.finish()?;
    let stage = Stage { world, victim, diary, observer };
    stage.check(scenario, Survivors::Present).map(|_| ())
}

/// Steps through the operation.
fn record<K: Carrier<Item>>(scenario: &Scenario) -> Result<Record, String> {
    let mut stage = Stage::<K>::set(scenario)?;
    let mut record = Record::default();
    let mut steps = Steps::default();
    let sleeps = scenario.on_sleep.is_some();
    let mut moment = steps.moment(&stage.victim)?;
    record.note(Place::At(moment), stage.look(0)?);
    while record.steps() < MOST_STEPS {
        let mut stop = steps.step(&mut stage.victim, sleeps)?;
        if stop == Stop::Asleep {
            record.note(Place::Asleep, stage.look(moment.system_calls + 1)?);
            stage.world.wake(scenario)?;
            stage.observer.forget();
            stop = stage.victim.wake_up()?;
        }
        if stop == Stop::Breakpoint {
            // The second marker. It changes nothing: to be about to execute it is to be there.
            record.note(Place::At(moment), stage.look(moment.system_calls)?);
            return Ok(record);
        }
        moment = steps.moment(&stage.victim)?;
        record.note(Place::At(moment), stage.look(moment.system_calls)?);
    }
    Err(format!("no end after {MOST_STEPS} steps"))
}

/// Kills a new victim at a step, and checks what is left. And whether it came to that very step.
fn strike<K: Carrier<Item>>(
    scenario: &Scenario,
    record: &Record,
    step: usize,
    survivors: Survivors,
) -> Result<(Cost, bool), String> {
    let mut stage = Stage::<K>::set(scenario)?;
    let there = match &record.places[step] {
        Place::Asleep => expect(stage.victim.run(true)?, Stop::Asleep).map(|()| true)?,
        Place::At(moment) => {
            let world = &mut stage.world;
            let mut wake = || world.wake(scenario);
            let asleep: Option<Wake> =
                if scenario.on_sleep.is_some() { Some(&mut wake) } else { None };
            // Where it took another way it stands at the end of that: just as good a place, if
            // the state is the same.
            stage.victim.reach(moment, asleep)?
        }
    };
    let recorded = record.state(step);
    if stage.look(recorded.system_calls)? != *recorded {
        return Err("not the state that was recorded at this step".into());
    }
    stage.victim.kill()?;
    stage.check(scenario, survivors).map(|cost| (cost, there))
}
