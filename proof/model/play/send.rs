//! What a sending end is asked to do.

use std::time::Duration;

use ringpipe::{
    BulkError, Canceller, Deadline, SendError, SendHandle, SendTimeoutError, TrySendError, WriteRun,
};

use super::queue::Refused;
use super::{Call, End, Ends, Hand, Stage, Thing, Wait, agree, at_once, bulk, peer};

fn full(error: BulkError) -> Refused {
    bulk(error, BulkError::Full)
}

/// A refusal, and the value that came back with it.
fn single<T: Thing>(sent: Result<(), SendTimeoutError<T>>) -> Result<(), (Refused, T)> {
    sent.map_err(|error| match error {
        SendTimeoutError::Timeout(value) => (Refused::Timeout, value),
        SendTimeoutError::Closed(value) => (Refused::Closed, value),
        SendTimeoutError::Cancelled(value) => (Refused::Cancelled, value),
        other => panic!("{other:?}"),
    })
}

impl<T: Thing, K: Ends> Stage<T, K> {
    fn values(&mut self, count: usize) -> Vec<T> {
        self.next += count as u64;
        (self.next - count as u64..self.next).map(T::of).collect()
    }

    /// What this sender's claim comes to, and how it may wait.
    fn slots(
        &mut self,
        who: usize,
        need: usize,
        max: usize,
        wait: Wait,
    ) -> (Result<usize, Refused>, Wait) {
        let expected = self.model.claim_write(who, need, max);
        let cancelled = self.model.senders[who].is_some_and(|end| end.cancelled);
        super::waited(expected, wait, cancelled)
    }

    pub fn send(&mut self, who: usize, tx: &mut SendHandle<T, K>, hand: Hand, call: Call) {
        let capacity = self.model.capacity;
        match call {
            Call::Send => self.send_one(who, tx, hand.wait),
            Call::SendNow => self.send_one(who, tx, Wait::Zero),
            Call::SendSlice(len) => {
                let values = self.values(len);
                let (expected, wait) = match len {
                    0 => (Ok(0), hand.wait),
                    len => self.slots(who, 1, len.min(capacity), hand.wait),
                };
                let sent = match wait {
                    Wait::Try => tx.try_send_slice(&values),
                    wait => self.in_time(wait, tx.canceller(), || {
                        tx.send_slice_deadline(&values, self.deadline(wait))
                    }),
                };
                agree(&sent.map_err(full), expected);
                self.sent(who, &values[..expected.unwrap_or(0)]);
            }
            Call::SendExact(len) => {
                let values = self.values(len);
                let (expected, wait) = match len {
                    0 => (Ok(0), hand.wait),
                    len if len > capacity => (Err(Refused::TooLong(len, capacity)), hand.wait),
                    len => self.slots(who, len, len, hand.wait),
                };
                let sent = match wait {
                    Wait::Try => tx.try_send_exact(&values),
                    wait => self.in_time(wait, tx.canceller(), || {
                        tx.send_exact_deadline(&values, self.deadline(wait))
                    }),
                };
                agree(&sent.map_err(full), expected.map(|_| ()));
                self.sent(who, &values[..expected.unwrap_or(0)]);
            }
            Call::Write { max, end } | Call::WriteSome { max, end } => {
                if max == 0 {
                    assert!(tx.try_claim(0).expect("nothing is claimed").is_empty());
                    let run = tx.claim(0);
                    return assert!(run.expect("nothing is claimed").is_empty());
                }
                let gaps = matches!(call, Call::WriteSome { .. });
                let (expected, wait, values) = self.writable(who, max, hand.wait, gaps);
                let run = match wait {
                    Wait::Try => tx.try_claim(max),
                    wait => {
                        let canceller = tx.canceller();
                        self.in_time(wait, canceller, || {
                            tx.claim_deadline(max, self.deadline(wait))
                        })
                    }
                };
                agree(&run.as_ref().map(|run| run.len()).map_err(|e| full(*e)), expected);
                let Ok(mut run) = run else { return };
                if hand.lent {
                    // SAFETY: the ring is anonymous, and this process alone has it.
                    unsafe { T::fill(&mut run, &values) };
                } else {
                    for (index, value) in values.iter().enumerate() {
                        if let Some(value) = *value {
                            run.write(index, value);
                        }
                    }
                }
                let committed = end.of(values.len());
                match end {
                    End::Part(_) => run.commit(committed),
                    End::All => run.commit_all(),
                    End::Drop => run.abandon(),
                    End::Forget => std::mem::forget::<WriteRun<'_, T, K>>(run),
                }
                self.model.written(who, &values, committed, matches!(end, End::Forget));
            }
            Call::WaitForPeer => {
                let end = self.model.senders[who].expect("attached");
                let here = if self.model.peers().1 > 0 { Ok(()) } else { Err(Refused::NotReady) };
                let (expected, wait) = super::waited(here, hand.wait, end.cancelled);
                if wait != Wait::Try {
                    let canceller = tx.canceller();
                    let met =
                        self.in_time(wait, canceller, || tx.wait_for_peer(self.deadline(wait)));
                    agree(&met.map_err(peer), expected);
                }
            }
            Call::IsClosed => assert_eq!(tx.is_closed(), self.model.sender_gone(who)),
            Call::CancelSender | Call::ResetSender => {
                let cancel = matches!(call, Call::CancelSender);
                let canceller = tx.canceller();
                if cancel {
                    canceller.cancel()
                } else {
                    canceller.reset()
                }
                assert_eq!(tx.canceller().is_cancelled(), cancel);
                self.model.senders[who].as_mut().expect("attached").cancelled = cancel;
            }
            Call::RequireReceiver => {
                tx.require_peer();
                super::Model::<T>::requires_peer(&mut self.model.senders[who]);
            }
            Call::Policy(policy) => tx.set_wait_policy(policy.into()),
            _ => {}
        }
    }

