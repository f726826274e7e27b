//! Who waits learns that it cannot know any more whether its peers live: the ring's descriptor was
//! closed behind the crate's back, its number leads to another file or ring, or the system calls
//! that ask are forbidden. Within an interval each call that would wait says so; nobody is taken
//! for dead; what need not wait goes on, and all is well again when the descriptor is.

mod support;

use std::any::Any;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ringpipe::bytes::Descriptor;
use ringpipe::messages::{Messages, Receiver, Sender};
use ringpipe::{
    BulkError, Bytes, Deadline, Item, Kind, MessageError, PeerError, RecvError, RecvHandle,
    RecvTimeoutError, Ring, SendError, SendHandle, SendTimeoutError, TryRecvError, TrySendError,
};
use rustix::fs::{MemfdFlags, memfd_create};
use support::kinds::{AnyKind, End};
use support::{Child, LONG_INTERVAL, Me, Name, POLICIES, all_kinds, roles, seccomp, until};

roles!(; of any kind: loses_its_descriptor);

all_kinds!(
    who_waits_with_a_closed_descriptor_is_told,
    who_waits_with_a_descriptor_that_leads_to_another_file_is_told,
    who_waits_with_a_descriptor_that_leads_to_another_ring_in_use_is_told,
    who_waits_and_may_not_ask_the_locks_is_told,
    who_waits_and_may_not_ask_for_the_file_is_told,
);

fn who_waits_with_a_closed_descriptor_is_told<K: Kind>() {
    play::<K>("close");
}

fn who_waits_with_a_descriptor_that_leads_to_another_file_is_told<K: Kind>() {
    play::<K>("another file");
}

fn who_waits_with_a_descriptor_that_leads_to_another_ring_in_use_is_told<K: Kind>() {
    play::<K>("another ring");
}

fn who_waits_and_may_not_ask_the_locks_is_told<K: Kind>() {
    play::<K>("forbid fcntl");
}

fn who_waits_and_may_not_ask_for_the_file_is_told<K: Kind>() {
    play::<K>("forbid fstat");
}

/// In a process that does nothing else: no other thread may take the number meanwhile.
fn play<K: Kind>(how: &str) {
    let mut child = Child::start::<K>("loses_its_descriptor", "");
    child.must(how, "Ok");
    child.finish();
}

const INTERVAL: Duration = Duration::from_millis(5);
/// For one who would learn of nothing.
const LATE: Duration = LONG_INTERVAL;
/// Bytes of a message.
const MESSAGE: usize = 100;

