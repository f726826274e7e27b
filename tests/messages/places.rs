//! Where rings of messages live, how large they are there, and what they are taken for.

use std::fs;
use std::os::fd::AsFd;

use ringpipe::messages::{self, Messages, mpmc, spsc};
use ringpipe::{
    CreateError, HugePages, MessageError, Mismatch, Mpmc, OpenError, PassRing, SpaceLimit, Spsc,
    Unclean,
};

use super::PAGE;
use super::support::disk::{self, Disk};
use super::support::huge_pages::{HUGE, Reserved, must_become_free, pool};
use super::support::messenger::{Carries, MessageRing, bytes, new_ring, next, options};
use super::support::{Child, Me, Name, both_kinds, tests};

both_kinds!(
    a_capacity_is_a_power_of_two_of_bytes_and_a_page_at_least,
    c14_a_named_ring_is_what_its_creator_made_for_whoever_opens_it,
    c14_tags_keep_others_out,
    c14_a_ring_of_messages_is_no_ring_of_bytes_nor_of_the_other_kind,
    an_anonymous_ring_is_opened_by_its_descriptor,
    a_ring_is_passed_on_to_a_program_that_is_started,
    c12_what_is_in_a_file_on_disk_is_there_when_it_is_opened_again,
    c12_a_copy_of_a_file_in_use_is_refused_or_emptied_or_taken_as_it_is,
    c17_a_listing_tells_what_is_in_it,
    a_ring_of_huge_pages_is_rounded_up_to_them_and_works_across_its_end,
);

tests!(
    granules_are_powers_of_two_from_64_to_4096_and_others_are_refused,
    which_granule_a_ring_has_its_creator_says,
    channels_are_rings_without_a_name,
);

/// Messages of several lengths through several laps.
#[track_caller]
fn assert_works<K: Messages>(sending: &messages::Ring<K>, receiving: &messages::Ring<K>) {
    let (mut tx, mut rx) = (sending.sender().unwrap(), receiving.receiver().unwrap());
    let most = tx.max_len();
    let mut got = Vec::new();
    for i in 0..4 {
        for len in [most, most / 2 + 1, 0, most - 1, 100] {
            let sent = vec![b'a' + i; len];
            tx.try_send(&sent).unwrap();
            rx.try_recv(&mut got).unwrap();
            assert!(got == sent);
        }
    }
    assert!(rx.is_empty());
}

/// What the words that the ends share take, with all that is not bytes of messages.
fn beside<K: Carries>(capacity: usize, granule: usize, page: usize) -> usize {
    // MPMC: 64 endpoint records, and a stamp for each granule.
    let (endpoints, stamps) = if K::MANY { (64, capacity / granule * 8) } else { (2, 0) };
    (super::support::at::slots(endpoints) + stamps).next_multiple_of(page)
}

fn a_capacity_is_a_power_of_two_of_bytes_and_a_page_at_least<K: Carries>() {
    let ring = options::<K>().create_anonymous().unwrap();
    assert_eq!(ring.capacity(), 256 << 10);
    for (asked, capacity) in
        [(1, PAGE), (PAGE - 1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE), (100_000, 1 << 17)]
    {
        let ring = options::<K>().capacity(asked).create_anonymous().unwrap();
        assert_eq!(ring.capacity(), capacity);
        assert_eq!(ring.region_len(), capacity + beside::<K>(capacity, 64, PAGE));
        assert_works(&ring, &ring);
    }
    let none = options::<K>().capacity(0).create_anonymous().unwrap_err();
    assert!(matches!(none, CreateError::Options { .. }), "{none:?}");
    for too_many in [usize::MAX, 1 << (usize::BITS - 2)] {
        let refused = options::<K>().capacity(too_many).create_anonymous().unwrap_err();
        let space = SpaceLimit::AddressSpace;
        assert!(
            matches!(&refused, CreateError::TooLarge { needed: None, limit, .. } if *limit == space),
            "{refused:?}"
        );
    }
}

fn granules_are_powers_of_two_from_64_to_4096_and_others_are_refused() {
    for granule in (6..=12).map(|power| 1 << power) {
        let options = mpmc::Ring::options().granule(granule);
        let ring = options.capacity(3 * PAGE).create_anonymous().unwrap();
        assert_eq!(ring.capacity(), 4 * PAGE);
        assert_eq!(ring.region_len(), 4 * PAGE + beside::<Mpmc>(4 * PAGE, granule, PAGE));
        assert_works(&ring, &ring);
        let mut tx = ring.sender().unwrap();
        tx.send(b"").unwrap();
        assert_eq!(ring.len(), granule);
    }
    let name = Name::new();
    for granule in [0, 1, 8, 32, 63, 65, 96, 4095, 4097, 8192, 1 << 20, usize::MAX] {
        let refused = mpmc::Ring::options().granule(granule).create(&name).unwrap_err();
        let CreateError::Options { what, .. } = &refused else { panic!("{refused:?}") };
        let text =
            format!("granules of {granule} bytes; powers of two from 64 to 4096 are possible");
        assert_eq!(*what, text);
        assert!(!name.path().exists());
    }
}

