//! Bytes: every call that their ends have besides those of [`values`](super::values). Their errors
//! as `io` has them allocate, but for "not now": what is to fail is asked of the calls that all
//! rings have.

use std::fs::File;
use std::io::{BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::Instant;

use ringpipe::bytes::{self, Buffered, Reader, Writer};
use ringpipe::{BulkError, Canceller, Ending, Options, PeerError};

use super::support::{Child, Flavour, Me, Name, POLICIES};
use super::{MOMENT, SHORT, SOON, Traffic, failed, later, must};

/// A byte pipe.
pub struct Bytes;

/// Bytes in the pipe.
const ALL: usize = 4096;

/// A writer, and something to read from.
type Sender = (Writer, File);

/// A reader, with a buffer until it is first used [without](Self::plain); and something to write
/// to.
pub struct Receiver {
    buffered: Option<Buffered>,
    plain: Option<Reader>,
    null: File,
}

impl Receiver {
    fn plain(&mut self) -> &mut Reader {
        if let Some(buffered) = self.buffered.take() {
            self.plain = Some(buffered.into_inner());
        }
        self.plain.as_mut().unwrap_or_else(|| failed("failed in line", line!()))
    }
}

impl Traffic for Bytes {
    type Item = u8;
    type Kind = ringpipe::Bytes;
    type Sender = Sender;
    type Receiver = Receiver;

    const ROLE: &'static str = "bytes_confined";
    const REDELIVERED: u64 = 0;

    fn options() -> Options<u8, ringpipe::Bytes> {
        bytes::Ring::options().capacity(ALL)
    }

    fn sender(ring: &bytes::Ring) -> Sender {
        let mut tx = ring.writer().unwrap();
        tx.set_liveness_interval(SHORT);
        (tx, File::open("/dev/zero").unwrap())
    }

    fn receiver(ring: &bytes::Ring) -> Receiver {
        let mut rx = ring.reader().unwrap();
        rx.set_liveness_interval(SHORT);
        let null = File::options().write(true).open("/dev/null").unwrap();
        Receiver { buffered: Some(Buffered::new(rx)), plain: None, null }
    }

    fn cancellers((tx, _): &Sender, rx: &Receiver) -> [Canceller; 2] {
        [tx.canceller(), rx.buffered.as_ref().unwrap().get_ref().canceller()]
    }

    fn make_every_call(tx: &mut Sender, rx: &mut Receiver, cancellers: &[Canceller; 2]) {
        must!(tx.0.wait_for_peer(MOMENT) == Ok(()));
        read_through_a_buffer(tx, rx);
        for policy in POLICIES {
            tx.0.set_wait_policy(policy);
            rx.plain().set_wait_policy(policy);
            write_and_read(&mut tx.0, rx.plain());
            transfer(tx, rx);
            find_nothing(rx);
            find_no_room(tx, rx.plain());
            be_cancelled(tx, rx.plain(), cancellers);
        }
        let (tx, rx) = (&mut tx.0, rx.plain());
        must!(!tx.is_closed() && !rx.is_closed());
        let (peers, stats) = (tx.peers(), rx.ring().stats());
        must!(peers.senders == 1 && peers.receivers == 1 && stats.sent == stats.received);
        must!(tx.capacity() == ALL && rx.capacity() == ALL && rx.is_empty() && !tx.is_full());
        must!(tx.ending().is_none() && rx.ending().is_none());
    }

    fn move_in_place((tx, _): &mut Sender, rx: &mut Receiver) {
        let mut run = tx.try_claim(9).unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: who has this ring open are this test's processes, which keep to the protocol.
        let room = unsafe { run.as_mut_slice() };
        room[..5].copy_from_slice(b"place");
        run.commit(5);
        let run = rx.plain().claim(9).unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: likewise.
        must!(unsafe { run.as_slice() } == b"place");
        run.release_all();
    }

    fn recover(rx: &mut Receiver) {
        let mut into = [0; 9];
        let rx = rx.plain();
        must!(rx.read(&mut into).is_ok_and(|read| read == 5) && into[..5] == *b"12345");
        for _ in 0..2 {
            must!(rx.read(&mut into).is_ok_and(|read| read == 0)); // end-of-file
        }
        must!(rx.is_closed() && rx.ending() == Some(Ending::Died(1)));
        must!(rx.wait_for_peer(MOMENT) == Err(PeerError::Timeout));
    }

    fn find_the_pipe_broken((tx, zero): &mut Sender) {
        must!(tx.wait_for_peer(SOON) == Ok(()));
        must!(tx.read_from(&*zero, ALL as u64).is_ok_and(|sent| sent == ALL as u64));
        must!(tx.send_slice_deadline(&[1], SOON) == Err(BulkError::Closed));
        must!(tx.ending() == Some(Ending::Died(1)));
        must!(tx.is_closed() && tx.try_send_slice(&[1]) == Err(BulkError::Closed));
    }

    fn victims(name: &Name, _: &bytes::Ring) -> (Vec<Child>, Option<Sender>) {
        let mut writer = Child::start::<ringpipe::Spsc>("writes_and_waits", name);
        writer.must_hear("wrote");
        (vec![writer], None)
    }

    fn last_receiver(name: &Name) -> Child {
        let mut reader = Child::start::<ringpipe::Spsc>("reads_nothing", name);
        reader.must_hear("attached");
        reader
    }
}

/// A role: has written, and claims more.
pub fn writes_and_waits<K: Flavour>(mut me: Me) {
    let mut tx = bytes::Ring::options().open(&me.ring).unwrap().writer().unwrap();
    tx.write_all(b"12345").unwrap();
    let _run = tx.claim(100).unwrap();
    me.say("wrote");
    me.hear();
}

/// A role: is there.
pub fn reads_nothing<K: Flavour>(mut me: Me) {
    let _rx = bytes::Ring::options().open(&me.ring).unwrap().reader().unwrap();
    me.say("attached");
    me.hear();
}

fn read_through_a_buffer((tx, _): &mut Sender, rx: &mut Receiver) {
    let rx = rx.buffered.as_mut().unwrap_or_else(|| failed("failed in line", line!()));
    let mut into = [0; 3];
    must!(tx.write_all(b"one, two").is_ok());
    must!(rx.read_exact(&mut into).is_ok() && into == *b"one");
    must!(rx.fill_buf().is_ok_and(|rest| rest == b", two"));
    rx.consume(5);
}

fn write_and_read(tx: &mut Writer, rx: &mut Reader) {
    let (mut into, mut also) = ([0; 64], [0; 9]);
    must!(tx.write_all(&[1; 64]).is_ok());
    must!(rx.read_exact(&mut into).is_ok() && into == [1; 64]);
    for timeout in [None, Some(SOON)] {
        must!(tx.set_write_timeout(timeout).is_ok() && rx.set_read_timeout(timeout).is_ok());
        let both = [IoSlice::new(b"one, "), IoSlice::new(b"other")];
        must!(tx.write_vectored(&both).is_ok_and(|sent| sent == 10) && tx.flush().is_ok());
        let mut both = [IoSliceMut::new(&mut also), IoSliceMut::new(&mut into)];
        must!(rx.read_vectored(&mut both).is_ok_and(|read| read == 10));
        must!(also == *b"one, othe" && into[0] == b'r');
    }
    must!(tx.set_write_timeout(None).is_ok() && rx.set_read_timeout(None).is_ok());
    let mut run = tx.claim(100).unwrap_or_else(|_| failed("failed in line", line!()));
    run.write_slice(0, b"place");
    run.commit(5);
    let run = rx.claim(100).unwrap_or_else(|_| failed("failed in line", line!()));
    run.read_slice(0, &mut into[..5]);
    must!(into[..5] == *b"place");
    run.release_all();
    // By portions.
    must!(tx.write_all(&[2; ALL]).is_ok());
    let mut into = [0; ALL];
    must!(rx.read_exact(&mut into).is_ok() && into == [2; ALL]);
    must!(tx.send_all(&[3; 9]) == Ok(()) && tx.send_all_deadline(&[3; 9], later()) == Ok(()));
    must!(rx.clear() == Ok(18));
}

fn transfer((tx, zero): &mut Sender, rx: &mut Receiver) {
    must!(tx.read_from(&*zero, ALL as u64).is_ok_and(|sent| sent == ALL as u64));
    rx.plain();
    let Receiver { plain: Some(plain), null, .. } = rx else { failed("failed in line", line!()) };
    must!(plain.write_to(&*null, ALL as u64).is_ok_and(|read| read == ALL as u64));
}

fn find_nothing(rx: &mut Receiver) {
    let (mut into, rx) = ([0; 2], rx.plain());
    rx.set_nonblocking(true);
    let until = Instant::now() + MOMENT; // several liveness checks
    while Instant::now() < until {
        must!(rx.read(&mut into).is_err_and(|why| why.kind() == ErrorKind::WouldBlock));
    }
    rx.set_nonblocking(false);
    must!(rx.recv_slice_deadline(&mut into, MOMENT) == Err(BulkError::Timeout));
    must!(rx.claim_deadline(2, MOMENT).err() == Some(BulkError::Timeout));
}

fn find_no_room((tx, _): &mut Sender, rx: &mut Reader) {
    must!(tx.write_all(&[7; ALL]).is_ok());
    tx.set_nonblocking(true);
    let until = Instant::now() + MOMENT;
    while Instant::now() < until {
        must!(tx.write(&[8]).is_err_and(|why| why.kind() == ErrorKind::WouldBlock));
    }
    tx.set_nonblocking(false);
    must!(tx.send_slice_deadline(&[8], MOMENT) == Err(BulkError::Timeout));
    must!(tx.send_all_deadline(&[8], MOMENT).is_err_and(|gave_up| gave_up.sent == 0));
    must!(tx.claim_deadline(2, MOMENT).err() == Some(BulkError::Timeout));
    must!(rx.clear() == Ok(ALL as u64));
}

fn be_cancelled((tx, _): &mut Sender, rx: &mut Reader, cancellers: &[Canceller; 2]) {
    cancellers.iter().for_each(Canceller::cancel);
    must!(rx.recv_slice(&mut [0; 2]) == Err(BulkError::Cancelled));
    must!(tx.try_send_slice(&[7; ALL]) == Ok(ALL));
    must!(tx.send_slice(&[8]) == Err(BulkError::Cancelled));
    must!(rx.clear() == Ok(ALL as u64));
    cancellers.iter().for_each(Canceller::reset);
}
