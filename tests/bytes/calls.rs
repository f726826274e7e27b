//! Timeouts, cancellation, what errors say, and ends that were inherited through `fork`.

use std::fs::File;
use std::io::{BufRead, Error, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringpipe::BulkError;
use ringpipe::bytes::{self, Buffered, Descriptor, Reader, Ring, Writer};

use super::support::forked::in_a_fork;
use super::support::{Flavour, Me, tests, until_thread_sleeps};
use super::{PAGE, child, new_pipe};

tests!(
    a_timeout_of_zero_is_refused_and_changes_nothing,
    a_read_times_out_and_says_so,
    a_write_that_times_out_says_what_is_in_and_the_next_why,
    the_longest_timeout_is_no_overflow,
    one_that_does_not_wait_has_no_use_for_a_timeout,
    calls_that_say_whether_they_wait_do_as_they_say,
    a_cancelled_read_is_an_error_and_no_end_of_file,
    a_cancelled_write_says_what_is_in_and_the_next_why,
    each_error_has_its_kind_and_is_the_source,
    a_ring_that_was_scribbled_on_is_invalid_data,
    each_way_to_read_tells_what_was_shown_before,
    inherited_ends_are_unsupported_and_change_nothing,
    buffers_that_together_are_more_than_can_be_counted_are_written_from_the_first_on,
);

const SHORT: Duration = Duration::from_millis(1);

fn why(error: &Error) -> BulkError {
    *error.get_ref().expect("a source").downcast_ref().expect("a BulkError")
}

#[track_caller]
fn is<R: std::fmt::Debug>(outcome: Result<R, Error>, kind: ErrorKind, source: BulkError) {
    let error = outcome.expect_err("it was to be refused");
    assert_eq!((error.kind(), why(&error)), (kind, source));
    assert_eq!(error.to_string(), source.to_string());
}

fn full() -> (Writer, Reader) {
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    tx.write_all(&[1; PAGE]).unwrap();
    (tx, rx)
}

fn a_timeout_of_zero_is_refused_and_changes_nothing() {
    let (mut tx, mut rx) = full();
    tx.set_write_timeout(Some(SHORT)).unwrap();
    let refused = tx.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("set_nonblocking"), "{refused}");
    is(tx.write(b"x"), ErrorKind::TimedOut, BulkError::Timeout);
    rx.read_exact(&mut [0; PAGE]).unwrap();
    rx.set_read_timeout(Some(SHORT)).unwrap();
    let refused = rx.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    is(rx.read(&mut [0]), ErrorKind::TimedOut, BulkError::Timeout);
}

fn a_read_times_out_and_says_so() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    rx.set_read_timeout(Some(SHORT)).unwrap();
    is(rx.read(&mut [0; 9]), ErrorKind::TimedOut, BulkError::Timeout);
    let mut into = [0; 9];
    let timed_out = rx.read_vectored(&mut [IoSliceMut::new(&mut into)]);
    is(timed_out, ErrorKind::TimedOut, BulkError::Timeout);
    // What is there is had at once, and the timeout is that of each call.
    tx.write_all(b"abc").unwrap();
    assert_eq!(rx.read(&mut into).unwrap(), 3);
    is(rx.read_exact(&mut into), ErrorKind::TimedOut, BulkError::Timeout);
    let mut rx = Buffered::new(rx);
    is(rx.fill_buf().map(<[u8]>::len), ErrorKind::TimedOut, BulkError::Timeout);
    let mut rx = rx.into_inner();
    rx.set_read_timeout(None).unwrap();
    drop(tx);
    assert_eq!(rx.read(&mut into).unwrap(), 0);
}

fn a_write_that_times_out_says_what_is_in_and_the_next_why() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.set_write_timeout(Some(SHORT)).unwrap();
    assert_eq!(tx.write(&[1; PAGE + 1]).unwrap(), PAGE);
    is(tx.write(&[2]), ErrorKind::TimedOut, BulkError::Timeout);
    rx.read_exact(&mut [0; 10]).unwrap();
    let (one, other) = ([3; 7], [4; 7]);
    let both = [IoSlice::new(&one), IoSlice::new(&other)];
    assert_eq!(tx.write_vectored(&both).unwrap(), 10);
    is(tx.write_vectored(&both), ErrorKind::TimedOut, BulkError::Timeout);
    let mut got = [0; PAGE];
    rx.read_exact(&mut got).unwrap();
    assert_eq!(got[PAGE - 11..], [1, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4]);
}

