//! C10 and C11: deadlines, cancellation and signals.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringpipe::{
    BulkError, Deadline, Mpmc, PeerError, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, WaitPolicy,
};
use support::{
    Child, Flavour, LONG_INTERVAL, Me, POLICIES, Rx, SLEEPING_POLICIES, Tx, WOKEN, asleep,
    both_kinds, new_ring, options, roles, tests, until_thread_sleeps,
};

roles!(come_and_go);

both_kinds!(
    c10_timeouts_are_kept_in_full_and_give_the_value_back,
    c10_a_deadline_in_the_past_stops_only_calls_that_would_wait,
    c10_timeout_and_closed_are_told_apart,
    c10_a_sleeping_call_is_cancelled_from_another_thread,
    c10_a_spinning_call_is_cancelled_from_another_thread,
    c10_a_sleeping_call_is_cancelled_from_a_signal_handler,
    c10_a_cancelled_handle_goes_on_with_what_needs_no_waiting_until_it_is_reset,
    c11_signals_neither_wake_nor_fail_a_sleeping_call,
    c11_signals_do_not_shorten_a_timeout,
    c11_a_storm_of_signals_loses_nothing,
    c11_signals_do_not_disturb_opening_attaching_and_leaving,
);

tests!(
    c10_cancelling_one_handle_leaves_its_clones_alone,
    c10_a_canceller_that_outlives_its_handle_keeps_no_ring_in_use,
);

fn c10_timeouts_are_kept_in_full_and_give_the_value_back<K: Flavour>() {
    for policy in POLICIES {
        let (_name, ring) = new_ring::<K>(2);
        let (mut tx, mut rx) = ends::<K>(&ring, policy);
        // With intervals longer than the timeout, and shorter.
        for interval in [LONG_INTERVAL, Duration::from_millis(7)] {
            tx.set_liveness_interval(interval);
            rx.set_liveness_interval(interval);
            let wait = Duration::from_millis(30);
            in_full(wait, || {
                assert_eq!(rx.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            });
            in_full(wait, || {
                let deadline = Instant::now() + wait;
                assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
            });
            in_full(wait, || {
                assert_eq!(rx.recv_slice_deadline(&mut [0; 2], wait), Err(BulkError::Timeout));
            });
            tx.try_send(1).unwrap();
            in_full(wait, || {
                assert_eq!(rx.recv_exact_deadline(&mut [0; 2], wait), Err(BulkError::Timeout));
            });
            in_full(wait, || {
                assert_eq!(tx.send_exact_deadline(&[0; 2], wait), Err(BulkError::Timeout));
            });
            tx.try_send(2).unwrap();
            in_full(wait, || {
                assert_eq!(tx.send_timeout(77, wait), Err(SendTimeoutError::Timeout(77)));
            });
            in_full(wait, || {
                let deadline = Instant::now() + wait;
                assert_eq!(tx.send_deadline(77, deadline), Err(SendTimeoutError::Timeout(77)));
            });
            in_full(wait, || {
                assert_eq!(tx.send_slice_deadline(&[0; 2], wait), Err(BulkError::Timeout));
            });
            in_full(wait, || {
                assert_eq!(tx.claim_deadline(1, wait).map(drop), Err(BulkError::Timeout));
            });
            assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2]);
            in_full(wait, || {
                assert_eq!(rx.claim_deadline(1, wait).map(drop), Err(BulkError::Timeout));
            });
        }
        drop(tx);
        let wait = Duration::from_millis(30);
        in_full(wait, || {
            assert_eq!(rx.wait_for_peer(wait), Err(PeerError::Timeout));
        });
    }
}

/// Runs `call`, which must take at least `wait`.
#[track_caller]
fn in_full(wait: Duration, call: impl FnOnce()) {
    let before = Instant::now();
    call();
    let took = before.elapsed();
    assert!(took >= wait, "timed out after {took:?} already");
}

fn ends<K: Flavour>(ring: &ringpipe::Ring<u64, K>, policy: WaitPolicy) -> (Tx<K>, Rx<K>) {
    let (mut tx, mut rx) = (K::sender(ring).unwrap(), K::receiver(ring).unwrap());
    tx.set_wait_policy(policy);
    rx.set_wait_policy(policy);
    tx.set_liveness_interval(LONG_INTERVAL);
    rx.set_liveness_interval(LONG_INTERVAL);
    (tx, rx)
}

