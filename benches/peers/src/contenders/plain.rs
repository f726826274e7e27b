//! What our own rings are made of, and nothing else: the same algorithms without waiting, without
//! a crash protocol, without distrust of the peer. They show what those cost. Not for use: a killed
//! peer stops them for ever.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering::*};

use harness::memory::{self, Atomics};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx};
use crate::Outcome;

/// A memfd of a size, and what maps it.
fn lay(len: usize) -> Outcome<Laid> {
    Ok(Laid::of([memory::create("peers-plain", len)?]))
}

#[repr(C, align(128))]
struct Line(AtomicU64);

#[repr(C)]
struct Indices {
    tail: Line,
    head: Line,
    /// How many ends have come: the next one's intent.
    ends: Line,
    /// What ends are about to claim, where they say so.
    intents: [Line; INTENTS],
}

// SAFETY: atomics, and structures and arrays of such.
unsafe impl Atomics for Indices {}

/// The most ends of a ring whose ends store intents.
const INTENTS: usize = 8;

const SLOTS_AT: usize = size_of::<Indices>();

/// The indices and the bytes behind them.
#[derive(Clone, Copy)]
struct Memory {
    indices: &'static Indices,
    mask: u64,
    pause: Pause,
}

impl Memory {
    fn open(link: &Link, len: usize) -> Outcome<Self> {
        let indices = memory::shared::<Indices>(link.fd(), len)?;
        Ok(Self { indices, mask: link.capacity as u64 - 1, pause: link.pause() })
    }

    /// Slot `at`, of `S` each.
    #[inline(always)]
    fn slot<S>(&self, at: u64) -> *const S {
        let first = std::ptr::from_ref(self.indices).cast::<u8>();
        // SAFETY: the mapping continues behind the indices with as many slots as the mask says.
        unsafe { first.add(SLOTS_AT + (at & self.mask) as usize * size_of::<S>()) }.cast()
    }
}

/// Shows `count` items that `copy_out` copies out, as contenders do that return values.
#[inline(always)]
fn show<P: Payload>(count: usize, copy_out: impl FnOnce(&mut [P]), look: impl FnMut(&P)) {
    const MOST: usize = 1 << 16;
    thread_local!(static BUFFER: UnsafeCell<Vec<u64>> = UnsafeCell::new(vec![0; MOST / 8]));
    BUFFER.with(|buffer| {
        // SAFETY: this thread's, and not borrowed elsewhere: `look` does not receive.
        let words = unsafe { &mut *buffer.get() };
        let into: &mut [P] = bytemuck::cast_slice_mut(words);
        let into = &mut into[..count];
        copy_out(into);
        into.iter().for_each(look);
    });
}

/// Lamport's queue with private copies of the peer's index.
pub struct Spsc;

fn spsc_len<S>(link: &Link) -> usize {
    SLOTS_AT + link.capacity * size_of::<S>()
}

/// Memory for slots of this type.
pub fn lay_spsc<S>(link: &Link) -> Outcome<Laid> {
    lay(spsc_len::<S>(link))
}

impl Contender for Spsc {
    const NAME: &'static str = "plain-spsc";
    type Door<P: Payload> = SpscDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends().and_then(|()| link.needs_no_sleep())
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        lay_spsc::<P>(link)
    }

    fn door<P: Payload>(link: &Link) -> Outcome<SpscDoor> {
        SpscDoor::open::<P>(link)
    }
}

pub struct SpscDoor(Memory);

/// One side: its own index, and what it last saw of the other's.
pub struct Side {
    memory: Memory,
    mine: u64,
    theirs: u64,
}

impl SpscDoor {
    /// To slots of this type.
    pub fn open<S>(link: &Link) -> Outcome<Self> {
        Ok(Self(Memory::open(link, spsc_len::<S>(link))?))
    }

    pub fn side(&self) -> Side {
        Side { memory: self.0, mine: 0, theirs: 0 }
    }
}

impl<P: Payload> Door<P> for SpscDoor {
    type Tx = Side;
    type Rx = Side;

    fn tx(&self) -> Outcome<Side> {
        Ok(self.side())
    }

    fn rx(&self) -> Outcome<Side> {
        Ok(self.side())
    }
}

impl Side {
    /// Free slots; at least one.
    #[inline(always)]
    fn room(&mut self) -> u64 {
        let capacity = self.memory.mask + 1;
        if self.mine - self.theirs == capacity {
            let (mine, head) = (self.mine, &self.memory.indices.head.0);
            self.theirs = self.memory.pause.until(|| {
                let head = head.load(Acquire);
                (mine - head < capacity).then_some(head)
            });
        }
        capacity - (self.mine - self.theirs)
    }

    /// Items; at least one.
    #[inline(always)]
    fn items(&mut self) -> u64 {
        if self.mine == self.theirs {
            let (mine, tail) = (self.mine, &self.memory.indices.tail.0);
            self.theirs = self.memory.pause.until(|| {
                let tail = tail.load(Acquire);
                (tail != mine).then_some(tail)
            });
        }
        self.theirs - self.mine
    }

