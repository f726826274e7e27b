//! The overseer: has the workers make one history after the other, drains the ring, and hands over
//! what was observed.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use harness::new::slots_are_usable;
use harness::{End as _, Receives, Value, Why};
use histories::history::{Answer, Call, End, History, Kind, What};
use ringpipe::{Mpmc, MpmcMessages, Ring, Spsc, SpscMessages};

use crate::ambush;
use crate::board::{Board, sleep, wake};
use crate::crew::Crew;
use crate::plan::{Plan, Step};
use crate::survey::Survey;
use crate::worker::Acts;

/// What takes longer hangs: no call waits for more than some milliseconds.
const HANGS: Duration = Duration::from_secs(20);
/// The last receiver hears of end-of-file long before this.
const STUCK: Duration = Duration::from_secs(10);
/// Histories on one ring, unless one of them leaves something behind.
const USES: u32 = 64;

/// A ring for histories.
struct Stage<K: Acts> {
    ring: Ring<K::Element, K>,
    number: u32,
    uses: u32,
}

/// Makes histories.
pub struct Overseer {
    board: &'static Board,
    /// The workers.
    pub crew: Crew,
    /// Instructions at which calls can be ambushed.
    pub instructions: usize,
    spsc: Vec<Stage<Spsc>>,
    mpmc: Vec<Stage<Mpmc>>,
    spsc_messages: Vec<Stage<SpscMessages>>,
    mpmc_messages: Vec<Stage<MpmcMessages>>,
    rings: u32,
    number: u64,
}

/// What was observed.
#[derive(Debug)]
pub struct Observed {
    /// The history.
    pub history: History,
    /// Workers that were stalled in the midst of a call, and how often.
    pub stalls: u32,
    /// Workers that were killed in the midst of a call.
    pub killed: u32,
}

impl Overseer {
    /// With workers, and no histories yet.
    pub fn new() -> Result<Self, String> {
        let board = Board::map()?;
        ambush::prepare(&board.stamp)?;
        let survey = Survey::new()?;
        let instructions = survey.len();
        let crew = Crew::start(board, survey)?;
        Ok(Self {
            board,
            crew,
            instructions,
            spsc: Vec::new(),
            mpmc: Vec::new(),
            spsc_messages: Vec::new(),
            mpmc_messages: Vec::new(),
            rings: 0,
            number: 0,
        })
    }

    /// Has a plan performed.
    pub fn perform(&mut self, plan: &Plan) -> Result<Observed, String> {
        self.number += 1;
        match (plan.kind, plan.messages) {
            (Kind::Spsc, false) => {
                let mut stages = std::mem::take(&mut self.spsc);
                let observed = self.perform_on(&mut stages, plan);
                self.spsc = stages;
                observed
            }
            (Kind::Mpmc, false) => {
                let mut stages = std::mem::take(&mut self.mpmc);
                let observed = self.perform_on(&mut stages, plan);
                self.mpmc = stages;
                observed
            }
            (Kind::Spsc, true) => {
                let mut stages = std::mem::take(&mut self.spsc_messages);
                let observed = self.perform_on(&mut stages, plan);
                self.spsc_messages = stages;
                observed
            }
            (Kind::Mpmc, true) => {
                let mut stages = std::mem::take(&mut self.mpmc_messages);
                let observed = self.perform_on(&mut stages, plan);
                self.mpmc_messages = stages;
                observed
            }
        }
    }

    fn perform_on<K: Acts>(
        &mut self,
        stages: &mut Vec<Stage<K>>,
        plan: &Plan,
    ) -> Result<Observed, String> {
        let capacity = usize::from(plan.capacity) * if K::MESSAGES { u64::RECORD } else { 1 };
        stages.retain(|stage| stage.uses < USES);
        if !stages.iter().any(|stage| stage.ring.capacity() == capacity) {
            let values = usize::from(plan.capacity);
            let ring = K::options(values).endpoints(if K::MANY { 16 } else { 2 });
            let ring = ring.create_anonymous();
            let ring = ring.map_err(|e| format!("a new ring: {e}"))?;
            self.rings += 1;
            stages.push(Stage { ring, number: self.rings, uses: 0 });
        }
        let stage = stages.iter_mut().find(|stage| stage.ring.capacity() == capacity);
        let stage = stage.ok_or("no ring")?;
        stage.uses += 1;
        self.board.descriptor.store(stage.ring.as_fd().as_raw_fd() as u32, Relaxed);
        self.board.ring.store(stage.number, Relaxed);
        self.give_orders(plan, K::CODE);
        let deaths = self.await_workers(plan)?;
        let mut history = self.collect(plan, &deaths);
        let drained = drain(self.board, &stage.ring, plan.parts.len() as u8, &mut history);
        let from = self.board.stamp.load(Relaxed);
        let outcome = drained.and_then(|()| slots_are_usable(&stage.ring, |n| n));
        outcome.map_err(|why| {
            format!("{why} after history {} ({from} stamps):\n{history}", self.number)
        })?;
        if plan.is_deadly() || plan.gives_back() {
            // The dead stay on its endpoint table until somebody looks for them.
            stage.uses = USES;
        }
        let lanes = &self.board.lanes[..plan.parts.len()];
        let stalls = lanes.iter().map(|lane| lane.stalled.load(Relaxed)).sum();
        let died = |call: &&Call| call.returned.is_none();
        let killed = history.calls.iter().filter(died).count() as u32;
        Ok(Observed { history, stalls, killed })
    }

