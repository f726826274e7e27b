//! A header that lies, under a checksum that fits: whoever writes the region can compute one.
//!
//! Every field, one after the other and several at once, by every way of opening: what does not
//! follow from the reader's own program is refused, by an error that says what it is; what is
//! opened is mapped as far as the file goes, and every call on it ends well.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use ringpipe::{
    Bytes, Kind, Mismatch, Mpmc, MpmcMessages, OpenError, OpenOrCreateError, Options, Ring, Spsc,
    SpscMessages, bytes,
};

use super::calls::{Calls, Outcomes};
use super::limits::{MOMENTARY, guarded, tell, timed};
use super::scribbler::seconds;
use super::support::at;
use super::support::region::{HEADER, PAGE, Raw, sign};
use super::support::{LONG, Name, Rng};

/// What a lie in a field is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NotARing,
    ByteOrder,
    Layout,
    PointerWidth,
    Kind,
    Element,
    PageSize,
    Damaged,
    /// It decides nothing.
    Welcome,
}

/// Name, offset, bytes, answer.
const FIELDS: [(&str, usize, usize, Answer); 25] = [
    ("magic", 0, 8, Answer::NotARing),
    ("byte order", 8, 4, Answer::Damaged),
    ("major", 12, 2, Answer::Layout),
    ("minor", 14, 2, Answer::Welcome),
    ("pointer bits", 16, 4, Answer::PointerWidth),
    ("kind", 20, 4, Answer::Kind),
    ("element size", 24, 8, Answer::Element),
    ("element align", 32, 8, Answer::Element),
    ("capacity", 40, 8, Answer::Damaged),
    ("stride", 48, 8, Answer::Damaged),
    ("slots at", 56, 8, Answer::Damaged),
    ("region len", 64, 8, Answer::Damaged),
    ("endpoints", 72, 4, Answer::Damaged),
    ("tag version", 76, 4, Answer::Element),
    ("tag", 80, 8, Answer::Element),
    ("region id", 128, 8, Answer::Welcome),
    ("created", 144, 8, Answer::Welcome),
    ("flags", 160, 8, Answer::Damaged),
    ("reserved", 496, 8, Answer::Welcome),
    ("slot layout", 168, 4, Answer::Damaged),
    ("line", 172, 4, Answer::Damaged),
    ("lanes", 176, 4, Answer::Damaged),
    ("delivery limit", 180, 4, Answer::Damaged),
    ("granule", 184, 8, Answer::Damaged),
    // Of the kinds whose slots are mapped once it is none.
    ("page", PAGE, 8, Answer::Damaged),
];

const CAPACITY: usize = 32;
const ENDPOINTS: u32 = 20;

fn options<K: Calls>() -> Options<K::Element, K> {
    Ring::options().capacity(CAPACITY).endpoints(ENDPOINTS)
}

/// The same ring's header, by name and in a sealed file.
struct Liar<K: Calls> {
    name: Name,
    file: File,
    anonymous: Ring<K::Element, K>,
    good: [u8; HEADER],
    sealed: [u8; HEADER],
    region_len: usize,
    seen: Outcomes,
    lies: u64,
}

impl<K: Calls> Liar<K> {
    fn new() -> Self {
        let name = Name::new();
        let region_len = options::<K>().create(&name).unwrap().region_len();
        let file = File::options().read(true).write(true).open(name.path()).unwrap();
        let anonymous = options::<K>().create_anonymous().unwrap();
        let (mut good, mut sealed) = ([0; HEADER], [0; HEADER]);
        file.read_exact_at(&mut good, 0).unwrap();
        let memory = File::from(anonymous.as_fd().try_clone_to_owned().unwrap());
        memory.read_exact_at(&mut sealed, 0).unwrap();
        let seen = Outcomes::default();
        Self { name, file, anonymous, good, sealed, region_len, seen, lies: 0 }
    }

