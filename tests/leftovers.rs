//! C12 and C13 beside C17: what is left when processes are killed can be listed without disturbing
//! anybody, and orphans can be removed, never a ring that somebody has open or is just opening.
//!
//! `remove_orphans` acts on all of `/dev/shm`, so each test has a small one of its own, in a mount
//! namespace of its thread and its children. That takes root; without it the tests say that they
//! did not run.

#[path = "support/death.rs"]
mod death;
mod support;

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use ringpipe::{
    Listing, Mpmc, OpenError, Ring, Spsc, UnlinkError, list, orphans, remove_orphan, remove_orphans,
};
use rustix::fs::fstat;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use support::{
    Child, Flavour, LONG, Me, Name, both_kinds, did_not_run, options, roles, tests, within,
};

roles!(opens_and_closes, creates, cleans, unlinks);

both_kinds!(
    c17_a_list_tells_the_living_from_the_dead_and_changes_nothing,
    c17_a_list_tells_what_the_dead_have_left,
    c13_orphans_are_removed_and_nothing_else,
    c13_the_ring_of_a_killed_cleaner_can_be_opened,
    c13_no_ring_is_removed_from_under_one_who_opens_it,
    c13_who_unlinks_a_ring_never_removes_the_name_of_its_successor,
);

tests!(
    c17_what_is_no_ring_is_passed_over,
    c17_a_file_on_which_somebody_has_a_lease_is_passed_over,
    c13_a_ring_stays_while_any_of_its_users_lives
);

const SHM: &str = "/dev/shm";

/// Gives this thread, and the children that it starts, a `/dev/shm` of their own.
fn has_own_shm(what: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        did_not_run(what, "not root");
        return false;
    }
    // SAFETY: `NEWNS` alone: no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount("tmpfs", SHM, "tmpfs", MountFlags::empty(), c"size=64m").unwrap();
    true
}

#[track_caller]
fn listed(name: &str) -> Listing {
    let found = list().unwrap().into_iter().find(|seen| seen.name == name);
    found.unwrap_or_else(|| panic!("{name} is not listed"))
}

/// Names in `/dev/shm`, sorted.
fn names() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(SHM)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until the kernel shows so many locks on a file. It shows a page of all locks at a time,
/// and while others come and go one may be shown twice or not at all.
fn must_have_locks(file: &fs::Metadata, count: usize) {
    // Other tests' file systems have files of the same number.
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let file = format!(" {major:02x}:{minor:02x}:{} ", file.ino());
    within(LONG, move || {
        let shown = || fs::read_to_string("/proc/locks").unwrap();
        while shown().lines().filter(|line| line.contains(&file)).count() != count {
            std::thread::yield_now();
        }
    });
}

fn c17_a_list_tells_the_living_from_the_dead_and_changes_nothing<K: Flavour>() {
    if !has_own_shm("list") {
        return;
    }
    let name = Name::new();
    let ring = options::<K>().capacity(8).tag("ticks", 3).create(&name).unwrap();
    let file = fs::metadata(name.path()).unwrap();
    let check = |senders, receivers, dead, len| {
        let held = 1 + senders + receivers; // the ring's own, and each end's
        must_have_locks(&file, held);
        let bytes = fs::read(name.path()).unwrap();
        let seen = listed(&name);
        assert_eq!((seen.senders, seen.receivers, seen.dead), (senders, receivers, dead));
        assert_eq!((seen.len, seen.in_use, seen.id), (len, true, ring.id()));
        assert_eq!((seen.capacity, seen.endpoints), (8, ring.endpoints()));
        assert_eq!((seen.kind, seen.layout), (K::NAME, (2, 0)));
        assert_eq!(seen.region_len, ring.region_len() as u64);
        assert_eq!((seen.created, &seen.element), (ring.created(), ring.element()));
        assert_eq!(seen.stats, ring.stats());
        assert!(fs::read(name.path()).unwrap() == bytes, "the region has changed");
        must_have_locks(&file, held);
    };
    check(0, 0, 0, 0);
    let mut tx = Child::start::<K>("puppet", &name);
    for (command, answer) in [("create 8", ""), ("open", "")] {
        // Untagged, it is another element's ring.
        assert_ne!(tx.ask(command), answer);
    }
    drop(tx);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    check(1, 1, 0, 0);
    tx.try_send_slice(&[1, 2, 3]).unwrap();
    rx.try_recv().unwrap();
    check(1, 1, 0, 2);
    drop(tx);
    check(0, 1, 0, 2);
    drop(rx);
    check(0, 0, 0, 2);
}

