//! Contenders, run against each other between processes: rounds, a start barrier, pinned, checked.
//!
//! A *contender* is a ring that can be made in one process and reached from others by an address.
//! In a *round* every contender runs once, in turns, so that a slow minute of the machine touches
//! all of them; ratios are taken round by round. Each run has fresh processes, which attach, wait for
//! each other, and then send and receive for a fixed time, every one pinned to a processor (senders
//! first, then receivers, dealt out to the processors that there are). What was received is counted
//! and summed up, and must be what was sent.
//!
//! All contenders that do not block by themselves wait alike ([`Idle`]).

use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::memory::Memory;

/// What went wrong, for people.
pub type Outcome<R = ()> = Result<R, String>;

/// An error, for people.
pub fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// What travels.
pub trait Value: ringpipe::Item + PartialEq {
    /// 64-bit words in it.
    const WORDS: usize;
    /// All its words are `number`.
    fn new(number: u64) -> Self;
    /// Its words are what `word` says.
    fn from_words(word: impl FnMut(usize) -> u64) -> Self;
    /// Its words.
    fn words(&self) -> &[u64];
}

impl<const N: usize> Value for [u64; N]
where
    [u64; N]: ringpipe::Item,
{
    const WORDS: usize = N;

    #[inline(always)]
    fn new(number: u64) -> Self {
        [number; N]
    }

    #[inline(always)]
    fn from_words(word: impl FnMut(usize) -> u64) -> Self {
        std::array::from_fn(word)
    }

    #[inline(always)]
    fn words(&self) -> &[u64] {
        self
    }
}

/// A ring to be measured.
pub trait Contender<V: Value> {
    /// Keeps the ring alive while a run lasts.
    type Arena;
    /// A sending end.
    type Tx: Tx<V>;
    /// A receiving end.
    type Rx: Rx<V>;
    /// Makes a ring of `slots`, and tells its address.
    fn create(slots: usize) -> Outcome<(Self::Arena, String)>;
    /// Attaches; `end` counts all ends of the run from 0.
    fn tx(address: &str, slots: usize, end: usize) -> Outcome<Self::Tx>;
    /// Attaches.
    fn rx(address: &str, slots: usize, end: usize) -> Outcome<Self::Rx>;
}

/// A sending end. If it waits by itself, it fails only when the other side is gone.
pub trait Tx<V> {
    /// Sends one value, if there is room.
    fn one(&mut self, value: V) -> bool;
    /// Sends as many as there is room for.
    fn many(&mut self, values: &[V]) -> usize;
}

/// A receiving end. If it waits by itself, it fails only when the other side is gone.
pub trait Rx<V> {
    /// Receives one value, if there is one.
    fn one(&mut self) -> Option<V>;
    /// Receives as many as there are and `into` has room for.
    fn many(&mut self, into: &mut [V]) -> usize;
}

/// How those wait who do not block: a little, and then for whoever else wants the processor.
#[derive(Debug, Default)]
struct Idle(u32);

impl Idle {
    #[inline]
    fn wait(&mut self) {
        self.0 += 1;
        if self.0 < 64 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }

    #[inline]
    fn over(&mut self) {
        self.0 = 0;
    }
}

/// One run: who, with what.
#[derive(Clone, Debug, clap::Args)]
pub struct Part {
    /// Which of the contenders.
    #[arg(long)]
    pub contender: usize,
    /// Bytes in a value.
    #[arg(long)]
    pub bytes: usize,
    /// Where the ring is.
    #[arg(long)]
    address: String,
    /// Where the control page is.
    #[arg(long)]
    control: String,
    /// Sending processes.
    #[arg(long)]
    senders: usize,
    /// Which of the processes this is; senders come first.
    #[arg(long)]
    end: usize,
    /// Values in a call.
    #[arg(long)]
    batch: usize,
}

/// Slots of every ring.
const SLOTS: usize = 1024;
/// Longest wait for anything that is not being measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// Words of the control page.
const READY: usize = 0;
const STARTED: usize = 16;
const STOPPED: usize = 32;
const SENDERS_DONE: usize = 48;
const RESULTS: usize = 64;
const RESULT: usize = 16;
const CONTROL: usize = 4096;

/// Nanoseconds of a clock that all processes share.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The processors that this process may run on.
pub fn processors() -> Outcome<Vec<usize>> {
    let allowed = sched_getaffinity(None).map_err(text)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect())
}

