//! Rings without a name that a parent passes on to the program that it starts.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use ringpipe::bytes::{self, Duplex};
use ringpipe::messages::mpmc as messages;
use ringpipe::{OpenError, PassRing, Spsc, mpmc, spsc};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Child, Flavour, Me, Name};

support::tests![
    a_parent_and_a_child_talk_both_ways,
    any_kind_of_ring_can_be_passed_on_and_several_of_them,
    a_ring_was_passed_to_that_program_alone,
    what_the_program_has_opened_itself_was_not_passed_on,
    what_cannot_be_passed_on_is_refused,
    of_two_pipes_both_are_passed_on_or_none,
];
support::roles![answers, takes, has_none, owns, has_few_descriptors];

fn child(role: &str, prepare: impl FnOnce(&mut Command)) -> Child {
    Child::start_prepared::<Spsc>(&[], role, "", prepare)
}

fn a_parent_and_a_child_talk_both_ways() {
    let mut here = None;
    let child = child("answers", |command| here = Some(command.pass_duplex("talk").unwrap()));
    let mut here = here.unwrap();
    here.write_all(b"as much as you like").unwrap();
    let (tx, mut rx) = here.into_parts();
    drop(tx);
    let mut answer = String::new();
    rx.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "AS MUCH AS YOU LIKE");
    child.finish();
}

fn answers<K: Flavour>(mut me: Me) {
    let mut there = Duplex::from_env("talk").unwrap();
    let mut question = String::new();
    there.read_to_string(&mut question).unwrap();
    there.write_all(question.to_uppercase().as_bytes()).unwrap();
    drop(there);
    assert_eq!(me.hear(), None);
}

fn any_kind_of_ring_can_be_passed_on_and_several_of_them() {
    let values = spsc::Ring::<u64>::options().create_anonymous().unwrap();
    let jobs = mpmc::Ring::<[u8; 3]>::options().create_anonymous().unwrap();
    let said = messages::Ring::options().create_anonymous().unwrap();
    let mut child = child("takes", |command| {
        command.pass_ring("values", &values).unwrap().pass_ring("jobs", &jobs).unwrap();
        command.pass_ring("said", &said).unwrap();
    });
    let (mut tx, mut rx) = (values.producer().unwrap(), jobs.receiver().unwrap());
    tx.send(41).unwrap();
    assert_eq!(rx.recv(), Ok([42, 0, 0]));
    assert_eq!(child.ask("kind"), "MPMC message");
    child.finish();
}

fn takes<K: Flavour>(mut me: Me) {
    let values = spsc::Ring::<u64>::options().from_env("values").unwrap();
    let jobs = mpmc::Ring::<[u8; 3]>::options().from_env("jobs").unwrap();
    let said = messages::Ring::options().from_env("said").unwrap();
    let value = values.consumer().unwrap().recv().unwrap();
    jobs.sender().unwrap().send([value as u8 + 1, 0, 0]).unwrap();
    while me.hear().is_some() {
        let debug = format!("{said:?}");
        me.say(debug.split('"').nth(1).unwrap());
    }
}

/// Not to the next one that is started, to which the environment goes; nor twice to the same.
fn a_ring_was_passed_to_that_program_alone() {
    let ring = bytes::Ring::options().create_anonymous().unwrap();
    let mut first = child("has_none", |command| {
        command.pass_ring("pipe", &ring).unwrap();
    });
    assert_eq!(first.ask("opens"), "a ring");
    assert_eq!(first.ask("opens"), "none");
    assert_eq!(first.ask("starts another"), "none");
    first.finish();
    // Without the environment, and with one that speaks of another file.
    let mut other = child("has_none", |_| {});
    assert_eq!(other.ask("opens"), "none");
    other.finish();
    let mut liar = child("has_none", |command| {
        command.env("RINGPIPE_PASSED", "pipe=3:1:1,pipe=,=,pipe=4,pipe");
    });
    assert_eq!(liar.ask("opens"), "none");
    liar.finish();
}

