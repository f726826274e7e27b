//! How long a receiver lets messages gather before it looks for more.
//!
//! A receiver that is faster than its sender finds the ring empty after every message or two. Each
//! of its looks then pulls the line with the sender's index away from the sender, who needs it back
//! for the next message: the pair moves at the pace of a line's trips there and back, several times
//! slower than either could go. A receiver that pauses for a moment instead finds a dozen messages
//! with one look.
//!
//! A lone message must not pay for that. Two things tell a stream from it. Messages of a stream are
//! there *at the first look* after the last one was taken; what a receiver had to wait for begins
//! anew, without pauses. And pauses that are worth it find at least as many messages as they are
//! long: a receiver that paused and found less stops pausing, so an answer that came in during a
//! pause is not taken for a stream.

/// The first pauses: about as long as a line's trip.
const FIRST: u32 = 4;
/// The longest: half a microsecond or so.
pub(super) const LONGEST: u32 = 16;
/// Who finds so many messages at a look without pausing needs no pauses.
const A_FEW: u64 = 8;
/// Who finds so many with pauses, for so much less would do.
const MANY: u64 = 32;

/// What one receiver has learnt.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    pauses: u32,
    /// The position at which the ring was found drained the last time, unless there was a wait since.
    drained_at: Option<u64>,
}

impl Gather {
    /// Everything that was found has been taken, up to position `at`: how many pauses to make before
    /// the next look.
    pub(crate) fn drained(&mut self, at: u64) -> u32 {
        let found = self.drained_at.replace(at).map_or(0, |before| at.wrapping_sub(before));
        self.pauses = match (self.pauses, found) {
            (0, 1..A_FEW) => FIRST,
            (0, _) => 0,
            (pauses, MANY..) => pauses / 2,
            (pauses, found) if found >= u64::from(pauses) => (pauses * 2).min(LONGEST),
            (pauses, found) if found * 2 < u64::from(pauses) => 0,
            (pauses, _) => pauses,
        };
        self.pauses
    }

    /// What comes next has to be waited for.
    #[inline]
    pub(crate) fn waits(&mut self) {
        *self = Self::default();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Receives messages that come in looks of so many each: the pauses made before each look.
    fn pauses(gather: &mut Gather, at: &mut u64, looks: &[u64]) -> Vec<u32> {
        let before_each = |found: &u64| {
            let pauses = gather.drained(*at);
            *at = at.wrapping_add(*found);
            pauses
        };
        looks.iter().map(before_each).collect()
    }

    #[test]
    fn one_message_at_a_look_is_let_gather_and_given_up_if_none_do() {
        let (mut gather, mut at) = (Gather::default(), u64::MAX - 2);
        // Nothing is known before the first; then pauses, in which nothing more came: now and then.
        assert_eq!(pauses(&mut gather, &mut at, &[1; 5]), [0, 4, 0, 4, 0]);
    }

    #[test]
    fn pauses_grow_with_what_they_bring_and_shrink_with_what_they_need_not() {
        let (mut gather, mut at) = (Gather::default(), 7);
        assert_eq!(
            pauses(&mut gather, &mut at, &[1, 4, 8, 16, 16, 9, 8]),
            [0, 4, 8, 16, 16, 16, 16]
        );
        assert_eq!(
            pauses(&mut gather, &mut at, &[31, 32, 40, 33, 32, 32, 7]),
            [16, 16, 8, 4, 2, 1, 0]
        );
        assert_eq!(pauses(&mut gather, &mut at, &[8, 7, 4, 3, 2, 1, 0]), [4, 8, 8, 8, 0, 4, 0]);
        assert!(gather.drained(at) <= LONGEST);
    }

    #[test]
    fn what_comes_in_plenty_anyway_is_not_waited_for() {
        let (mut gather, mut at) = (Gather::default(), 0);
        assert_eq!(pauses(&mut gather, &mut at, &[8, 9, 1000, 8]), [0; 4]);
    }

    #[test]
    fn after_a_wait_all_is_forgotten() {
        let (mut gather, mut at) = (Gather::default(), 0);
        for _ in 0..9 {
            gather.waits();
            assert_eq!(pauses(&mut gather, &mut at, &[1]), [0]);
        }
        assert_eq!(pauses(&mut gather, &mut at, &[4, 8]), [4, 8]);
        gather.waits();
        assert_eq!(pauses(&mut gather, &mut at, &[8]), [0]);
    }
}
