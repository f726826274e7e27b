//! Where a region can have a name: the `shm_open` name space, or a directory of the user's.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fsync, linkat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::file_system::{FileSystem, Refused};
use crate::error::{CreateError, Location, NameError, OpenError, Step, UnlinkError};
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

/// What errors call a ring: it is at its place, or anonymous.
pub(crate) fn location(place: Option<&Place>) -> Location {
    place.map_or(Location::Anonymous, Place::location)
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
        // Absolute, so that a later `chdir` does not lead elsewhere. It cannot be if this process's
        // own directory is gone; then there is nothing in it either.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| Path::new(".").join(path));
        let directory = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { directory, leaf: leaf.into(), named: false })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(OsStr::from_bytes(&self.leaf))
    }

    /// What errors call it.
    pub(crate) fn location(&self) -> Location {
        Location::Path(self.path())
    }

    /// Where the file system is mounted that the directory is on, as far as one can see.
    pub(crate) fn mount(&self) -> PathBuf {
        let directory = self.directory.canonicalize().unwrap_or_else(|_| self.directory.clone());
        let device = |path: &Path| statat(CWD, path, AtFlags::empty()).map(|stat| stat.st_dev);
        let here = device(&directory);
        let same = |path: &&Path| device(path) == here;
        directory.ancestors().take_while(same).last().unwrap_or(&directory).to_owned()
    }

    /// It has a name, rather than a path.
    pub(crate) fn is_named(&self) -> bool {
        self.named
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
        let unnamed = made.map_err(|e| self.not_made(Step::MakeFile, e))?;
        let on = FileSystem::of(unnamed.fd()).map_err(CreateError::io(&self.location()))?;
        on.admit(trusting).map_err(|Refused { kind, magic }| CreateError::FileSystem {
            path: self.directory.clone(),
            kind,
            magic,
        })?;
        Ok(unnamed)
    }

    /// Why there is no new file, or no new name, in the directory.
    fn not_made(&self, doing: Step, why: Errno) -> CreateError {
        let ring = self.location();
        match why {
            Errno::EXIST => CreateError::Exists { ring },
            Errno::ACCESS | Errno::PERM => {
                let (user, owner, mode) = self.refused_by(&self.directory);
                CreateError::Permission { ring, user, owner, mode }
            }
            Errno::ROFS => CreateError::ReadOnlyFileSystem { ring },
            Errno::NOSPC | Errno::DQUOT => {
                CreateError::NoFiles { ring, directory: self.directory.clone() }
            }
            Errno::NOENT | Errno::NOTDIR if !self.has_directory() => {
                CreateError::NoDirectory { ring, directory: self.directory.clone() }
            }
            e => CreateError::io(&ring)(doing.failed(e)),
        }
    }

    /// Opens what has the place's name, on whatever file system; `trusting`: also on one of which
    /// nothing is known.
    pub(crate) fn open(&self, trusting: bool) -> Result<(OwnedFd, FileSystem), OpenError> {
        // NONBLOCK: a FIFO of that name must not keep us; NOFOLLOW: nor must a link lead us away.
        let flags =
            OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = openat(CWD, self.path(), flags, Mode::empty());
        let fd = opened.map_err(|e| self.not_opened(e))?;
        let on = FileSystem::of(fd.as_fd()).map_err(OpenError::io(&self.location()))?;
        match on.admit(trusting) {
            Ok(()) => Ok((fd, on)),
            Err(Refused { kind, magic }) => {
                Err(OpenError::FileSystem { path: self.path(), kind, magic })
            }
        }
    }

    /// Why what has the place's name cannot be opened, or why nothing has it.
    pub(crate) fn not_opened(&self, why: Errno) -> OpenError {
        let ring = self.location();
        let because = match why {
            Errno::NOENT | Errno::NOTDIR if !self.has_directory() => {
                return OpenError::NoDirectory { ring, directory: self.directory.clone() };
            }
            Errno::NOENT => return OpenError::NotFound { ring },
            Errno::ACCESS | Errno::PERM => {
                let (user, owner, mode) = self.refused_by(&self.path());
                return OpenError::Permission { ring, user, owner, mode };
            }
            Errno::ROFS => return OpenError::ReadOnlyFileSystem { ring },
            Errno::LOOP if self.is_taken() => "it is a symbolic link",
            Errno::ISDIR => "it is a directory",
            Errno::NXIO | Errno::NODEV => "it is no regular file",
            Errno::TXTBSY => "it is a program that is running",
            e => return OpenError::io(&ring)(Step::OpenFile.failed(e)),
        };
        OpenError::NotARing { ring, because }
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
    pub(crate) fn leads_to(&self, stat: &Stat) -> Result<bool, Errno> {
        match statat(CWD, self.path(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok(same_file(&named, stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes the name if it belongs to the file behind `fd`.
    ///
    /// Nobody can make a system call that unlinks a name only if it leads to a certain file. So
    /// whoever unlinks through this crate holds the file's name byte from the check to the unlink:
    /// while it is held, the name cannot be taken from this file, hence not be given to another.
    pub(crate) fn unlink_file(&self, file: RegionFile<'_>) -> Result<(), UnlinkError> {
        let ring = self.location();
        let io = UnlinkError::io(&ring);
        let mut asking = Asking::new();
        let _lock = loop {
            match Hold::take(file, NAME, Share::Exclusive).map_err(&io)? {
                Some(lock) => break lock,
                None if asking.again() => {}
                None => return Err(UnlinkError::Busy { ring: ring.clone() }),
            }
        };
        let stat = fstat(file.fd).map_err(|e| io(Step::Status.failed(e)))?;
        match statat(CWD, self.path(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if !same_file(&named, &stat) => {
                Err(UnlinkError::Replaced { ring: ring.clone() })
            }
            Ok(_) => self.unlink(),
            Err(e) => Err(self.not_unlinked(e)), // it was unlinked, or renamed
        }
    }

    /// Removes the name, whatever it leads to.
    pub(crate) fn unlink(&self) -> Result<(), UnlinkError> {
        unlinkat(CWD, self.path(), AtFlags::empty()).map_err(|e| self.not_unlinked(e))
    }

    /// What it means that the name, or what it leads to, cannot be had to remove it.
    pub(crate) fn not_unlinked(&self, why: Errno) -> UnlinkError {
        let ring = self.location();
        match why {
            Errno::NOENT | Errno::NOTDIR if !self.has_directory() => {
                UnlinkError::NoDirectory { ring, directory: self.directory.clone() }
            }
            Errno::NOENT => UnlinkError::NotFound { ring },
            Errno::ACCESS | Errno::PERM => {
                let (user, owner, mode) = self.refused_by(&self.directory);
                UnlinkError::Permission { ring, user, owner, mode }
            }
            Errno::ROFS => UnlinkError::ReadOnlyFileSystem { ring },
            e => UnlinkError::io(&ring)(Step::Unlink.failed(e)),
        }
    }

    /// The directory is there, as far as one can see.
    fn has_directory(&self) -> bool {
        match statat(CWD, &self.directory, AtFlags::empty()) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Err(e) => !matches!(e, Errno::NOENT | Errno::NOTDIR),
        }
    }

    /// Who asks, and the owner and mode bits of what refuses.
    fn refused_by(&self, path: &Path) -> (u32, Option<u32>, Option<u32>) {
        let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok();
        let owner = stat.map(|stat| stat.st_uid);
        let mode = stat.map(|stat| stat.st_mode & 0o7777);
        (rustix::process::geteuid().as_raw(), owner, mode)
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
        linked.map(|()| self.fd).map_err(|e| place.not_made(Step::Link, e))
    }
}
