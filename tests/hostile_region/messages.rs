//! Every call on byte pipes and on rings of messages; and messages whose length changes in the
//! middle of a call's business: before it is claimed, between claim and copy, between copy and
//! release.
//!
//! A length in the ring is anybody's to write. It says at worst that there is damage, or that
//! another message is there, made of what is in the ring; no copy goes beyond what the claim has.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringpipe::messages::{Message, Messages, Receiver, Sender};
use ringpipe::{Bytes, MessageError, MpmcMessages, Ring, SpscMessages};

use super::calls::{
    Calls, INTERVAL, MOMENT, Outcomes, claim_slots, look, receive_runs_every_way,
    send_runs_every_way, share_end,
};
use super::limits::{NOW, guarded, tell, timed};
use super::support::region::{Chart, Class, Raw};
use super::support::{LONG, Name, POLICIES};

/// Bytes of what a number makes, if it is one.
const ONE: usize = 24;
/// A few bytes, and so many that a few calls fill the ring.
const RUNS: [usize; 2] = [3, 1500];

impl Outcomes {
    fn io(&mut self, outcome: io::Result<usize>) -> usize {
        self.count(match &outcome {
            Ok(_) => "ok",
            Err(e) => match e.kind() {
                ErrorKind::WouldBlock => "empty",
                ErrorKind::TimedOut => "timeout",
                ErrorKind::BrokenPipe => "closed",
                ErrorKind::InvalidData => "corrupt",
                other => panic!("undocumented: {other:?}: {e}"),
            },
        });
        outcome.unwrap_or(0)
    }

    pub fn message<T>(&mut self, outcome: Result<T, MessageError>) -> Option<T> {
        self.count(match &outcome {
            Ok(_) => "ok",
            Err(MessageError::Full) => "full",
            Err(MessageError::Empty) => "empty",
            Err(MessageError::Timeout) => "timeout",
            Err(MessageError::Closed) => "closed",
            Err(MessageError::Cancelled) => "cancelled",
            Err(MessageError::Corrupt) => "corrupt",
            Err(MessageError::TooSmall { .. }) => "too small",
            Err(other) => panic!("undocumented: {other:?}"),
        });
        outcome.ok()
    }
}

impl Calls for Bytes {
    fn send_one(tx: &mut Self::Tx, number: u64) -> bool {
        tx.try_send_exact(&[number as u8; ONE]).is_ok()
    }

    fn recv_one(rx: &mut Self::Rx, number: u64) -> bool {
        let mut into = [0; ONE];
        let received = rx.try_recv_exact(&mut into).is_ok();
        assert!(!received || into == [number as u8; ONE], "{into:x?}");
        received
    }

    fn send(tx: &mut Self::Tx, number: u64, wait: bool, seen: &mut Outcomes) {
        tx.set_liveness_interval(INTERVAL);
        let byte = number as u8;
        let turn = seen.total() as usize;
        let most = RUNS[turn % 2];
        send_runs_every_way(tx, byte, most, wait, seen);
        let bytes = [byte; 700];
        tx.set_nonblocking(!wait);
        tx.set_write_timeout(Some(MOMENT)).unwrap();
        let written = timed!(seen, "write", MOMENT, tx.write(&bytes));
        seen.io(written);
        let pieces = [&bytes[..1], &bytes[..0], &bytes[..300]].map(IoSlice::new);
        let written = timed!(seen, "write_vectored", MOMENT, tx.write_vectored(&pieces));
        seen.io(written);
        if let Ok(mut run) = timed!(seen, "try_claim to send", NOW, tx.try_claim(600)) {
            let len = run.len();
            run.write_slice(0, &bytes[..len]);
            run.commit(turn % (len + 1));
        }
        let zeros = File::open("/dev/zero").unwrap();
        let moved = timed!(seen, "read_from", MOMENT, tx.read_from(&zeros, 500));
        seen.count(if moved.is_ok_and(|moved| moved == 500) { "ok" } else { "stopped" });
    }

