//! Places where a test may do what would disturb everybody else: mount namespaces of a thread's
//! own, and children with other credentials and limits.
//!
//! These need root. Without it the tests that use them say so on standard error, past the test
//! harness's capture, and check what they can.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::support::by_fork::by_fork;
use super::support::{LONG, Name, within};

/// Tells which part a child plays; the rest of the line is its argument.
const PART: &str = "RINGPIPE_BAD_INPUT_PART";

/// Says in one line, past the harness's capture, what was not checked and why.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}");
}

/// Root, who may mount and change users.
pub fn is_root(for_what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(&format!("{for_what}: needs root"));
    }
    root
}

/// Runs `work` in a thread that has a mount namespace of its own.
pub fn with_own_mounts<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    within(LONG, || {
        // SAFETY: `NEWNS` alone: no descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).expect("private mounts");
        work()
    })
}

/// Mounts a new tmpfs; only in a thread of [`with_own_mounts`].
pub fn mount_tmpfs(at: &str, options: &std::ffi::CStr) {
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).expect("a tmpfs");
}

/// A new directory that is removed, with what is in it, at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(&*Name::new());
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub fn join(&self, leaf: &str) -> PathBuf {
        self.0.join(leaf)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs this program again as a child that plays one part, and waits for it. Its failure is ours.
#[track_caller]
pub fn play(part: &str, argument: &str) {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    let mut child = by_fork(&mut command)
        .args(["sandbox::plays_a_part", "--exact", "--nocapture"])
        .env(PART, format!("{part} {argument}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let deadline = Instant::now() + LONG;
    let status = loop {
        match child.try_wait().expect("a status") {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().expect("killed");
                break child.wait().expect("a status");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut said = String::new();
    for stream in [
        child.stdout.as_mut().map(|s| s as &mut dyn Read),
        child.stderr.as_mut().map(|s| s as &mut dyn Read),
    ] {
        stream.expect("a pipe").read_to_string(&mut said).expect("text");
    }
    let played = said.contains(&format!("played {part}\n"));
    assert!(status.success() && played, "{part}: {status}\n{said}");
}

/// Not a test of its own: what [`play`] starts. Without a part there is nothing to do.
#[test]
fn plays_a_part() {
    let Ok(line) = std::env::var(PART) else {
        return;
    };
    let (part, argument) = line.split_once(' ').expect("a part and its argument");
    let play = super::limits::PARTS
        .iter()
        .find_map(|&(name, play)| (name == part).then_some(play))
        .expect("a known part");
    play(argument);
    println!("played {part}");
}

/// Gives up root for good: user and group `nobody`, no other groups.
pub fn become_nobody() {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    // Of this thread: the harness's own threads keep root and touch nothing.
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).expect("no groups");
    set_thread_res_gid(group, group, group).expect("another group");
    set_thread_res_uid(user, user, user).expect("another user");
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
}

pub const NOBODY: u32 = 65534;

/// The status of the file system at `path` that tells of space taken.
pub fn space(path: &Path) -> [u64; 2] {
    let status = rustix::fs::statvfs(path).expect("a status");
    [status.f_bfree, status.f_ffree]
}
