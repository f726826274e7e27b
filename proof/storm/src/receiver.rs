//! A receiving end of a worker: every call that receives, at random, each noted before and after.

use harness::{Carrier, End, Receives, now};
use ringpipe::{BulkError, RecvError, RecvHandle, RecvTimeoutError, TryRecvError};

use crate::board::{BATCH, Call, Entry, Mark, Parcel, Phase};
use crate::worker::{Desk, Outcome, Storm};

/// A receiver at work.
pub struct Receiver<K: Storm> {
    pub desk: Desk<K>,
    /// `None` only while changing records.
    pub rx: Option<K::Receiver>,
    pub buffer: &'static mut [Parcel],
    /// So many messages it has given back itself: of a single one that is told by nobody.
    pub kept: usize,
}

/// What a call came to.
pub enum Got {
    Something,
    Nothing,
    Closed,
}

impl<K: Storm> Receiver<K> {
    /// Takes a record, and a number.
    pub fn attach(desk: Desk<K>) -> Outcome<Option<Self>> {
        let Some(rx) = desk.attach(K::receiver)? else {
            return Ok(None);
        };
        desk.lane.become_receiver();
        let buffer = desk.lane.buffer();
        let mut receiver = Self { desk, rx: Some(rx), buffer, kept: 0 };
        receiver.settle_in();
        Ok(Some(receiver))
    }

    fn settle_in(&mut self) {
        let (policy, slice) = self.desk.manner();
        let rx = self.rx();
        rx.set_wait_policy(policy);
        rx.set_liveness_interval(slice);
    }

    pub fn rx(&mut self) -> &mut K::Receiver {
        self.rx.as_mut().expect("there but while changing records")
    }

    /// Leaves as it should be done.
    pub fn leave(mut self) {
        self.rx = None;
        self.desk.lane.leave();
    }

    /// Ends attach before they look at the phase, senders too. So if the phase is `Storm` after a
    /// receiver has attached, some sender was there then or is yet to come, and its leaving is an
    /// end-of-file that ends every wait.
    pub fn may_wait_for_ever(&self) -> bool {
        !self.desk.alternating && self.desk.board.phase() == Phase::Storm
    }

    /// One call; false once it is time to leave.
    pub fn step(&mut self) -> Outcome<bool> {
        self.desk.dawdle();
        self.desk.lane.make_room(BATCH + 1);
        let draining = self.desk.board.phase() == Phase::Drain;
        if draining {
            self.rx().require_peer(); // this end may have come after the last sender had left
        }
        if K::MANY && self.desk.rng.one_in(1024) {
            // Another record; what it had given back goes to whoever comes first.
            self.rx = None;
            self.rx = self.desk.attach(K::receiver)?;
            self.settle_in();
            self.kept = 0;
        }
        let got = K::receive(self);
        match got? {
            Got::Closed if draining => return Ok(false),
            Got::Closed => {
                // As good as any other wait; if nobody comes, the next call says closed again.
                let wait = self.desk.a_while();
                let _ = self.rx().wait_for_peer(wait.into());
            }
            Got::Something | Got::Nothing => {}
        }
        Ok(true)
    }

    /// A call that returns one value.
    pub fn single(
        &mut self,
        call: impl FnOnce(&mut K::Receiver) -> Result<Parcel, Outcome<Got>>,
    ) -> Outcome<Got> {
        self.desk.lane.calling(Call::Single);
        let received = call(self.rx());
        let lane = self.desk.lane;
        let outcome = match received {
            Err(outcome) => outcome,
            Ok(value) => {
                let again = usize::from(self.kept > 0 || self.rx().is_again());
                self.kept = self.kept.saturating_sub(1);
                let item = Entry::Item(value, Mark::of(0, again), now());
                lane.log([item, Entry::Released(1)].into_iter());
                Ok(Got::Something)
            }
        };
        lane.called();
        outcome
    }
}

