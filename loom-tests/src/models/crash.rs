//! MPMC: an end dies between any two of its steps, and the others go on.
//!
//! A victim does a deed, and is killed at some point of it or, at the latest, after it (`death`).
//! The models differ in who is about when it dies, and in who recovers. The books are in `ledger`.

use loom::thread;

use super::death::{check_deaths, until_death};
use super::ledger::{Ledger, receive, send, settle_accounts};
use super::support::{Ring, Rx, Tx};
use crate::peers::table::Role;
use crate::pipe::End as _;
use crate::ring::{Kind, Mpmc, MpmcMessages};
use crate::sync::Ordering::Relaxed;

/// What an end does in a model.
#[derive(Clone, Copy)]
enum Deed {
    /// Claims as many slots as there are values, and publishes so many of them. Messages: one, of as
    /// many granules.
    Send { values: &'static [u64], publish: usize },
    /// Claims so many items, and releases so many of them.
    Receive { max: u64, release: u64 },
}
use Deed::{Receive, Send};

impl Deed {
    fn role(self) -> Role {
        match self {
            Send { .. } => Role::Sender,
            Receive { .. } => Role::Receiver,
        }
    }

    /// What a live end of the same role does meanwhile.
    fn beside(self) -> Self {
        match self {
            Send { .. } => Send { values: &[20], publish: 1 },
            Receive { .. } => Receive { max: 1, release: 1 },
        }
    }
}

/// A deed, and the ring in which it is done.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    capacity: usize,
    /// Slots used up before: where in the ring it begins.
    used: usize,
    /// What is in the ring, as it was sent: 0 is a hole.
    filled: &'static [&'static [u64]],
    deed: Deed,
}

const SEND: Case = Case {
    name: "send",
    capacity: 2,
    used: 0,
    filled: &[],
    deed: Send { values: &[10], publish: 1 },
};
const SEND_BATCH: Case = Case {
    name: "send batch",
    capacity: 2,
    used: 1,
    filled: &[],
    deed: Send { values: &[10, 11], publish: 2 },
};
const SEND_PART: Case = Case {
    name: "send part",
    capacity: 2,
    used: 0,
    filled: &[],
    deed: Send { values: &[10, 11], publish: 1 },
};
const ABANDON: Case = Case {
    name: "abandon",
    capacity: 2,
    used: 0,
    filled: &[],
    deed: Send { values: &[10], publish: 0 },
};
const SEND_FULL: Case = Case {
    name: "send, full",
    capacity: 2,
    used: 0,
    filled: &[&[1], &[2]],
    deed: Send { values: &[10], publish: 1 },
};
const RECV: Case = Case {
    name: "recv",
    capacity: 2,
    used: 0,
    filled: &[&[1], &[2]],
    deed: Receive { max: 1, release: 1 },
};
const RECV_BATCH: Case = Case {
    name: "recv batch",
    capacity: 2,
    used: 1,
    filled: &[&[1], &[2]],
    deed: Receive { max: 2, release: 2 },
};
const RECV_PART: Case = Case {
    name: "recv part",
    capacity: 2,
    used: 0,
    filled: &[&[1], &[2]],
    deed: Receive { max: 2, release: 1 },
};
const RECV_HOLE: Case = Case {
    name: "recv, hole",
    capacity: 2,
    used: 0,
    filled: &[&[0], &[1]],
    deed: Receive { max: 1, release: 1 },
};
const RECV_HOLES: Case = Case {
    name: "recv, holes",
    capacity: 2,
    used: 0,
    filled: &[&[0], &[0]],
    deed: Receive { max: 1, release: 1 },
};
const RECV_EMPTY: Case = Case {
    name: "recv, empty",
    capacity: 2,
    used: 0,
    filled: &[],
    deed: Receive { max: 1, release: 1 },
};

/// The records.
const VICTIM: usize = 0;
const NEIGHBOUR: usize = 1;
const RX: usize = 2;
const TX: usize = 3;
const RECOVERER: usize = 4;

