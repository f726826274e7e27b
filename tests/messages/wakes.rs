//! Whom room and messages wake where long and short ones mix. Everybody sleeps in the longest
//! intervals there are: who is awake again sooner was woken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::messages::mpmc;
use ringpipe::{MessageError, Mpmc, WaitPolicy};

use super::support::messenger::{Carries, bytes, new_ring, next};
use super::support::{
    Child, LONG_INTERVAL, Name, Rng, SLEEPING_POLICIES, WOKEN, asleep, both_kinds, rng, tests,
    until,
};
use super::{HEADER, PAGE};

both_kinds!(
    c07_a_sender_that_waits_for_a_long_message_wakes_when_there_is_room_for_it,
    c07_a_receiver_that_waits_wakes_for_a_message_of_any_length,
);

tests!(
    c07_senders_of_long_and_short_messages_wake_whichever_fell_asleep_first,
    c07_room_for_several_wakes_all_for_whom_it_is_enough,
    c07_messages_of_all_lengths_wake_as_many_receivers,
    c07_whoever_keeps_room_or_messages_passes_the_wake_on_at_once,
    c07_room_that_is_given_up_wakes_a_sender_of_long_messages,
    c07_who_still_sleeps_has_no_room_yet_whatever_lengths_are_waited_for,
    c07_no_wake_is_lost_where_long_and_short_messages_mix,
    a_long_message_gets_through_a_stream_of_short_ones_at_the_latest_when_that_pauses,
);

fn c07_a_sender_that_waits_for_a_long_message_wakes_when_there_is_room_for_it<K: Carries>() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<K>(PAGE);
        let mut rx = ring.receiver().unwrap();
        let mut tx = Child::message_sender::<K>(&name, policy);
        // Of 64 granules, 61 are taken; those that are free are too few.
        for message in ["a*1000", "b*1000", "c*1000", "d*700"] {
            tx.must(&format!("send {message}"), "Ok(())");
        }
        tx.say("send l*1500");
        tx.until_asleep();
        // Not enough yet: it may wake, and sleeps again.
        assert_eq!(next(&mut rx).unwrap(), "a*1000");
        tx.until_asleep();
        assert_eq!(next(&mut rx).unwrap(), "b*1000");
        tx.wakes_with("Ok(())");
        for message in ["c*1000", "d*700", "l*1500"] {
            assert_eq!(next(&mut rx).unwrap(), message);
        }
    }
}

fn c07_a_receiver_that_waits_wakes_for_a_message_of_any_length<K: Carries>() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<K>(PAGE);
        let mut tx = ring.sender().unwrap();
        let mut rx = Child::message_receiver::<K>(&name, policy);
        for message in ["", "a", "b*57", "c*2040"] {
            rx.say("recv");
            rx.until_asleep();
            tx.try_send(&bytes(message)).unwrap();
            rx.wakes_with(message);
            rx.say("claim 3");
            rx.until_asleep();
            let mut room = tx.try_reserve(2040).unwrap();
            room.set_len(0);
            room.commit();
            rx.wakes_with("[]");
            rx.must("release 1", "Ok");
        }
    }
}

/// A ring of 64 granules, all of them taken by messages of one each.
fn full() -> (Name, mpmc::Ring, mpmc::Receiver) {
    let (name, ring) = new_ring::<Mpmc>(PAGE);
    let mut tx = ring.sender().unwrap();
    for _ in 0..64 {
        tx.try_send(b"s").unwrap();
    }
    let rx = ring.receiver().unwrap();
    (name, ring, rx)
}

/// Senders that have fallen asleep in this order, each over one message.
fn asleep_over(name: &Name, messages: &[&str], policy: WaitPolicy) -> Vec<Child> {
    let fall_asleep = |message: &&str| {
        let mut tx = Child::message_sender::<Mpmc>(name, policy);
        tx.say(&format!("send {message}"));
        tx.until_asleep();
        tx
    };
    messages.iter().map(fall_asleep).collect()
}

