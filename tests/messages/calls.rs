//! Calls, one by one: what they return, and what they leave as it was.

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::messages::{self, Messages};
use ringpipe::{AttachError, Deadline, Ending, MessageError, Mpmc, PeerError, Pool, WaitPolicy};

use super::PAGE;
use super::support::forked::in_a_fork;
use super::support::messenger::{Carries, both_ends, bytes, new_ring, next, options, text};
use super::support::region::Raw;
use super::support::{
    Child, LONG, LONG_INTERVAL, Me, SLEEPING_POLICIES, both_kinds, tests, until_thread_sleeps,
    within,
};

both_kinds!(
    a_message_that_does_not_fit_is_kept_and_comes_first_on_the_next_call,
    a_message_that_did_not_fit_goes_to_the_next_receiver_when_this_one_closes,
    a_call_that_receives_nothing_leaves_the_buffer_as_it_was,
    a_vector_is_as_long_as_the_message_and_allocates_if_it_must,
    c01_c03_calls_that_do_not_wait_say_empty_and_full,
    c10_a_deadline_ends_a_wait_and_one_that_has_passed_does_not_wait,
    c10_a_wait_is_cancelled_from_another_thread,
    c02_messages_come_before_the_end_of_file_and_ending_says_how_it_came,
    c04_a_send_without_receivers_is_a_broken_pipe_though_there_is_room,
    c08_calls_wait_for_the_first_peer_unless_they_require_one,
    c09_ends_come_and_go_and_the_messages_stay,
    clear_discards_what_was_sent_and_says_how_many_messages_that_was,
    c17_ends_tell_of_their_ring,
    c18_inherited_ends_do_nothing,
);

tests!(
    a_message_that_did_not_fit_goes_to_another_when_its_receiver_closes,
    a_message_that_did_not_fit_goes_to_another_when_the_borrow_from_a_pool_ends,
    what_a_borrower_of_a_pool_keeps_goes_to_others,
    room_that_a_borrower_of_a_pool_keeps_is_given_up,
    clones_wait_as_their_original_does_and_share_the_work,
    successors_attach_as_soon_as_there_is_a_place,
);

const MOMENT: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(20);

/// What a receiver gets next, soon.
#[track_caller]
fn soon<K: Messages>(rx: &mut messages::Receiver<K>) -> String {
    let mut message = Vec::new();
    rx.recv_deadline(&mut message, SOON).unwrap();
    text(&message)
}

fn a_message_that_does_not_fit_is_kept_and_comes_first_on_the_next_call<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    for how in 0..4 {
        tx.send(&bytes("a*1000")).unwrap();
        tx.send(b"b").unwrap();
        let mut small = [1; 999];
        let too_small = Err(MessageError::TooSmall { len: 1000 });
        for len in [0, 1, 999] {
            assert_eq!(rx.recv_into(&mut small[..len]), too_small);
            assert_eq!(rx.try_recv_into(&mut small[..len]), too_small);
            assert_eq!(rx.recv_into_deadline(&mut small[..len], MOMENT), too_small);
        }
        assert_eq!(small, [1; 999]);
        tx.send(b"c").unwrap();
        let mut large = [1; 1001];
        match how {
            0 => assert_eq!(rx.recv_into(&mut large), Ok(1000)),
            1 => assert_eq!(rx.try_recv_into(&mut large[..1000]), Ok(1000)),
            2 => assert_eq!(next(&mut rx).unwrap(), "a*1000"),
            _ => {
                let claimed = rx.claim(1).unwrap();
                assert_eq!(text(&claimed.first().unwrap().to_vec()), "a*1000");
                claimed.release_all();
            }
        }
        if how < 2 {
            assert!(large[..1000] == [b'a'; 1000] && large[1000] == 1);
        }
        assert_eq!((rx.redeliveries(), next(&mut rx).unwrap()), (0, "b".into()));
        assert_eq!(next(&mut rx).unwrap(), "c");
        assert_eq!(next(&mut rx), Err(MessageError::Empty));
    }
}

fn a_message_that_did_not_fit_goes_to_the_next_receiver_when_this_one_closes<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let mut tx = ring.sender().unwrap();
    tx.send(b"too long").unwrap();
    tx.send(b"b").unwrap();
    let mut rx = ring.receiver().unwrap();
    assert_eq!(rx.recv_into(&mut [0; 7]), Err(MessageError::TooSmall { len: 8 }));
    rx.close();
    let mut rx = ring.receiver().unwrap();
    rx.set_liveness_interval(MOMENT);
    let mut got = [soon(&mut rx), soon(&mut rx)];
    got.sort();
    assert_eq!(got, ["b", "too long"]);
}

