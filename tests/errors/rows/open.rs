//! Of opening.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use ringpipe::{Mpmc, OpenError, bytes, spsc};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::mount::{MountFlags, mount_remount};

use super::create::{limit_address_space, on_overlayfs};
use super::stage::{
    Stage, as_root, descriptors, hold, mounted, one, options, refuse_locks, spsc, without_proc,
};
use super::support::disk::{self, Disk};
use super::support::lock::BIRTH;
use super::support::region::{HEADER, PAGE, sign};
use super::support::sandbox::{become_nobody, mount_tmpfs};
use super::{Provoked, Row, Told};

pub(super) fn rows() -> Vec<Row> {
    [names(), impostors(), mismatches(), others(), descriptors_of_others(), kernel()]
        .into_iter()
        .flatten()
        .collect()
}

fn names() -> Vec<Row> {
    vec![
        Row::new(&["OpenError::Name"], "", |_| one(spsc().open("run/ticks")))
            .when("The name cannot be one; the reasons are those of `CreateError::Name`.")
            .cure("Give another; a path is for `open_file`.")
            .with("NameError::Slash"),
        Row::new(&["OpenError::NotFound"], "", |stage| one(spsc().open(&stage.name)))
            .when("There is no ring of that name.")
            .cure("Start the program that creates it, or ask for either with `open_or_create`.")
            .again("when it was created."),
        Row::new(&["OpenError::NoDirectory"], "", |stage| {
            one(spsc().open_file(stage.directory().join("none/ticks")))
        })
        .when("The directory for the name does not exist, or is a file.")
        .cure("Look at the path.")
        .again("when it is there."),
        Row::new(&["OpenError::ReadOnlyFileSystem"], "", |stage| {
            let directory = stage.directory();
            mounted(move || {
                let at = directory.to_str().unwrap();
                mount_tmpfs(at, c"size=1m");
                let path = directory.join("ticks");
                drop(spsc().create_file(&path).unwrap());
                mount_remount(at, MountFlags::RDONLY, c"").unwrap();
                one(spsc().open_file(path))
            })
        })
        .when("The ring is on a file system that is mounted read-only.")
        .cure("Mount it for writing; all users of a ring write."),
        Row::new(&["OpenError::TooLarge"], "", |stage| {
            let _ring = spsc().capacity(1024).create(&stage.name).unwrap();
            one(spsc().max_region(4096).open(&stage.name))
        })
        .when("It takes more than `Options::max_region` allows; or its holes, more than a limit leaves.")
        .cure("Allow more, if it is to be trusted with it; or raise the limit that the text names."),
        Row::new(&["OpenError::NoSpace"], "", |stage| {
            let directory = stage.directory();
            mounted(move || {
                mount_tmpfs(directory.to_str().unwrap(), c"size=1m");
                let (path, copy) = (directory.join("ticks"), directory.join("copy"));
                drop(spsc().capacity(1 << 14).create_file(&path).unwrap());
                // The blocks that are not zero, as `cp --sparse=always` does it.
                let content = fs::read(&path).unwrap();
                let sparse = fs::File::create(&copy).unwrap();
                sparse.set_len(content.len() as u64).unwrap();
                for (number, block) in content.chunks(4096).enumerate() {
                    if block.iter().any(|byte| *byte != 0) {
                        sparse.write_all_at(block, number as u64 * 4096).unwrap();
                    }
                }
                // A file that takes the rest.
                let rest = fs::File::create(&path).unwrap();
                while (&rest).write_all(&[1; 4096]).is_ok() {}
                one(spsc().open_file(copy))
            })
        })
        .when("Its file is sparse (a copy, say), and there is no room to fill the holes.")
        .cure("Make room there.")
        .again("when there is room."),
        Row::new(&["OpenError::FileSystem"], "", |stage| {
            let directory = stage.directory();
            mounted(move || {
                let path = directory.join("ticks");
                on_overlayfs(&directory).map_err(|e| format!("no overlayfs: {e}"))?;
                fs::write(&path, "").unwrap();
                one(spsc().open_file(path))
            })
        })
        .when("The file system's mappings are not shared memory, or do not keep locks.")
        .cure("Use a named or anonymous ring, or a volume of another kind."),
    ]
}

