//! The world around a victim: a ring, those who are attached to it beside the victim, those who
//! died before, and the books on what was sent and received.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::ops::Range;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use harness::{Carrier, End, Receives, Sends, Why, at};
use ringpipe::{Ring, Role};

use crate::act::Act;
use crate::diary::Diary;
use crate::item::{By, Item};
use crate::observe::Observer;
use crate::orphans::Other;
use crate::rings::{options, records};
use crate::scenario::{Left, Scenario, Step};
use harness::trace::{Moment, Steps, Stop, Victim};

/// What was sent and what has arrived.
#[derive(Debug, Default)]
pub struct Books {
    /// Values that the harness has sent, numbered from 0.
    pub sent: usize,
    /// Which of them had arrived before the victim came.
    pub settled: BTreeSet<usize>,
    /// Slots of records that were begun, and completed with padding.
    pub padded: u64,
    /// Values that had arrived before, from senders that then died.
    pub from_the_dead: usize,
    /// Claimed and held by those who died before, or by those who live beside the victim.
    pub held: Vec<Range<usize>>,
    /// Those of them that are held by the living.
    pub kept: BTreeSet<usize>,
    /// What the victim's operation claims, if it comes to that.
    pub touched: Range<usize>,
    /// What has arrived since: the value, and whether it was marked as redelivered.
    pub arrived: Vec<(Item, bool)>,
    /// How often each of these was said to have been delivered to receivers that are gone.
    pub redeliveries: Vec<u32>,
}

impl Books {
    /// The first value of the harness's that nobody has claimed.
    pub fn first_unclaimed(&self) -> usize {
        let settled = self.settled.last().map_or(0, |last| last + 1);
        self.held.iter().map(|held| held.end).fold(settled, usize::max)
    }

    /// How many have held this value of the harness's, before the victim came or beside it.
    pub fn holders(&self, n: usize) -> u32 {
        self.held.iter().filter(|held| held.contains(&n)).count() as u32
    }

    /// Has received something.
    pub fn arrives(&mut self, item: Item, rx: &impl Receives<Item>) {
        self.arrived.push((item, rx.is_again()));
        self.redeliveries.push(rx.redeliveries());
    }
}

/// Which of a scenario's processes.
#[derive(Clone, Copy, Debug)]
pub enum Life {
    /// The one who performs the scenario's act.
    Victim,
    /// The one who died before, in this step of the script.
    Earlier(usize),
}

impl Life {
    /// Starts it.
    pub fn begin(self, scenario: &Scenario, ring: &str, diary: File) -> Result<Victim, String> {
        let step = match self {
            Life::Victim => "act".to_owned(),
            Life::Earlier(step) => step.to_string(),
        };
        Victim::spawn(&["victim", scenario.name, &step, ring], diary)
    }
}

/// A ring and everyone around it.
pub struct World<K: Carrier<Item>> {
    pub name: String,
    /// `None` until the ring is created.
    pub ring: Option<Ring<K::Element, K>>,
    pub senders: Vec<K::Sender>,
    pub receivers: Vec<K::Receiver>,
    pub books: Books,
    /// Attachments so far, of sending and receiving ends.
    pub arrivals: [u64; 2],
    /// The rings beside it.
    pub others: Vec<Other<K>>,
}