fn has_none<K: Flavour>(mut me: Me) {
    let mut kept = Vec::new();
    while let Some(command) = me.hear() {
        if command == "starts another" {
            let mut other = Child::start::<Spsc>("has_none", "");
            me.say(other.ask("opens"));
            other.finish();
            continue;
        }
        match bytes::Ring::options().from_env("pipe") {
            Ok(ring) => {
                kept.push(ring);
                me.say("a ring");
            }
            Err(OpenError::NotFound { .. }) => me.say("none"),
            Err(e) => me.say(e),
        }
    }
}

/// Whatever the environment says: it would have two owners, of which each closes it.
fn what_the_program_has_opened_itself_was_not_passed_on() {
    child("owns", |_| {}).finish();
}

fn owns<K: Flavour>(mut me: Me) {
    let ring = bytes::Ring::options().create_anonymous().unwrap();
    let mine = ring.as_fd().try_clone_to_owned().unwrap();
    let (number, stat) = (mine.as_raw_fd(), rustix::fs::fstat(&mine).unwrap());
    let list = format!("pipe={number}:{}:{}", stat.st_dev, stat.st_ino);
    // SAFETY: nobody else asks for the environment meanwhile.
    unsafe { std::env::set_var("RINGPIPE_PASSED", list) };
    let taken = bytes::Ring::options().from_env("pipe");
    assert!(matches!(taken, Err(OpenError::NotFound { .. })), "{taken:?}");
    drop(taken);
    assert_eq!(rustix::fs::fstat(&mine).unwrap().st_ino, stat.st_ino);
    assert_eq!(me.hear(), None);
}

fn what_cannot_be_passed_on_is_refused() {
    let mut command = Command::new("true");
    let name = Name::new();
    let named = bytes::Ring::options().create(&name).unwrap();
    let refused = command.pass_ring("pipe", &named).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let ring = bytes::Ring::options().create_anonymous().unwrap();
    for name in ["", "a=b", "a,b", "a\0b"] {
        let refused = command.pass_ring(name, &ring).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    assert!(command.get_envs().next().is_none());
    // The program would get the first of two, whatever was passed on last.
    command.pass_ring("pipe", &ring).unwrap().pass_ring("pip", &ring).unwrap();
    let twice = command.pass_ring("pipe", &ring).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::InvalidInput);
    command.pass_duplex("talk").unwrap();
    assert!(command.pass_duplex("talk").is_err());
}

/// The program would find half of it, and whoever tries again its own first half.
fn of_two_pipes_both_are_passed_on_or_none() {
    for taken in ["talk.out", "talk.back"] {
        let mut command = Command::new("true");
        let ring = bytes::Ring::options().create_anonymous().unwrap();
        command.pass_ring(taken, &ring).unwrap();
        let list = |command: &Command| {
            let (_, list) = command.get_envs().next().unwrap();
            list.unwrap().to_owned()
        };
        let before = list(&command);
        let refused = command.pass_duplex("talk").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(list(&command), before, "{taken} is taken");
    }
    // Nor if there are too many open files for the second.
    let mut child = child("has_few_descriptors", |_| {});
    child.must("go", "Ok");
    child.finish();
}

fn has_few_descriptors<K: Flavour>(mut me: Me) {
    assert_eq!(me.hear().as_deref(), Some("go"));
    let all = getrlimit(Resource::Nofile);
    let mut command = Command::new("true");
    // One more each time: sooner or later it is the second half for which there is none.
    let (duplex, needed) = (0..)
        .find_map(|current| {
            setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..all }).unwrap();
            let passed = command.pass_duplex("talk");
            let none = command.get_envs().next().is_none();
            assert_eq!(none, passed.is_err(), "with {current} descriptors: {passed:?}");
            Some((passed.ok()?, current))
        })
        .unwrap();
    setrlimit(Resource::Nofile, all).unwrap();
    drop(duplex);
    assert!(needed >= 3 + 4, "two rings, and two that are passed on, above the standard streams");
    me.say("Ok");
    assert_eq!(me.hear(), None);
}