fn the_longest_timeout_is_no_overflow() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.set_write_timeout(Some(Duration::MAX)).unwrap();
    rx.set_read_timeout(Some(Duration::MAX)).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
        rx.read(&mut [0; 9]).unwrap()
    });
    until_thread_sleeps(told.recv().unwrap());
    assert_eq!(tx.write(b"abc").unwrap(), 3);
    assert_eq!(reading.join().unwrap(), 3);
}

fn one_that_does_not_wait_has_no_use_for_a_timeout() {
    let (mut tx, mut rx) = full();
    tx.set_write_timeout(Some(Duration::MAX)).unwrap();
    tx.set_nonblocking(true);
    let refused = tx.write(b"x").unwrap_err();
    assert_eq!((refused.kind(), refused.get_ref().is_none()), (ErrorKind::WouldBlock, true));
    rx.read_exact(&mut [0; PAGE]).unwrap();
    rx.set_read_timeout(Some(Duration::MAX)).unwrap();
    rx.set_nonblocking(true);
    let refused = rx.read(&mut [0]).unwrap_err();
    assert_eq!((refused.kind(), refused.get_ref().is_none()), (ErrorKind::WouldBlock, true));
}

fn calls_that_say_whether_they_wait_do_as_they_say() {
    let (mut tx, mut rx) = full();
    tx.set_nonblocking(true);
    rx.set_nonblocking(true);
    assert_eq!(tx.send_slice_deadline(b"x", SHORT), Err(BulkError::Timeout));
    assert_eq!(tx.try_send_slice(b"x"), Err(BulkError::Full));
    assert_eq!(rx.recv_exact(&mut [0; PAGE]), Ok(()));
    assert_eq!(rx.recv_slice_deadline(&mut [0], SHORT), Err(BulkError::Timeout));
    assert_eq!(rx.claim_deadline(1, SHORT).err(), Some(BulkError::Timeout));
    tx.set_nonblocking(false);
    rx.set_nonblocking(false);
    assert_eq!(tx.try_send_exact(&[0; PAGE]), Ok(()));
    assert_eq!(tx.try_claim(1).err(), Some(BulkError::Full));
    assert_eq!(rx.try_recv_exact(&mut [0; PAGE]), Ok(()));
    assert_eq!(rx.try_recv_slice(&mut [0]), Err(BulkError::Empty));
}

fn a_cancelled_read_is_an_error_and_no_end_of_file() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    let canceller = rx.canceller();
    canceller.cancel();
    is(rx.read(&mut [0]), ErrorKind::Other, BulkError::Cancelled);
    let mut into = [0];
    let cancelled = rx.read_vectored(&mut [IoSliceMut::new(&mut into)]);
    is(cancelled, ErrorKind::Other, BulkError::Cancelled);
    // Nobody calls a stream complete that was cut off, or tries again for ever.
    is(rx.read_to_end(&mut Vec::new()), ErrorKind::Other, BulkError::Cancelled);
    let null = File::options().write(true).open("/dev/null").unwrap();
    let stopped = rx.write_to(&null, u64::MAX).unwrap_err();
    assert!(matches!(stopped.why, Descriptor::Ring(BulkError::Cancelled)), "{stopped:?}");
    let mut rx = Buffered::new(rx);
    let cancelled = rx.read_line(&mut String::new());
    is(cancelled, ErrorKind::Other, BulkError::Cancelled);
    canceller.reset();
    tx.write_all(b"x").unwrap();
    assert_eq!(rx.read(&mut into).unwrap(), 1);
}

