//! ringpipe, by value and by slice, waiting as the link says.

use std::marker::PhantomData;

use ringpipe::{AttachError, Deadline, Kind, RecvHandle, Ring, SendHandle, WaitPolicy};

use super::{Contender, Door, Laid, Link, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// An SPSC ring.
pub type Spsc = Ours<ringpipe::Spsc, false>;
/// An SPSC ring that never sleeps.
pub type SpscSpin = Ours<ringpipe::Spsc, true>;
/// An MPMC ring.
pub type Mpmc = Ours<ringpipe::Mpmc, false>;

pub struct Ours<K, const SPIN: bool>(PhantomData<K>);

/// What differs between the kinds.
pub trait Flavour: Kind + Sized + Sync {
    const ONE_TO_ONE: bool;
    const NAME: [&'static str; 2];
    fn sender<P: Payload>(ring: &Ring<P, Self>) -> Result<SendHandle<P, Self>, AttachError>;
    fn receiver<P: Payload>(ring: &Ring<P, Self>) -> Result<RecvHandle<P, Self>, AttachError>;
}

impl Flavour for ringpipe::Spsc {
    const ONE_TO_ONE: bool = true;
    const NAME: [&'static str; 2] = ["ringpipe", "ringpipe-spin"];
    fn sender<P: Payload>(ring: &Ring<P, Self>) -> Result<SendHandle<P, Self>, AttachError> {
        ring.producer()
    }
    fn receiver<P: Payload>(ring: &Ring<P, Self>) -> Result<RecvHandle<P, Self>, AttachError> {
        ring.consumer()
    }
}

impl Flavour for ringpipe::Mpmc {
    const ONE_TO_ONE: bool = false;
    const NAME: [&'static str; 2] = ["ringpipe-mpmc", "ringpipe-mpmc-spin"];
    fn sender<P: Payload>(ring: &Ring<P, Self>) -> Result<SendHandle<P, Self>, AttachError> {
        ring.sender()
    }
    fn receiver<P: Payload>(ring: &Ring<P, Self>) -> Result<RecvHandle<P, Self>, AttachError> {
        ring.receiver()
    }
}

impl<K: Flavour, const SPIN: bool> Contender for Ours<K, SPIN>
where
    K: 'static,
{
    const NAME: &'static str = <K as Flavour>::NAME[SPIN as usize];
    type Door<P: Payload> = Open<P, K>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        if K::ONE_TO_ONE && !link.one_to_one() {
            return Err("one sender, one receiver");
        }
        match link.wait {
            Wait::Sleep | Wait::Adaptive if SPIN => Err("made to spin"),
            _ => Ok(()),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        let options = Ring::<P, K>::options().capacity(link.capacity).tag("peers", 1);
        let ring = options.prefault(true).create(&link.name)?;
        let clear = move || {
            if let Err(e) = ring.unlink() {
                eprintln!("peers: {e}");
            }
        };
        Ok(Laid { fds: Vec::new(), clear: Some(Box::new(clear)) })
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Open<P, K>> {
        let ring = Ring::<P, K>::options().tag("peers", 1).prefault(true).open(&link.name)?;
        let policy = match link.wait {
            _ if SPIN => WaitPolicy::Spin,
            Wait::Usual | Wait::Adaptive => WaitPolicy::Adaptive,
            Wait::Spin => WaitPolicy::Spin,
            Wait::Sleep => WaitPolicy::Park,
        };
        Ok(Open { ring, policy, batch: link.batch })
    }
}

pub struct Open<P: Payload, K: Kind> {
    ring: Ring<P, K>,
    policy: WaitPolicy,
    batch: usize,
}

impl<P: Payload, K: Flavour> Door<P> for Open<P, K> {
    type Tx = SendHandle<P, K>;
    type Rx = Receiver<P, K>;

    fn tx(&self) -> Outcome<Self::Tx> {
        let mut tx = K::sender(&self.ring)?;
        tx.set_wait_policy(self.policy);
        Ok(tx)
    }

    fn rx(&self) -> Outcome<Self::Rx> {
        let mut rx = K::receiver(&self.ring)?;
        rx.set_wait_policy(self.policy);
        Ok(Receiver { rx, buffer: vec![P::zeroed(); self.batch] })
    }
}

impl<P: Payload, K: Flavour> Tx<P> for SendHandle<P, K> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        // Named in full: this trait's method has the same name.
        Ok(SendHandle::send(self, *item).map_err(|e| e.to_string())?)
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        let mut sent = 0;
        while sent < items.len() {
            sent += self.send_slice(&items[sent..], Deadline::NEVER)?;
        }
        Ok(())
    }
}

pub struct Receiver<P: Payload, K: Kind> {
    rx: RecvHandle<P, K>,
    buffer: Vec<P>,
}

impl<P: Payload, K: Flavour> Rx<P> for Receiver<P, K> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        look(&self.rx.recv()?);
        Ok(())
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let received = self.rx.recv_slice(&mut self.buffer[..max], Deadline::NEVER)?;
        self.buffer[..received].iter().for_each(look);
        Ok(())
    }
}
