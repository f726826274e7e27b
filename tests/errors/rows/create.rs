//! Of creating, and of opening or creating.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ringpipe::bytes::{self, Duplex};
use ringpipe::messages::mpmc;
use ringpipe::{ChannelError, CreateError, HugePages, OpenOrCreateError, SpaceLimit, spsc};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::stage::{
    as_root, descriptors, mounted, one, refuse, refuse_locks, spsc as options, without_proc,
};
use super::support::cgroup::{self, Group};
use super::support::sandbox::{become_nobody, mount_tmpfs};
use super::{Row, Told};

const SHM: &str = "/dev/shm";

pub(super) fn rows() -> Vec<Row> {
    [names(), places(), room(), kernel(), either()].into_iter().flatten().collect()
}

fn names() -> Vec<Row> {
    let name = &["CreateError::Name"];
    vec![
        Row::new(name, "empty", |_| one(options().create("")))
            .when("The name is empty, `.` or `..`.")
            .cure("Give it another.")
            .with("NameError::Reserved"),
        Row::new(name, "a path", |_| one(options().create("run/ticks")))
            .when("The name has a slash.")
            .cure("Names are plain file names; a path is for a file-backed ring.")
            .with("NameError::Slash"),
        Row::new(name, "a NUL byte", |_| one(options().create("ti\0cks")))
            .when("The name has a byte that no file name can have.")
            .cure("Give it another.")
            .with("NameError::Nul"),
        Row::new(name, "too long", |_| one(options().create(&"x".repeat(300))))
            .when("The name has more than 255 bytes.")
            .cure("Give it another.")
            .with("NameError::TooLong"),
        Row::new(&["CreateError::Exists"], "", |stage| {
            let _ring = options().create(&stage.name).unwrap();
            one(options().create(&stage.name))
        })
        .when("Something has the name, be it a ring or not.")
        .cure("Open it, unlink it, or ask for either with `open_or_create`.")
        .again("when it was unlinked."),
        Row::new(&["CreateError::Options"], "no slots", |stage| {
            one(options().capacity(0).create(&stage.name))
        })
        .when("The options ask for what cannot be; the text says what.")
        .cure("Ask for something else."),
        Row::new(&["CreateError::Options"], "a limit of deliveries of bytes", |stage| {
            one(bytes::Ring::options().delivery_limit(2).create(&stage.name))
        })
        .when("A byte pipe is to have a limit of deliveries, which are counted item by item.")
        .cure("Leave the option."),
        Row::new(&["CreateError::Options"], "no such granule", |stage| {
            one(mpmc::Ring::options().granule(100).create(&stage.name))
        })
        .when("A ring of messages is to have a granule that none can have.")
        .cure("Ask for a power of two from 64 to 4096, or for none."),
        Row::new(&["CreateError::Options"], "the umask", |stage| {
            as_root(|| {
                become_nobody();
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o700));
                one(options().mode(0o666).create(&stage.name))
            })
        })
        .when("What the umask leaves of the mode does not let the creator itself in.")
        .cure("Change one of them."),
    ]
}

fn places() -> Vec<Row> {
    vec![
        Row::new(&["CreateError::NoDirectory"], "", |stage| {
            one(options().create_file(stage.directory().join("none/ticks")))
        })
        .when("The directory for the name does not exist, or is a file.")
        .cure("Make the directory.")
        .again("when it is there."),
        Row::new(&["CreateError::NoDirectory"], "no /dev/shm", |_| {
            mounted(|| {
                mount_tmpfs("/dev", c"size=64k");
                one(options().create("ticks"))
            })
        })
        .when("There is no `/dev/shm`, as in some containers and `chroot`s.")
        .cure("Mount a tmpfs there, or use a file-backed or an anonymous ring.")
        .again("when it is there."),
        Row::new(&["CreateError::Permission"], "", |stage| {
            as_root(|| {
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(stage.directory(), mode).unwrap();
                become_nobody();
                one(options().create_file(stage.path()))
            })
        })
        .when("This user may not make files in the directory.")
        .cure("Have its owner allow it, or use another.")
        .again("when it is allowed."),
        Row::new(&["CreateError::Permission"], "a sandbox", |stage| {
            as_root(|| {
                refuse(libc::SYS_openat, None, libc::EPERM);
                one(options().create_file(stage.path()))
            })
        })
        .when("The mode would let this user in, and yet it is refused.")
        .cure("Look at seccomp, Landlock, AppArmor, SELinux, and `lsattr` of the directory."),
        Row::new(&["CreateError::ReadOnlyFileSystem"], "", |_| {
            mounted(|| {
                mount("tmpfs", SHM, "tmpfs", MountFlags::RDONLY, c"size=1m").unwrap();
                one(options().create("ticks"))
            })
        })
        .when("The directory is on a file system that is mounted read-only.")
        .cure("Mount it for writing, or use another."),
        Row::new(&["CreateError::FileSystem"], "", |stage| {
            let directory = stage.directory();
            mounted(move || match on_overlayfs(&directory) {
                Ok(()) => one(options().create_file(directory.join("ticks"))),
                Err(e) => Err(format!("no overlayfs: {e}")),
            })
        })
        .when("The file system's mappings are not shared memory, or do not keep locks.")
        .cure("Use a named or anonymous ring, or a volume of another kind."),
    ]
}

