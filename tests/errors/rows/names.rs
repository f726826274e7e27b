//! Of unlinking, listing and closing.

use std::fs;

use ringpipe::{CheckpointError, ListError, Ring, Spsc, list, remove_orphans, unlink};
use rustix::mount::MountFlags;

use super::stage::{Stage, as_root, descriptors, forked, hold, mounted, one, refuse_locks, spsc};
use super::support::disk::{self, Disk};
use super::support::lock::NAME;
use super::support::sandbox::{become_nobody, mount_tmpfs};
use super::{Provoked, Row, Told};

pub(super) fn rows() -> Vec<Row> {
    [unlinking(), listing(), closing()].into_iter().flatten().collect()
}

fn ring(stage: &Stage) -> Ring<u64, Spsc> {
    spsc().create(&stage.name).unwrap()
}

fn unlinking() -> Vec<Row> {
    vec![
        Row::new(&["UnlinkError::Name"], "", |_| one(unlink("run/ticks")))
            .when("The name cannot be one; the reasons are those of `CreateError::Name`.")
            .cure("Give another; a ring in a file is unlinked by `Ring::unlink`, or removed.")
            .with("NameError::Slash"),
        Row::new(&["UnlinkError::NotFound"], "", |stage| one(unlink(&stage.name)))
            .when("There is nothing of that name, or it was unlinked before.")
            .cure("Nothing: it is gone."),
        Row::new(&["UnlinkError::NoDirectory"], "", |_| {
            mounted(|| {
                mount_tmpfs("/dev", c"size=64k");
                one(unlink("ticks"))
            })
        })
        .when("The directory of the name is not there.")
        .cure("Nothing, unless it is to be mounted."),
        Row::new(&["UnlinkError::Replaced"], "", |stage| {
            let old = ring(stage);
            unlink(&stage.name).unwrap();
            let _new = ring(stage);
            one(old.unlink())
        })
        .when("The ring was unlinked before, and another has the name.")
        .cure("Nothing: it is gone. The other is left alone."),
        Row::new(&["UnlinkError::Anonymous"], "", |_| {
            one(spsc().create_anonymous().unwrap().unlink())
        })
        .when("The ring has no name.")
        .cure("Nothing: it goes with its last user."),
        Row::new(&["UnlinkError::Busy"], "", |stage| {
            let ring = ring(stage);
            let _stopped = hold(&stage.name.path(), NAME);
            one(ring.unlink())
        })
        .when("Somebody else has been about to remove it for a second.")
        .cure("Look for a stopped process.")
        .again("when that goes on, or ends."),
        Row::new(&["UnlinkError::Permission"], "", |stage| {
            as_root(|| {
                drop(ring(stage));
                become_nobody();
                one(unlink(&stage.name))
            })
        })
        .when(
            "This user may not remove names there; from `/dev/shm`, which has the sticky bit, only \
             those of its own files.",
        )
        .cure("Have the ring's owner do it."),
        Row::new(&["UnlinkError::NotARing"], "", |stage| {
            fs::write(stage.name.path(), "no ring at all").unwrap();
            one(ringpipe::remove_orphan(&stage.name))
        })
        .when("`remove_orphan` was asked to remove what is no ring, or a damaged one.")
        .cure("Remove it by `unlink`, if that is right."),
        Row::new(&["UnlinkError::ReadOnlyFileSystem"], "", |stage| {
            let path = stage.directory();
            mounted(move || {
                let at = path.to_str().unwrap();
                mount_tmpfs(at, c"size=1m");
                let ring = path.join("ticks");
                fs::write(&ring, "").unwrap();
                rustix::mount::mount_bind(at, "/dev/shm").unwrap();
                let flags = MountFlags::RDONLY | MountFlags::BIND;
                rustix::mount::mount_remount("/dev/shm", flags, c"").unwrap();
                one(unlink("ticks"))
            })
        })
        .when("The file system is mounted read-only.")
        .cure("Mount it for writing."),
        Row::new(&["UnlinkError::Io"], "by its name", |stage| {
            let _ring = ring(stage);
            let _taken = descriptors(0);
            let told = one(unlink(&stage.name));
            assert!(stage.name.path().exists(), "unlinked without the lock");
            told
        })
        .when("A ring is not unlinked without the lock that keeps others from doing it.")
        .cure("Raise the limit (`RLIMIT_NOFILE`), or close some.")
        .again("when some are closed."),
        Row::new(&["UnlinkError::Io"], "by its handle", |stage| {
            let ring = ring(stage);
            let _taken = descriptors(0);
            one(ring.unlink())
        })
        .when("The kernel refused a step; the reasons are those of `OpenError::Io`.")
        .cure("As there.")
        .again("when the reason has gone."),
    ]
}

