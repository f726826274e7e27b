//! Child processes that outlive nobody: neither what started them nor the process that did.

use std::io;
use std::ops::{Deref, DerefMut};

use rustix::process::{Signal, set_parent_process_death_signal};

/// In a child: it dies with its parent, however that ends.
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// A child that is killed and reaped when this is dropped.
#[derive(Debug)]
pub struct Child(pub std::process::Child);

impl Deref for Child {
    type Target = std::process::Child;
    fn deref(&self) -> &std::process::Child {
        &self.0
    }
}

impl DerefMut for Child {
    fn deref_mut(&mut self) -> &mut std::process::Child {
        &mut self.0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that has been waited for does not mind; there is nothing to learn from others.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
