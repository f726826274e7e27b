//! Messages of any length, each whole or not at all.
//!
//! [`spsc`] has one sender and one receiver, [`mpmc`] many of both, in any processes; the calls are the
//! same. A message is a slice of bytes, from none up to half of the ring
//! ([`Sender::max_len`]); what it means is up to its ends. It is copied once into the ring and once
//! out of it, or written and read where it lies.
//!
//! ```
//! use ringpipe::messages::mpmc::Ring;
//!
//! # let name = format!("doc-messages-{}", std::process::id());
//! # let senders = { let name = name.clone(); std::thread::spawn(move || {
//! // Some processes:
//! let mut tx = Ring::options().capacity(1 << 20).open_or_create(&name).unwrap().sender().unwrap();
//! tx.send(b"of any length").unwrap();
//! # })};
//!
//! // Another:
//! let ring = Ring::options().capacity(1 << 20).open_or_create(&name)?;
//! let mut rx = ring.receiver()?;
//! let mut message = Vec::new();
//! while rx.recv(&mut message).is_ok() {
//!     assert_eq!(message, b"of any length");
//! }
//! # senders.join().unwrap();
//! ring.unlink()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a message takes
//!
//! Eight bytes and its own, rounded up: to 8 bytes in an SPSC ring, to the ring's *granule* in an MPMC
//! ring (64 bytes unless [set](crate::Options::granule)). [`capacity`](crate::Options::capacity) is in
//! bytes, 256 KiB unless set, rounded up to a power of two and to a page; `len` counts what messages
//! take. The data is mapped twice in a row, so that each message is one slice.
//!
//! # In place
//!
//! [`Sender::send_with`] reserves the most that a message may take, has it written straight into the
//! ring through an [`io::Write`](std::io::Write), and sends what was written: serialisers need no
//! buffer of their own. [`Sender::reserve`] is the same as a guard. A receiver
//! [claims](Receiver::claim) messages, looks at them, and releases them when it is done: until then
//! they are not lost if it dies.
//!
//! # Long messages beside short ones
//!
//! A message goes out when as much as it takes is free in a row. On an MPMC ring others might take each
//! bit that becomes free for short messages. So a sender that waits while a whole ring of others'
//! messages passes it by has *precedence*: the others wait until it has had its room, for two liveness
//! intervals at the most. Calls that only try have none. And a long message is best sent to a ring that
//! is many times as long.
//!
//! **After a crash**: a message that was not sent is absent, whole; one that was claimed and not
//! released is received again, by another receiver or the successor, and
//! [marked](Receiver::redeliveries). All others arrive exactly once.

pub use crate::handles::messages::{
    Message, MessageWriter, Messages, ReadMessages, Received, Receiver, Reserved, Sender,
};
pub use crate::ring::{MpmcMessages, SpscMessages};

/// A ring of messages that this process has open.
pub type Ring<K> = crate::Ring<Message, K>;

/// One sender, one receiver.
pub mod spsc {
    use crate::error::ChannelError;
    use crate::ring::SpscMessages;

    /// A ring of messages with one sender and one receiver.
    pub type Ring = super::Ring<SpscMessages>;

    /// The sending end.
    pub type Sender = super::Sender<SpscMessages>;

    /// The receiving end.
    pub type Receiver = super::Receiver<SpscMessages>;

    /// Both ends of a new anonymous ring of at least `capacity` bytes; [`Ring::options`] has more to
    /// choose from.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringpipe::messages::spsc::channel(1 << 16)?;
    /// tx.send(b"hello")?;
    /// let mut message = Vec::new();
    /// rx.recv(&mut message)?;
    /// assert_eq!(message, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChannelError`]: no memory, too many open files.
    pub fn channel(capacity: usize) -> Result<(Sender, Receiver), ChannelError> {
        let ring = Ring::options().capacity(capacity).create_anonymous()?;
        Ok((ring.sender()?, ring.receiver()?))
    }
}

/// Many senders, many receivers.
pub mod mpmc {
    use crate::error::ChannelError;
    use crate::ring::MpmcMessages;

    /// A ring of messages with many senders and many receivers.
    pub type Ring = super::Ring<MpmcMessages>;

    /// A sending end.
    pub type Sender = super::Sender<MpmcMessages>;

    /// A receiving end.
    pub type Receiver = super::Receiver<MpmcMessages>;

    /// Both ends of a new anonymous ring of at least `capacity` bytes; [`Ring::options`] has more to
    /// choose from.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]: no memory, too many open files.
    pub fn channel(capacity: usize) -> Result<(Sender, Receiver), ChannelError> {
        let ring = Ring::options().capacity(capacity).create_anonymous()?;
        Ok((ring.sender()?, ring.receiver()?))
    }
}
