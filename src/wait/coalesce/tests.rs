//! What a receiver learns from streams, answers and lone messages, with a clock that is told what
//! to say.

use super::*;

/// A stream whose looks find what `found` says for the pauses made before, and take `took`
/// nanoseconds: the pauses before each look.
fn stream(
    coalesce: &mut Coalesce,
    looks: usize,
    found: impl Fn(u32) -> u64,
    took: impl Fn(u32) -> u64,
) -> Vec<u32> {
    // From just before positions wrap.
    let (mut at, mut now) = (coalesce.drained_at.unwrap_or(u64::MAX - 99), coalesce.began.0);
    let mut pauses = Vec::new();
    for _ in 0..looks {
        let next = if coalesce.rests() { 0 } else { coalesce.drained(at, 1024, || now) };
        pauses.push(next);
        at = at.wrapping_add(found(next));
        now += took(next);
    }
    pauses
}

const BOTH: usize = 2 * TRIAL as usize;

#[cfg_attr(miri, ignore = "long, and arithmetic alone")]
#[test]
fn a_sender_that_looks_hold_up_is_let_alone() {
    let mut coalesce = Coalesce::new();
    // One message at a look, or one each 10 ns.
    let found = |pauses| 1 + u64::from(pauses) * 3;
    let pauses = stream(&mut coalesce, 9999, found, |pauses| 100 + u64::from(pauses) * 30);
    assert!(pauses[..TRIAL as usize].iter().all(|pauses| *pauses == 0));
    assert!(pauses[BOTH..BOTH + SHORTEST_TERM as usize].iter().all(|pauses| *pauses > 0));
    assert!(pauses.iter().all(|pauses| *pauses <= LONGEST));
    // Once in a while it is looked whether that still helps.
    let tried = pauses[BOTH..].iter().filter(|pauses| **pauses == 0).count();
    assert_eq!(tried, 2 * TRIAL as usize);
    // It does not any more: the messages come at their pace.
    let came = |pauses| 1 + u64::from(pauses) / 4;
    let pauses = stream(&mut coalesce, 9999, came, |pauses| 100 * came(pauses));
    let last = &pauses[pauses.len() - SHORTEST_TERM as usize / 2..];
    assert!(last.iter().all(|pauses| *pauses == 0), "{last:?}");
}

#[cfg_attr(miri, ignore = "long, and arithmetic alone")]
#[test]
fn requests_that_are_under_way_together_are_no_stream() {
    // Their answers come within a pause: with pauses, each round takes longer.
    for window in [2, 4, 7] {
        let mut coalesce = Coalesce::new();
        let pauses =
            stream(&mut coalesce, 1 << 18, |_| window, |pauses| 200 + u64::from(pauses) * 30);
        let paused = pauses.iter().filter(|pauses| **pauses > 0).count();
        assert!(0 < paused && paused <= 8 * TRIAL as usize, "{paused}");
    }
}

#[cfg_attr(miri, ignore = "long, and arithmetic alone")]
#[test]
fn a_term_in_which_pauses_are_not_tried_grows_while_they_are_of_no_use() {
    let mut coalesce = Coalesce::new();
    let pauses = stream(&mut coalesce, 1 << 20, |_| 1, |pauses| 100 + u64::from(pauses) * 30);
    let firsts = (1..pauses.len()).filter(|i| {
        pauses[*i] > 0 && pauses[i.saturating_sub(BOTH)..*i].iter().all(|pauses| *pauses == 0)
    });
    let firsts: Vec<_> = firsts.collect();
    let terms: Vec<_> = firsts.windows(2).map(|pair| pair[1] - pair[0] - BOTH).collect();
    let expected = [1, 2, 4, 8, 16, 16].map(|times| times * SHORTEST_TERM as usize);
    assert_eq!(terms[..6], expected);
}

#[cfg_attr(miri, ignore = "long, and arithmetic alone")]
#[test]
fn what_comes_at_leisure_is_not_even_tried() {
    let mut coalesce = Coalesce::new();
    let pauses = stream(&mut coalesce, 99_999, |_| 1, |_| NO_STREAM);
    assert!(pauses.iter().all(|pauses| *pauses == 0));
}

#[test]
fn what_had_to_be_waited_for_is_not_paused_before() {
    let mut coalesce = Coalesce::new();
    coalesce.stage = Stage::Judged(true);
    for at in 0..9 {
        coalesce.left = 9;
        assert_eq!(coalesce.drained(at, 1024, || 0), 0);
        coalesce.waits();
    }
    coalesce.left = 9;
    assert_eq!((coalesce.drained(9, 1024, || 0), coalesce.drained(13, 1024, || 0)), (0, FIRST));
    coalesce.waits();
    assert_eq!(coalesce.drained(14, 1024, || 0), 0);
}

#[test]
fn pauses_grow_with_what_they_bring_and_shrink_with_what_they_need_not() {
    let after = |pauses, found| pauses_after(pauses, found, MANY);
    assert_eq!([0, 1, 7, 8, 9999].map(|found| after(0, found)), [0, 4, 4, 0, 0]);
    assert_eq!([0, 1, 2, 3, 4, 31, 32].map(|found| after(4, found)), [0, 0, 4, 4, 8, 8, 2]);
    assert_eq!([7, 8, 15, 16, 31, 32].map(|found| after(16, found)), [0, 16, 16, 16, 16, 8]);
    // A ring that holds little is full soon.
    let mut coalesce = Coalesce::new();
    coalesce.stage = Stage::Judged(true);
    coalesce.left = 9;
    let pauses = [0, 1, 5, 9].map(|at| coalesce.drained(at, 8, || 0));
    assert_eq!(pauses, [0, 4, 2, 1]);
}

#[test]
fn an_eighth_is_an_eighth() {
    assert!(shorter_by_an_eighth((699, 100), (8, 1)));
    assert!(!shorter_by_an_eighth((700, 100), (8, 1)));
    assert!(!shorter_by_an_eighth((0, 0), (8, 1)), "nothing came");
    assert!(shorter_by_an_eighth((1 << 50, 1 << 60), (1 << 60, 1 << 60)));
}
