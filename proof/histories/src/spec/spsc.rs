//! The SPSC ring.
//!
//! Sender and receiver each have one position, which they move in one step, so a slice or a run is
//! published, and freed, in one piece. What a call gets is decided when it looks at the other's
//! position, before that. Nothing that was given up leaves a trace. A receiver's successor receives
//! again what was handed out and not freed, marked and one item at a time.

use crate::history::{Answer, Call, End, History, SLOTS, Value, What};
use crate::search::{DONE, Progress, Specification};

use super::{Ends, answered, fits};

/// A call that has looked: plus how many slots it will publish or free.
const LOOKED: Progress = 10;

/// The ring between two steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What was last written into each slot.
    values: [Value; SLOTS],
    head: u16,
    tail: u16,
    /// Everything before it was handed to a receiver at some time.
    handed_out: u16,
    /// Who received last, and what had been handed to others before it came.
    receiver: Option<u8>,
    adopted: u16,
    ends: Ends,
}

/// The machine for one history's ring.
#[derive(Clone, Debug)]
pub struct Spsc<'a> {
    capacity: u16,
    ends: &'a [End],
}

impl<'a> Spsc<'a> {
    /// For the ring of a history.
    pub fn new(history: &'a History) -> Self {
        Self { capacity: history.capacity.into(), ends: &history.ends }
    }

    fn slot(&self, position: u16) -> usize {
        usize::from(position % self.capacity)
    }

    fn send(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        let What::Send { values, need, commit } = &call.what else { return };
        if progress >= LOOKED {
            let mut after = state.clone();
            let count = u16::from(progress - LOOKED);
            for (at, &value) in (state.tail..state.tail + count).zip(values) {
                after.values[self.slot(at)] = value;
            }
            after.tail += count;
            next.push((after, DONE));
            return;
        }
        let free = (self.capacity - (state.tail - state.head)).min(values.len() as u16);
        let is_room = free >= u16::from(*need);
        let open = state.ends.are_open(self.ends, call.process);
        if is_room && open && fits(call, |answer| *answer == Answer::Sent(free as u8)) {
            next.push((state.clone(), LOOKED + (*commit).min(free as u8)));
        }
        let refused = state.ends.refuse(self.ends, call, is_room);
        next.extend(refused.map(|ends| (State { ends, ..state.clone() }, DONE)));
    }

    fn receive(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        let What::Receive { max, need, release } = call.what else { return };
        let mut after = state.clone();
        if progress >= LOOKED {
            after.head += u16::from(progress - LOOKED);
            next.push((after, DONE));
            return;
        }
        if after.receiver.replace(call.process) != Some(call.process) {
            after.adopted = state.handed_out;
        }
        let adopted = after.adopted.saturating_sub(state.head);
        let max = if adopted > 0 { 1 } else { max };
        if need > max {
            if answered(call, &Answer::Held(adopted as u8)) {
                next.push((after, DONE));
            }
            return;
        }
        let count = (state.tail - state.head).min(max.into());
        if count >= need.into() {
            let end = state.head + count;
            let items: Vec<_> = (state.head..end).map(|at| state.values[self.slot(at)]).collect();
            let again = (state.handed_out - state.head).min(count) as u8;
            after.handed_out = state.handed_out.max(end);
            let same = |answer: &Answer| matches!(answer, Answer::Received(got, said) if *got == items && *said == again);
            if fits(call, same) {
                next.push((after, LOOKED + release.min(count as u8)));
            }
            return;
        }
        let open = state.ends.may_be_there(self.ends, End::Receiver);
        let gone = state.ends.may_be_gone(self.ends, End::Receiver);
        if (open && answered(call, &Answer::NotReady)) || (gone && answered(call, &Answer::Closed))
        {
            next.push((after, DONE));
        }
    }
}

impl Specification for Spsc<'_> {
    type State = State;

    fn start(&self) -> State {
        let values = [0; SLOTS];
        let ends = Ends::new();
        State { values, head: 0, tail: 0, handed_out: 0, receiver: None, adopted: 0, ends }
    }

    fn steps(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        if state.ends.is_dead(call.process) {
            return;
        }
        match call.what {
            What::Send { .. } => self.send(state, call, progress, next),
            What::Receive { .. } => self.receive(state, call, progress, next),
            What::Close | What::Death => {
                if let Some((ends, progress)) = state.ends.leave(call, progress) {
                    next.push((State { ends, ..state.clone() }, progress));
                }
            }
        }
    }

    fn by_itself(&self, _: &State, _: &mut Vec<State>) {}
}
