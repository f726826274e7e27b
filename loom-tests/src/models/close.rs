//! Leaving and attaching: who waits learns of it, and end-of-file comes after the last value.
//!
//! As in `wake`, one who is not woken is loom's deadlock.

use loom::thread;

use super::support::{Locks, Ring, Rx, SLEEPY, check_bounded, slots_of_one};
use crate::peers::reap::{Life, Liveness};
use crate::peers::recovery_word::Scratch;
use crate::peers::table::{self, Role};
use crate::pipe::End;
use crate::ring::{Kind, Mpmc, MpmcMessages, Refused, Spsc};
use crate::sync::membarrier;

/// C2, C7: the sender's last value, then end-of-file, for a receiver that waits for both.
fn sender_leaves<K: Kind>() {
    let ring = Ring::<K>::new(2 * slots_of_one::<K>() as usize, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let sender = thread::spawn(move || {
        tx.try_send(1).unwrap();
        tx.leave();
    });
    assert_eq!(rx.recv(SLEEPY), Ok(1));
    assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed));
    sender.join().unwrap();
}

#[test]
fn spsc_receiver_gets_the_last_value_and_then_end_of_file() {
    check_bounded("close, spsc, last value", 3, sender_leaves::<Spsc>);
}

#[test]
fn mpmc_receiver_gets_the_last_value_and_then_end_of_file() {
    check_bounded("close, mpmc, last value", 3, sender_leaves::<Mpmc>);
}

#[test]
fn receiver_gets_the_last_message_and_then_end_of_file() {
    check_bounded("close, messages, last one", 3, sender_leaves::<MpmcMessages>);
}

/// The same for one that only tries: closed means that nothing is left.
fn closed_means_drained<K: Kind>() {
    let ring = Ring::<K>::new(2 * slots_of_one::<K>() as usize, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let sender = thread::spawn(move || {
        tx.try_send(1).unwrap();
        tx.leave();
    });
    match rx.try_recv() {
        Ok(value) => assert_eq!(value, 1),
        Err(refused) => assert_eq!(refused, Refused::NotReady, "before the value"),
    }
    sender.join().unwrap();
}

#[test]
fn spsc_closed_means_drained() {
    check_bounded("close, spsc, a try", 5, closed_means_drained::<Spsc>);
}

#[test]
fn mpmc_closed_means_drained() {
    check_bounded("close, mpmc, a try", 5, closed_means_drained::<Mpmc>);
}

#[test]
fn messages_closed_means_drained() {
    check_bounded("close, messages, a try", 5, closed_means_drained::<MpmcMessages>);
}

#[test]
fn mpmc_end_of_file_comes_after_the_last_of_two_senders() {
    check_bounded("close, mpmc, two senders", 1, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let mut rx = ring.receiver(2);
        let send = |record, value| {
            let mut tx = ring.sender(record);
            thread::spawn(move || {
                tx.try_send(value).unwrap();
                tx.leave();
            })
        };
        let senders = [send(0, 1), send(1, 2)];
        let mut received = [(); 2].map(|()| rx.recv(SLEEPY).unwrap());
        received.sort();
        assert_eq!(received, [1, 2]);
        assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed));
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// C4, C7: a sender that sleeps on a full ring learns that nobody will read.
fn receiver_leaves<K: Kind>(takes_one: bool) {
    let ring = Ring::<K>::new(1, 2);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    tx.try_send(1).unwrap();
    let receiver = thread::spawn(move || {
        if takes_one {
            assert_eq!(rx.try_recv(), Ok(1));
        }
        rx.leave();
    });
    match tx.send(2, SLEEPY) {
        Ok(()) => assert!(takes_one, "there was no room"),
        Err(why) => assert_eq!(why, Refused::Closed),
    }
    assert_eq!(tx.send(3, SLEEPY), Err(Refused::Closed));
    receiver.join().unwrap();
}

#[test]
fn spsc_sleeping_sender_learns_that_the_receiver_left() {
    check_bounded("close, spsc, sender asleep", 3, || receiver_leaves::<Spsc>(false));
}

#[test]
fn spsc_sender_learns_that_the_receiver_made_room_and_left() {
    check_bounded("close, spsc, sender asleep, room", 3, || receiver_leaves::<Spsc>(true));
}

#[test]
fn mpmc_sleeping_sender_learns_that_the_receiver_left() {
    check_bounded("close, mpmc, sender asleep", 3, || receiver_leaves::<Mpmc>(false));
}

/// W4 → W1: where there is no membarrier, which would show the sleeper all that others have stored.
#[test]
fn sleeping_sender_that_fences_for_itself_learns_that_the_receiver_left() {
    check_bounded("close, spsc, sender asleep, fences", 3, || {
        membarrier::nobody_has_registered();
        receiver_leaves::<Spsc>(false);
    });
}

/// C8: a sender that comes and goes while the receiver waits for a first one is noticed, whether
/// it left a value or not.
fn came_and_left<K: Kind>(value: Option<u64>) {
    let ring = Ring::<K>::new(1, 2);
    let mut rx = ring.receiver(1);
    let visitor = thread::spawn(move || {
        let mut tx = ring.sender(0);
        if let Some(value) = value {
            tx.try_send(value).unwrap();
        }
        tx.leave();
    });
    if let Some(value) = value {
        assert_eq!(rx.recv(SLEEPY), Ok(value));
    }
    assert_eq!(rx.recv(SLEEPY), Err(Refused::Closed));
    visitor.join().unwrap();
}

#[test]
fn spsc_sender_that_came_and_left_is_noticed() {
    check_bounded("attach, spsc, came and left", 3, || came_and_left::<Spsc>(None));
}

#[test]
fn spsc_sender_that_came_left_a_value_and_went_is_noticed() {
    check_bounded("attach, spsc, came, sent, left", 2, || came_and_left::<Spsc>(Some(1)));
}

#[test]
fn mpmc_sender_that_came_and_left_is_noticed() {
    check_bounded("attach, mpmc, came and left", 3, || came_and_left::<Mpmc>(None));
}

/// C8: a sender that is just arriving is not one that came and left.
fn arriving<K: Kind>() {
    let ring = Ring::<K>::new(1, 3);
    let mut rx = ring.receiver(2);
    // Gives the receiver a reason to look at the endpoint table again.
    ring.receiver(1).leave();
    let visitor = thread::spawn(move || ring.sender(0));
    assert_eq!(rx.try_recv(), Err(Refused::NotReady));
    visitor.join().unwrap();
}

#[test]
fn a_sender_that_arrives_while_the_receiver_looks_is_not_end_of_file() {
    check_bounded("attach, arriving", 5, arriving::<Mpmc>);
}

/// C8: who was there when the receiver came has been met, whichever of the two was faster.
#[test]
fn a_sender_that_arrives_with_the_receiver_and_leaves_later_is_noticed() {
    check_bounded("attach, at once", 3, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let theirs = ring.clone();
        let arriving = thread::spawn(move || theirs.sender(0));
        let mut rx = ring.receiver(1);
        let tx = arriving.join().unwrap();
        tx.leave();
        assert_eq!(rx.try_recv(), Err(Refused::Closed));
    });
}

