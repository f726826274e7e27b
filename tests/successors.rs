//! Attaching as soon as there is a place.

mod support;

use std::time::Duration;

use ringpipe::{AttachError, Deadline, Mpmc, Spsc, WaitPolicy, mpmc};
use support::{Child, new_ring, roles, tests};

roles!();
tests!(
    a_successor_attaches_when_the_one_before_has_died,
    a_newcomer_attaches_when_a_record_is_free,
    what_no_wait_can_mend_is_said_at_once,
);

const SOON: Duration = Duration::from_millis(5);

fn a_successor_attaches_when_the_one_before_has_died() {
    let (name, ring) = new_ring::<Spsc>(2);
    let tx = Child::sender::<Spsc>(&name, WaitPolicy::Park);
    let rx = Child::receiver::<Spsc>(&name, WaitPolicy::Park);
    assert!(matches!(ring.producer_deadline(SOON), Err(AttachError::RoleTaken { .. })));
    assert!(matches!(ring.consumer_deadline(SOON), Err(AttachError::RoleTaken { .. })));
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| ring.producer_deadline(Deadline::NEVER));
        let consumer = scope.spawn(|| ring.consumer_deadline(Deadline::NEVER));
        tx.kill();
        rx.kill();
        let (mut tx, mut rx) =
            (producer.join().unwrap().unwrap(), consumer.join().unwrap().unwrap());
        tx.send(1).unwrap();
        assert_eq!(rx.recv(), Ok(1));
    });
}

fn a_newcomer_attaches_when_a_record_is_free() {
    let options = mpmc::Ring::<u64>::options().capacity(2).endpoints(2);
    let ring = options.create_anonymous().unwrap();
    let (tx, rx) = (ring.sender().unwrap(), ring.receiver().unwrap());
    assert!(matches!(ring.sender_deadline(SOON), Err(AttachError::TableFull { .. })));
    assert!(matches!(ring.receiver_deadline(SOON), Err(AttachError::TableFull { .. })));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| ring.sender_deadline(Deadline::NEVER));
        let receiver = scope.spawn(|| ring.receiver_deadline(Deadline::NEVER));
        drop(tx);
        drop(rx);
        let both = (sender.join().unwrap(), receiver.join().unwrap());
        assert!(both.0.is_ok() && both.1.is_ok());
    });
}

fn what_no_wait_can_mend_is_said_at_once() {
    let (_name, ring) = new_ring::<Mpmc>(2);
    support::forked::in_a_fork(|| {
        assert!(matches!(ring.sender_deadline(Deadline::NEVER), Err(AttachError::Forked { .. })));
        assert!(matches!(ring.receiver_deadline(Deadline::NEVER), Err(AttachError::Forked { .. })));
    });
}
