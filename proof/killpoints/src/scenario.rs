//! What an operation is to the harness: an act, the world in which it takes place, and what is
//! special about it. The list is in [`operations`](crate::operations).

use ringpipe::Role;

use crate::act::Act::{self, *};
use crate::world::Books;

/// Something that happens before the victim comes.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// An end attaches that lives on beside the victim.
    Live(Role),
    /// So many values are sent: by a living sender, or by one that comes and goes.
    Send(usize),
    /// So many values are received: by a living receiver, or by one that comes and goes.
    Recv(usize),
    /// A living sender claims slots and keeps them.
    HoldWrite(usize),
    /// A living receiver claims items and keeps them.
    HoldRead(usize),
    /// A process is killed that had come to the act's first marker.
    Dead(Act),
    /// A process is killed that slept in the act.
    DeadAsleep(Act),
    /// A process is killed within the act, as soon as it has changed the region so many times.
    DeadWithin { act: Act, changes: usize, left: Left },
}

/// What one who was killed within an act has left: it is certain, as the moment is.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// It has published so many values; a living receiver takes them at once.
    pub published: usize,
    /// It has received so many for good...
    pub consumed: usize,
    /// ...and has claimed so many besides.
    pub held: usize,
}

/// Nothing of all that.
pub const NOTHING: Left = Left { published: 0, consumed: 0, held: 0 };

/// A ring beside the one that the scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Ends of it are attached, in the harness.
    Held,
    /// Nobody has it open.
    Orphan,
}

/// The kinds of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    Spsc,
    Mpmc,
    Bytes,
    SpscMessages,
    MpmcMessages,
}

/// An operation, and the world in which it takes place.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub ring: Ring,
    pub act: Act,
    pub script: &'static [Step],
    /// What wakes the victim; it may sleep only if this is something.
    pub on_sleep: Option<Step>,
    /// The ring discards what the dead had not released.
    pub drop_unreleased: bool,
    /// The ring discards what was delivered so often; 0: no matter.
    pub delivery_limit: u32,
    /// What the act claims is what the first of the dead, or of those who hold, had claimed.
    pub adopts: bool,
    /// The act gives up slots or clears away after the dead, and counts that after doing it.
    pub counts_late: bool,
    /// Before the act, everybody leaves the ring.
    pub orphaned: bool,
    /// What other rings there are.
    pub beside: &'static [Beside],
}

impl Scenario {
    /// How many values the act may itself have counted as handed out a second time.
    pub fn act_redelivers(&self) -> u64 {
        match self.act {
            GiveBackAndRecv { .. } | RecvTooSmall => 1,
            act if self.adopts => act.touches() as u64,
            _ => 0,
        }
    }

    /// Somebody has died who was clearing away after the dead.
    pub fn is_second_death(&self) -> bool {
        self.script.iter().any(|step| matches!(step, Step::DeadWithin { .. }))
    }

    /// The value has been delivered as often as the ring allows, before the victim came.
    pub fn exhausts(&self, books: &Books, n: usize) -> bool {
        self.delivery_limit > 0 && books.holders(n) >= self.delivery_limit
    }

    /// How often a value of the harness's may be said to have been delivered to receivers that are
    /// gone: at least and at most.
    pub fn redeliveries(&self, books: &Books, n: usize, stage: usize) -> (u32, u32) {
        let (holders, touched) = (books.holders(n), books.touched.contains(&n));
        let all_are_gone = !self.script.iter().any(|step| matches!(step, Step::HoldRead(_)));
        let least = if all_are_gone { holders } else { 0 };
        match self.act {
            // In place, the victim counts the item before it sees it.
            ReadAdopted { .. } if touched && stage >= 1 => (holders + 1, holders + 1),
            _ => (least, holders + u32::from(touched)),
        }
    }

    pub const fn woken_by(mut self, step: Step) -> Self {
        self.on_sleep = Some(step);
        self
    }

    pub const fn dropping(mut self) -> Self {
        self.drop_unreleased = true;
        self
    }

    pub const fn limited(mut self, deliveries: u32) -> Self {
        self.delivery_limit = deliveries;
        self
    }

    pub const fn adopting(mut self) -> Self {
        self.adopts = true;
        self
    }

    pub const fn orphaned(mut self) -> Self {
        self.orphaned = true;
        self
    }

    pub const fn beside(mut self, others: &'static [Beside]) -> Self {
        self.beside = others;
        self
    }

    pub const fn counting_late(mut self) -> Self {
        self.counts_late = true;
        self
    }
}

const fn scenario(name: &'static str, ring: Ring, act: Act, script: &'static [Step]) -> Scenario {
    Scenario {
        name,
        ring,
        act,
        script,
        on_sleep: None,
        drop_unreleased: false,
        delivery_limit: 0,
        adopts: false,
        counts_late: false,
        orphaned: false,
        beside: &[],
    }
}

pub const fn spsc(name: &'static str, act: Act, script: &'static [Step]) -> Scenario {
    scenario(name, Ring::Spsc, act, script)
}

pub const fn bytes(name: &'static str, act: Act, script: &'static [Step]) -> Scenario {
    scenario(name, Ring::Bytes, act, script)
}

/// On an SPSC ring of messages.
pub const fn message(name: &'static str, act: Act, script: &'static [Step]) -> Scenario {
    scenario(name, Ring::SpscMessages, act, script)
}

/// On an MPMC ring of messages.
pub const fn messages(name: &'static str, act: Act, script: &'static [Step]) -> Scenario {
    scenario(name, Ring::MpmcMessages, act, script)
}

pub const fn mpmc(name: &'static str, act: Act, script: &'static [Step]) -> Scenario {
    scenario(name, Ring::Mpmc, act, script)
}
