//! C18: a forked child holds nothing. What it inherited answers `Forked` and costs nobody anything,
//! it attaches anew; its parent is unaffected, and dies alone; `exec` releases; closing every
//! descriptor releases nothing.
//!
//! The forks happen in a child process whose other threads do nothing, since a forked copy has
//! only the thread that forked.

#[path = "support/death.rs"]
mod death;
mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use death::{MANY_CHECKS, SHORT_INTERVAL, SOON, checking_receiver};
use ringpipe::{
    AttachError, BulkError, Mpmc, PeerError, RecvError, RecvTimeoutError, Ring, SendError,
    SendTimeoutError, TryRecvError, TrySendError,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use support::forked::in_a_fork;
use support::{
    Child, Flavour, Me, POLICIES, Rx, Tx, asleep, both_kinds, new_ring, options, roles, tests,
};

roles!(
    forks_with_ends,
    forks_with_runs,
    forks_one_that_attaches_anew,
    forks_and_stays,
    becomes_another_program,
    closes_everything,
);

both_kinds!(
    c18_inherited_ends_answer_forked_and_change_nothing,
    c18_inherited_runs_change_nothing,
    c18_a_forked_child_attaches_anew_by_name,
    c18_a_killed_parent_is_dead_though_its_child_lives,
    c18_a_program_that_becomes_another_has_left,
    c18_who_closes_every_descriptor_lives_on_and_takes_nobody_for_dead,
);

tests!(c18_inherited_mpmc_ends_cannot_be_cloned);

fn region(name: &str) -> Vec<u8> {
    std::fs::read(format!("/dev/shm/{name}")).unwrap()
}

/// Living senders and receivers by their locks, as a stranger sees them.
fn alive(name: &str) -> (usize, usize) {
    let seen = ringpipe::list().unwrap().into_iter().find(|seen| seen.name == name).unwrap();
    (seen.senders, seen.receivers)
}

/// Plays a role that does it all by itself.
fn plays<K: Flavour>(role: &str, name: &str) {
    let mut child = Child::start::<K>(role, name);
    child.must("go", "Ok");
    child.finish();
}

fn c18_inherited_ends_answer_forked_and_change_nothing<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(4);
    plays::<K>("forks_with_ends", &name);
}

fn forks_with_ends<K: Flavour>(mut me: Me) {
    me.hear();
    let ring = options::<K>().open(&me.ring).unwrap();
    let mut tx = Some(K::sender(&ring).unwrap());
    let mut rx = Some(K::receiver(&ring).unwrap());
    for (full, items, receives) in [(false, 0..2, false), (true, 2..4, false), (true, 4..5, true)] {
        if receives {
            // It has seen the others by then, and would receive them without a look.
            assert_eq!(rx.as_mut().unwrap().try_recv(), Ok(0));
        }
        items.for_each(|value| tx.as_mut().unwrap().try_send(value).unwrap());
        let before = region(&me.ring);
        in_a_fork(|| {
            sends_nothing(tx.as_mut().unwrap());
            receives_nothing(rx.as_mut().unwrap());
            assert!(matches!(K::sender(&ring), Err(AttachError::Forked { .. })));
            assert!(matches!(K::receiver(&ring), Err(AttachError::Forked { .. })));
            assert_eq!((ring.len() == 4, ring.peers().senders), (full, 1), "may be asked");
            tx.take();
            rx.take();
            drop(ring.clone());
        });
        assert!(region(&me.ring) == before, "the child has changed something");
        assert_eq!(alive(&me.ring), (1, 1));
    }
    // The parent goes on.
    let (mut tx, mut rx) = (tx.unwrap(), rx.unwrap());
    assert_eq!(tx.try_send(5), Err(TrySendError::Full(5)));
    assert!(rx.try_iter().eq(1..5));
    tx.send(5).unwrap();
    assert_eq!(rx.recv(), Ok(5));
    drop(rx);
    assert!(tx.is_closed());
    in_a_fork(|| assert!(!tx.is_closed(), "a child's pipes are neither open nor closed"));
    let mut rx = K::receiver(&ring).unwrap();
    rx.require_peer();
    drop(tx);
    assert!(rx.is_closed());
    in_a_fork(|| assert!(!rx.is_closed(), "a child's pipes are neither open nor closed"));
    me.say("Ok");
    me.hear();
}

