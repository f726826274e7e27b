//! What others do on the same machine, and what a security module forbids.

mod support;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use ringpipe::{AttachError, BulkError, CreateError, Mpmc, OpenError, Spsc, UnlinkError, list};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use support::forked::in_a_fork;
use support::{Flavour, Name, both_kinds, did_not_run, new_ring, options, seccomp, tests};

both_kinds!(
    a_lock_that_is_forbidden_is_not_taken_for_one_that_is_held,
    a_run_of_nothing_claims_nothing,
);
tests!(
    a_ring_is_made_though_nameless_files_are_forbidden,
    a_ring_whose_file_was_renamed_has_no_name,
    listing_wakes_no_writer_of_a_fifo,
    nobody_is_trusted_for_having_no_number_here,
);

const fn refuses(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn a_lock_that_is_forbidden_is_not_taken_for_one_that_is_held<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(2);
    let command = Some((1, libc::F_OFD_SETLK as u32));
    seccomp::answer_to(seccomp::FCNTL, command, refuses(libc::EACCES));
    for error in [K::sender(&ring).err(), K::receiver(&ring).err()] {
        match error {
            Some(AttachError::Io { source: e, .. }) => {
                assert_eq!(e.kind(), ErrorKind::PermissionDenied)
            }
            other => panic!("{other:?}"),
        }
    }
    let other = Name::new();
    let create = |mode| options::<K>().mode(mode).create(&other).err();
    // Nor is a mode that keeps the creator out blamed for it.
    for error in [create(0o600), create(0), options::<K>().create_anonymous().err()] {
        match error {
            Some(CreateError::Io { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::PermissionDenied)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn a_run_of_nothing_claims_nothing<K: Flavour>() {
    let (_name, ring) = new_ring::<K>(2);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    assert_eq!(tx.claim(0).unwrap().len(), 0);
    tx.try_claim(0).unwrap().commit(0);
    assert_eq!(tx.try_send_slice(&[1, 2]), Ok(2), "nothing was taken");
    assert!(tx.try_claim(0).unwrap().is_empty(), "of a full ring, too");
    assert_eq!(tx.try_claim(1).err(), Some(BulkError::Full));
    let run = rx.claim(0).unwrap();
    assert!(run.is_empty() && run.get(0).is_none() && run.iter().next().is_none());
    assert_eq!((run.redelivered(), run.redeliveries()), (0, 0));
    run.release_all();
    assert_eq!((rx.recv(), rx.recv()), (Ok(1), Ok(2)));
    assert!(rx.try_claim(0).unwrap().is_empty(), "of an empty ring, too");
    assert_eq!(ring.stats().skipped, 0);
}

fn a_ring_is_made_though_nameless_files_are_forbidden() {
    for errno in [libc::EPERM, libc::EACCES, libc::EOPNOTSUPP] {
        // A filter is the thread's own, and for good.
        let made = std::thread::spawn(move || {
            // The flags that the call has, in all.
            let flags = (TMPFILE | OFlags::LARGEFILE).bits();
            seccomp::answer_to(libc::SYS_openat, Some((2, flags)), refuses(errno));
            let name = Name::new();
            assert_eq!(tmpfile(), Err(errno), "the filter knows the call");
            options::<Spsc>().create(&name).map(|ring| (ring, name))
        });
        let (ring, _name) = made.join().unwrap().unwrap_or_else(|e| panic!("{errno}: {e}"));
        ring.producer().unwrap().send(1).unwrap();
        assert_eq!(ring.consumer().unwrap().recv(), Ok(1));
    }
    // Where no file at all can be made, that is said.
    let refused = std::thread::spawn(|| {
        let name = Name::new();
        seccomp::answer_to(libc::SYS_openat, None, refuses(libc::EACCES));
        options::<Spsc>().create(&name).err()
    });
    let error = refused.join().unwrap();
    assert!(matches!(error, Some(CreateError::Permission { .. })), "{error:?}");
}

const TMPFILE: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::TMPFILE);

fn tmpfile() -> Result<(), i32> {
    let made = rustix::fs::openat(CWD, "/dev/shm", TMPFILE, Mode::RUSR);
    made.map(drop).map_err(|e| e.raw_os_error())
}

fn a_ring_whose_file_was_renamed_has_no_name() {
    let (name, ring) = new_ring::<Mpmc>(2);
    assert!(ring.is_linked());
    let moved = Name::new();
    std::fs::rename(name.path(), moved.path()).unwrap();
    let error = ring.unlink();
    assert!(matches!(error, Err(UnlinkError::NotFound { .. })), "{error:?}");
    assert!(!ring.is_linked());
    let other = options::<Mpmc>().create(&name).unwrap();
    assert!(!ring.is_linked() && other.is_linked());
    let error = ring.unlink();
    assert!(matches!(error, Err(UnlinkError::Replaced { .. })), "{error:?}");
    assert!(name.path().exists() && moved.path().exists());
    std::fs::rename(moved.path(), name.path()).unwrap();
    assert!(ring.is_linked() && !other.is_linked());
    assert!(!options::<Mpmc>().create_anonymous().unwrap().is_linked());
}

/// A writer of a FIFO waits for a reader; who looks for rings is none.
fn listing_wakes_no_writer_of_a_fifo() {
    let name = Name::new();
    let fifo = name.path();
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let opened = AtomicBool::new(false);
    let (tell, told) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (opened, fifo) = (&opened, &fifo);
        scope.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
            opened.store(true, Ordering::SeqCst);
            // It sleeps on, opened or not.
            let _ = wait.recv();
            drop(file);
        });
        let writer = told.recv().unwrap();
        let _release = Release(fifo, go);
        until_asleep(writer);
        let rings = list().unwrap();
        assert!(rings.iter().all(|ring| *ring.name != *name), "a FIFO is no ring");
        until_asleep(writer);
        let woken = opened.load(Ordering::SeqCst);
        assert!(!woken, "the writer was told of a reader");
    });
}

