//! Why a ring could not be created, or neither opened nor created.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::location::{Refused, no_name};
use super::step::{Failed, Told, of_a_ring, source_of_io};
use super::{Location, NameError, OpenError, SpaceLimit, Step};

/// Creating a ring failed. Nothing was created.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// The name cannot be one.
    Name {
        /// What was to be the name, or the file's path.
        name: PathBuf,
        /// Why it cannot.
        why: NameError,
    },
    /// There is something of that name. Open it, or unlink it first.
    Exists {
        /// Where.
        ring: Location,
    },
    /// The options ask for something that cannot be; the text says what.
    Options {
        /// Which ring they were for.
        ring: Location,
        /// What cannot be.
        what: String,
    },
    /// The ring would be larger than a limit leaves room for: that of the address space, of the
    /// memory of this machine or of a cgroup, of reserved huge pages, and others.
    TooLarge {
        /// Which ring it was to be.
        ring: Location,
        /// Bytes the region would take; `None` if the number overflows.
        needed: Option<u64>,
        /// Bytes that are available.
        available: u64,
        /// Which limit it is.
        limit: SpaceLimit,
    },
    /// The file system (for a named ring: `/dev/shm`) has no room for the region.
    NoSpace {
        /// Which ring it was to be.
        ring: Location,
        /// Where the file system is mounted; `None` for an anonymous ring.
        mount: Option<PathBuf>,
        /// Bytes the region takes.
        needed: u64,
        /// Bytes that were free there for this user; `None` if it is a quota that is used up.
        free: Option<u64>,
    },
    /// The file system (for a named ring: `/dev/shm`) takes no more files: it has run out of
    /// inodes, or a quota has.
    NoFiles {
        /// Which ring it was to be.
        ring: Location,
        /// Where the file was to be.
        directory: PathBuf,
    },
    /// The directory in which the name was to be does not exist, or is none.
    NoDirectory {
        /// Which ring it was to be.
        ring: Location,
        /// The directory.
        directory: PathBuf,
    },
    /// The directory may not be written by this process.
    Permission {
        /// Which ring it was to be.
        ring: Location,
        /// The user id that this process acts as.
        user: u32,
        /// The directory's owner; `None` if even that may not be asked.
        owner: Option<u32>,
        /// The directory's mode bits.
        mode: Option<u32>,
    },
    /// The file system is mounted read-only.
    ReadOnlyFileSystem {
        /// Which ring it was to be.
        ring: Location,
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
        /// Which ring it was to be.
        ring: Location,
        /// What was attempted.
        doing: Step,
        /// What it said.
        source: io::Error,
    },
}

of_a_ring!(CreateError);

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, why } => no_name(f, name, *why),
            Self::Exists { ring } => {
                write!(f, "{ring} exists already; open it, or unlink it first")
            }
            Self::Options { ring, what } => write!(f, "{ring} cannot be made: {what}"),
            Self::TooLarge { ring, needed: None, .. } => {
                write!(f, "{ring} would not fit into the address space; give it fewer slots")
            }
            Self::TooLarge { ring, needed: Some(needed), available, limit } => {
                write!(f, "{ring} needs {needed} bytes, {available} are available {limit}")
            }
            Self::NoSpace { ring, mount, needed, free } => {
                no_space(f, ring, mount.as_deref(), *needed, *free)
            }
            Self::NoFiles { ring, directory } => write!(
                f,
                "no room for another file, {ring}, in {directory:?}; its inodes or a quota are \
                 used up: remove files there"
            ),
            Self::NoDirectory { ring, directory } => no_directory(f, ring, directory),
            &Self::Permission { ref ring, user, owner, mode } => Refused {
                user,
                verb: "create",
                ring,
                whose: "its directory",
                owner,
                mode,
                needs: 0o300,
            }
            .fmt(f),
            Self::ReadOnlyFileSystem { ring } => read_only(f, ring),
            Self::FileSystem { path, kind, magic } => unfit(f, path, *kind, *magic),
            Self::Io { ring, doing, source } => {
                write!(f, "{ring} was not created: {}", Told(*doing, source))
            }
        }
    }
}

fn no_space(
    f: &mut fmt::Formatter<'_>,
    ring: &Location,
    mount: Option<&Path>,
    needed: u64,
    free: Option<u64>,
) -> fmt::Result {
    write!(f, "no room for {ring}: it needs {needed} bytes")?;
    let Some(mount) = mount else {
        return f.write_str("; look at this machine's free memory and the memory cgroup's limit");
    };
    let Some(free) = free else {
        return write!(f, " on {mount:?}, where a quota is used up; make room there");
    };
    write!(f, ", {free} are free on {mount:?}; make room there")?;
    match mount == Path::new(crate::shm::place::SHM) {
        true => f.write_str(", or mount it larger (Docker: `--shm-size`)"),
        false => Ok(()),
    }
}

pub(super) fn no_directory(
    f: &mut fmt::Formatter<'_>,
    ring: &Location,
    directory: &Path,
) -> fmt::Result {
    write!(f, "no place for {ring}: {directory:?} does not exist, or is no directory; ")?;
    f.write_str(match directory == Path::new(crate::shm::place::SHM) {
        true => "mount a tmpfs there",
        false => "make it first",
    })
}

pub(super) fn read_only(f: &mut fmt::Formatter<'_>, ring: &Location) -> fmt::Result {
    write!(f, "{ring} is on a file system that is mounted read-only; mount it for writing")
}

pub(super) fn unfit(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    kind: Option<&str>,
    magic: u32,
) -> fmt::Result {
    match kind {
        Some(kind) => {
            write!(
                f,
                "{path:?} lies on {kind}, where mappings or locks do not work as a ring needs"
            )
        }
        None => write!(
            f,
            "{path:?} lies on a file system (number {magic:#x}) of which it is not known that \
             mappings and locks work as a ring needs; `Options::trust_unknown_file_systems` \
             allows it"
        ),
    }
}

source_of_io!(CreateError);

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
