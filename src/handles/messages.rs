//! The ends of a ring of messages.
//!
//! Both kinds are one here. A message is adjacent slots: a word that says how long it is, and its
//! bytes ([`ring::frames`](crate::ring::frames)). A sender claims as many slots as the message can
//! take, fills them, and publishes those that it has used; a receiver claims messages, and reads the
//! length of each once, into private memory, where it is compared with how many slots the claim says
//! that it has. So whatever a peer writes there, no copy leaves the message.

use bytemuck::{Pod, Zeroable};

use super::raw_end::RawEnd;
use super::ring::Ring;
use crate::error::{AttachError, MessageError};
use crate::pipe::{End, RecvEnd, SendEnd};
use crate::ring::frames::{HEADER, slots_of};
use crate::ring::mem::Mem;
use crate::ring::{Kind, MpmcMessages, Refused, SpscMessages};
use crate::wait::Stop;
use crate::wait::pace::Deadline;

mod read;
mod recv;
mod send;
mod write;

pub use read::{ReadMessages, Received};
pub use recv::Receiver;
pub use send::Sender;
pub use write::{MessageWriter, Reserved};

/// What a ring of messages carries, where others have a type: [`messages`](crate::messages).
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Message(u8);

// SAFETY: a byte, of which zero is one.
unsafe impl Zeroable for Message {}
// SAFETY: a byte.
unsafe impl Pod for Message {}

/// The kinds of rings that carry messages. Sealed, as [`Kind`] is.
pub trait Messages: Kind {}
impl Messages for SpscMessages {}
impl Messages for MpmcMessages {}

/// The longest message of a ring, in bytes: half of the ring, so that it goes through whatever else
/// there is; and no more than one claim may cover.
fn max_len<K: Kind>(end: &impl End<Kind = K>, mem: &Mem<K>) -> usize {
    let slots = (mem.slots.capacity() / 2).max(1).min(end.longest_run());
    slots as usize * mem.slots.shape().stride - HEADER
}

/// How many slots to claim for a message of so many bytes.
fn claim_of<K: Kind>(
    len: usize,
    end: &impl End<Kind = K>,
    mem: &Mem<K>,
) -> Result<u64, MessageError> {
    let most = max_len(end, mem);
    match slots_of(len as u64, mem.slots.shape().stride) {
        Some(slots) if len <= most => Ok(slots),
        _ => Err(MessageError::TooLarge { len, most }),
    }
}

/// The error of a call; `not_ready` where nothing was waited for.
pub(super) fn gave_up(why: Refused, not_ready: MessageError) -> MessageError {
    match why {
        Refused::NotReady | Refused::Contended => not_ready,
        Refused::Closed => MessageError::Closed,
        // One message needs no neighbours: the others cannot be.
        Refused::Corrupt | Refused::Held | Refused::Fragmented(_) => MessageError::Corrupt,
        Refused::Forked => MessageError::Forked,
        Refused::Stopped(Stop::Timeout) => MessageError::Timeout,
        Refused::Stopped(Stop::Cancelled) => MessageError::Cancelled,
        Refused::Stopped(Stop::DescriptorLost) => MessageError::DescriptorLost,
    }
}

impl<K: Messages> Ring<Message, K> {
    /// Attaches a sending end.
    ///
    /// # Errors
    ///
    /// [`AttachError::RoleTaken`] while an SPSC ring has a sender, [`AttachError::TableFull`] while
    /// all endpoint records of an MPMC ring are taken; others of [`AttachError`].
    pub fn sender(&self) -> Result<Sender<K>, AttachError> {
        Ok(Sender::new(RawEnd::<SendEnd<K>>::sender(self.raw_ring(), None)?))
    }

    /// Like [`sender`](Self::sender), but waits, asking every few milliseconds, while there is no
    /// place for one.
    ///
    /// # Errors
    ///
    /// As [`sender`](Self::sender); `RoleTaken` or `TableFull` if there still is none at `deadline`.
    pub fn sender_deadline(&self, deadline: impl Into<Deadline>) -> Result<Sender<K>, AttachError> {
        super::ring::in_time(deadline.into(), || self.sender())
    }

    /// Attaches a receiving end.
    ///
    /// # Errors
    ///
    /// As [`sender`](Self::sender), of receivers.
    pub fn receiver(&self) -> Result<Receiver<K>, AttachError> {
        Ok(Receiver::new(RawEnd::<RecvEnd<K>>::receiver(self.raw_ring(), None)?))
    }

