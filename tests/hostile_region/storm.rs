//! Rings of many shapes between processes that strafe them ([`strafe`](super::strafe)), two at
//! once, without a pause, while others make every call: slots of other strides, bytes and messages,
//! rings that drop what was not released, named rings and anonymous ones, holes punched meanwhile.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::{
    AttachError, Bytes, Item, Kind, Mpmc, MpmcMessages, Options, RecvHandle, Ring, SendHandle,
    Spsc, SpscMessages,
};
use rustix::fs::{FallocateFlags, fallocate};

use super::calls::{
    Calls, Ends, INTERVAL, Outcomes, Sample, look, receive_runs_every_way, refused,
    send_runs_every_way,
};
use super::limits::{MOMENTARY, NOW, guarded, tell, timed};
use super::scribbler::seconds;
use super::strafe::{Manner, Strafing};
use super::support::kinds::End;
use super::support::{LONG, Name, Rng};

/// How one storm differs from the others.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Items; of bytes and messages there is a page at least.
    capacity: usize,
    drop_unreleased: bool,
    anonymous: bool,
    punched: bool,
    manners: &'static [Manner],
}

const SHAPES: [Shape; 8] = [
    Shape {
        capacity: 64,
        drop_unreleased: false,
        anonymous: false,
        punched: false,
        manners: &[Manner::Words, Manner::Words],
    },
    Shape {
        capacity: 64,
        drop_unreleased: true,
        anonymous: true,
        punched: false,
        manners: &[Manner::Narrow, Manner::Words],
    },
    Shape {
        capacity: 1,
        drop_unreleased: true,
        anonymous: false,
        punched: false,
        manners: &[Manner::Swap, Manner::Narrow],
    },
    Shape {
        capacity: 256,
        drop_unreleased: false,
        anonymous: false,
        punched: false,
        manners: &[Manner::Swap],
    },
    Shape {
        capacity: 1024,
        drop_unreleased: false,
        anonymous: true,
        punched: true,
        manners: &[Manner::Narrow],
    },
    Shape {
        capacity: 1024,
        drop_unreleased: true,
        anonymous: false,
        punched: true,
        manners: &[Manner::Words],
    },
    Shape {
        capacity: 64,
        drop_unreleased: false,
        anonymous: false,
        punched: false,
        manners: &[Manner::Swap, Manner::Sweep],
    },
    Shape {
        capacity: 64,
        drop_unreleased: false,
        anonymous: true,
        punched: false,
        manners: &[Manner::ToAndFro, Manner::Narrow],
    },
];

/// How a kind of ring, of one type of items, is used: what attaches its ends, and their calls, of
/// which each makes all that there are, with up to so many items or bytes at once.
struct Users<T: Item, K: Kind, Tx, Rx> {
    sender: fn(&Ring<T, K>) -> Result<Tx, AttachError>,
    receiver: fn(&Ring<T, K>) -> Result<Rx, AttachError>,
    send: fn(&mut Tx, u64, usize, &mut Outcomes),
    receive: fn(&mut Rx, u64, usize, &mut Outcomes),
    share: fn(&Ring<T, K>, &mut Outcomes),
}

/// In which rounds calls wait.
fn waits(round: u64) -> bool {
    round.is_multiple_of(8)
}

fn of_values<T: Sample, K: Ends>() -> Users<T, K, SendHandle<T, K>, RecvHandle<T, K>> {
    Users {
        sender: K::sender,
        receiver: K::receiver,
        send: |tx, round, most, seen| {
            send_runs_every_way(tx, T::of(round), most, waits(round), seen);
        },
        receive: |rx, round, most, seen| {
            receive_runs_every_way(rx, most, waits(round), seen, &|_| ());
        },
        share: K::share,
    }
}

/// Of any kind, in turns all calls and those that move as many as are asked for.
fn of_any<K: Calls>() -> Users<K::Element, K, K::Tx, K::Rx> {
    Users {
        sender: K::sender,
        receiver: K::receiver,
        send: |tx, round, most, seen| match round % 2 {
            0 => K::send(tx, round, waits(round), seen),
            _ => K::send_up_to(tx, most, waits(round), seen),
        },
        receive: |rx, round, most, seen| match round % 2 {
            0 => K::receive(rx, None, waits(round), seen),
            _ => K::receive_up_to(rx, most, waits(round), seen),
        },
        share: K::share,
    }
}

/// Calls in rounds until it is enough.
fn rounds(stop: &AtomicBool, mut round: impl FnMut(u64, &mut Outcomes)) -> Outcomes {
    let mut seen = Outcomes::default();
    for number in 1.. {
        round(number, &mut seen);
        if stop.load(Relaxed) && number >= 8 {
            break;
        }
    }
    seen
}

