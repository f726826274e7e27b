//! C12 on a disk that fails: the kernel's write-back, `msync`, is made to fail or to be the last
//! call of its process, by `strace`.

mod support;

use std::fs;
use std::path::Path;

use ringpipe::{CheckpointError, OpenError, Unclean};
use support::disk::{
    CLEAN, Disk, FAILED, MARKING, OPEN, UNKNOWN, after_a_reboot, beside, clean, holds, is_refused,
    open, set_word, state,
};
use support::{Child, Flavour, Me, both_kinds, options, roles, strace_is_there};

roles!(writes_to_a_disk_that_fails, empties_on_a_disk_that_fails);

both_kinds!(
    c12_a_failed_write_stays_known,
    c12_who_is_killed_while_writing_leaves_a_ring_that_does_not_become_clean,
    c12_who_empties_and_is_told_of_a_failed_write_leaves_it_unclean,
);

/// A disk whose failures can be had.
fn failing_disk(what: &str) -> Option<Disk> {
    let disk = Disk::new(what)?;
    strace_is_there(what).then_some(disk)
}

/// A child that plays the role; an `msync` of its fails like that.
fn failing<K: Flavour>(role: &str, how: &str, path: &Path) -> Child {
    let inject = format!("inject=msync:{how}");
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=msync", "-e", &inject];
    Child::start_under::<K>(&strace, role, path.to_str().unwrap())
}

fn under_failure<K: Flavour>(role: &str, how: &str, path: &Path, order: &str) {
    let mut child = failing::<K>(role, how, path);
    child.must(order, "Ok");
    child.finish();
}

fn c12_a_failed_write_stays_known<K: Flavour>() {
    let Some(disk) = failing_disk("a disk that fails") else { return };
    for how in ["sync", "checkpoint"] {
        let path = clean::<K>(&disk, &[1]);
        // The first call marks the file; the second is the one that fails.
        under_failure::<K>("writes_to_a_disk_that_fails", "error=EIO:when=2", &path, how);
        assert_eq!(state(&path), FAILED, "{how}");
        // Its pages may be old ones by now.
        is_refused::<K>(&path, "a write to its disk has failed");
        let copy = beside(&path);
        after_a_reboot(&copy, &fs::read(&path).unwrap());
        is_refused::<K>(&copy, "when the machine last went down");
        // As long as somebody has it open it can be used, but it does not become clean.
        let ring = options::<K>().unclean(Unclean::Empty).open_file(&path).unwrap();
        set_word(&path, 0, FAILED);
        drop(open::<K>(&path).unwrap());
        let error = ring.checkpoint().unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error:?}");
        is_refused::<K>(&path, "a write to its disk has failed");
        drop(options::<K>().unclean(Unclean::Empty).open_file(&path).unwrap());
        holds::<K>(&path, &[]);
        fs::remove_file(&path).unwrap();
        fs::remove_file(&copy).unwrap();
    }
}

fn writes_to_a_disk_that_fails<K: Flavour>(mut me: Me) {
    let how = me.hear().unwrap();
    let ring = open::<K>(Path::new(&me.ring)).unwrap();
    if how == "sync" {
        assert_eq!(ring.sync().unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(K::receiver(&ring).unwrap().recv(), Ok(1));
        drop(ring);
    } else {
        let error = ring.checkpoint().unwrap_err();
        let CheckpointError::Io { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(libc::EIO));
    }
    me.say("Ok");
    me.hear();
}

fn c12_who_empties_and_is_told_of_a_failed_write_leaves_it_unclean<K: Flavour>() {
    let Some(disk) = failing_disk("emptying on a disk that fails") else { return };
    let path = clean::<K>(&disk, &[1]);
    let bytes = fs::read(&path).unwrap();
    for (when, left) in [(1, UNKNOWN), (2, MARKING)] {
        after_a_reboot(&path, &bytes);
        set_word(&path, 0, OPEN);
        let how = format!("error=EIO:when={when}");
        under_failure::<K>("empties_on_a_disk_that_fails", &how, &path, "go");
        assert_eq!(state(&path), left);
        if left == UNKNOWN {
            is_refused::<K>(&path, "it does not say that it was ever closed");
        } else {
            holds::<K>(&path, &[]); // all of that is on the disk, and now the mark is, too
        }
    }
}

fn empties_on_a_disk_that_fails<K: Flavour>(mut me: Me) {
    me.hear();
    let opened = options::<K>().unclean(Unclean::Empty).open_file(Path::new(&me.ring));
    let Err(OpenError::Io { source, .. }) = &opened else { panic!("{opened:?}") };
    assert_eq!(source.raw_os_error(), Some(libc::EIO));
    drop(opened);
    me.say("Ok");
    me.hear();
}

fn c12_who_is_killed_while_writing_leaves_a_ring_that_does_not_become_clean<K: Flavour>() {
    let Some(disk) = failing_disk("killed while writing to a disk") else { return };
    // The first call marks the file. On a closer's way there are three more: two of all of it.
    for (how, when) in [("sync", 2), ("checkpoint", 2), ("checkpoint", 3)] {
        let path = clean::<K>(&disk, &[1]);
        let kill = format!("signal=KILL:when={when}");
        let mut child = failing::<K>("writes_to_a_disk_that_fails", &kill, &path);
        child.say(how);
        assert!(!child.wait().success(), "{how}");
        drop(child);
        assert_eq!(state(&path), OPEN);
        // It can be used, but whether all has reached the disk, nobody knows.
        for _ in 0..2 {
            let ring = open::<K>(&path).unwrap();
            assert_eq!(ring.len(), 1);
            ring.sync().unwrap();
            let error = ring.checkpoint().unwrap_err();
            assert!(matches!(error, CheckpointError::Io { .. }), "{error:?}");
            assert_eq!(state(&path), OPEN);
        }
        let bytes = fs::read(&path).unwrap();
        after_a_reboot(&path, &bytes);
        is_refused::<K>(&path, "when the machine last went down");
        for choice in [Unclean::AsFound, Unclean::Empty] {
            after_a_reboot(&path, &bytes);
            options::<K>().unclean(choice).open_file(&path).unwrap().checkpoint().unwrap();
            assert_eq!(state(&path), CLEAN);
        }
        fs::remove_file(&path).unwrap();
    }
    // One killed at the very last has written everything: the next one makes up for it.
    let path = clean::<K>(&disk, &[1]);
    let mut child = failing::<K>("writes_to_a_disk_that_fails", "signal=KILL:when=4", &path);
    child.say("checkpoint");
    assert!(!child.wait().success());
    drop(child);
    assert_eq!(state(&path), CLEAN);
    holds::<K>(&path, &[1]);
}
