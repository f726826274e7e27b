//! Whether a ring is as good as new, whatever has been done to it; and names that go.

use std::ops::Deref;

use ringpipe::{AttachError, Item, Kind, Ring};

use crate::{Carrier, End as _, Receives, Sends, Value, Why, text};

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

/// A ring on which nobody is attached is empty, takes as many values as fill its slots and no more,
/// and gives them back.
pub fn slots_are_usable<V: Value, K: Carrier<V>>(
    ring: &Ring<K::Element, K>,
    item: impl Fn(u64) -> V,
) -> Result<(), String> {
    let mut rx = K::receiver(ring).map_err(text)?;
    rx.require_peer();
    match rx.try_recv() {
        Err(Why::Closed) => {}
        other => return Err(format!("receivers saw the end, and there was more: {other:?}")),
    }
    let mut tx = K::sender(ring).map_err(text)?;
    tx.complete();
    let (mut free, mut sent) = (ring.capacity() as u64 / K::SLOT, 0);
    while let Some(left) = free.checked_sub(K::slots(&item(sent))) {
        tx.try_send(item(sent)).map_err(|e| format!("slot {sent} of an empty ring: {e}"))?;
        (free, sent) = (left, sent + 1);
    }
    match tx.try_send(item(0)) {
        Err(Why::NotNow) => {}
        other => return Err(format!("a full ring is not full: {other:?}")),
    }
    for n in 0..sent {
        match rx.try_recv() {
            Ok(received) if received == item(n) => {}
            other => return Err(format!("{other:?} for item {n} of a full ring")),
        }
    }
    match rx.try_recv() {
        Err(Why::NotNow) => Ok(()),
        other => Err(format!("a drained ring says {other:?}")),
    }
}

/// A ring on which nobody is attached has as many endpoint records as it should, and no more. (An
/// SPSC ring has one for each role, which attaching shows.)
pub fn records_are_usable<V: Value, K: Carrier<V>>(
    ring: &Ring<K::Element, K>,
) -> Result<(), String> {
    if !K::MANY {
        return Ok(());
    }
    let ends: Result<Vec<_>, _> = (0..ring.endpoints()).map(|_| K::sender(ring)).collect();
    let _ends = ends.map_err(|e| format!("not all endpoint records are usable: {e}"))?;
    match K::receiver(ring) {
        Err(AttachError::TableFull { .. }) => Ok(()),
        Err(e) => Err(format!("more ends than records: {e}")),
        Ok(_) => Err("more ends than records".into()),
    }
}

#[cfg(test)]
mod tests {
    use ringpipe::{Bytes, Mpmc, Spsc, SpscMessages};

    use super::*;

    fn ring<K: Carrier<u64>>() -> Ring<K::Element, K> {
        K::options(4).endpoints(if K::MANY { 4 } else { 2 }).create_anonymous().unwrap()
    }

    fn slots<K: Carrier<u64>>(ring: &Ring<K::Element, K>) -> Result<(), String> {
        slots_are_usable(ring, |n| n)
    }

    #[test]
    fn a_new_ring_is_as_good_as_new_and_stays_so() {
        fn holds<K: Carrier<u64>>() {
            let ring = ring::<K>();
            drop((K::sender(&ring).unwrap(), K::receiver(&ring).unwrap()));
            for _ in 0..3 {
                let records = records_are_usable::<u64, K>(&ring);
                assert_eq!((slots(&ring), records), (Ok(()), Ok(())));
            }
        }
        holds::<Spsc>();
        holds::<Mpmc>();
        holds::<Bytes>();
        holds::<SpscMessages>();
    }

    #[test]
    fn a_ring_with_an_item_left_is_not() {
        fn holds<K: Carrier<u64>>() {
            let ring = ring::<K>();
            K::sender(&ring).unwrap().try_send(7).unwrap();
            assert!(slots(&ring).unwrap_err().ends_with("there was more: Ok(7)"));
        }
        holds::<Spsc>();
        holds::<Mpmc>();
        holds::<Bytes>();
        holds::<SpscMessages>();
    }

    #[test]
    fn a_ring_that_gives_back_something_else_is_not() {
        let ring = ring::<Mpmc>();
        let times = std::cell::Cell::new(0);
        let item = |n: u64| {
            times.set(times.get() + 1);
            n + u64::from(times.get() > 10)
        };
        assert_eq!(slots_are_usable(&ring, item).unwrap_err(), "Ok(0) for item 0 of a full ring");
    }

    #[test]
    fn a_ring_on_which_somebody_sits_is_not() {
        let ring = ring::<Mpmc>();
        let _tx = ring.sender().unwrap();
        assert!(slots(&ring).unwrap_err().ends_with("there was more: Err(NotNow)"));
        let said = records_are_usable::<u64, Mpmc>(&ring).unwrap_err();
        assert!(said.starts_with("not all endpoint records"));
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
