//! One file for each protocol.

pub(crate) mod support;

mod spsc;