    /// How many of `count` slots come before the end of the memory.
    #[inline(always)]
    fn adjacent(&self, count: u64) -> u64 {
        count.min(self.memory.mask + 1 - (self.mine & self.memory.mask))
    }
}

impl Side {
    /// Copies in the first of these, and shows them to the receiver; how many.
    #[inline(always)]
    pub fn put<S: Copy>(&mut self, items: &[S]) -> usize {
        let room = self.room().min(items.len() as u64);
        let now = self.adjacent(room);
        let slot = self.memory.slot::<S>(self.mine).cast_mut();
        // SAFETY: `now` adjacent slots are free until `tail` passes them.
        unsafe { slot.copy_from_nonoverlapping(items.as_ptr(), now as usize) };
        self.mine += now;
        self.memory.indices.tail.0.store(self.mine, Release);
        now as usize
    }

    /// How many of `max` can be taken at once; at least one.
    #[inline(always)]
    pub fn ready(&mut self, max: usize) -> usize {
        let items = self.items().min(max as u64);
        self.adjacent(items) as usize
    }

    /// Copies out as many as these, which are ready.
    #[inline(always)]
    pub fn copy_out<S: Copy>(&self, into: &mut [S]) {
        let slot = self.memory.slot::<S>(self.mine);
        // SAFETY: so many adjacent published slots, which stay until `head` passes them.
        unsafe { slot.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
    }

    /// Writes to every 64th of so many bytes, which have been copied out.
    #[inline(always)]
    pub fn dirty(&self, bytes: usize) {
        let slot = self.memory.slot::<u8>(self.mine).cast_mut();
        for line in (0..bytes).step_by(64) {
            // SAFETY: within what has been copied out, which is the receiver's until it is freed.
            let at = unsafe { slot.add(line) };
            // SAFETY: as above. Volatile, for nobody reads it.
            unsafe { at.write_volatile(0) };
        }
    }

    /// Frees so many slots that have been copied out.
    #[inline(always)]
    pub fn free(&mut self, count: usize) {
        self.mine += count as u64;
        self.memory.indices.head.0.store(self.mine, Release);
    }
}

impl<P: Payload> Tx<P> for Side {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.room();
        let slot = self.memory.slot::<P>(self.mine).cast_mut();
        // SAFETY: the slot is free until `tail` passes it.
        unsafe { slot.write(*item) };
        self.mine += 1;
        self.memory.indices.tail.0.store(self.mine, Release);
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, mut items: &[P]) -> Outcome {
        while !items.is_empty() {
            items = &items[self.put(items)..];
        }
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Side {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        self.items();
        // SAFETY: the slot is published, and stays until `head` passes it.
        let item = unsafe { self.memory.slot::<P>(self.mine).read() };
        self.mine += 1;
        self.memory.indices.head.0.store(self.mine, Release);
        look(&item);
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let ready = self.ready(max);
        let take = |into: &mut [P]| {
            self.copy_out(into);
            self.free(into.len());
        };
        show(ready, take, look);
        Ok(())
    }
}

/// Vyukov's bounded queue; a batch claims as many slots as it can at once. `INTENTS`: its ends
/// store what they are about to claim in a line of their own before each claim, and clear it after
/// the hand-over, which is what makes a claim survive its owner.
pub struct Vyukov<const INTENTS: bool>;

#[repr(C)]
struct Cell<P> {
    stamp: AtomicU64,
    item: UnsafeCell<P>,
}

fn vyukov_len<P>(link: &Link) -> usize {
    SLOTS_AT + link.capacity * size_of::<Cell<P>>()
}

impl<const WITH_INTENTS: bool> Contender for Vyukov<WITH_INTENTS> {
    const NAME: &'static str = if WITH_INTENTS { "plain-intents" } else { "plain-vyukov" };
    type Door<P: Payload> = VyukovDoor<WITH_INTENTS>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        if WITH_INTENTS && (link.senders + link.receivers) as usize > INTENTS {
            return Err("eight ends");
        }
        link.needs_no_sleep()
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        let laid = lay(vyukov_len::<P>(link))?;
        let link = Link { fds: laid.raw(), ..link.clone() };
        let memory = Memory::open(&link, vyukov_len::<P>(&link))?;
        for at in 0..link.capacity as u64 {
            // SAFETY: a slot of the mapping, whose stamp is only ever accessed as an atomic.
            let stamp = unsafe { &(*memory.slot::<Cell<P>>(at)).stamp };
            stamp.store(at, Relaxed); // the workers are not started yet
        }
        Ok(laid)
    }

    fn door<P: Payload>(link: &Link) -> Outcome<VyukovDoor<WITH_INTENTS>> {
        Ok(VyukovDoor(Memory::open(link, vyukov_len::<P>(link))?))
    }
}

