//! The search: can the calls of a history be explained by a specification?
//!
//! A specification says what a pending call may do next, one indivisible step at a time. A history
//! is explained if there is an order of steps, each between the invocation and the return of its
//! call, that ends every call with the answer it gave. With one step to a call this is Herlihy and
//! Wing's linearizability; [`spec`](crate::spec) says which calls need two, and why.
//!
//! The algorithm is Wing and Gong's, with Lowe's memoization, breadth first: "just in time". It
//! goes through invocations and returns in order and keeps *every* configuration (state of the
//! object, progress of the pending calls) that explains what came so far. Steps are taken as late
//! as possible: only a return forces any, its own call's and those of others that must come before.
//! A step that is not needed for that return can as well come later, so nothing is lost. No
//! configuration left: the history is rejected, and the return that could not be explained is
//! named.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use crate::history::{Call, History, PROCESSES, What};

/// How far a pending call is; what the numbers mean is the specification's business, but for
/// [`BEGUN`] and [`DONE`].
pub type Progress = u8;
/// Invoked, and nothing done.
pub const BEGUN: Progress = 0;
/// Nothing left to do but to return.
pub const DONE: Progress = u8::MAX;

/// An object as its users may see it.
pub trait Specification {
    /// The object between two steps.
    type State: Clone + Eq + Hash + Debug;

    /// Before the first call.
    fn start(&self) -> Self::State;

    /// Every step that `call` can take in `state`; only such steps as lead to the answer it gave.
    fn steps(
        &self,
        state: &Self::State,
        call: &Call,
        progress: Progress,
        next: &mut Vec<(Self::State, Progress)>,
    );

    /// What can happen without a call.
    fn by_itself(&self, state: &Self::State, next: &mut Vec<Self::State>);
}

/// Each process has one call pending at the most, and may be dying.
const LANES: usize = 2 * PROCESSES;

fn lane(call: &Call) -> usize {
    let process = usize::from(call.process);
    if call.what == What::Death { PROCESSES + process } else { process }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration<S> {
    state: S,
    progress: [Progress; LANES],
}

/// A history was explained.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// Configurations that were looked at.
    pub looked_at: usize,
}

/// A history cannot be explained.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The call whose return left no explanation, as an index into the calls.
    pub call: usize,
    /// Some of the states that were possible before.
    pub before: Vec<String>,
}

/// Decides whether `specification` explains `history`.
///
/// # Errors
///
/// [`Rejected`]: it does not.
pub fn explain<S: Specification>(
    specification: &S,
    history: &History,
) -> Result<Explained, Rejected> {
    let calls = &history.calls;
    // (moment, is a return, call)
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * calls.len());
    for (index, call) in calls.iter().enumerate() {
        events.push((call.invoked, false, index));
        if let Some((at, _)) = call.returned {
            events.push((at, true, index));
        }
    }
    events.sort_unstable();

    let start = Configuration { state: specification.start(), progress: [BEGUN; LANES] };
    let mut possible = HashSet::from([start]);
    let mut pending: [Option<&Call>; LANES] = [None; LANES];
    let mut looked_at = 0;
    for (_, returns, index) in events {
        let call = &calls[index];
        let lane = lane(call);
        if !returns {
            assert!(pending[lane].is_none(), "a process calls once at a time: {call}");
            pending[lane] = Some(call);
            continue;
        }
        let before = possible.clone();
        let (after, looked) = until_done(specification, possible, &pending, lane);
        looked_at += looked;
        if after.is_empty() {
            let before = before.iter().take(4).map(|known| format!("{:?}", known.state)).collect();
            return Err(Rejected { call: index, before });
        }
        possible = after;
        pending[lane] = None;
    }
    Ok(Explained { looked_at })
}

/// All ways to end the call in `lane`, and how many configurations were looked at for them.
fn until_done<S: Specification>(
    specification: &S,
    possible: HashSet<Configuration<S::State>>,
    pending: &[Option<&Call>; LANES],
    lane: usize,
) -> (HashSet<Configuration<S::State>>, usize) {
    let mut done = HashSet::new();
    let mut to_do: Vec<_> = possible.iter().cloned().collect();
    let mut seen = possible;
    let (mut steps, mut events) = (Vec::new(), Vec::new());
    while let Some(mut known) = to_do.pop() {
        if known.progress[lane] == DONE {
            known.progress[lane] = BEGUN; // for the next call in this lane
            done.insert(known);
            continue;
        }
        let mut reach = |next: Configuration<S::State>| {
            if seen.insert(next.clone()) {
                to_do.push(next);
            }
        };
        for (other, call) in pending.iter().enumerate() {
            let Some(call) = call else { continue };
            if known.progress[other] == DONE {
                continue;
            }
            specification.steps(&known.state, call, known.progress[other], &mut steps);
            for (state, progress) in steps.drain(..) {
                let mut next = Configuration { state, progress: known.progress };
                next.progress[other] = progress;
                reach(next);
            }
        }
        specification.by_itself(&known.state, &mut events);
        for state in events.drain(..) {
            reach(Configuration { state, progress: known.progress });
        }
    }
    (done, seen.len())
}
