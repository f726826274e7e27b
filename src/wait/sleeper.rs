//! How to wait asleep, in steps: for [`block`](super::block), which sleeps at one word at a time,
//! and for whoever waits in another way.
//!
//! ```text
//! announce      from now on a publisher sees that somebody sleeps                W1
//! re-check      look at the ring, and at who is there
//!    something came, or it is time to stop  ──►  retract, and that is all
//!    nothing                                ──►  commit: sleep on the ticket, and then announce
//!                                                again, whatever ended the sleep; or announce
//!                                                again at once, if the watch has a place
//! ```
//!
//! The order is the protocol of [`word`](super::word), which argues why no wake is lost, and of
//! [`watch`](super::watch), in which a sleeper takes part if it is one of many: a slot of the watch
//! is taken after the announcement and before the look, and kept until the sleeper retracts.
//!
//! **What a ticket is good for.** The kernel lets one sleep on it as long as the word is as
//! announced. It may be slept on by another thread than the one that announced, together with other
//! words, or not at all: it costs nothing but the next publisher's wake. What counts is that a look
//! comes between the announcement and the sleep, and after each sleep an announcement before the
//! look.
//!
//! **A sleeper that is killed** leaves its bit, which costs one wake in vain, and its slot and its
//! long bit, which are cleared as those of the dead. One that is dropped without `retract`, by a
//! panic say, does the same, but its slot counts as a living watcher's as long as its end lives.
//!
//! # What whoever waits by these steps must keep to
//!
//! * After a ticket that is `fresh`, the first sleep is a brief one: a millisecond at the most
//!   ([`barrier`](super::barrier) says why; [`RealPace`](super::pace::RealPace) does it).
//! * Sleep no longer than until the timer's next check ([`timer`](super::timer)), and when one is
//!   due make it ([`End::check_liveness`](crate::pipe::End::check_liveness)). If that finds the
//!   descriptor lost, stop with an error, as nothing else would end the wait.
//! * Stop only after a full look: what can be done without waiting is done.
//! * Whoever was woken and goes without claiming may have taken the wake that another needs: be
//!   `picky`, so that wakes go to all, or announce, look whether there is something for another,
//!   and pass the wake on.
//! * One that is picky prompts the others at a check, if it finds what it cannot use itself.
//! * Ask at each entry whether the end is this process's own
//!   ([`Image`](crate::peers::fork::Image)).

use super::watch::{Shift, Watch};
use super::word::{Ticket, WakeWord};

/// An end that waits asleep at a word, from its first announcement until it stops waiting.
pub(crate) struct Sleeper<'a> {
    word: WakeWord<'a>,
    /// Others may sleep there, too.
    shared: bool,
    picky: bool,
    /// As it last announced itself, if it has not taken that back.
    announced: Option<Ticket>,
    shift: Option<Shift<'a>>,
}

impl<'a> Sleeper<'a> {
    /// `shared`: others may sleep at the word, too. `picky`: a wake may be of no use to this one
    /// though it would be to another. `watch`: those who look after the peers for all, if this one
    /// may sleep long meanwhile.
    pub(crate) fn new(
        word: WakeWord<'a>,
        shared: bool,
        picky: bool,
        watch: Option<Watch<'a>>,
    ) -> Self {
        let shift = watch.map(|watch| Shift::begin(watch, word));
        Self { word, shared, picky, announced: None, shift }
    }

    /// Announces the sleep. The caller looks at the ring and the endpoint table after this, and
    /// then commits to it or [retracts](Self::retract).
    #[inline]
    pub(crate) fn announce(&mut self) -> Ticket {
        let mut ticket = self.word.announce(self.picky, self.announced);
        ticket.long = self.shift.as_mut().is_some_and(Shift::sleeps_long);
        ticket
    }

    /// The look after the announcement was in vain. `true`: sleep on the ticket. `false`: announce
    /// and look once more, as there is a place for this end in the watch. `checked`: the look was a
    /// liveness check.
    #[inline]
    pub(crate) fn commit(&mut self, ticket: Ticket, checked: bool) -> bool {
        self.announced = Some(ticket);
        !(checked && self.shift.as_mut().is_some_and(Shift::check))
    }

    /// The wait ends, for whatever reason, after an announcement.
    #[inline]
    pub(crate) fn retract(self, ticket: Ticket) {
        if !self.shared {
            self.word.retract(ticket);
        }
        if let Some(shift) = self.shift {
            shift.end();
        }
    }
}
