//! A region whose bytes are not what this program would have written.

use std::path::Path;

use ringpipe::{Mismatch, Mpmc, OpenError, Options, Ring};

use super::support::at;
use super::support::region::{CHECKSUM, HEADER as IDENTITY, sign};
use super::support::{Name, Rng};
use super::{Snapshot, Trade, mpmc, spsc};

fn options() -> Options<Trade, Mpmc> {
    mpmc().tag("Trade", 1)
}

/// The bytes of a ring with some items, nobody attached.
fn good_bytes() -> Vec<u8> {
    let name = Name::new();
    let ring = options().create(&name).unwrap();
    let mut tx = ring.sender().unwrap();
    for n in 0..3 {
        let value = Trade { price: n, volume: n, venue: 1, flags: 2 };
        tx.try_send(value).unwrap();
    }
    drop(tx);
    std::fs::read(name.path()).unwrap()
}

/// Puts bytes where a ring would be and opens them.
fn open(name: &Name, bytes: &[u8]) -> Result<Ring<Trade, Mpmc>, OpenError> {
    std::fs::write(name.path(), bytes).unwrap();
    options().open(name)
}

/// As [`open`], for bytes that must be refused by name and by path, and stay as they are.
#[track_caller]
fn refusal(name: &Name, bytes: &[u8]) -> OpenError {
    std::fs::write(name.path(), bytes).unwrap();
    let before = Snapshot::of(&name.path());
    let by_name = options().open(name).expect_err("opened");
    let by_path = options().open_file(name.path()).expect_err("opened");
    assert_eq!(std::mem::discriminant(&by_name), std::mem::discriminant(&by_path));
    before.assert_untouched();
    assert_eq!(before.bytes.as_deref(), Some(bytes));
    by_name
}

/// The good bytes with `field` at `offset` replaced, under a checksum that fits.
fn altered(offset: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = good_bytes();
    bytes[offset..offset + field.len()].copy_from_slice(field);
    sign(&mut bytes);
    bytes
}

#[test]
fn the_checksum_of_these_tests_is_the_crates() {
    let bytes = good_bytes();
    let mut signed = bytes.clone();
    signed[CHECKSUM..IDENTITY].fill(0);
    sign(&mut signed);
    assert_eq!(signed, bytes);
    let name = Name::new();
    assert_eq!(open(&name, &bytes).unwrap().len(), 3);
}

#[test]
fn another_major_layout_version_is_refused_whatever_its_checksum_means() {
    let name = Name::new();
    for major in [0_u16, 1, 0x0100, u16::MAX] {
        let mut bytes = altered(12, &major.to_ne_bytes());
        for sum in [None, Some([0; 8])] {
            if let Some(sum) = sum {
                bytes[CHECKSUM..IDENTITY].copy_from_slice(&sum);
            }
            let error = refusal(&name, &bytes);
            let text = error.to_string();
            assert!(text.contains(&format!("{major}.0")), "{text}");
            assert!(text.contains("2.x"), "{text}");
            let OpenError::Mismatch { mismatch, .. } = error else {
                panic!("{error:?}");
            };
            let versions = Mismatch::Layout { ring: (major, 0), expected: (2, 0) };
            assert_eq!(mismatch, versions);
        }
    }
}

#[test]
fn another_minor_layout_version_is_welcome() {
    let name = Name::new();
    let bytes = altered(14, &7_u16.to_ne_bytes());
    assert_eq!(open(&name, &bytes).unwrap().len(), 3);
}

