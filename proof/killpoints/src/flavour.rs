//! Rings of either kind, under the same names.

use ringpipe::error::AttachError;
use ringpipe::{Kind, Mpmc, Options, RecvHandle, Ring, SendHandle, Spsc};

use crate::item::Item;

/// Slots of every ring here: few, so that runs wrap around and rings fill.
pub const CAPACITY: usize = 8;

/// The kinds of rings, which call their ends differently.
pub trait Flavour: Kind {
    /// Endpoint records of a ring.
    const RECORDS: usize;
    /// Attaches a sending end.
    fn send_end(ring: &Ring<Item, Self>) -> Result<SendHandle<Item, Self>, AttachError>;
    /// Attaches a receiving end.
    fn recv_end(ring: &Ring<Item, Self>) -> Result<RecvHandle<Item, Self>, AttachError>;
}

impl Flavour for Spsc {
    const RECORDS: usize = 2;
    fn send_end(ring: &Ring<Item, Self>) -> Result<SendHandle<Item, Self>, AttachError> {
        ring.producer()
    }
    fn recv_end(ring: &Ring<Item, Self>) -> Result<RecvHandle<Item, Self>, AttachError> {
        ring.consumer()
    }
}

impl Flavour for Mpmc {
    const RECORDS: usize = 6;
    fn send_end(ring: &Ring<Item, Self>) -> Result<SendHandle<Item, Self>, AttachError> {
        ring.sender()
    }
    fn recv_end(ring: &Ring<Item, Self>) -> Result<RecvHandle<Item, Self>, AttachError> {
        ring.receiver()
    }
}

/// How every ring here is made, and opened.
pub fn options<K: Flavour>() -> Options<Item, K> {
    Ring::options().capacity(CAPACITY).endpoints(K::RECORDS as u32)
}
