//! C12 to C14: rings outlive their processes, names come and go, and nobody sees half a ring.

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;

use ringpipe::{
    CreateError, Mismatch, Mpmc, OpenError, Ring, Spsc, TryRecvError, UnlinkError, mpmc, spsc,
};
use support::{Child, Directory, Flavour, Me, Name, both_kinds, new_ring, options, roles, tests};

roles!(race_to_create, hammer_open);

both_kinds!(
    c12_values_stay_readable_when_every_process_has_exited,
    c12_values_in_a_file_stay_readable_when_every_process_has_exited,
    c13_unlink_removes_the_name_at_once_and_the_attached_go_on,
    c13_a_new_ring_under_an_old_name_is_another_ring,
    c13_only_a_name_that_still_is_this_rings_is_removed,
    c14_create_fails_if_the_name_exists_and_touches_nothing,
    c14_open_fails_if_the_name_does_not_exist,
    c14_of_racing_creators_one_wins_and_nobody_sees_half_a_ring,
    c14_all_who_open_or_create_at_once_get_the_same_ring,
);

tests!(
    c14_open_refuses_a_ring_of_another_type_or_kind_and_names_both_sides,
    c14_open_refuses_what_is_no_ring,
);

fn c12_values_stay_readable_when_every_process_has_exited<K: Flavour>() {
    let name = Name::new();
    stays_readable::<K>(&name, |options, name| options.open(name).unwrap());
}

fn c12_values_in_a_file_stay_readable_when_every_process_has_exited<K: Flavour>() {
    let directory = Directory::new();
    let path = directory.join("ring");
    stays_readable::<K>(path.to_str().unwrap(), |options, path| options.open_file(path).unwrap());
}

fn stays_readable<K: Flavour>(
    name: &str,
    open: impl Fn(ringpipe::Options<u64, K>, &str) -> Ring<u64, K>,
) {
    let mut writer = Child::puppet::<K>(name);
    writer.must("create 8", "Ok");
    writer.must("sender", "Ok");
    writer.must("receiver", "Ok");
    writer.must("send_each 0 6", "Ok(())");
    writer.must("try_recv", "Ok(0)");
    writer.must("sync", "Ok");
    let id = writer.ask("id");
    writer.finish(); // and now nobody has it open

    // A second generation goes on where the first stopped, and dies too.
    let mut next = Child::puppet::<K>(name);
    next.must("open", "Ok");
    next.must("id", &id);
    next.must("sender", "Ok");
    next.must("receiver", "Ok");
    next.must("recv", "Ok(1)");
    next.must("send_each 6 10", "Ok(())");
    next.must("try_send 10", "Err(Full(10))");
    next.finish();

    let ring = open(options(), name);
    assert_eq!((ring.id().to_string(), ring.len()), (id, 8));
    assert_eq!((ring.stats().sent, ring.stats().received), (10, 2));
    assert_eq!((ring.peers().senders, ring.peers().receivers), (0, 0));
    let mut rx = K::receiver(&ring).unwrap();
    assert!(rx.try_iter().eq(2..10));
}

fn c13_unlink_removes_the_name_at_once_and_the_attached_go_on<K: Flavour>() {
    let (name, ring) = new_ring::<K>(2);
    let mut tx = Child::sender::<K>(&name, Default::default());
    let mut rx = K::receiver(&ring).unwrap();
    tx.must("try_send 1", "Ok(())");
    ring.unlink().unwrap();
    assert!(!name.path().exists());
    assert!(matches!(options::<K>().open(&name), Err(OpenError::NotFound { .. })));
    assert_eq!(rx.recv(), Ok(1));
    tx.must("try_send 2", "Ok(())");
    tx.must("try_send 3", "Ok(())");
    tx.say("send 4");
    tx.until_asleep();
    assert_eq!(rx.recv(), Ok(2));
    tx.wakes_with("Ok(())");
    // Ends can still come and go, for those who have the ring open.
    drop(rx);
    tx.must("try_send 5", "Err(Closed(5))");
    let mut rx = K::receiver(&ring).unwrap();
    assert_eq!(rx.recv(), Ok(3));
    tx.must("leave", "Ok");
    assert_eq!(rx.iter().collect::<Vec<_>>(), [4]);
    tx.must("sender", "Ok");
    tx.must("try_send 6", "Ok(())");
    assert_eq!(rx.recv(), Ok(6));
}

