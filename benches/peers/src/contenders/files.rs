//! Files that go from one descriptor to another, as a whole: each comes from memory, and goes to
//! memory, where it can be checked, or to /dev/null.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use harness::memory;
use rustix::fs::{SeekFrom, seek};
use rustix::io::write;

use super::{Labelled, Link, Load};
use crate::Outcome;
use crate::check::END;

/// A file that is sent, or that what is sent goes to: its first word is its label, each of the
/// others its own number.
pub struct File {
    fd: OwnedFd,
    /// Of a file in memory.
    words: &'static [AtomicU64],
    /// What is sent in its place as the mark at the end: a single word.
    mark: OwnedFd,
    label: u64,
    /// Bytes that have arrived.
    arrived: u64,
}

const WORD: u64 = size_of::<u64>() as u64;

impl File {
    fn of(fd: OwnedFd, words: &'static [AtomicU64]) -> Outcome<Self> {
        let mark = memory::create("peers-mark", WORD as usize)?;
        write(&mark, &END.to_ne_bytes())?;
        Ok(Self { fd, words, mark, label: 0, arrived: 0 })
    }

    fn in_memory(bytes: usize) -> Outcome<Self> {
        let fd = memory::create("peers-file", bytes)?;
        let words = memory::words(&fd, bytes / size_of::<u64>())?;
        Self::of(fd, words)
    }

    /// Where what arrives over this link goes to.
    pub fn sink(link: &Link) -> Outcome<Self> {
        if link.load == (Load::Files { kept: true }) {
            return Self::in_memory(link.size);
        }
        Self::of(OpenOptions::new().write(true).open("/dev/null")?.into(), &[])
    }

    /// To read all of, from its beginning.
    pub fn source(&self) -> Outcome<BorrowedFd<'_>> {
        let file = if self.label == END { &self.mark } else { &self.fd };
        seek(file, SeekFrom::Start(0))?;
        Ok(file.as_fd())
    }

    /// To write to, from its beginning.
    pub fn destination(&self) -> Outcome<BorrowedFd<'_>> {
        seek(&self.fd, SeekFrom::Start(0))?;
        Ok(self.fd.as_fd())
    }

    /// Shows what has arrived, and forgets it.
    pub fn show(&mut self, bytes: u64, mut look: impl FnMut(&Self)) {
        self.arrived = bytes;
        // Nobody can read from /dev/null. What goes there is known by its length alone.
        let kept = self.words.first().map(|word| word.load(Relaxed));
        let label = kept.unwrap_or(if bytes == WORD { END } else { self.label });
        let next = if label == END { self.label } else { label + 1 };
        self.label = label;
        look(self);
        self.label = next;
        // So that what did not come the next time is noticed.
        self.words.iter().for_each(|word| word.store(0, Relaxed));
    }
}

impl Labelled for File {
    type Made = Self;

    fn made(bytes: usize) -> Outcome<Self> {
        let file = Self::in_memory(bytes)?;
        (0..).zip(file.words).for_each(|(number, word)| word.store(number, Relaxed));
        Ok(file)
    }

    fn upto(&mut self, _: usize) -> &mut Self {
        self
    }

    fn label(&self) -> u64 {
        self.label
    }

    /// Makes the first word anew: to make all of it would take longer than to send it.
    fn set_label(&mut self, label: u64) {
        self.words[0].store(label, Relaxed);
        self.label = label;
    }

    fn whole(&self, length: usize) -> bool {
        let numbered = (0..).zip(self.words).skip(1);
        let wrong = numbered.fold(0, |wrong, (number, word)| wrong | (word.load(Relaxed) ^ number));
        self.arrived == length as u64 && wrong == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_not_come_as_a_whole_is_noticed() -> Outcome {
        const BYTES: usize = 1 << 16;
        let (mut source, mut sink) = (File::made(BYTES)?, File::in_memory(BYTES)?);
        let mut arrives = |label, length: usize| -> Outcome<(u64, bool)> {
            source.set_label(label);
            let mut buffer = vec![0; length];
            let got = rustix::io::read(source.source()?, &mut buffer)?;
            write(sink.destination()?, &buffer[..got])?;
            let mut seen = None;
            sink.show(got as u64, |file| seen = Some((file.label(), file.whole(BYTES))));
            Ok(seen.ok_or("it was not shown")?)
        };
        assert_eq!(arrives(3, BYTES)?, (3, true));
        assert_eq!(arrives(4, BYTES - 8)?, (4, false));
        assert_eq!(arrives(END, BYTES)?.0, END);
        assert_eq!(arrives(5, BYTES)?, (5, true));
        Ok(())
    }
}
