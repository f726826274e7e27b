//! rkyv's archives through a ring of messages: serialised into the ring, checked and read where they
//! lie.
//!
//! ```text
//! cargo run --release -p typed-messages --bin with_rkyv
//! ```
//!
//! A message begins at a multiple of eight bytes, which is what these archives need. Borrowing it is
//! `unsafe`, as no compiler can keep a peer from writing there: here both ends are this process. With
//! peers that are not trusted, copy the message out first (`to_vec` into an aligned buffer).

use std::error::Error;
use std::io;

use ringpipe::messages::spsc;
use rkyv::rancor;
use rkyv::ser::writer::IoWriter;
use rkyv::{Archive, Serialize};

#[derive(Archive, Serialize)]
struct Frame {
    number: u64,
    label: String,
    samples: Vec<f32>,
}

fn send(tx: &mut spsc::Sender, frame: &Frame) -> io::Result<()> {
    tx.send_with(16 << 10, |message| {
        let written =
            rkyv::api::high::to_bytes_in::<_, rancor::Error>(frame, IoWriter::new(message));
        written.map(drop).map_err(io::Error::other)
    })
}

fn recv(rx: &mut spsc::Receiver) -> Result<(u64, f32), Box<dyn Error>> {
    let claimed = rx.claim(1)?;
    let message = claimed.first().ok_or("damaged")?;
    // SAFETY: the ring is anonymous, and this process, which does not fork, alone has it.
    let bytes = unsafe { message.as_slice() };
    let frame = rkyv::access::<ArchivedFrame, rancor::Error>(bytes)?;
    let sum = frame.samples.iter().map(|sample| sample.to_native()).sum();
    let number = frame.number.to_native();
    assert_eq!(frame.label.as_str(), format!("frame {number}"));
    claimed.release_all();
    Ok((number, sum))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut tx, mut rx) = spsc::channel(1 << 20)?;
    let sender = std::thread::spawn(move || {
        (0..10_000).try_for_each(|number| {
            let samples = vec![0.5; number as usize % 1000];
            send(&mut tx, &Frame { number, label: format!("frame {number}"), samples })
        })
    });
    for number in 0..10_000 {
        assert_eq!(recv(&mut rx)?, (number, 0.5 * (number % 1000) as f32));
    }
    sender.join().expect("the sender does not panic")?;
    println!("10000 frames were read where they lay");
    Ok(())
}