fn receive(rx: &mut mpmc::Receiver, count: usize) {
    for _ in 0..count {
        next(rx).unwrap();
    }
}

fn c07_senders_of_long_and_short_messages_wake_whichever_fell_asleep_first() {
    for policy in SLEEPING_POLICIES {
        for long_at in 0..3 {
            let (name, _ring, mut rx) = full();
            let mut order = vec!["x", "y"];
            order.insert(long_at, "l*2000");
            let mut sleepers = asleep_over(&name, &order, policy);
            let mut long = sleepers.remove(long_at);
            // One place is for one of the short ones; which, nobody says. The other sleeps on.
            for _ in 0..2 {
                receive(&mut rx, 1);
                until("a short message in", || (rx.len() == PAGE).then_some(()));
            }
            for mut short in sleepers {
                short.wakes_with("Ok(())");
            }
            long.until_asleep();
            receive(&mut rx, 31); // one place too few
            long.until_asleep();
            receive(&mut rx, 1);
            long.wakes_with("Ok(())");
            receive(&mut rx, 32 + 1);
            assert_eq!(next(&mut rx), Err(MessageError::Empty));
        }
    }
}

/// One release of everything, by one call: each gets in, whoever was woken first.
fn c07_room_for_several_wakes_all_for_whom_it_is_enough() {
    for policy in SLEEPING_POLICIES {
        for messages in [
            &["x", "l*1000", "y", "m*1500", "z"][..],
            &["l*1500", "m*1500", "x", "y"],
            &["x", "y", "z", "l*2000"],
            &["l*500", "m*600", "n*700", "o*800"],
        ] {
            let (name, _ring, mut rx) = full();
            let sleepers = asleep_over(&name, messages, policy);
            assert_eq!(rx.clear(), Ok(64));
            for mut tx in sleepers {
                tx.wakes_with("Ok(())");
            }
            receive(&mut rx, messages.len());
        }
    }
}

fn c07_messages_of_all_lengths_wake_as_many_receivers() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(PAGE);
        let mut tx = ring.sender().unwrap();
        let receivers = (0..4).map(|_| {
            let mut rx = Child::message_receiver::<Mpmc>(&name, policy);
            rx.say("recv");
            rx.until_asleep();
            rx
        });
        let mut receivers: Vec<_> = receivers.collect();
        // Published out of order: what lies behind comes when the first is there.
        let mut first = ring.sender().unwrap();
        let mut room = first.try_reserve(1000).unwrap();
        for message in ["b*100", "", "d*1000"] {
            tx.try_send(&bytes(message)).unwrap();
        }
        room.set_len(0);
        room.commit();
        let mut heard: Vec<_> = receivers.iter_mut().map(|rx| (rx.hear(), rx.took())).collect();
        heard.sort();
        let texts: Vec<_> = heard.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["", "", "b*100", "d*1000"]);
        assert!(heard.iter().all(|(_, took)| *took < WOKEN), "{heard:?}");
    }
}

/// One wake is enough for one place or message. So whoever takes one and sees another for somebody
/// else that sleeps, wakes that, and not only when it hands over what it has.
fn c07_whoever_keeps_room_or_messages_passes_the_wake_on_at_once() {
    for policy in SLEEPING_POLICIES {
        let (name, _ring, mut rx) = full();
        let both = [(); 2].map(|()| {
            let mut tx = Child::message_sender::<Mpmc>(&name, policy);
            tx.say("reserve 10");
            tx.until_asleep();
            tx
        });
        assert_eq!(rx.clear(), Ok(64));
        for mut tx in both {
            tx.wakes_with("Ok");
        }

        for (keeps, answer) in [("claim 1", "[a]"), ("recv_into 0", "Err(TooSmall { len: 1 })")] {
            let (name, ring) = new_ring::<Mpmc>(PAGE);
            let (mut first, mut tx) = (ring.sender().unwrap(), ring.sender().unwrap());
            let room = first.try_reserve(10).unwrap();
            tx.try_send(b"a").unwrap();
            tx.try_send(b"a").unwrap();
            let both = [(); 2].map(|()| {
                let mut rx = Child::message_receiver::<Mpmc>(&name, policy);
                rx.say(keeps);
                rx.until_asleep();
                rx
            });
            room.abandon(); // now both messages can be received
            for mut rx in both {
                rx.wakes_with(answer);
            }
        }
    }
}

