//! What the documentation says of a ring, as a queue of slots in one thread.

use std::collections::VecDeque;
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
    inherited: bool,
    /// And so is its seat.
    by_seat: bool,
    /// It was refused the end-of-file, and the roster has not changed since.
    put_off: bool,
    /// There was no sender when it attached, and the roster has not changed since.
    alone: bool,
}

/// What the documentation says.
#[derive(Clone, Debug)]
pub struct Model<T> {
    stamped: bool,
    drop_unreleased: bool,
    pub capacity: usize,
    endpoints: usize,
    /// From the oldest position that is not free to the newest that is claimed.
    slots: VecDeque<(What<T>, Owner)>,
    /// What is written in each slot, by whatever claim.
    memory: Vec<T>,
    pub senders: [Option<End>; ENDS],
    pub receivers: [Option<End>; ENDS],
    /// Records that receivers have left: each stays taken until all its positions are released.
    estates: Vec<Range<u64>>,
    pub arrivals: (u64, u64),
    /// Positions ever claimed.
    pub sent: u64,
    pub received: u64,
    pub skipped: u64,
    pub redelivered: u64,
    pub dropped: u64,
    /// SPSC: how many items, the first that are not released, were handed out before.
    shown: usize,
    /// How many of those claimed last were.
    pub again: usize,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotReady,
    Timeout,
    Cancelled,
    Closed,
    /// `Closed`, or not yet: another receiver has put off the end-of-file, and since released what
    /// it had inherited. Who was told so before learns of it within a slice.
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
        zero: T,
    ) -> Self {
        Self {
            stamped,
            drop_unreleased,
            capacity,
            endpoints: if stamped { endpoints } else { 2 },
            slots: VecDeque::new(),
            memory: vec![zero; capacity],
            senders: [None; ENDS],
            receivers: [None; ENDS],
            estates: Vec::new(),
            arrivals: (0, 0),
            sent: 0,
            received: 0,
            skipped: 0,
            redelivered: 0,
            dropped: 0,
            shown: 0,
            again: 0,
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
        if ends + self.unsettled() >= self.endpoints && self.drop_unreleased {
            self.discard_estate();
        }
        ends + self.unsettled() < self.endpoints
    }

    /// Records of receivers that are gone, and of whose positions some are not released.
    fn unsettled(&self) -> usize {
        let first = self.sent - self.slots.len() as u64;
        let unreleased =
            |at: u64| at >= first && self.slots[(at - first) as usize].1 != Owner::Freed;
        self.estates.iter().filter(|estate| (*estate).clone().any(unreleased)).count()
    }

    /// Whether there is room for it.
    pub fn sender_attaches(&mut self, who: usize) -> bool {
        let room = if self.stamped { self.has_record() } else { attached(&self.senders) == 0 };
        if room {
            let met = attached(&self.receivers) > 0;
            self.senders[who] = Some(End { met, ..End::default() });
            self.receivers.iter_mut().flatten().for_each(|end| end.met = true);
            self.arrivals.0 += 1;
            self.roster_changes();
        }
        room
    }

    /// Whether there is room for it, be it in the place of one that has left items behind.
    pub fn receiver_attaches(&mut self, who: usize) -> bool {
        let room = if self.stamped { self.has_record() } else { attached(&self.receivers) == 0 };
        let succeeds = self.stamped && !room && self.has_estate();
        if room || succeeds {
            let met = attached(&self.senders) > 0;
            self.roster_changes();
            self.receivers[who] = Some(End { met, alone: !met, ..End::default() });
            self.senders.iter_mut().flatten().for_each(|end| end.met = true);
            self.arrivals.1 += 1;
        }
        if succeeds {
            let unsettled = self.estates.len() - 1; // whichever: all that are not settled are alike
            self.estates.truncate(unsettled);
            self.inherit(who);
            self.receivers[who].iter_mut().for_each(|end| end.by_seat = true);
        }
        if !self.stamped && room && self.drop_unreleased {
            self.dropped += self.shown as u64;
            self.received += self.shown as u64;
            self.slots.drain(..std::mem::take(&mut self.shown));
        }
        room || succeeds
    }

    fn roster_changes(&mut self) {
        for end in self.receivers.iter_mut().flatten() {
            (end.put_off, end.alone) = (false, false);
        }
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
        self.roster_changes();
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
        self.estates.extend(left);
        self.receivers[who] = None;
        self.roster_changes();
    }

    /// Some receiver has left items that no other has taken over.
    pub fn has_estate(&self) -> bool {
        self.slots.iter().any(|slot| slot.1 == Owner::Estate)
    }

    /// Two gaps between the documentation and the ring (`gaps`), left out of the play. A receiver
    /// that attaches while there is no sender takes nothing over until the roster changes, or a slice
    /// has passed. One that inherited together with the seat does not put off the end-of-file.
    pub fn is_in_a_gap(&self, who: usize) -> bool {
        let overlooks = self.receivers[who].is_some_and(|end| end.alone && !end.met);
        let not_put_off = |heir: usize| {
            let by_seat = self.receivers[heir].is_some_and(|end| end.inherited && end.by_seat);
            heir != who && by_seat && self.receiver_gone(who)
        };
        self.stamped && (overlooks && self.has_estate() || (0..ENDS).any(not_put_off))
    }

    fn inherit(&mut self, who: usize) {
        for slot in &mut self.slots {
            if slot.1 == Owner::Estate {
                slot.1 = Owner::Receiver(who);
            }
        }
        if let Some(heir) = &mut self.receivers[who] {
            heir.inherited = true;
        }
    }

    fn discard_estate(&mut self) {
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

    /// How many slots a sender gets.
    pub fn claim_write(&mut self, who: usize, need: usize, max: usize) -> Result<usize, Refused> {
        if self.sender_gone(who) {
            return Err(Refused::Closed);
        }
        self.give_up_forgotten(who);
        match self.capacity - self.slots.len() {
            free if free < need => Err(Refused::NotReady),
            free => Ok(free.min(max)),
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

    /// A run was claimed and some of its slots written; the first `count` are published.
    pub fn written(&mut self, who: usize, values: &[Option<T>], count: usize, forgotten: bool) {
        for (at, value) in (self.sent..).zip(values) {
            let slot = at as usize % self.capacity;
            self.memory[slot] = value.unwrap_or(self.memory[slot]);
        }
        for index in 0..values.len() {
            let what = match index < count {
                true => What::Item(self.memory[self.sent as usize % self.capacity]),
                false if !self.stamped => break,
                false if forgotten => What::Claimed(who),
                false => What::Hole,
            };
            self.skipped += u64::from(what == What::Hole);
            self.slots.push_back((what, Owner::Nobody));
            self.sent += 1;
        }
    }

    fn held(&self, who: usize) -> Vec<T> {
        let held = self.slots.iter().filter(|slot| slot.1 == Owner::Receiver(who));
        held.filter_map(|&(what, _)| if let What::Item(value) = what { Some(value) } else { None })
            .collect()
    }

    /// It has items claimed and not released.
    pub fn holds(&self, who: usize) -> bool {
        !self.held(who).is_empty()
    }

    /// The items that a receiver gets to see.
    pub fn claim_read(&mut self, who: usize, need: usize, max: usize) -> Result<Vec<T>, Refused> {
        let held = self.holds(who);
        if !held {
            self.hold(who, need, max)?;
        }
        let items = self.held(who);
        if !self.stamped {
            // A claim is private, and made anew each time.
            self.slots.iter_mut().for_each(|slot| slot.1 = Owner::Nobody);
            self.again = self.shown.min(items.len());
            self.shown = self.shown.max(items.len());
            return Ok(items);
        }
        let inherited = self.receivers[who].is_some_and(|end| end.inherited);
        self.again = if held || inherited { items.len() } else { 0 };
        if items.len() < need { Err(Refused::Held(items.len())) } else { Ok(items) }
    }

    /// Claims what comes next in the ring; or, if that is too little, what another has left.
    fn hold(&mut self, who: usize, need: usize, max: usize) -> Result<(), Refused> {
        loop {
            let head = self.slots.len() - self.len();
            let (mut slots, mut items) = (0, 0);
            for (what, _) in self.slots.iter().skip(head) {
                if items == max || matches!(what, What::Claimed(_)) {
                    break;
                }
                slots += 1;
                items += usize::from(*what != What::Hole);
            }
            let mine = self.slots.iter_mut().skip(head).take(slots);
            if slots > 0 && items == 0 {
                mine.for_each(|slot| slot.1 = Owner::Freed); // holes alone are passed over
                self.pop_freed();
                self.received += slots as u64;
                continue;
            }
            if items >= need {
                mine.for_each(|slot| slot.1 = Owner::Receiver(who));
                self.received += if self.stamped { slots as u64 } else { 0 };
                return Ok(());
            }
            if slots == self.capacity {
                return Err(Refused::Fragmented(items));
            }
            break;
        }
        if self.has_estate() && !self.drop_unreleased {
            self.inherit(who);
            return Ok(());
        }
        self.discard_estate();
        if !self.receiver_gone(who) {
            return Err(Refused::NotReady);
        }
        // Should an heir go, too, there will be items again.
        let unsure = (0..ENDS)
            .any(|heir| self.receivers[heir].is_some_and(|end| end.inherited) && self.holds(heir));
        let put_off = self.receivers[who].as_mut().map(|end| &mut end.put_off);
        match put_off {
            Some(put_off) if unsure => {
                *put_off = true;
                Err(Refused::NotReady)
            }
            Some(true) => Err(Refused::Late),
            _ => Err(Refused::Closed),
        }
    }

    /// The first `count` of the items claimed last are released.
    pub fn release(&mut self, who: usize, count: usize) {
        self.redelivered += self.again.min(count) as u64;
        if !self.stamped {
            self.shown -= count;
            self.slots.drain(..count);
            self.received += count as u64;
            return;
        }
        if count == 0 {
            return; // holes before the first item stay too, until something is released
        }
        let mut left = count;
        for (what, owner) in self.slots.iter_mut().filter(|slot| slot.1 == Owner::Receiver(who)) {
            if *what != What::Hole && left == 0 {
                break;
            }
            left -= usize::from(*what != What::Hole);
            *owner = Owner::Freed;
        }
        self.pop_freed();
        if !self.holds(who)
            && let Some(end) = &mut self.receivers[who]
        {
            end.inherited = false;
        }
    }
}
