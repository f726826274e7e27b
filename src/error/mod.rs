//! Every error of the crate, by operation, each with what the caller can do about it: here of rings
//! (names, creating, opening, attaching, unlinking), in `calls` of what their ends are asked to do.
//!
//! **What an error says.** Its text ([`Display`](std::fmt::Display)) is one sentence: what was
//! attempted, on which ring, and after a semicolon what can be done. What the kernel answered is
//! its [`source`](std::error::Error::source), and not in the text: who prints both prints it once.
//! Its fields have the same for programs. `docs/errors.md` has every text, as the test `errors`
//! provoked it.
//!
//! The errors of calls are small and `Copy`; they do not name the ring, which the caller has in
//! hand ([`Ring::name`](crate::Ring::name)).

mod attach;
mod calls;
mod checkpoint;
mod create;
mod location;
mod names;
mod open;
mod space;
mod step;
mod transfer;

pub use crate::layout::ElementType;
pub use attach::{AttachError, ChannelError};
pub use calls::{
    BulkError, MessageError, PeerError, RecvError, RecvTimeoutError, SendAllError, SendError,
    SendTimeoutError, TryRecvError, TrySendError,
};
pub use checkpoint::CheckpointError;
pub use create::{CreateError, OpenOrCreateError};
pub use location::Location;
pub use names::{ListError, NameError, UnlinkError};
pub use open::{Mismatch, OpenError};
pub use space::SpaceLimit;
pub(crate) use step::Failed;
pub use step::Step;
pub use transfer::{Descriptor, TransferError};
