//! One file for each protocol.

pub(crate) mod support;

mod close;
mod handover;
mod laps;
mod mpmc;
mod recovery;
mod roster;
mod spsc;
mod wake;
