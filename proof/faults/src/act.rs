//! The operations, as a victim performs them.
//!
//! A victim gets ready, marks the beginning, acts, marks the end, gives everything back, and reports
//! in words: what came of it, and what it has not got rid of.

use std::fmt::Debug;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use harness::carrier::records;
use harness::trace::marker;
use harness::{Carrier, End, Receives, Sends, Value, memory};
use ringpipe::{
    AttachError, Bytes, Deadline, Mpmc, MpmcMessages, OpenError, Options, Pool, Ring, Role, Spsc,
    SpscMessages, Unclean, WaitPolicy,
};

/// What a victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Create,
    Open,
    OpenOrCreate,
    Attach(Role),
    Clone(Role),
    Unlink,
    UnlinkName,
    IsLinked,
    List,
    Orphans,
    RemoveOrphans,
    RemoveOrphan,
    Sync,
    Checkpoint,
    Close,
    TrySend,
    TryRecv,
    /// Several, by one call.
    SendSlice,
    /// Bytes: the kernel reads them from a file.
    ReadFrom,
    /// Bytes: the kernel writes them to a file.
    WriteTo,
    Send,
    Recv,
    /// Spinning first, as is the default.
    RecvAdaptive,
    RecvTimeout,
    SendTimeout,
    IsClosed(Role),
    WaitForPeer,
    Clear,
    Lend,
    Leave(Role),
    /// With an item in hand.
    LeaveHolding,
    Cancel,
    /// Nothing: for one who is to be there, and to be killed.
    Stay(Role),
    /// With an item in hand.
    StayHolding,
}

impl Act {
    /// What it has when it begins: an end that is attached, or nothing but the ring, or not even it.
    fn has(self) -> Option<Role> {
        use Act::*;
        match self {
            TrySend | SendSlice | ReadFrom | Send | SendTimeout | IsClosed(Role::Sender) => {
                Some(Role::Sender)
            }
            Clone(role) | Leave(role) | Stay(role) => Some(role),
            TryRecv | WriteTo | Recv | RecvAdaptive | RecvTimeout | IsClosed(Role::Receiver) => {
                Some(Role::Receiver)
            }
            WaitForPeer | Clear | LeaveHolding | StayHolding | Cancel => Some(Role::Receiver),
            _ => None,
        }
    }

    /// It acts on an end that is attached, and that is all it needs the system for.
    pub fn is_attached(self) -> bool {
        !matches!(self, Act::Clone(_)) && self.has().is_some()
    }

    /// It tells, or acts on, what it sees.
    pub fn looks(self) -> bool {
        use Act::*;
        matches!(self, IsLinked | List | Orphans | RemoveOrphans | RemoveOrphan)
    }

    fn opens_before(self) -> bool {
        use Act::*;
        !matches!(
            self,
            Create
                | Open
                | OpenOrCreate
                | UnlinkName
                | List
                | Orphans
                | RemoveOrphans
                | RemoveOrphan
        )
    }
}

/// Slots of the rings here.
pub const SLOTS: usize = 4;
/// How soon an end asks whether its peers live.
const INTERVAL: Duration = Duration::from_millis(1);
/// A wait that ends by itself.
const MOMENT: Duration = Duration::from_millis(3);
/// What a victim sends.
pub const SENT: u64 = 100;

/// How rings are made here.
pub fn options<K: Carrier<u64>>() -> Options<K::Element, K> {
    K::options(SLOTS).endpoints(if K::MANY { 8 } else { 2 })
}

/// Opens a ring by what tells where it is: a name; a path; a descriptor of another process.
pub fn open<K: Carrier<u64>>(
    place: &str,
    unclean: Unclean,
) -> Result<Ring<K::Element, K>, OpenError> {
    let options = options::<K>().unclean(unclean);
    if place.starts_with("/proc/") {
        let file = File::options().read(true).write(true).open(place).expect("the ring's memfd");
        options.from_fd(file.into())
    } else if place.starts_with('/') {
        options.open_file(place)
    } else {
        options.open(place)
    }
}

/// What not every kind of ring has.
pub trait Ends: Carrier<u64> {
    /// Attaches another such sender.
    fn another_sender(_: &Self::Sender) -> Result<Self::Sender, AttachError> {
        unreachable!("there is one")
    }
    /// Attaches another such receiver.
    fn another_receiver(_: &Self::Receiver) -> Result<Self::Receiver, AttachError> {
        unreachable!("there is one")
    }
    /// A pool with one idle sender, to lend two at once.
    fn lender(_: &Ring<Self::Element, Self>) -> Box<dyn Fn() -> String> {
        unreachable!("there is nothing to lend")
    }
    /// Sends two values by one call.
    fn send_two(_: &mut Self::Sender) -> String {
        unreachable!("each message is one call")
    }
    /// Has the kernel move a value from the file into the ring, or the other way.
    fn transfer(_: &mut Hands<Self>) -> String {
        unreachable!("there are no bytes")
    }
}

