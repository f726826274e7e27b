//! Ends for tasks: they wait without a thread of their own, are woken, learn of deaths, and a future
//! that is dropped costs nothing.

#[path = "../support/mod.rs"]
mod support;

mod executor;

use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use executor::{Tasks, block_on, poll_once};
use futures_core::Stream;
use futures_sink::Sink;
use ringpipe::messages::{self, Messages};
use ringpipe::{Async, BulkError, Mpmc, RecvError, SendError, Spsc, mpmc, spsc};
use support::{Child, LONG_INTERVAL, Rng, forked::in_a_fork, new_ring, roles, tests};

roles!();

tests!(
    c01_a_task_sleeps_while_the_ring_is_empty_and_is_woken_by_a_process_that_sends,
    c02_a_task_sleeps_while_the_ring_is_full_and_is_woken_by_a_process_that_receives,
    c04_the_end_of_the_file_ends_the_wait_of_every_task,
    c07_tasks_learn_that_their_peer_was_killed,
    c08_a_canceller_ends_the_wait_of_a_task,
    messages_and_bytes_are_waited_for_as_values_are,
    a_dropped_future_has_claimed_nothing,
    the_wake_of_a_dropped_future_goes_to_another_task,
    the_wake_of_a_dropped_future_goes_to_a_receiver_that_blocks,
    items_are_neither_lost_nor_doubled_by_tasks_that_are_cancelled_at_random,
    a_thousand_tasks_wait_at_one_ring_and_each_is_served,
    a_process_may_wait_at_more_rings_than_one_helper_has_words,
    c07_tasks_at_many_rings_learn_that_their_peer_was_killed,
    ends_that_come_and_go_wake_one_task_and_not_all,
    a_ring_that_a_helper_still_knows_can_be_closed_and_checked_out,
    a_forked_child_is_told_so_and_its_own_tasks_wait_as_everywhere,
    streams_and_sinks,
    a_reserved_slot_is_sent_or_given_up,
);

fn both<K: support::Flavour>(capacity: usize) -> (support::Tx<K>, Async<support::Rx<K>>) {
    let ring = support::options::<K>().capacity(capacity).create_anonymous().unwrap();
    (K::sender(&ring).unwrap(), Async::new(K::receiver(&ring).unwrap()))
}

fn c01_a_task_sleeps_while_the_ring_is_empty_and_is_woken_by_a_process_that_sends() {
    fn of<K: support::Flavour>() {
        let (name, ring) = new_ring::<K>(4);
        let mut rx = K::receiver(&ring).unwrap();
        rx.set_liveness_interval(LONG_INTERVAL); // only a wake is in time
        let mut rx = Async::new(rx);
        let mut child = Child::puppet::<K>(&name);
        child.must("open", "Ok");
        child.must("sender", "Ok");
        for value in 0..100 {
            let received = executor::while_pending(rx.recv(), || {
                child.must(&format!("send {value}"), "Ok(())");
            });
            assert_eq!(received, Ok(value));
        }
    }
    of::<Spsc>();
    of::<Mpmc>();
}

fn c02_a_task_sleeps_while_the_ring_is_full_and_is_woken_by_a_process_that_receives() {
    fn of<K: support::Flavour>() {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = K::sender(&ring).unwrap();
        tx.set_liveness_interval(LONG_INTERVAL);
        let mut tx = Async::new(tx);
        let mut child = Child::puppet::<K>(&name);
        child.must("open", "Ok");
        child.must("receiver", "Ok");
        block_on(tx.send(0)).unwrap();
        for value in 1..100 {
            let sent = executor::while_pending(tx.send(value), || {
                child.must("recv", &format!("Ok({})", value - 1));
            });
            assert_eq!(sent, Ok(()));
        }
    }
    of::<Spsc>();
    of::<Mpmc>();
}

fn c04_the_end_of_the_file_ends_the_wait_of_every_task() {
    let (tx, rx) = mpmc::channel::<u64>(8).unwrap();
    let mut tasks = Tasks::new();
    for _ in 0..5 {
        let mut rx = rx.try_clone().unwrap();
        rx.set_liveness_interval(LONG_INTERVAL);
        let mut rx = Async::new(rx);
        tasks.spawn(async move { assert_eq!(rx.recv().await, Err(RecvError::Closed)) });
    }
    tasks.run_until_all_pend();
    drop(tx);
    tasks.run();
}

