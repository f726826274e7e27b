//! A worker: a process (or, for contenders that know threads only, all roles in one process) that
//! plays its role turn after turn, and tells what it did and whether all was well.

use std::borrow::BorrowMut as _;
use std::hint::black_box;
use std::time::Duration;

use harness::{now, processors};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::check::{Check, END, SERIAL_BITS, opaque};
use crate::contenders::files::File;
use crate::contenders::{
    Carrier, Contender, Door, Item, Labelled, Link, Load, Payload, Rx, Tx, Work,
};
use crate::control::{Control, Phase};

/// How often those who pass single items look at the phase: after so many of them, or fewer if they
/// are large. A power of two.
fn look_every(link: &Link) -> u64 {
    ((1 << 16) / link.size as u64).clamp(1, 64)
}

/// Between two items at the low rate.
const TICK: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Sender(u32),
    Receiver(u32),
    /// Sends on the first link, and times how long the answer on the second takes.
    Asker,
    Echo,
}

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    pub contender: String,
    pub control: i32,
    pub links: Vec<Link>,
    /// Each with its processor.
    pub roles: Vec<(Role, usize)>,
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    pub role: Role,
    /// All items, and the sum of their labels.
    pub items: u64,
    pub sum: u64,
    /// Items torn, lost, doubled or out of order.
    pub bad: u64,
    pub turns: Vec<Turn>,
}

/// What a worker did in one turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Items while it counted.
    pub measured: u64,
    /// Nanoseconds at [`QUANTILES`]; empty if nothing was timed.
    pub latency: Vec<u64>,
    /// Processor time and voluntary context switches from the turn's beginning to its end.
    pub cpu_ns: u64,
    pub switches: u64,
    pub elapsed_ns: u64,
}

/// Where latencies are told; the last is the longest.
pub const QUANTILES: [f64; 9] = [0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0];
pub const P50: usize = 2;
pub const P99: usize = 5;
pub const P999: usize = 6;
pub const MAX: usize = 8;

/// Plays all roles of the orders with items of a type.
pub fn work<C: Contender>(orders: &Orders) -> Outcome<Vec<Account>> {
    match orders.links[0].size {
        // All other work is done with words; what nobody plays need not be compiled.
        8 if orders.links[0].work != Work::Stream => {
            play_all(orders, C::door::<Item<1>>, |player, doors| player.play_timed(doors))
        }
        8 => play_all(orders, C::door::<Item<1>>, |player, doors| player.play_items(doors)),
        64 => play_all(orders, C::door::<Item<8>>, |player, doors| player.play_items(doors)),
        256 => play_all(orders, C::door::<Item<32>>, |player, doors| player.play_items(doors)),
        1024 => play_all(orders, C::door::<Item<128>>, |player, doors| player.play_items(doors)),
        4096 => play_all(orders, C::door::<Item<512>>, |player, doors| player.play_items(doors)),
        other => Err(format!("no items of {other} bytes").into()),
    }
}

/// The same with bytes and messages.
pub fn carry<C: Carrier<[u8]>>(orders: &Orders) -> Outcome<Vec<Account>> {
    let link = &orders.links[0];
    let how: Play<C::Door> = match link.load {
        _ if link.work != Work::Stream => |player, doors| player.play_timed(doors),
        Load::Bytes => |player, doors| {
            let receive = |rx| player.receive(rx, Check::look_at_piece);
            player.play_stream(doors, |tx, number| player.send(tx, number), receive)
        },
        _ => |player, doors| {
            let receive = |rx| player.receive(rx, Check::look);
            player.play_stream(doors, |tx, number| player.send(tx, number), receive)
        },
    };
    play_all(orders, C::door, how)
}

/// The same with files.
pub fn copy<C: Carrier<File>>(orders: &Orders) -> Outcome<Vec<Account>> {
    play_all(orders, C::door, |player, doors| {
        player.play_stream(doors, |tx, number| player.send(tx, number), |rx| player.time(rx))
    })
}

/// One role's part, given what its links are reached through.
type Play<D> = fn(&Player<'_>, &[D]) -> Outcome<Account>;

fn play_all<D: Sync>(
    orders: &Orders,
    door: fn(&Link) -> Outcome<D>,
    how: Play<D>,
) -> Outcome<Vec<Account>> {
    let control = Control::inherit(orders.control)?;
    let doors = orders.links.iter().map(door).collect::<Outcome<Vec<_>>>()?;
    let play = |(role, processor)| {
        processors::bind(&[processor])?;
        how(&Player { orders, control, role }, &doors)
    };
    if let [only] = orders.roles[..] {
        return Ok(vec![play(only)?]);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = orders.roles.iter().map(|role| scope.spawn(|| play(*role))).collect();
        let joined = threads.into_iter().map(|t| t.join().map_err(|_| "a thread panicked")?);
        joined.collect()
    })
}

