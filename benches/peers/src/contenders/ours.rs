//! ringpipe, by value and by slice, waiting as the link says.

use std::marker::PhantomData;

use harness::Flavour;
use ringpipe::{
    BulkError, Kind, RecvHandle, Ring, SendHandle, TryRecvError, TrySendError, WaitPolicy,
};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// An SPSC ring.
pub type Spsc = Ours<ringpipe::Spsc, false>;
/// An SPSC ring that never sleeps.
pub type SpscSpin = Ours<ringpipe::Spsc, true>;
/// An MPMC ring.
pub type Mpmc = Ours<ringpipe::Mpmc, false>;
/// An SPSC ring that is polled.
pub type SpscPolled = Polled<ringpipe::Spsc>;
/// An MPMC ring that is polled.
pub type MpmcPolled = Polled<ringpipe::Mpmc>;

pub struct Ours<K, const SPIN: bool>(PhantomData<K>);

/// What the kinds of ring are called here.
pub trait Called: Flavour {
    const NAME: [&'static str; 2];
    const POLLED: &'static str;
}

impl Called for ringpipe::Spsc {
    const NAME: [&'static str; 2] = ["ringpipe", "ringpipe-spin"];
    const POLLED: &'static str = "ringpipe-polled";
}

impl Called for ringpipe::Mpmc {
    const NAME: [&'static str; 2] = ["ringpipe-mpmc", "ringpipe-mpmc-spin"];
    const POLLED: &'static str = "ringpipe-mpmc-polled";
}

/// How ringpipe is told to wait.
pub fn policy(wait: Wait) -> WaitPolicy {
    match wait {
        Wait::Usual | Wait::Adaptive => WaitPolicy::Adaptive,
        Wait::Spin => WaitPolicy::Spin,
        Wait::Sleep => WaitPolicy::Park,
    }
}

impl<K: Called, const SPIN: bool> Contender for Ours<K, SPIN> {
    const NAME: &'static str = <K as Called>::NAME[SPIN as usize];
    type Door<P: Payload> = Open<P, K>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            Wait::Sleep | Wait::Adaptive if SPIN => Err("made to spin"),
            _ if K::MANY => Ok(()),
            _ => link.needs_two_ends(),
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
        let policy = if SPIN { WaitPolicy::Spin } else { policy(link.wait) };
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
            sent += self.send_slice(&items[sent..])?;
        }
        Ok(())
    }
}

pub struct Receiver<P: Payload, K: Kind> {
    pub rx: RecvHandle<P, K>,
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
        let received = self.rx.recv_slice(&mut self.buffer[..max])?;
        self.buffer[..received].iter().for_each(look);
        Ok(())
    }
}

/// A ring whose ends do not wait in it but try again and again, as those of a bare ring must: what
/// is left between the two is the crash protocol.
pub struct Polled<K>(PhantomData<K>);

impl<K: Called> Contender for Polled<K> {
    const NAME: &'static str = K::POLLED;
    type Door<P: Payload> = PolledDoor<P, K>;

    fn fits(link: &Link) -> Result<(), &'static str> {
        Ours::<K, true>::fits(link)
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        Ours::<K, true>::lay::<P>(link)
    }

    fn door<P: Payload>(link: &Link) -> Outcome<PolledDoor<P, K>> {
        Ok(PolledDoor { open: Ours::<K, true>::door(link)?, pause: link.pause() })
    }
}

pub struct PolledDoor<P: Payload, K: Kind> {
    open: Open<P, K>,
    pause: Pause,
}

pub struct PolledSender<P: Payload, K: Kind> {
    tx: SendHandle<P, K>,
    pause: Pause,
}

pub struct PolledReceiver<P: Payload, K: Kind> {
    receiver: Receiver<P, K>,
    pause: Pause,
}

impl<P: Payload, K: Flavour> Door<P> for PolledDoor<P, K> {
    type Tx = PolledSender<P, K>;
    type Rx = PolledReceiver<P, K>;

    fn tx(&self) -> Outcome<Self::Tx> {
        Ok(PolledSender { tx: self.open.tx()?, pause: self.pause })
    }

    fn rx(&self) -> Outcome<Self::Rx> {
        Ok(PolledReceiver { receiver: self.open.rx()?, pause: self.pause })
    }
}

impl<P: Payload, K: Flavour> Tx<P> for PolledSender<P, K> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        // As a user writes it: a closure that gives the result to another would copy it, which for
        // a large item takes longer than to send it.
        let mut pause = self.pause;
        loop {
            match self.tx.try_send(*item) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => pause.idle(),
                Err(e) => return Err(e.to_string().into()),
            }
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, mut items: &[P]) -> Outcome {
        while !items.is_empty() {
            let sent = self.pause.until(|| match self.tx.try_send_slice(items) {
                Err(BulkError::Full) => None,
                sent => Some(sent),
            });
            items = &items[sent?..];
        }
        Ok(())
    }
}

impl<P: Payload, K: Flavour> Rx<P> for PolledReceiver<P, K> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let mut pause = self.pause;
        loop {
            match self.receiver.rx.try_recv() {
                Ok(item) => {
                    look(&item);
                    return Ok(());
                }
                Err(TryRecvError::Empty) => pause.idle(),
                Err(e) => return Err(e.into()),
            }
        }
    }

    #[inline(always)]
    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let Receiver { rx, buffer } = &mut self.receiver;
        let received = self.pause.until(|| match rx.try_recv_slice(&mut buffer[..max]) {
            Err(BulkError::Empty) => None,
            received => Some(received),
        });
        buffer[..received?].iter().for_each(look);
        Ok(())
    }
}
