//! Where a region can have a name: the `shm_open` name space, or a directory of the user's.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, Stat, fstat, fsync, linkat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::file_system::{FileSystem, Refused};
use super::{create_io, open_io};
use crate::error::{CreateError, NameError, OpenError, UnlinkError};
use crate::peers::hold::{Asking, Hold, NAME, RegionFile, Share};

/// Where `shm_open` keeps its names on Linux.
pub(crate) const SHM: &str = "/dev/shm";

/// A directory and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    directory: PathBuf,
    leaf: Vec<u8>,
    named: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaf = OsStr::from_bytes(&self.leaf);
        match self.named {
            true => leaf.display().fmt(f),
            false => self.directory.join(leaf).display().fmt(f),
        }
    }
}

fn check_name(name: &[u8]) -> Result<(), NameError> {
    match name {
        b"" | b"." | b".." => Err(NameError::Reserved),
        _ if name.contains(&b'/') => Err(NameError::Slash),
        _ if name.contains(&0) => Err(NameError::Nul),
        _ if name.len() > 255 => Err(NameError::TooLong { len: name.len() }),
        _ => Ok(()),
    }
}

impl Place {
    /// A name as `shm_open` knows it, without the slash.
    pub(crate) fn named(name: &str) -> Result<Self, NameError> {
        check_name(name.as_bytes())?;
        Ok(Self { directory: SHM.into(), leaf: name.into(), named: true })
    }

