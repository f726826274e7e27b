//! What the programs that test and measure ringpipe have in common, once each.
//!
//! * [`carrier`]: values over a ring of any kind.
//! * [`child`]: processes that outlive nobody.
//! * [`memory`]: what processes share beside rings: boards, control pages.
//! * [`new`]: whether a ring is as good as new, after whatever has been done to it; names that go.
//! * [`private`]: a `/dev/shm` of one's own. `trace`: a process under `ptrace` (x86-64).
//! * [`processors`], [`now`]: where threads run, and a clock that all processes share.
//! * Of the tests' own helpers: [`flavour`] and [`kinds`], rings and ends of several kinds under
//!   the same names; [`at`] and [`region`], a ring's memory behind the crate's back; [`asleep`],
//!   whether a thread sleeps in a ring; [`rng`], random numbers that a seed repeats.
//!
//! What a harness knows alone (its ledger, its oracle, its watchdog) is its own.

#[path = "../../../tests/support/asleep.rs"]
pub mod asleep;
#[path = "../../../tests/support/at.rs"]
pub mod at;
pub mod carrier;
pub mod child;
#[path = "../../../tests/support/flavour.rs"]
pub mod flavour;
#[path = "../../../tests/support/kinds.rs"]
pub mod kinds;
pub mod memory;
pub mod new;
pub mod private;
pub mod processors;
#[path = "../../../tests/support/region.rs"]
pub mod region;
#[path = "../../../tests/support/rng.rs"]
pub mod rng;
#[cfg(target_arch = "x86_64")]
pub mod trace;

pub use carrier::{Carrier, Receives, Sends, Value, Why};
pub use child::{Child, die_with_parent};
pub use flavour::Flavour;
pub use kinds::{AnyKind, End};
pub use new::Named;
pub use rng::Rng;

/// An error, for people.
pub fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Nanoseconds of a clock that all processes share.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
