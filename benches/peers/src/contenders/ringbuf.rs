//! ringbuf: SPSC between threads; single values, and slices by `push_slice`.

use std::sync::Mutex;

use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Contender, Door, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

pub struct Ringbuf;

impl Contender for Ringbuf {
    const NAME: &'static str = "ringbuf";
    const THREADS: bool = true;
    type Door<P: Payload> = Pair<P>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        if !link.one_to_one() {
            return Err("one sender, one receiver");
        }
        match link.wait {
            Wait::Usual | Wait::Spin => Ok(()),
            Wait::Sleep | Wait::Adaptive => Err("it cannot sleep"),
        }
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Pair<P>> {
        let (tx, rx) = HeapRb::new(link.capacity).split();
        let buffer = vec![P::zeroed(); link.batch];
        let rx = Receiver { rx, buffer, pause: link.pause() };
        let tx = Sender { tx, pause: link.pause() };
        Ok(Pair(Mutex::new((Some(tx), Some(rx)))))
    }
}

/// Taken once each.
type Ends<P> = (Option<Sender<P>>, Option<Receiver<P>>);

pub struct Pair<P>(Mutex<Ends<P>>);

pub struct Sender<P> {
    tx: HeapProd<P>,
    pause: Pause,
}

pub struct Receiver<P> {
    rx: HeapCons<P>,
    buffer: Vec<P>,
    pause: Pause,
}

impl<P: Payload> Door<P> for Pair<P> {
    type Tx = Sender<P>;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender<P>> {
        Ok(self.0.lock().map_err(|e| e.to_string())?.0.take().ok_or("one sender")?)
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        Ok(self.0.lock().map_err(|e| e.to_string())?.1.take().ok_or("one receiver")?)
    }
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
