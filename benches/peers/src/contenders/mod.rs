//! Who takes part, and what each must be able to do: pass items from a sender to a receiver.
//!
//! One file per contender. Each is used as its documentation recommends for speed: its batch call
//! where it has one, in place where it lends memory, all with the same number of slots. Contenders
//! that cannot block are polled with [`Pause`], which is what their own examples do.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::Outcome;

pub mod cloudtoid;
pub mod copy_loop;
pub mod crossbar;
pub mod crossbeam;
pub mod eventfd;
pub mod files;
pub mod iceoryx;
pub mod iceoryx_slices;
pub mod in_place;
pub mod ipmpsc;
pub mod kernel;
pub mod limits;
pub mod mq;
pub mod ours;
pub mod ours_untyped;
mod payload;
pub mod plain;
pub mod que;
pub mod ringbuf;
pub mod ringfire;
pub mod rtrb;
#[cfg(feature = "shaq")]
pub mod shaq;
pub mod shmring;
pub mod through_pipe;

pub use payload::{Item, Labelled, Lengths, Load, Payload, consists_of};

/// How a receiver (and a sender at a full ring) waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// As it does when nobody tells it.
    Usual,
    /// It looks again and again.
    Spin,
    /// It sleeps in the kernel at once.
    Sleep,
    /// It spins a little, then sleeps.
    Adaptive,
}

/// What is done with the contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// As many items as possible, one way.
    Stream,
    /// One item there and back.
    Trips,
    /// One item per millisecond.
    LowRate,
    /// Nothing: a receiver waits.
    Idle,
}

/// One way from senders to receivers, as workers and coordinator know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    pub work: Work,
    pub load: Load,
    /// A directory for files that are not in /dev/shm.
    pub scratch: String,
    /// Unique on this machine.
    pub name: String,
    /// Descriptors that the coordinator made.
    pub fds: Vec<RawFd>,
    /// Bytes of an item, at most.
    pub size: usize,
    /// Items per call.
    pub batch: usize,
    /// Slots; for loads of bytes and messages, bytes.
    pub capacity: usize,
    pub senders: u32,
    pub receivers: u32,
    pub wait: Wait,
    /// More workers than processors.
    pub crowded: bool,
    /// Multiplications that a sender makes for each single item.
    pub effort: u32,
}

impl Link {
    pub fn one_to_one(&self) -> bool {
        self.senders == 1 && self.receivers == 1
    }

    /// How long its items are.
    pub fn lengths(&self) -> Lengths {
        Lengths { most: self.size, varied: self.load == Load::Messages { varied: true } }
    }

    /// How many messages fit, for contenders that have slots for them.
    pub fn messages(&self) -> usize {
        self.capacity / self.size
    }

    /// Bytes for all messages that fit, each with `overhead` bytes of the contender's own.
    pub fn bytes_with(&self, overhead: usize) -> usize {
        let least = if self.lengths().varied { Lengths::LEAST } else { self.size };
        self.capacity + self.capacity / least * overhead
    }

    /// How much a reader of bytes asks for at a time: as much as is written, up to 64 KiB.
    pub fn read_size(&self) -> usize {
        self.size.min(1 << 16)
    }

    /// Fits contenders with two ends.
    pub fn needs_two_ends(&self) -> Result<(), &'static str> {
        if self.one_to_one() { Ok(()) } else { Err("one sender, one receiver") }
    }

    /// Fits contenders that can only be polled.
    pub fn needs_no_sleep(&self) -> Result<(), &'static str> {
        match self.wait {
            Wait::Usual | Wait::Spin => Ok(()),
            Wait::Sleep | Wait::Adaptive => Err("it cannot sleep"),
        }
    }

    /// A file for contenders that want a path.
    pub fn path(&self) -> String {
        format!("/dev/shm/{}", self.name)
    }

    /// The first descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: made by the coordinator, and left open by it and by all who inherit it.
        unsafe { BorrowedFd::borrow_raw(self.fds[0]) }
    }

    pub fn pause(&self) -> Pause {
        Pause { spins: 0, patience: if self.crowded { 64 } else { 1 << 14 } }
    }
}

/// What the coordinator made for a link, and what it clears away afterwards.
#[derive(Default)]
pub struct Laid {
    pub fds: Vec<OwnedFd>,
    /// Runs when the link is done with.
    pub clear: Option<Box<dyn FnOnce()>>,
}

impl Drop for Laid {
    fn drop(&mut self) {
        if let Some(clear) = self.clear.take() {
            clear();
        }
    }
}

impl Laid {
    pub fn of(fds: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self { fds: fds.into_iter().collect(), clear: None }
    }

    /// The file of a link, which a contender makes.
    pub fn file(link: &Link) -> Self {
        let path = link.path();
        let clear = move || drop(std::fs::remove_file(path));
        Self { fds: Vec::new(), clear: Some(Box::new(clear)) }
    }

    pub fn raw(&self) -> Vec<RawFd> {
        self.fds.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

/// A library or a kernel object that passes items.
pub trait Contender: 'static {
    const NAME: &'static str;
    /// It works between threads only, and so is measured between threads.
    const THREADS: bool = false;
    type Door<P: Payload>: Door<P>;

    /// Whether it can take part, or why not.
    fn fits(link: &Link) -> Result<(), &'static str>;

    /// In the coordinator, before the workers are started.
    fn lay<P: Payload>(_: &Link) -> Outcome<Laid> {
        Ok(Laid::default())
    }

    /// In each worker.
    fn door<P: Payload>(link: &Link) -> Outcome<Self::Door<P>>;
}

/// A library or a kernel object that is told at each call how much to pass: bytes, messages, files.
pub trait Carrier<P: Labelled + ?Sized>: 'static {
    const NAME: &'static str;
    type Door: Door<P>;

