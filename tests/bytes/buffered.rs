//! `Buffered`: what is shown stays in the ring until it is consumed.

use std::io::{BufRead, ErrorKind, Read, Write};

use ringpipe::bytes::{self, Buffered, Ring};

use super::support::noise::Noise;
use super::support::{Flavour, Me, Rng, rng, tests};
use super::{PAGE, child, new_pipe};

tests!(
    lines_of_all_sizes_are_read_whatever_the_buffer,
    what_was_shown_and_not_consumed_is_the_next_readers,
    what_a_killed_reader_was_shown_and_had_not_consumed_is_its_successors,
    the_reader_inside_goes_on_with_what_was_not_consumed,
    what_is_shown_stays_the_same_until_it_is_consumed,
    what_was_shown_can_be_consumed_when_the_writer_has_gone,
    no_more_is_consumed_than_was_shown,
    the_end_is_told_and_the_next_writer_is_read,
    nothing_is_lost_where_it_does_not_wait,
    where_what_is_not_released_is_dropped_what_was_shown_is_lost_with_its_reader,
    pieces_of_all_sizes_are_shown_across_the_rings_end,
);

fn lines_of_all_sizes_are_read_whatever_the_buffer() {
    let lines = ["", "a", "bc", "def", &"long ".repeat(2000), "", "without an end"];
    for capacity in [0, 1, 3, PAGE, 5 * PAGE] {
        let (mut tx, rx) = bytes::channel(PAGE).unwrap();
        let text = lines.join("\n");
        let writing = std::thread::spawn(move || tx.write_all(text.as_bytes()).unwrap());
        let read: Result<Vec<_>, _> = Buffered::with_capacity(capacity, rx).lines().collect();
        assert_eq!(read.unwrap(), lines);
        writing.join().unwrap();
    }
}

fn what_was_shown_and_not_consumed_is_the_next_readers() {
    let (_name, ring) = new_pipe(PAGE);
    ring.writer().unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
    for expected in ["one\n", "two\n", "three\n"] {
        let mut rx = Buffered::new(ring.reader().unwrap());
        let mut line = String::new();
        rx.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
        assert_eq!(ring.len(), rx.buffer().len(), "what is shown is there");
    }
    assert_eq!(ring.stats().received, 14);
    assert_eq!(ring.len(), 0);
}

fn what_a_killed_reader_was_shown_and_had_not_consumed_is_its_successors() {
    let (name, ring) = new_pipe(PAGE);
    let mut tx = ring.writer().unwrap();
    tx.write_all(b"one\ntwo\nthree\nfour\n").unwrap();
    for (expected, left) in [("one", 15), ("two", 11)] {
        let mut reader = child("reads_lines", &name);
        reader.must("line", expected);
        assert_eq!(ring.len(), left);
        reader.kill();
    }
    drop(tx);
    let mut rest = String::new();
    ring.reader().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "three\nfour\n");
}

/// A role: reads a line whenever it is told to, and says it. It was shown all that there is.
pub fn reads_lines<K: Flavour>(mut me: Me) {
    let mut rx = Buffered::new(Ring::options().open(&me.ring).unwrap().reader().unwrap());
    me.say("ready");
    while me.hear().is_some() {
        let mut line = String::new();
        rx.read_line(&mut line).unwrap();
        me.say(line.trim_end());
    }
}

fn the_reader_inside_goes_on_with_what_was_not_consumed() {
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    tx.write_all(b"head: body").unwrap();
    drop(tx);
    let mut rx = Buffered::new(rx);
    let mut head = Vec::new();
    rx.read_until(b' ', &mut head).unwrap();
    assert_eq!((&head[..], rx.buffer()), (&b"head: "[..], &b"body"[..]));
    assert_eq!(rx.get_ref().len(), 4);
    let mut body = String::new();
    rx.into_inner().read_to_string(&mut body).unwrap();
    assert_eq!(body, "body");
}

fn what_is_shown_stays_the_same_until_it_is_consumed() {
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    let mut rx = Buffered::new(rx);
    tx.write_all(b"abc").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"abc");
    tx.write_all(b"def").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"abc");
    rx.consume(1);
    assert_eq!(rx.fill_buf().unwrap(), b"bc");
    let mut two = [0; 2];
    rx.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"bc");
    assert_eq!(rx.fill_buf().unwrap(), b"def");
    assert_eq!(rx.get_ref().len(), 3);
}

