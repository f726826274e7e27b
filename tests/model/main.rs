//! Random sequences of calls, checked call by call against a model of what the documentation says.
//!
//! One sending and one receiving end on one ring, driven in turns: sends and receives singly, in
//! slices and all-or-nothing; runs claimed and published or released in part, abandoned, forgotten;
//! ends that close, with items in hand perhaps, and attach again. The model is a queue of slots, and
//! predicts every result exactly: values, counts, which error, what is marked as redelivered,
//! `len`, and the ring's counters at the end.

mod play;
mod queue;

use play::{Call, End, run};
use proptest::prelude::*;
use ringpipe::{Mpmc, Spsc};

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let end = prop_oneof![
        any::<u8>().prop_map(End::Part),
        Just(End::All),
        Just(End::Drop),
        Just(End::Forget),
    ];
    let run = (0..10_usize, end);
    let call = prop_oneof![
        4 => Just(Call::Send),
        1 => Just(Call::SendNow),
        2 => (0..10_usize).prop_map(Call::SendSlice),
        2 => (0..10_usize).prop_map(Call::SendExact),
        4 => run.clone().prop_map(|(max, end)| Call::Write { max, end }),
        4 => Just(Call::Recv),
        1 => Just(Call::RecvNow),
        2 => (0..10_usize).prop_map(Call::RecvSlice),
        2 => (0..10_usize).prop_map(Call::RecvExact),
        4 => run.prop_map(|(max, end)| Call::Read { max, end }),
        1 => Just(Call::CloseSender),
        1 => Just(Call::CloseReceiver),
        2 => Just(Call::AttachSender),
        2 => Just(Call::AttachReceiver),
    ];
    prop::collection::vec(call, 1..120)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None, // a failure prints the calls; they make a test of their own
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_spsc_ring_does_what_its_documentation_says(size in 0..4_u32, calls in calls()) {
        run::<Spsc>(1 << size, &calls);
    }

    #[test]
    fn an_mpmc_ring_does_what_its_documentation_says(size in 0..4_u32, calls in calls()) {
        run::<Mpmc>(1 << size, &calls);
    }
}
