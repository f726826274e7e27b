//! What every ring here is like.

use harness::Flavour;
use ringpipe::{Options, Ring};

use crate::item::Item;

/// Slots: few, so that runs wrap around and rings fill.
pub const CAPACITY: usize = 8;

/// Endpoint records.
pub const fn records<K: Flavour>() -> usize {
    if K::MANY { 6 } else { 2 }
}

/// How it is made, and opened.
pub fn options<K: Flavour>() -> Options<Item, K> {
    Ring::options().capacity(CAPACITY).endpoints(records::<K>() as u32)
}
