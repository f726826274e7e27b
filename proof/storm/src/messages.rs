//! Messages: every call that sends and receives them, at random.
//!
//! A message is as long as the number of its parcel says, and filled with what belongs to that
//! parcel alone ([`board`](crate::board)): a part of another, or a length that is another's, shows.

use std::io::{IoSlice, Write};

use harness::{Carrier, Value};
use ringpipe::messages::{self, Messages};
use ringpipe::{MessageError, MpmcMessages, SpscMessages};

use crate::board::{BATCH, Parcel};
use crate::receiver::{Got, Receiver};
use crate::sender::{Sender, Sent};
use crate::worker::{Outcome, Storm};

macro_rules! of_messages {
    ($($kind:ty),*) => {$(
        impl Storm for $kind {
            // Half of a ring of a page.
            const CLAIM: u64 = 2048 / <Self as Carrier<Parcel>>::SLOT;

            fn send(sender: &mut Sender<Self>) -> Outcome<Sent> {
                sender.send_messages()
            }
            fn receive(receiver: &mut Receiver<Self>) -> Outcome<Got> {
                receiver.receive_messages()
            }
        }
    )*};
}
of_messages!(SpscMessages, MpmcMessages);

fn message(parcel: &Parcel) -> Vec<u8> {
    parcel.to_bytes(parcel.message_len())
}

fn sent(outcome: Result<(), MessageError>) -> Outcome<Sent> {
    match outcome {
        Ok(()) => Ok(Sent::All),
        Err(MessageError::Full | MessageError::Timeout) => Ok(Sent::Nothing),
        Err(MessageError::Closed) => Ok(Sent::Closed),
        Err(other) => Err(format!("sending: {other}")),
    }
}

impl<K: Storm + Messages + Carrier<Parcel, Sender = messages::Sender<K>>> Sender<K> {
    /// A call of rings of messages.
    fn send_messages(&mut self) -> Outcome<Sent> {
        match self.desk.rng.within(0..16) {
            0..4 => self.single(1, |tx, [value, ..]| sent(tx.try_send(&message(value)))),
            4..6 if !self.desk.alternating => {
                self.single(1, |tx, [value, ..]| sent(tx.send(&message(value))))
            }
            4..8 => {
                let wait = self.desk.a_while();
                self.single(1, |tx, [value, ..]| sent(tx.send_deadline(&message(value), wait)))
            }
            8 => {
                let wait = self.desk.a_while();
                let cut = self.desk.rng.within(0..Parcel::RECORD as u64) as usize;
                self.single(1, |tx, [value, ..]| {
                    let message = message(value);
                    let (head, rest) = message.split_at(cut);
                    let pieces = [IoSlice::new(head), IoSlice::new(rest)];
                    sent(tx.send_vectored_deadline(&pieces, wait))
                })
            }
            _ => self.reserved(),
        }
    }

    /// Reserves room, mostly too much, writes the message at leisure, and commits it or not.
    fn reserved(&mut self) -> Outcome<Sent> {
        let wait = (!self.desk.rng.one_in(3)).then(|| self.desk.a_while());
        let parcel = Parcel::new(self.number, self.next, harness::now());
        let message = message(&parcel);
        let most = message.len() + self.desk.rng.within(0..500) as usize;
        let tx = self.tx.as_mut().expect("there but while changing records");
        let reserved = match wait {
            None => tx.try_reserve(most),
            Some(wait) => tx.reserve_deadline(most, wait),
        };
        let mut reserved = match reserved {
            Ok(reserved) => reserved,
            Err(why) => return sent(Err(why)),
        };
        for piece in message.chunks(1 + self.desk.rng.within(0..400) as usize) {
            self.desk.dawdle();
            reserved.writer().write_all(piece).map_err(|e| format!("reserved {most}: {e}"))?;
        }
        let commits = !self.desk.rng.one_in(4);
        // Before this nothing is published, whatever happens.
        self.desk.lane.sending(self.next, usize::from(commits));
        match (commits, self.desk.rng.one_in(2)) {
            (true, _) => reserved.commit(),
            (false, true) => reserved.abandon(),
            (false, false) => std::mem::forget(reserved),
        }
        self.next += u64::from(commits);
        self.desk.lane.sent(self.next);
        Ok(Sent::First(usize::from(commits)))
    }
}

fn refused(why: MessageError) -> Outcome<Got> {
    match why {
        MessageError::Empty | MessageError::Timeout => Ok(Got::Nothing),
        MessageError::Closed => Ok(Got::Closed),
        other => Err(format!("receiving: {other}")),
    }
}

/// The parcel that a message is; a torn one, if it is none.
fn parcel(bytes: &[u8]) -> Parcel {
    let parcel = Parcel::of_bytes(bytes).filter(|parcel| parcel.message_len() == bytes.len());
    parcel.unwrap_or_else(Parcel::torn)
}

impl<K: Storm + Messages + Carrier<Parcel, Receiver = messages::Receiver<K>>> Receiver<K> {
    /// A call of rings of messages.
    fn receive_messages(&mut self) -> Outcome<Got> {
        let mut into = [0; 4096];
        let mut message = Vec::new();
        let max = 1 + self.desk.rng.within(0..BATCH as u64) as usize;
        match self.desk.rng.within(0..16) {
            0..2 => self.single(|rx| match rx.try_recv_into(&mut into) {
                Ok(len) => Ok(parcel(&into[..len])),
                Err(why) => Err(refused(why)),
            }),
            2 if self.may_wait_for_ever() => self.single(|rx| match rx.recv(&mut message) {
                Ok(()) => Ok(parcel(&message)),
                Err(why) => Err(refused(why)),
            }),
            2..4 => {
                let wait = self.desk.a_while();
                self.single(|rx| match rx.recv_into_deadline(&mut into, wait) {
                    Ok(len) => Ok(parcel(&into[..len])),
                    Err(why) => Err(refused(why)),
                })
            }
            4..6 => {
                let wait = self.desk.a_while();
                self.single(|rx| match rx.recv_deadline(&mut message, wait) {
                    Ok(()) => Ok(parcel(&message)),
                    Err(why) => Err(refused(why)),
                })
            }
            _ => self.claimed(max),
        }
    }

    /// Claims messages, logs them, works at leisure, and releases all, some or none.
    fn claimed(&mut self, max: usize) -> Outcome<Got> {
        let wait = (!self.desk.rng.one_in(3)).then(|| self.desk.a_while());
        let rx = self.rx.as_mut().expect("there but while changing records");
        let claimed = match wait {
            None => rx.try_claim(max),
            Some(wait) => rx.claim_deadline(max, wait),
        };
        let run = match claimed {
            Ok(run) => run,
            Err(why) => return refused(why),
        };
        let (count, again) = (run.len(), run.redelivered());
        let told = run.redeliveries();
        if told > 0 && (count, again) != (1, 1) {
            return Err(format!("{count} messages, {again} marked, the first {told} times"));
        }
        let mut parcels = run.iter().map(|message| parcel(&message.to_vec()));
        let release = self.desk.at_leisure(&mut parcels, count, again);
        drop(parcels);
        match release {
            0 => drop(run),
            _ => run.release(release),
        }
        self.kept = self.kept.max(count) - release;
        self.desk.released(release);
        Ok(Got::Something)
    }
}
