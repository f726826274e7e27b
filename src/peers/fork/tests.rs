//! The gate, within one process. What it keeps from children, `tests/fork_gate.rs` shows.

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

/// Of a thread that has closed the gate, a handler could fork: the gate is its own.
#[test]
fn no_signal_handler_runs_while_forks_are_held_off() {
    static CAME: AtomicU64 = AtomicU64::new(0);
    extern "C" fn comes(_: libc::c_int) {
        CAME.fetch_add(1, Ordering::Relaxed);
    }
    let handler = comes as extern "C" fn(libc::c_int);
    // SAFETY: the handler adds to an atomic; nobody else uses the signal.
    unsafe { libc::signal(libc::SIGWINCH, handler as libc::sighandler_t) };
    // SAFETY: sends a signal that has a handler to this thread.
    let interrupt = || unsafe { libc::raise(libc::SIGWINCH) };
    let came = || CAME.load(Ordering::Relaxed);
    interrupt();
    assert_eq!(came(), 1);
    let outer = hold_off().unwrap();
    interrupt();
    drop(hold_off().unwrap());
    assert_eq!(came(), 1, "it waits until the outermost is gone");
    drop(outer);
    assert_eq!(came(), 2);
    // But those of the thread's own faults: a sandbox may answer its system calls in one.
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGSYS, handler as libc::sighandler_t) };
    let held = hold_off().unwrap();
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGSYS) };
    assert_eq!(came(), 3);
    drop(held);
    // SAFETY: as it was.
    unsafe { libc::signal(libc::SIGSYS, libc::SIG_DFL) };
}
