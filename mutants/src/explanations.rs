//! Why a mutant that no model notices is equivalent, or needed only outside loom's model.
//!
//! An explanation is checked as far as a program can: its sites must exist, its mutants must
//! survive, and if it says that another site does the same, then with that one weakened there must be
//! a model that passes, and fails when the mutant is weakened, too. Whether it is *true* is for the reader: it must be precise, and name what
//! would notice if that on which it relies went away.

/// One reason, for one mutant or for several.
#[derive(Debug)]
pub struct Explanation {
    /// Site, as the list names it, and what it is weakened to.
    pub mutants: &'static [(&'static str, &'static str)],
    /// What does the same at present, and what to weaken it to. With that alone some model passes
    /// that notices each of the mutants. Empty: it is not a site that does the same.
    pub relies_on: &'static [(&'static str, &'static str)],
    pub reason: &'static str,
}

pub const EXPLANATIONS: &[Explanation] = &[];
