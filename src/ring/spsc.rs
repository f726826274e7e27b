//! One producer, one consumer: two free-running positions, each written by one side.
//!
//! The slots `head .. tail` hold published values; the producer writes `tail`, the consumer `head`.
//! Each side keeps its own position privately (what stands in the region is a copy for the other
//! side, so scribbling over it cannot derail its owner) and remembers the other side's position
//! from its last look, which stays a safe under-estimate: the other side only ever frees more or
//! publishes more. It looks again only when the ring seems full or empty (the producer after a
//! thousand items or so, too), so in flow the two lines travel once per lap rather than once per message.
//! Where the consumer is the faster one, the ring seems empty again and again: it then lets a few
//! messages coalesce before it looks ([`coalesce`](crate::wait::coalesce)). The producer asks for
//! the lines of slots ahead, so that its stores need not wait for them. And the consumer that waits
//! for a message finds a small one on the line of `tail` itself ([`inline`](super::inline)).
//!
//! Why a value is whole when it is read: the producer's copy into slot `p` precedes its store of
//! `tail = p + 1` (P2), the consumer loads that value or a later one (C1) before it copies out of
//! slot `p`. Why it is not overwritten meanwhile: the consumer's copy out of slot `p` precedes its
//! store of `head = p + 1` (C2), the producer loads that value or a later one (P1) before it writes
//! slot `p` again one lap later. Nothing else is shared, but for hints.
//!
//! What a death costs: the producer's items since its last P2 do not exist; the consumer's since
//! its last C2 are received by its successor. Both positions are always whole, so a successor
//! starts from them and needs no repair. A consumer that hands items out before it releases them
//! leaves word in its endpoint record of how far, so that the successor can tell which it receives
//! again. The successor receives these one at a time, and the record says also how often the one at
//! the head was handed out ([`deliveries`](super::deliveries)).
//!
//! Wait-free: every step is bounded. Source: Lamport 1977 ("Proving the correctness of
//! multiprocess programs"), with the cached positions of FastForward/MCRingBuffer and rtrb.

use super::claims::{RecvClaims, SendClaims};
use super::deliveries::{is_exhausted, once_more, times_of, word};
use super::mem::{Fixed, Mem, Shape, View};
use super::{Content, Kind, RecvCursor, Refused, Run, SendCursor, frames, inline};
use bytemuck::{AnyBitPattern, NoUninit};

use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::wait::coalesce::Coalesce;

/// How far `tail` is ahead of `head`, unless that is more than the ring can hold.
fn used(head: u64, tail: u64, capacity: u64) -> Result<u64, Refused> {
    let used = tail.wrapping_sub(head);
    if used > capacity {
        return Err(Refused::Corrupt);
    }
    Ok(used)
}

/// The producer's private view.
#[derive(Debug)]
pub struct Producer {
    /// The next position to write: the truth, of which the region holds the published copy.
    tail: u64,
    /// `head` as last seen.
    head_seen: u64,
    /// The slots before this position are free: those that were at the last look, or a while's.
    free_until: u64,
    /// The ring was empty then: a copy of each item goes beside the tail.
    copies: bool,
    /// Where a position has one of these bits, an item before it is published, and that is all.
    quiet: u64,
}

/// The most messages that a producer sends before it looks at `head` again, unless it claims more at
/// once: whether copies are worth it is decided then.
const A_WHILE: u64 = 1024;

impl Producer {
    /// Looks how many slots are free. `many`: so many are to be sent at once.
    #[inline]
    fn look<K: Kind>(&mut self, mem: &Mem<K>, many: u64) -> Result<u64, Refused> {
        let capacity = mem.slots.capacity();
        let head = mem.words.control.head.load(Acquire); // P1 ← C2: slots before it have been read
        let free = capacity - used(head, self.tail, capacity)?;
        self.head_seen = head;
        self.free_until = self.tail.wrapping_add(free.min(many.max(A_WHILE * K::UNIT)));
        self.copies = free == capacity;
        self.quiet = if self.copies { 0 } else { mem.slots.in_line() };
        Ok(free)
    }

