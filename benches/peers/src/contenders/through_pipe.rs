//! Files by way of a pipe between two processes: one moves from the source into the pipe until the
//! file ends, the other from the pipe to the destination until the pipe is closed.

use std::fs::{File as Fifo, OpenOptions};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::{read, write};
use rustix::pipe::{SpliceFlags, splice};

use super::files::File;
use super::{Carrier, Door, Laid, Link, Load, Rx, Tx};
use crate::Outcome;

pub type Splice = ThroughPipe<BySplice>;
pub type Cat = ThroughPipe<ByCat>;

pub struct ThroughPipe<M>(PhantomData<M>);

/// A way to move everything from one descriptor to another.
pub trait Mover: 'static + Sync {
    const NAME: &'static str;
    /// Until the first one ends; how many bytes.
    fn all(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome<u64>;
}

/// The kernel moves pages, or copies from and to them.
pub struct BySplice;

impl Mover for BySplice {
    const NAME: &'static str = "splice";

    fn all(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome<u64> {
        let mut moved = 0;
        loop {
            match splice(from, None, to, None, 1 << 20, SpliceFlags::MOVE)? {
                0 => return Ok(moved),
                now => moved += now as u64,
            }
        }
    }
}

/// As `cat` does: through a buffer of 128 KiB.
pub struct ByCat;

impl Mover for ByCat {
    const NAME: &'static str = "cat";

    fn all(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome<u64> {
        let mut buffer = vec![0; 1 << 17];
        let mut moved = 0;
        loop {
            let got = read(from, &mut buffer)?;
            if got == 0 {
                return Ok(moved);
            }
            let mut written = 0;
            while written < got {
                written += write(to, &buffer[written..got])?;
            }
            moved += got as u64;
        }
    }
}

/// Files go by two pipes in turn. So whoever opens one for the next file does not meet there who is
/// still at the end of the last, for whom there would be no end then.
#[derive(Clone)]
pub struct InTurn<T>([T; 2], usize);

impl<T> InTurn<T> {
    pub fn new(two: [T; 2]) -> Self {
        Self(two, 0)
    }

    pub fn next(&mut self) -> &T {
        self.1 += 1;
        &self.0[self.1 % 2]
    }
}

impl<M: Mover> Carrier<File> for ThroughPipe<M> {
    const NAME: &'static str = M::NAME;
    type Door = Pipes<M>;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Files { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends()
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        for path in paths(link) {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        // They go with the directory.
        Ok(Laid::default())
    }

    fn door(link: &Link) -> Outcome<Pipes<M>> {
        Ok(Pipes(link.clone(), PhantomData))
    }
}

fn paths(link: &Link) -> [String; 2] {
    [0, 1].map(|number| format!("{}/{}-{number}", link.scratch, link.name))
}

pub struct Pipes<M>(Link, PhantomData<M>);
pub struct Sender<M>(InTurn<String>, PhantomData<M>);
pub struct Receiver<M>(InTurn<String>, File, PhantomData<M>);

impl<M: Mover> Door<File> for Pipes<M> {
    type Tx = Sender<M>;
    type Rx = Receiver<M>;

    fn tx(&self) -> Outcome<Sender<M>> {
        Ok(Sender(InTurn::new(paths(&self.0)), PhantomData))
    }

    fn rx(&self) -> Outcome<Receiver<M>> {
        Ok(Receiver(InTurn::new(paths(&self.0)), File::sink(&self.0)?, PhantomData))
    }
}

impl<M: Mover> Tx<File> for Sender<M> {
    fn send(&mut self, file: &File) -> Outcome {
        let pipe = OpenOptions::new().write(true).open(self.0.next())?;
        M::all(file.source()?, pipe.as_fd())?;
        Ok(())
    }
}

impl<M: Mover> Rx<File> for Receiver<M> {
    fn recv(&mut self, look: impl FnMut(&File)) -> Outcome {
        let pipe = Fifo::open(self.0.next())?;
        let moved = M::all(pipe.as_fd(), self.1.destination()?)?;
        self.1.show(moved, look);
        Ok(())
    }
}
