//! A byte pipe, beside a queue of bytes.
//!
//! Who writes and who reads never waits: how much a call moves is known before it is made. Whoever
//! includes this file chooses the calls, as those of [`play`](super::play).

use std::collections::VecDeque;
use std::io::{BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};

use ringpipe::BulkError;
use ringpipe::bytes::{self, Buffered, Reader, Writer};

pub const PAGE: usize = 4096;

#[derive(Clone, Copy, Debug)]
pub enum Call {
    Write(usize),
    /// In two pieces, of which the first has so many bytes.
    WriteVectored(usize, usize),
    /// Claims so many and commits this share of them, in 256ths.
    Commit(usize, u8),
    /// The same, and the run is forgotten.
    ForgetRoom(usize),
    Exact(usize),
    Read(usize),
    ReadVectored(usize, usize),
    /// Claims so many and releases this share of them, in 256ths.
    Release(usize, u8),
    AbandonRun(usize),
    /// Looks at what there is by a buffer, and consumes so many.
    Buffered(usize),
    Clear,
    CloseWriter,
    CloseReader,
    AttachWriter,
    AttachReader,
}

/// What the documentation says.
#[derive(Default)]
struct Model {
    capacity: usize,
    bytes: VecDeque<u8>,
    next: u8,
    /// The end there is has had an opposite one: that there is none means that it has gone.
    writer_met: bool,
    reader_met: bool,
}

impl Model {
    /// Other bytes than those before.
    fn fresh(&mut self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| {
                self.next = self.next.wrapping_mul(5).wrapping_add(3);
                self.next
            })
            .collect()
    }

    fn free(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.bytes.drain(..count).collect()
    }

    fn first(&self, count: usize) -> Vec<u8> {
        self.bytes.iter().take(count).copied().collect()
    }
}

struct Stage {
    ring: bytes::Ring,
    tx: Option<Writer>,
    rx: Option<Reader>,
    model: Model,
}

/// How many of `len` bytes a writer's call moves, or why none.
fn moved(model: &Model, len: usize, reader: bool) -> Result<usize, ErrorKind> {
    match model.free().min(len) {
        0 if len == 0 => Ok(0),
        _ if model.writer_met && !reader => Err(ErrorKind::BrokenPipe),
        0 => Err(ErrorKind::WouldBlock),
        some => Ok(some),
    }
}

/// The same of a reader's: `Ok(0)` is the end.
fn got(model: &Model, len: usize, writer: bool) -> Result<usize, ErrorKind> {
    match model.bytes.len().min(len) {
        0 if len == 0 || model.reader_met && !writer => Ok(0),
        0 => Err(ErrorKind::WouldBlock),
        some => Ok(some),
    }
}

