//! Rings of many shapes between processes that strafe them ([`strafe`](super::strafe)), two at
//! once, without a pause, while others make every call: slots of other strides, rings that drop
//! what was not released, named rings and anonymous ones, holes punched meanwhile.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::{Mpmc, Options, Ring, Spsc};
use rustix::fs::{FallocateFlags, fallocate};

use super::calls::{
    Ends, INTERVAL, Outcomes, Sample, look, receive_runs_every_way, refused, send_runs_every_way,
};
use super::limits::{MOMENTARY, NOW, guarded, tell, timed};
use super::scribbler::seconds;
use super::strafe::{Manner, Strafing};
use super::support::{LONG, Name, Rng};

/// How one storm differs from the others.
#[derive(Clone, Copy, Debug)]
struct Shape {
    capacity: usize,
    drop_unreleased: bool,
    anonymous: bool,
    punched: bool,
    manners: &'static [Manner],
}

const SHAPES: [Shape; 6] = [
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
];

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

fn storm<T: Sample, K: Ends>(shape: Shape, time: Duration) -> (Outcomes, u64, u64) {
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
    let strafing = Strafing::start(&path, shape.manners);
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
                    tx = seen.attach(|| K::sender(ring));
                }
                if let Some(tx) = &mut tx {
                    tx.set_liveness_interval(INTERVAL);
                    let most = [3, shape.capacity, 2 * shape.capacity][round as usize % 3];
                    send_runs_every_way(tx, T::of(round), most, round % 8 == 0, seen);
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
                    rx = seen.attach(|| K::receiver(ring));
                }
                if let Some(rx) = &mut rx {
                    rx.set_liveness_interval(INTERVAL);
                    let most = [3, shape.capacity, 2 * shape.capacity][round as usize % 3];
                    receive_runs_every_way(rx, most, round % 8 == 0, seen, &|_| ());
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
                if let Ok(ring) = opened {
                    assert_eq!(ring.capacity(), shape.capacity);
                    if round % 16 == 1 {
                        K::share(&ring, seen);
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

/// `shapes`: which of them.
fn storms<T: Sample, K: Ends>(what: &'static str, shapes: std::ops::Range<usize>) {
    let time = seconds() / 24;
    guarded(LONG + 2 * seconds(), move || {
        let (mut all, mut stores, mut bytes) = (Outcomes::default(), 0, 0);
        for &shape in &SHAPES[shapes] {
            let (seen, more, and_bytes) = storm::<T, K>(shape, time);
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

/// In a short run, other types of items have a share of the shapes each.
fn which(share: std::ops::Range<usize>) -> std::ops::Range<usize> {
    if seconds() > Duration::from_secs(10) { 0..SHAPES.len() } else { share }
}

#[test]
fn an_spsc_ring_bears_strafing() {
    storms::<u64, Spsc>("u64", 0..6);
    storms::<u8, Spsc>("u8", which(0..2));
    storms::<[u8; 5], Spsc>("[u8; 5]", which(2..4));
    storms::<[u64; 16], Spsc>("[u64; 16]", which(4..6));
}

#[test]
fn an_mpmc_ring_bears_strafing() {
    storms::<u64, Mpmc>("u64", 0..6);
    storms::<u8, Mpmc>("u8", which(0..2));
    storms::<[u8; 5], Mpmc>("[u8; 5]", which(2..4));
    storms::<[u64; 16], Mpmc>("[u64; 16]", which(4..6));
}
