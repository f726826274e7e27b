//! Where threads run.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that this thread may run on, in order.
pub fn allowed() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor)).collect())
}

/// Binds this thread to these.
pub fn bind(processors: &[usize]) -> io::Result<()> {
    let mut only = CpuSet::new();
    processors.iter().for_each(|&processor| only.set(processor));
    Ok(sched_setaffinity(None, &only)?)
}
