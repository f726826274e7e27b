//! C7 where more than eight ends of a role sleep: eight of them keep watch for all, and whichever
//! of them is killed or stops waiting, the others learn of a peer's death.

mod support;

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use ringpipe::{Mpmc, RecvTimeoutError, WaitPolicy};
use support::{Child, Name, announce, at, new_ring, roles, tests, until};

roles!();

tests!(
    c07_eight_sleepers_or_fewer_all_keep_watch,
    c07_one_of_many_sleepers_wakes_for_each_item_whether_it_keeps_watch_or_not,
    c07_a_watcher_that_is_killed_is_replaced_and_a_peers_death_is_told_to_all,
    c07_a_peer_killed_with_the_whole_watch_is_noticed_by_those_who_sleep_long,
    c07_a_peer_killed_while_the_whole_watch_is_stopped_is_noticed_by_those_who_sleep_long,
    c07_one_that_comes_after_the_whole_watch_was_killed_keeps_watch_itself,
    c07_senders_keep_watch_as_receivers_do,
    c07_many_sleepers_learn_of_the_end_of_the_file_and_of_cancellations,
);

/// More than there are slots.
const MANY: usize = 11;
const SLOTS: usize = 8;

/// The names in the watch of a role (0: senders), and the bits of those who sleep long.
fn watch(name: &Name, role: usize) -> (Vec<u64>, u64) {
    let file = std::fs::File::open(name.path()).unwrap();
    let word = |offset: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset as u64).unwrap();
        u64::from_ne_bytes(bytes)
    };
    let slots = (0..SLOTS).map(|slot| word(at::WATCH + 128 * role + 8 * slot)).collect();
    (slots, word(at::LONG_SLEEPERS + 512 * role))
}

/// The records whose owners keep watch.
fn watchers(name: &Name, role: usize) -> Vec<usize> {
    let (slots, _) = watch(name, role);
    slots.into_iter().filter(|name| *name != 0).map(|name| (name >> 32) as usize).collect()
}

/// Puppets that sleep in a call, by their records, which begin with `first`.
struct Crowd {
    children: Vec<Option<Child>>,
    first: usize,
}

impl Crowd {
    fn asleep(name: &Name, end: &str, call: &str, first: usize, count: usize) -> Self {
        let mut children: Vec<Child> = (0..count).map(|_| Child::puppet::<Mpmc>(name)).collect();
        for child in &mut children {
            child.must("open", "Ok");
            child.must(end, "Ok");
            // With the usual interval: others do not join the watch.
            child.must("wait Park 50", "Ok");
            child.say(call);
            child.until_asleep();
        }
        Self { children: children.into_iter().map(Some).collect(), first }
    }

    fn receivers(name: &Name, first: usize, count: usize) -> Self {
        Self::asleep(name, "receiver", "recv", first, count)
    }

    fn of(&mut self, record: usize) -> &mut Option<Child> {
        &mut self.children[record - self.first]
    }

    fn take(&mut self, record: usize) -> Child {
        self.of(record).take().expect("not taken yet")
    }

    /// Those who are left all hear this.
    fn all_hear(&mut self, answer: &str) {
        for child in self.children.iter_mut().flatten() {
            child.must_hear(answer);
        }
    }
}

/// A child that sends, in record 0, and does nothing.
fn sender(name: &Name) -> Child {
    let mut tx = Child::puppet::<Mpmc>(name);
    tx.must("open", "Ok");
    tx.must("sender", "Ok");
    tx
}

/// Eight keep watch, and all others sleep long.
fn watch_is_full(name: &Name, role: usize, sleepers: u32) -> bool {
    let (_, long) = watch(name, role);
    watchers(name, role).len() == SLOTS && long.count_ones() == sleepers - SLOTS as u32
}

fn c07_eight_sleepers_or_fewer_all_keep_watch() {
    let (name, ring) = new_ring::<Mpmc>(16);
    let _tx = ring.sender().unwrap();
    let mut crowd = Crowd::receivers(&name, 1, SLOTS);
    assert_eq!(watchers(&name, 1).len(), SLOTS);
    assert_eq!(watch(&name, 1).1, 0, "nobody sleeps long");
    for slot in 1..=SLOTS {
        // One after the other leaves a hole, and the others stay.
        crowd.take(slot).kill();
    }
}

fn c07_one_of_many_sleepers_wakes_for_each_item_whether_it_keeps_watch_or_not() {
    let (name, ring) = new_ring::<Mpmc>(16);
    let mut tx = ring.sender().unwrap();
    let mut crowd = Crowd::receivers(&name, 1, MANY);
    until("a full watch", || watch_is_full(&name, 1, MANY as u32).then_some(()));
    for value in 0..MANY as u64 {
        tx.try_send(value).unwrap();
    }
    let mut heard: Vec<_> = crowd.children.iter_mut().flatten().map(Child::hear).collect();
    heard.sort_by_key(|answer| (answer.len(), answer.clone()));
    let expected: Vec<_> = (0..MANY).map(|value| format!("Ok({value})")).collect();
    assert_eq!(heard, expected);
    assert_eq!((watchers(&name, 1), watch(&name, 1).1), (vec![], 0));
}

