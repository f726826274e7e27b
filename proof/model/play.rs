//! A ring and up to two ends of each role, driven in turns, beside the model of what should become
//! of them: every result is compared as it comes.
//!
//! Whoever includes this file chooses the calls: `proof/model` at random, `fuzz` by what reaches
//! new code.

#[path = "play/ends.rs"]
mod ends;
#[path = "play/pool.rs"]
mod pool;
#[path = "play/recv.rs"]
mod recv;
#[path = "play/send.rs"]
mod send;
#[path = "play/watch.rs"]
mod watch;

use std::fmt;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ringpipe::{AttachError, Peers, RecvHandle, Ring, Role, SendHandle, WaitPolicy};

use super::queue::{self, ENDS, Model, Refused};
pub use ends::{Ends, Thing};
use ends::{agree, bulk, peer};
use watch::at_once;

/// One call. Those of both roles are made on both ends of the hand.
#[allow(dead_code, reason = "the fuzz target makes some of these calls only")]
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Send,
    SendNow,
    SendSlice(usize),
    SendExact(usize),
    Write {
        max: usize,
        end: End,
    },
    /// Every other slot of the run is left as it was.
    WriteSome {
        max: usize,
        end: End,
    },
    Recv,
    RecvNow,
    RecvSlice(usize),
    RecvExact(usize),
    Read {
        max: usize,
        end: End,
    },
    Iter,
    TryIter,
    CloseSender,
    CloseReceiver,
    AttachSender,
    AttachReceiver,
    /// Makes the hand's end another, if it has none itself: by `try_clone` where there is that.
    AnotherSender,
    AnotherReceiver,
    PoolSenders,
    PoolReceivers,
    WaitForPeer,
    IsClosed,
    RequireReceiver,
    RequireSender,
    CancelSender,
    ResetSender,
    CancelReceiver,
    ResetReceiver,
    Policy(Policy),
}

/// What becomes of a claimed run.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// This share of it (in 256ths) is committed or released.
    Part(u8),
    All,
    Drop,
    Forget,
}

impl End {
    fn of(self, len: usize) -> usize {
        match self {
            End::Part(share) => len * usize::from(share) / 256,
            End::All => len,
            End::Drop | End::Forget => 0,
        }
    }
}

/// How a call waits.
#[allow(dead_code, reason = "the fuzz target has but one hand")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    /// It does not: the `try_` form.
    Try,
    /// For no time at all.
    Zero,
    /// For a moment.
    Soon,
    /// Until a moment that is past.
    Past,
    /// For as long as it takes, where that is no time; otherwise as `Past`.
    Never,
}

/// [`WaitPolicy`], by names of its own so that it can be chosen from.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    Adaptive,
    Spin,
    Park,
}

impl From<Policy> for WaitPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Adaptive => WaitPolicy::Adaptive,
            Policy::Spin => WaitPolicy::Spin,
            Policy::Park => WaitPolicy::Park,
        }
    }
}

/// Which ends make a call, and how.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    pub second: bool,
    pub wait: Wait,
    /// Runs are borrowed, not copied.
    pub lent: bool,
}

impl Hand {
    fn which(self) -> usize {
        usize::from(self.second)
    }
}

/// A call and who makes it.
#[derive(Clone, Copy)]
pub struct Move(pub Hand, pub Call);

/// On one line, as there are many.
impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Hand { second, wait, lent }, call) = self;
        let (end, how) =
            (if *second { "second" } else { "first" }, if *lent { "lent" } else { "" });
        write!(f, "{end} {wait:?} {how} {call:?}")
    }
}

/// What ring it is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub capacity: usize,
    pub endpoints: usize,
    pub drop_unreleased: bool,
    pub delivery_limit: u32,
    /// Nobody is attached at first.
    pub bare: bool,
}

const SOON: Duration = Duration::from_micros(20);

/// Nobody dies here: looking whether somebody has would only make results depend on the clock.
const INTERVAL: Duration = Duration::MAX;

