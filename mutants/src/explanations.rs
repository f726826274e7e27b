//! Why a mutant that no model notices is equivalent, or needed only outside loom's model.
//!
//! An explanation is checked as far as a program can: its sites must exist, its mutants must
//! survive, and if it says that several orderings back each other up, then all of them weakened at
//! once must be noticed. Whether it is *true* is for the reader: it must be precise, and name what
//! would notice if that on which it relies went away.

/// One reason, for one mutant or for several.
#[derive(Debug)]
pub struct Explanation {
    /// Site, as the list names it, and what it is weakened to.
    pub mutants: &'static [(&'static str, &'static str)],
    /// Any of the mutants is harmless and all of them at once are not: a model must notice.
    pub back_each_other_up: bool,
    pub reason: &'static str,
}

pub const EXPLANATIONS: &[Explanation] = &[];
