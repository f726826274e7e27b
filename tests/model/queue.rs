//! What the documentation says of a ring, as a queue of slots in one thread.

use std::collections::VecDeque;

/// A slot that is not free.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Item(u64),
    /// Claimed and given up.
    Hole,
    /// Claimed by a forgotten run; its sender's next claim gives it up.
    Claimed,
}

/// What the documentation says.
#[derive(Debug)]
pub struct Model {
    stamped: bool,
    pub capacity: usize,
    /// From the oldest position that is not free to the newest that is claimed.
    slots: VecDeque<Slot>,
    /// Of these, how many the receiver holds, holes included, and how many items are among them.
    pub held: (usize, usize),
    /// Which ends there are; if so, whether a missing opposite end means that it has gone.
    sender: Option<bool>,
    receiver: Option<bool>,
    pub sent: u64,
    pub received: u64,
    pub skipped: u64,
    pub redelivered: u64,
    /// How many items, the first that are not released, were handed out before.
    shown: usize,
    /// How many of those claimed last were.
    pub again: usize,
}

/// Why nothing was claimed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refused {
    NotReady,
    Closed,
    /// Holes split a full ring: so many items are all that will ever be adjacent.
    Fragmented(usize),
}

impl Model {
    pub fn new(stamped: bool, capacity: usize) -> Self {
        Self {
            stamped,
            capacity,
            slots: VecDeque::new(),
            held: (0, 0),
            sender: None,
            receiver: None,
            sent: 0,
            received: 0,
            skipped: 0,
            redelivered: 0,
            shown: 0,
            again: 0,
        }
    }

    /// Items of an SPSC ring are counted until they are released, of an MPMC ring until claimed.
    pub fn len(&self) -> usize {
        self.slots.len() - self.held.0
    }

    pub fn sender_attaches(&mut self) {
        self.sender = Some(self.receiver.is_some());
        self.receiver = self.receiver.map(|_| true);
    }

    pub fn receiver_attaches(&mut self) {
        self.receiver = Some(self.sender.is_some());
        self.sender = self.sender.map(|_| true);
    }

    fn give_up_forgotten(&mut self) {
        for slot in &mut self.slots {
            if *slot == Slot::Claimed {
                *slot = Slot::Hole;
                self.skipped += 1;
            }
        }
    }

    pub fn sender_closes(&mut self) {
        self.give_up_forgotten();
        self.sender = None;
    }

    /// What it holds stays claimed, for its successor.
    pub fn receiver_closes(&mut self) {
        self.receiver = None;
    }

    /// A ring of two records has no place for another pair of ends beside what a receiver has left
    /// behind: its successor must take its seat. So while that is empty, the sender stays.
    pub fn has_estate(&self) -> bool {
        self.receiver.is_none() && self.held.0 > 0
    }

    /// How many slots a sender gets.
    pub fn claim_write(&mut self, need: usize, max: usize) -> Result<usize, Refused> {
        if self.receiver.is_none() && self.sender == Some(true) {
            return Err(Refused::Closed);
        }
        self.give_up_forgotten();
        match self.capacity - self.slots.len() {
            free if free < need => Err(Refused::NotReady),
            free => Ok(free.min(max)),
        }
    }

    /// A run was claimed, of which `values` are published.
    pub fn written(&mut self, values: &[u64], claimed: usize, forgotten: bool) {
        self.slots.extend(values.iter().map(|&v| Slot::Item(v)));
        let rest = claimed - values.len();
        self.sent += values.len() as u64;
        if self.stamped {
            let left = if forgotten { Slot::Claimed } else { Slot::Hole };
            self.slots.extend(std::iter::repeat_n(left, rest));
            self.sent += rest as u64;
            self.skipped += if forgotten { 0 } else { rest as u64 };
        }
    }

    /// The items that a receiver gets to see.
    pub fn claim_read(&mut self, need: usize, max: usize) -> Result<Vec<u64>, Refused> {
        if self.held.0 == 0 {
            self.hold(need, max)?;
        }
        let held = self.slots.iter().take(self.held.0);
        let items: Vec<u64> = held
            .filter_map(|slot| match slot {
                Slot::Item(value) => Some(*value),
                _ => None,
            })
            .collect();
        assert_eq!(items.len(), self.held.1);
        self.again = self.shown.min(items.len());
        self.shown = self.shown.max(items.len());
        if !self.stamped {
            self.held = (0, 0); // a claim is private, and made anew each time
        }
        Ok(items)
    }

    fn hold(&mut self, need: usize, max: usize) -> Result<(), Refused> {
        loop {
            let (mut slots, mut items) = (0, 0);
            for slot in &self.slots {
                if items == max || *slot == Slot::Claimed {
                    break;
                }
                slots += 1;
                items += usize::from(*slot != Slot::Hole);
            }
            if slots > 0 && items == 0 {
                self.slots.drain(..slots); // holes alone are passed over
                self.received += slots as u64;
                continue;
            }
            if items >= need {
                self.held = (slots, items);
                self.received += if self.stamped { slots as u64 } else { 0 };
                return Ok(());
            }
            if slots == self.capacity {
                return Err(Refused::Fragmented(items));
            }
            let unpublished = self.slots.contains(&Slot::Claimed);
            let gone = self.sender.is_none() && self.receiver == Some(true);
            return Err(if gone && !unpublished { Refused::Closed } else { Refused::NotReady });
        }
    }

    /// The first `count` of the items claimed last are released.
    pub fn release(&mut self, count: usize) {
        self.redelivered += self.again.min(count) as u64;
        self.shown -= count;
        if !self.stamped {
            self.slots.drain(..count);
            self.received += count as u64;
            return;
        }
        if count == 0 {
            return; // holes before the first item stay too, until something is released
        }
        let (mut slots, mut items) = self.held;
        let mut left = count;
        while slots > 0 && (left > 0 || self.slots[0] == Slot::Hole || items == 0) {
            if self.slots.pop_front() != Some(Slot::Hole) {
                (left, items) = (left - 1, items - 1);
            }
            slots -= 1;
        }
        self.held = (slots, items);
    }
}
