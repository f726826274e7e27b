//! An index that goes back by one, and forth, while it is looked at: what an end has claimed by the
//! one look and what it knows by the next must not part. Else it would send into room, or receive
//! items, that are not there, and never look again.
//!
//! Of the kinds for one end and one, whose cursors go by the indices alone. Ends of the others ask
//! each slot's stamp, too, before they touch it.

use std::io::IoSlice;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use ringpipe::messages::{Messages, Receiver, Sender};
use ringpipe::{Item, Kind, RecvHandle, Ring, SendHandle};

use super::calls::Calls;
use super::limits::guarded;
use super::strafe::{HEAD, TAIL};
use super::support::kinds::{AnyKind, End};
use super::support::region::Raw;
use super::support::{LONG, Name, for_kinds};

/// So many ends, attached one after the other, get what was told.
const ENDS: usize = if cfg!(debug_assertions) { 300 } else { 1_000 };
/// For how long each of them waits.
const BRIEF: Duration = Duration::from_micros(50);

/// What a call does to a ring: how many it moves.
type Moves<E> = fn(&mut E) -> usize;

/// A sending end, and calls that send up to a few of what takes one slot.
trait Sends: End {
    const CALLS: &'static [Moves<Self>];
    fn sends(&mut self) -> bool;
}

/// A receiving end of such a ring.
trait Receives: End {
    /// Calls that receive up to a few.
    const CALLS: &'static [Moves<Self>];
    /// Calls that look for as many as twelve.
    const LOOKS: &'static [(&'static str, Moves<Self>)];
    fn receives(&mut self) -> bool;
}

/// A kind whose ends are such.
trait Toggled: Calls<Tx: Sends, Rx: Receives> {}
impl<K: Calls<Tx: Sends, Rx: Receives>> Toggled for K {}

impl<T: Item + From<u8>, K: Kind> Sends for SendHandle<T, K> {
    const CALLS: &'static [Moves<Self>] = &[
        |tx| tx.send_slice_deadline(&[T::from(7); 4], BRIEF).unwrap_or(0),
        |tx| usize::from(tx.send_timeout(T::from(7), BRIEF).is_ok()),
        |tx| {
            tx.claim_deadline(4, BRIEF).map_or(0, |mut run| {
                let room = run.len();
                (0..room).for_each(|index| run.write(index, T::from(7)));
                run.commit_all();
                room
            })
        },
    ];

    fn sends(&mut self) -> bool {
        self.try_send(T::from(7)).is_ok()
    }
}

impl<T: Item + From<u8>, K: Kind> Receives for RecvHandle<T, K> {
    const CALLS: &'static [Moves<Self>] = &[
        |rx| rx.recv_slice_deadline(&mut [T::from(0); 4], BRIEF).unwrap_or(0),
        |rx| usize::from(rx.recv_timeout(BRIEF).is_ok()),
        |rx| {
            rx.claim_deadline(4, BRIEF).map_or(0, |run| {
                let items = run.len();
                run.release_all();
                items
            })
        },
    ];
    const LOOKS: &'static [(&'static str, Moves<Self>)] = &[
        ("try_recv_slice", |rx| rx.try_recv_slice(&mut [T::from(0); 12]).unwrap_or(0)),
        ("try_recv_exact", |rx| rx.try_recv_exact(&mut [T::from(0); 12]).map_or(0, |()| 12)),
        ("recv_exact_deadline", |rx| {
            rx.recv_exact_deadline(&mut [T::from(0); 12], BRIEF).map_or(0, |()| 12)
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

    fn receives(&mut self) -> bool {
        self.try_recv().is_ok()
    }
}

/// Messages of no bytes, which take a slot each.
impl<K: Messages> Sends for Sender<K>
where
    Self: End,
{
    const CALLS: &'static [Moves<Self>] = &[
        |tx| tx.send_all_deadline(&[b""; 4], BRIEF).map_or_else(|stopped| stopped.sent, |()| 4),
        |tx| usize::from(tx.send_deadline(b"", BRIEF).is_ok()),
        |tx| usize::from(tx.send_vectored_deadline(&[IoSlice::new(b"")], BRIEF).is_ok()),
        |tx| {
            tx.reserve_deadline(0, BRIEF).map_or(0, |room| {
                room.commit();
                1
            })
        },
    ];

    fn sends(&mut self) -> bool {
        self.try_send(b"").is_ok()
    }
}

impl<K: Messages> Receives for Receiver<K>
where
    Self: End,
{
    const CALLS: &'static [Moves<Self>] = &[
        |rx| usize::from(rx.recv_deadline(&mut Vec::new(), BRIEF).is_ok()),
        |rx| usize::from(rx.recv_into_deadline(&mut [], BRIEF).is_ok()),
        |rx| {
            rx.claim_deadline(4, BRIEF).map_or(0, |run| {
                let messages = run.len();
                run.release_all();
                messages
            })
        },
    ];
    const LOOKS: &'static [(&'static str, Moves<Self>)] = &[
        ("try_recv", |rx| usize::from(rx.try_recv(&mut Vec::new()).is_ok())),
        ("try_recv_into", |rx| usize::from(rx.try_recv_into(&mut []).is_ok())),
        ("try_claim", |rx| {
            rx.try_claim(12).map_or(0, |run| {
                let messages = run.len();
                run.release_all();
                messages
            })
        }),
        ("clear", |rx| rx.clear().map_or(0, |messages| messages as usize)),
    ];

    fn receives(&mut self) -> bool {
        self.try_recv(&mut Vec::new()).is_ok()
    }
}

