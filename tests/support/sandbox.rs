//! Places where a test may do what would disturb everybody else: mount namespaces of a thread's
//! own, and children with other credentials and limits.
//!
//! These need root. Without it the tests that use them say so, and check what they can.

use std::path::{Path, PathBuf};

use ringpipe::Spsc;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{Child, LONG, Name, did_not_run, within};

/// Root, who may mount and change users.
pub fn is_root(for_what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        did_not_run(for_what, "needs root");
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

/// Has a child play this role, with a name for its argument. Its failure is ours.
pub fn play(role: &str, argument: &str) {
    Child::start::<Spsc>(role, argument).finish();
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
