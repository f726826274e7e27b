//! A byte pipe: a stream of parcels, one after the other, by every call that moves whole ones.

use bytemuck::{bytes_of, cast_slice_mut};
use harness::carrier::records;
use harness::{Value, now};
use ringpipe::{BulkError, Bytes};

use crate::board::{BATCH, Call, Entry, Mark, Parcel};
use crate::receiver::{self, Got, Receiver};
use crate::sender::{self, Sender, Sent};
use crate::worker::{Outcome, Storm};

const PARCEL: usize = Parcel::RECORD;

impl Storm for Bytes {
    const CLAIM: u64 = (BATCH * PARCEL) as u64;

    fn send(sender: &mut Sender<Self>) -> Outcome<Sent> {
        let batch = 1 + sender.desk.rng.within(0..BATCH as u64) as usize;
        let wait = sender.desk.a_while();
        let whole = |outcome: Result<usize, BulkError>| match outcome {
            Ok(bytes) if !bytes.is_multiple_of(PARCEL) => Err(format!("{bytes} bytes of parcels")),
            outcome => sender::first(outcome.map(|bytes| bytes / PARCEL)),
        };
        match sender.desk.rng.within(0..8) {
            0 => sender.single(batch, |tx, values| {
                whole(tx.writer.try_send_slice(&records(&values[..batch])))
            }),
            1 | 2 => sender.single(batch, |tx, values| {
                whole(tx.writer.send_slice_deadline(&records(&values[..batch]), wait))
            }),
            3 => sender.single(batch, |tx, values| {
                sender::all(tx.writer.try_send_exact(&records(&values[..batch])))
            }),
            4 | 5 => sender.single(batch, |tx, values| {
                sender::all(tx.writer.send_exact_deadline(&records(&values[..batch]), wait))
            }),
            _ => in_place(sender, batch, wait),
        }
    }

    fn receive(receiver: &mut Receiver<Self>) -> Outcome<Got> {
        let batch = 1 + receiver.desk.rng.within(0..BATCH as u64) as usize;
        let wait = receiver.desk.a_while();
        let how = receiver.desk.rng.within(0..8);
        if how > 5 {
            return claimed(receiver, batch, wait);
        }
        let lane = receiver.desk.lane;
        lane.calling(Call::Slice);
        let rx = &mut receiver.rx.as_mut().expect("there but while changing records").reader;
        let into: &mut [u8] = cast_slice_mut(&mut receiver.buffer[..batch]);
        let read = match how {
            0 => rx.try_recv_slice(into),
            1 | 2 => rx.recv_slice_deadline(into, wait),
            3 => receiver::exactly(batch * PARCEL, rx.try_recv_exact(into)),
            _ => receiver::exactly(batch * PARCEL, rx.recv_exact_deadline(into, wait)),
        };
        let outcome = match read {
            Err(why) => receiver::refused(why),
            Ok(bytes) if !bytes.is_multiple_of(PARCEL) => {
                Err(format!("read {bytes} bytes of parcels"))
            }
            Ok(bytes) => {
                let (again, at) = (rx.redelivered() / PARCEL, now());
                let items = receiver.buffer[..bytes / PARCEL].iter().enumerate();
                let items = items.map(|(i, &value)| Entry::Item(value, Mark::of(i, again), at));
                lane.log(items.chain([Entry::Released((bytes / PARCEL) as u64)]));
                Ok(Got::Something)
            }
        };
        lane.called();
        outcome
    }
}

/// Claims room, fills it at leisure, and publishes all, some or none.
fn in_place(sender: &mut Sender<Bytes>, max: usize, wait: std::time::Duration) -> Outcome<Sent> {
    let (number, next, at) = (sender.number, sender.next, now());
    let tx = &mut sender.tx.as_mut().expect("there but while changing records").writer;
    let mut run = match tx.claim_deadline(max * PARCEL, wait) {
        Ok(run) => run,
        Err(why) => return sender::refused(why),
    };
    let len = run.len() / PARCEL;
    for i in 0..len {
        sender.desk.dawdle();
        run.write_slice(i * PARCEL, bytes_of(&Parcel::new(number, next + i as u64, at)));
    }
    let commit = match sender.desk.rng.within(0..4) {
        0 => sender.desk.rng.within(0..len as u64 + 1) as usize,
        _ => len,
    };
    // Before this nothing is published, whatever happens.
    sender.desk.lane.sending(next, commit);
    run.commit(commit * PARCEL);
    sender.next += commit as u64;
    sender.desk.lane.sent(sender.next);
    Ok(Sent::First(commit))
}

/// Claims parcels, logs them, works at leisure, and releases all, some or none.
fn claimed(receiver: &mut Receiver<Bytes>, max: usize, wait: std::time::Duration) -> Outcome<Got> {
    let rx = &mut receiver.rx.as_mut().expect("there but while changing records").reader;
    let run = match rx.claim_deadline(max * PARCEL, wait) {
        Ok(run) => run,
        Err(why) => return receiver::refused(why),
    };
    let mut parcels = vec![Parcel::torn(); run.len() / PARCEL];
    run.read_slice(0, cast_slice_mut(&mut parcels));
    let again = run.redelivered() / PARCEL;
    let release = receiver.desk.at_leisure(parcels.iter().copied(), parcels.len(), again);
    run.release(release * PARCEL);
    receiver.desk.released(release);
    Ok(Got::Something)
}
