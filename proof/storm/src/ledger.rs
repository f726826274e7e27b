//! The ledger: what was sent, what arrived, and whether the difference is what deaths may cost.
//!
//! Every item of every sender is accounted for, one by one:
//!
//! * An item is **final** once a receiver's log says that it was received and released. Never
//!   twice: after that nobody may get it again.
//! * Before that it may be delivered any number of times, to receivers that died before they
//!   released it, or gave it back; all but one of these deliveries must be marked.
//! * A call that returned has sent all its items, so all must become final. Of a call that was cut
//!   off by a death, the items may be absent from some item on; those before must become final.
//! * An item that is not final was **taken** along by a dead receiver: it lies in the buffer of a
//!   slice call that was cut off, or was logged and about to be released, or there is a receiver,
//!   one for each such item, that died in a single call at the right time ([`matching`]).
//! * Each receiver sees each sender's items in order, but for those marked as delivered before.
//!
//! Whatever does not fit is a fault, and the storm has failed.
//!
//! [`matching`]: crate::matching

use std::collections::{HashMap, HashSet, VecDeque};

use crate::board::{Call, Entry, Mark, Parcel};
use crate::matching::{self, Taker, Vanished};
use crate::worker::Outcome;

/// What is known of one item.
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    /// Delivered at all, and first so at this time.
    received_at: Option<u64>,
    sent_at: u64,
    /// Delivered without a mark.
    unmarked: bool,
    released: bool,
    /// Its receiver died while releasing it, or with it in its buffer.
    excused: bool,
}

/// One incarnation of a sender.
#[derive(Debug, Default)]
struct Sender {
    /// All before it are final.
    base: u64,
    /// From `base` on, up to the last one seen.
    window: VecDeque<Item>,
    /// Final, but never delivered without a mark so far: the log with the unmarked delivery may be
    /// read later than that of the adopter.
    only_marked: HashSet<u64>,
    /// When the call began that sent the last of those before `base`.
    last_sent_at: u64,
    ended: Option<Ended>,
}

/// What a sender has left.
#[derive(Clone, Copy, Debug)]
struct Ended {
    /// How many its finished calls have sent.
    sent: u64,
    /// How many more its unfinished call was about.
    more: u64,
    at: u64,
}

/// What a receiver received without a mark: sender and number of the first and the last item.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: (u64, u64),
    last: (u64, u64),
    /// Each item came from the same sender as the one before and after it, or from a later sender.
    rises: bool,
}

/// A receiver as its log tells, while it lives.
#[derive(Debug, Default)]
pub struct Reader {
    latest: HashMap<u64, u64>,
    span: Option<Span>,
    /// Logged, not yet released.
    held: Vec<(Parcel, Mark, u64)>,
}

/// Sums, for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Published items.
    pub sent: u64,
    /// Slots that these took.
    pub slots: u64,
    /// Received and released.
    pub received: u64,
    /// Received items that were marked as delivered before.
    pub redelivered: u64,
    /// Not published: their senders died in the call.
    pub absent: u64,
    /// Taken along by receivers that died in the call.
    pub taken: u64,
    /// Neither.
    pub unaccounted: u64,
}

/// All of it.
#[derive(Debug)]
pub struct Ledger {
    /// How many slots an item takes.
    slots: fn(&Parcel) -> u64,
    senders: HashMap<u64, Sender>,
    takers: Vec<Taker>,
    /// Finished with: only their sums count.
    sums: Sums,
    vanished: Vec<Vanished>,
    /// Of each receiver, by number.
    spans: Vec<(u64, Span)>,
}

/// No sender gets so far ahead of its missing items.
const WINDOW: u64 = 50_000_000;