enum End<K: Kind> {
    Sending(Tx<K>),
    Receiving(Rx<K>),
}

impl<K: Kind> End<K> {
    fn attach(ring: &Ring<K>, role: Role, record: usize) -> Self {
        match role {
            Role::Sender => Self::Sending(ring.sender(record)),
            Role::Receiver => Self::Receiving(ring.receiver(record)),
        }
    }

    fn perform(&mut self, deed: Deed, book: &mut Ledger) {
        match (self, deed) {
            (Self::Sending(tx), Send { values, publish }) => {
                send(tx, values, publish, book);
            }
            (Self::Receiving(rx), Receive { max, release }) => {
                receive(rx, max, release, book);
            }
            _ => unreachable!("no deed for this end"),
        }
    }
}

/// A ring, and the two that see to the end of the model.
struct Scene<K: Kind> {
    ring: Ring<K>,
    tx: Tx<K>,
    rx: Rx<K>,
    book: Ledger,
}

impl<K: Kind> Scene<K> {
    fn new(case: Case, ring: Ring<K>) -> Self {
        let (mut tx, mut rx) = (ring.sender(TX), ring.receiver(RX));
        let mut book = Ledger::default();
        for _ in 0..case.used {
            send(&mut tx, &[90], 1, &mut book);
            receive(&mut rx, 1, 1, &mut book);
        }
        for &values in case.filled {
            let publish = if values[0] == 0 { 0 } else { values.len() };
            send(&mut tx, values, publish, &mut book);
        }
        Self { ring, tx, rx, book }
    }

    /// An end that will do its deed and die of it, or after it. If it is the last to attach, it
    /// finds nothing changed since it has looked around, and claims at once.
    fn victim(&self, deed: Deed) -> impl FnOnce() -> Ledger + use<K> {
        self.victim_in(VICTIM, deed)
    }

    fn victim_in(&self, record: usize, deed: Deed) -> impl FnOnce() -> Ledger + use<K> {
        let ring = self.ring.clone();
        let role = deed.role();
        let mut end = End::attach(&ring, role, record);
        if let End::Sending(tx) = &mut end {
            tx.look_around();
        }
        move || {
            let mut book = Ledger::default();
            let locks = &ring.locks;
            let died =
                until_death("victim", locks, (role, record), || end.perform(deed, &mut book));
            let book = book.of_the_dead(died);
            match &mut end {
                End::Sending(_) => book,
                End::Receiving(rx) => book.with_claim_of(rx),
            }
        }
    }

    /// An end that does its deed and lives on.
    fn neighbour(&self, deed: Deed) -> impl FnOnce() -> Ledger + use<K> {
        let mut end = End::attach(&self.ring, deed.role(), NEIGHBOUR);
        move || {
            let mut book = Ledger::default();
            end.perform(deed, &mut book);
            book
        }
    }

    fn settle(self, books: impl IntoIterator<Item = Ledger>) {
        settle_accounts(self.tx, self.rx, books.into_iter().chain([self.book]));
    }
}

/// The victim and another of its kind are at it; when the victim is dead, the receiver recovers,
/// and the other may still be anywhere in its call: a live end is not robbed, however slow.
fn beside_a_live_one<K: Kind>(case: Case) {
    beside_a_live_one_in(Ring::<K>::new(case.capacity, 4), case);
}

/// The same where what dead receivers had not released is dropped.
fn dropping_beside_a_live_one<K: Kind>(case: Case) {
    beside_a_live_one_in(Ring::<K>::dropping(case.capacity, 4), case);
}

fn beside_a_live_one_in<K: Kind>(ring: Ring<K>, case: Case) {
    let mut scene = Scene::new(case, ring);
    // Before, or meanwhile: then the victim has a reason to look who is there.
    let neighbour = loom::choose().then(|| scene.neighbour(case.deed.beside()));
    let victim = thread::spawn(scene.victim(case.deed));
    let neighbour = neighbour.unwrap_or_else(|| scene.neighbour(case.deed.beside()));
    let neighbour = thread::spawn(neighbour);
    let victim = victim.join().unwrap();
    scene.rx.end.check_liveness(&*scene.ring.locks);
    receive(&mut scene.rx, 1, 1, &mut scene.book);
    let neighbour = neighbour.join().unwrap();
    scene.settle([victim, neighbour]);
}

