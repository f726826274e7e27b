//! Rings whose files have holes: filled by who opens them, or refused; nothing of what is there is
//! lost (C16).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use ringpipe::{HugePages, Mpmc, OpenError, Options, Ring, SpaceLimit, Spsc};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, memfd_create,
};

use super::support::disk::Disk;
use super::support::huge_pages::{self, Reserved};
use super::support::sandbox::{is_root, mount_tmpfs, with_own_mounts};
use super::support::{Child, Flavour, Me, Name};
use super::{Snapshot, spsc};

const ITEM: [u8; 4096] = [7; 4096];

/// One MiB and a bit.
fn options() -> Options<[u8; 4096], Spsc> {
    spsc().capacity(256)
}

/// Bytes that the file takes.
fn taken(fd: impl AsFd) -> u64 {
    fstat(fd).unwrap().st_blocks as u64 * 512
}

/// What `cp --sparse=always` makes of a file: pages of zeros become holes.
pub fn copy_sparsely(from: &[u8], to: &File) {
    to.set_len(from.len() as u64).unwrap();
    for (i, page) in from.chunks(4096).enumerate() {
        if page.iter().any(|&byte| byte != 0) {
            to.write_all_at(page, i as u64 * 4096).unwrap();
        }
    }
    assert!(taken(to) < from.len() as u64 / 2, "a sparse copy");
}

fn punch(fd: impl AsFd, from: u64, len: u64) {
    fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, len).unwrap();
}

#[track_caller]
fn assert_whole(ring: &Ring<[u8; 4096], Spsc>) {
    assert!(taken(ring) >= ring.region_len() as u64, "no holes any more");
    assert_eq!(ring.consumer().unwrap().try_recv(), Ok(ITEM), "what was there is there");
}

#[test]
fn a_sparse_copy_is_filled_or_refused_where_there_is_no_room_for_it() {
    if !is_root("a full file system") {
        return;
    }
    with_own_mounts(|| {
        mount_tmpfs("/dev/shm", c"size=2m");
        let ring = options().create("ring").unwrap();
        ring.producer().unwrap().try_send(ITEM).unwrap();
        let bytes = std::fs::read("/dev/shm/ring").unwrap();
        ring.unlink().unwrap();
        drop(ring);
        let path = Path::new("/dev/shm/copy");
        copy_sparsely(&bytes, &File::create_new(path).unwrap());
        // Half a MiB is left, then nothing.
        let filler = File::create_new("/dev/shm/filler").unwrap();
        for left in [1 << 19, 0] {
            let free = rustix::fs::statvfs("/dev/shm").unwrap();
            let free = free.f_bfree * free.f_frsize;
            let from = filler.metadata().unwrap().len();
            fallocate(&filler, FallocateFlags::empty(), from, free - left).unwrap();
            let before = Snapshot::of(path);
            match options().open("copy") {
                Err(OpenError::NoSpace { ring, needed, .. }) => {
                    assert!(ring.path().unwrap().ends_with("copy"));
                    assert!(needed > 1 << 19 && needed < bytes.len() as u64);
                }
                other => panic!("{other:?}"),
            }
            before.assert_untouched();
        }
        std::fs::remove_file("/dev/shm/filler").unwrap();
        drop(filler);
        assert_whole(&options().open("copy").unwrap());
    });
}

#[test]
fn a_sparse_copy_on_a_disk_is_filled() {
    let Some(disk) = Disk::new("a sparse copy on a disk") else { return };
    let path = disk.join("ring");
    let ring = options().create_file(&path).unwrap();
    ring.producer().unwrap().try_send(ITEM).unwrap();
    ring.checkpoint().unwrap();
    let copy = disk.join("copy");
    let file = File::create_new(&copy).unwrap();
    copy_sparsely(&std::fs::read(&path).unwrap(), &file);
    assert_whole(&options().open_file(&copy).unwrap());
}

/// A memfd with a ring in it, of which only the pages that are not zero are there.
fn sparse_memfd() -> OwnedFd {
    let ring = options().create_anonymous().unwrap();
    ring.producer().unwrap().try_send(ITEM).unwrap();
    let mut bytes = vec![0; ring.region_len()];
    rustix::io::pread(ring.as_fd(), &mut bytes, 0).unwrap();
    let memfd = File::from(memfd_create("copy", MemfdFlags::ALLOW_SEALING).unwrap());
    copy_sparsely(&bytes, &memfd);
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    memfd.into()
}

#[test]
fn a_sparse_descriptor_is_filled() {
    assert_whole(&options().from_fd(sparse_memfd()).unwrap());
}

#[test]
fn holes_that_were_punched_are_filled_by_the_next_who_opens_the_ring() {
    let name = Name::new();
    let ring = options().create(&name).unwrap();
    let len = ring.region_len() as u64;
    ring.producer().unwrap().try_send(ITEM).unwrap();
    punch(&ring, len - (1 << 19), 1 << 19);
    assert!(taken(&ring) < len);
    assert_whole(&options().open(&name).unwrap());
    // A ring without holes is opened without a write to it.
    let before = Snapshot::of(&name.path());
    drop(options().open(&name).unwrap());
    before.assert_untouched();
}

