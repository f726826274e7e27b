//! Rings without a name, from a parent to the program that it starts.
//!
//! A ring's own descriptor is closed when a program is started. Of a ring that is passed on, the child
//! gets a duplicate that is not, and the environment tells it the number. Numbers are reused, and an
//! environment outlives the descriptors it speaks of. So it also tells which file it is, by device
//! and inode; whoever finds another file there, or none, has not been passed a ring. Nor has who finds
//! one that would be closed when a program is started: this process has opened, or taken, that itself.
//!
//! ```text
//! RINGPIPE_PASSED=NAME=DESCRIPTOR:DEVICE:INODE,…      a name has neither `=` nor `,`
//! ```

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::fstat;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

use super::bytes::Duplex;
use super::bytes::duplex::two_ways;
use super::item::Item;
use super::options::Options;
use super::ring::Ring;
use crate::error::{AttachError, ChannelError, Location, OpenError};
use crate::ring::{Bytes, Kind};

const VARIABLE: &str = "RINGPIPE_PASSED";
/// What is added to the name of two pipes, for the one that the child reads.
const OUT: &str = ".out";
/// And for the one that it writes.
const BACK: &str = ".back";

/// Passes rings on to the program that a [`Command`] starts.
///
/// Parent and child talk in five lines. The parent:
///
/// ```no_run
/// use ringpipe::{PassRing, bytes::Ring};
/// use std::io::Write;
///
/// let ring = Ring::options().create_anonymous()?;
/// let mut child = std::process::Command::new("./child").pass_ring("orders", &ring)?.spawn()?;
/// let mut tx = ring.writer()?;
/// tx.write_all(b"go")?;
/// drop(tx); // the end-of-file
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// And the child:
///
/// ```no_run
/// use ringpipe::bytes::Ring;
/// use std::io::Read;
///
/// let mut orders = String::new();
/// Ring::options().from_env("orders")?.reader()?.read_to_string(&mut orders)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Any kind of ring can be passed on, and as many as one likes, each under a name of its own. To talk
/// both ways takes two of them, which [`pass_duplex`](Self::pass_duplex) makes.
///
/// **A child that never attaches**, because it cannot be started, is another program, or ends before,
/// is no peer that has gone: whoever waits for it at the ring waits on. So a parent waits for its
/// child to attach until a deadline ([`wait_for_peer`](crate::RecvHandle::wait_for_peer)), or
/// [looks](std::process::Child::try_wait) whether the child is still there.
pub trait PassRing {
    /// Lets the program have the ring, which must be anonymous, under a name:
    /// [`Options::from_env`] opens it there. The ring stays open here.
    ///
    /// With it, the command is started by `fork` and `exec`, as with
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the ring is not anonymous (the child can open
    /// it by its name), if the name is empty or contains `=`, `,` or NUL, or if the command passes on
    /// a ring under that name already; what the kernel says if there are too many open files.
    fn pass_ring<T: Item, K: Kind>(
        &mut self,
        name: &str,
        ring: &Ring<T, K>,
    ) -> io::Result<&mut Self>;

    /// Makes two byte pipes of 64 KiB, one each way, passes both on under one name, and gives this
    /// process's end of them. The program has the other by [`Duplex::from_env`].
    ///
    /// ```no_run
    /// use ringpipe::PassRing;
    /// use std::io::{Read, Write};
    ///
    /// let mut command = std::process::Command::new("./child");
    /// let mut child = command.pass_duplex("talk")?; // there: Duplex::from_env("talk")
    /// command.spawn()?;
    /// child.write_all(b"a question")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`pass_ring`](Self::pass_ring), and those of making a ring
    /// ([`ChannelError`](crate::ChannelError)). Neither pipe is passed on then.
    fn pass_duplex(&mut self, name: &str) -> io::Result<Duplex>;
}

impl PassRing for Command {
    fn pass_duplex(&mut self, name: &str) -> io::Result<Duplex> {
        let [out, back] = two_ways().map_err(io::Error::other)?;
        let ends = || Ok::<_, AttachError>((out.writer()?, back.reader()?));
        let (tx, rx) = ends().map_err(io::Error::other)?;
        // Both or none: all that can fail comes first.
        let ways = [(OUT, &out), (BACK, &back)];
        let [out, back] = ways.map(|(way, ring)| Passed::new(self, &format!("{name}{way}"), ring));
        for passed in [out?, back?] {
            passed.on(self);
        }
        Ok(Duplex::new(tx, rx))
    }

