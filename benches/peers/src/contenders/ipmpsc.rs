//! ipmpsc: many senders, one receiver, over a file; messages are encoded, here as byte strings,
//! which is what its documentation calls fast (`serde_bytes`, `zero_copy_context`).

use ::ipmpsc::{Receiver, Sender, SharedRingBuffer};
use serde_bytes::Bytes;

use super::{Carrier, Contender, Door, Laid, Link, Load, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// What it puts before a message: its own length, and that of the byte string.
const OVERHEAD: usize = 12;

pub struct Ipmpsc;

impl Contender for Ipmpsc {
    const NAME: &'static str = "ipmpsc";
    type Door<P: Payload> = Path;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            _ if link.receivers > 1 => Err("one receiver"),
            _ if link.batch > 1 => Err("it has no batches"),
            Wait::Adaptive => Err("it sleeps at once, or not at all"),
            _ => Ok(()),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        lay(link, link.capacity * (size_of::<P>() + OVERHEAD))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Path> {
        Ok(Path(link.clone()))
    }
}

impl Carrier<[u8]> for Ipmpsc {
    const NAME: &'static str = <Self as Contender>::NAME;
    type Door = Path;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Messages { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        <Self as Contender>::fits(link)
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        lay(link, link.bytes_with(OVERHEAD))
    }

    fn door(link: &Link) -> Outcome<Path> {
        Ok(Path(link.clone()))
    }
}

fn lay(link: &Link, bytes: usize) -> Outcome<Laid> {
    SharedRingBuffer::create(&link.path(), bytes as u32)?;
    Ok(Laid::file(link))
}

pub struct Path(Link);
pub struct Tx0(Sender);
pub struct Rx0(Receiver, Option<Pause>);

impl Path {
    fn sender(&self) -> Outcome<Tx0> {
        Ok(Tx0(Sender::new(SharedRingBuffer::open(&self.0.path())?)))
    }

    fn receiver(&self) -> Outcome<Rx0> {
        let polled = (self.0.wait == Wait::Spin).then(|| self.0.pause());
        Ok(Rx0(Receiver::new(SharedRingBuffer::open(&self.0.path())?), polled))
    }
}

impl<P: Payload> Door<P> for Path {
    type Tx = Tx0;
    type Rx = Rx0;

    fn tx(&self) -> Outcome<Tx0> {
        self.sender()
    }

    fn rx(&self) -> Outcome<Rx0> {
        self.receiver()
    }
}

impl Door<[u8]> for Path {
    type Tx = Tx0;
    type Rx = Rx0;

    fn tx(&self) -> Outcome<Tx0> {
        self.sender()
    }

    fn rx(&self) -> Outcome<Rx0> {
        self.receiver()
    }
}

impl<P: Payload> Tx<P> for Tx0 {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        Tx::<[u8]>::send(self, bytemuck::bytes_of(item))
    }
}

impl Tx<[u8]> for Tx0 {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) -> Outcome {
        Ok(self.0.send(&Bytes::new(message))?)
    }
}

impl<P: Payload> Rx<P> for Rx0 {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        // Byte strings lie anywhere in the ring: copied out to be aligned.
        Rx::<[u8]>::recv(self, |bytes| look(&bytemuck::pod_read_unaligned(bytes)))
    }
}

impl Rx<[u8]> for Rx0 {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let mut pause = self.1;
        loop {
            let mut context = self.0.zero_copy_context();
            let bytes: Option<&[u8]> = match &pause {
                None => Some(context.recv()?),
                Some(_) => context.try_recv()?,
            };
            match (bytes, &mut pause) {
                (Some(bytes), _) => {
                    look(bytes);
                    return Ok(());
                }
                (None, Some(pause)) => pause.idle(),
                (None, None) => return Err("nothing came".into()),
            }
        }
    }
}