/// Where those died who are to die within an act, and what they left: which scenario, which life;
/// about to execute the instruction at which address for the how many-th time; the region's words.
/// Stepped to once, reached by a breakpoint afterwards.
type Deaths = HashMap<(&'static str, String), (Moment, Vec<u64>)>;
static DEATHS: LazyLock<Mutex<Deaths>> = LazyLock::new(Mutex::default);

/// How soon survivors check whether their peers are alive.
const INTERVAL: Duration = Duration::from_millis(1);

impl<K: Carrier<Item>> World<K> {
    /// Makes the world in which the scenario's victim is to act.
    pub fn new(scenario: &Scenario, name: String) -> Result<Self, String> {
        let mut world = Self {
            name,
            ring: None,
            senders: Vec::new(),
            receivers: Vec::new(),
            books: Books::default(),
            arrivals: [0; 2],
            others: Vec::new(),
        };
        if !scenario.act.creates() {
            world.create(scenario.drop_unreleased, scenario.delivery_limit)?;
            for (index, &step) in scenario.script.iter().enumerate() {
                let enacted = world.enact(scenario, step, Life::Earlier(index));
                enacted.map_err(|e| format!("preparing, {step:?}: {e}"))?;
            }
        }
        let first = match (K::MANY, scenario.adopts) {
            (_, true) => {
                let mut held = world.books.held.first().cloned().unwrap_or_default();
                held.find(|&n| !scenario.exhausts(&world.books, n)).unwrap_or_default()
            }
            (true, false) => world.books.first_unclaimed(),
            // What a dead consumer had claimed is claimed again by its successor.
            (false, false) => world.books.settled.len(),
        };
        world.books.touched = first..first + scenario.act.touches();
        if scenario.orphaned {
            world.senders.clear();
            world.receivers.clear();
            world.ring = None;
            world.another_boot().map_err(|e| format!("preparing another boot: {e}"))?;
        }
        for (number, &beside) in scenario.beside.iter().enumerate() {
            let name = format!("{}-{number}", world.name);
            world.others.push(Other::new(name, beside)?);
        }
        Ok(world)
    }

    /// As if the machine had been started anew since the ring was closed, if it is a file-backed
    /// one.
    fn another_boot(&self) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt;
        let at = at::FILE_STATE as u64;
        let path = format!("/dev/shm/{}", self.name);
        let file = File::options().read(true).write(true).open(path)?;
        let mut words = [0; 16];
        file.read_exact_at(&mut words, at)?;
        if words[..8] == [0; 8] {
            return Ok(()); // it has no state
        }
        words[8] ^= 1;
        file.write_all_at(&words[8..], at + 8)
    }

    /// Creates a ring of the world's name.
    pub fn create(&mut self, drop_unreleased: bool, limit: u32) -> Result<(), String> {
        let options = options().drop_unreleased(drop_unreleased).delivery_limit(limit);
        self.ring = Some(options.create(&self.name).map_err(|e| e.to_string())?);
        Ok(())
    }

    /// Opens the ring, which everybody had left.
    pub fn open(&mut self) -> Result<(), String> {
        self.ring = Some(options().open(&self.name).map_err(|e| e.to_string())?);
        Ok(())
    }

    /// Opens the ring if the victim has created it, and creates it otherwise.
    pub fn open_or_create(&mut self) -> Result<(), String> {
        self.ring = Some(options().open_or_create(&self.name).map_err(|e| e.to_string())?);
        Ok(())
    }

    fn enact(&mut self, scenario: &Scenario, step: Step, life: Life) -> Result<(), String> {
        match step {
            Step::Live(Role::Sender) => {
                let tx = self.new_sender()?;
                self.senders.push(tx);
            }
            Step::Live(Role::Receiver) => {
                let rx = self.new_receiver()?;
                self.receivers.push(rx);
            }
            Step::Send(n) => match self.senders.pop() {
                Some(mut tx) => {
                    self.send(&mut tx, n)?;
                    self.senders.push(tx);
                }
                None => {
                    let mut tx = self.new_sender()?;
                    self.send(&mut tx, n)?;
                }
            },
            Step::Recv(n) => match self.receivers.pop() {
                Some(mut rx) => {
                    self.settle(&mut rx, n)?;
                    self.receivers.push(rx);
                }
                None => {
                    let mut rx = self.new_receiver()?;
                    self.settle(&mut rx, n)?;
                    // It reads to the end, so that those who come later wait for the next sender.
                    let left = self.books.first_unclaimed() < self.books.sent;
                    if self.senders.is_empty() && !left {
                        let end = rx.try_recv();
                        if end != Err(Why::Closed) {
                            return Err(format!("the end beforehand: {end:?}"));
                        }
                    }
                }
            },
            Step::HoldWrite(n) => {
                let tx = self.senders.last_mut().ok_or("no living sender")?;
                tx.hold(&vec![Item::new(By::Ghost, 0); n]).map_err(|e| e.to_string())?;
            }
            Step::HoldRead(n) => {
                let rx = self.receivers.last_mut().ok_or("no living receiver")?;
                rx.recv_in_place(n, |_| 0).map_err(|e| e.to_string())?; // they stay this receiver's
                let first = self.books.first_unclaimed();
                self.books.kept.extend(first..first + n);
                self.hold(n);
            }
            Step::DeadWithin { act, changes, left } => {
                self.die_within(scenario, life, changes)?;
                // One that attaches within the act has not come to that.
                if let Some(role) = act.attaches_before() {
                    self.count(role);
                }
                self.take_over(left)?;
            }
            Step::Dead(act) | Step::DeadAsleep(act) => {
                let asleep = matches!(step, Step::DeadAsleep(_));
                let (diary, file) = Diary::new().map_err(|e| e.to_string())?;
                let mut victim = life.begin(scenario, &self.name, file)?;
                drop(diary);
                expect(victim.run(false)?, Stop::Breakpoint)?;
                if asleep {
                    expect(victim.run(true)?, Stop::Asleep)?;
                }
                victim.kill()?;
                self.count(act.attaches_before().ok_or("it does not attach")?);
                match act {
                    Act::HoldRead(n) => self.hold(n),
                    Act::HoldAdopted => {
                        let first = self.books.held.first().ok_or("nothing to adopt")?.start;
                        self.books.held.push(first..first + 1);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Somebody acts until it has changed the region so many times, and is killed there.
    fn die_within(&self, scenario: &Scenario, life: Life, changes: usize) -> Result<(), String> {
        let (diary, file) = Diary::new().map_err(|e| e.to_string())?;
        let mut victim = life.begin(scenario, &self.name, file)?;
        expect(victim.run(false)?, Stop::Breakpoint)?;
        let mut observer = Observer::new(&self.name, records::<K>());
        let mut look = || observer.look(&diary, 0).map_err(|e| format!("looking: {e}"));
        let key = (scenario.name, format!("{life:?}"));
        let known = DEATHS.lock().map_err(|e| e.to_string())?.get(&key).cloned();
        if let Some((moment, words)) = known {
            victim.reach(&moment, None)?;
            if look()?.into_words() != words {
                return Err("not where the first of its kind died".into());
            }
            return victim.kill();
        }
        let mut words = look()?.into_words();
        let (mut seen, mut steps) = (0, Steps::default());
        steps.moment(&victim)?;
        loop {
            expect(steps.step(&mut victim, false)?, Stop::Step)?;
            let moment = steps.moment(&victim)?;
            let now = look()?.into_words();
            seen += usize::from(now != words);
            words = now;
            if seen == changes {
                let mut deaths = DEATHS.lock().map_err(|e| e.to_string())?;
                deaths.insert(key, (moment, words));
                return victim.kill();
            }
        }
    }

    /// Enters in the books what one who was killed within an act has left.
    fn take_over(&mut self, left: Left) -> Result<(), String> {
        for number in 0..left.published {
            let rx = self.receivers.last_mut().ok_or("no living receiver")?;
            let item = rx.try_recv().map_err(|e| format!("the dead one's value: {e}"))?;
            if item != Item::new(By::Victim, number) {
                return Err(format!("received {:?} of the dead one's", item.origin()));
            }
        }
        self.books.from_the_dead += left.published;
        let first = self.books.first_unclaimed();
        self.books.settled.extend(first..first + left.consumed);
        if left.held > 0 {
            self.hold(left.held);
        }
        Ok(())
    }

    /// Someone has claimed the next `n` values.
    fn hold(&mut self, n: usize) {
        // What a dead consumer had claimed is claimed again by its successor.
        let first = if K::MANY { self.books.first_unclaimed() } else { self.books.settled.len() };
        self.books.held.push(first..first + n);
    }

    /// Counts an attachment.
    pub fn count(&mut self, role: Role) {
        self.arrivals[role as usize - 1] += 1;
    }

    pub fn ring(&self) -> Result<&Ring<K::Element, K>, String> {
        self.ring.as_ref().ok_or_else(|| "there is no ring".into())
    }

    pub fn new_sender(&mut self) -> Result<K::Sender, String> {
        let attached = K::sender(self.ring()?);
        let mut tx = attached.map_err(|e| format!("attaching a sender: {e}"))?;
        tx.set_liveness_interval(INTERVAL);
        self.books.padded += tx.complete();
        self.count(Role::Sender);
        Ok(tx)
    }

    pub fn new_receiver(&mut self) -> Result<K::Receiver, String> {
        let attached = K::receiver(self.ring()?);
        let mut rx = attached.map_err(|e| format!("attaching a receiver: {e}"))?;
        rx.set_liveness_interval(INTERVAL);
        self.count(Role::Receiver);
        Ok(rx)
    }

    /// The next value to send. To be counted by `books.sent += 1` when it is.
    pub fn next_item(&self) -> Item {
        Item::new(By::Harness, self.books.sent)
    }

    fn send(&mut self, tx: &mut K::Sender, n: usize) -> Result<(), String> {
        for _ in 0..n {
            tx.try_send(self.next_item()).map_err(|e| format!("sending beforehand: {e}"))?;
            self.books.sent += 1;
        }
        Ok(())
    }

    fn settle(&mut self, rx: &mut K::Receiver, n: usize) -> Result<(), String> {
        for _ in 0..n {
            let item = rx.try_recv().map_err(|e| format!("receiving beforehand: {e}"))?;
            let expected = self.books.first_unclaimed();
            if item != Item::new(By::Harness, expected) {
                return Err(format!("received {:?} beforehand", item.origin()));
            }
            self.books.settled.insert(expected);
        }
        Ok(())
    }

    /// Does what the sleeping victim waits for.
    pub fn wake(&mut self, scenario: &Scenario) -> Result<(), String> {
        match scenario.on_sleep {
            Some(step) => self.enact(scenario, step, Life::Victim),
            None => Err("it sleeps".into()),
        }
    }
}

impl<K: Carrier<Item>> Drop for World<K> {
    fn drop(&mut self) {
        // The name may be gone already: the victim's doing, or the checks'.
        let _ = ringpipe::unlink(&self.name);
    }
}

/// The victim must have stopped for this reason.
pub fn expect(found: Stop, expected: Stop) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} rather than {expected:?}")) }
}
