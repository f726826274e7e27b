//! Tasks that wait: any number of one process, at one wake word, and a helper that sleeps for them.
//!
//! A task must not sleep in a system call: its thread has others to run. So one thread of the
//! process, the [helper](super::helper), sleeps at the wake words for all tasks. To the other ends of
//! the ring it is one more sleeper ([`word`](super::word)). It claims nothing and looks at nothing
//! but whether it is worth waking a task; the task looks, with an end of its own, and claims.
//!
//! Each word has a [`Queue`]: the tasks that wait there, first come first, and the *ticket* on which
//! the helper sleeps or is about to: the word as somebody announced himself in it last.
//!
//! # The protocol
//!
//! ```text
//! task, each time it is polled                  helper
//!   look                                          sleeps at its words, on their tickets
//!   Q1  enter the queue                           by a wake, or as the word is another than the
//!       the ticket is the word's value?           ticket:
//!         look once more                          H1  announce (W1, barrier)
//!       otherwise                                 H2  the ticket is the new one
//!         announce (W1, barrier)                      worth it, by a look?
//!         look once more                          H3  take the first task out of the queue,
//!         Q2  this is the ticket; ring                or all, and wake it
//!   pending                                           and sleeps again
//! ```
//!
//! A task that found something leaves the queue. Queue and ticket are behind one mutex, and no look
//! and no waker runs under it.
//!
//! # Why no wake is lost
//!
//! **The helper is a sleeper that keeps to the rules.** It announces before it looks, and looks
//! before it sleeps, whatever ended the sleep; what it found it gives to a task. So what [`word`]
//! argues of sleepers holds of it, if a task does what a woken sleeper would: look *after* the
//! announcement (H1 comes before H3), and pass the wake on if it leaves something ready.
//!
//! **A valid ticket needs no announcement and no barrier.** Whoever announced it made the barrier
//! before it became the ticket, and the task looks after it has seen it there. If the word has
//! changed by then, or does so later, a publisher has performed W3 and its wake goes to a sleeper:
//! the helper or another, and the chain that begins with that one reaches the task in the queue, as
//! it entered (Q1) before it looked. If the helper sleeps on a ticket that is not the word's value
//! any more, because the wake went to another, that is a sleeper that has not been woken; the next
//! task announces itself. A task may store a ticket (Q2) that is stale already: the kernel refuses
//! the helper the sleep on it, which counts as a wake.
//!
//! **Several wakes, one return.** `futex_waitv` names one word of those that were woken. So the
//! helper compares each word with the ticket that it has slept on: one that has changed, or has
//! another ticket by now, counts as woken, too. One that
//! has not was not woken, but by a [`prompt`](super::word::WakeWord::prompt), which only repeats what
//! a check has found, and the helper's own check comes.
//!
//! **The kernel wakes it for anything**: whoever waits for several words cannot say by a bitset
//! which wakes are meant. So the helper counts a wake for several, or for the watch, as one for one;
//! the former reach everybody anyway, and of the latter see below.
//!
//! **A woken task that does not look.** It may have been dropped, or be dropped before it is polled.
//! Whoever leaves the queue without having found something, and is not in it any more, had been
//! woken: it passes the wake on, if the bit is set and something is ready. The helper that is woken
//! while the queue is empty does the same, having announced itself, and then gives the word up; so
//! two helpers without tasks cannot go on waking each other. (A task that is woken and polled late,
//! or never, as its thread is blocked, is like a process that is stopped: [checks](#checks).)
//!
//! **What concerns all.** A wake tells a task, which tells the next if it leaves something. But the
//! end of the file, a cancellation or a task that needs several items at once end no such chain. So
//! the helper wakes all tasks of the word if one of them is picky, if the endpoint table has
//! changed and no end is there opposite, or if somebody in this process was cancelled. Another
//! change of the table concerns one of them at the most, who takes over what a dead end has left. A
//! change that a task has not seen comes after the count that its queue began with.
//!
//! **Wakes in vain.** As a blocking end does, the helper rests for a fraction of a millisecond
//! before it announces itself again, if it or the tasks that it woke found nothing twice in a row.
//!
//! # Checks
//!
//! At each liveness interval the helper wakes the first task of a word, ready or not, which then
//! makes the check that is due, and queues up again behind the others. So the tasks at a word,
//! however many, cost what one does, and whatever a woken task did not act upon, another finds an
//! interval later. The tasks take no part in the [watch](super::watch): while there are any, they
//! check at every interval. A hand-over of the watch that woke the helper is passed on when it gives
//! the word up.
//!
//! **A brief sleep.** After a ticket that is fresh the helper looks again within a millisecond
//! ([`barrier`](super::barrier)), and wakes a task if something is ready.
//!
//! (Explored state by state with two and three tasks, a blocking receiver beside them and two
//! helpers; `loom-tests` explores this very source.)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::pace::sleep;
use super::word::{Ticket, WakeWord};
use crate::peers::table::{self, Role};
use crate::ring::control::Words;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Mutex, MutexGuard, futex};

