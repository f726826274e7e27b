//! Put into the copy of `loom-tests` whose orderings can be weakened: decides, from the
//! environment, what each site uses in this process.
//!
//! All mutants are one program, so that nothing is compiled for one of them. `ORDERING_MUTANT` says
//! which sites are weakened, as `17=Relaxed,23=nothing`; `ORDERING_REACHED` names a file to which
//! the number of every site is written when it is first reached.

use std::io::Write;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

struct Switch {
    /// By site: `None` as shipped; `Some(None)` left out.
    weakened: Vec<Option<Option<Ordering>>>,
    reached: Option<(Mutex<std::fs::File>, Vec<AtomicBool>)>,
}

fn switch() -> &'static Switch {
    static SWITCH: OnceLock<Switch> = OnceLock::new();
    SWITCH.get_or_init(|| {
        let mut weakened = vec![None; SITES];
        let mutant = std::env::var("ORDERING_MUTANT").unwrap_or_default();
        for change in mutant.split(',').filter(|change| !change.is_empty()) {
            let (site, to) = change.split_once('=').expect("SITE=ORDERING");
            weakened[site.parse::<usize>().expect("a number")] = Some(match to {
                "Relaxed" => Some(Ordering::Relaxed),
                "Acquire" => Some(Ordering::Acquire),
                "Release" => Some(Ordering::Release),
                "AcqRel" => Some(Ordering::AcqRel),
                "nothing" => None,
                other => panic!("no ordering is called {other}"),
            });
        }
        let reached = std::env::var_os("ORDERING_REACHED").map(|path| {
            let file = std::fs::File::create(path).expect("a file for the sites reached");
            (Mutex::new(file), (0..SITES).map(|_| AtomicBool::new(false)).collect())
        });
        Switch { weakened, reached }
    })
}

fn choose(site: usize, shipped: Ordering) -> Option<Ordering> {
    let switch = switch();
    if let Some((file, reached)) = &switch.reached {
        if !reached[site].swap(true, Ordering::Relaxed) {
            let mut file = file.lock().expect("nobody panics with it");
            writeln!(file, "{site}").expect("writing down the site reached");
        }
    }
    switch.weakened[site].unwrap_or(Some(shipped))
}

pub(crate) fn ordering(site: usize, shipped: Ordering) -> Ordering {
    choose(site, shipped).expect("an access cannot be left out")
}

/// `barrier` is the function that the site calls; left out, it says that all is well.
pub(crate) fn membarrier<W>(site: usize, word: W, barrier: fn(W) -> bool) -> bool {
    choose(site, Ordering::SeqCst).is_none() || barrier(word)
}

/// `fence` is the function that the site calls.
pub(crate) fn fence(site: usize, shipped: Ordering, fence: fn(Ordering)) {
    if let Some(ordering) = choose(site, shipped) {
        fence(ordering);
    }
}
