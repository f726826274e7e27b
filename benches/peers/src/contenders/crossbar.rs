//! crossbar's ring of plain values (`PodBus`), bounded: its publisher waits for the slowest of its
//! subscribers, of which there is one here, and so nothing is lost. (Its publisher and subscriber
//! of bytes drop what a subscriber is too slow for.) Both ends poll.

use ::crossbar::{BusSubscriber, PodBus};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx};
use crate::Outcome;

pub struct Crossbar;

impl Contender for Crossbar {
    const NAME: &'static str = "crossbar";
    type Door<P: Payload> = Named;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.batch {
            1 => link.needs_two_ends().and_then(|()| link.needs_no_sleep()),
            _ => Err("it has no batches"),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        // Its publisher removes the files; this is for one that was killed.
        let path = format!("/dev/shm/crossbar-pod-{}", link.name);
        let clear = move || {
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_file(format!("{path}.lock"));
        };
        Ok(Laid { fds: Vec::new(), clear: Some(Box::new(clear)) })
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

pub struct Named(Link);
pub struct Receiver<P: Payload>(BusSubscriber<P>, Pause);

impl<P: Payload> Door<P> for Named {
    type Tx = PodBus<P>;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<PodBus<P>> {
        Ok(PodBus::create_bounded(&self.0.name, self.0.capacity, 0)?)
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        Ok(Receiver(BusSubscriber::connect(&self.0.name)?, self.0.pause()))
    }
}

impl<P: Payload> Tx<P> for PodBus<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.publish(*item);
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.1.until(|| self.0.try_recv()));
        Ok(())
    }
}
