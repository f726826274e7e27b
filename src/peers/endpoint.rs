//! An endpoint: a seat on the roster and the hold that proves its occupant alive.

use std::io;

use super::fork::Image;
use super::hold::{Hold, RegionFile, Share, seat_byte};
use super::roster::{self, Occupancy, Role};
use crate::ring::control::Words;

/// A taken seat. [`leave`](Self::leave) gives it up; so does the end of the process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) seat: usize,
    occupancy: Occupancy,
    hold: Hold,
}

/// Why no seat could be taken.
#[derive(Debug)]
pub(crate) enum NoSeat {
    /// All seats are taken by the living.
    Taken,
    /// Some seat is free but its lock is held, which passes: its next occupant is about to sit
    /// down; or the last one is gone, and a program that its process was starting at the moment it
    /// sat down still shares the lock, until it runs ([`hold`](super::hold)).
    Passing,
    /// The kernel refused something.
    Io(io::Error),
}

impl Endpoint {
    /// Takes one of `seats` for `role` and counts the arrival. The caller then wakes everybody.
    ///
    /// A seat whose occupant's lock is free is taken over if `evict` is set: right where a dead
    /// occupant leaves nothing behind that must be resolved first (SPSC).
    pub(crate) fn take(
        file: RegionFile<'_>,
        words: &Words,
        seats: std::ops::Range<usize>,
        role: Role,
        evict: bool,
    ) -> Result<Self, NoSeat> {
        let mut none = NoSeat::Taken;
        for seat in seats {
            if !evict && roster::occupancy(&words.seats[seat]).is_some() {
                continue;
            }
            let byte = seat_byte(role, seat);
            let Some(hold) = Hold::take(file, byte, Share::Exclusive).map_err(NoSeat::Io)? else {
                if roster::occupancy(&words.seats[seat]).is_none() {
                    none = NoSeat::Passing;
                }
                continue;
            };
            // A seat can change hands between the look and the lock; with the lock in hand only its
            // last occupant can still touch it, once, on the way out: hence the second try.
            for _ in 0..2 {
                if let Some(occupancy) =
                    roster::take(&words.seats[seat], role, std::process::id(), evict)
                {
                    roster::arrived(words, role);
                    return Ok(Self { seat, occupancy, hold });
                }
            }
        }
        Err(none)
    }

    /// The process that sits here.
    pub(crate) fn image(&self) -> Image {
        self.hold.image()
    }

    /// Gives the seat up; `estate`: for others to take over what this receiving end has claimed and
    /// not released. The caller then wakes everybody.
    pub(crate) fn leave(self, words: &Words, estate: bool) {
        // Unlock first: a successor that finds the seat still taken sees from the free lock that
        // its occupant is through, whereas a free seat with a held lock would turn it away.
        drop(self.hold);
        if estate {
            roster::bequeath(words, self.seat, self.occupancy);
        } else {
            roster::leave(words, self.seat, self.occupancy);
        }
    }
}