fn c07_a_watcher_that_is_killed_is_replaced_and_a_peers_death_is_told_to_all() {
    let (name, _ring) = new_ring::<Mpmc>(16);
    let tx = sender(&name);
    let mut crowd = Crowd::receivers(&name, 1, MANY);
    until("a full watch", || watch_is_full(&name, 1, MANY as u32).then_some(()));
    // The first of them, and then one that is not: they are found by others.
    for (place, left) in [(0, MANY - 1), (5, MANY - 2)] {
        let victim = watchers(&name, 1)[place];
        crowd.take(victim).kill();
        until("another in its place", || {
            let now = watchers(&name, 1);
            (now.len() == SLOTS && !now.contains(&victim)).then_some(())
        });
        // The dead one may have left a bit.
        assert!(watch(&name, 1).1.count_ones() as usize <= left - SLOTS + 1);
    }
    tx.kill();
    crowd.all_hear("Err(Closed)");
    assert_eq!((watchers(&name, 1), watch(&name, 1).1), (vec![], 0));
}

/// How long those who are left take to learn of a peer's death.
fn noticed(crowd: &mut Crowd, tx: Child, how: &str) {
    let killed = Instant::now();
    tx.kill();
    crowd.all_hear("Err(Closed)");
    let took = killed.elapsed();
    announce(&format!("a death beside a {how} watch: noticed after {took:?}"));
    // Ten intervals are 500 ms. The rest is for a busy machine.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

fn c07_a_peer_killed_with_the_whole_watch_is_noticed_by_those_who_sleep_long() {
    let (name, _ring) = new_ring::<Mpmc>(16);
    let tx = sender(&name);
    let mut crowd = Crowd::receivers(&name, 1, MANY);
    until("a full watch", || watch_is_full(&name, 1, MANY as u32).then_some(()));
    let mut victims: Vec<_> =
        watchers(&name, 1).into_iter().map(|record| crowd.take(record)).collect();
    victims.iter_mut().for_each(Child::stop);
    victims.into_iter().for_each(Child::kill);
    noticed(&mut crowd, tx, "killed");
}

fn c07_a_peer_killed_while_the_whole_watch_is_stopped_is_noticed_by_those_who_sleep_long() {
    let (name, _ring) = new_ring::<Mpmc>(16);
    let tx = sender(&name);
    let mut crowd = Crowd::receivers(&name, 1, MANY);
    until("a full watch", || watch_is_full(&name, 1, MANY as u32).then_some(()));
    let mut stopped: Vec<_> =
        watchers(&name, 1).into_iter().map(|record| crowd.take(record)).collect();
    stopped.iter_mut().for_each(Child::stop);
    noticed(&mut crowd, tx, "stopped");
    for mut child in stopped {
        child.signal(rustix::process::Signal::CONT);
        child.must_hear("Err(Closed)");
    }
}

fn c07_one_that_comes_after_the_whole_watch_was_killed_keeps_watch_itself() {
    let (name, ring) = new_ring::<Mpmc>(16);
    let _tx = ring.sender().unwrap();
    let mut crowd = Crowd::receivers(&name, 1, SLOTS);
    let mut victims: Vec<_> = (1..=SLOTS).map(|record| crowd.take(record)).collect();
    victims.iter_mut().for_each(Child::stop); // nobody clears anybody away
    victims.into_iter().for_each(Child::kill);
    let dead = watch(&name, 1).0;
    assert!(!dead.contains(&0));
    let mut newcomer = Crowd::receivers(&name, SLOTS + 1, 1);
    // It has the first one's place, and at its first check it clears the others away.
    until("nobody but the newcomer", || {
        let (slots, long) = watch(&name, 1);
        let newcomer = (slots[0] >> 32) as usize == SLOTS + 1;
        (newcomer && slots[1..] == [0; SLOTS - 1] && long == 0).then_some(())
    });
    newcomer.take(SLOTS + 1).kill();
}

fn c07_senders_keep_watch_as_receivers_do() {
    let (name, ring) = new_ring::<Mpmc>(1);
    let mut rx = Child::puppet::<Mpmc>(&name);
    rx.must("open", "Ok");
    rx.must("receiver", "Ok");
    let mut tx = ring.sender().unwrap();
    tx.try_send(7).unwrap();
    let mut crowd = Crowd::asleep(&name, "sender", "send 8", 2, MANY);
    until("a full watch", || watch_is_full(&name, 0, MANY as u32).then_some(()));
    let victim = watchers(&name, 0)[0];
    crowd.take(victim).kill();
    until("another in its place", || {
        let now = watchers(&name, 0);
        (now.len() == SLOTS && !now.contains(&victim)).then_some(())
    });
    rx.kill();
    crowd.all_hear("Err(Closed(8))");
    assert_eq!((watchers(&name, 0), watch(&name, 0).1), (vec![], 0));
}

fn c07_many_sleepers_learn_of_the_end_of_the_file_and_of_cancellations() {
    let (name, ring) = new_ring::<Mpmc>(16);
    let tx = ring.sender().unwrap();
    let mut crowd = Crowd::receivers(&name, 1, MANY);
    until("a full watch", || watch_is_full(&name, 1, MANY as u32).then_some(()));
    // One of this process, which sleeps long, is cancelled; one times out; the others sleep on.
    let mut rx = ring.receiver().unwrap();
    rx.set_wait_policy(WaitPolicy::Park);
    assert_eq!(rx.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    assert!(watch_is_full(&name, 1, MANY as u32), "it has left no bit");
    rx.canceller().cancel();
    assert_eq!(rx.recv_timeout(Duration::from_secs(60)), Err(RecvTimeoutError::Cancelled));
    assert!(watch_is_full(&name, 1, MANY as u32));
    drop(tx);
    crowd.all_hear("Err(Closed)");
    assert_eq!((watchers(&name, 1), watch(&name, 1).1), (vec![], 0));
}
