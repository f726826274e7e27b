//! Corners in which reviews have found ringpipe wrong, one test each: they stay right.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use ringpipe::{BulkError, Mpmc, RecvError, TryRecvError, WaitPolicy, mpmc, spsc};

#[macro_use]
mod support;

use support::{LONG_INTERVAL, Rx, options, until_thread_sleeps, watched};

/// A thread that sleeps in `recv` and says what came of it, once it is asleep.
fn sleeper(mut rx: Rx<Mpmc>) -> mpsc::Receiver<Result<u64, RecvError>> {
    let (tell_id, id) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    rx.set_wait_policy(WaitPolicy::Park);
    rx.set_liveness_interval(LONG_INTERVAL);
    std::thread::spawn(move || {
        // SAFETY: asks for a number.
        let _ = tell_id.send(unsafe { libc::gettid() } as u32);
        let _ = tell.send(rx.recv());
    });
    until_thread_sleeps(id.recv().unwrap());
    told
}

/// Sooner than by the end of an interval.
fn soon<T>(told: &mpsc::Receiver<T>) -> T {
    told.recv_timeout(LONG_INTERVAL / 2).expect("a wake, not the end of an interval")
}

#[test]
fn a_hole_between_two_items_does_not_swallow_the_wake_for_the_second() {
    watched("hole", || {
        let ring = options::<Mpmc>().capacity(8).create_anonymous().unwrap();
        let (mut s0, mut s1) = (ring.sender().unwrap(), ring.sender().unwrap());
        let sleepers = [(); 2].map(|()| sleeper(ring.receiver().unwrap()));
        let run = s0.try_claim(2).unwrap();
        s1.try_send(2).unwrap(); // nobody can use it yet
        let mut run = run;
        run.write(0, 1);
        run.commit(1); // one wake for an item, a hole, and the item behind it
        let mut got = sleepers.map(|told| soon(&told).unwrap());
        got.sort();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn a_receiver_that_keeps_its_items_passes_the_wake_on_at_once() {
    watched("kept", || {
        let ring = options::<Mpmc>().capacity(8).create_anonymous().unwrap();
        let mut tx = ring.sender().unwrap();
        let told = sleeper(ring.receiver().unwrap());
        let mut worker = ring.receiver().unwrap();
        // Both items are published by one commit with one wake, which the worker may well take
        // the items from under.
        tx.try_send_slice(&[1, 2]).unwrap();
        let job = worker.try_claim(1).unwrap();
        soon(&told).unwrap();
        drop(job);
    });
}

#[test]
fn a_forgotten_claim_is_given_up_aloud() {
    watched("forgotten", || {
        let (mut tx, rx) = mpmc::channel::<u64>(1).unwrap();
        let told = sleeper(rx);
        tx.set_wait_policy(WaitPolicy::Park);
        tx.set_liveness_interval(LONG_INTERVAL);
        std::mem::forget(tx.try_claim(1).unwrap());
        // The slot comes free only when the sleeper passes over the hole.
        tx.send_timeout(7, LONG_INTERVAL / 2).unwrap();
        assert_eq!(soon(&told), Ok(7));
    });
}

#[test]
fn who_adopts_less_than_it_waits_for_is_told_so() {
    let (mut tx, mut dying) = mpmc::channel::<u64>(8).unwrap();
    let mut adopter = dying.try_clone().unwrap();
    tx.try_send(1).unwrap();
    let _held = dying.try_claim(1).unwrap(); // not released
    drop(dying); // an abandoned claim of one item
    tx.try_send_slice(&[2, 3, 4, 5]).unwrap();
    adopter.set_liveness_interval(Duration::from_millis(1));
    let mut four = [0; 4];
    let mut six = [0; 6];
    // Enough is there without the adoption.
    assert_eq!(adopter.try_recv_exact(&mut four), Ok(()));
    assert_eq!(four, [2, 3, 4, 5]);
    // Not so for six: while waiting, it adopts one.
    assert_eq!(adopter.recv_exact(&mut six), Err(BulkError::Held { held: 1 }));
    assert_eq!(adopter.recv(), Ok(1));
    assert_eq!(adopter.redelivered(), 1);
}

#[test]
fn a_hole_in_a_full_ring_ends_the_wait_for_all_of_it() {
    let (mut tx, mut rx) = mpmc::channel::<u64>(2).unwrap();
    let mut run = tx.try_claim(2).unwrap();
    run.write(0, 1);
    run.commit(1);
    let mut two = [0; 2];
    let fragmented = Err(BulkError::Fragmented { adjacent: 1 });
    assert_eq!(rx.recv_exact(&mut two), fragmented);
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty)); // passes over the hole
    tx.try_send_exact(&[2, 3]).unwrap();
    assert_eq!(rx.recv_exact(&mut two), Ok(()));
}

#[test]
fn a_descriptor_number_that_was_reused_takes_no_role_from_the_living() {
    let ring = options::<ringpipe::Spsc>().create_anonymous().unwrap();
    let other = options::<ringpipe::Spsc>().create_anonymous().unwrap();
    let mut tx = ring.producer().unwrap();
    let mut rx = ring.consumer().unwrap();
    rx.set_liveness_interval(Duration::from_millis(1));
    // Behind the crate's back, the ring's descriptor now leads to another ring.
    // SAFETY: both are open descriptors; what becomes of the first is what is tested.
    let reused = unsafe { libc::dup2(other.as_fd().as_raw_fd(), ring.as_fd().as_raw_fd()) };
    assert_eq!(reused, ring.as_fd().as_raw_fd());
    assert!(ring.producer().is_err());
    // Nor are the living declared dead, and whoever waits is told that it cannot know.
    let empty = rx.recv_timeout(Duration::from_secs(30));
    assert_eq!(empty, Err(ringpipe::RecvTimeoutError::DescriptorLost));
    tx.try_send(1).unwrap();
    assert_eq!(rx.try_recv(), Ok(1));
}

#[test]
fn ends_that_attach_at_the_same_moment_do_not_miss_each_other() {
    watched("both at once", || {
        for _ in 0..3000 {
            let ring = options::<ringpipe::Spsc>().capacity(2).create_anonymous().unwrap();
            let start = Barrier::new(2);
            let [early, late] = [Barrier::new(2), Barrier::new(2)];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    let mut tx = ring.producer().unwrap();
                    early.wait();
                    assert_eq!(tx.try_send(1), Ok(()), "there is a consumer");
                    late.wait();
                });
                start.wait();
                let mut rx = ring.consumer().unwrap();
                let before = rx.try_recv();
                assert_ne!(before, Err(TryRecvError::Closed), "the producer has not left");
                early.wait();
                late.wait();
                assert_eq!(rx.recv(), Ok(1));
            });
        }
    });
}

