//! Tasks that wait, and the helper that sleeps for them: no task waits beside what it waits for, and
//! no wake stays with one that is gone.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use loom::sync::Notify;
use loom::thread;

use super::support::{Ring, Rx, SLEEPY, Tx, check_bounded};
use crate::peers::table::Role;
use crate::pipe::End;
use crate::ring::claims::{RecvClaims, SendClaims};
use crate::ring::control::Words;
use crate::ring::mem::Mem;
use crate::ring::{Kind, Mpmc, Refused, Run, Spsc};
use crate::sync::{Mutex, futexes, spin_loop};
use crate::wait::tasks::{self, Bell, Manner, Place, Queue, Seat, Woken};

/// Where the tasks of one process wait.
struct Here<K: Kind> {
    mem: Mem<K>,
    role: Role,
    queue: Queue,
    bell: Arc<Bell>,
    told: Mutex<Told>,
}

/// What the helper is told beside the queue.
#[derive(Default)]
struct Told {
    /// It is called to the place: what comes by the inbox.
    called: bool,
    /// It is of no use any more.
    over: bool,
}

impl<K: Kind> Place for Here<K> {
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

/// A helper, whose sleeps last until somebody wakes it.
struct Helper<K: Kind> {
    here: Arc<Here<K>>,
    thread: thread::JoinHandle<()>,
}

impl<K: Kind> Helper<K> {
    fn at(ring: &Ring<K>, role: Role) -> Self {
        Self::that_checks(ring, role, 0)
    }

    /// One that makes up to so many checks, whenever it is not asleep.
    fn that_checks(ring: &Ring<K>, role: Role, checks: u32) -> Self {
        let here = Arc::new(Here {
            mem: ring.mem(),
            role,
            queue: Queue::default(),
            bell: Arc::new(Bell::new()),
            told: Mutex::new(Told::default()),
        });
        let place = here.clone();
        Self { here, thread: thread::spawn(move || help(&*place, checks)) }
    }

    fn stop(self) {
        self.here.told.lock().unwrap().over = true;
        self.here.bell.ring();
        self.thread.join().unwrap();
    }
}

/// What `helper::Helper::turn` does, at one place.
fn help<K: Kind>(here: &Here<K>, mut checks: u32) {
    let mut knows = false;
    loop {
        let rung = here.bell.rung();
        let Told { called, over } = std::mem::take(&mut *here.told.lock().unwrap());
        if over {
            return;
        }
        knows |= called;
        if knows && checks > 0 && loom::choose() {
            checks -= 1;
            if tasks::given_up(here) {
                knows = false;
            } else {
                tasks::due(here, true).into_iter().for_each(Waker::wake);
            }
            continue;
        }
        let ticket = here.queue.attended().ticket.filter(|_| knows);
        let mut words = vec![(here.bell.word(), rung)];
        words.extend(ticket.map(|ticket| (tasks::word(here).futex(), ticket.word())));
        let ended = futexes::wait_any(&words);
        if ended == futexes::End::Else {
            // For the exploration: a word that the kernel has seen is not overlooked for ever.
            spin_loop();
        }
        let by_word = ended == futexes::End::Woken(1);
        let woken = |slept| by_word || tasks::may_be_woken(here, slept);
        if ticket.is_some_and(woken) {
            match tasks::woken(here) {
                Woken::Nobody => knows = false,
                Woken::Tasks(_, tasks) => tasks.into_iter().for_each(Waker::wake),
            }
        }
    }
}

/// A task that a thread of its own polls.
struct Task {
    told: Arc<Woke>,
    seat: Seat,
}

struct Woke(Notify);

impl Wake for Woke {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

impl Task {
    fn new() -> Self {
        Self { told: Arc::new(Woke(Notify::new())), seat: Seat::default() }
    }

    /// Polls once for `need` items or slots.
    fn poll<K: Kind>(
        &mut self,
        here: &Here<K>,
        end: &mut impl End<Kind = K>,
        ring: &Ring<K>,
        need: u64,
    ) -> Poll<Result<Run, Refused>> {
        let waker = Waker::from(self.told.clone());
        let manner = Manner { waker: &waker, picky: need > 1, interval: Duration::MAX };
        let helper = || {
            here.told.lock().unwrap().called = true;
            Ok(here.bell.clone())
        };
        tasks::poll(here, &mut self.seat, manner, helper, || {
            match end.look(need, need, false, &*ring.locks) {
                Err(refused) if refused.is_for_now() => None,
                settled => Some(settled),
            }
        })
    }

