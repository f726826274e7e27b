//! What must hold after a kill, whoever looks.
//!
//! The survivors are ends in this process. They are brought to check their peers' lives after a
//! millisecond, and given seconds before a thing that does not happen counts as one that never
//! will: a hang is a failure here, not a wait.
//!
//! [`check`] goes through the pipe's manners in order: those who were there learn of the death
//! (end-of-file, broken pipe); newcomers go on where the dead left off; everything published
//! arrives, once; the ring has room for its full capacity again; every endpoint record can be had
//! again; the counters add up. Then it closes the books ([`audit`]).

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Carrier, Receives, Sends, Value, Why};
use ringpipe::UnlinkError;
use ringpipe::error::AttachError;

use crate::act::Act;
use crate::item::{By, Item};
use crate::rings::{CAPACITY, records};
use crate::scenario::Scenario;
use crate::world::World;

/// Whose task it is to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Those who were attached when the victim was killed learn of it by themselves.
    Present,
    /// They leave at once, and newcomers find what there is.
    Newcomers,
}

/// What a kill has cost: how many of the victim's values arrived, and how many of the values that
/// it was receiving did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub arrived: usize,
    pub consumed: usize,
}

const PATIENCE: Duration = Duration::from_secs(5);
const BRIEFLY: Duration = Duration::from_millis(4);

/// Checks the world after a kill in `stage` of the scenario's act.
pub fn check<K: Carrier<Item>>(
    world: &mut World<K>,
    scenario: &Scenario,
    stage: usize,
    survivors: Survivors,
) -> Result<Cost, String> {
    let named = Path::new("/dev/shm").join(&world.name).exists();
    positions_fit(world, scenario, stage)?;
    if survivors == Survivors::Newcomers {
        world.senders.clear();
        world.receivers.clear();
    }
    let mut receivers = std::mem::take(&mut world.receivers);
    let mut senders = std::mem::take(&mut world.senders);
    notice_the_death(world, &mut senders, &mut receivers)?;
    if receivers.is_empty() {
        receivers.push(world.new_receiver()?);
    }
    if senders.is_empty() {
        senders.push(world.new_sender()?);
    }
    drain_in_flow(world, scenario, stage, &mut senders, &mut receivers)?;
    senders.clear();
    drain_to_the_end(world, &mut receivers)?;
    let cost = audit(world, scenario, stage)?;
    let first = world.books.sent;
    break_the_pipe(world, receivers)?;
    refill(world, first)?;
    take_all_records(world)?;
    add_up(world, scenario, stage, cost)?;
    free_the_name(world, named)?;
    Ok(cost)
}

/// A victim that moves part of a record has moved all of that part, or nothing.
fn positions_fit<K: Carrier<Item>>(
    world: &World<K>,
    scenario: &Scenario,
    stage: usize,
) -> Result<(), String> {
    let Some((sent, received)) = scenario.act.parts(stage) else { return Ok(()) };
    let stats = world.ring()?.stats();
    let into = [stats.sent, stats.received].map(|position| position as usize % Item::RECORD);
    match sent.contains(&into[0]) && received.contains(&into[1]) {
        true => Ok(()),
        false => Err(format!("{into:?} bytes into records, not {sent:?} and {received:?}")),
    }
}

/// If the victim was the last of its role, those on the other side learn of its death.
fn notice_the_death<K: Carrier<Item>>(
    world: &mut World<K>,
    senders: &mut [K::Sender],
    receivers: &mut [K::Receiver],
) -> Result<(), String> {
    if senders.is_empty() {
        drain_to_the_end(world, receivers)?;
    }
    match senders.first_mut() {
        Some(tx) if receivers.is_empty() => send_until_closed(world, tx),
        _ => Ok(()),
    }
}

/// Sends until the pipe is broken: at the latest when the ring is full.
fn send_until_closed<K: Carrier<Item>>(
    world: &mut World<K>,
    tx: &mut K::Sender,
) -> Result<(), String> {
    for _ in 0..=CAPACITY {
        match tx.send_deadline(world.next_item(), PATIENCE) {
            Ok(()) => world.books.sent += 1,
            Err(Why::Closed) => return Ok(()),
            Err(e) => return Err(format!("instead of a broken pipe: {e}")),
        }
    }
    Err(format!("{} sends, and no broken pipe", CAPACITY + 1))
}

