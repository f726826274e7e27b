//! C12: what the file of a ring says of those who had it open, whatever became of them. Each way to
//! come, to leave and to die, and what the next one finds.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use ringpipe::{CheckpointError, OpenError, Ring, Spsc, Unclean};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::disk::{
    self, CLEAN, Disk, FAILED, MARKING, OPEN, UNKNOWN, after_a_reboot, beside, clean, holds,
    is_refused, open, set_word, state,
};
use support::forked::in_a_fork;
use support::lock::{BIRTH, STATE, lock};
use support::{
    Child, Flavour, Me, Name, Rng, both_kinds, did_not_run, new_ring, options, roles, tests,
};

roles!(forks, closes_in_a_cage);

both_kinds!(
    c12_who_is_killed_leaves_it_open_and_the_next_one_closes_it,
    c12_the_last_of_several_processes_makes_it_clean,
    c12_of_two_that_leave_at_once_one_is_the_last,
    c12_every_state_is_opened_or_refused_as_it_says,
    c12_a_copy_of_a_ring_in_use_is_refused_and_one_of_a_clean_ring_is_not,
    c12_whatever_stands_in_the_state_line_is_a_refusal_or_a_ring,
    c12_checkpoint_is_refused_while_anybody_else_has_it_open,
    c12_who_opens_waits_for_one_who_closes,
    c12_a_forked_child_has_no_part_in_closing,
    c12_closing_needs_no_descriptor_and_no_name,
    c12_a_ring_in_use_is_open_whatever_its_state_says,
    c12_a_scribbled_state_does_not_become_clean,
    c12_what_is_left_of_an_opener_that_failed_does_not_vouch_for_a_ring,
    c12_rings_in_memory_have_no_state,
);

tests!(c12_unlinked_rings_are_not_written_back);

fn c12_who_is_killed_leaves_it_open_and_the_next_one_closes_it<K: Flavour>() {
    let Some(disk) = Disk::new("killed users of a file") else { return };
    let path = disk.join("ring");
    let mut creator = Child::puppet::<K>(path.to_str().unwrap());
    creator.must("create 8", "Ok");
    creator.must("sender", "Ok");
    creator.must("send_each 0 3", "Ok(())");
    creator.kill();
    assert_eq!(state(&path), OPEN);
    let mut next = Child::puppet::<K>(path.to_str().unwrap());
    next.must("open", "Ok");
    next.must("receiver", "Ok");
    next.must("try_recv", "Ok(0)");
    next.kill();
    assert_eq!(state(&path), OPEN);
    // After a reboot, that is that.
    let copy = beside(&path);
    after_a_reboot(&copy, &fs::read(&path).unwrap());
    is_refused::<K>(&copy, "when the machine last went down");
    // In the same boot, whoever closes it makes up for them.
    drop(open::<K>(&path).unwrap());
    assert_eq!(state(&path), CLEAN);
    after_a_reboot(&copy, &fs::read(&path).unwrap());
    holds::<K>(&copy, &[1, 2]);
    assert_eq!(state(&copy), CLEAN);
}

fn c12_the_last_of_several_processes_makes_it_clean<K: Flavour>() {
    let Some(disk) = Disk::new("several users of a file") else { return };
    let path = clean::<K>(&disk, &[1]);
    let start = || {
        let mut child = Child::puppet::<K>(path.to_str().unwrap());
        child.must("open", "Ok");
        child
    };
    let (mut first, mut second, third) = (start(), start(), start());
    first.must("sender", "Ok");
    first.must("close", "Ok");
    assert_eq!(state(&path), OPEN);
    second.must("receiver", "Ok");
    second.must("try_recv", "Ok(1)");
    third.kill();
    assert_eq!(state(&path), OPEN);
    second.must("close", "Ok");
    assert_eq!(state(&path), CLEAN);
    // They live on, and can have it again.
    first.must("open", "Ok");
    assert_eq!(state(&path), OPEN);
    first.must("checkpoint", "Ok");
    assert_eq!(state(&path), CLEAN);
    holds::<K>(&path, &[]);
}

