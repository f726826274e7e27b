//! The same rings without what they are compared for: no crash protocol, no waiting, no end-of-file.
//!
//! [`BareMpmc`] is Vyukov's bounded queue with the slots of `ringpipe`'s MPMC ring (a 64-bit stamp of
//! lap and state, then the value), claims of several slots by one compare-and-swap, and nothing
//! else. With `INTENTS` it also stores what it is about to claim in a line of its own before each
//! claim, and clears it after the hand-over: what makes claims survive their owner.
//!
//! [`BareSpsc`] is a ring of two indices, each cached by the other side, published once per call.
//!
//! Values are copied as `ringpipe` copies them, by relaxed atomic words. A process that is killed
//! in a call wedges the first of these; one that waits polls both.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::harness::{Contender, Outcome, Rx, Tx, Value};
use crate::memory::Memory;

/// Words of the memory: the indices 128 bytes apart, as `ringpipe` has them, then the intents.
const TAIL: usize = 0;
const HEAD: usize = 16;
const INTENTS_AT: usize = 32;
const SLOTS_AT: usize = 512;

const PUBLISHED: u64 = 1;

/// One end of a bare ring.
#[derive(Debug)]
pub struct End<V> {
    memory: Memory,
    slots: NonNull<AtomicU64>,
    mask: u64,
    bits: u32,
    stride: usize,
    intent: usize,
    value: PhantomData<V>,
}

impl<V: Value> End<V> {
    fn new(address: &str, slots: usize, stamped: bool, end: usize) -> Outcome<Self> {
        let memory = Memory::open(address, bytes::<V>(slots))?;
        let stride = V::WORDS + usize::from(stamped);
        let (mask, bits) = (slots as u64 - 1, slots.trailing_zeros());
        let at = memory.from(SLOTS_AT);
        let intent = INTENTS_AT + 16 * end;
        Ok(Self { memory, slots: at, mask, bits, stride, intent, value: PhantomData })
    }

    #[inline(always)]
    fn word(&self, position: u64, word: usize) -> &AtomicU64 {
        let index = (position & self.mask) as usize * self.stride + word;
        // SAFETY: below `slots * stride` words, for which `bytes` has made room.
        let word = unsafe { self.slots.add(index) };
        // SAFETY: aligned, mapped for as long as `self`, and accessed by atomics alone.
        unsafe { word.as_ref() }
    }

    /// Relaxed, in both: the stamp or the index publishes them.
    #[inline(always)]
    fn write(&self, position: u64, first: usize, value: V) {
        for (i, &word) in value.words().iter().enumerate() {
            self.word(position, first + i).store(word, Relaxed);
        }
    }

    #[inline(always)]
    fn read(&self, position: u64, first: usize) -> V {
        V::from_words(|i| self.word(position, first + i).load(Relaxed))
    }

    #[inline(always)]
    fn free(&self, position: u64) -> u64 {
        position >> self.bits << 2
    }
}

/// The memory of a ring: a stamp for each slot, needed or not.
fn bytes<V: Value>(slots: usize) -> usize {
    (SLOTS_AT + slots * (V::WORDS + 1)) * 8
}

/// Vyukov's queue.
#[derive(Debug)]
pub struct BareMpmc<const INTENTS: bool>;

/// An end of it.
#[derive(Debug)]
pub struct MpmcEnd<V, const INTENTS: bool>(End<V>);

impl<V: Value, const INTENTS: bool> Contender<V> for BareMpmc<INTENTS> {
    type Arena = Memory;
    type Tx = MpmcEnd<V, INTENTS>;
    type Rx = MpmcEnd<V, INTENTS>;

    fn create(slots: usize) -> Outcome<(Memory, String)> {
        Memory::create(bytes::<V>(slots))
    }

    fn tx(address: &str, slots: usize, end: usize) -> Outcome<Self::Tx> {
        End::new(address, slots, true, end).map(MpmcEnd)
    }

    fn rx(address: &str, slots: usize, end: usize) -> Outcome<Self::Rx> {
        End::new(address, slots, true, end).map(MpmcEnd)
    }
}

impl<V: Value, const INTENTS: bool> MpmcEnd<V, INTENTS> {
    /// Claims up to `max` positions whose stamps are `state` from the index on. Where they begin,
    /// and how many they are.
    #[inline(always)]
    fn claim(&self, index: usize, state: u64, max: u64) -> (u64, u64) {
        let (end, index) = (&self.0, self.0.memory.word(index));
        let mut at = index.load(Acquire);
        loop {
            let mut count = 0;
            while count < max {
                let position = at.wrapping_add(count);
                if end.word(position, 0).load(Acquire) != end.free(position) | state {
                    break;
                }
                count += 1;
            }
            if count == 0 {
                let now = index.load(Acquire);
                if now == at {
                    self.done();
                    return (at, 0);
                }
                at = now;
                continue;
            }
            if INTENTS {
                end.memory.word(end.intent).store(count << 40 | at & ((1 << 40) - 1), Release);
            }
            match index.compare_exchange_weak(at, at.wrapping_add(count), Release, Acquire) {
                Ok(_) => return (at, count),
                Err(now) => at = now,
            }
        }
    }

