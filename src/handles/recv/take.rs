//! Copying out what was claimed, checking it, and releasing it.

use std::slice;

use super::super::item::{Item, as_bits, checked};
use super::{Again, RecvHandle};
use crate::error::BulkError;
use crate::ring::{Kind, Refused, Run};
use crate::sync::Ordering::Relaxed;

impl<T: Item, K: Kind> RecvHandle<T, K> {
    /// [`take`](Self::take) for the run of one slot that [`at_once`](Self::at_once) claims.
    #[inline(always)]
    pub(super) fn take_at_once(&mut self, run: Run) -> Option<T> {
        // The result first: it is moved no more, whatever its size.
        if !Self::AT_HAND {
            self.again = Again::default(); // before what may panic
        }
        let received = checked(self.raw.end.mem.view(self.shape).read(run.at));
        self.taken(run, received)
    }

    /// The same for a run of one slot that a look has found.
    #[inline(always)]
    pub(super) fn take_looked(&mut self, run: Run) -> Option<T> {
        self.again = Again::default(); // before what may panic
        let received = checked(self.raw.end.read(self.shape, run.at));
        self.taken(run, received)
    }

    #[inline(always)]
    fn taken(&mut self, run: Run, received: Option<T>) -> Option<T> {
        debug_assert!(run.slots == 1 && run.items == 1 && run.again == 0);
        debug_assert!(self.again.items() == 0, "it is said before the next call has begun");
        self.raw.end.release_one(self.shape, run);
        if received.is_none() {
            self.count_dropped(1);
        }
        received
    }

    /// `Err` if a peer has corrupted the stamps, `None` if the item makes no `T`.
    #[inline(always)]
    pub(in crate::handles) fn take(&mut self, run: Run) -> Result<Option<T>, Refused> {
        let found = self.raw.end.find(self.shape, run, 0);
        let bits = found.map(|at| self.raw.end.read(self.shape, at));
        let received = bits.map(checked);
        self.note(run, if matches!(received, Some(Some(_))) { run.again.min(1) } else { 0 });
        self.raw.end.release(self.shape, run, 1);
        if matches!(received, Some(None)) {
            self.count_dropped(1);
        }
        received.ok_or(Refused::Corrupt)
    }

    /// Takes the run's item into memory that is there already: straight, where any bits make a `T`.
    /// `false` if these make none.
    #[inline(always)]
    pub(in crate::handles) fn take_into(
        &mut self,
        run: Run,
        into: &mut T,
    ) -> Result<bool, Refused> {
        let found = self.raw.end.find(self.shape, run, 0);
        let received = found.map(|at| match as_bits(slice::from_mut(into)) {
            Some(bits) => {
                self.raw.end.read_into(self.shape, at, &mut bits[0]);
                true
            }
            None => self.read_checked(at, into),
        });
        self.note(run, if received == Some(true) { run.again.min(1) } else { 0 });
        self.raw.end.release(self.shape, run, 1);
        if received == Some(false) {
            self.count_dropped(1);
        }
        received.ok_or(Refused::Corrupt)
    }

    /// Takes as many items of the run as there are and `into` has room for. Items that make no `T`
    /// are left out, and nothing is received if there are no others, or they must be `all`.
    #[inline(always)]
    pub(in crate::handles) fn take_slice(
        &mut self,
        run: Run,
        into: &mut [T],
        all: bool,
    ) -> Result<usize, BulkError> {
        let taken = into.len().min(run.items as usize);
        let into = &mut into[..taken];
        let again = run.again.min(taken as u64);
        let copied = match as_bits(into) {
            Some(into) => self.raw.end.copy_out(self.shape, run, into).map(|()| (taken, again)),
            None => self.copy_checked(run, into),
        };
        self.note(run, copied.map_or(0, |(_, again)| again));
        self.raw.end.release(self.shape, run, taken as u64);
        let (received, _) = copied.map_err(|e| self.bulk(e))?;
        if received == taken {
            return Ok(taken);
        }
        let nothing = all || received == 0;
        self.count_dropped((taken - if nothing { 0 } else { received }) as u64);
        if nothing { Err(BulkError::Invalid) } else { Ok(received) }
    }

    /// Copies the item at a position into `into` if it makes a `T`. (By itself, so that its copies
    /// stand on no stack but that of types that need them, optimised or not.)
    #[inline]
    fn read_checked(&self, at: u64, into: &mut T) -> bool {
        match checked(self.raw.end.mem.view(self.shape).read(at)) {
            Some(item) => {
                *into = item;
                true
            }
            None => false,
        }
    }

    /// Copies those of the first items of the run that make a `T`; the others are left out. How
    /// many, and how many of them somebody had before.
    fn copy_checked(&self, run: Run, into: &mut [T]) -> Result<(usize, u64), Refused> {
        let mut items = self.raw.end.items(self.shape, run);
        let (mut received, mut again) = (0, 0);
        for index in 0..into.len() {
            let at = items.next().ok_or(Refused::Corrupt)?;
            let makes_one = self.read_checked(at, &mut into[received]);
            received += usize::from(makes_one);
            again += u64::from(makes_one && (index as u64) < run.again);
        }
        Ok((received, again))
    }

    /// Items whose bits make no values.
    #[cold]
    fn count_dropped(&self, items: u64) {
        self.raw.end.mem.words.control.tally.dropped.fetch_add(items, Relaxed); // a statistic
    }

    /// Before the release of a run: what to say of its items, of which somebody had so many before.
    #[inline(always)]
    fn note(&mut self, run: Run, items: u64) {
        self.again = match items {
            0 => Again::default(),
            items => Again::new(items, self.raw.end.redeliveries(run)),
        };
    }
}
