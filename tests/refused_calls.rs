//! A system call that a sandbox refuses is a refusal of ours, or does not matter: never a panic, a
//! wrong reason, something left behind, or a long wait for what will not come. Here is what a
//! filter can show, which refuses a call for good. That every call may fail, and any one of them
//! alone, `cargo run -p faults` shows.

mod support;

use std::fs;
use std::time::Duration;

use ringpipe::RecvTimeoutError;
use ringpipe::error::{CreateError, OpenError, UnlinkError};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::{Child, Flavour, Me, Name, both_kinds, new_ring, options, roles, seccomp};

roles!(meets_refusals);

both_kinds!(
    who_may_neither_sleep_on_a_futex_nor_by_the_clock_waits_all_the_same,
    what_may_not_be_unmapped_stays_and_harms_nobody,
    a_creator_that_may_not_ask_for_a_status_is_not_told_of_its_modes,
    an_opener_that_may_not_look_at_the_name_is_told_so_at_once,
    a_fork_that_would_go_unnoticed_refuses_the_ring_and_costs_no_memory,
    a_ring_that_cannot_be_locked_is_not_unlinked_by_name,
    a_directory_that_cannot_be_closed_is_listed,
);

fn play<K: Flavour>(what: &str) {
    let (name, _ring) = new_ring::<K>(4);
    let mut child = Child::start::<K>("meets_refusals", &name);
    child.must(what, "Ok");
    child.finish();
}

fn who_may_neither_sleep_on_a_futex_nor_by_the_clock_waits_all_the_same<K: Flavour>() {
    play::<K>("no sleep");
}

fn what_may_not_be_unmapped_stays_and_harms_nobody<K: Flavour>() {
    play::<K>("no munmap");
}

fn a_creator_that_may_not_ask_for_a_status_is_not_told_of_its_modes<K: Flavour>() {
    play::<K>("no fstat");
}

fn an_opener_that_may_not_look_at_the_name_is_told_so_at_once<K: Flavour>() {
    play::<K>("no statat");
}

fn a_fork_that_would_go_unnoticed_refuses_the_ring_and_costs_no_memory<K: Flavour>() {
    play::<K>("no madvise");
}

fn a_ring_that_cannot_be_locked_is_not_unlinked_by_name<K: Flavour>() {
    play::<K>("no descriptors");
}

fn a_directory_that_cannot_be_closed_is_listed<K: Flavour>() {
    play::<K>("no close");
}

/// From now on this call, or that with an argument (by index) of this value, is refused.
fn refuse(call: libc::c_long, with_argument: Option<(u32, u32)>) {
    seccomp::answer_to(call, with_argument, libc::SECCOMP_RET_ERRNO | libc::EACCES as u32);
}

/// Where `newfstatat` is what asks for the status of a name: not everywhere.
#[cfg(target_pointer_width = "64")]
const STATUS_OF_NAME: libc::c_long = libc::SYS_newfstatat;
#[cfg(target_pointer_width = "32")]
const STATUS_OF_NAME: libc::c_long = libc::SYS_statx;

fn meets_refusals<K: Flavour>(mut me: Me) {
    let what = me.hear().unwrap();
    let open = || options::<K>().open(&me.ring);
    match what.as_str() {
        "no sleep" => {
            let ring = open().unwrap();
            let (_tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
            // Between processes, as rings do: not what the test's own threads wait by.
            refuse(libc::SYS_futex, Some((1, libc::FUTEX_WAIT_BITSET as u32)));
            refuse(libc::SYS_clock_nanosleep, None);
            refuse(libc::SYS_nanosleep, None);
            let moment = Duration::from_millis(20);
            assert_eq!(rx.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
        }
        "no munmap" => {
            let ring = open().unwrap();
            let end = K::sender(&ring).unwrap();
            refuse(libc::SYS_munmap, None);
            drop((end, ring));
        }
        "no fstat" => {
            // By the one call or the other.
            refuse(libc::SYS_fstat, None);
            refuse(libc::SYS_statx, None);
            let made = options::<K>().capacity(4).create(&Name::new());
            assert!(matches!(made, Err(CreateError::Io { .. })), "{made:?}");
        }
        "no statat" => {
            let ring = open().unwrap();
            assert!(ring.is_linked());
            refuse(STATUS_OF_NAME, None);
            assert!(!ring.is_linked());
            let opened = open();
            assert!(matches!(opened, Err(OpenError::Io { .. })), "{opened:?}");
        }
        "no madvise" => {
            refuse(libc::SYS_madvise, Some((2, libc::MADV_WIPEONFORK as u32)));
            let refused = || assert!(matches!(open(), Err(OpenError::Io { .. })));
            refused();
            let before = mapped();
            (0..200).for_each(|_| refused());
            assert!(mapped() < before + 100, "{} pages more", mapped() - before);
        }
        "no descriptors" => {
            let none = Rlimit { current: Some(0), maximum: Some(0) };
            setrlimit(Resource::Nofile, none).unwrap();
            let unlinked = ringpipe::unlink(&me.ring);
            assert!(matches!(unlinked, Err(UnlinkError::Io { .. })), "{unlinked:?}");
        }
        "no close" => {
            refuse(libc::SYS_close, None);
            let listed = ringpipe::list().unwrap();
            assert!(listed.iter().any(|ring| ring.name == me.ring));
        }
        unknown => panic!("{unknown}"),
    }
    me.say("Ok");
    me.hear();
}

/// Pages of address space that this process has.
fn mapped() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse().unwrap()
}
