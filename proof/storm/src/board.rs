//! The board: memory in which workers note what they do, and which a `SIGKILL` does not take away.
//!
//! A memfd that the supervisor makes and every worker maps, as an array of 64-bit atomics. Each
//! endpoint of each worker has a *lane* of it: a few words about the call it is in, a buffer into
//! which it receives slices, and a log of what it received. The supervisor reads the log while it
//! grows, and everything else once the worker is dead and reaped.
//!
//! **Why a note can be believed.** A kill comes between two instructions, as a signal handler does:
//! whatever the compiler has put before that point has happened and will be seen, whatever it put
//! after has not. So all it takes is that the compiler keeps notes and calls in the order in which
//! they are written: [`settle`] after every note that a call must not overtake. A call is thus
//! noted before its first effect, and noted as returned after its last.
//!
//! **Where an item is when its receiver dies.**
//!
//! * A slice is received *into the lane*. Items of an unfinished call that were released are hence
//!   in the buffer, by name; nothing is guessed.
//! * In place, items are logged before they are released, and the log confirms the release
//!   afterwards. In between the lane says how many are being released.
//! * A single value comes back in a register. Only here can an item vanish without a trace, one per
//!   death in such a call; the lane says when the call began, to narrow it down.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, compiler_fence};
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use harness::rng::mix;
use harness::{Value, memory, now};

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Parcel {
    /// The incarnation of the sender; no two share a number.
    pub sender: u64,
    /// Counts the incarnation's parcels from 0.
    pub seq: u64,
    /// When the call that sent it began.
    pub sent_at: u64,
    check: u64,
}

impl Parcel {
    pub fn new(sender: u64, seq: u64, sent_at: u64) -> Self {
        Self { sender, seq, sent_at, check: check(sender, seq, sent_at) }
    }

    /// What nobody has sent.
    pub fn torn() -> Self {
        Self { sender: 0, seq: 0, sent_at: 0, check: 0 }
    }

    /// It is what its sender wrote.
    pub fn is_whole(&self) -> bool {
        self.check == check(self.sender, self.seq, self.sent_at)
    }
}

/// A message is filled with what belongs to it alone; a record is the parcel itself.
impl Value for Parcel {
    const RECORD: usize = size_of::<Self>();

    /// Any, mostly short; those of nobody, with which a ring is filled in the end, are all alike.
    fn message_len(&self) -> usize {
        let by_chance = mix(self.sender ^ mix(self.seq)) as usize;
        let more = match by_chance % 32 {
            _ if self.sender == u64::MAX => 56 - Self::RECORD,
            0 => by_chance / 32 % 1_400,
            1..12 => by_chance / 32 % 24,
            _ => by_chance / 32 % 300,
        };
        Self::RECORD + more
    }

    fn to_bytes(&self, len: usize) -> Vec<u8> {
        let filling = self.check.to_ne_bytes().into_iter().cycle().take(len - Self::RECORD);
        filling.chain(bytemuck::bytes_of(self).iter().copied()).collect()
    }

    /// One that is too short or too long is torn, too.
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let torn = Self::torn();
        let last = bytes.last_chunk::<{ size_of::<Self>() }>();
        let parcel = last.map_or(torn, |last| bytemuck::pod_read_unaligned(last));
        let len = bytes.len();
        let fits = [Self::RECORD, parcel.message_len()].contains(&len);
        Some(if fits && parcel.to_bytes(len) == bytes { parcel } else { torn })
    }
}

fn check(sender: u64, seq: u64, sent_at: u64) -> u64 {
    mix(mix(mix(sender ^ 0x5701_2a5b) ^ seq) ^ sent_at)
}

/// Keeps what is written before it before what comes after it, as far as a kill can tell.
pub fn settle() {
    compiler_fence(SeqCst);
}

/// The most items that one call moves.
pub const BATCH: usize = 24;

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Send and receive.
    Storm,
    /// Senders leave, receivers go on.
    WindDown,
    /// Receivers leave at end-of-file.
    Drain,
}

const PHASE: usize = 0;
const SENDERS: usize = 1;
const RECEIVERS: usize = 2;
const LANES: usize = 16;

