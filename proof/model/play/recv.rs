//! What a receiving end is asked to do.

use std::time::Duration;

use ringpipe::{BulkError, Ending, RecvError, RecvHandle, RecvTimeoutError, TryRecvError};

use super::queue::Refused;
use super::{Call, End, Ends, Hand, Stage, Thing, Wait, agree, at_once, bulk, peer};

fn empty(error: BulkError) -> Refused {
    bulk(error, BulkError::Empty)
}

fn single<T>(got: Result<T, RecvTimeoutError>) -> Result<T, Refused> {
    got.map_err(|error| match error {
        RecvTimeoutError::Timeout => Refused::Timeout,
        RecvTimeoutError::Closed => Refused::Closed,
        RecvTimeoutError::Cancelled => Refused::Cancelled,
        other => panic!("{other:?}"),
    })
}

impl<T: Thing, K: Ends> Stage<T, K> {
    /// What this receiver's claim comes to, and how it may wait.
    pub fn items(
        &mut self,
        who: usize,
        need: usize,
        max: usize,
        wait: Wait,
    ) -> (Result<Vec<T>, Refused>, Wait) {
        let expected = self.model.claim_read(who, need, max);
        let cancelled = self.model.receivers[who].is_some_and(|end| end.cancelled);
        super::waited(expected, wait, cancelled)
    }

    pub fn receive(&mut self, who: usize, rx: &mut RecvHandle<T, K>, hand: Hand, call: Call) {
        self.asked_to_receive(who, rx, hand, call);
        self.ended(rx);
    }

    /// Whether the last call has told this receiver of the end-of-file.
    pub fn ended(&mut self, rx: &RecvHandle<T, K>) {
        // All senders here have closed.
        assert!(matches!(rx.ending(), None | Some(Ending::Closed)));
        self.model.told_closed(rx.ending().is_some());
    }

