//! In flow there are no system calls: `strace` counts those of a thousand values, or messages, and of
//! a million, and finds the same number. Who waits idly makes three an interval at the most: it
//! sleeps, asks whether a peer lives, and makes sure that it has asked the ring's own file; or
//! beside more than eight others in ten intervals. Who attaches wakes nobody of its own role.

mod support;

use std::fs::File;
use std::io::{BufRead, IoSlice, IoSliceMut, Read, Write};
use std::time::Duration;

use ringpipe::bytes::{self, Buffered};
use ringpipe::{MessageError, Mpmc, RecvTimeoutError, Spsc, WaitPolicy};
use support::messenger::{Carries, both_ends};
use support::{Child, Directory, Flavour, Me, options, roles, strace_is_there, tests};

roles!(pass_values, pass_bytes, pass_messages, attach_and_sleep);

tests!(
    uncontended_values_make_no_system_calls,
    uncontended_bytes_make_no_system_calls,
    uncontended_messages_make_no_system_calls,
    a_transfer_makes_one_system_call_for_each_portion,
    an_idle_receiver_makes_three_system_calls_an_interval_at_most,
    one_that_attaches_and_leaves_wakes_the_opposite_role_alone,
    receivers_beyond_eight_hardly_wake_while_they_wait,
);

const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;
/// What two runs of the same program may differ by: allocation, the harness.
const NOISE: u64 = 20;
/// How long an idle receiver sleeps.
const INTERVAL: Duration = Duration::from_millis(5);
/// How long many sleep, in intervals of 50 ms.
const IDLE: Duration = Duration::from_secs(3);

/// "HOW COUNT": passes so many values from itself to itself.
fn pass_values<K: Flavour>(mut me: Me) {
    let order = me.hear().unwrap();
    let (how, count) = order.split_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    let ring = options::<K>().capacity(64).create_anonymous().unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    if how == "idle" {
        rx.set_liveness_interval(INTERVAL);
        rx.set_wait_policy(WaitPolicy::Park); // what it does before it sleeps is not asked here
        assert_eq!(rx.recv_timeout(INTERVAL * count as u32), Err(RecvTimeoutError::Timeout));
        me.say("done");
        me.hear();
        return;
    }
    for n in 0..count {
        match how {
            "try" => {
                tx.try_send(n).unwrap();
                assert_eq!(rx.try_recv(), Ok(n));
                assert!(rx.try_recv().is_err());
            }
            // What would wait, but need not.
            "wait" => {
                tx.send(n).unwrap();
                assert_eq!(rx.recv(), Ok(n));
            }
            // Several in the ring, so that it becomes full as well.
            "lap" => {
                while tx.try_send(n).is_ok() {}
                while rx.try_recv().is_ok() {}
            }
            // One system call a value: that the counting counts.
            "control" => {
                let _ = rustix::process::getppid();
            }
            unknown => panic!("{unknown}"),
        }
    }
    me.say("done");
    me.hear();
}

/// "HOW COUNT": passes so many bytes from itself to itself, a few a call.
fn pass_bytes<K: Flavour>(mut me: Me) {
    let order = me.hear().unwrap();
    let (how, count) = order.rsplit_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    let (mut tx, rx) = bytes::channel(BYTES).unwrap();
    let mut rx = Buffered::new(rx);
    let (zero, null) =
        (File::open("/dev/zero").unwrap(), File::options().write(true).open("/dev/null").unwrap());
    let (mut into, mut also) = ([0; 64], [0; 64]);
    for _ in 0..count {
        match how {
            "whole" => {
                tx.write_all(&into).unwrap();
                rx.read_exact(&mut into).unwrap();
            }
            "vectored" => {
                let both = [IoSlice::new(&into), IoSlice::new(&into[..9])];
                assert_eq!(tx.write_vectored(&both).unwrap(), 73);
                let mut reader = rx.into_inner();
                let mut both = [IoSliceMut::new(&mut into), IoSliceMut::new(&mut also)];
                assert_eq!(reader.read_vectored(&mut both).unwrap(), 73);
                rx = Buffered::new(reader);
            }
            "in place" => {
                let mut run = tx.claim(100).unwrap();
                run.write_slice(0, &into);
                run.commit(64);
                assert_eq!(rx.fill_buf().unwrap().len(), 64);
                rx.consume(64);
            }
            // Without waiting, until it is full, and until it is empty.
            "lap" => {
                tx.set_nonblocking(true);
                while tx.write(&[0; 1000]).is_ok() {}
                let mut reader = rx.into_inner();
                reader.set_nonblocking(true);
                while reader.read(&mut [0; 1000]).is_ok() {}
                rx = Buffered::new(reader);
            }
            "transfer" => {
                assert_eq!(tx.read_from(&zero, BYTES as u64).unwrap(), BYTES as u64);
                let mut reader = rx.into_inner();
                assert_eq!(reader.write_to(&null, BYTES as u64).unwrap(), BYTES as u64);
                rx = Buffered::new(reader);
            }
            unknown => panic!("{unknown}"),
        }
    }
    me.say("done");
    me.hear();
}

