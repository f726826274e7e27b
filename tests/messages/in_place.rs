//! Messages written and read where they lie: what is reserved and not sent, claimed and not
//! released, and what a writer or a reader sees of a message meanwhile.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use ringpipe::messages::Messages;
use ringpipe::{MessageError, Mpmc, messages};

use super::PAGE;
use super::support::messenger::{Carries, both_ends, next, options};
use super::support::{both_kinds, tests};

both_kinds!(
    what_is_written_is_sent_when_it_is_committed_and_not_before,
    a_shorter_message_than_was_reserved_gives_the_rest_back,
    a_writer_takes_what_there_is_room_for_and_then_nothing,
    a_message_can_be_built_where_it_lies,
    a_length_beyond_the_room_panics_and_sends_nothing,
    what_is_abandoned_dropped_or_forgotten_is_not_sent_and_its_room_comes_back,
    what_a_closure_fails_or_panics_in_is_not_sent,
    pieces_are_one_message,
    a_claim_takes_as_many_as_there_are_and_no_more_than_asked_for,
    what_is_not_released_is_received_again_first_and_in_order,
    a_partial_release_keeps_the_rest,
    a_release_of_more_than_were_claimed_panics_and_releases_nothing,
    a_message_is_read_in_parts_and_where_it_lies,
    messages_of_no_bytes_are_messages,
);

tests!(
    receivers_pass_over_what_was_reserved_and_not_sent,
    what_is_reserved_holds_up_what_others_send_behind_it,
    a_claim_leaves_the_other_messages_to_other_receivers,
);

/// Fills the ring and empties it, to see that nothing of it is missing. (Holes are passed over by a
/// receiver first.)
fn all_room_is_there<K: Messages>(tx: &mut messages::Sender<K>, rx: &mut messages::Receiver<K>) {
    assert_eq!(next(rx), Err(MessageError::Empty));
    let most = vec![b'z'; tx.max_len()];
    for _ in 0..3 {
        tx.try_send(&most).unwrap();
        tx.try_send(&most).unwrap();
        assert_eq!(tx.try_send(b""), Err(MessageError::Full));
        assert_eq!(rx.clear(), Ok(2));
    }
}

fn what_is_written_is_sent_when_it_is_committed_and_not_before<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let mut room = tx.reserve(100).unwrap();
    assert_eq!((room.capacity(), room.len(), room.is_empty()), (100, 0, true));
    room.writer().write_all(b"one ").unwrap();
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    let mut writer = room.writer();
    assert_eq!(writer.remaining(), 96);
    writer.write_all(b"message").unwrap();
    writer.flush().unwrap();
    assert_eq!(format!("{writer:?}"), "MessageWriter { remaining: 89, .. }");
    assert_eq!((room.len(), room.is_empty()), (11, false));
    assert_eq!(format!("{room:?}"), "Reserved { capacity: 100, len: 11, .. }");
    room.commit();
    assert_eq!(next(&mut rx).unwrap(), "one message");
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    all_room_is_there(&mut tx, &mut rx);
}

fn a_shorter_message_than_was_reserved_gives_the_rest_back<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let most = tx.max_len();
    for reserved in [0, 1, 56, 57, 200, most - 1, most] {
        for used in [0, 1, 55, 56, 57, reserved / 2, reserved] {
            let used = used.min(reserved);
            let mut room = tx.try_reserve(reserved).unwrap();
            room.writer().write_all(&vec![b'u'; used]).unwrap();
            room.commit();
            tx.try_send(b"behind it").unwrap();
            let mut got = Vec::new();
            rx.try_recv(&mut got).unwrap();
            assert!(got == vec![b'u'; used], "{used} of {reserved}");
            assert_eq!(next(&mut rx).unwrap(), "behind it");
        }
    }
    all_room_is_there(&mut tx, &mut rx);
}

