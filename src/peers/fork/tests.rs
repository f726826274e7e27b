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
