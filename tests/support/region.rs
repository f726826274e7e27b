//! A region behind the crate's back: mapped as any process with permission can map it, with a map
//! of its words and an idea of which values hurt.
//!
//! Where things lie is read from the region's own header where that says it, and else stands here a
//! second time, as a stranger would have learnt it. That nothing is missing is not left to care:
//! `tests/hostile_region` compares this map with the words that honest ends really change.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringpipe::Kind;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::at;

/// A whole region, mapped.
#[derive(Debug)]
pub struct Raw {
    base: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: what it gives out is atomics.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Raw {
    /// Of what stands at `path`.
    pub fn of(path: &Path) -> Self {
        Self::of_file(&File::options().read(true).write(true).open(path).expect("a region"))
    }

    /// Of an open file.
    pub fn of_file(file: &impl AsFd) -> Self {
        let len = rustix::fs::fstat(file).expect("a status").st_size as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe { mmap(nowhere, len, access, MapFlags::SHARED, file, 0) };
        let base = NonNull::new(base.expect("a mapping").cast()).expect("an address");
        Self { base, len }
    }

    /// The region as 64-bit words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is this long, page-aligned, and lives as long as `self`.
        unsafe { NonNull::slice_from_raw_parts(self.base, self.len / 8).as_ref() }
    }

    /// All of them as they are.
    pub fn copy(&self) -> Vec<u64> {
        self.words().iter().map(|word| word.load(Relaxed)).collect()
    }

