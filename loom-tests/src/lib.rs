//! The algorithms of ringpipe, model checked: the very sources that ship, on loom's atomics.
//!
//! The modules below `included` are the crate's own files, as they are. `src/sync/mod.rs` gives
//! them loom's half of everything shared, because this package's build script says `cfg(loom)`.
//! What stands between them and a whole ringpipe (mappings, locks, clocks) is replaced by
//! [`support`](models::support); README.md says how to read, run and add a model.

// The sources are a part of a crate here, with nobody to use the rest of it.
#![allow(dead_code, unreachable_pub)]

#[path = "../../src/attach.rs"]
mod attach;
#[path = "../../src/pipe.rs"]
mod pipe;
#[path = "../../src/ring/mod.rs"]
mod ring;
#[path = "../../src/sync/mod.rs"]
mod sync;
#[path = "../../src/wait/mod.rs"]
mod wait;

#[path = "../../src/peers"]
mod peers {
    // Not the locks and the mappings.
    pub(crate) mod calm;
    pub(crate) mod endings;
    pub(crate) mod ends;
    pub(crate) mod reap;
    pub(crate) mod recovery_word;
    pub(crate) mod table;
}

#[path = "../../src/shm"]
mod shm {
    pub(crate) mod last;
}

#[cfg(test)]
mod litmus;
#[cfg(test)]
mod models;
