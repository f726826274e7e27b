//! After an end is attached, no call of it opens, maps, looks into /proc or allocates: it works on
//! in a process that can do none of that, and so does recovery. C2, C5, C7, C8, C9 after `chroot`,
//! as another user, without descriptors, without memory, and under a filter that ends the process
//! at the first system call that is not on the list ([`CALLS`], as the documentation of the handles
//! has it): each of these alone, and all together.
//!
//! The confined process holds all ends and opens all rings beforehand. It allocates nothing
//! afterwards, or ends: that includes the messages of failed assertions, so it tells the line where
//! it failed.

#![cfg(target_pointer_width = "64")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use ringpipe::{
    BulkError, Canceller, Deadline, Ending, PeerError, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, TryRecvError, TrySendError,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::disk::{self, Disk};
use support::{Child, Directory, Flavour, Me, Name, POLICIES, Rx, Tx, both_kinds, did_not_run};
use support::{options, roles, seccomp};

/// What the documentation of `RecvHandle` lists.
const CALLS: [libc::c_long; 9] = [
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_fcntl, // F_OFD_GETLK alone, without a ring on a disk: see the filter
    libc::SYS_fstat,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_clock_nanosleep,
    libc::SYS_munmap,
    libc::SYS_close,
];
/// What this test needs besides, to hear, to speak and to end; and what the kernel makes of a call
/// that a stop has interrupted.
const OURS: [libc::c_long; 4] =
    [libc::SYS_read, libc::SYS_write, libc::SYS_exit_group, libc::SYS_restart_syscall];

const SHORT: Duration = Duration::from_millis(1);
const MOMENT: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_secs(30);

/// The system's allocator, until this thread may allocate no more.
struct Sealable;

thread_local!(static SEALED: Cell<bool> = const { Cell::new(false) });

