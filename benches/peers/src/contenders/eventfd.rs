//! An eventfd: a number in the kernel that a writer adds to and a reader takes. It holds one value,
//! so it has a part in round trips only; both ends sleep.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::{Contender, Door, Laid, Link, Payload, Rx, Tx, Wait, Work};
use crate::Outcome;

pub struct Eventfd;

impl Contender for Eventfd {
    const NAME: &'static str = "eventfd";
    type Door<P: Payload> = Fd;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            _ if link.work == Work::Idle => Ok(()),
            _ if link.work != Work::Trips => Err("it adds values up instead of keeping them"),
            Wait::Sleep => Ok(()),
            _ => Err("it sleeps at once"),
        }
    }

    fn lay<P: Payload>(_: &Link) -> Outcome<Laid> {
        Ok(Laid::of([eventfd(0, EventfdFlags::CLOEXEC)?]))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Fd> {
        Ok(Fd(link.fds[0]))
    }
}

pub struct Fd(RawFd);
pub struct End(BorrowedFd<'static>);

impl<P: Payload> Door<P> for Fd {
    type Tx = End;
    type Rx = End;

    fn tx(&self) -> Outcome<End> {
        // SAFETY: inherited, and open until the process ends.
        Ok(End(unsafe { BorrowedFd::borrow_raw(self.0) }))
    }

    fn rx(&self) -> Outcome<End> {
        Door::<P>::tx(self)
    }
}

/// The largest number that it takes; the end mark is larger.
const MOST: u64 = u64::MAX - 1;

impl<P: Payload> Tx<P> for End {
    fn send(&mut self, item: &P) -> Outcome {
        write(self.0, &item.label().min(MOST).to_ne_bytes())?;
        Ok(())
    }
}

impl<P: Payload> Rx<P> for End {
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let mut value = [0; 8];
        read(self.0, &mut value)?;
        let mut item = P::zeroed();
        match u64::from_ne_bytes(value) {
            MOST => item.set_label(u64::MAX),
            label => item.set_label(label),
        }
        look(&item);
        Ok(())
    }
}