macro_rules! of_items {
    () => {
        fn send_two(tx: &mut Self::Sender) -> String {
            show(tx.try_send_slice(&[SENT, SENT + 1]))
        }
    };
}

macro_rules! of_many {
    () => {
        fn another_sender(tx: &Self::Sender) -> Result<Self::Sender, AttachError> {
            tx.try_clone()
        }
        fn another_receiver(rx: &Self::Receiver) -> Result<Self::Receiver, AttachError> {
            rx.try_clone()
        }
        fn lender(ring: &Ring<Self::Element, Self>) -> Box<dyn Fn() -> String> {
            let pool = Pool::new(ring.sender().expect("getting ready: a sender"));
            Box::new(move || match (pool.get(), pool.get()) {
                (Ok(_), Ok(_)) => "Ok".into(),
                (Err(e), _) | (_, Err(e)) => format!("Err({e:?})"),
            })
        }
    };
}

impl Ends for Spsc {
    of_items!();
}

impl Ends for Mpmc {
    of_items!();
    of_many!();
}

impl Ends for Bytes {
    fn send_two(tx: &mut Self::Sender) -> String {
        show(tx.writer.write(&records(&[SENT, SENT + 1])))
    }

    fn transfer(hands: &mut Hands<Self>) -> String {
        let (fd, most) = (hands.fd.as_ref().expect("a file"), u64::RECORD as u64);
        match (hands.tx.last_mut(), hands.rx.last_mut()) {
            (Some(tx), _) => show(tx.writer.read_from(fd, most)),
            (_, Some(rx)) => show(rx.reader.write_to(fd, most)),
            _ => unreachable!("it has an end"),
        }
    }
}

impl Ends for SpscMessages {}

impl Ends for MpmcMessages {
    of_many!();
}

/// What a victim may have in hand.
pub struct Hands<K: Carrier<u64>> {
    ring: Option<Ring<K::Element, K>>,
    tx: Vec<K::Sender>,
    rx: Vec<K::Receiver>,
    fd: Option<OwnedFd>,
    lend: Option<Box<dyn Fn() -> String>>,
}

impl<K: Carrier<u64>> Hands<K> {
    fn tx(&mut self) -> &mut K::Sender {
        self.tx.last_mut().expect("a sender")
    }
    fn rx(&mut self) -> &mut K::Receiver {
        self.rx.last_mut().expect("a receiver")
    }
    fn ring(&self) -> &Ring<K::Element, K> {
        self.ring.as_ref().expect("a ring")
    }
}

/// The life of a victim.
pub fn perform<K: Ends>(act: Act, place: &str, anonymous: bool) {
    // SAFETY: takes a number. One that hangs is ended by a signal, which its tracer reports.
    unsafe { libc::alarm(40) };
    let before = descriptors();
    let mut hands = Hands::<K> { ring: None, tx: Vec::new(), rx: Vec::new(), fd: None, lend: None };
    if act.opens_before() {
        hands.ring = Some(open::<K>(place, Unclean::Refuse).expect("getting ready: the ring"));
    }
    match act.has() {
        Some(Role::Sender) => {
            let mut tx = K::sender(hands.ring()).expect("getting ready: a sender");
            tx.set_liveness_interval(INTERVAL);
            tx.set_wait_policy(WaitPolicy::Park);
            hands.tx.push(tx);
        }
        Some(_) => {
            let mut rx = K::receiver(hands.ring()).expect("getting ready: a receiver");
            rx.set_liveness_interval(INTERVAL);
            rx.set_wait_policy(match act {
                Act::RecvAdaptive => WaitPolicy::Adaptive,
                _ => WaitPolicy::Park,
            });
            hands.rx.push(rx);
        }
        None => {}
    }
    if matches!(act, Act::LeaveHolding | Act::StayHolding) {
        hands.rx().recv_in_place(1, |_| 0).expect("getting ready: an item");
    }
    if anonymous && act == Act::Open {
        let file = File::options().read(true).write(true).open(place).expect("the ring's memfd");
        hands.fd = Some(file.into());
    }
    if matches!(act, Act::ReadFrom | Act::WriteTo) {
        let mut file: File = memory::create("stream", 0).expect("a memfd").into();
        if act == Act::ReadFrom {
            file.write_all(&records(&[SENT])).expect("a memfd");
            file.rewind().expect("a memfd");
        }
        hands.fd = Some(file.into());
    }
    if act == Act::Lend {
        hands.lend = Some(K::lender(hands.ring()));
    }
    marker();
    let said = act_out(act, place, anonymous, &mut hands);
    marker();
    drop(hands);
    report(&said, before, place);
}

