//! Of messages.

use std::time::Duration;

use ringpipe::MessageError;
use ringpipe::messages::spsc;

use super::attach::{lose, scribble};
use super::stage::{Stage, forked};
use super::{Provoked, Row, Told};

const SHORT: Duration = Duration::from_millis(1);
/// What nobody waits for: each of these calls is told before.
const LONG: Duration = Duration::from_secs(30);

fn ends(stage: &Stage) -> (spsc::Ring, spsc::Sender, spsc::Receiver) {
    let ring = spsc::Ring::options().capacity(4096).create(&stage.name).unwrap();
    let (tx, rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    (ring, tx, rx)
}

/// With two messages, and no room for a third.
fn full(stage: &Stage) -> (spsc::Ring, spsc::Sender, spsc::Receiver) {
    let (ring, mut tx, rx) = ends(stage);
    let message = vec![0; tx.max_len()];
    tx.try_send(&message).unwrap();
    tx.try_send(&message).unwrap();
    (ring, tx, rx)
}

fn told<R>(outcome: Result<R, MessageError>) -> Told {
    Told::of(&outcome.err().expect("it was to be refused"))
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new(&["MessageError::Full"; 2], "", |stage| {
            let (_ring, mut tx, _rx) = full(stage);
            Ok(vec![told(tx.try_send(b"")), told(tx.try_reserve(0).map(drop))])
        })
        .when(
            "There is no room for the message, or what room there is is kept for the longer one of a \
             sender that has waited for it for long (MPMC).",
        )
        .cure("Wait (`send`), or drop it.")
        .again("when receivers have made room."),
        Row::new(&["MessageError::Empty"; 3], "", |stage| {
            let (_ring, _tx, mut rx) = ends(stage);
            let tried = told(rx.try_recv_into(&mut vec![0; 4096]));
            Ok(vec![tried, told(rx.try_recv(&mut vec![0; 4096])), told(rx.try_claim(1).map(drop))])
        })
        .when("Nothing is there.")
        .cure("Wait (`recv`), or do something else.")
        .again("when a sender has sent something."),
        Row::new(&["MessageError::Closed"; 4], "", |stage| {
            let (ring, mut tx, rx) = ends(stage);
            drop(rx);
            let mut all = vec![told(tx.try_send(b"")), told(tx.send(b""))];
            let mut rx = ring.receiver().unwrap();
            drop(tx);
            all.extend([
                told(rx.recv_into(&mut vec![0; 4096])),
                told(rx.try_recv(&mut vec![0; 4096])),
            ]);
            Ok(all)
        })
        .when("The opposite ends have closed or died; a receiver has received everything.")
        .cure("Stop; `ending` tells whether they closed or died.")
        .again("when another has attached."),
        Row::new(&["MessageError::Timeout"; 2], "", |stage| {
            let (_ring, mut tx, mut rx) = full(stage);
            let sent = told(tx.send_deadline(b"", SHORT));
            rx.clear().unwrap();
            Ok(vec![sent, told(rx.recv_into_deadline(&mut vec![0; 4096], SHORT))])
        })
        .when("The deadline passed.")
        .cure("Whatever a late peer calls for.")
        .again("with a later deadline."),
        Row::new(&["MessageError::Cancelled"; 2], "", |stage| {
            let (_ring, mut tx, mut rx) = full(stage);
            tx.canceller().cancel();
            let sent = told(tx.send_deadline(b"", LONG));
            rx.clear().unwrap();
            rx.canceller().cancel();
            Ok(vec![sent, told(rx.recv_deadline(&mut vec![0; 4096], LONG))])
        })
        .when("Somebody has used a `Canceller` of this handle.")
        .cure("Stop, as was asked for.")
        .again("after `Canceller::reset`, if there is a reason."),
        Row::new(&["MessageError::Corrupt"; 2], "", |stage| {
            let (_ring, mut tx, mut rx) = full(stage);
            scribble(stage);
            Ok(vec![told(tx.try_send(b"")), told(rx.try_recv_into(&mut vec![0; 4096]))])
        })
        .when("A process has written over the ring's shared words, or over a message's length.")
        .cure("Unlink the ring, create it anew, and look for who did it."),
        Row::new(&["MessageError::Forked"; 3], "", |stage| {
            let (_ring, mut tx, mut rx) = ends(stage);
            forked(|| {
                vec![told(tx.send(b"")), told(rx.recv_into(&mut vec![0; 4096])), told(rx.clear())]
            })
        })
        .when("The handle was inherited through `fork`.")
        .cure("Open the ring anew in the child."),
        Row::new(&["MessageError::DescriptorLost"; 2], "", lost)
            .when(
                "The ring's descriptor was closed behind its back, its number reused, or `fcntl` \
                 is forbidden: nobody could tell whether the peers live.",
            )
            .cure("Open the ring anew, and look for what closes descriptors that are not its own."),
        Row::new(&["MessageError::TooLarge"; 2], "", |stage| {
            let (_ring, mut tx, _rx) = ends(stage);
            let long = vec![0; tx.max_len() + 1];
            Ok(vec![told(tx.send(&long)), told(tx.try_reserve(long.len()).map(drop))])
        })
        .when("The message is longer than any that this ring takes: half of its capacity.")
        .cure("Split it, or create a larger ring."),
        Row::new(&["SendAllError"], "of messages", |stage| {
            let (_ring, mut tx, _rx) = ends(stage);
            let message = vec![0; tx.max_len()];
            let sent = tx.send_all_deadline(&[&message, &message, &message], SHORT);
            Ok(vec![Told::of(&sent.expect_err("there is room for two"))])
        })
        .with("MessageError::Timeout")
        .when("`send_all` could not go on: its `why`, and source, tells what stopped it.")
        .cure("See there; `sent` tells which messages are to be sent yet.")
        .again("as `why` has it, from that message on."),
        Row::new(&["MessageError::TooSmall"; 2], "", |stage| {
            let (_ring, mut tx, mut rx) = ends(stage);
            tx.send(b"quite long").unwrap();
            Ok(vec![told(rx.recv_into(&mut [0; 4])), told(rx.try_recv_into(&mut [0; 9]))])
        })
        .when("The message that comes next is longer than the buffer.")
        .cure("Receive it into a larger one, or into a `Vec`; it comes first on the next call.")
        .again("with a larger buffer."),
    ]
}

fn lost(stage: &Stage) -> Provoked {
    let (ring, mut tx, mut rx) = full(stage);
    tx.set_liveness_interval(SHORT);
    rx.set_liveness_interval(SHORT);
    lose(&ring);
    let sent = told(tx.send(b""));
    let mut message = Vec::new();
    rx.recv(&mut message).unwrap();
    rx.recv(&mut message).unwrap();
    Ok(vec![sent, told(rx.recv(&mut message))])
}
