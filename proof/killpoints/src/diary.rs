//! The victim's diary: memory that the harness and the victim both map.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering::{Acquire, Release};

use harness::memory;
use harness::region::Raw;

const PAGE: usize = 4096;

/// Where the victim notes how far its operation has come, for the harness to know what it may
/// demand. The victim finds it as its standard input.
#[derive(Debug)]
pub struct Diary(Raw);

impl Diary {
    /// A new one, and the file to hand to the victim.
    pub fn new() -> io::Result<(Self, File)> {
        let file = memory::create("diary", PAGE)?.into();
        Ok((Self(Raw::of_file(&file)), file))
    }

    /// The victim's.
    pub fn from_stdin() -> Self {
        Self(Raw::of_file(&io::stdin()))
    }

    /// What the operation has reached.
    pub fn stage(&self) -> usize {
        self.0.words()[0].load(Acquire) as usize
    }

    /// The operation has reached this.
    pub fn reach(&self, stage: usize) {
        self.0.words()[0].store(stage as u64, Release);
    }
}
