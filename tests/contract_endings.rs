//! C2, C4, C8: whose end-of-file it is, who is told of it, and whether it was a close or a crash.

mod support;

#[path = "support/death.rs"]
mod death;

use std::time::Duration;

use death::{MANY_CHECKS, SHORT_INTERVAL, SOON, checking_receiver};
use ringpipe::{
    Ending, Mpmc, PeerError, Pool, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError,
    TrySendError, mpmc,
};
use support::{Child, Flavour, both_kinds, new_ring, roles, tests};

roles!();

both_kinds!(
    c02_the_ending_tells_a_close_from_a_crash,
    c02_a_process_that_exits_without_dropping_its_handle_has_died,
    c02_what_was_told_is_told_again_and_not_counted_again,
    c02_the_iterator_keeps_the_reason,
    c04_the_ending_tells_a_sender_how_its_receiver_went,
    c08_both_programs_end_in_whichever_order_they_start,
    c08_an_end_of_file_that_nobody_was_told_of_is_the_next_receivers,
    c08_a_receiver_that_attaches_after_a_crash_learns_of_it,
    c08_a_crash_that_another_was_told_of_is_history,
    c08_a_receiver_that_comes_after_the_end_and_requires_a_peer_is_told_of_the_crash_too,
    c04_a_receiver_that_died_before_the_sender_came_is_history,
    c08_a_crash_that_another_was_told_of_is_history_for_one_that_requires_a_peer_and_met_another,
    c08_what_is_left_over_by_a_call_for_many_is_followed_by_an_end_of_file_for_the_next,
);

tests!(
    c02_one_crash_among_several_senders_is_a_crash_whoever_is_last,
    c02_a_sender_that_comes_during_the_last_drain_puts_the_end_off,
    c02_items_that_are_adopted_after_the_end_of_file_are_followed_by_another,
    c02_a_receiver_that_waits_for_a_peer_does_not_sit_on_what_a_dead_one_held,
    c08_items_that_another_holds_at_the_end_are_followed_by_an_end_for_whoever_gets_them,
    c08_workers_that_start_apart_all_end_if_they_require_a_peer,
    c08_a_clone_has_met_whom_its_original_has_met,
    c08_a_clone_requires_a_peer_if_its_original_does,
    c08_a_pool_lends_ends_that_know_what_its_first_knows,
);

fn c02_the_ending_tells_a_close_from_a_crash<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    for (value, kill) in [(1, false), (2, true), (3, true), (4, false)] {
        let mut tx = Child::sender::<K>(&name, Default::default());
        tx.must(&format!("send {value}"), "Ok(())");
        assert_eq!(rx.recv_timeout(SOON), Ok(value));
        assert_eq!(rx.ending(), None, "it is there");
        let how = match kill {
            true => Ending::Died(1),
            false => Ending::Closed,
        };
        if kill {
            tx.kill()
        } else {
            tx.finish()
        }
        assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
        assert_eq!(rx.ending(), Some(how), "{value}");
    }
}

fn c02_a_process_that_exits_without_dropping_its_handle_has_died<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("send 1", "Ok(())");
    tx.say("exit");
    assert!(tx.wait().success());
    assert_eq!(rx.recv_timeout(SOON), Ok(1));
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Died(1)));
}

fn c02_what_was_told_is_told_again_and_not_counted_again<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    Child::sender::<K>(&name, Default::default()).kill();
    for _ in 0..3 {
        assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
        assert_eq!(rx.ending(), Some(Ending::Died(1)));
    }
    // Another has come: nothing has ended. Then nothing more is told of the first.
    let tx = K::sender(&ring).unwrap();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.ending(), None);
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Closed));
}

fn c02_the_iterator_keeps_the_reason<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("send 1", "Ok(())");
    tx.kill();
    let mut items = rx.iter();
    assert_eq!(items.error(), None);
    assert_eq!(items.by_ref().collect::<Vec<_>>(), [1]);
    assert_eq!(items.error(), Some(RecvError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Died(1)));
    // A loop that was cut off has not come to an end.
    let tx = K::sender(&ring).unwrap();
    rx.canceller().cancel();
    let mut items = rx.iter();
    assert_eq!(items.next(), None);
    assert_eq!(items.error(), Some(RecvError::Cancelled));
    assert_eq!(rx.ending(), None);
    drop(tx);
}

fn c04_the_ending_tells_a_sender_how_its_receiver_went<K: Flavour>() {
    let (name, ring) = new_ring::<K>(1);
    let mut tx = K::sender(&ring).unwrap();
    tx.set_liveness_interval(SHORT_INTERVAL);
    assert_eq!(tx.try_send(0), Ok(()));
    for (kill, how) in [(true, Ending::Died(1)), (false, Ending::Closed), (true, Ending::Died(1))] {
        let rx = Child::receiver::<K>(&name, Default::default());
        assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
        assert_eq!(tx.ending(), None);
        if kill {
            rx.kill()
        } else {
            rx.finish()
        }
        assert_eq!(tx.send_timeout(1, SOON), Err(SendTimeoutError::Closed(1)));
        assert_eq!(tx.ending(), Some(how));
    }
}