/// What a claim comes to if it may wait, and how it is then made.
fn waited<R>(
    expected: Result<R, Refused>,
    wait: Wait,
    cancelled: bool,
) -> (Result<R, Refused>, Wait) {
    let waits = matches!(expected, Err(Refused::NotReady | Refused::Late));
    let wait = if waits && wait == Wait::Never && !cancelled { Wait::Past } else { wait };
    let expected = expected.map_err(|refused| match (refused, wait) {
        (Refused::NotReady, Wait::Try) => Refused::NotReady,
        (Refused::NotReady, _) if cancelled => Refused::Cancelled,
        (Refused::NotReady, _) => Refused::Timeout,
        (settled, _) => settled,
    });
    (expected, wait)
}

/// The ring, its ends, and what should become of them.
pub struct Stage<T: Thing, K: Ends> {
    /// Opened twice, as by two processes; an end comes from the one or the other.
    rings: [Ring<T, K>; 2],
    tx: [Option<SendHandle<T, K>>; 2],
    rx: [Option<RecvHandle<T, K>>; 2],
    model: Model<T>,
    next: u64,
    began: Instant,
    /// What each receiver should say of the items it received last, if that is to be said: how many
    /// were delivered before, and how often the first, to others.
    again: [Option<(usize, u32)>; ENDS],
}

impl<T: Thing, K: Ends> Stage<T, K> {
    fn new(shape: Shape) -> Self {
        let Shape { capacity, endpoints, drop_unreleased, delivery_limit, .. } = shape;
        let options = Ring::options()
            .capacity(capacity)
            .endpoints(endpoints as u32)
            .drop_unreleased(drop_unreleased)
            .delivery_limit(delivery_limit);
        let ring = options.create_anonymous().expect("a small ring");
        let descriptor = ring.as_fd().try_clone_to_owned().expect("a descriptor");
        let zero = ringpipe::bytemuck::Zeroable::zeroed();
        Self {
            rings: [Ring::options().from_fd(descriptor).expect("the same"), ring],
            tx: [None, None],
            rx: [None, None],
            model: Model::new(K::MANY, capacity, endpoints, drop_unreleased, delivery_limit, zero),
            next: 1,
            began: Instant::now(),
            again: [None; ENDS],
        }
    }

    fn call(&mut self, hand: Hand, call: Call) {
        let which = hand.which();
        match call {
            Call::AttachSender if self.tx[which].is_none() => {
                self.sender_attaches(which, None, K::sender(&self.rings[which]));
            }
            Call::AttachReceiver if self.rx[which].is_none() => {
                self.receiver_attaches(which, None, K::receiver(&self.rings[which]));
            }
            Call::AnotherSender if self.tx[which].is_none() => {
                if let Some(other) = self.tx[1 - which].as_ref().map(K::another_tx) {
                    self.sender_attaches(which, Some(1 - which), other);
                }
            }
            Call::AnotherReceiver if self.rx[which].is_none() => {
                if let Some(other) = self.rx[1 - which].as_ref().map(K::another_rx) {
                    self.receiver_attaches(which, Some(1 - which), other);
                }
            }
            Call::CloseSender => {
                if let Some(tx) = self.tx[which].take() {
                    tx.close();
                    self.model.sender_closes(which);
                }
            }
            // One abandoned claim at a time: which of several is taken over first, nobody says.
            Call::CloseReceiver
                if !(self.model.has_abandoned_claim() && self.model.holds(which)) =>
            {
                if let Some(rx) = self.rx[which].take() {
                    rx.close();
                    self.model.receiver_closes(which);
                }
            }
            Call::PoolSenders | Call::PoolReceivers => K::pooled(self, hand, call),
            call => {
                if let Some(mut tx) = self.tx[which].take() {
                    self.send(which, &mut tx, hand, call);
                    self.tx[which] = Some(tx);
                }
                if let Some(mut rx) = self.rx[which].take() {
                    self.receive(which, &mut rx, hand, call);
                    self.rx[which] = Some(rx);
                }
            }
        }
        self.look();
    }

