//! One sending and one receiving end on one ring, driven in turns, beside the model of what should
//! become of them: every result is compared as it comes.
//!
//! Whoever includes this file chooses the calls: `tests/model` at random, `fuzz` by what reaches new
//! code.

use std::time::Duration;

use ringpipe::{
    AttachError, BulkError, Kind, Mpmc, RecvHandle, RecvTimeoutError, Ring, SendHandle,
    SendTimeoutError, Spsc, TryRecvError, TrySendError,
};

use super::queue::{Model, Refused};

/// One call.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Send,
    SendNow,
    SendSlice(usize),
    SendExact(usize),
    Write { max: usize, end: End },
    Recv,
    RecvNow,
    RecvSlice(usize),
    RecvExact(usize),
    Read { max: usize, end: End },
    CloseSender,
    CloseReceiver,
    AttachSender,
    AttachReceiver,
}

/// What becomes of a claimed run.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// This share of it (in 256ths) is committed or released.
    Part(u8),
    All,
    Drop,
    Forget,
}

/// Both kinds behind the same names.
pub trait Ends: Kind {
    fn tx(ring: &Ring<u64, Self>) -> Result<SendHandle<u64, Self>, AttachError>;
    fn rx(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError>;
}

impl Ends for Spsc {
    fn tx(ring: &Ring<u64, Self>) -> Result<SendHandle<u64, Self>, AttachError> {
        ring.producer()
    }
    fn rx(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError> {
        ring.consumer()
    }
}

impl Ends for Mpmc {
    fn tx(ring: &Ring<u64, Self>) -> Result<SendHandle<u64, Self>, AttachError> {
        ring.sender()
    }
    fn rx(ring: &Ring<u64, Self>) -> Result<RecvHandle<u64, Self>, AttachError> {
        ring.receiver()
    }
}

fn full(refused: Refused) -> BulkError {
    match refused {
        Refused::NotReady => BulkError::Full,
        Refused::Closed => BulkError::Closed,
        Refused::Fragmented(_) => unreachable!("only items can be"),
    }
}

fn empty(refused: Refused) -> BulkError {
    match refused {
        Refused::NotReady => BulkError::Empty,
        Refused::Closed => BulkError::Closed,
        Refused::Fragmented(adjacent) => BulkError::Fragmented { adjacent },
    }
}

/// The ring, its ends, and what should become of them.
struct Pair<K: Ends> {
    ring: Ring<u64, K>,
    tx: Option<SendHandle<u64, K>>,
    rx: Option<RecvHandle<u64, K>>,
    model: Model,
    next: u64,
}

impl<K: Ends> Pair<K> {
    fn new(capacity: usize) -> Self {
        let ring = Ring::options().capacity(capacity).endpoints(2);
        Self {
            ring: ring.create_anonymous().expect("a small ring"),
            tx: None,
            rx: None,
            model: Model::new(K::STAMPED, capacity),
            next: 0,
        }
    }

    fn values(&mut self, count: usize) -> Vec<u64> {
        let values = (self.next..).take(count).collect();
        self.next += count as u64;
        values
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::AttachSender if self.tx.is_none() => {
                self.tx = Some(K::tx(&self.ring).expect("a free seat"));
                self.model.sender_attaches();
            }
            Call::AttachReceiver if self.rx.is_none() => {
                self.rx = Some(K::rx(&self.ring).expect("a free seat"));
                self.model.receiver_attaches();
            }
            Call::CloseSender if self.tx.is_some() && !self.model.has_estate() => {
                self.tx = None;
                self.model.sender_closes();
            }
            Call::CloseReceiver
                if self.rx.is_some() && (self.model.held.0 == 0 || self.tx.is_some()) =>
            {
                self.rx = None;
                self.model.receiver_closes();
            }
            call => {
                if let Some(mut tx) = self.tx.take() {
                    self.send(&mut tx, call);
                    self.tx = Some(tx);
                }
                if let Some(mut rx) = self.rx.take() {
                    self.receive(&mut rx, call);
                    self.rx = Some(rx);
                }
            }
        }
        assert_eq!(self.ring.len(), self.model.len());
        let peers = self.ring.peers();
        assert_eq!(peers.senders, usize::from(self.tx.is_some()));
        assert_eq!(peers.receivers, usize::from(self.rx.is_some()));
    }