    fn asked_to_receive(&mut self, who: usize, rx: &mut RecvHandle<T, K>, hand: Hand, call: Call) {
        let capacity = self.model.capacity;
        match call {
            Call::Recv => self.recv_one(who, rx, hand.wait),
            Call::RecvNow => self.recv_one(who, rx, Wait::Zero),
            Call::RecvSlice(len) => {
                let (expected, wait) = match len {
                    0 => (Ok(Vec::new()), hand.wait),
                    len => self.items(who, 1, len.min(capacity), hand.wait),
                };
                let mut into = vec![T::of(u64::MAX); len];
                let got = match wait {
                    Wait::Try => rx.try_recv_slice(&mut into),
                    wait => self.in_time(wait, rx.canceller(), || {
                        rx.recv_slice_deadline(&mut into, self.deadline(wait))
                    }),
                };
                let got = got.map(|count| into[..count].to_vec()).map_err(empty);
                let expected = expected.map(|mut items| {
                    items.truncate(len);
                    items
                });
                agree(&got, expected);
                self.copied(who, rx, got.map_or(0, |items| items.len()));
            }
            Call::RecvExact(len) => {
                let (expected, wait) = match len {
                    len if len > capacity => (Err(Refused::TooLong(len, capacity)), hand.wait),
                    0 => (Ok(Vec::new()), hand.wait),
                    len => self.items(who, len, len, hand.wait),
                };
                let mut into = vec![T::of(u64::MAX); len];
                let got = match wait {
                    Wait::Try => rx.try_recv_exact(&mut into),
                    wait => self.in_time(wait, rx.canceller(), || {
                        rx.recv_exact_deadline(&mut into, self.deadline(wait))
                    }),
                };
                let expected = expected.map(|items| items[..len].to_vec());
                agree(&got.map(|()| into).map_err(empty), expected);
                self.copied(who, rx, got.map_or(0, |()| len));
            }
            Call::Read { max: 0, .. } => {
                assert!(rx.try_claim(0).expect("nothing is claimed").is_empty());
                let run = rx.claim(0);
                assert!(run.expect("nothing is claimed").is_empty());
            }
            Call::Read { max, end } => {
                let (expected, wait) = self.readable(who, max, hand.wait);
                let run = match wait {
                    Wait::Try => rx.try_claim(max),
                    wait => {
                        let canceller = rx.canceller();
                        self.in_time(wait, canceller, || {
                            rx.claim_deadline(max, self.deadline(wait))
                        })
                    }
                };
                let read = |run: &ringpipe::ReadRun<'_, T, K>| match hand.lent {
                    // SAFETY: the ring is anonymous, and this process alone has it.
                    true => unsafe { T::borrowed(run) },
                    false => run.iter().collect(),
                };
                let copies = run.as_ref().map(read).map_err(|e| empty(*e));
                agree(&copies, expected);
                let Ok(run) = run else { return };
                let len = run.len();
                let one_by_one: Vec<_> = (0..len).map_while(|index| run.get(index)).collect();
                assert_eq!(Ok(one_by_one), copies);
                assert_eq!(run.get(len), None);
                assert_eq!(run.redelivered(), len.min(self.model.again));
                assert_eq!(run.redeliveries(), self.model.redeliveries);
                self.model.hand_out(who);
                let released = end.of(len);
                match end {
                    End::Part(_) => run.release(released),
                    End::All => run.release_all(),
                    End::Drop => run.abandon(),
                    #[allow(
                        clippy::forget_non_drop,
                        reason = "no promise that it will not have one"
                    )]
                    End::Forget => std::mem::forget(run),
                }
                self.released(who, released);
            }
            Call::Iter => self.iterate(who, rx),
            Call::TryIter => {
                let (expected, _) = self.drained(who);
                assert_eq!(rx.try_iter().collect::<Vec<_>>(), expected);
                self.again[who] = None;
            }
            Call::WaitForPeer => {
                let end = self.model.receivers[who].expect("attached");
                let here = if self.model.peers().0 > 0 { Ok(()) } else { Err(Refused::NotReady) };
                let (expected, wait) = super::waited(here, hand.wait, end.cancelled);
                if wait != Wait::Try {
                    let canceller = rx.canceller();
                    let met =
                        self.in_time(wait, canceller, || rx.wait_for_peer(self.deadline(wait)));
                    agree(&met.map_err(peer), expected);
                }
            }
            Call::IsClosed => assert_eq!(rx.is_closed(), self.model.receiver_gone(who)),
            Call::CancelReceiver | Call::ResetReceiver => {
                let cancel = matches!(call, Call::CancelReceiver);
                let canceller = rx.canceller();
                if cancel {
                    canceller.cancel()
                } else {
                    canceller.reset()
                }
                assert_eq!(rx.canceller().is_cancelled(), cancel);
                self.model.receivers[who].as_mut().expect("attached").cancelled = cancel;
            }
            Call::RequireSender => {
                rx.require_peer();
                super::Model::<T>::requires_peer(&mut self.model.receivers[who]);
            }
            Call::Policy(policy) => rx.set_wait_policy(policy.into()),
            _ => {}
        }
        if let Some(again) = self.again[who] {
            assert_eq!((rx.redelivered(), rx.redeliveries()), again);
        }
    }

    /// What a claim of up to `max` items comes to.
    fn readable(&mut self, who: usize, max: usize, wait: Wait) -> (Result<Vec<T>, Refused>, Wait) {
        let most = max.min(self.model.capacity);
        let (mut expected, wait) = self.items(who, 1, most, wait);
        if let Ok(items) = &mut expected {
            items.truncate(most); // it may hold more
        }
        (expected, wait)
    }

    /// A call has copied `count` items out, and released them.
    fn copied(&mut self, who: usize, rx: &RecvHandle<T, K>, count: usize) {
        if count > 0 {
            let again = (self.model.again.min(count), self.model.redeliveries);
            assert_eq!((rx.redelivered(), rx.redeliveries()), again);
            self.again[who] = Some(again);
            self.model.release(who, count);
        }
    }

    /// The holder of a run has released `count` items.
    fn released(&mut self, who: usize, count: usize) {
        self.model.release(who, count);
        if count > 0 {
            self.again[who] = None; // the run said it, and better
        }
    }

    fn recv_one(&mut self, who: usize, rx: &mut RecvHandle<T, K>, wait: Wait) {
        let (expected, wait) = self.items(who, 1, 1, wait);
        let got = match wait {
            Wait::Try => rx.try_recv().map_err(|error| match error {
                TryRecvError::Empty => Refused::NotReady,
                TryRecvError::Closed => Refused::Closed,
                other => panic!("{other:?}"),
            }),
            Wait::Zero => single(rx.recv_timeout(Duration::ZERO)),
            Wait::Soon => single(rx.recv_timeout(super::SOON)),
            Wait::Past => single(rx.recv_deadline(self.began)),
            Wait::Never => at_once(rx.canceller(), || rx.recv()).map_err(|error| match error {
                RecvError::Closed => Refused::Closed,
                RecvError::Cancelled => Refused::Cancelled,
                other => panic!("{other:?}"),
            }),
        };
        agree(&got, expected.map(|items| items[0]));
        self.copied(who, rx, usize::from(got.is_ok()));
    }

    /// What comes of receiving one by one until that works no more, and why it does not.
    fn drained(&mut self, who: usize) -> (Vec<T>, Refused) {
        let mut drained = Vec::new();
        loop {
            match self.model.claim_read(who, 1, 1) {
                Ok(items) => drained.push(items[0]),
                Err(refused) => return (drained, refused),
            }
            self.model.release(who, 1);
        }
    }

    /// The blocking iterator: to its end if there is one, or for as long as it need not wait.
    fn iterate(&mut self, who: usize, rx: &mut RecvHandle<T, K>) {
        let before = self.model.clone();
        let (expected, refused) = self.drained(who);
        let cancelled = self.model.receivers[who].is_some_and(|end| end.cancelled);
        self.again[who] = None;
        if refused == Refused::Closed || cancelled {
            let canceller = rx.canceller();
            let mut iter = rx.into_iter();
            let seen = at_once(canceller, || iter.by_ref().collect::<Vec<_>>());
            assert_eq!(seen, expected);
            assert_eq!(iter.next(), None);
            return;
        }
        self.model = before;
        let some = expected.len();
        for _ in 0..some {
            self.model.claim_read(who, 1, 1).expect("as before");
            self.model.release(who, 1);
        }
        let seen = at_once(rx.canceller(), || rx.iter().take(some).collect::<Vec<_>>());
        assert_eq!(seen, expected);
    }
}