// SAFETY: the system's allocator, with all its promises, or none at all.
unsafe impl GlobalAlloc for Sealable {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if SEALED.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Sealable = Sealable;

roles!(works_confined);

both_kinds!(every_call_and_recovery_work_in_a_process_that_can_open_nothing);

/// The last one is all of them, for a process that has a ring on a disk open, too.
const CONFINEMENTS: [&str; 7] =
    ["chroot", "user", "descriptors", "memory", "calls", "all", "all on a disk"];

fn every_call_and_recovery_work_in_a_process_that_can_open_nothing<K: Flavour>() {
    if !rustix::process::geteuid().is_root() {
        return did_not_run("confined processes", "chroot and other users need root");
    }
    CONFINEMENTS.into_iter().for_each(confined_by::<K>);
}

fn confined_by<K: Flavour>(confinement: &str) {
    // One ring for the calls, one on which senders and receivers die, one on which the receiver
    // does.
    let names = [(); 3].map(|()| Name::new());
    let rings = names.each_ref().map(|name| options::<K>().capacity(8).create(name).unwrap());
    let mut all = names.each_ref().map(|n| &**n).join(" ");
    let mut on_disk = None;
    if confinement == "all on a disk" {
        // Two that it is the last to leave. One of them cannot be closed.
        let Some(disk) = Disk::new("confined users of a ring on a disk") else { return };
        let paths = [disk.join("ring"), disk.join("failed")];
        for path in &paths {
            options::<K>().create_file(path).unwrap().checkpoint().unwrap();
            all = format!("{all} {}", path.display());
        }
        on_disk = Some((disk, paths));
    }
    let mut confined = Child::start::<K>("works_confined", &all);
    confined.sleeps_briefly = true;
    confined.must(confinement, "attached");

    let mut victims = Vec::new();
    let mut sender = None;
    if K::MANY {
        let mut tx = K::sender(&rings[1]).unwrap();
        tx.try_send_slice(&[1, 2, 3, 4]).unwrap();
        let mut victim = Child::receiver::<K>(&names[1], Default::default());
        victim.must("read 2", "[1, 2]");
        victims.push(victim);
        let mut victim = Child::sender::<K>(&names[1], Default::default());
        victim.must("claim 2", "Ok(2)");
        victims.push(victim);
        tx.try_send(5).unwrap(); // behind that claim
        sender = Some(tx);
    } else {
        let mut victim = Child::sender::<K>(&names[1], Default::default());
        victim.must("try_send_slice 1 6", "Ok(5)");
        victims.push(victim);
    }
    let last_receiver = Child::receiver::<K>(&names[2], Default::default());

    confined.must("confine", "confined");
    confined.must("calls", "Ok");
    confined.say("recover");
    confined.until_asleep(); // having received what it can
    victims.into_iter().for_each(Child::kill);
    drop(sender);
    confined.must_hear("Ok");
    confined.say("break");
    confined.until_asleep(); // for want of room
    last_receiver.kill();
    confined.must_hear("Ok");
    assert_eq!(rings[1].stats().redelivered, if K::MANY { 2 } else { 0 });
    if let Some((_disk, [_, failed])) = &on_disk {
        disk::set_word(failed, 0, disk::FAILED);
    }
    confined.must("leave", "Ok");
    for ring in &rings {
        let peers = ring.peers();
        assert_eq!((peers.senders, peers.receivers), (0, 0), "{confinement}");
    }
    if let Some((_disk, paths)) = on_disk {
        assert_eq!(paths.map(|path| disk::state(&path)), [disk::CLEAN, disk::FAILED]);
    }
    confined.finish();
}

/// Ends the process, having said why.
fn failed(why: &str, number: u32) -> ! {
    let mut digits = *b" 00000\n";
    for (digit, power) in digits[1..6].iter_mut().zip([10_000, 1000, 100, 10, 1]) {
        *digit += (number / power % 10) as u8;
    }
    let _ = rustix::io::write(std::io::stderr(), why.as_bytes());
    let _ = rustix::io::write(std::io::stderr(), &digits);
    // SAFETY: ends the process.
    unsafe { libc::_exit(1) }
}

/// An assertion that does not allocate.
macro_rules! must {
    ($holds:expr) => {
        if !$holds {
            failed("failed in line", line!());
        }
    };
}

fn works_confined<K: Flavour>(mut me: Me) {
    let confinement = me.hear().unwrap();
    let open = |name: &str| match name.contains('/') {
        true => options::<K>().open_file(name).unwrap(),
        false => options::<K>().open(name).unwrap(),
    };
    let rings: Vec<_> = me.ring.split(' ').map(open).collect();
    let attach = (K::sender(&rings[0]).unwrap(), K::receiver(&rings[0]).unwrap());
    let (mut tx, mut rx) = attach;
    let mut survivor = K::receiver(&rings[1]).unwrap();
    let mut last_sender = K::sender(&rings[2]).unwrap();
    for end in [&mut rx, &mut survivor] {
        end.set_liveness_interval(SHORT);
    }
    for end in [&mut tx, &mut last_sender] {
        end.set_liveness_interval(SHORT);
    }
    let cancellers = [tx.canceller(), rx.canceller()];
    let anywhere_else = Directory::new();
    me.say("attached");
    std::mem::forget(me); // from here on the wire is standard input, without a buffer

    let mut ends = Some((tx, rx, survivor, last_sender, cancellers, rings));
    while let Some(order) = hear() {
        let answer: &[u8] = match order {
            b'c' if !SEALED.get() => {
                confine(&confinement, &anywhere_else);
                b"0 confined\n"
            }
            b'c' => {
                let (tx, rx, _, _, cancellers, _) =
                    ends.as_mut().unwrap_or_else(|| failed("failed in line", line!()));
                make_every_call(tx, rx, cancellers);
                b"0 Ok\n"
            }
            b'r' => {
                let (_, _, survivor, ..) =
                    ends.as_mut().unwrap_or_else(|| failed("failed in line", line!()));
                recover(survivor);
                b"0 Ok\n"
            }
            b'b' => {
                let (_, _, _, tx, ..) =
                    ends.as_mut().unwrap_or_else(|| failed("failed in line", line!()));
                find_the_pipe_broken(tx);
                b"0 Ok\n"
            }
            _ => {
                let (mut tx, mut rx, ..) =
                    ends.take().unwrap_or_else(|| failed("failed in line", line!()));
                move_values_in_place(&mut tx, &mut rx);
                b"0 Ok\n"
            }
        };
        must!(rustix::io::write(std::io::stdin(), answer) == Ok(answer.len()));
    }
    std::mem::forget(anywhere_else); // removed by whoever may: it is empty
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// The first letter of the next order; `None` when the play is over.
fn hear() -> Option<u8> {
    let mut first = None;
    loop {
        let mut letter = [0];
        match rustix::io::read(std::io::stdin(), &mut letter) {
            Ok(0) => return None,
            Ok(_) if letter == *b"\n" => return first,
            Ok(_) => first = first.or(Some(letter[0])),
            Err(_) => failed("failed in line", line!()),
        }
    }
}

/// Confines this thread, for good.
fn confine(by: &str, anywhere_else: &std::path::Path) {
    let wanted = |confinement: &str| by == confinement || by.starts_with("all");
    let to_nothing = |resource, least| {
        setrlimit(resource, Rlimit { current: Some(least), maximum: Some(least) }).unwrap();
    };
    if wanted("memory") {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        to_nothing(Resource::As, pages * rustix::param::page_size() as u64);
    }
    if wanted("descriptors") {
        to_nothing(Resource::Nofile, 0);
    }
    if wanted("chroot") {
        rustix::process::chroot(anywhere_else).unwrap();
        rustix::process::chdir("/").unwrap();
    }
    if wanted("user") {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
    }
    if wanted("calls") {
        allow_nothing_but_the_list(by == "all on a disk");
    }
    SEALED.set(true);
}

/// Where a system call ends that is not on the list.
extern "C" fn forbidden(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel has filled in a `siginfo_t`, which is longer, and aligned to more.
    // The call's number stands after the signal's four and an address.
    let call = unsafe { info.cast::<[i32; 7]>().read() }[6];
    failed("forbidden system call", call as u32)
}

/// From now on any other system call of this thread ends the process.
fn allow_nothing_but_the_list(on_disk: bool) {
    // SAFETY: `sigaction` is a plain C structure for which all-zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = forbidden as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the structure outlives the call; the handler makes system calls alone.
    let outcome = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    use seccomp::{NUMBER, answer, argument, filter, is, load};
    // Before it closes a descriptor, the standard library asks whether that is open: with debug
    // assertions only.
    let may_ask = if cfg!(debug_assertions) { libc::F_GETFD } else { libc::F_OFD_GETLK };
    let may_lock = if on_disk { libc::F_OFD_SETLK } else { libc::F_OFD_GETLK };
    let may_sync = on_disk.then_some(libc::SYS_msync);
    let mut program = vec![
        load(NUMBER),
        is(libc::SYS_fcntl as u32, 0, 6),
        load(argument(1)), // the command
        is(libc::F_OFD_GETLK as u32, 3, 0),
        is(may_ask as u32, 2, 0),
        is(may_lock as u32, 1, 0),
        answer(libc::SECCOMP_RET_TRAP),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    for call in
        CALLS.into_iter().chain(OURS).chain(may_sync).filter(|call| *call != libc::SYS_fcntl)
    {
        program.extend([is(call as u32, 0, 1), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    program.push(answer(libc::SECCOMP_RET_TRAP));
    filter(&mut program);
}

fn make_every_call<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>, cancellers: &[Canceller; 2]) {
    must!(tx.wait_for_peer(MOMENT) == Ok(()));
    must!(rx.wait_for_peer(MOMENT) == Ok(()));
    for policy in POLICIES {
        tx.set_wait_policy(policy);
        rx.set_wait_policy(policy);
        move_values(tx, rx);
        find_nothing(rx);
        find_no_room(tx, rx);
        be_cancelled(tx, rx, cancellers);
    }
    must!(!tx.is_closed() && !rx.is_closed());
    let (peers, stats) = (tx.peers(), rx.ring().stats());
    must!(peers.senders == 1 && peers.receivers == 1 && stats.sent == stats.received);
    must!(tx.capacity() == 8 && rx.is_empty() && !tx.is_full() && rx.capacity() == 8);
    must!(rx.redelivered() == 0 && rx.redeliveries() == 0);
    must!(tx.ending().is_none() && rx.ending().is_none());
    tx.set_liveness_interval(SHORT);
    rx.set_liveness_interval(SHORT);
    drop((rx.ring(), tx.canceller()));
    tx.require_peer();
    rx.require_peer();
}

fn move_values<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>) {
    let later = || Deadline::from(Instant::now() + SOON);
    must!(tx.try_send(1) == Ok(()) && tx.send(2) == Ok(()));
    must!(tx.send_timeout(3, SOON) == Ok(()) && tx.send_deadline(4, later()) == Ok(()));
    must!(rx.try_recv() == Ok(1) && rx.recv() == Ok(2));
    must!(rx.recv_timeout(SOON) == Ok(3) && rx.recv_deadline(later()) == Ok(4));
    let mut into = [0; 2];
    must!(tx.try_send_slice(&[1, 2]) == Ok(2) && tx.send_slice_deadline(&[3, 4], SOON) == Ok(2));
    must!(rx.try_recv_slice(&mut into) == Ok(2) && into == [1, 2]);
    must!(rx.recv_slice_deadline(&mut into, SOON) == Ok(2) && into == [3, 4]);
    must!(tx.try_send_exact(&[5, 6]) == Ok(()) && tx.send_exact_deadline(&[7, 8], SOON) == Ok(()));
    must!(rx.try_recv_exact(&mut into) == Ok(()) && into == [5, 6]);
    must!(rx.recv_exact_deadline(&mut into, SOON) == Ok(()) && into == [7, 8]);
    for wait in [false, true] {
        let claimed = if wait { tx.claim_deadline(2, SOON) } else { tx.try_claim(2) };
        let mut run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        run.write(0, 9);
        run.commit(1);
        let claimed = if wait { rx.claim_deadline(2, SOON) } else { rx.try_claim(2) };
        let run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        must!(run.get(0) == Some(9) && run.redelivered() == 0 && run.redeliveries() == 0);
        run.release_all();
    }
    let mut run = tx.try_claim(2).unwrap_or_else(|_| failed("failed in line", line!()));
    run.write(0, 10);
    run.write(1, 11);
    run.commit_all();
    let run = rx.try_claim(2).unwrap_or_else(|_| failed("failed in line", line!()));
    must!(run.iter().eq([10, 11]));
    run.release(1);
    must!(rx.recv() == Ok(11));
    tx.try_claim(1).unwrap_or_else(|_| failed("failed in line", line!())).abandon();
    std::mem::forget(tx.try_claim(1));
    must!(tx.try_send_slice(&[1, 2, 3]) == Ok(3));
    rx.try_claim(1).unwrap_or_else(|_| failed("failed in line", line!())).abandon(); // given back
    must!(rx.recv() == Ok(1) && rx.iter().next() == Some(2) && rx.try_iter().last() == Some(3));
}

fn find_nothing<K: Flavour>(rx: &mut Rx<K>) {
    let mut into = [0; 2];
    let until = Instant::now() + MOMENT; // several liveness checks
    while Instant::now() < until {
        must!(rx.try_recv() == Err(TryRecvError::Empty));
    }
    must!(rx.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout));
    must!(rx.recv_slice_deadline(&mut into, MOMENT) == Err(BulkError::Timeout));
    must!(rx.recv_exact_deadline(&mut into, MOMENT) == Err(BulkError::Timeout));
    must!(rx.try_claim(2).err() == Some(BulkError::Empty));
    must!(rx.claim_deadline(2, MOMENT).err() == Some(BulkError::Timeout));
}

fn find_no_room<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>) {
    must!(tx.try_send_exact(&[7; 8]) == Ok(()));
    let until = Instant::now() + MOMENT;
    while Instant::now() < until {
        must!(tx.try_send(8) == Err(TrySendError::Full(8)));
    }
    must!(tx.send_timeout(8, MOMENT) == Err(SendTimeoutError::Timeout(8)));
    must!(tx.send_slice_deadline(&[8], MOMENT) == Err(BulkError::Timeout));
    must!(tx.send_exact_deadline(&[8], MOMENT) == Err(BulkError::Timeout));
    must!(tx.claim_deadline(2, MOMENT).err() == Some(BulkError::Timeout));
    must!(rx.try_recv_slice(&mut [0; 9]) == Ok(8));
}

fn be_cancelled<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>, cancellers: &[Canceller; 2]) {
    cancellers.iter().for_each(Canceller::cancel);
    must!(rx.recv() == Err(RecvError::Cancelled));
    let mut iter = rx.iter();
    must!(iter.next().is_none() && iter.error() == Some(RecvError::Cancelled));
    must!(tx.try_send_exact(&[7; 8]) == Ok(()));
    must!(tx.send(8) == Err(SendError::Cancelled(8)));
    must!(rx.try_recv_slice(&mut [0; 9]) == Ok(8));
    must!(cancellers[0].is_cancelled());
    cancellers.iter().for_each(Canceller::reset);
}

/// In borrowed slots.
fn move_values_in_place<K: Flavour>(tx: &mut Tx<K>, rx: &mut Rx<K>) {
    for wait in [false, true] {
        let claimed = if wait { tx.claim_deadline(1, SOON) } else { tx.try_claim(1) };
        let mut run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: who has this ring open are this test's processes, which keep to the protocol.
        *unsafe { run.slot_mut(0) } = 12;
        run.commit_all();
        let claimed = if wait { rx.claim_deadline(1, SOON) } else { rx.try_claim(1) };
        let run = claimed.unwrap_or_else(|_| failed("failed in line", line!()));
        // SAFETY: likewise.
        must!(*unsafe { run.slot(0) } == 12);
        run.release_all();
    }
}

/// All there is: sent, adopted from a dead receiver, behind what a dead sender had claimed; and the
/// end, when there is nobody any more.
fn recover<K: Flavour>(rx: &mut Rx<K>) {
    let mut count = [0; 6];
    let mut redelivered = 0;
    let end = loop {
        match rx.recv_timeout(SOON) {
            Ok(value @ 1..=5) => count[value as usize] += 1,
            Ok(_) => failed("failed in line", line!()),
            Err(end) => break end,
        }
        redelivered += rx.redelivered() as u32;
    };
    must!(end == RecvTimeoutError::Closed);
    must!(count == [0, 1, 1, 1, 1, 1]);
    must!(redelivered == if K::MANY { 2 } else { 0 });
    // On an SPSC ring the only sender was killed; on an MPMC ring one of them was, too.
    must!(rx.is_closed() && rx.ending() == Some(Ending::Died(1)));
    must!(rx.iter().error().is_none());
    must!(rx.wait_for_peer(MOMENT) == Err(PeerError::Timeout));
}

/// There is nobody any more who could receive.
fn find_the_pipe_broken<K: Flavour>(tx: &mut Tx<K>) {
    must!(tx.wait_for_peer(SOON) == Ok(()));
    for _ in 0..8 {
        must!(tx.send_timeout(1, SOON) == Ok(()));
    }
    must!(tx.send_timeout(1, SOON) == Err(SendTimeoutError::Closed(1)));
    must!(tx.ending() == Some(Ending::Died(1)));
    must!(tx.is_closed() && tx.try_send(1) == Err(TrySendError::Closed(1)));
}
