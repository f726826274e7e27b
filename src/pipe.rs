//! A ring with a pipe's manners: when to wait, when to say closed, whom to wake.
//!
//! The algorithms know slots, the endpoint table knows who is there, the wake word knows who sleeps. This
//! puts them together, the same way for every kind of ring, still without a system call of its own:
//! the clock, the spinning and the proof of death come in as [`Pace`] and `alive`.
//!
//! **End-of-file** (receiving) is decided in this order: data; if none, is every sender gone; if
//! so, data again. A sender publishes before it frees its record (A2), so the second look at the data
//! shows all it ever sent. What is claimed but not published keeps the answer open.
//!
//! **Broken pipe** (sending) is decided before data: a value is not put where nobody reads, even if
//! there is room. Until a receiver has come for the first time there is room, as in a FIFO that
//! waits for its reader.
//!
//! Nor is it end-of-file while a receiver that is gone has left claimed items behind: those are
//! taken over first.
//!
//! **Waking.** Who publishes wakes a receiver, who frees wakes a sender. On rings with several ends
//! of a kind, who took something while others of its kind sleep passes the wake on
//! ([`wait::word`](crate::wait::word) argues why).
//!
//! **Doubt.** An end that has waited for as long as an interval asks who is alive ([`reap`](crate::peers::reap)): the dead
//! lose their records, what they had claimed is settled ([`ring::recovery`](crate::ring::recovery)),
//! and a receiver that asks takes over what a dead one had not released.

use crate::peers::calm::Calm;
use crate::peers::ends::{Before, Ends};
use crate::peers::reap::{Findings, Life, Liveness, peer_alive, peer_life, reap_pass};
use crate::peers::table::{self, Name, Role};
use crate::ring::control::Words;
use crate::ring::{Blocked, Kind, Mem, RecvCursor, Run, SendCursor};
use crate::sync::Ordering::Relaxed;
use crate::sync::spin_loop;
use crate::wait::watch::Watch;
use crate::wait::word::WakeWord;
use crate::wait::{Look, Pace, Stop, Waiter, block};

#[cfg(all(test, not(loom)))]
#[path = "pipe/tests.rs"] // for those who include this file from elsewhere (loom-tests)
mod tests;

/// Why nothing was claimed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Full, or empty: later perhaps.
    NotReady,
    /// The opposite ends are gone, and on the receiving side everything is drained.
    Closed,
    /// The region is damaged.
    Corrupt,
    /// Receiving: this end holds items, fewer than needed; they come first and alone.
    Held,
    /// Receiving: holes split what is there; no more than so many are adjacent.
    Fragmented(u64),
    /// The handle is a copy in a forked child.
    Forked,
    /// Nothing to claim, and who is alive cannot be asked any more.
    DescriptorLost,
}

impl From<Blocked> for Refused {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::NotReady | Blocked::Contended => Refused::NotReady,
            Blocked::Held => Refused::Held,
            Blocked::Fragmented(adjacent) => Refused::Fragmented(adjacent),
            Blocked::Corrupt => Refused::Corrupt,
        }
    }
}

/// Why nothing was claimed after waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// There was no waiting.
    NotReady,
    Closed,
    Corrupt,
    Held,
    Fragmented(u64),
    Forked,
    Stopped(Stop),
}

/// More slots than one can look through as fast as at the clock.
const LONG_RUN: u64 = 256;

/// How often to poll at up to `max` slots before looking at the clock: a look through many takes
/// long by itself, beside a scribbler at any rate.
pub(crate) fn polls(max: u64) -> u32 {
    if max > LONG_RUN { 4 } else { u32::MAX }
}

/// A look at which it is time for a liveness check.
const CHECK: Look = Look::Full { check_due: true };

/// How many ends that succeed each other while it asks for one that is closed are looked through.
const SUCCESSIONS: u32 = 8;

/// What both ends of a ring do in the same way, from what each does in its own.
pub(crate) trait End {
    /// Whom this end waits for.
    const OPPOSITE: Role;
    /// Others of this role may sleep at the same word.
    const SHARED: bool;

