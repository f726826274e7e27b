//! What is measured, by whom, and what is to be reached.

use std::time::Duration;

use crate::contenders::{Lengths, Link, Load, Wait, Work};
use crate::running::Plan;

/// What the figures of a scenario are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Items per second.
    Stream,
    /// Nanoseconds for a file.
    Copies,
    /// Nanoseconds there and back.
    Trips,
    /// Nanoseconds one way, at a thousand a second.
    LowRate,
    /// Processor time while nothing comes.
    Idle,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub title: String,
    pub unit: Unit,
    pub link: Link,
    /// Whom the others are compared with.
    pub ours: &'static str,
    pub takers: Takers,
}

/// Who takes part, of those who can.
#[derive(Clone, Copy, Debug)]
pub enum Takers {
    /// These.
    Only(&'static [&'static str]),
    /// All but these, which are another scenario's; and but those that show a price.
    AllBut(&'static [&'static str]),
}

/// Items of all streams but the bulk copy: slots of a ring, items of a batch.
const SLOTS: usize = 1024;
const BATCH: usize = 32;
/// Where the sender is to be slower than the receiver: multiplications for an item, some 15 ns.
const EFFORT: u32 = 16;
/// The bulk copy: pages, 16 of them at a time, through 256 KiB.
pub const BULK: (usize, usize, usize) = (4096, 16, 64);

/// Streams of bytes: what one call writes, and what a pipe holds.
const WRITES: [usize; 5] = [64, 512, 1 << 12, 1 << 16, 1 << 20];
const AS_A_PIPE: usize = 1 << 16;
/// More than caches hold.
const FILE: usize = 1 << 28;
/// Messages of one length; of several, up to this one.
const MESSAGES: [usize; 6] = [16, 64, 256, 1 << 10, 1 << 12, 1 << 16];
const VARIED: usize = 1 << 10;
/// So many fit at least, whatever their length.
const FEWEST_MESSAGES: usize = 16;

/// What the crash protocol and waiting cost: a bare ring, the same one with more and more of ours.
const PRICE_ONE: &[&str] = &["plain-spsc", "ringpipe-polled", "ringpipe"];
const PRICE_MANY: &[&str] =
    &["plain-vyukov", "plain-intents", "ringpipe-mpmc-polled", "ringpipe-mpmc"];
/// Those of them that show nothing else.
const FOR_PRICE: &[&str] = &["plain-intents"];

/// Batches, and long messages, looked at in place, as shaq's batches are; in other scenarios it would be one more line to say
/// that it is not there.
const IN_PLACE: &str = "ringpipe-in-place";

const MANY: &[&str] = &["ringpipe-mpmc", "ringpipe-mpmc-polled", "plain-vyukov", "shaq-mpmc"];
const ONE: &[&str] = &[
    "ringpipe",
    "ringpipe-spin",
    "ringpipe-polled",
    "plain-spsc",
    "shaq",
    "rtrb",
    "ringbuf",
    "ringfire",
    "que",
    "shmring",
    "crossbar",
    "iceoryx2",
    "stream-socket",
];

