//! Of attaching ends.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::Relaxed;

use ringpipe::Mpmc;
use rustix::fs::{MemfdFlags, memfd_create};

use super::stage::{
    Stage, descriptors, forked, mounted, one, options, refuse_locks, spsc, without_proc,
};
use super::support::at;
use super::support::region::Raw;
use super::{Row, Told};

/// Has the ring's indices contradict each other.
pub fn scribble(stage: &Stage) {
    let raw = Raw::of(&stage.name.path());
    raw.words()[at::HEAD / 8].store(1 << 40, Relaxed);
    raw.words()[at::TAIL / 8].store(1 << 41, Relaxed);
}

pub(super) fn rows() -> Vec<Row> {
    let io = &["AttachError::Io"];
    vec![
        Row::new(&["AttachError::RoleTaken"], "", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            let _tx = ring.producer().unwrap();
            one(ring.producer())
        })
        .when("A live process has this end of a ring that has one of each.")
        .cure("Wait with `producer_deadline`, `consumer_deadline` and their like, or end it.")
        .again("when it has closed its end, or died."),
        Row::new(&["AttachError::TableFull"], "", |stage| {
            let ring = options::<Mpmc>().endpoints(2).create(&stage.name).unwrap();
            let _ends = (ring.sender().unwrap(), ring.receiver().unwrap());
            one(ring.sender())
        })
        .when("As many ends are attached to this MPMC ring as it has records for.")
        .cure("Close some, wait with `sender_deadline`, or create it with more records.")
        .again("when an end was closed, or its process died."),
        Row::new(&["AttachError::Corrupt"], "", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            scribble(stage);
            one(ring.producer())
        })
        .when("A process has written over the ring's positions.")
        .cure("Unlink the ring, create it anew, and look for who did it."),
        Row::new(&["AttachError::Forked"], "", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            forked(|| vec![Told::of(&ring.producer().unwrap_err())])
        })
        .when("The handle was inherited through `fork`.")
        .cure("Open the ring anew in the child."),
        Row::new(io, "too many open files", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            let _taken = descriptors(0);
            one(ring.producer())
        })
        .when("This process has as many descriptors as it may.")
        .cure("Raise the limit (`RLIMIT_NOFILE`), or close one; an end takes it for a moment.")
        .again("when one is closed."),
        Row::new(io, "no /proc", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            mounted(move || {
                without_proc();
                one(ring.producer())
            })
        })
        .when("There is no `/proc` any more, be it after a `chroot`.")
        .cure("Attach ends before, or mount it.")
        .again("when it is mounted."),
        Row::new(io, "forbidden locks", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            refuse_locks(libc::EPERM);
            one(ring.producer())
        })
        .when("A sandbox forbids `fcntl` with `F_OFD_SETLK`.")
        .cure("Attach ends before, or allow it."),
        Row::new(io, "a closed descriptor", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            let good = ring.as_fd().try_clone_to_owned().unwrap();
            // SAFETY: what becomes of the ring without its descriptor is what is shown.
            assert_eq!(unsafe { libc::close(ring.as_fd().as_raw_fd()) }, 0);
            let told = one(ring.producer());
            // SAFETY: gives the number back what it led to, before the ring closes it.
            assert!(unsafe { libc::dup2(good.as_raw_fd(), ring.as_fd().as_raw_fd()) } >= 0);
            told
        })
        .when("The ring's descriptor was closed behind its back.")
        .cure("Open the ring anew, and look for what closes descriptors that are not its own."),
        Row::new(io, "a reused descriptor", |stage| {
            let ring = spsc().create(&stage.name).unwrap();
            lose(&ring);
            one(ring.producer())
        })
        .when("The ring's descriptor was closed behind its back, and another file has its number.")
        .cure("Open the ring anew, and look for what closes descriptors that are not its own."),
    ]
}

/// Puts another file in place of what this descriptor leads to.
pub fn lose(ring: &impl AsFd) {
    let other = memfd_create("stranger", MemfdFlags::empty()).unwrap();
    // SAFETY: what becomes of the ring without its descriptor is what is shown.
    let outcome = unsafe { libc::dup2(other.as_raw_fd(), ring.as_fd().as_raw_fd()) };
    assert!(outcome >= 0, "{}", std::io::Error::last_os_error());
}
