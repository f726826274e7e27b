//! Ends for tasks.
//!
//! [`Async`] is a handle with a place in the queue of the tasks that wait where it does
//! ([`wait::tasks`](crate::wait::tasks)). Every method that waits is a claim that is polled
//! ([`Claim`]), and then does, in the same poll, what the blocking call does with what it has
//! claimed. So nothing is claimed while a future is pending, and none that is dropped loses anything.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::messages::{self, Messages};
use super::raw_end::RawEnd;
use super::recv::RecvHandle;
use super::send::SendHandle;
use crate::Item;
use crate::peers::fork::Image;
use crate::peers::table::Role;
use crate::pipe::End;
use crate::ring::claims::{RecvClaims, SendClaims};
use crate::ring::control::Words;
use crate::ring::mem::{Mem, Shape};
use crate::ring::{Kind, Refused, Run};
use crate::shm::map::Mapping;
use crate::wait::pace::now;
use crate::wait::tasks::{self, Manner, Place, Queue, Seat};
use crate::wait::{Stop, helper};

mod recv;
mod send;

pub use send::Permit;

/// An end of a ring for a task of whatever runtime: its calls are futures.
///
/// A handle of any kind becomes one by [`new`](Self::new), and one again by
/// [`into_inner`](Self::into_inner). Calls that do not wait are those of the handle
/// ([`get_mut`](Self::get_mut)).
///
/// # What a dropped future costs
///
/// Nothing: nothing is claimed before it is ready, and a wake that it had is passed on to another.
///
/// | call | what is lost if its future is dropped |
/// | --- | --- |
/// | `recv`, `recv_into`, `recv_slice` | nothing: the items stay in the ring |
/// | `claim` of a receiver | nothing: none is claimed |
/// | `reserve`, `claim` of a sender | nothing: no room is claimed |
/// | `send` of a value | the value, which the future had; use `reserve` where it must not be |
/// | `send` of a message, `send_slice` | nothing is sent |
/// | `next` of a `Stream` | nothing |
/// | `send` of a `Sink` | what the sink has taken is sent by the next `flush` |
///
/// # How it waits
///
/// A thread of this process, the *helper*, is started when a future is first pending; it sleeps for
/// all tasks, 127 wake words at a time, and another one is started for each 127 more. They have the
/// name `ringpipe-helper`, all signals blocked, and do nothing else. A process that ends takes them
/// along. Wakers are called from it.
///
/// Deaths of peers are noticed as by blocking calls, within the liveness interval
/// ([`set_liveness_interval`](RecvHandle::set_liveness_interval)): at each, one of the tasks that wait
/// is polled and asks who lives. A task that is not polled is like a process that is stopped: what it
/// was woken for, others find after an interval. No more than 200 tasks are asked to check in 50 ms:
/// where tasks wait at more rings, or with shorter intervals, the rings take turns, so that a check
/// comes after `rings / 200` times 50 ms.
///
/// The thread has the affinity and the scheduling policy of the one that first waited. Where that is
/// pinned and never sleeps, poll a future before that. A waker that blocks holds up other tasks.
///
/// Beside what any end does ([`RecvHandle`](RecvHandle#what-an-attached-end-needs-of-the-system)), a
/// pending future makes the system calls that start a thread, and `futex_waitv`; where that is refused,
/// or the kernel is older than 5.16, the helper looks every millisecond. Where no thread can be started,
/// a task that waits holds up its own for a millisecond at a time.
///
/// A handle inherited through `fork` says `Forked`, also to a future that was pending.
///
/// ```
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let mut future = std::pin::pin!(future);
/// #     let parked = std::thread::current();
/// #     struct Unpark(std::thread::Thread);
/// #     impl std::task::Wake for Unpark {
/// #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// #     }
/// #     let waker = std::sync::Arc::new(Unpark(parked)).into();
/// #     let mut cx = std::task::Context::from_waker(&waker);
/// #     loop {
/// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut cx) { return done; }
/// #         std::thread::park();
/// #     }
/// # }
/// use ringpipe::{Async, RecvError, spsc};
///
/// let (mut tx, rx) = spsc::channel::<u64>(8)?;
/// let mut rx = Async::new(rx);
/// let sender = std::thread::spawn(move || tx.send(7));
/// assert_eq!(block_on(rx.recv()), Ok(7));
/// sender.join().unwrap().unwrap();
/// assert_eq!(block_on(rx.recv()), Err(RecvError::Closed));
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
pub struct Async<H: Handle> {
    handle: H,
    waits: Waits<H::Kind>,
    /// Of a sink: what it has taken.
    taken: Option<H::Taken>,
    /// Of a stream: it has come to its end.
    ended: bool,
}

/// Handles that can be [`Async`]. Sealed.
pub trait Handle: sealed::Sealed {
    /// The kind of ring.
    type Kind: Kind;
    /// What a sink of it takes.
    type Taken;

    #[doc(hidden)]
    fn waits(&self) -> Waits<Self::Kind>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! handle {
    ($handle:ty, $taken:ty, $($bounds:tt)*) => {
        impl<$($bounds)*> sealed::Sealed for $handle {}
        impl<$($bounds)*> Handle for $handle {
            type Kind = K;
            type Taken = $taken;

            fn waits(&self) -> Waits<K> {
                Waits::of(&self.raw)
            }
        }
    };
}
handle!(RecvHandle<T, K>, (), T: Item, K: Kind);
handle!(SendHandle<T, K>, T, T: Item, K: Kind);
handle!(messages::Receiver<K>, (), K: Messages);
handle!(messages::Sender<K>, (), K: Messages);

impl<H: Handle> Async<H> {
    /// An end for tasks. Starts nothing, and makes no system call.
    pub fn new(handle: H) -> Self {
        Self { waits: handle.waits(), handle, taken: None, ended: false }
    }

