//! crossbeam's bounded queue and bounded channel: MPMC between threads, single values.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::{Contender, Door, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// `ArrayQueue`, polled.
pub struct Queue;

impl Contender for Queue {
    const NAME: &'static str = "ArrayQueue";
    const THREADS: bool = true;
    type Door<P: Payload> = QueueEnd<P>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        if link.batch > 1 { Err("it has no batches") } else { link.needs_no_sleep() }
    }

    fn door<P: Payload>(link: &Link) -> Outcome<QueueEnd<P>> {
        Ok(QueueEnd(Arc::new(ArrayQueue::new(link.capacity)), link.pause()))
    }
}

pub struct QueueEnd<P>(Arc<ArrayQueue<P>>, Pause);

impl<P: Payload> Door<P> for QueueEnd<P> {
    type Tx = QueueEnd<P>;
    type Rx = QueueEnd<P>;

    fn tx(&self) -> Outcome<QueueEnd<P>> {
        Ok(QueueEnd(self.0.clone(), self.1))
    }

    fn rx(&self) -> Outcome<QueueEnd<P>> {
        Ok(QueueEnd(self.0.clone(), self.1))
    }
}

impl<P: Payload> Tx<P> for QueueEnd<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.1.until(|| self.0.push(*item).ok());
        Ok(())
    }
}

impl<P: Payload> Rx<P> for QueueEnd<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.1.until(|| self.0.pop()));
        Ok(())
    }
}

/// `crossbeam_channel::bounded`, which spins, yields and sleeps; or polled.
pub struct Channel;

impl Contender for Channel {
    const NAME: &'static str = "crossbeam-channel";
    const THREADS: bool = true;
    type Door<P: Payload> = Ends<P>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            _ if link.batch > 1 => Err("it has no batches"),
            Wait::Sleep => Err("it always spins before it sleeps"),
            _ => Ok(()),
        }
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Ends<P>> {
        let (tx, rx) = crossbeam_channel::bounded(link.capacity);
        Ok(Ends(tx, rx, (link.wait == Wait::Spin).then(|| link.pause())))
    }
}

pub struct Ends<P>(crossbeam_channel::Sender<P>, crossbeam_channel::Receiver<P>, Option<Pause>);

impl<P: Payload> Door<P> for Ends<P> {
    type Tx = Ends<P>;
    type Rx = Ends<P>;

    fn tx(&self) -> Outcome<Ends<P>> {
        Ok(Ends(self.0.clone(), self.1.clone(), self.2))
    }

    fn rx(&self) -> Outcome<Ends<P>> {
        Ok(Ends(self.0.clone(), self.1.clone(), self.2))
    }
}

impl<P: Payload> Tx<P> for Ends<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        match self.2 {
            None => self.0.send(*item)?,
            Some(pause) => pause.until(|| self.0.try_send(*item).ok()),
        }
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Ends<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        match self.2 {
            None => look(&self.1.recv()?),
            Some(pause) => look(&pause.until(|| self.1.try_recv().ok())),
        }
        Ok(())
    }
}
