//! How large it may get: ten thousand rings in a process, 64 ends on a ring, rings of two slots and
//! of sixteen million; and what a ring takes beside its items.

use std::fmt::Write as _;
use std::time::Instant;

use ringpipe::spsc;
use serde::Serialize;

use crate::Outcome;
use crate::fairness::fairness;
use crate::report::time;

/// A table of things that are not compared with anybody.
#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    pub name: &'static str,
    pub title: String,
    pub heads: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

type Measure = fn(bool) -> Outcome<Scale>;

pub const ALL: [(&str, Measure); 6] = [
    ("scale-rings", rings),
    ("scale-endpoints", endpoints),
    ("scale-capacity", capacities),
    ("scale-pages", pages),
    ("footprint", footprint),
    ("fairness", fairness),
];

impl Scale {
    pub fn markdown(&self) -> String {
        let mut text = format!("### {} (`{}`)\n\n", self.title, self.name);
        let _ = writeln!(text, "| {} |", self.heads.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(self.heads.len()));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

fn each(began: Instant, count: usize) -> String {
    time(began.elapsed().as_nanos() as f64 / count as f64)
}

/// Bytes of this process that are resident, its descriptors, its mappings.
fn holdings() -> Outcome<[u64; 3]> {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let pss = status.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
    let pss = pss.ok_or("no Pss in smaps_rollup")?.trim().parse::<u64>()? * 1024;
    let fds = std::fs::read_dir("/proc/self/fd")?.count() as u64;
    let maps = std::fs::read_to_string("/proc/self/maps")?.lines().count() as u64;
    Ok([pss, fds, maps])
}

/// As many descriptors as this process may have.
fn raise_descriptors(wanted: u64) -> Outcome {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        let maximum = now.maximum.map(|most| most.max(wanted));
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}

fn rings(quick: bool) -> Outcome<Scale> {
    let count = if quick { 200 } else { 10_000 };
    raise_descriptors(count as u64 + 1000)?;
    let before = holdings()?;
    let options = spsc::Ring::<u64>::options().capacity(64);
    let name = |number| format!("peers-{}-many-{number}", std::process::id());
    let began = Instant::now();
    let rings: Vec<_> = (0..count).map(|n| options.create(&name(n))).collect::<Result<_, _>>()?;
    let created = each(began, count);
    let began = Instant::now();
    let mut ends = Vec::new();
    let mut attached = Ok(());
    for ring in &rings {
        match ring.producer().and_then(|tx| Ok((tx, ring.consumer()?))) {
            Ok(pair) => ends.push(pair),
            Err(e) => attached = Err(e),
        }
    }
    let attached_each = each(began, count);
    let held = holdings()?;
    let began = Instant::now();
    let mut passed = 0;
    for (tx, rx) in &mut ends {
        tx.try_send(7)?;
        passed += rx.try_recv()?;
    }
    let sent = each(began, count);
    let began = Instant::now();
    drop(ends);
    for ring in &rings {
        ring.unlink()?;
    }
    drop(rings);
    let removed = each(began, count);
    attached?;
    if passed != 7 * count as u64 {
        return Err("not every ring passed its item".into());
    }
    let per = |i: usize| format!("{:.1}", (held[i] - before[i]) as f64 / count as f64);
    let memory = format!("{:.1} KiB", (held[0] - before[0]) as f64 / 1024.0 / count as f64);
    Ok(Scale {
        name: "scale-rings",
        title: format!("{count} rings open in one process, both ends of each; figures for one"),
        heads: vec![
            "create",
            "attach both ends",
            "one item through, cold",
            "close and remove",
            "memory (64 slots of 8 bytes)",
            "descriptors",
            "mappings",
        ],
        rows: vec![vec![created, attached_each, sent, removed, memory, per(1), per(2)]],
    })
}

fn endpoints(_: bool) -> Outcome<Scale> {
    let ring = ringpipe::mpmc::Ring::<u64>::options().endpoints(64).create_anonymous()?;
    let mut rows = Vec::new();
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for upto in [1, 8, 32] {
        let began = Instant::now();
        let more = upto - senders.len();
        for _ in 0..more {
            senders.push(ring.sender()?);
            receivers.push(ring.receiver()?);
        }
        let attach = each(began, 2 * more);
        let laps = 2000;
        let began = Instant::now();
        let mut sum = 0_u64;
        for n in 0..laps {
            for tx in &mut senders {
                tx.try_send(n)?;
            }
            for rx in &mut receivers {
                sum += rx.try_recv()?;
            }
        }
        let item = each(began, laps as usize * upto);
        if sum != upto as u64 * laps * (laps - 1) / 2 {
            return Err("not every item arrived".into());
        }
        rows.push(vec![format!("{}", 2 * upto), attach, item]);
    }
    Ok(Scale {
        name: "scale-endpoints",
        title: "64 ends on one MPMC ring, in one process".into(),
        heads: vec!["ends", "attaching one", "an item, sent and received in turn"],
        rows,
    })
}

fn capacities(quick: bool) -> Outcome<Scale> {
    let most = if quick { 16 } else { 24 };
    let mut rows = Vec::new();
    for bits in [1, 4, 8, 12, 16, 20, 24].into_iter().filter(|bits| *bits <= most) {
        let began = Instant::now();
        let ring = spsc::Ring::<u64>::options().capacity(1 << bits).create_anonymous()?;
        let created = each(began, 1);
        let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
        let count = (1_u64 << bits).max(1 << 18);
        let mut lap = || -> Outcome<String> {
            let began = Instant::now();
            let (mut sent, mut received) = (0, 0);
            while received < count {
                while sent < count && tx.try_send(sent).is_ok() {
                    sent += 1;
                }
                while let Ok(n) = rx.try_recv() {
                    if n != received {
                        return Err(format!("{n} came for {received}").into());
                    }
                    received += 1;
                }
            }
            Ok(each(began, count as usize))
        };
        let (first, second) = (lap()?, lap()?);
        rows.push(vec![format!("2^{bits}"), created, first, second]);
    }
    Ok(Scale {
        name: "scale-capacity",
        title: "Rings of two slots to sixteen million, one process filling and draining".into(),
        heads: vec!["slots of 8 bytes", "create", "an item, first time round", "later"],
        rows,
    })
}

/// What first touch costs, and what saves it.
fn pages(quick: bool) -> Outcome<Scale> {
    use ringpipe::HugePages;
    type Item = [u64; 8];
    const BATCH: usize = 64;
    let slots: usize = if quick { 1 << 14 } else { 1 << 20 };
    let faults = || {
        // SAFETY: all-zero is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is alive and ours. The call cannot fail with these arguments.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        usage.ru_minflt + usage.ru_majflt
    };
    let mut rows = Vec::new();
    for (name, huge, prefault) in [
        ("4 KiB", HugePages::Never, false),
        ("4 KiB, `prefault`", HugePages::Never, true),
        ("`HugePages::Advise`", HugePages::Advise, false),
        ("`HugePages::Advise`, `prefault`", HugePages::Advise, true),
        ("`HugePages::Require`", HugePages::Require, false),
    ] {
        let began = Instant::now();
        let options = spsc::Ring::<Item>::options().capacity(slots);
        let ring = match options.huge_pages(huge).prefault(prefault).create_anonymous() {
            Ok(ring) => ring,
            Err(e) => {
                rows.push(vec![
                    name.into(),
                    format!("not run: {e}"),
                    "".into(),
                    "".into(),
                    "".into(),
                ]);
                continue;
            }
        };
        let mut row = vec![name.into(), each(began, 1)];
        let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
        let mut buffer = [[0; 8]; BATCH];
        let mut lap = |row: &mut Vec<String>| -> Outcome {
            let (began, before) = (Instant::now(), faults());
            for n in 0..(slots / BATCH) as u64 {
                tx.try_send_exact(&[[n; 8]; BATCH])?;
            }
            for n in 0..(slots / BATCH) as u64 {
                rx.try_recv_exact(&mut buffer)?;
                if buffer[BATCH - 1] != [n; 8] {
                    return Err(format!("{:?} came for {n}", buffer[BATCH - 1]).into());
                }
            }
            row.extend([each(began, slots), format!("{}", faults() - before)]);
            Ok(())
        };
        lap(&mut row)?;
        lap(&mut row)?;
        row.pop();
        rows.push(row);
    }
    Ok(Scale {
        name: "scale-pages",
        title: format!("Pages: a ring of {slots} slots of 64 bytes, one process, 64 items a call"),
        heads: vec!["pages", "create", "an item, first lap", "page faults", "an item, later"],
        rows,
    })
}

fn footprint(_: bool) -> Outcome<Scale> {
    let mut rows = Vec::new();
    let mut add = |kind: &str, slots: usize, item: usize, region: usize| {
        let beside = region as f64 / (slots * item) as f64 - 1.0;
        rows.push(vec![
            kind.into(),
            format!("{slots} × {item} B"),
            format!("{region} B"),
            format!("{:.1} %", 100.0 * beside),
        ]);
    };
    macro_rules! both {
        ($($words:literal)*) => {$(
            for slots in [1024, 1 << 16] {
                type Item = [u64; $words];
                let ring = spsc::Ring::<Item>::options().capacity(slots).create_anonymous()?;
                add("SPSC", slots, 8 * $words, ring.region_len());
                let options = ringpipe::mpmc::Ring::<Item>::options();
                let ring = options.capacity(slots).create_anonymous()?;
                add("MPMC, 64 ends", slots, 8 * $words, ring.region_len());
            }
        )*};
    }
    both!(1 8 32 128);
    Ok(Scale {
        name: "footprint",
        title: "Memory of a ring".into(),
        heads: vec!["kind", "slots", "region", "beside the items"],
        rows,
    })
}