fn c12_of_two_that_leave_at_once_one_is_the_last<K: Flavour>() {
    let Some(disk) = Disk::new("leaving at once") else { return };
    let path = clean::<K>(&disk, &[]);
    let at_once = Barrier::new(3);
    for round in 0..200 {
        let rings = [open::<K>(&path), open::<K>(&path), open::<K>(&path)].map(Result::unwrap);
        assert_eq!(state(&path), OPEN);
        std::thread::scope(|scope| {
            for ring in rings {
                let at_once = &at_once;
                scope.spawn(move || {
                    at_once.wait();
                    drop(ring);
                });
            }
        });
        assert_eq!(state(&path), CLEAN, "round {round}");
    }
}

fn c12_every_state_is_opened_or_refused_as_it_says<K: Flavour>() {
    let Some(disk) = Disk::new("every state of a file") else { return };
    let path = clean::<K>(&disk, &[5]);
    let bytes = fs::read(&path).unwrap();
    let same: Vec<u64> = (1..6).map(|word| disk::word(&path, word)).collect();
    // The boot, of two words, the device, the inode and its age: one after the other is another's.
    for other in [0, 1, 2, 3, 4, 5] {
        for found in [UNKNOWN, MARKING, OPEN, CLEAN, FAILED, 5, u64::MAX] {
            fs::write(&path, &bytes).unwrap();
            for (word, &value) in (1..).zip(&same) {
                set_word(&path, word, value ^ u64::from(word == other));
            }
            set_word(&path, 0, found);
            let why = match (found, other) {
                (CLEAN, _) | (OPEN | MARKING, 0) => {
                    let ring = open::<K>(&path).unwrap();
                    assert_eq!(state(&path), OPEN, "{found} {other}");
                    let four: Vec<u64> = (1..6).map(|word| disk::word(&path, word)).collect();
                    assert_eq!(four, same, "{found} {other}");
                    assert_eq!(ring.len(), 1);
                    drop(ring);
                    assert_eq!(state(&path), CLEAN);
                    continue;
                }
                (FAILED, 0) => "a write to its disk has failed",
                (OPEN | MARKING | FAILED, 1 | 2) => "when the machine last went down",
                (OPEN | MARKING | FAILED, _) => "a copy of a ring that was in use",
                _ => "it does not say that it was ever closed",
            };
            is_refused::<K>(&path, why);
            let as_found = options::<K>().unclean(Unclean::AsFound).open_file(&path).unwrap();
            assert_eq!((state(&path), as_found.len()), (OPEN, 1));
            drop(as_found);
            holds::<K>(&path, &[5]);
            fs::write(&path, &bytes).unwrap();
            set_word(&path, 0, UNKNOWN);
            let empty = options::<K>().unclean(Unclean::Empty).open_file(&path).unwrap();
            assert_eq!((state(&path), empty.len(), empty.stats().sent), (OPEN, 0, 0));
            // What is chosen for unclean rings is without effect on others.
            K::sender(&empty).unwrap().try_send(6).unwrap();
            drop(options::<K>().unclean(Unclean::Empty).open_file(&path).unwrap());
            drop(empty);
            drop(options::<K>().unclean(Unclean::Empty).open_file(&path).unwrap());
            holds::<K>(&path, &[6]);
        }
    }
}

fn c12_a_copy_of_a_ring_in_use_is_refused_and_one_of_a_clean_ring_is_not<K: Flavour>() {
    let Some(disk) = Disk::new("copies of files") else { return };
    let path = clean::<K>(&disk, &[1, 2, 3]);
    let copy = beside(&path);
    fs::copy(&path, &copy).unwrap();
    holds::<K>(&copy, &[1, 2, 3]);
    fs::remove_file(&copy).unwrap();

    let ring = open::<K>(&path).unwrap();
    fs::copy(&path, &copy).unwrap();
    is_refused::<K>(&copy, "a copy of a ring that was in use");
    // The inode's number may be that of the ring, which has been removed.
    let status = fs::metadata(&path).unwrap();
    if status.created().is_ok() {
        let mine = fs::metadata(&copy).unwrap();
        assert_eq!(disk::word(&copy, 3), mine.dev());
        set_word(&copy, 4, mine.ino());
        is_refused::<K>(&copy, "a copy of a ring that was in use");
    } else {
        did_not_run("copies that have the ring's inode", "files here have no time of creation");
    }
    drop(ring);
    // By another name it is the same.
    fs::remove_file(&copy).unwrap();
    let ring = open::<K>(&path).unwrap();
    fs::hard_link(&path, &copy).unwrap();
    assert_eq!(open::<K>(&copy).unwrap().id(), ring.id());
    ring.checkpoint().unwrap();
    holds::<K>(&copy, &[1, 2, 3]);
}

