//! What travels: values that show if they were torn, and say who sent them.

use bytemuck::{AnyBitPattern, NoUninit};
use harness::Value;
use harness::carrier::PADDING;
use harness::rng::mix;

use crate::rings::CAPACITY;

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

/// Bytes that the messages take that the harness sends, 8 for their length included: as many in a
/// row as there are fill a ring, also in granules of 64 bytes. Small and large take turns, so that
/// some wrap around the ring's end.
const LENGTHS: [usize; CAPACITY] = [64, 1024, 128, 512, 1344, 384, 512, 128];
/// The same of those that are killed: a few granules.
const VICTIMS: usize = 168;

impl Value for Item {
    const RECORD: usize = 512;

    fn message_len(&self) -> usize {
        match self.origin() {
            Some((By::Harness, number)) => LENGTHS[number % CAPACITY] - 8,
            _ => VICTIMS - 8,
        }
    }

    /// Bytes that follow from the number and their place, and the value at their end.
    fn to_bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let (filling, last) = bytes.split_at_mut(len - size_of::<Self>());
        // A victim does this step by step: few of them.
        for (place, word) in filling.chunks_mut(8).enumerate() {
            let filling = mix(self.id ^ (place as u64) << 40).to_ne_bytes();
            word.copy_from_slice(&filling[..word.len()]);
        }
        last.copy_from_slice(bytemuck::bytes_of(self));
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let torn = Self { id: 0, inverse: 0, mixed: 0 };
        if bytes.ends_with(&[PADDING; 8]) {
            return if begins_a_victims(bytes) { None } else { Some(torn) };
        }
        let Some(last) = bytes.last_chunk::<{ size_of::<Self>() }>() else { return Some(torn) };
        let value: Self = bytemuck::pod_read_unaligned(last);
        let lens = [Self::RECORD, value.message_len()];
        let whole = lens.iter().any(|&len| value.to_bytes(len).ends_with(bytes));
        Some(if whole { value } else { torn })
    }
}

/// It is the beginning of a record that a victim was writing, and padding.
fn begins_a_victims(bytes: &[u8]) -> bool {
    let begun = bytes.iter().rposition(|byte| *byte != PADDING).map_or(0, |last| last + 1);
    (0..CAPACITY).any(|number| {
        Item::new(By::Victim, number).to_bytes(Item::RECORD).starts_with(&bytes[..begun])
    })
}
