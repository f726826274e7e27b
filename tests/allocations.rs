//! A message costs no allocation, whether a call succeeds, is refused, or waits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

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

no_allocation!(an_spsc_message_allocates_nothing, spsc);
no_allocation!(an_mpmc_message_allocates_nothing, mpmc);
