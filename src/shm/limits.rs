//! How much room there is for a region, before anybody takes some.
//!
//! The kernel answers some who ask for too much by killing them: beyond the memory of the machine
//! or of a cgroup the killer comes (on a tmpfs no error comes before), and beyond the largest size
//! of a file `SIGXFSZ`. Here such limits are read and compared first, and [`NoRoom`] tells which of
//! them it was. Where `/proc` or `/sys` does not say, nothing is known, and the kernel's answer
//! comes as it comes.
//!
//! All of it is a look at one moment: others may take the memory right after. What is then not to
//! be had at reservation is an error where the kernel makes it one: a file system's room, reserved
//! huge pages, address space. Memory is where it may kill instead.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::cgroup;
use super::place::{self, Place};
use crate::error::{CreateError, Failed, Location, OpenError, SpaceLimit};

/// Why a region cannot have its memory.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// Something limits it.
    Limit { needed: u64, room: Room },
    /// The file system is full: so much was free, unless it is a quota that is used up.
    Full { needed: u64, free: Option<u64> },
    /// The kernel refused something else.
    Refused(Failed),
}

impl From<Failed> for NoRoom {
    fn from(refused: Failed) -> Self {
        Self::Refused(refused)
    }
}

impl NoRoom {
    /// For who opens a ring.
    pub(crate) fn opening(self, ring: &Location) -> OpenError {
        let io = OpenError::io(ring);
        let ring = ring.clone();
        match self {
            Self::Limit { needed, room: Room { available, limit } } => {
                OpenError::TooLarge { ring, needed, available, limit }
            }
            Self::Full { needed, free } => OpenError::NoSpace { ring, needed, free },
            Self::Refused(refused) => io(refused),
        }
    }

    /// For who creates one.
    pub(crate) fn creating(self, place: Option<&Place>) -> CreateError {
        let ring = place::location(place);
        match self {
            Self::Limit { needed, room: Room { available, limit } } => {
                CreateError::TooLarge { ring, needed: Some(needed), available, limit }
            }
            Self::Full { needed, free } => {
                CreateError::NoSpace { ring, mount: place.map(Place::mount), needed, free }
            }
            Self::Refused(refused) => CreateError::io(&ring)(refused),
        }
    }
}

/// Bytes that a limit leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) available: u64,
    pub(crate) limit: SpaceLimit,
}

impl Room {
    /// So much is there.
    pub(super) fn check(self, needed: u64) -> Result<(), NoRoom> {
        if needed <= self.available { Ok(()) } else { Err(NoRoom::Limit { needed, room: self }) }
    }
}

/// Memory for pages that are nobody's yet: of the machine, or of the cgroup if that has less.
/// `swaps`: they may be swapped out, for others or themselves.
pub(super) fn memory(swaps: bool) -> Room {
    memory_at(Path::new("/"), swaps)
}

fn memory_at(root: &Path, swaps: bool) -> Room {
    let (memory, swap) = of_machine(root);
    let swap = if swaps { swap } else { 0 };
    let machine = memory.saturating_add(swap);
    match cgroup::left(root, swap) {
        Some(left) if left.bytes < machine => {
            Room { available: left.bytes, limit: SpaceLimit::Cgroup { path: left.group } }
        }
        _ => Room { available: machine, limit: SpaceLimit::Machine },
    }
}

/// Bytes of memory, and of swap, that could be had without taking them from anyone.
fn of_machine(root: &Path) -> (u64, u64) {
    let text = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    if let Some(memory) = kibibytes(&text, "MemAvailable:") {
        return (memory, kibibytes(&text, "SwapFree:").unwrap_or(0));
    }
    let info = rustix::system::sysinfo();
    // Longs, of 32 or 64 bits.
    let bytes = |units: u128| (units * u128::from(info.mem_unit)) as u64;
    (bytes(u128::from(info.freeram) + u128::from(info.bufferram)), bytes(info.freeswap.into()))
}

/// A line of `/proc/meminfo` or `/proc/self/status`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is free of the pool of huge pages of this size. `None`: the kernel does not tell.
pub(super) fn huge_pages(page: usize) -> Option<Room> {
    huge_pages_at(Path::new("/"), page)
}

