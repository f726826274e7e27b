//! Random histories that are explained by construction must be explained, and with one answer
//! falsified must not.
//!
//! A textbook FIFO is run call by call; the moments of the calls are then stretched, as far as one
//! call of a process at a time allows, so that they overlap. Each call still has a moment at which
//! it took effect, so every specification must explain the history.

use histories::history::{Answer, Call, End, History, Kind, What};
use histories::search::explain;
use histories::spec::fifo::Fifo;
use histories::spec::mpmc::Mpmc;
use histories::spec::spsc::Spsc;
use proptest::prelude::*;

/// One call to be: who, how many items, all or nothing, and how far its moments are stretched, in
/// percent of what there is room for.
type Draft = (u8, u8, bool, u64, u64);

/// Moments between the effects of two calls that follow each other.
const STEP: u64 = 1000;

fn run(capacity: u8, ends: &[End], drafts: &[Draft]) -> Vec<Call> {
    let (mut queue, mut calls) = (std::collections::VecDeque::new(), Vec::new());
    for (number, &(who, size, exact, ..)) in drafts.iter().enumerate() {
        let process = who % ends.len() as u8;
        let size = size.min(capacity);
        let need = if exact { size } else { 1 };
        let effect = (number as u64 + 1) * STEP;
        let (what, answer) = if ends[usize::from(process)] == End::Sender {
            let values: Vec<_> = (0..size).map(|k| number as u64 * 10 + u64::from(k)).collect();
            let fit = size.min(capacity - queue.len() as u8);
            let answer = if fit >= need {
                queue.extend(&values[..usize::from(fit)]);
                Answer::Sent(fit)
            } else {
                Answer::NotReady
            };
            (What::Send { values, need, commit: size }, answer)
        } else {
            let ready = usize::from(size).min(queue.len());
            let answer = if ready >= need.into() {
                Answer::Received(queue.drain(..ready).collect(), 0)
            } else {
                Answer::NotReady
            };
            (What::Receive { max: size, need, release: size }, answer)
        };
        calls.push(Call { process, what, invoked: effect, returned: Some((effect, answer)) });
    }
    calls
}

/// Moves invocations back and returns forth, but neither beyond the middle between the effects of
/// two calls of the same process.
fn stretch(calls: &mut [Call], drafts: &[Draft]) {
    let effects: Vec<_> = calls.iter().map(|call| (call.process, call.invoked)).collect();
    for (index, call) in calls.iter_mut().enumerate() {
        let (_, _, _, back, forth) = drafts[index];
        let (process, effect) = effects[index];
        let same = |&&(other, _): &&(u8, u64)| other == process;
        let before = effects[..index].iter().rev().find(same).map_or(0, |&(_, at)| at);
        let after = effects[index + 1..].iter().find(same).map_or(effect + 9 * STEP, |&(_, at)| at);
        // One less, and odd against even: no two calls of a process share a moment.
        call.invoked = effect - (effect - before) * back / 201;
        if let Some((at, _)) = &mut call.returned {
            *at = effect + 1 + (after - effect - 2) * forth / 201;
        }
    }
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec((0_u8..4, 1_u8..4, any::<bool>(), 0_u64..100, 0_u64..100), 1..24)
}

fn explained_by_all(history: &History) -> bool {
    let ring = match history.kind {
        Kind::Spsc => explain(&Spsc::new(history), history).is_ok(),
        Kind::Mpmc => explain(&Mpmc::new(history), history).is_ok(),
    };
    let strict = explain(&Fifo::strict(history), history).is_ok();
    let loose = explain(&Fifo::loose(history), history).is_ok();
    ring && strict && loose
}

fn mpmc_ends() -> Vec<End> {
    vec![End::Sender, End::Receiver, End::Sender, End::Receiver]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_stretched_run_of_a_fifo_is_explained(
        drafts in drafts(),
        capacity in prop::sample::select(vec![1_u8, 2, 4]),
        many in any::<bool>(),
    ) {
        let (kind, ends) = match many {
            true => (Kind::Mpmc, mpmc_ends()),
            false => (Kind::Spsc, vec![End::Sender, End::Receiver]),
        };
        let mut calls = run(capacity, &ends, &drafts);
        stretch(&mut calls, &drafts);
        let history = History { kind, capacity, ends, calls };
        prop_assert!(explained_by_all(&history), "{history}");
    }

    #[test]
    fn one_false_item_in_a_run_without_overlaps_is_not_explained(
        drafts in drafts(),
        capacity in prop::sample::select(vec![1_u8, 2, 4]),
        which in any::<prop::sample::Index>(),
        replacement in 0_u64..240,
    ) {
        let ends = mpmc_ends();
        let mut calls = run(capacity, &ends, &drafts);
        for call in &mut calls {
            // From here on no two calls share a moment, nor overlap.
            if let Some((at, _)) = &mut call.returned {
                *at += 1;
            }
        }
        let mut items: Vec<_> = calls
            .iter_mut()
            .filter_map(|call| match &mut call.returned {
                Some((_, Answer::Received(items, _))) => Some(items),
                _ => None,
            })
            .flatten()
            .collect();
        prop_assume!(!items.is_empty());
        let which = which.index(items.len());
        prop_assume!(*items[which] != replacement);
        *items[which] = replacement;
        let history = History { kind: Kind::Mpmc, capacity, ends, calls };
        prop_assert!(explain(&Mpmc::new(&history), &history).is_err(), "{history}");
        prop_assert!(explain(&Fifo::strict(&history), &history).is_err(), "{history}");
        prop_assert!(explain(&Fifo::loose(&history), &history).is_err(), "{history}");
    }

    #[test]
    fn one_false_refusal_in_a_run_without_overlaps_is_not_explained(
        drafts in drafts(),
        capacity in prop::sample::select(vec![1_u8, 2, 4]),
        which in any::<prop::sample::Index>(),
    ) {
        let ends = mpmc_ends();
        let mut calls = run(capacity, &ends, &drafts);
        let mut answers: Vec<_> = calls
            .iter_mut()
            .filter_map(|call| call.returned.as_mut())
            .map(|(at, answer)| {
                *at += 1;
                answer
            })
            .filter(|answer| **answer != Answer::NotReady)
            .collect();
        prop_assume!(!answers.is_empty());
        let which = which.index(answers.len());
        *answers[which] = Answer::NotReady;
        let history = History { kind: Kind::Mpmc, capacity, ends, calls };
        prop_assert!(explain(&Mpmc::new(&history), &history).is_err(), "{history}");
        prop_assert!(explain(&Fifo::strict(&history), &history).is_err(), "{history}");
    }
}
