//! What travels: types whose bits need a check, and what becomes of items that fail it.
//!
//! A sender of bytes plays the peer that writes what is no `Level`: the two types have one size and
//! alignment, and the ring no tag.

mod support;

use std::time::Duration;

use ringpipe::bytemuck::{self, CheckedBitPattern, NoUninit};
use ringpipe::{
    BulkError, Kind, Mpmc, RecvError, RecvHandle, RecvTimeoutError, Ring, SendHandle, Spsc,
    TryRecvError, mpmc, spsc,
};
use support::{Flavour, Name, Rng, tests};

tests!(
    values_with_invalid_bits_travel,
    an_item_that_makes_no_value_is_dropped_and_the_next_call_goes_on,
    an_item_can_be_received_into_memory_that_is_there,
    an_item_larger_than_the_stack_can_be_received,
    iterators_pass_over_items_that_make_no_value,
    a_slice_leaves_items_out_that_make_no_value,
    an_exact_call_drops_what_it_cannot_deliver_whole,
    a_run_shows_an_item_that_makes_no_value_as_none,
    a_run_with_holes_shows_its_items_by_number,
    what_is_received_again_is_checked_again,
);

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Level {
    Low,
    Middle,
    High,
}
use Level::{High, Low, Middle};

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(C)]
struct Event {
    at: u64,
    letter: char,
    level: Level,
    is_last: bool,
    rest: [u8; 2],
}

fn values_with_invalid_bits_travel() {
    fn pass<K: Kind>((mut tx, mut rx): (SendHandle<Event, K>, RecvHandle<Event, K>)) {
        let event = |at| Event {
            at,
            letter: char::from_u32(at as u32 + 0xe000).unwrap(),
            level: if at % 2 == 0 { High } else { Low },
            is_last: at == 20,
            rest: [at as u8; 2],
        };
        for at in 0..20 {
            tx.try_send_slice(&[event(at), event(at + 1), event(at + 2)]).unwrap();
            assert_eq!(rx.recv(), Ok(event(at)));
            let mut into = [event(99); 2];
            assert_eq!(rx.try_recv_slice(&mut into), Ok(2));
            assert_eq!(into, [event(at + 1), event(at + 2)]);
        }
    }
    pass(spsc::channel(4).unwrap());
    pass(mpmc::channel(4).unwrap());
}

/// These bytes were sent, and their sender is there; a receiver takes them for levels.
fn sent<K: Flavour>(bytes: &[u8]) -> (SendHandle<u8, K>, RecvHandle<Level, K>) {
    let name = Name::new();
    let mut tx = K::sender(&Ring::options().capacity(8).create(&name).unwrap()).unwrap();
    assert_eq!(tx.try_send_slice(bytes), Ok(bytes.len()));
    (tx, K::receiver(&Ring::options().open(&name).unwrap()).unwrap())
}

fn an_item_that_makes_no_value_is_dropped_and_the_next_call_goes_on() {
    fn holds<K: Flavour>() {
        let (_tx, mut rx) = sent::<K>(&[0, 3, 2, 255, 4, 1]);
        assert_eq!(rx.try_recv(), Ok(Low));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Invalid));
        assert_eq!(rx.recv(), Ok(High));
        assert_eq!(rx.recv(), Err(RecvError::Invalid));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Invalid));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(Middle));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.ring().stats().dropped, 3);
    }
    holds::<Spsc>();
    holds::<Mpmc>();
}

