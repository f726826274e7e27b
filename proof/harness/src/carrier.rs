//! Values over a ring of any kind: as its items, as records in its stream of bytes, as its
//! messages.
//!
//! What kills, or fails, the users of a ring asks the same of each kind: every value arrives,
//! whole, once, in order. So a value can be written as bytes ([`Value`]), and each kind has ends
//! that send and receive values ([`Carrier`]). What a kind alone can do, a harness does with the
//! ends themselves.
//!
//! **A stream has no items.** A record may be cut: its writer died between two of its writes, or
//! its reader between two reads. Where a record begins is known all the same, as all are of one
//! length and a ring counts its bytes. A reader that begins in the middle of one reads its rest,
//! and a writer that finds half of one [completes](Sends::complete) it with [padding](PADDING),
//! which the reader passes over.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use ringpipe::bytes::{Reader, Writer};
use ringpipe::messages::{self, Message, Messages};
use ringpipe::{
    AttachError, BulkError, Bytes, Canceller, Deadline, Item, Kind, MessageError, Mpmc,
    MpmcMessages, Options, PeerError, RecvHandle, RecvTimeoutError, Ring, SendHandle,
    SendTimeoutError, Spsc, SpscMessages, TryRecvError, TrySendError, WaitPolicy,
};

use crate::Flavour;

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

/// What completes a record whose writer is gone.
pub const PADDING: u8 = 0xA5;

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

/// An end, of whatever kind and role.
pub trait End: Sized + Send + 'static {
    /// Waits for an opposite end.
    fn wait_for_peer(&mut self, deadline: impl Into<Deadline>) -> Result<(), PeerError>;
    /// Whether there were such, and none is left.
    fn is_closed(&mut self) -> bool;
    /// What ends its waits.
    fn canceller(&self) -> Canceller;
    /// How soon it asks whether its peers live.
    fn set_liveness_interval(&mut self, interval: Duration);
    /// How it waits.
    fn set_wait_policy(&mut self, policy: WaitPolicy);
}

macro_rules! end {
    ([$($of:tt)*] $end:ty, $itself:ident => $handle:expr) => {
        impl<$($of)*> End for $end {
            fn wait_for_peer(&mut self, deadline: impl Into<Deadline>) -> Result<(), PeerError> {
                let $itself = self;
                $handle.wait_for_peer(deadline)
            }
            fn is_closed(&mut self) -> bool {
                let $itself = self;
                $handle.is_closed()
            }
            fn canceller(&self) -> Canceller {
                let $itself = self;
                $handle.canceller()
            }
            fn set_liveness_interval(&mut self, interval: Duration) {
                let $itself = self;
                $handle.set_liveness_interval(interval);
            }
            fn set_wait_policy(&mut self, policy: WaitPolicy) {
                let $itself = self;
                $handle.set_wait_policy(policy);
            }
        }
    };
}
end!([V: Value, K: Kind] SendHandle<V, K>, end => end);
end!([V: Value, K: Kind] RecvHandle<V, K>, end => end);
end!([] RecordWriter, end => end.writer);
end!([V: Value] RecordReader<V>, end => end.reader);
end!([K: Messages] messages::Sender<K>, end => end);
end!([K: Messages] messages::Receiver<K>, end => end);

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
    /// From now on, no sender is an end-of-file, too.
    fn require_peer(&mut self);
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

macro_rules! carries_items {
    ($($kind:ty),*) => {$(
        impl<V: Value> Carrier<V> for $kind {
            type Element = V;
            type Sender = SendHandle<V, Self>;
            type Receiver = RecvHandle<V, Self>;

            fn options(values: usize) -> Options<V, Self> {
                Ring::options().capacity(values)
            }
            fn sender(ring: &Ring<V, Self>) -> Result<Self::Sender, AttachError> {
                <Self as Flavour>::sender(ring)
            }
            fn receiver(ring: &Ring<V, Self>) -> Result<Self::Receiver, AttachError> {
                <Self as Flavour>::receiver(ring)
            }
            fn slots(_: &V) -> u64 {
                1
            }
        }
    )*};
}
carries_items!(Spsc, Mpmc);

impl<V: Value> Carrier<V> for Bytes {
    type Element = u8;
    type Sender = RecordWriter;
    type Receiver = RecordReader<V>;
    const COUNTS: bool = false;

