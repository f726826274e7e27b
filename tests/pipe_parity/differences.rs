//! In what a byte pipe differs from the kernel's, and why. Each row of [`TABLE`] has what shows it,
//! on both sides.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;

use ringpipe::{AttachError, Ending, bytes};

use super::like::{BytePipe, CAPACITY, Fifo, KernelPipe, Named, PAGE, PipeLike};
use super::processes::{child, with_its_pipe};
use super::support::child::without_forks;
use super::support::puppet::{count_signals, signals};
use super::support::{Child, Flavour, LONG_INTERVAL, Me, tests, until};

tests!(each_difference_of_the_table_shows);

pub struct Difference {
    pub what: &'static str,
    pub kernel: &'static str,
    pub here: &'static str,
    pub because: &'static str,
    pub shown: fn(),
}

pub fn show(table: &[Difference]) {
    for Difference { what, kernel, here, because, shown } in table {
        println!("{what}: {kernel}; here: {here}, because {because}"); // seen if the next fails
        shown();
    }
}

const TABLE: &[Difference] = &[
    Difference {
        what: "how many writers and readers there are",
        kernel: "any number at a time",
        here: "one of each; another is refused until it has gone",
        because: "one of each needs no lock and no compare-and-swap",
        shown: one_of_each,
    },
    Difference {
        what: "the signal of a broken pipe",
        kernel: "SIGPIPE kills who has not asked for the error instead",
        here: "the error alone",
        because: "a library sends nobody signals",
        shown: no_signal,
    },
    Difference {
        what: "when the death of a peer is known",
        kernel: "as soon as the kernel has closed its descriptors",
        here: "at the next look, an interval later at the most",
        because: "nobody tells: the survivor asks the kernel's locks, which is a system call",
        shown: death_after_an_interval,
    },
    Difference {
        what: "how the other end has gone",
        kernel: "not told",
        here: "whether it closed or died, by `ending`",
        because: "a stream that was cut off is not a stream that has ended",
        shown: endings_are_told,
    },
    Difference {
        what: "what is unread when both ends have gone",
        kernel: "lost",
        here: "there for the next reader",
        because: "a ring is memory with a name, or a file",
        shown: what_is_unread_stays,
    },
    Difference {
        what: "a writer before there is a reader",
        kernel: "waits in `open`, or is refused there",
        here: "opens and writes, as much as fits, and then waits",
        because: "programs may start in any order, and the ring is there already",
        shown: writing_before_there_is_a_reader,
    },
    Difference {
        what: "a reader before there is a writer",
        kernel: "waits in `open`, or reads an end-of-file that is none",
        here: "waits in `read` for the first to come",
        because: "as above",
        shown: reading_before_there_is_a_writer,
    },
    Difference {
        what: "the end-of-file, to a reader that comes after it was told",
        kernel: "told to each",
        here: "told once; the next reader waits for the next writer",
        because: "the ring outlives its writers: yesterday's end is not today's",
        shown: the_end_is_told_once,
    },
    Difference {
        what: "when there is room again",
        kernel: "when a page of it was read to its end",
        here: "by the byte",
        because: "the kernel's is a ring of pages, ours one of bytes",
        shown: room_by_the_byte,
    },
    Difference {
        what: "a small write (PIPE_BUF, 4 KiB) that does not wait",
        kernel: "goes in whole or not at all",
        here: "takes what fits",
        because: "there is one writer, whose bytes cannot mix with others'",
        shown: small_writes_in_part,
    },
    Difference {
        what: "a signal during a call that waits",
        kernel: "the call is `Interrupted`",
        here: "the call goes on; to end it there is a `Canceller`",
        because: "C11",
        shown: signals_do_not_show,
    },
];

fn each_difference_of_the_table_shows() {
    show(TABLE);
}

fn byte() -> [u8; 1] {
    [0]
}

fn one_of_each() {
    let (mut writer, mut reader) = KernelPipe::pair();
    let (mut other, mut another) = (writer.try_clone().unwrap(), reader.try_clone().unwrap());
    writer.write_all(b"a").unwrap();
    drop(writer);
    other.write_all(b"b").unwrap();
    assert_eq!(reader.read(&mut byte()).unwrap() + another.read(&mut byte()).unwrap(), 2);

    let pipe = BytePipe::make();
    let ring = bytes::Ring::options().open(pipe.name()).unwrap();
    let ends = (ring.writer().unwrap(), ring.reader().unwrap());
    let taken = |refused: Result<(), _>| matches!(refused, Err(AttachError::RoleTaken { .. }));
    assert!(taken(ring.writer().map(drop)) && taken(ring.reader().map(drop)));
    drop(ends);
    assert!(ring.writer().is_ok() && ring.reader().is_ok());
}

/// A role: writes to a pipe without a reader, and says how that went.
pub fn breaks_a_pipe_with_the_signal_on<K: Flavour>(me: Me) {
    fn play<P: Named>(_: P, mut me: Me) {
        // SAFETY: installs the default disposition, no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (mut writer, reader) = P::pair();
        drop(reader);
        me.say(format_args!("{:?}", writer.write(b"x").unwrap_err().kind()));
        me.hear();
    }
    with_its_pipe!(play, me);
}

fn no_signal() {
    let role = "breaks_a_pipe_with_the_signal_on";
    let (kernels, ours) = (Fifo::make(), BytePipe::make());
    assert_eq!(child(role, &kernels).wait().signal(), Some(libc::SIGPIPE));
    let mut ours = child(role, &ours);
    ours.must_hear("BrokenPipe");
    ours.finish();
}

