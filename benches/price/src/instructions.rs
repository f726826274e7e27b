//! How many instructions it takes to send a value and to receive it, where nobody waits: counted by
//! valgrind.
//!
//! A count is the same from run to run, where times waver. It says nothing of misses and stalls.

use std::fmt::Debug;
use std::hint::black_box;
use std::process::Command;

use clap::Args;
use ringpipe::{Deadline, Item, Kind, Mpmc, RecvHandle, SendHandle, Spsc, mpmc, spsc};

use crate::harness::Outcome;

/// Values a call, where there are several.
const RUN: usize = 32;
/// Values of a short run, and of one whose instructions, less those of the short one, are counted:
/// so start and end do not count.
const LENGTHS: [u64; 2] = [20 * 1024, 40 * 1024];

/// How a program sends and receives.
const WAYS: [(&str, usize); 4] = [
    ("`try_send`, `try_recv`", 1),
    ("`send`, `recv`", 1),
    ("`send_slice`, `recv_slice`", RUN),
    ("`claim` on both sides", RUN),
];

/// A program to count the instructions of.
#[derive(Debug, Args)]
pub struct Program {
    /// Of `WAYS`.
    way: usize,
    mpmc: u8,
    bytes: usize,
    values: u64,
}

/// What valgrind runs.
pub fn work(program: &Program) -> Outcome {
    match (program.mpmc, program.bytes) {
        (0, 8) => pass::<[u64; 1], Spsc>(spsc::channel(1024).map_err(said)?, program),
        (0, _) => pass::<[u64; 8], Spsc>(spsc::channel(1024).map_err(said)?, program),
        (_, 8) => pass::<[u64; 1], Mpmc>(mpmc::channel(1024).map_err(said)?, program),
        (_, _) => pass::<[u64; 8], Mpmc>(mpmc::channel(1024).map_err(said)?, program),
    }
}

fn said(error: impl Debug) -> String {
    format!("{error:?}")
}

fn pass<T: Item + Default, K: Kind>(
    (mut tx, mut rx): (SendHandle<T, K>, RecvHandle<T, K>),
    program: &Program,
) -> Outcome {
    let value = T::default();
    let mut values = [value; RUN];
    for _ in 0..program.values / WAYS[program.way].1 as u64 {
        match program.way {
            0 => {
                tx.try_send(black_box(value)).map_err(said)?;
                black_box(rx.try_recv().map_err(said)?);
            }
            1 => {
                tx.send(black_box(value)).map_err(said)?;
                black_box(rx.recv().map_err(said)?);
            }
            2 => {
                tx.send_slice(black_box(&values), Deadline::NEVER).map_err(said)?;
                rx.recv_slice(black_box(&mut values), Deadline::NEVER).map_err(said)?;
            }
            _ => {
                let mut run = tx.claim(RUN, Deadline::NEVER).map_err(said)?;
                (0..RUN).for_each(|index| run.write(index, black_box(value)));
                run.commit_all();
                let run = rx.claim(RUN, Deadline::NEVER).map_err(said)?;
                run.iter().map(black_box).for_each(|_| ());
                run.release_all();
            }
        }
    }
    Ok(())
}

/// Has all programs counted, and prints them as a table.
pub fn count() -> Outcome {
    println!("| instructions a value | bytes | values a call | SPSC | MPMC |");
    println!("|---|--:|--:|--:|--:|");
    for (way, (calls, run)) in WAYS.iter().enumerate() {
        for bytes in [8, 64] {
            print!("| {calls} | {bytes} | {run} |");
            for mpmc in [0, 1] {
                let [short, long] = LENGTHS.map(|values| Program { way, mpmc, bytes, values });
                let instructions = counted(&long)? - counted(&short)?;
                print!(" {:.1} |", instructions as f64 / (LENGTHS[1] - LENGTHS[0]) as f64);
            }
            println!();
        }
    }
    Ok(())
}

fn counted(program: &Program) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(said)?;
    let Program { way, mpmc, bytes, values } = program;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this).arg("pass");
    valgrind.args([way.to_string(), mpmc.to_string(), bytes.to_string(), values.to_string()]);
    let output = valgrind.output().map_err(|e| format!("running valgrind: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    match count.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind counts nothing of {program:?}, but says {said}")),
    }
}