    fn pass_ring<T: Item, K: Kind>(
        &mut self,
        name: &str,
        ring: &Ring<T, K>,
    ) -> io::Result<&mut Self> {
        Passed::new(self, name, ring)?.on(self);
        Ok(self)
    }
}

/// What a command passes on, as its environment has it.
fn list(command: &Command) -> Option<&str> {
    let mut variables = command.get_envs();
    variables.find(|(variable, _)| *variable == OsStr::new(VARIABLE))?.1?.to_str()
}

/// A ring that a command can pass on.
struct Passed {
    entry: String,
    fd: OwnedFd,
}

impl Passed {
    fn new<T: Item, K: Kind>(command: &Command, name: &str, ring: &Ring<T, K>) -> io::Result<Self> {
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if ring.name().is_some() {
            return refused("the ring has a name; the child can open it by that");
        }
        if name.is_empty() || name.contains(['=', ',', '\0']) {
            return refused("the name under which a ring is passed on has no `=`, `,` or NUL");
        }
        let mut others = list(command).unwrap_or_default().split(',');
        if others.any(|other| other.split('=').next() == Some(name)) {
            return refused("this command passes on a ring under that name already");
        }
        // Above the standard streams: what the child's are replaced by must not be this.
        let fd = fcntl_dupfd_cloexec(ring.as_fd(), 3)?;
        Ok(Self { entry: entry(name, fd.as_fd())?, fd })
    }

    fn on(self, command: &mut Command) {
        let Self { entry, fd } = self;
        let list = list(command).map_or(entry.clone(), |others| format!("{others},{entry}"));
        command.env(VARIABLE, list);
        // SAFETY: in the child, it makes one system call by a number that the command keeps open.
        unsafe { command.pre_exec(move || Ok(fcntl_setfd(&fd, FdFlags::empty())?)) };
    }
}

/// What the environment says of a ring.
fn entry(name: &str, fd: BorrowedFd<'_>) -> io::Result<String> {
    let stat = fstat(fd)?;
    Ok(format!("{name}={}:{}:{}", fd.as_raw_fd(), stat.st_dev, stat.st_ino))
}

/// The descriptor that was passed under a name, to be had once.
fn passed(name: &str) -> Option<OwnedFd> {
    /// The numbers of those that were had.
    static HAD: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let list = std::env::var(VARIABLE).ok()?;
    let begins = format!("{name}=");
    let entry = list.split(',').find(|entry| entry.starts_with(&begins))?;
    let number: RawFd = entry[begins.len()..].split(':').next()?.parse().ok().filter(|n| *n > 2)?;
    let mut had = HAD.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: it is borrowed for as long as it takes to ask what file it is.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // Whoever opens something in this process has it closed for the programs that it starts.
    let inherited = !fcntl_getfd(fd).ok()?.contains(FdFlags::CLOEXEC);
    if !inherited || had.contains(&number) || self::entry(name, fd).ok()? != entry {
        return None;
    }
    had.insert(number);
    // SAFETY: the file is the one that our parent opened for us under this number: it came with us
    // when this program was started, so nobody in it has opened it, and we have not given it to
    // anybody. It is ours, and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // Not for those whom this process starts.
    fcntl_setfd(&fd, FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

impl<T: Item, K: Kind> Options<T, K> {
    /// Opens the ring that this program's parent has [passed on](PassRing) under a name. Once: it is
    /// this process's then, and clones of the handle are had by cloning it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`] if none was, or it was opened before, or tried to be, or somebody has
    /// set its descriptor to be closed when a program is started (`FD_CLOEXEC`); others as
    /// [`from_fd`](Self::from_fd).
    pub fn from_env(&self, name: &str) -> Result<Ring<T, K>, OpenError> {
        match passed(name) {
            Some(fd) => self.from_fd(fd),
            None => Err(OpenError::NotFound { ring: Location::Passed(name.into()) }),
        }
    }
}

impl Duplex {
    /// The other end of what this program's parent has made by
    /// [`pass_duplex`](PassRing::pass_duplex).
    ///
    /// # Errors
    ///
    /// [`ChannelError::Open`] as [`Options::from_env`], and those of attaching.
    pub fn from_env(name: &str) -> Result<Self, ChannelError> {
        let open = |way| Ring::<u8, Bytes>::options().from_env(&format!("{name}{way}"));
        let (out, back) = (open(OUT)?, open(BACK)?);
        Ok(Self::new(back.writer()?, out.reader()?))
    }
}