/// All receive until end-of-file, in turns: one who adopts holds up the others' end-of-file until
/// it has released what it holds.
fn drain_to_the_end<K: Carrier<Item>>(
    world: &mut World<K>,
    receivers: &mut [K::Receiver],
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut waiting: Vec<_> = receivers.iter_mut().collect();
    while !waiting.is_empty() {
        if Instant::now() > deadline {
            return Err(format!("{} wait for end-of-file", waiting.len()));
        }
        let mut ended = Vec::new();
        for (index, rx) in waiting.iter_mut().enumerate() {
            match rx.recv_deadline(BRIEFLY) {
                Ok(item) => world.books.arrives(item, *rx),
                Err(Why::Closed) => ended.push(index),
                Err(Why::Timeout) => {}
                Err(e) => return Err(format!("instead of end-of-file: {e}")),
            }
        }
        for index in ended.into_iter().rev() {
            waiting.remove(index);
        }
        // No honest ring holds more.
        if world.books.arrived.len() > 4 * CAPACITY {
            return Err(format!("{} items, and no end-of-file", world.books.arrived.len()));
        }
    }
    Ok(())
}

/// With senders attached: one more value is sent by each, and everything that must arrive does,
/// without an end-of-file to help.
fn drain_in_flow<K: Carrier<Item>>(
    world: &mut World<K>,
    scenario: &Scenario,
    stage: usize,
    senders: &mut [K::Sender],
    receivers: &mut [K::Receiver],
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut to_send = senders.iter_mut().peekable();
    while to_send.peek().is_some() || !missing(world, scenario, stage).is_empty() {
        if Instant::now() > deadline {
            let missing = missing(world, scenario, stage);
            return Err(match to_send.peek() {
                Some(_) => "no room for one more value".into(),
                None => format!("values {missing:?} do not arrive"),
            });
        }
        if let Some(tx) = to_send.peek_mut() {
            match tx.send_deadline(world.next_item(), BRIEFLY) {
                Ok(()) => {
                    world.books.sent += 1;
                    to_send.next();
                }
                Err(Why::Timeout) => {}
                Err(e) => return Err(format!("one more send: {e}")),
            }
        }
        for rx in receivers.iter_mut() {
            match rx.recv_deadline(BRIEFLY) {
                Ok(item) => world.books.arrives(item, rx),
                Err(Why::Timeout) => {}
                Err(e) => return Err(format!("receiving with a sender attached: {e}")),
            }
        }
    }
    Ok(())
}

/// The harness's values that have not arrived and must, whatever became of the victim's call.
fn missing<K: Carrier<Item>>(world: &World<K>, scenario: &Scenario, stage: usize) -> Vec<usize> {
    let books = &world.books;
    let has_arrived = |by, number| {
        let item = Item::new(by, number);
        books.arrived.iter().any(|(arrived, _)| *arrived == item)
    };
    let consumed = at(&scenario.act.takes(), stage).1;
    let excused = books.touched.start..books.touched.start + consumed;
    let sent = at(&scenario.act.sends(), stage).0;
    let victims = (0..sent).filter(|&n| !has_arrived(By::Victim, n));
    (0..books.sent)
        .filter(|n| !books.settled.contains(n))
        .filter(|n| !excused.contains(n))
        .filter(|n| !scenario.drop_unreleased || !books.held.iter().any(|held| held.contains(n)))
        .filter(|n| !scenario.drop_unreleased || !books.touched.contains(n))
        .filter(|&n| !scenario.exhausts(books, n))
        .filter(|&n| !has_arrived(By::Harness, n))
        .chain(victims)
        .collect()
}

fn at(bounds: &[(usize, usize)], stage: usize) -> (usize, usize) {
    bounds.get(stage).or(bounds.last()).copied().unwrap_or((0, 0))
}