fn what_was_shown_can_be_consumed_when_the_writer_has_gone() {
    let (_name, ring) = new_pipe(PAGE);
    let mut tx = ring.writer().unwrap();
    let mut rx = Buffered::new(ring.reader().unwrap());
    tx.write_all(b"abcdef").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"abcdef");
    tx.write_all(b"ghi").unwrap();
    drop(tx);
    rx.consume(4);
    assert_eq!(ring.len(), 5);
    drop(ring.writer().unwrap());
    rx.consume(2);
    let mut rest = String::new();
    rx.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "ghi");
}

fn no_more_is_consumed_than_was_shown() {
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    let mut rx = Buffered::with_capacity(3, rx);
    tx.write_all(b"abcdef").unwrap();
    rx.consume(1); // nothing was shown
    assert_eq!(rx.fill_buf().unwrap(), b"abc");
    rx.consume(0);
    rx.consume(usize::MAX);
    assert_eq!(rx.buffer(), b"");
    assert_eq!(rx.fill_buf().unwrap(), b"def");
}

fn the_end_is_told_and_the_next_writer_is_read() {
    let (_name, ring) = new_pipe(PAGE);
    let mut rx = Buffered::new(ring.reader().unwrap());
    for text in ["first", "second"] {
        ring.writer().unwrap().write_all(text.as_bytes()).unwrap();
        let mut all = String::new();
        rx.read_to_string(&mut all).unwrap();
        assert_eq!(all, text);
        assert_eq!(rx.fill_buf().unwrap(), b"");
    }
}

fn nothing_is_lost_where_it_does_not_wait() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    rx.set_nonblocking(true);
    let mut rx = Buffered::new(rx);
    assert_eq!(rx.fill_buf().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut line = Vec::new();
    for (piece, kind) in [("half ", Some(ErrorKind::WouldBlock)), ("a line\nand", None)] {
        tx.write_all(piece.as_bytes()).unwrap();
        assert_eq!(rx.read_until(b'\n', &mut line).err().map(|e| e.kind()), kind);
    }
    assert_eq!(line, b"half a line\n");
    assert_eq!(rx.buffer(), b"and");
}

fn where_what_is_not_released_is_dropped_what_was_shown_is_lost_with_its_reader() {
    let ring = Ring::options().drop_unreleased(true).create_anonymous().unwrap();
    let mut tx = ring.writer().unwrap();
    tx.write_all(b"abcdef").unwrap();
    let mut rx = Buffered::with_capacity(4, ring.reader().unwrap());
    assert_eq!(rx.fill_buf().unwrap(), b"abcd");
    rx.consume(1);
    drop(rx);
    let mut rest = [0; 6];
    assert_eq!(ring.reader().unwrap().read(&mut rest).unwrap(), 2);
    assert_eq!(&rest[..2], b"ef");
    let stats = ring.stats();
    assert_eq!((stats.dropped, stats.exhausted), (3, 0));
}

fn pieces_of_all_sizes_are_shown_across_the_rings_end() {
    let seed = rng::seed();
    println!("seed {seed}");
    let mut random = Rng::new(seed);
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    let mut rx = Buffered::with_capacity(700, rx);
    let (mut sent, mut expected) = (Noise::new(seed), Noise::new(seed));
    let (mut inside, mut shown) = (0, 0);
    for _ in 0..5_000 {
        let piece = random.within(0..1 + (PAGE - inside) as u64) as usize;
        tx.write_all(&sent.take_vec(piece)).unwrap();
        inside += piece;
        if inside == 0 {
            continue;
        }
        let there = rx.fill_buf().unwrap();
        assert!(there.len() >= shown && there.len() <= inside);
        let amount = random.within(0..1 + there.len() as u64) as usize;
        assert!(there[..amount] == expected.take_vec(amount));
        shown = there.len() - amount;
        rx.consume(amount);
        inside -= amount;
        assert_eq!(rx.get_ref().len(), inside);
    }
}
