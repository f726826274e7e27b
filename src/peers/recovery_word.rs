//! The recovery word: whose turn it is to settle what the dead have left, on an MPMC ring.
//!
//! Recovery needs exclusion ([`ring::recovery`](crate::ring::recovery)), at the moment of a crash,
//! in a process that may be able to open nothing any more: after `chroot` or `setuid`, at its limit
//! of descriptors or memory, under a filter of system calls. So the lock is a word of the region,
//! and the word names its holder. Whether the holder lives, the kernel tells through the descriptor
//! that the ring has open anyway. An SPSC ring has nothing to settle and needs none of this.
//!
//! # The word
//!
//! ```text
//! 0            nobody recovers
//! role 1 or 2  an end does: its role (bits 0..2), times taken (2..32), record (32..)   `Name`
//! role 3       a visitor does, an end that attaches and has no record yet: which visit (2..)
//! ```
//!
//! No name returns once its bearer is dead: times taken grow with every owner of a record, and
//! visits are counted. (They wrap after 2^30 and 2^62.)
//!
//! # Taking and giving back
//!
//! ```text
//! visitors only: lock the RECOVERY byte, then add 1 to `visits`            Y1
//! load the word                                                            Y4
//! if it names another: is that one dead? If not, or unknown, give up
//! compare-and-swap from the very word that was loaded to one's own name    Y3
//! recover
//! compare-and-swap from one's own name to 0                                Y5
//! visitors only: unlock the RECOVERY byte
//! ```
//!
//! **An end is dead** if its record has been taken more often than its name says, or if the
//! record's byte is free. **A visitor is dead** if `visits` has moved beyond its own, as it held
//! the byte until it died, or if the byte is free. Whoever holds the byte itself takes every other
//! visitor for dead.
//!
//! # Why no two recover at once
//!
//! A name goes into the word only by a compare-and-swap from 0 or from the name of one who is dead,
//! and the verdict belongs to the word that was loaded: a compare-and-swap that fails ends the
//! attempt, and is never repeated with the word that it found. Between verdict and swap the word
//! may change hands, but it cannot come back to the same name, because its bearer is dead and no
//! other has that name. So of two that find the same holder dead one succeeds, and whoever succeeds
//! has replaced a dead one.
//!
//! *One's own name* in the word, while one does not recover, was left by nobody that matters (a
//! guard that was forgotten, a scribbler), and is free. So is a name whose record does not exist.
//!
//! # Why the verdicts hold
//!
//! *Byte free*: the kernel frees a dead process's locks after its last store (`hold`), and whoever
//! asks comes after that. An end unlocks its byte when it leaves, and does not recover then: the
//! guard is gone before its record is. The first end to have a name has its byte locked before; so
//! a byte that is free later was freed by death or by leaving.
//!
//! *Times taken*, *visits*: whoever took the record, or made the next visit, had locked the byte
//! first, after the kernel had freed it of the dead one; or, in the other role, had taken a record
//! that was freed by one that had found the owner dead (A2 → A1). Its store of the record (A1) or
//! of `visits` (Y1) is read by whoever judges by it (A3, Y2), who so comes after the dead one's
//! last store, too, although it asks the kernel nothing.
//!
//! *A record that seems older than the name*: times are compared for equality, so a judge that read
//! an old record would take a living end for dead. The swap that stored the name releases what its
//! bearer had stored before, its record or its visit (Y3), and the load of the word acquires it
//! (Y4).
//!
//! # Who dies here
//!
//! Whoever dies with its name in the word leaves it there, and the next finds it dead. Whoever dies
//! as a visitor before that leaves a count of `visits` and a free byte, which mean nothing. A
//! visitor that is *stopped* between locking the byte and counting its visit keeps all others
//! waiting if the word names a dead visitor at that time; any recoverer that is stopped does so.
//!
//! # A hostile peer
//!
//! can name an end that lives, and nobody recovers, as it could hold any lock. It can clear the
//! word, and two recover at once: then items may be lost or doubled, as when it writes over the
//! slots, but each process touches its own [`Scratch`] alone. That memory has a flag of its own, in
//! private memory: of two ends of one process one recovers, and no word of the region has a say in
//! that.
//!
//! Explored state by state before it was written: three ends and two visitors, two crashes
//! anywhere, 14 million states. `loom-tests` has it with the memory model.

