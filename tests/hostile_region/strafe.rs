//! Processes that write without a pause, whatever is there: whole words and parts of words, across
//! the borders of words, words swapped with each other, indices back and forth.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringpipe::Spsc;

use super::support::at;
use super::support::region::{Chart, Class, HEADER, Raw};
use super::support::{Child, Flavour, Me, Name, Rng};

/// What a strafing process does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Rng and telling values into words of all classes.
    Words,
    /// Bytes, and two, four and eight of them at any address.
    Narrow,
    /// Exchanges the values of two words that ends share.
    Swap,
    /// Both indices: 0, 1, 0, 1, …
    ToAndFro,
    /// Both indices: 0, the ring's capacity, 0, …
    LapToLap,
    /// Both indices, never twice the same in a thousand times, within the first slots.
    Sweep,
    /// Every stamp is a hole's, and the head is at the beginning.
    Holes,
}

impl Manner {
    const ALL: [Self; 7] = [
        Self::Words,
        Self::Narrow,
        Self::Swap,
        Self::ToAndFro,
        Self::LapToLap,
        Self::Sweep,
        Self::Holes,
    ];
}

/// Between two looks at whether to stop.
const VOLLEY: u64 = 1024;
/// All is put as it was in the beginning once in so many volleys; not so the slots of long rings.
const VOLLEYS_BETWEEN_RESTORES: u64 = 16;
const LONG_RING: usize = 1 << 18;

/// Where the words of the two indices are.
pub const TAIL: usize = at::TAIL / 8;
pub const HEAD: usize = at::HEAD / 8;

/// Strafing processes at work on one region.
pub struct Strafing {
    processes: Vec<Child>,
    counters: Raw,
    _file: Name,
}

impl Strafing {
    /// Starts one process for each manner, on the region at `path`. Where things are in it, its
    /// header says: the strafing is the same for every kind.
    pub fn start(path: &str, manners: &[Manner]) -> Self {
        let file = Name::new();
        std::fs::write(file.path(), [0; 4096]).unwrap();
        let counters = Raw::of(&file.path());
        let one = |(number, &manner): (usize, &Manner)| {
            let told = format!("{path} {} {number} {}", &*file, manner as usize);
            let mut process = Child::start::<Spsc>("strafes", &told);
            process.must_hear("ready");
            process
        };
        let mut processes: Vec<_> = manners.iter().enumerate().map(one).collect();
        // Now that all have seen the region as it should be.
        processes.iter_mut().for_each(|process| process.must("go", "strafing"));
        Self { processes, counters, _file: file }
    }

    /// Ends it; tells how many stores it made, and how many bytes they were.
    pub fn stop(mut self) -> (u64, u64) {
        self.counters.words()[0].store(1, Relaxed);
        for process in &mut self.processes {
            assert!(process.wait().success());
        }
        self.written()
    }

    /// For when the region has been cut off: they may have died of it.
    pub fn stop_the_dying(mut self) -> (u64, u64) {
        use std::os::unix::process::ExitStatusExt;
        self.counters.words()[0].store(1, Relaxed);
        for process in &mut self.processes {
            let status = process.wait();
            assert!(status.success() || status.signal() == Some(libc::SIGBUS), "{status}");
        }
        self.written()
    }

    pub fn written(&self) -> (u64, u64) {
        let count = |from: usize| {
            self.counters.words()[from..].iter().step_by(2).map(|count| count.load(Relaxed)).sum()
        };
        (count(1), count(2))
    }
}

/// Role: does it until told to stop.
pub fn strafes<K: Flavour>(mut me: Me) {
    let told: Vec<&str> = me.ring.split(' ').collect();
    let [path, counters, number, manner] = told[..] else { panic!("{told:?}") };
    let (number, manner): (usize, usize) = (number.parse().unwrap(), manner.parse().unwrap());
    let raw = Raw::of(path.as_ref());
    let counters = Raw::of(&std::path::Path::new("/dev/shm").join(counters));
    let counters = counters.words();
    // Whoever moves the indices alone needs no more of a region, which may be long.
    let indices =
        matches!(Manner::ALL[manner], Manner::ToAndFro | Manner::LapToLap | Manner::Sweep);
    let good = match indices {
        true => raw.words()[..HEADER / 8].iter().map(|word| word.load(Relaxed)).collect(),
        false => raw.copy(),
    };
    let chart = (!indices).then(|| Chart::of(&good));
    let mut strafe = Strafe {
        shared: chart.as_ref().map_or(Vec::new(), shared_words),
        kept: if indices || good.len() > LONG_RING { 0 } else { good.len() },
        capacity: good[5],
        random: Rng::new(0x5eed_0010 + 77 * number as u64),
        turn: 0,
        raw,
        good,
        chart,
    };
    me.say("ready");
    assert_eq!(me.hear().as_deref(), Some("go"));
    me.say("strafing");
    let count = |at: usize, more| _ = counters[1 + 2 * number + at].fetch_add(more, Relaxed);
    for volley in 1_u64.. {
        let bytes = strafe.volley(Manner::ALL[manner]);
        count(0, VOLLEY);
        count(1, bytes);
        if volley % VOLLEYS_BETWEEN_RESTORES == 0 {
            strafe.raw.restore(&strafe.good[..strafe.kept]);
        }
        if counters[0].load(Relaxed) != 0 {
            break;
        }
    }
    std::process::exit(0);
}

