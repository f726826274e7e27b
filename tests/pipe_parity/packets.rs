//! What the kernel's pipes do with packets (`O_DIRECT`, at most [`PIPE_BUF`] bytes each), rings of
//! messages do: whole messages, of several writers and to several readers. And a [table](TABLE) of
//! what they do otherwise, each row with what shows it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ringpipe::messages::{self, Message, MpmcMessages, SpscMessages};
use ringpipe::{Kind, MessageError, Ring, Spsc};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat};

use super::like::reads_or_writes;
use super::of_each;
use super::support::{Child, Directory, Flavour, Me, Name, Rng, asleep, tests, until};

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

mod several {
    use super::*;

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
}

tests!(each_difference_of_the_table_of_packets_shows);

/// The most that the kernel writes as one.
const PIPE_BUF: usize = 4096;

/// A pipe of whole messages.
pub trait Packets: Sized + 'static {
    /// What children know it by.
    const KIND: &'static str;
    type Writer: Send + 'static;
    type Reader: Send + 'static;

    /// A new one, removed when dropped.
    fn make() -> Self;
    /// One that another process has made, and removes.
    fn of(name: &str) -> Self;
    fn name(&self) -> &str;

    /// Another end. A reader comes first.
    fn reader(&self) -> Self::Reader;
    fn writer(&self) -> Self::Writer;

    fn write(writer: &mut Self::Writer, message: &[u8], wait: bool) -> io::Result<()>;
    /// `None`: the end.
    fn read(reader: &mut Self::Reader, wait: bool) -> io::Result<Option<Vec<u8>>>;

    /// This thread waits within such a pipe.
    fn is_waiting(process: u32, thread: u32) -> bool;
}

/// The kernel's, with a name.
pub struct PacketFifo {
    path: PathBuf,
    _directory: Option<Directory>,
}

/// Opens it without waiting for the opposite end.
fn open_fifo(path: &Path, access: OFlags) -> File {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let end = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    // The file system need not know of this, the pipe does.
    fcntl_setfl(&end, flags | OFlags::DIRECT).unwrap();
    end.into()
}

/// What a call says that waits, or does not.
fn waiting_or_not<R>(file: &File, wait: bool, call: impl FnOnce(&File) -> R) -> R {
    let mut flags = fcntl_getfl(file).unwrap();
    flags.set(OFlags::NONBLOCK, !wait);
    fcntl_setfl(file, flags).unwrap();
    call(file)
}

impl Packets for PacketFifo {
    const KIND: &'static str = "packets";
    type Writer = File;
    type Reader = File;

    fn make() -> Self {
        let directory = Directory::new();
        let path = directory.join("packets");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        Self { path, _directory: Some(directory) }
    }

