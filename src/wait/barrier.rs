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
//! The kernel notes for each processor whether what runs there is registered, when it switches to
//! another address space; and when a process registers, for the processors that run it just then. A
//! processor that runs nothing just then (or a kernel thread), but ran a thread of that process
//! last, still has its address space at hand: it is not told, and when it goes on with a thread of
//! that process it switches to no other space. Until it has run another process, the call skips it
//! and reports success all the same (`kernel/sched/membarrier.c`, `sync_runqueues_membarrier_state`
//! beside `membarrier_switch_mm`; seen on Linux 6.18 by `examples/late_registration.rs`). Nothing in
//! user space can find that out or mend it, short of a fence for each message or of registering
//! before the process has run twice. But what is missed is small: a publisher that such a call skipped
//! has its store in a buffer that drains by itself within microseconds. So whoever has just announced
//! itself sleeps for a millisecond only, and looks again, before it sleeps for long
//! ([`Pace::sleep`](super::Pace::sleep)): that is how late a wake can be that this loses. A child
//! that was forked after the registration is not affected.
//!
//! # Four mixes, no mode
//!
//! Nothing in the region says who does what, so there is nothing to agree on and nothing to race:
//!
//! | publisher | sleeper can call membarrier | sleeper cannot |
//! | --- | --- | --- |
//! | registered: compiler fence only | as above | may lose a wake: so it sleeps in slices of a millisecond, all of them |
//! | could not register, or would not: fences itself | both have a full barrier | both have a full barrier (and the sleeper, who cannot know, still sleeps in short slices) |
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

/// The sleeper's half: once per sleep, after announcing itself in `word`. `false`: there may be
/// publishers whom it did not reach.
#[must_use]
pub(crate) fn heavy(word: &AtomicU32) -> bool {
    let reached = membarrier::everywhere(word); // B1 ↔ B2
    if !reached {
        fence(SeqCst); // B1 ↔ B2, with publishers who fence
    }
    reached
}