    /// Where ends of this role sleep.
    fn word_in(words: &Words) -> WakeWord<'_>;

    /// This end, to the others.
    fn me(&self) -> Name;

    /// What this end knows of the others, and where it learns more.
    fn ends(&mut self) -> (&mut Ends, &Words);

    /// Slots.
    fn capacity(&self) -> u64;

    /// How many pauses to make before looking again for something to claim.
    fn coalesce(&self) -> u32;

    /// What [`try_claim`](Self::try_claim) does when all is as it mostly is. `None`: that one knows
    /// better; nothing is left claimed, or intended.
    fn claim_at_once(&mut self, need: u64, max: u64) -> Option<Run>;

    /// A claim is to come that may take a moment: lets more to claim coalesce, if that is worth it.
    /// `clock`: of nanoseconds.
    fn let_coalesce(&mut self, _clock: impl FnOnce() -> u64) {}

    /// The claim has to be waited for.
    fn waits(&mut self) {}

    /// The next poll is to come: asks for the lines that it reveals, beside the one that it reads.
    fn prefetch(&self) {}

    /// Claims at least `need` slots, at most `max`, if that works without waiting. `liveness` is asked
    /// only before a receiver says closed.
    fn try_claim(&mut self, need: u64, max: u64, liveness: &impl Liveness) -> Result<Run, Refused>;

    /// Looks for the dead: see [`reap`](crate::peers::reap).
    fn check_liveness(&mut self, liveness: &impl Liveness) -> Findings;

    /// There is something that another end of this role could claim.
    fn another(&self) -> bool;

    /// There is an abandoned claim that this end might take over: no need to wait for doubt.
    fn take_more_to_adopt(&mut self) -> bool {
        false
    }

    /// Claims as [`try_claim`](Self::try_claim) does, but waits until that works or can not. Inlined
    /// into the cold path of each call: from the poll that finds something to the return, every hop
    /// of the result through memory would delay a message by as much as a cache line's trip.
    #[inline]
    fn claim_waiting(
        &mut self,
        need: u64,
        max: u64,
        pace: &mut impl Pace,
        liveness: &impl Liveness,
    ) -> Result<Run, GaveUp> {
        let words = self.ends().1.clone();
        let role = Self::OPPOSITE.opposite();
        let alive = |record| liveness.alive(role, record) != Life::Dead;
        let waiter = Waiter {
            word: Self::word_in(&words),
            shared: Self::SHARED,
            picky: need > 1,
            coalesce: self.coalesce(),
            polls: polls(max),
            watch: Self::SHARED.then(|| Watch::new(&words, role, self.me(), &alive)),
        };
        block(waiter, pace, |look| {
            let mut lost = false;
            match look {
                Look::Poll => {
                    self.prefetch();
                    return self.claim_at_once(need, max).map(Ok);
                }
                Look::Full { check_due: true } => lost = self.check_liveness(liveness).lost,
                Look::Full { check_due: false } => {}
            }
            let settled = settle(self.try_claim(need, max, liveness));
            if settled.is_some() || lost {
                return settled.or(Some(Err(Refused::DescriptorLost.into())));
            }
            if self.take_more_to_adopt() {
                self.check_liveness(liveness);
                return settle(self.try_claim(need, max, liveness));
            }
            if Self::SHARED && need > 1 && look == CHECK && self.another() {
                waiter.word.prompt(false);
            }
            None
        })
        .unwrap_or_else(|stop| Err(GaveUp::Stopped(stop)))
    }

    /// Ends of the other role were there, and the locks say that none lives now, whatever the endpoint table
    /// says.
    fn is_closed(&mut self, liveness: &impl Liveness) -> bool {
        let (ends, words) = self.ends();
        for _ in 0..SUCCESSIONS {
            // The endpoint table first: who comes after this look moves `changes` on, and is looked for again.
            if ends.gone(words) {
                return true;
            }
            if !ends.met() || peer_alive(words, Self::OPPOSITE, liveness) {
                return false;
            }
            // Records are read one by one, as in a scan: nobody was there only if nothing has changed.
            if ends.up_to_date(words) {
                ends.opposite_gone();
                return true;
            }
        }
        false
    }