    fn of(name: &str) -> Self {
        Self { path: name.into(), _directory: None }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn reader(&self) -> File {
        open_fifo(&self.path, OFlags::RDONLY)
    }

    fn writer(&self) -> File {
        open_fifo(&self.path, OFlags::WRONLY)
    }

    fn write(writer: &mut File, message: &[u8], wait: bool) -> io::Result<()> {
        let written = waiting_or_not(writer, wait, |mut file| file.write(message))?;
        assert_eq!(written, message.len());
        Ok(())
    }

    fn read(reader: &mut File, wait: bool) -> io::Result<Option<Vec<u8>>> {
        let mut message = vec![0; PIPE_BUF];
        let len = waiting_or_not(reader, wait, |mut file| file.read(&mut message))?;
        message.truncate(len);
        Ok((len > 0).then_some(message))
    }

    fn is_waiting(process: u32, thread: u32) -> bool {
        reads_or_writes(process, thread)
    }
}

/// A ring of messages.
pub struct MessageRing<K: Kind> {
    name: String,
    ring: Ring<Message, K>,
    _remove: Option<Name>,
}

pub type SpscRing = MessageRing<SpscMessages>;
pub type MpmcRing = MessageRing<MpmcMessages>;

macro_rules! packets {
    ($kind:ty, $name:literal) => {
        impl Packets for MessageRing<$kind> {
            const KIND: &'static str = $name;
            type Writer = messages::Sender<$kind>;
            type Reader = messages::Receiver<$kind>;

            fn make() -> Self {
                let name = Name::new();
                let ring = Ring::<Message, $kind>::options().capacity(8 * PIPE_BUF);
                let ring = ring.create(&name).unwrap();
                Self { name: name.to_string(), ring, _remove: Some(name) }
            }

            fn of(name: &str) -> Self {
                let ring = Ring::<Message, $kind>::options().open(name).unwrap();
                Self { name: name.into(), ring, _remove: None }
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn reader(&self) -> Self::Reader {
                self.ring.receiver().unwrap()
            }

            fn writer(&self) -> Self::Writer {
                self.ring.sender().unwrap()
            }

            fn write(writer: &mut Self::Writer, message: &[u8], wait: bool) -> io::Result<()> {
                Ok(if wait { writer.send(message) } else { writer.try_send(message) }?)
            }

            fn read(reader: &mut Self::Reader, wait: bool) -> io::Result<Option<Vec<u8>>> {
                let mut message = Vec::new();
                let read = match wait {
                    true => reader.recv(&mut message),
                    false => reader.try_recv(&mut message),
                };
                match read {
                    Ok(()) => Ok(Some(message)),
                    Err(MessageError::Closed) => Ok(None),
                    Err(why) => Err(why.into()),
                }
            }

            fn is_waiting(process: u32, thread: u32) -> bool {
                asleep::for_long(process, thread)
            }
        }
    };
}
packets!(SpscMessages, "spsc-messages");
packets!(MpmcMessages, "mpmc-messages");

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

fn write_letters<P: Packets>(writer: &mut P::Writer, number: u32) {
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

struct Difference {
    what: &'static str,
    kernel: &'static str,
    here: &'static str,
    because: &'static str,
    shown: fn(),
}

const TABLE: &[Difference] = &[
    Difference {
        what: "a message that the reader's buffer is too small for",
        kernel: "cut off, and the rest is lost",
        here: "refused with its length, and kept",
        because: "nothing is lost unsaid",
        shown: too_small,
    },
    Difference {
        what: "a message of no bytes",
        kernel: "is none",
        here: "is one",
        because: "an end-of-file is told in another way than by nothing",
        shown: empty,
    },
    Difference {
        what: "a message of more than PIPE_BUF bytes",
        kernel: "becomes several",
        here: "is one, up to half of the ring; a longer one is refused",
        because: "what was sent as one is received as one, or not at all",
        shown: long,
    },
    Difference {
        what: "the room that a short message takes",
        kernel: "a page",
        here: "its length and eight bytes, rounded up to a granule",
        because: "pages are the kernel's unit, granules the ring's",
        shown: room,
    },
];

fn each_difference_of_the_table_of_packets_shows() {
    for Difference { what, kernel, here, because, shown } in TABLE {
        println!("{what}: {kernel}; here: {here}, because {because}"); // seen if the next fails
        shown();
    }
}

fn too_small() {
    let (_pipe, mut reader, mut writer) = pair::<PacketFifo>();
    writer.write_all(b"too long").unwrap();
    writer.write_all(b"next").unwrap();
    let mut into = [0; 4];
    assert_eq!(reader.read(&mut into).unwrap(), 4);
    assert_eq!(reader.read(&mut into).unwrap(), 4);
    assert_eq!(&into, b"next");

    let (_pipe, mut reader, mut writer) = pair::<MpmcRing>();
    writer.send(b"too long").unwrap();
    assert_eq!(reader.recv_into(&mut into), Err(MessageError::TooSmall { len: 8 }));
    assert_eq!(MpmcRing::read(&mut reader, true).unwrap().unwrap(), b"too long");
}

fn empty() {
    let (_pipe, mut reader, mut writer) = pair::<PacketFifo>();
    assert_eq!(writer.write(b"").unwrap(), 0);
    let none = PacketFifo::read(&mut reader, false).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);

    let (_pipe, mut reader, mut writer) = pair::<MpmcRing>();
    writer.send(b"").unwrap();
    assert_eq!(MpmcRing::read(&mut reader, false).unwrap().unwrap(), b"");
}

fn long() {
    let (_pipe, mut reader, mut writer) = pair::<PacketFifo>();
    writer.write_all(&[1; PIPE_BUF + 1]).unwrap();
    let lens = [(); 2].map(|()| PacketFifo::read(&mut reader, true).unwrap().unwrap().len());
    assert_eq!(lens, [PIPE_BUF, 1]);

    let (_pipe, mut reader, mut writer) = pair::<MpmcRing>();
    let most = writer.max_len();
    writer.send(&vec![1; most]).unwrap();
    assert_eq!(MpmcRing::read(&mut reader, true).unwrap().unwrap().len(), most);
    let refused = MpmcRing::write(&mut writer, &vec![1; most + 1], true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

fn room() {
    fn fits<P: Packets>(writer: &mut P::Writer) -> usize {
        (0..).find(|_| P::write(writer, b"x", false).is_err()).unwrap()
    }
    let (_pipe, _reader, mut writer) = pair::<PacketFifo>();
    let pages = rustix::pipe::fcntl_getpipe_size(&writer).unwrap() / PIPE_BUF;
    assert_eq!(fits::<PacketFifo>(&mut writer), pages);
    let (_pipe, _reader, mut writer) = pair::<MpmcRing>();
    assert_eq!(fits::<MpmcRing>(&mut writer), 8 * PIPE_BUF / 64);
}