/// In a user namespace, another user's ring looks as if it were one's own, or that of somebody whom
/// one trusts: all have the number that stands for whoever is not known there.
fn nobody_is_trusted_for_having_no_number_here() {
    // SAFETY: takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        return did_not_run("users unknown to a namespace", "not root");
    }
    let name = Name::new();
    drop(options::<Mpmc>().mode(0o666).create(&name).unwrap());
    let everybody = Mode::from_bits_truncate(0o666);
    rustix::fs::chmodat(CWD, name.path(), everybody, rustix::fs::AtFlags::empty()).unwrap();
    let chown = |uid| std::os::unix::fs::chown(name.path(), Some(uid), None).unwrap();
    chown(1000);
    let refused = |options: ringpipe::Options<u64, Mpmc>| match options.open(&name).err() {
        Some(OpenError::Owner { owner, .. }) => assert_eq!(owner, UNKNOWN),
        other => panic!("{other:?}"),
    };
    in_a_fork(|| {
        // SAFETY: no descriptor table is unshared, and this process has one thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.unwrap();
        // SAFETY: takes no argument.
        assert_eq!(unsafe { libc::geteuid() }, UNKNOWN, "the ring's owner has this number, too");
        refused(options());
        refused(options().trust_owner(UNKNOWN));
        assert!(options::<Mpmc>().trust_any_owner().open(&name).is_ok());
    });
    // Where the number is somebody's, it is as good as any.
    chown(UNKNOWN);
    assert!(options::<Mpmc>().trust_owner(UNKNOWN).open(&name).is_ok());
    let error = options::<Mpmc>().open(&name).err();
    assert!(matches!(error, Some(OpenError::Owner { owner: UNKNOWN, .. })), "{error:?}");
}

/// The number of users that a namespace does not know.
const UNKNOWN: u32 = 65534;

/// Lets the writer of a FIFO go, whatever has come of the test: a reader comes.
struct Release<'a>(&'a std::path::Path, std::sync::mpsc::Sender<()>);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let reader = OFlags::RDONLY | OFlags::NONBLOCK;
        let reader = rustix::fs::openat(CWD, self.0, reader, Mode::empty());
        // It may not have opened its end yet, so this one stays open. The test's process ends soon.
        std::mem::forget(reader);
        let _ = self.1.send(());
    }
}

/// Asleep in whatever call.
fn until_asleep(thread: rustix::process::Pid) {
    let stat = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    // What follows the name, which is in parentheses.
    let sleeps = |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"));
    while !sleeps(&std::fs::read_to_string(&stat).unwrap()) {
        std::thread::yield_now();
    }
}
