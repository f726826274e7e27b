//! Values over a ring of any kind: as its items, as records in its stream of bytes, as its
//! messages.
//!
//! What kills, or fails, the users of a ring asks the same of each kind: every value arrives,
//! whole, once, in order. So a value can be written as bytes ([`Value`]), and each kind has ends
//! that send and receive values ([`Carrier`]). What a kind alone can do, a harness does with the
//! ends themselves.

mod bytes;
mod items;
mod messages;

use std::fmt::Debug;

use ringpipe::{AttachError, BulkError, Deadline, Item, Kind, Options, Ring};

use crate::kinds::{End, end};

pub use self::bytes::{PADDING, RecordReader, RecordWriter, records};
pub use self::messages::message_of;

/// What travels.
pub trait Value: Item + Copy + PartialEq + Debug {
    /// Bytes of each in a stream.
    const RECORD: usize;

    /// Bytes of the message that it is, if it is one. With the 8 bytes that a message takes
    /// besides, as many in a row as a ring is made for fill it: their lengths come again and again.
    fn message_len(&self) -> usize;

    /// Bytes that tell which it is and whether they are whole, in a record or a message so long.
    fn to_bytes(&self, len: usize) -> Vec<u8>;

    /// The value of which these are all bytes, or the last ones; one that nobody sends, if they are
    /// torn. `None`: half of a record, and padding.
    fn of_bytes(bytes: &[u8]) -> Option<Self>;
}

/// What a number is as bytes: the same again and again.
impl Value for u64 {
    const RECORD: usize = 1024;

    fn message_len(&self) -> usize {
        Self::RECORD - 8
    }

    fn to_bytes(&self, len: usize) -> Vec<u8> {
        self.to_ne_bytes().into_iter().cycle().take(len).collect()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let last = bytes.last_chunk().copied().map_or(u64::MAX, u64::from_ne_bytes);
        let whole = last.to_bytes(bytes.len()) == bytes;
        Some(if whole { last } else { u64::MAX })
    }
}

/// Why no value was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Full, or empty.
    NotNow,
    /// The deadline has passed.
    Timeout,
    /// The opposite ends are gone.
    Closed,
    /// It was cancelled.
    Cancelled,
    /// Whether the peers live cannot be asked.
    DescriptorLost,
    /// Anything else.
    Other(&'static str),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(self, f)
    }
}

/// What a receiver was shown of what it has claimed.
#[derive(Debug)]
pub struct Shown<V> {
    /// Those that it has claimed.
    pub values: Vec<V>,
    /// How many of them had been handed out before.
    pub redelivered: usize,
    /// How often the first was, to receivers that are gone.
    pub redeliveries: u32,
}

end!([] RecordWriter, end => end.writer);
end!([V: Value] RecordReader<V>, end => end.reader);

/// A sending end.
pub trait Sends<V>: End {
    /// Sends, and never waits.
    fn try_send(&mut self, value: V) -> Result<(), Why>;
    /// Sends, waiting until then.
    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why>;
    /// Claims room for these, writes them, and publishes the first `commit`; between the two it
    /// calls `written`. Of messages it is one, in room for all these: no more than one is
    /// published.
    fn send_in_place(
        &mut self,
        values: &[V],
        commit: usize,
        written: impl FnOnce(),
    ) -> Result<(), Why>;
    /// Claims room for these, writes all but the last, and forgets the guard.
    fn hold(&mut self, values: &[V]) -> Result<(), Why>;
    /// Writes what is missing of a record that a dead writer has begun, and says how long that is.
    fn complete(&mut self) -> u64 {
        0
    }
}

/// A receiving end.
pub trait Receives<V>: End {
    /// Receives, and never waits.
    fn try_recv(&mut self) -> Result<V, Why>;
    /// Receives, waiting until then.
    fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<V, Why>;
    /// Claims up to `most` of those that are there, and releases as many as `look` says.
    fn recv_in_place(
        &mut self,
        most: usize,
        look: impl FnOnce(&Shown<V>) -> usize,
    ) -> Result<(), Why>;
    /// Discards what was sent before, and says how many values that was.
    fn clear(&mut self) -> Result<u64, Why>;
    /// What was received last had been handed out before.
    fn is_again(&self) -> bool;
    /// How often, to receivers that are gone.
    fn redeliveries(&self) -> u32;
}

/// A kind of ring, as one that carries values.
pub trait Carrier<V: Value>: Kind {
    /// What its type says that it carries.
    type Element: Item;
    /// Its sending ends.
    type Sender: Sends<V>;
    /// Its receiving ends.
    type Receiver: Receives<V>;
    /// A ring of this kind counts how often a value was handed out.
    const COUNTS: bool = true;
    /// A receiver tells, of a single value, that it has given that back itself.
    const MARKS_ITS_OWN: bool = true;
    /// A slot counts as so much of a ring's capacity.
    const SLOT: u64 = 1;

    /// For a ring with room for so many values.
    fn options(values: usize) -> Options<Self::Element, Self>;
    /// Attaches a sending end.
    fn sender(ring: &Ring<Self::Element, Self>) -> Result<Self::Sender, AttachError>;
    /// Attaches a receiving end.
    fn receiver(ring: &Ring<Self::Element, Self>) -> Result<Self::Receiver, AttachError>;
    /// How many slots a value takes, which the ring counts.
    fn slots(value: &V) -> u64;
    /// How many of what it counts as delivered again a value is.
    fn units() -> u64 {
        1
    }
}

fn bulk(why: BulkError) -> Why {
    match why {
        BulkError::Full | BulkError::Empty => Why::NotNow,
        BulkError::Timeout => Why::Timeout,
        BulkError::Closed => Why::Closed,
        BulkError::Corrupt => Why::Other("corrupt"),
        BulkError::Cancelled => Why::Cancelled,
        BulkError::DescriptorLost => Why::DescriptorLost,
        BulkError::Held { .. } => Why::Other("held"),
        _ => Why::Other("cannot move any"),
    }
}

fn whole<V: Value>(bytes: &[u8]) -> V {
    // Padding is no message, nor what is shown in place.
    V::of_bytes(bytes).unwrap_or_else(|| V::of_bytes(&[]).expect("nothing is torn"))
}