    /// The handle.
    pub fn get_ref(&self) -> &H {
        &self.handle
    }

    /// The handle, for calls that do not wait. (One that waits holds up the task's thread.)
    pub fn get_mut(&mut self) -> &mut H {
        self.waits.give_up(); // a stream's wake would be for nobody
        &mut self.handle
    }

    /// The handle again. (What a sink has taken and not sent is dropped: flush it before.)
    pub fn into_inner(self) -> H {
        self.handle
    }
}

/// Its futures are pinned, not what they are of.
impl<H: Handle> Unpin for Async<H> {}

impl<H: Handle + fmt::Debug> fmt::Debug for Async<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(&self.handle).finish()
    }
}

/// Where an end's tasks wait.
#[derive(Debug)]
struct Side<K: Kind> {
    mem: Mem<K>,
    role: Role,
    queue: Arc<Queue>,
    image: Image,
    /// Keeps the words and slots mapped. The ring does not count as open for it: nothing is stored
    /// through it but the bits and the count of a wake word, which mean nothing to the next one who
    /// opens the ring.
    _map: Arc<Mapping>,
}

impl<K: Kind> Place for Side<K> {
    fn words(&self) -> &Words {
        &self.mem.words
    }

    fn role(&self) -> Role {
        self.role
    }

    fn ready(&self) -> bool {
        match self.role {
            Role::Receiver => K::Recv::ready(&self.mem),
            Role::Sender => K::Send::ready(&self.mem),
        }
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// How the tasks of one end wait: one at a time.
#[derive(Debug)]
pub struct Waits<K: Kind> {
    seat: Seat,
    side: Arc<Side<K>>,
}

impl<K: Kind> Waits<K> {
    fn of<E: End<Kind = K>>(raw: &RawEnd<E>) -> Self {
        let role = E::OPPOSITE.opposite();
        let ring = &raw.ring;
        let side = Side {
            mem: ring.mem::<K>(),
            role,
            queue: Arc::clone(ring.queues.of(role)),
            image: raw.image(),
            _map: Arc::clone(&ring.region.map),
        };
        Self { seat: Seat::default(), side: Arc::new(side) }
    }

    /// Claims at least `need` slots or items, at most `max`, if that works now.
    fn poll<E: End<Kind = K>>(
        &mut self,
        raw: &mut RawEnd<E>,
        shape: impl Shape<Kind = K>,
        (need, max): (u64, u64),
        cx: &Context<'_>,
    ) -> Poll<Result<Run, Refused>> {
        if !raw.is_current() {
            return Poll::Ready(Err(Refused::Forked));
        }
        let Self { seat, side } = self;
        if let Some(run) = raw.claimer().fast_coalesced(shape, need, max) {
            if seat.is_taken() {
                side.queue.has_found(seat);
                raw.end.waited();
            }
            return Poll::Ready(Ok(run));
        }
        let RawEnd { end, waiting, ring, .. } = raw;
        let interval = waiting.timer.interval();
        // The helper says when it is time, and tasks are polled earlier and later than that.
        let slack = if seat.is_taken() { interval / 4 } else { Duration::ZERO };
        let mut check_due = waiting.timer.looked_in_vain(now() + slack.as_nanos() as u64, false);
        end.waits();
        let look = || {
            let tried = end.look(need, max, std::mem::take(&mut check_due), &**ring);
            match tried {
                Err(refused) if refused.is_for_now() => {
                    waiting.is_cancelled().then_some(Err(Refused::Stopped(Stop::Cancelled)))
                }
                settled => Some(settled),
            }
        };
        let manner = Manner { waker: cx.waker(), picky: need > 1, interval };
        let helper = || helper::attend(Arc::clone(side) as _, side.image);
        let polled = tasks::poll(&**side, seat, manner, helper, look);
        if let Poll::Ready(settled) = &polled {
            end.waited();
            if settled.is_ok() {
                waiting.timer.looked_well();
            }
        }
        polled
    }

    /// Nobody waits any more.
    fn give_up(&mut self) {
        // A child that was forked leaves its parent's queue alone.
        if self.side.image.is_current() {
            tasks::give_up(&*self.side, &mut self.seat);
        }
    }
}

impl<K: Kind> Drop for Waits<K> {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A claim, until it has succeeded or cannot.
struct Claim<'a, E: End, S> {
    raw: &'a mut RawEnd<E>,
    waits: &'a mut Waits<E::Kind>,
    shape: S,
    slots: (u64, u64),
}

impl<E: End, S: Shape<Kind = E::Kind> + Unpin> Future for Claim<'_, E, S> {
    type Output = Result<Run, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { raw, waits, shape, slots } = &mut *self;
        waits.poll(raw, *shape, *slots, cx)
    }
}

impl<E: End, S> Drop for Claim<'_, E, S> {
    fn drop(&mut self) {
        if self.raw.is_current() {
            self.waits.give_up();
            self.raw.end.waited();
        }
    }
}
