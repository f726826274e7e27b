//! What single operations cost, within one process and without waiting: for noticing regressions.
//!
//! ```text
//! cargo bench -p operations
//! cargo bench -p operations -- --save-baseline before    # then change something, then
//! cargo bench -p operations -- --baseline before
//! ```
//!
//! Nothing here tells how fast items travel between processes, which depends on cache lines that
//! do not move here; that is what `benches/peers` measures, beside others.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use ringpipe::{Item, mpmc, spsc};

const SLOTS: usize = 1024;
const BATCH: usize = 32;

/// One item in, one item out.
fn single<T: Item + Default>(c: &mut Criterion, value: T) {
    let mut group = c.benchmark_group("single");
    let size = size_of::<T>();
    group.throughput(Throughput::Elements(1));
    let (mut tx, mut rx) = spsc::channel::<T>(SLOTS).unwrap();
    group.bench_function(BenchmarkId::new("spsc try", size), |b| {
        b.iter(|| {
            tx.try_send(black_box(value)).unwrap();
            rx.try_recv().unwrap()
        });
    });
    group.bench_function(BenchmarkId::new("spsc", size), |b| {
        b.iter(|| {
            tx.send(black_box(value)).unwrap();
            rx.recv().unwrap()
        });
    });
    let (mut tx, mut rx) = mpmc::channel::<T>(SLOTS).unwrap();
    group.bench_function(BenchmarkId::new("mpmc try", size), |b| {
        b.iter(|| {
            tx.try_send(black_box(value)).unwrap();
            rx.try_recv().unwrap()
        });
    });
    group.bench_function(BenchmarkId::new("mpmc", size), |b| {
        b.iter(|| {
            tx.send(black_box(value)).unwrap();
            rx.recv().unwrap()
        });
    });
}

/// Many items in, many out: by slice, and in place.
fn batches<T: Item + Default>(c: &mut Criterion, value: T) {
    let mut group = c.benchmark_group("batch of 32");
    let size = size_of::<T>();
    group.throughput(Throughput::Elements(BATCH as u64));
    let values = [value; BATCH];
    let mut into = [T::default(); BATCH];
    let (mut tx, mut rx) = spsc::channel::<T>(SLOTS).unwrap();
    group.bench_function(BenchmarkId::new("spsc slice", size), |b| {
        b.iter(|| {
            assert_eq!(tx.try_send_slice(black_box(&values)), Ok(BATCH));
            assert_eq!(rx.try_recv_slice(&mut into), Ok(BATCH));
        });
    });
    group.bench_function(BenchmarkId::new("spsc run", size), |b| {
        b.iter(|| {
            let mut run = tx.try_claim(BATCH).unwrap();
            for index in 0..BATCH {
                run.write(index, black_box(value));
            }
            run.commit_all();
            let run = rx.try_claim(BATCH).unwrap();
            let last = run.iter().last();
            run.release_all();
            last
        });
    });
    let (mut tx, mut rx) = mpmc::channel::<T>(SLOTS).unwrap();
    group.bench_function(BenchmarkId::new("mpmc slice", size), |b| {
        b.iter(|| {
            assert_eq!(tx.try_send_slice(black_box(&values)), Ok(BATCH));
            assert_eq!(rx.try_recv_slice(&mut into), Ok(BATCH));
        });
    });
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
    single(c, [1_u64; 1]);
    single(c, [1_u64; 8]);
    single(c, [1_u64; 32]);
    batches(c, [1_u64; 1]);
    batches(c, [1_u64; 32]);
    refusals(c);
    lives(c);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    operations(&mut criterion);
    criterion.final_summary();
}
