//! A ring at rest whose shared words were changed: byte by byte, and all at once.

use std::sync::atomic::Ordering::Relaxed;

use ringpipe::{
    BulkError, Bytes, Mpmc, MpmcMessages, Options, RecvTimeoutError, Ring, Spsc, SpscMessages,
    TryRecvError,
};

use super::calls::{Calls, INTERVAL, Outcomes, look};
use super::limits::{guarded, tell};
use super::support::region::{Chart, Class, Raw};
use super::support::{LONG, Name, Rng};

const CAPACITY: usize = 4;
/// In every slot that was ever written.
const VALUE: u64 = 0x7a1e_7a1e_7a1e_7a1e;

/// A ring at rest with two items in the second lap, and its region behind its back.
struct Victim<K: Calls> {
    name: Name,
    raw: Raw,
    good: Vec<u64>,
    chart: Chart,
    options: Options<K::Element, K>,
}

impl<K: Calls> Victim<K> {
    fn new() -> Self {
        let name = Name::new();
        let options = Ring::<K::Element, K>::options().capacity(CAPACITY).endpoints(4);
        let ring = options.create(&name).unwrap();
        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        for _ in 0..CAPACITY {
            assert!(K::send_one(&mut tx, VALUE));
            assert!(K::recv_one(&mut rx, VALUE));
        }
        assert!((0..2).all(|_| K::send_one(&mut tx, VALUE)));
        drop((tx, rx));
        let raw = Raw::of(&name.path());
        let good = raw.copy();
        let chart = Chart::of(&good);
        Self { name, good, chart, raw, options }
    }

    /// Opens, attaches and calls everything there is; then puts the region in order.
    fn exercise(&self, wait: bool, seen: &mut Outcomes) {
        let before = self.raw.copy();
        let ring = self.options.open(&self.name).expect("its header is good");
        look(&ring, seen);
        let mut tx = seen.attach(|| K::sender(&ring));
        let mut rx = seen.attach(|| K::receiver(&ring));
        // Payload was left alone, or is unwritten.
        if let Some(rx) = &mut rx {
            K::receive(rx, Some(VALUE), wait, seen);
        }
        if let Some(tx) = &mut tx {
            K::send(tx, VALUE, wait, seen);
        }
        if let Some(rx) = &mut rx {
            K::receive(rx, Some(VALUE), false, seen);
        }
        drop((tx, rx));
        self.assert_unused_words_are_as(&before);
        self.raw.restore(&self.good);
    }

    /// Nobody has written where nothing is: between the words, and behind the last slot.
    fn assert_unused_words_are_as(&self, before: &[u64]) {
        for &word in self.chart.of_class(Class::Unused) {
            let now = self.raw.words()[word].load(Relaxed);
            assert_eq!(now, before[word], "a stray write to word {word}");
        }
    }

    /// In order, the ring gives what was in it: nothing of what happened sticks.
    fn assert_good(&self) {
        let ring = self.options.open(&self.name).unwrap();
        let mut rx = K::receiver(&ring).unwrap();
        let received =
            std::iter::repeat_with(|| K::recv_one(&mut rx, VALUE)).take_while(|got| *got);
        assert_eq!(received.count(), 2);
        self.raw.restore(&self.good);
    }

    /// All words but the header and the values: what ends share, and what lies between.
    fn shared_words(&self) -> Vec<usize> {
        let slots_at = self.good[7] as usize / 8;
        let classes = self.chart.classes().iter().enumerate();
        classes
            .filter(|&(word, &class)| match class {
                Class::Header | Class::Payload => false,
                Class::Unused => word < slots_at,
                _ => true,
            })
            .map(|(word, _)| word)
            .collect()
    }

    fn shared_bytes(&self) -> Vec<usize> {
        self.shared_words().into_iter().flat_map(|word| 8 * word..8 * word + 8).collect()
    }

