//! rtrb: SPSC between threads; single values, and slices by `push_partial_slice`.

use super::{Contender, Link, Pair, Pause, Payload, Rx, Tx};
use crate::Outcome;

pub struct Rtrb;

impl Contender for Rtrb {
    const NAME: &'static str = "rtrb";
    const THREADS: bool = true;
    type Door<P: Payload> = Pair<Sender<P>, Receiver<P>>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends().and_then(|()| link.needs_no_sleep())
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Pair<Sender<P>, Receiver<P>>> {
        let (tx, rx) = rtrb::RingBuffer::new(link.capacity);
        let buffer = vec![P::zeroed(); link.batch];
        let rx = Receiver { rx, buffer, pause: link.pause() };
        let tx = Sender { tx, pause: link.pause() };
        Ok(Pair::new(tx, rx))
    }
}

pub struct Sender<P> {
    tx: rtrb::Producer<P>,
    pause: Pause,
}

pub struct Receiver<P> {
    rx: rtrb::Consumer<P>,
    buffer: Vec<P>,
    pause: Pause,
}

impl<P: Payload> Tx<P> for Sender<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.pause.until(|| self.tx.push(*item).ok());
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, mut items: &[P]) -> Outcome {
        let mut pause = self.pause;
        while !items.is_empty() {
            let (pushed, rest) = self.tx.push_partial_slice(items);
            if pushed.is_empty() {
                pause.idle();
            }
            items = rest;
        }
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.pause.until(|| self.rx.pop().ok()));
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let received = self.pause.until(|| {
            let (popped, _) = self.rx.pop_partial_slice(&mut self.buffer[..max]);
            Some(popped.len()).filter(|len| *len > 0)
        });
        self.buffer[..received].iter().for_each(look);
        Ok(())
    }
}
