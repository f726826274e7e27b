//! The MPMC ring.
//!
//! Positions are handed out in order; each has a slot for a lap. What is indivisible:
//!
//! * *claim*: a send gets as many adjacent positions at the tail as it wants and there are free
//!   slots in a row. None, if fewer than it needs: `Full`.
//! * *publish*: its items become receivable one after the other, or, given up, become holes.
//! * *take*: a receive gets as many items at the head as it wants and are published in a row, holes
//!   passed over. None, if fewer than it needs: `Empty`, or `Closed` if also the senders are gone
//!   and nothing is claimed or orphaned.
//! * *free*: its slots become free one after the other. What it does not release it keeps, and
//!   receives again, first, alone and marked.
//!
//! After a death, what its sender had claimed and not published becomes holes, some time; what its
//! receiver had taken and not freed can be *adopted* by any receiver that has nothing, in adjacent
//! pieces, and is then received first, marked, and one item at a time.

use crate::history::{Answer, Call, End, History, SLOTS, Value, What};
use crate::search::{BEGUN, DONE, Progress, Specification};

use super::{Ends, Presence, answered, fits};

/// A receive that frees the holes it has passed over.
const PASSING: Progress = 1;
/// A send that publishes: plus the number of slots settled.
const PUBLISHING: Progress = 10;
/// A receive that frees: plus the number of items left to free.
const FREEING: Progress = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Free,
    Claimed {
        by: u8,
    },
    Published(Value),
    Hole,
    /// By a receiver; a hole if there is no item. `again`: it is delivered a second time if at all;
    /// `adopted`: from one that is gone.
    Taken {
        by: u8,
        item: Option<Value>,
        again: bool,
        adopted: bool,
    },
}

/// The ring between two steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    slots: [Slot; SLOTS],
    head: u16,
    tail: u16,
    ends: Ends,
    /// A receiver has left items behind, or died: end-of-file may be put off while that is settled.
    pending: bool,
}

/// What lies at the head in a row.
struct Row {
    slots: u16,
    items: u16,
    /// It ends at the tail.
    to_tail: bool,
}

/// The machine for one history's ring.
#[derive(Clone, Debug)]
pub struct Mpmc<'a> {
    capacity: u16,
    ends: &'a [End],
}

impl<'a> Mpmc<'a> {
    /// For the ring of a history.
    pub fn new(history: &'a History) -> Self {
        Self { capacity: history.capacity.into(), ends: &history.ends }
    }

    fn slot(&self, position: u16) -> usize {
        usize::from(position % self.capacity)
    }

    fn free_in_a_row(&self, state: &State, max: u16) -> u16 {
        let free = |&k: &u16| state.slots[self.slot(state.tail + k)] == Slot::Free;
        (0..max.min(self.capacity)).take_while(free).count() as u16
    }

    fn row(&self, state: &State, max: u16) -> Row {
        let (mut slots, mut items) = (0, 0);
        while items < max && state.head + slots < state.tail {
            match state.slots[self.slot(state.head + slots)] {
                Slot::Published(_) => items += 1,
                Slot::Hole => {}
                _ => break,
            }
            slots += 1;
        }
        Row { slots, items, to_tail: state.head + slots == state.tail }
    }

    /// Positions whose slots may be in use, in order.
    fn window(&self, state: &State) -> std::ops::Range<u16> {
        // Before the first lap nothing is in use; positions begin at the capacity.
        state.tail - self.capacity..state.tail
    }

    /// What `process` has taken, in order.
    fn taken(&self, state: &State, process: u8) -> Vec<(u16, Option<Value>)> {
        self.window(state)
            .filter_map(|at| match state.slots[self.slot(at)] {
                Slot::Taken { by, item, .. } if by == process => Some((at, item)),
                _ => None,
            })
            .collect()
    }

