//! Sequences of calls on a ring, of either kind, beside the model of what the documentation says.
//!
//! The same play and the same model as in `proof/model`, where proptest chooses the calls at
//! random; here they are chosen by what reaches new code.

#![no_main]

#[path = "../../model/play.rs"]
mod play;
#[path = "../../model/queue.rs"]
mod queue;

use play::{Call, End, run};
use ringpipe::{Mpmc, Spsc};

/// Reads a call from two bytes.
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

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&shape, calls)) = data.split_first() else { return };
    let (calls, _) = calls.as_chunks();
    let calls: Vec<Call> = calls.iter().map(call).collect();
    let capacity = 1 << (shape >> 1 & 3);
    match shape & 1 {
        0 => run::<Spsc>(capacity, &calls),
        _ => run::<Mpmc>(capacity, &calls),
    }
});
