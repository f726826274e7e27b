//! Rings of messages. Values are messages of several lengths: eight in a row fill the ring, as
//! eight items fill others here; small and large take turns, and the victim's wrap around the
//! ring's end ([`item`](crate::item)).
//!
//! What is not listed is the same code as of rings of values: removing orphans, unlinking.

use ringpipe::Role::{Receiver, Sender};

use super::{CHECK_DUE, NAMED, SLEPT, SLEPT_FULL, VISITED, WATCHED};
use super::{M_RECEIVERS, M_SENDERS};
use super::{S_READER, S_READER_FULL, S_WRITER, S_WRITER_ALONE, S_WRITER_EMPTY};
use crate::act::Act::{self, *};
use crate::scenario::Step::{
    Dead, DeadAsleep, DeadWithin, HoldRead as Reads, HoldWrite as Writes, Live, Recv as Took,
    Send as Sent,
};
use crate::scenario::{NOTHING, Scenario, Step, message, messages};

/// A sender that was killed at publishing a message of three granules: it had written how long it
/// is, and handed over the last granule...
const END_PUBLISHED: Step = DeadWithin { act: CommitWritten, changes: 2, left: NOTHING };
/// ...or the two last ones. The next store would have published it.
const ALL_BUT_PUBLISHED: Step = DeadWithin { act: CommitWritten, changes: 3, left: NOTHING };

/// One sender, one receiver.
#[rustfmt::skip]
pub const SPSC: &[Scenario] = &[
    // Sending.
    message("spsc-messages/try_send", TrySend, S_READER),
    message("spsc-messages/try_send-alone", TrySend, &[Sent(3)]),
    message("spsc-messages/try_send-full", TrySendFull, S_READER_FULL),
    message("spsc-messages/try_send-wakes", TrySend, &[
        Sent(6), Took(6), DeadAsleep(SLEPT), Live(Receiver),
    ]),
    message("spsc-messages/send_all", SendAll(5), S_READER),
    message("spsc-messages/send_all-sleeps", SendAll(3), &[
        Live(Receiver), Sent(6), Took(6), Sent(7),
    ]).woken_by(Took(1)),
    message("spsc-messages/commit-shorter", Commit { claim: 5, commit: 1 }, S_READER),
    message("spsc-messages/commit-all", Commit { claim: 1, commit: 1 }, S_READER),
    message("spsc-messages/abandon", Commit { claim: 3, commit: 0 }, S_READER),
    message("spsc-messages/forget-and-send", ForgetAndSend { claim: 3 }, S_READER),
    message("spsc-messages/send-sleeps", Send { interval_ms: 10_000 }, S_READER_FULL)
        .woken_by(Took(1)),
    message("spsc-messages/sender-closes", CloseSender, S_READER),
    message("spsc-messages/sender-closes-owing", CloseSenderOwing { claim: 3 }, S_READER),
    message("spsc-messages/sender-attaches", Attach(Sender), S_READER),
    message("spsc-messages/sender-succeeds-the-dead", Attach(Sender), &[
        Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldWrite(3)),
    ]),
    message("spsc-messages/open-and-send", OpenAttach(Sender), S_READER),
    message("spsc-messages/send-broken-pipe", SendBrokenPipe, &[
        Sent(6), Took(6), Sent(8),
    ]).woken_by(Took(0)),
    // Receiving.
    message("spsc-messages/try_recv", TryRecv, S_WRITER),
    message("spsc-messages/try_recv-alone", TryRecv, &[Sent(3)]),
    message("spsc-messages/try_recv-empty", TryRecvEmpty, S_WRITER_EMPTY),
    message("spsc-messages/try_recv-wakes", TryRecv, &[
        Sent(8), DeadAsleep(SLEPT_FULL), Live(Sender),
    ]),
    message("spsc-messages/try_recv-too-small", RecvTooSmall, S_WRITER),
    message("spsc-messages/release", Release { claim: 3, release: 2 }, S_WRITER),
    message("spsc-messages/release-all", Release { claim: 4, release: 4 }, S_WRITER),
    message("spsc-messages/release-nothing", Release { claim: 3, release: 0 }, S_WRITER),
    message("spsc-messages/release-dropping", Release { claim: 3, release: 2 }, S_WRITER)
        .dropping(),
    message("spsc-messages/give-back-and-recv", GiveBackAndRecv { claim: 3 }, S_WRITER),
    message("spsc-messages/try_recv-redelivered", TryRecv, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).adopting(),
    message("spsc-messages/reads-what-the-dead-held", ReadAdopted { release: 1 }, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).adopting(),
    message("spsc-messages/reads-what-two-dead-held", ReadAdopted { release: 0 }, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)), Dead(Act::HoldAdopted),
    ]).adopting(),
    message("spsc-messages/recv-sleeps", SLEPT, S_WRITER_EMPTY).woken_by(Sent(1)),
    message("spsc-messages/recv-end-of-file", RecvEndOfFile, &[
        Sent(6), Took(6),
    ]).woken_by(Sent(0)),
    message("spsc-messages/receiver-closes", CloseReceiver, S_WRITER),
    message("spsc-messages/receiver-closes-holding", CloseReceiverHolding { claim: 3 }, S_WRITER),
    message("spsc-messages/receiver-attaches", Attach(Receiver), S_WRITER_ALONE),
    message("spsc-messages/receiver-succeeds-the-dead", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]),
    message("spsc-messages/receiver-drops-what-the-dead-held", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).dropping().counting_late(),
    message("spsc-messages/receiver-drops-what-two-dead-held", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)), Dead(Act::HoldAdopted),
    ]).limited(2).counting_late(),
    message("spsc-messages/open-and-receive", OpenAttach(Receiver), S_WRITER_ALONE),
    // The ring as a whole: mapped twice.
    message("spsc-messages/visit", Visit, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).orphaned(),
];

