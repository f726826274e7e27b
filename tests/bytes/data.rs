//! Real data through real processes, told by its digest.
//!
//! A generated file of 256 MiB; `RINGPIPE_STREAM_MIB=2048` makes it so many (with `--release`, and
//! patience: both ends hash all of it).

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringpipe::bytes::{self, Buffered, Ring};

use super::support::child::spawn;
use super::support::noise::{Digest, Noise};
use super::support::{Directory, Flavour, Me, tests};
use super::{PAGE, child, new_pipe};

tests!(
    a_long_stream_arrives_as_it_was_sent,
    a_tree_of_files_arrives_as_it_was_packed,
    the_lines_of_a_live_program_arrive_as_it_says_them,
    all_that_a_program_says_arrives,
);

/// A role: "SEED LENGTH" writes so much noise, and says its digest.
pub fn makes_noise<K: Flavour>(mut me: Me) {
    let mut tx = Ring::options().open(&me.ring).unwrap().writer().unwrap();
    me.say("ready");
    let order = me.hear().unwrap();
    let (seed, len) = order.split_once(' ').unwrap();
    let (mut noise, mut left): (_, usize) =
        (Noise::new(seed.parse().unwrap()), len.parse().unwrap());
    let mut digest = Digest::default();
    while left > 0 {
        let piece = noise.take_vec(left.min(100_003));
        digest.write_all(&piece).unwrap();
        tx.write_all(&piece).unwrap();
        left -= piece.len();
    }
    drop(tx);
    me.say(digest.finish());
    me.hear();
}

/// A role: reads to the end, and says the digest.
pub fn digests<K: Flavour>(mut me: Me) {
    let mut rx = Ring::options().open(&me.ring).unwrap().reader().unwrap();
    me.say("ready");
    me.hear();
    me.say(Digest::of(&mut rx).unwrap());
    me.hear();
}

fn a_long_stream_arrives_as_it_was_sent() {
    let mebibytes: usize =
        std::env::var("RINGPIPE_STREAM_MIB").map_or(256, |text| text.parse().expect("a number"));
    let (name, _ring) = new_pipe(1 << 18);
    let (mut writer, mut reader) = (child("makes_noise", &name), child("digests", &name));
    reader.say("go");
    let sent = writer.ask(&format!("11 {}", mebibytes << 20));
    assert!(sent.starts_with(&format!("{} ", mebibytes << 20)), "{sent}");
    reader.must_hear(&sent);
    writer.finish();
    reader.finish();
}

/// A role: "DIRECTORY" packs it into the pipe, as `tar` does.
pub fn packs<K: Flavour>(mut me: Me) {
    let mut tx = Ring::options().open(&me.ring).unwrap().writer().unwrap();
    me.say("ready");
    let directory = me.hear().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-c", "-f", "-", "-C", &directory, "."]).stdout(Stdio::piped());
    let mut tar = spawn(&mut tar);
    let packed = tx.read_from(tar.stdout.take().unwrap(), u64::MAX).unwrap();
    assert!(tar.wait().unwrap().success());
    me.say(packed);
    me.hear();
}

/// A role: "DIRECTORY" unpacks there what comes.
pub fn unpacks<K: Flavour>(mut me: Me) {
    let mut rx = Ring::options().open(&me.ring).unwrap().reader().unwrap();
    me.say("ready");
    let directory = me.hear().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-x", "-f", "-", "-C", &directory]).stdin(Stdio::piped());
    let mut tar = spawn(&mut tar);
    let unpacked = rx.write_to(tar.stdin.take().unwrap(), u64::MAX).unwrap();
    assert!(tar.wait().unwrap().success());
    me.say(unpacked);
    me.hear();
}

fn a_tree_of_files_arrives_as_it_was_packed() {
    let (name, _ring) = new_pipe(PAGE);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let directory = Directory::new();
    let (mut packer, mut unpacker) = (child("packs", &name), child("unpacks", &name));
    unpacker.say(directory.to_str().unwrap());
    let packed = packer.ask(tree.to_str().unwrap());
    packer.finish();
    unpacker.must_hear(&packed);
    unpacker.finish();
    let (original, copy) = (files(&tree, &tree), files(&directory, &directory));
    assert!(original.len() > 100);
    assert_eq!(copy, original);
}

/// The files below `at`, with their digests.
fn files(at: &Path, root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry, root));
        } else {
            let digest = Digest::of(File::open(&entry).unwrap()).unwrap();
            found.push((entry.strip_prefix(root).unwrap().to_owned(), digest));
        }
    }
    found.sort();
    found
}

/// It waits for an answer to each: so what it has said must have come before it says more.
fn the_lines_of_a_live_program_arrive_as_it_says_them() {
    let script = "while read -r line; do echo \"heard $line\"; done; echo bye";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = spawn(&mut shell);
    let (mut say, says) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
    let (mut tx, rx) = bytes::channel(PAGE).unwrap();
    let moving = std::thread::spawn(move || tx.read_from(says, u64::MAX).unwrap());
    let mut rx = Buffered::new(rx);
    for word in ["one", "two", "three"] {
        writeln!(say, "{word}").unwrap();
        let mut line = String::new();
        rx.read_line(&mut line).unwrap();
        assert_eq!(line, format!("heard {word}\n"));
    }
    drop(say);
    let mut rest = String::new();
    rx.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye\n");
    assert!(shell.wait().unwrap().success());
    assert_eq!(moving.join().unwrap(), 10 + 10 + 12 + 4);
}

fn all_that_a_program_says_arrives() {
    let mut count = Command::new("seq");
    count.args(["1", "200000"]).stdout(Stdio::piped());
    let mut count = spawn(&mut count);
    let says = count.stdout.take().unwrap();
    let (mut tx, rx) = bytes::channel(2 * PAGE).unwrap();
    let moving = std::thread::spawn(move || tx.read_from(says, u64::MAX).unwrap());
    let lines = BufReader::new(rx).lines().map(|line| line.unwrap().parse::<u64>().unwrap());
    assert!(lines.eq(1..=200_000));
    assert!(count.wait().unwrap().success());
    assert_eq!(moving.join().unwrap(), 1_288_895);
}