impl Stage {
    fn write(&mut self, call: Call) {
        let (Some(tx), model, reader) = (&mut self.tx, &mut self.model, self.rx.is_some()) else {
            return;
        };
        match call {
            Call::Write(len) => {
                let bytes = model.fresh(len);
                let expected = moved(model, len, reader);
                assert_eq!(tx.write(&bytes).map_err(|why| why.kind()), expected);
                model.bytes.extend(&bytes[..expected.unwrap_or(0)]);
            }
            Call::WriteVectored(first, rest) => {
                let bytes = model.fresh(first + rest);
                let (one, other) = bytes.split_at(first);
                let expected = moved(model, first + rest, reader);
                let written = tx.write_vectored(&[IoSlice::new(one), IoSlice::new(other)]);
                assert_eq!(written.map_err(|why| why.kind()), expected);
                model.bytes.extend(&bytes[..expected.unwrap_or(0)]);
            }
            Call::Exact(len) => {
                let bytes = model.fresh(len);
                let expected = match moved(model, len, reader) {
                    _ if len > model.capacity => {
                        Err(BulkError::TooLong { len, most: model.capacity })
                    }
                    Ok(some) if some == len => Ok(()),
                    Err(ErrorKind::BrokenPipe) => Err(BulkError::Closed),
                    _ => Err(BulkError::Full),
                };
                assert_eq!(tx.try_send_exact(&bytes), expected);
                if expected.is_ok() {
                    model.bytes.extend(&bytes);
                }
            }
            Call::Commit(max, _) | Call::ForgetRoom(max) => {
                let expected = moved(model, max, reader);
                match tx.try_claim(max) {
                    Ok(mut run) => {
                        assert_eq!(Ok(run.len()), expected);
                        let bytes = model.fresh(run.len());
                        run.write_slice(0, &bytes);
                        match call {
                            Call::Commit(_, share) => {
                                let committed = bytes.len() * usize::from(share) / 256;
                                run.commit(committed);
                                model.bytes.extend(&bytes[..committed]);
                            }
                            _ => std::mem::forget(run),
                        }
                    }
                    Err(BulkError::Full) => assert_eq!(expected, Err(ErrorKind::WouldBlock)),
                    Err(why) => {
                        assert_eq!(why, BulkError::Closed);
                        assert_eq!(expected, Err(ErrorKind::BrokenPipe));
                    }
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, call: Call) {
        let (Some(rx), model, writer) = (&mut self.rx, &mut self.model, self.tx.is_some()) else {
            return;
        };
        match call {
            Call::Read(len) => {
                let mut into = vec![0; len];
                let expected = got(model, len, writer);
                let read = rx.read(&mut into).map_err(|why| why.kind());
                // Of what was shown to a reader before, no more than a portion comes at once.
                match (read, expected) {
                    (Ok(some), Ok(all)) if some < all => {
                        assert!(rx.redelivered() > 0 && some >= all.min(model.capacity / 4));
                    }
                    _ => assert_eq!(read, expected),
                }
                let some = read.unwrap_or(0);
                assert_eq!(into[..some], model.take(some));
            }
            Call::ReadVectored(first, rest) => {
                let (mut one, mut other) = (vec![0; first], vec![0; rest]);
                let mut into = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
                match rx.read_vectored(&mut into) {
                    Ok(some) => {
                        assert!(some <= first + rest);
                        assert!(some > 0 || first + rest == 0 || model.bytes.is_empty());
                        let whole = [one, other].concat();
                        assert_eq!(whole[..some], model.take(some));
                    }
                    Err(why) => {
                        assert_eq!(Err(why.kind()), got(model, first + rest, writer));
                    }
                }
            }
            Call::Release(max, _) | Call::AbandonRun(max) => {
                let expected = got(model, max, writer);
                match rx.try_claim(max) {
                    Ok(run) => {
                        assert_eq!(Ok(run.len()), expected);
                        let mut shown = vec![0; run.len()];
                        run.read_slice(0, &mut shown);
                        assert_eq!(shown, model.first(shown.len()));
                        match call {
                            Call::Release(_, share) => {
                                let released = shown.len() * usize::from(share) / 256;
                                run.release(released);
                                model.take(released);
                            }
                            _ => run.abandon(),
                        }
                    }
                    Err(BulkError::Empty) => assert_eq!(expected, Err(ErrorKind::WouldBlock)),
                    Err(why) => {
                        assert_eq!(why, BulkError::Closed);
                        assert_eq!(expected, Ok(0));
                    }
                }
            }
            Call::Clear => {
                assert_eq!(rx.clear(), Ok(model.bytes.len() as u64));
                model.bytes.clear();
            }
            _ => {}
        }
    }

    /// What is shown by a buffer is in the ring until it is consumed.
    fn buffered(&mut self, most: usize) {
        let Some(rx) = self.rx.take() else { return };
        let (model, writer) = (&mut self.model, self.tx.is_some());
        let mut buffered = Buffered::new(rx);
        match buffered.fill_buf() {
            Ok(shown) => {
                assert_eq!(shown, model.first(shown.len()));
                assert!(!shown.is_empty() || got(model, 1, writer) == Ok(0));
                let consumed = shown.len().min(most);
                buffered.consume(consumed);
                model.take(consumed);
            }
            Err(why) => assert_eq!(Err(why.kind()), got(model, 1, writer)),
        }
        self.rx = Some(buffered.into_inner());
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Buffered(most) => self.buffered(most),
            Call::CloseWriter => self.tx = None,
            Call::CloseReader => self.rx = None,
            Call::AttachWriter if self.tx.is_none() => {
                let mut tx = self.ring.writer().unwrap();
                tx.set_nonblocking(true);
                self.tx = Some(tx);
                self.model.writer_met = self.rx.is_some();
                self.model.reader_met |= self.rx.is_some();
            }
            Call::AttachReader if self.rx.is_none() => {
                let mut rx = self.ring.reader().unwrap();
                rx.set_nonblocking(true);
                // Whether somebody was told of the end before, the other model has.
                rx.require_peer();
                self.rx = Some(rx);
                self.model.reader_met = true;
                self.model.writer_met |= self.tx.is_some();
            }
            call => {
                self.write(call);
                self.read(call);
            }
        }
        assert_eq!(self.ring.len(), self.model.bytes.len());
    }
}

/// Makes the calls on a pipe of so many pages.
pub fn play(pages: usize, calls: Vec<Call>) {
    let ring = bytes::Ring::options().capacity(pages * PAGE).create_anonymous().unwrap();
    let model = Model { capacity: ring.capacity(), ..Model::default() };
    let mut stage = Stage { ring, tx: None, rx: None, model };
    for call in [Call::AttachWriter, Call::AttachReader].into_iter().chain(calls) {
        stage.call(call);
    }
}