    /// What a claim of up to `max` slots comes to, how it may wait, and what to write.
    fn writable(
        &mut self,
        who: usize,
        max: usize,
        wait: Wait,
        gaps: bool,
    ) -> (Result<usize, Refused>, Wait, Vec<Option<T>>) {
        let most = max.min(self.model.capacity);
        let (expected, wait) = self.slots(who, 1, most, wait);
        let values = self.values(expected.unwrap_or(0));
        let write = |(index, value)| if gaps && index % 2 == 1 { None } else { Some(value) };
        (expected, wait, values.into_iter().enumerate().map(write).collect())
    }

    fn sent(&mut self, who: usize, values: &[T]) {
        let values: Vec<_> = values.iter().copied().map(Some).collect();
        self.model.written(who, &values, values.len(), false);
    }

    fn send_one(&mut self, who: usize, tx: &mut SendHandle<T, K>, wait: Wait) {
        let value = self.values(1)[0];
        let (expected, wait) = self.slots(who, 1, 1, wait);
        let sent = match wait {
            Wait::Try => tx.try_send(value).map_err(|error| match error {
                TrySendError::Full(value) => (Refused::NotReady, value),
                TrySendError::Closed(value) => (Refused::Closed, value),
                other => panic!("{other:?}"),
            }),
            Wait::Zero => single(tx.send_timeout(value, Duration::ZERO)),
            Wait::Soon => single(tx.send_timeout(value, super::SOON)),
            Wait::Past => single(tx.send_deadline(value, self.began)),
            Wait::Never => {
                at_once(tx.canceller(), || tx.send(value)).map_err(|error| match error {
                    SendError::Closed(value) => (Refused::Closed, value),
                    SendError::Cancelled(value) => (Refused::Cancelled, value),
                    other => panic!("{other:?}"),
                })
            }
        };
        assert_eq!(sent, expected.map(|_| ()).map_err(|refused| (refused, value)));
        if expected.is_ok() {
            self.sent(who, &[value]);
        }
    }

    /// Makes a call that has until this deadline.
    pub fn in_time<R>(&self, wait: Wait, canceller: Canceller, call: impl FnOnce() -> R) -> R {
        if wait == Wait::Never { at_once(canceller, call) } else { call() }
    }

    /// Until when to wait.
    pub fn deadline(&self, wait: Wait) -> Deadline {
        match wait {
            Wait::Try | Wait::Zero => Duration::ZERO.into(),
            Wait::Soon => super::SOON.into(),
            Wait::Past => self.began.into(),
            Wait::Never => Deadline::NEVER,
        }
    }
}
