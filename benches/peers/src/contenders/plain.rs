//! What our own rings are made of, and nothing else: the same algorithms without waiting, without
//! a crash protocol, without distrust of the peer. They show what those cost. Not for use: a killed
//! peer stops them for ever.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering::*};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;
use crate::control::shared;

const NO_SLEEP: &str = "it cannot sleep";

fn spins(link: &Link) -> Result<(), &'static str> {
    match link.wait {
        Wait::Usual | Wait::Spin => Ok(()),
        Wait::Sleep | Wait::Adaptive => Err(NO_SLEEP),
    }
}

/// A memfd of a size, and what maps it.
fn lay(len: usize) -> Outcome<Laid> {
    let fd = memfd_create("peers-plain", MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, len as u64)?;
    Ok(Laid::of([fd]))
}

#[repr(C, align(128))]
struct Line(AtomicU64);

#[repr(C)]
struct Indices {
    tail: Line,
    head: Line,
}

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
        let indices = shared::<Indices>(link.fds[0], len)?;
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

/// Lamport's queue with private copies of the peer's index.
pub struct Spsc;

fn spsc_len<P>(link: &Link) -> usize {
    SLOTS_AT + link.capacity * size_of::<P>()
}

impl Contender for Spsc {
    const NAME: &'static str = "plain-spsc";
    type Door<P: Payload> = SpscDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        if !link.one_to_one() {
            return Err("one sender, one receiver");
        }
        spins(link)
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        lay(spsc_len::<P>(link))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<SpscDoor> {
        Ok(SpscDoor(Memory::open(link, spsc_len::<P>(link))?))
    }
}

pub struct SpscDoor(Memory);

/// One side: its own index, and what it last saw of the other's.
pub struct Side {
    memory: Memory,
    mine: u64,
    theirs: u64,
}

impl<P: Payload> Door<P> for SpscDoor {
    type Tx = Side;
    type Rx = Side;

    fn tx(&self) -> Outcome<Side> {
        Ok(Side { memory: self.0, mine: 0, theirs: 0 })
    }

    fn rx(&self) -> Outcome<Side> {
        Ok(Side { memory: self.0, mine: 0, theirs: 0 })
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
            let room = self.room().min(items.len() as u64);
            let now = self.adjacent(room);
            let slot = self.memory.slot::<P>(self.mine).cast_mut();
            // SAFETY: `now` adjacent slots are free until `tail` passes them.
            unsafe { slot.copy_from_nonoverlapping(items.as_ptr(), now as usize) };
            self.mine += now;
            self.memory.indices.tail.0.store(self.mine, Release);
            items = &items[now as usize..];
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
        const MOST: usize = 1 << 16;
        let items = self.items().min(max as u64);
        let now = self.adjacent(items);
        let slot = self.memory.slot::<P>(self.mine);
        // Copied out, as the contenders that return values do.
        thread_local!(static BUFFER: UnsafeCell<Vec<u64>> = UnsafeCell::new(vec![0; MOST / 8]));
        BUFFER.with(|buffer| {
            // SAFETY: this thread's, and not borrowed elsewhere: `look` does not receive.
            let words = unsafe { &mut *buffer.get() };
            let into: &mut [P] = bytemuck::cast_slice_mut(words);
            let into = &mut into[..now as usize];
            // SAFETY: `now` adjacent published slots, which stay until `head` passes them.
            unsafe { slot.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
            self.mine += now;
            self.memory.indices.head.0.store(self.mine, Release);
            into.iter().for_each(look);
        });
        Ok(())
    }
}

/// Vyukov's bounded queue.
pub struct Vyukov;

#[repr(C)]
struct Cell<P> {
    stamp: AtomicU64,
    item: UnsafeCell<P>,
}

fn vyukov_len<P>(link: &Link) -> usize {
    SLOTS_AT + link.capacity * size_of::<Cell<P>>()
}

impl Contender for Vyukov {
    const NAME: &'static str = "plain-vyukov";
    type Door<P: Payload> = VyukovDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        spins(link)
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

    fn door<P: Payload>(link: &Link) -> Outcome<VyukovDoor> {
        Ok(VyukovDoor(Memory::open(link, vyukov_len::<P>(link))?))
    }
}

pub struct VyukovDoor(Memory);

/// An end of either side; all state is shared.
pub struct VyukovEnd(Memory);

impl<P: Payload> Door<P> for VyukovDoor {
    type Tx = VyukovEnd;
    type Rx = VyukovEnd;

    fn tx(&self) -> Outcome<VyukovEnd> {
        Ok(VyukovEnd(self.0))
    }

    fn rx(&self) -> Outcome<VyukovEnd> {
        Ok(VyukovEnd(self.0))
    }
}

impl VyukovEnd {
    /// Claims the next position of `index` whose stamp is ahead of it by `ahead`.
    #[inline(always)]
    fn claim<P: Payload>(&self, index: &AtomicU64, ahead: u64) -> (u64, &Cell<P>) {
        let mut at = index.load(Relaxed);
        self.0.pause.until(|| {
            loop {
                // SAFETY: a slot of the mapping, which stays; its item is touched by owners only.
                let cell = unsafe { &*self.0.slot::<Cell<P>>(at) };
                let stamp = cell.stamp.load(Acquire);
                if stamp != at + ahead {
                    let now = index.load(Relaxed);
                    if now == at {
                        return None; // full, or empty
                    }
                    at = now;
                    continue;
                }
                match index.compare_exchange_weak(at, at + 1, Relaxed, Relaxed) {
                    Ok(_) => return Some((at, cell)),
                    Err(now) => at = now,
                }
            }
        })
    }
}

impl<P: Payload> Tx<P> for VyukovEnd {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        let (at, cell) = self.claim::<P>(&self.0.indices.tail.0, 0);
        // SAFETY: claimed, so nobody else touches it until the stamp says published.
        unsafe { cell.item.get().write(*item) };
        cell.stamp.store(at + 1, Release);
        Ok(())
    }
}

impl<P: Payload> Rx<P> for VyukovEnd {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let (at, cell) = self.claim::<P>(&self.0.indices.head.0, 1);
        // SAFETY: claimed, so nobody else touches it until the stamp says free.
        let item = unsafe { cell.item.get().read() };
        cell.stamp.store(at + self.0.mask + 1, Release);
        look(&item);
        Ok(())
    }
}
