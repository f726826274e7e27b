//! A `/dev/shm` of this process's own, and of its victims': what they do there concerns nobody
//! else.
//!
//! A mount namespace with a small tmpfs in the place of the shared one. It goes with its last
//! process, so nothing can be left behind either. That takes `CAP_SYS_ADMIN`; without it,
//! everything but the removal of orphans works on the shared one just as well.
//!
//! Or a directory on a disk in that place: rings there are what file-backed rings are, with a
//! state line that says whether they were closed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Enters it. Before there are threads: a namespace is a thread's.
pub fn enter(on_disk: Option<&Path>) -> io::Result<()> {
    // SAFETY: changes nothing but this thread's mount namespace.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // Not to be seen from outside.
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE, c"")?;
    match on_disk {
        Some(directory) => {
            let directory = CString::new(directory.as_os_str().as_bytes())?;
            mount(&directory, c"/dev/shm", libc::MS_BIND, c"")
        }
        None => {
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            mount(c"tmpfs", c"/dev/shm", flags, c"size=64m,mode=1777")
        }
    }
}

fn mount(what: &CStr, at: &CStr, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
    let (kind, data) = (what.as_ptr(), data.as_ptr().cast());
    // SAFETY: all are C strings that outlive the call.
    done(unsafe { libc::mount(what.as_ptr(), at.as_ptr(), kind, flags, data) })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
