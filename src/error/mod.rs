//! Every error of the crate, by operation, each with what the caller can do about it: here of rings
//! (names, creating, opening, attaching, unlinking), in `calls` of what their ends are asked to do.

mod calls;
mod checkpoint;
mod space;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::layout::ElementType;
use crate::peers::table::Role;
pub use calls::{
    BulkError, PeerError, RecvError, RecvTimeoutError, SendAllError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
pub use checkpoint::CheckpointError;
pub use space::SpaceLimit;

/// Why a name cannot be the name of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, `.` or `..`.
    Reserved,
    /// Contains `/`. Names are plain file names; a ring in a directory of yours is a *file-backed*
    /// ring ([`Options::create_file`](crate::Options::create_file)).
    Slash,
    /// Contains a NUL byte.
    Nul,
    /// Longer than 255 bytes.
    TooLong {
        /// Bytes in the name given.
        len: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("is empty, `.` or `..`"),
            Self::Slash => f.write_str("contains `/`; ring names are plain file names"),
            Self::Nul => f.write_str("contains a NUL byte"),
            Self::TooLong { len } => write!(f, "is {len} bytes long; 255 are allowed"),
        }
    }
}

impl Error for NameError {}

/// How a ring differs from what this program expects: both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The element types differ in size, alignment, tag or tag version.
    Element {
        /// What the ring holds.
        ring: ElementType,
        /// What this program asked for.
        expected: ElementType,
    },
    /// Another kind of ring.
    Kind {
        /// What the ring is.
        ring: &'static str,
        /// What this program asked for.
        expected: &'static str,
    },
    /// Written by a version of this crate with an incompatible layout.
    Layout {
        /// Major and minor version of the ring's layout.
        ring: (u16, u16),
        /// Major and minor version that this program understands.
        expected: (u16, u16),
    },
    /// Created on a machine of the other byte order (a file-backed ring that was copied).
    ByteOrder,
    /// Created by a program with pointers of another width.
    PointerWidth {
        /// Bits in a pointer of the ring's creator.
        ring: u32,
        /// Bits in a pointer of this program.
        expected: u32,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element { ring, expected } => {
                write!(f, "it holds {ring}; this program expects {expected}")
            }
            Self::Kind { ring, expected } => {
                write!(f, "it is an {ring} ring; this program expects {expected}")
            }
            Self::Layout { ring, expected } => write!(
                f,
                "its layout is version {}.{}; this program understands {}.x",
                ring.0, ring.1, expected.0
            ),
            Self::ByteOrder => f.write_str("it was created on a machine of the other byte order"),
            Self::PointerWidth { ring, expected } => write!(
                f,
                "it was created by a {ring}-bit program; this is a {expected}-bit program"
            ),
        }
    }
}

/// Creating a ring failed. Nothing was created.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// The name cannot be one.
    Name(NameError),
    /// There is something of that name. Open it, or unlink it first.
    Exists {
        /// The name or path.
        ring: String,
    },
    /// The options ask for something that cannot be; the text says what.
    Options(String),
    /// The ring would be larger than a limit leaves room for: that of the address space, of the
    /// memory of this machine or of a cgroup, and others.
    TooLarge {
        /// Bytes the region would take; `None` if the number overflows.
        needed: Option<u64>,
        /// Bytes that are available.
        available: u64,
        /// Which limit it is.
        limit: SpaceLimit,
    },
    /// The file system (for a named ring: `/dev/shm`) has no room for the region.
    NoSpace {
        /// Bytes the region takes.
        needed: u64,
    },
    /// The file system (for a named ring: `/dev/shm`) takes no more files: it has run out of
    /// inodes, or a quota has.
    NoFiles {
        /// Where the file was to be.
        directory: PathBuf,
    },
    /// The directory may not be written by this process.
    Permission {
        /// The name or path.
        ring: String,
    },
    /// A ring cannot live on this file system: its mappings are not one memory for all on this
    /// host, or locks are not kept by this host's kernel. Or nothing is known of it: then
    /// [`Options::trust_unknown_file_systems`](crate::Options::trust_unknown_file_systems) allows
    /// it.
    FileSystem {
        /// The path.
        path: PathBuf,
        /// What file system it is; `None`: nothing is known of it.
        kind: Option<&'static str>,
        /// Its number (`f_type` of `statfs`).
        magic: u32,
    },
    /// The kernel refused something else.
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => write!(f, "the ring's name {why}"),
            Self::Exists { ring } => write!(f, "ring `{ring}` exists already"),
            Self::Options(what) => f.write_str(what),
            Self::TooLarge { needed: None, .. } => {
                f.write_str("the ring would not fit into the address space")
            }
            Self::TooLarge { needed: Some(needed), available, limit } => write!(
                f,
                "the ring needs {needed} bytes of memory; {available} bytes are available {limit}"
            ),
            Self::NoSpace { needed } => {
                write!(f, "no room for the ring's {needed} bytes on its file system")
            }
            Self::NoFiles { directory } => {
                write!(f, "no room for another file in {}", directory.display())
            }
            Self::Permission { ring } => write!(f, "no permission to create ring `{ring}`"),
            Self::FileSystem { path, kind, magic } => unfit_file_system(f, path, *kind, *magic),
            Self::Io { doing, .. } => write!(f, "creating a ring failed: {doing}"),
        }
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Name(source) => Some(source),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn unfit_file_system(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    kind: Option<&str>,
    magic: u32,
) -> fmt::Result {
    let path = path.display();
    match kind {
        Some(kind) => {
            write!(f, "{path} lies on {kind}, where mappings or locks do not work as a ring needs")
        }
        None => write!(
            f,
            "{path} lies on a file system (number {magic:#x}) of which it is not known that \
             mappings and locks work as a ring needs; `Options::trust_unknown_file_systems` allows \
             it"
        ),
    }
}

