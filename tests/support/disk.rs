//! Rings on a disk: where there is one, and the state line of a file behind the crate's back.

use std::fs::{self, File};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ringpipe::{OpenError, OpenOrCreateError, Ring};

use super::{Directory, Flavour, at, did_not_run, options};

/// What the state line says, as a stranger would have learnt it.
pub const UNKNOWN: u64 = 0;
pub const MARKING: u64 = 1;
pub const OPEN: u64 = 2;
pub const CLEAN: u64 = 3;
pub const FAILED: u64 = 4;

/// A directory on a disk in which rings can live.
pub struct Disk(Directory);

impl Disk {
    /// `None`, and loudly: there is none here.
    pub fn new(what: &str) -> Option<Self> {
        let directory = Directory::new();
        let kind = rustix::fs::statfs(&*directory).unwrap().f_type as u32;
        let unfit = match kind {
            0x0102_1994 | 0x8584_58f6 | 0x9584_58f6 => "the build directory is in memory",
            0x794c_7630 => "the build directory is on overlayfs, which no ring can live on",
            _ => return Some(Self(directory)),
        };
        did_not_run(what, unfit);
        None
    }
}

impl Deref for Disk {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

/// Word 0 is the state, 1 and 2 the boot, 3 the device, 4 the inode, 5 when
/// that was created (nanoseconds), 6 and 7 how many writes were begun and have ended.
pub fn word(path: &Path, word: usize) -> u64 {
    let mut bytes = [0; 8];
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut bytes, (at::FILE_STATE + 8 * word) as u64).unwrap();
    u64::from_ne_bytes(bytes)
}

pub fn set_word(path: &Path, word: usize, value: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&value.to_ne_bytes(), (at::FILE_STATE + 8 * word) as u64).unwrap();
}

pub fn state(path: &Path) -> u64 {
    word(path, 0)
}

/// As if the machine had been started anew since the file was used, with these bytes on its disk.
pub fn after_a_reboot(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let status = std::fs::metadata(path).unwrap();
    set_word(path, 1, word(path, 1) ^ 1);
    set_word(path, 3, status.dev());
    set_word(path, 4, status.ino());
    let born = status.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    set_word(path, 5, born.map_or(0, |since| since.as_nanos() as u64));
}

/// Another file of the directory.
pub fn beside(path: &Path) -> PathBuf {
    path.with_extension("after")
}

/// A disk, and a ring with some values on it that nobody has open.
pub fn clean<K: Flavour>(disk: &Disk, values: &[u64]) -> PathBuf {
    let path = disk.join("ring");
    let ring = options::<K>().capacity(8).create_file(&path).unwrap();
    assert_eq!(state(&path), OPEN);
    assert_eq!(K::sender(&ring).unwrap().try_send_slice(values), Ok(values.len()));
    ring.checkpoint().unwrap();
    assert_eq!(state(&path), CLEAN);
    path
}

pub fn open<K: Flavour>(path: &Path) -> Result<Ring<u64, K>, OpenError> {
    options::<K>().open_file(path)
}

/// It opens, and this is in it.
#[track_caller]
pub fn holds<K: Flavour>(path: &Path, values: &[u64]) {
    let ring = open::<K>(path).unwrap();
    assert_eq!(state(path), OPEN);
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.try_iter().eq(values.iter().copied()));
}

#[track_caller]
pub fn is_refused<K: Flavour>(path: &Path, why: &str) {
    let before = fs::read(path).unwrap();
    match open::<K>(path) {
        Err(OpenError::Unclean { ring, because }) => {
            assert_eq!(ring.path(), Some(path));
            assert!(because.contains(why), "{because}");
        }
        other => panic!("{other:?}"),
    }
    let either = options::<K>().open_or_create_file(path);
    assert!(matches!(either, Err(OpenOrCreateError::Open(OpenError::Unclean { .. }))));
    assert!(fs::read(path).unwrap() == before, "touched");
}
