//! `read_from` and `write_to`: between a pipe and files, pipes, sockets and devices. Whatever stops
//! them, the call can be made again, and no byte is lost or doubled.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringpipe::BulkError;
use ringpipe::bytes::{self, Descriptor, Reader, Ring, TransferError};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::fcntl_setpipe_size;

use super::PAGE;
use super::support::child::without_forks;
use super::support::noise::{Digest, Noise};
use super::support::puppet::{count_signals, signals};
use super::support::{Directory, tests, until};

tests!(
    a_file_goes_through_whole,
    no_more_is_moved_than_was_asked_for,
    what_was_read_is_in_the_ring_at_once,
    a_ring_that_does_not_wait_takes_a_part_and_the_call_goes_on,
    a_ring_that_waits_no_longer_takes_a_part_and_the_call_goes_on,
    a_pipe_that_does_not_wait_is_read_as_far_as_it_goes,
    a_pipe_that_does_not_wait_is_written_as_far_as_it_goes,
    a_socket_that_does_not_wait_is_written_as_far_as_it_goes,
    a_device_that_is_full_takes_nothing_and_nothing_is_lost,
    a_file_that_may_grow_no_more_takes_what_it_can,
    what_cannot_be_read_or_written_says_so,
    a_transfer_without_a_reader_takes_nothing_from_its_file,
    a_pipe_that_lost_its_reader_is_the_descriptors_failure,
    a_transfer_is_not_disturbed_by_signals,
    an_end_of_file_ends_a_transfer_and_the_next_goes_on,
    what_a_transfer_was_shown_and_could_not_write_is_the_next_readers,
);

const SHORT: Duration = Duration::from_millis(1);

/// A file of so many bytes of noise, open at its start.
fn file(directory: &Directory, seed: u64, len: usize) -> File {
    let path = directory.join(format!("{seed}-{len}"));
    std::fs::write(&path, Noise::new(seed).take_vec(len)).unwrap();
    File::open(path).unwrap()
}

fn nonblocking(fd: impl AsFd) {
    let flags = fcntl_getfl(&fd).unwrap() | OFlags::NONBLOCK;
    fcntl_setfl(fd, flags).unwrap();
}

#[track_caller]
fn stopped_by_ring(stopped: Result<u64, TransferError>, moved: u64, by: BulkError) {
    let stopped = stopped.unwrap_err();
    assert_eq!(stopped.moved, moved);
    assert!(matches!(stopped.why, Descriptor::Ring(why) if why == by), "{stopped:?}");
}

/// How many bytes went before.
#[track_caller]
fn stopped_by_descriptor(stopped: Result<u64, TransferError>, by: ErrorKind) -> u64 {
    let stopped = stopped.unwrap_err();
    assert!(matches!(&stopped.why, Descriptor::Failed(e) if e.kind() == by), "{stopped:?}");
    stopped.moved
}

fn digest(seed: u64, len: usize) -> String {
    Digest::of(Noise::new(seed).take(len as u64)).unwrap()
}

fn a_file_goes_through_whole() {
    let directory = Directory::new();
    for (len, capacity) in [(0, PAGE), (1, PAGE), (1_000_003, PAGE), (5_000_000, 1 << 16)] {
        let from = file(&directory, 1, len);
        let to = directory.join("to");
        let into = File::create(&to).unwrap();
        let (mut tx, mut rx) = bytes::channel(capacity).unwrap();
        let reading = thread::spawn(move || tx.read_from(from, u64::MAX).unwrap());
        assert_eq!(rx.write_to(into, u64::MAX).unwrap(), len as u64);
        assert_eq!(reading.join().unwrap(), len as u64);
        assert_eq!(Digest::of(File::open(to).unwrap()).unwrap(), digest(1, len));
    }
}