fn a_writer_takes_what_there_is_room_for_and_then_nothing<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let mut room = tx.reserve(10).unwrap();
    let mut writer = room.writer();
    assert_eq!(writer.write(b"1234567").unwrap(), 7);
    assert_eq!(writer.write(b"89abc").unwrap(), 3);
    assert_eq!(writer.remaining(), 0);
    assert_eq!(writer.write(b"d").unwrap(), 0);
    assert_eq!(writer.write_all(b"d").unwrap_err().kind(), ErrorKind::WriteZero);
    room.commit();
    assert_eq!(next(&mut rx).unwrap(), "123456789a");
    // So a closure that writes too much fails, and sends nothing.
    let sent: io::Result<()> = tx.send_with(3, |message| write!(message, "{}", 12345));
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::WriteZero);
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
}

fn a_message_can_be_built_where_it_lies<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    for len in [0, 1, 100, tx.max_len()] {
        let mut message = tx.reserve(len).unwrap();
        // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
        let room = unsafe { message.as_mut_slice() };
        assert_eq!((room.len(), room.as_ptr().align_offset(8)), (len, 0));
        room.fill(b'b');
        assert!(message.is_empty(), "its length is what was said it is");
        message.set_len(len);
        message.commit();
        let claimed = rx.try_claim(1).unwrap();
        let first = claimed.first().unwrap();
        // SAFETY: likewise.
        let message = unsafe { first.as_slice() };
        assert!(message.as_ptr().align_offset(8) == 0 && message == vec![b'b'; len]);
        claimed.release_all();
    }
}

fn a_length_beyond_the_room_panics_and_sends_nothing<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let mut room = tx.reserve(10).unwrap();
        room.set_len(11);
        room.commit();
    }));
    let panic = panics.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*panic, "a message of 11 bytes in room for 10");
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    all_room_is_there(&mut tx, &mut rx);
}

/// Room that is not used, in all ways. Whatever comes next finds it given back.
fn what_is_abandoned_dropped_or_forgotten_is_not_sent_and_its_room_comes_back<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let mut rx = ring.receiver().unwrap();
    for len in [0, 100, PAGE / 2 - 8] {
        for how in 0..3 {
            let mut tx = ring.sender().unwrap();
            let leave = |tx: &mut messages::Sender<_>| {
                let mut room = tx.try_reserve(len).unwrap();
                room.writer().write_all(&vec![b'x'; len]).unwrap();
                match how {
                    0 => room.abandon(),
                    1 => drop(room),
                    _ => forget(room),
                }
            };
            // The next call finds it so,
            leave(&mut tx);
            tx.try_send(b"next").unwrap();
            assert_eq!(next(&mut rx).unwrap(), "next");
            leave(&mut tx);
            tx.reserve(4).unwrap().abandon();
            all_room_is_there(&mut tx, &mut rx);
            // and whoever comes after a drop.
            leave(&mut tx);
            drop(tx);
            assert_eq!(next(&mut rx), Err(MessageError::Closed), "{len} {how}");
            let mut successor = ring.sender().unwrap();
            all_room_is_there(&mut successor, &mut rx);
        }
    }
}

fn what_a_closure_fails_or_panics_in_is_not_sent<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    for len in [10, tx.max_len()] {
        let failed = tx.send_with(len, |message| {
            message.write_all(b"half of it").unwrap();
            Err::<(), _>(io::Error::other("no more of it"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more of it");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            tx.send_with(len, |message| -> Result<(), MessageError> {
                message.write_all(b"half of it").unwrap();
                resume_unwind(Box::new("in mid-message"))
            })
        }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"in mid-message"));
        assert_eq!(next(&mut rx), Err(MessageError::Empty));
        let answer: Result<_, MessageError> = tx.send_with(len, |message| {
            message.write_all(b"all of it").unwrap();
            Ok(42)
        });
        assert_eq!(answer, Ok(42));
        assert_eq!(next(&mut rx).unwrap(), "all of it");
        all_room_is_there(&mut tx, &mut rx);
    }
    // What the ring says is an error of the closure's kind.
    drop(rx);
    let refused: io::Result<()> = tx.send_with(1, |_| panic!("nobody reads it"));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