use std::ops::Range;

use super::reap::{Life, Liveness};
use super::table::{Name, Owner, Role};
use crate::ring::control::Words;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

#[cfg(all(test, not(loom)))]
mod tests;

const ROLE: u64 = 3;
const VISITOR: u64 = 3;
const VISIT: u32 = 2;

/// What recovery works with: made when the ring is opened, as later there may be no memory to be
/// had.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The answers about liveness of one reap pass, by record.
    pub(crate) known: Vec<Option<(Owner, bool)>>,
    /// Stretches of positions that the living intend; two a record at the most.
    pub(crate) stretches: Vec<Range<u64>>,
}

impl Scratch {
    /// For a ring with so many endpoint records.
    pub(crate) fn for_records(records: usize) -> Self {
        Self { known: vec![None; records], stretches: Vec::with_capacity(2 * records) }
    }
}

/// Recovers as `me`, unless somebody else does, or may: `None` then.
pub(crate) fn recover<R>(
    words: &Words,
    me: Name,
    liveness: &impl Liveness,
    work: impl FnOnce(&mut Scratch) -> R,
) -> Option<R> {
    liveness.with_scratch(|scratch| {
        let _turn = Turn::take(words, me, liveness)?;
        Some(work(scratch))
    })?
}

/// The name of a visitor, who holds the RECOVERY byte and begins a visit.
pub(crate) fn begin_visit(words: &Words) -> Name {
    // Y1 → Y2: all that earlier visitors stored. It comes before us without our acquiring anything,
    // as the kernel has given us the byte that they had.
    let visit = words.control.recovery.visits.fetch_add(1, Release).wrapping_add(1);
    Name(visit << VISIT | VISITOR)
}

/// The name stands in the word, until this is dropped.
struct Turn<'a> {
    words: &'a Words,
    me: Name,
}

impl<'a> Turn<'a> {
    fn take(words: &'a Words, me: Name, liveness: &impl Liveness) -> Option<Self> {
        let word = &words.control.recovery.word;
        // Y4 ← Y3: the record or the visit of the end that is named. Y4 ← Y5: what was settled.
        let found = word.load(Acquire);
        if found != 0 && found != me.0 && !is_dead(words, Name(found), me, liveness) {
            return None;
        }
        // From that very word, once. Y3 → Y4: my record, or my visit. Y3 ← Y5: what was settled.
        word.compare_exchange(found, me.0, AcqRel, Relaxed).ok()?;
        Some(Self { words, me })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The models kill by unwinding: who is killed gives nothing back.
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        let word = &self.words.control.recovery.word;
        // Y5 → Y3, Y4: what was settled. If it fails, somebody scribbles.
        let _ = word.compare_exchange(self.me.0, 0, Release, Relaxed);
    }
}

/// Whoever is named here, and is not `me`, will never store again.
fn is_dead(words: &Words, named: Name, me: Name, liveness: &impl Liveness) -> bool {
    match named.0 & ROLE {
        VISITOR if me.0 & ROLE == VISITOR => true, // `me` has the byte that `named` held
        VISITOR => {
            let visits = words.control.recovery.visits.load(Acquire); // Y2 ← Y1
            // Beyond its own, as far as a word can tell: the difference is small and positive.
            let beyond = (visits << VISIT).wrapping_sub(named.0 & !ROLE) as i64 > 0;
            beyond || liveness.visitor_alive() == Life::Dead
        }
        role => {
            let role = match role {
                1 => Role::Sender,
                2 => Role::Receiver,
                _ => return true, // nobody has such a name
            };
            match words.owners.get(named.record()) {
                None => true,
                Some(record) => {
                    !named.had_it_last(record) || liveness.alive(role, named.record()) == Life::Dead
                }
            }
        }
    }
}
