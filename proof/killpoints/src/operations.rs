//! The list of operations: what is done, in which world, and what is special about it.
//!
//! Positions are moved on first, so that runs wrap around the end of the memory and stamps are in
//! a later lap than the one that zeroed memory stands for.
//!
//! `remove_orphans` acts on all of `/dev/shm`: the harness and its victims have one of their own
//! ([`private`](crate::private)), where there is nothing but what a scenario has put there.

mod bytes;
mod messages;

use ringpipe::Role::{Receiver, Sender};

use crate::act::Act::{self, *};
use crate::scenario::Beside::{Held, Orphan};
use crate::scenario::Step::{
    Dead, DeadAsleep, DeadWithin, HoldRead as Reads, HoldWrite as Writes, Live, Recv as Took,
    Send as Sent,
};
use crate::scenario::{Left, NOTHING, Scenario, Step, mpmc, spsc};

/// Moves both positions to 6 of 8, in the first lap: the next run wraps around.
const S_READER: &[Step] = &[Live(Receiver), Sent(6), Took(6), Sent(1)];
const S_READER_FULL: &[Step] = &[Live(Receiver), Sent(6), Took(6), Sent(8)];
const S_WRITER: &[Step] = &[Sent(6), Took(6), Live(Sender), Sent(4)];
const S_WRITER_EMPTY: &[Step] = &[Sent(6), Took(6), Live(Sender)];
/// Here the producer has met a consumer before the victim attaches.
const S_WRITER_ALONE: &[Step] = &[Live(Sender), Sent(6), Took(2)];

/// Likewise, in the second lap, with two others of the victim's own role.
const M_SENDERS: &[Step] =
    &[Live(Sender), Live(Receiver), Sent(8), Took(8), Sent(6), Took(6), Live(Sender), Sent(1)];
const M_RECEIVERS: &[Step] =
    &[Live(Sender), Live(Receiver), Sent(8), Took(8), Sent(6), Took(6), Live(Receiver), Sent(4)];

/// A receiver that was killed asleep has left its flag: the next to publish makes a system call.
const SLEPT: Act = Recv { interval_ms: 10_000 };
/// Likewise a sender.
const SLEPT_FULL: Act = Send { interval_ms: 10_000 };
/// A receiver that was killed asleep where it kept watch: its name is still in its slot.
const WATCHED: Act = Recv { interval_ms: 50 };
/// A receiver that soon looks after its peers, and then receives something.
const CHECK_DUE: Act = CheckAndRecv { succeeds: true };

/// One that looked after its peers, and died when its turn to recover had just begun.
const NAMED: Step = DeadWithin { act: CHECK_DUE, changes: 1, left: NOTHING };
/// The same of one that wanted a record: it has counted its visit, and then been named.
const VISITED: Step = DeadWithin { act: Attach(Sender), changes: 2, left: NOTHING };

/// All of them.
pub fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    [SCENARIOS, bytes::SCENARIOS, messages::SPSC, messages::MPMC].into_iter().flatten()
}

