//! What pipes do alike that other processes can open.

use std::io::{ErrorKind, Read, Write};

use ringpipe::Spsc;

use super::like::{BytePipe, CAPACITY, Fifo, Named};
use super::of_each;
use super::support::noise::{Digest, Noise};
use super::support::{Child, Flavour, Me};

of_each!([fifo: Fifo, byte_pipe: BytePipe], (), [
    a_writer_and_a_reader_in_two_processes,
    the_next_writer_goes_on_where_the_first_has_ended,
    writers_come_and_go_while_the_reader_stays,
    what_a_killed_writer_has_written_is_read_and_then_the_end_comes,
    a_killed_reader_is_a_broken_pipe_for_a_writer_that_waits,
]);

/// A child that has this pipe open, by the role's name.
pub fn child<P: Named>(role: &str, pipe: &P) -> Child {
    Child::start::<Spsc>(role, &format!("{} {}", P::KIND, pipe.name()))
}

/// Calls `play` with the pipe that a [`child`] was given.
macro_rules! with_its_pipe {
    ($play:ident, $me:ident) => {{
        let given = $me.ring.clone();
        match given.split_once(' ').unwrap() {
            (Fifo::KIND, path) => $play(Fifo::of(path), $me),
            (BytePipe::KIND, name) => $play(BytePipe::of(name), $me),
            unknown => panic!("{unknown:?}"),
        }
    }};
}
pub(crate) use with_its_pipe;

/// A role: "SEED LENGTH" writes so much noise, and says how it went.
pub fn writes<K: Flavour>(me: Me) {
    fn play(pipe: impl Named, mut me: Me) {
        let mut writer = pipe.writer();
        me.say("open");
        while let Some(order) = me.hear() {
            let (seed, len) = order.split_once(' ').unwrap();
            let mut noise = Noise::new(seed.parse().unwrap()).take(len.parse().unwrap());
            match std::io::copy(&mut noise, &mut writer) {
                Ok(len) => me.say(len),
                Err(e) => me.say(format_args!("{:?}", e.kind())),
            }
        }
    }
    with_its_pipe!(play, me);
}

/// A role: reads to the end, as often as it is told to, and says what that was; "some LENGTH" reads
/// so much.
pub fn reads<K: Flavour>(me: Me) {
    fn play(pipe: impl Named, mut me: Me) {
        let mut reader = pipe.reader();
        me.say("open");
        while let Some(order) = me.hear() {
            let most = order.split_once(' ').map_or(u64::MAX, |(_, len)| len.parse().unwrap());
            me.say(Digest::of(reader.by_ref().take(most)).unwrap());
        }
    }
    with_its_pipe!(play, me);
}

fn noise(seed: u64, len: usize) -> String {
    Digest::of(Noise::new(seed).take(len as u64)).unwrap()
}

/// A writer and a reader, both children: each may wait for the other to open.
fn both<P: Named>(pipe: &P) -> (Child, Child) {
    let (mut writer, mut reader) = (child("writes", pipe), child("reads", pipe));
    writer.must_hear("open");
    reader.must_hear("open");
    (writer, reader)
}

fn a_writer_and_a_reader_in_two_processes<P: Named>() {
    let pipe = P::make();
    let (mut writer, mut reader) = both(&pipe);
    let len = 3_000_001;
    reader.say("all");
    writer.must(&format!("5 {len}"), &len.to_string());
    writer.finish();
    reader.must_hear(&noise(5, len));
    reader.finish();
}

/// As with a FIFO that is opened again.
fn the_next_writer_goes_on_where_the_first_has_ended<P: Named>() {
    let pipe = P::make();
    let (mut writer, mut reader) = both(&pipe);
    for seed in 0..3 {
        writer.must(&format!("{seed} 1000"), "1000");
        writer.finish();
        reader.must("all", &noise(seed, 1000));
        writer = child("writes", &pipe);
        writer.must_hear("open");
    }
    reader.finish();
    writer.must("9 1", "BrokenPipe");
    writer.finish();
}

/// What one leaves and what the next writes are one stream, if nobody has read in between.
fn writers_come_and_go_while_the_reader_stays<P: Named>() {
    let pipe = P::make();
    let (mut first, mut reader) = both(&pipe);
    first.must("1 1000", "1000");
    first.finish();
    let mut second = child("writes", &pipe);
    second.must_hear("open");
    second.must("2 1000", "1000");
    let all = Noise::new(1).take(1000).chain(Noise::new(2).take(1000));
    reader.must("some 2000", &Digest::of(all).unwrap());
    second.finish();
    reader.must("all", &noise(0, 0));
    reader.finish();
}

fn what_a_killed_writer_has_written_is_read_and_then_the_end_comes<P: Named>() {
    let pipe = P::make();
    let (mut writer, mut reader) = both(&pipe);
    writer.must(&format!("6 {CAPACITY}"), &CAPACITY.to_string());
    writer.kill();
    reader.must("all", &noise(6, CAPACITY));
    reader.finish();
}

fn a_killed_reader_is_a_broken_pipe_for_a_writer_that_waits<P: Named>() {
    let pipe = P::make();
    let mut reader = child("reads", &pipe);
    let mut writer = pipe.writer();
    reader.must_hear("open");
    writer.write_all(&[0; CAPACITY]).unwrap();
    reader.kill();
    assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}