#[test]
fn the_other_byte_order_is_told_from_damage() {
    let name = Name::new();
    let mut swapped = good_bytes();
    swapped[8..12].reverse();
    let error = refusal(&name, &swapped);
    let by_order = matches!(error, OpenError::Mismatch { mismatch: Mismatch::ByteOrder, .. });
    assert!(by_order, "{error:?}");
    assert!(error.to_string().contains("byte order"), "{error}");
    let error = refusal(&name, &altered(8, &[1, 3, 2, 4]));
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[test]
fn another_pointer_width_is_refused_and_the_error_names_both() {
    let name = Name::new();
    let other = 96 - usize::BITS; // 64 here: 32 there
    let error = refusal(&name, &altered(16, &other.to_ne_bytes()));
    let text = error.to_string();
    assert!(text.contains(&format!("{other}-bit")), "{text}");
    assert!(text.contains(&format!("{}-bit", usize::BITS)), "{text}");
    let OpenError::Mismatch { mismatch, .. } = error else {
        panic!("{error:?}");
    };
    let widths = Mismatch::PointerWidth { ring: other, expected: usize::BITS };
    assert_eq!(mismatch, widths);
}

#[test]
fn a_kind_that_this_version_does_not_know_is_refused() {
    let name = Name::new();
    for kind in [0_u32, 6, u32::MAX] {
        let error = refusal(&name, &altered(20, &kind.to_ne_bytes()));
        let text = error.to_string();
        assert!(text.contains("unknown") && text.contains("MPMC"), "{text}");
    }
}

#[test]
fn an_element_description_that_was_changed_is_refused() {
    let name = Name::new();
    let eight = |n: u64| n.to_ne_bytes().to_vec();
    for (offset, field) in [
        (24, eight(0)),
        (24, eight(25)),
        (24, eight(u64::MAX)),
        (32, eight(0)),
        (32, eight(3)),
        (32, eight(u64::MAX)),
        (76, 2_u32.to_ne_bytes().to_vec()),
        (80, b"trade".to_vec()),
        (80, vec![0xff; 48]), // no NUL, no UTF-8
    ] {
        let error = refusal(&name, &altered(offset, &field));
        let by_element =
            matches!(error, OpenError::Mismatch { mismatch: Mismatch::Element { .. }, .. });
        assert!(by_element, "{offset}: {error:?}");
    }
}

#[test]
fn a_tag_that_would_command_a_terminal_is_shown_escaped() {
    let name = Name::new();
    let error = refusal(&name, &altered(80, b"\x1b[2J\r\x07trade\0"));
    let seen = ringpipe::list().unwrap().into_iter().find(|seen| seen.name == *name).unwrap();
    assert_eq!(seen.element.tag, "\x1b[2J\r\x07trade", "for programs, as it is");
    for shown in [error.to_string(), format!("{error:?}"), format!("{seen:?}")] {
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(shown.contains(r"`\u{1b}[2J\r\u{7}trade`"), "{shown}");
    }
}

#[test]
fn a_geometry_that_contradicts_itself_is_damage_even_under_a_good_checksum() {
    let name = Name::new();
    let bytes = good_bytes();
    let stored = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let (capacity, stride, slots_at, len) = (stored(40), stored(48), stored(56), stored(64));
    assert_eq!((capacity, len), (8, bytes.len() as u64));
    let mut cases = Vec::new();
    for wrong in [0, 7, 9, capacity * 1024, 1 << 61, 1 << 63, u64::MAX] {
        cases.push((40, wrong.to_ne_bytes().to_vec()));
    }
    for wrong in [0, stride - 8, stride + 8, u64::MAX] {
        cases.push((48, wrong.to_ne_bytes().to_vec()));
    }
    for wrong in [0, slots_at - 128, slots_at + 128, len, u64::MAX] {
        cases.push((56, wrong.to_ne_bytes().to_vec()));
    }
    for wrong in [0, len - 1, len + 1, len * 2, u64::MAX] {
        cases.push((64, wrong.to_ne_bytes().to_vec()));
    }
    for wrong in [0_u32, 1, 3, 5, 64, 4096, 4097, u32::MAX] {
        cases.push((72, wrong.to_ne_bytes().to_vec()));
    }
    for (offset, field) in cases {
        let error = refusal(&name, &altered(offset, &field));
        let damaged = matches!(error, OpenError::Damaged { .. });
        assert!(damaged, "{offset}: {field:?}: {error:?}");
    }
}

#[test]
fn a_ring_of_another_length_than_it_says_is_damaged() {
    let name = Name::new();
    let bytes = good_bytes();
    let cut = [bytes.len() - 1, bytes.len() / 2, at::OWNERS, 1024, 513, 512];
    for len in cut {
        let error = refusal(&name, &bytes[..len]);
        assert!(matches!(error, OpenError::Damaged { .. }), "{len}");
        assert!(error.to_string().contains("truncated"), "{error}");
    }
    for len in [0, 1, 8, 100, 504, 511] {
        let error = refusal(&name, &bytes[..len]);
        assert!(matches!(error, OpenError::NotARing { .. }), "{len}");
        assert!(error.to_string().contains("shorter"), "{error}");
    }
    for more in [1, 4096, 1 << 20] {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + more, 0);
        let error = refusal(&name, &longer);
        assert!(matches!(error, OpenError::Damaged { .. }), "{more}");
        assert!(error.to_string().contains("extended"), "{error}");
    }
}

