//! ringpipe's rings of bytes and of messages.

use std::io::{Read as _, Write as _};
use std::marker::PhantomData;

use ringpipe::{bytes, messages};

use super::files::File;
use super::ours::policy;
use super::through_pipe::InTurn;
use super::{Carrier, Door, Laid, Link, Load, Rx, Tx};
use crate::Outcome;

/// A ring of bytes; and what it does with descriptors.
pub struct Bytes;

impl Carrier<[u8]> for Bytes {
    const NAME: &'static str = "ringpipe";
    type Door = Stream;

    fn carries(load: Load) -> bool {
        load == Load::Bytes
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends()
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        let ring = bytes::Ring::options().capacity(link.capacity).create(&link.name)?;
        Ok(cleared(move || Ok(ring.unlink()?)))
    }

    fn door(link: &Link) -> Outcome<Stream> {
        Ok(Stream(bytes::Ring::options().open(&link.name)?, link.read_size()))
    }
}

/// What removes a ring when the link is done with.
fn cleared(unlink: impl Fn() -> Outcome + 'static) -> Laid {
    let clear = move || {
        if let Err(e) = unlink() {
            eprintln!("peers: {e}");
        }
    };
    Laid { fds: Vec::new(), clear: Some(Box::new(clear)) }
}

pub struct Stream(bytes::Ring, usize);
pub struct Reader(bytes::Reader, Vec<u8>);

impl Door<[u8]> for Stream {
    type Tx = bytes::Writer;
    type Rx = Reader;

    fn tx(&self) -> Outcome<bytes::Writer> {
        Ok(self.0.writer()?)
    }

    fn rx(&self) -> Outcome<Reader> {
        Ok(Reader(self.0.reader()?, vec![0; self.1]))
    }
}

impl Tx<[u8]> for bytes::Writer {
    #[inline(always)]
    fn send(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.write_all(bytes)?)
    }
}

impl Rx<[u8]> for Reader {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let Self(rx, buffer) = self;
        let mut got = rx.read(buffer)?;
        if got == 0 {
            return Err("the other end is closed".into());
        }
        let torn = got.next_multiple_of(8);
        if torn > got {
            rx.read_exact(&mut buffer[got..torn])?;
            got = torn;
        }
        look(&buffer[..got]);
        Ok(())
    }
}

impl Carrier<File> for Bytes {
    const NAME: &'static str = "ringpipe";
    type Door = Files;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Files { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        link.needs_two_ends()
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        let create = |name: String| bytes::Ring::options().capacity(link.capacity).create(&name);
        let [first, second] = names(link).map(create);
        let rings = [first?, second?];
        Ok(cleared(move || rings.iter().try_for_each(|ring| Ok(ring.unlink()?))))
    }

    fn door(link: &Link) -> Outcome<Files> {
        Ok(Files(link.clone()))
    }
}

fn names(link: &Link) -> [String; 2] {
    [0, 1].map(|number| format!("{}-{number}", link.name))
}

pub struct Files(Link);
pub struct FileSender(InTurn<bytes::Ring>);
pub struct FileReceiver(InTurn<bytes::Ring>, File);

impl Files {
    fn rings(&self) -> Outcome<InTurn<bytes::Ring>> {
        let [first, second] = names(&self.0).map(|name| bytes::Ring::options().open(&name));
        Ok(InTurn::new([first?, second?]))
    }
}

impl Door<File> for Files {
    type Tx = FileSender;
    type Rx = FileReceiver;

    fn tx(&self) -> Outcome<FileSender> {
        Ok(FileSender(self.rings()?))
    }

    fn rx(&self) -> Outcome<FileReceiver> {
        Ok(FileReceiver(self.rings()?, File::sink(&self.0)?))
    }
}

impl Tx<File> for FileSender {
    fn send(&mut self, file: &File) -> Outcome {
        self.0.next().writer()?.read_from(file.source()?, u64::MAX)?;
        Ok(())
    }
}

impl Rx<File> for FileReceiver {
    fn recv(&mut self, look: impl FnMut(&File)) -> Outcome {
        let moved = self.0.next().reader()?.write_to(self.1.destination()?, u64::MAX)?;
        self.1.show(moved, look);
        Ok(())
    }
}

/// What the kinds of ring are called here.
pub trait Named: messages::Messages {
    const CALLED: &'static str;
}

