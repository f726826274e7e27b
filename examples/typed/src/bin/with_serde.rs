//! Any serde type through a ring of messages, by postcard: serialised straight into the ring.
//!
//! ```text
//! cargo run --release -p typed-messages --bin with_serde
//! ```

use std::error::Error;
use std::io;

use ringpipe::messages::mpmc;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
    legs: Vec<(u32, f64)>,
}

fn send(tx: &mut mpmc::Sender, order: &Order) -> io::Result<()> {
    // The most that it may take; what it does not use is given back.
    tx.send_with(4096, |message| {
        postcard::to_io(order, message).map(drop).map_err(io::Error::other)
    })
}

fn recv(rx: &mut mpmc::Receiver, buffer: &mut Vec<u8>) -> Result<Order, Box<dyn Error>> {
    rx.recv(buffer)?;
    Ok(postcard::from_bytes(buffer)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut tx, mut rx) = mpmc::channel(1 << 20)?;
    let order = |id| Order {
        id,
        symbol: "RING".repeat(id as usize % 5),
        legs: (0..id as u32 % 7).map(|leg| (leg, f64::from(leg) / 3.0)).collect(),
    };
    let sender =
        std::thread::spawn(move || (0..100_000).try_for_each(|id| send(&mut tx, &order(id))));
    let mut buffer = Vec::new();
    for id in 0..100_000 {
        assert_eq!(recv(&mut rx, &mut buffer)?, order(id));
    }
    sender.join().expect("the sender does not panic")?;
    println!("100000 orders of varying length arrived as they were sent");
    Ok(())
}