pub fn garbage_of(random: &mut Rng, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.within(0..256) as u8).collect()
}

#[test]
fn garbage_of_any_length_is_not_a_ring() {
    let name = Name::new();
    let mut random = Rng::new(0x5eed_0001);
    for len in [1, 8, 511, 512, 513, at::OWNERS, 4096, 8192, 65_536, 1 << 20] {
        let mut garbage = garbage_of(&mut random, len);
        let error = refusal(&name, &garbage);
        assert!(matches!(error, OpenError::NotARing { .. }), "{error:?}");
        // With the right first eight bytes it still is not one.
        if len >= IDENTITY {
            garbage[..8].copy_from_slice(b"ringpipe");
            let error = refusal(&name, &garbage);
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        }
    }
    for byte in [0, 0xff] {
        let error = refusal(&name, &[byte; 8192]);
        assert!(matches!(error, OpenError::NotARing { .. }), "{error:?}");
    }
}

/// A pattern that only the errors of this file's flips match: what a flip at `offset` must give.
fn expected_for_flip(offset: usize, error: &OpenError) -> bool {
    match offset {
        0..8 => matches!(error, OpenError::NotARing { .. }),
        12..14 => matches!(error, OpenError::Mismatch { mismatch: Mismatch::Layout { .. }, .. }),
        _ => matches!(error, OpenError::Damaged { .. }),
    }
}

#[test]
fn every_flipped_bit_of_the_header_is_noticed() {
    let name = Name::new();
    let bytes = good_bytes();
    let mut refused = 0;
    for offset in 0..IDENTITY {
        for flip in (0..8).map(|bit| 1 << bit).chain([0xff]) {
            let mut flipped = bytes.clone();
            flipped[offset] ^= flip;
            let error = refusal(&name, &flipped);
            let expected = expected_for_flip(offset, &error);
            assert!(expected, "byte {offset} ^ {flip:#x}: {error:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 512 * 9);
}

#[test]
fn an_spsc_ring_has_two_endpoint_records_whatever_its_header_says() {
    // Consistent in every other respect: only the number of records is not an SPSC ring's.
    let name = Name::new();
    let ring = spsc::<u64>().create(&name).unwrap();
    let good = std::fs::read(name.path()).unwrap();
    drop(ring);
    for endpoints in [1_u32, 3, 64] {
        let mut bytes = good.clone();
        bytes[72..76].copy_from_slice(&endpoints.to_ne_bytes());
        let records = endpoints as usize;
        let slots_at = at::slots(records);
        bytes[56..64].copy_from_slice(&(slots_at as u64).to_ne_bytes());
        let len = (slots_at + 8 * 8).next_multiple_of(4096);
        bytes[64..72].copy_from_slice(&(len as u64).to_ne_bytes());
        bytes.resize(len, 0);
        sign(&mut bytes);
        assert_refused_as_spsc(&name.path(), &bytes, endpoints);
    }
}

#[track_caller]
fn assert_refused_as_spsc(path: &Path, bytes: &[u8], endpoints: u32) {
    std::fs::write(path, bytes).unwrap();
    match spsc::<u64>().open_file(path) {
        Err(OpenError::Damaged { .. }) => {}
        Ok(ring) => {
            // What would become of it:
            let ends = (ring.producer().is_ok(), ring.consumer().is_ok());
            panic!("{endpoints} records accepted; both ends attach: {ends:?}");
        }
        other => panic!("{other:?}"),
    }
}
