//! The receiving side's measurements: what is received, checked, timed and printed.

use std::fs::File;
use std::io::{Read, Write};
use std::process::ChildStdin;
use std::time::Duration;

use bytemuck::Zeroable;
use hdrhistogram::Histogram;
use ringpipe::spsc::Consumer;

use crate::support::Outcome;
use crate::support::figures::{self, median, now, ratio};
use crate::support::hash::{Hash, Hasher, hex};
use crate::support::output::Progress;
use crate::{BATCH, Chunk, DRIPS, FLOOD, Load, PAUSE, ROOM, TRANSFERS, Way};

/// Rounds of what is measured more than once.
const ROUNDS: usize = 5;
/// The same where all ways together take a third of a second.
const DRIP_ROUNDS: usize = 7;
/// After so many chunks it is said how far a transfer is.
const PROGRESS: u64 = 1 << 12;
/// A file is sent that often, for better figures, if it is at most this long.
const SHORT: u64 = 256 << 20;

/// All measurements, printed as they come. Returns the digest that every transfer agreed on.
pub fn measure(
    size: u64,
    output: &mut impl Write,
    transfer: &mut impl FnMut(Load, Way) -> Outcome<Received>,
) -> Outcome<Hash> {
    let rounds = if size <= SHORT { ROUNDS } else { 1 };
    writeln!(
        output,
        "\nthe file, read and hashed by the sender, hashed by the receiver (rounds: {rounds})"
    )?;
    let (ring, pipe) = compare(output, Load::File, rounds, transfer)?;
    let digests = || ring.iter().chain(&pipe).map(|received| received.digest);
    let digest = digests().next().ok_or("nothing was received")?;
    if digests().any(|other| other != digest) {
        return Err("the file changes while it is being sent".into());
    }
    for (way, received) in [("ring", &ring), ("pipe", &pipe)] {
        latency(output, way, received)?;
    }
    writeln!(
        output,
        "  (under load: from before the send to after the receive, mostly in the queue)\n  \
         SHA-256 alone does {} here: what comes near that waits for hashing",
        hash_speed()
    )?;

    writeln!(
        output,
        "\ntransport alone: {FLOOD} chunks from memory, not hashed (rounds: {ROUNDS})"
    )?;
    for batch in [1, BATCH] {
        if batch > 1 {
            writeln!(output, "  and in batches, {batch} chunks per send or write:")?;
        }
        compare(output, Load::Memory(batch), ROUNDS, transfer)?;
    }

    writeln!(
        output,
        "\none-way latency without load: {DRIPS} chunks, {PAUSE:?} apart (rounds: {DRIP_ROUNDS})"
    )?;
    let ways = [
        ("ring (receiver spins)", Way::Spun),
        ("ring (as by default) ", Way::Ring),
        ("pipe                 ", Way::Pipe),
    ];
    let mut all = ways.map(|_| Vec::new());
    for _ in 0..DRIP_ROUNDS {
        for ((_, way), received) in ways.iter().zip(&mut all) {
            received.push(transfer(Load::Drip, *way)?);
        }
    }
    for ((way, _), received) in ways.iter().zip(&all) {
        latency(output, way, received)?;
    }
    let medians = |which: usize| -> Vec<f64> { all[which].iter().map(Received::p50).collect() };
    let by = |which| ratio(&medians(2), &medians(which));
    let (spun, usual) = (by(0), by(1));
    writeln!(output, "  ring is {spun:.2} times as fast spinning, {usual:.2} by default\n")?;
    Ok(digest)
}

/// Ring and pipe, turn by turn.
fn compare(
    output: &mut impl Write,
    load: Load,
    rounds: usize,
    transfer: &mut impl FnMut(Load, Way) -> Outcome<Received>,
) -> Outcome<(Vec<Received>, Vec<Received>)> {
    let (mut ring, mut pipe) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ring.push(transfer(load, Way::Ring)?);
        pipe.push(transfer(load, Way::Pipe)?);
    }
    let seconds = |of: &[Received]| of.iter().map(|r| r.elapsed.as_secs_f64()).collect::<Vec<_>>();
    for (way, received) in [("ring", &ring), ("pipe", &pipe)] {
        let typical = Duration::from_secs_f64(median(seconds(received)));
        let Received { chunks, bytes, .. } = received[0];
        writeln!(
            output,
            "  {way}  {:>12} messages  {:>10}",
            figures::rate(chunks, typical),
            figures::volume(bytes, typical)
        )?;
    }
    writeln!(output, "  ring is {:.2} times as fast", ratio(&seconds(&pipe), &seconds(&ring)))?;
    Ok((ring, pipe))
}

