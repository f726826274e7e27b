//! Huge pages, prefaulting and locking: refused with a reason, or done.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use ringpipe::{CreateError, HugePages, Options, Ring, SpaceLimit, Spsc};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::support::Name;
use super::support::huge_pages::{HUGE, Reserved, must_become_free, pool};
use super::support::sandbox::{Directory, is_root, with_own_mounts};
use super::support::{did_not_run, seccomp};
use super::{Snapshot, mpmc, spsc};

const POOL_LIMIT: SpaceLimit = SpaceLimit::HugePages { page: HUGE as u64 };

/// Items cross the ring from end to end of its memory, several laps of it.
#[track_caller]
fn assert_works(ring: &Ring<u64, Spsc>) {
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let capacity = ring.capacity() as u64;
    let mut buffer = vec![0; ring.capacity()];
    for lap in 0..3 {
        let values: Vec<u64> = (0..capacity).map(|n| lap * capacity + n).collect();
        assert_eq!(tx.try_send_slice(&values), Ok(values.len()));
        assert_eq!(rx.try_recv_slice(&mut buffer), Ok(values.len()));
        assert_eq!(buffer, values);
    }
}

fn require() -> Options<u64, Spsc> {
    spsc().capacity(1024).huge_pages(HugePages::Require)
}

#[test]
fn an_anonymous_ring_of_huge_pages_without_any_reserved_is_refused() {
    let Some(_none) = Reserved::exactly(0) else {
        return;
    };
    for error in [
        require().create_anonymous().unwrap_err(),
        mpmc::<u64>().huge_pages(HugePages::Require).create_anonymous().unwrap_err(),
    ] {
        let text = error.to_string();
        let CreateError::TooLarge { needed: Some(needed), available: 0, limit: POOL_LIMIT, .. } =
            error
        else {
            panic!("{error:?}");
        };
        assert_eq!(needed, HUGE as u64);
        assert!(text.contains("vm.nr_hugepages"), "{text}");
    }
}

#[test]
fn a_file_where_there_are_no_reserved_huge_pages_is_refused_and_none_is_made() {
    let directory = Directory::new();
    let error = require().create_file(directory.join("ring")).unwrap_err();
    assert!(matches!(error, CreateError::Options { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
}

/// As kernels answer that are built without, or started without.
#[test]
fn an_anonymous_ring_of_huge_pages_is_refused_where_there_can_be_none() {
    for errno in [libc::EINVAL, libc::ENODEV, libc::ENOENT] {
        // A filter is the thread's own, and for good.
        let made = std::thread::spawn(move || {
            let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
            seccomp::answer_to(libc::SYS_memfd_create, None, answer);
            require().create_anonymous()
        });
        let error = made.join().unwrap().unwrap_err();
        assert!(
            matches!(&error, CreateError::Options { what, .. } if what.contains("huge")),
            "{error:?}"
        );
    }
}

#[test]
fn an_anonymous_ring_of_reserved_huge_pages_works_and_gives_them_back() {
    let Some(_four) = Reserved::exactly(4) else {
        return;
    };
    let ring = require().create_anonymous().unwrap();
    assert_eq!(ring.region_len(), HUGE);
    assert_eq!(pool("free_hugepages"), 3, "one is in use");
    assert_works(&ring);

    // Whoever is handed the descriptor finds a ring in it.
    let descriptor = ring.as_fd().try_clone_to_owned().unwrap();
    let opened = spsc::<u64>().from_fd(descriptor).unwrap();
    assert_eq!(opened.id(), ring.id());
    assert_works(&opened);

    // Five pages are not to be had; the four are as free as before.
    let error = require().capacity(1 << 20).create_anonymous().unwrap_err();
    let CreateError::TooLarge { available, limit: POOL_LIMIT, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(available, 3 * HUGE as u64);
    must_become_free(3);
    drop((ring, opened));
    must_become_free(4);
}

#[test]
fn a_file_backed_ring_on_hugetlbfs_works_and_a_full_one_refuses() {
    let Some(_four) = Reserved::exactly(4) else {
        return;
    };
    with_own_mounts(|| {
        let directory = Directory::new();
        let options: &CStr = c"pagesize=2M";
        mount("none", &directory.0, "hugetlbfs", MountFlags::empty(), options).unwrap();
        let path = directory.join("ring");
        let before = std::fs::read_dir(&directory.0).unwrap().count();
        let error = require().capacity(1 << 21).create_file(&path).unwrap_err();
        assert!(matches!(error, CreateError::TooLarge { limit: POOL_LIMIT, .. }), "{error:?}");
        must_become_free(4);
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), before);

        for options in [require(), spsc().capacity(1024)] {
            let ring = options.create_file(&path).unwrap();
            assert_eq!(ring.region_len(), HUGE);
            assert_works(&ring);
            let opened = spsc::<u64>().open_file(&path).unwrap();
            assert_eq!(opened.id(), ring.id());
            assert_works(&opened);
            ring.unlink().unwrap();
        }
        must_become_free(4);
        unmount(&directory.0, UnmountFlags::DETACH).unwrap();
    });
}

/// One page that is longer than any step of a reservation.
#[test]
fn a_ring_on_gigantic_pages_takes_whole_ones() {
    const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages";
    const GIGANTIC: usize = 1 << 30;
    let what = "pages of 1 GiB";
    if !is_root(what) {
        return;
    }
    let Ok(before) = std::fs::read_to_string(POOL) else {
        return did_not_run(what, "this machine has none");
    };
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = std::fs::write(POOL, &self.0);
        }
    }
    let before = Restore(before);
    let wanted = (before.0.trim().parse::<u32>().unwrap() + 1).to_string();
    std::fs::write(POOL, &wanted).unwrap();
    if std::fs::read_to_string(POOL).unwrap().trim() != wanted {
        return did_not_run(what, "the kernel gave none");
    }
    with_own_mounts(|| {
        let directory = Directory::new();
        let options: &CStr = c"pagesize=1G";
        mount("none", &directory.0, "hugetlbfs", MountFlags::empty(), options).unwrap();
        let ring = require().create_file(directory.join("ring")).unwrap();
        assert_eq!(ring.region_len(), GIGANTIC);
        assert_works(&ring);
        let error = require().create_file(directory.join("other")).unwrap_err();
        let limit = SpaceLimit::HugePages { page: GIGANTIC as u64 };
        match error {
            CreateError::TooLarge { needed: Some(needed), limit: found, .. } => {
                assert_eq!((needed, found), (GIGANTIC as u64, limit));
            }
            other => panic!("{other:?}"),
        }
        ring.unlink().unwrap();
        unmount(&directory.0, UnmountFlags::DETACH).unwrap();
    });
}

