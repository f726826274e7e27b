//! iceoryx2 with messages: a service of slices, which it makes of other types than one of items.
//! Samples have room for the longest message.

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

use super::iceoryx::{Iceoryx2, node};
use super::{Carrier, Contender, Door, Laid, Link, Load, Pause, Rx, Tx};
use crate::Outcome;

pub struct Slices;

impl Carrier<[u8]> for Slices {
    const NAME: &'static str = Iceoryx2::NAME;
    type Door = Named;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Messages { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        Iceoryx2::fits(link)
    }

    fn lay(_: &Link) -> Outcome<Laid> {
        Ok(Laid::default())
    }

    fn door(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

pub struct Named(Link);

type Factory =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u8], ()>;

impl Named {
    fn service(&self) -> Outcome<(Node<ipc::Service>, Factory)> {
        let node = node(&self.0)?;
        let service = node
            .service_builder(&self.0.name.as_str().try_into()?)
            .publish_subscribe::<[u8]>()
            .max_publishers(1)
            .max_subscribers(1)
            .subscriber_max_buffer_size(self.0.messages())
            .history_size(0)
            .enable_safe_overflow(false)
            .open_or_create()?;
        Ok((node, service))
    }
}

/// Ports die before the service, and the service before the node.
pub struct Sender {
    tx: Publisher<ipc::Service, [u8], ()>,
    pause: Pause,
    _service: Factory,
    _node: Node<ipc::Service>,
}

pub struct Receiver {
    rx: Subscriber<ipc::Service, [u8], ()>,
    pause: Pause,
    _service: Factory,
    _node: Node<ipc::Service>,
}

impl Door<[u8]> for Named {
    type Tx = Sender;
    type Rx = Receiver;

    fn tx(&self) -> Outcome<Sender> {
        let (node, service) = self.service()?;
        let tx = service
            .publisher_builder()
            .initial_max_slice_len(self.0.size)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        Ok(Sender { tx, pause: self.0.pause(), _service: service, _node: node })
    }

    fn rx(&self) -> Outcome<Receiver> {
        let (node, service) = self.service()?;
        let rx = service.subscriber_builder().buffer_size(self.0.messages()).create()?;
        Ok(Receiver { rx, pause: self.0.pause(), _service: service, _node: node })
    }
}

impl Tx<[u8]> for Sender {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) -> Outcome {
        let mut pause = self.pause;
        loop {
            let sample = self.tx.loan_slice_uninit(message.len())?.write_from_slice(message);
            // Nobody there to take it: not sent.
            if sample.send()? == 1 {
                return Ok(());
            }
            pause.idle();
        }
    }
}

impl Rx<[u8]> for Receiver {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let mut pause = self.pause;
        loop {
            if let Some(sample) = self.rx.receive()? {
                look(sample.payload());
                return Ok(());
            }
            pause.idle();
        }
    }
}
