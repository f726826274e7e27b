//! The storm itself: workers are killed, stopped, continued and started again, at random.
//!
//! One loop does everything, about a thousand times a second: it reads the workers' logs into the
//! ledger, reaps the dead, starts successors, and strikes when it is time to. Nothing here waits
//! for a worker: if one hangs, the loop notices.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::new::{Named, records_are_usable, slots_are_usable};
use harness::{Child, Rng, memory, now};
use ringpipe::{Ring, Stats};
use rustix::process::{Pid, Signal, kill_process};

use crate::Options;
use crate::backing::{Address, NoRing};
use crate::board::{Board, Lane, Parcel, Phase};
use crate::ledger::{Ledger, Reader, Sums};
use crate::worker::{ENDS, Outcome, Storm};

/// No item arrives for so long, though somebody sends and somebody receives: a hang.
const HANG: Duration = Duration::from_secs(10);
/// Longest wait for senders to leave, and then for receivers to see the end.
const GRACE: Duration = Duration::from_secs(30);
/// Whatever was sent so long ago has arrived.
const OLD: Duration = Duration::from_secs(20);

/// Counts, for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub kills: u64,
    pub stops: u64,
    pub killed_while_stopped: u64,
    pub retired: u64,
    pub starts: u64,
}

/// What a storm came to.
#[derive(Debug)]
pub struct Report {
    pub lasted: Duration,
    pub counts: Counts,
    pub sums: Sums,
    pub stats: Stats,
}

/// A place for a worker.
#[derive(Default)]
struct Post {
    child: Option<Child>,
    /// Killed by us, to be reaped.
    dying: bool,
    /// Stopped until then.
    stopped: Option<Instant>,
    /// When the next one starts.
    starts: Option<Instant>,
    readers: [Reader; ENDS],
}

struct Weather<'a, K: Storm> {
    options: &'a Options,
    address: Address,
    board: Board,
    board_path: String,
    ring: Ring<K::Element, K>,
    posts: Vec<Post>,
    ledger: Ledger,
    rng: Rng,
    counts: Counts,
}

/// Lets a storm rage, and sees what is left. Says why if there can be no ring of that backing.
pub fn rage<K: Storm>(options: &Options) -> Outcome<Result<Report, String>> {
    let how = K::options(options.capacity).endpoints(options.endpoints);
    let (ring, address) = match options.backing.create(&how, options.directory.as_deref()) {
        Ok(created) => created,
        Err(NoRing::Unfit(why)) => return Ok(Err(why)),
        Err(NoRing::Failed(why)) => return Err(why),
    };
    let ring = Named(ring);
    println!("  the ring is {}", address.describe());
    let lanes = usize::from(options.workers) * ENDS;
    let (fd, board) = Board::create(lanes).map_err(|e| format!("the board: {e}"))?;
    let mut weather = Weather {
        options,
        address,
        board,
        board_path: memory::address(&fd),
        ring: ring.clone(),
        posts: (0..options.workers).map(|_| Post::default()).collect(),
        ledger: Ledger::new(K::slots),
        rng: Rng::new(options.seed),
        counts: Counts::default(),
    };
    let began = Instant::now();
    weather.storm()?;
    let lasted = began.elapsed();
    weather.calm()?;
    let stats = ring.stats();
    let sums = weather.ledger.settle()?;
    if !K::MANY {
        weather.ledger.in_one_order()?;
    }
    balance::<K>(&sums, &stats, &weather.counts)?;
    slots_are_usable(&ring, |n| Parcel::new(u64::MAX, n, 0))?;
    records_are_usable::<Parcel, K>(&ring)?;
    Ok(Ok(Report { lasted, counts: weather.counts, sums, stats }))
}

