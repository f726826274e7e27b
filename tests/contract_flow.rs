//! C1 to C5: when a call waits, when it says closed, and what it gives back.

mod support;

use ringpipe::{BulkError, Mpmc, SendAllError, TryRecvError, TrySendError};
use support::{Child, Flavour, POLICIES, both_kinds, new_ring, roles, tests, until};

roles!();

both_kinds!(
    c01_receive_on_an_empty_ring_waits_and_try_says_empty,
    c02_receiver_drains_everything_before_end_of_file,
    c02_a_value_sent_between_two_looks_of_the_receiver_comes_before_end_of_file,
    c02_data_sent_just_before_the_last_sender_leaves_is_never_lost,
    c03_send_on_a_full_ring_waits_and_try_gives_the_value_back,
    c04_send_after_the_last_receiver_left_gives_the_value_back,
    c04_sender_asleep_on_a_full_ring_learns_that_the_last_receiver_left,
    c05_a_published_value_is_received_at_once_even_if_the_ring_is_nearly_empty,
    c05_space_is_reused_as_soon_as_it_is_freed,
    all_of_a_long_slice_is_sent_in_order_however_short_the_ring,
    a_long_slice_that_is_cut_off_says_where,
);

tests!(
    c02_receiver_passes_over_what_a_sender_gave_up_and_then_says_closed,
    c05_a_value_waits_for_the_unpublished_ones_before_it,
    c05_space_waits_for_the_unfreed_slots_before_it,
);

fn c01_receive_on_an_empty_ring_waits_and_try_says_empty<K: Flavour>() {
    for policy in POLICIES {
        for capacity in [1, 4] {
            let (name, ring) = new_ring::<K>(capacity);
            let mut tx = K::sender(&ring).unwrap();
            let mut rx = Child::receiver::<K>(&name, policy);
            for value in 0..3 {
                rx.must("try_recv", "Err(Empty)");
                rx.must("try_recv_slice 4", "Err(Empty)");
                rx.say("recv");
                rx.until_waiting(policy);
                tx.try_send(value).unwrap();
                rx.wakes_with(&format!("Ok({value})"));
            }
            rx.finish();
        }
    }
}

fn c02_receiver_drains_everything_before_end_of_file<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    let mut rx = K::receiver(&ring).unwrap();
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("send_slice 0 8", "Ok(8)");
    tx.must("leave", "Ok");
    for value in 0..8 {
        assert_eq!(rx.try_recv(), Ok(value));
    }
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.recv(), Err(ringpipe::RecvError::Closed));

    // The same if the process ends instead of closing its end, and for a receiver elsewhere.
    let (name, ring) = new_ring::<K>(8);
    let mut tx = K::sender(&ring).unwrap();
    let mut rx = Child::receiver::<K>(&name, Default::default());
    tx.try_send_slice(&[1, 2, 3]).unwrap();
    drop(tx);
    rx.must("drain", "[1, 2, 3] then Err(Closed)");
}

/// A receiver is stopped anywhere in its call, often between its look at the data and its look at
/// who is there; meanwhile the last value is sent and the last sender leaves.
fn c02_a_value_sent_between_two_looks_of_the_receiver_comes_before_end_of_file<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let mut rx = Child::receiver::<K>(&name, Default::default());
    for round in 0..60 {
        let mut tx = K::sender(&ring).unwrap();
        rx.say("try_until_closed");
        rx.until_spinning();
        rx.stop();
        tx.try_send(round).unwrap();
        drop(tx);
        rx.signal(rustix::process::Signal::CONT);
        rx.must_hear(&format!("[{round}] then Closed"));
    }
}

fn c02_data_sent_just_before_the_last_sender_leaves_is_never_lost<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(4);
        let mut rx = K::receiver(&ring).unwrap();
        rx.set_wait_policy(policy);
        let mut tx = Child::puppet::<K>(&name);
        tx.must("open", "Ok");
        for round in 0..100 {
            tx.say("sender");
            tx.say(&format!("send_each {} {}", round * 3, round * 3 + 3));
            tx.say("leave");
            // Until this round's first value is there, the receiver rightly says that the last
            // round's sender has gone; from then on everything must come.
            until("the round's first value", || (!rx.is_empty()).then_some(()));
            let values: Vec<u64> = rx.iter().collect();
            assert_eq!(values, [round * 3, round * 3 + 1, round * 3 + 2]);
            for answer in ["Ok", "Ok(())", "Ok"] {
                assert_eq!(tx.hear(), answer);
            }
        }
    }
}