fn act_out<K: Ends>(act: Act, place: &str, anonymous: bool, hands: &mut Hands<K>) -> String {
    match act {
        Act::Create if anonymous => keep(&mut hands.ring, options::<K>().create_anonymous()),
        Act::Create if place.starts_with('/') => {
            keep(&mut hands.ring, options::<K>().create_file(place))
        }
        Act::Create => keep(&mut hands.ring, options::<K>().create(place)),
        Act::Open => match hands.fd.take() {
            Some(fd) => keep(&mut hands.ring, options::<K>().from_fd(fd)),
            None => keep(&mut hands.ring, open::<K>(place, Unclean::Refuse)),
        },
        Act::OpenOrCreate if place.starts_with('/') => {
            keep(&mut hands.ring, options::<K>().open_or_create_file(place))
        }
        Act::OpenOrCreate => keep(&mut hands.ring, options::<K>().open_or_create(place)),
        Act::Attach(Role::Sender) => push(&mut hands.tx, K::sender(hands.ring.as_ref().unwrap())),
        Act::Attach(_) => push(&mut hands.rx, K::receiver(hands.ring.as_ref().unwrap())),
        Act::Clone(Role::Sender) => {
            let clone = K::another_sender(hands.tx.last().unwrap());
            push(&mut hands.tx, clone)
        }
        Act::Clone(_) => {
            let clone = K::another_receiver(hands.rx.last().unwrap());
            push(&mut hands.rx, clone)
        }
        Act::Unlink => show(hands.ring().unlink()),
        Act::UnlinkName => show(ringpipe::unlink(place)),
        Act::IsLinked => format!("Ok({})", hands.ring().is_linked()),
        Act::List => show(ringpipe::list().map(|rings| rings.len())),
        Act::Orphans => show(ringpipe::orphans().map(|rings| rings.len())),
        Act::RemoveOrphans => show(ringpipe::remove_orphans().map(|rings| rings.len())),
        Act::RemoveOrphan => show(ringpipe::remove_orphan(place)),
        Act::Sync => show(hands.ring().sync()),
        Act::Checkpoint => show(hands.ring.take().expect("a ring").checkpoint()),
        Act::Close => {
            hands.ring = None;
            "Ok".into()
        }
        Act::TrySend => show(hands.tx().try_send(SENT)),
        Act::SendSlice => K::send_two(hands.tx()),
        Act::ReadFrom | Act::WriteTo => K::transfer(hands),
        Act::TryRecv => show(hands.rx().try_recv()),
        Act::Send => show(hands.tx().send_deadline(SENT, Deadline::NEVER)),
        Act::Recv | Act::RecvAdaptive => show(hands.rx().recv_deadline(Deadline::NEVER)),
        Act::RecvTimeout => show(hands.rx().recv_deadline(MOMENT)),
        Act::SendTimeout => show(hands.tx().send_deadline(SENT, MOMENT)),
        Act::IsClosed(Role::Sender) => format!("Ok({})", hands.tx().is_closed()),
        Act::IsClosed(_) => format!("Ok({})", hands.rx().is_closed()),
        Act::WaitForPeer => show(hands.rx().wait_for_peer(ringpipe::Deadline::NEVER)),
        Act::Clear => show(hands.rx().clear()),
        Act::Lend => hands.lend.as_ref().expect("a pool")(),
        Act::Leave(_) | Act::LeaveHolding => {
            hands.tx.clear();
            hands.rx.clear();
            "Ok".into()
        }
        Act::Cancel => {
            let canceller = hands.rx().canceller();
            canceller.cancel();
            let said = show(hands.rx().recv_deadline(Deadline::NEVER));
            canceller.reset();
            said
        }
        Act::Stay(_) | Act::StayHolding => "Ok".into(),
    }
}

fn show<T: Debug, E: Debug>(outcome: Result<T, E>) -> String {
    format!("{outcome:?}")
}

fn keep<R, E: Debug>(place: &mut Option<R>, made: Result<R, E>) -> String {
    show(made.map(|ring| *place = Some(ring)))
}

fn push<H, E: Debug>(ends: &mut Vec<H>, made: Result<H, E>) -> String {
    show(made.map(|end| ends.push(end)))
}

/// Open descriptors.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Writes to standard input, a memfd of its tracer's, what came of the act, and how many descriptors
/// and mappings of the ring are left of those who were given back.
fn report(said: &str, before: usize, place: &str) {
    let leaf = place.rsplit('/').next().unwrap_or(place);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let of_the_ring = |line: &&str| line.contains("memfd:ringpipe") || line.contains(leaf);
    let mappings = match place.starts_with("/proc/") {
        true => maps.lines().filter(|line| line.contains("memfd:ringpipe")).count(),
        false => maps.lines().filter(of_the_ring).count(),
    };
    let descriptors = descriptors() - before;
    // SAFETY: standard input is open, and nobody else here has it; it is not closed.
    let mut file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(0) });
    file.rewind().expect("a memfd");
    write!(file, "{descriptors} {mappings} {said}").expect("a memfd");
}
