//! How long a receiver lets messages coalesce before it looks for more.
//!
//! A receiver that is faster than its sender finds the ring empty after every message or two. Each
//! of its looks then pulls the line with the sender's index away from the sender, who needs it back
//! for the next message: the pair moves at the pace of a line's trips there and back, several times
//! slower than either could go. A receiver that pauses for a moment instead finds a dozen messages
//! with one look.
//!
//! A message that comes alone, or whose sender waits for an answer, must not pay for that. Three
//! things guard it. What a receiver had to wait for begins anew, without pauses: a stream's
//! messages are there *at the first look* after the last one was taken. Pauses that found fewer
//! messages than half as many as they are begin anew, too. And they stand trial: for some looks
//! without them and some with them, the time that a message takes on the average is measured, and
//! they are made only as long as that has been an eighth shorter with them. (A few requests that
//! are under way together look like a stream that coalesces; but pauses do not make them come
//! faster.)

#[cfg(all(test, not(loom)))]
mod tests;

/// The first pauses: about as long as a line's trip.
const FIRST: u32 = 4;
/// The longest: some tenths of a microsecond, a whole one where a pause takes long.
const LONGEST: u32 = 16;
/// Who finds so many messages at a look without pausing needs no pauses.
const A_FEW: u64 = 8;
/// Who finds so many with pauses, or half of what the ring holds, for so much less would do.
const MANY: u64 = 32;

/// Looks of each half of a trial.
const TRIAL: u32 = 64;
/// Looks for which a judgement holds; the longer, the oftener pauses have been of no use.
const SHORTEST_TERM: u32 = 4096;
const LONGEST_TERM: u32 = SHORTEST_TERM << 4;
/// Messages that come at longer intervals, in nanoseconds, are no stream.
const NO_STREAM: u64 = 2_000;

/// What one receiver has learnt.
#[derive(Debug)]
pub(crate) struct Coalesce {
    pauses: u32,
    /// The position at which the ring was found drained the last time, unless there was a wait
    /// since.
    drained_at: Option<u64>,
    stage: Stage,
    /// Looks until the next stage.
    left: u32,
    /// When, and at which position, this stage began.
    began: (u64, u64),
    term: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known.
    New,
    /// How long does a message take?
    Without,
    /// And with pauses, instead of so many nanoseconds for so many messages?
    With { instead_of: (u64, u64) },
    /// Judged: pauses are made, or not.
    Judged(bool),
}

impl Coalesce {
    pub(crate) fn new() -> Self {
        Self {
            pauses: 0,
            drained_at: None,
            stage: Stage::New,
            left: 0,
            began: (0, 0),
            term: SHORTEST_TERM,
        }
    }

    /// There are no pauses to make, and nothing is to be found out, at this look.
    #[inline(always)]
    pub(crate) fn rests(&mut self) -> bool {
        let rests = self.stage == Stage::Judged(false) && self.left > 0;
        self.left -= u32::from(rests);
        rests
    }

    /// Everything that was found has been taken, up to position `at`: how many pauses to make
    /// before the next look. The clock, of nanoseconds, is asked once in a stage.
    pub(crate) fn drained(&mut self, at: u64, capacity: u64, clock: impl FnOnce() -> u64) -> u32 {
        if self.left == 0 {
            self.next_stage(at, clock());
        }
        self.left -= 1;
        let found = self.drained_at.replace(at).map_or(0, |before| at.wrapping_sub(before));
        self.pauses = match self.stage {
            Stage::With { .. } | Stage::Judged(true) => {
                pauses_after(self.pauses, found, MANY.min(capacity / 2))
            }
            _ => 0,
        };
        self.pauses
    }

    /// What comes next has to be waited for.
    #[inline]
    pub(crate) fn waits(&mut self) {
        self.pauses = 0;
        self.drained_at = None;
    }

    /// Looks until the next stage, and whether the last message was not waited for.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn told(&self) -> (u32, bool) {
        (self.left, self.drained_at.is_some())
    }

    /// When this stage began.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn began(&self) -> u64 {
        self.began.0
    }

    #[cold]
    fn next_stage(&mut self, at: u64, now: u64) {
        let (then, from) = std::mem::replace(&mut self.began, (now, at));
        let took = (now.saturating_sub(then), at.wrapping_sub(from));
        (self.stage, self.left) = match self.stage {
            Stage::New | Stage::Judged(_) => (Stage::Without, TRIAL),
            // No judgement, for nothing was tried.
            Stage::Without if took.0 / NO_STREAM >= took.1 => (Stage::Judged(false), SHORTEST_TERM),
            Stage::Without => (Stage::With { instead_of: took }, TRIAL),
            Stage::With { instead_of } => self.judged(shorter_by_an_eighth(took, instead_of)),
        };
    }

    fn judged(&mut self, useful: bool) -> (Stage, u32) {
        let term = self.term;
        self.term = if useful { SHORTEST_TERM } else { (term * 2).min(LONGEST_TERM) };
        (Stage::Judged(useful), if useful { SHORTEST_TERM } else { term })
    }
}

/// How many pauses to make after so many have found so many messages, of which `many` are enough.
fn pauses_after(pauses: u32, found: u64, many: u64) -> u32 {
    match (pauses, found) {
        (0, 1..A_FEW) => FIRST,
        (0, _) => 0,
        (pauses, found) if found >= many => pauses / 2,
        (pauses, found) if found >= u64::from(pauses) => (pauses * 2).min(LONGEST),
        (pauses, found) if found * 2 < u64::from(pauses) => 0,
        (pauses, _) => pauses,
    }
}

/// A message took so much less time the first time. (Nanoseconds, and messages.)
fn shorter_by_an_eighth((now, of): (u64, u64), (before, of_before): (u64, u64)) -> bool {
    let [now, of, before, of_before] = [now, of, before, of_before].map(u128::from);
    now * of_before * 8 < before * of * 7
}
