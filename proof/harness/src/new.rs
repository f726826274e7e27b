//! Whether a ring is as good as new, whatever has been done to it; and names that go.

use std::fmt::Debug;
use std::ops::Deref;

use ringpipe::{AttachError, Item, Kind, Ring, TryRecvError, TrySendError};

use crate::{Flavour, text};

/// A ring whose name, if it has one, goes with this.
#[derive(Debug)]
pub struct Named<T: Item, K: Kind>(pub Ring<T, K>);

impl<T: Item, K: Kind> Deref for Named<T, K> {
    type Target = Ring<T, K>;
    fn deref(&self) -> &Ring<T, K> {
        &self.0
    }
}

impl<T: Item, K: Kind> Drop for Named<T, K> {
    fn drop(&mut self) {
        let _ = self.0.unlink(); // best effort; it is in nobody's way, or has no name
    }
}

/// A ring on which nobody is attached is empty, takes as many items as it has slots and no more,
/// and gives them back.
pub fn slots_are_usable<T, K>(ring: &Ring<T, K>, item: impl Fn(u64) -> T) -> Result<(), String>
where
    T: Item + PartialEq + Debug,
    K: Flavour,
{
    let mut rx = K::receiver(ring).map_err(text)?;
    rx.require_peer();
    match rx.try_recv() {
        Err(TryRecvError::Closed) => {}
        other => return Err(format!("receivers saw the end, and there was more: {other:?}")),
    }
    let mut tx = K::sender(ring).map_err(text)?;
    let capacity = ring.capacity() as u64;
    for n in 0..capacity {
        tx.try_send(item(n)).map_err(|e| format!("slot {n} of an empty ring: {e}"))?;
    }
    match tx.try_send(item(0)) {
        Err(TrySendError::Full(_)) => {}
        other => return Err(format!("a full ring is not full: {other:?}")),
    }
    for n in 0..capacity {
        match rx.try_recv() {
            Ok(received) if received == item(n) => {}
            other => return Err(format!("{other:?} for item {n} of a full ring")),
        }
    }
    match rx.try_recv() {
        Err(TryRecvError::Empty) => Ok(()),
        other => Err(format!("a drained ring says {other:?}")),
    }
}

/// A ring on which nobody is attached has as many endpoint records as it should, and no more. (An
/// SPSC ring has one for each role, which attaching shows.)
pub fn records_are_usable<T: Item, K: Flavour>(ring: &Ring<T, K>) -> Result<(), String> {
    if !K::MANY {
        return Ok(());
    }
    let ends: Result<Vec<_>, _> = (0..ring.endpoints()).map(|_| K::sender(ring)).collect();
    let _ends = ends.map_err(|e| format!("not all endpoint records are usable: {e}"))?;
    match K::receiver(ring) {
        Err(AttachError::TableFull { .. }) => Ok(()),
        other => Err(format!("more ends than records: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use ringpipe::{Mpmc, Spsc};

    use super::*;

    fn ring<K: Flavour>() -> Ring<u64, K> {
        Ring::options().capacity(4).endpoints(4).create_anonymous().unwrap()
    }

    fn slots<K: Flavour>(ring: &Ring<u64, K>) -> Result<(), String> {
        slots_are_usable(ring, |n| n)
    }

    #[test]
    fn a_new_ring_is_as_good_as_new_and_stays_so() {
        fn holds<K: Flavour>() {
            let ring = ring::<K>();
            drop((K::sender(&ring).unwrap(), K::receiver(&ring).unwrap()));
            for _ in 0..3 {
                assert_eq!((slots(&ring), records_are_usable(&ring)), (Ok(()), Ok(())));
            }
        }
        holds::<Spsc>();
        holds::<Mpmc>();
    }

    #[test]
    fn a_ring_with_an_item_left_is_not() {
        fn holds<K: Flavour>() {
            let ring = ring::<K>();
            K::sender(&ring).unwrap().try_send(7).unwrap();
            assert!(slots(&ring).unwrap_err().ends_with("there was more: Ok(7)"));
        }
        holds::<Spsc>();
        holds::<Mpmc>();
    }

    #[test]
    fn a_ring_that_gives_back_something_else_is_not() {
        let ring = ring::<Mpmc>();
        let times = std::cell::Cell::new(0);
        let item = |n: u64| {
            times.set(times.get() + 1);
            n + u64::from(times.get() > 5)
        };
        assert_eq!(slots_are_usable(&ring, item).unwrap_err(), "Ok(0) for item 0 of a full ring");
    }

    #[test]
    fn a_ring_on_which_somebody_sits_is_not() {
        let ring = ring::<Mpmc>();
        let _tx = ring.sender().unwrap();
        assert!(slots(&ring).unwrap_err().ends_with("there was more: Err(Empty)"));
        assert!(records_are_usable(&ring).unwrap_err().starts_with("not all endpoint records"));
    }

    #[test]
    fn a_ring_whose_slots_somebody_keeps_is_not() {
        let ring = ring::<Mpmc>();
        let mut tx = ring.sender().unwrap();
        tx.try_send_slice(&[1, 2]).unwrap();
        let mut rx = ring.receiver().unwrap();
        rx.try_claim(2).unwrap().abandon();
        drop(tx);
        assert!(slots(&ring).is_err());
    }

    #[test]
    fn a_name_goes() {
        let name = format!("ringpipe-harness-{}", std::process::id());
        drop(Named(Ring::<u64, Spsc>::options().create(&name).unwrap()));
        assert!(Ring::<u64, Spsc>::options().open(&name).is_err());
    }
}
