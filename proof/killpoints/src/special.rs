//! What not every kind of ring can do: slices, parts of records, transfers, several messages, those
//! that do not fit.

use std::fs::File;
use std::io::{Read, Seek, Write};

use harness::carrier::records;
use harness::trace::marker;
use harness::{Carrier, Value, memory};
use ringpipe::messages::{self, Messages};
use ringpipe::{
    Bytes, Kind, MessageError, Mpmc, MpmcMessages, RecvHandle, SendHandle, Spsc, SpscMessages,
    WaitPolicy,
};

use crate::act::Act;
use crate::diary::Diary;
use crate::item::{By, Item};
use crate::perform::{FOR_EVER, LONG, mine};

/// A kind of ring, and the acts that it has of its own.
pub trait Special: Carrier<Item> {
    /// Performs one.
    fn perform(
        act: Act,
        sender: impl FnOnce() -> Self::Sender,
        receiver: impl FnOnce() -> Self::Receiver,
        diary: &Diary,
    );
}

macro_rules! items {
    ($($kind:ty),*) => {$(
        impl Special for $kind {
            fn perform(
                act: Act,
                sender: impl FnOnce() -> SendHandle<Item, Self>,
                receiver: impl FnOnce() -> RecvHandle<Item, Self>,
                diary: &Diary,
            ) {
                slices(act, sender, receiver, diary, |values| values, |items| items);
            }
        }
    )*};
}
items!(Spsc, Mpmc);

/// Slices of what a ring's type says that it carries. So the same for items and for bytes, of which
/// several make a value.
fn slices<T: ringpipe::Item + bytemuck::Zeroable, K: Kind>(
    act: Act,
    sender: impl FnOnce() -> SendHandle<T, K>,
    receiver: impl FnOnce() -> RecvHandle<T, K>,
    diary: &Diary,
    to: impl Fn(Vec<Item>) -> Vec<T>,
    of: impl Fn(Vec<T>) -> Vec<Item>,
) {
    let room = |n: usize| vec![T::zeroed(); to(mine(0..n)).len()];
    let genuine = |into| of(into).iter().all(|item| item.origin().is_some());
    match act {
        Act::SendSlice(n) => {
            let (mut tx, values) = (sender(), to(mine(0..n)));
            marker();
            let sent = tx.try_send_slice(&values);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(values.len()));
        }
        Act::SendExact(n) => {
            let (mut tx, values) = (sender(), to(mine(0..n)));
            marker();
            let sent = tx.try_send_exact(&values);
            diary.reach(1);
            marker();
            assert_eq!(sent, Ok(()));
        }
        Act::SendExactSleeps(n) => {
            let (mut tx, values) = (sender(), to(mine(0..n)));
            tx.set_wait_policy(WaitPolicy::Park);
            tx.set_liveness_interval(LONG);
            marker();
            tx.send_exact_deadline(&values, FOR_EVER).expect("room");
        }
        Act::RecvExactSleeps(n) => {
            let (mut rx, mut into) = (receiver(), room(n));
            rx.set_wait_policy(WaitPolicy::Park);
            rx.set_liveness_interval(LONG);
            marker();
            rx.recv_exact_deadline(&mut into, FOR_EVER).expect("items");
        }
        Act::RecvSlice(n) => {
            let (mut rx, mut into) = (receiver(), room(n));
            marker();
            let received = rx.try_recv_slice(&mut into);
            diary.reach(1);
            marker();
            assert_eq!(received, Ok(into.len()));
            assert!(genuine(into));
        }
        Act::RecvExact(n) => {
            let (mut rx, mut into) = (receiver(), room(n));
            marker();
            let received = rx.try_recv_exact(&mut into);
            diary.reach(1);
            marker();
            assert_eq!(received, Ok(()));
            assert!(genuine(into));
        }
        other => panic!("{other:?} is not for rings of this kind"),
    }
}

/// The values that these bytes are.
fn values(bytes: Vec<u8>) -> Vec<Item> {
    let torn = || Item::of_bytes(&[]).expect("torn");
    bytes.chunks(Item::RECORD).map(|bytes| Item::of_bytes(bytes).unwrap_or_else(torn)).collect()
}

