//! A pool's borrowers leave nothing to each other: neither what they hold, nor how they wait.

mod support;

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringpipe::{
    AttachError, Mpmc, Pool, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError,
    TrySendError, WaitPolicy, mpmc,
};
use support::forked::in_a_fork;
use support::{Child, new_ring, roles, tests};

roles!();

tests!(
    items_kept_by_a_borrower_go_to_others,
    slots_kept_by_a_borrower_are_given_up,
    an_end_that_keeps_items_is_lent_when_a_pool_is_made_from_it,
    a_borrower_that_was_cancelled_cancels_no_other,
    a_borrower_waits_as_the_pool_does,
    a_borrower_requires_a_peer_if_the_pool_does,
    ends_of_another_ring_are_not_lent,
    ends_are_used_again,
    a_pool_learns_of_a_death_though_each_borrow_is_short,
    an_end_that_is_not_put_back_leaves_its_record,
    a_forked_child_is_told_so_whoever_has_the_pool,
    a_borrower_is_told_nothing_of_items_before,
);

/// What borrowers do that keep items: they panic, return early, or release a part.
fn keep(pool: &Pool<mpmc::Receiver<u64>>, how: usize) {
    let mut lent = pool.get().unwrap();
    let run = lent.try_claim(2).unwrap();
    match how {
        0 => drop(catch_unwind(AssertUnwindSafe(move || {
            let _run = run;
            std::panic::resume_unwind(Box::new("in mid-work"))
        }))),
        1 => run.abandon(),
        _ => run.release(1),
    }
}

fn items_kept_by_a_borrower_go_to_others() {
    for how in 0..3 {
        let (mut tx, rx) = mpmc::channel::<u64>(4).unwrap();
        // Not one of the pool's, of which nobody may want another for long.
        let mut other = rx.try_clone().unwrap();
        let pool = Pool::new(rx);
        tx.try_send_slice(&[1, 2, 3]).unwrap();
        keep(&pool, how);
        let mut received = Vec::new();
        other.set_liveness_interval(Duration::from_millis(1));
        let wanted: &[u64] = if how == 2 { &[2, 3] } else { &[1, 2, 3] };
        while received.len() < wanted.len() {
            received.push(other.recv_timeout(Duration::from_secs(20)).unwrap());
        }
        received.sort_unstable();
        assert_eq!(received, wanted, "{how}");
        // More than a lap: nothing is held by nobody.
        for n in 0..10 {
            tx.send_timeout(n, Duration::from_secs(20)).unwrap();
            assert_eq!(other.recv_timeout(Duration::from_secs(20)), Ok(n), "{how}");
        }
    }
}

fn slots_kept_by_a_borrower_are_given_up() {
    let (tx, mut rx) = mpmc::channel::<u64>(4).unwrap();
    let mut other = tx.try_clone().unwrap();
    let pool = Pool::new(tx);
    forget(pool.get().unwrap().try_claim(2).unwrap());
    for n in 0..10 {
        other.send_timeout(n, Duration::from_secs(20)).unwrap();
        assert_eq!(rx.recv_timeout(Duration::from_secs(20)), Ok(n));
    }
}

fn an_end_that_keeps_items_is_lent_when_a_pool_is_made_from_it() {
    let (mut tx, mut rx) = mpmc::channel::<u64>(4).unwrap();
    tx.try_send_slice(&[1, 2, 3]).unwrap();
    rx.try_claim(2).unwrap().abandon();
    let pool = Pool::new(rx);
    let mut first = pool.get().unwrap();
    assert_eq!((first.try_recv(), first.try_recv()), (Ok(1), Ok(2)));
    let mut second = pool.get().unwrap();
    assert_eq!(second.try_recv(), Ok(3));
    assert_eq!(second.peers().receivers, 3, "and one that stays with the pool");
}