fn sends_nothing<K: Flavour>(tx: &mut Tx<K>) {
    assert_eq!(tx.try_send(9), Err(TrySendError::Forked(9)));
    assert_eq!(tx.send(9), Err(SendError::Forked(9)));
    assert_eq!(tx.send_timeout(9, Duration::ZERO), Err(SendTimeoutError::Forked(9)));
    assert_eq!(tx.try_send_slice(&[9]), Err(BulkError::Forked));
    assert_eq!(tx.send_slice_deadline(&[9], SOON), Err(BulkError::Forked));
    assert_eq!(tx.try_send_exact(&[9]), Err(BulkError::Forked));
    assert_eq!(tx.send_exact_deadline(&[9], SOON), Err(BulkError::Forked));
    assert_eq!(tx.try_claim(1).err(), Some(BulkError::Forked));
    assert_eq!(tx.claim_deadline(1, SOON).err(), Some(BulkError::Forked));
    // Nor do calls that are asked for nothing say that all is well.
    assert_eq!(tx.try_send_slice(&[]), Err(BulkError::Forked));
    assert_eq!(tx.send_slice_deadline(&[], SOON), Err(BulkError::Forked));
    assert_eq!(tx.try_send_exact(&[]), Err(BulkError::Forked));
    assert_eq!(tx.send_exact_deadline(&[], SOON), Err(BulkError::Forked));
    assert_eq!(tx.try_claim(0).err(), Some(BulkError::Forked));
    for values in [&[][..], &[9]] {
        let error = tx.send_all(values).unwrap_err();
        assert_eq!((error.sent, error.why), (0, BulkError::Forked));
    }
    assert_eq!(tx.claim_deadline(0, SOON).err(), Some(BulkError::Forked));
    assert_eq!(tx.wait_for_peer(SOON), Err(PeerError::Forked));
}

fn receives_nothing<K: Flavour>(rx: &mut Rx<K>) {
    let mut one = [0];
    assert_eq!(rx.try_recv(), Err(TryRecvError::Forked));
    assert_eq!(rx.recv(), Err(RecvError::Forked));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Forked));
    assert_eq!(rx.try_recv_slice(&mut one), Err(BulkError::Forked));
    assert_eq!(rx.recv_slice_deadline(&mut one, SOON), Err(BulkError::Forked));
    assert_eq!(rx.try_recv_exact(&mut one), Err(BulkError::Forked));
    assert_eq!(rx.recv_exact_deadline(&mut one, SOON), Err(BulkError::Forked));
    assert_eq!(rx.try_claim(1).err(), Some(BulkError::Forked));
    assert_eq!(rx.claim_deadline(1, SOON).err(), Some(BulkError::Forked));
    assert_eq!(rx.try_recv_slice(&mut []), Err(BulkError::Forked));
    assert_eq!(rx.recv_slice_deadline(&mut [], SOON), Err(BulkError::Forked));
    assert_eq!(rx.try_recv_exact(&mut []), Err(BulkError::Forked));
    assert_eq!(rx.recv_exact_deadline(&mut [], SOON), Err(BulkError::Forked));
    assert_eq!(rx.clear(), Err(BulkError::Forked));
    assert_eq!(rx.try_claim(0).err(), Some(BulkError::Forked));
    assert_eq!(rx.claim_deadline(0, SOON).err(), Some(BulkError::Forked));
    assert_eq!(rx.wait_for_peer(SOON), Err(PeerError::Forked));
    assert_eq!((rx.iter().next(), rx.try_iter().next()), (None, None));
}

