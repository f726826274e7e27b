//! ipmpsc: many senders, one receiver, over a file; messages are encoded, here as byte strings,
//! which is what its documentation calls fast (`serde_bytes`, `zero_copy_context`).

use ::ipmpsc::{Receiver, Sender, SharedRingBuffer};
use serde_bytes::Bytes;

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait};
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
        let bytes = link.capacity * (size_of::<P>() + OVERHEAD);
        SharedRingBuffer::create(&link.path(), bytes as u32)?;
        Ok(Laid::file(link))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Path> {
        Ok(Path(link.clone()))
    }
}

pub struct Path(Link);
pub struct Tx0(Sender);
pub struct Rx0(Receiver, Option<Pause>);

impl<P: Payload> Door<P> for Path {
    type Tx = Tx0;
    type Rx = Rx0;

    fn tx(&self) -> Outcome<Tx0> {
        Ok(Tx0(Sender::new(SharedRingBuffer::open(&self.0.path())?)))
    }

    fn rx(&self) -> Outcome<Rx0> {
        let polled = (self.0.wait == Wait::Spin).then(|| self.0.pause());
        Ok(Rx0(Receiver::new(SharedRingBuffer::open(&self.0.path())?), polled))
    }
}

impl<P: Payload> Tx<P> for Tx0 {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        Ok(self.0.send(&Bytes::new(bytemuck::bytes_of(item)))?)
    }
}

impl<P: Payload> Rx<P> for Rx0 {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let mut pause = self.1;
        loop {
            let mut context = self.0.zero_copy_context();
            let bytes: Option<&[u8]> = match &pause {
                None => Some(context.recv()?),
                Some(_) => context.try_recv()?,
            };
            match (bytes, &mut pause) {
                // Byte strings lie anywhere in the ring: copied out to be aligned.
                (Some(bytes), _) => {
                    look(&bytemuck::pod_read_unaligned(bytes));
                    return Ok(());
                }
                (None, Some(pause)) => pause.idle(),
                (None, None) => return Err("nothing came".into()),
            }
        }
    }
}
