//! Beside the words: a process that may open the region's file may also hold its locks, wake whom
//! it likes and move sleepers elsewhere. That stops the flow, and makes recovery wait, as long as
//! it goes on; calls keep their deadlines, and when it is over all is as before.
//!
//! Who opens, and who recovers, asks the same locks whatever a ring carries: that is tried on values.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ringpipe::{
    AttachError, Bytes, Mpmc, MpmcMessages, OpenError, OpenOrCreateError, Options, Ring, Spsc,
    SpscMessages, UnlinkError,
};

use super::calls::{Calls, INTERVAL, MOMENT, Outcomes, look};
use super::limits::{MOMENTARY, NOW, guarded, tell, timed};
use super::scribbler::{own_shm, seconds};
use super::support::at;
use super::support::kinds::End;
use super::support::region::Raw;
use super::support::{Child, LONG, Me, Name, POLICIES, until};

/// The lock bytes, as a stranger would have learnt them.
const BIRTH: i64 = 1 << 62;
const RECOVERY: i64 = BIRTH + 1;
const NAME: i64 = BIRTH + 2;
const SENDERS: i64 = BIRTH + 0x1_0000;
const RECEIVERS: i64 = BIRTH + 0x2_0000;
const ENDPOINTS: u32 = 8;

/// Locks of a stranger's on a region's file, until dropped.
pub struct Locks(File);

impl Locks {
    pub fn on(name: &Name) -> Self {
        Self(File::options().read(true).write(true).open(name.path()).unwrap())
    }

    /// Whether it got them.
    pub fn lock(&self, start: i64, len: i64) -> bool {
        // SAFETY: a plain C structure for which all-zero is valid.
        let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as _;
        lock.l_whence = libc::SEEK_SET as _;
        (lock.l_start, lock.l_len) = (start, len);
        // SAFETY: the structure outlives the call.
        let outcome = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
        outcome == 0
    }

    pub fn must_lock(&self, start: i64, len: i64) {
        assert!(self.lock(start, len), "{}", std::io::Error::last_os_error());
    }
}

fn options<K: Calls>() -> Options<K::Element, K> {
    Ring::options().capacity(16).endpoints(ENDPOINTS)
}

fn report(what: &str, seen: &Outcomes) {
    println!("{what}: {} calls survived: {seen:?}", seen.total());
    tell("locks held by a stranger", 0, 0, &seen.clock);
}

/// Nobody can be reaped, by those who attach while a stranger holds the byte that they lock, by
/// those who are attached while a stranger says that one who lives is at it: what the dead had
/// claimed stays theirs, and records stay taken. All the same, calls with a deadline end, and the
/// others say what there is to say. Then it is let go.
#[test]
fn who_keeps_all_from_recovering_delays_the_reaping_of_the_dead_and_no_deadline() {
    guarded(LONG, || {
        let name = Name::new();
        let ring = options::<Mpmc>().create(&name).unwrap();
        let mut seen = Outcomes::default();
        let stranger = Locks::on(&name);
        stranger.must_lock(RECOVERY, 1);
        // The records fill with the dead, who had claims.
        let mut dead = 0;
        while ring.peers().senders + ring.peers().receivers < ENDPOINTS as usize {
            assert!(Child::start::<Mpmc>("dies_with_claims", &name).wait().success());
            dead += 1;
            assert!(dead < 20, "the dead leave their records though nobody reaps them");
        }
        {
            let outcome = timed!(seen, "attach", MOMENTARY, ring.sender());
            assert!(matches!(outcome, Err(AttachError::TableFull { .. })), "{outcome:?}");
            let outcome = timed!(seen, "attach", MOMENTARY, ring.receiver());
            assert!(matches!(outcome, Err(AttachError::TableFull { .. })), "{outcome:?}");
            look(&ring, &mut seen);
        }
        drop(stranger);
        let mut rx = timed!(seen, "attach", MOMENTARY, ring.receiver()).unwrap();
        rx.set_liveness_interval(INTERVAL);
        until("what the dead had sent", || {
            let outcome = timed!(seen, "recv_timeout", MOMENT, rx.recv_timeout(MOMENT));
            seen.count(if outcome.is_ok() { "ok" } else { "timeout" });
            (outcome == Ok(1)).then_some(())
        });
        drop(rx);

        // And while there are ends, dead and alive, that call.
        let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
        tx.set_liveness_interval(INTERVAL);
        rx.set_liveness_interval(INTERVAL);
        let living = Child::sender::<Mpmc>(&name, Default::default());
        let raw = Raw::of(&name.path());
        let owners = &raw.words()[at::OWNERS / 8..][..ENDPOINTS as usize];
        let owners = owners.iter().map(|owner| owner.load(Relaxed)).zip(0..);
        let (owner, record) =
            owners.into_iter().find(|(owner, _)| owner >> 32 == living.pid().into()).unwrap();
        let named: u64 = record << 32 | owner & 0xffff_ffff;
        let word = &raw.words()[at::RECOVERY / 8];
        until("one's turn to take", || {
            word.compare_exchange(0, named, Relaxed, Relaxed).is_ok().then_some(())
        });
        assert!(Child::start::<Mpmc>("dies_with_claims", &name).wait().success());
        for round in 0..50 {
            Mpmc::send(&mut tx, round, round % 4 == 0, &mut seen);
            Mpmc::receive(&mut rx, None, round % 4 == 1, &mut seen);
        }
        assert_eq!(word.load(Relaxed), named);
        living.kill();
        until("a message behind what the dead had claimed", || {
            let _ = timed!(seen, "send_timeout", MOMENT, tx.send_timeout(77, MOMENT));
            let outcome = timed!(seen, "recv_timeout", MOMENT, rx.recv_timeout(MOMENT));
            (outcome == Ok(77)).then_some(())
        });
        report("recovery", &seen);
    });
}