fn a_message_that_did_not_fit_goes_to_another_when_its_receiver_closes() {
    let (mut tx, mut rx) = both_ends::<Mpmc>(PAGE);
    let mut other = rx.try_clone().unwrap();
    other.set_liveness_interval(LONG_INTERVAL);
    tx.send(b"too long").unwrap();
    assert_eq!(rx.recv_into(&mut [0; 7]), Err(MessageError::TooSmall { len: 8 }));
    tx.send(b"b").unwrap();
    assert_eq!(soon(&mut other), "b");
    assert_eq!(next(&mut other), Err(MessageError::Empty));
    drop(rx);
    assert_eq!((soon(&mut other).as_str(), other.redeliveries()), ("too long", 1));
}

fn a_message_that_did_not_fit_goes_to_another_when_the_borrow_from_a_pool_ends() {
    let (mut tx, rx) = both_ends::<Mpmc>(PAGE);
    let mut other = rx.try_clone().unwrap();
    let pool = Pool::new(rx);
    tx.send(b"too long").unwrap();
    let mut lent = pool.get().unwrap();
    assert_eq!(lent.recv_into(&mut [0; 7]), Err(MessageError::TooSmall { len: 8 }));
    assert_eq!(next(&mut other), Err(MessageError::Empty));
    drop(lent);
    assert_eq!(soon(&mut other), "too long");
    // One that took everything is lent again.
    tx.send(b"more").unwrap();
    assert_eq!(soon(&mut pool.get().unwrap()), "more");
    assert_eq!(pool.get().unwrap().peers().receivers, 3);
}

fn what_a_borrower_of_a_pool_keeps_goes_to_others() {
    for released in 0..2 {
        let (mut tx, rx) = both_ends::<Mpmc>(PAGE);
        let mut other = rx.try_clone().unwrap();
        let pool = Pool::new(rx);
        for message in ["a", "b*100", "c"] {
            tx.send(&bytes(message)).unwrap();
        }
        let mut lent = pool.get().unwrap();
        lent.claim(3).unwrap().release(released);
        drop(lent);
        for message in &["a", "b*100", "c"][released..] {
            assert_eq!(soon(&mut other), *message);
        }
        assert_eq!(next(&mut other), Err(MessageError::Empty));
    }
}

fn room_that_a_borrower_of_a_pool_keeps_is_given_up() {
    let (tx, mut rx) = both_ends::<Mpmc>(PAGE);
    let mut other = tx.try_clone().unwrap();
    let pool = Pool::new(tx);
    forget(pool.get().unwrap().try_reserve(2000).unwrap());
    for _ in 0..10 {
        other.send_deadline(&bytes("o*2000"), SOON).unwrap();
        assert_eq!(soon(&mut rx), "o*2000");
        pool.get().unwrap().send_deadline(&bytes("p*2000"), SOON).unwrap();
        assert_eq!(soon(&mut rx), "p*2000");
    }
}

fn a_call_that_receives_nothing_leaves_the_buffer_as_it_was<K: Carries>() {
    let (tx, mut rx) = both_ends::<K>(PAGE);
    let mut into = b"as it was".to_vec();
    let now = Duration::ZERO;
    assert_eq!(rx.try_recv(&mut into), Err(MessageError::Empty));
    assert_eq!(rx.recv_deadline(&mut into, now), Err(MessageError::Timeout));
    assert_eq!(rx.recv_into_deadline(&mut into, now), Err(MessageError::Timeout));
    rx.canceller().cancel();
    assert_eq!(rx.recv(&mut into), Err(MessageError::Cancelled));
    assert_eq!(rx.recv_into(&mut into), Err(MessageError::Cancelled));
    rx.canceller().reset();
    drop(tx);
    assert_eq!(rx.recv(&mut into), Err(MessageError::Closed));
    assert_eq!(rx.recv_into(&mut into), Err(MessageError::Closed));
    assert_eq!(into, b"as it was");
}

fn a_vector_is_as_long_as_the_message_and_allocates_if_it_must<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let mut into = Vec::with_capacity(100);
    let place = into.as_ptr();
    for message in ["a*100", "b", "", "c*99"] {
        tx.send(&bytes(message)).unwrap();
        rx.recv(&mut into).unwrap();
        assert_eq!((text(&into).as_str(), into.as_ptr()), (message, place));
    }
    tx.send(&bytes("d*1000")).unwrap();
    rx.recv(&mut into).unwrap();
    assert_eq!(text(&into), "d*1000");
}