/// Puts one over this directory.
pub fn on_overlayfs(directory: &Path) -> Result<(), rustix::io::Errno> {
    let part = |name: &str| {
        let path = directory.join(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    };
    let (lower, upper, work) = (part("lower"), part("upper"), part("work"));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let options = std::ffi::CString::new(options).unwrap();
    mount("overlay", directory, "overlay", MountFlags::empty(), options.as_c_str())
}

fn room() -> Vec<Row> {
    vec![
        Row::new(&["CreateError::TooLarge"], "the address space", |_| {
            one(options().capacity(1 << 62).create_anonymous())
        })
        .when("The number of bytes overflows.")
        .cure("Ask for fewer slots."),
        Row::new(&["CreateError::TooLarge"], "", |stage| {
            // Should it not be refused: this much of the machine's memory, and no more.
            let little = Rlimit { current: Some(1 << 28), maximum: Some(1 << 28) };
            setrlimit(Resource::Fsize, little).unwrap();
            let error = options().capacity(1 << 45).create(&stage.name).unwrap_err();
            let CreateError::TooLarge { available, needed: Some(needed), .. } = error else {
                panic!("{error:?}");
            };
            let told = Told::of(&error).with(available, "268435456");
            Ok(vec![told.with(needed, "281474976718848")])
        })
        .when("A limit on this process leaves less.")
        .cure("Ask for fewer slots, or raise the limit that it names."),
        Row::new(&["CreateError::TooLarge"], "the machine's memory", |_| {
            // Of a mount without a limit of its own, and more than any machine has.
            mounted(|| {
                mount_tmpfs(SHM, c"size=0");
                let error = options().capacity(1 << 45).create("ticks").unwrap_err();
                let CreateError::TooLarge { available, limit: SpaceLimit::Machine, .. } = error
                else {
                    return Err(format!("another limit is lower: {error:?}"));
                };
                Ok(vec![Told::of(&error).with(available, "24586883072")])
            })
        })
        .when("The machine has not so much free, swap included.")
        .cure("Ask for fewer slots, or free some.")
        .again("when memory is free. `open_or_create` does that for a second."),
        Row::new(&["CreateError::TooLarge"], "a memory cgroup", |_| {
            as_root(|| {
                let Some(group) = Group::new("the error of a memory cgroup") else {
                    return Err("no memory cgroup can be made".into());
                };
                let group = group.limit_to(4 << 20);
                cgroup::join(&group.path);
                let outcome = options().capacity(1 << 20).create_anonymous();
                cgroup::join(group.path.parent().unwrap());
                let path = group.path.display().to_string();
                let Err(e @ CreateError::TooLarge { available, .. }) = &outcome else {
                    return Err(format!("no want of the group's memory: {outcome:?}"));
                };
                let told = Told::of(e).with(path, "/sys/fs/cgroup/memory/shop");
                Ok(vec![told.with(format!(", {available} "), ", 4194304 ")])
            })
        })
        .when(
            "The process is in a memory cgroup that has not so much left, or one above it has not.",
        )
        .cure("Ask for fewer slots, or raise the group's limit.")
        .again("when the group has memory to spare. `open_or_create` does that for a second."),
        Row::new(&["CreateError::TooLarge"], "its own bound", |stage| {
            one(options().capacity(1024).max_region(4096).create(&stage.name))
        })
        .when("It takes more than `Options::max_region` allows.")
        .cure("Allow more, or ask for fewer slots."),
        Row::new(&["CreateError::NoSpace"], "", |_| {
            mounted(|| {
                mount_tmpfs(SHM, c"size=1m");
                no_space(options().capacity(1 << 18).create("ticks"))
            })
        })
        .when("The file system has not that many bytes; Docker's `/dev/shm` has 64 MiB.")
        .cure("Make room, ask for fewer slots, or mount it larger.")
        .again("when there is room; `open_or_create` does it for a second."),
        Row::new(&["CreateError::NoSpace"], "a quota", |stage| {
            refuse(libc::SYS_fallocate, None, libc::EDQUOT);
            no_space(options().create(&stage.name))
        })
        .when("This user, or project, may not have that many bytes there.")
        .cure("Remove files, or have the quota raised.")
        .again("when there is room."),
        Row::new(&["CreateError::NoSpace"], "an anonymous ring", |_| {
            refuse(libc::SYS_fallocate, None, libc::ENOSPC);
            no_space(options().create_anonymous())
        })
        .when("The kernel does not give the memory.")
        .cure("Ask for fewer slots, or raise the limit of the memory cgroup.")
        .again("when memory is free."),
        Row::new(&["CreateError::TooLarge"], "huge pages", |_| {
            let huge = options().capacity(1 << 30).huge_pages(HugePages::Require);
            let outcome = huge.create_anonymous();
            let Err(e @ CreateError::TooLarge { available, .. }) = &outcome else {
                return Err(format!("no want of huge pages: {outcome:?}"));
            };
            Ok(vec![Told::of(e).with(format!(", {available} "), ", 0 ")])
        })
        .when("Huge pages are required, and too few are reserved and free.")
        .cure("Reserve more, by root: `sysctl vm.nr_hugepages=4200`.")
        .again("when they are free."),
        Row::new(&["CreateError::NoFiles"], "", |_| {
            mounted(|| {
                mount_tmpfs(SHM, c"size=1m,nr_inodes=1");
                one(options().create("ticks"))
            })
        })
        .when("The file system takes no more files.")
        .cure("Remove some, or mount it with more (`nr_inodes`).")
        .again("when some are gone."),
    ]
}

fn no_space(refused: Result<spsc::Ring<u64>, CreateError>) -> super::Provoked {
    let error = refused.unwrap_err();
    let CreateError::NoSpace { needed, free, .. } = error else { panic!("{error:?}") };
    let told = Told::of(&error).with(format!("{needed} bytes"), "67117056 bytes");
    let free = free.filter(|_| told.text.contains("are free"));
    Ok(vec![match free {
        Some(free) => told.with(format!("{free} are"), "65536 are"),
        None => told,
    }])
}

fn kernel() -> Vec<Row> {
    let io = &["CreateError::Io"];
    vec![
        Row::new(io, "too many open files", |stage| {
            let _taken = descriptors(0);
            one(options().create(&stage.name))
        })
        .when("This process has as many descriptors as it may (`RLIMIT_NOFILE`).")
        .cure("Raise the limit, or close some; it takes two at once to create a ring.")
        .again("when some are closed."),
        Row::new(io, "too many open files in the system", |stage| {
            refuse(libc::SYS_openat, None, libc::ENFILE);
            one(options().create(&stage.name))
        })
        .when("All of the system's open files are in use (`fs.file-max`).")
        .cure("Raise the limit.")
        .again("when some are closed."),
        Row::new(io, "no /proc", |_| {
            mounted(|| {
                without_proc();
                one(options().create_anonymous())
            })
        })
        .when("There is no `/proc`, or that of another PID namespace.")
        .cure(
            "Mount it; ringpipe opens each ring's file once more, through `/proc/thread-self/fd`.",
        )
        .again("when it is mounted."),
        Row::new(io, "forbidden locks", |stage| {
            refuse_locks(libc::EPERM);
            one(options().create(&stage.name))
        })
        .when("A sandbox forbids `fcntl` with `F_OFD_SETLK`.")
        .cure("Allow it: these locks alone prove who lives."),
        Row::new(&["CreateError::TooLarge"], "mappings", |_| {
            limit_address_space(1 << 20);
            one(options().capacity(1 << 20).create_anonymous())
        })
        .when(
            "This process may map no more (`RLIMIT_AS`), or has too many mappings \
             (`vm.max_map_count`).",
        )
        .cure("Raise the limit; a ring takes two mappings, each end one.")
        .again("when something is unmapped."),
        Row::new(&["CreateError::TooLarge"], "locked memory", |_| {
            as_root(|| {
                let none = Rlimit { current: Some(0), maximum: Some(0) };
                setrlimit(Resource::Memlock, none).unwrap();
                become_nobody();
                one(options().lock_memory(true).create_anonymous())
            })
        })
        .when("`Options::lock_memory` is on, and this process may not lock so much.")
        .cure("Raise the limit (`RLIMIT_MEMLOCK`), or leave the option."),
        Row::new(io, "no memory for its pages", |_| {
            refuse(libc::SYS_madvise, Some((2, 23)), libc::ENOMEM);
            one(options().prefault(true).create_anonymous())
        })
        .when("`Options::prefault` is on, and its pages cannot be had.")
        .cure("Raise the limit of the memory cgroup, or ask for fewer slots.")
        .again("when memory is free."),
        Row::new(io, "a long path", |stage| {
            let deep = "deep/".repeat(1000);
            let error = options().create_file(stage.directory().join(deep).join("ticks"));
            let told = Told::of(&error.unwrap_err());
            Ok(vec![told.with("deep/".repeat(1000), "deep/deep/…/")])
        })
        .when("The path, or a name in it, has more bytes than the kernel takes.")
        .cure("Use a shorter one."),
        Row::new(io, "links in a circle", |stage| {
            let circle = stage.directory().join("circle");
            std::os::unix::fs::symlink(&circle, &circle).unwrap();
            one(options().create_file(circle.join("ticks")))
        })
        .when("The path leads through too many symbolic links.")
        .cure("Use another."),
        Row::new(io, "something else is forbidden", |_| {
            refuse(libc::SYS_memfd_create, None, libc::ENOSYS);
            one(options().create_anonymous())
        })
        .when("A sandbox forbids some other call; the text says what for.")
        .cure("Allow it."),
    ]
}

fn either() -> Vec<Row> {
    vec![
        Row::new(&["OpenOrCreateError::Open"], "", |stage| {
            let _ring = options().create(&stage.name).unwrap();
            one(spsc::Ring::<u32>::options().open_or_create(&stage.name))
        })
        .when("There is something of that name, but it cannot be opened.")
        .cure("What it contains says it: see `OpenError`.")
        .again("if that helps with what it contains."),
        Row::new(&["OpenOrCreateError::Create"], "", |stage| {
            let path = stage.directory().join("none/ticks");
            let error = options().open_or_create_file(path).unwrap_err();
            assert!(matches!(error, OpenOrCreateError::Create(_)), "{error:?}");
            Ok(vec![Told::of(&error)])
        })
        .when("There is nothing of that name, and it cannot be created.")
        .cure("What it contains says it: see `CreateError`. Where there is no room it was tried for a second.")
        .again("if that helps with what it contains."),
        Row::new(&["ChannelError::Create"], "", |_| one(spsc::channel::<u64>(0)))
            .when("The channel's ring cannot be created.")
            .cure("What it contains says it: see `CreateError`.")
            .again("if that helps with what it contains."),
        Row::new(&["ChannelError::Open"], "", |_| one(Duplex::from_env("talk")))
            .when("No pair of pipes was passed on to this program under that name.")
            .cure("Have it started by a `Command` with `pass_duplex`."),
        Row::new(&["ChannelError::Attach"], "", |_| {
            if cfg!(target_env = "musl") {
                return Err("musl's allocator maps memory for whatever is asked of it".into());
            }
            // As little address space as does for the ring, but not for an end more.
            for spare in 0..1 << 10 {
                limit_address_space(spare * rustix::param::page_size() as u64);
                match spsc::channel::<u64>(8) {
                    Err(ChannelError::Create(_)) => {}
                    Err(error) => return Ok(vec![Told::of(&error)]),
                    Ok(_) => break,
                }
            }
            Err("no limit that lets a ring pass, but not its ends".into())
        })
        .when("The channel's ends cannot be attached.")
        .cure("What it contains says it: see `AttachError`.")
        .again("if that helps with what it contains."),
    ]
}

/// This process may map so many bytes more.
pub fn limit_address_space(spare: u64) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let most = pages * rustix::param::page_size() as u64 + spare;
    setrlimit(Resource::As, Rlimit { current: Some(most), maximum: None }).unwrap();
}
