//! How often an item had been handed to receivers that are gone and did not release it.

use std::ops::Range;

use super::{Model, Owner, What};

/// The highest number that is told.
const MOST: u32 = 15;

impl<T: Copy + PartialEq> Model<T> {
    /// The position of what lies in slot `index` of those in use.
    fn position(&self, index: usize) -> u64 {
        self.sent - self.slots.len() as u64 + index as u64
    }

    /// How often the item at `position` was delivered, should it be abandoned now.
    fn delivered(&self, position: u64) -> u32 {
        let told = self.told.get(&position).copied().unwrap_or(0);
        (told + 1).min(MOST)
    }

    fn is_exhausted(&self, position: u64) -> bool {
        self.delivery_limit > 0 && self.delivered(position) >= self.delivery_limit
    }

    /// Where the item is that the receiver is to get alone, if it is not to get several.
    pub(super) fn lone_item(&self, who: usize) -> Option<u64> {
        if !self.stamped {
            return (self.alone > 0).then(|| self.position(0));
        }
        if !self.receivers[who].is_some_and(|end| end.adopted) {
            return None;
        }
        let mut slots = self.slots.iter();
        let first = slots.position(|&(what, owner)| {
            owner == Owner::Receiver(who) && matches!(what, What::Item(_))
        });
        first.map(|index| self.position(index))
    }

    /// The receiver gets its next items: is there one that it gets alone, and what is it told of
    /// that?
    pub(super) fn gets_one(&mut self, who: usize) -> bool {
        self.redeliveries = 0;
        let Some(position) = self.lone_item(who) else { return false };
        let counted = self.receivers[who].is_some_and(|end| end.counted == Some(position));
        self.redeliveries = if counted { self.told[&position] } else { self.delivered(position) };
        self.again = 1;
        true
    }

    /// The receiver shows what it has got last before it releases that.
    pub fn hand_out(&mut self, who: usize) {
        if let Some(position) = self.lone_item(who) {
            self.told.insert(position, self.redeliveries);
            self.receivers[who].iter_mut().for_each(|end| end.counted = Some(position));
        }
    }

    /// Somebody looks after what receivers have left: what was delivered too often is dropped.
    pub(super) fn drop_exhausted(&mut self) {
        let exhausted = |index: &usize| {
            let (what, owner) = self.slots[*index];
            owner == Owner::Estate
                && matches!(what, What::Item(_))
                && self.is_exhausted(self.position(*index))
        };
        let all: Vec<_> = (0..self.slots.len()).filter(exhausted).collect();
        for &index in &all {
            self.slots[index].1 = Owner::Freed;
        }
        self.dropped += all.len() as u64;
        self.exhausted += all.len() as u64;
        for claim in self.abandoned.clone() {
            self.free_holes(claim);
        }
        self.pop_freed();
    }

    /// Holes that stand alone before the first item of an abandoned claim are nothing to adopt.
    fn free_holes(&mut self, claim: Range<u64>) {
        let first = self.position(0);
        let mut holes = Vec::new();
        for at in claim.start.max(first)..claim.end {
            let index = (at - first) as usize;
            match self.slots[index] {
                (What::Hole, Owner::Estate) => holes.push(index),
                (_, Owner::Estate) => return,
                _ => holes.drain(..).for_each(|hole| self.slots[hole].1 = Owner::Freed),
            }
        }
        holes.into_iter().for_each(|hole| self.slots[hole].1 = Owner::Freed);
    }

    /// SPSC: a successor attaches.
    pub(super) fn succeeds(&mut self) {
        if self.drop_unreleased {
            self.dropped += self.shown as u64;
            self.received += self.shown as u64;
            self.slots.drain(..std::mem::take(&mut self.shown));
        } else if self.shown > 0 && self.is_exhausted(self.position(0)) {
            self.slots.pop_front();
            self.shown -= 1;
            self.dropped += 1;
            self.exhausted += 1;
            self.received += 1;
        }
        self.alone = self.shown;
    }
}
