//! loom 0.7.2 with a mend of its exploration, a futex, and what else models need: see `patches.rs`, which says
//! what is changed and why, and `build.rs`, which makes it from the source in cargo's registry.
//! With the feature `stock` the mend is left out.

// It is not our code that would be warned about.
#![allow(warnings, clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/loom/lib.rs"));
