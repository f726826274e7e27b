//! Waiting: spin a little, then sleep in intervals, until there is something or a reason to stop.
//!
//! [`word`] holds the wake protocol and the argument why no wake is lost, [`barrier`] the two
//! halves of its store–load barrier, [`changes`] who is woken when ends come and go, [`watch`] who
//! looks after the peers for all who sleep, [`pace`] the clock, the policies and cancellation.
//! [`tasks`] is how tasks wait, which must not block, and [`helper`] the thread that sleeps for them.
//! [`sleeper`] has the steps of a sleep, and [`timer`] tells when to ask whether the peers live:
//! both are for whoever waits, in whatever way. [`block`] below is the one loop in which every
//! blocking call of the crate does. [`coalesce`] is about less: a fraction of a microsecond,
//! between the messages of a stream.

pub(crate) mod barrier;
pub(crate) mod changes;
pub(crate) mod coalesce;
#[cfg(feature = "async")]
pub(crate) mod helper;
pub(crate) mod pace;
pub(crate) mod precedence;
pub(crate) mod sleeper;
#[cfg(any(feature = "async", loom))]
pub(crate) mod tasks;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod timer;
pub(crate) mod watch;
pub(crate) mod word;

use sleeper::Sleeper;
use watch::Watch;
use word::{Ticket, WakeWord};

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The deadline has passed.
    Timeout,
    /// Someone cancelled the wait.
    Cancelled,
    /// Who is alive cannot be asked any more: the wait might be for ever.
    DescriptorLost,
}

/// What to do next while spinning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Pause and poll, so many times.
    Spin(u32),
    /// Look. `check_due`: an interval has passed, ask whether the peers are alive.
    Look { check_due: bool },
    /// Enough: sleep.
    Sleep,
}

/// How to look for what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Fast rather than thorough: what it misses, the next full check finds.
    Poll,
    /// Whether a full check may find something. Claims nothing, asks nobody, and `Some` of anything
    /// means yes.
    Peek,
    /// Also at who is there; and if a check is due, at who is alive.
    Full { check_due: bool },
}

/// The pace of one wait: how long to spin, how long to sleep, when to stop.
pub(crate) trait Pace {
    /// Says what to do next; having yielded the processor, where others may want it.
    fn turn(&mut self) -> Turn;
    /// From now on, spins for no more polls than this in a row.
    fn poll_at_most(&mut self, _polls: u32) {}
    /// The wait ended while spinning.
    fn spun_well(&mut self);
    /// A reason to stop now.
    fn stop(&self) -> Option<Stop>;
    /// Whether sleeps may be long ones, while others keep watch.
    fn joins_watch(&self) -> bool {
        false
    }
    /// Sleeps for an interval at the most, or for ten if the ticket says that it is a long sleep.
    /// `true`: a liveness check is due.
    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool;
    /// Rests: stays away from the ring for a moment, the longer the oftener (`in_vain` times in a
    /// row) it was woken for nothing. `since`: the word as it was before the end last looked.
    fn rest(&mut self, _word: WakeWord<'_>, _since: u32, _in_vain: u32) {}
}

/// What is particular to a waiter.
#[derive(Clone, Copy)]
pub(crate) struct Waiter<'a> {
    /// Where it sleeps.
    pub(crate) word: WakeWord<'a>,
    /// Others may sleep there, too.
    pub(crate) shared: bool,
    /// A wake may be of no use to this one though it would be to another.
    pub(crate) picky: bool,
    /// Pauses before the first poll. At a full ring, polling at once would take the line away from
    /// the receivers that make room.
    pub(crate) coalesce: u32,
    /// No more polls than this between two full checks, which look at the clock, too.
    pub(crate) polls: u32,
    /// Those who look after the peers for all who sleep there.
    pub(crate) watch: Option<Watch<'a>>,
}

/// Waits until `look` finds something, as the protocol of [`word`] demands. `look` is told how to.
#[inline]
pub(crate) fn block<R>(
    waiter: Waiter<'_>,
    pace: &mut impl Pace,
    mut look: impl FnMut(Look) -> Option<R>,
) -> Result<R, Stop> {
    let Waiter { word, shared, picky, mut coalesce, polls, watch } = waiter;
    pace.poll_at_most(polls);
    loop {
        match pace.turn() {
            Turn::Spin(turns) => {
                for _ in 0..std::mem::take(&mut coalesce) {
                    crate::sync::spin_loop();
                }
                for _ in 0..turns {
                    crate::sync::spin_loop();
                    if let Some(found) = look(Look::Poll) {
                        pace.spun_well();
                        return Ok(found);
                    }
                }
            }
            Turn::Look { check_due } => {
                if let Some(found) = look(Look::Full { check_due }) {
                    pace.spun_well();
                    return Ok(found);
                }
                // Not before a full check: what can be done without waiting is done.
                if let Some(stop) = pace.stop() {
                    return Err(stop);
                }
            }
            Turn::Sleep => break,
        }
    }
    let mut check_due = false;
    let mut in_vain = 0;
    let watch = watch.filter(|_| pace.joins_watch());
    let mut sleeper = Sleeper::new(word, shared, picky, watch);
    loop {
        if !shared
            && let Some(found) = look(Look::Full { check_due: std::mem::take(&mut check_due) })
        {
            // This end alone sleeps at the word, so an unannounced look costs nobody a wake.
            return Ok(found);
        }
        let ticket = sleeper.announce();
        let outcome = match look(Look::Full { check_due }) {
            Some(found) => Ok(found),
            None => match pace.stop() {
                Some(stop) => Err(stop),
                None => {
                    if sleeper.commit(ticket, std::mem::take(&mut check_due)) {
                        check_due = pace.sleep(word, ticket);
                        if shared
                            && !check_due
                            && let Some(since) = word.moved_since(ticket)
                        {
                            let found = look(Look::Peek).is_some();
                            in_vain = if found { 0 } else { u32::saturating_add(in_vain, 1) };
                            // Once is no more than bad luck.
                            if in_vain > 1 && pace.stop().is_none() {
                                pace.rest(word, since, in_vain);
                            }
                        }
                    }
                    continue;
                }
            },
        };
        sleeper.retract(ticket);
        return outcome;
    }
}
