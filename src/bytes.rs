//! A byte pipe.
pub use crate::ring::Bytes;
