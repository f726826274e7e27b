//! How much memory the process's memory cgroup has left.
//!
//! Who takes more than its cgroup has left is not told so: the kernel kills somebody in the group,
//! most likely the creator. So what is left is looked up before a region is reserved. The memory of
//! a region in a tmpfs is charged to whoever allocates it, which is its creator.
//!
//! **Which groups.** The process's own (`/proc/self/cgroup`) and all above it, as far as they can
//! be seen: a group's limit is a limit for those below it. Both versions are looked at, since a
//! machine may have version 2 without the memory controller beside a version 1 with it. Where the
//! groups are is told by `/proc/self/mountinfo`. Both files give paths as seen from the process's
//! cgroup namespace; a mount may show a part of the tree only, from its root downwards. If that
//! root is above the namespace's (`/..`), the way down from it has no name here, so the own group
//! cannot be found, and the mount's root is looked at alone.
//!
//! **What is left.** The limit, less the usage, plus what the kernel takes back before it kills:
//!
//! * pages of files that are clean, whether on the active or the inactive list. (A region's own
//!   pages are on neither: memory of a tmpfs counts as anonymous.) Dirty ones and those being
//!   written are not counted: the kernel might give up before they are on the disk.
//! * half of the reclaimable kernel memory, if it is told: the share that the kernel itself counts
//!   as available (`MemAvailable`), as the rest may be in use.
//! * swap, as far as group and machine have some left, unless the region is to be locked.
//!
//! Of the sum, one part in 128 stays for what the kernel needs to manage the region and charges
//! too: page tables (1/512 in each process that touches all of it) and the file's index (1/450).
//!
//! **What this does not do.** Nobody is kept from taking memory between the look and the
//! reservation, nor afterwards: then the kernel kills as it would without us. `memory.min`, which
//! keeps other groups' page cache from being taken back, is not subtracted. `memory.high` slows
//! down and kills nobody. What cannot be read or understood limits nothing: without `/proc`, or
//! where the groups are not mounted, no limit is known.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[cfg(all(test, not(miri)))] // its runs side by side would share the files
mod tests;

/// What is left of the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// In bytes.
    pub(super) bytes: u64,
    /// The group whose limit it is: its directory.
    pub(super) group: PathBuf,
}

/// What is left for this process, in the group that has least; `None`: no limit is known. `root` is
/// where `/proc` and the groups are looked for, and `swap` what the machine has left of that.
pub(super) fn left(root: &Path, swap: u64) -> Option<Left> {
    let own = fs::read(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read(root.join("proc/self/mountinfo")).ok()?;
    let mut least: Option<Left> = None;
    for mount in mounts_of(&mounts) {
        let Some(levels) = own_path(&own, mount.version).and_then(|own| mount.levels(&own)) else {
            continue;
        };
        let levels: Vec<_> = levels.iter().map(|level| Level::at(root, level)).collect();
        let found = match mount.version {
            Version::One => left_of_v1(&levels, swap),
            Version::Two => left_of_v2(&levels, swap),
        };
        least = [least, found].into_iter().flatten().min_by_key(|left| left.bytes);
    }
    least
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// The hierarchy of version 1 that has the memory controller.
    One,
    Two,
}

/// A line of `mountinfo` that shows groups.
#[derive(Debug)]
struct Mount {
    version: Version,
    /// The group that it shows, as seen from the namespace's root.
    root: Vec<u8>,
    point: PathBuf,
}

/// Mounts of groups; of several at one place the last, which hides the others.
fn mounts_of(mountinfo: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.split(|&b| b == b'\n') {
        // 36 35 98:0 /root /point rw,noatime master:1 - type source options
        let mut words = line.split(|&b| b == b' ');
        let (Some(root), Some(point)) = (words.nth(3), words.next()) else { continue };
        let mut rest = words.skip_while(|word| *word != b"-").skip(1);
        let (Some(kind), Some(options)) = (rest.next(), rest.nth(1)) else { continue };
        let point = PathBuf::from(OsStr::from_bytes(&unescape(point)));
        mounts.retain(|hidden| hidden.point != point);
        let version = match kind {
            b"cgroup2" => Version::Two,
            b"cgroup" if options.split(|&b| b == b',').any(|word| word == b"memory") => {
                Version::One
            }
            _ => continue,
        };
        mounts.push(Mount { version, root: unescape(root), point });
    }
    mounts
}

/// Blanks and backslashes are written as `\040`, in octal.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    plain
}

