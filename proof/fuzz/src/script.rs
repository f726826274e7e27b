//! Calls on a ring that was opened, and a peer that writes what no honest one would between them.

use std::time::Duration;

use harness::Flavour;
use harness::region::{Chart, Class, Raw};
use ringpipe::{Item, RecvHandle, Ring, SendHandle, TrySendError, bytemuck};

use std::sync::atomic::Ordering::Relaxed;

/// The bytes of a script, one after the other; after the last, zeros.
struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn next(&mut self) -> u64 {
        self.0.next().copied().unwrap_or(0).into()
    }

    fn choose(&mut self, n: u64) -> u64 {
        let wide = if n > 256 { self.next() << 16 | self.next() << 8 } else { 0 };
        (wide | self.next()) % n
    }
}

/// What the script works on: two ends of each role, if they are attached.
struct Stage<'a, T: Item, K: Flavour> {
    ring: &'a Ring<T, K>,
    tx: [Option<SendHandle<T, K>>; 2],
    rx: [Option<RecvHandle<T, K>>; 2],
    raw: &'a Raw,
    chart: &'a Chart,
    /// Waits that last, of which a script has one.
    patience: u32,
    /// Attachments that came to nothing.
    refusals: u32,
    /// Somebody wrote over the endpoint table.
    table_damaged: bool,
}

/// Performs the script: a byte for the call, the next ones for its arguments.
pub(crate) fn perform<T: Item + bytemuck::Zeroable + PartialEq + std::fmt::Debug, K: Flavour>(
    ring: &Ring<T, K>,
    script: &[u8],
    raw: &Raw,
    chart: &Chart,
) {
    let (tx, rx) = ([None, None], [None, None]);
    let mut stage =
        Stage { ring, tx, rx, raw, chart, patience: 1, refusals: 0, table_damaged: false };
    let mut bytes = Bytes(script.iter());
    while bytes.0.len() > 0 {
        stage.step(&mut bytes);
        assert!(ring.len() <= ring.capacity());
    }
    // The ends leave one by one, whatever state that finds the ring in.
}

impl<T: Item + bytemuck::Zeroable + PartialEq + std::fmt::Debug, K: Flavour> Stage<'_, T, K> {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let call = bytes.next();
        let which = (call >> 7) as usize;
        match call & 0x7f {
            call @ 0..4 if self.may_attach(call) => {
                self.tx[which] = attached(K::sender(self.ring), &mut self.refusals);
            }
            call @ 4..8 if self.may_attach(call - 4) => {
                self.rx[which] = attached(K::receiver(self.ring), &mut self.refusals);
            }
            0..8 => {}
            8 => self.tx[which] = None,
            9 => self.rx[which] = None,
            10..12 => self.ask(),
            12..48 => self.scribble(call as usize, bytes),
            call @ 48..80 => {
                if let Some(tx) = &mut self.tx[which] {
                    send(tx, call % 16, bytes, &mut self.patience);
                }
            }
            call => {
                if let Some(rx) = &mut self.rx[which] {
                    receive(rx, call % 16, bytes, &mut self.patience);
                }
            }
        }
    }

    /// A record that seems free and is not is asked for a second long, in which thousands of other
    /// inputs could be tried: once for each input, and not for most.
    fn may_attach(&self, call: u64) -> bool {
        self.refusals == 0 && (call == 0 || !self.table_damaged)
    }

    /// Every question there is.
    fn ask(&self) {
        let (peers, records) = (self.ring.peers(), self.ring.endpoints() as usize);
        assert!(peers.senders <= records && peers.receivers <= records);
        let _ = (self.ring.stats(), self.ring.created(), self.ring.is_full());
        assert!(!format!("{:?}", self.ring).is_empty());
    }

    /// Someone changes a word of a class.
    fn scribble(&mut self, call: usize, bytes: &mut Bytes<'_>) {
        let class = Class::ALL[1 + call % (Class::ALL.len() - 1)];
        let words = self.chart.of_class(class);
        let Some(&word) = words.get(bytes.choose(words.len().max(1) as u64) as usize) else {
            return; // an SPSC ring has no stamps
        };
        let value = match bytes.next() {
            0 => (0..8).fold(0, |value, _| value << 8 | bytes.next()),
            1 => self.raw.words()[word].load(Relaxed) ^ 1 << bytes.choose(64),
            _ => self.chart.telling(self.raw, word, &mut |n| bytes.choose(n)),
        };
        self.raw.words()[word].store(value, Relaxed);
        self.table_damaged |= class == Class::OwnerWord;
    }
}