fn c07_tasks_learn_that_their_peer_was_killed() {
    fn of<K: support::Flavour>() {
        let (name, ring) = new_ring::<K>(4);
        let mut child = Child::puppet::<K>(&name);
        child.must("open", "Ok");
        child.must("sender", "Ok");
        let mut rx = Async::new(K::receiver(&ring).unwrap());
        let mut child = Some(child);
        let received = executor::while_pending(rx.recv(), || child.take().unwrap().kill());
        assert_eq!(received, Err(RecvError::Closed));
        assert_eq!(rx.get_ref().ending(), Some(ringpipe::Ending::Died(1)));
    }
    of::<Spsc>();
    of::<Mpmc>();
}

fn c08_a_canceller_ends_the_wait_of_a_task() {
    let (_tx, mut rx) = both::<Mpmc>(4);
    rx.get_mut().set_liveness_interval(LONG_INTERVAL);
    let canceller = rx.get_ref().canceller();
    let received = executor::while_pending(rx.recv(), || canceller.cancel());
    assert_eq!(received, Err(RecvError::Cancelled));
    canceller.reset();
    assert!(poll_once(rx.recv()).is_pending());
}

fn messages_and_bytes_are_waited_for_as_values_are() {
    fn of<K: Messages>((tx, rx): (messages::Sender<K>, messages::Receiver<K>)) {
        let (mut tx, mut rx) = (Async::new(tx), Async::new(rx));
        let mut tasks = Tasks::new();
        tasks.spawn(async move {
            for len in 0..500 {
                let message = vec![len as u8; len * 7 % 2040];
                if len % 2 == 0 {
                    tx.send(&message).await.unwrap();
                } else {
                    let mut reserved = tx.reserve(2040).await.unwrap();
                    reserved.writer().write_all(&message).unwrap();
                    reserved.commit();
                }
            }
        });
        tasks.spawn(async move {
            let mut message = Vec::new();
            for len in 0..500 {
                rx.recv(&mut message).await.unwrap();
                assert_eq!(message, vec![len as u8; len * 7 % 2040]);
            }
            assert_eq!(rx.recv(&mut message).await, Err(ringpipe::MessageError::Closed));
        });
        tasks.run();
    }
    of(messages::spsc::channel(4096).unwrap());
    of(messages::mpmc::channel(4096).unwrap());

    let (tx, rx) = ringpipe::bytes::channel(4096).unwrap();
    let (mut tx, mut rx) = (Async::new(tx), Async::new(rx));
    let mut tasks = Tasks::new();
    tasks.spawn(async move {
        let bytes: Vec<_> = (0..100_000_u32).map(|byte| byte as u8).collect();
        let mut sent = 0;
        while sent < bytes.len() {
            sent += tx.send_slice(&bytes[sent..]).await.unwrap();
        }
    });
    tasks.spawn(async move {
        let (mut next, mut buffer) = (0_u32, [0; 1000]);
        loop {
            match rx.recv_slice(&mut buffer).await {
                Ok(len) => {
                    for byte in &buffer[..len] {
                        assert_eq!(*byte, next as u8);
                        next += 1;
                    }
                }
                Err(BulkError::Closed) => break assert_eq!(next, 100_000),
                Err(why) => panic!("{why}"),
            }
        }
    });
    tasks.run();
}

fn a_dropped_future_has_claimed_nothing() {
    fn of<K: support::Flavour>() {
        let (mut tx, mut rx) = both::<K>(1);
        for value in 0..100 {
            assert!(poll_once(rx.recv()).is_pending()); // and dropped
            tx.try_send(value).unwrap();
            drop(rx.recv()); // never polled
            assert_eq!(rx.get_mut().try_recv(), Ok(value));
        }
        let mut tx = Async::new(tx);
        block_on(tx.send(1)).unwrap();
        assert!(poll_once(tx.send(2)).is_pending());
        assert!(poll_once(tx.reserve()).is_pending());
        assert_eq!(block_on(rx.recv()), Ok(1));
        assert_eq!(rx.get_mut().try_recv(), Err(ringpipe::TryRecvError::Empty));
        block_on(tx.send(3)).unwrap();
        assert_eq!(block_on(rx.recv()), Ok(3));
    }
    of::<Spsc>();
    of::<Mpmc>();
}

/// A task that was told of an item, and is dropped before it is polled.
fn the_wake_of_a_dropped_future_goes_to_another_task() {
    for _ in 0..200 {
        let (mut tx, mut first) = both::<Mpmc>(4);
        first.get_mut().set_liveness_interval(LONG_INTERVAL);
        let mut second = first.get_ref().try_clone().unwrap();
        second.set_liveness_interval(LONG_INTERVAL);
        let mut second = Async::new(second);
        let woken = Arc::new(executor::Told::default());
        let mut future = Box::pin(first.recv());
        let waker = Arc::clone(&woken).into();
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let received = executor::while_pending(second.recv(), || {
            tx.try_send(7).unwrap();
            woken.wait(); // the first one's turn
            drop(future);
        });
        assert_eq!(received, Ok(7));
    }
}

