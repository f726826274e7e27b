//! What every error says: each variant is provoked, and `docs/errors.md` is written from what it
//! said then.
//!
//! A [`Row`] of the [table](rows::table) has the variants that it shows, when they come, what to do
//! about them, and how to provoke them: in a child of its own, which may spoil its limits, mounts,
//! user and system calls. What differs from run to run and from machine to machine (process ids,
//! directories, free bytes) is replaced by an example. Then:
//!
//! * the file in the tree must be what comes out (`REGENERATE=1 cargo test --test errors` writes
//!   it);
//! * every variant of every public error must have a row: they are read from `src/error`;
//! * every text keeps to the rules at the beginning of `src/error/mod.rs`.
//!
//! Where a machine lacks what a row takes (root, mostly), its text is taken over from the file in
//! the tree, and that is said loudly. The page's numbers are those of 64 bits.

#![cfg(target_pointer_width = "64")]

mod coverage;
mod page;
mod rows;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use ringpipe::Spsc;
use rows::table;
use stage::{Stage, Told};
use support::{Child, Flavour, Me, did_not_run, roles, tests};

roles!(provokes);

tests!(
    every_error_says_what_the_documentation_says,
    every_variant_of_every_error_has_a_row,
    two_errors_without_a_ring_of_their_own_speak_for_those_that_they_contain,
);

/// One thing that goes wrong.
struct Row {
    /// What it is called, where it is not clear from the variant.
    case: &'static str,
    /// `Enum::Variant`, or the struct, each with the same text.
    variants: &'static [&'static str],
    /// What the variant contains, that has variants itself.
    with: Option<&'static str>,
    /// When it comes.
    when: &'static str,
    /// What to do.
    cure: &'static str,
    /// Whether trying again helps.
    again: &'static str,
    /// Brings it about. Fails if this machine lacks what that takes.
    provoke: fn(&Stage) -> Result<Vec<Told>, String>,
}

/// The children: one row each, by its number, with the names of its stage.
fn provokes<K: Flavour>(mut me: Me) {
    let [number, name, directory] = me.ring.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let row = &table()[number.parse::<usize>().unwrap()];
    let stage = Stage::of(name, directory);
    match (row.provoke)(&stage) {
        Ok(told) => {
            me.say(told.len());
            told.into_iter().for_each(|told| me.say(stage.normalised(told).to_line()));
        }
        Err(why) => me.say(format!("NOT RUN: {why}")),
    }
}

/// What a row says; `None` if this machine lacks something.
fn provoked(number: usize, row: &Row) -> Option<Told> {
    let stage = Stage::new();
    let [name, directory] = stage.names();
    let mut child = Child::start::<Spsc>("provokes", &format!("{number} {name} {directory}"));
    let answer = child.hear();
    if let Some(why) = answer.strip_prefix("NOT RUN: ") {
        did_not_run(&format!("the error {} {}", row.variants[0], row.case), why);
        return None;
    }
    let said: usize = answer.parse().unwrap();
    let told: Vec<_> = (0..said).map(|_| Told::from_line(&child.hear())).collect();
    child.finish();
    let variants: Vec<_> = told.iter().map(|told| &*told.variant).collect();
    assert_eq!(variants, row.variants, "{}", told[0].debug);
    for one in &told {
        assert_eq!((&one.text, &one.source), (&told[0].text, &told[0].source), "{}", one.variant);
        keeps_to_the_rules(one);
    }
    let told = told.into_iter().next().expect("a row has at least one variant");
    let within = row.with.and_then(|with| with.split("::").nth(1));
    assert!(within.is_none_or(|within| told.debug.contains(within)), "{}", told.debug);
    println!("{}: {}", told.variant, told.text);
    Some(told)
}

fn keeps_to_the_rules(Told { variant, text, source, .. }: &Told) {
    let begins = text.chars().next().unwrap();
    assert!(!begins.is_uppercase(), "{variant} begins with a capital: {text}");
    assert!(!text.ends_with('.') && !text.contains(". "), "{variant}, one sentence: {text}");
    assert!(text.chars().count() <= 200, "{variant} is long: {text}");
    assert!(!text.contains("os error"), "{variant} says what its source says: {text}");
    assert!(text.matches(';').count() <= 1, "{variant}: {text}");
    let several = ["SendAllError", "TransferError"];
    let with_source = ["::Io", "ListError::Directory", "ChannelError::Attach"];
    let expected = with_source.iter().chain(&several).any(|end| variant.ends_with(end));
    assert_eq!(source != "none", expected, "{variant}: {source}");
    let of_a_call = ["Send", "Recv", "Bulk", "Peer", "Message", "Transfer"]
        .iter()
        .any(|call| variant.contains(call));
    let places = ["/dev/shm", "/data", "anonymous ring", "descriptor ", "the name of a ring"];
    let mut places = places.into_iter().chain(["passed on as"]);
    let names_it = places.any(|place| text.contains(place));
    assert!(of_a_call || names_it, "{variant} does not say where: {text}");
}

fn every_error_says_what_the_documentation_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let table = table();
    let told: Vec<_> = table.iter().enumerate().map(|(i, row)| provoked(i, row)).collect();
    let now = page::write(&table, &told, &before);
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let differs = before.lines().zip(now.lines()).find(|(before, now)| before != now);
    assert!(
        before == now,
        "docs/errors.md is not what the errors say; first difference: {differs:?}\n\
         REGENERATE=1 cargo test --test errors writes it"
    );
}

fn every_variant_of_every_error_has_a_row() {
    let rows = table();
    let of_rows = rows.iter().flat_map(|row| row.variants.iter().copied().chain(row.with));
    let mut shown: Vec<_> = of_rows.collect();
    shown.sort_unstable();
    shown.dedup();
    let declared = coverage::variants();
    assert!(declared.len() > 80, "{declared:?}");
    let declared: Vec<_> = declared.iter().map(String::as_str).collect();
    let missing: Vec<_> = declared.iter().filter(|one| !shown.contains(one)).collect();
    assert!(missing.is_empty(), "without a row in tests/errors/rows: {missing:?}");
    let unknown: Vec<_> = shown.iter().filter(|one| !declared.contains(one)).collect();
    assert!(unknown.is_empty(), "no such variant: {unknown:?}");
}

fn two_errors_without_a_ring_of_their_own_speak_for_those_that_they_contain() {
    use std::error::Error;
    let none = support::options::<Spsc>().open("").unwrap_err();
    let text = none.to_string();
    let either = ringpipe::OpenOrCreateError::Open(none);
    assert!(either.to_string() == text && either.source().is_none());
    let none = support::options::<Spsc>().create("").unwrap_err();
    let channel = ringpipe::ChannelError::Create(none);
    assert!(channel.to_string() == text && channel.source().is_none());
}