/// A wake word with what is told by it, for those who have no end.
pub(crate) trait Place {
    /// The words of the ring.
    fn words(&self) -> &Words;

    /// Whose ends wait here.
    fn role(&self) -> Role;

    /// There may be something for one of those who wait here. Says yes rather than no.
    fn ready(&self) -> bool;

    /// Its tasks.
    fn queue(&self) -> &Queue;
}

/// The wake word of a place.
pub(crate) fn word(place: &(impl Place + ?Sized)) -> WakeWord<'_> {
    WakeWord::of(&place.words().control, place.role())
}

/// How often the endpoint table has changed.
fn changes(place: &(impl Place + ?Sized)) -> u64 {
    // Relaxed: to a helper, its announcement has shown the change (W1), and a task looks for itself.
    place.words().control.arrivals.changes.load(Relaxed)
}

/// No end of the opposite role is there: the waits of all may be over.
fn is_deserted(place: &(impl Place + ?Sized)) -> bool {
    table::count(place.words(), place.role().opposite()) == 0
}

/// Somebody has the turn ([`precedence`](super::precedence)): each of the others is to ask by itself
/// for how long it leaves it to that one.
fn has_turn(place: &(impl Place + ?Sized)) -> bool {
    // Relaxed: whether each is to look for itself.
    place.words().control.turns.of(place.role()).turn.load(Relaxed) != 0
}

/// How often a task is polled where there is no helper.
const WITHOUT_HELPER: Duration = Duration::from_millis(1);

/// Cancellations in this process. It only grows.
static CANCELLATIONS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// A flag has been set that ends the wait of an end. To be called before sleepers are woken.
pub(crate) fn cancelled() {
    CANCELLATIONS.fetch_add(1, Release); // K3 → K4: the flag
}

fn cancellations() -> u32 {
    CANCELLATIONS.load(Acquire) // K4 ← K3: the flag that was set before
}

/// What makes a helper look up.
#[derive(Debug)]
pub(crate) struct Bell(AtomicU32);

impl Bell {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// How often it has rung. To be asked before what it rings for is read.
    pub(crate) fn rung(&self) -> u32 {
        self.0.load(Relaxed) // Relaxed: the mutexes of what it rings for order all
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    pub(crate) fn ring(&self) {
        self.0.fetch_add(1, Relaxed); // Relaxed: likewise
        futex::wake(&self.0, 1, u32::MAX);
    }
}

/// The tasks of this process that wait at one wake word of one mapping.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By their numbers, in order of which they came.
    tasks: BTreeMap<u64, Task>,
    /// The next task's number.
    next: u64,
    /// On which the helper sleeps, or is about to.
    ticket: Option<Ticket>,
    /// Of the helper that sleeps here, if one does.
    bell: Option<Arc<Bell>>,
    /// Changes of the endpoint table, and cancellations, that all tasks were told of or have seen.
    told: (u64, u32),
    /// The shortest liveness interval of those who have waited since the last check.
    interval: Duration,
    /// How many tickets tasks have handed over.
    handed_over: u32,
    /// Wakes in a row, of the helper or of tasks, that came to nothing.
    in_vain: u32,
}

#[derive(Debug)]
struct Task {
    waker: Waker,
    picky: bool,
    interval: Duration,
}

/// A task's place in a queue, while it waits.
#[derive(Debug, Default)]
pub(crate) struct Seat(Option<u64>);

impl Seat {
    /// The task has queued up, and was not told to leave.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

/// How a task waits.
#[derive(Debug)]
pub(crate) struct Manner<'a> {
    pub(crate) waker: &'a Waker,
    /// A wake may be of no use to this one though it would be to another.
    pub(crate) picky: bool,
    /// How often somebody must look whether the peers live.
    pub(crate) interval: Duration,
}