/// With no other ring than this, and so many descriptors.
fn alone<R: std::fmt::Debug + 'static>(free: usize, ask: fn() -> Result<R, ListError>) -> Provoked {
    mounted(move || {
        mount_tmpfs("/dev/shm", c"size=1m");
        drop(spsc().create("ticks").unwrap());
        let _taken = descriptors(free);
        one(ask())
    })
}

fn listing() -> Vec<Row> {
    vec![
        Row::new(&["ListError::Directory"], "", |_| {
            mounted(|| {
                mount_tmpfs("/dev", c"size=64k");
                one(list())
            })
        })
        .when("`/dev/shm` is not there, or may not be read.")
        .cure("Mount a tmpfs there."),
        Row::new(&["ListError::Io"], "too many open files", |_| alone(1, list))
            .when("The directory can be read, but no ring in it be opened.")
            .cure("Raise the limit (`RLIMIT_NOFILE`), or close some.")
            .again("when some are closed."),
        Row::new(&["ListError::Io"], "forbidden locks", |_| {
            alone(9, || {
                refuse_locks(libc::EPERM);
                remove_orphans()
            })
        })
        .when("A sandbox forbids `fcntl` with `F_OFD_SETLK`.")
        .cure("Allow it: these locks alone prove who lives."),
    ]
}

fn on_disk(act: impl FnOnce(Ring<u64, Spsc>, &std::path::Path) -> CheckpointError) -> Provoked {
    let Some(disk) = Disk::new("the errors of a ring on a disk") else {
        return Err("no disk".into());
    };
    let path = disk::clean::<Spsc>(&disk, &[]);
    let error = act(disk::open::<Spsc>(&path).unwrap(), &path);
    Ok(vec![Told::of(&error).with(path.display(), "/data/ticks")])
}

fn closing() -> Vec<Row> {
    vec![
        Row::new(&["CheckpointError::InUse"], "", |_| {
            on_disk(|ring, _| {
                let _end = ring.producer().unwrap();
                ring.checkpoint().unwrap_err()
            })
        })
        .when("Another handle, end or process has the ring open.")
        .cure("Close them first; the last one to close it closes it well.")
        .again("with a new handle, when they are closed."),
        Row::new(&["CheckpointError::Forked"], "", |_| {
            let mut told = Vec::new();
            on_disk(|ring, path| {
                let ask = || vec![Told::of(&ring.clone().checkpoint().unwrap_err())];
                told = forked(ask).unwrap();
                let shown = path.display().to_string();
                told.iter_mut().for_each(|t| t.text = t.text.replace(&shown, "/data/ticks"));
                let _end = ring.producer().unwrap();
                ring.checkpoint().unwrap_err()
            })?;
            Ok(told)
        })
        .when("The handle was inherited through `fork`.")
        .cure("Have the parent close it."),
        Row::new(&["CheckpointError::Io"], "", |_| {
            on_disk(|ring, path| {
                disk::set_word(path, 0, disk::FAILED);
                ring.checkpoint().unwrap_err()
            })
        })
        .when("A write to the disk has failed, now or before.")
        .cure("Take what is in the ring elsewhere, as long as the machine is up."),
    ]
}