fn c01_c03_calls_that_do_not_wait_say_empty_and_full<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let mut into = Vec::new();
    for _ in 0..3 {
        assert_eq!(rx.try_recv(&mut into), Err(MessageError::Empty));
        assert_eq!(rx.try_recv_into(&mut into), Err(MessageError::Empty));
        assert_eq!(rx.try_claim(3).err(), Some(MessageError::Empty));
        // There is room for one more, but not for a long one.
        tx.try_send(&vec![1; tx.max_len()]).unwrap();
        tx.try_send(&vec![2; tx.max_len() - 100]).unwrap();
        assert_eq!(tx.try_send(&[3; 100]), Err(MessageError::Full));
        assert_eq!(tx.try_reserve(100).err(), Some(MessageError::Full));
        tx.try_send(&[3; 40]).unwrap();
        let held = rx.claim(1).unwrap();
        assert_eq!(tx.try_send(&[4; 100]), Err(MessageError::Full), "until it is released");
        held.release_all();
        tx.try_send(&[4; 100]).unwrap();
        for byte in 2..=4 {
            rx.try_recv(&mut into).unwrap();
            assert!(into.iter().all(|&found| found == byte));
        }
    }
}

fn c10_a_deadline_ends_a_wait_and_one_that_has_passed_does_not_wait<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let (most, mut into) = (vec![1; tx.max_len()], Vec::new());
    for deadline in [Deadline::from(Duration::ZERO), MOMENT.into(), Instant::now().into()] {
        assert_eq!(rx.recv_deadline(&mut into, deadline), Err(MessageError::Timeout));
        assert_eq!(rx.recv_into_deadline(&mut into, deadline), Err(MessageError::Timeout));
        assert_eq!(rx.claim_deadline(3, deadline).err(), Some(MessageError::Timeout));
        // What can be done without waiting is done.
        tx.send_deadline(&most, deadline).unwrap();
        let mut room = tx.reserve_deadline(most.len(), deadline).unwrap();
        room.set_len(most.len());
        room.commit();
        assert_eq!(tx.send_deadline(b"", deadline), Err(MessageError::Timeout));
        assert_eq!(tx.send_vectored_deadline(&[], deadline), Err(MessageError::Timeout));
        assert_eq!(tx.reserve_deadline(0, deadline).err(), Some(MessageError::Timeout));
        rx.recv_deadline(&mut into, deadline).unwrap();
        rx.claim_deadline(3, deadline).unwrap().release_all();
    }
}

/// Does it in a thread of its own that soon sleeps in the ring; then `wake`s that.
fn asleep<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static, wake: impl FnOnce()) -> R {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
        work()
    });
    until_thread_sleeps(told.recv().unwrap());
    wake();
    within(LONG, || thread.join().unwrap())
}

fn c10_a_wait_is_cancelled_from_another_thread<K: Carries>() {
    for policy in SLEEPING_POLICIES {
        let (mut tx, mut rx) = both_ends::<K>(PAGE);
        tx.set_wait_policy(policy);
        tx.set_liveness_interval(LONG_INTERVAL);
        rx.set_wait_policy(policy);
        rx.set_liveness_interval(LONG_INTERVAL);
        let cancel = rx.canceller();
        let (received, mut rx) = asleep(
            move || {
                let mut into = Vec::new();
                let received =
                    [rx.recv(&mut into), rx.recv_into(&mut into).map(drop), rx.claim(3).map(drop)];
                (received, rx)
            },
            || cancel.cancel(),
        );
        assert_eq!(received, [Err(MessageError::Cancelled); 3]);
        cancel.reset();
        let most = vec![1; tx.max_len()];
        tx.send(&most).unwrap();
        tx.send(&most).unwrap();
        let cancel = tx.canceller();
        let (sent, mut tx) = asleep(
            move || {
                let sent = [
                    tx.send(b""),
                    tx.send_vectored(&[]),
                    tx.reserve(0).map(drop),
                    tx.send_with(0, |_| Ok(())),
                ];
                (sent, tx)
            },
            || cancel.cancel(),
        );
        assert_eq!(sent, [Err(MessageError::Cancelled); 4]);
        assert_eq!(rx.clear(), Ok(2));
        tx.send(b"there is room: nothing is waited for").unwrap();
        cancel.reset();
        assert!(soon(&mut rx).starts_with("there is room"));
    }
}

