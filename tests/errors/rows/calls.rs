//! Of what ends are asked to do. These errors are small and name no ring.

use std::error::Error;
use std::fs::File;
use std::time::Duration;

use bytemuck::{CheckedBitPattern, NoUninit};
use ringpipe::{RecvHandle, Ring, SendHandle, Spsc, bytes, mpmc, spsc as channels};

use super::attach::{lose, scribble};
use super::stage::{Stage, forked, spsc};
use super::{Provoked, Row, Told};

type Tx = SendHandle<u64, Spsc>;
type Rx = RecvHandle<u64, Spsc>;

const SHORT: Duration = Duration::from_millis(1);
/// What nobody waits for: each of these calls is told before.
const LONG: Duration = Duration::from_secs(30);

fn ends(stage: &Stage) -> (Ring<u64, Spsc>, Tx, Rx) {
    let ring = spsc().capacity(2).create(&stage.name).unwrap();
    let (tx, rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    (ring, tx, rx)
}

fn told<R, E: Error>(outcome: Result<R, E>) -> Told {
    Told::of(&outcome.err().expect("it was to be refused"))
}

const SENDING: [&str; 3] = ["TrySendError", "SendError", "SendTimeoutError"];

/// Every way to send one item.
fn sends(tx: &mut Tx) -> Vec<Told> {
    let each = vec![told(tx.try_send(1)), told(tx.send(1)), told(tx.send_timeout(1, LONG))];
    assert!(each.iter().zip(SENDING).all(|(told, kind)| told.variant.starts_with(kind)));
    each
}

/// Every way to receive one.
fn receives(rx: &mut Rx) -> Vec<Told> {
    vec![told(rx.try_recv()), told(rx.recv()), told(rx.recv_timeout(LONG))]
}

/// Calls that wait: to send one, to send several.
fn waits_to_send(tx: &mut Tx) -> Vec<Told> {
    vec![
        told(tx.send(1)),
        told(tx.send_timeout(1, LONG)),
        told(tx.send_exact_deadline(&[1, 2], LONG)),
    ]
}

/// The same to receive.
fn waits_to_receive(rx: &mut Rx) -> Vec<Told> {
    vec![
        told(rx.recv()),
        told(rx.recv_timeout(LONG)),
        told(rx.recv_exact_deadline(&mut [0; 2], LONG)),
    ]
}

fn full(stage: &Stage) -> (Ring<u64, Spsc>, Tx, Rx) {
    let (ring, mut tx, rx) = ends(stage);
    assert_eq!(tx.try_send_slice(&[1, 2]), Ok(2));
    (ring, tx, rx)
}

pub(super) fn rows() -> Vec<Row> {
    [flow(), ends_of_waits(), harm(), several()].into_iter().flatten().collect()
}

fn flow() -> Vec<Row> {
    vec![
        Row::new(&["TrySendError::Full", "BulkError::Full"], "", |stage| {
            let (_ring, mut tx, _rx) = full(stage);
            Ok(vec![told(tx.try_send(3)), told(tx.try_send_exact(&[3, 4]))])
        })
        .when("No slot is free.")
        .cure("Wait (`send`), or drop the value, which comes back.")
        .again("when a receiver has freed a slot."),
        Row::new(&["TryRecvError::Empty", "BulkError::Empty"], "", |stage| {
            let (_ring, _tx, mut rx) = ends(stage);
            Ok(vec![told(rx.try_recv()), told(rx.try_recv_exact(&mut [0; 2]))])
        })
        .when("Nothing is there.")
        .cure("Wait (`recv`), or do something else.")
        .again("when a sender has sent something."),
        Row::new(
            &["TrySendError::Closed", "SendError::Closed", "SendTimeoutError::Closed"],
            "",
            |stage| {
                let (_ring, mut tx, rx) = ends(stage);
                drop(rx);
                Ok(sends(&mut tx))
            },
        )
        .when("All receivers that there were have closed or died: a broken pipe.")
        .cure("Stop, or wait for another with `wait_for_peer`; the value comes back.")
        .again("when a receiver has attached."),
        Row::new(
            &["TryRecvError::Closed", "RecvError::Closed", "RecvTimeoutError::Closed"],
            "",
            |stage| {
                let (_ring, tx, mut rx) = ends(stage);
                drop(tx);
                Ok(receives(&mut rx))
            },
        )
        .when("Everything was received, and all senders have closed or died: end-of-file.")
        .cure("Stop; `ending` tells whether they closed or died.")
        .again("when a sender has attached."),
        Row::new(&["BulkError::Closed"], "", |stage| {
            let (_ring, tx, mut rx) = ends(stage);
            drop(tx);
            Ok(vec![told(rx.recv_exact_deadline(&mut [0; 2], LONG))])
        })
        .when("The opposite ends have gone; there are fewer items than were asked for, if any.")
        .cure("Stop, or receive what is left with `try_recv_slice`.")
        .again("when another has attached."),
    ]
}

fn ends_of_waits() -> Vec<Row> {
    vec![
        Row::new(
            &[
                "SendTimeoutError::Timeout",
                "RecvTimeoutError::Timeout",
                "BulkError::Timeout",
                "PeerError::Timeout",
            ],
            "",
            |stage| {
                let (_ring, mut tx, mut rx) = full(stage);
                let sent = told(tx.send_timeout(3, SHORT));
                assert_eq!(rx.try_recv_slice(&mut [0; 2]), Ok(2));
                let received = told(rx.recv_timeout(SHORT));
                let several = told(rx.recv_exact_deadline(&mut [0; 2], SHORT));
                drop(tx);
                Ok(vec![sent, received, several, told(rx.wait_for_peer(SHORT))])
            },
        )
        .when("The deadline passed.")
        .cure("Whatever a late peer calls for.")
        .again("with a later deadline."),
        Row::new(
            &[
                "SendError::Cancelled",
                "SendTimeoutError::Cancelled",
                "BulkError::Cancelled",
                "RecvError::Cancelled",
                "RecvTimeoutError::Cancelled",
                "BulkError::Cancelled",
                "PeerError::Cancelled",
            ],
            "",
            |stage| {
                let (_ring, mut tx, mut rx) = full(stage);
                tx.canceller().cancel();
                let mut all = waits_to_send(&mut tx);
                assert_eq!(rx.try_recv_slice(&mut [0; 2]), Ok(2));
                rx.canceller().cancel();
                all.extend(waits_to_receive(&mut rx));
                drop(tx);
                all.push(told(rx.wait_for_peer(LONG)));
                Ok(all)
            },
        )
        .when("Somebody has used a `Canceller` of this handle: another thread, a signal handler.")
        .cure("Stop, as was asked for.")
        .again("after `Canceller::reset`, if there is a reason."),
    ]
}

fn harm() -> Vec<Row> {
    vec![
        Row::new(
            &[
                "TrySendError::Corrupt",
                "SendError::Corrupt",
                "SendTimeoutError::Corrupt",
                "TryRecvError::Corrupt",
                "RecvError::Corrupt",
                "RecvTimeoutError::Corrupt",
                "BulkError::Corrupt",
            ],
            "",
            |stage| {
                let (_ring, mut tx, mut rx) = full(stage);
                scribble(stage);
                let mut all = sends(&mut tx);
                all.extend(receives(&mut rx));
                all.push(told(rx.try_recv_exact(&mut [0; 2])));
                Ok(all)
            },
        )
        .when("A process has written over the ring's shared words.")
        .cure("Unlink the ring, create it anew, and look for who did it."),
        Row::new(
            &[
                "TryRecvError::Invalid",
                "RecvError::Invalid",
                "RecvTimeoutError::Invalid",
                "BulkError::Invalid",
            ],
            "",
            |stage| {
                #[derive(Clone, Copy, Debug, NoUninit, CheckedBitPattern)]
                #[repr(u8)]
                enum Level {
                    Low,
                }
                let bytes = channels::Ring::<u8>::options().capacity(8).create(&stage.name);
                let mut tx = bytes.unwrap().producer().unwrap();
                tx.try_send_slice(&[7; 5]).unwrap();
                let levels = channels::Ring::<Level>::options().open(&stage.name).unwrap();
                let mut rx = levels.consumer().unwrap();
                Ok(vec![
                    told(rx.try_recv()),
                    told(rx.recv()),
                    told(rx.recv_timeout(LONG)),
                    told(rx.try_recv_exact(&mut [Level::Low; 2])),
                ])
            },
        )
        .when("What was sent has bits that no value of the receiver's type has.")
        .cure("Give versions of a type tags; the item is dropped and counted (`Stats::dropped`).")
        .again("yes, for the next item."),
        Row::new(
            &[
                "TrySendError::Forked",
                "SendError::Forked",
                "SendTimeoutError::Forked",
                "TryRecvError::Forked",
                "RecvError::Forked",
                "RecvTimeoutError::Forked",
                "BulkError::Forked",
                "PeerError::Forked",
            ],
            "",
            |stage| {
                let (_ring, mut tx, mut rx) = ends(stage);
                forked(|| {
                    let mut all = sends(&mut tx);
                    all.extend(receives(&mut rx));
                    all.push(told(rx.try_recv_exact(&mut [0; 2])));
                    all.push(told(rx.wait_for_peer(LONG)));
                    all
                })
            },
        )
        .when("The handle was inherited through `fork`.")
        .cure("Open the ring anew in the child."),
        Row::new(
            &[
                "TrySendError::DescriptorLost",
                "SendError::DescriptorLost",
                "SendTimeoutError::DescriptorLost",
                "BulkError::DescriptorLost",
                "TryRecvError::DescriptorLost",
                "RecvError::DescriptorLost",
                "RecvTimeoutError::DescriptorLost",
                "BulkError::DescriptorLost",
                "PeerError::DescriptorLost",
            ],
            "",
            lost,
        )
        .when(
            "The ring's descriptor was closed behind its back, its number reused, or `fcntl` is \
             forbidden: nobody could tell whether the peers live.",
        )
        .cure("Open the ring anew, and look for what closes descriptors that are not its own."),
    ]
}

fn lost(stage: &Stage) -> Provoked {
    let (ring, mut tx, mut rx) = full(stage);
    tx.set_liveness_interval(SHORT);
    rx.set_liveness_interval(SHORT);
    lose(&ring);
    // One that only tries asks when an interval has passed.
    let mut tried = told(tx.try_send(3));
    while tried.variant == "TrySendError::Full" {
        tried = told(tx.try_send(3));
    }
    let mut all = vec![tried];
    all.extend(waits_to_send(&mut tx));
    assert_eq!(rx.try_recv_slice(&mut [0; 2]), Ok(2));
    let mut tried = told(rx.try_recv());
    while tried.variant == "TryRecvError::Empty" {
        tried = told(rx.try_recv());
    }
    all.push(tried);
    all.extend(waits_to_receive(&mut rx));
    let lonely = spsc().create_anonymous().unwrap();
    let mut rx = lonely.consumer().unwrap();
    rx.set_liveness_interval(SHORT);
    lose(&lonely);
    all.push(told(rx.wait_for_peer(LONG)));
    Ok(all)
}

fn several() -> Vec<Row> {
    vec![
        Row::new(&["BulkError::TooLong"], "", |stage| {
            let (_ring, mut tx, _rx) = ends(stage);
            Ok(vec![told(tx.try_send_exact(&[0; 3]))])
        })
        .when("So many items are more than the ring can hand over in one piece.")
        .cure("Move fewer at once."),
        Row::new(&["BulkError::Fragmented"], "", |_| {
            let (mut tx, mut rx) = mpmc::channel::<u64>(2).unwrap();
            let mut run = tx.try_claim(2).unwrap();
            run.write(0, 1);
            run.commit(1);
            Ok(vec![told(rx.recv_exact(&mut [0; 2]))])
        })
        .when("A sender has given up slots that it had claimed, and the ring is full.")
        .cure("Receive fewer, and go on.")
        .again("with fewer items."),
        Row::new(&["BulkError::Held"], "", |_| {
            let (mut tx, mut dying) = mpmc::channel::<u64>(8).unwrap();
            let mut adopter = dying.try_clone().unwrap();
            tx.try_send(1).unwrap();
            let _held = dying.try_claim(1).unwrap();
            drop(dying);
            adopter.set_liveness_interval(SHORT);
            Ok(vec![told(adopter.recv_exact(&mut [0; 2]))])
        })
        .when("This receiver holds items that it gave back, or adopted from a dead one.")
        .cure("Receive those first.")
        .again("when they are received."),
        Row::new(&["SendAllError"], "of values", |stage| {
            let (_ring, mut tx, _rx) = ends(stage);
            let error = tx.send_all_deadline(&[1, 2, 3], SHORT).unwrap_err();
            assert_eq!(error.sent, 2);
            Ok(vec![Told::of(&error)])
        })
        .with("BulkError::Timeout")
        .when("`send_all` could not go on: its `why`, and source, tells what stopped it.")
        .cure("See there; `sent` tells which values are to be sent yet.")
        .again("as `why` has it, from that value on."),
        Row::new(&["TransferError"], "the ring", |_| {
            let (mut tx, _rx) = bytes::channel(4096).unwrap();
            tx.set_write_timeout(Some(SHORT)).unwrap();
            let endless = File::open("/dev/zero").unwrap();
            Ok(vec![told(tx.read_from(endless, u64::MAX))])
        })
        .with("BulkError::Timeout")
        .when("`read_from` or `write_to` of a byte pipe could not go on, because of the ring.")
        .cure("See its source; what has been moved is in the ring, or out of it.")
        .again("as its source has it; the call goes on."),
        Row::new(&["TransferError"], "the descriptor", |_| {
            let (mut tx, mut rx) = bytes::channel(4096).unwrap();
            tx.try_send_slice(b"hello").unwrap();
            let full = File::options().write(true).open("/dev/full").unwrap();
            Ok(vec![told(rx.write_to(full, u64::MAX))])
        })
        .when("The file, socket or pipe at the other side could not be read or written.")
        .cure("See its source; nothing that was not moved has left the ring.")
        .again("when that works; the call goes on."),
    ]
}