fn impostors() -> Vec<Row> {
    let no_ring = &["OpenError::NotARing"];
    vec![
        Row::new(no_ring, "another file", |stage| {
            fs::write(stage.name.path(), "no ring at all ".repeat(100)).unwrap();
            one(spsc().open(&stage.name))
        })
        .when("Something else has the name.")
        .cure("Use another name, or remove what has it.")
        .again("if it is a ring that somebody else is about to replace."),
        Row::new(no_ring, "a symbolic link", |stage| {
            std::os::unix::fs::symlink("elsewhere", stage.path()).unwrap();
            one(spsc().open_file(stage.path()))
        })
        .when("A symbolic link has the name: it might lead anywhere.")
        .cure("Open what it leads to."),
        Row::new(no_ring, "a running program", |_| {
            let error = spsc().open_file(std::env::current_exe().unwrap()).unwrap_err();
            let OpenError::NotARing { ring, .. } = &error else { return Err(format!("{error}")) };
            let path = ring.path().unwrap().display();
            Ok(vec![Told::of(&error).with(path, "/data/ticks")])
        })
        .when("A program's file has the name, and the program runs.")
        .cure("Use another name."),
    ]
}

/// A ring whose header was changed like that.
fn changed(stage: &Stage, change: impl FnOnce(&mut [u8])) -> Provoked {
    drop(spsc().create(&stage.name).unwrap());
    let mut bytes = fs::read(stage.name.path()).unwrap();
    change(&mut bytes);
    fs::write(stage.name.path(), bytes).unwrap();
    one(spsc().open(&stage.name))
}

fn mismatches() -> Vec<Row> {
    let mismatch = &["OpenError::Mismatch"];
    vec![
        Row::new(mismatch, "another element", |stage| {
            let quotes = spsc::Ring::<[u64; 4]>::options().tag("quote", 2);
            let _ring = quotes.create(&stage.name).unwrap();
            one(spsc().open(&stage.name))
        })
        .when("The elements differ in size, alignment, tag or version of the tag.")
        .cure("Give both programs the same type and tag, or unlink the ring.")
        .with("Mismatch::Element"),
        Row::new(mismatch, "another kind", |stage| {
            let _ring = options::<Mpmc>().create(&stage.name).unwrap();
            one(spsc().open(&stage.name))
        })
        .when("The ring is of another kind.")
        .cure("Open it as what it is, or unlink it.")
        .with("Mismatch::Kind"),
        Row::new(mismatch, "another layout", |stage| {
            changed(stage, |bytes| bytes[12..16].copy_from_slice(&[1, 0, 4, 0]))
        })
        .when("Another major version of the layout.")
        .cure("Build both programs with one version of ringpipe, or unlink the ring.")
        .with("Mismatch::Layout"),
        Row::new(mismatch, "another byte order", |stage| {
            changed(stage, |bytes| bytes[8..12].reverse())
        })
        .when("The ring's file was copied from a machine of the other byte order.")
        .cure("Create it here.")
        .with("Mismatch::ByteOrder"),
        Row::new(mismatch, "another width of pointers", |stage| {
            changed(stage, |bytes| {
                bytes[16..20].copy_from_slice(&(96 - usize::BITS).to_ne_bytes());
                sign(&mut bytes[..HEADER]);
            })
        })
        .when("One of the programs has 32 bits, the other 64.")
        .cure("Build both alike.")
        .with("Mismatch::PointerWidth"),
        Row::new(mismatch, "another page size", |stage| {
            drop(bytes::Ring::options().create(&stage.name).unwrap());
            let mut header = fs::read(stage.name.path()).unwrap();
            assert_eq!(
                header[PAGE..PAGE + 8],
                4096_u64.to_ne_bytes(),
                "pages of another size here"
            );
            header[PAGE..PAGE + 8].copy_from_slice(&(2_u64 << 20).to_ne_bytes());
            sign(&mut header[..HEADER]);
            fs::write(stage.name.path(), header).unwrap();
            one(bytes::Ring::options().open(&stage.name))
        })
        .when(
            "The file of a byte pipe was copied from where pages have another size: huge pages, \
             or another machine.",
        )
        .cure("Create it here; what is in the ring can be read where it was.")
        .with("Mismatch::PageSize"),
    ]
}