    /// Opens in every way what begins with this header; they must agree. `None`: it was opened, and
    /// is of use.
    fn tell(&mut self, mut header: [u8; HEADER]) -> Option<OpenError> {
        sign(&mut header);
        self.lies += 1;
        self.file.write_all_at(&header, 0).unwrap();
        let memory = File::from(self.anonymous.as_fd().try_clone_to_owned().unwrap());
        // All that differs between the two is what decides nothing: number and times.
        memory.write_all_at(&header, 0).unwrap();
        let (seen, name) = (&mut self.seen, &self.name);
        let options = options::<K>();
        let created = timed!(seen, "open_or_create", MOMENTARY, options.open_or_create(name));
        let outcomes = [
            timed!(seen, "open", MOMENTARY, options.open(name)),
            timed!(seen, "open_file", MOMENTARY, options.open_file(name.path())),
            timed!(seen, "from_fd", MOMENTARY, options.from_fd(memory.into())),
            created.map_err(|error| match error {
                OpenOrCreateError::Open(refused) => refused,
                other => panic!("a ring that is there was not opened: {other:?}"),
            }),
        ];
        for listed in timed!(seen, "list", MOMENTARY, ringpipe::list()).unwrap() {
            assert!(listed.len <= listed.capacity && listed.endpoints <= 4096, "{listed:?}");
            assert!(!format!("{listed:?}").is_empty());
        }
        let mut refused = Vec::new();
        for outcome in outcomes {
            seen.count(if outcome.is_ok() { "opened" } else { "refused" });
            match outcome {
                Ok(ring) => {
                    let unit = if K::MESSAGES { field(&header, 48, 8) } else { 1 };
                    assert_eq!(ring.capacity() as u64, unit * field(&header, 40, 8));
                    use_it::<K>(&ring, self.region_len, seen);
                }
                Err(error) => refused.push(error),
            }
        }
        assert!(matches!(refused.len(), 0 | 4), "they disagree: {refused:?}");
        self.file.write_all_at(&self.good, 0).unwrap();
        let memory = File::from(self.anonymous.as_fd().try_clone_to_owned().unwrap());
        memory.write_all_at(&self.sealed, 0).unwrap();
        let answers: Vec<_> = refused.iter().map(answer).collect();
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "they disagree: {refused:?}");
        refused.pop()
    }
}

/// It is as long as the file, and every call on it ends.
fn use_it<K: Calls>(ring: &Ring<K::Element, K>, region_len: usize, seen: &mut Outcomes) {
    assert_eq!(ring.region_len(), region_len);
    if let Some(mut tx) = seen.attach(|| K::sender(ring)) {
        K::send(&mut tx, 1, false, seen);
    }
    if let Some(mut rx) = seen.attach(|| K::receiver(ring)) {
        K::receive(&mut rx, None, false, seen);
    }
}

fn answer(error: &OpenError) -> Answer {
    match error {
        OpenError::NotARing { .. } => Answer::NotARing,
        OpenError::Damaged { .. } => Answer::Damaged,
        OpenError::Mismatch { mismatch, .. } => match mismatch {
            Mismatch::ByteOrder => Answer::ByteOrder,
            Mismatch::Layout { .. } => Answer::Layout,
            Mismatch::PointerWidth { .. } => Answer::PointerWidth,
            Mismatch::Kind { .. } => Answer::Kind,
            Mismatch::Element { .. } => Answer::Element,
            Mismatch::PageSize { .. } => Answer::PageSize,
            other => panic!("{other:?}"),
        },
        other => panic!("undocumented: {other:?}"),
    }
}

fn field(header: &[u8; HEADER], offset: usize, bytes: usize) -> u64 {
    let mut value = [0; 8];
    value[..bytes].copy_from_slice(&header[offset..offset + bytes]);
    u64::from_ne_bytes(value)
}

fn set(header: &mut [u8; HEADER], offset: usize, bytes: usize, value: u64) {
    header[offset..offset + bytes].copy_from_slice(&value.to_ne_bytes()[..bytes]);
}

