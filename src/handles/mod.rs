//! The handles that users hold: thin and documented; the work is done by the rooms behind them.
//!
//! One set serves every kind of ring: [`SendHandle<T, Spsc>`](send::SendHandle) is the
//! [`Producer`](crate::spsc::Producer), `SendHandle<T, Mpmc>` the
//! [`Sender`](crate::mpmc::Sender), and so on.
//!
//! What does not depend on the type of the elements stands in files of its own and is compiled
//! once:
//!
//! ```text
//! whatever the elements are                    of a type
//! making    creates and opens            ◄──   options   the builder
//! raw_ring  a ring that is open          ◄──   ring      the same, of `T`s
//! raw_end   an end: claims, waits, goes  ◄──   send, recv, run, iter, pool
//! ```
//!
//! A typed handle adds the copies in and out and their checks, and the shape of the slots that it
//! knows when it is compiled ([`ring::mem`](crate::ring::mem)). Files to the right use those to the
//! left and above them, and never the other way round.

pub(crate) mod cancel;
pub(crate) mod census;
mod claim;
pub(crate) mod item;
pub(crate) mod iter;
pub(crate) mod making;
pub(crate) mod options;
pub(crate) mod pool;
mod raw_end;
pub(crate) mod raw_ring;
pub(crate) mod recv;
pub(crate) mod ring;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod stats;
