//! What travels: values that show if they were torn, and say who sent them.

use bytemuck::{AnyBitPattern, NoUninit};
use harness::rng::mix;

/// 24 bytes in three words, each of which follows from the first: a value that is partly another
/// value, or partly old memory, is not genuine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, NoUninit, AnyBitPattern)]
pub struct Item {
    id: u64,
    inverse: u64,
    mixed: u64,
}

/// Who sent a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The harness: before the operation, beside it or afterwards.
    Harness,
    /// The victim, in the operation at which it is killed.
    Victim,
    /// Nobody: it was written into a slot and never published.
    Ghost,
}

impl Item {
    /// The value with the number `number` of those by `by`.
    pub fn new(by: By, number: usize) -> Self {
        let by: u64 = match by {
            By::Harness => 1,
            By::Victim => 2,
            By::Ghost => 3,
        };
        let id = by << 32 | number as u64;
        Self { id, inverse: !id, mixed: mix(id) }
    }

    /// Who sent it, as the how many-th; `None` if no one did: it is torn.
    pub fn origin(&self) -> Option<(By, usize)> {
        let genuine = self.inverse == !self.id && self.mixed == mix(self.id);
        let by = match self.id >> 32 {
            1 => By::Harness,
            2 => By::Victim,
            3 => By::Ghost,
            _ => return None,
        };
        genuine.then_some((by, (self.id & 0xffff_ffff) as usize))
    }
}
