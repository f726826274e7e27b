//! Every length, at every place of the ring; and one byte more than the longest.

use std::io::IoSlice;
use std::time::Duration;

use ringpipe::messages::{self, Messages, mpmc};
use ringpipe::{MessageError, Mpmc, Spsc};

use super::support::messenger::{Carries, both_ends, options};
use super::support::region::Raw;
use super::support::{Rng, both_kinds, tests};
use super::{HEADER, PAGE};

both_kinds!(
    every_length_arrives_whole_and_takes_its_room_and_no_more,
    messages_arrive_whole_from_wherever_in_the_ring_they_begin,
    the_longest_message_is_half_of_the_ring_and_two_of_them_fill_it,
    one_byte_more_than_the_longest_is_refused_before_anything_is_touched,
);

tests!(
    lengths_around_every_multiple_of_each_granule_arrive_whole,
    in_a_ring_of_one_granule_a_message_may_fill_it,
    pieces_that_together_are_more_than_can_be_counted_are_too_large,
);

/// What a slot of such a ring has, in bytes.
fn granule_of<K: Carries>() -> usize {
    if K::MANY { 64 } else { 8 }
}

/// So many bytes, by which one can tell where in them one is.
fn letter(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    let words = (0..len.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes());
    words.take(len).collect()
}

/// Sends one and receives it, and looks at the room that it takes meanwhile.
#[track_caller]
fn cross<K: Messages>(
    tx: &mut messages::Sender<K>,
    rx: &mut messages::Receiver<K>,
    len: usize,
    granule: usize,
) {
    let sent = letter(len);
    tx.try_send(&sent).unwrap();
    assert_eq!(rx.len(), (HEADER + len).next_multiple_of(granule), "{len}");
    let mut got = vec![0xee; len + 1];
    assert_eq!(rx.try_recv_into(&mut got), Ok(len));
    assert!(got[..len] == sent && got[len] == 0xee, "{len}");
    assert!(rx.is_empty() && tx.is_empty());
}

fn every_length_arrives_whole_and_takes_its_room_and_no_more<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    for len in (0..=tx.max_len()).chain((0..=tx.max_len()).rev()) {
        cross(&mut tx, &mut rx, len, granule_of::<K>());
    }
}

fn lengths_around_every_multiple_of_each_granule_arrive_whole() {
    for granule in [64, 128, 256, 512, 1024, 2048, 4096] {
        let capacity = (64 * granule).min(16 * PAGE);
        let options = mpmc::Ring::options().granule(granule).capacity(capacity);
        let ring = options.create_anonymous().unwrap();
        let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
        for multiple in (0..=tx.max_len()).step_by(granule) {
            for len in [multiple, multiple + 1, multiple + granule - HEADER] {
                // With the word before it: just below a multiple, at it, and just above.
                for len in [len.saturating_sub(1), len, len + 1] {
                    if len <= tx.max_len() {
                        cross(&mut tx, &mut rx, len, granule);
                    }
                }
            }
        }
    }
}

/// Also across its end, at which the ring goes on at its beginning.
fn messages_arrive_whole_from_wherever_in_the_ring_they_begin<K: Carries>() {
    let (mut tx, mut rx) = both_ends::<K>(PAGE);
    let granule = granule_of::<K>();
    let most = tx.max_len();
    // Each moves the next by a granule, as all others bring it back to where it was.
    let lens = [0, 1, 2 * granule - HEADER, 2 * granule - HEADER + 1, most - 1, most];
    for _ in 0..PAGE / granule {
        for len in lens {
            cross(&mut tx, &mut rx, len, granule);
            let taken = (HEADER + len).next_multiple_of(granule);
            for rest in rests(PAGE - taken, most) {
                cross(&mut tx, &mut rx, rest, granule);
            }
        }
        cross(&mut tx, &mut rx, 0, granule);
    }
}

/// Lengths of messages that together take so many bytes.
fn rests(mut bytes: usize, most: usize) -> Vec<usize> {
    let mut lens = Vec::new();
    while bytes > 0 {
        let len = (bytes - HEADER).min(most);
        lens.push(len);
        bytes -= HEADER + len;
    }
    lens
}

fn the_longest_message_is_half_of_the_ring_and_two_of_them_fill_it<K: Carries>() {
    for capacity in [PAGE, 4 * PAGE, 1 << 20] {
        let (mut tx, mut rx) = both_ends::<K>(capacity);
        assert_eq!((tx.capacity(), rx.capacity()), (capacity, capacity));
        let most = capacity / 2 - HEADER;
        assert_eq!((tx.max_len(), rx.max_len()), (most, most));
        for _ in 0..3 {
            tx.try_send(&letter(most)).unwrap();
            tx.try_send(&letter(most)).unwrap();
            assert_eq!(tx.try_send(b""), Err(MessageError::Full));
            let mut got = Vec::new();
            for _ in 0..2 {
                rx.try_recv(&mut got).unwrap();
                assert!(got == letter(most));
            }
            // So that the next ones begin elsewhere.
            cross(&mut tx, &mut rx, 0, granule_of::<K>());
        }
    }
}