/// A scribbler's state line: nothing worse than a refusal, or what the caller chose.
fn c12_whatever_stands_in_the_state_line_is_a_refusal_or_a_ring<K: Flavour>() {
    let Some(disk) = Disk::new("state lines of a scribbler's") else { return };
    let path = clean::<K>(&disk, &[1]);
    let bytes = fs::read(&path).unwrap();
    let same: Vec<u64> = (0..6).map(|word| disk::word(&path, word)).collect();
    let mut random = Rng::new(0x2545_f491_4f6c_dd1d);
    for round in 0..200 {
        fs::write(&path, &bytes).unwrap();
        let scribble = |random: &mut Rng| {
            for word in 0..16 {
                let value = match random.within(0..4) {
                    0 => random.next(),
                    1 => random.within(0..6),
                    _ => same.get(word).copied().unwrap_or(0),
                };
                set_word(&path, word, value);
            }
        };
        scribble(&mut random);
        let choice =
            [Unclean::Refuse, Unclean::Empty, Unclean::AsFound][random.within(0..3) as usize];
        match options::<K>().unclean(choice).open_file(&path) {
            Ok(ring) => {
                K::sender(&ring).unwrap().try_send(2).unwrap();
                scribble(&mut random); // while it is open, too
                assert_eq!(K::receiver(&ring).unwrap().try_iter().last(), Some(2), "{round}");
            }
            Err(OpenError::Unclean { .. }) => assert_eq!(choice, Unclean::Refuse, "{round}"),
            Err(e) => panic!("{round}: {e:?}"),
        }
    }
}

fn c12_checkpoint_is_refused_while_anybody_else_has_it_open<K: Flavour>() {
    let Some(disk) = Disk::new("checkpoints") else { return };
    let path = clean::<K>(&disk, &[]);
    let refused = |ring: Ring<u64, K>| {
        let error = ring.checkpoint().unwrap_err();
        assert!(matches!(&error, CheckpointError::InUse { ring } if ring.path() == Some(&path)));
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(state(&path), OPEN);
    };
    let ring = || open::<K>(&path).unwrap();
    let opened = ring();
    let clone = opened.clone();
    refused(opened);
    let end = K::sender(&clone).unwrap();
    refused(clone);
    let opened = ring();
    drop(end);
    let beside = ring();
    refused(opened);
    let mut other = Child::puppet::<K>(path.to_str().unwrap());
    other.must("open", "Ok");
    refused(beside);
    other.must("close", "Ok");
    // The last one, at last, without a word.
    assert_eq!(state(&path), CLEAN);
    ring().checkpoint().unwrap();
    assert_eq!(state(&path), CLEAN);
    other.must("open", "Ok");
    other.must("checkpoint", "Ok");
}

fn c12_who_opens_waits_for_one_who_closes<K: Flavour>() {
    let Some(disk) = Disk::new("opening while somebody closes") else { return };
    let path = clean::<K>(&disk, &[7]);
    for byte in [BIRTH, STATE] {
        let closer = File::options().read(true).write(true).open(&path).unwrap();
        assert!(lock(&closer, libc::F_WRLCK, byte));
        let mut opener = Child::puppet::<K>(path.to_str().unwrap());
        opener.say("open");
        support::until("an opener that asks again", || {
            let mut threads = fs::read_dir(format!("/proc/{}/task", opener.pid())).ok()?;
            let pauses = format!("{} ", libc::SYS_clock_nanosleep);
            let call = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("syscall"));
            threads
                .any(|thread| call(thread.unwrap()).is_ok_and(|call| call.starts_with(&pauses)))
                .then_some(())
        });
        assert_eq!(state(&path), CLEAN, "not marked before it is its turn");
        drop(closer);
        opener.must_hear("Ok");
        opener.must("checkpoint", "Ok");
    }
    if !K::MANY {
        return; // once is enough of this, which takes its time
    }
    let stopped = File::options().read(true).write(true).open(&path).unwrap();
    assert!(lock(&stopped, libc::F_WRLCK, BIRTH));
    let began = Instant::now();
    let busy = open::<K>(&path);
    assert!(matches!(busy, Err(OpenError::Busy { .. })), "{busy:?}");
    assert!(began.elapsed().as_secs() >= 10, "{:?}", began.elapsed());
}

