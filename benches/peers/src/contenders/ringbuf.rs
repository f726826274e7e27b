//! ringbuf: SPSC between threads; single values, and slices by `push_slice`.

use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Contender, Link, Pair, Pause, Payload, Rx, Tx};
use crate::Outcome;

pub struct Ringbuf;

impl Contender for Ringbuf {
    const NAME: &'static str = "ringbuf";
    const THREADS: bool = true;
    type Door<P: Payload> = Pair<Sender<P>, Receiver<P>>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends().and_then(|()| link.needs_no_sleep())
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Pair<Sender<P>, Receiver<P>>> {
        let (tx, rx) = HeapRb::new(link.capacity).split();
        let buffer = vec![P::zeroed(); link.batch];
        let rx = Receiver { rx, buffer, pause: link.pause() };
        let tx = Sender { tx, pause: link.pause() };
        Ok(Pair::new(tx, rx))
    }
}

pub struct Sender<P> {
    tx: HeapProd<P>,
    pause: Pause,
}

pub struct Receiver<P> {
    rx: HeapCons<P>,
    buffer: Vec<P>,
    pause: Pause,
}

impl<P: Payload> Tx<P> for Sender<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.pause.until(|| self.tx.try_push(*item).ok());
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        let mut pause = self.pause;
        let mut sent = 0;
        while sent < items.len() {
            match self.tx.push_slice(&items[sent..]) {
                0 => pause.idle(),
                pushed => sent += pushed,
            }
        }
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.pause.until(|| self.rx.try_pop()));
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let received = self
            .pause
            .until(|| Some(self.rx.pop_slice(&mut self.buffer[..max])).filter(|len| *len > 0));
        self.buffer[..received].iter().for_each(look);
        Ok(())
    }
}