fn no_more_is_moved_than_was_asked_for() {
    let directory = Directory::new();
    let mut from = file(&directory, 2, 10_000);
    let mut to = File::create_new(directory.join("to")).unwrap();
    let (mut tx, mut rx) = bytes::channel(4 * PAGE).unwrap();
    let mut all = 0;
    for most in [0, 1, 1000, 4099, 0, 3000] {
        assert_eq!(tx.read_from(&from, most).unwrap(), most);
        all += most;
        assert_eq!((from.stream_position().unwrap(), tx.len() as u64), (all, all));
    }
    let mut left = all;
    for most in [0, 3000, 1, 4099] {
        assert_eq!(rx.write_to(&to, most).unwrap(), most);
        left -= most;
        assert_eq!((to.stream_position().unwrap(), rx.len() as u64), (all - left, left));
    }
    assert_eq!(tx.read_from(&from, 5000).unwrap(), 1900, "there is no more");
    assert_eq!(rx.write_to(&to, 1900 + left).unwrap(), 1900 + left);
    let copy = Digest::of(File::open(directory.join("to")).unwrap()).unwrap();
    assert_eq!(copy, digest(2, 10_000));
}

/// Also if the descriptor brings a byte a minute.
fn what_was_read_is_in_the_ring_at_once() {
    let (from, mut feed) = std::io::pipe().unwrap();
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    let reading = thread::spawn(move || tx.read_from(from, u64::MAX).unwrap());
    for word in ["one", "two", "three"] {
        feed.write_all(word.as_bytes()).unwrap();
        let mut got = vec![0; word.len()];
        rx.read_exact(&mut got).unwrap(); // while the other call goes on
        assert_eq!(got, word.as_bytes());
    }
    drop(feed);
    assert_eq!(reading.join().unwrap(), 11);
}

fn a_ring_that_does_not_wait_takes_a_part_and_the_call_goes_on() {
    let directory = Directory::new();
    let mut from = file(&directory, 3, 3 * PAGE);
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.set_nonblocking(true);
    rx.set_nonblocking(true);
    let mut to = Digest::default();
    for _ in 0..3 {
        let stopped = tx.read_from(&from, u64::MAX);
        stopped_by_ring(stopped, PAGE as u64, BulkError::Full);
        stopped_by_ring(tx.read_from(&from, u64::MAX), 0, BulkError::Full);
        let (into, mut copy) = (directory.join("to"), Vec::new());
        let stopped = rx.write_to(File::create(&into).unwrap(), u64::MAX);
        stopped_by_ring(stopped, PAGE as u64, BulkError::Empty);
        File::open(into).unwrap().read_to_end(&mut copy).unwrap();
        to.write_all(&copy).unwrap();
    }
    assert_eq!(from.stream_position().unwrap(), 3 * PAGE as u64);
    assert_eq!(tx.read_from(&from, u64::MAX).unwrap(), 0);
    assert_eq!(to.finish(), digest(3, 3 * PAGE));
}

fn a_ring_that_waits_no_longer_takes_a_part_and_the_call_goes_on() {
    let directory = Directory::new();
    let mut from = file(&directory, 4, PAGE + 100);
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.set_write_timeout(Some(SHORT)).unwrap();
    rx.set_read_timeout(Some(SHORT)).unwrap();
    stopped_by_ring(tx.read_from(&from, u64::MAX), PAGE as u64, BulkError::Timeout);
    assert_eq!(from.stream_position().unwrap(), PAGE as u64);
    let to = directory.join("to");
    let into = File::create(&to).unwrap();
    stopped_by_ring(rx.write_to(&into, u64::MAX), PAGE as u64, BulkError::Timeout);
    assert_eq!(tx.read_from(&from, u64::MAX).unwrap(), 100);
    drop(tx);
    assert_eq!(rx.write_to(&into, u64::MAX).unwrap(), 100);
    assert_eq!(Digest::of(File::open(to).unwrap()).unwrap(), digest(4, PAGE + 100));
}

