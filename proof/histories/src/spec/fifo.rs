//! The textbook's bounded FIFO, with ends: every call takes effect at one moment, a slice in one
//! piece. For histories without deaths in which nothing was given back.
//!
//! With [`Fifo::loose`], answers that say what there is *not* (full, empty, fewer than asked for)
//! are believed, and while an end is closing some may see it gone and others there. Everything else
//! is as strict as before.

use crate::history::{Answer, Call, End, History, Value, What};
use crate::search::{DONE, Progress, Specification};

use super::{Ends, Presence, answered};

/// The queue between two calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    items: Vec<Value>,
    ends: Ends,
}

/// The machine for one history's ring.
#[derive(Clone, Debug)]
pub struct Fifo<'a> {
    capacity: usize,
    ends: &'a [End],
    loose: bool,
}

impl<'a> Fifo<'a> {
    /// For the ring of a history.
    pub fn strict(history: &'a History) -> Self {
        Self { capacity: history.capacity.into(), ends: &history.ends, loose: false }
    }

    /// Likewise, believing what is said not to be there.
    pub fn loose(history: &'a History) -> Self {
        Self { loose: true, ..Self::strict(history) }
    }

    fn send(&self, state: &State, call: &Call) -> Option<State> {
        let What::Send { values, need, .. } = &call.what else { return None };
        let (_, answer) = call.returned.as_ref()?;
        let mut after = state.clone();
        let open = state.ends.may_be_there(self.ends, End::Sender);
        let fit = values.len().min(self.capacity - state.items.len());
        let right = match answer {
            Answer::Sent(count) => {
                let count = usize::from(*count);
                after.items.extend(&values[..count]);
                open && (count == fit || self.loose && count < fit && count >= (*need).into())
            }
            Answer::NotReady => self.loose || open && fit < (*need).into(),
            Answer::Closed => state.ends.may_be_gone(self.ends, End::Sender),
            _ => false,
        };
        right.then_some(after)
    }

    fn receive(&self, state: &State, call: &Call) -> Option<State> {
        let What::Receive { max, need, .. } = call.what else { return None };
        let (_, answer) = call.returned.as_ref()?;
        let mut after = state.clone();
        let open = state.ends.may_be_there(self.ends, End::Receiver);
        let ready = state.items.len().min(max.into());
        let right = match answer {
            Answer::Received(items, again) => {
                let count = items.len();
                let fits = count == ready || self.loose && count < ready && count >= need.into();
                fits && after.items.drain(..count).eq(items.iter().copied()) && *again == 0
            }
            Answer::NotReady => self.loose || open && ready < need.into(),
            Answer::Closed => {
                state.ends.may_be_gone(self.ends, End::Receiver) && ready < need.into()
            }
            _ => false,
        };
        right.then_some(after)
    }
}

impl Specification for Fifo<'_> {
    type State = State;

    fn start(&self) -> State {
        State { items: Vec::new(), ends: Ends::new() }
    }

    fn steps(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        if self.loose && call.what == What::Close {
            let left = state.ends.leave(call, progress);
            next.extend(left.map(|(ends, progress)| (State { ends, ..state.clone() }, progress)));
            return;
        }
        let after = match call.what {
            What::Send { .. } => self.send(state, call),
            What::Receive { .. } => self.receive(state, call),
            What::Close => {
                let ends = state.ends.set(call.process, Presence::Left);
                answered(call, &Answer::Gone).then(|| State { ends, ..state.clone() })
            }
            What::Death => None,
        };
        next.extend(after.map(|after| (after, DONE)));
    }

    fn by_itself(&self, _: &State, _: &mut Vec<State>) {}
}
