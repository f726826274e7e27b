//! Calls on a byte pipe or a ring of messages that was opened, and a peer that writes what no
//! honest one would between them: lengths of messages, stamps, positions.

use std::io::{Read, Write};
use std::sync::atomic::Ordering::Relaxed;

use harness::AnyKind;
use harness::region::{Chart, Class, Raw};
use ringpipe::messages::{Messages, Receiver, Sender};
use ringpipe::{Bytes, MpmcMessages, Ring, SpscMessages};

/// A kind of ring that carries bytes, and its calls.
pub(crate) trait Carries: AnyKind {
    /// One of the sending calls, on so many bytes.
    fn send(tx: &mut Self::Tx, how: u8, len: usize);
    /// One of the receiving calls, likewise.
    fn receive(rx: &mut Self::Rx, how: u8, len: usize);
}

/// What is sent.
const FILLING: [u8; 2048] = [0x5a; 2048];

impl Carries for Bytes {
    fn send(tx: &mut Self::Tx, how: u8, len: usize) {
        tx.set_nonblocking(true);
        let bytes = &FILLING[..len];
        match how % 4 {
            0 => _ = tx.write(bytes),
            1 => _ = tx.try_send_exact(bytes),
            _ => {
                if let Ok(mut run) = tx.try_claim(len.max(1)) {
                    let part = run.len() / 2;
                    run.write_slice(part, &bytes[..part.min(len)]);
                    run.commit(usize::from(how) % (part + 1));
                }
            }
        }
    }

    fn receive(rx: &mut Self::Rx, how: u8, len: usize) {
        rx.set_nonblocking(true);
        let mut into = vec![0; len];
        match how % 4 {
            0 => _ = rx.read(&mut into),
            1 => _ = rx.try_recv_exact(&mut into),
            2 => _ = rx.clear(),
            _ => {
                if let Ok(run) = rx.try_claim(len.max(1)) {
                    let all = run.len();
                    run.read_slice(0, &mut into[..all.min(len)]);
                    run.release(usize::from(how) % (all + 1));
                }
            }
        }
    }
}

macro_rules! messages {
    ($($kind:ty),*) => {$(
        impl Carries for $kind {
            fn send(tx: &mut Self::Tx, how: u8, len: usize) {
                send_message(tx, how, len);
            }
            fn receive(rx: &mut Self::Rx, how: u8, len: usize) {
                receive_messages(rx, how, len);
            }
        }
    )*};
}
messages!(SpscMessages, MpmcMessages);

fn send_message<K: Messages>(tx: &mut Sender<K>, how: u8, len: usize) {
    if how.is_multiple_of(2) {
        _ = tx.try_send(&FILLING[..len]);
    } else if let Ok(mut reserved) = tx.try_reserve(len) {
        _ = reserved.writer().write_all(&FILLING[..len / 2]);
        match how / 2 % 3 {
            0 => reserved.commit(),
            1 => reserved.abandon(),
            _ => std::mem::forget(reserved),
        }
    }
}

fn receive_messages<K: Messages>(rx: &mut Receiver<K>, how: u8, len: usize) {
    let capacity = rx.capacity();
    let mut into = vec![0; len];
    match how % 4 {
        0 => {
            let mut message = Vec::new();
            _ = rx.try_recv(&mut message);
            assert!(message.len() <= capacity);
        }
        1 => _ = rx.try_recv_into(&mut into),
        2 => _ = rx.clear(),
        _ => {
            if let Ok(run) = rx.try_claim(1 + len % 5) {
                for message in run.iter() {
                    assert!(message.to_vec().len() <= capacity);
                }
                let release = usize::from(how / 4) % (run.len() + 1);
                run.release(release);
            }
        }
    }
}

/// Performs the script: four bytes for each step.
pub(crate) fn perform<K: Carries>(
    ring: &Ring<K::Element, K>,
    script: &[u8],
    raw: &Raw,
    chart: &Chart,
) {
    let (mut tx, mut rx) = (None, None);
    // One that is refused takes its time: a script has two such.
    let mut refusals = 0;
    for &[call, how, low, high] in script.as_chunks().0 {
        let len = usize::from(u16::from_le_bytes([low, high])) % (FILLING.len() + 1);
        match call % 8 {
            0 if refusals < 2 => {
                tx = K::sender(ring).ok();
                refusals += u32::from(tx.is_none());
            }
            1 if refusals < 2 => {
                rx = K::receiver(ring).ok();
                refusals += u32::from(rx.is_none());
            }
            2 => tx = None,
            3 => rx = None,
            4 => tx.iter_mut().for_each(|tx| K::send(tx, how, len)),
            5 => rx.iter_mut().for_each(|rx| K::receive(rx, how, len)),
            // A word of that class, by a telling value or this very one.
            _ => {
                let class = Class::ALL[usize::from(how) % Class::ALL.len()];
                let words = chart.of_class(class);
                if !words.is_empty() && class != Class::OwnerWord {
                    let word = words[usize::from(low) % words.len()];
                    let mut seed = u64::from(high);
                    let mut choose = |n: u64| {
                        seed = harness::rng::mix(seed);
                        seed % n
                    };
                    let value = match call & 8 {
                        0 => chart.telling(raw, word, &mut choose),
                        _ => len as u64,
                    };
                    raw.words()[word].store(value, Relaxed);
                }
            }
        }
        assert!(ring.len() <= ring.capacity());
    }
}
