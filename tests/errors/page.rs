//! `docs/errors.md`.

use std::collections::BTreeSet;

use super::Row;
use super::stage::Told;

const HEAD: &str = "\
# What errors say

Every error of the crate as it was provoked: its text (`Display`), its source, and what can be done.
The test `errors` provokes them all, and writes this page:

```console
$ REGENERATE=1 cargo test --test errors
```

A text says what was attempted, on which ring, and after a semicolon what can be done, where the
library can know that. Errors of calls on an end are small, and leave out which ring it was. What
the kernel answered is the error's `source()`, and not part of the text, so who prints both prints
it once. The same is in the error's fields, for programs: paths as `PathBuf`, numbers as numbers.
Lines are broken here, not in the texts; `/dev/shm/ticks`, `/data/ticks` and the numbers are
examples.
";

/// The whole page. What was not provoked now is taken over from `before`.
pub(super) fn write(table: &[Row], told: &[Option<Told>], before: &str) -> String {
    let mut page = HEAD.to_owned();
    let mut chapter = "";
    for (row, told) in table.iter().zip(told) {
        let kind = row.variants[0].split("::").next().expect("a name");
        let this = if is_of_calls(kind) { "Calls of ends" } else { kind };
        if this != chapter {
            page.push_str(&format!("\n## {this}\n"));
            chapter = this;
        }
        page.push_str(&section(row, told.as_ref(), before));
    }
    page
}

fn is_of_calls(kind: &str) -> bool {
    ["Send", "Recv", "Bulk", "Peer", "Message", "Transfer"].iter().any(|call| kind.contains(call))
}

fn section(row: &Row, told: Option<&Told>, before: &str) -> String {
    let mut names: Vec<_> = row.variants.iter().map(|name| format!("`{name}`")).collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone())); // several calls say the same
    let case = if row.case.is_empty() { String::new() } else { format!(": {}", row.case) };
    let (title, others) = names.split_first().expect("a row has a variant");
    let heading = format!("\n### {title}{case}\n");
    let said = match told {
        Some(Told { text, source, .. }) => {
            format!("{}\nSource: {source}.\n", wrapped("> ", text))
        }
        // From after its heading to after its source.
        None => {
            let (_, rest) = before.split_once(&heading).expect("provoked on some machine before");
            let from = rest.find("> ").expect("a text");
            let source = rest.find("\nSource: ").expect("a source");
            let to = source + 1 + rest[source + 1..].find('\n').expect("an end") + 1;
            rest[from..to].to_owned()
        }
    };
    let mut when = row.when.to_owned();
    if let Some(with) = row.with {
        when.push_str(&format!(" (`{with}`)"));
    }
    if !others.is_empty() {
        when.push_str(&format!(" Also {}.", others.join(", ")));
    }
    let cure = format!("{} Trying again: {}", row.cure, row.again);
    format!("{heading}\n{}\n{said}\n{}", wrapped("", &when), wrapped("", &cure))
}

/// In lines of at most 100 columns.
fn wrapped(prefix: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = prefix.to_owned();
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() > 99 && line != prefix {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = prefix.to_owned();
        }
        line.push_str(word);
        line.push(' ');
    }
    lines + line.trim_end() + "\n"
}
