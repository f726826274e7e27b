//! Leaving a file-backed ring: of several that leave, one is the last, and it says "clean" when
//! nobody else is in the ring and all of it is on the disk.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use super::support::{check, check_bounded};
use crate::shm::last::{Closed, Leave, leave};

/// How somebody holds BIRTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Shared,
    Exclusive,
}

/// A ring's file: the kernel's list of locks, what is in memory and on the disk. Each access is
/// one system call, or one store of many.
#[derive(Default)]
struct File {
    births: [Option<Lock>; 3],
    memory: u64,
    disk: u64,
    clean: bool,
}

impl File {
    fn others(&self, me: usize) -> impl Iterator<Item = Lock> {
        (0..3).filter(move |&other| other != me).filter_map(|other| self.births[other])
    }
}

#[derive(Clone)]
struct Process {
    me: usize,
    file: Arc<Mutex<File>>,
}

impl Process {
    /// Opens the ring, unless somebody has it alone. (That one is through soon; to ask again
    /// would be another execution like this one.)
    fn opens(&self) -> bool {
        let mut file = self.file.lock().unwrap();
        if file.others(self.me).any(|lock| lock == Lock::Exclusive) {
            return false;
        }
        file.births[self.me] = Some(Lock::Shared);
        file.clean = false;
        true
    }

    fn stores(&self) {
        self.file.lock().unwrap().memory += 1;
    }
}

impl Leave for Process {
    type Error = ();

    fn let_go(&mut self) -> Result<(), ()> {
        self.file.lock().unwrap().births[self.me] = None;
        Ok(())
    }

    fn lock_alone(&mut self) -> Result<bool, ()> {
        let mut file = self.file.lock().unwrap();
        let free = file.others(self.me).next().is_none();
        if free {
            file.births[self.me] = Some(Lock::Exclusive);
        }
        Ok(free)
    }

    fn lock_beside_others(&mut self) -> Result<(), ()> {
        self.file.lock().unwrap().births[self.me] = Some(Lock::Shared);
        Ok(())
    }

    fn write_back(&mut self) -> Result<(), ()> {
        let mut file = self.file.lock().unwrap();
        file.disk = file.memory;
        Ok(())
    }

    fn mark_clean(&mut self) -> Result<(), ()> {
        let mut file = self.file.lock().unwrap();
        assert_eq!(file.births[self.me], Some(Lock::Exclusive));
        assert_eq!(file.others(self.me).next(), None, "somebody is in the ring");
        assert_eq!(file.disk, file.memory, "not all of it is on the disk");
        file.clean = true;
        Ok(())
    }
}

/// So many processes that have the ring open.
fn processes(open: usize) -> [Process; 3] {
    let file = Arc::new(Mutex::new(File::default()));
    let all = [0, 1, 2].map(|me| Process { me, file: file.clone() });
    for process in &all[..open] {
        assert!(process.opens());
    }
    all
}

fn assert_clean(process: &Process) {
    let file = process.file.lock().unwrap();
    assert!(file.clean, "all have left, and nobody was the last");
    assert_eq!((file.births, file.disk), ([None; 3], file.memory));
}

#[test]
fn of_two_that_leave_at_once_one_is_the_last() {
    check("last, two leave", None, || {
        let [mut one, mut other, _] = processes(2);
        let file = one.clone();
        let there = thread::spawn(move || {
            one.stores();
            leave(&mut one)
        });
        other.stores();
        let here = leave(&mut other);
        let outcomes = [here, there.join().unwrap()];
        assert!(outcomes.contains(&Ok(Closed::Clean)), "{outcomes:?}");
        assert_clean(&file);
    });
}

#[test]
fn who_opens_and_leaves_while_the_last_one_leaves_is_the_last_or_lets_it_be() {
    check("last, one comes", None, || {
        let [mut last, mut visitor, _] = processes(1);
        let file = last.clone();
        let there = thread::spawn(move || {
            last.stores();
            leave(&mut last)
        });
        if visitor.opens() {
            visitor.stores();
            leave(&mut visitor).unwrap();
        }
        there.join().unwrap().unwrap();
        assert_clean(&file);
    });
}

#[test]
fn of_two_that_leave_and_one_that_comes_one_is_the_last() {
    check_bounded("last, two leave and one comes", 3, || {
        let [mut one, mut other, mut visitor] = processes(2);
        let file = one.clone();
        let first = thread::spawn(move || leave(&mut one));
        let second = thread::spawn(move || {
            other.stores();
            leave(&mut other)
        });
        if visitor.opens() {
            visitor.stores();
            leave(&mut visitor).unwrap();
        }
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
        assert_clean(&file);
    });
}

#[test]
fn who_opens_and_stays_while_the_last_one_leaves_keeps_it_open() {
    check("last, one stays", None, || {
        let [mut last, visitor, _] = processes(1);
        let there = thread::spawn(move || leave(&mut last));
        let stays = visitor.opens();
        visitor.file.lock().unwrap().memory += u64::from(stays);
        there.join().unwrap().unwrap();
        let file = visitor.file.lock().unwrap();
        assert!(file.clean != stays);
    });
}
