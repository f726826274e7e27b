//! Several messages by one call.

use std::time::Duration;

use ringpipe::MessageError;

use super::support::messenger::{Carries, options};
use super::support::{LONG, both_kinds};
use super::{HEADER, PAGE};

both_kinds!(
    all_of_several_messages_arrive_in_order_though_they_take_more_than_the_ring,
    of_several_messages_none_is_sent_if_one_is_too_large,
    a_call_that_cannot_send_all_says_how_many_it_has_sent,
    a_message_is_built_where_it_lies_and_as_long_as_its_builder_says,
);

/// Of lengths from none to some hundred bytes.
fn messages(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n as u8; n * 37 % 300]).collect()
}

fn all_of_several_messages_arrive_in_order_though_they_take_more_than_the_ring<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let all = messages(500);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            tx.send_all(&all[..0]).unwrap();
            tx.send_all(&all).unwrap();
            drop(tx);
        });
        let mut message = Vec::new();
        for sent in &all {
            rx.recv_deadline(&mut message, LONG).unwrap();
            assert_eq!(&message, sent);
        }
        assert_eq!(rx.recv_deadline(&mut message, LONG), Err(MessageError::Closed));
    });
}

fn of_several_messages_none_is_sent_if_one_is_too_large<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, _rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let most = tx.max_len();
    let refused = tx.send_all(&[vec![0; 8], vec![0; most + 1]]).unwrap_err();
    assert_eq!((refused.sent, refused.why), (0, MessageError::TooLarge { len: most + 1, most }));
    assert!(ring.is_empty() && ring.stats().sent == 0);
}

fn a_call_that_cannot_send_all_says_how_many_it_has_sent<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let message = vec![7; PAGE / 4 - HEADER];
    let refused = tx.send_all_deadline(&[&message; 6], Duration::from_millis(1)).unwrap_err();
    assert_eq!((refused.sent, refused.why), (4, MessageError::Timeout));
    assert_eq!(rx.claim(9).unwrap().len(), 4);
    drop(rx);
    let refused = tx.send_all(&[&message]).unwrap_err();
    assert_eq!((refused.sent, refused.why), (0, MessageError::Closed));
}

fn a_message_is_built_where_it_lies_and_as_long_as_its_builder_says<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let mut message = Vec::new();
    // At every place of the ring, across its end, too.
    for n in 0..200_usize {
        let len = n * 13 % 900;
        // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
        let sent = unsafe {
            tx.send_in_place(1000, |room| {
                assert_eq!(room.len(), 1000);
                room[..len].fill(n as u8);
                len
            })
        };
        sent.unwrap();
        rx.recv_deadline(&mut message, LONG).unwrap();
        assert_eq!(message, vec![n as u8; len]);
    }
    let too_much = std::panic::AssertUnwindSafe(|| {
        // SAFETY: as above.
        unsafe { tx.send_in_place(10, |room| room.len() + 1) }
    });
    std::panic::catch_unwind(too_much).unwrap_err();
    tx.send(b"after").unwrap();
    rx.recv_deadline(&mut message, LONG).unwrap();
    assert_eq!(message, b"after");
}