fn c18_inherited_runs_change_nothing<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(4);
    plays::<K>("forks_with_runs", &name);
}

fn forks_with_runs<K: Flavour>(mut me: Me) {
    me.hear();
    let ring = options::<K>().open(&me.ring).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    for count in [0, 1, 2] {
        // `None` after `take`, in the child alone.
        let mut run = Some(tx.try_claim(2).unwrap());
        run.as_mut().unwrap().write(0, 10);
        let before = region(&me.ring);
        in_a_fork(|| {
            let mut run = run.take().unwrap();
            run.write(0, 99);
            run.write(1, 99);
            // SAFETY: the ring is the test's, and it keeps to the protocol.
            let borrowed = catch_unwind(AssertUnwindSafe(|| *unsafe { run.slot_mut(0) } = 99));
            assert!(borrowed.is_err());
            run.commit(count);
        });
        assert!(region(&me.ring) == before, "the child has written");
        in_a_fork(|| drop(run.take()));
        assert!(region(&me.ring) == before, "the child has given up");
        let mut run = run.unwrap();
        run.write(1, 11);
        run.commit_all();

        let mut run = Some(rx.try_claim(2).unwrap());
        let before = region(&me.ring);
        in_a_fork(|| {
            let run = run.take().unwrap();
            assert_eq!(run.len(), 2);
            // SAFETY: likewise.
            assert!(catch_unwind(AssertUnwindSafe(|| *unsafe { run.slot(0) })).is_err());
            run.release(count);
        });
        assert!(region(&me.ring) == before, "the child has released");
        in_a_fork(|| run.take().unwrap().abandon());
        assert!(region(&me.ring) == before, "the child has abandoned");
        let run = run.unwrap();
        assert!(run.iter().eq([10, 11]) && run.redelivered() == 0);
        run.release_all();
    }
    assert_eq!((rx.try_recv(), ring.stats().skipped), (Err(TryRecvError::Empty), 0));
    me.say("Ok");
    me.hear();
}

fn c18_inherited_mpmc_ends_cannot_be_cloned() {
    let (name, _ring) = new_ring::<Mpmc>(4);
    // The kind is chosen by the role's name in `forks_with_ends`; cloning exists for this one only.
    let mut child = Child::start::<Mpmc>("forks_one_that_attaches_anew", &name);
    child.must("clone", "Ok");
}

fn c18_a_forked_child_attaches_anew_by_name<K: Flavour>() {
    let (name, _ring) = new_ring::<K>(4);
    plays::<K>("forks_one_that_attaches_anew", &name);
}

