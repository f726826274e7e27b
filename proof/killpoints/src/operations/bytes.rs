//! Byte pipes. Every value is a record of 512 bytes ([`carrier`](harness::carrier)), of which the
//! ring holds eight, as other rings here hold eight items.
//!
//! What is not listed is the same code as of an SPSC ring of items: removing orphans, unlinking.

use ringpipe::Role::{Receiver, Sender};

use super::{S_READER, S_READER_FULL, S_WRITER, S_WRITER_ALONE, S_WRITER_EMPTY};
use super::{SLEPT, SLEPT_FULL};
use crate::act::Act::{self, *};
use crate::scenario::Scenario;
use crate::scenario::Step::{Dead, DeadAsleep, Live, Recv as Took, Send as Sent};
use crate::scenario::bytes;

#[rustfmt::skip]
pub const SCENARIOS: &[Scenario] = &[
    // Writing.
    bytes("bytes/write", SendSlice(1), S_READER),
    bytes("bytes/write-wraps", SendSlice(5), S_READER),
    bytes("bytes/write-alone", SendSlice(2), &[Sent(3)]),
    bytes("bytes/write-full", TrySendFull, S_READER_FULL),
    bytes("bytes/write-wakes", SendSlice(1), &[
        Sent(6), Took(6), DeadAsleep(SLEPT), Live(Receiver),
    ]),
    bytes("bytes/write_exact-wraps", SendExact(4), S_READER),
    bytes("bytes/write-in-pieces", WriteInPieces(300), S_READER),
    bytes("bytes/commit", Commit { claim: 5, commit: 3 }, S_READER),
    bytes("bytes/commit-all", Commit { claim: 3, commit: 3 }, S_READER),
    bytes("bytes/abandon", Commit { claim: 3, commit: 0 }, S_READER),
    bytes("bytes/forget-and-write", ForgetAndSend { claim: 3 }, S_READER),
    bytes("bytes/write-sleeps", Send { interval_ms: 10_000 }, S_READER_FULL).woken_by(Took(1)),
    bytes("bytes/read_from", ReadFrom(1), S_READER),
    // By two system calls, of a quarter of the ring each; the second wraps around its end.
    bytes("bytes/read_from-wraps", ReadFrom(4), &[Live(Receiver), Sent(5), Took(5)]),
    bytes("bytes/read_from-wakes", ReadFrom(3), &[
        Sent(6), Took(6), DeadAsleep(SLEPT), Live(Receiver),
    ]),
    bytes("bytes/writer-closes", CloseSender, S_READER),
    bytes("bytes/writer-closes-owing", CloseSenderOwing { claim: 3 }, S_READER),
    bytes("bytes/writer-attaches", Attach(Sender), S_READER),
    bytes("bytes/writer-succeeds-the-dead", Attach(Sender), &[
        Live(Receiver), Sent(6), Took(6), Sent(1), Dead(Act::HoldWrite(3)),
    ]),
    bytes("bytes/open-and-write", OpenAttach(Sender), S_READER),
    bytes("bytes/write-broken-pipe", SendBrokenPipe, &[
        Sent(6), Took(6), Sent(8),
    ]).woken_by(Took(0)),
    // Reading.
    bytes("bytes/read", RecvSlice(1), S_WRITER),
    bytes("bytes/read-wraps", RecvSlice(3), S_WRITER),
    bytes("bytes/read-part", ReadPart(700), S_WRITER),
    bytes("bytes/read-alone", ReadPart(512), &[Sent(3)]),
    bytes("bytes/read-empty", TryRecvEmpty, S_WRITER_EMPTY),
    bytes("bytes/read-wakes", RecvSlice(1), &[Sent(8), DeadAsleep(SLEPT_FULL), Live(Sender)]),
    bytes("bytes/read_exact-wraps", RecvExact(4), S_WRITER),
    bytes("bytes/release", Release { claim: 3, release: 2 }, S_WRITER),
    bytes("bytes/release-all", Release { claim: 4, release: 4 }, S_WRITER),
    bytes("bytes/release-part", ReleasePart { claim: 3, bytes: 700 }, S_WRITER),
    bytes("bytes/release-nothing", Release { claim: 3, release: 0 }, S_WRITER),
    bytes("bytes/release-dropping", Release { claim: 3, release: 2 }, S_WRITER).dropping(),
    bytes("bytes/give-back-and-read", GiveBackAndRecv { claim: 3 }, S_WRITER),
    bytes("bytes/reads-what-the-dead-held", TryRecv, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).adopting(),
    bytes("bytes/read-sleeps", SLEPT, S_WRITER_EMPTY).woken_by(Sent(1)),
    bytes("bytes/read-end-of-file", RecvEndOfFile, &[Sent(6), Took(6)]).woken_by(Sent(0)),
    bytes("bytes/write_to", WriteTo(1), S_WRITER),
    bytes("bytes/write_to-wraps", WriteTo(4), S_WRITER),
    bytes("bytes/write_to-wakes", WriteTo(3), &[Sent(8), DeadAsleep(SLEPT_FULL), Live(Sender)]),
    bytes("bytes/reader-closes", CloseReceiver, S_WRITER),
    bytes("bytes/reader-closes-holding", CloseReceiverHolding { claim: 3 }, S_WRITER),
    bytes("bytes/reader-attaches", Attach(Receiver), S_WRITER_ALONE),
    bytes("bytes/reader-succeeds-the-dead", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]),
    bytes("bytes/reader-drops-what-the-dead-held", Attach(Receiver), &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).dropping().counting_late(),
    bytes("bytes/open-and-read", OpenAttach(Receiver), S_WRITER_ALONE),
    // The ring as a whole: mapped twice.
    bytes("bytes/create", Create, &[]),
    bytes("bytes/visit", Visit, &[
        Sent(6), Took(6), Live(Sender), Sent(4), Dead(Act::HoldRead(3)),
    ]).orphaned(),
];