fn which_granule_a_ring_has_its_creator_says() {
    let name = Name::new();
    let ring = mpmc::Ring::options().granule(1024).capacity(PAGE).create(&name).unwrap();
    for granule in [64, 1024, 4096, 7] {
        let opened = mpmc::Ring::options().granule(granule).open(&name).unwrap();
        assert_works(&ring, &opened);
        let mut tx = opened.sender().unwrap();
        tx.send(b"").unwrap();
        assert_eq!(opened.len(), 1024);
        assert_eq!(ring.receiver().unwrap().clear(), Ok(1));
    }
    let same = mpmc::Ring::options().open_or_create(&name).unwrap();
    assert_eq!(same.id(), ring.id());
}

fn channels_are_rings_without_a_name() {
    let (mut tx, mut rx) = spsc::channel(PAGE + 1).unwrap();
    tx.send(b"one to one").unwrap();
    assert_eq!((next(&mut rx).unwrap().as_str(), rx.capacity()), ("one to one", 2 * PAGE));
    let (mut tx, mut rx) = mpmc::channel(PAGE + 1).unwrap();
    tx.send(b"many to many").unwrap();
    assert_eq!((next(&mut rx).unwrap().as_str(), rx.capacity()), ("many to many", 2 * PAGE));
    assert_eq!(tx.ring().name(), None);
    assert!(spsc::channel(0).is_err() && mpmc::channel(0).is_err());
}

fn c14_a_named_ring_is_what_its_creator_made_for_whoever_opens_it<K: Carries>() {
    let (name, ring) = new_ring::<K>(3 * PAGE);
    let exists = options::<K>().create(&name).unwrap_err();
    assert!(matches!(exists, CreateError::Exists { .. }), "{exists:?}");
    let other = options::<K>().capacity(PAGE).open_or_create(&name).unwrap();
    assert_eq!((other.capacity(), other.id()), (4 * PAGE, ring.id()));
    assert_works(&ring, &other);
    assert_works(&other, &ring);
    ring.unlink().unwrap();
    assert_works(&ring, &other);
    let missing = options::<K>().open(&name).unwrap_err();
    assert!(matches!(missing, OpenError::NotFound { .. }), "{missing:?}");
}

fn c14_tags_keep_others_out<K: Carries>() {
    let name = Name::new();
    let ring = options::<K>().tag("order", 2).create(&name).unwrap();
    assert_eq!((ring.element().tag.as_str(), ring.element().tag_version), ("order", 2));
    for options in [options::<K>(), options::<K>().tag("order", 1), options::<K>().tag("trade", 2)]
    {
        let refused = options.open(&name).unwrap_err();
        assert!(
            matches!(&refused, OpenError::Mismatch { mismatch: Mismatch::Element { .. }, .. }),
            "{refused:?}"
        );
    }
    assert_works(&ring, &options::<K>().tag("order", 2).open(&name).unwrap());
}

fn c14_a_ring_of_messages_is_no_ring_of_bytes_nor_of_the_other_kind<K: Carries>() {
    let kinds = |refused: OpenError| match refused {
        OpenError::Mismatch { mismatch: Mismatch::Kind { ring, expected }, .. } => (ring, expected),
        other => panic!("{other:?}"),
    };
    let (name, ring) = new_ring::<K>(PAGE);
    let this = if K::MANY { "MPMC message" } else { "SPSC message" };
    let refused = ringpipe::Ring::<u8, K>::options().open(&name).unwrap_err();
    assert_eq!(kinds(refused), (this, K::NAME));
    let refused = ringpipe::bytes::Ring::options().open(&name).unwrap_err();
    assert_eq!(kinds(refused), (this, "SPSC byte"));
    let (refused, other) = match K::MANY {
        true => (options::<Spsc>().open(&name).unwrap_err(), "SPSC message"),
        false => (options::<Mpmc>().open(&name).unwrap_err(), "MPMC message"),
    };
    assert_eq!(kinds(refused), (this, other));
    let name = Name::new();
    let _bytes = ringpipe::Ring::<u8, K>::options().create(&name).unwrap();
    assert_eq!(kinds(options::<K>().open(&name).unwrap_err()), (K::NAME, this));
    drop(ring);
}

fn an_anonymous_ring_is_opened_by_its_descriptor<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let other = options::<K>().from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(other.id(), ring.id());
    assert_works(&ring, &other);
    assert_works(&other, &ring);
}

fn a_ring_is_passed_on_to_a_program_that_is_started<K: Carries>() {
    let ring = options::<K>().capacity(PAGE).create_anonymous().unwrap();
    let mut child = Child::start_prepared::<K>(&[], "takes_what_was_passed", "", |command| {
        command.pass_ring("messages", &ring).unwrap();
    });
    let mut tx = ring.sender().unwrap();
    for message in ["a", "", "c*2000"] {
        tx.send(&bytes(message)).unwrap();
        child.must("receive", message);
    }
    drop(tx);
    child.must("receive", "Closed");
    child.finish();
}

