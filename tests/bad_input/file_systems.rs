//! Rings live on file systems that are known to be fit, and are refused on others (C15).

use std::ffi::CStr;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use ringpipe::{CreateError, OpenError, Options, Spsc};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::holes::copy_sparsely;
use super::spsc;
use super::support::did_not_run;
use super::support::sandbox::{Directory, is_root, with_own_mounts};

fn options() -> Options<u64, Spsc> {
    spsc()
}

/// Mounts one, and tries to create a ring there and, if there is a file, to open it.
fn on(kind: &'static str, options: &'static CStr, test: fn(&Path)) {
    if !is_root(kind) {
        return;
    }
    with_own_mounts(move || {
        // Message queues are the same in all mounts of a namespace.
        // SAFETY: no descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWIPC) }.unwrap();
        let directory = Directory::new();
        match mount("none", &directory.0, kind, MountFlags::empty(), options) {
            Ok(()) => test(&directory.0),
            Err(e) => did_not_run(kind, &e.to_string()),
        }
        let _ = unmount(&directory.0, UnmountFlags::DETACH);
    });
}

#[test]
fn a_ring_lives_on_a_ramfs_which_cannot_reserve() {
    on("ramfs", c"", |at| {
        let path = at.join("ring");
        let ring = options().capacity(1 << 16).create_file(&path).unwrap();
        assert_eq!(rustix::fs::stat(&path).unwrap().st_blocks as usize * 512, ring.region_len());
        ring.producer().unwrap().try_send(1).unwrap();
        assert_eq!(options().open_file(&path).unwrap().consumer().unwrap().try_recv(), Ok(1));
    });
}

/// A file system of the kernel's that takes files, and of which nothing is known here.
const MQUEUE: u32 = 0x1980_0202;