/// In the pipe of [`pass_bytes`], and the ring of [`pass_messages`].
const BYTES: usize = 4096;

/// "HOW COUNT": passes so many messages of several lengths from itself to itself.
fn pass_messages<K: Carries>(mut me: Me) {
    let order = me.hear().unwrap();
    let (how, count) = order.rsplit_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    let (mut tx, mut rx) = both_ends::<K>(BYTES);
    if how == "idle" {
        rx.set_liveness_interval(INTERVAL);
        rx.set_wait_policy(WaitPolicy::Park);
        let waited = rx.recv_deadline(&mut Vec::new(), INTERVAL * count as u32);
        assert_eq!(waited, Err(MessageError::Timeout));
        me.say("done");
        me.hear();
        return;
    }
    let (message, mut into) = ([7; 700], Vec::with_capacity(700));
    for n in 0..count {
        let message = &message[..(n * 13 % 700) as usize];
        match how {
            "try" => {
                tx.try_send(message).unwrap();
                rx.try_recv(&mut into).unwrap();
                assert_eq!(rx.try_recv(&mut into), Err(MessageError::Empty));
            }
            // What would wait, but need not.
            "wait" => {
                tx.send(message).unwrap();
                rx.recv(&mut into).unwrap();
            }
            "in place" => {
                let sent = tx.send_with(700, |room| room.write_all(message));
                sent.unwrap();
                rx.claim(1).unwrap().release_all();
            }
            "several" => {
                tx.send_all(&[message; 3]).unwrap();
                (0..3).for_each(|_| rx.recv(&mut into).unwrap());
            }
            // Until it is full, and until it is empty.
            "lap" => {
                while tx.try_send(message).is_ok() {}
                while rx.try_recv(&mut into).is_ok() {}
            }
            unknown => panic!("{unknown}"),
        }
    }
    me.say("done");
    me.hear();
}

/// "attach COUNT": attaches and drops so many receivers beside an idle sender.
/// "sleep COUNT": has so many receivers wait for nothing for a while.
fn attach_and_sleep<K: Flavour>(mut me: Me) {
    let order = me.hear().unwrap();
    let (how, count) = order.split_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    let ring = options::<K>().capacity(64).create_anonymous().unwrap();
    let _tx = K::sender(&ring).unwrap();
    if how == "attach" {
        (0..count).for_each(|_| drop(K::receiver(&ring).unwrap()));
    } else {
        std::thread::scope(|scope| {
            for _ in 0..count {
                let mut rx = K::receiver(&ring).unwrap();
                rx.set_wait_policy(WaitPolicy::Park);
                scope.spawn(move || {
                    assert_eq!(rx.recv_timeout(IDLE), Err(RecvTimeoutError::Timeout));
                });
            }
        });
    }
    me.say("done");
    me.hear();
}

fn uncontended_values_make_no_system_calls() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    let control = grows::<Spsc>("control", FEW * 20);
    assert!(control.abs_diff(FEW * 19) <= NOISE, "the counting does not count: {control}");
    for how in ["try", "wait"] {
        check(how, grows::<Spsc>(how, MANY));
        check(how, grows::<Mpmc>(how, MANY));
    }
    check("lap", grows::<Spsc>("lap", MANY / 64));
    check("lap", grows::<Mpmc>("lap", MANY / 64));
}

fn uncontended_bytes_make_no_system_calls() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    for (how, many) in [("whole", MANY / 10), ("vectored", MANY / 10), ("in place", MANY / 10)] {
        check(how, grows_by_bytes(how, FEW, many));
    }
    check("lap", grows_by_bytes("lap", FEW / 10, MANY / 100));
}