fn c02_receiver_passes_over_what_a_sender_gave_up_and_then_says_closed() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = ring.receiver().unwrap();
    let mut tx = Child::sender::<Mpmc>(&name, Default::default());
    tx.must("try_send 1", "Ok(())");
    tx.must("claim 3", "Ok(3)");
    tx.must("write 0 2", "Ok");
    tx.must("commit 1", "Ok");
    tx.must("claim 2", "Ok(2)");
    tx.must("abandon", "Ok");
    tx.must("leave", "Ok");
    assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(ring.stats().skipped, 4);
    assert_eq!(ring.len(), 0);
}

fn c03_send_on_a_full_ring_waits_and_try_gives_the_value_back<K: Flavour>() {
    for policy in POLICIES {
        for capacity in [1, 4] {
            let (name, ring) = new_ring::<K>(capacity);
            let mut rx = K::receiver(&ring).unwrap();
            let mut tx = Child::sender::<K>(&name, policy);
            for value in 0..capacity {
                tx.must(&format!("try_send {value}"), "Ok(())");
            }
            tx.must("try_send 77", "Err(Full(77))");
            tx.must("try_send_slice 77 79", "Err(Full)");
            assert!(ring.is_full());
            tx.say("send 99");
            tx.until_waiting(policy);
            assert_eq!(rx.try_recv(), Ok(0));
            tx.wakes_with("Ok(())");
            for value in 1..capacity {
                assert_eq!(rx.try_recv(), Ok(value as u64));
            }
            assert_eq!(rx.try_recv(), Ok(99), "after all that was there before");
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        }
    }
}

fn c04_send_after_the_last_receiver_left_gives_the_value_back<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let rx = K::receiver(&ring).unwrap();
    let mut tx = Child::sender::<K>(&name, Default::default());
    tx.must("sigpipe_kills", "Ok");
    tx.must("send 1", "Ok(())");
    drop(rx);
    // There is room, but nobody to read.
    tx.must("try_send 2", "Err(Closed(2))");
    tx.must("send 3", "Err(Closed(3))");
    tx.must("send_timeout 4 1000", "Err(Closed(4))");
    tx.must("try_send_slice 5 7", "Err(Closed)");
    tx.must("send_slice 5 7", "Err(Closed)");
    tx.must("send_exact 5 7 1000", "Err(Closed)");
    tx.must("claim 1", "Err(Closed)");
    assert_eq!(ring.len(), 1, "refused values are not in the ring");
    tx.finish(); // no signal has ended it
}

fn c04_sender_asleep_on_a_full_ring_learns_that_the_last_receiver_left<K: Flavour>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(2);
        let mut tx = K::sender(&ring).unwrap();
        let mut rx = Child::receiver::<K>(&name, policy);
        assert_eq!(tx.try_send_slice(&[1, 2]), Ok(2));
        drop(tx);
        let mut sender = Child::sender::<K>(&name, policy);
        for command in ["send 7", "send_timeout 7 90000"] {
            sender.say(command);
            sender.until_waiting(policy);
            rx.must("leave", "Ok");
            sender.wakes_with("Err(Closed(7))");
            rx.must("receiver", "Ok");
        }
        sender.say("send_slice 7 9");
        sender.until_waiting(policy);
        rx.must("leave", "Ok");
        sender.wakes_with("Err(Closed)");
        assert_eq!(ring.len(), 2);
    }
}

fn c05_a_published_value_is_received_at_once_even_if_the_ring_is_nearly_empty<K: Flavour>() {
    // No batching behind the scenes: each value is there when its send returns, at every fill
    // level and at every place in the ring.
    let (name, ring) = new_ring::<K>(4);
    let mut rx = K::receiver(&ring).unwrap();
    let mut tx = Child::sender::<K>(&name, Default::default());
    let mut next = 0;
    for fill in [1, 2, 3, 4, 1, 4, 3, 2, 1, 1] {
        for value in next..next + fill {
            tx.must(&format!("try_send {value}"), "Ok(())");
        }
        for value in next..next + fill {
            assert_eq!(rx.try_recv(), Ok(value));
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        next += fill;
    }
}

fn c05_space_is_reused_as_soon_as_it_is_freed<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let mut tx = K::sender(&ring).unwrap();
    let mut rx = Child::receiver::<K>(&name, Default::default());
    assert_eq!(tx.try_send_slice(&[0, 1, 2, 3]), Ok(4));
    for value in 4..20 {
        assert_eq!(tx.try_send(value), Err(TrySendError::Full(value)));
        rx.must("try_recv", &format!("Ok({})", value - 4));
        assert_eq!(tx.try_send(value), Ok(()));
    }
    // In part of a run held in place: what is released is free, what is not is not.
    rx.must("read 4", "[16, 17, 18, 19]");
    rx.must("release 2", "Ok");
    assert_eq!(tx.try_send_slice(&[20, 21, 22]), Ok(2));
    assert_eq!(tx.try_send(99), Err(TrySendError::Full(99)));
    rx.must("try_recv", "Ok(18)");
}

