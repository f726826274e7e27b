//! Ends that a pool lends, of which there can be more than two of a role.

use ringpipe::{AttachError, Mpmc, Pool};

use super::{Call, End, Hand, Stage, Thing};

/// The ends that a pool makes of its first: their places in the model.
const MADE: [usize; 2] = [2, 3];

pub trait Pools {
    fn pool_senders(&mut self, hand: Hand);
    fn pool_receivers(&mut self, hand: Hand);
}

impl<T: Thing> Pools for Stage<T, Mpmc> {
    fn pool_senders(&mut self, hand: Hand) {
        if self.model.forgot(hand.which()) {
            return; // it would be lent itself: see `tests/pool.rs`
        }
        let Some(first) = self.tx[hand.which()].take() else { return };
        let pool = Pool::new(first);
        let mut lent = Vec::new();
        for who in MADE {
            let room = self.model.sender_attaches(who, Some(hand.which()));
            match pool.get() {
                Ok(mut tx) => {
                    assert!(room);
                    tx.set_liveness_interval(super::INTERVAL);
                    self.send(who, &mut tx, hand, Call::SendSlice(2));
                    lent.push(tx);
                }
                Err(AttachError::TableFull { .. }) => assert!(!room),
                Err(other) => panic!("{other}"),
            }
        }
        let (made, who) = (lent.len(), MADE[0]);
        lent.truncate(1); // the second is idle now
        if made == 2 {
            let mut again = pool.get().expect("the idle one");
            self.send(MADE[1], &mut again, hand, Call::Write { max: 3, end: End::Forget });
            drop(again);
            if self.model.forgot(MADE[1]) {
                self.model.sender_closes(MADE[1]); // instead of being idle
            }
        }
        if let Some(tx) = lent.first_mut() {
            self.send(who, tx, hand, Call::Send);
        }
        self.look();
        drop(lent);
        drop(pool);
        for who in [hand.which(), MADE[0], MADE[1]] {
            if self.model.senders[who].is_some() {
                self.model.sender_closes(who);
            }
        }
    }

    fn pool_receivers(&mut self, hand: Hand) {
        let first = hand.which();
        if self.model.has_abandoned_claim() || self.model.holds(first) {
            return; // one abandoned claim at a time
        }
        let Some(rx) = self.rx[first].take() else { return };
        let pool = Pool::new(rx);
        for call in [Call::Read { max: 3, end: End::Part(100) }, Call::RecvSlice(1)] {
            // Idle, unless it is the first time, or the one before had items left.
            let idle = self.model.receivers[MADE[0]].is_some();
            let room = idle || self.model.receiver_attaches(MADE[0], Some(first));
            self.again[MADE[0]] = None;
            match pool.get() {
                Ok(mut rx) => {
                    assert!(room);
                    rx.set_liveness_interval(super::INTERVAL);
                    self.receive(MADE[0], &mut rx, hand, call);
                }
                Err(AttachError::TableFull { .. }) => assert!(!room),
                Err(other) => panic!("{other}"),
            }
            if self.model.holds(MADE[0]) {
                self.model.receiver_closes(MADE[0]);
            }
        }
        self.look();
        drop(pool);
        for who in [first, MADE[0]] {
            if self.model.receivers[who].is_some() {
                self.model.receiver_closes(who);
            }
        }
    }
}
