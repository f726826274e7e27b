//! rtrb: SPSC between threads; single values, and slices by `push_partial_slice`.

use std::sync::Mutex;

use super::{Contender, Door, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

pub struct Rtrb;

impl Contender for Rtrb {
    const NAME: &'static str = "rtrb";
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
        let (tx, rx) = rtrb::RingBuffer::new(link.capacity);
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
    tx: rtrb::Producer<P>,
    pause: Pause,
}

pub struct Receiver<P> {
    rx: rtrb::Consumer<P>,
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