pub struct VyukovDoor<const INTENTS: bool>(Memory);

/// An end of either side; all state is shared.
pub struct VyukovEnd<const INTENTS: bool> {
    memory: Memory,
    intent: &'static AtomicU64,
}

impl<const WITH_INTENTS: bool> VyukovDoor<WITH_INTENTS> {
    fn end(&self) -> VyukovEnd<WITH_INTENTS> {
        let indices = self.0.indices;
        let number = indices.ends.0.fetch_add(1, Relaxed) as usize % INTENTS;
        VyukovEnd { memory: self.0, intent: &indices.intents[number].0 }
    }
}

impl<P: Payload, const INTENTS: bool> Door<P> for VyukovDoor<INTENTS> {
    type Tx = VyukovEnd<INTENTS>;
    type Rx = VyukovEnd<INTENTS>;

    fn tx(&self) -> Outcome<VyukovEnd<INTENTS>> {
        Ok(self.end())
    }

    fn rx(&self) -> Outcome<VyukovEnd<INTENTS>> {
        Ok(self.end())
    }
}

impl<const INTENTS: bool> VyukovEnd<INTENTS> {
    /// Waits for a position at `index` whose stamp is ahead of it by `ahead`, and claims it and
    /// those like it behind it, `max` together at the most. Where they begin, and how many they
    /// are.
    #[inline(always)]
    fn claim<P: Payload>(&self, index: &AtomicU64, ahead: u64, max: u64) -> (u64, u64) {
        let mut at = index.load(Relaxed);
        self.memory.pause.until(|| {
            loop {
                let mut count = 0;
                while count < max && self.stamp::<P>(at + count).load(Acquire) == at + count + ahead
                {
                    count += 1;
                }
                if count == 0 {
                    let now = index.load(Relaxed);
                    if now == at {
                        self.intend(0);
                        return None; // full, or empty
                    }
                    at = now;
                    continue;
                }
                self.intend(count << 40 | at & ((1 << 40) - 1));
                // Whoever sees the claim sees the intent.
                match index.compare_exchange_weak(at, at + count, Release, Relaxed) {
                    Ok(_) => return Some((at, count)),
                    Err(now) => at = now,
                }
            }
        })
    }

    #[inline(always)]
    fn intend(&self, what: u64) {
        if INTENTS {
            self.intent.store(what, Release);
        }
    }

    #[inline(always)]
    fn stamp<P: Payload>(&self, at: u64) -> &AtomicU64 {
        // SAFETY: a slot of the mapping, which stays; a stamp is only ever accessed as an atomic.
        unsafe { &(*self.memory.slot::<Cell<P>>(at)).stamp }
    }

    #[inline(always)]
    fn item<P: Payload>(&self, at: u64) -> *mut P {
        // SAFETY: a slot of the mapping, which stays; nothing but an address is taken.
        let item = unsafe { &raw const (*self.memory.slot::<Cell<P>>(at)).item };
        UnsafeCell::raw_get(item)
    }

    /// Publishes the first of these, of which there is one at least. How many.
    #[inline(always)]
    fn publish<P: Payload>(&self, items: &[P]) -> usize {
        let (at, count) = self.claim::<P>(&self.memory.indices.tail.0, 0, items.len() as u64);
        for (at, item) in (at..at + count).zip(items) {
            // SAFETY: claimed, so nobody else touches it until the stamp says published.
            unsafe { self.item::<P>(at).write(*item) };
        }
        (at..at + count).for_each(|at| self.stamp::<P>(at).store(at + 1, Release));
        self.intend(0);
        count as usize
    }

    /// Copies out `items` that it has claimed, from position `at` on, and frees their slots.
    #[inline(always)]
    fn take<P: Payload>(&self, at: u64, items: &mut [P]) {
        let positions = at..at + items.len() as u64;
        for (at, item) in positions.clone().zip(items) {
            // SAFETY: claimed, so nobody else touches it until the stamp says free.
            *item = unsafe { self.item::<P>(at).read() };
        }
        let lap = self.memory.mask + 1;
        positions.for_each(|at| self.stamp::<P>(at).store(at + lap, Release));
        self.intend(0);
    }
}

impl<P: Payload, const INTENTS: bool> Tx<P> for VyukovEnd<INTENTS> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.publish(std::slice::from_ref(item));
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, mut items: &[P]) -> Outcome {
        while !items.is_empty() {
            items = &items[self.publish(items)..];
        }
        Ok(())
    }
}

impl<P: Payload, const INTENTS: bool> Rx<P> for VyukovEnd<INTENTS> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let (at, _) = self.claim::<P>(&self.memory.indices.head.0, 1, 1);
        let mut item = [P::zeroed()];
        self.take(at, &mut item);
        look(&item[0]);
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let (at, count) = self.claim::<P>(&self.memory.indices.head.0, 1, max as u64);
        show(count as usize, |into| self.take(at, into), look);
        Ok(())
    }
}