    fn receive(rx: &mut Self::Rx, sent: Option<u64>, wait: bool, seen: &mut Outcomes) {
        rx.set_liveness_interval(INTERVAL);
        let check = |byte: u8| {
            // Or from where nothing was written yet.
            let right = sent.is_none_or(|sent| byte == sent as u8 || byte == 0);
            assert!(right, "{byte:x} was never sent");
        };
        let most = RUNS[seen.total() as usize % 2];
        receive_runs_every_way(rx, most, wait, seen, &check);
        let (mut into, mut more) = ([0; 300], [0; 7]);
        rx.set_nonblocking(!wait);
        rx.set_read_timeout(Some(MOMENT)).unwrap();
        let read = timed!(seen, "read", MOMENT, rx.read(&mut into));
        let read = seen.io(read);
        into[..read].iter().copied().for_each(check);
        let pieces = &mut [IoSliceMut::new(&mut more), IoSliceMut::new(&mut into)];
        let read = timed!(seen, "read_vectored", MOMENT, rx.read_vectored(pieces));
        seen.io(read);
        more.into_iter().chain(into).for_each(check);
        if let Ok(run) = timed!(seen, "try_claim to receive", NOW, rx.try_claim(200)) {
            let len = run.len();
            run.read_slice(0, &mut into[..len]);
            into.into_iter().for_each(check);
            run.release(len / 2);
        }
        let nowhere = File::options().write(true).open("/dev/null").unwrap();
        let moved = timed!(seen, "write_to", MOMENT, rx.write_to(&nowhere, 100));
        seen.count(if moved.is_ok() { "ok" } else { "stopped" });
    }

    fn send_up_to(tx: &mut Self::Tx, most: usize, wait: bool, seen: &mut Outcomes) {
        send_runs_every_way(tx, 7, most, wait, seen);
    }

    fn receive_up_to(rx: &mut Self::Rx, most: usize, wait: bool, seen: &mut Outcomes) {
        receive_runs_every_way(rx, most, wait, seen, &|_| ());
    }

    fn wait_to_send(tx: &mut Self::Tx, number: u64, times: usize, deadline: Duration) -> bool {
        tx.send_exact_deadline(&vec![number as u8; times * ONE], deadline).is_ok()
    }

    fn wait_to_receive(rx: &mut Self::Rx, number: Option<u64>, deadline: Duration) -> bool {
        let mut into = [0; ONE];
        let received = rx.recv_exact_deadline(&mut into, deadline).is_ok();
        assert!(!received || number.is_none_or(|number| into == [number as u8; ONE]));
        received
    }

    fn claim_room(tx: &mut Self::Tx, forget: bool) {
        claim_slots(tx, 3 * ONE, forget);
    }

    fn hold(rx: &mut Self::Rx) {
        drop(rx.try_claim(2 * ONE));
    }
}

