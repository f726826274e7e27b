//! Which items may have gone down with receivers that died in a single call.
//!
//! Such a call takes one item and leaves no trace of which. So of the items that are missing, each
//! needs a dead receiver of its own that can have had it: one that had not yet died when the item
//! was sent, whose call had begun before a later item of the same sender was received (receivers
//! claim in order, so nobody has the later item before someone has this one), and that had seen no
//! later item of that sender. Everything is in milliseconds of a storm in which deaths are tens of
//! milliseconds apart: an item that was lost otherwise will hardly find one.

use std::collections::HashMap;

/// An item that was sent and never seen.
#[derive(Clone, Copy, Debug)]
pub struct Vanished {
    pub sender: u64,
    pub seq: u64,
    /// It was sent after this.
    pub sent_after: u64,
    /// It was received before this.
    pub received_before: u64,
    /// It was delivered once and not released: what came after says nothing about when again.
    pub delivered: bool,
}

/// A receiver that died in a single call.
#[derive(Clone, Debug)]
pub struct Taker {
    /// When the call began.
    pub begun: u64,
    /// When it was dead.
    pub died: u64,
    /// The last item it had had of each sender.
    pub latest: HashMap<u64, u64>,
}

impl Taker {
    fn can_have(&self, item: &Vanished) -> bool {
        let in_turn = self.begun <= item.received_before
            && self.latest.get(&item.sender).is_none_or(|&latest| latest < item.seq);
        self.died >= item.sent_after && (in_turn || item.delivered)
    }
}

/// The items that are left over when as many as possible are given to takers, one to each.
pub fn unmatched<'a>(items: &'a [Vanished], takers: &[Taker]) -> Vec<&'a Vanished> {
    let mut owner: Vec<Option<usize>> = vec![None; takers.len()];
    let place = |item: usize, owner: &mut Vec<Option<usize>>| {
        let mut tried = vec![false; takers.len()];
        give(item, items, takers, owner, &mut tried)
    };
    (0..items.len()).filter(|&i| !place(i, &mut owner)).map(|i| &items[i]).collect()
}

/// Finds a taker for the item, moving others' items to other takers where need be.
fn give(
    item: usize,
    items: &[Vanished],
    takers: &[Taker],
    owner: &mut Vec<Option<usize>>,
    tried: &mut Vec<bool>,
) -> bool {
    for taker in 0..takers.len() {
        if tried[taker] || !takers[taker].can_have(&items[item]) {
            continue;
        }
        tried[taker] = true;
        if owner[taker].is_none_or(|other| give(other, items, takers, owner, tried)) {
            owner[taker] = Some(item);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sent_after: u64, received_before: u64) -> Vanished {
        Vanished { sender: 1, seq: 5, sent_after, received_before, delivered: false }
    }

    fn taker(begun: u64, died: u64) -> Taker {
        Taker { begun, died, latest: HashMap::new() }
    }

    #[test]
    fn an_item_without_a_death_nearby_is_lost() {
        assert_eq!(unmatched(&[item(10, 20)], &[taker(21, 30), taker(1, 9)]).len(), 1);
        assert_eq!(unmatched(&[item(10, 20)], &[taker(15, 30)]).len(), 0);
    }

    #[test]
    fn a_death_takes_one_item_only() {
        assert_eq!(unmatched(&[item(10, 20), item(10, 20)], &[taker(15, 30)]).len(), 1);
    }

    #[test]
    fn items_move_to_other_deaths_if_that_helps() {
        let takers = [taker(1, 100), taker(15, 30)];
        let items = [item(10, 20), item(50, 60)];
        assert!(unmatched(&items, &takers).is_empty());
    }

    #[test]
    fn a_receiver_that_had_a_later_item_did_not_have_this_one() {
        let late = Taker { latest: HashMap::from([(1, 6)]), ..taker(15, 30) };
        assert_eq!(unmatched(&[item(10, 20)], &[late]).len(), 1);
    }
}