fn huge_pages_at(root: &Path, page: usize) -> Option<Room> {
    let pool = format!("sys/kernel/mm/hugepages/hugepages-{}kB", page / 1024);
    let pool = root.join(pool);
    let number = |file| fs::read_to_string(pool.join(file)).ok()?.trim().parse::<u64>().ok();
    let free = number("free_hugepages")?.saturating_sub(number("resv_hugepages")?);
    // Beyond the pool, the kernel may make some when they are wanted, if it can.
    let more = number("nr_overcommit_hugepages")?.saturating_sub(number("surplus_hugepages")?);
    let available = free.saturating_add(more).saturating_mul(page as u64);
    Some(Room { available, limit: SpaceLimit::HugePages { page: page as u64 } })
}

/// How large a file may become.
pub(super) fn file_size() -> Room {
    let available = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    Room { available, limit: SpaceLimit::FileSize }
}

/// What this process may still map.
pub(super) fn address_space() -> Room {
    let limit = getrlimit(Resource::As).current;
    let used = || {
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = text.split(' ').next()?.parse().ok()?;
        pages.checked_mul(rustix::param::page_size() as u64)
    };
    let left = |limit: u64| limit.saturating_sub(used().unwrap_or(0));
    Room { available: limit.map_or(u64::MAX, left), limit: SpaceLimit::AddressSpace }
}

/// What this process may still lock, unless it is privileged.
pub(super) fn locked_memory() -> Room {
    let limit = getrlimit(Resource::Memlock).current;
    let used = || kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmLck:");
    let left = |limit: u64| limit.saturating_sub(used().unwrap_or(0));
    Room { available: limit.map_or(u64::MAX, left), limit: SpaceLimit::LockedMemory }
}

#[cfg(all(test, not(miri)))] // its runs side by side would share the files
mod tests {
    use super::*;

    /// A file below a new directory in the place of `/`.
    fn root(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let root = format!("ringpipe-limits-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(root);
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_machine_or_the_cgroup_limits_whichever_has_less() {
        let root = root(
            "least",
            &[
                ("proc/meminfo", "MemFree: 7 kB\nMemAvailable:   1000 kB\nSwapFree:  500 kB\n"),
                ("proc/self/cgroup", "0::/g\n"),
                ("proc/self/mountinfo", "1 2 3:4 / /c rw - cgroup2 c rw\n"),
                ("c/g/memory.max", "12800"),
                ("c/g/memory.current", "0"),
            ],
        );
        let path = "/c/g".into();
        let of_group = Room { available: 12700, limit: SpaceLimit::Cgroup { path } };
        assert_eq!(memory_at(&root, false), of_group);
        fs::write(root.join("c/g/memory.max"), "max").unwrap();
        let of_machine = |available| Room { available, limit: SpaceLimit::Machine };
        assert_eq!(memory_at(&root, false), of_machine(1000 << 10));
        assert_eq!(memory_at(&root, true), of_machine(1500 << 10));
        fs::remove_file(root.join("proc/meminfo")).unwrap();
        assert!(memory_at(&root, false).available > 1500 << 10, "asked by a system call");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_pool_of_huge_pages_of_any_size_is_found() {
        let pool = "sys/kernel/mm/hugepages/hugepages-524288kB";
        let file = |name| format!("{pool}/{name}");
        let names = ["free", "resv", "nr_overcommit", "surplus"].map(|n| format!("{n}_hugepages"));
        let paths = names.map(file);
        let files: Vec<_> =
            paths.iter().map(String::as_str).zip(["7\n", "2\n", "5\n", "1\n"]).collect();
        let root = root("pool", &files);
        let page = 512 << 20;
        let limit = SpaceLimit::HugePages { page };
        let found = Some(Room { available: (7 - 2 + 5 - 1) * page, limit });
        assert_eq!(huge_pages_at(&root, page as usize), found);
        assert_eq!(huge_pages_at(&root, 2 << 20), None);
        fs::remove_dir_all(root).unwrap();
    }
}
