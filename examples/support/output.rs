//! What the examples print, and what becomes of that when nobody reads it any more.
//!
//! A program whose output goes to `head` is to end quietly when `head` has seen enough. Rust has
//! such programs ignore `SIGPIPE`, and `println!` panics then. So they write to [`Stdout`], whose
//! error passes through all of them, past what closes rings and ends children, up to
//! [`exit`](super::exit), which knows it. (A pipe between two processes that breaks is another
//! matter, and an error.)

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Columns that nothing printed goes beyond, unless it is somebody else's.
pub const COLUMNS: usize = 80;

/// Standard output.
#[derive(Debug)]
pub struct Stdout(io::Stdout);

/// See [`Stdout`].
pub fn stdout() -> Stdout {
    Stdout(io::stdout())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told)
    }
}

/// Nobody reads what this program prints.
#[derive(Debug)]
struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl Error for NobodyReads {}

fn told(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, NobodyReads),
        _ => error,
    }
}

/// This is why the program ends: somebody has seen enough.
pub fn nobody_reads(error: &(dyn Error + 'static)) -> bool {
    let error: Option<&io::Error> = error.downcast_ref();
    error.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<NobodyReads>())
}

/// A line on a terminal that says how far long work is, and how fast it goes. Nothing where
/// standard error is no terminal.
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: u64,
    began: Instant,
    shown: Option<Instant>,
    live: bool,
}

impl Progress {
    /// How often it is written anew.
    const EVERY: Duration = Duration::from_millis(100);

    /// Of `total`.
    pub fn new(what: impl Into<String>, total: u64) -> Self {
        let (began, live) = (Instant::now(), io::stderr().is_terminal());
        Self { what: what.into(), total, began, shown: None, live }
    }

    /// So much is done, at this speed (`rate` makes words of it).
    pub fn at(&mut self, done: u64, rate: impl FnOnce(u64, Duration) -> String) {
        let now = Instant::now();
        if !self.live || self.shown.is_some_and(|at| now - at < Self::EVERY) {
            return;
        }
        self.shown = Some(now);
        let percent = (u128::from(done) * 100).checked_div(self.total.into()).unwrap_or(100);
        let line = format!("{}: {percent} %, {}", self.what, rate(done, now - self.began));
        // Not an error of the work's, if it cannot be told how far it is.
        let _ = write!(io::stderr(), "\r{line:.79}\x1b[K");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// A path in at most so many columns, without its middle if need be.
pub fn shortened(path: &std::path::Path, columns: usize) -> String {
    let text: Vec<char> = path.to_string_lossy().chars().collect();
    if text.len() <= columns {
        return text.into_iter().collect();
    }
    let (head, tail) = (columns / 3, columns - columns / 3 - 3);
    let end = &text[text.len() - tail..];
    text[..head].iter().chain(&['.'; 3]).chain(end).collect()
}
