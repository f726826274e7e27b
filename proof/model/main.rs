//! Random sequences of calls, checked call by call against a model of what the documentation says.
//!
//! Up to two sending and two receiving ends on one ring, and those of a pool, driven in turns:
//! every call of the handles, in the forms that wait and that do not, copying and borrowing; runs
//! published or released in part, abandoned, forgotten; ends that close, with items in hand
//! perhaps, and attach again, to the last record. The model is a queue of slots, and predicts every
//! result exactly: values, counts, which error, what is marked as redelivered and how often, `len`,
//! and the ring's counters at the end.
//!
//! Rings of bytes and of messages have models of their own ([`bytes`], [`messages`]): queues of bytes,
//! and of messages and the granules that they take.
//!
//! No call waits for another: the forms that may wait do so for no time, or a moment, or where the
//! model says that they need not.
//!
//! `PROPTEST_CASES=20000 cargo test --release -p model -- --nocapture` plays for longer, and
//! says how much it has played.

mod bytes;
mod carried;
mod messages;
mod play;
mod queue;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use play::{Call, End, Ends, Hand, Move, Policy, Shape, Wait, play};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use ringpipe::{Mpmc, Spsc};

/// `turnover`: how often ends come and go, and how often they keep what they have claimed.
fn calls(turnover: u32) -> impl Strategy<Value = Call> {
    let end = prop_oneof![
        12 => any::<u8>().prop_map(End::Part),
        12 => Just(End::All),
        turnover => Just(End::Drop),
        turnover => Just(End::Forget),
    ];
    let run = (0..10_usize, end);
    let sending = prop_oneof![
        8 => Just(Call::Send),
        2 => Just(Call::SendNow),
        4 => (0..10_usize).prop_map(Call::SendSlice),
        4 => (0..10_usize).prop_map(Call::SendExact),
        8 => run.clone().prop_map(|(max, end)| Call::Write { max, end }),
        2 => run.clone().prop_map(|(max, end)| Call::WriteSome { max, end }),
    ];
    let receiving = prop_oneof![
        8 => Just(Call::Recv),
        2 => Just(Call::RecvNow),
        4 => (0..10_usize).prop_map(Call::RecvSlice),
        4 => (0..10_usize).prop_map(Call::RecvExact),
        turnover => run.prop_map(|(max, end)| Call::Read { max, end }),
        1 => Just(Call::Iter),
        1 => Just(Call::TryIter),
    ];
    let coming = prop_oneof![
        1 => Just(Call::CloseSender),
        1 => Just(Call::CloseReceiver),
        2 => Just(Call::AttachSender),
        2 => Just(Call::AttachReceiver),
        1 => Just(Call::AnotherSender),
        1 => Just(Call::AnotherReceiver),
    ];
    let rarely = prop_oneof![
        2 => Just(Call::PoolSenders),
        2 => Just(Call::PoolReceivers),
        4 => Just(Call::WaitForPeer),
        4 => Just(Call::IsClosed),
        4 => Just(Call::RequireReceiver),
        4 => Just(Call::RequireSender),
        1 => Just(Call::CancelSender),
        2 => Just(Call::ResetSender),
        1 => Just(Call::CancelReceiver),
        2 => Just(Call::ResetReceiver),
        1 => Just(Call::Policy(Policy::Adaptive)),
        1 => Just(Call::Policy(Policy::Spin)),
        1 => Just(Call::Policy(Policy::Park)),
    ];
    prop_oneof![28 => sending, 28 => receiving, turnover => coming, 8 => rarely]
}

fn moves(turnover: u32) -> impl Strategy<Value = Vec<Move>> {
    let wait = prop_oneof![
        8 => Just(Wait::Try),
        2 => Just(Wait::Zero),
        1 => Just(Wait::Soon),
        2 => Just(Wait::Past),
        4 => Just(Wait::Never),
    ];
    let (second, lent) = (prop::bool::weighted(0.4), prop::bool::weighted(0.3));
    let hand = (second, wait, lent).prop_map(|(second, wait, lent)| Hand { second, wait, lent });
    let one = (hand, calls(turnover)).prop_map(|(hand, call)| Move(hand, call));
    prop::collection::vec(one, 1..120)
}