fn c13_a_new_ring_under_an_old_name_is_another_ring<K: Flavour>() {
    let (name, old) = new_ring::<K>(4);
    let mut old_rx = Child::receiver::<K>(&name, Default::default());
    let mut old_tx = K::sender(&old).unwrap();
    ringpipe::unlink(&name).unwrap();

    let new = options::<K>().capacity(16).create(&name).unwrap();
    assert_ne!(new.id(), old.id());
    let mut new_rx = Child::receiver::<K>(&name, Default::default());
    new_rx.must("id", &new.id().to_string());
    let mut new_tx = K::sender(&new).unwrap();
    assert_eq!((old.capacity(), new.capacity()), (4, 16));
    old_tx.try_send(1).unwrap();
    new_tx.try_send(2).unwrap();
    old_rx.must("recv", "Ok(1)");
    new_rx.must("recv", "Ok(2)");
    old_rx.must("try_recv", "Err(Empty)");
    drop(new_tx);
    new_rx.must("recv", "Err(Closed)");
    old_rx.must("try_recv", "Err(Empty)");
}

fn c13_only_a_name_that_still_is_this_rings_is_removed<K: Flavour>() {
    let (name, old) = new_ring::<K>(4);
    let mut puppet = Child::puppet::<K>(&name);
    puppet.must("open", "Ok");
    puppet.must("unlink", "Ok");
    assert!(matches!(old.unlink(), Err(UnlinkError::NotFound { .. })));
    assert!(matches!(ringpipe::unlink(&name), Err(UnlinkError::NotFound { .. })));

    let new = options::<K>().create(&name).unwrap();
    // Whether the old one is without any name, or has another one.
    assert!(matches!(old.unlink(), Err(UnlinkError::Replaced { .. })));
    let other = Name::new();
    fs::hard_link(name.path(), other.path()).unwrap();
    fs::remove_file(name.path()).unwrap();
    let newest = options::<K>().create(&name).unwrap();
    assert!(matches!(new.unlink(), Err(UnlinkError::Replaced { .. })));
    assert!(options::<K>().open(&name).unwrap().id() == newest.id());
    newest.unlink().unwrap();
    assert!(!name.path().exists());

    let anonymous = options::<K>().create_anonymous().unwrap();
    assert!(matches!(anonymous.unlink(), Err(UnlinkError::Anonymous)));
}

fn c14_create_fails_if_the_name_exists_and_touches_nothing<K: Flavour>() {
    let (name, ring) = new_ring::<K>(4);
    let mut tx = K::sender(&ring).unwrap();
    tx.try_send(1).unwrap();
    let before = fs::read(name.path()).unwrap();
    let again = options::<K>().capacity(64).create(&name);
    let message = again.as_ref().unwrap_err().to_string();
    assert!(
        matches!(again, Err(CreateError::Exists { ring }) if ring.path() == Some(&name.path()))
    );
    assert!(message.contains(&*name), "{message}");
    assert!(fs::read(name.path()).unwrap() == before, "touched");
    let mut puppet = Child::puppet::<K>(&name);
    let refused = puppet.ask("create 4");
    assert!(refused.starts_with("Err(Exists"), "{refused}");
    assert_eq!(K::receiver(&ring).unwrap().recv(), Ok(1));

    // Whatever has the name, ring or not.
    let name = Name::new();
    fs::write(name.path(), "precious").unwrap();
    let refused = options::<K>().create(&name);
    assert!(matches!(refused, Err(CreateError::Exists { .. })));
    assert_eq!(fs::read_to_string(name.path()).unwrap(), "precious");
}

fn c14_open_fails_if_the_name_does_not_exist<K: Flavour>() {
    let name = Name::new();
    let missing = options::<K>().open(&name);
    assert!(
        matches!(missing, Err(OpenError::NotFound { ring }) if ring.path() == Some(&name.path()))
    );
    assert!(!name.path().exists(), "opening created something");
    let directory = Directory::new();
    let missing = options::<K>().open_file(directory.join("none"));
    assert!(matches!(missing, Err(OpenError::NotFound { .. })));
    let missing = options::<K>().open_file(directory.join("no-such/directory"));
    assert!(matches!(missing, Err(OpenError::NoDirectory { .. })));
    assert_eq!(fs::read_dir(&*directory).unwrap().count(), 0);
}

const ROUNDS: usize = 40;

