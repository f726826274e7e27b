//! What the system does not grant: permissions, space, descriptors, memory to lock.
//!
//! Whatever it refuses, nothing is left behind.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use ringpipe::{CreateError, OpenError, OpenOrCreateError, SpaceLimit, UnlinkError, unlink};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_remount};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::support::sandbox::{
    Directory, NOBODY, become_nobody, is_root, mount_tmpfs, play, space, with_own_mounts,
};
use super::support::{Flavour, LONG, Me, Name, within};
use super::{Snapshot, mpmc, our_names, spsc};

#[test]
fn a_ring_without_permission_is_refused_to_open_and_to_unlink() {
    if !is_root("rings of another user") {
        return;
    }
    let name = Name::new();
    let ring = spsc::<u64>().create(&name).unwrap();
    ring.producer().unwrap().try_send(1).unwrap();
    let before = Snapshot::of(&name.path());
    play("stranger_to_a_ring", &name);
    before.assert_untouched();
    assert_eq!(ring.consumer().unwrap().try_recv(), Ok(1));
}

pub fn stranger_to_a_ring<K: Flavour>(me: Me) {
    let name = me.ring.as_str();
    become_nobody();
    let options = spsc::<u64>();
    let error = options.open(name).unwrap_err();
    let OpenError::Permission { ring, user: NOBODY, owner: Some(0), mode: Some(0o600), .. } =
        &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(ring.path(), Some(Path::new("/dev/shm").join(name).as_path()));
    assert!(error.to_string().contains(name), "{error}");
    let error = options.create(name).unwrap_err();
    assert!(matches!(error, CreateError::Exists { .. }), "{error:?}");
    let error = unlink(name).unwrap_err();
    assert!(matches!(error, UnlinkError::Permission { .. }), "{error:?}");

    // A directory of root's.
    let error = options.create_file("/ringpipe-test").unwrap_err();
    assert!(matches!(error, CreateError::Permission { .. }), "{error:?}");
    assert!(!Path::new("/ringpipe-test").exists());
}

