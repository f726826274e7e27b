//! What a `kill -9` costs, and what it does not: messages in the making are absent, those that were
//! held come again, whole, one at a time and marked; or are dropped where the ring is told so.

use std::time::Duration;

use ringpipe::{MessageError, Mpmc, MpmcMessages, WaitPolicy, messages};

use super::PAGE;
use super::support::messenger::{
    Carries, MessageRing, Receiver, Sender, bytes, new_ring, next, options, text,
};
use super::support::{Child, Name, POLICIES, both_kinds, tests};

both_kinds!(
    a_message_that_a_killed_sender_had_not_committed_never_was,
    what_a_killed_receiver_held_comes_again_one_at_a_time_and_marked,
    what_a_killed_receiver_had_released_does_not_come_again,
    what_a_receiver_holds_when_it_leaves_comes_again_marked,
    a_message_that_was_too_large_for_a_killed_receiver_goes_to_the_next,
    what_a_killed_receiver_held_is_dropped_and_counted_if_the_ring_says_so,
    what_kills_as_many_receivers_as_the_ring_allows_is_dropped_and_the_others_are_delivered,
    c02_a_waiting_receiver_is_told_that_the_sender_was_killed,
    c04_a_waiting_sender_is_told_that_the_receiver_was_killed,
);

tests!(
    what_others_sent_behind_a_killed_senders_room_is_received,
    a_waiting_receiver_takes_over_the_messages_of_a_killed_one,
    a_waiting_sender_gets_the_room_of_long_messages_that_a_killed_receiver_held,
    messages_that_a_killed_receiver_had_given_back_to_itself_come_again,
);

const SHORT: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(30);

/// A receiver of this process that checks often.
fn checking<K: Carries>(ring: &MessageRing<K>) -> Receiver<K> {
    let mut rx = ring.receiver().unwrap();
    rx.set_liveness_interval(SHORT);
    rx
}

/// The next so many messages, each with the number of its redeliveries: in order on an SPSC ring;
/// sorted on an MPMC ring, where a receiver first sees what nobody had claimed.
#[track_caller]
fn take<K: Carries>(rx: &mut Receiver<K>, count: usize) -> Vec<(String, u32)> {
    let mut take_one = || {
        let mut message = Vec::new();
        rx.recv_deadline(&mut message, SOON).unwrap();
        (text(&message), rx.redeliveries())
    };
    let mut taken: Vec<_> = (0..count).map(|_| take_one()).collect();
    if K::MANY {
        taken.sort_unstable();
    }
    taken
}

fn are(messages: &[(&str, u32)]) -> Vec<(String, u32)> {
    messages.iter().map(|&(text, again)| (text.into(), again)).collect()
}

#[track_caller]
fn all_room_is_there<K: messages::Messages>(
    tx: &mut messages::Sender<K>,
    rx: &mut messages::Receiver<K>,
) {
    let most = vec![b'z'; tx.max_len()];
    for _ in 0..3 {
        tx.try_send(&most).unwrap();
        tx.try_send(&most).unwrap();
        assert_eq!(tx.try_send(b""), Err(MessageError::Full));
        assert_eq!(rx.clear(), Ok(2));
    }
}

const SENT: [&str; 5] = ["a", "b*700", "c*60", "", "e"];

/// A receiver in another process that has received the first of five and claimed three more.
fn one_who_holds_three<K: Carries>(name: &Name, ring: &MessageRing<K>) -> (Sender<K>, Child) {
    let mut tx = ring.sender().unwrap();
    for message in SENT {
        tx.try_send(&bytes(message)).unwrap();
    }
    let mut rx = Child::message_receiver::<K>(name, WaitPolicy::Park);
    rx.must("recv", "a");
    rx.must("claim 3", "[b*700, c*60, ]");
    (tx, rx)
}

fn a_message_that_a_killed_sender_had_not_committed_never_was<K: Carries>() {
    for most in [10, PAGE / 2 - 8] {
        let (name, ring) = new_ring::<K>(PAGE);
        let mut dead = Child::message_sender::<K>(&name, WaitPolicy::Park);
        dead.must("send first", "Ok(())");
        dead.must(&format!("reserve {most}"), "Ok");
        dead.must("write half_of", "Ok");
        dead.kill();
        let mut rx = checking::<K>(&ring);
        let mut tx = ring.sender().unwrap();
        tx.try_send(b"second").unwrap();
        drop(tx);
        assert_eq!(take::<K>(&mut rx, 2), are(&[("first", 0), ("second", 0)]));
        assert_eq!(rx.recv_deadline(&mut Vec::new(), SOON), Err(MessageError::Closed));
        all_room_is_there(&mut ring.sender().unwrap(), &mut rx);
    }
}