/// The medians over the rounds of each round's percentiles.
fn latency(output: &mut impl Write, way: &str, received: &[Received]) -> Outcome {
    if received.iter().all(|one| one.latency.is_empty()) {
        return Ok(writeln!(output, "  {way}  no messages, no latency")?);
    }
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| {
        let each = received.iter().map(|one| one.latency.value_at_quantile(quantile) as f64);
        figures::time(median(each.collect()) as u64)
    });
    Ok(writeln!(output, "  {way}  latency p50 {p50}, p99 {p99}, p99.9 {p999}")?)
}

/// Bytes per second of hashing and nothing else.
fn hash_speed() -> String {
    let bytes = vec![0x5a; 8 << 20];
    let begin = now();
    let mut hasher = Hasher::default();
    bytes.chunks(ROOM).for_each(|chunk| hasher.update(chunk));
    std::hint::black_box(hasher.finish());
    figures::volume(bytes.len() as u64, Duration::from_nanos(now() - begin))
}

/// Where chunks come from.
pub trait Source {
    /// Receives at least one chunk, and no more than `into` holds. Returns how many.
    fn get(&mut self, into: &mut [Chunk]) -> Outcome<usize>;
}

impl Source for Consumer<Chunk> {
    fn get(&mut self, into: &mut [Chunk]) -> Outcome<usize> {
        match into {
            [one] => {
                *one = self.recv()?;
                Ok(1)
            }
            many => Ok(self.recv_slice(many)?),
        }
    }
}

impl Source for File {
    fn get(&mut self, into: &mut [Chunk]) -> Outcome<usize> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(into);
        // One call takes what is there; if it ends within a chunk, the rest of that is on its way.
        let read = self.read(bytes)?;
        let rest = read.next_multiple_of(size_of::<Chunk>()).max(size_of::<Chunk>());
        self.read_exact(&mut bytes[read..rest])?;
        Ok(rest / size_of::<Chunk>())
    }
}

/// One transfer, as the receiver saw it.
pub struct Received {
    /// Without the last one.
    chunks: u64,
    bytes: u64,
    elapsed: Duration,
    latency: Histogram<u64>,
    digest: Hash,
}

impl Received {
    /// The median latency in nanoseconds.
    fn p50(&self) -> f64 {
        self.latency.value_at_quantile(0.5) as f64
    }

    /// Asks for a transfer, of so many bytes or thereabouts, and receives it to its end.
    pub fn new(
        load: Load,
        way: Way,
        size: u64,
        ask: &mut ChildStdin,
        source: &mut impl Source,
    ) -> Outcome<Self> {
        let index = TRANSFERS.iter().position(|&known| known == (load, way));
        let index = index.expect("the table has all transfers");
        let mut batch = match load {
            Load::Memory(batch) => vec![Chunk::zeroed(); batch],
            Load::File | Load::Drip => vec![Chunk::zeroed()],
        };
        let mut hasher = Hasher::default();
        let mut latency = figures::latencies();
        let (mut chunks, mut bytes) = (0_u64, 0);
        let mut progress = Progress::new(format!("by {way}"), size);
        let begin = now();
        ask.write_all(&[index as u8])?;
        let told = 'receiving: loop {
            let got = source.get(&mut batch)?;
            for chunk in &batch[..got] {
                let content = chunk.bytes.get(..chunk.len as usize);
                let content = content.ok_or("the sender claims more bytes than there are")?;
                if chunk.last != 0 {
                    break 'receiving Hash::try_from(content)?;
                }
                if chunk.sent_at != 0 {
                    latency.saturating_record(now().saturating_sub(chunk.sent_at));
                }
                if load == Load::File {
                    hasher.update(content);
                }
                chunks += 1;
                bytes += content.len() as u64;
            }
            if chunks.is_multiple_of(PROGRESS) {
                progress.at(bytes, figures::volume);
            }
        };
        drop(progress);
        let elapsed = Duration::from_nanos(now() - begin);
        let digest = hasher.finish();
        match load {
            Load::File if digest != told => {
                let (sent, got) = (hex(&told), hex(&digest));
                return Err(format!("sha256 {sent} was sent, {got} was received").into());
            }
            Load::Memory(_) if chunks != FLOOD => {
                return Err(format!("{FLOOD} chunks were sent, {chunks} received").into());
            }
            Load::Drip if chunks != DRIPS => {
                return Err(format!("{DRIPS} chunks were sent, {chunks} received").into());
            }
            _ => {}
        }
        Ok(Self { chunks, bytes, elapsed, latency, digest })
    }
}
