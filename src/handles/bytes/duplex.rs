//! Two byte pipes, one each way.

use std::io::{self, Read, Write};

use super::super::ring::Ring;
use crate::error::ChannelError;
use crate::ring::Bytes;

type Reader = super::super::recv::RecvHandle<u8, Bytes>;
type Writer = super::super::send::SendHandle<u8, Bytes>;

/// One end of two byte pipes, one each way: an [`io::Read`] and an [`io::Write`], as a socket is.
///
/// Dropping it closes both. To close one way alone, as `shutdown` does, take it
/// [apart](Self::into_parts).
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut here, mut there) = ringpipe::duplex()?;
/// let echo = std::thread::spawn(move || -> std::io::Result<()> {
///     let mut word = [0; 5];
///     there.read_exact(&mut word)?;
///     there.write_all(&word)
/// });
/// here.write_all(b"hello")?;
/// let mut answer = String::new();
/// here.read_to_string(&mut answer)?; // until the other end is dropped
/// assert_eq!(answer, "hello");
/// echo.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Duplex {
    tx: Writer,
    rx: Reader,
}

impl Duplex {
    /// From the ends of two pipes.
    pub fn new(tx: Writer, rx: Reader) -> Self {
        Self { tx, rx }
    }

    /// The writer, say to set how it waits.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.tx
    }

    /// The reader.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.rx
    }

    /// Both, to be used or dropped by themselves.
    pub fn into_parts(self) -> (Writer, Reader) {
        (self.tx, self.rx)
    }
}

impl Read for Duplex {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.rx.read(into)
    }

    fn read_vectored(&mut self, into: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        self.rx.read_vectored(into)
    }
}

impl Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tx.write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.tx.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tx.flush()
    }
}

/// Two pipes for two ends: the first one's way out, and its way back.
pub(in super::super) fn two_ways() -> Result<[Ring<u8, Bytes>; 2], ChannelError> {
    let ring = || Ring::<u8, Bytes>::options().create_anonymous();
    Ok([ring()?, ring()?])
}

/// Two ends that talk to each other, of 64 KiB each way, for threads of one process. With a child:
/// [`PassRing::pass_duplex`](crate::PassRing::pass_duplex).
///
/// # Errors
///
/// [`ChannelError`]: no memory, too many open files.
pub fn duplex() -> Result<(Duplex, Duplex), ChannelError> {
    let [out, back] = two_ways()?;
    let here = Duplex::new(out.writer()?, back.reader()?);
    let there = Duplex::new(back.writer()?, out.reader()?);
    Ok((here, there))
}
