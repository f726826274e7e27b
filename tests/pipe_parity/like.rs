//! What pipes have in common, and who has it: the kernel's two forms, and byte pipes.
//!
//! Another kind joins the suite by implementing [`PipeLike`], and [`Named`] if other processes can
//! open it.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ringpipe::bytes;
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat};
use rustix::pipe::fcntl_setpipe_size;

pub use super::packets::like::{MpmcRing, PacketFifo, SpscRing};
use super::support::{Directory, Name, asleep, until};

/// Bytes that each pipe has room for: pages, as the kernel counts.
pub const CAPACITY: usize = 4 * PAGE;
/// What the kernel gives free at once, if it is read in whole.
pub const PAGE: usize = 4096;

/// A pipe of bytes.
pub trait PipeLike: Sized + 'static {
    type Writer: Write + Send + 'static;
    type Reader: Read + Send + 'static;

    /// A new one with room for [`CAPACITY`] bytes; both of its ends, which wait.
    fn pair() -> (Self::Writer, Self::Reader);

    /// From now on the end does not wait, or does.
    fn set_writer_nonblocking(writer: &mut Self::Writer, nonblocking: bool);
    fn set_reader_nonblocking(reader: &mut Self::Reader, nonblocking: bool);

    /// This thread waits within such a pipe.
    fn is_waiting(process: u32, thread: u32) -> bool;

    /// Waits until this thread of this process does.
    fn until_waiting(thread: u32) {
        let look = || Self::is_waiting(std::process::id(), thread).then_some(());
        until("a thread that waits within a pipe", look);
    }
}

/// One that is opened by a name.
pub trait Named: PipeLike {
    /// What children know it by.
    const KIND: &'static str;

    /// A new one, removed when dropped.
    fn make() -> Self;

    /// One that another process has made, and removes.
    fn of(name: &str) -> Self;

    fn name(&self) -> &str;

    /// Opens the end: waits for the opposite one, if that is how they are opened.
    fn writer(&self) -> Self::Writer;
    fn reader(&self) -> Self::Reader;

    /// Opens the end whether or not there is an opposite one, and it does not wait.
    fn writer_alone(&self) -> std::io::Result<Self::Writer>;
    fn reader_alone(&self) -> Self::Reader;
}

/// A kernel's pipe without a name.
pub struct KernelPipe;

impl PipeLike for KernelPipe {
    type Writer = PipeWriter;
    type Reader = PipeReader;

    fn pair() -> (PipeWriter, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        (sized(writer), reader)
    }

    fn set_writer_nonblocking(writer: &mut PipeWriter, nonblocking: bool) {
        set_nonblocking(writer, nonblocking);
    }

    fn set_reader_nonblocking(reader: &mut PipeReader, nonblocking: bool) {
        set_nonblocking(reader, nonblocking);
    }

    fn is_waiting(process: u32, thread: u32) -> bool {
        reads_or_writes(process, thread)
    }
}

/// A kernel's pipe with a name.
pub struct Fifo {
    path: PathBuf,
    _directory: Option<Directory>,
}

impl Fifo {
    fn open(&self, options: &mut OpenOptions) -> std::io::Result<File> {
        options.open(&self.path).map(sized)
    }
}

impl PipeLike for Fifo {
    type Writer = File;
    type Reader = File;

    fn pair() -> (File, File) {
        let fifo = Self::make();
        let mut reader = fifo.reader_alone();
        let writer = fifo.writer();
        Self::set_reader_nonblocking(&mut reader, false);
        (writer, reader)
    }

    fn set_writer_nonblocking(writer: &mut File, nonblocking: bool) {
        set_nonblocking(writer, nonblocking);
    }

    fn set_reader_nonblocking(reader: &mut File, nonblocking: bool) {
        set_nonblocking(reader, nonblocking);
    }

    fn is_waiting(process: u32, thread: u32) -> bool {
        reads_or_writes(process, thread)
    }
}

impl Named for Fifo {
    const KIND: &'static str = "fifo";

    fn make() -> Self {
        let directory = Directory::new();
        let path = directory.join("pipe");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        Self { path, _directory: Some(directory) }
    }

    fn of(name: &str) -> Self {
        Self { path: name.into(), _directory: None }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn writer(&self) -> File {
        self.open(File::options().write(true)).unwrap()
    }

    fn reader(&self) -> File {
        self.open(File::options().read(true)).unwrap()
    }

    fn writer_alone(&self) -> std::io::Result<File> {
        self.open(File::options().write(true).custom_flags(libc::O_NONBLOCK))
    }

    fn reader_alone(&self) -> File {
        self.open(File::options().read(true).custom_flags(libc::O_NONBLOCK)).unwrap()
    }
}

/// Whoever opens it first makes the kernel's pipe, and any end may set its size.
fn sized<F: AsFd>(end: F) -> F {
    fcntl_setpipe_size(&end, CAPACITY).unwrap();
    end
}

fn set_nonblocking(end: &impl AsFd, nonblocking: bool) {
    let mut flags = fcntl_getfl(end).unwrap();
    flags.set(OFlags::NONBLOCK, nonblocking);
    fcntl_setfl(end, flags).unwrap();
}

/// Blocked in a call that reads or writes a descriptor.
pub fn reads_or_writes(process: u32, thread: u32) -> bool {
    let path = format!("/proc/{process}/task/{thread}/syscall");
    let number = std::fs::read_to_string(path).ok().and_then(|line| {
        line.split(' ').next()?.trim().parse::<libc::c_long>().ok() // "running", if it runs
    });
    let calls = [libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev];
    number.is_some_and(|number| calls.contains(&number))
}

/// Ours.
pub struct BytePipe {
    name: String,
    ring: bytes::Ring,
    _remove: Option<Name>,
}

impl PipeLike for BytePipe {
    type Writer = bytes::Writer;
    type Reader = bytes::Reader;

    fn pair() -> (bytes::Writer, bytes::Reader) {
        bytes::channel(CAPACITY).unwrap()
    }

    fn set_writer_nonblocking(writer: &mut bytes::Writer, nonblocking: bool) {
        writer.set_nonblocking(nonblocking);
    }

    fn set_reader_nonblocking(reader: &mut bytes::Reader, nonblocking: bool) {
        reader.set_nonblocking(nonblocking);
    }

    fn is_waiting(process: u32, thread: u32) -> bool {
        asleep::for_long(process, thread)
    }
}

impl Named for BytePipe {
    const KIND: &'static str = "bytes";

    fn make() -> Self {
        let name = Name::new();
        let ring = bytes::Ring::options().capacity(CAPACITY).create(&name).unwrap();
        Self { name: name.to_string(), ring, _remove: Some(name) }
    }

    fn of(name: &str) -> Self {
        let ring = bytes::Ring::options().open(name).unwrap();
        Self { name: name.into(), ring, _remove: None }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn writer(&self) -> bytes::Writer {
        self.ring.writer().unwrap()
    }

    fn reader(&self) -> bytes::Reader {
        self.ring.reader().unwrap()
    }

    fn writer_alone(&self) -> std::io::Result<bytes::Writer> {
        let mut writer = self.writer();
        writer.set_nonblocking(true);
        Ok(writer)
    }

    fn reader_alone(&self) -> bytes::Reader {
        let mut reader = self.reader();
        reader.set_nonblocking(true);
        reader
    }
}
