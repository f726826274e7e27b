//! C15 and C16: who may open a ring, what it may be called, and that its memory is really there.
//!
//! The tests with two users need to begin as root. Begun as anyone else they say that they did not
//! run.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ringpipe::{CreateError, NameError, OpenError, Ring, Spsc, UnlinkError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::{
    Child, Directory, Flavour, Name, both_kinds, did_not_run, new_ring, options, roles, tests,
};

roles!();

both_kinds!(
    c15_mode_and_umask_decide_who_may_open,
    c15_a_stranger_is_refused_what_the_mode_does_not_allow,
    c15_a_ring_of_another_user_is_refused_unless_that_user_is_trusted,
    c16_all_memory_is_reserved_at_creation,
    c16_running_out_of_memory_is_an_error_at_creation,
);

tests!(
    c15_names_that_cannot_be_are_refused,
    c15_mode_bits_beyond_permissions_are_refused,
    c16_a_ring_larger_than_can_be_is_refused_at_once,
);

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn c15_mode_and_umask_decide_who_may_open<K: Flavour>() {
    let directory = Directory::new();
    for umask in [0, 0o022, 0o077] {
        for mode in [0o600, 0o640, 0o660, 0o666] {
            let name = Name::new();
            let file = directory.join(format!("{umask:o}-{mode:o}"));
            for (ring, path) in [(&*name, &name.path()), (file.to_str().unwrap(), &file)] {
                // The umask belongs to the whole process, hence a child.
                let mut child = Child::puppet::<K>(ring);
                child.must(&format!("umask {umask:o}"), "Ok");
                child.must(&format!("create 4 {mode:o}"), "Ok");
                let found = fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(found & 0o7777, mode & !umask, "{mode:o} under {umask:o}");
            }
        }
    }
    let (name, _ring) = new_ring::<K>(4);
    let default = fs::metadata(name.path()).unwrap().permissions().mode();
    assert_eq!(default & 0o7777, 0o600, "the default");
}

fn c15_mode_bits_beyond_permissions_are_refused() {
    let name = Name::new();
    for mode in [0o1600, 0o4755, 0o10600, u32::MAX] {
        let refused = options::<Spsc>().mode(mode).create(&name);
        assert!(matches!(refused, Err(CreateError::Options { .. })), "{mode:o}");
        assert!(!name.path().exists());
    }
}

fn c15_a_stranger_is_refused_what_the_mode_does_not_allow<K: Flavour>() {
    if !is_root() {
        return did_not_run("C15 as another user", "not root");
    }
    let stranger = |ring: &str| {
        let mut child = Child::puppet::<K>(ring);
        child.must("umask 0", "Ok");
        child.must(&format!("become {NOBODY}"), "Ok");
        child
    };
    for mode in [0o600, 0o640, 0o660, 0o644] {
        let name = Name::new();
        let ring = options::<K>().mode(mode).create(&name).unwrap();
        let before = fs::read(name.path()).unwrap();
        let mut child = stranger(&name);
        let told = child.ask("open");
        assert!(told.starts_with("Err(Permission"), "{mode:o}: {told}");
        let told = child.ask("unlink_name");
        assert!(told.starts_with("Err(Permission"), "{mode:o}: {told}");
        assert!(fs::read(name.path()).unwrap() == before, "touched");
        assert_eq!(ring.stats().sender_arrivals, 0);
    }

    // Root's rings are trusted by everyone, if the mode allows; root's directories are root's.
    let name = Name::new();
    // Not subject to this process's umask, which is nobody's business here.
    let ring = options::<K>().create(&name).unwrap();
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let mut child = stranger(&name);
    child.must("open", "Ok");
    child.must("sender", "Ok");
    child.must("send 5", "Ok(())");
    assert_eq!(K::receiver(&ring).unwrap().recv(), Ok(5));

    let directory = Directory::new();
    fs::set_permissions(&*directory, fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.join("ring");
    let told = stranger(path.to_str().unwrap()).ask("create 4");
    assert!(told.starts_with("Err(Permission"), "{told}");
    assert!(!path.exists());
}

fn c15_a_ring_of_another_user_is_refused_unless_that_user_is_trusted<K: Flavour>() {
    if !is_root() {
        return did_not_run("C15 with another owner", "not root");
    }
    let name = Name::new();
    let mut squatter = Child::puppet::<K>(&name);
    squatter.must("umask 0", "Ok");
    squatter.must(&format!("become {NOBODY}"), "Ok");
    squatter.must("create 4 666", "Ok");
    squatter.must("sender", "Ok");
    squatter.must("send 5", "Ok(())");
    assert_eq!(fs::metadata(name.path()).unwrap().uid(), NOBODY);
    let before = fs::read(name.path()).unwrap();

    let refused = |opened: Result<Ring<u64, K>, OpenError>| {
        let error = opened.unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OpenError::Owner { owner: NOBODY, .. }), "{message}");
        assert!(message.contains("65534") && message.contains(&*name), "{message}");
    };
    refused(options::<K>().open(&name));
    refused(options::<K>().trust_owner(NOBODY - 1).open(&name));
    let either = options::<K>().open_or_create(&name);
    assert!(matches!(either, Err(ringpipe::OpenOrCreateError::Open(OpenError::Owner { .. }))));
    assert!(fs::read(name.path()).unwrap() == before, "touched");

    let ring = options::<K>().trust_owner(1).trust_owner(NOBODY).open(&name).unwrap();
    assert_eq!(K::receiver(&ring).unwrap().recv(), Ok(5));
    options::<K>().trust_any_owner().open(&name).unwrap();
}

