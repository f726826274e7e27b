//! What pipes of packets have in common, and who has it: the kernel's, and rings of messages.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ringpipe::messages::{self, Message, MpmcMessages, SpscMessages};
use ringpipe::{Kind, MessageError, Ring};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat};

use crate::like::reads_or_writes;
use crate::support::{Directory, Name, asleep};

/// The most that the kernel writes as one.
pub const PIPE_BUF: usize = 4096;

/// A pipe of whole messages.
pub trait Packets: Sized + 'static {
    /// What children know it by.
    const KIND: &'static str;
    type Writer: Send + 'static;
    type Reader: Send + 'static;

    /// A new one, removed when dropped.
    fn make() -> Self;
    /// One that another process has made, and removes.
    fn of(name: &str) -> Self;
    fn name(&self) -> &str;

    /// Another end. A reader comes first.
    fn reader(&self) -> Self::Reader;
    fn writer(&self) -> Self::Writer;

    fn write(writer: &mut Self::Writer, message: &[u8], wait: bool) -> io::Result<()>;
    /// `None`: the end.
    fn read(reader: &mut Self::Reader, wait: bool) -> io::Result<Option<Vec<u8>>>;

    /// This thread waits within such a pipe.
    fn is_waiting(process: u32, thread: u32) -> bool;
}

/// The kernel's, with a name.
pub struct PacketFifo {
    path: PathBuf,
    _directory: Option<Directory>,
}

/// Opens it without waiting for the opposite end.
fn open_fifo(path: &Path, access: OFlags) -> File {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let end = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    // The file system need not know of this, the pipe does.
    fcntl_setfl(&end, flags | OFlags::DIRECT).unwrap();
    end.into()
}

/// What a call says that waits, or does not.
fn waiting_or_not<R>(file: &File, wait: bool, call: impl FnOnce(&File) -> R) -> R {
    let mut flags = fcntl_getfl(file).unwrap();
    flags.set(OFlags::NONBLOCK, !wait);
    fcntl_setfl(file, flags).unwrap();
    call(file)
}

impl Packets for PacketFifo {
    const KIND: &'static str = "packets";
    type Writer = File;
    type Reader = File;

    fn make() -> Self {
        let directory = Directory::new();
        let path = directory.join("packets");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        Self { path, _directory: Some(directory) }
    }

    fn of(name: &str) -> Self {
        Self { path: name.into(), _directory: None }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn reader(&self) -> File {
        open_fifo(&self.path, OFlags::RDONLY)
    }

    fn writer(&self) -> File {
        open_fifo(&self.path, OFlags::WRONLY)
    }

    fn write(writer: &mut File, message: &[u8], wait: bool) -> io::Result<()> {
        let written = waiting_or_not(writer, wait, |mut file| file.write(message))?;
        assert_eq!(written, message.len());
        Ok(())
    }

    fn read(reader: &mut File, wait: bool) -> io::Result<Option<Vec<u8>>> {
        let mut message = vec![0; PIPE_BUF];
        let len = waiting_or_not(reader, wait, |mut file| file.read(&mut message))?;
        message.truncate(len);
        Ok((len > 0).then_some(message))
    }

    fn is_waiting(process: u32, thread: u32) -> bool {
        reads_or_writes(process, thread)
    }
}

/// A ring of messages.
pub struct MessageRing<K: Kind> {
    name: String,
    ring: Ring<Message, K>,
    _remove: Option<Name>,
}

pub type SpscRing = MessageRing<SpscMessages>;
pub type MpmcRing = MessageRing<MpmcMessages>;

macro_rules! packets {
    ($kind:ty, $name:literal) => {
        impl Packets for MessageRing<$kind> {
            const KIND: &'static str = $name;
            type Writer = messages::Sender<$kind>;
            type Reader = messages::Receiver<$kind>;

            fn make() -> Self {
                let name = Name::new();
                let ring = Ring::<Message, $kind>::options().capacity(8 * PIPE_BUF);
                let ring = ring.create(&name).unwrap();
                Self { name: name.to_string(), ring, _remove: Some(name) }
            }

            fn of(name: &str) -> Self {
                let ring = Ring::<Message, $kind>::options().open(name).unwrap();
                Self { name: name.into(), ring, _remove: None }
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn reader(&self) -> Self::Reader {
                self.ring.receiver().unwrap()
            }

            fn writer(&self) -> Self::Writer {
                self.ring.sender().unwrap()
            }

            fn write(writer: &mut Self::Writer, message: &[u8], wait: bool) -> io::Result<()> {
                Ok(if wait { writer.send(message) } else { writer.try_send(message) }?)
            }

            fn read(reader: &mut Self::Reader, wait: bool) -> io::Result<Option<Vec<u8>>> {
                let mut message = Vec::new();
                let read = match wait {
                    true => reader.recv(&mut message),
                    false => reader.try_recv(&mut message),
                };
                match read {
                    Ok(()) => Ok(Some(message)),
                    Err(MessageError::Closed) => Ok(None),
                    Err(why) => Err(why.into()),
                }
            }

            fn is_waiting(process: u32, thread: u32) -> bool {
                asleep::for_long(process, thread)
            }
        }
    };
}
packets!(SpscMessages, "spsc-messages");
packets!(MpmcMessages, "mpmc-messages");
