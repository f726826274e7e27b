//! One file for each protocol.

pub(crate) mod support;

mod close;
mod mpmc;
mod recovery;
mod spsc;
mod wake;
