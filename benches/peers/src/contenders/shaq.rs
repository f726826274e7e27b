//! shaq: SPSC and MPMC over a file. Single values by `try_write`/`try_read`, runs by `write_batch`
//! and `try_reserve_read_batch`, looked at in place. Receivers that sleep use its timed calls.

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// Longer than any run lasts.
const LONG: Duration = Duration::from_secs(3600);

fn fits(link: &Link) -> Result<(), &'static str> {
    match link.wait {
        Wait::Sleep => Err("it always spins before it sleeps"),
        _ => Ok(()),
    }
}

/// `None`: its own way of sleeping.
fn polled(link: &Link) -> Option<Pause> {
    matches!(link.wait, Wait::Usual | Wait::Spin).then(|| link.pause())
}

fn file(link: &Link, create: bool) -> Outcome<File> {
    Ok(OpenOptions::new().read(true).write(true).create_new(create).open(link.path())?)
}

/// To whole pages.
fn rounded(len: usize) -> usize {
    len.next_multiple_of(4096)
}

pub struct Spsc;

impl Contender for Spsc {
    const NAME: &'static str = "shaq";
    type Door<P: Payload> = SpscDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends().and_then(|()| fits(link))
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        let laid = Laid::file(link);
        let len = rounded(::shaq::spsc::minimum_file_size::<P>(link.capacity));
        // SAFETY: nobody else has the file yet, and both sides use this type.
        unsafe { ::shaq::spsc::Producer::<P>::create(&file(link, true)?, len) }?;
        Ok(laid)
    }

    fn door<P: Payload>(link: &Link) -> Outcome<SpscDoor> {
        Ok(SpscDoor(link.clone()))
    }
}

pub struct SpscDoor(Link);
pub struct SpscTx<P>(::shaq::spsc::Producer<P>, Pause);
pub struct SpscRx<P>(::shaq::spsc::Consumer<P>, Option<Pause>);

impl<P: Payload> Door<P> for SpscDoor {
    type Tx = SpscTx<P>;
    type Rx = SpscRx<P>;

    fn tx(&self) -> Outcome<SpscTx<P>> {
        // SAFETY: the coordinator has created the queue with this type; this is the one producer.
        let tx = unsafe { ::shaq::spsc::Producer::join(&file(&self.0, false)?) }?;
        Ok(SpscTx(tx, self.0.pause()))
    }

    fn rx(&self) -> Outcome<SpscRx<P>> {
        // SAFETY: the coordinator has created the queue with this type; this is the one consumer.
        let rx = unsafe { ::shaq::spsc::Consumer::join(&file(&self.0, false)?) }?;
        Ok(SpscRx(rx, polled(&self.0)))
    }
}

impl<P: Payload> Tx<P> for SpscTx<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.1.until(|| self.0.try_write(*item).ok());
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        let mut pause = self.1;
        let mut rest = items.iter();
        while rest.len() > 0 {
            let before = rest.len();
            let mut batch = self.0.write_batch();
            while let Some(item) = rest.as_slice().first() {
                if batch.try_write(*item).is_err() {
                    break;
                }
                rest.next();
            }
            drop(batch);
            if rest.len() == before {
                pause.idle();
            }
        }
        Ok(())
    }
}

pub struct Mpmc;

impl Contender for Mpmc {
    const NAME: &'static str = "shaq-mpmc";
    type Door<P: Payload> = MpmcDoor;

    fn fits(link: &Link) -> Result<(), &'static str> {
        fits(link)
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        let laid = Laid::file(link);
        let len = rounded(::shaq::mpmc::minimum_file_size::<P>(link.capacity));
        // SAFETY: nobody else has the file yet, and all sides use this type.
        unsafe { ::shaq::mpmc::Producer::<P>::create(&file(link, true)?, len) }?;
        Ok(laid)
    }

    fn door<P: Payload>(link: &Link) -> Outcome<MpmcDoor> {
        Ok(MpmcDoor(link.clone()))
    }
}

pub struct MpmcDoor(Link);
pub struct MpmcTx<P>(::shaq::mpmc::Producer<P>, Pause);
pub struct MpmcRx<P>(::shaq::mpmc::Consumer<P>, Option<Pause>);

impl<P: Payload> Door<P> for MpmcDoor {
    type Tx = MpmcTx<P>;
    type Rx = MpmcRx<P>;

    fn tx(&self) -> Outcome<MpmcTx<P>> {
        // SAFETY: the coordinator has created the queue with this type.
        let tx = unsafe { ::shaq::mpmc::Producer::join(&file(&self.0, false)?) }?;
        Ok(MpmcTx(tx, self.0.pause()))
    }

    fn rx(&self) -> Outcome<MpmcRx<P>> {
        // SAFETY: the coordinator has created the queue with this type.
        let rx = unsafe { ::shaq::mpmc::Consumer::join(&file(&self.0, false)?) }?;
        Ok(MpmcRx(rx, polled(&self.0)))
    }
}

impl<P: Payload> Tx<P> for MpmcTx<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.1.until(|| self.0.try_write(*item).ok());
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        self.1.until(|| self.0.try_write_slice(items).then_some(()));
        Ok(())
    }
}

/// Both consumers, which have the same calls.
macro_rules! receives {
    ($($end:ident),+) => {$(
        impl<P: Payload> Rx<P> for $end<P> {
            #[inline(always)]
            fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
                match self.1 {
                    Some(pause) => look(&pause.until(|| self.0.try_read())),
                    None => look(&self.0.read_timeout(LONG)?),
                }
                Ok(())
            }

            #[inline(always)]
            fn recv_batch(&mut self, max: usize, mut look: impl FnMut(&P)) -> Outcome {
                let max = NonZeroUsize::new(max).ok_or("an empty batch")?;
                let mut pause = self.1.unwrap_or_else(|| unreachable!("batches are polled"));
                loop {
                    if let Some(batch) = self.0.try_reserve_read_batch(max) {
                        batch.iter().for_each(&mut look);
                        return Ok(());
                    }
                    pause.idle();
                }
            }
        }
    )+};
}
receives!(SpscRx, MpmcRx);