const SENDER: usize = 0;
const SENT: usize = 1;
const RECEIVER: usize = 2;
const CALL: usize = 3;
const BEGUN: usize = 4;
const LEFT: usize = 5;
const WRITTEN: usize = 8;
const READ: usize = 16;
const BUFFER: usize = 24;
const LOG: usize = BUFFER + BATCH * PARCEL;
const PARCEL: usize = size_of::<Parcel>() / 8;
const ENTRY: usize = 5;
const ENTRIES: u64 = 4096;
const LANE: usize = (LOG + ENTRIES as usize * ENTRY).next_multiple_of(512);

/// The board, mapped for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    words: &'static [AtomicU64],
    lanes: usize,
}

impl Board {
    /// A new one. Workers reach it through `/proc`.
    pub fn create(lanes: usize) -> io::Result<(OwnedFd, Self)> {
        let fd = memory::create("storm-board", 8 * Self::words(lanes))?;
        let board = Self::map(&fd, lanes)?;
        Ok((fd, board))
    }

    /// The one behind a descriptor.
    pub fn map(fd: impl AsFd, lanes: usize) -> io::Result<Self> {
        Ok(Self { words: memory::words(fd, Self::words(lanes))?, lanes })
    }

    fn words(lanes: usize) -> usize {
        LANES + lanes * LANE
    }

    fn word(&self, index: usize) -> &'static AtomicU64 {
        &self.words[index]
    }

    pub fn phase(&self) -> Phase {
        match self.word(PHASE).load(Acquire) {
            0 => Phase::Storm,
            1 => Phase::WindDown,
            _ => Phase::Drain,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.word(PHASE).store(phase as u64, Release);
    }

    /// The lane with this index.
    pub fn lane(&self, index: usize) -> Lane {
        assert!(index < self.lanes);
        Lane { board: *self, at: LANES + index * LANE }
    }
}

/// What a receiver is doing, as far as its lane says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Nothing from which an item could vanish.
    None,
    /// Receiving one value, which comes back in a register.
    Single,
    /// Receiving a slice into the lane's buffer.
    Slice,
    /// Releasing the first so many of the items that were logged last.
    Releasing(u64),
}

/// Whether an item had been delivered before, as its receiver was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It had not.
    First,
    /// It had.
    Again,
}

impl Mark {
    /// Of item `index` of several, the first `again` of which had been delivered before.
    pub fn of(index: usize, again: usize) -> Self {
        if index < again { Self::Again } else { Self::First }
    }
}

/// A line of a receiver's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Received.
    Item(Parcel, Mark, u64),
    /// Of the items since the last such line, the first so many are released; the others were
    /// given back.
    Released(u64),
}

/// One endpoint's part of the board.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    board: Board,
    at: usize,
}