    fn options(values: usize) -> Options<u8, Self> {
        Ring::options().capacity(values * V::RECORD)
    }
    fn sender(ring: &Ring<u8, Self>) -> Result<RecordWriter, AttachError> {
        Ok(RecordWriter { writer: ring.writer()?, record: V::RECORD })
    }
    fn receiver(ring: &Ring<u8, Self>) -> Result<RecordReader<V>, AttachError> {
        let reader = ring.reader()?;
        let into = ring.stats().received as usize % V::RECORD;
        Ok(RecordReader { reader, into, part: Vec::new(), partly: false, again: false, last: None })
    }
    fn slots(_: &V) -> u64 {
        V::RECORD as u64
    }
    fn units() -> u64 {
        V::RECORD as u64
    }
}

macro_rules! carries_messages {
    ($($kind:ty),*) => {$(
        impl<V: Value> Carrier<V> for $kind {
            type Element = Message;
            type Sender = messages::Sender<Self>;
            type Receiver = messages::Receiver<Self>;
            // How often receivers that are gone had it is all that is told of a message.
            const MARKS_ITS_OWN: bool = false;
            const SLOT: u64 = if <Self as Kind>::MANY { 64 } else { 8 };

            fn options(values: usize) -> Options<Message, Self> {
                Ring::options().capacity(values * V::RECORD)
            }
            fn sender(ring: &Ring<Message, Self>) -> Result<Self::Sender, AttachError> {
                ring.sender()
            }
            fn receiver(ring: &Ring<Message, Self>) -> Result<Self::Receiver, AttachError> {
                ring.receiver()
            }
            fn slots(value: &V) -> u64 {
                (8 + value.message_len() as u64).div_ceil(<Self as Carrier<V>>::SLOT)
            }
        }
    )*};
}
carries_messages!(SpscMessages, MpmcMessages);

/// Of items.
impl<V: Value, K: Kind> Sends<V> for SendHandle<V, K> {
    #[inline]
    fn try_send(&mut self, value: V) -> Result<(), Why> {
        SendHandle::try_send(self, value).map_err(|why| match why {
            TrySendError::Full(_) => Why::NotNow,
            TrySendError::Closed(_) => Why::Closed,
            TrySendError::Corrupt(_) => Why::Other("corrupt"),
            TrySendError::DescriptorLost(_) => Why::DescriptorLost,
            _ => Why::Other("cannot send"),
        })
    }

    #[inline]
    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why> {
        SendHandle::send_deadline(self, value, deadline).map_err(|why| match why {
            SendTimeoutError::Timeout(_) => Why::Timeout,
            SendTimeoutError::Closed(_) => Why::Closed,
            SendTimeoutError::Corrupt(_) => Why::Other("corrupt"),
            SendTimeoutError::Cancelled(_) => Why::Cancelled,
            SendTimeoutError::DescriptorLost(_) => Why::DescriptorLost,
            _ => Why::Other("cannot send"),
        })
    }

    fn send_in_place(
        &mut self,
        values: &[V],
        commit: usize,
        written: impl FnOnce(),
    ) -> Result<(), Why> {
        let mut run = self.try_claim(values.len()).map_err(bulk)?;
        for (index, &value) in values.iter().enumerate() {
            run.write(index, value);
        }
        written();
        run.commit(commit);
        Ok(())
    }

