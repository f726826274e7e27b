//! What survivors can see of a process's doings: the region's words, its locks, its name.
//!
//! Two more things are in a [`State`] though no survivor sees them. The stage that the victim has
//! noted in its diary decides what may be demanded. And the number of system calls it has made
//! stands for whatever else the kernel may remember of it (descriptors, mappings, files without a
//! name): each is a place to kill at, needed or not.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use harness::at;
use harness::region::Raw;

use crate::diary::Diary;

/// Where the region's lock bytes lie, as its layout has it.
const BIRTH: i64 = 1 << 62;
const SENDERS: i64 = BIRTH + 0x1_0000;
const RECEIVERS: i64 = BIRTH + 0x2_0000;
/// Where the header ends, which says nothing after creation; and where the records begin.
const CONTROL_WORD: usize = 512 / 8;
const FILE_STATE_WORD: usize = at::FILE_STATE / 8;
const OWNERS_WORD: usize = at::OWNERS / 8;

/// Everything that kills are distinguished by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The ring that the scenario is about, and those beside it.
    pub rings: Vec<Sight>,
    pub stage: usize,
    pub system_calls: usize,
}

/// What is to be seen of one ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    pub named: bool,
    pub words: Vec<u64>,
    /// One bit for each lock byte that somebody holds.
    pub locks: u64,
}

impl State {
    /// What has become different since `before`, for people to read.
    pub fn difference(&self, before: &Self) -> String {
        let mut changes = Vec::new();
        let mut tell = |what: &str, old: &dyn Debug, new: &dyn Debug| {
            let (old, new) = (format!("{old:#x?}"), format!("{new:#x?}"));
            if old != new {
                changes.push(format!("{what} {old} -> {new}"));
            }
        };
        for (number, (new, old)) in self.rings.iter().zip(&before.rings).enumerate() {
            let whose = if number == 0 { String::new() } else { format!("ring {number}: ") };
            if new.words.len() == old.words.len() {
                for (index, (new, old)) in new.words.iter().zip(&old.words).enumerate() {
                    tell(&format!("{whose}[{}]", 8 * (CONTROL_WORD + index)), old, new);
                }
            }
            tell(&format!("{whose}named"), &old.named, &new.named);
            tell(&format!("{whose}locks"), &old.locks, &new.locks);
        }
        tell("stage", &before.stage, &self.stage);
        tell("system calls", &before.system_calls, &self.system_calls);
        changes.join(", ")
    }

    /// The words of the ring that the scenario is about.
    pub fn into_words(mut self) -> Vec<u64> {
        self.rings.swap_remove(0).words
    }
}

/// Looks at rings from outside, holding nothing of them.
#[derive(Debug)]
pub struct Observer {
    rings: Vec<Outside>,
    /// The number of system calls when names and locks were last asked for.
    asked_at: Option<usize>,
}

/// One ring, from outside.
#[derive(Debug)]
struct Outside {
    path: PathBuf,
    records: usize,
    region: Option<(File, Raw)>,
    /// Whether the name existed, and locks, when these were last asked for.
    kernel: (bool, u64),
}

impl Observer {
    /// Looks at the ring that a scenario is about.
    pub fn new(ring: &str, records: usize) -> Self {
        let mut observer = Self { rings: Vec::new(), asked_at: None };
        observer.watch(ring, records);
        observer
    }

    /// Looks at this ring, too.
    pub fn watch(&mut self, ring: &str, records: usize) {
        let path = PathBuf::from("/dev/shm").join(ring);
        self.rings.push(Outside { path, records, region: None, kernel: (false, 0) });
        self.forget();
    }

    /// Opens the regions that have their names, so that they can be looked at also without.
    pub fn open(&mut self) -> io::Result<()> {
        self.rings.iter_mut().try_for_each(Outside::open)
    }

    /// The state now, while the victim stands still. Locks and names change by system calls alone:
    /// they are asked for when their number has changed, or after [`forget`](Self::forget).
    pub fn look(&mut self, diary: &Diary, system_calls: usize) -> io::Result<State> {
        if self.asked_at != Some(system_calls) {
            self.rings.iter_mut().try_for_each(Outside::ask)?;
        }
        self.asked_at = Some(system_calls);
        let rings = self.rings.iter().map(Outside::sight).collect();
        Ok(State { rings, stage: diary.stage(), system_calls })
    }

    /// Somebody else has made system calls.
    pub fn forget(&mut self) {
        self.asked_at = None;
    }
}

impl Outside {
    fn open(&mut self) -> io::Result<()> {
        if self.region.is_none() && self.path.exists() {
            let file = File::options().read(true).write(true).open(&self.path)?;
            let raw = Raw::of_file(&file);
            self.region = Some((file, raw));
        }
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        self.open()?;
        self.kernel = (self.path.exists(), self.locks()?);
        Ok(())
    }

    fn sight(&self) -> Sight {
        let mut words = Vec::new();
        if let Some((_, region)) = &self.region {
            // Relaxed: their writer is stopped, or dead.
            words.extend(region.words()[CONTROL_WORD..].iter().map(|word| word.load(Relaxed)));
            // So do the inode and its age, which the state line of a file-backed ring tells.
            words[FILE_STATE_WORD - CONTROL_WORD + 4] = 0;
            words[FILE_STATE_WORD - CONTROL_WORD + 5] = 0;
            // The process ids in the records differ from run to run, and mean nothing.
            for record in &mut words[OWNERS_WORD - CONTROL_WORD..][..self.records] {
                *record &= 0xffff_ffff;
            }
        }
        let (named, locks) = self.kernel;
        Sight { named, words, locks }
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
        let records = self.records as i64;
        let senders = (0..records).map(|record| SENDERS + record);
        let receivers = (0..records).map(|record| RECEIVERS + record);
        (BIRTH..BIRTH + 4).chain(senders).chain(receivers)
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
