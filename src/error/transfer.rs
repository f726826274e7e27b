//! Why a transfer between a byte pipe and a descriptor has stopped.

use std::error::Error;
use std::fmt;
use std::io;

use super::BulkError;

/// A transfer between a byte pipe and a descriptor has stopped before its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct TransferError {
    /// So many bytes have been moved: they are out of the one and in the other.
    pub moved: u64,
    /// Why no more.
    pub why: Descriptor,
}

/// Which side of a transfer has failed, and how.
#[derive(Debug)]
#[non_exhaustive]
pub enum Descriptor {
    /// The ring.
    Ring(BulkError),
    /// The descriptor. [`WouldBlock`](io::ErrorKind::WouldBlock) if it does not wait, and is not
    /// ready.
    Failed(io::Error),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.why {
            Descriptor::Ring(_) => "ring",
            Descriptor::Failed(_) => "descriptor",
        };
        write!(f, "{} bytes have been moved, then the {side} failed", self.moved)
    }
}

impl Error for TransferError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.why {
            Descriptor::Ring(why) => why,
            Descriptor::Failed(why) => why,
        })
    }
}