macro_rules! of_messages {
    ($($kind:ident { $($share:tt)* })*) => {$(
        impl Calls for $kind {
            fn send_one(tx: &mut Self::Tx, number: u64) -> bool {
                tx.try_send(&[number as u8; ONE]).is_ok()
            }
            fn recv_one(rx: &mut Self::Rx, number: u64) -> bool {
                let mut into = Vec::new();
                let received = rx.try_recv(&mut into).is_ok();
                assert!(!received || into == [number as u8; ONE], "{into:x?}");
                received
            }
            fn send(tx: &mut Self::Tx, number: u64, wait: bool, seen: &mut Outcomes) {
                let len = LENGTHS[seen.total() as usize % LENGTHS.len()];
                send_messages(tx, number as u8, len, wait, seen);
            }
            fn receive(rx: &mut Self::Rx, sent: Option<u64>, wait: bool, seen: &mut Outcomes) {
                receive_messages(rx, sent.map(|sent| sent as u8), FEW, wait, seen);
            }
            fn send_up_to(tx: &mut Self::Tx, most: usize, wait: bool, seen: &mut Outcomes) {
                send_messages(tx, 7, most, wait, seen);
            }
            fn receive_up_to(rx: &mut Self::Rx, most: usize, wait: bool, seen: &mut Outcomes) {
                receive_messages(rx, None, most, wait, seen);
            }
            fn wait_to_send(
                tx: &mut Self::Tx,
                number: u64,
                times: usize,
                deadline: Duration,
            ) -> bool {
                tx.send_deadline(&vec![number as u8; times * ONE], deadline).is_ok()
            }
            fn wait_to_receive(
                rx: &mut Self::Rx,
                number: Option<u64>,
                deadline: Duration,
            ) -> bool {
                let mut into = Vec::new();
                let received = rx.recv_deadline(&mut into, deadline).is_ok();
                assert!(!received || number.is_none_or(|number| into == [number as u8; ONE]));
                received
            }
            fn claim_room(tx: &mut Self::Tx, forget: bool) {
                if let Ok(room) = tx.try_reserve(200)
                    && forget
                {
                    std::mem::forget(room);
                }
            }
            fn hold(rx: &mut Self::Rx) {
                drop(rx.try_claim(2));
            }
            $($share)*
        }
    )*};
}
of_messages! {
    SpscMessages {}
    MpmcMessages {
        fn share(ring: &Ring<Message, Self>, seen: &mut Outcomes) {
            let tx = seen.attach(|| ring.sender());
            share_end(tx, Sender::try_clone, seen, |tx, seen| {
                let sent = timed!(seen, "try_send", NOW, tx.try_send(&[1; ONE]));
                seen.message(sent);
            });
            let rx = seen.attach(|| ring.receiver());
            share_end(rx, Receiver::try_clone, seen, |rx, seen| {
                let received = timed!(seen, "try_recv", NOW, rx.try_recv(&mut Vec::new()));
                seen.message(received);
            });
        }
    }
}

/// Lengths of the messages that are sent: none, some, half of a ring of a page.
const LENGTHS: [usize; 5] = [0, 1, ONE, 500, 2040];

/// How many messages are claimed at once.
const FEW: usize = 3;

fn send_messages<K: Messages>(
    tx: &mut Sender<K>,
    byte: u8,
    len: usize,
    wait: bool,
    seen: &mut Outcomes,
) {
    tx.set_liveness_interval(INTERVAL);
    let turn = seen.total() as usize;
    let bytes = vec![byte; len.min(tx.max_len())];
    let sent = timed!(seen, "try_send", NOW, tx.try_send(&bytes));
    seen.message(sent);
    let closed = timed!(seen, "is_closed", NOW, tx.is_closed());
    seen.count(if closed { "broken pipe" } else { "whole pipe" });
    let too_long = vec![byte; tx.max_len() + 1];
    assert!(matches!(tx.try_send(&too_long), Err(MessageError::TooLarge { .. })));
    let reserved = timed!(seen, "try_reserve", NOW, tx.try_reserve(200));
    if let Some(mut reserved) = seen.message(reserved) {
        reserved.writer().write_all(&[byte; 90]).unwrap();
        match turn % 3 {
            0 => timed!(seen, "commit", NOW, reserved.commit()),
            1 => timed!(seen, "abandon", NOW, reserved.abandon()),
            _ => std::mem::forget(reserved),
        }
    }
    if wait {
        tx.set_wait_policy(POLICIES[turn % 3]);
        if turn % 32 == 1 {
            tx.require_peer();
        }
        let sent = timed!(seen, "send_deadline", MOMENT, tx.send_deadline(&bytes, MOMENT));
        seen.message(sent);
        let (two, end) = (bytes.len() < 1000, [byte; 3]);
        let pieces = [&bytes[..], &end].map(IoSlice::new);
        let pieces = &pieces[..if two { 2 } else { 1 }];
        let soon = Instant::now() + MOMENT;
        let sent = timed!(seen, "send_vectored", MOMENT, tx.send_vectored_deadline(pieces, soon));
        seen.message(sent);
        let reserved = timed!(seen, "reserve", MOMENT, tx.reserve_deadline(100, MOMENT));
        if let Some(reserved) = seen.message(reserved) {
            reserved.commit();
        }
        let canceller = tx.canceller();
        canceller.cancel();
        let sent = timed!(seen, "send, cancelled before", NOW, tx.send(&bytes));
        seen.message(sent);
        canceller.reset();
        let met = timed!(seen, "wait_for_peer", MOMENT, tx.wait_for_peer(MOMENT));
        seen.met(met);
    }
    assert!(tx.len() <= tx.capacity());
    look(&tx.ring(), seen);
}

