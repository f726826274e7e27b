//! A reader with a buffer of its own: `io::BufRead`.

use std::io::{self, BufRead, Read};

use super::super::recv::RecvHandle;
use super::or_end_of_file;
use crate::ring::Bytes;

/// A [`Reader`](crate::bytes::Reader) that is an [`io::BufRead`]: lines, and what parsers want.
///
/// What is shown lies in a private buffer, where no peer can change it between two looks. It stays in
/// the ring until it is consumed. So what was looked at and not consumed is not lost with this reader:
/// its successor reads it. (A [`BufReader`](io::BufReader) would have taken it out. Where the ring
/// [drops what was not released](crate::Options::drop_unreleased), that includes what was shown.)
///
/// ```
/// use ringpipe::bytes::{self, Buffered};
/// use std::io::{BufRead, Write};
///
/// let (mut tx, rx) = bytes::channel(4096)?;
/// tx.write_all(b"one\ntwo\nthree")?;
/// drop(tx);
/// let lines: Result<Vec<_>, _> = Buffered::new(rx).lines().collect();
/// assert_eq!(lines?, ["one", "two", "three"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Buffered {
    reader: RecvHandle<u8, Bytes>,
    buffer: Box<[u8]>,
    /// What of it is filled and not consumed: the next bytes of the ring.
    rest: std::ops::Range<usize>,
}

impl Buffered {
    /// With a buffer of 8 KiB.
    pub fn new(reader: RecvHandle<u8, Bytes>) -> Self {
        Self::with_capacity(8 << 10, reader)
    }

    /// With a buffer of so many bytes; at least one.
    pub fn with_capacity(capacity: usize, reader: RecvHandle<u8, Bytes>) -> Self {
        Self { reader, buffer: vec![0; capacity.max(1)].into(), rest: 0..0 }
    }

    /// The reader. Calls that read from it by themselves must be left alone as long as this has
    /// [something](Self::buffer) that is not consumed: they would read the same again.
    pub fn get_ref(&self) -> &RecvHandle<u8, Bytes> {
        &self.reader
    }

    /// What was shown and not consumed.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.rest.clone()]
    }

    /// The reader, which goes on with what was not consumed.
    pub fn into_inner(self) -> RecvHandle<u8, Bytes> {
        self.reader
    }
}

impl BufRead for Buffered {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            let reader = &mut self.reader;
            let claimed = match reader.patience().deadline() {
                Some(deadline) => reader.claim_deadline(self.buffer.len(), deadline),
                None => reader.try_claim(self.buffer.len()),
            };
            self.rest = 0..or_end_of_file(claimed.map(|run| {
                run.read_slice(0, &mut self.buffer[..run.len()]);
                run.len()
            }))?;
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.rest.len());
        if amount == 0 {
            return;
        }
        self.rest.start += amount;
        // They are there: this reader was shown them and has not released them. But in a forked
        // child, and where a peer has moved the ring's words; the next call says so.
        if let Ok(run) = self.reader.try_claim(amount) {
            run.release_all();
        }
    }
}

impl Read for Buffered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let shown = self.fill_buf()?;
        let amount = shown.len().min(into.len());
        into[..amount].copy_from_slice(&shown[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}
