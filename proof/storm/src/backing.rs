//! Where a storm's ring lives, and how workers come to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use harness::memory;
use ringpipe::error::CreateError;
use ringpipe::{Item, Kind, Options, Ring};

use crate::worker::Outcome;

/// What a ring's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backing {
    /// A name in `/dev/shm`.
    Named,
    /// A file, in `--directory`.
    File,
    /// A sealed memfd, whose descriptor workers find in `/proc`.
    Anonymous,
}

/// How a worker finds the ring: its backing and where it is, in one word of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    backing: Backing,
    at: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backing = match self.backing {
            Backing::Named => "named",
            Backing::File => "file",
            Backing::Anonymous => "anonymous",
        };
        write!(f, "{backing}:{}", self.at)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Outcome<Self> {
        let (backing, at) = text.split_once(':').ok_or("no backing before a colon")?;
        Ok(Self { backing: Backing::from_str(backing, false)?, at: at.to_owned() })
    }
}

/// Why there is no ring to storm over.
#[derive(Debug)]
pub enum NoRing {
    /// Rings cannot live there: nothing has been shown either way.
    Unfit(String),
    /// Creating it failed, though it should not.
    Failed(String),
}

impl Backing {
    /// Creates a ring, and says where it is to be found.
    pub fn create<T: Item, K: Kind>(
        self,
        options: &Options<T, K>,
        directory: Option<&Path>,
    ) -> Result<(Ring<T, K>, Address), NoRing> {
        let name = format!("ringpipe-storm-{}", std::process::id());
        let (created, at) = match self {
            Backing::Named => (options.create(&name), name),
            Backing::File => {
                let path = match directory {
                    Some(directory) => directory.join(name),
                    None => beside_this_program()?.join(name),
                };
                (options.create_file(&path), path.display().to_string())
            }
            Backing::Anonymous => (options.create_anonymous(), String::new()),
        };
        let ring = created.map_err(|e| match e {
            CreateError::FileSystem { .. } => NoRing::Unfit(e.to_string()),
            e => NoRing::Failed(e.to_string()),
        })?;
        let at = match self {
            Backing::Anonymous => memory::address(&ring),
            _ => at,
        };
        Ok((ring, Address { backing: self, at }))
    }
}

/// Somewhere under the build directory, which is on a disk more often than not.
fn beside_this_program() -> Result<PathBuf, NoRing> {
    let program = std::env::current_exe();
    let program = program.map_err(|e| NoRing::Failed(format!("finding this program: {e}")))?;
    Ok(program.parent().map(Path::to_owned).unwrap_or_default())
}

impl Address {
    /// Opens the ring there.
    pub fn open<T: Item, K: Kind>(&self) -> Outcome<Ring<T, K>> {
        let options = Ring::<T, K>::options();
        let opened = match self.backing {
            Backing::Named => options.open(&self.at),
            Backing::File => options.open_file(&self.at),
            Backing::Anonymous => options.from_fd(memory::open(&self.at)?),
        };
        opened.map_err(|e| e.to_string())
    }

    /// Where it is, for people, and on what file system.
    pub fn describe(&self) -> String {
        match self.backing {
            Backing::Named => format!("named {}", self.at),
            Backing::File => format!("in the file {} ({})", self.at, file_system(&self.at)),
            Backing::Anonymous => "anonymous".to_owned(),
        }
    }
}

/// The kind of file system that a file is on, as the mount table calls it.
fn file_system(path: &str) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut fields = mounts.lines().map(|line| line.split(' '));
    let mut best = (0, "an unknown file system");
    for mount in fields.by_ref() {
        let found: Vec<_> = mount.collect();
        if let [_, at, kind, ..] = found[..]
            && Path::new(path).starts_with(at)
            && at.len() >= best.0
        {
            best = (at.len(), kind); // of several at one place the last is on top
        }
    }
    best.1.to_owned()
}
