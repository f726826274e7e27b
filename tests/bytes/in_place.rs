//! Bytes written and read where they lie: always in one piece, also across the ring's end.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringpipe::bytes::{self, Reader, Ring, Writer};
use ringpipe::{BulkError, ReadRun, WriteRun};

use super::PAGE;
use super::support::noise::Noise;
use super::support::{Rng, rng, tests};

tests!(
    a_run_is_in_one_piece_wherever_it_begins,
    both_views_are_one_memory_for_every_opening,
    a_run_is_committed_or_released_in_whole_or_in_part_or_not_at_all,
    what_is_out_of_a_runs_range_panics_and_harms_nothing,
    a_run_of_nothing_is_empty,
    no_more_is_claimed_than_there_is,
    every_way_to_write_and_every_way_to_read_make_one_stream,
);

/// Both ends of an empty pipe of a page whose next byte lies at this offset.
fn at(offset: usize) -> (Writer, Reader) {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.write_all(&vec![0; offset]).unwrap();
    rx.read_exact(&mut vec![0; offset]).unwrap();
    (tx, rx)
}

/// SAFETY, here and below: the pipes are anonymous and this process's alone, which does not fork.
fn borrowed<'a>(run: &'a ReadRun<'_, u8, ringpipe::Bytes>) -> &'a [u8] {
    // SAFETY: see above.
    unsafe { run.as_slice() }
}

fn borrowed_mut<'a>(run: &'a mut WriteRun<'_, u8, ringpipe::Bytes>) -> &'a mut [u8] {
    // SAFETY: see above.
    unsafe { run.as_mut_slice() }
}

fn a_run_is_in_one_piece_wherever_it_begins() {
    for offset in [0, 1, 63, 64, 2048, PAGE - 1] {
        let (mut tx, mut rx) = at(offset);
        let bytes = Noise::new(offset as u64).take_vec(PAGE);
        let mut run = tx.claim(PAGE).unwrap();
        assert_eq!((run.len(), borrowed_mut(&mut run).len()), (PAGE, PAGE));
        borrowed_mut(&mut run)[..PAGE / 2].copy_from_slice(&bytes[..PAGE / 2]);
        run.write_slice(PAGE / 2, &bytes[PAGE / 2..]);
        run.commit_all();
        let run = rx.claim(PAGE).unwrap();
        assert!(borrowed(&run) == bytes, "{offset}");
        let mut copy = vec![0; PAGE - 10];
        run.read_slice(10, &mut copy);
        assert!(copy == bytes[10..], "{offset}");
        assert!(run.iter().eq(bytes.iter().copied()), "{offset}");
        assert_eq!(run.get(PAGE - 1), bytes.last().copied());
        run.release_all();
        assert!(rx.is_empty());
    }
}

/// Two mappings of two views each: whoever writes to one writes to all.
fn both_views_are_one_memory_for_every_opening() {
    let ring = Ring::options().capacity(2 * PAGE).create_anonymous().unwrap();
    let other = Ring::options().from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let (mut tx, mut rx) = (ring.writer().unwrap(), other.reader().unwrap());
    let mut noise = Noise::new(1);
    for len in [PAGE, 2 * PAGE, 100, 2 * PAGE - 1, 2 * PAGE] {
        let bytes = noise.take_vec(len);
        let mut run = tx.claim(len).unwrap();
        borrowed_mut(&mut run).copy_from_slice(&bytes);
        run.commit_all();
        let run = rx.claim(len).unwrap();
        assert!(borrowed(&run) == bytes, "{len}");
        run.release_all();
    }
}

fn a_run_is_committed_or_released_in_whole_or_in_part_or_not_at_all() {
    let (mut tx, mut rx) = at(PAGE - 2);
    let mut run = tx.claim(5).unwrap();
    run.write_slice(0, b"abcde");
    run.commit(3);
    let mut run = tx.claim(5).unwrap();
    run.write_slice(0, b"DEFGH"); // where "de" was
    run.abandon();
    assert_eq!(rx.len(), 3);
    tx.write_all(b"xyz").unwrap();

    let run = rx.claim(9).unwrap();
    assert_eq!((borrowed(&run), run.redelivered()), (&b"abcxyz"[..], 0));
    run.release(2);
    let run = rx.claim(9).unwrap();
    assert_eq!((borrowed(&run), run.redelivered()), (&b"cxyz"[..], 4));
    run.abandon();
    let mut into = [0; 9];
    assert_eq!(rx.read(&mut into).unwrap(), 4);
    assert_eq!(&into[..4], b"cxyz");
}

fn what_is_out_of_a_runs_range_panics_and_harms_nothing() {
    let panics = |what: &mut dyn FnMut()| {
        let panic = catch_unwind(AssertUnwindSafe(what)).expect_err("out of range");
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(said.contains("of a run of 10"), "{said}");
    };
    let (mut tx, mut rx) = at(PAGE - 3);
    let ranges = [(0, 11), (1, 10), (10, 1), (11, 0), (usize::MAX, 1), (usize::MAX, 0)];
    for (at, len) in ranges {
        let mut run = tx.claim(10).unwrap();
        panics(&mut || run.write_slice(at, &vec![1; len]));
    }
    panics(&mut || tx.claim(10).unwrap().commit(11));
    panics(&mut || tx.claim(10).unwrap().write(10, 1));
    assert_eq!(rx.len(), 0, "nothing was published");
    tx.write_all(b"0123456789").unwrap();
    for (at, len) in ranges {
        let run = rx.claim(10).unwrap();
        panics(&mut || run.read_slice(at, &mut vec![0; len]));
    }
    panics(&mut || rx.claim(10).unwrap().release(11));
    let run = rx.claim(10).unwrap();
    assert_eq!((run.get(10), borrowed(&run)), (None, &b"0123456789"[..]));
}

