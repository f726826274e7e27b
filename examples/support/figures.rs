//! Figures: the clock, percentiles, medians, and two processors to measure on.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, which all processes of a host share.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What one reading of the clock costs, in nanoseconds.
pub fn clock_cost() -> f64 {
    const READINGS: u32 = 100_000;
    let begin = now();
    for _ in 0..READINGS {
        std::hint::black_box(now());
    }
    (now() - begin) as f64 / f64::from(READINGS)
}

/// Latencies from 1 ns to a minute, to three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds are good")
}

/// The middle one of `values`, which are not empty; of an even number, the upper middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of `a[i] / b[i]`: rounds are compared with their like, so that a slow minute of the
/// machine touches both sides.
pub fn ratio(a: &[f64], b: &[f64]) -> f64 {
    median(a.iter().zip(b).map(|(a, b)| a / b).collect())
}

/// Nanoseconds, for people.
pub fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        _ => format!("{:.0} ms", ns as f64 / 1e6),
    }
}

/// Per second, for people.
pub fn rate(count: u64, elapsed: Duration) -> String {
    let rate = count as f64 / elapsed.as_secs_f64();
    match rate {
        1e6.. => format!("{:.2} M/s", rate / 1e6),
        1e3.. => format!("{:.0} k/s", rate / 1e3),
        _ => format!("{rate:.0} /s"),
    }
}

/// Bytes per second, for people.
pub fn volume(bytes: u64, elapsed: Duration) -> String {
    format!("{:.2} GB/s", bytes as f64 / elapsed.as_secs_f64() / 1e9)
}

/// Two processors this process may run on; one and the same if there is no second.
pub fn two_processors() -> io::Result<(usize, usize)> {
    let allowed = sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let first = allowed.next().unwrap_or(0);
    Ok((first, allowed.next().unwrap_or(first)))
}

/// Keeps the calling thread on one processor.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    Ok(sched_setaffinity(None, &only)?)
}