fn c17_a_list_tells_what_the_dead_have_left<K: Flavour>() {
    if !has_own_shm("list of the dead") {
        return;
    }
    let name = Name::new();
    let mut tx = Child::puppet::<K>(&name);
    tx.must("create 8", "Ok");
    tx.must("sender", "Ok");
    let mut rx = Child::receiver::<K>(&name, Default::default());
    tx.must("try_send_slice 0 5", "Ok(5)");
    rx.must("recv", "Ok(0)");
    let told = |seen: &Listing| (seen.senders, seen.receivers, seen.dead, seen.in_use);
    rx.stop();
    assert_eq!(told(&listed(&name)), (1, 1, 0, true), "who is stopped is alive");
    rx.kill();
    assert_eq!(told(&listed(&name)), (1, 0, 1, true));
    tx.kill();
    let bytes = fs::read(name.path()).unwrap();
    let seen = listed(&name);
    assert_eq!(told(&seen), (0, 0, 2, false));
    assert_eq!((seen.len, seen.stats.sent, seen.stats.received), (4, 5, 1));
    assert!(fs::read(name.path()).unwrap() == bytes, "the region has changed");

    // And it opens as if nothing had been (C12).
    let ring = options::<K>().open(&name).unwrap();
    assert_eq!(told(&listed(&name)), (0, 0, 2, true));
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.try_iter().eq(1..5));
}