/// Many senders, many receivers.
#[rustfmt::skip]
pub const MPMC: &[Scenario] = &[
    // Many senders, many receivers: sending.
    messages("mpmc-messages/try_send", TrySend, M_SENDERS),
    messages("mpmc-messages/try_send-alone", TrySend, &[Live(Receiver), Sent(3)]),
    messages("mpmc-messages/try_send-full", TrySendFull, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver), Sent(8),
    ]),
    messages("mpmc-messages/try_send-wakes", TrySend, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), DeadAsleep(SLEPT),
    ]),
    messages("mpmc-messages/send_all", SendAll(5), M_SENDERS),
    messages("mpmc-messages/send_all-sleeps", SendAll(3), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(7),
    ]).woken_by(Took(1)),
    messages("mpmc-messages/commit-shorter", Commit { claim: 5, commit: 1 }, M_SENDERS)
        .counting_late(),
    messages("mpmc-messages/commit-all", Commit { claim: 1, commit: 1 }, M_SENDERS),
    messages("mpmc-messages/abandon", Commit { claim: 3, commit: 0 }, M_SENDERS).counting_late(),
    messages("mpmc-messages/forget-and-send", ForgetAndSend { claim: 3 }, M_SENDERS)
        .counting_late(),
    messages("mpmc-messages/send-sleeps", Send { interval_ms: 10_000 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(8),
    ]).woken_by(Took(1)),
    messages("mpmc-messages/sender-closes", CloseSender, M_SENDERS),
    messages("mpmc-messages/last-sender-closes", CloseSender, &[Live(Receiver), Sent(3)]),
    messages("mpmc-messages/sender-closes-owing", CloseSenderOwing { claim: 3 }, M_SENDERS)
        .counting_late(),
    messages("mpmc-messages/sender-attaches", Attach(Sender), M_SENDERS),
    messages("mpmc-messages/open-and-send", OpenAttach(Sender), M_SENDERS),
    // Receiving.
    messages("mpmc-messages/try_recv", TryRecv, M_RECEIVERS),
    messages("mpmc-messages/try_recv-alone", TryRecv, &[Sent(6), Took(6), Live(Sender), Sent(3)]),
    messages("mpmc-messages/try_recv-empty", TryRecvEmpty, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver),
    ]),
    messages("mpmc-messages/try_recv-wakes", TryRecv, &[
        Live(Sender), Live(Receiver), Sent(8), DeadAsleep(SLEPT_FULL),
    ]),
    messages("mpmc-messages/try_recv-too-small", RecvTooSmall, M_RECEIVERS),
    messages("mpmc-messages/release", Release { claim: 3, release: 2 }, M_RECEIVERS),
    messages("mpmc-messages/release-all", Release { claim: 4, release: 4 }, M_RECEIVERS),
    messages("mpmc-messages/release-nothing", Release { claim: 3, release: 0 }, M_RECEIVERS),
    messages("mpmc-messages/give-back-and-recv", GiveBackAndRecv { claim: 3 }, M_RECEIVERS),
    messages("mpmc-messages/release-dropping", Release { claim: 3, release: 2 }, M_RECEIVERS)
        .dropping(),
    messages("mpmc-messages/recv-sleeps", SLEPT, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver),
    ]).woken_by(Sent(1)),
    messages("mpmc-messages/recv-in-vain", RecvInVain, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Live(Receiver),
    ]),
    messages("mpmc-messages/recv-in-vain-beside-dead-watchers", RecvInVain, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), DeadAsleep(WATCHED), DeadAsleep(WATCHED),
    ]),
    messages("mpmc-messages/attaching-clears-dead-watchers", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), DeadAsleep(WATCHED), DeadAsleep(WATCHED),
        DeadAsleep(WATCHED), DeadAsleep(WATCHED),
    ]),
    messages("mpmc-messages/try_recv-behind-holes", TryRecv, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Writes(2), Sent(3),
    ]),
    messages("mpmc-messages/release-across-holes", Release { claim: 4, release: 3 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(3),
    ]),
    messages("mpmc-messages/receiver-closes", CloseReceiver, M_RECEIVERS),
    messages("mpmc-messages/last-receiver-closes", CloseReceiver, &[
        Sent(6), Took(6), Live(Sender), Sent(3),
    ]),
    messages("mpmc-messages/receiver-closes-holding",
        CloseReceiverHolding { claim: 3 }, M_RECEIVERS),
    messages("mpmc-messages/receiver-closes-holding-dropping",
        CloseReceiverHolding { claim: 3 }, M_RECEIVERS)
        .dropping(),
    messages("mpmc-messages/last-receiver-closes-holding", CloseReceiverHolding { claim: 3 }, &[
        Sent(6), Took(6), Live(Sender), Sent(4),
    ]),
    messages("mpmc-messages/receiver-attaches", Attach(Receiver), M_RECEIVERS),
    messages("mpmc-messages/open-and-receive", OpenAttach(Receiver), M_RECEIVERS),
    // Clearing away after the dead, and being killed at it.
    messages("mpmc-messages/settles-a-dead-sender", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2),
    ]).counting_late(),
    messages("mpmc-messages/settles-two-dead-senders", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(2)), Sent(1),
        Dead(Act::HoldWrite(2)), Sent(2),
    ]).counting_late(),
    messages("mpmc-messages/settles-a-dead-sender-beside-a-living", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(2)), Sent(2),
        Writes(1),
    ]).counting_late(),
    messages("mpmc-messages/adopts", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting(),
    messages("mpmc-messages/adopts-from-two", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(5), Dead(Act::HoldRead(2)),
        Dead(Act::HoldRead(3)),
    ]).adopting(),
    messages("mpmc-messages/adopts-across-holes", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(2),
        Dead(Act::HoldRead(4)),
    ]).adopting(),
    messages("mpmc-messages/reads-what-it-adopts", ReadAdopted { release: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting(),
    messages("mpmc-messages/reads-what-another-adopted", ReadAdopted { release: 0 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
        Dead(Act::HoldAdopted),
    ]).adopting(),
    messages("mpmc-messages/reads-what-it-adopts-across-holes", ReadAdopted { release: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Writes(2), Sent(2),
        Dead(Act::HoldRead(4)),
    ]).adopting(),
    messages("mpmc-messages/drops-what-two-dead-held", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
        Dead(Act::HoldAdopted),
    ]).limited(2).adopting().counting_late(),
    messages("mpmc-messages/drops-the-last-that-two-dead-held", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldRead(1)),
        Dead(Act::HoldAdopted),
    ]).limited(2).counting_late(),
    messages("mpmc-messages/sender-drops-what-two-dead-held", CheckAndSend { succeeds: true }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Dead(Act::HoldRead(2)),
        Dead(Act::HoldAdopted), Sent(6),
    ]).limited(2).counting_late(),
    messages("mpmc-messages/adopts-beside-a-living-holder", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(5), Dead(Act::HoldRead(3)), Reads(2),
    ]).adopting(),
    messages("mpmc-messages/adopts-while-waiting", Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting(),
    messages("mpmc-messages/settles-a-dead-sender-while-waiting", Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2),
    ]).counting_late(),
    messages("mpmc-messages/abandons-to-a-receiver", CheckAndSend { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(8), Dead(Act::HoldRead(2)), Took(3),
    ]),
    messages("mpmc-messages/receiver-discards", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).dropping().counting_late(),
    messages("mpmc-messages/sender-discards", CheckAndSend { succeeds: true }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(8), Dead(Act::HoldRead(2)), Took(3),
    ]).dropping().counting_late(),
    messages("mpmc-messages/attaching-clears-the-dead", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(2)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), Dead(Idle(Receiver)), Sent(1),
    ]).counting_late(),
    messages("mpmc-messages/attaching-adopts-an-abandoned-claim", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(8), Dead(Act::HoldRead(2)), Dead(Act::HoldRead(2)),
        Dead(Act::HoldRead(2)), Dead(Act::HoldRead(1)),
    ]),
    messages("mpmc-messages/attaching-finds-abandoned-claims-only", Sweep(Sender), &[
        Live(Sender), Live(Receiver), Sent(8), Dead(Act::HoldRead(2)), Dead(Act::HoldRead(2)),
        Dead(Act::HoldRead(2)), Dead(Act::HoldRead(1)),
    ]),
    // The same, where the dead had come further, or less far, or were clearing away themselves.
    messages("mpmc-messages/leaves-a-living-sender-alone", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6),
        DeadWithin { act: TrySend, changes: 1, left: NOTHING }, Writes(1),
    ]),
    messages("mpmc-messages/leaves-a-living-receiver-alone", CheckAndRecv { succeeds: false }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1),
        DeadWithin { act: TryRecv, changes: 1, left: NOTHING }, Reads(1),
    ]),
    messages("mpmc-messages/adopts-from-a-dead-adopter", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
        DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]).adopting(),
    messages("mpmc-messages/settles-what-a-dead-one-was-settling", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2),
        DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]).counting_late(),
    // The granules of a dead sender's message are handed over in part: the last one, or all but the
    // first.
    messages("mpmc-messages/settles-the-end-of-a-message", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(7), Took(7), END_PUBLISHED, Sent(2),
    ]).counting_late(),
    messages("mpmc-messages/settles-a-message-without-its-begin", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(7), Took(7), ALL_BUT_PUBLISHED, Sent(2),
    ]).counting_late(),
    messages("mpmc-messages/settles-parts-of-two-messages-while-waiting",
        Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), ALL_BUT_PUBLISHED, END_PUBLISHED, Sent(2),
    ]).counting_late(),
    messages("mpmc-messages/settles-a-message-that-a-dead-one-was-settling",
        CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), END_PUBLISHED, Sent(2),
        DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]).counting_late(),
    messages("mpmc-messages/attaching-clears-parts-of-messages", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1), END_PUBLISHED, ALL_BUT_PUBLISHED,
        Dead(Idle(Sender)), Dead(Idle(Receiver)), Sent(1),
    ]).counting_late(),
    // The recovery word names one who is dead: an end, or one that was attaching (whose name the
    // ends that survive `attaching-clears-the-dead` find, too).
    messages("mpmc-messages/adopts-after-one-that-died-in-its-turn", CHECK_DUE, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)), NAMED,
    ]).adopting(),
    messages("mpmc-messages/settles-while-waiting-after-one-that-died-in-its-turn",
        Recv { interval_ms: 1 }, &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Dead(Act::HoldWrite(3)), Sent(2), NAMED,
    ]).counting_late(),
    messages("mpmc-messages/attaching-after-one-that-died-in-its-turn", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldRead(1)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), NAMED,
    ]).counting_late(),
    messages("mpmc-messages/succeeds-to-one-that-died-in-its-turn-adopting", Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(8), Dead(Act::HoldRead(3)), Dead(Act::HoldRead(3)),
        Dead(Act::HoldRead(2)), DeadWithin { act: CHECK_DUE, changes: 2, left: NOTHING },
    ]),
    messages("mpmc-messages/attaching-after-a-visitor-that-died", Attach(Sender), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Dead(Act::HoldRead(1)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), Dead(Idle(Receiver)), VISITED,
    ]).counting_late(),
    messages("mpmc-messages/attaching-after-a-visitor-that-died-before-it-was-named",
        Attach(Receiver), &[
        Live(Sender), Live(Receiver), Sent(6), Took(6), Sent(2), Dead(Act::HoldRead(1)),
        Dead(Act::HoldWrite(2)), Dead(Idle(Sender)), Dead(Idle(Receiver)),
        DeadWithin { act: Attach(Sender), changes: 1, left: NOTHING },
    ]).counting_late(),
    messages("mpmc-messages/adopts-before-end-of-file", SLEPT, &[
        Live(Receiver), Sent(6), Took(6), Sent(3), Dead(Act::HoldRead(3)),
    ]).adopting().woken_by(Sent(0)),
    // Waiting for what does not come.
    messages("mpmc-messages/recv-end-of-file", RecvEndOfFile, &[
        Live(Receiver), Live(Receiver), Sent(6), Took(6),
    ]).woken_by(Sent(0)),
    messages("mpmc-messages/send-broken-pipe", SendBrokenPipe, &[
        Live(Sender), Sent(6), Took(6), Live(Sender), Sent(8),
    ]).woken_by(Took(0)),
    messages("mpmc-messages/create", Create, &[]),
    messages("mpmc-messages/visit", Visit, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).orphaned(),
];