/// Who opens is told that somebody is busy with it, after a second; the name can still be removed.
#[test]
fn who_holds_the_locks_of_a_ring_and_its_name_makes_it_busy() {
    guarded(LONG, || {
        let own_shm = own_shm();
        let name = Name::new();
        drop(options::<Mpmc>().create(&name).unwrap());
        let options = options::<Mpmc>;
        let stranger = Locks::on(&name);
        until("a birth lock to take", || stranger.lock(BIRTH, 1).then_some(()));
        // Each takes its second.
        let busy = |opened: Result<Ring<u64, Mpmc>, OpenError>| {
            assert!(matches!(opened, Err(OpenError::Busy { .. })), "{opened:?}");
        };
        let mut seen = at_once([
            &|seen| busy(timed!(seen, "open", MOMENTARY, options().open(&name))),
            &|seen| busy(timed!(seen, "open_file", MOMENTARY, options().open_file(name.path()))),
            &|seen| {
                let opened =
                    timed!(seen, "open_or_create", MOMENTARY, options().open_or_create(&name));
                busy(opened.map_err(|refused| match refused {
                    OpenOrCreateError::Open(refused) => refused,
                    other => panic!("{other:?}"),
                }));
            },
        ]);
        let listed = timed!(seen, "list", NOW, ringpipe::list()).unwrap();
        assert!(listed.iter().any(|listed| listed.name == *name && listed.in_use), "{listed:?}");
        if own_shm {
            let removed = timed!(seen, "remove_orphans", NOW, ringpipe::remove_orphans()).unwrap();
            assert!(removed.is_empty(), "somebody holds it: {removed:?}");
        }
        drop(stranger);

        // Who holds the name keeps it from being removed, for a second.
        let ring = timed!(seen, "open", MOMENTARY, options().open(&name)).unwrap();
        let stranger = Locks::on(&name);
        stranger.must_lock(NAME, 1);
        let busy = |outcome: Result<(), UnlinkError>| {
            assert!(matches!(outcome, Err(UnlinkError::Busy { .. })), "{outcome:?}");
        };
        seen.add(at_once([
            &|seen| busy(timed!(seen, "Ring::unlink", MOMENTARY, ring.unlink())),
            &|seen| busy(timed!(seen, "unlink", MOMENTARY, ringpipe::unlink(&name))),
        ]));
        drop(ring);
        if own_shm {
            let orphans = timed!(seen, "remove_orphans", MOMENTARY, ringpipe::remove_orphans());
            assert!(orphans.unwrap().is_empty());
        }
        drop(stranger);
        timed!(seen, "unlink", MOMENTARY, ringpipe::unlink(&name)).unwrap();
        report("birth and name locks", &seen);
    });
}

