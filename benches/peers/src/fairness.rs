//! How evenly several receivers are served that take what comes as fast as they can, beside a pipe.

use std::io::{PipeReader, Read, Write};
use std::time::{Duration, Instant};

use ringpipe::mpmc;

use crate::Outcome;
use crate::report::time;
use crate::scale::Scale;

const RECEIVERS: usize = 6;

/// How many times as many items the best served got as the worst, and how long an item took, in
/// nanoseconds.
type Served = (f64, f64);

/// One of the contenders.
type Run = fn(u64) -> Outcome<Served>;

/// `send` sends so many items and closes; `receive` counts what comes until the end.
fn serve<R: Send>(
    items: u64,
    receivers: Vec<R>,
    send: impl FnOnce() -> Outcome,
    receive: impl Fn(R) -> u64 + Sync,
) -> Outcome<Served> {
    let (began, receive) = (Instant::now(), &receive);
    let counts = std::thread::scope(|scope| -> Outcome<Vec<u64>> {
        let threads: Vec<_> =
            receivers.into_iter().map(|rx| scope.spawn(move || receive(rx))).collect();
        send()?;
        Ok(threads.into_iter().map(|thread| thread.join().expect("it counts")).collect())
    })?;
    if counts.iter().sum::<u64>() != items {
        return Err("not every item arrived".into());
    }
    let (most, least) = (counts.iter().max(), counts.iter().min());
    let spread = *most.unwrap_or(&0) as f64 / *least.unwrap_or(&0) as f64;
    Ok((spread, began.elapsed().as_nanos() as f64 / items as f64))
}

/// What an item gives to do: about a microsecond.
fn work() {
    let began = Instant::now();
    while began.elapsed() < Duration::from_micros(1) {
        std::hint::spin_loop();
    }
}

fn ring<const SLOTS: usize>(items: u64) -> Outcome<Served> {
    let (mut tx, rx) = mpmc::channel::<u64>(SLOTS)?;
    let mut receivers = vec![rx];
    for _ in 1..RECEIVERS {
        receivers.push(receivers[0].try_clone()?);
    }
    let send = move || Ok((0..items).try_for_each(|n| tx.send(n))?);
    serve(items, receivers, send, |mut rx| rx.iter().map(|_| work()).count() as u64)
}

fn pipe(items: u64) -> Outcome<Served> {
    let (rx, mut tx) = std::io::pipe()?;
    let mut receivers = vec![rx];
    for _ in 1..RECEIVERS {
        receivers.push(receivers[0].try_clone()?);
    }
    let send = move || Ok((0..items).try_for_each(|n| tx.write_all(&n.to_ne_bytes()))?);
    let receive = |mut rx: PipeReader| {
        let mut item = [0; 8];
        (0..).take_while(|_| rx.read_exact(&mut item).is_ok()).map(|_| work()).count() as u64
    };
    serve(items, receivers, send, receive)
}

/// Of threads of one process, not pinned.
pub fn fairness(quick: bool) -> Outcome<Scale> {
    let (items, rounds) = if quick { (20_000, 3) } else { (300_000, 9) };
    let contenders: [(&str, Run); 3] = [
        ("ringpipe, MPMC, 64 slots of 8 bytes", ring::<64>),
        ("ringpipe, MPMC, 8,192 slots of 8 bytes", ring::<8192>),
        ("pipe (64 KiB), 8 bytes a read", pipe),
    ];
    let mut served = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (served, (_, run)) in served.iter_mut().zip(contenders) {
            served.push(run(items)?);
        }
    }
    let rows = contenders.iter().zip(&mut served).map(|((name, _), served)| {
        served.sort_by(|one, other| one.0.total_cmp(&other.0));
        let spreads = [0, rounds / 2, rounds - 1].map(|round| format!("{:.1}", served[round].0));
        served.sort_by(|one, other| one.1.total_cmp(&other.1));
        let [least, median, most] = spreads;
        vec![(*name).into(), median, format!("{least}–{most}"), time(served[rounds / 2].1)]
    });
    Ok(Scale {
        name: "fairness",
        title: format!(
            "Fairness: {RECEIVERS} receivers take {items} items and work on each for 1 µs, one \
             sender; {rounds} rounds in turn"
        ),
        heads: vec![
            "threads of one process",
            "best served / worst served, median",
            "range",
            "an item, median",
        ],
        rows: rows.collect(),
    })
}
