//! A ring with a pipe's manners: when to wait, when to say closed, whom to wake.
//!
//! The algorithms know slots, the roster knows who is there, the wake word knows who sleeps. This
//! puts them together, the same way for every kind of ring, still without a system call of its own:
//! the clock, the spinning and the proof of death come in as [`Pace`] and `alive`.
//!
//! **End-of-file** (receiving) is decided in this order: data; if none, is every sender gone; if
//! so, data again. A sender publishes before it frees its seat (A2), so the second look at the data
//! shows all it ever sent. What is claimed but not published keeps the answer open.
//!
//! **Broken pipe** (sending) is decided before data: a value is not put where nobody reads, even if
//! there is room. Until a receiver has come for the first time there is room, as in a FIFO that
//! waits for its reader.
//!
//! **Waking.** Who publishes wakes a receiver, who frees wakes a sender. On rings with several ends
//! of a kind, who took something while others of its kind sleep passes the wake on
//! ([`wait::word`](crate::wait::word) argues why).

use crate::peers::roster::{Ends, Role};
use crate::ring::control::Words;
use crate::ring::{Blocked, Kind, Mem, RecvCursor, Run, SendCursor};
use crate::wait::word::WakeWord;
use crate::wait::{Pace, Stop, block};

/// Why nothing was claimed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Full, or empty: later perhaps.
    NotReady,
    /// The opposite ends are gone, and on the receiving side everything is drained.
    Closed,
    /// The region is damaged.
    Corrupt,
}

/// Why nothing was claimed after waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    Closed,
    Corrupt,
    Stopped(Stop),
}

/// What an end does when it has waited for long: clears away who has died, and says whether some
/// opposite end is alive.
pub(crate) trait Alive: Fn() -> bool {}
impl<F: Fn() -> bool> Alive for F {}

/// A sending end.
pub(crate) struct SendEnd<T, K: Kind> {
    pub(crate) mem: Mem<T, K>,
    pub(crate) ends: Ends,
    cursor: K::Send,
}

/// A receiving end.
pub(crate) struct RecvEnd<T, K: Kind> {
    pub(crate) mem: Mem<T, K>,
    pub(crate) ends: Ends,
    cursor: K::Recv,
}

fn data<T, K>(mem: &Mem<T, K>) -> WakeWord<'_> {
    WakeWord::new(&mem.words.control.data.0)
}

fn space<T, K>(mem: &Mem<T, K>) -> WakeWord<'_> {
    WakeWord::new(&mem.words.control.space.0)
}

/// After a change of the roster: everybody looks again.
pub(crate) fn wake_everybody(words: &Words) {
    WakeWord::new(&words.control.data.0).wake_all();
    WakeWord::new(&words.control.space.0).wake_all();
}

impl<T: Copy, K: Kind> SendEnd<T, K> {
    /// For an end that already sits on the roster.
    pub(crate) fn new(mem: Mem<T, K>, cursor: K::Send) -> Self {
        let ends = Ends::attach(&mem.words, Role::Sender);
        Self { mem, ends, cursor }
    }

    /// Where this end sleeps.
    pub(crate) fn word(&self) -> WakeWord<'_> {
        space(&self.mem)
    }

    #[inline]
    pub(crate) fn try_claim(&mut self, need: u64, max: u64) -> Result<Run, Refused> {
        if self.ends.gone(&self.mem.words) {
            return Err(Refused::Closed);
        }
        match self.cursor.claim(&self.mem, need, max) {
            Ok(run) => Ok(run),
            Err(Blocked::Corrupt) => Err(Refused::Corrupt),
            Err(Blocked::NotReady | Blocked::Unpublished | Blocked::Contended) => {
                Err(Refused::NotReady)
            }
        }
    }

    /// Claims as [`try_claim`](Self::try_claim) does, but waits until that works or can not.
    #[cold]
    pub(crate) fn claim_waiting(
        &mut self,
        need: u64,
        max: u64,
        pace: &mut impl Pace,
        alive: impl Alive,
    ) -> Result<Run, GaveUp> {
        let word = self.mem.words.control.clone();
        block(
            WakeWord::new(&word.space.0),
            K::Send::SHARED,
            need > 1,
            pace,
            |doubt| {
                if doubt && !alive() {
                    self.ends.bury();
                }
                settle(self.try_claim(need, max))
            },
        )
        .unwrap_or_else(|stop| Err(GaveUp::Stopped(stop)))
    }

    /// Publishes the first `items` slots of a claimed run, gives up the rest, and wakes.
    #[inline]
    pub(crate) fn publish(&mut self, run: Run, items: u64) {
        self.cursor.publish(&self.mem, run, items);
        data(&self.mem).notify();
        if K::Send::SHARED && self.word().is_flagged() && self.cursor.another(&self.mem) {
            self.word().pass_on();
        }
    }

    /// Gives up a claim that a forgotten guard has left. The last thing an end does.
    pub(crate) fn close(&mut self) {
        self.cursor.close(&self.mem);
        data(&self.mem).notify();
    }

    /// Waits until a receiving end is attached.
    pub(crate) fn wait_for_peer(
        &mut self,
        pace: &mut impl Pace,
        alive: impl Alive,
    ) -> Result<(), Stop> {
        let word = self.mem.words.control.clone();
        block(
            WakeWord::new(&word.space.0),
            K::Send::SHARED,
            true,
            pace,
            |doubt| {
                if doubt && !alive() {
                    self.ends.bury();
                }
                self.ends.present(&self.mem.words).then_some(())
            },
        )
    }
}

