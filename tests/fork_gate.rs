//! C18, in the moment in which an end attaches: a child that is forked, or a program that is started,
//! in its midst holds nothing of it, or not for longer than it lives.

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use support::forked::in_a_fork;
use support::{Child, Flavour, Me, both_kinds, new_ring, options, roles};

roles!(
    forks_while_it_attaches,
    forks_in_signal_handlers_while_it_attaches,
    is_forked_past_the_gate,
    forks_while_it_registers,
    attaches_while_it_starts_programs,
);

both_kinds!(
    c18_a_child_forked_in_the_middle_of_attaching_holds_nothing,
    c18_a_child_forked_by_a_signal_handler_holds_nothing,
    c18_what_a_child_forked_past_the_gate_has_is_free_when_it_ends,
    c18_a_child_forked_in_the_first_attachment_of_its_parent_attaches_anew,
    c18_programs_started_meanwhile_keep_no_role_taken,
);

/// Living senders and receivers by their locks, as a stranger sees them.
fn alive(name: &str) -> (usize, usize) {
    let seen = ringpipe::list().unwrap().into_iter().find(|seen| seen.name == name).unwrap();
    (seen.senders, seen.receivers)
}

/// Plays a role that does it all by itself.
fn plays<K: Flavour>(role: &str, name: &str) {
    let mut child = Child::start::<K>(role, name);
    child.must("go", "Ok");
    child.finish();
}

fn c18_a_child_forked_in_the_middle_of_attaching_holds_nothing<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(4);
    plays::<K>("forks_while_it_attaches", &name);
}

/// Children that do nothing; dropped, they are killed.
struct Idle(Vec<libc::pid_t>);

impl Idle {
    fn fork_another(&mut self) {
        // SAFETY: the child does nothing but wait for its end.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "{}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: a plain value: should nobody kill it, it ends by itself.
            unsafe { libc::alarm(100) };
            loop {
                // SAFETY: takes nothing, and returns only after a signal was handled.
                unsafe { libc::pause() };
            }
        }
        self.0.push(child);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for &child in &self.0 {
            // SAFETY: our own child, which has not been waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        }
    }
}

/// One thread attaches and leaves, over and over; meanwhile another forks children that live on.
fn forks_while_it_attaches<K: Flavour>(mut me: Me) {
    me.hear();
    let ring = options::<K>().open(&me.ring).unwrap();
    let mut idle = Idle(Vec::new());
    let (rounds, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attaching = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop((K::sender(&ring).unwrap(), K::receiver(&ring).unwrap()));
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut seen = 0;
        for fork in 0..150 {
            // Once in each of its rounds, now sooner and now later.
            while rounds.load(Ordering::Relaxed) == seen && !attaching.is_finished() {
                std::thread::yield_now();
            }
            seen = rounds.load(Ordering::Relaxed);
            (0..fork * 7 % 150).for_each(|_| std::hint::spin_loop());
            idle.fork_another();
        }
        stop.store(true, Ordering::Relaxed);
    });
    // They are alive, and hold nothing of what their parent has left.
    assert_eq!(alive(&me.ring), (0, 0));
    drop((K::sender(&ring).unwrap(), K::receiver(&ring).unwrap()));
    drop(idle);
    me.say("Ok");
    me.hear();
}

fn c18_a_child_forked_by_a_signal_handler_holds_nothing<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(1);
    plays::<K>("forks_in_signal_handlers_while_it_attaches", &name);
}

/// It attaches and leaves, over and over. A signal, which interrupts it anywhere, makes it fork
/// children that live on.
fn forks_in_signal_handlers_while_it_attaches<K: Flavour>(mut me: Me) {
    const CHILDREN: usize = 300;
    static FORKED: [AtomicI32; CHILDREN] = [const { AtomicI32::new(0) }; CHILDREN];
    static FORKS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn forks(_: libc::c_int) {
        let Some(forked) = FORKED.get(FORKS.load(Ordering::Relaxed)) else { return };
        forked.store(fork_past_handlers(), Ordering::Relaxed);
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    me.hear();
    let ring = options::<K>().open(&me.ring).unwrap();
    let handler = forks as extern "C" fn(libc::c_int);
    // SAFETY: the handler keeps to what handlers may do; nobody else uses the signal.
    unsafe { libc::signal(libc::SIGALRM, handler as libc::sighandler_t) };
    let attaching = rustix::thread::gettid();
    std::thread::scope(|scope| {
        // One after the other, as the next comes when the one before is handled.
        scope.spawn(|| {
            for forks in 0..CHILDREN {
                let (process, thread) = (getpid().as_raw_pid(), attaching.as_raw_pid());
                // SAFETY: sends a signal that has a handler to a thread of this process.
                let sent =
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGALRM) };
                assert_eq!(sent, 0);
                while FORKS.load(Ordering::Relaxed) == forks {
                    std::thread::yield_now();
                }
                (0..forks * 7 % 150).for_each(|_| std::hint::spin_loop());
            }
        });
        while FORKS.load(Ordering::Relaxed) < CHILDREN {
            drop((K::sender(&ring).unwrap(), K::receiver(&ring).unwrap()));
        }
    });
    let seen = alive(&me.ring);
    FORKED.iter().for_each(|child| end(child.load(Ordering::Relaxed)));
    assert_eq!(seen, (0, 0), "living children hold what their parent has left");
    me.say("Ok");
    me.hear();
}

