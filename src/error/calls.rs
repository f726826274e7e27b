//! Errors of sending, receiving and waiting for a peer.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

const FULL: &str = "the ring is full; wait, or drop the value";
const EMPTY: &str = "the ring is empty; there may be more later";
const BROKEN_PIPE: &str = "every receiver is gone; another may attach";
const END_OF_FILE: &str = "the ring is drained and every sender is gone; another may attach";
const TIMEOUT: &str = "the deadline passed";
const CANCELLED: &str = "the call was cancelled";
const CORRUPT: &str = "a process has written over the ring's shared words; unlink it and create \
    it anew";
const INVALID: &str = "the bits of what was sent make no value of its type; it was dropped";
const FORKED: &str = "the handle belongs to the process that forked this one; attach anew in the \
    child";
const DESCRIPTOR_LOST: &str = "the ring's descriptor was closed or reused, or may not be asked \
    (fcntl, fstat): a peer's death would go unnoticed; open the ring anew";

/// An error of a sending call, which gives the value back: with `into_inner`, and `Debug` and
/// `Error` for every `T`.
macro_rules! sending_error {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$vdoc])* $variant(T),)+
        }

        impl<T> $name<T> {
            /// The value that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$variant(value))|+ => value,
                }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant(_) => concat!(stringify!($variant), "(..)"),)+
                })
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant(_) => $text,)+
                })
            }
        }

        impl<T> Error for $name<T> {}
    };
}

/// An error without a payload.
macro_rules! plain_error {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }

        impl Error for $name {}
    };
}

