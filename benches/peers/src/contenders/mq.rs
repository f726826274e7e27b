//! A POSIX message queue. Its length is limited to what the machine allows; the coordinator takes
//! as many slots as it gets, up to the link's, which without privileges are ten.

use std::ffi::CString;

use super::{Contender, Door, Laid, Link, Payload, Rx, Tx, Wait};
use crate::Outcome;

pub struct Mq;

fn name(link: &Link) -> Outcome<CString> {
    Ok(CString::new(format!("/{}", link.name))?)
}

fn failed(doing: &str) -> crate::Failure {
    format!("{doing}: {}", std::io::Error::last_os_error()).into()
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
        let name = name(link)?;
        let mut slots = link.capacity as i64;
        loop {
            // SAFETY: all-zero is a valid `mq_attr`.
            let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
            attr.mq_maxmsg = slots;
            attr.mq_msgsize = size_of::<P>() as i64;
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

    fn door<P: Payload>(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

pub struct Named(Link);

/// Open until the process ends.
pub struct End(libc::mqd_t);

impl<P: Payload> Door<P> for Named {
    type Tx = End;
    type Rx = End;

    fn tx(&self) -> Outcome<End> {
        // SAFETY: a C string; no creation, so no further arguments.
        match unsafe { libc::mq_open(name(&self.0)?.as_ptr(), libc::O_RDWR) } {
            -1 => Err(failed("opening the message queue")),
            queue => Ok(End(queue)),
        }
    }

    fn rx(&self) -> Outcome<End> {
        Door::<P>::tx(self)
    }
}

impl<P: Payload> Tx<P> for End {
    fn send(&mut self, item: &P) -> Outcome {
        let bytes = bytemuck::bytes_of(item);
        // SAFETY: the bytes are alive during the call.
        match unsafe { libc::mq_send(self.0, bytes.as_ptr().cast(), bytes.len(), 0) } {
            0 => Ok(()),
            _ => Err(failed("sending to the message queue")),
        }
    }
}

impl<P: Payload> Rx<P> for End {
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        let mut item = P::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut item);
        let (at, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: the bytes are alive and nobody else's during the call.
        let got = unsafe { libc::mq_receive(self.0, at, len, std::ptr::null_mut()) };
        match got == len as isize {
            true => look(&item),
            false => return Err(failed("receiving from the message queue")),
        }
        Ok(())
    }
}
