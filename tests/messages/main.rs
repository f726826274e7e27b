//! Messages of any length, on rings with one of each end and with many of both: what each call
//! promises ([`calls`], [`in_place`], [`several`]), every [length](lengths) at every place of the ring,
//! what the [`deaths`] of their ends cost, also of a [`crowd`], who is [woken](wakes) where long and short ones mix, the
//! [`places`] that such rings live in; and [`survivors`], which are killed at random while each
//! message is accounted for.

mod calls;
mod crowd;
mod deaths;
mod in_place;
mod lengths;
mod places;
mod several;
#[path = "../support/mod.rs"]
mod support;
mod survivors;
mod wakes;

use calls::forks_with_ends;
use crowd::is_a_thousand;
use places::takes_what_was_passed;
use survivors::{receives_for_ever, sends_for_ever};

support::roles!(
    forks_with_ends,
    is_a_thousand,
    receives_for_ever,
    sends_for_ever,
    takes_what_was_passed,
);

/// Bytes in the smallest ring.
const PAGE: usize = 4096;
/// Bytes of the word that a message begins with.
const HEADER: usize = 8;