/// The victim is dead; a sender and a receiver find out at the same time, while another is in
/// mid-call.
fn two_recover<K: Kind>(case: Case) {
    let mut scene = Scene::new(case, Ring::<K>::new(case.capacity, 4));
    let neighbour = scene.neighbour(case.deed.beside());
    let victim = scene.victim(case.deed)();
    let neighbour = thread::spawn(neighbour);
    let mut tx = scene.tx;
    let sender = thread::spawn(move || {
        tx.end.check_liveness(&*tx.ring.locks);
        tx
    });
    scene.rx.end.check_liveness(&*scene.ring.locks);
    receive(&mut scene.rx, 1, 1, &mut scene.book);
    let tx = sender.join().unwrap();
    let neighbour = neighbour.join().unwrap();
    Scene { tx, ..scene }.settle([victim, neighbour]);
}

/// The victim is dead; whoever recovers is killed, too, while another is in mid-call.
fn recoverer_dies<K: Kind>(case: Case) {
    recoverer_dies_in(Ring::<K>::new(case.capacity, 5), case);
}

/// The same where what dead receivers had not released is dropped.
fn dropping_recoverer_dies<K: Kind>(case: Case) {
    recoverer_dies_in(Ring::<K>::dropping(case.capacity, 5), case);
}

fn recoverer_dies_in<K: Kind>(ring: Ring<K>, case: Case) {
    let scene = Scene::new(case, ring);
    let neighbour = scene.neighbour(case.deed.beside());
    let mut rx = scene.ring.receiver(RECOVERER);
    let victim = scene.victim(case.deed)();
    let recoverer = thread::spawn(move || {
        let mut book = Ledger::default();
        let locks = rx.ring.locks.clone();
        let died = until_death("recoverer", &locks, (Role::Receiver, RECOVERER), || {
            rx.end.check_liveness(&*locks);
            receive(&mut rx, 1, 1, &mut book);
        });
        book.of_the_dead(died).with_claim_of(&mut rx)
    });
    let neighbour = neighbour();
    let recoverer = recoverer.join().unwrap();
    scene.settle([victim, neighbour, recoverer]);
}

/// The same where nothing is delivered more than twice.
fn limited_recoverer_dies<K: Kind>(case: Case) {
    recoverer_dies_in(Ring::<K>::limited(case.capacity, 5, 2), case);
}

/// The victim is dead, and two adopt after it, one after the other; each is killed at some point of
/// that, at the latest when it has been shown the first of the items.
fn adopters_die_in<K: Kind>(ring: Ring<K>, case: Case) {
    let mut scene = Scene::new(case, ring);
    let mut adopters = [scene.ring.receiver(RECOVERER), scene.ring.receiver(RECOVERER + 1)];
    let mut books = vec![scene.victim(case.deed)()];
    for rx in &mut adopters {
        let record = rx.end.me.record();
        let mut book = Ledger::default();
        let locks = rx.ring.locks.clone();
        let died = until_death("adopter", &locks, (Role::Receiver, record), || {
            rx.end.check_liveness(&*locks);
            receive(rx, 2, 0, &mut book);
        });
        books.push(book.of_the_dead(died).with_claim_of(rx));
    }
    scene.rx.end.check_liveness(&*scene.ring.locks);
    scene.settle(books);
}

fn adopters_die<K: Kind>(case: Case) {
    adopters_die_in(Ring::<K>::new(case.capacity, 6), case);
}

/// The same where nothing is delivered more than three times.
fn limited_adopters_die<K: Kind>(case: Case) {
    adopters_die_in(Ring::<K>::limited(case.capacity, 6, 3), case);
}

