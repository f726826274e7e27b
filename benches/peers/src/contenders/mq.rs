//! A POSIX message queue. Its length is limited to what the machine allows; the coordinator takes
//! as many slots as it gets, up to the link's, which without privileges are ten.

use std::ffi::CString;

use super::{Carrier, Contender, Door, Laid, Link, Load, Payload, Rx, Tx, Wait};
use crate::Outcome;

pub struct Mq;

fn name(link: &Link) -> Outcome<CString> {
    Ok(CString::new(format!("/{}", link.name))?)
}

fn failed(doing: &str) -> crate::Failure {
    format!("{doing}: {}", std::io::Error::last_os_error()).into()
}

/// A queue of at most so many messages of at most so many bytes: as many as the machine allows.
fn lay(link: &Link, slots: usize, bytes: usize) -> Outcome<Laid> {
    let name = name(link)?;
    let mut slots = slots as i64;
    loop {
        // SAFETY: all-zero is a valid `mq_attr`.
        let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
        attr.mq_maxmsg = slots;
        attr.mq_msgsize = bytes as i64;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
        // SAFETY: a C string and a filled-in attribute, both alive during the call.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attr) };
        if queue >= 0 {
            // SAFETY: our own descriptor, closed once. The name keeps the queue.
            unsafe { libc::mq_close(queue) };
            break;
        }
        slots /= 2;
        if slots < 8 {
            return Err(failed("creating a message queue"));
        }
    }
    let clear = move || {
        // SAFETY: a C string.
        unsafe { libc::mq_unlink(name.as_ptr()) };
    };
    Ok(Laid { fds: Vec::new(), clear: Some(Box::new(clear)) })
}

/// The longest message that the machine allows without privileges.
fn longest() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/fs/mqueue/msgsize_max");
    limit.ok().and_then(|limit| limit.trim().parse().ok()).unwrap_or(8192)
}

impl Contender for Mq {
    const NAME: &'static str = "posix-mq";
    type Door<P: Payload> = Named;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            _ if link.batch > 1 => Err("one call, one message"),
            Wait::Spin => Err("it sleeps"),
            Wait::Adaptive => Err("it sleeps at once"),
            _ => Ok(()),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        lay(link, link.capacity, size_of::<P>())
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

impl Carrier<[u8]> for Mq {
    const NAME: &'static str = <Self as Contender>::NAME;
    type Door = Named;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Messages { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        match longest() {
            longest if link.size > longest => Err("the machine's msgsize_max is less"),
            _ => <Self as Contender>::fits(link),
        }
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        lay(link, link.messages(), link.size)
    }

    fn door(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

pub struct Named(Link);

/// Open until the process ends.
pub struct End(libc::mqd_t);
pub struct Receiver(End, Vec<u8>);

impl Named {
    fn open(&self) -> Outcome<End> {
        // SAFETY: a C string; no creation, so no further arguments.
        match unsafe { libc::mq_open(name(&self.0)?.as_ptr(), libc::O_RDWR) } {
            -1 => Err(failed("opening the message queue")),
            queue => Ok(End(queue)),
        }
    }
}

impl<P: Payload> Door<P> for Named {
    type Tx = End;
    type Rx = End;

    fn tx(&self) -> Outcome<End> {
        self.open()
    }

    fn rx(&self) -> Outcome<End> {
        self.open()
    }
}

impl Door<[u8]> for Named {
    type Tx = End;
    type Rx = Receiver;

    fn tx(&self) -> Outcome<End> {
        self.open()
    }

    fn rx(&self) -> Outcome<Receiver> {
        Ok(Receiver(self.open()?, vec![0; self.0.size]))
    }
}

impl End {
    /// Receives a message into a buffer for the longest, and says how long it is.
    fn receive(&self, bytes: &mut [u8]) -> Outcome<usize> {
        let (at, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: the bytes are alive and nobody else's during the call.
        let got = unsafe { libc::mq_receive(self.0, at, len, std::ptr::null_mut()) };
        usize::try_from(got).map_err(|_| failed("receiving from the message queue"))
    }
}

impl Tx<[u8]> for End {
    fn send(&mut self, message: &[u8]) -> Outcome {
        // SAFETY: the bytes are alive during the call.
        match unsafe { libc::mq_send(self.0, message.as_ptr().cast(), message.len(), 0) } {
            0 => Ok(()),
            _ => Err(failed("sending to the message queue")),
        }
    }
}

impl<P: Payload> Tx<P> for End {
    fn send(&mut self, item: &P) -> Outcome {
        Tx::<[u8]>::send(self, bytemuck::bytes_of(item))
    }
}

impl<P: Payload> Rx<P> for End {
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let mut item = P::zeroed();
        match self.receive(bytemuck::bytes_of_mut(&mut item))? {
            length if length == size_of::<P>() => look(&item),
            length => return Err(format!("{length} bytes came for an item").into()),
        }
        Ok(())
    }
}

impl Rx<[u8]> for Receiver {
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let length = self.0.receive(&mut self.1)?;
        look(&self.1[..length]);
        Ok(())
    }
}
