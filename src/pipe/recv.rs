//! The receiving end: it claims items, releases them, takes over what the dead have left, and
//! learns of the end of the file.

use super::End;
use bytemuck::AnyBitPattern;

use crate::peers::calm::Calm;
use crate::peers::ends::{Before, Ends};
use crate::peers::reap::{Findings, Liveness, peer_alive, reap_pass};
use crate::peers::table::{self, Name, Role};
use crate::ring::claims::RecvClaims;
use crate::ring::control::{Control, Words};
use crate::ring::mem::{Fixed, Kept, Mem, Shape};
use crate::ring::{Kind, RecvCursor, Refused, Run, before};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::spin_loop;
use crate::wait::Stop;
use crate::wait::word::WakeWord;

/// How many senders may come and go, one after the other, while a receiver finds that all are gone.
const ROUNDS: u32 = 4;

/// So often `clear` begins anew where others were faster for as long as a claim tries.
const CONTENTIONS: u32 = 16;

/// Some other receiver, that of the caller having nothing claimed, has items claimed, or has left
/// them behind. Nothing is missed that was claimed before: the intent it was claimed under stays
/// where it is until all of it is released, by whoever adopts it.
#[cold]
fn others_hold(words: &Words) -> bool {
    words.control.head.load(Acquire); // X1 ← R2: the intents of those who had claimed
    words.owners.iter().zip(words.records.iter()).any(|(owner, record)| {
        // Relaxed: whether to look properly.
        matches!(table::owner(owner), Some((_, Role::Receiver))) && record.intent.load(Relaxed) != 0
    })
}

/// The senders are gone, and every item of theirs was claimed and released, or dropped: none comes
/// any more to a receiver that attaches. For an end that has nothing claimed.
#[cold]
fn read_to_end<K: Kind>(mem: &Mem<K>) -> bool {
    let control = &mem.words.control;
    // Relaxed: A3 has shown the last that the senders stored.
    let all_claimed = control.head.load(Relaxed) == control.tail.at.load(Relaxed);
    all_claimed && !(K::RECOVERS && others_hold(&mem.words))
}

/// A receiving end.
pub(crate) struct RecvEnd<K: Kind> {
    pub(crate) mem: Mem<K>,
    /// This end, to the others.
    pub(crate) me: Name,
    pub(crate) ends: Ends,
    calm: Calm,
    pub(super) cursor: K::Recv,
    /// The endpoint table at which end-of-file was put off for what the dead have left.
    pending_at: Option<Option<u64>>,
    pub(super) more_to_adopt: bool,
}

impl<K: Kind> RecvEnd<K> {
    /// For an end that already is in the endpoint table.
    /// `before`: from before that.
    pub(crate) fn new(
        mem: Mem<K>,
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
        WakeWord::of(&self.mem.words.control, Role::Receiver)
    }

    /// At the end of the file: nothing that the dead had claimed is outstanding, but for what this
    /// end has just taken over. If something is, it is not asked again before the endpoint table
    /// changes or it is time for a liveness check anyway.
    #[cold]
    fn recovery_complete(&mut self, liveness: &impl Liveness) -> bool {
        let changes = self.ends.scanned_at();
        if self.pending_at == Some(changes) {
            return false;
        }
        self.check_liveness(liveness);
        self.pending_at.is_none()
    }

    /// Makes a liveness check. `adopts`: this end takes over what a dead one has left, if it can.
    fn checked(&mut self, liveness: &impl Liveness, adopts: bool) -> Findings {
        self.pending_at = None;
        let adopter = (adopts && !self.cursor.has_claim()).then_some(&mut self.cursor);
        let (mem, me) = (&self.mem, self.me);
        let pass = || reap_pass(mem, Role::Receiver, me, liveness, adopter);
        let findings = self.calm.unless_calm(mem, Role::Receiver, liveness, pass);
        if !findings.opposite_alive {
            self.ends.opposite_gone();
        }
        findings
    }

