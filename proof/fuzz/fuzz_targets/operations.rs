//! Sequences of calls on a ring, of any kind, beside the model of what the documentation says.
//!
//! The same plays and the same models as in `proof/model`, where proptest chooses the calls at
//! random; here they are chosen by what reaches new code.
//!
//! An input's first byte says what ring it is, the others what is called: two bytes for each call on
//! values, four on bytes and messages.

#![no_main]

#[path = "../../model/bytes.rs"]
mod bytes;
#[path = "../../model/messages.rs"]
mod messages;
#[path = "../../model/play.rs"]
mod play;
#[path = "../../model/queue.rs"]
mod queue;

use play::{Call, End, run};
use ringpipe::{Mpmc, Spsc};

/// The most calls of an input that carries bytes: more would be more of the same, and slow.
const MOST: usize = 256;

/// Reads a call on values from two bytes.
fn call(&[what, how]: &[u8; 2]) -> Call {
    let len = usize::from(what >> 4 & 7) + usize::from(how & 3);
    let end = || match how >> 2 & 7 {
        0 => End::All,
        1 => End::Drop,
        2 => End::Forget,
        _ => End::Part(how),
    };
    match what & 0xf {
        0 => Call::Send,
        1 => Call::SendNow,
        2 => Call::SendSlice(len),
        3 => Call::SendExact(len),
        4 | 5 => Call::Write { max: len, end: end() },
        6 => Call::Recv,
        7 => Call::RecvNow,
        8 => Call::RecvSlice(len),
        9 => Call::RecvExact(len),
        10 | 11 => Call::Read { max: len, end: end() },
        12 => Call::CloseSender,
        13 => Call::CloseReceiver,
        14 => Call::AttachSender,
        _ => Call::AttachReceiver,
    }
}

/// Reads a call on a byte pipe from four bytes.
fn call_on_bytes(&[what, share, low, high]: &[u8; 4]) -> bytes::Call {
    use bytes::Call;
    let len = usize::from(u16::from_le_bytes([low, high])) % (3 * bytes::PAGE);
    let first = len * usize::from(share) / 256;
    match what & 0xf {
        0 | 15 => Call::Write(len),
        1 => Call::WriteVectored(first, len - first),
        2 => Call::Commit(len, share),
        3 => Call::ForgetRoom(len),
        4 => Call::Exact(len),
        5 => Call::Read(len),
        6 => Call::ReadVectored(first, len - first),
        7 => Call::Release(len, share),
        8 => Call::AbandonRun(len),
        9 => Call::Buffered(len),
        10 => Call::Clear,
        11 => Call::CloseWriter,
        12 => Call::CloseReader,
        13 => Call::AttachWriter,
        _ => Call::AttachReader,
    }
}

/// Reads a call on a ring of messages from four bytes.
fn call_on_messages(&[what, share, low, high]: &[u8; 4]) -> messages::Call {
    use messages::Call;
    let len = usize::from(u16::from_le_bytes([low, high])) % messages::PAGE;
    let (some, few) = (1 + usize::from(low % 8), usize::from(share % 9));
    match what & 0xf {
        0 | 14 => Call::Send(len),
        1 => Call::Reserve(len, share),
        2 => Call::Abandon(len),
        3 => Call::ForgetRoom(len),
        4 => Call::SendAll(len % 200, few),
        5 | 15 => Call::Recv,
        6 => Call::RecvInto(len),
        7 => Call::Release(some, few),
        8 => Call::AbandonRun(some),
        9 => Call::Clear,
        10 => Call::CloseSender,
        11 => Call::CloseReceiver,
        12 => Call::AttachSender,
        _ => Call::AttachReceiver,
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&shape, calls)) = data.split_first() else { return };
    let size = shape >> 1 & 3;
    if shape & 8 == 0 {
        let calls: Vec<Call> = calls.as_chunks().0.iter().map(call).collect();
        return match shape & 1 {
            0 => run::<Spsc>(1 << size, &calls),
            _ => run::<Mpmc>(1 << size, &calls),
        };
    }
    let (calls, pages) = (calls.as_chunks().0.iter().take(MOST), 1 << (size & 1));
    match (shape >> 4 & 1, shape & 1) {
        (0, 0) => bytes::play(pages, calls.map(call_on_bytes).collect()),
        (0, _) => messages::play_spsc(pages, calls.map(call_on_messages).collect()),
        (_, small) => {
            let granule = [64, 1024][usize::from(small)];
            messages::play_mpmc(pages, granule, calls.map(call_on_messages).collect());
        }
    }
});