/// Forks by a raw system call, which asks no handlers, nor for locks of the C library's. The child
/// has what it has inherited until it is killed, or for a minute if its parent has panicked.
fn fork_past_handlers() -> i32 {
    // SAFETY: no flags: nothing is shared. The child makes two more system calls.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        let minute = libc::timespec { tv_sec: 60, tv_nsec: 0 };
        // SAFETY: reads the time.
        unsafe { libc::nanosleep(&minute, std::ptr::null_mut()) };
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) }
    }
    child as i32
}

/// Kills a child, and waits for its end.
fn end(child: i32) {
    assert!(child > 0, "no child's number");
    let child = Pid::from_raw(child);
    kill_process(child.unwrap(), Signal::KILL).unwrap();
    waitpid(child, WaitOptions::empty()).unwrap();
}

fn c18_what_a_child_forked_past_the_gate_has_is_free_when_it_ends<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(1);
    plays::<K>("is_forked_past_the_gate", &name);
}

/// The child of another thread that asks no handlers (nor does glibc's `_Fork`) may have the
/// description of an end that is just attaching. It has it for as long as it lives.
fn is_forked_past_the_gate<K: Flavour>(mut me: Me) {
    me.hear();
    let ring = options::<K>().open(&me.ring).unwrap();
    let stop = AtomicBool::new(false);
    let mut children = Vec::new();
    std::thread::scope(|scope| {
        let attaching = scope.spawn(|| {
            // Until a child has got hold of something, or there are enough of them.
            while !stop.load(Ordering::Relaxed) {
                let Ok(ends) = K::sender(&ring).and_then(|tx| Ok((tx, K::receiver(&ring)?))) else {
                    return;
                };
                drop(ends);
            }
        });
        while children.len() < 300 && !attaching.is_finished() {
            children.push(fork_past_handlers());
        }
        stop.store(true, Ordering::Relaxed);
    });
    children.into_iter().for_each(end);
    assert_eq!(alive(&me.ring), (0, 0), "it outlives those who had it");
    drop((K::sender(&ring).unwrap(), K::receiver(&ring).unwrap()));
    me.say("Ok");
    me.hear();
}

/// A program that is being started (`posix_spawn`) shares all descriptors until it runs, and the
/// library is not told: it may share one that is in the middle of becoming a proof of life. What a
/// process finds out at its first attachment (whether it may register for barriers, for one, which
/// takes the kernel milliseconds where there are two threads), its child finds out by itself.
fn c18_a_child_forked_in_the_first_attachment_of_its_parent_attaches_anew<K: Flavour>() {
    for delay in [0, 100, 1_000, 10_000, 100_000] {
        let mut child = Child::start::<K>("forks_while_it_registers", "");
        child.must(&delay.to_string(), "done");
        child.finish();
    }
}

fn forks_while_it_registers<K: Flavour>(mut me: Me) {
    let delay: u32 = me.hear().unwrap().parse().unwrap();
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ring = options::<K>().create_anonymous().unwrap();
            begun.store(true, Ordering::Release);
            drop(K::sender(&ring).unwrap());
        });
        while !begun.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        for _ in 0..delay {
            std::hint::spin_loop();
        }
        in_a_fork(|| {
            let ring = options::<K>().create_anonymous().unwrap();
            drop(K::sender(&ring).unwrap());
        });
    });
    me.say("done");
    me.hear();
}

fn c18_programs_started_meanwhile_keep_no_role_taken<K: Flavour>() {
    // In a process of its own: other tests' locks are not to be shared.
    let (name, _ring) = new_ring::<K>(1);
    plays::<K>("attaches_while_it_starts_programs", &name);
}

fn attaches_while_it_starts_programs<K: Flavour>(mut me: Me) {
    me.hear();
    // With two records, an MPMC ring's are as scarce as an SPSC ring's.
    let ring = options::<K>().capacity(1).endpoints(2).create_anonymous().unwrap();
    let (starting, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().unwrap().success());
                starting.fetch_add(1, Ordering::Relaxed);
            }
        });
        while starting.load(Ordering::Relaxed) < 300 {
            let attached = (K::sender(&ring), K::receiver(&ring));
            if let (Ok(_), Ok(_)) = attached {
                continue;
            }
            stop.store(true, Ordering::Relaxed);
            panic!("{attached:?} after {} programs", starting.load(Ordering::Relaxed));
        }
        stop.store(true, Ordering::Relaxed);
    });
    me.say("Ok");
    me.hear();
}