    fn give_orders(&self, plan: &Plan, kind: u32) {
        let board = self.board;
        board.stamp.store(0, Relaxed);
        board.history.store(self.number, Relaxed);
        board.kind.store(kind, Relaxed);
        board.capacity.store(plan.capacity.into(), Relaxed);
        board.places.store(plan.places as u32, Relaxed);
        board.workers.store(plan.parts.len() as u32, Relaxed);
        board.ready.store(0, Relaxed);
        board.done.store(0, Relaxed);
        for (lane, part) in board.lanes.iter().zip(&plan.parts) {
            lane.receives.store(u32::from(part.end == End::Receiver), Relaxed);
            lane.policy.store(part.policy, Relaxed);
            lane.calls.store(part.steps.len() as u32, Relaxed);
            lane.ambush.store(part.ambush.map_or(0, |ambush| ambush.encode()), Relaxed);
            lane.stalled.store(0, Relaxed);
            for (word, step) in lane.steps.iter().zip(&part.steps) {
                word.store(step.encode(), Relaxed);
            }
            lane.log.iter().for_each(|record| record.clear());
        }
        for (lane, _) in board.lanes.iter().zip(&plan.parts) {
            lane.call.fetch_add(1, Release);
            wake(&lane.call);
        }
    }

    /// Until every worker is through or dead. Moments at which deaths were known, by worker.
    fn await_workers(&mut self, plan: &Plan) -> Result<Vec<Option<u64>>, String> {
        let workers = plan.parts.len();
        let mut deaths = vec![None; workers];
        let began = Instant::now();
        loop {
            let done = self.board.done.load(Acquire);
            let dead = deaths.iter().flatten().count();
            if done as usize + dead == workers {
                break;
            }
            if began.elapsed() > HANGS {
                let history = self.collect(plan, &deaths);
                return Err(format!("history {} hangs:\n{history}", self.number));
            }
            let nap = if plan.is_deadly() { 60 } else { 20_000 };
            sleep(&self.board.done, done, Duration::from_micros(nap));
            for (index, part) in plan.parts.iter().enumerate() {
                let look = deaths[index].is_none()
                    && (part.is_deadly() || began.elapsed() > Duration::from_millis(20));
                if look && self.crew.has_died(index) {
                    if self.board.lanes[index].wrong.load(Relaxed) != 0 || !part.is_deadly() {
                        let history = self.collect(plan, &deaths);
                        return Err(format!("worker {index} failed:\n{history}"));
                    }
                    deaths[index] = Some(self.board.draw());
                }
            }
        }
        for (index, death) in deaths.iter().enumerate() {
            if death.is_some() {
                self.crew.hire(index)?;
            }
        }
        Ok(deaths)
    }

    fn collect(&self, plan: &Plan, deaths: &[Option<u64>]) -> History {
        let mut ends: Vec<_> = plan.parts.iter().map(|part| part.end).collect();
        ends.push(End::Drain);
        let mut calls = Vec::new();
        for (process, lane) in self.board.lanes[..plan.parts.len()].iter().enumerate() {
            let end = plan.parts[process].end;
            let mut last = 0;
            for (call, (word, record)) in lane.steps.iter().zip(&lane.log).enumerate() {
                let invoked = record.invoked();
                if invoked == 0 {
                    break;
                }
                last = invoked;
                let step = Step::decode(word.load(Relaxed));
                calls.push(Call {
                    process: process as u8,
                    what: step.what(end, self.number, process, call),
                    invoked,
                    returned: record.returned(),
                });
            }
            if let Some(known) = deaths[process] {
                calls.push(Call {
                    process: process as u8,
                    what: What::Death,
                    invoked: last,
                    returned: Some((known, Answer::Gone)),
                });
            }
        }
        History { kind: plan.kind, capacity: plan.capacity, ends, calls }
    }
}

/// Receives what is left, as a part of the history, until end-of-file.
fn drain<K: Acts>(
    board: &Board,
    ring: &Ring<K::Element, K>,
    process: u8,
    history: &mut History,
) -> Result<(), String> {
    let mut rx = K::receiver(ring).map_err(|why| format!("no end to drain the ring: {why}"))?;
    rx.require_peer();
    rx.set_liveness_interval(Duration::from_millis(1));
    // More than can be in it: what a receiver kept may come twice.
    for _ in 0..=3 * ring.capacity() {
        let invoked = board.draw();
        let answer = match rx.recv_deadline(STUCK) {
            Ok(item) => Answer::Received(vec![item], u8::from(rx.is_again())),
            Err(Why::Closed) => Answer::Closed,
            Err(wrong) => return Err(format!("no end-of-file, but \"{wrong}\"")),
        };
        let ended = answer == Answer::Closed;
        let what = What::Receive { max: 1, need: 1, release: 1 };
        let returned = Some((board.draw(), answer));
        history.calls.push(Call { process, what, invoked, returned });
        if ended {
            return Ok(());
        }
    }
    Err("more items than can be".into())
}