/// The same, and the one who recovers and is killed is a sender, who cannot take over what a
/// receiver had claimed.
fn sending_recoverer_dies<K: Kind>(case: Case) {
    let scene = Scene::new(case, Ring::<K>::new(case.capacity, 5));
    let neighbour = scene.neighbour(case.deed.beside());
    let mut tx = scene.ring.sender(RECOVERER);
    let victim = scene.victim(case.deed)();
    let recoverer = thread::spawn(move || {
        let mut book = Ledger::default();
        let locks = tx.ring.locks.clone();
        let died = until_death("recoverer", &locks, (Role::Sender, RECOVERER), || {
            tx.end.check_liveness(&*locks);
            send(&mut tx, &[30], 1, &mut book);
        });
        book.of_the_dead(died)
    });
    let neighbour = neighbour();
    let recoverer = recoverer.join().unwrap();
    scene.settle([victim, neighbour, recoverer]);
}

/// The victim is dead and all records are taken; a newcomer wants its record, goes to work, and is
/// killed at some point of either, while a receiver finds out and does its own work.
fn newcomer_dies<K: Kind>(case: Case, role: Role) {
    let mut scene = Scene::new(case, Ring::<K>::new(case.capacity, 4));
    let neighbour = End::attach(&scene.ring, case.deed.role(), NEIGHBOUR);
    let victim = scene.victim(case.deed)();
    let ring = scene.ring.clone();
    let newcomer = thread::spawn(move || {
        let mut book = Ledger::default();
        let mut end = None;
        let died = until_death("newcomer", &ring.locks, (role, VICTIM), || {
            end = match role {
                Role::Sender => ring.new_sender().map(End::<K>::Sending),
                Role::Receiver => ring.new_receiver().map(End::Receiving),
            };
            match (&mut end, role) {
                (None, _) => {}
                (Some(end), Role::Sender) => end.perform(SEND.deed.beside(), &mut book),
                (Some(end), Role::Receiver) => end.perform(RECV_BATCH.deed, &mut book),
            }
        });
        let book = book.of_the_dead(died);
        match &mut end {
            Some(End::Receiving(rx)) => book.with_claim_of(rx),
            _ => book,
        }
    });
    scene.rx.end.check_liveness(&*scene.ring.locks);
    receive(&mut scene.rx, 1, 1, &mut scene.book);
    let newcomer = newcomer.join().unwrap();
    let ring = scene.ring.clone();
    scene.settle([victim, newcomer]);
    assert!(ring.new_sender().is_some(), "the record can be had");
    drop(neighbour);
}

/// The victim's claim is abandoned, and all records are taken: a newcomer visits and succeeds to
/// the record, while a receiver recovers, too, and is killed.
fn recoverer_dies_beside_a_successor<K: Kind>(case: Case) {
    let mut scene = Scene::new(case, Ring::<K>::new(case.capacity, 4));
    let mut rx = scene.ring.receiver(NEIGHBOUR);
    let victim = scene.victim(case.deed)();
    scene.tx.end.check_liveness(&*scene.ring.locks); // a sender adopts nothing
    let recoverer = thread::spawn(move || {
        let mut book = Ledger::default();
        let locks = rx.ring.locks.clone();
        let died = until_death("recoverer", &locks, (Role::Receiver, NEIGHBOUR), || {
            rx.end.check_liveness(&*locks);
            receive(&mut rx, 1, 1, &mut book);
        });
        book.of_the_dead(died).with_claim_of(&mut rx)
    });
    let mut book = Ledger::default();
    if let Some(mut newcomer) = scene.ring.new_receiver() {
        receive(&mut newcomer, 2, 2, &mut book);
        newcomer.leave();
    }
    let recoverer = recoverer.join().unwrap();
    scene.settle([victim, recoverer, book]);
}

