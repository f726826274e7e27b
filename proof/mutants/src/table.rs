//! The table in SAFETY.md: written by a full run, read by a quick one.
//!
//! A row is a mutant: label, place, change, and the model that noticed it or the number of the note
//! that says why none does. A note that names a site that does the same has a further row for each
//! of its mutants: the model that notices it when that site is weakened, too, and passes when that
//! site alone is.

use anyhow::{Context, Result, ensure};

use crate::explanations::Explanation;

const BEGIN: &str = "<!-- ordering-mutants: begin -->\n";
const END: &str = "<!-- ordering-mutants: end -->\n";
/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub label: String,
    pub place: String,
    /// `Acquire → Relaxed`, and behind that what else is weakened.
    pub change: String,
    pub noticed: Noticed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// By this model.
    By(String),
    /// By none; so many explanations say why, counted from 1.
    Note(usize),
}

impl Row {
    /// What tells it from other rows.
    pub fn key(&self) -> String {
        format!("{} {} {}", self.label, self.place, self.change)
    }

    fn write(&self) -> String {
        let noticed = match &self.noticed {
            Noticed::By(model) => format!("`{model}`"),
            Noticed::Note(note) => format!("note {note}"),
        };
        format!("| {} | {} | {} | {noticed} |\n", self.label, self.place, self.change)
    }

    fn read(line: &str) -> Option<Self> {
        let cells: Vec<_> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let [label, place, change, noticed, ""] = cells[..] else { return None };
        let noticed = match noticed.strip_prefix("note ") {
            Some(note) => Noticed::Note(note.parse().ok()?),
            None => Noticed::By(noticed.strip_prefix('`')?.strip_suffix('`')?.to_owned()),
        };
        let [label, place, change] = [label, place, change].map(str::to_owned);
        Some(Self { label, place, change, noticed })
    }
}

/// `S3 ring/mpmc.rs Sender::publish store` as it stands in a table.
pub fn place(key: &str) -> String {
    let mut words = key.split(' ').skip(1);
    let (file, function) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    format!("`{file}` `{function}` {}", words.collect::<Vec<_>>().join(" "))
}

fn parts(document: &str) -> Result<[&str; 3]> {
    let (before, rest) = document.split_once(BEGIN).context("SAFETY.md has no begin marker")?;
    let (inside, after) = rest.split_once(END).context("SAFETY.md has no end marker")?;
    Ok([before, inside, after])
}

/// The rows of the document.
pub fn read(document: &str) -> Result<Vec<Row>> {
    Ok(parts(document)?[1].lines().filter_map(Row::read).collect())
}

/// Words of the document's own tables, as far as they look like labels.
pub fn labels(document: &str) -> Result<Vec<String>> {
    let [before, _, after] = parts(document)?;
    let rows = before.lines().chain(after.lines()).filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
    Ok(words.map(str::to_owned).collect())
}

/// The document with these rows and notes for its table.
pub fn write(document: &str, rows: &[Row], explanations: &[Explanation]) -> Result<String> {
    let [before, _, after] = parts(document)?;
    let mut table =
        "\n| site | where | weakened | noticed by |\n| --- | --- | --- | --- |\n".to_owned();
    table.extend(rows.iter().map(Row::write));
    table.push('\n');
    for (number, explanation) in (1..).zip(explanations) {
        ensure!(!explanation.reason.trim().is_empty(), "note {number} says nothing");
        write_note(&mut table, &format!("{number}. "), explanation.reason);
    }
    if !explanations.is_empty() {
        table.push('\n');
    }
    Ok([before, BEGIN, &table, END, after].concat())
}

/// An entry of a list, in lines of at most 100 characters.
fn write_note(table: &mut String, mark: &str, reason: &str) {
    let mut line = mark.to_owned();
    for word in reason.split_whitespace() {
        if !line.ends_with(' ') {
            if line.chars().count() + 1 + word.chars().count() > 100 {
                table.push_str(&line);
                table.push('\n');
                line = " ".repeat(mark.len());
            } else {
                line.push(' ');
            }
        }
        line.push_str(word);
    }
    table.push_str(&line);
    table.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let row = |label: &str, noticed| Row {
            label: label.to_owned(),
            place: place("S3 ring/mpmc.rs Sender::publish store"),
            change: "Release → Relaxed".to_owned(),
            noticed,
        };
        let rows = [row("S3", Noticed::By("mpmc::some".to_owned())), row("S4", Noticed::Note(1))];
        let note = Explanation { mutants: &[], relies_on: &[], reason: "why" };
        let document = format!("| S1 | text |\n{BEGIN}old\n{END}more\n");
        let written = write(&document, &rows, &[note]).unwrap();
        assert_eq!(read(&written).unwrap(), rows);
        assert!(written.starts_with("| S1 | text |\n") && written.ends_with("more\n"));
        assert!(!written.contains("old"));
        assert!(labels(&written).unwrap().contains(&"S1".to_owned()));
        assert!(
            !labels(&written).unwrap().contains(&"S3".to_owned()),
            "only in the generated part"
        );
        assert!(write("no markers", &rows, &[]).is_err());
    }
}
