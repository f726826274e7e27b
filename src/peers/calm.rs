//! When a reap pass need not look through the endpoint records: nothing was claimed since the last
//! one.
//!
//! A thousand ends have a thousand records, each on a line of its own. Those who wait idly look
//! through them at each liveness check, for claims whose owners are dead. But a claim moves a
//! position of the ring. If a pass found no claim in progress, and the positions are now as they
//! were before that pass, there is none that a dead end could have left: it is enough to ask
//! whether some peer lives.
//!
//! **Why that is so.** The positions are read first, and acquired: an end that had claimed by then
//! had stored its intent before (S2, R2 → X1), so the pass saw that intent, or what its owner
//! stored there after giving the claim up. An end that claims later moves a position. A claim that
//! is abandoned, or adopted, was claimed before. What an intent says beyond that, of an end that
//! died before it claimed, concerns nobody: its slots are another's or nobody's.

use super::reap::{Findings, Life, Liveness};
use super::table::Role;
use crate::ring::Kind;
use crate::ring::mem::Mem;
use crate::sync::Ordering::Acquire;

#[cfg(all(test, not(loom)))]
mod tests;

/// What one end remembers of its last reap pass.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    /// Tail and head before a pass that found no claim.
    at: Option<(u64, u64)>,
}

impl Calm {
    /// What `pass`, a reap pass of an end of `role`, would find; made only if there may be
    /// something to find.
    pub(crate) fn unless_calm<K: Kind>(
        &mut self,
        mem: &Mem<K>,
        role: Role,
        liveness: &impl Liveness,
        pass: impl FnOnce() -> Findings,
    ) -> Findings {
        if !K::RECOVERS {
            return pass(); // there are two records, and no claims
        }
        let control = &mem.words.control;
        // X1 ← S2, R2: the intents of those who had claimed.
        let at = (control.tail.at.load(Acquire), control.head.load(Acquire));
        if self.at == Some(at) && liveness.any_alive(role.opposite()) == Life::Alive {
            return Findings { opposite_alive: true, pending: false, claims: false, lost: false };
        }
        let findings = pass();
        self.at = (!findings.claims).then_some(at);
        findings
    }
}
