//! `kill -9` of either end, at any moment: what arrives is the stream's beginning without a hole,
//! and whoever comes next goes on where the pipe says.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ringpipe::bytes::{Descriptor, Reader, Ring, TransferError};
use ringpipe::{BulkError, Ending};

use super::support::noise::{Digest, Noise};
use super::support::{CHILD_LIMIT, Directory, Flavour, Me, Rng, asleep, rng, tests, until};
use super::{PAGE, child, new_pipe};

tests!(
    writers_are_killed_in_their_loops_and_the_file_arrives_whole,
    writers_are_killed_over_transfers_and_the_file_arrives_whole,
    readers_are_killed_in_their_loops_and_no_byte_is_skipped,
    readers_are_killed_over_transfers_and_write_at_most_a_quarter_of_the_ring_again,
    a_reader_killed_within_the_system_call_leaves_it_to_its_successor,
    a_writer_killed_while_its_descriptor_brings_nothing_loses_nothing,
);

/// So many are killed over one file.
const KILLS: u32 = 20;
const CAPACITY: usize = 4 * PAGE;

/// A real file of some megabytes.
fn a_real_file() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn len_of(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

fn from(path: &str, at: u64) -> File {
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file
}

/// A role: "FROM" writes this file from there to its end, in pieces of all sizes. Where its reader
/// dies, it waits for the next.
pub fn writes_from<K: Flavour>(mut me: Me) {
    let path = a_real_file();
    let mut tx = Ring::options().open(&me.ring).unwrap().writer().unwrap();
    me.say("ready");
    let mut file = from(path.to_str().unwrap(), me.hear().unwrap().parse().unwrap());
    let mut random = Rng::new(rng::seed());
    let mut piece = vec![0; 2 * CAPACITY];
    loop {
        let most = random.within(1..piece.len() as u64) as usize;
        let len = file.read(&mut piece[..most]).unwrap();
        if len == 0 {
            break;
        }
        let mut rest = &piece[..len];
        while !rest.is_empty() {
            match tx.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    tx.wait_for_peer(CHILD_LIMIT).unwrap();
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
    drop(tx);
    me.say("Ok");
    me.hear();
}

/// A role: "FROM PATH" transfers this file from there to its end. Where its reader dies, it waits
/// for the next, and goes on.
pub fn transfers_from<K: Flavour>(mut me: Me) {
    let mut tx = Ring::options().open(&me.ring).unwrap().writer().unwrap();
    me.say("ready");
    let order = me.hear().unwrap();
    let (at, path) = order.split_once(' ').unwrap();
    let file = if at == "-" { File::open(path).unwrap() } else { from(path, at.parse().unwrap()) };
    while let Err(TransferError { why, .. }) = tx.read_from(&file, u64::MAX) {
        assert!(matches!(why, Descriptor::Ring(BulkError::Closed)), "{why:?}");
        tx.wait_for_peer(CHILD_LIMIT).unwrap();
    }
    drop(tx);
    me.say("Ok");
    me.hear();
}

/// A role: "PATH" appends to this file what it reads, piece by piece.
pub fn reads_and_appends<K: Flavour>(mut me: Me) {
    let mut rx = Ring::options().open(&me.ring).unwrap().reader().unwrap();
    me.say("ready");
    let path = me.hear().unwrap();
    let mut file = File::options().append(true).open(path).unwrap();
    let mut random = Rng::new(rng::seed());
    let mut piece = vec![0; LARGEST_PIECE];
    loop {
        let most = random.within(1..piece.len() as u64) as usize;
        match rx.read(&mut piece[..most]).unwrap() {
            0 => break,
            len => file.write_all(&piece[..len]).unwrap(),
        }
    }
    me.say("Ok");
    me.hear();
}

/// The most that one of them may have read and not appended.
const LARGEST_PIECE: usize = PAGE;

/// A role: "PATH" appends to this file what it transfers.
pub fn transfers_to<K: Flavour>(mut me: Me) {
    let mut rx = Ring::options().open(&me.ring).unwrap().reader().unwrap();
    me.say("ready");
    let path = me.hear().unwrap();
    rx.write_to(File::options().append(true).open(path).unwrap(), u64::MAX).unwrap();
    me.say("Ok");
    me.hear();
}

fn writers_are_killed_in_their_loops_and_the_file_arrives_whole() {
    writers_are_killed("writes_from", |at| at.to_string());
}

fn writers_are_killed_over_transfers_and_the_file_arrives_whole() {
    let path = a_real_file();
    writers_are_killed("transfers_from", |at| format!("{at} {}", path.display()));
}

/// This process reads, and tells each writer how far its predecessors have got.
fn writers_are_killed(role: &str, order: impl Fn(u64) -> String) {
    let (name, ring) = new_pipe(CAPACITY);
    let path = a_real_file();
    let all = len_of(&path);
    let mut rx = ring.reader().unwrap();
    let mut random = Rng::new(rng::seed());
    let (mut digest, mut arrived) = (Digest::default(), 0);
    for _ in 0..KILLS {
        let mut writer = child(role, &name);
        writer.say(&order(arrived));
        // As soon as so much has come; where the writer is then, is chance.
        let some = random.within(1..all / u64::from(KILLS + 1));
        let copied = std::io::copy(&mut rx.by_ref().take(some), &mut digest).unwrap();
        assert_eq!(copied, some);
        writer.kill();
        let rest = std::io::copy(&mut rx, &mut digest).unwrap();
        assert!(rest <= CAPACITY as u64, "{rest}");
        assert_eq!(rx.ending(), Some(Ending::Died(1)));
        arrived += copied + rest;
        assert_eq!((ring.stats().sent, ring.stats().received), (arrived, arrived));
    }
    let mut writer = child(role, &name);
    writer.say(&order(arrived));
    std::io::copy(&mut rx, &mut digest).unwrap();
    assert_eq!(rx.ending(), Some(Ending::Closed));
    writer.must_hear("Ok");
    writer.finish();
    assert_eq!(digest.finish(), Digest::of(File::open(path).unwrap()).unwrap());
}

fn readers_are_killed_in_their_loops_and_no_byte_is_skipped() {
    // What was read and not yet appended is the reader's own loss.
    readers_are_killed("reads_and_appends", |appended, received| {
        assert!((appended..=appended + LARGEST_PIECE as u64).contains(&received));
    });
}

fn readers_are_killed_over_transfers_and_write_at_most_a_quarter_of_the_ring_again() {
    readers_are_killed("transfers_to", |appended, received| {
        assert!((received..=received + CAPACITY as u64 / 4).contains(&appended));
    });
}

/// Another child writes, what it is fed: a portion for each reader, so that none comes to the end.
/// `check` is given how much the reader that was killed has appended, and how much the pipe counts as
/// received.
fn readers_are_killed(role: &str, check: impl Fn(u64, u64)) {
    let (name, ring) = new_pipe(CAPACITY);
    let directory = Directory::new();
    let (source, copy) = (fifo(&directory), directory.join("copy"));
    let original = std::fs::read(a_real_file()).unwrap();
    let portion = original.len() as u64 / u64::from(KILLS + 1);
    File::create_new(&copy).unwrap();
    let mut writer = child("transfers_from", &name);
    writer.say(&format!("- {}", source.display()));
    let (feeds, portions) = std::sync::mpsc::channel();
    let fed = original.clone();
    let feeder = std::thread::spawn(move || {
        let mut feed = File::options().write(true).open(&source).unwrap();
        let mut fed = &fed[..];
        for portion in portions {
            let (next, rest) = fed.split_at(fed.len().min(portion));
            feed.write_all(next).unwrap();
            fed = rest;
        }
    });
    let mut random = Rng::new(rng::seed());
    for n in 1..=u64::from(KILLS) {
        let mut reader = child(role, &name);
        reader.say(copy.to_str().unwrap());
        feeds.send(portion as usize).unwrap();
        let some = random.within(len_of(&copy)..n * portion + 1);
        until("a reader that has come so far", || (len_of(&copy) >= some).then_some(()));
        reader.kill();
        let (appended, received) = (len_of(&copy), ring.stats().received);
        println!("{role}: {appended} appended, {received} received");
        check(appended, received);
        assert!(std::fs::read(&copy).unwrap() == original[..appended as usize], "no prefix");
        // The next one goes on where the pipe does: so does the copy.
        let file = File::options().write(true).open(&copy).unwrap();
        file.set_len(appended.min(received)).unwrap();
        let mut lost = &original[appended.min(received) as usize..received as usize];
        std::io::copy(&mut lost, &mut &appending(&copy)).unwrap();
    }
    let mut reader = child(role, &name);
    reader.say(copy.to_str().unwrap());
    feeds.send(original.len()).unwrap();
    drop(feeds);
    feeder.join().unwrap();
    reader.must_hear("Ok");
    writer.must_hear("Ok");
    assert!(std::fs::read(&copy).unwrap() == original);
    assert_eq!(ring.stats().received, original.len() as u64);
}

fn appending(path: &Path) -> File {
    File::options().append(true).open(path).unwrap()
}

/// The path of a new FIFO.
fn fifo(directory: &Directory) -> PathBuf {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let path = directory.join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

/// The child is killed when it has given a part of what it was shown to a pipe, within the call.
fn a_reader_killed_within_the_system_call_leaves_it_to_its_successor() {
    let (name, ring) = new_pipe(16 * PAGE); // a quarter is four pages
    let directory = Directory::new();
    let path = fifo(&directory);
    let stream = Noise::new(1).take_vec(16 * PAGE);
    ring.writer().unwrap().write_all(&stream).unwrap();
    // A small pipe, before anything is in it.
    let held = File::options().read(true).write(true).open(&path).unwrap();
    rustix::pipe::fcntl_setpipe_size(&held, PAGE).unwrap();
    let mut reader = child("transfers_to", &name);
    reader.say(path.to_str().unwrap());
    let mut out = File::open(&path).unwrap();
    let mut given = vec![0; 5 * PAGE];
    out.read_exact(&mut given).unwrap();
    drop(held);
    until("a reader that waits for room in the pipe", || {
        let call = format!("/proc/{}/task/{}/syscall", reader.pid(), reader.tid());
        let waits =
            std::fs::read_to_string(call).unwrap().starts_with(&format!("{} ", libc::SYS_write));
        (waits && rustix::io::ioctl_fionread(&out).unwrap() == PAGE as u64).then_some(())
    });
    assert_eq!(ring.stats().received, 4 * PAGE as u64, "the second quarter is under way");
    reader.kill();
    out.read_to_end(&mut given).unwrap();
    assert!(given == stream[..6 * PAGE]);
    let mut rx = ring.reader().unwrap();
    let run = rx.claim(usize::MAX).unwrap();
    assert_eq!(run.redelivered(), 4 * PAGE, "and its successor is told so");
    run.abandon();
    let mut rest = Vec::new();
    rx.read_to_end(&mut rest).unwrap();
    assert!(rest == stream[4 * PAGE..]);
}

fn a_writer_killed_while_its_descriptor_brings_nothing_loses_nothing() {
    let (name, ring) = new_pipe(PAGE);
    let directory = Directory::new();
    let path = fifo(&directory);
    let mut rx: Reader = ring.reader().unwrap();
    let mut writer = child("transfers_from", &name);
    writer.say(&format!("- {}", path.display()));
    let mut feed = File::options().write(true).open(&path).unwrap();
    feed.write_all(b"all that there was").unwrap();
    until("a writer that waits for more", || {
        let call = format!("/proc/{}/task/{}/syscall", writer.pid(), writer.tid());
        let waits =
            std::fs::read_to_string(call).unwrap().starts_with(&format!("{} ", libc::SYS_read));
        (waits && rustix::io::ioctl_fionread(&feed).unwrap() == 0).then_some(())
    });
    assert_eq!(asleep::state(writer.pid(), writer.tid()), Some('S'));
    writer.kill();
    let mut text = String::new();
    rx.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), rx.ending()), ("all that there was", Some(Ending::Died(1))));
    assert!(feed.write_all(b"x").is_err(), "it was the only one to read there");
}