/// The victim is dead, and so is another, whose intent is that of a granule of the victim's message,
/// and is settled first: of two that adopt what there is, neither gets a part of it.
fn beside_an_old_intent<K: Kind>(case: Case) {
    let mut scene = Scene::new(case, Ring::<K>::new(case.capacity, 5));
    let old = scene.ring.receiver(VICTIM);
    let mut rx = scene.ring.receiver(RECOVERER);
    let granule = case.used as u64 + u64::from(loom::choose());
    let victim = scene.victim_in(NEIGHBOUR, case.deed)();
    scene.ring.words.records[VICTIM].intent.store(1 << 40 | granule, Relaxed);
    old.die();
    rx.end.check_liveness(&*scene.ring.locks);
    scene.rx.end.check_liveness(&*scene.ring.locks);
    let mut book = Ledger::default();
    // All that it has adopted: it lives, so nobody else will.
    while receive(&mut rx, 1, 1, &mut book) > 0 && rx.end.held() > 0 {}
    scene.settle([victim, book]);
}

fn new_sender<K: Kind>(case: Case) {
    newcomer_dies::<K>(case, Role::Sender);
}

fn new_receiver<K: Kind>(case: Case) {
    newcomer_dies::<K>(case, Role::Receiver);
}

macro_rules! deaths {
    ($kind:ident: $($test:ident: $model:ident($case:ident), $bound:literal;)*) => {
        $(#[test]
        fn $test() {
            let name = concat!("crash, ", stringify!($model)).replace('_', " ");
            let name = format!("{name}, {}", $case.name);
            check_deaths(&name, $bound, || $model::<$kind>($case));
        })*
    };
}

deaths! { Mpmc:
    sender_killed_in_send_beside_a_live_one: beside_a_live_one(SEND), 1;
    sender_killed_in_batch_beside_a_live_one: beside_a_live_one(SEND_BATCH), 1;
    sender_killed_in_partial_commit_beside_a_live_one: beside_a_live_one(SEND_PART), 1;
    sender_killed_in_abandoning_beside_a_live_one: beside_a_live_one(ABANDON), 1;
    sender_killed_at_a_full_ring_beside_a_live_one: beside_a_live_one(SEND_FULL), 1;
    receiver_killed_in_recv_beside_a_live_one: beside_a_live_one(RECV), 1;
    receiver_killed_in_batch_beside_a_live_one: beside_a_live_one(RECV_BATCH), 1;
    receiver_killed_in_partial_release_beside_a_live_one: beside_a_live_one(RECV_PART), 1;
    receiver_killed_in_passing_over_a_hole_beside_a_live_one: beside_a_live_one(RECV_HOLE), 1;
    receiver_killed_in_passing_over_holes_beside_a_live_one: beside_a_live_one(RECV_HOLES), 1;
    receiver_killed_at_an_empty_ring_beside_a_live_one: beside_a_live_one(RECV_EMPTY), 1;

    two_recover_from_a_sender_killed_in_partial_commit: two_recover(SEND_PART), 1;
    two_recover_from_a_receiver_killed_in_batch: two_recover(RECV_BATCH), 1;
    two_recover_from_a_receiver_killed_in_passing_over_a_hole: two_recover(RECV_HOLE), 1;

    recoverer_killed_after_a_sender_in_send: recoverer_dies(SEND), 1;
    recoverer_killed_after_a_sender_in_batch: recoverer_dies(SEND_BATCH), 1;
    recoverer_killed_after_a_sender_in_partial_commit: recoverer_dies(SEND_PART), 1;
    recoverer_killed_after_a_receiver_in_recv: recoverer_dies(RECV), 1;
    recoverer_killed_after_a_receiver_in_batch: recoverer_dies(RECV_BATCH), 1;
    recoverer_killed_after_a_receiver_in_partial_release: recoverer_dies(RECV_PART), 1;
    recoverer_killed_after_a_receiver_in_passing_over_a_hole: recoverer_dies(RECV_HOLE), 1;
    sending_recoverer_killed_after_a_sender_in_batch: sending_recoverer_dies(SEND_BATCH), 1;
    sending_recoverer_killed_after_a_receiver_in_batch: sending_recoverer_dies(RECV_BATCH), 1;

    dropping_ring_loses_what_a_receiver_killed_in_batch_held: dropping_beside_a_live_one(RECV_BATCH), 1;
    dropping_ring_loses_what_a_receiver_killed_in_partial_release_held:
        dropping_beside_a_live_one(RECV_PART), 1;
    dropping_ring_passes_over_the_hole_that_a_killed_receiver_held:
        dropping_beside_a_live_one(RECV_HOLE), 1;
    recoverer_killed_in_dropping_a_batch: dropping_recoverer_dies(RECV_BATCH), 1;

    recoverer_killed_in_dropping_an_item_delivered_twice: limited_recoverer_dies(RECV_BATCH), 1;
    adopters_killed_one_after_the_other_are_counted: adopters_die(RECV_BATCH), 0;
    adopters_killed_one_after_the_other_across_a_hole_are_counted: adopters_die(RECV_HOLE), 0;
    adopters_killed_one_after_the_other_exhaust_an_item: limited_adopters_die(RECV_BATCH), 0;
    recoverer_killed_beside_a_successor_to_a_receiver_in_batch:
        recoverer_dies_beside_a_successor(RECV_BATCH), 1;
    recoverer_killed_beside_a_successor_to_a_receiver_in_partial_release:
        recoverer_dies_beside_a_successor(RECV_PART), 1;

    new_sender_killed_after_a_sender_in_batch: new_sender(SEND_BATCH), 1;
    new_receiver_killed_after_a_receiver_in_batch: new_receiver(RECV_BATCH), 1;
}

