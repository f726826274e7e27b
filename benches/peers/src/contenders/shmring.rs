//! shmring: a ring of bytes; items are written and read whole. Its blocking calls sleep on a futex.

use std::io::{Read as _, Write as _};

use ::shmring::backend::ShmStorage;
use ::shmring::{Options, Reader, Writer, create_shm, open_shm};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

pub struct Shmring;

impl Contender for Shmring {
    const NAME: &'static str = "shmring";
    type Door<P: Payload> = Name;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            Wait::Adaptive => Err("it sleeps at once, or not at all"),
            _ => link.needs_two_ends(),
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

/// `None`: its own way of sleeping.
pub struct Sender(Writer<ShmStorage>, Option<Pause>);

pub struct Receiver<P> {
    rx: Reader<ShmStorage>,
    polled: Option<Pause>,
    buffer: Vec<P>,
}

impl Name {
    fn bytes<P>(&self) -> u64 {
        (self.0.capacity * size_of::<P>()) as u64
    }

    fn polled(&self) -> Option<Pause> {
        matches!(self.0.wait, Wait::Usual | Wait::Spin).then(|| self.0.pause())
    }
}

impl<P: Payload> Door<P> for Name {
    type Tx = Sender;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender> {
        let tx = create_shm(&self.0.name, self.bytes::<P>(), Options::default())?;
        Ok(Sender(tx, self.polled()))
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        let rx = open_shm(&self.0.name, self.bytes::<P>(), Options::default())?;
        Ok(Receiver { rx, polled: self.polled(), buffer: vec![P::zeroed(); self.0.batch] })
    }
}

impl Sender {
    #[inline(always)]
    fn write(&mut self, mut bytes: &[u8]) -> Outcome {
        let Some(mut pause) = self.1 else {
            return Ok(self.0.write_all(bytes)?);
        };
        while !bytes.is_empty() {
            match self.0.try_write(bytes)? {
                0 => pause.idle(),
                written => bytes = &bytes[written..],
            }
        }
        Ok(())
    }
}

impl<P: Payload> Tx<P> for Sender {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.write(bytemuck::bytes_of(item))
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        self.write(bytemuck::cast_slice(items))
    }
}

impl<P: Payload> Receiver<P> {
    /// Reads some items, of `max` at most: what has come, to the end of an item.
    #[inline(always)]
    fn read(&mut self, max: usize) -> Outcome<usize> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffer[..max]);
        let mut pause = self.polled;
        let mut read = 0;
        while read == 0 || read % size_of::<P>() != 0 {
            // Behind the first item: only the rest of one that has begun.
            let until = match read {
                0 => bytes.len(),
                _ => read.next_multiple_of(size_of::<P>()),
            };
            read += match &mut pause {
                None => self.rx.read(&mut bytes[read..until])?,
                Some(pause) => {
                    let now = self.rx.try_read(&mut bytes[read..until])?;
                    if now == 0 {
                        pause.idle();
                    }
                    now
                }
            };
        }
        Ok(read / size_of::<P>())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        self.read(1)?;
        look(&self.buffer[0]);
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let received = self.read(max)?;
        self.buffer[..received].iter().for_each(look);
        Ok(())
    }
}
