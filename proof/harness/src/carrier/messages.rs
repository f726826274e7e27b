//! Values as messages.

use std::io::Write;

use ringpipe::messages::{Message, Messages, Receiver, Sender};
use ringpipe::{
    AttachError, Deadline, Kind, MessageError, MpmcMessages, Options, Ring, SpscMessages,
};

use super::{Carrier, Receives, Sends, Shown, Value, Why, whole};

macro_rules! carries_messages {
    ($($kind:ty),*) => {$(
        impl<V: Value> Carrier<V> for $kind {
            type Element = Message;
            type Sender = Sender<Self>;
            type Receiver = Receiver<Self>;
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

impl<V: Value, K: Messages> Sends<V> for Sender<K> {
    fn try_send(&mut self, value: V) -> Result<(), Why> {
        Sender::try_send(self, &message_of(&value)).map_err(message)
    }

    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why> {
        let sent = Sender::send_deadline(self, &message_of(&value), deadline);
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
        reserved.writer().write_all(&first).map_err(|_| Why::Other("no room"))?;
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
        let written = reserved.writer().write_all(&half[..half.len() / 2]);
        written.map_err(|_| Why::Other("no room"))?;
        std::mem::forget(reserved);
        Ok(())
    }
}

/// Longer than any message here.
const ROOM: usize = 4096;

impl<V: Value, K: Messages> Receives<V> for Receiver<K> {
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
        Receiver::clear(self).map_err(message)
    }
    fn is_again(&self) -> bool {
        Receiver::redeliveries(self) > 0
    }
    fn redeliveries(&self) -> u32 {
        Receiver::redeliveries(self)
    }
}