impl Named for ringpipe::SpscMessages {
    const CALLED: &'static str = "ringpipe";
}

impl Named for ringpipe::MpmcMessages {
    const CALLED: &'static str = "ringpipe-mpmc";
}

/// A ring of messages, of a kind.
pub struct Messages<K>(PhantomData<K>);

/// A message's length, and what it takes to end where the next may begin.
const OVERHEAD: usize = 16;

impl<K: Named> Carrier<[u8]> for Messages<K> {
    const NAME: &'static str = K::CALLED;
    type Door = Mailbox<K>;

    fn carries(load: Load) -> bool {
        matches!(load, Load::Messages { .. })
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        if K::MANY { Ok(()) } else { link.needs_two_ends() }
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        let options = messages::Ring::<K>::options().capacity(link.bytes_with(OVERHEAD));
        let ring = options.create(&link.name)?;
        Ok(cleared(move || Ok(ring.unlink()?)))
    }

    fn door(link: &Link) -> Outcome<Mailbox<K>> {
        let ring = messages::Ring::<K>::options().open(&link.name)?;
        Ok(Mailbox { ring, link: link.clone() })
    }
}

pub struct Mailbox<K: Named> {
    ring: messages::Ring<K>,
    link: Link,
}

impl<K: Named> Door<[u8]> for Mailbox<K> {
    type Tx = messages::Sender<K>;
    type Rx = Receiver<K>;

    fn tx(&self) -> Outcome<Self::Tx> {
        let mut tx = self.ring.sender()?;
        tx.set_wait_policy(policy(self.link.wait));
        Ok(tx)
    }

    fn rx(&self) -> Outcome<Self::Rx> {
        let mut rx = self.ring.receiver()?;
        rx.set_wait_policy(policy(self.link.wait));
        Ok(Receiver(rx, vec![0; self.link.size]))
    }
}

pub struct Receiver<K: Named>(messages::Receiver<K>, Vec<u8>);

impl<K: Named> Tx<[u8]> for messages::Sender<K> {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) -> Outcome {
        // Named in full: this trait's method has the same name.
        Ok(messages::Sender::send(self, message)?)
    }
}

impl<K: Named> Rx<[u8]> for Receiver<K> {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let length = self.0.recv_into(&mut self.1)?;
        look(&self.1[..length]);
        Ok(())
    }
}

/// Long messages that are read where they lie: the sender copies them there, as it does elsewhere.
pub struct InPlace;

impl Carrier<[u8]> for InPlace {
    const NAME: &'static str = "ringpipe-in-place";
    type Door = Places;

    fn carries(load: Load) -> bool {
        load == Load::Messages { varied: false }
    }

    fn fits(link: &Link) -> Result<(), &'static str> {
        let long = if link.size >= LONG { Ok(()) } else { Err("for long messages") };
        long.and_then(|()| link.needs_two_ends())
    }

    fn lay(link: &Link) -> Outcome<Laid> {
        Messages::<ringpipe::SpscMessages>::lay(link)
    }

    fn door(link: &Link) -> Outcome<Places> {
        Ok(Places(Messages::door(link)?))
    }
}

/// Of so many bytes, copying is what a message costs.
const LONG: usize = 4096;

pub struct Places(Mailbox<ringpipe::SpscMessages>);
pub struct Writer(messages::spsc::Sender);
pub struct Looker(messages::spsc::Receiver);

impl Door<[u8]> for Places {
    type Tx = Writer;
    type Rx = Looker;

    fn tx(&self) -> Outcome<Writer> {
        Ok(Writer(self.0.tx()?))
    }

    fn rx(&self) -> Outcome<Looker> {
        Ok(Looker(self.0.rx()?.0))
    }
}

impl Tx<[u8]> for Writer {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) -> Outcome {
        let write = |room: &mut [u8]| {
            room.copy_from_slice(message);
            message.len()
        };
        // SAFETY: only the workers have this ring, all of them through this crate, and none of
        // them forks.
        Ok(unsafe { self.0.send_in_place(message.len(), write) }?)
    }
}

impl Rx<[u8]> for Looker {
    #[inline(always)]
    fn recv(&mut self, mut look: impl FnMut(&[u8])) -> Outcome {
        let claimed = self.0.claim(1)?;
        let message = claimed.first().ok_or("a damaged message")?;
        // SAFETY: as above.
        look(unsafe { message.as_slice() });
        claimed.release_all();
        Ok(())
    }
}