/// Makes the calls, each in a thread of its own.
fn at_once<const N: usize>(calls: [&(dyn Fn(&mut Outcomes) + Sync); N]) -> Outcomes {
    let mut all = Outcomes::default();
    thread::scope(|scope| {
        let calls = calls.map(|call| {
            scope.spawn(move || {
                let mut seen = Outcomes::default();
                call(&mut seen);
                seen.count("busy");
                seen
            })
        });
        for call in calls {
            all.add(call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    all
}

/// All records seem about to be taken: an end that wants one gives up after a second. Those who sit
/// there already go on. All the dead seem alive: nobody is found dead, and no deadline is missed.
fn who_holds_the_records<K: Calls>() {
    guarded(LONG, || {
        let name = Name::new();
        let ring = options::<K>().create(&name).unwrap();
        let mut seen = Outcomes::default();
        let stranger = Locks::on(&name);
        stranger.must_lock(SENDERS, 0x1_0000);
        stranger.must_lock(RECEIVERS, 0x1_0000);
        let outcome = timed!(seen, "attach", MOMENTARY, K::sender(&ring));
        let refused = outcome.err().expect("all records are locked");
        let full = matches!(refused, AttachError::TableFull { .. } | AttachError::RoleTaken { .. });
        assert!(full, "{refused:?}");
        drop(stranger);

        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        let stranger = Locks::on(&name);
        // Around the two that are taken.
        for record in 0..0x1_0000 {
            let _ = (stranger.lock(SENDERS + record, 1), stranger.lock(RECEIVERS + record, 1));
            if record > 2 * i64::from(ENDPOINTS) {
                break;
            }
        }
        for round in 0..50 {
            K::send(&mut tx, round, round % 8 == 0, &mut seen);
            K::receive(&mut rx, None, round % 8 == 1, &mut seen);
        }
        drop(rx);
        for round in 0..50 {
            K::send(&mut tx, round, round % 8 == 0, &mut seen);
        }
        report(&format!("{}, records", K::NAME), &seen);
    });
}

#[test]
fn who_holds_the_records_of_an_spsc_ring_keeps_others_out_and_nobody_waiting() {
    who_holds_the_records::<Spsc>();
}

#[test]
fn who_holds_the_records_of_an_mpmc_ring_keeps_others_out_and_nobody_waiting() {
    who_holds_the_records::<Mpmc>();
}

#[test]
fn who_holds_the_records_of_a_byte_pipe_keeps_others_out_and_nobody_waiting() {
    who_holds_the_records::<Bytes>();
}

#[test]
fn who_holds_the_records_of_spsc_messages_keeps_others_out_and_nobody_waiting() {
    who_holds_the_records::<SpscMessages>();
}

#[test]
fn who_holds_the_records_of_mpmc_messages_keeps_others_out_and_nobody_waiting() {
    who_holds_the_records::<MpmcMessages>();
}

/// The kernel looks for a lock in a list. A stranger makes it long.
#[test]
fn many_locks_make_calls_slow_and_not_late() {
    guarded(LONG, || {
        let name = Name::new();
        let ring: Ring<u64, Mpmc> = Ring::options().capacity(16).create(&name).unwrap();
        let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
        let mut seen = Outcomes::default();
        let stranger = Locks::on(&name);
        let began = Instant::now();
        let mut locks = 0;
        // Apart, or the kernel would make them one.
        while locks < 10_000 && began.elapsed() < Duration::from_millis(500) {
            stranger.must_lock(2 * locks, 1);
            locks += 1;
        }
        tx.set_liveness_interval(INTERVAL);
        rx.set_liveness_interval(INTERVAL);
        for round in 0..20 {
            Mpmc::send(&mut tx, round, round % 4 == 0, &mut seen);
            Mpmc::receive(&mut rx, None, round % 4 == 1, &mut seen);
            Mpmc::share(&ring, &mut seen);
        }
        report(&format!("{locks} locks"), &seen);
    });
}

/// Words of a region: where receivers and senders sleep, and where nobody does.
const DATA: usize = at::DATA / 8;
const SPACE: usize = at::SPACE / 8;
const NOWHERE: usize = 384 / 8 + 70;

/// Role: wakes whoever sleeps in the ring and moves sleepers from word to word.
pub fn wakes_wildly<K: Calls>(mut me: Me) {
    let told: Vec<&str> = me.ring.split(' ').collect();
    let [region, counter] = told[..] else { panic!("{told:?}") };
    let shm = std::path::Path::new("/dev/shm");
    let (raw, counters) = (Raw::of(&shm.join(region)), Raw::of(&shm.join(counter)));
    let words = [DATA, SPACE, NOWHERE].map(|word| raw.words()[word].as_ptr().cast::<u32>());
    // A word of a file that the others do not even have.
    let elsewhere = counters.words()[64].as_ptr().cast::<u32>();
    let counters = counters.words();
    let futex =
        |word: *mut u32, operation: i32, count: usize, also: usize, other: *mut u32, value: u32| {
            // SAFETY: both words are mapped; the operations used write neither.
            unsafe { libc::syscall(libc::SYS_futex, word, operation, count, also, other, value) }
        };
    me.say("waking");
    for turn in 0_usize.. {
        let (from, to) = (words[turn % 2], words[1 + turn % 2]);
        let to = if turn % 5 == 0 { elsewhere } else { to };
        // SAFETY: a word of the mapping, which others change: volatile.
        let now = unsafe { from.read_volatile() };
        let moved = futex(from, libc::FUTEX_CMP_REQUEUE, 0, 1000, to, now);
        counters[1].fetch_add(moved.max(0) as u64, Relaxed);
        if turn % 7 == 0 {
            futex(from, libc::FUTEX_REQUEUE, 1, 1000, to, 0);
        }
        if turn % 3 == 0 {
            let woken = futex(from, libc::FUTEX_WAKE, i32::MAX as usize, 0, to, 0);
            counters[2].fetch_add(woken.max(0) as u64, Relaxed);
        }
        counters[3].fetch_add(1, Relaxed);
        if counters[0].load(Relaxed) != 0 {
            break;
        }
    }
    std::process::exit(0);
}

/// All that is sent arrives, in order; and who waits in vain is back in time. A wake that is stolen
/// costs a slice.
fn beside_wild_wakes<K: Calls>() {
    let time = seconds() / 4;
    guarded(LONG + 2 * seconds(), move || {
        let (name, counters) = (Name::new(), Name::new());
        let ring = options::<K>().create(&name).unwrap();
        std::fs::write(counters.path(), [0; 4096]).unwrap();
        let counts = Raw::of(&counters.path());
        let mut wild = Child::start::<K>("wakes_wildly", &format!("{} {}", &*name, &*counters));
        wild.must_hear("waking");
        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        let slice = Duration::from_millis(5);
        tx.set_liveness_interval(slice);
        rx.set_liveness_interval(slice);
        // By turns: the receiver falls asleep, and the ring fills.
        let pause = Duration::from_millis(2);
        let began = Instant::now();
        let stop = &AtomicBool::new(false);
        let users = thread::scope(|scope| {
            let sending = scope.spawn(move || {
                let mut seen = Outcomes::default();
                let mut sent = 0_u64;
                while began.elapsed() < time || sent < 200 {
                    tx.set_wait_policy(POLICIES[sent as usize / 10 % 3]);
                    if sent.is_multiple_of(50) && sent % 1000 < 500 {
                        thread::sleep(pause);
                    }
                    let mut send = || K::wait_to_send(&mut tx, sent, 1, LONG);
                    assert!(timed!(seen, "send", 4 * slice, send()));
                    seen.count("ok");
                    sent += 1;
                }
                stop.store(true, Relaxed);
                drop(tx);
                seen
            });
            let receiving = scope.spawn(move || {
                let mut seen = Outcomes::default();
                let mut expected = 0_u64;
                loop {
                    rx.set_wait_policy(POLICIES[expected as usize / 7 % 3]);
                    if expected.is_multiple_of(50) && expected % 1000 >= 500 {
                        thread::sleep(pause);
                    }
                    let closed = rx.is_closed(); // before: there may be more
                    let mut wait = || K::wait_to_receive(&mut rx, Some(expected), slice);
                    match timed!(seen, "recv_timeout", slice, wait()) {
                        true => {
                            expected += 1;
                            seen.count("ok");
                        }
                        false if closed => break,
                        false => seen.count("timeout"),
                    }
                }
                assert!(stop.load(Relaxed), "end of file before the end");
                seen
            });
            [sending, receiving]
                .map(|user| user.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        counts.words()[0].store(1, Relaxed);
        assert!(wild.wait().success());
        let [moved, woken, turns] = [1, 2, 3].map(|at: usize| counts.words()[at].load(Relaxed));
        let mut all = Outcomes::default();
        users.into_iter().for_each(|seen| all.add(seen));
        println!(
            "{}: {turns} turns of wild wakes, {moved} sleepers moved, {woken} woken; {} calls survived: {all:?}",
            K::NAME,
            all.total()
        );
        assert!(moved + woken > 0, "nobody slept");
        tell(&format!("{}, wild wakes", K::NAME), 0, 0, &all.clock);
    });
}

#[test]
fn an_spsc_ring_bears_wild_wakes() {
    beside_wild_wakes::<Spsc>();
}

#[test]
fn an_mpmc_ring_bears_wild_wakes() {
    beside_wild_wakes::<Mpmc>();
}

#[test]
fn a_byte_pipe_bears_wild_wakes() {
    beside_wild_wakes::<Bytes>();
}

#[test]
fn spsc_messages_bear_wild_wakes() {
    beside_wild_wakes::<SpscMessages>();
}

#[test]
fn mpmc_messages_bear_wild_wakes() {
    beside_wild_wakes::<MpmcMessages>();
}
