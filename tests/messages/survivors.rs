//! Senders and receivers that are killed at random, in the midst of whatever they are at, and
//! replaced. Each message says who sent it and the how-manieth it is, and both decide what else is
//! in it: all that was sent is accounted for.
//!
//! A sender writes into a file how many of its calls have returned. The one after that may have been
//! sent or not; none comes after it. A receiver writes down what it has claimed, and then releases
//! it: so all that was sent is written down once, or more often where it says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytemuck::{AnyBitPattern, NoUninit};
use ringpipe::{MessageError, messages};

use super::PAGE;
use super::support::messenger::{Carries, options};
use super::support::{Child, Directory, Me, Name, Rng, both_kinds, rng, until};

both_kinds!(ends_are_killed_at_random_and_each_message_is_accounted_for);

/// How many ends are killed.
const KILLS: usize = 30;
const SHORT: Duration = Duration::from_millis(1);

/// What a receiver writes down.
#[derive(Clone, Copy, Debug, NoUninit, AnyBitPattern)]
#[repr(C)]
struct Entry {
    sender: u64,
    number: u64,
    /// Not 0: it is said to have been delivered before.
    again: u32,
    /// Not 0: it is not what was sent.
    wrong: u32,
}

/// Number `number` of `sender`, of at most `most` bytes.
fn letter(sender: u64, number: u64, most: usize) -> Vec<u8> {
    let mut rng = Rng::new(rng::mix(sender << 32 | number));
    let longest = rng.pick(&[16, 48, 300, most as u64]);
    let len = rng.within(16..longest + 1) as usize;
    let mut letter: Vec<u8> = [sender, number].map(u64::to_le_bytes).concat();
    letter.extend((16..len).map(|_| rng.next() as u8));
    letter
}

/// What a letter says it is, if that is what it is.
fn read(letter_: &[u8], most: usize) -> Option<(u64, u64)> {
    let (head, _) = letter_.split_at_checked(16)?;
    let [sender, number] =
        [&head[..8], &head[8..]].map(|word| u64::from_le_bytes(std::array::from_fn(|i| word[i])));
    (letter_ == letter(sender, number, most)).then_some((sender, number))
}

/// A directory and a ring, as one argument.
fn argument(directory: &Path, name: &str) -> String {
    format!("{name} {}", directory.display())
}

fn parts(argument: &str) -> (&str, PathBuf) {
    let (name, directory) = argument.split_once(' ').unwrap();
    (name, directory.into())
}

/// A role: sends, in all ways there are, until it is killed.
pub fn sends_for_ever<K: Carries>(mut me: Me) {
    let argument = me.ring.clone();
    let (name, directory) = parts(&argument);
    let sender: u64 = me.hear().unwrap().parse().unwrap();
    let returned = File::create_new(directory.join(format!("sent-{sender}"))).unwrap();
    returned.write_all_at(&0_u64.to_ne_bytes(), 0).unwrap();
    let ring = options::<K>().open(name).unwrap();
    let mut tx = ring.sender().unwrap();
    tx.set_liveness_interval(SHORT);
    me.say("attached");
    let mut rng = Rng::new(sender);
    for number in 0.. {
        let letter = letter(sender, number, tx.max_len());
        while let Err(why) = send_somehow(&mut tx, &letter, &mut rng) {
            assert_eq!(why, MessageError::Closed);
            let _ = tx.wait_for_peer(Duration::from_secs(60)); // the receiver's successor
        }
        returned.write_all_at(&(number + 1).to_ne_bytes(), 0).unwrap();
    }
}

fn send_somehow<K: messages::Messages>(
    tx: &mut messages::Sender<K>,
    letter: &[u8],
    rng: &mut Rng,
) -> Result<(), MessageError> {
    match rng.within(0..5) {
        0 => {
            let (head, tail) = letter.split_at(letter.len() / 2);
            tx.send_vectored(&[IoSlice::new(head), IoSlice::new(tail)])
        }
        1 => tx.send_with(tx.max_len(), |message| {
            message.write_all(letter).expect("there is room");
            Ok(())
        }),
        2 => {
            // What is not sent, and may be what it dies of, comes first.
            match tx.try_reserve(letter.len()) {
                Ok(room) if rng.percent(50) => std::mem::forget(room),
                Ok(room) => room.abandon(),
                Err(MessageError::Full) => {}
                Err(why) => return Err(why),
            }
            tx.send(letter)
        }
        _ => tx.send(letter),
    }
}

/// A role: claims, writes down and releases, until all senders have gone for good.
pub fn receives_for_ever<K: Carries>(mut me: Me) {
    let argument = me.ring.clone();
    let (name, directory) = parts(&argument);
    let number: u64 = me.hear().unwrap().parse().unwrap();
    let mut log = File::create_new(directory.join(format!("received-{number}"))).unwrap();
    let ring = options::<K>().open(name).unwrap();
    let mut rx = ring.receiver().unwrap();
    rx.set_liveness_interval(SHORT);
    me.say("attached");
    let mut rng = Rng::new(number << 32);
    let most = rx.max_len();
    loop {
        let last = directory.join("all-have-gone").exists();
        let claimed = match rx.claim_deadline(rng.within(1..8) as usize, Duration::from_secs(60)) {
            Ok(claimed) => claimed,
            Err(MessageError::Closed) if last => break,
            Err(MessageError::Closed) => continue,
            Err(why) => panic!("{why}"),
        };
        // Now and then it keeps some, which it gets again.
        let take = rng.within(1..claimed.len() as u64 + 1) as usize;
        let again = claimed.redelivered();
        for (i, message) in claimed.iter().take(take).enumerate() {
            let read = read(&message.to_vec(), most);
            let (sender, number) = read.unwrap_or_default();
            let (again, wrong) = (u32::from(i < again), u32::from(read.is_none()));
            log.write_all(bytemuck::bytes_of(&Entry { sender, number, again, wrong })).unwrap();
        }
        claimed.release(take);
    }
    me.say("all have gone");
    me.hear();
}