fn a_cancelled_write_says_what_is_in_and_the_next_why() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.canceller().cancel();
    assert_eq!(tx.write(&[1; PAGE + 1]).unwrap(), PAGE);
    is(tx.write(&[2]), ErrorKind::Other, BulkError::Cancelled);
    is(tx.write_vectored(&[IoSlice::new(&[2])]), ErrorKind::Other, BulkError::Cancelled);
    let stopped = tx.read_from(File::open("/dev/zero").unwrap(), u64::MAX).unwrap_err();
    assert!(matches!(stopped.why, Descriptor::Ring(BulkError::Cancelled)), "{stopped:?}");
    tx.canceller().reset();
    rx.read_exact(&mut [0; PAGE]).unwrap();
    assert_eq!(tx.write(&[3]).unwrap(), 1);
}

fn each_error_has_its_kind_and_is_the_source() {
    for (error, kind) in [
        (BulkError::Timeout, ErrorKind::TimedOut),
        (BulkError::Closed, ErrorKind::BrokenPipe),
        (BulkError::Cancelled, ErrorKind::Other),
        (BulkError::Corrupt, ErrorKind::InvalidData),
        (BulkError::Invalid, ErrorKind::InvalidData),
        (BulkError::Forked, ErrorKind::Unsupported),
        (BulkError::DescriptorLost, ErrorKind::NotConnected),
        (BulkError::TooLong { len: 2, most: 1 }, ErrorKind::InvalidInput),
        (BulkError::Fragmented { adjacent: 1 }, ErrorKind::Other),
        (BulkError::Held { held: 1 }, ErrorKind::Other),
    ] {
        is(Err::<(), _>(error.into()), kind, error);
    }
    for error in [BulkError::Full, BulkError::Empty] {
        let error = Error::from(error);
        assert_eq!((error.kind(), error.get_ref().is_none()), (ErrorKind::WouldBlock, true));
    }
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    drop(rx);
    is(tx.write(b"x"), ErrorKind::BrokenPipe, BulkError::Closed);
}

fn a_ring_that_was_scribbled_on_is_invalid_data() {
    use super::support::{at, region::Raw};
    use std::sync::atomic::Ordering::Relaxed;
    let (name, ring) = new_pipe(PAGE);
    let (mut tx, mut rx) = (ring.writer().unwrap(), ring.reader().unwrap());
    let words = Raw::of(&name.path());
    words.words()[at::HEAD / 8].store(1 << 40, Relaxed);
    words.words()[at::TAIL / 8].store(1 << 41, Relaxed);
    is(tx.write(&[1; PAGE]), ErrorKind::InvalidData, BulkError::Corrupt);
    is(rx.read(&mut [0]), ErrorKind::InvalidData, BulkError::Corrupt);
    let null = File::options().write(true).open("/dev/null").unwrap();
    let stopped = rx.write_to(&null, 1).unwrap_err();
    assert!(matches!(stopped.why, Descriptor::Ring(BulkError::Corrupt)), "{stopped:?}");
}

fn each_way_to_read_tells_what_was_shown_before() {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    let mut into = [0; 9];
    for vectored in [false, true] {
        tx.write_all(b"abcde").unwrap();
        rx.claim(3).unwrap().abandon();
        let read = match vectored {
            true => rx.read_vectored(&mut [IoSliceMut::new(&mut into)]),
            false => rx.read(&mut into),
        };
        assert_eq!((read.unwrap(), rx.redelivered()), (5, 3));
    }
}

fn inherited_ends_are_unsupported_and_change_nothing() {
    let (name, _ring) = new_pipe(PAGE);
    let mut child = child("forks_with_ends", &name);
    child.must("go", "Ok");
    child.finish();
}

