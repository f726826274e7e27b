//! Rings of messages of both kinds, for whoever is to treat them alike; and what a
//! [`puppet`](super::puppet) can do with them.
//!
//! Messages are written as texts: `a*100` is a hundred times `a`.

use std::time::Duration;

use ringpipe::messages::{self, Message, Messages, MpmcMessages, SpscMessages};
use ringpipe::{MessageError, Mpmc, Options, Spsc, WaitPolicy};

use super::child::{Child, Me};
use super::kinds::AnyKind;
use super::puppet::{Hands, Plays, show, told_to_release};
use super::{Flavour, LONG_INTERVAL, Name};

/// The kind of ring that carries messages where others carry values.
pub trait Carries: Flavour {
    type Messages: Messages + Plays;
}

impl Carries for Spsc {
    type Messages = SpscMessages;
}

impl Carries for Mpmc {
    type Messages = MpmcMessages;
}

pub type MessageRing<K> = messages::Ring<<K as Carries>::Messages>;
pub type Sender<K> = messages::Sender<<K as Carries>::Messages>;
pub type Receiver<K> = messages::Receiver<<K as Carries>::Messages>;

pub fn options<K: Carries>() -> Options<Message, K::Messages> {
    MessageRing::<K>::options()
}

/// A ring of messages of so many bytes, under a name of its own.
pub fn new_ring<K: Carries>(capacity: usize) -> (Name, MessageRing<K>) {
    let name = Name::new();
    let ring = options::<K>().capacity(capacity).create(&name).unwrap();
    (name, ring)
}

/// Both ends of a ring of messages that has no name.
pub fn both_ends<K: Carries>(capacity: usize) -> (Sender<K>, Receiver<K>) {
    let ring = options::<K>().capacity(capacity).create_anonymous().unwrap();
    (ring.sender().unwrap(), ring.receiver().unwrap())
}

/// The bytes of `a*100`.
pub fn bytes(text: &str) -> Vec<u8> {
    match text.split_once('*') {
        Some((what, times)) => what.as_bytes().repeat(times.parse().unwrap()),
        None => text.into(),
    }
}

/// The text of these bytes.
pub fn text(bytes: &[u8]) -> String {
    match bytes {
        [first, _, ..] if bytes.len() > 8 && bytes.iter().all(|byte| byte == first) => {
            format!("{}*{}", char::from(*first), bytes.len())
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// What a receiver gets next, without waiting.
pub fn next<K: Messages>(rx: &mut messages::Receiver<K>) -> Result<String, MessageError> {
    let mut message = Vec::new();
    rx.try_recv(&mut message).map(|()| text(&message))
}

impl Child {
    /// A puppet that is a sender of messages and sleeps in the longest intervals there are.
    pub fn message_sender<K: Carries>(name: &str, policy: WaitPolicy) -> Self {
        Self::holding::<K::Messages>(name, "sender", policy, LONG_INTERVAL)
    }

    /// A puppet that is a receiver of messages and sleeps in the longest intervals there are.
    pub fn message_receiver<K: Carries>(name: &str, policy: WaitPolicy) -> Self {
        Self::holding::<K::Messages>(name, "receiver", policy, LONG_INTERVAL)
    }
}

impl Plays for SpscMessages {
    fn obey(me: &mut Me, hands: &mut Hands<Self>, words: &[&str]) -> Option<String> {
        obey(me, hands, words)
    }
}

impl Plays for MpmcMessages {
    fn obey(me: &mut Me, hands: &mut Hands<Self>, words: &[&str]) -> Option<String> {
        obey(me, hands, words)
    }
}

fn obey<K>(me: &mut Me, hands: &mut Hands<K>, words: &[&str]) -> Option<String>
where
    K: Messages + AnyKind<Tx = messages::Sender<K>, Rx = messages::Receiver<K>>,
{
    let number = |i: usize| -> u64 { words[i].parse().unwrap() };
    let millis = |i: usize| Duration::from_millis(number(i));
    let answer = match words[0] {
        // Sending.
        "send" => show(hands.tx().send(&bytes(words[1]))),
        "try_send" => show(hands.tx().try_send(&bytes(words[1]))),
        "reserve" => return write_in_place(me, hands.tx(), number(1) as usize),
        // Receiving.
        "recv" => received(hands.rx(), |rx, into| rx.recv(into)),
        "try_recv" => received(hands.rx(), |rx, into| rx.try_recv(into)),
        "recv_for" => received(hands.rx(), |rx, into| rx.recv_deadline(into, millis(1))),
        "recv_into" => {
            let mut into = vec![0; number(1) as usize];
            let received = hands.rx().recv_into(&mut into);
            show(received.map(|len| text(&into[..len])))
        }
        "drain" => {
            let (mut all, mut message) = (Vec::new(), Vec::new());
            let end = loop {
                match hands.rx().recv(&mut message) {
                    Ok(()) => all.push(text(&message)),
                    Err(end) => break end,
                }
            };
            format!("[{}] then {end:?}", all.join(", "))
        }
        "claim" => return read_in_place(me, hands.rx(), number(1) as usize),
        unknown => panic!("no such command: {unknown}"),
    };
    Some(answer)
}

/// What came, and how many had it before who are gone.
fn received<K: Messages>(
    rx: &mut messages::Receiver<K>,
    receive: impl FnOnce(&mut messages::Receiver<K>, &mut Vec<u8>) -> Result<(), MessageError>,
) -> String {
    let mut message = Vec::new();
    match (receive(rx, &mut message), rx.redeliveries()) {
        (Ok(()), 0) => text(&message),
        (Ok(()), times) => format!("{} again {times}", text(&message)),
        (Err(why), _) => show(Err::<(), _>(why)),
    }
}

/// `reserve` was said; the room is held until `commit`, `abandon` or `forget`.
fn write_in_place<K: Messages>(
    me: &mut Me,
    tx: &mut messages::Sender<K>,
    most: usize,
) -> Option<String> {
    let mut room = match tx.reserve(most) {
        Ok(room) => room,
        Err(why) => return Some(show(Err::<(), _>(why))),
    };
    me.say("Ok");
    while let Some(command) = me.hear() {
        match command.split_once(' ') {
            Some(("write", what)) => {
                std::io::Write::write_all(&mut room.writer(), &bytes(what)).unwrap();
                me.say("Ok");
                continue;
            }
            None if command == "commit" => room.commit(),
            None if command == "abandon" => room.abandon(),
            None if command == "forget" => std::mem::forget(room),
            _ => panic!("not while a message is in the making: {command}"),
        }
        return Some("Ok".into());
    }
    None
}

/// `claim` was said; the messages are held until `release` or `abandon`.
fn read_in_place<K: Messages>(
    me: &mut Me,
    rx: &mut messages::Receiver<K>,
    max: usize,
) -> Option<String> {
    let claimed = match rx.claim(max) {
        Ok(claimed) => claimed,
        Err(why) => return Some(show(Err::<(), _>(why))),
    };
    let texts: Vec<_> = claimed.iter().map(|message| text(&message.to_vec())).collect();
    let marks = match (claimed.redelivered(), claimed.redeliveries()) {
        (0, 0) => String::new(),
        (again, times) => format!(" {again} again, the first {times}"),
    };
    me.say(format_args!("[{}]{marks}", texts.join(", ")));
    match told_to_release(me)? {
        Some(count) => claimed.release(count),
        None => claimed.abandon(),
    }
    Some("Ok".into())
}