impl Lane {
    fn word(&self, index: usize) -> &'static AtomicU64 {
        self.board.word(self.at + index)
    }

    /// Forgets the incarnation before. Its process is gone.
    pub fn wipe(&self) {
        for index in [SENDER, SENT, RECEIVER, CALL, BEGUN, LEFT, WRITTEN, READ] {
            self.word(index).store(0, Release);
        }
    }

    /// This end has closed.
    pub fn leave(&self) {
        self.word(LEFT).store(1, Release);
    }

    /// The end has closed.
    pub fn has_left(&self) -> bool {
        self.word(LEFT).load(Acquire) > 0
    }

    // ---- A sender's part.

    /// Numbers this incarnation of a sender, which is attached.
    pub fn become_sender(&self) -> u64 {
        let sender = self.board.word(SENDERS).fetch_add(1, Relaxed) + 1;
        self.word(SENDER).store(sender, Release);
        sender
    }

    /// A call begins that may publish the parcels `from..from + count`.
    pub fn sending(&self, from: u64, count: usize) {
        self.word(SENT).store(from << 8 | count as u64, Release);
        settle();
    }

    /// The call has returned; everything before `next` is sent.
    pub fn sent(&self, next: u64) {
        settle();
        self.word(SENT).store(next << 8, Release);
    }

    /// The sender that was here: its number, how many parcels it has sent, and how many more its
    /// unfinished call was about.
    pub fn sender(&self) -> Option<(u64, u64, u64)> {
        let (sender, sent) = (self.word(SENDER).load(Acquire), self.word(SENT).load(Acquire));
        (sender > 0).then_some((sender, sent >> 8, sent & 0xff))
    }

    // ---- A receiver's part.

    /// Numbers this incarnation of a receiver, which is attached.
    pub fn become_receiver(&self) {
        let receiver = self.board.word(RECEIVERS).fetch_add(1, Relaxed) + 1;
        self.word(RECEIVER).store(receiver, Release);
    }

    /// The receiver that is or was here.
    pub fn receiver(&self) -> Option<u64> {
        Some(self.word(RECEIVER).load(Acquire)).filter(|&receiver| receiver > 0)
    }

    /// A call begins.
    pub fn calling(&self, call: Call) {
        let code = match call {
            Call::None => 0,
            Call::Single => 1,
            Call::Slice => 2,
            Call::Releasing(count) => 3 | count << 2,
        };
        if call == Call::Single {
            self.word(BEGUN).store(now(), Relaxed);
        }
        // With the log's length: if it has grown since, the call had returned.
        let written = self.word(WRITTEN).load(Relaxed);
        self.word(CALL).store(written << 16 | code, Release);
        settle();
    }

    /// The call is over, and what it brought is logged.
    pub fn called(&self) {
        settle();
        self.word(CALL).store(0, Release);
    }

    /// The call in which the receiver was when it died, and when a single one had begun.
    pub fn call(&self) -> (Call, u64) {
        let word = self.word(CALL).load(Acquire);
        let begun = self.word(BEGUN).load(Acquire);
        if word >> 16 != self.word(WRITTEN).load(Acquire) & 0xffff_ffff_ffff {
            return (Call::None, begun);
        }
        let call = match word & 3 {
            1 => Call::Single,
            2 => Call::Slice,
            3 => Call::Releasing(word >> 2 & 0x3fff),
            _ => Call::None,
        };
        (call, begun)
    }

    /// The buffer for slices. For the lane's worker, once.
    pub fn buffer(&self) -> &'static mut [Parcel] {
        let buffer = &self.board.words[self.at + BUFFER..][..BATCH * PARCEL];
        let start = buffer.as_ptr().cast_mut().cast::<Parcel>();
        // SAFETY: `BATCH` parcels from here on lie within the lane; the memory is initialised, any
        // bytes are parcels, and while this worker lives nobody but its one user accesses it.
        unsafe { std::slice::from_raw_parts_mut(start, BATCH) }
    }

    /// What the buffer holds. The lane's worker is dead.
    pub fn in_buffer(&self) -> Vec<Parcel> {
        let parcel = |index: usize| {
            let word = |i| self.word(BUFFER + index * PARCEL + i).load(Acquire);
            Parcel { sender: word(0), seq: word(1), sent_at: word(2), check: word(3) }
        };
        (0..BATCH).map(parcel).filter(Parcel::is_whole).collect()
    }

    /// Waits until the log has room for `entries` more.
    pub fn make_room(&self, entries: usize) {
        let written = self.word(WRITTEN).load(Relaxed);
        while written + entries as u64 > self.word(READ).load(Acquire) + ENTRIES {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Appends to the log, where there is room, all or nothing.
    pub fn log(&self, entries: impl Iterator<Item = Entry>) {
        let mut written = self.word(WRITTEN).load(Relaxed);
        for entry in entries {
            let words = match entry {
                Entry::Item(Parcel { sender, seq, sent_at, check }, mark, at) => {
                    let mark = 1 + mark as u64;
                    [mark | (at << 2), sender, seq, sent_at, check]
                }
                Entry::Released(count) => [0, count, 0, 0, 0],
            };
            let at = LOG + (written % ENTRIES) as usize * ENTRY;
            for (i, word) in words.into_iter().enumerate() {
                self.word(at + i).store(word, Relaxed);
            }
            written += 1;
        }
        self.word(WRITTEN).store(written, Release);
        settle();
    }

    /// Takes what was appended since the last time.
    pub fn take_log(&self, mut each: impl FnMut(Entry)) -> u64 {
        let read = self.word(READ).load(Relaxed);
        let written = self.word(WRITTEN).load(Acquire);
        for index in read..written {
            let at = LOG + (index % ENTRIES) as usize * ENTRY;
            let word = |i| self.word(at + i).load(Relaxed);
            let parcel = Parcel { sender: word(1), seq: word(2), sent_at: word(3), check: word(4) };
            each(match word(0) & 3 {
                0 => Entry::Released(word(1)),
                1 => Entry::Item(parcel, Mark::First, word(0) >> 2),
                _ => Entry::Item(parcel, Mark::Again, word(0) >> 2),
            });
        }
        self.word(READ).store(written, Release);
        written - read
    }
}