sending_error! {
    /// `try_send` did not send.
    TrySendError {
        /// No free slot now. Wait, or drop the value.
        Full => FULL,
        /// Every receiver has gone: a broken pipe. Another may attach later.
        Closed => BROKEN_PIPE,
        /// A process has written over the ring's shared words. Unlink it and start anew.
        Corrupt => CORRUPT,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

sending_error! {
    /// `send` did not send.
    SendError {
        /// Every receiver has gone: a broken pipe. Another may attach later.
        Closed => BROKEN_PIPE,
        /// A [`Canceller`](crate::Canceller) of this handle was used.
        Cancelled => CANCELLED,
        /// A process has written over the ring's shared words. Unlink it and start anew.
        Corrupt => CORRUPT,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

sending_error! {
    /// `send_timeout` or `send_deadline` did not send.
    SendTimeoutError {
        /// The ring was full until the deadline.
        Timeout => TIMEOUT,
        /// Every receiver has gone: a broken pipe. Another may attach later.
        Closed => BROKEN_PIPE,
        /// A [`Canceller`](crate::Canceller) of this handle was used.
        Cancelled => CANCELLED,
        /// A process has written over the ring's shared words. Unlink it and start anew.
        Corrupt => CORRUPT,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

plain_error! {
    /// `try_recv` received nothing.
    TryRecvError {
        /// Nothing there now, but there may be later.
        Empty => EMPTY,
        /// Everything is drained and every sender has gone: end-of-file. Another may attach later.
        Closed => END_OF_FILE,
        /// A process has written over the ring's shared words. Unlink it and start anew.
        Corrupt => CORRUPT,
        /// The bits of the item that came next make no value of its type ([`Item`](crate::Item)).
        /// That item is dropped; the next call goes on behind it.
        Invalid => INVALID,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

plain_error! {
    /// `recv` received nothing.
    RecvError {
        /// Everything is drained and every sender has gone: end-of-file. Another may attach later.
        Closed => END_OF_FILE,
        /// A [`Canceller`](crate::Canceller) of this handle was used.
        Cancelled => CANCELLED,
        /// A process has written over the ring's shared words. Unlink it and start anew.
        Corrupt => CORRUPT,
        /// The bits of the item that came next make no value of its type ([`Item`](crate::Item)).
        /// That item is dropped; the next call goes on behind it.
        Invalid => INVALID,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

plain_error! {
    /// `recv_timeout` or `recv_deadline` received nothing.
    RecvTimeoutError {
        /// The ring was empty until the deadline.
        Timeout => TIMEOUT,
        /// Everything is drained and every sender has gone: end-of-file. Another may attach later.
        Closed => END_OF_FILE,
        /// A [`Canceller`](crate::Canceller) of this handle was used.
        Cancelled => CANCELLED,
        /// A process has written over the ring's shared words. Unlink it and start anew.
        Corrupt => CORRUPT,
        /// The bits of the item that came next make no value of its type ([`Item`](crate::Item)).
        /// That item is dropped; the next call goes on behind it.
        Invalid => INVALID,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

plain_error! {
    /// Waiting for a peer came to nothing.
    PeerError {
        /// None attached until the deadline.
        Timeout => TIMEOUT,
        /// A [`Canceller`](crate::Canceller) of this handle was used.
        Cancelled => CANCELLED,
        /// This handle was inherited through `fork`. Attach anew in the child.
        Forked => FORKED,
        /// Nothing came of the call for an interval, and whether the peers live cannot be asked:
        /// the ring's descriptor was closed behind the crate's back, or its number reused, or a
        /// sandbox forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the
        /// ring anew.
        DescriptorLost => DESCRIPTOR_LOST,
    }
}

/// A call on several items at once moved none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BulkError {
    /// Sending: not enough free slots now (`try_` forms only).
    Full,
    /// Receiving: not enough items now (`try_` forms only).
    Empty,
    /// The deadline passed before there were enough slots or items.
    Timeout,
    /// Sending: every receiver has gone. Receiving: every sender has gone and what is left, if
    /// anything, is less than what was asked for.
    Closed,
    /// A [`Canceller`](crate::Canceller) of this handle was used.
    Cancelled,
    /// A process has written over the ring's shared words. Unlink it and start anew.
    Corrupt,
    /// Receiving: the bits of all the items there make no values of their type
    /// ([`Item`](crate::Item)), or, where so many were asked for exactly, those of one. They are
    /// dropped, with the others that were asked for; the next call goes on behind them.
    Invalid,
    /// This handle was inherited through `fork`. Attach anew in the child.
    Forked,
    /// Nothing came of the call for an interval, and whether the peers live cannot be asked: the
    /// ring's descriptor was closed behind the crate's back, or its number reused, or a sandbox
    /// forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the ring anew.
    DescriptorLost,
    /// More items than the ring can ever hand over in one piece.
    TooLong {
        /// Items in the call.
        len: usize,
        /// The most that is possible with this ring.
        most: usize,
    },
    /// Holes split what is in the ring, and it is full: so many items could be received in one
    /// piece, but never as many as were asked for. Receive fewer.
    Fragmented {
        /// Items that are adjacent.
        adjacent: usize,
    },
    /// This receiver holds items that a dropped [`ReadRun`](crate::ReadRun) gave back, fewer than
    /// were asked for in one piece; or items that it adopted from a dead one, which come one at a
    /// time. Receive those first.
    Held {
        /// Items held.
        held: usize,
    },
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str(FULL),
            Self::Empty => f.write_str(EMPTY),
            Self::Timeout => f.write_str(TIMEOUT),
            Self::Closed => {
                f.write_str("the opposite ends of the ring are gone; others may attach")
            }
            Self::Cancelled => f.write_str(CANCELLED),
            Self::Corrupt => f.write_str(CORRUPT),
            Self::Invalid => f.write_str(INVALID),
            Self::Forked => f.write_str(FORKED),
            Self::DescriptorLost => f.write_str(DESCRIPTOR_LOST),
            Self::TooLong { len, most } => {
                write!(f, "{len} items in one piece are too many; this ring can hand over {most}")
            }
            Self::Fragmented { adjacent } => {
                write!(f, "the ring is full and holes split it; receive at most {adjacent} at once")
            }
            Self::Held { held } => {
                write!(f, "too few items in one piece; receive the {held} that are held, first")
            }
        }
    }
}

impl Error for BulkError {}

/// What `io` calls it, with the error as its source; but "not now" is said as shortly as by a
/// socket, since it is said often.
impl From<BulkError> for io::Error {
    fn from(why: BulkError) -> Self {
        let kind = match why {
            BulkError::Full | BulkError::Empty => return ErrorKind::WouldBlock.into(),
            BulkError::Timeout => ErrorKind::TimedOut,
            BulkError::Closed => ErrorKind::BrokenPipe,
            BulkError::Corrupt | BulkError::Invalid => ErrorKind::InvalidData,
            BulkError::Forked => ErrorKind::Unsupported,
            BulkError::TooLong { .. } => ErrorKind::InvalidInput,
            BulkError::DescriptorLost => ErrorKind::NotConnected,
            // Not `Interrupted`: whoever is told that tries again.
            BulkError::Cancelled | BulkError::Fragmented { .. } | BulkError::Held { .. } => {
                ErrorKind::Other
            }
        };
        io::Error::new(kind, why)
    }
}

/// A call on messages moved none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// Sending: no room for the message now, or it is the turn of a sender that has long waited for
    /// room for a longer one (`try_` forms only).
    Full,
    /// Receiving: nothing there now, but there may be later (`try_` forms only).
    Empty,
    /// The deadline passed before there was room, or a message.
    Timeout,
    /// Sending: every receiver has gone. Receiving: every sender has gone and everything is drained.
    Closed,
    /// A [`Canceller`](crate::Canceller) of this handle was used.
    Cancelled,
    /// A process has written over the ring's shared words. Unlink it and start anew.
    Corrupt,
    /// This handle was inherited through `fork`. Attach anew in the child.
    Forked,
    /// Nothing came of the call for an interval, and whether the peers live cannot be asked: the
    /// ring's descriptor was closed behind the crate's back, or its number reused, or a sandbox
    /// forbids `fcntl` or `fstat`. Calls that need not wait go on working. Open the ring anew.
    DescriptorLost,
    /// Sending: the message is longer than any that this ring takes. Nothing was touched.
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// The most that this ring takes.
        most: usize,
    },
    /// Receiving: the message is longer than the room for it. It was not received, and comes first on
    /// this receiver's next call.
    TooSmall {
        /// Bytes of the message.
        len: usize,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no room for the message; wait, or drop it"),
            Self::Empty => f.write_str(EMPTY),
            Self::Timeout => f.write_str(TIMEOUT),
            Self::Closed => {
                f.write_str("the opposite ends of the ring are gone; others may attach")
            }
            Self::Cancelled => f.write_str(CANCELLED),
            Self::Corrupt => f.write_str(CORRUPT),
            Self::Forked => f.write_str(FORKED),
            Self::DescriptorLost => f.write_str(DESCRIPTOR_LOST),
            Self::TooLarge { len, most } => write!(
                f,
                "a message of {len} bytes is too long for this ring, which takes {most}; split it, or \
                 create a larger ring"
            ),
            Self::TooSmall { len } => {
                write!(
                    f,
                    "the message that comes next has {len} bytes; receive it into a larger buffer"
                )
            }
        }
    }
}

impl Error for MessageError {}

/// As for [`BulkError`].
impl From<MessageError> for io::Error {
    fn from(why: MessageError) -> Self {
        let kind = match why {
            MessageError::Full | MessageError::Empty => return ErrorKind::WouldBlock.into(),
            MessageError::Timeout => ErrorKind::TimedOut,
            MessageError::Closed => ErrorKind::BrokenPipe,
            MessageError::Corrupt => ErrorKind::InvalidData,
            MessageError::Forked => ErrorKind::Unsupported,
            MessageError::TooLarge { .. } | MessageError::TooSmall { .. } => {
                ErrorKind::InvalidInput
            }
            MessageError::DescriptorLost => ErrorKind::NotConnected,
            MessageError::Cancelled => ErrorKind::Other, // not `Interrupted`, as above
        };
        io::Error::new(kind, why)
    }
}

/// `send_all` has not sent all: of [values](crate::SendHandle::send_all), with a [`BulkError`], or
/// of [messages](crate::messages::Sender::send_all), with a [`MessageError`].
///
/// ```
/// use ringpipe::{MessageError, messages};
/// use std::time::Duration;
///
/// let (mut tx, mut rx) = messages::spsc::channel(4096)?;
/// let all = [[0; 2000]; 3]; // two of them fit
/// let stopped = tx.send_all_deadline(&all, Duration::ZERO).unwrap_err();
/// assert_eq!((stopped.sent, stopped.why), (2, MessageError::Timeout));
/// rx.clear()?;
/// tx.send_all(&all[stopped.sent..])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendAllError<E> {
    /// So many values or messages, the first ones, have been sent.
    pub sent: usize,
    /// Why the others have not. It is the [`source`](Error::source), too.
    pub why: E,
}

impl<E> fmt::Display for SendAllError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the first {} have been sent, the others have not", self.sent)
    }
}

impl<E: Error + 'static> Error for SendAllError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.why)
    }
}