/// A receiver that finds nothing but holes has freed them.
fn c07_room_that_is_given_up_wakes_a_sender_of_long_messages() {
    for policy in SLEEPING_POLICIES {
        let (name, ring) = new_ring::<Mpmc>(PAGE);
        let mut rx = ring.receiver().unwrap();
        let mut others = [(); 3].map(|()| ring.sender().unwrap());
        // Together all of the ring: nobody sees room before the holes are passed over.
        let [first, second, third] = &mut others;
        let first = first.try_reserve(2000).unwrap();
        let second = second.try_reserve(1800).unwrap();
        let third = third.try_reserve(3 * 64 - 8).unwrap();
        assert_eq!(ring.len(), PAGE);
        let mut long = asleep_over(&name, &["l*2000"], policy).remove(0);
        first.abandon();
        second.abandon();
        assert_eq!(next(&mut rx), Err(MessageError::Empty));
        long.wakes_with("Ok(())");
        third.abandon();
        assert_eq!(next(&mut rx).unwrap(), "l*2000");
    }
}

/// A sender in a thread of its own, that sends a message of the length that it is told.
struct Sleeper {
    tid: u32,
    orders: mpsc::Sender<usize>,
    /// Bytes of the ring that it waits for; 0: it has sent all.
    needs: Arc<AtomicUsize>,
}

impl Sleeper {
    fn new(ring: &mpmc::Ring, policy: WaitPolicy) -> Self {
        let mut tx = ring.sender().unwrap();
        tx.set_wait_policy(policy);
        tx.set_liveness_interval(LONG_INTERVAL);
        let ((orders, told), (tell, tid)) = (mpsc::channel(), mpsc::channel());
        let needs = Arc::new(AtomicUsize::new(0));
        let waits_for = needs.clone();
        thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
            for len in told {
                tx.send(&vec![7; len]).unwrap();
                waits_for.store(0, Ordering::Release);
            }
        });
        Self { tid: tid.recv().unwrap(), orders, needs }
    }

    fn send(&self, len: usize) {
        self.needs.store((HEADER + len).next_multiple_of(64), Ordering::Relaxed);
        self.orders.send(len).unwrap();
    }

    /// It has sent all, or sleeps for long, as there is too little room for it, or for one that waits
    /// for more and may have precedence.
    fn rests(&self, room: usize, most: usize) -> bool {
        match self.needs.load(Ordering::Acquire) {
            0 => true,
            needs => needs.max(most) > room && asleep::for_long(std::process::id(), self.tid),
        }
    }
}

fn c07_who_still_sleeps_has_no_room_yet_whatever_lengths_are_waited_for() {
    for policy in SLEEPING_POLICIES {
        let seed = rng::seed();
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let (_name, _ring, mut rx) = full();
        let sleepers: Vec<_> = (0..5).map(|_| Sleeper::new(&rx.ring(), policy)).collect();
        for _ in 0..100 {
            for sleeper in &sleepers {
                if sleeper.needs.load(Ordering::Acquire) == 0 {
                    let longest = rng.pick(&[1, 200, 2041]);
                    sleeper.send(rng.within(0..longest) as usize);
                }
            }
            let began = Instant::now();
            until("everybody asleep for whom there is no room", || {
                let room = PAGE - rx.len();
                let needs = sleepers.iter().map(|sleeper| sleeper.needs.load(Ordering::Acquire));
                let most = needs.max().unwrap_or(0);
                sleepers.iter().all(|sleeper| sleeper.rests(room, most)).then_some(())
            });
            assert!(began.elapsed() < WOKEN, "somebody was not woken, its interval ended");
            let count = rng.pick(&[1, 2, 10]);
            rx.claim(count).unwrap().release_all();
        }
        while sleepers.iter().any(|sleeper| sleeper.needs.load(Ordering::Acquire) > 0) {
            rx.clear().unwrap();
        }
    }
}