fn pieces_are_one_message<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let most = vec![b'p'; tx.max_len()];
    for cuts in [vec![], vec![0], vec![1, 1, 500], vec![55, 56, 57, 2000], vec![most.len()]] {
        let mut pieces = Vec::new();
        let mut from = 0;
        for &cut in &cuts {
            pieces.push(IoSlice::new(&most[from..cut]));
            from = cut;
        }
        let sent = &most[..from];
        tx.send_vectored(&pieces).unwrap();
        let mut got = Vec::new();
        rx.try_recv(&mut got).unwrap();
        assert!(got == sent, "{cuts:?}");
    }
    let both = [IoSlice::new(b"a"), IoSlice::new(b"b")];
    all_room_is_there(&mut tx, &mut rx);
    tx.try_send(&most).unwrap();
    tx.try_send(&most).unwrap();
    let now = std::time::Duration::ZERO;
    assert_eq!(tx.send_vectored_deadline(&both, now), Err(MessageError::Timeout));
}

/// Sends the letters.
fn send_each<K: Messages>(tx: &mut messages::Sender<K>, letters: &str) {
    for (i, letter) in letters.bytes().enumerate() {
        tx.try_send(&vec![letter; 1 + 60 * (i % 3)]).unwrap();
    }
}

/// The first letters of those that are claimed.
fn initials<K: Messages>(claimed: &messages::ReadMessages<'_, K>) -> String {
    claimed.iter().map(|message| char::from(message.to_vec()[0])).collect()
}

/// What comes, until there is no more.
fn rest<K: Messages>(rx: &mut messages::Receiver<K>) -> String {
    let mut message = Vec::new();
    let received =
        std::iter::from_fn(|| rx.try_recv(&mut message).ok().map(|()| char::from(message[0])));
    received.collect()
}

fn a_claim_takes_as_many_as_there_are_and_no_more_than_asked_for<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    assert_eq!(rx.try_claim(9).err(), Some(MessageError::Empty));
    send_each(&mut tx, "abcdef");
    for (max, claims) in [(0, "a"), (1, "b"), (3, "cde"), (usize::MAX, "f")] {
        let claimed = rx.claim(max).unwrap();
        assert_eq!((initials(&claimed).as_str(), claimed.len()), (claims, claims.len()));
        assert_eq!((claimed.redelivered(), claimed.redeliveries()), (0, 0));
        claimed.release_all();
    }
    assert_eq!(rx.try_claim(9).err(), Some(MessageError::Empty));
    drop(tx);
    assert_eq!(rx.claim(9).err(), Some(MessageError::Closed));
}

#[expect(clippy::forget_non_drop, reason = "whether it has something to drop is its own affair")]
fn what_is_not_released_is_received_again_first_and_in_order<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    for how in 0..4 {
        send_each(&mut tx, "abcde");
        let claimed = rx.claim(3).unwrap();
        match how {
            0 => drop(claimed),
            1 => forget(claimed),
            2 => claimed.abandon(),
            _ => claimed.release(0),
        }
        send_each(&mut tx, "f");
        // By a shorter claim, by one that is given back again, and then for good.
        let claimed = rx.claim(2).unwrap();
        assert_eq!((initials(&claimed).as_str(), claimed.redelivered()), ("ab", 2));
        assert_eq!(claimed.redeliveries(), 0, "nobody has gone");
        drop(claimed);
        let claimed = rx.try_claim(100).unwrap();
        assert!(initials(&claimed).starts_with("abc"));
        assert_eq!(claimed.redelivered(), 3);
        claimed.abandon();
        assert_eq!((rest(&mut rx).as_str(), rx.redeliveries()), ("abcdef", 0), "{how}");
        assert!(rx.is_empty());
        all_room_is_there(&mut tx, &mut rx);
    }
}

fn a_partial_release_keeps_the_rest<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    for released in 0..=4 {
        send_each(&mut tx, "abcdef");
        rx.claim(4).unwrap().release(released);
        assert_eq!(rest(&mut rx), "abcdef"[released..]);
        all_room_is_there(&mut tx, &mut rx);
    }
}