fn forks_one_that_attaches_anew<K: Flavour>(mut me: Me) {
    let order = me.hear().unwrap();
    if order == "clone" {
        let ring: Ring<u64, Mpmc> = options().open(&me.ring).unwrap();
        let (tx, rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
        in_a_fork(|| {
            assert!(matches!(tx.try_clone(), Err(AttachError::Forked { .. })));
            assert!(matches!(rx.try_clone(), Err(AttachError::Forked { .. })));
        });
        me.say("Ok");
        return;
    }
    let ring = options::<K>().open(&me.ring).unwrap();
    for round in 0..3 {
        let mut tx = K::sender(&ring).unwrap();
        tx.set_liveness_interval(SHORT_INTERVAL);
        tx.send(round).unwrap();
        in_a_fork(|| {
            let anew = options::<K>().open(&me.ring).unwrap();
            let mut rx = K::receiver(&anew).unwrap();
            assert_eq!(rx.recv(), Ok(round));
            assert_eq!(alive(&me.ring), (1, 1));
            // The old ones stay what they were, now that the child is somebody.
            assert_eq!(tx.try_send(9), Err(TrySendError::Forked(9)));
            assert!(matches!(K::receiver(&ring), Err(AttachError::Forked { .. })));
            // Ends here without leaving, like one that is killed.
            std::mem::forget((rx, anew));
        });
        // The parent sees that its peer, which was its child, has gone.
        death::trying(|| match tx.try_send(50) {
            Err(TrySendError::Closed(50)) => Some(()),
            Err(TrySendError::Full(50)) | Ok(()) => None,
            other => panic!("{other:?}"),
        });
        assert_eq!(alive(&me.ring), (1, 0));
        // Room for the next round.
        let mut rx = K::receiver(&ring).unwrap();
        assert!(rx.try_iter().all(|value| value == 50));
    }
    me.say("Ok");
    me.hear();
}

fn c18_a_killed_parent_is_dead_though_its_child_lives<K: Flavour>() {
    for policy in POLICIES {
        for (end, opposite) in [("sender", "receiver"), ("receiver", "sender")] {
            let (name, _ring) = new_ring::<K>(1);
            let mut peer = Child::checking::<K>(&name, opposite, policy);
            let mut parent = Child::start::<K>("forks_and_stays", &name);
            let grandchild: u32 = parent.ask(end).parse().unwrap();
            let pidfd = pidfd_open(Pid::from_raw(grandchild as i32).unwrap(), PidfdFlags::empty());
            if opposite == "sender" {
                peer.must("send 0", "Ok(())");
            }
            peer.say(if opposite == "sender" { "send 1" } else { "recv" });
            peer.until_waiting(policy);
            parent.kill_and_keep();
            peer.must_hear(if opposite == "sender" { "Err(Closed(1))" } else { "Err(Closed)" });
            assert!(matches!(asleep::state(grandchild, grandchild), Some('R' | 'S')));
            drop(parent); // and with it what the grandchild listens to: it ends
            let timeout = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
            let pidfd = pidfd.unwrap();
            let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
            assert_eq!(ended, Ok(1), "the grandchild lives on");
        }
    }
}

fn forks_and_stays<K: Flavour>(mut me: Me) {
    let end = me.hear().unwrap();
    let ring = options::<K>().open(&me.ring).unwrap();
    let _tx = (end == "sender").then(|| K::sender(&ring).unwrap());
    let _rx = (end == "receiver").then(|| K::receiver(&ring).unwrap());
    // SAFETY: as in `in_a_fork`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // Until the test has hung up: no more than a pair of mappings and descriptors that live on.
        let stdin = std::io::stdin();
        let limit = Timespec { tv_sec: 100, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&stdin, PollFlags::RDHUP)], Some(&limit));
        // SAFETY: ends this process, without the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    me.say(child);
    me.hear();
}

fn c18_a_program_that_becomes_another_has_left<K: Flavour>() {
    for policy in POLICIES {
        for (end, opposite) in [("sender", "receiver"), ("receiver", "sender")] {
            let (name, _ring) = new_ring::<K>(1);
            let mut peer = Child::checking::<K>(&name, opposite, policy);
            let mut changeling = Child::start::<K>("becomes_another_program", &name);
            changeling.must(end, "Ok");
            if opposite == "sender" {
                peer.must("send 0", "Ok(())");
            }
            peer.say(if opposite == "sender" { "send 1" } else { "recv" });
            peer.until_waiting(policy);
            changeling.say("now");
            peer.must_hear(if opposite == "sender" { "Err(Closed(1))" } else { "Err(Closed)" });
            let program = std::fs::read_to_string(format!("/proc/{}/comm", changeling.pid()));
            assert_eq!(program.unwrap().trim_end(), "sleep", "it lives on as another");
            changeling.kill();
        }
    }
}

fn becomes_another_program<K: Flavour>(mut me: Me) {
    use std::os::unix::process::CommandExt;
    let end = me.hear().unwrap();
    let ring = options::<K>().open(&me.ring).unwrap();
    let _tx = (end == "sender").then(|| K::sender(&ring).unwrap());
    let _rx = (end == "receiver").then(|| K::receiver(&ring).unwrap());
    // Starting another program beside this one releases nothing.
    assert!(std::process::Command::new("true").status().unwrap().success());
    let holds = alive(&me.ring);
    assert_eq!(if end == "sender" { holds.0 } else { holds.1 }, 1);
    me.say("Ok");
    me.hear();
    panic!("{}", std::process::Command::new("sleep").arg("100").exec());
}

