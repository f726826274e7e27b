//! que's lossless channel. It publishes every quarter of a ring, or when told to (`sync`): a single
//! send is a push and a `sync`, since a message that is held back has not been sent; a batch is as
//! many pushes and one `sync`. Its receiver frees space by the quarter, too.

use ::que::lossless::consumer::Consumer;
use ::que::lossless::producer::Producer;
use ::que::page_size::PageSize;

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx};
use crate::Outcome;

/// The capacity is part of its type.
const SLOTS: usize = 1024;

pub struct Que;

impl Contender for Que {
    const NAME: &'static str = "que";
    type Door<P: Payload> = Name;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.capacity {
            SLOTS => link.needs_two_ends().and_then(|()| link.needs_no_sleep()),
            _ => Err("built for another capacity"),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        Ok(Laid::file(link))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Name> {
        Ok(Name(link.clone()))
    }
}

pub struct Name(Link);
pub struct Sender<P>(Producer<P, SLOTS>, Pause);
pub struct Receiver<P>(Consumer<P, SLOTS>, Pause);

impl<P: Payload> Door<P> for Name {
    type Tx = Sender<P>;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender<P>> {
        // SAFETY: both sides use this type; this is the one producer, and comes first.
        let tx = unsafe { Producer::join_or_create_shmem(&self.0.name, PageSize::Standard) };
        Ok(Sender(tx.map_err(|e| e.to_string())?, self.0.pause()))
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        // SAFETY: both sides use this type; this is the one consumer.
        let rx = unsafe { Consumer::join_shmem(&self.0.name, PageSize::Standard) };
        Ok(Receiver(rx.map_err(|e| e.to_string())?, self.0.pause()))
    }
}

impl<P: Payload> Tx<P> for Sender<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.1.until(|| self.0.push(item).ok());
        self.0.sync();
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        for item in items {
            self.1.until(|| match self.0.push(item) {
                Ok(()) => Some(()),
                Err(_) => {
                    self.0.sync();
                    None
                }
            });
        }
        self.0.sync();
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.1.until(|| self.0.pop()));
        Ok(())
    }
}