    #[cold]
    #[inline(never)] // it comes before the shortest of paths
    fn pause(&mut self, clock: impl FnOnce() -> u64) {
        for _ in 0..self.cursor.pauses(&self.mem, clock) {
            spin_loop();
        }
    }

    #[inline(always)]
    fn claim_once(
        &mut self,
        shape: impl Shape<Kind = K>,
        need: u64,
        max: u64,
    ) -> Result<Run, Refused> {
        let outcome = self.cursor.claim(self.mem.view(shape), need, max);
        self.tell_of_holes();
        outcome
    }

    /// After a claim: senders may use the holes that it has passed over.
    #[inline(always)]
    fn tell_of_holes(&mut self) {
        if K::MANY && self.cursor.take_skipped() > 0 {
            WakeWord::notify_role(&self.mem.words.control, Role::Sender);
        }
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
    pub(crate) fn find(&self, shape: impl Shape<Kind = K>, run: Run, index: u64) -> Option<u64> {
        if run.slots == run.items {
            return (index < run.items).then(|| run.at.wrapping_add(index));
        }
        self.items(shape, run).nth(index as usize)
    }

    /// The positions of a claimed run's items, in order; fewer if a peer has corrupted the stamps.
    #[inline]
    pub(crate) fn items(&self, shape: impl Shape<Kind = K>, run: Run) -> impl Iterator<Item = u64> {
        self.cursor.items(self.mem.view(shape), run)
    }

    /// How many slots the item has that begins at one of a claimed run's positions.
    #[inline(always)]
    pub(crate) fn extent(&self, run: Run, at: u64) -> u64 {
        self.cursor.extent(self.mem.kept(), run, at)
    }

    /// Frees the first `items` items of a claimed run, keeps the rest for this end, and wakes.
    #[inline(always)]
    pub(crate) fn release(&mut self, shape: impl Shape<Kind = K>, run: Run, items: u64) {
        if run.again > 0 && items > 0 {
            let tally = &self.mem.words.control.tally;
            tally.redelivered.fetch_add(items.min(run.again), Relaxed); // a statistic
        }
        self.free(shape, run, items);
    }

    /// An item that an earlier look has found, without a look: of kinds that know of such.
    #[inline(always)]
    pub(crate) fn claim_seen(&mut self) -> Option<Run> {
        self.cursor.claim_seen()
    }

    /// [`release`](Self::release), of a single item that was claimed just now.
    #[inline(always)]
    pub(crate) fn release_one(&mut self, shape: impl Shape<Kind = K>, run: Run) {
        let control: &Control = &self.mem.words.control;
        self.cursor.release_one(self.mem.view(shape), run);
        WakeWord::notify_role(control, Role::Sender);
        self.pass_on();
    }

    /// [`release`](Self::release), of items that nobody was shown.
    #[inline(always)]
    fn free(&mut self, shape: impl Shape<Kind = K>, run: Run, items: u64) {
        self.cursor.release(self.mem.view(shape), run, items);
        self.released();
    }

    /// Wakes those whom that concerns.
    #[inline(always)]
    fn released(&self) {
        WakeWord::notify_role(&self.mem.words.control, Role::Sender);
        self.pass_on();
    }

    /// Discards what was sent before this call, also what this end holds and what dead receivers
    /// have left, and claims nothing that was sent later. How many items. Never waits.
    pub(crate) fn clear(&mut self, liveness: &impl Liveness) -> Result<u64, Refused> {
        // Relaxed: how far to go; what lies there the claims acquire. What is sent after this call
        // began has a later position.
        let end = self.mem.words.control.tail.at.load(Relaxed);
        // Now, rather than after an interval in vain: what the dead hold would come later.
        let mut lost = self.check_liveness(liveness).lost;
        if lost {
            return Err(Refused::Stopped(Stop::DescriptorLost));
        }
        let (kept, capacity) = (Kept::shape(), self.mem.slots.capacity());
        let most = self.longest_run();
        let (mut cleared, mut slots, mut contended) = (0, 0, 0);
        // Before the end lie no more positions than that, whatever a peer makes of them.
        while slots < capacity {
            if !self.has_claim() && self.take_more_to_adopt() {
                lost |= self.check_liveness(liveness).lost;
            }
            let claimed = self.cursor.claim_before(self.mem.view(kept), most, end);
            self.tell_of_holes();
            let run = match claimed {
                Ok(run) => run,
                Err(Refused::Contended) if contended < CONTENTIONS => {
                    contended += 1;
                    continue;
                }
                Err(refused) if refused.is_for_now() => break,
                Err(damage) => return Err(damage),
            };
            // Of what a receiver has claimed meanwhile, that has died since, some may come later. No
            // more than were claimed, whatever stands there now.
            let items = self.items(kept, run).take_while(|&at| before(at, end) > 0).count() as u64;
            let items = items.min(run.items);
            if items == 0 {
                break;
            }
            self.free(kept, run, items);
            self.mem.words.control.tally.dropped.fetch_add(items, Relaxed); // a statistic
            cleared += items;
            slots += run.slots;
        }
        if lost { Err(Refused::Stopped(Stop::DescriptorLost)) } else { Ok(cleared) }
    }

    /// Having claimed: wakes another receiver if there is an item for it, too. Part of
    /// [`release`](Self::release); whoever keeps a claim for long does it at once.
    #[inline]
    pub(crate) fn pass_on(&self) {
        if K::MANY && self.word().is_flagged() && self.another() {
            self.word().pass_on();
        }
    }

    /// Items claimed and not released: they come first on the next claim, and alone.
    pub(crate) fn held(&self) -> u64 {
        self.cursor.held()
    }

    /// Copies the first item of a claimed run, at position `at`, out.
    #[inline(always)]
    pub(crate) fn read<T: AnyBitPattern>(&mut self, shape: Fixed<T, K>, at: u64) -> T {
        let mem = self.mem.view(shape);
        if size_of::<T>() <= K::Recv::AT_HAND
            && let Some(copy) = self.cursor.at_hand(mem, at)
        {
            return copy;
        }
        mem.read(at)
    }

    /// The same, into memory that is there: a large value stands nowhere else meanwhile.
    #[inline(always)]
    pub(crate) fn read_into<T: AnyBitPattern>(
        &mut self,
        shape: Fixed<T, K>,
        at: u64,
        into: &mut T,
    ) {
        if size_of::<T>() > K::Recv::AT_HAND || !self.read_copy(shape, at, into) {
            self.mem.view(shape).read_into(at, into);
        }
    }

    /// The copy of the item, if it is at hand. (By itself, so that where nothing is optimised it
    /// stands on the stack of those alone who may have one.)
    #[inline]
    fn read_copy<T: AnyBitPattern>(&mut self, shape: Fixed<T, K>, at: u64, into: &mut T) -> bool {
        let copy = self.cursor.at_hand(self.mem.view(shape), at);
        if let Some(copy) = copy {
            *into = copy;
        }
        copy.is_some()
    }

    /// Copies the first items of a claimed run into `into`, which is no longer than the run has
    /// items. Copies nothing that matters if a peer has corrupted the stamps.
    #[inline]
    pub(crate) fn copy_out<T: AnyBitPattern>(
        &self,
        shape: Fixed<T, K>,
        run: Run,
        into: &mut [T],
    ) -> Result<(), Refused> {
        let mem = self.mem.view(shape);
        if run.slots == run.items {
            mem.read_run(run.at, into);
            return Ok(());
        }
        let mut items = self.items(shape, run);
        for value in into {
            mem.read_into(items.next().ok_or(Refused::Corrupt)?, value);
        }
        Ok(())
    }
}

impl<K: Kind> End for RecvEnd<K> {
    type Kind = K;
    const OPPOSITE: Role = Role::Sender;