/// Opening a ring failed. Nothing was touched.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name cannot be one.
    Name(NameError),
    /// There is no ring of that name (yet).
    NotFound {
        /// The name or path.
        ring: String,
    },
    /// It is something other than a ring; the text says how that was noticed.
    NotARing {
        /// The name or path.
        ring: String,
        /// What gave it away.
        because: &'static str,
    },
    /// It is a ring, but not one for this program.
    Mismatch {
        /// The name or path.
        ring: String,
        /// How they differ.
        mismatch: Mismatch,
    },
    /// It was a ring, but its header or its length has been damaged.
    Damaged {
        /// The name or path.
        ring: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It belongs to a user whom this program was not told to trust
    /// ([`Options::trust_owner`](crate::Options::trust_owner)): perhaps someone squats on the name.
    Owner {
        /// The name or path.
        ring: String,
        /// User id of the owner.
        owner: u32,
    },
    /// This process may not read and write it.
    Permission {
        /// The name or path.
        ring: String,
    },
    /// A descriptor from elsewhere is accepted only if its size is sealed (`F_SEAL_SHRINK`,
    /// `F_SEAL_GROW`, `F_SEAL_SEAL`), so that nobody can cut the memory from under this process.
    Unsealed,
    /// A descriptor from elsewhere is open for reading alone, or its memory is sealed against
    /// writing. All users of a ring write: to know what it holds, receive from it.
    ReadOnly,
    /// A ring cannot live on this file system, or nothing is known of it: as
    /// [`CreateError::FileSystem`].
    FileSystem {
        /// The path.
        path: PathBuf,
        /// What file system it is; `None`: nothing is known of it.
        kind: Option<&'static str>,
        /// Its number (`f_type` of `statfs`).
        magic: u32,
    },
    /// It takes more than a limit leaves room for: as a whole, more than this program accepts
    /// ([`Options::max_region`](crate::Options::max_region)) or can map; or to fill its holes
    /// ([`Options::open`](crate::Options::open)), more memory than there is.
    TooLarge {
        /// The name or path.
        ring: String,
        /// Bytes that the region takes, or that its holes do.
        needed: u64,
        /// Bytes that are available, or allowed.
        available: u64,
        /// Which limit it is.
        limit: SpaceLimit,
    },
    /// Its file has holes, and its file system has no room to fill them
    /// ([`Options::open`](crate::Options::open)).
    NoSpace {
        /// The name or path.
        ring: String,
        /// Bytes that the holes take.
        needed: u64,
    },
    /// A remover of orphans has held the ring for a second: it is stopped, perhaps. Or, for ten
    /// seconds, somebody has been writing a file-backed ring to its disk: the last one to close
    /// it, or one that opens it.
    Busy {
        /// The name or path.
        ring: String,
    },
    /// It is a file-backed ring that was not closed by all who had it open before the machine
    /// went down, or a copy of one that was in use. What is in it may be of different moments,
    /// page by page. [`Options::unclean`](crate::Options::unclean) says what to do with such a
    /// ring: empty it, or take it as it is.
    Unclean {
        /// The path.
        ring: String,
        /// What it says of itself.
        because: &'static str,
    },
    /// The kernel refused something else.
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => write!(f, "the ring's name {why}"),
            Self::NotFound { ring } => write!(f, "there is no ring `{ring}`"),
            Self::NotARing { ring, because } => write!(f, "`{ring}` is not a ring: {because}"),
            Self::Mismatch { ring, mismatch } => {
                write!(f, "ring `{ring}` does not fit: {mismatch}")
            }
            Self::Damaged { ring, what } => write!(f, "ring `{ring}` is damaged: {what}"),
            Self::Owner { ring, owner } => {
                write!(f, "ring `{ring}` belongs to user {owner}, who is not trusted here")
            }
            Self::Permission { ring } => write!(f, "no permission to open ring `{ring}`"),
            Self::Unsealed => f.write_str("the descriptor's size is not sealed"),
            Self::ReadOnly => f.write_str(
                "the descriptor is not for reading and writing; all users of a ring write",
            ),
            Self::FileSystem { path, kind, magic } => unfit_file_system(f, path, *kind, *magic),
            Self::TooLarge { ring, needed, available, limit } => write!(
                f,
                "ring `{ring}` takes {needed} bytes; {available} bytes are available {limit}"
            ),
            Self::NoSpace { ring, needed } => write!(
                f,
                "ring `{ring}` has holes, and there is no room on its file system for the \
                 {needed} bytes they take"
            ),
            Self::Busy { ring } => {
                write!(f, "ring `{ring}` is being removed, opened or closed, and that takes long")
            }
            Self::Unclean { ring, because } => write!(
                f,
                "ring `{ring}` was not closed: {because}, so it may hold a mixture of old and new; \
                 `Options::unclean` can empty it, or take it as it is"
            ),
            Self::Io { doing, .. } => write!(f, "opening a ring failed: {doing}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Name(source) => Some(source),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Neither opening nor creating a ring worked.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenOrCreateError {
    /// There is something of that name, but it cannot be opened.
    Open(OpenError),
    /// There was nothing of that name, and it could not be created.
    Create(CreateError),
}

impl fmt::Display for OpenOrCreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(e) => e.fmt(f),
            Self::Create(e) => e.fmt(f),
        }
    }
}