    /// So many items have been published: asks for the lines of a slot that comes soon.
    #[inline(always)]
    fn ask_ahead(&self, mem: View<'_, impl Shape>, items: u64) {
        // Once a line, if it has several slots.
        if !mem.slots.begun_line(self.tail, items) {
            return;
        }
        let (ahead, used) = (mem.slots.ahead(), self.tail.wrapping_sub(self.head_seen));
        // Not out of the consumer's hands: if it has left that slot, like all others of that line.
        if used + 2 * ahead + items < mem.slots.capacity() {
            // Where a call takes more than that, what the next one will begin with.
            let from = if items > ahead { 0 } else { ahead };
            mem.prefetch_to_write(self.tail.wrapping_add(from), items);
        }
    }
}

impl SendCursor for Producer {
    const MAX_RUN: u64 = u64::MAX;

    fn attach<K: Kind>(mem: &Mem<K>, _: usize) -> Result<Self, Refused> {
        let control = &mem.words.control;
        // Relaxed: whoever wrote it held this role before us, and taking the role's lock orders us
        // after it.
        let tail = control.tail.at.load(Relaxed);
        // Relaxed: whether the positions make sense. It looks before it sends.
        let head_seen = control.head.load(Relaxed);
        used(head_seen, tail, mem.slots.capacity())?;
        inline::invalidate(&control.tail);
        Ok(Self { tail, head_seen, free_until: tail, copies: false, quiet: 0 })
    }

    #[inline(always)]
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused> {
        let mut free = self.free_until.wrapping_sub(self.tail);
        if max > free {
            // Possibly full: look again.
            free = self.look(&mem, max)?;
            if free < need {
                return Err(Refused::NotReady);
            }
        }
        let slots = free.min(max);
        Ok(Run { at: self.tail, slots, items: slots, again: 0 })
    }

    #[inline(always)]
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run> {
        if self.tail == self.free_until && self.look(&mem, 1).ok()? == 0 {
            return None;
        }
        Some(Run { at: self.tail, slots: 1, items: 1, again: 0 })
    }

    #[inline(always)]
    fn write_one<T: NoUninit, K: Kind>(
        &self,
        mem: View<'_, Fixed<T, K>>,
        run: Run,
        value: &T,
    ) -> bool {
        let end = run.at.wrapping_add(1);
        mem.write(run.at, value);
        let all = end & self.quiet != 0;
        if !all && inline::fits::<T>() && self.copies {
            inline::put(&mem.words.control.tail, end, value);
        }
        all
    }

    #[inline(always)]
    fn publish_one(&mut self, mem: View<'_, impl Shape>, run: Run, all: bool) {
        debug_assert!(run.at == self.tail && run.slots == 1);
        self.tail = run.at.wrapping_add(1);
        mem.words.control.tail.at.store(self.tail, Release); // P2 → C1: the value before it is written
        if !all {
            self.ask_ahead(mem, 1);
        }
    }

    #[inline]
    fn publish(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64) {
        debug_assert!(run.at == self.tail && items <= run.slots);
        debug_assert!(self.tail.wrapping_sub(self.head_seen) + items <= mem.slots.capacity());
        self.tail = self.tail.wrapping_add(items);
        mem.words.control.tail.at.store(self.tail, Release); // P2 → C1: values before it are written
        self.ask_ahead(mem, items);
    }
}

impl SendClaims for Producer {}

/// The consumer's private view.
#[derive(Debug)]
pub struct Consumer {
    /// The next position to read: the truth, of which the region holds the published copy.
    head: u64,
    /// `tail` as last seen.
    tail_seen: u64,
    /// The same, or `head`, and nothing else whatever peers store: items before this position can be
    /// had without a look, and without a word about who had them before, as none has been handed
    /// out, nor had the one before them. It is `head` as long as some come [`again`](Self::again),
    /// and after a look that found too few.
    at_once_until: u64,
    /// `tail` was one ahead then: a copy of that item may lie beside it.
    lone: bool,
    /// It did, and was taken.
    copied: bool,
    /// So many of the next items have been handed out unreleased before, by this consumer or, as
    /// the region told, by one before it. They are received again.
    again: u64,
    /// So many of these, the first ones, by one before it. They come one at a time.
    adopted: u64,
    /// How often the first of the adopted had been handed out before.
    times: u32,
    record: usize,
    coalesce: Coalesce,
    /// The last position whose item was not there in time.
    waited_at: Option<u64>,
}