fn receive_messages<K: Messages>(
    rx: &mut Receiver<K>,
    sent: Option<u8>,
    most: usize,
    wait: bool,
    seen: &mut Outcomes,
) {
    rx.set_liveness_interval(INTERVAL);
    let turn = seen.total() as usize;
    let capacity = rx.capacity();
    let check = |message: &[u8]| {
        assert!(message.len() <= capacity, "{} bytes of a ring of {capacity}", message.len());
        // Of another length than was sent, it has lengths among its bytes.
        let length_byte = |byte: u8| {
            let lengths = LENGTHS.into_iter().chain([90, ONE + 3, 503]);
            lengths.flat_map(usize::to_ne_bytes).any(|part| part == byte)
        };
        let stray = message.iter().find(|byte| {
            sent.is_some_and(|sent| **byte != sent && **byte != 0 && !length_byte(**byte))
        });
        assert!(stray.is_none(), "{stray:x?} was never sent");
    };
    let mut message = Vec::new();
    let received = timed!(seen, "try_recv", NOW, rx.try_recv(&mut message));
    seen.message(received);
    check(&message);
    seen.count(if rx.redeliveries() > 0 { "given again" } else { "given once" });
    let closed = timed!(seen, "is_closed", NOW, rx.is_closed());
    seen.count(if closed { "end of file" } else { "whole pipe" });
    let mut into = vec![0; capacity];
    let small = timed!(seen, "try_recv_into too little", NOW, rx.try_recv_into(&mut into[..9]));
    seen.message(small);
    let received = timed!(seen, "try_recv_into", NOW, rx.try_recv_into(&mut into));
    if let Some(len) = seen.message(received) {
        check(&into[..len]);
    }
    let claimed = timed!(seen, "try_claim", NOW, rx.try_claim(most));
    if let Some(run) = seen.message(claimed) {
        assert!((1..=most).contains(&run.len()) && run.redelivered() <= run.len());
        for message in run.iter() {
            check(&message.to_vec());
            message.read_slice(0, &mut into[..message.len()]);
        }
        if let Some(first) = run.first() {
            check(&first.to_vec());
        }
        let part = run.len() - turn % 2;
        timed!(seen, "release", NOW, run.release(part));
    }
    drop(timed!(seen, "try_claim", NOW, rx.try_claim(2)));
    if wait {
        rx.set_wait_policy(POLICIES[turn % 3]);
        if turn % 32 == 1 {
            rx.require_peer();
        }
        let received =
            timed!(seen, "recv_deadline", MOMENT, rx.recv_deadline(&mut message, MOMENT));
        seen.message(received);
        check(&message);
        let soon = Instant::now() + MOMENT;
        let received = timed!(seen, "recv_into", MOMENT, rx.recv_into_deadline(&mut into, soon));
        seen.message(received);
        let claimed = timed!(seen, "claim", MOMENT, rx.claim_deadline(most, MOMENT));
        if let Some(run) = seen.message(claimed) {
            run.iter().for_each(|message| check(&message.to_vec()));
            timed!(seen, "release_all", NOW, run.release_all());
        }
        let canceller = rx.canceller();
        canceller.cancel();
        let received = timed!(seen, "recv, cancelled before", NOW, rx.recv(&mut message));
        seen.message(received);
        canceller.reset();
        let met = timed!(seen, "wait_for_peer", MOMENT, rx.wait_for_peer(MOMENT));
        seen.met(met);
        if turn % 8 == 3 {
            let cleared = timed!(seen, "clear", NOW, rx.clear());
            if let Some(cleared) = seen.message(cleared) {
                assert!(cleared <= 2 * rx.capacity() as u64);
            }
        }
    }
    assert!(rx.len() <= rx.capacity());
    look(&rx.ring(), seen);
}

/// A ring of a page with three messages in it, and its region behind its back.
struct Three<K: Messages> {
    _name: Name,
    raw: Raw,
    good: Vec<u64>,
    lengths: Vec<usize>,
    ring: Ring<Message, K>,
}