pub fn all() -> Vec<Scenario> {
    let link = Link {
        work: Work::Stream,
        load: Load::Items,
        scratch: format!("/tmp/peers-{}", std::process::id()),
        name: String::new(),
        fds: Vec::new(),
        size: 8,
        batch: 1,
        capacity: SLOTS,
        senders: 1,
        receivers: 1,
        wait: Wait::Usual,
        crowded: false,
        effort: 0,
    };
    let scenario = |name: String, title: String, unit, link| Scenario {
        name,
        title,
        unit,
        link,
        ours: "ringpipe",
        takers: Takers::AllBut(MANY),
    };
    let mut all = Vec::new();
    for size in [8, 64, 256, 1024] {
        let link = Link { size, ..link.clone() };
        let title = format!("SPSC, one {size}-byte item a call");
        all.push(scenario(format!("spsc-{size}"), title, Unit::Stream, link));
    }
    for size in [8, 64, 256, 1024] {
        let link = Link { size, batch: BATCH, ..link.clone() };
        let title = format!("SPSC, {BATCH} items of {size} bytes a call");
        all.push(scenario(format!("spsc-batch-{size}"), title, Unit::Stream, link));
    }
    for size in [8, 64, 256] {
        let link = Link { size, effort: EFFORT, ..link.clone() };
        let title = format!("SPSC, one {size}-byte item a call, the sender busy between calls");
        all.push(scenario(format!("drained-{size}"), title, Unit::Stream, link));
    }
    for (senders, receivers) in [(1, 1), (2, 2), (4, 4), (4, 1), (1, 4)] {
        let name = format!("mpmc-{senders}x{receivers}");
        let title = format!("MPMC, {senders} senders, {receivers} receivers, 8 bytes");
        let link = Link { senders, receivers, ..link.clone() };
        let scenario = scenario(name, title, Unit::Stream, link);
        all.push(Scenario { ours: "ringpipe-mpmc", takers: Takers::AllBut(ONE), ..scenario });
    }
    for (name, wait) in [("spin", Wait::Spin), ("sleep", Wait::Sleep), ("adaptive", Wait::Adaptive)]
    {
        let link = Link { work: Work::Trips, wait, ..link.clone() };
        let title = format!("Round trip of 8 bytes, waiting: {name}");
        all.push(scenario(format!("trip-{name}"), title, Unit::Trips, link));
    }
    let (size, batch, capacity) = BULK;
    let bulk = Link { size, batch, capacity, ..link.clone() };
    let title = format!("Bulk copy, {} KiB a call", size * batch / 1024);
    all.push(scenario("bulk".into(), title, Unit::Stream, bulk));
    for (name, wait) in [("sleep", Wait::Sleep), ("adaptive", Wait::Adaptive)] {
        let low = Link { work: Work::LowRate, wait, ..link.clone() };
        let title = format!("1,000 items a second, waiting: {name}");
        all.push(scenario(format!("rate-{name}"), title, Unit::LowRate, low));
        let idle = Link { work: Work::Idle, wait, ..link.clone() };
        let title = format!("A receiver of which nothing comes, waiting: {name}");
        let scenario = scenario(format!("idle-{name}"), title, Unit::Idle, idle);
        all.push(Scenario { takers: Takers::AllBut(&["plain-vyukov", "shaq-mpmc"]), ..scenario });
    }
    for (name, ours, only, senders, receivers) in [
        ("spsc", "ringpipe", PRICE_ONE, 1, 1),
        ("mpmc-1x1", "ringpipe-mpmc", PRICE_MANY, 1, 1),
        ("mpmc-2x2", "ringpipe-mpmc", PRICE_MANY, 2, 2),
    ] {
        for (size, batch) in [(8, 1), (64, 1), (8, BATCH), (64, BATCH)] {
            let link = Link { size, batch, senders, receivers, ..link.clone() };
            let calls = if batch == 1 { "" } else { "batch-" };
            let name = format!("price-{name}-{calls}{size}");
            let title = format!(
                "What the crash protocol costs: {senders} to {receivers}, {size} bytes, \
                 {batch} a call"
            );
            let scenario = scenario(name, title, Unit::Stream, link);
            all.push(Scenario { ours, takers: Takers::Only(only), ..scenario });
        }
    }
    all.extend(of_any_length(&link));
    all
}

