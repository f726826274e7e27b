//! The two halves of the store–load barrier between publishers and sleepers.
//!
//! A publisher stores an index and then loads the wake word; a sleeper stores the wake word and
//! then loads the index. Each must put a barrier between, or both loads may run ahead of the
//! stores and the wake is lost ([`word`](super::word)). Publishing happens on every message and
//! sleeping hardly ever, so the halves have two names: all cost can move to the heavy one.
//!
//! Both are sequentially consistent fences at present: of two such fences one comes first in the
//! single order of all of them, and what precedes it is visible after the other.

use crate::sync::{Ordering::SeqCst, fence};

/// The publisher's half: on the path of every message.
#[inline(always)]
pub(crate) fn light() {
    fence(SeqCst); // B2 ↔ B1
}

/// The sleeper's half: once per sleep.
pub(crate) fn heavy() {
    fence(SeqCst); // B1 ↔ B2
}
