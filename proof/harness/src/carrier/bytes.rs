//! Values as records in a stream of bytes.
//!
//! **A stream has no items.** A record may be cut: its writer died between two of its writes, or
//! its reader between two reads. Where a record begins is known all the same, as all are of one
//! length and a ring counts its bytes. A reader that begins in the middle of one reads its rest,
//! and a writer that finds half of one [completes](Sends::complete) it with [padding](PADDING),
//! which the reader passes over.

use ringpipe::bytes::{Reader, Writer};
use ringpipe::{AttachError, BulkError, Bytes, Deadline, Options, Ring};

use super::{Carrier, Receives, Sends, Shown, Value, Why, bulk, whole};

/// What completes a record whose writer is gone.
pub const PADDING: u8 = 0xA5;

impl<V: Value> Carrier<V> for Bytes {
    type Element = u8;
    type Sender = RecordWriter;
    type Receiver = RecordReader<V>;
    const COUNTS: bool = false;

    fn options(values: usize) -> Options<u8, Self> {
        Ring::options().capacity(values * V::RECORD)
    }
    fn sender(ring: &Ring<u8, Self>) -> Result<RecordWriter, AttachError> {
        Ok(RecordWriter { writer: ring.writer()?, record: V::RECORD })
    }
    fn receiver(ring: &Ring<u8, Self>) -> Result<RecordReader<V>, AttachError> {
        let reader = ring.reader()?;
        let into = ring.stats().received as usize % V::RECORD;
        Ok(RecordReader { reader, into, part: Vec::new(), partly: false, again: false, last: None })
    }
    fn slots(_: &V) -> u64 {
        V::RECORD as u64
    }
    fn units() -> u64 {
        V::RECORD as u64
    }
}

/// The writing end of a byte pipe, as one that sends records.
#[derive(Debug)]
pub struct RecordWriter {
    /// Itself.
    pub writer: Writer,
    record: usize,
}

/// All of these, one record after another.
pub fn records<V: Value>(values: &[V]) -> Vec<u8> {
    values.iter().map(|value| value.to_bytes(V::RECORD)).collect::<Vec<_>>().concat()
}

impl<V: Value> Sends<V> for RecordWriter {
    fn try_send(&mut self, value: V) -> Result<(), Why> {
        self.writer.try_send_exact(&value.to_bytes(V::RECORD)).map_err(bulk)
    }

    fn send_deadline(&mut self, value: V, deadline: impl Into<Deadline>) -> Result<(), Why> {
        self.writer.send_exact_deadline(&value.to_bytes(V::RECORD), deadline).map_err(bulk)
    }

    fn send_in_place(
        &mut self,
        values: &[V],
        commit: usize,
        written: impl FnOnce(),
    ) -> Result<(), Why> {
        let bytes = records(values);
        let mut run = self.writer.try_claim(bytes.len()).map_err(bulk)?;
        run.write_slice(0, &bytes);
        written();
        run.commit(commit * V::RECORD);
        Ok(())
    }

    fn hold(&mut self, values: &[V]) -> Result<(), Why> {
        let bytes = records(values);
        let mut run = self.writer.try_claim(bytes.len()).map_err(bulk)?;
        run.write_slice(0, &bytes[..bytes.len() - V::RECORD]);
        std::mem::forget(run);
        Ok(())
    }

    fn complete(&mut self) -> u64 {
        match self.writer.ring().stats().sent as usize % self.record {
            0 => 0,
            begun => {
                let padding = vec![PADDING; self.record - begun];
                self.writer.try_send_exact(&padding).expect("room behind half a record");
                self.record as u64
            }
        }
    }
}

/// The reading end of a byte pipe, as one that receives records.
#[derive(Debug)]
pub struct RecordReader<V> {
    /// Itself.
    pub reader: Reader,
    /// So many bytes of the record that comes next have been read, by this end or one before it.
    into: usize,
    /// Those of them that this end has read.
    part: Vec<u8>,
    /// Some of them had been handed out before.
    partly: bool,
    /// Likewise of the last whole record.
    again: bool,
    last: Option<V>,
}

impl<V: Value> RecordReader<V> {
    /// Takes what `read` brings until that is a record.
    fn record(
        &mut self,
        mut read: impl FnMut(&mut Reader, &mut [u8]) -> Result<usize, BulkError>,
    ) -> Result<V, Why> {
        loop {
            let mut bytes = vec![0; V::RECORD - self.into];
            let read = read(&mut self.reader, &mut bytes).map_err(bulk)?;
            self.partly |= self.reader.redelivered() > 0;
            self.part.extend_from_slice(&bytes[..read]);
            self.into += read;
            if self.into == V::RECORD {
                self.into = 0;
                self.again = std::mem::take(&mut self.partly);
                self.last = V::of_bytes(&std::mem::take(&mut self.part));
                if let Some(value) = self.last {
                    return Ok(value);
                }
            }
        }
    }
}

impl<V: Value> Receives<V> for RecordReader<V> {
    fn try_recv(&mut self) -> Result<V, Why> {
        self.record(|reader, into| reader.try_recv_slice(into))
    }

    fn recv_deadline(&mut self, deadline: impl Into<Deadline>) -> Result<V, Why> {
        let deadline = deadline.into();
        self.record(|reader, into| reader.recv_slice_deadline(into, deadline))
    }

    fn recv_in_place(
        &mut self,
        most: usize,
        look: impl FnOnce(&Shown<V>) -> usize,
    ) -> Result<(), Why> {
        let run = self.reader.try_claim(most * V::RECORD).map_err(bulk)?;
        let mut bytes = vec![0; run.len()];
        run.read_slice(0, &mut bytes);
        let shown = Shown {
            values: bytes.chunks(V::RECORD).map(whole).collect(),
            redelivered: run.redelivered() / V::RECORD,
            redeliveries: run.redeliveries(),
        };
        let release = look(&shown);
        run.release(release * V::RECORD);
        Ok(())
    }

    fn clear(&mut self) -> Result<u64, Why> {
        let cleared = self.reader.clear().map_err(bulk)?;
        self.into = (self.into + cleared as usize) % V::RECORD;
        Ok(cleared / V::RECORD as u64)
    }
    fn is_again(&self) -> bool {
        self.again
    }
    fn redeliveries(&self) -> u32 {
        self.reader.redeliveries()
    }
}