fn loses_its_descriptor<K: AnyKind<Tx: Sends, Rx: Receives>>(mut me: Me) {
    let how = me.hear().unwrap();
    let names = [(); 3].map(|()| Name::new());
    let [ring, lonely, other] =
        names.each_ref().map(|name| Ring::options().capacity(4).create(name).unwrap());
    let mut ends = [&ring, &other].map(|ring| attach::<K>(ring));
    let mut lonely_rx = K::receiver(&lonely).unwrap();
    lonely_rx.set_liveness_interval(INTERVAL);
    let (tx, rx) = &mut ends[0];
    let file = memfd_create("stranger", MemfdFlags::empty()).unwrap();
    let lose = |ring: &Ring<K::Element, K>| {
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

    assert_eq!(lonely_rx.wait_for_peer(LATE.into()), Err(PeerError::DescriptorLost));
    for policy in POLICIES {
        tx.set_wait_policy(policy);
        rx.set_wait_policy(policy);
        rx.told_while_empty();
        let sent = (0..=u8::MAX).cycle().take_while(|&number| tx.sends(number)).count();
        assert!(sent >= 4);
        tx.told_while_full();
        let numbers = (0..=u8::MAX).cycle().take(sent);
        let received = std::iter::from_fn(|| rx.receives());
        assert!(received.eq(numbers), "what need not wait goes on");
        assert!(!tx.is_closed() && !rx.is_closed(), "nobody is dead for that");
        assert_eq!((ring.peers().senders, ring.peers().receivers), (1, 1));
    }

    if !how.starts_with("forbid") {
        dup_onto(good[0].as_raw_fd(), ring.as_fd().as_raw_fd());
        dup_onto(good[1].as_raw_fd(), lonely.as_fd().as_raw_fd());
        assert_eq!(rx.wait_for_peer(LATE.into()), Ok(()));
        assert!(rx.waits_in_vain(3 * INTERVAL));
        assert!(tx.sends(5));
        assert_eq!(rx.receives(), Some(5));
    }
    me.say("Ok");
    me.hear();
}

fn attach<K: AnyKind>(ring: &Ring<K::Element, K>) -> (K::Tx, K::Rx) {
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

/// A sending end, which is told what it would wait for in vain.
trait Sends: End {
    /// Sends what this number makes, if there is room.
    fn sends(&mut self, number: u8) -> bool;
    /// What each of its calls says, in a full ring.
    fn told_while_full(&mut self);
}

/// A receiving end likewise.
trait Receives: End {
    /// Receives what a number made, if there is something.
    fn receives(&mut self) -> Option<u8>;
    /// Whether a wait for so long in an empty ring ends with its deadline.
    fn waits_in_vain(&mut self, time: Duration) -> bool;
    /// What each of its calls says, in an empty ring.
    fn told_while_empty(&mut self);
}

impl<T: Item + From<u8> + TryInto<u8> + PartialEq + Debug, K: Kind> Receives for RecvHandle<T, K> {
    fn receives(&mut self) -> Option<u8> {
        self.try_recv().ok()?.try_into().ok()
    }

    fn waits_in_vain(&mut self, time: Duration) -> bool {
        self.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }

    fn told_while_empty(&mut self) {
        let (rx, lost) = (self, Some(BulkError::DescriptorLost));
        let mut two = [T::from(0); 2];
        let lost_in_time = Err(RecvTimeoutError::DescriptorLost);
        assert_eq!(soon(|| rx.recv()), Err(RecvError::DescriptorLost));
        assert_eq!(soon(|| rx.recv_timeout(LATE)), lost_in_time);
        assert_eq!(soon(|| rx.recv_deadline(Deadline::NEVER)), lost_in_time);
        assert_eq!(soon(|| rx.recv_slice_deadline(&mut two, LATE)).err(), lost);
        assert_eq!(soon(|| rx.recv_exact_deadline(&mut two, LATE)).err(), lost);
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
        assert_eq!(told, lost_in_time);
        let text = RecvError::DescriptorLost.to_string();
        assert!(text.contains("descriptor") && text.contains("open the ring anew"), "{text}");
        if let Some(reader) = <dyn Any>::downcast_mut::<RecvHandle<u8, Bytes>>(rx) {
            is_lost(soon(|| reader.read(&mut [0; 9])));
            let nowhere = File::options().write(true).open("/dev/null").unwrap();
            let stopped = soon(|| reader.write_to(&nowhere, 9)).unwrap_err();
            assert!(matches!(stopped.why, Descriptor::Ring(BulkError::DescriptorLost)));
        }
    }
}

impl<T: Item + From<u8> + PartialEq + Debug, K: Kind> Sends for SendHandle<T, K> {
    fn sends(&mut self, number: u8) -> bool {
        self.try_send(T::from(number)).is_ok()
    }

    fn told_while_full(&mut self) {
        let (tx, lost, nine) = (self, Some(BulkError::DescriptorLost), T::from(9));
        assert_eq!(soon(|| tx.send(nine)), Err(SendError::DescriptorLost(nine)));
        let told = soon(|| tx.send_timeout(nine, LATE));
        assert_eq!(told, Err(SendTimeoutError::DescriptorLost(nine)));
        assert_eq!(soon(|| tx.send_slice_deadline(&[nine], LATE)).err(), lost);
        assert_eq!(soon(|| tx.send_exact_deadline(&[nine], LATE)).err(), lost);
        assert_eq!(soon(|| tx.claim_deadline(2, LATE).err()), lost);
        assert_eq!(soon(|| tx.wait_for_peer(LATE)), Err(PeerError::DescriptorLost));
        let told = until("a try that is told", || match tx.try_send(nine) {
            Err(TrySendError::Full(back)) if back == nine => None,
            told => Some(told),
        });
        assert_eq!(told, Err(TrySendError::DescriptorLost(nine)));
        if let Some(writer) = <dyn Any>::downcast_mut::<SendHandle<u8, Bytes>>(tx) {
            is_lost(soon(|| writer.write(&[9; 9])));
            let zeros = File::open("/dev/zero").unwrap();
            let stopped = soon(|| writer.read_from(&zeros, 9)).unwrap_err();
            assert!(matches!(stopped.why, Descriptor::Ring(BulkError::DescriptorLost)));
        }
    }
}

/// As `io` has it.
fn is_lost(told: io::Result<usize>) {
    let told = told.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NotConnected);
    assert!(told.to_string().contains("descriptor"), "{told}");
}

impl<K: Messages> Receives for Receiver<K>
where
    Self: End,
{
    fn receives(&mut self) -> Option<u8> {
        let mut message = Vec::new();
        self.try_recv(&mut message).ok()?;
        assert_eq!(message, vec![message[0]; MESSAGE]);
        Some(message[0])
    }

    fn waits_in_vain(&mut self, time: Duration) -> bool {
        self.recv_deadline(&mut Vec::new(), time) == Err(MessageError::Timeout)
    }

    fn told_while_empty(&mut self) {
        let (rx, lost, into) = (self, Err(MessageError::DescriptorLost), &mut vec![7]);
        assert_eq!(soon(|| rx.recv(into)), lost);
        assert_eq!(soon(|| rx.recv_deadline(into, LATE)), lost);
        assert_eq!(soon(|| rx.recv_deadline(into, Deadline::NEVER)), lost);
        assert_eq!(soon(|| rx.recv_into_deadline(&mut [0; 9], LATE).map(|_| ())), lost);
        assert_eq!(soon(|| rx.claim_deadline(2, LATE).map(|_| ())), lost);
        assert_eq!(soon(|| rx.wait_for_peer(LATE)), Err(PeerError::DescriptorLost));
        let told = until("a try that is told", || match rx.try_recv(into) {
            Err(MessageError::Empty) => None,
            told => Some(told),
        });
        assert_eq!(told, lost);
        let told =
            until("a short wait that is told", || match rx.recv_deadline(into, INTERVAL / 5) {
                Err(MessageError::Timeout) => None,
                told => Some(told),
            });
        assert_eq!((told, &into[..]), (lost, &[7][..]));
        let text = MessageError::DescriptorLost.to_string();
        assert!(text.contains("descriptor") && text.contains("open the ring anew"), "{text}");
    }
}

impl<K: Messages> Sends for Sender<K>
where
    Self: End,
{
    fn sends(&mut self, number: u8) -> bool {
        self.try_send(&[number; MESSAGE]).is_ok()
    }

    fn told_while_full(&mut self) {
        let (tx, lost, message) = (self, Err(MessageError::DescriptorLost), [9; MESSAGE]);
        assert_eq!(soon(|| tx.send(&message)), lost);
        assert_eq!(soon(|| tx.send_deadline(&message, LATE)), lost);
        let pieces = [IoSlice::new(&message)];
        assert_eq!(soon(|| tx.send_vectored_deadline(&pieces, LATE)), lost);
        assert_eq!(soon(|| tx.reserve_deadline(MESSAGE, LATE).map(|_| ())), lost);
        let stopped = soon(|| tx.send_all_deadline(&[&message], LATE)).unwrap_err();
        assert_eq!((stopped.sent, stopped.why), (0, MessageError::DescriptorLost));
        assert_eq!(soon(|| tx.wait_for_peer(LATE)), Err(PeerError::DescriptorLost));
        let told = until("a try that is told", || match tx.try_send(&message) {
            Err(MessageError::Full) => None,
            told => Some(told),
        });
        assert_eq!(told, lost);
    }
}

/// From now on `call`, or that with this one `command`, is not permitted.
fn forbid(call: libc::c_long, command: Option<u32>) {
    let not_permitted = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    seccomp::answer_to(call, command.map(|command| (1, command)), not_permitted);
}