/// Streams of bytes, whole files, messages.
fn of_any_length(link: &Link) -> Vec<Scenario> {
    let scenario = |name: String, title: String, unit, link: Link| Scenario {
        name,
        title,
        unit,
        ours: if link.one_to_one() { "ringpipe" } else { "ringpipe-mpmc" },
        link,
        takers: Takers::AllBut(&[]),
    };
    let mut all = Vec::new();
    for size in WRITES {
        let link = Link { load: Load::Bytes, size, capacity: AS_A_PIPE, ..link.clone() };
        let title = format!("Stream of bytes, written {} at a time", bytes(size));
        all.push(scenario(format!("bytes-{size}"), title, Unit::Stream, link));
    }
    for (kept, to) in [(false, "null"), (true, "memory")] {
        let load = Load::Files { kept };
        let link = Link { load, size: FILE, capacity: AS_A_PIPE, ..link.clone() };
        let place = if kept { "another one" } else { "/dev/null" };
        let title = format!("A file in memory of {} to {place}", bytes(FILE));
        all.push(scenario(format!("files-{to}"), title, Unit::Copies, link));
    }
    let messages = |size: usize, varied| {
        let capacity = AS_A_PIPE.max(FEWEST_MESSAGES * size);
        Link { load: Load::Messages { varied }, size, capacity, ..link.clone() }
    };
    for (senders, receivers) in [(1, 1), (2, 2)] {
        let shape = format!("messages-{senders}x{receivers}");
        for size in MESSAGES {
            let link = Link { senders, receivers, ..messages(size, false) };
            let title = format!("Messages of {}, {senders} to {receivers}", bytes(size));
            all.push(scenario(format!("{shape}-{size}"), title, Unit::Stream, link));
        }
        let link = Link { senders, receivers, ..messages(VARIED, true) };
        let (least, most) = (Lengths::LEAST, VARIED);
        let title = format!("Messages of {least} to {most} bytes, {senders} to {receivers}");
        all.push(scenario(format!("{shape}-varied"), title, Unit::Stream, link));
    }
    for (name, wait) in [("spin", Wait::Spin), ("sleep", Wait::Sleep)] {
        let link = Link { work: Work::Trips, wait, ..messages(64, false) };
        let title = format!("Round trip of a message of 64 bytes, waiting: {name}");
        all.push(scenario(format!("messages-trip-{name}"), title, Unit::Trips, link));
    }
    all
}

/// A length in the unit that suits it.
fn bytes(length: usize) -> String {
    match length {
        length if length >= 1 << 20 => format!("{} MiB", length >> 20),
        length if length >= 1 << 12 => format!("{} KiB", length >> 10),
        length => format!("{length} bytes"),
    }
}

impl Scenario {
    /// Whether this contender is wanted here, if it can take part.
    pub fn takes(&self, name: &str) -> bool {
        match self.takers {
            Takers::Only(names) => names.contains(&name),
            Takers::AllBut(names) => {
                let its = ["spsc-batch-", "messages-1x1-4096", "messages-1x1-65536"];
                let elsewhere =
                    name == IN_PLACE && !its.iter().any(|its| self.name.starts_with(its));
                let wanted = !names.contains(&name) && !FOR_PRICE.contains(&name);
                name == self.ours || wanted && !elsewhere
            }
        }
    }

    /// How long, and how often: a turn is as short as it can be and still say something, since what
    /// is compared shall be close together.
    pub fn plan(&self, quick: bool) -> Plan {
        let crowded = self.link.senders + self.link.receivers > 2;
        let (measured, rounds) = match self.unit {
            Unit::Idle | Unit::LowRate | Unit::Copies => (1000, 5),
            Unit::Trips if self.link.wait != Wait::Spin => (100, 10),
            // Of large ones, a few more or less would make a difference.
            _ if crowded || self.link.load != Load::Items && self.link.size >= 1 << 16 => (60, 15),
            _ => (15, 30),
        };
        let least = if self.unit == Unit::Copies { 500 } else { 60 };
        let (measured, rounds) = if quick { (measured.min(least), 2) } else { (measured, rounds) };
        let warm = Duration::from_millis((measured / 5).max(3));
        Plan { link: self.link.clone(), warm, measured: Duration::from_millis(measured), rounds }
    }
}