fn a_release_of_more_than_were_claimed_panics_and_releases_nothing<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    send_each(&mut tx, "abc");
    let panics = catch_unwind(AssertUnwindSafe(|| rx.claim(2).unwrap().release(3)));
    assert_eq!(*panics.unwrap_err().downcast::<String>().unwrap(), "3 messages of 2");
    assert_eq!(rest(&mut rx), "abc");
}

fn a_message_is_read_in_parts_and_where_it_lies<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    tx.send(b"of several parts").unwrap();
    let claimed = rx.claim(1).unwrap();
    assert_eq!(format!("{claimed:?}"), "ReadMessages { len: 1, .. }");
    let message = claimed.first().unwrap();
    assert_eq!((message.len(), message.is_empty()), (16, false));
    assert_eq!(format!("{message:?}"), "Received { len: 16, .. }");
    let mut part = [0; 7];
    message.read_slice(3, &mut part);
    assert_eq!(&part, b"several");
    message.read_slice(16, &mut []);
    assert_eq!(message.to_vec(), b"of several parts");
    for (at, len) in [(10, 7), (16, 1), (17, 0), (usize::MAX, 1)] {
        let beyond = || message.read_slice(at, &mut vec![0; len]);
        assert!(catch_unwind(AssertUnwindSafe(beyond)).is_err(), "{len} bytes from {at}");
    }
    claimed.release_all();
}

fn messages_of_no_bytes_are_messages<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    tx.send(b"").unwrap();
    tx.send_vectored(&[]).unwrap();
    tx.reserve(0).unwrap().commit();
    tx.reserve(100).unwrap().commit();
    let claimed = rx.claim(9).unwrap();
    assert!(claimed.iter().all(|message| message.is_empty()));
    assert_eq!(claimed.len(), 4);
    claimed.release(2);
    assert_eq!(rx.recv_into(&mut []), Ok(0));
    let mut message = vec![1, 2, 3];
    rx.recv(&mut message).unwrap();
    assert!(message.is_empty());
    assert_eq!(rx.try_recv_into(&mut []), Err(MessageError::Empty));
}

fn receivers_pass_over_what_was_reserved_and_not_sent() {
    let ring = options::<Mpmc>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    tx.try_reserve(100).unwrap().abandon(); // two granules
    tx.try_send(b"a").unwrap();
    let mut room = tx.try_reserve(1000).unwrap(); // of which one granule is used
    room.writer().write_all(b"b").unwrap();
    room.commit();
    tx.try_send(b"c").unwrap();
    assert_eq!(ring.stats().skipped, 2 + 15);
    let claimed = rx.claim(9).unwrap();
    assert_eq!(initials(&claimed), "abc");
    claimed.release(1);
    assert_eq!(rest(&mut rx), "bc");
}

/// Until it is committed, or given up; as anything that is claimed and not yet handed over.
fn what_is_reserved_holds_up_what_others_send_behind_it() {
    let (mut tx, mut rx) = both_ends::<Mpmc>(PAGE);
    let mut other = tx.try_clone().unwrap();
    let room = tx.try_reserve(10).unwrap();
    other.try_send(b"behind").unwrap();
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    room.commit();
    assert_eq!((next(&mut rx).unwrap(), next(&mut rx).unwrap()), ("".into(), "behind".into()));
    forget(tx.try_reserve(1000).unwrap());
    other.try_send(b"behind").unwrap();
    assert_eq!(next(&mut rx), Err(MessageError::Empty));
    drop(tx);
    assert_eq!(next(&mut rx).unwrap(), "behind");
}

fn a_claim_leaves_the_other_messages_to_other_receivers() {
    let (mut tx, mut rx) = both_ends::<Mpmc>(PAGE);
    let mut other = rx.try_clone().unwrap();
    send_each(&mut tx, "abcdef");
    let claimed = rx.claim(2).unwrap();
    let others = other.claim(3).unwrap();
    assert_eq!((initials(&claimed).as_str(), initials(&others).as_str()), ("ab", "cde"));
    others.release(1);
    claimed.release(1);
    assert_eq!(rest(&mut other), "def");
    assert_eq!(rest(&mut rx), "b");
}