impl<K: Storm + Carrier<Parcel, Receiver = RecvHandle<Parcel, K>>> Receiver<K> {
    /// A call of rings of values.
    pub fn receive_values(&mut self) -> Outcome<Got> {
        let rng = &mut self.desk.rng;
        let batch = 1 + rng.within(0..BATCH as u64) as usize;
        match rng.within(0..16) {
            0 => self.single(|rx| match rx.try_recv() {
                Err(TryRecvError::Empty) => Err(Ok(Got::Nothing)),
                Err(TryRecvError::Closed) => Err(Ok(Got::Closed)),
                other => other.map_err(|e| Err(e.to_string())),
            }),
            1 if self.may_wait_for_ever() => self.single(|rx| match rx.recv() {
                Err(RecvError::Closed) => Err(Ok(Got::Closed)),
                other => other.map_err(|e| Err(e.to_string())),
            }),
            1 | 2 => {
                let wait = self.desk.a_while();
                self.single(|rx| match rx.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => Err(Ok(Got::Nothing)),
                    Err(RecvTimeoutError::Closed) => Err(Ok(Got::Closed)),
                    other => other.map_err(|e| Err(e.to_string())),
                })
            }
            3 | 4 => self.slice(batch, |rx, into| rx.try_recv_slice(into)),
            5 | 6 => {
                let wait = self.desk.a_while();
                self.slice(batch, |rx, into| rx.recv_slice_deadline(into, wait))
            }
            7 => self.slice(batch, |rx, into| exactly(into.len(), rx.try_recv_exact(into))),
            8 => {
                let wait = self.desk.a_while();
                self.slice(batch, |rx, into| {
                    exactly(into.len(), rx.recv_exact_deadline(into, wait))
                })
            }
            _ => self.in_place(batch),
        }
    }

    /// A call that returns several, into the lane's buffer.
    fn slice(
        &mut self,
        max: usize,
        call: impl FnOnce(&mut RecvHandle<Parcel, K>, &mut [Parcel]) -> Result<usize, BulkError>,
    ) -> Outcome<Got> {
        let lane = self.desk.lane;
        lane.calling(Call::Slice);
        let rx = self.rx.as_mut().expect("there but while changing records");
        let outcome = match call(rx, &mut self.buffer[..max]) {
            Err(e) => refused(e),
            Ok(count) => {
                let (again, at) = (rx.redelivered(), now());
                let items = self.buffer[..count].iter().enumerate();
                let items = items.map(|(i, &value)| Entry::Item(value, Mark::of(i, again), at));
                lane.log(items.chain([Entry::Released(count as u64)]));
                Ok(Got::Something)
            }
        };
        lane.called();
        outcome
    }

    /// Claims items, logs them, works at leisure, and releases all, some or none.
    fn in_place(&mut self, max: usize) -> Outcome<Got> {
        let wait = (!self.desk.rng.one_in(3)).then(|| self.desk.a_while());
        let rx = self.rx.as_mut().expect("there but while changing records");
        let claimed = match wait {
            None => rx.try_claim(max),
            Some(wait) => rx.claim_deadline(max, wait),
        };
        let run = match claimed {
            Ok(run) => run,
            Err(e) => return refused(e),
        };
        let (count, again) = (run.len(), run.redelivered());
        let told = run.redeliveries();
        if told > 0 && (count, again) != (1, 1) {
            return Err(format!("{count} items at once, {again} marked, the first {told} times"));
        }
        let release = self.desk.at_leisure(run.iter(), count, again);
        if release == 0 {
            drop(run);
        } else {
            run.release(release);
        }
        self.desk.released(release);
        Ok(Got::Something)
    }
}

/// What came of a call for so many or none. `Closed` says that there will never be so many: fewer may
/// be left, so it is not the end.
pub fn exactly(count: usize, outcome: Result<(), BulkError>) -> Result<usize, BulkError> {
    match outcome {
        Err(BulkError::Closed) => Err(BulkError::Empty),
        outcome => outcome.map(|()| count),
    }
}

pub fn refused(why: BulkError) -> Outcome<Got> {
    match why {
        BulkError::Empty | BulkError::Timeout => Ok(Got::Nothing),
        BulkError::Closed => Ok(Got::Closed),
        // Fewer are given back, or stand side by side, than are asked for: another call takes them.
        BulkError::Held { .. } | BulkError::Fragmented { .. } => Ok(Got::Nothing),
        other => Err(format!("receiving: {other}")),
    }
}
