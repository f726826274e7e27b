//! What a process finds out once.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// A yes or no that is found out, or decided, once and for good.
///
/// Not a `OnceLock`: a child that is forked while another thread finds it out has no such thread,
/// and would wait for it for ever. Here nobody waits: threads that come together all find it out,
/// and the first to have done so is right.
#[derive(Debug)]
pub(crate) struct Fact(AtomicU32);

const UNKNOWN: u32 = 0;
const NO: u32 = 1;
const YES: u32 = 2;

impl Fact {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(UNKNOWN))
    }

    pub(crate) fn get_or(&self, find: impl FnOnce() -> bool) -> bool {
        // Relaxed, all: the word means nothing but itself. What finding it out did was done by the
        // kernel, before it was stored.
        let mut known = self.0.load(Relaxed);
        if known == UNKNOWN {
            let found = if find() { YES } else { NO };
            known = match self.0.compare_exchange(UNKNOWN, found, Relaxed, Relaxed) {
                Ok(_) => found,
                Err(first) => first,
            };
        }
        known == YES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_have_found_it_out_is_right() {
        for [first, second] in [[false, true], [true, false]] {
            let fact = Fact::new();
            assert_eq!(fact.get_or(|| first), first);
            assert_eq!(fact.get_or(|| second), first);
            let fact = Fact::new();
            // Somebody comes meanwhile, be it a child with a copy of its own, and does not wait.
            let found = fact.get_or(|| {
                assert_eq!(fact.get_or(|| first), first);
                second
            });
            assert_eq!(found, first);
        }
    }
}
