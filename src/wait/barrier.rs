//! The two halves of the store–load barrier between publishers and sleepers.
//!
//! A publisher stores an index and then loads the wake word; a sleeper stores the wake word and
//! then loads the index. Each must put a barrier between, or both loads may run ahead of the
//! stores and the wake is lost ([`word`](super::word)). Publishing happens on every message and
//! sleeping hardly ever, so all the cost is moved to the sleeper: an *asymmetric* barrier.
//!
//! # Why it suffices
//!
//! The sleeper calls `membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED)`. Before that returns, every
//! processor that runs a thread of a registered process has executed a full memory barrier (an
//! interrupt brings it), and one that does not will execute one before it runs such a thread again
//! (switching threads contains it); the caller executes one on the way in and on the way out. So
//! there is a moment in each publisher at which a full barrier stands, and the compiler may not
//! move anything of ours across the place of the light half. Either the publisher's store comes
//! before that moment: then the sleeper's look, after the call, sees it. Or it comes after: then so
//! does its load of the wake word, which sees the announcement made before the call.
//!
//! # Where the kernel does less
//!
//! Linux notes for each processor whether what runs there is registered, and the call asks only
//! those notes. A note is made when a processor switches to another address space; for the
//! processors that run a process when it registers; and it is *cleared when a thread ends*. But a
//! processor that idles (or runs a thread of the kernel's) keeps the address space of the thread it
//! ran last, and when it goes on with another thread of that process there is no switch, and no
//! note. So it stays unnoted if a thread of the process ended there, or if it idled so when the
//! process registered, until it has run another process; the call skips it and reports success
//! (`membarrier_switch_mm`, `membarrier_update_current_mm` in `exit_mm`, and
//! `sync_runqueues_membarrier_state` in the kernel's sources; seen on 6.18 by
//! `examples/membarrier_gaps.rs`).
//!
//! We cannot tell from a result that it happened. But what it costs is small and bounded. A
//! publisher that was skipped has its store in a buffer that drains by itself within microseconds,
//! and only a look in those misses it. So:
//!
//! * Whoever has just announced itself sleeps for a millisecond at the most, and looks again,
//!   before it sleeps for long ([`RealPace::sleep`](super::pace::RealPace)). Alone on its word
//!   (SPSC rings, one end of its role), it learns of what it overlooked after that millisecond.
//! * Where several sleep at a word, one that was woken may overlook a second item, take the first
//!   and be busy with that, while the others, who announced themselves long ago, sleep on. That
//!   ends with the next item, the busy one's next call, or the interval of one that sleeps.
//!
//! The same holds where only some of several sleepers can call membarrier. A process for which that
//! is too late has its publishers fence ([`opt_out_of_membarrier`]).
//!
//! # Four mixes, no mode
//!
//! Nothing in the region says who does what, so there is nothing to agree on and nothing to race:
//!
//! | publisher | sleeper can call membarrier | sleeper cannot |
//! | --- | --- | --- |
//! | registered: compiler fence only | as above | may lose a wake: so it sleeps in intervals of a millisecond, all of them (see above) |
//! | could not register, or would not: fences itself | both have a full barrier | both have a full barrier (and the sleeper, who cannot know, still sleeps in short intervals) |
//!
//! A process registers once, before its first end is attached. The registration is inherited by
//! `fork` together with our note of it, and lost by `exec` together with our note of it.

use crate::sync::Ordering::SeqCst;
use crate::sync::{AtomicU32, compiler_fence, fence, membarrier};

/// Before this process's first publish.
pub(crate) fn register() {
    membarrier::register();
}

/// Keeps this process out of other processes' barriers. To be called before its first end is
/// attached; `false`: too late, an end was attached before.
///
/// An end that is about to sleep makes every processor that runs a process with ringpipe ends
/// execute a memory barrier, by an interrupt of some hundred nanoseconds (`membarrier(2)`,
/// `GLOBAL_EXPEDITED`). That spares publishers a fence for each message. A process for which such
/// interruptions are worse than a fence, some tens of nanoseconds, for each message of its own
/// opts out. All else stays the same; nobody else needs to know.
///
/// It is also for a process whose messages must not be overlooked for a moment: Linux skips
/// processors in that barrier now and then, and then a sleeper may overlook a message for a
/// millisecond, or, where several sleep on one ring, until the end of an interval. What is sent
/// with a fence is not overlooked.
pub fn opt_out_of_membarrier() -> bool {
    membarrier::decline()
}

/// The publisher's half: on the path of every message.
#[inline(always)]
pub(crate) fn light() {
    if membarrier::reaches_us() {
        compiler_fence(SeqCst); // B2 ↔ B1: the barrier itself is B1's to cause
    } else {
        fence(SeqCst); // B2 ↔ B1
    }
}

/// The sleeper's half: once for each announcement, after making it in `word`. `false`: there may be
/// publishers whom it did not reach.
#[must_use]
pub(crate) fn heavy(word: &AtomicU32) -> bool {
    let reached = membarrier::everywhere(word); // B1 ↔ B2
    if !reached {
        fence(SeqCst); // B1 ↔ B2, with publishers who fence
    }
    reached
}