/// Values that a liar would try instead of this one.
fn lies_about(value: u64) -> Vec<u64> {
    let mut lies: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
    lies.extend((0..64).step_by(3).map(|bit| value ^ 1 << bit));
    lies.extend((1..64).step_by(9).map(|bit| u64::MAX << bit));
    lies.extend((0..64).step_by(8).map(|bit| u64::MAX >> bit));
    lies.extend([
        0,
        3,
        5,
        7,
        value.wrapping_sub(1),
        value.wrapping_add(1),
        value.wrapping_mul(2),
        value / 2,
        !value,
    ]);
    lies.extend([4096, 8192, value.wrapping_add(4096), value.swap_bytes()]);
    lies
}

fn every_field_lies<K: Calls>() {
    guarded(LONG, || {
        let mut liar = Liar::<K>::new();
        let mut kinds = std::collections::BTreeMap::<&str, u64>::new();
        for (name, offset, bytes, expected) in FIELDS {
            let good = field(&liar.good, offset, bytes);
            let mut lies: Vec<u64> =
                lies_about(good).iter().map(|lie| lie & (u64::MAX >> (64 - 8 * bytes))).collect();
            lies.sort_unstable();
            lies.dedup();
            for lie in lies.into_iter().filter(|&lie| lie != good) {
                let mut header = liar.good;
                set(&mut header, offset, bytes, lie);
                let said = liar.tell(header);
                let said = said.as_ref().map_or(Answer::Welcome, answer);
                let expected = match name {
                    // The one flag there is; a mark that says which order; a tag that begins with
                    // its end is no tag.
                    "flags" if lie == 1 => Answer::Welcome,
                    "byte order" if lie == u64::from((good as u32).swap_bytes()) => {
                        Answer::ByteOrder
                    }
                    "tag" if lie & 0xff == 0 => Answer::Welcome,
                    // As its creator could have chosen; but bytes are not counted.
                    "delivery limit" if (2..=15).contains(&lie) && K::NAME != Bytes::NAME => {
                        Answer::Welcome
                    }
                    // A few records more or less, and stamps, and as many pages.
                    "endpoints" if K::TWICE && K::MANY && (2..=4096).contains(&lie) => {
                        let stamps = 8 * field(&liar.good, 40, 8);
                        let end = at::slots(lie as usize) as u64 + stamps;
                        match end.next_multiple_of(4096) == field(&liar.good, 56, 8) {
                            true => Answer::Welcome,
                            false => Answer::Damaged,
                        }
                    }
                    // Another machine's, if it is one at all.
                    "page" if K::TWICE && lie.is_power_of_two() => Answer::PageSize,
                    // A few slots more or less, and as many pages.
                    "capacity" if !K::TWICE && lie.is_power_of_two() && lie <= 4096 => {
                        let end = field(&liar.good, 56, 8) + lie * field(&liar.good, 48, 8);
                        match end.next_multiple_of(4096) == liar.region_len as u64 {
                            true => Answer::Welcome,
                            false => Answer::Damaged,
                        }
                    }
                    _ => expected,
                };
                assert_eq!(said, expected, "{name} {lie:#x} instead of {good:#x}");
                *kinds.entry(name).or_default() += 1;
            }
        }
        println!("{}: lies told: {kinds:?}; calls survived: {:?}", K::NAME, liar.seen);
        tell(&format!("{}, a lying header", K::NAME), liar.lies, 512 * liar.lies, &liar.seen.clock);
    });
}

#[test]
fn an_spsc_header_that_lies_is_refused_for_what_it_says() {
    every_field_lies::<Spsc>();
}

#[test]
fn an_mpmc_header_that_lies_is_refused_for_what_it_says() {
    every_field_lies::<Mpmc>();
}

#[test]
fn a_byte_pipes_header_that_lies_is_refused_for_what_it_says() {
    every_field_lies::<Bytes>();
}

#[test]
fn an_spsc_message_header_that_lies_is_refused_for_what_it_says() {
    every_field_lies::<SpscMessages>();
}