/// What chance rarely comes upon: a receiver that holds what another has left, when all senders are
/// gone and a third wants to know whether that is the end.
fn adoption() -> Vec<Move> {
    let by = |second, call| Move(Hand { second, wait: Wait::Try, lent: false }, call);
    vec![
        by(true, Call::AttachReceiver),
        by(false, Call::SendSlice(3)),
        by(false, Call::Read { max: 2, end: End::Drop }),
        by(false, Call::CloseReceiver),
        by(true, Call::RecvSlice(9)),
        by(true, Call::Read { max: 9, end: End::Drop }),
        by(false, Call::AttachReceiver),
        by(false, Call::CloseSender),
        by(false, Call::Recv),
    ]
}

/// Nor upon this: one receiver after the other leaves with the same item.
fn poison() -> Vec<Move> {
    let by = |call| Move(Hand { second: false, wait: Wait::Try, lent: false }, call);
    let leaves = [Call::Read { max: 9, end: End::Drop }, Call::CloseReceiver, Call::AttachReceiver];
    let leaving = std::iter::repeat_n(leaves, 17).flatten().map(by);
    std::iter::once(by(Call::SendSlice(3))).chain(leaving).collect()
}

fn shapes() -> impl Strategy<Value = Shape> {
    let endpoints = prop_oneof![Just(2), Just(3), Just(4), Just(16)];
    let (drops, bare) = (prop::bool::weighted(0.25), prop::bool::weighted(0.3));
    let limits = prop_oneof![3 => Just(0), 2 => Just(2), 1 => Just(3), 1 => Just(15)];
    let of = |(size, endpoints, drop_unreleased, delivery_limit, bare): (u32, _, _, _, _)| Shape {
        capacity: 1_usize << size,
        endpoints,
        drop_unreleased,
        delivery_limit,
        bare,
    };
    (0..4_u32, endpoints, drops, limits, bare).prop_map(of)
}

/// Which type of item a ring carries.
const ITEMS: [&str; 5] = ["u64", "u8", "char", "[u8; 5]", "[u64; 16]"];

/// Plays as many sequences as the environment's `PROPTEST_CASES` says, on rings of this kind.
fn play_many<K: Ends>(kind: &str) {
    let config = ProptestConfig {
        failure_persistence: None, // a failure prints the calls; they make a test of their own
        max_shrink_time: 60_000,   // of a ring that waits for ever, each try takes that long
        ..ProptestConfig::default()
    };
    let (sequences, made) = (AtomicU64::new(0), AtomicU64::new(0));
    let moves = prop_oneof![moves(12), moves(50)];
    let poisoned = (1..52_usize).prop_map(|moves| poison()[..moves].to_vec());
    let first = prop_oneof![9 => Just(Vec::new()), 1 => Just(adoption()), 2 => poisoned];
    let moves = (first, moves).prop_map(|(first, then)| [first, then].concat());
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&(0..ITEMS.len(), shapes(), moves), |(item, shape, moves)| {
        sequences.fetch_add(1, Relaxed);
        made.fetch_add(moves.len() as u64, Relaxed);
        match ITEMS[item] {
            "u64" => play::<u64, K>(shape, moves),
            "u8" => play::<u8, K>(shape, moves),
            "char" => play::<char, K>(shape, moves),
            "[u8; 5]" => play::<[u8; 5], K>(shape, moves),
            _ => play::<[u64; 16], K>(shape, moves),
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{runner}");
    }
    let items = ITEMS.join(", ");
    println!(
        "{} sequences, {} calls, kind {kind}, of {items}",
        sequences.into_inner(),
        made.into_inner()
    );
}

#[test]
fn an_spsc_ring_does_what_its_documentation_says() {
    play_many::<Spsc>("SPSC");
}

#[test]
fn an_mpmc_ring_does_what_its_documentation_says() {
    play_many::<Mpmc>("MPMC");
}

/// The end of what several have left, one after the other, is the end for whoever comes next, too:
/// it waits for another sender.
#[test]
fn one_that_attaches_after_the_last_abandoned_item_was_received_is_told_of_no_end() {
    let by = |second, call| Move(Hand { second, wait: Wait::Try, lent: false }, call);
    let mut moves = poison();
    moves.truncate(1 + 4 * 3 - 1);
    moves.extend([
        by(false, Call::CloseSender),
        by(false, Call::AttachReceiver),
        by(false, Call::Iter),
        by(true, Call::AttachReceiver),
        by(true, Call::Recv),
    ]);
    let (drop_unreleased, bare) = (false, false);
    let shape = Shape { capacity: 4, endpoints: 2, drop_unreleased, delivery_limit: 15, bare };
    play::<u64, Mpmc>(shape, moves);
}
