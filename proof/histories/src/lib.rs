//! Histories of calls on a ring, and whether they can be explained.
//!
//! The program `histories` has processes make short random programs of calls on small rings, stalls
//! and kills them in the midst of calls, and has every [history] explained by a
//! [specification](spec) through a [search]. README.md beside this says what is specified, and what
//! the outcome means.

pub mod history;
pub mod search;
pub mod spec;
