//! What single operations cost, within one process and without waiting: for noticing regressions.
//!
//! ```text
//! cargo bench -p operations
//! cargo bench -p operations -- --save-baseline before    # then change something, then
//! cargo bench -p operations -- --baseline before
//! cargo bench -p operations -- instructions    # how many a value takes; with valgrind
//! cargo bench -p operations -- instructions bound    # that a stream's value takes no more than it may
//! cargo bench -p operations -- stack    # how many copies of a large item a call has there
//! ```
//!
//! Nothing here tells how fast items travel between processes, which depends on cache lines that
//! do not move here; that is what `benches/peers` measures, beside others.

mod calls;
mod instructions;
mod stack;

use std::hint::black_box;

use calls::{BATCH, Both, SLOTS};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use ringpipe::{Item, Kind, RecvHandle, SendHandle, mpmc, spsc};

/// One item in, one item out.
fn single<T: Item + Default>(c: &mut Criterion) {
    one_a_call(c, "spsc", spsc::channel::<T>(SLOTS).unwrap());
    one_a_call(c, "mpmc", mpmc::channel::<T>(SLOTS).unwrap());
}

fn one_a_call<T: Item + Default, K: Kind>(
    c: &mut Criterion,
    kind: &str,
    ends: (SendHandle<T, K>, RecvHandle<T, K>),
) {
    let mut group = c.benchmark_group("single");
    group.throughput(Throughput::Elements(1));
    let (mut ends, size) = (Both::new(ends), size_of::<T>());
    group.bench_function(BenchmarkId::new(format!("{kind} try"), size), |b| {
        b.iter(|| ends.try_one());
    });
    group.bench_function(BenchmarkId::new(kind, size), |b| b.iter(|| ends.one()));
}

/// Many items in, many out: by slice, and in place.
fn batches<T: Item + Default>(c: &mut Criterion) {
    many_a_call(c, "spsc", spsc::channel::<T>(SLOTS).unwrap());
    many_a_call(c, "mpmc", mpmc::channel::<T>(SLOTS).unwrap());
}

fn many_a_call<T: Item + Default, K: Kind>(
    c: &mut Criterion,
    kind: &str,
    ends: (SendHandle<T, K>, RecvHandle<T, K>),
) {
    let mut group = c.benchmark_group("batch of 32");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (mut ends, size) = (Both::new(ends), size_of::<T>());
    group.bench_function(BenchmarkId::new(format!("{kind} slice"), size), |b| {
        b.iter(|| ends.slice());
    });
    group.bench_function(BenchmarkId::new(format!("{kind} run"), size), |b| b.iter(|| ends.run()));
}

/// What is refused: no room, no item.
fn refusals(c: &mut Criterion) {
    let mut group = c.benchmark_group("refused");
    let (mut tx, mut rx) = spsc::channel::<u64>(1).unwrap();
    group.bench_function("spsc empty", |b| b.iter(|| rx.try_recv().is_err()));
    tx.try_send(1).unwrap();
    group.bench_function("spsc full", |b| b.iter(|| tx.try_send(black_box(2)).is_err()));
    let (mut tx, mut rx) = mpmc::channel::<u64>(1).unwrap();
    group.bench_function("mpmc empty", |b| b.iter(|| rx.try_recv().is_err()));
    tx.try_send(1).unwrap();
    group.bench_function("mpmc full", |b| b.iter(|| tx.try_send(black_box(2)).is_err()));
}

/// Rings and ends, made and taken down.
fn lives(c: &mut Criterion) {
    let mut group = c.benchmark_group("life");
    let spsc = spsc::Ring::<u64>::options();
    group.bench_function("create", |b| {
        b.iter_batched(|| (), |()| spsc.create_anonymous().unwrap(), BatchSize::PerIteration);
    });
    let name = format!("bench-{}", std::process::id());
    let named = spsc.create(&name).unwrap();
    group.bench_function("open", |b| b.iter(|| spsc.open(&name).unwrap()));
    group.bench_function("attach and leave, spsc", |b| b.iter(|| named.producer().unwrap()));
    named.unlink().unwrap();
    let ring = mpmc::Ring::<u64>::options().create_anonymous().unwrap();
    group.bench_function("attach and leave, mpmc", |b| b.iter(|| ring.sender().unwrap()));
}

fn operations(c: &mut Criterion) {
    single::<[u64; 1]>(c);
    single::<[u64; 8]>(c);
    single::<[u64; 32]>(c);
    batches::<[u64; 1]>(c);
    batches::<[u64; 32]>(c);
    refusals(c);
    lives(c);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        // Behind these comes what cargo adds.
        Some((what, [only, ..])) if what == "instructions" && only == "bound" => {
            instructions::check();
        }
        Some((what, _)) if what == "instructions" => instructions::count(),
        Some((what, _)) if what == "stack" => stack::measure(),
        Some((what, program)) if what == "pass" => instructions::work(program),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            operations(&mut criterion);
            criterion.final_summary();
        }
    }
}
