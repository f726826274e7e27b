//! A process that writes all over the region at full speed while others use the ring: they send and
//! receive in every way, come and go, ask, open, list; and some die, so that recovery has work.
//!
//! All of it happens in a mount namespace of its own with a `/dev/shm` of its own, so that
//! `remove_orphans` can be called in earnest too. (That needs root; without it, it is not called,
//! and the test says so.)

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::{
    Bytes, Mpmc, MpmcMessages, OpenError, OpenOrCreateError, Options, Ring, Spsc, SpscMessages,
};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::calls::{Calls, Outcomes, look, refused};
use super::limits::{MOMENTARY, NOW, guarded, tell, timed};
use super::support::region::{Chart, Class, Raw};
use super::support::{Child, LONG, Me, Name, Rng, did_not_run};

/// How long the scribbling goes on: see the top of this program.
const SECONDS: &str = "RINGPIPE_HOSTILE_SECONDS";
/// Rounds of calls that each user makes at least.
const ROUNDS: u64 = 40;
/// After every so many words, the scribbler looks whether it is to stop, and counts.
const VOLLEY: usize = 64;

pub fn seconds() -> Duration {
    let seconds = std::env::var(SECONDS).ok();
    let seconds = seconds.map(|text| text.parse().expect("RINGPIPE_HOSTILE_SECONDS: a number"));
    Duration::from_secs(seconds.unwrap_or(2))
}

fn options<K: Calls>() -> Options<K::Element, K> {
    Ring::options()
}

/// Role: writes random and telling values into all words, those of the header too, until it is told
/// to stop. Most of the damage is taken back soon, so that it hits in ever new places rather than
/// once for all, and now and then everything is put as it was in the beginning. It is in the
/// endpoint table too, where that has room: a liar who is alive.
pub fn scribbles<K: Calls>(mut me: Me) {
    let names = me.ring.clone();
    let (victim, counters) = names.split_once(' ').expect("two names");
    let shm = std::path::Path::new("/dev/shm");
    let (raw, counters) = (Raw::of(&shm.join(victim)), Raw::of(&shm.join(counters)));
    let counters = counters.words();
    let stop = &counters[Class::ALL.len()];
    let good = raw.copy();
    let chart = Chart::of(&good);
    let ring = options::<K>().open(victim).expect("still a ring");
    let _alive = K::MANY.then(|| (K::sender(&ring), K::receiver(&ring)));
    let mut random = Rng::new(0x5eed_0009);
    me.say("scribbling");
    while stop.load(Relaxed) == 0 {
        let mut written = [0; Class::ALL.len()];
        for _ in 0..VOLLEY {
            // Every class alike: of all words, values and empty places would take most.
            let class = random.within(0..Class::ALL.len() as u64) as usize;
            let words = chart.of_class(Class::ALL[class]);
            if words.is_empty() {
                continue; // an SPSC ring has no stamps
            }
            let word = words[random.within(0..words.len() as u64) as usize];
            let bad = match random.within(0..4) {
                0 => random.next(),
                _ => chart.telling(&raw, word, &mut |n| random.within(0..n)),
            };
            let word = &raw.words()[word];
            let was = word.swap(bad, Relaxed);
            written[class] += 1;
            if random.within(0..16) > 0 {
                for _ in 0..random.within(0..200) {
                    std::hint::spin_loop();
                }
                // Unless it has been overwritten by an end.
                let _ = word.compare_exchange(bad, was, Relaxed, Relaxed);
            }
        }
        for (counter, more) in counters.iter().zip(written) {
            counter.fetch_add(more, Relaxed);
        }
        if random.within(0..8) == 0 {
            raw.restore(&good);
        }
    }
    // It was never attached, as far as the ring's other users are concerned: no leave-taking.
    std::process::exit(0);
}

/// Role: claims what it can get and dies with it.
pub fn dies_with_claims<K: Calls>(me: Me) {
    // Scribbled upon, it may be anything.
    let Ok(ring) = options::<K>().open(&me.ring) else { std::process::exit(0) };
    let (tx, rx) = (K::sender(&ring), K::receiver(&ring));
    if let Ok(mut tx) = tx {
        let _ = (0..3).all(|_| K::send_one(&mut tx, 1));
        K::claim_room(&mut tx, true);
        std::mem::forget(tx);
    }
    if let Ok(mut rx) = rx {
        K::hold(&mut rx);
        std::mem::forget(rx);
    }
    std::process::exit(0); // nothing is dropped
}

