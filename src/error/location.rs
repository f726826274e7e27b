//! Which ring an error is about, as people and programs need to know it.

use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::NameError;

/// Which ring an error is about.
///
/// Prints as part of a sentence: `ring "/dev/shm/ticks"`, `an anonymous ring`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// One with a name: `/dev/shm/NAME`, or the absolute path of a file-backed ring.
    Path(PathBuf),
    /// One without a name.
    Anonymous,
    /// One that is, or is not, in the memfd behind a descriptor that came from elsewhere.
    Descriptor(RawFd),
    /// One that this program's parent was to pass on under this name
    /// ([`PassRing`](crate::PassRing)).
    Passed(Box<str>),
}

impl Location {
    /// Where the ring's name is, or was to be; `None` if it has none.
    ///
    /// ```
    /// let error = ringpipe::spsc::Ring::<u64>::options().open("doc-no-such-ring").unwrap_err();
    /// let ringpipe::OpenError::NotFound { ring, .. } = error else { panic!("{error}") };
    /// assert_eq!(ring.path(), Some("/dev/shm/doc-no-such-ring".as_ref()));
    /// ```
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Anonymous | Self::Descriptor(_) | Self::Passed(_) => None,
        }
    }
}

/// Paths are quoted, and what a terminal might obey is escaped: others may have chosen them.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "ring {path:?}"),
            Self::Anonymous => f.write_str("an anonymous ring"),
            Self::Descriptor(number) => write!(f, "the ring behind descriptor {number}"),
            Self::Passed(name) => write!(f, "ring that was passed on as {name:?}"),
        }
    }
}

/// What was found there, which may be no ring.
pub(super) struct Found<'a>(pub(super) &'a Location);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Location::Path(path) => write!(f, "{path:?}"),
            Location::Descriptor(number) => write!(f, "descriptor {number}"),
            Location::Anonymous | Location::Passed(_) => self.0.fmt(f),
        }
    }
}

/// Says why `name` is none.
pub(super) fn no_name(f: &mut fmt::Formatter<'_>, name: &Path, why: NameError) -> fmt::Result {
    /// Of a longer one, as much is shown.
    const SHOWN: usize = 40;
    let text = name.to_string_lossy();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => write!(f, "\"{}…\"", text[..end].escape_debug())?,
        None => write!(f, "{name:?}")?,
    }
    write!(f, " cannot be the name of a ring: it {why}")
}

/// In the mode bits of a directory.
const STICKY: u32 = 0o1000;

/// Who was refused, and by whom.
pub(super) struct Refused<'a> {
    pub(super) user: u32,
    pub(super) verb: &'a str,
    pub(super) ring: &'a Location,
    /// Whose permission counts: the file, or the directory that its name is in.
    pub(super) whose: &'a str,
    pub(super) owner: Option<u32>,
    pub(super) mode: Option<u32>,
    /// What the mode has to have for the owner.
    pub(super) needs: u32,
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verb, ring, whose, .. } = self;
        write!(f, "user {user} may not {verb} {ring}: ")?;
        let (Some(owner), Some(mode)) = (self.owner, self.mode) else {
            return f.write_str("a directory on the way may not be searched");
        };
        write!(f, "{whose} belongs to user {owner}, mode {mode:o}; ")?;
        // Group members are taken for others here; the kernel has decided already.
        let (root, owns) = (*user == 0, *user == owner);
        let bits = if owns { self.needs } else { self.needs >> 6 };
        let allowed = root || mode & bits == bits;
        f.write_str(if !allowed {
            "its owner has to allow it"
        } else if *verb == "unlink" && mode & STICKY != 0 && !root && !owns {
            "names there are for the owners of their files to remove"
        } else {
            "a sandbox, a security module or a file attribute forbids it"
        })
    }
}