fn c10_a_deadline_in_the_past_stops_only_calls_that_would_wait<K: Flavour>() {
    for policy in POLICIES {
        let (_name, ring) = new_ring::<K>(1);
        let (mut tx, mut rx) = ends::<K>(&ring, policy);
        let past = Instant::now() - Duration::from_secs(5);
        let before = Instant::now();
        assert_eq!(rx.recv_deadline(past), Err(RecvTimeoutError::Timeout));
        assert_eq!(tx.send_deadline(1, past), Ok(()), "there was room");
        let full = tx.send_deadline(2, past);
        assert_eq!(full, Err(SendTimeoutError::Timeout(2)));
        assert_eq!(tx.send_timeout(2, Duration::ZERO), full);
        assert_eq!(rx.recv_deadline(past), Ok(1), "there was something");
        let empty = Err(RecvTimeoutError::Timeout);
        assert_eq!(rx.recv_timeout(Duration::ZERO), empty);
        assert_eq!(rx.wait_for_peer(past), Ok(()));
        assert!(before.elapsed() < WOKEN, "slept all the same");
    }
    // As late as can be is never, not the past.
    let (name, ring) = new_ring::<K>(1);
    let mut rx = Child::receiver::<K>(&name, WaitPolicy::Park);
    let mut tx = K::sender(&ring).unwrap();
    rx.say(&format!("recv_timeout {}", u64::MAX));
    rx.until_asleep();
    tx.try_send(1).unwrap();
    rx.wakes_with("Ok(1)");
    assert!(Deadline::from(Duration::MAX) == Deadline::NEVER);
}

fn c10_timeout_and_closed_are_told_apart<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut rx = Child::receiver::<K>(&name, policy);
        let mut tx = K::sender(&ring).unwrap();
        rx.must("recv_timeout 10", "Err(Timeout)");
        rx.say("recv_timeout 90000");
        rx.until_waiting(policy);
        drop(tx);
        rx.wakes_with("Err(Closed)");
        rx.must("recv_timeout 0", "Err(Closed)");
        rx.must("recv_exact 1 0", "Err(Closed)");

        tx = K::sender(&ring).unwrap();
        tx.send(1).unwrap();
        let wait = Duration::from_millis(10);
        assert_eq!(tx.send_timeout(2, wait), Err(SendTimeoutError::Timeout(2)));
        rx.must("leave", "Ok");
        assert_eq!(tx.send_timeout(2, wait), Err(SendTimeoutError::Closed(2)));
        let past = Instant::now() - wait;
        assert_eq!(tx.send_deadline(2, past), Err(SendTimeoutError::Closed(2)));
    }
}

/// Runs `call` in a thread; gives that thread's id.
fn in_thread<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> (u32, JoinHandle<R>) {
    let (tell, id) = channel();
    let thread = std::thread::spawn(move || {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        tell.send(tid as u32).unwrap();
        call()
    });
    (id.recv().unwrap(), thread)
}

fn c10_a_sleeping_call_is_cancelled_from_another_thread<K: Flavour>() {
    for policy in SLEEPING_POLICIES {
        let (_name, ring) = new_ring::<K>(1);
        let (mut tx, mut rx) = ends::<K>(&ring, policy);
        let before = Instant::now();
        let canceller = rx.canceller();
        let (tid, thread) = in_thread(move || (rx.recv(), rx));
        until_thread_sleeps(tid);
        assert!(!canceller.is_cancelled());
        canceller.cancel();
        let (answer, rx) = thread.join().unwrap();
        assert_eq!(answer, Err(RecvError::Cancelled));

        tx.try_send(0).unwrap();
        let canceller = tx.canceller();
        let (tid, thread) = in_thread(move || (tx.send(7), tx));
        until_thread_sleeps(tid);
        canceller.cancel();
        let (answer, mut tx) = thread.join().unwrap();
        assert_eq!(answer, Err(SendError::Cancelled(7)));

        canceller.reset();
        drop(rx);
        let (tid, thread) = in_thread(move || tx.wait_for_peer(Deadline::NEVER));
        until_thread_sleeps(tid);
        canceller.cancel();
        assert_eq!(thread.join().unwrap(), Err(PeerError::Cancelled));
        assert!(before.elapsed() < WOKEN, "nobody woke the sleepers");
    }
}

fn c10_a_spinning_call_is_cancelled_from_another_thread<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(1);
    let (_tx, mut rx) = ends::<K>(&ring, WaitPolicy::Spin);
    let canceller = rx.canceller();
    let (tid, thread) = in_thread(move || rx.recv());
    support::until("a thread that spins", || {
        let busy = asleep::processor_time(std::process::id(), tid);
        (busy > 3_000_000).then_some(())
    });
    canceller.cancel();
    assert_eq!(thread.join().unwrap(), Err(RecvError::Cancelled));
}

