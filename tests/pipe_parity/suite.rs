//! What pipes do alike, within one process.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::like::{CAPACITY, PAGE, PipeLike};
use super::of_each;
use super::support::child::without_forks;
use super::support::noise::{Digest, Noise};
use super::support::{Rng, rng};

// An end that is dropped is closed then.
of_each!([kernel_pipe: KernelPipe, fifo: Fifo, byte_pipe: BytePipe], super::without_forks(), [
    what_is_written_is_read_in_order,
    a_read_waits_for_something_and_returns_what_there_is,
    a_write_of_more_than_fits_returns_when_all_is_in,
    a_write_that_does_not_wait_takes_what_fits_and_then_nothing,
    a_read_that_does_not_wait_takes_what_there_is_and_then_nothing,
    the_end_of_file_comes_after_everything_and_then_again_and_again,
    a_reader_that_waits_is_told_of_the_end,
    a_write_without_a_reader_is_a_broken_pipe_though_there_is_room,
    a_writer_that_waits_for_room_is_told_that_the_reader_has_gone,
    a_write_that_loses_its_reader_says_how_much_is_in_and_the_next_is_broken,
    pieces_of_all_sizes_arrive_whole_and_in_order,
    several_buffers_are_written_and_read_as_one,
    a_write_of_several_buffers_waits_until_all_are_in,
    nothing_is_written_and_read_whatever_the_pipe_is_like,
    whatever_takes_a_reader_or_a_writer_takes_its_ends,
]);

/// Does it in a thread of its own, in which it soon waits within the pipe.
fn waiting<P: PipeLike, R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
        work()
    });
    P::until_waiting(told.recv().unwrap());
    thread
}

/// All that there is room for, which is written at once.
fn full<P: PipeLike>(writer: &mut P::Writer) -> Vec<u8> {
    let bytes = Noise::new(7).take_vec(CAPACITY);
    writer.write_all(&bytes).unwrap();
    bytes
}

fn what_is_written_is_read_in_order<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    for word in ["one", "two", "three"] {
        assert_eq!(writer.write(word.as_bytes()).unwrap(), word.len());
    }
    writer.flush().unwrap();
    let mut into = [0; 20];
    assert_eq!(reader.read(&mut into[..4]).unwrap(), 4);
    assert_eq!(&into[..4], b"onet");
    assert_eq!(reader.read(&mut into).unwrap(), 7);
    assert_eq!(&into[..7], b"wothree");
}

fn a_read_waits_for_something_and_returns_what_there_is<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    let read = waiting::<P, _>(move || {
        let mut into = [0; 100];
        let len = reader.read(&mut into).unwrap();
        into[..len].to_vec()
    });
    writer.write_all(b"at last").unwrap();
    assert_eq!(read.join().unwrap(), b"at last");
}

fn a_write_of_more_than_fits_returns_when_all_is_in<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    let sent = Noise::new(1).take_vec(10 * CAPACITY + 1);
    let expected = sent.clone();
    let write = waiting::<P, _>(move || (writer.write(&sent).unwrap(), writer));
    let mut got = vec![0; expected.len()];
    reader.read_exact(&mut got).unwrap();
    assert!(got == expected);
    assert_eq!(write.join().unwrap().0, expected.len());
}

fn a_write_that_does_not_wait_takes_what_fits_and_then_nothing<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    P::set_writer_nonblocking(&mut writer, true);
    let sent = Noise::new(2).take_vec(CAPACITY + PAGE + 1);
    assert_eq!(writer.write(&sent).unwrap(), CAPACITY);
    for _ in 0..3 {
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let mut got = vec![0; PAGE];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(writer.write(&sent[CAPACITY..]).unwrap(), PAGE);
    got.resize(CAPACITY + PAGE, 0);
    reader.read_exact(&mut got[PAGE..]).unwrap();
    assert!(got == sent[..CAPACITY + PAGE]);
    // And it waits again if it is told to.
    P::set_writer_nonblocking(&mut writer, false);
    full::<P>(&mut writer);
    let write = waiting::<P, _>(move || writer.write(b"x").unwrap());
    reader.read_exact(&mut got[..CAPACITY]).unwrap();
    assert_eq!(write.join().unwrap(), 1);
}

