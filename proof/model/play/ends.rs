//! Both kinds of ring, and several types of item, behind the same names.

use harness::Flavour;
use ringpipe::bytemuck::{AnyBitPattern, Zeroable};
use ringpipe::{
    AttachError, BulkError, Item, Mpmc, PeerError, ReadRun, RecvHandle, SendHandle, Spsc, WriteRun,
};

use super::pool::Pools;
use super::queue::Refused;
use super::{Call, Hand, Stage};

/// What travels: items that can be told from each other.
pub trait Thing: Item + Zeroable + PartialEq + std::fmt::Debug {
    fn of(number: u64) -> Self;

    /// Copies of all the items, by borrowing them if they can be.
    ///
    /// # Safety
    ///
    /// As of [`ReadRun::slot`].
    unsafe fn borrowed<K: Ends>(run: &ReadRun<'_, Self, K>) -> Vec<Self> {
        run.iter().collect()
    }
    /// Writes by borrowing the slots, if they can be.
    ///
    /// # Safety
    ///
    /// As of [`WriteRun::slot_mut`].
    unsafe fn fill<K: Ends>(run: &mut WriteRun<'_, Self, K>, values: &[Option<Self>]) {
        for (index, value) in values.iter().enumerate() {
            value.iter().for_each(|value| run.write(index, *value));
        }
    }
}

/// Of a [`Thing`] that any bits make.
macro_rules! borrows {
    () => {
        unsafe fn borrowed<K: Ends>(run: &ReadRun<'_, Self, K>) -> Vec<Self> {
            // SAFETY: the caller's.
            unsafe { K::borrowed(run) }
        }
        unsafe fn fill<K: Ends>(run: &mut WriteRun<'_, Self, K>, values: &[Option<Self>]) {
            // SAFETY: the caller's.
            unsafe { K::fill(run, values) }
        }
    };
}

impl Thing for u64 {
    fn of(number: u64) -> Self {
        number
    }
    borrows!();
}

impl Thing for u8 {
    fn of(number: u64) -> Self {
        number as u8
    }
    borrows!();
}

/// Not every bit pattern is one.
impl Thing for char {
    fn of(number: u64) -> Self {
        char::from_u32(number as u32 % 0xd800).expect("below the surrogates")
    }
}

impl Thing for [u8; 5] {
    fn of(number: u64) -> Self {
        std::array::from_fn(|index| number.wrapping_add(50 * index as u64) as u8)
    }
    borrows!();
}

impl Thing for [u64; 16] {
    fn of(number: u64) -> Self {
        std::array::from_fn(|index| number << 8 | index as u64)
    }
    borrows!();
}

type Attached<H> = Result<H, AttachError>;

/// What more the kinds of ring have in common.
pub trait Ends: Flavour {
    /// Another end like this one; on an SPSC ring, which knows no such call, from the ring.
    fn another_tx<T: Item>(tx: &SendHandle<T, Self>) -> Attached<SendHandle<T, Self>> {
        Self::sender(&tx.ring())
    }
    fn another_rx<T: Item>(rx: &RecvHandle<T, Self>) -> Attached<RecvHandle<T, Self>> {
        Self::receiver(&rx.ring())
    }

    /// Copies of all the items, by borrowing them in this kind's way.
    ///
    /// # Safety
    ///
    /// As of [`ReadRun::slot`].
    unsafe fn borrowed<T: Thing + AnyBitPattern>(run: &ReadRun<'_, T, Self>) -> Vec<T> {
        // SAFETY: the caller's.
        (0..run.len()).map(|index| *unsafe { run.slot(index) }).collect()
    }
    /// Writes by borrowing the slots in this kind's way.
    ///
    /// # Safety
    ///
    /// As of [`WriteRun::slot_mut`].
    unsafe fn fill<T: Thing + AnyBitPattern>(
        run: &mut WriteRun<'_, T, Self>,
        values: &[Option<T>],
    ) {
        for (index, value) in values.iter().enumerate() {
            // SAFETY: the caller's.
            let slot = unsafe { run.slot_mut(index) };
            *slot = value.unwrap_or(*slot);
        }
    }

    /// Calls through a [`Pool`](ringpipe::Pool), which an SPSC ring cannot have.
    fn pooled<T: Thing>(_: &mut Stage<T, Self>, _: Hand, _: Call) {}
}

impl Ends for Spsc {
    unsafe fn borrowed<T: Thing + AnyBitPattern>(run: &ReadRun<'_, T, Self>) -> Vec<T> {
        // SAFETY: the caller's.
        let (first, rest) = unsafe { run.as_slices() };
        [first, rest].concat()
    }
    unsafe fn fill<T: Thing + AnyBitPattern>(
        run: &mut WriteRun<'_, T, Self>,
        values: &[Option<T>],
    ) {
        // SAFETY: the caller's.
        let (first, rest) = unsafe { run.as_mut_slices() };
        for (slot, value) in first.iter_mut().chain(rest).zip(values) {
            *slot = value.unwrap_or(*slot);
        }
    }
}

impl Ends for Mpmc {
    fn another_tx<T: Item>(tx: &SendHandle<T, Self>) -> Attached<SendHandle<T, Self>> {
        tx.try_clone()
    }
    fn another_rx<T: Item>(rx: &RecvHandle<T, Self>) -> Attached<RecvHandle<T, Self>> {
        rx.try_clone()
    }
    fn pooled<T: Thing>(stage: &mut Stage<T, Self>, hand: Hand, call: Call) {
        match call {
            Call::PoolSenders => stage.pool_senders(hand),
            _ => stage.pool_receivers(hand),
        }
    }
}

/// An error of a call on several items. `not_ready`: what this end calls too few.
pub fn bulk(error: BulkError, not_ready: BulkError) -> Refused {
    match error {
        error if error == not_ready => Refused::NotReady,
        BulkError::Timeout => Refused::Timeout,
        BulkError::Cancelled => Refused::Cancelled,
        BulkError::Closed => Refused::Closed,
        BulkError::TooLong { len, most } => Refused::TooLong(len, most),
        BulkError::Fragmented { adjacent } => Refused::Fragmented(adjacent),
        BulkError::Held { held } => Refused::Held(held),
        other => panic!("{other:?}"),
    }
}

pub fn peer(error: PeerError) -> Refused {
    match error {
        PeerError::Timeout => Refused::Timeout,
        PeerError::Cancelled => Refused::Cancelled,
        other => panic!("{other:?}"),
    }
}

/// Compares what a call said with what it should have.
#[track_caller]
pub fn agree<R: PartialEq + std::fmt::Debug>(
    got: &Result<R, Refused>,
    expected: Result<R, Refused>,
) {
    use Refused::{Cancelled, Closed, Late, NotReady, Timeout};
    match (got, &expected) {
        (Err(Closed | NotReady | Timeout | Cancelled), Err(Late)) => {}
        _ => assert_eq!(*got, expected),
    }
}
