//! What is sent: made of a label that is known nowhere else, so that whoever receives it can say
//! whether it is whole.

use std::borrow::BorrowMut;

use iceoryx2::prelude::ZeroCopySend;
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// What a link carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// Items of a type, whose size the receiver knows.
    Items,
    /// A stream of bytes; an item is what one call writes.
    Bytes,
    /// Messages, whose length the receiver learns with each of them.
    Messages { varied: bool },
    /// Whole files, from one descriptor to another; what arrives is kept in memory, or thrown away.
    Files { kept: bool },
}

/// How long items are.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    pub most: usize,
    /// Anything from [`Lengths::LEAST`] to `most`, as the label says.
    pub varied: bool,
}

impl Lengths {
    pub const LEAST: usize = 16;

    /// Of the item with this label.
    #[inline(always)]
    pub fn of(self, label: u64) -> usize {
        if !self.varied {
            return self.most;
        }
        let hash = label.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let range = (self.most - Self::LEAST + 1) as u64;
        Self::LEAST + ((hash * range) >> 32) as usize
    }

    pub fn mean(self) -> f64 {
        let least = if self.varied { Self::LEAST } else { self.most };
        (least + self.most) as f64 / 2.0
    }
}

/// What can be sent, whether or not its type says how long it is.
pub trait Labelled {
    /// What owns one.
    type Made: BorrowMut<Self>;
    /// One to be labelled, of so many bytes at most.
    fn made(bytes: usize) -> Outcome<Self::Made>;
    /// The first so many bytes of it, unless its type says how long it is.
    fn upto(&mut self, length: usize) -> &mut Self;
    fn label(&self) -> u64;
    /// Makes the item anew, all of it.
    fn set_label(&mut self, label: u64);
    /// Reads all of the item: every word is the label, and there are as many bytes as there should.
    fn whole(&self, length: usize) -> bool;
}

/// An item of a type.
pub trait Payload:
    Labelled + bytemuck::Pod + Send + Sync + std::fmt::Debug + ZeroCopySend + ::crossbar::Pod
{
}

/// An item of so many words: each is its label.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Item<const W: usize>(pub [u64; W]);

// SAFETY: an array of words.
unsafe impl<const W: usize> bytemuck::Zeroable for Item<W> {}
// SAFETY: an array of words, transparently.
unsafe impl<const W: usize> bytemuck::Pod for Item<W> {}
// SAFETY: an array of words, `repr(C)`, without pointers.
unsafe impl<const W: usize> ZeroCopySend for Item<W> {}
// SAFETY: an array of words: plain, any bits are valid, no padding.
unsafe impl<const W: usize> ::crossbar::Pod for Item<W> {}

impl<const W: usize> Payload for Item<W> {}

impl<const W: usize> Labelled for Item<W> {
    type Made = Self;

    fn made(_: usize) -> Outcome<Self> {
        Ok(Self([0; W]))
    }

    #[inline(always)]
    fn upto(&mut self, _: usize) -> &mut Self {
        self
    }

    #[inline(always)]
    fn label(&self) -> u64 {
        self.0[0]
    }

    #[inline(always)]
    fn set_label(&mut self, label: u64) {
        self.0.fill(label);
    }

    #[inline(always)]
    fn whole(&self, _: usize) -> bool {
        // No end at the first word that differs: that would be slower than to read all.
        self.0.iter().fold(0, |wrong, word| wrong | (word ^ self.0[0])) == 0
    }
}

/// Bytes: the label's, again and again. They may lie anywhere, and end within a word.
impl Labelled for [u8] {
    type Made = Vec<u8>;

    fn made(bytes: usize) -> Outcome<Vec<u8>> {
        Ok(vec![0; bytes])
    }

    #[inline(always)]
    fn upto(&mut self, length: usize) -> &mut Self {
        &mut self[..length]
    }

    #[inline(always)]
    fn label(&self) -> u64 {
        self.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word))
    }

    #[inline(always)]
    fn set_label(&mut self, label: u64) {
        let word = label.to_ne_bytes();
        let (words, rest) = self.as_chunks_mut();
        words.fill(word);
        rest.copy_from_slice(&word[..rest.len()]);
    }

    #[inline(always)]
    fn whole(&self, length: usize) -> bool {
        self.len() == length && consists_of(self, self.label())
    }
}

/// Whether these bytes are a label's, from its first one on.
#[inline(always)]
pub fn consists_of(bytes: &[u8], label: u64) -> bool {
    let (words, rest) = bytes.as_chunks();
    let differ = |wrong, word: &[u8; 8]| wrong | (u64::from_ne_bytes(*word) ^ label);
    words.iter().fold(0, differ) == 0 && *rest == label.to_ne_bytes()[..rest.len()]
}