/// One user of the ring: rounds of calls until it is enough.
fn rounds(stop: &AtomicBool, mut round: impl FnMut(u64, &mut Outcomes)) -> Outcomes {
    let mut seen = Outcomes::default();
    let mut number = 0;
    while number < ROUNDS || !stop.load(Relaxed) {
        number += 1;
        round(number, &mut seen);
    }
    seen
}

/// Who uses the ring, each in a thread of its own.
fn use_the_ring<K: Calls>(
    name: &Name,
    ring: &Ring<K::Element, K>,
    own_shm: bool,
    stop: &AtomicBool,
) -> [(&'static str, Outcomes); 4] {
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut tx = None;
            rounds(stop, |round, seen| {
                if round % 32 == 1 || tx.is_none() {
                    // Closes, with a claim in hand perhaps.
                    timed!(seen, "drop", NOW, drop(tx.take()));
                    tx = seen.attach(|| K::sender(ring));
                }
                if let Some(tx) = &mut tx {
                    K::send(tx, round, round % 16 == 0, seen);
                }
            })
        });
        let receiving = scope.spawn(move || {
            let mut rx = None;
            rounds(stop, |round, seen| {
                if round % 37 == 1 || rx.is_none() {
                    timed!(seen, "drop", NOW, drop(rx.take()));
                    rx = seen.attach(|| K::receiver(ring));
                }
                if let Some(rx) = &mut rx {
                    // Any bits are a value.
                    K::receive(rx, None, round % 16 == 0, seen);
                }
            })
        });
        let looking = scope.spawn(move || {
            // It keeps its file when its name is taken away.
            let second = Name::new();
            std::fs::hard_link(name.path(), second.path()).expect("a second name");
            rounds(stop, |round, seen| {
                look(ring, seen);
                match open_some_way(name, round, seen) {
                    Some(ring) if round % 16 == 1 => {
                        // They leave at once: records change hands.
                        drop((
                            seen.attach(|| K::sender(&ring)),
                            seen.attach(|| K::receiver(&ring)),
                        ));
                        K::share(&ring, seen);
                    }
                    _ => {}
                }
                for listed in timed!(seen, "list", NOW, ringpipe::list()).expect("/dev/shm") {
                    assert!(listed.len <= listed.capacity);
                    seen.count("listed");
                }
                if own_shm && round % 8 == 0 {
                    let removed = timed!(seen, "remove_orphans", NOW, ringpipe::remove_orphans());
                    let removed = removed.expect("/dev/shm");
                    assert!(
                        removed.is_empty(),
                        "a ring in use was taken for an orphan: {removed:?}"
                    );
                    seen.count("no orphans");
                }
                if round % 8 == 4 {
                    let gone = match round % 16 == 4 {
                        true => timed!(seen, "Ring::unlink", MOMENTARY, ring.unlink()),
                        false => timed!(seen, "unlink", MOMENTARY, ringpipe::unlink(name)),
                    };
                    gone.expect("nobody else removes it");
                    seen.count("unlinked");
                    std::fs::hard_link(second.path(), name.path()).expect("nobody else names it");
                }
            })
        });
        let dying = scope.spawn(move || {
            rounds(stop, |round, seen| {
                if round % 16 == 1 {
                    // Whatever it met: it must come to its end by itself.
                    let status = Child::start::<K>("dies_with_claims", name).wait();
                    assert!(status.success(), "{status}");
                    seen.count("died");
                    // Attaching looks for the dead where the table is full.
                    let ends: Vec<_> = (0..4).map(|_| seen.attach(|| K::sender(ring))).collect();
                    drop(ends);
                }
                look(ring, seen);
            })
        });
        let users = [
            ("sending", sending),
            ("receiving", receiving),
            ("looking", looking),
            ("dying", dying),
        ];
        users.map(|(what, user)| match user.join() {
            Ok(outcome) => (what, outcome),
            Err(panic) => {
                stop.store(true, Relaxed); // or the others would go on
                std::panic::resume_unwind(panic)
            }
        })
    })
}