const MESSAGE_PART: Case = Case {
    name: "message of which a part was used",
    capacity: 4,
    used: 1,
    filled: &[],
    deed: Send { values: &[10, 11, 12], publish: 2 },
};
const RECV_MESSAGE: Case = Case {
    name: "recv message",
    capacity: 4,
    used: 3,
    filled: &[&[1, 2], &[3]],
    deed: Receive { max: 1, release: 1 },
};
const RECV_MESSAGES: Case = Case {
    name: "recv messages",
    capacity: 4,
    used: 1,
    filled: &[&[1, 2], &[3, 4]],
    deed: Receive { max: 2, release: 2 },
};
const RECV_MESSAGES_PART: Case = Case {
    name: "recv messages in part",
    capacity: 4,
    used: 1,
    filled: &[&[1, 2], &[3, 4]],
    deed: Receive { max: 2, release: 1 },
};

deaths! { MpmcMessages:
    sender_killed_in_a_shorter_message_beside_a_live_one: beside_a_live_one(MESSAGE_PART), 1;
    receiver_killed_over_a_message_beside_a_live_one: beside_a_live_one(RECV_MESSAGE), 1;
    receiver_killed_over_messages_released_in_part: beside_a_live_one(RECV_MESSAGES_PART), 1;
    receiver_killed_over_a_message_beside_an_old_intent: beside_an_old_intent(RECV_MESSAGE), 0;
    receiver_killed_over_messages_beside_an_old_intent: beside_an_old_intent(RECV_MESSAGES), 0;

    recoverer_killed_after_a_sender_in_a_message: recoverer_dies(MESSAGE_PART), 1;
    recoverer_killed_after_a_receiver_of_messages: recoverer_dies(RECV_MESSAGES), 1;
    recoverer_killed_after_a_receiver_of_messages_released_in_part:
        recoverer_dies(RECV_MESSAGES_PART), 1;
    recoverer_killed_in_dropping_messages: dropping_recoverer_dies(RECV_MESSAGES), 1;
    recoverer_killed_in_dropping_a_message_delivered_twice: limited_recoverer_dies(RECV_MESSAGES), 1;
    adopters_of_messages_killed_one_after_the_other_are_counted: adopters_die(RECV_MESSAGES), 0;
    adopters_of_messages_killed_one_after_the_other_exhaust_one:
        limited_adopters_die(RECV_MESSAGES), 0;
}