fn c05_a_value_waits_for_the_unpublished_ones_before_it() {
    let (name, ring) = new_ring::<Mpmc>(8);
    let mut rx = ring.receiver().unwrap();
    let mut first = Child::sender::<Mpmc>(&name, Default::default());
    let mut second = Child::sender::<Mpmc>(&name, Default::default());
    first.must("try_send 0", "Ok(())");
    first.must("claim 2", "Ok(2)");
    second.must("try_send 3", "Ok(())");
    assert_eq!(rx.try_recv(), Ok(0), "nothing unpublished before it");
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "3 is behind 1 and 2");
    first.must("write 0 1", "Ok");
    first.must("write 1 2", "Ok");
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "written, not published");
    first.must("commit 2", "Ok");
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2, 3]);

    // Resolved is as good as published: the sender gives its claim up.
    first.must("claim 2", "Ok(2)");
    second.must("try_send 6", "Ok(())");
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    first.must("abandon", "Ok");
    assert_eq!(rx.try_recv(), Ok(6));

    // With the ring full behind the gap.
    first.must("claim 1", "Ok(1)");
    second.must("try_send_slice 0 99", "Ok(7)");
    second.must("try_send 7", "Err(Full(7))");
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    first.must("write 0 100", "Ok");
    first.must("commit 1", "Ok");
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [100, 0, 1, 2, 3, 4, 5, 6]);
}

fn c05_space_waits_for_the_unfreed_slots_before_it() {
    let (name, ring) = new_ring::<Mpmc>(4);
    let mut tx = ring.sender().unwrap();
    let mut slow = Child::receiver::<Mpmc>(&name, Default::default());
    let mut fast = Child::receiver::<Mpmc>(&name, Default::default());
    assert_eq!(tx.try_send_slice(&[0, 1, 2, 3]), Ok(4));
    slow.must("read 1", "[0]");
    fast.must("try_recv", "Ok(1)");
    fast.must("try_recv", "Ok(2)");
    assert_eq!(tx.try_send(4), Err(TrySendError::Full(4)), "slot 0 is in use");
    slow.must("release 1", "Ok");
    assert_eq!(tx.try_send_slice(&[4, 5, 6, 7]), Ok(3), "slots 0, 1 and 2");
    fast.must("try_recv", "Ok(3)");
}

fn all_of_a_long_slice_is_sent_in_order_however_short_the_ring<K: Flavour>() {
    for capacity in [1, 8] {
        let (_name, ring) = new_ring::<K>(capacity);
        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        tx.send_all(&[]).unwrap();
        let received = std::thread::spawn(move || rx.iter().collect::<Vec<_>>());
        let values: Vec<u64> = (0..1_000).collect();
        tx.send_all(&values[..1]).unwrap();
        tx.send_all_deadline(&values[1..], std::time::Duration::from_secs(60)).unwrap();
        drop(tx);
        assert!(received.join().unwrap() == values);
    }
}

fn a_long_slice_that_is_cut_off_says_where<K: Flavour>() {
    let cut = |sent, why| {
        move |error: SendAllError<BulkError>| {
            assert_eq!((error.sent, error.why), (sent, why));
            assert!(error.to_string().contains(&format!("first {sent} ")));
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), why.to_string());
        }
    };
    let (_name, ring) = new_ring::<K>(4);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    let values: Vec<u64> = (0..10).collect();
    cut(4, BulkError::Timeout)(
        tx.send_all_deadline(&values, std::time::Duration::ZERO).unwrap_err(),
    );
    rx.try_recv_exact(&mut [0; 3]).unwrap();
    tx.canceller().cancel();
    cut(3, BulkError::Cancelled)(tx.send_all(&values).unwrap_err());
    tx.canceller().reset();
    // The receiver takes some and goes, while the sender waits.
    let taken = std::thread::spawn(move || rx.iter().take(6).collect::<Vec<_>>());
    let error = tx.send_all(&values).unwrap_err();
    assert_eq!((error.why, taken.join().unwrap()), (BulkError::Closed, vec![3, 0, 1, 2, 0, 1]));
    assert!((2..=6).contains(&error.sent), "two were received, and the ring holds four");
    assert_eq!(ring.len(), error.sent - 2, "so many are there as it said");
}