fn pin(end: usize) -> Outcome {
    let processors = processors()?;
    let mut only = CpuSet::new();
    only.set(processors[end % processors.len()]);
    sched_setaffinity(None, &only).map_err(text)
}

/// What one process counted.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    begun: u64,
    ended: u64,
    count: u64,
    sum: u64,
}

impl Tally {
    fn write(self, control: &Memory, end: usize) {
        let words = [self.begun, self.ended, self.count, self.sum];
        for (i, word) in words.into_iter().enumerate() {
            control.word(RESULTS + RESULT * end + i).store(word, Release);
        }
    }

    fn read(control: &Memory, end: usize) -> Self {
        let word = |i| control.word(RESULTS + RESULT * end + i).load(Acquire);
        Self { begun: word(0), ended: word(1), count: word(2), sum: word(3) }
    }
}

/// The life of a process of a run.
pub fn play<V: Value, C: Contender<V>>(part: &Part) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(text)?;
    pin(part.end)?;
    let control = Memory::open(&part.control, CONTROL)?;
    let tally = if part.end < part.senders {
        let tx = C::tx(&part.address, SLOTS, part.end)?;
        send(tx, &control, part.batch)
    } else {
        let rx = C::rx(&part.address, SLOTS, part.end)?;
        receive(rx, &control, part.batch, part.senders as u64)?
    };
    tally.write(&control, part.end);
    if part.end < part.senders {
        control.word(SENDERS_DONE).fetch_add(1, Release);
    }
    Ok(())
}

/// The start barrier.
fn line_up(control: &Memory) -> u64 {
    control.word(READY).fetch_add(1, Release);
    while control.word(STARTED).load(Acquire) == 0 {
        std::thread::yield_now();
    }
    now()
}

fn send<V: Value>(mut tx: impl Tx<V>, control: &Memory, batch: usize) -> Tally {
    let (mut next, mut sum, mut idle) = (1, 0_u64, Idle::default());
    let mut values = vec![V::new(0); batch];
    let begun = line_up(control);
    while control.word(STOPPED).load(Relaxed) == 0 {
        for _ in 0..64 {
            let sent = if batch == 1 {
                usize::from(tx.one(V::new(next)))
            } else {
                (next..).zip(&mut values).for_each(|(number, value)| *value = V::new(number));
                tx.many(&values)
            };
            if sent == 0 {
                idle.wait();
                continue;
            }
            idle.over();
            (next..next + sent as u64).for_each(|number| sum = sum.wrapping_add(number));
            next += sent as u64;
        }
    }
    drop(tx); // where that means something, receivers see the end
    Tally { begun, ended: now(), count: next - 1, sum }
}

fn receive<V: Value>(
    mut rx: impl Rx<V>,
    control: &Memory,
    batch: usize,
    senders: u64,
) -> Outcome<Tally> {
    let (mut count, mut sum, mut idle) = (0, 0_u64, Idle::default());
    let mut values = vec![V::new(0); batch];
    let begun = line_up(control);
    loop {
        // Before the look: what they had sent is there.
        let last = control.word(STOPPED).load(Relaxed) != 0
            && control.word(SENDERS_DONE).load(Acquire) == senders;
        let received = if batch == 1 {
            rx.one().map_or(0, |value| {
                values[0] = value;
                1
            })
        } else {
            rx.many(&mut values)
        };
        if received == 0 {
            if last {
                return Ok(Tally { begun, ended: now(), count, sum });
            }
            idle.wait();
            continue;
        }
        idle.over();
        count += received as u64;
        for value in &values[..received] {
            let words = value.words();
            if words.iter().any(|word| *word != words[0]) {
                return Err("a torn value".into());
            }
            sum = sum.wrapping_add(words[0]);
        }
    }
}

/// How many processes do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sending and receiving processes.
    pub ends: (usize, usize),
    /// Bytes in a value.
    pub bytes: usize,
    /// Values in a call.
    pub batch: usize,
}

/// Processes that do not outlive the run.
struct Cast(Vec<Child>);

