//! Messages: every call of their ends.

use std::io::{IoSlice, Write};
use std::marker::PhantomData;
use std::time::Instant;

use ringpipe::messages::Message;
use ringpipe::{Canceller, Ending, MessageError, Options, PeerError, Ring};

use super::support::messenger::{self, Carries};
use super::support::{Child, Name, POLICIES};
use super::{MOMENT, SHORT, SOON, Traffic, failed, later, must};

/// A ring of messages.
pub struct Messages<K>(PhantomData<K>);

/// Bytes in the ring.
const ALL: usize = 4096;
/// Two of these fill it.
const HALF: [u8; ALL / 2 - 8] = [7; ALL / 2 - 8];

type Sender<K> = messenger::Sender<K>;
/// A receiver, and room for any message.
type Receiver<K> = (messenger::Receiver<K>, Vec<u8>);

impl<K: Carries> Traffic for Messages<K> {
    type Item = Message;
    type Kind = K::Messages;
    type Sender = Sender<K>;
    type Receiver = Receiver<K>;

    const ROLE: &'static str = "messages_confined";
    const REDELIVERED: u64 = if K::MANY { 2 } else { 0 };

    fn options() -> Options<Message, K::Messages> {
        messenger::options::<K>().capacity(ALL)
    }

    fn sender(ring: &Ring<Message, K::Messages>) -> Sender<K> {
        let mut tx = ring.sender().unwrap();
        tx.set_liveness_interval(SHORT);
        tx
    }

    fn receiver(ring: &Ring<Message, K::Messages>) -> Receiver<K> {
        let mut rx = ring.receiver().unwrap();
        rx.set_liveness_interval(SHORT);
        (rx, Vec::with_capacity(ALL))
    }

    fn cancellers(tx: &Sender<K>, rx: &Receiver<K>) -> [Canceller; 2] {
        [tx.canceller(), rx.0.canceller()]
    }

    fn make_every_call(tx: &mut Sender<K>, rx: &mut Receiver<K>, cancellers: &[Canceller; 2]) {
        must!(tx.wait_for_peer(MOMENT) == Ok(()));
        must!(rx.0.wait_for_peer(MOMENT) == Ok(()));
        for policy in POLICIES {
            tx.set_wait_policy(policy);
            rx.0.set_wait_policy(policy);
            send_in_every_way::<K>(tx, rx);
            receive_in_every_way::<K>(tx, rx);
            find_nothing::<K>(rx);
            find_no_room::<K>(tx, rx);
            be_cancelled::<K>(tx, rx, cancellers);
        }
        let rx = &mut rx.0;
        must!(!tx.is_closed() && !rx.is_closed());
        let (peers, stats) = (tx.peers(), rx.ring().stats());
        must!(peers.senders == 1 && peers.receivers == 1 && stats.sent == stats.received);
        must!(tx.capacity() == ALL && rx.capacity() == ALL && rx.is_empty() && tx.is_empty());
        must!(tx.max_len() == HALF.len() && rx.redeliveries() == 0);
        must!(tx.ending().is_none() && rx.ending().is_none());
        drop((rx.ring(), tx.canceller()));
        tx.require_peer();
        rx.require_peer();
    }

    fn move_in_place(tx: &mut Sender<K>, (rx, _): &mut Receiver<K>) {
        // SAFETY: who has this ring open are this test's processes, which keep to the protocol.
        let sent = unsafe {
            tx.send_in_place(9, |room| {
                room[..2].copy_from_slice(b"ab");
                2
            })
        };
        must!(sent == Ok(()));
        let mut room = tx.try_reserve(9).unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: likewise.
        let place = unsafe { room.as_mut_slice() };
        place[..2].copy_from_slice(b"cd");
        room.set_len(2);
        room.commit();
        for what in [b"ab", b"cd"] {
            let claimed = rx.claim(1).unwrap_or_else(|_| failed("failed in line", line!()));
            let message = claimed.first().unwrap_or_else(|| failed("failed in line", line!()));
            // SAFETY: likewise.
            must!(unsafe { message.as_slice() } == what);
            claimed.release_all();
        }
    }