fn c02_messages_come_before_the_end_of_file_and_ending_says_how_it_came<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    tx.send(b"a").unwrap();
    tx.send(&bytes("b*1000")).unwrap();
    assert_eq!((rx.is_closed(), rx.ending()), (false, None));
    tx.close();
    assert!(rx.is_closed());
    assert_eq!((soon(&mut rx), soon(&mut rx)), ("a".into(), "b*1000".into()));
    for _ in 0..2 {
        assert_eq!(next(&mut rx), Err(MessageError::Closed));
        assert_eq!(rx.try_claim(1).err(), Some(MessageError::Closed));
    }
    assert_eq!(rx.ending(), Some(Ending::Closed));
}

fn c04_a_send_without_receivers_is_a_broken_pipe_though_there_is_room<K: Carries>() {
    let (mut tx, rx) = both_ends::<K>(PAGE);
    assert!(!tx.is_closed());
    drop(rx);
    assert_eq!(tx.send(b"a"), Err(MessageError::Closed));
    assert_eq!(tx.try_send(b"a"), Err(MessageError::Closed));
    assert_eq!(tx.send_vectored(&[]), Err(MessageError::Closed));
    assert_eq!(tx.reserve(10).err(), Some(MessageError::Closed));
    assert_eq!(tx.try_reserve(10).err(), Some(MessageError::Closed));
    let sent: Result<(), MessageError> = tx.send_with(10, |_| panic!("nobody reads it"));
    assert_eq!(sent, Err(MessageError::Closed));
    assert!(tx.is_closed() && tx.is_empty());
    assert_eq!(tx.ending(), Some(Ending::Closed));
}

fn c08_calls_wait_for_the_first_peer_unless_they_require_one<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), None);
    tx.send(b"before there is a receiver").unwrap();
    assert_eq!(tx.wait_for_peer(MOMENT), Err(PeerError::Timeout));
    tx.require_peer();
    assert_eq!(tx.send(b""), Err(MessageError::Closed));
    assert_eq!(rx.get_or_insert(ring.receiver().unwrap()).wait_for_peer(MOMENT), Ok(()));
    assert_eq!(tx.wait_for_peer(MOMENT), Ok(()));
    tx.send(b"").unwrap();

    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let mut rx = ring.receiver().unwrap();
    assert_eq!(rx.wait_for_peer(MOMENT), Err(PeerError::Timeout));
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    rx.require_peer();
    assert_eq!(next(&mut rx), Err(MessageError::Closed));
}

fn c09_ends_come_and_go_and_the_messages_stay<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    for round in 0..100 {
        let text = format!("of round {round}");
        ring.sender().unwrap().send(text.as_bytes()).unwrap();
        assert_eq!(soon(&mut ring.receiver().unwrap()), text);
    }
}

fn clear_discards_what_was_sent_and_says_how_many_messages_that_was<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    assert_eq!(rx.clear(), Ok(0));
    for (held, sent) in [(0, 3), (2, 5), (3, 3)] {
        for i in 0..sent {
            tx.send(&vec![b'x'; 200 * i]).unwrap();
        }
        if held > 0 {
            rx.claim(held).unwrap().abandon();
        }
        assert_eq!(rx.clear(), Ok(sent as u64));
        assert!(rx.is_empty());
        assert_eq!(next(&mut rx), Err(MessageError::Empty));
        tx.send(b"after it").unwrap();
        assert_eq!((next(&mut rx).unwrap().as_str(), rx.redeliveries()), ("after it", 0));
    }
    assert_eq!(ring.stats().dropped, 11);

    // Nor does it tell any more of what was received before.
    tx.send(b"held").unwrap();
    rx.claim(1).unwrap().abandon();
    drop(rx);
    let mut rx = ring.receiver().unwrap();
    rx.set_liveness_interval(MOMENT);
    assert_eq!((soon(&mut rx).as_str(), rx.redeliveries()), ("held", 1));
    assert_eq!((rx.clear(), rx.redeliveries()), (Ok(0), 0));
}

