//! The calls that are looked at, each once on both sides: both ends of a ring in one thread, where
//! nobody waits.

use std::hint::black_box;

use ringpipe::{Item, Kind, RecvHandle, SendHandle};

/// Slots of every ring.
pub const SLOTS: usize = 1024;
/// Values a call, where there are several.
pub const BATCH: usize = 32;

/// Both ends, and values to pass.
pub struct Both<T: Item, K: Kind> {
    tx: SendHandle<T, K>,
    rx: RecvHandle<T, K>,
    values: [T; BATCH],
}

impl<T: Item + Default, K: Kind> Both<T, K> {
    /// The ends of a channel.
    pub fn new((tx, rx): (SendHandle<T, K>, RecvHandle<T, K>)) -> Self {
        Self { tx, rx, values: [T::default(); BATCH] }
    }

    /// `try_send`, `try_recv`.
    #[inline(always)]
    pub fn try_one(&mut self) {
        self.tx.try_send(black_box(self.values[0])).unwrap();
        black_box(self.rx.try_recv().unwrap());
    }

    /// `send`, `recv`.
    #[inline(always)]
    pub fn one(&mut self) {
        self.tx.send(black_box(self.values[0])).unwrap();
        black_box(self.rx.recv().unwrap());
    }

    /// `send` until half of the ring is full, `recv` until it is empty.
    #[inline(always)]
    pub fn stream(&mut self) {
        for _ in 0..SLOTS / 2 {
            self.tx.send(black_box(self.values[0])).unwrap();
        }
        for _ in 0..SLOTS / 2 {
            black_box(self.rx.recv().unwrap());
        }
    }

    /// `send_slice`, `recv_slice`.
    #[inline(always)]
    pub fn slice(&mut self) {
        let sent = self.tx.send_slice(black_box(&self.values));
        assert_eq!(sent, Ok(BATCH));
        let received = self.rx.recv_slice(black_box(&mut self.values));
        assert_eq!(received, Ok(BATCH));
    }

    /// `claim` on both sides.
    #[inline(always)]
    pub fn run(&mut self) {
        let mut run = self.tx.claim(BATCH).unwrap();
        let value = self.values[0];
        (0..BATCH).for_each(|index| run.write(index, black_box(value)));
        run.commit_all();
        let run = self.rx.claim(BATCH).unwrap();
        run.iter().map(black_box).for_each(|_| ());
        run.release_all();
    }
}