    /// Like [`receiver`](Self::receiver), but waits, asking every few milliseconds, while there is no
    /// place for one.
    ///
    /// # Errors
    ///
    /// As [`receiver`](Self::receiver); `RoleTaken` or `TableFull` if there still is none at
    /// `deadline`.
    pub fn receiver_deadline(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<Receiver<K>, AttachError> {
        super::ring::in_time(deadline.into(), || self.receiver())
    }
}

/// What ends have in common with those of rings of values.
macro_rules! end_methods {
    ($end:ident, $opposite:literal, $like:literal) => {
        impl<K: Messages> $end<K> {
            #[doc = concat!("Waits until a ", $opposite, " is attached.")]
            ///
            /// # Errors
            ///
            /// [`PeerError::Timeout`], [`PeerError::Cancelled`], and others of [`PeerError`].
            pub fn wait_for_peer(&mut self, deadline: impl Into<Deadline>) -> Result<(), PeerError> {
                self.raw.wait_for_peer(deadline.into())
            }

            #[doc = concat!("Whether there was a ", $opposite, " and none is alive: see ")]
            #[doc = concat!("[`is_closed`](crate::", $like, "::is_closed).")]
            pub fn is_closed(&mut self) -> bool {
                self.raw.is_closed()
            }

            #[doc = concat!("How the ", $opposite, "s went, once a call has said `Closed`: see ")]
            #[doc = concat!("[`ending`](crate::", $like, "::ending).")]
            pub fn ending(&self) -> Option<Ending> {
                self.raw.ending()
            }

            #[doc = concat!("From now on, says `Closed` also if no ", $opposite, " has come yet.")]
            pub fn require_peer(&mut self) {
                self.raw.end.ends.require();
            }

            /// How blocking calls of this handle wait. Default: [`WaitPolicy::Adaptive`].
            pub fn set_wait_policy(&mut self, policy: WaitPolicy) {
                self.raw.waiting.policy = policy;
            }

            /// The longest this handle sleeps, or spins, before it looks at the ring and at its
            /// peers' lives again: see
            #[doc = concat!("[`set_liveness_interval`](crate::", $like, "::set_liveness_interval).")]
            pub fn set_liveness_interval(&mut self, interval: Duration) {
                self.raw.waiting.timer.set_interval(interval);
            }

            /// A handle with which others can cancel this one's blocking calls.
            pub fn canceller(&self) -> Canceller {
                self.raw.canceller()
            }

            /// The ring behind this end.
            pub fn ring(&self) -> Ring<Message, K> {
                Ring::of(&self.raw.ring)
            }

            /// The longest message that the ring takes, in bytes: half of the ring, less eight, or
            /// less if the ring is very large. (Of a ring that is a single granule, all of it.)
            pub fn max_len(&self) -> usize {
                max_len(&self.raw.end, &self.raw.end.mem)
            }

            /// Bytes of the ring.
            pub fn capacity(&self) -> usize {
                self.raw.ring.capacity()
            }

            /// Bytes that messages take at this moment.
            pub fn len(&self) -> usize {
                self.raw.ring.len()
            }

            /// No messages in the ring at this moment.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Who is attached to the ring, this handle included.
            pub fn peers(&self) -> Peers {
                Peers::of(&self.raw.ring.words)
            }

            /// Closes this end, as dropping it does.
            pub fn close(self) {}
        }

        impl $end<MpmcMessages> {
            /// Attaches another such end to the same ring, with waiting policy and interval as this
            /// one's and a canceller of its own.
            ///
            /// # Errors
            ///
            /// [`AttachError::TableFull`] while all endpoint records are taken; others of
            /// [`AttachError`].
            pub fn try_clone(&self) -> Result<Self, AttachError> {
                Ok(Self::new(self.raw.try_clone()?))
            }
        }

        impl Sealed for $end<MpmcMessages> {}

        impl Cloneable for $end<MpmcMessages> {
            fn another(&self) -> Result<Self, AttachError> {
                self.try_clone()
            }

            fn terms(&self) -> Terms {
                self.raw.terms()
            }

            fn renewed(&mut self, terms: &Terms) -> bool {
                self.raw.renew(terms)
            }

            fn keeps_some(&self) -> bool {
                self.raw.end.has_claim()
            }
        }

        impl<K: Messages> fmt::Debug for $end<K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end))
                    .field("ring", &self.ring())
                    .field("waiting", &self.raw.waiting)
                    .finish_non_exhaustive()
            }
        }
    };
}
use end_methods;
