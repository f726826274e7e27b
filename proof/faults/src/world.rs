//! What is around a victim: the ring, those who are there beside it, those who died before; and
//! what must be true when the victim is gone.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::trace::{Stop, Victim};
use harness::{End, Receives, Sends, Why, memory, new};
use ringpipe::{Deadline, OpenError, Ring, Unclean};

use crate::act::{self, Act, Ends, SENT, SLOTS, options};
use crate::operations::{Backing, Beside, Operation, Wakes};

/// A ring and everyone around it.
pub struct World<K: Ends> {
    pub place: String,
    ring: Option<Ring<K::Element, K>>,
    tx: Vec<K::Sender>,
    rx: Vec<K::Receiver>,
    /// Living processes with an end, to be killed while the victim waits.
    doomed: Vec<Victim>,
    /// It stays until it is asked what it has received: who sends to one that leaves may be refused.
    asleep: Option<std::thread::JoinHandle<(K::Receiver, Option<u64>)>>,
    /// What is in the ring, or in somebody's hands.
    items: Vec<u64>,
}

/// Directory of file-backed rings.
pub fn directory() -> PathBuf {
    let target = std::env::current_exe().expect("this program");
    let target = target.parent().and_then(Path::parent).expect("target/release");
    target.join("tmp").join(format!("faults-{}", std::process::id()))
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// A process that performs an operation, or is only to be there, stopped at the beginning.
pub fn begin(operation: &Operation, act: &str, place: &str) -> Result<(Victim, File), String> {
    let report: File = memory::create("report", 4096).map_err(text)?.into();
    let copy = report.try_clone().map_err(text)?;
    let mut victim = Victim::spawn(&["victim", &operation.name(), act, place], copy)?;
    match victim.run(false)? {
        Stop::Breakpoint => Ok((victim, report)),
        other => Err(format!("{other:?} where it was to begin")),
    }
}

impl<K: Ends> World<K> {
    pub fn new(operation: &Operation) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed); // only to be another each time
        let name = format!("ringpipe-faults-{}-{number}", std::process::id());
        let mut place = match operation.backing {
            Backing::Disk => directory().join(&name).to_str().expect("a path").to_owned(),
            Backing::Named | Backing::Anonymous => name,
        };
        let mut ring = None;
        if operation.act != Act::Create && operation.beside != Beside::NoRing {
            let made = match operation.backing {
                Backing::Named => options::<K>().create(&place).map_err(text)?,
                Backing::Disk => options::<K>().create_file(&place).map_err(text)?,
                Backing::Anonymous => options::<K>().create_anonymous().map_err(text)?,
            };
            if operation.backing == Backing::Anonymous {
                place = format!("/proc/{}/fd/{}", std::process::id(), made.as_fd().as_raw_fd());
            }
            ring = Some(made);
        }
        let mut world = Self {
            place,
            ring,
            tx: Vec::new(),
            rx: Vec::new(),
            doomed: Vec::new(),
            asleep: None,
            items: Vec::new(),
        };
        world.surround(operation)?;
        Ok(world)
    }

    fn ring(&self) -> &Ring<K::Element, K> {
        self.ring.as_ref().expect("a ring")
    }

    fn sends(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let item = self.items.len() as u64;
            self.tx[0].try_send(item).map_err(text)?;
            self.items.push(item);
        }
        Ok(())
    }

    fn surround(&mut self, operation: &Operation) -> Result<(), String> {
        use Beside::*;
        if matches!(operation.beside, Sender(_) | DeadHolder | DyingHolder) {
            let tx = K::sender(self.ring()).map_err(text)?;
            self.tx.push(tx);
        }
        match operation.beside {
            NoRing | Nobody => {}
            Orphan => self.ring = None,
            Sender(items) => self.sends(items)?,
            Receiver(items) => {
                let rx = K::receiver(self.ring()).map_err(text)?;
                self.rx.push(rx);
                let tx = K::sender(self.ring()).map_err(text)?;
                self.tx.push(tx);
                self.sends(items)?;
                self.tx.clear();
            }
            Dead(role) => self.dies(operation, Act::Stay(role))?,
            DeadHolder => {
                self.sends(2)?;
                self.dies(operation, Act::StayHolding)?;
            }
            Doomed(role) => self.doom(operation, Act::Stay(role))?,
            DyingHolder => {
                self.sends(1)?;
                self.doom(operation, Act::StayHolding)?;
            }
            SleepingReceiver => {
                let mut rx = K::receiver(self.ring()).map_err(text)?;
                rx.set_wait_policy(ringpipe::WaitPolicy::Park);
                let (tell, told) = std::sync::mpsc::channel();
                self.asleep = Some(std::thread::spawn(move || {
                    // SAFETY: asks for a number.
                    let _ = tell.send(unsafe { libc::gettid() } as u32);
                    let got = rx.recv_deadline(Deadline::NEVER).ok();
                    (rx, got)
                }));
                let thread = told.recv().map_err(text)?;
                let me = std::process::id();
                while harness::asleep::state(me, thread) != Some('S') {
                    std::thread::yield_now();
                }
            }
        }
        if operation.act == Act::Send || operation.act == Act::SendTimeout {
            // No room.
            let mut tx = K::sender(self.ring()).map_err(text)?;
            while tx.try_send(self.items.len() as u64).is_ok() {
                self.items.push(self.items.len() as u64);
            }
        }
        Ok(())
    }

    /// Somebody is there.
    fn doom(&mut self, operation: &Operation, act: Act) -> Result<(), String> {
        let index = operation.stays(act);
        let (victim, _report) = begin(operation, index, &self.place)?;
        self.doomed.push(victim);
        Ok(())
    }

    /// Somebody was there, and has been killed.
    fn dies(&mut self, operation: &Operation, act: Act) -> Result<(), String> {
        self.doom(operation, act)?;
        self.doomed.pop().expect("just begun").kill()
    }

    /// Does what the victim waits for.
    pub fn wake(&mut self, wakes: Wakes) -> Result<(), String> {
        match wakes {
            Wakes::Nothing => {}
            Wakes::Item => self.sends(1)?,
            Wakes::Room => {
                self.rx[0].try_recv().map_err(text)?;
                self.items.remove(0);
            }
            Wakes::Death => self.doomed.drain(..).try_for_each(|mut other| other.kill())?,
            Wakes::Peer => {
                let tx = K::sender(self.ring()).map_err(text)?;
                self.tx.push(tx);
            }
        }
        Ok(())
    }

    /// What must be true when the victim is gone: nobody has lost anything, and all of it can be
    /// used. `said`: what came of the operation. `names`: a name may be left behind. `mixture`: the
    /// ring may be unclean.
    pub fn check(
        mut self,
        operation: &Operation,
        said: &str,
        names: bool,
        mixture: bool,
    ) -> Result<(), String> {
        let done = said.starts_with("Ok");
        match operation.act {
            Act::TrySend | Act::ReadFrom | Act::Send | Act::SendTimeout if done => {
                self.items.push(SENT)
            }
            Act::SendSlice if done => self.items.extend([SENT, SENT + 1]),
            Act::TryRecv
            | Act::WriteTo
            | Act::Recv
            | Act::RecvAdaptive
            | Act::RecvTimeout
            | Act::Cancel
                if done =>
            {
                self.items.remove(0);
            }
            Act::Clear if done => {
                // What the dead held comes first, and is left if nobody could tell that they are.
                let number = said.trim_start_matches("Ok(").trim_end_matches(')').parse::<usize>();
                let left = self.items.len().checked_sub(number.map_err(text)?);
                self.items.truncate(left.ok_or("more than there were")?);
            }
            _ => {}
        }
        self.doomed.drain(..).try_for_each(|mut other| other.kill())?;
        if let Some(asleep) = self.asleep.take() {
            // It goes on: it has the item, or learns that nobody sends any more.
            let (_rx, got) = asleep.join().map_err(|_| "a sleeper panicked")?;
            if let Some(got) = got {
                let at = self.items.iter().position(|item| *item == got);
                self.items.remove(at.ok_or(format!("a sleeper received {got}"))?);
            }
        }
        self.tx.clear();
        self.rx.clear();
        let removed = done
            && match operation.act {
                Act::Unlink | Act::UnlinkName => true,
                Act::RemoveOrphan => said == "Ok(true)",
                Act::RemoveOrphans => said == "Ok(1)",
                _ => false,
            };
        let none_before = operation.beside == Beside::NoRing;
        if self.ring.is_none() && !removed {
            let place = match operation.backing {
                Backing::Anonymous => return self.no_names(operation, names),
                _ => &self.place,
            };
            match act::open::<K>(place, Unclean::Refuse) {
                Err(OpenError::Unclean { .. }) if mixture => {
                    self.ring = Some(act::open::<K>(place, Unclean::AsFound).map_err(text)?);
                }
                Ok(_) if none_before && !done => {
                    return Err("there is a ring, though none was created".into());
                }
                Ok(ring) => self.ring = Some(ring),
                Err(OpenError::NotFound { .. })
                    if operation.beside == Beside::NoRing || operation.act == Act::Create =>
                {
                    if done {
                        return Err("the ring is not there".into());
                    }
                }
                // It was removed, though the call says that it failed.
                Err(OpenError::NotFound { .. }) if operation.beside == Beside::Orphan => {
                    return Err("the ring is gone, and nobody says so".into());
                }
                Err(e) => return Err(format!("opening it again: {e}")),
            }
        }
        if let Some(ring) = self.ring.take() {
            self.drained(&ring)?;
            new::slots_are_usable(&ring, |n| n)?;
            new::records_are_usable::<u64, K>(&ring)?;
            if operation.backing != Backing::Anonymous && ring.is_linked() {
                ring.unlink().map_err(text)?;
            }
        }
        self.no_names(operation, names)
    }

    /// All that was sent and not received is there, once, and nothing else.
    fn drained(&self, ring: &Ring<K::Element, K>) -> Result<(), String> {
        let mut rx = K::receiver(ring).map_err(|e| format!("attaching a receiver: {e}"))?;
        rx.require_peer();
        rx.set_liveness_interval(std::time::Duration::from_millis(1));
        drop(K::sender(ring).map_err(|e| format!("attaching a sender: {e}"))?);
        let mut items = Vec::new();
        loop {
            match rx.try_recv() {
                Ok(item) => items.push(item),
                Err(Why::Closed) => break,
                Err(Why::NotNow) if items.len() <= 2 * SLOTS => std::thread::yield_now(),
                Err(e) => return Err(format!("after {items:?}: {e}")),
            }
        }
        items.sort_unstable();
        if items == self.items {
            Ok(())
        } else {
            Err(format!("{items:?} are in the ring; there should be {:?}", self.items))
        }
    }

    /// Nothing is left of any name, or some may be.
    fn no_names(&self, operation: &Operation, may: bool) -> Result<(), String> {
        let left = names(operation.backing).map_err(text)?;
        match left.first() {
            Some(path) if !may => Err(format!("{} is left behind", path.display())),
            _ => Ok(()),
        }
    }
}

/// Names of this program's rings, and of what is to become one.
fn names(backing: Backing) -> std::io::Result<Vec<PathBuf>> {
    let directory = match backing {
        Backing::Disk => directory(),
        _ => PathBuf::from("/dev/shm"),
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|leaf| leaf.to_string_lossy().contains("ringpipe")) {
            names.push(path);
        }
    }
    Ok(names)
}

impl<K: Ends> Drop for World<K> {
    fn drop(&mut self) {
        for path in [Backing::Named, Backing::Disk].into_iter().flat_map(names).flatten() {
            let _ = std::fs::remove_file(path); // what is left is told as left behind
        }
    }
}
