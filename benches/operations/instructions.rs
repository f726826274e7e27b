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

/// How a program sends and receives, and how many values a call.
const WAYS: [(&str, usize); 4] = [
    ("`try_send`, `try_recv`", 1),
    ("`send`, `recv`", 1),
    ("`send_slice`, `recv_slice`", BATCH),
    ("`claim` on both sides", BATCH),
];

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
    for _ in 0..values / WAYS[way].1 {
        match way {
            0 => ends.try_one(),
            1 => ends.one(),
            2 => ends.slice(),
            _ => ends.run(),
        }
    }
}

/// Has all programs counted, and prints them as a table.
pub fn count() {
    println!("| instructions a value | bytes | values a call | SPSC | MPMC |");
    println!("|---|--:|--:|--:|--:|");
    for (way, (calls, batch)) in WAYS.iter().enumerate() {
        for bytes in [8, 64] {
            print!("| {calls} | {bytes} | {batch} |");
            for mpmc in [0, 1] {
                let [short, long] = LENGTHS.map(|values| counted([way, mpmc, bytes, values]));
                print!(" {:.1} |", (long - short) as f64 / (LENGTHS[1] - LENGTHS[0]) as f64);
            }
            println!();
        }
    }
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
