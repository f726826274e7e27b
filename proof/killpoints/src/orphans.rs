//! What must hold when a remover of orphans is killed: an orphan is still there, whole, or gone; a
//! ring that somebody has open is untouched; another remover finishes; every name can be had anew.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harness::{Carrier, Receives, Sends, text};
use ringpipe::error::CreateError;
use ringpipe::remove_orphans;

use crate::item::{By, Item};
use crate::oracle::{self, Cost, Survivors};
use crate::rings::options;
use crate::scenario::{Beside, Scenario};
use crate::world::World;

/// A ring beside the one that the scenario is about, with a value in it.
pub struct Other<K: Carrier<Item>> {
    pub name: String,
    /// Both ends, if somebody has it open.
    held: Option<(K::Sender, K::Receiver)>,
    inode: u64,
    /// All of it, as it is to stay.
    bytes: Vec<u8>,
}

fn path(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

/// What was sent in the rings beside.
fn value() -> Item {
    Item::new(By::Harness, 0)
}

impl<K: Carrier<Item>> Other<K> {
    /// Makes one.
    pub fn new(name: String, beside: Beside) -> Result<Self, String> {
        let ring = options().create(&name).map_err(text)?;
        // Known from now on, to be removed also if something fails here.
        let mut other = Self { name, held: None, inode: 0, bytes: Vec::new() };
        let mut tx = K::sender(&ring).map_err(text)?;
        let rx = K::receiver(&ring).map_err(text)?;
        tx.try_send(value()).map_err(text)?;
        other.held = (beside == Beside::Held).then_some((tx, rx));
        drop(ring);
        other.inode = fs::metadata(path(&other.name)).map_err(text)?.ino();
        other.bytes = fs::read(path(&other.name)).map_err(text)?;
        Ok(other)
    }

    /// It has its name; then it is the ring that it was, to the byte.
    fn is_there(&self) -> Result<bool, String> {
        let Ok(named) = fs::metadata(path(&self.name)) else { return Ok(false) };
        if named.ino() != self.inode {
            return Err(format!("{} is another ring", self.name));
        }
        match fs::read(path(&self.name)) {
            Ok(bytes) if bytes == self.bytes => Ok(true),
            Ok(_) => Err(format!("{} has been changed", self.name)),
            Err(e) => Err(format!("{}: {e}", self.name)),
        }
    }

    /// Both ends can go on.
    fn works(&mut self) -> Result<(), String> {
        let Some((tx, rx)) = &mut self.held else { return Ok(()) };
        tx.try_send(value()).map_err(text)?;
        for _ in 0..2 {
            if rx.try_recv() != Ok(value()) {
                return Err(format!("{} does not deliver what was sent", self.name));
            }
        }
        Ok(())
    }
}

impl<K: Carrier<Item>> Drop for Other<K> {
    fn drop(&mut self) {
        // Most are gone already: the victim's doing, or the checks'.
        let _ = ringpipe::unlink(&self.name);
    }
}

/// Checks the world after a kill in `stage` of removing orphans.
pub fn check<K: Carrier<Item>>(
    world: &mut World<K>,
    scenario: &Scenario,
    stage: usize,
    survivors: Survivors,
) -> Result<Cost, String> {
    let (mut orphans, mut left) = (0, Vec::new());
    for other in &world.others {
        let there = other.is_there()?;
        match &other.held {
            Some(_) if !there => return Err(format!("{}, which is in use, is gone", other.name)),
            Some(_) => {}
            None => {
                orphans += 1;
                left.extend(there.then(|| other.name.clone()));
            }
        }
    }
    let named = path(&world.name).exists();
    match scenario.orphaned {
        false if !named => return Err("the ring, which is in use, is gone".into()),
        false => {}
        true => {
            orphans += 1;
            left.extend(named.then(|| world.name.clone()));
        }
    }
    if stage > 0 && !left.is_empty() {
        return Err(format!("it is through, and has left {left:?}"));
    }
    let gone = orphans - left.len();

    // An orphan that is left is taken into use again by the one kind of survivors, and everything
    // that was in it arrives; the other removes it.
    if scenario.orphaned && named && survivors == Survivors::Newcomers {
        world.open()?;
        left.retain(|name| *name != world.name);
    }
    let mut removed = remove_orphans().map_err(text)?;
    removed.sort();
    left.sort();
    if removed != left {
        return Err(format!("another remover removes {removed:?} rather than {left:?}"));
    }
    for other in &mut world.others {
        match &other.held {
            Some(_) if !other.is_there()? => {
                return Err(format!("another remover removes {}, which is in use", other.name));
            }
            Some(_) => other.works()?,
            None => is_free::<K>(&other.name)?,
        }
    }
    match &world.ring {
        // In full: values, marks, counters, records, and the name.
        Some(_) => {
            oracle::check(world, scenario, stage, survivors)?;
        }
        None => is_free::<K>(&world.name)?,
    }
    Ok(Cost { arrived: 0, consumed: gone })
}

/// A ring can be made under the name, and nothing is in it.
fn is_free<K: Carrier<Item>>(name: &str) -> Result<(), String> {
    let ring = options::<K>().create(name).map_err(|e| match e {
        CreateError::Exists { .. } => format!("{name} is still there"),
        e => format!("making {name} anew: {e}"),
    })?;
    if !ring.is_empty() {
        return Err(format!("{name}, made anew, is not empty"));
    }
    ring.unlink().map_err(text)
}