/// What ends change in a ring, but for the slots.
fn shared_words(chart: &Chart) -> Vec<usize> {
    let shared = |class: &Class| {
        !matches!(class, Class::Header | Class::Unused | Class::Payload | Class::Stamp)
    };
    let words = chart.classes().iter().enumerate();
    words.filter(|(_, class)| shared(class)).map(|(word, _)| word).collect()
}

struct Strafe {
    raw: Raw,
    good: Vec<u64>,
    /// Of regions into which more is written than the indices.
    chart: Option<Chart>,
    shared: Vec<usize>,
    /// So many words are put back as they were.
    kept: usize,
    capacity: u64,
    random: Rng,
    turn: u64,
}

impl Strafe {
    /// Writes [`VOLLEY`] times; tells how many bytes.
    fn volley(&mut self, manner: Manner) -> u64 {
        match manner {
            Manner::Words => (0..VOLLEY).for_each(|_| self.word()),
            Manner::Narrow => return (0..VOLLEY).map(|_| self.narrow()).sum(),
            Manner::Swap => (0..VOLLEY / 2).for_each(|_| self.swap()),
            Manner::ToAndFro => self.indices(|turn| turn % 2),
            Manner::LapToLap => {
                let capacity = self.capacity;
                self.indices(|turn| turn % 2 * capacity);
            }
            Manner::Sweep => self.indices(|turn| turn % 1021),
            Manner::Holes => self.holes(),
        }
        8 * VOLLEY
    }

    fn word(&mut self) {
        let Self { random, chart: Some(chart), raw, .. } = self else { return };
        let class = Class::ALL[random.within(0..Class::ALL.len() as u64) as usize];
        let words = chart.of_class(class);
        if words.is_empty() {
            return; // an SPSC ring has no stamps
        }
        let word = words[random.within(0..words.len() as u64) as usize];
        let bad = match random.within(0..4) {
            0 => random.next(),
            _ => chart.telling(raw, word, &mut |n| random.within(0..n)),
        };
        raw.words()[word].store(bad, Relaxed);
    }

    fn narrow(&mut self) -> u64 {
        let all = 8 * self.raw.words().len() as u64;
        // Mostly where it hurts: any byte of what is shared, or of the slots.
        let at = match self.random.within(0..4) {
            0 => HEADER as u64 + self.random.within(0..all - HEADER as u64),
            _ => {
                let word = self.shared[self.random.within(0..self.shared.len() as u64) as usize];
                8 * word as u64 + self.random.within(0..8)
            }
        };
        let bytes = 1 << self.random.within(0..4);
        if at + bytes > all {
            return 0;
        }
        let value = match self.random.within(0..3) {
            0 => 0,
            1 => u64::MAX,
            _ => self.random.next(),
        };
        let base = self.raw.words()[0].as_ptr().cast::<u8>();
        // SAFETY: within the mapping. What it races with are processes that expect no less; here,
        // nobody reads it.
        let to = unsafe { base.add(at as usize) };
        match bytes {
            // SAFETY: as above; whatever the alignment, here and below.
            1 => unsafe { to.write_volatile(value as u8) },
            // SAFETY: as above.
            2 => unsafe { to.cast::<u16>().write_unaligned(value as u16) },
            // SAFETY: as above.
            4 => unsafe { to.cast::<u32>().write_unaligned(value as u32) },
            // SAFETY: as above.
            _ => unsafe { to.cast::<u64>().write_unaligned(value) },
        }
        bytes
    }

    fn swap(&mut self) {
        let Self { random, shared, raw, .. } = self;
        let one = match random.within(0..2) {
            0 => [TAIL, HEAD][random.within(0..2) as usize],
            _ => shared[random.within(0..shared.len() as u64) as usize],
        };
        let other = shared[random.within(0..shared.len() as u64) as usize];
        let value = raw.words()[one].load(Relaxed);
        let value = raw.words()[other].swap(value, Relaxed);
        raw.words()[one].store(value, Relaxed);
    }

    fn indices(&mut self, of_turn: impl Fn(u64) -> u64) {
        let (tail, head) = (&self.raw.words()[TAIL], &self.raw.words()[HEAD]);
        for _ in 0..VOLLEY / 2 {
            self.turn = self.turn.wrapping_add(1);
            tail.store(of_turn(self.turn), Relaxed);
            head.store(of_turn(self.turn), Relaxed);
        }
    }

    fn holes(&mut self) {
        let stamps = self.chart.as_ref().map_or(&[][..], |chart| chart.of_class(Class::Stamp));
        self.raw.words()[HEAD].store(0, Relaxed);
        for _ in 0..VOLLEY {
            self.turn += 1;
            if let Some(&stamp) = stamps.get((self.turn % self.capacity) as usize) {
                // Skipped, in the first lap.
                self.raw.words()[stamp].store(2, Relaxed);
            }
        }
    }
}

/// A word of a region, for those who put it right.
pub fn put(raw: &Raw, word: usize, value: u64) {
    let word: &AtomicU64 = &raw.words()[word];
    word.store(value, Relaxed);
}