    /// Waits until an end of the other role is attached.
    fn wait_for_peer(
        &mut self,
        pace: &mut impl Pace,
        liveness: &impl Liveness,
    ) -> Result<(), Stop> {
        let words = self.ends().1.clone();
        let role = Self::OPPOSITE.opposite();
        let alive = |record| liveness.alive(role, record) != Life::Dead;
        let waiter = Waiter {
            word: Self::word_in(&words),
            shared: Self::SHARED,
            picky: true,
            coalesce: 0,
            polls: u32::MAX,
            watch: Self::SHARED.then(|| Watch::new(&words, role, self.me(), &alive)),
        };
        block(waiter, pace, |look| {
            if look == CHECK {
                if self.check_liveness(liveness).lost {
                    return Some(Err(Stop::DescriptorLost));
                }
                // It takes no items, nor does it end its wait for their end: others do.
                let (ends, words) = self.ends();
                let gone = ends.gone(words);
                if Self::SHARED && (gone || self.another()) {
                    waiter.word.prompt(gone);
                }
            }
            let (ends, words) = self.ends();
            if !ends.present(words) {
                return None;
            }
            // The dead on the endpoint table are no peers.
            match peer_life(words, Self::OPPOSITE, liveness) {
                Life::Alive => Some(Ok(())),
                Life::Dead => None,
                Life::Unknown => Some(Err(Stop::DescriptorLost)),
            }
        })?
    }
}

/// A sending end.
pub(crate) struct SendEnd<T, K: Kind> {
    pub(crate) mem: Mem<T, K>,
    /// This end, to the others.
    pub(crate) me: Name,
    pub(crate) ends: Ends,
    calm: Calm,
    cursor: K::Send,
}

/// A receiving end.
pub(crate) struct RecvEnd<T, K: Kind> {
    pub(crate) mem: Mem<T, K>,
    /// This end, to the others.
    pub(crate) me: Name,
    pub(crate) ends: Ends,
    calm: Calm,
    cursor: K::Recv,
    /// The endpoint table at which end-of-file was put off for what the dead have left.
    pending_at: Option<Option<u64>>,
    more_to_adopt: bool,
}

fn data<T, K>(mem: &Mem<T, K>) -> WakeWord<'_> {
    WakeWord::new(&mem.words.control.data)
}

fn space<T, K>(mem: &Mem<T, K>) -> WakeWord<'_> {
    WakeWord::new(&mem.words.control.space)
}

impl<T: Copy, K: Kind> SendEnd<T, K> {
    /// For an end that already is in the endpoint table.
    /// `before`: from before that.
    pub(crate) fn new(
        mem: Mem<T, K>,
        me: Name,
        cursor: K::Send,
        before: Before,
        liveness: &impl Liveness,
    ) -> Self {
        let alive = || peer_alive(&mem.words, Role::Receiver, liveness);
        let ends = Ends::attach(&mem.words, Role::Sender, before, alive);
        Self { mem, me, ends, calm: Calm::default(), cursor }
    }

    /// Where this end sleeps.
    pub(crate) fn word(&self) -> WakeWord<'_> {
        space(&self.mem)
    }

    /// Publishes the first `items` slots of a claimed run, gives up the rest, and wakes.
    #[inline(always)]
    pub(crate) fn publish(&mut self, run: Run, items: u64) {
        self.cursor.publish(&self.mem, run, items);
        data(&self.mem).notify();
        self.pass_on();
    }

    /// Having claimed: wakes another sender if there is a slot for it, too. Part of
    /// [`publish`](Self::publish); whoever keeps a claim for long does it at once.
    #[inline]
    pub(crate) fn pass_on(&self) {
        if K::Send::SHARED && self.word().is_flagged() && self.another() {
            self.word().pass_on();
        }
    }

    /// Gives up a claim that a forgotten guard has left. The last thing an end does.
    pub(crate) fn close(&mut self) {
        self.cursor.close(&self.mem);
        data(&self.mem).notify();
    }
}