fn c17_ends_tell_of_their_ring<K: Carries>() {
    let (name, ring) = new_ring::<K>(PAGE);
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    assert_eq!((tx.ring().id(), rx.ring().id()), (ring.id(), ring.id()));
    assert_eq!((tx.peers().senders, rx.peers().receivers), (1, 1));
    assert!(ring.is_empty() && tx.is_empty() && rx.is_empty());
    tx.send(b"a").unwrap();
    let taken = if K::MANY { 64 } else { 16 };
    assert_eq!((ring.len(), tx.len(), rx.len()), (taken, taken, taken));
    tx.set_wait_policy(WaitPolicy::Park);
    rx.set_liveness_interval(Duration::from_millis(7));
    for (shown, end, how) in
        [(format!("{tx:?}"), "Sender {", "policy: Park"), (format!("{rx:?}"), "Receiver {", "7ms")]
    {
        assert!(shown.starts_with(end) && shown.contains(&*name) && shown.contains(how), "{shown}");
    }
}

fn c18_inherited_ends_do_nothing<K: Carries>() {
    let (name, _ring) = new_ring::<K>(PAGE);
    let mut child = Child::start::<K>("forks_with_ends", &name);
    child.must("go", "Ok");
    child.finish();
}

/// A role: forks with both ends of a ring, and with room and messages that are held.
pub fn forks_with_ends<K: Carries>(mut me: Me) {
    me.hear();
    let ring = options::<K>().open(&me.ring).unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let raw = Raw::of_file(&ring);
    for _ in 0..2 {
        let before = raw.copy();
        in_a_fork(|| {
            sends_nothing(&mut tx);
            receives_nothing(&mut rx);
            assert!(!tx.is_closed() && !rx.is_closed());
            assert!(matches!(ring.sender(), Err(AttachError::Forked { .. })));
            assert!(matches!(ring.receiver(), Err(AttachError::Forked { .. })));
        });
        assert!(raw.copy() == before, "the child has changed something");
        tx.send(b"a").unwrap(); // and so there is something in the second round
    }
    with_room_and_messages(&mut tx, &mut rx, &raw);
    me.say("Ok");
    me.hear();
}

fn sends_nothing<K: Messages>(tx: &mut messages::Sender<K>) {
    let now = Duration::ZERO;
    assert_eq!(tx.send(b"x"), Err(MessageError::Forked));
    assert_eq!(tx.try_send(b"x"), Err(MessageError::Forked));
    assert_eq!(tx.send_deadline(b"x", now), Err(MessageError::Forked));
    assert_eq!(tx.send_vectored(&[]), Err(MessageError::Forked));
    assert_eq!(tx.send_vectored_deadline(&[], now), Err(MessageError::Forked));
    assert_eq!(tx.reserve(1).err(), Some(MessageError::Forked));
    assert_eq!(tx.try_reserve(1).err(), Some(MessageError::Forked));
    assert_eq!(tx.reserve_deadline(1, now).err(), Some(MessageError::Forked));
    assert_eq!(tx.send_with(1, |_| Ok(())), Err(MessageError::Forked));
    assert_eq!(tx.wait_for_peer(now), Err(PeerError::Forked));
}

fn receives_nothing<K: Messages>(rx: &mut messages::Receiver<K>) {
    let (now, mut into) = (Duration::ZERO, Vec::new());
    assert_eq!(rx.recv(&mut into), Err(MessageError::Forked));
    assert_eq!(rx.try_recv(&mut into), Err(MessageError::Forked));
    assert_eq!(rx.recv_deadline(&mut into, now), Err(MessageError::Forked));
    assert_eq!(rx.recv_into(&mut [0; 9]), Err(MessageError::Forked));
    assert_eq!(rx.try_recv_into(&mut [0; 9]), Err(MessageError::Forked));
    assert_eq!(rx.recv_into_deadline(&mut [0; 9], now), Err(MessageError::Forked));
    assert_eq!(rx.claim(1).err(), Some(MessageError::Forked));
    assert_eq!(rx.try_claim(1).err(), Some(MessageError::Forked));
    assert_eq!(rx.claim_deadline(1, now).err(), Some(MessageError::Forked));
    assert_eq!(rx.clear(), Err(MessageError::Forked));
    assert_eq!(rx.wait_for_peer(now), Err(PeerError::Forked));
}