/// C8: an end that saw another in the endpoint table has been met by it, however soon it leaves,
/// and also if it was there from the start.
fn seen_and_left<K: Kind>(from_the_start: bool) {
    let ring = Ring::<K>::new(1, 2);
    let theirs = ring.clone();
    let there = from_the_start.then(|| ring.receiver(1));
    let visitor = thread::spawn(move || {
        let mut rx = there.unwrap_or_else(|| theirs.receiver(1));
        let seen = rx.end.ends.present(&theirs.words);
        rx.leave();
        seen
    });
    let mut tx = ring.sender(0);
    if visitor.join().unwrap() {
        assert_eq!(tx.try_send(1), Err(Refused::Closed));
    }
}

#[test]
fn spsc_sender_that_was_seen_has_met_a_receiver_that_was_there() {
    check_bounded("attach, spsc, seen by one that was there", 3, || seen_and_left::<Spsc>(true));
}

#[test]
fn mpmc_sender_that_was_seen_has_met_a_receiver_that_was_there() {
    check_bounded("attach, mpmc, seen by one that was there", 3, || seen_and_left::<Mpmc>(true));
}

#[test]
fn mpmc_sender_that_was_seen_has_met_a_receiver_that_came_as_well() {
    check_bounded("attach, mpmc, seen by one that came", 3, || seen_and_left::<Mpmc>(false));
}

/// An end that leaves unlocks first: a record that is free can be taken at once.
#[test]
fn a_record_that_is_seen_free_can_be_taken() {
    check_bounded("attach, a free record", 3, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let old = ring.sender(0);
        let leaving = thread::spawn(move || old.leave());
        let free = table::owner(&ring.words.owners[0]).is_none();
        assert!(ring.sender_if_free(0).is_some() || !free);
        leaving.join().unwrap();
    });
}

