//! cloudtoid-interprocess: messages of bytes, many to many, one reader at a time. Batches are sent
//! by `try_send_batch` and received one by one. Its blocking call, which allocates a vector for
//! each message, is used where a receiver is to sleep; else it is polled with `try_recv_into`.

use cloudtoid_interprocess::{Options, Publisher, Subscriber};

use super::{Contender, Door, Laid, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// What it puts before a message.
const OVERHEAD: usize = 8;

pub struct Cloudtoid;

impl Contender for Cloudtoid {
    const NAME: &'static str = "cloudtoid";
    type Door<P: Payload> = Named;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            Wait::Adaptive => Err("it sleeps at once, or not at all"),
            _ => Ok(()),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        // Its ends remove the queue; this is for what they leave, and for ends that were killed.
        let (directory, name) = (link.path(), link.name.clone());
        let clear = move || {
            let _ = std::fs::remove_dir_all(directory);
            let _ = std::fs::remove_file(format!("/dev/shm/sem.ct3ip.{name}"));
        };
        Ok(Laid { fds: Vec::new(), clear: Some(Box::new(clear)) })
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

pub struct Named(Link);
pub struct Sender(Publisher, Pause);

pub struct Receiver<P> {
    rx: Subscriber,
    /// `None`: its own way of sleeping.
    polled: Option<Pause>,
    item: P,
}

impl Named {
    fn options<P>(&self) -> Options {
        let bytes = self.0.capacity * (size_of::<P>() + OVERHEAD);
        Options::new(&self.0.name, bytes).with_path(self.0.path())
    }
}

impl<P: Payload> Door<P> for Named {
    type Tx = Sender;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender> {
        Ok(Sender(Publisher::open(&self.options::<P>())?, self.0.pause()))
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        let polled = (self.0.wait != Wait::Sleep).then(|| self.0.pause());
        Ok(Receiver { rx: Subscriber::open(&self.options::<P>())?, polled, item: P::zeroed() })
    }
}

impl<P: Payload> Tx<P> for Sender {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        let mut pause = self.1;
        while let Err(e) = self.0.try_send(bytemuck::bytes_of(item)) {
            if !e.is_full() {
                return Err(e.into());
            }
            pause.idle();
        }
        Ok(())
    }

    #[inline(always)]
    fn send_batch(&mut self, items: &[P]) -> Outcome {
        let messages: Vec<&[u8]> = items.iter().map(bytemuck::bytes_of).collect();
        let (mut sent, mut pause) = (0, self.1);
        while sent < messages.len() {
            match self.0.try_send_batch(&messages[sent..]) {
                Ok(0) => pause.idle(),
                Ok(now) => sent += now,
                Err(e) if e.is_full() => pause.idle(),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        match &mut self.polled {
            None => self.item = bytemuck::pod_read_unaligned(&self.rx.recv()?),
            Some(pause) => {
                let mut pause = *pause;
                while self.rx.try_recv_into(bytemuck::bytes_of_mut(&mut self.item))?.is_none() {
                    pause.idle();
                }
            }
        }
        look(&self.item);
        Ok(())
    }
}
