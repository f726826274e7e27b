//! What the kernel lets a peer do to the file behind a region.
//!
//! * **Holes** can be punched into any region, a sealed one too: pages turn zero, whatever they
//!   held. That is scribbling by other means, and is borne as such. (Where memory has run out, it is
//!   `SIGBUS`: `tests/bad_input/holes.rs`.)
//! * **Cutting off** is refused by the kernel for anonymous rings, whose size is sealed. Who
//!   touches what is missing of a named or file-backed ring gets `SIGBUS`: nothing else is
//!   promised, but nothing worse happens either, and who opens it afterwards is told.
//! * **Extending** harms nobody who is attached.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use ringpipe::{HugePages, OpenError, Options, Ring};
use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;

use super::calls::{Calls, Outcomes};
use super::limits::tell;
use super::strafe::{Manner, Strafing};
use super::support::region::Raw;
use super::support::{Child, Directory, LONG, Me, Name, Rng, all_kinds, did_not_run, until};

all_kinds!(
    holes_in_a_named_ring_are_zeros_and_no_worse,
    holes_in_a_file_backed_ring_are_zeros_and_no_worse,
    holes_in_a_sealed_ring_are_zeros_and_no_worse,
    holes_in_a_ring_of_huge_pages_are_zeros_and_no_worse,
    a_named_ring_cut_off_is_a_sigbus_and_no_worse,
    a_file_backed_ring_cut_off_is_a_sigbus_and_no_worse,
    a_ring_cut_off_under_strafing_is_a_sigbus_and_no_worse,
    holes_under_strafing_are_no_worse_than_either,
    a_sleeper_on_a_ring_that_is_cut_off_is_not_kept_forever,
    a_sealed_ring_cannot_be_cut_off,
    a_ring_that_was_extended_serves_those_attached_and_is_refused_to_others,
);

fn options<K: Calls>() -> Options<K::Element, K> {
    Ring::options().capacity(512).endpoints(8)
}

fn holes_in_a_named_ring_are_zeros_and_no_worse<K: Calls>() {
    let name = Name::new();
    under_holes::<K>("named", options::<K>().create(&name).unwrap());
}

fn holes_in_a_file_backed_ring_are_zeros_and_no_worse<K: Calls>() {
    let directory = Directory::new();
    match options::<K>().create_file(directory.join("ring")) {
        Ok(ring) => under_holes::<K>("file-backed", ring),
        Err(refused) => did_not_run("holes in a file-backed ring", &refused.to_string()),
    }
}

fn holes_in_a_sealed_ring_are_zeros_and_no_worse<K: Calls>() {
    under_holes::<K>("anonymous", options::<K>().create_anonymous().unwrap());
}

fn holes_in_a_ring_of_huge_pages_are_zeros_and_no_worse<K: Calls>() {
    match options::<K>().huge_pages(HugePages::Require).create_anonymous() {
        Ok(ring) => under_holes::<K>("huge pages", ring),
        Err(refused) => did_not_run("holes in huge pages", &refused.to_string()),
    }
}

/// A descriptor of the ring's file that is not the ring's.
fn descriptor<K: Calls>(ring: &Ring<K::Element, K>) -> OwnedFd {
    ring.as_fd().try_clone_to_owned().unwrap()
}