fn c08_both_programs_end_in_whichever_order_they_start<K: Flavour>() {
    for items in [0, 3] {
        for sender_first in [false, true] {
            let (name, ring) = new_ring::<K>(8);
            let receiver = || Child::receiver::<K>(&name, Default::default());
            let send = || {
                let mut tx = K::sender(&ring).unwrap();
                (0..items).for_each(|value| tx.send(value).unwrap());
            };
            let mut rx = match sender_first {
                true => {
                    send();
                    receiver()
                }
                false => {
                    let rx = receiver();
                    send();
                    rx
                }
            };
            let all: Vec<u64> = (0..items).collect();
            rx.must("drain", &format!("{all:?} then Err(Closed)"));
            rx.must("ending", "Some(Closed)");
            rx.finish();
            // What was read to its end yesterday is not today's.
            let mut rx = K::receiver(&ring).unwrap();
            assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
            assert_eq!(rx.ending(), None);
        }
    }
}

fn c08_an_end_of_file_that_nobody_was_told_of_is_the_next_receivers<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut first = Child::receiver::<K>(&name, Default::default());
    let mut tx = K::sender(&ring).unwrap();
    tx.try_send_slice(&[1, 2]).unwrap();
    first.must("recv", "Ok(1)");
    first.must("recv", "Ok(2)");
    drop(tx);
    first.kill(); // it had everything but the end
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.wait_for_peer(Duration::ZERO), Err(PeerError::Timeout));
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Closed));
    drop(rx);
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
}

fn c08_a_receiver_that_attaches_after_a_crash_learns_of_it<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("send 1", "Ok(())");
    tx.kill();
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(SOON), Ok(1));
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Died(1)));
}

fn c08_a_crash_that_another_was_told_of_is_history<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    Child::sender::<K>(&name, Default::default()).kill();
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    drop(rx);
    let mut rx = checking_receiver(&ring);
    drop(K::sender(&ring).unwrap());
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Closed));
}

fn c08_a_receiver_that_comes_after_the_end_and_requires_a_peer_is_told_of_the_crash_too<
    K: Flavour,
>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    Child::sender::<K>(&name, Default::default()).kill();
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    drop(rx);
    let mut late = checking_receiver(&ring);
    late.require_peer();
    assert_eq!(late.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(late.ending(), Some(Ending::Died(1)));
}

/// What others were told before this end attached, it is told if nobody has come since, and only
/// then.
fn c08_a_crash_that_another_was_told_of_is_history_for_one_that_requires_a_peer_and_met_another<
    K: Flavour,
>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = checking_receiver(&ring);
    Child::sender::<K>(&name, Default::default()).kill();
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    drop(rx);
    for require_first in [true, false] {
        let mut rx = checking_receiver(&ring);
        if require_first {
            rx.require_peer();
        }
        for _ in 0..2 {
            drop(K::sender(&ring).unwrap());
            assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
            assert_eq!(rx.ending(), Some(Ending::Closed));
            rx.require_peer();
        }
    }
}

/// Whoever died before a sender came, and was no peer of anybody's, is none of its peers.
fn c04_a_receiver_that_died_before_the_sender_came_is_history<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    Child::receiver::<K>(&name, Default::default()).kill();
    let mut tx = K::sender(&ring).unwrap();
    drop(K::receiver(&ring).unwrap());
    tx.set_liveness_interval(SHORT_INTERVAL);
    death::trying(|| (tx.try_send(1) == Err(TrySendError::Closed(1))).then_some(()));
    assert_eq!(tx.ending(), Some(Ending::Closed));
}

fn c08_what_is_left_over_by_a_call_for_many_is_followed_by_an_end_of_file_for_the_next<
    K: Flavour,
>() {
    let (_, ring) = new_ring::<K>(8);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    tx.try_send_slice(&[1, 2]).unwrap();
    drop(tx);
    let few = rx.try_recv_exact(&mut [0; 3]);
    assert_eq!(few, Err(ringpipe::BulkError::Closed));
    drop(rx);
    let mut next = K::receiver(&ring).unwrap();
    assert_eq!(next.iter().collect::<Vec<_>>(), [1, 2]);
}

fn c02_one_crash_among_several_senders_is_a_crash_whoever_is_last() {
    for crash_first in [true, false] {
        let (name, ring) = new_ring::<Mpmc>(8);
        let mut rx = checking_receiver(&ring);
        let sender = || Child::sender::<Mpmc>(&name, Default::default());
        let (one, other) = (sender(), sender());
        if crash_first {
            one.kill()
        } else {
            one.finish()
        }
        assert_eq!(rx.recv_timeout(MANY_CHECKS), Err(RecvTimeoutError::Timeout));
        if crash_first {
            other.finish()
        } else {
            other.kill()
        }
        assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
        assert_eq!(rx.ending(), Some(Ending::Died(1)));
    }
}

fn c02_a_sender_that_comes_during_the_last_drain_puts_the_end_off() {
    let (_, ring) = new_ring::<Mpmc>(8);
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    tx.try_send_slice(&[1, 2]).unwrap();
    drop(tx);
    assert_eq!(rx.try_recv(), Ok(1));
    let another = ring.sender().unwrap();
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.ending(), None);
    drop(another);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
}

