//! Claims that are kept: values read or written in the ring itself, and what who leaves in
//! mid-claim leaves behind.

use loom::thread;

use super::support::{Patience, Ring, Rx, SLEEPY, Tx, check_bounded, claim_in_time, numbers};
use crate::pipe::End;
use crate::ring::{Mpmc, Refused, Run};

/// Claims one item and hands it out to whoever reads it in the ring.
fn claim_to_read(rx: &mut Rx<Mpmc>, mut pace: Patience) -> Run {
    let run = claim_in_time(&mut rx.end, 1, 1, &mut pace, &rx.ring.locks).unwrap();
    rx.end.hand_out(run);
    run
}

/// Claims one slot for whoever writes into it in the ring.
fn claim_to_write(tx: &mut Tx<Mpmc>, mut pace: Patience) -> Run {
    let run = claim_in_time(&mut tx.end, 1, 1, &mut pace, &tx.ring.locks).unwrap();
    tx.end.pass_on();
    run
}

/// Two values come with one wake. Whoever gets it keeps its item, and the other is woken all the
/// same.
#[test]
fn mpmc_receiver_that_keeps_its_item_passes_the_wake_on_at_once() {
    check_bounded("in place, mpmc 1:2", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut tx = ring.sender(0);
        let keep = |record| {
            let mut rx = ring.receiver(record);
            thread::spawn(move || (claim_to_read(&mut rx, SLEEPY), rx))
        };
        let keeping = [keep(1), keep(2)];
        let run = tx.end.claim_slow(2, 2, &*ring.locks).unwrap();
        tx.end.mem.view(numbers()).write_run(run.at, &[1, 2]);
        tx.end.publish(numbers(), run, 2);
        // Neither has released anything.
        let kept = keeping.map(|receiver| receiver.join().unwrap());
        let mut received: Vec<_> =
            kept.into_iter().flat_map(|(run, mut rx)| rx.take(run)).collect();
        received.sort();
        assert_eq!(received, [1, 2]);
    });
}

/// The same for two slots that are freed at once.
#[test]
fn mpmc_sender_that_keeps_its_slot_passes_the_wake_on_at_once() {
    check_bounded("in place, mpmc 2:1", 2, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut rx = ring.receiver(2);
        let mut senders = [0, 1].map(|record| ring.sender(record));
        for sender in &mut senders {
            sender.try_send(0).unwrap();
        }
        let keeping =
            senders.map(|mut tx| thread::spawn(move || (claim_to_write(&mut tx, SLEEPY), tx)));
        assert_eq!(rx.recv_many(2, 2, SLEEPY), Ok(vec![0, 0]));
        for sender in keeping {
            let (run, mut tx) = sender.join().unwrap();
            tx.put(run, 1);
        }
        assert_eq!(rx.recv_many(2, 2, SLEEPY), Ok(vec![1, 1]));
    });
}

/// A ring with two items, both of which a receiver reads in the ring, and another receiver. What is
/// given releases the first of the items, and leaves with the second.
fn one_holds_two() -> (Ring<Mpmc>, Tx<Mpmc>, Rx<Mpmc>, impl FnOnce()) {
    let ring = Ring::<Mpmc>::new(2, 3);
    let (mut tx, mut leaver, rx) = (ring.sender(0), ring.receiver(1), ring.receiver(2));
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    let run = leaver.end.claim_slow(2, 2, &*ring.locks).unwrap();
    leaver.end.hand_out(run);
    let leave = move || {
        leaver.end.release(numbers(), run, 1);
        leaver.leave();
    };
    (ring, tx, rx, leave)
}

/// A receiver that sleeps adopts what another leaves with; then it is end-of-file.
#[test]
fn mpmc_sleeper_adopts_what_a_receiver_leaves_with() {
    check_bounded("in place, abandoned claim beside a sleeper", 2, || {
        let (_, tx, mut rx, leave) = one_holds_two();
        let leaving = thread::spawn(leave);
        assert_eq!(rx.recv(SLEEPY), Ok(2));
        tx.leave();
        assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed));
        leaving.join().unwrap();
    });
}

/// All records are taken, one by an abandoned claim: a newcomer sits there and takes it over with
/// the record, or after another receiver has taken it. What was left is received once.
#[test]
fn mpmc_newcomer_and_another_adopt_what_a_receiver_leaves_with_once() {
    check_bounded("in place, abandoned claim and newcomer", 2, || {
        let (ring, _tx, mut rx, leave) = one_holds_two();
        leave();
        let theirs = ring.clone();
        let coming = thread::spawn(move || {
            let mut rx = theirs.new_receiver();
            rx.as_mut().and_then(|rx| rx.try_recv().ok())
        });
        rx.end.check_liveness(&*ring.locks);
        let mut received: Vec<_> = rx.try_recv().into_iter().collect();
        received.extend(coming.join().unwrap());
        rx.end.check_liveness(&*ring.locks);
        received.extend(rx.try_recv());
        assert_eq!(received, [2]);
    });
}