fn a_read_that_does_not_wait_takes_what_there_is_and_then_nothing<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    P::set_reader_nonblocking(&mut reader, true);
    let mut into = [0; 10];
    assert_eq!(reader.read(&mut into).unwrap_err().kind(), ErrorKind::WouldBlock);
    writer.write_all(b"abc").unwrap();
    assert_eq!(reader.read(&mut into[..2]).unwrap(), 2);
    assert_eq!(reader.read(&mut into[2..]).unwrap(), 1);
    assert_eq!(&into[..3], b"abc");
    for _ in 0..3 {
        assert_eq!(reader.read(&mut into).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    P::set_reader_nonblocking(&mut reader, false);
    let read = waiting::<P, _>(move || reader.read(&mut [0; 10]).unwrap());
    writer.write_all(b"d").unwrap();
    assert_eq!(read.join().unwrap(), 1);
}

fn the_end_of_file_comes_after_everything_and_then_again_and_again<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    let sent = full::<P>(&mut writer);
    drop(writer);
    let mut got = vec![0; CAPACITY];
    reader.read_exact(&mut got).unwrap();
    assert!(got == sent);
    for nonblocking in [false, true, false] {
        P::set_reader_nonblocking(&mut reader, nonblocking);
        assert_eq!(reader.read(&mut got).unwrap(), 0);
    }
}

fn a_reader_that_waits_is_told_of_the_end<P: PipeLike>() {
    let (writer, mut reader) = P::pair();
    let read = waiting::<P, _>(move || reader.read(&mut [0; 10]).unwrap());
    drop(writer);
    assert_eq!(read.join().unwrap(), 0);
}

