//! `clear`: what was sent before it is gone, whoever held it, and nothing that was sent after.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ringpipe::{Mpmc, RecvError, TryRecvError};
use support::{Child, Flavour, LONG_INTERVAL, both_kinds, new_ring, roles, tests};

roles!();

both_kinds!(
    what_was_sent_is_discarded_counted_and_makes_room,
    what_comes_after_the_call_began_is_received,
    what_this_receiver_has_given_back_is_discarded_too,
    what_a_killed_receiver_had_claimed_is_discarded_too,
    end_of_file_comes_after_it,
);

tests!(
    what_several_dead_receivers_had_claimed_is_discarded_too,
    what_a_living_receiver_has_claimed_is_not_discarded,
    positions_that_were_given_up_are_passed_over,
);

fn what_was_sent_is_discarded_counted_and_makes_room<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(8);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    assert_eq!(rx.clear(), Ok(0));
    tx.set_liveness_interval(LONG_INTERVAL);
    // In the middle of a lap, so that it goes over the ring's end.
    tx.try_send_exact(&[0; 5]).unwrap();
    assert_eq!(rx.clear(), Ok(5));
    tx.try_send_exact(&[0; 8]).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid()).unwrap();
        (tx.send(9), tx)
    });
    support::until_thread_sleeps(told.recv().unwrap().as_raw_nonzero().get() as u32);
    let before = std::time::Instant::now();
    assert_eq!(rx.clear(), Ok(8));
    assert_eq!(sleeper.join().unwrap().0, Ok(()));
    assert!(before.elapsed() < support::WOKEN, "nobody told the sender that there is room");
    assert_eq!((rx.try_recv(), rx.redelivered()), (Ok(9), 0));
    assert_eq!((ring.stats().dropped, ring.stats().redelivered), (13, 0));
}

/// The sender numbers what it sends. A receiver that is alone gets, after a call that has discarded
/// so many, the very next; and that was not sent before the call.
fn what_comes_after_the_call_began_is_received<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(64);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0_u64.. {
                if tx.send(n).is_err() || stop.load(Ordering::Relaxed) {
                    break;
                }
                sent.store(n + 1, Ordering::Release);
            }
        });
        let mut next = 0;
        for _ in 0..20_000 {
            let before = sent.load(Ordering::Acquire);
            next += rx.clear().unwrap();
            assert!(next >= before, "{before} were sent before, {next} are gone");
            assert_eq!(rx.recv(), Ok(next));
            next += 1;
        }
        stop.store(true, Ordering::Relaxed);
        drop(rx);
    });
}

fn what_this_receiver_has_given_back_is_discarded_too<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(8);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    tx.try_send_exact(&[1, 2, 3, 4, 5]).unwrap();
    rx.try_claim(3).unwrap().abandon();
    assert_eq!(rx.clear(), Ok(5));
    tx.try_send(6).unwrap();
    assert_eq!((rx.try_recv(), rx.redelivered()), (Ok(6), 0));
    assert_eq!(ring.stats().redelivered, 0, "nobody was given them again");
}

fn what_a_killed_receiver_had_claimed_is_discarded_too<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut tx = K::sender(&ring).unwrap();
    tx.try_send_exact(&[1, 2, 3, 4]).unwrap();
    let mut worker = Child::receiver::<K>(&name, Default::default());
    worker.must("read 3", "[1, 2, 3]");
    worker.kill();
    let mut rx = K::receiver(&ring).unwrap();
    rx.set_liveness_interval(LONG_INTERVAL); // the call itself asks who lives
    assert_eq!(rx.clear(), Ok(4));
    tx.try_send(5).unwrap();
    assert_eq!((rx.try_recv(), rx.redelivered()), (Ok(5), 0));
    drop(tx);
    assert_eq!(rx.recv(), Err(RecvError::Closed), "nothing of the dead one's is left");
}

fn what_several_dead_receivers_had_claimed_is_discarded_too() {
    let (name, ring) = new_ring::<Mpmc>(16);
    let mut tx = ring.sender().unwrap();
    for first in [1, 4, 7] {
        tx.try_send_exact(&[first, first + 1, first + 2]).unwrap();
        let mut worker = Child::receiver::<Mpmc>(&name, Default::default());
        worker.must("read 3", &format!("{:?}", [first, first + 1, first + 2]));
        worker.kill();
    }
    tx.try_send(10).unwrap();
    let mut rx = ring.receiver().unwrap();
    assert_eq!(rx.clear(), Ok(10));
    tx.try_send(11).unwrap();
    drop(tx);
    assert_eq!((rx.recv(), rx.redelivered()), (Ok(11), 0));
    assert_eq!(rx.recv(), Err(RecvError::Closed));
}

fn what_a_living_receiver_has_claimed_is_not_discarded() {
    let (_name, ring) = new_ring::<Mpmc>(8);
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let mut worker = ring.receiver().unwrap();
    tx.try_send_exact(&[1, 2, 3, 4]).unwrap();
    let run = worker.try_claim(2).unwrap();
    assert_eq!(rx.clear(), Ok(2));
    assert!(run.iter().eq([1, 2]));
    run.release(1);
    assert_eq!(worker.try_recv(), Ok(2));
    assert_eq!(ring.stats().dropped, 2);
}

fn positions_that_were_given_up_are_passed_over() {
    let (_name, ring) = new_ring::<Mpmc>(8);
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    for value in [1, 2] {
        tx.try_claim(2).unwrap().abandon();
        tx.try_send(value).unwrap();
    }
    assert_eq!(rx.clear(), Ok(2));
    tx.try_claim(2).unwrap().abandon();
    assert_eq!(rx.clear(), Ok(0));
    tx.try_send_exact(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap(); // all of it is free
}

fn end_of_file_comes_after_it<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(8);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    tx.try_send_exact(&[1, 2, 3]).unwrap();
    drop(tx);
    assert_eq!(rx.clear(), Ok(3));
    assert_eq!(rx.clear(), Ok(0));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.clear(), Ok(0));
}
