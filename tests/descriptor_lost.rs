//! Who waits learns that it cannot know any more whether its peers live: the ring's descriptor was
//! closed behind the crate's back, its number leads to another file or ring, or the system calls
//! that ask are forbidden. Within an interval each call that would wait says so; nobody is taken
//! for dead; what need not wait goes on, and all is well again when the descriptor is.

mod support;

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ringpipe::{
    BulkError, Deadline, PeerError, RecvError, RecvTimeoutError, Ring, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
use rustix::fs::{MemfdFlags, memfd_create};
use support::{Child, Flavour, LONG_INTERVAL, Me, Name, POLICIES, Rx, Tx, both_kinds, options};
use support::{roles, seccomp, until};

roles!(loses_its_descriptor);

both_kinds!(
    who_waits_with_a_closed_descriptor_is_told,
    who_waits_with_a_descriptor_that_leads_to_another_file_is_told,
    who_waits_with_a_descriptor_that_leads_to_another_ring_in_use_is_told,
    who_waits_and_may_not_ask_the_locks_is_told,
    who_waits_and_may_not_ask_for_the_file_is_told,
);

fn who_waits_with_a_closed_descriptor_is_told<K: Flavour>() {
    play::<K>("close");
}

fn who_waits_with_a_descriptor_that_leads_to_another_file_is_told<K: Flavour>() {
    play::<K>("another file");
}

fn who_waits_with_a_descriptor_that_leads_to_another_ring_in_use_is_told<K: Flavour>() {
    play::<K>("another ring");
}

fn who_waits_and_may_not_ask_the_locks_is_told<K: Flavour>() {
    play::<K>("forbid fcntl");
}

fn who_waits_and_may_not_ask_for_the_file_is_told<K: Flavour>() {
    play::<K>("forbid fstat");
}

/// In a process that does nothing else: no other thread may take the number meanwhile.
fn play<K: Flavour>(how: &str) {
    let mut child = Child::start::<K>("loses_its_descriptor", "");
    child.must(how, "Ok");
    child.finish();
}

const INTERVAL: Duration = Duration::from_millis(10);
/// For one who would learn of nothing.
const LATE: Duration = LONG_INTERVAL;

fn loses_its_descriptor<K: Flavour>(mut me: Me) {
    let how = me.hear().unwrap();
    let names = [(); 3].map(|()| Name::new());
    let [ring, lonely, other] =
        names.each_ref().map(|name| options::<K>().capacity(4).create(name).unwrap());
    let mut ends = [&ring, &other].map(|ring| attach(ring));
    let mut lonely_rx = K::receiver(&lonely).unwrap();
    lonely_rx.set_liveness_interval(INTERVAL);
    let (tx, rx) = &mut ends[0];
    let file = memfd_create("stranger", MemfdFlags::empty()).unwrap();
    let lose = |ring: &Ring<u64, K>| {
        let fd = ring.as_fd().as_raw_fd();
        match how.as_str() {
            // SAFETY: what becomes of the ring without it is what is tested.
            "close" => unsafe { assert_eq!(libc::close(fd), 0) },
            "another file" => dup_onto(file.as_raw_fd(), fd),
            "another ring" => dup_onto(other.as_fd().as_raw_fd(), fd),
            "forbid fcntl" => forbid(libc::SYS_fcntl, Some(libc::F_OFD_GETLK as u32)),
            "forbid fstat" => forbid(libc::SYS_fstat, None),
            unknown => panic!("{unknown}"),
        }
    };
    let good = [&ring, &lonely].map(|ring| ring.as_fd().try_clone_to_owned().unwrap());
    lose(&ring);
    lose(&lonely);

    assert_eq!(lonely_rx.wait_for_peer(LATE), Err(PeerError::DescriptorLost));
    for policy in POLICIES {
        tx.set_wait_policy(policy);
        rx.set_wait_policy(policy);
        told_while_empty(rx);
        tx.try_send_exact(&[1, 2, 3, 4]).unwrap();
        told_while_full(tx);
        assert!(rx.try_iter().eq([1, 2, 3, 4]), "what need not wait goes on");
        assert!(!tx.is_closed() && !rx.is_closed(), "nobody is dead for that");
        assert_eq!((ring.peers().senders, ring.peers().receivers), (1, 1));
    }

    if !how.starts_with("forbid") {
        dup_onto(good[0].as_raw_fd(), ring.as_fd().as_raw_fd());
        dup_onto(good[1].as_raw_fd(), lonely.as_fd().as_raw_fd());
        assert_eq!(rx.wait_for_peer(LATE), Ok(()));
        assert_eq!(rx.recv_timeout(3 * INTERVAL), Err(RecvTimeoutError::Timeout));
        tx.send(5).unwrap();
        assert_eq!(rx.recv(), Ok(5));
    }
    me.say("Ok");
    me.hear();
}

fn attach<K: Flavour>(ring: &Ring<u64, K>) -> (Tx<K>, Rx<K>) {
    let (mut tx, mut rx) = (K::sender(ring).unwrap(), K::receiver(ring).unwrap());
    tx.set_liveness_interval(INTERVAL);
    rx.set_liveness_interval(INTERVAL);
    (tx, rx)
}

fn dup_onto(from: i32, onto: i32) {
    // SAFETY: as for the descriptor that is closed by it.
    let outcome = unsafe { libc::dup2(from, onto) };
    assert_eq!(outcome, onto, "{}", std::io::Error::last_os_error());
}

/// What `call` answers; it must not take long.
fn soon<R>(call: impl FnOnce() -> R) -> R {
    let started = Instant::now();
    let answer = call();
    assert!(started.elapsed() < LATE / 2, "after {:?}", started.elapsed());
    answer
}

fn told_while_empty<K: Flavour>(rx: &mut Rx<K>) {
    let lost = Some(BulkError::DescriptorLost);
    assert_eq!(soon(|| rx.recv()), Err(RecvError::DescriptorLost));
    assert_eq!(soon(|| rx.recv_timeout(LATE)), Err(RecvTimeoutError::DescriptorLost));
    assert_eq!(soon(|| rx.recv_deadline(Deadline::NEVER)), Err(RecvTimeoutError::DescriptorLost));
    assert_eq!(soon(|| rx.recv_slice_deadline(&mut [0; 2], LATE)).err(), lost);
    assert_eq!(soon(|| rx.recv_exact_deadline(&mut [0; 2], LATE)).err(), lost);
    assert_eq!(soon(|| rx.claim_deadline(2, LATE).err()), lost);
    assert_eq!(soon(|| rx.wait_for_peer(LATE)), Err(PeerError::DescriptorLost));
    // One that only tries is told now and then.
    let told = until("a try that is told", || match rx.try_recv() {
        Err(TryRecvError::Empty) => None,
        told => Some(told),
    });
    assert_eq!(told, Err(TryRecvError::DescriptorLost));
    // So is one whose waits are shorter than an interval.
    let told = until("a short wait that is told", || match rx.recv_timeout(INTERVAL / 5) {
        Err(RecvTimeoutError::Timeout) => None,
        told => Some(told),
    });
    assert_eq!(told, Err(RecvTimeoutError::DescriptorLost));
    let text = RecvError::DescriptorLost.to_string();
    assert!(text.contains("descriptor") && text.contains("open the ring anew"), "{text}");
}

fn told_while_full<K: Flavour>(tx: &mut Tx<K>) {
    let lost = Some(BulkError::DescriptorLost);
    assert_eq!(soon(|| tx.send(9)), Err(SendError::DescriptorLost(9)));
    assert_eq!(soon(|| tx.send_timeout(9, LATE)), Err(SendTimeoutError::DescriptorLost(9)));
    assert_eq!(soon(|| tx.send_slice_deadline(&[9], LATE)).err(), lost);
    assert_eq!(soon(|| tx.send_exact_deadline(&[9], LATE)).err(), lost);
    assert_eq!(soon(|| tx.claim_deadline(2, LATE).err()), lost);
    assert_eq!(soon(|| tx.wait_for_peer(LATE)), Err(PeerError::DescriptorLost));
    let told = until("a try that is told", || match tx.try_send(9) {
        Err(TrySendError::Full(9)) => None,
        told => Some(told),
    });
    assert_eq!(told, Err(TrySendError::DescriptorLost(9)));
}

/// From now on `call`, or that with this one `command`, is not permitted.
fn forbid(call: libc::c_long, command: Option<u32>) {
    let not_permitted = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    seccomp::answer_to(call, command.map(|command| (1, command)), not_permitted);
}