    fn send(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        let What::Send { values, need, commit } = &call.what else { return };
        let me = call.process;
        if progress >= PUBLISHING {
            let mine = |&at: &u16| state.slots[self.slot(at)] == Slot::Claimed { by: me };
            let Some(at) = self.window(state).find(mine) else { return };
            let settled = progress - PUBLISHING;
            let mut after = state.clone();
            after.slots[self.slot(at)] = match settled < *commit {
                true => Slot::Published(values[usize::from(settled)]),
                false => Slot::Hole,
            };
            let more = self.window(state).filter(mine).count() > 1;
            next.push((after, if more { progress + 1 } else { DONE }));
            return;
        }
        let free = self.free_in_a_row(state, values.len() as u16);
        let is_room = free >= u16::from(*need);
        let open = state.ends.are_open(self.ends, me);
        if is_room && open && fits(call, |answer| *answer == Answer::Sent(free as u8)) {
            let mut after = state.clone();
            for at in state.tail..state.tail + free {
                after.slots[self.slot(at)] = Slot::Claimed { by: me };
            }
            after.tail += free;
            next.push((after, PUBLISHING));
        }
        let refused = state.ends.refuse(self.ends, call, is_room);
        next.extend(refused.map(|ends| (State { ends, ..state.clone() }, DONE)));
    }

    fn receive(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        let mine = self.taken(state, call.process);
        match progress {
            BEGUN if mine.is_empty() => {
                self.adopt(state, call.process, next);
                self.take(state, call, next);
            }
            BEGUN => self.take_kept(state, call, &mine, next),
            PASSING => {
                let mut after = state.clone();
                after.slots[self.slot(mine[0].0)] = Slot::Free;
                next.push((after, if mine.len() > 1 { PASSING } else { BEGUN }));
            }
            _ => self.free(state, call.process, progress - FREEING, &mine, next),
        }
    }

    /// From the head, or nothing.
    fn take(&self, state: &State, call: &Call, next: &mut Vec<(State, u8)>) {
        let What::Receive { max, need, release } = call.what else { return };
        let row = self.row(state, max.into());
        let only_holes = row.slots > 0 && row.items == 0;
        if only_holes || row.items >= need.into() {
            let (mut after, mut items) = (state.clone(), Vec::new());
            for at in state.head..state.head + row.slots {
                let slot = &mut after.slots[self.slot(at)];
                let item = if let Slot::Published(value) = *slot { Some(value) } else { None };
                items.extend(item);
                *slot = Slot::Taken { by: call.process, item, again: false, adopted: false };
            }
            after.head += row.slots;
            if only_holes {
                next.push((after, PASSING));
            } else if fits(call, |answer| is_delivery(answer, &items, 0)) {
                self.delivered(after, call.process, release.min(row.items as u8), next);
            }
            return;
        }
        let Some((_, answer)) = &call.returned else { return };
        let ends = &state.ends;
        let split = row.slots == self.capacity;
        let explained = match *answer {
            Answer::Fragmented(items) => split && u16::from(items) == row.items,
            // There is a sender, or one has claimed the next position, or end-of-file is put off.
            Answer::NotReady => {
                let open = ends.may_be_there(self.ends, End::Receiver);
                !split && (open || !row.to_tail || state.pending)
            }
            Answer::Closed => {
                let gone = ends.may_be_gone(self.ends, End::Receiver);
                !split && gone && row.to_tail && !self.has_orphans(state)
            }
            _ => false,
        };
        if explained {
            next.push((state.clone(), DONE));
        }
    }

    /// What this receiver has kept or adopted.
    fn take_kept(
        &self,
        state: &State,
        call: &Call,
        mine: &[(u16, Option<Value>)],
        next: &mut Vec<(State, u8)>,
    ) {
        let What::Receive { max, need, release } = call.what else { return };
        let mut items: Vec<_> = mine.iter().filter_map(|&(_, item)| item).collect();
        let first = state.slots[self.slot(mine[0].0)];
        let most = if matches!(first, Slot::Taken { adopted: true, .. }) { 1 } else { max };
        if items.len() < need.into() || need > most {
            if answered(call, &Answer::Held(items.len() as u8)) {
                next.push((state.clone(), DONE));
            }
            return;
        }
        items.truncate(most.into());
        let delivered = items.len() as u8;
        if fits(call, |answer| is_delivery(answer, &items, delivered)) {
            self.delivered(state.clone(), call.process, release.min(delivered), next);
        }
    }

