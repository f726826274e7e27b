//! A worker: a process that uses the ring in every way there is, and may be killed at any moment.
//!
//! What its ends do is in [`sender`](crate::sender) and [`receiver`](crate::receiver); which ends
//! it has, here.

use std::time::{Duration, Instant};

use harness::{Carrier, Rng, memory, now};
use ringpipe::{AttachError, Mpmc, Ring, Role, Spsc, WaitPolicy};

use crate::backing::Address;
use crate::board::{BATCH, Board, Call, Entry, Lane, Mark, Parcel, Phase};
use crate::receiver::{Got, Receiver};
use crate::sender::{Sender, Sent};

/// What went wrong, for people.
pub type Outcome<R = ()> = Result<R, String>;

/// The kinds of ring, as far as who works on them differs.
pub trait Storm: Carrier<Parcel> {
    /// The most slots that one call claims.
    const CLAIM: u64 = BATCH as u64;

    /// The ends of worker `index`, and whether one thread serves them all.
    fn ends(index: usize) -> (&'static [Role], bool) {
        use Role::{Receiver, Sender};
        // Of one producer and one consumer, half want to be the one and half the other; those who
        // cannot stand by.
        match index % 8 {
            even if !Self::MANY && even % 2 == 0 => (&[Sender], false),
            _ if !Self::MANY => (&[Receiver], false),
            0..3 => (&[Sender], false),
            3 => (&[Sender, Receiver], false),
            4..6 => (&[Receiver], false),
            6 => (&[Receiver, Receiver], false),
            _ => (&[Sender, Receiver], true),
        }
    }

    /// Makes one call, any that sends.
    fn send(sender: &mut Sender<Self>) -> Outcome<Sent>;

    /// Makes one call, any that receives.
    fn receive(receiver: &mut Receiver<Self>) -> Outcome<Got>;
}

/// The most ends that a worker has.
pub const ENDS: usize = 2;

macro_rules! of_values {
    ($($kind:ty),*) => {$(
        impl Storm for $kind {
            fn send(sender: &mut Sender<Self>) -> Outcome<Sent> {
                sender.send_values()
            }
            fn receive(receiver: &mut Receiver<Self>) -> Outcome<Got> {
                receiver.receive_values()
            }
        }
    )*};
}
of_values!(Spsc, Mpmc);

/// What a worker is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Orders {
    /// Where the ring is.
    #[arg(long)]
    pub ring: Address,
    /// Where to open the board.
    #[arg(long)]
    pub board: String,
    /// How many lanes it has.
    #[arg(long)]
    pub lanes: usize,
    /// Which worker this is.
    #[arg(long)]
    pub index: usize,
    /// For its random choices.
    #[arg(long)]
    pub seed: u64,
}

/// Works until the board says otherwise.
pub fn work<K: Storm>(orders: &Orders) -> Outcome {
    let Orders { ring, board, lanes, index, seed } = orders;
    let board = Board::map(memory::open(board)?, *lanes).map_err(|e| e.to_string())?;
    let ring = ring.open::<K::Element, K>()?;
    let (roles, alternating) = K::ends(*index);
    let mut rng = Rng::new(*seed);
    let desks = roles.iter().enumerate().map(|(i, &role)| {
        let lane = board.lane(index * ENDS + i);
        (role, Desk { ring: ring.clone(), board, lane, rng: Rng::new(rng.next()), alternating })
    });
    if alternating {
        return alternate(desks.collect());
    }
    let threads: Vec<_> = desks
        .map(|(role, desk)| {
            std::thread::spawn(move || {
                let outcome = match role {
                    Role::Sender => send(desk),
                    Role::Receiver => receive(desk),
                };
                if let Err(why) = outcome {
                    // The other end must not go on as if nothing had happened.
                    eprintln!("{role:?}: {why}");
                    std::process::exit(1);
                }
            })
        })
        .collect();
    threads.into_iter().try_for_each(|t| t.join().map_err(|_| "an end panicked".to_owned()))
}

fn send<K: Storm>(desk: Desk<K>) -> Outcome {
    let Some(mut sender) = Sender::attach(desk)? else {
        return Ok(());
    };
    let mut steps = sender.desk.term();
    while sender.desk.board.phase() == Phase::Storm && steps.next().is_some() {
        sender.step()?;
    }
    sender.leave();
    Ok(())
}