/// Which name a round of the race is about. Dropped with the ring's base name by the parent.
fn round_name(base: &str, round: usize) -> String {
    format!("{base}-{round}")
}

/// Round by round, creates as soon as told, with a capacity of its own ("CAPACITY"). Tells the
/// ring's id if it won.
fn race_to_create<K: Flavour>(mut me: Me) {
    for round in 0..ROUNDS {
        me.say("ready");
        let capacity: usize = me.hear().unwrap().parse().unwrap();
        let created = options::<K>()
            .capacity(capacity)
            .tag("racer", capacity as u32)
            .create(&round_name(&me.ring, round));
        match created {
            Ok(ring) => me.say(format_args!("won {} {capacity}", ring.id())),
            Err(CreateError::Exists { .. }) => me.say("lost"),
            Err(e) => panic!("{e:?}"),
        }
    }
    me.hear();
}

/// Round by round, opens until it works, and looks at the raw file as well. Tells the ring's id.
fn hammer_open<K: Flavour>(mut me: Me) {
    let mut tries = 0u64;
    for round in 0..ROUNDS {
        let name = round_name(&me.ring, round);
        let path = std::path::Path::new("/dev/shm").join(&name);
        // Alternate: the library checks what it sees; the raw look shows what there is to see.
        let raw = loop {
            tries += 1;
            match fs::read(&path) {
                Ok(bytes) => break bytes,
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => panic!("{e}"),
            }
            match Ring::<u64, K>::options().tag("racer", 0).open(&name) {
                Err(OpenError::NotFound { .. }) => {}
                // It is there by now, whole, and says itself why it is not for us.
                Err(OpenError::Mismatch { mismatch: Mismatch::Element { ring, .. }, .. }) => {
                    assert_eq!(ring.tag, "racer");
                }
                other => panic!("half a ring: {other:?}"),
            }
        };
        assert!(raw.starts_with(b"ringpipe"), "half a ring");
        let tag_version = u32::from_ne_bytes(raw[76..80].try_into().unwrap());
        let ring = options::<K>().tag("racer", tag_version).open(&name).unwrap();
        assert_eq!(raw.len(), ring.region_len(), "half a ring");
        assert_eq!(ring.capacity(), tag_version as usize);
        assert_eq!((ring.stats().sent, ring.stats().received), (0, 0));
        me.say(format_args!("{} {}", ring.id(), ring.capacity()));
    }
    me.say(tries);
    me.hear();
}

fn c14_of_racing_creators_one_wins_and_nobody_sees_half_a_ring<K: Flavour>() {
    let name = Name::new();
    let temporary = temporary_names();
    let cleanup: Vec<Cleanup> = (0..ROUNDS).map(|r| Cleanup(round_name(&name, r))).collect();
    let mut openers: Vec<Child> = (0..2).map(|_| Child::start::<K>("hammer_open", &name)).collect();
    let mut racers: Vec<Child> =
        (0..6).map(|_| Child::start::<K>("race_to_create", &name)).collect();
    for round in 0..ROUNDS {
        for racer in &mut racers {
            racer.must_hear("ready");
        }
        for (i, racer) in racers.iter_mut().enumerate() {
            // Large enough for a filling-in that would be seen.
            racer.say(&(1024usize << i).to_string());
        }
        let heard: Vec<String> = racers.iter_mut().map(Child::hear).collect();
        let winners: Vec<&str> = heard.iter().filter_map(|h| h.strip_prefix("won ")).collect();
        assert_eq!(winners.len(), 1, "round {round}: {heard:?}");
        assert_eq!(heard.iter().filter(|h| *h == "lost").count(), 5);
        for opener in &mut openers {
            opener.must_hear(winners[0]);
        }
    }
    for mut opener in openers {
        let tries: u64 = opener.hear().parse().unwrap();
        assert!(tries > ROUNDS as u64, "the openers were never early");
        opener.finish();
    }
    racers.into_iter().for_each(Child::finish);
    drop(cleanup);
    let left: Vec<_> = temporary_names().difference(&temporary).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!((0..ROUNDS).all(|round| options::<K>().open(&round_name(&name, round)).is_err()));
}

/// Names that rings have before they have their own, where there is no other way.
fn temporary_names() -> BTreeSet<OsString> {
    fs::read_dir("/dev/shm")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".ringpipe-"))
        .collect()
}

struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = ringpipe::unlink(&self.0); // there, unless the round failed
    }
}

fn c14_all_who_open_or_create_at_once_get_the_same_ring<K: Flavour>() {
    for _ in 0..50 {
        let name = Name::new();
        let barrier = std::sync::Barrier::new(4);
        let ids: Vec<u128> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        options::<K>().open_or_create(&name).unwrap().id()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|&id| id == ids[0]), "{ids:?}");
    }
}

fn c14_open_refuses_a_ring_of_another_type_or_kind_and_names_both_sides() {
    #[derive(Clone, Copy, bytemuck::NoUninit, bytemuck::AnyBitPattern)]
    #[repr(C, align(16))]
    struct Aligned([u64; 2]);

    let name = Name::new();
    let ring = spsc::Ring::<[u64; 2]>::options().tag("trade", 3).create(&name).unwrap();
    let mut tx = ring.producer().unwrap();
    tx.try_send([1, 2]).unwrap();
    let before = fs::read(name.path()).unwrap();
    let refused = |opened: Result<(), OpenError>, both: [&str; 2]| {
        let error = opened.unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, OpenError::Mismatch { .. }), "{message}");
        assert!(both.iter().all(|side| message.contains(side)), "{message}");
        assert!(message.contains(&*name), "{message}");
    };
    let size = spsc::Ring::<[u64; 3]>::options().tag("trade", 3).open(&name);
    refused(size.map(drop), ["16-byte", "24-byte"]);
    let align = spsc::Ring::<Aligned>::options().tag("trade", 3).open(&name);
    refused(align.map(drop), ["aligned to 8", "aligned to 16"]);
    let tag = spsc::Ring::<[u64; 2]>::options().tag("quote", 3).open(&name);
    refused(tag.map(drop), ["`trade`", "`quote`"]);
    let version = spsc::Ring::<[u64; 2]>::options().tag("trade", 4).open(&name);
    refused(version.map(drop), ["version 3", "version 4"]);
    let untagged = spsc::Ring::<[u64; 2]>::options().open(&name);
    refused(untagged.map(drop), ["`trade`", "untagged"]);
    let kind = mpmc::Ring::<[u64; 2]>::options().tag("trade", 3).open(&name);
    refused(kind.map(drop), ["SPSC", "MPMC"]);
    // Whoever would rather have any ring than none is refused as well, and creates nothing.
    let either = mpmc::Ring::<[u64; 2]>::options().open_or_create(&name);
    assert!(matches!(either, Err(ringpipe::OpenOrCreateError::Open(_))));
    // In another process.
    let told = Child::puppet::<Spsc>(&name).ask("open");
    assert!(told.contains("Mismatch"), "{told}");

    assert!(fs::read(name.path()).unwrap() == before, "touched");
    let mut same =
        spsc::Ring::<[i64; 2]>::options().tag("trade", 3).open(&name).unwrap().consumer();
    assert_eq!(same.as_mut().unwrap().try_recv(), Ok([1, 2]));
    assert_eq!(same.unwrap().try_recv(), Err(TryRecvError::Empty));
}

fn c14_open_refuses_what_is_no_ring() {
    let refused = |name: &str| match options::<Mpmc>().open(name) {
        Err(OpenError::NotARing { ring, because }) => {
            assert_eq!(ring.path(), Some(std::path::Path::new("/dev/shm").join(name).as_path()));
            because
        }
        other => panic!("{other:?}"),
    };
    let name = Name::new();
    for content in ["", "short", &"no ring at all ".repeat(1000)] {
        fs::write(name.path(), content).unwrap();
        refused(&name);
        assert_eq!(fs::read_to_string(name.path()).unwrap(), content, "touched");
    }
    fs::remove_file(name.path()).unwrap();

    fs::create_dir(name.path()).unwrap();
    assert_eq!(refused(&name), "it is a directory");
    fs::remove_dir(name.path()).unwrap();

    let (target, _ring) = new_ring::<Mpmc>(4);
    std::os::unix::fs::symlink(target.path(), name.path()).unwrap();
    assert_eq!(refused(&name), "it is a symbolic link");
    fs::remove_file(name.path()).unwrap();

    // A FIFO that nobody writes: opening must not wait for one.
    let fifo = rustix::fs::mknodat(
        rustix::fs::CWD,
        name.path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    );
    fifo.unwrap();
    assert_eq!(refused(&name), "it is no regular file");
}