fn a_run_of_nothing_is_empty() {
    let (mut tx, mut rx) = at(PAGE - 3);
    let mut run = tx.claim(0).unwrap();
    assert!(run.is_empty() && borrowed_mut(&mut run).is_empty());
    run.write_slice(0, &[]);
    run.commit_all();
    let run = rx.claim(0).unwrap(); // though there is nothing, it does not wait
    assert!(run.is_empty() && borrowed(&run).is_empty());
    run.read_slice(0, &mut []);
    run.release_all();
    assert!(rx.is_empty());
}

fn no_more_is_claimed_than_there_is() {
    let (mut tx, mut rx) = at(5);
    assert_eq!(tx.claim(usize::MAX).unwrap().len(), PAGE);
    tx.claim(PAGE - 7).unwrap().commit_all();
    assert_eq!(tx.claim(usize::MAX).unwrap().len(), 7);
    assert_eq!(rx.claim(usize::MAX).unwrap().len(), PAGE - 7);
    let most = Err(BulkError::TooLong { len: PAGE + 1, most: PAGE });
    assert_eq!(tx.try_send_exact(&[0; PAGE + 1]), most);
    assert_eq!(rx.try_recv_exact(&mut [0; PAGE + 1]), most);
    assert_eq!(tx.try_send_exact(&[0; 8]), Err(BulkError::Full));
}

fn every_way_to_write_and_every_way_to_read_make_one_stream() {
    let seed = rng::seed();
    println!("seed {seed}");
    let mut random = Rng::new(seed);
    let mut noise = Noise::new(seed);
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    let mut inside = VecDeque::new();
    for _ in 0..20_000 {
        if random.percent(50) {
            let len = size(&mut random, PAGE - inside.len());
            let bytes = noise.take_vec(len);
            write(&mut tx, &bytes, &mut random);
            inside.extend(bytes);
        } else {
            let len = size(&mut random, inside.len());
            let expected: Vec<u8> = inside.drain(..len).collect();
            assert!(read(&mut rx, len, &mut random) == expected, "another stream");
        }
        assert_eq!(tx.len(), inside.len());
    }
}

fn size(random: &mut Rng, most: usize) -> usize {
    let small = most.min(20) as u64;
    let most = random.pick(&[small, most as u64]);
    random.within(0..most + 1) as usize
}

fn write(tx: &mut Writer, bytes: &[u8], random: &mut Rng) {
    let (one, other) = bytes.split_at(size(random, bytes.len()));
    match random.within(0..8) {
        0 => assert_eq!(tx.write(bytes).unwrap(), bytes.len()),
        1 => {
            let both = [IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(other)];
            assert_eq!(tx.write_vectored(&both).unwrap(), bytes.len());
        }
        2 => tx.try_send_exact(bytes).unwrap(),
        3 => bytes.iter().for_each(|&byte| tx.try_send(byte).unwrap()),
        4 => {
            let mut run = tx.claim(bytes.len()).unwrap();
            run.write_slice(one.len(), other);
            run.write_slice(0, one);
            run.commit_all();
        }
        5 => {
            let mut run = tx.claim(bytes.len()).unwrap();
            borrowed_mut(&mut run).copy_from_slice(bytes);
            run.commit(one.len());
            let mut run = tx.claim(other.len()).unwrap();
            other.iter().enumerate().for_each(|(at, &byte)| run.write(at, byte));
            run.commit_all();
        }
        6 => {
            let (from, mut to) = std::io::pipe().unwrap();
            to.write_all(bytes).unwrap();
            drop(to);
            // No more: that there is none would be found out by a read that needs room.
            let all = bytes.len() as u64;
            assert_eq!(tx.read_from(from, all).unwrap(), all);
        }
        _ => assert_eq!(tx.send_all(bytes), Ok(())),
    }
}

fn read(rx: &mut Reader, len: usize, random: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let (one, other) = bytes.split_at_mut(size(random, len));
    match random.within(0..7) {
        0 => assert_eq!(rx.read(&mut bytes).unwrap(), len),
        1 => {
            let mut both = [IoSliceMut::new(one), IoSliceMut::new(&mut []), IoSliceMut::new(other)];
            assert_eq!(rx.read_vectored(&mut both).unwrap(), len);
        }
        2 => rx.try_recv_exact(&mut bytes).unwrap(),
        3 => bytes.iter_mut().for_each(|byte| *byte = rx.try_recv().unwrap()),
        4 => {
            let run = rx.claim(len).unwrap();
            run.read_slice(one.len(), other);
            run.read_slice(0, one);
            run.release_all();
        }
        5 => {
            let run = rx.claim(len).unwrap();
            one.copy_from_slice(&borrowed(&run)[..one.len()]);
            run.release(one.len());
            let run = rx.claim(other.len()).unwrap();
            run.iter().zip(other).for_each(|(byte, into)| *into = byte);
            run.release_all();
        }
        _ => {
            let (mut from, to) = std::io::pipe().unwrap();
            assert_eq!(rx.write_to(to, len as u64).unwrap(), len as u64);
            from.read_exact(&mut bytes).unwrap();
        }
    }
    bytes
}
