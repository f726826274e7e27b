//! SPSC: an end dies between any two of its steps, and its successor goes on where it left off.
//!
//! The other end works all the while; see `death` and `ledger`.

use loom::thread;

use super::death::{check_deaths, until_death};
use super::ledger::{Ledger, receive, send, settle_accounts};
use super::support::Ring;
use crate::peers::table::Role;
use crate::ring::Spsc;

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

/// `batches`: what the victim sends, each in one call, and how much of each it publishes.
fn producer_dies(batches: &'static [(&'static [u64], usize)]) {
    let ring = Ring::<Spsc>::new(2, 2);
    let (mut tx, mut rx) = (ring.sender(PRODUCER), ring.receiver(CONSUMER));
    let mut book = Ledger::default();
    send(&mut tx, &[1], 1, &mut book);
    let victim = thread::spawn(move || {
        let mut book = Ledger::default();
        let locks = tx.ring.locks.clone();
        let died = until_death("producer", &locks, (Role::Sender, PRODUCER), || {
            for (values, publish) in batches {
                send(&mut tx, values, *publish, &mut book);
            }
        });
        book.of_the_dead(died)
    });
    receive(&mut rx, 2, 2, &mut book);
    let victim = victim.join().unwrap();
    let successor = thread::spawn(move || {
        let mut book = Ledger::default();
        let mut tx = ring.sender(PRODUCER);
        send(&mut tx, &[30, 31], 2, &mut book);
        (tx, book)
    });
    receive(&mut rx, 2, 2, &mut book);
    let (tx, successor) = successor.join().unwrap();
    settle_accounts(tx, rx, [book, victim, successor]);
}

#[test]
fn spsc_producer_killed_in_send_is_succeeded() {
    check_deaths("crash, spsc producer", 3, || producer_dies(&[(&[10], 1), (&[11], 1)]));
}

#[test]
fn spsc_producer_killed_in_batch_is_succeeded() {
    check_deaths("crash, spsc producer, batch", 3, || producer_dies(&[(&[10, 11], 2)]));
}

#[test]
fn spsc_producer_killed_in_partial_commit_is_succeeded() {
    check_deaths("crash, spsc producer, part", 3, || producer_dies(&[(&[10, 11], 1), (&[12], 0)]));
}

/// `batches`: what the victim claims, each in one call, and how much of each it releases.
fn consumer_dies(batches: &'static [(u64, u64)]) {
    let ring = Ring::<Spsc>::new(2, 2);
    let (mut tx, mut rx) = (ring.sender(PRODUCER), ring.receiver(CONSUMER));
    let mut book = Ledger::default();
    send(&mut tx, &[1, 2], 2, &mut book);
    let victim = thread::spawn(move || {
        let mut book = Ledger::default();
        let locks = rx.ring.locks.clone();
        let died = until_death("consumer", &locks, (Role::Receiver, CONSUMER), || {
            for &(max, release) in batches {
                receive(&mut rx, max, release, &mut book);
            }
        });
        book.of_the_dead(died)
    });
    send(&mut tx, &[3], 1, &mut book);
    let victim = victim.join().unwrap();
    let successor = thread::spawn(move || {
        let mut book = Ledger::default();
        let mut rx = ring.receiver(CONSUMER);
        receive(&mut rx, 2, 2, &mut book);
        (rx, book)
    });
    send(&mut tx, &[4], 1, &mut book);
    let (rx, successor) = successor.join().unwrap();
    settle_accounts(tx, rx, [book, victim, successor]);
}

/// One consumer after the other claims what there is and is killed, at the latest when it has been
/// shown it. The producer works all the while.
fn consumers_die(limit: u32) {
    let ring = Ring::<Spsc>::limited(2, 2, limit);
    let (mut tx, rx) = (ring.sender(PRODUCER), ring.receiver(CONSUMER));
    let mut book = Ledger::default();
    send(&mut tx, &[1, 2], 2, &mut book);
    let dying = thread::spawn(move || {
        let (mut rx, mut books) = (Some(rx), Vec::new());
        for _ in 0..2 {
            let mut book = Ledger::default();
            let locks = ring.locks.clone();
            let died = until_death("consumer", &locks, (Role::Receiver, CONSUMER), || {
                let mut rx = rx.take().unwrap_or_else(|| ring.receiver(CONSUMER));
                receive(&mut rx, 2, 0, &mut book);
            });
            books.push(book.of_the_dead(died));
        }
        let mut book = Ledger::default();
        let mut rx = ring.receiver(CONSUMER);
        receive(&mut rx, 2, 2, &mut book);
        books.push(book);
        (rx, books)
    });
    send(&mut tx, &[3], 1, &mut book);
    let (rx, books) = dying.join().unwrap();
    settle_accounts(tx, rx, books.into_iter().chain([book]));
}

#[test]
fn spsc_consumers_killed_one_after_the_other_are_counted() {
    check_deaths("crash, spsc consumers", 1, || consumers_die(0));
}

#[test]
fn spsc_consumers_killed_one_after_the_other_exhaust_an_item() {
    check_deaths("crash, spsc consumers, limit", 1, || consumers_die(2));
}

#[test]
fn spsc_consumer_killed_in_recv_is_succeeded() {
    check_deaths("crash, spsc consumer", 3, || consumer_dies(&[(1, 1), (1, 1)]));
}

#[test]
fn spsc_consumer_killed_in_batch_is_succeeded() {
    check_deaths("crash, spsc consumer, batch", 3, || consumer_dies(&[(2, 2)]));
}

#[test]
fn spsc_consumer_killed_in_partial_release_is_succeeded() {
    check_deaths("crash, spsc consumer, part", 3, || consumer_dies(&[(2, 1), (2, 0)]));
}
