//! The sending end: it claims room, publishes, and learns of a broken pipe.

use bytemuck::NoUninit;

use super::End;
use crate::peers::calm::Calm;
use crate::peers::ends::{Before, Ends};
use crate::peers::reap::{Findings, Liveness, peer_alive, reap_pass};
use crate::peers::table::{Name, Role};
use crate::ring::claims::SendClaims;
use crate::ring::control::{Control, Words};
use crate::ring::mem::{Fixed, Mem, Shape};
use crate::ring::{Kind, Refused, Run, SendCursor};
use crate::wait::precedence::Precedence;
use crate::wait::word::WakeWord;

/// A sending end.
pub(crate) struct SendEnd<K: Kind> {
    pub(crate) mem: Mem<K>,
    /// This end, to the others.
    pub(crate) me: Name,
    pub(crate) ends: Ends,
    calm: Calm,
    cursor: K::Send,
    /// The last thorough look found no room.
    full: bool,
    /// Of messages that many send: whose turn it is.
    precedence: Precedence,
}

impl<K: Kind> SendEnd<K> {
    /// What others send may be much shorter.
    const TAKES_TURNS: bool = K::MANY && K::MESSAGES;

    /// For an end that already is in the endpoint table.
    /// `before`: from before that.
    pub(crate) fn new(
        mem: Mem<K>,
        me: Name,
        cursor: K::Send,
        before: Before,
        liveness: &impl Liveness,
    ) -> Self {
        let alive = || peer_alive(&mem.words, Role::Receiver, liveness);
        let ends = Ends::attach(&mem.words, Role::Sender, before, alive);
        Self {
            mem,
            me,
            ends,
            calm: Calm::default(),
            cursor,
            full: false,
            precedence: Precedence::default(),
        }
    }

    /// Where this end sleeps.
    pub(crate) fn word(&self) -> WakeWord<'_> {
        WakeWord::of(&self.mem.words.control, Role::Sender)
    }

    /// Publishes the first `items` slots of a claimed run, gives up the rest, and wakes.
    #[inline(always)]
    pub(crate) fn publish(&mut self, shape: impl Shape<Kind = K>, run: Run, items: u64) {
        self.cursor.publish(self.mem.view(shape), run, items);
        WakeWord::notify_role(&self.mem.words.control, Role::Receiver);
        self.pass_on();
    }

    /// Writes the value into a claimed run of one slot, which is then
    /// [published](Self::publish_one).
    #[inline(always)]
    pub(crate) fn write_one<T: NoUninit>(&self, shape: Fixed<T, K>, run: Run, value: &T) -> bool {
        self.cursor.write_one(self.mem.view(shape), run, value)
    }

    /// Publishes a run of one slot, and wakes. `all`: what writing it said.
    #[inline(always)]
    pub(crate) fn publish_one(&mut self, shape: impl Shape<Kind = K>, run: Run, all: bool) {
        let control: &Control = &self.mem.words.control;
        self.cursor.publish_one(self.mem.view(shape), run, all);
        WakeWord::notify_role(control, Role::Receiver);
        self.pass_on();
    }

    /// Having claimed: wakes another sender if there is a slot for it, too. Part of
    /// [`publish`](Self::publish); whoever keeps a claim for long does it at once.
    #[inline]
    pub(crate) fn pass_on(&self) {
        if K::MANY && self.word().is_flagged() && self.another() {
            self.word().pass_on();
        }
    }
}

impl<K: Kind> End for SendEnd<K> {
    type Kind = K;
    const OPPOSITE: Role = Role::Receiver;

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
        self.mem.slots.capacity().min(K::Send::MAX_RUN)
    }

    /// Having found the ring full: while so much of it drains that the sender can go on for a
    /// while, but not so long that receivers find it empty.
    fn coalesce(&self) -> u32 {
        (self.mem.slots.capacity() / K::UNIT / 16).min(64) as u32
    }

    fn pauses_before_try(&mut self) -> u32 {
        if std::mem::take(&mut self.full) { self.coalesce() } else { 0 }
    }

    #[inline(always)]
    fn claim_fast(&mut self, shape: impl Shape<Kind = K>, need: u64, max: u64) -> Option<Run> {
        if !self.ends.still_there(&self.mem.words) || self.cursor.forgotten() {
            return None;
        }
        if self.stands_back() {
            return None;
        }
        match (need, max) {
            (1, 1) => self.cursor.claim_one(self.mem.view(shape)),
            _ => self.cursor.claim(self.mem.view(shape), need, max).ok(),
        }
    }

    fn claim_slow(&mut self, need: u64, max: u64, _: &impl Liveness) -> Result<Run, Refused> {
        if self.ends.gone(&self.mem.words) && self.ends.told_closed(&self.mem.words, || true) {
            return Err(Refused::Closed);
        }
        if self.cursor.forgotten() {
            self.cursor.close(&self.mem);
            WakeWord::notify_role(&self.mem.words.control, Role::Receiver);
        }
        let stands_back = Self::TAKES_TURNS && self.precedence.stands_back(&self.mem.words.control);
        let tried = match stands_back {
            true => Err(Refused::NotReady),
            false => self.cursor.claim(self.mem.kept(), need, max),
        };
        self.full = tried == Err(Refused::NotReady);
        tried
    }

    #[inline]
    fn another(&self) -> bool {
        K::Send::ready(&self.mem)
    }

    fn has_claim(&self) -> bool {
        self.cursor.forgotten()
    }

    fn leave(&mut self) -> bool {
        self.cursor.close(&self.mem);
        WakeWord::notify_role(&self.mem.words.control, Role::Receiver);
        false
    }

    #[inline(always)]
    fn stands_back(&self) -> bool {
        Self::TAKES_TURNS && self.precedence.stands_back(&self.mem.words.control)
    }

    #[inline]
    fn waits_in_vain(&mut self, need: u64) {
        if Self::TAKES_TURNS && need > 1 {
            let capacity = self.mem.slots.capacity();
            let (control, record) = (&self.mem.words.control, self.me.record());
            self.precedence.waits_in_vain(control, record, capacity);
        }
    }

    #[inline]
    fn waited(&mut self) {
        if Self::TAKES_TURNS {
            self.precedence.waited(&self.mem.words.control);
        }
    }

    fn check_liveness(&mut self, liveness: &impl Liveness) -> Findings {
        if Self::TAKES_TURNS {
            self.precedence.check(&self.mem.words.control, liveness);
        }
        let (mem, me) = (&self.mem, self.me);
        let pass = || reap_pass(mem, Role::Sender, me, liveness, None);
        let findings = self.calm.unless_calm(mem, Role::Sender, liveness, pass);
        if !findings.opposite_alive {
            self.ends.opposite_gone();
        }
        findings
    }

    fn check_for_others(&mut self, liveness: &impl Liveness) -> Findings {
        self.check_liveness(liveness) // it takes nothing anyway
    }
}