fn an_item_can_be_received_into_memory_that_is_there() {
    fn check<K: Flavour>() {
        let (mut tx, mut rx) = sent::<K>(&[]);
        let mut level = Low;
        assert_eq!(rx.try_recv_into(&mut level), Err(TryRecvError::Empty));
        let soon = Duration::from_millis(1);
        assert_eq!(rx.recv_into_deadline(&mut level, soon), Err(RecvTimeoutError::Timeout));
        for [good, bad] in [[Middle, High], [High, Middle]] {
            tx.try_send_slice(&[good as u8, 77, bad as u8, 99]).unwrap();
            assert_eq!((rx.try_recv_into(&mut level), level), (Ok(()), good));
            assert_eq!((rx.try_recv_into(&mut level), level), (Err(TryRecvError::Invalid), good));
            assert_eq!((rx.recv_into_deadline(&mut level, soon), level), (Ok(()), bad));
            let invalid = Err(RecvTimeoutError::Invalid);
            assert_eq!((rx.recv_into_deadline(&mut level, soon), level), (invalid, bad));
        }
        assert_eq!(rx.ring().stats().dropped, 4);
        drop(tx);
        assert_eq!(rx.try_recv_into(&mut level), Err(TryRecvError::Closed));
        assert_eq!(rx.recv_into_deadline(&mut level, soon), Err(RecvTimeoutError::Closed));
    }
    check::<Spsc>();
    check::<Mpmc>();

    fn any_bits<K: Kind>((mut tx, mut rx): (SendHandle<[u32; 3], K>, RecvHandle<[u32; 3], K>)) {
        let mut into = [[0; 3]; 3];
        for n in 0..10 {
            tx.send([n; 3]).unwrap();
            rx.try_recv_into(&mut into[1]).unwrap();
            assert_eq!(into, [[0; 3], [n; 3], [0; 3]], "its neighbours are left alone");
        }
    }
    any_bits(spsc::channel(2).unwrap());
    any_bits(mpmc::channel(2).unwrap());
}

/// By slices and into memory that is there: nothing of that size stands on the stack.
fn an_item_larger_than_the_stack_can_be_received() {
    type Large = [[u64; 1024]; 256]; // 2 MiB
    fn pass<K: Kind>((mut tx, mut rx): (SendHandle<Large, K>, RecvHandle<Large, K>)) {
        let run = move || {
            let sent: Vec<_> = (0..256_u64).map(|n| [n; 1024]).collect();
            let mut received = vec![[0_u64; 1024]; 256];
            for round in 0..3 {
                tx.try_send_slice(bytemuck::cast_slice(&sent)).unwrap();
                let place = bytemuck::cast_slice_mut::<_, Large>(&mut received);
                match round {
                    0 => rx.try_recv_into(&mut place[0]).unwrap(),
                    1 => rx.recv_into(&mut place[0]).unwrap(),
                    _ => assert_eq!(rx.try_recv_slice(place), Ok(1)),
                }
                assert!(received == sent);
                received.fill([0; 1024]);
            }
        };
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run);
        thread.unwrap().join().unwrap();
    }
    pass(spsc::channel(2).unwrap());
    pass(mpmc::channel(2).unwrap());
}

fn iterators_pass_over_items_that_make_no_value() {
    fn holds<K: Flavour>() {
        let (mut tx, mut rx) = sent::<K>(&[9, 0, 9, 9, 1, 9]);
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [Low, Middle]);
        assert_eq!(rx.ring().stats().dropped, 4);
        tx.try_send_slice(&[9, 2, 9]).unwrap();
        drop(tx);
        let mut iter = rx.iter();
        assert_eq!(iter.by_ref().collect::<Vec<_>>(), [High]);
        assert_eq!(iter.error(), Some(RecvError::Closed));
        assert_eq!(rx.ring().stats().dropped, 6);
    }
    holds::<Spsc>();
    holds::<Mpmc>();
}

fn a_slice_leaves_items_out_that_make_no_value() {
    fn holds<K: Flavour>() {
        let (mut tx, mut rx) = sent::<K>(&[7, 2, 1, 7, 0, 7]);
        let mut into = [Low; 8];
        assert_eq!(rx.try_recv_slice(&mut into), Ok(3));
        assert_eq!(into[..3], [High, Middle, Low]);
        assert_eq!(rx.ring().stats().dropped, 3);
        tx.try_send_slice(&[7, 7]).unwrap();
        assert_eq!(rx.recv_slice(&mut into), Err(BulkError::Invalid));
        assert_eq!(rx.ring().stats().dropped, 5);
        all_is_released(tx, rx);
    }
    holds::<Spsc>();
    holds::<Mpmc>();
}