    /// Polls whenever it is told to, until that comes to something.
    fn wait<K: Kind>(
        &mut self,
        here: &Here<K>,
        end: &mut impl End<Kind = K>,
        ring: &Ring<K>,
        need: u64,
    ) -> Result<Run, Refused> {
        loop {
            match self.poll(here, end, ring, need) {
                Poll::Ready(settled) => return settled,
                Poll::Pending => self.told.0.wait(),
            }
        }
    }
}

fn recv<K: Kind>(rx: &mut Rx<K>, task: &mut Task, here: &Here<K>) -> Result<u64, Refused> {
    let ring = rx.ring.clone();
    let run = task.wait(here, &mut rx.end, &ring, 1)?;
    Ok(rx.take(run)[0])
}

fn send<K: Kind>(tx: &mut Tx<K>, task: &mut Task, here: &Here<K>, value: u64) {
    let ring = tx.ring.clone();
    let run = task.wait(here, &mut tx.end, &ring, 1).unwrap();
    tx.put(run, value);
}

/// A sender of two values, and a task that receives them.
fn one_to_one<K: Kind>(checks: u32) {
    let ring = Ring::<K>::new(2, 2);
    let helper = Helper::that_checks(&ring, Role::Receiver, checks);
    let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
    let sender = thread::spawn(move || {
        for value in 1..=2 {
            tx.try_send(value).unwrap();
        }
        tx
    });
    let mut task = Task::new();
    for value in 1..=2 {
        assert_eq!(recv(&mut rx, &mut task, &helper.here), Ok(value));
    }
    sender.join().unwrap();
    helper.stop();
}

#[test]
fn a_task_waits_until_there_is_a_value() {
    check_bounded("tasks, spsc 1:1", 2, || one_to_one::<Spsc>(0));
    check_bounded("tasks, mpmc 1:1", 2, || one_to_one::<Mpmc>(0));
}

/// The helper wakes a task for a check, and gives the place up at another; the task may be anywhere
/// meanwhile, and calls it again.
#[test]
fn a_helper_that_has_given_a_place_up_comes_again() {
    check_bounded("tasks, spsc 1:1, checks", 1, || one_to_one::<Spsc>(2));
}

/// Both values may come with one wake, and each task gets one.
#[test]
fn two_tasks_both_wake_for_two_values() {
    check_bounded("tasks, mpmc 1:2", 1, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let helper = Helper::at(&ring, Role::Receiver);
        let mut tx = ring.sender(0);
        let receive = |record| {
            let (mut rx, here) = (ring.receiver(record), helper.here.clone());
            thread::spawn(move || recv(&mut rx, &mut Task::new(), &here).unwrap())
        };
        let receivers = [receive(1), receive(2)];
        for value in 1..=2 {
            tx.try_send(value).unwrap();
        }
        let mut received = receivers.map(|receiver| receiver.join().unwrap());
        received.sort();
        assert_eq!(received, [1, 2]);
        helper.stop();
    });
}

/// The kernel wakes the helper or the receiver that sleeps beside it; and then the other one.
#[test]
fn a_task_and_a_receiver_that_sleeps_both_wake_for_two_values() {
    check_bounded("tasks, mpmc 1:2, one asleep", 1, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let helper = Helper::at(&ring, Role::Receiver);
        let (mut tx, mut asleep, mut rx) = (ring.sender(0), ring.receiver(1), ring.receiver(2));
        let asleep = thread::spawn(move || asleep.recv(SLEEPY).unwrap());
        let sender = thread::spawn(move || {
            for value in 1..=2 {
                tx.try_send(value).unwrap();
            }
            tx
        });
        let mut received =
            [recv(&mut rx, &mut Task::new(), &helper.here).unwrap(), asleep.join().unwrap()];
        received.sort();
        assert_eq!(received, [1, 2]);
        sender.join().unwrap();
        helper.stop();
    });
}

