//! A message costs no allocation, whether a call succeeds, is refused, or waits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::Duration;

use ringpipe::bytes::{self, Buffered};
use ringpipe::{mpmc, spsc};

/// The system's allocator, counting what this thread asks of it.
struct Counting;

thread_local!(static ASKED: Cell<u64> = const { Cell::new(0) });

// SAFETY: the system's allocator, with all its promises; counting touches no memory of its users.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn asked(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

macro_rules! no_allocation {
    ($name:ident, $kind:ident) => {
        #[test]
        fn $name() {
            let (mut tx, mut rx) = $kind::channel::<u64>(4).unwrap();
            let mut into = [0; 4];
            let mut all = || {
                tx.send(1).unwrap();
                assert_eq!(rx.recv(), Ok(1));
                assert!(rx.try_recv().is_err());
                assert!(rx.recv_timeout(Duration::from_micros(1)).is_err());
                tx.send_slice_deadline(&[1, 2, 3, 4], Duration::ZERO).unwrap();
                assert!(tx.try_send(5).is_err());
                assert!(tx.send_timeout(5, Duration::from_micros(1)).is_err());
                rx.recv_slice_deadline(&mut into, Duration::ZERO).unwrap();
            };
            all(); // what is made once
            assert_eq!(asked(|| (0..1000).for_each(|_| all())), 0);
            assert_eq!(asked(|| drop(std::hint::black_box(Box::new(1)))), 1, "it does count");
        }
    };
}

macro_rules! no_allocation_of_messages {
    ($name:ident, $kind:ident) => {
        #[test]
        fn $name() {
            use std::io::{IoSlice, Write};

            let (mut tx, mut rx) = ringpipe::messages::$kind::channel(4096).unwrap();
            let (most, now) = (vec![1; tx.max_len()], Duration::ZERO);
            let mut into = Vec::with_capacity(most.len());
            let mut room = vec![0; most.len()];
            let mut all = || {
                for len in [0, 1, 57, most.len()] {
                    tx.send(&most[..len]).unwrap();
                    rx.recv(&mut into).unwrap();
                    tx.send_vectored(&[IoSlice::new(b"a"), IoSlice::new(b"b")]).unwrap();
                    assert!(rx.recv_into(&mut []).is_err());
                    assert_eq!(rx.recv_into(&mut room), Ok(2));
                    tx.send_with(len, |message| message.write_all(&most[..len])).unwrap();
                    rx.claim(9).unwrap().release_all();
                    tx.reserve(len).unwrap().abandon();
                }
                assert!(rx.try_recv(&mut into).is_err());
                assert!(rx.recv_deadline(&mut into, Duration::from_micros(1)).is_err());
                tx.send(&most).unwrap();
                tx.send(&most).unwrap();
                assert!(tx.send(&[0; 4096]).is_err() && tx.try_send(b"").is_err());
                assert!(tx.send_deadline(b"", now).is_err());
                assert_eq!(rx.clear(), Ok(2));
            };
            all(); // what is made once
            assert_eq!(asked(|| (0..1000).for_each(|_| all())), 0);
        }
    };
}

no_allocation_of_messages!(an_spsc_message_of_any_length_allocates_nothing, spsc);
no_allocation_of_messages!(an_mpmc_message_of_any_length_allocates_nothing, mpmc);
no_allocation!(an_spsc_message_allocates_nothing, spsc);
no_allocation!(an_mpmc_message_allocates_nothing, mpmc);

#[test]
fn bytes_allocate_nothing_however_they_are_written_and_read() {
    const ALL: usize = 4096;
    let (mut tx, rx) = bytes::channel(ALL).unwrap();
    let mut rx = Some(Buffered::new(rx));
    let (mut into, mut also) = ([0; ALL], [0; 9]);
    let (from, to) = (
        std::fs::File::open("/dev/zero").unwrap(),
        std::fs::File::options().write(true).open("/dev/null").unwrap(),
    );
    let mut by_lines = || {
        let rx = rx.as_mut().unwrap();
        tx.write_all(&into).unwrap();
        rx.read_exact(&mut into[..100]).unwrap();
        let rest = rx.fill_buf().unwrap().len();
        assert_eq!(rest, ALL - 100);
        rx.consume(1000);
        rx.consume(rest);
    };
    by_lines();
    assert_eq!(asked(|| (0..1000).for_each(|_| by_lines())), 0);

    let mut rx = rx.take().unwrap().into_inner();
    let mut all = || {
        let both = [IoSlice::new(b"one"), IoSlice::new(b"other")];
        assert_eq!(tx.write_vectored(&both).unwrap(), 8);
        let mut both = [IoSliceMut::new(&mut also), IoSliceMut::new(&mut into[..1])];
        assert_eq!(rx.read_vectored(&mut both).unwrap(), 8);
        tx.set_nonblocking(true);
        assert_eq!(tx.write(&into).unwrap(), ALL);
        assert_eq!(tx.write(&into).unwrap_err().kind(), ErrorKind::WouldBlock);
        tx.set_nonblocking(false);
        rx.claim(ALL).unwrap().release_all();
        rx.set_nonblocking(true);
        assert_eq!(rx.read(&mut into).unwrap_err().kind(), ErrorKind::WouldBlock);
        rx.set_nonblocking(false);
        assert_eq!(tx.read_from(&from, 3000).unwrap(), 3000);
        assert_eq!(rx.write_to(&to, 3000).unwrap(), 3000);
        let mut run = tx.claim(5).unwrap();
        run.write_slice(0, b"place");
        run.commit_all();
        rx.recv_exact(&mut into[..5]).unwrap();
    };
    all();
    assert_eq!(asked(|| (0..1000).for_each(|_| all())), 0);
}
