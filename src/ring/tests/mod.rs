//! The rings on heap memory: no file, no mapping, no system call.
//!
//! That makes them fit for Miri, which sees what no other test can: a copy that races because an
//! ordering is too weak (under Miri payload is copied by plain accesses), a pointer beyond its
//! allocation, a misaligned access. It also reaches states that the handles never produce: a claim
//! in progress on one end while another looks, stamps and positions that someone has scribbled on.
//!
//! * [`single`] drives the ends by turns in one thread, where every outcome is known.
//! * [`threads`] lets them race; `-Zmiri-many-seeds` varies the schedule.
//! * [`recovery`] lets them die meanwhile.
//! * [`deliveries`] lets one receiver after the other die with the same item.
//! * [`messages`] is about what takes several slots. There, a sample's message says in its first
//!   word how long it is, and is made of as many samples as it has granules.
//!
//! [`Heap`] lays a block out as a region is laid out and hands out [`Mem`]s over it, just as
//! `handles::raw_ring` does over a mapping.

mod deliveries;
mod frames;
mod messages;
mod mpmc;
mod recovery;
mod single;
mod spsc;
mod threads;

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ptr::NonNull;

use bytemuck::{AnyBitPattern, NoUninit};

use super::claims::{RecvClaims, SendClaims};
use super::control::Words;
use super::mem::{Fixed, Mem, SlotShape, View};
use super::{Kind, RecvCursor, Refused, Run, SendCursor};
use crate::layout::Geometry;
use crate::sync::{Shared, Slots};

/// A region's worth of zeroed heap, which is what a new ring consists of after its identity.
pub(crate) struct Heap<T, K> {
    base: NonNull<u8>,
    layout: Layout,
    capacity: u64,
    geometry: Geometry,
    kind: PhantomData<(fn() -> T, K)>,
}

// SAFETY: the block is shared memory, accessed through the `Mem`s alone, which know how.
unsafe impl<T: Send, K> Sync for Heap<T, K> {}

impl<T: Copy, K: Kind> Heap<T, K> {
    pub(crate) fn new(capacity: u64, endpoints: u32) -> Self {
        let page = 4096;
        let shape = SlotShape::of::<T, K>();
        let geometry =
            Geometry::new(K::INFO, shape, capacity, endpoints, page).expect("a small ring");
        // For real, what is mapped twice is whole pages. Here it may be shorter.
        let capacity = capacity.next_power_of_two();
        // Not a byte behind the last slot, so that Miri sees a step beyond it.
        let len = geometry.slots_at + capacity as usize * shape.stride;
        let layout = Layout::from_size_align(len, page).expect("a small ring");
        // SAFETY: the layout is of many bytes.
        let base = unsafe { alloc_zeroed(layout) };
        Self {
            base: NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout)),
            layout,
            capacity,
            geometry,
            kind: PhantomData,
        }
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.layout.size());
        // SAFETY: just checked.
        unsafe { self.base.add(offset) }
    }

    /// The memory as an algorithm is given it. Not to be used after `self` is gone.
    pub(crate) fn mem(&self) -> Mem<K> {
        let records = self.geometry.endpoints as usize;
        let owners = self.at(Geometry::owners_at()).cast();
        let lines = self.at(Geometry::records_at(self.geometry.endpoints)).cast();
        // SAFETY: `Geometry` places the control words within the block, aligned; atomics all.
        let control = unsafe { Shared::new(self.at(Geometry::control_at()).cast()) };
        // SAFETY: likewise for this many owner words.
        let owners = unsafe { Shared::new(NonNull::slice_from_raw_parts(owners, records)) };
        // SAFETY: likewise for this many lines.
        let lines = unsafe { Shared::new(NonNull::slice_from_raw_parts(lines, records)) };
        let Geometry { slots_at, stamps_at, .. } = self.geometry;
        let stamps = stamps_at.map(|at| self.at(at).cast());
        // SAFETY: `Geometry` made the block long enough for `capacity` slots from here on, and
        // `slots_at` is aligned as they need; likewise for stamps that lie apart.
        let slots = unsafe {
            Slots::new(self.at(slots_at), self.capacity, SlotShape::of::<T, K>(), stamps)
        };
        let words = Words { control, owners, records: lines };
        Mem { words, slots, drop_unreleased: false, delivery_limit: 0 }
    }

    /// That of its slots.
    pub(crate) fn shape(&self) -> Fixed<T, K> {
        // SAFETY: its slots are `T`s', and it is used on them alone.
        unsafe { Fixed::trusted() }
    }

    pub(crate) fn intent(&self, record: usize) -> u64 {
        self.mem().words.records[record].intent.load(crate::sync::Ordering::Relaxed)
    }

    pub(crate) fn tx(&self, record: usize) -> Tx<T, K> {
        let mem = self.mem();
        let cursor = K::Send::attach(&mem, record).expect("positions make sense");
        Tx { mem, shape: self.shape(), cursor }
    }

    pub(crate) fn rx(&self, record: usize) -> Rx<T, K> {
        let mem = self.mem();
        let cursor = K::Recv::attach(&mem, record).expect("positions make sense");
        Rx { mem, shape: self.shape(), cursor }
    }
}

