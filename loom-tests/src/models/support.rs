//! What the models share: the explorer, and what takes the place of mappings, locks and clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as Counter, Ordering::Relaxed};
use std::time::Instant;

/// Runs `model` in every execution that loom distinguishes, or in those with at most `preemptions`
/// involuntary switches of threads. Returns how many there were.
pub(crate) fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) -> u64 {
    let executions = Arc::new(Counter::new(0));
    let counted = executions.clone();
    let mut explorer = loom::model::Builder::new();
    // Set here, whatever LOOM_* says: a model that stopped early would pass.
    explorer.max_permutations = None;
    explorer.max_duration = None;
    explorer.preemption_bound = preemptions;
    explorer.max_branches = 10_000;
    explorer.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    executions.load(Relaxed)
}

/// Explores a model and says how large it was.
pub(crate) fn check(
    name: &str,
    preemptions: Option<usize>,
    model: impl Fn() + Send + Sync + 'static,
) {
    let started = Instant::now();
    let executions = explore(preemptions, model);
    let bound = match preemptions {
        None => "exhaustive".to_owned(),
        Some(bound) => format!("at most {bound} preemptions"),
    };
    println!("{name}: {executions} executions in {:.1?}, {bound}", started.elapsed());
    assert!(executions > 1, "nothing was explored");
}