fn receive<K: Storm>(desk: Desk<K>) -> Outcome {
    let Some(mut receiver) = Receiver::attach(desk)? else {
        return Ok(());
    };
    let mut steps = receiver.desk.term();
    while receiver.step()? {
        if steps.next().is_none() && receiver.desk.board.phase() == Phase::Storm {
            break;
        }
    }
    receiver.leave();
    Ok(())
}

/// One thread with a sending and a receiving end.
fn alternate<K: Storm>(desks: Vec<(Role, Desk<K>)>) -> Outcome {
    let (mut sender, mut receiver) = (None, None);
    for (role, desk) in desks {
        match role {
            Role::Sender => sender = Sender::attach(desk)?,
            Role::Receiver => receiver = Receiver::attach(desk)?,
        }
    }
    if let Some(mut sender) = sender {
        while sender.desk.board.phase() == Phase::Storm {
            sender.step()?;
            if let Some(receiver) = &mut receiver {
                receiver.step()?;
            }
        }
        sender.leave();
    }
    if let Some(mut receiver) = receiver {
        while receiver.step()? {}
        receiver.leave();
    }
    Ok(())
}

/// What an end works with.
pub struct Desk<K: Storm> {
    pub ring: Ring<K::Element, K>,
    pub board: Board,
    pub lane: Lane,
    pub rng: Rng,
    /// The other end of this thread waits meanwhile: no call may wait for ever.
    pub alternating: bool,
}

/// Longest wait for a record that somebody dead must be cleared from.
const PATIENCE: Duration = Duration::from_secs(20);

impl<K: Storm> Desk<K> {
    /// Attaches, waiting for a record. `None`: others have them to the end.
    pub fn attach<H>(
        &self,
        attach: impl Fn(&Ring<K::Element, K>) -> Result<H, AttachError>,
    ) -> Outcome<Option<H>> {
        let begun = Instant::now();
        loop {
            let phase = self.board.phase(); // before the try: see `Receiver::may_wait_for_ever`
            match attach(&self.ring) {
                Ok(handle) => return Ok(Some(handle)),
                Err(AttachError::RoleTaken { .. }) if phase != Phase::Storm => return Ok(None),
                Err(AttachError::RoleTaken { .. }) => {}
                Err(AttachError::TableFull { .. }) if begun.elapsed() < PATIENCE => {}
                Err(e) => return Err(format!("attaching: {e}")),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// After how many steps this end leaves of its own accord, if nobody kills it before.
    pub fn term(&mut self) -> std::ops::Range<u64> {
        0..if self.rng.one_in(4) { self.rng.within(1..2_000) } else { u64::MAX }
    }

    /// How this end is going to wait.
    pub fn manner(&mut self) -> (WaitPolicy, Duration) {
        let policy = match self.rng.within(0..8) {
            0 => WaitPolicy::Spin,
            1..4 => WaitPolicy::Park,
            _ => WaitPolicy::Adaptive,
        };
        let intervals = [1, 5, 20, 50, 100];
        (policy, Duration::from_millis(intervals[self.rng.within(0..5) as usize]))
    }

    /// Logs items that a receiver has claimed, and works at leisure; says how many to release.
    pub fn at_leisure(
        &mut self,
        items: impl Iterator<Item = Parcel>,
        count: usize,
        again: usize,
    ) -> usize {
        let at = now();
        let items = items.enumerate();
        self.lane.log(items.map(|(i, value)| Entry::Item(value, Mark::of(i, again), at)));
        for _ in 0..count {
            self.dawdle();
        }
        let release = match self.rng.within(0..4) {
            0 => self.rng.within(0..count as u64 + 1) as usize,
            _ => count,
        };
        self.lane.calling(Call::Releasing(release as u64));
        release
    }

    /// So many of them are released.
    pub fn released(&self, release: usize) {
        self.lane.log([Entry::Released(release as u64)].into_iter());
        self.lane.called();
    }

    /// Does something else for a moment, mostly nothing.
    pub fn dawdle(&mut self) {
        match self.rng.within(0..64) {
            0 => std::thread::sleep(Duration::from_micros(self.rng.within(20..2000))),
            1..4 => std::thread::yield_now(),
            4..8 => (0..self.rng.within(1..2000)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }

    /// A timeout, short enough for the flow to go on.
    pub fn a_while(&mut self) -> Duration {
        Duration::from_micros(self.rng.within(0..20_000))
    }
}
