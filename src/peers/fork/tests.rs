//! The gate, within one process. What it keeps from children, `tests/fork.rs` shows.

use super::*;

#[test]
fn the_gate_opens_when_it_has_been_opened_as_often_as_closed() {
    let me = rustix::thread::gettid().as_raw_nonzero().get() as u64;
    // Other tests close it, too, but only this thread with its number.
    let is_closed = || page().expect("mapped").gate.load(Ordering::Relaxed) == me;
    for _ in 0..2 {
        let outer = hold_off().expect("handlers registered");
        let inner = hold_off().expect("handlers registered");
        assert!(is_closed());
        drop(inner);
        assert!(is_closed(), "as where handlers run twice");
        drop(outer);
        assert!(!is_closed());
    }
}

/// Making way alone would not let an owner run whose priority is lower.
#[test]
fn who_waits_at_the_gate_sleeps() {
    let held = hold_off().unwrap();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let waits = scope.spawn(move || {
            tell.send(rustix::thread::gettid()).expect("it is awaited");
            drop(hold_off().unwrap());
        });
        let thread = told.recv().expect("it tells").as_raw_nonzero();
        let asleep = || {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
            // What follows the name, which is in parentheses.
            stat.expect("it lives").rsplit(')').next().unwrap().trim_start().starts_with('S')
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !asleep() {
            assert!(std::time::Instant::now() < deadline, "it spins");
            std::thread::yield_now();
        }
        drop(held);
        waits.join().expect("it gets its turn");
    });
}
