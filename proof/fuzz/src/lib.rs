//! What the fuzz targets that open regions have in common: bytes become a region, the region is
//! opened as a ring, and a few calls are made on what opened.
//!
//! An input is
//!
//! ```text
//! 0    how much of the header is put right: see [`Repair`]
//! 1    capacity, as a power of two (where the header is ours); or which kind that carries bytes
//! 2    endpoint records (likewise, MPMC)
//! 3    length of the script
//! 4..  the script: calls, and words that change between them (see [`script`])
//! ..   the region
//! ```
//!
//! The header has a checksum, and everything in it follows from a few numbers: left alone, a fuzzer
//! would not get past it in a lifetime. So the input says whether the checksum is put right, or the
//! whole header is a good one, and what is hostile are the words behind it.

mod bytes;
mod script;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use harness::Flavour;
use harness::region::{Chart, HEADER, Raw, sign};
use libfuzzer_sys::Corpus;
use ringpipe::{Bytes, Item, Kind, MpmcMessages, Ring, SpscMessages};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// What is put right before the bytes are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    Nothing,
    /// The checksum, and the file ends with a page.
    Checksum,
    /// All of the header: a ring's of this capacity and number of records.
    Header,
}

impl Repair {
    fn of(byte: u8) -> Self {
        match byte % 8 {
            0 => Self::Nothing,
            1 | 2 => Self::Checksum,
            _ => Self::Header,
        }
    }

    /// A byte that says so.
    pub fn byte(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Checksum => 1,
            Self::Header => 3,
        }
    }
}

/// Opens what `data` describes as a ring of kind `K`, of one of three element types.
pub fn open<K: Flavour>(data: &[u8]) -> Corpus {
    let Some((&[repair, capacity, records, script], rest)) = data.split_first_chunk() else {
        return Corpus::Reject;
    };
    let (script, region) = rest.split_at(rest.len().min(script.into()));
    let shape = Shape { capacity: 1 << (capacity % 8), records: 2 + u32::from(records % 15) };
    let repair_as = Repair::of(repair);
    match repair / 8 % 4 {
        0 | 1 => open_as::<K, u64>(repair_as, shape, region, |ring, raw, chart| {
            script::perform(ring, script, raw, chart);
        }),
        2 => open_as::<K, [u8; 5]>(repair_as, shape, region, |ring, raw, chart| {
            script::perform(ring, script, raw, chart);
        }),
        _ => open_as::<K, [u16; 12]>(repair_as, shape, region, |ring, raw, chart| {
            script::perform(ring, script, raw, chart);
        }),
    }
    Corpus::Keep
}

/// Opens what `data` describes as a byte pipe, or as a ring of messages of either kind: the second
/// byte says which.
pub fn open_bytes(data: &[u8]) -> Corpus {
    let Some((&[repair, kind, records, script], rest)) = data.split_first_chunk() else {
        return Corpus::Reject;
    };
    let (script, region) = rest.split_at(rest.len().min(script.into()));
    // A page is the least.
    let shape = Shape { capacity: 4096, records: 2 + u32::from(records % 15) };
    let repair = Repair::of(repair);
    match kind % 3 {
        0 => open_as(repair, shape, region, |ring, raw, chart| {
            bytes::perform::<Bytes>(ring, script, raw, chart);
        }),
        1 => open_as(repair, shape, region, |ring, raw, chart| {
            bytes::perform::<SpscMessages>(ring, script, raw, chart);
        }),
        _ => open_as(repair, shape, region, |ring, raw, chart| {
            bytes::perform::<MpmcMessages>(ring, script, raw, chart);
        }),
    }
    Corpus::Keep
}

/// What a ring's header follows from, besides its element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    capacity: usize,
    records: u32,
}

fn open_as<K: Kind, T: Item>(
    repair: Repair,
    shape: Shape,
    region: &[u8],
    perform: impl FnOnce(&Ring<T, K>, &Raw, &Chart),
) {
    let mut bytes = region.to_vec();
    match repair {
        Repair::Nothing => {}
        Repair::Checksum => {
            bytes.resize(bytes.len().max(HEADER).next_multiple_of(4096), 0);
            sign(&mut bytes);
        }
        Repair::Header => {
            let (header, len) = good_header::<K, T>(shape);
            bytes.resize(len, 0);
            bytes[..HEADER].copy_from_slice(&header);
        }
    }
    let fd = sealed(&bytes);
    let raw = (!bytes.is_empty()).then(|| Raw::of_file(&fd));
    let opened = Ring::<T, K>::options().endpoints(shape.records).from_fd(fd);
    match opened {
        Ok(ring) => {
            let raw = raw.expect("what opened is not empty");
            let chart = Chart::of(&raw.copy());
            assert_eq!(ring.region_len(), bytes.len());
            perform(&ring, &raw, &chart);
        }
        // An error that cannot be told is no error.
        Err(error) => {
            assert!(repair != Repair::Header, "refused a good header: {error:?}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// A memfd with this content whose size is sealed, as the crate asks of descriptors.
fn sealed(bytes: &[u8]) -> OwnedFd {
    let fd = memfd_create("fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let fd = fd.expect("a memfd");
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::pwrite(&fd, &bytes[written..], written as u64).expect("room");
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&fd, seals).expect("sealed");
    fd
}

/// The header of a real ring, and the length of its region.
fn good_header<K: Kind, T: Item>(shape: Shape) -> ([u8; HEADER], usize) {
    type Known = BTreeMap<(&'static str, usize, Shape), ([u8; HEADER], usize)>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry((K::NAME, size_of::<T>(), shape)).or_insert_with(|| {
        let options = Ring::<T, K>::options().capacity(shape.capacity).endpoints(shape.records);
        let ring = options.create_anonymous().expect("a small ring");
        let mut header = [0; HEADER];
        let read = rustix::io::pread(ring.as_fd(), &mut header[..], 0).expect("a header");
        assert_eq!(read, HEADER);
        (header, ring.region_len())
    })
}