#[test]
fn an_mpmc_message_header_that_lies_is_refused_for_what_it_says() {
    every_field_lies::<MpmcMessages>();
}

/// Several fields at once, so that one lie supports another; consistent ones among them, which the
/// file's length gives away.
fn several_fields_lie<K: Calls>() {
    guarded(LONG + seconds(), || {
        let mut liar = Liar::<K>::new();
        let mut random = Rng::new(0x5eed_0012);
        for _ in 0..300 * seconds().as_secs().max(1) {
            let mut header = liar.good;
            // The first that speaks of the ring's shape is the capacity.
            for _ in 0..2 + random.within(0..4) {
                let (_, offset, bytes, _) = FIELDS[8 + random.within(0..5) as usize];
                let lies = lies_about(field(&liar.good, offset, bytes));
                let lie = lies[random.within(0..lies.len() as u64) as usize];
                set(&mut header, offset, bytes, lie);
            }
            // Other capacities, or other numbers of records before slots that begin on a page, may
            // need as many pages; all else is as it must be.
            let shape = if K::TWICE { 48..72 } else { 48..76 };
            let honest = header[shape.clone()] == liar.good[shape];
            assert!(liar.tell(header).is_some() || honest, "{header:?}");
        }
        if K::TWICE {
            return; // where their slots begin is not computed here
        }
        // All that would follow from another capacity or another number of records.
        let stride = field(&liar.good, 48, 8);
        for capacity in (0..60).map(|bit| 1_u64 << bit) {
            for endpoints in [2, 3, ENDPOINTS, 17, 4096, 4097, u32::MAX] {
                let mut header = liar.good;
                let slots_at = at::slots(endpoints as usize) as u64;
                let Some(end) =
                    capacity.checked_mul(stride).and_then(|len| len.checked_add(slots_at))
                else {
                    continue;
                };
                set(&mut header, 40, 8, capacity);
                set(&mut header, 56, 8, slots_at);
                set(&mut header, 64, 8, end.next_multiple_of(4096));
                set(&mut header, 72, 4, endpoints.into());
                let len = end.next_multiple_of(4096);
                if len == liar.region_len as u64 {
                    continue; // it says what the file could be: below
                }
                let refused = liar.tell(header).expect("it is longer or shorter than its file");
                assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
            }
        }
        tell(&format!("{}, a lying header", K::NAME), liar.lies, 512 * liar.lies, &liar.seen.clock);
    });
}

#[test]
fn an_spsc_header_whose_lies_support_each_other_is_refused() {
    several_fields_lie::<Spsc>();
}

#[test]
fn an_mpmc_header_whose_lies_support_each_other_is_refused() {
    several_fields_lie::<Mpmc>();
}

#[test]
fn a_byte_pipes_header_whose_lies_support_each_other_is_refused() {
    several_fields_lie::<Bytes>();
}

#[test]
fn an_mpmc_message_header_whose_lies_support_each_other_is_refused() {
    several_fields_lie::<MpmcMessages>();
}