fn c10_a_sleeping_call_is_cancelled_from_a_signal_handler<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.must("cancel_on_signal", "Ok");
        for (command, answer) in [
            ("recv", "Err(Cancelled)"),
            ("recv_timeout 90000", "Err(Cancelled)"),
            ("recv_exact 1 90000", "Err(Cancelled)"),
            ("read 1", "Err(Cancelled)"),
        ] {
            rx.say(command);
            rx.until_waiting(policy);
            rx.interrupt();
            rx.wakes_with(answer);
            rx.must("reset", "Ok");
        }
        rx.say("recv");
        rx.until_waiting(policy);
        tx.try_send(1).unwrap();
        rx.wakes_with("Ok(1)");
        drop(rx);

        drop(tx);
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("cancel_on_signal", "Ok");
        tx.must("send 1", "Ok(())");
        tx.say("send 2");
        tx.until_waiting(policy);
        tx.interrupt();
        tx.wakes_with("Err(Cancelled(2))");
        tx.must("wait_for_peer 90000", "Err(Cancelled)");
    }
}

fn c10_a_cancelled_handle_goes_on_with_what_needs_no_waiting_until_it_is_reset<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(2);
    let (mut tx, mut rx) = ends::<K>(&ring, Default::default());
    let (cancel_tx, cancel_rx) = (tx.canceller(), rx.canceller());
    cancel_tx.cancel();
    cancel_rx.cancel();
    assert!(cancel_rx.is_cancelled());
    assert_eq!(rx.recv(), Err(RecvError::Cancelled));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(tx.send(1), Ok(()));
    assert_eq!(tx.send(2), Ok(()));
    assert_eq!(tx.send(3), Err(SendError::Cancelled(3)));
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(rx.recv(), Ok(2));
    drop(tx);
    assert_eq!(rx.recv(), Err(RecvError::Closed), "which needs no waiting");
    cancel_rx.reset();
    assert!(!cancel_rx.is_cancelled());
    let _tx = K::sender(&ring).unwrap();
    let wait = Duration::from_millis(5);
    assert_eq!(rx.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
}

fn c10_cancelling_one_handle_leaves_its_clones_alone() {
    let (_name, ring) = new_ring::<Mpmc>(2);
    let (mut tx, rx) = ends::<Mpmc>(&ring, WaitPolicy::Park);
    let mut clone = rx.try_clone().unwrap();
    let canceller = rx.canceller();
    let (tid, thread) = in_thread(move || clone.recv());
    until_thread_sleeps(tid);
    canceller.cancel();
    tx.try_send(1).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(1));
}

fn c10_a_canceller_that_outlives_its_handle_keeps_no_ring_in_use() {
    let (name, ring) = new_ring::<Mpmc>(2);
    let (tx, rx) = ends::<Mpmc>(&ring, WaitPolicy::Park);
    let cancellers = [tx.canceller(), rx.canceller()];
    drop((tx, rx));
    assert!(!ringpipe::remove_orphan(&name).unwrap(), "the ring is open");
    drop(ring);
    assert!(ringpipe::remove_orphan(&name).unwrap(), "only the cancellers are left");
    cancellers.iter().for_each(ringpipe::Canceller::cancel); // of no use, and harmless
}

/// Sends `SIGUSR1` to a child as fast as it goes, until dropped.
struct Storm {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn over(child: &Child) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (interrupt, until) = (child.interrupter(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                interrupt();
                // Lets the child come to its senses between two: a storm, not a wall.
                std::thread::yield_now();
            }
        });
        Self { over, thread: Some(thread) }
    }

    /// Over a puppet, which has noticed it.
    fn over_puppet(child: &mut Child) -> Self {
        child.must("count_signals", "Ok");
        let storm = Self::over(child);
        while noticed(child) == 0 {}
        storm
    }
}

/// Does this until the puppet has handled signals meanwhile: where others keep the storm from the
/// processors, none may come in a tenth of a second.
fn until_in_the_storm(child: &mut Child, mut act: impl FnMut(&mut Child)) {
    // Some come between the calls: more than these.
    const BETWEEN: u64 = 2;
    loop {
        let before = noticed(child);
        act(child);
        if noticed(child) > before + BETWEEN {
            return;
        }
    }
}

/// Signals that the puppet has handled.
fn noticed(child: &mut Child) -> u64 {
    child.ask("signals").parse().unwrap()
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it asserts nothing
        }
    }
}

