//! **ringpipe** is a pipe made of a shared-memory ring: processes on one Linux host hand each other
//! typed values through a lock-free ring in a shared mapping, at the speed at which a cache line
//! travels, and with the manners of a pipe. A call blocks when the ring is full or empty, the last
//! sender's end is an end-of-file, the last receiver's a broken pipe.
//!
//! Two programs that know only a name:
//!
//! ```
//! use ringpipe::spsc::Ring;
//! # let name = format!("doc-lib-{}", std::process::id());
//! # let sender = { let name = name.clone(); std::thread::spawn(move || {
//!
//! // One program: lines of numbers, say, until it is done.
//! let ring = Ring::<u64>::options().capacity(1024).open_or_create(&name).unwrap();
//! let mut tx = ring.producer().unwrap();
//! for n in 0..10_000 {
//!     tx.send(n).unwrap(); // blocks while the ring is full
//! }
//! # })};
//!
//! // The other, started before or after:
//! let ring = Ring::<u64>::options().capacity(1024).open_or_create(&name).unwrap();
//! let mut rx = ring.consumer().unwrap();
//! let sum: u64 = rx.iter().sum(); // blocks while it is empty, ends when the producer has gone
//! assert_eq!(sum, 49_995_000);
//! assert_eq!(rx.ending(), Some(ringpipe::Ending::Closed)); // it was not killed in mid-work
//! ring.unlink().unwrap();
//! # sender.join().unwrap();
//! ```
//!
//! # As with a FIFO
//!
//! A ring outlives its ends, and they may come and go. The end that attaches first waits for the
//! other side; "gone" is said of ends that were there. A few things follow that surprise those who
//! expect a channel:
//!
//! * A sender may send and leave before any receiver comes: what it sent stays. A receiver that
//!   attaches after that gets it, and then end-of-file. So two programs end in whichever order they
//!   start.
//! * End-of-file is told once to those who attach: after one receiver was told `Closed`, the next
//!   one to attach waits for the next sender. A worker that may come after the end calls
//!   [`require_peer`](RecvHandle::require_peer), and a receiver that would rather wait for a new
//!   sender calls [`wait_for_peer`](RecvHandle::wait_for_peer) first.
//! * A crash ends a stream as a close does. [`ending`](RecvHandle::ending) tells the one from the
//!   other.
//! * With several senders, end-of-file is when the *last one attached* leaves. Hold an end until
//!   all have come, or [`wait_for_peer`](SendHandle::wait_for_peer).
//! * A name stays until somebody calls [`unlink`](Ring::unlink).
//!
//! # Finding your way
//!
//! * [`spsc`]: one producer, one consumer. [`mpmc`]: many of both. `channel` in either makes both
//!   ends without a name, to start with inside one program.
//! * [`bytes`]: a stream of bytes, as [`io::Write`](std::io::Write) and [`io::Read`](std::io::Read).
//!   [`messages`]: slices of any length, each whole or not at all, one to one or many to many.
//!   [`PassRing`] gives a ring without a name to a program that is started.
//! * [`Ring`] is a ring that is open; [`Options`] creates and opens: named ([`Options::create`]),
//!   file-backed ([`Options::create_file`]), anonymous ([`Options::create_anonymous`]).
//! * [`SendHandle`] and [`RecvHandle`] are the ends: `try_send`, `send`, `send_timeout`,
//!   `send_deadline` and their twins, slices, and runs of slots in place ([`WriteRun`],
//!   [`ReadRun`]; borrowed, by `unsafe` methods of the two).
//! * [`list`] tells which rings there are. [`orphans`] are those that nobody has open;
//!   [`remove_orphan`] and [`remove_orphans`] clear up after crashes. [`RecvHandle::clear`] discards
//!   what is in a ring.
//! * [`Item`] is what can travel. [`Canceller`] ends a blocked call, [`WaitPolicy`] says how calls
//!   wait, [`Pool`] lends ends to those who have only `&self`.
//! * With the feature `async`, `Async` makes an end of any kind one whose calls are futures, for tasks
//!   of any runtime.
//!
//! # Safety
//!
//! The region is untrusted memory: a peer that scribbles on it can feed wrong values or stop the
//! flow, and nothing worse. What exactly is promised, and why it holds, is in SAFETY.md in the
//! repository.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "ringpipe needs Linux: futexes shared between processes, open-file-description locks, memfds"
);

#[cfg(not(target_has_atomic = "64"))]
compile_error!("ringpipe needs 64-bit atomics: positions that never wrap are what it rests on");

/// The README's code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod attach;
pub mod bytes;
pub mod error;
mod handles;
mod layout;
pub mod messages;
pub mod mpmc;
mod peers;
mod pipe;
mod ring;
mod shm;
pub mod spsc;
mod sync;
mod wait;

pub use bytemuck;
pub use bytes::pipe;
pub use error::{
    AttachError, BulkError, ChannelError, CheckpointError, CreateError, ElementType, ListError,
    Location, MessageError, Mismatch, NameError, OpenError, OpenOrCreateError, PeerError,
    RecvError, RecvTimeoutError, SendAllError, SendError, SendTimeoutError, SpaceLimit, Step,
    TryRecvError, TrySendError, UnlinkError,
};
#[cfg(feature = "async")]
pub use handles::asynchronous::{Async, Permit};
pub use handles::bytes::duplex;
pub use handles::cancel::Canceller;
pub use handles::census::{Listing, list, orphans, remove_orphan, remove_orphans};
pub use handles::item::Item;
pub use handles::iter::{Iter, TryIter};
pub use handles::making::HugePages;
pub use handles::options::Options;
pub use handles::pass::PassRing;
pub use handles::pool::{Cloneable, Pool, Pooled};
pub use handles::recv::RecvHandle;
pub use handles::ring::{Ring, unlink};
pub use handles::run::{ReadRun, WriteRun};
pub use handles::send::SendHandle;
pub use handles::stats::{Peers, Stats};
pub use peers::endings::Ending;
pub use peers::table::Role;
pub use ring::{Bytes, Kind, Mpmc, MpmcMessages, Spsc, SpscMessages};
pub use shm::state::Unclean;
pub use wait::barrier::opt_out_of_membarrier;
pub use wait::pace::{Deadline, WaitPolicy};