fn c18_who_closes_every_descriptor_lives_on_and_takes_nobody_for_dead<K: Flavour>() {
    for reuse in ["leave them closed", "reuse the numbers"] {
        let (name, ring) = new_ring::<K>(4);
        let mut tx = K::sender(&ring).unwrap();
        let mut closer = Child::start::<K>("closes_everything", &name);
        closer.must(reuse, "Ok");
        closer.must("recv", "Err(DescriptorLost)"); // it cannot ask who lives
        tx.try_send(1).unwrap();
        closer.must("recv", "Ok(1)");
        closer.must("recv", "Err(DescriptorLost)");
        closer.must("attach", "Err");
        // It is not taken for dead either: its record stays its own.
        assert_eq!(tx.try_send_slice(&[2, 3, 4, 5]), Ok(4));
        tx.set_liveness_interval(SHORT_INTERVAL);
        assert_eq!(tx.send_timeout(6, MANY_CHECKS), Err(SendTimeoutError::Timeout(6)));
        assert_eq!(alive(&name), (1, 1));
        if !K::MANY {
            assert!(matches!(K::receiver(&ring), Err(AttachError::RoleTaken { .. })));
        }
        closer.must("recv", "Ok(2)");
        // And its death is seen as any.
        closer.kill();
        tx.send(6).unwrap();
        assert_eq!(tx.send_timeout(7, SOON), Err(SendTimeoutError::Closed(7)));
        let mut rx = checking_receiver(&ring);
        drop(tx);
        assert!(rx.iter().eq([3, 4, 5, 6]));
    }
}

/// Keeps only its wire, under the number of standard input: the first order, and all answers to
/// others, go over that.
fn closes_everything<K: Flavour>(mut me: Me) {
    let order = me.hear().unwrap();
    let ring = options::<K>().open(&me.ring).unwrap();
    let mut rx = checking_receiver(&ring);
    let highest = ring.as_fd().as_raw_fd() + 10;
    me.say("Ok"); // it gets no other order before the next answer, which closing precedes
    std::mem::forget(me);
    // SAFETY: what belongs to these numbers is used no more, but for the ring, which must bear it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    assert_eq!(closed, 0);
    // A file that keeps locks as a region does, under all the numbers that were in use.
    let other = (order == "reuse the numbers")
        .then(|| memfd_create("stranger", MemfdFlags::empty()).unwrap());
    let strangers: Vec<OwnedFd> = other
        .iter()
        .flat_map(|file| std::iter::repeat_with(|| file.try_clone().unwrap()))
        .take_while(|fd| fd.as_raw_fd() <= highest)
        .collect();
    let is_ours = |fd: RawFd| fd == ring.as_fd().as_raw_fd();
    let reused = other.iter().chain(&strangers).any(|fd| is_ours(fd.as_raw_fd()));
    assert_eq!(reused, order == "reuse the numbers");
    // SAFETY: the wire is standard input, which nothing else here uses.
    let mut wire = BufReader::new(unsafe { File::from_raw_fd(0) });
    let mut order = String::new();
    while wire.read_line(&mut order).unwrap() > 0 {
        let answer = match order.trim_end() {
            "recv" => format!("{:?}", rx.recv_timeout(MANY_CHECKS)),
            "attach" => match (K::sender(&ring), K::receiver(&ring)) {
                (Err(AttachError::Io { .. }), Err(AttachError::Io { .. })) => "Err".into(),
                (tx, rx) => format!("{:?}, {:?}", tx.err(), rx.err()),
            },
            unknown => panic!("no such order: {unknown}"),
        };
        wire.get_mut().write_all(format!("0 {answer}\n").as_bytes()).unwrap();
        order.clear();
    }
    // Dropping descriptors that are not there is a crime of this program, not of the ring.
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) };
}
