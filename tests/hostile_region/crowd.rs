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

use ringpipe::{Mpmc, MpmcMessages, Ring};

use super::calls::{Calls, INTERVAL, Outcomes};
use super::limits::{guarded, tell};
use super::support::kinds::End;
use super::support::region::{Chart, Class, Raw};
use super::support::{LONG, Name};

#[test]
fn a_crowd_of_dead_and_living_liars_does_not_keep_a_call() {
    guarded(LONG, || {
        beside_a_crowd::<Mpmc>(1, free);
        beside_a_crowd::<Mpmc>(2, holes);
    });
}

#[test]
fn a_crowd_of_liars_does_not_keep_a_call_on_messages() {
    guarded(LONG, || {
        beside_a_crowd::<MpmcMessages>(1, free);
        beside_a_crowd::<MpmcMessages>(2, holes);
        // And two messages, as long as there can be, of which a sender has marked all but the first
        // slot, or that were received.
        beside_a_crowd::<MpmcMessages>(1, |position| if position % HALF == 0 { 0 } else { 3 });
        beside_a_crowd::<MpmcMessages>(2, |position| if position % HALF == 0 { 1 } else { 3 });
    });
}

fn free(_position: u64) -> u64 {
    0
}

/// Every second slot.
fn holes(position: u64) -> u64 {
    2 * (position % 2)
}

const SLOTS: u64 = 4096;
const HALF: u64 = SLOTS / 2;

/// Everybody on the endpoint table is of this role, but for the two who are honest. Slots are in a
/// state that depends on their position.
fn beside_a_crowd<K: Calls>(role: u64, state: fn(u64) -> u64) {
    const ENDS: u32 = 512;
    let name = Name::new();
    let capacity = SLOTS as usize * if K::MESSAGES { 64 } else { 1 };
    let ring: Ring<K::Element, K> =
        Ring::options().capacity(capacity).endpoints(ENDS).create(&name).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
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
        // Every position was claimed by all the dead; the living seem to have claimed something
        // else.
        let index = 4 * SLOTS;
        words[chart.of_class(Class::Tail)[0]].store(index, Relaxed);
        words[chart.of_class(Class::Head)[0]].store(index, Relaxed);
        for (position, &stamp) in (index - SLOTS..).zip(chart.of_class(Class::Stamp)) {
            let lap = position / SLOTS;
            words[stamp].store(lap << 6 | state(position), Relaxed);
        }
        if K::MESSAGES {
            let [stride, slots] = [6, 7].map(|word| good[word] / 8);
            for first in [0, HALF] {
                let length = (slots + stride * first) as usize;
                words[length].store(8 * (stride * HALF - 1), Relaxed);
            }
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
            K::send(&mut tx, round, wait, &mut seen);
            K::receive(&mut rx, None, wait, &mut seen);
            println!("{}, role {role}: {:?}", K::NAME, began.elapsed());
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