/// The wake may have gone to a task that is dropped: another receiver gets the value.
#[test]
fn a_task_that_is_dropped_passes_its_wake_on() {
    check_bounded("tasks, mpmc 1:2, one dropped", 1, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let helper = Helper::at(&ring, Role::Receiver);
        let (mut tx, mut asleep, mut rx) = (ring.sender(0), ring.receiver(1), ring.receiver(2));
        let here = helper.here.clone();
        let asleep = thread::spawn(move || asleep.recv(SLEEPY));
        let sender = thread::spawn(move || {
            tx.try_send(1).unwrap();
            tx
        });
        let mut task = Task::new();
        let polled = task.poll(&here, &mut rx.end, &ring, 1);
        let tx = sender.join().unwrap(); // so that few preemptions go far
        let value = match polled {
            Poll::Ready(run) => rx.take(run.unwrap())[0],
            Poll::Pending => {
                tasks::give_up(&*here, &mut task.seat);
                asleep.join().unwrap().unwrap()
            }
        };
        assert_eq!(value, 1);
        tx.leave(); // ends the wait of one that still sleeps
        helper.stop();
    });
}

/// One task takes nothing and is gone, the other one waits for all that there is.
#[test]
fn the_end_of_the_file_wakes_all_tasks() {
    check_bounded("tasks, mpmc 1:2, end of file", 1, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let helper = Helper::at(&ring, Role::Receiver);
        let tx = ring.sender(0);
        let receive = |record| {
            let (mut rx, here) = (ring.receiver(record), helper.here.clone());
            thread::spawn(move || recv(&mut rx, &mut Task::new(), &here))
        };
        let receivers = [receive(1), receive(2)];
        tx.leave();
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap(), Err(Refused::Closed));
        }
        helper.stop();
    });
}

/// A task that waits for two at once, and one that waits for one.
#[test]
fn a_task_that_waits_for_several_does_not_swallow_anothers_wake() {
    check_bounded("tasks, mpmc 1:2, one of them picky", 1, || {
        let ring = Ring::<Mpmc>::new(4, 3);
        let helper = Helper::at(&ring, Role::Receiver);
        let (mut tx, mut picky, mut plain) = (ring.sender(0), ring.receiver(1), ring.receiver(2));
        let here = helper.here.clone();
        let picky = thread::spawn(move || {
            let ring = picky.ring.clone();
            let run = Task::new().wait(&here, &mut picky.end, &ring, 2).unwrap();
            picky.take(run)
        });
        let here = helper.here.clone();
        let plain = thread::spawn(move || recv(&mut plain, &mut Task::new(), &here).unwrap());
        tx.try_send(1).unwrap();
        assert_eq!(plain.join().unwrap(), 1);
        tx.try_send(2).unwrap();
        tx.try_send(3).unwrap();
        assert_eq!(picky.join().unwrap(), [2, 3]);
        helper.stop();
    });
}

#[test]
fn tasks_that_send_wait_for_room() {
    check_bounded("tasks, mpmc 1:1, sending", 2, || {
        let ring = Ring::<Mpmc>::new(1, 2);
        let helper = Helper::at(&ring, Role::Sender);
        let (mut tx, mut rx) = (ring.sender(0), ring.receiver(1));
        let receiver = thread::spawn(move || [(); 2].map(|()| rx.recv(SLEEPY).unwrap()));
        let mut task = Task::new();
        for value in 1..=2 {
            send(&mut tx, &mut task, &helper.here, value);
        }
        assert_eq!(receiver.join().unwrap(), [1, 2]);
        helper.stop();
    });
}

/// The same of room as of values: the kernel wakes the helper or the sender that sleeps beside it.
#[test]
fn a_task_and_a_sender_that_sleeps_both_wake_for_two_slots() {
    check_bounded("tasks, mpmc 2:1, one asleep", 1, || {
        let ring = Ring::<Mpmc>::new(2, 3);
        let (mut tx, mut asleep, mut rx) = (ring.sender(0), ring.sender(1), ring.receiver(2));
        for value in 1..=2 {
            tx.try_send(value).unwrap();
        }
        let helper = Helper::at(&ring, Role::Sender);
        let asleep = thread::spawn(move || {
            asleep.send(3, SLEEPY).unwrap();
            asleep
        });
        let receiver = thread::spawn(move || {
            for value in 1..=2 {
                assert_eq!(rx.try_recv(), Ok(value));
            }
            rx
        });
        send(&mut tx, &mut Task::new(), &helper.here, 3);
        let (mut rx, _asleep) = (receiver.join().unwrap(), asleep.join().unwrap());
        assert_eq!([rx.try_recv(), rx.try_recv()], [Ok(3), Ok(3)]);
        helper.stop();
    });
}
