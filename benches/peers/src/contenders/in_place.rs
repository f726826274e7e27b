//! ringpipe's batches in place, in the sense in which shaq's are: the sender copies its items into
//! claimed slots of the ring, and the receiver looks at them where they lie.

use ringpipe::spsc::{Consumer, Producer};

use super::ours::{Open, Spsc};
use super::{Contender, Door, Laid, Link, Payload, Rx, Tx};
use crate::Outcome;

pub struct InPlace;

impl Contender for InPlace {
    const NAME: &'static str = "ringpipe-in-place";
    type Door<P: Payload> = Ends<P>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        if link.batch > 1 { Spsc::fits(link) } else { Err("for batches") }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        Spsc::lay::<P>(link)
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Ends<P>> {
        Ok(Ends(Spsc::door(link)?))
    }
}

pub struct Ends<P: Payload>(Open<P, ringpipe::Spsc>);
pub struct Sender<P: Payload>(Producer<P>);
pub struct Receiver<P: Payload>(Consumer<P>);

impl<P: Payload> Door<P> for Ends<P> {
    type Tx = Sender<P>;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender<P>> {
        Ok(Sender(self.0.tx()?))
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        Ok(Receiver(self.0.rx()?.rx))
    }
}

impl<P: Payload> Tx<P> for Sender<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        Tx::send(&mut self.0, item)
    }

    #[inline(always)]
    fn send_batch(&mut self, mut items: &[P]) -> Outcome {
        while !items.is_empty() {
            let mut run = self.0.claim(items.len())?;
            let (now, later) = items.split_at(run.len());
            // SAFETY: only the workers have this ring, all of them through this crate, and none of
            // them forks.
            let (first, rest) = unsafe { run.as_mut_slices() };
            let (before_wrap, behind) = now.split_at(first.len());
            first.copy_from_slice(before_wrap);
            rest.copy_from_slice(behind);
            run.commit_all();
            items = later;
        }
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.0.recv()?);
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, mut look: impl FnMut(&P)) -> Outcome {
        let run = self.0.claim(max)?;
        // SAFETY: only the workers have this ring, all of them through this crate, and none of
        // them forks.
        let (first, rest) = unsafe { run.as_slices() };
        first.iter().for_each(&mut look);
        rest.iter().for_each(&mut look);
        run.release_all();
        Ok(())
    }
}