/// Several senders and receivers that sleep time and again, as the ring is full and empty by
/// turns: no call of theirs takes as long as a lost wake would.
fn c07_no_wake_is_lost_where_long_and_short_messages_mix() {
    const EACH: u64 = 3_000;
    let (_name, ring) = new_ring::<Mpmc>(PAGE);
    let most = ring.sender().unwrap().max_len() as u64;
    let slowest = thread::scope(|scope| {
        let senders: Vec<_> = (0..3)
            .map(|seed| {
                let mut tx = ring.sender().unwrap();
                tx.set_wait_policy(WaitPolicy::Park);
                tx.set_liveness_interval(LONG_INTERVAL);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    let mut slowest = Duration::ZERO;
                    for number in 0..EACH {
                        let longest = rng.pick(&[8, 57, 300, most]);
                        let len = 8.max(rng.within(0..longest + 1)) as usize;
                        let mut message = vec![seed as u8; len];
                        message[..8].copy_from_slice(&number.to_le_bytes());
                        let began = Instant::now();
                        tx.send(&message).unwrap();
                        slowest = slowest.max(began.elapsed());
                    }
                    slowest
                })
            })
            .collect();
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let mut rx = ring.receiver().unwrap();
                rx.set_wait_policy(WaitPolicy::Park);
                rx.set_liveness_interval(LONG_INTERVAL);
                scope.spawn(move || {
                    let (mut message, mut slowest, mut count) = (Vec::new(), Duration::ZERO, 0);
                    loop {
                        let began = Instant::now();
                        match rx.recv(&mut message) {
                            Ok(()) => count += 1,
                            Err(MessageError::Closed) => return (slowest, count),
                            Err(why) => panic!("{why}"),
                        }
                        slowest = slowest.max(began.elapsed());
                    }
                })
            })
            .collect();
        let sent = senders.into_iter().map(|tx| tx.join().unwrap()).max().unwrap();
        let received: Vec<_> = receivers.into_iter().map(|rx| rx.join().unwrap()).collect();
        assert_eq!(received.iter().map(|(_, count)| count).sum::<u64>(), 3 * EACH);
        received.into_iter().map(|(slowest, _)| slowest).max().unwrap().max(sent)
    });
    assert!(slowest < WOKEN, "{slowest:?}");
}

/// Before that, if a lap of the ring has passed by it: then it has precedence. How much before,
/// depends on who gets the processors.
fn a_long_message_gets_through_a_stream_of_short_ones_at_the_latest_when_that_pauses() {
    const SHORT: usize = 10_000;
    let (_name, ring) = new_ring::<Mpmc>(PAGE);
    let start = Barrier::new(4);
    let received = thread::scope(|scope| {
        for _ in 0..2 {
            let mut tx = ring.sender().unwrap();
            scope.spawn(|| {
                let mut tx = {
                    tx.set_liveness_interval(LONG_INTERVAL);
                    tx
                };
                start.wait();
                (0..SHORT).for_each(|_| tx.send(b"short").unwrap());
            });
        }
        let mut long = ring.sender().unwrap();
        long.set_liveness_interval(LONG_INTERVAL);
        scope.spawn(|| {
            let mut long = long;
            start.wait();
            (0..3).for_each(|_| long.send(&bytes("l*2040")).unwrap());
        });
        let mut rx = ring.receiver().unwrap();
        start.wait();
        let (mut message, mut count) = (Vec::new(), [0, 0]);
        while rx.recv(&mut message).is_ok() {
            count[usize::from(message.len() > 5)] += 1;
        }
        count
    });
    assert_eq!(received, [2 * SHORT, 3]);
}
