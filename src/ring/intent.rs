//! What an MPMC endpoint stores in its record before it claims: the low bits of a position, and how
//! many slots from there on, in one word. [`mpmc`](super::mpmc) says what that is for.

/// Bits of an intent that hold the low bits of the position; the count is above them.
const INTENT_POSITION_BITS: u32 = 40;
/// The largest run that an intent can describe.
pub(super) const INTENT_MAX_COUNT: u64 = u64::MAX >> INTENT_POSITION_BITS;
/// No claim in progress. Zero, so that fresh memory says so.
pub(super) const NO_INTENT: u64 = 0;
/// Positions that are so far apart look the same in an intent.
pub(super) const INTENT_HORIZON: u64 = 1 << INTENT_POSITION_BITS;
const INTENT_POSITION: u64 = INTENT_HORIZON - 1;

pub(super) fn intent(at: u64, slots: u64) -> u64 {
    debug_assert!(0 < slots && slots <= INTENT_MAX_COUNT);
    slots << INTENT_POSITION_BITS | at & INTENT_POSITION
}

/// How many slots the intent covers.
pub(super) fn intent_slots(word: u64) -> u64 {
    word >> INTENT_POSITION_BITS
}

/// The positions below `index` that the intent covers: the first, and how many. An end stores its
/// intent for a position that it has read from the index, so the intent begins at or below the
/// index.
pub(super) fn intent_run(word: u64, index: u64, capacity: u64) -> (u64, u64) {
    let below = index.wrapping_sub(word) & INTENT_POSITION;
    (index.wrapping_sub(below), intent_slots(word).min(below).min(capacity))
}

/// The distances from `from` at which the intent begins and ends, as far as the low bits tell. What
/// begins before `from` ends beyond [`INTENT_HORIZON`].
pub(super) fn intent_stretch(word: u64, from: u64) -> std::ops::Range<u64> {
    let begin = word.wrapping_sub(from) & INTENT_POSITION;
    begin..begin + intent_slots(word)
}

/// The positions at the given distances from `at`. Wrapping, because a scribbling peer chooses it.
pub(super) fn positions(at: u64, distances: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
    distances.map(move |distance| at.wrapping_add(distance))
}
