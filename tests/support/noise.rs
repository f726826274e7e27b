//! Streams of bytes that look random: made fast, the same for the same seed, and told apart by a
//! digest at the other end.

use std::io::{self, Read, Write};

#[path = "../../examples/support/hash.rs"]
mod hash;

use super::Rng;
use hash::{Hasher, hex};

/// Bytes of a block, which differs from the one before by its number alone.
const BLOCK: usize = 64 << 10;

/// An endless stream.
pub struct Noise {
    block: Box<[u8]>,
    number: u64,
    at: usize,
}

impl Noise {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let block = (0..BLOCK / 8).flat_map(|_| rng.next().to_ne_bytes()).collect();
        Self { block, number: 0, at: 0 }
    }

    /// Its next bytes.
    pub fn take_vec(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read_exact(&mut bytes).expect("it is endless");
        bytes
    }
}

impl Read for Noise {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == 0 {
            self.block[..8].copy_from_slice(&self.number.to_ne_bytes());
        }
        let len = into.len().min(BLOCK - self.at);
        into[..len].copy_from_slice(&self.block[self.at..self.at + len]);
        self.at = (self.at + len) % BLOCK;
        self.number += u64::from(self.at == 0 && len > 0);
        Ok(len)
    }
}

/// How many bytes came, and which: their SHA-256.
#[derive(Default)]
pub struct Digest {
    len: u64,
    hasher: Hasher,
}

impl Digest {
    /// Of all that `from` has.
    pub fn of(mut from: impl Read) -> io::Result<String> {
        let mut digest = Self::default();
        io::copy(&mut from, &mut digest)?;
        Ok(digest.finish())
    }

    /// "LENGTH SHA256".
    pub fn finish(self) -> String {
        format!("{} {}", self.len, hex(&self.hasher.finish()))
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