    fn send(&mut self, tx: &mut SendHandle<u64, K>, call: Call) {
        let capacity = self.model.capacity;
        match call {
            Call::Send => {
                let value = self.values(1);
                let expected = self.model.claim_write(1, 1).map_err(|refused| match refused {
                    Refused::NotReady => TrySendError::Full(value[0]),
                    Refused::Closed => TrySendError::Closed(value[0]),
                    Refused::Fragmented(_) => unreachable!("one item needs no neighbours"),
                });
                assert_eq!(tx.try_send(value[0]), expected.map(|_| ()));
                if expected.is_ok() {
                    self.model.written(&value, 1, false);
                }
            }
            Call::SendNow => {
                let value = self.values(1);
                let expected = self.model.claim_write(1, 1).map_err(|refused| match refused {
                    Refused::NotReady => SendTimeoutError::Timeout(value[0]),
                    Refused::Closed => SendTimeoutError::Closed(value[0]),
                    Refused::Fragmented(_) => unreachable!("one item needs no neighbours"),
                });
                let sent = tx.send_timeout(value[0], Duration::ZERO);
                assert_eq!(sent, expected.map(|_| ()));
                if expected.is_ok() {
                    self.model.written(&value, 1, false);
                }
            }
            Call::SendSlice(len) => {
                let values = self.values(len);
                let expected = match len {
                    0 => Ok(0),
                    len => self.model.claim_write(1, len.min(capacity)).map_err(full),
                };
                assert_eq!(tx.try_send_slice(&values), expected);
                if let Ok(sent) = expected {
                    self.model.written(&values[..sent], sent, false);
                }
            }
            Call::SendExact(len) => {
                let values = self.values(len);
                let expected = match len {
                    0 => Ok(0),
                    len if len > capacity => Err(BulkError::TooLong { len, most: capacity }),
                    len => self.model.claim_write(len, len).map_err(full),
                };
                assert_eq!(tx.try_send_exact(&values), expected.map(|_| ()));
                if expected.is_ok() {
                    self.model.written(&values, len, false);
                }
            }
            Call::Write { max, end } => {
                let most = max.min(capacity).max(1);
                let expected = self.model.claim_write(1, most).map_err(full);
                let values = self.values(most);
                let run = tx.try_claim(max);
                assert_eq!(run.as_ref().map(|run| run.len()).map_err(|e| *e), expected);
                let Ok(mut run) = run else { return };
                let len = run.len();
                for (index, &value) in values[..len].iter().enumerate() {
                    run.write(index, value);
                }
                let committed = match end {
                    End::Part(share) => {
                        let count = len * usize::from(share) / 256;
                        run.commit(count);
                        count
                    }
                    End::All => {
                        run.commit_all();
                        len
                    }
                    End::Drop => {
                        run.abandon();
                        0
                    }
                    End::Forget => {
                        std::mem::forget(run);
                        0
                    }
                };
                let forgotten = matches!(end, End::Forget);
                self.model.written(&values[..committed], len, forgotten);
            }
            _ => {}
        }
    }

    fn receive(&mut self, rx: &mut RecvHandle<u64, K>, call: Call) {
        let capacity = self.model.capacity;
        match call {
            Call::Recv => {
                let expected = self.model.claim_read(1, 1).map_err(|refused| match refused {
                    Refused::NotReady => TryRecvError::Empty,
                    Refused::Closed => TryRecvError::Closed,
                    Refused::Fragmented(_) => unreachable!("one item needs no neighbours"),
                });
                let got = rx.try_recv();
                assert_eq!(got, expected.map(|items| items[0]));
                assert!(got.is_err() || rx.redelivered() == (self.model.again > 0));
                if got.is_ok() {
                    self.model.release(1);
                }
            }
            Call::RecvNow => {
                let expected = self.model.claim_read(1, 1).map_err(|refused| match refused {
                    Refused::NotReady => RecvTimeoutError::Timeout,
                    Refused::Closed => RecvTimeoutError::Closed,
                    Refused::Fragmented(_) => unreachable!("one item needs no neighbours"),
                });
                let got = rx.recv_timeout(Duration::ZERO);
                assert_eq!(got, expected.map(|items| items[0]));
                if got.is_ok() {
                    self.model.release(1);
                }
            }
            Call::RecvSlice(len) => {
                let mut expected = match len {
                    0 => Ok(Vec::new()),
                    len => self.model.claim_read(1, len.min(capacity)).map_err(empty),
                };
                let mut into = vec![u64::MAX; len];
                let got = rx.try_recv_slice(&mut into);
                if let Ok(items) = &mut expected {
                    items.truncate(len);
                }
                assert_eq!(got.map(|count| into[..count].to_vec()), expected);
                self.model.release(got.unwrap_or(0).min(len));
            }
            Call::RecvExact(len) => {
                let held = self.model.held.1;
                let expected = match len {
                    len if len > capacity => Err(BulkError::TooLong { len, most: capacity }),
                    len if held > 0 && len > held => Err(BulkError::Held { held }),
                    0 => Ok(Vec::new()),
                    len => self.model.claim_read(len, len).map_err(empty),
                };
                let mut into = vec![u64::MAX; len];
                let got = rx.try_recv_exact(&mut into);
                assert_eq!(got, expected.as_ref().map(|_| ()).map_err(|e| *e));
                if let Ok(items) = expected {
                    assert_eq!(into, items[..len]);
                    self.model.release(len);
                }
            }
            Call::Read { max, end } => {
                let most = max.min(capacity).max(1);
                let expected = self.model.claim_read(1, most).map_err(empty);
                let run = match (rx.try_claim(max), expected) {
                    (Ok(run), Ok(mut items)) => {
                        items.truncate(most);
                        assert_eq!(run.len(), items.len());
                        assert_eq!(run.iter().collect::<Vec<_>>(), items);
                        assert_eq!(run.redelivered(), items.len().min(self.model.again));
                        run
                    }
                    (got, expected) => {
                        assert_eq!(got.map(|_| ()), expected.map(|_| ()));
                        return;
                    }
                };
                let len = run.len();
                let released = match end {
                    End::Part(share) => {
                        let count = len * usize::from(share) / 256;
                        run.release(count);
                        count
                    }
                    End::All => {
                        run.release_all();
                        len
                    }
                    End::Drop | End::Forget => {
                        run.abandon(); // which is all there is to forget
                        0
                    }
                };
                self.model.release(released);
            }
            _ => {}
        }
    }

    fn finish(&self) {
        let stats = self.ring.stats();
        assert_eq!(stats.sent, self.model.sent);
        assert_eq!(stats.received, self.model.received);
        assert_eq!(stats.skipped, self.model.skipped);
        assert_eq!(stats.redelivered, self.model.redelivered);
        assert_eq!(stats.dropped, 0);
    }
}

/// A ring of `capacity` slots with both ends, and then these calls.
pub fn run<K: Ends>(capacity: usize, calls: &[Call]) {
    let mut pair = Pair::<K>::new(capacity);
    for call in [Call::AttachSender, Call::AttachReceiver] {
        pair.call(call);
    }
    for &call in calls {
        pair.call(call);
    }
    pair.finish();
}