    fn delivered(&self, state: State, process: u8, release: u8, next: &mut Vec<(State, u8)>) {
        if release > 0 {
            next.push((state, FREEING + release));
        } else {
            next.push((self.keep(state, process), DONE));
        }
    }

    /// Frees the first of `mine`; `left`: items to be freed yet. A hole goes with what is before
    /// it.
    fn free(
        &self,
        state: &State,
        process: u8,
        left: u8,
        mine: &[(u16, Option<Value>)],
        next: &mut Vec<(State, u8)>,
    ) {
        let Some(&(at, item)) = mine.first().filter(|(_, item)| left > 0 || item.is_none()) else {
            next.push((self.keep(state.clone(), process), DONE));
            return;
        };
        let mut after = state.clone();
        after.slots[self.slot(at)] = Slot::Free;
        next.push((after, FREEING + left - u8::from(item.is_some())));
    }

    /// What is still taken will be delivered again.
    fn keep(&self, mut state: State, process: u8) -> State {
        for slot in &mut state.slots {
            if let Slot::Taken { by, again, .. } = slot
                && *by == process
            {
                *again = true;
            }
        }
        state
    }

    /// Any adjacent slots of one that is gone, as long as there is an item among them.
    fn adopt(&self, state: &State, adopter: u8, next: &mut Vec<(State, u8)>) {
        for (gone, presence) in state.ends.presence.iter().enumerate() {
            if *presence == Presence::Open || gone == usize::from(adopter) {
                continue;
            }
            let left = self.taken(state, gone as u8);
            for first in 0..left.len() {
                let (mut after, mut items) = (state.clone(), 0);
                for (k, &(at, item)) in left[first..].iter().enumerate() {
                    if at != left[first].0 + k as u16 {
                        break;
                    }
                    after.slots[self.slot(at)] =
                        Slot::Taken { by: adopter, item, again: true, adopted: true };
                    items += usize::from(item.is_some());
                    if items > 0 {
                        next.push((after.clone(), BEGUN));
                    }
                }
            }
        }
    }

    /// Items of one that is gone and that nobody has adopted.
    fn has_orphans(&self, state: &State) -> bool {
        state.slots.iter().any(|slot| match slot {
            Slot::Taken { by, item: Some(_), .. } => {
                matches!(state.ends.presence[usize::from(*by)], Presence::Left | Presence::Dead)
            }
            _ => false,
        })
    }
}

/// The answer delivers exactly `items`, and says of the first `again` that they come again.
fn is_delivery(answer: &Answer, items: &[Value], again: u8) -> bool {
    matches!(answer, Answer::Received(got, said) if got == items && *said == again)
}

impl Specification for Mpmc<'_> {
    type State = State;

    fn start(&self) -> State {
        let at = self.capacity; // the first position: see `window`
        let slots = [Slot::Free; SLOTS];
        State { slots, head: at, tail: at, ends: Ends::new(), pending: false }
    }

    fn steps(&self, state: &State, call: &Call, progress: Progress, next: &mut Vec<(State, u8)>) {
        if state.ends.is_dead(call.process) {
            return;
        }
        match call.what {
            What::Send { .. } => self.send(state, call, progress, next),
            What::Receive { .. } => self.receive(state, call, progress, next),
            What::Close | What::Death => {
                let Some((ends, progress)) = state.ends.leave(call, progress) else { return };
                let leaves_items = !self.taken(state, call.process).is_empty();
                let pending = state.pending || leaves_items || call.what == What::Death;
                next.push((State { ends, pending, ..state.clone() }, progress));
            }
        }
    }

    fn by_itself(&self, state: &State, next: &mut Vec<State>) {
        for (index, slot) in state.slots.iter().enumerate() {
            let settled = match *slot {
                Slot::Claimed { by } if state.ends.is_dead(by) => Slot::Hole,
                Slot::Taken { by, item: None, .. } if state.ends.is_dead(by) => Slot::Free,
                _ => continue,
            };
            let mut after = state.clone();
            after.slots[index] = settled;
            next.push(after);
        }
    }
}