/// Holes of all sizes, at all places, while both ends are in use.
fn under_holes<K: Calls>(what: &str, ring: Ring<K::Element, K>) {
    // With something in it, so that there are lengths to be lost.
    let mut tx = K::sender(&ring).unwrap();
    assert!((0..5).all(|_| K::send_one(&mut tx, 7)));
    drop(tx);
    let fd = descriptor::<K>(&ring);
    let page = if ring.region_len() > 1 << 20 { 2 << 20 } else { 4096 };
    let pages = (ring.region_len() / page) as u64;
    let raw = Raw::of_file(&fd);
    let good = raw.copy();
    let probe = punch(&fd, 0, page as u64);
    if probe == Err(Errno::OPNOTSUPP) {
        return did_not_run(&format!("holes in a {what} ring"), "this file system knows no holes");
    }
    probe.unwrap();
    assert_eq!(raw.words()[0].load(Relaxed), 0, "a hole is zeros");
    raw.restore(&good);
    let (holes, seen) = thread::scope(|scope| {
        let ring = &ring;
        let users = [true, false].map(|sends| {
            scope.spawn(move || {
                let mut seen = Outcomes::default();
                for round in 0..50 {
                    if sends && let Some(mut tx) = seen.attach(|| K::sender(ring)) {
                        (0..8).for_each(|_| K::send(&mut tx, round, false, &mut seen));
                        K::send(&mut tx, round, true, &mut seen);
                    }
                    if !sends && let Some(mut rx) = seen.attach(|| K::receiver(ring)) {
                        (0..8).for_each(|_| K::receive(&mut rx, None, false, &mut seen));
                        K::receive(&mut rx, None, true, &mut seen);
                    }
                }
                seen
            })
        });
        let mut random = Rng::new(0x5eed_000a);
        let mut holes = 0;
        while users.iter().any(|user| !user.is_finished()) || holes < 100 {
            holes += 1;
            let first = random.within(0..pages);
            let len = 1 + random.within(0..pages - first);
            punch(&fd, first * page as u64, len * page as u64).unwrap();
            if holes % 8 == 0 {
                raw.restore(&good);
            }
        }
        let mut all = Outcomes::default();
        for user in users {
            all.add(user.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        (holes, all)
    });
    println!("{}, {what}: {holes} holes, {} calls survived: {seen:?}", K::NAME, seen.total());
    assert!(seen.of("ok") > 0, "{seen:?}");
    // Put right, it is a ring as before.
    raw.restore(&good);
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    assert!(K::send_one(&mut tx, 7));
    assert!((0..6).all(|_| K::recv_one(&mut rx, 7)));
}

fn punch(fd: &OwnedFd, from: u64, len: u64) -> Result<(), Errno> {
    fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, len)
}

fn opened<K: Calls>(place: &str) -> Result<Ring<K::Element, K>, OpenError> {
    match place.contains('/') {
        true => options::<K>().open_file(place),
        false => options::<K>().open(place),
    }
}

/// Role: an attached end that calls everything, again and again, until it is over.
pub fn looks_at_what_was_cut_off<K: Calls>(mut me: Me) {
    let ring = opened::<K>(&me.ring).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    me.say("attached");
    loop {
        let mut seen = Outcomes::default();
        K::send(&mut tx, 1, false, &mut seen);
        K::receive(&mut rx, None, false, &mut seen);
    }
}

/// Role: sleeps in the ring.
pub fn sleeps_on_what_is_cut_off<K: Calls>(mut me: Me) {
    let ring = opened::<K>(&me.ring).unwrap();
    let mut rx = K::receiver(&ring).unwrap();
    me.say("attached");
    let _ = me.hear();
    let received = K::wait_to_receive(&mut rx, None, LONG);
    me.say(received);
}

/// How many bytes are left of a region that is cut off: nothing; the header and all shared words
/// but not the last slots.
const CUTS: [u64; 2] = [0, 4096];

fn a_named_ring_cut_off_is_a_sigbus_and_no_worse<K: Calls>() {
    for keep in CUTS {
        let name = Name::new();
        let ring = options::<K>().create(&name).unwrap();
        cut_off::<K>(&name, descriptor::<K>(&ring), keep);
        let refused = options::<K>().open(&name).unwrap_err();
        assert_is_damage(&refused, keep, "truncated");
    }
}

fn a_file_backed_ring_cut_off_is_a_sigbus_and_no_worse<K: Calls>() {
    let directory = Directory::new();
    for keep in CUTS {
        let path = directory.join(format!("ring-{keep}"));
        let ring = match options::<K>().create_file(&path) {
            Ok(ring) => ring,
            Err(refused) => {
                return did_not_run("a file-backed ring cut off", &refused.to_string());
            }
        };
        cut_off::<K>(path.to_str().unwrap(), descriptor::<K>(&ring), keep);
        let refused = options::<K>().open_file(&path).unwrap_err();
        assert_is_damage(&refused, keep, "truncated");
    }
}

/// A process that is using the ring when it is cut off dies of `SIGBUS`, and of nothing else.
fn cut_off<K: Calls>(place: &str, file: OwnedFd, keep: u64) {
    let mut child = Child::start::<K>("looks_at_what_was_cut_off", place);
    child.must_hear("attached");
    ftruncate(&file, keep).unwrap();
    let status = child.wait();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "cut off after {keep} bytes: {status}");
}

