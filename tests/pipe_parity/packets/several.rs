//! Several writers, and several readers.

use std::collections::BTreeMap;

use super::*;
use crate::support::Rng;

of_each!([packets: PacketFifo, messages: MpmcRing], (), [
    small_writes_of_several_processes_do_not_mix,
    a_killed_writer_is_not_the_end_while_others_write,
]);

mod by_threads {
    use super::*;

    of_each!([packets: PacketFifo, messages: MpmcRing], {
        crate::support::child::without_forks()
    }, [
        small_writes_of_several_writers_do_not_mix_and_each_ones_order_is_kept,
        the_end_comes_after_the_last_of_several_writers,
        the_pipe_is_broken_for_every_writer_when_the_last_reader_has_gone,
        each_message_goes_to_one_of_several_readers,
    ]);
}

fn small_writes_of_several_writers_do_not_mix_and_each_ones_order_is_kept<P: Packets>() {
    let pipe = P::make();
    let mut reader = pipe.reader();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let mut writer = pipe.writer();
            thread::spawn(move || write_letters::<P>(&mut writer, number))
        })
        .collect();
    let letters = std::iter::from_fn(|| P::read(&mut reader, true).unwrap());
    assert_letters(letters.take(4 * LETTERS as usize), 4);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(P::read(&mut reader, true).unwrap(), None);
}

fn small_writes_of_several_processes_do_not_mix<P: Packets>() {
    let pipe = P::make();
    let mut reader = pipe.reader();
    let mut writers: Vec<_> = (0..3).map(|_| writer_of(&pipe)).collect();
    for (number, writer) in writers.iter_mut().enumerate() {
        writer.say(&format!("letters {number}"));
    }
    let letters = std::iter::from_fn(|| P::read(&mut reader, true).unwrap());
    assert_letters(letters.take(3 * LETTERS as usize), 3);
    for mut writer in writers {
        writer.must_hear("written");
        writer.finish();
    }
    assert_eq!(P::read(&mut reader, true).unwrap(), None);
}

fn the_end_comes_after_the_last_of_several_writers<P: Packets>() {
    let pipe = P::make();
    let mut reader = pipe.reader();
    let mut writers: Vec<_> = (0..3).map(|_| pipe.writer()).collect();
    while let Some(mut writer) = writers.pop() {
        P::write(&mut writer, b"farewell", true).unwrap();
        drop(writer);
        assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), b"farewell");
        match P::read(&mut reader, false) {
            Ok(None) => assert!(writers.is_empty()),
            other => {
                assert_eq!(other.unwrap_err().kind(), ErrorKind::WouldBlock);
                assert!(!writers.is_empty());
            }
        }
    }
}

fn the_pipe_is_broken_for_every_writer_when_the_last_reader_has_gone<P: Packets>() {
    let pipe = P::make();
    let readers = [pipe.reader(), pipe.reader()];
    let mut writers = [pipe.writer(), pipe.writer()];
    for reader in readers {
        for writer in &mut writers {
            P::write(writer, b"there is one yet", false).unwrap();
        }
        drop(reader);
    }
    for writer in &mut writers {
        for wait in [false, true] {
            let broken = P::write(writer, b"x", wait).unwrap_err();
            assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        }
    }
}

fn each_message_goes_to_one_of_several_readers<P: Packets>() {
    let pipe = P::make();
    let readers = [pipe.reader(), pipe.reader(), pipe.reader()];
    let mut writer = pipe.writer();
    let readers = readers.map(|mut reader| {
        thread::spawn(move || {
            let next = || P::read(&mut reader, true).unwrap();
            std::iter::from_fn(next).collect::<Vec<_>>()
        })
    });
    write_letters::<P>(&mut writer, 0);
    drop(writer);
    let read = readers.into_iter().flat_map(|reader| reader.join().unwrap());
    let mut letters: Vec<_> = read.collect();
    letters.sort_by_key(|letter| number_of(letter));
    assert_letters(letters.into_iter(), 1);
}

fn a_killed_writer_is_not_the_end_while_others_write<P: Packets>() {
    let pipe = P::make();
    let mut reader = pipe.reader();
    let (mut first, mut second) = (writer_of(&pipe), writer_of(&pipe));
    first.must("one last_words", "Ok");
    first.kill();
    assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), b"last_words");
    assert_eq!(P::read(&mut reader, false).unwrap_err().kind(), ErrorKind::WouldBlock);
    second.must("one going_on", "Ok");
    assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), b"going_on");
    second.kill();
    assert_eq!(P::read(&mut reader, true).unwrap(), None);
}

/// How many letters each writer writes.
const LETTERS: u32 = 2000;

/// Letter `number` of `writer`, which says so, and consists of nothing else.
fn letter(writer: u32, number: u32) -> Vec<u8> {
    let mut rng = Rng::new(u64::from(writer) << 32 | u64::from(number));
    let longest = rng.pick(&[1, 20, 500]);
    let times = rng.within(0..longest) as usize + 1;
    [writer, number].map(u32::to_le_bytes).concat().repeat(times)
}

fn number_of(letter: &[u8]) -> (u32, u32) {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| letter[at + i]));
    (word(0), word(4))
}

pub fn write_letters<P: Packets>(writer: &mut P::Writer, number: u32) {
    for i in 0..LETTERS {
        P::write(writer, &letter(number, i), true).unwrap();
    }
}

/// Each is whole, all are there, and those of each writer are in order.
fn assert_letters(letters: impl Iterator<Item = Vec<u8>>, writers: u32) {
    let mut next: BTreeMap<u32, u32> = BTreeMap::new();
    for found in letters {
        let (writer, number) = number_of(&found);
        assert!(found == letter(writer, number), "{writer} {number}: mixed, or cut");
        let next = next.entry(writer).or_default();
        assert_eq!(number, *next, "of writer {writer}");
        *next += 1;
    }
    assert_eq!(next, (0..writers).map(|writer| (writer, LETTERS)).collect());
}