    /// All of them as they were.
    pub fn restore(&self, copy: &[u64]) {
        for (word, &value) in self.words().iter().zip(copy) {
            word.store(value, Relaxed);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and nothing points into it any more.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

/// Bytes of the header.
pub const HEADER: usize = 512;
/// Where it says how long the pages are that are mapped twice.
pub const PAGE: usize = 216;
/// Where its checksum lies, which covers everything before it.
pub const CHECKSUM: usize = 504;

/// Writes the checksum that the header's other bytes call for: FNV-1a.
pub fn sign(header: &mut [u8]) {
    let sum = header[..CHECKSUM].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    header[CHECKSUM..HEADER].copy_from_slice(&sum.to_ne_bytes());
}

/// What a word is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The identity, written once.
    Header,
    /// The senders' index.
    Tail,
    /// The receivers' index.
    Head,
    /// A word to sleep on.
    Wake,
    /// How many came, and how often the endpoint table changed.
    Arrivals,
    /// How ends went, and who was told.
    Endings,
    /// Who recovers, and how often one without a record has begun to.
    Recovery,
    /// Statistics.
    Tally,
    /// A slot of the watch.
    Watch,
    /// Who sleeps long.
    LongSleepers,
    /// MPMC messages: whose turn it is to claim many slots.
    Turn,
    /// Who sits in an endpoint record.
    OwnerWord,
    /// MPMC: what an end is about to claim.
    Intent,
    /// SPSC: what has been handed out, and how often.
    HandedOut,
    /// Lap and state of a slot.
    Stamp,
    /// How long a message is that is in the ring.
    Length,
    /// Values.
    Payload,
    /// Nothing, so far.
    Unused,
}

impl Class {
    /// There are such words on a ring of this kind.
    pub fn is_on<K: Kind>(self) -> bool {
        match self {
            Self::Stamp | Self::Watch | Self::LongSleepers | Self::Intent => K::MANY,
            Self::HandedOut => !K::MANY,
            Self::Length => K::MESSAGES,
            Self::Turn => K::MANY && K::MESSAGES,
            _ => true,
        }
    }

    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Header,
        Self::Tail,
        Self::Head,
        Self::Wake,
        Self::Arrivals,
        Self::Endings,
        Self::Recovery,
        Self::Tally,
        Self::Watch,
        Self::LongSleepers,
        Self::Turn,
        Self::OwnerWord,
        Self::Intent,
        Self::HandedOut,
        Self::Stamp,
        Self::Length,
        Self::Payload,
        Self::Unused,
    ];
}

/// The stamps of all slots, by word, in a region with this header.
pub fn stamps(header: &[u64]) -> impl Iterator<Item = usize> + use<> {
    let (kind, records) = (header[2] >> 32, (header[9] & 0xffff_ffff) as usize);
    let [capacity, stride, slots_at] = [5, 6, 7].map(|word| header[word] as usize);
    // Each in its slot, or apart from messages, right before the page on which those begin.
    let (slots, first, stride) = match kind {
        2 => (capacity, slots_at, stride),
        5 => (capacity, at::slots(records), 8),
        _ => (0, 0, 0),
    };
    (0..slots).map(move |slot| (first + stride * slot) / 8)
}

/// Where the words of each class are in one region.
#[derive(Debug)]
pub struct Chart {
    /// By word.
    classes: Vec<Class>,
    /// By class, in the order of [`Class::ALL`].
    words: Vec<Vec<usize>>,
    capacity: u64,
    tail: usize,
    head: usize,
}

impl Chart {
    /// Of a region with this content, whose header is good.
    pub fn of(words: &[u64]) -> Self {
        let (capacity, stride, slots_at) = (words[5], words[6] as usize, words[7] as usize);
        let (kind, records) = (words[2] >> 32, (words[9] & 0xffff_ffff) as usize);
        let (many, messages) = ([2, 5].contains(&kind), [4, 5].contains(&kind));
        let mut classes = vec![Class::Unused; words.len()];
        let mut mark = |class: Class, from: usize, bytes: usize| {
            classes[from / 8..(from + bytes) / 8].fill(class);
        };
        mark(Class::Header, 0, HEADER);
        mark(Class::Tail, at::TAIL, 16); // and the tag of the copy beside it
        mark(Class::Head, at::HEAD, 8);
        mark(Class::Wake, at::DATA, 8);
        mark(Class::Wake, at::SPACE, 8);
        mark(Class::Arrivals, at::ARRIVALS, 24);
        mark(Class::Endings, at::ENDINGS, 48);
        mark(Class::Recovery, at::RECOVERY, 16);
        mark(Class::Tally, at::TALLY, 32);
        if many {
            for role in 0..2 {
                mark(Class::Watch, at::WATCH + 128 * role, 64);
                let bytes = records.div_ceil(64) * 8;
                mark(Class::LongSleepers, at::LONG_SLEEPERS + 512 * role, bytes);
            }
        }
        if many && messages {
            mark(Class::Turn, at::TURN, 8);
        }
        mark(Class::OwnerWord, at::OWNERS, 8 * records);
        for record in 0..records {
            let at = at::records(records) + 128 * record;
            match many {
                true => mark(Class::Intent, at, 8),
                false => mark(Class::HandedOut, at + 8, 16),
            }
        }
        if !many {
            mark(Class::Payload, at::TAIL + 16, 48); // the copy
        }
        mark(Class::Payload, slots_at, (stride * capacity as usize).next_multiple_of(8));
        stamps(words).for_each(|stamp| mark(Class::Stamp, 8 * stamp, 8));
        let (tail, mut at) = (words[at::TAIL / 8], words[at::HEAD / 8]);
        while messages && at < tail {
            let first = slots_at + stride * (at % capacity) as usize;
            mark(Class::Length, first, 8);
            at += (8 + words[first / 8]).div_ceil(stride as u64);
        }
        let all = |class| (0..classes.len()).filter(|&word| classes[word] == class).collect();
        let words = Class::ALL.map(all).into();
        Self { classes, words, capacity, tail: at::TAIL / 8, head: at::HEAD / 8 }
    }

    /// What each word is for.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The words of this class.
    pub fn of_class(&self, class: Class) -> &[usize] {
        &self.words[class as usize]
    }