impl<T: Copy, K: Kind> End for SendEnd<T, K> {
    const OPPOSITE: Role = Role::Receiver;
    const SHARED: bool = K::Send::SHARED;

    fn word_in(words: &Words) -> WakeWord<'_> {
        WakeWord::new(&words.control.space)
    }

    fn me(&self) -> Name {
        self.me
    }

    fn ends(&mut self) -> (&mut Ends, &Words) {
        (&mut self.ends, &self.mem.words)
    }

    fn capacity(&self) -> u64 {
        self.mem.slots.capacity()
    }

    /// Having found the ring full: while so much of it drains that the sender can go on for a while,
    /// but not so long that receivers find it empty.
    fn coalesce(&self) -> u32 {
        (self.capacity() / 16).min(64) as u32
    }

    #[inline(always)]
    fn claim_at_once(&mut self, need: u64, max: u64) -> Option<Run> {
        if !self.ends.still_there(&self.mem.words) || self.cursor.forgotten() {
            return None;
        }
        match (need, max) {
            (1, 1) => self.cursor.claim_one(&self.mem),
            _ => self.cursor.claim(&self.mem, need, max).ok(),
        }
    }

    fn try_claim(&mut self, need: u64, max: u64, _: &impl Liveness) -> Result<Run, Refused> {
        if self.ends.gone(&self.mem.words) && self.ends.told_closed(&self.mem.words, true) {
            return Err(Refused::Closed);
        }
        if self.cursor.forgotten() {
            self.cursor.close(&self.mem);
            data(&self.mem).notify();
        }
        self.cursor.claim(&self.mem, need, max).map_err(Refused::from)
    }

    #[inline]
    fn another(&self) -> bool {
        self.cursor.another(&self.mem)
    }

    fn check_liveness(&mut self, liveness: &impl Liveness) -> Findings {
        let (mem, me) = (&self.mem, self.me);
        let pass = || reap_pass(mem, Role::Sender, me, liveness, None);
        let findings = self.calm.unless_calm(mem, Role::Sender, liveness, pass);
        if !findings.opposite_alive {
            self.ends.opposite_gone();
        }
        findings
    }
}

impl<T: Copy, K: Kind> RecvEnd<T, K> {
    /// For an end that already is in the endpoint table.
    /// `before`: from before that.
    pub(crate) fn new(
        mem: Mem<T, K>,
        me: Name,
        cursor: K::Recv,
        before: Before,
        liveness: &impl Liveness,
    ) -> Self {
        let alive = || peer_alive(&mem.words, Role::Sender, liveness);
        let ends = Ends::attach(&mem.words, Role::Receiver, before, alive);
        Self {
            mem,
            me,
            ends,
            calm: Calm::default(),
            cursor,
            pending_at: None,
            more_to_adopt: false,
        }
    }