#[test]
fn an_opener_may_say_how_much_it_accepts() {
    let name = Name::new();
    let ring = options().create(&name).unwrap();
    let len = ring.region_len() as u64;
    let before = Snapshot::of(&name.path());
    let anonymous = options().create_anonymous().unwrap();
    for most in [0, 4096, len - 1] {
        let options = options().max_region(most);
        let memfd = anonymous.as_fd().try_clone_to_owned().unwrap();
        let file = options.open_file(name.path());
        for refused in [options.open(&name), file, options.from_fd(memfd)] {
            match refused {
                Err(OpenError::TooLarge { needed, available, limit, .. }) => {
                    assert_eq!((needed, available, limit), (len, most, SpaceLimit::MaxRegion));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    before.assert_untouched();
    assert!(options().max_region(len).open(&name).is_ok());
    assert!(options().max_region(len).open_or_create(&name).is_ok());
}

/// Nobody becomes the payer of what a stranger has promised without having said how much.
#[test]
fn holes_of_a_stranger_are_filled_under_a_bound_alone() {
    if !is_root("rings of another user") {
        return;
    }
    let name = Name::new();
    let ring = options().mode(0o666).create(&name).unwrap();
    ring.producer().unwrap().try_send(ITEM).unwrap();
    let len = ring.region_len() as u64;
    chown(name.path(), Some(1000), None).unwrap();
    assert!(options().trust_any_owner().open(&name).is_ok(), "it has no holes");
    punch(&ring, len - (1 << 19), 1 << 19);
    match options().trust_any_owner().open(&name) {
        Err(OpenError::TooLarge { needed, available: 0, limit: SpaceLimit::MaxRegion, .. }) => {
            assert_eq!(needed, 1 << 19);
        }
        other => panic!("{other:?}"),
    }
    assert!(taken(&ring) < len, "not filled");
    assert_whole(&options().trust_any_owner().max_region(len).open(&name).unwrap());
    punch(&ring, len - (1 << 19), 1 << 19);
    let ring = options().trust_owner(1000).open(&name).unwrap();
    assert!(taken(&ring) >= len);
}

#[test]
fn a_hole_in_huge_pages_is_refused_where_the_pool_is_empty() {
    let Some(_one) = Reserved::exactly(1) else { return };
    let require = || options().capacity(16).huge_pages(HugePages::Require);
    let ring = require().create_anonymous().unwrap();
    let mut header = vec![0; 4096];
    rustix::io::pread(ring.as_fd(), &mut header, 0).unwrap();
    // The page is in use, so the pool is empty once it is told to have none.
    let sparse = memfd_create("sparse", MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB).unwrap();
    let sparse = File::from(sparse);
    sparse.set_len(ring.region_len() as u64).unwrap();
    let found = require().from_fd(sealed(&sparse));
    assert!(matches!(found, Err(OpenError::NotARing { .. })), "all zeros: {found:?}");
    // A ring of two pages, of which the second is missing.
    huge_pages::set_pool(3);
    let two = require().capacity(512).create_anonymous().unwrap();
    let (len, page) = (two.region_len() as u64, ring.region_len() as u64);
    assert_eq!(len, 2 * page);
    punch(&two, page, page);
    huge_pages::set_pool(0);
    let fd = || two.as_fd().try_clone_to_owned().unwrap();
    match require().from_fd(fd()) {
        Err(OpenError::TooLarge { needed, available: 0, limit, .. }) => {
            assert_eq!((needed, limit), (page, SpaceLimit::HugePages { page }));
        }
        other => panic!("{other:?}"),
    }
    huge_pages::set_pool(3);
    assert!(require().from_fd(fd()).is_ok());
    assert!(taken(&two) >= len);
}

fn sealed(file: &File) -> OwnedFd {
    fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    file.try_clone().unwrap().into()
}

/// What is punched while the ring is in use is nobody's to mend: where there is no page for the
/// hole, who touches it gets `SIGBUS`, and nothing worse.
#[test]
fn a_hole_that_is_punched_on_a_full_file_system_is_a_sigbus() {
    if !is_root("a full file system") {
        return;
    }
    let mut child = Child::start::<Spsc>("user_of_a_ring_with_a_hole", "");
    child.must_hear("attached");
    child.say("go on");
    assert_eq!(child.wait().signal(), Some(libc::SIGBUS));
}

pub fn user_of_a_ring_with_a_hole<K: Flavour>(mut me: Me) {
    let (to, from) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let user = std::thread::spawn(move || {
        with_own_mounts(move || {
            mount_tmpfs("/dev/shm", c"size=2m");
            let ring = options().create("ring").unwrap();
            let mut tx = ring.producer().unwrap();
            punch(&ring, ring.region_len() as u64 - (1 << 19), 1 << 19);
            let filler = File::create_new("/dev/shm/filler").unwrap();
            let free = rustix::fs::statvfs("/dev/shm").unwrap();
            let free = free.f_bfree * free.f_frsize;
            fallocate(&filler, FallocateFlags::empty(), 0, free).unwrap();
            to.send(()).unwrap();
            wait.recv().unwrap();
            (0..256).for_each(|_| tx.try_send(ITEM).unwrap());
        });
    });
    from.recv().unwrap();
    me.say("attached");
    me.hear();
    go_on.send(()).unwrap();
    user.join().unwrap();
}

#[test]
fn a_hole_that_is_punched_in_huge_pages_is_a_sigbus_if_the_pool_is_empty() {
    let Some(_one) = Reserved::exactly(2) else { return };
    let mut child = Child::start::<Mpmc>("user_of_huge_pages_with_a_hole", "");
    child.must_hear("punched");
    huge_pages::set_pool(0);
    child.say("go on");
    assert_eq!(child.wait().signal(), Some(libc::SIGBUS));
}

pub fn user_of_huge_pages_with_a_hole<K: Flavour>(mut me: Me) {
    let ring = options().capacity(512).huge_pages(HugePages::Require).create_anonymous().unwrap();
    let mut tx = ring.producer().unwrap();
    let page = ring.region_len() as u64 / 2;
    punch(&ring, page, page);
    me.say("punched");
    me.hear();
    (0..512).for_each(|_| tx.try_send(ITEM).unwrap());
}
