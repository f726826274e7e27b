//! What the kernel offers: a pipe, Unix stream, datagram and packet sockets. All block by sleeping.
//!
//! A pipe and a stream carry bytes, the other two messages. Items of a power of two up to a page are never split among the
//! readers of a pipe that writes whole items at a time; a stream makes no such promise.

use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::{Carrier, Contender, Door, Laid, Link, Load, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// The most that a pipe may hold without privileges, as usually set.
const PIPE_MAX: usize = 1 << 20;

pub type Pipe = Kernel<IsPipe>;
pub type Datagram = Kernel<IsDatagram>;
pub type Stream = Kernel<IsStream>;
pub type SeqPacket = Kernel<IsSeqPacket>;

pub struct Kernel<K>(PhantomData<K>);

pub trait Sort: 'static + Sync {
    const NAME: &'static str;
    /// A stream of bytes: several items can be written and read in one call.
    const BYTES: bool;
    const MANY: bool;
    fn lay(bytes: usize) -> Outcome<Laid>;
}

pub struct IsPipe;
pub struct IsDatagram;
pub struct IsStream;
pub struct IsSeqPacket;

impl Sort for IsPipe {
    const NAME: &'static str = "pipe";
    const BYTES: bool = true;
    const MANY: bool = true;

    fn lay(bytes: usize) -> Outcome<Laid> {
        let (rx, tx) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&tx, bytes.clamp(1 << 16, PIPE_MAX))?;
        Ok(Laid::of([tx, rx]))
    }
}

fn sockets(kind: SocketType, bytes: usize) -> Outcome<Laid> {
    let flags = SocketFlags::CLOEXEC;
    let (tx, rx) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
    sockopt::set_socket_send_buffer_size(&tx, bytes.max(1 << 16))?;
    Ok(Laid::of([tx, rx]))
}

impl Sort for IsDatagram {
    const NAME: &'static str = "datagram-socket";
    const BYTES: bool = false;
    const MANY: bool = true;

    fn lay(bytes: usize) -> Outcome<Laid> {
        sockets(SocketType::DGRAM, bytes)
    }
}

impl Sort for IsStream {
    const NAME: &'static str = "stream-socket";
    const BYTES: bool = true;
    const MANY: bool = false;

    fn lay(bytes: usize) -> Outcome<Laid> {
        sockets(SocketType::STREAM, bytes)
    }
}

/// Messages like datagrams, over a connection.
impl Sort for IsSeqPacket {
    const NAME: &'static str = "seqpacket-socket";
    const BYTES: bool = false;
    const MANY: bool = true;

    fn lay(bytes: usize) -> Outcome<Laid> {
        sockets(SocketType::SEQPACKET, bytes)
    }
}

impl<K: Sort> Contender for Kernel<K> {
    const NAME: &'static str = K::NAME;
    type Door<P: Payload> = Ends;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            _ if !K::MANY && !link.one_to_one() => Err("a stream splits items among receivers"),
            _ if !K::BYTES && link.batch > 1 => Err("one call, one message"),
            Wait::Spin => Err("it sleeps"),
            Wait::Adaptive => Err("it sleeps at once"),
            _ => Ok(()),
        }
    }

    fn lay<P: Payload>(link: &Link) -> Outcome<Laid> {
        K::lay(link.capacity * size_of::<P>())
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Ends> {
        Ok(Ends { fds: [link.fds[0], link.fds[1]], buffer: link.batch, unit: size_of::<P>() })
    }
}

impl<K: Sort> Carrier<[u8]> for Kernel<K> {
    const NAME: &'static str = K::NAME;
    type Door = Ends;

    fn carries(load: Load) -> bool {
        match load {
            Load::Bytes => K::BYTES,
            Load::Messages { .. } => !K::BYTES,
            _ => false,
        }
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        <Self as Contender>::fits(link)
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        K::lay(link.capacity)
    }

    fn door(link: &Link) -> Outcome<Ends> {
        // A message is all that one call reads, whatever its length.
        let unit = if K::BYTES { 8 } else { 1 };
        Ok(Ends { fds: [link.fds[0], link.fds[1]], buffer: link.read_size(), unit })
    }
}

pub struct Ends {
    fds: [RawFd; 2],
    /// Items.
    buffer: usize,
    /// Bytes that are read together, if need be by several calls.
    unit: usize,
}

pub struct Sender(BorrowedFd<'static>);

pub struct Receiver<B> {
    fd: BorrowedFd<'static>,
    buffer: Vec<B>,
    unit: usize,
}

fn borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: inherited, and open until the process ends.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

impl<P: Payload> Door<P> for Ends {
    type Tx = Sender;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender> {
        Ok(Sender(borrowed(self.fds[0])))
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        Ok(Receiver::new(self, P::zeroed()))
    }
}

impl Door<[u8]> for Ends {
    type Tx = Sender;
    type Rx = Receiver<u8>;

    fn tx(&self) -> Outcome<Sender> {
        Ok(Sender(borrowed(self.fds[0])))
    }

    fn rx(&self) -> Outcome<Receiver<u8>> {
        Ok(Receiver::new(self, 0))
    }
}

impl Sender {
    fn write(&mut self, mut bytes: &[u8]) -> Outcome {
        while !bytes.is_empty() {
            match write(self.0, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl<P: Payload> Tx<P> for Sender {
    fn send(&mut self, item: &P) -> Outcome {
        self.write(bytemuck::bytes_of(item))
    }

    fn send_batch(&mut self, items: &[P]) -> Outcome {
        self.write(bytemuck::cast_slice(items))
    }
}

impl Tx<[u8]> for Sender {
    fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.write(bytes)
    }
}

impl<B: bytemuck::Pod> Receiver<B> {
    fn new(ends: &Ends, empty: B) -> Self {
        Self { fd: borrowed(ends.fds[1]), buffer: vec![empty; ends.buffer], unit: ends.unit }
    }

    /// Reads what has come, of `max` at most, to the end of a unit.
    fn read(&mut self, max: usize) -> Outcome<usize> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffer[..max]);
        let mut got = 0;
        while got == 0 || got % self.unit != 0 {
            let until = match got {
                0 => bytes.len(),
                _ => got.next_multiple_of(self.unit),
            };
            match read(self.fd, &mut bytes[got..until]) {
                Ok(0) => return Err("the other end is closed".into()),
                Ok(now) => got += now,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(got / size_of::<B>())
    }
}

impl Rx<[u8]> for Receiver<u8> {
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let got = self.read(self.buffer.len())?;
        look(&self.buffer[..got]);
        Ok(())
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
        self.read(1)?;
        look(&self.buffer[0]);
        Ok(())
    }

    fn recv_batch(&mut self, max: usize, look: impl FnMut(&P)) -> Outcome {
        let received = self.read(max)?;
        self.buffer[..received].iter().for_each(look);
        Ok(())
    }
}