/// There is no helper, and none can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHelper;

/// Polls for what `look` looks for, once or, if that is in vain, twice: the task is then to be polled
/// again when its waker says so. `helper` calls one to the place, which has none yet; if none can be
/// had, the task is to be polled again in a moment, for which it holds up its thread.
pub(crate) fn poll<T, E>(
    place: &impl Place,
    seat: &mut Seat,
    manner: Manner<'_>,
    helper: impl FnOnce() -> Result<Arc<Bell>, NoHelper>,
    mut look: impl FnMut() -> Option<Result<T, E>>,
) -> Poll<Result<T, E>> {
    let queue = place.queue();
    if let Some(found) = look() {
        return settled(place, seat, found);
    }
    let Manner { waker, picky, .. } = manner;
    let Ok(valid) = queue.enter(place, seat, manner, helper) else {
        sleep(WITHOUT_HELPER);
        waker.wake_by_ref();
        return Poll::Pending;
    };
    let ticket = (!valid).then(|| word(place).announce(picky, None));
    if let Some(found) = look() {
        return settled(place, seat, found);
    }
    if let Some(ticket) = ticket {
        queue.hand_over(ticket);
    }
    Poll::Pending
}

/// The task leaves the queue with what it has found. An error takes nothing: a wake that it had may
/// have been for another.
fn settled<T, E>(place: &impl Place, seat: &mut Seat, found: Result<T, E>) -> Poll<Result<T, E>> {
    match &found {
        Ok(_) => place.queue().has_found(seat),
        Err(_) => give_up(place, seat),
    }
    Poll::Ready(found)
}

/// The wait ends, and nothing was found: the task is dropped, or waits for something else.
pub(crate) fn give_up(place: &impl Place, seat: &mut Seat) {
    if seat.is_taken() && place.queue().leave(seat) {
        pass_on(place);
    }
}

/// The wake of one that was of no use: another gets it.
fn pass_on(place: &(impl Place + ?Sized)) {
    if word(place).is_flagged() && place.ready() {
        word(place).pass_on();
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics with it; whoever does has left nothing half done.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Q1. `true`: the ticket is valid, and serves this task, too.
    fn enter(
        &self,
        place: &impl Place,
        seat: &mut Seat,
        Manner { waker, picky, interval }: Manner<'_>,
        helper: impl FnOnce() -> Result<Arc<Bell>, NoHelper>,
    ) -> Result<bool, NoHelper> {
        let task = Task { waker: waker.clone(), picky, interval };
        let mut state = self.state();
        if state.bell.is_none() {
            state.bell = Some(helper()?);
            state.interval = interval;
            // A helper that does not know the place yet sleeps on no ticket.
            state.ticket = None;
        }
        if state.tasks.is_empty() {
            state.told = (changes(place), cancellations());
        }
        let sooner = interval < state.interval;
        state.interval = state.interval.min(interval);
        let in_vain = seat.0.is_some_and(|seat| !state.tasks.contains_key(&seat));
        state.in_vain = state.in_vain.saturating_add(in_vain.into());
        // One that was woken, and taken out by that, queues up behind the others.
        let next = state.next;
        let number = seat.0.filter(|seat| state.tasks.contains_key(seat)).unwrap_or(next);
        state.next += u64::from(number == next);
        seat.0 = Some(number);
        let before = state.tasks.insert(number, task);
        let valid = state
            .ticket
            .is_some_and(|ticket| (ticket.is_picky() || !picky) && word(place).is_as_in(ticket));
        let bell = state.bell.clone().filter(|_| sooner);
        drop(state);
        drop(before); // a waker, which runs somebody's code
        if let Some(bell) = bell {
            bell.ring(); // for the interval
        }
        Ok(valid)
    }

    /// `true`: the task had been woken.
    fn leave(&self, seat: &mut Seat) -> bool {
        let Some(number) = seat.0.take() else { return false };
        let left = self.state().tasks.remove(&number);
        left.is_none()
    }

    /// The task leaves with what it has waited for, if it has waited.
    pub(crate) fn has_found(&self, seat: &mut Seat) {
        if let Some(number) = seat.0.take() {
            let mut state = self.state();
            let left = state.tasks.remove(&number);
            state.in_vain = 0;
            drop(state);
            drop(left); // a waker, which runs somebody's code
        }
    }

    /// Q2.
    fn hand_over(&self, ticket: Ticket) {
        let mut state = self.state();
        // If there is no helper any more, the task had been taken out, and will be polled again.
        let Some(bell) = state.bell.clone() else { return };
        state.ticket = Some(ticket);
        state.handed_over = state.handed_over.wrapping_add(1);
        drop(state);
        bell.ring();
    }

    /// For the helper, before it sleeps.
    pub(crate) fn attended(&self) -> Attended {
        let State { ticket, interval, handed_over, in_vain, .. } = *self.state();
        Attended { ticket, interval, handed_over, in_vain }
    }

    /// Takes the first task out, or all of them.
    fn take(&self, all: bool) -> Vec<Waker> {
        let mut state = self.state();
        let tasks = match all {
            true => std::mem::take(&mut state.tasks),
            false => state.tasks.pop_first().into_iter().collect(),
        };
        drop(state);
        tasks.into_values().map(|task| task.waker).collect()
    }

    /// The helper gives the word up if nobody waits there: `true`.
    fn give_up_if_empty(&self) -> bool {
        let mut state = self.state();
        let empty = state.tasks.is_empty();
        // Of those who wait now.
        if let Some(shortest) = state.tasks.values().map(|task| task.interval).min() {
            state.interval = shortest;
        }
        if empty {
            (state.ticket, state.bell) = (None, None);
        }
        empty
    }
}

/// What a helper must know of a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attended {
    /// On which it is to sleep; `None`: nobody has announced himself.
    pub(crate) ticket: Option<Ticket>,
    /// How often a task is to make a check.
    pub(crate) interval: Duration,
    /// Another number: the ticket was handed over since.
    pub(crate) handed_over: u32,
    /// Wakes in a row that came to nothing.
    pub(crate) in_vain: u32,
}