fn the_wake_of_a_dropped_future_goes_to_a_receiver_that_blocks() {
    for _ in 0..50 {
        let (mut tx, mut first) = both::<Mpmc>(4);
        first.get_mut().set_liveness_interval(LONG_INTERVAL);
        let mut second = first.get_ref().try_clone().unwrap();
        second.set_liveness_interval(LONG_INTERVAL);
        let mut future = Box::pin(first.recv());
        assert!(poll_once(future.as_mut()).is_pending());
        let blocked = std::thread::spawn(move || second.recv());
        tx.try_send(7).unwrap(); // wakes either
        drop(future);
        assert_eq!(blocked.join().unwrap(), Ok(7));
    }
}

fn items_are_neither_lost_nor_doubled_by_tasks_that_are_cancelled_at_random() {
    const ITEMS: u64 = 20_000;
    let (mut tx, rx) = mpmc::channel::<u64>(8).unwrap();
    let sum = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..3)
        .map(|seed| {
            let (rx, sum) = (rx.try_clone().unwrap(), Arc::clone(&sum));
            std::thread::spawn(move || {
                let mut tasks = Tasks::new();
                for task in 0..4 {
                    let (mut rx, sum) = (Async::new(rx.try_clone().unwrap()), Arc::clone(&sum));
                    let mut rng = Rng::new(4 * seed + task);
                    tasks.spawn(async move {
                        loop {
                            // Each wait is given up after so many polls, at random.
                            let polls = rng.within(0..4);
                            match executor::for_polls(polls, rx.recv()).await {
                                None => executor::make_way().await,
                                Some(Ok(item)) => {
                                    sum.fetch_add(item as usize, Ordering::Relaxed);
                                }
                                Some(Err(RecvError::Closed)) => break,
                                Some(Err(why)) => panic!("{why}"),
                            }
                        }
                    });
                }
                drop(rx);
                tasks.run();
            })
        })
        .collect();
    drop(rx);
    for item in 1..=ITEMS {
        tx.send(item).unwrap();
    }
    drop(tx);
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(sum.load(Ordering::Relaxed) as u64, ITEMS * (ITEMS + 1) / 2);
}

fn a_thousand_tasks_wait_at_one_ring_and_each_is_served() {
    const TASKS: usize = 1000;
    let ring = mpmc::Ring::<u64>::options()
        .capacity(TASKS)
        .endpoints(TASKS as u32 + 2)
        .create_anonymous()
        .unwrap();
    let mut tasks = Tasks::new();
    for _ in 0..TASKS {
        let mut rx = Async::new(ring.receiver().unwrap());
        tasks.spawn(async move {
            rx.recv().await.unwrap();
        });
    }
    let mut tx = ring.sender().unwrap();
    tasks.run_until_all_pend();
    for item in 0..TASKS as u64 {
        tx.send(item).unwrap();
    }
    tasks.run();
    assert!(tx.is_empty());
}

fn a_process_may_wait_at_more_rings_than_one_helper_has_words() {
    let mut tasks = Tasks::new();
    let mut senders = Vec::new();
    for _ in 0..300 {
        let (tx, mut rx) = both::<Spsc>(4);
        tasks.spawn(async move {
            for value in 0..3 {
                assert_eq!(rx.recv().await, Ok(value));
            }
        });
        senders.push(tx);
    }
    for value in 0..3 {
        tasks.run_until_all_pend();
        for tx in &mut senders {
            tx.send(value).unwrap();
        }
    }
    tasks.run();
}

/// More rings than there are checks in an interval: they take turns.
fn c07_tasks_at_many_rings_learn_that_their_peer_was_killed() {
    let mut tasks = Tasks::new();
    let mut children = Vec::new();
    for index in 0..400 {
        // The peer of some of them is another process. All of them are asked after.
        let (name, ring) = new_ring::<Spsc>(4);
        let mut rx = Async::new(ring.consumer().unwrap());
        if index % 100 == 0 {
            let mut child = Child::puppet::<Spsc>(&name);
            child.must("open", "Ok");
            child.must("sender", "Ok");
            children.push(child);
            tasks.spawn(async move { assert_eq!(rx.recv().await, Err(RecvError::Closed)) });
        } else {
            let tx = ring.producer().unwrap();
            tasks.spawn_for_ever(async move {
                let _tx = tx;
                rx.recv().await.unwrap();
            });
        }
    }
    tasks.run_until_all_pend();
    children.into_iter().for_each(Child::kill);
    tasks.run();
}