impl<K: Storm> Weather<'_, K> {
    /// The ends of worker `index`: which roles they have, and their lanes.
    fn lanes(&self, index: usize) -> impl Iterator<Item = (ringpipe::Role, Lane)> + use<K> {
        let board = self.board;
        let roles = K::ends(index).0.iter().enumerate();
        roles.map(move |(i, &role)| (role, board.lane(index * ENDS + i)))
    }

    fn start(&mut self, index: usize) -> Outcome {
        self.lanes(index).for_each(|(_, lane)| lane.wipe());
        // This very program, even if the file has been replaced meanwhile.
        let child = Command::new("/proc/self/exe")
            .arg("worker")
            .args(["--kind", self.options.kind.as_str(), "--ring", &self.address.to_string()])
            .args(["--board", &self.board_path])
            .args(["--lanes", &(self.posts.len() * ENDS).to_string()])
            .args(["--index", &index.to_string()])
            .args(["--seed", &self.rng.next().to_string()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("starting a worker: {e}"))?;
        self.counts.starts += 1;
        let post = &mut self.posts[index];
        *post = Post { child: Some(Child(child)), ..Post::default() };
        Ok(())
    }

    /// Rages until the time is over, or the kills are done.
    fn storm(&mut self) -> Outcome {
        for index in 0..self.posts.len() {
            self.start(index)?;
        }
        let ends = Instant::now() + Duration::from_secs_f64(self.options.seconds);
        let mut strikes = Instant::now();
        let mut progress = Instant::now();
        let mut shows = Instant::now();
        let mut received = 0;
        while Instant::now() < ends && self.options.kills.is_none_or(|k| self.counts.kills < k) {
            let news = self.look_after(true)?;
            received += news;
            if news > 0 || !self.both_run() {
                progress = Instant::now();
            }
            if progress.elapsed() > HANG {
                return Err(format!("nothing has arrived for {HANG:?}: {:?}", self.ring));
            }
            while strikes <= Instant::now() {
                self.strike()?;
                // Twice the mean at most, so that the rate holds.
                let mean = 1e6 / self.options.kills_per_second;
                strikes += Duration::from_micros(self.rng.within(0..(2.0 * mean) as u64 + 1));
            }
            if self.options.verbose && shows.elapsed() > Duration::from_secs(10) {
                shows = Instant::now();
                eprintln!("storm: {:?}, {received} received", self.counts);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Some sender and some receiver are alive and not stopped.
    fn both_run(&self) -> bool {
        let running = |wanted| {
            self.posts.iter().enumerate().any(|(index, post)| {
                let runs = post.child.is_some() && !post.dying && post.stopped.is_none();
                runs && K::ends(index).0.contains(&wanted)
            })
        };
        running(ringpipe::Role::Sender) && running(ringpipe::Role::Receiver)
    }

    /// Hits somebody: a kill, now and then of several at once or of someone just stopped, and with
    /// each kill perhaps a stop of somebody else.
    fn strike(&mut self) -> Outcome {
        let victims = match self.rng.within(0..16) {
            0 => self.rng.within(2..5),
            _ => 1,
        };
        for _ in 0..victims {
            let index = self.rng.within(0..self.posts.len() as u64) as usize;
            let post = &mut self.posts[index];
            if let Some(child) = &post.child
                && !post.dying
            {
                signal(child, Signal::KILL)?;
                self.counts.killed_while_stopped += u64::from(post.stopped.is_some());
                self.counts.kills += 1;
                post.dying = true;
            }
        }
        if self.rng.one_in(3) {
            let index = self.rng.within(0..self.posts.len() as u64) as usize;
            let until = Instant::now() + Duration::from_millis(self.rng.within(1..150));
            let post = &mut self.posts[index];
            if let Some(child) = &post.child
                && !post.dying
                && post.stopped.is_none()
            {
                signal(child, Signal::STOP)?;
                self.counts.stops += 1;
                post.stopped = Some(until);
            }
        }
        Ok(())
    }

    /// Reads logs, reaps, continues and starts whoever's time has come. How much was received.
    fn look_after(&mut self, start: bool) -> Outcome<u64> {
        let mut news = 0;
        for index in 0..self.posts.len() {
            news += self.read_logs(index)?;
            let post = &mut self.posts[index];
            if let Some(child) = &mut post.child {
                if post.stopped.is_some_and(|until| until <= Instant::now()) {
                    signal(child, Signal::CONT)?;
                    post.stopped = None;
                }
                if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                    let dying = post.dying;
                    if !dying && !status.success() {
                        return Err(format!("worker {index} failed: {status}"));
                    }
                    self.counts.retired += u64::from(!dying);
                    self.reap(index)?;
                }
            } else if start && post.starts.is_some_and(|at| at <= Instant::now()) {
                self.start(index)?;
            }
        }
        self.ledger.close_old(now().saturating_sub(OLD.as_nanos() as u64))?;
        Ok(news)
    }

    fn read_logs(&mut self, index: usize) -> Outcome<u64> {
        let mut news = 0;
        for (i, (_, lane)) in self.lanes(index).enumerate() {
            let mut outcome = Ok(());
            let reader = &mut self.posts[index].readers[i];
            news += lane.take_log(|entry| {
                if outcome.is_ok() {
                    outcome = self.ledger.read(reader, entry);
                }
            });
            outcome?;
        }
        Ok(news)
    }

    /// The worker is reaped: takes what it has left on the board.
    fn reap(&mut self, index: usize) -> Outcome {
        let died = now();
        self.read_logs(index)?;
        for (i, (_, lane)) in self.lanes(index).enumerate() {
            if let Some((number, sent, more)) = lane.sender() {
                self.ledger.end_sender(number, sent, more, died)?;
            }
            if let Some(number) = lane.receiver() {
                let reader = std::mem::take(&mut self.posts[index].readers[i]);
                let (call, begun) = lane.call();
                self.ledger.end_receiver(number, reader, call, begun, died, lane.in_buffer())?;
            }
        }
        let rest = Duration::from_millis(self.rng.within(0..40));
        self.posts[index] = Post { starts: Some(Instant::now() + rest), ..Post::default() };
        Ok(())
    }

    /// Everybody is well again; senders leave, receivers drain the ring and see the end.
    fn calm(&mut self) -> Outcome {
        for index in 0..self.posts.len() {
            let post = &mut self.posts[index];
            if let Some(child) = &post.child
                && post.stopped.take().is_some()
            {
                signal(child, Signal::CONT)?;
            }
        }
        // The dying die, and every post is taken once more.
        self.until("workers to start", true, |weather| {
            weather.posts.iter().all(|post| post.child.is_some() && !post.dying)
        })?;
        self.board.set_phase(Phase::WindDown);
        self.until("senders to leave", false, |weather| {
            (0..weather.posts.len()).all(|index| {
                let mut senders =
                    weather.lanes(index).filter(|(role, _)| *role == ringpipe::Role::Sender);
                weather.posts[index].child.is_none() || senders.all(|(_, lane)| lane.has_left())
            })
        })?;
        self.board.set_phase(Phase::Drain);
        self.until("receivers to see end-of-file", false, |weather| {
            weather.posts.iter().all(|post| post.child.is_none())
        })
    }

    fn until(&mut self, what: &str, start: bool, done: impl Fn(&Self) -> bool) -> Outcome {
        let begun = Instant::now();
        while !done(self) {
            self.look_after(start)?;
            if begun.elapsed() > GRACE {
                return Err(format!("waited for {what} for {GRACE:?}: {:?}", self.ring));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn signal(child: &Child, signal: Signal) -> Outcome {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).map_err(|e| format!("{signal:?} to {pid:?}: {e}"))
}

/// The ring's own counters say the same as the ledger.
fn balance<K: Storm>(sums: &Sums, stats: &Stats, counts: &Counts) -> Outcome {
    if stats.sent != stats.received {
        return Err(format!("positions are left: {stats:?}"));
    }
    let holes = stats.sent.checked_sub(sums.slots).ok_or_else(|| {
        format!("{} items came from {} positions: {stats:?}", sums.sent, stats.sent)
    })?;
    // A skipped position is counted after it is marked: a death in between leaves it uncounted.
    let uncounted = holes
        .checked_sub(stats.skipped)
        .filter(|&holes| if K::MANY { holes <= counts.kills * K::CLAIM } else { holes == 0 });
    if uncounted.is_none() {
        return Err(format!("{holes} positions brought no item, {stats:?}"));
    }
    // A redelivery is counted before the release.
    if sums.redelivered * K::units() > stats.redelivered {
        return Err(format!("{} items came marked, {stats:?}", sums.redelivered));
    }
    if stats.dropped > 0 {
        return Err(format!("items were dropped: {stats:?}"));
    }
    Ok(())
}