/// Goes through everything that has arrived.
fn audit<K: Carrier<Item>>(
    world: &World<K>,
    scenario: &Scenario,
    stage: usize,
) -> Result<Cost, String> {
    let (books, act) = (&world.books, scenario.act);
    let held = |n: &usize| books.held.iter().any(|held| held.contains(n));
    let mut from_harness = vec![0; books.sent];
    let mut from_victim = 0;
    let mut last_unmarked = None;
    for (&(item, marked), &times) in books.arrived.iter().zip(&books.redeliveries) {
        match item.origin() {
            None => return Err(format!("a torn value: {item:x?}")),
            Some((By::Ghost, n)) => return Err(format!("value {n} that was never sent")),
            Some((By::Victim, n)) if n != from_victim => {
                return Err(format!("the victim's value {n} where {from_victim} was due"));
            }
            Some((By::Victim, n)) if marked => {
                return Err(format!("the victim's value {n} is called redelivered"));
            }
            Some((By::Victim, _)) => from_victim += 1,
            Some((By::Harness, n)) => {
                let count = from_harness.get_mut(n).ok_or(format!("value {n}, not sent yet"))?;
                *count += 1;
                if *count > 1 || books.settled.contains(&n) {
                    return Err(format!("value {n} again"));
                }
                let touched = books.touched.contains(&n);
                let seen = held(&n) || (touched && stage >= act.has_seen_at());
                let (least, most) = match K::COUNTS {
                    true => scenario.redeliveries(books, n, stage),
                    false => (0, 0),
                };
                let right = if marked { (least..=most).contains(&times) } else { times == 0 };
                if !right || scenario.exhausts(books, n) {
                    let said = format!("{times} redeliveries ({marked})");
                    return Err(format!("{said} of value {n}, not {least} to {most}"));
                }
                if marked && !held(&n) && !touched {
                    return Err(format!("value {n} is called redelivered and was never claimed"));
                }
                // Nothing is told of what this very receiver has given back.
                let untold = !K::MARKS_ITS_OWN && books.kept.contains(&n);
                if seen && !marked && !untold {
                    return Err(format!("value {n} arrives again without being marked"));
                }
                if !marked && last_unmarked.replace(n) >= Some(n) {
                    return Err(format!("value {n} after value {last_unmarked:?}"));
                }
            }
        }
    }
    let (fewest, most) = at(&act.sends(), stage);
    if !(fewest..=most).contains(&from_victim) {
        return Err(format!("{from_victim} of the victim's values, not {fewest} to {most}"));
    }
    let lost: Vec<_> = (0..books.sent)
        .filter(|n| !books.settled.contains(n) && from_harness[*n] == 0)
        .filter(|&n| !scenario.exhausts(books, n))
        .collect();
    if let Some(n) = lost.iter().find(|n| {
        let may_go = books.touched.contains(n) || (scenario.drop_unreleased && held(n));
        !may_go
    }) {
        return Err(format!("value {n} is lost"));
    }
    if scenario.drop_unreleased {
        if let Some((item, _)) = books.arrived.iter().find(|(_, marked)| *marked) {
            return Err(format!("{:?} twice, in a ring that drops instead", item.origin()));
        }
        return Ok(Cost { arrived: from_victim, consumed: lost.len() });
    }
    // A call's items are received from the first on.
    let consumed = lost.len();
    if lost.iter().enumerate().any(|(index, &n)| n != books.touched.start + index) {
        return Err(format!("values {lost:?} are lost, and not those before"));
    }
    let (fewest, most) = at(&act.takes(), stage);
    if !(fewest..=most).contains(&consumed) {
        return Err(format!("{consumed} values consumed, not {fewest} to {most}"));
    }
    Ok(Cost { arrived: from_victim, consumed })
}

/// The last living receiver leaves.
fn break_the_pipe<K: Carrier<Item>>(
    world: &mut World<K>,
    receivers: Vec<K::Receiver>,
) -> Result<(), String> {
    let mut tx = world.new_sender()?;
    drop(receivers);
    send_until_closed(world, &mut tx)
}

/// New ends, from the `first` value on: the ring takes its full capacity, no more, and gives it
/// back.
fn refill<K: Carrier<Item>>(world: &mut World<K>, first: usize) -> Result<(), String> {
    let mut rx = world.new_receiver()?;
    let mut tx = world.new_sender()?;
    while world.books.sent - first < CAPACITY {
        tx.send_deadline(world.next_item(), PATIENCE).map_err(|e| {
            format!("room for {} of {CAPACITY} items: {e}", world.books.sent - first)
        })?;
        world.books.sent += 1;
    }
    match tx.try_send(world.next_item()) {
        Err(Why::NotNow) => {}
        other => return Err(format!("sending one item too many: {other:?}")),
    }
    for n in first..world.books.sent {
        let received = rx.recv_deadline(PATIENCE).map_err(|e| format!("item {n} at last: {e}"))?;
        if received != Item::new(By::Harness, n) || rx.is_again() {
            return Err(format!("{:?} instead of item {n} at last", received.origin()));
        }
    }
    match rx.try_recv() {
        Err(Why::NotNow) => Ok(()),
        other => Err(format!("receiving one item too many: {other:?}")),
    }
}

