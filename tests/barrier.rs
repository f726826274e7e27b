//! C7 whoever may call membarrier(2) and whoever may not: publishers that cannot register fence
//! themselves, sleepers that cannot call it sleep in short intervals, and any mix of them works.
//! That the barrier is needed, the litmus in `src/wait/tests/litmus.rs` shows; here a wake that is
//! lost for want of it would be late by a millisecond, which nobody sees.
//!
//! What the call's absence is, the kernel decides: a seccomp filter answers it with an error, or
//! ends the process.

#[path = "support/death.rs"]
mod death;
mod support;

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use death::{DATA, set_word};
use ringpipe::{WaitPolicy, opt_out_of_membarrier};
use support::{
    Child, Flavour, LONG_INTERVAL, Me, WOKEN, both_kinds, new_ring, options, roles, seccomp,
};

roles!(sends, receives, attaches);

both_kinds!(
    c07_no_wake_is_lost_whoever_may_call_membarrier,
    c07_a_sleeper_that_may_not_call_membarrier_looks_again_soon,
    a_process_that_opts_out_in_time_does_not_register,
);

/// `MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED`.
const REGISTER: u32 = 4;

/// From now on this thread's calls of membarrier, or those with this one `command`, get `answer`.
fn filter_membarrier(command: Option<u32>, answer: u32) {
    seccomp::answer_to(libc::SYS_membarrier, command.map(|command| (0, command)), answer);
}

/// "may COUNT" or "may-not COUNT": the number.
fn order(me: &mut Me) -> u64 {
    let order = me.hear().unwrap();
    let (may, count) = order.split_once(' ').unwrap();
    if may == "may-not" {
        filter_membarrier(None, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    }
    count.parse().unwrap()
}

/// Sends the next value a moment after the receiver has taken the last: just when it finds nothing
/// more, announces that it will sleep, and looks again.
fn sends<K: Flavour>(mut me: Me) {
    let count = order(&mut me);
    let mut tx = K::sender(&options::<K>().open(&me.ring).unwrap()).unwrap();
    for n in 0..count {
        let mut turns = 0;
        while !tx.is_empty() {
            turns += 1;
            if turns > 1000 {
                std::thread::yield_now(); // the receiver does not run
            }
        }
        // Sooner or later: the ways of two programs differ by some nanoseconds or microseconds.
        (0..n % 97).for_each(|_| std::hint::spin_loop());
        tx.send(n).unwrap();
    }
    me.say("sent");
    me.hear();
}

fn receives<K: Flavour>(mut me: Me) {
    let count = order(&mut me);
    let mut rx = K::receiver(&options::<K>().open(&me.ring).unwrap()).unwrap();
    rx.set_wait_policy(WaitPolicy::Park);
    rx.set_liveness_interval(LONG_INTERVAL);
    let mut longest = Duration::ZERO; // of all calls
    for n in 0..count {
        let began = Instant::now();
        assert_eq!(rx.recv(), Ok(n));
        longest = longest.max(began.elapsed());
    }
    me.say(longest.as_millis());
    me.hear();
}

fn c07_no_wake_is_lost_whoever_may_call_membarrier<K: Flavour>() {
    for sender in ["may", "may-not"] {
        for receiver in ["may", "may-not"] {
            let (name, _ring) = new_ring::<K>(1);
            let mut rx = Child::start::<K>("receives", &name);
            let mut tx = Child::start::<K>("sends", &name);
            rx.say(&format!("{receiver} 4000"));
            tx.say(&format!("{sender} 4000"));
            let longest = Duration::from_millis(rx.hear().parse().unwrap());
            assert!(longest < WOKEN, "sender {sender}, receiver {receiver}: asleep {longest:?}");
            tx.must_hear("sent");
            rx.finish();
            tx.finish();
        }
    }
}

/// Plays the publisher whom the sleeper's barrier did not reach, and who saw no announcement: once
/// the sleeper has found nothing several times.
fn c07_a_sleeper_that_may_not_call_membarrier_looks_again_soon<K: Flavour>() {
    let (name, ring) = new_ring::<K>(1);
    let mut tx = K::sender(&ring).unwrap();
    let mut rx = Child::start::<K>("receives", &name);
    rx.say("may-not 1");
    rx.until_restless();
    set_word(&name, DATA, 0);
    tx.try_send(0).unwrap();
    let longest = Duration::from_millis(rx.hear().parse().unwrap());
    assert!(longest < WOKEN, "asleep {longest:?}");
    rx.finish();
}

/// "opt out" or "stay": then attaches, where whoever registers is ended by the kernel.
fn attaches<K: Flavour>(mut me: Me) {
    if me.hear().unwrap() == "opt out" {
        assert!(opt_out_of_membarrier());
        assert!(opt_out_of_membarrier(), "it stays so");
    }
    filter_membarrier(Some(REGISTER), libc::SECCOMP_RET_KILL_PROCESS);
    let ring = options::<K>().open(&me.ring).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    tx.send(5).unwrap();
    assert_eq!(rx.recv(), Ok(5));
    me.say("not registered");
    me.hear();
}

fn a_process_that_opts_out_in_time_does_not_register<K: Flavour>() {
    let (name, ring) = new_ring::<K>(1);
    let mut child = Child::start::<K>("attaches", &name);
    child.must("opt out", "not registered");
    child.finish();
    let mut child = Child::start::<K>("attaches", &name);
    child.say("stay");
    assert_eq!(child.wait().signal(), Some(libc::SIGSYS));
    let _end = K::sender(&ring).unwrap();
    assert!(!opt_out_of_membarrier(), "this process has an end, and stays registered");
}
