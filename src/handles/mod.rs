//! The handles that users hold: thin and documented; the work is done by the rooms behind them.
//!
//! One set serves every kind of ring: [`SendHandle<T, Spsc>`](send::SendHandle) is the
//! [`Producer`](crate::spsc::Producer), `SendHandle<T, Mpmc>` the
//! [`Sender`](crate::mpmc::Sender), and so on.

pub(crate) mod cancel;
pub(crate) mod census;
mod claim;
pub(crate) mod iter;
pub(crate) mod options;
pub(crate) mod pool;
pub(crate) mod recv;
pub(crate) mod ring;
pub(crate) mod run;
pub(crate) mod send;

use bytemuck::{AnyBitPattern, NoUninit};

/// What can travel through a ring: plain data without padding, of which every bit pattern is valid.
///
/// Implemented for everything that is [`bytemuck::NoUninit`] and [`bytemuck::AnyBitPattern`]:
/// integers, floats, arrays of them, and your own types by `#[derive(Clone, Copy, NoUninit,
/// AnyBitPattern)]` on a `#[repr(C)]` struct (with a dependency of your own on `bytemuck` 1 and its
/// feature `derive`; arrays of unusual lengths want its feature `min_const_generics`). Together the
/// two bounds mean that a value has no uninitialised bytes to leak, and that no byte a hostile peer
/// writes can make an invalid one. References, `bool`, `char` and most enums are out for that
/// reason.
///
/// Zero-sized types are refused when the program is compiled, and so is an alignment beyond a page
/// (4096 bytes):
///
/// ```compile_fail
/// let (tx, rx) = ringpipe::spsc::channel::<[u8; 0]>(8).unwrap();
/// ```
pub trait Item: NoUninit + AnyBitPattern + Send + Sync {}

impl<T: NoUninit + AnyBitPattern + Send + Sync> Item for T {}