/// The ends that there are at a time, and what they write.
struct Company {
    directory: Directory,
    name: Name,
    senders: Vec<Child>,
    receivers: Vec<Child>,
    hired: u64,
}

impl Company {
    fn of<K: Carries>() -> (Self, messages::Ring<K::Messages>) {
        let (directory, name) = (Directory::new(), Name::new());
        let ring = options::<K>().capacity(2 * PAGE).create(&name).unwrap();
        let mut company = Self { directory, name, senders: vec![], receivers: vec![], hired: 0 };
        let (senders, receivers) = if K::MANY { (3, 2) } else { (1, 1) };
        for _ in 0..receivers {
            let receiver = company.hire::<K>("receives_for_ever");
            company.receivers.push(receiver);
        }
        for _ in 0..senders {
            let sender = company.hire::<K>("sends_for_ever");
            company.senders.push(sender);
        }
        (company, ring)
    }

    fn hire<K: Carries>(&mut self, role: &str) -> Child {
        self.hired += 1;
        let mut child = Child::start::<K>(role, &argument(&self.directory, &self.name));
        child.must(&self.hired.to_string(), "attached");
        child
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(&*self.directory).unwrap().map(|entry| entry.unwrap().path());
        let is = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(kind);
        all.filter(is).collect()
    }

    /// How many messages were written down.
    fn written(&self) -> u64 {
        let bytes: u64 =
            self.files("received-").iter().map(|path| path.metadata().unwrap().len()).sum();
        bytes / size_of::<Entry>() as u64
    }

    /// Waits for so many more messages, and for a part of the next.
    fn work(&self, rng: &mut Rng) {
        let wanted = self.written() + rng.within(1..200);
        until("messages", || (self.written() >= wanted).then_some(()));
        for _ in 0..rng.within(0..20_000) {
            std::hint::spin_loop();
        }
    }
}

fn ends_are_killed_at_random_and_each_message_is_accounted_for<K: Carries>() {
    let seed = rng::seed();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let (mut company, ring) = Company::of::<K>();
    for _ in 0..KILLS {
        company.work(&mut rng);
        if rng.percent(50) {
            let i = rng.within(0..company.senders.len() as u64) as usize;
            company.senders.swap_remove(i).kill();
            let next = company.hire::<K>("sends_for_ever");
            company.senders.push(next);
        } else {
            let i = rng.within(0..company.receivers.len() as u64) as usize;
            company.receivers.swap_remove(i).kill();
            let next = company.hire::<K>("receives_for_ever");
            company.receivers.push(next);
        }
    }
    company.work(&mut rng);
    company.senders.drain(..).for_each(Child::kill);
    File::create_new(company.directory.join("all-have-gone")).unwrap();
    for mut receiver in company.receivers.drain(..) {
        receiver.must_hear("all have gone");
        receiver.finish();
    }
    assert!(ring.is_empty(), "{ring:?}");
    balance(&company);
}

/// How often a message was written down, without and with a mark.
#[derive(Clone, Copy, Default)]
struct Account {
    unmarked: u32,
    marked: u32,
}

fn balance(company: &Company) {
    let mut accounts: BTreeMap<(u64, u64), Account> = BTreeMap::new();
    for path in company.files("received-") {
        let mut last = BTreeMap::new();
        let log = fs::read(&path).unwrap();
        // One that was killed may have been so while it wrote.
        for entry in log.chunks_exact(size_of::<Entry>()) {
            let entry: Entry = bytemuck::pod_read_unaligned(entry);
            assert_eq!(entry.wrong, 0, "{path:?}: {entry:?}");
            let account = accounts.entry((entry.sender, entry.number)).or_default();
            if entry.again == 0 {
                account.unmarked += 1;
                let before = last.insert(entry.sender, entry.number);
                assert!(before < Some(entry.number), "{path:?}: out of order: {entry:?}");
            } else {
                account.marked += 1;
            }
        }
    }
    let twice: Vec<_> = accounts.iter().filter(|(_, account)| account.unmarked > 1).collect();
    assert!(twice.is_empty(), "{} came twice without a mark: {:?}", twice.len(), twice[0].0);
    for path in company.files("sent-") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let sender: u64 = name.strip_prefix("sent-").unwrap().parse().unwrap();
        let returned = fs::read(&path).unwrap();
        let returned = u64::from_ne_bytes(returned.try_into().unwrap());
        let lost = (0..returned).find(|&number| !accounts.contains_key(&(sender, number)));
        assert_eq!(lost, None, "of sender {sender}, of which {returned} calls returned");
        let of_its = accounts.range((sender, returned + 1)..(sender + 1, 0)).next();
        assert!(of_its.is_none(), "sender {sender} never sent that");
    }
    let repeated =
        accounts.values().filter(|account| account.unmarked + account.marked > 1).count();
    println!("{} messages, {repeated} more than once", accounts.len());
}