    fn flip(&self, offset: usize, flip: u8) {
        let mut word = self.good[offset / 8].to_ne_bytes();
        word[offset % 8] ^= flip;
        self.raw.words()[offset / 8].store(u64::from_ne_bytes(word), Relaxed);
    }
}

fn every_flipped_byte<K: Calls>() {
    let seen = guarded(LONG, || {
        let victim = Victim::<K>::new();
        let mut seen = Outcomes::default();
        victim.assert_good();
        for offset in victim.shared_bytes() {
            for flip in [0x01, 0x80, 0xff] {
                victim.flip(offset, flip);
                victim.exercise(flip == 0xff && offset % 8 < 2, &mut seen);
            }
        }
        victim.assert_good();
        seen
    });
    println!("{}: {seen:?}", K::NAME);
    tell("a ring at rest, damaged between calls", 0, 0, &seen.clock);
    assert!(seen.of("ok") > 0 && seen.of("corrupt") > 0, "{seen:?}");
}

#[test]
fn an_spsc_ring_bears_every_flipped_byte_of_its_shared_words() {
    every_flipped_byte::<Spsc>();
}

#[test]
fn an_mpmc_ring_bears_every_flipped_byte_of_its_shared_words() {
    every_flipped_byte::<Mpmc>();
}

#[test]
fn a_byte_pipe_bears_every_flipped_byte_of_its_shared_words() {
    every_flipped_byte::<Bytes>();
}

#[test]
fn an_spsc_ring_of_messages_bears_every_flipped_byte_of_its_shared_words_and_lengths() {
    every_flipped_byte::<SpscMessages>();
}

#[test]
fn an_mpmc_ring_of_messages_bears_every_flipped_byte_of_its_shared_words_and_lengths() {
    every_flipped_byte::<MpmcMessages>();
}

fn random_words<K: Calls>(seed: u64) {
    let seen = guarded(LONG, move || {
        let victim = Victim::<K>::new();
        let mut random = Rng::new(seed);
        let mut seen = Outcomes::default();
        let words = victim.shared_words();
        for round in 0..300 {
            // All words, or about every eighth; wild values, or telling ones.
            let sparse = round % 2 == 1;
            let wild = round % 4 < 2;
            for &word in &words {
                if sparse && random.within(0..8) > 0 {
                    continue;
                }
                let value = match wild {
                    true => random.next(),
                    false => victim.chart.telling(&victim.raw, word, &mut |n| random.within(0..n)),
                };
                victim.raw.words()[word].store(value, Relaxed);
            }
            victim.exercise(round % 8 < 2, &mut seen);
        }
        victim.assert_good();
        seen
    });
    println!("{}: {seen:?}", K::NAME);
    tell("a ring at rest, damaged between calls", 0, 0, &seen.clock);
    assert!(seen.of("corrupt") > 0, "{seen:?}");
}

#[test]
fn an_spsc_ring_bears_random_shared_words() {
    random_words::<Spsc>(0x5eed_0003);
}

#[test]
fn an_mpmc_ring_bears_random_shared_words() {
    random_words::<Mpmc>(0x5eed_0004);
}

#[test]
fn a_byte_pipe_bears_random_shared_words() {
    random_words::<Bytes>(0x5eed_0013);
}

#[test]
fn an_spsc_ring_of_messages_bears_random_shared_words_and_lengths() {
    random_words::<SpscMessages>(0x5eed_0014);
}

#[test]
fn an_mpmc_ring_of_messages_bears_random_shared_words_and_lengths() {
    random_words::<MpmcMessages>(0x5eed_0015);
}