fn what_a_killed_receiver_held_comes_again_one_at_a_time_and_marked<K: Carries>() {
    let (name, ring) = new_ring::<K>(PAGE);
    let (mut tx, dead) = one_who_holds_three::<K>(&name, &ring);
    dead.kill();
    let mut rx = checking::<K>(&ring);
    let wanted = [("", 1), ("b*700", 1), ("c*60", 1), ("e", 0)];
    let mut came = Vec::new();
    while came.len() < 4 {
        let claimed = rx.claim_deadline(9, SOON).unwrap();
        assert_eq!((claimed.len(), claimed.redelivered() as u32), (1, claimed.redeliveries()));
        came.push((text(&claimed.first().unwrap().to_vec()), claimed.redeliveries()));
        claimed.release_all();
    }
    if !K::MANY {
        let order: Vec<_> = came.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(order, ["b*700", "c*60", "", "e"]);
    }
    came.sort_unstable();
    assert_eq!(came, are(&wanted));
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    assert_eq!(ring.stats().redelivered, 3);
    all_room_is_there(&mut tx, &mut rx);
}

fn what_a_killed_receiver_had_released_does_not_come_again<K: Carries>() {
    let (name, ring) = new_ring::<K>(PAGE);
    let (mut tx, mut dead) = one_who_holds_three::<K>(&name, &ring);
    dead.must("release 1", "Ok");
    dead.kill();
    let mut rx = checking::<K>(&ring);
    let mut wanted = are(&[("c*60", 1), ("", 1), ("e", 0)]);
    if K::MANY {
        wanted.sort_unstable();
    }
    assert_eq!(take::<K>(&mut rx, 3), wanted);
    all_room_is_there(&mut tx, &mut rx);
}

fn what_a_receiver_holds_when_it_leaves_comes_again_marked<K: Carries>() {
    let (name, ring) = new_ring::<K>(PAGE);
    let (mut tx, mut gone) = one_who_holds_three::<K>(&name, &ring);
    gone.must("abandon", "Ok");
    gone.must("leave", "Ok");
    let mut rx = checking::<K>(&ring);
    let mut wanted = are(&[("b*700", 1), ("c*60", 1), ("", 1), ("e", 0)]);
    if K::MANY {
        wanted.sort_unstable();
    }
    assert_eq!(take::<K>(&mut rx, 4), wanted);
    all_room_is_there(&mut tx, &mut rx);
}

fn messages_that_a_killed_receiver_had_given_back_to_itself_come_again() {
    let (name, ring) = new_ring::<Mpmc>(PAGE);
    let (mut tx, mut dead) = one_who_holds_three::<Mpmc>(&name, &ring);
    dead.must("abandon", "Ok");
    dead.must("claim 1", "[b*700] 1 again, the first 0");
    dead.must("release 1", "Ok");
    dead.kill();
    let mut rx = checking::<Mpmc>(&ring);
    assert_eq!(take::<Mpmc>(&mut rx, 3), are(&[("", 1), ("c*60", 1), ("e", 0)]));
    all_room_is_there(&mut tx, &mut rx);
}

fn a_message_that_was_too_large_for_a_killed_receiver_goes_to_the_next<K: Carries>() {
    let (name, ring) = new_ring::<K>(PAGE);
    let mut tx = ring.sender().unwrap();
    tx.try_send(&bytes("l*1000")).unwrap();
    // However many: none of them was shown it.
    for _ in 0..2 {
        let mut dead = Child::holding::<K::Messages>(&name, "receiver", WaitPolicy::Park, SHORT);
        dead.must("recv_into 999", "Err(TooSmall { len: 1000 })");
        dead.must("recv_into 0", "Err(TooSmall { len: 1000 })");
        dead.kill();
    }
    let mut rx = checking::<K>(&ring);
    let again = u32::from(K::MANY); // that it was claimed; on an SPSC ring nobody has claimed it
    assert_eq!(take::<K>(&mut rx, 1), are(&[("l*1000", again)]));
    all_room_is_there(&mut tx, &mut rx);
}

fn what_a_killed_receiver_held_is_dropped_and_counted_if_the_ring_says_so<K: Carries>() {
    for leaves in [false, true] {
        let name = Name::new();
        let ring = options::<K>().capacity(PAGE).drop_unreleased(true).create(&name).unwrap();
        let (mut tx, mut gone) = one_who_holds_three::<K>(&name, &ring);
        if leaves {
            gone.must("abandon", "Ok");
            gone.must("leave", "Ok");
        } else {
            gone.kill();
        }
        let mut rx = checking::<K>(&ring);
        assert_eq!(take::<K>(&mut rx, 1), are(&[("e", 0)]));
        let stats = || (ring.stats().dropped, ring.stats().redelivered);
        super::support::until("the messages dropped", || {
            assert_eq!(next(&mut rx), Err(MessageError::Empty));
            (stats() == (3, 0)).then_some(())
        });
        all_room_is_there(&mut tx, &mut rx);
    }
}

fn what_kills_as_many_receivers_as_the_ring_allows_is_dropped_and_the_others_are_delivered<
    K: Carries,
