//! The element that `producer` and `consumer` exchange: a line of text, or a part of a long one.

use bytemuck::{AnyBitPattern, NoUninit};
use ringpipe::OpenOrCreateError;
use ringpipe::spsc::Ring;

/// Bytes of a line that one element holds.
pub const ROOM: usize = 256;

/// A line with its newline, or as much of it as fits. Any bytes may be in it.
///
/// `repr(C)`, because another program reads it: the layout must not be the compiler's choice.
#[derive(Clone, Copy, NoUninit, AnyBitPattern)]
#[repr(C)]
pub struct Line {
    len: u32,
    /// Not 0: the line goes on in the next element.
    continues: u32,
    bytes: [u8; ROOM],
}

impl Line {
    /// At most [`ROOM`] bytes.
    pub fn new(text: &[u8], continues: bool) -> Self {
        let mut bytes = [0; ROOM];
        bytes[..text.len()].copy_from_slice(text);
        Self { len: text.len() as u32, continues: continues.into(), bytes }
    }

    /// The bytes, and whether the line goes on; `None` if no honest producer has sent this.
    pub fn read(&self) -> Option<(&[u8], bool)> {
        Some((self.bytes.get(..self.len as usize)?, self.continues != 0))
    }
}

/// Opens the ring of that name, whoever of the two comes first.
///
/// The tag keeps out programs that mean something else by 264 bytes.
pub fn open(name: &str) -> Result<Ring<Line>, OpenOrCreateError> {
    Ring::options().capacity(1024).tag("text line", 1).open_or_create(name)
}
