//! The wake word: who sleeps, who wakes, and why no wake is lost.
//!
//! One word per direction: receivers sleep on `data`, senders on `space`.
//!
//! ```text
//! bit 0    someone sleeps here (or did: the bit is sticky, not a count)
//! bit 1    someone picky sleeps here, whom not every wake serves: wake all
//! bits 2.. epoch, moved on by every wake
//! ```
//!
//! A *bit*, because a count would leak when a sleeper is killed and then cost every publish a
//! system call; a stale bit costs one call and is gone.
//!
//! # The protocol
//!
//! ```text
//! sleeper                                     waker
//!   W1  set the bit (announce)                  publish (or free, or leave)
//!       heavy barrier, unless made before       light barrier
//!       look at the ring, and at who is there   W2  read the word: bit clear? done, no system call
//!       nothing: futex wait while the word      W3  clear the bits, move the epoch on
//!       is as announced                             futex wake
//!   and again from W1
//! ```
//!
//! **No wake is lost.** The two barriers make this Dekker's pattern: of "set bit, look at ring" and
//! "publish, look at bit" at least one sees the other ([`barrier`] says by what means, and what if
//! those cannot be had). If the sleeper's look sees the publish, it
//! does not sleep. Otherwise the waker sees the bit and performs W3, which changes the word. If W3
//! comes before the sleeper is queued, the kernel finds the word changed and refuses to put it to
//! sleep; if after, it is queued and the wake reaches it.
//!
//! **One barrier for one announcement.** Who wakes for no reason (an interval has passed, a signal
//! came) and finds the word just as it announced itself in it need not make a barrier again: no
//! waker has cleared the bit since, as that moves the epoch on, so all who published after the
//! barrier that was made see it. What was published before, the first look or a later one sees. (To
//! take an announcement back moves no epoch on; it ends the wait of the only one who sleeps there.)
//!
//! **One wake for one item is enough**, though the woken one may find its item gone, or not be able
//! to use it, and others sleep on:
//!
//! * W3 cleared the bit while others may still sleep. The woken one runs W1 again *before* it looks
//!   at the ring, so from its look on, every publisher sees the bit. Published before its look: the
//!   look shows it. So whatever is published while the bit is clear is seen by the woken one.
//! * Having claimed one item and seeing another ready (or a hole, with perhaps one behind) with the
//!   bit set, it passes the wake on ([`pass_on`](WakeWord::pass_on)); so do all takers, at the
//!   latest when they release, and at once if they keep the claim. Each woken one either leaves
//!   nothing ready behind, or wakes the next. (Publishing out of order makes this necessary: S0
//!   claims 0, S1 publishes 1 and wakes R0, who cannot use it yet and sleeps on; then one wake for
//!   0 must lead to two receivers going, for 0 and for 1.)
//! * A taker that was not woken and reads a stale clear bit need not pass anything on: whoever
//!   cleared the bit has woken someone who has not looked yet, and that one will see what is left.
//! * One whose look came to nothing because others were faster each time leaves what they left: the
//!   last of them claimed after it, so what that one reads of the word, too, is as announced.
//! * A *picky* sleeper, one that waits for several items at once or for a peer rather than for
//!   items, might swallow a wake that serves another. It announces itself with bit 1 as well, and
//!   W3 then wakes all. One that announces itself between W3 and the futex wake is not meant by
//!   that wake, and does not get it: the wake of one is for plain sleepers (the futex's bitset
//!   tells).
//!
//! **Wakes in vain.** Where more ends wait than there is work for, the awake ones take what comes.
//! Whoever is woken then finds nothing, announces itself again, and is woken again for the next
//! item: each time a system call for the publisher, and for the woken one a barrier and two
//! switches of its processor, which may be the publisher's. So an end that was woken twice in one
//! wait, or finds the epoch moved on when it wakes, with nothing to claim each time, *rests*, for a
//! fifth of a millisecond at the most, before it announces itself again. Meanwhile the bit is clear
//! as a rule, so that publishing costs no system call and wakes nobody.
//!
//! A rest is no more than a slow wake. Nothing above says how soon after W3 the woken one runs W1:
//! until then, what is published is its to see, and the rest only makes "then" later. What that
//! costs:
//!
//! * An item that no awake end takes, and that comes while one rests, or is overlooked by the peek
//!   before that, is taken a rest later at the most. (Not only where others were faster: a sender
//!   that has claimed and not published yet lets those behind it wake a receiver in vain, too.)
//! * An end that is killed or stopped while it rests is one that was woken and did not act (see
//!   below), and it is exposed to that for longer.
//! * Where there is no futex, as in some sandboxes, a rest is a sleep of a millisecond.
//!
//! A publisher that finds the bit set, as others have announced themselves, wakes those, not the
//! resting one: it sleeps with a bit that no publisher wakes. Changes of the endpoint table that can
//! end its wait, and cancelling, wake everybody, and so end a rest at once. They move the epoch
//! before they wake. The resting one has read the word (W5) before it looked for such a change, and
//! the kernel compares: either it saw the change, or the word is another by then, or it is asleep
//! when the wake comes. A place in the watch that becomes free meanwhile it sees as it announces
//! itself.
//!
//! **Changes of the endpoint table** are rare, so nobody asks for the bit: they change the table
//! and then always move the epoch of the words that the change concerns ([`turn_back`]). A sleeper
//! announces either before that, and the changed epoch refuses it the sleep that it has not begun;
//! or after, and W1 acquires what `turn_back` released: it sees the change in its look. Who sleeps
//! by then needs the futex wake as well, and gets it if the change can end its wait;
//! [`changes`](super::changes) says whom which change concerns.
//!
//! **What is not covered**: a woken process that is killed, or stopped, before it acts. Its W1 does
//! not happen, and others sleep beside a ready item. Hence some sleeper of each role looks again
//! after an interval (50 ms unless told otherwise), and every one after ten
//! ([`watch`](super::watch)): there is no infinite sleep in this crate.
//!
//! [`turn_back`]: WakeWord::turn_back