impl Drop for Cast {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail harmlessly if it was waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs contender number `contender` once. Nanoseconds per value.
pub fn run<V: Value, C: Contender<V>>(
    contender: usize,
    shape: Shape,
    lasts: Duration,
) -> Outcome<f64> {
    let (control, control_at) = Memory::create(CONTROL)?;
    let (_arena, address) = C::create(SLOTS)?;
    let Shape { ends: (senders, receivers), bytes, batch } = shape;
    let all = senders + receivers;
    let mut cast = Cast(Vec::new());
    for end in 0..all {
        let numbers =
            [("contender", contender), ("bytes", bytes), ("senders", senders), ("end", end)];
        let mut command = Command::new("/proc/self/exe");
        command.arg("play").args(["--address", &address, "--control", &control_at]);
        for (name, number) in numbers.into_iter().chain([("batch", batch)]) {
            command.args([format!("--{name}"), number.to_string()]);
        }
        cast.0.push(command.stdin(Stdio::null()).spawn().map_err(text)?);
    }
    let begun = Instant::now();
    while control.word(READY).load(Acquire) < all as u64 {
        for child in &mut cast.0 {
            if let Some(status) = child.try_wait().map_err(text)? {
                return Err(format!("a process could not attach: {status}"));
            }
        }
        if begun.elapsed() > PATIENCE {
            return Err("not all processes attach".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    control.word(STARTED).store(1, Release);
    std::thread::sleep(lasts);
    control.word(STOPPED).store(1, Release);
    let begun = Instant::now();
    for child in &mut cast.0 {
        loop {
            match child.try_wait().map_err(text)? {
                Some(status) if status.success() => break,
                Some(status) => return Err(format!("a process failed: {status}")),
                None if begun.elapsed() > PATIENCE => return Err("a process does not end".into()),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
    let tallies: Vec<_> = (0..all).map(|end| Tally::read(&control, end)).collect();
    let total = |tallies: &[Tally]| {
        tallies.iter().fold((0, 0_u64), |(count, sum), tally| {
            (count + tally.count, sum.wrapping_add(tally.sum))
        })
    };
    let (sent, received) = tallies.split_at(senders);
    let (sent, received) = (total(sent), total(received));
    if sent != received || sent.0 == 0 {
        return Err(format!("sent {sent:?} (count, sum), and received {received:?}"));
    }
    let first = tallies.iter().map(|tally| tally.begun).min().unwrap_or(0);
    let last = tallies.iter().map(|tally| tally.ended).max().unwrap_or(0);
    Ok((last - first) as f64 / sent.0 as f64)
}

/// One of two processes that hand a number to and fro, each on a line of its own: the limit that
/// the machine sets. The median of many trips.
pub fn bounce() -> Outcome<f64> {
    const TRIPS: u64 = 20_000;
    let (control, address) = Memory::create(CONTROL)?;
    let other = Command::new("/proc/self/exe").args(["echo", &address, &TRIPS.to_string()]).spawn();
    let _cast = Cast(vec![other.map_err(text)?]);
    let measured = std::thread::spawn(move || {
        pin(0)?;
        let mut trips = Vec::new();
        for trip in 1..=TRIPS {
            let begun = now();
            control.word(READY).store(trip, Release);
            wait_for(&control, STARTED, trip)?;
            trips.push((now() - begun) as f64);
        }
        Ok(median(&trips[TRIPS as usize / 10..]))
    });
    measured.join().map_err(|_| "bouncing panicked")?
}

/// The other of the two.
pub fn echo(address: &str, trips: u64) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(text)?;
    pin(1)?;
    let control = Memory::open(address, CONTROL)?;
    (1..=trips).try_for_each(|trip| {
        wait_for(&control, READY, trip)?;
        control.word(STARTED).store(trip, Release);
        Ok(())
    })
}

fn wait_for(control: &Memory, word: usize, value: u64) -> Outcome {
    let mut spins = 0_u64;
    while control.word(word).load(Acquire) != value {
        std::hint::spin_loop();
        spins += 1;
        if spins.is_multiple_of(1 << 14) {
            std::thread::yield_now(); // with one processor, the other needs it
        }
        if spins > 1 << 34 {
            return Err("no answer".into());
        }
    }
    Ok(())
}

/// The middle one; of an even number, the upper middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The least one.
pub fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Median, least and greatest of `a[i] / b[i]`.
pub fn ratios(a: &[f64], b: &[f64]) -> (f64, f64, f64) {
    let ratios: Vec<_> = a.iter().zip(b).map(|(a, b)| a / b).collect();
    let least = best(&ratios);
    let greatest = ratios.iter().copied().fold(0.0, f64::max);
    (median(&ratios), least, greatest)
}
