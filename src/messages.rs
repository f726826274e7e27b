//! Messages.
/// SPSC.
pub mod spsc {}
/// MPMC.
pub mod mpmc {}
