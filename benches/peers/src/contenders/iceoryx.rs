//! iceoryx2 publish–subscribe: one publisher, one subscriber, samples loaned and looked at in
//! place, delivery by retrying (`RetryUntilDelivered`). Its subscribers poll; sleeping would need
//! its separate event service beside it.

use iceoryx2::config::Config;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

use super::{Contender, Door, Link, Pause, Payload, Rx, Tx, Wait};
use crate::Outcome;

/// Begins the names of its files in /dev/shm; a run's own, by its scratch directory.
pub fn prefix(scratch: &str) -> String {
    format!("iox2_{}_", scratch.rsplit('/').next().unwrap_or_default().replace('-', "_"))
}

/// A process's part in a run's services.
pub fn node(link: &Link) -> Outcome<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.prefix =
        FileName::new(prefix(&link.scratch).as_bytes()).map_err(|e| format!("{e:?}"))?;
    let root = iceoryx2::prelude::Path::new(link.scratch.as_bytes());
    config.global.set_root_path(&root.map_err(|e| format!("{e:?}"))?);
    Ok(NodeBuilder::new().config(&config).create::<ipc::Service>()?)
}

pub struct Iceoryx2;

impl Contender for Iceoryx2 {
    const NAME: &'static str = "iceoryx2";
    type Door<P: Payload> = Named;

    fn fits(link: &Link) -> Result<(), &'static str> {
        match link.wait {
            _ if !link.one_to_one() => {
                Err("publish-subscribe: each item goes to every subscriber, from each publisher")
            }
            _ if link.batch > 1 => Err("it has no batches"),
            Wait::Usual | Wait::Spin => Ok(()),
            Wait::Sleep | Wait::Adaptive => Err("its subscribers poll"),
        }
    }

    fn door<P: Payload>(link: &Link) -> Outcome<Named> {
        Ok(Named(link.clone()))
    }
}

pub struct Named(Link);

type Factory<P> =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, P, ()>;

impl Named {
    fn service<P: Payload>(&self) -> Outcome<(Node<ipc::Service>, Factory<P>)> {
        let node = node(&self.0)?;
        let service = node
            .service_builder(&self.0.name.as_str().try_into()?)
            .publish_subscribe::<P>()
            .max_publishers(1)
            .max_subscribers(1)
            .subscriber_max_buffer_size(self.0.capacity)
            .history_size(0)
            .enable_safe_overflow(false)
            .open_or_create()?;
        Ok((node, service))
    }
}

/// Ports die before the service, and the service before the node.
pub struct Sender<P: Payload> {
    tx: Publisher<ipc::Service, P, ()>,
    pause: Pause,
    _service: Factory<P>,
    _node: Node<ipc::Service>,
}

pub struct Receiver<P: Payload> {
    rx: Subscriber<ipc::Service, P, ()>,
    pause: Pause,
    _service: Factory<P>,
    _node: Node<ipc::Service>,
}

impl<P: Payload> Door<P> for Named {
    type Tx = Sender<P>;
    type Rx = Receiver<P>;

    fn tx(&self) -> Outcome<Sender<P>> {
        let (node, service) = self.service::<P>()?;
        let tx = service
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        Ok(Sender { tx, pause: self.0.pause(), _service: service, _node: node })
    }

    fn rx(&self) -> Outcome<Receiver<P>> {
        let (node, service) = self.service::<P>()?;
        let rx = service.subscriber_builder().buffer_size(self.0.capacity).create()?;
        Ok(Receiver { rx, pause: self.0.pause(), _service: service, _node: node })
    }
}

impl<P: Payload> Tx<P> for Sender<P> {
    #[inline(always)]
    fn send(&mut self, item: &P) -> Outcome {
        let mut pause = self.pause;
        loop {
            let sample = self.tx.loan_uninit()?.write_payload(*item);
            // Nobody there to take it: not sent.
            if sample.send()? == 1 {
                return Ok(());
            }
            pause.idle();
        }
    }
}

impl<P: Payload> Rx<P> for Receiver<P> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&P)) -> Outcome {
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
