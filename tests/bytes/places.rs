//! Where byte pipes live, how large they are there, and what they are taken for.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use ringpipe::bytes::Ring;
use ringpipe::{
    CreateError, Ending, HugePages, Mismatch, OpenError, SpaceLimit, Unclean, bytes, spsc,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::support::disk::{self, Disk};
use super::support::huge_pages::{HUGE, Reserved, must_become_free, pool};
use super::support::noise::Noise;
use super::support::sandbox::with_own_mounts;
use super::support::{Directory, Name, tests};
use super::{PAGE, new_pipe};

tests!(
    a_capacity_is_a_power_of_two_of_bytes_and_a_page_at_least,
    a_named_pipe_is_what_its_creator_made_for_whoever_opens_it,
    an_anonymous_pipe_is_opened_by_its_descriptor,
    what_is_in_a_file_on_disk_is_there_when_it_is_opened_again,
    a_copy_of_a_file_in_use_is_refused_or_emptied_or_taken_as_it_is,
    a_pipe_of_huge_pages_is_rounded_up_to_them_and_works_across_its_end,
    a_file_on_hugetlbfs_works_and_its_copy_elsewhere_is_refused,
    a_limit_of_deliveries_is_refused,
    what_a_reader_had_claimed_is_dropped_where_that_was_asked_for,
    what_was_left_can_be_discarded,
    a_pipe_and_a_ring_of_bytes_are_two_kinds,
    a_listing_tells_a_pipe_from_a_ring,
);

/// Several laps of all that it holds, so that its end is crossed at many places.
#[track_caller]
fn assert_works(writing: &Ring, reading: &Ring) {
    let (mut tx, mut rx) = (writing.writer().unwrap(), reading.reader().unwrap());
    let capacity = writing.capacity();
    let mut noise = Noise::new(capacity as u64);
    for len in [capacity, capacity / 2 + 1, capacity, capacity - 63, capacity] {
        let bytes = noise.take_vec(len);
        assert_eq!(tx.try_send_slice(&bytes), Ok(len));
        let mut got = vec![0; len];
        rx.read_exact(&mut got).unwrap();
        assert!(got == bytes);
        assert!(rx.is_empty());
    }
}

fn a_capacity_is_a_power_of_two_of_bytes_and_a_page_at_least() {
    assert_eq!(Ring::options().create_anonymous().unwrap().capacity(), 64 << 10);
    for (asked, capacity) in
        [(1, PAGE), (PAGE - 1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE), (100_000, 1 << 17)]
    {
        let ring = Ring::options().capacity(asked).create_anonymous().unwrap();
        assert_eq!(ring.capacity(), capacity);
        // The words that the ends share take one page more.
        assert_eq!(ring.region_len(), capacity + PAGE);
        assert_works(&ring, &ring);
    }
    let none = Ring::options().capacity(0).create_anonymous().unwrap_err();
    assert!(matches!(none, CreateError::Options { .. }), "{none:?}");
    for too_many in [usize::MAX, 1 << (usize::BITS - 2)] {
        let refused = Ring::options().capacity(too_many).create_anonymous().unwrap_err();
        let CreateError::TooLarge { needed, limit, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((needed, limit), (None, SpaceLimit::AddressSpace));
    }
}

fn a_named_pipe_is_what_its_creator_made_for_whoever_opens_it() {
    let (name, ring) = new_pipe(3 * PAGE);
    let other = Ring::options().capacity(PAGE).open_or_create(&name).unwrap();
    assert_eq!((other.capacity(), other.id()), (4 * PAGE, ring.id()));
    assert_works(&ring, &other);
    assert_works(&other, &ring);
    ring.unlink().unwrap();
    assert_works(&ring, &other);
    let missing = Ring::options().open(&name).unwrap_err();
    assert!(matches!(missing, OpenError::NotFound { .. }), "{missing:?}");
}

fn an_anonymous_pipe_is_opened_by_its_descriptor() {
    let ring = Ring::options().capacity(PAGE).create_anonymous().unwrap();
    let other = Ring::options().from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_works(&ring, &other);
    let (tx, rx) = bytes::channel(PAGE).unwrap();
    assert_eq!(tx.capacity(), rx.capacity());
}

fn what_is_in_a_file_on_disk_is_there_when_it_is_opened_again() {
    let Some(disk) = Disk::new("byte pipes on a disk") else { return };
    let path = disk.join("pipe");
    let ring = Ring::options().capacity(PAGE).create_file(&path).unwrap();
    assert_works(&ring, &ring);
    ring.writer().unwrap().write_all(b"across the end").unwrap();
    ring.checkpoint().unwrap();
    assert_eq!(disk::state(&path), disk::CLEAN);
    // As after a reboot.
    let copy = disk::beside(&path);
    disk::after_a_reboot(&copy, &fs::read(&path).unwrap());
    for path in [path, copy] {
        let ring = Ring::options().open_file(&path).unwrap();
        let mut text = [0; 14];
        ring.reader().unwrap().read_exact(&mut text).unwrap();
        assert_eq!(&text, b"across the end");
        assert_works(&ring, &ring);
    }
}

fn a_copy_of_a_file_in_use_is_refused_or_emptied_or_taken_as_it_is() {
    let Some(disk) = Disk::new("unclean byte pipes") else { return };
    let path = disk.join("pipe");
    let ring = Ring::options().capacity(PAGE).create_file(&path).unwrap();
    let mut tx = ring.writer().unwrap();
    tx.write_all(b"in use").unwrap();
    ring.sync().unwrap();
    let copy = disk::beside(&path);
    for (unclean, found) in [(Unclean::Empty, 0), (Unclean::AsFound, 6)] {
        fs::copy(&path, &copy).unwrap();
        let refused = Ring::options().open_file(&copy).unwrap_err();
        assert!(matches!(refused, OpenError::Unclean { .. }), "{refused:?}");
        let opened = Ring::options().unclean(unclean).open_file(&copy).unwrap();
        assert_eq!(opened.len(), found);
        let mut rx = opened.reader().unwrap();
        rx.read_exact(&mut [0; 6][..found]).unwrap();
        rx.set_nonblocking(true);
        let rest = rx.read(&mut [0]).map_err(|e| e.kind());
        match unclean {
            Unclean::Empty => assert_eq!(rest, Err(ErrorKind::WouldBlock)),
            // Of the writer that the copy knows, no process lives.
            _ => assert_eq!((rest, rx.ending()), (Ok(0), Some(Ending::Died(1)))),
        }
        drop(rx);
        assert_works(&opened, &opened);
    }
    assert_eq!(ring.len(), 6, "that was the copy");
}

fn a_pipe_of_huge_pages_is_rounded_up_to_them_and_works_across_its_end() {
    let Some(_four) = Reserved::exactly(4) else { return };
    let require = Ring::options().huge_pages(HugePages::Require);
    let ring = require.clone().capacity(100).create_anonymous().unwrap();
    assert_eq!((ring.capacity(), ring.region_len()), (HUGE, 2 * HUGE));
    assert_works(&ring, &ring);
    assert_eq!(pool("free_hugepages"), 2, "the second view takes none");
    let other = Ring::options().from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_works(&ring, &other);
    let refused = require.capacity(HUGE + 1).create_anonymous().unwrap_err();
    let CreateError::TooLarge { needed: Some(needed), available, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((needed, available), (3 * HUGE as u64, 2 * HUGE as u64));
    drop((ring, other));
    must_become_free(4);
}

fn a_file_on_hugetlbfs_works_and_its_copy_elsewhere_is_refused() {
    let Some(_four) = Reserved::exactly(4) else { return };
    with_own_mounts(|| {
        let directory = Directory::new();
        let options = c"pagesize=2M";
        mount("none", &*directory, "hugetlbfs", MountFlags::empty(), options).unwrap();
        let path = directory.join("pipe");
        let ring = Ring::options().capacity(PAGE).create_file(&path).unwrap();
        assert_eq!((ring.capacity(), ring.region_len()), (HUGE, 2 * HUGE));
        let other = Ring::options().open_file(&path).unwrap();
        assert_works(&ring, &other);
        let name = Name::new();
        fs::copy(&path, name.path()).unwrap();
        is_of_other_pages(&name.path(), HUGE as u64);
        ring.unlink().unwrap();
        drop((ring, other));
        must_become_free(4);
        unmount(&*directory, UnmountFlags::DETACH).unwrap();
    });
}

#[track_caller]
fn is_of_other_pages(path: &Path, pages: u64) {
    let before = fs::read(path).unwrap();
    match Ring::options().open_file(path) {
        Err(OpenError::Mismatch { mismatch: Mismatch::PageSize { ring, here }, .. }) => {
            assert_eq!((ring, here), (pages, PAGE as u64));
        }
        other => panic!("{other:?}"),
    }
    assert!(fs::read(path).unwrap() == before, "touched");
}

fn a_limit_of_deliveries_is_refused() {
    let name = Name::new();
    for limit in [2, 15, 99] {
        let refused = Ring::options().delivery_limit(limit).create(&name).unwrap_err();
        let CreateError::Options { what, .. } = &refused else { panic!("{refused:?}") };
        assert!(what.contains("bytes are no items"), "{what}");
    }
    assert!(!name.path().exists());
}

fn what_a_reader_had_claimed_is_dropped_where_that_was_asked_for() {
    let ring = Ring::options().drop_unreleased(true).create_anonymous().unwrap();
    let mut tx = ring.writer().unwrap();
    tx.write_all(b"abcdef").unwrap();
    let mut rx = ring.reader().unwrap();
    rx.claim(4).unwrap().release(1);
    rx.claim(2).unwrap().abandon(); // of which it may have seen "bc" before, and "d"
    drop(rx);
    let mut rest = [0; 6];
    assert_eq!(ring.reader().unwrap().read(&mut rest).unwrap(), 2);
    assert_eq!(&rest[..2], b"ef");
    let stats = ring.stats();
    assert_eq!((stats.dropped, stats.redelivered, stats.exhausted), (3, 0, 0));
}

fn what_was_left_can_be_discarded() {
    let (_name, ring) = new_pipe(PAGE);
    ring.writer().unwrap().write_all(&[7; 3000]).unwrap();
    let mut rx = ring.reader().unwrap();
    rx.claim(100).unwrap().abandon();
    assert_eq!(rx.clear(), Ok(3000));
    assert_eq!((ring.len(), ring.stats().dropped), (0, 3000));
    ring.writer().unwrap().write_all(b"new").unwrap();
    let mut text = String::new();
    rx.read_to_string(&mut text).unwrap();
    assert_eq!(text, "new");
}

fn a_pipe_and_a_ring_of_bytes_are_two_kinds() {
    let (name, _ring) = new_pipe(PAGE);
    let refused = spsc::Ring::<u8>::options().open(&name).unwrap_err();
    let kinds = |refused: &OpenError| match refused {
        OpenError::Mismatch { mismatch: Mismatch::Kind { ring, expected }, .. } => {
            (*ring, *expected)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(kinds(&refused), ("SPSC byte", "SPSC"));
    assert!(refused.to_string().contains("it is an SPSC byte ring"), "{refused}");
    let name = Name::new();
    let _ring = spsc::Ring::<u8>::options().capacity(PAGE).create(&name).unwrap();
    assert_eq!(kinds(&Ring::options().open(&name).unwrap_err()), ("SPSC", "SPSC byte"));
}

fn a_listing_tells_a_pipe_from_a_ring() {
    let (name, ring) = new_pipe(PAGE);
    let mut tx = ring.writer().unwrap();
    tx.write_all(b"abc").unwrap();
    let all = ringpipe::list().unwrap();
    let ours = all.iter().find(|listed| listed.name == *name).unwrap();
    assert_eq!((ours.kind, ours.capacity, ours.len), ("SPSC byte", PAGE as u64, 3));
    assert_eq!((ours.senders, ours.receivers), (1, 0));
    assert_eq!(ours.region_len, ring.region_len() as u64);
}
