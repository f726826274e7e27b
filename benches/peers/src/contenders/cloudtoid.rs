//! cloudtoid-interprocess: messages of bytes, many to many, one reader at a time. Batches are sent
//! by `try_send_batch` and received one by one. Its blocking call, which allocates a vector for
//! each message, is used where a receiver is to sleep; else it is polled with `try_recv_into`.
//! Items and messages are the same to it.

use cloudtoid_interprocess::{Options, Publisher, Subscriber};

use super::{Carrier, Contender, Door, Laid, Link, Load, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// What it puts before a message.
const OVERHEAD: usize = 8;

pub struct Cloudtoid;

fn fits(link: &Link) -> Result<(), &'static str> {
    match link.wait {
        Wait::Adaptive => Err("it sleeps at once, or not at all"),
        _ => Ok(()),
    }
}

fn lay(link: &Link) -> Laid {
    // Its ends remove the queue; this is for what they leave, and for ends that were killed.
    let (directory, name) = (link.path(), link.name.clone());
    let clear = move || {
        let _ = std::fs::remove_dir_all(directory);
        let _ = std::fs::remove_file(format!("/dev/shm/sem.ct3ip.{name}"));
    };
    Laid { fds: Vec::new(), clear: Some(Box::new(clear)) }
}

impl Contender for Cloudtoid {
    const NAME: &'static str = "cloudtoid";
    type Door<P: Payload> = Named;

    fn fits(link: &Link) -> Result<(), &'static str> {
        fits(link)
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        Ok(lay(link))
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Named> {
        Ok(Named { bytes: link.capacity * (size_of::<P>() + OVERHEAD), link: link.clone() })
    }
}

impl Carrier<[u8]> for Cloudtoid {
    const NAME: &'static str = <Self as Contender>::NAME;
    type Door = Named;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Messages { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        fits(link)
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        Ok(lay(link))
    }

    fn door(link: &Link) -> Outcome<Named> {
        Ok(Named { bytes: link.bytes_with(OVERHEAD), link: link.clone() })
    }
}

pub struct Named {
    link: Link,
    bytes: usize,
}

pub struct Sender(Publisher, Pause);

pub struct Receiver<M> {
    rx: Subscriber,
    /// `None`: its own way of sleeping.
    polled: Option<Pause>,
    item: M,
}

impl Named {
    fn options(&self) -> Options {
        Options::new(&self.link.name, self.bytes).with_path(self.link.path())
    }

    fn sender(&self) -> Outcome<Sender> {
        Ok(Sender(Publisher::open(&self.options())?, self.link.pause()))
    }

    fn receiver<M>(&self, item: M) -> Outcome<Receiver<M>> {
        let polled = (self.link.wait != Wait::Sleep).then(|| self.link.pause());
        Ok(Receiver { rx: Subscriber::open(&self.options())?, polled, item })
    }
}

impl<P: Payload> Door<P> for Named {
    type Tx = Sender;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender> {
        self.sender()
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        self.receiver(P::zeroed())
    }
}

impl Door<[u8]> for Named {
    type Tx = Sender;
    type Rx = Receiver<Vec<u8>>;

    fn tx(&self) -> Outcome<Sender> {
        self.sender()
    }

    fn rx(&self) -> Outcome<Receiver<Vec<u8>>> {
        self.receiver(vec![0; self.link.size])
    }
}

impl Tx<[u8]> for Sender {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) -> Outcome {
        let mut pause = self.1;
        while let Err(e) = self.0.try_send(message) {
            if !e.is_full() {
                return Err(e.into());
            }
            pause.idle();
        }
        Ok(())
    }
}

impl<P: Payload> Tx<P> for Sender {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        Tx::<[u8]>::send(self, bytemuck::bytes_of(item))
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

/// Polls until a message has come, and says how long it is.
#[inline(always)]
fn poll(rx: &Subscriber, mut pause: Pause, buffer: &mut [u8]) -> Outcome<usize> {
    loop {
        match rx.try_recv_into(buffer)? {
            Some(length) => return Ok(length),
            None => pause.idle(),
        }
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        match self.polled {
            None => self.item = bytemuck::pod_read_unaligned(&self.rx.recv()?),
            Some(pause) => {
                poll(&self.rx, pause, bytemuck::bytes_of_mut(&mut self.item))?;
            }
        }
        look(&self.item);
        Ok(())
    }
}

impl Rx<[u8]> for Receiver<Vec<u8>> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        match self.polled {
            None => look(&self.rx.recv()?),
            Some(pause) => {
                let length = poll(&self.rx, pause, &mut self.item)?;
                look(&self.item[..length]);
            }
        }
        Ok(())
    }
}
