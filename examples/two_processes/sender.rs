//! The sending process: does what it is asked for until it is asked no more.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytemuck::Zeroable;
use ringpipe::BulkError;
use ringpipe::spsc::Producer;

use crate::support::Outcome;
use crate::support::children::{raw_stdin, raw_stdout};
use crate::support::figures::{now, pin};
use crate::support::hash::{Hash, Hasher};
use crate::{Chunk, DRIPS, FLOOD, Load, Name, PAUSE, ROOM, TRANSFERS, Way, options};

/// Where chunks go.
trait Sink {
    fn put(&mut self, chunks: &[Chunk]) -> Outcome;
}

impl Sink for Producer<Chunk> {
    fn put(&mut self, chunks: &[Chunk]) -> Outcome {
        match chunks {
            [one] => self.send(*one)?,
            mut many => {
                while !many.is_empty() {
                    let sent = self.send_slice(many)?;
                    many = &many[sent..];
                }
            }
        }
        Ok(())
    }
}

impl Sink for File {
    fn put(&mut self, chunks: &[Chunk]) -> Outcome {
        Ok(self.write_all(bytemuck::cast_slice(chunks))?)
    }
}

pub fn run(name: &str, processor: usize, file: &Path) -> Outcome {
    // If the receiver dies before it has removed the name, it is for us to do.
    let _name = Name(name.to_owned());
    pin(processor)?;
    let mut asked = raw_stdin()?;
    let mut next = move || {
        let mut index = [0];
        match asked.read(&mut index)? {
            0 => Ok::<_, io::Error>(None),
            _ => Ok(Some(index[0])),
        }
    };
    if next()?.is_none() {
        return Err("the receiver is gone".into());
    }
    let mut ring = options().open(name)?.producer()?;
    let mut pipe = raw_stdout()?;
    while let Some(index) = next()? {
        let (load, way) = TRANSFERS[usize::from(index)];
        match way {
            Way::Ring | Way::Spun => send(load, &mut ring, file),
            Way::Pipe => send(load, &mut pipe, file),
        }
        .map_err(gone)?;
    }
    Ok(())
}

/// Ring and pipe have their own words for it.
fn gone(error: Box<dyn std::error::Error>) -> Box<dyn std::error::Error> {
    let broken_pipe =
        error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
    let closed = error.downcast_ref::<BulkError>() == Some(&BulkError::Closed)
        || matches!(error.downcast_ref(), Some(ringpipe::SendError::<Chunk>::Closed(_)));
    match broken_pipe || closed {
        true => "the receiver is gone".into(),
        false => error,
    }
}

fn send(load: Load, to: &mut impl Sink, file: &Path) -> Outcome {
    let digest = match load {
        Load::File => send_file(to, file)?,
        Load::Memory(batch) => {
            let chunks = vec![Chunk { len: ROOM as u32, ..Chunk::zeroed() }; batch];
            for _ in 0..FLOOD / batch as u64 {
                to.put(&chunks)?;
            }
            Hash::default()
        }
        Load::Drip => {
            for _ in 0..DRIPS {
                std::thread::sleep(PAUSE);
                let sent_at = now();
                to.put(&[Chunk { sent_at, len: ROOM as u32, ..Chunk::zeroed() }])?;
            }
            Hash::default()
        }
    };
    let mut last = Chunk { len: digest.len() as u32, last: 1, ..Chunk::zeroed() };
    last.bytes[..digest.len()].copy_from_slice(&digest);
    to.put(&[last])
}

fn send_file(to: &mut impl Sink, path: &Path) -> Outcome<Hash> {
    let wrong = |e: io::Error| format!("{}: {e}", path.display());
    let mut file = io::BufReader::with_capacity(64 * ROOM, File::open(path).map_err(wrong)?);
    let mut hasher = Hasher::default();
    let mut chunk = Chunk::zeroed();
    loop {
        let len = fill(&mut file, &mut chunk.bytes).map_err(wrong)?;
        if len == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&chunk.bytes[..len]);
        chunk.len = len as u32;
        chunk.sent_at = now();
        to.put(&[chunk])?;
    }
}

/// Reads until `into` is full or the file ends.
fn fill(file: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