use super::barrier;
use crate::peers::table::Role;
use crate::ring::control::Control;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicBool, AtomicU32, futex};

const SLEEPING: u32 = 1;
const WAKE_ALL: u32 = 2;
const EPOCH: u32 = 4;
/// What a sleeper sets, and a waker takes away.
const ANNOUNCED: u32 = SLEEPING | WAKE_ALL;

/// Which sleepers a futex wake is for.
const PLAIN: u32 = 1;
const PICKY: u32 = 2;
/// Beside one of the others: those who sleep long ([`watch`](super::watch)).
const LONG: u32 = 4;
/// Those who rest: no publisher wakes them.
const RESTING: u32 = 8;
const SLEEPERS: u32 = PLAIN | PICKY;
const EVERYBODY: u32 = u32::MAX;

/// The word after a wake: nobody is announced, and the epoch has moved on.
fn woken(word: u32) -> u32 {
    (word & !ANNOUNCED).wrapping_add(EPOCH)
}

/// A futex word in the region, seen as the protocol above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeWord<'a>(&'a AtomicU32);

/// The word as a sleeper announced itself in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    word: u32,
    picky: bool,
    /// The kernel says that a barrier has reached every publisher.
    pub(crate) sure: bool,
    /// The barrier, if it was one, was made just now: the next sleep must be a brief one.
    pub(crate) fresh: bool,
    /// The sleep is one of those that leave it to the watch to look after the peers.
    pub(crate) long: bool,
}

impl<'a> WakeWord<'a> {
    #[cfg(any(test, loom))]
    pub(crate) fn new(word: &'a AtomicU32) -> Self {
        Self(word)
    }

    /// Where ends of this role sleep.
    #[inline(always)]
    pub(crate) fn of(control: &'a Control, role: Role) -> Self {
        Self(match role {
            Role::Sender => &control.space,
            Role::Receiver => &control.data,
        })
    }

