//! What a region is too large for.

use std::fmt;
use std::path::PathBuf;

/// Which limit a ring's memory goes beyond: in [`CreateError::TooLarge`](super::CreateError) and
/// [`OpenError::TooLarge`](super::OpenError). Shown (`Display`), it ends a sentence like "so many
/// bytes are available", and says what can be done about it.
///
/// Limits are read before memory is taken, and others may take some meanwhile. Beyond the memory of
/// the machine or of a cgroup the kernel may then still kill; beyond all others there is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceLimit {
    /// What this process can address: pointers of its width, or what it may map (`RLIMIT_AS`).
    AddressSpace,
    /// The memory and swap that are free on this machine.
    Machine,
    /// What a memory cgroup has left: this process's own, or one above it. Whoever allocates a
    /// ring's memory is charged for it.
    Cgroup {
        /// The group's directory.
        path: PathBuf,
    },
    /// The free pages in the machine's pool of reserved huge pages.
    HugePages {
        /// Bytes in such a page.
        page: u64,
    },
    /// The largest file that this process may write (`RLIMIT_FSIZE`).
    FileSize,
    /// What this process may lock into memory (`RLIMIT_MEMLOCK`).
    LockedMemory,
    /// What this program accepts ([`Options::max_region`](crate::Options::max_region)).
    MaxRegion,
}

impl fmt::Display for SpaceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSpace => {
                f.write_str("in this process's address space; raise its limit (`ulimit -v`)")
            }
            Self::Machine => {
                f.write_str("on this machine, swap included; free some, or ask for fewer slots")
            }
            // Quoted and escaped, as all paths: others may have chosen it.
            Self::Cgroup { path } => write!(f, "in memory cgroup {path:?}; raise its limit"),
            Self::HugePages { page } => write!(
                f,
                "in the pool of reserved {page}-byte pages; reserve more (`sysctl \
                 vm.nr_hugepages`)"
            ),
            Self::FileSize => f.write_str("under the limit on file sizes; raise it (`ulimit -f`)"),
            Self::LockedMemory => {
                f.write_str("under the limit on locked memory; raise it (`ulimit -l`)")
            }
            Self::MaxRegion => {
                f.write_str("by `Options::max_region`; allow more, if it may be that large")
            }
        }
    }
}