/// A sender leaves after its successor has come: there was always one.
fn succession(ask: impl FnOnce(&mut Rx<Mpmc>)) {
    let ring = Ring::<Mpmc>::new(1, 4);
    let (old, mut rx) = (ring.sender(1), ring.receiver(2));
    // Gives the receiver a reason to look at the endpoint table again.
    ring.receiver(3).leave();
    let successor = thread::spawn(move || {
        // Sits before its predecessor, where a look at the endpoint table has already been.
        let new = ring.sender(0);
        old.leave();
        new
    });
    ask(&mut rx);
    successor.join().unwrap();
}

/// C9: there was always one.
#[test]
fn a_sender_that_succeeds_another_is_not_end_of_file() {
    check_bounded("attach, succeeding", 3, || {
        succession(|rx| assert_eq!(rx.try_recv(), Err(Refused::NotReady)));
    });
}

/// The kernel's answer in a succession: it looks at the locks of all records at once, and one of
/// the two has its own at any time.
struct OneLivesAlways<'a>(&'a Locks);

impl Liveness for OneLivesAlways<'_> {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.0.alive(role, record)
    }

    fn any_alive(&self, _: Role) -> Life {
        Life::Alive
    }

    fn visitor_alive(&self) -> Life {
        self.0.visitor_alive()
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        self.0.with_scratch(work)
    }
}

/// C9: nor has every sender gone for one that asks just that.
#[test]
fn a_sender_that_succeeds_another_is_not_closed() {
    check_bounded("closed, succeeding", 3, || {
        succession(|rx| assert!(!rx.end.is_closed(&OneLivesAlways(&rx.ring.locks))));
    });
}

/// C9: one leaves and another comes, in no order. What the receiver says meanwhile depends; that a
/// sender is there now must not be missed for good.
#[test]
fn a_sender_that_comes_while_another_leaves_is_found() {
    check_bounded("attach, coming and going", 2, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let (old, mut rx) = (ring.sender(1), ring.receiver(2));
        let leaving = thread::spawn(move || old.leave());
        let coming = thread::spawn(move || ring.sender(0));
        let refused = rx.try_recv().unwrap_err();
        assert!(matches!(refused, Refused::NotReady | Refused::Closed));
        leaving.join().unwrap();
        coming.join().unwrap();
        assert_eq!(rx.try_recv(), Err(Refused::NotReady));
    });
}

/// C8: whoever waits for a peer is woken when one attaches.
#[test]
fn receiver_that_waits_for_a_peer_learns_that_one_attached() {
    check_bounded("attach, wait for a peer", 3, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let mut rx = ring.receiver(1);
        let visitor = thread::spawn(move || ring.sender(0));
        assert_eq!(rx.wait_for_peer(SLEEPY), Ok(()));
        visitor.join().unwrap();
    });
}

/// A7 ← A6: nor does it overlook one that attaches at the same time.
#[test]
fn receiver_that_attaches_with_a_sender_and_waits_for_a_peer_finds_it() {
    check_bounded("attach, at once, wait for a peer", 3, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let theirs = ring.clone();
        let visitor = thread::spawn(move || theirs.sender(0));
        let mut rx = ring.receiver(1);
        assert_eq!(rx.wait_for_peer(SLEEPY), Ok(()));
        visitor.join().unwrap();
    });
}

/// The last opposite end leaves: whoever asked too early asks again.
#[test]
fn closed_is_said_by_those_whose_opposite_ends_have_left() {
    check_bounded("closed, leaving", 3, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let (mut tx, rx) = (ring.sender(0), ring.receiver(1));
        let leaving = thread::spawn(move || rx.leave());
        tx.end.is_closed(&*ring.locks);
        leaving.join().unwrap();
        assert!(tx.end.is_closed(&*ring.locks));
        let _rx = ring.receiver(1);
        assert!(!tx.end.is_closed(&*ring.locks));
    });
}

/// One that died is in the endpoint table still, and another comes: closed may be said before that,
/// and not after.
#[test]
fn a_sender_that_comes_while_another_is_found_dead_is_not_closed() {
    check_bounded("closed, dead and coming", 3, || {
        let ring = Ring::<Mpmc>::new(1, 3);
        let (old, mut rx) = (ring.sender(1), ring.receiver(2));
        assert!(!rx.end.is_closed(&*ring.locks));
        old.die();
        let theirs = ring.clone();
        let coming = thread::spawn(move || theirs.sender(0));
        rx.end.is_closed(&*ring.locks);
        let _tx = coming.join().unwrap();
        assert!(!rx.end.is_closed(&*ring.locks));
        assert_eq!(rx.try_recv(), Err(Refused::NotReady));
    });
}
