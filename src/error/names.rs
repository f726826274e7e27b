//! Why a name is none, could not be removed, or the rings that have one not be listed.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::create::{no_directory, read_only};
use super::location::{Found, Refused, no_name};
use super::step::{Failed, Told, of_a_ring, source_of_io};
use super::{Location, Step};

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
            Self::Slash => f.write_str(
                "contains `/`; names are plain file names, and paths are for `create_file` and \
                 `open_file`",
            ),
            Self::Nul => f.write_str("contains a NUL byte"),
            Self::TooLong { len } => write!(f, "is {len} bytes long; 255 are allowed"),
        }
    }
}

impl Error for NameError {}

/// A name could not be removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnlinkError {
    /// The name cannot be one.
    Name {
        /// What was to be the name.
        name: PathBuf,
        /// Why it cannot.
        why: NameError,
    },
    /// There is nothing of that name.
    NotFound {
        /// Where.
        ring: Location,
    },
    /// The directory in which the name was to be found does not exist, or is none.
    NoDirectory {
        /// Where.
        ring: Location,
        /// The directory.
        directory: PathBuf,
    },
    /// The name belongs to another ring by now: this one was unlinked before, or renamed.
    Replaced {
        /// Where.
        ring: Location,
    },
    /// The ring never had a name.
    Anonymous,
    /// There is something of that name that is no ring, or one that was damaged
    /// ([`remove_orphan`](crate::remove_orphan)); [`unlink`](crate::unlink) does not ask.
    NotARing {
        /// Where.
        ring: Location,
    },
    /// Someone else has been removing it for a second: it is stopped, perhaps.
    Busy {
        /// Which ring.
        ring: Location,
    },
    /// This process may not remove it.
    Permission {
        /// Which ring.
        ring: Location,
        /// The user id that this process acts as.
        user: u32,
        /// The owner of the directory; `None` if even that may not be asked.
        owner: Option<u32>,
        /// The directory's mode bits. With the sticky bit (`/dev/shm` has it), a name is for the
        /// owner of the file, or of the directory, to remove.
        mode: Option<u32>,
    },
    /// The file system is mounted read-only.
    ReadOnlyFileSystem {
        /// Which ring.
        ring: Location,
    },
    /// The kernel refused something else.
    Io {
        /// Which ring.
        ring: Location,
        /// What was attempted.
        doing: Step,
        /// What it said.
        source: io::Error,
    },
}

of_a_ring!(UnlinkError);

impl fmt::Display for UnlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, why } => no_name(f, name, *why),
            Self::NotFound { ring } => {
                write!(f, "there is no {ring} to unlink; somebody else has removed it, perhaps")
            }
            Self::NoDirectory { ring, directory } => no_directory(f, ring, directory),
            Self::Replaced { ring } => write!(
                f,
                "{ring} is another one by now, which was left alone; this one was unlinked before, \
                 or renamed"
            ),
            Self::Anonymous => f.write_str("an anonymous ring has no name that could be unlinked"),
            Self::NotARing { ring } => write!(
                f,
                "{} is not a ring, or a damaged one; it was left alone, `unlink` removes it",
                Found(ring)
            ),
            Self::Busy { ring } => write!(
                f,
                "{ring} is being removed, and that takes long; look for a stopped process"
            ),
            &Self::Permission { ref ring, user, owner, mode } => {
                let (verb, whose, needs) = ("unlink", "its directory", 0o300);
                Refused { user, verb, ring, whose, owner, mode, needs }.fmt(f)
            }
            Self::ReadOnlyFileSystem { ring } => read_only(f, ring),
            Self::Io { ring, doing, source } => {
                write!(f, "{ring} was not unlinked: {}", Told(*doing, source))
            }
        }
    }
}

source_of_io!(UnlinkError);

/// Rings could not be listed ([`list`](crate::list)), or orphans not be removed
/// ([`remove_orphans`](crate::remove_orphans)).
#[derive(Debug)]
#[non_exhaustive]
pub enum ListError {
    /// The directory of the names cannot be read.
    Directory {
        /// `/dev/shm`.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused something, and not for the sake of this one ring: too many open files, no
    /// `/proc`, forbidden locks. Orphans that were found before it are removed.
    Io {
        /// The ring that it happened at.
        ring: Location,
        /// What was attempted.
        doing: Step,
        /// What it said.
        source: io::Error,
    },
}

of_a_ring!(ListError);

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { directory, .. } => {
                write!(f, "no rings can be listed: {directory:?} cannot be read")
            }
            Self::Io { ring, doing, source } => {
                write!(f, "looking at {ring} came to nothing: {}", Told(*doing, source))
            }
        }
    }
}

impl Error for ListError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory { source, .. } | Self::Io { source, .. } => Some(source),
        }
    }
}
