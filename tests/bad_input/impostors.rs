//! Something else where a ring is expected: under its name, or behind a descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use ringpipe::{CreateError, OpenError, Options, Spsc};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, SealFlags};

use super::header::garbage_of;
use super::support::sandbox::{Directory, is_root};
use super::support::{LONG, Name, Rng, within};
use super::{Snapshot, spsc};

fn options() -> Options<u64, Spsc> {
    spsc()
}

/// Opening and creating refuse what is at `path`, in no time, and leave it be.
#[track_caller]
fn assert_refused(name: &Name, because: &str) {
    let before = Snapshot::of(&name.path());
    let (named, path) = (name.to_string(), name.path());
    let (by_name, by_path, created) = within(LONG, move || {
        (
            options().open(&named).unwrap_err(),
            options().open_file(path).unwrap_err(),
            options().create(&named).unwrap_err(),
        )
    });
    for error in [by_name, by_path] {
        assert!(matches!(error, OpenError::NotARing { .. }), "{error:?}");
        assert!(error.to_string().contains(because), "{error}");
        assert!(error.to_string().contains(&**name), "{error}");
    }
    assert!(matches!(created, CreateError::Exists { .. }), "{created:?}");
    before.assert_untouched();
}

#[test]
fn a_directory_under_the_rings_name_is_refused() {
    let name = Name::new();
    std::fs::create_dir(name.path()).unwrap();
    assert_refused(&name, "directory");
}

#[test]
fn a_symbolic_link_under_the_rings_name_is_refused_even_if_it_leads_to_a_ring() {
    let (ring, link, dangling) = (Name::new(), Name::new(), Name::new());
    drop(options().create(&ring).unwrap());
    std::os::unix::fs::symlink(ring.path(), link.path()).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", dangling.path()).unwrap();
    let before = Snapshot::of(&ring.path());
    assert_refused(&link, "symbolic link");
    assert_refused(&dangling, "symbolic link");
    before.assert_untouched();
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn a_fifo_under_the_rings_name_is_refused_and_keeps_nobody() {
    let name = Name::new();
    rustix::fs::mknodat(CWD, name.path(), FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_refused(&name, "no regular file");
}

#[test]
fn a_socket_under_the_rings_name_is_refused() {
    let name = Name::new();
    let _listener = UnixListener::bind(name.path()).unwrap();
    assert_refused(&name, "no regular file");
}

#[test]
fn a_device_is_no_ring() {
    let error = options().open_file("/dev/null").unwrap_err();
    assert!(matches!(error, OpenError::NotARing { .. }), "{error:?}");
    if is_root("a device node under a ring's name") {
        let name = Name::new();
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, name.path(), FileType::CharacterDevice, Mode::RWXU, null).unwrap();
        let before = Snapshot::of(&name.path());
        let error = options().open(&name).unwrap_err();
        // The latter where /dev/shm is mounted without devices.
        let typed = matches!(error, OpenError::NotARing { .. } | OpenError::Permission { .. });
        assert!(typed, "{error:?}");
        before.assert_untouched();
    }
}

/// The error for a descriptor.
#[track_caller]
fn refusal(fd: impl Into<OwnedFd>) -> OpenError {
    let fd = fd.into();
    within(Duration::from_secs(60), move || options().from_fd(fd).expect_err("opened"))
}

fn memfd(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("impostor", flags).unwrap();
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::pwrite(&fd, &bytes[written..], written as u64).unwrap();
    }
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

const SEALED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

fn good_bytes() -> Vec<u8> {
    let name = Name::new();
    drop(options().create(&name).unwrap());
    std::fs::read(name.path()).unwrap()
}

#[test]
fn descriptors_of_other_things_are_refused() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").unwrap();
    let directory = Directory::new();
    let path = directory.join("ring");
    std::fs::write(&path, good_bytes()).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let folder = std::fs::File::open(&directory.0).unwrap();
    let others: [OwnedFd; 6] =
        [reader.into(), writer.into(), one.into(), other.into(), null.into(), folder.into()];
    for fd in others {
        let error = refusal(fd);
        assert!(matches!(error, OpenError::NotARing { .. }), "{error:?}");
        assert!(error.to_string().contains("no memfd"), "{error}");
    }
    let before = Snapshot::of(&path);
    let error = refusal(file);
    let typed = matches!(error, OpenError::NotARing { .. } | OpenError::Unsealed { .. });
    assert!(typed, "{error:?}");
    before.assert_untouched();
    // A handle on a path is no handle on a file.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let error = refusal(rustix::fs::open(&path, flags, Mode::empty()).unwrap());
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[test]
fn a_named_rings_descriptor_cannot_stand_in_for_a_sealed_one() {
    let name = Name::new();
    let ring = options().create(&name).unwrap();
    let before = Snapshot::of(&name.path());
    let error = refusal(ring.as_fd().try_clone_to_owned().unwrap());
    assert!(matches!(error, OpenError::Unsealed { .. }), "{error:?}");
    assert!(error.to_string().contains("not sealed"), "{error}");
    before.assert_untouched();
}

#[test]
fn a_memfd_is_a_ring_only_with_all_three_seals() {
    let good = good_bytes();
    let all = [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL];
    for present in 0..8 {
        let seals = (0..3)
            .filter(|bit| present & 1 << bit != 0)
            .fold(SealFlags::empty(), |seals, bit| seals | all[bit]);
        let opened = options().from_fd(memfd(&good, seals));
        if seals == SEALED {
            assert!(opened.is_ok(), "{opened:?}");
        } else {
            let error = opened.unwrap_err();
            assert!(matches!(error, OpenError::Unsealed { .. }), "{seals:?}: {error:?}");
        }
    }
}

#[test]
fn a_sealed_memfd_of_something_else_is_refused() {
    let good = good_bytes();
    let mut random = Rng::new(0x5eed_0002);
    for (bytes, expected) in [
        (vec![], "shorter"),
        (good[..511].to_vec(), "shorter"),
        (garbage_of(&mut random, 511), "shorter"),
        (garbage_of(&mut random, 512), "begin"),
        (garbage_of(&mut random, 65_536), "begin"),
        (vec![0; 4096], "begin"),
        (good[..512].to_vec(), "truncated"),
        (good[..good.len() - 1].to_vec(), "truncated"),
        ([&*good, &[0]].concat(), "extended"),
    ] {
        let error = refusal(memfd(&bytes, SEALED));
        let typed = matches!(error, OpenError::NotARing { .. } | OpenError::Damaged { .. });
        assert!(typed, "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_memfd_that_may_not_be_written_is_refused() {
    let good = good_bytes();
    for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
        let error = refusal(memfd(&good, SEALED | seal));
        assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    }
    // A descriptor for reading alone, of a memfd that could be written.
    let ring = memfd(&good, SEALED);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&ring));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let error = refusal(rustix::fs::open(path, flags, Mode::empty()).unwrap());
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("reading and writing"), "{error}");
}
