//! A sender that is kept to a rate, by the `governor` crate in front of it: so many messages a second,
//! and a burst at the most.
//!
//! ```text
//! cargo run --release -p typed-messages --bin at_a_rate
//! ```
//!
//! The ring's own limit is backpressure: who sends faster than is received waits. Where a sender is
//! to leave room for others even if the receivers could take more, it asks a governor first. A
//! governor that senders of several processes share would itself live in shared memory; this one is
//! each process's own.

use std::error::Error;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::{Quota, RateLimiter};
use ringpipe::messages::mpmc;

const A_SECOND: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(50).unwrap();
const MESSAGES: u32 = 1_050;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut tx, mut rx) = mpmc::channel(1 << 16)?;
    let sender = std::thread::spawn(move || {
        let governor = RateLimiter::direct(Quota::per_second(A_SECOND).allow_burst(BURST));
        for number in 0..MESSAGES {
            while governor.check().is_err() {
                std::thread::sleep(Duration::from_micros(200));
            }
            tx.send(&number.to_le_bytes())?;
        }
        Ok::<_, ringpipe::MessageError>(())
    });
    let (began, mut received) = (Instant::now(), 0);
    let mut message = Vec::new();
    while rx.recv(&mut message).is_ok() {
        received += 1;
    }
    sender.join().expect("the sender does not panic")?;
    let took = began.elapsed();
    println!("{received} messages in {took:.2?}, of which {BURST} at once");
    // Those behind the burst, at the rate; it may take longer, never less.
    let least = Duration::from_secs(1) * (MESSAGES - BURST.get()) / A_SECOND.get();
    assert!(received == MESSAGES && took >= least, "{received} in {took:?}");
    Ok(())
}
