//! An index that goes back by one, and forth, while it is looked at: what an end has claimed by the
//! one look and what it knows by the next must not part. Else it would send into room, or receive
//! items, that are not there, and never look again.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use ringpipe::{RecvHandle, SendHandle, Spsc};

use super::limits::guarded;
use super::strafe::{HEAD, TAIL};
use super::support::region::Raw;
use super::support::{LONG, Name, new_ring};

const SLOTS: u64 = 8;
/// So many ends, attached one after the other, get what was told.
const ENDS: usize = if cfg!(debug_assertions) { 300 } else { 1_000 };
/// For how long each of them waits.
const BRIEF: Duration = Duration::from_micros(50);

/// Attaches one end after the other to a ring whose indices are `head` and `tail`, while that at
/// `word` is sometimes one more.
fn beside_a_toggle(
    word: usize,
    [head, tail]: [u64; 2],
    call: impl Fn(&Ends) -> usize + Send + 'static,
) {
    guarded(LONG, move || {
        let (name, ring) = new_ring::<Spsc>(SLOTS as usize);
        let ends = Ends { ring, name };
        let raw = Raw::of(&ends.name.path());
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stops = Stops(&stop); // whatever becomes of the calls
            scope.spawn(|| {
                let told = if word == HEAD { head } else { tail };
                while !stop.load(Relaxed) {
                    for value in [told, told + 1] {
                        raw.words()[word].store(value, Relaxed);
                        std::hint::spin_loop();
                    }
                }
            });
            let mut got = 0;
            while got < ENDS {
                let other = if word == HEAD { (TAIL, tail) } else { (HEAD, head) };
                raw.words()[other.0].store(other.1, Relaxed);
                got += call(&ends);
            }
        });
    });
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

struct Ends {
    ring: ringpipe::Ring<u64, Spsc>,
    name: Name,
}

impl Ends {
    /// Each of them succeeds at most once: there is one slot, or one item, more than there was.
    fn sends(&self, send: impl Fn(&mut SendHandle<u64, Spsc>) -> usize) -> usize {
        // Corrupt, if it was told that the ring holds more than it can.
        let Ok(mut tx) = self.ring.producer() else { return 0 };
        let sent = send(&mut tx) + (0..64).filter(|_| tx.try_send(7).is_ok()).count();
        assert!(sent <= 1, "{sent} items were sent into one free slot");
        sent
    }

    fn receives(&self, receive: impl Fn(&mut RecvHandle<u64, Spsc>) -> usize) -> usize {
        let Ok(mut rx) = self.ring.consumer() else { return 0 };
        let received = receive(&mut rx) + (0..64).filter(|_| rx.try_recv().is_ok()).count();
        assert!(received <= 1, "{received} items were received from a ring of one");
        received
    }
}

#[test]
fn room_that_was_taken_back_is_not_used_twice() {
    beside_a_toggle(HEAD, [0, SLOTS], |ends| {
        ends.sends(|tx| tx.send_slice_deadline(&[7; 4], BRIEF).unwrap_or(0))
    });
}

#[test]
fn room_for_one_that_was_taken_back_is_not_used_twice() {
    beside_a_toggle(HEAD, [0, SLOTS], |ends| {
        ends.sends(|tx| usize::from(tx.send_timeout(7, BRIEF).is_ok()))
    });
}

#[test]
fn room_that_was_taken_back_is_not_claimed_twice() {
    beside_a_toggle(HEAD, [0, SLOTS], |ends| {
        ends.sends(|tx| {
            tx.claim_deadline(4, BRIEF).map_or(0, |mut run| {
                let room = run.len();
                (0..room).for_each(|index| run.write(index, 7));
                run.commit_all();
                room
            })
        })
    });
}

#[test]
fn items_that_were_taken_back_are_not_received_twice() {
    beside_a_toggle(TAIL, [0, 0], |ends| {
        ends.receives(|rx| rx.recv_slice_deadline(&mut [0; 4], BRIEF).unwrap_or(0))
    });
}

#[test]
fn an_item_that_was_taken_back_is_not_received_twice() {
    beside_a_toggle(TAIL, [0, 0], |ends| {
        ends.receives(|rx| usize::from(rx.recv_timeout(BRIEF).is_ok()))
    });
}

#[test]
fn items_that_were_taken_back_are_not_claimed_twice() {
    beside_a_toggle(TAIL, [0, 0], |ends| {
        ends.receives(|rx| {
            rx.claim_deadline(4, BRIEF).map_or(0, |run| {
                let items = run.len();
                run.release_all();
                items
            })
        })
    });
}

/// An end that has seen ten items, and looks for more than that while the index says that there are
/// fewer: what it can have afterwards is what there was, once.
#[test]
fn items_that_were_seen_and_then_taken_back_come_once_at_most_whatever_call_has_looked() {
    type Look = fn(&mut RecvHandle<u64, Spsc>) -> usize;
    let looks: [(&str, Look); 5] = [
        ("try_recv_slice", |rx| rx.try_recv_slice(&mut [0; 12]).unwrap_or(0)),
        ("try_recv_exact", |rx| rx.try_recv_exact(&mut [0; 12]).map_or(0, |()| 12)),
        ("recv_exact_deadline", |rx| {
            rx.recv_exact_deadline(&mut [0; 12], BRIEF).map_or(0, |()| 12)
        }),
        ("try_claim", |rx| {
            rx.try_claim(12).map_or(0, |run| {
                let items = run.len();
                run.release_all();
                items
            })
        }),
        ("clear", |rx| rx.clear().map_or(0, |items| items as usize)),
    ];
    for (name, look) in looks {
        for left in [0, 2] {
            guarded(LONG, move || {
                let (of, ring) = new_ring::<Spsc>(16);
                let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
                (0..11).for_each(|n| tx.try_send(n).unwrap());
                assert_eq!(rx.try_recv(), Ok(0));
                let raw = Raw::of(&of.path());
                raw.words()[TAIL].store(1 + left, Relaxed);
                let mut got = look(&mut rx);
                got += (0..64).filter(|_| rx.try_recv().is_ok()).count();
                assert!(got <= 10, "{name}, {left} left: {got} of ten items");
                raw.words()[TAIL].store(11, Relaxed);
                got += (0..64).filter(|_| rx.try_recv().is_ok()).count();
                assert!(got <= 10, "{name}, {left} left: {got} of ten items, when all are back");
                tx.try_send(11).unwrap();
                assert_eq!(rx.try_recv(), Ok(11), "{name}, {left} left: it goes on");
            });
        }
    }
}