impl<K: Messages + Calls<Element = Message, Tx = Sender<K>, Rx = Receiver<K>>> Three<K> {
    fn new() -> Self {
        let name = Name::new();
        let ring: Ring<Message, K> = Ring::options().capacity(4096).create(&name).unwrap();
        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        // So that the last of the three goes on at the ring's beginning.
        while tx.try_send(&[1; 1000]).is_ok() {}
        while rx.try_recv(&mut Vec::new()).is_ok() {}
        for len in [100, 40, 900] {
            tx.try_send(&vec![7; len]).unwrap();
        }
        let raw = Raw::of(&name.path());
        let good = raw.copy();
        let lengths = Chart::of(&good).of_class(Class::Length).to_vec();
        Self { _name: name, raw, good, lengths, ring }
    }

    /// The lies that there are about a length: as long as there can be; longer than what is
    /// published; than the ring; none; flags; another that takes as much room, or a little less, or
    /// more.
    fn lies(&self, length: usize) -> [u64; 12] {
        let now = self.good[length];
        let capacity = self.ring.capacity() as u64;
        [
            0,
            1,
            now - 1,
            now + 1,
            now + 8,
            now / 2,
            1200,
            capacity - 8,
            capacity + 1,
            (1 << 48) - 1,
            1 << 48 | now,
            u64::MAX,
        ]
    }
}

/// What a call makes of three messages, one of whose lengths is another from a certain moment on.
fn lengths_that_change<K>()
where
    K: Messages + Calls<Element = Message, Tx = Sender<K>, Rx = Receiver<K>>,
{
    guarded(LONG, || {
        let three = Three::<K>::new();
        assert_eq!(three.lengths.len(), 3);
        let mut seen = Outcomes::default();
        let capacity = three.ring.capacity();
        let whole = |message: &[u8]| assert!(message.len() <= capacity);
        let mut cases = 0;
        for (number, &length) in three.lengths.iter().enumerate() {
            for lie in three.lies(length) {
                for moment in 0..5 {
                    cases += 1;
                    three.raw.restore(&three.good);
                    let mut rx = K::receiver(&three.ring).unwrap();
                    let lies = || three.raw.words()[length].store(lie, Relaxed);
                    let mut into = vec![0; 5000];
                    if moment == 0 {
                        lies();
                    }
                    let claimed = timed!(seen, "try_claim", NOW, rx.try_claim(3));
                    if let Some(run) = seen.message(claimed) {
                        if moment == 1 {
                            lies();
                        }
                        for (turn, message) in run.iter().enumerate() {
                            // Between the look at its length and the copy.
                            if moment == 2 && turn == number {
                                lies();
                            }
                            whole(&message.to_vec());
                            message.read_slice(0, &mut into[..message.len()]);
                        }
                        if moment == 3 {
                            lies();
                        }
                        let part = 1 + lie as usize % run.len();
                        timed!(seen, "release", NOW, run.release(part));
                        if moment == 4 {
                            lies();
                        }
                    }
                    // Whatever is left is drained, or is damage, which says so again and again.
                    for _ in 0..capacity {
                        let received =
                            timed!(seen, "try_recv_into", NOW, rx.try_recv_into(&mut into));
                        match seen.message(received) {
                            Some(len) => whole(&into[..len]),
                            None => break,
                        }
                    }
                    let cleared = timed!(seen, "clear", NOW, rx.clear());
                    seen.message(cleared);
                }
            }
        }
        println!("{}: {cases} lies about lengths: {seen:?}", K::NAME);
        tell(&format!("{}, a length that lies", K::NAME), cases, 8 * cases, &seen.clock);
        assert!(seen.of("ok") > 0 && seen.of("corrupt") > 0, "{seen:?}");
    });
}

#[test]
fn an_spsc_ring_bears_messages_whose_length_changes_at_any_moment() {
    lengths_that_change::<SpscMessages>();
}

#[test]
fn an_mpmc_ring_bears_messages_whose_length_changes_at_any_moment() {
    lengths_that_change::<MpmcMessages>();
}
