//! A sending end of a worker: every call that sends, at random, each noted before and after.

use harness::{Carrier, End, now};
use ringpipe::{BulkError, SendError, SendHandle, SendTimeoutError, TrySendError};

use crate::board::{BATCH, Parcel};
use crate::worker::{Desk, Outcome, Storm};

/// A sender at work.
pub struct Sender<K: Storm> {
    pub desk: Desk<K>,
    /// `None` only while changing records.
    pub tx: Option<K::Sender>,
    pub number: u64,
    pub next: u64,
}

/// What a call came to.
pub enum Sent {
    All,
    First(usize),
    Nothing,
    /// Nobody will receive it.
    Closed,
}

impl<K: Storm> Sender<K> {
    /// Takes a record, and a number.
    pub fn attach(desk: Desk<K>) -> Outcome<Option<Self>> {
        let Some(tx) = desk.attach(K::sender)? else {
            return Ok(None);
        };
        let number = desk.lane.become_sender();
        let mut sender = Self { desk, tx: Some(tx), number, next: 0 };
        sender.settle_in();
        Ok(Some(sender))
    }

    fn settle_in(&mut self) {
        let (policy, interval) = self.desk.manner();
        let tx = self.tx();
        tx.set_wait_policy(policy);
        tx.set_liveness_interval(interval);
    }

    pub fn tx(&mut self) -> &mut K::Sender {
        self.tx.as_mut().expect("there but while changing records")
    }

    /// Leaves as it should be done.
    pub fn leave(mut self) {
        self.tx = None;
        self.desk.lane.leave();
    }

    /// One call.
    pub fn step(&mut self) -> Outcome {
        self.desk.dawdle();
        if K::MANY && self.desk.rng.one_in(1024) {
            // Another record, the same incarnation: its order holds across.
            self.tx = None;
            self.tx = self.desk.attach(K::sender)?;
            self.settle_in();
        }
        let sent = K::send(self);
        match sent? {
            Sent::Closed => {
                // As good as any other wait; if nobody comes, the next call says closed again.
                let wait = self.desk.a_while();
                let _ = self.tx().wait_for_peer(wait.into());
            }
            Sent::All | Sent::First(_) | Sent::Nothing => {}
        }
        Ok(())
    }

    /// A call that takes up to `count` values.
    pub fn single(
        &mut self,
        count: usize,
        call: impl FnOnce(&mut K::Sender, &[Parcel; BATCH]) -> Outcome<Sent>,
    ) -> Outcome<Sent> {
        let (number, next, at) = (self.number, self.next, now());
        let values = std::array::from_fn(|i| Parcel::new(number, next + i as u64, at));
        self.desk.lane.sending(next, count);
        let sent = call(self.tx(), &values)?;
        self.next += match sent {
            Sent::All => count as u64,
            Sent::First(some) => some as u64,
            Sent::Nothing | Sent::Closed => 0,
        };
        self.desk.lane.sent(self.next);
        Ok(sent)
    }
}

impl<K: Storm + Carrier<Parcel, Sender = SendHandle<Parcel, K>>> Sender<K> {
    /// A call of rings of values.
    pub fn send_values(&mut self) -> Outcome<Sent> {
        let rng = &mut self.desk.rng;
        let batch = 1 + rng.within(0..BATCH as u64) as usize;
        match rng.within(0..16) {
            0 | 1 => self.single(1, |tx, [value, ..]| match tx.try_send(*value) {
                Err(TrySendError::Full(_)) => Ok(Sent::Nothing),
                Err(TrySendError::Closed(_)) => Ok(Sent::Closed),
                other => other.map(|()| Sent::All).map_err(|e| e.to_string()),
            }),
            2 if !self.desk.alternating => {
                self.single(1, |tx, [value, ..]| match tx.send(*value) {
                    Err(SendError::Closed(_)) => Ok(Sent::Closed),
                    other => other.map(|()| Sent::All).map_err(|e| e.to_string()),
                })
            }
            2..5 => {
                let wait = self.desk.a_while();
                self.single(1, |tx, [value, ..]| match tx.send_timeout(*value, wait) {
                    Err(SendTimeoutError::Timeout(_)) => Ok(Sent::Nothing),
                    Err(SendTimeoutError::Closed(_)) => Ok(Sent::Closed),
                    other => other.map(|()| Sent::All).map_err(|e| e.to_string()),
                })
            }
            5..7 => self.single(batch, |tx, values| first(tx.try_send_slice(&values[..batch]))),
            7 | 8 => {
                let wait = self.desk.a_while();
                self.single(batch, |tx, values| {
                    first(tx.send_slice_deadline(&values[..batch], wait))
                })
            }
            9 => self.single(batch, |tx, values| all(tx.try_send_exact(&values[..batch]))),
            10 => {
                let wait = self.desk.a_while();
                self.single(batch, |tx, values| all(tx.send_exact_deadline(&values[..batch], wait)))
            }
            _ => self.in_place(batch),
        }
    }

    /// Claims slots, fills them at leisure, and publishes all, some or none.
    fn in_place(&mut self, max: usize) -> Outcome<Sent> {
        let wait = (!self.desk.rng.one_in(3)).then(|| self.desk.a_while());
        let (number, next, at) = (self.number, self.next, now());
        let tx = self.tx.as_mut().expect("there but while changing records");
        let claimed = match wait {
            None => tx.try_claim(max),
            Some(wait) => tx.claim_deadline(max, wait),
        };
        let mut run = match claimed {
            Ok(run) => run,
            Err(e) => return refused(e),
        };
        for i in 0..run.len() {
            self.desk.dawdle();
            run.write(i, Parcel::new(number, next + i as u64, at));
        }
        let commit = match self.desk.rng.within(0..4) {
            0 => self.desk.rng.within(0..run.len() as u64 + 1) as usize,
            _ => run.len(),
        };
        // Before this nothing is published, whatever happens.
        self.desk.lane.sending(next, commit);
        if commit == 0 {
            drop(run);
        } else {
            run.commit(commit);
        }
        self.next += commit as u64;
        self.desk.lane.sent(self.next);
        Ok(Sent::First(commit))
    }
}

pub fn first(outcome: Result<usize, BulkError>) -> Outcome<Sent> {
    outcome.map(Sent::First).or_else(refused)
}

pub fn all(outcome: Result<(), BulkError>) -> Outcome<Sent> {
    outcome.map(|()| Sent::All).or_else(refused)
}

pub fn refused(why: BulkError) -> Outcome<Sent> {
    match why {
        BulkError::Full | BulkError::Timeout => Ok(Sent::Nothing),
        BulkError::Closed => Ok(Sent::Closed),
        other => Err(format!("sending: {other}")),
    }
}