    /// Whether such loads are what it is for.
    fn carries(load: Load) -> bool;

    /// Whether it can take part, or why not.
    fn fits(link: &Link) -> Result<(), &'static str>;

    /// In the coordinator, before the workers are started.
    fn lay(link: &Link) -> Outcome<Laid>;

    /// In each worker.
    fn door(link: &Link) -> Outcome<Self::Door>;
}

/// Where a worker's threads get their ends from.
pub trait Door<P: Labelled + ?Sized>: Sync {
    type Tx: Tx<P>;
    type Rx: Rx<P>;
    /// Comes before all receivers.
    fn tx(&self) -> Outcome<Self::Tx>;
    fn rx(&self) -> Outcome<Self::Rx>;
}

/// Two ends that were made together, for threads. Each is taken once.
pub struct Pair<T, R>(Mutex<(Option<T>, Option<R>)>);

impl<T, R> Pair<T, R> {
    pub fn new(tx: T, rx: R) -> Self {
        Self(Mutex::new((Some(tx), Some(rx))))
    }
}

impl<P: Payload, T: Tx<P> + Send, R: Rx<P> + Send> Door<P> for Pair<T, R> {
    type Tx = T;
    type Rx = R;

    fn tx(&self) -> Outcome<T> {
        Ok(self.0.lock().map_err(|e| e.to_string())?.0.take().ok_or("one sender")?)
    }

    fn rx(&self) -> Outcome<R> {
        Ok(self.0.lock().map_err(|e| e.to_string())?.1.take().ok_or("one receiver")?)
    }
}

pub trait Tx<P: Labelled + ?Sized> {
    /// Sends, waiting as long as there is no room.
    fn send(&mut self, item: &P) -> Outcome;

    /// Sends all, with the contender's means for many at once if it has any.
    fn send_batch(&mut self, items: &[P]) -> Outcome
    where
        P: Sized,
    {
        items.iter().try_for_each(|item| self.send(item))
    }

    /// Makes everything sent visible, for contenders that hold it back.
    fn flush(&mut self) -> Outcome {
        Ok(())
    }
}

pub trait Rx<P: Labelled + ?Sized> {
    /// Receives one item, waiting for it, and shows it. Of a stream of bytes: what one call reads,
    /// and more only up to the end of a word.
    fn recv(&mut self, look: impl FnMut(&P)) -> Outcome;

    /// Receives between one and `max` items, waiting for the first.
    fn recv_batch(&mut self, _max: usize, look: impl FnMut(&P)) -> Outcome {
        self.recv(look)
    }
}

/// Waiting without the kernel's help: a spin hint, and after a while the processor's time slice.
#[derive(Clone, Copy)]
pub struct Pause {
    spins: u32,
    patience: u32,
}

impl Pause {
    #[inline(always)]
    pub fn idle(&mut self) {
        self.spins += 1;
        if self.spins <= self.patience {
            std::hint::spin_loop();
        } else {
            self.yield_now();
        }
    }

    #[cold]
    fn yield_now(&mut self) {
        self.spins = self.patience;
        std::thread::yield_now();
    }

    /// Tries until there is something.
    #[inline(always)]
    pub fn until<T>(mut self, mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            match attempt() {
                Some(value) => return value,
                None => self.idle(),
            }
        }
    }
}

/// Calls the macro `$with` with the type of every contender; `$carry` with those for bytes and
/// messages, and `$copy` with those for files.
macro_rules! everybody {
    ($with:ident, $carry:ident, $copy:ident) => {{
        $with!(ours::Spsc);
        $with!(ours::SpscSpin);
        $with!(ours::Mpmc);
        $with!(ours::SpscPolled);
        $with!(in_place::InPlace);
        $with!(ours::MpmcPolled);
        $with!(plain::Spsc);
        $with!(plain::Vyukov::<false>);
        $with!(plain::Vyukov::<true>);
        $with!(limits::TwoLines);
        $with!(limits::Futex);
        $with!(rtrb::Rtrb);
        $with!(ringbuf::Ringbuf);
        $with!(crossbeam::Queue);
        $with!(crossbeam::Channel);
        #[cfg(feature = "shaq")]
        $with!(shaq::Spsc);
        #[cfg(feature = "shaq")]
        $with!(shaq::Mpmc);
        $with!(ringfire::Ringfire);
        $with!(que::Que);
        $with!(shmring::Shmring);
        $with!(ipmpsc::Ipmpsc);
        $with!(cloudtoid::Cloudtoid);
        $with!(crossbar::Crossbar);
        $with!(iceoryx::Iceoryx2);
        $with!(kernel::Pipe);
        $with!(kernel::Datagram);
        $with!(kernel::Stream);
        $with!(mq::Mq);
        $with!(eventfd::Eventfd);
        $carry!(ours_untyped::Bytes);
        $carry!(ours_untyped::Messages<ringpipe::SpscMessages>);
        $carry!(ours_untyped::Messages<ringpipe::MpmcMessages>);
        $carry!(ours_untyped::InPlace);
        $carry!(copy_loop::CopyLoop<false>);
        $carry!(copy_loop::CopyLoop<true>);
        $carry!(shmring::Shmring);
        $carry!(ipmpsc::Ipmpsc);
        $carry!(cloudtoid::Cloudtoid);
        $carry!(iceoryx_slices::Slices);
        $carry!(kernel::Pipe);
        $carry!(kernel::Stream);
        $carry!(kernel::Datagram);
        $carry!(kernel::SeqPacket);
        $carry!(mq::Mq);
        $copy!(ours_untyped::Bytes);
        $copy!(through_pipe::Splice);
        $copy!(through_pipe::Cat);
    }};
}
pub(crate) use everybody;