    fn hold(&mut self, values: &[V]) -> Result<(), Why> {
        let mut run = self.try_claim(values.len()).map_err(bulk)?;
        for (index, &value) in values.iter().enumerate().take(values.len() - 1) {
            run.write(index, value);
        }
        std::mem::forget(run);
        Ok(())
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

/// Of items.
impl<V: Value, K: Kind> Receives<V> for RecvHandle<V, K> {
    #[inline]
    fn try_recv(&mut self) -> Result<V, Why> {
        RecvHandle::try_recv(self).map_err(|why| match why {
            TryRecvError::Empty => Why::NotNow,
            TryRecvError::Closed => Why::Closed,
            TryRecvError::Corrupt => Why::Other("corrupt"),
            TryRecvError::DescriptorLost => Why::DescriptorLost,
            _ => Why::Other("cannot receive"),
        })
    }

    #[inline]
    fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<V, Why> {
        RecvHandle::recv_deadline(self, deadline).map_err(|why| match why {
            RecvTimeoutError::Timeout => Why::Timeout,
            RecvTimeoutError::Closed => Why::Closed,
            RecvTimeoutError::Corrupt => Why::Other("corrupt"),
            RecvTimeoutError::Cancelled => Why::Cancelled,
            RecvTimeoutError::DescriptorLost => Why::DescriptorLost,
            _ => Why::Other("cannot receive"),
        })
    }

    fn recv_in_place(
        &mut self,
        most: usize,
        look: impl FnOnce(&Shown<V>) -> usize,
    ) -> Result<(), Why> {
        let run = self.try_claim(most).map_err(bulk)?;
        let shown = Shown {
            values: run.iter().collect(),
            redelivered: run.redelivered(),
            redeliveries: run.redeliveries(),
        };
        let release = look(&shown);
        run.release(release);
        Ok(())
    }

    fn clear(&mut self) -> Result<u64, Why> {
        RecvHandle::clear(self).map_err(bulk)
    }
    fn is_again(&self) -> bool {
        self.redelivered() > 0
    }
    fn redeliveries(&self) -> u32 {
        RecvHandle::redeliveries(self)
    }
    fn require_peer(&mut self) {
        RecvHandle::require_peer(self);
    }
}

/// The writing end of a byte pipe, as one that sends records.
#[derive(Debug)]
pub struct RecordWriter {
    /// Itself.
    pub writer: Writer,
    record: usize,
}

/// All of these, one record after another.
pub fn records<V: Value>(values: &[V]) -> Vec<u8> {
    values.iter().map(|value| value.to_bytes(V::RECORD)).collect::<Vec<_>>().concat()
}

impl<V: Value> Sends<V> for RecordWriter {
    fn try_send(&mut self, value: V) -> Result<(), Why> {
        self.writer.try_send_exact(&value.to_bytes(V::RECORD)).map_err(bulk)
    }

    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why> {
        self.writer.send_exact_deadline(&value.to_bytes(V::RECORD), deadline).map_err(bulk)
    }

    fn send_in_place(
        &mut self,
        values: &[V],
        commit: usize,
        written: impl FnOnce(),
    ) -> Result<(), Why> {
        let bytes = records(values);
        let mut run = self.writer.try_claim(bytes.len()).map_err(bulk)?;
        run.write_slice(0, &bytes);
        written();
        run.commit(commit * V::RECORD);
        Ok(())
    }

    fn hold(&mut self, values: &[V]) -> Result<(), Why> {
        let bytes = records(values);
        let mut run = self.writer.try_claim(bytes.len()).map_err(bulk)?;
        run.write_slice(0, &bytes[..bytes.len() - V::RECORD]);
        std::mem::forget(run);
        Ok(())
    }

    fn complete(&mut self) -> u64 {
        match self.writer.ring().stats().sent as usize % self.record {
            0 => 0,
            begun => {
                let padding = vec![PADDING; self.record - begun];
                self.writer.try_send_exact(&padding).expect("room behind half a record");
                self.record as u64
            }
        }
    }
}

/// The reading end of a byte pipe, as one that receives records.
#[derive(Debug)]
pub struct RecordReader<V> {
    /// Itself.
    pub reader: Reader,
    /// So many bytes of the record that comes next have been read, by this end or one before it.
    into: usize,
    /// Those of them that this end has read.
    part: Vec<u8>,
    /// Some of them had been handed out before.
    partly: bool,
    /// Likewise of the last whole record.
    again: bool,
    last: Option<V>,
}

impl<V: Value> RecordReader<V> {
    /// Takes what `read` brings until that is a record.
    fn record(
        &mut self,
        mut read: impl FnMut(&mut Reader, &mut [u8]) -> Result<usize, BulkError>,
    ) -> Result<V, Why> {
        loop {
            let mut bytes = vec![0; V::RECORD - self.into];
            let read = read(&mut self.reader, &mut bytes).map_err(bulk)?;
            self.partly |= self.reader.redelivered() > 0;
            self.part.extend_from_slice(&bytes[..read]);
            self.into += read;
            if self.into == V::RECORD {
                self.into = 0;
                self.again = std::mem::take(&mut self.partly);
                self.last = V::of_bytes(&std::mem::take(&mut self.part));
                if let Some(value) = self.last {
                    return Ok(value);
                }
            }
        }
    }
}

impl<V: Value> Receives<V> for RecordReader<V> {
    fn try_recv(&mut self) -> Result<V, Why> {
        self.record(|reader, into| reader.try_recv_slice(into))
    }

    fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<V, Why> {
        let deadline = deadline.into();
        self.record(|reader, into| reader.recv_slice_deadline(into, deadline))
    }

    fn recv_in_place(
        &mut self,
        most: usize,
        look: impl FnOnce(&Shown<V>) -> usize,
    ) -> Result<(), Why> {
        let run = self.reader.try_claim(most * V::RECORD).map_err(bulk)?;
        let mut bytes = vec![0; run.len()];
        run.read_slice(0, &mut bytes);
        let shown = Shown {
            values: bytes.chunks(V::RECORD).map(whole).collect(),
            redelivered: run.redelivered() / V::RECORD,
            redeliveries: run.redeliveries(),
        };
        let release = look(&shown);
        run.release(release * V::RECORD);
        Ok(())
    }

    fn clear(&mut self) -> Result<u64, Why> {
        let cleared = self.reader.clear().map_err(bulk)?;
        self.into = (self.into + cleared as usize) % V::RECORD;
        Ok(cleared / V::RECORD as u64)
    }
    fn is_again(&self) -> bool {
        self.again
    }
    fn redeliveries(&self) -> u32 {
        self.reader.redeliveries()
    }
    fn require_peer(&mut self) {
        self.reader.require_peer();
    }
}

fn message(why: MessageError) -> Why {
    match why {
        MessageError::Full | MessageError::Empty => Why::NotNow,
        MessageError::Timeout => Why::Timeout,
        MessageError::Closed => Why::Closed,
        MessageError::Corrupt => Why::Other("corrupt"),
        MessageError::Cancelled => Why::Cancelled,
        MessageError::DescriptorLost => Why::DescriptorLost,
        MessageError::TooLarge { .. } => Why::Other("too large"),
        MessageError::TooSmall { .. } => Why::Other("too small"),
        _ => Why::Other("cannot move it"),
    }
}

/// The message that a value is.
pub fn message_of<V: Value>(value: &V) -> Vec<u8> {
    value.to_bytes(value.message_len())
}

impl<V: Value, K: Messages> Sends<V> for messages::Sender<K> {
    fn try_send(&mut self, value: V) -> Result<(), Why> {
        messages::Sender::try_send(self, &message_of(&value)).map_err(message)
    }

    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why> {
        let sent = messages::Sender::send_deadline(self, &message_of(&value), deadline);
        sent.map_err(message)
    }

    fn send_in_place(
        &mut self,
        values: &[V],
        commit: usize,
        written: impl FnOnce(),
    ) -> Result<(), Why> {
        let first = message_of(&values[0]);
        let most = values.iter().map(Value::message_len).sum();
        let mut reserved = self.try_reserve(most).map_err(message)?;
        io::Write::write_all(&mut reserved.writer(), &first).map_err(|_| Why::Other("no room"))?;
        written();
        match commit {
            0 => reserved.abandon(),
            _ => reserved.commit(),
        }
        Ok(())
    }

    fn hold(&mut self, values: &[V]) -> Result<(), Why> {
        let most = values.iter().map(Value::message_len).sum();
        let mut reserved = self.try_reserve(most).map_err(message)?;
        let half = message_of(&values[0]);
        let written = io::Write::write_all(&mut reserved.writer(), &half[..half.len() / 2]);
        written.map_err(|_| Why::Other("no room"))?;
        std::mem::forget(reserved);
        Ok(())
    }
}

/// Longer than any message here.
const ROOM: usize = 4096;

impl<V: Value, K: Messages> Receives<V> for messages::Receiver<K> {
    fn try_recv(&mut self) -> Result<V, Why> {
        let mut into = [0; ROOM];
        let len = self.try_recv_into(&mut into).map_err(message)?;
        Ok(whole(&into[..len]))
    }

    fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<V, Why> {
        let mut into = [0; ROOM];
        let len = self.recv_into_deadline(&mut into, deadline).map_err(message)?;
        Ok(whole(&into[..len]))
    }

    fn recv_in_place(
        &mut self,
        most: usize,
        look: impl FnOnce(&Shown<V>) -> usize,
    ) -> Result<(), Why> {
        let run = self.try_claim(most).map_err(message)?;
        let shown = Shown {
            values: run.iter().map(|message| whole(&message.to_vec())).collect(),
            redelivered: run.redelivered(),
            redeliveries: run.redeliveries(),
        };
        let release = look(&shown);
        run.release(release);
        Ok(())
    }

    fn clear(&mut self) -> Result<u64, Why> {
        messages::Receiver::clear(self).map_err(message)
    }
    fn is_again(&self) -> bool {
        messages::Receiver::redeliveries(self) > 0
    }
    fn redeliveries(&self) -> u32 {
        messages::Receiver::redeliveries(self)
    }
    fn require_peer(&mut self) {
        messages::Receiver::require_peer(self);
    }
}