/// A receiver that holds items and a hole between them, and stamps that tell of neither any more.
#[test]
fn held_items_whose_stamps_are_gone_are_corrupt_for_every_way_of_receiving_them() {
    for way in 0..5 {
        let victim = Victim::<Mpmc>::new();
        let ring = victim.options.open(&victim.name).unwrap();
        let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
        assert_eq!(rx.try_recv_slice(&mut [0; 2]), Ok(2));
        let run = tx.try_claim(2).unwrap();
        run.commit(1); // whatever was in its slot, and a hole behind it
        tx.try_send(VALUE).unwrap();
        assert_eq!(rx.try_claim(2).unwrap().len(), 2); // dropped: held, and received again

        for &stamp in victim.chart.of_class(Class::Stamp) {
            victim.raw.words()[stamp].store(u64::MAX, Relaxed);
        }
        match way {
            0 => assert_eq!(rx.try_recv(), Err(TryRecvError::Corrupt)),
            1 => assert_eq!(rx.recv_timeout(INTERVAL), Err(RecvTimeoutError::Corrupt)),
            2 => assert_eq!(rx.try_recv_slice(&mut [0; 2]), Err(BulkError::Corrupt)),
            3 => assert_eq!(rx.try_recv_exact(&mut [0; 2]), Err(BulkError::Corrupt)),
            _ => {
                let run = rx.try_claim(2).unwrap();
                assert_eq!((run.get(0), run.iter().count()), (None, 0));
                run.release_all();
            }
        }
        // It holds on to nothing that it cannot find.
        victim.raw.restore(&victim.good);
        assert_eq!(rx.try_recv(), Ok(VALUE));
    }
}

/// Handles that were attached in good times, while the words change under them.
fn under_attached_handles<K: Calls>(seed: u64) {
    let seen = guarded(LONG, move || {
        let victim = Victim::<K>::new();
        let ring = victim.options.open(&victim.name).unwrap();
        let mut random = Rng::new(seed);
        let mut seen = Outcomes::default();
        let bytes = victim.shared_bytes();
        for round in 0..300 {
            victim.raw.restore(&victim.good);
            let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
            for turn in 0..32 {
                let offset = bytes[random.within(0..bytes.len() as u64) as usize];
                let word = &victim.raw.words()[offset / 8];
                let was = word.load(Relaxed);
                let bad = match turn % 4 {
                    0 => was ^ 1 << random.within(0..64),
                    1 => random.next(),
                    2 => was.wrapping_add(random.within(0..9)).wrapping_sub(4),
                    _ => {
                        victim.chart.telling(&victim.raw, offset / 8, &mut |n| random.within(0..n))
                    }
                };
                word.store(bad, Relaxed);
                let wait = round % 8 == 0 && turn % 8 == 0;
                K::send(&mut tx, VALUE, wait, &mut seen);
                K::receive(&mut rx, Some(VALUE), wait, &mut seen);
                // Mostly it is put right again, so that the next damage meets a ring in use.
                if turn % 5 > 0 {
                    let _ = word.compare_exchange(bad, was, Relaxed, Relaxed);
                }
            }
        }
        seen
    });
    println!("{}: {seen:?}", K::NAME);
    tell("a ring at rest, damaged between calls", 0, 0, &seen.clock);
    assert!(seen.of("ok") > 0 && seen.of("corrupt") > 0, "{seen:?}");
}

#[test]
fn attached_spsc_ends_bear_words_that_change_under_them() {
    under_attached_handles::<Spsc>(0x5eed_0005);
}

#[test]
fn attached_mpmc_ends_bear_words_that_change_under_them() {
    under_attached_handles::<Mpmc>(0x5eed_0006);
}

#[test]
fn attached_ends_of_a_byte_pipe_bear_words_that_change_under_them() {
    under_attached_handles::<Bytes>(0x5eed_0016);
}

#[test]
fn attached_ends_of_spsc_messages_bear_words_that_change_under_them() {
    under_attached_handles::<SpscMessages>(0x5eed_0017);
}

#[test]
fn attached_ends_of_mpmc_messages_bear_words_that_change_under_them() {
    under_attached_handles::<MpmcMessages>(0x5eed_0018);
}