/// A role. The forks happen in a process whose other threads do nothing.
pub fn forks_with_ends<K: Flavour>(mut me: Me) {
    me.say("ready");
    me.hear();
    let ring = Ring::options().open(&me.ring).unwrap();
    let region = || std::fs::read(format!("/dev/shm/{}", me.ring)).unwrap();
    let (mut tx, mut rx) = (ring.writer().unwrap(), ring.reader().unwrap());
    tx.write_all(b"the parent's").unwrap();
    let before = region();
    in_a_fork(|| {
        let refused = |outcome| is(outcome, ErrorKind::Unsupported, BulkError::Forked);
        refused(tx.write(b"the child's"));
        refused(tx.write(b""));
        refused(tx.write_vectored(&[IoSlice::new(b"the child's")]));
        refused(rx.read(&mut [0]));
        refused(rx.read(&mut []));
        refused(rx.read_vectored(&mut [IoSliceMut::new(&mut [0])]));
        tx.flush().unwrap();
        let zero = File::open("/dev/zero").unwrap();
        let null = File::options().write(true).open("/dev/null").unwrap();
        for most in [0, u64::MAX] {
            for stopped in [tx.read_from(&zero, most), rx.write_to(&null, most)] {
                let stopped = stopped.unwrap_err();
                let forked = matches!(stopped.why, Descriptor::Ring(BulkError::Forked));
                assert!(forked && stopped.moved == 0, "{stopped:?}");
            }
        }
        assert!(ring.writer().is_err() && ring.reader().is_err());
    });
    assert!(region() == before, "the child has changed something");

    // Runs, and a reader that has shown something.
    let mut run = tx.claim(5).unwrap();
    let shown = rx.claim(5).unwrap();
    let before = region();
    in_a_fork(|| {
        run.write_slice(0, b"child");
        let mut into = *b"alone";
        shown.read_slice(0, &mut into);
        assert_eq!(&into, b"alone");
        let borrows = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: it panics instead.
            unsafe { shown.as_slice() };
        }));
        assert!(borrows.is_err(), "a run of the parent's was borrowed");
        let borrows = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: it panics instead.
            unsafe { run.as_mut_slice() };
        }));
        assert!(borrows.is_err(), "a run of the parent's was borrowed");
        run.commit_all();
        shown.release_all();
    });
    assert!(region() == before, "the child has changed something");
    let mut rx = Buffered::new(rx);
    assert_eq!(rx.fill_buf().unwrap(), b"the parent's");
    let before = region();
    in_a_fork(|| {
        rx.consume(4);
        assert_eq!(rx.fill_buf().unwrap(), b"parent's"); // its own copy
        rx.consume(100);
        let nothing = rx.fill_buf().map(<[u8]>::len);
        is(nothing, ErrorKind::Unsupported, BulkError::Forked);
    });
    assert!(region() == before, "the child has changed something");

    drop(tx);
    let mut text = String::new();
    rx.read_to_string(&mut text).unwrap();
    assert_eq!(text, "the parent's");
    me.say("Ok");
    me.hear();
}

/// Address space, which takes no memory until somebody looks into it.
#[cfg(target_pointer_width = "64")]
fn buffers_that_together_are_more_than_can_be_counted_are_written_from_the_first_on() {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    const LEN: usize = 1 << 45;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let zeros = unsafe { mmap_anonymous(std::ptr::null_mut(), LEN, ProtFlags::READ, flags) };
    let zeros = zeros.unwrap();
    {
        // SAFETY: the mapping is this long, may be read, and outlives the slice.
        let zeros = unsafe { std::slice::from_raw_parts(zeros.cast::<u8>(), LEN) };
        writes_a_page(&vec![IoSlice::new(zeros); usize::MAX / LEN + 1]);
    }
    // SAFETY: this mapping, into which nothing points any more.
    unsafe { munmap(zeros, LEN) }.unwrap();
}

#[cfg(not(target_pointer_width = "64"))]
fn buffers_that_together_are_more_than_can_be_counted_are_written_from_the_first_on() {
    let zeros = vec![0; 1 << 30];
    writes_a_page(&[IoSlice::new(&zeros); 4]);
}

fn writes_a_page(buffers: &[IoSlice<'_>]) {
    let (mut tx, mut rx) = bytes::channel(PAGE).unwrap();
    tx.set_nonblocking(true);
    assert_eq!(tx.write_vectored(buffers).unwrap(), PAGE);
    tx.set_nonblocking(false);
    tx.set_write_timeout(Some(SHORT)).unwrap();
    is(tx.write_vectored(buffers), ErrorKind::TimedOut, BulkError::Timeout);
    rx.read_exact(&mut [0; PAGE]).unwrap();
    assert_eq!(tx.write_vectored(buffers).unwrap(), PAGE);
}