fn c12_a_forked_child_has_no_part_in_closing<K: Flavour>() {
    let Some(disk) = Disk::new("forked children of a file's user") else { return };
    let path = clean::<K>(&disk, &[]);
    let mut child = Child::start::<K>("forks", path.to_str().unwrap());
    child.must("go", "Ok");
    child.finish();
}

fn forks<K: Flavour>(mut me: Me) {
    me.hear();
    let path = Path::new(&me.ring).to_owned();
    // A child that closes its copies: it is the parent's still.
    let ring = open::<K>(&path).unwrap();
    in_a_fork(|| {
        let refused = ring.clone().checkpoint();
        assert!(matches!(refused, Err(CheckpointError::Forked { .. })), "{refused:?}");
        assert_eq!(ring.sync().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        // SAFETY: this process has no use for the value it is read from, which it never drops.
        drop(unsafe { std::ptr::read(&raw const ring) });
    });
    assert_eq!(state(&path), OPEN);
    // A child that lives on: it is the parent that closes.
    let (told, tell) = std::io::pipe().unwrap();
    let copy = ring.clone();
    // SAFETY: the child's only thread is this one.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        drop(tell);
        let _ = std::io::Read::read(&mut &told, &mut [0]);
        drop(copy);
        // SAFETY: ends this process, without the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    drop(copy);
    ring.checkpoint().unwrap();
    assert_eq!(state(&path), CLEAN);
    let ring = open::<K>(&path).unwrap();
    drop(tell);
    // SAFETY: our own child; no status is asked for.
    assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
    assert_eq!(state(&path), OPEN);
    ring.checkpoint().unwrap();
    // A child that outlives its parent, which had it open to its end: nobody closes it.
    let (mut ended, ends) = std::io::pipe().unwrap();
    in_a_fork(|| {
        let (mut died, dies) = std::io::pipe().unwrap();
        let ring = open::<K>(&path).unwrap();
        // SAFETY: the child's only thread is this one.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            drop(dies);
            std::io::Read::read(&mut died, &mut [0]).unwrap();
            drop(ring);
            // SAFETY: ends this process, without the parent's exit handlers.
            unsafe { libc::_exit(0) };
        }
        std::mem::forget((ring, dies)); // until it ends
    });
    drop(ends);
    assert_eq!(std::io::Read::read(&mut ended, &mut [0]).unwrap(), 0, "the end of both");
    assert_eq!(state(&path), OPEN);
    me.say("Ok");
    me.hear();
}

fn c12_closing_needs_no_descriptor_and_no_name<K: Flavour>() {
    let Some(disk) = Disk::new("closing in a cage") else { return };
    let path = clean::<K>(&disk, &[]);
    let mut child = Child::start::<K>("closes_in_a_cage", path.to_str().unwrap());
    child.must("go", "Ok");
    child.finish();
    assert_eq!(state(&path), CLEAN);
    holds::<K>(&path, &[9]);
}

fn closes_in_a_cage<K: Flavour>(mut me: Me) {
    me.hear();
    let ring = open::<K>(Path::new(&me.ring)).unwrap();
    let mut tx = K::sender(&ring).unwrap();
    tx.try_send(9).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    if rustix::process::geteuid().is_root() {
        rustix::process::chroot("/proc/self/fdinfo").unwrap();
    } else {
        did_not_run("closing after chroot", "not root");
    }
    drop(tx);
    ring.checkpoint().unwrap();
    me.say("Ok");
    me.hear();
}

fn c12_a_ring_in_use_is_open_whatever_its_state_says<K: Flavour>() {
    let Some(disk) = Disk::new("rings in use under another boot id") else { return };
    for choice in [Unclean::Refuse, Unclean::Empty, Unclean::AsFound] {
        let path = disk.join(format!("ring-{choice:?}"));
        let options = options::<K>().capacity(8).unclean(choice);
        let ring = options.create_file(&path).unwrap();
        // With handles alone, and with an end.
        for (boot, values) in [(1, 0..2), (0, 2..5)] {
            let mut tx = (boot == 0).then(|| K::sender(&ring).unwrap());
            // A container may have a boot id of its own.
            set_word(&path, 1, disk::word(&path, 1) ^ 1);
            let mut other = Child::puppet::<K>(path.to_str().unwrap());
            other.must("open", "Ok");
            let opened = options.open_file(&path).unwrap();
            let mut sender = tx.take().unwrap_or_else(|| K::sender(&opened).unwrap());
            assert!(values.clone().all(|n| sender.try_send(n).is_ok()));
            other.must("receiver", "Ok");
            for n in values {
                other.must("recv", &format!("Ok({n})"));
            }
            other.must("close", "Ok");
            assert_eq!(state(&path), OPEN);
        }
        // The last one closes it.
        ring.checkpoint().unwrap();
        assert_eq!(state(&path), CLEAN);
    }
}

