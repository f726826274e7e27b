//! Byte pipes beyond what any pipe does ([`pipe_parity`](../pipe_parity/main.rs)): their
//! [`calls`], what is read by lines ([`buffered`]) and [`in_place`], [`transfers`] to and from
//! descriptors, the [`deaths`] of their ends, the [`places`] that they live in, the [`limits`] that
//! they meet; and real [`data`] from process to process.

mod buffered;
mod calls;
mod data;
mod deaths;
mod in_place;
mod limits;
mod places;
#[path = "../support/mod.rs"]
mod support;
mod transfers;

use buffered::reads_lines;
use calls::forks_with_ends;
use data::{digests, makes_noise, packs, unpacks};
use deaths::{reads_and_appends, transfers_from, transfers_to, writes_from};
use limits::{fails_to_map, locks_little_memory, maps_little};
use ringpipe::bytes::Ring;
use support::{Child, Name};

support::roles!(
    digests,
    fails_to_map,
    forks_with_ends,
    locks_little_memory,
    makes_noise,
    maps_little,
    packs,
    reads_and_appends,
    reads_lines,
    transfers_from,
    transfers_to,
    unpacks,
    writes_from,
);

/// Bytes in the smallest pipe.
const PAGE: usize = 4096;

/// A byte pipe under a name of its own.
fn new_pipe(capacity: usize) -> (Name, Ring) {
    let name = Name::new();
    let ring = Ring::options().capacity(capacity).create(&name).unwrap();
    (name, ring)
}

/// A child that plays `role` with what `about` names, and has said that it is ready.
fn child(role: &str, about: &str) -> Child {
    let mut child = Child::start::<ringpipe::Spsc>(role, about);
    child.must_hear("ready");
    child
}