    #[inline(always)]
    fn done(&self) {
        if INTENTS {
            self.0.memory.word(self.0.intent).store(0, Release);
        }
    }
}

impl<V: Value, const INTENTS: bool> Tx<V> for MpmcEnd<V, INTENTS> {
    #[inline(always)]
    fn one(&mut self, value: V) -> bool {
        Tx::many(self, &[value]) == 1
    }

    #[inline(always)]
    fn many(&mut self, values: &[V]) -> usize {
        let end = &self.0;
        let (at, count) = self.claim(TAIL, 0, values.len() as u64);
        for (position, &value) in (at..at + count).zip(values) {
            end.write(position, 1, value);
        }
        for position in at..at + count {
            end.word(position, 0).store(end.free(position) | PUBLISHED, Release);
        }
        if count > 0 {
            self.done();
        }
        count as usize
    }
}

impl<V: Value, const INTENTS: bool> Rx<V> for MpmcEnd<V, INTENTS> {
    #[inline(always)]
    fn one(&mut self) -> Option<V> {
        let mut into = [V::new(0)];
        (Rx::many(self, &mut into) == 1).then_some(into[0])
    }

    #[inline(always)]
    fn many(&mut self, into: &mut [V]) -> usize {
        let end = &self.0;
        let (at, count) = self.claim(HEAD, PUBLISHED, into.len() as u64);
        for (position, value) in (at..at + count).zip(into) {
            *value = end.read(position, 1);
        }
        for position in at..at + count {
            let next_lap = end.free(position + end.mask + 1);
            end.word(position, 0).store(next_lap, Release);
        }
        if count > 0 {
            self.done();
        }
        count as usize
    }
}

/// Two indices.
#[derive(Debug)]
pub struct BareSpsc;

/// An end of it: its own index, and the other's as last seen.
#[derive(Debug)]
pub struct SpscEnd<V> {
    end: End<V>,
    own: u64,
    other: u64,
}

impl<V: Value> Contender<V> for BareSpsc {
    type Arena = Memory;
    type Tx = SpscEnd<V>;
    type Rx = SpscEnd<V>;

    fn create(slots: usize) -> Outcome<(Memory, String)> {
        Memory::create(bytes::<V>(slots))
    }

    fn tx(address: &str, slots: usize, end: usize) -> Outcome<Self::Tx> {
        Ok(SpscEnd { end: End::new(address, slots, false, end)?, own: 0, other: 0 })
    }

    fn rx(address: &str, slots: usize, end: usize) -> Outcome<Self::Rx> {
        Ok(SpscEnd { end: End::new(address, slots, false, end)?, own: 0, other: 0 })
    }
}

impl<V: Value> Tx<V> for SpscEnd<V> {
    #[inline(always)]
    fn one(&mut self, value: V) -> bool {
        Tx::many(self, &[value]) == 1
    }

    #[inline(always)]
    fn many(&mut self, values: &[V]) -> usize {
        let (end, wanted) = (&self.end, values.len() as u64);
        let slots = end.mask + 1;
        if slots - (self.own - self.other) < wanted {
            self.other = end.memory.word(HEAD).load(Acquire);
        }
        let count = wanted.min(slots - (self.own - self.other));
        if count > 0 {
            for (position, &value) in (self.own..self.own + count).zip(values) {
                end.write(position, 0, value);
            }
            self.own += count;
            end.memory.word(TAIL).store(self.own, Release);
        }
        count as usize
    }
}

impl<V: Value> Rx<V> for SpscEnd<V> {
    #[inline(always)]
    fn one(&mut self) -> Option<V> {
        let mut into = [V::new(0)];
        (Rx::many(self, &mut into) == 1).then_some(into[0])
    }

    #[inline(always)]
    fn many(&mut self, into: &mut [V]) -> usize {
        let (end, wanted) = (&self.end, into.len() as u64);
        if self.other - self.own < wanted {
            self.other = end.memory.word(TAIL).load(Acquire);
        }
        let count = wanted.min(self.other - self.own);
        if count > 0 {
            for (position, value) in (self.own..self.own + count).zip(into) {
                *value = end.read(position, 0);
            }
            self.own += count;
            end.memory.word(HEAD).store(self.own, Release);
        }
        count as usize
    }
}