/// After a sleep on this ticket: a wake of the word may have been spent on the helper, though another
/// word ended the sleep.
pub(crate) fn may_be_woken(place: &(impl Place + ?Sized), slept: Ticket) -> bool {
    // The word may seem unchanged for a moment, as the kernel promises no order. But if the ticket
    // is another by now, then so is the word; and if it is not, the kernel refuses the next sleep.
    let now = place.queue().attended().ticket;
    word(place).differs_from(slept) || now.is_some_and(|now| now.word() != slept.word())
}

/// What a wake has come to.
#[derive(Debug)]
pub(crate) enum Woken {
    /// Nobody waits there any more, and the helper has given the word up.
    Nobody,
    /// The ticket to sleep on, and the tasks to wake.
    Tasks(Ticket, Vec<Waker>),
}

/// H1 to H3, without the last step: the caller wakes the tasks.
pub(crate) fn woken(place: &(impl Place + ?Sized)) -> Woken {
    let queue = place.queue();
    let picky = queue.state().tasks.values().any(|task| task.picky);
    let ticket = word(place).announce(picky, None); // H1
    let mut state = queue.state();
    state.ticket = Some(ticket); // H2
    let now = (changes(place), cancellations());
    let before = std::mem::replace(&mut state.told, now);
    drop(state);
    // A change that ends no wait may still be for one: a claim that somebody has left behind.
    let all = picky || now.1 != before.1 || now.0 != before.0 && is_deserted(place);
    if !all && now == before && !place.ready() {
        let mut state = queue.state();
        state.in_vain = state.in_vain.saturating_add(1);
        return Woken::Tasks(ticket, Vec::new());
    }
    let tasks = queue.take(all);
    if tasks.is_empty() {
        // They are gone, perhaps just now, and did not know that they were to be woken.
        pass_on(place);
        if given_up(place) {
            return Woken::Nobody;
        }
    }
    Woken::Tasks(ticket, tasks)
}

/// Nobody waits there any more, and the helper has given the place up.
pub(crate) fn given_up(place: &(impl Place + ?Sized)) -> bool {
    let empty = place.queue().give_up_if_empty();
    if empty {
        word(place).hand_over_again(); // such a wake may have been among those that it had
    }
    empty
}

/// A task to wake, if the place is ready, or in any case: after a brief sleep, or for a check.
pub(crate) fn due(place: &(impl Place + ?Sized), check: bool) -> Vec<Waker> {
    if !check && !place.ready() {
        return Vec::new();
    }
    place.queue().state().in_vain = 0; // that one comes back says nothing of wakes
    let tasks = place.queue().take(check && has_turn(place));
    if tasks.is_empty() {
        pass_on(place); // as above
    }
    tasks
}
