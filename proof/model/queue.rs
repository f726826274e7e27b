//! What the documentation says of a ring, as a queue of slots in one thread.

#[path = "queue/deliveries.rs"]
mod deliveries;
#[path = "queue/flow.rs"]
mod flow;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// How many ends of a role there are room for here: two that a play drives, and those that a pool
/// makes of one of them.
pub const ENDS: usize = 4;

/// What is in a slot that is not free.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What<T> {
    Item(T),
    /// Claimed and given up.
    Hole,
    /// Claimed by a forgotten run; its sender's next claim gives it up.
    Claimed(usize),
}

/// Whose a slot is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    /// In the ring, for whichever receiver comes first.
    Nobody,
    Receiver(usize),
    /// Left by a receiver that closed.
    Estate,
    /// Released, behind one that is not: its sender's turn comes after that one's.
    Freed,
}

/// An end that is attached.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// A missing opposite end means that it has gone.
    met: bool,
    pub cancelled: bool,
    /// What it holds was another receiver's.
    adopted: bool,
    /// And so is its record: it need not put off the end-of-file.
    by_record: bool,
    /// It was refused the end-of-file, and the endpoint table has not changed since.
    put_off: bool,
    /// The adopted item that it was shown.
    counted: Option<u64>,
}

/// What the documentation says.
#[derive(Clone, Debug)]
pub struct Model<T> {
    stamped: bool,
    drop_unreleased: bool,
    delivery_limit: u32,
    pub capacity: usize,
    endpoints: usize,
    /// From the oldest position that is not free to the newest that is claimed.
    slots: VecDeque<(What<T>, Owner)>,
    /// What is written in each slot, by whatever claim.
    memory: Vec<T>,
    pub senders: [Option<End>; ENDS],
    pub receivers: [Option<End>; ENDS],
    /// Records that receivers have left: each stays taken until all its positions are released.
    abandoned: Vec<Range<u64>>,
    pub arrivals: (u64, u64),
    /// For so many senders' arrivals a receiver was told of the end-of-file.
    ended: u64,
    /// What a receiver was just refused is the end-of-file, or may be: whether nothing was left.
    closing: Option<bool>,
    /// Positions ever claimed.
    pub sent: u64,
    pub received: u64,
    pub skipped: u64,
    pub redelivered: u64,
    pub dropped: u64,
    pub exhausted: u64,
    /// SPSC: how many items, the first that are not released, were handed out before.
    shown: usize,
    /// SPSC: how many of those, by a predecessor.
    alone: usize,
    /// Of each adopted item that was shown, by position: what was said of it.
    told: BTreeMap<u64, u32>,
    /// How many of those claimed last were handed out before.
    pub again: usize,
    /// How often the first of them was, to receivers that are gone.
    pub redeliveries: u32,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotReady,
    Timeout,
    Cancelled,
    Closed,
    /// `Closed`, or not yet: another receiver has put off the end-of-file, and since released what
    /// it had adopted. Who was told so before learns of it within a slice.
    Late,
    TooLong(usize, usize),
    /// Holes split a full ring: so many items are all that will ever be adjacent.
    Fragmented(usize),
    /// It holds so many items, which come first and alone.
    Held(usize),
}

fn attached(ends: &[Option<End>; ENDS]) -> usize {
    ends.iter().flatten().count()
}

impl<T: Copy + PartialEq> Model<T> {
    pub fn new(
        stamped: bool,
        capacity: usize,
        endpoints: usize,
        drop_unreleased: bool,
        delivery_limit: u32,
        zero: T,
    ) -> Self {
        Self {
            stamped,
            drop_unreleased,
            delivery_limit,
            capacity,
            endpoints: if stamped { endpoints } else { 2 },
            slots: VecDeque::new(),
            memory: vec![zero; capacity],
            senders: [None; ENDS],
            receivers: [None; ENDS],
            abandoned: Vec::new(),
            arrivals: (0, 0),
            ended: 0,
            closing: None,
            sent: 0,
            received: 0,
            skipped: 0,
            redelivered: 0,
            dropped: 0,
            exhausted: 0,
            shown: 0,
            alone: 0,
            told: BTreeMap::new(),
            again: 0,
            redeliveries: 0,
        }
    }

