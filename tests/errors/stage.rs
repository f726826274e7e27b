//! Where a row plays: names of its own, and what an error said there.

use std::error::Error;
use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ringpipe::{Kind, Options, Ring, Spsc};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::forked::in_a_fork;
use super::support::lock::lock;
use super::support::sandbox::with_own_mounts;
use super::support::{Name, seccomp};

/// A name for a ring, and a directory in memory. They are its parent's, who can remove them
/// whatever becomes of the child that uses them.
pub struct Stage {
    pub name: Name,
    directory: Name,
}

impl Stage {
    pub fn new() -> Self {
        let stage = Self { name: Name::new(), directory: Name::new() };
        std::fs::create_dir(stage.directory()).unwrap();
        stage
    }

    /// What the parent has, for its child.
    pub fn of(name: &str, directory: &str) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self { name: Name::of(name), directory: Name::of(directory) })
    }

    /// The names, for [`of`](Self::of).
    pub fn names(&self) -> [&str; 2] {
        [&self.name, &self.directory]
    }

    /// For rings in files.
    pub fn directory(&self) -> PathBuf {
        self.directory.path()
    }

    /// Of a ring in a file.
    pub fn path(&self) -> PathBuf {
        self.directory().join("ticks")
    }

    /// The same text whoever says it where.
    pub fn normalised(&self, mut told: Told) -> Told {
        let directory = self.directory();
        let us = format!("process {}", std::process::id());
        for text in [&mut told.text, &mut told.debug] {
            for (found, example) in [
                (directory.to_str().unwrap(), "/data"),
                (&*self.name, "ticks"),
                (&us, "process 4711"),
            ] {
                *text = text.replace(found, example);
            }
        }
        told
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.directory()).unwrap();
    }
}

/// What an error said.
pub struct Told {
    pub variant: String,
    pub text: String,
    pub source: String,
    pub debug: String,
}

impl Told {
    pub fn of<E: Error>(error: &E) -> Self {
        let debug = format!("{error:?}");
        let kind = std::any::type_name::<E>();
        let kind = kind.split('<').next().unwrap().rsplit("::").next().unwrap();
        let variant = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        let source = error.source().map_or("none".into(), |source| {
            assert!(source.source().is_none());
            let answer = source.downcast_ref::<std::io::Error>();
            match answer.and_then(std::io::Error::raw_os_error) {
                // The words are libc's, of which there are several.
                Some(number) => format!("`{}`", errno(number)),
                None => format!("\"{source}\""),
            }
        });
        let name = if kind == variant { kind.into() } else { format!("{kind}::{variant}") };
        Self { variant: name, text: error.to_string(), source, debug }
    }

    /// With an example in place of what differs from machine to machine.
    pub fn with(mut self, found: impl ToString, example: &str) -> Self {
        let found = found.to_string();
        assert!(self.text.contains(&found), "{found}: {}", self.text);
        self.text = self.text.replace(&found, example);
        self
    }

    pub fn to_line(&self) -> String {
        let all = [&self.variant, &self.text, &self.source, &self.debug];
        all.map(|field| field.replace(['\t', '\n'], " ")).join("\t")
    }

    pub fn from_line(line: &str) -> Self {
        let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let [variant, text, source, debug] = fields.try_into().expect("four fields");
        Self { variant, text, source, debug }
    }
}

/// The name of an error number that some row meets.
fn errno(number: i32) -> &'static str {
    match number {
        libc::EACCES => "EACCES",
        libc::EBADF => "EBADF",
        libc::EIO => "EIO",
        libc::ELOOP => "ELOOP",
        libc::EMFILE => "EMFILE",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENFILE => "ENFILE",
        libc::ENOENT => "ENOENT",
        libc::ENOMEM => "ENOMEM",
        libc::ENOSPC => "ENOSPC",
        libc::ENOSYS => "ENOSYS",
        libc::EPERM => "EPERM",
        libc::ESTALE => "ESTALE",
        unknown => panic!("{}", std::io::Error::from_raw_os_error(unknown)),
    }
}

/// What a row comes to.
pub type Provoked = Result<Vec<Told>, String>;

/// The one error that this is.
pub fn one<R: Debug, E: Error>(outcome: Result<R, E>) -> Provoked {
    Ok(vec![Told::of(&outcome.expect_err("it was to be refused"))])
}

/// As a ring is asked for in most rows.
pub fn options<K: Kind>() -> Options<u64, K> {
    Ring::options().capacity(8).tag("tick", 1)
}

pub fn spsc() -> Options<u64, Spsc> {
    options()
}

/// What is for root alone is not tried by others.
pub fn as_root(act: impl FnOnce() -> Provoked) -> Provoked {
    if rustix::process::geteuid().is_root() { act() } else { Err("needs root".into()) }
}

/// In mounts of its own.
pub fn mounted(act: impl FnOnce() -> Provoked + Send + 'static) -> Provoked {
    as_root(|| with_own_mounts(act))
}

/// From now on this system call, or that with this argument, is refused.
pub fn refuse(call: libc::c_long, argument: Option<(u32, u32)>, errno: i32) {
    seccomp::answer_to(call, argument, libc::SECCOMP_RET_ERRNO | errno as u32);
}

/// From now on locks are.
pub fn refuse_locks(errno: i32) {
    refuse(seccomp::FCNTL, Some((1, libc::F_OFD_SETLK as u32)), errno);
}

/// Leaves this process `free` descriptors to open.
pub fn descriptors(free: usize) -> Vec<OwnedFd> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let wire = std::io::stdin();
    let mut taken = Vec::new();
    while let Ok(fd) = rustix::io::dup(&wire) {
        taken.push(fd);
    }
    taken.truncate(taken.len() - free);
    taken
}

/// No process of this thread's mounts is to be seen any more.
pub fn without_proc() {
    use rustix::mount::{MountFlags, mount};
    mount("none", "/proc", "tmpfs", MountFlags::empty(), c"size=64k").unwrap();
}

/// What a forked child is told.
pub fn forked(act: impl FnOnce() -> Vec<Told>) -> Provoked {
    let (mut from, to) = std::io::pipe().unwrap();
    in_a_fork(|| {
        for told in act() {
            writeln!(&to, "{}", told.to_line()).unwrap();
        }
    });
    drop(to);
    let mut said = String::new();
    from.read_to_string(&mut said).unwrap();
    Ok(said.lines().map(Told::from_line).collect())
}

/// Holds a byte of the file for itself, until it is dropped.
pub fn hold(path: &Path, byte: i64) -> File {
    let file = File::options().read(true).write(true).open(path).unwrap();
    assert!(lock(&file, libc::F_WRLCK, byte));
    file
}