    fn sender_attaches(
        &mut self,
        who: usize,
        original: Option<usize>,
        tx: Result<SendHandle<T, K>, AttachError>,
    ) {
        let room = self.model.sender_attaches(who, original);
        self.tx[who] = self.attached(tx, room, Role::Sender);
        self.tx[who].iter_mut().for_each(|tx| tx.set_liveness_interval(INTERVAL));
    }

    fn receiver_attaches(
        &mut self,
        who: usize,
        original: Option<usize>,
        rx: Result<RecvHandle<T, K>, AttachError>,
    ) {
        let room = self.model.receiver_attaches(who, original);
        self.rx[who] = self.attached(rx, room, Role::Receiver);
        self.rx[who].iter_mut().for_each(|rx| rx.set_liveness_interval(INTERVAL));
        self.again[who] = None;
    }

    fn attached<H>(&self, end: Result<H, AttachError>, room: bool, role: Role) -> Option<H> {
        match end {
            Ok(end) => {
                assert!(room, "attached where there was no room");
                return Some(end);
            }
            Err(AttachError::TableFull { endpoints, .. }) if K::MANY => {
                assert_eq!(endpoints, self.rings[0].endpoints());
            }
            Err(AttachError::RoleTaken { role: taken, .. }) if !K::MANY => assert_eq!(taken, role),
            Err(other) => panic!("{other}"),
        }
        assert!(!room, "not attached though there was room");
        None
    }

    /// Asks everybody what there is to see, and nobody is disturbed.
    fn look(&self) {
        let (len, peers) = (self.model.len(), self.model.peers());
        let seen =
            |capacity: usize, seen_len: usize, empty: bool, full: bool, peers_seen: Peers| {
                assert_eq!(capacity, self.model.capacity);
                assert_eq!(seen_len, len);
                assert_eq!(empty, len == 0);
                // What a receiver holds is not in the ring any more, and yet takes room: an MPMC
                // ring without a free slot need not say that it is full.
                assert!(full == self.model.no_free_slot() || (K::MANY && !full));
                assert_eq!((peers_seen.senders, peers_seen.receivers), peers);
            };
        for ring in &self.rings {
            seen(ring.capacity(), ring.len(), ring.is_empty(), ring.is_full(), ring.peers());
        }
        for tx in self.tx.iter().flatten() {
            seen(tx.capacity(), tx.len(), tx.is_empty(), tx.is_full(), tx.peers());
        }
        for rx in self.rx.iter().flatten() {
            seen(rx.capacity(), rx.len(), rx.is_empty(), rx.is_full(), rx.peers());
        }
    }

    fn finish(&self) {
        let stats = self.rings[0].stats();
        assert_eq!(stats.sent, self.model.sent);
        assert_eq!(stats.received, self.model.received);
        assert_eq!(stats.skipped, self.model.skipped);
        assert_eq!(stats.redelivered, self.model.redelivered);
        assert_eq!(stats.dropped, self.model.dropped);
        assert_eq!(stats.exhausted, self.model.exhausted);
        assert_eq!((stats.sender_arrivals, stats.receiver_arrivals), self.model.arrivals);
    }
}

/// A ring of `capacity` slots with one end of each role, and then these calls.
#[allow(dead_code, reason = "the fuzz target's way in")]
pub fn run<K: Ends>(capacity: usize, calls: &[Call]) {
    let hand = Hand { second: false, wait: Wait::Try, lent: false };
    let shape =
        Shape { capacity, endpoints: 2, drop_unreleased: false, delivery_limit: 0, bare: false };
    play::<u64, K>(shape, calls.iter().map(|&call| Move(hand, call)));
}

/// A ring of this shape, with one end of each role unless it is bare, and then these calls.
pub fn play<T: Thing, K: Ends>(shape: Shape, moves: impl IntoIterator<Item = Move>) {
    let mut stage = Stage::<T, K>::new(shape);
    let hand = Hand { second: false, wait: Wait::Try, lent: false };
    if !shape.bare {
        stage.call(hand, Call::AttachSender);
        stage.call(hand, Call::AttachReceiver);
    }
    for Move(hand, call) in moves {
        stage.call(hand, call);
    }
    stage.finish();
}