    fn me(&self) -> Name {
        self.me
    }

    fn ends(&mut self) -> (&mut Ends, &Words) {
        (&mut self.ends, &self.mem.words)
    }

    fn known(&self) -> &Ends {
        &self.ends
    }

    fn longest_run(&self) -> u64 {
        self.mem.slots.capacity().min(K::Recv::MAX_RUN)
    }

    #[inline(always)]
    fn prefetch(&self, shape: impl Shape<Kind = K>) {
        self.cursor.prefetch(self.mem.view(shape));
    }

    fn coalesce(&self) -> u32 {
        0 // the next item may be a lone one
    }

    #[inline(always)]
    fn let_coalesce(&mut self, clock: impl FnOnce() -> u64) {
        if self.cursor.may_pause() {
            self.pause(clock);
        }
    }

    #[inline]
    fn may_poll(&self) -> bool {
        !self.cursor.repeats() // which a poll does not find
    }

    #[inline]
    fn waits(&mut self) {
        self.cursor.waits();
    }

    #[inline(always)]
    fn claim_fast(&mut self, shape: impl Shape<Kind = K>, need: u64, max: u64) -> Option<Run> {
        match (need, max) {
            (1, 1) => match self.cursor.claim_one(self.mem.view(shape)) {
                // There may be a hole before it: a poll is to find it, too.
                None if K::MESSAGES && K::MANY && self.another() && !self.cursor.repeats() => {
                    self.claim_once(shape, 1, 1).ok()
                }
                found => found,
            },
            (1, _) if self.cursor.repeats() => None,
            _ => self.claim_once(shape, need, max).ok(),
        }
    }