    /// Slots that no receiver has claimed; of an SPSC ring, that none has released.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.1 == Owner::Nobody).count()
    }

    /// A sender finds no slot.
    pub fn no_free_slot(&self) -> bool {
        self.slots.len() == self.capacity
    }

    pub fn peers(&self) -> (usize, usize) {
        (attached(&self.senders), attached(&self.receivers))
    }

    /// There is one more record. What is discarded frees its record.
    fn has_record(&mut self) -> bool {
        let ends = attached(&self.senders) + attached(&self.receivers);
        if ends + self.pending() >= self.endpoints {
            match self.drop_unreleased {
                true => self.discard_abandoned_claim(),
                false => self.drop_exhausted(),
            }
        }
        ends + self.pending() < self.endpoints
    }

    /// Records of receivers that are gone, and of whose positions some are not released.
    fn pending(&self) -> usize {
        let first = self.sent - self.slots.len() as u64;
        let unreleased =
            |at: u64| at >= first && self.slots[(at - first) as usize].1 != Owner::Freed;
        self.abandoned.iter().filter(|claim| (*claim).clone().any(unreleased)).count()
    }

    /// Whether there is room for it. `original`: of which it is a clone.
    pub fn sender_attaches(&mut self, who: usize, original: Option<usize>) -> bool {
        let room = if self.stamped { self.has_record() } else { attached(&self.senders) == 0 };
        if room {
            let knows = original.and_then(|original| self.senders[original]);
            let met = attached(&self.receivers) > 0 || knows.is_some_and(|end| end.met);
            self.senders[who] = Some(End { met, ..End::default() });
            self.receivers.iter_mut().flatten().for_each(|end| end.met = true);
            self.arrivals.0 += 1;
            self.table_changes();
        }
        room
    }

    /// Whether there is room for it, be it in the place of one that has left items behind.
    /// `original`: of which it is a clone.
    pub fn receiver_attaches(&mut self, who: usize, original: Option<usize>) -> bool {
        let room = if self.stamped { self.has_record() } else { attached(&self.receivers) == 0 };
        let succeeds = self.stamped && !room && self.has_abandoned_claim();
        if room || succeeds {
            let knows = original.and_then(|original| self.receivers[original]);
            let untold = attached(&self.senders) > 0 || self.arrivals.0 > self.ended;
            let met = untold || knows.is_some_and(|end| end.met);
            self.table_changes();
            self.receivers[who] = Some(End { met, ..End::default() });
            self.senders.iter_mut().flatten().for_each(|end| end.met = true);
            self.arrivals.1 += 1;
        }
        if succeeds {
            let pending = self.abandoned.len() - 1; // whichever: all that are not settled are alike
            self.abandoned.truncate(pending);
            self.adopt(who);
            self.receivers[who].iter_mut().for_each(|end| end.by_record = true);
        }
        if !self.stamped && room {
            self.succeeds();
        }
        room || succeeds
    }

    fn table_changes(&mut self) {
        for end in self.receivers.iter_mut().flatten() {
            end.put_off = false;
        }
    }

    /// This sender has forgotten a run.
    pub fn forgot(&self, who: usize) -> bool {
        self.slots.iter().any(|(what, _)| matches!(what, What::Claimed(by) if *by == who))
    }

    fn give_up_forgotten(&mut self, who: usize) {
        for (what, _) in &mut self.slots {
            if matches!(what, What::Claimed(by) if *by == who) {
                *what = What::Hole;
                self.skipped += 1;
            }
        }
    }

    pub fn sender_closes(&mut self, who: usize) {
        self.give_up_forgotten(who);
        self.senders[who] = None;
        self.table_changes();
    }

    /// What it holds stays claimed, for its successor or another.
    pub fn receiver_closes(&mut self, who: usize) {
        let first = self.sent - self.slots.len() as u64;
        let mut left: Option<Range<u64>> = None;
        for (at, slot) in (first..).zip(&mut self.slots) {
            if slot.1 == Owner::Receiver(who) {
                slot.1 = Owner::Estate;
                left = Some(left.map_or(at, |left| left.start)..at + 1);
            }
        }
        self.abandoned.extend(left);
        self.receivers[who] = None;
        self.table_changes();
    }

    /// Some receiver has left items that no other has taken over.
    pub fn has_abandoned_claim(&self) -> bool {
        self.slots.iter().any(|slot| slot.1 == Owner::Estate)
    }

    fn adopt(&mut self, who: usize) {
        for slot in &mut self.slots {
            if slot.1 == Owner::Estate {
                slot.1 = Owner::Receiver(who);
            }
        }
        if let Some(adopter) = &mut self.receivers[who] {
            adopter.adopted = true;
        }
    }

    fn discard_abandoned_claim(&mut self) {
        for (what, owner) in &mut self.slots {
            if *owner == Owner::Estate {
                *owner = Owner::Freed;
                self.dropped += u64::from(*what != What::Hole);
            }
        }
        self.pop_freed();
    }

    fn pop_freed(&mut self) {
        while matches!(self.slots.front(), Some((_, Owner::Freed))) {
            self.slots.pop_front();
        }
    }

    /// The end-of-file that a receiver was just told of, if it was: `told`. Whoever attaches from
    /// now on waits for the next sender, unless there were items left.
    pub fn told_closed(&mut self, told: bool) {
        if self.closing.take() == Some(true) && told {
            self.ended = self.arrivals.0;
        }
    }

    /// This sender was not alone before, and has no receiver now.
    pub fn sender_gone(&self, who: usize) -> bool {
        self.senders[who].is_some_and(|end| end.met) && attached(&self.receivers) == 0
    }

    /// This receiver was not alone before, and has no sender now.
    pub fn receiver_gone(&self, who: usize) -> bool {
        self.receivers[who].is_some_and(|end| end.met) && attached(&self.senders) == 0
    }

    /// From now on it was not alone.
    pub fn requires_peer(end: &mut Option<End>) {
        end.iter_mut().for_each(|end| end.met = true);
    }
}
