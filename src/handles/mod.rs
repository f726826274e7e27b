//! The handles that users hold: thin and documented. The modules below do the work.
//!
//! One set serves every kind of ring: [`SendHandle<T, Spsc>`](send::SendHandle) is the
//! [`Producer`](crate::spsc::Producer), `SendHandle<T, Mpmc>` the
//! [`Sender`](crate::mpmc::Sender), and so on.
//!
//! What does not depend on the type of the elements stands in files of its own:
//!
//! ```text
//! whatever the elements are                          for elements of a type
//! raw_ring  a ring that is open                      item     what can travel
//! making    creates and opens one                    send, recv, run, iter         ends
//! claim     how an end claims                        ring     a ring, and its ends
//! raw_end   an end: attaches, waits, leaves          options  the builder
//! ```
//!
//! A typed handle adds the copies in and out and their checks, and the shape of its slots, known
//! when it is compiled ([`ring::mem`](crate::ring::mem)). Imports go from right to left, and from
//! bottom to top: `options` makes a `ring`, which makes `send` and `recv`. `cancel`, `census`, `pool`
//! and `stats` stand by themselves.

#[cfg(feature = "async")]
pub(crate) mod asynchronous;
pub(crate) mod bytes;
pub(crate) mod cancel;
pub(crate) mod census;
mod claim;
pub(crate) mod item;
pub(crate) mod iter;
pub(crate) mod making;
pub(crate) mod messages;
pub(crate) mod options;
pub(crate) mod pass;
pub(crate) mod pool;
mod raw_end;
pub(crate) mod raw_ring;
pub(crate) mod recv;
pub(crate) mod ring;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod stats;