impl<T, K> Drop for Heap<T, K> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the `Mem`s are gone.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// Bytes of the word at the start of a message.
const HEADER: usize = size_of::<u64>();

/// A bare sending end: a cursor and its memory.
pub(crate) struct Tx<T, K: Kind> {
    mem: Mem<K>,
    shape: Fixed<T, K>,
    cursor: K::Send,
}

impl<T: Sample, K: Kind> Tx<T, K> {
    fn view(&self) -> View<'_, Fixed<T, K>> {
        self.mem.view(self.shape)
    }

    fn claim(&mut self, need: u64, max: u64) -> Result<Run, Refused> {
        if self.cursor.forgotten() {
            self.cursor.close(&self.mem);
        }
        let at_once =
            if max == 1 { self.cursor.claim_one(self.mem.view(self.shape)) } else { None };
        at_once.map_or_else(|| self.cursor.claim(self.mem.view(self.shape), need, max), Ok)
    }

    /// Fills the first `items` slots of `run` with the samples from `first` on, publishes them and
    /// gives up the rest. Messages: with one message, of sample `first`.
    fn fill(&mut self, run: Run, first: u64, items: u64) {
        if K::MESSAGES {
            self.write_message(run, first, items);
            return self.cursor.publish(self.mem.view(self.shape), run, items);
        }
        let values: Vec<T> = (first..first + items).map(T::nth).collect();
        if let ([value], 1) = (&values[..], run.slots) {
            let all = self.cursor.write_one(self.view(), run, value);
            return self.cursor.publish_one(self.mem.view(self.shape), run, all);
        }
        self.view().write_run(run.at, &values);
        self.cursor.publish(self.mem.view(self.shape), run, items);
    }

    /// Writes a message of sample `n` that uses so many granules of a run, all of which it may use.
    fn write_message(&self, run: Run, n: u64, used: u64) {
        self.view().write_run(run.at, &vec![T::nth(n); run.slots as usize]);
        let bytes = (used * size_of::<T>() as u64).saturating_sub(HEADER as u64);
        self.mem.slots.write_bytes(run.at, 0, &bytes.to_ne_bytes());
    }

    fn send(&mut self, n: u64) -> Result<(), Refused> {
        self.send_long(n, 1)
    }

    /// Messages: in so many granules.
    fn send_long(&mut self, n: u64, granules: u64) -> Result<(), Refused> {
        let run = self.claim(granules, granules)?;
        self.fill(run, n, granules);
        Ok(())
    }

    /// As many of the samples `first..last` as there is room for.
    fn send_some(&mut self, first: u64, last: u64) -> Result<u64, Refused> {
        let run = self.claim(1, last - first)?;
        self.fill(run, first, run.items);
        Ok(run.items)
    }
}

/// A bare receiving end.
pub(crate) struct Rx<T, K: Kind> {
    mem: Mem<K>,
    shape: Fixed<T, K>,
    cursor: K::Recv,
}

