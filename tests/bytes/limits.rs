//! The data of a byte pipe is mapped twice: what counts address space, or locked memory, counts
//! both views; what counts memory counts one. Nothing of either is left behind.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringpipe::bytes::Ring;
use ringpipe::{CreateError, HugePages, OpenError, SpaceLimit};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::support::noise::Noise;
use super::support::sandbox::{become_nobody, is_root, play};
use super::support::{Flavour, Me, Name, seccomp, tests};
use super::{PAGE, new_pipe};

tests!(
    a_region_larger_than_its_bound_is_refused_by_the_byte,
    an_address_space_for_one_view_is_too_small,
    memory_that_may_be_locked_once_is_too_little,
    both_views_lie_in_a_row_and_are_gone_with_the_last_handle,
    a_mapping_that_fails_half_way_leaves_no_room_reserved,
    all_options_of_a_mapping_are_for_both_views,
);

const MIB: u64 = 1 << 20;

fn a_region_larger_than_its_bound_is_refused_by_the_byte() {
    let name = Name::new();
    let bound = |bytes| Ring::options().capacity(8 * PAGE).max_region(bytes);
    let len = 9 * PAGE as u64;
    match bound(len - 1).create(&name).unwrap_err() {
        CreateError::TooLarge { needed, available, limit: SpaceLimit::MaxRegion, .. } => {
            assert_eq!((needed, available), (Some(len), len - 1));
        }
        other => panic!("{other:?}"),
    }
    let ring = bound(len).create(&name).unwrap();
    assert_eq!(ring.region_len() as u64, len);
    match bound(len - 1).open(&name).unwrap_err() {
        OpenError::TooLarge { needed, available, limit: SpaceLimit::MaxRegion, .. } => {
            assert_eq!((needed, available), (len, len - 1));
        }
        other => panic!("{other:?}"),
    }
    bound(len).open(&name).unwrap();
}

