//! What was observed: the calls of some processes on one ring, with their answers.
//!
//! Moments are numbers from one counter. A call's `invoked` was drawn before it began, `returned`
//! after it ended, so a call whose `returned` is below another's `invoked` was over before the
//! other began, and their callers could have known.

use std::fmt;

/// What travels. Every value of a history is another.
pub type Value = u64;

/// Processes in a history, the one that drains the ring at the end included.
pub const PROCESSES: usize = 6;

/// The most slots of a ring, and so the most values of a call.
pub const SLOTS: usize = 4;

/// Which end of the ring a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A sending end.
    Sender,
    /// A receiving end.
    Receiver,
    /// A receiving end that comes when all others are gone, and drains the ring.
    Drain,
}

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One producer, one consumer.
    Spsc,
    /// Many of both.
    Mpmc,
}

/// What a process asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// To send as many of `values` as fit, `need` at least, and to publish the first `commit` of
    /// them (fewer than all only with a run of slots written in place).
    Send {
        /// What to send.
        values: Vec<Value>,
        /// Fewer are refused.
        need: u8,
        /// The rest is given up.
        commit: u8,
    },
    /// To receive at most `max` items, `need` at least, and to release the first `release` of them
    /// (fewer than all only with a run of slots read in place).
    Receive {
        /// The most.
        max: u8,
        /// Fewer are refused.
        need: u8,
        /// The rest is kept, and received again.
        release: u8,
    },
    /// To give up the end.
    Close,
    /// Not asked for: the process was killed. Invoked with its last call, returned when it was
    /// known to be dead.
    Death,
}

/// What a call brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many slots were claimed for values, the first of them filled.
    Sent(u8),
    /// These items, of which so many, the first ones, had been delivered before.
    Received(Vec<Value>, u8),
    /// Full, empty, or one of them until the deadline.
    NotReady,
    /// End-of-file, or broken pipe.
    Closed,
    /// A receiver holds so many items, fewer than it asked for.
    Held(u8),
    /// Holes split a full ring: so many items can be received.
    Fragmented(u8),
    /// Closed by itself, or died.
    Gone,
}

/// A call, or a death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who called: an index into [`History::ends`].
    pub process: u8,
    /// What for.
    pub what: What,
    /// Before the call.
    pub invoked: u64,
    /// After the call, and what it brought. `None`: the process died in it.
    pub returned: Option<(u64, Answer)>,
}

impl Call {
    /// Both calls were in progress at some moment.
    pub fn overlaps(&self, other: &Call) -> bool {
        let ended = |call: &Call| call.returned.as_ref().map_or(u64::MAX, |(at, _)| *at);
        self.invoked < ended(other) && other.invoked < ended(self)
    }
}

/// The calls of some processes on one ring, which was empty and had all these ends (but for the
/// draining one) at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The ring's kind.
    pub kind: Kind,
    /// Its slots.
    pub capacity: u8,
    /// The processes' ends.
    pub ends: Vec<End>,
    /// In any order.
    pub calls: Vec<Call>,
}

impl History {
    /// Every two calls of different processes that were in progress at some moment, deaths and
    /// draining aside.
    pub fn overlaps(&self) -> usize {
        let calls: Vec<_> = self.calls.iter().filter(|call| call.what != What::Death).collect();
        let overlap = |a: &Call, b: &Call| a.process != b.process && a.overlaps(b);
        calls
            .iter()
            .enumerate()
            .map(|(i, a)| calls[..i].iter().filter(|b| overlap(a, b)).count())
            .sum()
    }

    /// Somebody died.
    pub fn has_deaths(&self) -> bool {
        self.calls.iter().any(|call| call.what == What::Death)
    }

    /// Somebody gave slots or items back.
    pub fn gives_back(&self) -> bool {
        self.calls.iter().any(|call| match &call.what {
            What::Send { values, commit, .. } => usize::from(*commit) < values.len(),
            What::Receive { max, release, .. } => release < max,
            What::Close | What::Death => false,
        })
    }

    /// Every call was for one item.
    pub fn one_by_one(&self) -> bool {
        self.calls.iter().all(|call| match &call.what {
            What::Send { values, .. } => values.len() == 1,
            What::Receive { max, .. } => *max == 1,
            What::Close | What::Death => true,
        })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} ring of {}: {:?}", self.kind, self.capacity, self.ends)?;
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|call| call.invoked);
        for call in calls {
            write!(f, "  {:>4} ..", call.invoked)?;
            match &call.returned {
                Some((at, answer)) => write!(f, "{at:>4}  {call}: {answer:?}")?,
                None => write!(f, "      {call}: died")?,
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{} ", self.process)?;
        match &self.what {
            What::Send { values, need, commit } => {
                write!(f, "send {values:?} need {need} commit {commit}")
            }
            What::Receive { max, need, release } => {
                write!(f, "receive {max} need {need} release {release}")
            }
            What::Close => f.write_str("close"),
            What::Death => f.write_str("killed"),
        }
    }
}
