//! Where things lie in a region, in bytes: a second time, as a stranger would have learnt it. Fixed
//! for a major version of the layout, on machines whose cache lines count as 128 bytes.

/// Whether a file-backed ring was closed by all.
pub const FILE_STATE: usize = 512;
/// The senders' index.
pub const TAIL: usize = 640;
/// The receivers' index.
pub const HEAD: usize = 768;
/// Where receivers sleep.
pub const DATA: usize = 896;
/// Where senders sleep.
pub const SPACE: usize = 1024;
/// How many came, and how often the endpoint table changed.
pub const ARRIVALS: usize = 1152;
/// How ends went, and who was told.
pub const ENDINGS: usize = 1280;
/// Who recovers.
pub const RECOVERY: usize = 1408;
/// Statistics.
pub const TALLY: usize = 1536;
/// Those who keep watch: senders, then receivers, 128 bytes each.
pub const WATCH: usize = 1664;
/// A bit for each long sleeper: senders, then receivers, 512 bytes each.
pub const LONG_SLEEPERS: usize = 1920;
/// Whose turn it is, of senders of messages.
pub const TURN: usize = 2944;
/// The endpoint table, 8 bytes a record.
pub const OWNERS: usize = 3456;

/// The endpoint records, 128 bytes each.
pub const fn records(endpoints: usize) -> usize {
    (OWNERS + 8 * endpoints).next_multiple_of(128)
}

/// The slots, if their alignment is no larger.
pub const fn slots(endpoints: usize) -> usize {
    records(endpoints) + 128 * endpoints
}
