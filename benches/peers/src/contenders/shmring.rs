//! shmring: a ring of bytes; items are written and read whole, messages behind their length. Its
//! blocking calls sleep on a futex.

use std::io::{Read as _, Write as _};

use ::shmring::backend::ShmStorage;
use ::shmring::{Options, Reader, Writer, create_shm, open_shm};

use super::{Carrier, Contender, Door, Laid, Link, Load, Pause, Payload, Rx, Tx, Wait};
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
        Ok(Name { bytes: link.capacity * size_of::<P>(), link: link.clone() })
    }
}

impl Carrier<[u8]> for Shmring {
    const NAME: &'static str = <Self as Contender>::NAME;
    type Door = Name;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Bytes | Load::Messages { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        <Self as Contender>::fits(link)
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        Ok(Laid::file(link))
    }

    fn door(link: &Link) -> Outcome<Name> {
        let overhead = if link.load == Load::Bytes { 0 } else { size_of::<Length>() };
        // It wants a power of two.
        let bytes = link.bytes_with(overhead).next_power_of_two();
        Ok(Name { bytes, link: link.clone() })
    }
}

/// What we put before a message.
type Length = u64;

pub struct Name {
    link: Link,
    bytes: usize,
}

pub struct Sender {
    tx: Writer<ShmStorage>,
    /// `None`: its own way of sleeping.
    polled: Option<Pause>,
    framed: bool,
}

pub struct Receiver<B> {
    rx: Reader<ShmStorage>,
    polled: Option<Pause>,
    framed: bool,
    buffer: Vec<B>,
}

impl Name {
    fn polled(&self) -> Option<Pause> {
        matches!(self.link.wait, Wait::Usual | Wait::Spin).then(|| self.link.pause())
    }

    fn framed(&self) -> bool {
        matches!(self.link.load, Load::Messages { .. })
    }

    fn sender(&self) -> Outcome<Sender> {
        let tx = create_shm(&self.link.name, self.bytes as u64, Options::default())?;
        Ok(Sender { tx, polled: self.polled(), framed: self.framed() })
    }

    fn receiver<B>(&self, buffer: Vec<B>) -> Outcome<Receiver<B>> {
        let rx = open_shm(&self.link.name, self.bytes as u64, Options::default())?;
        Ok(Receiver { rx, polled: self.polled(), framed: self.framed(), buffer })
    }
}

impl<P: Payload> Door<P> for Name {
    type Tx = Sender;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender> {
        self.sender()
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        self.receiver(vec![P::zeroed(); self.link.batch])
    }
}

impl Door<[u8]> for Name {
    type Tx = Sender;
    type Rx = Receiver<u8>;

    fn tx(&self) -> Outcome<Sender> {
        self.sender()
    }

    fn rx(&self) -> Outcome<Receiver<u8>> {
        self.receiver(vec![0; self.link.read_size()])
    }
}

impl Sender {
    #[inline(always)]
    fn write(&mut self, mut bytes: &[u8]) -> Outcome {
        let Some(mut pause) = self.polled else {
            return Ok(self.tx.write_all(bytes)?);
        };
        while !bytes.is_empty() {
            match self.tx.try_write(bytes)? {
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

impl Tx<[u8]> for Sender {
    #[inline(always)]
    fn send(&mut self, bytes: &[u8]) -> Outcome {
        if self.framed {
            self.write(&(bytes.len() as Length).to_ne_bytes())?;
        }
        self.write(bytes)
    }
}

/// Reads what has come, of as many bytes as there are, to the end of a `unit` of them.
#[inline(always)]
fn read(
    rx: &mut Reader<ShmStorage>,
    mut polled: Option<Pause>,
    unit: usize,
    bytes: &mut [u8],
) -> Outcome<usize> {
    let mut read = 0_usize;
    while read == 0 || !read.is_multiple_of(unit) {
        // Behind the first unit: only the rest of one that has begun.
        let until = match read {
            0 => bytes.len(),
            _ => read.next_multiple_of(unit),
        };
        read += match &mut polled {
            None => rx.read(&mut bytes[read..until])?,
            Some(pause) => {
                let now = rx.try_read(&mut bytes[read..until])?;
                if now == 0 {
                    pause.idle();
                }
                now
            }
        };
    }
    Ok(read)
}

impl<P: Payload> Receiver<P> {
    /// Reads some items, of `max` at most.
    #[inline(always)]
    fn read(&mut self, max: usize) -> Outcome<usize> {
        let bytes = bytemuck::cast_slice_mut(&mut self.buffer[..max]);
        Ok(read(&mut self.rx, self.polled, size_of::<P>(), bytes)? / size_of::<P>())
    }
}

impl Rx<[u8]> for Receiver<u8> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let got = match self.framed {
            false => read(&mut self.rx, self.polled, 8, &mut self.buffer)?,
            true => {
                let mut length = [0; size_of::<Length>()];
                read(&mut self.rx, self.polled, length.len(), &mut length)?;
                let message = self.buffer.get_mut(..Length::from_ne_bytes(length) as usize);
                let message = message.ok_or("a message is longer than any that was sent")?;
                read(&mut self.rx, self.polled, message.len(), message)?
            }
        };
        look(&self.buffer[..got]);
        Ok(())
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