/// Two shapes that fit the same file take turns in its header while others open it, each under its
/// checksum: what is opened is one or the other, and every call on it ends.
fn the_header_changes_its_mind<K: Calls>() {
    guarded(LONG + seconds(), || {
        let name = Name::new();
        let ring = options::<K>().create(&name).unwrap();
        let raw = Raw::of(&name.path());
        let one = raw.copy();
        let mut other = [0; HEADER];
        for (bytes, word) in other.chunks_exact_mut(8).zip(&one) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        // Half as many slots fit the same pages, or there are a few pages more than needed.
        set(&mut other, 40, 8, CAPACITY as u64 / 2);
        let stride = field(&other, 48, 8);
        let slots_at = field(&other, 56, 8);
        let len = (slots_at + stride * CAPACITY as u64 / 2).next_multiple_of(4096);
        assert_eq!(len, ring.region_len() as u64, "the test needs two shapes of one length");
        sign(&mut other);
        let other: Vec<u64> = other
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        let stop = AtomicBool::new(false);
        let (seen, turns) = thread::scope(|scope| {
            let turning = scope.spawn(|| {
                let mut turns = 0_u64;
                while !stop.load(Relaxed) {
                    raw.restore(if turns.is_multiple_of(2) { &other } else { &one[..HEADER / 8] });
                    turns += 1;
                    // Long enough to be read in one piece, sometimes.
                    (0..turns % 3000).for_each(|_| std::hint::spin_loop());
                }
                turns
            });
            let mut seen = Outcomes::default();
            let began = std::time::Instant::now();
            while began.elapsed() < seconds() / 8 || seen.of("opened") < 10 {
                match timed!(seen, "open", MOMENTARY, options::<K>().open(&name)) {
                    Ok(ring) => {
                        assert_eq!(ring.region_len(), raw.words().len() * 8);
                        assert!([CAPACITY, CAPACITY / 2].contains(&ring.capacity()));
                        seen.count("opened");
                        if let Some(mut tx) = seen.attach(|| K::sender(&ring)) {
                            K::send(&mut tx, 1, false, &mut seen);
                        }
                    }
                    Err(OpenError::Damaged { .. }) => seen.count("damaged"),
                    Err(other) => panic!("undocumented: {other:?}"),
                }
            }
            stop.store(true, Relaxed);
            (seen, turns_of(turning))
        });
        println!("{}: {turns} turns, calls survived: {seen:?}", K::NAME);
        tell(&format!("{}, a lying header", K::NAME), 64 * turns, 512 * turns, &seen.clock);
    });
}

fn turns_of(turning: thread::ScopedJoinHandle<'_, u64>) -> u64 {
    turning.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn an_spsc_header_that_changes_while_it_is_read_is_one_or_the_other() {
    the_header_changes_its_mind::<Spsc>();
}

#[test]
fn an_mpmc_header_that_changes_while_it_is_read_is_one_or_the_other() {
    the_header_changes_its_mind::<Mpmc>();
}

/// What a byte pipe's header says of its pages decides how much is mapped a second time, and where.
#[test]
fn a_byte_pipe_header_that_lies_about_its_pages_is_refused_for_what_it_says() {
    guarded(LONG, || {
        let (name, options) = (Name::new(), bytes::Ring::options().capacity(1 << 14));
        let ring = options.create(&name).unwrap();
        let file = File::options().read(true).write(true).open(name.path()).unwrap();
        let mut good = [0; HEADER];
        file.read_exact_at(&mut good, 0).unwrap();
        let page = field(&good, PAGE, 8);
        assert_eq!(page, rustix::param::page_size() as u64);
        for (offset, bytes) in [(PAGE, 8), (40, 8), (48, 8), (56, 8), (64, 8), (168, 4), (184, 8)] {
            let truth = field(&good, offset, bytes);
            let mask = u64::MAX >> (64 - 8 * bytes);
            let lies = lies_about(truth).into_iter().map(|lie| lie & mask);
            for lie in lies.filter(|&lie| lie != truth) {
                let mut header = good;
                set(&mut header, offset, bytes, lie);
                sign(&mut header);
                file.write_all_at(&header, 0).unwrap();
                for refused in [options.open(&name), options.open_file(name.path())] {
                    match refused.expect_err("its header lies") {
                        OpenError::Mismatch {
                            mismatch: Mismatch::PageSize { ring, here }, ..
                        } if offset == PAGE && lie.is_power_of_two() => {
                            assert_eq!((ring, here), (lie, page));
                        }
                        OpenError::Damaged { .. } if offset != PAGE || !lie.is_power_of_two() => {}
                        other => panic!("{lie:#x} at {offset}: {other:?}"),
                    }
                }
            }
        }
        file.write_all_at(&good, 0).unwrap();
        assert_eq!(options.open(&name).unwrap().id(), ring.id());
    });
}
