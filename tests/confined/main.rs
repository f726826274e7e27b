//! After an end is attached, no call of it opens, maps, looks into /proc or allocates: it works on
//! in a process that can do none of that, and so does recovery. C2, C5, C7, C8, C9 after `chroot`,
//! as another user, without descriptors, without memory, and under a filter that ends the process
//! at the first system call that is not on the list ([`CALLS`], as the documentation of the handles
//! has it): each of these alone, and all together. With rings of [`values`], of [`bytes`] and of
//! [`messages`].
//!
//! The confined process holds all ends and opens all rings beforehand. It allocates nothing
//! afterwards, or ends: that includes the messages of failed assertions, so it tells the line where
//! it failed.

#![cfg(target_pointer_width = "64")]

mod bytes;
mod messages;
#[path = "../support/mod.rs"]
mod support;
mod values;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::{Bytes, reads_nothing, writes_and_waits};
use messages::Messages;
use ringpipe::{Canceller, Deadline, Item, Kind, Options, Ring};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::disk::{self, Disk};
use support::messenger::Carries;
use support::{
    Child, Directory, Flavour, Me, Name, both_kinds, did_not_run, roles, seccomp, tests,
};
use values::Values;

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

/// What a ring carries: how its ends are had, and all that they can do.
trait Traffic {
    type Item: Item;
    type Kind: Kind;
    type Sender;
    type Receiver;

    /// Who works confined.
    const ROLE: &'static str;
    /// How many items of [`victims`](Self::victims) are delivered twice.
    const REDELIVERED: u64;

    /// Of a ring that has the calls' room.
    fn options() -> Options<Self::Item, Self::Kind>;

    /// An end that checks often, and has allocated what its user needs.
    fn sender(ring: &Ring<Self::Item, Self::Kind>) -> Self::Sender;
    fn receiver(ring: &Ring<Self::Item, Self::Kind>) -> Self::Receiver;
    fn cancellers(tx: &Self::Sender, rx: &Self::Receiver) -> [Canceller; 2];

    /// On an empty ring, which it leaves empty.
    fn make_every_call(tx: &mut Self::Sender, rx: &mut Self::Receiver, cancellers: &[Canceller; 2]);
    /// Those that borrow the ring's memory.
    fn move_in_place(tx: &mut Self::Sender, rx: &mut Self::Receiver);
    /// Receives all there is: sent by [`victims`](Self::victims), adopted from a dead receiver,
    /// behind what a dead sender had claimed; and the end, when there is nobody any more.
    fn recover(rx: &mut Self::Receiver);
    /// Sends until there is nobody any more who could receive.
    fn find_the_pipe_broken(tx: &mut Self::Sender);

    /// Who is to die over this ring, with what they have claimed in their hands; and a sender of
    /// what lies behind that.
    fn victims(
        name: &Name,
        ring: &Ring<Self::Item, Self::Kind>,
    ) -> (Vec<Child>, Option<Self::Sender>);
    /// The only receiver of this ring.
    fn last_receiver(name: &Name) -> Child;
}

roles!(bytes_confined, messages_confined, reads_nothing, values_confined, writes_and_waits,);

both_kinds!(
    every_call_and_recovery_work_in_a_process_that_can_open_nothing,
    every_call_of_messages_and_recovery_work_in_a_process_that_can_open_nothing,
);

tests!(every_call_of_bytes_works_in_a_process_that_can_open_nothing);

fn every_call_and_recovery_work_in_a_process_that_can_open_nothing<K: Flavour>() {
    work_confined::<Values<K>>();
}

fn every_call_of_messages_and_recovery_work_in_a_process_that_can_open_nothing<K: Carries>() {
    work_confined::<Messages<K>>();
}

fn every_call_of_bytes_works_in_a_process_that_can_open_nothing() {
    work_confined::<Bytes>();
}

fn values_confined<K: Flavour>(me: Me) {
    works_confined::<Values<K>>(me);
}

fn messages_confined<K: Carries>(me: Me) {
    works_confined::<Messages<K>>(me);
}

fn bytes_confined<K: Flavour>(me: Me) {
    works_confined::<Bytes>(me);
}

/// The last one is all of them, for a process that has a ring on a disk open, too.
const CONFINEMENTS: [&str; 7] =
    ["chroot", "user", "descriptors", "memory", "calls", "all", "all on a disk"];

fn work_confined<T: Traffic>() {
    if !rustix::process::geteuid().is_root() {
        return did_not_run("confined processes", "chroot and other users need root");
    }
    CONFINEMENTS.into_iter().for_each(confined_by::<T>);
}

fn confined_by<T: Traffic>(confinement: &str) {
    // One ring for the calls, one on which senders and receivers die, one on which the receiver
    // does.
    let names = [(); 3].map(|()| Name::new());
    let rings = names.each_ref().map(|name| T::options().create(name).unwrap());
    let mut all = names.each_ref().map(|n| &**n).join(" ");
    let mut on_disk = None;
    if confinement == "all on a disk" {
        // Two that it is the last to leave. One of them cannot be closed.
        let Some(disk) = Disk::new("confined users of a ring on a disk") else { return };
        let paths = [disk.join("ring"), disk.join("failed")];
        for path in &paths {
            T::options().create_file(path).unwrap().checkpoint().unwrap();
            all = format!("{all} {}", path.display());
        }
        on_disk = Some((disk, paths));
    }
    let mut confined = match T::Kind::MANY {
        true => Child::start::<ringpipe::Mpmc>(T::ROLE, &all),
        false => Child::start::<ringpipe::Spsc>(T::ROLE, &all),
    };
    confined.sleeps_briefly = true;
    confined.must(confinement, "attached");

    let (victims, sender) = T::victims(&names[1], &rings[1]);
    let last_receiver = T::last_receiver(&names[2]);

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
    assert_eq!(rings[1].stats().redelivered, T::REDELIVERED);
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
use must;

fn works_confined<T: Traffic>(mut me: Me) {
    let confinement = me.hear().unwrap();
    let open = |name: &str| match name.contains('/') {
        true => T::options().open_file(name).unwrap(),
        false => T::options().open(name).unwrap(),
    };
    let rings: Vec<_> = me.ring.split(' ').map(open).collect();
    let (tx, rx) = (T::sender(&rings[0]), T::receiver(&rings[0]));
    let (survivor, last_sender) = (T::receiver(&rings[1]), T::sender(&rings[2]));
    let cancellers = T::cancellers(&tx, &rx);
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
                T::make_every_call(tx, rx, cancellers);
                b"0 Ok\n"
            }
            b'r' => {
                let (_, _, survivor, ..) =
                    ends.as_mut().unwrap_or_else(|| failed("failed in line", line!()));
                T::recover(survivor);
                b"0 Ok\n"
            }
            b'b' => {
                let (_, _, _, tx, ..) =
                    ends.as_mut().unwrap_or_else(|| failed("failed in line", line!()));
                T::find_the_pipe_broken(tx);
                b"0 Ok\n"
            }
            _ => {
                let (mut tx, mut rx, ..) =
                    ends.take().unwrap_or_else(|| failed("failed in line", line!()));
                T::move_in_place(&mut tx, &mut rx);
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

fn later() -> Deadline {
    Deadline::from(Instant::now() + SOON)
}