fn c11_signals_neither_wake_nor_fail_a_sleeping_call<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        rx.must("count_signals", "Ok");
        rx.say("recv");
        for _ in 0..100 {
            rx.until_waiting(policy);
            rx.interrupt();
        }
        rx.until_waiting(policy);
        tx.try_send(1).unwrap();
        rx.wakes_with("Ok(1)");
        let handled: u64 = rx.ask("signals").parse().unwrap();
        assert!(handled > 0, "the signals did not arrive");

        drop((rx, tx));
        let mut rx = K::receiver(&ring).unwrap();
        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("count_signals", "Ok");
        tx.must("send 1", "Ok(())");
        tx.say("send 2");
        for _ in 0..100 {
            tx.until_waiting(policy);
            tx.interrupt();
        }
        rx.try_recv().unwrap();
        tx.wakes_with("Ok(())");
        assert_eq!(rx.try_recv(), Ok(2));
    }
}

fn c11_signals_do_not_shorten_a_timeout<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(1);
        let wait = Duration::from_millis(100);
        let tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        let storm = Storm::over_puppet(&mut rx);
        until_in_the_storm(&mut rx, |rx| {
            rx.must("recv_timeout 100", "Err(Timeout)");
            assert!(rx.took() >= wait, "only {:?}", rx.took());
        });
        drop(storm);
        drop((tx, rx));

        let mut tx = Child::sender::<K>(&name, policy);
        tx.must("send 1", "Ok(())");
        let storm = Storm::over_puppet(&mut tx);
        until_in_the_storm(&mut tx, |tx| {
            tx.must("send_timeout 2 100", "Err(Timeout(2))");
            assert!(tx.took() >= wait, "only {:?}", tx.took());
        });
        until_in_the_storm(&mut tx, |tx| {
            tx.must("wait_for_peer 100", "Err(Timeout)");
            assert!(tx.took() >= wait, "only {:?}", tx.took());
        });
        drop(storm);
    }
}

fn c11_a_storm_of_signals_loses_nothing<K: Flavour>() {
    for policy in SLEEPING_POLICIES {
        // Where others keep the storm from the processors, it may come to nothing.
        while !stream_in_a_storm::<K>(policy) {}
    }
}

/// Whether both ends have handled signals while they sent and received.
fn stream_in_a_storm<K: Flavour>(policy: WaitPolicy) -> bool {
    const COUNT: u64 = 5_000;
    let (name, _ring) = new_ring::<K>(2); // small: both sides sleep often
    let mut rx = Child::receiver::<K>(&name, policy);
    let mut tx = Child::sender::<K>(&name, policy);
    let storms = [Storm::over_puppet(&mut rx), Storm::over_puppet(&mut tx)];
    let before = [noticed(&mut rx), noticed(&mut tx)];
    rx.say("drain");
    tx.must(&format!("send_each 0 {COUNT}"), "Ok(())");
    tx.must("leave", "Ok");
    let all: Vec<u64> = (0..COUNT).collect();
    rx.must_hear(&format!("{all:?} then Err(Closed)"));
    drop(storms);
    noticed(&mut rx) > before[0] && noticed(&mut tx) > before[1]
}

/// Creates, opens, attaches, leaves and unlinks, as many rounds as it is told. It is told nothing
/// while it plays, so that no system call of the play itself is interrupted.
fn come_and_go<K: Flavour>(mut me: Me) {
    support::puppet::count_signals();
    me.say("ready");
    let rounds: u64 = me.hear().unwrap().parse().unwrap();
    for round in 0.. {
        if round >= rounds && support::puppet::signals() > 0 {
            break;
        }
        let ring = options::<K>().capacity(4).create(&me.ring).unwrap();
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = K::receiver(&options::<K>().open(&me.ring).unwrap()).unwrap();
        tx.send(round).unwrap();
        drop(tx);
        assert_eq!(rx.recv(), Ok(round));
        assert_eq!(rx.recv(), Err(RecvError::Closed));
        ring.unlink().unwrap();
    }
    me.say(support::puppet::signals());
    me.hear();
}

fn c11_signals_do_not_disturb_opening_attaching_and_leaving<K: Flavour>() {
    let name = support::Name::new();
    let mut child = Child::start::<K>("come_and_go", &name);
    assert_eq!(child.hear(), "ready");
    let storm = Storm::over(&child);
    // As long as none has arrived, it goes on coming and going.
    let handled: u64 = child.ask("300").parse().unwrap();
    drop(storm);
    assert!(handled > 0, "the signals did not arrive");
    child.finish();
}