    /// W1. `picky`: not every wake serves this sleeper, so wakers must wake all. `before`: as this
    /// sleeper last announced itself in this word, if it has not taken that back. The caller looks
    /// at the ring and the endpoint table after this, and only then [`sleep`](Self::sleep)s.
    pub(crate) fn announce(self, picky: bool, before: Option<Ticket>) -> Ticket {
        let bits = if picky { ANNOUNCED } else { SLEEPING };
        // W1 ← W4: the endpoint table as the last one to leave or attach left it.
        let found = self.0.fetch_or(bits, Acquire);
        if let Some(before) = before
            && before.sure
            && before.word == found
        {
            return Ticket { fresh: false, ..before };
        }
        let sure = barrier::heavy(self.0); // B1 ↔ B2: before the look at the ring
        Ticket { word: found | bits, picky, sure, fresh: true, long: false }
    }

    /// Sleeps until woken, until the word changes, or until the clock shows `until`. May also
    /// return for no reason.
    pub(crate) fn sleep(self, ticket: Ticket, until: u64) {
        let whom = if ticket.picky { PICKY } else { PLAIN };
        let whom = if ticket.long { whom | LONG } else { whom };
        futex::wait(self.0, ticket.word, whom, until);
    }

    /// The word as it is now, if somebody has moved it on since that announcement. What that one had
    /// changed before is visible.
    pub(crate) fn moved_since(self, ticket: Ticket) -> Option<u32> {
        let now = self.0.load(Acquire); // W5 ← W4: the endpoint table's change, or a cancellation
        ((now ^ ticket.word) & !ANNOUNCED != 0).then_some(now)
    }

    /// Rests until the clock shows `until`, for one that was woken and is not announced. `since`:
    /// the word from before it last looked at what would end its wait.
    pub(crate) fn rest(self, since: u32, until: u64) {
        futex::wait(self.0, since, RESTING, until);
    }

    /// Takes an announcement back that turned out to be unnecessary, which spares the next waker
    /// a system call. Only for words on which one end alone can sleep.
    pub(crate) fn retract(self, ticket: Ticket) {
        // Relaxed: nothing hangs on it. A word that has changed was seen by a waker; leave it.
        let quiet = ticket.word & !ANNOUNCED;
        let _ = self.0.compare_exchange(ticket.word, quiet, Relaxed, Relaxed);
    }

    /// After publishing or freeing: wakes one sleeper if any, without a system call if none.
    #[cfg(any(test, loom))]
    pub(crate) fn notify(self) {
        self.notify_by(|| self.pass_on());
    }

    /// The same, of the word of this role. It is found from the control block once more if somebody
    /// sleeps, so that those who find nobody need not keep where it lies: two instructions.
    #[inline(always)]
    pub(crate) fn notify_role(control: &'a Control, role: Role) {
        WakeWord::of(control, role).notify_by(|| wake_role(control, role));
    }

    #[inline(always)]
    fn notify_by(self, wake: impl FnOnce()) {
        barrier::light(); // B2 ↔ B1: after the publish
        if self.is_flagged() {
            wake();
        }
    }

    /// Like [`notify_role`](Self::notify_role) for those who have published nothing: they took something and
    /// saw more. Needs no barrier (see the module's opening).
    #[inline(always)]
    pub(crate) fn pass_on(self) {
        // Relaxed: W2 is ordered by the barriers, or needs no order.
        if self.0.load(Relaxed) & SLEEPING != 0 {
            self.wake();
        }
    }

    /// Someone may be asleep here.
    #[inline(always)]
    pub(crate) fn is_flagged(self) -> bool {
        self.0.load(Relaxed) & SLEEPING != 0 // Relaxed: as in `pass_on`
    }

