//! C6 by the millions: nothing lost, doubled or out of order between real processes.
//!
//! Every value tells its sender and its number. Each receiver insists that the numbers of each
//! sender only grow, and marks every value in a bitmap; the parent then checks that the bitmaps are
//! disjoint and together complete. With the full count only in release builds; debug builds use a
//! tenth, and say so.

mod support;

use std::path::Path;

use ringpipe::{Mpmc, Spsc};
use support::{Child, Directory, Flavour, Me, announce, new_ring, options, roles, tests};

roles!(send_numbers, mark_numbers);

tests!(
    c06_spsc_between_two_processes,
    c06_spsc_between_two_processes_in_batches,
    c06_mpmc_with_four_senders_and_four_receivers_in_eight_processes,
);

const MESSAGES: u64 = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };

/// "SENDER COUNT BATCH": sends `COUNT` values, numbered within this sender.
fn send_numbers<K: Flavour>(mut me: Me) {
    let mut tx = K::sender(&options::<K>().open(&me.ring).unwrap()).unwrap();
    me.say("attached");
    let [sender, count, batch] = numbers(&me.hear().unwrap());
    let value = |n: u64| sender << 32 | n;
    if batch == 1 {
        for n in 0..count {
            tx.send(value(n)).unwrap();
        }
    } else {
        let mut values = Vec::new();
        let mut n = 0;
        while n < count {
            values.clear();
            // Batches of all sizes up to the largest.
            let len = (n % batch + 1).min(count - n);
            values.extend((n..n + len).map(value));
            n += tx.send_slice(&values).unwrap() as u64;
        }
    }
    me.say("sent");
    me.hear();
}

/// "SENDERS COUNT BATCH FILE": receives until end-of-file, and writes a bitmap of what came.
fn mark_numbers<K: Flavour>(mut me: Me) {
    let mut rx = K::receiver(&options::<K>().open(&me.ring).unwrap()).unwrap();
    me.say("attached");
    let order = me.hear().unwrap();
    let (order, file) = order.rsplit_once(' ').unwrap();
    let [senders, count, batch] = numbers(order);
    let mut seen = vec![0u8; (senders * count).div_ceil(8) as usize];
    let mut next = vec![0; senders as usize];
    let mut received = 0u64;
    let mut mark = |value: u64| {
        let (sender, n) = (value >> 32, value & 0xffff_ffff);
        assert!(sender < senders && n < count, "{value:#x} was never sent");
        let next = &mut next[sender as usize];
        assert!(n >= *next, "{n} of sender {sender} came after {}", *next - 1);
        *next = n + 1; // so none comes twice here
        let at = (sender * count + n) as usize;
        seen[at / 8] |= 1 << (at % 8);
        received += 1;
    };
    if batch == 1 {
        rx.iter().for_each(&mut mark);
    } else {
        let mut values = vec![0; batch as usize];
        while let Ok(len) = rx.recv_slice(&mut values) {
            values[..len].iter().copied().for_each(&mut mark);
        }
    }
    assert_eq!(rx.recv(), Err(ringpipe::RecvError::Closed));
    std::fs::write(file, &seen).unwrap();
    me.say(received);
    me.hear();
}

fn numbers<const N: usize>(line: &str) -> [u64; N] {
    let mut words = line.split(' ').map(|word| word.parse().unwrap());
    std::array::from_fn(|_| words.next().unwrap())
}

fn c06_spsc_between_two_processes() {
    pour::<Spsc>(1, 1, 1, 1024);
}

fn c06_spsc_between_two_processes_in_batches() {
    pour::<Spsc>(1, 1, 100, 256);
}

fn c06_mpmc_with_four_senders_and_four_receivers_in_eight_processes() {
    pour::<Mpmc>(4, 4, 1, 1024);
    pour::<Mpmc>(4, 4, 32, 256);
}

fn pour<K: Flavour>(senders: u64, receivers: usize, batch: u64, capacity: usize) {
    let count = MESSAGES / senders;
    if cfg!(debug_assertions) {
        announce(&format!(
            "debug build: {MESSAGES} messages instead of ten times as many; run with --release"
        ));
    }
    let (name, ring) = new_ring::<K>(capacity);
    let directory = Directory::new();
    let file = |i: usize| directory.join(i.to_string());
    let start = |role: &str| {
        let mut child = Child::start::<K>(role, &name);
        child.must_hear("attached");
        child
    };
    let mut rxs: Vec<Child> = (0..receivers).map(|_| start("mark_numbers")).collect();
    let mut txs: Vec<Child> = (0..senders).map(|_| start("send_numbers")).collect();
    for (i, rx) in rxs.iter_mut().enumerate() {
        rx.say(&format!("{senders} {count} {batch} {}", file(i).display()));
    }
    for (sender, tx) in txs.iter_mut().enumerate() {
        tx.say(&format!("{sender} {count} {batch}"));
    }
    for mut tx in txs {
        tx.must_hear("sent");
        tx.finish();
    }
    let mut received = 0;
    for mut rx in rxs {
        received += rx.hear().parse::<u64>().unwrap();
        rx.finish();
    }
    let bitmaps: Vec<Vec<u8>> = (0..receivers).map(|i| read(&file(i))).collect();
    let mut all = vec![0u8; bitmaps[0].len()];
    for bitmap in &bitmaps {
        for (all, byte) in all.iter_mut().zip(bitmap) {
            assert_eq!(*all & byte, 0, "a value went to two receivers");
            *all |= byte;
        }
    }
    let distinct: u64 = all.iter().map(|byte| u64::from(byte.count_ones())).sum();
    assert_eq!((received, distinct), (MESSAGES, MESSAGES), "lost or doubled");
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received), (MESSAGES, MESSAGES));
    assert_eq!((stats.skipped, stats.redelivered, stats.dropped), (0, 0, 0));
    assert_eq!(ring.len(), 0);
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