fn in_a_ring_of_one_granule_a_message_may_fill_it() {
    let ring = mpmc::Ring::options().granule(4096).capacity(1).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    assert_eq!((tx.capacity(), tx.max_len()), (4096, 4096 - HEADER));
    for len in [0, 1, 4087, 4088, 0] {
        cross(&mut tx, &mut rx, len, 4096);
        tx.try_send(&letter(len)).unwrap();
        assert_eq!(tx.try_send(b""), Err(MessageError::Full));
        assert_eq!(rx.clear(), Ok(1));
    }
}

/// Every way to send, with as long a message.
fn refused_by_all<K: Messages>(tx: &mut messages::Sender<K>, len: usize) {
    let most = tx.max_len();
    let long = vec![7; len];
    let refused = MessageError::TooLarge { len, most };
    let now = Duration::ZERO;
    assert_eq!(tx.send(&long), Err(refused));
    assert_eq!(tx.try_send(&long), Err(refused));
    assert_eq!(tx.send_deadline(&long, now), Err(refused));
    let pieces = [IoSlice::new(&long[..1]), IoSlice::new(b""), IoSlice::new(&long[1..])];
    assert_eq!(tx.send_vectored(&pieces), Err(refused));
    assert_eq!(tx.send_vectored_deadline(&pieces, now), Err(refused));
    assert_eq!(tx.reserve(len).err(), Some(refused));
    assert_eq!(tx.try_reserve(len).err(), Some(refused));
    assert_eq!(tx.reserve_deadline(len, now).err(), Some(refused));
    let with: Result<(), MessageError> = tx.send_with(len, |_| panic!("there is room"));
    assert_eq!(with, Err(refused));
}

fn one_byte_more_than_the_longest_is_refused_before_anything_is_touched<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    cross(&mut tx, &mut rx, 100, granule_of::<K>());
    let (raw, most) = (Raw::of_file(&ring), tx.max_len());
    let untouched = |tx: &mut _| {
        let before = raw.copy();
        for len in [most + 1, most + granule_of::<K>(), PAGE, 10 * PAGE] {
            refused_by_all(tx, len);
        }
        assert!(raw.copy() == before, "the region has changed");
    };
    untouched(&mut tx);
    // Nor is it `Full`, or `Closed`, that is said first.
    tx.try_send(&vec![1; most]).unwrap();
    tx.try_send(&vec![2; most]).unwrap();
    untouched(&mut tx);
    drop(rx);
    untouched(&mut tx);
    for len in [usize::MAX, usize::MAX - HEADER, isize::MAX as usize] {
        let refused = Some(MessageError::TooLarge { len, most });
        assert_eq!(tx.reserve(len).err(), refused);
        assert_eq!(tx.try_reserve(len).err(), refused);
    }
    assert!(holds_two(&ring, most));
}

fn holds_two<K: Messages>(ring: &messages::Ring<K>, most: usize) -> bool {
    let mut rx = ring.receiver().unwrap();
    let mut got = Vec::new();
    [1, 2].iter().all(|&byte| rx.try_recv(&mut got).is_ok() && got == vec![byte; most])
}

/// Address space, which takes no memory until somebody looks into it.
#[cfg(target_pointer_width = "64")]
fn pieces_that_together_are_more_than_can_be_counted_are_too_large() {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    const LEN: usize = 1 << 45;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let zeros = unsafe { mmap_anonymous(std::ptr::null_mut(), LEN, ProtFlags::READ, flags) };
    let zeros = zeros.unwrap();
    {
        // SAFETY: the mapping is this long, may be read, and outlives the slice.
        let zeros = unsafe { std::slice::from_raw_parts(zeros.cast::<u8>(), LEN) };
        let pieces = vec![IoSlice::new(zeros); usize::MAX / LEN + 1];
        fn refuses<K: Carries>(pieces: &[IoSlice<'_>]) {
            let (mut tx, mut rx) = both_ends::<K>(PAGE);
            let refused = MessageError::TooLarge { len: usize::MAX, most: tx.max_len() };
            assert_eq!(tx.send_vectored(pieces), Err(refused));
            assert_eq!(tx.send_vectored_deadline(pieces, Duration::ZERO), Err(refused));
            assert_eq!(rx.try_recv(&mut Vec::new()), Err(MessageError::Empty));
        }
        refuses::<Spsc>(&pieces);
        refuses::<Mpmc>(&pieces);
    }
    // SAFETY: this mapping, into which nothing points any more.
    unsafe { munmap(zeros, LEN) }.unwrap();
}

#[cfg(not(target_pointer_width = "64"))]
fn pieces_that_together_are_more_than_can_be_counted_are_too_large() {
    let zeros = vec![0; 1 << 30];
    let pieces = [IoSlice::new(&zeros); 4];
    let (mut tx, _rx) = both_ends::<Spsc>(PAGE);
    let refused = MessageError::TooLarge { len: usize::MAX, most: tx.max_len() };
    assert_eq!(tx.send_vectored(&pieces), Err(refused));
}