impl<T: Copy, K: Kind> RecvEnd<T, K> {
    /// For an end that already sits on the roster.
    pub(crate) fn new(mem: Mem<T, K>, cursor: K::Recv) -> Self {
        let ends = Ends::attach(&mem.words, Role::Receiver);
        Self { mem, ends, cursor }
    }

    /// Where this end sleeps.
    pub(crate) fn word(&self) -> WakeWord<'_> {
        data(&self.mem)
    }

    #[inline]
    pub(crate) fn try_claim(&mut self, need: u64, max: u64) -> Result<Run, Refused> {
        match self.claim_once(need, max) {
            Err(Blocked::NotReady) => {}
            Err(Blocked::Corrupt) => return Err(Refused::Corrupt),
            Err(Blocked::Unpublished | Blocked::Contended) => return Err(Refused::NotReady),
            Ok(run) => return Ok(run),
        }
        if !self.ends.gone(&self.mem.words) {
            return Err(Refused::NotReady);
        }
        // A3 has shown us everything that those who left had stored: look once more.
        match self.claim_once(need, max) {
            Err(Blocked::NotReady) => Err(Refused::Closed),
            Err(Blocked::Corrupt) => Err(Refused::Corrupt),
            Err(Blocked::Unpublished | Blocked::Contended) => Err(Refused::NotReady),
            Ok(run) => Ok(run),
        }
    }

    #[inline]
    fn claim_once(&mut self, need: u64, max: u64) -> Result<Run, Blocked> {
        let outcome = self.cursor.claim(&self.mem, need, max);
        if K::Recv::SHARED && self.cursor.take_skipped() > 0 {
            space(&self.mem).notify();
        }
        outcome
    }

    /// Claims as [`try_claim`](Self::try_claim) does, but waits until that works or can not.
    #[cold]
    pub(crate) fn claim_waiting(
        &mut self,
        need: u64,
        max: u64,
        pace: &mut impl Pace,
        alive: impl Alive,
    ) -> Result<Run, GaveUp> {
        let word = self.mem.words.control.clone();
        block(
            WakeWord::new(&word.data.0),
            K::Recv::SHARED,
            need > 1,
            pace,
            |doubt| {
                if doubt && !alive() {
                    self.ends.bury();
                }
                settle(self.try_claim(need, max))
            },
        )
        .unwrap_or_else(|stop| Err(GaveUp::Stopped(stop)))
    }

    /// The position of item `index` of a claimed run.
    #[inline]
    pub(crate) fn find(&self, run: Run, index: u64) -> Option<u64> {
        self.cursor.find(&self.mem, run, index)
    }

    /// Frees the first `items` items of a claimed run, keeps the rest for this end, and wakes.
    #[inline]
    pub(crate) fn release(&mut self, run: Run, items: u64) {
        self.cursor.release(&self.mem, run, items);
        space(&self.mem).notify();
        if K::Recv::SHARED && self.word().is_flagged() && self.cursor.another(&self.mem) {
            self.word().pass_on();
        }
    }

    /// Items claimed and not released: they come first on the next claim, and alone.
    pub(crate) fn held(&self) -> u64 {
        self.cursor.held()
    }

    /// Discards what this end holds and has not released. The last thing an end does.
    pub(crate) fn close(&mut self) {
        self.cursor.close(&self.mem);
        space(&self.mem).notify();
    }

    /// Copies the first items of a claimed run into `into`, which is no longer than the run has
    /// items. Copies nothing that matters if a peer has corrupted the stamps.
    #[inline]
    pub(crate) fn copy_out(&self, run: Run, into: &mut [T]) -> Result<(), Refused> {
        if run.slots == run.items {
            self.mem.slots.read_run(run.at, into);
            return Ok(());
        }
        for (value, index) in into.iter_mut().zip(0..) {
            *value = self
                .mem
                .slots
                .read(self.find(run, index).ok_or(Refused::Corrupt)?);
        }
        Ok(())
    }

    /// Waits until a sending end is attached.
    pub(crate) fn wait_for_peer(
        &mut self,
        pace: &mut impl Pace,
        alive: impl Alive,
    ) -> Result<(), Stop> {
        let word = self.mem.words.control.clone();
        block(
            WakeWord::new(&word.data.0),
            K::Recv::SHARED,
            true,
            pace,
            |doubt| {
                if doubt && !alive() {
                    self.ends.bury();
                }
                self.ends.present(&self.mem.words).then_some(())
            },
        )
    }
}

/// A try inside a wait: `None` means wait on.
fn settle(tried: Result<Run, Refused>) -> Option<Result<Run, GaveUp>> {
    match tried {
        Err(Refused::NotReady) => None,
        Err(refused) => Some(Err(refused.into())),
        Ok(run) => Some(Ok(run)),
    }
}

impl From<Refused> for GaveUp {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => GaveUp::Closed,
            Refused::Corrupt => GaveUp::Corrupt,
            // Callers wait on instead; a spurious stop would be the mildest thing to report.
            Refused::NotReady => GaveUp::Stopped(Stop::Timeout),
        }
    }
}

/// Values in the ring: published or claimed, not yet claimed by a receiver. A snapshot.
pub(crate) fn len<T: Copy, K: Kind>(mem: &Mem<T, K>) -> u64 {
    use crate::sync::Ordering::Relaxed;
    // Relaxed: a snapshot of moving things, used for nothing but telling. Head first: it can only
    // have grown since, so the difference is never short of what was there.
    let head = mem.words.control.head.0.load(Relaxed);
    let tail = mem.words.control.tail.0.load(Relaxed);
    match tail.wrapping_sub(head) {
        len if len <= mem.slots.capacity() => len,
        len if (len as i64) < 0 => 0, // the head has passed the tail we read
        _ => mem.slots.capacity(),
    }
}
