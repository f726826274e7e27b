//! Whether all that was sent has arrived: whole, once, and in order.

use std::hint::black_box;

use crate::contenders::{Labelled, Lengths, Link, consists_of};

/// The label of the mark that ends a turn. Each receiver gets one, behind everything else.
pub const END: u64 = u64::MAX;
/// The label of an item: its sender's number above these bits, a serial number below.
pub const SERIAL_BITS: u32 = 48;

/// An item that lies in memory as a whole, of which the compiler knows nothing: so it builds all of
/// what is sent, and copies all of what is received by copying. A single word stays in a register,
/// as a user's would.
#[inline(always)]
pub fn opaque<P: ?Sized>(item: &P) -> &P {
    if size_of_val(item) > size_of::<u64>() { black_box(item) } else { item }
}

/// What a receiver checks.
pub struct Check {
    expected: Vec<u64>,
    /// With one receiver every serial number must come, otherwise only in order.
    all: bool,
    lengths: Lengths,
    /// The item of a stream of bytes of which some bytes have come.
    begun: Begun,
    pub items: u64,
    pub sum: u64,
    pub bad: u64,
    pub ended: bool,
}

#[derive(Default)]
struct Begun {
    bytes: usize,
    label: u64,
    torn: bool,
}

impl Check {
    pub fn new(link: &Link) -> Self {
        Self {
            expected: vec![0; link.senders as usize],
            all: link.receivers == 1,
            lengths: link.lengths(),
            begun: Begun::default(),
            items: 0,
            sum: 0,
            bad: 0,
            ended: false,
        }
    }

    /// The next turn begins.
    pub fn go_on(&mut self) {
        self.ended = false;
    }

    #[inline(always)]
    pub fn look<P: Labelled + ?Sized>(&mut self, item: &P) {
        let item = opaque(item);
        let label = item.label();
        self.count(label, item.whole(self.lengths.of(label)));
    }

    /// Looks at what has come of a stream of bytes: any number of words, of any number of items.
    #[inline(always)]
    pub fn look_at_piece(&mut self, piece: &[u8]) {
        let mut rest = opaque(piece);
        while !rest.is_empty() {
            let missing = self.lengths.most - self.begun.bytes;
            let (now, later) = rest.split_at(missing.min(rest.len()));
            if self.begun.bytes == 0 {
                self.begun.label = now.label();
            }
            self.begun.bytes += now.len();
            self.begun.torn |= !now.len().is_multiple_of(8) || !consists_of(now, self.begun.label);
            if self.begun.bytes == self.lengths.most {
                let Begun { label, torn, .. } = std::mem::take(&mut self.begun);
                self.count(label, !torn);
            }
            rest = later;
        }
    }

    #[inline(always)]
    fn count(&mut self, label: u64, whole: bool) {
        if label == END {
            self.ended = true;
            return;
        }
        let serial = label & ((1 << SERIAL_BITS) - 1);
        let good = match self.expected.get_mut((label >> SERIAL_BITS) as usize) {
            None => false,
            Some(expected) => {
                let fits = if self.all { serial == *expected } else { serial >= *expected };
                *expected = serial + 1;
                fits
            }
        };
        self.bad += u64::from(!(good && whole && !self.ended));
        self.sum = self.sum.wrapping_add(label);
        self.items += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::{Item, Load, Wait, Work};

    fn link(senders: u32, receivers: u32, load: Load) -> Link {
        Link {
            work: Work::Stream,
            load,
            scratch: String::new(),
            name: String::new(),
            fds: Vec::new(),
            size: 64,
            batch: 1,
            capacity: 1,
            senders,
            receivers,
            wait: Wait::Usual,
            crowded: false,
            effort: 0,
        }
    }

    fn check(senders: u32, receivers: u32, labels: &[u64]) -> Check {
        let mut check = Check::new(&link(senders, receivers, Load::Items));
        let mut item = Item([0; 8]);
        for label in labels {
            item.set_label(*label);
            check.look(&item);
        }
        check
    }

    #[test]
    fn a_receiver_takes_what_comes_in_order_and_whole() {
        let second = 1 << SERIAL_BITS;
        let check = check(2, 1, &[0, second, 1, 2, second + 1, END]);
        assert_eq!((check.items, check.bad, check.ended), (5, 0, true));
    }

    #[test]
    fn a_lost_doubled_or_late_item_is_noticed() {
        assert_eq!(check(1, 1, &[0, 2, 3]).bad, 1);
        assert_eq!(check(1, 1, &[0, 1, 1, 2]).bad, 1);
        assert_eq!(check(1, 1, &[1, 0]).bad, 2);
        // Others receive too: gaps are theirs, but order holds.
        assert_eq!(check(1, 2, &[0, 5, 7]).bad, 0);
        assert_eq!(check(1, 2, &[5, 3]).bad, 1);
        assert_eq!(check(1, 1, &[0, END, 1]).bad, 1);
        let mut later = check(1, 1, &[0, END]);
        later.go_on();
        later.look(&Item([1; 1]));
        assert_eq!((later.items, later.bad), (2, 0));
        // From a sender that there is not.
        assert_eq!(check(1, 1, &[3 << SERIAL_BITS]).bad, 1);
    }

    #[test]
    fn a_torn_item_is_noticed() {
        let mut item = Item([0; 8]);
        for torn in 1..8 {
            item.set_label(0);
            item.0[torn] ^= 1;
            let mut check = check(1, 1, &[]);
            check.look(&item);
            assert_eq!(check.bad, 1, "word {torn}");
        }
    }

    #[test]
    fn a_message_cut_short_or_run_together_with_another_is_noticed() {
        for varied in [false, true] {
            let link = link(1, 1, Load::Messages { varied });
            let mut message = [0; 80];
            for label in 0..100 {
                let length = link.lengths().of(label);
                assert!((Lengths::LEAST..=64).contains(&length));
                for (length, bad) in [(length, 0), (length - 1, 1), (length + 1, 1)] {
                    let mut check = Check::new(&link);
                    check.expected[0] = label;
                    message.set_label(label);
                    check.look(&message[..length]);
                    assert_eq!((check.items, check.bad), (1, bad), "{length} of {label}");
                }
            }
        }
    }

    #[test]
    fn a_stream_may_come_in_any_pieces_but_whole() {
        let mut stream = Vec::new();
        for label in [0, 1, 2, END] {
            let mut item = [0; 64];
            item.set_label(label);
            stream.extend(item);
        }
        let check = |stream: &[u8], piece| {
            let mut check = Check::new(&link(1, 1, Load::Bytes));
            stream.chunks(piece).for_each(|piece| check.look_at_piece(piece));
            (check.items, check.bad, check.ended)
        };
        for piece in (8..=256).step_by(8) {
            assert_eq!(check(&stream, piece), (3, 0, true), "{piece}");
        }
        for torn in 8..192 {
            let mut stream = stream.clone();
            stream[torn] ^= 1;
            let (items, bad, ended) = check(&stream, 24);
            assert!(bad > 0 && ended && items == 3, "byte {torn}");
        }
        stream.drain(8..16);
        assert!(check(&stream, 24).1 > 0);
    }
}