fn storm<T: Item, K: Kind, Tx: End, Rx: End>(
    users: &Users<T, K, Tx, Rx>,
    shape: Shape,
    time: Duration,
) -> (Outcomes, u64, u64) {
    let name = Name::new();
    let options: Options<T, K> = Ring::options();
    let options =
        options.capacity(shape.capacity).endpoints(8).drop_unreleased(shape.drop_unreleased);
    let ring = match shape.anonymous {
        true => options.create_anonymous().unwrap(),
        false => options.create(&name).unwrap(),
    };
    let path = match shape.anonymous {
        true => format!("/proc/{}/fd/{}", std::process::id(), ring.as_fd().as_raw_fd()),
        false => name.path().to_str().unwrap().to_owned(),
    };
    // With something in it, so that there are lengths to be hit, and put back.
    if let (Ok(mut tx), seen) = ((users.sender)(&ring), &mut Outcomes::default()) {
        (users.send)(&mut tx, 1, 3, seen);
    }
    let strafing = Strafing::start(&path, shape.manners);
    let most = [3, ring.capacity(), 2 * ring.capacity()];
    let stop = AtomicBool::new(false);
    let (ring, options, stop, name) = (&ring, &options, &stop, &name);
    let seen = thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut tx = None;
            rounds(stop, |round, seen| {
                if round % 32 == 1 {
                    timed!(seen, "drop", NOW, drop(tx.take()));
                }
                if tx.is_none() {
                    tx = seen.attach(|| (users.sender)(ring));
                }
                if let Some(tx) = &mut tx {
                    tx.set_liveness_interval(INTERVAL);
                    (users.send)(tx, round, most[round as usize % 3], seen);
                }
            })
        });
        let receiving = scope.spawn(move || {
            let mut rx = None;
            rounds(stop, |round, seen| {
                if round % 37 == 1 {
                    timed!(seen, "drop", NOW, drop(rx.take()));
                }
                if rx.is_none() {
                    rx = seen.attach(|| (users.receiver)(ring));
                }
                if let Some(rx) = &mut rx {
                    rx.set_liveness_interval(INTERVAL);
                    (users.receive)(rx, round, most[round as usize % 3], seen);
                }
            })
        });
        let looking = scope.spawn(move || {
            let mut random = Rng::new(0x5eed_0011);
            rounds(stop, |round, seen| {
                look(ring, seen);
                let opened = match shape.anonymous {
                    true => {
                        let fd = ring.as_fd().try_clone_to_owned().unwrap();
                        timed!(seen, "from_fd", MOMENTARY, options.from_fd(fd))
                    }
                    false => timed!(seen, "open", MOMENTARY, options.open(name)),
                };
                seen.count(match &opened {
                    Ok(_) => "opened",
                    Err(error) => refused(error),
                });
                if let Ok(opened) = opened {
                    assert_eq!(opened.capacity(), ring.capacity());
                    if round % 16 == 1 {
                        (users.share)(&opened, seen);
                    }
                }
                if shape.punched {
                    let pages = (ring.region_len() / 4096) as u64;
                    let first = random.within(0..pages);
                    let len = 1 + random.within(0..pages - first);
                    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    fallocate(ring, flags, 4096 * first, 4096 * len).expect("a hole");
                    seen.count("punched");
                }
            })
        });
        let began = Instant::now();
        let users = [sending, receiving, looking];
        while began.elapsed() < time && !users.iter().any(|user| user.is_finished()) {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Relaxed);
        let mut all = Outcomes::default();
        for user in users {
            all.add(user.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    let (stores, bytes) = strafing.stop();
    assert!(stores > 0);
    (seen, stores, bytes)
}

/// `shapes`: which of them; each of them has one of so many parts of the time.
fn storms<T: Item, K: Kind, Tx: End, Rx: End>(
    what: &'static str,
    users: Users<T, K, Tx, Rx>,
    shapes: Range<usize>,
    parts: u32,
) {
    let time = seconds() / parts;
    guarded(LONG + 2 * seconds(), move || {
        let (mut all, mut stores, mut bytes) = (Outcomes::default(), 0, 0);
        for &shape in &SHAPES[shapes] {
            let (seen, more, and_bytes) = storm(&users, shape, time);
            all.add(seen);
            (stores, bytes) = (stores + more, bytes + and_bytes);
        }
        let calls = all.total();
        println!(
            "{}, {what}: strafed by {stores} stores, {calls} calls survived: {all:?}",
            K::NAME
        );
        tell(&format!("{}, strafed", K::NAME), stores, bytes, &all.clock);
    });
}

/// All shapes.
const ALL: Range<usize> = 0..SHAPES.len();

/// In a short run, other types of items have a share of the shapes each.
fn which(share: Range<usize>) -> Range<usize> {
    if seconds() > Duration::from_secs(10) { ALL } else { share }
}

fn of_all_items<K: Ends>() {
    storms("u64", of_values::<u64, K>(), ALL, 24);
    storms("u8", of_values::<u8, K>(), which(0..2), 24);
    storms("[u8; 5]", of_values::<[u8; 5], K>(), which(2..4), 24);
    storms("[u64; 16]", of_values::<[u64; 16], K>(), which(4..6), 24);
}

#[test]
fn an_spsc_ring_bears_strafing() {
    of_all_items::<Spsc>();
}

#[test]
fn an_mpmc_ring_bears_strafing() {
    of_all_items::<Mpmc>();
}

#[test]
fn a_byte_pipe_bears_strafing() {
    storms("bytes", of_any::<Bytes>(), ALL, 12);
}

#[test]
fn an_spsc_ring_of_messages_bears_strafing() {
    storms("messages", of_any::<SpscMessages>(), ALL, 12);
}

#[test]
fn an_mpmc_ring_of_messages_bears_strafing() {
    storms("messages", of_any::<MpmcMessages>(), ALL, 12);
}