impl Special for Bytes {
    fn perform(
        act: Act,
        sender: impl FnOnce() -> Self::Sender,
        receiver: impl FnOnce() -> Self::Receiver,
        diary: &Diary,
    ) {
        match act {
            Act::WriteInPieces(first) => {
                let mut tx = sender().writer;
                let record = records(&mine(0..1));
                marker();
                tx.write_all(&record[..first]).expect("room");
                diary.reach(1);
                tx.write_all(&record[first..]).expect("room");
                diary.reach(2);
                marker();
            }
            Act::ReadPart(bytes) => {
                let (mut rx, mut into) = (receiver().reader, vec![0; bytes]);
                marker();
                let read = rx.read(&mut into);
                diary.reach(1);
                marker();
                assert_eq!(read.expect("bytes"), bytes);
                assert!(values(into)[0].origin().is_some());
            }
            Act::ReleasePart { claim, bytes } => {
                let mut rx = receiver().reader;
                let mut into = vec![0; claim * Item::RECORD];
                marker();
                let run = rx.try_claim(into.len()).expect("bytes");
                run.read_slice(0, &mut into);
                diary.reach(1);
                run.release(bytes);
                diary.reach(2);
                marker();
                assert!(values(into).iter().all(|item| item.origin().is_some()));
            }
            Act::ReadFrom(n) => {
                let mut tx = sender().writer;
                let file = file(&records(&mine(0..n)));
                marker();
                let read = tx.read_from(&file, (n * Item::RECORD) as u64);
                diary.reach(1);
                marker();
                assert_eq!(read.expect("room"), (n * Item::RECORD) as u64);
            }
            Act::WriteTo(n) => {
                let mut rx = receiver().reader;
                let mut file = file(&[]);
                marker();
                let written = rx.write_to(&file, (n * Item::RECORD) as u64);
                diary.reach(1);
                marker();
                assert_eq!(written.expect("bytes"), (n * Item::RECORD) as u64);
                let mut all = Vec::new();
                file.rewind().expect("a file");
                file.read_to_end(&mut all).expect("a file");
                assert!(values(all).iter().all(|item| item.origin().is_some()));
            }
            act => {
                let (sender, receiver) = (|| sender().writer, || receiver().reader);
                slices(act, sender, receiver, diary, |items| records(&items), values);
            }
        }
    }
}

/// A file with this in it, to be read from its beginning.
fn file(content: &[u8]) -> File {
    let mut file: File = memory::create("stream", 0).expect("a memfd").into();
    file.write_all(content).expect("memory");
    file.rewind().expect("a file");
    file
}

macro_rules! messages {
    ($($kind:ty),*) => {$(
        impl Special for $kind {
            fn perform(
                act: Act,
                sender: impl FnOnce() -> Self::Sender,
                receiver: impl FnOnce() -> Self::Receiver,
                diary: &Diary,
            ) {
                match act {
                    Act::SendAll(n) => send_all(sender(), n, diary),
                    Act::RecvTooSmall => too_small(receiver(), diary),
                    other => panic!("{other:?} is not for rings of messages"),
                }
            }
        }
    )*};
}
messages!(SpscMessages, MpmcMessages);

fn send_all<K: Messages>(mut tx: messages::Sender<K>, n: usize, diary: &Diary) {
    let all: Vec<_> =
        mine(0..n).into_iter().map(|value| value.to_bytes(value.message_len())).collect();
    tx.set_wait_policy(WaitPolicy::Park);
    tx.set_liveness_interval(LONG);
    marker();
    let sent = tx.send_all_deadline(&all, FOR_EVER);
    diary.reach(1);
    marker();
    assert_eq!(sent, Ok(()));
}

fn too_small<K: Messages>(mut rx: messages::Receiver<K>, diary: &Diary) {
    let mut into = [0; 4096];
    marker();
    let refused = rx.try_recv_into(&mut into[..5]);
    diary.reach(1);
    let received = rx.try_recv_into(&mut into);
    diary.reach(2);
    marker();
    let len = received.expect("a message");
    assert_eq!(refused, Err(MessageError::TooSmall { len }));
    let value = Item::of_bytes(&into[..len]).expect("no padding");
    assert!(matches!(value.origin(), Some((By::Harness, _))));
}
