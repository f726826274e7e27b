//! Every kind of ring, and what ends of all kinds have in common, for whoever is to treat them
//! alike. The programs in `proof/` include this file, too.

use std::time::Duration;

use ringpipe::messages::{Message, Messages, Receiver, Sender};
use ringpipe::{
    AttachError, Bytes, Canceller, Deadline, Ending, Item, Kind, Mpmc, MpmcMessages, PeerError,
    RecvHandle, Ring, SendHandle, Spsc, SpscMessages, WaitPolicy,
};

/// Any kind of ring; one whose items may be of any type carries numbers.
pub trait AnyKind: Kind {
    /// What its type says that it carries.
    type Element: Item;
    /// Its sending end.
    type Tx: End;
    /// Its receiving end.
    type Rx: End;

    /// Attaches a sending end.
    fn sender(ring: &Ring<Self::Element, Self>) -> Result<Self::Tx, AttachError>;
    /// Attaches a receiving end.
    fn receiver(ring: &Ring<Self::Element, Self>) -> Result<Self::Rx, AttachError>;
}

macro_rules! kinds {
    ($($kind:ty: $element:ty, $sender:ident => $tx:ty, $receiver:ident => $rx:ty;)*) => {$(
        impl AnyKind for $kind {
            type Element = $element;
            type Tx = $tx;
            type Rx = $rx;

            fn sender(ring: &Ring<$element, Self>) -> Result<$tx, AttachError> {
                ring.$sender()
            }
            fn receiver(ring: &Ring<$element, Self>) -> Result<$rx, AttachError> {
                ring.$receiver()
            }
        }
    )*};
}
kinds! {
    Spsc: u64, producer => SendHandle<u64, Self>, consumer => RecvHandle<u64, Self>;
    Mpmc: u64, sender => SendHandle<u64, Self>, receiver => RecvHandle<u64, Self>;
    Bytes: u8, writer => SendHandle<u8, Self>, reader => RecvHandle<u8, Self>;
    SpscMessages: Message, sender => Sender<Self>, receiver => Receiver<Self>;
    MpmcMessages: Message, sender => Sender<Self>, receiver => Receiver<Self>;
}

/// An end, of whatever kind and role.
pub trait End: Send + 'static {
    /// Waits for an opposite end.
    fn wait_for_peer(&mut self, deadline: Deadline) -> Result<(), PeerError>;
    /// From now on, that there is no opposite end is as good as that all have gone.
    fn require_peer(&mut self);
    /// Whether there were such, and none is left.
    fn is_closed(&mut self) -> bool;
    /// How they went.
    fn ending(&self) -> Option<Ending>;
    /// What ends its waits.
    fn canceller(&self) -> Canceller;
    /// How soon it asks whether its peers live.
    fn set_liveness_interval(&mut self, interval: Duration);
    /// How it waits.
    fn set_wait_policy(&mut self, policy: WaitPolicy);
}

/// Makes an [`End`] of a type: `end!([its parameters] Type, end => the handle that does it)`.
macro_rules! end {
    ([$($of:tt)*] $end:ty, $itself:ident => $handle:expr) => {
        impl<$($of)*> End for $end {
            fn wait_for_peer(
                &mut self,
                deadline: ringpipe::Deadline,
            ) -> Result<(), ringpipe::PeerError> {
                let $itself = self;
                $handle.wait_for_peer(deadline)
            }
            fn require_peer(&mut self) {
                let $itself = self;
                $handle.require_peer();
            }
            fn is_closed(&mut self) -> bool {
                let $itself = self;
                $handle.is_closed()
            }
            fn ending(&self) -> Option<ringpipe::Ending> {
                let $itself = self;
                $handle.ending()
            }
            fn canceller(&self) -> ringpipe::Canceller {
                let $itself = self;
                $handle.canceller()
            }
            fn set_liveness_interval(&mut self, interval: std::time::Duration) {
                let $itself = self;
                $handle.set_liveness_interval(interval);
            }
            fn set_wait_policy(&mut self, policy: ringpipe::WaitPolicy) {
                let $itself = self;
                $handle.set_wait_policy(policy);
            }
        }
    };
}
pub(crate) use end;

end!([T: Item, K: Kind] SendHandle<T, K>, end => end);
end!([T: Item, K: Kind] RecvHandle<T, K>, end => end);
end!([K: Messages] Sender<K>, end => end);
end!([K: Messages] Receiver<K>, end => end);