/// Every endpoint record can be had again.
fn take_all_records<K: Carrier<Item>>(world: &mut World<K>) -> Result<(), String> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..records::<K>() / 2 {
        senders.push(world.new_sender()?);
        receivers.push(world.new_receiver()?);
    }
    let refused = match K::sender(world.ring()?) {
        Err(AttachError::TableFull { .. }) => K::MANY,
        Err(AttachError::RoleTaken { .. }) => !K::MANY,
        _ => false,
    };
    if !refused {
        return Err("more ends than the ring has records".into());
    }
    let peers = world.ring()?.peers();
    if (peers.senders, peers.receivers) != (senders.len(), receivers.len()) {
        return Err(format!("{peers:?} with all records taken"));
    }
    drop(receivers);
    for tx in &mut senders {
        match tx.try_send(world.next_item()) {
            Err(Why::Closed) => {}
            other => return Err(format!("sending when all receivers have left: {other:?}")),
        }
    }
    drop(senders);
    let peers = world.ring()?.peers();
    if (peers.senders, peers.receivers) != (0, 0) {
        return Err(format!("{peers:?} when everyone has left"));
    }
    Ok(())
}

/// The counters tell what has happened.
fn add_up<K: Carrier<Item>>(
    world: &World<K>,
    scenario: &Scenario,
    stage: usize,
    cost: Cost,
) -> Result<(), String> {
    let stats = world.ring()?.stats();
    let books = &world.books;
    // An operation counts after it has acted: killed in between, it has not counted.
    let last = scenario.act.sends().len().max(scenario.act.takes().len()) - 1;
    let within = scenario.is_second_death() || scenario.counts_late && (stage == 0 || stage < last);
    let must_be = |what, counted: u64, actual: u64, late: bool| {
        let right = if late { counted <= actual } else { counted == actual };
        if right { Ok(()) } else { Err(format!("{what}: {counted} counted, {actual} it was")) }
    };
    must_be("received", stats.received, stats.sent, false)?;
    let slots = |by, numbers: Range<usize>| -> u64 {
        numbers.map(|number| K::slots(&Item::new(by, number))).sum()
    };
    let from_victims =
        slots(By::Victim, 0..books.from_the_dead) + slots(By::Victim, 0..cost.arrived);
    let published = slots(By::Harness, 0..books.sent) + from_victims + books.padded;
    let skipped = stats.sent.checked_sub(published).ok_or("fewer positions than items")?;
    // Of a message that was being published, granules that were marked already are in no count.
    must_be("skipped", stats.skipped, skipped, within || K::MANY && K::MESSAGES)?;
    let marked = K::units() * books.arrived.iter().filter(|(_, marked)| *marked).count() as u64;
    let untold = if K::MARKS_ITS_OWN { 0 } else { books.kept.len() as u64 };
    let by_victim = K::units() * (scenario.act_redelivers() + untold);
    // What had been released of a record is not received again with the rest of it.
    let least = match scenario.act {
        Act::ReleasePart { bytes, .. } => marked.saturating_sub((bytes % Item::RECORD) as u64),
        _ => marked,
    };
    if !(least..=marked + by_victim).contains(&stats.redelivered) {
        return Err(format!("{} redelivered, {marked} it was", stats.redelivered));
    }
    let exhausted = (0..books.sent).filter(|&n| scenario.exhausts(books, n)).count() as u64;
    let dropped = if scenario.drop_unreleased { cost.consumed as u64 } else { exhausted };
    must_be("dropped", stats.dropped, K::units() * dropped, within || scenario.act.touches() > 0)?;
    must_be("exhausted", stats.exhausted, exhausted, within || scenario.act.touches() > 0)?;
    let attaching = scenario.act.attaches_within();
    for (index, counted) in [stats.sender_arrivals, stats.receiver_arrivals].into_iter().enumerate()
    {
        let known = world.arrivals[index];
        let perhaps = u64::from(attaching.is_some_and(|role| role as usize == index + 1));
        if !(known..=known + perhaps).contains(&counted) {
            return Err(format!("{counted} arrivals counted, {known} it was"));
        }
    }
    Ok(())
}

/// The name is the ring's or nobody's, and can be had by a new one.
fn free_the_name<K: Carrier<Item>>(world: &mut World<K>, named: bool) -> Result<(), String> {
    let unlinked = world.ring()?.unlink();
    let right = match &unlinked {
        Ok(()) => named,
        Err(UnlinkError::NotFound { .. }) => !named,
        Err(_) => false,
    };
    if !right {
        return Err(format!("unlinking a name, of which {named} says if it exists: {unlinked:?}"));
    }
    let old = world.ring()?.id();
    world.create(false, 0)?;
    if world.ring()?.id() == old {
        return Err("a new ring with the old one's number".into());
    }
    world.ring()?.unlink().map_err(|e| format!("unlinking the new ring: {e}"))
}
