//! `ringpipe` as a contender: polled, as the bare rings must be, or blocking.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use ringpipe::error::AttachError;
use ringpipe::{Deadline, Kind, Mpmc, RecvHandle, Ring, SendHandle, Spsc};

use crate::harness::{Contender, Outcome, Rx, Tx, Value, text};
use crate::memory::open;

/// The kinds of rings, which call their ends differently.
pub trait Ends: Kind {
    /// A sending end.
    fn tx<V: Value>(ring: &Ring<V, Self>) -> Result<SendHandle<V, Self>, AttachError>;
    /// A receiving end.
    fn rx<V: Value>(ring: &Ring<V, Self>) -> Result<RecvHandle<V, Self>, AttachError>;
}

impl Ends for Spsc {
    fn tx<V: Value>(ring: &Ring<V, Self>) -> Result<SendHandle<V, Self>, AttachError> {
        ring.producer()
    }
    fn rx<V: Value>(ring: &Ring<V, Self>) -> Result<RecvHandle<V, Self>, AttachError> {
        ring.consumer()
    }
}

impl Ends for Mpmc {
    fn tx<V: Value>(ring: &Ring<V, Self>) -> Result<SendHandle<V, Self>, AttachError> {
        ring.sender()
    }
    fn rx<V: Value>(ring: &Ring<V, Self>) -> Result<RecvHandle<V, Self>, AttachError> {
        ring.receiver()
    }
}

/// A ring of kind `K`. `BLOCKING`: its ends wait by themselves.
#[derive(Debug)]
pub struct Whole<K, const BLOCKING: bool>(PhantomData<K>);

/// A sending end.
#[derive(Debug)]
pub struct WholeTx<V: Value, K: Kind, const BLOCKING: bool>(SendHandle<V, K>);

/// A receiving end.
#[derive(Debug)]
pub struct WholeRx<V: Value, K: Kind, const BLOCKING: bool>(RecvHandle<V, K>);

fn reach<V: Value, K: Kind>(address: &str) -> Outcome<Ring<V, K>> {
    Ring::options().from_fd(open(address)?).map_err(text)
}

impl<V: Value, K: Ends, const BLOCKING: bool> Contender<V> for Whole<K, BLOCKING> {
    type Arena = Ring<V, K>;
    type Tx = WholeTx<V, K, BLOCKING>;
    type Rx = WholeRx<V, K, BLOCKING>;

    fn create(slots: usize) -> Outcome<(Ring<V, K>, String)> {
        let ring = Ring::options().capacity(slots).create_anonymous().map_err(text)?;
        let address = format!("/proc/{}/fd/{}", std::process::id(), ring.as_fd().as_raw_fd());
        Ok((ring, address))
    }

    fn tx(address: &str, _: usize, _: usize) -> Outcome<Self::Tx> {
        K::tx(&reach(address)?).map(WholeTx).map_err(text)
    }

    fn rx(address: &str, _: usize, _: usize) -> Outcome<Self::Rx> {
        K::rx(&reach(address)?).map(WholeRx).map_err(text)
    }
}

impl<V: Value, K: Kind, const BLOCKING: bool> Tx<V> for WholeTx<V, K, BLOCKING> {
    #[inline(always)]
    fn one(&mut self, value: V) -> bool {
        if BLOCKING { self.0.send(value).is_ok() } else { self.0.try_send(value).is_ok() }
    }

    #[inline(always)]
    fn many(&mut self, values: &[V]) -> usize {
        let sent = match BLOCKING {
            true => self.0.send_slice(values, Deadline::NEVER),
            false => self.0.try_send_slice(values),
        };
        sent.unwrap_or(0)
    }
}

impl<V: Value, K: Kind, const BLOCKING: bool> Rx<V> for WholeRx<V, K, BLOCKING> {
    #[inline(always)]
    fn one(&mut self) -> Option<V> {
        if BLOCKING { self.0.recv().ok() } else { self.0.try_recv().ok() }
    }

    #[inline(always)]
    fn many(&mut self, into: &mut [V]) -> usize {
        let received = match BLOCKING {
            true => self.0.recv_slice(into, Deadline::NEVER),
            false => self.0.try_recv_slice(into),
        };
        received.unwrap_or(0)
    }
}