    /// W3.
    #[cold]
    fn wake(self) {
        let mut word = self.0.load(Relaxed);
        // Bounded: every failure is another's success, and if sleepers and wakers (or a scribbler)
        // keep changing it that often, the sleepers are awake.
        for _ in 0..crate::ring::PATIENCE {
            if word & SLEEPING == 0 {
                return; // another waker was faster
            }
            let next = woken(word);
            // Relaxed: data that the sleeper must see was ordered by the barriers.
            match self.0.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => {
                    let all = word & WAKE_ALL != 0;
                    let (count, whom) = if all { (u32::MAX, SLEEPERS) } else { (1, PLAIN) };
                    return futex::wake(self.0, count, whom);
                }
                Err(now) => word = now,
            }
        }
        futex::wake(self.0, u32::MAX, EVERYBODY);
    }

    /// Cancels the waits of an end that sleeps here: sets its flag, then has all look up.
    /// Async-signal-safe.
    ///
    /// The end looks at the flag after it has announced itself and before it sleeps. So either it
    /// sees the flag, or it announced itself before the epoch moved, and cannot fall asleep.
    pub(crate) fn cancel(self, flag: &AtomicBool) {
        // K1 → K2: what the caller did before is visible to the end that finds itself cancelled.
        flag.store(true, Release);
        #[cfg(any(feature = "async", loom))]
        super::tasks::cancelled();
        self.wake_all();
    }

    /// After a change of the endpoint table, or of the watch: whoever is about to sleep here looks
    /// again. Those who sleep already sleep on.
    pub(crate) fn turn_back(self) {
        // W4 → W1, W5: the endpoint table's change, or the watch's. The bits stay: whoever set them and
        // is not queued yet finds the epoch moved and announces itself again; the next publisher
        // clears them.
        self.0.fetch_add(EPOCH, Release);
    }

    /// After a slot of the watch has become free: one of those who sleep long looks again, and so
    /// does whoever is about to sleep.
    pub(crate) fn hand_over(self) {
        // Before the wake: who announced itself before the slot was free does not miss both.
        self.turn_back();
        futex::wake(self.0, 1, LONG);
    }

    /// For whoever has found, at a liveness check, what it cannot use itself: wakes one of those
    /// who wait for one item or slot, or `all`. It moves no epoch, as what was found has been there
    /// for longer than any sleeper takes from its look to its sleep; should one be slower, the next
    /// check tells it.
    pub(crate) fn prompt(self, all: bool) {
        futex::wake(self.0, if all { u32::MAX } else { 1 }, PLAIN);
    }

    /// After a change that ends waits, or to cancel: whoever sleeps here looks again, too.
    /// Async-signal-safe.
    pub(crate) fn wake_all(self) {
        self.turn_back();
        futex::wake(self.0, u32::MAX, EVERYBODY);
    }
}

/// For whoever sleeps at several words at once ([`tasks`](super::tasks)).
#[cfg(any(feature = "async", loom))]
impl<'a> WakeWord<'a> {
    pub(crate) fn futex(self) -> &'a AtomicU32 {
        self.0
    }

    /// The word is as in this announcement, which serves whoever looks from now on, too: no waker has
    /// come since.
    pub(crate) fn is_as_in(self, ticket: Ticket) -> bool {
        // Relaxed: that the word seems unchanged proves nothing (`tasks` argues why none needs it to).
        ticket.sure && self.0.load(Relaxed) == ticket.word
    }

    /// The word is another than in this announcement.
    pub(crate) fn differs_from(self, ticket: Ticket) -> bool {
        self.0.load(Relaxed) != ticket.word // Relaxed: an announcement comes next
    }

    /// For one that may have been woken by a hand-over, which was not meant for it.
    pub(crate) fn hand_over_again(self) {
        futex::wake(self.0, 1, LONG);
    }
}

/// For whoever sleeps at several words at once.
#[cfg(any(feature = "async", loom))]
impl Ticket {
    pub(crate) fn word(self) -> u32 {
        self.word
    }

    /// Wakers know that they must wake all.
    pub(crate) fn is_picky(self) -> bool {
        self.picky
    }
}

#[cold]
#[inline(never)]
fn wake_role(control: &Control, role: Role) {
    WakeWord::of(control, role).pass_on();
}
