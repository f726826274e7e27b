//! What every ring here is like.

use harness::Carrier;
use ringpipe::{Kind, Options};

use crate::item::Item;

/// Values that fill it: few, so that runs wrap around.
pub const CAPACITY: usize = 8;

/// Endpoint records.
pub const fn records<K: Kind>() -> usize {
    if K::MANY { 6 } else { 2 }
}

/// How it is made, and opened.
pub fn options<K: Carrier<Item>>() -> Options<K::Element, K> {
    K::options(CAPACITY).endpoints(records::<K>() as u32)
}
