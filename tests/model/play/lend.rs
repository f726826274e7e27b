//! Runs that are borrowed instead of copied, of handles whose peers are trusted for the while.

use super::{End, Ends, Hand, Stage, Thing, Wait, agree, bulk};

impl<T: Thing, K: Ends> Stage<T, K> {
    pub fn write_lent(&mut self, hand: Hand, max: usize, end: End, gaps: bool) {
        let who = hand.which();
        let Some(tx) = self.tx[who].take() else { return };
        // SAFETY: the ring is anonymous, and this process keeps to the protocol.
        let mut tx = unsafe { tx.trust_peers() };
        let (expected, wait, values) = self.writable(who, max, hand.wait, gaps);
        {
            let run = match wait {
                Wait::Try => tx.try_claim(max),
                wait => {
                    let canceller = tx.canceller();
                    self.in_time(wait, canceller, || tx.claim(max, self.deadline(wait)))
                }
            };
            let full = |e: &_| bulk(*e, ringpipe::BulkError::Full);
            agree(&run.as_ref().map(|run| run.len()).map_err(full), expected);
            if let Ok(mut run) = run {
                K::fill(&mut run, &values);
                let committed = end.of(values.len());
                match end {
                    End::Part(_) => run.commit(committed),
                    End::All => run.commit_all(),
                    End::Drop => drop(run),
                    End::Forget => std::mem::forget(run),
                }
                self.model.written(who, &values, committed, matches!(end, End::Forget));
            }
        }
        self.tx[who] = Some(tx.into_inner());
    }

    pub fn read_lent(&mut self, hand: Hand, max: usize, end: End) {
        let who = hand.which();
        let Some(rx) = self.rx[who].take() else { return };
        // SAFETY: the ring is anonymous, and this process keeps to the protocol.
        let mut rx = unsafe { rx.trust_peers() };
        let (expected, wait) = self.readable(who, max, hand.wait);
        {
            let run = match wait {
                Wait::Try => rx.try_claim(max),
                wait => {
                    let canceller = rx.canceller();
                    self.in_time(wait, canceller, || rx.claim(max, self.deadline(wait)))
                }
            };
            let empty = |e: &_| bulk(*e, ringpipe::BulkError::Empty);
            agree(&run.as_ref().map(K::borrowed).map_err(empty), expected);
            if let Ok(run) = run {
                assert_eq!(run.redelivered(), run.len().min(self.model.again));
                assert_eq!(run.redeliveries(), self.model.redeliveries);
                self.model.hand_out(who);
                let released = end.of(run.len());
                match end {
                    End::Part(_) => run.release(released),
                    End::All => run.release_all(),
                    End::Drop => drop(run),
                    #[allow(
                        clippy::forget_non_drop,
                        reason = "no promise that it will not have one"
                    )]
                    End::Forget => std::mem::forget(run),
                }
                self.released(who, released);
            }
        }
        let rx = rx.into_inner();
        self.ended(&rx);
        self.rx[who] = Some(rx);
    }
}
