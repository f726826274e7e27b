//! What survivors can see of a process's doings: the region's words, its locks, its name.
//!
//! Two more things are in a [`State`] though no survivor sees them. The stage that the victim has
//! noted in its diary decides what may be demanded. And the number of system calls it has made
//! stands for whatever else the kernel may remember of it (descriptors, mappings, files without a
//! name): each is a place to kill at, needed or not.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use crate::shared::{Diary, Words};

/// Where the region's lock bytes lie, as its layout has it.
const BIRTH: i64 = 1 << 62;
const SENDERS: i64 = BIRTH + 0x1_0000;
const RECEIVERS: i64 = BIRTH + 0x2_0000;
/// Where the header ends, which says nothing after creation; and where the seats begin.
const CONTROL_WORD: usize = 512 / 8;
const SEATS_WORD: usize = 1280 / 8;

/// Everything that kills are distinguished by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub named: bool,
    pub words: Vec<u64>,
    /// One bit for each lock byte that somebody holds.
    pub locks: u64,
    pub stage: usize,
    pub system_calls: usize,
}

impl State {
    /// What has become different since `before`, for people to read.
    pub fn difference(&self, before: &Self) -> String {
        let mut changes = Vec::new();
        if self.words.len() == before.words.len() {
            for (index, (new, old)) in self.words.iter().zip(&before.words).enumerate() {
                if new != old {
                    let offset = 8 * (CONTROL_WORD + index);
                    changes.push(format!("[{offset}] {old:#x} -> {new:#x}"));
                }
            }
        }
        let mut tell = |what, old: &dyn Debug, new: &dyn Debug| {
            let (old, new) = (format!("{old:x?}"), format!("{new:x?}"));
            if old != new {
                changes.push(format!("{what} {old} -> {new}"));
            }
        };
        tell("named", &before.named, &self.named);
        tell("locks", &before.locks, &self.locks);
        tell("stage", &before.stage, &self.stage);
        tell("system calls", &before.system_calls, &self.system_calls);
        changes.join(", ")
    }
}

/// Looks at a ring from outside, holding nothing of it.
#[derive(Debug)]
pub struct Observer {
    path: PathBuf,
    seats: usize,
    region: Option<(File, Words)>,
    /// Number of system calls, whether the name existed, locks: when these were last asked for.
    kernel: Option<(usize, bool, u64)>,
}

impl Observer {
    pub fn new(ring: &str, seats: usize) -> Self {
        Self { path: PathBuf::from("/dev/shm").join(ring), seats, region: None, kernel: None }
    }

    /// Opens the region if it has its name, so that it can be looked at also without.
    pub fn open(&mut self) -> io::Result<()> {
        if self.region.is_none() && self.path.exists() {
            let file = File::open(&self.path)?;
            let len = file.metadata()?.len() as usize;
            let words = Words::map(file.as_fd(), len, false)?;
            self.region = Some((file, words));
        }
        Ok(())
    }

    /// The state now, while the victim stands still. Locks and name change by system calls alone:
    /// they are asked for when their number has changed, or after [`forget`](Self::forget).
    pub fn look(&mut self, diary: &Diary, system_calls: usize) -> io::Result<State> {
        let (named, locks) = match self.kernel {
            Some((then, named, locks)) if then == system_calls => (named, locks),
            _ => {
                self.open()?;
                (self.path.exists(), self.locks()?)
            }
        };
        self.kernel = Some((system_calls, named, locks));
        let (mut words, stage) = (Vec::new(), diary.stage());
        if let Some((_, region)) = &self.region {
            words.extend(region.load(CONTROL_WORD));
            // The process ids in the seats differ from run to run, and mean nothing.
            for seat in &mut words[SEATS_WORD - CONTROL_WORD..][..self.seats] {
                *seat &= 0xffff_ffff;
            }
        }
        Ok(State { named, words, locks, stage, system_calls })
    }

    /// Somebody else has made system calls.
    pub fn forget(&mut self) {
        self.kernel = None;
    }

    fn locks(&self) -> io::Result<u64> {
        let mut locks = 0;
        if let Some((file, _)) = &self.region {
            for (bit, byte) in self.lock_bytes().enumerate() {
                locks |= u64::from(is_locked(file, byte)?) << bit;
            }
        }
        Ok(locks)
    }

    fn lock_bytes(&self) -> impl Iterator<Item = i64> {
        let seats = self.seats as i64;
        let senders = (0..seats).map(|seat| SENDERS + seat);
        let receivers = (0..seats).map(|seat| RECEIVERS + seat);
        (BIRTH..BIRTH + 3).chain(senders).chain(receivers)
    }
}

fn is_locked(file: &File, byte: i64) -> io::Result<bool> {
    // SAFETY: `flock` is a plain C structure for which all-zero is valid.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = byte;
    lock.l_len = 1;
    // SAFETY: the command reads and writes one `flock64`, which outlives the call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}