    /// Where this end sleeps.
    pub(crate) fn word(&self) -> WakeWord<'_> {
        data(&self.mem)
    }

    /// Some other receiver has items claimed, or has left them behind.
    #[cold]
    fn others_hold(&self) -> bool {
        let words = &self.mem.words;
        words.owners.iter().zip(words.records.iter()).any(|(owner, record)| {
            // Relaxed: whether to look properly.
            matches!(table::owner(owner), Some((_, Role::Receiver)))
                && record.intent.load(Relaxed) != 0
        })
    }

    /// At the end of the file: nothing that the dead had claimed is outstanding, but for what this
    /// end has just taken over. If something is, it is not asked again before the endpoint table changes or
    /// it is time for a liveness check anyway.
    #[cold]
    fn recovery_complete(&mut self, liveness: &impl Liveness) -> bool {
        let changes = self.ends.scanned_at();
        if self.pending_at == Some(changes) {
            return false;
        }
        let findings = self.check_liveness(liveness);
        if findings.pending && self.cursor.held() == 0 {
            self.pending_at = Some(self.ends.scanned_at());
            return false;
        }
        true
    }

    #[cold]
    #[inline(never)] // it comes before the shortest of paths
    fn pause(&mut self, clock: impl FnOnce() -> u64) {
        for _ in 0..self.cursor.pauses(self.mem.slots.capacity(), clock) {
            spin_loop();
        }
    }

    #[inline(always)]
    fn claim_once(&mut self, need: u64, max: u64) -> Result<Run, Blocked> {
        let outcome = self.cursor.claim(&self.mem, need, max);
        if K::Recv::SHARED && self.cursor.take_skipped() > 0 {
            space(&self.mem).notify();
        }
        outcome
    }

    /// For whoever shows the items of a claimed run to somebody before it releases them, and keeps
    /// them for long: for [`pass_on`](Self::pass_on) is done, too.
    pub(crate) fn hand_out(&mut self, run: Run) {
        self.cursor.hand_out(&self.mem, run);
        self.pass_on();
    }

    /// How often the first item of the run claimed last had been delivered to receivers that are
    /// gone and did not release it.
    #[inline(always)]
    pub(crate) fn redeliveries(&self, run: Run) -> u32 {
        if run.again > 0 { self.cursor.redeliveries() } else { 0 }
    }

    /// The position of item `index` of a claimed run.
    #[inline]
    pub(crate) fn find(&self, run: Run, index: u64) -> Option<u64> {
        if run.slots == run.items {
            return (index < run.items).then(|| run.at.wrapping_add(index));
        }
        self.items(run).nth(index as usize)
    }

    /// The positions of a claimed run's items, in order; fewer if a peer has corrupted the stamps.
    pub(crate) fn items(&self, run: Run) -> impl Iterator<Item = u64> {
        self.cursor.items(&self.mem, run)
    }

    /// Frees the first `items` items of a claimed run, keeps the rest for this end, and wakes.
    #[inline(always)]
    pub(crate) fn release(&mut self, run: Run, items: u64) {
        if run.again > 0 && items > 0 {
            let tally = &self.mem.words.control.tally;
            tally.redelivered.fetch_add(items.min(run.again), Relaxed); // a statistic
        }
        self.cursor.release(&self.mem, run, items);
        space(&self.mem).notify();
        self.pass_on();
    }

    /// Having claimed: wakes another receiver if there is an item for it, too. Part of
    /// [`release`](Self::release); whoever keeps a claim for long does it at once.
    #[inline]
    pub(crate) fn pass_on(&self) {
        if K::Recv::SHARED && self.word().is_flagged() && self.another() {
            self.word().pass_on();
        }
    }

    /// Something is claimed and not released, be it but holes.
    pub(crate) fn has_claim(&self) -> bool {
        self.cursor.has_claim()
    }

    /// Items claimed and not released: they come first on the next claim, and alone.
    pub(crate) fn held(&self) -> u64 {
        self.cursor.held()
    }

    /// Copies the first items of a claimed run into `into`, which is no longer than the run has
    /// items. Copies nothing that matters if a peer has corrupted the stamps.
    #[inline]
    pub(crate) fn copy_out(&self, run: Run, into: &mut [T]) -> Result<(), Refused> {
        if run.slots == run.items {
            self.mem.slots.read_run(run.at, into);
            return Ok(());
        }
        let mut items = self.items(run);
        for value in into {
            *value = self.mem.slots.read(items.next().ok_or(Refused::Corrupt)?);
        }
        Ok(())
    }
}

impl<T: Copy, K: Kind> End for RecvEnd<T, K> {
    const OPPOSITE: Role = Role::Sender;
    const SHARED: bool = K::Recv::SHARED;