/// What the kernel says of this process's mapping of a ring: a line of `/proc/self/smaps`.
fn mapped(ring: &Name, field: &str) -> String {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    // By inode: a region gets its name after it was mapped. A hold maps a page of it too, without
    // access; the ring proper is read and written.
    let inode = ring.path().metadata().unwrap().ino().to_string();
    let heading = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("rw-s") && words.nth(2) == Some(&*inode)
    };
    let mut lines = smaps.lines().skip_while(|line| !heading(line));
    let ours = lines.by_ref().find(|line| line.starts_with(field));
    ours.expect("a line").trim_start_matches(field).trim().to_owned()
}

fn kib(ring: &Name, field: &str) -> usize {
    let value = mapped(ring, field);
    value.trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn prefaulting_makes_every_page_present_for_whoever_asked() {
    let name = Name::new();
    let ring = spsc().capacity(1 << 15).prefault(true).create(&name).unwrap();
    assert_eq!(kib(&name, "Rss:"), ring.region_len() / 1024);
    assert_works(&ring);
    drop(ring);
    let ring = spsc::<u64>().open(&name).unwrap();
    assert!(kib(&name, "Rss:") < ring.region_len() / 1024, "nobody asked");
    drop(ring);
    let ring = spsc::<u64>().prefault(true).open(&name).unwrap();
    assert_eq!(kib(&name, "Rss:"), ring.region_len() / 1024);
}

#[test]
fn locking_locks_every_page() {
    let name = Name::new();
    let ring = spsc().capacity(1 << 10).lock_memory(true).create(&name).unwrap();
    assert_eq!(kib(&name, "Locked:"), ring.region_len() / 1024);
    assert_works(&ring);
    drop(ring);
    let ring = spsc::<u64>().open(&name).unwrap();
    assert_eq!(kib(&name, "Locked:"), 0, "nobody asked");
    assert_works(&ring);
}

#[test]
fn a_region_is_in_core_dumps_only_for_who_asks() {
    let name = Name::new();
    let ring = spsc::<u64>().capacity(8).create(&name).unwrap();
    // Of the ring's mappings, so many are dumped: of those that hold locks, none ever.
    let left_out = |dumped: bool| {
        let inode = name.path().metadata().unwrap().ino().to_string();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut ours = false;
        let flags = smaps.lines().filter(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            if words.len() > 4 && words[1].len() == 4 && words[1].ends_with(['s', 'p']) {
                ours = words[4] == inode;
            }
            ours && line.starts_with("VmFlags:")
        });
        let in_dumps = |line: &&str| !line.split(' ').any(|flag| flag == "dd");
        let (dumps, rest): (Vec<_>, Vec<_>) = flags.partition(in_dumps);
        assert_eq!((dumps.len(), rest.is_empty()), (usize::from(dumped), false));
    };
    left_out(false);
    drop(ring);
    for dumped in [true, false] {
        let ring = spsc::<u64>().core_dump(dumped).open(&name).unwrap();
        left_out(dumped);
        ring.unlink().unwrap();
        drop(ring);
        let ring = spsc::<u64>().core_dump(dumped).create(&name).unwrap();
        left_out(dumped);
        drop(ring);
    }
}

#[test]
fn advice_on_huge_pages_is_given_and_the_ring_works_whatever_the_kernel_makes_of_it() {
    for (pages, advised) in [(HugePages::Advise, true), (HugePages::Never, false)] {
        let name = Name::new();
        let ring = spsc().capacity(1 << 10).huge_pages(pages).create(&name).unwrap();
        let before = Snapshot::of(&name.path());
        let flags = mapped(&name, "VmFlags:");
        assert_eq!(flags.split(' ').any(|flag| flag == "hg"), advised, "{flags}");
        before.assert_untouched();
        assert_works(&ring);
    }
    let ring = spsc().huge_pages(HugePages::Advise).create_anonymous().unwrap();
    assert_works(&ring);
}