    /// A value that hurts more than a random one: boundaries, near misses, plausible lies, what
    /// stands in another word of the kind. `choose(n)` chooses one of `n`.
    pub fn telling(&self, raw: &Raw, word: usize, choose: &mut impl FnMut(u64) -> u64) -> u64 {
        let words = raw.words();
        let now = words[word].load(Relaxed);
        let (tail, head) = (words[self.tail].load(Relaxed), words[self.head].load(Relaxed));
        let class = self.classes[word];
        if choose(4) == 0 {
            let boundary = BOUNDARIES[choose(BOUNDARIES.len() as u64) as usize];
            return boundary.wrapping_add(choose(3)).wrapping_sub(1);
        }
        if choose(4) == 0 {
            // What another word of the kind says, of this end or of others: dead or alive.
            let alike = self.of_class(class);
            return words[alike[choose(alike.len() as u64) as usize]].load(Relaxed);
        }
        let laps = [0, 1, self.capacity, self.capacity + 1, self.capacity - 1, 2 * self.capacity];
        let near = |choose: &mut dyn FnMut(u64) -> u64, from: u64| {
            let by = laps[choose(6) as usize];
            if choose(2) == 0 { from.wrapping_add(by) } else { from.wrapping_sub(by) }
        };
        let index = [now, tail, head][choose(3) as usize];
        match class {
            Class::Tail | Class::Head | Class::HandedOut => near(choose, index),
            Class::Stamp => {
                let lap = near(choose, index) >> self.capacity.trailing_zeros();
                lap << 6 | choose(64)
            }
            // More than there can be, than there are, than are published; none; flags.
            Class::Length => {
                let bytes = tail.wrapping_sub(head).wrapping_mul(8);
                let lies = [
                    0,
                    (1 << 48) - 1,
                    1 << 48 | now,
                    now.wrapping_add(8),
                    bytes,
                    now.wrapping_mul(8),
                ];
                lies[choose(6) as usize].wrapping_add(choose(3)).wrapping_sub(1)
            }
            Class::Intent => {
                let counts = [0, 1, self.capacity, self.capacity * 2, (1 << 24) - 1];
                let position = near(choose, index) & ((1 << 40) - 1);
                counts[choose(5) as usize] << 40 | position
            }
            // Role, times taken, process: one of them wrong.
            Class::OwnerWord => match choose(3) {
                0 => now & !3 | choose(4),
                1 => now.wrapping_add(4),
                _ => now ^ choose(1 << 20) << 32,
            },
            // Two numbers in one word: one of them wrong.
            Class::Endings => match choose(2) {
                0 => now.wrapping_add(choose(5)).wrapping_sub(2),
                _ => now.wrapping_add(choose(5) << 32).wrapping_sub(2 << 32),
            },
            // A name: role, times taken, record; one of them wrong, or an end that does not wait.
            Class::Watch => match choose(4) {
                0 => now & !3 | choose(4),
                1 => now ^ 4,
                2 => now ^ choose(16) << 32,
                _ => choose(1 << 12) << 32 | 4 | choose(4),
            },
            Class::LongSleepers => now ^ 1 << choose(64),
            // An end that sits somewhere, or has sat there; a visitor; a record or a role that
            // there is not.
            Class::Recovery => match choose(4) {
                0 => choose(4) | choose(8) << 2 | choose(9) << 32,
                1 => now.wrapping_add(choose(3)) << 2 | 3,
                _ => {
                    let records = self.of_class(Class::OwnerWord);
                    let record = choose(records.len() as u64);
                    let owner = words[records[record as usize]].load(Relaxed) & 0xffff_ffff;
                    record << 32 | owner.wrapping_sub(choose(2) * 4)
                }
            },
            Class::Wake => match choose(2) {
                0 => now & !3 | choose(4),
                _ => now.wrapping_add(4).wrapping_sub(choose(3) * 4),
            },
            _ => now.wrapping_add(choose(5)).wrapping_sub(2),
        }
    }
}

/// Where number formats, and the packings of the protocol, come to an end.
const BOUNDARIES: [u64; 12] = [
    0,
    1,
    1 << 24,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 61,
    1 << 62,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
    0xffff_ffff_0000_0001,
];
