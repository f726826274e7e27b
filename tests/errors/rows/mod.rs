//! The table, in the order of the page.

mod attach;
mod calls;
mod create;
mod messages;
mod names;
mod open;

use super::Row;
use super::stage::{self, Provoked, Stage, Told};
use super::support;

/// All of it.
pub(crate) fn table() -> Vec<Row> {
    let calls = [calls::rows(), messages::rows()];
    [create::rows(), open::rows(), attach::rows(), names::rows()]
        .into_iter()
        .chain(calls)
        .flatten()
        .collect()
}

impl Row {
    /// The case of one variant.
    const fn new(
        variants: &'static [&'static str],
        case: &'static str,
        provoke: fn(&Stage) -> Provoked,
    ) -> Self {
        Self { case, variants, with: None, when: "", cure: "", again: "no.", provoke }
    }

    const fn when(mut self, when: &'static str) -> Self {
        self.when = when;
        self
    }

    const fn cure(mut self, cure: &'static str) -> Self {
        self.cure = cure;
        self
    }

    /// Trying again helps, and when.
    const fn again(mut self, again: &'static str) -> Self {
        self.again = again;
        self
    }

    const fn with(mut self, with: &'static str) -> Self {
        self.with = Some(with);
        self
    }
}