    /// A file.
    pub(crate) fn file(path: &Path) -> Result<Self, NameError> {
        let leaf = path.file_name().unwrap_or_default().as_bytes();
        check_name(leaf)?;
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(NameError::Nul);
        }
        // Absolute, so that a later `chdir` does not lead elsewhere.
        let parent =
            std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        let directory = parent.unwrap_or_else(|| PathBuf::from("/"));
        Ok(Self { directory, leaf: leaf.into(), named: false })
    }

    /// It has a name, rather than a path.
    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(OsStr::from_bytes(&self.leaf))
    }

    /// A new empty file in the place's directory, without the place's name. `trusting`: also on a
    /// file system of which nothing is known.
    pub(crate) fn create_unnamed(
        &self,
        mode: Mode,
        trusting: bool,
    ) -> Result<Unnamed, CreateError> {
        let base = OFlags::RDWR | OFlags::CLOEXEC;
        let made = match openat(CWD, &self.directory, base | OFlags::TMPFILE, mode) {
            Ok(fd) => Ok(Unnamed { fd, temporary: None }),
            // The file system, or the kernel, has no O_TMPFILE, or a security module knows none.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::ACCESS | Errno::PERM) => {
                let path = self.directory.join(format!(".ringpipe-{:016x}", super::random_u64()));
                openat(CWD, &path, base | OFlags::CREATE | OFlags::EXCL, mode)
                    .map(|fd| Unnamed { fd, temporary: Some(TemporaryName(path.clone())) })
            }
            Err(e) => Err(e),
        };
        let unnamed = made.map_err(|e| match e {
            Errno::ACCESS | Errno::PERM | Errno::ROFS => {
                CreateError::Permission { ring: self.to_string() }
            }
            Errno::NOSPC | Errno::DQUOT => {
                CreateError::NoFiles { directory: self.directory.clone() }
            }
            e => create_io("making a file")(e),
        })?;
        let on = FileSystem::of(unnamed.fd()).map_err(create_io("asking for the file system"))?;
        on.admit(trusting).map_err(|Refused { kind, magic }| CreateError::FileSystem {
            path: self.directory.clone(),
            kind,
            magic,
        })?;
        Ok(unnamed)
    }

    /// Opens what has the place's name, on whatever file system; `trusting`: also on one of which
    /// nothing is known.
    pub(crate) fn open(&self, trusting: bool) -> Result<(OwnedFd, FileSystem), OpenError> {
        // NONBLOCK: a FIFO of that name must not keep us; NOFOLLOW: nor must a link lead us away.
        let flags =
            OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let ring = || self.to_string();
        let fd = openat(CWD, self.path(), flags, Mode::empty()).map_err(|e| match e {
            Errno::NOENT | Errno::NOTDIR => OpenError::NotFound { ring: ring() },
            Errno::ACCESS | Errno::PERM | Errno::ROFS => OpenError::Permission { ring: ring() },
            Errno::LOOP => OpenError::NotARing { ring: ring(), because: "it is a symbolic link" },
            Errno::ISDIR => OpenError::NotARing { ring: ring(), because: "it is a directory" },
            Errno::NXIO => OpenError::NotARing { ring: ring(), because: "it is no regular file" },
            e => open_io("opening the file")(e),
        })?;
        let on = FileSystem::of(fd.as_fd()).map_err(open_io("asking for the file system"))?;
        match on.admit(trusting) {
            Ok(()) => Ok((fd, on)),
            Err(Refused { kind, magic }) => {
                Err(OpenError::FileSystem { path: self.path(), kind, magic })
            }
        }
    }

    /// Writes a new name to the disk. File systems in use do that together with the file; for one
    /// that does not, this tries to. (The directory may be one that this process cannot read.)
    pub(crate) fn sync_directory(&self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(directory) = openat(CWD, &self.directory, flags, Mode::empty()) {
            let _ = fsync(directory);
        }
    }

    /// Something has the name.
    pub(crate) fn is_taken(&self) -> bool {
        statat(CWD, self.path(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The name still belongs to the file with this status.
    pub(crate) fn leads_to(&self, stat: &Stat) -> bool {
        statat(CWD, self.path(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|named| same_file(&named, stat))
    }

    /// Removes the name if it belongs to the file behind `fd`.
    ///
    /// Nobody can make a system call that unlinks a name only if it leads to a certain file. So
    /// whoever unlinks through this crate holds the file's name byte from the check to the unlink:
    /// while it is held, the name cannot be taken from this file, hence not be given to another.
    pub(crate) fn unlink_file(&self, file: RegionFile<'_>) -> Result<(), UnlinkError> {
        let mut asking = Asking::new();
        let _lock = loop {
            match Hold::take(file, NAME, Share::Exclusive).map_err(UnlinkError::Io)? {
                Some(lock) => break lock,
                None if asking.again() => {}
                None => return Err(UnlinkError::Busy { ring: self.to_string() }),
            }
        };
        let stat = fstat(file.fd).map_err(|e| UnlinkError::Io(e.into()))?;
        match () {
            () if stat.st_nlink == 0 => Err(UnlinkError::NotFound { ring: self.to_string() }),
            () => match statat(CWD, self.path(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if !same_file(&named, &stat) => {
                    Err(UnlinkError::Replaced { ring: self.to_string() })
                }
                Ok(_) => self.unlink(),
                Err(e) => Err(self.not_unlinked(e)), // renamed, perhaps
            },
        }
    }

    /// Removes the name, whatever it leads to.
    pub(crate) fn unlink(&self) -> Result<(), UnlinkError> {
        unlinkat(CWD, self.path(), AtFlags::empty()).map_err(|e| self.not_unlinked(e))
    }

    /// What it means that the name, or what it leads to, cannot be had to remove it.
    pub(crate) fn not_unlinked(&self, why: Errno) -> UnlinkError {
        let ring = self.to_string();
        match why {
            Errno::NOENT | Errno::NOTDIR => UnlinkError::NotFound { ring },
            Errno::ACCESS | Errno::PERM | Errno::ROFS => UnlinkError::Permission { ring },
            e => UnlinkError::Io(e.into()),
        }
    }
}

fn same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// A file that does not have its name yet. Dropped without [`link`](Self::link), it is gone.
#[derive(Debug)]
pub(crate) struct Unnamed {
    fd: OwnedFd,
    temporary: Option<TemporaryName>,
}

/// A name that is removed when this is dropped.
#[derive(Debug)]
struct TemporaryName(PathBuf);

impl Drop for TemporaryName {
    fn drop(&mut self) {
        // If it cannot be removed now, it stays as an orphan for people to find.
        let _ = unlinkat(CWD, &self.0, AtFlags::empty());
    }
}

impl Unnamed {
    /// A memfd, which will never have one.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, temporary: None }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Gives the file its name, unless the name is taken.
    pub(crate) fn link(self, place: &Place) -> Result<OwnedFd, CreateError> {
        let to = place.path();
        let linked = match &self.temporary {
            Some(TemporaryName(from)) => linkat(CWD, from, CWD, &to, AtFlags::empty()),
            None => {
                // The other route, AT_EMPTY_PATH, would do without /proc, but holds need it anyway.
                let from = format!("/proc/thread-self/fd/{}", self.fd.as_raw_fd());
                linkat(CWD, from, CWD, &to, AtFlags::SYMLINK_FOLLOW)
            }
        };
        match linked {
            Ok(()) => Ok(self.fd),
            Err(Errno::EXIST) => Err(CreateError::Exists { ring: place.to_string() }),
            Err(e) => Err(create_io("giving the region its name")(e)),
        }
    }
}
