//! A ring's file on a FUSE file system is refused (C15): its mappings are not one memory for all
//! who map them, and a user's program stands behind every page.
//!
//! The file system is a real one: the kernel's FUSE, mounted in a mount namespace of a thread's
//! own, and a server in this process that answers the few questions which opening and creating a
//! file raise. Network file systems are told by the same look at another line of the same table
//! (`UNFIT` in `src/shm/file_system.rs`); none is mounted here, so that their numbers are as the
//! kernel's headers give them is not tested.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringpipe::{CreateError, OpenError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::support::did_not_run;
use super::support::sandbox::{Directory, is_root, with_own_mounts};
use super::{mpmc, spsc};

/// Operations of the protocol (`include/uapi/linux/fuse.h`).
mod operation {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const UNLINK: u32 = 10;
    pub const OPEN: u32 = 14;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const CREATE: u32 = 35;
    pub const BATCH_FORGET: u32 = 42;
}

const ROOT: u64 = 1;
const RING: u64 = 2;
/// What a creator makes before it asks where it is.
const NEW: u64 = 3;
const DIRECTORY_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_600;

/// A structure of the protocol, field by field.
#[derive(Default)]
struct Reply(Vec<u8>);

impl Reply {
    fn wide(mut self, fields: &[u64]) -> Self {
        self.0.extend(fields.iter().flat_map(|field| field.to_ne_bytes()));
        self
    }

    fn narrow(mut self, fields: &[u32]) -> Self {
        self.0.extend(fields.iter().flat_map(|field| field.to_ne_bytes()));
        self
    }

    fn attributes(self, node: u64) -> Self {
        let mode = if node == ROOT { DIRECTORY_MODE } else { FILE_MODE };
        // ino, size, blocks, three times; their nanoseconds, mode, nlink, uid, gid, rdev, blksize,
        // flags
        self.wide(&[node, 4096, 8, 0, 0, 0]).narrow(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])
    }

    fn entry(self, node: u64) -> Self {
        // nodeid, generation, how long both are valid
        self.wide(&[node, 0, 0, 0]).narrow(&[0, 0]).attributes(node)
    }

    fn opened(self) -> Self {
        self.wide(&[0]).narrow(&[0, 0]) // handle, flags
    }
}

/// Answers until the file system is unmounted. `files` counts those that were opened or made.
fn serve(mut device: File, files: &AtomicU32) {
    let mut request = vec![0; 1 << 17];
    while let Ok(len) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four"));
        let wide = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight"));
        // length, operation, number of the request, node; then uid, gid, pid, and the arguments
        let (operation, number, node) = (word(4), wide(8), wide(16));
        let answer = match operation {
            operation::FORGET | operation::BATCH_FORGET => continue, // no answer wanted
            // Version 7.22, and the answer that belongs to it.
            operation::INIT => Ok(Reply::default().narrow(&[7, 22, 0, 0, 0, 1 << 16])),
            operation::LOOKUP if &request[40..len] == b"ring\0" => Ok(Reply::default().entry(RING)),
            operation::LOOKUP => Err(libc::ENOENT),
            operation::GETATTR => Ok(Reply::default().wide(&[0]).narrow(&[0, 0]).attributes(node)),
            operation::OPEN => {
                files.fetch_add(1, Ordering::Relaxed);
                Ok(Reply::default().opened())
            }
            operation::CREATE => {
                files.fetch_add(1, Ordering::Relaxed);
                Ok(Reply::default().entry(NEW).opened())
            }
            // blocks and files; bsize, namelen, frsize, and what is spare
            operation::STATFS => {
                let sizes = [4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0];
                Ok(Reply::default().wide(&[1000, 1000, 1000, 9, 9]).narrow(&sizes))
            }
            operation::UNLINK | operation::RELEASE | operation::FLUSH => Ok(Reply::default()),
            _ => Err(libc::ENOSYS),
        };
        let (error, body) = match answer {
            Ok(Reply(body)) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let len = 16 + body.len() as u32;
        let head = Reply::default().narrow(&[len, error as u32]).wide(&[number]).0;
        // Interrupted requests need no answer any more.
        let _ = device.write(&[head, body].concat());
    }
}

#[test]
fn a_file_on_fuse_is_refused() {
    if !is_root("a FUSE file system") {
        return;
    }
    let device = match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(device) => device,
        Err(why) => return did_not_run("a FUSE file system", &format!("/dev/fuse: {why}")),
    };
    let directory = Directory::new();
    let mounted_at = directory.0.clone();
    with_own_mounts(move || {
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).expect("no NUL");
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("ringpipe-test", &mounted_at, "fuse", flags, &*options).expect("a FUSE mount");
        let files = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&files);
        let server = std::thread::spawn(move || serve(device, &counted));

        let there = mounted_at.join("ring");
        let refused = [
            spsc::<u64>().open_file(&there).unwrap_err(),
            mpmc::<u64>().open_file(&there).unwrap_err(),
        ];
        let opened = files.load(Ordering::Relaxed);
        let not_made = [
            spsc::<u64>().create_file(mounted_at.join("new")).unwrap_err(),
            mpmc::<u64>().create_file(mounted_at.join("new")).unwrap_err(),
        ];
        let made = files.load(Ordering::Relaxed) - opened;
        unmount(&mounted_at, UnmountFlags::DETACH).expect("unmounted");
        server.join().expect("a server that served");

        for error in refused {
            assert!(matches!(error, OpenError::FileSystem { kind: Some("FUSE"), .. }), "{error:?}");
            assert!(error.to_string().contains("FUSE"), "{error}");
        }
        for error in not_made {
            assert!(
                matches!(error, CreateError::FileSystem { kind: Some("FUSE"), .. }),
                "{error:?}"
            );
        }
        // It was this file system that was looked at, not something before it.
        assert!(opened >= 2 && made >= 2, "{opened} opened, {made} made");
    });
}
