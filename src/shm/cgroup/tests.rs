//! Trees of files as machines and containers show them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const MIB: u64 = 1 << 20;
/// No limit, as version 1 says it.
const NONE_V1: u64 = 0x7fff_ffff_ffff_f000;

/// A directory in the place of `/`; removed at the end.
struct Tree(PathBuf);

impl Tree {
    fn new(own: &str, mounts: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringpipe-cgroups-{}-{count}", std::process::id());
        let tree = Self(std::env::temp_dir().join(name));
        tree.file("proc/self/cgroup", own);
        let lines: Vec<_> = mounts.iter().map(|mount| format!("22 27 0:21 {mount}\n")).collect();
        tree.file("proc/self/mountinfo", lines.concat());
        tree
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A group of version 1: limit and usage.
    fn v1(&self, group: &str, limit: u64, used: u64) -> &Self {
        self.file(&format!("{group}/memory.limit_in_bytes"), format!("{limit}\n"));
        self.file(&format!("{group}/memory.usage_in_bytes"), format!("{used}\n"))
    }

    /// A group of version 2: limit and usage.
    fn v2(&self, group: &str, limit: &str, used: u64) -> &Self {
        self.file(&format!("{group}/memory.max"), format!("{limit}\n"));
        self.file(&format!("{group}/memory.current"), format!("{used}\n"))
    }

    fn left(&self, swap: u64) -> Option<(u64, String)> {
        let left = left(&self.0, swap)?;
        Some((left.bytes, left.group.to_str().unwrap().to_owned()))
    }

    #[track_caller]
    fn leaves(&self, bytes: u64, group: &str) {
        assert_eq!(self.left(0), Some((usable(bytes), group.into())));
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn usable(bytes: u64) -> u64 {
    bytes - bytes / 128
}

const V1: &str = "/ /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory";
const V2: &str = "/ /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate";

#[test]
fn v1_the_own_group_and_all_above_it_limit() {
    let own = "9:name=systemd:/other\n4:memory:/outer/inner\n1:cpu,cpuacct:/\n0::/elsewhere\n";
    let tree = Tree::new(own, &[V1]);
    tree.v1("sys/fs/cgroup/memory", NONE_V1, 5000 * MIB);
    tree.v1("sys/fs/cgroup/memory/outer", 100 * MIB, 30 * MIB);
    tree.leaves(70 * MIB, "/sys/fs/cgroup/memory/outer");
    tree.v1("sys/fs/cgroup/memory/outer/inner", 64 * MIB, 20 * MIB);
    tree.leaves(44 * MIB, "/sys/fs/cgroup/memory/outer/inner");
    // The limit was lowered, and what is used could not be.
    tree.v1("sys/fs/cgroup/memory/outer", 10 * MIB, 30 * MIB);
    tree.leaves(0, "/sys/fs/cgroup/memory/outer");
    // An outer group that lets the inner ones alone.
    tree.file("sys/fs/cgroup/memory/outer/memory.use_hierarchy", "0\n");
    tree.leaves(44 * MIB, "/sys/fs/cgroup/memory/outer/inner");
}

#[test]
fn v1_memory_and_swap_together_limit_too() {
    let tree = Tree::new("4:memory:/g\n", &[V1]);
    let group = "sys/fs/cgroup/memory/g";
    tree.v1(group, 100 * MIB, 40 * MIB);
    let left = |swap| tree.left(swap).unwrap().0;
    assert_eq!(left(1000 * MIB), usable(1060 * MIB), "swap is not counted: no limit to it");
    tree.file(&format!("{group}/memory.memsw.limit_in_bytes"), (150 * MIB).to_string());
    tree.file(&format!("{group}/memory.memsw.usage_in_bytes"), (45 * MIB).to_string());
    assert_eq!(left(1000 * MIB), usable(105 * MIB));
    assert_eq!(left(10 * MIB), usable(70 * MIB), "the machine has less than the group may");
    assert_eq!(left(0), usable(60 * MIB));
    tree.file(&format!("{group}/memory.swappiness"), "0\n");
    assert_eq!(left(1000 * MIB), usable(60 * MIB), "the group never swaps");
}

#[test]
fn clean_pages_of_files_make_way_and_others_do_not() {
    let tree = Tree::new("4:memory:/g\n", &[V1]);
    tree.v1("sys/fs/cgroup/memory/g", 100 * MIB, 90 * MIB);
    // What this group has itself is not all there is below the limit. Of a tmpfs is nothing here.
    let fields = format!(
        "shmem {0}\ninactive_file 1\ntotal_shmem {0}\ntotal_inactive_anon {0}\ntotal_unevictable \
         {0}\ntotal_inactive_file {1}\ntotal_active_file {2}\ntotal_dirty {3}\ntotal_writeback \
         {3}\n",
        20 * MIB,
        30 * MIB,
        40 * MIB,
        5 * MIB
    );
    tree.file("sys/fs/cgroup/memory/g/memory.stat", fields);
    tree.leaves((10 + 70 - 10) * MIB, "/sys/fs/cgroup/memory/g");

    let tree = Tree::new("0::/g\n", &[V2]);
    tree.v2("sys/fs/cgroup/g", &(100 * MIB).to_string(), 90 * MIB);
    let fields = format!(
        "shmem {0}\ninactive_file {1}\nactive_file {1}\nfile_dirty {2}\nfile_writeback {2}\n\
         slab_reclaimable {0}\n",
        20 * MIB,
        30 * MIB,
        5 * MIB
    );
    tree.file("sys/fs/cgroup/g/memory.stat", fields);
    tree.leaves((10 + 60 - 10 + 10) * MIB, "/sys/fs/cgroup/g");
    // More dirty than there is, as numbers of different moments may say.
    tree.file("sys/fs/cgroup/g/memory.stat", "inactive_file 10\nfile_dirty 11\n");
    tree.leaves(10 * MIB, "/sys/fs/cgroup/g");
}

#[test]
fn v2_the_own_group_and_all_above_it_limit() {
    let tree = Tree::new("0::/slice/service\n", &[V2]);
    // The root has no limit, nor the files.
    tree.v2("sys/fs/cgroup/slice", "max", 50 * MIB);
    tree.v2("sys/fs/cgroup/slice/service", "max", 40 * MIB);
    assert!(tree.left(0).unwrap().0 > 1 << 62, "`max` is as much as there can be");
    tree.v2("sys/fs/cgroup/slice", &(80 * MIB).to_string(), 50 * MIB);
    tree.leaves(30 * MIB, "/sys/fs/cgroup/slice");
    tree.v2("sys/fs/cgroup/slice/service", &(60 * MIB).to_string(), 40 * MIB);
    tree.leaves(20 * MIB, "/sys/fs/cgroup/slice/service");
}

#[test]
fn v2_swap_counts_as_far_as_every_group_lets() {
    let tree = Tree::new("0::/slice/service\n", &[V2]);
    tree.v2("sys/fs/cgroup/slice/service", &(60 * MIB).to_string(), 40 * MIB);
    let left = |swap| tree.left(swap).unwrap().0;
    assert_eq!(left(8 * MIB), usable(28 * MIB));
    let swap = |group: &str, most: &str, used: u64| {
        tree.file(&format!("sys/fs/cgroup/{group}/memory.swap.max"), most);
        tree.file(&format!("sys/fs/cgroup/{group}/memory.swap.current"), used.to_string());
    };
    swap("slice/service", "max\n", 3 * MIB);
    assert_eq!(left(8 * MIB), usable(28 * MIB));
    swap("slice", &(7 * MIB).to_string(), 3 * MIB);
    assert_eq!(left(8 * MIB), usable(24 * MIB));
    swap("slice/service", "0\n", 0);
    assert_eq!(left(8 * MIB), usable(20 * MIB));
}

/// Version 2 is there, and the memory controller is version 1's.
#[test]
fn of_both_versions_the_one_with_the_controller_limits() {
    let unified = "/ /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    let tree = Tree::new("4:memory:/g\n0::/u\n", &[V1, unified]);
    tree.file("sys/fs/cgroup/unified/u/cgroup.procs", "1\n");
    tree.v1("sys/fs/cgroup/memory/g", 64 * MIB, MIB);
    tree.leaves(63 * MIB, "/sys/fs/cgroup/memory/g");
    // If both had it, the tighter one.
    tree.v2("sys/fs/cgroup/unified/u", &(9 * MIB).to_string(), MIB);
    tree.leaves(8 * MIB, "/sys/fs/cgroup/unified/u");
}

/// A container without a namespace of its own: its group is mounted as if it were the root, and
/// called as outside.
#[test]
fn a_mount_may_show_a_part_of_the_tree() {
    let mount = "/docker/4f5e /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
    let tree = Tree::new("4:memory:/docker/4f5e/worker\n", &[mount]);
    tree.v1("sys/fs/cgroup/memory", 64 * MIB, 4 * MIB);
    tree.leaves(60 * MIB, "/sys/fs/cgroup/memory");
    tree.v1("sys/fs/cgroup/memory/worker", 32 * MIB, 4 * MIB);
    tree.leaves(28 * MIB, "/sys/fs/cgroup/memory/worker");
    // Another container's; the first names agree in part.
    for own in ["4:memory:/docker/4f5\n", "4:memory:/docker\n", "4:memory:/\n"] {
        tree.file("proc/self/cgroup", own);
        assert_eq!(tree.left(0), None, "{own}");
    }
}

#[test]
fn paths_may_lead_above_the_namespaces_root() {
    // Mounted before the namespace was made: what it shows begins above.
    let above = "/../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    let tree = Tree::new("0::/\n", &[above]);
    tree.v2("sys/fs/cgroup", &(64 * MIB).to_string(), MIB);
    tree.leaves(63 * MIB, "/sys/fs/cgroup");
    // One that has left the namespace, or that looks at it from a sibling.
    tree.file("proc/self/cgroup", "0::/../sibling\n");
    tree.leaves(63 * MIB, "/sys/fs/cgroup");
    let tree = Tree::new("0::/../sibling/leaf\n", &["/.. /groups rw - cgroup2 cgroup2 rw"]);
    tree.v2("groups/sibling/leaf", &(64 * MIB).to_string(), 2 * MIB);
    tree.leaves(62 * MIB, "/groups/sibling/leaf");
    // Not below what is mounted: what is there is no limit of ours.
    let tree = Tree::new("0::/../sibling\n", &[V2]);
    tree.v2("sys/fs/cgroup", &(64 * MIB).to_string(), MIB);
    tree.v2("sys/fs/sibling", &(64 * MIB).to_string(), MIB);
    tree.v2("sys/fs/cgroup/sibling", &(64 * MIB).to_string(), MIB);
    assert_eq!(tree.left(0), None);
}

#[test]
fn groups_that_cannot_be_seen_leave_those_above_them() {
    let tree = Tree::new("0::/slice/service (deleted)\n", &[V2]);
    tree.v2("sys/fs/cgroup/slice", &(64 * MIB).to_string(), MIB);
    tree.leaves(63 * MIB, "/sys/fs/cgroup/slice");
}

#[test]
fn the_last_mount_at_a_place_hides_the_others() {
    let hidden = "/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    let tree = Tree::new("0::/a\n", &[hidden, V2]);
    tree.v2("sys/fs/cgroup", &MIB.to_string(), 0);
    tree.v2("sys/fs/cgroup/a", &(64 * MIB).to_string(), 0);
    tree.leaves(MIB, "/sys/fs/cgroup");
    tree.v2("sys/fs/cgroup", "max", 0);
    tree.leaves(64 * MIB, "/sys/fs/cgroup/a");
    let covered = "/ /sys/fs/cgroup rw - tmpfs tmpfs rw";
    let tree = Tree::new("0::/a\n", &[V2, covered]);
    tree.v2("sys/fs/cgroup/a", &(64 * MIB).to_string(), 0);
    assert_eq!(tree.left(0), None);
}

#[test]
fn blanks_and_colons_in_names_are_read() {
    let mount = r"/a\040b /mnt\134with\040blank rw - cgroup2 none rw";
    let tree = Tree::new("0::/a b/c:d\n", &[mount]);
    tree.v2(r"mnt\with blank/c:d", &(64 * MIB).to_string(), MIB);
    tree.leaves(63 * MIB, r"/mnt\with blank/c:d");
    assert_eq!(unescape(br"\040\1\9999\"), br" \1\9999\");
    assert_eq!(unescape(br"\777"), br"\777", "no byte");
}

#[test]
fn what_makes_no_sense_limits_nothing() {
    for own in ["", "\n", "0::", "memory", "4:memory", "x:y:z\n", "\u{fffd}:\0"] {
        let tree = Tree::new(own, &[V1, V2]);
        tree.v1("sys/fs/cgroup/memory/g", MIB, 0);
        assert_eq!(tree.left(0), None, "{own:?}");
    }
    let broken = ["", "- cgroup2", "/ /g", "/ /g rw - cgroup2", "/ /g rw cgroup2 cgroup2 rw"];
    for mount in broken {
        let tree = Tree::new("0::/\n4:memory:/\n", &[mount]);
        tree.v2("g", &MIB.to_string(), 0);
        assert_eq!(tree.left(0), None, "{mount}");
    }
    for content in ["", "-1", "12 MB", "0x10", "99999999999999999999999", "\u{fffd}"] {
        let tree = Tree::new("0::/g\n", &[V2]);
        tree.v2("sys/fs/cgroup/g", content, 0);
        assert_eq!(tree.left(0), None, "{content}");
        let tree = Tree::new("0::/g\n", &[V2]);
        tree.v2("sys/fs/cgroup/g", &(64 * MIB).to_string(), 0);
        tree.file("sys/fs/cgroup/g/memory.stat", format!("inactive_file {content}\n\n \nx"));
        tree.leaves(64 * MIB, "/sys/fs/cgroup/g");
    }
    // Not there at all.
    assert_eq!(left(Path::new("/nowhere"), 0), None);
}

/// Whatever this machine shows is understood: no limit, or one that this process has room in.
#[test]
fn this_process_has_something_left() {
    if let Some(left) = left(Path::new("/"), 0) {
        assert!(left.bytes > 0 && left.group.is_absolute(), "{left:?}");
    }
}
