//! How many instructions it takes to send a value and to receive it, where nobody waits: counted by
//! valgrind.
//!
//! A count is the same from run to run, where times waver. It says nothing of misses and stalls.

use std::process::Command;

use ringpipe::{Item, Kind, mpmc, spsc};

use crate::calls::{BATCH, Both, SLOTS};

/// Values of a short run, and of one whose instructions, less those of the short one, are counted:
/// so start and end do not count.
const LENGTHS: [usize; 2] = [20 * 1024, 40 * 1024];

/// How a program sends and receives, how many values a call, and how many before it begins anew.
const WAYS: [(&str, usize, usize); 5] = [
    ("`try_send`, `try_recv`, by turns", 1, 1),
    ("`send`, `recv`, by turns", 1, 1),
    ("`send` of many, `recv` of many", 1, SLOTS / 2),
    ("`send_slice`, `recv_slice`", BATCH, BATCH),
    ("`claim` on both sides", BATCH, BATCH),
];

/// A stream of 8-byte values on an SPSC ring takes no more than this, sent and received: some 67, of
/// which the loops that count take eight, and what another compiler may make of it.
const BOUND: f64 = 74.0;

/// What valgrind runs: a way, whether the ring is an MPMC ring, bytes of a value, values.
pub fn work(program: &[String]) {
    let numbers: Vec<usize> = program.iter().map(|number| number.parse().unwrap()).collect();
    let [way, mpmc, bytes, values] = numbers[..] else { panic!("no program: {program:?}") };
    match (mpmc, bytes) {
        (0, 8) => pass(Both::new(spsc::channel::<[u64; 1]>(SLOTS).unwrap()), way, values),
        (0, _) => pass(Both::new(spsc::channel::<[u64; 8]>(SLOTS).unwrap()), way, values),
        (_, 8) => pass(Both::new(mpmc::channel::<[u64; 1]>(SLOTS).unwrap()), way, values),
        (_, _) => pass(Both::new(mpmc::channel::<[u64; 8]>(SLOTS).unwrap()), way, values),
    }
}

fn pass<T: Item + Default, K: Kind>(mut ends: Both<T, K>, way: usize, values: usize) {
    for _ in 0..values / WAYS[way].2 {
        match way {
            0 => ends.try_one(),
            1 => ends.one(),
            2 => ends.stream(),
            3 => ends.slice(),
            _ => ends.run(),
        }
    }
}

/// Has all programs counted, and prints them as a table.
pub fn count() {
    println!("| instructions a value | bytes | values a call | SPSC | MPMC |");
    println!("|---|--:|--:|--:|--:|");
    for (way, (calls, batch, _)) in WAYS.iter().enumerate() {
        for bytes in [8, 64] {
            print!("| {calls} | {bytes} | {batch} |");
            for mpmc in [0, 1] {
                print!(" {:.1} |", a_value(way, mpmc, bytes));
            }
            println!();
        }
    }
}

/// Fails if what has a bound takes more.
pub fn check() {
    let taken = a_value(2, 0, 8);
    println!("{taken:.1} instructions to send and receive 8 bytes in a stream; at most {BOUND}");
    assert!(taken <= BOUND, "the shortest path has become longer");
}

fn a_value(way: usize, mpmc: usize, bytes: usize) -> f64 {
    let [short, long] = LENGTHS.map(|values| counted([way, mpmc, bytes, values]));
    (long - short) as f64 / (LENGTHS[1] - LENGTHS[0]) as f64
}

fn counted(program: [usize; 4]) -> u64 {
    let this = std::env::current_exe().unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this).arg("pass");
    valgrind.args(program.map(|number| number.to_string()));
    let output = valgrind.output().unwrap_or_else(|e| panic!("running valgrind: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    match count.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if output.status.success() => count,
        _ => panic!("valgrind counts nothing of {program:?}, but says {said}"),
    }
}