#[test]
fn a_ring_of_another_user_is_refused_unless_that_user_is_trusted() {
    if !is_root("rings of another user") {
        return;
    }
    let name = Name::new();
    play("owner_of_a_ring", &name);
    let before = Snapshot::of(&name.path());
    assert_eq!(name.path().metadata().unwrap().uid(), NOBODY);
    let error = spsc::<u64>().open(&name).unwrap_err();
    assert!(matches!(error, OpenError::Owner { owner: NOBODY, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("65534") && text.contains(&*name), "{text}");
    let error = spsc::<u64>().trust_owner(1000).open(&name).unwrap_err();
    assert!(matches!(error, OpenError::Owner { .. }), "{error:?}");
    before.assert_untouched();

    assert!(spsc::<u64>().trust_owner(NOBODY).open(&name).is_ok());
    let ring = spsc::<u64>().trust_any_owner().open(&name).unwrap();
    assert_eq!(ring.consumer().unwrap().try_recv(), Ok(7));
}

pub fn owner_of_a_ring<K: Flavour>(me: Me) {
    let name = me.ring.as_str();
    become_nobody();
    let ring = spsc::<u64>().mode(0o666).create(name).unwrap();
    ring.producer().unwrap().try_send(7).unwrap();
}

#[test]
fn a_mode_that_shuts_out_its_own_creator_leaves_nothing_behind() {
    if !is_root("a creator without permission") {
        return;
    }
    let name = Name::new();
    play("creator_of_a_closed_ring", &name);
    assert!(!name.path().exists());
}

pub fn creator_of_a_closed_ring<K: Flavour>(me: Me) {
    let name = me.ring.as_str();
    become_nobody();
    for mode in [0, 0o400, 0o200, 0o066] {
        let error = spsc::<u64>().mode(mode).create(name).unwrap_err();
        let typed = matches!(
            error,
            CreateError::Io { .. } | CreateError::Permission { .. } | CreateError::Options { .. }
        );
        assert!(typed, "{mode:o}: {error:?}");
        assert!(our_names().is_empty(), "{:?}", our_names());
    }
}

/// A file system of one mebibyte cannot hold 4 MiB; the refusal leaves nothing of it taken.
fn a_full_file_system_is_noticed(options: &'static CStr, create: fn() -> CreateError) {
    if !is_root("a full file system") {
        return;
    }
    with_own_mounts(move || {
        mount_tmpfs("/dev/shm", options);
        let shm = Path::new("/dev/shm");
        let before = (space(shm), std::fs::read_dir(shm).unwrap().count());
        let error = create();
        let after = (space(shm), std::fs::read_dir(shm).unwrap().count());
        assert_eq!(after, before, "something is left behind");
        let text = error.to_string();
        let CreateError::NoSpace { needed, free: Some(free), mount: Some(mount), .. } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(mount, shm);
        assert!(text.contains(&needed.to_string()), "{text}");
        assert!(text.contains(&free.to_string()) && free <= 1 << 20, "{text}");
        assert!(text.contains("--shm-size"), "{text}");
        assert!(needed > 4 << 20, "{needed}");
        // What fits is created all the same.
        let small = spsc::<u64>().create("small").unwrap();
        small.producer().unwrap().try_send(1).unwrap();
        assert!(spsc::<u64>().open("small").is_ok());
    });
}

#[test]
fn a_ring_that_dev_shm_has_no_room_for_is_refused_at_creation() {
    a_full_file_system_is_noticed(c"size=1m", || {
        let options = spsc::<[u8; 4096]>().capacity(1024);
        options.create("too-large").unwrap_err()
    });
}

#[test]
fn a_file_backed_ring_that_its_disk_has_no_room_for_is_refused_at_creation() {
    a_full_file_system_is_noticed(c"size=1m", || {
        let options = mpmc::<u64>().capacity(1 << 20);
        options.create_file("/dev/shm/too-large").unwrap_err()
    });
}

#[test]
fn a_name_that_is_taken_is_said_to_be_though_there_is_no_room() {
    if !is_root("a full file system") {
        return;
    }
    with_own_mounts(|| {
        mount_tmpfs("/dev/shm", c"size=6m");
        let options = spsc::<[u8; 4096]>().capacity(1024);
        let ring = options.create("ring").unwrap();
        for error in
            [options.create("ring").unwrap_err(), options.create_file("/dev/shm/ring").unwrap_err()]
        {
            assert!(matches!(error, CreateError::Exists { .. }), "{error:?}");
        }
        assert_eq!(options.open_or_create("ring").unwrap().id(), ring.id());
        let full = options.open_or_create("other").unwrap_err();
        assert!(matches!(full, OpenOrCreateError::Create(CreateError::NoSpace { .. })), "{full:?}");
    });
}

/// Two copies of the ring do not fit: whoever makes one must not be in the way of who makes it.
#[test]
fn programs_that_start_together_find_one_ring_though_there_is_room_for_one_alone() {
    if !is_root("a small file system") {
        return;
    }
    with_own_mounts(|| {
        mount_tmpfs("/dev/shm", c"size=60m");
        let options = spsc::<[u8; 4096]>().capacity(8 << 10); // 32 MiB and a bit
        // Two of them get far before they are in each other's way.
        for (round, programs) in [2, 4, 2, 4, 2, 2].into_iter().enumerate() {
            let start = Barrier::new(programs);
            let open = || {
                start.wait();
                options.open_or_create("ring").unwrap()
            };
            let rings: Vec<_> = thread::scope(|scope| {
                let all: Vec<_> = (0..programs).map(|_| scope.spawn(open)).collect();
                all.into_iter().map(|one| one.join().expect("it has the ring")).collect()
            });
            assert!(rings.iter().all(|ring| ring.id() == rings[0].id()), "{round}");
            rings[0].unlink().unwrap();
        }
    });
}

#[test]
fn a_file_system_without_inodes_refuses_too() {
    if !is_root("a full file system") {
        return;
    }
    with_own_mounts(|| {
        mount_tmpfs("/dev/shm", c"size=1m,nr_inodes=2");
        std::fs::write("/dev/shm/the-only-file", "").unwrap();
        let before = space(Path::new("/dev/shm"));
        let error = spsc::<u64>().create("ring").unwrap_err();
        assert!(matches!(error, CreateError::NoFiles { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("no room for another file") && text.contains("/dev/shm"), "{text}");
        assert_eq!(space(Path::new("/dev/shm")), before);
    });
}

/// Nobody else is to run out of space for a ring that cannot be.
#[test]
fn a_file_system_that_is_too_small_is_not_filled_before_that_is_said() {
    if !is_root("a small file system") {
        return;
    }
    with_own_mounts(|| {
        mount_tmpfs("/dev/shm", c"size=48m");
        // Every allocation in a file of the directory is an event; with or without a name.
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK);
        let watch = watch.unwrap();
        inotify::add_watch(&watch, "/dev/shm", inotify::WatchFlags::MODIFY).unwrap();
        let allocated = || rustix::io::read(&watch, &mut [0; 4096]).is_ok();
        let options = spsc::<[u8; 4096]>().capacity(16 << 10);
        for error in [
            options.create("too-large").unwrap_err(),
            options.create_file("/dev/shm/too-large").unwrap_err(),
        ] {
            assert!(matches!(error, CreateError::NoSpace { .. }), "{error:?}");
            assert!(!allocated(), "it was filled first");
        }
        spsc::<u64>().create("small").unwrap();
        assert!(allocated(), "no allocation is seen here");
    });
}

#[test]
fn a_read_only_file_system_is_told_from_a_lack_of_permission() {
    if !is_root("a read-only file system") {
        return;
    }
    with_own_mounts(|| {
        mount_tmpfs("/dev/shm", c"size=1m");
        drop(spsc::<u64>().create("ring").unwrap());
        // Busy while a child that another test is starting still has our descriptors.
        within(LONG, || {
            let remount = || mount_remount("/dev/shm", MountFlags::RDONLY, c"");
            while let Err(e) = remount() {
                assert_eq!(e, Errno::BUSY);
                std::thread::yield_now();
            }
        });
        let before = Snapshot::of(Path::new("/dev/shm/ring"));
        let error = spsc::<u64>().create("other").unwrap_err();
        assert!(matches!(error, CreateError::ReadOnlyFileSystem { .. }), "{error:?}");
        let error = spsc::<u64>().open("ring").unwrap_err();
        assert!(matches!(error, OpenError::ReadOnlyFileSystem { .. }), "{error:?}");
        let error = unlink("ring").unwrap_err();
        assert!(matches!(error, UnlinkError::ReadOnlyFileSystem { .. }), "{error:?}");
        before.assert_untouched();
    });
}

#[test]
fn a_file_system_that_keeps_no_files_is_refused() {
    for path in ["/proc/ringpipe-test", "/sys/ringpipe-test"] {
        let error = spsc::<u64>().create_file(path).unwrap_err();
        let typed = matches!(error, CreateError::Io { .. } | CreateError::Permission { .. });
        assert!(typed, "{path}: {error:?}");
    }
    let error = spsc::<u64>().open_file("/proc/self/status").unwrap_err();
    let typed = matches!(
        error,
        OpenError::FileSystem { kind: Some("proc"), .. } | OpenError::Permission { .. }
    );
    assert!(typed, "{error:?}");
}

#[test]
fn running_out_of_descriptors_is_an_error_and_leaves_nothing() {
    let name = Name::new();
    play("process_without_descriptors", &name);
    assert!(!name.path().exists());
}

pub fn process_without_descriptors<K: Flavour>(me: Me) {
    let name = me.ring.as_str();
    let ring = spsc::<u64>().create_anonymous().unwrap();
    let spare = ring.as_fd().try_clone_to_owned().unwrap();
    let mut taken = Vec::new();
    let few = Rlimit { current: Some(64), maximum: Some(64) };
    setrlimit(Resource::Nofile, few).unwrap();
    while let Ok(fd) = ring.as_fd().try_clone_to_owned() {
        taken.push(fd);
    }
    // None left, then one, and so on: each step of each call finds itself without.
    let mut succeeded = [0; 4];
    for _ in 0..6 {
        succeeded[0] += u32::from(spsc::<u64>().create_anonymous().is_ok());
        succeeded[1] += u32::from(spsc::<u64>().create(name).is_ok_and(|r| r.unlink().is_ok()));
        succeeded[2] += u32::from(ring.producer().is_ok());
        succeeded[3] += u32::from(
            spsc::<u64>()
                .from_fd(spare.try_clone().unwrap_or_else(
                    |_| taken.pop().expect("one more"), // one is freed for this, and gone after it
                ))
                .is_ok(),
        );
        assert_eq!(ring.peers().senders, 0);
        taken.pop();
    }
    // First they all failed, and at the end they all worked.
    assert!(succeeded.iter().all(|&n| 0 < n && n < 6), "{succeeded:?}");
}

#[test]
fn memory_that_may_not_be_locked_is_an_error_and_leaves_nothing() {
    if !is_root("a limit on locked memory") {
        return;
    }
    let name = Name::new();
    play("process_that_may_not_lock", &name);
    assert!(!name.path().exists());
}

pub fn process_that_may_not_lock<K: Flavour>(me: Me) {
    let name = me.ring.as_str();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Memlock, none).unwrap();
    become_nobody();
    let options = spsc::<u64>().lock_memory(true);
    for error in [options.create(name).unwrap_err(), options.create_anonymous().unwrap_err()] {
        assert!(
            matches!(error, CreateError::TooLarge { limit: LOCKED, available: 0, .. }),
            "{error:?}"
        );
    }
    assert!(our_names().is_empty());
    let _ring = spsc::<u64>().create(name).unwrap();
    let error = options.open(name).unwrap_err();
    assert!(matches!(error, OpenError::TooLarge { limit: LOCKED, .. }), "{error:?}");
    unlink(name).unwrap();
}

const LOCKED: SpaceLimit = SpaceLimit::LockedMemory;

#[test]
fn the_mode_and_the_umask_rule_who_may_open() {
    let name = Name::new();
    drop(spsc::<u64>().mode(0o640).create(&name).unwrap());
    let mode = name.path().metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o640, 0, "{mode:o} has bits that were not asked for");
    let directory = Directory::new();
    let path = directory.join("ring");
    drop(spsc::<u64>().create_file(&path).unwrap());
    let mode = path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "private unless asked for otherwise");
}