fn an_exact_call_drops_what_it_cannot_deliver_whole() {
    fn holds<K: Flavour>() {
        let (tx, mut rx) = sent::<K>(&[2, 1, 7, 0, 1, 2]);
        let mut into = [Low; 4];
        assert_eq!(rx.try_recv_exact(&mut into), Err(BulkError::Invalid));
        assert_eq!(rx.ring().stats().dropped, 4);
        assert_eq!(rx.recv_exact(&mut into[..2]), Ok(()));
        assert_eq!(into[..2], [Middle, High]);
        all_is_released(tx, rx);
    }
    holds::<Spsc>();
    holds::<Mpmc>();
}

/// A copying call that has returned holds nothing, and nothing is marked.
fn all_is_released<K: Flavour>(mut tx: SendHandle<u8, K>, mut rx: RecvHandle<Level, K>) {
    assert_eq!(tx.try_send_exact(&[0; 8]), Ok(()));
    assert_eq!(rx.try_recv_exact(&mut [Low; 8]), Ok(()));
    assert_eq!((rx.redelivered(), rx.ring().stats().redelivered), (0, 0));
}

fn a_run_shows_an_item_that_makes_no_value_as_none() {
    fn holds<K: Flavour>() {
        let (tx, mut rx) = sent::<K>(&[2, 7, 1]);
        let run = rx.try_claim(8).unwrap();
        let items = (0..run.len()).map(|index| run.get(index));
        assert!(items.eq([Some(High), None, Some(Middle)]));
        assert!(run.iter().eq([High, Middle]));
        run.release_all();
        all_is_released(tx, rx);
    }
    holds::<Spsc>();
    holds::<Mpmc>();
}

/// In whatever order they are asked for, past positions that senders gave up.
fn a_run_with_holes_shows_its_items_by_number() {
    let (mut tx, mut rx) = mpmc::channel::<u64>(64).unwrap();
    for value in 0..12 {
        tx.try_claim(value as usize % 4).unwrap().abandon();
        tx.try_send(value).unwrap();
    }
    let run = rx.try_claim(64).unwrap();
    assert_eq!(run.len(), 12);
    let mut rng = Rng::new(3);
    let random = (0..200).map(|_| rng.next() as usize % 14);
    for index in (0..14).chain((0..14).rev()).chain(random) {
        assert_eq!(run.get(index), (index < 12).then_some(index as u64));
    }
    run.release(5);
    let run = rx.try_claim(64).unwrap();
    assert!((0..7).map(|index| run.get(index)).eq((5..12).map(Some)));
    run.release_all();
}

fn what_is_received_again_is_checked_again() {
    fn holds<K: Flavour>() {
        let (_tx, mut rx) = sent::<K>(&[7, 1]);
        let ring = rx.ring();
        rx.try_claim(2).unwrap().abandon();
        drop(rx);
        let mut rx = K::receiver(&ring).unwrap();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Invalid));
        assert_eq!(rx.redelivered(), 0, "nothing was received");
        assert_eq!(rx.try_recv(), Ok(Middle));
        assert_eq!(rx.redelivered(), 1);
        // Two of three, the first of which is left out.
        let (_tx, mut rx) = sent::<K>(&[7, 1, 2]);
        rx.try_claim(2).unwrap().abandon();
        let mut into = [Low; 3];
        let received = rx.try_recv_slice(&mut into).unwrap();
        assert_eq!((&into[..received], rx.redelivered()), (&[Middle, High][..received], 1));
    }
    holds::<Spsc>();
    holds::<Mpmc>();
}