fn a_pipe_that_does_not_wait_is_read_as_far_as_it_goes() {
    let _closes_at_once = without_forks();
    let (from, mut feed) = std::io::pipe().unwrap();
    nonblocking(&from);
    let (mut tx, mut rx) = bytes::channel(4 * PAGE).unwrap();
    for piece in ["", "abc", "defgh"] {
        feed.write_all(piece.as_bytes()).unwrap();
        let moved = stopped_by_descriptor(tx.read_from(&from, u64::MAX), ErrorKind::WouldBlock);
        assert_eq!(moved, piece.len() as u64);
    }
    drop(feed);
    assert_eq!(tx.read_from(&from, u64::MAX).unwrap(), 0);
    let mut got = [0; 8];
    rx.read_exact(&mut got).unwrap();
    assert_eq!((&got, rx.len()), (b"abcdefgh", 0));
}

/// Writes all that is in `rx` to what does not wait, and reads what comes out at its other end.
fn goes_on_and_on(mut rx: Reader, to: impl AsFd, mut out: impl Read) -> (String, u32) {
    let (mut digest, mut stops) = (Digest::default(), 0);
    loop {
        let before = rx.len() as u64;
        let moved = match rx.write_to(&to, u64::MAX) {
            Ok(moved) => moved,
            stopped => {
                stops += 1;
                stopped_by_descriptor(stopped, ErrorKind::WouldBlock)
            }
        };
        assert_eq!(rx.len() as u64, before - moved, "what has left the ring has been moved");
        let mut got = vec![0; moved as usize];
        out.read_exact(&mut got).unwrap();
        digest.write_all(&got).unwrap();
        if before == moved {
            return (digest.finish(), stops);
        }
    }
}

/// Of this many bytes.
fn filled(seed: u64, len: usize) -> Reader {
    let (mut tx, rx) = bytes::channel(len).unwrap();
    tx.write_all(&Noise::new(seed).take_vec(len)).unwrap();
    rx
}

fn a_pipe_that_does_not_wait_is_written_as_far_as_it_goes() {
    let (out, to) = std::io::pipe().unwrap();
    fcntl_setpipe_size(&to, PAGE).unwrap();
    nonblocking(&to);
    let len = 1 << 16;
    let (copy, stops) = goes_on_and_on(filled(5, len), to, out);
    assert_eq!(copy, digest(5, len));
    assert!(stops >= 15, "{stops}");
}

fn a_socket_that_does_not_wait_is_written_as_far_as_it_goes() {
    let (to, out) = UnixStream::pair().unwrap();
    to.set_nonblocking(true).unwrap();
    let len = 1 << 22;
    let (copy, stops) = goes_on_and_on(filled(6, len), to, out);
    assert_eq!(copy, digest(6, len));
    assert!(stops > 0);
}

fn a_device_that_is_full_takes_nothing_and_nothing_is_lost() {
    let mut rx = filled(7, PAGE);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for _ in 0..3 {
        let moved = stopped_by_descriptor(rx.write_to(&full, u64::MAX), ErrorKind::StorageFull);
        assert_eq!((moved, rx.len()), (0, PAGE));
    }
    let mut rest = vec![0; PAGE];
    rx.read_exact(&mut rest).unwrap();
    assert!(rest == Noise::new(7).take_vec(PAGE));
}

/// As on a full disk: a part of the last system call is in.
fn a_file_that_may_grow_no_more_takes_what_it_can() {
    let memory = rustix::fs::memfd_create("small", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&memory, 1500).unwrap();
    rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::GROW).unwrap();
    let mut memory = File::from(memory);
    let mut rx = filled(8, PAGE);
    let moved = stopped_by_descriptor(rx.write_to(&memory, u64::MAX), ErrorKind::PermissionDenied);
    assert_eq!(memory.stream_position().unwrap(), moved);
    assert_eq!(rx.len() as u64, PAGE as u64 - moved);
    let mut all = vec![0; moved as usize];
    memory.rewind().unwrap();
    memory.read_exact(&mut all).unwrap();
    rx.read_to_end(&mut all).unwrap();
    assert!(all == Noise::new(8).take_vec(PAGE));
}