/// Whom to compare with.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// The peer whose median is the best (not our own rings, nor the limits).
    Best,
    One(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A ratio to be reached. Of rates for streams, of times for round trips and copies.
#[derive(Clone, Debug)]
pub struct Target {
    pub scenario: String,
    /// Who is to reach it, if it is not the scenario's `ours`.
    pub by: Option<&'static str>,
    pub against: Against,
    /// An index into [`crate::worker::QUANTILES`], for times.
    pub quantile: usize,
    pub bound: Bound,
}

pub fn targets() -> Vec<Target> {
    use crate::worker::{P50, P99};
    use Against::{Best, One};
    use Bound::{AtLeast, AtMost};
    let mut targets = Vec::new();
    let mut add = |scenario: String, against, quantile, bound| {
        targets.push(Target { scenario, by: None, against, quantile, bound });
    };
    // Who polls by `try_` calls is to be no slower than who blocks.
    const POLLED: f64 = 1.0 / 0.97;
    add("spsc-8".into(), One("rtrb"), P50, AtLeast(1.1));
    add("spsc-8".into(), One("ringbuf"), P50, AtLeast(1.1));
    for (size, best) in [(64, 1.5), (256, 1.5), (1024, 1.15)] {
        add(format!("spsc-{size}"), Best, P50, AtLeast(best));
    }
    for size in [8, 64, 256, 1024] {
        add(format!("spsc-{size}"), One("plain-spsc"), P50, AtLeast(1.0));
        add(format!("spsc-{size}"), One("ringpipe-polled"), P50, AtMost(POLLED));
    }
    for size in [8, 64] {
        add(format!("spsc-batch-{size}"), One("shaq"), P50, AtLeast(1.1));
    }
    for shape in ["1x1", "2x2", "4x4"] {
        add(format!("mpmc-{shape}"), One("plain-vyukov"), P50, AtLeast(0.95));
        add(format!("mpmc-{shape}"), One("ringpipe-mpmc-polled"), P50, AtMost(POLLED));
    }
    add("mpmc-1x1".into(), One("ArrayQueue"), P50, AtLeast(1.0));
    for shape in ["4x1", "1x4"] {
        add(format!("mpmc-{shape}"), One("plain-vyukov"), P50, AtLeast(0.8));
    }
    add("trip-spin".into(), One("two-lines"), P50, AtMost(1.08));
    add("trip-spin".into(), One("two-lines"), P99, AtMost(1.2));
    add("trip-spin".into(), Best, P50, AtMost(1.0));
    add("trip-spin".into(), One("ringpipe-polled"), P50, AtLeast(0.97));
    add("trip-sleep".into(), One("raw-futex"), P50, AtMost(1.0));
    add("trip-sleep".into(), One("pipe"), P50, AtMost(1.0));
    add("bulk".into(), One("plain-spsc"), P50, AtLeast(0.95));
    add("bulk".into(), One("pipe"), P50, AtLeast(8.0));
    add("bytes-64".into(), One("pipe"), P50, AtLeast(20.0));
    add("bytes-65536".into(), One("pipe"), P50, AtLeast(8.0));
    add("bytes-65536".into(), One("copy-loop"), P50, AtLeast(0.95));
    for shape in ["1x1", "2x2"] {
        for size in MESSAGES {
            let scenario = format!("messages-{shape}-{size}");
            add(scenario.clone(), Best, P50, AtLeast(1.2));
            add(scenario.clone(), One("cloudtoid"), P50, AtLeast(3.0));
            add(scenario, One("posix-mq"), P50, AtLeast(20.0));
        }
    }
    for wait in ["spin", "sleep"] {
        add(format!("messages-trip-{wait}"), One("cloudtoid"), P50, AtMost(1.0));
    }
    targets.push(Target {
        scenario: "messages-1x1-65536".into(),
        by: Some(IN_PLACE),
        against: One("ringpipe"),
        quantile: P50,
        bound: AtLeast(2.0),
    });
    for size in [256, 1024] {
        targets.push(Target {
            scenario: format!("spsc-batch-{size}"),
            by: Some(IN_PLACE),
            against: One("shaq"),
            quantile: P50,
            bound: AtLeast(1.0),
        });
    }
    targets
}

/// Over all shapes, the geometric mean of the ratios to this one.
pub const MPMC_MEAN: (&str, f64) = ("ArrayQueue", 1.3);
/// A receiver that waits: share of a processor, wake-ups a second.
pub const IDLE: (f64, f64) = (0.001, 20.5);

/// Not a peer: ours, or a limit.
pub fn is_yardstick(name: &str) -> bool {
    name.starts_with("ringpipe")
        || name.starts_with("plain")
        || name.starts_with("copy-loop")
        || ["two-lines", "raw-futex"].contains(&name)
}