/// What the child does to a message in the making, or to one that is held, is done to nothing.
fn with_room_and_messages<K: Messages>(
    tx: &mut messages::Sender<K>,
    rx: &mut messages::Receiver<K>,
    raw: &Raw,
) {
    use std::io::Write;
    assert_eq!(rx.clear(), Ok(2));
    // `None` after `take`, in the child alone.
    let mut room = Some(tx.try_reserve(100).unwrap());
    room.as_mut().unwrap().writer().write_all(b"the parent's ").unwrap();
    let before = raw.copy();
    in_a_fork(|| {
        let mut room = room.take().unwrap();
        room.writer().write_all(b"child's").unwrap();
        // SAFETY: it panics.
        let borrowed = catch_unwind(AssertUnwindSafe(|| unsafe { room.as_mut_slice() }.len()));
        assert!(borrowed.is_err());
        room.commit();
    });
    in_a_fork(|| room.take().unwrap().abandon());
    assert!(raw.copy() == before, "the child has written");
    let mut room = room.unwrap();
    room.writer().write_all(b"message").unwrap();
    room.commit();
    let mut claimed = Some(rx.claim(9).unwrap());
    let before = raw.copy();
    let message = claimed.as_ref().unwrap().first().unwrap();
    in_a_fork(|| {
        let mut copy = [7; 3];
        message.read_slice(0, &mut copy);
        assert_eq!((copy, message.to_vec()), ([7; 3], vec![0; 20]), "it may be another's by now");
        // SAFETY: it panics.
        let borrowed = catch_unwind(AssertUnwindSafe(|| unsafe { message.as_slice() }.len()));
        assert!(borrowed.is_err());
    });
    in_a_fork(|| {
        let claimed = claimed.take().unwrap();
        assert!(claimed.first().is_none() && claimed.iter().next().is_none());
        assert_eq!(claimed.len(), 1);
        claimed.release_all();
    });
    in_a_fork(|| claimed.take().unwrap().abandon());
    assert!(raw.copy() == before, "the child has released");
    let claimed = claimed.unwrap();
    assert_eq!(claimed.first().unwrap().to_vec(), b"the parent's message");
    claimed.release_all();
}

fn clones_wait_as_their_original_does_and_share_the_work() {
    let (mut tx, mut rx) = both_ends::<Mpmc>(PAGE);
    tx.set_wait_policy(WaitPolicy::Park);
    rx.set_liveness_interval(Duration::from_millis(7));
    let (mut tx_clone, mut rx_clone) = (tx.try_clone().unwrap(), rx.try_clone().unwrap());
    assert!(format!("{tx_clone:?}").contains("policy: Park"));
    assert!(format!("{rx_clone:?}").contains("interval: 7ms"));
    assert_eq!((tx.peers().senders, tx.peers().receivers), (2, 2));
    tx.send(b"a").unwrap();
    tx_clone.send(b"b").unwrap();
    assert_eq!((soon(&mut rx_clone), soon(&mut rx)), ("a".into(), "b".into()));
    // Each has a canceller of its own.
    rx.canceller().cancel();
    assert_eq!(rx.recv(&mut Vec::new()), Err(MessageError::Cancelled));
    tx.send(b"c").unwrap();
    assert_eq!(soon(&mut rx_clone), "c");
    drop(tx);
    assert_eq!(next(&mut rx_clone), Err(MessageError::Empty));
    drop(tx_clone);
    assert_eq!(next(&mut rx_clone), Err(MessageError::Closed));
    in_a_fork(|| assert!(matches!(rx.try_clone(), Err(AttachError::Forked { .. }))));
}

fn successors_attach_as_soon_as_there_is_a_place() {
    fn no_place<K: Carries>(ring: &messages::Ring<K::Messages>) {
        let told = [ring.sender_deadline(MOMENT).err(), ring.receiver_deadline(MOMENT).err()];
        for told in told {
            match told {
                Some(AttachError::RoleTaken { .. }) => assert!(!K::MANY),
                Some(AttachError::TableFull { .. }) => assert!(K::MANY),
                other => panic!("{other:?}"),
            }
        }
    }
    fn succeed<K: Carries>() {
        let options = options::<K>().capacity(PAGE).endpoints(2);
        let ring = options.create_anonymous().unwrap();
        let ends = (ring.sender().unwrap(), ring.receiver().unwrap());
        no_place::<K>(&ring);
        thread::scope(|scope| {
            let tx = scope.spawn(|| ring.sender_deadline(Deadline::NEVER));
            let rx = scope.spawn(|| ring.receiver_deadline(Deadline::NEVER));
            drop(ends);
            let (mut tx, mut rx) = (tx.join().unwrap().unwrap(), rx.join().unwrap().unwrap());
            tx.send(b"of a successor").unwrap();
            assert_eq!(soon(&mut rx), "of a successor");
        });
    }
    succeed::<ringpipe::Spsc>();
    succeed::<Mpmc>();
}
