//! Both kinds of ring, for whoever is to treat them alike: their ends have different names. The
//! programs in `proof/` include this file, too.

use ringpipe::{AttachError, Item, Kind, Mpmc, RecvHandle, Ring, SendHandle, Spsc};

/// What SPSC and MPMC rings have in common but call by different names.
pub trait Flavour: Kind {
    /// Attaches a sending end.
    fn sender<T: Item>(ring: &Ring<T, Self>) -> Result<SendHandle<T, Self>, AttachError>;
    /// Attaches a receiving end.
    fn receiver<T: Item>(ring: &Ring<T, Self>) -> Result<RecvHandle<T, Self>, AttachError>;
}

impl Flavour for Spsc {
    fn sender<T: Item>(ring: &Ring<T, Self>) -> Result<SendHandle<T, Self>, AttachError> {
        ring.producer()
    }
    fn receiver<T: Item>(ring: &Ring<T, Self>) -> Result<RecvHandle<T, Self>, AttachError> {
        ring.consumer()
    }
}

impl Flavour for Mpmc {
    fn sender<T: Item>(ring: &Ring<T, Self>) -> Result<SendHandle<T, Self>, AttachError> {
        ring.sender()
    }
    fn receiver<T: Item>(ring: &Ring<T, Self>) -> Result<RecvHandle<T, Self>, AttachError> {
        ring.receiver()
    }
}