fn attached<H>(end: Result<H, ringpipe::AttachError>, refusals: &mut u32) -> Option<H> {
    end.inspect_err(|error| {
        *refusals += 1;
        // An error that cannot be told is no error.
        assert!(!error.to_string().is_empty());
    })
    .ok()
}

/// So short that a wait is over before it has begun; or long enough for a liveness check.
fn moment(patience: &mut u32, wanted: u64) -> Duration {
    if *patience == 0 || !wanted.is_multiple_of(16) {
        return Duration::ZERO;
    }
    *patience -= 1;
    Duration::from_micros(1200)
}

fn send<T: Item + bytemuck::Zeroable + PartialEq + std::fmt::Debug, K: Flavour>(
    tx: &mut SendHandle<T, K>,
    call: u64,
    bytes: &mut Bytes<'_>,
    patience: &mut u32,
) {
    let value: T = bytemuck::Zeroable::zeroed();
    tx.set_liveness_interval(Duration::from_millis(1));
    let count = bytes.next() as usize;
    let several = vec![value; count];
    match call {
        0..4 => match tx.try_send(value) {
            Ok(()) => {}
            Err(TrySendError::Full(back) | TrySendError::Corrupt(back)) => assert_eq!(back, value),
            Err(TrySendError::Closed(back)) => assert_eq!(back, value),
            Err(other) => panic!("undocumented: {other:?}"),
        },
        4 => drop(tx.send_timeout(value, moment(patience, count as u64))),
        5 | 6 => {
            if let Ok(sent) = tx.try_send_slice(&several) {
                assert!(sent <= count && (sent > 0 || count == 0));
            }
        }
        7 => drop(tx.try_send_exact(&several)),
        8 => drop(tx.send_exact_deadline(&several, moment(patience, count as u64))),
        9 => drop(tx.wait_for_peer(moment(patience, count as u64))),
        10 => tx.require_peer(),
        11 => {
            if let Ok(run) = tx.try_claim(count) {
                std::mem::forget(run);
            }
        }
        _ => {
            if let Ok(mut run) = tx.try_claim(count) {
                assert!((count.min(1)..=count).contains(&run.len()));
                for index in 0..run.len() {
                    run.write(index, value);
                }
                let most = run.len() as u64;
                run.commit(bytes.choose(most + 1) as usize);
            }
        }
    }
}

fn receive<T: Item + bytemuck::Zeroable + PartialEq + std::fmt::Debug, K: Flavour>(
    rx: &mut RecvHandle<T, K>,
    call: u64,
    bytes: &mut Bytes<'_>,
    patience: &mut u32,
) {
    rx.set_liveness_interval(Duration::from_millis(1));
    let count = bytes.next() as usize;
    let mut several = vec![bytemuck::Zeroable::zeroed(); count];
    match call {
        0..4 => drop(rx.try_recv()),
        4 => drop(rx.recv_timeout(moment(patience, count as u64))),
        5 | 6 => {
            if let Ok(received) = rx.try_recv_slice(&mut several) {
                assert!(received <= count && (received > 0 || count == 0));
            }
        }
        7 => drop(rx.try_recv_exact(&mut several)),
        8 => drop(rx.recv_exact_deadline(&mut several, moment(patience, count as u64))),
        9 => drop(rx.wait_for_peer(moment(patience, count as u64))),
        10 => rx.require_peer(),
        11 => drop(rx.try_claim(count)),
        _ => {
            if let Ok(run) = rx.try_claim(count) {
                assert!((count.min(1)..=count).contains(&run.len()));
                assert!(run.redelivered() <= run.len());
                assert!(run.iter().count() <= run.len());
                let _ = run.get(run.len() / 2);
                let most = run.len() as u64;
                run.release(bytes.choose(most + 1) as usize);
            }
        }
    }
}
