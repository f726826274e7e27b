//! An endpoint: a record on the endpoint table and the hold that proves its owner alive.

use std::io;

use super::fork::Image;
use super::hold::{Hold, RegionFile, Share, record_byte};
use super::table::{self, Owner, Role};
use crate::ring::control::Words;

/// A taken record. [`leave`](Self::leave) gives it up; so does the end of the process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) record: usize,
    owner: Owner,
    hold: Hold,
}

/// Why no record could be taken.
#[derive(Debug)]
pub(crate) enum NoRecord {
    /// All records are taken by the living.
    Taken,
    /// Some record is free but its lock is held, which passes: its next owner is about to sit
    /// down; or the last one is gone, and a program that its process was starting at the moment it
    /// sat down still shares the lock, until it runs ([`hold`](super::hold)).
    Passing,
    /// The kernel refused something.
    Io(io::Error),
}

impl Endpoint {
    /// Takes one of `records` for `role` and counts the arrival. The caller then wakes everybody.
    ///
    /// A record whose owner's lock is free is taken over if `evict` is set: right where a dead
    /// owner leaves nothing behind that must be resolved first (SPSC).
    pub(crate) fn take(
        file: RegionFile<'_>,
        words: &Words,
        records: std::ops::Range<usize>,
        role: Role,
        evict: bool,
    ) -> Result<Self, NoRecord> {
        let mut none = NoRecord::Taken;
        for record in records {
            if !evict && table::owner(&words.owners[record]).is_some() {
                continue;
            }
            let byte = record_byte(role, record);
            let Some(hold) = Hold::take(file, byte, Share::Exclusive).map_err(NoRecord::Io)? else {
                if table::owner(&words.owners[record]).is_none() {
                    none = NoRecord::Passing;
                }
                continue;
            };
            // A record can change hands between the look and the lock; with the lock in hand only its
            // last owner can still touch it, once, on the way out: hence the second try.
            for _ in 0..2 {
                if let Some(owner) =
                    table::take(&words.owners[record], role, std::process::id(), evict)
                {
                    table::arrived(words, role);
                    return Ok(Self { record, owner, hold });
                }
            }
        }
        Err(none)
    }

    /// The process that sits here.
    pub(crate) fn image(&self) -> Image {
        self.hold.image()
    }

    /// Gives the record up; `abandon`: for others to take over what this receiving end has claimed and
    /// not released. The caller then wakes everybody.
    pub(crate) fn leave(self, words: &Words, abandon: bool) {
        // Unlock first: a successor that finds the record still taken sees from the free lock that
        // its owner is through, whereas a free record with a held lock would turn it away.
        drop(self.hold);
        if abandon {
            table::abandon(words, self.record, self.owner);
        } else {
            table::leave(words, self.record, self.owner);
        }
    }
}
