//! As many ends as a ring can have, and a process that is killed with a thousand of them.

use std::time::Duration;

use ringpipe::messages::mpmc;
use ringpipe::{AttachError, MessageError, Mpmc};

use super::support::messenger::{Carries, options};
use super::support::{Child, Me, Name, tests};

tests!(
    four_thousand_ends_pass_a_message_each,
    what_a_thousand_killed_receivers_held_comes_again_and_what_as_many_senders_wrote_never_was,
);

/// The most endpoint records.
const MOST: u32 = 4096;
/// Of each role, in the process that is killed.
const KILLED: usize = 1000;
const ROOM: usize = 1 << 20;

/// Of several lengths, and different from all others.
fn letter(number: usize) -> Vec<u8> {
    let mut letter = number.to_le_bytes().to_vec();
    letter.resize(8 + number % 5 * 60, number as u8);
    letter
}

fn number_of(message: &[u8]) -> usize {
    let number = usize::from_le_bytes(*message.first_chunk().unwrap());
    assert_eq!(message, letter(number));
    number
}

fn four_thousand_ends_pass_a_message_each() {
    let ring = mpmc::Ring::options().endpoints(MOST).capacity(ROOM).create_anonymous().unwrap();
    let half = MOST as usize / 2;
    let mut senders: Vec<_> = (0..half).map(|_| ring.sender().unwrap()).collect();
    let mut receivers: Vec<_> = (0..half).map(|_| ring.receiver().unwrap()).collect();
    for refused in [ring.sender().map(drop), ring.receiver().map(drop)] {
        assert!(matches!(refused, Err(AttachError::TableFull { endpoints: MOST, .. })));
    }
    let peers = ring.peers();
    assert_eq!((peers.senders, peers.receivers), (half, half));
    for (number, tx) in senders.iter_mut().enumerate() {
        tx.try_send(&letter(number)).unwrap();
    }
    drop(senders);
    let mut message = Vec::new();
    for (number, rx) in receivers.iter_mut().enumerate().rev() {
        rx.try_recv(&mut message).unwrap();
        assert_eq!(number_of(&message), half - 1 - number);
    }
    assert_eq!(receivers[0].recv(&mut message), Err(MessageError::Closed));
    drop(receivers);
    let peers = ring.peers();
    assert_eq!((peers.senders, peers.receivers), (0, 0));
}

/// A role: has claimed a message with each of so many receivers, and begun one with as many senders.
pub fn is_a_thousand<K: Carries>(mut me: Me) {
    let ring = options::<Mpmc>().open(&me.ring).unwrap();
    let mut receivers: Vec<_> = (0..KILLED).map(|_| ring.receiver().unwrap()).collect();
    let mut senders: Vec<_> = (0..KILLED).map(|_| ring.sender().unwrap()).collect();
    for rx in &mut receivers {
        rx.try_claim(1).unwrap().abandon(); // it stays this receiver's
    }
    for (number, tx) in senders.iter_mut().enumerate() {
        let mut room = tx.try_reserve(number % 5 * 60).unwrap();
        std::io::Write::write_all(&mut room.writer(), &vec![0xff; number % 5 * 30]).unwrap();
        std::mem::forget(room);
    }
    me.say("is");
    me.hear();
}

fn what_a_thousand_killed_receivers_held_comes_again_and_what_as_many_senders_wrote_never_was() {
    let name = Name::new();
    let ring = options::<Mpmc>().endpoints(MOST).capacity(ROOM).create(&name).unwrap();
    let mut tx = ring.sender().unwrap();
    (0..KILLED).for_each(|number| tx.try_send(&letter(number)).unwrap());
    let mut thousand = Child::start::<Mpmc>("is_a_thousand", &name);
    thousand.must_hear("is");
    tx.try_send(&letter(KILLED)).unwrap(); // behind all that
    thousand.kill();
    drop(tx);
    let mut rx = ring.receiver().unwrap();
    rx.set_liveness_interval(Duration::from_millis(1));
    let (mut message, mut came) = (Vec::new(), vec![false; KILLED + 1]);
    let end = loop {
        match rx.recv(&mut message) {
            Ok(()) => {
                let number = number_of(&message);
                assert!(!std::mem::replace(&mut came[number], true), "{number} twice");
                assert_eq!(rx.redeliveries(), u32::from(number < KILLED), "{number}");
            }
            Err(end) => break end,
        }
    };
    assert_eq!(end, MessageError::Closed);
    assert!(came.iter().all(|came| *came));
    let peers = ring.peers();
    assert_eq!((peers.senders, peers.receivers), (0, 1));
    // All room is there.
    let mut tx = ring.sender().unwrap();
    let most = vec![0; tx.max_len()];
    assert_eq!((tx.try_send(&most), tx.try_send(&most)), (Ok(()), Ok(())));
    assert_eq!(tx.try_send(b""), Err(MessageError::Full));
    let stats = ring.stats();
    assert_eq!((stats.redelivered, stats.dropped), (KILLED as u64, 0));
}
