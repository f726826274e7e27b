//! The specifications: what users of a ring may rely on, as machines for the
//! [search](crate::search).
//!
//! * [`fifo`]: the textbook's bounded FIFO. Every call takes effect at one moment.
//! * [`mpmc`] and [`spsc`]: the rings as they are. A send is two steps, it *claims* its place in
//!   the line and then *publishes*; a receive is two steps, it *takes* and then *frees*. They
//!   differ from the textbook only in what may be answered between the two steps of somebody else's
//!   call.
//!
//! The README of this crate says in words which answers that makes possible, and why.

pub mod fifo;
pub mod mpmc;
pub mod spsc;

use crate::history::{Answer, Call, End, PROCESSES, What};
use crate::search::{BEGUN, DONE, Progress};

/// Whether an end is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Presence {
    Open,
    /// Its close has begun: some see it gone already, others do not yet.
    Leaving,
    Left,
    /// Killed: some have noticed, others have not.
    Dead,
}

/// Which ends are there, and who knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    presence: [Presence; PROCESSES],
    /// A bit for every sender that was told of the broken pipe: it is told nothing else any more.
    told: u8,
}

impl Ends {
    fn new() -> Self {
        Self { presence: [Presence::Open; PROCESSES], told: 0 }
    }

    /// All opposite ends of `end` can be found gone.
    fn may_be_gone(&self, ends: &[End], end: End) -> bool {
        self.opposite(ends, end).all(|presence| presence != Presence::Open)
    }

    /// Some opposite end of `end` can be found there.
    fn may_be_there(&self, ends: &[End], end: End) -> bool {
        self.opposite(ends, end).any(|presence| presence != Presence::Left)
    }

    fn opposite(&self, ends: &[End], end: End) -> impl Iterator<Item = Presence> {
        let opposite = if end == End::Sender { End::Receiver } else { End::Sender };
        ends.iter()
            .zip(self.presence)
            .filter_map(move |(&end, presence)| (end == opposite).then_some(presence))
    }

    fn is_dead(&self, process: u8) -> bool {
        self.presence[usize::from(process)] == Presence::Dead
    }

    /// A send may find somebody to send to.
    fn are_open(&self, ends: &[End], sender: u8) -> bool {
        let knows_broken_pipe = self.told & (1 << sender) != 0;
        !knows_broken_pipe && self.may_be_there(ends, End::Sender)
    }

    /// The step of a send that comes to nothing, if its answer says so: for want of room if there
    /// is too little, or because nobody would receive it.
    fn refuse(&self, ends: &[End], call: &Call, is_room: bool) -> Option<Self> {
        let mut after = *self;
        if answered(call, &Answer::Closed) {
            after.told |= 1 << call.process;
            return self.may_be_gone(ends, End::Sender).then_some(after);
        }
        let full = answered(call, &Answer::NotReady) && !is_room;
        (full && self.are_open(ends, call.process)).then_some(after)
    }

    fn set(mut self, process: u8, presence: Presence) -> Self {
        self.presence[usize::from(process)] = presence;
        self
    }

    /// The steps of a close or a death.
    fn leave(&self, call: &Call, progress: Progress) -> Option<(Self, Progress)> {
        let now = self.presence[usize::from(call.process)];
        match (&call.what, progress) {
            (What::Death, _) if now == Presence::Left => Some((*self, DONE)),
            (What::Death, _) => Some((self.set(call.process, Presence::Dead), DONE)),
            (What::Close, BEGUN) => Some((self.set(call.process, Presence::Leaving), 1)),
            (What::Close, _) => Some((self.set(call.process, Presence::Left), DONE)),
            _ => None,
        }
    }
}

/// The answer, if there was one, is as `fits` says. A call that died may have come to anything.
fn fits(call: &Call, fits: impl FnOnce(&Answer) -> bool) -> bool {
    call.returned.as_ref().is_none_or(|(_, answer)| fits(answer))
}

/// The call was answered so.
fn answered(call: &Call, with: &Answer) -> bool {
    call.returned.as_ref().is_some_and(|(_, answer)| answer == with)
}
