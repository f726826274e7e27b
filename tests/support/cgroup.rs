//! Memory cgroups of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::{did_not_run, unique, until};

/// A group with a limit, or none. Removed when dropped, which waits for its last member to be gone.
pub struct Group {
    pub path: PathBuf,
    limit: &'static str,
    usage: &'static str,
}

impl Group {
    /// `None`, and loudly: none can be made here.
    pub fn new(what: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let of_kind = |kind: &str, option: &str| {
            let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let has =
                |words: &Vec<&str>| words[2] == kind && words[3].split(',').any(|o| o == option);
            lines.find(has).map(|words| PathBuf::from(words[1]))
        };
        let (top, limit, usage) = match (of_kind("cgroup", "memory"), of_kind("cgroup2", "rw")) {
            (Some(top), _) => (top, "memory.limit_in_bytes", "memory.usage_in_bytes"),
            (None, Some(top)) => (top, "memory.max", "memory.current"),
            (None, None) => {
                did_not_run(what, "no memory cgroups are mounted");
                return None;
            }
        };
        let group = Self { path: top.join(unique()), limit, usage };
        match fs::create_dir(&group.path) {
            Ok(()) if group.path.join(limit).exists() => Some(group),
            made => {
                did_not_run(what, &format!("no memory cgroup can be made here: {made:?}"));
                None
            }
        }
    }

    /// One below it.
    pub fn below(&self) -> Self {
        let path = self.path.join("inner");
        // Of version 2; version 1 has all controllers in all groups.
        let _ = fs::write(self.path.join("cgroup.subtree_control"), "+memory");
        fs::create_dir(&path).unwrap();
        Self { path, ..*self }
    }

    pub fn limit_to(self, bytes: u64) -> Self {
        fs::write(self.path.join(self.limit), bytes.to_string()).unwrap();
        self
    }

    /// Bytes that it uses.
    pub fn usage(&self) -> u64 {
        fs::read_to_string(self.path.join(self.usage)).unwrap().trim().parse().unwrap()
    }
}

/// Makes this process a member of the group.
pub fn join(group: &Path) {
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.path.exists() && !std::thread::panicking() {
            until("a group without members", || fs::remove_dir(&self.path).ok());
        } else {
            let _ = fs::remove_dir(&self.path);
        }
    }
}
