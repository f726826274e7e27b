//! What the kernel's pipes do with packets (`O_DIRECT`, at most [`PIPE_BUF`] bytes each), rings of
//! messages do: whole messages, of [several] writers and to several readers. And a
//! [table](differences) of what they do otherwise, each row with what shows it. What such a pipe
//! is, [`like`] says.

mod differences;
pub mod like;
mod several;

use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ringpipe::Spsc;

use super::of_each;
use super::support::{Child, Flavour, Me, until};
use like::{MpmcRing, PIPE_BUF, PacketFifo, Packets, SpscRing};
use several::write_letters;

of_each!([packets: PacketFifo, spsc_messages: SpscRing, mpmc_messages: MpmcRing], {
    crate::support::child::without_forks()
}, [
    what_was_written_as_one_is_read_as_one,
    a_read_waits_for_a_message_and_one_that_does_not_wait_is_told_so,
    a_write_waits_for_room_and_one_that_does_not_wait_is_in_whole_or_not_at_all,
    the_end_comes_after_everything,
    a_write_without_a_reader_is_a_broken_pipe,
    a_writer_that_waits_for_room_is_told_that_the_reader_has_gone,
]);

/// Those that start processes.
mod killed {
    use super::*;

    of_each!([packets: PacketFifo, spsc_messages: SpscRing, mpmc_messages: MpmcRing], (), [
        a_reader_that_waits_is_told_that_the_writer_was_killed,
    ]);
}

/// A role: writes what it is told.
pub fn writes_packets<K: Flavour>(me: Me) {
    fn play<P: Packets>(pipe: &P, mut me: Me) {
        let mut writer = pipe.writer();
        me.say("open");
        while let Some(order) = me.hear() {
            match order.split_once(' ') {
                Some(("letters", number)) => {
                    write_letters::<P>(&mut writer, number.parse().unwrap());
                    me.say("written");
                }
                Some(("one", text)) => {
                    P::write(&mut writer, text.as_bytes(), true).unwrap();
                    me.say("Ok");
                }
                _ => panic!("no such order: {order}"),
            }
        }
    }
    let given = me.ring.clone();
    match given.split_once(' ').unwrap() {
        (PacketFifo::KIND, path) => play(&PacketFifo::of(path), me),
        (SpscRing::KIND, name) => play(&SpscRing::of(name), me),
        (MpmcRing::KIND, name) => play(&MpmcRing::of(name), me),
        unknown => panic!("{unknown:?}"),
    }
}

fn writer_of<P: Packets>(pipe: &P) -> Child {
    let about = format!("{} {}", P::KIND, pipe.name());
    let mut child = Child::start::<Spsc>("writes_packets", &about);
    child.must_hear("open");
    child
}

/// Does it in a thread of its own, in which it soon waits within the pipe.
fn waiting<P: Packets, R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
        work()
    });
    let id = told.recv().unwrap();
    until("a thread that waits", || P::is_waiting(std::process::id(), id).then_some(()));
    thread
}

fn pair<P: Packets>() -> (P, P::Reader, P::Writer) {
    let pipe = P::make();
    let reader = pipe.reader();
    let writer = pipe.writer();
    (pipe, reader, writer)
}

/// Writes until there is no more room; how many messages that was.
fn fill<P: Packets>(writer: &mut P::Writer) -> usize {
    let mut count = 0;
    loop {
        match P::write(writer, &[7; PIPE_BUF], false) {
            Ok(()) => count += 1,
            Err(full) => {
                assert_eq!(full.kind(), ErrorKind::WouldBlock);
                return count;
            }
        }
    }
}

fn what_was_written_as_one_is_read_as_one<P: Packets>() {
    let (_pipe, mut reader, mut writer) = pair::<P>();
    let long = vec![b'l'; PIPE_BUF];
    for message in [&b"one"[..], b"2", &long, b"four"] {
        P::write(&mut writer, message, true).unwrap();
    }
    for message in [&b"one"[..], b"2", &long, b"four"] {
        assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), message);
    }
}

fn a_read_waits_for_a_message_and_one_that_does_not_wait_is_told_so<P: Packets>() {
    let (_pipe, mut reader, mut writer) = pair::<P>();
    assert_eq!(P::read(&mut reader, false).unwrap_err().kind(), ErrorKind::WouldBlock);
    let read = waiting::<P, _>(move || P::read(&mut reader, true).unwrap());
    P::write(&mut writer, b"at last", true).unwrap();
    assert_eq!(read.join().unwrap().unwrap(), b"at last");
}

fn a_write_waits_for_room_and_one_that_does_not_wait_is_in_whole_or_not_at_all<P: Packets>() {
    let (_pipe, mut reader, mut writer) = pair::<P>();
    let before = fill::<P>(&mut writer);
    let write = waiting::<P, _>(move || {
        P::write(&mut writer, &[8; PIPE_BUF], true).unwrap();
        writer
    });
    for _ in 0..before {
        assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), [7; PIPE_BUF]);
    }
    let _writer = write.join().unwrap();
    assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), [8; PIPE_BUF]);
    assert_eq!(P::read(&mut reader, false).unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn the_end_comes_after_everything<P: Packets>() {
    let (_pipe, mut reader, mut writer) = pair::<P>();
    P::write(&mut writer, b"a", true).unwrap();
    P::write(&mut writer, b"b", true).unwrap();
    drop(writer);
    assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), b"a");
    assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), b"b");
    for wait in [true, false, true] {
        assert_eq!(P::read(&mut reader, wait).unwrap(), None);
    }
}

fn a_write_without_a_reader_is_a_broken_pipe<P: Packets>() {
    let (_pipe, reader, mut writer) = pair::<P>();
    P::write(&mut writer, b"nobody will read this", true).unwrap();
    drop(reader);
    for wait in [true, false, true] {
        let broken = P::write(&mut writer, b"nor this", wait).unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    }
}

fn a_writer_that_waits_for_room_is_told_that_the_reader_has_gone<P: Packets>() {
    let (_pipe, reader, mut writer) = pair::<P>();
    fill::<P>(&mut writer);
    let write =
        waiting::<P, _>(move || P::write(&mut writer, &[8; PIPE_BUF], true).unwrap_err().kind());
    drop(reader);
    assert_eq!(write.join().unwrap(), ErrorKind::BrokenPipe);
}

fn a_reader_that_waits_is_told_that_the_writer_was_killed<P: Packets>() {
    let pipe = P::make();
    let mut reader = pipe.reader();
    let mut writer = writer_of(&pipe);
    writer.must("one last_words", "Ok");
    assert_eq!(P::read(&mut reader, true).unwrap().unwrap(), b"last_words");
    let read = waiting::<P, _>(move || P::read(&mut reader, true).unwrap());
    writer.kill();
    assert_eq!(read.join().unwrap(), None);
}