fn c02_items_that_are_adopted_after_the_end_of_file_are_followed_by_another() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut worker = Child::receiver::<Mpmc>(&name, Default::default());
    let mut tx = ring.sender().unwrap();
    tx.try_send_slice(&[1, 2]).unwrap();
    worker.must("read 2", "[1, 2]");
    drop(tx);
    // The items are a living receiver's: they put nothing off.
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    worker.kill();
    let mut got = Vec::new();
    death::trying(|| {
        got.extend(rx.try_recv());
        (got.len() == 2).then_some(())
    });
    assert_eq!(got, [1, 2]);
    assert_eq!(rx.redelivered(), 1);
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.ending(), Some(Ending::Closed), "no sender has died");
}

fn c08_items_that_another_holds_at_the_end_are_followed_by_an_end_for_whoever_gets_them() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut worker = Child::receiver::<Mpmc>(&name, Default::default());
    let mut tx = ring.sender().unwrap();
    tx.try_send(1).unwrap();
    worker.must("read 1", "[1]");
    drop(tx);
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
    drop(rx);
    worker.kill();
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(SOON), Ok(1));
    assert_eq!(rx.recv_timeout(SOON), Err(RecvTimeoutError::Closed));
}

/// One that waits for a sender leaves what the dead have held to those who receive.
fn c02_a_receiver_that_waits_for_a_peer_does_not_sit_on_what_a_dead_one_held() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut worker = Child::receiver::<Mpmc>(&name, Default::default());
    let mut tx = ring.sender().unwrap();
    tx.try_send(1).unwrap();
    worker.must("read 1", "[1]");
    drop(tx);
    worker.kill();
    let mut waiting = checking_receiver(&ring);
    assert_eq!(waiting.wait_for_peer(MANY_CHECKS), Err(PeerError::Timeout));
    let mut rx = checking_receiver(&ring);
    assert_eq!(rx.recv_timeout(SOON), Ok(1));
}

fn c08_workers_that_start_apart_all_end_if_they_require_a_peer() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let worker = || {
        let mut worker = Child::receiver::<Mpmc>(&name, Default::default());
        worker.must("require_peer", "Ok");
        worker
    };
    let mut tx = ring.sender().unwrap();
    let mut first = worker();
    tx.send(1).unwrap();
    first.must("recv", "Ok(1)");
    drop(tx);
    let mut second = worker(); // after the end, before anybody was told of it
    first.must("recv", "Err(Closed)");
    let mut third = worker(); // after that
    for late in [&mut second, &mut third] {
        late.must("recv", "Err(Closed)");
        late.must("ending", "Some(Closed)");
    }
}

fn c08_a_clone_has_met_whom_its_original_has_met() {
    let (mut tx, mut rx) = mpmc::channel::<u64>(8).unwrap();
    tx.try_send(1).unwrap();
    drop(tx);
    let mut before = rx.try_clone().unwrap();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [1]);
    let mut after = rx.try_clone().unwrap();
    let mut of_the_clone = before.try_clone().unwrap();
    for clone in [&mut before, &mut after, &mut of_the_clone, &mut rx] {
        assert_eq!(clone.try_recv(), Err(TryRecvError::Closed));
        assert!(clone.is_closed());
        assert_eq!(clone.ending(), Some(Ending::Closed));
    }

    let (tx, rx) = mpmc::channel::<u64>(2).unwrap();
    drop(rx);
    // The original has not looked yet, and never will.
    let mut clone = tx.try_clone().unwrap();
    assert_eq!(clone.try_send(2), Err(TrySendError::Closed(2)));
    assert!(clone.is_closed());
    // A clone of one that has met nobody waits as it does.
    let (_, ring) = new_ring::<Mpmc>(2);
    let rx = ring.receiver().unwrap();
    let mut clone = rx.try_clone().unwrap();
    assert_eq!(clone.try_recv(), Err(TryRecvError::Empty));
}

fn c08_a_clone_requires_a_peer_if_its_original_does() {
    let (_, ring) = new_ring::<Mpmc>(2);
    let mut rx = ring.receiver().unwrap();
    rx.require_peer();
    assert_eq!(rx.try_clone().unwrap().try_recv(), Err(TryRecvError::Closed));
    let mut tx = ring.sender().unwrap();
    drop(rx);
    tx.require_peer();
    assert_eq!(tx.try_clone().unwrap().try_send(1), Err(TrySendError::Closed(1)));
}

fn c08_a_pool_lends_ends_that_know_what_its_first_knows() {
    let (tx, rx) = mpmc::channel::<u64>(2).unwrap();
    drop(rx);
    let pool = Pool::new(tx);
    let mut lent = pool.get().unwrap();
    assert_eq!(lent.try_send(1), Err(TrySendError::Closed(1)));
    let (tx, mut rx) = mpmc::channel::<u64>(2).unwrap();
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    let pool = Pool::new(rx);
    let mut lent = pool.get().unwrap();
    assert_eq!(lent.try_recv(), Err(TryRecvError::Closed));
}