fn others() -> Vec<Row> {
    vec![
        Row::new(&["OpenError::Damaged"], "", |stage| changed(stage, |bytes| bytes[200] ^= 1))
            .when("The header was changed, or the file cut or extended.")
            .cure("Unlink the ring; what was in it is lost."),
        Row::new(&["OpenError::Owner"], "", |stage| {
            as_root(|| {
                drop(spsc().create(&stage.name).unwrap());
                std::os::unix::fs::chown(stage.name.path(), Some(1001), None).unwrap();
                one(spsc().open(&stage.name))
            })
        })
        .when("The ring belongs neither to this user nor to root.")
        .cure("Trust that user, if it is the right one; else it squats on the name."),
        Row::new(&["OpenError::Permission"], "", |stage| {
            as_root(|| {
                drop(spsc().create(&stage.name).unwrap());
                become_nobody();
                one(spsc().open(&stage.name))
            })
        })
        .when("The ring's mode does not let this user in; all users both read and write.")
        .cure("Create it with another `Options::mode`, and mind the umask.")
        .again("when it is allowed."),
        Row::new(&["OpenError::Busy"], "", |stage| {
            drop(spsc().create(&stage.name).unwrap());
            let _stopped = hold(&stage.name.path(), BIRTH);
            one(spsc().open(&stage.name))
        })
        .when("It has been locked for a second, or for ten if it is on a disk.")
        .cure("Look for a stopped process that removes orphans, or closes the ring.")
        .again("when that goes on, or ends."),
        Row::new(&["OpenError::Unclean"], "", |_| {
            let Some(disk) = Disk::new("the error of an unclean ring") else {
                return Err("no disk".into());
            };
            let path = disk::clean::<ringpipe::Spsc>(&disk, &[]);
            let ring = disk::open::<ringpipe::Spsc>(&path).unwrap();
            let copy = disk::beside(&path);
            fs::copy(&path, &copy).unwrap();
            drop(ring);
            let error = disk::open::<ringpipe::Spsc>(&copy).unwrap_err();
            Ok(vec![Told::of(&error).with(copy.display(), "/data/ticks")])
        })
        .when("It was open when the machine went down, or is a copy of one that was.")
        .cure("Have it emptied, or take it as it is if nobody used it since a `sync`."),
    ]
}

fn fresh(fd: OwnedFd) -> Provoked {
    let number = fd.as_raw_fd();
    let error = spsc().from_fd(fd).unwrap_err();
    Ok(vec![Told::of(&error).with(format!("descriptor {number}"), "descriptor 7")])
}

fn descriptors_of_others() -> Vec<Row> {
    vec![
        Row::new(&["OpenError::NotARing"], "a descriptor of something else", |_| {
            fresh(File::open("/dev/null").unwrap().into())
        })
        .when("The descriptor is not that of a memfd.")
        .cure("Pass on that of an anonymous ring."),
        Row::new(&["OpenError::Unsealed"], "", |_| {
            fresh(memfd_create("other", MemfdFlags::ALLOW_SEALING).unwrap())
        })
        .when("The memfd's size is not sealed: its owner could cut the memory off.")
        .cure("Pass on the descriptor of an anonymous ring."),
        Row::new(&["OpenError::ReadOnly"], "", |_| {
            let ring = spsc().create_anonymous().unwrap();
            let path = format!("/proc/self/fd/{}", ring.as_fd().as_raw_fd());
            fresh(rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap())
        })
        .when("The descriptor, or the memfd, is for reading alone.")
        .cure("Pass on one for reading and writing."),
    ]
}

fn kernel() -> Vec<Row> {
    let io = &["OpenError::Io"];
    vec![
        Row::new(io, "too many open files", |stage| {
            let _ring = spsc().create(&stage.name).unwrap();
            let _taken = descriptors(1);
            one(spsc().open(&stage.name))
        })
        .when(
            "This process has as many descriptors as it may: here one is left, and two are taken.",
        )
        .cure("Raise the limit (`RLIMIT_NOFILE`), or close some.")
        .again("when some are closed."),
        Row::new(io, "no /proc", |stage| {
            let name = stage.name.to_string();
            let _ring = spsc().create(&stage.name).unwrap();
            mounted(move || {
                without_proc();
                one(spsc().open(&name))
            })
        })
        .when("There is no `/proc`, or that of another PID namespace.")
        .cure("Mount it.")
        .again("when it is mounted."),
        Row::new(io, "forbidden locks", |stage| {
            let _ring = spsc().create(&stage.name).unwrap();
            refuse_locks(libc::EACCES);
            one(spsc().open(&stage.name))
        })
        .when("A sandbox forbids `fcntl` with `F_OFD_SETLK`.")
        .cure("Allow it: these locks alone prove who lives."),
        Row::new(&["OpenError::TooLarge"], "address space", |stage| {
            let _ring = spsc().capacity(1 << 20).create(&stage.name).unwrap();
            limit_address_space(1 << 20);
            one(spsc().open(&stage.name))
        })
        .when("This process may map no more, or has too many mappings.")
        .cure("Raise the limit.")
        .again("when something is unmapped."),
        Row::new(io, "a boot without a number", |_| {
            let Some(disk) = Disk::new("the error of a ring on a disk without /proc") else {
                return Err("no disk".into());
            };
            let path = disk::clean::<ringpipe::Spsc>(&disk, &[]);
            mounted(move || {
                without_proc();
                let told = Told::of(&disk::open::<ringpipe::Spsc>(&path).unwrap_err());
                Ok(vec![told.with(path.display(), "/data/ticks")])
            })
        })
        .when("A ring on a disk is opened where `/proc/sys/kernel/random/boot_id` cannot be read.")
        .cure("Mount `/proc`.")
        .again("when it is mounted."),
    ]
}