/// A small ring, its words, and how many slots it has.
fn ring<K: AnyKind>() -> (Name, Ring<K::Element, K>, Raw, u64) {
    let name = Name::new();
    let ring = Ring::options().capacity(16).create(&name).unwrap();
    let raw = Raw::of(&name.path());
    let slots = raw.words()[5].load(Relaxed);
    (name, ring, raw, slots)
}

/// Attaches one end after the other to a ring in which one slot is sometimes free, or full, and
/// sometimes not: the index at `word` is 0 or 1.
fn beside_a_toggle<K: Toggled>(
    word: usize,
    call: impl Fn(&Ring<K::Element, K>) -> usize + Send + 'static,
) {
    guarded(LONG, move || {
        let (_name, ring, raw, slots) = ring::<K>();
        let other = if word == HEAD { (TAIL, slots) } else { (HEAD, 0) };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stops = Stops(&stop); // whatever becomes of the calls
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    for value in [0, 1] {
                        raw.words()[word].store(value, Relaxed);
                        std::hint::spin_loop();
                    }
                }
            });
            let mut got = 0;
            while got < ENDS {
                raw.words()[other.0].store(other.1, Relaxed);
                got += call(&ring);
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

macro_rules! one_and_one {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            super::for_kinds!($name: spsc Spsc, bytes Bytes, messages SpscMessages);
        }
    )+};
}
one_and_one!(
    room_that_was_taken_back_is_not_used_twice,
    what_was_taken_back_is_not_received_twice,
    what_was_seen_and_then_taken_back_comes_once_at_most_whatever_call_has_looked,
);

/// By whatever call: each end succeeds at most once, as there is one slot more than there was.
fn room_that_was_taken_back_is_not_used_twice<K: Toggled>() {
    for send in <K::Tx as Sends>::CALLS {
        beside_a_toggle::<K>(HEAD, |ring| {
            // Corrupt, if it was told that the ring holds more than it can.
            let Ok(mut tx) = K::sender(ring) else { return 0 };
            let sent = send(&mut tx) + (0..64).filter(|_| tx.sends()).count();
            assert!(sent <= 1, "{sent} items were sent into one free slot");
            sent
        });
    }
}

fn what_was_taken_back_is_not_received_twice<K: Toggled>() {
    for receive in <K::Rx as Receives>::CALLS {
        beside_a_toggle::<K>(TAIL, |ring| {
            let Ok(mut rx) = K::receiver(ring) else { return 0 };
            let received = receive(&mut rx) + (0..64).filter(|_| rx.receives()).count();
            assert!(received <= 1, "{received} items were received from a ring of one");
            received
        });
    }
}

/// An end that has seen ten items, and looks for more than that while the index says that there are
/// fewer: what it can have afterwards is what there was, once.
fn what_was_seen_and_then_taken_back_comes_once_at_most_whatever_call_has_looked<K: Toggled>() {
    for &(name, look) in <K::Rx as Receives>::LOOKS {
        for left in [0, 2] {
            guarded(LONG, move || {
                let (_name, ring, raw, _) = ring::<K>();
                let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
                assert!((0..11).all(|_| tx.sends()));
                assert!(rx.receives());
                raw.words()[TAIL].store(1 + left, Relaxed);
                let mut got = look(&mut rx);
                got += (0..64).filter(|_| rx.receives()).count();
                assert!(got <= 10, "{name}, {left} left: {got} of ten items");
                raw.words()[TAIL].store(11, Relaxed);
                got += (0..64).filter(|_| rx.receives()).count();
                assert!(got <= 10, "{name}, {left} left: {got} of ten items, when all are back");
                assert!(K::send_one(&mut tx, 11));
                assert!(K::recv_one(&mut rx, 11), "{name}, {left} left: it goes on");
            });
        }
    }
}