fn c17_what_is_no_ring_is_passed_over() {
    if !has_own_shm("garbage") {
        return;
    }
    let shm = std::path::Path::new(SHM);
    let name = Name::new();
    let ring: Ring<u64, Spsc> = options().create(&name).unwrap();
    let whole = fs::read(name.path()).unwrap();

    fs::write(shm.join("empty"), "").unwrap();
    fs::write(shm.join("text"), "ringpipe").unwrap();
    fs::write(shm.join("noise"), vec![0xa5; 100_000]).unwrap();
    fs::write(shm.join("short"), &whole[..511]).unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    fs::write(shm.join("damaged"), &damaged).unwrap();
    fs::create_dir(shm.join("directory")).unwrap();
    symlink(name.path(), shm.join("link")).unwrap();
    symlink("nowhere", shm.join("dangling")).unwrap();
    let _listener = UnixListener::bind(shm.join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        shm.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let before = names();

    let seen: Vec<_> = list().unwrap().into_iter().map(|seen| seen.name).collect();
    assert_eq!(seen, [name.to_string()]);
    assert_eq!(remove_orphans().unwrap(), Vec::<String>::new());
    for strange in ["damaged", "directory", "fifo", "link", "socket"] {
        let refused = remove_orphan(strange).unwrap_err();
        assert!(
            matches!(&refused, UnlinkError::NotARing { ring } if ring.path().unwrap().ends_with(strange)),
            "{refused:?}"
        );
    }
    assert!(matches!(remove_orphan("none"), Err(UnlinkError::NotFound { .. })));
    assert!(matches!(remove_orphan("a/b"), Err(UnlinkError::Name { .. })));
    drop(ring);
    assert_eq!(orphans().unwrap(), [name.to_string()]);
    assert_eq!(remove_orphans().unwrap(), [name.to_string()]);
    let kept: Vec<_> = before.into_iter().filter(|kept| *kept != *name).collect();
    assert_eq!(names(), kept);
    assert!(fs::read(shm.join("damaged")).unwrap() == damaged);
}

/// Whoever opens such a file is to wait until its holder lets go. That is not everybody's affair.
fn c17_a_file_on_which_somebody_has_a_lease_is_passed_over() {
    if !has_own_shm("leases") {
        return;
    }
    let name = Name::new();
    let ring = options::<Spsc>().create(&name).unwrap();
    let leased = fs::File::create(Path::new("/dev/shm").join("leased")).unwrap();
    // That it is to be given up is told by a signal, which would end this process.
    // SAFETY: sets a disposition, no handler.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    // SAFETY: takes numbers.
    let taken = unsafe { libc::fcntl(leased.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
    assert_eq!(taken, 0, "{}", std::io::Error::last_os_error());
    let seen: Vec<_> = list().unwrap().into_iter().map(|seen| seen.name).collect();
    assert_eq!(seen, [name.to_string()]);
    assert_eq!(orphans().unwrap(), Vec::<String>::new());
    drop(ring);
    assert_eq!(remove_orphans().unwrap(), [name.to_string()]);
}

fn c13_orphans_are_removed_and_nothing_else<K: Flavour>() {
    if !has_own_shm("orphans") {
        return;
    }
    let [killed, closed, open, attached, unlinked] = [(); 5].map(|()| Name::new());
    let mut victim = Child::puppet::<K>(&killed);
    victim.must("create 8", "Ok");
    victim.must("sender", "Ok");
    victim.must("send 1", "Ok(())");
    let mut second = Child::receiver::<K>(&killed, Default::default());
    second.say("recv_timeout 60000"); // it takes 1, or dies in the attempt
    second.hear();
    drop(options::<K>().create(&closed).unwrap());
    let merely_open = options::<K>().create(&open).unwrap();
    let mut owner = Child::puppet::<K>(&attached);
    owner.must("create 8", "Ok");
    owner.must("receiver", "Ok");
    let mut nameless = Child::puppet::<K>(&unlinked);
    nameless.must("create 8", "Ok");
    nameless.must("sender", "Ok");
    nameless.must("unlink", "Ok");

    assert_eq!(orphans().unwrap(), [closed.to_string()]);
    assert!(names().contains(&closed.to_string()), "it was asked, not removed");
    assert_eq!(remove_orphans().unwrap(), [closed.to_string()]);
    victim.stop(); // stopped, it lives
    second.kill();
    let (none, gone) = (Vec::<String>::new(), Name::new());
    assert_eq!((orphans().unwrap(), remove_orphans().unwrap()), (none.clone(), none));
    drop(options::<K>().create(&gone).unwrap());
    for (name, is_orphan) in [(&killed, false), (&open, false), (&attached, false), (&gone, true)] {
        assert_eq!(remove_orphan(name).unwrap(), is_orphan);
    }
    victim.kill();
    assert_eq!(orphans().unwrap(), [killed.to_string()]);
    assert_eq!(remove_orphans().unwrap(), [killed.to_string()]);
    assert!(matches!(options::<K>().open(&killed), Err(OpenError::NotFound { .. })));

    // Those in use have noticed nothing.
    let mut expected = [open.to_string(), attached.to_string()];
    expected.sort();
    assert_eq!(names(), expected);
    let mut tx = K::sender(&options::<K>().open(&attached).unwrap()).unwrap();
    tx.try_send(5).unwrap();
    owner.must("recv", "Ok(5)");
    nameless.must("send 6", "Ok(())");
    drop((tx, merely_open));
    owner.kill();
    let mut removed = remove_orphans().unwrap();
    removed.sort();
    assert_eq!(removed, expected);
    // And the names are free.
    options::<K>().create(&killed).unwrap();
}

fn c13_a_ring_stays_while_any_of_its_users_lives() {
    if !has_own_shm("users of one ring") {
        return;
    }
    let name = Name::new();
    let mut users: Vec<_> = (0..4).map(|_| Child::puppet::<Mpmc>(&name)).collect();
    users[0].must("create 8", "Ok");
    for (user, end) in users.iter_mut().zip(["", "sender", "receiver", "sender"]) {
        if !end.is_empty() {
            user.must("open", "Ok");
            user.must(end, "Ok");
        }
    }
    for user in users {
        assert_eq!(remove_orphans().unwrap(), Vec::<String>::new());
        user.kill();
    }
    assert_eq!(remove_orphans().unwrap(), [name.to_string()]);
}

fn c13_the_ring_of_a_killed_cleaner_can_be_opened<K: Flavour>() {
    if !has_own_shm("killed cleaners") {
        return;
    }
    for round in 0..50 {
        let name = Name::new();
        drop(options::<K>().create(&name).unwrap());
        let mut cleaner = Child::start::<K>("cleans", &name);
        cleaner.must("go", "Ok");
        let started = Instant::now();
        // Spread over its first steps; nothing hangs on the length.
        while started.elapsed() < Duration::from_micros(round * 41 % 400) {
            std::hint::spin_loop();
        }
        cleaner.kill();
        match options::<K>().open(&name) {
            Ok(ring) => check_attached(&ring, &name),
            Err(OpenError::NotFound { .. }) => assert!(!name.path().exists()),
            Err(e) => panic!("{e:?}"),
        }
    }
}

/// Whoever has a ring open can be found under the ring's name, unless it is unlinked on purpose.
fn check_attached<K: Flavour>(ring: &Ring<u64, K>, name: &str) {
    let mine = fstat(ring.as_fd()).unwrap();
    assert_eq!(mine.st_nlink, 1, "removed from under the one who has opened it");
    let named = fs::metadata(format!("{SHM}/{name}")).unwrap();
    assert_eq!((named.dev(), named.ino()), (mine.st_dev, mine.st_ino), "replaced");
}

/// How long the racers race.
const RACE: Duration = Duration::from_secs(3);

fn c13_no_ring_is_removed_from_under_one_who_opens_it<K: Flavour>() {
    if !has_own_shm("the race of openers and cleaners") {
        return;
    }
    let name = Name::new();
    let mut racers: Vec<_> =
        ["opens_and_closes", "opens_and_closes", "creates", "cleans", "cleans"]
            .map(|role| Child::start::<K>(role, &name))
            .into();
    for racer in &mut racers {
        racer.must("go", "Ok");
    }
    let counts: Vec<u64> = racers.iter_mut().map(|racer| racer.hear().parse().unwrap()).collect();
    let [opened, created, removed] = [counts[0] + counts[1], counts[2], counts[3] + counts[4]];
    assert!(opened > 5 && created > 5 && removed > 5, "hardly a race: {counts:?}");
}

fn c13_who_unlinks_a_ring_never_removes_the_name_of_its_successor<K: Flavour>() {
    let name = Name::new();
    let mut creators: Vec<_> = (0..2).map(|_| Child::start::<K>("creates", &name)).collect();
    let mut unlinkers: Vec<_> = (0..3).map(|_| Child::start::<K>("unlinks", &name)).collect();
    for racer in creators.iter_mut().chain(&mut unlinkers) {
        racer.must("go", "Ok");
    }
    let mut ids: Vec<u128> = unlinkers
        .iter_mut()
        .flat_map(|unlinker| {
            let told = unlinker.hear();
            told.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    let unlinked = ids.len();
    assert!(unlinked > 5, "hardly a race: {unlinked}");
    // Each ring was unlinked once, by one of them; so each unlink has removed the ring it meant.
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), unlinked);
    let created: u64 = creators.iter_mut().map(|c| c.hear().parse::<u64>().unwrap()).sum();
    let left = u64::from(name.path().exists());
    assert_eq!(created, unlinked as u64 + left);
}

/// A role: opens the ring and unlinks it, over and over; tells the ids of those that it unlinked.
fn unlinks<K: Flavour>(mut me: Me) {
    me.hear();
    me.say("Ok");
    let (started, mut ids) = (Instant::now(), Vec::new());
    // Longer than the creators go on.
    while started.elapsed() < RACE + Duration::from_millis(300) {
        let Ok(ring) = options::<K>().open(&me.ring) else { continue };
        match ring.unlink() {
            Ok(()) => ids.push(ring.id().to_string()),
            Err(UnlinkError::NotFound { .. } | UnlinkError::Replaced { .. }) => {}
            Err(e) => panic!("{e:?}"),
        }
    }
    me.say(ids.join(" "));
    me.hear();
}

/// A role: does `turn` over and over for the time of a race, and tells how often it came to
/// something.
fn race(mut me: Me, mut turn: impl FnMut(&str) -> bool) {
    me.hear();
    me.say("Ok");
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < RACE {
        match turn(&me.ring) {
            true => count += 1,
            false => std::thread::sleep(Duration::from_micros(30)), // the turn is another's
        }
    }
    me.say(count);
    me.hear();
}

fn opens_and_closes<K: Flavour>(me: Me) {
    let mut pause = u64::from(std::process::id() % 400);
    race(me, |name| match options::<K>().open(name) {
        Ok(ring) => {
            check_attached(&ring, name);
            let end = K::receiver(&ring);
            check_attached(&ring, name);
            drop(end);
            check_attached(&ring, name);
            // For others to have their turn, each time a different number of them.
            drop(ring);
            std::thread::sleep(Duration::from_micros(pause));
            pause = (pause * 7 + 11) % 400;
            true
        }
        Err(OpenError::NotFound { .. }) => false,
        Err(e) => panic!("{e:?}"),
    });
}

fn creates<K: Flavour>(me: Me) {
    race(me, |name| match options::<K>().capacity(4).create(name) {
        Ok(_) => true,
        Err(ringpipe::CreateError::Exists { .. }) => false,
        Err(e) => panic!("{e:?}"),
    });
}

fn cleans<K: Flavour>(me: Me) {
    race(me, |_| !remove_orphans().unwrap().is_empty());
}