    fn recover((rx, into): &mut Receiver<K>) {
        let (mut count, mut redelivered) = ([0; 6], 0);
        let end = loop {
            match rx.recv_deadline(into, SOON) {
                Ok(()) => count[usize::from(number_of(into))] += 1,
                Err(end) => break end,
            }
            redelivered += rx.redeliveries();
        };
        must!(end == MessageError::Closed);
        must!(count == [0, 1, 1, 1, 1, 1]);
        must!(u64::from(redelivered) == Self::REDELIVERED);
        must!(rx.is_closed() && rx.ending() == Some(Ending::Died(1)));
        must!(rx.wait_for_peer(MOMENT) == Err(PeerError::Timeout));
    }

    fn find_the_pipe_broken(tx: &mut Sender<K>) {
        must!(tx.wait_for_peer(SOON) == Ok(()));
        for _ in 0..2 {
            must!(tx.send_deadline(&HALF, SOON) == Ok(()));
        }
        must!(tx.send_deadline(b"", SOON) == Err(MessageError::Closed));
        must!(tx.ending() == Some(Ending::Died(1)));
        must!(tx.is_closed() && tx.try_send(b"") == Err(MessageError::Closed));
    }

    fn victims(name: &Name, ring: &Ring<Message, K::Messages>) -> (Vec<Child>, Option<Sender<K>>) {
        let mut sender = Child::message_sender::<K>(name, Default::default());
        if !K::MANY {
            for message in SENT {
                sender.must(&format!("try_send {message}"), "Ok(())");
            }
            sender.must("reserve 100", "Ok");
            return (vec![sender], None);
        }
        let mut tx = ring.sender().unwrap();
        let [before @ .., behind] = SENT.map(messenger::bytes);
        before.iter().for_each(|message| tx.try_send(message).unwrap());
        let mut receiver = Child::message_receiver::<K>(name, Default::default());
        receiver.must("claim 2", "[1*9, 2*100]");
        sender.must("reserve 100", "Ok");
        tx.try_send(&behind).unwrap();
        (vec![receiver, sender], Some(tx))
    }

    fn last_receiver(name: &Name) -> Child {
        Child::message_receiver::<K>(name, Default::default())
    }
}

/// What [`victims`](Traffic::victims) leave, as a messenger has it.
const SENT: [&str; 5] = ["1*9", "2*100", "3*300", "4*55", "5*64"];

/// Which of [`SENT`] this is; 0: none.
fn number_of(message: &[u8]) -> u8 {
    let number = message.first().map_or(0, |digit| digit.wrapping_sub(b'0'));
    let whole = message.iter().all(|byte| *byte == b'0' + number);
    let lengths = [9, 100, 300, 55, 64];
    match whole && lengths.get(usize::from(number) - 1) == Some(&message.len()) {
        true => number,
        false => 0,
    }
}

fn send_in_every_way<K: Carries>(tx: &mut Sender<K>, (rx, into): &mut Receiver<K>) {
    let mut comes = |what: &[u8]| must!(rx.recv(into) == Ok(()) && *into == what);
    must!(tx.try_send(b"one") == Ok(()));
    comes(b"one");
    must!(tx.send(b"") == Ok(()));
    comes(b"");
    must!(tx.send_deadline(&[2; 500], later()) == Ok(()));
    comes(&[2; 500]);
    let pieces = [IoSlice::new(b"head, "), IoSlice::new(b"body")];
    must!(tx.send_vectored(&pieces) == Ok(()));
    comes(b"head, body");
    must!(tx.send_vectored_deadline(&pieces, SOON) == Ok(()));
    comes(b"head, body");
    must!(tx.send_with(100, |message| write!(message, "{}", 12)).is_ok());
    comes(b"12");
    must!(tx.send_all(&["a", "b"]) == Ok(()) && tx.send_all_deadline(&["c"], SOON) == Ok(()));
    [b"a", b"b", b"c"].into_iter().for_each(|what| comes(what));
    for wait in [false, true] {
        let reserved = if wait { tx.reserve_deadline(300, SOON) } else { tx.try_reserve(300) };
        let mut room = reserved.unwrap_or_else(|_| failed("failed in line", line!()));
        must!(room.writer().write_all(&[3; 100]).is_ok() && room.len() == 100);
        room.commit();
        comes(&[3; 100]);
    }
    tx.reserve(100).unwrap_or_else(|_| failed("failed in line", line!())).abandon();
    std::mem::forget(tx.try_reserve(100));
    must!(tx.send(b"behind those") == Ok(()));
    comes(b"behind those");
}