#[cfg(all(test, not(loom)))]
impl Consumer {
    pub(crate) fn coalesce(&self) -> &Coalesce {
        &self.coalesce
    }
}

impl Consumer {
    /// How many of the next items there are, if they are enough.
    #[inline(always)]
    fn claim_slots(
        &mut self,
        mem: View<'_, impl Shape>,
        need: u64,
        max: u64,
    ) -> Result<u64, Refused> {
        let mut ready = self.tail_seen.wrapping_sub(self.head);
        if max > ready {
            // Possibly empty: look again.
            let tail = mem.words.control.tail.at.load(Acquire); // C1 ← P2: values before it are written
            ready = used(self.head, tail, mem.slots.capacity())?;
            self.tail_seen = tail;
            if ready < need {
                self.at_once_until = self.head; // a peer may have taken items back
                return Err(Refused::NotReady);
            }
            self.lone = ready == 1;
            self.copied = false;
        }
        Ok(ready.min(max))
    }

    /// Of the next items, the first ones were handed out before; if by a predecessor, the first
    /// comes alone.
    #[cold]
    fn claim_again(
        &mut self,
        mem: View<'_, impl Shape>,
        need: u64,
        max: u64,
    ) -> Result<Run, Refused> {
        if self.adopted > 0 && need > 1 {
            return Err(Refused::Held);
        }
        let max = if self.adopted > 0 { 1 } else { max };
        let slots = self.claim_slots(mem, need, max)?;
        Ok(Run { at: self.head, slots, items: slots, again: self.again.min(slots) })
    }

    /// So many of the next slots have been seen to be published.
    #[inline(always)]
    pub(super) fn seen(&self) -> u64 {
        self.tail_seen.wrapping_sub(self.head)
    }

    /// So many of these have been handed out before.
    #[inline(always)]
    pub(super) fn again(&self) -> u64 {
        self.again
    }

    /// The next item is one that a predecessor had handed out: it comes alone.
    #[inline(always)]
    pub(super) fn adopts(&self) -> bool {
        self.adopted > 0
    }

    /// Of those that a predecessor had handed out, so many are released.
    #[cold]
    fn released_adopted(&mut self, items: u64) {
        self.adopted = self.adopted.saturating_sub(items);
        self.times = once_more(0); // that of the next
    }
}

impl RecvCursor for Consumer {
    const MAX_RUN: u64 = u64::MAX;
    const AT_HAND: usize = inline::LARGEST;

    fn attach<K: Kind>(mem: &Mem<K>, record: usize) -> Result<Self, Refused> {
        let control = &mem.words.control;
        // Relaxed: whoever wrote it held this role before us, and taking the role's lock orders us
        // after it.
        let head = control.head.load(Relaxed);
        let tail_seen = control.tail.at.load(Acquire); // C1 ← P2: values before it are written
        let filled = used(head, tail_seen, mem.slots.capacity())?;
        let line = &mem.words.records[record];
        // Relaxed, and brought into range: it decides no more than what is called redelivered.
        let handed_out = line.handed_out.load(Relaxed).wrapping_sub(head);
        let again = if handed_out <= filled { handed_out } else { 0 };
        // Relaxed: as that. It decides no more than how often.
        let times = times_of(line.deliveries.load(Relaxed), head);
        let exhausted = again > 0 && is_exhausted(times, mem.delivery_limit);
        let dropped = match (mem.drop_unreleased, exhausted) {
            (true, _) => again,
            (false, true) if K::MESSAGES => frames::frame(mem, head, again),
            (false, exhausted) => u64::from(exhausted),
        };
        let again = again - dropped;
        let consumer = Self {
            head: head.wrapping_add(dropped),
            tail_seen,
            at_once_until: head.wrapping_add(dropped),
            lone: false,
            copied: false,
            again,
            // Of bytes none is an item that could be counted by itself.
            adopted: if K::INFO.content == Content::Byte { 0 } else { again },
            // Behind the head, nothing was handed out alone.
            times: once_more(if dropped > 0 { 0 } else { times }),
            record,
            coalesce: Coalesce::new(),
            waited_at: None,
        };
        if dropped > 0 {
            let items = if K::MESSAGES { frames::count(mem, head, dropped) } else { dropped };
            control.head.store(consumer.head, Release); // C2 → P1: nobody will read them
            // Statistics. Behind the head: killed between the two, nothing is counted twice.
            match mem.drop_unreleased {
                true => _ = control.tally.dropped.fetch_add(items, Relaxed),
                false => control.tally.exhaust(items),
            }
        }
        Ok(consumer)
    }