#[test]
fn a_table_full_of_abandoned_claims_lets_new_receivers_in_and_loses_nothing() {
    let ring = options::<Mpmc>().capacity(16).endpoints(8).create_anonymous().unwrap();
    let mut tx = ring.sender().unwrap();
    tx.try_send_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    let mut dying: Vec<_> = (0..7).map(|_| ring.receiver().unwrap()).collect();
    for rx in &mut dying {
        let _held = rx.try_claim(1).unwrap(); // not released
    }
    drop(dying);
    drop(tx); // its record is free, and is taken first
    let mut receivers: Vec<_> = (0..8).map(|_| ring.receiver().unwrap()).collect();
    let mut got = Vec::new();
    for rx in &mut receivers {
        rx.set_liveness_interval(Duration::from_millis(1));
        rx.require_peer();
        while let Ok(value) = rx.recv() {
            got.push((value, rx.redelivered() > 0));
        }
    }
    got.sort();
    let expected: Vec<_> = (0..10).map(|n| (n, n < 7)).collect();
    assert_eq!(got, expected);
}

#[test]
fn who_attaches_without_a_sender_finds_what_a_receiver_has_left() {
    let ring = options::<Mpmc>().create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    tx.try_send(7).unwrap();
    drop(tx);
    rx.try_claim(1).unwrap().abandon();
    drop(rx);
    let mut rx = ring.receiver().unwrap();
    assert_eq!(rx.try_recv(), Ok(7));
}

#[test]
fn an_spsc_ring_hands_over_all_that_it_holds_in_one_piece() {
    const ALL: usize = 1 << 25;
    let most = (1 << 24) - 1;
    let (mut tx, mut rx) = spsc::channel::<u8>(ALL).unwrap();
    let sent: Vec<u8> = (0..ALL).map(|index| (index % 251) as u8).collect();
    let mut got = vec![0; ALL];
    tx.try_send_exact(&sent).unwrap();
    assert_eq!(rx.try_recv_slice(&mut got), Ok(ALL));
    assert!(got == sent);
    // What dies with its owner and is settled by others has a limit.
    let (mut tx, _rx) = mpmc::channel::<u8>(ALL).unwrap();
    assert_eq!(tx.try_send_exact(&sent), Err(BulkError::TooLong { len: ALL, most }));
    assert_eq!(tx.try_send_slice(&sent), Ok(most));
}