fn c12_a_scribbled_state_does_not_become_clean<K: Flavour>() {
    let Some(disk) = Disk::new("a scribbled state") else { return };
    let path = clean::<K>(&disk, &[1]);
    for scribbled in [UNKNOWN, MARKING, 77] {
        let ring = options::<K>().unclean(Unclean::AsFound).open_file(&path).unwrap();
        set_word(&path, 0, scribbled);
        let refused = ring.checkpoint();
        assert!(matches!(refused, Err(CheckpointError::Io { .. })), "{refused:?}");
        assert_eq!(state(&path), scribbled);
    }
}

/// BIRTH that is held, for a moment still, for one that is not in it.
fn c12_what_is_left_of_an_opener_that_failed_does_not_vouch_for_a_ring<K: Flavour>() {
    let Some(disk) = Disk::new("openers that failed") else { return };
    let path = clean::<K>(&disk, &[1]);
    let bytes = fs::read(&path).unwrap();
    for (found, other_boot) in [(UNKNOWN, 0), (MARKING, 1), (77, 0)] {
        fs::write(&path, &bytes).unwrap();
        set_word(&path, 0, found);
        set_word(&path, 1, disk::word(&path, 1) ^ other_boot);
        let left = File::open(&path).unwrap();
        assert!(lock(&left, libc::F_RDLCK, BIRTH));
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| open::<K>(&path).map(drop));
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert!(!opener.is_finished(), "{found}");
            assert_eq!(state(&path), found);
            drop(left);
            let refused = opener.join().unwrap();
            assert!(matches!(refused, Err(OpenError::Unclean { .. })), "{found}: {refused:?}");
        });
    }
    // Of the same boot and file, all is well.
    fs::write(&path, &bytes).unwrap();
    set_word(&path, 0, MARKING);
    let left = File::open(&path).unwrap();
    assert!(lock(&left, libc::F_RDLCK, BIRTH));
    drop(open::<K>(&path).unwrap());
    assert_eq!(state(&path), OPEN, "marked; and not left by the last");
}

fn c12_rings_in_memory_have_no_state<K: Flavour>() {
    let (name, ring) = new_ring::<K>(8);
    assert_eq!(state(&name.path()), 0);
    K::sender(&ring).unwrap().try_send(1).unwrap();
    // A copy of one in use is a ring like any other, and so is one by its path.
    let copy = Name::new();
    fs::copy(name.path(), copy.path()).unwrap();
    let opened = options::<K>().unclean(Unclean::Empty).open_file(copy.path()).unwrap();
    assert_eq!((state(&copy.path()), opened.len()), (0, 1));
    opened.checkpoint().unwrap();
    ring.sync().unwrap();
    ring.clone().checkpoint().unwrap(); // closes this handle, and no more
    assert_eq!(ring.len(), 1);
    let by_path = Name::new();
    drop(options::<K>().create_file(by_path.path()).unwrap());
    assert_eq!(state(&by_path.path()), 0);
    options::<K>().create_anonymous().unwrap().checkpoint().unwrap();
}

fn c12_unlinked_rings_are_not_written_back() {
    let Some(disk) = Disk::new("an unlinked file") else { return };
    let path = disk.join("ring");
    let ring = options::<Spsc>().create_file(&path).unwrap();
    let file = rustix::fs::open(&path, OFlags::RDONLY, Mode::empty()).unwrap();
    ring.unlink().unwrap();
    ring.checkpoint().unwrap();
    let mut bytes = [0; 8];
    rustix::io::pread(&file, &mut bytes, support::at::FILE_STATE as u64).unwrap();
    assert_eq!(u64::from_ne_bytes(bytes), OPEN, "nobody is going to find it");
}
