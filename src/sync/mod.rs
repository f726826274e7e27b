//! Atomics, fences, slot memory and the futex: from the hardware and the kernel, or from loom.
//!
//! This is the only place that knows whether the code runs for real or under the model checker. The
//! algorithms (`ring`), the wake protocol (`wait::word`), the endpoint table (`peers::table`) and
//! the pipe manners (`pipe`) take everything shared from here, so the very source that ships is the
//! source that `loom-tests` explores. Both halves offer the same names:
//!
//! | name | for real (`real.rs`) | modelled (`model.rs`) |
//! | --- | --- | --- |
//! | `AtomicU32`, `AtomicU64`, `fence` | `std::sync::atomic` | loom's |
//! | `membarrier` | the system call | fences in all threads, at the caller's moment |
//! | `Shared<T>` | a pointer into the mapping | an `Arc` on the heap |
//! | `Slots<K>` | racing copies in and out of the mapping (`slots.rs`, `copy.rs`) | tracked cells: a missing publish is a reported race |
//! | `futex` | `FUTEX_WAIT_BITSET`, `FUTEX_WAKE_BITSET` | wait and wake on loom's scheduler |

#[cfg(not(loom))]
mod copy;
pub(crate) mod fact;
#[cfg(not(loom))]
mod real;
#[cfg(not(loom))]
mod slots;
#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use model::*;