fn a_write_without_a_reader_is_a_broken_pipe_though_there_is_room<P: PipeLike>() {
    let (mut writer, reader) = P::pair();
    writer.write_all(b"nobody will read this").unwrap();
    drop(reader);
    for nonblocking in [false, true, false] {
        P::set_writer_nonblocking(&mut writer, nonblocking);
        assert_eq!(writer.write(b"nor this").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let both = [IoSlice::new(b"nor"), IoSlice::new(b"this")];
        assert_eq!(writer.write_vectored(&both).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

fn a_writer_that_waits_for_room_is_told_that_the_reader_has_gone<P: PipeLike>() {
    let (mut writer, reader) = P::pair();
    full::<P>(&mut writer);
    let write = waiting::<P, _>(move || writer.write(b"x").unwrap_err().kind());
    drop(reader);
    assert_eq!(write.join().unwrap(), ErrorKind::BrokenPipe);
}

fn a_write_that_loses_its_reader_says_how_much_is_in_and_the_next_is_broken<P: PipeLike>() {
    for vectored in [false, true] {
        let (mut writer, mut reader) = P::pair();
        let write = waiting::<P, _>(move || {
            let (one, other) = (vec![1; CAPACITY + 1], vec![2; 2 * CAPACITY]);
            let written = match vectored {
                true => writer.write_vectored(&[IoSlice::new(&one), IoSlice::new(&other)]),
                false => writer.write(&[one, other].concat()),
            };
            (written.unwrap(), writer.write(b"x").unwrap_err().kind())
        });
        reader.read_exact(&mut [0; 2 * PAGE]).unwrap();
        drop(reader);
        let (written, next) = write.join().unwrap();
        assert!((CAPACITY..=CAPACITY + 2 * PAGE).contains(&written), "{written}");
        assert_eq!(next, ErrorKind::BrokenPipe);
    }
}

fn pieces_of_all_sizes_arrive_whole_and_in_order<P: PipeLike>() {
    const ALL: usize = 4 << 20;
    let seed = rng::seed();
    println!("seed {seed}");
    let (mut writer, mut reader) = P::pair();
    let expected = Digest::of(Noise::new(seed).take(ALL as u64)).unwrap();
    let write = thread::spawn(move || {
        let (mut noise, mut random, mut left) = (Noise::new(seed), Rng::new(seed), ALL);
        while left > 0 {
            let piece = noise.take_vec(some_size(&mut random).min(left));
            assert_eq!(writer.write(&piece).unwrap(), piece.len());
            left -= piece.len();
        }
    });
    let (mut digest, mut random) = (Digest::default(), Rng::new(seed ^ 1));
    let mut into = vec![0; 3 * CAPACITY];
    loop {
        let most = some_size(&mut random).max(1);
        match reader.read(&mut into[..most]).unwrap() {
            0 => break,
            len => digest.write_all(&into[..len]).unwrap(),
        }
    }
    write.join().unwrap();
    assert_eq!(digest.finish(), expected);
}

/// Small ones, and such as no pipe has room for.
fn some_size(random: &mut Rng) -> usize {
    let most = random.pick(&[10, 300, PAGE as u64 + 2, 3 * CAPACITY as u64]);
    random.within(0..most) as usize
}

fn several_buffers_are_written_and_read_as_one<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    let buffers = [&b"one"[..], b"", b"two", b"three"].map(IoSlice::new);
    assert_eq!(writer.write_vectored(&buffers).unwrap(), 11);
    let (mut a, mut b, mut c) = ([0; 2], [0; 0], [0; 20]);
    let mut into = [&mut a[..], &mut b, &mut c].map(IoSliceMut::new);
    assert_eq!(reader.read_vectored(&mut into).unwrap(), 11);
    assert_eq!((&a, &c[..9]), (b"on", &b"etwothree"[..]));

    // Without waiting: as much of them as fits, across the borders.
    P::set_writer_nonblocking(&mut writer, true);
    P::set_reader_nonblocking(&mut reader, true);
    let (one, other) = (vec![1; CAPACITY - 5], vec![2; CAPACITY]);
    let both = [IoSlice::new(&one), IoSlice::new(&other)];
    assert_eq!(writer.write_vectored(&both).unwrap(), CAPACITY);
    assert_eq!(writer.write_vectored(&both).unwrap_err().kind(), ErrorKind::WouldBlock);
    let (mut one, mut other) = (vec![0; 10], vec![0; 2 * CAPACITY]);
    let mut into = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
    assert_eq!(reader.read_vectored(&mut into).unwrap(), CAPACITY);
    let refused = reader.read_vectored(&mut into).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert!(one == [1; 10] && other[..CAPACITY - 15] == vec![1; CAPACITY - 15]);
    assert_eq!(other[CAPACITY - 15..CAPACITY - 9], [2, 2, 2, 2, 2, 0]);

    drop(writer);
    let mut into = [IoSliceMut::new(&mut other)];
    assert_eq!(reader.read_vectored(&mut into).unwrap(), 0);
}

fn a_write_of_several_buffers_waits_until_all_are_in<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    let sent = Noise::new(3).take_vec(5 * CAPACITY);
    let expected = sent.clone();
    let write = waiting::<P, _>(move || {
        let (one, rest) = sent.split_at(CAPACITY / 2);
        let (two, three) = rest.split_at(3 * CAPACITY);
        writer.write_vectored(&[one, two, three].map(IoSlice::new)).unwrap()
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert!(got == expected);
    assert_eq!(write.join().unwrap(), expected.len());
}

fn nothing_is_written_and_read_whatever_the_pipe_is_like<P: PipeLike>() {
    let (mut writer, mut reader) = P::pair();
    let none = |reader: &mut P::Reader| {
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(reader.read_vectored(&mut [IoSliceMut::new(&mut [])]).unwrap(), 0);
    };
    none(&mut reader); // though there is nothing, it does not wait
    full::<P>(&mut writer);
    assert_eq!(writer.write(&[]).unwrap(), 0); // nor this for room
    assert_eq!(writer.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
    none(&mut reader);
    reader.read_exact(&mut [0; CAPACITY]).unwrap(); // nothing was taken by that
    drop(writer);
    none(&mut reader);
    let (mut writer, reader) = P::pair();
    drop(reader);
    assert_eq!(writer.write(&[]).unwrap(), 0);
}

fn whatever_takes_a_reader_or_a_writer_takes_its_ends<P: PipeLike>() {
    let (mut writer, reader) = P::pair();
    let write = thread::spawn(move || {
        writeln!(writer, "a {}", 1).unwrap();
        std::io::copy(&mut Noise::new(4).take(100_000), &mut writer).unwrap()
    });
    let mut reader = std::io::BufReader::new(reader);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert_eq!(line, "a 1\n");
    assert_eq!(Digest::of(reader).unwrap(), Digest::of(Noise::new(4).take(100_000)).unwrap());
    assert_eq!(write.join().unwrap(), 100_000);
}
