//! ringfire with lossless backpressure: one producer, here one reader, in a file on /dev/shm. Its
//! MPMC queue drops what its readers are too slow for, so it has no part in those shapes.

use ::ringfire::spmc::{FlowControl, RingConsumer, RingProducer, RingProducerBuilder};
use ::ringfire::wait::{BusySpin, FutexWait};

use super::{Contender, Door, Laid, Link, Payload, Rx, Tx, Wait};
use crate::Outcome;

pub struct Ringfire;

impl Contender for Ringfire {
    const NAME: &'static str = "ringfire";
    type Door<P: Payload> = Path;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.one_to_one() {
            true => Ok(()),
            false => Err("its queue for many drops items when receivers fall behind"),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        // Its producer removes the file; this is for one that was ended.
        Ok(Laid::file(link))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Path> {
        Ok(Path(link.clone()))
    }
}

pub struct Path(Link);

/// How it waits.
enum Strategy {
    Spin(BusySpin),
    Futex(FutexWait),
}

pub struct Receiver<P: Payload> {
    rx: RingConsumer<P>,
    strategy: Strategy,
    buffer: Vec<P>,
}

impl<P: Payload> Door<P> for Path {
    type Tx = RingProducer<P>;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<RingProducer<P>> {
        let options = RingProducerBuilder::new(self.0.capacity as u64)
            .flow_control(FlowControl::LosslessBackpressure);
        Ok(options.build(self.0.path())?)
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        let rx = RingConsumer::<P>::builder().start_from_oldest().attach(self.0.path())?;
        let slice = Some(std::time::Duration::from_millis(50));
        let strategy = match self.0.wait {
            Wait::Usual | Wait::Spin => Strategy::Spin(BusySpin::new()),
            Wait::Sleep => Strategy::Futex(FutexWait::new(0, slice)),
            Wait::Adaptive => Strategy::Futex(FutexWait::default()),
        };
        Ok(Receiver { rx, strategy, buffer: vec![P::zeroed(); self.0.batch] })
    }
}

impl<P: Payload> Tx<P> for RingProducer<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        self.push(item);
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        self.push_batch(items);
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&match &mut self.strategy {
            Strategy::Spin(spin) => self.rx.recv_blocking(spin),
            Strategy::Futex(futex) => self.rx.recv_blocking(futex),
        });
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        loop {
            match self.rx.recv_batch(&mut self.buffer[..max]) {
                0 => std::hint::spin_loop(),
                received => {
                    self.buffer[..received].iter().for_each(look);
                    return Ok(());
                }
            }
        }
    }
}