/// Opens the ring in one way or another, or counts why not.
fn open_some_way<K: Calls>(
    name: &Name,
    round: u64,
    seen: &mut Outcomes,
) -> Option<Ring<K::Element, K>> {
    let options = options::<K>();
    let opened = match round % 4 {
        0 => timed!(seen, "open_file", MOMENTARY, options.open_file(name.path())),
        1 => match timed!(seen, "open_or_create", MOMENTARY, options.open_or_create(name)) {
            Ok(ring) => Ok(ring),
            Err(OpenOrCreateError::Open(refused)) => Err(refused),
            Err(other) => panic!("undocumented: {other:?}"),
        },
        _ => timed!(seen, "open", MOMENTARY, options.open(name)),
    };
    seen.count(match &opened {
        Ok(_) => "opened",
        // Between losing its name and getting it back.
        Err(OpenError::NotFound { .. }) => "not found",
        Err(error) => refused(error),
    });
    opened.ok()
}

/// Gives this thread, and those that it starts, a `/dev/shm` of their own; false if it may not.
pub fn own_shm() -> bool {
    if !rustix::process::geteuid().is_root() {
        did_not_run("remove_orphans beside a hostile peer", "needs root for a /dev/shm of its own");
        return false;
    }
    // SAFETY: `NEWNS` alone: no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private mounts");
    let options: &CStr = c"size=64m";
    mount("tmpfs", "/dev/shm", "tmpfs", MountFlags::empty(), options).expect("a tmpfs");
    true
}

fn beside_a_scribbling_process<K: Calls>() {
    let time = seconds();
    guarded(LONG + 2 * time, move || {
        let own_shm = own_shm();
        let (name, counters) = (Name::new(), Name::new());
        let ring = options::<K>().capacity(64).endpoints(8).create(&name).unwrap();
        // So that messages have lengths to be hit.
        let mut tx = K::sender(&ring).unwrap();
        assert!((0..5).all(|number| K::send_one(&mut tx, number)));
        drop(tx);
        // The child counts its writes, by class, where this process can see it; and stops if told.
        std::fs::write(counters.path(), [0; 4096]).unwrap();
        let counts = Raw::of(&counters.path());
        let mut scribbler = Child::start::<K>("scribbles", &format!("{} {}", &*name, &*counters));
        scribbler.must_hear("scribbling");
        let stop = AtomicBool::new(false);
        let users = thread::scope(|scope| {
            scope.spawn(|| {
                // Until it has been long enough, or a user gave up.
                let began = Instant::now();
                while began.elapsed() < time && !stop.load(Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                stop.store(true, Relaxed);
            });
            let users = use_the_ring(&name, &ring, own_shm, &stop);
            stop.store(true, Relaxed);
            users
        });
        counts.words()[Class::ALL.len()].store(1, Relaxed);
        assert!(scribbler.wait().success());
        report::<K>(counts.words(), users);
    });
}

fn report<K: Calls>(counts: &[AtomicU64], users: [(&str, Outcomes); 4]) {
    let kind = K::NAME;
    let by_class: Vec<(Class, u64)> =
        Class::ALL.iter().zip(counts).map(|(&class, count)| (class, count.load(Relaxed))).collect();
    let written: u64 = by_class.iter().map(|of| of.1).sum();
    println!("{kind}: {written} words ({} bytes) scribbled: {by_class:?}", 8 * written);
    for (class, count) in by_class {
        assert!(count > 0 || !class.is_on::<K>(), "{class:?} was left alone");
    }
    let mut all = Outcomes::default();
    for (what, seen) in users {
        println!("  {what}: {} calls survived: {seen:?}", seen.total());
        assert!(seen.total() >= ROUNDS);
        all.add(seen);
    }
    println!("  {} calls survived in all", all.total());
    tell(&format!("{kind}, scribbled on"), written, 8 * written, &all.clock);
    assert!(all.of("ok") > 0, "the ring was of no use at all: {all:?}");
    assert!(all.of("corrupt") > 0, "the scribbler hit nothing: {all:?}");
    assert!(all.of("damaged") > 0, "the scribbler did not hit the header: {all:?}");
}

#[test]
fn an_spsc_ring_bears_a_scribbling_process() {
    beside_a_scribbling_process::<Spsc>();
}

#[test]
fn an_mpmc_ring_bears_a_scribbling_process() {
    beside_a_scribbling_process::<Mpmc>();
}

#[test]
fn a_byte_pipe_bears_a_scribbling_process() {
    beside_a_scribbling_process::<Bytes>();
}

#[test]
fn an_spsc_ring_of_messages_bears_a_scribbling_process() {
    beside_a_scribbling_process::<SpscMessages>();
}

#[test]
fn an_mpmc_ring_of_messages_bears_a_scribbling_process() {
    beside_a_scribbling_process::<MpmcMessages>();
}