fn c15_names_that_cannot_be_are_refused() {
    let long = "x".repeat(256);
    let wide = "ä".repeat(128);
    for (name, why) in [
        ("", NameError::Reserved),
        (".", NameError::Reserved),
        ("..", NameError::Reserved),
        ("/absolute", NameError::Slash),
        ("a/b", NameError::Slash),
        ("../shm/a", NameError::Slash),
        ("a/", NameError::Slash),
        ("a\0b", NameError::Nul),
        ("\0", NameError::Nul),
        (&long, NameError::TooLong { len: 256 }),
        (&wide, NameError::TooLong { len: 256 }),
    ] {
        let created = options::<Spsc>().create(name);
        assert!(matches!(created, Err(CreateError::Name { why: e, .. }) if e == why), "{name:?}");
        let opened = options::<Spsc>().open(name);
        assert!(matches!(opened, Err(OpenError::Name { why: e, .. }) if e == why), "{name:?}");
        let unlinked = ringpipe::unlink(name);
        assert!(matches!(unlinked, Err(UnlinkError::Name { why: e, .. }) if e == why), "{name:?}");
    }
    let longest = Name::of_length(255);
    let ring = options::<Spsc>().create(&longest).unwrap();
    options::<Spsc>().open(&longest).unwrap();
    ring.unlink().unwrap();
    let mut odd = Name::new().to_string();
    odd.push_str(" \n*..%s\u{202e}");
    let ring = options::<Spsc>().create(&odd).unwrap();
    assert_eq!(options::<Spsc>().open(&odd).unwrap().id(), ring.id());
    ring.unlink().unwrap();
}

fn c16_all_memory_is_reserved_at_creation<K: Flavour>() {
    let directory = Directory::new();
    for capacity in [1, 1024, 1 << 17] {
        let (_name, named) = new_ring::<K>(capacity);
        let made = options::<K>().capacity(capacity);
        let file = made.create_file(directory.join(capacity.to_string())).unwrap();
        for ring in [named, made.create_anonymous().unwrap(), file] {
            let stat = rustix::fs::fstat(&ring).unwrap();
            let len = ring.region_len();
            assert_eq!(stat.st_size as usize, len);
            assert!(len >= capacity * size_of::<u64>());
            let reserved = stat.st_blocks as usize * 512;
            assert!(reserved >= len, "{reserved} of {len} bytes, {ring:?}");
        }
    }
}

fn c16_running_out_of_memory_is_an_error_at_creation<K: Flavour>() {
    let directory = Directory::new();
    let mounted =
        mount("none", &*directory, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"size=1m");
    if let Err(e) = mounted {
        return did_not_run("C16 on a small tmpfs", &e.to_string());
    }
    struct Mounted<'a>(&'a std::path::Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            unmount(self.0, UnmountFlags::DETACH).unwrap();
        }
    }
    let _mounted = Mounted(&directory);
    let path = directory.join("ring");
    let refused = options::<K>().capacity(1 << 18).create_file(&path);
    assert!(
        matches!(refused, Err(CreateError::NoSpace { needed, .. }) if needed > 1 << 21),
        "{refused:?}"
    );
    assert_eq!(fs::read_dir(&*directory).unwrap().count(), 0);
    // What does fit, fits to its last byte: nothing of the failure is left behind.
    let ring = options::<K>().capacity(1 << 15).create_file(&path).unwrap();
    let mut tx = K::sender(&ring).unwrap();
    for value in 0..1 << 15 {
        tx.try_send(value).unwrap();
    }
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.try_iter().eq(0..1 << 15));
}

fn c16_a_ring_larger_than_can_be_is_refused_at_once() {
    let name = Name::new();
    let mut child = Child::puppet::<Spsc>(&name);
    // Should it not be refused at once, it is to take no more of this machine than this.
    child.must("limit_files 268435456", "Ok");
    for capacity in [u64::MAX, 1 << 63, 1 << 60, 1 << 45] {
        for how in ["create", "create_anonymous"] {
            let refused = child.ask(&format!("{how} {capacity}"));
            assert!(refused.starts_with("Err(TooLarge"), "{capacity}: {refused}");
        }
        assert!(!name.path().exists());
    }
    let nothing = child.ask("create 0");
    assert!(nothing.starts_with("Err(Options"), "{nothing}");
}