/// As above, while others strafe it, who die of it, too.
fn a_ring_cut_off_under_strafing_is_a_sigbus_and_no_worse<K: Calls>() {
    for keep in CUTS {
        for manners in [&[Manner::Words, Manner::Swap][..], &[Manner::Narrow]] {
            let name = Name::new();
            let ring = options::<K>().create(&name).unwrap();
            let mut child = Child::start::<K>("looks_at_what_was_cut_off", &name);
            child.must_hear("attached");
            let strafing = Strafing::start(name.path().to_str().unwrap(), manners);
            until("some strafing", || (strafing.written().0 > 100_000).then_some(()));
            ftruncate(descriptor::<K>(&ring), keep).unwrap();
            // One whose ring is corrupt may touch no slot, and lives on where they alone are
            // missing.
            if keep > 0 {
                child.signal(rustix::process::Signal::KILL);
            }
            let died_of = child.wait().signal();
            let killed = keep > 0 && died_of == Some(libc::SIGKILL);
            assert!(killed || died_of == Some(libc::SIGBUS), "cut off after {keep}: {died_of:?}");
            let (stores, bytes) = strafing.stop_the_dying();
            tell(&format!("{}, strafed and cut off", K::NAME), stores, bytes, &Default::default());
            // Whatever is left of the header: it is not opened.
            options::<K>().open(&name).expect_err("it was cut off");
        }
    }
}

fn holes_under_strafing_are_no_worse_than_either<K: Calls>() {
    let name = Name::new();
    let ring = options::<K>().create(&name).unwrap();
    let manners = [Manner::Words, Manner::Narrow];
    let strafing = Strafing::start(name.path().to_str().unwrap(), &manners);
    let fd = descriptor::<K>(&ring);
    let pages = (ring.region_len() / 4096) as u64;
    let mut seen = Outcomes::default();
    let mut random = Rng::new(0x5eed_0013);
    for round in 0..60 {
        let first = random.within(0..pages);
        let len = 1 + random.within(0..pages - first);
        punch(&fd, 4096 * first, 4096 * len).unwrap();
        if let Some(mut tx) = seen.attach(|| K::sender(&ring)) {
            K::send(&mut tx, round, round % 4 == 0, &mut seen);
        }
        if let Some(mut rx) = seen.attach(|| K::receiver(&ring)) {
            K::receive(&mut rx, None, round % 4 == 1, &mut seen);
        }
    }
    let (stores, bytes) = strafing.stop();
    println!("{}, holes and {stores} stores: {} calls survived: {seen:?}", K::NAME, seen.total());
    tell(&format!("{}, strafed and punched", K::NAME), stores, bytes, &seen.clock);
}

/// Told as what it is, or, without a header, as no ring.
fn assert_is_damage(refused: &OpenError, keep: u64, how: &str) {
    match refused {
        OpenError::NotARing { .. } if keep == 0 => {}
        OpenError::Damaged { what, .. } if keep > 0 => assert!(what.contains(how), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// Its word is gone, so no wake reaches it. It does not sleep on beyond its slice.
fn a_sleeper_on_a_ring_that_is_cut_off_is_not_kept_forever<K: Calls>() {
    let name = Name::new();
    let ring = options::<K>().create(&name).unwrap();
    let mut child = Child::start::<K>("sleeps_on_what_is_cut_off", &name);
    child.must_hear("attached");
    child.say("sleep");
    child.until_asleep();
    ftruncate(descriptor::<K>(&ring), 0).unwrap();
    let status = child.wait();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

fn a_sealed_ring_cannot_be_cut_off<K: Calls>() {
    let ring = options::<K>().create_anonymous().unwrap();
    let (fd, len) = (descriptor::<K>(&ring), ring.region_len() as u64);
    for len in [0, 4096, len - 1, len + 1, 2 * len] {
        assert_eq!(ftruncate(&fd, len), Err(Errno::PERM));
    }
    assert_eq!(rustix::fs::fstat(&fd).unwrap().st_size as u64, len);
}

fn a_ring_that_was_extended_serves_those_attached_and_is_refused_to_others<K: Calls>() {
    let name = Name::new();
    let ring = options::<K>().create(&name).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    ftruncate(descriptor::<K>(&ring), 2 * ring.region_len() as u64).unwrap();
    for value in 0..2 * ring.capacity() as u64 {
        assert!(K::send_one(&mut tx, value));
        assert!(K::recv_one(&mut rx, value));
    }
    assert_is_damage(&options::<K>().open(&name).unwrap_err(), 1, "extended");
}
