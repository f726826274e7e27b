//! What a caller can get wrong: names, sizes, options, the element type.

use std::os::fd::AsFd;
use std::path::Path;

use ringpipe::{
    CreateError, HugePages, Mismatch, NameError, OpenError, OpenOrCreateError, Options, Ring, Spsc,
    UnlinkError, unlink,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::support::sandbox::play;
use super::support::{Flavour, Me, Name};
use super::{Quote, Snapshot, Trade, mpmc, our_names, spsc};

#[test]
fn a_name_that_cannot_be_a_file_name_is_refused_by_every_operation() {
    let too_long = "x".repeat(256);
    // 128 characters, 256 bytes: bytes are what counts.
    let too_long_in_bytes = "ä".repeat(128);
    for (name, expected) in [
        ("", NameError::Reserved),
        (".", NameError::Reserved),
        ("..", NameError::Reserved),
        ("/", NameError::Slash),
        ("/ring", NameError::Slash),
        ("ring/", NameError::Slash),
        ("../shm/ring", NameError::Slash),
        ("\0", NameError::Nul),
        ("ring\0", NameError::Nul),
        ("ri\0ng", NameError::Nul),
        (&too_long, NameError::TooLong { len: 256 }),
        (&too_long_in_bytes, NameError::TooLong { len: 256 }),
    ] {
        let before = our_names();
        let options = spsc::<u64>();
        match options.create(name) {
            Err(CreateError::Name { why, .. }) => assert_eq!(why, expected, "{name:?}"),
            other => panic!("create {name:?}: {other:?}"),
        }
        match options.open(name) {
            Err(OpenError::Name { why, .. }) => assert_eq!(why, expected, "{name:?}"),
            other => panic!("open {name:?}: {other:?}"),
        }
        match options.open_or_create(name) {
            Err(OpenOrCreateError::Open(OpenError::Name { why, .. })) => assert_eq!(why, expected),
            other => panic!("open_or_create {name:?}: {other:?}"),
        }
        match unlink(name) {
            Err(UnlinkError::Name { why, .. }) => assert_eq!(why, expected, "{name:?}"),
            other => panic!("unlink {name:?}: {other:?}"),
        }
        assert_eq!(our_names(), before);
    }
    let text = spsc::<u64>().open(&too_long).unwrap_err().to_string();
    assert!(text.contains("256") && text.contains("255"), "{text}");
}

#[test]
fn a_path_that_cannot_be_a_file_is_refused() {
    let options = spsc::<u64>();
    let long = "x".repeat(256);
    for (path, expected) in [
        ("/", NameError::Reserved),
        ("", NameError::Reserved),
        ("/tmp/..", NameError::Reserved),
        ("/tm\0p/ring", NameError::Nul),
        ("/tmp/ri\0ng", NameError::Nul),
        (&*format!("/tmp/{long}"), NameError::TooLong { len: 256 }),
    ] {
        match options.create_file(path) {
            Err(CreateError::Name { why, .. }) => assert_eq!(why, expected, "{path:?}"),
            other => panic!("create_file {path:?}: {other:?}"),
        }
        match options.open_file(path) {
            Err(OpenError::Name { why, .. }) => assert_eq!(why, expected, "{path:?}"),
            other => panic!("open_file {path:?}: {other:?}"),
        }
    }
}

#[test]
fn a_directory_that_is_not_there_is_told_from_a_ring_that_is_not_there() {
    let options = spsc::<u64>();
    let file = Name::new();
    std::fs::write(file.path(), "a file").unwrap();
    for missing in [Path::new("/nowhere/at/all").to_owned(), file.path()] {
        let path = missing.join("ring");
        let texts = [
            match options.create_file(&path) {
                Err(e @ CreateError::NoDirectory { .. }) => e.to_string(),
                other => panic!("{other:?}"),
            },
            match options.open_file(&path) {
                Err(e @ OpenError::NoDirectory { .. }) => e.to_string(),
                other => panic!("{other:?}"),
            },
            match options.open_or_create_file(&path) {
                Err(OpenOrCreateError::Create(e @ CreateError::NoDirectory { .. })) => {
                    e.to_string()
                }
                other => panic!("{other:?}"),
            },
        ];
        for text in texts {
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(text.contains(&format!("{missing:?} does not exist")), "{text}");
        }
    }
}

#[test]
fn a_name_of_255_bytes_is_a_good_one() {
    let prefix = super::support::prefix();
    let name = format!("{prefix}{}", "y".repeat(255 - prefix.len()));
    let ring = spsc::<u64>().create(&name).unwrap();
    let opened = spsc::<u64>().open(&name).map(|ring| ring.id());
    ring.unlink().unwrap();
    assert_eq!(opened.unwrap(), ring.id());
}

#[test]
fn a_missing_ring_is_not_found_and_not_made() {
    let name = Name::new();
    let before = Snapshot::of(&name.path());
    let error = spsc::<u64>().open(&name).unwrap_err();
    assert!(matches!(&error, OpenError::NotFound { ring } if ring.path() == Some(&name.path())));
    assert!(error.to_string().contains(&*name), "{error}");
    let error = unlink(&name).unwrap_err();
    assert!(matches!(&error, UnlinkError::NotFound { ring } if ring.path() == Some(&name.path())));
    before.assert_untouched();
}

#[test]
fn an_existing_ring_is_not_created_again_and_keeps_what_is_in_it() {
    let name = Name::new();
    let ring = spsc::<u64>().create(&name).unwrap();
    let mut tx = ring.producer().unwrap();
    tx.try_send(42).unwrap();
    let before = Snapshot::of(&name.path());
    for error in [
        spsc::<u64>().create(&name).unwrap_err(),
        spsc::<u64>().capacity(1 << 20).create(&name).unwrap_err(),
        mpmc::<Quote>().create(&name).unwrap_err(),
    ] {
        assert!(
            matches!(&error, CreateError::Exists { ring } if ring.path() == Some(&name.path()))
        );
        assert!(error.to_string().contains(&*name), "{error}");
    }
    before.assert_untouched();
    assert_eq!(ring.consumer().unwrap().try_recv(), Ok(42));
}

/// Opens the ring as something it is not, by every way there is; gives the mismatch.
#[track_caller]
fn mismatch<T, U, K, L>(create: &Options<T, K>, open: &Options<U, L>) -> (Mismatch, String)
where
    T: ringpipe::Item,
    U: ringpipe::Item,
    K: ringpipe::Kind,
    L: ringpipe::Kind,
{
    let name = Name::new();
    let ring = create.create(&name).unwrap();
    let before = Snapshot::of(&name.path());
    let by_name = open.open(&name).unwrap_err();
    let by_path = open.open_file(name.path()).unwrap_err();
    let either_way = match open.open_or_create(&name).unwrap_err() {
        OpenOrCreateError::Open(error) => error,
        other => panic!("{other:?}"),
    };
    let anonymous = create.create_anonymous().unwrap();
    let descriptor = anonymous.as_fd().try_clone_to_owned().unwrap();
    let by_descriptor = open.from_fd(descriptor).unwrap_err();
    before.assert_untouched();
    assert_eq!(ring.peers().senders + ring.peers().receivers, 0);

    let text = by_name.to_string();
    assert!(text.contains(&*name), "{text}");
    let found = [by_name, by_path, either_way, by_descriptor].map(|error| match error {
        OpenError::Mismatch { mismatch, .. } => mismatch,
        other => panic!("{other:?}"),
    });
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    let [first, ..] = found;
    (first, text)
}

#[test]
fn another_element_type_is_refused_and_the_error_names_both() {
    let (mismatch, text) =
        mismatch(&mpmc::<Trade>().tag("Trade", 3), &mpmc::<Quote>().tag("Quote", 4));
    assert!(text.contains("24-byte `Trade` version 3"), "{text}");
    assert!(text.contains("32-byte `Quote` version 4"), "{text}");
    let Mismatch::Element { ring, expected } = mismatch else {
        panic!("{mismatch:?}");
    };
    assert_eq!((ring.size, ring.tag_version), (24, 3));
    assert_eq!((expected.size, expected.tag_version), (32, 4));
    assert_eq!((&*ring.tag, &*expected.tag), ("Trade", "Quote"));
}

#[test]
fn elements_of_the_same_size_are_told_apart_by_tag_version_and_alignment() {
    let tagged = |tag, version| spsc::<Trade>().tag(tag, version);
    for (created, opened, texts) in [
        (("Trade", 1), ("Fill", 1), ["`Trade`", "`Fill`"]),
        (("Trade", 1), ("Trade", 2), ["version 1", "version 2"]),
        (("Trade", 0), ("", 0), ["`Trade`", "untagged"]),
        (("", 0), ("Trade", 0), ["untagged", "`Trade`"]),
        (("Trade", 1), ("Trad", 1), ["`Trade`", "`Trad`"]),
    ] {
        let (found, text) = mismatch(&tagged(created.0, created.1), &tagged(opened.0, opened.1));
        assert!(matches!(found, Mismatch::Element { .. }), "{found:?}");
        for part in texts {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    let (_, text) = mismatch(&mpmc::<u64>(), &mpmc::<[u8; 8]>());
    assert!(text.contains("aligned to 8"), "{text}");
    assert!(text.contains("aligned to 1"), "{text}");
    let (_, text) = mismatch(&mpmc::<u32>(), &mpmc::<u16>());
    assert!(text.contains("4-byte") && text.contains("2-byte"), "{text}");
}

#[test]
fn another_kind_of_ring_is_refused_and_the_error_names_both() {
    let kinds = |ring, expected| Mismatch::Kind { ring, expected };
    let (found, text) = mismatch(&mpmc::<u64>(), &spsc::<u64>());
    assert_eq!(found, kinds("MPMC", "SPSC"));
    assert!(text.contains("MPMC") && text.contains("SPSC"), "{text}");
    let (found, _) = mismatch(&spsc::<u64>(), &mpmc::<u64>());
    assert_eq!(found, kinds("SPSC", "MPMC"));
}

#[test]
fn a_ring_larger_than_memory_or_than_anything_is_refused_before_anything_is_made() {
    play("asker_for_too_much", "");
}

/// In a child that may not make large files: were the checks broken, the machine's memory would
/// otherwise go before the test fails.
pub fn asker_for_too_much<K: Flavour>(_: Me) {
    let limit = Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) };
    setrlimit(Resource::Fsize, limit).unwrap();
    for capacity in [usize::MAX, 1 << 63, (1 << 62) + 1, 1 << 62] {
        for error in refusals(&spsc::<u8>().capacity(capacity)) {
            let no_number = matches!(error, CreateError::TooLarge { needed: None, .. });
            assert!(no_number, "{capacity}: {error:?}");
            assert!(error.to_string().contains("address space"), "{error}");
        }
    }
    // 1 PiB and 1 EiB.
    for capacity in [1 << 47, 1 << 57] {
        for error in refusals(&spsc::<u64>().capacity(capacity)) {
            let CreateError::TooLarge { needed: Some(needed), available, .. } = error else {
                panic!("{error:?}");
            };
            assert!(needed >= 8 * capacity as u64 && available < needed);
            let text = error.to_string();
            assert!(text.contains(&needed.to_string()), "{text}");
            assert!(text.contains(&available.to_string()), "{text}");
        }
    }
}

#[test]
fn a_ring_without_slots_is_refused() {
    for error in refusals(&spsc::<u8>().capacity(0)) {
        assert!(matches!(error, CreateError::Options { .. }), "{error:?}");
        assert!(error.to_string().contains("at least one slot"), "{error}");
    }
}

/// What creating by name, by path and without name say, which must leave nothing.
#[track_caller]
fn refusals<T: ringpipe::Item, K: ringpipe::Kind>(options: &Options<T, K>) -> [CreateError; 3] {
    let name = Name::new();
    let before = Snapshot::of(&name.path());
    let errors = [
        options.create(&name).unwrap_err(),
        options.create_file(name.path()).unwrap_err(),
        options.create_anonymous().unwrap_err(),
    ];
    before.assert_untouched();
    errors
}

#[test]
fn a_number_of_endpoints_out_of_range_is_refused() {
    for endpoints in [0, 1, 4097, 5000, u32::MAX] {
        for error in refusals(&mpmc::<u64>().endpoints(endpoints)) {
            assert!(matches!(error, CreateError::Options { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&endpoints.to_string()), "{text}");
            assert!(text.contains("4096"), "{text}");
        }
    }
    for endpoints in [2, 4096] {
        let ring = mpmc::<u64>().endpoints(endpoints).create_anonymous().unwrap();
        assert_eq!(ring.endpoints(), endpoints);
    }
    // Without a say on an SPSC ring, as documented.
    let ring = spsc::<u64>().endpoints(5000).create_anonymous().unwrap();
    assert_eq!(ring.endpoints(), 2);
}

#[test]
fn a_mode_with_more_than_permission_bits_is_refused() {
    for mode in [0o4600, 0o2600, 0o1600, 0o7777, 0o100_600, u32::MAX] {
        for error in refusals(&spsc::<u64>().mode(mode)) {
            assert!(matches!(error, CreateError::Options { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("{mode:o}")), "{text}");
        }
    }
}

#[test]
fn a_tag_too_long_or_with_nul_is_refused() {
    let longest = "t".repeat(48);
    let ring = spsc::<u64>().tag(&longest, 1).create_anonymous().unwrap();
    assert_eq!(ring.element().tag, longest);
    let descriptor = || ring.as_fd().try_clone_to_owned().unwrap();
    assert!(spsc::<u64>().tag(&longest, 1).from_fd(descriptor()).is_ok());
    for tag in [&"t".repeat(49), "a\0b", "\0", &"ü".repeat(25)] {
        for error in refusals(&spsc::<u64>().tag(tag, 1)) {
            assert!(matches!(error, CreateError::Options { .. }), "{error:?}");
            assert!(error.to_string().contains("48"), "{error}");
        }
        // No ring has such a tag.
        let error = spsc::<u64>().tag(tag, 1).from_fd(descriptor()).unwrap_err();
        assert!(matches!(error, OpenError::Mismatch { .. }), "{error:?}");
    }
}

#[test]
fn a_named_ring_of_reserved_huge_pages_is_refused_with_a_way_out() {
    let name = Name::new();
    let before = Snapshot::of(&name.path());
    let options = spsc::<u64>().huge_pages(HugePages::Require);
    let error = options.create(&name).unwrap_err();
    assert!(matches!(error, CreateError::Options { .. }), "{error:?}");
    assert!(error.to_string().contains("hugetlbfs"), "{error}");
    before.assert_untouched();
}

#[test]
fn a_ring_without_a_name_cannot_be_unlinked_and_one_that_was_cannot_be_again() {
    let anonymous = spsc::<u64>().create_anonymous().unwrap();
    let error = anonymous.unlink().unwrap_err();
    assert!(matches!(error, UnlinkError::Anonymous), "{error:?}");

    let name = Name::new();
    let ring = spsc::<u64>().create(&name).unwrap();
    ring.unlink().unwrap();
    let error = ring.unlink().unwrap_err();
    assert!(matches!(error, UnlinkError::NotFound { .. }), "{error:?}");

    // Another ring has the name by now: it is not this one's to remove.
    let other: Ring<u64, Spsc> = spsc().create(&name).unwrap();
    let before = Snapshot::of(&name.path());
    let error = ring.unlink().unwrap_err();
    assert!(
        matches!(error, UnlinkError::NotFound { .. } | UnlinkError::Replaced { .. }),
        "{error:?}"
    );
    before.assert_untouched();
    other.unlink().unwrap();
}
