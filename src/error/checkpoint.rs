//! Why a ring could not be closed for good.

use std::error::Error;
use std::fmt;
use std::io;

use super::calls;

/// A file-backed ring was not closed as [`Ring::checkpoint`](crate::Ring::checkpoint) does it. The
/// handle is gone all the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Somebody else has the ring open: another handle or end of this process, or another process.
    /// The last one to close it makes it clean.
    InUse {
        /// The path.
        ring: String,
    },
    /// This handle was inherited through `fork`. What the parent has open is not the child's to
    /// close.
    Forked,
    /// The ring could not be written to its disk. If a write failed it counts as unclean once
    /// nobody has it open; else it can be opened as before as long as the machine is up, and is
    /// unclean after that.
    Io(io::Error),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { ring } => write!(f, "somebody else has ring `{ring}` open"),
            Self::Forked => f.write_str(calls::FORKED),
            Self::Io(_) => f.write_str("writing the ring to its disk failed"),
        }
    }
}

impl Error for CheckpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}