    #[inline(always)]
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused> {
        if self.again > 0 {
            return self.claim_again(mem, need, max);
        }
        let slots = self.claim_slots(mem, need, max)?;
        self.at_once_until = self.tail_seen;
        Ok(Run { at: self.head, slots, items: slots, again: 0 })
    }

    #[inline(always)]
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run> {
        let slots = self.claim_slots(mem, 1, 1).ok()?;
        // Behind the look, so that the release, which asks the same, need not.
        if self.again > 0 {
            return None;
        }
        self.at_once_until = self.tail_seen;
        Some(Run { at: self.head, slots, items: slots, again: 0 })
    }

    #[inline(always)]
    fn claim_seen(&mut self) -> Option<Run> {
        let seen = self.at_once_until != self.head;
        seen.then_some(Run { at: self.head, slots: 1, items: 1, again: 0 })
    }

    #[inline(always)]
    fn release_one(&mut self, mem: View<'_, impl Shape>, run: Run) {
        debug_assert!(run.at == self.head && self.again == 0);
        mem.write_back(run.at, 1);
        self.head = run.at.wrapping_add(1);
        mem.words.control.head.store(self.head, Release); // C2 → P1: slots before it have been read
    }

    #[inline(always)]
    fn at_hand<T: AnyBitPattern, K: Kind>(
        &mut self,
        mem: View<'_, Fixed<T, K>>,
        at: u64,
    ) -> Option<T> {
        if !inline::fits::<T>() || !self.lone {
            return None;
        }
        let copy = inline::get(&mem.words.control.tail, at.wrapping_add(1));
        self.copied = copy.is_some();
        copy
    }

    fn hand_out<K: Kind>(&mut self, mem: &Mem<K>, run: Run) {
        let line = &mem.words.records[self.record];
        // Relaxed, both: on this end's own line, for its successor, who is ordered after all of it.
        self.at_once_until = self.head;
        if run.slots > self.again {
            self.again = run.slots;
            line.handed_out.store(run.at.wrapping_add(run.slots), Relaxed);
        } else if self.adopted > 0 {
            line.deliveries.store(word(run.at, self.times), Relaxed);
        }
    }

    fn redeliveries(&self) -> u32 {
        if self.adopted > 0 { self.times } else { 0 }
    }

    fn items(&self, _: View<'_, impl Shape>, run: Run) -> impl Iterator<Item = u64> {
        (0..run.items).map(move |index| run.at.wrapping_add(index))
    }

    #[inline]
    fn release(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64) {
        debug_assert!(run.at == self.head && items <= run.items);
        debug_assert!(items <= self.tail_seen.wrapping_sub(self.head), "released what was seen");
        mem.write_back(self.head, items);
        self.head = self.head.wrapping_add(items);
        if self.again > 0 {
            self.at_once_until = self.head;
            self.again = self.again.saturating_sub(items);
            if self.adopted > 0 {
                self.released_adopted(items);
            }
        }
        mem.words.control.head.store(self.head, Release); // C2 → P1: slots before it have been read
    }

    #[inline(always)]
    fn repeats(&self) -> bool {
        self.again > 0
    }

    fn held(&self) -> u64 {
        self.adopted // none is claimed: the head has not moved
    }

    #[inline(always)]
    fn may_pause(&mut self) -> bool {
        let drained = self.tail_seen == self.head && self.waited_at != Some(self.head);
        drained && !self.coalesce.rests()
    }

    fn pauses<K: Kind>(&mut self, mem: &Mem<K>, clock: impl FnOnce() -> u64) -> u32 {
        self.coalesce.drained(self.head / K::UNIT, mem.slots.capacity() / K::UNIT, clock)
    }

    #[inline]
    fn waits(&mut self) {
        self.coalesce.waits();
        self.waited_at = Some(self.head);
    }

    #[inline(always)]
    fn prefetch(&self, mem: View<'_, impl Shape>) {
        // Not out of the producer's hands, where nobody else needs that line.
        if !self.copied {
            mem.prefetch(self.head);
        }
    }
}

impl RecvClaims for Consumer {}
