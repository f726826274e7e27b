//! Why an end could not be attached, or a channel not made.

use std::error::Error;
use std::fmt;
use std::io;

use super::step::{Failed, Told, source_of_io};
use super::{CreateError, Location, OpenError, Step};
use crate::peers::table::Role;

/// An end could not be attached to a ring.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// An SPSC ring has one producer and one consumer, and this one is taken by a live process.
    RoleTaken {
        /// Which ring.
        ring: Location,
        /// Which of the two.
        role: Role,
        /// Who has it, by its own account: the number that it had in its PID namespace when it
        /// attached. `None` if it has just gone, or just come.
        process: Option<u32>,
    },
    /// All endpoint records are taken ([`Options::endpoints`](crate::Options::endpoints)).
    TableFull {
        /// Which ring.
        ring: Location,
        /// Records in the ring.
        endpoints: u32,
    },
    /// The ring's positions contradict each other; someone has written over them.
    Corrupt {
        /// Which ring.
        ring: Location,
    },
    /// This handle was inherited through `fork`. Open the ring anew in the child.
    Forked {
        /// Which ring.
        ring: Location,
    },
    /// The kernel refused something: too many open files, no `/proc` to open a fresh description
    /// of the region through, changed credentials.
    Io {
        /// Which ring.
        ring: Location,
        /// What was attempted.
        doing: Step,
        /// What it said.
        source: io::Error,
    },
}

impl AttachError {
    /// The kernel refused a step of attaching to `ring`.
    pub(crate) fn io(ring: Location, Failed { doing, source }: Failed) -> Self {
        Self::Io { ring, doing, source }
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoleTaken { ring, role, process } => {
                let end = match role {
                    Role::Sender => "sending",
                    Role::Receiver => "receiving",
                };
                write!(f, "{ring} has a {end} end already: ")?;
                match process {
                    Some(process) => write!(f, "process {process}, by its own account")?,
                    None => f.write_str("it does not say which process")?,
                }
                f.write_str("; end that, or attach with a deadline, to wait for its end")
            }
            Self::TableFull { ring, endpoints } => write!(
                f,
                "all {endpoints} endpoint records of {ring} are taken; create it with more \
                 (`Options::endpoints`), or close ends"
            ),
            Self::Corrupt { ring } => write!(
                f,
                "somebody has written over {ring}: its positions contradict each other; unlink it \
                 and create it anew"
            ),
            Self::Forked { ring } => write!(
                f,
                "{ring} was opened by the process that forked this one; open it anew in the child"
            ),
            Self::Io { ring, doing, source } => {
                write!(f, "no end was attached to {ring}: {}", Told(*doing, source))
            }
        }
    }
}

source_of_io!(AttachError);

/// A ring could not be had, or its ends could not be attached: see
/// [`spsc::channel`](crate::spsc::channel).
#[derive(Debug)]
#[non_exhaustive]
pub enum ChannelError {
    /// The ring could not be created.
    Create(CreateError),
    /// It could not be opened ([`Duplex::from_env`](crate::bytes::Duplex::from_env)).
    Open(Box<OpenError>),
    /// An end could not be attached.
    Attach(AttachError),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(e) => e.fmt(f),
            Self::Open(e) => e.fmt(f),
            Self::Attach(e) => e.fmt(f),
        }
    }
}

impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Create(e) => e.source(),
            Self::Open(e) => e.source(),
            Self::Attach(e) => e.source(),
        }
    }
}

impl From<CreateError> for ChannelError {
    fn from(e: CreateError) -> Self {
        Self::Create(e)
    }
}

impl From<OpenError> for ChannelError {
    fn from(e: OpenError) -> Self {
        Self::Open(e.into())
    }
}

impl From<AttachError> for ChannelError {
    fn from(e: AttachError) -> Self {
        Self::Attach(e)
    }
}
