//! The variants that there are, as `src/error` declares them.

use std::fs;
use std::path::Path;

/// `Enum::Variant` of every error there, and of what errors contain that has variants; the name of
/// an error that is a struct.
pub fn variants() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error");
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> =
        files.flat_map(|file| declared(&fs::read_to_string(file).unwrap())).collect();
    found.sort_unstable();
    found
}

/// Those of a file that `cargo fmt` has put in order: an enum's variants are one level deeper than
/// its name, and so are those in the macros of `calls.rs`.
fn declared(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut within: Option<(&str, usize)> = None;
    for line in source.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        if let Some((_, begun)) = within
            && depth == begun
            && text.starts_with('}')
        {
            within = None;
        }
        let Some((owner, begun)) = within else {
            let of_a_struct = text.strip_prefix("pub struct ").and_then(|rest| {
                rest.split(|c: char| !c.is_alphanumeric()).next() // what is generic, too
            });
            found.extend(of_a_struct.filter(|name| name.ends_with("Error")).map(str::to_owned));
            let name = match text.strip_prefix("pub enum ") {
                Some(rest) => rest.trim_end_matches(" {"),
                None if depth == 4 && text == format!("{name} {{") => name,
                None => continue,
            };
            if name.ends_with("Error") || name == "Mismatch" {
                within = Some((name, depth));
            }
            continue;
        };
        if depth == begun + 4 && name.starts_with(|c: char| c.is_uppercase()) {
            found.push(format!("{owner}::{name}"));
        }
    }
    found
}
