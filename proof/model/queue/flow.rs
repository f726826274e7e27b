//! What goes through the queue: claims, and what becomes of them.

use super::{ENDS, Model, Owner, Refused, What};

impl<T: Copy + PartialEq> Model<T> {
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
        if self.alone > 0 {
            let all_alone = self.alone;
            self.gets_one(who);
            let What::Item(first) = self.slots[0].0 else { unreachable!("there are no holes") };
            return if need > 1 { Err(Refused::Held(all_alone)) } else { Ok(vec![first]) };
        }
        let held = self.holds(who);
        if !held {
            self.hold(who, need, max)?;
        }
        let items = self.held(who);
        if !self.stamped {
            // A claim is private, and made anew each time.
            self.slots.iter_mut().for_each(|slot| slot.1 = Owner::Nobody);
            self.redeliveries = 0;
            self.again = self.shown.min(items.len());
            self.shown = self.shown.max(items.len());
            return Ok(items);
        }
        if self.gets_one(who) {
            return if need > 1 {
                Err(Refused::Held(items.len()))
            } else {
                Ok(items[..1].to_vec())
            };
        }
        self.again = if held { items.len() } else { 0 };
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
        if !self.drop_unreleased {
            self.drop_exhausted();
        }
        if self.has_abandoned_claim() && !self.drop_unreleased {
            self.adopt(who);
            return Ok(());
        }
        self.discard_abandoned_claim();
        if !self.receiver_gone(who) {
            return Err(Refused::NotReady);
        }
        // Should an adopter go, too, there will be items again. One that adopted its record as well
        // need not put the end off, and may.
        let adopter = |by_record: bool| {
            (0..ENDS).any(|adopter| {
                let end = self.receivers[adopter];
                end.is_some_and(|end| end.adopted && end.by_record == by_record)
                    && self.holds(adopter)
            })
        };
        let (unsure, either) = (adopter(false), adopter(true));
        let held = |slot: &(_, Owner)| matches!(slot.1, Owner::Receiver(other) if other != who);
        self.closing = Some(self.len() == 0 && !self.slots.iter().any(held));
        let put_off = self.receivers[who].as_mut().map(|end| &mut end.put_off);
        match put_off {
            Some(put_off) if unsure => {
                *put_off = true;
                self.closing = None;
                Err(Refused::NotReady)
            }
            Some(put_off) if either => {
                *put_off = true;
                Err(Refused::Late)
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
            self.alone = self.alone.saturating_sub(count);
            self.slots.drain(..count);
            self.received += count as u64;
            return;
        }
        if count == 0 {
            return; // holes before the first item stay too, until something is released
        }
        // What was handed out alone takes the holes before it along, and those behind it only if no
        // item follows.
        let alone = self.lone_item(who).is_some() && self.held(who).len() > 1;
        let mut left = count;
        for (what, owner) in self.slots.iter_mut().filter(|slot| slot.1 == Owner::Receiver(who)) {
            if left == 0 && (alone || *what != What::Hole) {
                break;
            }
            left -= usize::from(*what != What::Hole);
            *owner = Owner::Freed;
        }
        self.pop_freed();
        if !self.holds(who)
            && let Some(end) = &mut self.receivers[who]
        {
            (end.adopted, end.by_record) = (false, false);
        }
    }
}