#[test]
fn a_file_system_of_which_nothing_is_known_is_refused_with_its_number() {
    on("mqueue", c"", |at| {
        let path = at.join("ring");
        let error = options().create_file(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("0x19800202") && text.contains("trust_unknown"), "{text}");
        match error {
            CreateError::FileSystem { path, kind: None, magic: MQUEUE } => assert_eq!(path, at),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0, "nothing is left behind");
        std::fs::write(&path, "").unwrap();
        match options().open_file(&path).unwrap_err() {
            OpenError::FileSystem { path: found, kind: None, magic: MQUEUE } => {
                assert_eq!(found, path);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn who_trusts_unknown_file_systems_is_not_refused_for_that() {
    on("mqueue", c"", |at| {
        let path = at.join("ring");
        let options = options().trust_unknown_file_systems();
        // It is not fit indeed: its files cannot be written.
        let error = options.create_file(&path).unwrap_err();
        assert!(matches!(error, CreateError::Io { .. }), "{error:?}");
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0, "nothing is left behind");
        std::fs::write(&path, "").unwrap();
        let error = options.open_file(&path).unwrap_err();
        assert!(!matches!(error, OpenError::FileSystem { .. }), "{error:?}");
    });
}

/// Trust is in a path of one's own choice.
#[test]
fn a_named_ring_is_refused_where_dev_shm_is_of_an_unknown_kind() {
    on("mqueue", c"", |_| {
        mount("none", "/dev/shm", "mqueue", MountFlags::empty(), c"").unwrap();
        std::fs::write("/dev/shm/there", "").unwrap();
        let options = options().trust_unknown_file_systems();
        let error = options.create("new").unwrap_err();
        assert!(matches!(error, CreateError::FileSystem { magic: MQUEUE, .. }), "{error:?}");
        let error = options.open("there").unwrap_err();
        assert!(matches!(error, OpenError::FileSystem { magic: MQUEUE, .. }), "{error:?}");
    });
}

#[test]
fn what_is_known_to_be_unfit_is_refused_whomever_one_trusts() {
    on("tmpfs", c"", |at| {
        let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|leaf| {
            let path = at.join(leaf);
            std::fs::create_dir(&path).unwrap();
            path
        });
        options().create_file(lower.join("ring")).unwrap();
        let paths = [("lowerdir", &lower), ("upperdir", &upper), ("workdir", &work)];
        let paths = paths.map(|(name, path)| format!("{name}={}", path.display())).join(",");
        let paths = std::ffi::CString::new(paths).unwrap();
        if let Err(e) = mount("none", &merged, "overlay", MountFlags::empty(), &*paths) {
            return did_not_run("overlay", &e.to_string());
        }
        for options in [options(), options().trust_unknown_file_systems()] {
            let error = options.create_file(merged.join("new")).unwrap_err();
            let overlay = Some("overlayfs");
            assert!(matches!(error, CreateError::FileSystem { kind, .. } if kind == overlay));
            let error = options.open_file(merged.join("ring")).unwrap_err();
            assert!(matches!(error, OpenError::FileSystem { kind, .. } if kind == overlay));
            let error = options.open_file("/proc/self/comm").unwrap_err();
            assert!(matches!(error, OpenError::FileSystem { kind: Some("proc"), .. }), "{error:?}");
        }
        unmount(&merged, UnmountFlags::DETACH).unwrap();
    });
}

/// Ext2 and ext3 cannot reserve; ext4 can.
#[test]
fn a_ring_lives_on_the_disks_there_are() {
    for kind in ["ext2", "ext3", "ext4"] {
        on(
            "tmpfs",
            c"size=40m",
            match kind {
                "ext2" => |at| on_a_disk("ext2", at),
                "ext3" => |at| on_a_disk("ext3", at),
                _ => |at| on_a_disk("ext4", at),
            },
        );
    }
}

fn on_a_disk(kind: &str, at: &Path) {
    let (disk, point) = (at.join("disk"), at.join("point"));
    std::fs::File::create_new(&disk).unwrap().set_len(32 << 20).unwrap();
    std::fs::create_dir(&point).unwrap();
    let [disk, point] = [&disk, &point].map(|path| path.to_str().unwrap());
    for (program, arguments) in [
        (format!("mkfs.{kind}"), vec!["-q", disk]),
        ("mount".into(), vec!["-o", "loop", disk, point]),
    ] {
        match Command::new(&program).args(arguments).output() {
            Ok(output) if output.status.success() => {}
            other => return did_not_run(kind, &format!("{program}: {other:?}")),
        }
    }
    let path = Path::new(point).join("ring");
    let ring = options().capacity(1 << 17).create_file(&path).unwrap();
    let taken = rustix::fs::stat(&path).unwrap().st_blocks as u64 * 512;
    assert!(taken >= ring.region_len() as u64, "{kind}");
    ring.producer().unwrap().try_send(1).unwrap();
    drop(ring);
    assert_eq!(options().open_file(&path).unwrap().consumer().unwrap().try_recv(), Ok(1), "{kind}");
    let refused = options().capacity(1 << 22).create_file(Path::new(point).join("large"));
    assert!(matches!(refused, Err(CreateError::NoSpace { .. })), "{kind}: {refused:?}");
    drop(refused);
    // A sparse copy, when the disk is all but full: refused.
    let bytes = std::fs::read(&path).unwrap();
    let copy = std::fs::File::create_new(Path::new(point).join("copy")).unwrap();
    copy_sparsely(&bytes, &copy);
    drop(copy);
    let filler = std::fs::File::create_new(Path::new(point).join("filler")).unwrap();
    let zeros = vec![0; 64 << 10];
    while (&filler).write_all(&zeros).is_ok() {}
    let opened = options().open_file(Path::new(point).join("copy"));
    assert!(matches!(opened, Err(OpenError::NoSpace { .. })), "{kind}: {opened:?}");
    drop((opened, filler));
    std::fs::remove_file(Path::new(point).join("filler")).unwrap();
    assert!(options().open_file(Path::new(point).join("copy")).is_ok(), "{kind}");
    unmount(point, UnmountFlags::DETACH).unwrap();
}
