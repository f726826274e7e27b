//! How an end of a model dies: anywhere.
//!
//! A mortal end may be killed before any of its steps, a step being an access to an atomic, a slot
//! or a futex (`patched-loom` tells of each before it is made). loom explores both answers at each,
//! so one model has every death in it, and the survivors' steps in every order with it. A load
//! leaves no trace, so to die after it is to have died before it: the crash points are the point
//! before the first step, those after each step that can leave a trace, and the end of the deed.
//!
//! Dying is unwinding to [`until_death`]: nothing of ours stores anything on the way (the handles
//! of the models have no destructors, as a killed process runs none), and afterwards the kernel's
//! part is done: the recovery word, if the dead had it, and the lock that proved it alive are let
//! go, each ordered after all that the dead had done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::thread::{self, ThreadId};

use super::support::{Locks, check_bounded};
use crate::peers::table::Role;

/// What an end that is killed unwinds with.
struct Killed;

/// A thread whose end can be killed.
struct Mortal {
    thread: ThreadId,
    /// Steps so far that could leave a trace.
    traces: u32,
    /// There has been one since the last crash point, or none at all yet.
    at_crash_point: bool,
}

// loom's threads all run on the test's own thread.
thread_local! {
    static MORTALS: RefCell<Vec<Mortal>> = const { RefCell::new(Vec::new()) };
    /// Who has died in this execution, and after how many steps.
    static DEATHS: RefCell<Vec<(&'static str, u32)>> = const { RefCell::new(Vec::new()) };
    /// The same for all executions of the model.
    static CRASH_POINTS: RefCell<BTreeMap<&'static str, BTreeSet<u32>>> =
        const { RefCell::new(BTreeMap::new()) };
}

fn as_mortal<R>(look: impl FnOnce(&mut Mortal) -> R) -> Option<R> {
    MORTALS.with_borrow_mut(|mortals| {
        if mortals.is_empty() {
            return None;
        }
        let me = thread::current().id();
        mortals.iter_mut().find(|mortal| mortal.thread == me).map(look)
    })
}

/// Before each step of any thread.
fn before_step(leaves_trace: bool) {
    let killed = as_mortal(|mortal| {
        if std::mem::replace(&mut mortal.at_crash_point, leaves_trace) && loom::choose() {
            return true;
        }
        mortal.traces += u32::from(leaves_trace);
        false
    });
    if killed == Some(true) {
        // Without the panic hook's message.
        resume_unwind(Box::new(Killed));
    }
}

/// How many steps the calling mortal end has taken that could leave a trace.
pub(super) fn traces() -> u32 {
    as_mortal(|mortal| mortal.traces).unwrap_or(0)
}

/// The life of the end of `role` in `record`: it does its deed and is killed at some point of that,
/// or after it. Returns the traces that it left if it was killed in mid-deed.
pub(super) fn until_death(
    who: &'static str,
    locks: &Locks,
    (role, record): (Role, usize),
    deed: impl FnOnce(),
) -> Option<u32> {
    let thread = thread::current().id();
    MORTALS.with_borrow_mut(|mortals| {
        mortals.push(Mortal { thread, traces: 0, at_crash_point: true });
    });
    let outcome = catch_unwind(AssertUnwindSafe(deed));
    let traces = traces();
    MORTALS.with_borrow_mut(|mortals| mortals.retain(|mortal| mortal.thread != thread));
    let in_mid_deed = match outcome {
        Ok(()) => None,
        Err(payload) if payload.is::<Killed>() => Some(traces),
        Err(payload) => resume_unwind(payload),
    };
    DEATHS.with_borrow_mut(|deaths| deaths.push((who, traces)));
    CRASH_POINTS.with_borrow_mut(|points| points.entry(who).or_default().insert(traces));
    locks.release_of_the_dead(role, record);
    in_mid_deed
}

/// Says who had died when a model fails.
struct Inquest;

impl Drop for Inquest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            DEATHS.with_borrow(|deaths| {
                eprintln!("deaths, each after so many steps but loads: {deaths:?}");
            });
        }
    }
}

/// As `check_bounded`, for models in which ends die; says how many crash points there were.
pub(super) fn check_deaths(
    name: &str,
    preemptions: usize,
    model: impl Fn() + Send + Sync + 'static,
) {
    let _inquest = Inquest;
    MORTALS.take();
    CRASH_POINTS.take();
    loom::before_steps(before_step);
    check_bounded(name, preemptions, move || {
        DEATHS.take();
        model();
    });
    let points: Vec<_> = CRASH_POINTS
        .take()
        .iter()
        .map(|(who, points)| format!("{} of the {who}", points.len()))
        .collect();
    println!("{name}: crash points: {}", points.join(", "));
    assert!(!points.is_empty(), "nobody died");
}