impl<T: Sample, K: Kind> Rx<T, K> {
    fn view(&self) -> View<'_, Fixed<T, K>> {
        self.mem.view(self.shape)
    }

    fn claim(&mut self, need: u64, max: u64) -> Result<Run, Refused> {
        let at_once =
            if max == 1 { self.cursor.claim_one(self.mem.view(self.shape)) } else { None };
        at_once.map_or_else(|| self.cursor.claim(self.mem.view(self.shape), need, max), Ok)
    }

    /// The items of a run, one by one.
    fn values(&self, run: Run) -> Vec<T> {
        (0..run.items)
            .map(|index| self.cursor.items(self.view(), run).nth(index as usize).expect("an item"))
            .map(|at| if K::MESSAGES { self.message(run, at) } else { self.view().read(at) })
            .collect()
    }

    /// The sample of which the message at this position is made. What it says of its length must fit
    /// its extent, and all of it must be of one sample.
    fn message(&self, run: Run, at: u64) -> T {
        let granules = self.extent(run, at) as usize;
        let mut all = vec![T::nth(0); granules];
        self.view().read_run(at, &mut all);
        let mut first = bytemuck::bytes_of(&all[0]).to_vec();
        let header: [u8; HEADER] = first[..HEADER].try_into().expect("a word");
        assert_eq!(u64::from_ne_bytes(header) as usize, granules * size_of::<T>() - HEADER);
        first.copy_within(HEADER..2 * HEADER, 0);
        all[0] = bytemuck::pod_read_unaligned(&first);
        assert!(all.iter().all(|granule| *granule == all[0]), "{all:?}");
        all[0]
    }

    /// How many granules the message at this position has.
    fn extent(&self, run: Run, at: u64) -> u64 {
        self.cursor.extent(self.view(), run, at)
    }

    fn release(&mut self, run: Run, items: u64) {
        self.cursor.release(self.mem.view(self.shape), run, items);
    }

    fn recv(&mut self) -> Result<T, Refused> {
        if let Some(run) = self.cursor.claim_seen() {
            let value = self.view().read(run.at);
            self.cursor.release_one(self.mem.view(self.shape), run);
            return Ok(value);
        }
        Ok(self.recv_some(1)?[0])
    }

    /// At most `max` items, all released. Without holes between them, they are read in one piece.
    fn recv_some(&mut self, max: u64) -> Result<Vec<T>, Refused> {
        let run = self.claim(1, max)?;
        let items = run.items.min(max); // it may hold more than were asked for
        let values = if run.slots == 1 && run.items == 1 && !K::MESSAGES {
            let view = self.mem.view(self.shape);
            let copy = self.cursor.at_hand(view, run.at);
            vec![copy.unwrap_or_else(|| view.read(run.at))]
        } else if run.slots == run.items && !K::MESSAGES {
            let mut values = vec![T::nth(0); items as usize];
            self.view().read_run(run.at, &mut values);
            values
        } else {
            let mut values = self.values(run);
            values.truncate(items as usize);
            values
        };
        self.release(run, items);
        Ok(values)
    }
}

/// The shape of slots in a ring that carries these.
pub(crate) fn numbers<K: Kind>() -> Fixed<u64, K> {
    // SAFETY: tests use it on such rings alone.
    unsafe { Fixed::trusted() }
}

/// Values that can be numbered, each number filling all bytes, so that a torn one is told from all
/// others.
pub(crate) trait Sample: AnyBitPattern + NoUninit + PartialEq + Debug + Send + Sync {
    fn nth(n: u64) -> Self;
}

impl Sample for u64 {
    fn nth(n: u64) -> Self {
        n
    }
}

impl Sample for u32 {
    fn nth(n: u64) -> Self {
        n as u32 * 0x0101_0101
    }
}

impl Sample for u16 {
    fn nth(n: u64) -> Self {
        n as u16 * 0x0101
    }
}

impl<T: Sample, const N: usize> Sample for [T; N]
where
    [T; N]: AnyBitPattern + NoUninit,
{
    fn nth(n: u64) -> Self {
        [T::nth(n); N]
    }
}

impl Sample for u8 {
    fn nth(n: u64) -> Self {
        n as u8
    }
}

/// Declares a type that is as large as it is aligned.
macro_rules! aligned {
    ($($name:ident $align:literal,)+) => {$(
        #[repr(C, align($align))]
        #[derive(Clone, Copy, Debug, PartialEq, AnyBitPattern, NoUninit)]
        struct $name([u8; $align]);

        impl Sample for $name {
            fn nth(n: u64) -> Self {
                Self(Sample::nth(n))
            }
        }
    )+};
}

aligned! { Aligned16 16, Aligned32 32, Aligned64 64, }