struct Player<'a> {
    orders: &'a Orders,
    control: Control,
    role: Role,
}

/// Where the phases of a turn began, in items.
#[derive(Default)]
struct Marks {
    phase: Phase,
    begun: Option<u64>,
    ended: u64,
}

impl Marks {
    /// Looks at the phase; `true` when it is time to rest.
    #[inline(always)]
    fn look(&mut self, control: Control, items: u64) -> bool {
        let phase = control.phase();
        if phase != self.phase {
            self.turn(phase, items);
        }
        phase.is_rest()
    }

    #[cold]
    fn turn(&mut self, phase: Phase, items: u64) {
        if phase.is_measured() {
            self.begun = Some(items);
        }
        if phase.is_rest() {
            self.ended = items;
        }
        self.phase = phase;
    }
}

impl Player<'_> {
    /// Senders of all links together.
    fn senders(&self) -> u32 {
        self.orders.links.iter().map(|link| link.senders).sum()
    }

    fn play_items<P: Payload, D: Door<P>>(&self, doors: &[D]) -> Outcome<Account> {
        let send = |tx, number| match self.link().batch {
            1 => self.send(tx, number),
            _ => self.send_batches(tx, number),
        };
        self.play_stream(doors, send, |rx| self.receive(rx, Check::look))
    }

    fn play_stream<P: Labelled + ?Sized, D: Door<P>>(
        &self,
        doors: &[D],
        send: impl Fn(D::Tx, u64) -> Outcome<Account>,
        receive: impl Fn(D::Rx) -> Outcome<Account>,
    ) -> Outcome<Account> {
        match self.role {
            Role::Sender(number) => {
                let tx = doors[0].tx()?;
                self.control.sender_attached();
                send(tx, u64::from(number))
            }
            Role::Receiver(_) => {
                self.control.until_senders_attached(self.senders());
                receive(doors[0].rx()?)
            }
            other => Err(format!("{other:?} has no part in a stream").into()),
        }
    }

    fn play_timed<P: Labelled + ?Sized, D: Door<P>>(&self, doors: &[D]) -> Outcome<Account> {
        let idle = self.link().work == Work::Idle;
        let (sends_on, receives_on) = match self.role {
            Role::Echo => (1, 0),
            Role::Asker => (0, 1),
            _ => (0, 0),
        };
        if let Role::Receiver(_) = self.role {
            self.control.until_senders_attached(self.senders());
            let rx = doors[receives_on].rx()?;
            return self.hear(rx, idle);
        }
        let tx = doors[sends_on].tx()?;
        self.control.sender_attached();
        match self.role {
            Role::Sender(_) if idle => return self.wait_and_end(tx),
            Role::Sender(_) => return self.tick(tx),
            _ => {}
        }
        self.control.until_senders_attached(self.senders());
        let rx = doors[receives_on].rx()?;
        if self.role == Role::Asker { self.ask(tx, rx) } else { self.echo(tx, rx) }
    }

    fn link(&self) -> &Link {
        &self.orders.links[0]
    }

    /// Plays `part` turn after turn; it returns what it has timed.
    fn turns(
        &self,
        mut part: impl FnMut(&mut Marks) -> Outcome<Option<Histogram<u64>>>,
    ) -> Outcome<Vec<Turn>> {
        let mut turns = Vec::new();
        let mut last = Phase::default();
        while let Some(phase) = self.control.next_turn(last)? {
            last = phase;
            let mut marks = Marks::default();
            let began = Usage::now();
            let times = part(&mut marks)?;
            let now = Usage::now();
            turns.push(Turn {
                measured: marks.begun.map_or(0, |begun| marks.ended - begun),
                latency: times.map(|times| quantiles(&times)).unwrap_or_default(),
                cpu_ns: now.cpu - began.cpu,
                switches: now.switches - began.switches,
                elapsed_ns: now.clock - began.clock,
            });
        }
        Ok(turns)
    }

    fn account(&self, turns: Vec<Turn>, check: &Check) -> Account {
        let Check { items, sum, bad, .. } = *check;
        Account { role: self.role, items, sum, bad, turns }
    }

    /// The item of this label, made anew in what was made for it.
    #[inline(always)]
    fn fill<'i, P: Labelled + ?Sized>(&self, item: &'i mut P, label: u64) -> &'i P {
        let item = item.upto(self.link().lengths().of(label));
        item.set_label(label);
        item
    }

    fn send<P: Labelled + ?Sized>(&self, mut tx: impl Tx<P>, number: u64) -> Outcome<Account> {
        let link = self.link();
        let mut made = P::made(link.size)?;
        let first = number << SERIAL_BITS;
        let (mut label, mut sum, mut toil) = (first, 0_u64, 1_u64);
        let turns = self.turns(|marks| {
            let item: &mut P = made.borrow_mut();
            while !marks.look(self.control, label - first) {
                for _ in 0..look_every(link) {
                    let item = self.fill(item, label);
                    for _ in 0..link.effort {
                        toil = black_box(toil).wrapping_mul(3);
                    }
                    tx.send(opaque(item))?;
                    sum = sum.wrapping_add(label);
                    label += 1;
                }
            }
            self.end_turn(&mut tx, item)
        })?;
        let mut sent = Check::new(link);
        (sent.items, sent.sum) = (label - first, sum);
        Ok(self.account(turns, &sent))
    }

    fn send_batches<P: Payload>(&self, mut tx: impl Tx<P>, number: u64) -> Outcome<Account> {
        let first = number << SERIAL_BITS;
        let mut items = vec![P::zeroed(); self.link().batch];
        let (mut label, mut sum) = (first, 0_u64);
        let turns = self.turns(|marks| {
            while !marks.look(self.control, label - first) {
                for item in &mut items {
                    item.set_label(label);
                    sum = sum.wrapping_add(label);
                    label += 1;
                }
                tx.send_batch(black_box(items.as_slice()))?;
            }
            self.end_turn(&mut tx, &mut items[0])
        })?;
        let mut sent = Check::new(self.link());
        (sent.items, sent.sum) = (label - first, sum);
        Ok(self.account(turns, &sent))
    }

    /// The last sender to be done ends the turn for the receivers.
    fn end_turn<P: Labelled + ?Sized>(
        &self,
        tx: &mut impl Tx<P>,
        item: &mut P,
    ) -> Outcome<Option<Histogram<u64>>> {
        tx.flush()?;
        let link = self.link();
        if self.control.sender_done(link.senders) {
            let mark = self.fill(item, END);
            let before = self.control.marks_taken();
            for sent in 0..link.receivers {
                // One that receives many a call must not take the others' marks along.
                while self.control.marks_taken() < before + sent {
                    std::thread::sleep(Duration::from_micros(50));
                }
                tx.send(mark)?;
                tx.flush()?;
            }
        }
        Ok(None)
    }

    fn receive<P: Labelled + ?Sized>(
        &self,
        mut rx: impl Rx<P>,
        look: impl Fn(&mut Check, &P),
    ) -> Outcome<Account> {
        let (batch, every) = (self.link().batch, look_every(self.link()));
        let mut check = Check::new(self.link());
        let turns = self.turns(|marks| {
            check.go_on();
            while !check.ended {
                if batch == 1 {
                    rx.recv(|item| look(&mut check, item))?;
                    if check.items & (every - 1) != 0 {
                        continue;
                    }
                } else {
                    rx.recv_batch(batch, |item| look(&mut check, item))?;
                }
                marks.look(self.control, check.items);
            }
            self.control.mark_taken();
            // One that had nothing to receive while it counted has not looked.
            marks.look(self.control, check.items);
            Ok(None)
        })?;
        Ok(self.account(turns, &check))
    }

    /// Receives, and times how long each takes to come.
    fn time<P: Labelled + ?Sized>(&self, mut rx: impl Rx<P>) -> Outcome<Account> {
        let mut check = Check::new(self.link());
        let turns = self.turns(|marks| {
            let mut times = histogram()?;
            check.go_on();
            while !check.ended {
                let began = now();
                let mut arrived = began;
                rx.recv(|item| {
                    arrived = now();
                    check.look(item);
                })?;
                marks.look(self.control, check.items);
                if marks.phase.is_measured() {
                    times.saturating_record(arrived - began);
                }
            }
            self.control.mark_taken();
            Ok(Some(times))
        })?;
        Ok(self.account(turns, &check))
    }

    fn ask<P: Labelled + ?Sized>(
        &self,
        mut tx: impl Tx<P>,
        mut rx: impl Rx<P>,
    ) -> Outcome<Account> {
        let mut check = Check::new(self.link());
        let mut made = P::made(self.link().size)?;
        let item: &mut P = made.borrow_mut();
        let turns = self.turns(|marks| {
            let mut times = histogram()?;
            let mut last = now();
            while !marks.look(self.control, check.items) {
                // From 1: fresh memory says 0.
                let label = check.items + 1;
                tx.send(self.fill(item, label))?;
                tx.flush()?;
                let (mut answer, mut whole) = (0, false);
                rx.recv(|item| {
                    answer = item.label();
                    whole = item.whole(self.link().lengths().of(label));
                })?;
                let arrived = now();
                check.bad += u64::from(answer != label || !whole);
                check.sum = check.sum.wrapping_add(answer);
                check.items += 1;
                if marks.phase.is_measured() {
                    times.saturating_record(arrived - last);
                }
                last = arrived;
            }
            tx.send(self.fill(item, END))?;
            tx.flush()?;
            Ok(Some(times))
        })?;
        Ok(self.account(turns, &check))
    }

    fn echo<P: Labelled + ?Sized>(
        &self,
        mut tx: impl Tx<P>,
        mut rx: impl Rx<P>,
    ) -> Outcome<Account> {
        let mut check = Check::new(self.link());
        let mut made = P::made(self.link().size)?;
        let item: &mut P = made.borrow_mut();
        let turns = self.turns(|_| {
            loop {
                let (mut label, mut whole) = (END, false);
                rx.recv(|asked| {
                    label = asked.label();
                    whole = asked.whole(self.link().lengths().of(label));
                })?;
                if label == END {
                    return Ok(None);
                }
                check.items += 1;
                check.sum = check.sum.wrapping_add(label);
                check.bad += u64::from(label != check.items || !whole);
                tx.send(self.fill(item, label))?;
                tx.flush()?;
            }
        })?;
        Ok(self.account(turns, &check))
    }

    /// Sends the time, once a millisecond.
    fn tick<P: Labelled + ?Sized>(&self, mut tx: impl Tx<P>) -> Outcome<Account> {
        let mut check = Check::new(self.link());
        let mut made = P::made(self.link().size)?;
        let item: &mut P = made.borrow_mut();
        let turns = self.turns(|marks| {
            let mut due = now();
            while !marks.look(self.control, check.items) {
                due += TICK;
                std::thread::sleep(Duration::from_nanos(due.saturating_sub(now())));
                let label = now();
                tx.send(self.fill(item, label))?;
                tx.flush()?;
                check.items += 1;
                check.sum = check.sum.wrapping_add(label);
            }
            self.end_turn(&mut tx, item)
        })?;
        Ok(self.account(turns, &check))
    }

    /// Hears what comes once a millisecond; or nothing, until the end.
    fn hear<P: Labelled + ?Sized>(&self, mut rx: impl Rx<P>, idle: bool) -> Outcome<Account> {
        let mut check = Check::new(self.link());
        let turns = self.turns(|marks| {
            let mut times = histogram()?;
            loop {
                let mut label = END;
                rx.recv(|item| label = item.label())?;
                if label == END {
                    break;
                }
                times.saturating_record(now().saturating_sub(label));
                check.items += 1;
                check.sum = check.sum.wrapping_add(label);
                marks.look(self.control, check.items);
            }
            self.control.mark_taken();
            marks.look(self.control, check.items);
            Ok((!idle).then_some(times))
        })?;
        Ok(self.account(turns, &check))
    }

    /// Sends nothing until it is time to rest.
    fn wait_and_end<P: Labelled + ?Sized>(&self, mut tx: impl Tx<P>) -> Outcome<Account> {
        let mut made = P::made(self.link().size)?;
        let item: &mut P = made.borrow_mut();
        let turns = self.turns(|marks| {
            while !marks.look(self.control, 0) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.end_turn(&mut tx, item)
        })?;
        Ok(self.account(turns, &Check::new(self.link())))
    }
}

fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn quantiles(times: &Histogram<u64>) -> Vec<u64> {
    QUANTILES.iter().map(|quantile| times.value_at_quantile(*quantile)).collect()
}

/// What this thread has used.
struct Usage {
    clock: u64,
    cpu: u64,
    switches: u64,
}

impl Usage {
    fn now() -> Self {
        // SAFETY: all-zero is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is alive and ours. The call cannot fail with these arguments.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        let ns =
            |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
        let cpu = ns(usage.ru_utime) + ns(usage.ru_stime);
        Self { clock: now(), cpu, switches: usage.ru_nvcsw as u64 }
    }
}