fn at_most(limit: Resource, bytes: u64) {
    setrlimit(limit, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

/// What this process has mapped, in bytes.
fn mapped() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * PAGE as u64
}

fn of_32_mib() -> ringpipe::Options<u8, ringpipe::Bytes> {
    Ring::options().capacity(32 << 20)
}

/// Both views of it, and the page before.
const BOTH: u64 = 2 * 32 * MIB + PAGE as u64;

fn an_address_space_for_one_view_is_too_small() {
    let name = Name::new();
    let _ring = of_32_mib().create(&name).unwrap();
    play("maps_little", &name);
}

/// A role.
pub fn maps_little<K: Flavour>(mut me: Me) {
    me.say("ready");
    let other = Name::new();
    at_most(Resource::As, mapped() + BOTH + 8 * MIB);
    of_32_mib().create(&other).unwrap().unlink().unwrap();
    of_32_mib().open(&me.ring).unwrap();
    at_most(Resource::As, mapped() + BOTH - MIB);
    for refused in [of_32_mib().create(&other), of_32_mib().create_anonymous()] {
        match refused.unwrap_err() {
            CreateError::TooLarge {
                needed, available, limit: SpaceLimit::AddressSpace, ..
            } => {
                assert_eq!(needed, Some(BOTH));
                assert!(available < BOTH, "{available}");
            }
            other => panic!("{other:?}"),
        }
    }
    match of_32_mib().open(&me.ring).unwrap_err() {
        OpenError::TooLarge { needed, available, limit: SpaceLimit::AddressSpace, .. } => {
            assert_eq!(needed, BOTH);
            assert!(available < BOTH, "{available}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!other.path().exists());
}

fn memory_that_may_be_locked_once_is_too_little() {
    if is_root("a limit on locked memory") {
        play("locks_little_memory", "");
    }
}

/// A role.
pub fn locks_little_memory<K: Flavour>(mut me: Me) {
    me.say("ready");
    let locking = Ring::options().capacity(8 * PAGE).lock_memory(true);
    let both = 17 * PAGE as u64;
    setrlimit(Resource::Memlock, Rlimit { current: Some(both), maximum: Some(both) }).unwrap();
    become_nobody();
    let ring = locking.create_anonymous().unwrap();
    drop(ring); // and with it all that was locked
    let ring = locking.create_anonymous().unwrap();
    let other = ring.as_fd().try_clone_to_owned().unwrap();
    match locking.from_fd(other).unwrap_err() {
        OpenError::TooLarge { needed, available, limit: SpaceLimit::LockedMemory, .. } => {
            assert_eq!((needed, available), (both, 0));
        }
        other => panic!("{other:?}"),
    }
    drop(ring);
    at_most(Resource::Memlock, both - 1);
    match locking.create_anonymous().unwrap_err() {
        CreateError::TooLarge { needed, available, limit: SpaceLimit::LockedMemory, .. } => {
            assert_eq!((needed, available), (Some(both), both - 1));
        }
        other => panic!("{other:?}"),
    }
}

/// The mappings of this file that can be read and written: where they are, and their flags and
/// numbers, as `/proc/self/smaps` has them.
struct View {
    range: std::ops::Range<usize>,
    offset: usize,
    facts: Vec<String>,
}

impl View {
    fn all(of: &Path) -> Vec<Self> {
        let inode = of.metadata().unwrap().ino().to_string();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut views: Vec<Self> = Vec::new();
        let mut ours = false;
        for line in smaps.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                [range, access, offset, _, file, ..] if range.contains('-') => {
                    ours = access == "rw-s" && file == inode;
                    if ours {
                        let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
                        let (from, to) = range.split_once('-').unwrap();
                        let (range, offset) = (hex(from)..hex(to), hex(offset));
                        views.push(Self { range, offset, facts: Vec::new() });
                    }
                }
                _ if ours => views.last_mut().unwrap().facts.push(line.to_owned()),
                _ => {}
            }
        }
        views
    }

    fn fact(&self, name: &str) -> &str {
        let line = self.facts.iter().find_map(|line| line.strip_prefix(name));
        line.expect("a line").trim_start_matches(':').trim()
    }

    fn kib(&self, name: &str) -> usize {
        self.fact(name).trim_end_matches(" kB").parse().unwrap()
    }

    fn has_flag(&self, flag: &str) -> bool {
        self.fact("VmFlags").split(' ').any(|one| one == flag)
    }
}

fn both_views_lie_in_a_row_and_are_gone_with_the_last_handle() {
    let (name, ring) = new_pipe(8 * PAGE);
    let views = View::all(&name.path());
    let [first, second] = &views[..] else { panic!("{} mappings", views.len()) };
    assert_eq!((first.offset, first.range.len()), (0, 9 * PAGE));
    assert_eq!((second.offset, second.range.len()), (PAGE, 8 * PAGE));
    assert_eq!(first.range.end, second.range.start);
    let (mut tx, mut rx) = (ring.writer().unwrap(), ring.reader().unwrap());
    drop(ring);
    let bytes = Noise::new(1).take_vec(8 * PAGE);
    for len in [3 * PAGE, 8 * PAGE] {
        tx.write_all(&bytes[..len]).unwrap();
        let mut got = vec![0; len];
        rx.read_exact(&mut got).unwrap();
        assert!(got == bytes[..len]);
    }
    drop(tx);
    assert_eq!(View::all(&name.path()).len(), 2);
    drop(rx);
    assert_eq!(View::all(&name.path()).len(), 0);
}

fn a_mapping_that_fails_half_way_leaves_no_room_reserved() {
    let (name, _ring) = new_pipe(8 << 20);
    play("fails_to_map", &name);
}

/// A role: the second view is refused. Where the first is mapped depends on nothing but its room.
pub fn fails_to_map<K: Flavour>(mut me: Me) {
    me.say("ready");
    let options = Ring::options().capacity(8 << 20);
    // What is made once.
    drop(options.open(&me.ring).unwrap());
    drop(options.create_anonymous().unwrap());
    // The second view begins at the second page of the file, and nothing else does.
    #[cfg(target_pointer_width = "64")]
    let (call, second_page) = (libc::SYS_mmap, PAGE as u32);
    #[cfg(target_pointer_width = "32")]
    let (call, second_page) = (libc::SYS_mmap2, 1);
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    seccomp::answer_to(call, Some((5, second_page)), refused);
    let before = mapped();
    for _ in 0..3 {
        let error = options.create_anonymous().unwrap_err();
        assert!(matches!(error, CreateError::Io { .. }), "{error:?}");
        let error = options.open(&me.ring).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    }
    let more = mapped().saturating_sub(before);
    assert!(more < MIB, "{more} bytes are mapped yet");
}

fn all_options_of_a_mapping_are_for_both_views() {
    let options = || Ring::options().capacity(16 * PAGE);
    let views = |ring: Ring, name: &Name| {
        let views = View::all(&name.path());
        assert_eq!(views.len(), 2);
        drop(ring);
        views
    };
    let name = Name::new();
    for view in views(options().create(&name).unwrap(), &name) {
        assert_eq!(
            (view.kib("Locked"), view.has_flag("dd"), view.has_flag("hg")),
            (0, true, false)
        );
    }
    let views_of_locked = views(options().lock_memory(true).open(&name).unwrap(), &name);
    assert!(views_of_locked.iter().all(|view| view.has_flag("lo")));
    // Of a page that is mapped twice, each mapping counts half.
    assert_eq!(
        views_of_locked.iter().map(|view| view.kib("Locked") << 10).sum::<usize>(),
        17 * PAGE
    );
    for view in views(options().open(&name).unwrap(), &name) {
        assert_eq!(view.kib("Locked"), 0);
        assert!(view.kib("Rss") << 10 < view.range.len());
    }
    for view in views(options().prefault(true).open(&name).unwrap(), &name) {
        assert_eq!(view.kib("Rss") << 10, view.range.len());
    }
    for view in views(options().core_dump(true).open(&name).unwrap(), &name) {
        assert!(!view.has_flag("dd"));
    }
    for view in views(options().huge_pages(HugePages::Advise).open(&name).unwrap(), &name) {
        assert!(view.has_flag("hg"));
    }
    // Whatever the kernel makes of the advice.
    let name = Name::new();
    let ring = options().huge_pages(HugePages::Advise).capacity(4 << 20).create(&name).unwrap();
    let (mut tx, mut rx) = (ring.writer().unwrap(), ring.reader().unwrap());
    let bytes = Noise::new(2).take_vec(3 << 20);
    for _ in 0..3 {
        tx.write_all(&bytes).unwrap();
        let mut got = vec![0; bytes.len()];
        rx.read_exact(&mut got).unwrap();
        assert!(got == bytes);
    }
}