fn what_cannot_be_read_or_written_says_so() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    let directory = Directory::new();
    let no_file = File::open(&*directory).unwrap();
    assert_eq!(stopped_by_descriptor(tx.read_from(&no_file, 1), ErrorKind::IsADirectory), 0);
    let (out, into) = std::io::pipe().unwrap();
    let wrong = tx.read_from(&into, 1).unwrap_err();
    let is = |stopped: &TransferError, number| match &stopped.why {
        Descriptor::Failed(e) => e.raw_os_error() == Some(number),
        _ => false,
    };
    assert!(is(&wrong, libc::EBADF), "{wrong:?}");
    tx.write_all(b"abc").unwrap();
    let wrong = rx.write_to(&out, 3).unwrap_err();
    assert!(is(&wrong, libc::EBADF) && wrong.moved == 0, "{wrong:?}");
    assert_eq!(rx.len(), 3);
}

fn a_transfer_without_a_reader_takes_nothing_from_its_file() {
    let directory = Directory::new();
    let mut from = file(&directory, 9, PAGE);
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    assert_eq!(tx.read_from(&from, 100).unwrap(), 100);
    drop(rx);
    stopped_by_ring(tx.read_from(&from, u64::MAX), 0, BulkError::Closed);
    assert_eq!(from.stream_position().unwrap(), 100);
}

fn a_pipe_that_lost_its_reader_is_the_descriptors_failure() {
    let mut rx = filled(10, PAGE);
    let _closes_at_once = without_forks();
    let (out, to) = std::io::pipe().unwrap();
    drop(out);
    let moved = stopped_by_descriptor(rx.write_to(to, u64::MAX), ErrorKind::BrokenPipe);
    assert_eq!((moved, rx.len()), (0, PAGE));
}

fn a_transfer_is_not_disturbed_by_signals() {
    count_signals();
    let (from, mut feed) = std::io::pipe().unwrap();
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    let (tell, told) = mpsc::channel();
    let reading = thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        tx.read_from(from, u64::MAX).unwrap()
    });
    let thread = told.recv().unwrap();
    let reads = || {
        let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok()?;
        call.starts_with(&format!("{} ", libc::SYS_read)).then_some(())
    };
    for round in 1..=3 {
        until("a transfer that waits for its descriptor", reads);
        let process = std::process::id();
        // SAFETY: plain values; the thread is joined below.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
        until("the signal", || (signals() >= round).then_some(()));
    }
    feed.write_all(b"abc").unwrap();
    drop(feed);
    assert_eq!(reading.join().unwrap(), 3);
    let mut text = String::new();
    rx.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
}

fn an_end_of_file_ends_a_transfer_and_the_next_goes_on() {
    let directory = Directory::new();
    let to = directory.join("to");
    let into = File::create(&to).unwrap();
    let ring = Ring::options().capacity(PAGE).create_anonymous().unwrap();
    let mut rx = ring.reader().unwrap();
    for _ in 0..3 {
        ring.writer().unwrap().write_all(b"abc").unwrap();
        assert_eq!(rx.write_to(&into, u64::MAX).unwrap(), 3);
        assert_eq!(rx.write_to(&into, u64::MAX).unwrap(), 0);
    }
    assert_eq!(std::fs::read_to_string(to).unwrap(), "abcabcabc");
}

fn what_a_transfer_was_shown_and_could_not_write_is_the_next_readers() {
    let ring = Ring::options().capacity(PAGE).create_anonymous().unwrap();
    ring.writer().unwrap().write_all(b"abcdef").unwrap();
    let mut rx = ring.reader().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    stopped_by_descriptor(rx.write_to(&full, 3), ErrorKind::StorageFull);
    drop(rx);
    let mut text = String::new();
    ring.reader().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "abcdef");
}