impl Ledger {
    /// An empty one, of items that take so many slots each.
    pub fn new(slots: fn(&Parcel) -> u64) -> Self {
        Self {
            slots,
            senders: HashMap::new(),
            takers: Vec::new(),
            sums: Sums::default(),
            vanished: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// The next line of a receiver's log.
    pub fn read(&mut self, reader: &mut Reader, entry: Entry) -> Outcome {
        match entry {
            Entry::Item(parcel, mark, at) => {
                let Parcel { sender, seq, .. } = parcel;
                if !parcel.is_whole() {
                    return Err(format!("torn, or never sent: {parcel:?}"));
                }
                let latest = reader.latest.insert(sender, seq);
                if mark == Mark::First && latest.is_some_and(|latest| seq <= latest) {
                    return Err(format!("out of order: {parcel:?} after {latest:?}"));
                }
                if mark == Mark::First {
                    let item = (sender, seq);
                    let new = Span { first: item, last: item, rises: true };
                    let span = reader.span.get_or_insert(new);
                    span.rises &= item >= span.last;
                    span.last = item;
                }
                if latest.is_some_and(|latest| seq < latest) {
                    reader.latest.insert(sender, latest.unwrap_or_default());
                }
                reader.held.push((parcel, mark, at));
            }
            Entry::Released(count) => {
                for (i, (parcel, mark, at)) in std::mem::take(&mut reader.held).iter().enumerate() {
                    self.deliver(parcel, *mark, *at, (i as u64) < count)?;
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, parcel: &Parcel, mark: Mark, at: u64, released: bool) -> Outcome {
        if released {
            self.sums.received += 1;
            self.sums.redelivered += u64::from(mark == Mark::Again);
        }
        let sender = self.senders.entry(parcel.sender).or_default();
        let Some(ahead) = parcel.seq.checked_sub(sender.base) else {
            if released {
                return Err(format!("received again after its release: {parcel:?} ({mark:?})"));
            }
            if mark == Mark::First && !sender.only_marked.remove(&parcel.seq) {
                return Err(format!("delivered twice without a mark: {parcel:?}"));
            }
            return Ok(());
        };
        if ahead >= WINDOW {
            return Err(format!("far ahead of what is missing: {parcel:?}"));
        }
        if sender.window.len() as u64 <= ahead {
            sender.window.resize(ahead as usize + 1, Item::default());
        }
        let item = &mut sender.window[ahead as usize];
        if released && item.released {
            return Err(format!("received again after its release: {parcel:?} ({mark:?})"));
        }
        if mark == Mark::First && item.unmarked {
            return Err(format!("delivered twice without a mark: {parcel:?}"));
        }
        item.unmarked |= mark == Mark::First;
        item.released |= released;
        item.sent_at = parcel.sent_at;
        item.received_at = Some(item.received_at.map_or(at, |before| before.min(at)));
        while let Some(&item) = sender.window.front()
            && item.released
        {
            sender.window.pop_front();
            if !item.unmarked {
                sender.only_marked.insert(sender.base);
            }
            sender.base += 1;
            sender.last_sent_at = item.sent_at;
        }
        Ok(())
    }

    /// Receiver `number` is gone: killed in `call`, which began at `begun`, if it was a single one.
    pub fn end_receiver(
        &mut self,
        number: u64,
        reader: Reader,
        call: Call,
        begun: u64,
        died: u64,
        buffer: Vec<Parcel>,
    ) -> Outcome {
        let releasing = match call {
            Call::Releasing(count) => count as usize,
            _ => 0,
        };
        for (i, (parcel, mark, at)) in reader.held.iter().enumerate() {
            self.deliver(parcel, *mark, *at, false)?;
            if i < releasing {
                self.excuse(parcel);
            }
        }
        self.spans.extend(reader.span.map(|span| (number, span)));
        if call == Call::Slice {
            // Older contents of the buffer are final, which no excuse changes.
            buffer.iter().for_each(|parcel| self.excuse(parcel));
        }
        if call == Call::Single {
            self.takers.push(Taker { begun, died, latest: reader.latest });
        }
        Ok(())
    }

    fn excuse(&mut self, parcel: &Parcel) {
        let sender = self.senders.entry(parcel.sender).or_default();
        let Some(ahead) = parcel.seq.checked_sub(sender.base).filter(|&ahead| ahead < WINDOW)
        else {
            return;
        };
        if sender.window.len() as u64 <= ahead {
            sender.window.resize(ahead as usize + 1, Item::default());
        }
        let item = &mut sender.window[ahead as usize];
        item.excused = true;
        item.sent_at = parcel.sent_at;
    }

    /// A sender is gone: its finished calls had sent `sent` items, its unfinished one was about
    /// `more`.
    pub fn end_sender(&mut self, number: u64, sent: u64, more: u64, at: u64) -> Outcome {
        let sender = self.senders.entry(number).or_default();
        if sender.ended.replace(Ended { sent, more, at }).is_some() {
            return Err(format!("two senders have the number {number}"));
        }
        Ok(())
    }

    /// Closes the accounts of senders that had ended before this time: long enough ago for all
    /// they sent to have arrived, by whatever detours.
    pub fn close_old(&mut self, before: u64) -> Outcome {
        let old = |sender: &Sender| sender.ended.is_some_and(|ended| ended.at < before);
        let done: Vec<_> = self.senders.iter().filter(|(_, s)| old(s)).map(|(&n, _)| n).collect();
        done.into_iter().try_for_each(|number| self.close(number))
    }

    fn close(&mut self, number: u64) -> Outcome {
        let Some(sender) = self.senders.remove(&number) else {
            return Ok(());
        };
        let Some(Ended { sent, more, .. }) = sender.ended else {
            return Err(format!("items of sender {number}, who never was"));
        };
        let published = sent.max(sender.base + sender.window.len() as u64);
        if published > sent + more {
            return Err(format!(
                "sender {number} has sent {sent} and was sending {more} more, and {published} came"
            ));
        }
        self.sums.sent += published;
        let slots = |seq| (self.slots)(&Parcel::new(number, seq, 0));
        self.sums.slots += (0..published).map(slots).sum::<u64>();
        self.sums.absent += sent + more - published;
        for ahead in 0..published - sender.base {
            let (seq, ahead) = (sender.base + ahead, ahead as usize);
            let item = sender.window.get(ahead).copied().unwrap_or_default();
            if item.released {
                continue;
            }
            if item.excused {
                self.sums.taken += 1;
                continue;
            }
            let ahead = ahead.min(sender.window.len());
            // It was sent after the one before it, and taken before the one after it was received:
            // unless it is one that was delivered again, at any later time.
            let before = sender.window.range(..ahead).rev().map(|i| i.sent_at).find(|&at| at > 0);
            let after = sender.window.range(ahead..).find_map(|i| i.received_at);
            self.vanished.push(Vanished {
                sender: number,
                seq,
                sent_after: before.unwrap_or(sender.last_sent_at),
                received_before: after.unwrap_or(u64::MAX),
                delivered: item.received_at.is_some(),
            });
        }
        Ok(())
    }

    /// Where there is one producer and one consumer at a time: the consumers, in the order in which
    /// they came, received what the producers sent, in the order in which those came.
    pub fn in_one_order(&mut self) -> Outcome {
        self.spans.sort_unstable_by_key(|&(number, _)| number);
        if let Some(span) = self.spans.iter().find(|(_, span)| !span.rises) {
            return Err(format!("a consumer received out of order: {span:?}"));
        }
        match self.spans.windows(2).find(|pair| pair[0].1.last >= pair[1].1.first) {
            Some(pair) => Err(format!("out of order from one consumer to the next: {pair:?}")),
            None => Ok(()),
        }
    }

    /// Closes all accounts. The ring is drained.
    pub fn settle(&mut self) -> Outcome<Sums> {
        let mut numbers: Vec<_> = self.senders.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.close(number)?;
        }
        let lost = matching::unmatched(&self.vanished, &self.takers);
        self.sums.taken += (self.vanished.len() - lost.len()) as u64;
        self.sums.unaccounted += lost.len() as u64;
        if let Some(first) = lost.first() {
            return Err(format!(
                "lost: {} items that no dead receiver can have taken, such as {first:?}",
                lost.len()
            ));
        }
        Ok(self.sums)
    }
}