fn death_after_an_interval() {
    fn killed<P: Named>(reader: impl FnOnce(&P) -> P::Reader) -> P::Reader {
        let pipe = P::make();
        let reader = reader(&pipe);
        let mut writer = child("writes", &pipe);
        writer.must_hear("open");
        writer.kill();
        reader
    }
    let mut reader = killed::<Fifo>(Fifo::reader_alone);
    assert_eq!(reader.read(&mut byte()).unwrap(), 0);

    let mut reader = killed::<BytePipe>(|pipe| {
        let mut reader = pipe.reader_alone();
        reader.set_liveness_interval(LONG_INTERVAL);
        reader
    });
    assert_eq!(reader.read(&mut byte()).unwrap_err().kind(), ErrorKind::WouldBlock);
    reader.set_liveness_interval(std::time::Duration::from_millis(1));
    until("the end-of-file after a death", || reader.read(&mut byte()).ok());
}

fn endings_are_told() {
    let pipe = BytePipe::make();
    let mut reader = pipe.reader();
    for (kill, how) in [(false, Ending::Closed), (true, Ending::Died(1))] {
        let mut writer = child("writes", &pipe);
        writer.must_hear("open");
        if kill {
            writer.kill()
        } else {
            writer.finish()
        }
        assert_eq!(reader.read(&mut byte()).unwrap(), 0);
        assert_eq!(reader.ending(), Some(how));
    }
}

/// What a reader finds that is opened when those who wrote "x" have gone.
fn left_by<P: Named>(pipe: &P) -> std::io::Result<usize> {
    let _closes_at_once = without_forks();
    let (reader, mut writer) = (pipe.reader_alone(), pipe.writer());
    writer.write_all(b"x").unwrap();
    drop((reader, writer));
    pipe.reader_alone().read(&mut byte())
}

fn what_is_unread_stays() {
    assert_eq!(left_by(&Fifo::make()).unwrap(), 0);
    assert_eq!(left_by(&BytePipe::make()).unwrap(), 1);
}

fn writing_before_there_is_a_reader() {
    let refused = Fifo::make().writer_alone().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENXIO));

    let pipe = BytePipe::make();
    let mut writer = pipe.writer_alone().unwrap();
    assert_eq!(writer.write(&[1; CAPACITY + 1]).unwrap(), CAPACITY);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(writer);
    pipe.reader().read_exact(&mut [0; CAPACITY]).unwrap();
}

fn reading_before_there_is_a_writer() {
    assert_eq!(Fifo::make().reader_alone().read(&mut byte()).unwrap(), 0);
    let refused = BytePipe::make().reader_alone().read(&mut byte()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
}

fn the_end_is_told_once() {
    fn second_reader<P: Named>(pipe: &P) -> std::io::Result<usize> {
        let _closes_at_once = without_forks();
        let (mut reader, writer) = (pipe.reader_alone(), pipe.writer());
        drop(writer);
        assert_eq!(reader.read(&mut byte()).unwrap(), 0);
        drop(reader);
        pipe.reader_alone().read(&mut byte())
    }
    assert_eq!(second_reader(&Fifo::make()).unwrap(), 0);
    let refused = second_reader(&BytePipe::make()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
}

/// What a full pipe says to a byte more when one was read.
fn write_after_a_byte_was_read<P: PipeLike>() -> std::io::Result<usize> {
    let (mut writer, mut reader) = P::pair();
    writer.write_all(&[0; CAPACITY]).unwrap();
    reader.read_exact(&mut byte()).unwrap();
    P::set_writer_nonblocking(&mut writer, true);
    writer.write(b"x")
}

fn room_by_the_byte() {
    let refused = write_after_a_byte_was_read::<KernelPipe>().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert_eq!(write_after_a_byte_was_read::<BytePipe>().unwrap(), 1);
}

/// What a pipe that has a page free, but for ten bytes, says to a page.
fn write_a_page_into_less<P: PipeLike>() -> std::io::Result<usize> {
    let (mut writer, _reader) = P::pair();
    P::set_writer_nonblocking(&mut writer, true);
    writer.write_all(&[0; CAPACITY - PAGE + 10]).unwrap();
    writer.write(&[0; PAGE])
}

fn small_writes_in_part() {
    let refused = write_a_page_into_less::<KernelPipe>().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert_eq!(write_a_page_into_less::<BytePipe>().unwrap(), PAGE - 10);
}

/// A role: waits for a byte while it is sent signals, and says what came, and whether signals did.
pub fn is_interrupted<K: Flavour>(me: Me) {
    fn play(pipe: impl Named, mut me: Me) {
        count_signals();
        let mut reader = pipe.reader();
        me.say("open");
        me.hear();
        let read = reader.read(&mut byte()).map_err(|e| e.kind());
        me.say(format_args!("{read:?} {}", signals() > 0));
        me.hear();
    }
    with_its_pipe!(play, me);
}

fn signals_do_not_show() {
    fn reader<P: Named>(pipe: &P) -> (Child, P::Writer) {
        let mut reader = child("is_interrupted", pipe);
        let writer = pipe.writer();
        reader.must_hear("open");
        reader.say("read");
        let sleeps = || P::is_waiting(reader.pid(), reader.tid()).then_some(());
        until("a reader asleep", sleeps);
        (reader, writer)
    }
    let pipe = Fifo::make();
    let (mut interrupted, _writer) = reader(&pipe);
    interrupted.interrupt();
    interrupted.must_hear("Err(Interrupted) true");
    interrupted.finish();

    let pipe = BytePipe::make();
    let (mut undisturbed, mut writer) = reader(&pipe);
    undisturbed.interrupt();
    writer.write_all(b"x").unwrap();
    undisturbed.must_hear("Ok(1) true");
    undisturbed.finish();
}
