//! How long a receiver lets messages gather before it looks for more.
//!
//! A receiver that is faster than its sender finds the ring empty after every message or two. Each
//! of its looks then pulls the line with the sender's index away from the sender, who needs it back
//! for the next message: the pair moves at the pace of a line's trips there and back, several times
//! slower than either could go. A receiver that pauses for a moment instead finds a dozen messages
//! with one look.
//!
//! A message that comes alone, or whose sender waits for an answer, must not pay for that. Three
//! things guard it. What a receiver had to wait for begins anew, without pauses: a stream's messages
//! are there *at the first look* after the last one was taken. Pauses are given up at once if they find
//! fewer messages than half as many as they are. And they stand trial: for some looks without them and
//! some with them, the time that a message takes on the average is measured, and they are made only as
//! long as that has been an eighth shorter with them. (A few requests that are under way together look
//! like a stream that gathers; but pauses do not make them come faster.)

/// The first pauses: about as long as a line's trip.
const FIRST: u32 = 4;
/// The longest: half a microsecond or so.
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
pub(crate) struct Gather {
    pauses: u32,
    /// The position at which the ring was found drained the last time, unless there was a wait since.
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

impl Gather {
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

    /// Everything that was found has been taken, up to position `at`: how many pauses to make before
    /// the next look. The clock, of nanoseconds, is asked once in a stage.
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

    #[cold]
    fn next_stage(&mut self, at: u64, now: u64) {
        let (then, from) = std::mem::replace(&mut self.began, (now, at));
        let took = (now.saturating_sub(then), at.wrapping_sub(from));
        (self.stage, self.left) = match self.stage {
            Stage::New | Stage::Judged(_) => (Stage::Without, TRIAL),
            Stage::Without if took.0 / NO_STREAM >= took.1 => self.judged(false),
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A stream whose looks find what `found` says for the pauses made before, and take `took`
    /// nanoseconds: the pauses before each look.
    fn stream(
        gather: &mut Gather,
        looks: usize,
        found: impl Fn(u32) -> u64,
        took: impl Fn(u32) -> u64,
    ) -> Vec<u32> {
        // From just before positions wrap.
        let (mut at, mut now) = (gather.drained_at.unwrap_or(u64::MAX - 99), gather.began.0);
        let mut pauses = Vec::new();
        for _ in 0..looks {
            let next = gather.drained(at, 1024, || now);
            pauses.push(next);
            at = at.wrapping_add(found(next));
            now += took(next);
        }
        pauses
    }

    const BOTH: usize = 2 * TRIAL as usize;

    #[test]
    fn a_sender_that_looks_hold_up_is_let_alone() {
        let mut gather = Gather::new();
        // One message at a look, or one each 10 ns.
        let found = |pauses| 1 + u64::from(pauses) * 3;
        let pauses = stream(&mut gather, 9999, found, |pauses| 100 + u64::from(pauses) * 30);
        assert!(pauses[..TRIAL as usize].iter().all(|pauses| *pauses == 0));
        assert!(pauses[BOTH..BOTH + SHORTEST_TERM as usize].iter().all(|pauses| *pauses > 0));
        assert!(pauses.iter().all(|pauses| *pauses <= LONGEST));
        // Once in a while it is looked whether that still helps.
        let tried = pauses[BOTH..].iter().filter(|pauses| **pauses == 0).count();
        assert_eq!(tried, 2 * TRIAL as usize);
        // It does not any more: the messages come at their pace.
        let came = |pauses| 1 + u64::from(pauses) / 4;
        let pauses = stream(&mut gather, 9999, came, |pauses| 100 * came(pauses));
        let last = &pauses[pauses.len() - SHORTEST_TERM as usize / 2..];
        assert!(last.iter().all(|pauses| *pauses == 0), "{last:?}");
    }

    #[test]
    fn requests_that_are_under_way_together_are_no_stream() {
        // Their answers come within a pause: with pauses, each round takes longer.
        for window in [2, 4, 7] {
            let mut gather = Gather::new();
            let pauses =
                stream(&mut gather, 1 << 18, |_| window, |pauses| 200 + u64::from(pauses) * 30);
            let paused = pauses.iter().filter(|pauses| **pauses > 0).count();
            assert!(0 < paused && paused <= 8 * TRIAL as usize, "{paused}");
        }
    }

    #[test]
    fn a_term_in_which_pauses_are_not_tried_grows_while_they_are_of_no_use() {
        let mut gather = Gather::new();
        let pauses = stream(&mut gather, 1 << 20, |_| 1, |pauses| 100 + u64::from(pauses) * 30);
        let firsts = (1..pauses.len()).filter(|i| {
            pauses[*i] > 0 && pauses[i.saturating_sub(BOTH)..*i].iter().all(|pauses| *pauses == 0)
        });
        let firsts: Vec<_> = firsts.collect();
        let terms: Vec<_> = firsts.windows(2).map(|pair| pair[1] - pair[0] - BOTH).collect();
        let expected = [1, 2, 4, 8, 16, 16].map(|times| times * SHORTEST_TERM as usize);
        assert_eq!(terms[..6], expected);
    }

    #[test]
    fn what_comes_at_leisure_is_not_even_tried() {
        let mut gather = Gather::new();
        let pauses = stream(&mut gather, 99_999, |_| 1, |_| NO_STREAM);
        assert!(pauses.iter().all(|pauses| *pauses == 0));
    }

    #[test]
    fn what_had_to_be_waited_for_is_not_paused_before() {
        let mut gather = Gather::new();
        gather.stage = Stage::Judged(true);
        for at in 0..9 {
            gather.left = 9;
            assert_eq!(gather.drained(at, 1024, || 0), 0);
            gather.waits();
        }
        gather.left = 9;
        assert_eq!((gather.drained(9, 1024, || 0), gather.drained(13, 1024, || 0)), (0, FIRST));
        gather.waits();
        assert_eq!(gather.drained(14, 1024, || 0), 0);
    }

    #[test]
    fn pauses_grow_with_what_they_bring_and_shrink_with_what_they_need_not() {
        let after = |pauses, found| pauses_after(pauses, found, MANY);
        assert_eq!([0, 1, 7, 8, 9999].map(|found| after(0, found)), [0, 4, 4, 0, 0]);
        assert_eq!([0, 1, 2, 3, 4, 31, 32].map(|found| after(4, found)), [0, 0, 4, 4, 8, 8, 2]);
        assert_eq!([7, 8, 15, 16, 31, 32].map(|found| after(16, found)), [0, 16, 16, 16, 16, 8]);
        // A ring that holds little is full soon.
        let mut gather = Gather::new();
        gather.stage = Stage::Judged(true);
        gather.left = 9;
        let pauses = [0, 1, 5, 9].map(|at| gather.drained(at, 8, || 0));
        assert_eq!(pauses, [0, 4, 2, 1]);
    }

    #[test]
    fn an_eighth_is_an_eighth() {
        assert!(shorter_by_an_eighth((699, 100), (8, 1)));
        assert!(!shorter_by_an_eighth((700, 100), (8, 1)));
        assert!(!shorter_by_an_eighth((0, 0), (8, 1)), "nothing came");
        assert!(shorter_by_an_eighth((1 << 50, 1 << 60), (1 << 60, 1 << 60)));
    }
}
