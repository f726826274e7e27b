//! One sender, one receiver, messages of any length: frames in a ring of words.
//!
//! A message is a frame: a word that says how many bytes it has, then its bytes, padded to whole
//! words. The sender is [`spsc::Producer`](super::spsc::Producer), which claims as many words as the
//! frame takes, and publishes them by one store of `tail` (P2). So `tail` moves by whole frames, and
//! whoever sees a frame's first word published sees all of it. The receiver is
//! [`spsc::Consumer`](super::spsc::Consumer) with a view of whole frames: what it claims is counted in
//! messages, what it releases moves `head` by whole frames.
//!
//! **A death** costs what it costs a ring of values: a message whose frame was not published does not
//! exist, one that was not released is received by the successor. Both positions are boundaries of
//! frames at every instant.
//!
//! **A hostile peer** writes any length into a frame, at any time. A frame that is longer than what is
//! published is damage (`Corrupt`), and nothing is claimed. Where a length is read again, at the
//! release or to copy the message out, the claim, which is private, bounds it.

use super::claims::RecvClaims;
use super::mem::{Mem, Shape, View};
use super::spsc::Consumer;
use super::{Kind, RecvCursor, Refused, Run, before};

/// Bytes of the word that a message begins with.
pub(crate) const HEADER: usize = 8;
/// The bits of it that are the length; the others are reserved, and zero.
pub(crate) const LENGTH: u64 = (1 << 48) - 1;

/// How many slots, each of a power of two of bytes, a message of so many bytes takes. `None`: more
/// than there can be.
#[inline(always)]
pub(crate) fn slots_of(len: u64, slot: usize) -> Option<u64> {
    debug_assert!(slot.is_power_of_two());
    let last = len.checked_add(HEADER as u64 - 1)?; // the last byte's place
    Some((last >> slot.trailing_zeros()) + 1)
}

/// What the message that begins at a position says of its length, in bytes.
#[inline(always)]
pub(crate) fn length<K: Kind>(mem: &Mem<K>, at: u64) -> u64 {
    mem.slots.header(at) & LENGTH
}

/// As many slots as the frame that begins at a position says, at most `most`.
#[inline(always)]
pub(super) fn frame<K: Kind>(mem: &Mem<K>, at: u64, most: u64) -> u64 {
    let slots = slots_of(length(mem, at), mem.slots.shape().stride);
    slots.map_or(most, |slots| slots.min(most))
}

/// How many frames begin in so many slots from a position on, as they say.
#[cold]
pub(super) fn count<K: Kind>(mem: &Mem<K>, at: u64, slots: u64) -> u64 {
    let (mut passed, mut frames) = (0, 0);
    while passed < slots {
        passed += frame(mem, at.wrapping_add(passed), slots - passed);
        frames += 1;
    }
    frames
}

/// The receiver's private view.
#[derive(Debug)]
pub struct Frames {
    /// Of single words.
    words: Consumer,
}

impl Frames {
    /// The whole frames, `max` at most, of which the first word has been claimed.
    #[inline(always)]
    fn whole<K: Kind>(&self, mem: &Mem<K>, run: Run, max: u64) -> Result<Run, Refused> {
        let seen = self.words.seen();
        let (mut slots, mut items, mut again) = (0, 0, 0);
        while items < max && slots < seen {
            // Not published whole: no sender does that.
            let frame = frame(mem, run.at.wrapping_add(slots), u64::MAX);
            if frame > seen - slots {
                return Err(Refused::Corrupt);
            }
            again += u64::from(slots < self.words.again());
            slots += frame;
            items += 1;
        }
        Ok(Run { at: run.at, slots, items, again })
    }

    /// How many slots the first `items` messages of a run have, by what their frames say now.
    #[inline(always)]
    fn slots_until<K: Kind>(mem: &Mem<K>, run: Run, items: u64) -> u64 {
        if items == run.items {
            return run.slots;
        }
        let first = (0..items).try_fold(0, |slots, _| {
            let left = run.slots - slots;
            (left > 0).then(|| slots + frame(mem, run.at.wrapping_add(slots), left))
        });
        first.unwrap_or(run.slots)
    }

    /// The same run, for the consumer of words.
    fn in_words(run: Run) -> Run {
        Run { items: run.slots, ..run }
    }
}

impl RecvCursor for Frames {
    const MAX_RUN: u64 = u64::MAX;

    fn attach<K: Kind>(mem: &Mem<K>, record: usize) -> Result<Self, Refused> {
        Ok(Self { words: Consumer::attach(mem, record)? })
    }

    #[inline(always)]
    fn claim(&mut self, mem: View<'_, impl Shape>, need: u64, max: u64) -> Result<Run, Refused> {
        debug_assert_eq!(need, 1, "messages are waited for one at a time");
        let first = self.words.claim(mem, 1, 1)?;
        let max = if self.words.adopts() { 1 } else { max };
        let run = self.whole(&mem, first, max)?;
        if run.items == max {
            return Ok(run);
        }
        // Fewer than asked for: looks whether there are more by now, as for items.
        let more = self.words.claim(mem, 1, run.slots + 1)?;
        self.whole(&mem, more, max)
    }

    fn claim_before(
        &mut self,
        mem: View<'_, impl Shape>,
        _: u64,
        end: u64,
    ) -> Result<Run, Refused> {
        // What was sent before a frame's first word ended before it, too.
        let run = self.claim(mem, 1, 1)?;
        if before(run.at, end) == 0 { Err(Refused::NotReady) } else { Ok(run) }
    }

    #[inline(always)]
    fn claim_one(&mut self, mem: View<'_, impl Shape>) -> Option<Run> {
        let first = self.words.claim_one(mem)?;
        self.whole(&mem, first, 1).ok()
    }

    fn hand_out<K: Kind>(&mut self, mem: &Mem<K>, run: Run) {
        self.words.hand_out(mem, Self::in_words(run));
    }

    fn redeliveries(&self) -> u32 {
        self.words.redeliveries()
    }

    fn items(&self, mem: View<'_, impl Shape>, run: Run) -> impl Iterator<Item = u64> {
        let mut slots = 0;
        (0..run.items).map_while(move |_| {
            let (at, left) = (run.at.wrapping_add(slots), run.slots - slots);
            (left > 0).then(|| {
                slots += frame(&mem, at, left);
                at
            })
        })
    }

    #[inline(always)]
    fn extent(&self, mem: View<'_, impl Shape>, run: Run, at: u64) -> u64 {
        if run.items == 1 {
            return run.slots;
        }
        frame(&mem, at, run.slots.saturating_sub(at.wrapping_sub(run.at)))
    }

    #[inline]
    fn release(&mut self, mem: View<'_, impl Shape>, run: Run, items: u64) {
        let slots = Self::slots_until(&mem, run, items);
        self.words.release(mem, Self::in_words(run), slots);
    }

    #[inline(always)]
    fn repeats(&self) -> bool {
        self.words.repeats()
    }

    fn held(&self) -> u64 {
        self.words.held()
    }

    #[inline(always)]
    fn may_pause(&mut self) -> bool {
        self.words.may_pause()
    }

    fn pauses<K: Kind>(&mut self, mem: &Mem<K>, clock: impl FnOnce() -> u64) -> u32 {
        self.words.pauses(mem, clock)
    }

    #[inline]
    fn waits(&mut self) {
        self.words.waits();
    }

    #[inline(always)]
    fn prefetch(&self, mem: View<'_, impl Shape>) {
        self.words.prefetch(mem);
    }
}

impl RecvClaims for Frames {}
