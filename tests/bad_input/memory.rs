//! More memory than there is, for one reason or another: an error that says which, and nobody is
//! killed (C16).
//!
//! Limits are those of a process, so each test plays in a child, whose death would be its failure.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ringpipe::{
    CreateError, Item, Kind, Location, MessageError, OpenError, Options, Ring, SpaceLimit, Spsc,
    bytes, messages,
};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::support::cgroup::{self, Group};
use super::support::sandbox::{Directory, is_root, play};
use super::support::{Child, Flavour, Me, Name, did_not_run, seccomp};
use super::{our_names, spsc};

const MIB: u64 = 1 << 20;

/// A ring of a bit more than this, a power of two.
fn of_mib(mib: u64) -> Options<[u8; 4096], Spsc> {
    spsc().capacity((mib * MIB / 4096) as usize)
}

/// What a refusal says is needed, is available, and limits.
#[track_caller]
fn too_large(error: CreateError) -> (u64, u64, SpaceLimit) {
    let text = error.to_string();
    let CreateError::TooLarge { needed: Some(needed), available, limit, .. } = error else {
        panic!("{text}");
    };
    assert!(text.contains(&needed.to_string()) && text.contains(&limit.to_string()), "{text}");
    assert!(needed > available, "{text}");
    (needed, available, limit)
}

/// A child in this group that plays `role`; it has said "Ok" then.
fn member(group: &Group, role: &str, ring: &str) {
    let mut child = Child::start::<Spsc>(role, ring);
    child.must(group.path.to_str().unwrap(), "Ok");
    child.finish();
}

#[test]
fn a_ring_larger_than_its_cgroup_has_left_is_refused_and_nobody_is_killed() {
    if !is_root("memory cgroups") {
        return;
    }
    let Some(group) = Group::new("a ring larger than its cgroup") else { return };
    let group = group.limit_to(64 * MIB);
    let name = Name::new();
    member(&group, "member_of_a_small_group", &name);
    assert!(!name.path().exists());
}

#[test]
fn a_cgroup_above_the_own_one_limits_too() {
    if !is_root("memory cgroups") {
        return;
    }
    let Some(outer) = Group::new("a cgroup above the own one") else { return };
    let outer = outer.limit_to(64 * MIB);
    let inner = outer.below();
    member(&inner, "member_of_a_small_group", &Name::new());
    drop(inner);
}

/// The group's directory; or that of one below it.
fn joined(me: &mut Me) -> PathBuf {
    let group = PathBuf::from(me.hear().unwrap());
    cgroup::join(&group);
    match group.ends_with("inner") {
        true => group.parent().unwrap().to_owned(),
        false => group,
    }
}

pub fn member_of_a_small_group<K: Flavour>(mut me: Me) {
    let path = joined(&mut me);
    fits_if_it_is_small(&me.ring, &path, of_mib, |ring| {
        let mut tx = ring.producer().unwrap();
        (0..ring.capacity()).for_each(|_| tx.try_send([1; 4096]).unwrap());
    });
    // Mapped twice, these count once.
    let bytes = |mib| bytes::Ring::options().capacity((mib * MIB) as usize);
    fits_if_it_is_small(&me.ring, &path, bytes, |ring| {
        let mut tx = ring.writer().unwrap();
        (0..ring.capacity() / 4096).for_each(|_| tx.write_all(&[1; 4096]).unwrap());
        assert!(tx.is_full());
    });
    let messages = |mib| messages::mpmc::Ring::options().capacity((mib * MIB) as usize);
    fits_if_it_is_small(&me.ring, &path, messages, |ring| {
        let mut tx = ring.sender().unwrap();
        (0..ring.capacity() / 4096).for_each(|_| tx.try_send(&[1; 4096 - 8]).unwrap());
        assert_eq!(tx.try_send(b""), Err(MessageError::Full));
    });
    me.say("Ok");
    me.hear();
}

/// One of 128 MiB does not fit, one of 32 does, to its last byte: `fill` uses them all.
fn fits_if_it_is_small<T: Item, K: Kind>(
    name: &str,
    group: &Path,
    of_mib: impl Fn(u64) -> Options<T, K>,
    fill: impl FnOnce(&Ring<T, K>),
) {
    let file = format!("/dev/shm/{name}");
    let large = of_mib(128);
    for refused in [large.create(name), large.create_anonymous(), large.create_file(&file)] {
        let (needed, available, limit) = too_large(refused.unwrap_err());
        assert_eq!(limit, SpaceLimit::Cgroup { path: group.into() });
        assert!(needed > 128 * MIB && available < 64 * MIB);
    }
    assert!(our_names().is_empty());
    let fits = of_mib(32).create(name).unwrap();
    fill(&fits);
    fits.unlink().unwrap();
}

#[test]
fn page_cache_of_the_cgroup_makes_way_for_a_ring() {
    if !is_root("memory cgroups") {
        return;
    }
    let Some(group) = Group::new("a cgroup full of page cache") else { return };
    let group = group.limit_to(96 * MIB);
    let directory = Directory::new();
    let mut child =
        Child::start::<Spsc>("reader_in_a_small_group", directory.join("file").to_str().unwrap());
    child.must(group.path.to_str().unwrap(), "read");
    let used = group.usage();
    if used < 70 * MIB {
        did_not_run("a cgroup full of page cache", "the file system has none");
    }
    child.must("create", "Ok");
    child.finish();
}

pub fn reader_in_a_small_group<K: Flavour>(mut me: Me) {
    joined(&mut me);
    let file = std::fs::File::create_new(&me.ring).unwrap();
    for at in 0..80 {
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; MIB as usize], at * MIB).unwrap();
    }
    file.sync_all().unwrap();
    me.say("read");
    me.hear();
    let ring = of_mib(64).create_anonymous().unwrap();
    drop(ring);
    me.say("Ok");
    me.hear();
}