fn receive_in_every_way<K: Carries>(tx: &mut Sender<K>, (rx, into): &mut Receiver<K>) {
    let mut array = [0; 3];
    must!(tx.send_all(&["1", "2", "3", "4", "5"]) == Ok(()));
    must!(rx.try_recv(into) == Ok(()) && *into == b"1");
    must!(rx.recv_deadline(into, later()) == Ok(()) && *into == b"2");
    must!(rx.recv_into(&mut array) == Ok(1) && array[0] == b'3');
    must!(rx.try_recv_into(&mut array) == Ok(1) && array[0] == b'4');
    must!(rx.recv_into_deadline(&mut array, SOON) == Ok(1) && array[0] == b'5');
    must!(tx.send(b"longer") == Ok(()));
    must!(rx.try_recv_into(&mut array) == Err(MessageError::TooSmall { len: 6 }));
    must!(rx.recv(into) == Ok(()) && *into == b"longer");
    for wait in [false, true] {
        must!(tx.send_all(&["a", "bcd"]) == Ok(()));
        let claimed = if wait { rx.claim_deadline(2, SOON) } else { rx.try_claim(2) };
        let claimed = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        must!(claimed.len() == 2 && claimed.redelivered() == 0 && claimed.redeliveries() == 0);
        must!(claimed.iter().map(|message| message.len()).eq([1, 3]));
        claimed.release(1);
        rx.claim(1).unwrap_or_else(|_| failed("failed in line", line!())).abandon(); // given back
        must!(rx.try_recv_into(&mut array) == Ok(3) && array == *b"bcd");
    }
    must!(tx.send_all(&["a", "bcd"]) == Ok(()) && rx.clear() == Ok(2));
}

fn find_nothing<K: Carries>((rx, into): &mut Receiver<K>) {
    let until = Instant::now() + MOMENT; // several liveness checks
    while Instant::now() < until {
        must!(rx.try_recv(into) == Err(MessageError::Empty));
    }
    must!(rx.try_recv_into(&mut []) == Err(MessageError::Empty));
    must!(rx.try_claim(2).err() == Some(MessageError::Empty));
    must!(rx.recv_deadline(into, MOMENT) == Err(MessageError::Timeout));
    must!(rx.recv_into_deadline(&mut [], MOMENT) == Err(MessageError::Timeout));
    must!(rx.claim_deadline(2, MOMENT).err() == Some(MessageError::Timeout));
    must!(rx.clear() == Ok(0));
}

fn find_no_room<K: Carries>(tx: &mut Sender<K>, (rx, _): &mut Receiver<K>) {
    let too_large = MessageError::TooLarge { len: HALF.len() + 1, most: HALF.len() };
    must!(tx.try_send(&[7; HALF.len() + 1]) == Err(too_large));
    must!(tx.send_all(&[HALF; 2]) == Ok(()));
    let until = Instant::now() + MOMENT;
    while Instant::now() < until {
        must!(tx.try_send(b"") == Err(MessageError::Full));
    }
    must!(tx.try_reserve(9).err() == Some(MessageError::Full));
    must!(tx.send_deadline(b"", MOMENT) == Err(MessageError::Timeout));
    must!(tx.send_vectored_deadline(&[], MOMENT) == Err(MessageError::Timeout));
    must!(tx.send_all_deadline(&["a", "b"], MOMENT).err().is_some_and(|gave_up| gave_up.sent == 0));
    must!(tx.reserve_deadline(9, MOMENT).err() == Some(MessageError::Timeout));
    must!(rx.clear() == Ok(2));
}

fn be_cancelled<K: Carries>(
    tx: &mut Sender<K>,
    (rx, into): &mut Receiver<K>,
    cancellers: &[Canceller; 2],
) {
    cancellers.iter().for_each(Canceller::cancel);
    must!(rx.recv(into) == Err(MessageError::Cancelled));
    must!(tx.try_send(&HALF) == Ok(()) && tx.try_send(&HALF) == Ok(()));
    must!(tx.send(b"") == Err(MessageError::Cancelled));
    must!(rx.clear() == Ok(2));
    must!(cancellers[0].is_cancelled());
    cancellers.iter().for_each(Canceller::reset);
}
