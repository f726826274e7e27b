//! Writes inputs to start from, made from rings that work, into one directory for each target:
//! `seeds DIRECTORY`.

use std::fs::{create_dir_all, write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use harness::Flavour;
use ringpipe::{Mpmc, Ring, Spsc};
use ringpipe_fuzz::Repair;

fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds DIRECTORY");
        std::process::exit(2);
    };
    let written = [
        of_regions::<Spsc>(&directory.join("open_spsc"))?,
        of_regions::<Mpmc>(&directory.join("open_mpmc"))?,
        of_bytes(&directory.join("open_bytes"))?,
        of_calls(&directory.join("operations"))?,
    ];
    println!("seeds: {written:?} for open_spsc, open_mpmc, open_bytes, operations");
    Ok(())
}

/// Everything twice: attach both ends, send and receive in each way, ask, leave.
const HONEST: &[u8] = &[
    0, 4, 48, 0, 80, 0, 53, 3, 85, 2, 60, 3, 1, 92, 2, 1, 91, 2, 59, 2, 10, 128, 132, 176, 0, 208,
    0, 8, 9, 136, 137, 4, 80, 0, 84, 0, 9, 5, 96, 0,
];
/// A peer that writes to each class of words between the calls.
const HOSTILE: &[u8] = &[
    0, 4, 53, 3, 12, 0, 2, 3, 1, 80, 0, 13, 0, 2, 3, 1, 85, 2, 14, 1, 2, 3, 1, 48, 0, 17, 0, 2, 1,
    1, 4, 18, 0, 2, 1, 2, 84, 0, 19, 2, 2, 3, 1, 1, 92, 4, 2, 16, 0, 2, 1, 1, 1, 80, 0, 5, 84, 0,
    8, 9,
];

fn of_regions<K: Flavour>(directory: &Path) -> std::io::Result<u32> {
    create_dir_all(directory)?;
    let mut count = 0;
    for capacity_bits in [0_u8, 2, 5] {
        let region = used_region::<K>(1 << capacity_bits);
        for repair in [Repair::Nothing, Repair::Checksum, Repair::Header] {
            for script in [HONEST, HOSTILE] {
                let mut input = vec![repair.byte(), capacity_bits, 2, script.len() as u8];
                input.extend(script);
                input.extend(&region);
                write(directory.join(format!("seed-{count}")), input)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// A region that was used for more than a lap and holds something: items, and claims of the dead.
fn used_region<K: Flavour>(capacity: usize) -> Vec<u8> {
    let options = Ring::<u64, K>::options().capacity(capacity).endpoints(4);
    let ring = options.create_anonymous().expect("a small ring");
    let mut tx = K::sender(&ring).expect("a record");
    let mut rx = K::receiver(&ring).expect("a record");
    for value in 0..2 * capacity as u64 {
        tx.try_send(value).expect("room");
        assert_eq!(rx.try_recv(), Ok(value));
    }
    tx.try_send_slice(&vec![7; capacity]).expect("room");
    drop(rx.try_claim(1)); // held
    let mut bytes = vec![0; ring.region_len()];
    let read = rustix::io::pread(ring.as_fd(), &mut bytes[..], 0).expect("a region");
    assert_eq!(read, bytes.len());
    bytes
}

/// Both ends attach, send and receive in every way, while every class of words is written to.
fn of_bytes(directory: &Path) -> std::io::Result<u32> {
    create_dir_all(directory)?;
    for seed in 0..12_u8 {
        let (kind, hostile) = (seed % 3, seed >= 6);
        let step = |n: u8| match n % 5 {
            0 if hostile => [6, n, n / 5, n],
            0 | 1 | 3 => [4, n, n.wrapping_mul(31), n % 3],
            _ => [5, n, n.wrapping_mul(17), n % 8],
        };
        let script: Vec<u8> =
            [[0; 4], [1, 0, 0, 0]].into_iter().chain((0..50).map(step)).flatten().collect();
        let repair = if seed % 2 == 0 { Repair::Header } else { Repair::Checksum };
        let mut input = vec![repair.byte(), kind, 4, script.len() as u8];
        input.extend(script);
        write(directory.join(format!("seed-{seed}")), input)?;
    }
    Ok(12)
}

/// Of each kind and size, a sequence of all calls.
fn of_calls(directory: &Path) -> std::io::Result<u32> {
    create_dir_all(directory)?;
    for shape in 0..32_u8 {
        let calls = (0..128_u8).flat_map(|n| [n.wrapping_mul(37) ^ n >> 6, n.wrapping_mul(11)]);
        let input: Vec<u8> = std::iter::once(shape).chain(calls).collect();
        write(directory.join(format!("seed-{shape}")), input)?;
    }
    Ok(32)
}