    fn claim_slow(
        &mut self,
        need: u64,
        max: u64,
        liveness: &impl Liveness,
    ) -> Result<Run, Refused> {
        let kept = Kept::shape();
        for _ in 0..ROUNDS {
            match self.claim_once(kept, need, max) {
                Err(Refused::NotReady) => {}
                settled => return settled,
            }
            if !self.ends.gone(&self.mem.words) {
                return Err(Refused::NotReady);
            }
            // A3 has shown us everything that those who left had stored: look once more. First at
            // what is still to come, as what comes between the two looks is then found by the
            // second.
            let more_to_come = self.cursor.unpublished(&self.mem);
            match self.claim_once(kept, need, max) {
                Err(Refused::NotReady) if !more_to_come => {}
                settled => return settled,
            }
            // What the dead had claimed before that look comes before the end, too.
            if K::RECOVERS && others_hold(&self.mem.words) {
                if !self.recovery_complete(liveness) {
                    return Err(Refused::NotReady);
                }
                if self.cursor.held() > 0 {
                    return self.claim_once(kept, need, max); // it has adopted them
                }
            }
            if self.ends.told_closed(&self.mem.words, || read_to_end(&self.mem)) {
                return Err(Refused::Closed);
            }
            // A sender has come meanwhile, and perhaps gone again: what it sent comes first.
        }
        Err(Refused::NotReady)
    }

    #[inline]
    fn another(&self) -> bool {
        K::Recv::ready(&self.mem)
    }

    fn has_claim(&self) -> bool {
        self.cursor.has_claim()
    }

    fn leave(&mut self) -> bool {
        self.has_claim()
    }

    fn check_liveness(&mut self, liveness: &impl Liveness) -> Findings {
        let findings = self.checked(liveness, true);
        let holds = self.cursor.held() > 0;
        self.more_to_adopt = findings.pending && !findings.lost && holds;
        self.pending_at = (findings.pending && !holds).then(|| self.ends.scanned_at());
        findings
    }

    fn check_for_others(&mut self, liveness: &impl Liveness) -> Findings {
        self.checked(liveness, false)
    }

    fn take_more_to_adopt(&mut self) -> bool {
        let more = std::mem::take(&mut self.more_to_adopt);
        self.ends.take_abandoned() || more
    }
}
