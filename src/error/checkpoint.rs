//! Why a ring could not be closed for good.

use std::error::Error;
use std::fmt;
use std::io;

use super::Location;
use super::step::source_of_io;

/// A file-backed ring was not closed as [`Ring::checkpoint`](crate::Ring::checkpoint) does it. The
/// handle is gone all the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Somebody else has the ring open: another handle or end of this process, or another process.
    /// The last one to close it makes it clean.
    InUse {
        /// Which ring.
        ring: Location,
    },
    /// This handle was inherited through `fork`. What the parent has open is not the child's to
    /// close.
    Forked {
        /// Which ring.
        ring: Location,
    },
    /// The ring could not be written to its disk. If a write failed it counts as unclean once
    /// nobody has it open; else it can be opened as before as long as the machine is up, and is
    /// unclean after that.
    Io {
        /// Which ring.
        ring: Location,
        /// What the kernel said, or the ring's own state.
        source: io::Error,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { ring } => {
                write!(f, "somebody else has {ring} open; the last one to close it makes it clean")
            }
            Self::Forked { ring } => write!(
                f,
                "{ring} was opened by the process that forked this one, which has to close it"
            ),
            Self::Io { ring, .. } => write!(
                f,
                "{ring} was not written to its disk; do not count on it after the machine goes down"
            ),
        }
    }
}

source_of_io!(CheckpointError);