/// Of rings of values. A table: one operation, one entry.
#[rustfmt::skip]
const SCENARIOS: &[Scenario] = &[
    // One producer, one consumer: sending.
    spsc("spsc/try_send", TrySend, S_READER),
    spsc("spsc/try_send-alone", TrySend, &[Sent(3)]),
    spsc("spsc/try_send-full", TrySendFull, S_READER_FULL),
    spsc("spsc/try_send-wakes", TrySend, &[Sent(6), Took(6), DeadAsleep(SLEPT), Live(Receiver)]),
    spsc("spsc/send_slice-wraps", SendSlice(5), S_READER),
    spsc("spsc/send_exact-wraps", SendExact(4), S_READER),
    spsc("spsc/commit", Commit { claim: 5, commit: 3 }, S_READER),
    spsc("spsc/commit-all", Commit { claim: 3, commit: 3 }, S_READER),
    spsc("spsc/abandon", Commit { claim: 3, commit: 0 }, S_READER),
    spsc("spsc/forget-and-send", ForgetAndSend { claim: 3 }, S_READER),
    spsc("spsc/send-sleeps", Send { interval_ms: 10_000 }, S_READER_FULL).woken_by(Took(1)),
    spsc("spsc/producer-closes", CloseSender, S_READER),
    spsc("spsc/producer-closes-owing", CloseSenderOwing { claim: 3 }, S_READER),
    spsc("spsc/producer-attaches", Attach(Sender), S_READER),
    spsc("spsc/producer-succeeds-the-dead", Attach(Sender), &[
        Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldWrite(3)),
    ]),
    spsc("spsc/open-and-produce", OpenAttach(Sender), S_READER),
    // Receiving.
    spsc("spsc/try_recv", TryRecv, S_WRITER),
    spsc("spsc/try_recv-alone", TryRecv, &[Sent(3)]),
    spsc("spsc/try_recv-empty", TryRecvEmpty, S_WRITER_EMPTY),
    spsc("spsc/try_recv-wakes", TryRecv, &[Sent(8), DeadAsleep(SLEPT_FULL), Live(Sender)]),
    spsc("spsc/recv_slice-wraps", RecvSlice(3), S_WRITER),
    spsc("spsc/recv_exact-wraps", RecvExact(4), S_WRITER),
    spsc("spsc/release", Release { claim: 3, release: 2 }, S_WRITER),
    spsc("spsc/release-all", Release { claim: 4, release: 4 }, S_WRITER),
    spsc("spsc/release-nothing", Release { claim: 3, release: 0 }, S_WRITER),
    spsc("spsc/release-dropping", Release { claim: 3, release: 2 }, S_WRITER).dropping(),
    spsc("spsc/give-back-and-recv", GiveBackAndRecv { claim: 3 }, S_WRITER),
    spsc("spsc/try_recv-redelivered", TryRecv, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).adopting(),
    spsc("spsc/reads-what-the-dead-held", ReadAdopted { release: 1 }, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).adopting(),
    spsc("spsc/reads-what-two-dead-held", ReadAdopted { release: 0 }, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)), Dead(Act::HoldAdopted),
    ]).adopting(),
    spsc("spsc/recv-sleeps", SLEPT, S_WRITER_EMPTY).woken_by(Sent(1)),
    spsc("spsc/consumer-closes", CloseReceiver, S_WRITER),
    spsc("spsc/consumer-closes-holding", CloseReceiverHolding { claim: 3 }, S_WRITER),
    spsc("spsc/consumer-attaches", Attach(Receiver), S_WRITER_ALONE),
    spsc("spsc/consumer-succeeds-the-dead", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]),
    spsc("spsc/consumer-drops-what-the-dead-held", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).dropping().counting_late(),
    spsc("spsc/consumer-drops-what-two-dead-held", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)), Dead(Act::HoldAdopted),
    ]).limited(2).counting_late(),
    spsc("spsc/open-and-consume", OpenAttach(Receiver), S_WRITER_ALONE),
    // The ring as a whole.
    spsc("spsc/create", Create, &[]),
    spsc("spsc/open_or_create", OpenOrCreate, &[]),
    spsc("spsc/visit", Visit, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).orphaned(),
    spsc("spsc/unlink", Unlink, S_WRITER_ALONE),
    spsc("spsc/remove_orphans", RemoveOrphans, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).orphaned().beside(&[Orphan, Held]),
    spsc("spsc/remove_orphans-beside-a-ring-in-use", RemoveOrphans, S_WRITER_ALONE)
        .beside(&[Orphan]),
    // Many senders, many receivers: sending.
    mpmc("mpmc/try_send", TrySend, M_SENDERS),
    mpmc("mpmc/try_send-alone", TrySend, &[Live(Receiver), Sent(3)]),
    mpmc("mpmc/try_send-full", TrySendFull, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver), Sent(8),
    ]),
    mpmc("mpmc/try_send-wakes", TrySend, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), DeadAsleep(SLEPT),
    ]),
    mpmc("mpmc/try_send-passes-on", TrySend, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(4), DeadAsleep(SendExactSleeps(6)),
    ]),
    mpmc("mpmc/send_slice-wraps", SendSlice(5), M_SENDERS),
    mpmc("mpmc/send_exact-wraps", SendExact(4), M_SENDERS),
    mpmc("mpmc/commit", Commit { claim: 5, commit: 3 }, M_SENDERS).counting_late(),
    mpmc("mpmc/commit-all", Commit { claim: 3, commit: 3 }, M_SENDERS),
    mpmc("mpmc/abandon", Commit { claim: 3, commit: 0 }, M_SENDERS).counting_late(),
    mpmc("mpmc/forget-and-send", ForgetAndSend { claim: 3 }, M_SENDERS).counting_late(),
    mpmc("mpmc/send-sleeps", Send { interval_ms: 10_000 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(8),
    ]).woken_by(Took(1)),
    mpmc("mpmc/sender-closes", CloseSender, M_SENDERS),
    mpmc("mpmc/last-sender-closes", CloseSender, &[Live(Receiver), Sent(3)]),
    mpmc("mpmc/sender-closes-owing", CloseSenderOwing { claim: 3 }, M_SENDERS).counting_late(),
    mpmc("mpmc/sender-attaches", Attach(Sender), M_SENDERS),
    mpmc("mpmc/open-and-send", OpenAttach(Sender), M_SENDERS),
    // Receiving.
    mpmc("mpmc/try_recv", TryRecv, M_RECEIVERS),
    mpmc("mpmc/try_recv-alone", TryRecv, &[Sent(6), Took(6), Live(Sender), Sent(3)]),
    mpmc("mpmc/try_recv-empty", TryRecvEmpty, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver),
    ]),
    mpmc("mpmc/try_recv-wakes", TryRecv, &[
        Live(Sender), Live(Receiver), Sent(8), DeadAsleep(SLEPT_FULL),
    ]),
    mpmc("mpmc/try_recv-passes-on", TryRecv, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(4), DeadAsleep(RecvExactSleeps(6)),
    ]),
    mpmc("mpmc/recv_slice-wraps", RecvSlice(3), M_RECEIVERS),
    mpmc("mpmc/recv_exact-wraps", RecvExact(4), M_RECEIVERS),
    mpmc("mpmc/release", Release { claim: 3, release: 2 }, M_RECEIVERS),
    mpmc("mpmc/release-all", Release { claim: 4, release: 4 }, M_RECEIVERS),
    mpmc("mpmc/release-nothing", Release { claim: 3, release: 0 }, M_RECEIVERS),
    mpmc("mpmc/give-back-and-recv", GiveBackAndRecv { claim: 3 }, M_RECEIVERS),
    mpmc("mpmc/release-dropping", Release { claim: 3, release: 2 }, M_RECEIVERS).dropping(),
    mpmc("mpmc/recv-sleeps", SLEPT, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver),
    ]).woken_by(Sent(1)),
    mpmc("mpmc/recv-in-vain", RecvInVain, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver),
    ]),
    mpmc("mpmc/recv-in-vain-beside-dead-watchers", RecvInVain, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), DeadAsleep(WATCHED), DeadAsleep(WATCHED),
    ]),
    mpmc("mpmc/attaching-clears-dead-watchers", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), DeadAsleep(WATCHED), DeadAsleep(WATCHED),
        DeadAsleep(WATCHED), DeadAsleep(WATCHED),
    ]),
    mpmc("mpmc/try_recv-behind-holes", TryRecv, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Writes(2), Sent(3),
    ]),
    mpmc("mpmc/recv_slice-across-holes", RecvSlice(4), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(3),
    ]),
    mpmc("mpmc/release-across-holes", Release { claim: 4, release: 3 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(3),
    ]),
    mpmc("mpmc/receiver-closes", CloseReceiver, M_RECEIVERS),
    mpmc("mpmc/last-receiver-closes", CloseReceiver, &[Sent(6), Took(6), Live(Sender), Sent(3)]),
    mpmc("mpmc/receiver-closes-holding", CloseReceiverHolding { claim: 3 }, M_RECEIVERS),
    mpmc("mpmc/receiver-closes-holding-dropping", CloseReceiverHolding { claim: 3 }, M_RECEIVERS)
        .dropping(),
    mpmc("mpmc/last-receiver-closes-holding", CloseReceiverHolding { claim: 3 }, &[
        Sent(6), Took(6), Live(Sender), Sent(4),
    ]),
    mpmc("mpmc/receiver-attaches", Attach(Receiver), M_RECEIVERS),
    mpmc("mpmc/open-and-receive", OpenAttach(Receiver), M_RECEIVERS),
    // Clearing away after the dead, and being killed at it.
    mpmc("mpmc/settles-a-dead-sender", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2),
    ]).counting_late(),
    mpmc("mpmc/settles-two-dead-senders", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(2)), Sent(1),
        Dead(Act::HoldWrite(2)), Sent(2),
    ]).counting_late(),
    mpmc("mpmc/settles-a-dead-sender-beside-a-living", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(2)), Sent(2),
        Writes(1),
    ]).counting_late(),
    mpmc("mpmc/adopts", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting(),
    mpmc("mpmc/adopts-from-two", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(5), Dead(Act::HoldRead(2)),
        Dead(Act::HoldRead(3)),
    ]).adopting(),
    mpmc("mpmc/adopts-across-holes", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(2),
        Dead(Act::HoldRead(4)),
    ]).adopting(),
    mpmc("mpmc/reads-what-it-adopts", ReadAdopted { release: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting(),
    mpmc("mpmc/reads-what-another-adopted", ReadAdopted { release: 0 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
        Dead(Act::HoldAdopted),
    ]).adopting(),
    mpmc("mpmc/reads-what-it-adopts-across-holes", ReadAdopted { release: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(2),
        Dead(Act::HoldRead(4)),
    ]).adopting(),
    mpmc("mpmc/drops-what-two-dead-held", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
        Dead(Act::HoldAdopted),
    ]).limited(2).adopting().counting_late(),
    mpmc("mpmc/drops-the-last-that-two-dead-held", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldRead(1)),
        Dead(Act::HoldAdopted),
    ]).limited(2).counting_late(),
    mpmc("mpmc/sender-drops-what-two-dead-held", CheckAndSend { succeeds: true }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Dead(Act::HoldRead(2)),
        Dead(Act::HoldAdopted), Sent(6),
    ]).limited(2).counting_late(),
    mpmc("mpmc/adopts-beside-a-living-holder", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(5), Dead(Act::HoldRead(3)), Reads(2),
    ]).adopting(),
    mpmc("mpmc/adopts-while-waiting", Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting(),
    mpmc("mpmc/settles-a-dead-sender-while-waiting", Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2),
    ]).counting_late(),
    mpmc("mpmc/abandons-to-a-receiver", CheckAndSend { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(8), Dead(Act::HoldRead(2)), Took(3),
    ]),
    mpmc("mpmc/receiver-discards", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).dropping().counting_late(),
    mpmc("mpmc/sender-discards", CheckAndSend { succeeds: true }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(8), Dead(Act::HoldRead(2)), Took(3),
    ]).dropping().counting_late(),
    mpmc("mpmc/attaching-clears-the-dead", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(2)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), Dead(Idle(Receiver)), Sent(1),
    ]).counting_late(),
    mpmc("mpmc/attaching-adopts-an-abandoned-claim", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(8), Dead(Act::HoldRead(2)), Dead(Act::HoldRead(2)),
        Dead(Act::HoldRead(2)), Dead(Act::HoldRead(1)),
    ]),
    mpmc("mpmc/attaching-finds-abandoned-claims-only", Sweep(Sender), &[
        Live(Sender), Live(Receiver), Sent(8), Dead(Act::HoldRead(2)), Dead(Act::HoldRead(2)),
        Dead(Act::HoldRead(2)), Dead(Act::HoldRead(1)),
    ]),
    // The same, where the dead had come further, or less far, or were clearing away themselves.
    mpmc("mpmc/settles-a-half-published-batch", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6),
        DeadWithin { act: SendSlice(3), changes: 12, left: Left { published: 1, ..NOTHING } },
        Sent(2),
    ]).counting_late(),
    mpmc("mpmc/leaves-a-living-sender-alone", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6),
        DeadWithin { act: TrySend, changes: 1, left: NOTHING }, Writes(1),
    ]),
    mpmc("mpmc/adopts-what-was-half-released", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3),
        DeadWithin { act: RecvSlice(3), changes: 3, left: Left { consumed: 1, held: 2, ..NOTHING } },
    ]).adopting(),
    mpmc("mpmc/leaves-a-living-receiver-alone", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1),
        DeadWithin { act: TryRecv, changes: 1, left: NOTHING }, Reads(1),
    ]),
    mpmc("mpmc/adopts-from-a-dead-adopter", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
        DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]).adopting(),
    mpmc("mpmc/settles-what-a-dead-one-was-settling", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2),
        DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]).counting_late(),
    // The recovery word names one who is dead: an end, or one that was attaching (whose name the
    // ends that survive `attaching-clears-the-dead` find, too).
    mpmc("mpmc/adopts-after-one-that-died-in-its-turn", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)), NAMED,
    ]).adopting(),
    mpmc("mpmc/settles-while-waiting-after-one-that-died-in-its-turn", Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2), NAMED,
    ]).counting_late(),
    mpmc("mpmc/attaching-after-one-that-died-in-its-turn", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldRead(1)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), NAMED,
    ]).counting_late(),
    mpmc("mpmc/succeeds-to-one-that-died-in-its-turn-adopting", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(8), Dead(Act::HoldRead(3)), Dead(Act::HoldRead(3)),
        Dead(Act::HoldRead(2)), DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]),
    mpmc("mpmc/attaching-after-a-visitor-that-died", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Dead(Act::HoldRead(1)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), Dead(Idle(Receiver)), VISITED,
    ]).counting_late(),
    mpmc("mpmc/attaching-after-a-visitor-that-died-before-it-was-named", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Dead(Act::HoldRead(1)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), Dead(Idle(Receiver)),
        DeadWithin { act: Attach(Sender), changes: 1, left: NOTHING },
    ]).counting_late(),
    mpmc("mpmc/adopts-before-end-of-file", SLEPT, &[
        Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting().woken_by(Sent(0)),
    // Waiting for what does not come.
    spsc("spsc/recv-end-of-file", RecvEndOfFile, &[Sent(6), Took(6)]).woken_by(Sent(0)),
    mpmc("mpmc/recv-end-of-file", RecvEndOfFile, &[
        Live(Receiver), Live(Receiver), Sent(6), Took(6),
    ]).woken_by(Sent(0)),
    spsc("spsc/send-broken-pipe", SendBrokenPipe, &[Sent(6), Took(6), Sent(8)]).woken_by(Took(0)),
    mpmc("mpmc/send-broken-pipe", SendBrokenPipe, &[
        Live(Sender), Sent(6), Took(6), Live(Sender), Sent(8),
    ]).woken_by(Took(0)),
    spsc("spsc/producer-waits-for-peer", WaitForPeer(Sender), &[Sent(3)]).woken_by(Live(Receiver)),
    spsc("spsc/consumer-waits-for-peer", WaitForPeer(Receiver), &[Sent(3)]).woken_by(Live(Sender)),
    mpmc("mpmc/receiver-waits-for-peer", WaitForPeer(Receiver), &[
        Live(Receiver), Sent(3),
    ]).woken_by(Live(Sender)),
    mpmc("mpmc/sender-waits-for-peer", WaitForPeer(Sender), &[
        Live(Sender), Sent(6), Took(3),
    ]).woken_by(Live(Receiver)),
    mpmc("mpmc/create", Create, &[]),
    mpmc("mpmc/open_or_create", OpenOrCreate, &[]),
    mpmc("mpmc/visit", Visit, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).orphaned(),
    mpmc("mpmc/unlink", Unlink, M_RECEIVERS),
    mpmc("mpmc/remove_orphans", RemoveOrphans, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(2)),
        Dead(Act::HoldWrite(2)), Sent(1),
    ]).orphaned().beside(&[Held, Orphan]),
    mpmc("mpmc/remove_orphans-beside-a-ring-in-use", RemoveOrphans, M_RECEIVERS)
        .beside(&[Orphan]),
];