fn a_borrower_that_was_cancelled_cancels_no_other() {
    let (_tx, rx) = mpmc::channel::<u64>(4).unwrap();
    let pool = Pool::new(rx);
    let moment = Duration::from_millis(1);
    let mut lent = pool.get().unwrap();
    let canceller = lent.canceller();
    canceller.cancel();
    assert_eq!(lent.recv(), Err(RecvError::Cancelled));
    drop(lent);
    let mut lent = pool.get().unwrap();
    assert_eq!(lent.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
    // Nor later.
    let kept = lent.canceller();
    drop(lent);
    let mut lent = pool.get().unwrap();
    kept.cancel();
    assert_eq!(lent.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
    assert_eq!(lent.peers().receivers, 2, "one and the same");
}

fn a_borrower_waits_as_the_pool_does() {
    let (mut tx, _rx) = mpmc::channel::<u64>(1).unwrap();
    tx.set_wait_policy(WaitPolicy::Park);
    tx.set_liveness_interval(Duration::from_millis(7));
    let pool = Pool::new(tx);
    let mut lent = pool.get().unwrap();
    lent.set_wait_policy(WaitPolicy::Spin);
    lent.set_liveness_interval(Duration::from_secs(10));
    drop(lent);
    let lent = pool.get().unwrap();
    let shown = format!("{lent:?}");
    assert!(shown.contains("policy: Park") && shown.contains("interval: 7ms"), "{shown}");
}

fn a_borrower_requires_a_peer_if_the_pool_does() {
    let ring = mpmc::Ring::<u64>::options().capacity(1).create_anonymous().unwrap();
    let pool = Pool::new(ring.sender().unwrap());
    let mut lent = pool.get().unwrap();
    lent.require_peer();
    assert_eq!(lent.try_send(1), Err(TrySendError::Closed(1)));
    drop(lent);
    let mut lent = pool.get().unwrap();
    assert_eq!(lent.try_send(1), Ok(()), "it waits for the first receiver");
    let full = lent.send_timeout(2, Duration::from_millis(1));
    assert_eq!(full, Err(SendTimeoutError::Timeout(2)));

    let ring = mpmc::Ring::<u64>::options().capacity(1).create_anonymous().unwrap();
    let mut rx = ring.receiver().unwrap();
    rx.require_peer();
    let pool = Pool::new(rx);
    for _ in 0..2 {
        assert_eq!(pool.get().unwrap().try_recv(), Err(TryRecvError::Closed));
    }
}

fn ends_of_another_ring_are_not_lent() {
    let (tx, mut rx) = mpmc::channel::<u64>(4).unwrap();
    let (mut other_tx, _other_rx) = mpmc::channel::<u64>(4).unwrap();
    let pool = Pool::new(tx);
    std::mem::swap(&mut *pool.get().unwrap(), &mut other_tx);
    pool.get().unwrap().try_send(7).unwrap();
    assert_eq!(rx.try_recv(), Ok(7));
}

fn ends_are_used_again() {
    let (tx, mut rx) = mpmc::channel::<u64>(4).unwrap();
    let pool = Pool::new(tx);
    for n in 0..100 {
        pool.get().unwrap().send(n).unwrap();
        assert_eq!(rx.recv(), Ok(n));
    }
    assert_eq!(rx.ring().stats().sender_arrivals, 2);
}

/// What one looks for in vain, the next goes on looking for.
fn a_pool_learns_of_a_death_though_each_borrow_is_short() {
    let (name, ring) = new_ring::<Mpmc>(2);
    for waits in [Duration::ZERO, Duration::from_millis(3)] {
        let pool = Pool::new(ring.receiver().unwrap());
        let mut tx = Child::sender::<Mpmc>(&name, WaitPolicy::Park);
        tx.must("send 1", "Ok(())");
        assert_eq!(pool.get().unwrap().recv(), Ok(1));
        tx.kill();
        loop {
            match pool.get().unwrap().recv_timeout(waits) {
                Err(RecvTimeoutError::Timeout) => {}
                told => break assert_eq!(told, Err(RecvTimeoutError::Closed)),
            }
        }
    }
}

fn an_end_that_is_not_put_back_leaves_its_record() {
    let options = mpmc::Ring::<u64>::options().capacity(4).endpoints(3);
    let ring = options.create_anonymous().unwrap();
    let _rx = ring.receiver().unwrap();
    let pool = Pool::new(ring.sender().unwrap());
    for _ in 0..3 {
        pool.get().unwrap().require_peer(); // cannot be undone
    }
    let lent = pool.get().unwrap();
    assert!(matches!(pool.get(), Err(AttachError::TableFull { .. })));
    drop(lent);
    assert!(pool.get().is_ok());
}

/// Also if another thread of its parent had the pool's locks when it was forked.
fn a_forked_child_is_told_so_whoever_has_the_pool() {
    let (tx, _rx) = mpmc::channel::<u64>(4).unwrap();
    let pool = Pool::new(tx);
    let mut lent = Some(pool.get().unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    pool.get().unwrap().require_peer(); // so that the next attaches
                }
            });
        }
        for _ in 0..30 {
            in_a_fork(|| {
                assert!(matches!(pool.get(), Err(AttachError::Forked { .. })));
                drop(lent.take());
                let _ = format!("{pool:?}");
            });
        }
        over.store(true, Ordering::Relaxed);
    });
    lent.expect("the parent's").send(1).unwrap();
}

fn a_borrower_is_told_nothing_of_items_before() {
    let (mut tx, rx) = mpmc::channel::<u64>(4).unwrap();
    tx.try_send(1).unwrap();
    let mut leaves = rx.try_clone().unwrap();
    leaves.try_claim(1).unwrap().abandon();
    drop(leaves);
    let pool = Pool::new(rx);
    let mut lent = pool.get().unwrap();
    assert_eq!(lent.recv_timeout(Duration::from_secs(20)), Ok(1));
    assert_eq!(lent.redelivered(), 1);
    drop(lent);
    let lent = pool.get().unwrap();
    assert_eq!((lent.redelivered(), lent.redeliveries()), (0, 0));
}
