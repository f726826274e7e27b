//! As much of a runtime as the tests need.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Somebody has been woken.
#[derive(Default)]
pub struct Told(Mutex<bool>, Condvar);

impl Told {
    pub fn wait(&self) {
        let mut told = self.0.lock().unwrap();
        while !std::mem::take(&mut *told) {
            told = self.1.wait(told).unwrap();
        }
    }
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    while_pending(future, || {})
}

/// Polls a future; once it is pending for the first time, does `then`.
pub fn while_pending<F: Future>(future: F, then: impl FnOnce()) -> F::Output {
    let mut future = pin!(future);
    let told = Arc::new(Told::default());
    let waker = Waker::from(Arc::clone(&told));
    let mut then = Some(then);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        if let Some(then) = then.take() {
            then();
        }
        told.wait();
    }
}

/// Polls once, for nobody.
pub fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A future that is given up when it was polled so often.
pub async fn for_polls<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let (mut future, mut polls) = (pin!(future), polls);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if polls == 0 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Lets the other tasks of the thread go on.
pub async fn make_way() {
    let mut made = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut made, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks of one thread.
pub struct Tasks {
    tasks: Vec<Option<Task>>,
    /// Nobody waits for the end of these.
    for_ever: Vec<usize>,
    woken: (Sender<usize>, Receiver<usize>),
}

struct ById(usize, Sender<usize>);

impl Wake for ById {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(self.0); // nobody runs them any more
    }
}

impl Tasks {
    pub fn new() -> Self {
        Self { tasks: Vec::new(), for_ever: Vec::new(), woken: channel() }
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.woken.0.send(self.tasks.len()).unwrap();
        self.tasks.push(Some(Box::pin(task)));
    }

    /// One that need not end.
    pub fn spawn_for_ever(&mut self, task: impl Future<Output = ()> + 'static) {
        self.for_ever.push(self.tasks.len());
        self.spawn(task);
    }

    /// Until one more has been polled.
    pub fn run_one(&mut self) {
        let id = self.woken.1.recv().unwrap();
        self.poll(id);
    }

    fn poll(&mut self, id: usize) {
        let waker = Waker::from(Arc::new(ById(id, self.woken.0.clone())));
        let task = &mut self.tasks[id];
        if let Some(waits) = task
            && waits.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *task = None;
        }
    }

    /// Until nobody has been woken; wakes on their way come later.
    pub fn run_until_all_pend(&mut self) {
        while let Ok(id) = self.woken.1.try_recv() {
            self.poll(id);
        }
    }

    /// Until all have ended.
    pub fn run(&mut self) {
        let waits = |tasks: &Self| {
            let mut left = (0..tasks.tasks.len()).filter(|id| tasks.tasks[*id].is_some());
            left.any(|id| !tasks.for_ever.contains(&id))
        };
        while waits(self) {
            self.run_one();
        }
    }
}