/// A change of the endpoint table that ends no wait is no reason to wake all.
fn ends_that_come_and_go_wake_one_task_and_not_all() {
    const TASKS: usize = 50;
    let (mut tx, rx) = mpmc::channel::<u64>(8).unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let mut tasks = Tasks::new();
    for _ in 0..TASKS {
        let mut rx = rx.try_clone().unwrap();
        rx.set_liveness_interval(LONG_INTERVAL);
        let (mut rx, polls) = (Async::new(rx), Arc::clone(&polls));
        tasks.spawn(async move {
            let mut waits = pin!(rx.recv());
            let counted = std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                waits.as_mut().poll(cx)
            });
            counted.await.unwrap();
        });
    }
    tasks.run_until_all_pend();
    for item in 0..TASKS as u64 {
        drop(rx.try_clone().unwrap());
        tx.send(item).unwrap();
        tasks.run_one();
        tasks.run_until_all_pend();
    }
    tasks.run();
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls < 5 * TASKS, "{polls} polls of {TASKS} tasks");
}

/// The helper keeps a word for a while after its last task, but it does not keep the ring open.
fn a_ring_that_a_helper_still_knows_can_be_closed_and_checked_out() {
    let path = support::Directory::new();
    let path = path.join("ring");
    let ring = spsc::Ring::<u64>::options().capacity(8).create_file(&path).unwrap();
    let mut rx = Async::new(ring.consumer().unwrap());
    let mut tx = ring.producer().unwrap();
    assert!(poll_once(rx.recv()).is_pending());
    tx.send(7).unwrap();
    assert_eq!(block_on(rx.recv()), Ok(7));
    drop((tx, rx));
    ring.checkpoint().unwrap();
}

fn a_forked_child_is_told_so_and_its_own_tasks_wait_as_everywhere() {
    let (mut tx, mut rx) = both::<Mpmc>(4);
    let mut pending = Box::pin(rx.recv());
    assert!(poll_once(pending.as_mut()).is_pending());
    in_a_fork(|| {
        assert_eq!(poll_once(pending.as_mut()), Poll::Ready(Err(RecvError::Forked)));
        let (mut tx, mut rx) = both::<Mpmc>(4);
        let received = executor::while_pending(rx.recv(), || tx.try_send(3).unwrap());
        assert_eq!(received, Ok(3));
    });
    let received = executor::while_pending(pending, || tx.try_send(7).unwrap());
    assert_eq!(received, Ok(7));
}

fn streams_and_sinks() {
    let (tx, rx) = mpmc::channel::<u64>(2).unwrap();
    let (mut tx, mut rx) = (Async::new(tx), Async::new(rx));
    let mut tasks = Tasks::new();
    tasks.spawn(async move {
        for value in 0..100 {
            std::future::poll_fn(|cx| pin!(&mut tx).poll_ready(cx)).await.unwrap();
            pin!(&mut tx).start_send(value).unwrap();
        }
        std::future::poll_fn(|cx| pin!(&mut tx).poll_close(cx)).await.unwrap();
    });
    tasks.spawn(async move {
        for value in 0..100 {
            let next = std::future::poll_fn(|cx| pin!(&mut rx).poll_next(cx)).await;
            assert_eq!(next, Some(Ok(value)));
        }
        assert_eq!(std::future::poll_fn(|cx| pin!(&mut rx).poll_next(cx)).await, None);
    });
    tasks.run();

    // An error is the last item.
    let (_tx, mut rx) = both::<Spsc>(2);
    rx.get_ref().canceller().cancel();
    let mut next = || poll_once(std::future::poll_fn(|cx| pin!(&mut rx).poll_next(cx)));
    assert_eq!(next(), Poll::Ready(Some(Err(RecvError::Cancelled))));
    assert_eq!(next(), Poll::Ready(None));
}

fn a_reserved_slot_is_sent_or_given_up() {
    fn of<K: support::Flavour>() {
        let (tx, mut rx) = both::<K>(2);
        let mut tx = Async::new(tx);
        drop(block_on(tx.reserve()).unwrap());
        block_on(tx.reserve()).unwrap().send(7);
        assert_eq!(block_on(rx.recv()), Ok(7));
        drop(rx);
        assert_eq!(block_on(tx.send(8)), Err(SendError::Closed(8)));
        assert_eq!(block_on(tx.reserve()).err(), Some(BulkError::Closed));
    }
    of::<Spsc>();
    of::<Mpmc>();
}
