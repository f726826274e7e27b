//! Why a ring could not be opened.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::create::{no_directory, read_only, unfit};
use super::location::{Found, Refused, no_name};
use super::step::{Failed, Told, of_a_ring, source_of_io};
use super::{ElementType, Location, NameError, SpaceLimit, Step};

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
    /// Its data is mapped twice in a row, in whole pages, and those of its creator had another size
    /// (a file that was copied from huge pages to others, or to another machine).
    PageSize {
        /// Bytes of a page of the ring's.
        ring: u64,
        /// Bytes of a page where it is opened.
        here: u64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element { ring, expected } => {
                write!(f, "it holds {ring}, this program expects {expected}; ")?;
                f.write_str("give both one type and tag, or unlink it")
            }
            Self::Kind { ring, expected } => {
                write!(f, "it is an {ring} ring, this program expects {expected}; ")?;
                f.write_str("open it as what it is, or unlink it")
            }
            Self::Layout { ring, expected } => write!(
                f,
                "its layout is version {}.{}, this program understands {}.x; build both programs \
                 with one version of ringpipe, or unlink it",
                ring.0, ring.1, expected.0
            ),
            Self::ByteOrder => f.write_str(
                "it was created on a machine of the other byte order; unlink it and create it here",
            ),
            Self::PointerWidth { ring, expected } => write!(
                f,
                "it was created by a {ring}-bit program, this is a {expected}-bit program; build \
                 both alike, or unlink it"
            ),
            Self::PageSize { ring, here } => write!(
                f,
                "its pages have {ring} bytes, those of where it is now {here}; unlink it and create \
                 it here"
            ),
        }
    }
}

/// Opening a ring failed. Nothing was touched.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name cannot be one.
    Name {
        /// What was to be the name, or the file's path.
        name: PathBuf,
        /// Why it cannot.
        why: NameError,
    },
    /// There is no ring of that name (yet).
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
    /// It is something other than a ring; the text says how that was noticed.
    NotARing {
        /// Where.
        ring: Location,
        /// What gave it away.
        because: &'static str,
    },
    /// It is a ring, but not one for this program.
    Mismatch {
        /// Which ring.
        ring: Location,
        /// How they differ.
        mismatch: Mismatch,
    },
    /// It was a ring, but its header or its length has been damaged.
    Damaged {
        /// Which ring.
        ring: Location,
        /// What is wrong.
        what: &'static str,
    },
    /// It belongs to a user whom this program was not told to trust
    /// ([`Options::trust_owner`](crate::Options::trust_owner)): perhaps someone squats on the name.
    Owner {
        /// Which ring.
        ring: Location,
        /// User id of the owner.
        owner: u32,
    },
    /// This process may not read and write it.
    Permission {
        /// Which ring.
        ring: Location,
        /// The user id that this process acts as.
        user: u32,
        /// The ring's owner; `None` if even that may not be asked.
        owner: Option<u32>,
        /// The ring's mode bits.
        mode: Option<u32>,
    },
    /// The file system is mounted read-only.
    ReadOnlyFileSystem {
        /// Which ring.
        ring: Location,
    },
    /// A descriptor from elsewhere is accepted only if its size is sealed (`F_SEAL_SHRINK`,
    /// `F_SEAL_GROW`, `F_SEAL_SEAL`), so that nobody can cut the memory from under this process.
    Unsealed {
        /// The descriptor.
        ring: Location,
    },
    /// A descriptor from elsewhere is open for reading alone, or its memory is sealed against
    /// writing. All users of a ring write: to know what it holds, receive from it.
    ReadOnly {
        /// The descriptor.
        ring: Location,
    },
    /// A ring cannot live on this file system, or nothing is known of it: as
    /// [`CreateError::FileSystem`](super::CreateError::FileSystem).
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
        /// Which ring.
        ring: Location,
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
        /// Which ring.
        ring: Location,
        /// Bytes that the holes take.
        needed: u64,
        /// Bytes that were free there for this user; `None` if it is a quota that is used up.
        free: Option<u64>,
    },
    /// A remover of orphans has held the ring for a second: it is stopped, perhaps. Or, for ten
    /// seconds, somebody has been writing a file-backed ring to its disk: the last one to close
    /// it, or one that opens it.
    Busy {
        /// Which ring.
        ring: Location,
    },
    /// It is a file-backed ring that was not closed by all who had it open before the machine
    /// went down, or a copy of one that was in use. What is in it may be of different moments,
    /// page by page. [`Options::unclean`](crate::Options::unclean) says what to do with such a
    /// ring: empty it, or take it as it is.
    Unclean {
        /// Which ring.
        ring: Location,
        /// What it says of itself.
        because: &'static str,
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

of_a_ring!(OpenError);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, why } => no_name(f, name, *why),
            Self::NotFound { ring: ring @ Location::Passed(_) } => write!(
                f,
                "there is no {ring}; the program that starts this one does that, by `pass_ring`"
            ),
            Self::NotFound { ring } => write!(f, "there is no {ring}; create it first"),
            Self::NoDirectory { ring, directory } => no_directory(f, ring, directory),
            Self::NotARing { ring, because } => {
                write!(f, "{} is not a ring: {because}; it was left alone", Found(ring))
            }
            Self::Mismatch { ring, mismatch } => write!(f, "{ring} does not fit: {mismatch}"),
            Self::Damaged { ring, what } => {
                write!(f, "{ring} is damaged: {what}; unlink it and create it anew")
            }
            Self::Owner { ring, owner } => write!(
                f,
                "{ring} belongs to user {owner}, who is not trusted here; if that is right, say \
                 `Options::trust_owner({owner})`"
            ),
            &Self::Permission { ref ring, user, owner, mode } => {
                let (whose, needs) = ("it", 0o600);
                Refused { user, verb: "open", ring, whose, owner, mode, needs }.fmt(f)
            }
            Self::ReadOnlyFileSystem { ring } => read_only(f, ring),
            Self::Unsealed { ring } => write!(
                f,
                "the size of {} is not sealed; pass on the descriptor of a ring that ringpipe made",
                Found(ring)
            ),
            Self::ReadOnly { ring } => write!(
                f,
                "{} is not for reading and writing, and all users of a ring write",
                Found(ring)
            ),
            Self::FileSystem { path, kind, magic } => unfit(f, path, *kind, *magic),
            Self::TooLarge { ring, needed, available, limit } => {
                write!(f, "{ring} takes {needed} bytes, {available} are available {limit}")
            }
            Self::NoSpace { ring, needed, free } => {
                write!(f, "{ring} has holes, which take {needed} bytes; ")?;
                match free {
                    Some(free) => write!(f, "{free} are free on its file system, make room there"),
                    None => f.write_str("a quota is used up, make room there"),
                }
            }
            Self::Busy { ring } => write!(
                f,
                "{ring} is being removed, opened or closed, and that takes long; try again later, \
                 or look for a stopped process"
            ),
            Self::Unclean { ring, because } => write!(
                f,
                "{ring} was not closed: {because}, so it may mix old and new; `Options::unclean` \
                 can empty it, or take it as it is"
            ),
            Self::Io { ring, doing, source } => {
                write!(f, "{ring} was not opened: {}", Told(*doing, source))
            }
        }
    }
}

source_of_io!(OpenError);
