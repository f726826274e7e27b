//! Where a ring does not do what its documentation says. The play leaves these out
//! (`Model::is_in_a_gap`).

use ringpipe::{TryRecvError, mpmc};

/// "A receiver that holds items it has inherited from a dead one puts off end-of-file for the other
/// receivers until it has released them": not one that inherited the seat with them. What a
/// receiver leaves that closes is inherited in the same way.
#[test]
#[ignore = "the ring says Closed"]
fn an_heir_to_a_seat_puts_off_the_end_of_file() {
    let ring = mpmc::Ring::<u64>::options().endpoints(3).create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    let mut other = ring.receiver().unwrap();
    tx.try_send(7).unwrap();
    rx.try_claim(1).unwrap().abandon();
    drop(rx);
    let mut heir = ring.receiver().unwrap(); // to the last record
    drop(tx);
    heir.try_claim(1).unwrap().abandon();
    let seen = other.try_recv();
    drop(heir);
    assert_eq!(other.try_recv(), Ok(7));
    assert_eq!(seen, Err(TryRecvError::Empty));
}

/// "Receives if there is an item": what a receiver left that is gone is overlooked by one that
/// attaches while there is no sender.
#[test]
#[ignore = "the ring says Empty"]
fn who_attaches_without_a_sender_finds_what_a_receiver_has_left() {
    let ring = mpmc::Ring::<u64>::options().create_anonymous().unwrap();
    let (mut tx, mut rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    tx.try_send(7).unwrap();
    drop(tx);
    rx.try_claim(1).unwrap().abandon();
    drop(rx);
    let mut rx = ring.receiver().unwrap();
    assert_eq!(rx.try_recv(), Ok(7));
}