    fn word_in(words: &Words) -> WakeWord<'_> {
        WakeWord::new(&words.control.data)
    }

    fn me(&self) -> Name {
        self.me
    }

    fn ends(&mut self) -> (&mut Ends, &Words) {
        (&mut self.ends, &self.mem.words)
    }

    fn capacity(&self) -> u64 {
        self.mem.slots.capacity()
    }

    #[inline(always)]
    fn prefetch(&self) {
        self.cursor.prefetch(&self.mem);
    }

    fn coalesce(&self) -> u32 {
        0 // the next item may be a lone one
    }

    #[inline(always)]
    fn let_coalesce(&mut self, clock: impl FnOnce() -> u64) {
        if self.cursor.seems_drained() {
            self.pause(clock);
        }
    }

    #[inline]
    fn waits(&mut self) {
        self.cursor.waits();
    }

    #[inline(always)]
    fn claim_at_once(&mut self, need: u64, max: u64) -> Option<Run> {
        match (need, max) {
            (1, 1) => self.cursor.claim_one(&self.mem),
            (1, _) if self.cursor.repeats() => None,
            _ => self.claim_once(need, max).ok(),
        }
    }

    fn try_claim(&mut self, need: u64, max: u64, liveness: &impl Liveness) -> Result<Run, Refused> {
        match self.claim_once(need, max) {
            Err(Blocked::NotReady) => {}
            Err(blocked) => return Err(blocked.into()),
            Ok(run) => return Ok(run),
        }
        if !self.ends.gone(&self.mem.words) {
            return Err(Refused::NotReady);
        }
        if K::STAMPED && self.others_hold() && !self.recovery_complete(liveness) {
            return Err(Refused::NotReady);
        }
        // A3 has shown us everything that those who left had stored: look once more. First at what
        // is still to come, as what comes between the two looks is then found by the second.
        let more_to_come = self.cursor.unpublished(&self.mem);
        match self.claim_once(need, max) {
            // What a call for many items leaves behind is for the next receiver to be told of, too.
            Err(Blocked::NotReady) if !more_to_come => {
                let drained = len(&self.mem) == 0;
                match self.ends.told_closed(&self.mem.words, drained) {
                    true => Err(Refused::Closed),
                    false => Err(Refused::NotReady), // a sender has come meanwhile
                }
            }
            Err(blocked) => Err(blocked.into()),
            Ok(run) => Ok(run),
        }
    }

    #[inline]
    fn another(&self) -> bool {
        self.cursor.another(&self.mem)
    }

    fn check_liveness(&mut self, liveness: &impl Liveness) -> Findings {
        self.pending_at = None;
        let adopter = (!self.cursor.has_claim()).then_some(&mut self.cursor);
        let (mem, me) = (&self.mem, self.me);
        let pass = || reap_pass(mem, Role::Receiver, me, liveness, adopter);
        let findings = self.calm.unless_calm(mem, Role::Receiver, liveness, pass);
        if !findings.opposite_alive {
            self.ends.opposite_gone();
        }
        self.more_to_adopt = findings.pending && !findings.lost && self.cursor.held() > 0;
        findings
    }

    fn take_more_to_adopt(&mut self) -> bool {
        let more = std::mem::take(&mut self.more_to_adopt);
        self.ends.take_abandoned() || more
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
            Refused::Held => GaveUp::Held,
            Refused::Fragmented(adjacent) => GaveUp::Fragmented(adjacent),
            Refused::Forked => GaveUp::Forked,
            Refused::NotReady => GaveUp::NotReady,
            Refused::DescriptorLost => GaveUp::Stopped(Stop::DescriptorLost),
        }
    }
}

/// Values in the ring: published or claimed, not yet claimed by a receiver. A snapshot.
pub(crate) fn len<T: Copy, K: Kind>(mem: &Mem<T, K>) -> u64 {
    // Relaxed: a snapshot of moving things, used for nothing but telling. Head first: it can only
    // have grown since, so the difference is never short of what was there.
    let head = mem.words.control.head.load(Relaxed);
    let tail = mem.words.control.tail.at.load(Relaxed);
    match tail.wrapping_sub(head) {
        len if len <= mem.slots.capacity() => len,
        len if (len as i64) < 0 => 0, // the head has passed the tail we read
        _ => mem.slots.capacity(),
    }
}