/// The process's own group, as seen from the namespace's root.
fn own_path(cgroup: &[u8], version: Version) -> Option<Vec<u8>> {
    cgroup.split(|&b| b == b'\n').find_map(|line| {
        // number:controllers:path, and there may be colons in the path
        let mut words = line.splitn(3, |&b| b == b':');
        let (number, controllers, path) = (words.next()?, words.next()?, words.next()?);
        let ours = match version {
            Version::One => controllers.split(|&b| b == b',').any(|word| word == b"memory"),
            Version::Two => number == b"0" && controllers.is_empty(),
        };
        ours.then(|| path.to_vec())
    })
}

impl Mount {
    /// Directories of the group `own` and of those above it, the own first. `None`: the mount does
    /// not show it.
    fn levels(&self, own: &[u8]) -> Option<Vec<PathBuf>> {
        let parts = |path| -> Vec<&[u8]> {
            <[u8]>::split(path, |&b| b == b'/').filter(|part| !part.is_empty()).collect()
        };
        let (shown, own) = (parts(&self.root), parts(own));
        let common = shown.iter().zip(&own).take_while(|(one, other)| one == other).count();
        let (above, below) = (&shown[common..], &own[common..]);
        let leads_up = |rest: &[&[u8]]| rest.first() == Some(&&b".."[..]);
        let below = match above {
            _ if leads_up(below) => return None,
            [] => below,
            above if leads_up(above) => &[],
            _ => return None,
        };
        let level = |depth: usize| {
            let names = below[..depth].iter().map(|part| OsStr::from_bytes(part));
            self.point.iter().chain(names).collect()
        };
        Some((0..=below.len()).rev().map(level).collect())
    }
}

/// The files of a group.
#[derive(Debug)]
struct Level<'a> {
    group: &'a Path,
    directory: PathBuf,
}

impl<'a> Level<'a> {
    fn at(root: &Path, group: &'a Path) -> Self {
        let directory = root.join(group.strip_prefix("/").unwrap_or(group));
        Self { group, directory }
    }

    fn text(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }

    /// `max` is as much as there can be.
    fn number(&self, file: &str) -> Option<u64> {
        match self.text(file)?.trim() {
            "max" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// What the kernel takes back before it kills. `prefix`: of the fields that count those below.
    fn reclaimable(&self, prefix: &str, dirty: [&str; 2]) -> u64 {
        let text = self.text("memory.stat").unwrap_or_default();
        let field = |name: &str| {
            let value = text.lines().find_map(|line| {
                line.strip_prefix(prefix)?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()
            });
            value.unwrap_or(0_u64)
        };
        let files = field("inactive_file").saturating_add(field("active_file"));
        let unwritten = field(dirty[0]).saturating_add(field(dirty[1]));
        files.saturating_sub(unwritten).saturating_add(field("slab_reclaimable") / 2)
    }

    fn left(&self, limit: u64, used: u64, reclaimable: u64) -> Left {
        let bytes = limit.saturating_add(reclaimable).saturating_sub(used);
        Left { bytes: bytes - bytes / 128, group: self.group.to_owned() }
    }
}

/// Version 1 counts memory, and memory and swap together.
fn left_of_v1(levels: &[Level<'_>], swap: u64) -> Option<Left> {
    let mut least = None;
    for (depth, level) in levels.iter().enumerate() {
        // Before Linux 5.11 a group could be told to let those below it alone.
        if depth > 0 && level.number("memory.use_hierarchy") == Some(0) {
            break;
        }
        let files = |[limit, used]: [&str; 2]| Some((level.number(limit)?, level.number(used)?));
        let reclaimable = level.reclaimable("total_", ["dirty", "writeback"]);
        let never_swaps = level.number("memory.swappiness") == Some(0);
        let swap = if never_swaps { 0 } else { swap };
        let memory = files(["memory.limit_in_bytes", "memory.usage_in_bytes"])
            .map(|(limit, used)| level.left(limit, used, reclaimable.saturating_add(swap)));
        let both = files(["memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes"])
            .map(|(limit, used)| level.left(limit, used, reclaimable));
        least = [least, memory, both].into_iter().flatten().min_by_key(|left| left.bytes);
    }
    least
}

/// Version 2 counts memory and swap apart. A page is swapped out if all groups above it let it.
fn left_of_v2(levels: &[Level<'_>], swap: u64) -> Option<Left> {
    let swap_of = |level: &Level<'_>| {
        Some(level.number("memory.swap.max")?.saturating_sub(level.number("memory.swap.current")?))
    };
    let swap = levels.iter().filter_map(swap_of).fold(swap, u64::min);
    let left = |level: &Level<'_>| {
        let (limit, used) = (level.number("memory.max")?, level.number("memory.current")?);
        let reclaimable = level.reclaimable("", ["file_dirty", "file_writeback"]);
        Some(level.left(limit, used, reclaimable.saturating_add(swap)))
    };
    levels.iter().filter_map(left).min_by_key(|left| left.bytes)
}
