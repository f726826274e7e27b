//! Values as the items of a ring.

use ringpipe::{
    AttachError, Deadline, Kind, Mpmc, Options, RecvHandle, RecvTimeoutError, Ring, SendHandle,
    SendTimeoutError, Spsc, TryRecvError, TrySendError,
};

use super::{Carrier, Receives, Sends, Shown, Value, Why, bulk};
use crate::Flavour;

macro_rules! carries_items {
    ($($kind:ty),*) => {$(
        impl<V: Value> Carrier<V> for $kind {
            type Element = V;
            type Sender = SendHandle<V, Self>;
            type Receiver = RecvHandle<V, Self>;

            fn options(values: usize) -> Options<V, Self> {
                Ring::options().capacity(values)
            }
            fn sender(ring: &Ring<V, Self>) -> Result<Self::Sender, AttachError> {
                <Self as Flavour>::sender(ring)
            }
            fn receiver(ring: &Ring<V, Self>) -> Result<Self::Receiver, AttachError> {
                <Self as Flavour>::receiver(ring)
            }
            fn slots(_: &V) -> u64 {
                1
            }
        }
    )*};
}
carries_items!(Spsc, Mpmc);

impl<V: Value, K: Kind> Sends<V> for SendHandle<V, K> {
    #[inline]
    fn try_send(&mut self, value: V) -> Result<(), Why> {
        SendHandle::try_send(self, value).map_err(|why| match why {
            TrySendError::Full(_) => Why::NotNow,
            TrySendError::Closed(_) => Why::Closed,
            TrySendError::Corrupt(_) => Why::Other("corrupt"),
            TrySendError::DescriptorLost(_) => Why::DescriptorLost,
            _ => Why::Other("cannot send"),
        })
    }

    #[inline]
    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why> {
        SendHandle::send_deadline(self, value, deadline).map_err(|why| match why {
            SendTimeoutError::Timeout(_) => Why::Timeout,
            SendTimeoutError::Closed(_) => Why::Closed,
            SendTimeoutError::Corrupt(_) => Why::Other("corrupt"),
            SendTimeoutError::Cancelled(_) => Why::Cancelled,
            SendTimeoutError::DescriptorLost(_) => Why::DescriptorLost,
            _ => Why::Other("cannot send"),
        })
    }

    fn send_in_place(
        &mut self,
        values: &[V],
        commit: usize,
        written: impl FnOnce(),
    ) -> Result<(), Why> {
        let mut run = self.try_claim(values.len()).map_err(bulk)?;
        for (index, &value) in values.iter().enumerate() {
            run.write(index, value);
        }
        written();
        run.commit(commit);
        Ok(())
    }

    fn hold(&mut self, values: &[V]) -> Result<(), Why> {
        let mut run = self.try_claim(values.len()).map_err(bulk)?;
        for (index, &value) in values.iter().enumerate().take(values.len() - 1) {
            run.write(index, value);
        }
        std::mem::forget(run);
        Ok(())
    }
}

impl<V: Value, K: Kind> Receives<V> for RecvHandle<V, K> {
    #[inline]
    fn try_recv(&mut self) -> Result<V, Why> {
        RecvHandle::try_recv(self).map_err(|why| match why {
            TryRecvError::Empty => Why::NotNow,
            TryRecvError::Closed => Why::Closed,
            TryRecvError::Corrupt => Why::Other("corrupt"),
            TryRecvError::DescriptorLost => Why::DescriptorLost,
            _ => Why::Other("cannot receive"),
        })
    }

    #[inline]
    fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<V, Why> {
        RecvHandle::recv_deadline(self, deadline).map_err(|why| match why {
            RecvTimeoutError::Timeout => Why::Timeout,
            RecvTimeoutError::Closed => Why::Closed,
            RecvTimeoutError::Corrupt => Why::Other("corrupt"),
            RecvTimeoutError::Cancelled => Why::Cancelled,
            RecvTimeoutError::DescriptorLost => Why::DescriptorLost,
            _ => Why::Other("cannot receive"),
        })
    }

    fn recv_in_place(
        &mut self,
        most: usize,
        look: impl FnOnce(&Shown<V>) -> usize,
    ) -> Result<(), Why> {
        let run = self.try_claim(most).map_err(bulk)?;
        let shown = Shown {
            values: run.iter().collect(),
            redelivered: run.redelivered(),
            redeliveries: run.redeliveries(),
        };
        let release = look(&shown);
        run.release(release);
        Ok(())
    }

    fn clear(&mut self) -> Result<u64, Why> {
        RecvHandle::clear(self).map_err(bulk)
    }
    fn is_again(&self) -> bool {
        self.redelivered() > 0
    }
    fn redeliveries(&self) -> u32 {
        RecvHandle::redeliveries(self)
    }
}