impl Error for OpenOrCreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open(e) => e.source(),
            Self::Create(e) => e.source(),
        }
    }
}

/// An end could not be attached to a ring.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// An SPSC ring has one producer and one consumer, and this one is taken by a live process.
    RoleTaken(Role),
    /// All endpoint records are taken ([`Options::endpoints`](crate::Options::endpoints)).
    TableFull {
        /// Records in the ring.
        endpoints: u32,
    },
    /// The ring's positions contradict each other; someone has written over them.
    Corrupt,
    /// This handle was inherited through `fork`. Open the ring anew in the child.
    Forked,
    /// The kernel refused something: too many open files, no `/proc` to open a fresh description
    /// of the region through, changed credentials.
    Io(io::Error),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoleTaken(Role::Sender) => f.write_str("the ring has a producer already"),
            Self::RoleTaken(Role::Receiver) => f.write_str("the ring has a consumer already"),
            Self::TableFull { endpoints } => {
                write!(f, "all {endpoints} endpoint records of the ring are taken")
            }
            Self::Corrupt => f.write_str("the ring's positions contradict each other"),
            Self::Forked => f.write_str(calls::FORKED),
            Self::Io(_) => f.write_str("attaching to the ring failed"),
        }
    }
}

impl Error for AttachError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

/// Neither creating a ring nor attaching its ends worked: see
/// [`spsc::channel`](crate::spsc::channel).
#[derive(Debug)]
#[non_exhaustive]
pub enum ChannelError {
    /// The ring could not be created.
    Create(CreateError),
    /// An end could not be attached.
    Attach(AttachError),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(e) => e.fmt(f),
            Self::Attach(e) => e.fmt(f),
        }
    }
}

impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Create(e) => e.source(),
            Self::Attach(e) => e.source(),
        }
    }
}

impl From<CreateError> for ChannelError {
    fn from(e: CreateError) -> Self {
        Self::Create(e)
    }
}

impl From<AttachError> for ChannelError {
    fn from(e: AttachError) -> Self {
        Self::Attach(e)
    }
}

/// A name could not be removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnlinkError {
    /// The name cannot be one.
    Name(NameError),
    /// There is nothing of that name.
    NotFound {
        /// The name or path.
        ring: String,
    },
    /// The name belongs to another ring by now: this one was unlinked before.
    Replaced {
        /// The name or path.
        ring: String,
    },
    /// The ring never had a name.
    Anonymous,
    /// There is something of that name that is no ring, or one that was damaged
    /// ([`remove_orphan`](crate::remove_orphan)); [`unlink`](crate::unlink) does not ask.
    NotARing {
        /// The name.
        ring: String,
    },
    /// Someone else has been removing it for a second: it is stopped, perhaps.
    Busy {
        /// The name or path.
        ring: String,
    },
    /// This process may not remove it.
    Permission {
        /// The name or path.
        ring: String,
    },
    /// The kernel refused something else.
    Io(io::Error),
}

impl fmt::Display for UnlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => write!(f, "the ring's name {why}"),
            Self::NotFound { ring } => write!(f, "there is no ring `{ring}`"),
            Self::Replaced { ring } => write!(f, "`{ring}` is another ring by now"),
            Self::Anonymous => f.write_str("the ring has no name"),
            Self::NotARing { ring } => write!(f, "`{ring}` is not a ring"),
            Self::Busy { ring } => write!(f, "`{ring}` is being removed, and that takes long"),
            Self::Permission { ring } => write!(f, "no permission to remove ring `{ring}`"),
            Self::Io(_) => f.write_str("unlinking a ring failed"),
        }
    }
}

impl Error for UnlinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Name(source) => Some(source),
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}