>() {
    let name = Name::new();
    let ring = options::<K>().capacity(PAGE).delivery_limit(3).create(&name).unwrap();
    let mut tx = ring.sender().unwrap();
    for message in ["p*500", "b*100", "c*1000"] {
        tx.try_send(&bytes(message)).unwrap();
    }
    // The first has the others, too; then the message that kills comes alone.
    for claimed in
        ["[p*500, b*100, c*1000]", "[p*500] 1 again, the first 1", "[p*500] 1 again, the first 2"]
    {
        let mut rx = Child::holding::<K::Messages>(&name, "receiver", WaitPolicy::Park, SHORT);
        rx.must("claim 3", claimed);
        rx.kill();
    }
    let mut rx = checking::<K>(&ring);
    assert_eq!(take::<K>(&mut rx, 2), are(&[("b*100", 1), ("c*1000", 1)]));
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    assert_eq!((ring.stats().exhausted, ring.stats().dropped), (1, 1));
    all_room_is_there(&mut tx, &mut rx);
}

fn c02_a_waiting_receiver_is_told_that_the_sender_was_killed<K: Carries>() {
    for policy in POLICIES {
        let (name, _ring) = new_ring::<K>(PAGE);
        let mut rx = Child::holding::<K::Messages>(&name, "receiver", policy, SHORT);
        let mut tx = Child::message_sender::<K>(&name, policy);
        tx.must("send m*1500", "Ok(())");
        rx.must("recv", "m*1500");
        rx.say("recv");
        rx.until_waiting(policy);
        tx.kill();
        rx.must_hear("Err(Closed)");
        rx.must("ending", "Some(Died(1))");
    }
}

fn c04_a_waiting_sender_is_told_that_the_receiver_was_killed<K: Carries>() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<K>(PAGE);
        let mut tx = Child::holding::<K::Messages>(&name, "sender", policy, SHORT);
        let rx = Child::message_receiver::<K>(&name, policy);
        tx.must("send m*2000", "Ok(())");
        tx.must("send n*1000", "Ok(())");
        tx.say("send o*1500");
        tx.until_waiting(policy);
        rx.kill();
        tx.must_hear("Err(Closed)");
        tx.must("ending", "Some(Died(1))");
        let mut rx = checking::<K>(&ring);
        assert_eq!(
            (next(&mut rx).unwrap(), next(&mut rx).unwrap()),
            ("m*2000".into(), "n*1000".into())
        );
    }
}

fn what_others_sent_behind_a_killed_senders_room_is_received() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(PAGE);
        let mut rx = Child::holding::<MpmcMessages>(&name, "receiver", policy, SHORT);
        let mut tx = ring.sender().unwrap();
        let mut dead = Child::message_sender::<Mpmc>(&name, policy);
        dead.must("reserve 1500", "Ok");
        tx.try_send(&bytes("b*1000")).unwrap();
        rx.must("try_recv", "Err(Empty)");
        rx.say("recv");
        rx.until_waiting(policy);
        dead.kill();
        rx.must_hear("b*1000");
        assert_eq!(ring.stats().skipped, (1500_u64 + 8).div_ceil(64));
    }
}

fn a_waiting_receiver_takes_over_the_messages_of_a_killed_one() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(PAGE);
        let (mut tx, dead) = one_who_holds_three::<Mpmc>(&name, &ring);
        let mut rx = Child::holding::<MpmcMessages>(&name, "receiver", policy, SHORT);
        rx.must("recv", "e");
        rx.say("recv");
        rx.until_waiting(policy);
        dead.kill();
        rx.must_hear("b*700 again 1");
        rx.must("claim 9", "[c*60] 1 again, the first 1");
        rx.must("release 1", "Ok");
        rx.must("recv_into 0", "Ok(\"\")");
        assert_eq!(ring.stats().redelivered, 3);
        rx.must("leave", "Ok");
        all_room_is_there(&mut tx, &mut ring.receiver().unwrap());
    }
}

fn a_waiting_sender_gets_the_room_of_long_messages_that_a_killed_receiver_held() {
    for policy in POLICIES {
        let (name, ring) = new_ring::<Mpmc>(PAGE);
        let mut tx = Child::holding::<MpmcMessages>(&name, "sender", policy, SHORT);
        tx.must("send a*2000", "Ok(())");
        tx.must("send b*1500", "Ok(())");
        let mut dead = Child::message_receiver::<Mpmc>(&name, policy);
        dead.must("claim 1", "[a*2000]");
        let mut rx = checking::<Mpmc>(&ring);
        tx.say("send c*1900");
        tx.until_waiting(policy);
        dead.kill();
        assert_eq!(take::<Mpmc>(&mut rx, 2), are(&[("a*2000", 1), ("b*1500", 0)]));
        tx.must_hear("Ok(())");
        assert_eq!(take::<Mpmc>(&mut rx, 1), are(&[("c*1900", 0)]));
    }
}