/// A role: receives from the ring that it was given.
pub fn takes_what_was_passed<K: Carries>(mut me: Me) {
    let mut rx = options::<K>().from_env("messages").unwrap().receiver().unwrap();
    while me.hear().is_some() {
        let mut message = Vec::new();
        match rx.recv(&mut message) {
            Ok(()) => me.say(super::support::messenger::text(&message)),
            Err(why) => me.say(format_args!("{why:?}")),
        }
    }
}

fn send_three<K: Carries>(ring: &MessageRing<K>) {
    let mut tx = ring.sender().unwrap();
    for message in ["a", "b*1500", ""] {
        tx.try_send(&bytes(message)).unwrap();
    }
}

#[track_caller]
fn holds_three<K: Carries>(ring: &MessageRing<K>) {
    let mut rx = ring.receiver().unwrap();
    for message in ["a", "b*1500", ""] {
        assert_eq!(next(&mut rx).unwrap(), message);
    }
    assert_eq!(next(&mut rx), Err(MessageError::Closed));
}

fn c12_what_is_in_a_file_on_disk_is_there_when_it_is_opened_again<K: Carries>() {
    let Some(disk) = Disk::new("messages on a disk") else { return };
    let path = disk.join("messages");
    let ring = options::<K>().capacity(PAGE).create_file(&path).unwrap();
    assert_works(&ring, &ring);
    send_three::<K>(&ring);
    ring.checkpoint().unwrap();
    assert_eq!(disk::state(&path), disk::CLEAN);
    let copy = disk::beside(&path);
    disk::after_a_reboot(&copy, &fs::read(&path).unwrap());
    for path in [path, copy] {
        let ring = options::<K>().open_file(&path).unwrap();
        holds_three::<K>(&ring);
        assert_works(&ring, &ring);
    }
}

fn c12_a_copy_of_a_file_in_use_is_refused_or_emptied_or_taken_as_it_is<K: Carries>() {
    let Some(disk) = Disk::new("unclean rings of messages") else { return };
    let path = disk.join("messages");
    let ring = options::<K>().capacity(PAGE).create_file(&path).unwrap();
    // In the second lap, of which an emptied ring is to know nothing.
    assert_works(&ring, &ring);
    let mut tx = ring.sender().unwrap();
    for message in ["a", "b*1500", ""] {
        tx.try_send(&bytes(message)).unwrap();
    }
    ring.sync().unwrap();
    let taken = ring.len();
    let copy = disk::beside(&path);
    for (unclean, found) in [(Unclean::Empty, 0), (Unclean::AsFound, taken)] {
        fs::copy(&path, &copy).unwrap();
        let refused = options::<K>().open_file(&copy).unwrap_err();
        assert!(matches!(refused, OpenError::Unclean { .. }), "{refused:?}");
        let opened = options::<K>().unclean(unclean).open_file(&copy).unwrap();
        assert_eq!(opened.len(), found);
        match unclean {
            Unclean::Empty => {
                let mut rx = opened.receiver().unwrap();
                assert_eq!(next(&mut rx), Err(MessageError::Empty));
            }
            // Of the sender that the copy knows, no process lives: that is the end.
            _ => holds_three::<K>(&opened),
        }
        assert_works(&opened, &opened);
    }
    assert_eq!(ring.len(), taken, "that was the copy");
}

fn c17_a_listing_tells_what_is_in_it<K: Carries>() {
    let (name, ring) = new_ring::<K>(PAGE);
    let mut tx = ring.sender().unwrap();
    tx.send(&bytes("a*100")).unwrap();
    let all = ringpipe::list().unwrap();
    let ours = all.iter().find(|listed| listed.name == *name).unwrap();
    let (kind, taken) = if K::MANY { ("MPMC message", 128) } else { ("SPSC message", 112) };
    assert_eq!((ours.kind, ours.capacity, ours.len), (kind, PAGE as u64, taken));
    assert_eq!((ours.senders, ours.receivers), (1, 0));
    assert_eq!(ours.region_len, ring.region_len() as u64);
}

fn a_ring_of_huge_pages_is_rounded_up_to_them_and_works_across_its_end<K: Carries>() {
    let Some(_four) = Reserved::exactly(4) else { return };
    let require = || options::<K>().huge_pages(HugePages::Require);
    let ring = require().capacity(100).create_anonymous().unwrap();
    assert_eq!((ring.capacity(), ring.region_len()), (HUGE, 2 * HUGE));
    assert_works(&ring, &ring);
    assert_eq!(pool("free_hugepages"), 2, "the second view takes none");
    let other = options::<K>().from_fd(ring.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_works(&ring, &other);
    let refused = require().capacity(HUGE + 1).create_anonymous().unwrap_err();
    let CreateError::TooLarge { needed: Some(needed), available, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((needed, available), (3 * HUGE as u64, 2 * HUGE as u64));
    drop((ring, other));
    must_become_free(4);
}