#[test]
fn an_opener_whose_cgroup_has_no_room_for_a_rings_holes_is_refused() {
    if !is_root("memory cgroups") {
        return;
    }
    let Some(group) = Group::new("holes and a small cgroup") else { return };
    let group = group.limit_to(64 * MIB);
    let name = Name::new();
    let ring = of_mib(128).create(&name).unwrap();
    let (from, len) = (64 << 10, ring.region_len() as u64 - (64 << 10));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(ring.as_fd(), punch, from, len).unwrap();
    member(&group, "opener_in_a_small_group", &name);
}

pub fn opener_in_a_small_group<K: Flavour>(mut me: Me) {
    let path = joined(&mut me);
    match of_mib(128).open(&me.ring) {
        Err(OpenError::TooLarge { ring, needed, available, limit }) => {
            assert!(ring.path().unwrap().ends_with(&me.ring));
            assert_eq!(limit, SpaceLimit::Cgroup { path });
            assert!(needed > 127 * MIB && available < 64 * MIB);
        }
        other => panic!("{other:?}"),
    }
    me.say("Ok");
    me.hear();
}

fn at_most(limit: Resource, bytes: u64) {
    setrlimit(limit, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

#[test]
fn a_ring_larger_than_a_file_may_be_is_refused_and_the_creator_lives() {
    play("creator_of_small_files", &Name::new());
}

pub fn creator_of_small_files<K: Flavour>(me: Me) {
    at_most(Resource::Fsize, MIB);
    let directory = Directory::new();
    let options = of_mib(1); // and a bit
    let huge = options.clone().huge_pages(ringpipe::HugePages::Require);
    for refused in [
        options.create(&me.ring),
        options.create_anonymous(),
        options.create_file(directory.join("ring")),
        huge.create_anonymous(),
    ] {
        let (needed, available, limit) = too_large(refused.unwrap_err());
        assert_eq!((available, limit), (MIB, SpaceLimit::FileSize));
        assert!(needed > MIB);
    }
    assert!(our_names().is_empty());
    let fits = options.capacity(128).create(&me.ring).unwrap();
    fits.unlink().unwrap();
}

#[test]
fn a_ring_larger_than_the_address_space_is_refused_to_its_creator_and_to_openers() {
    let name = Name::new();
    let _ring = of_mib(64).create(&name).unwrap();
    play("process_with_little_address_space", &name);
}

pub fn process_with_little_address_space<K: Flavour>(me: Me) {
    let options = of_mib(64);
    let other = Name::new();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    at_most(Resource::As, pages * 4096 + 32 * MIB);
    for refused in [options.create(&other), options.create_anonymous()] {
        let (needed, available, limit) = too_large(refused.unwrap_err());
        assert_eq!(limit, SpaceLimit::AddressSpace);
        assert!(needed > 64 * MIB && available <= 32 * MIB);
    }
    assert!(!other.path().exists());
    match options.open(&me.ring) {
        Err(OpenError::TooLarge { needed, available, limit: SpaceLimit::AddressSpace, .. }) => {
            assert!(needed > 64 * MIB && available <= 32 * MIB);
        }
        other => panic!("{other:?}"),
    }
    of_mib(4).create(&other).unwrap();
}

/// Before Linux 6.11 a reservation on a tmpfs starts over at each signal, however often they come;
/// here a filter says that one has come, whenever a step is longer than the shortest.
#[test]
fn a_creator_whom_signals_interrupt_all_the_time_gets_its_ring() {
    play("creator_who_is_interrupted", &Name::new());
}

pub fn creator_who_is_interrupted<K: Flavour>(me: Me) {
    // File, mode, offset and length; the latter two in two registers each where these are short.
    let length = if cfg!(target_pointer_width = "32") { 4 } else { 3 };
    let interrupted = libc::SECCOMP_RET_ERRNO | libc::EINTR as u32;
    for power in 17..=24 {
        seccomp::answer_to(libc::SYS_fallocate, Some((length, 1 << power)), interrupted);
    }
    let trial = memfd_create("trial", MemfdFlags::CLOEXEC).unwrap();
    let step = |len| fallocate(&trial, FallocateFlags::empty(), 0, len);
    assert_eq!((step(1 << 17), step(1 << 16)), (Err(rustix::io::Errno::INTR), Ok(())));
    let ring = of_mib(32).create(&me.ring).unwrap();
    let taken = rustix::fs::fstat(&ring).unwrap().st_blocks as u64 * 512;
    assert_eq!(taken, ring.region_len() as u64, "all of it is there");
    ring.unlink().unwrap();
}

/// Nothing of this is in the kernel's hands but the numbers.
#[test]
fn refusals_say_what_limits_and_what_to_do() {
    let text = |limit: SpaceLimit| {
        let ring = Location::Anonymous;
        CreateError::TooLarge { ring, needed: Some(2), available: 1, limit }.to_string()
    };
    let path = Path::new("/sys/fs/cgroup/x").to_owned();
    for (limit, word) in [
        (SpaceLimit::AddressSpace, "ulimit -v"),
        (SpaceLimit::Machine, "this machine"),
        (SpaceLimit::Cgroup { path }, "/sys/fs/cgroup/x"),
        (SpaceLimit::HugePages { page: 2 << 20 }, "vm.nr_hugepages"),
        (SpaceLimit::FileSize, "ulimit -f"),
        (SpaceLimit::LockedMemory, "ulimit -l"),
        (SpaceLimit::MaxRegion, "Options::max_region"),
    ] {
        assert!(text(limit.clone()).contains(word), "{}", text(limit));
    }
}