/// Of a quarter of the ring each.
fn a_transfer_makes_one_system_call_for_each_portion() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    let more = grows_by_bytes("transfer", 10, 510);
    assert!(more.abs_diff(8 * 500) <= NOISE, "{more}");
}

fn grows_by_bytes(how: &str, few: u64, many: u64) -> u64 {
    grow::<Spsc>("pass_bytes", how, few, many)
}

fn uncontended_messages_make_no_system_calls() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    for how in ["try", "wait", "in place", "several"] {
        check(how, grow::<Spsc>("pass_messages", how, FEW, MANY / 10));
        check(how, grow::<Mpmc>("pass_messages", how, FEW, MANY / 10));
    }
    check("lap", grow::<Spsc>("pass_messages", "lap", FEW / 10, MANY / 100));
    check("lap", grow::<Mpmc>("pass_messages", "lap", FEW / 10, MANY / 100));
}

fn an_idle_receiver_makes_three_system_calls_an_interval_at_most() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    let (few, many) = (10, 110);
    for role in ["pass_values", "pass_messages"] {
        for (kind, more) in [
            ("SPSC", grow::<Spsc>(role, "idle", few, many)),
            ("MPMC", grow::<Mpmc>(role, "idle", few, many)),
        ] {
            let what = format!("{role}, {kind}: {more} in {} intervals", many - few);
            assert!(more <= 3 * (many - few) + NOISE, "{what}");
            assert!(more >= (many - few) / 2, "{what}: the counting does not count");
        }
    }
}

fn one_that_attaches_and_leaves_wakes_the_opposite_role_alone() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    let (few, many) = (10, 210);
    let [before, after] =
        [few, many].map(|count| counted::<Mpmc>("attach_and_sleep", "attach", count, "futex"));
    let more = after.saturating_sub(before);
    println!("{more} futex calls more for {} receivers more", many - few);
    // One on coming, one on going; four if both roles were woken each time.
    assert!(more <= 2 * (many - few) + NOISE, "{more}");
    assert!(more >= 2 * (many - few) - NOISE, "{more}: the counting does not count");
}

fn receivers_beyond_eight_hardly_wake_while_they_wait() {
    if !strace_is_there("the count of system calls") {
        return;
    }
    let [eight, more] =
        [8, 40].map(|count| counted::<Mpmc>("attach_and_sleep", "sleep", count, "futex"));
    println!("{eight} futex calls of 8 that sleep, {more} of 40");
    let intervals = IDLE.as_millis() as u64 / 50;
    // Each of the 32 wakes six times, not 60; a few more for its coming and going.
    let each = more.saturating_sub(eight) / 32;
    assert!(each <= intervals / 2, "{each} in {intervals} intervals");
}

fn check(how: &str, more: u64) {
    assert!(more <= NOISE, "{how}: {more} system calls more for more of them");
}

/// [`grow`] of values, from a few on.
fn grows<K: Flavour>(how: &str, many: u64) -> u64 {
    let few = if how == "lap" { FEW / 64 } else { FEW };
    grow::<K>("pass_values", how, few, many)
}

/// How many system calls `many` make more than a few do (without those by which they happen to make
/// fewer).
fn grow<K: Flavour>(role: &str, how: &str, few: u64, many: u64) -> u64 {
    let count = |messages| counted::<K>(role, how, messages, "total");
    let more = count(many).saturating_sub(count(few));
    println!("{role}, {how}: {more} more for {many} than for {few}");
    more
}

/// How many calls of this name there are, or all in `total`, while a child plays this role.
fn counted<K: Flavour>(role: &str, how: &str, messages: u64, name: &str) -> u64 {
    let directory = Directory::new();
    let summary = directory.join("summary");
    let strace = ["strace", "-f", "-c", "-U", "calls,name", "-o", summary.to_str().unwrap()];
    let mut child = Child::start_under::<K>(&strace, role, "");
    child.must(&format!("{how} {messages}"), "done");
    child.finish();
    let text = std::fs::read_to_string(&summary).unwrap();
    let total = text.lines().rev().find_map(|line| line.trim().strip_suffix(name));
    total
        .and_then(|calls| calls.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {name} in\n{text}"))
}
