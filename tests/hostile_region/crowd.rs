//! Damage that makes recovery slow rather than wrong.
//!
//! Looking for the dead costs what the dead had claimed, times the living whose claims it is
//! compared with. Honest ends claim disjoint slots, so that is never much. A liar can fill the
//! endpoint table, let half of it seem alive by locking their bytes, and let every end claim the
//! whole ring. A call must end all the same.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ringpipe::{Mpmc, Ring};

use super::calls::{INTERVAL, Outcomes, receive_every_way, send_every_way};
use super::limits::{guarded, tell};
use super::support::region::{Chart, Class, Raw};
use super::support::{LONG, Name};

#[test]
fn a_crowd_of_dead_and_living_liars_does_not_keep_a_call() {
    guarded(LONG, || {
        for role in [1, 2] {
            beside_a_crowd(role);
        }
    });
}

/// Everybody on the endpoint table is of this role, but for the two who are honest.
fn beside_a_crowd(role: u64) {
    const ENDS: u32 = 512;
    const SLOTS: u64 = 4096;
    let name = Name::new();
    let ring: Ring<u64, Mpmc> =
        Ring::options().capacity(SLOTS as usize).endpoints(ENDS).create(&name).unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    tx.set_liveness_interval(INTERVAL);
    rx.set_liveness_interval(INTERVAL);
    let raw = Raw::of(&name.path());
    let words = raw.words();
    let good = raw.copy();
    let chart = Chart::of(&good);
    let file = File::options().read(true).write(true).open(name.path()).unwrap();
    // A sender's or receiver's lock byte is this far beyond the first of them all.
    let half = i64::from(ENDS / 2);
    lock(&file, (1 << 62) + 0x1_0000 * role as i64 + half, half);
    let mut seen = Outcomes::default();
    for round in 0..3 {
        // Every position was claimed by all the dead, half of them were holes; the living seem to
        // have claimed something else.
        let index = 4 * SLOTS;
        words[chart.of_class(Class::Tail)[0]].store(index, Relaxed);
        words[chart.of_class(Class::Head)[0]].store(index, Relaxed);
        for (position, &stamp) in (index - SLOTS..).zip(chart.of_class(Class::Stamp)) {
            let lap = position / SLOTS;
            let state = if role == 1 { 0 } else { 2 * (position % 2) };
            words[stamp].store(lap << 6 | state, Relaxed);
        }
        let records = chart.of_class(Class::OwnerWord).iter().zip(chart.of_class(Class::Intent));
        for (number, (&record, &intent)) in records.enumerate().skip(2) {
            words[record].store(1 << 32 | 4 << 2 | role, Relaxed);
            let dead = (number as i64) < half;
            let at = if dead { index - SLOTS } else { index + 2 * SLOTS };
            words[intent].store(SLOTS << 40 | at, Relaxed);
        }
        // A slice passes, and it is time for a liveness check.
        for wait in [false, true] {
            let began = Instant::now();
            send_every_way(&mut tx, round, wait, &mut seen);
            receive_every_way(&mut rx, wait, &mut seen, &|_| ());
            println!("role {role}: {:?}", began.elapsed());
        }
    }
    raw.restore(&good);
    // The slots look as honest ones would, or nobody would have asked whose they are.
    assert_eq!(seen.of("corrupt"), 0, "{seen:?}");
    println!("{} calls beside a crowd of {ENDS}: {seen:?}", seen.total());
    tell("a crowd of dead and living liars", 0, 0, &seen.clock);
}

/// Locks bytes far beyond the file's end, as somebody who lives and sits there would.
fn lock(file: &File, start: i64, len: i64) {
    // SAFETY: a plain C structure for which all-zero is valid.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    (lock.l_start, lock.l_len) = (start, len);
    // SAFETY: the structure outlives the call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}
