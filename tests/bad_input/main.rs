//! Every bad input meets a typed error that says what is wrong, and the attempt touches nothing:
//! not a byte, length, time or inode of what was there, and no name or space is left behind
//! (C14, C15, C16).
//!
//! Split by where the badness comes from: the caller's [`arguments`], a region's [`header`], other
//! things in a ring's place ([`impostors`]), a file system that will not do ([`file_systems`],
//! [`fuse`]), a file with [`holes`], the
//! system's [`limits`], its [`memory`] and its [`huge_pages`].

mod arguments;
mod file_systems;
mod fuse;
mod header;
mod holes;
mod huge_pages;
mod impostors;
mod limits;
mod memory;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arguments::asker_for_too_much;
use bytemuck::{AnyBitPattern, NoUninit};
use holes::{user_of_a_ring_with_a_hole, user_of_huge_pages_with_a_hole};
use limits::{
    creator_of_a_closed_ring, owner_of_a_ring, process_that_may_not_lock,
    process_without_descriptors, stranger_to_a_ring,
};
use memory::{
    creator_of_small_files, creator_who_is_interrupted, member_of_a_small_group,
    opener_in_a_small_group, process_with_little_address_space, reader_in_a_small_group,
};
use ringpipe::{Mpmc, Options, Ring, Spsc};

support::roles!(
    asker_for_too_much,
    creator_of_a_closed_ring,
    creator_of_small_files,
    creator_who_is_interrupted,
    member_of_a_small_group,
    opener_in_a_small_group,
    owner_of_a_ring,
    process_that_may_not_lock,
    process_with_little_address_space,
    process_without_descriptors,
    reader_in_a_small_group,
    stranger_to_a_ring,
    user_of_a_ring_with_a_hole,
    user_of_huge_pages_with_a_hole,
);

/// 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, NoUninit, AnyBitPattern)]
struct Trade {
    price: u64,
    volume: u64,
    venue: u32,
    flags: u32,
}

/// 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, NoUninit, AnyBitPattern)]
struct Quote {
    bid: [u64; 2],
    ask: [u64; 2],
}

fn spsc<T: ringpipe::Item>() -> Options<T, Spsc> {
    Ring::options().capacity(8)
}

fn mpmc<T: ringpipe::Item>() -> Options<T, Mpmc> {
    Ring::options().capacity(8).endpoints(4)
}

/// All there is to see of a file, and which names of ours there are in `/dev/shm`.
#[derive(Debug, PartialEq)]
struct Snapshot {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
    status: Option<[i64; 7]>,
    names: Vec<String>,
}

impl Snapshot {
    fn of(path: &Path) -> Self {
        let status = path.symlink_metadata().ok();
        let is_file = status.as_ref().is_some_and(|s| s.is_file());
        Self {
            path: path.to_owned(),
            bytes: is_file.then(|| std::fs::read(path).expect("readable")),
            status: status.map(|s| {
                let (mode, owner) = (s.mode().into(), s.uid().into());
                let (inode, len, blocks) = (s.ino() as i64, s.len() as i64, s.blocks() as i64);
                [inode, len, blocks, mode, owner, s.mtime(), s.mtime_nsec()]
            }),
            names: our_names(),
        }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let now = Self::of(&self.path);
        assert!(*self == now, "touched: {self:?} became {now:?}");
    }
}

/// What tests of this process have put into `/dev/shm` just now. Tests run side by side, so a test
/// looks at names of its own choice only, and at leftovers of a creation that failed half-way.
fn our_names() -> Vec<String> {
    let all = std::fs::read_dir("/dev/shm").expect("/dev/shm");
    let mut names: Vec<String> = all
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(".ringpipe-"))
        .collect();
    names.sort();
    names
}
